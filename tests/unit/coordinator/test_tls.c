/* TLS sessions at the coordinator: counted once, kept by day and policy, restored, bounded, told as events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/core.h"
#include "proto/tls.h"
#include "tests/kit/coord_world.h"

enum { DAY_MS = 86400000 };

static struct cw_node *begin(struct cw *w) {
    cw_init(w, 1);
    struct cw_node *n = cw_node_add(w, "n1");
    cw_hello(w, n);
    cw_run(w);
    return n;
}

static Remuda__TlsRow row_of(const struct cw *w, const char *domain, enum rmd_tls_policy_kind kind,
                             enum rmd_tls_result result) {
    Remuda__TlsRow r = REMUDA__TLS_ROW__INIT;
    r.day = (uint32_t)(w->now.wall_ms / DAY_MS);
    r.domain = (char *)(uintptr_t)domain;
    r.kind = kind;
    r.result = result;
    r.mx_host = (char *)(uintptr_t) "mx.receiver.example";
    r.sending_ip = (char *)(uintptr_t) "192.0.2.1";
    r.receiving_ip = (char *)(uintptr_t) "198.51.100.1";
    r.reason = (char *)(uintptr_t)(result ? "certificate has expired" : "");
    r.sessions = 2;
    r.last_wall_ms = w->now.wall_ms;
    return r;
}

static void report(struct cw *w, struct cw_node *n, uint64_t run, uint64_t number, Remuda__TlsRow *row, size_t rows) {
    Remuda__TlsReport m = REMUDA__TLS_REPORT__INIT;
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__TlsRow *v[64];
    for (size_t i = 0; i < rows; i++)
        v[i] = &row[i];
    m.run = run;
    m.n = number;
    m.row = v;
    m.n_row = rows;
    f.body_case = REMUDA__FRAME__BODY_TLS_REPORT;
    f.tls_report = &m;
    cw_frame(w, n, &f);
    cw_run(w);
}

struct seen {
    size_t n;
    uint64_t good, failed, unlisted;
    size_t failures;
    char policy[128], last[128];
    int64_t downgrade;
};

static void look(void *ctx, const Remuda__TlsDayRecord *r) {
    struct seen *s = ctx;
    s->n++;
    s->good += r->good;
    s->failed += r->failed;
    s->unlisted += r->failed_unlisted;
    s->failures += r->n_failure;
    s->downgrade = r->downgrade_until_wall_ms;
    rmd_copy(s->policy, sizeof s->policy, r->policy);
    rmd_copy(s->last, sizeof s->last, r->last_failure);
}

static struct seen all(struct cw *w, uint64_t *dropped) {
    struct seen s = {0};
    uint64_t n = rmd_coord_tls_days(w->core, look, &s);
    if (dropped)
        *dropped = n;
    return s;
}

static void a_report_counts_once_also_after_a_crash(void **state) {
    (void)state;
    struct cw w;
    struct cw_node *n = begin(&w);
    Remuda__TlsRow rows[2] = {row_of(&w, "a.example", RMD_TLS_POLICY_STS, RMD_TLS_R_OK),
                              row_of(&w, "a.example", RMD_TLS_POLICY_STS, RMD_TLS_R_CERTIFICATE_EXPIRED)};
    rows[0].policy = (char *)(uintptr_t) "version: STSv1\nmode: enforce\n";
    report(&w, n, 7, 1, rows, 2);
    report(&w, n, 7, 1, rows, 2); /* its acknowledgement was lost */
    struct seen s = all(&w, NULL);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.good, 2);
    assert_int_equal(s.failed, 2);
    assert_string_equal(s.policy, "version: STSv1\nmode: enforce\n");
    assert_string_equal(s.last, "certificate-expired at mx.receiver.example: certificate has expired");
    cw_crash(&w, false);
    cw_run(&w);
    cw_hello(&w, n);
    cw_run(&w);
    report(&w, n, 7, 1, rows, 2);
    s = all(&w, NULL);
    assert_int_equal(s.good, 2);
    assert_int_equal(s.failed, 2);
    assert_int_equal(s.failures, 1);
    report(&w, n, 7, 2, rows, 2);
    report(&w, n, 8, 1, rows, 2); /* the node was started anew */
    s = all(&w, NULL);
    assert_int_equal(s.good, 6);
    assert_int_equal(s.failures, 1); /* of one kind */
    cw_release(&w);
}

static void failures_are_events_once_a_day_and_downgrades_each_time(void **state) {
    (void)state;
    struct cw w;
    struct cw_node *n = begin(&w);
    Remuda__TlsRow row = row_of(&w, "a.example", RMD_TLS_POLICY_TLSA, RMD_TLS_R_CERTIFICATE_EXPIRED);
    for (uint64_t i = 1; i <= 3; i++)
        report(&w, n, 7, i, &row, 1);
    assert_int_equal(cw_events(&w, "tls.failed"), 1);
    row = row_of(&w, "b.example", RMD_TLS_POLICY_NONE, RMD_TLS_R_STARTTLS_NOT_SUPPORTED); /* so many have none */
    report(&w, n, 7, 4, &row, 1);
    assert_int_equal(cw_events(&w, "tls.failed"), 1);
    row = row_of(&w, "b.example", RMD_TLS_POLICY_NONE, RMD_TLS_R_VALIDATION_FAILURE);
    row.downgrade_until_wall_ms = w.now.wall_ms + 1000;
    report(&w, n, 7, 5, &row, 1);
    report(&w, n, 7, 6, &row, 1); /* of another worker, for no longer */
    assert_int_equal(cw_events(&w, "tls.downgraded"), 1);
    row.downgrade_until_wall_ms += 3600000;
    report(&w, n, 7, 7, &row, 1);
    assert_int_equal(cw_events(&w, "tls.downgraded"), 2);
    cw_release(&w);
}

static void what_makes_no_sense_is_dropped(void **state) {
    (void)state;
    struct cw w;
    struct cw_node *n = begin(&w);
    char much[400];
    memset(much, 'a', sizeof much);
    much[sizeof much - 1] = 0;
    Remuda__TlsRow rows[6];
    for (size_t i = 0; i < 6; i++)
        rows[i] = row_of(&w, "a.example", RMD_TLS_POLICY_STS, RMD_TLS_R_OK);
    rows[0].day += 2;            /* in the future */
    rows[1].day -= RMD_TLS_DAYS; /* long over */
    rows[2].domain = much;
    rows[3].kind = RMD_TLS_POLICY_COUNT;
    rows[4].result = RMD_TLS_R_COUNT;
    rows[5].domain = (char *)(uintptr_t) "";
    report(&w, n, 7, 1, rows, 6);
    uint64_t dropped;
    assert_int_equal(all(&w, &dropped).n, 0);
    assert_int_equal(dropped, 12);
    cw_release(&w);
}

static void kinds_of_failure_are_bounded(void **state) {
    (void)state;
    struct cw w;
    struct cw_node *n = begin(&w);
    Remuda__TlsRow rows[RMD_TLS_FAILURES_MAX + 5];
    char host[RMD_TLS_FAILURES_MAX + 5][32];
    for (size_t i = 0; i < RMD_TLS_FAILURES_MAX + 5; i++) {
        rows[i] = row_of(&w, "a.example", RMD_TLS_POLICY_STS, RMD_TLS_R_CERTIFICATE_EXPIRED);
        (void)rmd_format(host[i], sizeof host[i], "mx%zu.example", i);
        rows[i].mx_host = host[i];
    }
    report(&w, n, 7, 1, rows, RMD_TLS_FAILURES_MAX + 5);
    struct seen s = all(&w, NULL);
    assert_int_equal(s.failures, RMD_TLS_FAILURES_MAX);
    assert_int_equal(s.unlisted, 10);
    assert_int_equal(s.failed, 2 * (RMD_TLS_FAILURES_MAX + 5));
    cw_release(&w);
}

static void days_pass(void **state) {
    (void)state;
    struct cw w;
    struct cw_node *n = begin(&w);
    for (uint64_t day = 0; day < 5; day++) {
        Remuda__TlsRow row = row_of(&w, "a.example", RMD_TLS_POLICY_STS, RMD_TLS_R_OK);
        report(&w, n, 7, day + 1, &row, 1);
        cw_pass(&w, DAY_MS, 3600000);
        cw_hello(&w, n);
        cw_run(&w);
    }
    assert_int_equal(all(&w, NULL).n, RMD_TLS_DAYS - 1); /* yesterday's and the one before; none of today yet */
    cw_crash(&w, false);
    cw_run(&w);
    assert_int_equal(all(&w, NULL).n, RMD_TLS_DAYS - 1); /* the others are gone from the store, too */
    cw_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_counts_once_also_after_a_crash),
        cmocka_unit_test(failures_are_events_once_a_day_and_downgrades_each_time),
        cmocka_unit_test(what_makes_no_sense_is_dropped),
        cmocka_unit_test(kinds_of_failure_are_bounded),
        cmocka_unit_test(days_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
