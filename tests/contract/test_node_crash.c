/* The node's rows of the crash table (design, section 6): the production program stops itself at a named probe, is
 * killed there and started anew. The receivers' transcript and the reports decide: no message is both given back and
 * delivered, none is delivered twice, and only those whose dot had left without a reply that is in the journal are
 * uncertain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/log.h>

#include "proto/io/clock.h"
#include "proto/verdict.h"
#include "tests/kit/node_stage.h"

enum { ROWS = 6 };

static unsigned settled(const struct stage *s) {
    unsigned n = 0;
    for (int k = RMD_OUTCOME_DELIVERED; k <= RMD_OUTCOME_RETURNED; k++)
        n += s->kinds[k];
    return n;
}

/* One lease of ROWS messages, killed at the probe, started again, and served to its end. */
static void crash_at(struct stage *s, const char *probe, const char *domain) {
    stage_set(s);
    stage_node_child(s, probe);
    stage_until(s, &s->hellos, 1);
    stage_deal(s, 1, 1, ROWS, domain);
    stage_kill_at_probe(s);
    stage_node_child(s, NULL);
    for (int i = 0; i < 400 && settled(s) < ROWS; i++)
        stage_serve(s);
    assert_int_equal(settled(s),
                     ROWS); /* each message has exactly one outcome: the numbers of a journal have no repeats */
}

static void judge(struct stage *s, unsigned uncertain_max) {
    unsigned accepted = stage_transcript_count(s, "\"event\":\"accepted\"");
    assert_in_range(accepted, s->kinds[RMD_OUTCOME_DELIVERED],
                    s->kinds[RMD_OUTCOME_DELIVERED] + s->kinds[RMD_OUTCOME_UNCERTAIN]);
    assert_in_range(s->kinds[RMD_OUTCOME_UNCERTAIN], 0, uncertain_max);
    stage_end_child(s);
    stage_clear(s);
}

static void lease_received(void **state) {
    (void)state;
    struct stage s;
    crash_at(&s, "lease.received", "@d1.mail.test");
    assert_int_equal(s.kinds[RMD_OUTCOME_DELIVERED], ROWS);
    judge(&s, 0);
}

static void transaction_open(void **state) {
    (void)state;
    struct stage s;
    crash_at(&s, "transaction.open", "@d1.mail.test");
    assert_true(s.kinds[RMD_OUTCOME_RETURNED] >= 1); /* the receiver has nothing of it */
    judge(&s, 4);
}

static void dot_sent(void **state) {
    (void)state;
    struct stage s;
    crash_at(&s, "dot.sent", "@d1.mail.test");
    assert_true(s.kinds[RMD_OUTCOME_UNCERTAIN] >= 1);
    judge(&s, 4);
}

static void reply_read(void **state) {
    (void)state;
    struct stage s;
    crash_at(&s, "reply.read", "@d1.mail.test");
    assert_true(s.kinds[RMD_OUTCOME_DELIVERED] >= 1);
    judge(&s, 4);
}

static void report_sent(void **state) {
    (void)state;
    struct stage s;
    stage_set(&s);
    s.deaf = true; /* its first life never hears an acknowledgement */
    stage_node_child(&s, "report.sent");
    stage_until(&s, &s.hellos, 1);
    stage_deal(&s, 1, 1, ROWS, "@d1.mail.test");
    stage_kill_at_probe(&s);
    uint64_t reported = s.last_n;
    assert_true(reported > 0); /* it did leave */
    s.deaf = false;
    stage_node_child(&s, NULL);
    for (int i = 0; i < 400 && settled(&s) < ROWS; i++)
        stage_serve(&s);
    assert_int_equal(settled(&s), ROWS);
    judge(&s, 4);
}

static void verdict_read(void **state) {
    (void)state;
    struct stage s;
    crash_at(&s, "verdict.read", "@blocking.mail.test");
    assert_true(s.hello_alarms >= 1); /* announced again, in the Hello of its next life */
    assert_int_equal(s.kinds[RMD_OUTCOME_DELIVERED], 0);
    judge(&s, 0);
}

/* Nothing can start: the template never comes. The node is killed on its way to the answer; the coordinator asks
 * again. */
static void recalled_at(const char *probe) {
    struct stage s;
    Remuda__Recall r = REMUDA__RECALL__INIT;
    r.id = 4;
    r.source = 1;
    stage_set(&s);
    s.mute_templates = true;
    stage_node_child(&s, probe);
    stage_until(&s, &s.hellos, 1);
    stage_deal(&s, 1, 1, ROWS, "@d1.mail.test");
    stage_until(&s, &s.lease_acks, 1);
    stage_say(&s, REMUDA__FRAME__BODY_RECALL, &r);
    stage_kill_at_probe(&s);
    assert_int_equal(s.recalls, 0);
    unsigned hellos = s.hellos;
    stage_node_child(&s, NULL);
    stage_until(&s, &s.hellos, hellos + 1);
    stage_say(&s, REMUDA__FRAME__BODY_RECALL, &r);
    stage_until(&s, &s.recalls, 1);
    stage_until(&s, &s.kinds[RMD_OUTCOME_RETURNED], ROWS);
    assert_true(s.recalled_n >= ROWS);
    assert_int_equal(settled(&s), ROWS);
    assert_int_equal(stage_transcript_count(&s, "\"event\":\"mail\""), 0);
    judge(&s, 0);
}

static void recall_received(void **state) {
    (void)state;
    recalled_at("recall.received");
}

static void recall_given_back(void **state) {
    (void)state;
    recalled_at("recall.given-back");
}

int main(void) {
    rmd_log_init("test", RMD_LOG_WARNING, rmd_clock_host());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lease_received),  cmocka_unit_test(transaction_open),  cmocka_unit_test(dot_sent),
        cmocka_unit_test(reply_read),      cmocka_unit_test(report_sent),       cmocka_unit_test(verdict_read),
        cmocka_unit_test(recall_received), cmocka_unit_test(recall_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
