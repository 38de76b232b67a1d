/* Rendering of one message: header, body, hash, signatures, in buffers that are reused; see render.h.
 *
 * The body is hashed right after it was written, while it is in the first-level cache. What comes before the first
 * value is the same in each message of a campaign: its hash is kept, and so is a signature where nothing that is signed
 * differs (dkim_cache.h). */
#include "node/core/render.h"

#include "node/core/dkim_cache.h"
#include "node/core/render_header.h"
#include "node/core/render_internal.h"

#include <base/text.h>

enum {
    SIGNATURES_MAX_BYTES = 64 << 10,
};

struct field_at {
    size_t start, end, name_n; /* end: before the CRLF */
};

struct rmd_renderer {
    const struct rmd_sign_ops *sign;
    struct rmd_buf head, body, message, text;
    struct field_at field[RMD_HEADERS_MAX];
    struct rmd_dkim_header header[RMD_HEADERS_MAX];
    size_t n_fields;
    unsigned present; /* RMD_ADD_ bits of fields that the message has */
    struct rmd_dkim_cache *cache;
};

struct rmd_renderer *rmd_renderer_new(const struct rmd_sign_ops *sign) {
    struct rmd_renderer *r = rmd_alloc(sizeof *r);
    r->sign = sign;
    r->head.limit = r->text.limit = RMD_HEADER_MAX_BYTES;
    r->body.limit = RMD_MESSAGE_MAX_BYTES;
    r->message.limit = RMD_MESSAGE_MAX_BYTES + SIGNATURES_MAX_BYTES;
    r->cache = rmd_dkim_cache_new(sign);
    return r;
}

void rmd_renderer_free(struct rmd_renderer *r) {
    if (!r)
        return;
    rmd_buf_release(&r->head);
    rmd_buf_release(&r->body);
    rmd_buf_release(&r->message);
    rmd_buf_release(&r->text);
    rmd_dkim_cache_free(r->cache);
    free(r);
}

void rmd_renderer_forget_keys(struct rmd_renderer *r) {
    rmd_dkim_cache_forget_keys(r->cache);
}

/* ---------------------------------------------------------------- header */

/* Books the field that begins at `start` and ends with the buffer. */
static void field_done(struct rmd_renderer *r, size_t start, size_t name_n, unsigned added) {
    if (r->head.len <= start + 2 || r->head.overflow || r->n_fields == RMD_HEADERS_MAX)
        return;
    r->field[r->n_fields++] = (struct field_at){.start = start, .end = r->head.len - 2, .name_n = name_n};
    r->present |= added;
}

static void add_plain(struct rmd_renderer *r, const char *name, const char *value) {
    size_t start = r->head.len;
    struct rmd_header_writer w;
    rmd_header_begin(&w, &r->head, rmd_slice_str(name));
    rmd_header_text(&w, rmd_slice_str(value));
    rmd_header_end(&w);
    field_done(r, start, strlen(name), 0);
}

/* pattern with {token} replaced, as "<prefix...>". */
static void put_link(struct rmd_buf *out, const char *prefix, const char *pattern, const char *token) {
    static const char mark[] = "{token}";
    rmd_buf_addstr(out, out->len ? ", <" : "<");
    rmd_buf_addstr(out, prefix);
    for (const char *at; (at = strstr(pattern, mark)) != NULL; pattern = at + sizeof mark - 1) {
        rmd_put_url(out, rmd_slice(pattern, (size_t)(at - pattern)));
        rmd_put_url(out, rmd_slice_str(token));
    }
    rmd_put_url(out, rmd_slice_str(pattern));
    rmd_buf_addc(out, '>');
}

static int add_unsubscribe(struct rmd_renderer *r, struct rmd_row_context *x, const struct rmd_render_stream *s,
                           const char *token) {
    bool url = s->unsubscribe_url && s->unsubscribe_url[0],
         mailto = s->unsubscribe_mailto && s->unsubscribe_mailto[0];
    if ((r->present & RMD_ADD_LIST_UNSUBSCRIBE) || (!url && !mailto))
        return RMD_OK;
    rmd_buf_clear(&r->text);
    if (url)
        put_link(&r->text, "", s->unsubscribe_url, token);
    if (mailto)
        put_link(&r->text, "mailto:", s->unsubscribe_mailto, token);
    size_t start = r->head.len;
    struct rmd_header_writer w;
    rmd_header_begin(&w, &r->head, rmd_slice_str("List-Unsubscribe"));
    if (rmd_header_tokens(&w, rmd_buf_slice(&r->text)) != RMD_OK)
        return rmd_render_fail(x, RMD_ELIMIT, "the stream's unsubscribe URL has more than %d bytes",
                               RMD_HEADER_WORD_MAX);
    rmd_header_end(&w);
    field_done(r, start, sizeof "List-Unsubscribe" - 1, 0);
    /* One click (RFC 8058) is a promise about the https URL only. */
    if (url && rmd_case_prefix(rmd_slice_str(s->unsubscribe_url), "https://") &&
        !(r->present & RMD_ADD_LIST_UNSUBSCRIBE_POST))
        add_plain(r, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
    return RMD_OK;
}

/* campaign:stream:tenant:remuda, as Google's feedback loop wants it: four parts, the last one the sender. */
static void add_feedback_id(struct rmd_renderer *r, const struct rmd_render_stream *s, const struct rmd_id *message) {
    char campaign[27], stream[64], value[160];
    struct rmd_id c = rmd_id_campaign(message);
    rmd_id_format(&c, campaign);
    bool whole = rmd_copy(stream, sizeof stream, s->stream_name);
    (void)whole; /* a name that long is told apart by its beginning */
    for (char *p = stream; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-_.", *p)))
            *p = '-';
    int n = rmd_format(value, sizeof value, "%s:%s:%u:remuda", campaign, stream, s->tenant);
    if (n > 0)
        add_plain(r, "Feedback-ID", value);
}

static void add_to(struct rmd_renderer *r, struct rmd_row_context *x) {
    struct rmd_slice email = rmd_slice_str(x->row->email);
    size_t start = r->head.len;
    struct rmd_header_writer w;
    rmd_header_begin(&w, &r->head, rmd_slice_str("To"));
    rmd_header_mailbox(&w, rmd_slice("", 0), email);
    rmd_header_end(&w);
    field_done(r, start, 2, 0);
    if (!rmd_is_ascii(email))
        x->needs_smtputf8 = true;
}

static int add_missing(struct rmd_renderer *r, struct rmd_row_context *x, const struct rmd_render_stream *s,
                       const struct rmd_id *message, const char *token, int64_t wall_ms) {
    if (!(r->present & RMD_ADD_TO))
        add_to(r, x);
    if (!(r->present & RMD_ADD_DATE)) {
        char date[40];
        rmd_date_rfc5322(wall_ms, date);
        add_plain(r, "Date", date);
    }
    if (!(r->present & RMD_ADD_MESSAGE_ID)) {
        char value[RMD_RENDER_TOKEN_MAX + 260];
        int n = rmd_format(value, sizeof value, "<%s@%s>", token, s->sending_domain);
        if (n < 0)
            return rmd_render_fail(x, RMD_ELIMIT, "the stream's sending domain is too long");
        add_plain(r, "Message-ID", value);
    }
    if (!(r->present & RMD_ADD_FEEDBACK_ID))
        add_feedback_id(r, s, message);
    return add_unsubscribe(r, x, s, token);
}

static int render_head(struct rmd_renderer *r, struct rmd_row_context *x, const struct rmd_render_stream *s,
                       const struct rmd_id *message, const char *token, int64_t wall_ms) {
    rmd_buf_clear(&r->head);
    r->n_fields = 0;
    r->present = 0;
    for (size_t i = 0; i < x->t->n_headers; i++) {
        const struct rmd_header_plan *plan = &x->t->header[i];
        size_t start = r->head.len;
        int rc = RMD_OK;
        if (plan->fixed.n)
            rmd_buf_add(&r->head, plan->fixed.p, plan->fixed.n);
        else
            rc = rmd_render_field(x, plan, &r->head);
        if (rc != RMD_OK)
            return rc;
        field_done(r, start, plan->name.n, plan->added);
    }
    int rc = add_missing(r, x, s, message, token, wall_ms);
    if (rc == RMD_OK && r->head.overflow)
        rc = rmd_render_fail(x, RMD_ELIMIT, "the header is over the limit of %d bytes", RMD_HEADER_MAX_BYTES);
    return rc;
}

/* ---------------------------------------------------------------- hash and signatures */

/* The fields that signatures may cover, in order. */
static size_t signed_fields(struct rmd_renderer *r, bool one_signature) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_fields; i++) {
        const struct field_at *f = &r->field[i];
        struct rmd_slice name = rmd_slice(r->head.p + f->start, f->name_n);
        if (one_signature &&
            (rmd_case_eq(name, rmd_slice_str("To")) || rmd_case_eq(name, rmd_slice_str("Message-ID"))))
            continue;
        r->header[n].name = name;
        r->header[n++].field = rmd_slice(r->head.p + f->start, f->end - f->start);
    }
    return n;
}

static int sign_all(struct rmd_renderer *r, struct rmd_row_context *x, const struct rmd_render_stream *s,
                    size_t prefix, int64_t wall_ms) {
    uint8_t hash[RMD_SHA256_BYTES];
    bool personal = prefix < r->body.len;
    if (s->n_keys == 0)
        return RMD_OK;
    rmd_dkim_cache_body(r->cache, s->body_canon, rmd_buf_slice(&r->body), prefix, hash);
    size_t n = signed_fields(r, s->one_signature);
    for (size_t k = 0; k < s->n_keys; k++) {
        int rc = rmd_dkim_sign(r->sign, &s->key[k], s->header_canon, s->body_canon, r->header, n, hash,
                               wall_ms / 1000, personal ? NULL : rmd_dkim_cache_memo(r->cache, hash, k), &r->message);
        if (rc != RMD_OK)
            return rmd_render_fail(x, rc, "the DKIM key %s._domainkey.%s can't sign: %s", s->key[k].selector,
                                   s->key[k].domain, rmd_error_text(rc));
    }
    return RMD_OK;
}

/* ---------------------------------------------------------------- envelope and the whole */

static int envelope(struct rmd_renderer *r, struct rmd_row_context *x, const struct rmd_render_stream *s,
                    const struct rmd_id *message, struct rmd_rendered *out) {
    uint8_t mac[RMD_SHA256_BYTES];
    const Remuda__Row *row = x->row;
    const char *rcpt = row->envelope_to[0] ? row->envelope_to : row->email;
    const char *why = rmd_address_check(rmd_slice_str(row->email), true);
    if (!why && rcpt != row->email)
        why = rmd_address_check(rmd_slice_str(rcpt), true);
    if (why)
        return rmd_render_fail(x, RMD_EFORMAT, "the recipient's address %s", why);
    if (!rmd_copy(out->rcpt_to, sizeof out->rcpt_to, rcpt))
        return rmd_render_fail(x, RMD_ELIMIT, "the recipient's address is too long");
    if (!rmd_is_ascii(rmd_slice_str(rcpt)))
        x->needs_smtputf8 = true;
    r->sign->hmac_sha256(s->verp_secret.p, s->verp_secret.n, message->b, sizeof message->b, mac);
    rmd_verp_token(message, mac, out->token);
    if (rmd_format(out->mail_from, sizeof out->mail_from, "b+%s@%s", out->token, s->return_domain) < 0)
        return rmd_render_fail(x, RMD_ELIMIT, "the stream's return domain is too long");
    return RMD_OK;
}

int rmd_render(struct rmd_renderer *r, const struct rmd_template *t, const struct rmd_render_stream *stream,
               const struct rmd_id *message, const Remuda__Row *row, int64_t wall_ms, struct rmd_rendered *out,
               char *err, size_t err_n) {
    struct rmd_row_context x = {.t = t, .row = row, .text = &r->text, .err = err, .err_n = err_n};
    size_t prefix = 0;
    x.needs_smtputf8 = t->c->needs_smtputf8;
    int rc = envelope(r, &x, stream, message, out);
    if (rc == RMD_OK)
        rc = render_head(r, &x, stream, message, out->token, wall_ms);
    rmd_buf_clear(&r->body);
    if (rc == RMD_OK)
        rc = rmd_render_body(&x, &r->body, &prefix);
    if (rc == RMD_OK && (r->body.overflow || r->body.len + r->head.len > RMD_MESSAGE_MAX_BYTES))
        rc = rmd_render_fail(&x, RMD_ELIMIT, "the message is over the limit of %d bytes", RMD_MESSAGE_MAX_BYTES);
    rmd_buf_clear(&r->message);
    if (rc == RMD_OK)
        rc = sign_all(r, &x, stream, prefix, wall_ms);
    if (rc != RMD_OK)
        return rc;
    rmd_buf_add(&r->message, r->head.p, r->head.len);
    rmd_buf_add(&r->message, "\r\n", 2);
    rmd_buf_add(&r->message, r->body.p, r->body.len);
    out->message = rmd_buf_slice(&r->message);
    out->needs_smtputf8 = x.needs_smtputf8;
    out->has_8bit = x.needs_smtputf8 || t->c->needs_8bitmime;
    return RMD_OK;
}
