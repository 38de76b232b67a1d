/* Reputation: what receivers think of a lane (source x provider), or of a sending domain at a provider, as a score from 0 to 100 that says how
 * it came about. Pure integer arithmetic; hours are numbers that the caller gives (of ledger time, so that no clock's leap heals anything).
 *
 *   score = 50 + the contributions of the terms, held within 0 and 100
 *
 * A term counts events, each with its half-life, and contributes at most its weight: in proportion to the share of its events among all
 * attempts, until a named share at which its weight is full. Shares are shrunk: RMD_REPUTATION_PRIOR attempts without any event are
 * (for complaints, which are rare, RMD_REPUTATION_PRIOR_RARE) added to what was seen, so that little evidence stays near 50 and can't condemn or praise. With less than RMD_REPUTATION_FEW attempts the
 * score says so. What is no share (listings, quarantines) contributes a number of points an event.
 *
 * Bands: good, fair, poor, with hysteresis between entering and leaving, so that a score that trembles at an edge moves nothing. They weigh
 * the dealing (reputation_book.c): lanes of a better band come first among lanes that may take work, and a poor lane has a smaller share of its
 * hour. A band never opens what a cap, a quarantine or a warm-up closes.
 *
 * Counts of several lanes may be added (rmd_reputation_add): sources, networks and domains over all providers are judged by the
 * sums. A message costs one comparison of hours and one or two additions; scores are made when they are asked for. */
#ifndef REMUDA_REPUTATION_H
#define REMUDA_REPUTATION_H

#include <remuda/types.h>

#include "proto/verdict.h"

/* X(ID, "name", weight in points, per mille of attempts at which it is full (0: points an event), half-life in hours) */
#define RMD_REPUTATION_TERMS(X)                                                                          \
    X(ACCEPTED, "accepted", 40, 1000, 168)     /* the one that raises */                                 \
    X(HISTORY, "history", 10, 0, 0)            /* days of sending; not counted by events */              \
    X(RATE, "rate deferrals", -20, 200, 24)    /* too much, too fast */                                  \
    X(REPUTATION, "reputation", -35, 50, 168)  /* deferred or refused for the reputation that we have */ \
    X(BLOCKED, "blocks", -50, 20, 336)         /* refused as blocked or listed */                        \
    X(COMPLAINTS, "complaints", -40, 3, 336)   /* of people, as far as the provider tells */             \
    X(UNKNOWN, "unknown users", -25, 100, 336) /* list quality: of sending domains alone */              \
    X(LISTINGS, "listings", -50, 0, 336)       /* on blocklists, now and of late */                      \
    X(QUARANTINES, "quarantines", -30, 0, 168) /* of late */                                             \
    X(OTHER, "other replies", 0, 1000, 168)    /* attempts that say nothing of us */

#define RMD_REPUTATION_E(id, name, weight, full, half) RMD_REPUTATION_##id,
enum rmd_reputation_term { RMD_REPUTATION_TERMS(RMD_REPUTATION_E) RMD_REPUTATION_TERM_COUNT };

enum {
    RMD_REPUTATION_NEUTRAL = 50,
    RMD_REPUTATION_MAX = 100,
    RMD_REPUTATION_PRIOR = 400,       /* attempts without events that are added to what was seen */
    RMD_REPUTATION_PRIOR_RARE = 2000, /* of complaints: a few among few say little */
    RMD_REPUTATION_FEW = 100,         /* attempts: less is little evidence */
    RMD_REPUTATION_UNIT = 256,        /* an event, in counts: decay needs fractions */
    RMD_REPUTATION_COUNT_MAX = UINT32_MAX,
    RMD_REPUTATION_HISTORY_DAYS = 30, /* after which history has its whole weight */
    RMD_REPUTATION_GOOD_FROM = 65,
    RMD_REPUTATION_GOOD_UNTIL = 60, /* leaves the band below it */
    RMD_REPUTATION_POOR_BELOW = 35,
    RMD_REPUTATION_POOR_UNTIL = 40,        /* leaves the band from it on */
    RMD_REPUTATION_QUARANTINE_POINTS = 12, /* each */
    RMD_REPUTATION_ACT_POINTS = 25,        /* a listing of the acting tier, or a snowshoe one */
    RMD_REPUTATION_SLOW_POINTS = 10,
    RMD_REPUTATION_ALERT_POINTS = 2,
    RMD_REPUTATION_POOR_HOUR = 50,       /* a poor lane gets a fiftieth of its cap an hour */
    RMD_REPUTATION_POOR_HOUR_MIN = 20,   /* at least so many recipients, or nobody would see it mend */
    RMD_REPUTATION_POOR_HOUR_FREE = 500, /* where it has no cap */
};

enum rmd_reputation_band { RMD_BAND_FAIR, RMD_BAND_GOOD, RMD_BAND_POOR };
const char *rmd_reputation_band_name(unsigned band);

/* What was seen. All zero: nothing. count: events x UNIT, decayed; LISTINGS: points x UNIT. */
struct rmd_reputation {
    uint32_t count[RMD_REPUTATION_TERM_COUNT];
    int64_t hour;       /* up to which counts are decayed */
    int64_t first_hour; /* of the first attempt; 0: none */
    bool told;          /* the provider tells of complaints */
};

/* What doesn't follow from counts. */
struct rmd_reputation_facts {
    uint32_t listed_points; /* of listings that are open now */
    const char *listed_on;  /* their lists, or NULL */
    bool domain;            /* of a sending domain: unknown users count */
};

struct rmd_reputation_part {
    enum rmd_reputation_term term;
    int32_t points;       /* what it contributes */
    int32_t weight;       /* at most */
    uint64_t events;      /* decayed, rounded */
    uint32_t ppm;         /* their share after shrinking; 0 where there is none */
    uint32_t half_life_h; /* 0: none */
    char reason[160];
};

struct rmd_reputation_score {
    uint32_t score;
    uint64_t attempts; /* decayed */
    bool few;          /* little evidence */
    size_t n;
    struct rmd_reputation_part part[RMD_REPUTATION_TERM_COUNT];
};

const char *rmd_reputation_term_name(unsigned term);
/* What an outcome says: the term it counts for. RCPTs were sent, or it was refused before. */
enum rmd_reputation_term rmd_reputation_term_of(enum rmd_outcome kind, const struct rmd_verdict *v, bool domain);

void rmd_reputation_decay(struct rmd_reputation *r, int64_t hour);
/* n events now. hour never goes back. */
void rmd_reputation_count(struct rmd_reputation *r, int64_t hour, enum rmd_reputation_term t, uint32_t n);
/* to += from, both decayed to `hour`. */
void rmd_reputation_add(struct rmd_reputation *to, const struct rmd_reputation *from, int64_t hour);
/* The score alone, and with its parts and reasons. */
uint32_t rmd_reputation_number(const struct rmd_reputation *r, int64_t hour, const struct rmd_reputation_facts *f);
void rmd_reputation_explain(const struct rmd_reputation *r, int64_t hour, const struct rmd_reputation_facts *f,
                            struct rmd_reputation_score *out);
enum rmd_reputation_band rmd_reputation_band(enum rmd_reputation_band was, uint32_t score);
/* What a poor lane may be offered in an hour, of this cap a day (0: none). */
uint64_t rmd_reputation_poor_hour(uint64_t cap);

#endif
