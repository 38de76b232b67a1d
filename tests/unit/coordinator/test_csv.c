/* CSV reader and intake: tables of inputs, each also fed byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/csv.h"

struct row {
    const char *in;
    const char *out; /* records as line:field|field;  errors as line!text; */
};

static bool print(void *ctx, const struct rmd_csv_record *r) {
    struct rmd_buf *b = ctx;
    rmd_buf_addf(b, "%llu%c", (unsigned long long)r->line, r->error ? '!' : ':');
    if (r->error)
        rmd_buf_addstr(b, r->error);
    for (size_t i = 0; i < r->n && !r->error; i++)
        rmd_buf_addf(b, "%s%.*s", i ? "|" : "", (int)r->field[i].n, (const char *)r->field[i].p);
    rmd_buf_addc(b, ';');
    return true;
}

static const struct row rows[] = {
    {"", ""},
    {"a,b\n1,2\n", "1:a|b;2:1|2;"},
    {"a,b\r\n1,2\r\n", "1:a|b;2:1|2;"},
    {"a,b\r1,2\r", "1:a|b;2:1|2;"},
    {"a,b\n1,2", "1:a|b;2:1|2;"},
    {"\n\na\n\n\nb\n", "3:a;6:b;"},
    {"a,\n,b\n,\n", "1:a|;2:|b;3:|;"},
    {"\"a,b\",c\n", "1:a,b|c;"},
    {"\"a \"\"b\"\"\",c\n", "1:a \"b\"|c;"},
    {"\"a\nb\",c\nd,e\n", "1:a\nb|c;3:d|e;"},
    {"\"a\r\nb\",c\r\nd,e\r\n", "1:a\r\nb|c;3:d|e;"},
    {"\"\",\"\"\n", "1:|;"},
    {"\"\"\n", "1:;"},
    {"\xef\xbb\xbf"
     "a,b\n",
     "1:a|b;"},
    {"\xef\xbb\xbf\"a\",b\n1,2\n", "1:a|b;2:1|2;"},
    {"a\n\"b\"c\nd\n", "1:a;2!text behind a closing quote;3:d;"},
    {"a\nb\"c\nd\n", "1:a;2!quote inside an unquoted field;3:d;"},
    {"a\n\"b\nc\n", "1:a;2!the quote that opens on line 2 is never closed: the rest of the file (1 line behind it) "
                    "was read as this field;"},
    {"a\n\"b", "1:a;2!the quote that opens on line 2 is never closed: the rest of the file (0 lines behind it) was "
               "read as this field;"},
    {"a\nb,\"x\ny\",\"c\nd\ne", "1:a;3!the quote that opens on line 3 is never closed: the rest of the file (2 lines "
                                "behind it) was read as this field;"},
    {"a,\"b\nc,\"d\"\ne\n",
     "1!text behind a closing quote: the quote that opens on line 1 was closed on line 2 only;3:e;"},
    {"a\n\xff\xfe\nb\n", "1:a;2!not valid UTF-8;3:b;"},
    {" a , b \n", "1: a | b ;"},
    {"\xc3\xa4,\xf0\x9f\x90\x8e\n", "1:\xc3\xa4|\xf0\x9f\x90\x8e;"},
};

static void reads_what_rfc_4180_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t piece = 1; piece <= 7; piece += 2) {
            struct rmd_csv c = {0};
            struct rmd_buf out = {0};
            size_t n = strlen(rows[i].in);
            for (size_t at = 0; at < n; at += piece)
                rmd_csv_feed(&c, rmd_slice(rows[i].in + at, n - at < piece ? n - at : piece), print, &out);
            rmd_csv_finish(&c, print, &out);
            assert_string_equal(rmd_buf_str(&out), rows[i].out);
            rmd_buf_release(&out);
            rmd_csv_release(&c);
        }
}

static void nul_and_limits_are_errors_of_their_row(void **state) {
    (void)state;
    struct rmd_csv c = {0};
    struct rmd_buf out = {0}, big = {0};
    rmd_buf_add(&big, "a\nb\0c\nd\n", 8);
    for (int i = 0; i < 300; i++)
        rmd_buf_addc(&big, ',');
    rmd_buf_addstr(&big, "\ne\n");
    for (int i = 0; i < RMD_CSV_RECORD_BYTES_MAX + 10; i++)
        rmd_buf_addc(&big, 'x');
    rmd_buf_addstr(&big, "\nf\n");
    rmd_csv_feed(&c, rmd_buf_slice(&big), print, &out);
    rmd_csv_finish(&c, print, &out);
    assert_string_equal(rmd_buf_str(&out),
                        "1:a;2!NUL byte in the row;3:d;4!more than 256 fields;5:e;6!row longer than 128 KiB;7:f;");
    rmd_buf_release(&out);
    rmd_buf_release(&big);
    rmd_csv_release(&c);
}

static bool stop(void *ctx, const struct rmd_csv_record *r) {
    (void)r;
    ++*(int *)ctx;
    return false;
}

static void the_callback_can_stop(void **state) {
    (void)state;
    struct rmd_csv c = {0};
    int n = 0;
    assert_false(rmd_csv_feed(&c, rmd_slice_str("a\nb\nc\n"), stop, &n));
    assert_int_equal(n, 1);
    rmd_csv_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_rfc_4180_says),
        cmocka_unit_test(nul_and_limits_are_errors_of_their_row),
        cmocka_unit_test(the_callback_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
