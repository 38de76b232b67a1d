/* What leaves: the next lookup, within the budgets (see watch.h). */
#include "node/core/watch_internal.h"

/* ---------------------------------------------------------------- budgets */

uint32_t watch_spent(const uint32_t *v, size_t n) {
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum;
}

static void slide(uint32_t *v, size_t n, int64_t *at, int64_t bucket) {
    for (int64_t gone = bucket - *at; gone > 0; gone--) {
        if (gone > (int64_t)n)
            gone = (int64_t)n;
        memmove(v + 1, v, (n - 1) * sizeof *v);
        v[0] = 0;
    }
    if (bucket > *at)
        *at = bucket;
}

void watch_budget_slide(struct budget *b, int64_t now_ms) {
    slide(b->hour, HOUR_BUCKETS, &b->hour_at, now_ms / HOUR_BUCKET_MS);
    slide(b->day, DAY_BUCKETS, &b->day_at, now_ms / DAY_BUCKET_MS);
}

/* What scheduled questions leave alone. */
static uint32_t reserve(uint32_t limit) {
    return limit / RMD_WATCH_RESERVE;
}

/* When one more query may leave; now_ms: at once. */
static int64_t budget_at(const struct budget *b, int64_t now_ms, bool urgent) {
    struct budget x = *b;
    watch_budget_slide(&x, now_ms);
    uint32_t hour = x.per_hour - (urgent ? 0 : reserve(x.per_hour));
    uint32_t day = x.per_day - (urgent ? 0 : reserve(x.per_day));
    if (watch_spent(x.day, DAY_BUCKETS) >= day)
        return (now_ms / DAY_BUCKET_MS + 1) * DAY_BUCKET_MS; /* look again when a bucket ends */
    if (watch_spent(x.hour, HOUR_BUCKETS) >= hour)
        return (now_ms / HOUR_BUCKET_MS + 1) * HOUR_BUCKET_MS;
    return !urgent && x.next_ms > now_ms ? x.next_ms : now_ms;
}

static void budget_take(struct budget *b, int64_t now_ms, bool urgent) {
    watch_budget_slide(b, now_ms);
    b->hour[0]++;
    b->day[0]++;
    b->used = true;
    if (urgent)
        return;
    uint32_t rate = b->per_hour - reserve(b->per_hour);
    int64_t from = b->next_ms > now_ms ? b->next_ms : now_ms;
    b->next_ms = from + (3600000 + rate - 1) / (rate ? rate : 1);
}

static int64_t both_at(const struct rmd_watch *w, const struct wlist *l, int64_t now_ms, bool urgent) {
    int64_t a = budget_at(&w->all, now_ms, urgent), b = budget_at(&l->budget, now_ms, urgent);
    return a > b ? a : b;
}

/* ---------------------------------------------------------------- what leaves */

static void leave(struct rmd_watch *w, struct lookup *x, struct rmd_watch_lookup *out) {
    out->token = w->next_token++;
    out->txt = x->kind == LOOK_TXT;
    rmd_map_set_u64(&w->lookups, out->token, x);
    x->list->in_flight++;
    w->in_flight++;
    w->counts_dirty = true;
}

static struct lookup *look(struct wlist *l, enum lookup_kind kind, uint8_t u) {
    struct lookup *x = rmd_alloc(sizeof *x);
    x->kind = kind;
    x->list = l;
    x->unit = u;
    return x;
}

static void take(struct rmd_watch *w, struct wlist *l, int64_t now_ms, bool urgent) {
    budget_take(&w->all, now_ms, urgent);
    budget_take(&l->budget, now_ms, urgent);
}

static bool next_test(struct rmd_watch *w, struct wlist *l, int64_t now_ms, struct rmd_watch_lookup *out) {
    for (int u = 0; u < UNITS; u++) {
        struct unit *x = &l->unit[u];
        if (watch_test_due(x, now_ms))
            watch_test_begin(w, x, now_ms);
        for (int kind = LOOK_LISTED; kind <= LOOK_NOTHING; kind++) {
            if (!(x->todo >> kind & 1))
                continue;
            char label[48];
            rmd_format(label, sizeof label, "remuda-no-such-name-%llx",
                       (unsigned long long)rmd_mix64(++w->nonce ^ (uint64_t)now_ms));
            int rc = kind == LOOK_NOTHING
                         ? rmd_blocklist_below(l->pb, label, out->name)
                         : rmd_blocklist_query(l->pb,
                                               rmd_blocklist_test(l->pb, watch_kind((uint8_t)u), kind == LOOK_LISTED),
                                               out->name);
            x->todo = (uint8_t)(x->todo & ~(1u << kind));
            x->out = (uint8_t)(x->out | 1u << kind);
            take(w, l, now_ms, true);
            leave(w, look(l, (enum lookup_kind)kind, (uint8_t)u), out);
            if (rc < 0)
                out->name[0] = 0; /* not a name: the resolver says so */
            return true;
        }
    }
    return false;
}

static bool next_evidence(struct rmd_watch *w, struct wlist *l, int64_t now_ms, struct rmd_watch_lookup *out) {
    if (rmd_list_empty(&l->evidence))
        return false;
    struct lookup *x = rmd_container(l->evidence.next, struct lookup, link);
    rmd_list_remove(&x->link);
    if (rmd_blocklist_query(l->pb, x->question->subject, out->name) < 0)
        out->name[0] = 0;
    take(w, l, now_ms, true);
    leave(w, x, out);
    return true;
}

static void ask(struct rmd_watch *w, struct question *q, int64_t now_ms, bool urgent, struct rmd_watch_lookup *out) {
    struct wlist *l = q->list;
    rmd_heap_remove(&l->due[q->neighbour], &q->heap);
    rmd_list_remove(&q->link);
    if (q->phase == PHASE_IDLE)
        q->phase = PHASE_ASKED;
    if (rmd_blocklist_query(l->pb, q->subject, out->name) < 0)
        out->name[0] = 0;
    take(w, l, now_ms, urgent);
    struct lookup *x = look(l, LOOK_QUESTION, q->unit);
    x->question = q;
    leave(w, x, out);
}

static struct question *first_urgent(const struct wlist *l) {
    rmd_list_for(it, &l->urgent) {
        struct question *q = rmd_container(it, struct question, link);
        if (l->unit[q->unit].state == RMD_LIST_TRUSTED)
            return q;
    }
    return NULL;
}

/* The first of a heap whose unit is trusted, and when it is due. The others wait for their test; they are put off a little, so
 * that they don't hide the rest. */
static struct question *first_due(struct wlist *l, int neighbour, int64_t now_ms) {
    struct rmd_heap_node *node;
    while ((node = rmd_heap_min(&l->due[neighbour]))) {
        struct question *q = rmd_container(node, struct question, heap);
        const struct unit *x = &l->unit[q->unit];
        if (node->key > now_ms || x->state == RMD_LIST_TRUSTED)
            return q;
        int64_t at = x->test_at_ms > now_ms ? x->test_at_ms : now_ms;
        rmd_heap_set(&l->due[neighbour], node, at + 1000);
    }
    return NULL;
}

static bool next_of(struct rmd_watch *w, struct wlist *l, int64_t now_ms, struct rmd_watch_lookup *out) {
    if (l->in_flight >= RMD_WATCH_LIST_IN_FLIGHT)
        return false;
    if (both_at(w, l, now_ms, true) <= now_ms) {
        if (next_test(w, l, now_ms, out) || next_evidence(w, l, now_ms, out))
            return true;
        struct question *q = first_urgent(l);
        if (q) {
            ask(w, q, now_ms, true, out);
            return true;
        }
    }
    for (int neighbour = 0; neighbour < 2; neighbour++) {
        struct question *q = first_due(l, neighbour, now_ms);
        if (!q || q->heap.key > now_ms)
            continue;
        if (both_at(w, l, now_ms, false) > now_ms)
            return false;
        ask(w, q, now_ms, false, out);
        return true;
    }
    return false;
}

bool rmd_watch_next(struct rmd_watch *w, int64_t now_ms, struct rmd_watch_lookup *out) {
    if (w->in_flight >= RMD_WATCH_IN_FLIGHT || !w->lists.n)
        return false;
    /* in turn, so that the budget of all is shared */
    for (int pass = 0; pass < 2; pass++) {
        uint32_t it = 0, i = 0;
        void *v;
        while (rmd_map_next(&w->lists, &it, NULL, &v)) {
            bool later = i++ >= w->turn;
            if (later == (pass == 0) && next_of(w, v, now_ms, out)) {
                w->turn = i;
                return true;
            }
        }
    }
    return false;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Not exact for lists with a silent half, and never too late by more than a second. */
static int64_t list_deadline(const struct rmd_watch *w, const struct wlist *l, int64_t now_ms) {
    if (l->in_flight >= RMD_WATCH_LIST_IN_FLIGHT)
        return RMD_NEVER;
    int64_t urgent = RMD_NEVER, due = RMD_NEVER;
    for (int u = 0; u < UNITS; u++) {
        const struct unit *x = &l->unit[u];
        if (x->todo)
            urgent = now_ms;
        else if (x->questions && !x->out)
            urgent = earlier(urgent, x->test_at_ms);
    }
    if (!rmd_list_empty(&l->evidence) || first_urgent(l))
        urgent = now_ms;
    for (int k = 0; k < 2; k++) {
        const struct rmd_heap_node *node = rmd_heap_min(&l->due[k]);
        if (node)
            due = earlier(due, node->key);
    }
    int64_t at = RMD_NEVER;
    if (urgent != RMD_NEVER)
        at = urgent > now_ms ? urgent : both_at(w, l, now_ms, true);
    if (due != RMD_NEVER) {
        int64_t room = both_at(w, l, now_ms, false);
        at = earlier(at, due > room ? due : room);
    }
    return at;
}

int64_t rmd_watch_deadline(const struct rmd_watch *w, int64_t now_ms) {
    if (w->in_flight >= RMD_WATCH_IN_FLIGHT)
        return RMD_NEVER;
    int64_t at = RMD_NEVER;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lists, &it, NULL, &v))
        at = earlier(at, list_deadline(w, v, now_ms));
    return at;
}
