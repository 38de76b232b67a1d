/* Memory of surges: see surge_internal.h. */
#include "coordinator/core/surge_internal.h"

struct place_key {
    uint8_t b[16];
};

void rmd_surges_init(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges = rmd_alloc(sizeof *s);
    rmd_list_init(&s->lru);
    rmd_list_init(&s->recent);
    rmd_list_init(&s->held);
}

/* ---------------------------------------------------------------- places */

static struct place_key place_key(uint32_t tenant, uint32_t provider, uint64_t site) {
    struct place_key k;
    rmd_put_be32(k.b, tenant);
    rmd_put_be32(k.b + 4, provider);
    rmd_put_be64(k.b + 8, site);
    return k;
}

const char *rmd_surge_domain_of(struct rmd_coord *c, struct rmd_slice email) {
    char *name = rmd_arena_str(&c->scratch, rmd_address_domain(email));
    rmd_lower_str(name);
    return name;
}

/* Where an address is: 0 for all of a named provider. Until a domain's site is known it stands for itself. */
uint64_t rmd_surge_site_of(struct rmd_coord *c, uint32_t provider, struct rmd_slice email) {
    if (provider != c->other)
        return 0;
    const char *domain = rmd_surge_domain_of(c, email);
    const struct rmd_domain *d = rmd_map_get_str(&c->domains, domain);
    return d && d->site ? d->site : rmd_mix64(rmd_fnv32(rmd_slice_str(domain))) | 1;
}

struct rmd_surge_place *rmd_surge_place_find(struct rmd_coord *c, uint32_t tenant, uint32_t provider, uint64_t site) {
    struct place_key k = place_key(tenant, provider, site);
    return rmd_map_get(&c->surges->places, rmd_slice(k.b, sizeof k.b));
}

static void place_drop(struct rmd_coord *c, struct rmd_surge_place *p) {
    struct place_key k = place_key(p->tenant, p->provider, p->site);
    rmd_map_remove(&c->surges->places, rmd_slice(k.b, sizeof k.b));
    rmd_list_remove(&p->lru);
    free(p->name);
    free(p);
}

static void make_room(struct rmd_coord *c) {
    rmd_list_for(it, &c->surges->lru) {
        struct rmd_surge_place *old = rmd_container(it, struct rmd_surge_place, lru);
        if (old->s.on)
            continue;
        struct rmd_key row = rmd_key_surge(old->tenant, old->provider, old->site);
        rmd_core_delete(c, &row);
        place_drop(c, old);
        return;
    }
}

/* NULL when every place is in a surge. */
struct rmd_surge_place *rmd_surge_place_make(struct rmd_coord *c, uint32_t tenant, uint32_t provider, uint64_t site,
                                             const char *name) {
    if (c->surges->places.n >= RMD_SURGE_PLACES_MAX)
        make_room(c);
    if (c->surges->places.n >= RMD_SURGE_PLACES_MAX)
        return NULL;
    struct rmd_surge_place *p = rmd_alloc(sizeof *p);
    p->tenant = tenant;
    p->provider = provider;
    p->site = site;
    p->name = rmd_strdup(site ? name : "");
    struct place_key k = place_key(tenant, provider, site);
    rmd_map_set(&c->surges->places, rmd_slice(k.b, sizeof k.b), p);
    rmd_list_push(&c->surges->lru, &p->lru);
    return p;
}

void rmd_surge_place_dirty(struct rmd_coord *c, struct rmd_surge_place *p, bool urgent) {
    p->dirty = c->surges->dirty = true;
    p->urgent |= urgent;
}

/* ---------------------------------------------------------------- bounces */

struct rmd_surge_bounce *rmd_surge_bounce_find(struct rmd_coord *c, uint64_t hash) {
    return rmd_map_get_u64(&c->surges->bounces, hash);
}

void rmd_surge_bounce_drop(struct rmd_coord *c, struct rmd_surge_bounce *x) {
    struct rmd_surges *s = c->surges;
    rmd_map_remove_u64(&s->bounces, x->hash);
    rmd_list_remove(&x->link);
    *(x->incident ? &s->n_held : &s->n_recent) -= 1;
    free(x->address);
    free(x->evidence);
    free(x);
}

struct rmd_surge_bounce *rmd_surge_bounce_add(struct rmd_coord *c, uint64_t hash, uint64_t incident) {
    struct rmd_surges *s = c->surges;
    struct rmd_surge_bounce *x = rmd_alloc(sizeof *x);
    x->hash = hash;
    x->incident = incident;
    rmd_map_set_u64(&s->bounces, hash, x);
    rmd_list_push(incident ? &s->held : &s->recent, &x->link);
    *(incident ? &s->n_held : &s->n_recent) += 1;
    return x;
}

void rmd_surge_trim(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    while (!rmd_list_empty(&s->recent)) {
        struct rmd_surge_bounce *x = rmd_container(s->recent.next, struct rmd_surge_bounce, link);
        bool aged = c->now.wall_ms - x->wall_ms > RMD_SURGE_RECENT_MS;
        if (!aged && s->n_recent <= RMD_SURGE_RECENT_MAX)
            return;
        if (!aged && x->wall_ms > s->lost_wall_ms)
            s->lost_wall_ms = x->wall_ms;
        rmd_surge_bounce_drop(c, x);
    }
}

void rmd_surge_write_row(struct rmd_coord *c, const struct rmd_surge_bounce *x) {
    Remuda__SuppressionRecord r = REMUDA__SUPPRESSION_RECORD__INIT;
    r.address = x->address;
    r.reason = (char *)(uintptr_t) "hard bounce";
    r.evidence = x->evidence;
    r.wall_ms = x->wall_ms;
    r.confirmed = true;
    r.pending = x->pending;
    r.incident = x->incident;
    r.provider = x->provider;
    r.site = x->site;
    struct rmd_key k = rmd_key_suppression(x->tenant, 0, x->hash);
    rmd_core_put(c, &k, &r);
}

void rmd_surge_incident_count(struct rmd_coord *c, uint64_t id, int64_t pending, uint64_t undone,
                              uint64_t confirmed) {
    struct rmd_incident *i = rmd_incident_find(c, id);
    if (!i)
        return;
    i->rec->pending = (uint64_t)((int64_t)i->rec->pending + pending);
    i->rec->undone += undone;
    i->rec->confirmed += confirmed;
    i->rec->waiting = i->rec->state ? 0 : i->rec->pending;
    if (i->rec->waiting > i->rec->waiting_most)
        i->rec->waiting_most = i->rec->waiting;
    i->dirty = true;
}

/* ---------------------------------------------------------------- start, writing, end */

bool rmd_surges_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) {
    const Remuda__SurgeRecord *r = rmd_pb_decode(&remuda__surge_record__descriptor, value, &c->scratch);
    if (!r || key.n != 17)
        return false;
    struct rmd_surge_place *p =
        rmd_surge_place_make(c, rmd_get_be32(key.p + 1), rmd_get_be32(key.p + 5), rmd_get_be64(key.p + 9), r->name);
    if (!p)
        return true;
    p->s = (struct rmd_surge){.usual_n = r->usual_n,
                              .usual_unknown = r->usual_unknown,
                              .decayed_wall_ms = r->decayed_wall_ms,
                              .on = r->on,
                              .n = r->n,
                              .unknown = r->unknown,
                              .since_wall_ms = r->since_wall_ms,
                              .score = r->score,
                              .unknown_wall_ms = r->unknown_wall_ms};
    p->incident = r->incident;
    return true;
}

void rmd_surges_restore_bounce(struct rmd_coord *c, uint32_t tenant, uint64_t hash,
                               const Remuda__SuppressionRecord *r) {
    if (!r->provider || rmd_surge_bounce_find(c, hash))
        return;
    if (!r->incident && c->surges->n_recent >= RMD_SURGE_RECENT_MAX) {
        if (r->wall_ms > c->surges->lost_wall_ms)
            c->surges->lost_wall_ms = r->wall_ms;
        return;
    }
    if (!r->incident && c->now.wall_ms - r->wall_ms > RMD_SURGE_RECENT_MS)
        return;
    struct rmd_surge_bounce *x = rmd_surge_bounce_add(c, hash, r->incident);
    x->tenant = tenant;
    x->provider = r->provider;
    x->site = r->site;
    x->pending = r->pending;
    x->wall_ms = r->wall_ms;
    x->address = rmd_strdup(r->address);
    x->evidence = rmd_strdup(r->evidence);
}

static int by_time(const void *a, const void *b) {
    const struct rmd_surge_bounce *x = *(struct rmd_surge_bounce *const *)a,
                                  *y = *(struct rmd_surge_bounce *const *)b;
    return x->wall_ms < y->wall_ms ? -1 : x->wall_ms > y->wall_ms ? 1 : x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* The rows came in the order of their keys. */
void rmd_surges_restored(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    struct rmd_surge_bounce **v = rmd_alloc((s->n_recent + 1) * sizeof(struct rmd_surge_bounce *));
    size_t n = 0;
    rmd_list_for_safe(it, &s->recent) {
        v[n++] = rmd_container(it, struct rmd_surge_bounce, link);
        rmd_list_remove(it);
    }
    qsort(v, n, sizeof *v, by_time);
    for (size_t i = 0; i < n; i++)
        rmd_list_push(&s->recent, &v[i]->link);
    free(v);
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (i->rec->surge_wall_ms)
            i->rec->pending = 0;
        if (i->rec->decision)
            s->deciding = i->rec->id;
    }
    rmd_list_for(it, &s->held) {
        const struct rmd_surge_bounce *x = rmd_container(it, struct rmd_surge_bounce, link);
        struct rmd_incident *i = x->pending ? rmd_incident_find(c, x->incident) : NULL;
        if (i)
            i->rec->pending++;
    }
}

void rmd_surges_flush(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    uint32_t bucket = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
    if (!s->dirty)
        return;
    bool all = bucket != s->bucket;
    s->bucket = bucket;
    s->dirty = false;
    rmd_list_for(it, &s->lru) {
        struct rmd_surge_place *p = rmd_container(it, struct rmd_surge_place, lru);
        if (!p->dirty || (!all && !p->urgent)) {
            s->dirty |= p->dirty;
            continue;
        }
        p->dirty = p->urgent = false;
        Remuda__SurgeRecord r = REMUDA__SURGE_RECORD__INIT;
        r.usual_n = p->s.usual_n;
        r.usual_unknown = p->s.usual_unknown;
        r.decayed_wall_ms = p->s.decayed_wall_ms;
        r.on = p->s.on;
        r.n = p->s.n;
        r.unknown = p->s.unknown;
        r.since_wall_ms = p->s.since_wall_ms;
        r.score = p->s.score;
        r.unknown_wall_ms = p->s.unknown_wall_ms;
        r.incident = p->incident;
        r.name = p->name;
        struct rmd_key k = rmd_key_surge(p->tenant, p->provider, p->site);
        rmd_core_put(c, &k, &r);
    }
}

void rmd_surges_free(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    rmd_list_for_safe(it, &s->recent) rmd_surge_bounce_drop(c, rmd_container(it, struct rmd_surge_bounce, link));
    rmd_list_for_safe(it, &s->held) rmd_surge_bounce_drop(c, rmd_container(it, struct rmd_surge_bounce, link));
    rmd_list_for_safe(it, &s->lru) place_drop(c, rmd_container(it, struct rmd_surge_place, lru));
    rmd_map_release(&s->places);
    rmd_map_release(&s->bounces);
    free(s);
}
