/* Returning: a stopped lane comes back by single recipients, and grows anew (see moving.h). */
#include "coordinator/core/core.h"

const char rmd_why_probing[] = "probing: one recipient at a time until " RMD_PROBES_TEXT " were accepted",
           rmd_why_ramp[] = "growth limit: it comes back step by step";

static const char *at(struct rmd_coord *c, const struct rmd_source *s, const struct rmd_lane *l) {
    return l == &s->all ? "every provider" : c->o.provider[l->provider]->name;
}

static void tell(struct rmd_coord *c, const char *type, const struct rmd_source *s, const struct rmd_lane *l,
                 uint64_t incident, const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->source = s->rec->id;
    e->provider = l == &s->all ? 0 : c->o.provider[l->provider]->id;
    e->incident = incident;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%s at %s %s", s->rec->address, at(c, s, l), text);
}

/* ---------------------------------------------------------------- stopped */

static void note_peak(const struct rmd_coord *c, struct rmd_lane *l) {
    uint64_t peak = rmd_peak_of(c, l), rate = rmd_lane_rate(c, l, c->ledger.now_ms);
    peak = rate > peak ? rate : peak;
    if (!l->back.ramp_to || peak > l->back.ramp_to)
        l->back.ramp_to = peak ? peak : 1;
    l->back.ramp_ledger_ms = 0;
    if (l->state < RMD_LANE_QUARANTINED && l->source->all.state < RMD_LANE_QUARANTINED)
        l->back.rank = rmd_book_rank(c, l);
}

void rmd_returning_stopped(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l) {
    l->back.accepted = 0;
    if (l != &s->all)
        note_peak(c, l);
    for (size_t p = 0; p < c->o.n_providers && l == &s->all; p++)
        if (s->lane[p])
            note_peak(c, s->lane[p]);
}

int64_t rmd_returning_longer_ms(int64_t stopped_ms, int64_t ms) {
    int64_t again = stopped_ms ? 2 * stopped_ms : RMD_QUARANTINE_AGAIN_MIN_MS;
    again = again < RMD_QUARANTINE_AGAIN_MAX_MS ? again : RMD_QUARANTINE_AGAIN_MAX_MS;
    return ms > again ? ms : again;
}

int64_t rmd_returning_again_ms(const struct rmd_lane *l, int64_t ms) {
    return l->state != RMD_LANE_PROBING ? ms : rmd_returning_longer_ms(l->back.stopped_ms, ms);
}

/* ---------------------------------------------------------------- coming back */

bool rmd_returning_rests_on(const struct rmd_coord *c, uint64_t incident) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        bool any = s->all.incident == incident && s->all.state != RMD_LANE_OPEN;
        for (size_t p = 0; p < c->o.n_providers && !any; p++)
            any = s->lane[p] && s->lane[p]->incident == incident && s->lane[p]->state != RMD_LANE_OPEN;
        if (any)
            return true;
    }
    return false;
}

static void ramp(struct rmd_coord *c, struct rmd_lane *l) {
    l->back.ramp_ledger_ms = rmd_moving_now(c);
    l->own = (struct rmd_own){0};
    rmd_peak_forget(c, l);
}

static void reopen(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l, const char *why) {
    struct rmd_incident *i = rmd_incident_find(c, l->incident);
    bool gently = c->o.failover.growth_percent && !(c->o.without & RMD_WITHOUT_PROBING);
    rmd_lane_set(c, s, l, RMD_LANE_OPEN, 0, 0);
    l->back.accepted = 0;
    l->back.stopped_ms = 0;
    if (gently && l != &s->all)
        ramp(c, l);
    for (size_t p = 0; p < c->o.n_providers && gently && l == &s->all; p++)
        if (s->lane[p] && s->lane[p]->state == RMD_LANE_OPEN)
            ramp(c, s->lane[p]);
    tell(c, "source.opened", s, l, i ? i->rec->id : 0, rmd_arena_printf(&c->scratch, "is open again: %s", why));
    if (!i)
        return;
    rmd_incident_line(c, i, NULL, "%s at %s is open again: %s", s->rec->address, at(c, s, l), why);
    rmd_incident_leave(c, i, s);
    if (!rmd_returning_rests_on(c, i->rec->id))
        rmd_incident_resolve(c, i, why);
}

void rmd_returning_begin(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l, const char *why) {
    if (l->state == RMD_LANE_RESTING || (l->state == RMD_LANE_QUARANTINED && c->o.without & RMD_WITHOUT_PROBING)) {
        reopen(c, s, l, why);
        return;
    }
    if (l->state != RMD_LANE_QUARANTINED)
        return;
    struct rmd_incident *i = rmd_incident_find(c, l->incident);
    rmd_lane_set(c, s, l, RMD_LANE_PROBING, 0, l->incident);
    l->back.accepted = 0;
    tell(c, "source.probing", s, l, l->incident,
         rmd_arena_printf(&c->scratch, "is probed: %s; one recipient at a time, open when %s were accepted in a row",
                          why, RMD_PROBES_TEXT));
    if (i)
        rmd_incident_line(c, i, NULL, "%s at %s is probed with single recipients: %s", s->rec->address, at(c, s, l),
                          why);
}

bool rmd_returning_all(struct rmd_coord *c, uint64_t incident, const char *why) {
    uint32_t it = 0;
    void *v;
    bool any = rmd_site_stops_return(c, incident, why);
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        for (size_t p = 0; p <= c->o.n_providers; p++) {
            struct rmd_lane *l = p < c->o.n_providers ? s->lane[p] : &s->all;
            if (!l || l->incident != incident || l->state == RMD_LANE_OPEN)
                continue;
            rmd_returning_begin(c, s, l, why);
            any = true;
        }
    }
    return any;
}

/* ---------------------------------------------------------------- probing */

bool rmd_returning_probes(const struct rmd_source *s, const struct rmd_lane *l) {
    return s->all.state == RMD_LANE_PROBING || (l && l->state == RMD_LANE_PROBING);
}

static bool under_way(const struct rmd_coord *c, const struct rmd_source *s, const struct rmd_lane *l) {
    if (l->leases || l->in_doubt)
        return true;
    for (size_t p = 0; p < c->o.n_providers && s->all.state == RMD_LANE_PROBING; p++)
        if (s->lane[p] && (s->lane[p]->leases || s->lane[p]->in_doubt))
            return true;
    return false;
}

static bool ramps(const struct rmd_lane *l) {
    return l->back.ramp_to && l->back.ramp_ledger_ms && l->state == RMD_LANE_OPEN;
}

static uint64_t ramp_limit(const struct rmd_coord *c, const struct rmd_lane *l) {
    return rmd_growth_of(c, rmd_peak_of(c, l), l->back.ramp_to * c->o.failover.canary_percent / 100);
}

uint64_t rmd_returning_room(struct rmd_coord *c, struct rmd_lane *l) {
    return rmd_returning_probes(l->source, l) ? !under_way(c, l->source, l) : UINT64_MAX;
}

uint64_t rmd_returning_ramp(struct rmd_coord *c, struct rmd_lane *l) {
    if (!ramps(l))
        return UINT64_MAX;
    uint64_t limit = ramp_limit(c, l);
    return limit == UINT64_MAX ? limit : rmd_account_hour_available(&c->ledger, l->account, limit);
}

const char *rmd_returning_why(struct rmd_coord *c, struct rmd_lane *l) {
    return rmd_returning_room(c, l) ? NULL : rmd_why_probing;
}

static void probed(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l, bool accepted) {
    if (l->state != RMD_LANE_PROBING)
        return;
    l->back.accepted = accepted ? l->back.accepted + 1 : 0;
    s->dirty = c->sources_dirty = true;
    if (l->back.accepted >= RMD_PROBES)
        reopen(c, s, l, "single recipients were accepted again");
}

void rmd_returning_outcome(struct rmd_coord *c, const struct rmd_lease *x, uint32_t kind, unsigned scope,
                           uint32_t class) {
    unsigned ours = RMD_SCOPE_SOURCE | RMD_SCOPE_LANE | RMD_SCOPE_NETWORK | RMD_SCOPE_NODE;
    (void)class;
    bool accepted = kind == RMD_OUTCOME_DELIVERED;
    if (!x->source || !x->lane || (!accepted && !(kind != RMD_OUTCOME_RETURNED && scope & ours)))
        return; /* the recipient's own trouble says nothing */
    if (accepted && !x->probe)
        return; /* before the stop, and told late */
    probed(c, x->source, &x->source->all, accepted);
    probed(c, x->source, x->lane, accepted);
}

/* A ramp ends where a cap holds anyway, or when the lane sends what it used to, a day after it came back. */
void rmd_returning_tick(struct rmd_coord *c, struct rmd_lane *l) {
    if (!ramps(l))
        return;
    uint64_t limit = ramp_limit(c, l), cap = rmd_lane_cap(c, l);
    int64_t since = c->ledger.now_ms - l->back.ramp_ledger_ms;
    bool over = limit == UINT64_MAX || (cap && limit >= cap) ||
                (since >= RMD_RAMP_MIN_MS && limit >= l->back.ramp_to) ||
                since >= RMD_PEAK_DAYS * (int64_t)RMD_LEDGER_WINDOW_MS;
    if (!over)
        return;
    l->back = (struct rmd_comeback){0};
    l->source->dirty = c->sources_dirty = true;
}
