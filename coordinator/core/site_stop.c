/* Stopped sites of "other": see site_stop.h. */
#include "coordinator/core/core.h"

const char rmd_why_site[] = "its site refuses this source",
           rmd_why_site_network[] = "its site refuses this source's network",
           rmd_why_site_asked[] = "its site is asked again by a single recipient first";

struct rmd_site_stop *rmd_site_stop_find(const struct rmd_source *s, uint64_t site) {
    return rmd_map_get_u64(&s->site_stops, site);
}

static void changed(struct rmd_coord *c, struct rmd_source *s) {
    s->dirty = c->sources_dirty = true;
    c->lanes_tick_mono_ms = 0; /* when it ends is to be found */
    if (s->node)
        s->node->policy_dirty = true;
    c->deal = true;
}

static struct rmd_site_stop *stop_new(struct rmd_coord *c, struct rmd_source *s, uint64_t site, const char *name) {
    struct rmd_site_stop *x = rmd_alloc(sizeof *x);
    struct rmd_stopped_site *of = rmd_map_get_u64(&c->stopped_sites, site);
    if (!of) {
        of = rmd_alloc(sizeof *of);
        rmd_list_init(&of->stops);
        rmd_map_set_u64(&c->stopped_sites, site, of);
    }
    x->source = s;
    x->site = site;
    x->name = rmd_strdup(name);
    rmd_list_push(&of->stops, &x->of_site);
    rmd_map_set_u64(&s->site_stops, site, x);
    return x;
}

static void stop_free(struct rmd_coord *c, struct rmd_site_stop *x) {
    struct rmd_stopped_site *of = rmd_map_get_u64(&c->stopped_sites, x->site);
    rmd_list_remove(&x->of_site);
    if (rmd_list_empty(&of->stops)) {
        rmd_map_remove_u64(&c->stopped_sites, x->site);
        free(of);
    }
    rmd_map_remove_u64(&x->source->site_stops, x->site);
    free(x->name);
    free(x);
}

static void tell(struct rmd_coord *c, const char *type, const struct rmd_site_stop *x, const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    struct rmd_incident *i = rmd_incident_find(c, x->incident);
    e->source = x->source->rec->id;
    e->provider = c->other;
    e->incident = x->incident;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%s at the site of %s %s", x->source->rec->address, x->name, text);
    if (i)
        rmd_incident_line(c, i, NULL, "%s", e->text);
}

/* ---------------------------------------------------------------- a stop */

bool rmd_site_stop_set(struct rmd_coord *c, struct rmd_source *s, uint64_t site, const char *name, int64_t ms,
                       uint64_t incident) {
    struct rmd_site_stop *x = rmd_site_stop_find(s, site);
    if (!x && s->site_stops.n >= RMD_SITE_STOPS_MAX)
        return false;
    bool fresh = !x, again = x && x->state == RMD_LANE_PROBING;
    if (fresh)
        x = stop_new(c, s, site, name);
    if (again && ms)
        ms = rmd_returning_longer_ms(x->stopped_ms, ms);
    ms = ms < RMD_SITE_AGAIN_MAX_MS ? ms : RMD_SITE_AGAIN_MAX_MS;
    int64_t until = ms ? c->ledger.now_ms + ms : 0;
    if (!fresh && !again && (!x->until_ledger_ms || (until && until <= x->until_ledger_ms)))
        return true; /* a second verdict only ever prolongs */
    x->state = RMD_LANE_QUARANTINED;
    x->stopped_ms = ms;
    x->until_ledger_ms = until;
    x->until_wall_ms = ms ? c->now.wall_ms + ms : 0;
    x->incident = incident;
    x->probe_lease = 0;
    char length[32] = "";
    if (ms)
        rmd_format_duration(ms, length);
    tell(c, "source.site_stopped", x,
         rmd_arena_printf(&c->scratch, "is %s %s%s", again ? "refused while it was probed: stopped" : "stopped",
                          ms ? "for " : "until a person resolves it", length));
    changed(c, s);
    return true;
}

/* The pair of this source rests on it no more; it is over with the last one. */
static void leave(struct rmd_coord *c, uint64_t incident, const struct rmd_source *s, const char *why) {
    struct rmd_incident *i = rmd_incident_find(c, incident);
    if (!i || !i->rec->site)
        return;
    rmd_incident_leave(c, i, s);
    const struct rmd_stopped_site *of = rmd_map_get_u64(&c->stopped_sites, i->rec->site);
    if (of)
        rmd_list_for(it, &of->stops) {
            if (rmd_container(it, struct rmd_site_stop, of_site)->incident == incident)
                return;
        }
    rmd_incident_resolve(c, i, why);
}

void rmd_site_stops_widened(struct rmd_coord *c, struct rmd_source *s, uint64_t incident) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v)) {
        struct rmd_site_stop *x = v;
        uint64_t own = x->incident;
        stop_free(c, x);
        if (own != incident)
            leave(c, own, s,
                  rmd_arena_printf(&c->scratch, "taken over by incident %llu, which stops %s at more than this site",
                                   (unsigned long long)incident, s->rec->address));
        changed(c, s);
    }
}

/* ---------------------------------------------------------------- coming back */

static void reopen(struct rmd_coord *c, struct rmd_site_stop *x, const char *why) {
    struct rmd_source *s = x->source;
    uint64_t incident = x->incident;
    tell(c, "source.site_opened", x, rmd_arena_printf(&c->scratch, "is open again: %s", why));
    stop_free(c, x);
    leave(c, incident, s, why);
    changed(c, s);
}

static void probe(struct rmd_coord *c, struct rmd_site_stop *x, const char *why) {
    if (c->o.without & RMD_WITHOUT_PROBING) {
        reopen(c, x, why);
        return;
    }
    x->state = RMD_LANE_PROBING;
    x->until_ledger_ms = x->until_wall_ms = 0;
    x->probing_mono_ms = c->now.mono_ms;
    x->probe_lease = 0;
    tell(c, "source.site_probing", x, rmd_arena_printf(&c->scratch, "is probed with a single recipient: %s", why));
    changed(c, x->source);
}

bool rmd_site_stops_rest_on(const struct rmd_source *s, uint64_t incident) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v))
        if (((struct rmd_site_stop *)v)->incident == incident)
            return true;
    return false;
}

bool rmd_site_stops_return(struct rmd_coord *c, uint64_t incident, const char *why) {
    const struct rmd_incident *i = rmd_incident_find(c, incident);
    const struct rmd_stopped_site *of = i && i->rec->site ? rmd_map_get_u64(&c->stopped_sites, i->rec->site) : NULL;
    size_t n = 0, most = 0;
    if (!of)
        return false;
    rmd_list_for(it, &of->stops) most++;
    struct rmd_site_stop **v = rmd_arena_alloc(&c->scratch, most * sizeof(struct rmd_site_stop *));
    rmd_list_for(it, &of->stops) {
        struct rmd_site_stop *x = rmd_container(it, struct rmd_site_stop, of_site);
        if (x->incident == incident && x->state == RMD_LANE_QUARANTINED)
            v[n++] = x;
    }
    for (size_t k = 0; k < n; k++) /* measured without probing, it is freed at once */
        probe(c, v[k], why);
    return n > 0;
}

void rmd_site_stops_tick(struct rmd_coord *c, struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v)) {
        struct rmd_site_stop *x = v;
        if (x->state != RMD_LANE_QUARANTINED || !x->until_ledger_ms)
            continue;
        if (c->ledger.now_ms < x->until_ledger_ms)
            rmd_core_wake(c, c->now.mono_ms + (x->until_ledger_ms - c->ledger.now_ms));
        else
            probe(c, x, "its time of being stopped is over");
    }
}

/* The recipient that it is probed with is under way. A lease that ended without its outcome, or was taken back, says nothing: the next
 * one may go. */
static bool probed_now(const struct rmd_site_stop *x) {
    const struct rmd_lease *l =
        x->probe_lease && x->source->node ? rmd_lease_find(x->source->node, x->probe_lease) : NULL;
    return l && l->state != RMD_LEASE_TAKEN && x->probe_index < l->n && !rmd_bit_get(l->done, x->probe_index);
}

void rmd_site_outcome(struct rmd_coord *c, const struct rmd_lease *l, uint32_t index, uint32_t kind, unsigned scope) {
    const unsigned ours = RMD_SCOPE_SOURCE | RMD_SCOPE_LANE | RMD_SCOPE_NETWORK | RMD_SCOPE_NODE;
    uint32_t it = 0;
    void *v;
    if (!l->source || l->provider_id != c->other)
        return;
    while (rmd_map_next(&l->source->site_stops, &it, NULL, &v)) {
        struct rmd_site_stop *x = v;
        if (x->state != RMD_LANE_PROBING || x->probe_lease != l->id || x->probe_index != index)
            continue;
        x->probe_lease = 0;
        changed(c, l->source);
        bool answered = kind == RMD_OUTCOME_DELIVERED || (kind == RMD_OUTCOME_BOUNCED && !(scope & ours));
        if (answered) /* of an unknown user it speaks to whom it would not greet */
            reopen(c, x, "a single recipient was answered again");
        return;
    }
}

/* ---------------------------------------------------------------- dealing */

const char *rmd_chunk_domain(const Remuda__Chunk *rows, uint32_t row) {
    uint32_t at = rows->n_domain_of ? rows->domain_of[row] : 0;
    return at < rows->n_domain ? rows->domain[at] : NULL;
}

/* 0: it is being asked for. */
static uint64_t site_of(struct rmd_coord *c, const char *domain) {
    const struct rmd_domain *d = rmd_site_find(c, domain);
    c->deal_asks |= !d->site && d->state == RMD_SITE_WAIT;
    return !d->site && d->state != RMD_SITE_WAIT ? 1 : d->site;
}

static bool same_network(const struct rmd_coord *c, const struct rmd_source *a, const struct rmd_source *b) {
    return a == b || (a->net == b->net && !(c->o.without & RMD_WITHOUT_NETWORKS));
}

/* It can be probed now: others wait for what comes of it. */
static bool waits_for_probe(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_site_stop *x) {
    struct rmd_lane *l = x->source->lane[q->provider];
    if (x->state != RMD_LANE_PROBING || !l)
        return false;
    int64_t until = x->probing_mono_ms + RMD_SITE_PROBE_WAIT_MS;
    if (c->now.mono_ms < until)
        rmd_core_wake(c, until);
    return probed_now(x) || (c->now.mono_ms < until && !rmd_sched_bars(c, q, l) && !rmd_usual_why(c, q, l));
}

static struct rmd_site_stop *own(const struct rmd_source *s, const struct rmd_stopped_site *site) {
    rmd_list_for(it, &site->stops) {
        struct rmd_site_stop *x = rmd_container(it, struct rmd_site_stop, of_site);
        if (x->source == s)
            return x;
    }
    return NULL;
}

/* The site refused this source, too, and is open to it again: that others are refused still binds it no more. */
static bool answered_since(const struct rmd_incident *i, const struct rmd_source *s) {
    const Remuda__IncidentMember *m = i ? rmd_incident_member(i, s) : NULL;
    return m && m->over_wall_ms;
}

/* What x's source doesn't get there goes elsewhere. NULL: to this lane as well. */
static const char *binds(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_site_stop *x,
                         uint32_t taken) {
    if (!rmd_stream_uses(q->stream, x->source))
        return NULL; /* another pool's trouble */
    if (waits_for_probe(c, q, x))
        return rmd_why_site_asked;
    if (same_network(c, x->source, l->source)) /* a lane that is probed asks instead of its neighbour */
        return x->state == RMD_LANE_PROBING && rmd_returning_probes(l->source, l) ? NULL : rmd_why_site_network;
    struct rmd_incident *i = rmd_incident_find(c, x->incident);
    if (answered_since(i, l->source))
        return NULL;
    uint64_t room = rmd_moving_room(c, q, l, i);
    bool counted = i && i->rec->moving == RMD_MOVING_CANARY; /* what was taken has left its room already */
    return room > (counted ? 0 : taken) ? NULL : rmd_moving_phase_why(c, q, i);
}

const char *rmd_site_keeps(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l,
                           const struct rmd_stopped_site *site, const struct rmd_lease *into, uint32_t taken) {
    const struct rmd_site_stop *x = own(l->source, site);
    if (x && x->state != RMD_LANE_PROBING)
        return rmd_why_site;
    if (x) /* it comes back by single ones, whatever the site says of others */
        return !probed_now(x) && !(into && x->probe_lease == into->id) ? NULL : rmd_why_site_asked;
    rmd_list_for(it, &site->stops) {
        const char *why = binds(c, q, l, rmd_container(it, struct rmd_site_stop, of_site), taken);
        if (why)
            return why;
    }
    return NULL;
}

bool rmd_site_lets(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const char *domain,
                   const struct rmd_lease *into, uint32_t taken, const struct rmd_stopped_site **site) {
    *site = NULL;
    if (!c->stopped_sites.n || q->provider_id != c->other || !domain)
        return true;
    uint64_t id = site_of(c, domain);
    *site = id ? rmd_map_get_u64(&c->stopped_sites, id) : NULL;
    return id && (!*site || !rmd_site_keeps(c, q, l, *site, into, taken));
}

bool rmd_site_probes(const struct rmd_source *s, const struct rmd_stopped_site *site) {
    const struct rmd_site_stop *x = site ? own(s, site) : NULL;
    return x && x->state == RMD_LANE_PROBING;
}

bool rmd_site_probe_due(const struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v)) {
        const struct rmd_site_stop *x = v;
        if (x->state == RMD_LANE_PROBING && !probed_now(x))
            return true;
    }
    return false;
}

static bool stops_domain(struct rmd_coord *c, const struct rmd_source *s, const char *domain) {
    const struct rmd_site_stop *x = domain ? rmd_site_stop_find(s, site_of(c, domain)) : NULL;
    return x && x->state == RMD_LANE_QUARANTINED;
}

bool rmd_site_took(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_lease *l, uint32_t index,
                   const struct rmd_stopped_site *site) {
    bool moved = false;
    if (!site)
        return false;
    struct rmd_site_stop *probed = own(l->source, site);
    if (probed) {
        probed->probe_lease = l->id;
        probed->probe_index = index;
        l->source->dirty = c->sources_dirty = true;
        return false;
    }
    uint64_t last = 0; /* sources that were refused in the same way share an incident: it is counted once */
    rmd_list_for(it, &site->stops) {
        const struct rmd_site_stop *x = rmd_container(it, struct rmd_site_stop, of_site);
        struct rmd_incident *i = x->incident != last ? rmd_incident_find(c, x->incident) : NULL;
        if (!i || !rmd_stream_uses(q->stream, x->source) || same_network(c, x->source, l->source))
            continue;
        last = x->incident;
        moved = true;
        rmd_incident_moved(c, x->incident, l->source, 1);
        if (!answered_since(i, l->source))
            rmd_moving_took(c, q, i, 1);
    }
    return moved;
}

const char *rmd_site_domain(struct rmd_coord *c, const Remuda__DeferredRecord *r) {
    struct rmd_row_head h;
    if (!c->stopped_sites.n || !rmd_row_head(rmd_slice(r->row.data, r->row.len), &h))
        return NULL;
    return rmd_arena_str(&c->scratch, rmd_address_domain(h.email));
}

void rmd_site_put_aside(struct rmd_coord *c, struct rmd_ditem *d, const struct rmd_lane *lane) {
    const char *domain = rmd_site_domain(c, d->rec);
    bool full = d->dq->n_items >= RMD_DQ_WINDOW;
    bool frees = d->rec->sticky_source == lane->source->rec->id && stops_domain(c, lane->source, domain);
    if (!full && !frees)
        return;
    Remuda__DeferredRecord *r = d->rec;
    struct rmd_campaign *k = d->chunk->campaign;
    rmd_deferred_delete(c, k, r);
    r->not_before_wall_ms = full ? c->now.wall_ms + RMD_SITE_STOP_LATER_MS : r->not_before_wall_ms;
    r->sticky_source = frees ? 0 : r->sticky_source;
    rmd_deferred_put(c, k, r);
    rmd_ditem_free(c, d);
}

uint64_t rmd_site_incident_of(struct rmd_coord *c, const struct rmd_lease *l, struct rmd_slice email) {
    if (!l->source || !l->source->site_stops.n || l->provider_id != c->other)
        return 0;
    const struct rmd_domain *d = rmd_site_find(c, rmd_arena_str(&c->scratch, rmd_address_domain(email)));
    const struct rmd_site_stop *x = rmd_site_stop_find(l->source, d->site);
    return x ? x->incident : 0;
}

/* ---------------------------------------------------------------- storing */

bool rmd_site_stops_timed(const struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v))
        if (((struct rmd_site_stop *)v)->until_ledger_ms)
            return true;
    return false;
}

void rmd_site_stops_read(struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < s->rec->n_site_stop && s->site_stops.n < RMD_SITE_STOPS_MAX; i++) {
        const Remuda__SiteStop *r = s->rec->site_stop[i];
        if (rmd_site_stop_find(s, r->site) || (r->state != RMD_LANE_QUARANTINED && r->state != RMD_LANE_PROBING))
            continue;
        struct rmd_site_stop *x = stop_new(c, s, r->site, r->name);
        x->state = (enum rmd_lane_state)r->state;
        x->until_wall_ms = r->until_wall_ms;
        x->until_ledger_ms = r->remaining_ms > 0 ? c->ledger.now_ms + r->remaining_ms
                             : r->until_wall_ms  ? c->ledger.now_ms + 1
                                                 : 0;
        x->incident = r->incident;
        x->stopped_ms = r->stopped_ms;
        x->probing_mono_ms = c->now.mono_ms;
        x->probe_lease = r->probe_lease;
        x->probe_index = r->probe_index;
    }
}

void rmd_site_stops_write(const struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < s->rec->n_site_stop; i++)
        remuda__site_stop__free_unpacked(s->rec->site_stop[i], NULL);
    free(s->rec->site_stop);
    s->rec->site_stop = s->site_stops.n ? rmd_alloc(s->site_stops.n * sizeof *s->rec->site_stop) : NULL;
    s->rec->n_site_stop = 0;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v)) {
        const struct rmd_site_stop *x = v;
        Remuda__SiteStop *r = s->rec->site_stop[s->rec->n_site_stop++] = rmd_alloc(sizeof *r);
        remuda__site_stop__init(r);
        r->site = x->site;
        r->name = rmd_strdup(x->name);
        r->state = x->state;
        r->until_wall_ms = x->until_wall_ms;
        r->remaining_ms = x->until_ledger_ms > c->ledger.now_ms ? x->until_ledger_ms - c->ledger.now_ms : 0;
        r->incident = x->incident;
        r->stopped_ms = x->stopped_ms;
        r->probe_lease = x->probe_lease;
        r->probe_index = x->probe_index;
    }
}

void rmd_site_stops_free(struct rmd_coord *c, struct rmd_source *s) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v))
        stop_free(c, v);
    rmd_map_release(&s->site_stops);
    if (!c->stopped_sites.n)
        rmd_map_release(&c->stopped_sites);
}
