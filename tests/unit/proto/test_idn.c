/* Domain names: from what people write to what DNS and SMTP use, as tables. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/buf.h>
#include <base/text.h>

#include "proto/io/idn.h"

static void names_that_are_good(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
    } table[] = {
        {"example.com", "example.com"},
        {"EXAMPLE.Com", "example.com"},
        {"example.com.", "example.com"},
        {"localhost", "localhost"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"XN--BCHER-KVA.example.", "xn--bcher-kva.example"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"B\xc3\x9c"
         "CHER.Example.",
         "xn--bcher-kva.example"},
        {"bu\xcc\x88"
         "cher.example",
         "xn--bcher-kva.example"}, /* u and a combining diaeresis: NFC */
        {"stra\xc3\x9f"
         "e.example",
         "xn--strae-oqa.example"}, /* sharp s stays itself in IDNA 2008 */
        {"\xe4\xbe\x8b\xe5\xad\x90.test", "xn--fsqu00a.test"},
        {"\xd0\xbf\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0.\xd1\x80\xd1\x84", "xn--80a1acny.xn--p1ai"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char out[256];
        const char *why = rmd_idn_to_ascii(NULL, rmd_slice_str(table[i].from), out);
        if (why)
            fail_msg("%s: %s", table[i].from, why);
        assert_string_equal(out, table[i].to);
        char again[256]; /* what comes out goes in unchanged */
        assert_null(rmd_idn_to_ascii(NULL, rmd_slice_str(out), again));
        assert_string_equal(again, out);
    }
}

static const char EMPTY[] = "the domain is empty", LONG[] = "the domain is longer than 253 bytes",
                  LABEL[] = "a label of the domain is longer than 63 bytes", HOLE[] = "the domain has an empty label",
                  HYPHEN[] = "a label of the domain begins or ends with a hyphen",
                  OTHER[] = "the domain has a character that no domain has",
                  IDNA[] = "the domain is not a valid international name (IDNA 2008)",
                  NUL[] = "NUL byte in the domain";

static void names_that_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from;
        size_t n; /* 0: strlen */
        const char *why;
    } table[] = {
        {"", 0, EMPTY},
        {".", 0, EMPTY},
        {"..", 0, HOLE},
        {".example.com", 0, HOLE},
        {"a..b", 0, HOLE},
        {"example.com..", 0, HOLE},
        {"_dmarc.example.com", 0, OTHER},
        {"ex ample.com", 0, OTHER},
        {"example.com\r\nMAIL FROM:<>", 0, OTHER},
        {"b\xc3\xbc"
         "cher.exa\r\nmple",
         0, OTHER},
        {"[192.0.2.1]", 0, OTHER},
        {"-a.example", 0, HYPHEN},
        {"a-.example", 0, HYPHEN},
        {"a.example-", 0, HYPHEN},
        {"a\0.example", 10, NUL},
        {"\xc3\xbc\0.example", 11, NUL},
        {"\xc3\x28.example", 0, IDNA}, /* not UTF-8 */
        {"\xff\xfe.example", 0, IDNA},
        {"b\xc3\xbc..example", 0, HOLE},
        {"-\xc3\xbc.example", 0, IDNA},    /* a label may not begin with a hyphen */
        {"\xe2\x98\x83.example", 0, IDNA}, /* a snowman is no letter: disallowed in IDNA 2008 */
        {"\xcc\x88u.example", 0, IDNA},    /* begins with a combining mark */
        {"\xe2\x80\xae"
         "b\xc3\xbc"
         "cher.example",
         0, IDNA}, /* right-to-left override */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char out[256];
        size_t n = table[i].n ? table[i].n : strlen(table[i].from);
        const char *why = rmd_idn_to_ascii(NULL, rmd_slice(table[i].from, n), out);
        if (!why)
            fail_msg("row %zu: \"%s\" became \"%s\"", i, table[i].from, out);
        assert_string_equal(why, table[i].why);
    }
}

/* Labels of one letter each, n of them; `letter` may be of several bytes. */
static char *labels(const char *letter, size_t letters, size_t n) {
    struct rmd_buf b = {0};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < letters; k++)
            rmd_buf_addstr(&b, letter);
        if (i + 1 < n)
            rmd_buf_addc(&b, '.');
    }
    return (char *)rmd_buf_take(&b, NULL);
}

static void lengths_at_the_border(void **state) {
    (void)state;
    static const struct {
        const char *letter;
        size_t letters, labels;
        const char *why;
    } table[] = {
        {"a", 63, 1, NULL},         {"a", 64, 1, LABEL},        {"a", 1, 127, NULL}, /* 253 bytes */
        {"a", 1, 128, LONG},                                                         /* 255 */
        {"a", 49, 5, NULL},                                                          /* 249 */
        {"\xc3\xbc", 57, 1, NULL},  /* more bytes in UTF-8 than as an A-label */
        {"\xc3\xbc", 60, 1, LABEL}, /* xn-- and one letter a character at least */
        {"\xc3\xbc", 40, 20, LONG}, {"\xc3\xbc", 600, 1, LONG},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char out[256] = "";
        char *from = labels(table[i].letter, table[i].letters, table[i].labels);
        const char *why = rmd_idn_to_ascii(NULL, rmd_slice_str(from), out);
        if (!why != !table[i].why)
            fail_msg("row %zu: %s", i, why ? why : out);
        if (why)
            assert_string_equal(why, table[i].why);
        free(from);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_are_good),
        cmocka_unit_test(names_that_are_refused),
        cmocka_unit_test(lengths_at_the_border),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
