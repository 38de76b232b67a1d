/* Queue: chunks and the rows of them that wait, in windows.
 *
 * Q on disk holds, for each (provider, stream, campaign, chunk), a bitmap of waiting rows. In memory there are a few
 * entries of each such queue, loaded ahead by a scan from a cursor, so that tombstones at the head are passed once.
 * An entry that is in memory is the truth; one that isn't is on disk, unchanged. Entries and chunks stay while a
 * lease pins them or a commit that wrote them is under way. */
#include "coordinator/core/core.h"

void rmd_key_of_chunk(const struct rmd_chunk *ch, struct rmd_chunk_ref *ref) {
    *ref = (struct rmd_chunk_ref){.campaign = ch->campaign->id, .group = ch->group, .seq = ch->seq};
}

/* ---------------------------------------------------------------- queues */

/* In order of priority, so that the more urgent stream chooses its lanes first. */
static void pq_place(struct rmd_coord *c, struct rmd_pq *q) {
    struct rmd_list *at = &c->all_pqs;
    rmd_list_for(it, &c->all_pqs) {
        if (rmd_container(it, struct rmd_pq, all)->stream->rec->priority > q->stream->rec->priority) {
            at = it;
            break;
        }
    }
    rmd_list_insert_before(at, &q->all);
}

struct rmd_pq *rmd_pq_get(struct rmd_coord *c, uint32_t provider, struct rmd_stream *s) {
    uint64_t k = (uint64_t)provider << 32 | s->rec->id;
    struct rmd_pq *q = rmd_map_get_u64(&c->pqs, k);
    if (q)
        return q;
    q = rmd_alloc(sizeof *q);
    q->provider_id = provider;
    q->provider = rmd_provider_index(c, provider);
    q->stream = s;
    rmd_list_init(&q->cqs);
    rmd_list_init(&q->dqs);
    rmd_list_init(&q->ready_dqs);
    rmd_list_init(&q->look.retries);
    q->look.again_mono_ms = RMD_NEVER;
    rmd_list_push(&s->pqs, &q->in_stream);
    pq_place(c, q);
    rmd_map_set_u64(&c->pqs, k, q);
    return q;
}

void rmd_pq_reorder(struct rmd_coord *c, struct rmd_stream *s) {
    rmd_list_for(it, &s->pqs) {
        struct rmd_pq *q = rmd_container(it, struct rmd_pq, in_stream);
        rmd_list_remove(&q->all);
        pq_place(c, q);
    }
}

struct rmd_cq *rmd_cq_get(struct rmd_coord *c, uint32_t provider, struct rmd_campaign *k) {
    rmd_list_for(it, &k->cqs) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        if (q->pq->provider_id == provider)
            return q;
    }
    struct rmd_cq *q = rmd_alloc(sizeof *q);
    q->campaign = k;
    q->pq = rmd_pq_get(c, provider, k->stream);
    q->from_start = true;
    rmd_list_init(&q->entries);
    rmd_list_push(&k->cqs, &q->in_campaign);
    rmd_list_push(&q->pq->cqs, &q->in_pq);
    return q;
}

bool rmd_cqs_drop(struct rmd_campaign *k) {
    rmd_list_for(it, &k->cqs) {
        if (rmd_container(it, struct rmd_cq, in_campaign)->scanning)
            return false;
    }
    rmd_list_for_safe(it, &k->cqs) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        rmd_list_remove(&q->in_campaign);
        rmd_list_remove(&q->in_pq);
        free(q);
    }
    return true;
}

/* ---------------------------------------------------------------- chunks */

struct chunk_key {
    uint8_t b[24];
};
static struct chunk_key chunk_key(const struct rmd_campaign *k, uint32_t group, uint32_t seq) {
    struct chunk_key key;
    memcpy(key.b, k->id.b, 16);
    rmd_put_be32(key.b + 16, group);
    rmd_put_be32(key.b + 20, seq);
    return key;
}

/* With a reference for the caller. */
struct rmd_chunk *rmd_chunk_get(struct rmd_coord *c, struct rmd_campaign *k, uint32_t group, uint32_t seq) {
    struct chunk_key key = chunk_key(k, group, seq);
    struct rmd_chunk *ch = rmd_map_get(&c->chunks, rmd_slice(key.b, sizeof key.b));
    if (!ch) {
        ch = rmd_alloc(sizeof *ch);
        ch->campaign = k;
        k->n_chunks++;
        ch->group = group;
        ch->seq = seq;
        rmd_list_init(&ch->entries);
        rmd_map_set(&c->chunks, rmd_slice(key.b, sizeof key.b), ch);
    }
    ch->refs++;
    rmd_list_remove(&ch->idle_link);
    return ch;
}

/* In one piece: hundreds of rows and domains are read with each lease of a chunk of the tail. NULL: damaged. */
Remuda__Chunk *rmd_rows_read(struct rmd_slice packed, struct rmd_arena *own) {
    enum { ROUNDING = 8 << 10 }; /* each piece to 16 bytes, and the arrays */
    rmd_arena_reserve(own, packed.n + packed.n / 4 + ROUNDING);
    Remuda__Chunk *rows = rmd_pb_decode(&remuda__chunk__descriptor, packed, own);
    if (!rows)
        rmd_arena_release(own);
    return rows;
}

/* Nothing of it was settled before it was sorted. */
void rmd_chunk_take_rows(struct rmd_chunk *ch, struct rmd_sort_chunk *s) {
    rmd_arena_release(&ch->rows_own);
    ch->has_state = true;
    ch->rows = s->rows;
    ch->rows_own = s->rows_own;
    ch->n = (uint32_t)s->rows->n_row;
    s->rows = NULL;
    s->rows_own = (struct rmd_arena){0};
}

void rmd_chunk_unref(struct rmd_coord *c, struct rmd_chunk *ch) {
    if (--ch->refs == 0)
        rmd_list_push(&c->idle_chunks, &ch->idle_link);
}

void rmd_chunk_dirty(struct rmd_coord *c, struct rmd_chunk *ch) {
    if (ch->dirty)
        return;
    ch->dirty = true;
    rmd_list_push(&c->dirty_chunks, &ch->dirty_link);
}

/* Asks for rows and state of those that lack them; each gets a reference until the answer. True: others have them. */
bool rmd_chunk_load(struct rmd_coord *c, struct rmd_pq *q, struct rmd_chunk **v, size_t n) {
    struct rmd_key *keys = rmd_arena_alloc(&c->scratch, (2 * n + 1) * sizeof *keys);
    struct rmd_chunk **want = rmd_alloc((n + 1) * sizeof *want);
    size_t m = 0;
    bool there = false;
    for (size_t i = 0; i < n; i++) {
        if (v[i]->loading || v[i]->failed || (v[i]->rows && v[i]->has_state)) {
            there |= !v[i]->loading;
            continue;
        }
        struct rmd_chunk_ref ref;
        rmd_key_of_chunk(v[i], &ref);
        keys[2 * m] = rmd_key_chunk(v[i]->campaign->rec->tenant, &ref);
        keys[2 * m + 1] = rmd_key_chunk_state(v[i]->campaign->rec->tenant, &ref);
        v[i]->loading = true;
        v[i]->refs++;
        rmd_list_remove(&v[i]->idle_link);
        want[m++] = v[i];
    }
    if (!m) {
        free(want);
        return there;
    }
    struct rmd_read *r = rmd_core_get(c, RMD_READ_CHUNKS, q, keys, 2 * m);
    r->chunk = want;
    r->n_chunks = m;
    return there;
}

void rmd_chunk_got(struct rmd_coord *c, struct rmd_chunk *ch, struct rmd_slice k, struct rmd_slice b) {
    ch->loading = false;
    if (!ch->rows && k.p)
        ch->rows = rmd_rows_read(k, &ch->rows_own);
    if (ch->rows)
        ch->n = (uint32_t)ch->rows->n_row;
    if (!ch->rows || ch->rows->n_row > RMD_CHUNK_ROWS_MAX || ch->rows->n_address_hash != ch->rows->n_row) {
        char id[27];
        rmd_id_format(&ch->campaign->id, id);
        /* A campaign that ended has no chunks any more: a late report about it finds none, and that is all right. */
        if (ch->campaign->rec->state != RMD_CAMPAIGN_DONE)
            rmd_core_warn(c, "campaign %s: chunk %08x/%u is missing or damaged in the store; its recipients wait", id,
                          ch->group, ch->seq);
        ch->failed = true;
    }
    if (ch->has_state)
        return;
    ch->has_state = true;
    if (b.p) {
        Remuda__ChunkStateRecord *s = rmd_pb_decode(&remuda__chunk_state_record__descriptor, b, &c->scratch);
        if (s && s->settled.len <= sizeof ch->settled)
            memcpy(ch->settled, s->settled.data, s->settled.len);
    }
}

/* ---------------------------------------------------------------- entries */

/* With a reference for the caller, and one on the chunk for itself. */
struct rmd_entry *rmd_entry_get(struct rmd_coord *c, struct rmd_cq *q, struct rmd_chunk *ch) {
    rmd_list_for(it, &ch->entries) {
        struct rmd_entry *e = rmd_container(it, struct rmd_entry, in_chunk);
        if (e->cq == q) {
            e->refs++;
            rmd_list_remove(&e->idle_link);
            return e;
        }
    }
    struct rmd_entry *e = rmd_alloc(sizeof *e);
    e->chunk = rmd_chunk_get(c, ch->campaign, ch->group, ch->seq);
    e->cq = q;
    e->refs = 1;
    rmd_list_push(&ch->entries, &e->in_chunk);
    return e;
}

static void entry_dirty(struct rmd_coord *c, struct rmd_entry *e) {
    if (e->dirty)
        return;
    e->dirty = true;
    rmd_list_push(&c->dirty_entries, &e->dirty_link);
}

static void count(struct rmd_entry *e, int64_t by) {
    e->n = (uint32_t)((int64_t)e->n + by);
    e->cq->loaded = (uint64_t)((int64_t)e->cq->loaded + by);
    e->cq->queued = (uint64_t)((int64_t)e->cq->queued + by);
    e->cq->pq->queued = (uint64_t)((int64_t)e->cq->pq->queued + by);
    e->cq->campaign->queued = (uint64_t)((int64_t)e->cq->campaign->queued + by);
}

static void ready(struct rmd_coord *c, struct rmd_entry *e) {
    if (e->n && !rmd_list_linked(&e->in_cq)) {
        rmd_list_push(&e->cq->entries, &e->in_cq);
        e->cq->n_entries++;
        c->windows++;
    } else if (!e->n && rmd_list_linked(&e->in_cq)) {
        rmd_list_remove(&e->in_cq);
        e->cq->n_entries--;
        c->windows--;
        e->incident = 0;
    }
}

void rmd_entry_set(struct rmd_coord *c, struct rmd_entry *e, size_t row) {
    if (rmd_bit_get(e->queued, row))
        return;
    rmd_bit_set(e->queued, row);
    count(e, 1);
    ready(c, e);
    entry_dirty(c, e);
    rmd_look_work(c, e->cq->pq);
}

void rmd_entry_clear(struct rmd_coord *c, struct rmd_entry *e, size_t row) {
    if (!rmd_bit_get(e->queued, row))
        return;
    rmd_bit_clear(e->queued, row);
    count(e, -1);
    ready(c, e);
    if (!e->n && !e->refs)
        rmd_list_push(&c->idle_entries, &e->idle_link);
    entry_dirty(c, e);
}

void rmd_entry_unref(struct rmd_coord *c, struct rmd_entry *e) {
    if (--e->refs == 0 && !e->n)
        rmd_list_push(&c->idle_entries, &e->idle_link);
}

static void entry_free(struct rmd_coord *c, struct rmd_entry *e) {
    rmd_list_remove(&e->idle_link);
    rmd_list_remove(&e->in_chunk);
    rmd_list_remove(&e->in_cq);
    rmd_list_remove(&e->dirty_link);
    rmd_chunk_unref(c, e->chunk);
    free(e);
}

static void chunk_free(struct rmd_coord *c, struct rmd_chunk *ch) {
    struct chunk_key key = chunk_key(ch->campaign, ch->group, ch->seq);
    rmd_map_remove(&c->chunks, rmd_slice(key.b, sizeof key.b));
    rmd_list_remove(&ch->idle_link);
    rmd_list_remove(&ch->dirty_link);
    rmd_arena_release(&ch->rows_own);
    ch->campaign->n_chunks--;
    free(ch);
}

void rmd_queue_evict(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->idle_entries) {
        struct rmd_entry *e = rmd_container(it, struct rmd_entry, idle_link);
        if (!e->dirty && e->dirty_tag <= c->persisted && !e->cq->scanning)
            entry_free(c, e);
    }
    rmd_list_for_safe(it, &c->idle_chunks) {
        struct rmd_chunk *ch = rmd_container(it, struct rmd_chunk, idle_link);
        if (!ch->dirty && ch->dirty_tag <= c->persisted)
            chunk_free(c, ch);
    }
}

/* ---------------------------------------------------------------- loading */

/* share: chunks of one campaign at one provider, while many want some. */
static bool wants(struct rmd_coord *c, const struct rmd_cq *q, uint32_t share) {
    if (q->scanning || q->queued <= q->loaded || q->n_entries >= share || q->wait_tag > c->persisted)
        return false;
    if (rmd_release_paced(q->campaign) && !q->campaign->draining && !q->credit &&
        rmd_release_room(c, q->campaign) != UINT64_MAX)
        return false; /* nothing of it is wanted before the next release */
    return q->campaign->draining || rmd_campaign_deals(c, q->campaign);
}

static void scan(struct rmd_coord *c, struct rmd_cq *q, uint32_t share) {
    const Remuda__CampaignRecord *r = q->campaign->rec;
    struct rmd_key prefix = rmd_key_queue_campaign(r->tenant, q->pq->provider_id, r->stream, &q->campaign->id);
    struct rmd_key from = prefix, to = rmd_key_after(&prefix);
    if (q->cursor.n) {
        from = q->cursor;
        from.b[from.n++] = 0; /* the next key after it */
    }
    q->from_start = q->cursor.n == 0;
    if (q->from_start)
        q->pass_loaded = false;
    q->scanning = true;
    rmd_core_scan(c, RMD_READ_CQ, q, &from, &to, share - q->n_entries, 0, false);
}

/* Clean entries leave memory, the last ones first, until `left` are there; they are on disk, and counted. */
static bool unload(struct rmd_coord *c, struct rmd_cq *q, uint32_t left) {
    bool any = false;
    if (q->scanning)
        return false;
    for (struct rmd_list *et = q->entries.prev, *next; et != &q->entries && q->n_entries > left; et = next) {
        next = et->prev;
        struct rmd_entry *e = rmd_container(et, struct rmd_entry, in_cq);
        if (e->refs || e->dirty || e->dirty_tag > c->persisted)
            continue;
        q->loaded -= e->n;
        q->n_entries--;
        c->windows--;
        entry_free(c, e);
        any = true;
    }
    return any;
}

static bool waits_for_commit(const struct rmd_coord *c, const struct rmd_cq *q) {
    rmd_list_for(et, &q->entries) {
        const struct rmd_entry *e = rmd_container(et, struct rmd_entry, in_cq);
        if (!e->refs && (e->dirty || e->dirty_tag > c->persisted))
            return true;
    }
    return false;
}

void rmd_queue_rotate(struct rmd_coord *c, struct rmd_cq *q) {
    int64_t again = q->rotated_mono_ms + RMD_QUEUE_ROTATE_MS;
    if (q->n_entries < RMD_COORD_WINDOW_CHUNKS || q->queued <= q->loaded || !rmd_campaign_deals(c, q->campaign))
        return;
    if (q->rotated_mono_ms && c->now.mono_ms < again) {
        rmd_core_wake(c, again);
        return;
    }
    if (unload(c, q, 0)) /* the cursor goes on from where it is */
        q->rotated_mono_ms = c->now.mono_ms;
    else if (waits_for_commit(c, q))
        rmd_core_wake(c, c->now.mono_ms + RMD_TICK_MS);
}

/* A paused campaign, or one whose next release is still to come, gives its windows up when others need them; the cursor starts again. */
static void unload_paused(struct rmd_coord *c) {
    rmd_list_for(kt, &c->all_campaigns) {
        struct rmd_campaign *k = rmd_container(kt, struct rmd_campaign, all);
        if (k->draining || (rmd_campaign_deals(c, k) && rmd_release_room(c, k)))
            continue;
        rmd_list_for(it, &k->cqs) {
            struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
            if (unload(c, q, 0))
                q->cursor.n = 0;
        }
    }
}

/* The Q rows of a provider that is no longer configured become records of their own, to be resolved anew. */
static void unknown_provider(struct rmd_coord *c, struct rmd_entry *e) {
    struct rmd_chunk *ch = e->chunk;
    for (uint32_t i = 0; i < ch->n; i++) {
        if (!rmd_bit_get(e->queued, i))
            continue;
        rmd_entry_clear(c, e, i);
        Remuda__DeferredRecord *d = rmd_deferred_of_row(c, ch, i, 0);
        rmd_deferred_put(c, ch->campaign, d);
    }
}

/* What each campaign may have loaded at each provider, so that one whose work waits - for a cap, or because it is kept for lanes
 * that warm up - doesn't keep others from being read. *starved: some has nothing loaded, and no place is left. */
static uint32_t fair_share(struct rmd_coord *c, bool *starved) {
    uint32_t n = 0;
    *starved = false;
    rmd_list_for(pt, &c->all_pqs) {
        struct rmd_pq *pq = rmd_container(pt, struct rmd_pq, all);
        if (!pq->queued)
            continue;
        rmd_list_for(it, &pq->cqs) {
            struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_pq);
            n += q->queued > 0;
            *starved |= !q->n_entries && wants(c, q, 1);
        }
    }
    *starved &= c->windows >= RMD_COORD_WINDOW_TOTAL;
    uint32_t share = n ? RMD_COORD_WINDOW_TOTAL / n : RMD_COORD_WINDOW_CHUNKS;
    return share < 1 ? 1 : share > RMD_COORD_WINDOW_CHUNKS ? RMD_COORD_WINDOW_CHUNKS : share;
}

/* Those that have more than their share make room. When there are more campaigns than places, those that were read longest ago do. */
static void make_room(struct rmd_coord *c, uint32_t share) {
    rmd_list_for(pt, &c->all_pqs) {
        struct rmd_pq *pq = rmd_container(pt, struct rmd_pq, all);
        rmd_list_for(it, &pq->cqs) {
            struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_pq);
            unload(c, q, share);
            if (c->windows >= RMD_COORD_WINDOW_TOTAL && c->now.mono_ms - q->rotated_mono_ms >= RMD_QUEUE_ROTATE_MS) {
                q->rotated_mono_ms = c->now.mono_ms;
                unload(c, q, 0);
            }
        }
    }
}

void rmd_queue_load(struct rmd_coord *c) {
    bool starved;
    if (c->windows >= RMD_COORD_WINDOW_TOTAL)
        unload_paused(c);
    uint32_t share = fair_share(c, &starved);
    if (starved)
        make_room(c, share);
    rmd_list_for(pt, &c->all_pqs) {
        struct rmd_pq *pq = rmd_container(pt, struct rmd_pq, all);
        if (!pq->queued)
            continue;
        rmd_list_for(it, &pq->cqs) {
            if (c->windows >= RMD_COORD_WINDOW_TOTAL)
                return;
            struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_pq);
            if (pq->provider < 0) {
                rmd_list_for_safe(et, &q->entries) {
                    struct rmd_entry *e = rmd_container(et, struct rmd_entry, in_cq);
                    if (e->chunk->rows && e->chunk->has_state)
                        unknown_provider(c, e);
                }
            }
            if (wants(c, q, share))
                scan(c, q, share);
        }
    }
}

void rmd_entry_known(struct rmd_coord *c, struct rmd_entry *e, struct rmd_slice value) {
    if (e->known)
        return;
    e->known = true;
    Remuda__QueueRecord *r = value.p ? rmd_pb_decode(&remuda__queue_record__descriptor, value, &c->scratch) : NULL;
    if (!r || r->queued.len > RMD_CHUNK_BITS)
        return;
    memcpy(e->queued, r->queued.data, r->queued.len);
    e->n = (uint32_t)rmd_bit_count(e->queued, RMD_CHUNK_ROWS_MAX);
    e->cq->loaded += e->n; /* queued counts it already */
    ready(c, e);
}

static struct rmd_entry *entry_load(struct rmd_coord *c, struct rmd_cq *q, const struct rmd_row *row) {
    size_t n = row->key.n;
    uint32_t group = rmd_get_be32(row->key.p + n - 8), seq = rmd_get_be32(row->key.p + n - 4);
    struct rmd_chunk *ch = rmd_chunk_get(c, q->campaign, group, seq);
    struct rmd_entry *e = rmd_entry_get(c, q, ch);
    rmd_chunk_unref(c, ch);
    bool fresh = !e->known; /* else memory is ahead of the store */
    rmd_entry_known(c, e, row->value);
    bool work = fresh && e->n;
    rmd_entry_unref(c, e);
    return work ? e : NULL; /* with work it stays */
}

void rmd_queue_scanned(struct rmd_coord *c, struct rmd_cq *q, const struct rmd_coord_event *e) {
    q->scanning = false;
    struct rmd_chunk **v = rmd_arena_alloc(&c->scratch, (e->n_rows + 1) * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < e->n_rows; i++) {
        struct rmd_entry *x = entry_load(c, q, &e->row[i]);
        if (x)
            v[n++] = x->chunk;
        memcpy(q->cursor.b, e->row[i].key.p, e->row[i].key.n);
        q->cursor.n = e->row[i].key.n;
    }
    q->pass_loaded |= n > 0;
    if (rmd_chunk_load(c, q->pq, v, n))
        rmd_look_work(c, q->pq);
    if (e->more)
        return;
    q->cursor.n = 0; /* the end: what is left was put behind the cursor, start again */
    if (q->pass_loaded || q->queued <= q->loaded)
        return;
    if (q->put_tag > c->persisted) {
        q->wait_tag = q->put_tag;
    } else if (q->from_start) {
        uint64_t lost = q->queued - q->loaded;
        rmd_core_warn(c, "queue: %llu recipients were counted at %s but aren't there; the count is corrected",
                      (unsigned long long)lost, rmd_provider_name(c, q->pq->provider_id));
        q->queued -= lost;
        q->pq->queued -= lost;
        q->campaign->queued -= lost;
    }
}

/* ---------------------------------------------------------------- writing */

void rmd_queue_flush(struct rmd_coord *c, uint64_t tag) {
    rmd_list_for_safe(it, &c->dirty_entries) {
        struct rmd_entry *e = rmd_container(it, struct rmd_entry, dirty_link);
        rmd_list_remove(it);
        e->dirty = false;
        e->dirty_tag = tag;
        struct rmd_chunk_ref ref;
        rmd_key_of_chunk(e->chunk, &ref);
        const Remuda__CampaignRecord *k = e->cq->campaign->rec;
        struct rmd_key key = rmd_key_queue(k->tenant, e->cq->pq->provider_id, k->stream, &ref);
        if (!e->n) {
            rmd_core_delete(c, &key);
            continue;
        }
        Remuda__QueueRecord r = REMUDA__QUEUE_RECORD__INIT;
        r.queued.data = e->queued;
        r.queued.len = sizeof e->queued;
        rmd_core_put(c, &key, &r);
    }
    rmd_list_for_safe(it, &c->dirty_chunks) {
        struct rmd_chunk *ch = rmd_container(it, struct rmd_chunk, dirty_link);
        rmd_list_remove(it);
        ch->dirty = false;
        ch->dirty_tag = tag;
        struct rmd_chunk_ref ref;
        rmd_key_of_chunk(ch, &ref);
        struct rmd_key key = rmd_key_chunk_state(ch->campaign->rec->tenant, &ref);
        Remuda__ChunkStateRecord r = REMUDA__CHUNK_STATE_RECORD__INIT;
        r.settled.data = ch->settled;
        r.settled.len = sizeof ch->settled;
        rmd_core_put(c, &key, &r);
    }
}

void rmd_queue_free(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->chunks, &it, NULL, &v)) {
        struct rmd_chunk *ch = v;
        rmd_list_for_safe(et, &ch->entries) free(rmd_container(et, struct rmd_entry, in_chunk));
        rmd_arena_release(&ch->rows_own);
        free(ch);
    }
    rmd_map_release(&c->chunks);
    rmd_list_for_safe(pt, &c->all_pqs) {
        struct rmd_pq *q = rmd_container(pt, struct rmd_pq, all);
        free(q->candidate);
        rmd_look_free(q);
        free(q);
    }
    rmd_map_release(&c->pqs);
}
