/* Draining: what a cancelled or aged campaign still holds is settled where it lies, a bounded number of recipients a
 * step: chunks that were never sorted, queue entries (loaded as if to be dealt), and deferred records (those loaded
 * at once, the rest by one sweep over the queues of the campaign's stream). What is leased comes back through its
 * node's reports and is settled there. */
#include "coordinator/core/core.h"

void rmd_drain_start(struct rmd_coord *c, struct rmd_campaign *k) {
    if (k->draining || k->rec->finished_wall_ms)
        return;
    k->draining = true;
    k->drain_swept = false;
    k->drain_dq = NULL;
    k->drain_cursor.n = 0;
    if (!k->recalled && k->rec->state != RMD_CAMPAIGN_CANCELLED)
        rmd_recall_campaign(c, k, RMD_RETURN_AGE, -1);
    k->recalled = true;
    /* Loaded deferred records first: the sweep must not meet a key that a batch under way deletes. */
    rmd_list_for(pt, &k->stream->pqs) {
        struct rmd_pq *pq = rmd_container(pt, struct rmd_pq, in_stream);
        rmd_list_for(qt, &pq->dqs) {
            struct rmd_dq *q = rmd_container(qt, struct rmd_dq, in_pq);
            rmd_list_for_safe(it, &q->items) {
                struct rmd_ditem *d = rmd_container(it, struct rmd_ditem, link);
                if (d->chunk->campaign != k)
                    continue;
                if (d->chunk->has_state) {
                    rmd_deferred_delete(c, k, d->rec);
                    rmd_settle_deferred(c, d->chunk, d->rec, rmd_campaign_drain_kind(k), NULL);
                }
                rmd_ditem_free(c, d); /* without state: still on disk, the sweep finds it */
            }
        }
    }
    k->drain_tag = c->tag + 1;
}

static uint32_t drain_unsorted(struct rmd_coord *c, struct rmd_campaign *k, uint32_t budget) {
    uint32_t n = 0;
    rmd_list_for_safe(it, &k->sort) {
        struct rmd_sort_chunk *s = rmd_container(it, struct rmd_sort_chunk, link);
        if (n >= budget)
            return n;
        if (s->rows && s->rows->n_row <= RMD_CHUNK_ROWS_MAX && s->rows->n_address_hash == s->rows->n_row) {
            struct rmd_chunk *ch = rmd_chunk_get(c, k, s->group, s->seq);
            rmd_chunk_take_rows(ch, s);
            for (uint32_t i = 0; i < ch->n; i++)
                rmd_settle_row(c, ch, i, rmd_campaign_drain_kind(k), NULL);
            n += ch->n;
            rmd_chunk_unref(c, ch);
        }
        rmd_bytes_set(&k->rec->sort_cursor, s->key.b, s->key.n);
        rmd_campaign_dirty(c, k);
        rmd_sort_chunk_free(k, s);
    }
    rmd_sort_ahead(c, k);
    return n;
}

static uint32_t drain_queued(struct rmd_coord *c, struct rmd_campaign *k, uint32_t budget) {
    uint32_t n = 0;
    rmd_list_for(qt, &k->cqs) {
        struct rmd_cq *q = rmd_container(qt, struct rmd_cq, in_campaign);
        rmd_list_for_safe(it, &q->entries) {
            struct rmd_entry *e = rmd_container(it, struct rmd_entry, in_cq);
            struct rmd_chunk *ch = e->chunk;
            if (!ch->rows || !ch->has_state)
                continue;
            for (uint32_t i = 0; i < ch->n && n < budget; i++) {
                if (!rmd_bit_get(e->queued, i))
                    continue;
                rmd_entry_clear(c, e, i);
                rmd_settle_row(c, ch, i, rmd_campaign_drain_kind(k), NULL);
                n++;
            }
            if (n >= budget)
                return n;
        }
    }
    return n;
}

/* ---------------------------------------------------------------- the sweep over deferred records */

static struct rmd_dq *dq_after(struct rmd_campaign *k, const struct rmd_dq *after) {
    bool found = !after;
    rmd_list_for(pt, &k->stream->pqs) {
        struct rmd_pq *pq = rmd_container(pt, struct rmd_pq, in_stream);
        rmd_list_for(qt, &pq->dqs) {
            struct rmd_dq *q = rmd_container(qt, struct rmd_dq, in_pq);
            if (found)
                return q;
            found = q == after;
        }
    }
    return NULL;
}

void rmd_drain_unpin(struct rmd_coord *c, struct rmd_campaign *k) {
    for (size_t i = 0; i < k->n_drain_pins; i++)
        rmd_chunk_unref(c, k->drain_pin[i]);
    free(k->drain_pin);
    k->drain_pin = NULL;
    k->n_drain_pins = 0;
}

static bool pins_loading(const struct rmd_campaign *k) {
    for (size_t i = 0; i < k->n_drain_pins; i++) {
        if (k->drain_pin[i]->loading)
            return true;
    }
    return false;
}

static void sweep(struct rmd_coord *c, struct rmd_campaign *k) {
    if (k->drain_swept || k->drain_scanning || !rmd_core_left(c, k->drain_tag) || pins_loading(k))
        return;
    if (!k->deferred) { /* every record is counted */
        k->drain_swept = true;
        return;
    }
    if (!k->drain_dq) {
        k->drain_dq = dq_after(k, NULL);
        k->drain_cursor.n = 0;
    }
    if (!k->drain_dq)
        return;
    const struct rmd_dq *q = k->drain_dq;
    struct rmd_key prefix = rmd_key_deferred_of(k->rec->tenant, q->pq->provider_id, k->rec->stream, q->sticky);
    struct rmd_key from = prefix, to = rmd_key_after(&prefix);
    if (k->drain_cursor.n) {
        from = k->drain_cursor;
        from.b[from.n++] = 0;
    }
    k->drain_scanning = true;
    rmd_core_scan(c, RMD_READ_SWEEP, k, &from, &to, RMD_CHUNK_ROWS_MAX, RMD_BODY_CHUNK_BYTES, false);
}

/* Chunks of the records must be loaded before they are settled: the page is read again when they are. */
void rmd_drain_swept(struct rmd_coord *c, struct rmd_campaign *k, const struct rmd_coord_event *e) {
    k->drain_scanning = false;
    if (!k->draining) {
        rmd_drain_unpin(c, k);
        return;
    }
    struct rmd_chunk **lack = rmd_arena_alloc(&c->scratch, (e->n_rows + 1) * sizeof *lack);
    size_t n_lack = 0;
    for (size_t i = 0; i < e->n_rows; i++) {
        Remuda__DeferredRecord *r = rmd_pb_decode(&remuda__deferred_record__descriptor, e->row[i].value, &c->scratch);
        bool ours = r && r->chunk.len == 8 && r->index < RMD_CHUNK_ROWS_MAX &&
                    rmd_slice_eq(rmd_slice(r->campaign.data, r->campaign.len), rmd_slice(k->id.b, sizeof k->id.b));
        struct rmd_chunk *ch = NULL;
        if (ours) {
            ch = rmd_chunk_get(c, k, rmd_get_be32(r->chunk.data), rmd_get_be32(r->chunk.data + 4));
            if (!ch->has_state) {
                lack[n_lack++] = ch;
                continue;
            }
        }
        if (!n_lack) {
            memcpy(k->drain_cursor.b, e->row[i].key.p, e->row[i].key.n);
            k->drain_cursor.n = e->row[i].key.n;
            if (ours) {
                rmd_deferred_delete(c, k, r);
                rmd_settle_deferred(c, ch, r, rmd_campaign_drain_kind(k), NULL);
            }
        }
        if (ch)
            rmd_chunk_unref(c, ch);
    }
    rmd_chunk_load(c, NULL, lack, n_lack);
    rmd_drain_unpin(c, k);
    if (n_lack) { /* they stay until the page was read again */
        k->drain_pin = rmd_memdup(lack, n_lack * sizeof *lack);
        k->n_drain_pins = n_lack;
    }
    if (n_lack || e->more)
        return;
    struct rmd_dq *next = dq_after(k, k->drain_dq);
    k->drain_dq = next;
    k->drain_cursor.n = 0;
    if (!next && k->deferred) { /* records that were put while it went round */
        k->drain_tag = c->tag + 1;
        rmd_core_wake(c, c->now.mono_ms + RMD_TICK_MS);
    }
}

void rmd_drain(struct rmd_coord *c, struct rmd_campaign *k) {
    uint32_t n = drain_unsorted(c, k, RMD_DRAIN_PER_STEP);
    n += drain_queued(c, k, RMD_DRAIN_PER_STEP - (n < RMD_DRAIN_PER_STEP ? n : RMD_DRAIN_PER_STEP));
    sweep(c, k);
    if (n >= RMD_DRAIN_PER_STEP)
        c->more = true;
}
