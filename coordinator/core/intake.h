/* Intake: from a recipient list to chunks in store batches. Pure but for the domain port it is given.
 *
 * Rows are checked (columns, address syntax, domain to A-labels, duplicates, invalid UTF-8), gathered by destination domain, and leave as Chunk
 * values under K. Domains that gather fewer than RMD_INTAKE_TAIL_ROWS until memory is needed go into the tail: buckets by hash of the domain.
 * Memory is bounded: RMD_INTAKE_BYTES_MAX of rows waiting (then the fullest leave), plus 16 bytes a distinct address for duplicates.
 * Nothing is visible until the owner commits the campaign's record. */
#ifndef REMUDA_INTAKE_H
#define REMUDA_INTAKE_H

#include <remuda/store.h>

#include "coordinator/core/csv.h"
#include "coordinator/core/keys.h"
#include "proto/codec.h"

enum {
    RMD_INTAKE_BYTES_MAX = 32 << 20,
    RMD_INTAKE_TAIL_ROWS = 16,
    RMD_INTAKE_TAIL_BUCKETS = 64,
    RMD_INTAKE_BATCH_BYTES = 1 << 20,
    RMD_GROUP_TAIL = (int)0x80000000, /* bit 31 of a group: a bucket of the tail */
};

struct rmd_intake_reject {
    uint64_t line;
    struct rmd_slice email; /* as given, "" when there is none; valid during the call */
    const char *reason;     /* static text */
};

struct rmd_intake_options {
    uint32_t tenant;
    struct rmd_id campaign;
    /* Domain to lower-case A-labels (IDNA 2008); NULL reason = good. */
    const char *(*to_ascii)(void *ctx, struct rmd_slice domain, char out[256]);
    void *to_ascii_ctx;
    void (*rejected)(void *ctx, const struct rmd_intake_reject *r);
    /* A full batch; taken over by the call (the intake goes on with an empty one). Negative: stop with that error. */
    int (*batch)(void *ctx, struct rmd_batch *b);
    void *ctx;
    /* Called once, when the header row was read; negative stops (the template does not fit the columns). */
    int (*header)(void *ctx, const char *const *columns, size_t n);
};

struct rmd_intake;
struct rmd_intake *rmd_intake_new(const struct rmd_intake_options *o);
void rmd_intake_free(struct rmd_intake *i);
/* The CSV in pieces of any size. RMD_EFORMAT: the header row is unusable (see rmd_intake_trouble). */
int rmd_intake_feed(struct rmd_intake *i, struct rmd_slice in) RMD_CHECKED;
int rmd_intake_finish(struct rmd_intake *i) RMD_CHECKED;
/* From within header(): the value of this column (index into columns) must not be empty in any row. */
void rmd_intake_require(struct rmd_intake *i, size_t column);
const char *rmd_intake_trouble(const struct rmd_intake *i);
/* Columns of the header row without "email", in order; set once the header row was read (n == SIZE_MAX before). */
const char *const *rmd_intake_columns(const struct rmd_intake *i, size_t *n);
uint64_t rmd_intake_accepted(const struct rmd_intake *i);
uint64_t rmd_intake_rejected(const struct rmd_intake *i);
uint32_t rmd_intake_chunks(const struct rmd_intake *i);

#endif
