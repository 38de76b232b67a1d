/* The reader of DNS answers, where the contract suite's servers don't lead: TLSA records and the AD bit. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/dns_message.h"

enum { AD = 0x20, NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3 };

static const char name[] = "_25._tcp.mx.example";

static void put_name(struct rmd_buf *b, const char *s) {
    while (*s) {
        size_t n = strcspn(s, ".");
        rmd_buf_addc(b, (char)n);
        rmd_buf_add(b, s, n);
        s += n + (s[n] == '.');
    }
    rmd_buf_addc(b, 0);
}

static void put16(struct rmd_buf *b, unsigned v) {
    uint8_t p[2];
    rmd_put_be16(p, (uint16_t)v);
    rmd_buf_add(b, p, 2);
}

static void put_record(struct rmd_buf *b, const char *owner, unsigned type, const void *data, size_t n) {
    put_name(b, owner);
    put16(b, type);
    put16(b, 1);
    put16(b, 0);
    put16(b, 300);
    put16(b, (unsigned)n);
    rmd_buf_add(b, data, n);
}

static struct rmd_buf answer(unsigned flags, unsigned records) {
    struct rmd_buf b = {0};
    put16(&b, 7);
    put16(&b, 0x8180 | flags);
    put16(&b, 1);
    put16(&b, records);
    put16(&b, 0);
    put16(&b, 0);
    put_name(&b, name);
    put16(&b, RMD_DNS_TYPE_TLSA);
    put16(&b, 1);
    return b;
}

static struct rmd_dns_reply read_and_release(struct rmd_buf *b) {
    struct rmd_dns_reply r;
    rmd_dns_reply_parse(rmd_buf_slice(b), name, RMD_DNS_TYPE_TLSA, &r);
    rmd_buf_release(b);
    return r;
}

static void records_are_read_as_they_came(void **state) {
    (void)state;
    uint8_t one[35] = {3, 1, 1, 0x11}, two[204] = {2, 0, 0, 0x22}, odd[4] = {255, 7, 9, 0x33};
    struct rmd_buf b = answer(AD, 5);
    put_record(&b, name, RMD_DNS_TYPE_TLSA, one, sizeof one);
    put_record(&b, "elsewhere.example", RMD_DNS_TYPE_TLSA, one, sizeof one); /* nobody asked */
    put_record(&b, name, RMD_DNS_TYPE_TLSA, two, sizeof two);
    put_record(&b, name, 46, two, sizeof two); /* RRSIG */
    put_record(&b, name, RMD_DNS_TYPE_TLSA, odd, sizeof odd);
    struct rmd_dns_reply r = read_and_release(&b);
    assert_int_equal(r.status, RMD_DNS_OK);
    assert_true(r.secure);
    assert_int_equal(r.ttl_s, 300);
    assert_int_equal(r.n_tlsa, 3);
    static const struct {
        int usage, selector, matching, n, first;
    } expected[] = {{3, 1, 1, 32, 0x11}, {2, 0, 0, 201, 0x22}, {255, 7, 9, 1, 0x33}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.tlsa[i].usage, expected[i].usage);
        assert_int_equal(r.tlsa[i].selector, expected[i].selector);
        assert_int_equal(r.tlsa[i].matching, expected[i].matching);
        assert_int_equal(r.tlsa[i].n, expected[i].n);
        assert_int_equal(r.tlsa_data[r.tlsa[i].at], expected[i].first);
    }
}

static void a_record_without_data_breaks_the_answer(void **state) {
    (void)state;
    for (size_t n = 0; n < 5; n++) {
        uint8_t data[4] = {3, 1, 1, 9};
        struct rmd_buf b = answer(AD, 1);
        put_record(&b, name, RMD_DNS_TYPE_TLSA, data, n < 4 ? n : 4);
        struct rmd_dns_reply r = read_and_release(&b);
        assert_int_equal(r.status, n < 4 ? RMD_DNS_TEMPFAIL : RMD_DNS_OK);
        assert_int_equal(r.secure, n >= 4); /* what can't be read says nothing */
    }
}

static void what_does_not_fit_is_counted(void **state) {
    (void)state;
    uint8_t big[1503] = {3, 1, 0}, small[35] = {3, 1, 1};
    struct rmd_buf b = answer(AD, 23);
    for (int i = 0; i < 3; i++) /* 4500 bytes: the third is too much */
        put_record(&b, name, RMD_DNS_TYPE_TLSA, big, sizeof big);
    for (int i = 0; i < 20; i++)
        put_record(&b, name, RMD_DNS_TYPE_TLSA, small, sizeof small);
    struct rmd_dns_reply r = read_and_release(&b);
    assert_int_equal(r.status, RMD_DNS_OK);
    assert_int_equal(r.n_tlsa, RMD_DNS_TLSA_MAX);
    assert_int_equal(r.tlsa_lost, 23 - RMD_DNS_TLSA_MAX);
    uint8_t huge[4200] = {3, 1, 0};
    b = answer(0, 1);
    put_record(&b, name, RMD_DNS_TYPE_TLSA, huge, sizeof huge);
    r = read_and_release(&b);
    assert_int_equal(r.status, RMD_DNS_OK); /* there are records, none of which can be used: not the same as none */
    assert_int_equal(r.n_tlsa, 0);
    assert_int_equal(r.tlsa_lost, 1);
    assert_false(r.secure);
}

static void negative_answers_are_secure_or_not(void **state) {
    (void)state;
    static const struct {
        unsigned flags;
        enum rmd_dns_status status;
        bool secure;
    } row[] = {{NOERROR | AD, RMD_DNS_NODATA, true},     {NOERROR, RMD_DNS_NODATA, false},
               {NXDOMAIN | AD, RMD_DNS_NXDOMAIN, true},  {NXDOMAIN, RMD_DNS_NXDOMAIN, false},
               {SERVFAIL | AD, RMD_DNS_TEMPFAIL, false}, {SERVFAIL, RMD_DNS_TEMPFAIL, false}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rmd_buf b = answer(row[i].flags, 0);
        struct rmd_dns_reply r = read_and_release(&b);
        assert_int_equal(r.status, row[i].status);
        assert_int_equal(r.secure, row[i].secure);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_read_as_they_came),
        cmocka_unit_test(a_record_without_data_breaks_the_answer),
        cmocka_unit_test(what_does_not_fit_is_counted),
        cmocka_unit_test(negative_answers_are_secure_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
