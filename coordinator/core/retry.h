/* Retry schedule: when a deferred recipient is tried again. Pure.
 *
 * Exponential between retry_min and retry_max of the stream (delay doubles with each attempt), with jitter of up to a quarter in either
 * direction, so that recipients that were refused together don't return together. A class can have its own first delay
 * ("greylisted=5min"), and a verdict's duration is a floor: the receiver said when. The age limit and valid_until are a ceiling: a retry
 * that would come after them is no retry (the recipient expires at that time, and not before). Units: milliseconds. */
#ifndef REMUDA_RETRY_H
#define REMUDA_RETRY_H

#include <remuda/rng.h>

#include "proto/verdict.h"

struct rmd_retry_plan {
    int64_t min_ms, max_ms;                  /* of the stream */
    int64_t class_first_ms[RMD_CLASS_COUNT]; /* 0: min_ms */
};

/* Shipped per-class first delays: greylisted 5 min, mailbox_full 1 h, others the stream's own. */
void rmd_retry_plan_init(struct rmd_retry_plan *p, int64_t min_ms, int64_t max_ms);
/* Applies "class=duration" texts (NULL-terminated list; NULL: none). RMD_EINVAL with the offending text in *bad. */
int rmd_retry_plan_override(struct rmd_retry_plan *p, const char *const *override, const char **bad) RMD_CHECKED;

struct rmd_retry {
    bool expires; /* no further attempt fits: not_before is when the recipient expires */
    int64_t not_before_wall_ms;
};

/* attempts: how often it was attempted, this one included (>= 1). valid_until_wall_ms: RMD_NEVER when there is no limit. */
struct rmd_retry rmd_retry_next(const struct rmd_retry_plan *p, const struct rmd_verdict *v, uint32_t attempts,
                                int64_t now_wall_ms, int64_t valid_until_wall_ms, struct rmd_rng *rng);

#endif
