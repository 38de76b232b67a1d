/* Reputation inside the coordinator's core: who has one, what feeds it, what it changes. The score is reputation.h. Only state.h includes this.
 *
 *   reputation_book.c   fed from settled outcomes, alarms, quarantines, listings and complaints; judged, stored (table W, kinds 18 and 19)
 *   reputation_weigh.c  order of lanes, a poor lane's share of the hour, the pace that nodes told
 *   reputation_views.c  what operators are shown
 *
 * What a message adds is in memory at once and in the store within RMD_BOOK_WRITE_MS: a crash forgets a minute of good news at most, because bad
 * news (blocks, complaints, quarantines, listings) is written with the step that brings it. Bands are judged where something was counted, every
 * RMD_BOOK_JUDGE_MS, and all of them once an hour, RMD_BOOK_SWEEP a step, because time heals: between two judgements nothing moves.
 *
 * Memory: one object a lane that has sent or was stopped, and one a sending domain and provider. */
#ifndef REMUDA_REPUTATION_BOOK_H
#define REMUDA_REPUTATION_BOOK_H

#include "coordinator/core/reputation.h"

struct rmd_coord;
struct rmd_source;
struct rmd_lane;
struct rmd_lease;
struct rmd_stream;
struct rmd_caps;
struct rmd_node;
struct rmd_command;

enum {
    RMD_BOOK_WRITE_MS = 60000,
    RMD_BOOK_JUDGE_MS = 5000,
    RMD_BOOK_SWEEP = 512,
    RMD_BOOK_LANE = 18, /* kinds of keys */
    RMD_BOOK_DOMAIN = 19,
    RMD_PACE_KEPT_MS = 24 * 3600 * 1000,          /* a pace that was told longer ago is history */
    RMD_PACE_HOUR_KEPT_MS = 7 * 24 * 3600 * 1000, /* and so is an hour's measure */
};

struct rmd_repute {
    struct rmd_list all, dirty_link;
    uint8_t kind;
    uint32_t a, b;
    struct rmd_reputation r;
    enum rmd_reputation_band band;
    uint32_t score; /* as last judged */
    bool dirty;
    uint32_t pace_per_minute, pace_connections; /* of a lane: as last told by its node; 0: not slowed */
    uint32_t pace_per_hour;                     /* 0: not known */
    int64_t pace_ledger_ms;
};

struct rmd_book {
    struct rmd_map by_key;
    struct rmd_list all, dirty;
    bool urgent; /* some of the dirty ones can't wait */
    int64_t write_mono_ms, judge_mono_ms;
    int64_t hour, swept_hour; /* of ledger time */
    uint32_t to_sweep;
};

extern const char rmd_why_reputation[];

/* ---- reputation_book.c */
void rmd_book_init(struct rmd_coord *c);
void rmd_book_free(struct rmd_coord *c);
struct rmd_repute *rmd_book_find(struct rmd_coord *c, uint8_t kind, uint32_t a, uint32_t b); /* or NULL */
void rmd_book_attach(struct rmd_coord *c, struct rmd_lane *l);                               /* a lane was made */
void rmd_book_outcome(struct rmd_coord *c, struct rmd_lease *l, const Remuda__Outcome *o,
                      const struct rmd_verdict *v);
/* A refusal before any message was tried. */
void rmd_book_alarm(struct rmd_coord *c, struct rmd_lane *l, const Remuda__Alarm *a, const struct rmd_verdict *v);
void rmd_book_stopped(struct rmd_coord *c, struct rmd_source *s, const struct rmd_lane *l); /* by a quarantine */
/* A listing of a source or sending domain began, or changed or ended. */
void rmd_book_listed(struct rmd_coord *c, const Remuda__ListingRecord *r, bool began);
/* true: there is such a source or sending domain, and provider. */
bool rmd_book_complaints(struct rmd_coord *c, const struct rmd_command *m);
void rmd_book_flush(struct rmd_coord *c);
bool rmd_book_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value);
void rmd_book_restored(struct rmd_coord *c);
/* What a lane is judged by, its source's part included. */
void rmd_book_of_lane(struct rmd_coord *c, const struct rmd_repute *x, struct rmd_reputation *out,
                      struct rmd_reputation_facts *f);
const char *rmd_book_domain_name(struct rmd_coord *c, uint32_t hash); /* of a stream's sending domain, or "(gone)" */
/* Its node told that it is slowed to so much (0, 0: it isn't), and what its receiver takes an hour (0: not known). */
void rmd_book_paced(struct rmd_coord *c, struct rmd_lane *l, uint32_t per_minute, uint32_t connections,
                    uint32_t per_hour);
/* With the names of lists, in the arena. */
void rmd_book_facts(struct rmd_coord *c, const struct rmd_source *s, const char *domain, struct rmd_arena *a,
                    struct rmd_reputation_facts *f);

/* ---- reputation_views.c */
struct rmd_lane_view;
struct rmd_source_view;
void rmd_book_of_source(struct rmd_coord *c, const struct rmd_source *s, struct rmd_reputation *sum);
void rmd_book_view_lane(struct rmd_coord *c, const struct rmd_lane *l, struct rmd_lane_view *out);
void rmd_book_view_source(struct rmd_coord *c, const struct rmd_source *s, struct rmd_source_view *out);

/* ---- reputation_weigh.c */
int rmd_book_rank(const struct rmd_coord *c, const struct rmd_lane *l); /* less is sooner */
bool rmd_book_poor(const struct rmd_coord *c, const struct rmd_lane *l);
uint64_t rmd_book_hour(const struct rmd_coord *c, const struct rmd_lane *l, uint64_t cap, uint64_t hour);
bool rmd_book_binds(struct rmd_coord *c, const struct rmd_lane *l, const struct rmd_caps *caps);
void rmd_pace_told(struct rmd_coord *c, struct rmd_node *n, const Remuda__Pace *m);
/* What the lane's node has of it waits for the provider's connects_per_minute. */
bool rmd_pace_connects_bind(const struct rmd_lane *l);
void rmd_pace_of_lease(struct rmd_coord *c, const struct rmd_lane *l, Remuda__LeaseShare *share);

#endif
