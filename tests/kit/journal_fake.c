/* See journal_fake.h. The synced state, and a log of what was appended since: a sync applies the log, a loss of the
 * host drops it. */
#include "tests/kit/journal_fake.h"

#include <assert.h>

#include <base/text.h>

struct entry { /* a record that owns its bytes */
    struct rmd_list in;
    enum rmd_journal_kind kind;
    uint64_t lease, n;
    uint32_t index;
    uint8_t mark;
    uint8_t hash[RMD_HASH_BYTES];
    int64_t wall_ms;
    size_t bytes_n;
    uint8_t bytes[];
};

struct lease {
    struct rmd_list in; /* by id */
    uint64_t id;
    struct rmd_map parts; /* index -> struct entry */
    uint8_t *state;       /* by row: mark, 3 finished */
    size_t rows;
};

struct numbers {
    uint64_t position, alarms, acked, high_water;
};

struct rmd_journal_fake {
    bool open, has_uuid;
    uint64_t seed, made;
    uint8_t uuid[RMD_UUID_BYTES], boot_id[RMD_UUID_BYTES];
    const struct rmd_clock *clock;
    int64_t keep_ms;
    struct numbers synced, now;
    struct rmd_list leases, outcomes, alarms, templates; /* synced: struct lease; struct entry by n */
    struct rmd_map lease_by_id;
    struct rmd_list log; /* appended since */
    size_t log_n;
    int fail_error, fail_times;
};

static void entry_free(struct entry *e) {
    rmd_list_remove(&e->in);
    free(e);
}

static void lease_free(struct rmd_journal_fake *f, struct lease *l) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&l->parts, &it, NULL, &v))
        entry_free(v);
    rmd_map_release(&l->parts);
    rmd_map_remove_u64(&f->lease_by_id, l->id);
    rmd_list_remove(&l->in);
    free(l->state);
    free(l);
}

struct rmd_journal_fake *rmd_journal_fake_new(uint64_t seed) {
    struct rmd_journal_fake *f = rmd_alloc(sizeof *f);
    f->seed = seed;
    rmd_list_init(&f->leases);
    rmd_list_init(&f->outcomes);
    rmd_list_init(&f->alarms);
    rmd_list_init(&f->templates);
    rmd_list_init(&f->log);
    return f;
}

static void list_free(struct rmd_list *head) {
    rmd_list_for_safe(it, head) entry_free(rmd_container(it, struct entry, in));
}

void rmd_journal_fake_free(struct rmd_journal_fake *f) {
    if (!f)
        return;
    rmd_list_for_safe(it, &f->leases) lease_free(f, rmd_container(it, struct lease, in));
    list_free(&f->outcomes);
    list_free(&f->alarms);
    list_free(&f->templates);
    list_free(&f->log);
    rmd_map_release(&f->lease_by_id);
    free(f);
}

/* ---------------------------------------------------------------- applying the log */

static struct lease *lease_for(struct rmd_journal_fake *f, uint64_t id) {
    struct lease *l = rmd_map_get_u64(&f->lease_by_id, id);
    if (l)
        return l;
    l = rmd_alloc(sizeof *l);
    l->id = id;
    struct rmd_list *at = f->leases.prev;
    while (at != &f->leases && rmd_container(at, struct lease, in)->id > id)
        at = at->prev;
    rmd_list_insert_before(at->next, &l->in);
    rmd_map_set_u64(&f->lease_by_id, id, l);
    return l;
}

static void set_row(struct rmd_journal_fake *f, uint64_t id, uint32_t index, uint8_t state) {
    struct lease *l = rmd_map_get_u64(&f->lease_by_id, id);
    if (!l)
        return; /* dropped */
    if (index >= l->rows) {
        size_t rows = (size_t)index + 64;
        l->state = rmd_realloc(l->state, rows);
        memset(l->state + l->rows, 0, rows - l->rows);
        l->rows = rows;
    }
    l->state[index] = state;
}

static struct entry *find_template(struct rmd_journal_fake *f, const uint8_t *hash) {
    rmd_list_for(it, &f->templates) {
        struct entry *e = rmd_container(it, struct entry, in);
        if (memcmp(e->hash, hash, sizeof e->hash) == 0)
            return e;
    }
    return NULL;
}

/* Takes the entry over. */
static void apply(struct rmd_journal_fake *f, struct entry *e) {
    struct entry *old;
    switch (e->kind) {
    case RMD_JR_LEASE:
        old = rmd_map_set_u64(&lease_for(f, e->lease)->parts, e->index, e);
        if (old)
            entry_free(old);
        return;
    case RMD_JR_MARK:
        set_row(f, e->lease, e->index, e->mark);
        break;
    case RMD_JR_OUTCOME:
        set_row(f, e->lease, e->index, 3);
        rmd_list_push(&f->outcomes, &e->in);
        return;
    case RMD_JR_ALARM:
        rmd_list_push(&f->alarms, &e->in);
        return;
    case RMD_JR_TEMPLATE:
        if ((old = find_template(f, e->hash)))
            entry_free(old);
        rmd_list_push(&f->templates, &e->in);
        return;
    case RMD_JR_TEMPLATE_DROP:
        if ((old = find_template(f, e->hash)))
            entry_free(old);
        break;
    case RMD_JR_LEASE_DROP:
        if (rmd_map_get_u64(&f->lease_by_id, e->lease))
            lease_free(f, rmd_map_get_u64(&f->lease_by_id, e->lease));
        break;
    case RMD_JR_ACKED:
        break;
    case RMD_JR_ALARM_ACKED:
        rmd_list_for_safe(it, &f->alarms) {
            old = rmd_container(it, struct entry, in);
            if (old->n == e->n)
                entry_free(old);
        }
        break;
    }
    free(e);
}

static void apply_log(struct rmd_journal_fake *f) {
    while (!rmd_list_empty(&f->log)) {
        struct entry *e = rmd_container(f->log.next, struct entry, in);
        rmd_list_remove(&e->in);
        apply(f, e);
    }
    f->log_n = 0;
    f->synced = f->now;
}

/* ---------------------------------------------------------------- the port */

static int fake_append(void *ctx, struct rmd_journal_record *r, size_t n) {
    struct rmd_journal_fake *f = ctx;
    if (!f->open)
        return RMD_ECLOSED;
    if (f->fail_times) {
        f->fail_times -= f->fail_times > 0;
        return f->fail_error;
    }
    for (size_t i = 0; i < n; i++) {
        struct entry *e = rmd_alloc(sizeof *e + r[i].bytes.n);
        if (r[i].kind == RMD_JR_OUTCOME)
            r[i].n = ++f->now.position;
        else if (r[i].kind == RMD_JR_ALARM)
            r[i].n = ++f->now.alarms;
        else if (r[i].kind == RMD_JR_ACKED && r[i].n > f->now.acked)
            f->now.acked = r[i].n;
        else if (r[i].kind == RMD_JR_LEASE && r[i].lease > f->now.high_water)
            f->now.high_water = r[i].lease;
        e->kind = r[i].kind;
        e->lease = r[i].lease;
        e->n = r[i].n;
        e->index = r[i].index;
        e->mark = r[i].mark;
        if (r[i].hash)
            memcpy(e->hash, r[i].hash, sizeof e->hash);
        e->wall_ms = f->clock->now(f->clock->ctx).wall_ms;
        e->bytes_n = r[i].bytes.n;
        if (e->bytes_n)
            memcpy(e->bytes, r[i].bytes.p, e->bytes_n);
        rmd_list_push(&f->log, &e->in);
        f->log_n++;
    }
    return RMD_OK;
}

static int fake_sync(void *ctx) {
    struct rmd_journal_fake *f = ctx;
    if (!f->open)
        return RMD_ECLOSED;
    apply_log(f);
    return RMD_OK;
}

/* Trimming isn't a matter of durability: what it removes nobody asks for again. */
static int fake_trim(void *ctx) {
    struct rmd_journal_fake *f = ctx;
    int64_t before = f->clock->now(f->clock->ctx).wall_ms - f->keep_ms;
    rmd_list_for_safe(it, &f->outcomes) {
        struct entry *e = rmd_container(it, struct entry, in);
        if (e->n > f->synced.acked || e->wall_ms > before)
            break;
        entry_free(e);
    }
    return RMD_OK;
}

static void fake_trouble(void *ctx, char *out, size_t n) {
    struct rmd_journal_fake *f = ctx;
    (void)rmd_copy(out, n, rmd_error_text(f->fail_error));
}

static void fake_close(void *ctx) {
    ((struct rmd_journal_fake *)ctx)->open = false;
}

/* ---------------------------------------------------------------- replay */

/* Parts joined in their order, as node.h wants it: what stands beside the rows is the first one's. */
static Remuda__Lease *join(const struct lease *l, struct rmd_arena *a) {
    Remuda__Lease *whole = NULL;
    for (uint32_t p = 0; p < l->parts.n; p++) {
        const struct entry *e = rmd_map_get_u64(&l->parts, p);
        Remuda__Lease *part =
            e ? rmd_pb_decode(&remuda__lease__descriptor, rmd_slice(e->bytes, e->bytes_n), a) : NULL;
        if (!part)
            return NULL;
        if (!whole) {
            whole = part;
            continue;
        }
        size_t rows = whole->n_row + part->n_row;
        ProtobufCBinaryData *row = rmd_arena_alloc(a, rows * sizeof *row);
        Remuda__LeaseItem **item = rmd_arena_alloc(a, rows * sizeof *item),
                          *first = rmd_arena_alloc(a, sizeof *first);
        remuda__lease_item__init(first);
        for (size_t i = 0; i < rows; i++) {
            const Remuda__Lease *from = i < whole->n_row ? whole : part;
            size_t at = i < whole->n_row ? i : i - whole->n_row;
            row[i] = from->row[at];
            item[i] = at < from->n_item ? from->item[at] : first;
        }
        whole->n_item = whole->n_item || part->n_item ? rows : 0;
        whole->row = row;
        whole->item = item;
        whole->n_row = rows;
    }
    if (whole) {
        whole->part = 0;
        whole->parts = 1;
    }
    return whole;
}

static void replay_lease(const struct lease *l, rmd_replay_fn fn, void *ctx) {
    struct rmd_arena a = {0};
    Remuda__Lease *m = join(l, &a);
    if (m) {
        uint8_t *marks = rmd_arena_alloc(&a, m->n_row / 4 + 1), *outcomes = rmd_arena_alloc(&a, m->n_row / 8 + 1);
        for (size_t i = 0; i < m->n_row && i < l->rows; i++) {
            if (l->state[i] == 3)
                rmd_bit_set(outcomes, i);
            else
                marks[i / 4] = (uint8_t)(marks[i / 4] | l->state[i] << (i % 4 * 2));
        }
        fn(ctx, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_LEASE,
                                         .lease = m,
                                         .marks = rmd_slice(marks, m->n_row / 4 + 1),
                                         .outcomes = rmd_slice(outcomes, m->n_row / 8 + 1)});
    }
    rmd_arena_release(&a);
}

static void replay_numbered(const struct rmd_journal_fake *f, const struct entry *e, rmd_replay_fn fn, void *ctx) {
    struct rmd_arena a = {0};
    struct rmd_node_event x = {.kind = RMD_NE_REPLAY_OUTCOME, .n = e->n};
    if (e->kind == RMD_JR_OUTCOME) {
        x.outcome = rmd_pb_decode(&remuda__outcome__descriptor, rmd_slice(e->bytes, e->bytes_n), &a);
    } else {
        Remuda__Alarm *m = rmd_pb_decode(&remuda__alarm__descriptor, rmd_slice(e->bytes, e->bytes_n), &a);
        int64_t age = f->clock->now(f->clock->ctx).wall_ms - e->wall_ms;
        x.kind = RMD_NE_REPLAY_ALARM;
        if (m)
            m->age_ms = age > 0 ? age : 0;
        x.alarm = m;
    }
    if (x.outcome || x.alarm)
        fn(ctx, &x);
    rmd_arena_release(&a);
}

/* The log was applied by open(); what fn appends meanwhile waits in the new log. */
static int fake_replay(void *ctx, rmd_replay_fn fn, void *fn_ctx) {
    struct rmd_journal_fake *f = ctx;
    assert(rmd_list_empty(&f->log)); /* first thing after open(), as in production */
    struct rmd_node_event e = {.kind = RMD_NE_JOURNAL_OPEN,
                               .position = f->now.position,
                               .reported = f->now.acked,
                               .alarms = f->now.alarms,
                               .high_water = f->now.high_water};
    uint64_t acked = f->now.acked;
    memcpy(e.uuid, f->uuid, sizeof e.uuid);
    memcpy(e.boot_id, f->boot_id, sizeof e.boot_id);
    fn(fn_ctx, &e);
    rmd_list_for(it, &f->templates) {
        const struct entry *t = rmd_container(it, struct entry, in);
        struct rmd_node_event x = {.kind = RMD_NE_REPLAY_TEMPLATE, .bytes = rmd_slice(t->bytes, t->bytes_n)};
        memcpy(x.hash, t->hash, sizeof x.hash);
        fn(fn_ctx, &x);
    }
    rmd_list_for(it, &f->leases) replay_lease(rmd_container(it, struct lease, in), fn, fn_ctx);
    rmd_list_for(it, &f->outcomes) if (rmd_container(it, struct entry, in)->n > acked)
        replay_numbered(f, rmd_container(it, struct entry, in), fn, fn_ctx);
    rmd_list_for(it, &f->alarms) replay_numbered(f, rmd_container(it, struct entry, in), fn, fn_ctx);
    fn(fn_ctx, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
    return RMD_OK;
}

static int fake_replay_outcomes(void *ctx, uint64_t from, rmd_replay_fn fn, void *fn_ctx) {
    struct rmd_journal_fake *f = ctx;
    uint64_t position = f->now.position;
    rmd_list_for(it, &f->outcomes) if (rmd_container(it, struct entry, in)->n >= from)
        replay_numbered(f, rmd_container(it, struct entry, in), fn, fn_ctx);
    rmd_list_for(it, &f->log) { /* what fn appends meanwhile stands behind */
        const struct entry *e = rmd_container(it, struct entry, in);
        if (e->kind == RMD_JR_OUTCOME && e->n >= from && e->n <= position)
            replay_numbered(f, e, fn, fn_ctx);
    }
    return RMD_OK;
}

/* ---------------------------------------------------------------- lives */

static void put_in_doubt(struct lease *l) {
    struct rmd_arena a = {0};
    Remuda__Lease *m = join(l, &a);
    size_t rows = m ? m->n_row : 0;
    if (rows > l->rows) {
        l->state = rmd_realloc(l->state, rows);
        memset(l->state + l->rows, 0, rows - l->rows);
        l->rows = rows;
    }
    for (size_t i = 0; i < rows; i++)
        if (l->state[i] != 3)
            l->state[i] = 2;
    rmd_arena_release(&a);
}

int rmd_journal_fake_open(struct rmd_journal_fake *f, const struct rmd_clock *clock, int64_t keep_ms,
                          struct rmd_journal *out) {
    static const struct rmd_journal_ops ops = {.append = fake_append,
                                               .sync = fake_sync,
                                               .replay = fake_replay,
                                               .replay_outcomes = fake_replay_outcomes,
                                               .trim = fake_trim,
                                               .trouble = fake_trouble,
                                               .close = fake_close};
    if (f->open)
        return RMD_EBUSY;
    uint8_t boot[RMD_UUID_BYTES];
    f->open = true;
    f->clock = clock;
    f->keep_ms = keep_ms;
    apply_log(f); /* opening a database makes its log durable */
    clock->boot_id(clock->ctx, boot);
    if (!f->has_uuid || memcmp(boot, f->boot_id, sizeof boot) != 0) {
        rmd_list_for(it, &f->leases) put_in_doubt(rmd_container(it, struct lease, in));
        uint64_t fresh = rmd_mix64(f->seed + ++f->made);
        memcpy(f->uuid, &fresh, sizeof fresh);
        memcpy(f->uuid + 8, &f->made, sizeof f->made);
        memcpy(f->boot_id, boot, sizeof boot);
        f->has_uuid = true;
    }
    *out = (struct rmd_journal){.ops = &ops, .j = f};
    return RMD_OK;
}

void rmd_journal_fake_crash(struct rmd_journal_fake *f) {
    f->open = false;
}

void rmd_journal_fake_lose_host(struct rmd_journal_fake *f) {
    f->open = false;
    list_free(&f->log);
    f->log_n = 0;
    f->now = f->synced;
}

void rmd_journal_fake_fail_next(struct rmd_journal_fake *f, int error, int times) {
    f->fail_error = error;
    f->fail_times = times;
}

size_t rmd_journal_fake_unsynced(const struct rmd_journal_fake *f) {
    return f->log_n;
}
