/* Tables of tab-separated values with a header line, read line by line. Pure.
 *
 * No quoting: a quote is a character, a tab never stands inside a value. Columns are found by name, in any order;
 * others are ignored. Empty lines are skipped. A value of several lines may come as
 *   - one line with a literal \n (also \r and \t) between them, which becomes a blank;
 *   - lines that begin with a blank or, when there is more than one column, hold no tab;
 *   - further lines of a reply ("550-first", "550 second") in the last column read so far.
 * Such lines are joined by a blank. */
#ifndef REMUDA_TSV_H
#define REMUDA_TSV_H

#include <base/buf.h>

enum { RMD_TSV_COLUMNS_MAX = 64, RMD_TSV_WANTED_MAX = 16, RMD_TSV_ROW_MAX = 256 << 10 };

struct rmd_tsv {
    const char *const *wanted; /* NULL-terminated */
    size_t n_wanted;
    int column[RMD_TSV_WANTED_MAX]; /* of each wanted one, -1: not in the header */
    int columns;                    /* of the header, 0: not read yet */
    struct rmd_buf row, out;
    uint64_t rows;                              /* data rows told so far */
    struct rmd_slice value[RMD_TSV_WANTED_MAX]; /* of the row just told; absent ones are empty */
};

void rmd_tsv_init(struct rmd_tsv *t, const char *const *wanted);
void rmd_tsv_release(struct rmd_tsv *t);
/* One line, with or without its line end. RMD_OK: a row is complete, see value (until the next call);
 * RMD_EAGAIN: more lines are needed; RMD_ELIMIT: a row is too long, or has too many columns. */
int rmd_tsv_line(struct rmd_tsv *t, struct rmd_slice line) RMD_CHECKED;
/* No more lines. RMD_OK: one more row; RMD_EAGAIN: none. */
int rmd_tsv_end(struct rmd_tsv *t) RMD_CHECKED;
bool rmd_tsv_has(const struct rmd_tsv *t, size_t wanted);

#endif
