/* Retry schedule: see retry.h for the policy. */
#include "coordinator/core/retry.h"

#include <base/text.h>

void rmd_retry_plan_init(struct rmd_retry_plan *p, int64_t min_ms, int64_t max_ms) {
    *p = (struct rmd_retry_plan){.min_ms = min_ms, .max_ms = max_ms};
    /* Greylisting implementations let a retry through after 5 minutes as a rule; a full mailbox isn't emptied in a
     * quarter of an hour. */
    p->class_first_ms[RMD_CLASS_GREYLISTED] = 5 * 60 * 1000;
    p->class_first_ms[RMD_CLASS_MAILBOX_FULL] = 60 * 60 * 1000;
}

int rmd_retry_plan_override(struct rmd_retry_plan *p, const char *const *override, const char **bad) {
    for (; override && *override; override++) {
        const char *eq = strchr(*override, '=');
        *bad = *override;
        if (!eq)
            return RMD_EINVAL;
        int class = rmd_class_parse(rmd_slice(*override, (size_t)(eq - *override)));
        int64_t ms;
        if (class < 0 || rmd_parse_duration_ms(rmd_slice_str(eq + 1), &ms) != RMD_OK || ms <= 0)
            return RMD_EINVAL;
        p->class_first_ms[class] = ms;
    }
    *bad = NULL;
    return RMD_OK;
}

/* first * 2^(attempts - 1), at most max; no overflow for any number of attempts. */
static int64_t back_off(int64_t first, int64_t max, uint32_t attempts) {
    int64_t delay = first;
    for (uint32_t i = 1; i < attempts && delay < max; i++)
        delay = delay > max / 2 ? max : delay * 2;
    return delay < max ? delay : max;
}

struct rmd_retry rmd_retry_next(const struct rmd_retry_plan *p, const struct rmd_verdict *v, uint32_t attempts,
                                int64_t now_wall_ms, int64_t valid_until_wall_ms, struct rmd_rng *rng) {
    int64_t first = v->class < RMD_CLASS_COUNT ? p->class_first_ms[v->class] : 0;
    struct rmd_retry r = {0};
    int64_t max = first > p->max_ms ? first : p->max_ms;
    int64_t delay = back_off(first ? first : p->min_ms, max, attempts);
    int64_t quarter = delay / 4;
    if (quarter > 0)
        delay += (int64_t)rmd_rng_below(rng, (uint64_t)(2 * quarter + 1)) - quarter;
    if (v->duration_ms > delay) {
        /* Spread upwards only: never before the time that the receiver named. */
        delay = v->duration_ms + (int64_t)rmd_rng_below(rng, (uint64_t)(v->duration_ms / 8 + 1));
    }
    if (valid_until_wall_ms != RMD_NEVER && delay > valid_until_wall_ms - now_wall_ms) {
        r.expires = true;

        r.not_before_wall_ms = valid_until_wall_ms > now_wall_ms ? valid_until_wall_ms : now_wall_ms;
        return r;
    }
    r.not_before_wall_ms = now_wall_ms + delay;
    return r;
}
