/* The judge of warm-ups: what a lane (or a sending domain at a provider) did on its last sending days, on which stage of its plan it
 * stands, and where it goes when a day closes. Pure, and without a clock: days are numbers that the caller gives.
 *
 *   closing a day that
 *     is surely over a gate (lower bound of its rate)          -> back_stages back, then held
 *     is over a gate, or had the lane in quarantine            -> stays, and is held for hold_days good days
 *     didn't use the stage (distinct accepted recipients)      -> stays
 *     is healthy                                               -> next stage, or one day less to be held
 *   idle_days without mail                                     -> starts again
 *   a late complaint about one of the last seven days          -> those days are judged again; a stage is only ever lost by that
 *
 * Gates read causes in the scope of the lane, source and network alone (of the sending domain, when a domain warms up): that a
 * recipient is unknown, or a message disliked, says nothing about them. Where no complaint of a provider was ever told, that gate is
 * unknown and doesn't bind.
 *
 * A day is a record of counters; the newest may be open. Distinct recipients are counted by a sketch of the smallest hashes: exact up
 * to RMD_WARM_SEEN, within a few per cent above. Rates and bounds are parts per million, bounds are Wilson's of one side. */
#ifndef REMUDA_WARMUP_H
#define REMUDA_WARMUP_H

#include "proto/plan.h"

enum {
    RMD_WARM_DAYS = 9,  /* kept: the open one and eight before it */
    RMD_WARM_AGAIN = 7, /* days that a late complaint judges again */
    RMD_WARM_SEEN = 512,
    RMD_WARM_IDLE_DAYS = 3, /* without mail: its pace of before says nothing any more; a weekend has two */
};

struct rmd_warm_day {
    int64_t day;
    uint32_t stage, hold; /* in force on it */
    uint64_t offered, accepted, distinct, deferred, blocked, bounced, complaints;
    bool told, stopped, judged;
};

/* State of one lane; plain data. stage == number of stages: warm. */
struct rmd_warm {
    uint32_t stage, hold;
    bool paused;
    int64_t set_day, last_day, warm_day;
    struct rmd_warm_day day[RMD_WARM_DAYS]; /* oldest first */
    uint32_t n_days;
    uint32_t *seen; /* rising; NULL until needed */
    uint32_t n_seen;
};

enum rmd_warm_move {
    RMD_WARM_STAYS,
    RMD_WARM_UNUSED, /* too little of the cap was used */
    RMD_WARM_HELD,
    RMD_WARM_ADVANCED,
    RMD_WARM_DONE, /* and is warm now */
    RMD_WARM_BACK,
    RMD_WARM_RESTARTED,
};
const char *rmd_warm_move_name(enum rmd_warm_move m);

enum rmd_gate_verdict {
    RMD_GATE_OK,
    RMD_GATE_FEW,     /* events below the minimum: says nothing, and doesn't bind */
    RMD_GATE_UNKNOWN, /* the provider reports no complaints */
    RMD_GATE_OVER,
    RMD_GATE_SURELY_OVER,
};
const char *rmd_gate_verdict_name(enum rmd_gate_verdict v);

struct rmd_gate_value {
    uint64_t events, of;
    uint32_t ppm, low_ppm, high_ppm; /* rate and its bounds */
    enum rmd_gate_verdict verdict;
};

/* A plan as it holds for one provider. */
struct rmd_scheme {
    const struct rmd_plan *plan;
    const struct rmd_caps_list *caps;
    bool no_gates; /* a measurement leaves them out: neither they nor quarantines hold a stage */
};

void rmd_warm_init(struct rmd_warm *w, uint32_t stage);
void rmd_warm_release(struct rmd_warm *w);

/* Wilson's bounds of k events in n, one-sided, confidence 80, 90, 95 or 99. n == 0: 0 and 1,000,000. */
void rmd_wilson_ppm(uint64_t k, uint64_t n, uint32_t confidence, uint32_t *low, uint32_t *high);

/* The record of this day, made when there is none; days before it are closed and don't change any more. */
struct rmd_warm_day *rmd_warm_today(struct rmd_warm *w, int64_t day);
/* The record of a day that is kept, or NULL. */
struct rmd_warm_day *rmd_warm_day_find(struct rmd_warm *w, int64_t day);
/* One recipient was accepted. */
void rmd_warm_accepted(struct rmd_warm *w, int64_t day, uint64_t address_hash);

struct rmd_judgement {
    enum rmd_warm_move move;
    uint32_t stage, hold;    /* afterwards */
    enum rmd_gate_kind gate; /* which one bound; RMD_GATE_KINDS: none (a quarantine, or no gate at all) */
    struct rmd_gate_value value;
    uint64_t used, needed; /* distinct accepted recipients */
};

/* What the gates say of record i. */
void rmd_warm_gates(const struct rmd_scheme *s, const struct rmd_warm *w, uint32_t i,
                    struct rmd_gate_value out[RMD_GATE_KINDS]);
/* Day `today` begins: what was open is judged, and long idleness starts again. */
struct rmd_judgement rmd_warm_close(const struct rmd_scheme *s, struct rmd_warm *w, int64_t today);
/* Complaints about a day were told (0: none). false: the day isn't kept (any more), or is to come. `out` says what became of it. */
bool rmd_warm_complaints(const struct rmd_scheme *s, struct rmd_warm *w, int64_t today, int64_t day, uint64_t count,
                         struct rmd_judgement *out);
/* The operator's word: the stage from now on. */
void rmd_warm_set(struct rmd_warm *w, int64_t today, uint32_t stage);
/* Sending days until it is warm when all of them go well; 0: it is. */
uint32_t rmd_warm_days_left(const struct rmd_scheme *s, const struct rmd_warm *w);

/* When it will be warm, by what it did of late: of the last RMD_WARM_AGAIN days, those that gained a stage or a day of being held. A
 * date is told only while such a pace exists; else `why` says what holds the lane. */
enum rmd_warm_why {
    RMD_WARM_WHY_NOTHING, /* days: at the pace of good days of the last `of` */
    RMD_WARM_WHY_NEW,     /* no mail yet */
    RMD_WARM_WHY_IDLE,    /* none in the last `idle` days */
    RMD_WARM_WHY_GATE,    /* of the open day, or of the last one with mail: value */
    RMD_WARM_WHY_STOPPED, /* a quarantine fell on that day */
    RMD_WARM_WHY_FIRST,   /* its first day isn't over */
    RMD_WARM_WHY_UNUSED,  /* no day used its stage: most of needed at most */
};
struct rmd_warm_outlook {
    enum rmd_warm_why why;
    uint32_t days; /* until it is warm; why NOTHING */
    uint32_t good, of;
    int64_t idle, day; /* day: that of the gate or the quarantine */
    enum rmd_gate_kind gate;
    struct rmd_gate_value value;
    uint64_t most, needed;
};
void rmd_warm_look_ahead(const struct rmd_scheme *s, const struct rmd_warm *w, int64_t today,
                         struct rmd_warm_outlook *out);
/* Distinct accepted recipients that a day of this stage needs. */
uint64_t rmd_warm_needed(const struct rmd_scheme *s, uint32_t stage);

#endif
