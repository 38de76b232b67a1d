/* The node's journal as the simulator has it: a log of records, of which the front part is synced. The contract is
 * node/io/journal.h; a loss of the host cuts the log somewhere behind its synced part, as a kernel that wrote back
 * some of its pages would. */
#include "tests/sim/sim.h"

struct record {
    struct rmd_journal_record r;
    uint8_t hash[RMD_HASH_BYTES];
    struct rmd_buf bytes;
    int64_t wall_ms;
};

struct sim_journal {
    struct record *v;
    size_t n, cap, synced;
    bool used;
    uint8_t uuid[RMD_UUID_BYTES], boot_id[RMD_UUID_BYTES];
    uint64_t position, alarms; /* numbers given so far */
};

/* A lease as it stands. */
struct standing {
    struct rmd_arena arena;
    Remuda__Lease *lease;
    uint8_t *marks, *outcomes;
    uint32_t parts;
    bool dropped;
};

struct sim_journal *sim_journal_new(void) {
    return rmd_alloc(sizeof(struct sim_journal));
}

static void cut(struct sim_journal *j, size_t n) {
    while (j->n > n)
        rmd_buf_release(&j->v[--j->n].bytes);
    if (j->synced > n)
        j->synced = n;
    j->position = j->alarms = 0;
    for (size_t i = 0; i < n; i++) {
        const struct rmd_journal_record *r = &j->v[i].r;
        uint64_t *last = r->kind == RMD_JR_OUTCOME || r->kind == RMD_JR_ACKED ? &j->position : &j->alarms;
        if (r->kind != RMD_JR_OUTCOME && r->kind != RMD_JR_ACKED && r->kind != RMD_JR_ALARM &&
            r->kind != RMD_JR_ALARM_ACKED)
            continue;
        if (r->n > *last)
            *last = r->n;
    }
}

void sim_journal_free(struct sim_journal *j) {
    if (!j)
        return;
    cut(j, 0);
    free(j->v);
    free(j);
}

void sim_journal_append(struct sim_journal *j, struct rmd_journal_record *r, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (j->n == j->cap) {
            j->cap = j->cap ? j->cap * 2 : 256;
            j->v = rmd_realloc(j->v, j->cap * sizeof *j->v);
        }
        if (r[i].kind == RMD_JR_OUTCOME)
            r[i].n = ++j->position;
        if (r[i].kind == RMD_JR_ALARM)
            r[i].n = ++j->alarms;
        struct record *x = &j->v[j->n++];
        *x = (struct record){.r = r[i]};
        if (r[i].hash)
            memcpy(x->hash, r[i].hash, sizeof x->hash);
        rmd_buf_add(&x->bytes, r[i].bytes.p, r[i].bytes.n);
    }
}

size_t sim_journal_position(const struct sim_journal *j) {
    return j->n;
}

void sim_journal_sync(struct sim_journal *j, size_t position) {
    if (position > j->synced && position <= j->n)
        j->synced = position;
}

void sim_journal_lose(struct sim *s, struct sim_journal *j, bool all) {
    if (all) {
        cut(j, 0);
        j->used = false;
        return;
    }
    size_t loose = j->n - j->synced;
    cut(j, j->synced + (loose ? sim_below(s, loose + 1) : 0));
}

/* ---- reading */

static void add_part(struct standing *x, const struct record *r) {
    Remuda__Lease *part = rmd_pb_decode(&remuda__lease__descriptor, rmd_buf_slice(&r->bytes), &x->arena);
    if (!part)
        return;
    if (x->parts++ == 0) {
        x->lease = part;
        return;
    }
    Remuda__Lease *l = x->lease;
    size_t rows = l->n_row + part->n_row;
    ProtobufCBinaryData *row = rmd_arena_alloc(&x->arena, rows * sizeof *row);
    memcpy(row, l->row, l->n_row * sizeof *row);
    memcpy(row + l->n_row, part->row, part->n_row * sizeof *row);
    if (l->n_item || part->n_item) {
        Remuda__LeaseItem **item = rmd_arena_alloc(&x->arena, rows * sizeof *item);
        Remuda__LeaseItem *first = rmd_arena_alloc(&x->arena, sizeof *first);
        remuda__lease_item__init(first);
        for (size_t i = 0; i < rows; i++)
            item[i] = i < l->n_row                  ? (i < l->n_item ? l->item[i] : first)
                      : i - l->n_row < part->n_item ? part->item[i - l->n_row]
                                                    : first;
        l->item = item;
        l->n_item = rows;
    }
    l->row = row;
    l->n_row = rows;
}

static void read_lease(const struct sim_journal *j, uint64_t id, struct standing *x) {
    rmd_arena_reset(&x->arena);
    x->lease = NULL;
    x->parts = 0;
    x->dropped = false;
    for (size_t i = 0; i < j->n; i++) {
        const struct record *r = &j->v[i];
        if (r->r.lease != id)
            continue;
        if (r->r.kind == RMD_JR_LEASE)
            add_part(x, r);
        else if (r->r.kind == RMD_JR_LEASE_DROP)
            x->dropped = true;
    }
    if (!x->lease)
        return;
    size_t n = x->lease->n_row;
    x->lease->part = 0;
    x->lease->parts = 1;
    x->marks = rmd_arena_alloc(&x->arena, n / 4 + 1);
    x->outcomes = rmd_arena_alloc(&x->arena, n / 8 + 1);
    for (size_t i = 0; i < j->n; i++) {
        const struct rmd_journal_record *r = &j->v[i].r;
        if (r->lease != id || r->index >= n)
            continue;
        if (r->kind == RMD_JR_OUTCOME)
            rmd_bit_set(x->outcomes, r->index);
        if (r->kind != RMD_JR_MARK)
            continue;
        uint8_t *m = &x->marks[r->index / 4];
        unsigned shift = r->index % 4 * 2;
        *m = (uint8_t)((*m & ~(3u << shift)) | (unsigned)r->mark << shift);
    }
}

static void each_lease(struct sim_journal *j, void (*fn)(struct sim_journal *, struct standing *, void *),
                       void *ctx) {
    struct standing x = {0};
    struct rmd_map seen = {0};
    size_t n = j->n; /* what fn appends is no lease */
    for (size_t i = 0; i < n; i++) {
        if (j->v[i].r.kind != RMD_JR_LEASE || rmd_map_set_u64(&seen, j->v[i].r.lease, j))
            continue;
        read_lease(j, j->v[i].r.lease, &x);
        if (x.lease && !x.dropped)
            fn(j, &x, ctx);
    }
    rmd_map_release(&seen);
    rmd_arena_release(&x.arena);
}

static void doubt(struct sim_journal *j, struct standing *x, void *ctx) {
    (void)ctx;
    for (uint32_t i = 0; i < x->lease->n_row; i++) {
        struct rmd_journal_record r = {.kind = RMD_JR_MARK, .lease = x->lease->id, .index = i, .mark = 2};
        if (!rmd_bit_get(x->outcomes, i))
            sim_journal_append(j, &r, 1);
    }
}

void sim_journal_open(struct sim *s, struct sim_journal *j, const struct sim_clock *clock) {
    if (j->used && memcmp(j->boot_id, clock->boot_id, sizeof j->boot_id) == 0)
        return;
    if (j->used)
        each_lease(j, doubt, NULL);
    for (size_t i = 0; i < sizeof j->uuid; i++)
        j->uuid[i] = (uint8_t)sim_below(s, 256);
    memcpy(j->boot_id, clock->boot_id, sizeof j->boot_id);
    j->used = true;
    j->synced = j->n;
}

struct replayer {
    void (*fn)(void *, const struct rmd_node_event *);
    void *ctx;
};

static void give_lease(struct sim_journal *j, struct standing *x, void *ctx) {
    const struct replayer *p = ctx;
    (void)j;
    p->fn(p->ctx, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_LEASE,
                                           .lease = x->lease,
                                           .marks = rmd_slice(x->marks, x->lease->n_row / 4 + 1),
                                           .outcomes = rmd_slice(x->outcomes, x->lease->n_row / 8 + 1)});
}

static bool template_lives(const struct sim_journal *j, size_t at) {
    for (size_t i = at + 1; i < j->n; i++) {
        const struct record *r = &j->v[i];
        if ((r->r.kind == RMD_JR_TEMPLATE || r->r.kind == RMD_JR_TEMPLATE_DROP) &&
            memcmp(r->hash, j->v[at].hash, sizeof r->hash) == 0)
            return false;
    }
    return true;
}

static uint64_t highest(const struct sim_journal *j, enum rmd_journal_kind kind) {
    uint64_t most = 0;
    for (size_t i = 0; i < j->n; i++) {
        const struct rmd_journal_record *r = &j->v[i].r;
        uint64_t x = kind == RMD_JR_LEASE ? r->lease : r->n;
        if (r->kind == kind && x > most)
            most = x;
    }
    return most;
}

static bool alarm_acked(const struct sim_journal *j, uint64_t n) {
    for (size_t i = 0; i < j->n; i++)
        if (j->v[i].r.kind == RMD_JR_ALARM_ACKED && j->v[i].r.n == n)
            return true;
    return false;
}

void sim_journal_replay(struct sim_journal *j, const struct sim_clock *clock, int64_t wall_ms,
                        void (*fn)(void *, const struct rmd_node_event *), void *ctx) {
    struct rmd_arena arena = {0};
    uint64_t acked = highest(j, RMD_JR_ACKED), position = j->position;
    struct rmd_node_event open = {.kind = RMD_NE_JOURNAL_OPEN,
                                  .position = position,
                                  .reported = acked,
                                  .alarms = j->alarms,
                                  .high_water = highest(j, RMD_JR_LEASE)};
    (void)wall_ms;
    memcpy(open.uuid, j->uuid, sizeof open.uuid);
    memcpy(open.boot_id, clock->boot_id, sizeof open.boot_id);
    fn(ctx, &open);
    size_t n = j->n;
    for (size_t i = 0; i < n; i++) {
        struct rmd_node_event e = {.kind = RMD_NE_REPLAY_TEMPLATE, .bytes = rmd_buf_slice(&j->v[i].bytes)};
        if (j->v[i].r.kind != RMD_JR_TEMPLATE || !template_lives(j, i))
            continue;
        memcpy(e.hash, j->v[i].hash, sizeof e.hash);
        fn(ctx, &e);
    }
    struct replayer p = {fn, ctx};
    each_lease(j, give_lease, &p);
    for (int alarm = 0; alarm < 2; alarm++) {
        for (size_t i = 0; i < n; i++) {
            const struct rmd_journal_record *r = &j->v[i].r;
            struct rmd_node_event e = {.kind = alarm ? RMD_NE_REPLAY_ALARM : RMD_NE_REPLAY_OUTCOME, .n = r->n};
            struct rmd_slice bytes = rmd_buf_slice(&j->v[i].bytes);
            if (!alarm && r->kind == RMD_JR_OUTCOME && r->n > acked)
                e.outcome = rmd_pb_decode(&remuda__outcome__descriptor, bytes, &arena);
            if (alarm && r->kind == RMD_JR_ALARM && !alarm_acked(j, r->n))
                e.alarm = rmd_pb_decode(&remuda__alarm__descriptor, bytes, &arena);
            if (e.outcome || e.alarm)
                fn(ctx, &e);
            rmd_arena_reset(&arena);
        }
    }
    rmd_arena_release(&arena);
    fn(ctx, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
}
