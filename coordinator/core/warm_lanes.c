/* Lanes and sending domains that warm up: attached to their plan, counted, closed when a sending day ends, stored in table W. */
#include "coordinator/core/core.h"

enum {
    FIRST_BOUNDARY_MS = 4 * 3600 * 1000,
    KIND_SITE = 9,
    SOURCE_SCOPES = RMD_SCOPE_LANE | RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK
};

void rmd_warm_init_core(struct rmd_coord *c) {
    rmd_list_init(&c->warm.dirty);
    c->warm.told = (struct rmd_sending_day){0, FIRST_BOUNDARY_MS, FIRST_BOUNDARY_MS + RMD_LEDGER_WINDOW_MS};
}

static void lane_free(struct rmd_warm_lane *x) {
    rmd_warm_release(&x->w);
    free(x->reason);
    free(x);
}

void rmd_warm_free(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->warm.lanes, &it, NULL, &v))
        lane_free(v);
    rmd_map_release(&c->warm.lanes);
    for (it = 0; rmd_map_next(&c->warm.domains, &it, NULL, &v);) {
        struct rmd_warm_domain *d = v;
        free(d->name);
        free(d->lane);
        free(d);
    }
    rmd_map_release(&c->warm.domains);
}

/* ---------------------------------------------------------------- attaching */

static struct rmd_warm_lane *lane_get(struct rmd_coord *c, uint8_t kind, uint32_t a, uint32_t b) {
    struct rmd_key k = rmd_key_warm(kind, a, b);
    struct rmd_warm_lane *x = rmd_map_get(&c->warm.lanes, rmd_key_slice(&k));
    if (x)
        return x;
    x = rmd_alloc(sizeof *x);
    x->kind = kind;
    x->a = a;
    x->b = b;
    x->w.stage = UINT32_MAX; /* new */
    rmd_map_set(&c->warm.lanes, rmd_key_slice(&k), x);
    return x;
}

/* The plan's list decides how many stages there are: what got warm stays so when the list got longer. */
static void attach(struct rmd_coord *c, struct rmd_warm_lane *x, const struct rmd_plan *plan, size_t provider,
                   bool warm) {
    x->provider = provider;
    x->scheme.plan = plan;
    x->scheme.caps = rmd_plan_caps(plan, c->o.provider[provider]->name);
    x->scheme.no_gates = c->o.without & RMD_WITHOUT_GATES;
    uint32_t n = x->scheme.caps->n;
    if (x->w.stage == UINT32_MAX)
        x->w.stage = warm ? n : 0;
    if (x->w.stage > n || (x->w.warm_day && x->w.stage < n))
        x->w.stage = n;
}

/* A plan that isn't configured any more: the most careful one that there is, and the log says so. */
static const struct rmd_plan *plan_or_other(struct rmd_coord *c, const char *name, const char *whose) {
    const struct rmd_plan *p = rmd_plan_find(c->o.plan, c->o.n_plans, *name ? name : "standard");
    if (p || !c->o.n_plans)
        return p;
    if (*name)
        rmd_core_log(c, "%s: its warm-up plan \"%s\" isn't configured any more; \"%s\" holds", whose, name,
                     c->o.plan[0]->name);
    return c->o.plan[0];
}

void rmd_warm_attach(struct rmd_coord *c, struct rmd_lane *l) {
    struct rmd_source *s = l->source;
    if (!s->plan || l->warm)
        return;
    l->warm = lane_get(c, RMD_ACCOUNT_LANE, s->rec->id, c->o.provider[l->provider]->id);
    l->warm->source = s;
    attach(c, l->warm, s->plan, l->provider, s->rec->warm_as > 0);
}

void rmd_warm_source(struct rmd_coord *c, struct rmd_source *s) {
    bool any = *s->rec->warmup || s->rec->warm_as;
    const struct rmd_plan *before = s->plan;
    s->plan = any ? plan_or_other(c, s->rec->warmup, s->rec->address) : NULL;
    for (size_t i = 0; i < c->o.n_providers && (s->plan || before); i++) {
        struct rmd_lane *l = rmd_lane_of(c, s, i);
        if (l->warm && s->plan != before) { /* another plan, or none: what was counted stays */
            l->warm->scheme.plan = NULL;
            l->warm = NULL;
        }
        rmd_warm_attach(c, l);
    }
    if (!s->plan)
        s->warm_waits = false;
}

void rmd_warm_is_warm(struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < c->o.n_providers; i++) {
        struct rmd_warm_lane *x = s->lane[i] ? s->lane[i]->warm : NULL;
        if (!rmd_warm_is_cold(x))
            continue;
        rmd_warm_set(&x->w, rmd_warm_day(c), x->scheme.caps->n);
        rmd_warm_dirty(c, x);
    }
}

/* A domain warms up when any of its streams says so; the first one's plan holds. */
void rmd_warm_streams(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    rmd_list_for(at, &c->all_pqs) rmd_container(at, struct rmd_pq, all)->repute = NULL;
    while (rmd_map_next(&c->warm.domains, &it, NULL, &v))
        ((struct rmd_warm_domain *)v)->plan = NULL;
    for (it = 0; rmd_map_next(&c->streams, &it, NULL, &v);) {
        const Remuda__StreamRecord *r = ((const struct rmd_stream *)v)->rec;
        if (!*r->domain_warmup && !r->domain_warm_as)
            continue;
        uint32_t hash = rmd_fnv32(rmd_slice_str(r->sending_domain));
        struct rmd_warm_domain *d = rmd_map_get(&c->warm.domains, rmd_slice(&hash, sizeof hash));
        if (!d) {
            d = rmd_alloc(sizeof *d);
            d->name = rmd_strdup(r->sending_domain);
            d->hash = hash;
            d->lane = rmd_alloc((c->o.n_providers + 1) * sizeof(struct rmd_warm_lane *));
            rmd_map_set(&c->warm.domains, rmd_slice(&hash, sizeof hash), d);
        }
        if (d->plan)
            continue;
        d->plan = plan_or_other(c, r->domain_warmup, r->sending_domain);
        d->warm_as = r->domain_warm_as;
        d->since_wall_ms = r->domain_warm_since_wall_ms;
        for (size_t i = 0; d->plan && i < c->o.n_providers; i++) {
            d->lane[i] = lane_get(c, RMD_ACCOUNT_DOMAIN, hash, c->o.provider[i]->id);
            d->lane[i]->domain = d;
            attach(c, d->lane[i], d->plan, i, d->warm_as > 0);
        }
    }
}

/* Providers have other indexes, or are others, and plans are new ones: what was counted is found again by their ids. */
void rmd_warm_reloaded(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->warm.lanes, &it, NULL, &v))
        ((struct rmd_warm_lane *)v)->scheme.plan = NULL;
    for (it = 0; rmd_map_next(&c->warm.domains, &it, NULL, &v);) {
        struct rmd_warm_domain *d = v;
        free(d->lane);
        d->lane = rmd_alloc((c->o.n_providers + 1) * sizeof(struct rmd_warm_lane *));
    }
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
        struct rmd_source *s = v;
        for (size_t i = 0; i < c->o.n_providers; i++)
            if (s->lane[i])
                s->lane[i]->warm = NULL;
        s->plan = NULL;
        rmd_warm_source(c, s);
    }
    rmd_warm_streams(c);
    rmd_warm_changed(c);
}

struct rmd_warm_lane *rmd_warm_domain_lane(struct rmd_coord *c, const struct rmd_stream *st, size_t provider) {
    if (!c->warm.domains.n)
        return NULL;
    uint32_t hash = rmd_fnv32(rmd_slice_str(st->rec->sending_domain));
    const struct rmd_warm_domain *d = rmd_map_get(&c->warm.domains, rmd_slice(&hash, sizeof hash));
    return d && d->plan ? d->lane[provider] : NULL;
}

const char *rmd_warm_subject(const struct rmd_warm_lane *x) {
    return x->source ? x->source->rec->address : x->domain->name;
}

/* ---------------------------------------------------------------- what follows from stages */

/* Has some warm lane, and sends nothing from cold ones: it is through. */
static bool through(const struct rmd_coord *c, const struct rmd_source *s) {
    bool warm = false;
    for (size_t i = 0; i < c->o.n_providers; i++) {
        const struct rmd_warm_lane *x = s->lane[i] ? s->lane[i]->warm : NULL;
        if (rmd_warm_is_cold(x) && x->w.last_day >= rmd_warm_day(c) - RMD_WARM_AGAIN && x->w.last_day)
            return false;
        warm |= x && !rmd_warm_is_cold(x);
    }
    return warm;
}

static void source_stage(const struct rmd_coord *c, struct rmd_source *s) {
    s->warm_stage = 0;
    for (size_t i = 0; i < c->o.n_providers; i++) {
        const struct rmd_warm_lane *x = s->lane[i] ? s->lane[i]->warm : NULL;
        if (x && x->w.stage > s->warm_stage)
            s->warm_stage = x->w.stage;
    }
}

static bool has_sent(const struct rmd_coord *c, const struct rmd_source *s) {
    for (size_t i = 0; i < c->o.n_providers; i++)
        if (s->lane[i] && s->lane[i]->warm && s->lane[i]->warm->w.last_day)
            return true;
    return false;
}

/* Those that are on their way keep their place; then in order of their coming. */
static void places(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nets, &it, NULL, &v))
        ((struct rmd_net *)v)->warming = 0;
    for (int pass = 0; pass < 2; pass++)
        for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
            struct rmd_source *s = v;
            if (!s->plan || has_sent(c, s) != (pass == 0))
                continue;
            s->warm_waits = false;
            if (s->rec->state >= RMD_SOURCE_RETIRING || through(c, s))
                continue;
            s->warm_waits = c->o.warm_per_network && s->net->warming >= c->o.warm_per_network;
            s->net->warming += !s->warm_waits;
        }
}

void rmd_warm_changed(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (s->plan)
            source_stage(c, s);
    }
    places(c);
    c->sources_rev++; /* the order of the lanes follows from who is cold */
    c->deal = true;
}

/* ---------------------------------------------------------------- words */

static const char *percent(struct rmd_arena *a, uint32_t ppm) {
    return rmd_arena_printf(a, "%u.%02u %%", ppm / 10000, ppm / 100 % 100);
}

static const char *gate_words(struct rmd_arena *a, const struct rmd_warm_lane *x, const struct rmd_judgement *j) {
    if (j->gate == RMD_GATE_KINDS)
        return "a quarantine fell on that day";
    return rmd_arena_printf(a, "%s: %llu of %llu (%s, surely %s), at most %s is allowed", rmd_gate_name(j->gate),
                            (unsigned long long)j->value.events, (unsigned long long)j->value.of,
                            percent(a, j->value.ppm), percent(a, j->value.low_ppm),
                            percent(a, x->scheme.plan->gate[j->gate].max_ppm));
}

void rmd_warm_tell(struct rmd_coord *c, const struct rmd_warm_lane *x, const struct rmd_judgement *j,
                   const char *because) {
    struct rmd_arena *a = rmd_arena_after(c);
    const char *who = rmd_warm_subject(x), *at = c->o.provider[x->provider]->name;
    unsigned n = x->scheme.caps->n, stage = j->stage + 1;
    unsigned long long cap = rmd_caps_list_at(x->scheme.caps, j->stage);
    static const char *const types[] = {NULL,          NULL,          "warmup.held",     "warmup.advanced",
                                        "warmup.warm", "warmup.back", "warmup.restarted"};
    if (!types[j->move])
        return;
    Remuda__EventRecord *e = rmd_core_event(c, types[j->move]);
    e->source = x->source ? x->source->rec->id : 0;
    e->provider = c->o.provider[x->provider]->id;
    switch (j->move) {
    case RMD_WARM_DONE:
        e->text = rmd_arena_printf(a, "%s at %s is warm: every one of the %u stages of %s is done", who, at, n,
                                   x->scheme.plan->name);
        break;
    case RMD_WARM_ADVANCED:
        e->text = rmd_arena_printf(a, "%s at %s: stage %u of %u, %llu recipients a day", who, at, stage, n, cap);
        break;
    case RMD_WARM_HELD:
        e->text = rmd_arena_printf(a, "%s at %s stays on stage %u of %u, %llu recipients a day: %s", who, at, stage,
                                   n, cap, gate_words(a, x, j));
        break;
    case RMD_WARM_BACK:
        e->text = rmd_arena_printf(a, "%s at %s goes back to stage %u of %u, %llu recipients a day: %s%s", who, at,
                                   stage, n, cap, because, gate_words(a, x, j));
        break;
    default:
        e->text = rmd_arena_printf(a, "%s at %s starts again on stage 1 of %u: nothing was sent for %u days", who, at,
                                   n, x->scheme.plan->idle_days);
    }
}

/* ---------------------------------------------------------------- days */

static int64_t whole_days(int64_t ms) {
    return ms / RMD_LEDGER_WINDOW_MS;
}

static int64_t day_at(const struct rmd_coord *c, int64_t wall_ms) {
    const struct rmd_sending_day *d = &c->warm.told;
    if (wall_ms < d->start_wall_ms)
        return d->number - 1 - whole_days(d->start_wall_ms - 1 - wall_ms);
    return wall_ms < d->end_wall_ms ? d->number : d->number + 1 + whole_days(wall_ms - d->end_wall_ms);
}

int64_t rmd_warm_day(const struct rmd_coord *c) {
    return c->meta ? c->meta->warm_day : 0;
}

int64_t rmd_coord_sending_day(const struct rmd_coord *c) {
    return rmd_warm_day(c);
}

static void open_day(struct rmd_coord *c, int64_t day) {
    c->meta->warm_day = day;
    c->meta->warm_day_ledger_ms = c->ledger.now_ms;
    c->meta_dirty = true;
}

void rmd_warm_step(struct rmd_coord *c) {
    int64_t day = day_at(c, c->now.wall_ms);
    if (c->phase != RMD_PHASE_SERVING || day <= c->meta->warm_day)
        return;
    if (!c->meta->warm_day) {
        open_day(c, day);
        return;
    }
    if (c->ledger.now_ms - c->meta->warm_day_ledger_ms < RMD_WARM_DAY_MIN_MS)
        return;
    open_day(c, day);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->warm.lanes, &it, NULL, &v)) {
        struct rmd_warm_lane *x = v;
        if (!x->scheme.plan || !x->w.last_day)
            continue;
        struct rmd_judgement j = rmd_warm_close(&x->scheme, &x->w, day);
        rmd_warm_dirty(c, x);
        rmd_warm_tell(c, x, &j, "");
    }
    rmd_warm_changed(c);
}

/* ---------------------------------------------------------------- counting */

static bool blocks(const struct rmd_verdict *v) {
    return v->action == RMD_ACTION_QUARANTINE || v->action == RMD_ACTION_PAUSE ||
           v->class == RMD_CLASS_IP_BLOCKLISTED || v->class == RMD_CLASS_DOMAIN_BLOCKLISTED;
}

static void count(struct rmd_coord *c, struct rmd_warm_lane *x, const Remuda__Outcome *o, const struct rmd_verdict *v,
                  unsigned scopes, uint64_t hash) {
    if (!x || !x->scheme.plan)
        return;
    int64_t day = rmd_warm_day(c);
    struct rmd_warm_day *d = rmd_warm_today(&x->w, day);
    d->offered += o->rcpts;
    if (o->kind == RMD_OUTCOME_DELIVERED && rmd_warm_is_cold(x))
        rmd_warm_accepted(&x->w, day, rmd_mix64(hash));
    else if (o->kind == RMD_OUTCOME_DELIVERED)
        d->accepted++;
    else if ((o->kind == RMD_OUTCOME_BOUNCED || o->kind == RMD_OUTCOME_DEFERRED) && (v->scope & scopes))
        ++*(blocks(v) ? &d->blocked : o->kind == RMD_OUTCOME_BOUNCED ? &d->bounced : &d->deferred);
    if (!x->w.last_day)
        c->warm.first = true;
    x->w.last_day = day;
    rmd_warm_dirty(c, x);
}

void rmd_warm_outcome(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                      const struct rmd_verdict *v, uint64_t hash) {
    if (!o->rcpts)
        return;
    if (l->lane)
        count(c, l->lane->warm, o, v, SOURCE_SCOPES, hash);
    if (l->pq->provider >= 0)
        count(c, rmd_warm_domain_lane(c, l->campaign->stream, (size_t)l->pq->provider), o, v,
              RMD_SCOPE_SENDING_DOMAIN, hash);
    if (c->warm.first) { /* it holds its place in the network now */
        c->warm.first = false;
        places(c);
    }
}

static void stopped(struct rmd_coord *c, struct rmd_warm_lane *x) {
    if (!x || !x->w.last_day)
        return; /* what never sent has no day to judge */
    rmd_warm_today(&x->w, rmd_warm_day(c))->stopped = true;
    rmd_warm_dirty(c, x);
}

void rmd_warm_stopped(struct rmd_coord *c, struct rmd_source *s, const struct rmd_lane *l) {
    if (l != &s->all)
        stopped(c, l->warm);
    else
        for (size_t i = 0; s->plan && i < c->o.n_providers; i++)
            stopped(c, s->lane[i] ? s->lane[i]->warm : NULL);
}

/* ---------------------------------------------------------------- store */

void rmd_warm_dirty(struct rmd_coord *c, struct rmd_warm_lane *x) {
    if (x->dirty)
        return;
    x->dirty = true;
    rmd_list_push(&c->warm.dirty, &x->dirty_link);
}

static void write_one(struct rmd_coord *c, const struct rmd_warm_lane *x) {
    Remuda__WarmRecord r = REMUDA__WARM_RECORD__INIT;
    Remuda__WarmDay day[RMD_WARM_DAYS], *days[RMD_WARM_DAYS];
    for (uint32_t i = 0; i < x->w.n_days; i++) {
        const struct rmd_warm_day *d = &x->w.day[i];
        remuda__warm_day__init(&day[i]);
        days[i] = &day[i];
        day[i].day = d->day;
        day[i].stage = d->stage;
        day[i].hold = d->hold;
        day[i].offered = d->offered;
        day[i].accepted = d->accepted;
        day[i].distinct = d->distinct;
        day[i].deferred = d->deferred;
        day[i].blocked = d->blocked;
        day[i].bounced = d->bounced;
        day[i].complaints = d->complaints;
        day[i].told = d->told;
        day[i].stopped = d->stopped;
        day[i].judged = d->judged;
    }
    r.stage = x->w.stage;
    r.hold = x->w.hold;
    r.paused = x->w.paused;
    r.set_day = x->w.set_day;
    r.last_day = x->w.last_day;
    r.warm_day = x->w.warm_day;
    r.reason = x->reason ? x->reason : (char *)(uintptr_t) "";
    r.day = days;
    r.n_day = x->w.n_days;
    r.seen = x->w.seen;
    r.n_seen = x->w.n_seen;
    struct rmd_key k = rmd_key_warm(x->kind, x->a, x->b);
    rmd_core_put(c, &k, &r);
}

void rmd_warm_flush(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->warm.dirty) {
        struct rmd_warm_lane *x = rmd_container(it, struct rmd_warm_lane, dirty_link);
        rmd_list_remove(it);
        x->dirty = false;
        write_one(c, x);
    }
    if (!c->warm.sites_dirty)
        return;
    c->warm.sites_dirty = false;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v))
        rmd_warm_sites_flush(c, v);
}

static void restore_lane(struct rmd_warm_lane *x, const Remuda__WarmRecord *r) {
    struct rmd_warm *w = &x->w;
    *w = (struct rmd_warm){.stage = r->stage,
                           .hold = r->hold,
                           .paused = r->paused,
                           .set_day = r->set_day,
                           .last_day = r->last_day,
                           .warm_day = r->warm_day};
    x->reason = *r->reason ? rmd_strdup(r->reason) : NULL;
    for (size_t i = 0; i < r->n_day && i < RMD_WARM_DAYS; i++) {
        const Remuda__WarmDay *d = r->day[i];
        w->day[w->n_days++] = (struct rmd_warm_day){.day = d->day,
                                                    .stage = d->stage,
                                                    .hold = d->hold,
                                                    .offered = d->offered,
                                                    .accepted = d->accepted,
                                                    .distinct = d->distinct,
                                                    .deferred = d->deferred,
                                                    .blocked = d->blocked,
                                                    .bounced = d->bounced,
                                                    .complaints = d->complaints,
                                                    .told = d->told,
                                                    .stopped = d->stopped,
                                                    .judged = d->judged};
    }
    if (r->n_seen && r->n_seen <= RMD_WARM_SEEN) {
        w->seen = rmd_alloc(RMD_WARM_SEEN * sizeof *w->seen);
        w->n_seen = (uint32_t)r->n_seen;
        memcpy(w->seen, r->seen, r->n_seen * sizeof *w->seen);
    }
}

bool rmd_warm_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) {
    if (key.n != 10)
        return false;
    uint8_t kind = key.p[1];
    if (kind == RMD_BOOK_LANE || kind == RMD_BOOK_DOMAIN)
        return rmd_book_restore_row(c, key, value);
    uint32_t a = rmd_get_be32(key.p + 2), b = rmd_get_be32(key.p + 6);
    if (kind == KIND_SITE) {
        const Remuda__WarmSiteRecord *r = rmd_pb_decode(&remuda__warm_site_record__descriptor, value, &c->scratch);
        struct rmd_source *s = rmd_source_find(c, a);
        if (r && s)
            rmd_warm_site_restore(c, s, b, r);
        return r;
    }
    const Remuda__WarmRecord *r = rmd_pb_decode(&remuda__warm_record__descriptor, value, &c->scratch);
    if (r)
        restore_lane(lane_get(c, kind, a, b), r);
    return r;
}

void rmd_warm_restored(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v))
        rmd_warm_source(c, v);
    rmd_warm_streams(c);
    rmd_warm_changed(c);
}
