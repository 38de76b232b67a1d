/* Moving and returning: how work leaves a source that was stopped, and how the source comes back (design, section 9). Only state.h
 * includes this.
 *
 *   moving.c     what may go to other lanes, and when: canary, growth, and its end
 *   growth.c     how much a lane sent of late, and what it may send for that
 *   returning.c  stopped lanes that come back
 *
 *   stop --first lease of moved work--> CANARY --its time is over--> GROWING
 *                                          \--refused on a target in the same way--> ENDED: a person or the return
 *
 * Moved work is what came back from a stopped lane, what was refused there, and what the queue gives to other lanes only because one
 * before them was stopped: that is all that a lane sends beyond what it sent when the stop came (its own share).
 * - Canary: in its time at most canary_percent of the moved work goes to other lanes, and never less than canary_floor. What the
 *   canary's part is taken of: what came back, and of what is queued as much as the stopped lane sends in that time.
 * - Growth: afterwards a lane takes up to growth_percent of its recent peak hour, in the rolling hour, all its mail counted. A peak counts when it is an
 *   hour old, so growth is geometric by the hour. A lane without a past begins with growth_floor or with the canary's part.
 * - A lane on the stopped source's own network goes on with what it sent (then, or in its recent peak hour), and takes no moved work while
 *   the pool has a warm lane on another network; but for the one recipient that asks a site of "other" that stopped it (site_stop.h).
 * - Lanes that warm up have their plan for growth; what came back goes to them only when no warm lane is in service.
 * - Streams of priority 0 know no canary: urgent mail is little. Growth and the end of the moving hold for them as well.
 * - A refusal of the same class on a target during the canary ends the moving, and that of the target's own work: whoever refuses one
 *   network after the other isn't asked with a third. The rest waits for a person or the return. What a single site of "other" says
 *   ends the moving of that site's work alone.
 *
 * Return: QUARANTINED -> PROBING: one recipient at a time, of all that waits. RMD_PROBES accepted in a row: OPEN, with its recent
 * peak forgotten, so that it grows anew (ramp). A refusal: QUARANTINED again, for twice as long, up to a day: one recipient a day
 * pushes nobody, and who waits longer finds out late that it was over. A source that comes back from a stop
 * everywhere is probed by one recipient in all; what one provider says of it then stops its lane there, and the count begins anew. */
#ifndef REMUDA_COORDINATOR_MOVING_H
#define REMUDA_COORDINATOR_MOVING_H

#include <base/coll.h>
#include <base/text.h>

struct rmd_coord;
struct rmd_source;
struct rmd_lane;
struct rmd_pq;
struct rmd_incident;
struct rmd_lease;

enum {
    RMD_PEAK_DAYS = 7,
    RMD_MOVING_STOPS = 32,            /* of a queue's lanes; of more, the first in order count */
    RMD_MOVING_BINDS = 4,             /* incidents that bind one lane at once; of more, the first count */
    RMD_OWN_SLACK_MS = 5 * 60 * 1000, /* a lane's own share is given ahead by this time */
    RMD_OWN_WAKE_MS = 5000,
    RMD_PROBES = 5,                                 /* accepted in a row; RMD_PROBES_TEXT says so, too */
    RMD_QUARANTINE_AGAIN_MAX_MS = 24 * 3600 * 1000, /* unless the verdict's own time is longer */
    RMD_QUARANTINE_AGAIN_MIN_MS = 3600 * 1000,      /* of one that had no end of its own */
    RMD_RAMP_MIN_MS = 24 * 3600 * 1000,
    RMD_INCIDENT_LINES_MAX = 64,
    RMD_INCIDENT_LINES_FIRST = 16, /* of them are never forgotten */
    RMD_INCIDENT_TARGETS_MAX = 64,
    RMD_INCIDENT_MEMBERS_MAX = 1000,
    RMD_TICKET_MAX = 500,
};

#define RMD_PROBES_TEXT "5"

enum rmd_moving_phase {
    RMD_MOVING_NONE,
    RMD_MOVING_CANARY,
    RMD_MOVING_GROWING,
    RMD_MOVING_ENDED, /* refused elsewhere, too */
    RMD_MOVING_NEVER, /* this cause moves nothing */
};

/* Recipients in the busiest hour of each day of ledger time; most[0] is of `day`. */
struct rmd_peak {
    uint32_t day, seen; /* seen: bucket up to which hours were looked at */
    uint32_t most[RMD_PEAK_DAYS];
};

/* What a lane sent when a stop began to send it others' work. Only memory: after a restart it is told from the ledger. */
struct rmd_own {
    int64_t ledger_ms; /* 0: no stop */
    uint64_t per_hour, taken;
};

/* Of a lane that was stopped. */
struct rmd_comeback {
    int64_t stopped_ms;     /* how long the last quarantine was to last; 0: it had no end of its own */
    uint32_t accepted;      /* probing */
    uint64_t ramp_to;       /* its peak hour before; 0: no ramp */
    int64_t ramp_ledger_ms; /* since when it grows anew; 0: not yet */
    int rank;               /* its reputation's when it was stopped: what it sends others stand behind */
};

/* The stopped lanes of a queue. */
struct rmd_moving_stops {
    struct rmd_lane *lane[RMD_MOVING_STOPS];
    size_t n;
};

/* The incidents of those that came before a lane in the order of preference when they were stopped. */
struct rmd_moving {
    struct rmd_incident *v[RMD_MOVING_BINDS];
    size_t n;
    uint64_t usual; /* room until the lane's next level (usual.h); 0: without a limit */
    bool held;      /* over what lanes that rest had sent: only what ends soon */
};

extern const char rmd_why_canary[], rmd_why_growth[], rmd_why_ended[], rmd_why_never[], rmd_why_next_door[],
    rmd_why_nowhere[], rmd_why_ramp[], rmd_why_probing[];

/* ---- growth.c */
uint64_t rmd_peak_of(const struct rmd_coord *c, const struct rmd_lane *l); /* recent, an hour old */
uint64_t rmd_growth_of(const struct rmd_coord *c, uint64_t peak, uint64_t least);
void rmd_peak_tick(struct rmd_coord *c, struct rmd_lane *l);
void rmd_peaks_write(const struct rmd_coord *c, struct rmd_source *s); /* into its record */
void rmd_peaks_read(struct rmd_coord *c, struct rmd_source *s);
void rmd_peak_forget(struct rmd_coord *c, struct rmd_lane *l);
uint64_t rmd_lane_rate(const struct rmd_coord *c, const struct rmd_lane *l, int64_t at_ledger_ms); /* an hour */

int64_t rmd_moving_now(const struct rmd_coord *c); /* ledger time, never 0 */

/* ---- moving.c */
/* A lane was stopped with this incident: what it had begins to move, or waits. */
void rmd_moving_begin(struct rmd_coord *c, struct rmd_incident *i, struct rmd_source *s, struct rmd_lane *l,
                      bool move);
void rmd_moving_begin_site(struct rmd_coord *c, struct rmd_incident *i, bool move);
/* This source, which may have taken moved work in a canary, is refused, at this site when it is one of "other": its own work moves
 * nowhere then (true), and the moving ends. Not when the site stops itself alone: one receiver ends what moves for it, and no more. */
bool rmd_moving_refused(struct rmd_coord *c, const struct rmd_source *s, uint32_t provider, uint64_t site, bool alone,
                        uint32_t class);
void rmd_moving_ended(struct rmd_coord *c, struct rmd_incident *i, const char *why);
void rmd_moving_stops(const struct rmd_coord *c, struct rmd_pq *q, struct rmd_moving_stops *out);
void rmd_moving_bind(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_moving_stops *s,
                     const struct rmd_lane *l, struct rmd_moving *m);
/* Room for what is queued; for what came back because of this incident. Caps are apart. */
uint64_t rmd_moving_flow(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m);
uint64_t rmd_moving_room(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, struct rmd_incident *i);
/* n of the queue were granted to the lane; n that had come back were. */
void rmd_moving_flowed(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m,
                       uint32_t n);
void rmd_moving_took(struct rmd_coord *c, struct rmd_pq *q, struct rmd_incident *i, uint32_t n);
/* NULL: it has room. *by: the incident that leaves none. */
const char *rmd_moving_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m,
                           struct rmd_incident **by);
/* Of work that this incident keeps waiting. */
const char *rmd_moving_phase_why(struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_incident *i);
uint64_t rmd_moving_canary(const struct rmd_coord *c, const struct rmd_incident *i); /* its part */
int64_t rmd_moving_canary_left_ms(const struct rmd_coord *c, const struct rmd_incident *i);
void rmd_moving_tick(struct rmd_coord *c);

/* ---- returning.c */
/* Its time is over, its listing is gone, or a person says so: a stopped lane comes back. Another one is left alone. */
void rmd_returning_begin(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l, const char *why);
/* Every lane that this incident stopped. True: some came back. */
bool rmd_returning_all(struct rmd_coord *c, uint64_t incident, const char *why);
/* Some lane is stopped, or comes back, by this incident. */
bool rmd_returning_rests_on(const struct rmd_coord *c, uint64_t incident);
void rmd_returning_stopped(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l); /* before it is */
/* How long a lane is stopped that had been coming back; others: ms. 0: until resolved. */
int64_t rmd_returning_again_ms(const struct rmd_lane *l, int64_t ms);
int64_t rmd_returning_longer_ms(int64_t stopped_ms, int64_t ms); /* after a stop of that length */
void rmd_returning_outcome(struct rmd_coord *c, const struct rmd_lease *l, uint32_t kind, unsigned scope,
                           uint32_t class);
/* NULL, or why nothing more may go to it now. */
const char *rmd_returning_why(struct rmd_coord *c, struct rmd_lane *l);
uint64_t rmd_returning_room(struct rmd_coord *c, struct rmd_lane *l);
/* While it grows anew: for all but what is tried again there, which it had before. */
uint64_t rmd_returning_ramp(struct rmd_coord *c, struct rmd_lane *l);
bool rmd_returning_probes(const struct rmd_source *s, const struct rmd_lane *l);
void rmd_returning_tick(struct rmd_coord *c, struct rmd_lane *l);

#endif
