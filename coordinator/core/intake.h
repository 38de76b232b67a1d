/* Intake: from a recipient list to chunks in store batches. Pure but for the domain port it is given.
 *
 * Rows are checked (columns, address syntax, domain to A-labels, duplicates, invalid UTF-8), gathered by destination domain, and leave as Chunk
 * values under K. Domains that gather fewer than RMD_INTAKE_TAIL_ROWS until memory is needed go into the tail: buckets by hash of the domain.
 * Memory is bounded: RMD_INTAKE_BYTES_MAX of rows waiting (then the fullest leave), plus 16 bytes a distinct address for duplicates.
 * A column engaged_at (RFC 3339 or a date; empty: not known) says when the recipient last opened or clicked: rows are then gathered by
 * engagement class as well, and the class leads the group, so that whoever reads chunks in the order of their keys meets the most
 * recently engaged recipients first.
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
    RMD_GROUP_TAIL = (int)0x80000000,    /* bit 31 of a group: a bucket of the tail */
    RMD_GROUP_ENGAGED_TAIL = 0x10000000, /* the same where groups carry a class, in bits 29 to 31 */
    RMD_ENGAGEMENT_CLASSES = 6,
};
#define RMD_ENGAGED_COLUMN "engaged_at"

/* Class of engagement by age: 0 at most a week, 1 a month, 2 three months, 3 a year, 4 older, 5 not known. */
unsigned rmd_engagement_class(int64_t engaged_wall_ms, int64_t now_wall_ms);
/* The group of a domain (by its hash), in the tail or not; engaged: the campaign's groups carry classes. */
uint32_t rmd_group_of(bool engaged, unsigned class, bool tail, uint32_t hash);
static inline bool rmd_group_is_tail(bool engaged, uint32_t group) {
    return engaged ? group & RMD_GROUP_ENGAGED_TAIL : group >> 31;
}

struct rmd_intake_reject {
    uint64_t line;
    struct rmd_slice email; /* as given, "" when there is none; valid during the call */
    const char *reason;     /* static text */
};

struct rmd_intake_options {
    uint32_t tenant;
    struct rmd_id campaign;
    int64_t now_wall_ms; /* what engagement is measured from */
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
bool rmd_intake_engaged(const struct rmd_intake *i); /* the list has the column engaged_at */

#endif
