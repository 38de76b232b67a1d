/* CSV reader: see csv.h. One pass, byte-wise where it must and memchr-like runs where it can. */
#include <assert.h>

#include "coordinator/core/csv.h"

#include <base/text.h>

/* States: at the start of a field; inside a bare one; inside quotes; just behind a closing (or doubled) quote; behind
 * garbage. */
enum { FIELD_START, BARE, QUOTED, QUOTE_SEEN, SKIPPING };

static void begin_record(struct rmd_csv *c) {
    rmd_buf_clear(&c->data);
    c->n_fields = 0;
    c->error = NULL;
    c->any = false;
    c->state = FIELD_START;
    c->record_line = c->line;
}

static void fail(struct rmd_csv *c, const char *why) {
    if (!c->error)
        c->error = why;
}

static void end_field(struct rmd_csv *c) {
    if (c->n_fields == RMD_CSV_FIELDS_MAX) {
        fail(c, "more than 256 fields");
        return;
    }
    c->field_end[c->n_fields++] = c->data.len;
}

static void add(struct rmd_csv *c, const uint8_t *p, size_t n) {
    if (c->data.len + n > RMD_CSV_RECORD_BYTES_MAX) {
        fail(c, "row longer than 128 KiB");
        return;
    }
    rmd_buf_add(&c->data, p, n);
}

/* Hands the record out unless it is an empty line; returns the callback's answer. */
static bool end_record(struct rmd_csv *c, rmd_csv_fn fn, void *ctx) {
    bool go_on = true;
    if (c->any) {
        end_field(c);
        struct rmd_csv_record *r = &c->record;
        r->line = c->record_line;
        r->n = c->n_fields;
        size_t from = 0;
        for (size_t i = 0; i < c->n_fields; i++) {
            r->field[i] = rmd_slice(c->data.p ? c->data.p + from : (const uint8_t *)"", c->field_end[i] - from);
            from = c->field_end[i];
        }
        if (!c->error && !rmd_utf8_valid(rmd_buf_slice(&c->data)))
            fail(c, "not valid UTF-8");
        if (!c->error && c->data.len && memchr(c->data.p, 0, c->data.len))
            fail(c, "NUL byte in the row");
        r->error = c->error;
        go_on = fn(ctx, r);
    }
    begin_record(c);
    return go_on;
}

/* A byte that ends a record outside quotes. LF behind CR belongs to it. */
static bool line_end(struct rmd_csv *c, uint8_t b, rmd_csv_fn fn, void *ctx) {
    c->line++;
    c->skip_lf = b == '\r';
    return end_record(c, fn, ctx);
}

static bool special(uint8_t b) {
    return b == ',' || b == '"' || b == '\n' || b == '\r';
}

static size_t bare_run(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n && !special(p[i]))
        i++;
    return i;
}

/* Inside quotes only a quote is special; line ends are counted for error messages. */
static size_t quoted_run(struct rmd_csv *c, const uint8_t *p, size_t n) {
    const uint8_t *quote = memchr(p, '"', n);
    size_t run = quote ? (size_t)(quote - p) : n;
    for (const uint8_t *q = p; (q = memchr(q, '\n', run - (size_t)(q - p))) != NULL; q++)
        c->line++;
    add(c, p, run);
    return run;
}

/* Over several lines it is mostly a quote that was forgotten, and another field's that closed it. */
static void text_behind_quote(struct rmd_csv *c) {
    if (c->quote_line == c->line) {
        fail(c, "text behind a closing quote");
        return;
    }
    (void)rmd_format(c->why, sizeof c->why,
                     "text behind a closing quote: the quote that opens on line %llu was closed on line %llu only",
                     (unsigned long long)c->quote_line, (unsigned long long)c->line);
    fail(c, c->why);
}

/* Says more than that the row became too long. */
static void quote_left_open(struct rmd_csv *c) {
    uint64_t lines = c->line - c->quote_line - c->at_line_end;
    (void)rmd_format(
        c->why, sizeof c->why,
        "the quote that opens on line %llu is never closed: the rest of the file (%llu line%s behind it) was "
        "read as this field",
        (unsigned long long)c->quote_line, (unsigned long long)lines, lines == 1 ? "" : "s");
    c->error = c->why;
    c->record_line = c->quote_line;
    c->any = true;
}

/* One step at p; returns the bytes consumed. *go_on is the callback's answer when a record ended. */
static size_t step(struct rmd_csv *c, const uint8_t *p, size_t n, rmd_csv_fn fn, void *ctx, bool *go_on) {
    uint8_t b = *p;
    if (c->state == QUOTED) {
        size_t run = quoted_run(c, p, n);
        if (run < n) {
            c->state = QUOTE_SEEN;
            run++;
        }
        return run;
    }
    if (b == '\n' || b == '\r') {
        *go_on = line_end(c, b, fn, ctx);
        return 1;
    }
    c->any = true;
    if (b == ',') {
        end_field(c);
        c->state = FIELD_START;
        return 1;
    }
    switch (c->state) {
    case QUOTE_SEEN:
        if (b == '"') {
            add(c, p, 1);
            c->state = QUOTED;
            return 1;
        }
        text_behind_quote(c);
        c->state = SKIPPING;
        return 1;
    case FIELD_START:
        if (b == '"') {
            c->state = QUOTED;
            c->quote_line = c->line;
            return 1;
        }
        c->state = BARE;
        break;
    case BARE:
        if (b == '"')
            fail(c, "quote inside an unquoted field");
        break;
    default:
        break;
    }
    size_t run = bare_run(p, n);
    if (run == 0)
        run = 1; /* a quote in a bare field: already an error, kept as text */
    if (c->state != SKIPPING)
        add(c, p, run);
    return run;
}

static const uint8_t bom[3] = {0xef, 0xbb, 0xbf};

static bool feed(struct rmd_csv *c, const uint8_t *p, size_t n, rmd_csv_fn fn, void *ctx) {
    bool go_on = true;
    for (size_t i = 0; i < n && go_on;) {
        if (c->skip_lf) {
            c->skip_lf = false;
            if (p[i] == '\n') {
                i++;
                continue;
            }
        }
        i += step(c, p + i, n - i, fn, ctx, &go_on);
    }
    return go_on;
}

/* The byte order mark may come in pieces; what only began like one is given back. Returns the bytes of it. */
static size_t skip_bom(struct rmd_csv *c, struct rmd_slice in, rmd_csv_fn fn, void *ctx, bool *go_on) {
    size_t i = 0;
    while (i < in.n && c->bom_seen < sizeof bom && in.p[i] == bom[c->bom_seen]) {
        c->bom_seen++;
        i++;
    }
    if (i == in.n && c->bom_seen < sizeof bom)
        return i;
    c->bom_done = true;
    if (c->bom_seen < sizeof bom)
        *go_on = feed(c, bom, c->bom_seen, fn, ctx);
    return i;
}

bool rmd_csv_feed(struct rmd_csv *c, struct rmd_slice in, rmd_csv_fn fn, void *ctx) {
    bool go_on = true;
    size_t from = 0;
    if (in.n)
        c->at_line_end = in.p[in.n - 1] == '\n';
    if (c->line == 0)
        c->line = c->record_line = 1;
    if (!c->bom_done)
        from = skip_bom(c, in, fn, ctx, &go_on);
    return go_on && feed(c, in.p + from, in.n - from, fn, ctx);
}

bool rmd_csv_finish(struct rmd_csv *c, rmd_csv_fn fn, void *ctx) {
    assert(c->bom_done || c->bom_seen < sizeof bom);
    if (!c->bom_done && c->bom_seen)
        feed(c, bom, c->bom_seen, fn, ctx);
    if (c->state == QUOTED)
        quote_left_open(c);
    return end_record(c, fn, ctx);
}

void rmd_csv_release(struct rmd_csv *c) {
    rmd_buf_release(&c->data);
    *c = (struct rmd_csv){0};
}
