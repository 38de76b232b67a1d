/* What a warm-up does to caps, to the order of lanes, and to who gets what. */
#include "coordinator/core/core.h"

const char rmd_why_warm_cap[] = "warm-up cap", rmd_why_warm_hour[] = "warm-up's share of the hour",
           rmd_why_kept[] = "kept for lanes that warm up: they take it in the next hours";

/* Warming: the stage, or less when the operator says less. Warm: what the operator says, else what it is warm for. */
static uint64_t cap_of(const struct rmd_caps_list *l, uint32_t stage, uint64_t warm_as, uint64_t configured) {
    if (stage < l->n)
        return configured && configured < l->cap[stage] ? configured : l->cap[stage];
    return configured ? configured : warm_as ? warm_as : rmd_caps_list_at(l, stage);
}

uint64_t rmd_warm_lane_cap(const struct rmd_warm_lane *x, uint64_t configured) {
    if (!x || !x->scheme.plan)
        return configured;
    uint64_t warm_as = x->source ? x->source->rec->warm_as : x->domain->warm_as;
    return cap_of(x->scheme.caps, x->w.stage, warm_as, configured);
}

/* The source in all stands where its most advanced lane stands. */
uint64_t rmd_warm_source_cap(const struct rmd_source *s, uint64_t configured) {
    return s->plan ? cap_of(&s->plan->source, s->warm_stage, s->rec->warm_as, configured) : configured;
}

static uint64_t hour_of(const struct rmd_plan *p, bool cold, uint64_t cap) {
    return cold && p->hour_percent < 100 ? rmd_plan_hour(p, cap) : 0;
}

void rmd_warm_caps(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st, struct rmd_caps *out) {
    const struct rmd_source *s = l->source;
    if (s->plan) {
        out->hour[0] = hour_of(s->plan, rmd_warm_is_cold(l->warm), out->limit[0]);
        out->hour[1] = hour_of(s->plan, s->warm_stage < s->plan->source.n, out->limit[1]);
    }
    const struct rmd_warm_lane *d = rmd_warm_domain_lane(c, st, l->provider);
    if (d) {
        out->limit[3] = rmd_warm_lane_cap(d, out->limit[3]);
        out->hour[3] = hour_of(d->scheme.plan, rmd_warm_is_cold(d), out->limit[3]);
    }
}

bool rmd_warm_must_register(const struct rmd_coord *c, const struct rmd_source *s, size_t provider,
                            bool *registered) {
    const Remuda__ProviderPolicy *p = c->o.provider[provider];
    *registered = false;
    for (size_t i = 0; i < s->rec->n_registered && !*registered; i++)
        *registered = strcmp(s->rec->registered[i], p->name) == 0;
    return p->register_first;
}

const char *rmd_warm_bars(const struct rmd_coord *c, const struct rmd_stream *st, const struct rmd_lane *l) {
    bool registered;
    if (rmd_warm_must_register(c, l->source, l->provider, &registered) && !registered)
        return "must be registered with the provider first";
    if (l->source->warm_waits && rmd_warm_is_cold(l->warm))
        return "waits: enough sources of its network warm up";
    if (st->rec->no_cold_lanes && rmd_warm_is_cold(l->warm))
        return "warms up, and the stream never uses such lanes";
    return NULL;
}

const char *rmd_warm_binds(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st) {
    struct rmd_caps caps;
    rmd_caps_of(c, l, st, &caps);
    const bool warms[RMD_ACCOUNTS] = {rmd_warm_is_cold(l->warm),
                                      l->source->plan && l->source->warm_stage < l->source->plan->source.n, false,
                                      rmd_warm_is_cold(rmd_warm_domain_lane(c, st, l->provider))};
    const char *why = NULL;
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        if (!rmd_account_available(&c->ledger, caps.account[i], caps.limit[i])) {
            if (!warms[i])
                return NULL;
            why = rmd_why_warm_cap;
        } else if (!rmd_account_hour_available(&c->ledger, caps.account[i], caps.hour[i]) && !why) {
            why = rmd_why_warm_hour;
        }
    }
    return why;
}

/* What this account lets a lane take from now until RMD_WARM_SOON_MS have passed: what ages until then makes room, what was granted doesn't. */
static uint64_t soon(struct rmd_coord *c, struct rmd_account *a, uint64_t limit, uint64_t hour) {
    const int64_t again = RMD_LEDGER_HOUR_MS + RMD_LEDGER_BUCKET_MS;
    uint64_t day = UINT64_MAX, hours = UINT64_MAX;
    if (limit) {
        int64_t from = c->ledger.now_ms + RMD_WARM_SOON_MS - RMD_LEDGER_WINDOW_MS;
        uint64_t taken = rmd_account_between(a, from > 0 ? from : 0, INT64_MAX) + a->outstanding;
        day = limit > taken ? limit - taken : 0;
    }
    if (hour)
        hours = rmd_account_hour_available(&c->ledger, a, hour) + hour * (uint64_t)(RMD_WARM_SOON_MS / again);
    return day < hours ? day : hours;
}

/* As far as its node's pace lets it come until then. */
static uint64_t paced(const struct rmd_lane *l) {
    const struct rmd_pace *p = l->pace;
    uint64_t minute = p && p->slowed ? p->per_minute : 0, hour = p ? p->per_hour : 0;
    uint64_t n = minute && (!hour || minute * 60 < hour) ? minute * 60 : hour;
    if (!n)
        return UINT64_MAX;
    n *= RMD_WARM_SOON_MS / RMD_LEDGER_HOUR_MS;
    return n > l->leased ? n - l->leased : 0;
}

/* A lane that only waits for the next hour, for what it sent yesterday to age, or for its leases, takes more in the next hours: to give
 * that to the next lane would spread a small volume over many, and none would build a reputation. No more than that is kept: what it
 * takes later, or never, would wait while warm lanes are idle. */
uint64_t rmd_warm_keeps(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, const char *why) {
    if (q->stream->rec->priority == 0 || !rmd_warm_is_cold(l->warm) ||
        (why != rmd_why_warm_hour && why != rmd_why_warm_cap && why != rmd_why_hour && why != rmd_why_outstanding))
        return 0;
    struct rmd_caps caps;
    rmd_caps_of(c, l, q->stream, &caps);
    uint64_t keeps = paced(l);
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        uint64_t room = soon(c, caps.account[i], caps.limit[i], caps.hour[i]);
        keeps = room < keeps ? room : keeps;
    }
    return keeps == UINT64_MAX ? 0 : keeps;
}

bool rmd_warm_ends_soon(const struct rmd_coord *c, const struct rmd_campaign *k) {
    int64_t until = rmd_campaign_valid_until(k);
    return until != RMD_NEVER && until - c->now.wall_ms <= RMD_WARM_RESERVE_MS;
}

bool rmd_warm_kept(struct rmd_coord *c, const struct rmd_campaign *k) {
    if (rmd_warm_ends_soon(c, k))
        return false;
    if (rmd_release_paced(k)) /* what is released now hasn't waited */
        return true;
    int64_t began =
        k->rec->start_wall_ms > k->rec->accepted_wall_ms ? k->rec->start_wall_ms : k->rec->accepted_wall_ms;
    int64_t left = began + RMD_WARM_WAIT_MS - c->now.wall_ms;
    if (left > 0)
        rmd_core_wake(c, c->now.mono_ms + left);
    return left > 0;
}

/* Bulk warms lanes up, and what exceeds goes to the warm ones; what is urgent rather goes from warm ones. */
bool rmd_warm_before(const struct rmd_stream *st, const struct rmd_lane *a, const struct rmd_lane *b, bool *decided) {
    bool ac = rmd_warm_is_cold(a->warm), bc = rmd_warm_is_cold(b->warm);
    *decided = ac != bc;
    return st->rec->priority == 0 ? bc : ac;
}

static int64_t frees(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st) {
    struct rmd_caps caps;
    rmd_caps_of(c, l, st, &caps);
    int64_t last = 0;
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        int64_t day = rmd_account_frees_ms(&c->ledger, caps.account[i], caps.limit[i]),
                hour = rmd_account_hour_frees_ms(&c->ledger, caps.account[i], caps.hour[i]);
        last = day > last ? day : last;
        last = hour > last ? hour : last;
    }
    return last;
}

int64_t rmd_warm_frees_ms(struct rmd_coord *c, struct rmd_pq *q) {
    int64_t first = RMD_NEVER;
    for (size_t i = 0; i < q->n_candidates; i++) {
        struct rmd_lane *l = q->candidate[i];
        struct rmd_incident *by;
        const char *why = rmd_sched_lane_why(c, q, l, &by);
        int64_t ms = why == rmd_why_warm_cap || why == rmd_why_warm_hour || why == rmd_why_reputation
                         ? frees(c, l, q->stream)
                         : RMD_NEVER;
        first = ms < first ? ms : first;
    }
    return first;
}
