/* The usual in stories: small volumes to one lane, more than usual to all, and nobody pushed while others rest (usual.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { MIN = 60000, HOUR = 60 * MIN, DAY = 24 * HOUR, SOURCES = 4, FLOOR = 100 };
static const char *const address[SOURCES] = {"203.0.113.7", "198.51.100.7", "192.0.2.7", "192.0.2.8"};
static const char *const node_name[SOURCES] = {"n1", "n2", "n3", "n4"};
static const char *const google[] = {"g.test", NULL};

struct stage {
    struct cw w;
    struct cw_node *node[SOURCES];
    uint32_t source[SOURCES];
    size_t from; /* recipients before the present count */
};

static struct stage *build(uint32_t percent, uint32_t without) {
    struct stage *x = rmd_alloc(sizeof *x);
    struct cw *w = &x->w;
    cw_init(w, 3);
    w->o.without = without;
    w->o.usual = (struct rmd_usual_settings){.percent = percent, .floor = FLOOR};
    cw_crash(w, false); /* with these settings */
    Remuda__StreamRecord urgent = REMUDA__STREAM_RECORD__INIT, bulk = REMUDA__STREAM_RECORD__INIT;
    bulk.priority = 2;
    bulk.age_limit_ms = 30ll * DAY;
    cw_stream(w, "bulk", &bulk);
    cw_stream(w, "urgent", &urgent);
    for (int i = 0; i < SOURCES; i++) {
        x->node[i] = cw_node_add(w, node_name[i]);
        x->source[i] = cw_source(w, address[i], node_name[i], 0);
    }
    return x;
}

static void tear_down(struct stage *x) {
    cw_release(&x->w);
    free(x);
}

static void begin(struct stage *x) {
    x->from = x->w.n_rcpts;
}

/* Sent since begin(), by each source; how many sources sent anything. */
static size_t count(const struct stage *x, size_t n[SOURCES]) {
    size_t used = 0;
    for (int s = 0; s < SOURCES; s++) {
        n[s] = 0;
        for (size_t i = x->from; i < x->w.n_rcpts; i++)
            n[s] += x->w.rcpt[i].source == x->source[s];
        used += n[s] > 0;
    }
    return used;
}

static size_t most(const size_t n[SOURCES]) {
    size_t m = 0;
    for (int s = 0; s < SOURCES; s++)
        m = n[s] > m ? n[s] : m;
    return m;
}

static size_t all(const size_t n[SOURCES]) {
    return n[0] + n[1] + n[2] + n[3];
}

static void send(struct stage *x, const char *stream, uint32_t n, size_t by[SOURCES]) {
    begin(x);
    cw_submit(&x->w, stream, google, n, (uint32_t)x->w.n_rcpts);
    cw_pass(&x->w, 2 * MIN, 500);
    count(x, by);
}

static void on_queue(void *ctx, const struct rmd_queue_view *q) {
    char *out = ctx;
    if (strcmp(q->provider, "google") == 0 && strcmp(q->stream, "bulk") == 0)
        (void)rmd_copy(out, 200, q->waits_for);
}
static void waits_for(struct stage *x, const char *words) {
    char text[200] = "";
    rmd_coord_queues(x->w.core, on_queue, text);
    if (!strstr(text, words))
        fail_msg("waits for \"%s\", not \"%s\"", text, words);
}

static void explained(struct cw *w, const char *words) {
    struct rmd_buf b = {0};
    rmd_coord_explain(w->core, 1, 1, NULL, "g.test", &b);
    if (!strstr(rmd_buf_str(&b), words))
        fail_msg("explain doesn't say \"%s\":\n%s", words, rmd_buf_str(&b));
    rmd_buf_release(&b);
}

/* {settings, stream, recipients} -> lanes that send, and the most of one */
static void who_shares_what(void **state) {
    (void)state;
    static const struct {
        uint32_t percent, without;
        const char *stream;
        uint32_t n;
        size_t lanes, most;
    } rows[] = {
        {150, 0, "bulk", FLOOR, 1, FLOOR},           /* a small volume: the fewest lanes */
        {150, 0, "bulk", 2 * FLOOR, 2, FLOOR},       /* nobody more than little, while others have none */
        {150, 0, "bulk", 8 * FLOOR, 4, 2 * FLOOR},   /* and what is more by equal steps */
        {150, 0, "bulk", 11 * FLOOR, 4, 4 * FLOOR},  /* the next step, in the order of preference */
        {150, 0, "urgent", 6 * FLOOR, 1, 6 * FLOOR}, /* urgent mail is little, and waits for nobody's habits */
        {0, 0, "bulk", 6 * FLOOR, 1, 6 * FLOOR},     /* an operator who wants none of it */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stage *x = build(rows[i].percent, rows[i].without);
        size_t n[SOURCES];
        send(x, rows[i].stream, rows[i].n, n);
        assert_int_equal(all(n), rows[i].n);
        assert_int_equal(count(x, n), rows[i].lanes);
        assert_int_equal(most(n), rows[i].most);
        tear_down(x);
    }
}

/* The lane that comes first takes half as much again as on its busiest day, day after day: a growing volume stays on one lane. It is
 * remembered over restarts, and forgotten after a week. */
static void a_habit_grows_with_the_days(void **state) {
    (void)state;
    struct stage *x = build(150, 0);
    uint32_t n = FLOOR;
    size_t by[SOURCES];
    for (int day = 0; day < 5; day++) {
        send(x, "bulk", n, by);
        assert_int_equal(all(by), n);
        assert_int_equal(count(x, by), 1);
        if (day == 2)
            cw_crash(&x->w, false);
        cw_pass(&x->w, DAY - 2 * MIN, 600000);
        n = n * 150 / 100;
    }
    send(x, "bulk", n + FLOOR, by); /* more than that at once is shared */
    assert_in_range(most(by), n - FLOOR, n + 5);
    assert_true(count(x, by) > 1);
    cw_pass(&x->w, 9 * (int64_t)DAY, 3600000);
    send(x, "bulk", 4 * FLOOR, by);
    assert_int_equal(most(by), FLOOR);
    tear_down(x);
}

/* ---------------------------------------------------------------- lanes that rest */

static void rest(struct stage *x, int i, int64_t ms) {
    struct rmd_verdict v = {.class = RMD_CLASS_RATE_LIMITED,
                            .scope = RMD_SCOPE_LANE,
                            .at_provider = true,
                            .action = RMD_ACTION_REST,
                            .duration_ms = ms,
                            .rule = "rest"};
    cw_alarm(&x->w, x->node[i], x->source[i], rmd_provider_id("google"), &v, 1);
    cw_run(&x->w);
}

/* One of four is throttled: the others take what is usual for them, and the rest of the mail waits until it is back. */
static void nobody_is_pushed_while_others_rest(void **state) {
    (void)state;
    struct stage *x = build(150, 0);
    size_t n[SOURCES];
    rest(x, 0, HOUR);
    send(x, "bulk", 5 * FLOOR, n);
    assert_int_equal(n[0], 0);
    assert_int_equal(all(n), 3 * FLOOR);
    waits_for(x, "waits for lanes that rest");
    explained(&x->w, "waits for lanes that rest");
    explained(&x->w, "nothing is known of what it usually sends");
    cw_pass(&x->w, HOUR, 5000);
    count(x, n);
    assert_int_equal(all(n), 5 * FLOOR);
    assert_true(n[0] >= FLOOR);
    tear_down(x);
}

/* It was throttled at twice what is usual: so far the others may go as well. */
static void as_far_as_those_that_rest_had_gone(void **state) {
    (void)state;
    struct stage *x = build(150, 0);
    size_t n[SOURCES];
    send(x, "bulk", 6 * FLOOR, n); /* 200 of one lane, or of two, and 100 of the others */
    int a = n[0] == 2 * FLOOR ? 0 : n[1] == 2 * FLOOR ? 1 : n[2] == 2 * FLOOR ? 2 : 3;
    assert_int_equal(n[a], 2 * FLOOR);
    rest(x, a, HOUR);
    begin(x);
    cw_submit(&x->w, "bulk", google, 30 * FLOOR, 100000);
    cw_pass(&x->w, 2 * MIN, 500);
    size_t more[SOURCES];
    count(x, more);
    for (int i = 0; i < SOURCES; i++)
        assert_int_equal(n[i] + more[i], i == a ? 2 * FLOOR : 4 * FLOOR);
    tear_down(x);
}

/* What must be there soon, what is urgent, and one lane of many. */
static void not_everything_waits_for_a_rest(void **state) {
    (void)state;
    struct stage *x = build(150, 0);
    size_t n[SOURCES];
    rest(x, 0, HOUR);
    send(x, "urgent", 5 * FLOOR, n);
    assert_int_equal(all(n), 5 * FLOOR);
    tear_down(x);
    x = build(0, 0);
    rest(x, 0, HOUR);
    send(x, "bulk", 5 * FLOOR, n);
    assert_int_equal(all(n), 5 * FLOOR);
    tear_down(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_shares_what),
        cmocka_unit_test(a_habit_grows_with_the_days),
        cmocka_unit_test(nobody_is_pushed_while_others_rest),
        cmocka_unit_test(as_far_as_those_that_rest_had_gone),
        cmocka_unit_test(not_everything_waits_for_a_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
