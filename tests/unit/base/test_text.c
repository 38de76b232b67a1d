/* Text helpers: numbers with units, base64, hexadecimal, UTF-8, case, bounded copies, error texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static struct rmd_slice sl(const char *s) {
    return rmd_slice_str(s);
}

static void test_copies_and_formats_are_bounded(void **state) {
    (void)state;
    char out[5] = "????";
    assert_true(rmd_copy(out, sizeof out, "1234"));
    assert_string_equal(out, "1234");
    assert_false(rmd_copy(out, sizeof out, "12345"));
    assert_string_equal(out, "1234");
    assert_true(rmd_copy_slice(out, sizeof out, rmd_slice(NULL, 0)));
    assert_string_equal(out, "");
    assert_false(rmd_copy(out, 0, ""));
    assert_int_equal(rmd_format(out, sizeof out, "%d", 1234), 4);
    assert_int_equal(rmd_format(out, sizeof out, "%d", 12345), RMD_ELIMIT);
    assert_string_equal(out, "1234");
    assert_int_equal(rmd_format(out, 0, "%s", ""), RMD_ELIMIT);
}

static void test_case_is_ascii_only(void **state) {
    (void)state;
    char s[] = "AZ[az@\xc3\x84";
    rmd_lower_str(s);
    assert_string_equal(s, "az[az@\xc3\x84");
    assert_true(rmd_case_eq(sl("ExAmple.ORG"), sl("eXample.org")));
    assert_false(rmd_case_eq(sl("a@"), sl("a`"))); /* differ in bit 5, but aren't letters */
    assert_false(rmd_case_eq(sl("ab"), sl("abc")));
    assert_true(rmd_case_prefix(sl("STARTTLS now"), "starttls"));
    assert_false(rmd_case_prefix(sl("START"), "starttls"));
    assert_true(rmd_has_suffix("a.example", ".example"));
    assert_false(rmd_has_suffix("example", ".example"));
    assert_true(rmd_slice_eq(rmd_trim(sl(" \t\r\n a b\n ")), sl("a b")));
    assert_int_equal(rmd_trim(sl(" \r\n")).n, 0);
    struct rmd_slice hay = sl("Client host BLOCKED using");
    assert_ptr_equal(rmd_case_find(hay, sl("blocked")), hay.p + 12);
    assert_ptr_equal(rmd_case_find(hay, sl("USING")), hay.p + 20);
    assert_null(rmd_case_find(hay, sl("usingx")));
    assert_ptr_equal(rmd_case_find(hay, sl("")), hay.p);
    assert_null(rmd_case_find(sl("ab"), sl("abc")));
}

static void test_numbers(void **state) {
    (void)state;
    const struct {
        const char *text;
        int rc;
        uint64_t value;
    } table[] = {
        {"0", 0, 0},
        {"007", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", RMD_ELIMIT, 0},
        {"99999999999999999999999", RMD_ELIMIT, 0},
        {"", RMD_EFORMAT, 0},
        {"-1", RMD_EFORMAT, 0},
        {"+1", RMD_EFORMAT, 0},
        {" 1", RMD_EFORMAT, 0},
        {"1 ", RMD_EFORMAT, 0},
        {"0x10", RMD_EFORMAT, 0},
        {"99999999999999999999999x", RMD_EFORMAT, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        uint64_t v = 77;
        assert_int_equal(rmd_parse_u64(sl(table[i].text), &v), table[i].rc);
        assert_int_equal(v, table[i].rc ? 77 : table[i].value);
    }
    uint64_t v;
    assert_int_equal(rmd_parse_u64(rmd_slice("1\0", 2), &v), RMD_EFORMAT);
    assert_int_equal(rmd_parse_u64(rmd_slice(NULL, 0), &v), RMD_EFORMAT);
}

static void test_durations(void **state) {
    (void)state;
    const struct {
        const char *text;
        int rc;
        int64_t ms;
    } table[] = {
        {"90s", 0, 90000},
        {"5min", 0, 300000},
        {"5m", 0, 300000},
        {"4h", 0, 14400000},
        {"2d", 0, 172800000},
        {"250ms", 0, 250},
        {"30", 0, 30000},
        {"0", 0, 0},
        {"9223372036854775806ms", 0, INT64_MAX - 1},
        {"9223372036854775807ms", RMD_ELIMIT, 0}, /* would be RMD_NEVER */
        {"9223372036854776s", RMD_ELIMIT, 0},
        {"213503982335d", RMD_ELIMIT, 0},
        {"99999999999999999999d", RMD_ELIMIT, 0},
        {"", RMD_EFORMAT, 0},
        {"s", RMD_EFORMAT, 0},
        {"5 min", RMD_EFORMAT, 0},
        {"5M", RMD_EFORMAT, 0},
        {"-5s", RMD_EFORMAT, 0},
        {"1.5h", RMD_EFORMAT, 0},
        {"1h30m", RMD_EFORMAT, 0},
        {"5minutes", RMD_EFORMAT, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        int64_t v = -77;
        assert_int_equal(rmd_parse_duration_ms(sl(table[i].text), &v), table[i].rc);
        assert_int_equal(v, table[i].rc ? -77 : table[i].ms);
    }
}

static void test_counts_and_bytes(void **state) {
    (void)state;
    const struct {
        int (*parse)(struct rmd_slice, uint64_t *);
        const char *text;
        int rc;
        uint64_t value;
    } table[] = {
        {rmd_parse_count, "1000", 0, 1000},
        {rmd_parse_count, "200k", 0, 200000},
        {rmd_parse_count, "2M", 0, 2000000},
        {rmd_parse_count, "18446744073709552k", RMD_ELIMIT, 0},
        {rmd_parse_count, "k", RMD_EFORMAT, 0},
        {rmd_parse_count, "2kk", RMD_EFORMAT, 0},
        {rmd_parse_count, "2MB", RMD_EFORMAT, 0},
        {rmd_parse_ppm, "5%", 0, 50000},
        {rmd_parse_ppm, "0.02%", 0, 200},
        {rmd_parse_ppm, "99.9999%", 0, 999999},
        {rmd_parse_ppm, "0.00001%", RMD_EFORMAT, 0},
        {rmd_parse_ppm, "1.%", RMD_EFORMAT, 0},
        {rmd_parse_ppm, "1.5.5%", RMD_EFORMAT, 0},
        {rmd_parse_ppm, "%", RMD_EFORMAT, 0},
        {rmd_parse_ppm, "5", RMD_EFORMAT, 0},
        {rmd_parse_ppm, "12345678901%", RMD_ELIMIT, 0},
        {rmd_parse_bytes, "512", 0, 512},
        {rmd_parse_bytes, "64KiB", 0, 65536},
        {rmd_parse_bytes, "20MB", 0, 20000000},
        {rmd_parse_bytes, "1GiB", 0, UINT64_C(1) << 30},
        {rmd_parse_bytes, "16777215TiB", 0, UINT64_C(16777215) << 40},
        {rmd_parse_bytes, "16777216TiB", RMD_ELIMIT, 0},
        {rmd_parse_bytes, "64kib", RMD_EFORMAT, 0},
        {rmd_parse_bytes, "", RMD_EFORMAT, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        uint64_t v = 77;
        assert_int_equal(table[i].parse(sl(table[i].text), &v), table[i].rc);
        assert_int_equal(v, table[i].rc ? 77 : table[i].value);
    }
}

static void test_durations_and_counts_for_people(void **state) {
    (void)state;
    const struct {
        int64_t ms;
        const char *text;
    } durations[] = {
        {0, "0s"},
        {1, "1ms"},
        {250, "250ms"},
        {999, "999ms"},
        {1000, "1s"},
        {1250, "1s 250ms"},
        {303000, "5min 3s"},
        {303250, "5min 3s"},
        {3600000, "1h"},
        {187200000, "2d 4h"},
        {86400000 + 300000, "1d"}, /* the next unit is zero: a third isn't shown */
        {-1500, "-1s 500ms"},
        {INT64_MAX, "106751991167d 7h"},
        {INT64_MIN, "-106751991167d 7h"},
    };
    char out[32];
    for (size_t i = 0; i < COUNT(durations); i++) {
        rmd_format_duration(durations[i].ms, out);
        assert_string_equal(out, durations[i].text);
    }
    const struct {
        uint64_t n;
        const char *text;
    } counts[] = {
        {0, "0"},
        {999, "999"},
        {1000, "1,000"},
        {123456, "123,456"},
        {1234567, "1,234,567"},
        {UINT64_MAX, "18,446,744,073,709,551,615"},
    };
    for (size_t i = 0; i < COUNT(counts); i++) {
        rmd_format_count(counts[i].n, out);
        assert_string_equal(out, counts[i].text);
    }
}

static void test_hex(void **state) {
    (void)state;
    char out[9];
    uint8_t back[4] = {9, 9, 9, 9};
    assert_int_equal(rmd_hex(out, "\x00\x1f\xAB\xff", 4), 8);
    assert_string_equal(out, "001fabff");
    assert_int_equal(rmd_unhex(sl("001FabFf"), back, 4), RMD_OK);
    assert_memory_equal(back, "\x00\x1f\xab\xff", 4);
    const char *bad[] = {"", "001fabf", "001fabff00", "001fabfg", "0 1fabff", "0x1fabff"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(rmd_unhex(sl(bad[i]), back, 4), RMD_EFORMAT);
    assert_memory_equal(back, "\x00\x1f\xab\xff", 4);
}

static void test_base64_of_rfc4648(void **state) {
    (void)state;
    const struct {
        const char *plain, *text;
    } table[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"},
                 {"\xfb\xff\xbf", "+/+/"}};
    for (size_t i = 0; i < COUNT(table); i++) {
        struct rmd_buf b = {0};
        rmd_base64(&b, table[i].plain, strlen(table[i].plain));
        assert_string_equal(rmd_buf_str(&b), table[i].text);
        rmd_buf_clear(&b);
        assert_int_equal(rmd_unbase64(sl(table[i].text), &b), RMD_OK);
        assert_string_equal(rmd_buf_str(&b), table[i].plain);
        rmd_buf_release(&b);
    }
    const char *bad[] = {"Z",    "Zg",   "Zg=",  "Zg===", "Z===", "=",     "====", "Zm9v=", "Zm9vYg==Zg==",
                         "Zh==", "Zm9=", "Zm-_", "Zm9v*", "Zg=a", "Zm9vZ", "Z=g="};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct rmd_buf b = {0};
        rmd_buf_addstr(&b, "kept");
        if (rmd_unbase64(sl(bad[i]), &b) != RMD_EFORMAT)
            fail_msg("\"%s\" was taken for base64", bad[i]);
        assert_string_equal(rmd_buf_str(&b), "kept");
        rmd_buf_release(&b);
    }
}

static void test_base64_at_its_edges(void **state) {
    (void)state;
    struct rmd_buf b = {0}, back = {0};
    uint8_t bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)(255 - i);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        rmd_buf_clear(&b);
        rmd_buf_clear(&back);
        rmd_base64(&b, bytes, n);
        assert_int_equal(b.len, (n + 2) / 3 * 4);
        assert_int_equal(rmd_unbase64(rmd_buf_slice(&b), &back), RMD_OK);
        assert_true(rmd_slice_eq(rmd_buf_slice(&back), rmd_slice(bytes, n)));
    }
    rmd_buf_clear(&back);
    assert_int_equal(rmd_unbase64(sl(" Zm\r\n9v\tYg =\n= "), &back), RMD_OK);
    assert_string_equal(rmd_buf_str(&back), "foob");
    rmd_buf_release(&b);
    rmd_buf_release(&back);
    struct rmd_buf small = {.limit = 4};
    assert_int_equal(rmd_unbase64(sl("Zm9vYmFy"), &small), RMD_ELIMIT);
    assert_int_equal(small.len, 0);
    rmd_buf_release(&small);
}

static void test_utf8(void **state) {
    (void)state;
    const struct {
        const char *p;
        size_t n, len;
    } table[] = {
        {"", 0, 0},
        {"a", 1, 1},
        {"\0", 1, 1},
        {"\x7f", 1, 1},
        {"\x80", 1, 0},             /* a continuation alone */
        {"\xc0\x80", 2, 0},         /* overlong NUL */
        {"\xc1\xbf", 2, 0},         /* overlong */
        {"\xc2\x80", 2, 2},         /* U+0080 */
        {"\xdf\xbf", 2, 2},         /* U+07FF */
        {"\xc2", 1, 0},             /* cut */
        {"\xc2\x41", 2, 0},         /* no continuation */
        {"\xe0\x9f\xbf", 3, 0},     /* overlong */
        {"\xe0\xa0\x80", 3, 3},     /* U+0800 */
        {"\xed\x9f\xbf", 3, 3},     /* U+D7FF */
        {"\xed\xa0\x80", 3, 0},     /* surrogate */
        {"\xed\xbf\xbf", 3, 0},     /* surrogate */
        {"\xee\x80\x80", 3, 3},     /* U+E000 */
        {"\xef\xbf\xbf", 3, 3},     /* U+FFFF */
        {"\xe2\x82", 2, 0},         /* cut */
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4, 4}, /* U+10000 */
        {"\xf4\x8f\xbf\xbf", 4, 4}, /* U+10FFFF */
        {"\xf4\x90\x80\x80", 4, 0}, /* beyond */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xf0\x9f\x90", 3, 0}, /* cut */
        {"\xff", 1, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        assert_int_equal(rmd_utf8_len((const uint8_t *)table[i].p, table[i].n), table[i].len);
        assert_int_equal(rmd_utf8_valid(rmd_slice(table[i].p, table[i].n)), table[i].n == table[i].len);
    }
    assert_true(rmd_utf8_valid(sl("Gr\xc3\xbc\xc3\x9f Gott \xf0\x9f\x90\x8e")));
    assert_false(rmd_utf8_valid(sl("Gr\xfc\xdf Gott")));
    assert_true(rmd_is_ascii(sl("plain\x7f")));
    assert_false(rmd_is_ascii(sl("pl\xc3\xa4in")));
}

static void test_hashes_have_their_published_values(void **state) {
    (void)state;
    assert_int_equal(rmd_fnv32(sl("")), 0x811c9dc5);
    assert_int_equal(rmd_fnv32(sl("foobar")), 0xbf9cf968);
    assert_true(rmd_fnv64(sl("")) == UINT64_C(0xcbf29ce484222325));
    assert_true(rmd_fnv64(sl("foobar")) == UINT64_C(0x85944171f73967e8));
    assert_true(rmd_mix64(UINT64_C(0x9e3779b97f4a7c15)) == UINT64_C(0xe220a8397b1dcdaf)); /* splitmix64, seed 0 */
    uint8_t b[8];
    rmd_put_be64(b, UINT64_C(0x0102030405060708));
    assert_memory_equal(b, "\1\2\3\4\5\6\7\10", 8);
    assert_true(rmd_get_be64(b) == UINT64_C(0x0102030405060708));
}

static void test_error_texts(void **state) {
    (void)state;
    assert_string_equal(rmd_error_text(RMD_OK), "ok");
    assert_string_equal(rmd_error_text(RMD_ELIMIT), "a named limit was reached");
    assert_string_equal(rmd_error_text(1), "unknown error");
    assert_string_equal(rmd_error_text(-1000), "unknown error");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_and_formats_are_bounded),
        cmocka_unit_test(test_case_is_ascii_only),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_counts_and_bytes),
        cmocka_unit_test(test_durations_and_counts_for_people),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64_of_rfc4648),
        cmocka_unit_test(test_base64_at_its_edges),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_hashes_have_their_published_values),
        cmocka_unit_test(test_error_texts),
    };
    return cmocka_run_group_tests_name("base/text", tests, NULL, NULL);
}
