/* Moving: what may go from stopped lanes to others, and how fast (see moving.h). */
#include "coordinator/core/core.h"

const char rmd_why_canary[] = "canary: of moved work only a small part goes on at first",
           rmd_why_growth[] = "growth limit: a lane takes moved work step by step",
           rmd_why_ended[] = "moved work was refused on another network, too: the rest waits for a person",
           rmd_why_next_door[] = "moved work goes to other networks first: this lane goes on with what it sent",
           rmd_why_never[] = "this cause never moves work to another source",
           rmd_why_nowhere[] =
               "the pool has no source in service on another network: add one, or resolve this incident";

static uint64_t add(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static bool is_stopped(const struct rmd_lane *l) {
    return l->state == RMD_LANE_QUARANTINED || l->state == RMD_LANE_PROBING;
}

/* ---------------------------------------------------------------- phases */

/* What holds for this queue. */
static enum rmd_moving_phase phase(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_incident *i) {
    enum rmd_moving_phase p = (enum rmd_moving_phase)i->rec->moving;
    if (c->o.without & RMD_WITHOUT_MOVING)
        return RMD_MOVING_ENDED;
    if (p == RMD_MOVING_ENDED || p == RMD_MOVING_NEVER)
        return p;
    bool canary = p == RMD_MOVING_CANARY && c->o.failover.canary_ms && !(c->o.without & RMD_WITHOUT_CANARY) &&
                  q->stream->rec->priority > 0;
    return canary ? RMD_MOVING_CANARY : RMD_MOVING_GROWING;
}

uint64_t rmd_moving_canary(const struct rmd_coord *c, const struct rmd_incident *i) {
    uint64_t part = i->rec->moved_work / 100 * c->o.failover.canary_percent +
                    i->rec->moved_work % 100 * c->o.failover.canary_percent / 100;
    return part > c->o.failover.canary_floor ? part : c->o.failover.canary_floor;
}

int64_t rmd_moving_canary_left_ms(const struct rmd_coord *c, const struct rmd_incident *i) {
    if (!i->rec->canary_ledger_ms)
        return c->o.failover.canary_ms;
    int64_t left = i->rec->canary_ledger_ms + c->o.failover.canary_ms - c->ledger.now_ms;
    return left > 0 ? left : 0;
}

static void canary_used(struct rmd_coord *c, struct rmd_incident *i, uint64_t n) {
    Remuda__IncidentRecord *r = i->rec;
    if (!n)
        return;
    if (!r->canary_ledger_ms) {
        char ms[32];
        rmd_format_duration(c->o.failover.canary_ms, ms);
        r->canary_ledger_ms = rmd_moving_now(c);
        rmd_incident_line(c, i, "incident.canary", "canary began: for %s at most %llu recipients go to other lanes",
                          ms, (unsigned long long)rmd_moving_canary(c, i));
        rmd_core_wake(c, c->now.mono_ms + c->o.failover.canary_ms);
    }
    r->canary_used += n;
    i->dirty = true;
}

/* ---------------------------------------------------------------- a stop */

/* What the queue would have given to this lane within the canary's time. */
static uint64_t share_of_queue(struct rmd_coord *c, const struct rmd_source *s, const struct rmd_lane *l) {
    uint64_t queued = 0, an_hour = 0;
    rmd_list_for(it, &c->all_pqs) {
        const struct rmd_pq *q = rmd_container(it, struct rmd_pq, all);
        bool here = q->provider >= 0 && (l == &s->all || (size_t)q->provider == l->provider);
        if (here && rmd_stream_uses(q->stream, s))
            queued += q->queued;
    }
    for (size_t p = 0; p < c->o.n_providers; p++) {
        const struct rmd_lane *x = s->lane[p];
        if (!x || (l != &s->all && l != x))
            continue;
        uint64_t peak = rmd_peak_of(c, x), rate = rmd_lane_rate(c, x, c->ledger.now_ms);
        an_hour += peak > rate ? peak : rate;
    }
    uint64_t share = an_hour / 60 * (uint64_t)(c->o.failover.canary_ms / 1000) / 60;
    return share < queued ? share : queued;
}

/* A lane that holds work sends it, though it may be too early for the ledger to know. */
static uint64_t own_rate(const struct rmd_coord *c, const struct rmd_lane *l) {
    uint64_t rate = rmd_lane_rate(c, l, c->ledger.now_ms);
    return rate + l->account->outstanding * (RMD_LEDGER_HOUR_MS / RMD_LEDGER_BUCKET_MS / 2);
}

/* What each other lane sends is its own, and goes on. */
static void note_own(struct rmd_coord *c, const struct rmd_source *s, const struct rmd_lane *l) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *x = v;
        for (size_t p = 0; p < c->o.n_providers && x != s; p++) {
            struct rmd_lane *y = x->lane[p];
            bool here = y && (l == &s->all || p == l->provider);
            if (here && (!y->own.ledger_ms || y->own.ledger_ms + c->o.failover.canary_ms < c->ledger.now_ms))
                y->own = (struct rmd_own){rmd_moving_now(c), own_rate(c, y), 0};
        }
    }
}

/* A single site's recipients are few: what came back of them is what the canary's part is taken of. */
void rmd_moving_begin_site(struct rmd_coord *c, struct rmd_incident *i, bool move) {
    Remuda__IncidentRecord *r = i->rec;
    if (r->moving == RMD_MOVING_NONE)
        r->moving = move ? RMD_MOVING_CANARY : RMD_MOVING_NEVER;
    else if (!move) /* what it is refused for now is no reason to go on elsewhere */
        r->moving = RMD_MOVING_NEVER;
    if (!r->stop_ledger_ms)
        r->stop_ledger_ms = rmd_moving_now(c);
    i->dirty = true;
}

void rmd_moving_begin(struct rmd_coord *c, struct rmd_incident *i, struct rmd_source *s, struct rmd_lane *l,
                      bool move) {
    Remuda__IncidentRecord *r = i->rec;
    rmd_moving_begin_site(c, i, move);
    r->moved_work = add(r->moved_work, share_of_queue(c, s, l));
    note_own(c, s, l);
    i->dirty = true;
}

/* ---------------------------------------------------------------- its end */

static bool went_to(const struct rmd_incident *i, const char *address) {
    for (size_t k = 0; k < i->rec->n_moved_to; k++)
        if (strcmp(i->rec->moved_to[k], address) == 0)
            return true;
    return false;
}

static bool is_refused(const struct rmd_incident *i, const struct rmd_source *s) {
    const Remuda__IncidentMember *m = rmd_incident_member(i, s);
    return m ? !m->over_wall_ms : rmd_incident_is_about(i, s);
}

void rmd_moving_ended(struct rmd_coord *c, struct rmd_incident *i, const char *why) {
    if (i->rec->moving == RMD_MOVING_ENDED || i->rec->moving == RMD_MOVING_NEVER)
        return;
    i->rec->moving = RMD_MOVING_ENDED;
    rmd_incident_line(c, i, "incident.moving_ended", "%s", why);
    rmd_core_warn(c, "incident %llu: %s", (unsigned long long)i->rec->id, why);
}

bool rmd_moving_refused(struct rmd_coord *c, const struct rmd_source *s, uint32_t provider, uint64_t site, bool alone,
                        uint32_t class) {
    bool any = false;
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        const Remuda__IncidentRecord *r = i->rec;
        if (r->moving != RMD_MOVING_CANARY || !r->canary_ledger_ms || is_refused(i, s) || r->class_ != class ||
            (r->provider && r->provider != provider) || (r->site && r->site != site) || !went_to(i, s->rec->address))
            continue;
        any = true;
        if (alone && r->site != site) /* the work for everybody else goes on */
            continue;
        rmd_moving_ended(
            c, i,
            rmd_arena_printf(&c->scratch,
                             "moving has ended: %s, which took moved work, was refused in the same way at %s "
                             "during the canary; the rest waits for a person or the return",
                             s->rec->address, rmd_provider_name(c, provider)));
    }
    return any;
}

/* ---------------------------------------------------------------- room */

static uint64_t own_room(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_incident *i) {
    struct rmd_own *o = &l->own;
    if (!o->ledger_ms) { /* a restart: what the ledger tells; the stop's own bucket may hold moved work */
        int64_t at = i->rec->stop_ledger_ms ? i->rec->stop_ledger_ms : c->ledger.now_ms;
        *o = (struct rmd_own){at, rmd_lane_rate(c, l, at - RMD_LEDGER_BUCKET_MS), l->account->outstanding};
        o->taken += rmd_account_between(l->account, at, INT64_MAX);
    }
    int64_t ms = c->ledger.now_ms - o->ledger_ms + RMD_OWN_SLACK_MS;
    ms = ms < RMD_LEDGER_WINDOW_MS * (int64_t)RMD_PEAK_DAYS ? ms : RMD_LEDGER_WINDOW_MS * (int64_t)RMD_PEAK_DAYS;
    uint64_t given = o->per_hour * (uint64_t)(ms / 1000) / 3600;
    return given > o->taken ? given - o->taken : 0;
}

static uint64_t growth_room(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_incident *i) {
    uint64_t peak = rmd_peak_of(c, l);
    peak = l->own.per_hour > peak ? l->own.per_hour : peak;
    uint64_t limit = rmd_growth_of(c, peak, rmd_moving_canary(c, i));
    return limit == UINT64_MAX ? limit : rmd_account_hour_available(&c->ledger, l->account, limit);
}

/* Some warm lane of the pool on another network is in service. */
static bool warm_elsewhere(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_incident *i) {
    const struct rmd_source *from = rmd_source_find(c, i->rec->source);
    rmd_sched_candidates(c, q);
    for (size_t k = 0; k < q->n_candidates; k++) {
        const struct rmd_lane *l = q->candidate[k];
        if (!rmd_warm_is_cold(l->warm) && rmd_sched_standing(l->source, l) && (!from || from->net != l->source->net))
            return true;
    }
    return false;
}

static uint64_t phase_room(struct rmd_coord *c, const struct rmd_pq *q, struct rmd_lane *l,
                           const struct rmd_incident *i, enum rmd_moving_phase p) {
    uint64_t part = rmd_moving_canary(c, i);
    (void)q;
    if (p == RMD_MOVING_CANARY)
        return part > i->rec->canary_used ? part - i->rec->canary_used : 0;
    if (p == RMD_MOVING_GROWING)
        return rmd_warm_is_cold(l->warm) ? UINT64_MAX : growth_room(c, l, i);
    return 0;
}

uint64_t rmd_moving_room(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, struct rmd_incident *i) {
    if (!i)
        return UINT64_MAX;
    uint64_t r = phase_room(c, q, l, i, phase(c, q, i));
    return r && rmd_warm_is_cold(l->warm) && warm_elsewhere(c, q, i) ? 0 : r;
}

/* On the stopped source's own network, while the pool has a warm lane on another one. */
static bool next_door(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_lane *l, const struct rmd_incident *i,
                      enum rmd_moving_phase p) {
    const struct rmd_source *from = rmd_source_find(c, i->rec->source);
    return (p == RMD_MOVING_CANARY || p == RMD_MOVING_GROWING) && from && from->net == l->source->net &&
           !(c->o.without & RMD_WITHOUT_NETWORKS) && warm_elsewhere(c, q, i);
}

/* What it sent before: then, or in its busiest hour of late. */
static uint64_t usual_room(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_incident *i) {
    uint64_t own = own_room(c, l, i), peak = rmd_peak_of(c, l),
             hour = peak ? rmd_account_hour_available(&c->ledger, l->account, peak) : 0;
    return own > hour ? own : hour;
}

uint64_t rmd_moving_flow(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m) {
    uint64_t room = UINT64_MAX;
    for (size_t k = 0; k < m->n; k++) {
        enum rmd_moving_phase p = phase(c, q, m->v[k]);
        if (next_door(c, q, l, m->v[k], p)) {
            uint64_t r = usual_room(c, l, m->v[k]);
            room = r < room ? r : room;
            continue;
        }
        if (p == RMD_MOVING_NEVER) /* nothing that it had; what it never had is new */
            p = RMD_MOVING_GROWING;
        uint64_t r = phase_room(c, q, l, m->v[k], p);
        if (p != RMD_MOVING_GROWING)
            r = add(r, own_room(c, l, m->v[k]));
        room = r < room ? r : room;
    }
    if (!room) /* its own share comes back by and by */
        rmd_core_wake(c, c->now.mono_ms + RMD_OWN_WAKE_MS);
    return room;
}

void rmd_moving_took(struct rmd_coord *c, struct rmd_pq *q, struct rmd_incident *i, uint32_t n) {
    if (i && phase(c, q, i) == RMD_MOVING_CANARY)
        canary_used(c, i, n);
}

void rmd_moving_flowed(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m,
                       uint32_t n) {
    for (size_t k = 0; k < m->n; k++) {
        enum rmd_moving_phase p = phase(c, q, m->v[k]);
        if (p != RMD_MOVING_CANARY || next_door(c, q, l, m->v[k], p))
            continue;
        uint64_t own = own_room(c, l, m->v[k]), over = n > own ? n - own : 0;
        canary_used(c, m->v[k], over);
        if (over)
            rmd_incident_flowed(c, m->v[k], l->source, (uint32_t)over);
    }
    if (m->n)
        l->own.taken += n;
}

/* ---------------------------------------------------------------- which incidents */

void rmd_moving_stops(const struct rmd_coord *c, struct rmd_pq *q, struct rmd_moving_stops *out) {
    size_t n = rmd_look_stopped(c, q);
    out->n = 0;
    for (size_t i = 0; i < n && out->n < RMD_MOVING_STOPS; i++)
        if (is_stopped(q->look.stopped[i]) || is_stopped(&q->look.stopped[i]->source->all))
            out->lane[out->n++] = q->look.stopped[i];
}

static void bind(struct rmd_coord *c, const struct rmd_lane *l, struct rmd_moving *m) {
    const struct rmd_lane *stopped = is_stopped(&l->source->all) ? &l->source->all : l;
    struct rmd_incident *i = rmd_incident_find(c, stopped->incident);
    for (size_t k = 0; k < m->n; k++)
        if (m->v[k] == i)
            return;
    if (i && m->n < RMD_MOVING_BINDS)
        m->v[m->n++] = i;
}

void rmd_moving_bind(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_moving_stops *s,
                     const struct rmd_lane *l, struct rmd_moving *m) {
    m->n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->lane[i] != l && rmd_sched_preceded(c, q, s->lane[i], l))
            bind(c, s->lane[i], m);
}

const char *rmd_moving_phase_why(struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_incident *i) {
    switch (phase(c, q, i)) {
    case RMD_MOVING_CANARY:
        return rmd_why_canary;
    case RMD_MOVING_ENDED:
        return rmd_why_ended;
    case RMD_MOVING_NEVER:
        return rmd_why_never;
    default:
        return rmd_why_growth;
    }
}

/* Of those that bind the lane, one that has no room. */
static struct rmd_incident *tightest(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l,
                                     const struct rmd_moving *m) {
    for (size_t k = 0; k < m->n; k++) {
        const struct rmd_moving one = {.v = {m->v[k]}, .n = 1};
        if (!rmd_moving_flow(c, q, l, &one))
            return m->v[k];
    }
    return m->v[0];
}

const char *rmd_moving_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const struct rmd_moving *m,
                           struct rmd_incident **by) {
    *by = NULL;
    if (m->n && !rmd_moving_flow(c, q, l, m)) {
        *by = tightest(c, q, l, m);
        return next_door(c, q, l, *by, phase(c, q, *by)) ? rmd_why_next_door : rmd_moving_phase_why(c, q, *by);
    }
    rmd_list_for(it, &q->cqs) { /* all that is loaded came back from stopped lanes? */
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        rmd_list_for(jt, &x->entries) {
            const struct rmd_entry *e = rmd_container(jt, struct rmd_entry, in_cq);
            struct rmd_incident *i = e->incident ? rmd_incident_find(c, e->incident) : NULL;
            if (!i || i->rec->state || rmd_moving_room(c, q, l, i)) {
                *by = NULL;
                return NULL;
            }
            *by = *by ? *by : i;
        }
    }
    return *by ? rmd_moving_phase_why(c, q, *by) : NULL;
}

/* ---------------------------------------------------------------- time */

void rmd_moving_tick(struct rmd_coord *c) {
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (i->rec->moving != RMD_MOVING_CANARY || !i->rec->canary_ledger_ms)
            continue;
        int64_t left = rmd_moving_canary_left_ms(c, i);
        if (left) {
            rmd_core_wake(c, c->now.mono_ms + left);
            continue;
        }
        i->rec->moving = RMD_MOVING_GROWING;
        rmd_incident_line(
            c, i, "incident.growing",
            "canary ended: %llu recipients went to other lanes, and none of these was refused in the same "
            "way; each grows by its recent peak from now on",
            (unsigned long long)i->rec->canary_used);
    }
}
