/* Stopped sites: what a single site of "other" says of a source (design, promise 10). Only state.h includes this.
 *
 * "other" is the provider of thousands of receivers that have nothing to do with each other. When one of them refuses a source,
 * the source stops at this site, and goes on at all others; refused in the greeting or later, for a reason or because of a broken lookup,
 * it is the word of one. It becomes the lane's when another site refuses the source within the corroboration time, and
 * the source's when our own DNS confirms it (failover.h): only then do recipients of other sites wait with those of this one. Then the pairs are taken over by that stop.
 *
 *   (none) --alarm--> QUARANTINED --its time is over, or resolved--> PROBING --one recipient accepted--> (none)
 *                          ^-----------------refused-----------------'   for twice as long, RMD_SITE_AGAIN_MAX_MS at most
 *
 * The site's recipients go to sources of the pool on disjoint networks, within canary and growth of the site's incident
 * (moving.h), or wait. A pair is probed before other sources get more of the site's recipients, with one
 * recipient also when its lane has no room for moved work; while it can't be, a lane of its network that is probed itself may ask there.
 * What the site says of several sources in the same way (class) is one incident with all of them (incident.c): it ends with the
 * last pair, and who is open again is bound by it no more.
 * A person who resolves it says that it was no evidence: it corroborates nothing any more.
 *
 * Bounded: RMD_SITE_STOPS_MAX sites of a source; with one more the whole lane is stopped, and the incident says so.
 * Known by the id of the site as our DNS has it (site.c): nodes look it up again when they dial, and give back what belongs to a
 * site that is stopped. A site whose domain is being asked for isn't dealt while any site is stopped. */
#ifndef REMUDA_COORDINATOR_SITE_STOP_H
#define REMUDA_COORDINATOR_SITE_STOP_H

#include <base/coll.h>
#include <base/text.h>

#include "coordinator/core/coordinator.h"

struct rmd_source;
struct rmd_lane;
struct rmd_lease;
struct rmd_ditem;
struct rmd_pq;
struct rmd_incident;
struct rmd_campaign;
struct rmd_domain;
struct rmd_stream;

enum {
    RMD_SITE_STOPS_MAX = 256, /* of a source */
    RMD_SITE_PROBE_WAIT_MS =
        10 * 60 * 1000, /* others wait so long for a pair that is probed: it may find nothing for it */
    RMD_SITE_AGAIN_MAX_MS = 6 * 3600 * 1000, /* one voice alone isn't believed longer than it corroborates others */
    RMD_SITE_STOP_LATER_MS = 60000, /* a full window of records that wait for such a site makes room for so long */
};

struct rmd_site_stop {
    struct rmd_list of_site;
    struct rmd_source *source;
    uint64_t site;
    char *name; /* a domain of it */
    enum rmd_lane_state state;
    int64_t until_ledger_ms, until_wall_ms; /* 0: until resolved */
    int64_t stopped_ms, probing_mono_ms;
    uint64_t incident;
    uint64_t probe_lease; /* and index: the recipient that it is probed with */
    uint32_t probe_index;
};

/* The stops of one site, by several sources. */
struct rmd_stopped_site {
    struct rmd_list stops;
};

/* ms 0: until resolved. false: the source has too many. */
bool rmd_site_stop_set(struct rmd_coord *c, struct rmd_source *s, uint64_t site, const char *name, int64_t ms,
                       uint64_t incident);
struct rmd_site_stop *rmd_site_stop_find(const struct rmd_source *s, uint64_t site);
/* All of a source are taken over by a wider stop. */
void rmd_site_stops_widened(struct rmd_coord *c, struct rmd_source *s, uint64_t incident);
/* Those that rest on the incident are probed. */
bool rmd_site_stops_return(struct rmd_coord *c, uint64_t incident, const char *why);
bool rmd_site_stops_rest_on(const struct rmd_source *s, uint64_t incident);
void rmd_site_stops_tick(struct rmd_coord *c, struct rmd_source *s);
void rmd_site_stops_free(struct rmd_coord *c, struct rmd_source *s);
void rmd_site_stops_read(struct rmd_coord *c, struct rmd_source *s);
void rmd_site_stops_write(const struct rmd_coord *c, struct rmd_source *s);
bool rmd_site_stops_timed(const struct rmd_source *s);

/* Dealing. May this lane have a recipient of the domain? into: the lease that is being built, or NULL; taken: moved before it in this
 * lease. *site: what to note when it is taken, or NULL. */
bool rmd_site_lets(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const char *domain,
                   const struct rmd_lease *into, uint32_t taken, const struct rmd_stopped_site **site);
/* NULL, or why it may have none of this site. */
const char *rmd_site_keeps(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l,
                           const struct rmd_stopped_site *site, const struct rmd_lease *into, uint32_t taken);
extern const char rmd_why_site[], rmd_why_site_network[], rmd_why_site_asked[];
/* The lease took it as its message `index`; true when it moved. */
bool rmd_site_took(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_lease *l, uint32_t index,
                   const struct rmd_stopped_site *site);
/* Some site may get the one recipient that the source is probed with. */
bool rmd_site_probe_due(const struct rmd_source *s);
/* The lane's source is stopped at this site, and probed. */
bool rmd_site_probes(const struct rmd_source *s, const struct rmd_stopped_site *site);
const char *rmd_site_domain(struct rmd_coord *c, const Remuda__DeferredRecord *r); /* NULL while no site is stopped */
/* The lane may not have it because of its site: what would be tried again from this source may go to another one, and a full window
 * makes room for other sites' records. May free it. */
void rmd_site_put_aside(struct rmd_coord *c, struct rmd_ditem *d, const struct rmd_lane *lane);
/* The domain of a row of a chunk, or NULL. */
const char *rmd_chunk_domain(const Remuda__Chunk *rows, uint32_t row);
void rmd_site_outcome(struct rmd_coord *c, const struct rmd_lease *l, uint32_t index, uint32_t kind, unsigned scope);
/* Of the pair of the lease's source and the site of an address; 0: it isn't stopped. */
uint64_t rmd_site_incident_of(struct rmd_coord *c, const struct rmd_lease *l, struct rmd_slice email);

/* ---- site_why.c: for people */
/* Of a queue that some lane could take: NULL, or the stopped site that what is loaded waits for, in words (of one campaign, or of all). */
const char *rmd_site_why(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, struct rmd_arena *a);
/* Who is refused by the domain's site, until when, and what a person can do: lines. */
void rmd_site_explain(struct rmd_coord *c, const struct rmd_domain *d, const struct rmd_stream *s,
                      struct rmd_buf *out);

#endif
