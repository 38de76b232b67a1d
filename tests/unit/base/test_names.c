/* Addresses and networks, ids, dates: tables, round trips, order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>
#include <remuda/rng.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static struct rmd_addr addr(const char *s) {
    struct rmd_addr a;
    assert_int_equal(rmd_addr_parse(s, &a), RMD_OK);
    return a;
}

static void test_addresses_and_their_networks(void **state) {
    (void)state;
    const struct {
        const char *in, *out, *network;
    } table[] = {
        {"203.0.113.7", "203.0.113.7", "203.0.113.0/24"},
        {"0.0.0.0", "0.0.0.0", "0.0.0.0/24"},
        {"255.255.255.255", "255.255.255.255", "255.255.255.0/24"},
        {"2001:DB8:0:0:1:2:3:4", "2001:db8::1:2:3:4", "2001:db8::/64"},
        {"2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"},
        {"::", "::", "::/64"},
        {"::1", "::1", "::/64"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "ffff:ffff:ffff:ffff::/64"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1", "::/64"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct rmd_addr a = addr(table[i].in);
        char out[48], network[56];
        rmd_addr_format(&a, out);
        assert_string_equal(out, table[i].out);
        rmd_network_format(&a, network);
        assert_string_equal(network, table[i].network);
        struct rmd_addr again = addr(out), net = rmd_addr_network(&a), twice = rmd_addr_network(&net);
        assert_true(rmd_addr_eq(&a, &again));
        assert_true(rmd_addr_eq(&net, &twice));
    }
    const char *bad[] = {"",         "1.2.3",      "1.2.3.4.5",     "256.1.1.1", "1.2.3.4 ",    " 1.2.3.4",
                         "01.2.3.4", "1.2.3.0x4",  ":::",           "1::2::3",   "2001:db8::g", "2001:db8::1%eth0",
                         "[::1]",    "fe80::1/64", "1:2:3:4:5:6:7", "12345::"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct rmd_addr a = {.family = 99};
        if (rmd_addr_parse(bad[i], &a) != RMD_EFORMAT)
            fail_msg("\"%s\" was taken for an address", bad[i]);
        assert_int_equal(a.family, 99);
    }
    struct rmd_addr four = addr("1.2.3.4"), six = addr("102:304::"), none = {0};
    assert_false(rmd_addr_eq(&four, &six));
    char out[48];
    rmd_addr_format(&none, out);
    assert_string_equal(out, "-");
    four.b[9] = 1; /* bytes past an IPv4 address don't count */
    struct rmd_addr clean = addr("1.2.3.4");
    assert_true(rmd_addr_eq(&four, &clean));
}

static void test_special_addresses(void **state) {
    (void)state;
    const char *special[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.3.0.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.7",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "fe80::1",
        "febf::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2002:7f00:1::",
        "3fff:fff::1",
        "100::1",
        "::127.0.0.1",
        "4000::1",
    };
    const char *global[] = {"1.1.1.1",        "9.255.255.255",   "11.0.0.0",         "100.63.255.255",
                            "100.128.0.0",    "126.255.255.255", "128.0.0.1",        "172.15.255.255",
                            "172.32.0.0",     "192.0.1.1",       "192.167.255.255",  "192.169.0.0",
                            "198.17.255.255", "198.20.0.0",      "223.255.255.255",  "2001:4860:4860::8888",
                            "2a00:1450::1",   "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8", "2002:808:808::1",
                            "2001:200::1",    "3fff:1000::1",    "2001:db9::1"};
    for (size_t i = 0; i < COUNT(special); i++) {
        struct rmd_addr a = addr(special[i]);
        if (!rmd_addr_is_special(&a))
            fail_msg("%s should be special", special[i]);
    }
    for (size_t i = 0; i < COUNT(global); i++) {
        struct rmd_addr a = addr(global[i]);
        if (rmd_addr_is_special(&a))
            fail_msg("%s should not be special", global[i]);
    }
    struct rmd_addr none = {0};
    assert_true(rmd_addr_is_special(&none));
}

/* --- ids */

static void test_id_parts_come_back(void **state) {
    (void)state;
    struct rmd_id campaign = rmd_id_make(INT64_C(0x0123456789ab), 0xdeadbeef);
    assert_memory_equal(campaign.b, "\x01\x23\x45\x67\x89\xab\xde\xad\xbe\xef\0\0\0\0\0\0", 16);
    const uint64_t ordinals[] = {0, 1, 255, 65536, UINT64_C(1) << 32, (UINT64_C(1) << 48) - 1};
    for (size_t i = 0; i < COUNT(ordinals); i++) {
        struct rmd_id row = rmd_id_row(&campaign, ordinals[i]);
        assert_true(rmd_id_ordinal(&row) == ordinals[i]);
        struct rmd_id back = rmd_id_campaign(&row);
        assert_true(rmd_id_eq(&back, &campaign));
        assert_int_equal(rmd_id_eq(&row, &campaign), ordinals[i] == 0);
    }
}

static void test_id_text_round_trip(void **state) {
    (void)state;
    const struct {
        const char *bytes, *text;
    } table[] = {
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "00000000000000000000000000"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x21", "00000000000000000000000011"},
        {"\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "40000000000000000000000000"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct rmd_id id, back;
        char text[27];
        memcpy(id.b, table[i].bytes, 16);
        rmd_id_format(&id, text);
        assert_string_equal(text, table[i].text);
        assert_int_equal(rmd_id_parse(rmd_slice_str(text), &back), RMD_OK);
        assert_true(rmd_id_eq(&id, &back));
    }
    struct rmd_id id;
    assert_int_equal(rmd_id_parse(rmd_slice_str("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id), RMD_OK);
    const char *bad[] = {"",
                         "0000000000000000000000000",
                         "000000000000000000000000000",
                         "80000000000000000000000000", /* 129 bits */
                         "z0000000000000000000000000",
                         "0000000000000000000000000i",
                         "0000000000000000000000000L",
                         "0000000000000000000000000o",
                         "0000000000000000000000000u",
                         "0000000000000-000000000000",
                         "-0000000000000000000000000"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(rmd_id_parse(rmd_slice_str(bad[i]), &id), RMD_EFORMAT);
    assert_int_equal(rmd_id_parse(rmd_slice("0000000000000\0000000000000\0", 26), &id), RMD_EFORMAT);
}

static int sign(int x) {
    return (x > 0) - (x < 0);
}

static void test_id_order_is_time_then_row_in_bytes_and_in_text(void **state) {
    (void)state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 7);
    for (int i = 0; i < 5000; i++) {
        int64_t t1 = (int64_t)rmd_rng_below(&rng, INT64_C(1) << 48),
                t2 = (int64_t)rmd_rng_below(&rng, INT64_C(1) << 48);
        uint64_t r1 = rmd_rng_below(&rng, UINT64_C(1) << 48), r2 = rmd_rng_below(&rng, UINT64_C(1) << 48);
        if (i % 2)
            t2 = t1;
        struct rmd_id c1 = rmd_id_make(t1, 5), c2 = rmd_id_make(t2, 5);
        struct rmd_id a = rmd_id_row(&c1, r1), b = rmd_id_row(&c2, r2), back;
        int want = t1 != t2 ? (t1 < t2 ? -1 : 1) : (r1 > r2) - (r1 < r2);
        char ta[27], tb[27];
        rmd_id_format(&a, ta);
        rmd_id_format(&b, tb);
        assert_int_equal(sign(memcmp(a.b, b.b, 16)), want);
        assert_int_equal(sign(strcmp(ta, tb)), want);
        assert_int_equal(rmd_id_parse(rmd_slice_str(ta), &back), RMD_OK);
        assert_true(rmd_id_eq(&a, &back));
    }
}

/* --- dates */

static void test_dates(void **state) {
    (void)state;
    const struct {
        int64_t ms;
        const char *rfc3339, *rfc5322;
    } table[] = {
        {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 +0000"},
        {-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 +0000"},
        {INT64_C(1795428000000), "2026-11-23T10:00:00.000Z", "Mon, 23 Nov 2026 10:00:00 +0000"},
        {INT64_C(951782400000), "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 +0000"},
        {INT64_C(1709164800000), "2024-02-29T00:00:00.000Z", "Thu, 29 Feb 2024 00:00:00 +0000"},
        {INT64_C(1709251199999), "2024-02-29T23:59:59.999Z", "Thu, 29 Feb 2024 23:59:59 +0000"},
        {INT64_C(1709251200000), "2024-03-01T00:00:00.000Z", "Fri, 01 Mar 2024 00:00:00 +0000"},
        {INT64_C(4107542400000), "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 +0000"},
        {INT64_C(4107542399000), "2100-02-28T23:59:59.000Z", "Sun, 28 Feb 2100 23:59:59 +0000"},
        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 +0000"},
        {INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z", "Sat, 01 Jan 0000 00:00:00 +0000"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        char a[32], b[40];
        int64_t back;
        rmd_date_rfc3339(table[i].ms, a);
        rmd_date_rfc5322(table[i].ms, b);
        assert_string_equal(a, table[i].rfc3339);
        assert_string_equal(b, table[i].rfc5322);
        assert_int_equal(rmd_date_parse_rfc3339(rmd_slice_str(a), &back), RMD_OK);
        assert_true(back == table[i].ms);
    }
    char a[32], b[40];
    rmd_date_rfc3339(INT64_MAX, a);
    assert_string_equal(a, "9999-12-31T23:59:59.999Z");
    rmd_date_rfc3339(INT64_MIN, a);
    assert_string_equal(a, "0000-01-01T00:00:00.000Z");
    rmd_date_rfc5322(INT64_MAX, b);
    assert_string_equal(b, "Fri, 31 Dec 9999 23:59:59 +0000");
}

/* Every day of 800 years, walked with a naive calendar. */
static void test_dates_against_a_naive_calendar(void **state) {
    (void)state;
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = -135140; /* 1600-01-01 */
    for (int y = 1600; y < 2400; y++) {
        bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        for (int m = 1; m <= 12; m++) {
            for (int d = 1; d <= lengths[m - 1] + (m == 2 && leap); d++, day++) {
                char want[32], got[32];
                int64_t back;
                rmd_format(want, sizeof want, "%04d-%02d-%02d", y, m, d);
                rmd_date_rfc3339(day * 86400000 + 1, got);
                got[10] = 0;
                assert_string_equal(got, want);
                assert_int_equal(rmd_date_parse_rfc3339(rmd_slice_str(want), &back), RMD_OK);
                assert_true(back == day * 86400000);
            }
        }
    }
}

static void test_rfc3339_spellings(void **state) {
    (void)state;
    const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"1970-01-02", 86400000},
        {"1970-01-01t00:00:01z", 1000},
        {"1970-01-01 00:00:01Z", 1000},
        {"1970-01-01T00:00:00.5Z", 500},
        {"1970-01-01T00:00:00.0019Z", 1},
        {"1970-01-01T00:00:00.123456789Z", 123},
        {"1970-01-01T02:00:00+02:00", 0},
        {"1969-12-31T19:30:00-04:30", 0},
        {"1970-01-01T00:00:00+23:59", -(INT64_C(23) * 60 + 59) * 60000},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)}, /* a leap second */
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t ms;
        if (rmd_date_parse_rfc3339(rmd_slice_str(good[i].text), &ms) != RMD_OK || ms != good[i].ms)
            fail_msg("%s was not understood", good[i].text);
    }
    const char *bad[] = {"",
                         "1970",
                         "1970-1-1",
                         "1970-13-01",
                         "1970-00-01",
                         "1970-01-00",
                         "1970-01-32",
                         "1970-04-31",
                         "2023-02-29",
                         "1900-02-29",
                         "2100-02-29",
                         "1970-01-01T",
                         "1970-01-01T00:00:00",
                         "1970-01-01T00:00Z",
                         "1970-01-01T24:00:00Z",
                         "1970-01-01T00:60:00Z",
                         "1970-01-01T00:00:61Z",
                         "1970-01-01T00:00:00.Z",
                         "1970-01-01T00:00:00Zx",
                         "1970-01-01T00:00:00+2:00",
                         "1970-01-01T00:00:00+0200",
                         "1970-01-01T00:00:00+24:00",
                         "-970-01-01",
                         "+1970-01-01",
                         " 1970-01-01",
                         "1970-01-01 "};
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = 77;
        if (rmd_date_parse_rfc3339(rmd_slice_str(bad[i]), &ms) != RMD_EFORMAT || ms != 77)
            fail_msg("\"%s\" was taken for a date", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_and_their_networks),
        cmocka_unit_test(test_special_addresses),
        cmocka_unit_test(test_id_parts_come_back),
        cmocka_unit_test(test_id_text_round_trip),
        cmocka_unit_test(test_id_order_is_time_then_row_in_bytes_and_in_text),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_dates_against_a_naive_calendar),
        cmocka_unit_test(test_rfc3339_spellings),
    };
    return cmocka_run_group_tests_name("base/names", tests, NULL, NULL);
}
