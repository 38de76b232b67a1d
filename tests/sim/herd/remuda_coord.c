/* The coordinator's host: its core with the fake store, as coordinator/io/shell*.c has it: reads when their turn comes, completions in
 * order. What it tells as history goes to the operator and the story. */
#include "tests/kit/store_rows.h"
#include "tests/sim/herd/remuda.h"

struct hr_waiting { /* who waits for a batch */
    uint64_t seq, tag;
    uint32_t campaign; /* + 1; 0: the core */
};

struct read { /* for the core when the present step is over */
    struct rmd_list link;
    enum rmd_coord_event_kind kind;
    uint64_t tag;
    struct rmd_scan scan;
    struct rmd_slice *key;
    size_t n_keys;
    struct rmd_arena arena;
};

static void on_tick(struct hr *h, struct hr_event *e);
static void on_sync(struct hr *h, struct hr_event *e);
static void on_resolved(struct hr *h, struct hr_event *e);

/* ---- reads */

static void read_later(struct hr_coord *c, const struct rmd_coord_effect *f) {
    struct read *r;
    if (rmd_list_empty(&c->spare_reads)) {
        r = rmd_alloc(sizeof *r);
    } else {
        r = rmd_container(c->spare_reads.next, struct read, link);
        rmd_list_remove(&r->link);
    }
    rmd_arena_reset(&r->arena);
    r->kind = f->kind == RMD_CF_SCAN ? RMD_CE_SCANNED : RMD_CE_GOT;
    r->tag = f->tag;
    r->n_keys = f->n_keys;
    rmd_list_push(&c->pending, &r->link);
    if (f->kind == RMD_CF_SCAN) {
        r->scan = f->scan;
        r->scan.from = kit_keep(&r->arena, f->scan.from);
        r->scan.to = kit_keep(&r->arena, f->scan.to);
        return;
    }
    r->key = rmd_arena_alloc(&r->arena, f->n_keys * sizeof *r->key + 1);
    for (size_t i = 0; i < f->n_keys; i++)
        r->key[i] = kit_keep(&r->arena, f->key[i]);
}

/* ---- effects */

static void submit(struct hr *h, struct rmd_batch *b, uint64_t tag, uint32_t campaign) {
    struct hr_coord *c = &h->coord;
    if (c->waiting_n == c->waiting_cap) {
        size_t cap = c->waiting_cap ? c->waiting_cap * 2 : 64;
        struct hr_waiting *v = rmd_alloc(cap * sizeof *v);
        for (size_t i = 0; i < c->waiting_n; i++)
            v[i] = c->waiting[(c->waiting_from + i) % c->waiting_cap];
        free(c->waiting);
        c->waiting = v;
        c->waiting_from = 0;
        c->waiting_cap = cap;
    }
    c->waiting[(c->waiting_from + c->waiting_n++) % c->waiting_cap] =
        (struct hr_waiting){.seq = c->next_seq, .tag = tag, .campaign = campaign};
    int rc = c->store.ops->submit(c->store.s, b, c->epoch, c->next_seq++);
    if (rc < 0)
        hr_fail(h, "the store didn't take a batch: %s", rmd_error_text(rc));
    if (!c->syncing) {
        c->syncing = true;
        hr_at(h, HR_COMMIT_MS, on_sync, 0, 0);
    }
}

static void carry_out(struct hr *h, struct rmd_coord_effect *f) {
    struct hr_node *n;
    switch (f->kind) {
    case RMD_CF_COMMIT:
        submit(h, &f->batch, f->tag, 0);
        break;
    case RMD_CF_SEND:
        if ((n = hr_node_of(h, f->peer.key)))
            hr_to_node(h, n, f->frame);
        break;
    case RMD_CF_DROP:
        hr_fail(h, "the coordinator drops a session, where nothing is lost");
        break;
    case RMD_CF_SCAN:
    case RMD_CF_GET:
        read_later(&h->coord, f);
        break;
    case RMD_CF_RESOLVE:
        rmd_buf_addstr(&hr_at(h, HR_DNS_MS, on_resolved, 0, 0)->bytes, f->name);
        break;
    case RMD_CF_REPLY:
        hr_operator_reply(h, f->token, f->error, f->text ? f->text : "");
        break;
    case RMD_CF_EVENT:
        hr_operator_event(h, f->event);
        break;
    case RMD_CF_ALLOW:
        if (f->on && (n = hr_node_of(h, f->peer.key)))
            hr_node_connect(h, n);
        break;
    case RMD_CF_LOG:
        hr_say(h, "coordinator: %s", f->text);
        break;
    }
}

static void one_step(struct hr *h, struct rmd_coord_event *e) {
    struct hr_coord *c = &h->coord;
    if (h->failed)
        return;
    e->at = hr_time(h);
    rmd_coord_effects_reset(&c->fx);
    if (rmd_coord_step(c->core, e, &c->fx) < 0)
        hr_fail(h, "the coordinator's step %d failed", (int)e->kind);
    for (size_t i = 0; i < c->fx.n && !h->failed; i++)
        carry_out(h, &c->fx.v[i]);
}

static void run_reads(struct hr *h) {
    struct hr_coord *c = &h->coord;
    while (!rmd_list_empty(&c->pending) && !h->failed) {
        struct read *r = rmd_container(c->pending.next, struct read, link);
        struct rmd_coord_event e = {.kind = r->kind, .tag = r->tag};
        struct kit_rows rows = {.arena = &c->rows, .key = r->key};
        rmd_list_remove(&r->link);
        rmd_arena_reset(&c->rows);
        int rc;
        if (r->kind == RMD_CE_SCANNED) {
            rc = c->store.ops->scan(c->store.s, &r->scan, kit_on_row, &rows);
            e.more = rows.n >= r->scan.limit || (r->scan.max_bytes && rows.n > 0);
        } else {
            rc = c->store.ops->get_many(c->store.s, r->key, r->n_keys, kit_on_value, &rows);
        }
        if (rc < 0)
            hr_fail(h, "reading failed: %s", rmd_error_text(rc));
        e.row = rows.v;
        e.n_rows = rows.n;
        one_step(h, &e);
        free(rows.v);
        rmd_list_push(&c->spare_reads, &r->link);
    }
}

static void step(struct hr *h, struct rmd_coord_event *e) {
    struct hr_coord *c = &h->coord;
    one_step(h, e);
    run_reads(h);
    if (h->failed)
        return;
    int64_t at = rmd_coord_deadline(c->core);
    if (at != RMD_NEVER && (!c->tick || hr_of_mono(at) < c->tick->at.key || c->tick->at.key <= h->now_ms))
        hr_move(h, &c->tick, hr_of_mono(at), on_tick, 0);
}

/* It may come too early, when a deadline was moved behind it: then it only looks for the next. */
static void on_tick(struct hr *h, struct hr_event *e) {
    struct hr_coord *c = &h->coord;
    (void)e;
    c->tick = NULL;
    int64_t at = rmd_coord_deadline(c->core);
    if (at == RMD_NEVER)
        return;
    if (hr_of_mono(at) > h->now_ms)
        hr_move(h, &c->tick, hr_of_mono(at), on_tick, 0);
    else
        step(h, &(struct rmd_coord_event){.kind = RMD_CE_TICK});
}

static void on_sync(struct hr *h, struct hr_event *e) {
    struct hr_coord *c = &h->coord;
    struct rmd_completion done[64];
    int n;
    (void)e;
    c->syncing = false;
    rmd_store_fake_sync(c->disk, SIZE_MAX);
    while (!h->failed && (n = c->store.ops->poll(c->store.s, done, 64)) > 0)
        for (int i = 0; i < n && !h->failed; i++) {
            struct hr_waiting w = c->waiting[c->waiting_from];
            c->waiting_from = (c->waiting_from + 1) % c->waiting_cap;
            c->waiting_n--;
            if (done[i].error < 0 || w.seq != done[i].seq)
                hr_fail(h, "a batch failed: %s", rmd_error_text(done[i].error));
            else if (w.campaign)
                hr_operator_stored(h, w.campaign - 1);
            else
                step(h, &(struct rmd_coord_event){.kind = RMD_CE_PERSISTED, .tag = w.tag});
        }
}

static void on_resolved(struct hr *h, struct hr_event *e) {
    struct rmd_mx_answer mx;
    const char *name = rmd_buf_str(&e->bytes);
    hr_mx(h, name, &mx);
    step(h, &(struct rmd_coord_event){.kind = RMD_CE_RESOLVED, .name = name, .mx = &mx});
}

/* ---- ways in */

void hr_coord_frame(struct hr *h, struct hr_node *n, struct rmd_slice bytes) {
    struct hr_coord *c = &h->coord;
    struct rmd_coord_event e = {.kind = RMD_CE_FRAME, .peer = {.session = n->session}};
    Remuda__Frame *f = NULL;
    memcpy(e.peer.key, n->key, sizeof e.peer.key);
    rmd_arena_reset(&c->frames);
    if (rmd_frame_decode(bytes, &c->frames, &f) != RMD_OK) {
        hr_fail(h, "a frame can't be read");
        return;
    }
    e.frame = f;
    step(h, &e);
}

uint64_t hr_coord_command(struct hr *h, struct rmd_command *c) {
    c->token = ++h->coord.next_token;
    c->tenant = 1;
    step(h, &(struct rmd_coord_event){.kind = RMD_CE_COMMAND, .command = c});
    return c->token;
}

void hr_coord_submit(struct hr *h, struct rmd_batch *b, uint32_t campaign) {
    submit(h, b, 0, campaign + 1);
}

void hr_coord_day(struct hr *h) {
    int64_t number = hr_sending_day(h->now_ms);
    step(h, &(struct rmd_coord_event){.kind = RMD_CE_DAY,
                                      .day = {.number = number,
                                              .start_wall_ms = number * HERD_DAY_MS,
                                              .end_wall_ms = (number + 1) * HERD_DAY_MS}});
}

/* ---- life */

int hr_coord_open(struct hr *h) {
    struct hr_coord *c = &h->coord;
    uint64_t last;
    c->disk = rmd_store_fake_new();
    rmd_list_init(&c->pending);
    rmd_list_init(&c->spare_reads);
    int rc = rmd_store_fake_open(c->disk, &c->store);
    if (rc == RMD_OK)
        rc = c->store.ops->acquire(c->store.s, &c->epoch);
    if (rc == RMD_OK)
        rc = c->store.ops->last_seq(c->store.s, &last);
    if (rc < 0)
        return rc;
    c->next_seq = last + 1;
    c->core = rmd_coord_new(&h->options, c->epoch);
    hr_coord_day(h); /* before it serves, so that no day is opened by another calendar */
    step(h, &(struct rmd_coord_event){.kind = RMD_CE_RESTORED});
    return h->failed ? RMD_ECONFLICT : RMD_OK;
}

static void reads_free(struct rmd_list *l) {
    while (l->next && !rmd_list_empty(l)) {
        struct read *r = rmd_container(l->next, struct read, link);
        rmd_list_remove(&r->link);
        rmd_arena_release(&r->arena);
        free(r);
    }
}

void hr_coord_close(struct hr *h) {
    struct hr_coord *c = &h->coord;
    if (!c->disk)
        return;
    if (c->store.ops)
        c->store.ops->close(c->store.s);
    reads_free(&c->pending);
    reads_free(&c->spare_reads);
    rmd_coord_free(c->core);
    rmd_coord_effects_release(&c->fx);
    rmd_arena_release(&c->frames);
    rmd_arena_release(&c->rows);
    rmd_store_fake_free(c->disk);
    free(c->waiting);
}
