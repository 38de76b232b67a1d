/* Which lanes need a look: what the scheduler learnt of a queue's lanes when it found nothing for them, until it may be otherwise.
 *
 * A pool of a thousand sources has lanes by the thousand, and nearly all of them say at each step what they said at the last one.
 * So each queue keeps two bits a lane, in its order of preference:
 *
 *   looked at --it may not take work--> shut --its leases, its caps, its state: news of the lane--> looked at
 *   looked at --it finds nothing to take--> fed --news of the lane, or other work in the queue--> looked at
 *
 * and passes over lanes that are shut or fed. News are said by whoever makes them:
 *   rmd_look_lane(): a lease there lost messages;  rmd_look_work(): something was loaded;  c->deal: anything may be otherwise.
 * Whoever doesn't know sets c->deal. Besides, everything is looked at again when a bucket of the ledger ends (caps
 * free), when a time comes that a lane or a rule asked to be woken at while it was looked at, and at the first tick
 * after RMD_LOOK_ALL_MS. A stopped lane is never passed over: what it had may bind those behind it.
 *
 * Retries that stick to a source aren't offered to all lanes: while nobody else may have them, they go to their own
 * lane directly, when it or they have news.
 *
 * Small pools are looked at in whole each time: below RMD_LOOK_FROM lanes nothing here has an effect. */
#include "coordinator/core/core.h"

enum { WORD = 64 };

static bool wanted(const struct rmd_coord *c, const struct rmd_pq *q) {
    return q->n_candidates >= c->look_from && !(c->o.without & RMD_WITHOUT_CONCENTRATION);
}

static bool active(const struct rmd_pq *q) {
    return q->look.n_places > 0;
}

static void see_all(struct rmd_pq *q) {
    size_t words = (q->n_candidates + WORD - 1) / WORD;
    memset(q->look.skip, 0, words * sizeof *q->look.skip);
    memset(q->look.fed, 0, words * sizeof *q->look.fed);
}

static void clear(struct rmd_pq *q) {
    see_all(q);
    q->look.again_mono_ms = RMD_NEVER;
    rmd_list_for(it, &q->ready_dqs) rmd_look_retries(rmd_container(it, struct rmd_dq, in_ready));
}

/* The order of the lanes is another. */
void rmd_look_ordered(struct rmd_coord *c, struct rmd_pq *q) {
    struct rmd_look *k = &q->look;
    size_t words = (q->n_candidates + WORD - 1) / WORD;
    uint32_t most = 0;
    if (!wanted(c, q)) {
        k->n_places = 0;
        return;
    }
    for (size_t i = 0; i < q->n_candidates; i++)
        most = q->candidate[i]->source->rec->id > most ? q->candidate[i]->source->rec->id : most;
    k->skip = rmd_realloc(k->skip, words * sizeof *k->skip);
    k->fed = rmd_realloc(k->fed, words * sizeof *k->fed);
    k->keeps = rmd_realloc(k->keeps, q->n_candidates * sizeof *k->keeps);
    k->n_places = most + 1;
    k->place = rmd_realloc(k->place, k->n_places * sizeof *k->place);
    memset(k->place, 0, k->n_places * sizeof *k->place);
    k->n_cold = 0;
    for (size_t i = 0; i < q->n_candidates; i++) {
        k->place[q->candidate[i]->source->rec->id] = (uint32_t)i + 1;
        if (rmd_warm_is_cold(q->candidate[i]->warm))
            k->n_cold = i + 1;
    }
    clear(q);
}

void rmd_look_free(struct rmd_pq *q) {
    free(q->look.skip);
    free(q->look.stopped);
    free(q->look.fed);
    free(q->look.keeps);
    free(q->look.place);
}

/* ---------------------------------------------------------------- news */

void rmd_look_lane(struct rmd_coord *c, struct rmd_lane *l) {
    if (!rmd_list_linked(&l->news))
        rmd_list_push(&c->lane_news, &l->news);
    c->deal_on = true;
}

void rmd_look_work(struct rmd_coord *c, struct rmd_pq *q) {
    q->look.work = true;
    c->deal_on = true;
}

void rmd_look_retries(struct rmd_dq *d) {
    if (!rmd_list_linked(&d->in_look))
        rmd_list_push(&d->pq->look.retries, &d->in_look);
}

static void work(struct rmd_pq *q) {
    size_t words = (q->n_candidates + WORD - 1) / WORD;
    for (size_t i = 0; i < words; i++) {
        q->look.skip[i] &= ~q->look.fed[i];
        q->look.fed[i] = 0;
    }
}

static void lane(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_lane *l) {
    struct rmd_look *k = &q->look;
    uint32_t id = l->source->rec->id, at = id < k->n_places ? k->place[id] : 0;
    if (!at--)
        return;
    k->skip[at / WORD] &= ~(UINT64_C(1) << at % WORD);
    k->fed[at / WORD] &= ~(UINT64_C(1) << at % WORD);
    if (rmd_warm_is_cold(l->warm))
        work(q); /* what it keeps for itself may be less now */
    struct rmd_dq *d = rmd_dq_find(c, q->provider_id, q->stream, id);
    if (d && d->n_items)
        rmd_look_retries(d);
}

/* Before dealing: what was said since the last time. all: anything may be otherwise. */
void rmd_look_news(struct rmd_coord *c, bool all) {
    uint32_t bucket = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
    all |= bucket != c->look_bucket;
    c->look_bucket = bucket;
    rmd_list_for(it, &c->all_pqs) {
        struct rmd_pq *q = rmd_container(it, struct rmd_pq, all);
        if (q->provider < 0 || q->candidates_rev != c->sources_rev + 1 || !active(q))
            continue; /* one with another order is looked at in whole anyway */
        if (all || c->now.mono_ms >= q->look.again_mono_ms) {
            clear(q);
        } else if (q->look.work) {
            work(q);
        }
        q->look.work = false;
        rmd_list_for(lt, &c->lane_news) {
            const struct rmd_lane *l = rmd_container(lt, struct rmd_lane, news);
            if ((ssize_t)l->provider == q->provider)
                lane(c, q, l);
        }
    }
    rmd_list_for_safe(lt, &c->lane_news) rmd_list_remove(lt);
}

/* ---------------------------------------------------------------- looking */

/* The first lane from i on that needs a look; what lanes that are passed over keep for themselves is added to *reserved. */
size_t rmd_look_next(const struct rmd_pq *q, size_t i, uint64_t *reserved) {
    const struct rmd_look *k = &q->look;
    if (!active(q))
        return i;
    while (i < q->n_candidates) {
        uint64_t skip = k->skip[i / WORD] >> i % WORD;
        if (!(skip & 1))
            return i;
        size_t n = ~skip ? (size_t)__builtin_ctzll(~skip) : WORD, left = WORD - i % WORD;
        n = n < left ? n : left;
        for (size_t end = i + n; i < end; i++) {
            if (i >= k->n_cold) {
                i = end;
                break;
            }
            *reserved += k->keeps[i];
        }
    }
    return q->n_candidates;
}

static bool stopped(const struct rmd_lane *l) {
    return l->state != RMD_LANE_OPEN || l->source->all.state != RMD_LANE_OPEN;
}

/* Lanes of the queue that aren't open: few, and asked for with each lease. */
size_t rmd_look_stopped(const struct rmd_coord *c, struct rmd_pq *q) {
    struct rmd_look *k = &q->look;
    uint64_t rev = c->lane_rev + q->candidates_rev + 1; /* both only rise */
    if (k->stopped_rev == rev)
        return k->n_stopped;
    k->stopped_rev = rev;
    k->n_stopped = 0;
    for (size_t i = 0; i < q->n_candidates; i++) {
        if (!stopped(q->candidate[i]))
            continue;
        k->stopped = rmd_realloc(k->stopped, (k->n_stopped + 1) * sizeof *k->stopped);
        k->stopped[k->n_stopped++] = q->candidate[i];
    }
    return k->n_stopped;
}

/* It was looked at: why not, or NULL: it found nothing to take. */
void rmd_look_passed(struct rmd_pq *q, size_t i, const char *why, uint64_t keeps) {
    struct rmd_look *k = &q->look;
    if (!active(q) || stopped(q->candidate[i]))
        return;
    uint64_t bit = UINT64_C(1) << i % WORD;
    k->skip[i / WORD] |= bit;
    k->keeps[i] = why ? keeps : 0;
    if (why)
        k->fed[i / WORD] &= ~bit;
    else
        k->fed[i / WORD] |= bit;
}

/* Around looking: who asks to be woken meanwhile is looked at again then. */
int64_t rmd_look_begin(struct rmd_coord *c) {
    int64_t tick = c->tick_mono_ms;
    c->tick_mono_ms = RMD_NEVER;
    return tick;
}

void rmd_look_end(struct rmd_coord *c, struct rmd_pq *q, int64_t tick) {
    if (c->tick_mono_ms < q->look.again_mono_ms)
        q->look.again_mono_ms = c->tick_mono_ms;
    rmd_core_wake(c, tick);
}

/* Some lane (cold: one that warms up) has room and found nothing. */
bool rmd_look_fed(const struct rmd_pq *q, bool cold) {
    size_t n = cold ? q->look.n_cold : q->n_candidates;
    if (!active(q))
        return false;
    for (size_t i = 0; i < n; i++)
        if (q->look.fed[i / WORD] >> i % WORD & 1 && (!cold || rmd_warm_is_cold(q->candidate[i]->warm)))
            return true;
    return false;
}

/* ---------------------------------------------------------------- retries that stick */

static void bind(struct rmd_dq *d, bool bound) {
    d->pq->look.n_bound += (uint32_t)bound - (uint32_t)d->bound;
    d->bound = bound;
}

void rmd_look_unbind(struct rmd_dq *d) {
    bind(d, false);
}

/* Nobody but its own lane may have it. */
bool rmd_look_is_bound(const struct rmd_dq *d) {
    return d->bound && active(d->pq);
}

/* No ready retries are for all lanes. */
bool rmd_look_all_bound(const struct rmd_pq *q) {
    return q->n_ready_dqs == (active(q) ? q->look.n_bound : 0);
}

/* The next one with news whose own lane is to be looked at, or NULL. */
struct rmd_dq *rmd_look_bound(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane **l) {
    if (!active(q))
        return NULL;
    while (!rmd_list_empty(&q->look.retries)) {
        struct rmd_dq *d = rmd_container(q->look.retries.next, struct rmd_dq, in_look);
        bool was = d->bound, is = d->n_items && d->sticky && rmd_sched_bound(c, d, l);
        bind(d, is);
        if (is)
            return d; /* the caller takes it off the list when its lane was looked at */
        rmd_list_remove(&d->in_look);
        if (d->n_items && (was || !d->sticky))
            see_all(q); /* lanes may have kept room for retries, too */
    }
    return NULL;
}
