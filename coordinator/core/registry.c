/* Registry: tenants, streams, sources with their lanes, nodes: what operators change at run time. All of it lives in
 * memory and in the store; sources and nodes are written when dirty, at the end of a step. */
#include "coordinator/core/core.h"

struct rmd_stream *rmd_stream_find(struct rmd_coord *c, uint32_t id) {
    return rmd_map_get(&c->streams, rmd_slice(&id, sizeof id));
}
struct rmd_source *rmd_source_find(struct rmd_coord *c, uint32_t id) {
    return rmd_map_get(&c->sources, rmd_slice(&id, sizeof id));
}
struct rmd_node *rmd_node_find(struct rmd_coord *c, uint32_t id) {
    return rmd_map_get(&c->nodes, rmd_slice(&id, sizeof id));
}
struct rmd_node *rmd_node_by_key(struct rmd_coord *c, const uint8_t key[RMD_KEY_BYTES]) {
    return rmd_map_get(&c->nodes_by_key, rmd_slice(key, RMD_KEY_BYTES));
}

struct rmd_node *rmd_node_by_name(struct rmd_coord *c, const char *name) {
    uint32_t it = 0;
    void *v;
    while (name && rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (strcmp(n->rec->name, name) == 0)
            return n;
    }
    return NULL;
}

struct rmd_source *rmd_source_by_address(struct rmd_coord *c, uint32_t tenant, const char *address) {
    uint32_t it = 0;
    void *v;
    struct rmd_addr a, b;
    if (!address || rmd_addr_parse(address, &a) != RMD_OK)
        return NULL;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (s->rec->tenant == tenant && rmd_addr_parse(s->rec->address, &b) == RMD_OK && rmd_addr_eq(&a, &b))
            return s;
    }
    return NULL;
}

const Remuda__StreamRecord *rmd_coord_stream_by_name(struct rmd_coord *c, uint32_t tenant, const char *name) {
    uint32_t it = 0;
    void *v;
    while (name && rmd_map_next(&c->streams, &it, NULL, &v)) {
        struct rmd_stream *s = v;
        if (s->rec->tenant == tenant && strcmp(s->rec->name, name) == 0)
            return s->rec;
    }
    return NULL;
}

ssize_t rmd_provider_index(const struct rmd_coord *c, uint32_t id) {
    for (size_t i = 0; i < c->o.n_providers; i++) {
        if (c->o.provider[i]->id == id)
            return (ssize_t)i;
    }
    return -1;
}

const char *rmd_provider_name(const struct rmd_coord *c, uint32_t id) {
    ssize_t i = rmd_provider_index(c, id);
    return i >= 0 ? c->o.provider[i]->name : id ? "(no longer configured)" : "unresolved";
}

/* ---------------------------------------------------------------- streams */

static void stream_free(struct rmd_stream *s) {
    rmd_stream_forget_accounts(s);
    remuda__stream_record__free_unpacked(s->rec, NULL);
    for (size_t i = 0; i < 8; i++)
        free(s->pem[i]);
    free(s);
}

/* The VERP secret follows from the master secret and the stream, so that it needs no storage of its own. */
static void derive_secret(struct rmd_coord *c, struct rmd_stream *s) {
    uint8_t label[16] = "remuda.v";
    rmd_put_be32(label + 8, s->rec->tenant);
    rmd_put_be32(label + 12, s->rec->id);
    c->o.sign->hmac_sha256(c->meta->verp_master.data, c->meta->verp_master.len, label, sizeof label, s->verp);
}

/* ---- refusals in records */

static void refusals_free(size_t *n, Remuda__Refusal ***v) {
    for (size_t i = 0; i < *n; i++)
        remuda__refusal__free_unpacked((*v)[i], NULL);
    free(*v);
    *v = NULL;
    *n = 0;
}

static void refusals_write(const struct rmd_refusals *r, size_t *n, Remuda__Refusal ***v) {
    refusals_free(n, v);
    *v = rmd_alloc((r->n + 1) * sizeof **v);
    for (; *n < r->n; ++*n) {
        const struct rmd_refusal *x = &r->v[*n];
        Remuda__Refusal *out = (*v)[*n] = rmd_alloc(sizeof *out);
        remuda__refusal__init(out);
        out->wall_ms = x->wall_ms;
        out->source = x->source;
        out->provider = x->provider;
        out->network = x->network;
        out->class_ = x->class;
        out->site = x->site;
        out->own_fault = x->own_fault;
    }
}

static void refusals_read(struct rmd_refusals *r, size_t n, Remuda__Refusal *const *v) {
    for (size_t i = 0; i < n; i++) {
        if (v[i]->class_ >= RMD_CLASS_COUNT)
            continue;
        rmd_refusals_add(r, &(struct rmd_refusal){.wall_ms = v[i]->wall_ms,
                                                  .source = v[i]->source,
                                                  .provider = v[i]->provider,
                                                  .network = v[i]->network,
                                                  .site = v[i]->site,
                                                  .own_fault = v[i]->own_fault,
                                                  .class = (enum rmd_class)v[i]->class_});
    }
}

void rmd_stream_put(struct rmd_coord *c, struct rmd_stream *s) {
    refusals_write(&s->refusals, &s->rec->n_refusal, &s->rec->refusal);
    struct rmd_key k = rmd_key_stream(s->rec->tenant, s->rec->id);
    rmd_core_put(c, &k, s->rec);
}

void rmd_registry_add_stream(struct rmd_coord *c, Remuda__StreamRecord *r) {
    struct rmd_stream *s = rmd_stream_find(c, r->id);
    if (s) {
        remuda__stream_record__free_unpacked(s->rec, NULL);
    } else {
        s = rmd_alloc(sizeof *s);
        rmd_list_init(&s->pqs);
        rmd_map_set(&c->streams, rmd_slice(&r->id, sizeof r->id), s);
        refusals_read(&s->refusals, r->n_refusal, r->refusal);
    }
    s->rec = r;
    rmd_stream_forget_accounts(s);
    rmd_retry_plan_init(&s->plan, r->retry_min_ms > 0 ? r->retry_min_ms : 15 * 60 * 1000,
                        r->retry_max_ms > 0 ? r->retry_max_ms : 4 * 3600 * 1000);
    const char *bad;
    if (rmd_retry_plan_override(&s->plan, c->o.class_retry, &bad) != RMD_OK)
        rmd_core_warn(c, "configuration: retry override \"%s\" is not understood and has no effect", bad);
    if (c->meta)
        derive_secret(c, s);
    c->sources_rev++;
}

void rmd_registry_key(struct rmd_coord *c, uint32_t stream, uint32_t index, struct rmd_slice pem) {
    struct rmd_stream *s = rmd_stream_find(c, stream);
    if (!s || index >= 8)
        return;
    free(s->pem[index]);
    s->pem[index] = pem.n ? rmd_memdup(pem.p, pem.n) : NULL;
    s->pem_n[index] = pem.n;
    rmd_policy_all(c);
}

bool rmd_stream_lacks_key(const struct rmd_stream *s) {
    for (size_t i = 0; i < s->rec->n_key && i < 8; i++) {
        if (!s->pem[i])
            return true;
    }
    return false;
}

void rmd_registry_add_tenant(struct rmd_coord *c, Remuda__TenantRecord *r) {
    Remuda__TenantRecord *old = rmd_map_set(&c->tenants, rmd_slice(&r->id, sizeof r->id), r);
    if (old)
        remuda__tenant_record__free_unpacked(old, NULL);
}

bool rmd_tenant_paused(struct rmd_coord *c, uint32_t tenant) {
    const Remuda__TenantRecord *t = rmd_map_get(&c->tenants, rmd_slice(&tenant, sizeof tenant));
    return !t || t->paused;
}

/* ---------------------------------------------------------------- nodes */

void rmd_registry_add_node(struct rmd_coord *c, Remuda__NodeRecord *r) {
    struct rmd_node *n = rmd_alloc(sizeof *n);
    n->rec = r;
    rmd_list_init(&n->recalls);
    rmd_map_set(&c->nodes, rmd_slice(&r->id, sizeof r->id), n);
    if (r->public_key.len == RMD_KEY_BYTES)
        rmd_map_set(&c->nodes_by_key, rmd_slice(r->public_key.data, RMD_KEY_BYTES), n);
}

void rmd_member_free(struct rmd_node *n) {
    rmd_recall_clear(n);
    rmd_map_release(&n->leases);
    remuda__node_record__free_unpacked(n->rec, NULL);
    free(n->hostname);
    free(n->software);
    free(n->trouble);
    free(n->said);
    free(n);
}

/* ---------------------------------------------------------------- sources and lanes */

static struct rmd_net *net_get(struct rmd_coord *c, const char *address, char text[56]) {
    struct rmd_addr a, network;
    text[0] = 0;
    if (rmd_addr_parse(address, &a) == RMD_OK) {
        network = rmd_addr_network(&a);
        rmd_network_format(&network, text);
    } else {
        rmd_copy(text, 56, address); /* an address is checked before it is stored; a broken one stands for itself */
    }
    uint32_t hash = rmd_fnv32(rmd_slice_str(text));
    struct rmd_net *n = rmd_map_get(&c->nets, rmd_slice(&hash, sizeof hash));
    if (!n) {
        n = rmd_alloc(sizeof *n);
        n->hash = hash;
        rmd_map_set(&c->nets, rmd_slice(&hash, sizeof hash), n);
    }
    return n;
}

uint8_t rmd_source_family(const Remuda__SourceRecord *r) {
    struct rmd_addr a;
    return rmd_addr_parse(*r->bind ? r->bind : r->address, &a) == RMD_OK ? a.family : 0;
}

void rmd_registry_add_source(struct rmd_coord *c, Remuda__SourceRecord *r) {
    struct rmd_source *s = rmd_alloc(sizeof *s);
    s->rec = r;
    s->node = rmd_node_find(c, r->node); /* at start nodes may come later: rmd_restore_end links again */
    s->net = net_get(c, r->address, s->network);
    s->lane = rmd_alloc((c->o.n_providers + 1) * sizeof(struct rmd_lane *));
    s->family = rmd_source_family(r);
    s->all.source = s;
    s->account = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_SOURCE, r->id, 0);
    rmd_map_set(&c->sources, rmd_slice(&r->id, sizeof r->id), s);
    c->sources_rev++;
}

static void source_free(struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < c->o.n_providers; i++)
        rmd_lane_free(s->lane[i]);
    free(s->lane);
    rmd_warm_sites_free(s);
    rmd_site_stops_free(c, s);
    for (size_t i = 0; i < s->n_kept; i++)
        remuda__lane_state__free_unpacked(s->kept[i], NULL);
    free(s->kept);
    free(s->trouble);
    remuda__source_record__free_unpacked(s->rec, NULL);
    free(s);
}

void rmd_lane_free(struct rmd_lane *l) {
    if (!l)
        return;
    rmd_list_remove(&l->news);
    rmd_list_remove(&l->lingering);
    free(l->pace);
    free(l);
}

struct rmd_lane *rmd_lane_of(struct rmd_coord *c, struct rmd_source *s, size_t provider) {
    if (s->lane[provider])
        return s->lane[provider];
    struct rmd_lane *l = rmd_alloc(sizeof *l);
    l->source = s;
    l->provider = provider;
    uint32_t id = c->o.provider[provider]->id;
    l->account = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_LANE, s->rec->id, id);
    l->network = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_NETWORK, s->net->hash, id);
    s->lane[provider] = l;
    rmd_warm_attach(c, l);
    rmd_book_attach(c, l);
    return l;
}

/* Which moves a lane may make: a mask of targets for each state. */
static const uint8_t lane_moves[RMD_LANE_STATE_COUNT] = {
    [RMD_LANE_OPEN] = 1 << RMD_LANE_RESTING | 1 << RMD_LANE_QUARANTINED,
    [RMD_LANE_RESTING] = 1 << RMD_LANE_OPEN | 1 << RMD_LANE_QUARANTINED,
    [RMD_LANE_QUARANTINED] = 1 << RMD_LANE_OPEN | 1 << RMD_LANE_PROBING,
    [RMD_LANE_PROBING] = 1 << RMD_LANE_OPEN | 1 << RMD_LANE_QUARANTINED,
};

/* As its node told it, which hears with this step that it is over. */
static void rest_is_over(const struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l) {
    for (size_t p = 0; p < c->o.n_providers; p++) {
        struct rmd_lane *x = s->lane[p];
        bool held = x && x != l && (x->state == RMD_LANE_RESTING || x->state == RMD_LANE_QUARANTINED);
        if (x && x->pace && (x == l || l == &s->all) && !held)
            x->pace->rest_wall_ms = 0;
    }
}

/* ms 0: until resolved. A second verdict of the same kind only ever prolongs; a rest never softens a quarantine, and only
 * interrupts probing. */
void rmd_lane_set(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l, enum rmd_lane_state state,
                  int64_t ms, uint64_t incident) {
    if (state == RMD_LANE_RESTING && l->state == RMD_LANE_QUARANTINED)
        return;
    if (state == RMD_LANE_RESTING && l->state == RMD_LANE_PROBING) {
        l->rest_until_mono_ms = c->now.mono_ms + ms;
        l->back.accepted = 0;
        return;
    }
    int64_t until = ms ? c->ledger.now_ms + ms : 0;
    if (state == l->state && state != RMD_LANE_OPEN) {
        if (l->until_ledger_ms == 0 || (until && until <= l->until_ledger_ms))
            return;
    } else if (state != l->state && !(lane_moves[l->state] >> state & 1)) {
        rmd_core_warn(c, "source %s: lane can't go from %s to %s", s->rec->address, rmd_lane_state_name(l->state),
                      rmd_lane_state_name(state));
        return;
    }
    if (state == RMD_LANE_QUARANTINED) {
        rmd_warm_stopped(c, s, l);
        rmd_returning_stopped(c, s, l);
        if (l->state < RMD_LANE_QUARANTINED)
            rmd_book_stopped(c, s, l);
        l->back.stopped_ms = ms;
    }
    if (state == RMD_LANE_OPEN || state == RMD_LANE_PROBING)
        rest_is_over(c, s, l);
    l->state = state;
    l->until_ledger_ms = state == RMD_LANE_OPEN ? 0 : until;
    l->until_wall_ms = until && state != RMD_LANE_OPEN ? c->now.wall_ms + ms : 0;
    l->incident = state == RMD_LANE_OPEN ? 0 : incident;
    s->dirty = c->sources_dirty = true;
    c->lanes_tick_mono_ms = 0; /* when it ends is to be found */
    c->lane_rev++;
    if (s->node)
        s->node->policy_dirty = true;
    c->deal = true;
}

static void lane_restore(struct rmd_coord *c, struct rmd_lane *l, const Remuda__LaneState *r) {
    if (r->state >= RMD_LANE_STATE_COUNT)
        return;
    l->state = (enum rmd_lane_state)r->state;
    l->until_wall_ms = r->until_wall_ms;
    l->incident = r->incident;
    l->back = (struct rmd_comeback){r->stopped_ms, r->accepted, r->ramp_to, r->ramp_ledger_ms, r->rank};
    /* What was left when it was written (it is written again with every 5-minute bucket of the ledger). */
    l->until_ledger_ms = r->remaining_ms > 0 ? c->ledger.now_ms + r->remaining_ms
                         : r->until_wall_ms  ? c->ledger.now_ms + 1
                                             : 0;
}

static Remuda__LaneState *lane_record(const struct rmd_coord *c, const struct rmd_lane *l, uint32_t provider) {
    Remuda__LaneState *r = rmd_alloc(sizeof *r);
    remuda__lane_state__init(r);
    r->provider = provider;
    r->state = l->state;
    r->until_wall_ms = l->until_wall_ms;
    r->incident = l->incident;
    r->stopped_ms = l->back.stopped_ms;
    r->accepted = l->back.accepted;
    r->ramp_to = l->back.ramp_to;
    r->ramp_ledger_ms = l->back.ramp_ledger_ms;
    r->rank = l->back.rank;
    if (l->until_ledger_ms > c->ledger.now_ms)
        r->remaining_ms = l->until_ledger_ms - c->ledger.now_ms;
    return r;
}

static bool worth_keeping(const struct rmd_lane *l) {
    return l->state != RMD_LANE_OPEN || l->back.ramp_to;
}

static void keep(struct rmd_source *s, Remuda__LaneState *r) {
    s->kept = rmd_realloc(s->kept, (s->n_kept + 1) * sizeof(Remuda__LaneState *));
    s->kept[s->n_kept++] = r;
}

/* Its provider is no longer configured: a quarantine holds again should it come back. */
void rmd_lane_keep(struct rmd_coord *c, struct rmd_source *s, const struct rmd_lane *l) {
    if (!worth_keeping(l))
        return;
    keep(s, lane_record(c, l, l->account->b));
    s->dirty = c->sources_dirty = true;
}

void rmd_lanes_come_back(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        size_t left = 0;
        for (size_t i = 0; i < s->n_kept; i++) {
            ssize_t p = rmd_provider_index(c, s->kept[i]->provider);
            if (p < 0) {
                s->kept[left++] = s->kept[i];
                continue;
            }
            lane_restore(c, rmd_lane_of(c, s, (size_t)p), s->kept[i]);
            remuda__lane_state__free_unpacked(s->kept[i], NULL);
            s->dirty = c->sources_dirty = true;
        }
        s->n_kept = left;
    }
}

void rmd_lanes_restore(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        s->node = rmd_node_find(c, s->rec->node);
        refusals_read(&s->refusals, s->rec->n_refusal, s->rec->refusal);
        refusals_read(&s->net->refusals, s->rec->n_refusal, s->rec->refusal);
        rmd_peaks_read(c, s);
        rmd_site_stops_read(c, s);
        for (size_t i = 0; i < s->rec->n_lane; i++) {
            const Remuda__LaneState *r = s->rec->lane[i];
            ssize_t p = r->provider ? rmd_provider_index(c, r->provider) : 0;
            if (p < 0)
                keep(s, rmd_record_dup(r));
            else
                lane_restore(c, r->provider ? rmd_lane_of(c, s, (size_t)p) : &s->all, r);
        }
    }
}

static void lane_tick(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l) {
    if (!l || l->state == RMD_LANE_OPEN || !l->until_ledger_ms)
        return;
    if (c->ledger.now_ms < l->until_ledger_ms) {
        rmd_core_wake(c, c->now.mono_ms + (l->until_ledger_ms - c->ledger.now_ms));
        return;
    }
    rmd_returning_begin(c, s, l,
                        l->state == RMD_LANE_RESTING ? "its time of being resting is over"
                                                     : "its time of being quarantined is over");
}

/* Looks at all lanes when one may be due: it says when that is. */
void rmd_lanes_tick(struct rmd_coord *c) {
    uint32_t it = 0, now = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
    void *v;
    bool bucket = c->peak_bucket != now;
    if (c->now.mono_ms < c->lanes_tick_mono_ms && c->lanes_tick_rev == c->sources_rev && !bucket) {
        rmd_core_wake(c, c->lanes_tick_mono_ms);
        return;
    }
    c->peak_bucket = now;
    c->lanes_tick_rev = c->sources_rev;
    int64_t tick = rmd_look_begin(c);
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        lane_tick(c, s, &s->all);
        rmd_site_stops_tick(c, s);
        for (size_t i = 0; i < c->o.n_providers; i++)
            if (s->lane[i]) {
                lane_tick(c, s, s->lane[i]);
                if (bucket) {
                    rmd_peak_tick(c, s->lane[i]);
                    rmd_usual_tick(c, s->lane[i]);
                    rmd_returning_tick(c, s->lane[i]);
                }
            }
        if (s->rec->state == RMD_SOURCE_RETIRING && s->leases == 0) {
            s->rec->state = RMD_SOURCE_RETIRED;
            s->dirty = c->sources_dirty = true;
            Remuda__EventRecord *e = rmd_core_event(c, "source.retired");
            e->source = s->rec->id;
            e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->address));
            rmd_policy_all(c);
        }
    }
    c->lanes_tick_mono_ms = c->tick_mono_ms;
    rmd_core_wake(c, tick);
}

/* ---------------------------------------------------------------- caps and pools */

bool rmd_stream_uses(const struct rmd_stream *st, const struct rmd_source *s) {
    if (s->rec->tenant != st->rec->tenant)
        return false;
    for (size_t i = 0; i < s->rec->n_pool; i++) {
        if (strcmp(s->rec->pool[i], st->rec->pool) == 0)
            return true;
    }
    return false;
}

bool rmd_source_has_priority(struct rmd_coord *c, const struct rmd_source *source) {
    struct rmd_source *s = (struct rmd_source *)(uintptr_t)source; /* what is found is kept */
    uint32_t it = 0;
    void *v;
    if (s->priority_rev == c->sources_rev + 1)
        return s->has_priority;
    s->priority_rev = c->sources_rev + 1;
    s->has_priority = false;
    while (!s->has_priority && rmd_map_next(&c->streams, &it, NULL, &v)) {
        const struct rmd_stream *st = v;
        s->has_priority = st->rec->priority == 0 && rmd_stream_uses(st, s);
    }
    return s->has_priority;
}

/* ---------------------------------------------------------------- writing */

static void lanes_write(struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < s->rec->n_lane; i++)
        remuda__lane_state__free_unpacked(s->rec->lane[i], NULL);
    free(s->rec->lane);
    s->rec->lane = rmd_alloc((c->o.n_providers + 1 + s->n_kept) * sizeof *s->rec->lane);
    s->rec->n_lane = 0;
    for (size_t i = 0; i < s->n_kept; i++)
        s->rec->lane[s->rec->n_lane++] = rmd_record_dup(s->kept[i]);
    for (size_t i = 0; i <= c->o.n_providers; i++) {
        const struct rmd_lane *l = i < c->o.n_providers ? s->lane[i] : &s->all;
        if (l && worth_keeping(l))
            s->rec->lane[s->rec->n_lane++] = lane_record(c, l, i < c->o.n_providers ? c->o.provider[i]->id : 0);
    }
}

/* A timed rest is written again with every bucket, so that a restart costs it minutes and not hours. */
static bool timed(const struct rmd_coord *c, const struct rmd_source *s) {
    if (s->all.until_ledger_ms || rmd_site_stops_timed(s))
        return true;
    for (size_t i = 0; i < c->o.n_providers; i++) {
        if (s->lane[i] && s->lane[i]->until_ledger_ms)
            return true;
    }
    return false;
}

void rmd_registry_flush(struct rmd_coord *c) {
    rmd_policy_flush(c, -1);
    uint32_t it = 0;
    void *v;
    bool bucket =
        c->phase == RMD_PHASE_SERVING && (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS) != c->ledger_bucket;
    if (c->sources_dirty || bucket) {
        c->sources_dirty = false;
        while (rmd_map_next(&c->sources, &it, NULL, &v)) {
            struct rmd_source *s = v;
            if (!s->dirty && !(bucket && timed(c, s)))
                continue;
            s->dirty = false;
            lanes_write(c, s);
            rmd_peaks_write(c, s);
            rmd_site_stops_write(c, s);
            refusals_write(&s->refusals, &s->rec->n_refusal, &s->rec->refusal);
            struct rmd_key k = rmd_key_source(s->rec->tenant, s->rec->id);
            rmd_core_put(c, &k, s->rec);
        }
    }
    it = 0;
    while (c->nodes_dirty && rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (!n->dirty)
            continue;
        n->dirty = false;
        struct rmd_key k = rmd_key_node(n->rec->id);
        rmd_core_put(c, &k, n->rec);
    }
    c->nodes_dirty = false;
}

void rmd_registry_free(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        uint32_t jt = 0;
        void *l;
        while (rmd_map_next(&n->leases, &jt, NULL, &l))
            rmd_lease_release(c, l);
        rmd_member_free(n);
    }
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);)
        source_free(c, v);
    for (it = 0; rmd_map_next(&c->streams, &it, NULL, &v);)
        stream_free(v);
    for (it = 0; rmd_map_next(&c->nets, &it, NULL, &v);)
        free(v);
    for (it = 0; rmd_map_next(&c->tenants, &it, NULL, &v);)
        remuda__tenant_record__free_unpacked(v, NULL);
    struct rmd_map *m[] = {&c->nodes, &c->nodes_by_key, &c->sources, &c->streams, &c->nets, &c->tenants};
    for (size_t i = 0; i < sizeof m / sizeof m[0]; i++)
        rmd_map_release(m[i]);
}
