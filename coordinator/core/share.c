/* Cluster ceilings: how many connections the whole cluster may have to a provider, dealt out to its lanes.
 *
 *   no share --(first lease)--> holds a share --(last lease ended, none in doubt)--> lingers --(RMD_SHARE_LINGER_MS)--> no share
 *
 * The sum of all shares of a provider, lingering ones included, is never above its ceiling: a lane that finds nothing left gets no
 * lease. A node keeps each lane's connections within the share that came with its leases, and says QUIT to what is left
 * when the last of them ends; the linger covers that. A lane's share never shrinks while it is held, and is stored
 * with its leases, so that a restart knows what is out. What lingered at a restart isn't known: nothing new is given
 * out until it must be over, unless all lanes together can't reach the ceiling anyway.
 *
 * Owns rmd_lane.share and .share_until_mono_ms, and the sums in rmd_coord.shared. */
#include "coordinator/core/core.h"

static uint32_t ceiling(const struct rmd_coord *c, size_t provider) {
    return c->o.provider[provider]->cluster_connections;
}

static uint32_t wanted(const struct rmd_coord *c, size_t provider) {
    uint32_t n = c->o.provider[provider]->connections;
    return n ? n : 1;
}

/* All sources together stay below the ceiling, whatever they do. */
static bool cannot_reach(const struct rmd_coord *c, size_t provider) {
    return (uint64_t)c->sources.n * wanted(c, provider) <= ceiling(c, provider);
}

bool rmd_share_room(struct rmd_coord *c, const struct rmd_lane *l) {
    size_t p = l->provider;
    if (!ceiling(c, p))
        return true;
    if (c->shared[p] > ceiling(c, p)) /* it was lowered: some have to let go first */
        return false;
    if (l->share)
        return true;
    if (c->now.mono_ms < c->share_from_mono_ms && !cannot_reach(c, p)) {
        rmd_core_wake(c, c->share_from_mono_ms);
        return false;
    }
    return c->shared[p] < ceiling(c, p);
}

/* A lease is about to be built: rmd_share_room() was true. */
void rmd_share_take(struct rmd_coord *c, struct rmd_lane *l) {
    l->share_until_mono_ms = 0;
    rmd_list_remove(&l->lingering);
    uint32_t most = ceiling(c, l->provider), out = c->shared[l->provider], want = wanted(c, l->provider);
    if (l->share >= want || out >= most)
        return;
    uint32_t more = want - l->share < most - out ? want - l->share : most - out;
    l->share += more;
    c->shared[l->provider] += more;
}

/* A stored lease had this share. */
void rmd_share_restore(struct rmd_coord *c, struct rmd_lane *l, uint32_t share) {
    if (share <= l->share)
        return;
    c->shared[l->provider] += share - l->share;
    l->share = share;
}

/* The last lease that may still have connections has ended. */
void rmd_share_idle(struct rmd_coord *c, struct rmd_lane *l) {
    if (!l->share)
        return;
    l->share_until_mono_ms = c->now.mono_ms + RMD_SHARE_LINGER_MS;
    rmd_list_remove(&l->lingering);
    rmd_list_push(&c->lingering, &l->lingering);
    rmd_core_wake(c, l->share_until_mono_ms);
}

void rmd_share_tick(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->lingering) {
        struct rmd_lane *l = rmd_container(it, struct rmd_lane, lingering);
        if (l->share_until_mono_ms && c->now.mono_ms < l->share_until_mono_ms) {
            rmd_core_wake(c, l->share_until_mono_ms);
            return;
        }
        rmd_list_remove(it);
        if (!l->share || !l->share_until_mono_ms)
            continue;                                                 /* leases hold it again */
        c->deal |= c->shared[l->provider] >= ceiling(c, l->provider); /* lanes may have waited for it */
        c->shared[l->provider] -= l->share;
        l->share = 0;
        l->share_until_mono_ms = 0;
    }
}

/* What goes out with a lease. */
uint32_t rmd_share_connections(const struct rmd_coord *c, const struct rmd_lane *l) {
    return l->share ? l->share : c->o.provider[l->provider]->connections;
}

/* A provider's limits changed. Lanes that are at work without a share hold what they were told before; when all that is out is
 * over the new ceiling, it is taken back, and dealt again within it. */
void rmd_share_reloaded(struct rmd_coord *c, size_t provider, uint32_t connections_before) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_lane *l = ((struct rmd_source *)v)->lane[provider];
        if (l && !ceiling(c, provider)) {
            c->shared[provider] -= l->share;
            l->share = 0;
            l->share_until_mono_ms = 0;
        } else if (l && l->leases && !l->share) {
            rmd_share_restore(c, l, connections_before ? connections_before : 1);
        }
    }
    if (!ceiling(c, provider))
        return;
    if (c->shared[provider] <= ceiling(c, provider))
        return;
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
        struct rmd_source *s = v;
        if (s->lane[provider] && s->lane[provider]->leases)
            rmd_recall_source(c, s, c->o.provider[provider]->id, RMD_RETURN_RECALLED, -1);
    }
}
