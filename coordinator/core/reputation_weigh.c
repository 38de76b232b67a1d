/* What reputations change: the order of lanes, a poor lane's share of the hour, and the pace that a node gets back with its leases. */
#include "coordinator/core/core.h"

const char rmd_why_reputation[] = "its reputation is poor: its smaller share of the hour is used";

int rmd_book_rank(const struct rmd_coord *c, const struct rmd_lane *l) {
    static const int rank[] = {[RMD_BAND_GOOD] = 0, [RMD_BAND_FAIR] = 1, [RMD_BAND_POOR] = 2};
    return l->repute && !(c->o.without & RMD_WITHOUT_REPUTATION) ? rank[l->repute->band] : rank[RMD_BAND_FAIR];
}

bool rmd_book_poor(const struct rmd_coord *c, const struct rmd_lane *l) {
    return l->repute && l->repute->band == RMD_BAND_POOR && !(c->o.without & RMD_WITHOUT_REPUTATION);
}

/* The hour's limit of a lane with this cap; `hour`: what holds anyway, 0: none. */
uint64_t rmd_book_hour(const struct rmd_coord *c, const struct rmd_lane *l, uint64_t cap, uint64_t hour) {
    if (!rmd_book_poor(c, l))
        return hour;
    uint64_t poor = rmd_reputation_poor_hour(cap);
    return hour && hour < poor ? hour : poor;
}

bool rmd_book_binds(struct rmd_coord *c, const struct rmd_lane *l, const struct rmd_caps *caps) {
    return rmd_book_poor(c, l) && rmd_account_available(&c->ledger, caps->account[0], caps->limit[0]) &&
           !rmd_account_hour_available(&c->ledger, caps->account[0], caps->hour[0]);
}

/* ---------------------------------------------------------------- pace */

static void take(struct rmd_coord *c, struct rmd_lane *l, const Remuda__LanePace *m) {
    struct rmd_pace *p = l->pace ? l->pace : (l->pace = rmd_alloc(sizeof *p));
    int64_t now = c->now.wall_ms;
    *p = (struct rmd_pace){.slowed = m->slowed,
                           .per_minute = m->per_minute,
                           .per_hour = m->per_hour,
                           .connections = m->connections,
                           .in_use = m->in_use,
                           .tried = m->tried,
                           .deferred_permille = m->deferred_permille < 1000 ? m->deferred_permille : 1000,
                           .told_mono_ms = c->now.mono_ms,
                           .connects_per_minute = m->connects_per_minute,
                           .connects_bind = m->connects_bind && m->connects_per_minute,
                           .slowed_wall_ms = m->slowed && m->slowed_ms >= 0 ? now - m->slowed_ms : 0,
                           .rest_wall_ms = m->rest_ms > 0 && m->rest_ms < RMD_PACE_KEPT_MS ? now + m->rest_ms : 0};
    for (size_t i = 0; i < m->n_site && p->n_sites < RMD_PACE_SITES; i++, p->n_sites++) {
        rmd_copy(p->site[i].domain, sizeof p->site[i].domain, m->site[i]->domain);
        p->site[i].per_minute = m->site[i]->per_minute;
        p->site[i].connections = m->site[i]->connections;
    }
    if (m->slowed || m->per_hour || !m->fresh)
        rmd_book_paced(c, l, m->slowed ? m->per_minute : 0, m->slowed ? m->narrowed : 0, m->per_hour);
}

void rmd_pace_told(struct rmd_coord *c, struct rmd_node *n, const Remuda__Pace *m) {
    for (size_t i = 0; i < m->n_lane; i++) {
        struct rmd_source *s = rmd_source_find(c, m->lane[i]->source);
        ssize_t p = rmd_provider_index(c, m->lane[i]->provider);
        if (s && s->node == n && p >= 0) /* a node may speak of its own sources only */
            take(c, rmd_lane_of(c, s, (size_t)p), m->lane[i]);
    }
}

bool rmd_pace_connects_bind(const struct rmd_lane *l) {
    return l->pace && l->pace->connects_bind && l->source->node && l->source->node->connected && l->leased > 0;
}

void rmd_pace_of_lease(struct rmd_coord *c, const struct rmd_lane *l, Remuda__LeaseShare *share) {
    const struct rmd_repute *x = l->repute;
    int64_t age = x ? c->ledger.now_ms - x->pace_ledger_ms : 0;
    if (x && age <= RMD_PACE_HOUR_KEPT_MS)
        share->pace_per_hour = x->pace_per_hour;
    if (!x || age > RMD_PACE_KEPT_MS)
        return;
    share->pace_per_minute = x->pace_per_minute;
    share->pace_connections = x->pace_connections;
}
