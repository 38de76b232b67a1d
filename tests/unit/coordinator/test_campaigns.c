/* Many campaigns: small ones are not slowed down by their number, finished ones leave memory and at last the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/keys.h"
#include "tests/kit/coord_world.h"

static const char *const one_domain[] = {"g.test", NULL};

enum { DAY_MS = 24 * 3600 * 1000 };

static struct cw *world(int64_t keep_ms) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    w->o.campaign_keep_ms = keep_ms;
    cw_crash(w, false); /* starts with that */
    cw_stream(w, "bulk", NULL);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static void count_one(void *ctx, const struct rmd_campaign_view *v) {
    size_t *n = ctx;
    (void)v;
    ++*n;
}

static size_t in_memory(struct cw *w) {
    size_t n = 0;
    rmd_coord_campaigns(w->core, count_one, &n);
    return n;
}

static bool count_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)key, (void)value;
    ++*(size_t *)ctx;
    return true;
}

static size_t stored(struct cw *w, char table) {
    struct rmd_key from = rmd_key_table(table), to = rmd_key_table((char)(table + 1));
    struct rmd_scan scan = {.from = rmd_key_slice(&from), .to = rmd_key_slice(&to), .limit = 100000};
    size_t n = 0;
    assert_int_equal(w->store.ops->scan(w->store.s, &scan, count_row, &n), RMD_OK);
    return n;
}

/* Reminders are submitted one by one: a lane holds many of them at once, as it does of one long list. */
static void a_lane_holds_many_small_campaigns(void **state) {
    (void)state;
    struct cw *w = world(0);
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    for (uint32_t i = 0; i < 240; i++)
        cw_submit(w, "bulk", one_domain, 1, i);
    cw_pass(w, 2000, 200);
    assert_int_equal(n->n_leases, 240);
    done(w);
}

/* What is outstanding is bounded by messages, whatever they come from. */
static void a_lane_holds_no_more_of_a_big_one(void **state) {
    (void)state;
    struct cw *w = world(0);
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    cw_submit(w, "bulk", one_domain, 5000, 0);
    cw_pass(w, 2000, 200);
    size_t held = 0;
    for (size_t i = 0; i < n->n_leases; i++)
        held += n->lease[i]->n;
    assert_in_range(held, RMD_COORD_LANE_MESSAGES, RMD_COORD_LANE_MESSAGES + RMD_COORD_LEASE_MESSAGES - 1);
    done(w);
}

static void greylists(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                      Remuda__Outcome *o) {
    (void)w, (void)n;
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->email[i], email) == 0 && !l->attempt[i])
            cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_LANE,
                            false);
    }
}

/* Room in a cap is kept for those that must be tried again from the same source: everybody is greylisted once. */
static void new_recipients_leave_room_for_retries(void **state) {
    (void)state;
    struct cw *w = world(0);
    cw_node_add(w, "n1");
    w->answer = greylists;
    enum { CAP = 4000 };
    cw_source(w, "203.0.113.7", "n1", CAP);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, CAP, 0);
    cw_pass(w, 2 * 3600 * 1000, 5000);
    /* Tried twice, a cap is half as many recipients. What was under way when the first refusals came is over that. */
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, NULL);
    assert_in_range(r->delivered, CAP / 2 - RMD_COORD_LANE_MESSAGES, CAP / 2);
    cw_source(w, "198.51.100.7", "n1", CAP + 4 * RMD_COORD_LANE_MESSAGES);
    cw_pass(w, 2 * 3600 * 1000, 5000);
    r = cw_campaign(w, &id, NULL);
    assert_int_equal(r->delivered, CAP);
    assert_in_range(r->deferrals, CAP, CAP + 2 * RMD_COORD_LANE_MESSAGES);
    done(w);
}

static void finished_campaigns_leave_memory_and_stay_in_the_store(void **state) {
    (void)state;
    struct cw *w = world(0);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    enum { MANY = RMD_COORD_CAMPAIGNS_KEPT + 100 };
    for (uint32_t i = 0; i < MANY; i++) {
        cw_submit(w, "bulk", one_domain, 1, i);
        if (i % 100 == 99)
            cw_pass(w, 2000, 500);
    }
    cw_pass(w, 20000, 500);
    assert_int_equal(in_memory(w), RMD_COORD_CAMPAIGNS_KEPT);
    assert_int_equal(stored(w, 'C'), MANY);
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.delivered, MANY); /* nothing is uncounted */
    cw_crash(w, false);
    cw_pass(w, 20000, 500);
    assert_int_equal(in_memory(w), RMD_COORD_CAMPAIGNS_KEPT);
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.delivered, MANY);
    done(w);
}

/* With its idempotency key, which means nothing any more. What isn't finished stays, however old. */
static void old_campaigns_are_forgotten(void **state) {
    (void)state;
    struct cw *w = world(2 * DAY_MS);
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_id old = cw_submit(w, "bulk", one_domain, 3, 0);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &old, NULL)->state, RMD_CAMPAIGN_DONE);
    n->holds = true;
    struct rmd_id paused = cw_submit(w, "bulk", one_domain, 3, 100);
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE, .tenant = 1, .id = paused, .state = RMD_CAMPAIGN_PAUSED};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_give_back(w, n, NULL, NULL, RMD_RETURN_PAUSED);
    n->holds = false;
    cw_pass(w, DAY_MS, 600000);
    struct rmd_id young = cw_submit(w, "bulk", one_domain, 3, 200);
    cw_pass(w, DAY_MS + 4 * 3600 * 1000, 600000);
    assert_int_equal(stored(w, 'C'), 2);
    assert_int_equal(in_memory(w), 2);
    assert_int_equal(cw_campaign(w, &young, NULL)->delivered, 3);
    assert_int_equal(cw_campaign(w, &paused, NULL)->state, RMD_CAMPAIGN_PAUSED);
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.delivered, 6);
    done(w);
}

static bool has_template(struct cw *w, uint8_t id) {
    uint8_t hash[RMD_HASH_BYTES] = {id};
    struct rmd_key from = rmd_key_template(hash), to = rmd_key_after(&from);
    struct rmd_scan scan = {.from = rmd_key_slice(&from), .to = rmd_key_slice(&to), .limit = 2};
    size_t n = 0;
    assert_int_equal(w->store.ops->scan(w->store.s, &scan, count_row, &n), RMD_OK);
    return n > 0;
}

static struct rmd_id submit_with(struct cw *w, uint8_t template_id, uint32_t first) {
    w->template_id = template_id;
    return cw_submit(w, "bulk", one_domain, 3, first);
}

/* With the last campaign that used it; not while another one does, waits, or is being submitted. */
static void templates_go_with_their_last_campaign(void **state) {
    (void)state;
    enum { ALONE = 1, SHARED, WAITS, HELD, LATE };
    struct cw *w = world(2 * DAY_MS);
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    for (uint8_t t = ALONE; t <= LATE; t++)
        if (t != WAITS)
            submit_with(w, t, t * 10u);
    cw_pass(w, 5000, 500);
    n->holds = true;
    submit_with(w, WAITS, 100);
    cw_pass(w, DAY_MS, 600000);
    submit_with(w, SHARED, 200);
    uint8_t held[RMD_HASH_BYTES] = {HELD};
    rmd_coord_template_hold(w->core, held, true);
    assert_int_equal(stored(w, 'E'), 5);
    cw_pass(w, DAY_MS + 4 * 3600 * 1000, 600000);
    assert_false(has_template(w, ALONE));
    assert_false(has_template(w, LATE));
    assert_true(has_template(w, SHARED));
    assert_true(has_template(w, WAITS));
    assert_true(has_template(w, HELD));
    submit_with(w, LATE, 300); /* again */
    rmd_coord_template_hold(w->core, held, false);
    cw_pass(w, 3 * 3600 * 1000, 600000);
    assert_true(has_template(w, LATE));
    assert_false(has_template(w, HELD));
    done(w);
}

/* A deletion that a crash undid is made again; a campaign that was stored, and that the core never heard of, keeps its template. */
static void a_crash_between_deletions_leaves_nothing_behind(void **state) {
    (void)state;
    struct cw *w = world(2 * DAY_MS);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    for (uint8_t t = 1; t <= 3; t++)
        submit_with(w, t, t * 10u);
    cw_pass(w, DAY_MS, 600000);
    submit_with(w, 4, 100);
    cw_pass(w, DAY_MS - 3600 * 1000, 600000);
    assert_int_equal(stored(w, 'E'), 4);
    for (int i = 0; i < 12; i++) { /* campaigns go, and sometimes what is not synced is lost */
        cw_pass(w, 20 * 60 * 1000, 60000);
        cw_crash(w, false);
        assert_true(has_template(w, 4));
    }
    cw_pass(w, 2 * 3600 * 1000, 60000);
    assert_int_equal(stored(w, 'C'), 1);
    assert_int_equal(stored(w, 'E'), 1);
    done(w);
}

/* Tables of several pages, while campaigns come and go. */
static void many_templates_come_and_go(void **state) {
    (void)state;
    struct cw *w = world(3600 * 1000);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    uint32_t first = 0;
    for (int i = 0; i < 600; i++) /* the tables have several pages */
        submit_with(w, (uint8_t)(1 + i % 250), first += 3);
    for (int i = 0; i < 400; i++) {
        uint8_t t = (uint8_t)(1 + i % 250);
        submit_with(w, t, first += 3);
        cw_pass(w, 30000, 30000);
        assert_true(has_template(w, t));
    }
    cw_pass(w, 4 * 3600 * 1000, 60000);
    assert_int_equal(stored(w, 'C'), 0);
    assert_int_equal(stored(w, 'E'), 0);
    done(w);
}

/* More small domains than may be asked at once, and a name server that takes its time: a chunk waits for its domains from when they were
 * asked, and until answers come there is nothing to do. Unknown domains bounce; none becomes a record that is asked again later. */
static void a_long_tail_waits_for_a_slow_name_server(void **state) {
    (void)state;
    enum { ROWS = 1500, SLOW_MS = 2500 };
    struct cw *w = world(0);
    struct rmd_buf csv = {0};
    rmd_buf_addstr(&csv, "email\n");
    for (int i = 0; i < ROWS; i++)
        rmd_buf_addf(&csv, "ann@small%d.test\n", i);
    w->hold_dns = true;
    struct rmd_id id = cw_submit_csv(w, "bulk", rmd_buf_str(&csv));
    size_t asked = 0, rounds = 0;
    for (size_t n = 1; n; rounds++) {
        cw_pass(w, SLOW_MS, SLOW_MS);
        n = cw_dns(w, RMD_COORD_RESOLVES_IN_FLIGHT);
        assert_true(n <= RMD_COORD_RESOLVES_IN_FLIGHT);
        asked += n;
        assert_int_equal(stored(w, 'D'), 0);
    }
    assert_int_equal(asked, ROWS);
    assert_true(rounds <= ROWS / RMD_COORD_RESOLVES_IN_FLIGHT + 3); /* always as many as may be under way */
    assert_int_equal(cw_campaign(w, &id, NULL)->bounced, ROWS);
    rmd_buf_release(&csv);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_holds_many_small_campaigns),
        cmocka_unit_test(a_lane_holds_no_more_of_a_big_one),
        cmocka_unit_test(new_recipients_leave_room_for_retries),
        cmocka_unit_test(finished_campaigns_leave_memory_and_stay_in_the_store),
        cmocka_unit_test(old_campaigns_are_forgotten),
        cmocka_unit_test(templates_go_with_their_last_campaign),
        cmocka_unit_test(a_crash_between_deletions_leaves_nothing_behind),
        cmocka_unit_test(many_templates_come_and_go),
        cmocka_unit_test(a_long_tail_waits_for_a_slow_name_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
