/* Scheduler: which lane gets what.
 *
 * For each (provider, stream) with ready work, streams in deficit round robin by the weight of their priority,
 * campaigns of a stream in turn: the first lane of the stream's pool, in a fixed order of preference, that may take
 * work. A fixed order concentrates a provider's work on the fewest lanes that fit it: the next lane gets some only
 * when the one before is full (leases outstanding, a cap, or its node's window). The order differs between providers,
 * so that every source is somebody's first. Lanes of better repute come before it (reputation.h), in few bands, so that the
 * order changes seldom, and explain names the reason. Lanes that have sent more than they usually do come after those that haven't (usual.h).
 *
 * A part of each lane's cap (1/10), and of what may be outstanding there (a quarter), is kept for streams of
 * priority 0 when a source serves one; at the node a connection, and their mail goes first (node/core/worker_priority.c). */
#include "coordinator/core/core.h"

enum { PRIORITY_SHARE = 10, QUANTUM = RMD_COORD_LEASE_MESSAGES / 2 };

static int64_t weight(uint32_t priority) {
    return priority == 0 ? 8 : priority == 1 ? 4 : priority == 2 ? 2 : 1;
}

static uint64_t preference(const struct rmd_lane *l, uint32_t provider) {
    return rmd_mix64((uint64_t)provider << 32 | l->source->rec->id);
}

/* Lanes that warm up stand apart: see warm_caps.c. Among their like, those of better repute come first. */
static bool before_by(const struct rmd_pq *q, const struct rmd_lane *a, int ra, const struct rmd_lane *b, int rb) {
    bool decided, first = rmd_warm_before(q->stream, a, b, &decided);
    return decided ? first : ra != rb ? ra < rb : preference(a, q->provider_id) < preference(b, q->provider_id);
}

static bool before(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *a,
                   const struct rmd_lane *b) {
    return before_by(q, a, rmd_book_rank(c, a), b, rmd_book_rank(c, b));
}

/* A stop costs repute, so what x had before counts; and what l has gained since, with the work that came from there, doesn't let it
 * pass. */
bool rmd_sched_preceded(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *x,
                        const struct rmd_lane *l) {
    int rl = rmd_book_rank(c, l), rx = x->back.rank;
    return before_by(q, x, rx, l, rl > rx ? rl : rx);
}

/* Merges halves: the order of thousands of lanes is made anew often. */
static void order(const struct rmd_coord *c, const struct rmd_pq *q, struct rmd_lane **v, struct rmd_lane **spare,
                  size_t n) {
    if (n < 2)
        return;
    size_t half = n / 2, a = 0, b = half;
    order(c, q, v, spare, half);
    order(c, q, v + half, spare, n - half);
    memcpy(spare, v, n * sizeof(struct rmd_lane *));
    for (size_t i = 0; i < n; i++)
        v[i] = b == n || (a < half && !before(c, q, spare[b], spare[a])) ? spare[a++] : spare[b++];
}

void rmd_sched_candidates(struct rmd_coord *c, struct rmd_pq *q) {
    if (q->candidates_rev == c->sources_rev + 1 || q->provider < 0)
        return;
    q->candidates_rev = c->sources_rev + 1;
    q->candidate = rmd_realloc(q->candidate, (c->sources.n + 1) * sizeof *q->candidate);
    q->n_candidates = 0;
    q->has_cold = false;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (!rmd_stream_uses(q->stream, s) || s->rec->state == RMD_SOURCE_RETIRED)
            continue;
        struct rmd_lane *l = rmd_lane_of(c, s, (size_t)q->provider);
        q->has_cold |= rmd_warm_is_cold(l->warm);
        q->candidate[q->n_candidates++] = l;
    }
    struct rmd_lane **spare = rmd_alloc((q->n_candidates + 1) * sizeof *spare);
    order(c, q, q->candidate, spare, q->n_candidates);
    free(spare);
    rmd_look_ordered(c, q);
}

/* Bulk mail that its node could start within an hour: more of it would wait there, while other lanes could take it. */
static uint64_t hour_room(const struct rmd_lane *l) {
    if (!l->pace || !l->pace->per_hour)
        return UINT64_MAX;
    return l->pace->per_hour > l->leased ? l->pace->per_hour - l->leased : 0;
}

/* fresh: for recipients that weren't tried yet. The room of those that will be tried again from this source is theirs:
 * new ones that took it would send them elsewhere, where whoever greylisted them greylists them anew. */
static uint64_t room(struct rmd_coord *c, const struct rmd_pq *q, struct rmd_lane *l, bool fresh) {
    struct rmd_caps caps;
    rmd_caps_of(c, l, q->stream, &caps);
    uint64_t r = fresh ? rmd_caps_room_for_new(&c->ledger, &caps) : rmd_caps_room(&c->ledger, &caps),
             back = rmd_returning_room(c, l), ramp = fresh ? rmd_returning_ramp(c, l) : UINT64_MAX;
    uint64_t hour = q->stream->rec->priority > 0 ? hour_room(l) : UINT64_MAX;
    r = r < back ? r : back;
    r = r < ramp ? r : ramp;
    r = r < hour ? r : hour;
    if (q->stream->rec->priority == 0 || !caps.limit[0] || !rmd_source_has_priority(c, l->source))
        return r;
    uint64_t kept = caps.limit[0] / PRIORITY_SHARE,
             lane = rmd_account_available(&c->ledger, caps.account[0], caps.limit[0]);
    uint64_t rest = lane > kept ? lane - kept : 0;
    return r < rest ? r : rest;
}

bool rmd_sched_standing(const struct rmd_source *s, const struct rmd_lane *l) {
    return s->rec->state == RMD_SOURCE_ACTIVE && s->all.state == RMD_LANE_OPEN && (!l || l->state == RMD_LANE_OPEN);
}

static bool retries_ready(const struct rmd_pq *q) {
    return !rmd_list_empty(&q->ready_dqs);
}

static bool open_or_probed(const struct rmd_lane *l) {
    return l->state == RMD_LANE_OPEN || l->state == RMD_LANE_PROBING;
}

/* What may be outstanding at a lane is shared where a source serves transactional streams: bulk mail has three quarters of it at most,
 * and transactional mail always a quarter; bulk mail always its part by weight, so that it never starves. */
static bool lane_full(struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *l) {
    enum { LEASES = RMD_COORD_LANE_LEASES, MESSAGES = RMD_COORD_LANE_MESSAGES, PARTS = 9 };
    bool full = l->leases >= LEASES || l->leased >= MESSAGES;
    if (!rmd_source_has_priority(c, l->source))
        return full;
    if (q->stream->rec->priority == 0)
        return full && (l->leases - l->bulk_leases >= LEASES / 4 || l->leased - l->bulk_leased >= MESSAGES / 4);
    if (l->bulk_leases >= LEASES * 3 / 4 || l->bulk_leased + RMD_COORD_LEASE_MESSAGES >= MESSAGES)
        return true;
    return full && (l->bulk_leases >= LEASES / PARTS || l->bulk_leased >= MESSAGES / PARTS);
}

const char *rmd_sched_bars(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l) {
    struct rmd_source *s = l->source;
    if (s->rec->state != RMD_SOURCE_ACTIVE)
        return rmd_source_state_name(s->rec->state);
    if (!open_or_probed(&s->all))
        return rmd_lane_state_name(s->all.state);
    if (!open_or_probed(l))
        return rmd_lane_state_name(l->state);
    if (!s->node || s->node->rec->state)
        return "no node";
    if (!s->node->connected)
        return "node not connected";
    if (s->node->stopping)
        return "node is stopping";
    if (c->now.mono_ms < s->rest_until_mono_ms)
        rmd_core_wake(c, s->rest_until_mono_ms);
    if (s->trouble || c->now.mono_ms < s->rest_until_mono_ms)
        return s->trouble ? s->trouble : "its address had trouble a moment ago";
    if (c->now.mono_ms < l->rest_until_mono_ms) {
        rmd_core_wake(c, l->rest_until_mono_ms);
        return "its node stopped the lane a moment ago";
    }
    if (c->now.mono_ms < s->node->hold_mono_ms)
        rmd_core_wake(c, s->node->hold_mono_ms);
    if (c->now.mono_ms < s->node->hold_mono_ms)
        return "node over its limits";
    const char *barred = rmd_warm_bars(c, q->stream, l), *back = rmd_returning_why(c, l);
    if (barred || back)
        return barred ? barred : back;
    if (q->stream->rec->priority > 0 && !hour_room(l))
        return rmd_why_hour;
    if (!room(c, q, l, false)) {
        struct rmd_caps caps;
        rmd_caps_of(c, l, q->stream, &caps);
        const char *warm = rmd_book_binds(c, l, &caps) ? rmd_why_reputation : rmd_warm_binds(c, l, q->stream);
        return warm ? warm : "lane caps";
    }
    if (!rmd_returning_ramp(c, l) && !retries_ready(q))
        return rmd_why_ramp;
    if (!room(c, q, l, true) && !retries_ready(q))
        return "lane caps: what room is left is kept for retries";
    if (lane_full(c, q, l))
        return rmd_why_outstanding;
    if (!rmd_share_room(c, l))
        return "the provider's cluster ceiling";
    if (s->node->credit <= 0)
        return "node's window";
    return NULL;
}

static bool same_network(const struct rmd_coord *c, const struct rmd_source *a, const struct rmd_source *b) {
    return a == b || (a->net == b->net && !(c->o.without & RMD_WITHOUT_NETWORKS));
}

/* Refused for the sake of an IP in this network: not from there while that lane is closed; later only when the pool
 * has nothing else. */
bool rmd_sched_avoids(struct rmd_coord *c, struct rmd_pq *q, const Remuda__DeferredRecord *r,
                      const struct rmd_source *s) {
    bool avoids = false;
    for (size_t i = 0; i < r->n_avoid_network_of; i++) {
        const struct rmd_source *x = rmd_source_find(c, r->avoid_network_of[i]);
        if (!x || !same_network(c, x, s))
            continue;
        if (x == s && q->provider >= 0 && rmd_returning_probes(s, s->lane[q->provider]))
            continue; /* it comes back by such */
        if (!rmd_sched_standing(x, q->provider >= 0 ? x->lane[q->provider] : NULL))
            return true;
        avoids = true;
    }
    return avoids && rmd_sched_elsewhere(c, q, r);
}

/* Work that came back from a quarantine moves to disjoint networks, or waits. */
static bool entry_avoids(struct rmd_coord *c, struct rmd_entry *e, const struct rmd_lane *l) {
    if (!e->incident)
        return false;
    const struct rmd_incident *i = rmd_incident_find(c, e->incident);
    if (!i || i->rec->state) {
        e->incident = 0;
        return false;
    }
    const struct rmd_source *x = rmd_source_find(c, i->rec->source);
    return x && same_network(c, x, l->source) && !rmd_returning_probes(l->source, l);
}

/* Some source of the pool, on a network that hasn't refused it, is in service. */
bool rmd_sched_elsewhere(struct rmd_coord *c, struct rmd_pq *q, const Remuda__DeferredRecord *r) {
    rmd_sched_candidates(c, q);
    for (size_t k = 0; k < q->n_candidates; k++) {
        const struct rmd_source *s = q->candidate[k]->source;
        bool refused = false;
        for (size_t i = 0; i < r->n_avoid_network_of && !refused; i++) {
            const struct rmd_source *x = rmd_source_find(c, r->avoid_network_of[i]);
            refused = x && same_network(c, x, s);
        }
        if (!refused && rmd_sched_standing(s, q->candidate[k]))
            return true;
    }
    return false;
}

bool rmd_sched_other_family(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_lane *l) {
    rmd_sched_candidates(c, q);
    for (size_t i = 0; i < q->n_candidates; i++) {
        const struct rmd_lane *x = q->candidate[i];
        if (x->source->family != l->source->family && rmd_sched_standing(x->source, x))
            return true;
    }
    return false;
}

/* A cap is spent: no grant that comes back can make room. */
static bool spent(struct rmd_coord *c, const struct rmd_pq *q, struct rmd_lane *l) {
    struct rmd_caps caps;
    rmd_caps_of(c, l, q->stream, &caps);
    for (size_t i = 0; i < RMD_ACCOUNTS; i++) {
        if (caps.limit[i] && rmd_account_used(&c->ledger, caps.account[i]) >= caps.limit[i])
            return true;
    }
    return false;
}

/* Records that stick to a source go to it, unless it is out of service, or a cap of it is spent: then anybody may have
 * them. To be greylisted again elsewhere costs minutes; to wait for room in a cap costs up to a day. */
static bool anybody_may_take(struct rmd_coord *c, const struct rmd_dq *q, size_t provider) {
    const struct rmd_source *s = rmd_source_find(c, q->sticky);
    struct rmd_lane *own = s ? s->lane[provider] : NULL;
    if (own && own->state != RMD_LANE_QUARANTINED && s->all.state != RMD_LANE_QUARANTINED &&
        rmd_returning_probes(s, own) && q->count <= RMD_PROBES)
        return false; /* it was probed with them, and greylisted */
    if (own && rmd_returning_why(c, own))
        return true;
    return !s || !rmd_stream_uses(q->pq->stream, s) || !rmd_sched_standing(s, own) || (own && spent(c, q->pq, own));
}

static bool may_take(struct rmd_coord *c, const struct rmd_dq *q, const struct rmd_lane *l) {
    return !q->sticky || q->sticky == l->source->rec->id || anybody_may_take(c, q, l->provider);
}

bool rmd_sched_bound(struct rmd_coord *c, const struct rmd_dq *d, struct rmd_lane **own) {
    const struct rmd_source *s = d->pq->provider >= 0 ? rmd_source_find(c, d->sticky) : NULL;
    *own = s ? s->lane[d->pq->provider] : NULL;
    return *own && !anybody_may_take(c, d, (*own)->provider);
}

/* The first entry that gives something: for lanes that warm up the most recently engaged recipients, for others those at the other
 * end, when the list says who was engaged. */
static uint32_t deal_entries(struct rmd_coord *c, struct rmd_cq *x, struct rmd_lane *l, const struct rmd_moving *m,
                             uint32_t max) {
    if (m->held && !rmd_warm_ends_soon(c, x->campaign))
        return 0;
    uint64_t flow = rmd_moving_flow(c, x->pq, l, m);
    max = m->usual && m->usual < max ? (uint32_t)m->usual : max;
    bool site_probe = rmd_site_probe_due(l->source); /* one recipient, and no moved work: it needs no room for such */
    bool from_end = x->campaign->rec->engagement && x->pq->has_cold && !rmd_warm_is_cold(l->warm);
    struct rmd_list *at = from_end ? x->entries.prev : x->entries.next, *next;
    for (; at != &x->entries; at = next) {
        next = from_end ? at->prev : at->next;
        struct rmd_entry *e = rmd_container(at, struct rmd_entry, in_cq);
        if (!e->chunk->rows || !e->chunk->has_state || e->chunk->failed)
            continue;
        bool avoids = entry_avoids(c, e, l);
        struct rmd_incident *i = e->incident ? rmd_incident_find(c, e->incident) : NULL;
        bool moves = i && !rmd_incident_is_about(i, l->source);
        uint64_t room = avoids ? 0 : moves ? rmd_moving_room(c, x->pq, l, i) : flow;
        if (!room && !site_probe)
            continue;
        uint32_t n = room ? rmd_lease_build_chunk(c, l, e, room < max ? (uint32_t)room : max, false)
                          : rmd_lease_build_chunk(c, l, e, 1, true);
        if (n && room && moves)
            rmd_moving_took(c, x->pq, i, n);
        else if (n && room)
            rmd_moving_flowed(c, x->pq, l, m, n);
        if (n && rmd_release_paced(x->campaign) && !x->campaign->rec->engagement && rmd_list_linked(&e->in_cq)) {
            rmd_list_remove(&e->in_cq); /* the next domain's turn */
            rmd_list_push(&x->entries, &e->in_cq);
        }
        if (n)
            return n;
    }
    return 0;
}

/* Records of their own. What sticks to this source isn't moved work. */
static uint32_t deal_own(struct rmd_coord *c, struct rmd_dq *d, struct rmd_lane *l, const struct rmd_moving *m,
                         uint32_t max) {
    bool stuck = d->sticky == l->source->rec->id;
    uint64_t room = stuck ? UINT64_MAX : rmd_moving_flow(c, d->pq, l, m),
             ramp = stuck ? room : rmd_returning_ramp(c, l);
    room = room < ramp ? room : ramp;
    uint32_t moved = 0;
    if (!room)
        return rmd_site_probe_due(l->source) ? rmd_lease_build_own(c, l, d, 1, true, &moved) : 0;
    uint32_t n = rmd_lease_build_own(c, l, d, room < max ? (uint32_t)room : max, false, &moved);
    if (n > moved && !stuck)
        rmd_moving_flowed(c, d->pq, l, m, n - moved);
    return n;
}

/* reserved: recipients of the queue that lanes before this one will take. */
static uint32_t deal_lane(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m,
                          uint64_t reserved, uint32_t most_a_lease) {
    uint64_t r = room(c, q, l, false), spare = q->queued > reserved ? q->queued - reserved : 0;
    uint32_t max = r < most_a_lease ? (uint32_t)r : most_a_lease;
    rmd_list_for_safe(it, &q->ready_dqs) {
        struct rmd_dq *d = rmd_container(it, struct rmd_dq, in_ready);
        if (rmd_look_is_bound(d) && d->sticky != l->source->rec->id)
            continue;
        uint32_t n = may_take(c, d, l) ? deal_own(c, d, l, m, max) : 0;
        if (n)
            return n;
    }
    r = room(c, q, l, true);
    max = r < max ? (uint32_t)r : max;
    if (!max)
        return 0;
    rmd_list_for_safe(it, &q->cqs) {
        struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        if (!x->n_entries || !rmd_campaign_deals(c, x->campaign) || rmd_content_stopped(x->campaign, q->provider_id))
            continue;
        uint64_t most = reserved && rmd_warm_kept(c, x->campaign) && spare < max ? spare : max;
        uint64_t released = rmd_release_room(c, x->campaign);
        if (released != UINT64_MAX && x->credit < released)
            released = x->credit;
        most = released < most ? released : most;
        uint32_t n = most ? deal_entries(c, x, l, m, (uint32_t)most) : 0;
        if (n) {
            rmd_list_remove(&x->in_pq); /* the next campaign's turn */
            rmd_list_push(&q->cqs, &x->in_pq);
            return n;
        }
    }
    return 0;
}

static bool has_entries(const struct rmd_pq *q) {
    rmd_list_for(it, &q->cqs) {
        if (rmd_container(it, struct rmd_cq, in_pq)->n_entries)
            return true;
    }
    return false;
}

static bool has_ready(struct rmd_coord *c, const struct rmd_pq *q) {
    if (q->provider < 0 || q->stream->rec->state != 0 || rmd_stream_lacks_key(q->stream) ||
        !rmd_sender_room_for(c, q))
        return false;
    return retries_ready(q) || has_entries(q);
}

/* Retries that only their own lane may have. */
static uint32_t deal_bound(struct rmd_coord *c, struct rmd_pq *q, uint32_t most) {
    struct rmd_lane *l;
    for (struct rmd_dq *d; (d = rmd_look_bound(c, q, &l)) != NULL; rmd_list_remove(&d->in_look)) {
        uint64_t r = rmd_sched_bars(c, q, l) ? 0 : room(c, q, l, false);
        uint32_t max = r < most ? (uint32_t)r : most, moved = 0;
        uint32_t n = max ? rmd_lease_build_own(c, l, d, max, false, &moved) : 0;
        if (n)
            return n;
    }
    return 0;
}

/* Retries that any lane could take now: what is still being read is worth no look. */
static bool loose_loaded(const struct rmd_pq *q) {
    if (rmd_look_all_bound(q))
        return false;
    rmd_list_for(it, &q->ready_dqs) {
        const struct rmd_dq *d = rmd_container(it, struct rmd_dq, in_ready);
        if (rmd_look_is_bound(d))
            continue;
        rmd_list_for(jt, &d->items) {
            if (rmd_container(jt, struct rmd_ditem, link)->chunk->has_state)
                return true;
        }
    }
    return false;
}

/* Lanes that are probed come first, wherever they stand: one recipient each. */
static uint32_t deal_probe(struct rmd_coord *c, struct rmd_pq *q) {
    const struct rmd_moving none = {0};
    size_t n_stopped = rmd_look_stopped(c, q);
    for (size_t i = 0; i < n_stopped; i++) {
        struct rmd_lane *l = q->look.stopped[i];
        if (!rmd_returning_probes(l->source, l) || rmd_sched_bars(c, q, l))
            continue;
        uint32_t n = deal_lane(c, q, l, &none, 0, 1);
        if (n)
            return n;
    }
    return 0;
}

/* Lanes before these will take all that is queued, and there is nothing else: no lane behind gets anything. */
bool rmd_sched_all_kept(struct rmd_coord *c, const struct rmd_pq *q, uint64_t reserved) {
    if (!reserved || q->queued > reserved)
        return false;
    if (loose_loaded(q))
        return false;
    rmd_list_for(it, &q->cqs) {
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        if (x->n_entries && !rmd_warm_kept(c, x->campaign))
            return false;
    }
    return true;
}

/* Something that any lane could take now. */
static bool has_loaded(const struct rmd_pq *q) {
    rmd_list_for(it, &q->cqs) {
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        rmd_list_for(et, &x->entries) {
            const struct rmd_chunk *ch = rmd_container(et, struct rmd_entry, in_cq)->chunk;
            if (ch->rows && ch->has_state)
                return true;
        }
    }
    return loose_loaded(q);
}

/* One walk over the lanes of one level (usual.h), and what it finds on its way. */
struct walk {
    struct rmd_moving_stops stops;
    uint64_t reserved;
    uint32_t most, level, next, bound;
    bool round, found_nothing;
};

/* Lanes that keep something for themselves are at the first level. */
static size_t next_lane(const struct rmd_pq *q, struct walk *w, size_t k) {
    uint64_t counted = 0;
    return rmd_look_next(q, k, w->level ? &counted : &w->reserved);
}

/* It was offered work and got none. False: nor does any behind it. */
static bool pass(struct rmd_coord *c, struct rmd_pq *q, struct walk *w, size_t i, const char *why, bool held) {
    struct rmd_lane *l = q->candidate[i];
    uint64_t keeps = why && q->has_cold && !w->round ? rmd_warm_keeps(c, q, l, why) : 0;
    if (!why && held)
        rmd_core_wake(c, c->now.mono_ms + RMD_USUAL_WAKE_MS);
    w->found_nothing |= !why && (rmd_warm_is_cold(l->warm) || c->stopped_sites.n);
    w->reserved += keeps;
    rmd_look_passed(q, i, why, keeps);
    return why || !rmd_sched_all_kept(c, q, w->reserved);
}

static uint32_t deal_level(struct rmd_coord *c, struct rmd_pq *q, struct walk *w) {
    struct rmd_moving m;
    w->next = RMD_USUAL_LEVELS;
    for (size_t k = 0; (k = next_lane(q, w, k)) < q->n_candidates; k++) {
        size_t i = w->round ? (q->turn + k) % q->n_candidates : k;
        struct rmd_lane *l = q->candidate[i];
        struct rmd_usual_at at = rmd_usual_at(c, q, l);
        if (at.level != w->level) {
            w->next = at.level > w->level && at.level < w->next ? at.level : w->next;
            continue;
        }
        const char *why = rmd_sched_bars(c, q, l);
        rmd_moving_bind(c, q, &w->stops, l, &m);
        m.usual = at.room == UINT64_MAX ? 0 : at.room;
        m.held = at.level > w->bound;
        uint32_t n = why ? 0 : deal_lane(c, q, l, &m, w->reserved, w->most);
        if (n) {
            q->turn = i + 1;
            return n;
        }
        if (!pass(c, q, w, i, why, m.held)) {
            w->next = RMD_USUAL_LEVELS;
            break;
        }
    }
    return 0;
}

/* One lease for this queue, of as many recipients as its sending domain's state allows; 0 when no lane may take any of its ready work. */
static uint32_t deal_one(struct rmd_coord *c, struct rmd_pq *q, uint32_t sender) {
    rmd_sched_candidates(c, q);
    uint32_t n = deal_probe(c, q);
    if (n)
        return n;
    bool round = c->o.without & RMD_WITHOUT_CONCENTRATION;
    uint64_t part = round && q->n_candidates ? q->queued / q->n_candidates + 1 : RMD_COORD_LEASE_MESSAGES;
    uint32_t most = part < RMD_COORD_LEASE_MESSAGES ? (uint32_t)part : RMD_COORD_LEASE_MESSAGES;
    most = sender < most ? sender : most;
    n = deal_bound(c, q, most);
    if (n || !has_loaded(q))
        return n;
    struct walk w = {.most = most, .round = round, .bound = rmd_usual_bound(c, q)};
    rmd_moving_stops(c, q, &w.stops);
    for (; !n && w.level < RMD_USUAL_LEVELS; w.level = w.next)
        n = deal_level(c, q, &w);
    if (!n && (w.found_nothing || rmd_look_fed(q, !c->stopped_sites.n)) && q->provider_id == c->other)
        rmd_list_for(it, &q->cqs) rmd_queue_rotate(c, rmd_container(it, struct rmd_cq, in_pq));
    return n;
}

/* A node that returned may be about to say that messages of unknown fate were delivered: they wait for that, not for
 * long. */
static bool replaying(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        const struct rmd_node *n = v;
        if (n->connected && n->rec->settled_n < n->journal_end && c->now.mono_ms - n->hello_mono_ms < RMD_REPLAY_MS) {
            rmd_core_wake(c, n->hello_mono_ms + RMD_REPLAY_MS);
            return true;
        }
    }
    return false;
}

void rmd_sched_deal(struct rmd_coord *c) {
    bool was = c->replaying;
    c->replaying = replaying(c);
    if (was && !c->replaying)
        rmd_look_news(c, true);
    unsigned leases = 0;
    bool any = true;
    while (any) {
        any = false;
        rmd_list_for(it, &c->all_pqs) {
            struct rmd_pq *q = rmd_container(it, struct rmd_pq, all);
            if (!has_ready(c, q)) {
                q->deficit = 0;
                continue;
            }
            q->deficit += QUANTUM * weight(q->stream->rec->priority);
            while (q->deficit > 0) {
                int64_t tick = rmd_look_begin(c);
                uint32_t sender = rmd_sender_room_for(c, q), n = sender ? deal_one(c, q, sender) : 0;
                rmd_look_end(c, q, tick);
                if (!n) {
                    q->deficit = 0;
                    break;
                }
                q->deficit -= n;
                rmd_sender_took(c, q, n);
                any = true;
                if (++leases >= RMD_DEALS_PER_STEP) {
                    c->deal_on = c->more = true;
                    return;
                }
            }
        }
    }
}
