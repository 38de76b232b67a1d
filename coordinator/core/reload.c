/* Other providers, limits, verdict rules, warm-up plans, blocklists and DKIM keys while everything runs.
 *
 * Lanes, queues and leases name providers by id, and are found again by it; only indexes change. A provider that is
 * gone takes its lanes with it: their quarantines and rests stay in the source's record, and hold again should it come
 * back; leases lose their lane, nodes give their messages back because the provider changed, and what is queued for it
 * is resolved anew (queue.c, deferred.c). When any suffix or the order changed, no cached domain keeps its provider.
 * What waits under a provider that a domain no longer belongs to is dealt, comes back from the node unsent, and is sorted
 * anew.
 *
 * Nodes get a new policy; frames that were made before point to the old set, which lives until they have left. */
#include "coordinator/core/core.h"

#include "proto/site.h"

static Remuda__ProviderPolicy *copy_provider(struct rmd_arena *a, const Remuda__ProviderPolicy *from) {
    Remuda__ProviderPolicy *p = rmd_arena_dup(a, from, sizeof *from);
    p->name = rmd_arena_str(a, rmd_slice_str(from->name));
    p->mx_suffix = rmd_arena_alloc(a, (from->n_mx_suffix + 1) * sizeof *p->mx_suffix);
    for (size_t i = 0; i < from->n_mx_suffix; i++)
        p->mx_suffix[i] = rmd_arena_str(a, rmd_slice_str(from->mx_suffix[i]));
    return p;
}

static struct rmd_policy_set *copy_set(Remuda__ProviderPolicy *const *provider, size_t n, struct rmd_slice rules,
                                       const struct rmd_plan *const *plan, size_t n_plans) {
    struct rmd_policy_set *set = rmd_alloc(sizeof *set);
    set->plan = rmd_arena_alloc(&set->arena, (n_plans + 1) * sizeof *set->plan);
    for (; set->n_plans < n_plans; set->n_plans++)
        set->plan[set->n_plans] = rmd_plan_copy(&set->arena, plan[set->n_plans]);
    set->provider = rmd_arena_alloc(&set->arena, (n + 1) * sizeof *set->provider);
    for (size_t i = 0; i < n; i++)
        set->provider[i] = copy_provider(&set->arena, provider[i]);
    set->n = n;
    set->rules = rmd_slice(rules.n ? rmd_arena_dup(&set->arena, rules.p, rules.n) : NULL, rules.n);
    return set;
}

/* What the options said, as the first set. */
void rmd_reload_init(struct rmd_coord *c) {
    c->set = copy_set(c->o.provider, c->o.n_providers, c->o.rules, c->o.plan, c->o.n_plans);
    c->o.provider = c->set->provider;
    c->o.plan = c->set->plan;
    c->o.rules = c->set->rules;
    c->shared = rmd_alloc((c->o.n_providers + 1) * sizeof *c->shared);
}

static void set_free(struct rmd_policy_set *set) {
    rmd_list_remove(&set->link);
    rmd_arena_release(&set->arena);
    free(set);
}

/* At the start of a step: frames of earlier steps have left. */
void rmd_reload_forget(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->old_sets) {
        struct rmd_policy_set *set = rmd_container(it, struct rmd_policy_set, link);
        if (set->tag > c->persisted)
            return;
        set_free(set);
    }
}

void rmd_reload_free(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->old_sets) set_free(rmd_container(it, struct rmd_policy_set, link));
    set_free(c->set);
    free(c->shared);
}

static bool same_sites(Remuda__ProviderPolicy *const *a, size_t n, Remuda__ProviderPolicy *const *b, size_t m) {
    bool same = n == m;
    for (size_t i = 0; i < n && same; i++) {
        same = a[i]->id == b[i]->id && a[i]->n_mx_suffix == b[i]->n_mx_suffix;
        for (size_t k = 0; same && k < a[i]->n_mx_suffix; k++)
            same = strcmp(a[i]->mx_suffix[k], b[i]->mx_suffix[k]) == 0;
    }
    return same;
}

/* ---------------------------------------------------------------- lanes */

static void forget_lane(struct rmd_coord *c, struct rmd_lane *gone) {
    uint32_t it = 0, jt;
    void *n, *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &n))
        for (jt = 0; rmd_map_next(&((struct rmd_node *)n)->leases, &jt, NULL, &v);) {
            struct rmd_lease *l = v;
            l->lane = l->lane == gone ? NULL : l->lane;
        }
}

static void move_lanes(struct rmd_coord *c, struct rmd_source *s, const struct rmd_policy_set *set, size_t n_before,
                       const ssize_t *to) {
    struct rmd_lane **lane = rmd_alloc((set->n + 1) * sizeof(struct rmd_lane *));
    for (size_t i = 0; i < n_before; i++) {
        struct rmd_lane *l = s->lane[i];
        if (l && to[i] >= 0) {
            l->provider = (size_t)to[i];
            lane[l->provider] = l;
        } else if (l) {
            rmd_lane_keep(c, s, l);
            forget_lane(c, l);
            rmd_lane_free(l);
        }
    }
    free(s->lane);
    s->lane = lane;
}

/* ---------------------------------------------------------------- the whole */

static void keys(struct rmd_coord *c, const struct rmd_command *m) {
    for (size_t i = 0; i < m->n_keys; i++) {
        const struct rmd_stream *s = rmd_stream_find(c, m->stream_key[i].stream);
        uint32_t k = m->stream_key[i].index;
        struct rmd_slice pem = m->stream_key[i].pem;
        /* the stream may have been set anew since its keys were listed */
        if (s && k < 8 && k < s->rec->n_key && strcmp(s->rec->key[k]->path, m->stream_key[i].path) == 0 &&
            !(s->pem[k] && rmd_slice_eq(rmd_slice(s->pem[k], s->pem_n[k]), pem)))
            rmd_registry_key(c, m->stream_key[i].stream, k, pem);
    }
}

static void replace(struct rmd_coord *c, struct rmd_policy_set *set) {
    Remuda__ProviderPolicy *const *before = c->o.provider;
    size_t n_before = c->o.n_providers;
    ssize_t *to = rmd_arena_alloc(&c->scratch, (n_before + 1) * sizeof *to);
    uint32_t *shared = rmd_alloc((set->n + 1) * sizeof *shared), it = 0;
    void *v;
    c->o.provider = set->provider;
    c->o.n_providers = set->n;
    c->o.rules = set->rules;
    c->o.plan = set->plan;
    c->o.n_plans = set->n_plans;
    for (size_t i = 0; i < n_before; i++) {
        to[i] = rmd_provider_index(c, before[i]->id);
        if (to[i] >= 0)
            shared[to[i]] = c->shared[i];
    }
    free(c->shared);
    c->shared = shared;
    while (rmd_map_next(&c->sources, &it, NULL, &v))
        move_lanes(c, v, set, n_before, to);
    for (it = 0; rmd_map_next(&c->streams, &it, NULL, &v);)
        rmd_stream_forget_accounts(v);
    rmd_list_for(pt, &c->all_pqs) {
        struct rmd_pq *q = rmd_container(pt, struct rmd_pq, all);
        q->provider = rmd_provider_index(c, q->provider_id);
        q->n_candidates = 0;
    }
    c->sources_rev++;
    rmd_lanes_come_back(c);
    rmd_warm_reloaded(c);
    if (!same_sites(before, n_before, set->provider, set->n))
        rmd_site_forget_all(c);
    for (size_t i = 0; i < n_before; i++)
        if (to[i] >= 0)
            rmd_share_reloaded(c, (size_t)to[i], before[i]->connections);
    c->set->tag = c->tag + 1;
    rmd_list_push(&c->old_sets, &c->set->link);
    c->set = set;
}

void rmd_reload(struct rmd_coord *c, const struct rmd_command *m) {
    if (!m->n_providers || strcmp(m->providers[m->n_providers - 1]->name, RMD_PROVIDER_OTHER_NAME) != 0) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "a list of providers ends with \"%s\"", RMD_PROVIDER_OTHER_NAME);
        return;
    }
    replace(c, m->plan ? copy_set(m->providers, m->n_providers, m->rules, m->plan, m->n_plans)
                       : copy_set(m->providers, m->n_providers, m->rules, c->o.plan, c->o.n_plans));
    if (m->watch)
        rmd_coord_watch_set(c, m->watch);
    keys(c, m);
    rmd_policy_all(c);
    Remuda__EventRecord *e = rmd_core_event(c, "rules.reloaded");
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(m->reason ? m->reason : ""));
    rmd_core_reply(c, m->token, RMD_OK, c->policy_rev, "%s", m->reason ? m->reason : "reloaded");
}
