/* The content of a message: finding its end, undoing dot-stuffing, judging it, accepting it.
 *
 * Only CRLF.CRLF ends it (RFC 5321 4.1.1.4). A bare LF, a bare CR or a NUL anywhere refuses the message at the dot,
 * and a dot that some servers would take for the end (LF.LF, LF.CRLF, CRLF.LF, CR.CR) is counted as a smuggling
 * attempt. */
#include "tests/receivers/receivers.h"

#include <fcntl.h>
#include <unistd.h>

enum { FROM_MAX = 512, HEADER_MAX = 1 << 20, D_MAX = 8 };

static void msg_add(struct rmd_rcv_conn *c, const uint8_t *p, size_t n) {
    if (c->msg.len + n > (uint64_t)c->provider->policy.size_bytes || c->msg.len + n > RCV_MESSAGE_MAX)
        c->content.too_big = true;
    else if (!c->content.too_big)
        rmd_buf_add(&c->msg, p, n);
}

static bool has_cr_dot(const uint8_t *p, size_t n) {
    for (const uint8_t *cr = p; (cr = memchr(cr, '\r', n - (size_t)(cr - p))); cr++)
        if ((size_t)(cr - p) + 2 < n && cr[1] == '.' && (cr[2] == '\r' || cr[2] == '\n'))
            return true;
    return false;
}

/* One line with its LF. True: it was the end of the content. */
static bool line_take(struct rmd_rcv_conn *c, const uint8_t *p, size_t n) {
    struct rmd_rcv_content *k = &c->content;
    bool crlf = n >= 2 && p[n - 2] == '\r', whole = !k->partial, after_crlf = k->after_crlf;
    size_t body = n - 1 - crlf, length = k->partial + n;
    k->partial = 0;
    k->after_crlf = crlf;
    if (whole && body == 1 && p[0] == '.') {
        if (crlf && after_crlf)
            return true;
        k->smuggling = true;
    }
    if (!crlf)
        k->bare_lf = true;
    if (body && memchr(p, '\r', body)) {
        k->bare_cr = true;
        k->smuggling |= has_cr_dot(p, n);
    }
    k->lines++;
    if (length > k->longest)
        k->longest = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
    bool stuffed = whole && after_crlf && body && p[0] == '.';
    msg_add(c, p + stuffed, n - stuffed);
    return false;
}

bool rmd_rcv_content_feed(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    (void)r;
    while (c->in_pos < c->in.len) {
        const uint8_t *p = c->in.p + c->in_pos;
        size_t n = c->in.len - c->in_pos;
        const uint8_t *lf = memchr(p, '\n', n);
        if (!lf) {
            if (n < RCV_READ_BYTES)
                return false;
            /* a line without end: taken in parts; the last byte waits, since it may be the CR of its end */
            msg_add(c, p, n - 1);
            c->content.partial += n - 1;
            c->in_pos += n - 1;
            return false;
        }
        n = (size_t)(lf - p) + 1;
        c->in_pos += n;
        if (line_take(c, p, n)) {
            c->state = RCV_S_DOT;
            return true;
        }
    }
    return false;
}

/* BDAT content isn't dot-stuffed; its lines are looked at when it is complete. */
static void bdat_lines(struct rmd_rcv_conn *c) {
    struct rmd_rcv_content *k = &c->content;
    for (size_t at = 0; at < c->msg.len;) {
        const uint8_t *p = c->msg.p + at;
        const uint8_t *lf = memchr(p, '\n', c->msg.len - at);
        size_t n = lf ? (size_t)(lf - p) + 1 : c->msg.len - at;
        bool crlf = lf && n >= 2 && p[n - 2] == '\r';
        k->bare_lf |= lf && !crlf;
        k->bare_cr |= n > 2 && memchr(p, '\r', n - 2) != NULL;
        k->lines++;
        if (n > k->longest)
            k->longest = (uint32_t)n;
        at += n;
    }
}

bool rmd_rcv_bdat_feed(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    size_t n = c->in.len - c->in_pos;
    if (n > c->bdat_left)
        n = (size_t)c->bdat_left;
    if (!c->bdat_refused)
        msg_add(c, c->in.p + c->in_pos, n);
    c->in_pos += n;
    c->bdat_left -= n;
    if (c->bdat_left)
        return false;
    if (c->bdat_refused) {
        c->state = RCV_S_COMMAND;
        return true;
    }
    if (c->bdat_last) {
        bdat_lines(c);
        c->state = RCV_S_DOT;
        return true;
    }
    c->state = RCV_S_COMMAND;
    rmd_rcv_reply(r, c, RCV_DATA, NULL, NULL, "250 2.0.0 Chunk taken");
    return true;
}

struct rmd_slice rmd_rcv_header_find(struct rmd_slice msg, const char *name, size_t *at) {
    size_t len = strlen(name);
    for (size_t i = *at; i < msg.n && msg.p[i] != '\r' && msg.p[i] != '\n';) {
        size_t start = i, end;
        const uint8_t *lf;
        do { /* the field with its continuation lines */
            lf = memchr(msg.p + i, '\n', msg.n - i);
            i = lf ? (size_t)(lf - msg.p) + 1 : msg.n;
        } while (i < msg.n && (msg.p[i] == ' ' || msg.p[i] == '\t'));
        *at = end = i;
        if (end - start > len && rmd_case_prefix(rmd_slice(msg.p + start, end - start), name))
            return rmd_trim(rmd_slice(msg.p + start + len, end - start - len));
    }
    *at = msg.n;
    return (struct rmd_slice){0};
}

static struct rmd_slice header_first(struct rmd_slice msg, const char *name) {
    size_t at = 0;
    return rmd_rcv_header_find(msg, name, &at);
}

/* ,"dkim_d":["a","b"]: the d= of each signature, unverified. */
static void json_dkim_d(struct rmd_buf *b, struct rmd_slice msg) {
    struct rmd_slice sig;
    size_t at = 0, n = 0;
    rmd_buf_addstr(b, ",\"dkim_d\":[");
    while (n < D_MAX && (sig = rmd_rcv_header_find(msg, "DKIM-Signature:", &at)).n) {
        for (size_t i = 0; i + 2 < sig.n; i++) {
            bool tag = sig.p[i] == 'd' && sig.p[i + 1] == '=' && (i == 0 || strchr("; \t\r\n", sig.p[i - 1]));
            if (!tag)
                continue;
            size_t end = i + 2;
            while (end < sig.n && !strchr("; \t\r\n", sig.p[end]))
                end++;
            if (n++)
                rmd_buf_addc(b, ',');
            rmd_rcv_json_quote(b, rmd_slice(sig.p + i + 2, end - i - 2));
            break;
        }
    }
    rmd_buf_addc(b, ']');
}

/* ,"x":{...}: X- fields and Feedback-ID, as they stand. */
static void json_x(struct rmd_buf *b, struct rmd_slice msg) {
    size_t at = 0, n = 0;
    rmd_buf_addstr(b, ",\"x\":{");
    while (at < msg.n && n < RCV_X_MAX) {
        size_t start = at;
        struct rmd_slice field = rmd_rcv_header_find(msg, "", &at);
        if (!field.n)
            break;
        struct rmd_slice all = rmd_slice(msg.p + start, at - start);
        const uint8_t *colon = memchr(all.p, ':', all.n);
        if (!colon || !(rmd_case_prefix(all, "X-") || rmd_case_prefix(all, "Feedback-ID:")))
            continue;
        if (n++)
            rmd_buf_addc(b, ',');
        rmd_rcv_json_quote(b, rmd_slice(all.p, (size_t)(colon - all.p)));
        rmd_buf_addc(b, ':');
        rmd_rcv_json_quote(b, rmd_trim(rmd_slice(colon + 1, all.n - (size_t)(colon + 1 - all.p))));
    }
    rmd_buf_addc(b, '}');
}

static void accepted_log(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *id, bool uncertain) {
    const struct rmd_rcv_content *k = &c->content;
    struct rmd_slice msg = rmd_buf_slice(&c->msg);
    struct rmd_slice from = header_first(msg, "From:");
    from.n = from.n > FROM_MAX ? FROM_MAX : from.n;
    for (size_t i = 0; i < c->rcpts_n; i++) {
        struct rmd_buf *b = rmd_rcv_line(r, c, "accepted");
        rmd_rcv_json_cstr(b, "msg", id);
        rmd_rcv_json_cstr(b, "mail_from", c->sender);
        rmd_rcv_json_cstr(b, "rcpt", c->rcpts[i]);
        rmd_rcv_json_str(b, "message_id", header_first(msg, "Message-ID:"));
        rmd_rcv_json_str(b, "from", from);
        rmd_rcv_json_int(b, "size", (int64_t)c->msg.len);
        rmd_rcv_json_int(b, "lines", k->lines);
        rmd_rcv_json_int(b, "longest", k->longest);
        rmd_rcv_json_bool(b, "eight_bit", k->eight_bit);
        rmd_rcv_json_bool(b, "undeclared_8bit", k->eight_bit && !c->body8);
        rmd_buf_addf(b, ",\"body_fnv\":\"%016llx\"", (unsigned long long)rmd_fnv64(msg));
        rmd_rcv_json_bool(b, "tls", c->ssl != NULL);
        rmd_rcv_json_bool(b, "uncertain", uncertain);
        json_x(b, msg);
        json_dkim_d(b, msg);
        rmd_rcv_line_end(r);
        c->provider->n_accepted++;
    }
}

static void save(struct rmd_rcv *r, const struct rmd_rcv_conn *c, const char *id) {
    char path[1024];
    if (!r->save || rmd_format(path, sizeof path, "%s/%s.eml", r->save, id) < 0)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, c->msg.p, c->msg.len) != (ssize_t)c->msg.len)
        fprintf(stderr, "remuda-receivers: %s: can't be saved: %m\n", path);
    if (fd >= 0)
        close(fd);
}

static void accept_message(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    char id[64], text[128];
    (void)rmd_format(id, sizeof id, "%llu.%llu", (unsigned long long)c->serial, (unsigned long long)c->message);
    bool cut = c->cut == RCV_CUT_AFTER_ACCEPTED;
    accepted_log(r, c, id, cut || c->peer_closed);
    c->accepted++;
    save(r, c, id);
    if (r->verifier && (r->dkim_sample >= 1 || rmd_rcv_chance(r) < r->dkim_sample)) {
        struct rmd_rcv_check check = {c->msg, c->provider->name, c->client->ip, c->rcpts[0], id};
        if (cut) /* the line of the cut wants the Message-ID */
            check.msg = (struct rmd_buf){0}, rmd_buf_add(&check.msg, c->msg.p, c->msg.len);
        else
            c->msg = (struct rmd_buf){0};
        rmd_rcv_verifier_add(r, &check);
    }
    if (cut) {
        rmd_rcv_cut(r, c, c->cut);
        return;
    }
    (void)rmd_format(text, sizeof text, "250 2.0.0 Ok: queued as %s", id);
    rmd_rcv_reply(r, c, RCV_DOT, NULL, NULL, text);
}

static bool eight_bit(const struct rmd_buf *b) {
    uint64_t all = 0, word;
    size_t i = 0;
    for (; i + sizeof word <= b->len; i += sizeof word) {
        memcpy(&word, b->p + i, sizeof word);
        all |= word;
    }
    for (; i < b->len; i++)
        all |= b->p[i];
    return (all & UINT64_C(0x8080808080808080)) != 0;
}

static const char *content_problem(struct rmd_rcv_conn *c, const char **reason) {
    struct rmd_rcv_content *k = &c->content;
    const struct rmd_rcv_policy *p = &c->provider->policy;
    *reason = "bare-lf";
    if (k->bare_lf)
        return "554 5.5.2 bare LF";
    *reason = "bare-cr";
    if (k->bare_cr)
        return "554 5.5.2 bare CR";
    *reason = "nul";
    if (k->nul)
        return "554 5.5.2 NUL in the message";
    *reason = "size";
    if (k->too_big)
        return "552 5.3.4 Error: message file too big";
    *reason = "line";
    if (p->strict_line && k->longest > (uint64_t)p->line_bytes)
        return "554 5.6.0 a line is longer than 998 bytes";
    return NULL;
}

static const char *content_word(const struct rmd_rcv_conn *c) {
    const struct rmd_rcv_list *l = &c->provider->policy.content_words;
    for (size_t i = 0; i < l->n; i++)
        if (rmd_case_find(rmd_buf_slice(&c->msg), rmd_slice_str(l->v[i])))
            return l->v[i];
    return NULL;
}

void rmd_rcv_content_done(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    const char *reason, *problem, *word;
    c->state = RCV_S_COMMAND;
    c->content.nul = c->msg.len && memchr(c->msg.p, 0, c->msg.len);
    c->content.eight_bit = eight_bit(&c->msg);
    if (c->content.smuggling) {
        c->provider->n_smuggling++;
        rmd_rcv_smtp_violation(r, c, "smuggling: a dot between line ends that aren't CRLF");
    }
    problem = content_problem(c, &reason);
    if (c->cut == RCV_CUT_AFTER_LOST && !problem)
        rmd_rcv_cut(r, c, c->cut);
    else if (problem)
        rmd_rcv_reply(r, c, RCV_DOT, reason, NULL, problem);
    else if (rmd_rcv_policy_refuses(r, c, RCV_DOT, NULL))
        ;
    else if ((word = content_word(c)))
        rmd_rcv_reply(r, c, RCV_DOT, "content", word, c->provider->policy.content_text);
    else
        accept_message(r, c);
    if (!c->dead)
        rmd_rcv_smtp_reset(c);
}
