/* Counts of TLS sessions in the node core: like with like, told once, repeated until acknowledged, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/tls_report.h"
#include "tests/kit/node_world.h"

static void told(struct world *w, const char *domain, enum rmd_tls_result result, bool resumed, int64_t downgrade) {
    struct rmd_buf b = {0};
    Remuda__TlsRow row = REMUDA__TLS_ROW__INIT;
    row.day = 20000;
    row.domain = (char *)(uintptr_t)domain;
    row.result = result;
    row.receiving_ip = (char *)(uintptr_t)(resumed ? "198.51.100.1" : "198.51.100.2"); /* of good ones nobody asks */
    row.sessions = 1;
    row.resumed = resumed;
    row.last_wall_ms = w->now.wall_ms;
    row.downgrade_until_wall_ms = downgrade;
    rmd_pb_encode(&row, &b);
    struct rmd_mail m = {.kind = RMD_MAIL_TLS, .bytes = rmd_buf_slice(&b)};
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_MAIL, .mail = &m});
    rmd_buf_release(&b);
}

static const Remuda__TlsReport *next(struct world *w) {
    Remuda__Frame *f = world_next(w, REMUDA__FRAME__BODY_TLS_REPORT);
    return f ? f->tls_report : NULL;
}

static void ack(struct world *w, const Remuda__TlsReport *r) {
    Remuda__TlsReportAck a = REMUDA__TLS_REPORT_ACK__INIT;
    a.run = r->run;
    a.n = r->n;
    world_frame(w, REMUDA__FRAME__BODY_TLS_REPORT_ACK, &a);
}

/* Time goes by in a session that lives. */
static void pass(struct world *w, int64_t ms) {
    for (; ms > 0; ms -= 1000) {
        world_tick(w, ms < 1000 ? ms : 1000);
        world_frame(w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &(Remuda__HeartbeatEcho)REMUDA__HEARTBEAT_ECHO__INIT);
    }
}

static void like_sessions_are_one_row(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    for (int i = 0; i < 5; i++)
        told(&w, "a.example", RMD_TLS_R_OK, i > 1, 0);
    told(&w, "a.example", RMD_TLS_R_CERTIFICATE_EXPIRED, false, 0);
    told(&w, "b.example", RMD_TLS_R_OK, false, 0);
    assert_null(next(&w)); /* gathered a while */
    pass(&w, RMD_TLS_REPORT_DELAY_MS);
    const Remuda__TlsReport *r = next(&w);
    assert_non_null(r);
    assert_true(r->run != 0);
    assert_int_equal(r->n_row, 3);
    assert_int_equal(r->row[0]->sessions, 5);
    assert_int_equal(r->row[0]->resumed, 3);
    assert_int_equal(r->row[1]->result, RMD_TLS_R_CERTIFICATE_EXPIRED);
    /* what comes meanwhile waits; the report is repeated as it was */
    told(&w, "a.example", RMD_TLS_R_OK, false, 0);
    pass(&w, RMD_TLS_REPORT_REPEAT_MS - 1000);
    assert_null(next(&w));
    pass(&w, 1000);
    const Remuda__TlsReport *again = next(&w);
    assert_int_equal(again->n, r->n);
    assert_int_equal(again->n_row, 3);
    assert_int_equal(again->row[0]->sessions, 5);
    ack(&w, again);
    pass(&w, RMD_TLS_REPORT_DELAY_MS);
    const Remuda__TlsReport *more = next(&w);
    assert_int_equal(more->n, r->n + 1);
    assert_true(more->run == r->run);
    assert_int_equal(more->n_row, 1);
    assert_int_equal(more->row[0]->sessions, 1);
    ack(&w, again); /* an old answer */
    pass(&w, RMD_TLS_REPORT_REPEAT_MS);
    assert_non_null(next(&w));
    world_release(&w);
}

static void a_new_session_hears_what_is_out(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    told(&w, "a.example", RMD_TLS_R_VALIDATION_FAILURE, false, 12345);
    world_tick(&w, RMD_TLS_REPORT_SOON_MS);
    assert_int_equal(next(&w)->row[0]->downgrade_until_wall_ms, 12345);
    w.epoch++;
    world_frame(&w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &(Remuda__HeartbeatEcho)REMUDA__HEARTBEAT_ECHO__INIT);
    world_tick(&w, RMD_NODE_SILENCE_MS + RMD_NODE_HELLO_MS);
    w.read = w.frames;
    world_welcome(&w, NULL, 0);
    world_tick(&w, 1);
    assert_non_null(next(&w));
    world_release(&w);
}

static void an_orderly_end_tells_at_once(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    told(&w, "a.example", RMD_TLS_R_OK, false, 0);
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_STOP});
    assert_non_null(next(&w));
    world_release(&w);
}

static void rows_have_limits(void **state) {
    (void)state;
    struct rmd_tls_report *r = rmd_tls_report_new();
    struct rmd_arena a = {0};
    Remuda__TlsReport out;
    size_t rows = 0, reports = 0;
    uint64_t dropped = 0;
    for (int i = 0; i < RMD_TLS_ROWS_MAX + 7; i++) {
        char domain[32];
        struct rmd_buf b = {0};
        Remuda__TlsRow row = REMUDA__TLS_ROW__INIT;
        (void)rmd_format(domain, sizeof domain, "d%d.example", i);
        row.domain = domain;
        row.sessions = 1;
        rmd_pb_encode(&row, &b);
        rmd_tls_report_add(r, rmd_buf_slice(&b), 0);
        rmd_buf_release(&b);
    }
    rmd_tls_report_add(r, rmd_slice_str("\xff\xff"), 0); /* no row at all */
    while (rmd_tls_report_due(r, 0, 1, true, &a, &out)) {
        struct rmd_buf b = {0};
        rmd_pb_encode(&out, &b);
        assert_true(b.len < RMD_FRAME_MAX_BYTES / 2);
        rmd_buf_release(&b);
        assert_true(out.n_row <= RMD_TLS_REPORT_ROWS);
        rows += out.n_row;
        dropped += out.dropped;
        reports++;
        rmd_tls_report_acked(r, &(Remuda__TlsReportAck){.n = out.n});
        rmd_arena_reset(&a);
    }
    assert_int_equal(rows, RMD_TLS_ROWS_MAX);
    assert_int_equal(dropped, 7);
    assert_true(reports > 1);
    assert_true(rmd_tls_report_deadline(r) == RMD_NEVER);
    rmd_arena_release(&a);
    rmd_tls_report_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_sessions_are_one_row),
        cmocka_unit_test(a_new_session_hears_what_is_out),
        cmocka_unit_test(an_orderly_end_tells_at_once),
        cmocka_unit_test(rows_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
