/* The store port's contract: one suite, run against the fake, RocksDB and PostgreSQL. What only one of them can show
 * (killed processes, full disks, cut connections) is in test_store_rocks.c, test_store_pg.c and test_store_fake.c. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/io/store_pg.h"
#include "coordinator/io/store_rocks.h"
#include "tests/kit/ordered.h"
#include "tests/kit/pg_cluster.h"
#include "tests/kit/store_fake.h"
#include "tests/kit/store_kit.h"

#include <base/text.h>
#include <remuda/rng.h>

static struct rmd_pg_cluster cluster;

static void fake_init(struct rmd_store_env *e) {
    e->disk = rmd_store_fake_new();
}

static int fake_open(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n) {
    rmd_copy(err, err_n, "in use");
    return rmd_store_fake_open(e->disk, out);
}

static void fake_durable(struct rmd_store_env *e) {
    rmd_store_fake_sync(e->disk, SIZE_MAX);
}

static void fake_drop(struct rmd_store_env *e) {
    rmd_store_fake_free(e->disk);
}

static void rocks_init(struct rmd_store_env *e) {
    rmd_copy(e->where, sizeof e->where, "/tmp/rmd-rocks-XXXXXX");
    assert_non_null(mkdtemp(e->where));
}

static int rocks_open(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n) {
    const struct rmd_store_rocks_options opt = {.directory = e->where, .write_buffer_bytes = 4 << 20};
    return rmd_store_rocks_open(&opt, out, err, err_n);
}

static void rocks_drop(struct rmd_store_env *e) {
    rmd_remove_tree(e->where);
}

static void pg_init(struct rmd_store_env *e) {
    static int serial;
    if (!cluster.pid && rmd_pg_cluster_start(&cluster))
        fail_msg("%s", cluster.err);
    rmd_format(e->where, sizeof e->where, "suite_%d", ++serial);
}

static int pg_open(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n) {
    const struct rmd_store_pg_options opt = {.conninfo = cluster.conninfo, .schema = e->where};
    return rmd_store_pg_open(&opt, out, err, err_n);
}

static void pg_drop(struct rmd_store_env *e) {
    (void)e; /* the whole cluster goes at the end */
}

static struct rmd_store_backend BACKENDS[] = {
    {"fake", fake_init, fake_open, fake_durable, fake_drop},
    {"rocksdb", rocks_init, rocks_open, NULL, rocks_drop},
    {"postgresql", pg_init, pg_open, NULL, pg_drop},
};

static int setup(void **state) {
    struct rmd_store_env *e = rmd_env_new(*state);
    rmd_env_open(e);
    *state = e;
    return 0;
}

static int teardown(void **state) {
    rmd_env_free(*state);
    return 0;
}

/* --- writing */

static void completions_come_in_order(void **state) {
    struct rmd_store_env *e = *state;
    for (int i = 0; i < 300; i++) {
        struct rmd_batch b = {0};
        char key[16];
        rmd_format(key, sizeof key, "k%04d", i);
        rmd_batch_put(&b, rmd_slice_str(key), rmd_slice_str("v"));
        rmd_env_submit(e, &b);
    }
    for (uint64_t seq = 1; seq <= 300; seq++)
        rmd_env_expect(e, seq, RMD_OK);
    assert_int_equal(rmd_env_count(e, "k", "l"), 300);
}

static void what_completed_is_there_in_the_next_life(void **state) {
    struct rmd_store_env *e = *state;
    rmd_env_put(e, "a", "1");
    rmd_env_put(e, "b", "2");
    uint64_t epoch = e->epoch;
    rmd_env_reopen(e);
    assert_int_equal(e->seq, 2);
    assert_true(e->epoch > epoch);
    rmd_env_expect_rows(e, "a", "z", "a=1 b=2");
}

static void close_waits_for_what_was_queued(void **state) {
    struct rmd_store_env *e = *state;
    for (int i = 0; i < 50; i++) {
        struct rmd_batch b = {0};
        uint8_t key[2] = {'q', (uint8_t)i};
        rmd_batch_put(&b, rmd_slice(key, 2), rmd_slice_str("v"));
        rmd_env_submit(e, &b);
    }
    rmd_env_reopen(e);
    assert_int_equal(e->seq, 50);
    assert_int_equal(rmd_env_count(e, "q", "r"), 50);
}

static void a_repeated_number_is_not_applied_again(void **state) {
    struct rmd_store_env *e = *state;
    rmd_env_put(e, "a", "first");
    rmd_env_put(e, "b", "second");
    for (int life = 0; life < 2; life++) {
        struct rmd_batch b = {0};
        rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str("other"));
        assert_int_equal(e->store.ops->submit(e->store.s, &b, e->epoch, 1), RMD_OK);
        rmd_env_expect(e, 1, RMD_OK);
        rmd_env_expect_rows(e, "a", "z", "a=first b=second");
        rmd_env_reopen(e);
    }
    rmd_env_put(e, "c", "third"); /* numbers go on where they were */
    assert_int_equal(e->seq, 3);
}

static void a_number_repeated_in_the_queue_is_applied_once(void **state) {
    struct rmd_store_env *e = *state;
    for (int i = 0; i < 2; i++) {
        struct rmd_batch b = {0};
        rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str(i ? "again" : "once"));
        assert_int_equal(e->store.ops->submit(e->store.s, &b, e->epoch, 1), RMD_OK);
    }
    rmd_env_expect(e, 1, RMD_OK);
    rmd_env_expect(e, 1, RMD_OK);
    rmd_env_expect_value(e, "a", "once");
}

static void an_old_epoch_is_fenced(void **state) {
    struct rmd_store_env *e = *state;
    rmd_env_put(e, "a", "1");
    uint64_t old = e->epoch, newer;
    assert_int_equal(e->store.ops->acquire(e->store.s, &newer), RMD_OK);
    assert_true(newer > old);
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str("2"));
    rmd_batch_delete_range(&b, rmd_slice_str("a"), rmd_slice_str("z"));
    rmd_env_expect(e, rmd_env_submit(e, &b), RMD_EFENCED);
    rmd_env_expect_rows(e, "a", "z", "a=1");
    e->epoch = newer;
    rmd_env_put(e, "b", "3");
    rmd_env_expect_rows(e, "a", "z", "a=1 b=3");
    uint64_t last;
    assert_int_equal(e->store.ops->last_seq(e->store.s, &last), RMD_OK);
    assert_int_equal(last, e->seq);
}

static void refuse(struct rmd_store_env *e, struct rmd_batch *b, uint64_t seq, int error) {
    assert_int_equal(e->store.ops->submit(e->store.s, b, e->epoch, seq), error);
    assert_null(b->data);
}

static void errors_of_building_stick(void **state) {
    struct rmd_store_env *e = *state;
    uint8_t long_key[RMD_STORE_KEY_MAX + 1];
    memset(long_key, 'k', sizeof long_key);
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_slice(long_key, sizeof long_key), rmd_slice_str("v"));
    rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str("lost with the rest"));
    refuse(e, &b, 1, RMD_ELIMIT);
    static const uint8_t OWN[] = {0, 'm'}; /* the store's own keys */
    rmd_batch_put(&b, rmd_slice(OWN, sizeof OWN), rmd_slice_str("v"));
    refuse(e, &b, 1, RMD_EINVAL);
    rmd_batch_delete(&b, rmd_slice(OWN, sizeof OWN));
    refuse(e, &b, 1, RMD_EINVAL);
    rmd_batch_put(&b, rmd_slice(NULL, 0), rmd_slice_str("v"));
    refuse(e, &b, 1, RMD_EINVAL);
    rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str("v")); /* a gap in the numbers */
    refuse(e, &b, 2, RMD_EINVAL);
    rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str("v"));
    refuse(e, &b, 0, RMD_EINVAL);
    rmd_env_expect_rows(e, "\x01", "\xff", "");
    rmd_env_put(e, "b", "the number is still free");
    assert_int_equal(e->seq, 1);
}

static void an_empty_batch_completes(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_batch b = {0};
    rmd_env_commit(e, &b);
    uint64_t last;
    assert_int_equal(e->store.ops->last_seq(e->store.s, &last), RMD_OK);
    assert_int_equal(last, 1);
}

struct value_check {
    size_t n;
    uint8_t fill;
    bool called;
};

static void check_fill(void *ctx, size_t i, struct rmd_slice value) {
    struct value_check *c = ctx;
    assert_int_equal(i, 0);
    assert_non_null(value.p);
    assert_int_equal(value.n, c->n);
    for (size_t k = 0; k < value.n; k += 4093)
        assert_int_equal(value.p[k], c->fill);
    c->called = true;
}

static void the_largest_key_and_value_fit(void **state) {
    struct rmd_store_env *e = *state;
    uint8_t key[RMD_STORE_KEY_MAX], *value = rmd_alloc(RMD_STORE_VALUE_MAX + 1);
    memset(key, 0xff, sizeof key);
    memset(value, 0xa5, RMD_STORE_VALUE_MAX + 1);
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_slice(key, sizeof key), rmd_slice(value, RMD_STORE_VALUE_MAX));
    rmd_env_commit(e, &b);
    struct value_check check = {.n = RMD_STORE_VALUE_MAX, .fill = 0xa5};
    struct rmd_slice k = rmd_slice(key, sizeof key);
    assert_int_equal(e->store.ops->get_many(e->store.s, &k, 1, check_fill, &check), RMD_OK);
    assert_true(check.called);
    rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice(value, RMD_STORE_VALUE_MAX + 1));
    refuse(e, &b, e->seq + 1, RMD_ELIMIT);
    free(value);
}

static void a_big_batch_is_one(void **state) {
    struct rmd_store_env *e = *state;
    enum { ROWS = 40000, VALUE = 500 };
    uint8_t value[VALUE];
    memset(value, 'v', sizeof value);
    struct rmd_batch b = {0};
    for (int i = 0; i < ROWS; i++) {
        uint8_t key[5] = "b";
        rmd_put_be32(key + 1, (uint32_t)i);
        rmd_batch_put(&b, rmd_slice(key, 5), rmd_slice(value, sizeof value));
    }
    rmd_env_commit(e, &b);
    assert_int_equal(rmd_env_count(e, "b", "c"), ROWS);
    rmd_env_reopen(e);
    assert_int_equal(rmd_env_count(e, "b", "c"), ROWS);
    rmd_batch_delete_range(&b, rmd_slice_str("b"), rmd_slice_str("c"));
    rmd_env_commit(e, &b);
    assert_int_equal(rmd_env_count(e, "b", "c"), 0);
}

/* Each row: operations of one batch on {a=1 c=3 e=5}, and what is there afterwards. "P k v", "D k", "R from to". */
static const struct {
    const char *ops, *rows;
} BATCH_ROWS[] = {
    {"P:a:x P:a:y", "a=y c=3 e=5"},
    {"P:b:2 D:b", "a=1 c=3 e=5"},
    {"D:c P:c:9", "a=1 c=9 e=5"},
    {"D:nothing", "a=1 c=3 e=5"},
    {"R:a:e", "e=5"},
    {"R:b:c", "a=1 c=3 e=5"},
    {"R:c:c", "a=1 c=3 e=5"},
    {"R:a:z", ""},
    {"P:b:2 R:a:d P:d:4", "d=4 e=5"},
    {"R:a:d P:a:7 R:c:z", "a=7"},
    {"P:b:2 R:b:d P:c:8 D:e P:b:6", "a=1 b=6 c=8"},
    {"R::z", ""},
};

static void add_op(struct rmd_batch *b, char *op) {
    char *a = op + 2, *c = strchr(a, ':');
    if (c)
        *c++ = 0;
    if (*op == 'P')
        rmd_batch_put(b, rmd_slice_str(a), rmd_slice_str(c));
    else if (*op == 'D')
        rmd_batch_delete(b, rmd_slice_str(a));
    else
        rmd_batch_delete_range(b, rmd_slice_str(a), rmd_slice_str(c));
}

static void operations_take_effect_in_order(void **state) {
    struct rmd_store_env *e = *state;
    for (size_t i = 0; i < sizeof BATCH_ROWS / sizeof *BATCH_ROWS; i++) {
        struct rmd_batch b = {0};
        rmd_batch_delete_range(&b, rmd_slice_str("a"), rmd_slice_str("zz"));
        rmd_env_commit(e, &b);
        rmd_env_put(e, "a", "1");
        rmd_env_put(e, "c", "3");
        rmd_env_put(e, "e", "5");
        char ops[128], *save = NULL;
        rmd_copy(ops, sizeof ops, BATCH_ROWS[i].ops);
        for (char *op = strtok_r(ops, " ", &save); op; op = strtok_r(NULL, " ", &save))
            add_op(&b, op);
        rmd_env_commit(e, &b);
        rmd_env_expect_rows(e, "a", "zz", BATCH_ROWS[i].rows);
    }
    rmd_env_reopen(e); /* the store's own record survives a range that begins before every key */
    assert_true(e->seq > 0);
}

/* --- reading */

static const struct {
    const char *from, *to;
    uint32_t limit;
    size_t max_bytes;
    bool reverse, keys_only;
    const char *rows;
} SCANS[] = {
    {"a", "z", 100, 0, false, false, "a=1 ab=22 b=333 ba= c=5"},
    {"a", "z", 100, 0, true, false, "c=5 ba= b=333 ab=22 a=1"},
    {"ab", "c", 100, 0, false, false, "ab=22 b=333 ba="},
    {"ab", "c", 100, 0, true, false, "ba= b=333 ab=22"},
    {"aa", "bb", 100, 0, false, false, "ab=22 b=333 ba="},
    {"aa", "bb", 100, 0, true, false, "ba= b=333 ab=22"},
    {"a", "z", 2, 0, false, false, "a=1 ab=22"},
    {"a", "z", 2, 0, true, false, "c=5 ba="},
    {"a", "z", 0, 0, false, false, ""},
    {"a", "z", 100, 1, false, false, "a=1"},
    {"a", "z", 100, 3, false, false, "a=1 ab=22"},
    {"a", "z", 100, 6, false, false, "a=1 ab=22"},
    {"a", "z", 100, 7, false, false, "a=1 ab=22 b=333"},
    {"a", "z", 100, 5, true, false, "c=5 ba= b=333"},
    {"a", "z", 100, 0, false, true, "a ab b ba c"},
    {"a", "z", 3, 0, true, true, "c ba b"},
    {"a", "z", 100, 3, false, true, "a ab"},
    {"b", "b", 100, 0, false, false, ""},
    {"c", "a", 100, 0, false, false, ""},
    {"c", "a", 100, 0, true, false, ""},
    {"a", "", 100, 0, false, false, ""},
    {"d", "z", 100, 0, false, false, ""},
    {"d", "z", 100, 0, true, false, ""},
    {"", "b", 100, 0, false, false, "a=1 ab=22"},
    {"", "b", 100, 0, true, false, "ab=22 a=1"},
};

static void scans_keep_their_bounds(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_batch b = {0};
    static const char *const ROWS[][2] = {{"c", "5"}, {"ab", "22"}, {"ba", ""}, {"a", "1"}, {"b", "333"}};
    for (size_t i = 0; i < 5; i++)
        rmd_batch_put(&b, rmd_slice_str(ROWS[i][0]), rmd_slice_str(ROWS[i][1]));
    rmd_env_commit(e, &b);
    for (size_t i = 0; i < sizeof SCANS / sizeof *SCANS; i++) {
        struct rmd_scan range = {.from = rmd_slice_str(SCANS[i].from),
                                 .to = rmd_slice_str(SCANS[i].to),
                                 .limit = SCANS[i].limit,
                                 .max_bytes = SCANS[i].max_bytes,
                                 .reverse = SCANS[i].reverse,
                                 .keys_only = SCANS[i].keys_only};
        char *rows = rmd_env_rows(e, &range);
        if (strcmp(rows, SCANS[i].rows) != 0)
            fail_msg("%s: scan %zu gives \"%s\", not \"%s\"", e->backend->name, i, rows, SCANS[i].rows);
        free(rows);
    }
}

struct walk {
    size_t rows, stop_after;
    uint32_t next;
    bool reverse;
};

static bool walk_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct walk *w = ctx;
    assert_int_equal(key.n, 5);
    assert_int_equal(value.n, 100);
    assert_int_equal(rmd_get_be32(key.p + 1), w->next);
    w->next += w->reverse ? UINT32_MAX : 1;
    return ++w->rows != w->stop_after;
}

static void long_scans_walk_every_row_once(void **state) {
    struct rmd_store_env *e = *state;
    enum { ROWS = 5000 };
    uint8_t value[100] = {0};
    struct rmd_batch b = {0};
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t key[5] = "w";
        rmd_put_be32(key + 1, i);
        rmd_batch_put(&b, rmd_slice(key, 5), rmd_slice(value, sizeof value));
    }
    rmd_env_commit(e, &b);
    static const struct {
        uint32_t limit;
        size_t max_bytes, stop_after, rows;
    } WALKS[] = {{UINT32_MAX, 0, 0, ROWS}, {1024, 0, 0, 1024},      {2049, 0, 0, 2049},
                 {ROWS, 0, 3000, 3000},    {ROWS, 315000, 0, 3000}, {ROWS, 0, 1, 1}};
    for (size_t i = 0; i < 2 * sizeof WALKS / sizeof *WALKS; i++) {
        struct walk w = {.reverse = i % 2, .next = i % 2 ? ROWS - 1 : 0, .stop_after = WALKS[i / 2].stop_after};
        struct rmd_scan range = {.from = rmd_slice_str("w"),
                                 .to = rmd_slice_str("x"),
                                 .limit = WALKS[i / 2].limit,
                                 .max_bytes = WALKS[i / 2].max_bytes,
                                 .reverse = i % 2};
        assert_int_equal(e->store.ops->scan(e->store.s, &range, walk_row, &w), RMD_OK);
        assert_int_equal(w.rows, WALKS[i / 2].rows);
    }
}

static void keys_are_ordered_by_byte(void **state) {
    struct rmd_store_env *e = *state;
    static const uint8_t KEYS[][3] = {{0x01}, {0x01, 0x00}, {0x7f, 0xff}, {0x80}, {0xc3, 0xa9}, {0xff}, {0xff, 0xff}};
    static const size_t LENGTHS[] = {1, 2, 2, 1, 2, 1, 2};
    struct rmd_batch b = {0};
    for (size_t i = 7; i-- > 0;)
        rmd_batch_put(&b, rmd_slice(KEYS[i], LENGTHS[i]), rmd_slice(NULL, 0));
    rmd_env_commit(e, &b);
    struct rmd_scan range = {
        .from = rmd_slice_str("\x01"), .to = rmd_slice_str("\xff\xff\xff"), .limit = 100, .keys_only = true};
    char *rows = rmd_env_rows(e, &range); /* ends at the first NUL: the second key's */
    assert_string_equal(rows, "\x01 \x01");
    free(rows);
    range.from = rmd_slice_str("\x02");
    rows = rmd_env_rows(e, &range);
    assert_string_equal(rows, "\x7f\xff \x80 \xc3\xa9 \xff \xff\xff");
    free(rows);
}

struct many {
    size_t calls, next;
};

static void check_many(void *ctx, size_t i, struct rmd_slice value) {
    struct many *m = ctx;
    assert_int_equal(i, m->next++);
    m->calls++;
    if (i % 3 == 0) {
        assert_null(value.p);
    } else if (i % 3 == 1) {
        assert_non_null(value.p);
        assert_int_equal(value.n, 0);
    } else {
        assert_int_equal(value.n, 4);
        assert_int_equal(rmd_get_be32(value.p), i);
    }
}

/* Every third key is absent, every third has an empty value. */
static void get_many_tells_absent_from_empty(void **state) {
    struct rmd_store_env *e = *state;
    enum { KEYS = 700 };
    uint8_t keys[KEYS][5], value[4];
    struct rmd_slice slices[KEYS];
    struct rmd_batch b = {0};
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i][0] = 'g';
        rmd_put_be32(keys[i] + 1, (KEYS - i) * 7919u); /* not in key order */
        rmd_put_be32(value, i);
        slices[i] = rmd_slice(keys[i], 5);
        if (i % 3)
            rmd_batch_put(&b, slices[i], rmd_slice(value, i % 3 == 1 ? 0 : 4));
    }
    rmd_env_commit(e, &b);
    struct many m = {0};
    assert_int_equal(e->store.ops->get_many(e->store.s, slices, KEYS, check_many, &m), RMD_OK);
    assert_int_equal(m.calls, KEYS);
    assert_int_equal(e->store.ops->get_many(e->store.s, NULL, 0, check_many, &m), RMD_OK);
    struct rmd_slice bad = rmd_slice("\0m", 2);
    assert_int_equal(e->store.ops->get_many(e->store.s, &bad, 1, check_many, &m), RMD_EINVAL);
}

/* --- the whole, against a model */

static bool same_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct rmd_ordered_node **at = ctx;
    assert_non_null(*at);
    assert_true(rmd_slice_eq(rmd_ordered_key(*at), key));
    assert_true(rmd_slice_eq(rmd_ordered_value(*at), value));
    *at = (*at)->next[0];
    return true;
}

static void expect_model(struct rmd_store_env *e, struct rmd_ordered *model) {
    struct rmd_ordered_node *at = model->first[0];
    struct rmd_scan range = {.from = rmd_slice_str("\x01"), .to = rmd_slice_str("\xff"), .limit = UINT32_MAX};
    assert_int_equal(e->store.ops->scan(e->store.s, &range, same_row, &at), RMD_OK);
    assert_null(at);
}

static void model_remove(struct rmd_ordered *model, struct rmd_ordered_node *node) {
    rmd_ordered_unlink(model, node);
    rmd_ordered_node_free(node);
}

static void random_op(struct rmd_rng *rng, struct rmd_batch *b, struct rmd_ordered *model) {
    uint8_t key[2] = {(uint8_t)('a' + rmd_rng_below(rng, 20)), (uint8_t)rmd_rng_below(rng, 50)};
    uint8_t value[40];
    memset(value, (int)rmd_rng_below(rng, 256), sizeof value);
    struct rmd_slice k = rmd_slice(key, 2), v = rmd_slice(value, rmd_rng_below(rng, sizeof value));
    struct rmd_ordered_node *old = rmd_ordered_find(model, k);
    uint64_t what = rmd_rng_below(rng, 20);
    if (what < 12) {
        rmd_batch_put(b, k, v);
        if (old)
            model_remove(model, old);
        rmd_ordered_insert(model, k, v);
    } else if (what < 19) {
        rmd_batch_delete(b, k);
        if (old)
            model_remove(model, old);
    } else {
        uint8_t to[2] = {key[0], (uint8_t)(key[1] + 10)};
        rmd_batch_delete_range(b, k, rmd_slice(to, 2));
        struct rmd_ordered_node *node;
        while ((node = rmd_ordered_seek(model, k)) &&
               rmd_ordered_compare(rmd_ordered_key(node), rmd_slice(to, 2)) < 0)
            model_remove(model, node);
    }
}

static void a_random_history_reads_as_the_model_does(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_ordered model = {0};
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 20261123);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 60; i++) {
            struct rmd_batch b = {0};
            for (uint64_t n = 1 + rmd_rng_below(&rng, 30); n; n--)
                random_op(&rng, &b, &model);
            rmd_env_submit(e, &b);
        }
        rmd_env_expect_upto(e, e->seq);
        expect_model(e, &model);
        if (round % 2)
            rmd_env_reopen(e);
    }
    expect_model(e, &model);
    rmd_ordered_release(&model);
}

/* --- one writer, and quiet when there is nothing to say */

static void a_second_open_is_refused(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_store other;
    char err[512] = "";
    assert_int_equal(e->backend->open(e, &other, err, sizeof err), RMD_EBUSY);
    assert_non_null(strstr(err, "in use"));
    assert_non_null(strstr(err, e->where)); /* says which */
    rmd_env_put(e, "a", "1");               /* and the first one goes on */
}

static void nothing_to_poll_is_quiet(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_completion c[2];
    assert_int_equal(e->store.ops->poll(e->store.s, c, 2), 0);
    rmd_env_put(e, "a", "1");
    assert_int_equal(e->store.ops->poll(e->store.s, c, 2), 0);
    struct pollfd fd = {.fd = e->store.ops->poll_fd(e->store.s), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_null(e->store.ops->stalled(e->store.s));
    assert_string_equal(e->store.ops->name, e->backend->name);
}

#define CASE(fn, b) cmocka_unit_test_prestate_setup_teardown(fn, setup, teardown, &BACKENDS[b])
#define SUITE(b)                                                                                      \
    CASE(completions_come_in_order, b), CASE(what_completed_is_there_in_the_next_life, b),            \
        CASE(close_waits_for_what_was_queued, b), CASE(a_repeated_number_is_not_applied_again, b),    \
        CASE(a_number_repeated_in_the_queue_is_applied_once, b), CASE(an_old_epoch_is_fenced, b),     \
        CASE(errors_of_building_stick, b), CASE(an_empty_batch_completes, b),                         \
        CASE(the_largest_key_and_value_fit, b), CASE(a_big_batch_is_one, b),                          \
        CASE(operations_take_effect_in_order, b), CASE(scans_keep_their_bounds, b),                   \
        CASE(long_scans_walk_every_row_once, b), CASE(keys_are_ordered_by_byte, b),                   \
        CASE(get_many_tells_absent_from_empty, b), CASE(a_random_history_reads_as_the_model_does, b), \
        CASE(a_second_open_is_refused, b), CASE(nothing_to_poll_is_quiet, b)

int main(void) {
    const struct CMUnitTest fake[] = {SUITE(0)}, rocksdb[] = {SUITE(1)}, postgresql[] = {SUITE(2)};
    int failed = cmocka_run_group_tests_name("store: fake", fake, NULL, NULL);
    failed += cmocka_run_group_tests_name("store: rocksdb", rocksdb, NULL, NULL);
    failed += cmocka_run_group_tests_name("store: postgresql", postgresql, NULL, NULL);
    if (cluster.dir[0])
        rmd_pg_cluster_stop(&cluster);
    return failed ? 1 : 0;
}
