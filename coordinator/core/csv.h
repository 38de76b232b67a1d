/* CSV reader (RFC 4180), streaming: bytes in, records out. Pure.
 *
 * Commas, quotes doubled inside quoted fields, CRLF or LF (or a lone CR) ends a record, a UTF-8 byte order mark is
 * skipped, empty lines are skipped. The record handed out lives until the next call. Limits have names; a record that
 * breaks one, or has text behind a closing quote, or isn't UTF-8, is handed out as an error with its line, and
 * reading goes on behind it. Whatever follows a quote that nothing closes is part of its field: the error names the line on
 * which it opened. */
#ifndef REMUDA_CSV_H
#define REMUDA_CSV_H

#include <base/buf.h>

enum { RMD_CSV_FIELDS_MAX = 256, RMD_CSV_RECORD_BYTES_MAX = 128 << 10 };

struct rmd_csv_record {
    uint64_t line;     /* of its first byte, from 1; of the quote that is never closed */
    const char *error; /* NULL, or why it can't be used */
    size_t n;
    struct rmd_slice field[RMD_CSV_FIELDS_MAX];
};

struct rmd_csv {
    int state;
    uint64_t line, record_line, quote_line;
    const char *error;
    char why[160]; /* of an error that names lines */
    bool any, skip_lf, bom_done;
    bool at_line_end; /* of the last piece of input */
    uint8_t bom_seen;
    size_t n_fields;
    size_t field_end[RMD_CSV_FIELDS_MAX];
    struct rmd_buf data;
    struct rmd_csv_record record;
};

/* A zeroed struct is a fresh reader. Returns false to stop early. */
typedef bool (*rmd_csv_fn)(void *ctx, const struct rmd_csv_record *r);
bool rmd_csv_feed(struct rmd_csv *c, struct rmd_slice in, rmd_csv_fn fn, void *ctx);
/* The end of the input: the last record may lack its line end; an open quote is an error of its record. */
bool rmd_csv_finish(struct rmd_csv *c, rmd_csv_fn fn, void *ctx);
void rmd_csv_release(struct rmd_csv *c);

#endif
