/* Warm-up inside the coordinator's core: which lanes and sending domains warm up, what that does to their caps, and where their days
 * are counted. The judge is warmup.h; here is what binds it to sources, streams, ledger and store. Only state.h includes this.
 *
 *   warm_lanes.c     lanes and domains: attached to their plan, counted, closed, stored (table W)
 *   warm_caps.c      caps, shares of the hour, who may be used, what is kept for whom
 *   warm_sites.c     ceilings for the sites of the bucket `other`
 *   warm_commands.c  what operators say
 *   warm_views.c     what they are shown
 *
 * The sending day never goes back, and a new one opens only when the calendar says so and half a day of ledger time has passed since
 * the last: whatever the wall clock does, no two stages are gained within twelve hours that a monotonic clock has counted. */
#ifndef REMUDA_COORDINATOR_WARM_H
#define REMUDA_COORDINATOR_WARM_H

#include "coordinator/core/ledger.h"
#include "coordinator/core/warmup.h"

struct rmd_source;
struct rmd_lane;
struct rmd_stream;
struct rmd_lease;
struct rmd_chunk;
struct rmd_pq;
struct rmd_coord;
struct rmd_campaign;

enum {
    RMD_WARM_DAY_MIN_MS = 12 * 3600 * 1000,
    RMD_WARM_SITES_MAX = 2048, /* of one source */
    RMD_WARM_SITE_SLOTS = 5,   /* of six hours: they cover a day, and never less */
    RMD_WARM_SITE_SLOT_MS = 6 * 3600 * 1000,
    RMD_WARM_RESERVE_MS = 12 * 3600 * 1000, /* a campaign that ends sooner waits for no lane */
    RMD_WARM_SOON_MS =
        5 * 3600 * 1000, /* so far ahead work is kept for a lane: it takes a day's cap, a fifth in an hour */
    RMD_WARM_WAIT_MS = 6 * 3600 * 1000, /* a campaign that began longer ago has waited enough */
};

struct rmd_warm_site {
    uint32_t site;
    int64_t slot; /* of n[0] */
    uint32_t n[RMD_WARM_SITE_SLOTS];
    bool dirty;
};

/* A lane, or a sending domain at a provider. */
struct rmd_warm_lane {
    uint8_t kind; /* enum rmd_account_kind: its account's key */
    uint32_t a, b;
    struct rmd_source *source; /* of a lane */
    const struct rmd_warm_domain *domain;
    size_t provider;
    struct rmd_scheme scheme; /* plan NULL: restored, and not attached */
    struct rmd_warm w;
    char *reason;
    bool dirty;
    struct rmd_list dirty_link;
};

struct rmd_warm_domain {
    char *name;
    uint32_t hash;
    const struct rmd_plan *plan;
    uint64_t warm_as;
    int64_t since_wall_ms;
    struct rmd_warm_lane **lane; /* by provider index */
};

struct rmd_warming {
    struct rmd_map lanes, domains; /* by key, by hash */
    struct rmd_list dirty;
    struct rmd_sending_day told;
    bool first, sites_dirty; /* some lane sent for the first time; some site was counted */
};

static inline bool rmd_warm_is_cold(const struct rmd_warm_lane *x) {
    return x && x->w.stage < x->scheme.caps->n;
}

extern const char rmd_why_warm_cap[], rmd_why_warm_hour[], rmd_why_kept[];

/* ---- warm_lanes.c */
void rmd_warm_init_core(struct rmd_coord *c);
void rmd_warm_free(struct rmd_coord *c);
void rmd_warm_source(struct rmd_coord *c, struct rmd_source *s);  /* after it was added, or restored */
void rmd_warm_is_warm(struct rmd_coord *c, struct rmd_source *s); /* says the operator, of all its lanes */
void rmd_warm_attach(struct rmd_coord *c, struct rmd_lane *l);    /* a lane was made */
void rmd_warm_streams(struct rmd_coord *c);                       /* streams changed: which domains warm up */
void rmd_warm_reloaded(struct rmd_coord *c); /* providers changed: lanes are found again by their ids */
struct rmd_warm_lane *rmd_warm_domain_lane(struct rmd_coord *c, const struct rmd_stream *st, size_t provider);
void rmd_warm_step(struct rmd_coord *c); /* closes days; before anything of a step is counted */
void rmd_warm_outcome(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                      const struct rmd_verdict *v, uint64_t address_hash);
void rmd_warm_stopped(struct rmd_coord *c, struct rmd_source *s, const struct rmd_lane *l); /* by a quarantine */
void rmd_warm_dirty(struct rmd_coord *c, struct rmd_warm_lane *x);
void rmd_warm_flush(struct rmd_coord *c);
bool rmd_warm_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value);
void rmd_warm_restored(struct rmd_coord *c);
int64_t rmd_warm_day(const struct rmd_coord *c);
/* A stage changed otherwise than by a day's close: source's stage, places of its network, order of the lanes. */
void rmd_warm_changed(struct rmd_coord *c);
/* The words for a move, as an event. */
void rmd_warm_tell(struct rmd_coord *c, const struct rmd_warm_lane *x, const struct rmd_judgement *j,
                   const char *because);
const char *rmd_warm_subject(const struct rmd_warm_lane *x);

/* ---- warm_caps.c */
uint64_t rmd_warm_lane_cap(const struct rmd_warm_lane *x, uint64_t configured);
uint64_t rmd_warm_source_cap(const struct rmd_source *s, uint64_t configured);
void rmd_warm_caps(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st, struct rmd_caps *out);
/* NULL, or why a lane may not be used for this stream at all. */
const char *rmd_warm_bars(const struct rmd_coord *c, const struct rmd_stream *st, const struct rmd_lane *l);
/* There is no room: is it a warm-up that binds? NULL: another cap. */
const char *rmd_warm_binds(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st);
/* What this lane, which can't take work at the moment, will take of the queue soon. */
uint64_t rmd_warm_keeps(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const char *why);
bool rmd_warm_ends_soon(const struct rmd_coord *c, const struct rmd_campaign *k); /* it waits for no lane */
/* Work of this campaign is kept for lanes that warm up: it neither ends soon nor has waited long. */
bool rmd_warm_kept(struct rmd_coord *c, const struct rmd_campaign *k);
bool rmd_warm_before(const struct rmd_stream *st, const struct rmd_lane *a, const struct rmd_lane *b, bool *decided);
/* When the first of this queue's lanes gets room: milliseconds, RMD_NEVER when none waits for a cap. */
int64_t rmd_warm_frees_ms(struct rmd_coord *c, struct rmd_pq *q);
bool rmd_warm_must_register(const struct rmd_coord *c, const struct rmd_source *s, size_t provider, bool *registered);

/* ---- warm_sites.c */
/* Room for one more recipient of this row's site; counts it when there is. */
bool rmd_warm_site_take(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_chunk *ch, uint32_t row);
bool rmd_warm_site_take_own(struct rmd_coord *c, struct rmd_lane *l, const Remuda__DeferredRecord *r);
void rmd_warm_sites_flush(struct rmd_coord *c, struct rmd_source *s);
void rmd_warm_sites_free(struct rmd_source *s);
void rmd_warm_site_restore(struct rmd_coord *c, struct rmd_source *s, uint32_t site, const Remuda__WarmSiteRecord *r);

/* ---- warm_commands.c */
void rmd_warm_command(struct rmd_coord *c, const struct rmd_command *m);
/* NULL, or what is wrong with the plan that a source or a stream asks for. */
const char *rmd_warm_objection(struct rmd_coord *c, const char *plan);

#endif
