/* The coordinator's host: the real core with the fake store, as coordinator/io/shell*.c has it in production: reads
 * when their turn comes, completions in order, restore table by table. It can die at any effect; the store then loses
 * what it had not synced. */
#include "coordinator/core/keys.h"
#include "tests/kit/store_rows.h"
#include "tests/sim/sim.h"

struct waiting { /* who waits for a batch */
    uint64_t tag, request;
};

struct pending { /* something for the core when the present step is over */
    struct rmd_list link;
    enum rmd_coord_event_kind kind;
    uint64_t tag;
    struct rmd_coord_peer peer;
    struct rmd_scan scan;
    struct rmd_slice *key;
    size_t n_keys;
    struct rmd_arena arena;
};

static void on_tick(struct sim *s, struct sim_event *e);
static void on_sync(struct sim *s, struct sim_event *e);
static void on_resolved(struct sim *s, struct sim_event *e);
static void step(struct sim *s, struct rmd_coord_event *e);

static bool lives(struct sim_coord *c) {
    if (c->dying)
        return false;
    if (c->crash_in >= 0 && c->crash_in-- == 0)
        c->dying = true;
    return !c->dying;
}

/* ---- reads */

static struct pending *pend(struct sim_coord *c, enum rmd_coord_event_kind kind) {
    struct pending *p = rmd_alloc(sizeof *p);
    p->kind = kind;
    rmd_list_push(&c->pending, &p->link);
    return p;
}

static void pending_free(struct pending *p) {
    rmd_list_remove(&p->link);
    rmd_arena_release(&p->arena);
    free(p);
}

static void run_pending(struct sim *s) {
    struct sim_coord *c = &s->coord;
    while (!rmd_list_empty(&c->pending) && !c->dying && !s->broken) {
        struct pending *p = rmd_container(c->pending.next, struct pending, link);
        struct rmd_coord_event e = {.kind = p->kind, .tag = p->tag, .peer = p->peer};
        struct kit_rows rows = {.arena = &c->rows, .key = p->key};
        int rc = RMD_OK;
        rmd_list_remove(&p->link);
        rmd_arena_reset(&c->rows);
        if (p->kind == RMD_CE_SCANNED) {
            rc = c->store.ops->scan(c->store.s, &p->scan, kit_on_row, &rows);
            e.more = rows.n >= p->scan.limit || (p->scan.max_bytes && rows.n > 0);
        } else if (p->kind == RMD_CE_GOT) {
            rc = c->store.ops->get_many(c->store.s, p->key, p->n_keys, kit_on_value, &rows);
        }
        if (rc < 0)
            sim_broken(s, "store answers", "reading failed: %s", rmd_error_text(rc));
        e.row = rows.v;
        e.n_rows = rows.n;
        step(s, &e);
        free(rows.v);
        pending_free(p);
    }
}

/* ---- commits */

static void submit(struct sim *s, struct rmd_batch *b, uint64_t tag, uint64_t request) {
    struct sim_coord *c = &s->coord;
    struct waiting *w = rmd_alloc(sizeof *w);
    *w = (struct waiting){tag, request};
    rmd_map_set_u64(&c->waiting, c->next_seq, w);
    int rc = c->store.ops->submit(c->store.s, b, c->epoch, c->next_seq++);
    if (rc < 0)
        sim_broken(s, "store takes batches", "batch %llu: %s", (unsigned long long)c->next_seq - 1,
                   rmd_error_text(rc));
    if (!c->sync)
        c->sync = sim_at(s, sim_between(s, 0, 5), on_sync, 0, 0, 0);
}

static void completions(struct sim *s) {
    struct sim_coord *c = &s->coord;
    struct rmd_completion done[64];
    int n;
    while (!c->dying && !s->broken && (n = c->store.ops->poll(c->store.s, done, 64)) > 0) {
        for (int i = 0; i < n && !c->dying; i++) {
            struct waiting *w = rmd_map_remove_u64(&c->waiting, done[i].seq);
            struct waiting x = *w;
            free(w);
            if (done[i].error < 0 && !x.request)
                sim_broken(s, "store takes batches", "a batch failed: %s", rmd_error_text(done[i].error));
            else if (x.request)
                sim_op_committed(s, x.request, done[i].error);
            else
                step(s, &(struct rmd_coord_event){.kind = RMD_CE_PERSISTED, .tag = x.tag});
            run_pending(s);
        }
    }
    if (c->dying || s->broken)
        return;
    const char *stalled = c->store.ops->stalled(c->store.s);
    if ((stalled != NULL) != (c->stalled != NULL)) {
        free(c->stalled);
        c->stalled = stalled ? rmd_strdup(stalled) : NULL;
        step(s, &(struct rmd_coord_event){.kind = RMD_CE_STALLED, .text = c->stalled});
        run_pending(s);
    }
}

/* ---- effects */

static void read_later(struct sim_coord *c, const struct rmd_coord_effect *f) {
    struct pending *p = pend(c, f->kind == RMD_CF_SCAN ? RMD_CE_SCANNED : RMD_CE_GOT);
    p->tag = f->tag;
    if (f->kind == RMD_CF_SCAN) {
        p->scan = f->scan;
        p->scan.from = kit_keep(&p->arena, f->scan.from);
        p->scan.to = kit_keep(&p->arena, f->scan.to);
        return;
    }
    p->n_keys = f->n_keys;
    p->key = rmd_arena_alloc(&p->arena, f->n_keys * sizeof *p->key + 1);
    for (size_t i = 0; i < f->n_keys; i++)
        p->key[i] = kit_keep(&p->arena, f->key[i]);
}

static void carry_out(struct sim *s, struct rmd_coord_effect *f) {
    struct sim_coord *c = &s->coord;
    switch (f->kind) {
    case RMD_CF_COMMIT:
        submit(s, &f->batch, f->tag, 0);
        break;
    case RMD_CF_SEND:
        if (sim_net_session_live(s, &f->peer))
            sim_net_to_node(s, &f->peer, f->frame);
        else
            pend(c, RMD_CE_PEER_GONE)->peer = f->peer;
        break;
    case RMD_CF_DROP:
        sim_net_drop(s, &f->peer);
        break;
    case RMD_CF_SCAN:
    case RMD_CF_GET:
        read_later(c, f);
        break;
    case RMD_CF_RESOLVE:
        rmd_buf_addstr(&sim_at(s, sim_between(s, 1, 80), on_resolved, c->gen, 0, 0)->bytes, f->name);
        break;
    case RMD_CF_REPLY:
        sim_op_reply(s, f->token, f->error, f->text ? f->text : "");
        break;
    case RMD_CF_EVENT:
        sim_check_event(s, f->event);
        break;
    case RMD_CF_ALLOW: {
        int n = sim_net_node_of(s, f->peer.key);
        if (n >= 0)
            s->node[n].enrolled = f->on;
        break;
    }
    case RMD_CF_LOG:
        sim_say(s, "coordinator: %s", f->text);
        break;
    }
}

static void step(struct sim *s, struct rmd_coord_event *e) {
    struct sim_coord *c = &s->coord;
    if (c->dying || s->broken)
        return;
    e->at = sim_time(s, &c->clock);
    rmd_coord_effects_reset(&c->fx);
    if (rmd_coord_step(c->core, e, &c->fx) < 0) {
        sim_broken(s, "cores never fail", "coordinator's step %d failed", (int)e->kind);
        return;
    }
    for (size_t i = 0; i < c->fx.n && lives(c); i++)
        carry_out(s, &c->fx.v[i]);
}

/* ---- turns */

static void turn(struct sim *s) {
    struct sim_coord *c = &s->coord;
    if (c->busy)
        return;
    run_pending(s);
    if (c->dying) {
        sim_coord_kill(s, false);
        return;
    }
    int64_t at = rmd_coord_deadline(c->core);
    int64_t delay = at == RMD_NEVER ? SIM_DAY_MS : sim_true_ms(&c->clock, at) - s->now_ms;
    int64_t when = s->now_ms + (delay < 1 ? 1 : delay);
    if (c->tick && c->tick->at.key == when)
        return;
    sim_cancel(s, &c->tick);
    c->tick = sim_at(s, when - s->now_ms, on_tick, 0, 0, 0);
}

static void on_tick(struct sim *s, struct sim_event *e) {
    (void)e;
    s->coord.tick = NULL;
    step(s, &(struct rmd_coord_event){.kind = RMD_CE_TICK});
    turn(s);
}

static void on_sync(struct sim *s, struct sim_event *e) {
    struct sim_coord *c = &s->coord;
    (void)e;
    c->sync = NULL;
    size_t held = rmd_store_fake_held(c->disk);
    bool stalls = s->now_ms < c->stall_until_ms;
    rmd_store_fake_fail_next(c->disk, RMD_EFULL, stalls ? -1 : 0);
    rmd_store_fake_sync(c->disk, held > 1 && sim_one_in(s, 4) ? 1 + sim_below(s, held) : held);
    c->busy = true;
    completions(s);
    c->busy = false;
    turn(s);
    if (c->up && !c->sync && rmd_store_fake_held(c->disk))
        c->sync = sim_at(s, stalls ? 200 : sim_between(s, 1, 5), on_sync, 0, 0, 0);
}

static void on_resolved(struct sim *s, struct sim_event *e) {
    struct rmd_mx_answer mx;
    const char *name = rmd_buf_str(&e->bytes);
    if (!s->coord.up || s->coord.gen != e->a)
        return;
    sim_mx(s, name, &mx);
    step(s, &(struct rmd_coord_event){.kind = RMD_CE_RESOLVED, .name = name, .mx = &mx});
    turn(s);
}

void sim_coord_frame(struct sim *s, const uint8_t key[RMD_KEY_BYTES], uint32_t session, struct rmd_slice bytes) {
    struct sim_coord *c = &s->coord;
    struct rmd_coord_event e = {.kind = RMD_CE_MALFORMED, .peer = {.session = session}};
    Remuda__Frame *f = NULL;
    if (!c->up)
        return;
    memcpy(e.peer.key, key, sizeof e.peer.key);
    rmd_arena_reset(&c->frames);
    if (rmd_frame_decode(bytes, &c->frames, &f) == RMD_OK) {
        e.kind = RMD_CE_FRAME;
        e.frame = f;
    }
    step(s, &e);
    turn(s);
}

/* ---- the ways in of other threads */

bool sim_coord_command(struct sim *s, struct rmd_command *cmd, uint64_t *token) {
    struct sim_coord *c = &s->coord;
    if (!c->up)
        return false;
    cmd->token = *token = ++c->next_token;
    cmd->tenant = 1;
    step(s, &(struct rmd_coord_event){.kind = RMD_CE_COMMAND, .command = cmd});
    turn(s);
    return true;
}

bool sim_coord_submit(struct sim *s, struct rmd_batch *b, uint64_t request) {
    if (!s->coord.up || s->now_ms < s->coord.stall_until_ms)
        return false;
    submit(s, b, 0, request);
    return true;
}

/* ---- life */

static void restore_table(struct sim *s, char table) {
    struct sim_coord *c = &s->coord;
    struct rmd_key from = rmd_key_table(table), to = rmd_key_table((char)(table + 1));
    struct rmd_buf at = {0};
    rmd_buf_add(&at, from.b, from.n);
    for (;;) {
        struct rmd_scan scan = {
            .from = rmd_buf_slice(&at), .to = rmd_key_slice(&to), .limit = 1000, .max_bytes = 4 << 20};
        struct kit_rows rows = {.arena = &c->rows};
        rmd_arena_reset(&c->rows);
        int rc = c->store.ops->scan(c->store.s, &scan, kit_on_row, &rows);
        if (rc < 0 || !rows.n) {
            free(rows.v);
            break;
        }
        rmd_buf_clear(&at);
        rmd_buf_add(&at, rows.v[rows.n - 1].key.p, rows.v[rows.n - 1].key.n);
        rmd_buf_addc(&at, 0);
        step(s, &(struct rmd_coord_event){.kind = RMD_CE_RESTORE, .row = rows.v, .n_rows = rows.n});
        free(rows.v);
    }
    rmd_buf_release(&at);
}

struct stream_ids {
    uint32_t id[SIM_STREAMS + 1], keys[SIM_STREAMS + 1], n;
};

static void collect(void *ctx, const Remuda__StreamRecord *r) {
    struct stream_ids *x = ctx;
    if (x->n > SIM_STREAMS)
        return;
    x->keys[x->n] = (uint32_t)r->n_key;
    x->id[x->n++] = r->id;
}

void sim_coord_start(struct sim *s) {
    struct sim_coord *c = &s->coord;
    uint64_t last = 0;
    if (c->up)
        return;
    if (!c->disk) {
        c->disk = rmd_store_fake_new();
        rmd_list_init(&c->pending);
    }
    c->up = true;
    c->dying = false;
    c->gen++;
    c->crash_in = -1;
    if (rmd_store_fake_open(c->disk, &c->store) != RMD_OK || c->store.ops->acquire(c->store.s, &c->epoch) != RMD_OK ||
        c->store.ops->last_seq(c->store.s, &last) != RMD_OK) {
        sim_broken(s, "store answers", "it can't be opened");
        return;
    }
    c->next_seq = last + 1;
    s->coord_options.seed = rmd_rng_next(&s->rng);
    memcpy(s->coord_options.boot_id, c->clock.boot_id, RMD_UUID_BYTES);
    c->core = rmd_coord_new(&s->coord_options, c->epoch);
    sim_say(s, "coordinator: starts with epoch %llu", (unsigned long long)c->epoch);
    sim_check_disturbed(s, -1);
    for (const char *t = "ATPNSWJYHCGRULX"; *t; t++)
        restore_table(s, *t);
    struct stream_ids ids = {0};
    rmd_coord_streams(c->core, collect, &ids);
    for (uint32_t i = 0; i < ids.n; i++)
        for (uint32_t k = 0; k < ids.keys[i]; k++)
            step(s, &(struct rmd_coord_event){.kind = RMD_CE_KEY,
                                              .stream = ids.id[i],
                                              .index = k,
                                              .pem = rmd_slice_str("-----BEGIN FAKE ED25519 KEY-----")});
    step(s, &(struct rmd_coord_event){.kind = RMD_CE_RESTORED});
    sim_watch_restored(s);
    turn(s);
}

static void on_start(struct sim *s, struct sim_event *e) {
    (void)e;
    sim_coord_start(s);
}

static void forget(struct sim_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->waiting, &it, NULL, &v))
        free(v);
    rmd_map_release(&c->waiting);
    while (!rmd_list_empty(&c->pending))
        pending_free(rmd_container(c->pending.next, struct pending, link));
    rmd_coord_effects_reset(&c->fx); /* batches that nobody took */
    rmd_coord_free(c->core);
    c->core = NULL;
    free(c->stalled);
    c->stalled = NULL;
}

void sim_coord_kill(struct sim *s, bool host) {
    struct sim_coord *c = &s->coord;
    if (!c->up)
        return;
    sim_say(s, "coordinator: %s", host ? "its host is lost" : "process dies");
    s->n_crashes++;
    c->up = c->dying = false;
    c->gen++;
    sim_cancel(s, &c->tick);
    sim_cancel(s, &c->sync);
    rmd_store_fake_crash(c->disk);
    forget(c);
    if (host)
        sim_boot(s, &c->clock);
    sim_check_vanished(s, -1);
    for (uint32_t n = 0; n < s->n_nodes; n++)
        sim_net_reset(s, n, sim_between(s, 200, 1500));
    sim_op_coord_gone(s);
    sim_at(s,
           s->quiet_faults    ? 1000
           : sim_one_in(s, 4) ? sim_between(s, 20000, 200000)
                              : sim_between(s, 200, 8000),
           on_start, 0, 0, 0);
}

void sim_coord_free(struct sim *s) {
    struct sim_coord *c = &s->coord;
    if (!c->disk)
        return;
    c->store.ops->close(c->store.s);
    if (c->core)
        forget(c);
    rmd_coord_effects_release(&c->fx);
    rmd_arena_release(&c->frames);
    rmd_arena_release(&c->rows);
    rmd_store_fake_free(c->disk);
}
