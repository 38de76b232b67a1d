/* What queues wait for, and what a campaign does: views of the queue, in words. A campaign is told only what holds for its own mail. */
#include "coordinator/core/core.h"

enum { ITEMS = 4096 }; /* retries of other campaigns that are passed over in search of one's own */

static int64_t next_attempt(const struct rmd_pq *q) {
    int64_t at = RMD_NEVER;
    rmd_list_for(it, &q->dqs) {
        const struct rmd_dq *d = rmd_container(it, struct rmd_dq, in_pq);
        if (d->n_items) {
            const struct rmd_ditem *first = rmd_container(d->items.next, struct rmd_ditem, link);
            if (first->rec->not_before_wall_ms < at)
                at = first->rec->not_before_wall_ms;
        }
        if (d->next_wall_ms < at)
            at = d->next_wall_ms;
    }
    return at == RMD_NEVER ? 0 : at;
}

/* With the time when more frees, where a warm-up binds. */
static const char *waits_for(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, uint64_t queued,
                             uint64_t deferred) {
    const char *why = rmd_sched_why(c, q, k, queued, deferred);
    if (why == rmd_why_connects)
        return rmd_arena_printf(&c->view, "%s: %u a minute from a source", why,
                                c->o.provider[q->provider]->connects_per_minute);
    if (why != rmd_why_warm_cap && why != rmd_why_warm_hour)
        return why;
    int64_t ms = rmd_warm_frees_ms(c, q);
    char when[32];
    if (ms == RMD_NEVER)
        return rmd_arena_printf(&c->view, "%s; more frees when leases report", why);
    rmd_format_duration(ms, when);
    return rmd_arena_printf(&c->view, "%s; more frees in %s", why, when);
}

void rmd_coord_queues(struct rmd_coord *c, void (*fn)(void *, const struct rmd_queue_view *), void *ctx) {
    rmd_list_for(it, &c->all_pqs) {
        struct rmd_pq *q = rmd_container(it, struct rmd_pq, all);
        rmd_arena_reset(&c->view);
        struct rmd_queue_view view = {
            .provider = rmd_provider_name(c, q->provider_id),
            .stream = q->stream->rec->name,
            .queued = q->queued,
            .leased = q->leased,
            .deferred = q->deferred,
            .next_attempt_wall_ms = next_attempt(q),
            .waits_for = waits_for(c, q, NULL, q->queued, q->deferred),
        };
        fn(ctx, &view);
    }
}

/* ---------------------------------------------------------------- of one campaign */

static uint64_t queued_at(const struct rmd_campaign *k, const struct rmd_pq *q) {
    rmd_list_for(it, &k->cqs) {
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_campaign);
        if (x->pq == q)
            return x->queued;
    }
    return 0;
}

/* Its retries that are due there: those of later times are on disk. */
static uint64_t due_at(const struct rmd_campaign *k, const struct rmd_pq *q, uint32_t *most) {
    uint64_t n = 0;
    rmd_list_for(it, &q->ready_dqs) {
        const struct rmd_dq *d = rmd_container(it, struct rmd_dq, in_ready);
        rmd_list_for(jt, &d->items) {
            if (!*most)
                return n;
            --*most;
            n += rmd_container(jt, struct rmd_ditem, link)->chunk->campaign == k;
        }
    }
    return n;
}

/* Of its retries whose time hasn't come. When it is, is known while no other campaign of the stream has any. */
static void later(const struct rmd_campaign *k, uint64_t n, void (*fn)(void *, const struct rmd_queue_view *),
                  void *ctx) {
    struct rmd_queue_view view = {
        .provider = "", .stream = k->stream->rec->name, .deferred = n, .waits_for = rmd_why_time};
    uint64_t all = 0;
    int64_t first = RMD_NEVER;
    rmd_list_for(it, &k->stream->pqs) {
        const struct rmd_pq *q = rmd_container(it, struct rmd_pq, in_stream);
        int64_t at = next_attempt(q);
        all += q->deferred;
        first = at && at < first ? at : first;
    }
    if (all == k->deferred && first != RMD_NEVER)
        view.next_attempt_wall_ms = first;
    fn(ctx, &view);
}

static void unsorted(const struct rmd_campaign *k, void (*fn)(void *, const struct rmd_queue_view *), void *ctx) {
    struct rmd_queue_view view = {
        .provider = "",
        .stream = k->stream->rec->name,
        .queued = rmd_campaign_unsorted(k),
        .waits_for = k->stream->rec->state ? "paused" : "the MX hosts of their domains are being looked up"};
    if (view.queued)
        fn(ctx, &view);
}

void rmd_coord_campaign_waits(struct rmd_coord *c, const struct rmd_id *id,
                              void (*fn)(void *, const struct rmd_queue_view *), void *ctx) {
    const struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(id->b, sizeof id->b));
    uint64_t due = 0;
    uint32_t most = ITEMS;
    if (!k || k->rec->finished_wall_ms || k->draining || k->rec->state != RMD_CAMPAIGN_ACTIVE ||
        !rmd_release_started(c, k))
        return;
    unsorted(k, fn, ctx);
    rmd_list_for(it, &k->stream->pqs) {
        struct rmd_pq *q = rmd_container(it, struct rmd_pq, in_stream);
        struct rmd_queue_view view = {.provider = rmd_provider_name(c, q->provider_id),
                                      .stream = q->stream->rec->name,
                                      .queued = queued_at(k, q),
                                      .deferred = due_at(k, q, &most)};
        due += view.deferred;
        if (!view.queued && !view.deferred)
            continue;
        rmd_arena_reset(&c->view);
        view.waits_for = waits_for(c, q, k, view.queued, view.deferred);
        fn(ctx, &view);
    }
    if (k->deferred > due)
        later(k, k->deferred - due, fn, ctx);
}
