/* Start: rows of the store into memory, then what must be read to serve.
 *
 *   RESTORE --RESTORED--> LOADING (queues counted, orphans removed, leases' chunks read) --> SERVING
 *
 * The caps' outstanding follows from the leases; leases hold until lease_valid_ms from now (an echo may have left
 * right before the end, and with another boot nobody knows better). Chunks without a campaign's record (K without C)
 * are a submission that was never committed: they are deleted. Nodes are told to come again until all is loaded. */
#include "coordinator/core/core.h"

enum { START_PAGE = 2048, RESTORED_IDS = 1 << 20 };

static void *unpack(const ProtobufCMessageDescriptor *d, struct rmd_slice v) {
    static const uint8_t nothing[1];
    return protobuf_c_message_unpack(d, NULL, v.n, v.p ? v.p : nothing);
}

static void key_text(struct rmd_slice key, char hex[2 * RMD_KEY_MAX + 1]) {
    rmd_hex(hex, key.p, key.n < RMD_KEY_MAX ? key.n : RMD_KEY_MAX);
}

#define KEEP(type, descriptor) Remuda__##type *r = unpack(&remuda__##descriptor##__descriptor, value)

static bool restore_registry(struct rmd_coord *c, uint8_t table, struct rmd_slice value) {
    switch (table) {
    case 'T': {
        KEEP(TenantRecord, tenant_record);
        if (r)
            rmd_registry_add_tenant(c, r);
        return r;
    }
    case 'P': {
        KEEP(StreamRecord, stream_record);
        if (r)
            rmd_registry_add_stream(c, r);
        return r;
    }
    case 'S': {
        KEEP(SourceRecord, source_record);
        if (r)
            rmd_registry_add_source(c, r);
        return r;
    }
    default: {
        KEEP(NodeRecord, node_record);
        if (r)
            rmd_registry_add_node(c, r);
        return r;
    }
    }
}

static bool restore_later(struct rmd_coord *c, uint8_t table, struct rmd_slice value) {
    if (table == 'C') {
        KEEP(CampaignRecord, campaign_record);
        if (!r)
            return false;
        c->start_campaign = rmd_realloc(c->start_campaign, (c->n_start_campaigns + 1) * sizeof r);
        c->start_campaign[c->n_start_campaigns++] = r;
        return true;
    }
    KEEP(LeaseRecord, lease_record);
    if (!r)
        return false;
    c->start_lease = rmd_realloc(c->start_lease, (c->n_start_leases + 1) * sizeof r);
    c->start_lease[c->n_start_leases++] = r;
    return true;
}

/* Starting without a row would forget what it is there for: a suppression, a spent cap, a campaign whose recipients
 * would look like those of a submission that never ended. So one that can't be read ends the start. */
int rmd_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) {
    if (c->phase != RMD_PHASE_RESTORE || !key.n)
        return RMD_OK;
    bool ok = true;
    switch (key.p[0]) {
    case 'A':
        if (c->meta)
            remuda__meta_record__free_unpacked(c->meta, NULL);
        c->meta = unpack(&remuda__meta_record__descriptor, value);
        ok = c->meta;
        break;
    case 'T':
    case 'P':
    case 'S':
    case 'N':
        ok = restore_registry(c, key.p[0], value);
        break;
    case 'C':
    case 'L':
        ok = restore_later(c, key.p[0], value);
        break;
    case 'G': {
        const Remuda__LedgerRecord *r = rmd_pb_decode(&remuda__ledger_record__descriptor, value, &c->scratch);
        ok = r;
        if (r)
            rmd_ledger_restore(&c->ledger, key, r->used);
        break;
    }
    case 'R': {
        const Remuda__SuppressionRecord *r =
            rmd_pb_decode(&remuda__suppression_record__descriptor, value, &c->scratch);
        ok = r;
        if (r)
            rmd_suppress_restore(c, key, r);
        break;
    }
    case 'U': {
        KEEP(IncidentRecord, incident_record);
        ok = r;
        if (r)
            rmd_incident_add(c, r);
        break;
    }
    case 'W':
        ok = rmd_warm_restore_row(c, key, value);
        break;
    case 'Y':
        ok = rmd_surges_restore_row(c, key, value);
        break;
    case 'H':
        ok = rmd_sender_restore_row(c, key, value);
        break;
    case 'J': {
        KEEP(ListingRecord, listing_record);
        ok = r;
        if (r)
            rmd_listing_restore(c, r);
        break;
    }
    case 'X': {
        KEEP(TlsDayRecord, tls_day_record);
        ok = r;
        if (r)
            rmd_tls_restore(c, r);
        break;
    }
    default: /* Q and D are counted by scans of our own */
        break;
    }
    char hex[2 * RMD_KEY_MAX + 1];
    key_text(key, hex);
    if (!ok)
        rmd_core_warn(c, "store: the row with key %s can't be read: not starting without it", hex);
    if (c->meta && c->meta->schema > RMD_STORE_SCHEMA) {
        rmd_core_warn(c, "store: written by a later version of Remuda (schema %u, known %d)", c->meta->schema,
                      RMD_STORE_SCHEMA);
        return RMD_EVERSION;
    }
    return ok ? RMD_OK : RMD_EFORMAT;
}

/* ---------------------------------------------------------------- the end of the rows */

static void first_start(struct rmd_coord *c) {
    Remuda__MetaRecord *m = c->meta = rmd_alloc(sizeof *m);
    remuda__meta_record__init(m);
    m->schema = RMD_STORE_SCHEMA;
    m->incarnation = 1;
    m->next_node = m->next_source = m->next_stream = 1;
    m->next_tenant = 2;
    m->next_incident = m->next_event = m->next_suppress = 1;
    /* Any start will do; people find a date easier to read. */
    m->ledger_time_ms = c->now.wall_ms > 0 ? (uint64_t)c->now.wall_ms : 0;
    m->mono_ms = c->now.mono_ms;
    rmd_bytes_set(&m->boot_id, c->o.boot_id, RMD_UUID_BYTES);
    uint8_t random[RMD_UUID_BYTES + 32], secret[RMD_SHA256_BYTES];
    memcpy(random, c->o.boot_id, RMD_UUID_BYTES);
    for (size_t i = 0; i < 4; i++)
        rmd_put_be64(random + RMD_UUID_BYTES + 8 * i, rmd_rng_next(&c->rng));
    c->o.sign->hmac_sha256(random, sizeof random, "remuda verp master", 18, secret);
    rmd_bytes_set(&m->verp_master, secret, sizeof secret);
    c->meta_dirty = true;
    Remuda__TenantRecord *t = rmd_alloc(sizeof *t);
    remuda__tenant_record__init(t);
    t->id = 1;
    rmd_str_set(&t->name, "default");
    struct rmd_key k = rmd_key_tenant(1);
    rmd_core_put(c, &k, t);
    rmd_registry_add_tenant(c, t);
}

static void start_ledger(struct rmd_coord *c) {
    const Remuda__MetaRecord *m = c->meta;
    int64_t at = (int64_t)m->ledger_time_ms;
    bool same_boot = m->boot_id.len == RMD_UUID_BYTES && memcmp(m->boot_id.data, c->o.boot_id, RMD_UUID_BYTES) == 0;
    if (same_boot && c->now.mono_ms > m->mono_ms)
        at += c->now.mono_ms - m->mono_ms;
    else if (!same_boot)
        rmd_core_log(c, "ledger: this host restarted; ledger time stands still until a node that kept running "
                        "attests how long that took");
    rmd_ledger_start(&c->ledger, at, c->now.mono_ms);
    c->ledger.spent_until_ms = (int64_t)m->spent_until_ms;
    c->ledger_bucket = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
}

static void scan_more(struct rmd_coord *c, enum rmd_read_kind kind, const struct rmd_key *from, char table) {
    struct rmd_key to = rmd_key_table(table), end = rmd_key_after(&to);
    c->starting++;
    rmd_core_scan(c, kind, NULL, from, &end, kind == RMD_READ_START_K ? 1 : START_PAGE, 0, kind != RMD_READ_START_Q);
}

static void load_lease(struct rmd_coord *c, struct rmd_lease *l) {
    uint32_t most = l->own ? l->n : 1;
    struct rmd_key *keys = rmd_arena_alloc(&c->scratch, (2 * most + 1) * sizeof *keys);
    struct rmd_chunk **v = rmd_alloc((most + 1) * sizeof *v);
    size_t n = 0;
    for (uint32_t i = 0; i < most; i++) {
        struct rmd_chunk *ch = l->own ? l->own_chunk[i] : l->chunk;
        if (!ch || ch->loading || ch->has_state)
            continue;
        struct rmd_chunk_ref ref;
        rmd_key_of_chunk(ch, &ref);
        keys[2 * n] = rmd_key_chunk(l->campaign->rec->tenant, &ref);
        keys[2 * n + 1] = rmd_key_chunk_state(l->campaign->rec->tenant, &ref);
        ch->loading = true;
        ch->refs++;
        v[n++] = ch;
    }
    size_t total = 2 * n;
    if (l->entry) {
        struct rmd_chunk_ref ref;
        rmd_key_of_chunk(l->chunk, &ref);
        keys[total++] = rmd_key_queue(l->campaign->rec->tenant, l->provider_id, l->campaign->rec->stream, &ref);
    }
    if (!total) {
        free(v);
        return;
    }
    c->starting++;
    struct rmd_read *r = rmd_core_get(c, RMD_READ_START_LEASE, l, keys, total);
    r->chunk = v;
    r->n_chunks = n;
}

static void link_nodes(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        n->valid_until_mono_ms = c->now.mono_ms + c->o.lease_valid_ms;
        if (n->rec->boot_id.len == sizeof n->boot)
            memcpy(n->boot, n->rec->boot_id.data, sizeof n->boot);
        if (n->rec->state)
            continue;
        struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_ALLOW);
        memcpy(f->peer.key, n->rec->public_key.data, n->rec->public_key.len == RMD_KEY_BYTES ? RMD_KEY_BYTES : 0);
        f->on = true;
    }
}

static void serve_when_loaded(struct rmd_coord *c) {
    if (c->starting || c->phase != RMD_PHASE_LOADING)
        return;
    c->phase = RMD_PHASE_SERVING;
    c->tick_mono_ms = c->now.mono_ms;
    c->deal = true;
    if (c->meta->restored)
        rmd_core_warn(c, "the store was restored from a backup: nothing is dealt until the operator resumes");
}

void rmd_restore_end(struct rmd_coord *c) {
    c->share_from_mono_ms = c->now.mono_ms + RMD_SHARE_LINGER_MS;
    if (c->phase != RMD_PHASE_RESTORE)
        return;
    c->phase = RMD_PHASE_LOADING;
    c->started_wall_ms = c->now.wall_ms;
    if (!c->meta)
        first_start(c);
    start_ledger(c);
    for (uint32_t it = 0, done = 0; !done;) {
        void *v;
        done = !rmd_map_next(&c->streams, &it, NULL, &v);
        if (!done) /* again, now that the master secret is known */
            rmd_registry_add_stream(c, rmd_record_dup(((struct rmd_stream *)v)->rec));
    }
    link_nodes(c);
    rmd_warm_restored(c);
    rmd_book_restored(c);
    rmd_lanes_restore(c);
    for (size_t i = 0; i < c->n_start_campaigns; i++)
        rmd_campaign_add(c, c->start_campaign[i]);
    for (size_t i = 0; i < c->n_start_leases; i++) {
        rmd_lease_restore(c, c->start_lease[i]);
        remuda__lease_record__free_unpacked(c->start_lease[i], NULL);
    }
    free(c->start_campaign);
    free(c->start_lease);
    c->start_campaign = NULL;
    c->start_lease = NULL;
    c->n_start_campaigns = c->n_start_leases = 0;
    rmd_suppress_resume(c);
    rmd_surges_restored(c);
    rmd_denials_restored(c);
    struct rmd_key q = rmd_key_table('Q'), d = rmd_key_table('D'), k = rmd_key_table('K');
    scan_more(c, RMD_READ_START_Q, &q, 'Q');
    scan_more(c, RMD_READ_START_D, &d, 'D');
    scan_more(c, RMD_READ_START_K, &k, 'K');
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        uint32_t jt = 0;
        void *w;
        while (rmd_map_next(&((struct rmd_node *)v)->leases, &jt, NULL, &w))
            load_lease(c, w);
    }
}

/* ---------------------------------------------------------------- what is read before serving */

static void count_queue(struct rmd_coord *c, const struct rmd_row *row) {
    if (row->key.n != 37)
        return;
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(row->key.p + 13, 16));
    const Remuda__QueueRecord *r = rmd_pb_decode(&remuda__queue_record__descriptor, row->value, &c->scratch);
    if (!k || !r || k->rec->stream != rmd_get_be32(row->key.p + 9)) {
        char hex[2 * RMD_KEY_MAX + 1];
        key_text(row->key, hex);
        rmd_core_warn(c, "store: the queue's row with key %s can't be read; it is left alone", hex);
        return;
    }
    uint64_t n = rmd_bit_count(r->queued.data, r->queued.len * 8);
    struct rmd_cq *q = rmd_cq_get(c, rmd_get_be32(row->key.p + 5), k);
    q->queued += n;
    q->pq->queued += n;
    k->queued += n;
}

/* Rows of one queue follow each other in the order of their times: its totals are written once. */
struct deferred_run {
    struct rmd_dq *q;
    uint8_t of[16]; /* tenant, provider, stream, sticky source */
    int n;
};

static void end_run(struct rmd_coord *c, struct deferred_run *run) {
    if (run->q)
        rmd_dq_count(c, run->q, run->n);
    run->q = NULL;
    run->n = 0;
}

static void count_deferred(struct rmd_coord *c, const struct rmd_row *row, struct deferred_run *run) {
    if (row->key.n != 41)
        return;
    if (run->q && memcmp(run->of, row->key.p + 1, sizeof run->of) != 0)
        end_run(c, run);
    struct rmd_stream *s = run->q ? run->q->pq->stream : rmd_stream_find(c, rmd_get_be32(row->key.p + 9));
    struct rmd_id id;
    memcpy(id.b, row->key.p + 25, sizeof id.b);
    struct rmd_id campaign = rmd_id_campaign(&id);
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(campaign.b, sizeof campaign.b));
    if (!s || !k) {
        char hex[2 * RMD_KEY_MAX + 1];
        key_text(row->key, hex);
        rmd_core_warn(c, "store: the queue's row with key %s can't be read; it is left alone", hex);
        return;
    }
    if (!run->q) {
        memcpy(run->of, row->key.p + 1, sizeof run->of);
        run->q = rmd_dq_get(c, rmd_get_be32(row->key.p + 5), s, rmd_get_be32(row->key.p + 13));
        rmd_dq_stored(c, run->q, (int64_t)rmd_get_be64(row->key.p + 17));
    }
    run->n++;
    k->deferred++;
}

/* The next campaign that has chunks; one without a record is removed, unless it is younger than this start. */
static void orphan(struct rmd_coord *c, const struct rmd_row *row) {
    if (row->key.n != 29)
        return;
    uint32_t tenant = rmd_get_be32(row->key.p + 1);
    struct rmd_id id;
    memcpy(id.b, row->key.p + 5, sizeof id.b);
    struct rmd_key from = rmd_key_chunks_of('K', tenant, &id), to = rmd_key_after(&from);
    int64_t born = (int64_t)(rmd_get_be64(id.b) >> 16);
    if (!rmd_campaign_find(c, rmd_slice(id.b, sizeof id.b)) && born < c->started_wall_ms) {
        char text[27];
        rmd_id_format(&id, text);
        rmd_core_log(c, "submission %s was never completed: what was stored of it is removed", text);
        rmd_batch_delete_range(&c->batch, rmd_key_slice(&from), rmd_key_slice(&to));
    }
    scan_more(c, RMD_READ_START_K, &to, 'K');
}

static void lease_got(struct rmd_coord *c, struct rmd_read *r, const struct rmd_coord_event *e) {
    struct rmd_lease *l = r->subject;
    for (size_t i = 0; i < r->n_chunks && 2 * i + 1 < e->n_rows; i++)
        rmd_chunk_got(c, r->chunk[i], e->row[2 * i].value, e->row[2 * i + 1].value);
    if (l->entry && 2 * r->n_chunks < e->n_rows)
        rmd_entry_known(c, l->entry, e->row[2 * r->n_chunks].value);
    for (size_t i = 0; i < r->n_chunks; i++)
        rmd_chunk_unref(c, r->chunk[i]);
}

static void page(struct rmd_coord *c, struct rmd_read *r, const struct rmd_coord_event *e) {
    struct deferred_run run = {0};
    for (size_t i = 0; i < e->n_rows; i++) {
        if (r->kind == RMD_READ_START_Q)
            count_queue(c, &e->row[i]);
        else
            count_deferred(c, &e->row[i], &run);
    }
    end_run(c, &run);
    if (!e->more || !e->n_rows)
        return;
    struct rmd_key from = {.n = e->row[e->n_rows - 1].key.n};
    memcpy(from.b, e->row[e->n_rows - 1].key.p, from.n);
    from.b[from.n++] = 0;
    scan_more(c, r->kind, &from, r->kind == RMD_READ_START_Q ? 'Q' : 'D');
}

static void suppression_confirmed(struct rmd_coord *c, const struct rmd_coord_event *e) {
    if (!e->n_rows || !e->row[0].value.p || e->row[0].key.n != 17)
        return;
    Remuda__SuppressionRecord *r =
        rmd_pb_decode(&remuda__suppression_record__descriptor, e->row[0].value, &c->scratch);
    if (!r || !rmd_suppress_has(c, rmd_get_be32(e->row[0].key.p + 5), rmd_get_be64(e->row[0].key.p + 9)))
        return; /* taken back meanwhile */
    r->confirmed = true;
    struct rmd_key k = {.n = e->row[0].key.n};
    memcpy(k.b, e->row[0].key.p, k.n);
    rmd_core_put(c, &k, r);
}

void rmd_restore_read(struct rmd_coord *c, struct rmd_read *r, const struct rmd_coord_event *e) {
    if (r->kind == RMD_READ_SUPPRESSION) {
        suppression_confirmed(c, e);
        return;
    }
    c->starting--;
    if (r->kind == RMD_READ_START_LEASE)
        lease_got(c, r, e);
    else if (r->kind == RMD_READ_START_K)
        e->n_rows ? orphan(c, &e->row[0]) : (void)0;
    else
        page(c, r, e);
    serve_when_loaded(c);
}

/* ---------------------------------------------------------------- a store that came back from a backup */

/* A node remembers more than we do. Unsettled leases are in doubt, every cap counts as spent for a day, and nothing
 * is dealt until the operator says so. */
static void from_backup(struct rmd_coord *c, const char *who) {
    if (c->meta->restored)
        return;
    c->meta->restored = true;
    c->meta->incarnation++;
    c->ledger.spent_until_ms = c->ledger.now_ms + RMD_LEDGER_WINDOW_MS;
    c->meta->spent_until_ms = (uint64_t)c->ledger.spent_until_ms;
    c->meta_dirty = true;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        uint32_t jt = 0;
        void *w;
        while (rmd_map_next(&((struct rmd_node *)v)->leases, &jt, NULL, &w))
            rmd_doubt(c, w, "the store was restored from a backup");
    }
    rmd_doubt_restored(c);
    struct rmd_incident *i =
        rmd_incident_open(c, "the coordinator's store is older than what a node remembers: restored from a backup");
    rmd_str_set(&i->rec->cause, who);
    rmd_str_set(&i->rec->next_step, "Load the suppressions that were shipped separately, then resume.");
    rmd_core_warn(c,
                  "node %s remembers more than this store holds: it was restored from a backup; nothing is dealt "
                  "until you resume",
                  who);
}

/* Ids that were given after the backup are not given again: nodes refuse leases that aren't above their high-water
 * mark, and take recalls and suppressions that they know for repeats. */
void rmd_restore_check(struct rmd_coord *c, struct rmd_node *n, const Remuda__Hello *h, bool known) {
    Remuda__NodeRecord *r = n->rec;
    bool epoch = h->epoch_seen > rmd_core_epoch(c);
    if (epoch) {
        c->meta->epoch_base = h->epoch_seen + 1 - c->epoch;
        c->meta_dirty = true;
    }
    bool leases = h->lease_high_water > r->last_lease;
    if (!epoch && !leases && !(known && h->reported_position > r->settled_n))
        return;
    if (leases)
        r->last_lease = h->lease_high_water;
    r->last_recall += RESTORED_IDS;
    c->meta->next_suppress += RESTORED_IDS;
    n->dirty = c->nodes_dirty = true;
    from_backup(c, r->name);
}

void rmd_restore_resume(struct rmd_coord *c) {
    c->meta->restored = false;
    c->meta_dirty = true;
    c->deal = true;
}
