/* The pacer's guarantee, and what it and the pump do to many lanes and sites. */
#include "node/core/mxplan.h"
#include "node/core/pacer.h"
#include "tests/unit/worker/world.h"

enum { STARTS_MAX = 400000 };

/* As many starts as it allows, asked every `step` ms (at random within it); in no minute more than the rate, and not
 * far below. */
static void in_no_minute_more_than_the_rate(void **state) {
    (void)state;
    static const struct {
        uint32_t rate;
        int64_t step;
    } rows[] = {{1, 1}, {1, 7000}, {7, 13}, {60, 1}, {60, 999}, {600, 3}, {6000, 1}, {90000, 1}, {100000, 2}};
    static int64_t at[STARTS_MAX];
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 1);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct rmd_pacer p = {0};
        size_t n = 0, from = 0;
        int64_t now = 5000, end = now + 180000;
        rmd_pacer_ceiling(&p, rows[r].rate);
        for (; now < end; now += 1 + (int64_t)rmd_rng_below(&rng, (uint64_t)rows[r].step)) {
            while (rmd_pacer_due_ms(&p, now) <= now) {
                assert_true(n < STARTS_MAX);
                rmd_pacer_take(&p, now);
                at[n++] = now;
                while (now - at[from] >= 60000)
                    from++;
                assert_true(n - from <= rows[r].rate);
            }
            assert_true(rmd_pacer_due_ms(&p, now) > now);
        }
        if (rows[r].step == 1)
            assert_true(n + 3 >= (size_t)rows[r].rate * 3 * 59 / 60);
    }
}

static void it_halves_at_once_and_rises_slowly(void **state) {
    (void)state;
    struct rmd_pacer p = {0};
    rmd_pacer_ceiling(&p, 600);
    for (int64_t now = 0; now < 60000; now += 100)
        if (rmd_pacer_due_ms(&p, now) <= now)
            rmd_pacer_take(&p, now);
    rmd_pacer_slow(&p, 60000, 10000);
    uint32_t first = rmd_pacer_rate(&p);
    assert_in_range(first, 200, 300);
    for (int i = 0; i < 5; i++)
        rmd_pacer_slow(&p, 60999, 0); /* the other connections hear it too */
    assert_int_equal(rmd_pacer_rate(&p), first);
    rmd_pacer_slow(&p, 61000, 0);
    assert_in_range(rmd_pacer_rate(&p), first / 2 - 1, first / 2);
    for (int i = 0; i < 1000; i++)
        rmd_pacer_success(&p, 69999);
    assert_in_range(rmd_pacer_rate(&p), first / 2 - 1, first / 2); /* held */
    uint32_t last = rmd_pacer_rate(&p), steps = 0;
    for (int i = 0; i < 100000 && p.slowed; i++) {
        rmd_pacer_success(&p, 70000);
        uint32_t rate = rmd_pacer_rate(&p);
        assert_true(rate >= last && rate - last <= 30);
        steps += rate > last;
        last = rate;
    }
    assert_int_equal(last, 600);
    assert_true(steps >= 10);
}

static void a_young_lane_is_halved_from_its_pace(void **state) {
    (void)state;
    struct rmd_pacer p = {0};
    for (int i = 0; i < 50; i++)
        rmd_pacer_take(&p, 1000 + i * 10);
    rmd_pacer_slow(&p, 1500, 10000);
    assert_int_equal(rmd_pacer_rate(&p), 1500); /* 50 in its first second, not 50 a minute */
}

static void width_follows(void **state) {
    (void)state;
    struct rmd_width w = {0};
    assert_int_equal(rmd_width_limit(&w, 8), 8);
    rmd_width_slow(&w, 8);
    assert_int_equal(rmd_width_limit(&w, 8), 4);
    rmd_width_slow(&w, 8);
    rmd_width_slow(&w, 8);
    rmd_width_slow(&w, 8);
    assert_int_equal(rmd_width_limit(&w, 8), 1);
    int n = 0;
    for (; w.cap && n < 10000; n++)
        rmd_width_success(&w, 8);
    assert_int_equal(rmd_width_limit(&w, 8), 8);
    assert_true(n >= 20 * (1 + 2 + 3 + 4 + 5 + 6 + 7));
}

static void a_share_is_kept_to_the_message(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 500, .rate = 120});
    world_run(x, 200000);
    size_t n = x->mail_n;
    assert_in_range(n, 395, 401); /* 120 a minute for 200 s */
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        while (k < n && x->mail_at[k] - x->mail_at[i] < 60000)
            k++;
        assert_true(k - i <= 120);
    }
    world_free(x);
}

static void connects_are_paced(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    p.provider[1].connects_per_minute = 6;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 1, .domain = "c.test", .n = 30, .domains = 30});
    world_run(x, 59000);
    assert_in_range(x->dials, 5, 6);
    assert_true(x->pace.connects_bind); /* and it is told that this is what they wait for */
    assert_int_equal(x->pace.connects_per_minute, 6);
    assert_int_equal(x->pace.per_minute, 0);
    world_run(x, 241000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 30);
    world_run(x, 20000);
    assert_false(x->pace.connects_bind);
    world_free(x);
}

static size_t delivered_of(const struct world *x, uint64_t lease) {
    size_t n = 0;
    for (size_t i = 0; i < x->outcomes; i++)
        n += x->outcome[i].lease == lease && x->outcome[i].kind == RMD_OUTCOME_DELIVERED;
    return n;
}

/* A source that is to go at half its pace: half of every ceiling of its lanes, whichever names it, and of no other source's. */
static void half_the_pace_is_half_of_every_ceiling(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    p.provider[0].rate_per_minute = 120;
    p.provider[0].connects_per_minute = 6;
    p.provider[0].connections = 4;
    p.source[0].pace_percent = 50;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 1000});
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 1000, .source = 2});
    world_run(x, 120000);
    assert_in_range(delivered_of(x, 1), 117, 121); /* a lane that began then */
    assert_in_range(delivered_of(x, 2), 235, 241);
    assert_int_equal(x->pace.per_minute, 60);
    assert_int_equal(x->pace.connects_per_minute, 3);
    assert_int_equal(x->pace.connections, 2);
    p.source[0].pace_percent = 0;
    world_policy(x, &p);
    size_t before = delivered_of(x, 1);
    world_run(x, 120000);
    assert_in_range(delivered_of(x, 1) - before, 235, 241);
    p.source[0].pace_percent = 50; /* one that goes already */
    world_policy(x, &p);
    before = delivered_of(x, 1);
    world_run(x, 300000);
    assert_in_range(delivered_of(x, 1) - before, 290, 301);
    assert_int_equal(x->pace.per_minute, 60);
    assert_int_equal(x->pace.connects_per_minute, 3);
    assert_int_equal(x->pace.connections, 2);
    world_lease(x, (struct world_lease){.id = 3, .provider = "big", .domain = "big.test", .n = 10, .rate = 40});
    before = delivered_of(x, 1) + delivered_of(x, 3);
    world_run(x, 120000);
    assert_in_range(delivered_of(x, 1) + delivered_of(x, 3) - before, 38, 41); /* half of its share */
    world_free(x);
}

/* Where nothing is limited, half of what it did lately; from there it rises by itself. */
static void half_the_pace_of_a_lane_without_ceilings(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 600});
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 600, .source = 2});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1200);
    world_policy_init(&p);
    p.source[0].pace_percent = 50;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 3, .provider = "big", .domain = "big.test", .n = 600});
    world_lease(x, (struct world_lease){.id = 4, .provider = "big", .domain = "big.test", .n = 600, .source = 2});
    world_run(x, 1000);
    assert_in_range(delivered_of(x, 3), 295, 305);
    assert_int_equal(delivered_of(x, 4), 600);
    world_run(x, 60000);
    assert_int_equal(delivered_of(x, 3), 600);
    assert_true(x->pace.slowed);
    world_free(x);
}

static const char *slow_dot(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return !strcmp(l, "GREETING") && c->to.b[3] == 9 ? "!silent" : NULL;
}

static bool ninth(struct world *x, const char *name, struct rmd_addr_answer *a) {
    (void)x;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {93, 0, (uint8_t)name[4], strstr(name, "tar.test") ? 9 : 8}};
    return true;
}

static void a_tarpit_holds_up_only_itself(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = slow_dot;
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "tar.test", .n = 50});
    world_lease(x, (struct world_lease){.id = 2, .domain = "good.test", .n = 50});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 50);
    world_free(x);
}

/* One place for connections, two lanes and several sites with plenty of work: everybody gets his turn. */
static void lanes_and_sites_share_one_connection(void **state) {
    (void)state;
    struct world *x = world_new(1);
    struct world_policy p;
    world_policy_init(&p);
    world_policy(x, &p);
    world_template(x, false);
    world_valid(x, x->now + 86400000);
    world_lease(x, (struct world_lease){.id = 1, .domain = "c.test", .n = 300, .domains = 3});
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 300});
    world_run(x, 1000);
    assert_int_equal(x->outcomes, 600);
    assert_int_equal(x->max_conns, 1);
    size_t first[3] = {0}; /* of each lease among the first 200 outcomes */
    for (size_t i = 0; i < 200; i++)
        first[x->outcome[i].lease]++;
    assert_in_range(first[1], 60, 140);
    assert_in_range(first[2], 60, 140);
    world_free(x);
}

static void the_same_seed_does_the_same(void **state) {
    (void)state;
    struct rmd_buf log = {0};
    for (int i = 0; i < 2; i++) {
        struct world *x = world_ready();
        world_lease(x, (struct world_lease){.id = 1, .domain = "c.test", .n = 200, .domains = 17});
        world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 100});
        world_run(x, 60000);
        if (i)
            assert_string_equal(rmd_buf_str(&log), rmd_buf_str(&x->log));
        else
            rmd_buf_add(&log, x->log.p, x->log.len);
        world_free(x);
    }
    assert_true(log.len > 10000);
    rmd_buf_release(&log);
}

static void plans_keep_preference_and_shuffle_within(void **state) {
    (void)state;
    struct rmd_mx mx[4] = {{10, "a"}, {20, "b"}, {20, "c"}, {30, "d"}};
    struct rmd_rng rng;
    struct rmd_mxfail fail = {0};
    int b_first = 0;
    rmd_rng_seed(&rng, 3);
    for (int i = 0; i < 200; i++) {
        struct rmd_mxplan *p = rmd_mxplan_new(mx, 4, &rng);
        struct rmd_mxplan_filter f = {.source = 1, .family = 4, .fail = &fail};
        struct rmd_addr_answer a = {.n = 1, .addr = {{4, {93, 1, 1, 1}}}};
        char order[5] = "";
        for (int k = 0; k < 4; k++) {
            order[k] = rmd_mxplan_host(p)[0];
            rmd_mxplan_addresses(p, &a, &f, &rng);
            assert_non_null(rmd_mxplan_address(p));
            rmd_mxplan_next(p);
        }
        assert_null(rmd_mxplan_host(p));
        assert_true(order[0] == 'a' && order[3] == 'd' && order[1] != order[2]);
        b_first += order[1] == 'b';
        rmd_mxplan_free(p);
    }
    assert_in_range(b_first, 60, 140);
    for (uint32_t i = 0; i < 2 * RMD_MXFAIL_MAX; i++)
        rmd_mxfail_add(&fail, i, &(struct rmd_addr){.family = 4}, 0);
    assert_int_equal(fail.by_key.n, RMD_MXFAIL_MAX);
    rmd_mxfail_release(&fail);
}

static void networks(void **state) {
    (void)state;
    struct rmd_prefix n;
    struct rmd_addr a;
    static const struct {
        const char *net, *addr;
        bool in;
    } rows[] = {{"127.0.0.0/8", "127.9.9.9", true}, {"127.0.0.0/8", "128.0.0.1", false},
                {"10.0.0.0/9", "10.127.0.1", true}, {"10.0.0.0/9", "10.128.0.1", false},
                {"192.0.2.1", "192.0.2.1", true},   {"192.0.2.1", "192.0.2.2", false},
                {"fd00::/8", "fdff::1", true},      {"fd00::/8", "fe80::1", false},
                {"0.0.0.0/0", "2001:db8::1", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(rmd_prefix_parse(rows[i].net, &n), RMD_OK);
        assert_int_equal(rmd_addr_parse(rows[i].addr, &a), RMD_OK);
        assert_int_equal(rmd_prefix_has(&n, &a), rows[i].in);
    }
    assert_true(rmd_prefix_parse("127.0.0.0/33", &n) < 0);
    assert_true(rmd_prefix_parse("x/8", &n) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_no_minute_more_than_the_rate),
        cmocka_unit_test(it_halves_at_once_and_rises_slowly),
        cmocka_unit_test(a_young_lane_is_halved_from_its_pace),
        cmocka_unit_test(width_follows),
        cmocka_unit_test(a_share_is_kept_to_the_message),
        cmocka_unit_test(connects_are_paced),
        cmocka_unit_test(half_the_pace_is_half_of_every_ceiling),
        cmocka_unit_test(half_the_pace_of_a_lane_without_ceilings),
        cmocka_unit_test(a_tarpit_holds_up_only_itself),
        cmocka_unit_test(lanes_and_sites_share_one_connection),
        cmocka_unit_test(the_same_seed_does_the_same),
        cmocka_unit_test(plans_keep_preference_and_shuffle_within),
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
