/* Lanes and sites: what may start now, in which order, and what stops.
 *
 * A site that may have something to start stands in its lane's ring, a lane with such sites among the dirty ones. The
 * pump takes lanes in turn, and in each lane sites in turn, one start or dial at a time: that is the fairness among
 * lanes and among sites. A site that is held up by something of its own (pace, connections all busy) leaves the ring
 * until an event or its timer wakes it; one that is held up by its lane stays, and the lane waits. Connections go
 * where there is work: one for every few waiting messages, one at first until a site has shown that it answers, and
 * an idle one gives its place to a site that has none. Urgent mail goes first: worker_priority.c. */
#include "node/core/worker_internal.h"

struct rmd_lane *rmd_worker_lane(struct rmd_worker *w, struct rmd_wsource *s, uint32_t provider) {
    uint64_t key = (uint64_t)s->id << 32 | provider;
    struct rmd_lane *lane = rmd_map_get_u64(&w->lanes, key);
    if (lane)
        return lane;
    const Remuda__ProviderPolicy *policy = NULL;
    for (size_t i = 0; i < w->policy->n_provider; i++)
        if (w->policy->provider[i]->id == provider)
            policy = w->policy->provider[i];
    if (!policy && provider != rmd_provider_id(RMD_PROVIDER_OTHER_NAME))
        return NULL;
    lane = rmd_alloc(sizeof *lane);
    lane->source = s;
    lane->provider = provider;
    lane->policy = policy;
    lane->timer.kind = RMD_TIMER_LANE;
    lane->began_ms = w->now.mono_ms;
    rmd_list_init(&lane->ring);
    rmd_list_init(&lane->conn_list);
    rmd_list_init(&lane->idle);
    rmd_pacer_ceiling(&lane->pacer, rmd_lane_paced(lane, policy ? policy->rate_per_minute : 0));
    rmd_pacer_ceiling(&lane->connects, rmd_lane_paced(lane, policy ? policy->connects_per_minute : 0));
    rmd_list_push(&s->lanes, &lane->of_source);
    rmd_map_set_u64(&w->lanes, key, lane);
    return lane;
}

/* --- sites */

void rmd_worker_site_free(struct rmd_worker *w, struct rmd_wsite *site) {
    assert(!site->queued && !site->conns);
    rmd_worker_arm(w, &site->timer, RMD_NEVER);
    rmd_list_remove(&site->ring);
    rmd_list_remove(&site->lru);
    rmd_map_remove_u64(&site->lane->sites, site->id);
    free(site->saved);
    free(site->label);
    free(site);
    w->n_sites--;
}

/* Keeps the list of sites that nobody uses, least recently used first. */
void rmd_worker_site_touch(struct rmd_worker *w, struct rmd_wsite *site) {
    rmd_list_remove(&site->lru);
    if (!site->queued && !site->conns)
        rmd_list_push(&w->site_lru, &site->lru);
}

/* One that would be missed least: without anything learned, else the least recently used. Bounded search. */
static bool evict_site(struct rmd_worker *w) {
    enum { LOOK = 16 };
    struct rmd_wsite *victim = NULL;
    int looked = 0;
    rmd_list_for(it, &w->site_lru) {
        struct rmd_wsite *site = rmd_container(it, struct rmd_wsite, lru);
        if (!victim)
            victim = site;
        if (rmd_pacer_plain(&site->pacer, w->now.mono_ms) && w->now.mono_ms >= site->down_until_ms) {
            victim = site;
            break;
        }
        if (++looked >= LOOK)
            break;
    }
    if (!victim)
        return false;
    rmd_worker_site_free(w, victim);
    return true;
}

struct rmd_wsite *rmd_worker_site(struct rmd_worker *w, struct rmd_lane *lane, uint64_t id) {
    struct rmd_wsite *site = rmd_map_get_u64(&lane->sites, id);
    if (site)
        return site;
    if (w->n_sites >= RMD_WORKER_SITES_MAX && !evict_site(w))
        return NULL;
    site = rmd_alloc(sizeof *site);
    site->lane = lane;
    site->id = id;
    site->timer.kind = RMD_TIMER_SITE;
    rmd_list_init(&site->queue);
    rmd_list_init(&site->urgent);
    rmd_list_init(&site->idle);
    rmd_map_set_u64(&lane->sites, id, site);
    w->n_sites++;
    rmd_worker_site_touch(w, site);
    return site;
}

/* --- limits */

static bool stopped(const struct rmd_worker *w, const struct rmd_stop *stop) {
    return stop->until_ms && w->now.mono_ms < stop->until_ms;
}

enum rmd_return_reason rmd_worker_lane_blocked(const struct rmd_worker *w, const struct rmd_lane *lane) {
    const struct rmd_wsource *s = lane->source;
    if (w->stopping)
        return RMD_RETURN_RECALLED;
    if (!s->known || s->state == RMD_SOURCE_RETIRED || s->quarantined || stopped(w, &lane->stop))
        return RMD_RETURN_SOURCE_STOPPED;
    for (size_t i = 0; i < s->n_quarantined; i++)
        if (s->quarantined_provider[i] == lane->provider)
            return RMD_RETURN_SOURCE_STOPPED;
    if (s->state == RMD_SOURCE_PAUSED)
        return RMD_RETURN_PAUSED;
    if (!s->family || w->now.mono_ms < s->no_address_until_ms)
        return RMD_RETURN_NO_ADDRESS;
    if (!lane->policy && lane->provider != rmd_provider_id(RMD_PROVIDER_OTHER_NAME))
        return RMD_RETURN_PROVIDER_CHANGED;
    return RMD_RETURN_NONE;
}

uint32_t rmd_lane_paced(const struct rmd_lane *lane, uint32_t ceiling) {
    uint32_t pace = lane->source->pace_percent;
    if (!ceiling || !pace || pace >= 100)
        return ceiling;
    uint64_t n = (uint64_t)ceiling * pace / 100;
    return n ? (uint32_t)n : 1;
}

uint32_t rmd_lane_limit(const struct rmd_lane *lane) {
    uint32_t n = lane->policy && lane->policy->connections ? lane->policy->connections : RMD_WORKER_CONNECTIONS;
    if (lane->share_connections && lane->share_connections < n)
        n = lane->share_connections;
    return rmd_lane_paced(lane, n);
}

uint32_t rmd_site_limit(const struct rmd_wsite *site) {
    uint32_t n = rmd_lane_limit(site->lane);
    if (site->lane->policy && site->lane->policy->connections_per_site &&
        site->lane->policy->connections_per_site < n)
        n = site->lane->policy->connections_per_site;
    return n;
}

/* --- waking */

void rmd_worker_wake_lane(struct rmd_worker *w, struct rmd_lane *lane) {
    rmd_list_remove(&lane->starved);
    if (!rmd_list_linked(&lane->dirty) && !rmd_list_empty(&lane->ring))
        rmd_list_push(&w->dirty, &lane->dirty);
}

void rmd_worker_wake(struct rmd_worker *w, struct rmd_wsite *site, bool front) {
    if (!site->queued)
        return;
    if (front || !rmd_list_empty(&site->urgent)) {
        rmd_list_remove(&site->ring);
        rmd_list_push_front(&site->lane->ring, &site->ring);
    } else if (!rmd_list_linked(&site->ring)) {
        rmd_list_push(&site->lane->ring, &site->ring);
    }
    rmd_worker_wake_lane(w, site->lane);
}

/* --- the pump */

enum progress {
    DONE_ONE,
    SITE_WAITS,
    LANE_WAITS,
    PLACE_WAITS,
    WORKER_WAITS,
    SLOT_WAITS
}; /* PLACE: no connection more in the lane; SLOT: what is left of them is kept for urgent mail */

/* One timer serves several reasons to wait: the first of them wakes. */
static void sooner(struct rmd_worker *w, struct rmd_timer *t, int64_t due_ms) {
    if (!t->heap.pos || t->heap.key > due_ms)
        rmd_worker_arm(w, t, due_ms);
}

/* An idle connection that nobody has work for gives its place away. */
static void make_room(struct rmd_worker *w, struct rmd_list *idle, bool of_lane) {
    rmd_list_for(it, idle) {
        struct rmd_wconn *c = of_lane ? rmd_container(it, struct rmd_wconn, idle_of_lane)
                                      : rmd_container(it, struct rmd_wconn, idle_of_worker);
        if (c->site->queued)
            continue;
        rmd_worker_conn_quit(w, c);
        return;
    }
}

static enum progress open_connection(struct rmd_worker *w, struct rmd_wsite *site, const struct rmd_wdomain *d,
                                     bool urgent) {
    struct rmd_lane *lane = site->lane;
    int64_t now = w->now.mono_ms;
    uint32_t limit = urgent ? rmd_width_limit(&site->width, rmd_site_limit(site)) : rmd_site_bulk_limit(site);
    uint32_t wanted = (site->queued + RMD_WORKER_QUEUE_A_CONNECTION - 1) / RMD_WORKER_QUEUE_A_CONNECTION;
    if (urgent) /* those that there are have bulk mail, and may be slow */
        wanted = site->conns + 1;
    if (site->conns >= (wanted < limit ? wanted : limit) || site->dialing >= (site->ready ? site->ready : 1))
        return SITE_WAITS;
    if (now < site->dial_after_ms) {
        sooner(w, &site->timer, site->dial_after_ms);
        return SITE_WAITS;
    }
    if (lane->conns >= (urgent ? rmd_width_limit(&lane->width, rmd_lane_limit(lane)) : rmd_lane_bulk_limit(lane))) {
        lane->hungry = true;
        if (!lane->quitting)
            make_room(w, &lane->idle, true);
        return PLACE_WAITS;
    }
    int64_t due = rmd_pacer_due_ms(&lane->connects, now);
    if (due > now) {
        lane->connect_due_ms = due;
        rmd_worker_pace_changed(w, lane, false);
        sooner(w, &lane->timer, due);
        return LANE_WAITS;
    }
    if (w->conns >= w->o.connection_limit) {
        w->hungry = true;
        if (!w->quitting)
            make_room(w, &w->idle, false);
        return WORKER_WAITS;
    }
    rmd_pacer_take(&lane->connects, now);
    return rmd_worker_dial(w, site, d) ? DONE_ONE : SITE_WAITS;
}

static enum progress try_site(struct rmd_worker *w, struct rmd_wsite *site) {
    struct rmd_lane *lane = site->lane;
    int64_t now = w->now.mono_ms;
    struct rmd_wmessage *m = rmd_site_head(site);
    if (!m)
        return SITE_WAITS;
    if (w->now.wall_ms >= rmd_worker_valid_until(m)) {
        rmd_worker_return(w, m, RMD_RETURN_AGE);
        return DONE_ONE;
    }
    if (now >= m->domain->until_ms) { /* the MX answer is too old to dial by, or to trust a connection's site */
        rmd_worker_unqueue(w, m);
        rmd_worker_route(w, m, false);
        return DONE_ONE;
    }
    rmd_worker_comes_back(w, site);
    if (rmd_site_waits_for_slot(site, m))
        return SLOT_WAITS;
    int64_t due = rmd_pacer_due_ms(&site->pacer, now);
    if (due > now) {
        sooner(w, &site->timer, due);
        return SITE_WAITS;
    }
    due = rmd_pacer_due_ms(&lane->pacer, now);
    if (due > now) {
        sooner(w, &lane->timer, due);
        return LANE_WAITS;
    }
    if (rmd_list_empty(&site->idle))
        return open_connection(w, site, m->domain, rmd_message_urgent(m));
    struct rmd_wconn *c = rmd_container(site->idle.next, struct rmd_wconn, idle);
    rmd_worker_unqueue(w, m);
    rmd_worker_start(w, c, m);
    return DONE_ONE;
}

/* The first site waits for a connection's place: meanwhile another one may use the connection that it has. */
static bool pump_idle(struct rmd_worker *w, struct rmd_lane *lane) {
    rmd_list_for(it, &lane->idle) {
        struct rmd_wsite *site = rmd_container(it, struct rmd_wconn, idle_of_lane)->site;
        if (!site->queued || !rmd_list_linked(&site->ring))
            continue;
        rmd_list_remove(&site->ring);
        enum progress p = try_site(w, site);
        if (p != SITE_WAITS && site->queued && !rmd_list_linked(&site->ring))
            rmd_list_push(&lane->ring, &site->ring);
        return p == DONE_ONE || p == SITE_WAITS; /* after a change, or with the ring shorter, look again */
    }
    return false;
}

/* One start or dial of the lane; false when it has to wait. */
static bool pump_lane(struct rmd_worker *w, struct rmd_lane *lane) {
    unsigned barred = 0;
    while (!rmd_list_empty(&lane->ring)) {
        struct rmd_wsite *urgent = rmd_lane_urgent_site(lane);
        struct rmd_wsite *site = urgent ? urgent : rmd_container(lane->ring.next, struct rmd_wsite, ring);
        rmd_list_remove(&site->ring);
        enum progress p = try_site(w, site);
        if (p == SITE_WAITS)
            continue;
        if (p == DONE_ONE) {
            if (site->queued && !rmd_list_linked(&site->ring))
                rmd_list_push(&lane->ring, &site->ring);
            return true;
        }
        if (p == SLOT_WAITS) { /* the end of a transaction wakes the lane */
            if (!rmd_list_linked(&site->ring))
                rmd_list_push(&lane->ring, &site->ring);
            if (++barred > RMD_WORKER_SLOT_LOOK)
                return false;
            continue;
        }
        if (!rmd_list_linked(&site->ring))
            rmd_list_push_front(&lane->ring, &site->ring); /* its turn isn't lost */
        if (p != LANE_WAITS && pump_idle(w, lane))
            return true;
        if (p == WORKER_WAITS && !rmd_list_linked(&lane->starved))
            rmd_list_push(&w->starved, &lane->starved);
        return false;
    }
    return false;
}

void rmd_worker_pump(struct rmd_worker *w) {
    if (!rmd_worker_startable(w)) /* the next validity wakes all lanes */
        return;
    while (!rmd_list_empty(&w->dirty)) {
        struct rmd_lane *lane = rmd_container(w->dirty.next, struct rmd_lane, dirty);
        rmd_list_remove(&lane->dirty);
        if (pump_lane(w, lane) && !rmd_list_linked(&lane->dirty) && !rmd_list_empty(&lane->ring))
            rmd_list_push(&w->dirty, &lane->dirty);
    }
}

/* --- stopping */

void rmd_worker_return_lane(struct rmd_worker *w, struct rmd_lane *lane, enum rmd_return_reason reason) {
    rmd_list_for_safe(it, &w->lease_list) {
        struct rmd_wlease *l = rmd_container(it, struct rmd_wlease, all);
        if (l->lane != lane)
            continue;
        l->pins++;
        for (size_t i = 0; i < l->n; i++) {
            struct rmd_wmessage *m = &l->message[i];
            if (m->state < RMD_W_OPEN)
                rmd_worker_return(w, m, reason);
            else if (m->state == RMD_W_OPEN)
                m->give_back = (uint8_t)reason; /* should its connection fail, it isn't tried again */
        }
        rmd_worker_lease_unpin(w, l);
    }
    rmd_list_for_safe(it, &lane->idle) rmd_worker_conn_quit(w, rmd_container(it, struct rmd_wconn, idle_of_lane));
}

void rmd_worker_stop_lane(struct rmd_worker *w, struct rmd_lane *lane, enum rmd_return_reason reason) {
    rmd_worker_return_lane(w, lane, reason);
    lane->stopped = true;
    rmd_worker_pace_changed(w, lane, true);
    rmd_worker_doom(w, lane, NULL, reason);
}

void rmd_worker_doom(struct rmd_worker *w, struct rmd_lane *lane, const struct rmd_wsite *site,
                     enum rmd_return_reason reason) {
    rmd_list_for_safe(it, &lane->conn_list) {
        struct rmd_wconn *c = rmd_container(it, struct rmd_wconn, of_lane);
        if (site && c->site != site)
            continue;
        c->doomed = true;
        if (c->message && !c->dot_sent) {
            c->stop_reason = (uint8_t)reason;
            rmd_smtp_abort(c->smtp, RMD_OWN_DEADLINE, w->now.mono_ms);
        }
        if (c->driving || (c->message && c->dot_sent))
            continue; /* its own loop sees that it is doomed; a sent dot waits for its reply */
        if (c->message)
            rmd_worker_conn_drive(w, c);
        else
            rmd_worker_conn_close(w, c);
    }
}
