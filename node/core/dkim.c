/* DKIM signing (RFC 6376 sections 3.4, 3.7, 5; RFC 8463): see dkim.h for the contract.
 *
 * Body: bytes are copied in runs to where the canonical form differs from the text, so that a body of ordinary lines
 * costs little more than its hash. Headers: canonicalised at the end of the output buffer, hashed and cut off again,
 * so that signing allocates nothing once the buffer has grown. */
#include "node/core/dkim.h"

#include <base/text.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---------------------------------------------------------------- body */

void rmd_dkim_body_init(struct rmd_dkim_body *b, const struct rmd_sign_ops *sign, enum rmd_dkim_canon canon) {
    b->sign = sign;
    b->canon = canon;
    b->pending_crlf = 0;
    b->pending_space = b->pending_cr = b->any = false;
    b->out_n = 0;
    sign->sha256_init(&b->sha);
}

void rmd_dkim_body_flush(struct rmd_dkim_body *b) {
    if (b->out_n)
        b->sign->sha256_update(&b->sha, b->out, b->out_n);
    b->out_n = 0;
}

static void body_out(struct rmd_dkim_body *b, const void *p, size_t n) {
    if (n > sizeof b->out - b->out_n) {
        rmd_dkim_body_flush(b);
        if (n > sizeof b->out) {
            b->sign->sha256_update(&b->sha, p, n);
            return;
        }
    }
    memcpy(b->out + b->out_n, p, n);
    b->out_n += n;
}

/* Something that counts follows: what was held back belongs to the body. */
static void body_release(struct rmd_dkim_body *b) {
    for (; b->pending_crlf; b->pending_crlf--)
        body_out(b, "\r\n", 2);
    if (b->pending_space)
        body_out(b, " ", 1);
    b->pending_space = false;
    if (b->pending_cr)
        body_out(b, "\r", 1);
    b->pending_cr = false;
    b->any = true;
}

/* Offset of the first byte, from `from` on, that a run can't contain: CR; when relaxed also a TAB, or a space before
 * white space or at the end of the piece. A single space between words stays in its run. */
static size_t body_run(const uint8_t *p, size_t from, size_t n, bool relaxed) {
    if (!relaxed) {
        const uint8_t *cr = memchr(p + from, '\r', n - from);
        return cr ? (size_t)(cr - p) : n;
    }
    size_t i = from;
#ifdef __SSE2__
    const __m128i sp = _mm_set1_epi8(' '), tab = _mm_set1_epi8('\t'), cr = _mm_set1_epi8('\r');
    for (; i + 17 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i w = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 1));
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, tab), _mm_cmpeq_epi8(v, cr));
        __m128i wsp =
            _mm_or_si128(_mm_cmpeq_epi8(w, sp), _mm_or_si128(_mm_cmpeq_epi8(w, tab), _mm_cmpeq_epi8(w, cr)));
        stop = _mm_or_si128(stop, _mm_and_si128(_mm_cmpeq_epi8(v, sp), wsp));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return i + (size_t)__builtin_ctz(mask);
    }
#endif
    for (; i < n; i++) {
        uint8_t c = p[i];
        if (c == '\r' || c == '\t')
            return i;
        if (c == ' ' && (i + 1 == n || p[i + 1] == ' ' || p[i + 1] == '\t' || p[i + 1] == '\r'))
            return i;
    }
    return n;
}

static void body_line_end(struct rmd_dkim_body *b) {
    b->pending_cr = false;
    b->pending_space = false;
    b->pending_crlf++;
}

void rmd_dkim_body_update(struct rmd_dkim_body *b, const void *data, size_t n) {
    const uint8_t *p = data;
    bool relaxed = b->canon == RMD_CANON_RELAXED;
    size_t i = 0;
    while (i < n) {
        if (b->pending_cr && p[i] == '\n') {
            body_line_end(b);
            i++;
        } else if (p[i] == '\r') {
            if (b->pending_cr)
                body_release(b);
            b->pending_cr = true;
            i++;
        } else if (relaxed && (p[i] == ' ' || p[i] == '\t')) {
            if (b->pending_cr)
                body_release(b);
            b->pending_space = true;
            i++;
        } else {
            size_t stop = body_run(p, i, n, relaxed);
            body_release(b);
            body_out(b, p + i, stop - i);
            i = stop;
        }
    }
}

void rmd_dkim_body_final(struct rmd_dkim_body *b, uint8_t hash[RMD_SHA256_BYTES]) {
    if (b->pending_cr) /* a last CR without LF is text */
        body_release(b);
    /* Trailing empty lines don't count, a last line without a line end gets one; an empty body is one CRLF when
     * simple, nothing when relaxed. */
    if (b->any || b->canon == RMD_CANON_SIMPLE)
        body_out(b, "\r\n", 2);
    rmd_dkim_body_flush(b);
    b->sign->sha256_final(&b->sha, hash);
}

void rmd_dkim_body_copy(struct rmd_dkim_body *to, const struct rmd_dkim_body *from) {
    memcpy(to, from, offsetof(struct rmd_dkim_body, out));
    memcpy(to->out, from->out, from->out_n);
}

/* ---------------------------------------------------------------- headers */

static bool is_wsp(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void canon_relaxed(const struct rmd_dkim_header *h, struct rmd_buf *out) {
    size_t at = out->len;
    rmd_buf_add(out, h->name.p, h->name.n);
    if (out->overflow)
        return;
    for (; at < out->len; at++)
        out->p[at] = (uint8_t)rmd_lower((char)out->p[at]);
    rmd_buf_addc(out, ':');
    const uint8_t *p = memchr(h->field.p, ':', h->field.n), *end = h->field.p + h->field.n;
    p = p ? p + 1 : end;
    while (end > p && is_wsp(end[-1]))
        end--;
    bool first = true;
    while (p < end) {
        if (is_wsp(*p)) {
            while (p < end && is_wsp(*p))
                p++;
            if (!first)
                rmd_buf_addc(out, ' ');
            continue;
        }
        const uint8_t *run = p;
        while (p < end && !is_wsp(*p))
            p++;
        rmd_buf_add(out, run, (size_t)(p - run));
        first = false;
    }
}

void rmd_dkim_canon_header(enum rmd_dkim_canon canon, const struct rmd_dkim_header *h, struct rmd_buf *out) {
    if (canon == RMD_CANON_SIMPLE)
        rmd_buf_add(out, h->field.p, h->field.n);
    else
        canon_relaxed(h, out);
}

/* What is signed when present, each occurrence; From once more than it occurs. */
static const char *const signed_names[] = {
    "From",         "To",
    "Subject",      "Date",
    "Message-ID",   "Reply-To",
    "Cc",           "MIME-Version",
    "Content-Type", "Content-Transfer-Encoding",
    "List-Id",      "List-Unsubscribe",
    "Feedback-ID",  "List-Unsubscribe-Post",
};
enum { SIGNED_NAMES = sizeof signed_names / sizeof signed_names[0], FOLD_AT = 76 };

struct header_writer {
    struct rmd_buf *out;
    size_t line; /* offset at which the present line begins */
};

/* A name of h=, which must not be broken, on this line if it fits; a colon before all but the first. */
static void put_name(struct header_writer *w, bool first, struct rmd_slice name) {
    if (w->out->len - w->line + name.n + !first > FOLD_AT) {
        rmd_buf_add(w->out, "\r\n\t", 3);
        w->line = w->out->len - 1;
    }
    if (!first)
        rmd_buf_addc(w->out, ':');
    rmd_buf_add(w->out, name.p, name.n);
}

static void hash_field(const struct rmd_sign_ops *sign, struct rmd_sha256 *sha, enum rmd_dkim_canon canon,
                       const struct rmd_dkim_header *h, const char *end, struct rmd_buf *scratch) {
    size_t mark = scratch->len;
    rmd_dkim_canon_header(canon, h, scratch);
    rmd_buf_addstr(scratch, end);
    if (!scratch->overflow)
        sign->sha256_update(sha, scratch->p + mark, scratch->len - mark);
    rmd_buf_truncate(scratch, mark);
}

/* Writes the names of h= and hashes the fields in the same order: of a repeated name the last one first
 * (section 5.4.2). */
static void sign_headers(const struct rmd_sign_ops *sign, struct rmd_sha256 *sha, enum rmd_dkim_canon canon,
                         const struct rmd_dkim_header *headers, size_t n, struct header_writer *w) {
    bool first = true;
    for (size_t k = 0; k < SIGNED_NAMES; k++) {
        size_t name_n = strlen(signed_names[k]);
        struct rmd_slice name = rmd_slice(signed_names[k], name_n);
        size_t times = k == 0 ? 1 : 0; /* From is named once more than it occurs */
        for (size_t i = n; i > 0; i--) {
            if (headers[i - 1].name.n != name_n || !rmd_case_eq(headers[i - 1].name, name))
                continue;
            hash_field(sign, sha, canon, &headers[i - 1], "\r\n", w->out);
            times++;
        }
        for (; times; times--) {
            put_name(w, first, name);
            first = false;
        }
    }
}

static void put_base64(struct header_writer *w, const uint8_t *p, size_t n) {
    char text[(RMD_SIGNATURE_MAX + 2) / 3 * 4];
    size_t len = rmd_base64_raw(text, p, n), at = 0;
    while (at < len) {
        size_t used = w->out->len - w->line, room = used < FOLD_AT ? FOLD_AT - used : 0;
        if (room == 0) {
            rmd_buf_add(w->out, "\r\n\t", 3);
            w->line = w->out->len - 1;
            continue;
        }
        size_t take = len - at < room ? len - at : room;
        rmd_buf_add(w->out, text + at, take);
        at += take;
    }
}

static int sign_digest(const struct rmd_sign_ops *sign, const struct rmd_dkim_key *key,
                       const uint8_t digest[RMD_SHA256_BYTES], struct rmd_dkim_memo *memo) {
    if (memo->n && memo->handle == key->handle && memcmp(memo->digest, digest, RMD_SHA256_BYTES) == 0)
        return RMD_OK;
    memo->handle = NULL;
    memo->n = sizeof memo->signature;
    int rc = sign->sign_digest(key->handle, digest, memo->signature, &memo->n);
    if (rc != RMD_OK)
        return rc;
    memo->handle = key->handle;
    memcpy(memo->digest, digest, RMD_SHA256_BYTES);
    return RMD_OK;
}

/* What comes before the names, without printf: that took more of the signature's 12 fields than hashing them. */
static void put_tags(const struct rmd_dkim_key *key, enum rmd_dkim_canon header_canon, enum rmd_dkim_canon body_canon,
                     int64_t wall_s, struct rmd_buf *out) {
    static const char *const canon_names[] = {"simple", "relaxed"};
    rmd_buf_addstr(out, key->kind == RMD_KEY_RSA ? "DKIM-Signature: v=1; a=rsa-sha256; c="
                                                 : "DKIM-Signature: v=1; a=ed25519-sha256; c=");
    rmd_buf_addstr(out, canon_names[header_canon]);
    rmd_buf_addc(out, '/');
    rmd_buf_addstr(out, canon_names[body_canon]);
    rmd_buf_addstr(out, ";\r\n\td=");
    rmd_buf_addstr(out, key->domain);
    rmd_buf_addstr(out, ";\r\n\ts=");
    rmd_buf_addstr(out, key->selector);
    rmd_buf_addstr(out, "; t=");
    rmd_buf_add_u64(out, (uint64_t)wall_s);
    rmd_buf_addstr(out, ";\r\n\th=");
}

int rmd_dkim_sign(const struct rmd_sign_ops *sign, const struct rmd_dkim_key *key, enum rmd_dkim_canon header_canon,
                  enum rmd_dkim_canon body_canon, const struct rmd_dkim_header *headers, size_t n,
                  const uint8_t body_hash[RMD_SHA256_BYTES], int64_t wall_s, struct rmd_dkim_memo *memo,
                  struct rmd_buf *out) {
    struct rmd_sha256 sha;
    size_t start = out->len;
    struct header_writer w = {.out = out, .line = start};
    sign->sha256_init(&sha);
    put_tags(key, header_canon, body_canon, wall_s, out);
    w.line = out->len - 3;
    sign_headers(sign, &sha, header_canon, headers, n, &w);
    rmd_buf_addstr(out, ";\r\n\tbh=");
    w.line = out->len - 4;
    put_base64(&w, body_hash, RMD_SHA256_BYTES);
    rmd_buf_addstr(out, ";\r\n\tb=");
    w.line = out->len - 3;
    if (out->overflow) {
        rmd_buf_truncate(out, start);
        return RMD_ELIMIT;
    }
    /* The signature covers its own field with an empty b= and without a line end (section 3.7). The canonical
     * form is built behind it in the same buffer, which must not move meanwhile. */
    size_t field_n = out->len - start;
    rmd_buf_reserve(out, 3 * field_n);
    struct rmd_dkim_header self = {.name = rmd_slice("DKIM-Signature", 14),
                                   .field = rmd_slice(out->p + start, field_n)};
    hash_field(sign, &sha, header_canon, &self, "", out);
    uint8_t digest[RMD_SHA256_BYTES];
    struct rmd_dkim_memo once;
    once.handle = NULL;
    once.n = 0;
    sign->sha256_final(&sha, digest);
    if (!memo)
        memo = &once;
    if (sign_digest(sign, key, digest, memo) != RMD_OK) {
        rmd_buf_truncate(out, start);
        return RMD_EIO;
    }
    put_base64(&w, memo->signature, memo->n);
    rmd_buf_add(out, "\r\n", 2);
    return out->overflow ? RMD_ELIMIT : RMD_OK;
}
