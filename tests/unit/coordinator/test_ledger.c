/* The ledger: tables for the boundaries of buckets, its clock across restarts, and a property against a naive model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/core/coordinator.h"
#include "coordinator/core/keys.h"
#include "coordinator/core/ledger.h"
#include "proto/codec.h"

enum { B = RMD_LEDGER_BUCKET_MS };
#define DAY ((int64_t)RMD_LEDGER_WINDOW_MS)

static struct rmd_caps caps_of(struct rmd_ledger *l, uint64_t limit) {
    struct rmd_caps c = {.limit = {limit, 0, 0, 0}};
    for (int i = 0; i < RMD_ACCOUNTS; i++)
        c.account[i] = rmd_ledger_account(l, (enum rmd_account_kind)(i + 1), 1, 1);
    return c;
}

static void room_follows_the_formula(void **state) {
    (void)state;
    /* what: 'g' grant n, 'r' return n, 'b' book n (the grant ends), 't' time to n */
    static const struct {
        char what;
        int64_t n;
        uint64_t room;
        int64_t frees;
    } rows[] = {
        {'t', 10 * B, 100, 0},
        {'g', 40, 60, 0},
        {'b', 30, 60, 0}, /* 10 outstanding, 30 booked in bucket 10 */
        {'r', 10, 70, 0},
        {'t', 11 * B - 1, 70, 0}, /* still bucket 10 */
        {'g', 70, 0, DAY + 1},    /* only bucket 10 can free, at the end of it + 24 h */
        {'b', 70, 0, DAY + 1},
        {'t', 11 * B, 0, DAY},
        {'t', DAY + 11 * B - 1, 0, 1},
        {'t', DAY + 11 * B, 100, 0}, /* wholly older than 24 h */
        {'g', 100, 0, RMD_NEVER},    /* only outstanding grants: nobody knows when */
        {'b', 150, 0, DAY + B},      /* more RCPTs than grants: booked all the same */
        {'t', 2 * DAY + 12 * B, 100, 0},
    };
    struct rmd_ledger l;
    rmd_ledger_init(&l);
    rmd_ledger_start(&l, 0, 0);
    struct rmd_caps c = caps_of(&l, 100);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t n = (uint64_t)rows[i].n;
        if (rows[i].what == 't') {
            rmd_ledger_tick(&l, rows[i].n);
        } else if (rows[i].what == 'g') {
            rmd_caps_grant(&c, n);
        } else {
            rmd_caps_return(&c, n);
            if (rows[i].what == 'b')
                rmd_caps_book(&l, &c, n);
        }
        assert_int_equal(rmd_caps_room(&l, &c), rows[i].room);
        assert_int_equal(rmd_account_frees_ms(&l, c.account[0], 100), rows[i].frees);
    }
    rmd_ledger_release(&l);
}

/* Copies the rows of a batch into another ledger, as a restart would. */
static void restore(struct rmd_ledger *to, const struct rmd_batch *b) {
    struct rmd_batch_op op;
    for (size_t pos = 0; rmd_batch_next(b, &pos, &op);) {
        assert_int_equal(op.op, 'P');
        Remuda__LedgerRecord *r = remuda__ledger_record__unpack(NULL, op.value.n, op.value.p);
        assert_non_null(r);
        rmd_ledger_restore(to, op.key, r->used);
        remuda__ledger_record__free_unpacked(r, NULL);
    }
}

static void buckets_survive_a_restart(void **state) {
    (void)state;
    struct rmd_ledger l, m;
    rmd_ledger_init(&l);
    rmd_ledger_start(&l, 1000 * B, 5);
    struct rmd_caps c = caps_of(&l, 100);
    struct rmd_batch b = {0}, none = {0};
    rmd_caps_book(&l, &c, 10);
    rmd_ledger_tick(&l, 5 + B);
    rmd_caps_book(&l, &c, 20);
    rmd_ledger_flush(&l, &b);
    assert_int_equal(b.ops, 8); /* two buckets, four accounts */
    rmd_ledger_flush(&l, &none);
    assert_int_equal(none.ops, 0);
    rmd_ledger_init(&m);
    restore(&m, &b);
    assert_int_equal(m.now_ms, 1001 * B); /* a bucket exists because ledger time had reached it */
    rmd_ledger_start(&m, 1000 * B, 77);   /* an older clock record doesn't turn it back */
    assert_int_equal(m.now_ms, 1001 * B);
    struct rmd_caps d = caps_of(&m, 100);
    assert_int_equal(rmd_caps_room(&m, &d), 70);
    rmd_ledger_tick(&m, 77 + DAY);
    assert_int_equal(rmd_caps_room(&m, &d), 80); /* bucket 1000 is older than a day, 1001 isn't */
    rmd_ledger_trim(&m, &none);
    assert_int_equal(none.ops, 4); /* its rows are deleted */
    rmd_batch_release(&b);
    rmd_batch_release(&none);
    rmd_ledger_release(&l);
    rmd_ledger_release(&m);
}

static void time_stands_still_until_a_node_attests(void **state) {
    (void)state;
    struct rmd_ledger l;
    rmd_ledger_init(&l);
    rmd_ledger_start(&l, 1000, 50);
    rmd_ledger_tick(&l, 40); /* a clock that went backwards moves nothing */
    assert_int_equal(l.now_ms, 1000);
    rmd_ledger_tick(&l, 60);
    assert_int_equal(l.now_ms, 1010);
    assert_false(rmd_ledger_attest(&l, 1005, 60));
    assert_int_equal(l.now_ms, 1010);
    assert_true(rmd_ledger_attest(&l, 9000, 70));
    assert_int_equal(l.now_ms, 9000);
    rmd_ledger_tick(&l, 75);
    assert_int_equal(l.now_ms, 9005);
    rmd_ledger_release(&l);
}

/* After a reboot the ledger's time is behind until a node says by how much. What was sent in between was sent now. */
static void what_was_booked_before_an_attestation_counts_from_it(void **state) {
    (void)state;
    struct rmd_ledger l;
    rmd_ledger_init(&l);
    const int64_t hour = 3600 * 1000, t0 = 1000 * (int64_t)DAY;
    struct rmd_caps c = {.limit = {100, 0, 0, 0}};
    for (int i = 0; i < RMD_ACCOUNTS; i++)
        c.account[i] = rmd_ledger_account(&l, (enum rmd_account_kind)(RMD_ACCOUNT_LANE + i), 7, 1);
    rmd_ledger_start(&l, t0, 0);
    rmd_caps_book(&l, &c, 10); /* of the former life: these may age as they are */
    rmd_ledger_start(&l, t0 + hour, 0);
    rmd_caps_book(&l, &c, 60);
    assert_true(rmd_ledger_attest(&l, t0 + 13 * hour, 1000));
    rmd_caps_book(&l, &c, 5);
    assert_int_equal(rmd_caps_room(&l, &c), 25);
    rmd_ledger_tick(&l, 1000 + 12 * hour); /* 25 h after the first: only that is over */
    assert_int_equal(rmd_caps_room(&l, &c), 35);
    rmd_ledger_tick(&l, 1000 + 24 * hour + 2 * RMD_LEDGER_BUCKET_MS);
    assert_int_equal(rmd_caps_room(&l, &c), 100);
    /* The store knows it, too. */
    struct rmd_batch b = {0};
    rmd_ledger_flush(&l, &b);
    assert_true(b.ops >= 2 * RMD_ACCOUNTS);
    rmd_batch_release(&b);
    rmd_ledger_release(&l);
}

/* ---------------------------------------------------------------- property: against a naive model */

enum { STEPS = 10000, LIMIT = 500, ACCOUNTS = 3 };

struct model {
    struct {
        int64_t at; /* ledger time */
        uint64_t n;
        int account;
    } sent[STEPS];
    size_t n_sent;
    uint64_t outstanding[ACCOUNTS];
};

static uint64_t in_any_day(const struct model *m, int account, int64_t now) {
    uint64_t sum = 0;
    for (size_t i = m->n_sent; i > 0 && m->sent[i - 1].at > now - DAY; i--)
        sum += m->sent[i - 1].account == account ? m->sent[i - 1].n : 0;
    return sum;
}

/* The rows of the store in key order, last values: what a scan gives. */
static void scan_rows(const struct rmd_batch *disk, int64_t last_bucket, struct rmd_ledger *to) {
    struct rmd_map rows = {0};
    struct rmd_batch_op op;
    for (size_t pos = 0; rmd_batch_next(disk, &pos, &op);) {
        Remuda__LedgerRecord *old =
            rmd_map_set(&rows, op.key, remuda__ledger_record__unpack(NULL, op.value.n, op.value.p));
        if (old)
            remuda__ledger_record__free_unpacked(old, NULL);
    }
    for (int64_t bucket = 0; bucket <= last_bucket; bucket++) {
        for (uint32_t i = 0; i < RMD_ACCOUNTS * ACCOUNTS; i++) {
            struct rmd_key key =
                rmd_key_ledger((uint8_t)(1 + i % RMD_ACCOUNTS), i / RMD_ACCOUNTS, 0, (uint32_t)bucket);
            Remuda__LedgerRecord *r = rmd_map_remove(&rows, rmd_key_slice(&key));
            if (!r)
                continue;
            rmd_ledger_restore(to, rmd_key_slice(&key), r->used);
            remuda__ledger_record__free_unpacked(r, NULL);
        }
    }
    assert_int_equal(rows.n, 0);
    rmd_map_release(&rows);
}

/* A restart: grants are known from leases, buckets from the store; the clock may have lost some time. */
static void reborn(struct rmd_ledger *l, struct model *m, const struct rmd_batch *disk, int64_t mono,
                   struct rmd_rng *rng) {
    int64_t was = l->now_ms;
    rmd_ledger_release(l);
    rmd_ledger_init(l);
    scan_rows(disk, was / B, l);
    rmd_ledger_start(l, was - (int64_t)rmd_rng_below(rng, B), mono);
    for (uint32_t x = 0; x < ACCOUNTS; x++) {
        for (int i = 0; i < RMD_ACCOUNTS; i++)
            rmd_ledger_account(l, (enum rmd_account_kind)(i + 1), x, 0)->outstanding = m->outstanding[x];
    }
    for (size_t i = m->n_sent; i > 0 && m->sent[i - 1].at > l->now_ms; i--)
        m->sent[i - 1].at = l->now_ms; /* the model's clock is the ledger's */
}

static void caps_hold_under_random_operation(void **state) {
    (void)state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 20261123);
    static struct model m;
    m = (struct model){0};
    struct rmd_ledger l;
    rmd_ledger_init(&l);
    rmd_ledger_start(&l, 0, 0);
    struct rmd_batch disk = {0};
    int64_t mono = 0;
    size_t granted = 0, full = 0;
    for (int step = 0; step < STEPS; step++) {
        mono += (int64_t)rmd_rng_below(&rng, 4 * B);
        rmd_ledger_tick(&l, mono);
        int a = (int)rmd_rng_below(&rng, ACCOUNTS);
        struct rmd_caps c = {.limit = {LIMIT, 0, 0, 0}};
        for (int i = 0; i < RMD_ACCOUNTS; i++)
            c.account[i] = rmd_ledger_account(&l, (enum rmd_account_kind)(i + 1), (uint32_t)a, 0);
        uint64_t room = rmd_caps_room(&l, &c);
        full += room == 0;
        assert_true(room <= LIMIT);
        /* What it allows never exceeds what the exact count of the last 24 hours would. */
        assert_true(room + m.outstanding[a] + in_any_day(&m, a, l.now_ms) <= LIMIT || room == 0);
        assert_int_equal(c.account[0]->outstanding, m.outstanding[a]);
        switch (rmd_rng_below(&rng, 4)) {
        case 0:
        case 1: {
            uint64_t n = room ? 1 + rmd_rng_below(&rng, room < 80 ? room : 80) : 0;
            rmd_caps_grant(&c, n);
            m.outstanding[a] += n;
            granted += n;
            break;
        }
        case 2: { /* settled: some were sent, the rest comes back */
            uint64_t n = m.outstanding[a] ? 1 + rmd_rng_below(&rng, m.outstanding[a]) : 0,
                     sent = n ? rmd_rng_below(&rng, n + 1) : 0;
            rmd_caps_return(&c, n);
            rmd_caps_book(&l, &c, sent);
            m.outstanding[a] -= n;
            m.sent[m.n_sent].at = l.now_ms;
            m.sent[m.n_sent].n = sent;
            m.sent[m.n_sent++].account = a;
            break;
        }
        default:
            rmd_ledger_flush(&l, &disk);
            if (step % 50 == 0)
                reborn(&l, &m, &disk, mono, &rng);
            break;
        }
    }
    assert_true(granted > 10 * LIMIT);
    assert_true(full > 100);
    rmd_batch_release(&disk);
    rmd_ledger_release(&l);
}

static void an_hour_has_its_own_limit(void **state) {
    (void)state;
    enum { HOUR = 3600000, MINUTE = 60000 };
    struct rmd_ledger l;
    rmd_ledger_init(&l);
    rmd_ledger_start(&l, 1000 * (int64_t)HOUR, 0);
    struct rmd_account *a = rmd_ledger_account(&l, RMD_ACCOUNT_LANE, 1, 1);
    struct rmd_caps c = {.account = {a, rmd_ledger_account(&l, RMD_ACCOUNT_SOURCE, 1, 0),
                                     rmd_ledger_account(&l, RMD_ACCOUNT_NETWORK, 1, 1),
                                     rmd_ledger_account(&l, RMD_ACCOUNT_DOMAIN, 1, 1)},
                         .limit = {100},
                         .hour = {20}};
    assert_int_equal(rmd_caps_room(&l, &c), 20);
    assert_int_equal(rmd_caps_day_room(&l, &c), 100);
    rmd_caps_grant(&c, 15);
    assert_int_equal(rmd_caps_room(&l, &c), 5); /* outstanding counts */
    rmd_caps_return(&c, 15);
    rmd_caps_book(&l, &c, 15);
    rmd_ledger_tick(&l, 30 * MINUTE);
    rmd_caps_book(&l, &c, 5);
    assert_int_equal(rmd_caps_room(&l, &c), 0);
    assert_int_equal(rmd_account_hour_used(&l, a), 20);
    assert_int_equal(rmd_account_hour_frees_ms(&l, a, 20), 35 * MINUTE); /* its bucket must be wholly older */
    rmd_ledger_tick(&l, 65 * MINUTE - 1);
    assert_int_equal(rmd_caps_room(&l, &c), 0);
    rmd_ledger_tick(&l, 65 * MINUTE);
    assert_int_equal(rmd_caps_room(&l, &c), 15);
    assert_int_equal(rmd_account_hour_frees_ms(&l, a, 20), 0);
    rmd_ledger_tick(&l, 95 * MINUTE);
    assert_int_equal(rmd_caps_room(&l, &c), 20);
    for (int i = 0; i < 4; i++) { /* the day binds in the end */
        rmd_caps_book(&l, &c, 20);
        rmd_ledger_tick(&l, (160 + 65 * i) * (int64_t)MINUTE);
    }
    assert_int_equal(rmd_caps_room(&l, &c), 0);
    assert_int_equal(rmd_account_hour_available(&l, a, 20), 20);
    rmd_caps_grant(&c, 30);
    assert_true(rmd_account_hour_frees_ms(&l, a, 20) == RMD_NEVER); /* when leases report */
    rmd_ledger_release(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_follows_the_formula),
        cmocka_unit_test(buckets_survive_a_restart),
        cmocka_unit_test(an_hour_has_its_own_limit),
        cmocka_unit_test(time_stands_still_until_a_node_attests),
        cmocka_unit_test(what_was_booked_before_an_attestation_counts_from_it),
        cmocka_unit_test(caps_hold_under_random_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
