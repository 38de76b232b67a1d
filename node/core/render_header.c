/* Header fields: encoded words, quoted strings, folding; see render_header.h. */
#include "node/core/render_header.h"

#include <base/text.h>

enum {
    FOLD_AT = 78,
    ENCODED_LINE = 76, /* a line with an encoded word, RFC 2047 section 2 */
    ENCODED_WORD = 75,
    ENCODED_FRAME = 12, /* "=?utf-8?Q?" and "?=" */
    ENCODED_CHAR = 12,  /* the longest encoded character: four bytes as =XX */
};

int rmd_header_clean(struct rmd_buf *out, struct rmd_slice s) {
    bool space = out->len == 0 || out->p[out->len - 1] == ' ';
    size_t i = 0;
    while (i < s.n) {
        size_t start = i;
        while (i < s.n && s.p[i] > ' ' && s.p[i] < 0x7f)
            i++;
        if (i > start) {
            rmd_buf_add(out, s.p + start, i - start);
            space = false;
            continue;
        }
        size_t len = rmd_utf8_len(s.p + i, s.n - i);
        if (!len)
            return RMD_EFORMAT;
        bool control = s.p[i] <= ' ' || s.p[i] == 0x7f || (len == 2 && s.p[i] == 0xc2 && s.p[i + 1] < 0xa0);
        if (!control) {
            rmd_buf_add(out, s.p + i, len);
            space = false;
        } else if (!space) {
            rmd_buf_addc(out, ' ');
            space = true;
        }
        i += len;
    }
    return RMD_OK;
}

/* ---------------------------------------------------------------- folding */

static size_t column(const struct rmd_header_writer *w) {
    return w->out->len - w->line;
}

static void fold(struct rmd_header_writer *w) {
    rmd_buf_add(w->out, "\r\n ", 3);
    w->line = w->out->len - 1;
    w->fresh = false;
}

/* Room for n characters after a separating space: the space, or a new line that begins with one. The first token
 * stays behind the name (some parsers dislike an empty first line) unless the line would be illegal. */
static void separate(struct rmd_header_writer *w, size_t n, size_t limit) {
    if (column(w) + 1 + n > (w->fresh ? RMD_HEADER_LINE_MAX : limit))
        fold(w);
    else
        rmd_buf_addc(w->out, ' ');
    w->fresh = false;
}

void rmd_header_begin(struct rmd_header_writer *w, struct rmd_buf *out, struct rmd_slice name) {
    w->out = out;
    w->line = out->len;
    w->fresh = true;
    rmd_buf_add(out, name.p, name.n);
    rmd_buf_addc(out, ':');
}

void rmd_header_end(struct rmd_header_writer *w) {
    rmd_buf_add(w->out, "\r\n", 2);
}

/* The word at p (no spaces in it); 0 at the end. Words are separated by single spaces. */
static size_t word_length(const uint8_t *p, const uint8_t *end) {
    const uint8_t *sp = p < end ? memchr(p, ' ', (size_t)(end - p)) : NULL;
    return sp ? (size_t)(sp - p) : (size_t)(end - p);
}

static void put_words(struct rmd_header_writer *w, const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        size_t n = word_length(p, end);
        separate(w, n, FOLD_AT);
        rmd_buf_add(w->out, p, n);
        p += n + 1;
    }
}

/* ---------------------------------------------------------------- encoded words (RFC 2047) */

/* What may stand for itself in Q encoding, in a phrase as well (section 5, rule 3). */
static bool is_q_literal(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!*+-/", c) != NULL);
}

static size_t q_size(const uint8_t *p, size_t n) {
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += is_q_literal(p[i]) || p[i] == ' ' ? 1 : 3;
    return size;
}

static void put_q(struct rmd_buf *out, const uint8_t *p, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < n; i++) {
        if (is_q_literal(p[i]) || p[i] == ' ') {
            rmd_buf_addc(out, p[i] == ' ' ? '_' : (char)p[i]);
        } else {
            char e[3] = {'=', digits[p[i] >> 4], digits[p[i] & 15]};
            rmd_buf_add(out, e, sizeof e);
        }
    }
}

/* How many bytes of p, cut between characters, fit into `room` characters when encoded. In base64 a cut that leaves
 * no padding is taken when there is one: readers that join the words before they decode them (GMime does) lose what
 * follows padding. */
static size_t encoded_fit(const uint8_t *p, size_t n, size_t room, bool base64) {
    size_t taken = 0, used = 0, whole = 0;
    while (taken < n) {
        size_t len = rmd_utf8_len(p + taken, n - taken);
        if (!len)
            len = 1; /* not for text that is clean; never stand still */
        size_t size = base64 ? (taken + len + 2) / 3 * 4 : used + q_size(p + taken, len);
        if (size > room)
            break;
        used = size;
        taken += len;
        if (taken % 3 == 0)
            whole = taken;
    }
    return base64 && taken < n && whole ? whole : taken;
}

static void put_encoded(struct rmd_header_writer *w, const uint8_t *p, size_t n) {
    bool base64 = q_size(p, n) > n / 3 * 4 + 8;
    while (n) {
        size_t room = column(w) + 1 < ENCODED_LINE ? ENCODED_LINE - column(w) - 1 : 0;
        if (room < ENCODED_FRAME + ENCODED_CHAR) {
            fold(w);
            room = ENCODED_WORD;
        } else {
            rmd_buf_addc(w->out, ' ');
        }
        w->fresh = false;
        if (room > ENCODED_WORD)
            room = ENCODED_WORD;
        size_t take = encoded_fit(p, n, room - ENCODED_FRAME, base64);
        rmd_buf_addstr(w->out, base64 ? "=?utf-8?B?" : "=?utf-8?Q?");
        if (base64)
            rmd_base64(w->out, p, take);
        else
            put_q(w->out, p, take);
        rmd_buf_add(w->out, "?=", 2);
        p += take;
        n -= take;
        if (n) { /* the space comes with the next word */
            rmd_buf_add(w->out, "\r\n", 2);
            w->line = w->out->len;
        }
    }
}

static bool needs_encoding(const uint8_t *p, size_t n) {
    if (n > RMD_HEADER_WORD_MAX)
        return true;
    for (size_t i = 0; i < n; i++)
        if (p[i] >= 0x7f || p[i] < ' ' || (p[i] == '=' && i + 1 < n && p[i + 1] == '?'))
            return true;
    return false;
}

static struct rmd_slice trimmed(struct rmd_slice s) {
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    while (s.n && s.p[0] == ' ')
        s = rmd_slice(s.p + 1, s.n - 1);
    return s;
}

void rmd_header_text(struct rmd_header_writer *w, struct rmd_slice text) {
    text = trimmed(text);
    if (text.n == 0)
        return;
    const uint8_t *end = text.p + text.n, *first = NULL, *last = NULL;
    for (const uint8_t *p = text.p; p < end;) {
        size_t n = word_length(p, end);
        if (needs_encoding(p, n)) {
            first = first ? first : p;
            last = p + n;
        }
        p += n + 1;
    }
    if (!first) {
        put_words(w, text.p, end);
        return;
    }
    /* One range from the first to the last word that needs it: spaces between two encoded words would be lost. */
    if (first > text.p)
        put_words(w, text.p, first - 1);
    put_encoded(w, first, (size_t)(last - first));
    if (last < end)
        put_words(w, last + 1, end);
}

int rmd_header_tokens(struct rmd_header_writer *w, struct rmd_slice tokens) {
    tokens = trimmed(tokens);
    if (tokens.n == 0)
        return RMD_OK;
    const uint8_t *end = tokens.p + tokens.n;
    for (const uint8_t *p = tokens.p; p < end;) {
        size_t n = word_length(p, end);
        if (n > RMD_HEADER_WORD_MAX)
            return RMD_ELIMIT;
        p += n + 1;
    }
    put_words(w, tokens.p, end);
    return RMD_OK;
}

/* ---------------------------------------------------------------- mailboxes */

static bool is_atom_text(struct rmd_slice s) {
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && !(c && strchr(" !#$%&'*+-/=?^_`{|}~", c)))
            return false;
    }
    return true;
}

/* A quoted string, folded at its spaces: folding white space inside the quotes is part of the syntax. */
static void put_quoted(struct rmd_header_writer *w, struct rmd_slice s) {
    const uint8_t *end = s.p + s.n;
    for (const uint8_t *p = s.p; p < end;) {
        size_t n = word_length(p, end);
        separate(w, n + 3, FOLD_AT);
        if (p == s.p)
            rmd_buf_addc(w->out, '"');
        for (size_t i = 0; i < n; i++) {
            if (p[i] == '"' || p[i] == '\\')
                rmd_buf_addc(w->out, '\\');
            rmd_buf_addc(w->out, (char)p[i]);
        }
        p += n + 1;
    }
    rmd_buf_addc(w->out, '"');
}

/* Half of the limit, because each character of a quoted string may need a backslash. */
static bool phrase_needs_encoding(struct rmd_slice s) {
    const uint8_t *end = s.p + s.n;
    for (const uint8_t *p = s.p; p < end;) {
        size_t n = word_length(p, end);
        if (needs_encoding(p, n) || n > RMD_HEADER_WORD_MAX / 2)
            return true;
        p += n + 1;
    }
    return false;
}

void rmd_header_mailbox(struct rmd_header_writer *w, struct rmd_slice name, struct rmd_slice address) {
    if (!w->fresh)
        rmd_buf_addc(w->out, ',');
    name = trimmed(name);
    if (name.n == 0) {
        separate(w, address.n, FOLD_AT);
        rmd_buf_add(w->out, address.p, address.n);
        return;
    }
    if (phrase_needs_encoding(name))
        put_encoded(w, name.p, name.n);
    else if (is_atom_text(name))
        put_words(w, name.p, name.p + name.n);
    else
        put_quoted(w, name);
    separate(w, address.n + 2, FOLD_AT);
    rmd_buf_addc(w->out, '<');
    rmd_buf_add(w->out, address.p, address.n);
    rmd_buf_addc(w->out, '>');
}
