/* Schedules of campaigns: see schedule.h. */
#include "coordinator/core/schedule.h"

static int64_t slice_ms(const struct rmd_schedule *s) {
    int64_t ms = s->over_ms / RMD_SCHEDULE_SLICES;
    return ms > RMD_SCHEDULE_SLICE_MIN_MS ? ms : RMD_SCHEDULE_SLICE_MIN_MS;
}

static uint64_t slices(const struct rmd_schedule *s) {
    return (uint64_t)((s->over_ms + slice_ms(s) - 1) / slice_ms(s));
}

static uint64_t left(const struct rmd_release *r) {
    return r->rows > r->base ? r->rows - r->base : 0;
}

/* How many recipients when n slices or batches are out. */
static uint64_t after(const struct rmd_release *r, uint64_t n) {
    uint64_t all = left(r), total = r->s.over_ms ? slices(&r->s) : 0;
    if (r->s.over_ms)
        return n >= total || !all ? UINT64_MAX : r->base + all * n / total;
    return n >= (all + r->s.batch - 1) / r->s.batch ? UINT64_MAX : r->base + n * r->s.batch;
}

/* Nothing is released before the start, also when it was due before that. */
static int64_t first_step(const struct rmd_release *r) {
    return r->from_wall_ms > r->s.start_wall_ms ? r->from_wall_ms : r->s.start_wall_ms;
}

static uint64_t steps(const struct rmd_release *r, int64_t wall_ms) {
    int64_t step = r->s.over_ms ? slice_ms(&r->s) : r->s.every_ms, first = first_step(r);
    return wall_ms < first ? 0 : 1 + (uint64_t)((wall_ms - first) / step);
}

static bool paced(const struct rmd_schedule *s) {
    return s->over_ms || s->batch;
}

uint64_t rmd_release_at(const struct rmd_release *r, int64_t wall_ms) {
    if (wall_ms < r->s.start_wall_ms)
        return 0;
    return paced(&r->s) ? after(r, steps(r, wall_ms)) : UINT64_MAX;
}

int64_t rmd_release_next(const struct rmd_release *r, int64_t wall_ms) {
    if (wall_ms < r->s.start_wall_ms)
        return r->s.start_wall_ms;
    if (!paced(&r->s))
        return RMD_NEVER;
    uint64_t n = steps(r, wall_ms), now = after(r, n), all = left(r);
    if (now == UINT64_MAX)
        return RMD_NEVER;
    int64_t step = r->s.every_ms;
    if (r->s.over_ms) { /* few recipients: not every slice has one */
        uint64_t total = slices(&r->s), need = all ? ((now - r->base + 1) * total + all - 1) / all : total;
        step = slice_ms(&r->s);
        n = need - 1 > n ? need - 1 : n;
        if (n >= total)
            n = total - 1;
    }
    return first_step(r) + (int64_t)n * step;
}

int64_t rmd_release_end(const struct rmd_release *r) {
    if (!paced(&r->s))
        return r->s.start_wall_ms;
    uint64_t all = left(r), n = !all ? 0 : r->s.over_ms ? slices(&r->s) : (all + r->s.batch - 1) / r->s.batch;
    return first_step(r) + (int64_t)(n ? n - 1 : 0) * (r->s.over_ms ? slice_ms(&r->s) : r->s.every_ms);
}

static bool same_pace(const struct rmd_schedule *a, const struct rmd_schedule *b) {
    return a->over_ms == b->over_ms && a->batch == b->batch && a->every_ms == b->every_ms;
}

static int64_t step_ms(const struct rmd_schedule *s) {
    return s->over_ms ? slice_ms(s) : s->batch ? s->every_ms : 0;
}

/* When the old plan last released something, or would have: its clock goes on. One that waits for its first step has it from the plan before.
 * Never later than now: a record of a campaign that was put off once told no more than its start. */
static int64_t last_step(const struct rmd_release *r, int64_t wall_ms) {
    int64_t n = (int64_t)steps(r, wall_ms), step = step_ms(&r->s);
    int64_t last = n ? first_step(r) + (n - 1) * step : r->from_wall_ms - step;
    return last < wall_ms ? last : wall_ms;
}

struct rmd_release rmd_release_changed(const struct rmd_release *old, const struct rmd_schedule *s, uint64_t offered,
                                       bool begun, int64_t now_wall_ms) {
    bool pace = paced(&old->s);
    uint64_t had = !pace ? UINT64_MAX : after(old, steps(old, now_wall_ms));
    bool put_off = s->start_wall_ms > now_wall_ms;
    bool all = had == UINT64_MAX;
    struct rmd_release r = {
        .s = *s, .from_wall_ms = put_off ? s->start_wall_ms : now_wall_ms, .base = offered, .rows = old->rows};
    if (!all && had > offered)
        r.base = had;
    if (all && pace && same_pace(&old->s, s)) /* its start alone changes */
        r.base = old->rows;
    if (!begun && !r.base)
        return r;
    int64_t next = (all ? now_wall_ms : last_step(old, now_wall_ms)) + step_ms(s);
    r.from_wall_ms = put_off || next > now_wall_ms ? next : now_wall_ms; /* the start may be taken back */
    return r;
}

static bool check_start(const struct rmd_schedule *s, int64_t now, struct rmd_buf *why) {
    char at[32], clock[32];
    if (!s->start_wall_ms)
        return true;
    if (s->start_wall_ms < 0 || s->start_wall_ms - now > RMD_SCHEDULE_AHEAD_MAX_MS) {
        rmd_buf_addf(why, "at: a campaign can start within a year");
        return false;
    }
    rmd_date_rfc3339(s->start_wall_ms, at);
    rmd_date_rfc3339(now, clock);
    if (s->start_wall_ms < now)
        rmd_buf_addf(why, "at: %s has passed (the coordinator's clock says %s); leave it out to start at once", at,
                     clock);
    return s->start_wall_ms >= now;
}

static bool check_period(const struct rmd_schedule *s, uint64_t rows, int64_t life_ms, struct rmd_buf *why) {
    char lasts[32], life[32];
    uint64_t batches = s->batch ? (rows + s->batch - 1) / s->batch : 0;
    int64_t ms = s->over_ms;
    if (s->batch && batches > 1) /* no overflow: every_ms is a year at most */
        ms = batches > 1000000 ? INT64_MAX : (int64_t)(batches - 1) * s->every_ms;
    if (!life_ms || ms < life_ms)
        return true;
    rmd_format_duration(ms, lasts);
    rmd_format_duration(life_ms, life);
    if (s->batch)
        rmd_buf_addf(
            why,
            "batch, every: %llu batches take %s%s, and mail that waits is given up %s after the start: larger "
            "batches, a shorter --every, or a longer age limit",
            (unsigned long long)batches, ms == INT64_MAX ? "more than " : "", lasts, life);
    else
        rmd_buf_addf(why,
                     "over: %s is too long, mail that waits is given up %s after the start: a shorter --over, or a "
                     "longer age limit (--valid-for, `remuda stream set --age-limit`)",
                     lasts, life);
    return false;
}

bool rmd_schedule_check(const struct rmd_schedule *s, uint64_t rows, int64_t now_wall_ms, int64_t life_ms,
                        struct rmd_buf *why) {
    const char *wrong = NULL;
    if (s->over_ms && (s->batch || s->every_ms))
        wrong = "over: a campaign is spread over a period, or goes in batches, not both";
    else if (s->batch && !s->every_ms)
        wrong = "batch: needs --every, the time from one batch to the next";
    else if (s->every_ms && !s->batch)
        wrong = "every: needs --batch, the size of a batch";
    else if ((s->over_ms && s->over_ms < 1000) || (s->every_ms && s->every_ms < 1000))
        wrong = "over, every: at least 1s";
    else if (s->over_ms > RMD_SCHEDULE_AHEAD_MAX_MS || s->every_ms > RMD_SCHEDULE_AHEAD_MAX_MS)
        wrong = "over, every: at most a year";
    if (wrong)
        rmd_buf_addf(why, "%s", wrong);
    return !wrong && check_start(s, now_wall_ms, why) && check_period(s, rows, life_ms, why);
}

/* One that is put off had released its base. */
static uint64_t released(const struct rmd_release *r, int64_t wall_ms) {
    uint64_t n = wall_ms < r->s.start_wall_ms ? r->base : rmd_release_at(r, wall_ms);
    return n < r->rows ? n : r->rows;
}

struct rmd_forecast rmd_release_forecast(const struct rmd_release *r, int64_t now_wall_ms) {
    struct rmd_forecast f = {.released = released(r, now_wall_ms), .all_wall_ms = rmd_release_end(r)};
    int64_t next = rmd_release_next(r, now_wall_ms);
    if (next != RMD_NEVER && released(r, next) == f.released) /* put off for less than its step */
        next = rmd_release_next(r, next);
    if (next == RMD_NEVER)
        return f;
    f.next_wall_ms = next;
    f.next = released(r, next) - f.released;
    return f;
}
