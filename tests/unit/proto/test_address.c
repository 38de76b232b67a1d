/* Addresses: what may be sent to (RFC 5321 section 4.1.2, RFC 6531), domains, and the hash that suppressions compare.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/codec.h"

#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define L60 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct row {
    const char *email;
    bool utf8_ok;
    const char *why; /* part of the reason, NULL: a good address */
};

static const struct row rows[] = {
    {"ann@example.com", false, NULL},
    {"ann.b+tag=x_y@mail.example.co.uk", false, NULL},
    {"!#$%&'*+-/=?^_`{|}~@example.com", false, NULL},
    {"1@2.example", false, NULL},
    {"a@xn--bcher-kva.example", false, NULL},
    {"a@x-y--z.example", false, NULL},
    {A64 "@example.com", false, NULL},
    {"a@" L60 "bbb.example", false, NULL},
    {"\"ann b\"@example.com", false, NULL},
    {"\"a@b\"@example.com", false, NULL},
    {"\"a\\\"b\\\\\"@example.com", false, NULL},
    {"\"\"@example.com", false, NULL},
    {"\"..\"@example.com", false, NULL},
    {"b\xc3\xbc"
     "cher@example.com",
     true, NULL},
    {"\xe7\x94\xa8\xe6\x88\xb7@xn--fsq.example", true, NULL},
    {"\"b\xc3\xbc\"@example.com", true, NULL},
    {"", false, "is empty"},
    {"ann", false, "has no @"},
    {"@", false, "nothing before"},
    {"@example.com", false, "nothing before"},
    {"ann@", false, "has no domain"},
    {"ann@example", false, "without a dot"},
    {"ann@example.com.", false, "ends with a dot"},
    {"ann@.example.com", false, "empty label"},
    {"ann@example..com", false, "empty label"},
    {"ann@-x.example", false, "starts with a hyphen"},
    {"ann@x-.example", false, "ends with a hyphen"},
    {"ann@example.com-", false, "ends with a hyphen"},
    {"ann@ex_ample.com", false, "no domain has"},
    {"ann@exa mple.com", false, "no domain has"},
    {"ann@[192.0.2.1]", false, "address literal"},
    {"ann@[IPv6:2001:db8::1]", false, "address literal"},
    {"ann@192.0.2.1", false, "number as top-level"},
    {"ann@b\xc3\xbc"
     "cher.example",
     true, "not in A-labels"},
    {"a@" L60 "bbbb.example", false, "more than 63"},
    {A64 "a@example.com", false, "more than 64"},
    {"a@" L60 "." L60 "." L60 "." L60 "." L60 ".example", false, "longer than 254"},
    {".ann@example.com", false, "starts with a dot"},
    {"ann.@example.com", false, "dot before the @"},
    {"an..n@example.com", false, "two dots"},
    {"ann b@example.com", false, "needs quotes"},
    {"a@b@example.com", false, "needs quotes"},
    {"ann(comment)@example.com", false, "needs quotes"},
    {"<ann@example.com>", false, "needs quotes"},
    {"a,b@example.com", false, "needs quotes"},
    {"ann\r\n@example.com", false, "control character"},
    {"ann\x7f@example.com", false, "control character"},
    {"ann@example.com\n", false, "no domain has"},
    {"ann@example.com\r\nRCPT TO:<x@y.example>", false, "needs quotes"},
    {"\"ann\r\n\"@example.com", false, "control character"},
    {"\"ann@example.com", false, "does not end"},
    {"\"ann\\\"@example.com", false, "does not end"},
    {"\"@example.com", false, "does not end"},
    {"\"a\"b\"@example.com", false, "around a quoted"},
    {"\"a\".b@example.com", false, "does not end"},
    {"b\xc3\xbc"
     "cher@example.com",
     false, "beyond ASCII"},
    {"b\xc3@example.com", true, "not valid UTF-8"},
    {"b\xc0\xaf@example.com", true, "not valid UTF-8"},
    {"b\xed\xa0\x80@example.com", true, "not valid UTF-8"},
    {"b\xc2\x85@example.com", true, "control character"},
};

static void each_address_is_judged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = rmd_address_check(rmd_slice_str(rows[i].email), rows[i].utf8_ok);
        if (!why != !rows[i].why || (why && !strstr(why, rows[i].why)))
            fail_msg("row %zu, \"%s\": %s, expected %s", i, rows[i].email, why ? why : "good",
                     rows[i].why ? rows[i].why : "good");
    }
}

static void a_nul_inside_is_refused(void **state) {
    (void)state;
    assert_non_null(rmd_address_check(rmd_slice("a\0b@example.com", 15), true));
    assert_non_null(rmd_address_check(rmd_slice("ab@exa\0mple.com", 15), true));
    assert_non_null(rmd_address_check(rmd_slice("\"a\0b\"@example.com", 17), true));
}

static void the_domain_is_behind_the_last_at(void **state) {
    (void)state;
    assert_true(rmd_slice_eq(rmd_address_domain(rmd_slice_str("\"a@b\"@example.com")), rmd_slice_str("example.com")));
    assert_int_equal(rmd_address_domain(rmd_slice_str("ann")).n, 0);
    assert_int_equal(rmd_address_domain(rmd_slice_str("ann@")).n, 0);
    assert_int_equal(rmd_address_domain(rmd_slice(NULL, 0)).n, 0);
}

static uint64_t hash(uint32_t tenant, const char *email) {
    return rmd_address_hash(tenant, rmd_slice_str(email));
}

static void the_hash_ignores_ascii_case_and_nothing_else(void **state) {
    (void)state;
    assert_true(hash(1, "Ann@Example.COM") == hash(1, "ann@example.com"));
    assert_true(hash(1, "ann@example.com") != hash(2, "ann@example.com"));
    assert_true(hash(1, "ann@example.com") != hash(256, "ann@example.com"));
    assert_true(hash(1, "ann@example.com") != hash(1, "anne@xample.com"));
    assert_true(hash(1, "a.nn@example.com") != hash(1, "ann@example.com"));
    assert_true(hash(1, "\xc3\x9c@example.com") != hash(1, "\xc3\xbc@example.com"));
    /* stored in chunks and suppression keys: the value must not change between versions */
    assert_true(hash(1, "ann@example.com") == UINT64_C(0x712f7064fb93da59));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_is_judged),
        cmocka_unit_test(a_nul_inside_is_refused),
        cmocka_unit_test(the_domain_is_behind_the_last_at),
        cmocka_unit_test(the_hash_ignores_ascii_case_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
