/* TLS policy: records and policies of MTA-STS, which hosts they allow, TLSA records that can be used, and what follows
 * from all of it for a host. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/tls_policy.h"

/* --- the TXT record */

static void records(void **state) {
    (void)state;
    static const struct {
        const char *txt, *second;
        int rc;
        const char *id;
    } row[] = {
        {"v=STSv1; id=20160831085700Z;", NULL, RMD_OK, "20160831085700Z"},
        {"v=STSv1;id=1", NULL, RMD_OK, "1"},
        {"v=STSv1 ; id = abc ; more=x;", NULL, RMD_OK, "abc"},
        {"v=STSv1; id=12345678901234567890123456789012;", NULL, RMD_OK, "12345678901234567890123456789012"},
        {"v=STSv1; id=123456789012345678901234567890123;", NULL, RMD_EFORMAT, NULL},
        {"v=STSv1; id=a-b;", NULL, RMD_EFORMAT, NULL},
        {"v=STSv1; id=;", NULL, RMD_EFORMAT, NULL},
        {"v=STSv1;", NULL, RMD_EFORMAT, NULL},
        {"v=STSv1", NULL, RMD_ENOTFOUND, NULL},
        {"v=STSv10; id=1;", NULL, RMD_ENOTFOUND, NULL},
        {"V=STSv1; id=1;", NULL, RMD_ENOTFOUND, NULL},
        {"id=1; v=STSv1;", NULL, RMD_ENOTFOUND, NULL},
        {"", NULL, RMD_ENOTFOUND, NULL},
        {"v=spf1 -all", "v=STSv1; id=2;", RMD_OK, "2"},
        {"v=STSv1; id=1;", "v=STSv1; id=2;", RMD_ENOTFOUND, NULL}, /* several are none */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rmd_txt_answer a = {.status = RMD_DNS_OK, .n = 1 + (row[i].second != NULL)};
        char id[RMD_STS_ID_MAX + 1] = "";
        rmd_copy(a.txt[0], sizeof a.txt[0], row[i].txt);
        rmd_copy(a.txt[1], sizeof a.txt[1], row[i].second ? row[i].second : "");
        assert_int_equal(rmd_sts_record(&a, id), row[i].rc);
        if (row[i].id)
            assert_string_equal(id, row[i].id);
    }
    struct rmd_txt_answer none = {.status = RMD_DNS_NXDOMAIN, .n = 1, .txt = {"v=STSv1; id=1;"}};
    char id[RMD_STS_ID_MAX + 1];
    assert_int_equal(rmd_sts_record(&none, id), RMD_ENOTFOUND);
}

/* --- the policy */

static struct rmd_sts_policy *parse(const char *text, char why[RMD_STS_WHY]) {
    struct rmd_sts_policy *p;
    int rc = rmd_sts_parse(rmd_slice_str(text), &p, why);
    assert_int_equal(rc, p ? RMD_OK : RMD_EFORMAT);
    return p;
}

static void policies(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum rmd_sts_mode mode;
        int64_t max_age_s;
        const char *mx, *why;
    } row[] = {
        {"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: "
         "Backupmx.Example.com\r\nmax_age: 604800\r\n",
         RMD_STS_ENFORCE, 604800, "mail.example.com\n*.example.net\nbackupmx.example.com\n", NULL},
        {"version:STSv1\nmode:testing\nmx:a.b\nmax_age:1", RMD_STS_TESTING, 1, "a.b\n", NULL},
        {"version: STSv1\nmode: none\nmax_age: 86400\n", RMD_STS_NONE, 86400, "", NULL},
        {"version: STSv1\nmode: enforce\nmx: a\nmax_age: 86400\nnew_key: what: ever\n\n", RMD_STS_ENFORCE, 86400,
         "a\n", NULL},
        {"version: STSv1\nmode: enforce\nmode: none\nmx: a\nmax_age: 86400\nmax_age: 5\n", RMD_STS_ENFORCE, 86400,
         "a\n", NULL},
        {"version: STSv1\nmode: enforce\nmx: a\nmax_age: 9999999999\n", RMD_STS_ENFORCE, RMD_STS_MAX_AGE_S, "a\n",
         NULL},
        {"", 0, 0, NULL, "it has no version"},
        {"version: STSv2\nmode: enforce\nmx: a\nmax_age: 86400\n", 0, 0, NULL, "its version isn't STSv1"},
        {"mode: enforce\nmx: a\nmax_age: 86400\n", 0, 0, NULL, "it has no version"},
        {"version: STSv1\nmode: Enforce\nmx: a\nmax_age: 1\n", 0, 0, NULL,
         "its mode is none of enforce, testing, none"},
        {"version: STSv1\nmx: a\nmax_age: 1\n", 0, 0, NULL, "it has no mode"},
        {"version: STSv1\nmode: enforce\nmx: a\n", 0, 0, NULL, "it has no max_age"},
        {"version: STSv1\nmode: enforce\nmax_age: 1\n", 0, 0, NULL, "it has no mx"},
        {"version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n", 0, 0, NULL,
         "its max_age isn't a number of up to ten digits"},
        {"version: STSv1\nmode: enforce\nmx: a\nmax_age: 99999999999\n", 0, 0, NULL,
         "its max_age isn't a number of up to ten digits"},
        {"version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n", 0, 0, NULL, "an mx is no host name or pattern"},
        {"version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1\n", 0, 0, NULL, "an mx is no host name or pattern"},
        {"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n", 0, 0, NULL, "an mx is no host name or pattern"},
        {"version: STSv1\nmode: enforce\nmx:\nmax_age: 1\n", 0, 0, NULL, "an mx is no host name or pattern"},
        {"<html>\n", 0, 0, NULL, "a line isn't \"key: value\""},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char why[RMD_STS_WHY] = "";
        struct rmd_sts_policy *p = parse(row[i].text, why);
        if (row[i].why) {
            assert_null(p);
            assert_string_equal(why, row[i].why);
            continue;
        }
        assert_non_null(p);
        assert_int_equal(p->mode, row[i].mode);
        assert_int_equal(p->max_age_s, row[i].max_age_s);
        assert_string_equal(p->mx, row[i].mx);
        struct rmd_buf text = {0};
        rmd_sts_text(p, &text);
        struct rmd_sts_policy *again = parse(rmd_buf_str(&text), why); /* what is told is a policy again */
        assert_string_equal(again->mx, p->mx);
        rmd_buf_release(&text);
        free(again);
        free(p);
    }
}

static void a_policy_has_limits(void **state) {
    (void)state;
    struct rmd_buf text = {0};
    char why[RMD_STS_WHY];
    rmd_buf_addstr(&text, "version: STSv1\nmode: enforce\nmax_age: 1\n");
    for (int i = 0; i < 1000; i++)
        rmd_buf_addf(&text, "mx: mx%04d.example\n", i);
    assert_null(parse(rmd_buf_str(&text), why));
    assert_string_equal(why, "too many mx");
    rmd_buf_clear(&text);
    rmd_buf_addstr(&text, "version: STSv1\nmode: enforce\nmax_age: 1\nmx: a\n");
    while (text.len <= RMD_STS_BODY_MAX)
        rmd_buf_addstr(&text, "x: y\n");
    assert_null(parse(rmd_buf_str(&text), why));
    assert_string_equal(why, "it is larger than 64 KiB");
    rmd_buf_release(&text);
}

static void patterns(void **state) {
    (void)state;
    static const struct {
        const char *mx, *host;
        bool ok;
    } row[] = {
        {"mail.example.com", "mail.example.com", true},   {"mail.example.com", "MAIL.Example.com", true},
        {"mail.example.com", "mail2.example.com", false}, {"mail.example.com", "a.mail.example.com", false},
        {"*.example.com", "mail.example.com", true},      {"*.example.com", "MX.EXAMPLE.COM", true},
        {"*.example.com", "a.b.example.com", false},      {"*.example.com", "example.com", false},
        {"*.example.com", ".example.com", false},         {"*.example.com", "mail.example.com.evil", false},
        {"*.example.com", "mailexample.com", false},      {"*.com", "example.com", true},
        {"example.com", "*.example.com", false},          {"a.b", "", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[256], why[RMD_STS_WHY];
        (void)rmd_format(text, sizeof text, "version: STSv1\nmode: enforce\nmax_age: 1\nmx: other.example\nmx: %s\n",
                         row[i].mx);
        struct rmd_sts_policy *p = parse(text, why);
        assert_int_equal(rmd_sts_match(p, row[i].host), row[i].ok);
        free(p);
    }
}

/* --- TLSA records */

static void usable(void **state) {
    (void)state;
    static const struct {
        uint8_t usage, selector, matching;
        uint16_t n;
        bool ok;
    } row[] = {
        {3, 1, 1, 32, true},    {3, 0, 1, 32, true},  {2, 0, 1, 32, true},  {2, 1, 2, 64, true},
        {3, 1, 0, 91, true},    {0, 0, 1, 32, false}, {1, 0, 1, 32, false}, {4, 0, 1, 32, false},
        {255, 1, 1, 32, false}, {3, 2, 1, 32, false}, {3, 1, 3, 32, false}, {3, 1, 1, 31, false},
        {3, 1, 1, 33, false},   {3, 1, 2, 32, false}, {3, 1, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rmd_tlsa t = {row[i].usage, row[i].selector, row[i].matching, 0, row[i].n};
        assert_int_equal(rmd_tlsa_usable(&t), row[i].ok);
    }
}

/* --- decisions */

enum tlsa_kind { NOT_ASKED, GOOD, UNUSABLE, ONE_GOOD, NONE, FAILED, INSECURE };

static void fill(struct rmd_tlsa_answer *a, enum tlsa_kind kind) {
    *a = (struct rmd_tlsa_answer){.status = RMD_DNS_OK, .secure = kind != INSECURE, .n = 1};
    a->tlsa[0] = (struct rmd_tlsa){3, 1, 1, 0, 32};
    if (kind == UNUSABLE || kind == ONE_GOOD)
        a->tlsa[0].usage = 1;
    if (kind == ONE_GOOD)
        a->tlsa[a->n++] = (struct rmd_tlsa){2, 0, 1, 0, 32};
    if (kind == NONE)
        *a = (struct rmd_tlsa_answer){.status = RMD_DNS_NXDOMAIN, .secure = true};
    if (kind == FAILED)
        *a = (struct rmd_tlsa_answer){.status = RMD_DNS_TEMPFAIL};
}

static void decisions(void **state) {
    (void)state;
    enum { OFF = 1, REQ = 2, NODANE = 4, MXI = 8, ADDRI = 16, BROKEN = 32 };
    static const char *const named = "mx: mx.a.example\n", *const other = "mx: mx.b.example\n";
    static const struct {
        unsigned flags;
        enum tlsa_kind tlsa;
        const char *mode, *mx;
        enum rmd_tls_level level;
        bool check, fallback;
        enum rmd_tls_policy_kind kind;
        enum rmd_tls_result why;
    } row[] = {
        /* nobody says anything */
        {MXI | ADDRI, NOT_ASKED, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {MXI | ADDRI | BROKEN, NOT_ASKED, NULL, NULL, RMD_TLS_L_PLAIN, false, false, RMD_TLS_POLICY_NONE,
         RMD_TLS_R_OK},
        {OFF, GOOD, "enforce", NULL, RMD_TLS_L_PLAIN, false, false, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        /* the operator requires it: never in the clear, also where it failed lately */
        {MXI | REQ, NOT_ASKED, NULL, NULL, RMD_TLS_L_ENCRYPT, false, false, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {MXI | REQ | BROKEN, NOT_ASKED, NULL, NULL, RMD_TLS_L_ENCRYPT, false, false, RMD_TLS_POLICY_NONE,
         RMD_TLS_R_OK},
        {MXI | REQ | OFF, NOT_ASKED, NULL, NULL, RMD_TLS_L_ENCRYPT, false, false, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        /* DANE */
        {0, GOOD, NULL, NULL, RMD_TLS_L_DANE, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_OK},
        {0, ONE_GOOD, NULL, NULL, RMD_TLS_L_DANE, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_OK},
        {BROKEN, GOOD, NULL, NULL, RMD_TLS_L_DANE, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_OK},
        {0, UNUSABLE, NULL, NULL, RMD_TLS_L_ENCRYPT, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_OK},
        {0, NONE, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {0, INSECURE, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {0, FAILED, NULL, NULL, RMD_TLS_L_SKIP, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_DNSSEC_INVALID},
        {0, NOT_ASKED, NULL, NULL, RMD_TLS_L_SKIP, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_DNSSEC_INVALID},
        /* a link of the chain is missing: records say nothing, and needn't be asked for */
        {MXI, GOOD, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {ADDRI, GOOD, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {MXI, FAILED, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        {NODANE, GOOD, NULL, NULL, RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        /* MTA-STS */
        {MXI, NOT_ASKED, "enforce", "n", RMD_TLS_L_PKIX, false, false, RMD_TLS_POLICY_STS, RMD_TLS_R_OK},
        {MXI | BROKEN, NOT_ASKED, "enforce", "n", RMD_TLS_L_PKIX, false, false, RMD_TLS_POLICY_STS, RMD_TLS_R_OK},
        {MXI, NOT_ASKED, "enforce", "o", RMD_TLS_L_SKIP, false, false, RMD_TLS_POLICY_STS,
         RMD_TLS_R_VALIDATION_FAILURE},
        {MXI, NOT_ASKED, "testing", "n", RMD_TLS_L_MAY, true, true, RMD_TLS_POLICY_STS, RMD_TLS_R_OK},
        {MXI, NOT_ASKED, "testing", "o", RMD_TLS_L_MAY, true, true, RMD_TLS_POLICY_STS, RMD_TLS_R_VALIDATION_FAILURE},
        {MXI | REQ, NOT_ASKED, "testing", "o", RMD_TLS_L_ENCRYPT, true, false, RMD_TLS_POLICY_STS,
         RMD_TLS_R_VALIDATION_FAILURE},
        {MXI, NOT_ASKED, "none", "o", RMD_TLS_L_MAY, false, true, RMD_TLS_POLICY_NONE, RMD_TLS_R_OK},
        /* both: DANE wins */
        {0, GOOD, "enforce", "o", RMD_TLS_L_DANE, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_OK},
        {0, FAILED, "enforce", "n", RMD_TLS_L_SKIP, false, false, RMD_TLS_POLICY_TLSA, RMD_TLS_R_DNSSEC_INVALID},
        {0, NONE, "enforce", "n", RMD_TLS_L_PKIX, false, false, RMD_TLS_POLICY_STS, RMD_TLS_R_OK},
        {0, NONE, "enforce", "o", RMD_TLS_L_SKIP, false, false, RMD_TLS_POLICY_STS, RMD_TLS_R_VALIDATION_FAILURE},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rmd_tlsa_answer a;
        char text[256], why[RMD_STS_WHY];
        const char *mx = row[i].mx && *row[i].mx == 'n' ? named : other;
        (void)rmd_format(text, sizeof text, "version: STSv1\nmode: %s\nmax_age: 1\n%s",
                         row[i].mode ? row[i].mode : "none", mx);
        struct rmd_sts_policy *sts = row[i].mode ? parse(text, why) : NULL;
        fill(&a, row[i].tlsa);
        struct rmd_tls_facts f = {.host = "mx.a.example",
                                  .on = !(row[i].flags & OFF),
                                  .required = row[i].flags & REQ,
                                  .dane = !(row[i].flags & NODANE),
                                  .mx_secure = !(row[i].flags & MXI),
                                  .addr_secure = !(row[i].flags & ADDRI),
                                  .tlsa = row[i].tlsa == NOT_ASKED ? NULL : &a,
                                  .sts = sts,
                                  .broken = row[i].flags & BROKEN};
        struct rmd_tls_decision d = rmd_tls_decide(&f);
        if (d.level != row[i].level || d.kind != row[i].kind || d.why != row[i].why)
            fail_msg("row %zu: level %d, kind %d, why %d", i, (int)d.level, (int)d.kind, (int)d.why);
        assert_int_equal(d.check, row[i].check);
        assert_int_equal(d.fallback, row[i].fallback);
        assert_int_equal(d.reason != NULL, row[i].why != RMD_TLS_R_OK);
        free(sts);
    }
}

static void broken_hosts_are_remembered_and_forgotten(void **state) {
    (void)state;
    struct rmd_tls_broken b = {0};
    char host[32];
    assert_false(rmd_tls_broken_has(&b, "mx0.example", 0));
    for (int i = 0; i < RMD_TLS_BROKEN_MAX + 10; i++) {
        (void)rmd_format(host, sizeof host, "mx%d.example", i);
        rmd_tls_broken_add(&b, host, 1000);
    }
    assert_int_equal(b.by_host.n, RMD_TLS_BROKEN_MAX);
    assert_false(rmd_tls_broken_has(&b, "mx9.example", 0)); /* the oldest made room */
    assert_true(rmd_tls_broken_has(&b, "mx10.example", 999));
    assert_false(rmd_tls_broken_has(&b, "mx10.example", 1000));
    rmd_tls_broken_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),
        cmocka_unit_test(policies),
        cmocka_unit_test(patterns),
        cmocka_unit_test(a_policy_has_limits),
        cmocka_unit_test(usable),
        cmocka_unit_test(decisions),
        cmocka_unit_test(broken_hosts_are_remembered_and_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
