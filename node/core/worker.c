/* Worker core: life cycle, step, timers, effects (contract: worker.h; map of the inside: worker_internal.h).
 *
 * A step does three things: what the event says; what timers say that are due; then the pump, which starts
 * transactions and dials as far as limits allow. A verdict is therefore always read before anything else starts. */
#include "node/core/worker_internal.h"

void rmd_worker_effects_reset(struct rmd_worker_effects *e) {
    e->n = 0;
    rmd_arena_reset(&e->arena);
}

void rmd_worker_effects_release(struct rmd_worker_effects *e) {
    free(e->v);
    rmd_arena_release(&e->arena);
    *e = (struct rmd_worker_effects){0};
}

struct rmd_worker_effect *rmd_worker_effect(struct rmd_worker *w, enum rmd_worker_effect_kind kind) {
    struct rmd_worker_effects *out = w->out;
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 64;
        out->v = rmd_realloc(out->v, out->cap * sizeof *out->v);
    }
    struct rmd_worker_effect *f = &out->v[out->n++];
    memset(f, 0, sizeof *f);
    f->kind = kind;
    return f;
}

void rmd_worker_say(struct rmd_worker *w, enum rmd_mail_kind kind, uint64_t id, uint32_t source, const char *text) {
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_MAIL);
    f->mail.kind = kind;
    f->mail.id = id;
    f->mail.source = source;
    f->mail.text = text ? rmd_arena_str(&w->out->arena, rmd_slice_str(text)) : NULL;
}

void rmd_worker_arm(struct rmd_worker *w, struct rmd_timer *t, int64_t due_ms) {
    if (due_ms == RMD_NEVER)
        rmd_heap_remove(&w->timers, &t->heap);
    else
        rmd_heap_set(&w->timers, &t->heap, due_ms);
}

int64_t rmd_worker_tx_ms(const struct rmd_worker *w) {
    int64_t ms = w->policy ? w->policy->transaction_deadline_ms : 0;
    return ms > 0 ? ms : RMD_WORKER_DEADLINE_DEFAULT_MS;
}

bool rmd_worker_startable(const struct rmd_worker *w) {
    return !w->paused && !w->stopping && w->policy && w->valid_until_ms &&
           w->now.mono_ms <= w->valid_until_ms - rmd_worker_tx_ms(w);
}

struct rmd_worker *rmd_worker_new(const struct rmd_worker_options *o) {
    struct rmd_worker *w = rmd_alloc(sizeof *w);
    w->o = *o;
    w->rules = o->rules;
    if (!w->o.connection_limit)
        w->o.connection_limit = 1;
    if (w->o.idle_close_ms <= 0)
        w->o.idle_close_ms = 10000;
    if (w->o.connect_timeout_ms <= 0)
        w->o.connect_timeout_ms = 30000;
    rmd_rng_seed(&w->rng, o->seed);
    w->renderer = rmd_renderer_new(o->sign);
    struct rmd_list *heads[] = {&w->lease_list, &w->template_lru, &w->domain_lru,  &w->site_lru,  &w->dirty,
                                &w->starved,    &w->idle,         &w->suppressing, &w->graveyard, &w->to_tell};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        rmd_list_init(heads[i]);
    w->valid_timer.kind = RMD_TIMER_VALID;
    w->pace_timer.kind = RMD_TIMER_PACE;
    return w;
}

static void bury(struct rmd_worker *w) {
    rmd_list_for_safe(it, &w->graveyard) {
        rmd_list_remove(it);
        rmd_worker_conn_free(rmd_container(it, struct rmd_wconn, dead));
    }
}

static void free_lanes(struct rmd_worker *w) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lanes, &it, NULL, &v)) {
        struct rmd_lane *lane = v;
        uint32_t at = 0;
        void *site;
        while (rmd_map_next(&lane->sites, &at, NULL, &site)) {
            free(((struct rmd_wsite *)site)->saved);
            free(((struct rmd_wsite *)site)->label);
            free(site);
        }
        rmd_map_release(&lane->sites);
        rmd_worker_stops_release(lane);
        free(lane);
    }
    it = 0;
    while (rmd_map_next(&w->sources, &it, NULL, &v)) {
        struct rmd_wsource *s = v;
        free(s->quarantined_provider);
        rmd_map_release(&s->quarantined_sites);
        free(s);
    }
}

void rmd_worker_free(struct rmd_worker *w) {
    if (!w)
        return;
    rmd_heap_release(&w->timers); /* touches its nodes: before their owners go */
    bury(w);
    for (uint32_t i = 0; i < w->conn_cap; i++)
        rmd_worker_conn_free(w->conn[i]);
    free(w->conn);
    free(w->free_number);
    rmd_list_for_safe(it, &w->lease_list) {
        struct rmd_wlease *l = rmd_container(it, struct rmd_wlease, all);
        rmd_template_free(l->compiled);
        rmd_arena_release(&l->arena);
        free(l);
    }
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->templates, &it, NULL, &v)) {
        free(((struct rmd_wtemplate *)v)->bytes);
        free(v);
    }
    it = 0;
    while (rmd_map_next(&w->domains, &it, NULL, &v))
        rmd_worker_domain_free(w, v);
    it = 0;
    while (rmd_map_next(&w->hosts, &it, NULL, &v))
        free(v);
    it = 0;
    while (rmd_map_next(&w->tlsa_hosts, &it, NULL, &v))
        free(v);
    free_lanes(w);
    rmd_list_for_safe(s, &w->suppressing) {
        struct rmd_wsuppress *p = rmd_container(s, struct rmd_wsuppress, link);
        free(p->message);
        free(p);
    }
    rmd_worker_policy_release(w);
    struct rmd_map *maps[] = {&w->sources, &w->lanes, &w->leases,    &w->templates,
                              &w->domains, &w->hosts, &w->tlsa_hosts};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        rmd_map_release(maps[i]);
    rmd_mxfail_release(&w->fail);
    rmd_tls_broken_release(&w->tls_broken);
    rmd_set64_release(&w->suppressed[0]);
    rmd_set64_release(&w->suppressed[1]);
    rmd_arena_release(&w->scratch);
    rmd_renderer_free(w->renderer);
    free(w);
}

void rmd_worker_rules(struct rmd_worker *w, const struct rmd_rules *rules) {
    w->rules = rules;
}

/* --- timers */

static void valid_timer(struct rmd_worker *w) {
    if (w->valid_until_ms && w->now.mono_ms > w->valid_until_ms - rmd_worker_tx_ms(w))
        rmd_worker_return_unstarted(w, RMD_RETURN_EXPIRING);
}

static void run_timers(struct rmd_worker *w) {
    struct rmd_heap_node *top;
    while ((top = rmd_heap_min(&w->timers)) && top->key <= w->now.mono_ms) {
        struct rmd_timer *t = rmd_container(top, struct rmd_timer, heap);
        rmd_heap_remove(&w->timers, top);
        switch (t->kind) {
        case RMD_TIMER_CONN:
            rmd_worker_conn_timer(w, rmd_container(t, struct rmd_wconn, timer));
            break;
        case RMD_TIMER_SITE: {
            struct rmd_wsite *site = rmd_container(t, struct rmd_wsite, timer);
            rmd_worker_wake(w, site, !rmd_list_empty(&site->idle));
            break;
        }
        case RMD_TIMER_LANE:
            rmd_worker_wake_lane(w, rmd_container(t, struct rmd_lane, timer));
            break;
        case RMD_TIMER_LEASE:
            rmd_worker_lease_age(w, rmd_container(t, struct rmd_wlease, timer));
            break;
        case RMD_TIMER_VALID:
            valid_timer(w);
            break;
        case RMD_TIMER_PACE:
            rmd_worker_pace_timer(w);
            break;
        }
    }
}

/* All given back, all transactions ended: the connections go, and the owner hears it once. */
static void finish_stop(struct rmd_worker *w) {
    if (!w->stopping || w->stopped || w->open || w->waiting)
        return;
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conn[i])
            rmd_worker_conn_close(w, w->conn[i]);
    w->stopped = true;
    rmd_worker_say(w, RMD_MAIL_STOPPED, 0, 0, NULL);
}

int rmd_worker_step(struct rmd_worker *w, const struct rmd_worker_event *e, struct rmd_worker_effects *out) {
    int error = RMD_OK;
    bury(w);
    w->now = e->at;
    w->out = out;
    switch (e->kind) {
    case RMD_WE_TICK:
        break;
    case RMD_WE_MAIL:
        error = rmd_worker_mail(w, e->mail);
        break;
    case RMD_WE_MX:
        rmd_worker_mx(w, e->name, e->mx);
        break;
    case RMD_WE_ADDR:
        rmd_worker_addr(w, e->name, e->addr);
        break;
    case RMD_WE_TLSA:
        rmd_worker_tlsa(w, e->name, e->tlsa);
        break;
    case RMD_WE_STS:
        rmd_worker_sts(w, e->name, e->sts);
        break;
    case RMD_WE_CONNECTED:
    case RMD_WE_FAILED:
    case RMD_WE_TLS:
    case RMD_WE_BYTES:
    case RMD_WE_SENT:
        rmd_worker_conn_event(w, e);
        break;
    }
    run_timers(w);
    rmd_worker_pump(w);
    finish_stop(w);
    w->out = NULL;
    return error;
}

int64_t rmd_worker_deadline(const struct rmd_worker *w) {
    const struct rmd_heap_node *top = rmd_heap_min(&w->timers);
    return top ? top->key : RMD_NEVER;
}

void rmd_worker_stats(const struct rmd_worker *w, struct rmd_worker_stats *out) {
    *out = w->stats;
    out->connections = w->conns;
    out->waiting = w->waiting;
    out->open_transactions = w->open;
}
