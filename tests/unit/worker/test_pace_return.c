/* Stories of a lane's pace over a longer time: it comes back gradually after rests and idleness, goes on as it went before its node restarted, and is
 * told. */
#include "node/core/pacer.h"
#include "tests/unit/worker/world.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE };

/* Starts a minute from `from` on. */
static size_t sent_since(const struct world *x, int64_t from) {
    size_t n = 0;
    for (size_t i = 0; i < x->mail_n; i++)
        n += x->mail_at[i] >= from;
    return n;
}

static void a_part_of_the_former_pace(void **state) {
    (void)state;
    static const struct {
        uint32_t ceiling, busiest, slowed, then;
    } rows[] = {
        {0, 1000, 0, 250},   /* its busiest minute */
        {600, 1000, 0, 150}, /* within the ceiling */
        {0, 1000, 400, 100}, /* what verdicts left of it */
        {0, 100, 0, 60},     /* never under the least that is worth it */
        {0, 40, 0, 0},       /* nothing worth remembering: as a new lane */
        {0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_pacer p = {.busiest = rows[i].busiest, .slowed = rows[i].slowed};
        rmd_pacer_ceiling(&p, rows[i].ceiling);
        rmd_pacer_return(&p, 10 * HOUR);
        assert_int_equal(p.slowed, rows[i].then);
    }
}

static void steps_are_small_where_little_is_borne(void **state) {
    (void)state;
    struct rmd_pacer p = {.slowed = 80, .peak = 8000};
    for (int i = 0; i < 80; i++)
        rmd_pacer_success(&p, 1000);
    assert_int_equal(p.slowed, 90); /* an eighth of it; a twentieth of 8,000 would be five times as much */
}

static void a_lane_that_was_idle_comes_back_gradually(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 1200, .rate = 600});
    world_run(x, 3 * MINUTE);
    assert_int_equal(x->outcomes, 1200);
    world_run(x, 2 * HOUR);
    x->max_conns = x->conns_now;
    int64_t began = x->now;
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 1200, .rate = 600});
    world_run(x, 5000);
    assert_int_equal(x->max_conns, 1); /* one, to begin with */
    assert_int_equal(x->pace.connections, 1);
    assert_true(x->pace.slowed);
    world_run(x, 55000);
    assert_in_range(sent_since(x, began), 140, 170); /* a quarter of 600 in the first minute */
    world_run(x, 20 * MINUTE);
    assert_int_equal(x->outcomes, 2400);
    assert_true(x->pace.per_minute > 200); /* and it has risen */
    world_free(x);
}

static void a_short_pause_changes_nothing(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 600, .rate = 600});
    world_run(x, 10 * MINUTE);
    int64_t began = x->now;
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 600, .rate = 600});
    world_run(x, MINUTE);
    assert_in_range(sent_since(x, began), 590, 601);
    world_free(x);
}

static const char *says_once(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    static const char *const words[] = {"", "421 4.7.0 rest please\r\n", "421 4.7.0 slow down\r\n"};
    if (strncmp(l, "RCPT", 4) != 0 || !x->flag || x->mail_n < (size_t)x->count)
        return NULL;
    const char *say = words[x->flag];
    x->flag = 0;
    return say;
}

static void after_a_rest_with_one_connection(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = says_once;
    x->flag = 1;
    x->count = 900;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 1000, .rate = 600});
    world_run(x, 2 * MINUTE);
    assert_true(x->pace.rest_ms > 0); /* and the rest is told */
    size_t before = x->mail_n;
    world_run(x, 10 * MINUTE);
    assert_int_equal(x->mail_n, before);
    x->max_conns = x->conns_now;
    int64_t began = x->now;
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 1000, .rate = 600});
    world_run(x, 5000);
    assert_int_equal(x->max_conns, 1);
    world_run(x, 55000);
    assert_in_range(sent_since(x, began), 55, 90); /* halved by the verdict, and a quarter of that */
    world_free(x);
}

/* The pace that a node forgot when it restarted comes with the lane's first leases, and for a minute only. */
static void it_goes_on_as_before_a_restart(void **state) {
    (void)state;
    static const struct {
        int64_t after_ms;
        bool taken;
    } rows[] = {{0, true}, {30000, true}, {2 * MINUTE, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *x = world_ready();
        world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 1, .rate = 6000});
        world_run(x, rows[i].after_ms);
        int64_t began = x->now;
        world_lease(
            x, (struct world_lease){
                   .id = 2, .provider = "big", .domain = "big.test", .n = 600, .rate = 6000, .pace = 90, .width = 1});
        world_run(x, MINUTE);
        if (rows[i].taken)
            assert_in_range(sent_since(x, began), 85, 92);
        else
            assert_int_equal(sent_since(x, began), 600);
        assert_int_equal(x->pace.slowed, rows[i].taken);
        world_free(x);
    }
}

static const char *pushes_back(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    return !strncmp(l, "RCPT", 4) && x->count++ % 2 ? "421 4.7.0 slow down\r\n" : NULL;
}

static void pace_is_told_when_it_changes_and_not_more_often_than_once_a_second(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 400, .rate = 1200});
    world_run(x, 30000);
    assert_in_range(x->pace.n, 1, 8);
    assert_false(x->pace.slowed);
    assert_true(x->pace.fresh);
    assert_int_equal(x->pace.in_use, 0);
    size_t told = x->pace.n;
    world_run(x, HOUR / 2);
    assert_int_equal(x->pace.n, told); /* nothing happened */
    x->answer = pushes_back;
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 40, .rate = 1200});
    world_run(x, 10000);
    assert_in_range(x->pace.n - told, 1, 11);
    assert_true(x->pace.slowed && x->pace.per_minute && x->pace.per_minute < 1200);
    assert_true(x->pace.deferred_permille > 10);
    told = x->pace.n;
    struct world_policy p;
    world_policy_init(&p);
    world_policy(x, &p); /* a new session begins with one: all is told again */
    world_run(x, 6000);
    assert_true(x->pace.n > told);
    world_free(x);
}

static void of_other_the_slowest_sites_are_told(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = pushes_back;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 40, .domains = 5});
    world_run(x, 10000);
    assert_int_equal(x->pace.sites, 3); /* at most */
    assert_true(x->pace.site_per_minute);
    assert_non_null(strstr(x->pace.site, "small.test"));
    assert_false(x->pace.slowed); /* the sites of "other" have nothing to do with each other */
    world_free(x);
}

/* A receiver that bears two a second; each push beyond costs it a twentieth of its patience, and a second gives a hundredth back. */
static struct {
    int64_t bears_ppm, room_ppm, at_ms;
    size_t accepted, refused;
} patience;

static const char *is_patient(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    const int64_t ppm = 1000000, full = 2 * ppm, least = ppm / 2;
    if (strncmp(l, "RCPT", 4) != 0)
        return NULL;
    int64_t gone = x->now - patience.at_ms;
    patience.at_ms = x->now;
    gone = gone < 1000 ? gone : 1000;
    patience.bears_ppm += full / 100 * gone / 1000;
    patience.bears_ppm = patience.bears_ppm < full ? patience.bears_ppm : full;
    patience.room_ppm += patience.bears_ppm * gone / 1000;
    patience.room_ppm = patience.room_ppm < 2 * full ? patience.room_ppm : 2 * full;
    if (patience.room_ppm >= ppm) {
        patience.room_ppm -= ppm;
        patience.accepted++;
        return NULL;
    }
    patience.bears_ppm -= patience.bears_ppm / 20;
    patience.bears_ppm = patience.bears_ppm > least ? patience.bears_ppm : least;
    patience.refused++;
    return "421 4.7.0 slow down\r\n";
}

/* For three hours there is always work: the lane finds what is borne, tries for more now and then, and is seldom refused. */
static void the_lane_finds_what_is_borne_and_stays_there(void **state) {
    (void)state;
    struct world *x = world_ready();
    memset(&patience, 0, sizeof patience);
    x->answer = is_patient;
    uint64_t id = 0;
    size_t given = 0, refused[2] = {0}, accepted[2] = {0};
    for (int minute = 0; minute < 180; minute++) {
        while (given < x->outcomes + 400) {
            world_lease(
                x, (struct world_lease){.id = ++id, .provider = "big", .domain = "big.test", .n = 200, .rate = 6000});
            given += 200;
        }
        world_run(x, MINUTE);
        accepted[minute / 90] += patience.accepted;
        refused[minute / 90] += patience.refused;
        patience.accepted = patience.refused = 0;
    }
    assert_true(refused[0] && refused[1]);                   /* it goes on trying for more, */
    assert_true(refused[1] * 20 < accepted[1] + refused[1]); /* and less than one in twenty is deferred */
    assert_true(accepted[1] > 90 * 60); /* at more than half of what the receiver bears at best */
    world_free(x);
}

/* Measurements leave pace out: then nothing is slowed, and nothing comes back gradually. */
static void without_pace_nothing_is_learned(void **state) {
    (void)state;
    struct world *x = world_new(20);
    rmd_worker_free(x->w);
    x->w = rmd_worker_new(&(struct rmd_worker_options){.workers = 1,
                                                       .sign = rmd_sign_fake(),
                                                       .rules = x->rules,
                                                       .seed = 7,
                                                       .connection_limit = 20,
                                                       .timeouts = rmd_smtp_timeouts_rfc5321,
                                                       .without_pace = true});
    struct world_policy p;
    world_policy_init(&p);
    world_policy(x, &p);
    world_template(x, false);
    world_valid(x, x->now + 86400000);
    x->answer = pushes_back;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 400});
    world_run(x, 10000);
    assert_int_equal(x->outcomes, 400);
    assert_false(x->pace.slowed);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_of_the_former_pace),
        cmocka_unit_test(steps_are_small_where_little_is_borne),
        cmocka_unit_test(a_lane_that_was_idle_comes_back_gradually),
        cmocka_unit_test(a_short_pause_changes_nothing),
        cmocka_unit_test(after_a_rest_with_one_connection),
        cmocka_unit_test(it_goes_on_as_before_a_restart),
        cmocka_unit_test(pace_is_told_when_it_changes_and_not_more_often_than_once_a_second),
        cmocka_unit_test(of_other_the_slowest_sites_are_told),
        cmocka_unit_test(the_lane_finds_what_is_borne_and_stays_there),
        cmocka_unit_test(without_pace_nothing_is_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
