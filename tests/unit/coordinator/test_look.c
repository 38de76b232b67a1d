/* What the scheduler needn't look at: lanes that said no, and lanes that found nothing, until there are news of them (look.c); and
 * what waits doesn't keep other work from being read (queue.c). Each story is told with every lane looked at in each step, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "tests/kit/coord_world.h"

static const char *const g_test[] = {"g.test", NULL}, *const y_test[] = {"y.test", NULL};

/* Nodes of ten sources each, every node on its own network. */
static struct cw *world(bool look_all, unsigned sources, uint64_t lane_cap) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 1);
    w->o.look_from = look_all ? UINT32_MAX : 1;
    cw_crash(w, false); /* the core begins anew with that */
    Remuda__StreamRecord bulk = REMUDA__STREAM_RECORD__INIT;
    bulk.priority = 2;
    cw_stream(w, "bulk", &bulk);
    for (unsigned i = 0; i < sources; i++) {
        char node[16], address[32];
        rmd_format(node, sizeof node, "n%u", i / 10);
        rmd_format(address, sizeof address, "20.0.%u.%u", i / 10, i % 10 + 1);
        if (i % 10 == 0)
            cw_node_add(w, node);
        cw_source(w, address, node, lane_cap);
    }
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static uint64_t delivered(struct cw *w, struct rmd_id id) {
    return cw_campaign(w, &id, NULL)->delivered;
}

static void caps_that_free_are_used(bool look_all) {
    struct cw *w = world(look_all, 20, 30);
    struct rmd_id id = cw_submit(w, "bulk", g_test, 900, 0);
    cw_pass(w, 60000, 1000);
    assert_int_equal(delivered(w, id), 600);
    cw_pass(w, 23 * 3600000, 60000);
    assert_int_equal(delivered(w, id), 600);
    cw_pass(w, 3600000 + 2 * RMD_LEDGER_BUCKET_MS, 10000);
    assert_int_equal(delivered(w, id), 900);
    done(w);
}

/* A lane that was full gets more as soon as it reports. */
static void a_report_is_news_of_its_lane(bool look_all) {
    struct cw *w = world(look_all, 3, 0);
    w->node[0].holds = true;
    struct rmd_id id = cw_submit(w, "bulk", g_test, 4000, 0);
    cw_pass(w, 3000, 500);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    uint64_t most = 3 * RMD_COORD_LANE_MESSAGES;
    assert_in_range(v.leased, most, most + 3 * RMD_COORD_LEASE_MESSAGES);
    cw_answer_some(w, &w->node[0], 450); /* of one lane, which has the oldest leases */
    cw_run(w);
    cw_campaign(w, &id, &v);
    assert_int_equal(delivered(w, id), 450);
    assert_in_range(v.leased, most, most + 3 * RMD_COORD_LEASE_MESSAGES);
    w->node[0].holds = false;
    cw_answer_all(w, &w->node[0]);
    cw_pass(w, 5000, 500);
    assert_int_equal(delivered(w, id), 4000);
    done(w);
}

static void greylists_once(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                           Remuda__Outcome *o) {
    (void)w, (void)n;
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->email[i], email) == 0 && !l->attempt[i])
            cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_RECIPIENT,
                            false);
}

/* Each campaign finds the lanes before its own full: their room is kept for retries. */
static void retries_go_to_their_own_lane(bool look_all) {
    struct cw *w = world(look_all, 20, 200);
    struct rmd_id id[3];
    w->answer = greylists_once;
    for (unsigned i = 0; i < 3; i++) {
        id[i] = cw_submit(w, "bulk", g_test, 100, 100 * i);
        cw_pass(w, 1000, 200);
    }
    cw_pass(w, 3600000, 1000);
    assert_int_equal(delivered(w, id[0]) + delivered(w, id[1]) + delivered(w, id[2]), 300);
    assert_int_equal(w->n_rcpts, 600);
    assert_int_not_equal(w->rcpt[0].source, w->rcpt[299].source);
    for (size_t i = 0; i < w->n_rcpts; i++)
        for (size_t k = i + 1; k < w->n_rcpts; k++)
            if (strcmp(w->rcpt[i].email, w->rcpt[k].email) == 0)
                assert_int_equal(w->rcpt[i].source, w->rcpt[k].source);
    done(w);
}

static void a_lane_that_opens_gets_what_waits(bool look_all) {
    struct cw *w = world(look_all, 1, 0);
    struct rmd_verdict blocked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                  .scope = RMD_SCOPE_SOURCE,
                                  .at_provider = true,
                                  .action = RMD_ACTION_REST,
                                  .duration_ms = 1800000,
                                  .rule = "test"};
    cw_alarm(w, &w->node[0], 1, rmd_provider_id("google"), &blocked, 1);
    cw_run(w);
    struct rmd_id id = cw_submit(w, "bulk", g_test, 50, 0);
    cw_pass(w, 1790000, 1000);
    assert_int_equal(delivered(w, id), 0);
    cw_pass(w, 3600000, 1000);
    assert_int_equal(delivered(w, id), 50);
    done(w);
}

/* Seventy campaigns wait for the day's cap at a provider, each with as much as may be read ahead; one to another provider
 * comes after them. */
static void what_waits_keeps_nothing_from_being_read(bool look_all) {
    struct cw *w = world(look_all, 1, 1);
    w->row_bytes = 110000; /* a row a chunk */
    for (unsigned i = 0; i < 70; i++)
        cw_submit(w, "bulk", g_test, RMD_COORD_WINDOW_CHUNKS, 10 * i);
    cw_pass(w, 5000, 500);
    w->row_bytes = 0;
    struct rmd_id id = cw_submit(w, "bulk", y_test, 1, 0);
    cw_pass(w, 5000, 500);
    assert_int_equal(delivered(w, id), 1);
    done(w);
}

#define BOTH(story)                      \
    static void story##_(void **state) { \
        (void)state;                     \
        story(false);                    \
        story(true);                     \
    }
BOTH(caps_that_free_are_used)
BOTH(a_report_is_news_of_its_lane)
BOTH(retries_go_to_their_own_lane)
BOTH(a_lane_that_opens_gets_what_waits)
BOTH(what_waits_keeps_nothing_from_being_read)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caps_that_free_are_used_),
        cmocka_unit_test(a_report_is_news_of_its_lane_),
        cmocka_unit_test(retries_go_to_their_own_lane_),
        cmocka_unit_test(a_lane_that_opens_gets_what_waits_),
        cmocka_unit_test(what_waits_keeps_nothing_from_being_read_),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
