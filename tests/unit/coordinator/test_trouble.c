/* Stories of trouble: expiry, doubt, late reports, quarantine, stickiness, sessions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/probe.h>
#include <base/text.h>

#include "proto/site.h"
#include "tests/kit/coord_world.h"

static const char *const one_domain[] = {"g.test", NULL};

static struct cw *world(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    cw_stream(w, "bulk", NULL);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static size_t most_often(struct cw *w, const char *domain, uint32_t n) {
    size_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        char email[64];
        assert_true(rmd_format(email, sizeof email, "user%u@%s", i, domain) > 0);
        size_t times = cw_delivered_to(w, email);
        most = times > most ? times : most;
    }
    return most;
}

static void silence_puts_leases_in_doubt_and_the_node_settles_them(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_node_add(w, "n2");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 200);
    assert_int_equal(n->n_leases, 1);
    cw_kill_node(w, n);
    cw_pass(w, 30000, 1000);
    struct rmd_campaign_view v;
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.leased, 50); /* not expired yet */
    cw_pass(w, 40000, 1000);
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.in_doubt, 50);
    assert_int_equal(s.leased, 0);
    assert_int_equal(cw_events(w, "in-doubt"), 50);
    cw_crash(w, false); /* doubt survives a restart */
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.in_doubt, 50);
    /* While the node was away it sent ten; it returns with its journal, and gives back the rest. */
    n->dead = true;
    cw_answer_some(w, n, 10);
    n->holds = false;
    cw_revive_node(w, n, false, false);
    cw_pass(w, 10000, 500);
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->delivered, 50);
    assert_int_equal(r->uncertain, 0);
    assert_int_equal(most_often(w, "g.test", 50), 1);
    done(w);
}

static void after_the_wait_the_uncertain_policy_decides(void **state) {
    (void)state;
    for (uint32_t policy = 0; policy < 2; policy++) {
        struct cw *w = rmd_alloc(sizeof *w);
        cw_init(w, 7);
        Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
        s.uncertain_policy = policy;
        cw_stream(w, "bulk", &s);
        struct cw_node *n = cw_node_add(w, "n1");
        cw_node_add(w, "n2");
        cw_source(w, "203.0.113.7", "n1", 0);
        n->holds = true;
        struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
        cw_pass(w, 1000, 200);
        cw_kill_node(w, n);
        cw_source(w, "198.51.100.7", "n2", 0);
        cw_pass(w, 600000, 5000);
        assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 0);
        cw_pass(w, 100000, 5000);
        const Remuda__CampaignRecord *r = cw_campaign(w, &id, NULL);
        assert_int_equal(r->uncertain, 50);              /* each is counted ... */
        assert_int_equal(cw_events(w, "uncertain"), 50); /* ... and named */
        assert_int_equal(policy ? r->held : r->delivered, 50);
        assert_int_equal(r->state, RMD_CAMPAIGN_DONE);
        done(w);
    }
}

static void forget_does_not_wait(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_node_add(w, "n2");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 200);
    struct rmd_command m = {.kind = RMD_CMD_NODE_FORGET, .name = "n1"};
    assert_int_equal(cw_command(w, &m), RMD_ECONFLICT);
    cw_kill_node(w, n);
    cw_source(w, "198.51.100.7", "n2", 0);
    cw_pass(w, 70000, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0);
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 50);
    done(w);
}

/* The node comes back after its messages were dealt again: what it reports as delivered is settled, and the other
 * copy is stopped. */
static void a_late_report_settles_and_erases_the_other_copy(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 200);
    cw_kill_node(w, n);
    cw_answer_some(w, n, 20); /* sent, and never heard of */
    struct cw_node *b = cw_node_add(w, "n2");
    b->holds = true;
    cw_pass(w, 700000, 5000);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_int_equal(v.record->uncertain, 50);
    assert_int_equal(v.deferred, 50); /* no source for them yet */
    cw_source(w, "198.51.100.7", "n2", 0);
    cw_pass(w, 2000, 200);
    assert_int_equal(b->n_leases, 1);
    cw_revive_node(w, n, false, false);
    cw_pass(w, 10000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 20);
    assert_true(b->recalls >= 1);
    n->holds = b->holds = false;
    cw_answer_all(w, b);
    cw_answer_all(w, n);
    cw_pass(w, 10000, 500);
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->delivered, 50);
    assert_int_equal(r->state, RMD_CAMPAIGN_DONE);
    assert_int_equal(most_often(w, "g.test", 50), 1);
    done(w);
}

static void a_late_report_stops_the_copy_that_still_waits(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 200);
    cw_kill_node(w, n);
    cw_answer_some(w, n, 20);
    cw_pass(w, 700000, 5000);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_int_equal(v.deferred, 50);
    cw_crash(w, false); /* the lease that was taken back is still understood */
    n->holds = false;
    cw_revive_node(w, n, false, false);
    cw_pass(w, 20000, 500);
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 50);
    assert_int_equal(v.deferred, 0);
    assert_int_equal(most_often(w, "g.test", 50), 1);
    done(w);
}

static void a_host_that_restarted_is_not_believed_what_it_gives_back(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 30, 0);
    cw_pass(w, 1000, 200);
    cw_kill_node(w, n);
    cw_run(w);
    cw_revive_node(w, n, true, false); /* another boot: the leases aren't live, it gives them back */
    n->holds = false;
    cw_pass(w, 1000, 200);
    cw_pass(w, 5000, 500);
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, NULL);
    assert_int_equal(r->uncertain, 30);
    assert_int_equal(r->delivered, 30);
    assert_int_equal(cw_events(w, "in-doubt"), 30);
    done(w);
}

static void a_lost_journal_waits_for_the_policy(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 30, 0);
    cw_pass(w, 1000, 200);
    cw_kill_node(w, n);
    cw_run(w);
    n->holds = false;
    cw_revive_node(w, n, false, true);
    cw_pass(w, 300000, 5000);
    assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 0);
    cw_pass(w, 400000, 5000);
    assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 30);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 30);
    done(w);
}

static void a_lease_that_the_node_never_had_is_still_its_own(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->deaf_to_leases = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 30, 0);
    cw_pass(w, 1000, 200);
    cw_kill_node(w, n);
    cw_pass(w, 100000, 1000); /* expired, in doubt */
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.in_doubt, 30);
    n->deaf_to_leases = false;
    cw_revive_node(w, n, false, false);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 30);
    assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 0);
    done(w);
}

/* ---------------------------------------------------------------- failover */

static const struct rmd_verdict blocked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                           .scope = RMD_SCOPE_SOURCE,
                                           .at_provider = true,
                                           .action = RMD_ACTION_QUARANTINE,
                                           .move = true,
                                           .rule = "test"};

static void a_block_moves_the_work_to_another_network(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1"), *b = cw_node_add(w, "n2");
    a->holds = b->holds = true;
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
    uint32_t s2 = cw_source(w, "203.0.113.8", "n1", 0); /* same network */
    uint32_t s3 = cw_source(w, "198.51.100.7", "n2", 0);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 2000, 0);
    cw_pass(w, 1000, 200);
    assert_true(a->n_leases > 0);
    uint32_t bad = a->lease[0]->source, google = rmd_provider_id("google");
    assert_true(bad == s1 || bad == s2);
    w->stop_at_probe = RMD_PROBE_QUARANTINE_SYNCED;
    cw_alarm(w, a, bad, google, &blocked, 1);
    cw_run(w);
    assert_true(w->died); /* durable, nothing sent yet: it holds */
    cw_crash(w, false);
    cw_pass(w, 2000, 200);
    for (size_t i = 0; i < a->n_leases; i++)
        assert_true(a->lease[i]->source != bad);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.n, 1);
    assert_int_equal(x.last.source, bad);
    assert_true(x.last.quarantined_wall_ms > 0);
    a->holds = b->holds = false;
    cw_answer_all(w, a);
    cw_answer_all(w, b);
    cw_pass(w, 30000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 2000);
    for (size_t i = 0; i < w->n_rcpts; i++)
        assert_true(w->rcpt[i].source != bad);
    (void)s3;
    done(w);
}

static void on_source(void *ctx, const struct rmd_source_view *v) {
    *(enum rmd_lane_state *)ctx = v->state;
}

/* The first of two refusals that corroborate each other may lie before a restart, a source's change, or both. */
static void what_corroborates_survives_a_restart(void **state) {
    (void)state;
    for (int between = 0; between < 3; between++) {
        struct cw *w = world();
        struct cw_node *a = cw_node_add(w, "n1");
        uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
        enum rmd_lane_state everywhere = RMD_LANE_OPEN;
        cw_alarm(w, a, s1, rmd_provider_id("google"), &blocked, 1);
        cw_run(w);
        rmd_coord_sources(w->core, on_source, &everywhere);
        assert_int_equal(everywhere, RMD_LANE_OPEN);
        if (between >= 1)
            cw_crash(w, false);
        if (between == 2)
            cw_pass(w, 7 * 3600 * 1000, 60000); /* too long ago to count */
        cw_alarm(w, a, s1, rmd_provider_id("yahoo"), &blocked, 1);
        cw_run(w);
        rmd_coord_sources(w->core, on_source, &everywhere);
        assert_int_equal(everywhere, between == 2 ? RMD_LANE_OPEN : RMD_LANE_QUARANTINED);
        done(w);
    }
}

static void moved_work_is_timed_and_counted(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1"), *b = cw_node_add(w, "n2");
    a->holds = b->holds = true;
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 100, 0);
    cw_pass(w, 1000, 200);
    uint32_t s2 = cw_source(w, "203.0.113.8", "n1", 0);
    cw_source(w, "198.51.100.7", "n2", 0);
    cw_alarm(w, a, s1, rmd_provider_id("google"), &blocked, 1);
    cw_run(w);
    assert_int_equal(a->alarms_acked, 1);
    assert_true(a->recalls >= 1);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.last.moved, 100);
    assert_int_equal(x.last.waiting, 0);
    assert_int_equal(x.last.detect_us, 3000);
    assert_true(x.last.redeal_us >= 3000 && x.last.redeal_us < 1000000);
    assert_int_equal(x.last.n_moved_to, 1);
    assert_string_equal(x.last.moved_to[0], "198.51.100.7"); /* never the neighbour */
    for (size_t i = 0; i < a->n_leases; i++)
        assert_true(a->lease[i]->source != s2);
    /* The same alarm again changes nothing. */
    a->alarm_n--;
    cw_alarm(w, a, s1, rmd_provider_id("google"), &blocked, 1);
    cw_run(w);
    x = cw_incidents(w);
    assert_int_equal(x.n, 1);
    assert_int_equal(a->alarms_acked, 2);
    /* Resolved: the lane comes back by single recipients. */
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = x.last.id, .reason = "delisted"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    struct rmd_status_view v;
    rmd_coord_status(w->core, &v);
    assert_int_equal(v.sources_quarantined, 1);
    assert_int_equal(v.open_incidents, 0);
    cw_answer_all(w, b);
    cw_pass(w, 2000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 100);
    done(w);
}

static void with_nowhere_to_go_the_work_waits_and_says_so(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1");
    a->holds = true;
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
    cw_source(w, "203.0.113.8", "n1", 0);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 100, 0);
    cw_pass(w, 1000, 200);
    uint32_t bad = a->lease[0]->source;
    (void)s1;
    cw_alarm(w, a, bad, rmd_provider_id("google"), &blocked, 1);
    cw_pass(w, 5000, 500);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_int_equal(v.leased, 0);
    assert_int_equal(v.queued, 100);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.last.waiting, 100);
    assert_non_null(
        strstr(rmd_coord_incident_waits_for(w->core, &x.last), "no source in service on another network"));
    struct rmd_buf text = {0};
    rmd_coord_explain(w->core, 1, 1, NULL, "g.test", &text);
    assert_non_null(strstr(rmd_buf_str(&text), "quarantined (incident 1)"));
    rmd_buf_release(&text);
    cw_source(w, "198.51.100.7", "n1", 0); /* one is added: so much for that */
    cw_pass(w, 1000, 200);
    x = cw_incidents(w);
    assert_null(strstr(rmd_coord_incident_waits_for(w->core, &x.last), "no source in service"));
    done(w);
}

static void given_back(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                       Remuda__Outcome *o) {
    (void)n;
    (void)l;
    (void)email;
    if (!*(bool *)w->ctx)
        return;
    o->kind = RMD_OUTCOME_RETURNED;
    o->returned_reason = RMD_RETURN_SOURCE_STOPPED;
    o->rcpts = 0;
}

/* The node stopped what is open here: no lease goes to and fro as fast as the wire allows. */
static void a_lane_that_only_its_node_stopped_rests(void **state) {
    (void)state;
    struct cw *w = world();
    bool stopped = true;
    w->ctx = &stopped;
    w->answer = given_back;
    struct cw_node *a = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 20, 0);
    cw_pass(w, 60000, 200);
    assert_in_range(cw_events(w, "returned"), 8 * 20, 13 * 20); /* every 5 s */
    assert_true(a->high_water <= 13);
    struct rmd_buf text = {0};
    rmd_coord_explain(w->core, 1, 1, NULL, "g.test", &text);
    assert_non_null(strstr(rmd_buf_str(&text), "its node stopped the lane"));
    rmd_buf_release(&text);
    stopped = false;
    cw_pass(w, 6000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 20);
    done(w);
}

/* So does one that is probed, whatever its node knows that we don't. */
static void a_probed_lane_that_its_node_stopped_rests(void **state) {
    (void)state;
    struct cw *w = world();
    bool stopped = true;
    w->ctx = &stopped;
    w->answer = given_back;
    struct cw_node *a = cw_node_add(w, "n1");
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
    cw_alarm(w, a, s1, rmd_provider_id("google"), &blocked, 1);
    cw_run(w);
    struct cw_incidents x = cw_incidents(w);
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = x.last.id, .reason = "delisted"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 20, 0);
    cw_pass(w, 60000, 200);
    assert_in_range(cw_events(w, "returned"), 8, 13); /* every 5 s */
    stopped = false;
    cw_pass(w, 60000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 20);
    done(w);
}

struct greylist {
    uint32_t first_source;
    size_t elsewhere;
};
static void grey(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email, Remuda__Outcome *o) {
    (void)n;
    struct greylist *g = w->ctx;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->email[i] != email)
            continue;
        if (l->attempt[i] == 0) {
            g->first_source = l->source;
            cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_LANE,
                            false);
        } else {
            g->elsewhere += l->source != g->first_source;
        }
    }
}

static void greylisted_recipients_stick_to_their_source(void **state) {
    (void)state;
    for (int away = 0; away < 2; away++) {
        struct cw *w = world();
        struct greylist g = {0};
        w->ctx = &g;
        w->answer = grey;
        cw_node_add(w, "n1");
        uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
        struct rmd_id id = cw_submit(w, "bulk", one_domain, 40, 0);
        cw_pass(w, 2000, 200);
        assert_int_equal(g.first_source, s1);
        cw_node_add(w, "n2");
        for (int i = 0; i < 5; i++) {
            char address[32];
            assert_true(rmd_format(address, sizeof address, "198.51.100.%d", i + 1) > 0);
            cw_source(w, address, "n2", 0);
        }
        struct rmd_command m = {.kind = RMD_CMD_SOURCE_STATE, .name = "203.0.113.7", .state = RMD_SOURCE_PAUSED};
        if (away)
            assert_int_equal(cw_command(w, &m), RMD_OK);
        cw_pass(w, 900000, 5000);
        assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 40);
        assert_int_equal(g.elsewhere, away ? 40 : 0);
        done(w);
    }
}

static void refuse_source(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                          Remuda__Outcome *o) {
    (void)n, (void)email;
    if (l->source == *(uint32_t *)w->ctx)
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_IP_BLOCKLISTED, RMD_ACTION_QUARANTINE, RMD_SCOPE_SOURCE,
                        true);
}

static void out_of_reach(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                         Remuda__Outcome *o) {
    (void)n, (void)email;
    if (*(uint32_t *)w->ctx && l->source != *(uint32_t *)w->ctx)
        return;
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_NETWORK, RMD_ACTION_NEXT_MX, RMD_SCOPE_DESTINATION, false);
    o->verdict->rule = (char *)(uintptr_t) "own:unreachable";
    o->rcpts = 0;
}

/* A source of the other address family, first in the order of preference. */
static void what_a_source_cannot_reach_goes_to_another_at_once(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0);
    w->ctx = &s1;
    w->answer = out_of_reach;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 3, 0);
    cw_pass(w, 2000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->deferrals, 3); /* nothing else in the pool: back-off */
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0);
    cw_pass(w, 3600000, 5000);
    uint64_t tries = cw_campaign(w, &id, NULL)->deferrals;
    assert_in_range(tries, 6, 60); /* and it is asked again, in its time */
    cw_source(w, "198.51.100.7", "n1", 0);
    cw_pass(w, 2 * 3600000, 5000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 3);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.n, 0);
    done(w);
}

/* A family that a domain isn't reached by is remembered: its sources aren't offered the rest of the list. */
static void what_a_family_does_not_reach_is_left_to_the_other(void **state) {
    (void)state;
    static const char *const two_domains[] = {"g.test", "o.test", NULL};
    struct cw *w = world();
    cw_node_add(w, "n1");
    uint32_t s6 = cw_source(w, "2001:db8::7", "n1", 0);
    w->ctx = &s6;
    w->answer = out_of_reach;
    struct rmd_id first = cw_submit(w, "bulk", two_domains, 10, 0); /* the only family: asked, in its time */
    cw_pass(w, 2000, 200);
    assert_int_equal(cw_campaign(w, &first, NULL)->deferrals, 10);
    cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_id id = cw_submit(w, "bulk", two_domains, 3000, 100);
    cw_pass(w, 60000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 3000);
    assert_int_equal(cw_campaign(w, &id, NULL)->deferrals, 0);
    cw_pass(w, 3600000, 5000); /* forgotten by then: one lease or a few find out again */
    id = cw_submit(w, "bulk", two_domains, 3000, 5000);
    cw_pass(w, 60000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 3000);
    assert_in_range(cw_campaign(w, &id, NULL)->deferrals, 0,
                    2 * (RMD_COORD_LANE_MESSAGES + RMD_COORD_LEASE_MESSAGES));
    done(w);
}

/* A receiver that no source reaches: every network once, then the schedule of retries. */
static void what_no_source_reaches_waits(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t every = 0;
    w->ctx = &every;
    w->answer = out_of_reach;
    cw_node_add(w, "n1");
    for (int i = 0; i < 12; i++) { /* more than are remembered */
        char address[32];
        assert_true(rmd_format(address, sizeof address, "198.51.%d.7", i + 1) > 0);
        cw_source(w, address, "n1", 0);
    }
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 1, 0);
    cw_pass(w, 20000, 200);
    assert_in_range(cw_campaign(w, &id, NULL)->deferrals, 2, 12);
    done(w);
}

static void refused_for_the_ips_sake_goes_to_another_network_at_once(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 1);
    w->ctx = &s1;
    w->answer = refuse_source;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 1, 0);
    cw_pass(w, 2000, 200);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_int_equal(v.deferred, 1); /* nowhere to go: back-off */
    cw_source(w, "203.0.113.8", "n1", 0);
    cw_source(w, "198.51.100.7", "n1", 0);
    cw_pass(w, 100000, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 1);
    assert_int_equal(w->n_rcpts, 2);
    assert_int_equal(w->rcpt[1].source, 3);
    done(w);
}

/* ---------------------------------------------------------------- sessions */

static void a_second_live_session_is_refused_and_a_silent_one_replaced(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_pass(w, 2000, 500);
    n->peer.session = 99; /* somebody else with the same key */
    n->welcomed = false;
    cw_hello(w, n);
    cw_run(w);
    assert_false(n->welcomed);
    assert_int_equal(n->refused_code, 2);
    cw_pass(w, 7000, 500);
    assert_true(n->welcomed);
    done(w);
}

static void a_revoked_key_is_dropped(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 1000, 200);
    struct rmd_command m = {.kind = RMD_CMD_NODE_REVOKE, .name = "n1"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_answer_all(w, n); /* not believed any more */
    cw_pass(w, 3000, 500);
    assert_int_equal(n->refused_code, 3);
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.delivered, 0);
    assert_int_equal(s.leased, 10);
    cw_pass(w, 70000, 1000);
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.in_doubt, 10);
    done(w);
}

static void a_store_older_than_a_node_remembers_pauses(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 100);
    cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 1000, 200);
    n->acked_n += 5; /* it was told of more than this store holds */
    cw_kill_node(w, n);
    cw_revive_node(w, n, false, false);
    cw_pass(w, 1000, 200);
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_true(s.restored_paused);
    assert_int_equal(s.incarnation, 2);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 10, 100);
    cw_crash(w, false);
    cw_pass(w, 2000, 500);
    struct rmd_command m = {.kind = RMD_CMD_RESUME_RESTORED};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 3600000, 60000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0); /* caps count as spent for a day */
    cw_pass(w, 24 * 3600000, 60000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 10);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_puts_leases_in_doubt_and_the_node_settles_them),
        cmocka_unit_test(after_the_wait_the_uncertain_policy_decides),
        cmocka_unit_test(forget_does_not_wait),
        cmocka_unit_test(a_late_report_settles_and_erases_the_other_copy),
        cmocka_unit_test(a_late_report_stops_the_copy_that_still_waits),
        cmocka_unit_test(a_host_that_restarted_is_not_believed_what_it_gives_back),
        cmocka_unit_test(a_lost_journal_waits_for_the_policy),
        cmocka_unit_test(a_lease_that_the_node_never_had_is_still_its_own),
        cmocka_unit_test(a_block_moves_the_work_to_another_network),
        cmocka_unit_test(what_corroborates_survives_a_restart),
        cmocka_unit_test(moved_work_is_timed_and_counted),
        cmocka_unit_test(with_nowhere_to_go_the_work_waits_and_says_so),
        cmocka_unit_test(a_lane_that_only_its_node_stopped_rests),
        cmocka_unit_test(a_probed_lane_that_its_node_stopped_rests),
        cmocka_unit_test(greylisted_recipients_stick_to_their_source),
        cmocka_unit_test(refused_for_the_ips_sake_goes_to_another_network_at_once),
        cmocka_unit_test(what_a_source_cannot_reach_goes_to_another_at_once),
        cmocka_unit_test(what_a_family_does_not_reach_is_left_to_the_other),
        cmocka_unit_test(what_no_source_reaches_waits),
        cmocka_unit_test(a_second_live_session_is_refused_and_a_silent_one_replaced),
        cmocka_unit_test(a_revoked_key_is_dropped),
        cmocka_unit_test(a_store_older_than_a_node_remembers_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
