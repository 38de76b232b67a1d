/* Deferred recipients: records of their own, in queues by (provider, stream, sticky source), in order of their time.
 *
 * A queue is read from a cursor up to now; what is loaded stays on disk until a lease takes it (the lease's batch
 * deletes the key). New keys always sort after the cursor, except while their commit is under way: a scan stops
 * before the earliest put that isn't durable.
 *
 * Provider 0 holds recipients whose domain couldn't be resolved; they move to their provider's queue when it can, or
 * bounce. */
#include "coordinator/core/core.h"

struct rmd_id rmd_deferred_id(const Remuda__DeferredRecord *r) {
    struct rmd_id campaign = {{0}};
    struct rmd_row_head h;
    if (r->campaign.len == sizeof campaign.b)
        memcpy(campaign.b, r->campaign.data, sizeof campaign.b);
    if (!rmd_row_head(rmd_slice(r->row.data, r->row.len), &h))
        return campaign;
    return rmd_id_row(&campaign, h.ordinal);
}

static struct rmd_slice dq_key(uint8_t key[12], uint32_t provider, const struct rmd_stream *s, uint32_t sticky) {
    rmd_put_be32(key, provider);
    rmd_put_be32(key + 4, s->rec->id);
    rmd_put_be32(key + 8, sticky);
    return rmd_slice(key, 12);
}

struct rmd_dq *rmd_dq_find(struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s, uint32_t sticky) {
    uint8_t key[12];
    return rmd_map_get(&c->dqs, dq_key(key, provider, s, sticky));
}

struct rmd_dq *rmd_dq_get(struct rmd_coord *c, uint32_t provider, struct rmd_stream *s, uint32_t sticky) {
    struct rmd_dq *q = rmd_dq_find(c, provider, s, sticky);
    if (q)
        return q;
    uint8_t key[12];
    struct rmd_pq *pq = rmd_pq_get(c, provider, s);
    q = rmd_alloc(sizeof *q);
    q->pq = pq;
    q->sticky = sticky;
    q->next_wall_ms = q->inflight_wall_ms = RMD_NEVER;
    rmd_list_init(&q->items);
    rmd_list_push(&pq->dqs, &q->in_pq);
    rmd_list_push(&c->all_dqs, &q->all);
    rmd_map_set(&c->dqs, dq_key(key, provider, s, sticky), q);
    return q;
}

/* While it is being read, full, or waits for a commit, another event comes first. */
static void look_when_due(struct rmd_coord *c, struct rmd_dq *q) {
    if (!q->scanning && q->n_items < RMD_DQ_WINDOW / 2 && q->inflight_wall_ms > q->next_wall_ms)
        rmd_heap_set(&c->due_dqs, &q->due, q->next_wall_ms);
    else
        rmd_heap_remove(&c->due_dqs, &q->due);
}

void rmd_dq_stored(struct rmd_coord *c, struct rmd_dq *q, int64_t at_wall_ms) {
    if (at_wall_ms < q->next_wall_ms)
        q->next_wall_ms = at_wall_ms;
    look_when_due(c, q);
}

static struct rmd_key key_of(const struct rmd_dq *q, const Remuda__DeferredRecord *r) {
    struct rmd_id id = rmd_deferred_id(r);
    return rmd_key_deferred(q->pq->stream->rec->tenant, q->pq->provider_id, q->pq->stream->rec->id, q->sticky,
                            r->not_before_wall_ms, &id);
}

void rmd_dq_count(struct rmd_coord *c, struct rmd_dq *q, int by) {
    q->count = (uint64_t)((int64_t)q->count + by);
    q->pq->deferred = (uint64_t)((int64_t)q->pq->deferred + by);
    if (!q->sticky)
        return;
    struct rmd_account *const a[] = {
        rmd_ledger_account(&c->ledger, RMD_ACCOUNT_LANE, q->sticky, q->pq->provider_id),
        rmd_ledger_account(&c->ledger, RMD_ACCOUNT_SOURCE, q->sticky, 0),
    };
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++)
        a[i]->kept = (uint64_t)((int64_t)a[i]->kept + by);
}

void rmd_deferred_put(struct rmd_coord *c, struct rmd_campaign *k, Remuda__DeferredRecord *r) {
    struct rmd_dq *q = rmd_dq_get(c, r->provider, k->stream, r->sticky_source);
    if (r->not_before_wall_ms <= q->cursor_wall_ms)
        r->not_before_wall_ms = q->cursor_wall_ms + 1;
    struct rmd_key key = key_of(q, r);
    rmd_core_put(c, &key, r);
    rmd_dq_count(c, q, 1);
    k->deferred++;
    q->put_tag = c->tag + 1;
    if (r->not_before_wall_ms < q->inflight_wall_ms)
        q->inflight_wall_ms = r->not_before_wall_ms;
    if (!rmd_list_linked(&q->in_flight))
        rmd_list_push(&c->flying_dqs, &q->in_flight);
    rmd_dq_stored(c, q, r->not_before_wall_ms);
}

void rmd_deferred_delete(struct rmd_coord *c, struct rmd_campaign *k, const Remuda__DeferredRecord *r) {
    struct rmd_dq *q = rmd_dq_get(c, r->provider, k->stream, r->sticky_source);
    struct rmd_key key = key_of(q, r);
    rmd_core_delete(c, &key);
    if (q->count)
        rmd_dq_count(c, q, -1);
    if (k->deferred)
        k->deferred--;
}

void rmd_ditem_free(struct rmd_coord *c, struct rmd_ditem *d) {
    if (rmd_list_linked(&d->link)) {
        rmd_list_remove(&d->link);
        if (--d->dq->n_items == 0) {
            rmd_list_remove(&d->dq->in_ready);
            rmd_list_remove(&d->dq->in_look);
            rmd_look_unbind(d->dq);
            d->dq->pq->n_ready_dqs--;
        }
        look_when_due(c, d->dq);
    }
    if (d->chunk)
        rmd_chunk_unref(c, d->chunk);
    if (d->rec)
        remuda__deferred_record__free_unpacked(d->rec, NULL);
    free(d);
}

/* A record for a row that has none yet; it is the scratch arena's, its bytes are the chunk's. */
Remuda__DeferredRecord *rmd_deferred_of_row(struct rmd_coord *c, const struct rmd_chunk *ch, uint32_t row,
                                            uint32_t provider) {
    Remuda__DeferredRecord *d = rmd_arena_alloc(&c->scratch, sizeof *d);
    remuda__deferred_record__init(d);
    d->campaign.data = ch->campaign->id.b;
    d->campaign.len = sizeof ch->campaign->id.b;
    d->chunk.data = rmd_arena_alloc(&c->scratch, 8);
    d->chunk.len = 8;
    rmd_put_be32(d->chunk.data, ch->group);
    rmd_put_be32(d->chunk.data + 4, ch->seq);
    d->index = row;
    d->row = ch->rows->row[row];
    d->address_hash = ch->rows->address_hash[row];
    d->stream = ch->campaign->rec->stream;
    d->provider = provider;
    d->not_before_wall_ms = c->now.wall_ms;
    return d;
}

/* ---------------------------------------------------------------- loading */

static void load(struct rmd_coord *c, struct rmd_dq *q) {
    uint32_t tenant = q->pq->stream->rec->tenant, stream = q->pq->stream->rec->id;
    struct rmd_key prefix = rmd_key_deferred_of(tenant, q->pq->provider_id, stream, q->sticky);
    struct rmd_key from = prefix, to = rmd_key_after(&prefix);
    if (q->cursor.n) {
        from = q->cursor;
        from.b[from.n++] = 0;
    }
    q->scanning = true;
    q->next_wall_ms = RMD_NEVER; /* puts while it runs lower it again */
    look_when_due(c, q);
    rmd_core_scan(c, RMD_READ_DQ, q, &from, &to, RMD_DQ_WINDOW / 2, RMD_BODY_CHUNK_BYTES, false);
}

void rmd_deferred_load(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->flying_dqs) {
        struct rmd_dq *q = rmd_container(it, struct rmd_dq, in_flight);
        if (q->scanning || q->put_tag > c->persisted)
            continue; /* a running scan may have missed what became durable meanwhile */
        q->inflight_wall_ms = RMD_NEVER;
        rmd_list_remove(&q->in_flight);
        look_when_due(c, q);
    }
    struct rmd_heap_node *first;
    while ((first = rmd_heap_min(&c->due_dqs)) != NULL && first->key <= c->now.wall_ms)
        load(c, rmd_container(first, struct rmd_dq, due));
}

static int64_t key_time(const struct rmd_slice key) {
    return key.n == 41 ? (int64_t)rmd_get_be64(key.p + 17) : 0;
}

static void item_add(struct rmd_coord *c, struct rmd_dq *q, Remuda__DeferredRecord *rec, struct rmd_campaign *k) {
    struct rmd_ditem *d = rmd_alloc(sizeof *d);
    d->rec = rec;
    d->dq = q;
    d->chunk = rmd_chunk_get(c, k, rmd_get_be32(rec->chunk.data), rmd_get_be32(rec->chunk.data + 4));
    rmd_list_push(&q->items, &d->link);
    if (q->n_items++ == 0)
        rmd_list_push(&q->pq->ready_dqs, &q->in_ready), q->pq->n_ready_dqs++;
}

void rmd_deferred_scanned(struct rmd_coord *c, struct rmd_dq *q, const struct rmd_read *r,
                          const struct rmd_coord_event *e) {
    q->scanning = false;
    c->deal_on = true;
    int64_t upto = q->inflight_wall_ms < r->at_wall_ms + 1 ? q->inflight_wall_ms : r->at_wall_ms + 1;
    struct rmd_chunk **v = rmd_arena_alloc(&c->scratch, (e->n_rows + 1) * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < e->n_rows; i++) {
        int64_t at = key_time(e->row[i].key);
        if (at >= upto) { /* not due, or not safe to pass yet */
            if (at < q->next_wall_ms)
                q->next_wall_ms = at;
            break;
        }
        memcpy(q->cursor.b, e->row[i].key.p, e->row[i].key.n);
        q->cursor.n = e->row[i].key.n;
        q->cursor_wall_ms = at;
        Remuda__DeferredRecord *rec = remuda__deferred_record__unpack(NULL, e->row[i].value.n, e->row[i].value.p);
        struct rmd_campaign *k = rec ? rmd_campaign_find(c, rmd_slice(rec->campaign.data, rec->campaign.len)) : NULL;
        if (!k || k->draining || rec->chunk.len != 8 || rec->index >= RMD_CHUNK_ROWS_MAX) {
            if (rec)
                remuda__deferred_record__free_unpacked(rec, NULL); /* the drain's sweep settles it */
            continue;
        }
        item_add(c, q, rec, k);
        v[n++] = rmd_container(q->items.prev, struct rmd_ditem, link)->chunk;
        if (i + 1 == e->n_rows && e->more && at < q->next_wall_ms)
            q->next_wall_ms = at; /* there may be more that is due */
    }
    if (q->inflight_wall_ms < q->next_wall_ms)
        q->next_wall_ms = q->inflight_wall_ms;
    look_when_due(c, q);
    if (rmd_chunk_load(c, q->pq, v, n))
        rmd_look_retries(q);
}

int64_t rmd_deferred_deadline_wall(const struct rmd_coord *c) {
    const struct rmd_heap_node *first = rmd_heap_min(&c->due_dqs);
    return first ? first->key : RMD_NEVER;
}

/* ---------------------------------------------------------------- unresolved domains */

static void resolve_one(struct rmd_coord *c, struct rmd_ditem *d) {
    struct rmd_campaign *k = d->chunk->campaign;
    struct rmd_row_head h;
    if (!rmd_row_head(rmd_slice(d->rec->row.data, d->rec->row.len), &h))
        return;
    char *name = rmd_arena_str(&c->scratch, rmd_address_domain(h.email));
    rmd_lower_str(name);
    struct rmd_domain *s = rmd_site_find(c, name);
    if (s->state == RMD_SITE_WAIT)
        return; /* the answer comes, and with it another look */
    rmd_deferred_delete(c, k, d->rec);
    if (s->state == RMD_SITE_GONE) {
        rmd_settle_deferred(c, d->chunk, d->rec, RMD_SETTLED_BOUNCED, s->detail);
    } else {
        d->rec->provider = s->state == RMD_SITE_OK ? s->provider : 0;
        d->rec->not_before_wall_ms = c->now.wall_ms;
        if (s->state == RMD_SITE_TEMP)
            d->rec->not_before_wall_ms += s->until_mono_ms > c->now.mono_ms ? s->until_mono_ms - c->now.mono_ms : 1;
        rmd_deferred_put(c, k, d->rec);
    }
    rmd_ditem_free(c, d);
}

/* Items whose queue names no configured provider: resolve them. */
void rmd_deferred_resolve(struct rmd_coord *c) {
    rmd_list_for(pt, &c->all_pqs) {
        struct rmd_pq *pq = rmd_container(pt, struct rmd_pq, all);
        if (pq->provider >= 0)
            continue;
        rmd_list_for_safe(qt, &pq->ready_dqs) {
            struct rmd_dq *q = rmd_container(qt, struct rmd_dq, in_ready);
            rmd_list_for_safe(it, &q->items) {
                struct rmd_ditem *d = rmd_container(it, struct rmd_ditem, link);
                if (d->chunk->has_state && !d->chunk->loading)
                    resolve_one(c, d);
            }
        }
    }
}

void rmd_deferred_free(struct rmd_coord *c) {
    rmd_heap_release(&c->due_dqs); /* it writes to its nodes: before they go */
    rmd_list_for_safe(it, &c->all_dqs) {
        struct rmd_dq *q = rmd_container(it, struct rmd_dq, all);
        rmd_list_for_safe(jt, &q->items) {
            struct rmd_ditem *d = rmd_container(jt, struct rmd_ditem, link);
            remuda__deferred_record__free_unpacked(d->rec, NULL);
            free(d);
        }
        free(q);
    }
    rmd_map_release(&c->dqs);
}
