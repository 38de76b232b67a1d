/* Priority: transactional mail isn't held up by a great queue, bulk mail never starves, a small campaign isn't buried.
 *
 * The receiver takes RATE recipients a second, in the order in which the node got them: the node's own order, which lets transactional mail
 * pass (tests/unit/worker/test_priority.c), is left out, so the bounds here are those of the coordinator alone. Times are virtual.
 * The great queue is one campaign of ten million recipients, on a disk that is memory: 400 MB. REMUDA_TEST_ROWS makes it another size. The
 * bounds, with RMD_COORD_LANE_MESSAGES = 800 outstanding at a lane and leases of RMD_COORD_LEASE_MESSAGES = 200:
 *   100 transactional recipients: (800 + 100) / RATE + 2 s = 47 s    a campaign of fifty: (800 + 200 + 50) / RATE + 2 s = 54.5 s
 * whatever waits behind them: how long it takes for ten million would be 5.8 days. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "tests/kit/coord_world.h"

enum { RATE = 20, GREAT = 10000000, STEP_MS = 500 };

static const char *const google[] = {"g.test", NULL};

static struct cw *world(uint64_t lane_cap) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.priority = 10;
    cw_stream(w, "bulk", &s);
    s.priority = 0;
    cw_stream(w, "urgent", &s);
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", lane_cap);
    n->holds = true;
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static uint64_t rows(void) {
    uint64_t n = GREAT;
    const char *text = getenv("REMUDA_TEST_ROWS");
    if (text)
        assert_int_equal(rmd_parse_u64(rmd_slice_str(text), &n), RMD_OK);
    return n;
}

/* One campaign of ten million. */
static struct rmd_id great_queue(struct cw *w) {
    return cw_submit(w, "bulk", google, (uint32_t)rows(), 0);
}

static uint64_t delivered(struct cw *w, const struct rmd_id *id) {
    return cw_campaign(w, id, NULL)->delivered;
}

/* Of the great one, which is what it is said to be. */
static uint64_t waits(struct cw *w, const struct rmd_id *id) {
    uint64_t left = cw_campaign(w, id, NULL)->rows - delivered(w, id);
    assert_true(left > rows() / 10 * 9 && left <= rows());
    return left;
}

/* Seconds until n of this campaign are delivered. */
static double until(struct cw *w, const struct rmd_id *id, uint64_t n) {
    int64_t start = w->now.wall_ms;
    while (delivered(w, id) < n && w->now.wall_ms - start < 3600 * 1000) {
        cw_pass(w, STEP_MS, STEP_MS);
        cw_answer_some(w, &w->node[0], RATE * STEP_MS / 1000);
    }
    return (double)(w->now.wall_ms - start) / 1000;
}

/* What is outstanding at the lane when it comes, and itself: 800 + 100 at 20 a second, and 2 s for reports. */
static void a_hundred_pass_millions(void **state) {
    (void)state;
    struct cw *w = world(0);
    struct rmd_id bulk = great_queue(w);
    assert_true(until(w, &bulk, 200) < 600);
    struct rmd_id urgent = cw_submit(w, "urgent", google, 100, 0);
    double s = until(w, &urgent, 100);
    print_message("  100 before %llu: %.1f s\n", (unsigned long long)waits(w, &bulk), s);
    assert_true(s <= (RMD_COORD_LANE_MESSAGES + 100) / (double)RATE + 2);
    cw_crash(w, false); /* the same after a restart, with everything counted anew */
    w->node[0].holds = true;
    cw_pass(w, 10000, 1000);
    urgent = cw_submit(w, "urgent", google, 100, 200);
    s = until(w, &urgent, 100);
    assert_true(s <= (RMD_COORD_LANE_MESSAGES + 100) / (double)RATE + 2);
    done(w);
}

/* What came before it at the node, and one lease of the great one each time it is its turn: 800 + 200 + 50. */
static void fifty_behind_millions_are_not_buried(void **state) {
    (void)state;
    struct cw *w = world(0);
    struct rmd_id great = great_queue(w);
    assert_true(until(w, &great, 1000) < 60);
    struct rmd_id small = cw_submit(w, "bulk", google, 50, 0);
    double s = until(w, &small, 50);
    print_message("  50 beside %llu: %.1f s\n", (unsigned long long)waits(w, &great), s);
    assert_true(s <= (RMD_COORD_LANE_MESSAGES + RMD_COORD_LEASE_MESSAGES + 50) / (double)RATE + 2);
    done(w);
}

/* Transactional mail without an end, in big and in single-recipient campaigns: bulk mail gets its ninth. */
static void bulk_never_starves(void **state) {
    (void)state;
    for (int single = 0; single < 2; single++) {
        struct cw *w = world(0);
        struct rmd_id bulk = cw_submit(w, "bulk", google, 20000, 0);
        uint32_t n = 0;
        if (!single)
            cw_submit(w, "urgent", google, 50000, 0);
        for (int i = 0; single && i < 400; i++)
            cw_submit(w, "urgent", google, 1, n++);
        cw_pass(w, 1000, STEP_MS);
        uint64_t before = delivered(w, &bulk), all = 0;
        for (int64_t t = 0; t < (single ? 60 : 600) * 1000; t += STEP_MS) {
            for (unsigned i = 0; single && i < RATE * STEP_MS / 1000; i++)
                cw_submit(w, "urgent", google, 1, n++); /* as many as the receiver takes */
            cw_pass(w, STEP_MS, STEP_MS);
            cw_answer_some(w, &w->node[0], RATE * STEP_MS / 1000);
            all += RATE * STEP_MS / 1000;
        }
        assert_true((delivered(w, &bulk) - before) * 9 >= all * 95 / 100);
        done(w);
    }
}

/* A tenth of the lane's cap is kept: bulk mail spends the rest, and transactional mail still goes on the same day. */
static void a_share_of_the_cap_is_kept(void **state) {
    (void)state;
    struct cw *w = world(1000);
    struct rmd_id bulk = cw_submit(w, "bulk", google, 5000, 0);
    until(w, &bulk, 900);
    for (int i = 0; i < 100; i++) {
        cw_pass(w, STEP_MS, STEP_MS);
        cw_answer_some(w, &w->node[0], 100);
    }
    assert_int_equal(delivered(w, &bulk), 900);
    struct rmd_id urgent = cw_submit(w, "urgent", google, 100, 0);
    assert_true(until(w, &urgent, 100) <= 100 / RATE + 2);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_pass_millions),
        cmocka_unit_test(fifty_behind_millions_are_not_buried),
        cmocka_unit_test(bulk_never_starves),
        cmocka_unit_test(a_share_of_the_cap_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
