/* Stories of the straight path: submit, lease, report, settle; and what comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/probe.h>
#include <base/text.h>

#include "coordinator/core/keys.h"
#include "tests/kit/coord_world.h"

static const char *const one_domain[] = {"g.test", NULL};
static const char *const three_domains[] = {"g.test", "y.test", "o.test", NULL};

static struct cw *world(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 1);
    cw_stream(w, "bulk", NULL);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

/* Nobody lost, nobody twice. */
static void each_once(struct cw *w, const char *const *domains, uint32_t n, uint32_t first) {
    uint32_t k = 0;
    while (domains[k])
        k++;
    for (uint32_t i = 0; i < n; i++) {
        char email[64];
        assert_true(rmd_format(email, sizeof email, "user%u@%s", first + i, domains[i % k]) > 0);
        assert_int_equal(cw_delivered_to(w, email), 1);
    }
}

static void a_campaign_is_delivered(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_id id = cw_submit(w, "bulk", three_domains, 1000, 0);
    cw_pass(w, 10000, 200);
    struct rmd_campaign_view v;
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->delivered, 1000);
    assert_int_equal(r->state, RMD_CAMPAIGN_DONE);
    assert_int_equal(v.queued + v.leased + v.deferred, 0);
    each_once(w, three_domains, 1000, 0);
    assert_int_equal(cw_events(w, "delivered"), 1000);
    assert_int_equal(cw_events(w, "campaign.done"), 1);
    done(w);
}

static void domains_that_take_no_mail_bounce_without_an_attempt(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    static const char *const domains[] = {"g.test", "gone.test", "null.test", NULL};
    struct rmd_id id = cw_submit(w, "bulk", domains, 90, 0);
    cw_pass(w, 10000, 200);
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, NULL);
    assert_int_equal(r->delivered, 30);
    assert_int_equal(r->bounced, 60);
    assert_int_equal(w->n_rcpts, 30);
    assert_int_equal(r->state, RMD_CAMPAIGN_DONE);
    done(w);
}

static void dns_that_fails_is_retried_until_it_answers(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    static const char *const domains[] = {"g.test", "slow.test", NULL};
    struct rmd_id id = cw_submit(w, "bulk", domains, 20, 0);
    cw_pass(w, 300000, 1000);
    struct rmd_campaign_view v;
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 10);
    assert_int_equal(v.deferred, 10);
    cw_domain(w, "slow.test", "mx.slow.test");
    cw_pass(w, 1200000, 1000);
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 20);
    each_once(w, domains, 20, 0);
    done(w);
}

static void a_lease_leaves_only_when_it_is_durable(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    w->hold_commits = false;
    w->stop_at_probe = RMD_PROBE_LEASE_PERSISTED;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_run(w);
    assert_true(w->died);
    assert_int_equal(n->n_leases, 0);
    cw_crash(w, false);
    /* Durable, not sent: sent again to the same node, once. */
    cw_pass(w, 3000, 200);
    assert_int_equal(n->n_leases, 1);
    cw_answer_all(w, n);
    cw_pass(w, 3000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 50);
    each_once(w, one_domain, 50, 0);
    done(w);
}

static void a_lease_that_was_not_durable_is_dealt_again(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->stop_at_probe = RMD_PROBE_LEASE_BUILT;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_run(w);
    assert_true(w->died);
    assert_int_equal(n->high_water, 0);
    cw_crash(w, false);
    cw_pass(w, 5000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 50);
    each_once(w, one_domain, 50, 0);
    done(w);
}

static void partial_reports_settle_bit_by_bit(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 100, 0);
    cw_pass(w, 1000, 200);
    struct rmd_campaign_view v;
    cw_answer_some(w, n, 30);
    cw_run(w);
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 30);
    assert_int_equal(v.leased, 70);
    cw_crash(w, false); /* the settled ones are known after a restart, the others still leased */
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 30);
    assert_int_equal(v.leased, 70);
    cw_answer_all(w, n);
    cw_pass(w, 2000, 200);
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 100);
    assert_int_equal(v.leased, 0);
    each_once(w, one_domain, 100, 0);
    done(w);
}

static void reports_repeated_or_out_of_order_settle_once(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 40, 0);
    cw_pass(w, 1000, 200);
    n->dead = true; /* the frames of the first reports are lost */
    cw_answer_some(w, n, 10);
    cw_answer_some(w, n, 10);
    n->dead = false;
    cw_report(w, n, 11, 20); /* a gap */
    cw_run(w);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0);
    assert_int_equal(n->acked_n, 0);
    cw_report(w, n, 1, 15);
    cw_report(w, n, 1, 15);
    cw_report(w, n, 6, 20);
    cw_report(w, n, 11, 20);
    cw_run(w);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 20);
    assert_int_equal(n->acked_n, 20);
    assert_int_equal(cw_events(w, "delivered"), 20);
    done(w);
}

static void a_report_settled_and_not_acknowledged_is_repeated(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 40, 0);
    cw_pass(w, 1000, 200);
    w->stop_at_probe = RMD_PROBE_REPORT_SETTLED;
    cw_answer_all(w, n);
    cw_run(w);
    assert_true(w->died);
    assert_int_equal(n->acked_n, 0);
    cw_crash(w, false);
    cw_pass(w, 3000, 200);
    assert_int_equal(n->acked_n, 40);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 40);
    assert_int_equal(cw_campaign(w, &id, NULL)->state, RMD_CAMPAIGN_DONE);
    done(w);
}

static void defer_first(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                        Remuda__Outcome *o) {
    (void)w, (void)n;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->email[i] == email && l->attempt[i] == 0)
            cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_SERVER_BUSY, RMD_ACTION_RETRY, RMD_SCOPE_DESTINATION,
                            false);
    }
}

static void deferred_recipients_are_tried_again_later(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = defer_first;
    struct rmd_id id = cw_submit(w, "bulk", three_domains, 300, 0);
    cw_pass(w, 20000, 500);
    struct rmd_campaign_view v;
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 0);
    assert_int_equal(v.deferred, 300);
    assert_int_equal(v.record->deferrals, 300);
    cw_crash(w, false); /* deferred ones are found again */
    cw_campaign(w, &id, &v);
    assert_int_equal(v.deferred, 300);
    cw_pass(w, 120000, 1000);
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 300);
    assert_int_equal(v.deferred, 0);
    each_once(w, three_domains, 300, 0);
    done(w);
}

static void many_recipients_in_many_chunks(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1");
    struct cw_node *b = cw_node_add(w, "n2");
    (void)a, (void)b;
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_source(w, "198.51.100.7", "n2", 0);
    struct rmd_id first = cw_submit(w, "bulk", three_domains, 12000, 0);
    struct rmd_id second = cw_submit(w, "bulk", one_domain, 5000, 100000);
    cw_pass(w, 30000, 200);
    assert_int_equal(cw_campaign(w, &first, NULL)->delivered, 12000);
    assert_int_equal(cw_campaign(w, &second, NULL)->delivered, 5000);
    assert_int_equal(w->n_rcpts, 17000);
    done(w);
}

/* Mail is given up after an hour. */
static struct cw *world_of_an_hour(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 1);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.age_limit_ms = 3600000;
    cw_stream(w, "bulk", &s);
    return w;
}

static void the_age_limit_holds_in_every_state(void **state) {
    (void)state;
    struct cw *w = world_of_an_hour();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 20);
    n->holds = true;
    static const char *const domains[] = {"g.test", "slow.test", NULL};
    struct rmd_id id = cw_submit(w, "bulk", domains, 100, 0); /* 20 leased, 30 queued, 50 unresolved */
    cw_pass(w, 200000, 1000);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_int_equal(v.leased, 20);
    cw_pass(w, 3500000, 5000);
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->expired, 100); /* the leased ones were recalled */
    assert_int_equal(v.leased + v.queued + v.deferred, 0);
    assert_int_equal(cw_events(w, "expired"), 100);
    assert_true(n->recalls >= 1);
    assert_int_equal(r->state, RMD_CAMPAIGN_DONE);
    done(w);
}

/* Who reads of an expired message learns what the receiver said last, also when it expired in a node's hands. */
static void what_expired_says_why(void **state) {
    (void)state;
    struct cw *w = world_of_an_hour();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = defer_first;
    cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 200, 10);
    assert_int_equal(cw_events(w, "deferred"), 10);
    n->holds = true;
    cw_submit(w, "bulk", one_domain, 10, 100); /* never tried */
    cw_pass(w, 3700000, 5000);
    assert_int_equal(cw_events(w, "expired"), 20);
    size_t said = 0, unanswered = 0;
    for (size_t i = 0; i < w->n_events; i++) {
        if (strcmp(w->event[i].type, "expired") != 0)
            continue;
        said += strstr(w->event[i].text, "last answer: ") != NULL;
        unanswered += strstr(w->event[i].text, "no attempt was answered") != NULL;
    }
    assert_int_equal(said, 10);
    assert_int_equal(unanswered, 10);
    done(w);
}

static void suppressed_at_sorting_and_before_leasing(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_command m = {.kind = RMD_CMD_SUPPRESS, .name = "user3@g.test", .reason = "asked"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 3000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->suppressed, 1);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 9);
    /* Queued (its node is away), then suppressed. */
    cw_kill_node(w, n);
    cw_run(w);
    struct rmd_id second = cw_submit(w, "bulk", one_domain, 10, 100);
    m.name = "user105@g.test";
    assert_int_equal(cw_command(w, &m), RMD_OK); /* nobody holds leases */
    cw_crash(w, false);                          /* it is durable */
    cw_revive_node(w, n, false, false);
    cw_pass(w, 3000, 200);
    assert_int_equal(cw_campaign(w, &second, NULL)->suppressed, 1);
    assert_int_equal(cw_delivered_to(w, "user105@g.test"), 0);
    assert_int_equal(cw_delivered_to(w, "user104@g.test"), 1);
    done(w);
}

static void suppression_is_answered_when_nobody_can_contact_any_more(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    n->confirm_suppress = false;
    cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 1000, 200);
    struct rmd_command m = {.kind = RMD_CMD_SUPPRESS, .name = "user3@g.test"};
    assert_int_equal(cw_command(w, &m), RMD_EAGAIN); /* no answer yet */
    assert_true(n->suppresses >= 1);
    cw_pass(w, 10000, 500);
    assert_true(w->reply_token != m.token);
    n->confirm_suppress = true; /* it is asked again */
    cw_pass(w, 5000, 500);
    assert_true(w->reply_token == m.token);
    assert_int_equal(w->reply_error, RMD_OK);
    /* Another: the node goes away, and the leases' end is the answer. */
    n->confirm_suppress = false;
    m.name = "user4@g.test";
    assert_int_equal(cw_command(w, &m), RMD_EAGAIN);
    cw_kill_node(w, n);
    cw_pass(w, 30000, 1000);
    assert_true(w->reply_token != m.token);
    cw_pass(w, 40000, 1000);
    assert_true(w->reply_token == m.token);
    done(w);
}

static void unknown_user(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                         Remuda__Outcome *o) {
    (void)w, (void)n, (void)l;
    if (strcmp(email, "user1@g.test") == 0)
        cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_USER_UNKNOWN, RMD_ACTION_SUPPRESS, RMD_SCOPE_RECIPIENT,
                        false);
}

static void a_hard_bounce_suppresses(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = unknown_user;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 3000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->bounced, 1);
    assert_true(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str("user1@g.test")));
    cw_crash(w, false);
    assert_true(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str("USER1@g.test")));
    struct rmd_command m = {.kind = RMD_CMD_UNSUPPRESS, .name = "user1@g.test"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_false(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str("user1@g.test")));
    done(w);
}

static void access_denied(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                          Remuda__Outcome *o) {
    (void)n, (void)l;
    if (strcmp(email, "user1@g.test") != 0 || *(const bool *)w->ctx)
        return;
    cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_USER_UNKNOWN, RMD_ACTION_SUPPRESS_SECOND, RMD_SCOPE_RECIPIENT,
                    false);
    o->reply->code = 550;
    o->reply->enhanced = (char *)(uintptr_t) "5.4.1";
}

static bool is_suppressed(struct cw *w) {
    return rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str("user1@g.test"));
}

static void campaign(struct cw *w) {
    cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 3000, 200);
}

/* "550 5.4.1 Recipient address rejected: Access denied" is usually about an unknown user: the second time is believed. */
static void a_denial_suppresses_on_the_second(void **state) {
    (void)state;
    bool accepts = false;
    struct cw *w = world();
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = access_denied;
    w->ctx = &accepts;
    campaign(w);
    assert_false(is_suppressed(w));
    cw_crash(w, false); /* remembered */
    campaign(w);
    assert_true(is_suppressed(w));
    cw_crash(w, false);
    assert_true(is_suppressed(w));

    struct rmd_command m = {.kind = RMD_CMD_UNSUPPRESS, .name = "user1@g.test"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    campaign(w); /* counted anew */
    assert_false(is_suppressed(w));
    assert_int_equal(cw_command(w, &m), RMD_OK); /* taken back: it was denied once */
    assert_int_equal(cw_command(w, &m), RMD_ENOTFOUND);
    campaign(w);
    assert_false(is_suppressed(w));
    size_t removed = cw_events(w, "suppression.removed");
    accepts = true; /* a delivery ends it, for good */
    campaign(w);
    assert_int_equal(cw_events(w, "suppression.removed"), removed + 1);
    accepts = false;
    cw_crash(w, false);
    campaign(w);
    assert_false(is_suppressed(w));
    cw_pass(w, RMD_DENIAL_LIFE_MS + 600000, 6 * 3600000); /* so does time */
    assert_int_equal(cw_command(w, &m), RMD_ENOTFOUND);
    campaign(w);
    assert_false(is_suppressed(w));
    m.kind = RMD_CMD_SUPPRESS; /* somebody's own word stands in its place */
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_true(is_suppressed(w));
    m.kind = RMD_CMD_UNSUPPRESS;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    campaign(w);
    assert_false(is_suppressed(w));
    done(w);
}

static void pause_recalls_and_resume_goes_on(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 100, 0);
    cw_pass(w, 1000, 200);
    struct rmd_campaign_view v;
    cw_answer_some(w, n, 10);
    cw_run(w);
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE, .id = id, .state = RMD_CAMPAIGN_PAUSED, .reason = "typo"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 1000, 200);
    cw_campaign(w, &id, &v);
    assert_int_equal(v.leased, 0);
    assert_int_equal(v.queued, 90);
    cw_crash(w, false); /* holds */
    n->holds = false;
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 10);
    m.state = RMD_CAMPAIGN_ACTIVE;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 100);
    each_once(w, one_domain, 100, 0);
    assert_int_equal(cw_command(w, &m), RMD_ECONFLICT); /* it is done */
    done(w);
}

static void cancel_settles_everything(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    w->answer = defer_first;
    static const char *const domains[] = {"g.test", "y.test", "slow.test", NULL};
    struct rmd_id id = cw_submit(w, "bulk", domains, 6000, 0);
    cw_pass(w, 100000, 1000);
    cw_answer_some(w, n, 150); /* some are deferred */
    cw_run(w);
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE, .id = id, .state = RMD_CAMPAIGN_CANCELLED};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 10000, 200);
    struct rmd_campaign_view v;
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->cancelled, 6000);
    assert_int_equal(r->state, RMD_CAMPAIGN_CANCELLED);
    assert_true(r->finished_wall_ms > 0);
    assert_int_equal(v.leased + v.queued + v.deferred, 0);
    cw_crash(w, false);
    r = cw_campaign(w, &id, &v);
    assert_int_equal(r->cancelled, 6000);
    assert_int_equal(v.leased + v.queued + v.deferred, 0);
    done(w);
}

static void a_lease_lost_on_the_way_is_sent_again(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->deaf_to_leases = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 3000, 500);
    n->deaf_to_leases = false;
    cw_pass(w, 10000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 10);
    each_once(w, one_domain, 10, 0);
    done(w);
}

static void on_value(void *ctx, size_t i, struct rmd_slice value) {
    (void)i;
    *(bool *)ctx = value.p != NULL;
}

static void an_orphan_submission_is_removed_at_start(void **state) {
    (void)state;
    struct cw *w = world();
    struct rmd_id id = rmd_id_make(w->now.wall_ms - 1000, 99);
    struct rmd_chunk_ref ref = {.campaign = id, .group = 1, .seq = 0};
    struct rmd_key k = rmd_key_chunk(1, &ref);
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_key_slice(&k), rmd_slice("x", 1));
    assert_int_equal(w->store.ops->submit(w->store.s, &b, w->epoch, ++w->seq), RMD_OK);
    rmd_store_fake_sync(w->disk, 1);
    cw_crash(w, false);
    struct rmd_slice key = rmd_key_slice(&k);
    bool found = true;
    assert_int_equal(w->store.ops->get_many(w->store.s, &key, 1, on_value, &found), RMD_OK);
    assert_false(found);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_campaign_is_delivered),
        cmocka_unit_test(domains_that_take_no_mail_bounce_without_an_attempt),
        cmocka_unit_test(dns_that_fails_is_retried_until_it_answers),
        cmocka_unit_test(a_lease_leaves_only_when_it_is_durable),
        cmocka_unit_test(a_lease_that_was_not_durable_is_dealt_again),
        cmocka_unit_test(partial_reports_settle_bit_by_bit),
        cmocka_unit_test(reports_repeated_or_out_of_order_settle_once),
        cmocka_unit_test(a_report_settled_and_not_acknowledged_is_repeated),
        cmocka_unit_test(deferred_recipients_are_tried_again_later),
        cmocka_unit_test(many_recipients_in_many_chunks),
        cmocka_unit_test(the_age_limit_holds_in_every_state),
        cmocka_unit_test(what_expired_says_why),
        cmocka_unit_test(suppressed_at_sorting_and_before_leasing),
        cmocka_unit_test(suppression_is_answered_when_nobody_can_contact_any_more),
        cmocka_unit_test(a_hard_bounce_suppresses),
        cmocka_unit_test(a_denial_suppresses_on_the_second),
        cmocka_unit_test(pause_recalls_and_resume_goes_on),
        cmocka_unit_test(cancel_settles_everything),
        cmocka_unit_test(a_lease_lost_on_the_way_is_sent_again),
        cmocka_unit_test(an_orphan_submission_is_removed_at_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
