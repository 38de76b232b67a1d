/* What the fake store adds to the contract: it loses what was not synced, fails when it is told to, and shows or
 * hides batches that are on their way. The simulator's verdicts rest on this. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/kit/ordered.h"
#include "tests/kit/store_fake.h"
#include "tests/kit/store_kit.h"

#include <base/text.h>
#include <remuda/rng.h>

static void env_init(struct rmd_store_env *e) {
    e->disk = rmd_store_fake_new();
}

static int env_open(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n) {
    rmd_copy(err, err_n, "in use");
    return rmd_store_fake_open(e->disk, out);
}

static void env_drop(struct rmd_store_env *e) {
    rmd_store_fake_free(e->disk);
}

/* Nothing becomes durable unless the story says so. */
static const struct rmd_store_backend FAKE = {"fake", env_init, env_open, NULL, env_drop};

static int setup(void **state) {
    struct rmd_store_env *e = rmd_env_new(&FAKE);
    rmd_env_open(e);
    *state = e;
    return 0;
}

static int teardown(void **state) {
    rmd_env_free(*state);
    return 0;
}

static void submit_put(struct rmd_store_env *e, const char *key, const char *value, bool fail_fast) {
    struct rmd_batch b = {.fail_fast = fail_fast};
    rmd_batch_put(&b, rmd_slice_str(key), rmd_slice_str(value));
    rmd_env_submit(e, &b);
}

static void crash_and_open(struct rmd_store_env *e) {
    rmd_store_fake_crash(e->disk);
    e->is_open = false;
    rmd_env_open(e);
}

static void a_crash_loses_what_was_not_synced(void **state) {
    struct rmd_store_env *e = *state;
    submit_put(e, "a", "1", false);
    submit_put(e, "b", "2", false);
    submit_put(e, "c", "3", false);
    struct rmd_completion c;
    assert_int_equal(e->store.ops->poll(e->store.s, &c, 1), 0);
    assert_int_equal(rmd_store_fake_sync(e->disk, 2), 2);
    rmd_env_expect(e, 1, RMD_OK); /* the second one's completion is lost, its data is not */
    assert_int_equal(rmd_store_fake_held(e->disk), 1);
    crash_and_open(e);
    assert_int_equal(e->seq, 2);
    rmd_env_expect_rows(e, "a", "z", "a=1 b=2");
    assert_int_equal(e->store.ops->poll(e->store.s, &c, 1), 0);
}

static void a_dead_handle_stays_dead(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_store old = e->store;
    crash_and_open(e);
    uint64_t n;
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_slice_str("a"), rmd_slice_str("1"));
    assert_int_equal(old.ops->submit(old.s, &b, e->epoch, 1), RMD_ECLOSED);
    assert_int_equal(old.ops->acquire(old.s, &n), RMD_ECLOSED);
    assert_int_equal(old.ops->last_seq(old.s, &n), RMD_ECLOSED);
    old.ops->close(old.s); /* of the dead one: the living one doesn't notice */
    submit_put(e, "a", "1", false);
    assert_int_equal(rmd_store_fake_sync(e->disk, 1), 1);
    rmd_env_expect(e, 1, RMD_OK);
}

static void batches_are_seen_late_or_early(void **state) {
    struct rmd_store_env *e = *state;
    submit_put(e, "a", "old", false);
    rmd_store_fake_sync(e->disk, 1);
    submit_put(e, "a", "new", false);
    rmd_env_expect_value(e, "a", "old");
    rmd_store_fake_visibility(e->disk, RMD_FAKE_EARLY, 0);
    rmd_env_expect_value(e, "a", "new");
    struct rmd_batch b = {0};
    rmd_batch_delete_range(&b, rmd_slice_str("a"), rmd_slice_str("z"));
    rmd_batch_put(&b, rmd_slice_str("b"), rmd_slice_str("newer"));
    rmd_env_submit(e, &b);
    rmd_env_expect_rows(e, "a", "z", "b=newer");
    crash_and_open(e); /* what was seen was never durable */
    rmd_env_expect_rows(e, "a", "z", "a=old");
}

static void a_failure_stalls_and_passes(void **state) {
    struct rmd_store_env *e = *state;
    rmd_store_fake_fail_next(e->disk, RMD_EFULL, 2);
    submit_put(e, "a", "1", false);
    submit_put(e, "b", "2", true);
    struct rmd_completion c;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rmd_store_fake_sync(e->disk, SIZE_MAX), 0);
        assert_string_equal(e->store.ops->stalled(e->store.s), rmd_error_text(RMD_EFULL));
        assert_int_equal(e->store.ops->poll(e->store.s, &c, 1), 0);
    }
    assert_int_equal(rmd_store_fake_sync(e->disk, 1), 1);
    assert_null(e->store.ops->stalled(e->store.s));
    rmd_env_expect(e, 1, RMD_OK);
    rmd_store_fake_fail_next(e->disk, RMD_EIO, -1);
    assert_int_equal(rmd_store_fake_sync(e->disk, 1), 1);
    rmd_env_expect(e, 2, RMD_EIO); /* fail_fast: completed, unapplied */
    rmd_store_fake_fail_next(e->disk, RMD_EIO, 0);
    rmd_env_expect_rows(e, "a", "z", "a=1");
    submit_put(e, "c", "3", false);
    assert_int_equal(rmd_store_fake_sync(e->disk, 1), 1);
    rmd_env_expect(e, 3, RMD_OK);
    rmd_env_expect_rows(e, "a", "z", "a=1 c=3");
}

static void another_machine_takes_over(void **state) {
    struct rmd_store_env *e = *state;
    rmd_store_fake_visibility(e->disk, RMD_FAKE_EARLY, 0);
    submit_put(e, "a", "1", false);
    rmd_env_expect_value(e, "a", "1");
    assert_true(rmd_store_fake_usurp(e->disk) > e->epoch);
    rmd_env_expect_value(e, "a", "-");
    assert_int_equal(rmd_store_fake_sync(e->disk, 1), 1);
    rmd_env_expect(e, 1, RMD_EFENCED);
}

/* Crashes at any moment, with reads that see batches early by chance: what is there is the synced prefix, always. */
static void any_crash_leaves_the_synced_prefix(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 7);
    uint64_t synced = 0; /* batch n puts its number under n % 5, and removes (n + 1) % 5 */
    for (int life = 0; life < 300; life++) {
        rmd_store_fake_visibility(e->disk, (enum rmd_fake_visibility)rmd_rng_below(&rng, 3), rmd_rng_next(&rng));
        for (uint64_t n = rmd_rng_below(&rng, 8); n; n--) {
            struct rmd_batch b = {0};
            char key[2] = {(char)('a' + (e->seq + 1) % 5), 0}, gone[2] = {(char)('a' + (e->seq + 2) % 5), 0},
                 value[24];
            rmd_format(value, sizeof value, "%llu", (unsigned long long)e->seq + 1);
            rmd_batch_put(&b, rmd_slice_str(key), rmd_slice_str(value));
            rmd_batch_delete(&b, rmd_slice_str(gone));
            rmd_env_submit(e, &b);
            rmd_env_count(e, "a", "z");
            synced += rmd_store_fake_sync(e->disk, rmd_rng_below(&rng, 3));
        }
        crash_and_open(e);
        assert_int_equal(e->seq, synced);
        size_t rows = synced < 4 ? synced : 4;
        assert_int_equal(rmd_env_count(e, "a", "z"), rows);
        for (uint64_t n = synced - rows + 1; n <= synced; n++) {
            char key[2] = {(char)('a' + n % 5), 0}, value[24];
            rmd_format(value, sizeof value, "%llu", (unsigned long long)n);
            rmd_env_expect_value(e, key, value);
        }
    }
    assert_true(synced > 300);
}

static void a_million_keys_are_no_trouble(void **state) {
    struct rmd_store_env *e = *state;
    enum { KEYS = 1000000, CHUNK = 10000 };
    for (uint32_t i = 0; i < KEYS; i += CHUNK) {
        struct rmd_batch b = {0};
        for (uint32_t k = i; k < i + CHUNK; k++) {
            uint8_t key[5] = "m";
            rmd_put_be32(key + 1, k * 2654435761u); /* every order but the right one */
            rmd_batch_put(&b, rmd_slice(key, 5), rmd_slice_str("value"));
        }
        rmd_env_submit(e, &b);
        rmd_store_fake_sync(e->disk, 1);
        rmd_env_expect(e, e->seq, RMD_OK);
    }
    assert_int_equal(rmd_store_fake_rows(e->disk), KEYS);
    assert_int_equal(rmd_env_count(e, "m", "n"), KEYS);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_crash_loses_what_was_not_synced), CASE(a_dead_handle_stays_dead),
        CASE(batches_are_seen_late_or_early),    CASE(a_failure_stalls_and_passes),
        CASE(another_machine_takes_over),        CASE(any_crash_leaves_the_synced_prefix),
        CASE(a_million_keys_are_no_trouble),
    };
    return cmocka_run_group_tests_name("store: the fake's own", tests, NULL, NULL) ? 1 : 0;
}
