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
 * each minute's worth of successes (eight at least) it rises by a twentieth of what it was before, or by an eighth of what it is, whichever is
 * less, until the ceiling is reached: where a receiver bears far less than was tried, a step of the former pace would run into it again. Width
 * (connections) likewise: halved, then one more after WIDTH_STEP successes on each. A rest holds everything until its
 * end and leaves the slowed rate in force.
 *
 * Unheard: a receiver that refuses again after two steps down, and accepted nothing in between, asks for silence, not for half of what is left;
 * whoever goes on is blocked in the end. The owner rests the lane then; after that one step is enough, until it went at full pace
 * again. A refusal right after such a rest makes the next one longer by the same
 * time, RMD_PACER_REST_TIMES at most.
 *
 * The hour: many receivers count over an hour or longer, and a minute's rate says nothing about that: after a rest, the first message is refused
 * as the last one was. When that was RMD_PACER_HOUR_SILENCE_MS after the refusal before it (a shorter silence tells nothing about an hour),
 * what they took in the hour before the first of the rests in a row is what they take an hour: no more starts happen in any 60 to 65 minutes
 * (buckets of five). Whoever knows that measure and is refused at it rests at once, instead of trying half the rate. It rises by an eighth when
 * a whole hour of it was taken, once an hour at most; a refusal at the measure brings it back down, and then it stands for a day. It is
 * forgotten when a week went by without it being used up. Under RMD_PACER_HOUR_MIN nothing is learned: that was no hour's work.
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
    RMD_PACER_FIVES = 13, /* of five minutes: they cover an hour, and never less */
    RMD_PACER_FIVE_MS = 300000,
    RMD_PACER_HOUR_MIN = 10,
    RMD_PACER_HOUR_SILENCE_MS = 300000,
    RMD_PACER_HOUR_MS = 3600000,
    RMD_PACER_HOUR_STANDS_MS = 24 * 3600000,
    RMD_PACER_HOUR_KEPT_MS = 7 * 24 * 3600000,
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
    uint32_t busiest;               /* minute, since the last verdict */
    int64_t last_ms;                /* last start; 0: none */
    int64_t five_at;                /* of the newest of `five` */
    uint32_t five[RMD_PACER_FIVES]; /* starts that weren't refused for rate; ring by number of the five minutes */
    uint32_t hour;                  /* what the receiver takes an hour; 0: not known */
    uint32_t rest_hour;             /* the last hour's starts when the first of the rests in a row began */
    int64_t hour_ms, hour_used_ms;  /* no rise before; when it was last used up */
};

void rmd_pacer_ceiling(struct rmd_pacer *p, uint32_t per_minute);
uint32_t rmd_pacer_rate(const struct rmd_pacer *p); /* starts a minute now; 0: no limit */
int64_t rmd_pacer_due_ms(const struct rmd_pacer *p,
                         int64_t now_ms);                    /* a start may happen from then on; <= now: at once */
void rmd_pacer_take(struct rmd_pacer *p, int64_t now_ms);    /* a start happens; only when due */
void rmd_pacer_refused(struct rmd_pacer *p, int64_t now_ms); /* a start was, for rate or volume */
void rmd_pacer_slow(struct rmd_pacer *p, int64_t now_ms, int64_t hold_ms);
/* What the receiver takes an hour, as far as it is known; 0: it isn't. */
uint32_t rmd_pacer_hour(const struct rmd_pacer *p, int64_t now_ms);
/* Nothing was accepted for the last steps down, or the hour's measure is full: a step more wouldn't be heard. */
bool rmd_pacer_unheard(const struct rmd_pacer *p, int64_t now_ms);
/* A rest of `ms` begins: how long it is, with as much again for each rest before that nothing was accepted after. */
int64_t rmd_pacer_rest_ms(struct rmd_pacer *p, int64_t now_ms, int64_t ms);
/* It comes back after a rest, a stop or idleness: a part of its former pace. */
void rmd_pacer_return(struct rmd_pacer *p, int64_t now_ms);
/* The pace that it had in another life, and what it knew of the hour (0: nothing). */
void rmd_pacer_resume(struct rmd_pacer *p, uint32_t per_minute);
void rmd_pacer_resume_hour(struct rmd_pacer *p, int64_t now_ms, uint32_t per_hour);
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
