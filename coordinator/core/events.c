/* Events survive a crash: what a commit tells is written in the same commit, and deleted once history has had it for
 * a while.
 *
 * An event leaves for history when its commit is durable; a process that is killed in between would leave a settled
 * recipient without its story. So each commit also puts its events under V, by the number of the first one (`origin`:
 * epoch and count, never given twice). At start the shell gives history those that it doesn't have yet. A kept row
 * goes when its events left RMD_EVENTS_KEPT_MS ago: by then they are in history's file. */
#include "coordinator/core/core.h"

enum { EVENTS_A_ROW = 500 };

static void remember(struct rmd_kept_events *k, uint64_t first, uint64_t last) {
    if (k->n == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 64;
        k->v = rmd_realloc(k->v, k->cap * sizeof *k->v);
    }
    k->v[k->n++] = (struct rmd_kept_row){.first = first, .last = last};
}

static void put_row(struct rmd_coord *c, Remuda__EventRecord **event, size_t n) {
    Remuda__EventList list = REMUDA__EVENT_LIST__INIT;
    list.event = event;
    list.n_event = n;
    struct rmd_key key = rmd_key_events(event[0]->origin);
    rmd_core_put(c, &key, &list);
    remember(&c->kept, event[0]->origin, event[n - 1]->origin);
}

/* Rows whose events left a while ago. */
static void forget_told(struct rmd_coord *c) {
    struct rmd_kept_events *k = &c->kept;
    if (c->now.mono_ms - k->mark_mono_ms < RMD_EVENTS_KEPT_MS)
        return;
    size_t done = 0;
    while (done < k->n && k->v[done].last <= k->mark) {
        struct rmd_key key = rmd_key_events(k->v[done++].first);
        rmd_batch_delete(&c->batch, rmd_key_slice(&key));
    }
    if (done) {
        memmove(k->v, k->v + done, (k->n - done) * sizeof *k->v);
        k->n -= done;
    }
    k->mark = k->told;
    k->mark_mono_ms = c->now.mono_ms;
}

void rmd_events_keep(struct rmd_coord *c) {
    if (!c->batch.ops || c->phase == RMD_PHASE_RESTORE)
        return;
    if (!c->kept.swept) { /* of the life before: the shell has given them to history */
        struct rmd_key from = rmd_key_table('V'), to = rmd_key_events(c->epoch << RMD_EVENT_EPOCH_SHIFT);
        rmd_batch_delete_range(&c->batch, rmd_key_slice(&from), rmd_key_slice(&to));
        c->kept.swept = true;
    }
    forget_told(c);
    Remuda__EventRecord *event[EVENTS_A_ROW];
    size_t n = 0;
    for (size_t i = 0; c->cur && i < c->cur->fx.n; i++) {
        if (c->cur->fx.v[i].kind != RMD_CF_EVENT)
            continue;
        event[n++] = (Remuda__EventRecord *)(uintptr_t)c->cur->fx.v[i].event;
        if (n == EVENTS_A_ROW) {
            put_row(c, event, n);
            n = 0;
        }
    }
    if (n)
        put_row(c, event, n);
}

void rmd_events_told(struct rmd_coord *c, const Remuda__EventRecord *e) {
    if (e->origin > c->kept.told)
        c->kept.told = e->origin;
}
