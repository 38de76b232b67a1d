/* Surge of unknown users: see surge.h. */
#include "coordinator/core/surge.h"

#include "coordinator/core/warmup.h"

enum { ALL_PPM = 1000000, LIMIT_MAX_PPM = 900000, OVER_PPM = 50000, CONFIDENCE = 99 };

uint32_t rmd_surge_usual_ppm(const struct rmd_surge *s) {
    uint64_t unknown = s->usual_unknown * ALL_PPM + (uint64_t)RMD_SURGE_PRIOR * RMD_SURGE_PRIOR_PPM;
    return (uint32_t)(unknown / (s->usual_n + RMD_SURGE_PRIOR));
}

uint32_t rmd_surge_limit_ppm(const struct rmd_surge *s) {
    uint32_t usual = rmd_surge_usual_ppm(s), limit = 3 * usual;
    if (limit < usual + OVER_PPM)
        limit = usual + OVER_PPM;
    return limit < LIMIT_MAX_PPM ? limit : LIMIT_MAX_PPM;
}

static void halve(struct rmd_surge *s) {
    s->usual_n /= 2;
    s->usual_unknown /= 2;
}

static void decay(struct rmd_surge *s, int64_t wall_ms) {
    if (!s->decayed_wall_ms || wall_ms < s->decayed_wall_ms)
        s->decayed_wall_ms = wall_ms;
    while (s->usual_n && wall_ms - s->decayed_wall_ms >= RMD_SURGE_HALF_LIFE_MS) {
        halve(s);
        s->decayed_wall_ms += RMD_SURGE_HALF_LIFE_MS;
    }
    if (!s->usual_n)
        s->decayed_wall_ms = wall_ms;
}

static void begin_run(struct rmd_surge *s) {
    s->n = s->unknown = 0;
    s->score = s->since_wall_ms = 0;
    s->calm_n = s->calm_unknown = 0;
    s->calm_score = 0;
}

/* What the run counted is usual. */
static void fold(struct rmd_surge *s) {
    s->usual_n += s->n;
    s->usual_unknown += s->unknown;
    while (s->usual_n > RMD_SURGE_USUAL_MAX)
        halve(s);
    begin_run(s);
}

static enum rmd_surge_change count_run(struct rmd_surge *s, bool unknown, int64_t wall_ms) {
    uint32_t limit = rmd_surge_limit_ppm(s), low, high;
    if (s->n && wall_ms - s->since_wall_ms > RMD_SURGE_RUN_MAX_MS)
        fold(s);
    if (!s->n)
        s->since_wall_ms = wall_ms;
    s->n++;
    s->unknown += unknown;
    s->score += unknown ? (int64_t)ALL_PPM - limit : -(int64_t)limit;
    if (s->score <= 0) {
        fold(s);
        return RMD_SURGE_SAME;
    }
    rmd_wilson_ppm(s->unknown, s->n, CONFIDENCE, &low, &high);
    if (s->unknown < RMD_SURGE_UNKNOWN_MIN || low < limit)
        return RMD_SURGE_SAME;
    s->on = true;
    return RMD_SURGE_BEGAN;
}

void rmd_surge_end(struct rmd_surge *s) {
    s->on = false;
    begin_run(s);
}

static enum rmd_surge_change count_surge(struct rmd_surge *s, bool unknown) {
    uint32_t limit = rmd_surge_limit_ppm(s), middle = (rmd_surge_usual_ppm(s) + limit) / 2, low, high;
    s->n++;
    s->unknown += unknown;
    s->calm_n++;
    s->calm_unknown += unknown;
    s->calm_score += unknown ? -(int64_t)(ALL_PPM - middle) : (int64_t)middle;
    if (s->calm_score <= 0) {
        s->calm_n = s->calm_unknown = 0;
        s->calm_score = 0;
        return RMD_SURGE_SAME;
    }
    rmd_wilson_ppm(s->calm_unknown, s->calm_n, CONFIDENCE, &low, &high);
    if (s->calm_n < RMD_SURGE_CALM_MIN || high >= limit)
        return RMD_SURGE_SAME;
    rmd_surge_end(s);
    return RMD_SURGE_OVER;
}

enum rmd_surge_change rmd_surge_count(struct rmd_surge *s, bool unknown, int64_t wall_ms) {
    enum rmd_surge_change change = RMD_SURGE_SAME;
    decay(s, wall_ms);
    if (s->on && wall_ms - s->unknown_wall_ms >= RMD_SURGE_SILENT_MS) {
        rmd_surge_end(s);
        change = RMD_SURGE_OVER;
    }
    if (unknown)
        s->unknown_wall_ms = wall_ms;
    enum rmd_surge_change now = s->on ? count_surge(s, unknown) : count_run(s, unknown, wall_ms);
    return now == RMD_SURGE_SAME ? change : now;
}

void rmd_surge_learn(struct rmd_surge *s) {
    s->on = false;
    fold(s);
}
