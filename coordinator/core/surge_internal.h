/* What the files of surges share (surge.h counts, surge_table.c remembers, surge_act.c acts, surge_decide.c carries out what a person decides).
 *
 * Owned by surge_table.c, all of it rebuilt from the store at start:
 *   places    answers at a provider (of `other`: at a site), by tenant; made by the first unknown user there. At most RMD_SURGE_PLACES_MAX,
 *             the one without a surge that had no unknown user for longest goes. Written when a surge begins or ends, else with the
 *             ledger's bucket: what a crash loses of the usual share are minutes.
 *   bounces   hard bounces of late, by address: the newest RMD_SURGE_RECENT_MAX of the last RMD_SURGE_RECENT_MS, and what belongs to the
 *             incident of a surge, RMD_SURGE_PENDING_MAX in all. Past that an address is neither suppressed nor pending; the incident
 *             counts how many. Their rows in the store are those of the suppressions. */
#ifndef REMUDA_SURGE_INTERNAL_H
#define REMUDA_SURGE_INTERNAL_H

#include "coordinator/core/core.h"
#include "coordinator/core/surge.h"

struct rmd_surge_place {
    struct rmd_list lru;
    uint32_t tenant, provider;
    uint64_t site;
    char *name; /* of `other`: a domain of the site */
    struct rmd_surge s;
    uint64_t incident;
    bool dirty, urgent;
};

struct rmd_surge_bounce {
    struct rmd_list link; /* recent, or held */
    uint64_t hash, site, incident;
    uint32_t tenant, provider;
    int64_t wall_ms;
    bool pending;
    char *address, *evidence;
};

struct rmd_surges {
    struct rmd_map places, bounces; /* by place_key, by address hash */
    struct rmd_list lru;            /* places, longest unused first */
    struct rmd_list recent, held;   /* bounces, oldest first */
    uint32_t n_recent, n_held;
    int64_t lost_wall_ms; /* the newest bounce that left `recent` before its time */
    uint32_t bucket;
    uint64_t deciding, token; /* incident under decision, and who waits for it */
    uint32_t told;            /* events of this decision */
    bool dirty;
};

/* Where an address is: 0 for all of a named provider. Until a domain's site is known it stands for itself. */
uint64_t rmd_surge_site_of(struct rmd_coord *c, uint32_t provider, struct rmd_slice email);
const char *rmd_surge_domain_of(struct rmd_coord *c, struct rmd_slice email); /* scratch */
struct rmd_surge_place *rmd_surge_place_find(struct rmd_coord *c, uint32_t tenant, uint32_t provider, uint64_t site);
/* NULL when every place is in a surge. */
struct rmd_surge_place *rmd_surge_place_make(struct rmd_coord *c, uint32_t tenant, uint32_t provider, uint64_t site,
                                             const char *name);
void rmd_surge_place_dirty(struct rmd_coord *c, struct rmd_surge_place *p, bool urgent); /* urgent: with this step */
struct rmd_surge_bounce *rmd_surge_bounce_find(struct rmd_coord *c, uint64_t hash);
struct rmd_surge_bounce *rmd_surge_bounce_add(struct rmd_coord *c, uint64_t hash, uint64_t incident);
void rmd_surge_bounce_drop(struct rmd_coord *c, struct rmd_surge_bounce *x);
void rmd_surge_trim(struct rmd_coord *c);
void rmd_surge_write_row(struct rmd_coord *c, const struct rmd_surge_bounce *x);
void rmd_surge_incident_count(struct rmd_coord *c, uint64_t id, int64_t pending, uint64_t undone, uint64_t confirmed);
void rmd_surge_event(struct rmd_coord *c, const char *type, const struct rmd_incident *i, const char *text);

#endif
