/* Leases: built from a chunk's waiting rows or from deferred records, persisted, then sent.
 *
 *   GRANTED --expired, host or journal lost--> DOUBT --wait over, or forgotten--> TAKEN (its uncertain messages went
 * their way) DOUBT --the node returned and never had it--> GRANTED any --every message settled or given back--> gone
 *
 * In GRANTED its messages are outstanding in four accounts; in the other states they are booked as used. A lease pins
 * its chunk and queue entry, so that what comes back can be put back. Its index names a message in reports; a
 * finished index never counts again. */
#include "coordinator/core/core.h"

static const uint8_t moves[RMD_LEASE_STATES] = {
    [RMD_LEASE_GRANTED] = 1 << RMD_LEASE_DOUBT,
    [RMD_LEASE_DOUBT] = 1 << RMD_LEASE_GRANTED | 1 << RMD_LEASE_TAKEN,
};

struct rmd_lease *rmd_lease_find(struct rmd_node *n, uint64_t id) {
    return rmd_map_get_u64(&n->leases, id);
}

void rmd_lease_dirty(struct rmd_coord *c, struct rmd_lease *l) {
    if (l->dirty)
        return;
    l->dirty = true;
    rmd_list_push(&c->dirty_leases, &l->dirty_link);
}

struct rmd_slice rmd_lease_row(const struct rmd_lease *l, uint32_t index) {
    const ProtobufCBinaryData *d = NULL;
    if (l->own)
        d = l->own[index] ? &l->own[index]->row : NULL;
    else if (l->chunk && l->chunk->rows && l->row[index] < l->chunk->rows->n_row)
        d = &l->chunk->rows->row[l->row[index]];
    return d ? rmd_slice(d->data, d->len) : rmd_slice(NULL, 0);
}

struct rmd_chunk *rmd_lease_chunk(const struct rmd_lease *l, uint32_t index, uint32_t *row) {
    if (!l->own) {
        *row = l->row[index];
        return l->chunk;
    }
    *row = l->own[index] ? l->own[index]->index : 0;
    return l->own_chunk[index];
}

/* What GRANTED counts; by is +1 or -1. The ledger is the caller's. */
static void tally(struct rmd_lease *l, int by) {
    int64_t n = (int64_t)l->left * by;
    l->campaign->leased = (uint64_t)((int64_t)l->campaign->leased + n);
    l->pq->leased = (uint64_t)((int64_t)l->pq->leased + n);
    l->node->granted = (uint32_t)((int)l->node->granted + by);
    if (l->source)
        l->source->leases = (uint32_t)((int)l->source->leases + by);
    if (l->lane) {
        l->lane->leases = (uint32_t)((int)l->lane->leases + by);
        l->lane->leased = (uint32_t)((int64_t)l->lane->leased + n);
        if (l->bulk) {
            l->lane->bulk_leases = (uint32_t)((int)l->lane->bulk_leases + by);
            l->lane->bulk_leased = (uint32_t)((int64_t)l->lane->bulk_leased + n);
        }
    }
}

/* A lease in doubt still holds its lane's share: its node may come back and go on with it. */
static void doubted(struct rmd_lease *l, int by) {
    if (l->lane)
        l->lane->in_doubt = (uint32_t)((int)l->lane->in_doubt + by);
}

static void share_left(struct rmd_coord *c, const struct rmd_lease *l) {
    if (l->lane && !l->lane->leases && !l->lane->in_doubt)
        rmd_share_idle(c, l->lane);
}

void rmd_lease_state(struct rmd_coord *c, struct rmd_lease *l, enum rmd_lease_state to) {
    if (!(moves[l->state] >> to & 1)) {
        rmd_core_warn(c, "lease %llu of node %s: no way from state %d to %d", (unsigned long long)l->id,
                      l->node->rec->name, l->state, to);
        return;
    }
    if (l->state == RMD_LEASE_GRANTED) { /* of unknown fate: booked as used */
        rmd_caps_return(&l->caps, l->left);
        rmd_caps_book(&c->ledger, &l->caps, l->left);
        tally(l, -1);
        doubted(l, 1);
        l->campaign->in_doubt += l->left;
    } else if (l->state == RMD_LEASE_DOUBT) {
        doubted(l, -1);
        l->campaign->in_doubt -= l->left;
    }
    if (to == RMD_LEASE_GRANTED && l->lane)
        l->lane->share_until_mono_ms = 0;
    if (to == RMD_LEASE_GRANTED) { /* what was booked stays spent, and the grant counts again: never too little */
        rmd_caps_grant(&l->caps, l->left);
        tally(l, 1);
    }
    l->state = to;
    c->deal = true;
    if (to != RMD_LEASE_GRANTED)
        share_left(c, l);
    rmd_lease_dirty(c, l);
}

/* ---------------------------------------------------------------- building */

static struct rmd_lease *begin(struct rmd_coord *c, struct rmd_lane *lane, struct rmd_campaign *k,
                               struct rmd_pq *pq) {
    struct rmd_lease *l = rmd_alloc(sizeof *l);
    struct rmd_node *n = lane->source->node;
    l->id = ++n->rec->last_lease;
    n->dirty = c->nodes_dirty = true;
    l->node = n;
    l->source = lane->source;
    l->lane = lane;
    l->source_id = lane->source->rec->id;
    l->provider_id = pq->provider_id;
    l->bulk = k->stream->rec->priority != 0;
    l->probe = rmd_returning_probes(lane->source, lane);
    l->campaign = k;
    k->n_leases++;
    l->pq = pq;
    l->epoch = c->epoch;
    l->granted_wall_ms = c->now.wall_ms;
    memcpy(l->boot, n->boot, sizeof l->boot);
    if (n->rec->journal_uuid.len == sizeof l->journal)
        memcpy(l->journal, n->rec->journal_uuid.data, sizeof l->journal);
    rmd_caps_of(c, lane, k->stream, &l->caps);
    return l;
}

static uint32_t grant(struct rmd_coord *c, struct rmd_lease *l, uint32_t first) {
    l->left = l->n;
    if (first)
        rmd_release_offered(c, l->campaign, first);
    rmd_share_take(c, l->lane);
    rmd_caps_grant(&l->caps, l->n);
    tally(l, 1);
    rmd_map_set_u64(&l->node->leases, l->id, l);
    rmd_lease_dirty(c, l);
    c->commit_probe = RMD_PROBE_LEASE_BUILT;
    Remuda__EventRecord *e = rmd_core_event(c, "lease.granted");
    e->lease = l->id;
    e->node = l->node->rec->id;
    e->source = l->source_id;
    e->provider = l->provider_id;
    e->stream = l->pq->stream->rec->id;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%u message%s", l->n, l->n == 1 ? "" : "s");
    rmd_doubt_since_backup(c, l);
    rmd_lease_send(c, l);
    return l->n;
}

/* Rows whose domain the lane's address family doesn't reach are left to the other family, when the pool has it. */
static bool out_of_reach(struct rmd_coord *c, const struct rmd_lane *lane, const struct rmd_chunk *ch, uint32_t row) {
    const Remuda__Chunk *r = ch->rows;
    size_t domain = row < r->n_domain_of ? r->domain_of[row] : 0;
    return domain < r->n_domain && !rmd_site_in_reach(c, r->domain[domain], lane->source->family);
}

uint32_t rmd_lease_build_chunk(struct rmd_coord *c, struct rmd_lane *lane, struct rmd_entry *e, uint32_t max,
                               bool only_probes) {
    struct rmd_chunk *ch = e->chunk;
    struct rmd_lease *l = NULL;
    uint64_t incident = e->incident;
    size_t bytes = 0;
    uint32_t moved = 0;
    bool choosy = rmd_sched_other_family(c, e->cq->pq, lane);
    e->refs++;
    for (uint32_t i = 0; i < ch->n; i++) {
        if (!rmd_bit_get(e->queued, i))
            continue;
        if (rmd_bit_get(ch->settled, i)) { /* a late report settled it here */
            rmd_entry_clear(c, e, i);
            continue;
        }
        if (rmd_suppress_has(c, e->cq->campaign->rec->stream, ch->rows->address_hash[i])) {
            rmd_entry_clear(c, e, i);
            rmd_settle_row(c, ch, i, RMD_SETTLED_SUPPRESSED, NULL);
            continue;
        }
        if (choosy && out_of_reach(c, lane, ch, i))
            continue;
        if (l && (l->n >= max || bytes + ch->rows->row[i].len > RMD_LEASE_BYTES))
            break;
        const struct rmd_stopped_site *site;
        if (!rmd_site_lets(c, e->cq->pq, lane, rmd_chunk_domain(ch->rows, i), l, moved, &site) ||
            (only_probes && !rmd_site_probes(lane->source, site)) || !rmd_warm_site_take(c, lane, ch, i))
            continue;
        if (!l)
            l = begin(c, lane, e->cq->campaign, e->cq->pq);
        bytes += ch->rows->row[i].len;
        moved += rmd_site_took(c, e->cq->pq, l, l->n, site);
        l->row[l->n++] = (uint8_t)i;
        rmd_entry_clear(c, e, i);
    }
    if (!l) {
        rmd_entry_unref(c, e);
        return 0;
    }
    l->entry = e; /* keeps the reference */
    l->chunk = rmd_chunk_get(c, ch->campaign, ch->group, ch->seq);
    if (incident)
        rmd_incident_moved(c, incident, lane->source, l->n);
    e->cq->credit -= l->n < e->cq->credit ? l->n : e->cq->credit;
    return grant(c, l, l->n);
}

/* Of a refusal that freed the record to move. */
static struct rmd_incident *incident_of(struct rmd_coord *c, const Remuda__DeferredRecord *r, size_t i,
                                        const struct rmd_lane *lane) {
    struct rmd_source *s = rmd_source_find(c, r->avoid_network_of[i]);
    if (!s || s == lane->source)
        return NULL;
    uint64_t id = s->all.incident ? s->all.incident : s->lane[lane->provider] ? s->lane[lane->provider]->incident : 0;
    return rmd_incident_find(c, id);
}

/* taken: moved before it in this lease. */
static bool may_move(struct rmd_coord *c, struct rmd_pq *q, const Remuda__DeferredRecord *r, struct rmd_lane *lane,
                     uint32_t taken) {
    for (size_t i = 0; i < r->n_avoid_network_of; i++) {
        struct rmd_incident *x = incident_of(c, r, i, lane);
        uint64_t room = rmd_moving_room(c, q, lane, x);
        bool counted = x && x->rec->moving == RMD_MOVING_CANARY; /* what was taken has left its room already */
        if (room <= (counted ? 0 : taken))
            return false;
    }
    return true;
}

/* Work that moved because a source was refused: its incident learns where it went. */
static bool moved_from(struct rmd_coord *c, struct rmd_pq *q, const Remuda__DeferredRecord *r,
                       struct rmd_lane *lane) {
    bool any = false;
    for (size_t i = 0; i < r->n_avoid_network_of; i++) {
        struct rmd_incident *x = incident_of(c, r, i, lane);
        if (!x)
            continue;
        any = true;
        rmd_incident_moved(c, x->rec->id, lane->source, 1);
        rmd_moving_took(c, q, x, 1);
    }
    return any;
}

uint32_t rmd_lease_build_own(struct rmd_coord *c, struct rmd_lane *lane, struct rmd_dq *q, uint32_t max,
                             bool only_probes, uint32_t *moved) {
    struct rmd_lease *l = NULL;
    size_t bytes = 0;
    uint32_t first = 0;
    rmd_list_for_safe(it, &q->items) {
        struct rmd_ditem *d = rmd_container(it, struct rmd_ditem, link);
        struct rmd_campaign *k = d->chunk->campaign;
        if (!d->chunk->has_state || (l && l->campaign != k) || (d->rec->uncertain && c->replaying) ||
            !rmd_campaign_deals(c, k) || rmd_content_stopped(k, q->pq->provider_id))
            continue;
        bool settled = rmd_bit_get(d->chunk->settled, d->rec->index);
        bool suppressed = !settled && rmd_suppress_has(c, k->rec->stream, d->rec->address_hash);
        if (settled || suppressed) { /* settled: a late report settled it here */
            rmd_deferred_delete(c, k, d->rec);
            if (suppressed)
                rmd_settle_deferred(c, d->chunk, d->rec, RMD_SETTLED_SUPPRESSED, NULL);
            rmd_ditem_free(c, d);
            continue;
        }
        const struct rmd_stopped_site *site;
        if (!rmd_site_lets(c, q->pq, lane, rmd_site_domain(c, d->rec), l, *moved, &site)) {
            rmd_site_put_aside(c, d, lane);
            continue;
        }
        bool probes = rmd_site_probes(lane->source, site); /* it comes back by such */
        if ((!probes && (only_probes || rmd_sched_avoids(c, q->pq, d->rec, lane->source))) ||
            !may_move(c, q->pq, d->rec, lane, *moved))
            continue;
        if (l && (l->n >= max || bytes + d->rec->row.len > RMD_LEASE_BYTES))
            break;
        bool fresh = rmd_release_first(d->rec);
        if (fresh && rmd_release_room(c, k) <= first)
            continue;
        if (!rmd_warm_site_take_own(c, lane, d->rec))
            continue;
        first += fresh;
        if (!l) {
            l = begin(c, lane, k, q->pq);
            l->own = rmd_alloc(max * sizeof *l->own);
            l->own_chunk = rmd_alloc(max * sizeof *l->own_chunk);
        }
        bytes += d->rec->row.len;
        rmd_deferred_delete(c, k, d->rec);
        bool by_site = rmd_site_took(c, q->pq, l, l->n, site);
        *moved += moved_from(c, q->pq, d->rec, lane) || by_site;
        l->own[l->n] = d->rec;
        l->own_chunk[l->n++] = d->chunk;
        d->rec = NULL;
        d->chunk = NULL;
        rmd_ditem_free(c, d);
    }
    return l ? grant(c, l, first) : 0;
}

/* ---------------------------------------------------------------- sending */

bool rmd_lease_wanted(struct rmd_coord *c, const struct rmd_lease *l) {
    return l->source && l->lane && l->source->rec->state != RMD_SOURCE_PAUSED &&
           l->source->all.state != RMD_LANE_QUARANTINED && l->lane->state != RMD_LANE_QUARANTINED &&
           rmd_campaign_deals(c, l->campaign) && !rmd_content_stopped(l->campaign, l->provider_id) &&
           !rmd_sender_stops(c, l->provider_id, l->campaign->stream) && !rmd_stream_lacks_key(l->campaign->stream) &&
           !c->meta->restored;
}

static void fill_rows(struct rmd_lease *l, Remuda__Lease *m, struct rmd_arena *a) {
    m->row = rmd_arena_alloc(a, l->n * sizeof *m->row);
    m->n_row = l->n;
    size_t total = 0, at = 0;
    for (uint32_t i = 0; i < l->n; i++)
        total += rmd_lease_row(l, i).n;
    uint8_t *bytes = rmd_arena_alloc(a, total + 1); /* a copy: the chunk may be gone when the frame leaves */
    for (uint32_t i = 0; i < l->n; i++) {
        struct rmd_slice r = rmd_lease_row(l, i);
        if (r.n)
            memcpy(bytes + at, r.p, r.n);
        m->row[i].data = bytes + at;
        m->row[i].len = r.n;
        at += r.n;
    }
}

static void fill_items(const struct rmd_lease *l, Remuda__Lease *m, int64_t until, struct rmd_arena *a) {
    m->item = rmd_arena_alloc(a, l->n * sizeof *m->item);
    m->n_item = l->n;
    for (uint32_t i = 0; i < l->n; i++) {
        Remuda__LeaseItem *x = rmd_arena_alloc(a, sizeof *x);
        remuda__lease_item__init(x);
        x->attempt = l->own[i] ? l->own[i]->attempts : 0;
        x->valid_until_wall_ms = until == RMD_NEVER ? 0 : until;
        m->item[i] = x;
    }
}

/* Never more than the window: an acknowledgement may come for a lease that ended or was sent twice. */
static void credit(struct rmd_node *n, uint64_t bytes) {
    n->credit += (int64_t)(bytes < RMD_CREDIT_WINDOW_BYTES ? bytes : RMD_CREDIT_WINDOW_BYTES);
    if (n->credit > RMD_CREDIT_WINDOW_BYTES)
        n->credit = RMD_CREDIT_WINDOW_BYTES;
}

void rmd_lease_send(struct rmd_coord *c, struct rmd_lease *l) {
    struct rmd_node *n = l->node;
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_LEASE, RMD_PROBE_LEASE_PERSISTED);
    Remuda__Lease *m = f->lease = rmd_arena_alloc(a, sizeof *m);
    remuda__lease__init(m);
    const Remuda__CampaignRecord *k = l->campaign->rec;
    int64_t until = rmd_campaign_valid_until(l->campaign);
    m->id = l->id;
    m->source = l->source_id;
    m->provider = l->provider_id;
    m->stream = k->stream;
    m->tenant = k->tenant;
    m->campaign.data = rmd_arena_dup(a, l->campaign->id.b, sizeof l->campaign->id.b);
    m->campaign.len = sizeof l->campaign->id.b;
    m->template_hash.data = rmd_arena_dup(a, k->template_hash.data, k->template_hash.len);
    m->template_hash.len = k->template_hash.len;
    m->valid_until_wall_ms = until == RMD_NEVER ? 0 : until;
    m->urgent = !l->bulk;
    m->parts = 1;
    m->column = rmd_arena_alloc(a, (k->n_column + 1) * sizeof *m->column);
    m->n_column = k->n_column;
    for (size_t i = 0; i < k->n_column; i++)
        m->column[i] = rmd_arena_str(a, rmd_slice_str(k->column[i]));
    fill_rows(l, m, a);
    if (l->own)
        fill_items(l, m, until, a);
    if (l->lane) {
        const Remuda__ProviderPolicy *p = c->o.provider[l->lane->provider];
        m->share = rmd_arena_alloc(a, sizeof *m->share);
        remuda__lease_share__init(m->share);
        m->share->connections = rmd_share_connections(c, l->lane);
        m->share->rate_per_minute = p->rate_per_minute;
        rmd_pace_of_lease(c, l->lane, m->share);
        m->share->kept = rmd_source_has_priority(c, l->source) ? 1 : 0;
    }
    credit(n, l->credit_out); /* of the time before */
    l->credit_out = protobuf_c_message_get_packed_size(&m->base);
    n->credit -= (int64_t)l->credit_out;
    l->acked = false;
    l->sent_mono_ms = c->now.mono_ms;
    l->sent_tag = c->tag + 1;
}

/* With an id: the node has it. Without: it refused one, and the window comes back. */
void rmd_lease_acked(struct rmd_coord *c, struct rmd_node *n, const Remuda__LeaseAck *a) {
    struct rmd_lease *l = a->id ? rmd_lease_find(n, a->id) : NULL;
    c->deal |= n->credit <= 0; /* every lane of its sources waited for that */
    if (l) {
        credit(n, l->acked ? 0 : l->credit_out);
        l->credit_out = 0;
        l->acked = true;
    } else {
        credit(n, a->credit_bytes);
    }
}

/* ---------------------------------------------------------------- finishing */

void rmd_lease_release(struct rmd_coord *c, struct rmd_lease *l) {
    rmd_list_remove(&l->dirty_link);
    for (uint32_t i = 0; l->own && i < l->n; i++) {
        if (l->own[i])
            remuda__deferred_record__free_unpacked(l->own[i], NULL);
        if (l->own_chunk[i])
            rmd_chunk_unref(c, l->own_chunk[i]);
    }
    free(l->own);
    free(l->own_chunk);
    if (l->entry)
        rmd_entry_unref(c, l->entry);
    if (l->chunk)
        rmd_chunk_unref(c, l->chunk);
    l->campaign->n_leases--;
    free(l);
}

void rmd_lease_end(struct rmd_coord *c, struct rmd_lease *l) {
    struct rmd_key k = rmd_key_lease(l->node->rec->id, l->id);
    rmd_core_delete(c, &k);
    c->deal |= l->left || l->node->credit <= 0;
    credit(l->node, l->credit_out);
    if (l->lane)
        rmd_look_lane(c, l->lane);
    if (l->state == RMD_LEASE_GRANTED) {
        rmd_caps_return(&l->caps, l->left);
        tally(l, -1);
        share_left(c, l);
    } else if (l->state == RMD_LEASE_DOUBT) {
        doubted(l, -1);
        share_left(c, l);
        l->campaign->in_doubt -= l->left;
    }
    if (l->source && l->source->rec->state == RMD_SOURCE_RETIRING && !l->source->leases)
        c->lanes_tick_mono_ms = 0;
    rmd_map_remove_u64(&l->node->leases, l->id);
    rmd_lease_release(c, l);
}

/* The caller has settled or put back the message, and its ledger entries. */
void rmd_lease_done(struct rmd_coord *c, struct rmd_lease *l, uint32_t index) {
    rmd_bit_set(l->done, index);
    l->left--;
    if (l->state == RMD_LEASE_GRANTED) {
        l->campaign->leased--;
        l->pq->leased--;
        if (l->lane)
            l->lane->leased--;
        if (l->lane && l->bulk)
            l->lane->bulk_leased--;
    } else if (l->state == RMD_LEASE_DOUBT) {
        l->campaign->in_doubt--;
    }
    if (l->own && l->own[index]) {
        remuda__deferred_record__free_unpacked(l->own[index], NULL);
        l->own[index] = NULL;
    }
    if (l->lane)
        rmd_look_lane(c, l->lane);
    if (l->left)
        rmd_lease_dirty(c, l);
    else
        rmd_lease_end(c, l);
}

/* ---------------------------------------------------------------- storing */

static void write_one(struct rmd_coord *c, struct rmd_lease *l) {
    Remuda__LeaseRecord r = REMUDA__LEASE_RECORD__INIT;
    uint8_t ref[8], granted[RMD_CHUNK_BITS] = {0};
    r.id = l->id;
    r.node = l->node->rec->id;
    r.source = l->source_id;
    r.provider = l->provider_id;
    r.stream = l->pq->stream->rec->id;
    r.tenant = l->campaign->rec->tenant;
    r.campaign.data = l->campaign->id.b;
    r.campaign.len = sizeof l->campaign->id.b;
    r.state = l->state;
    r.count = l->n;
    r.epoch = l->epoch;
    r.granted_wall_ms = l->granted_wall_ms;
    r.doubt_wall_ms = l->doubt_wall_ms;
    r.share_connections = l->lane ? l->lane->share : 0;
    r.probe = l->probe;
    r.done.data = l->done;
    r.done.len = rmd_bit_bytes(l->n);
    r.node_boot_id.data = l->boot;
    r.node_boot_id.len = sizeof l->boot;
    r.node_journal.data = l->journal;
    r.node_journal.len = sizeof l->journal;
    if (l->own) {
        static Remuda__DeferredRecord finished = REMUDA__DEFERRED_RECORD__INIT;
        r.own = rmd_arena_alloc(&c->scratch, l->n * sizeof *r.own);
        r.n_own = l->n;
        for (uint32_t i = 0; i < l->n; i++)
            r.own[i] = l->own[i] ? l->own[i] : &finished;
    } else {
        rmd_put_be32(ref, l->chunk->group);
        rmd_put_be32(ref + 4, l->chunk->seq);
        r.chunk.data = ref;
        r.chunk.len = sizeof ref;
        for (uint32_t i = 0; i < l->n; i++)
            rmd_bit_set(granted, l->row[i]);
        r.granted.data = granted;
        r.granted.len = sizeof granted;
    }
    struct rmd_key k = rmd_key_lease(r.node, r.id);
    rmd_core_put(c, &k, &r);
}

void rmd_leases_flush(struct rmd_coord *c, uint64_t tag) {
    (void)tag;
    rmd_list_for_safe(it, &c->dirty_leases) {
        struct rmd_lease *l = rmd_container(it, struct rmd_lease, dirty_link);
        rmd_list_remove(it);
        l->dirty = false;
        write_one(c, l);
    }
}

/* ---------------------------------------------------------------- at start */

static void restore_rows(struct rmd_coord *c, struct rmd_lease *l, const Remuda__LeaseRecord *r) {
    struct rmd_campaign *k = l->campaign;
    if (r->chunk.len == 8) {
        l->chunk = rmd_chunk_get(c, k, rmd_get_be32(r->chunk.data), rmd_get_be32(r->chunk.data + 4));
        l->entry = rmd_entry_get(c, rmd_cq_get(c, l->provider_id, k), l->chunk);
        for (uint32_t i = 0; i < r->granted.len * 8 && i < RMD_CHUNK_ROWS_MAX; i++) {
            if (rmd_bit_get(r->granted.data, i) && l->n < RMD_CHUNK_ROWS_MAX)
                l->row[l->n++] = (uint8_t)i;
        }
        return;
    }
    l->n = (uint32_t)(r->n_own < RMD_CHUNK_ROWS_MAX ? r->n_own : RMD_CHUNK_ROWS_MAX);
    l->own = rmd_alloc((l->n + 1) * sizeof *l->own);
    l->own_chunk = rmd_alloc((l->n + 1) * sizeof *l->own_chunk);
    for (uint32_t i = 0; i < l->n; i++) {
        const Remuda__DeferredRecord *d = r->own[i];
        if (d->chunk.len != 8 || d->index >= RMD_CHUNK_ROWS_MAX)
            continue; /* finished */
        l->own[i] = rmd_record_dup(d);
        l->own_chunk[i] = rmd_chunk_get(c, k, rmd_get_be32(d->chunk.data), rmd_get_be32(d->chunk.data + 4));
    }
}

void rmd_lease_restore(struct rmd_coord *c, const Remuda__LeaseRecord *r) {
    struct rmd_node *n = rmd_node_find(c, r->node);
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(r->campaign.data, r->campaign.len));
    if (!n || !k || r->state >= RMD_LEASE_STATES) {
        rmd_core_warn(c, "lease %llu of node %u: its node or campaign isn't in the store; it can't be followed",
                      (unsigned long long)r->id, r->node);
        return;
    }
    struct rmd_lease *l = rmd_alloc(sizeof *l);
    l->id = r->id;
    l->state = (enum rmd_lease_state)r->state;
    l->node = n;
    l->source = rmd_source_find(c, r->source);
    l->source_id = r->source;
    l->provider_id = r->provider;
    l->campaign = k;
    l->bulk = k->stream->rec->priority != 0;
    k->n_leases++;
    l->pq = rmd_pq_get(c, r->provider, k->stream);
    ssize_t p = l->pq->provider;
    uint32_t net = l->source ? l->source->net->hash : 0;
    if (l->source && p >= 0) {
        l->lane = rmd_lane_of(c, l->source, (size_t)p);
        rmd_caps_of(c, l->lane, k->stream, &l->caps);
    } else {
        uint32_t domain = rmd_fnv32(rmd_slice_str(k->stream->rec->sending_domain));
        l->caps.account[0] = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_LANE, r->source, r->provider);
        l->caps.account[1] = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_SOURCE, r->source, 0);
        l->caps.account[2] = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_NETWORK, net, r->provider);
        l->caps.account[3] = rmd_ledger_account(&c->ledger, RMD_ACCOUNT_DOMAIN, domain, r->provider);
    }
    l->epoch = r->epoch;
    l->granted_wall_ms = r->granted_wall_ms;
    l->doubt_wall_ms = r->doubt_wall_ms;
    l->doubt_mono_ms = c->now.mono_ms; /* waits anew: the longer wait is the safe one */
    if (r->node_boot_id.len == sizeof l->boot)
        memcpy(l->boot, r->node_boot_id.data, sizeof l->boot);
    if (r->node_journal.len == sizeof l->journal)
        memcpy(l->journal, r->node_journal.data, sizeof l->journal);
    restore_rows(c, l, r);
    memcpy(l->done, r->done.data, r->done.len < sizeof l->done ? r->done.len : sizeof l->done);
    l->left = l->n - (uint32_t)rmd_bit_count(l->done, l->n);
    l->probe = r->probe;
    l->acked = false;
    if (l->state == RMD_LEASE_GRANTED) {
        rmd_caps_grant(&l->caps, l->left);
        tally(l, 1);
    } else if (l->state == RMD_LEASE_DOUBT) {
        doubted(l, 1);
        k->in_doubt += l->left;
    }
    if (l->lane && l->state != RMD_LEASE_TAKEN)
        rmd_share_restore(c, l->lane, r->share_connections);
    rmd_map_set_u64(&n->leases, l->id, l);
    if (l->id > n->rec->last_lease)
        n->rec->last_lease = l->id;
}
