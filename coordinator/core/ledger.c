/* Ledger: rolling caps (see ledger.h). */
#include "coordinator/core/ledger.h"

#include "coordinator/core/coordinator.h"
#include "coordinator/core/keys.h"

void rmd_ledger_init(struct rmd_ledger *l) {
    *l = (struct rmd_ledger){0};
    rmd_list_init(&l->dirty);
}

void rmd_ledger_release(struct rmd_ledger *l) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&l->accounts, &it, NULL, &v)) {
        struct rmd_account *a = v;
        free(a->bucket);
        free(a);
    }
    rmd_map_release(&l->accounts);
}

void rmd_ledger_start(struct rmd_ledger *l, int64_t ledger_ms, int64_t mono_ms) {
    if (ledger_ms < l->now_ms)
        ledger_ms = l->now_ms;
    l->base_ms = l->now_ms = ledger_ms;
    l->base_mono_ms = mono_ms;
    l->since_index = (uint32_t)(ledger_ms / RMD_LEDGER_BUCKET_MS);
}

void rmd_ledger_tick(struct rmd_ledger *l, int64_t mono_ms) {
    int64_t t = l->base_ms + (mono_ms - l->base_mono_ms);
    if (t > l->now_ms)
        l->now_ms = t;
}

struct account_key {
    uint8_t b[9];
};

static struct account_key key_of(uint8_t kind, uint32_t a, uint32_t b) {
    struct account_key k = {{kind}};
    rmd_put_be32(k.b + 1, a);
    rmd_put_be32(k.b + 5, b);
    return k;
}

struct rmd_account *rmd_ledger_account(struct rmd_ledger *l, enum rmd_account_kind kind, uint32_t a, uint32_t b) {
    struct account_key k = key_of((uint8_t)kind, a, b);
    struct rmd_account *acc = rmd_map_get(&l->accounts, rmd_slice(k.b, sizeof k.b));
    if (acc)
        return acc;
    acc = rmd_alloc(sizeof *acc);
    acc->kind = (uint8_t)kind;
    acc->a = a;
    acc->b = b;
    rmd_map_set(&l->accounts, rmd_slice(k.b, sizeof k.b), acc);
    return acc;
}

/* A bucket counts while it isn't wholly older than the window: its end is later than now - window. */
static bool counts(const struct rmd_ledger *l, uint32_t index) {
    return ((int64_t)index + 1) * RMD_LEDGER_BUCKET_MS > l->now_ms - RMD_LEDGER_WINDOW_MS;
}

static void age(const struct rmd_ledger *l, struct rmd_account *a) {
    while (a->head < a->n && !counts(l, a->bucket[a->head].index))
        a->used -= a->bucket[a->head++].used;
}

static struct rmd_ledger_bucket *bucket_at(struct rmd_account *a, uint32_t index) {
    /* Booking is in time's order; restored rows come in key order. A bucket later than now (booked before a reboot
     * whose time wasn't attested) takes what is booked now: that only delays. */
    if (a->n > a->head && a->bucket[a->n - 1].index >= index)
        return &a->bucket[a->n - 1];
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 8;
        a->bucket = rmd_realloc(a->bucket, a->cap * sizeof *a->bucket);
    }
    a->bucket[a->n] = (struct rmd_ledger_bucket){.index = index};
    return &a->bucket[a->n++];
}

/* What was booked in buckets from `from` on is booked now. */
static void book_again(struct rmd_ledger *l, struct rmd_account *a, uint32_t from, uint32_t index) {
    uint64_t moved = 0;
    for (uint32_t i = a->n; i > a->head && a->bucket[i - 1].index >= from; i--) {
        moved += a->bucket[i - 1].used;
        a->bucket[i - 1].used = 0;
        a->bucket[i - 1].dirty = true;
    }
    if (!moved)
        return;
    struct rmd_ledger_bucket *b = bucket_at(a, index);
    b->used += moved;
    b->dirty = true;
    if (!rmd_list_linked(&a->dirty))
        rmd_list_push(&l->dirty, &a->dirty);
}

/* Time stood still since the start, and what was booked since then is in buckets of a time long past: it would free too
 * early by all that time. It happened within this life, so the present bucket is never too early. */
bool rmd_ledger_attest(struct rmd_ledger *l, int64_t claim_ms, int64_t mono_ms) {
    rmd_ledger_tick(l, mono_ms);
    if (claim_ms <= l->now_ms)
        return false;
    uint32_t from = l->since_index, it = 0;
    rmd_ledger_start(l, claim_ms, mono_ms);
    void *v;
    while (from < l->since_index && rmd_map_next(&l->accounts, &it, NULL, &v))
        book_again(l, v, from, l->since_index);
    return true;
}

void rmd_ledger_restore(struct rmd_ledger *l, struct rmd_slice key, uint64_t used) {
    if (key.n != 14)
        return;
    struct rmd_account *a =
        rmd_ledger_account(l, (enum rmd_account_kind)key.p[1], rmd_get_be32(key.p + 2), rmd_get_be32(key.p + 6));
    uint32_t index = rmd_get_be32(key.p + 10);
    struct rmd_ledger_bucket *b = bucket_at(a, index);
    b->used += used;
    a->used += used;
    /* A bucket exists because ledger time had reached it. */
    int64_t reached = (int64_t)index * RMD_LEDGER_BUCKET_MS;
    if (reached > l->now_ms)
        l->now_ms = reached;
}

uint64_t rmd_account_used(const struct rmd_ledger *l, struct rmd_account *a) {
    age(l, a);
    return a->used;
}

uint64_t rmd_account_available(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit) {
    if (!limit)
        return UINT64_MAX;
    if (l->now_ms < l->spent_until_ms)
        return 0;
    uint64_t taken = rmd_account_used(l, a) + a->outstanding;
    return taken >= limit ? 0 : limit - taken;
}

int64_t rmd_account_frees_ms(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit) {
    if (rmd_account_available(l, a, limit) > 0)
        return 0;
    int64_t restored = l->spent_until_ms > l->now_ms ? l->spent_until_ms - l->now_ms : 0;
    uint64_t taken = a->used + a->outstanding;
    if (taken < limit)
        return restored;
    for (uint32_t i = a->head; i < a->n; i++) {
        taken -= a->bucket[i].used;
        if (taken < limit) {
            int64_t at = ((int64_t)a->bucket[i].index + 1) * RMD_LEDGER_BUCKET_MS + RMD_LEDGER_WINDOW_MS - l->now_ms;
            return at > restored ? at : restored;
        }
    }
    return RMD_NEVER;
}

/* First bucket of the last hour, or n. */
static uint32_t hour_from(const struct rmd_ledger *l, const struct rmd_account *a) {
    uint32_t i = a->n;
    while (i > a->head &&
           ((int64_t)a->bucket[i - 1].index + 1) * RMD_LEDGER_BUCKET_MS > l->now_ms - RMD_LEDGER_HOUR_MS)
        i--;
    return i;
}

uint64_t rmd_account_hour_used(const struct rmd_ledger *l, struct rmd_account *a) {
    uint64_t used = 0;
    for (uint32_t i = hour_from(l, a); i < a->n; i++)
        used += a->bucket[i].used;
    return used;
}

uint64_t rmd_account_hour_available(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit) {
    if (!limit)
        return UINT64_MAX;
    uint64_t taken = rmd_account_hour_used(l, a) + a->outstanding;
    return taken >= limit ? 0 : limit - taken;
}

int64_t rmd_account_hour_frees_ms(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit) {
    if (rmd_account_hour_available(l, a, limit) > 0)
        return 0;
    uint64_t taken = rmd_account_hour_used(l, a) + a->outstanding;
    for (uint32_t i = hour_from(l, a); i < a->n; i++) {
        taken -= a->bucket[i].used;
        if (taken < limit)
            return ((int64_t)a->bucket[i].index + 1) * RMD_LEDGER_BUCKET_MS + RMD_LEDGER_HOUR_MS - l->now_ms;
    }
    return RMD_NEVER;
}

uint64_t rmd_account_between(const struct rmd_account *a, int64_t from_ms, int64_t to_ms) {
    uint64_t used = 0;
    for (uint32_t i = a->n; i > a->head && (int64_t)a->bucket[i - 1].index >= from_ms / RMD_LEDGER_BUCKET_MS; i--)
        if ((int64_t)a->bucket[i - 1].index < to_ms / RMD_LEDGER_BUCKET_MS)
            used += a->bucket[i - 1].used;
    return used;
}

uint64_t rmd_caps_day_room(const struct rmd_ledger *l, const struct rmd_caps *c) {
    uint64_t room = UINT64_MAX;
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        uint64_t x = rmd_account_available(l, c->account[i], c->limit[i]);
        if (x < room)
            room = x;
    }
    return room;
}

uint64_t rmd_caps_room(const struct rmd_ledger *l, const struct rmd_caps *c) {
    uint64_t room = rmd_caps_day_room(l, c);
    for (int i = 0; i < RMD_ACCOUNTS && room; i++) {
        uint64_t x = rmd_account_hour_available(l, c->account[i], c->hour[i]);
        if (x < room)
            room = x;
    }
    return room;
}

uint64_t rmd_caps_room_for_new(const struct rmd_ledger *l, const struct rmd_caps *c) {
    uint64_t room = rmd_caps_room(l, c);
    for (int i = 0; i < RMD_ACCOUNTS && room; i++) {
        uint64_t x = rmd_account_available(l, c->account[i], c->limit[i]), kept = c->account[i]->kept;
        x = !c->limit[i] ? UINT64_MAX : x > kept ? x - kept : 0;
        if (x < room)
            room = x;
    }
    return room;
}

void rmd_caps_grant(const struct rmd_caps *c, uint64_t n) {
    for (int i = 0; i < RMD_ACCOUNTS; i++)
        c->account[i]->outstanding += n;
}

void rmd_caps_return(const struct rmd_caps *c, uint64_t n) {
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        struct rmd_account *a = c->account[i];
        a->outstanding -= n < a->outstanding ? n : a->outstanding;
    }
}

void rmd_caps_book(struct rmd_ledger *l, const struct rmd_caps *c, uint64_t rcpts) {
    if (!rcpts)
        return;
    uint32_t index = (uint32_t)(l->now_ms / RMD_LEDGER_BUCKET_MS);
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        struct rmd_account *a = c->account[i];
        age(l, a);
        struct rmd_ledger_bucket *b = bucket_at(a, index);
        b->used += rcpts;
        b->dirty = true;
        a->used += rcpts;
        if (!rmd_list_linked(&a->dirty))
            rmd_list_push(&l->dirty, &a->dirty);
    }
}

void rmd_ledger_flush(struct rmd_ledger *l, struct rmd_batch *out) {
    rmd_list_for_safe(it, &l->dirty) {
        struct rmd_account *a = rmd_container(it, struct rmd_account, dirty);
        rmd_list_remove(it);
        uint32_t first = a->n; /* booking always changes the last one, so dirty ones are at the end */
        while (first > 0 && a->bucket[first - 1].dirty)
            first--;
        for (uint32_t i = first; i < a->n; i++) {
            struct rmd_ledger_bucket *b = &a->bucket[i];
            b->dirty = false;
            Remuda__LedgerRecord r = REMUDA__LEDGER_RECORD__INIT;
            r.used = b->used;
            uint8_t v[16];
            size_t n = remuda__ledger_record__pack(&r, v);
            struct rmd_key k = rmd_key_ledger(a->kind, a->a, a->b, b->index);
            rmd_batch_put(out, rmd_key_slice(&k), rmd_slice(v, n));
        }
    }
}

void rmd_ledger_trim(struct rmd_ledger *l, struct rmd_batch *out) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&l->accounts, &it, NULL, &v)) {
        struct rmd_account *a = v;
        if (rmd_list_linked(&a->dirty))
            continue;
        age(l, a);
        if (!a->head)
            continue;
        for (uint32_t i = 0; i < a->head; i++) {
            struct rmd_key k = rmd_key_ledger(a->kind, a->a, a->b, a->bucket[i].index);
            rmd_batch_delete(out, rmd_key_slice(&k));
        }
        a->n -= a->head;
        memmove(a->bucket, a->bucket + a->head, a->n * sizeof *a->bucket);
        a->head = 0;
    }
}
