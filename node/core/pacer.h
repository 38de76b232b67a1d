/* Pacer: how often something may start, and how wide it may go. Pure integer arithmetic.
 *
 * Guarantee, for a rate of R a minute: in no 60 seconds do more than R starts happen, whatever the ticks are. A start
 * has a virtual time v = max(next, now - slack) and moves next to v + interval, where interval = ceil((60 s + slack)
 * / R): k starts within 60 s have virtual times (k - 1) intervals apart that lie within 60 s + slack, so k <= R. The
 * slack, a millisecond, is the clock's grain: without it a late tick would cost throughput at high rates. There is no
 * burst beyond it.
 *
 * Adaptive: a rate verdict halves the rate (of what was allowed, or else of what was lately done) and holds it for
 * the verdict's duration (verdicts within a second of it answer what was sent before, and only hold); then, after
 * each minute's worth of successes it rises by a twentieth of what it was before, or by an eighth of what it is, whichever is less, until the
 * ceiling is reached: where a receiver bears far less than was tried, a step of the former pace would run into it again. Width
 * (connections) likewise: halved, then one more after WIDTH_STEP successes on each. A rest holds everything until its
 * end and leaves the slowed rate in force.
 *
 * Unheard: a receiver that refuses again after two steps down, and accepted nothing in between, asks for silence, not for half of what is left;
 * whoever goes on is blocked in the end. The owner rests the lane then; after that one step is enough, until it went at full pace
 * again. A refusal right after such a rest makes the next one longer by the same
 * time, RMD_PACER_REST_TIMES at most.
 *
 * Return: what comes back after it has long done nothing starts at a quarter of its former pace (what it was slowed to, or its busiest
 * minute), and with one connection; never at once where it was. A pace under RMD_PACER_RETURN_MIN is none worth remembering. */
#ifndef REMUDA_NODE_PACER_H
#define REMUDA_NODE_PACER_H

#include <remuda/types.h>

enum {
    RMD_PACER_SLACK_US = 1000,
    RMD_PACER_SETTLE_MS = 1000,
    RMD_PACER_STEPS = 20,     /* additive steps from nothing to the former rate */
    RMD_PACER_FREE = 1 << 20, /* a rate so high that it is none */
    RMD_PACER_STEP_PART = 8,
    RMD_PACER_RETURN_PART = 4,
    RMD_PACER_RETURN_MIN = 60,
    RMD_PACER_UNKNOWN = 6, /* starts a minute after a verdict that came before anything was sent */
    RMD_PACER_UNHEARD = 2, /* steps down with nothing accepted since the first: the next refusal is a rest */
    RMD_PACER_REST_TIMES = 8,
    RMD_WIDTH_STEP = 20,
};

struct rmd_pacer {
    int64_t next_us; /* of the owner's monotonic clock */
    int64_t rest_until_ms;
    int64_t hold_until_ms; /* no step up before */
    int64_t settled_ms;    /* nor another step down */
    uint32_t ceiling;      /* starts a minute; 0: none */
    uint32_t slowed;       /* starts a minute since a verdict; 0: not slowed */
    uint32_t peak;         /* what it was before the verdict */
    uint32_t good;         /* successes since the last step up */
    uint32_t unheeded;     /* steps down since the last success */
    uint32_t rests;        /* likewise */
    int64_t rested_ms;     /* when the last of them began; 0: none since it last went at full pace */
    int64_t window_ms;     /* begin of the minute that is being counted */
    uint32_t window_n, window_last;
    uint32_t busiest; /* minute, since the last verdict */
    int64_t last_ms;  /* last start; 0: none */
};

void rmd_pacer_ceiling(struct rmd_pacer *p, uint32_t per_minute);
uint32_t rmd_pacer_rate(const struct rmd_pacer *p); /* starts a minute now; 0: no limit */
int64_t rmd_pacer_due_ms(const struct rmd_pacer *p,
                         int64_t now_ms);                 /* a start may happen from then on; <= now: at once */
void rmd_pacer_take(struct rmd_pacer *p, int64_t now_ms); /* a start happens; only when due */
void rmd_pacer_slow(struct rmd_pacer *p, int64_t now_ms, int64_t hold_ms);
/* Nothing was accepted for the last steps down: one more wouldn't be heard either. */
bool rmd_pacer_unheard(const struct rmd_pacer *p, int64_t now_ms);
/* A rest of `ms` begins: how long it is, with as much again for each rest before that nothing was accepted after. */
int64_t rmd_pacer_rest_ms(struct rmd_pacer *p, int64_t now_ms, int64_t ms);
/* It comes back after a rest, a stop or idleness: a part of its former pace. */
void rmd_pacer_return(struct rmd_pacer *p, int64_t now_ms);
/* The pace that it had in another life. */
void rmd_pacer_resume(struct rmd_pacer *p, uint32_t per_minute);
void rmd_pacer_success(struct rmd_pacer *p, int64_t now_ms);
bool rmd_pacer_plain(const struct rmd_pacer *p, int64_t now_ms); /* nothing learned that would be lost with it */

/* Connections at once. */
struct rmd_width {
    uint32_t cap; /* 0: not narrowed */
    uint32_t good;
    int64_t settled_ms; /* refusals until then answer what was open before the last step */
};
uint32_t rmd_width_limit(const struct rmd_width *w, uint32_t ceiling);
void rmd_width_return(struct rmd_width *w); /* one, to begin with */
void rmd_width_slow(struct rmd_width *w, uint32_t in_use);
void rmd_width_narrow(struct rmd_width *w, uint32_t in_use,
                      int64_t now_ms); /* the same, once for all that were open */
void rmd_width_success(struct rmd_width *w, uint32_t ceiling);

#endif
