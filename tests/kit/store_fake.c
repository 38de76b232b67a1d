/* The in-memory store; the contract is in store_fake.h.
 *
 * One map holds what reads see. A held batch that is visible before it is synced carries an undo log (the nodes it
 * replaced and those it added), played backwards, newest batch first, when a crash takes it away. The visible held
 * batches are always a prefix of the queue. */
#include "tests/kit/store_fake.h"

#include <assert.h>

#include <base/buf.h>
#include <remuda/rng.h>

#include "tests/kit/ordered.h"

/* One step back: `removed` returns to the map, or `added` leaves it. */
struct undo {
    struct rmd_ordered_node *removed, *added;
};

struct held {
    struct held *next, *prev;
    struct rmd_batch batch;
    uint64_t epoch, seq;
    bool visible;
    struct undo *undo;
    size_t undo_n, undo_cap;
    int error; /* once it is decided */
};

struct handle {
    struct rmd_store_fake *disk;
    struct handle *next;
    bool open;
};

struct rmd_store_fake {
    struct rmd_ordered rows;
    uint64_t epoch, last_seq; /* durable */
    uint64_t last_submitted;
    struct held *held, *held_last;
    struct held *done, *done_last;
    size_t held_n, held_bytes;
    struct handle *handles; /* all there ever were; at most one is open */
    struct handle *current;
    int fail_error, fail_times;
    bool is_stalled;
    enum rmd_fake_visibility visibility;
    struct rmd_rng rng;
};

/* --- applying and taking back */

static void undo_add(struct held *h, struct undo u) {
    if (h->undo_n == h->undo_cap) {
        h->undo_cap = h->undo_cap ? h->undo_cap * 2 : 8;
        h->undo = rmd_realloc(h->undo, h->undo_cap * sizeof *h->undo);
    }
    h->undo[h->undo_n++] = u;
}

/* What was replaced is not needed any more. */
static void undo_forget(struct held *h) {
    for (size_t i = 0; i < h->undo_n; i++) {
        if (h->undo[i].removed)
            rmd_ordered_node_free(h->undo[i].removed);
    }
    free(h->undo);
    h->undo = NULL;
    h->undo_n = h->undo_cap = 0;
}

static void remove_node(struct rmd_store_fake *f, struct held *h, struct rmd_ordered_node *node) {
    rmd_ordered_unlink(&f->rows, node);
    undo_add(h, (struct undo){.removed = node});
}

static void apply_op(struct rmd_store_fake *f, struct held *h, const struct rmd_batch_op *op) {
    if (op->op == 'R') {
        struct rmd_ordered_node *node;
        while ((node = rmd_ordered_seek(&f->rows, op->key)) != NULL &&
               rmd_ordered_compare(rmd_ordered_key(node), op->value) < 0)
            remove_node(f, h, node);
        return;
    }
    struct rmd_ordered_node *old = rmd_ordered_find(&f->rows, op->key);
    if (old)
        remove_node(f, h, old);
    if (op->op == 'P')
        undo_add(h, (struct undo){.added = rmd_ordered_insert(&f->rows, op->key, op->value)});
}

static void make_visible(struct rmd_store_fake *f, struct held *h) {
    struct rmd_batch_op op;
    for (size_t pos = 0; rmd_batch_next(&h->batch, &pos, &op);)
        apply_op(f, h, &op);
    h->visible = true;
}

static void take_back(struct rmd_store_fake *f, struct held *h) {
    for (size_t i = h->undo_n; i-- > 0;) {
        struct undo *u = &h->undo[i];
        if (u->removed) {
            rmd_ordered_insert_node(&f->rows, u->removed);
            u->removed = NULL;
        } else {
            rmd_ordered_unlink(&f->rows, u->added);
            rmd_ordered_node_free(u->added);
        }
    }
    undo_forget(h);
    h->visible = false;
}

/* Takes back every visible batch, newest first. */
static void take_back_all(struct rmd_store_fake *f) {
    for (struct held *h = f->held_last; h; h = h->prev) {
        if (h->visible)
            take_back(f, h);
    }
}

/* Lets reads see held batches early, as the mode says; never past one that may complete unapplied. */
static void show_early(struct rmd_store_fake *f) {
    uint64_t last = f->last_seq;
    for (struct held *h = f->held; h; last = h->seq, h = h->next) {
        if (h->visible)
            continue;
        if (f->visibility == RMD_FAKE_LATE || h->batch.fail_fast || h->epoch != f->epoch || h->seq <= last)
            return;
        if (f->visibility == RMD_FAKE_RANDOM && rmd_rng_below(&f->rng, 2))
            return;
        make_visible(f, h);
    }
}

/* --- the disk */

static void held_free(struct held *h) {
    undo_forget(h);
    rmd_batch_release(&h->batch);
    free(h);
}

static void chain_free(struct held *h) {
    while (h) {
        struct held *next = h->next;
        held_free(h);
        h = next;
    }
}

struct rmd_store_fake *rmd_store_fake_new(void) {
    return rmd_alloc(sizeof(struct rmd_store_fake));
}

void rmd_store_fake_free(struct rmd_store_fake *f) {
    if (!f)
        return;
    rmd_ordered_release(&f->rows);
    chain_free(f->held);
    chain_free(f->done);
    while (f->handles) {
        struct handle *next = f->handles->next;
        free(f->handles);
        f->handles = next;
    }
    free(f);
}

static void push(struct held **first, struct held **last, struct held *h) {
    h->next = NULL;
    h->prev = *last;
    if (*last)
        (*last)->next = h;
    else
        *first = h;
    *last = h;
}

static struct held *pop(struct held **first, struct held **last) {
    struct held *h = *first;
    *first = h->next;
    if (h->next)
        h->next->prev = NULL;
    else
        *last = NULL;
    return h;
}

static void decide(struct rmd_store_fake *f, int error) {
    struct held *h = pop(&f->held, &f->held_last);
    f->held_n--;
    f->held_bytes -= h->batch.cap;
    h->error = error;
    undo_forget(h);
    rmd_batch_release(&h->batch);
    push(&f->done, &f->done_last, h);
    f->is_stalled = false;
}

/* One attempt on the head; false when it stays there. */
static bool sync_head(struct rmd_store_fake *f) {
    struct held *h = f->held;
    if (h->epoch != f->epoch) {
        decide(f, RMD_EFENCED);
    } else if (h->seq <= f->last_seq) {
        decide(f, RMD_OK);
    } else if (!f->fail_times) {
        if (!h->visible)
            make_visible(f, h);
        f->last_seq = h->seq;
        decide(f, RMD_OK);
    } else {
        if (f->fail_times > 0)
            f->fail_times--;
        if (!h->batch.fail_fast) {
            f->is_stalled = true;
            return false;
        }
        decide(f, f->fail_error);
    }
    return true;
}

size_t rmd_store_fake_sync(struct rmd_store_fake *f, size_t n) {
    size_t decided = 0;
    while (decided < n && f->held && sync_head(f))
        decided++;
    return decided;
}

void rmd_store_fake_crash(struct rmd_store_fake *f) {
    take_back_all(f);
    chain_free(f->held);
    chain_free(f->done);
    f->held = f->held_last = f->done = f->done_last = NULL;
    f->held_n = f->held_bytes = 0;
    f->is_stalled = false;
    if (f->current)
        f->current->open = false;
    f->current = NULL;
}

void rmd_store_fake_fail_next(struct rmd_store_fake *f, int error, int times) {
    assert(error < 0 && times >= -1);
    f->fail_error = error;
    f->fail_times = times;
}

void rmd_store_fake_visibility(struct rmd_store_fake *f, enum rmd_fake_visibility v, uint64_t seed) {
    f->visibility = v;
    rmd_rng_seed(&f->rng, seed);
}

uint64_t rmd_store_fake_usurp(struct rmd_store_fake *f) {
    take_back_all(f); /* none of them can be committed any more */
    return ++f->epoch;
}

size_t rmd_store_fake_held(const struct rmd_store_fake *f) {
    return f->held_n;
}

size_t rmd_store_fake_rows(const struct rmd_store_fake *f) {
    return f->rows.n;
}

/* --- the port */

static struct rmd_store_fake *disk_of(void *s) {
    struct handle *h = s;
    return h->open ? h->disk : NULL;
}

static int fake_acquire(void *s, uint64_t *epoch) {
    struct rmd_store_fake *f = disk_of(s);
    if (!f)
        return RMD_ECLOSED;
    *epoch = rmd_store_fake_usurp(f);
    return RMD_OK;
}

static int fake_last_seq(void *s, uint64_t *seq) {
    struct rmd_store_fake *f = disk_of(s);
    if (!f)
        return RMD_ECLOSED;
    *seq = f->last_seq;
    return RMD_OK;
}

static int fake_submit(void *s, struct rmd_batch *batch, uint64_t epoch, uint64_t seq) {
    struct rmd_store_fake *f = disk_of(s);
    struct held *h = rmd_alloc(sizeof *h);
    *h = (struct held){.batch = *batch, .epoch = epoch, .seq = seq};
    *batch = (struct rmd_batch){0};
    int rc = f ? h->batch.error : RMD_ECLOSED;
    if (!rc)
        rc = rmd_batch_check(&h->batch);
    if (!rc && (seq == 0 || seq > f->last_submitted + 1))
        rc = RMD_EINVAL;
    if (!rc && f->held_bytes + h->batch.cap > RMD_STORE_QUEUE_MAX)
        rc = RMD_ELIMIT;
    if (rc) {
        held_free(h);
        return rc;
    }
    if (seq > f->last_submitted)
        f->last_submitted = seq;
    push(&f->held, &f->held_last, h);
    f->held_n++;
    f->held_bytes += h->batch.cap;
    return RMD_OK;
}

static int fake_poll(void *s, struct rmd_completion *out, int max) {
    struct rmd_store_fake *f = disk_of(s);
    int n = 0;
    while (f && f->done && n < max) {
        struct held *h = pop(&f->done, &f->done_last);
        out[n++] = (struct rmd_completion){.seq = h->seq, .error = h->error};
        held_free(h);
    }
    return n;
}

static int fake_poll_fd(void *s) {
    (void)s;
    return -1;
}

static const char *fake_stalled(void *s) {
    struct rmd_store_fake *f = disk_of(s);
    return f && f->is_stalled ? rmd_error_text(f->fail_error) : NULL;
}

/* A value that is present and empty has p != NULL. */
static struct rmd_slice present(const struct rmd_ordered_node *node) {
    return node->value ? rmd_ordered_value(node) : rmd_slice("", 0);
}

static int fake_get_many(void *s, const struct rmd_slice *keys, size_t n, rmd_value_fn fn, void *ctx) {
    struct rmd_store_fake *f = disk_of(s);
    if (!f)
        return RMD_ECLOSED;
    show_early(f);
    for (size_t i = 0; i < n; i++) {
        if (!keys[i].n || keys[i].n > RMD_STORE_KEY_MAX || keys[i].p[0] == 0)
            return RMD_EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        const struct rmd_ordered_node *node = rmd_ordered_find(&f->rows, keys[i]);
        fn(ctx, i, node ? present(node) : rmd_slice(NULL, 0));
    }
    return RMD_OK;
}

static int fake_scan(void *s, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) {
    struct rmd_store_fake *f = disk_of(s);
    if (!f)
        return RMD_ECLOSED;
    show_early(f);
    size_t bytes = 0;
    const struct rmd_ordered_node *node =
        range->reverse ? rmd_ordered_before(&f->rows, range->to) : rmd_ordered_seek(&f->rows, range->from);
    for (uint32_t rows = 0; node && rows < range->limit; rows++) {
        struct rmd_slice key = rmd_ordered_key(node);
        if (rmd_ordered_compare(key, range->from) < 0 || rmd_ordered_compare(key, range->to) >= 0)
            break;
        struct rmd_slice value = range->keys_only ? rmd_slice(NULL, 0) : present(node);
        bytes += key.n + value.n;
        if (!fn(ctx, key, value))
            break;
        if (range->max_bytes && bytes >= range->max_bytes)
            break;
        node = range->reverse ? node->prev : node->next[0];
    }
    return RMD_OK;
}

static void fake_close(void *s) {
    struct rmd_store_fake *f = disk_of(s);
    if (!f)
        return;
    rmd_store_fake_sync(f, SIZE_MAX);
    rmd_store_fake_crash(f);
}

static const struct rmd_store_ops FAKE_OPS = {
    .name = "fake",
    .acquire = fake_acquire,
    .last_seq = fake_last_seq,
    .submit = fake_submit,
    .poll = fake_poll,
    .poll_fd = fake_poll_fd,
    .stalled = fake_stalled,
    .get_many = fake_get_many,
    .scan = fake_scan,
    .close = fake_close,
};

int rmd_store_fake_open(struct rmd_store_fake *f, struct rmd_store *out) {
    if (f->current)
        return RMD_EBUSY;
    struct handle *h = rmd_alloc(sizeof *h);
    *h = (struct handle){.disk = f, .next = f->handles, .open = true};
    f->handles = f->current = h;
    f->last_submitted = f->last_seq;
    *out = (struct rmd_store){.ops = &FAKE_OPS, .s = h};
    return RMD_OK;
}
