/* The coordinator's core: life, step, effects and commits (see core.h for the discipline). */
#include "coordinator/core/core.h"

/* ---------------------------------------------------------------- effects */

void rmd_coord_effects_reset(struct rmd_coord_effects *e) {
    for (size_t i = 0; i < e->n; i++)
        rmd_batch_release(&e->v[i].batch);
    e->n = 0;
    rmd_arena_reset(&e->arena);
}

void rmd_coord_effects_release(struct rmd_coord_effects *e) {
    rmd_coord_effects_reset(e);
    rmd_arena_release(&e->arena);
    free(e->v);
    *e = (struct rmd_coord_effects){0};
}

static struct rmd_coord_effect *add(struct rmd_coord_effects *e, enum rmd_coord_effect_kind kind) {
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->v = rmd_realloc(e->v, e->cap * sizeof *e->v);
    }
    struct rmd_coord_effect *f = &e->v[e->n++];
    *f = (struct rmd_coord_effect){.kind = kind, .probe = -1};
    return f;
}

static struct rmd_pending *current(struct rmd_coord *c) {
    if (!c->cur)
        c->cur = rmd_alloc(sizeof *c->cur);
    return c->cur;
}

struct rmd_arena *rmd_arena_now(struct rmd_coord *c) {
    return &c->out->arena;
}
struct rmd_arena *rmd_arena_after(struct rmd_coord *c) {
    return &current(c)->fx.arena;
}
struct rmd_coord_effect *rmd_fx_now(struct rmd_coord *c, enum rmd_coord_effect_kind kind) {
    return add(c->out, kind);
}
struct rmd_coord_effect *rmd_fx_after(struct rmd_coord *c, enum rmd_coord_effect_kind kind) {
    struct rmd_coord_effect *f = add(&current(c)->fx, kind);
    if (c->after_probe >= 0) { /* the first effect of a durable decision carries its probe */
        f->probe = c->after_probe;
        c->after_probe = -1;
    }
    return f;
}

void rmd_core_reply(struct rmd_coord *c, uint64_t token, int error, uint64_t number, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)n; /* an answer that is cut is still an answer */
    struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_REPLY);
    f->token = token;
    f->error = error;
    f->number = number;
    f->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(text));
}

static void log_line(struct rmd_coord *c, bool warning, const char *fmt, va_list ap) {
    char text[1024];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    (void)n;
    struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_LOG);
    f->text = rmd_arena_str(rmd_arena_now(c), rmd_slice_str(text));
    f->on = warning;
}

void rmd_core_log(struct rmd_coord *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    log_line(c, false, fmt, ap);
    va_end(ap);
}

void rmd_core_warn(struct rmd_coord *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    log_line(c, true, fmt, ap);
    va_end(ap);
}

Remuda__EventRecord *rmd_core_event(struct rmd_coord *c, const char *type) {
    struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_EVENT);
    Remuda__EventRecord *e = rmd_arena_alloc(rmd_arena_after(c), sizeof *e);
    remuda__event_record__init(e);
    /* Epochs rise with every start, so numbers do too, and none is given twice. */
    e->origin = c->epoch << RMD_EVENT_EPOCH_SHIFT | ++c->event_seq;
    e->wall_ms = c->now.wall_ms;
    e->type = (char *)(uintptr_t)type;
    f->event = e;
    return e;
}

/* Rises over every epoch that a node has served, also when the store is an older one. */
uint64_t rmd_core_epoch(const struct rmd_coord *c) {
    return c->epoch + (c->meta ? c->meta->epoch_base : 0);
}

static Remuda__Frame *frame(struct rmd_coord *c, struct rmd_arena *a, int body_case) {
    Remuda__Frame *f = rmd_arena_alloc(a, sizeof *f);
    remuda__frame__init(f);
    f->epoch = rmd_core_epoch(c);
    f->body_case = (Remuda__Frame__BodyCase)body_case;
    return f;
}

Remuda__Frame *rmd_core_send(struct rmd_coord *c, struct rmd_node *n, int body_case, int probe) {
    struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_SEND);
    f->peer = n->peer;
    if (probe >= 0)
        f->probe = probe;
    Remuda__Frame *m = frame(c, rmd_arena_after(c), body_case);
    f->frame = m;
    return m;
}

Remuda__Frame *rmd_core_send_now(struct rmd_coord *c, const struct rmd_coord_peer *peer, int body_case) {
    struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_SEND);
    f->peer = *peer;
    Remuda__Frame *m = frame(c, rmd_arena_now(c), body_case);
    f->frame = m;
    return m;
}

/* ---------------------------------------------------------------- records */

void rmd_str_set(char **field, const char *value) {
    if (value && *field && strcmp(*field, value) == 0)
        return;
    char *v = value && *value ? rmd_strdup(value) : (char *)(uintptr_t)protobuf_c_empty_string;
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = v;
}

void rmd_bytes_set(ProtobufCBinaryData *field, const void *p, size_t n) {
    uint8_t *v = n ? rmd_memdup(p, n) : NULL;
    free(field->data);
    field->data = v;
    field->len = n;
}

void *rmd_record_dup(const void *message) {
    const ProtobufCMessage *m = message;
    struct rmd_buf b = {0};
    rmd_pb_encode(m, &b);
    static const uint8_t nothing[1];
    void *out = protobuf_c_message_unpack(m->descriptor, NULL, b.len, b.p ? b.p : nothing);
    rmd_buf_release(&b);
    if (!out) {
        fputs("remuda: out of memory while copying a record\n", stderr);
        abort();
    }
    return out;
}

void rmd_core_put(struct rmd_coord *c, const struct rmd_key *k, const void *message) {
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *v = rmd_arena_alloc(&c->scratch, n + 1);
    protobuf_c_message_pack(message, v);
    rmd_batch_put(&c->batch, rmd_key_slice(k), rmd_slice(v, n));
}

void rmd_core_delete(struct rmd_coord *c, const struct rmd_key *k) {
    rmd_batch_delete(&c->batch, rmd_key_slice(k));
}

/* ---------------------------------------------------------------- reads */

static struct rmd_read *read_new(struct rmd_coord *c, enum rmd_read_kind kind, void *subject) {
    struct rmd_read *r = rmd_alloc(sizeof *r);
    r->kind = kind;
    r->subject = subject;
    r->at_wall_ms = c->now.wall_ms;
    rmd_map_set_u64(&c->reads, ++c->read_tag, r);
    return r;
}

static struct rmd_slice keep(struct rmd_coord *c, const struct rmd_key *k) {
    return rmd_slice(rmd_arena_dup(rmd_arena_now(c), k->b, k->n), k->n);
}

struct rmd_read *rmd_core_get(struct rmd_coord *c, enum rmd_read_kind kind, void *subject, const struct rmd_key *keys,
                              size_t n) {
    struct rmd_read *r = read_new(c, kind, subject);
    struct rmd_slice *v = rmd_arena_alloc(rmd_arena_now(c), (n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = keep(c, &keys[i]);
    struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_GET);
    f->tag = c->read_tag;
    f->key = v;
    f->n_keys = n;
    return r;
}

struct rmd_read *rmd_core_scan(struct rmd_coord *c, enum rmd_read_kind kind, void *subject,
                               const struct rmd_key *from, const struct rmd_key *to, uint32_t limit, size_t max_bytes,
                               bool keys_only) {
    struct rmd_read *r = read_new(c, kind, subject);
    struct rmd_scan scan = {
        .from = keep(c, from), .to = keep(c, to), .limit = limit, .max_bytes = max_bytes, .keys_only = keys_only};
    struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_SCAN);
    f->tag = c->read_tag;
    f->scan = scan;
    return r;
}

static void read_free(struct rmd_read *r) {
    free(r->chunk);
    free(r);
}

static void chunks_got(struct rmd_coord *c, struct rmd_read *r, const struct rmd_coord_event *e) {
    for (size_t i = 0; i < r->n_chunks; i++) {
        struct rmd_slice k = 2 * i < e->n_rows ? e->row[2 * i].value : rmd_slice(NULL, 0);
        struct rmd_slice b = 2 * i + 1 < e->n_rows ? e->row[2 * i + 1].value : rmd_slice(NULL, 0);
        rmd_chunk_got(c, r->chunk[i], k, b);
        rmd_chunk_unref(c, r->chunk[i]);
    }
    struct rmd_pq *q = r->subject;
    if (!q) {
        c->deal = true;
        return;
    }
    rmd_look_work(c, q);
    rmd_list_for(it, &q->ready_dqs) rmd_look_retries(rmd_container(it, struct rmd_dq, in_ready));
}

static void read_done(struct rmd_coord *c, const struct rmd_coord_event *e) {
    struct rmd_read *r = rmd_map_remove_u64(&c->reads, e->tag);
    if (!r)
        return;
    switch (r->kind) {
    case RMD_READ_CQ:
        rmd_queue_scanned(c, r->subject, e);
        break;
    case RMD_READ_DQ:
        rmd_deferred_scanned(c, r->subject, r, e);
        break;
    case RMD_READ_SORT:
        rmd_sort_scanned(r->subject, e);
        break;
    case RMD_READ_CHUNKS:
        chunks_got(c, r, e);
        break;
    case RMD_READ_SWEEP:
        rmd_drain_swept(c, r->subject, e);
        break;
    case RMD_READ_TEMPLATE:
        rmd_template_got(c, r, e);
        break;
    case RMD_READ_EXPIRE:
        rmd_campaign_expire_scanned(c, e);
        break;
    case RMD_READ_TEMPLATES:
        rmd_campaign_sweep_scanned(c, e);
        break;
    case RMD_READ_START_Q:
    case RMD_READ_START_D:
    case RMD_READ_START_K:
    case RMD_READ_START_LEASE:
    case RMD_READ_SUPPRESSION:
        rmd_restore_read(c, r, e);
        break;
    }
    read_free(r);
}

/* ---------------------------------------------------------------- commits */

/* Writes what is dirty, hands out the commit, and parks what waits for it. */
static void end_step(struct rmd_coord *c) {
    uint64_t tag = c->tag + 1;
    rmd_suppress_bounce_flush(c);
    rmd_queue_flush(c, tag);
    rmd_leases_flush(c, tag);
    rmd_campaigns_flush(c);
    rmd_surges_flush(c);
    rmd_senders_flush(c);
    rmd_listings_flush(c);
    rmd_tls_flush(c);
    rmd_incidents_flush(c);
    rmd_registry_flush(c);
    rmd_warm_flush(c);
    rmd_book_flush(c);
    rmd_ledger_flush(&c->ledger, &c->batch);
    uint32_t bucket = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
    if (c->phase == RMD_PHASE_SERVING && bucket != c->ledger_bucket) {
        c->ledger_bucket = bucket;
        c->meta_dirty = true;
        rmd_ledger_trim(&c->ledger, &c->batch);
    }
    if (c->meta_dirty ||
        (c->batch.ops && c->meta)) { /* ledger time rides along with every commit: a reboot loses less of it */
        c->meta_dirty = false;
        c->meta->ledger_time_ms = (uint64_t)c->ledger.now_ms;
        c->meta->mono_ms = c->now.mono_ms;
        rmd_bytes_set(&c->meta->boot_id, c->o.boot_id, RMD_UUID_BYTES);
        struct rmd_key k = rmd_key_meta();
        rmd_core_put(c, &k, c->meta);
    }
    rmd_events_keep(c);
    if (c->batch.ops || c->batch.error) {
        c->tag = tag;
        struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_COMMIT);
        f->batch = c->batch;
        f->tag = tag;
        f->probe = c->commit_probe;
        c->batch = (struct rmd_batch){0};
    }
    c->commit_probe = c->after_probe = -1;
    struct rmd_pending *p = c->cur;
    c->cur = NULL;
    if (!p)
        return;
    p->tag = c->tag;
    rmd_list_push(&c->pending, &p->link);
    c->n_pending++;
}

/* Hands out what waited for commits up to c->persisted. Its memory lives until the next step. */
static void release_pending(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->pending) {
        struct rmd_pending *p = rmd_container(it, struct rmd_pending, link);
        if (p->tag > c->persisted)
            break;
        for (size_t i = 0; i < p->fx.n; i++) {
            struct rmd_coord_effect *f = add(c->out, p->fx.v[i].kind);
            *f = p->fx.v[i];
            if (f->kind == RMD_CF_EVENT)
                rmd_events_told(c, f->event);
        }
        rmd_list_remove(&p->link);
        c->n_pending--;
        rmd_list_push(&c->retired, &p->link);
    }
}

static void pendings_free(struct rmd_list *l) {
    rmd_list_for_safe(it, l) {
        struct rmd_pending *p = rmd_container(it, struct rmd_pending, link);
        rmd_list_remove(&p->link);
        rmd_coord_effects_release(&p->fx);
        free(p);
    }
}

bool rmd_core_left(const struct rmd_coord *c, uint64_t tag) {
    return tag <= c->persisted || (c->tag == c->persisted && !c->batch.ops);
}

bool rmd_core_choked(const struct rmd_coord *c) {
    return c->n_pending > RMD_PENDING_MAX;
}

bool rmd_core_may_deal(const struct rmd_coord *c) {
    return c->phase == RMD_PHASE_SERVING && !c->stalled && !c->meta->restored &&
           c->tag - c->persisted <= RMD_COORD_COMMITS_IN_FLIGHT;
}

/* ---------------------------------------------------------------- step */

void rmd_core_wake(struct rmd_coord *c, int64_t mono_ms) {
    if (mono_ms < c->tick_mono_ms)
        c->tick_mono_ms = mono_ms;
}

static void tick(struct rmd_coord *c) {
    /* Everything says by itself when it is due; caps free, and ledger time is written, when a bucket ends. */
    c->tick_mono_ms = c->now.mono_ms + RMD_LEDGER_BUCKET_MS - c->ledger.now_ms % RMD_LEDGER_BUCKET_MS;
    rmd_membership_tick(c);
    rmd_doubt_tick(c);
    rmd_lanes_tick(c);
    rmd_senders_tick(c);
    rmd_content_tick(c);
    rmd_moving_tick(c);
    rmd_share_tick(c);
    rmd_suppress_check(c);
    rmd_denials_tick(c);
    rmd_watchers_tick(c);
    c->deal_on = true;
    if (c->now.mono_ms >= c->look_all_mono_ms) {
        c->look_all_mono_ms = c->now.mono_ms + RMD_LOOK_ALL_MS;
        c->deal = true;
    }
}

/* Work that goes on whenever something happened. */
static void advance(struct rmd_coord *c) {
    if (c->phase != RMD_PHASE_SERVING)
        return;
    rmd_campaign_tick(c);
    rmd_watchers_advance(c);
    rmd_surges_advance(c);
    if (rmd_core_may_deal(c)) {
        rmd_deferred_resolve(c);
        rmd_queue_load(c);
        rmd_deferred_load(c);
        if (c->deal || c->deal_on) {
            bool all = c->deal;
            c->deal = c->deal_on = false;
            rmd_policy_flush(c, -1); /* ahead of the leases: a node gives back what its policy doesn't let it send */
            rmd_look_news(c, all);
            rmd_sched_deal(c);
            rmd_queue_load(c);
        }
    }
    rmd_queue_evict(c);
    /* While nothing may be dealt, the store's next word is what is waited for. */
    int64_t due = rmd_core_may_deal(c) ? rmd_deferred_deadline_wall(c) : RMD_NEVER;
    if (due != RMD_NEVER) {
        int64_t wait = due > c->now.wall_ms ? due - c->now.wall_ms : 1;
        rmd_core_wake(c, c->now.mono_ms + wait);
    }
    if (c->more)
        rmd_core_wake(c, c->now.mono_ms);
}

static void set_stalled(struct rmd_coord *c, const char *text) {
    bool was = c->stalled;
    free(c->stalled);
    c->stalled = text && *text ? rmd_strdup(text) : NULL;
    if (c->stalled && !was)
        rmd_core_log(c, "store: stalled: %s; nothing new is dealt until it flows again", c->stalled);
    else if (!c->stalled && was)
        rmd_core_log(c, "store: flows again");
    c->deal = true;
}

static void dispatch(struct rmd_coord *c, const struct rmd_coord_event *e) {
    switch (e->kind) {
    case RMD_CE_RESTORE:
        break; /* rmd_coord_step: it alone can fail */
    case RMD_CE_RESTORED:
        rmd_restore_end(c);
        break;
    case RMD_CE_KEY:
        rmd_registry_key(c, e->stream, e->index, e->pem);
        break;
    case RMD_CE_TICK:
        break;
    case RMD_CE_FRAME:
        rmd_membership_frame(c, e);
        break;
    case RMD_CE_MALFORMED: {
        c->malformed++;
        struct rmd_node *n = rmd_node_by_key(c, e->peer.key);
        if (n)
            n->malformed++;
        break;
    }
    case RMD_CE_PEER_GONE:
        rmd_membership_gone(c, &e->peer);
        break;
    case RMD_CE_PERSISTED:
        if (e->tag > c->persisted)
            c->persisted = e->tag;
        rmd_suppress_check(
            c); /* dealing that waited for commits is still to be done: c->deal and c->deal_on say so */
        break;
    case RMD_CE_STALLED:
        set_stalled(c, e->text);
        break;
    case RMD_CE_SCANNED:
    case RMD_CE_GOT:
        read_done(c, e);
        break;
    case RMD_CE_RESOLVED:
        rmd_site_resolved(c, e->name, e->mx);
        break;
    case RMD_CE_COMMAND:
        rmd_command(c, e->command);
        break;
    case RMD_CE_DAY:
        c->warm.told = e->day;
        rmd_warm_step(c);
        break;
    }
}

int rmd_coord_step(struct rmd_coord *c, const struct rmd_coord_event *e, struct rmd_coord_effects *out) {
    pendings_free(&c->retired);
    rmd_reload_forget(c);
    rmd_arena_reset(&c->scratch);
    c->out = out;
    c->now = e->at;
    c->more = false;
    if (c->phase != RMD_PHASE_RESTORE)
        rmd_ledger_tick(&c->ledger, e->at.mono_ms);
    if (e->kind == RMD_CE_PERSISTED && e->tag > c->persisted)
        c->persisted = e->tag;
    release_pending(c); /* before anything that this step adds */
    rmd_warm_step(c);
    c->book.hour = c->ledger.now_ms / RMD_LEDGER_HOUR_MS;
    int rc = RMD_OK;
    for (size_t i = 0; e->kind == RMD_CE_RESTORE && i < e->n_rows && rc == RMD_OK; i++)
        rc = rmd_restore_row(c, e->row[i].key, e->row[i].value);
    dispatch(c, e);
    if (c->phase == RMD_PHASE_SERVING && c->now.mono_ms >= c->tick_mono_ms)
        tick(c);
    if (c->phase != RMD_PHASE_RESTORE) {
        advance(c);
        end_step(c);
        release_pending(c); /* effects of this step that wait for no commit */
    }
    c->out = NULL;
    return rc;
}

int64_t rmd_coord_deadline(const struct rmd_coord *c) {
    return c->phase == RMD_PHASE_SERVING ? c->tick_mono_ms : RMD_NEVER;
}

/* ---------------------------------------------------------------- life */

struct rmd_coord *rmd_coord_new(const struct rmd_coord_options *o, uint64_t epoch) {
    struct rmd_coord *c = rmd_alloc(sizeof *c);
    c->o = *o;
    c->epoch = epoch;
    c->commit_probe = c->after_probe = -1;
    c->look_from = o->look_from ? o->look_from : RMD_LOOK_FROM;
    c->other = rmd_provider_id(RMD_PROVIDER_OTHER_NAME);
    c->policy_rev = epoch << 32;
    rmd_rng_seed(&c->rng, o->seed);
    rmd_ledger_init(&c->ledger);
    struct rmd_list *heads[] = {&c->pending,         &c->retired,           &c->domain_lru,
                                &c->resolve_queue,   &c->all_pqs,           &c->all_dqs,
                                &c->flying_dqs,      &c->lane_news,         &c->lingering,
                                &c->all_campaigns,   &c->dirty_chunks,      &c->dirty_entries,
                                &c->dirty_campaigns, &c->dirty_leases,      &c->idle_chunks,
                                &c->idle_entries,    &c->suppressing,       &c->incidents,
                                &c->open_campaigns,  &c->closing_campaigns, &c->finished_campaigns,
                                &c->old_sets,        &c->sender_list};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        rmd_list_init(heads[i]);
    rmd_warm_init_core(c);
    rmd_book_init(c);
    rmd_reload_init(c);
    rmd_watchers_init(c);
    rmd_surges_init(c);
    rmd_denials_init(c);
    rmd_tls_init(c);
    return c;
}

void rmd_coord_free(struct rmd_coord *c) {
    if (!c)
        return;
    pendings_free(&c->pending);
    pendings_free(&c->retired);
    if (c->cur) {
        rmd_coord_effects_release(&c->cur->fx);
        free(c->cur);
    }
    rmd_batch_release(&c->batch);
    free(c->kept.v);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->reads, &it, NULL, &v))
        read_free(v);
    rmd_map_release(&c->reads);
    rmd_deferred_free(c); /* records and leases refer to chunks, chunks to campaigns: in this order */
    rmd_registry_free(c);
    rmd_queue_free(c);
    rmd_campaigns_free(c);
    rmd_site_free(c);
    rmd_suppress_free(c);
    rmd_surges_free(c);
    rmd_denials_free(c);
    rmd_senders_free(c);
    rmd_watchers_free(c);
    rmd_tls_free(c);
    rmd_incidents_free(c);
    rmd_warm_free(c);
    rmd_book_free(c);
    rmd_ledger_release(&c->ledger);
    rmd_reload_free(c);
    if (c->meta)
        remuda__meta_record__free_unpacked(c->meta, NULL);
    free(c->stalled);
    rmd_arena_release(&c->scratch);
    rmd_arena_release(&c->view);
    free(c);
}
