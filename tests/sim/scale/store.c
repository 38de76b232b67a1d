/* The scale run's store: a skip list whose batches are durable as soon as they are applied. */
#include "tests/sim/scale/scale.h"

enum { LEVELS = 20 };

struct row {
    uint32_t key_n, value_n, size; /* size: of this block */
    uint8_t levels;
    struct row *next[]; /* then the key, then the value */
};

struct sc_store {
    struct row *first[LEVELS];
    size_t rows;
    uint64_t operations, random;
};

static uint8_t *key_of(struct row *r) {
    return (uint8_t *)&r->next[r->levels];
}

static int compare(struct row *r, struct rmd_slice k) {
    size_t n = r->key_n < k.n ? r->key_n : k.n;
    int c = memcmp(key_of(r), k.p, n);
    return c ? c : (r->key_n > k.n) - (r->key_n < k.n);
}

/* The links that lead past the last row below the key. */
static struct row *descend(struct sc_store *s, struct rmd_slice k, struct row **path[LEVELS]) {
    struct row **links = s->first, *stop = NULL; /* stop: known to be behind the key, met again a level below */
    for (int level = LEVELS - 1; level >= 0; level--) {
        while (links[level] && links[level] != stop && compare(links[level], k) < 0)
            links = links[level]->next;
        stop = links[level];
        path[level] = &links[level];
    }
    return *path[0];
}

static bool is(struct row *r, struct rmd_slice k) {
    return r && r->key_n == k.n && memcmp(key_of(r), k.p, k.n) == 0;
}

static void take_out(struct sc_store *s, struct row *r, struct row **path[LEVELS]) {
    for (int i = 0; i < r->levels; i++)
        *path[i] = r->next[i];
    pool_give(r, r->size);
    s->rows--;
}

static void put(struct sc_store *s, struct rmd_slice k, struct rmd_slice v) {
    struct row **path[LEVELS];
    struct row *r = descend(s, k, path);
    if (is(r, k)) {
        if (key_of(r) + r->key_n + v.n <= (uint8_t *)r + r->size) {
            r->value_n = (uint32_t)v.n;
            if (v.n)
                memcpy(key_of(r) + r->key_n, v.p, v.n);
            return;
        }
        take_out(s, r, path);
    }
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    int levels = 1 + __builtin_ctzll(s->random >> 20 | UINT64_C(1) << 38) / 2;
    levels = levels > LEVELS ? LEVELS : levels;
    size_t size = sizeof *r + (size_t)levels * sizeof r->next[0] + k.n + v.n;
    r = pool_take(size);
    r->size = (uint32_t)size;
    r->levels = (uint8_t)levels;
    r->key_n = (uint32_t)k.n;
    r->value_n = (uint32_t)v.n;
    memcpy(key_of(r), k.p, k.n);
    if (v.n)
        memcpy(key_of(r) + k.n, v.p, v.n);
    for (int i = 0; i < levels; i++) {
        r->next[i] = *path[i];
        *path[i] = r;
    }
    s->rows++;
}

struct sc_store *store_new(void) {
    return pool_take(sizeof(struct sc_store));
}

void store_apply(struct sc_store *s, const struct rmd_batch *b) {
    struct rmd_batch_op op;
    struct row **path[LEVELS];
    for (size_t pos = 0; rmd_batch_next(b, &pos, &op); s->operations++) {
        if (op.op == 'P') {
            put(s, op.key, op.value);
        } else if (op.op == 'D') {
            struct row *r = descend(s, op.key, path);
            if (is(r, op.key))
                take_out(s, r, path);
        } else {
            for (struct row *r = descend(s, op.key, path); r && compare(r, op.value) < 0; r = *path[0])
                take_out(s, r, path);
        }
    }
}

bool store_scan(struct sc_store *s, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) {
    struct row **path[LEVELS];
    uint32_t n = 0;
    size_t bytes = 0;
    for (struct row *r = descend(s, range->from, path); r && compare(r, range->to) < 0; r = r->next[0]) {
        if (n == range->limit || (n && range->max_bytes && bytes >= range->max_bytes))
            return true;
        struct rmd_slice v = rmd_slice(key_of(r) + r->key_n, range->keys_only ? 0 : r->value_n);
        bytes += r->key_n + v.n;
        n++;
        if (!fn(ctx, rmd_slice(key_of(r), r->key_n), v))
            return true;
    }
    return false;
}

struct rmd_slice store_get(struct sc_store *s, struct rmd_slice key) {
    struct row **path[LEVELS];
    struct row *r = descend(s, key, path);
    return is(r, key) ? rmd_slice(key_of(r) + r->key_n, r->value_n) : rmd_slice(NULL, 0);
}

size_t store_rows(const struct sc_store *s) {
    return s->rows;
}

uint64_t store_operations(const struct sc_store *s) {
    return s->operations;
}
