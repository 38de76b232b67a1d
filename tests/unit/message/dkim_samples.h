/* Messages for tests of DKIM: put together field by field, and thrown from a seed as odd as they may be. */
#ifndef REMUDA_TESTS_DKIM_SAMPLES_H
#define REMUDA_TESTS_DKIM_SAMPLES_H

#include <base/text.h>
#include <remuda/rng.h>

#include "node/core/dkim.h"

struct sample {
    struct rmd_buf head, body, all;
    struct rmd_dkim_header field[64];
    size_t start[64], name_n[64], end[64], n;
};

static void sample_field(struct sample *s, const char *name, const char *rest) {
    s->start[s->n] = s->head.len;
    s->name_n[s->n] = strlen(name);
    rmd_buf_addf(&s->head, "%s:%s", name, rest);
    s->end[s->n++] = s->head.len;
    rmd_buf_addstr(&s->head, "\r\n");
}

static void sample_clear(struct sample *s) {
    rmd_buf_clear(&s->head);
    rmd_buf_clear(&s->body);
    rmd_buf_clear(&s->all);
    s->n = 0;
}

static void sample_release(struct sample *s) {
    rmd_buf_release(&s->head);
    rmd_buf_release(&s->body);
    rmd_buf_release(&s->all);
}

static void random_body(struct rmd_rng *rng, struct rmd_buf *out) {
    static const char *const bits[] = {" ",
                                       "\t",
                                       "  \t ",
                                       "word",
                                       ".",
                                       "..",
                                       "\r\n",
                                       "\r\n\r\n",
                                       " \r\n",
                                       "\t\r\n",
                                       "=20",
                                       "é",
                                       "ÿ\xff",
                                       "\r\n.\r\n",
                                       "From ",
                                       "--b",
                                       "0123456789abcdefghij"};
    uint64_t n = rmd_rng_below(rng, 120);
    for (uint64_t i = 0; i < n; i++) {
        rmd_buf_addstr(out, bits[rmd_rng_below(rng, sizeof bits / sizeof bits[0])]);
        if (rmd_rng_below(rng, 200) == 0)
            for (int k = 0; k < 5000; k++)
                rmd_buf_addc(out, "ab c"[rmd_rng_below(rng, 4)]);
    }
    if (out->len) /* libopendkim refuses a last line without an end; body_forms has those */
        rmd_buf_addstr(out, "\r\n");
    for (uint64_t k = rmd_rng_below(rng, 4); k; k--)
        rmd_buf_addstr(out, "\r\n");
}

static void random_value(struct rmd_rng *rng, char *out, size_t n) {
    static const char *const bits[] = {" ",          "\t",         "  ", "x", "Wort",
                                       "\r\n\tfold", "\r\n  more", ":",  ";", "=?utf-8?Q?=C3=A9?="};
    size_t len = 0;
    out[0] = 0;
    for (uint64_t i = rmd_rng_below(rng, 14); i; i--) {
        const char *bit = bits[rmd_rng_below(rng, sizeof bits / sizeof bits[0])];
        int k = rmd_format(out + len, n - len, "%s", bit);
        if (k < 0)
            break;
        len += (size_t)k;
    }
}

/* A whole message: From, some fields of values that are hard to canonicalise, a body likewise. */
static void sample_throw(struct sample *s, struct rmd_rng *rng) {
    static const char *const names[] = {"Subject",  "to",   "CC",      "X-Thing",
                                        "Reply-To", "Date", "list-id", "Message-id"};
    char value[400];
    sample_clear(s);
    sample_field(s, "From", rmd_rng_below(rng, 2) ? " a@news.example" : "\r\n  \"A\t B\"  <a@news.example> ");
    for (uint64_t k = rmd_rng_below(rng, 8); k; k--) {
        random_value(rng, value, sizeof value);
        sample_field(s, names[rmd_rng_below(rng, sizeof names / sizeof names[0])], value);
    }
    random_body(rng, &s->body);
    for (size_t i = 0; i < s->n; i++) {
        s->field[i].name = rmd_slice(s->head.p + s->start[i], s->name_n[i]);
        s->field[i].field = rmd_slice(s->head.p + s->start[i], s->end[i] - s->start[i]);
    }
}

#endif
