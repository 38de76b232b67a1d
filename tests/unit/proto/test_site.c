/* Sites and providers: which domains are one site, and whose it is. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/site.h"

/* "20 b.example, 10 a.example"; "" is an implicit MX. */
static struct rmd_mx_answer mx_of(const char *text, const char *domain) {
    struct rmd_mx_answer a = {.status = RMD_DNS_OK};
    while (*text) {
        size_t n = strcspn(text, ",");
        struct rmd_slice item = rmd_trim(rmd_slice(text, n));
        size_t blank = (size_t)((const uint8_t *)memchr(item.p, ' ', item.n) - item.p);
        uint64_t preference;
        assert_int_equal(rmd_parse_u64(rmd_slice(item.p, blank), &preference), RMD_OK);
        a.mx[a.n].preference = (uint16_t)preference;
        rmd_copy_slice(a.mx[a.n++].host, RMD_DOMAIN_MAX + 1, rmd_slice(item.p + blank + 1, item.n - blank - 1));
        text += n + (text[n] == ',');
    }
    if (!a.n) {
        a.implicit = true;
        a.n = 1;
        rmd_copy(a.mx[0].host, RMD_DOMAIN_MAX + 1, domain);
    }
    return a;
}

static uint64_t site(const char *text, const char *domain) {
    struct rmd_mx_answer a = mx_of(text, domain);
    return rmd_site_id(&a, domain);
}

static void the_same_hosts_are_one_site(void **state) {
    (void)state;
    uint64_t id = site("10 a.example, 20 b.example", "one.example");
    assert_true(id == site("10 a.example, 20 b.example", "two.example"));
    assert_true(id == site("5 b.example, 7 a.example", "two.example"));
    assert_true(id == site("5 B.Example, 7 A.EXAMPLE", "two.example"));
    assert_true(id == site("5 b.example, 7 a.example, 9 a.example", "two.example"));
    assert_true(id != site("10 a.example", "one.example"));
    assert_true(id != site("10 a.example, 20 b.example, 30 c.example", "one.example"));
    assert_true(site("10 ab.example", "x.example") != site("10 a.example, 20 b.example", "x.example"));
}

static void without_hosts_a_domain_is_its_own_site(void **state) {
    (void)state;
    assert_true(site("", "one.example") == site("", "ONE.example"));
    assert_true(site("", "one.example") != site("", "two.example"));
    assert_true(site("", "mx.example") == site("10 mx.example", "other.example"));
    struct rmd_mx_answer fail = {.status = RMD_DNS_TEMPFAIL};
    assert_true(rmd_site_id(&fail, "one.example") == site("", "one.example"));
    struct rmd_mx_answer null = {.status = RMD_DNS_OK, .n = 1}; /* null MX */
    assert_true(rmd_site_id(&null, "one.example") == site("", "one.example"));
}

static void a_provider_has_every_host(void **state) {
    (void)state;
    static char text[4][24] = {".google.com", ".googlemail.com", ".example.com", ".mx.example.com"};
    char *google[] = {text[0], text[1]}, *com[] = {text[2]}, *sub[] = {text[3]};
    Remuda__ProviderPolicy p[3];
    char **suffix[] = {google, sub, com};
    size_t n[] = {2, 1, 1};
    Remuda__ProviderPolicy *all[3];
    for (int i = 0; i < 3; i++) {
        remuda__provider_policy__init(&p[i]);
        p[i].mx_suffix = suffix[i];
        p[i].n_mx_suffix = n[i];
        all[i] = &p[i];
    }
    static const struct {
        const char *mx, *domain;
        int expected;
    } rows[] = {
        {"1 aspmx.l.google.com, 5 alt1.aspmx.l.google.com", "shop.example", 0},
        {"1 ASPMX.L.GOOGLE.COM, 5 aspmx2.googlemail.com", "shop.example", 0},
        {"1 aspmx.l.google.com, 5 backup.example", "shop.example", -1}, /* one host elsewhere */
        {"1 google.com", "shop.example", 0},
        {"1 notgoogle.com", "shop.example", -1},
        {"1 google.com.example", "shop.example", -1},
        {"1 a.mx.example.com", "shop.example", 1}, /* the first one wins */
        {"1 a.mx.example.com, 2 b.example.com", "shop.example", 2},
        {"", "example.com", 2},
        {"", "nobody.example", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_mx_answer a = mx_of(rows[i].mx, rows[i].domain);
        int got = rmd_site_provider(&a, rows[i].domain, all, 3);
        if (got != rows[i].expected)
            fail_msg("%s (%s): %d", rows[i].mx, rows[i].domain, got);
    }
    struct rmd_mx_answer fail = {.status = RMD_DNS_TEMPFAIL};
    assert_int_equal(rmd_site_provider(&fail, "example.com", all, 3), -1);
}

static void provider_ids_ignore_case_and_are_never_zero(void **state) {
    (void)state;
    assert_int_equal(rmd_provider_id("google"), rmd_provider_id("Google"));
    assert_int_not_equal(rmd_provider_id("google"), rmd_provider_id("yahoo"));
    assert_int_equal(rmd_provider_id("google"), rmd_fnv32(rmd_slice_str("google")));
    assert_int_not_equal(rmd_provider_id(""), 0);
}

static void the_shipped_text_is_embedded(void **state) {
    (void)state;
    assert_int_equal(strlen(rmd_providers_shipped), rmd_providers_shipped_n);
    assert_non_null(strstr(rmd_providers_shipped, "provider \"google\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_hosts_are_one_site),  cmocka_unit_test(without_hosts_a_domain_is_its_own_site),
        cmocka_unit_test(a_provider_has_every_host),    cmocka_unit_test(provider_ids_ignore_case_and_are_never_zero),
        cmocka_unit_test(the_shipped_text_is_embedded),
    };
    return cmocka_run_group_tests_name("site", tests, NULL, NULL);
}
