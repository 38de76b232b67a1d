/* Sorting: a campaign's chunks, in the order of their keys, into queues by provider.
 *
 * A window of chunks is read ahead of the cursor and the domains of all of them are asked as far as queries may be under way; chunks
 * leave the window in order, each in one batch with the campaign's cursor. A row goes to exactly one place: settled (suppressed, or the
 * domain takes no mail), the queue of its provider, or - when DNS gives no answer in time - a record of its own that is resolved again
 * later. The time counts from when the last domain of its chunk was asked.
 *
 * Each answer leads here, and a window has thousands of domains: so every chunk remembers how many of its domains, from the first on,
 * were asked and have been answered, and an answer costs a look at the next ones. */
#include "coordinator/core/core.h"
#include "coordinator/core/intake.h"

enum { SORT_PER_STEP = 16, SORT_READ_BYTES = 2 << 20 };

void rmd_sort_chunk_free(struct rmd_campaign *k, struct rmd_sort_chunk *s) {
    rmd_list_remove(&s->link);
    k->n_sort--;
    rmd_arena_release(&s->rows_own);
    free(s);
}

void rmd_sort_clear(struct rmd_campaign *k) {
    rmd_list_for_safe(it, &k->sort) rmd_sort_chunk_free(k, rmd_container(it, struct rmd_sort_chunk, link));
}

static void finished(struct rmd_coord *c, struct rmd_campaign *k) {
    k->sorted = true;
    uint64_t lost = rmd_campaign_unsorted(k);
    if (lost)
        rmd_core_warn(c, "campaign \"%s\": %llu of its rows aren't in the store", k->rec->name,
                      (unsigned long long)lost);
}

void rmd_sort_ahead(struct rmd_coord *c, struct rmd_campaign *k) {
    if (k->sort_end && rmd_list_empty(&k->sort) && !k->sorted)
        finished(c, k);
    if (k->sort_end || k->sort_scanning || k->n_sort > RMD_SORT_WINDOW / 2)
        return;
    struct rmd_key prefix = rmd_key_chunks_of('K', k->rec->tenant, &k->id), from = prefix,
                   to = rmd_key_after(&prefix);
    if (k->sort_cursor.n) {
        from = k->sort_cursor;
        from.b[from.n++] = 0;
    }
    k->sort_scanning = true;
    rmd_core_scan(c, RMD_READ_SORT, k, &from, &to, RMD_SORT_WINDOW / 2, SORT_READ_BYTES, false);
}

void rmd_sort_scanned(struct rmd_campaign *k, const struct rmd_coord_event *e) {
    k->sort_scanning = false;
    for (size_t i = 0; i < e->n_rows; i++) {
        const struct rmd_row *r = &e->row[i];
        struct rmd_sort_chunk *s = rmd_alloc(sizeof *s);
        memcpy(s->key.b, r->key.p, r->key.n);
        s->key.n = r->key.n;
        s->group = rmd_get_be32(r->key.p + r->key.n - 8);
        s->seq = rmd_get_be32(r->key.p + r->key.n - 4);
        s->tail = rmd_group_is_tail(k->rec->engagement, s->group);
        s->rows = rmd_rows_read(r->value, &s->rows_own);
        rmd_list_push(&k->sort, &s->link);
        k->n_sort++;
        k->sort_cursor = s->key;
    }
    k->sort_end |= !e->more || !e->n_rows;
}

/* As many of its domains as queries may be under way; true: all. */
static bool asked(struct rmd_coord *c, struct rmd_sort_chunk *s) {
    const Remuda__Chunk *r = s->rows;
    if (s->n_asked == r->n_domain)
        return true;
    while (s->n_asked < r->n_domain && rmd_site_asked(rmd_site_find(c, r->domain[s->n_asked])))
        s->n_asked++;
    if (s->n_asked < r->n_domain)
        return false;
    s->since_mono_ms = c->now.mono_ms;
    return true;
}

static bool all_answered(struct rmd_coord *c, struct rmd_sort_chunk *s) {
    const Remuda__Chunk *r = s->rows;
    while (s->n_answered < r->n_domain && rmd_site_find(c, r->domain[s->n_answered])->state != RMD_SITE_WAIT)
        s->n_answered++;
    return s->n_answered == r->n_domain;
}

/* The domains of a chunk: all known, or no longer waited for. */
static bool answered(struct rmd_coord *c, struct rmd_sort_chunk *s, struct rmd_domain **v) {
    const Remuda__Chunk *r = s->rows;
    bool alone = r->n_domain == 1 && !s->tail;
    int64_t until = s->since_mono_ms + (alone ? RMD_SORT_WAIT_ALONE_MS : RMD_SORT_WAIT_MS);
    bool waits = c->now.mono_ms < until, all = all_answered(c, s), temporary = false;
    if (all || !waits) {
        for (size_t i = 0; i < r->n_domain; i++) {
            v[i] = rmd_site_find(c, r->domain[i]);
            all &= v[i]->state != RMD_SITE_WAIT; /* an early answer may be over again */
            temporary |= v[i]->state == RMD_SITE_TEMP;
        }
        if (!waits || (all && !(alone && temporary)))
            return true;
        s->n_answered = 0;
    }
    rmd_core_wake(c, until);
    return false;
}

static bool sound(const Remuda__Chunk *r) {
    if (!r || r->n_row > RMD_CHUNK_ROWS_MAX || r->n_address_hash != r->n_row || !r->n_domain ||
        (r->n_domain_of && r->n_domain_of != r->n_row))
        return false;
    for (size_t i = 0; i < r->n_domain_of; i++) {
        if (r->domain_of[i] >= r->n_domain)
            return false;
    }
    return true;
}

/* Q rows are written directly: no entry of this chunk can be in memory before it was sorted. */
static void enqueue(struct rmd_coord *c, struct rmd_campaign *k, const struct rmd_chunk *ch, uint32_t provider,
                    const uint8_t *bits) {
    uint32_t n = (uint32_t)rmd_bit_count(bits, RMD_CHUNK_ROWS_MAX);
    struct rmd_cq *q = rmd_cq_get(c, provider, k);
    struct rmd_chunk_ref ref;
    rmd_key_of_chunk(ch, &ref);
    struct rmd_key key = rmd_key_queue(k->rec->tenant, provider, k->rec->stream, &ref);
    Remuda__QueueRecord r = REMUDA__QUEUE_RECORD__INIT;
    r.queued.data = (uint8_t *)(uintptr_t)bits;
    r.queued.len = RMD_CHUNK_BITS;
    rmd_core_put(c, &key, &r);
    q->queued += n;
    q->pq->queued += n;
    k->queued += n;
    q->put_tag = c->tag + 1;
    if (q->queued == n + q->loaded) /* nothing else to find before this is durable */
        q->wait_tag = q->put_tag;
}

struct targets {
    uint32_t provider[RMD_CHUNK_ROWS_MAX];
    uint8_t bits[RMD_CHUNK_ROWS_MAX][RMD_CHUNK_BITS];
    size_t n;
};

static void target(struct targets *t, uint32_t provider, uint32_t row) {
    size_t i = 0;
    while (i < t->n && t->provider[i] != provider)
        i++;
    if (i == t->n) {
        t->provider[t->n++] = provider;
        memset(t->bits[i], 0, sizeof t->bits[i]);
    }
    rmd_bit_set(t->bits[i], row);
}

static void place(struct rmd_coord *c, struct rmd_campaign *k, struct rmd_sort_chunk *s, struct rmd_domain **domain) {
    struct rmd_chunk *ch = rmd_chunk_get(c, k, s->group, s->seq);
    struct targets *t = rmd_arena_alloc(&c->scratch, sizeof *t);
    rmd_chunk_take_rows(ch, s);
    for (uint32_t i = 0; i < ch->n; i++) {
        struct rmd_domain *d = domain[ch->rows->n_domain_of ? ch->rows->domain_of[i] : 0];
        if (rmd_suppress_has(c, k->rec->stream, ch->rows->address_hash[i])) {
            rmd_settle_row(c, ch, i, RMD_SETTLED_SUPPRESSED, NULL);
        } else if (d->state == RMD_SITE_OK) {
            target(t, d->provider, i);
        } else if (d->state == RMD_SITE_GONE) {
            rmd_settle_row(c, ch, i, RMD_SETTLED_BOUNCED, d->detail);
        } else {
            Remuda__DeferredRecord *r = rmd_deferred_of_row(c, ch, i, 0);
            r->not_before_wall_ms += RMD_DNS_RETRY_MIN_MS;
            rmd_deferred_put(c, k, r);
        }
    }
    for (size_t i = 0; i < t->n; i++)
        enqueue(c, k, ch, t->provider[i], t->bits[i]);
    rmd_chunk_unref(c, ch);
}

void rmd_sort(struct rmd_coord *c, struct rmd_campaign *k) {
    unsigned done = 0;
    bool head = true;
    rmd_list_for_safe(it, &k->sort) {
        struct rmd_sort_chunk *s = rmd_container(it, struct rmd_sort_chunk, link);
        if (!sound(s->rows)) {
            rmd_core_warn(c, "campaign \"%s\": chunk %08x/%u is damaged; its recipients can't be sent", k->rec->name,
                          s->group, s->seq);
            if (head)
                rmd_sort_chunk_free(k, s);
            continue;
        }
        if (!asked(c, s))
            head = false;
        if (!head)
            continue;
        struct rmd_domain **domain = rmd_arena_alloc(&c->scratch, s->rows->n_domain * sizeof *domain);
        bool ready = answered(c, s, domain);
        if (!ready || done >= SORT_PER_STEP) {
            c->more |= ready;
            head = false;
            continue;
        }
        place(c, k, s, domain);
        rmd_bytes_set(&k->rec->sort_cursor, s->key.b, s->key.n);
        rmd_campaign_dirty(c, k);
        rmd_sort_chunk_free(k, s);
        done++;
    }
    rmd_sort_ahead(c, k);
}
