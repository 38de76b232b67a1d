/* Views: what the API shows, read between steps. Their strings live in an arena of the core that the next view
 * resets. */
#include "coordinator/core/core.h"

static uint64_t domain_free_sum(const struct rmd_campaign *k) {
    const Remuda__CampaignRecord *r = k->rec;
    return r->finished_wall_ms ? 0 : rmd_campaign_unsorted(k);
}

/* What nodes hold that can't be asked now, and how long that may last. */
static void count_away(const struct rmd_coord *c, struct rmd_node *n, struct rmd_status_view *out) {
    uint64_t messages = 0;
    uint32_t it = 0;
    void *v;
    while (!n->connected && rmd_map_next(&n->leases, &it, NULL, &v)) {
        const struct rmd_lease *l = v;
        messages += l->state == RMD_LEASE_GRANTED ? l->left : 0;
    }
    out->leased_away += messages;
    int64_t left = n->valid_until_mono_ms - c->now.mono_ms;
    if (messages && left > out->leased_away_ms)
        out->leased_away_ms = left;
}

static void count_campaigns(struct rmd_coord *c, struct rmd_status_view *out) {
    out->delivered = c->dropped[0];
    out->bounced = c->dropped[1];
    out->suppressed = c->dropped[2];
    out->expired = c->dropped[3];
    out->held = c->dropped[4];
    out->uncertain = c->dropped[5];
    rmd_list_for(it, &c->all_campaigns) {
        const struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, all);
        out->queued += k->queued;
        out->leased += k->leased;
        out->deferred += k->deferred;
        out->in_doubt += k->in_doubt;
        uint64_t unsorted = domain_free_sum(k);
        out->unsorted += unsorted;
        if (k->rec->state == RMD_CAMPAIGN_PAUSED || k->stream->rec->state)
            out->unsorted_paused += unsorted;
        else if (!rmd_release_started(c, k))
            out->unsorted_later += unsorted;
        out->delivered += k->rec->delivered;
        out->bounced += k->rec->bounced;
        out->suppressed += k->rec->suppressed;
        out->expired += k->rec->expired;
        out->held += k->rec->held;
        out->uncertain += k->rec->uncertain;
    }
}

static bool any_quarantined(const struct rmd_coord *c, const struct rmd_source *s) {
    bool any = s->all.state >= RMD_LANE_QUARANTINED;
    for (size_t i = 0; i < c->o.n_providers && !any; i++)
        any = s->lane[i] && s->lane[i]->state >= RMD_LANE_QUARANTINED;
    return any;
}

void rmd_coord_status(struct rmd_coord *c, struct rmd_status_view *out) {
    *out = (struct rmd_status_view){
        .epoch = c->epoch, .malformed_frames = c->malformed, .stalled = c->stalled ? c->stalled : ""};
    out->ledger_time_ms = c->ledger.now_ms;
    if (c->meta) {
        out->incarnation = c->meta->incarnation;
        out->restored_paused = c->meta->restored;
    }
    count_campaigns(c, out);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        count_away(c, n, out);
        out->nodes += n->rec->state == 0;
        out->nodes_connected += n->connected;
        out->leases += n->granted;
    }
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
        const struct rmd_source *s = v;
        bool active = s->rec->state == RMD_SOURCE_ACTIVE;
        out->sources_active += active && !s->trouble;
        out->sources_trouble += active && s->trouble;
        out->sources_quarantined += any_quarantined(c, s);
    }
    rmd_list_for(jt, &c->incidents) out->open_incidents +=
        rmd_container(jt, struct rmd_incident, link)->rec->state == 0;
}

static void lane_view(struct rmd_coord *c, struct rmd_lane *l, struct rmd_lane_view *out) {
    uint64_t cap = rmd_lane_cap(c, l);
    int64_t frees = rmd_account_frees_ms(&c->ledger, l->account, cap);
    const struct rmd_warm_lane *x = l->warm;
    uint64_t hour =
        rmd_warm_is_cold(x) && x->scheme.plan->hour_percent < 100 ? rmd_plan_hour(x->scheme.plan, cap) : 0;
    hour = rmd_book_hour(c, l, cap, hour);
    int64_t hour_frees = rmd_account_hour_frees_ms(&c->ledger, l->account, hour);
    if (hour_frees > frees)
        frees = hour_frees;
    *out = (struct rmd_lane_view){
        .provider = c->o.provider[l->provider]->name,
        .state = l->state,
        .until_wall_ms = l->until_wall_ms,
        .cap = cap,
        .outstanding = l->account->outstanding,
        .used_24h = rmd_account_used(&c->ledger, l->account),
        .delivered = l->delivered,
        .deferred = l->deferred,
        .bounced = l->bounced,
        .blocked = l->blocked,
        .incident = l->incident,
        .cap_frees_ms = frees,
        .warmup = "",
    };
    rmd_book_view_lane(c, l, out);
    out->must_register = rmd_warm_must_register(c, l->source, l->provider, &out->registered);
    if (rmd_warm_is_cold(x))
        out->warmup = rmd_arena_printf(&c->view, "%sstage %u of %u", l->source->warm_waits ? "waits at " : "",
                                       x->w.stage + 1, x->scheme.caps->n);
    else if (x)
        out->warmup = "warm";
}

static void sites_view(struct rmd_coord *c, const struct rmd_source *s, struct rmd_source_view *out) {
    struct rmd_site_stop_view *site = rmd_arena_alloc(&c->view, (s->site_stops.n + 1) * sizeof *site);
    uint32_t it = 0;
    void *v;
    out->site = site;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v)) {
        const struct rmd_site_stop *x = v;
        site[out->n_sites++] = (struct rmd_site_stop_view){x->name, x->state, x->until_wall_ms, x->incident};
    }
}

void rmd_coord_sources(struct rmd_coord *c, void (*fn)(void *, const struct rmd_source_view *), void *ctx) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        rmd_arena_reset(&c->view);
        struct rmd_lane_view *lanes = rmd_arena_alloc(&c->view, (c->o.n_providers + 1) * sizeof *lanes);
        size_t n = 0;
        for (size_t i = 0; i < c->o.n_providers; i++) {
            if (s->lane[i])
                lane_view(c, s->lane[i], &lanes[n++]);
        }
        struct rmd_source_view view = {
            .record = s->rec,
            .node_name = s->node ? s->node->rec->name : "",
            .network = s->network,
            .node_connected = s->node && s->node->connected,
            .trouble = s->trouble && s->rec->state != RMD_SOURCE_RETIRED ? s->trouble : "",
            .state = s->all.state,
            .cap = rmd_source_cap(c, s),
            .lane_cap = s->rec->lane_cap_per_day ? s->rec->lane_cap_per_day : c->o.lane_cap_per_day,
            .outstanding = s->account->outstanding,
            .used_24h = rmd_account_used(&c->ledger, s->account),
            .delivered = s->delivered,
            .deferred = s->deferred,
            .bounced = s->bounced,
            .lane = lanes,
            .n_lanes = n,
        };
        rmd_book_view_source(c, s, &view);
        sites_view(c, s, &view);
        fn(ctx, &view);
    }
}

/* Its own, or that of one of its sources in service; in the view's arena. */
static const char *node_trouble(struct rmd_coord *c, const struct rmd_node *n) {
    const char *own = n->trouble && *n->trouble ? n->trouble : n->said ? n->said : "";
    uint32_t it = 0;
    void *v;
    while (!*own && n->connected && rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        if (s->node == n && s->trouble && s->rec->state != RMD_SOURCE_RETIRED)
            own = rmd_arena_printf(&c->view, "source %s: %s", s->rec->address, s->trouble);
    }
    return own;
}

void rmd_coord_nodes(struct rmd_coord *c, void (*fn)(void *, const struct rmd_node_view *), void *ctx) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        const struct rmd_node *n = v;
        rmd_arena_reset(&c->view);
        struct rmd_node_view view = {
            .record = n->rec,
            .connected = n->connected,
            .last_heard_ms_ago = n->heard_mono_ms ? c->now.mono_ms - n->heard_mono_ms : -1,
            .hostname = n->hostname ? n->hostname : "",
            .software = n->software ? n->software : "",
            .trouble = node_trouble(c, n),
            .leases = n->granted,
            .connections = n->connections,
            .connection_limit = n->connection_limit,
            .workers = n->workers,
            .waiting = n->waiting,
            .malformed_from = n->malformed,
            .malformed_at = n->malformed_there,
        };
        uint32_t jt = 0;
        void *w;
        while (rmd_map_next(&n->leases, &jt, NULL, &w)) {
            const struct rmd_lease *l = w;
            if (l->state == RMD_LEASE_GRANTED)
                view.messages_leased += l->left;
            else if (l->state == RMD_LEASE_DOUBT)
                view.in_doubt += l->left;
        }
        fn(ctx, &view);
    }
}

void rmd_coord_streams(struct rmd_coord *c, void (*fn)(void *, const Remuda__StreamRecord *), void *ctx) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->streams, &it, NULL, &v))
        fn(ctx, ((const struct rmd_stream *)v)->rec);
}

void rmd_coord_providers(struct rmd_coord *c, void (*fn)(void *, const char *name), void *ctx) {
    for (size_t i = 0; i < c->o.n_providers; i++)
        fn(ctx, c->o.provider[i]->name);
}

void rmd_coord_campaigns(struct rmd_coord *c, void (*fn)(void *, const struct rmd_campaign_view *), void *ctx) {
    rmd_list_for(it, &c->all_campaigns) {
        const struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, all);
        struct rmd_campaign_view view = {
            .record = k->rec,
            .leased = k->leased + k->in_doubt,
            .queued = k->queued + domain_free_sum(k),
            .deferred = k->deferred,
        };
        rmd_arena_reset(&c->view);
        rmd_release_view(c, k, &view);
        bool over = k->rec->finished_wall_ms || k->draining;
        const char *why = over ? NULL : rmd_release_why(c, k, &c->view);
        if (!why && !over && k->rec->state == RMD_CAMPAIGN_ACTIVE)
            why = rmd_content_stops(c, k, &c->view);
        view.waits_for = why ? why : "";
        fn(ctx, &view);
    }
}

/* The phase of its work, with what is left of it. */
static const char *moving_text(struct rmd_coord *c, const struct rmd_incident *i) {
    const Remuda__IncidentRecord *r = i->rec;
    char left[32];
    switch (r->moving) {
    case RMD_MOVING_CANARY:
        rmd_format_duration((rmd_moving_canary_left_ms(c, i) + 999) / 1000 * 1000, left);
        return rmd_arena_printf(&c->view, "canary: %llu of %llu recipients went to other lanes; they grow %s",
                                (unsigned long long)r->canary_used, (unsigned long long)rmd_moving_canary(c, i),
                                !r->canary_ledger_ms
                                    ? "when the canary was let go and nobody refused it"
                                    : rmd_arena_printf(&c->view, "in %s unless it is refused", left));
    case RMD_MOVING_GROWING:
        return "the growth limit of the lanes that take it, or their caps";
    case RMD_MOVING_ENDED:
        return rmd_why_ended;
    case RMD_MOVING_NEVER:
        return rmd_why_never;
    default:
        return "";
    }
}

/* There is work for it, and no pool has a source for that on another network. */
static bool nowhere_to_go(struct rmd_coord *c, const Remuda__IncidentRecord *r) {
    Remuda__DeferredRecord avoid = REMUDA__DEFERRED_RECORD__INIT;
    avoid.avoid_network_of = rmd_arena_alloc(&c->view, (r->n_member + 1) * sizeof *avoid.avoid_network_of);
    const struct rmd_source *from = rmd_source_find(c, r->source);
    avoid.avoid_network_of[avoid.n_avoid_network_of++] = r->source;
    for (size_t i = 0; i < r->n_member; i++)
        avoid.avoid_network_of[avoid.n_avoid_network_of++] = r->member[i]->source;
    bool any = false;
    rmd_list_for(it, &c->all_pqs) {
        struct rmd_pq *q = rmd_container(it, struct rmd_pq, all);
        bool waits =
            q->provider >= 0 && (q->queued || q->deferred) && (!r->provider || q->provider_id == r->provider);
        waits = waits && from && rmd_stream_uses(q->stream, from);
        if (waits && rmd_sched_elsewhere(c, q, &avoid))
            return false;
        any |= waits;
    }
    return any;
}

const char *rmd_coord_incident_waits_for(struct rmd_coord *c, const Remuda__IncidentRecord *r) {
    const struct rmd_incident *i = rmd_incident_find(c, r->id);
    bool open = i && !r->state && r->moving,
         on_its_way = r->moving == RMD_MOVING_CANARY || r->moving == RMD_MOVING_GROWING;
    if (open && on_its_way && r->waiting && nowhere_to_go(c, r))
        return rmd_why_nowhere;
    bool moves = open && !(c->o.without & RMD_WITHOUT_CANARY);
    return moves && (r->waiting || r->moving != RMD_MOVING_GROWING) ? moving_text(c, i) : "";
}

void rmd_coord_incident_member(struct rmd_coord *c, const Remuda__IncidentRecord *r, size_t i,
                               struct rmd_member_view *out) {
    const Remuda__IncidentMember *m = r->member[i];
    const struct rmd_source *s = rmd_source_find(c, m->source);
    ssize_t p = rmd_provider_index(c, r->provider);
    const struct rmd_site_stop *stop = s && r->site ? rmd_site_stop_find(s, r->site) : NULL;
    const struct rmd_lane *l = s && p >= 0 && !r->site ? s->lane[p] : NULL;
    *out = (struct rmd_member_view){.address = rmd_coord_source_address(c, m->source),
                                    .state = RMD_LANE_OPEN,
                                    .since_wall_ms = m->since_wall_ms,
                                    .over_wall_ms = m->over_wall_ms,
                                    .came_back = m->came_back};
    if (stop && stop->incident == r->id) {
        out->state = stop->state;
        out->until_wall_ms = stop->until_wall_ms;
    } else if (l && l->incident == r->id) {
        out->state = l->state;
        out->until_wall_ms = l->until_wall_ms;
    }
}

int64_t rmd_coord_incident_lapses(struct rmd_coord *c, uint64_t id) {
    int64_t last = 0;
    uint32_t it = 0;
    void *v;
    while (id && rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        for (size_t i = 0; i <= c->o.n_providers; i++) {
            const struct rmd_lane *l = i < c->o.n_providers ? s->lane[i] : &s->all;
            if (!l || l->incident != id || l->state == RMD_LANE_OPEN)
                continue;
            if (l->state == RMD_LANE_PROBING)
                continue;
            if (!l->until_wall_ms)
                return 0;
            last = l->until_wall_ms > last ? l->until_wall_ms : last;
        }
        uint32_t jt = 0;
        void *x;
        while (rmd_map_next(&s->site_stops, &jt, NULL, &x)) {
            const struct rmd_site_stop *stop = x;
            if (stop->incident != id || stop->state != RMD_LANE_QUARANTINED)
                continue;
            if (!stop->until_wall_ms)
                return 0;
            last = stop->until_wall_ms > last ? stop->until_wall_ms : last;
        }
    }
    return last ? last : rmd_sender_lapses(c, id);
}

void rmd_coord_incidents(struct rmd_coord *c, void (*fn)(void *, const Remuda__IncidentRecord *), void *ctx) {
    rmd_arena_reset(&c->view);
    rmd_list_for(it, &c->incidents) fn(ctx, rmd_container(it, struct rmd_incident, link)->rec);
}
