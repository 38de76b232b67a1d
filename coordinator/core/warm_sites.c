/* Ceilings for the sites of the bucket `other`: a bounded table for each source that warms up. Counted when dealt, in slots of six hours
 * that cover at least a day, and written with the lease: a restart forgets none. What a node gives back stays counted: the ceiling
 * is then reached sooner, never later. A site that finds no place in the table waits for one. */
#include "coordinator/core/core.h"

enum { KIND_SITE = 9 };

static int64_t slot_now(const struct rmd_coord *c) {
    return c->ledger.now_ms / RMD_WARM_SITE_SLOT_MS;
}

static void turn(struct rmd_warm_site *x, int64_t slot) {
    int64_t by = slot - x->slot;
    if (by <= 0)
        return;
    for (int i = RMD_WARM_SITE_SLOTS - 1; i >= 0; i--)
        x->n[i] = i >= by ? x->n[i - by] : 0;
    x->slot = slot;
}

static uint64_t used(const struct rmd_warm_site *x) {
    uint64_t sum = 0;
    for (int i = 0; i < RMD_WARM_SITE_SLOTS; i++)
        sum += x->n[i];
    return sum;
}

/* Sites that have nothing within the day make room. */
static void sweep(struct rmd_coord *c, struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->sites, &it, NULL, &v)) {
        struct rmd_warm_site *x = v;
        turn(x, slot_now(c));
        if (used(x))
            continue;
        struct rmd_key k = rmd_key_warm(KIND_SITE, s->rec->id, x->site);
        rmd_core_delete(c, &k);
        rmd_map_remove(&s->sites, rmd_slice(&x->site, sizeof x->site));
        free(x);
    }
}

static struct rmd_warm_site *site_get(struct rmd_coord *c, struct rmd_source *s, uint32_t site) {
    struct rmd_warm_site *x = rmd_map_get(&s->sites, rmd_slice(&site, sizeof site));
    if (x)
        return x;
    if (s->sites.n >= RMD_WARM_SITES_MAX) {
        if (s->sites_swept == slot_now(c))
            return NULL;
        s->sites_swept = slot_now(c);
        sweep(c, s);
        if (s->sites.n >= RMD_WARM_SITES_MAX)
            return NULL;
    }
    x = rmd_alloc(sizeof *x);
    x->site = site;
    x->slot = slot_now(c);
    rmd_map_set(&s->sites, rmd_slice(&site, sizeof site), x);
    return x;
}

/* The domain's site; the domain itself when DNS has no answer. 0: it is being asked for. */
static uint32_t site_of(struct rmd_coord *c, const char *domain) {
    const struct rmd_domain *d = rmd_site_find(c, domain);
    if (!d->site && d->state == RMD_SITE_WAIT) {
        c->deal_asks = true;
        return 0;
    }
    uint64_t site = d->site ? d->site : rmd_fnv64(rmd_slice_str(domain));
    uint32_t id = (uint32_t)(site ^ site >> 32);
    return id ? id : 1;
}

static bool take(struct rmd_coord *c, struct rmd_lane *l, const char *domain) {
    struct rmd_source *s = l->source;
    uint32_t site = site_of(c, domain);
    struct rmd_warm_site *x = site ? site_get(c, s, site) : NULL;
    if (!x)
        return false;
    turn(x, slot_now(c));
    if (used(x) >= rmd_caps_list_at(&s->plan->site, l->warm->w.stage))
        return false;
    x->n[0]++;
    x->dirty = s->sites_dirty = c->warm.sites_dirty = true;
    return true;
}

static bool has_ceilings(const struct rmd_coord *c, const struct rmd_lane *l) {
    return rmd_warm_is_cold(l->warm) && c->o.provider[l->provider]->id == c->other;
}

bool rmd_warm_site_take(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_chunk *ch, uint32_t row) {
    if (!has_ceilings(c, l))
        return true;
    uint32_t at = ch->rows->n_domain_of ? ch->rows->domain_of[row] : 0;
    return at < ch->rows->n_domain && take(c, l, ch->rows->domain[at]);
}

bool rmd_warm_site_take_own(struct rmd_coord *c, struct rmd_lane *l, const Remuda__DeferredRecord *r) {
    struct rmd_row_head h;
    if (!has_ceilings(c, l) || !rmd_row_head(rmd_slice(r->row.data, r->row.len), &h))
        return true;
    return take(c, l, rmd_arena_str(&c->scratch, rmd_address_domain(h.email)));
}

void rmd_warm_sites_flush(struct rmd_coord *c, struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    if (!s->sites_dirty)
        return;
    s->sites_dirty = false;
    while (rmd_map_next(&s->sites, &it, NULL, &v)) {
        struct rmd_warm_site *x = v;
        if (!x->dirty)
            continue;
        x->dirty = false;
        Remuda__WarmSiteRecord r = REMUDA__WARM_SITE_RECORD__INIT;
        r.slot = x->slot;
        r.n = x->n;
        r.n_n = RMD_WARM_SITE_SLOTS;
        struct rmd_key k = rmd_key_warm(KIND_SITE, s->rec->id, x->site);
        rmd_core_put(c, &k, &r);
    }
}

void rmd_warm_site_restore(struct rmd_coord *c, struct rmd_source *s, uint32_t site,
                           const Remuda__WarmSiteRecord *r) {
    (void)c;
    if (s->sites.n >= RMD_WARM_SITES_MAX || r->n_n > RMD_WARM_SITE_SLOTS)
        return;
    struct rmd_warm_site *x = rmd_alloc(sizeof *x);
    x->site = site;
    x->slot = r->slot;
    memcpy(x->n, r->n, r->n_n * sizeof x->n[0]);
    rmd_map_set(&s->sites, rmd_slice(&site, sizeof site), x);
}

void rmd_warm_sites_free(struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->sites, &it, NULL, &v))
        free(v);
    rmd_map_release(&s->sites);
}
