/* The node's shell, loops, dialling, TLS and journal together, as in production: a scripted coordinator on a real
 * bus, a real name server, and the receivers of tests/receivers. The stories are told by what the coordinator sees
 * and by the receivers' own transcript. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/log.h>

#include "proto/io/clock.h"
#include "tests/kit/node_stage.h"

enum { ROWS = 30 };

/* ---------------------------------------------------------------- stories */

static void a_node_delivers_reports_gives_back_and_stops(void **state) {
    (void)state;
    struct stage s;
    stage_set(&s);
    stage_node_thread(&s);
    stage_until(&s, &s.hellos, 1);
    stage_deal(&s, 1, 1, ROWS, "@d1.mail.test");
    stage_until(&s, &s.kinds[RMD_OUTCOME_DELIVERED], ROWS);
    assert_int_equal(s.fetches, 1);
    assert_int_equal(s.lease_acks, 1);
    assert_int_equal(s.tls, ROWS);
    assert_int_equal(stage_transcript_count(&s, "\"event\":\"accepted\""), ROWS);
    assert_int_equal(stage_transcript_count(&s, "\"event\":\"violation\""), 0);
    assert_true(stage_transcript_count(&s, "\"ip\":\"127.61.0.1\"") > ROWS);

    /* a source whose address isn't here: the coordinator hears of it, and the work comes back */
    stage_deal(&s, 2, 2, 3, "@d1.mail.test");
    stage_until(&s, &s.kinds[RMD_OUTCOME_RETURNED], 3);
    assert_non_null(strstr(s.trouble, "192.0.2.77"));

    /* nobody listens there: deferred, in words for people */
    stage_deal(&s, 3, 1, 2, "@dead.mail.test");
    stage_until(&s, &s.kinds[RMD_OUTCOME_DEFERRED], 2);

    /* connections are closed when idle, and the next ones resume their TLS sessions */
    unsigned delivered = ROWS;
    for (uint64_t id = 10; id < 40 && !stage_transcript_count(&s, "\"resumed\":true"); id++) {
        stage_deal(&s, id, 1, 1, "@d1.mail.test");
        stage_until(&s, &s.kinds[RMD_OUTCOME_DELIVERED], ++delivered);
        stage_serve(&s);
    }
    assert_true(stage_transcript_count(&s, "\"resumed\":true") > 0);

    Remuda__Suppress sup = REMUDA__SUPPRESS__INIT;
    uint64_t hash = rmd_address_hash(1, rmd_slice_str("u0.4@d1.mail.test"));
    sup.id = 9;
    sup.tenant = 1;
    sup.n_address_hash = 1;
    sup.address_hash = &hash;
    stage_say(&s, REMUDA__FRAME__BODY_SUPPRESS, &sup);
    Remuda__Recall r = REMUDA__RECALL__INIT;
    r.id = 5;
    r.source = 1;
    stage_say(&s, REMUDA__FRAME__BODY_RECALL, &r);
    stage_until(&s, &s.recalls, 1);
    stage_until(&s, &s.suppresses, 1);
    assert_int_equal(s.recalled_id, 5);
    assert_int_equal(s.suppressed_id, 9);
    assert_int_equal(s.recalled_n, s.last_n);

    kill(getpid(), SIGTERM);
    stage_until(&s, &s.byes, 1);
    pthread_join(s.thread, NULL);
    assert_int_equal(s.exit_code, 0);
    stage_clear(&s);
}

int main(void) {
    rmd_log_init("test", RMD_LOG_WARNING, rmd_clock_host());
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_node_delivers_reports_gives_back_and_stops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
