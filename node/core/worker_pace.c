/* How fast lanes and sites go: slowed by verdicts, coming back after rests and idleness, and told to the coordinator.
 *
 * What a big provider says of rate slows the lane; what one small receiver of "other" says, its site alone. The pacer has the arithmetic
 * (pacer.h); here is when it is used:
 *
 *   a verdict of rate         half the rate and the connections, held for the verdict's duration
 *   the same again, and nothing accepted since        a rest, longer each time; from the second on the hour's measure is known (pacer.h)
 *   connections               half of them; the rate stays
 *   messages a connection     as many as the receiver took, from then on
 *   a rest, a quarantine      half the rate; and when it lasted RMD_WORKER_REST_RETURN_MS, one connection and a part of the former pace
 *   idle for RMD_WORKER_IDLE_RETURN_MS                likewise
 *   success                   small steps up, of the lane and the site
 *   a lane that began a moment ago, with a lease that says how it went before the node restarted: goes on like that
 *
 * Telling: a lane that did something stands in `to_tell`; a timer packs those that differ from what was told last, RMD_WORKER_PACE_LANES at
 * most a message. A lost one is made up for by the next, or by the next session. */
#include "node/core/worker_internal.h"

static void slowed(struct rmd_worker *w, struct rmd_lane *lane) {
    if (!lane->slowed_ms)
        lane->slowed_ms = w->now.mono_ms ? w->now.mono_ms : 1;
    rmd_worker_pace_changed(w, lane, true);
}

static void name_site(const struct rmd_cause *c) {
    c->lane->slow_sites = true;
    if (!c->site->label && c->domain)
        c->site->label = rmd_strdup(c->domain);
}

/* Before it is slowed for it. */
static void refused(struct rmd_worker *w, const struct rmd_cause *c) {
    if (c->verdict->class == RMD_CLASS_RATE_LIMITED)
        rmd_pacer_refused(rmd_lane_is_other(c->lane) ? &c->site->pacer : &c->lane->pacer, w->now.mono_ms);
}

void rmd_worker_slow(struct rmd_worker *w, const struct rmd_cause *c) {
    int64_t now = w->now.mono_ms;
    if (w->o.without_pace)
        return;
    refused(w, c);
    if (rmd_lane_is_other(c->lane)) {
        rmd_pacer_slow(&c->site->pacer, now, c->verdict->duration_ms);
        rmd_width_slow(&c->site->width, c->site->conns ? c->site->conns : 1);
        name_site(c);
        rmd_worker_pace_changed(w, c->lane, true);
    } else {
        rmd_pacer_slow(&c->lane->pacer, now, c->verdict->duration_ms);
        rmd_width_slow(&c->lane->width, c->lane->conns ? c->lane->conns : 1);
        slowed(w, c->lane);
    }
}

void rmd_worker_narrow(struct rmd_worker *w, const struct rmd_cause *c) {
    bool of_site = rmd_lane_is_other(c->lane);
    uint32_t conns = of_site ? c->site->conns : c->lane->conns;
    if (w->o.without_pace)
        return;
    rmd_width_narrow(of_site ? &c->site->width : &c->lane->width, conns ? conns : 1, w->now.mono_ms);
    if (of_site) {
        name_site(c);
        rmd_worker_pace_changed(w, c->lane, true);
    } else {
        slowed(w, c->lane);
    }
}

void rmd_worker_shorten(struct rmd_worker *w, const struct rmd_cause *c) {
    uint32_t *most = rmd_lane_is_other(c->lane) ? &c->site->messages_a_connection : &c->lane->messages_a_connection;
    if (!w->o.without_pace && c->taken && (!*most || c->taken < *most))
        *most = c->taken;
}

bool rmd_worker_unheard(const struct rmd_worker *w, const struct rmd_cause *c) {
    const struct rmd_pacer *p = rmd_lane_is_other(c->lane) ? &c->site->pacer : &c->lane->pacer;
    return !w->o.without_pace && rmd_pacer_unheard(p, w->now.mono_ms);
}

int64_t rmd_worker_rest_ms(struct rmd_worker *w, const struct rmd_cause *c) {
    struct rmd_pacer *p = rmd_lane_is_other(c->lane) ? &c->site->pacer : &c->lane->pacer;
    int64_t ms = c->verdict->duration_ms ? c->verdict->duration_ms : RMD_WORKER_REST_DEFAULT_MS;
    return w->o.without_pace ? ms : rmd_pacer_rest_ms(p, w->now.mono_ms, ms);
}

void rmd_worker_rested(struct rmd_worker *w, const struct rmd_cause *c, bool of_site) {
    if (w->o.without_pace)
        return;
    refused(w, c);
    rmd_pacer_slow(of_site ? &c->site->pacer : &c->lane->pacer, w->now.mono_ms, c->verdict->duration_ms);
    if (of_site) {
        rmd_width_return(&c->site->width);
        name_site(c);
        rmd_worker_pace_changed(w, c->lane, true);
    } else {
        slowed(w, c->lane);
    }
}

void rmd_worker_comes_back(struct rmd_worker *w, struct rmd_wsite *site) {
    struct rmd_lane *lane = site->lane;
    int64_t away = w->now.mono_ms - lane->pacer.last_ms;
    if (lane->stopped && away < RMD_WORKER_REST_RETURN_MS)
        lane->stopped = false; /* it was short */
    if (!lane->pacer.last_ms || away < (lane->stopped ? RMD_WORKER_REST_RETURN_MS : RMD_WORKER_IDLE_RETURN_MS) ||
        w->o.without_pace)
        return;
    lane->stopped = false;
    lane->pacer.last_ms = w->now.mono_ms; /* once */
    rmd_pacer_return(&lane->pacer, w->now.mono_ms);
    rmd_width_return(&lane->width);
    slowed(w, lane);
}

void rmd_worker_success(struct rmd_worker *w, struct rmd_wsite *site) {
    struct rmd_lane *lane = site->lane;
    rmd_pacer_success(&site->pacer, w->now.mono_ms);
    rmd_pacer_success(&lane->pacer, w->now.mono_ms);
    rmd_width_success(&site->width, rmd_site_limit(site));
    rmd_width_success(&lane->width, rmd_lane_limit(lane));
    if (lane->slowed_ms && !lane->pacer.slowed && !lane->width.cap)
        lane->slowed_ms = 0;
}

void rmd_worker_tried(struct rmd_worker *w, struct rmd_lane *lane, bool held) {
    lane->tried++;
    lane->held += held;
    rmd_worker_pace_changed(w, lane, held);
}

/* What its lane was slowed to when the coordinator last heard of it: this process knows nothing of that. */
void rmd_worker_pace_given(struct rmd_worker *w, struct rmd_lane *lane, const Remuda__LeaseShare *share) {
    bool fresh = w->now.mono_ms - lane->began_ms < RMD_WORKER_FRESH_MS && !lane->slowed_ms;
    if (!fresh || !(share->pace_per_minute || share->pace_connections || share->pace_per_hour) || w->o.without_pace)
        return;
    rmd_pacer_resume_hour(&lane->pacer, w->now.mono_ms, share->pace_per_hour);
    rmd_pacer_resume(&lane->pacer, share->pace_per_minute);
    if (share->pace_connections && share->pace_connections < rmd_lane_limit(lane))
        lane->width = (struct rmd_width){.cap = share->pace_connections};
    if (lane->pacer.slowed || lane->width.cap)
        slowed(w, lane);
}

/* ---------------------------------------------------------------- told */

void rmd_worker_pace_changed(struct rmd_worker *w, struct rmd_lane *lane, bool soon) {
    if (rmd_list_linked(&lane->told_link) && !soon)
        return;
    if (!rmd_list_linked(&lane->told_link))
        rmd_list_push(&w->to_tell, &lane->told_link);
    int64_t due = w->now.mono_ms + (soon ? RMD_WORKER_PACE_SOON_MS : RMD_WORKER_PACE_TELL_MS);
    if (!w->pace_timer.heap.pos || w->pace_timer.heap.key > due)
        rmd_worker_arm(w, &w->pace_timer, due);
}

void rmd_worker_pace_again(struct rmd_worker *w) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lanes, &it, NULL, &v)) {
        struct rmd_lane *lane = v;
        lane->told = 0;
        if (lane->pacer.last_ms || lane->slowed_ms)
            rmd_worker_pace_changed(w, lane, false);
    }
}

static uint32_t rate_of(const struct rmd_wsite *site) {
    uint32_t rate = rmd_pacer_rate(&site->pacer);
    return rate ? rate : UINT32_MAX;
}

static void add_sites(struct rmd_worker *w, struct rmd_lane *lane, Remuda__LanePace *p) {
    const struct rmd_wsite *slowest[RMD_WORKER_PACE_SITES + 1];
    size_t n = 0;
    uint32_t it = 0;
    void *v;
    lane->slow_sites = false;
    while (rmd_map_next(&lane->sites, &it, NULL, &v)) {
        const struct rmd_wsite *site = v;
        if (!site->label || (!site->pacer.slowed && !site->width.cap))
            continue;
        lane->slow_sites = true;
        size_t i = n < RMD_WORKER_PACE_SITES ? n++ : n;
        for (; i > 0 && rate_of(site) < rate_of(slowest[i - 1]); i--)
            slowest[i] = slowest[i - 1];
        slowest[i] = site;
    }
    p->site = rmd_arena_alloc(&w->out->arena, (n + 1) * sizeof *p->site);
    for (size_t i = 0; i < n; i++) {
        Remuda__SitePace *s = p->site[p->n_site++] = rmd_arena_alloc(&w->out->arena, sizeof *s);
        remuda__site_pace__init(s);
        s->domain = rmd_arena_str(&w->out->arena, rmd_slice_str(slowest[i]->label));
        s->per_minute = rmd_pacer_rate(&slowest[i]->pacer);
        s->connections = rmd_width_limit(&slowest[i]->width, rmd_site_limit(slowest[i]));
    }
}

static Remuda__LanePace *pace_of(struct rmd_worker *w, struct rmd_lane *lane) {
    int64_t now = w->now.mono_ms;
    Remuda__LanePace *p = rmd_arena_alloc(&w->out->arena, sizeof *p);
    remuda__lane_pace__init(p);
    if (now - lane->late_ms >= RMD_WORKER_LATE_MS) {
        lane->late_ms = now;
        lane->tried /= 2;
        lane->held /= 2;
    }
    p->source = lane->source->id;
    p->provider = lane->provider;
    p->per_minute = rmd_pacer_rate(&lane->pacer);
    p->per_hour = rmd_pacer_hour(&lane->pacer, now);
    p->connections = rmd_width_limit(&lane->width, rmd_lane_limit(lane));
    p->narrowed = lane->width.cap;
    p->in_use = lane->conns - lane->quitting;
    p->slowed = lane->pacer.slowed || lane->width.cap;
    p->slowed_ms = p->slowed && lane->slowed_ms ? now - lane->slowed_ms : 0;
    p->rest_ms = lane->stop.until_ms > now ? lane->stop.until_ms - now : 0;
    p->tried = lane->tried;
    p->deferred_permille = lane->tried ? (uint32_t)((uint64_t)lane->held * 1000 / lane->tried) : 0;
    p->fresh = now - lane->began_ms < RMD_WORKER_FRESH_MS;
    p->connects_per_minute = rmd_pacer_rate(&lane->connects);
    p->connects_bind = lane->connect_due_ms && now - lane->connect_due_ms < RMD_WORKER_CONNECTS_MS;
    if (lane->slow_sites)
        add_sites(w, lane, p);
    return p;
}

/* Of what matters: a minute more of the same slowness is no news. */
static uint64_t digest(const struct rmd_lane *lane, const Remuda__LanePace *p) {
    uint64_t h = rmd_mix64((uint64_t)p->per_minute << 32 | p->connections);
    h = rmd_mix64(h ^ ((uint64_t)p->in_use << 32 | p->narrowed) ^ (uint64_t)lane->stop.until_ms << 16);
    h = rmd_mix64(h ^ ((uint64_t)(p->tried / 64) << 32 | p->deferred_permille / 16));
    h = rmd_mix64(h ^ ((uint64_t)p->connects_per_minute << 1 | p->connects_bind));
    h = rmd_mix64(h ^ p->per_hour);
    for (size_t i = 0; i < p->n_site; i++)
        h = rmd_mix64(h ^ p->site[i]->per_minute);
    return h ? h : 1;
}

void rmd_worker_pace_timer(struct rmd_worker *w) {
    struct rmd_arena *a = &w->out->arena;
    Remuda__Pace pace = REMUDA__PACE__INIT;
    pace.lane = rmd_arena_alloc(a, RMD_WORKER_PACE_LANES * sizeof *pace.lane);
    struct rmd_list waiting;
    rmd_list_init(&waiting);
    while (!rmd_list_empty(&w->to_tell) && pace.n_lane < RMD_WORKER_PACE_LANES) {
        struct rmd_lane *lane = rmd_container(w->to_tell.next, struct rmd_lane, told_link);
        rmd_list_remove(&lane->told_link);
        Remuda__LanePace *p = pace_of(w, lane);
        if (p->connects_bind) /* that it does no more is told, too */
            rmd_list_push(&waiting, &lane->told_link);
        uint64_t h = digest(lane, p);
        if (h == lane->told)
            continue;
        lane->told = h;
        pace.lane[pace.n_lane++] = p;
    }
    if (!rmd_list_empty(&w->to_tell))
        rmd_worker_arm(w, &w->pace_timer, w->now.mono_ms + RMD_WORKER_PACE_SOON_MS);
    while (!rmd_list_empty(&waiting)) {
        struct rmd_lane *lane = rmd_container(waiting.next, struct rmd_lane, told_link);
        rmd_list_remove(&lane->told_link);
        rmd_worker_pace_changed(w, lane, false);
    }
    if (!pace.n_lane)
        return;
    size_t n = protobuf_c_message_get_packed_size(&pace.base);
    uint8_t *bytes = rmd_arena_alloc(a, n);
    protobuf_c_message_pack(&pace.base, bytes);
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_MAIL);
    f->mail.kind = RMD_MAIL_PACE;
    f->mail.bytes = rmd_slice(bytes, n);
}
