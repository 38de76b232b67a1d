/* What a receiver takes an hour: learned from rests that didn't help, kept to, tried for more, and forgotten. */
#include "node/core/pacer.h"
#include "tests/unit/worker/world.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* A receiver of so many an hour, in front of a pacer, and who obeys it. */
struct receiver {
    struct rmd_pacer p;
    int64_t now, at[20000]; /* accepted */
    size_t n;
    size_t refused;
    uint32_t per_hour;
    int64_t rest_ms; /* of its verdict */
};

static bool takes(const struct receiver *r) {
    size_t n = 0;
    for (size_t i = r->n; i > 0 && r->at[i - 1] > r->now - HOUR; i--)
        n++;
    return n < r->per_hour;
}

/* One attempt, as a worker makes it: a refusal that isn't heard rests, any other one slows. */
static void attempt(struct receiver *r) {
    rmd_pacer_take(&r->p, r->now);
    if (takes(r)) {
        r->at[r->n++] = r->now;
        rmd_pacer_success(&r->p, r->now);
        return;
    }
    r->refused++;
    int64_t rest = rmd_pacer_unheard(&r->p, r->now) ? rmd_pacer_rest_ms(&r->p, r->now, r->rest_ms) : 0;
    rmd_pacer_refused(&r->p, r->now);
    rmd_pacer_slow(&r->p, r->now, r->rest_ms);
    if (rest)
        r->p.rest_until_ms = r->now + rest;
}

static void pass(struct receiver *r, int64_t ms, bool work) {
    for (int64_t end = r->now + ms; r->now < end; r->now += 250)
        if (work && rmd_pacer_due_ms(&r->p, r->now) <= r->now)
            attempt(r);
}

static void it_is_learned_kept_to_and_tried_for_more(void **state) {
    (void)state;
    struct receiver *r = rmd_alloc(sizeof *r);
    *r = (struct receiver){.now = DAY, .per_hour = 60, .rest_ms = 30 * MINUTE};
    pass(r, 5 * HOUR, true);
    assert_in_range(rmd_pacer_hour(&r->p, r->now), 58, 60);
    assert_in_range(r->refused, 3, 6); /* the first steps down, and the rests that didn't help */
    /* A day later it knows. */
    pass(r, 18 * HOUR, false);
    size_t before = r->n;
    r->refused = 0;
    pass(r, 50 * MINUTE, true);
    assert_in_range(r->n - before, 58, 60);
    assert_int_equal(r->refused, 0);
    /* In a day of work it tries for more, once in a while, and hears that there is none. */
    before = r->n;
    pass(r, 2 * DAY, true);
    assert_true(r->n - before > 40 * 60);
    assert_true(r->refused * 100 < r->n - before);
    /* The receiver takes more now: an eighth more an hour. */
    r->per_hour = 240;
    pass(r, DAY + 16 * HOUR, true);
    assert_in_range(rmd_pacer_hour(&r->p, r->now), 150, 270);
    /* What nobody used up for a week is forgotten. */
    pass(r, 7 * (int64_t)DAY, false);
    assert_int_equal(rmd_pacer_hour(&r->p, r->now), 0);
    free(r);
}

/* A burst that a receiver doesn't like, and a rest that helps, tell nothing about an hour: nor do a few messages, or silences of seconds. */
static void what_says_nothing_about_an_hour(void **state) {
    (void)state;
    static const struct {
        uint32_t accepted, rests;
        int64_t apart_ms;
        uint32_t hour;
    } rows[] = {{50, 1, 10 * MINUTE, 0}, {50, 2, 10 * MINUTE, 50}, {50, 3, 10 * MINUTE, 50}, {9, 2, 10 * MINUTE, 0},
                {0, 3, 10 * MINUTE, 0},  {50, 2, 4 * MINUTE, 0},   {50, 5, 10000, 0},        {50, 2, 5 * MINUTE, 50}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_pacer p = {0};
        int64_t now = DAY;
        for (uint32_t k = 0; k < rows[i].accepted; k++, now += 10) {
            rmd_pacer_take(&p, now);
            rmd_pacer_success(&p, now);
        }
        for (uint32_t k = 0; k < rows[i].rests; k++, now += rows[i].apart_ms) {
            rmd_pacer_take(&p, now);
            (void)rmd_pacer_rest_ms(&p, now, 10 * MINUTE);
            rmd_pacer_refused(&p, now);
            rmd_pacer_slow(&p, now, 10 * MINUTE);
        }
        rmd_pacer_take(&p, now);
        rmd_pacer_success(&p, now);
        assert_int_equal(rmd_pacer_hour(&p, now), rows[i].hour);
    }
}

/* With many connections, those that were under way are refused with the first: they aren't what the receiver takes. */
static void what_was_under_way_isnt_counted(void **state) {
    (void)state;
    struct rmd_pacer p = {0};
    int64_t now = DAY;
    for (int i = 0; i < 45; i++)
        rmd_pacer_take(&p, now + i);
    for (int i = 0; i < 40; i++)
        rmd_pacer_success(&p, now + 100);
    for (int i = 0; i < 5; i++) {
        (void)rmd_pacer_rest_ms(&p, now + 200 + i, 10 * MINUTE);
        rmd_pacer_refused(&p, now + 200 + i);
    }
    now += 10 * MINUTE + 200;
    rmd_pacer_take(&p, now);
    (void)rmd_pacer_rest_ms(&p, now, 10 * MINUTE);
    rmd_pacer_refused(&p, now);
    assert_int_equal(rmd_pacer_hour(&p, now), 40);
}

/* The node forgot it when it restarted: the lane's first lease brings it back, and the node tells it. */
static void a_lease_brings_it_back(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1,
                                        .provider = "big",
                                        .domain = "big.test",
                                        .n = 100,
                                        .rate = 6000,
                                        .pace = 90,
                                        .width = 1,
                                        .per_hour = 30});
    world_run(x, 50 * MINUTE);
    assert_int_equal(x->outcomes, 30);
    assert_int_equal(x->pace.per_hour, 30);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_learned_kept_to_and_tried_for_more),
        cmocka_unit_test(what_says_nothing_about_an_hour),
        cmocka_unit_test(what_was_under_way_isnt_counted),
        cmocka_unit_test(a_lease_brings_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
