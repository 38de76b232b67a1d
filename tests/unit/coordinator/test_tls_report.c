/* Reports of TLS sessions: the JSON of RFC 8460, section 4.4, and the files in which they are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/text.h>

#include "coordinator/io/tls_report.h"
#include "proto/tls.h"

#define STR(s) ((char *)(uintptr_t)(s))
enum { DAY = 20784 }; /* 2026-11-27 */

static const struct rmd_tls_who who = {"Example Sender", "postmaster@sender.example"};

/* Two domains: one with MTA-STS and a failure and DANE on the same day, one without a policy. */
static json_t *reports(void) {
    struct rmd_buf packed = {0};
    char *hosts[] = {STR("mx1.a.example"), STR("mx2.a.example")};
    Remuda__TlsRow failure = REMUDA__TLS_ROW__INIT;
    Remuda__TlsRow *failures[] = {&failure};
    failure.result = RMD_TLS_R_CERTIFICATE_EXPIRED;
    failure.mx_host = STR("mx1.a.example");
    failure.sending_ip = STR("192.0.2.1");
    failure.receiving_ip = STR("198.51.100.1");
    failure.reason = STR("TLS certificate: certificate has expired");
    failure.sessions = 3;
    Remuda__TlsDayRecord r = REMUDA__TLS_DAY_RECORD__INIT;
    r.day = DAY;
    r.domain = STR("a.example");
    r.kind = RMD_TLS_POLICY_STS;
    r.policy = STR("version: STSv1\nmode: enforce\nmax_age: 86400\nmx: *.a.example\nmx: b.example\n");
    r.mx_host = hosts;
    r.n_mx_host = 2;
    r.good = 10;
    r.failed = 5;
    r.failure = failures;
    r.n_failure = 1;
    r.failed_unlisted = 2;
    rmd_tls_pack(&r, &packed);
    Remuda__TlsDayRecord none = REMUDA__TLS_DAY_RECORD__INIT;
    none.day = DAY;
    none.domain = STR("b.example");
    none.good = 1;
    rmd_tls_pack(&none, &packed);
    r.kind = RMD_TLS_POLICY_TLSA;
    r.policy = STR("3 1 1 aabb\n2 0 1 ccdd\n");
    r.n_failure = 0;
    r.failed = r.failed_unlisted = 0;
    rmd_tls_pack(&r, &packed);
    json_t *all = rmd_tls_reports_of(&who, DAY, rmd_buf_slice(&packed));
    rmd_buf_release(&packed);
    return all;
}

static void reports_are_as_the_rfc_writes_them(void **state) {
    (void)state;
    static const char a[] =
        "{\"organization-name\":\"Example Sender\","
        "\"date-range\":{\"start-datetime\":\"2026-11-27T00:00:00Z\",\"end-datetime\":\"2026-11-27T23:59:59Z\"},"
        "\"contact-info\":\"postmaster@sender.example\",\"report-id\":\"2026-11-27.a.example@remuda\",\"policies\":["
        "{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version: STSv1\",\"mode: enforce\",\"max_age: "
        "86400\","
        "\"mx: *.a.example\",\"mx: "
        "b.example\"],\"policy-domain\":\"a.example\",\"mx-host\":[\"*.a.example\",\"b.example\"]},"
        "\"summary\":{\"total-successful-session-count\":10,\"total-failure-session-count\":5},"
        "\"failure-details\":[{\"result-type\":\"certificate-expired\",\"sending-mta-ip\":\"192.0.2.1\","
        "\"receiving-mx-hostname\":\"mx1.a.example\",\"receiving-ip\":\"198.51.100.1\",\"failed-session-count\":3,"
        "\"failure-reason-code\":\"TLS certificate: certificate has expired\"},"
        "{\"result-type\":\"validation-failure\",\"sending-mta-ip\":\"\",\"failed-session-count\":2,"
        "\"failure-reason-code\":\"of further kinds, not kept apart\"}]},"
        "{\"policy\":{\"policy-type\":\"tlsa\",\"policy-string\":[\"3 1 1 aabb\",\"2 0 1 ccdd\"],"
        "\"policy-domain\":\"a.example\",\"mx-host\":[\"mx1.a.example\",\"mx2.a.example\"]},"
        "\"summary\":{\"total-successful-session-count\":10,\"total-failure-session-count\":0}}]}";
    static const char b[] =
        "{\"organization-name\":\"Example Sender\","
        "\"date-range\":{\"start-datetime\":\"2026-11-27T00:00:00Z\",\"end-datetime\":\"2026-11-27T23:59:59Z\"},"
        "\"contact-info\":\"postmaster@sender.example\",\"report-id\":\"2026-11-27.b.example@remuda\",\"policies\":["
        "{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"b.example\"},"
        "\"summary\":{\"total-successful-session-count\":1,\"total-failure-session-count\":0}}]}";
    json_t *all = reports();
    assert_int_equal(json_array_size(all), 2);
    const char *expected[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        char *text = json_dumps(json_array_get(all, i), JSON_COMPACT);
        assert_string_equal(text, expected[i]);
        free(text);
    }
    json_decref(all);
    assert_int_equal(json_array_size(all = rmd_tls_reports_of(&who, DAY, rmd_slice("\0\0\1\0zz", 6))), 0); /* cut */
    json_decref(all);
}

static void a_day_is_a_file(void **state) {
    (void)state;
    char folder[] = "/tmp/remuda-test-tls-XXXXXX", path[64];
    json_t *all = reports(), *back = NULL;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(rmd_tls_reports_of_file(folder, DAY, NULL, &back), RMD_ENOTFOUND);
    assert_int_equal(rmd_tls_reports_write(folder, DAY, all), RMD_OK);
    assert_int_equal(rmd_tls_reports_of_file(folder, DAY, NULL, &back), RMD_OK);
    assert_true(json_equal(back, all));
    json_decref(back);
    assert_int_equal(rmd_tls_reports_of_file(folder, DAY, "b.example", &back), RMD_OK);
    assert_int_equal(json_array_size(back), 1);
    assert_true(json_equal(json_array_get(back, 0), json_array_get(all, 1)));
    json_decref(back);
    (void)rmd_format(path, sizeof path, "%s/2026-11-27.jsonl", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* and nothing else is left */
    assert_int_equal(rmd_tls_reports_write("/nowhere", DAY, all), RMD_EIO);
    json_decref(all);
}

static void suites_have_names(void **state) {
    (void)state;
    static const struct {
        uint32_t suite;
        const char *text;
    } row[] = {{0x03041302, "TLSv1.3 TLS_AES_256_GCM_SHA384"},
               {0x0303c02f, "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256"},
               {0x0303abcd, "TLSv1.2 0xABCD"},
               {0x7f1c1301, "TLS 7f1c TLS_AES_128_GCM_SHA256"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[64];
        rmd_tls_suite_format(row[i].suite, text);
        assert_string_equal(text, row[i].text);
    }
    assert_string_equal(rmd_tls_result_name(RMD_TLS_R_COUNT), "");
    assert_string_equal(rmd_tls_result_name(RMD_TLS_R_STS_WEBPKI_INVALID), "sts-webpki-invalid");
    assert_string_equal(rmd_tls_verified_name(RMD_TLS_V_DANE), "dane");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_are_as_the_rfc_writes_them),
        cmocka_unit_test(a_day_is_a_file),
        cmocka_unit_test(suites_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
