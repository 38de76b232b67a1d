/* Pacer (contract and proof: pacer.h). */
#include "node/core/pacer.h"

#include <assert.h>
#include <string.h>

enum { MINUTE_MS = 60000, MINUTE_US = MINUTE_MS * 1000 };

void rmd_pacer_ceiling(struct rmd_pacer *p, uint32_t per_minute) {
    p->ceiling = per_minute;
    if (p->slowed && per_minute && p->slowed >= per_minute)
        p->slowed = 0;
}

uint32_t rmd_pacer_rate(const struct rmd_pacer *p) {
    if (p->slowed && (!p->ceiling || p->slowed < p->ceiling))
        return p->slowed;
    return p->ceiling;
}

/* ---------------------------------------------------------------- the hour */

/* A bucket of `five` as it counts now: one that is older than an hour was overwritten in thought. */
static uint32_t five(const struct rmd_pacer *p, int64_t at) {
    return at >= 0 && at <= p->five_at && at > p->five_at - RMD_PACER_FIVES ? p->five[at % RMD_PACER_FIVES] : 0;
}

static uint32_t last_hour(const struct rmd_pacer *p, int64_t now_ms) {
    uint32_t sum = 0;
    for (int64_t i = 0, at = now_ms / RMD_PACER_FIVE_MS; i < RMD_PACER_FIVES; i++)
        sum += five(p, at - i);
    return sum;
}

static uint32_t *this_five(struct rmd_pacer *p, int64_t now_ms) {
    int64_t at = now_ms / RMD_PACER_FIVE_MS;
    if (at - p->five_at >= RMD_PACER_FIVES)
        memset(p->five, 0, sizeof p->five);
    else
        for (int64_t i = p->five_at + 1; i <= at; i++)
            p->five[i % RMD_PACER_FIVES] = 0;
    if (at > p->five_at)
        p->five_at = at;
    return &p->five[p->five_at % RMD_PACER_FIVES];
}

uint32_t rmd_pacer_hour(const struct rmd_pacer *p, int64_t now_ms) {
    return p->hour && now_ms - p->hour_used_ms < RMD_PACER_HOUR_KEPT_MS ? p->hour : 0;
}

/* When the oldest starts have left the hour that is full. */
static int64_t hour_due_ms(const struct rmd_pacer *p, int64_t now_ms) {
    uint32_t most = rmd_pacer_hour(p, now_ms), taken = most ? last_hour(p, now_ms) : 0;
    int64_t at = now_ms / RMD_PACER_FIVE_MS - RMD_PACER_FIVES + 1;
    if (!most || taken < most)
        return now_ms;
    for (; taken >= most; at++) /* all of them together are what was taken */
        taken -= five(p, at);
    return (at - 1 + RMD_PACER_FIVES) * RMD_PACER_FIVE_MS;
}

static void learn(struct rmd_pacer *p, int64_t now_ms, uint32_t hour) {
    if (hour < RMD_PACER_HOUR_MIN)
        return;
    p->hour = hour;
    p->hour_used_ms = now_ms;
    p->hour_ms = now_ms + RMD_PACER_HOUR_STANDS_MS;
}

static bool nearly_full(const struct rmd_pacer *p, int64_t now_ms) {
    uint32_t most = rmd_pacer_hour(p, now_ms);
    return most && last_hour(p, now_ms) >= most / 4 * 3;
}

/* Its start was counted. With the hour nearly full, it says what the receiver takes. */
void rmd_pacer_refused(struct rmd_pacer *p, int64_t now_ms) {
    uint32_t *n = this_five(p, now_ms), most = rmd_pacer_hour(p, now_ms);
    *n -= *n > 0;
    uint32_t taken = last_hour(p, now_ms);
    if (nearly_full(p, now_ms))
        learn(p, now_ms, taken < most ? taken : most);
    if (p->rests == 1 && now_ms < p->rested_ms + RMD_PACER_SETTLE_MS)
        p->rest_hour = taken;
}

static void hour_taken(struct rmd_pacer *p, int64_t now_ms) {
    uint32_t most = rmd_pacer_hour(p, now_ms);
    if (!most || last_hour(p, now_ms) < most)
        return;
    p->hour_used_ms = now_ms;
    if (now_ms < p->hour_ms)
        return;
    p->hour += most / RMD_PACER_STEP_PART ? most / RMD_PACER_STEP_PART : 1;
    p->hour_ms = now_ms + RMD_PACER_HOUR_MS;
}

/* ---------------------------------------------------------------- the minute */

int64_t rmd_pacer_due_ms(const struct rmd_pacer *p, int64_t now_ms) {
    int64_t due = now_ms;
    if (rmd_pacer_rate(p) && p->next_us > now_ms * 1000)
        due = (p->next_us + 999) / 1000;
    int64_t hour = p->hour ? hour_due_ms(p, now_ms) : now_ms;
    due = hour > due ? hour : due;
    return p->rest_until_ms > due ? p->rest_until_ms : due;
}

static void count(struct rmd_pacer *p, int64_t now_ms) {
    int64_t gone = now_ms - p->window_ms;
    if (gone >= MINUTE_MS || (!p->window_n && !p->window_last)) {
        p->window_last = gone < 2 * MINUTE_MS ? p->window_n : 0;
        if (p->window_n > p->busiest)
            p->busiest = p->window_n;
        p->window_n = 0;
        p->window_ms = now_ms;
    }
}

void rmd_pacer_take(struct rmd_pacer *p, int64_t now_ms) {
    count(p, now_ms);
    p->window_n++;
    ++*this_five(p, now_ms);
    p->last_ms = now_ms;
    int64_t rate = rmd_pacer_rate(p);
    int64_t from = now_ms * 1000 - RMD_PACER_SLACK_US;
    if (p->next_us > from)
        from = p->next_us;
    /* Without a limit the virtual time still moves on, so that a rate that begins now begins without credit. */
    p->next_us = rate ? from + (MINUTE_US + RMD_PACER_SLACK_US + rate - 1) / rate : now_ms * 1000;
}

/* Starts a minute, lately. A lane that began a moment ago is taken at its pace so far: fifty in its first second are
 * not fifty a minute, and half of that would throttle it to next to nothing. */
static uint32_t pace(struct rmd_pacer *p, int64_t now_ms) {
    count(p, now_ms);
    if (p->window_last)
        return p->window_n > p->window_last ? p->window_n : p->window_last;
    int64_t gone = now_ms - p->window_ms;
    int64_t n = (int64_t)p->window_n * MINUTE_MS / (gone < 1000 ? 1000 : gone);
    return n < RMD_PACER_FREE ? (uint32_t)n : RMD_PACER_FREE;
}

void rmd_pacer_slow(struct rmd_pacer *p, int64_t now_ms, int64_t hold_ms) {
    if (p->hold_until_ms < now_ms + hold_ms)
        p->hold_until_ms = now_ms + hold_ms;
    if (p->slowed && now_ms < p->settled_ms) /* said to what was sent before the last step down */
        return;
    p->settled_ms = now_ms + RMD_PACER_SETTLE_MS;
    p->unheeded++;
    uint32_t rate = rmd_pacer_rate(p), lately = pace(p, now_ms);
    if (!rate || (lately && lately < rate))
        rate = lately; /* halving a rate that wasn't used would change nothing */
    if (!rate)         /* nothing is known of what it can bear */
        rate = 2 * RMD_PACER_UNKNOWN;
    if (!p->slowed)
        p->peak = p->ceiling ? p->ceiling : rate;
    p->slowed = rate / 2 ? rate / 2 : 1;
    p->busiest = p->slowed;
    p->good = 0;
    int64_t next = now_ms * 1000 + (MINUTE_US + RMD_PACER_SLACK_US) / p->slowed;
    if (p->next_us < next)
        p->next_us = next;
}

bool rmd_pacer_unheard(const struct rmd_pacer *p, int64_t now_ms) {
    uint32_t most = p->rested_ms ? 1 : RMD_PACER_UNHEARD; /* who rested already isn't told twice */
    if (nearly_full(p, now_ms))
        return now_ms >= p->settled_ms;
    return p->slowed && p->unheeded >= most && now_ms >= p->settled_ms;
}

int64_t rmd_pacer_rest_ms(struct rmd_pacer *p, int64_t now_ms, int64_t ms) {
    if (!p->rests ||
        now_ms >= p->rested_ms + RMD_PACER_SETTLE_MS) { /* sooner: said to what was sent before it began */
        if (!p->rests)
            p->rest_hour = last_hour(p, now_ms);
        bool silent = p->rests && now_ms - p->rested_ms >= RMD_PACER_HOUR_SILENCE_MS;
        p->rests += p->rests < RMD_PACER_REST_TIMES;
        p->rested_ms = now_ms;
        if (silent && !rmd_pacer_hour(p, now_ms))
            learn(p, now_ms, p->rest_hour);
    }
    return ms * p->rests;
}

void rmd_pacer_success(struct rmd_pacer *p, int64_t now_ms) {
    p->unheeded = p->rests = 0;
    hour_taken(p, now_ms);
    uint32_t enough =
        p->slowed > RMD_PACER_STEP_PART ? p->slowed : RMD_PACER_STEP_PART; /* from one to two would be a doubling */
    if (!p->slowed || now_ms < p->hold_until_ms || ++p->good < enough)
        return;
    p->good = 0;
    uint32_t step = p->peak / RMD_PACER_STEPS, most = p->slowed / RMD_PACER_STEP_PART;
    step = step < most ? step : most;
    p->slowed += step ? step : 1;
    if ((p->ceiling && p->slowed >= p->ceiling) || p->slowed >= RMD_PACER_FREE) {
        p->slowed = 0;
        p->rested_ms = 0;
    }
}

void rmd_pacer_return(struct rmd_pacer *p, int64_t now_ms) {
    count(p, now_ms);
    uint32_t former = p->slowed ? p->slowed : p->busiest;
    if (!p->slowed && p->ceiling && former > p->ceiling)
        former = p->ceiling;
    if (former <= RMD_PACER_RETURN_MIN)
        return;
    uint32_t part = former / RMD_PACER_RETURN_PART;
    if (!p->slowed)
        p->peak = p->ceiling ? p->ceiling : former;
    p->slowed = part > RMD_PACER_RETURN_MIN ? part : RMD_PACER_RETURN_MIN;
    p->good = 0;
}

void rmd_pacer_resume(struct rmd_pacer *p, uint32_t per_minute) {
    if (!per_minute || p->slowed || (p->ceiling && per_minute >= p->ceiling))
        return;
    p->slowed = p->busiest = per_minute;
    p->peak = p->ceiling ? p->ceiling : 2 * per_minute;
    p->good = 0;
}

void rmd_pacer_resume_hour(struct rmd_pacer *p, int64_t now_ms, uint32_t per_hour) {
    if (!p->hour)
        learn(p, now_ms, per_hour);
}

bool rmd_pacer_plain(const struct rmd_pacer *p, int64_t now_ms) {
    return !p->slowed && !rmd_pacer_hour(p, now_ms) && p->rest_until_ms <= now_ms && p->next_us <= now_ms * 1000;
}

uint32_t rmd_width_limit(const struct rmd_width *w, uint32_t ceiling) {
    return w->cap && w->cap < ceiling ? w->cap : ceiling;
}

void rmd_width_return(struct rmd_width *w) {
    *w = (struct rmd_width){.cap = 1};
}

void rmd_width_slow(struct rmd_width *w, uint32_t in_use) {
    uint32_t from = w->cap && w->cap < in_use ? w->cap : in_use;
    w->cap = from / 2 ? from / 2 : 1;
    w->good = 0;
}

void rmd_width_narrow(struct rmd_width *w, uint32_t in_use, int64_t now_ms) {
    if (w->cap && now_ms < w->settled_ms)
        return;
    rmd_width_slow(w, in_use);
    w->settled_ms = now_ms + RMD_PACER_SETTLE_MS;
}

void rmd_width_success(struct rmd_width *w, uint32_t ceiling) {
    if (!w->cap || ++w->good < RMD_WIDTH_STEP * w->cap)
        return;
    w->good = 0;
    if (++w->cap >= ceiling)
        w->cap = 0;
}
