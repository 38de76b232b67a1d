/* Stories of single sites of "other" that refuse a source: they stop alone. */
#include "tests/unit/worker/world.h"

static const char *liar_greets(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    return !strcmp(l, "GREETING") && c->to.b[3] == 9 ? "554 5.7.1 blocked using list.test\r\n" : NULL;
}

static bool ninth(struct world *x, const char *name, struct rmd_addr_answer *a) {
    (void)x;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {93, 0, 0, strstr(name, "small") ? 9 : 8}};
    return true;
}

/* The receivers of "other" have nothing to do with each other. */
static void a_site_of_other_stops_itself_alone(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = liar_greets;
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 10});
    world_lease(x, (struct world_lease){.id = 2, .domain = "b.test", .n = 10});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 10);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 10); /* free to move */
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 0);
    assert_int_equal(x->alarms, 1);
    assert_int_equal(x->alarm_action, RMD_ACTION_QUARANTINE);
    assert_string_equal(x->alarm_domain, "small.test");
    assert_true(x->alarm_site != 0);
    size_t dials = x->dials;
    world_lease(x, (struct world_lease){.id = 3, .domain = "small.test", .n = 5});
    world_run(x, 1000);
    assert_int_equal(x->dials, dials);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 15);
    world_lease(x,
                (struct world_lease){.id = 4, .domain = "small.test", .n = 5, .source = 2}); /* not of this source */
    world_run(x, 1000);
    assert_int_equal(x->alarms, 2);
    world_free(x);
}

/* A stream that demands TLS has connections of its own there; the site is the same. */
static void whatever_tls_a_stream_needs(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    x->answer = liar_greets;
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 1});
    world_run(x, 1000);
    assert_int_equal(x->alarms, 1);
    world_policy_init(&p);
    p.stream.tls_required = true;
    world_policy(x, &p);
    size_t dials = x->dials;
    world_lease(x, (struct world_lease){.id = 2, .domain = "small.test", .n = 3});
    world_run(x, 1000);
    assert_int_equal(x->dials, dials);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 4);
    world_free(x);
}

/* Two sites say so within a moment: the coordinator must hear both. */
static const char *all_greet(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return !strcmp(l, "GREETING") ? "554 5.7.1 blocked using list.test\r\n" : NULL;
}

static void each_site_is_an_alarm(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = all_greet;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 10});
    world_settle(x);
    uint64_t site = x->alarm_site;
    world_lease(x, (struct world_lease){.id = 2, .domain = "b.test", .n = 10});
    world_run(x, 1000);
    assert_int_equal(x->alarms, 2);
    assert_true(x->alarm_site != site);
    world_free(x);
}

/* Three connections to the site: one reads the block at RCPT, the others are before their dots. The one to another site goes on. */
static const char *third_rcpt(struct world *x, struct world_conn *c, const char *l) {
    if (c->to.b[3] != 9 || !x->flag)
        return NULL;
    if (!strcmp(l, "DATA"))
        return "!silent";
    return !strncmp(l, "RCPT", 4) && ++x->count == 3 ? "550 5.7.1 blocked using list.test\r\n" : NULL;
}

static void a_site_s_open_transactions_are_aborted(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 40});
    world_run(x, 100);
    size_t before = x->outcomes;
    assert_int_equal(before, 40);
    x->answer = third_rcpt;
    x->flag = 1;
    world_lease(x, (struct world_lease){.id = 2, .domain = "small.test", .n = 12});
    world_lease(x, (struct world_lease){.id = 3, .domain = "b.test", .n = 4});
    world_run(x, 1000);
    assert_true(x->count >= 3);
    assert_int_equal(x->outcomes, before + 16);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 11);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 1); /* it heard the block itself */
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 44);
    size_t mails = x->mail_n;
    world_run(x, 60000);
    assert_int_equal(x->mail_n, mails);
    world_free(x);
}

static void a_site_s_stop_ends_when_a_policy_lifts_it(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    x->answer = liar_greets;
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 1});
    world_run(x, 100);
    x->answer = NULL;
    world_policy_init(&p);
    world_policy(x, &p); /* left before the alarm arrived: lifts nothing */
    world_lease(x, (struct world_lease){.id = 2, .domain = "small.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 2);
    p.source[0].quarantined_site = &x->alarm_site;
    p.source[0].n_quarantined_site = 1;
    world_policy(x, &p);
    world_run(x, 1200000); /* as long as the policy says so */
    world_lease(x, (struct world_lease){.id = 3, .domain = "small.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 3);
    p.quarantined[0] = p.provider[1].id; /* the lane takes it over */
    p.source[0].quarantined_provider = p.quarantined;
    p.source[0].n_quarantined_provider = 1;
    p.source[0].n_quarantined_site = 0;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 4, .domain = "small.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 1);
    p.source[0].n_quarantined_provider = 0;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 5, .domain = "small.test", .n = 1});
    world_run(x, 600000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1);
    world_free(x);
}

/* A process that has just started, with mail for it already there: the policy alone stops the site. */
static void a_policy_stops_a_site(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    x->answer = liar_greets;
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 1});
    world_run(x, 100);
    uint64_t site = x->alarm_site;
    world_free(x);
    x = world_ready();
    x->host = ninth;
    world_policy_init(&p);
    p.source[0].quarantined_site = &site;
    p.source[0].n_quarantined_site = 1;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 4});
    world_lease(x, (struct world_lease){.id = 2, .domain = "b.test", .n = 4});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), 4);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 4);
    world_free(x);
}

/* At the limit of single stops the lane is stopped. */
static void too_many_sites_are_the_lane(void **state) {
    (void)state;
    struct world *x = world_ready();
    char domain[32];
    x->answer = all_greet;
    for (uint64_t i = 0; i <= RMD_WORKER_SITE_STOPS_MAX; i++) {
        rmd_format(domain, sizeof domain, "s%u.test", (unsigned)i);
        world_lease(x, (struct world_lease){.id = i + 1, .domain = domain, .n = 1});
        world_run(x, 10);
    }
    assert_int_equal(x->alarms, RMD_WORKER_SITE_STOPS_MAX + 1);
    x->answer = NULL;
    size_t dials = x->dials;
    world_lease(x, (struct world_lease){.id = 5000, .domain = "b.test", .n = 3});
    world_run(x, 1000);
    assert_int_equal(x->dials, dials);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_site_of_other_stops_itself_alone),
        cmocka_unit_test(whatever_tls_a_stream_needs),
        cmocka_unit_test(each_site_is_an_alarm),
        cmocka_unit_test(a_site_s_open_transactions_are_aborted),
        cmocka_unit_test(a_site_s_stop_ends_when_a_policy_lifts_it),
        cmocka_unit_test(a_policy_stops_a_site),
        cmocka_unit_test(too_many_sites_are_the_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
