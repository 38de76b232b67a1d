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

static void state(struct rmd_coord *c, const struct rmd_warm_lane *x, struct rmd_warmup_view *v) {
    bool cold = rmd_warm_is_cold(x), registered, barred;
    v->detail = "";
    if (!cold) {
        v->state = "warm";
    } else if (x->source && x->source->warm_waits) {
        v->state = "waits";
        v->detail = rmd_arena_printf(&c->view, "%u sources of %s warm up already", x->source->net->warming,
                                     x->source->network);
    } else if (x->w.paused) {
        v->state = "paused";
        v->detail = x->reason ? x->reason : "";
    } else {
        v->state = "warming";
        if (x->w.hold)
            v->detail = rmd_arena_printf(&c->view, "held for %u good days", x->w.hold);
    }
    barred = x->source && rmd_warm_must_register(c, x->source, x->provider, &registered) && !registered;
    if (barred) {
        v->state = "not registered";
        v->detail = "must be registered with the provider first";
    }
    bool runs = cold && !barred && !x->w.paused && !(x->source && x->source->warm_waits);
    v->forecast_day = runs ? rmd_warm_day(c) + rmd_warm_days_left(&x->scheme, &x->w) : INT64_MIN;
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
