/* What operators are shown of warm-ups. */
#include "coordinator/core/core.h"

static void caps(struct rmd_coord *c, struct rmd_account *a, uint64_t cap, uint64_t hour, struct rmd_warmup_view *v) {
    uint64_t day_room = rmd_account_available(&c->ledger, a, cap),
             hour_room = rmd_account_hour_available(&c->ledger, a, hour);
    int64_t day_ms = rmd_account_frees_ms(&c->ledger, a, cap),
            hour_ms = rmd_account_hour_frees_ms(&c->ledger, a, hour);
    v->cap = cap;
    v->used_24h = rmd_account_used(&c->ledger, a);
    v->outstanding = a->outstanding;
    v->hour_cap = hour;
    v->hour_used = rmd_account_hour_used(&c->ledger, a);
    v->free = day_room < hour_room ? day_room : hour_room;
    v->frees_ms = day_ms > hour_ms ? day_ms : hour_ms;
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

static const char *gate_words(struct rmd_coord *c, const struct rmd_warm_lane *x, const struct rmd_warm_outlook *o) {
    uint32_t ppm = o->value.ppm, max = x->scheme.plan->gate[o->gate].max_ppm;
    const char *rate = rmd_arena_printf(&c->view, "gate %s at %u.%02u %% (limit %u.%02u %%)", rmd_gate_name(o->gate),
                                        ppm / 10000, ppm / 100 % 100, max / 10000, max / 100 % 100);
    if (o->day == rmd_warm_day(c))
        return rmd_arena_printf(&c->view, "%s today: the stage will be held", rate);
    return rmd_arena_printf(&c->view, "%s holds the stage for %u good day%s", rate, x->w.hold, plural(x->w.hold));
}

/* What holds a lane that nobody stopped, or how sure its date is. */
static const char *outlook_words(struct rmd_coord *c, const struct rmd_warm_lane *x,
                                 const struct rmd_warm_outlook *o) {
    switch (o->why) {
    case RMD_WARM_WHY_NEW:
        return "no mail to it yet";
    case RMD_WARM_WHY_IDLE:
        return rmd_arena_printf(&c->view, "no mail to it in the last %lld days", (long long)o->idle);
    case RMD_WARM_WHY_GATE:
        return gate_words(c, x, o);
    case RMD_WARM_WHY_STOPPED:
        if (o->day == rmd_warm_day(c))
            return "a quarantine fell on this day: the stage will be held";
        return rmd_arena_printf(&c->view, "a quarantine holds the stage for %u good day%s", x->w.hold,
                                plural(x->w.hold));
    case RMD_WARM_WHY_FIRST:
        return "its first sending day isn't over";
    case RMD_WARM_WHY_UNUSED:
        return rmd_arena_printf(&c->view,
                                "no day of the last %u used its stage: %llu recipients at most, %llu needed now",
                                o->of, (unsigned long long)o->most, (unsigned long long)o->needed);
    default:
        break;
    }
    const char *held =
        x->w.hold ? rmd_arena_printf(&c->view, "held for %u good day%s", x->w.hold, plural(x->w.hold)) : "";
    if (o->good == o->of)
        return held;
    return rmd_arena_printf(&c->view, "%s%sat its pace of late: %u good day%s of %u", held, *held ? "; " : "",
                            o->good, plural(o->good), o->of);
}

/* Its lane, or its source everywhere, is stopped: no day of it can be good before it is open. */
static const char *stopped_words(struct rmd_coord *c, const struct rmd_warm_lane *x) {
    const struct rmd_source *s = x->source;
    const struct rmd_lane *l = s && s->all.state != RMD_LANE_OPEN ? &s->all : s ? s->lane[x->provider] : NULL;
    if (!l || (l->state != RMD_LANE_QUARANTINED && l->state != RMD_LANE_PROBING))
        return NULL;
    return rmd_arena_printf(&c->view, "%s%s (incident %llu)",
                            l->state == RMD_LANE_PROBING ? "probed with single recipients" : "quarantined",
                            l == &s->all ? " everywhere" : "", (unsigned long long)l->incident);
}

/* What holds it, the first thing that has to be done first; a date only when nothing does, and its pace of late says one. */
static void state(struct rmd_coord *c, const struct rmd_warm_lane *x, struct rmd_warmup_view *v) {
    struct rmd_warm_outlook o;
    bool registered;
    v->detail = "";
    v->forecast_day = INT64_MIN;
    v->new = !x->w.last_day;
    if (!rmd_warm_is_cold(x)) {
        v->state = "warm";
    } else if (x->source && rmd_warm_must_register(c, x->source, x->provider, &registered) && !registered) {
        v->state = "not registered";
        v->detail = "must be registered with the provider first: `remuda source register`";
    } else if (x->source && x->source->warm_waits) {
        v->state = "waits";
        v->detail = rmd_arena_printf(&c->view, "%u source%s of %s warm%s up already", x->source->net->warming,
                                     plural(x->source->net->warming), x->source->network,
                                     x->source->net->warming == 1 ? "s" : "");
    } else if (x->w.paused) {
        v->state = "paused";
        v->detail = x->reason ? x->reason : "";
    } else {
        const char *stopped = stopped_words(c, x);
        v->state = "warming";
        rmd_warm_look_ahead(&x->scheme, &x->w, rmd_warm_day(c), &o);
        v->detail = stopped ? stopped : outlook_words(c, x, &o);
        if (!stopped && o.why == RMD_WARM_WHY_NOTHING)
            v->forecast_day = rmd_warm_day(c) + o.days;
    }
}

static void view(struct rmd_coord *c, struct rmd_warm_lane *x, struct rmd_warmup_view *v) {
    const struct rmd_plan *p = x->scheme.plan;
    *v = (struct rmd_warmup_view){.source = x->source ? x->source->rec->address : NULL,
                                  .domain = x->source ? NULL : x->domain->name,
                                  .provider = c->o.provider[x->provider]->name,
                                  .plan = p->name,
                                  .stage = x->w.stage + 1,
                                  .stages = x->scheme.caps->n,
                                  .hold = x->w.hold,
                                  .warm_as = x->source ? x->source->rec->warm_as : x->domain->warm_as};
    state(c, x, v);
    if (rmd_warm_is_cold(x))
        v->needed = rmd_warm_needed(&x->scheme, x->w.stage);
    else if (x->w.warm_day)
        v->warm_since_wall_ms = x->w.warm_day * RMD_LEDGER_WINDOW_MS;
    else
        v->warm_since_wall_ms = x->source ? x->source->rec->warm_since_wall_ms : x->domain->since_wall_ms;
    for (unsigned k = 0; k < RMD_GATE_KINDS; k++)
        v->gate_max_ppm[k] = p->gate[k].max_ppm;
    if (!x->w.n_days)
        return;
    v->today = &x->w.day[x->w.n_days - 1];
    v->distinct = v->today->day == rmd_warm_day(c) ? v->today->distinct : 0;
    rmd_warm_gates(&x->scheme, &x->w, x->w.n_days - 1, v->gate);
}

/* The widest of the streams' caps of a domain: they share the account. */
static uint64_t domain_cap(struct rmd_coord *c, const struct rmd_warm_lane *x) {
    uint64_t configured = 0;
    uint32_t it = 0;
    void *s;
    while (rmd_map_next(&c->streams, &it, NULL, &s)) {
        const Remuda__StreamRecord *r = ((const struct rmd_stream *)s)->rec;
        if (strcmp(r->sending_domain, x->domain->name) == 0 && r->domain_cap_per_day > configured)
            configured = r->domain_cap_per_day;
    }
    return rmd_warm_lane_cap(x, configured ? configured : c->o.domain_cap_per_day);
}

static uint64_t hour(const struct rmd_warm_lane *x, uint64_t cap) {
    const struct rmd_plan *p = x->scheme.plan;
    return rmd_warm_is_cold(x) && p->hour_percent < 100 ? rmd_plan_hour(p, cap) : 0;
}

void rmd_coord_warmups(struct rmd_coord *c, void (*fn)(void *, const struct rmd_warmup_view *), void *ctx) {
    struct rmd_warmup_view v;
    uint32_t it = 0;
    void *p;
    while (rmd_map_next(&c->sources, &it, NULL, &p)) {
        const struct rmd_source *s = p;
        for (size_t i = 0; s->plan && i < c->o.n_providers; i++) {
            struct rmd_lane *l = s->lane[i];
            if (!l || !l->warm)
                continue;
            rmd_arena_reset(&c->view);
            view(c, l->warm, &v);
            uint64_t cap = rmd_lane_cap(c, l);
            caps(c, l->account, cap, hour(l->warm, cap), &v);
            fn(ctx, &v);
        }
    }
    for (it = 0; rmd_map_next(&c->warm.domains, &it, NULL, &p);) {
        const struct rmd_warm_domain *d = p;
        for (size_t i = 0; d->plan && i < c->o.n_providers; i++) {
            struct rmd_warm_lane *x = d->lane[i];
            rmd_arena_reset(&c->view);
            view(c, x, &v);
            uint64_t cap = domain_cap(c, x);
            caps(c, rmd_ledger_account(&c->ledger, RMD_ACCOUNT_DOMAIN, d->hash, c->o.provider[i]->id), cap,
                 hour(x, cap), &v);
            fn(ctx, &v);
        }
    }
}
