/* Stories of what receivers say of the mail and not of its sender's addresses: content that is refused, campaigns that a provider has enough of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/failover.h"
#include "tests/kit/coord_world.h"

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE };
static const char *const one_domain[] = {"g.test", NULL};

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static void refuse_content(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                           Remuda__Outcome *o) {
    (void)w, (void)n, (void)l, (void)email;
    static char said[] = "552 5.7.0 blocked because its content";
    o->reply->text = (ProtobufCBinaryData){.len = sizeof said - 1, .data = (uint8_t *)said};
    cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_SPAM_CONTENT, RMD_ACTION_FAIL, RMD_SCOPE_MESSAGE, false);
}

/* Twenty are lost, not eight hundred: the campaign waits there for its author, nothing moves and no source is touched. */
static void content_that_is_refused_stops_the_campaign_there(void **state) {
    (void)state;
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    Remuda__StreamRecord bulk = REMUDA__STREAM_RECORD__INIT;
    bulk.priority = 2;
    cw_stream(w, "bulk", &bulk);
    struct cw_node *a = cw_node_add(w, "n1"), *b = cw_node_add(w, "n2");
    a->holds = b->holds = true;
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_source(w, "198.51.100.7", "n2", 0);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 800, 0);
    cw_pass(w, 1000, 200);
    struct cw_node *n = a->n_leases ? a : b;
    w->answer = refuse_content;
    cw_answer_some(w, n, 19);
    cw_pass(w, 200, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->state, RMD_CAMPAIGN_ACTIVE);
    cw_answer_some(w, n, 1);
    cw_pass(w, 5000, 500); /* what the nodes hold unstarted is called back */
    struct rmd_campaign_view v;
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->state, RMD_CAMPAIGN_ACTIVE);
    assert_int_equal(r->n_stop, 1);
    assert_non_null(strstr(r->stop[0]->reason, "google refuses its content (20 of 20): look at the message"));
    assert_non_null(strstr(v.waits_for, "stopped at google"));
    assert_int_equal(r->bounced, 20);
    assert_int_equal(v.leased, 0);
    assert_int_equal(v.queued, 780);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.n, 1);
    assert_int_equal(x.last.class_, RMD_CLASS_SPAM_CONTENT);
    assert_int_equal(x.last.scope, RMD_SCOPE_CAMPAIGN);
    assert_int_equal(x.last.source, 0);
    assert_string_equal(x.last.cause, "552 5.7.0 blocked because its content");
    assert_non_null(strstr(x.last.next_step, "remuda campaign resume"));
    cw_crash(w, false); /* it was durable */
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 1);
    /* Resumed, it counts anew; its incident is over, and another one opens. */
    struct rmd_command m = {
        .kind = RMD_CMD_CAMPAIGN_STATE, .tenant = 1, .id = id, .state = RMD_CAMPAIGN_ACTIVE, .reason = "mended"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 3000, 500);
    n = a->n_leases ? a : b;
    cw_answer_some(w, n, 19);
    cw_pass(w, 200, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 0);
    cw_answer_some(w, n, 1);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 1);
    x = cw_incidents(w);
    assert_int_equal(x.n, 2);
    assert_int_equal(x.last.moved, 0);
    struct rmd_status_view s;
    rmd_coord_status(w->core, &s);
    assert_int_equal(s.sources_quarantined, 0);
    /* Mended for good. */
    w->answer = NULL;
    a->holds = b->holds = false;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 60000, 500);
    r = cw_campaign(w, &id, NULL);
    assert_int_equal(r->delivered, 760);
    assert_int_equal(r->state, RMD_CAMPAIGN_DONE);
    done(w);
}

static void transactional_mail_goes_on_and_a_person_is_told(void **state) {
    (void)state;
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.priority = 0;
    cw_stream(w, "receipts", &s);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = refuse_content;
    struct rmd_id id = cw_submit(w, "receipts", one_domain, 100, 0);
    cw_pass(w, 10000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->bounced, 100);
    assert_int_equal(cw_events(w, "campaign.paused"), 0);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.n, 1);
    assert_non_null(strstr(x.last.next_step, "transactional mail goes on"));
    done(w);
}

/* ---------------------------------------------------------------- one network, one provider */

static struct cw *small(int priority) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.priority = (uint32_t)priority;
    cw_stream(w, "bulk", &s);
    cw_node_add(w, "n1")->holds = true;
    cw_source(w, "203.0.113.7", "n1", 0);
    return w;
}

/* Of twenty answers one is of the list as a whole (SC-002), the others are good. */
static void find_the_list_bad(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                              Remuda__Outcome *o) {
    uint32_t *asked = w->ctx;
    (void)n, (void)l, (void)email;
    if (++*asked % 20)
        return;
    static char said[] = "550 SC-002 namespace mining";
    o->reply->text = (ProtobufCBinaryData){.len = sizeof said - 1, .data = (uint8_t *)said};
    cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_PAUSE, RMD_SCOPE_CAMPAIGN, false);
}

static void a_list_that_is_bad_stops_its_campaign_on_the_only_source(void **state) {
    (void)state;
    struct cw *w = small(2);
    uint32_t asked = 0;
    w->answer = find_the_list_bad;
    w->ctx = &asked;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 400, 0), other = cw_submit(w, "bulk", one_domain, 10, 1000);
    cw_pass(w, 1000, 200);
    cw_answer_some(w, &w->node[0], 59);
    cw_pass(w, 1000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 0); /* two such words */
    cw_answer_some(w, &w->node[0], 1);
    cw_pass(w, 5000, 500);
    struct rmd_campaign_view v;
    const Remuda__CampaignRecord *r = cw_campaign(w, &id, &v);
    assert_int_equal(r->n_stop, 1);
    assert_int_equal(r->bounced, RMD_CONTENT_SAID);
    assert_int_equal(v.leased, 0);
    assert_int_equal(cw_campaign(w, &other, NULL)->n_stop, 0);
    struct cw_incidents x = cw_incidents(w);
    assert_int_equal(x.n, 1);
    assert_int_equal(x.last.scope, RMD_SCOPE_CAMPAIGN);
    assert_string_equal(x.last.cause, "550 SC-002 namespace mining");
    assert_non_null(strstr(x.last.title, "google refuses the campaign as a whole (3 of 60)"));
    cw_pass(w, 24 * HOUR, HOUR); /* a person looks, however long it takes */
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 1);
    done(w);
}

static void find_it_too_frequent(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                                 Remuda__Outcome *o) {
    const struct rmd_id *refused = w->ctx;
    (void)n, (void)email;
    if (!refused || memcmp(l->campaign.b, refused->b, 10) != 0)
        return;
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_PAUSE, RMD_SCOPE_CAMPAIGN, false);
    o->verdict->duration_ms = HOUR;
}

static void a_campaign_that_is_too_frequent_rests_and_goes_on(void **state) {
    (void)state;
    struct cw *w = small(2);
    w->answer = find_it_too_frequent;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 400, 0), other = cw_submit(w, "bulk", one_domain, 10, 1000);
    w->ctx = &id;
    cw_pass(w, 1000, 200);
    cw_answer_some(w, &w->node[0], 1);
    cw_pass(w, 1000, 200);
    for (int again = 0; again < 2; again++) {
        struct rmd_campaign_view v;
        assert_int_equal(cw_campaign(w, &id, &v)->n_stop, 1);
        assert_int_equal(v.leased, 0);
        assert_non_null(strstr(v.waits_for, "resting at google until 20"));
        assert_int_equal(cw_incidents(w).n, 0);
        cw_crash(w, false); /* durable */
        cw_pass(w, 5000, 500);
    }
    w->ctx = NULL;
    w->node[0].holds = false;
    cw_answer_all(w, &w->node[0]);
    cw_pass(w, 50 * MINUTE, MINUTE);
    assert_int_equal(cw_campaign(w, &other, NULL)->delivered, 10);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0);
    cw_pass(w, 30 * MINUTE, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 400);
    assert_int_equal(cw_events(w, "campaign.resting"), 1);
    assert_int_equal(cw_events(w, "campaign.reopened"), 1);
    done(w);
}

static void find_it_too_frequent_then_refuse_it(struct cw *w, struct cw_node *n, const struct cw_lease *l,
                                                const char *email, Remuda__Outcome *o) {
    uint32_t *asked = w->ctx;
    if (++*asked > 1) {
        refuse_content(w, n, l, email, o);
        return;
    }
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_PAUSE, RMD_SCOPE_CAMPAIGN, false);
    o->verdict->duration_ms = HOUR;
}

/* A rest is no excuse: the content that is refused meanwhile stops it until a person looks. */
static void a_rest_becomes_a_stop(void **state) {
    (void)state;
    struct cw *w = small(2);
    uint32_t asked = 0;
    w->answer = find_it_too_frequent_then_refuse_it;
    w->ctx = &asked;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 400, 0);
    cw_pass(w, 1000, 200);
    cw_answer_some(w, &w->node[0], 22); /* the node had them under way */
    cw_pass(w, 200, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 1);
    assert_int_equal(cw_campaign(w, &id, NULL)->stop[0]->until_ledger_ms, 0);
    assert_int_equal(cw_incidents(w).n, 1);
    cw_pass(w, 3 * HOUR, MINUTE);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 1);
    done(w);
}

static void transactional_mail_rests_not(void **state) {
    (void)state;
    struct cw *w = small(0);
    w->answer = find_it_too_frequent;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 40, 0);
    w->ctx = &id;
    cw_pass(w, 1000, 200);
    cw_answer_some(w, &w->node[0], 1);
    cw_pass(w, 1000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 0);
    done(w);
}

/* A greeting is one word to whatever waits there; and of "other" each site speaks for itself. */
struct small_words {
    bool greeting;
    int64_t duration_ms; /* 0: of the list */
};
static void say_it_of_the_campaign(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                                   Remuda__Outcome *o) {
    const struct small_words *x = w->ctx;
    (void)n, (void)l;
    if (!x->greeting && !strstr(email, "@o.test"))
        return;
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_PAUSE, RMD_SCOPE_CAMPAIGN, false);
    o->verdict->duration_ms = x->duration_ms;
    o->rcpts = x->greeting ? 0 : 1;
    o->reply->stage = x->greeting ? RMD_STAGE_GREETING : RMD_STAGE_DOT;
}

static void what_is_said_of_no_campaign_stops_none(void **state) {
    (void)state;
    static const char *const many[] = {"o.test", "o2.test", "o3.test", NULL};
    for (int k = 0; k < 4; k++) {
        struct cw *w = small(2);
        struct small_words x = {.greeting = k & 1, .duration_ms = k & 2 ? HOUR : 0};
        cw_domain(w, "o2.test", "mx.o2.test");
        cw_domain(w, "o3.test", "mx.o3.test");
        w->answer = say_it_of_the_campaign;
        w->ctx = &x;
        struct rmd_id id = cw_submit(w, "bulk", x.greeting ? one_domain : many, 30, 0);
        cw_pass(w, 1000, 200);
        cw_answer_some(w, &w->node[0], 20);
        cw_pass(w, 5000, 500);
        assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 0);
        done(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_that_is_refused_stops_the_campaign_there),
        cmocka_unit_test(transactional_mail_goes_on_and_a_person_is_told),
        cmocka_unit_test(a_list_that_is_bad_stops_its_campaign_on_the_only_source),
        cmocka_unit_test(a_campaign_that_is_too_frequent_rests_and_goes_on),
        cmocka_unit_test(a_rest_becomes_a_stop),
        cmocka_unit_test(transactional_mail_rests_not),
        cmocka_unit_test(what_is_said_of_no_campaign_stops_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
