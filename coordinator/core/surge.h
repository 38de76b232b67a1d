/* Surge of unknown users: when does a provider deny so many that its word isn't believed?
 *
 * Providers have said 550 5.1.1 of valid users for hours. For each provider (of `other`: each site), by tenant, the final answers about
 * recipients are counted: accepted, or no such user. Two things are kept:
 *
 *   usual    share of unknown users outside of surges: decayed by half in RMD_SURGE_HALF_LIFE_MS, and when RMD_SURGE_USUAL_MAX answers
 *            are passed; RMD_SURGE_PRIOR answers at RMD_SURGE_PRIOR_PPM count with it, so that a provider that is hardly known has one
 *   limit    max(3 x usual, usual + 5 percentage points), at most 90 %
 *   run      the answers since the share was last under the limit: each unknown user adds (1 - limit), each other answer takes limit
 *            away, and at zero or below the run ends and what it counted is usual. A run older than RMD_SURGE_RUN_MAX_MS is usual as well.
 *
 * A surge begins when a run has RMD_SURGE_UNKNOWN_MIN unknown users, and the lower bound of their share (Wilson, one side, 99 %) is at or
 * over the limit. It is over when a calm run, counted the other way round against the middle of usual and limit, has RMD_SURGE_CALM_MIN
 * answers with the upper bound of its share under the limit; or when nobody was unknown for RMD_SURGE_SILENT_MS. What a surge says is never
 * learned, unless a person says that it was true (rmd_surge_learn).
 *
 * Pure counting; what is done about it: surge_act.c, surge_decide.c. Times are wall clock, shares parts per million. */
#ifndef REMUDA_SURGE_H
#define REMUDA_SURGE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RMD_SURGE_UNKNOWN_MIN = 20,
    RMD_SURGE_CALM_MIN = 200,
    RMD_SURGE_PRIOR = 500,
    RMD_SURGE_PRIOR_PPM = 10000,
    RMD_SURGE_USUAL_MAX = 1000000,
    RMD_SURGE_RUN_MAX_MS = 24 * 3600 * 1000,
    RMD_SURGE_SILENT_MS = 24 * 3600 * 1000,
    /* surge_internal.h */
    RMD_SURGE_PLACES_MAX = 4096,
    RMD_SURGE_RECENT_MAX = 16384,
    RMD_SURGE_RECENT_MS = 6 * 3600 * 1000,
    RMD_SURGE_LEAD_MS = 3600 * 1000,
    RMD_SURGE_PENDING_MAX = 200000,
};
#define RMD_SURGE_HALF_LIFE_MS (30 * INT64_C(86400000))

struct rmd_surge {
    uint64_t usual_n, usual_unknown;
    int64_t decayed_wall_ms;
    bool on;
    uint64_t n, unknown; /* of the run; of the surge from the beginning of its run */
    int64_t since_wall_ms, score;
    uint64_t calm_n, calm_unknown;
    int64_t calm_score;
    int64_t unknown_wall_ms; /* of the last one */
};

enum rmd_surge_change { RMD_SURGE_SAME, RMD_SURGE_BEGAN, RMD_SURGE_OVER };

uint32_t rmd_surge_usual_ppm(const struct rmd_surge *s);
uint32_t rmd_surge_limit_ppm(const struct rmd_surge *s);
/* One final answer about a recipient. */
enum rmd_surge_change rmd_surge_count(struct rmd_surge *s, bool unknown, int64_t wall_ms);
/* The surge told the truth: it counts as usual, and is over. */
void rmd_surge_learn(struct rmd_surge *s);
/* It is over, and nothing is learned. */
void rmd_surge_end(struct rmd_surge *s);

#endif
