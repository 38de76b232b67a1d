/* struct rmd_buf and the batches built on it: limits, sticky errors, aliasing, formats across a growth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/buf.h>
#include <base/text.h>
#include <remuda/store.h>

static void test_empty_buffer_is_usable(void **state) {
    (void)state;
    struct rmd_buf b = {0};
    assert_string_equal(rmd_buf_str(&b), "");
    rmd_buf_consume(&b, 5);
    rmd_buf_truncate(&b, 0);
    rmd_buf_add(&b, NULL, 0);
    rmd_buf_addstr(&b, "");
    assert_int_equal(b.len, 0);
    size_t n = 7;
    uint8_t *p = rmd_buf_take(&b, &n);
    assert_non_null(p);
    assert_int_equal(n, 0);
    assert_int_equal(p[0], 0);
    free(p);
    rmd_buf_release(&b);
}

static void test_numbers_are_decimal(void **state) {
    (void)state;
    struct rmd_buf b = {0};
    rmd_buf_add_u64(&b, 0);
    rmd_buf_addc(&b, ' ');
    rmd_buf_add_u64(&b, 1090);
    rmd_buf_addc(&b, ' ');
    rmd_buf_add_u64(&b, UINT64_MAX);
    assert_string_equal(rmd_buf_str(&b), "0 1090 18446744073709551615");
    rmd_buf_release(&b);
}

static void test_appends_grow_and_terminate(void **state) {
    (void)state;
    struct rmd_buf b = {0};
    for (int i = 0; i < 1000; i++) {
        rmd_buf_addc(&b, (char)('a' + i % 26));
        assert_int_equal(b.p[b.len], 0);
        assert_true(b.len < b.cap);
    }
    assert_int_equal(b.len, 1000);
    rmd_buf_addf(&b, "%d-%s", 42, "x");
    assert_memory_equal(b.p + 1000, "42-x", 5);
    rmd_buf_consume(&b, 1000);
    assert_string_equal(rmd_buf_str(&b), "42-x");
    rmd_buf_truncate(&b, 2);
    assert_string_equal(rmd_buf_str(&b), "42");
    rmd_buf_truncate(&b, 9);
    assert_int_equal(b.len, 2);
    rmd_buf_consume(&b, 99);
    assert_string_equal(rmd_buf_str(&b), "");
    rmd_buf_release(&b);
    assert_null(b.p);
}

static void test_what_is_reserved_at_once_is_not_rounded_up(void **state) {
    (void)state;
    struct rmd_buf b = {0};
    rmd_buf_reserve(&b, 10300);
    assert_int_equal(b.cap, 10301);
    size_t moved = 0;
    for (size_t cap = b.cap, i = 0; i < 1000000; i++, cap = b.cap) {
        rmd_buf_addc(&b, 'x');
        moved += b.cap != cap;
    }
    assert_true(moved <= 8); /* growing in small pieces doubles */
    rmd_buf_release(&b);
}

static void test_long_format_crosses_the_capacity(void **state) {
    (void)state;
    struct rmd_buf b = {0};
    for (int width = 0; width < 300; width++) {
        size_t before = b.len;
        rmd_buf_addf(&b, "%*d", width, 7);
        size_t want = width ? (size_t)width : 1;
        assert_int_equal(b.len, before + want);
        assert_int_equal(b.p[b.len - 1], '7');
        assert_int_equal(b.p[b.len], 0);
    }
    rmd_buf_release(&b);
}

static void test_limit_is_exact_and_sticky(void **state) {
    (void)state;
    struct rmd_buf b = {.limit = 100};
    for (int i = 0; i < 100; i++)
        rmd_buf_addc(&b, 'x');
    assert_false(b.overflow);
    assert_true(b.cap <= 101);
    rmd_buf_addc(&b, 'y');
    assert_true(b.overflow);
    assert_int_equal(b.len, 100);
    rmd_buf_truncate(&b, 10);
    rmd_buf_addstr(&b, "z");
    rmd_buf_addf(&b, "%d", 1);
    rmd_buf_addc(&b, 'z');
    assert_string_equal(rmd_buf_str(&b), "xxxxxxxxxx");
    rmd_buf_clear(&b);
    assert_false(b.overflow);
    rmd_buf_addf(&b, "%101d", 1);
    assert_true(b.overflow);
    assert_string_equal(rmd_buf_str(&b), "");
    rmd_buf_release(&b);

    struct rmd_buf huge = {0};
    rmd_buf_reserve(&huge, SIZE_MAX);
    assert_true(huge.overflow);
    rmd_buf_clear(&huge);
    rmd_buf_addstr(&huge, "abc");
    rmd_buf_reserve(&huge, SIZE_MAX - 2);
    assert_true(huge.overflow);
    assert_string_equal(rmd_buf_str(&huge), "abc");
    rmd_buf_release(&huge);
}

static void test_buffer_may_append_itself(void **state) {
    (void)state;
    struct rmd_buf b = {0};
    rmd_buf_addstr(&b, "0123456789");
    for (int i = 0; i < 8; i++)
        rmd_buf_add(&b, b.p, b.len);
    assert_int_equal(b.len, 2560);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.p[i], '0' + i % 10);
    rmd_buf_release(&b);
}

static void test_take_hands_the_bytes_over(void **state) {
    (void)state;
    struct rmd_buf b = {.limit = 50};
    rmd_buf_addstr(&b, "mine");
    size_t n;
    uint8_t *p = rmd_buf_take(&b, &n);
    assert_int_equal(n, 4);
    assert_string_equal((char *)p, "mine");
    assert_null(b.p);
    assert_int_equal(b.limit, 50);
    free(p);
}

static void test_duplicates(void **state) {
    (void)state;
    char *a = rmd_strdup("abc"), *b = rmd_strndup("abcdef", 3), *c = rmd_strndup(NULL, 0);
    assert_string_equal(a, b);
    assert_string_equal(c, "");
    uint8_t *z = rmd_alloc(100), *d = rmd_memdup(z, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(d[i], 0);
    free(a), free(b), free(c), free(z), free(d);
}

/* --- batches */

static struct rmd_slice sl(const char *s) {
    return rmd_slice_str(s);
}

static void test_batch_gives_back_what_it_got(void **state) {
    (void)state;
    struct rmd_batch b = {0}, more = {0};
    rmd_batch_put(&b, sl("k1"), sl("v1"));
    rmd_batch_put(&b, rmd_slice("k\0z", 3), rmd_slice(NULL, 0));
    rmd_batch_delete(&b, sl("k3"));
    rmd_batch_delete_range(&more, sl(""), sl("b"));
    rmd_batch_delete_range(&more, sl("b"), sl("b")); /* holds nothing: not an operation */
    rmd_batch_append(&b, &more);
    rmd_batch_append(&b, &(struct rmd_batch){0});
    assert_int_equal(b.error, 0);
    assert_int_equal(b.ops, 4);
    const struct {
        char op;
        struct rmd_slice key, value;
    } want[] = {{'P', sl("k1"), sl("v1")},
                {'P', rmd_slice("k\0z", 3), sl("")},
                {'D', sl("k3"), sl("")},
                {'R', sl(""), sl("b")}};
    struct rmd_batch_op op;
    size_t pos = 0, i = 0;
    for (; rmd_batch_next(&b, &pos, &op); i++) {
        assert_in_range(i, 0, 3);
        assert_int_equal(op.op, want[i].op);
        assert_true(rmd_slice_eq(op.key, want[i].key));
        assert_true(rmd_slice_eq(op.value, want[i].value));
    }
    assert_int_equal(i, 4);
    rmd_batch_append(&b, &b);
    assert_int_equal(b.ops, 8);
    for (i = 0, pos = 0; rmd_batch_next(&b, &pos, &op);)
        i++;
    assert_int_equal(i, 8);
    rmd_batch_release(&b);
    rmd_batch_release(&more);
    assert_null(b.data);
}

static void test_batch_errors_are_sticky(void **state) {
    (void)state;
    static uint8_t big[RMD_STORE_VALUE_MAX + 1];
    const struct {
        char op;
        struct rmd_slice key, value;
        int error;
    } table[] = {
        {'P', rmd_slice(big, RMD_STORE_KEY_MAX), rmd_slice(big, RMD_STORE_VALUE_MAX), 0},
        {'P', rmd_slice(big, RMD_STORE_KEY_MAX + 1), sl("v"), RMD_ELIMIT},
        {'P', sl("k"), rmd_slice(big, RMD_STORE_VALUE_MAX + 1), RMD_ELIMIT},
        {'P', sl(""), sl("v"), RMD_EINVAL},
        {'D', sl(""), sl(""), RMD_EINVAL},
        {'D', rmd_slice(big, RMD_STORE_KEY_MAX + 1), sl(""), RMD_ELIMIT},
        {'R', sl("b"), sl("a"), RMD_EINVAL},
        {'R', sl("ab"), sl("a"), RMD_EINVAL},
        {'R', sl("a"), sl("ab"), 0},
        {'R', sl("a"), rmd_slice(big, RMD_STORE_KEY_MAX + 1), RMD_ELIMIT},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct rmd_batch b = {0}, into = {0};
        rmd_batch_put(&b, sl("first"), sl("1"));
        if (table[i].op == 'P')
            rmd_batch_put(&b, table[i].key, table[i].value);
        else if (table[i].op == 'D')
            rmd_batch_delete(&b, table[i].key);
        else
            rmd_batch_delete_range(&b, table[i].key, table[i].value);
        assert_int_equal(b.error, table[i].error);
        size_t ops = table[i].error ? 1 : 2;
        assert_int_equal(b.ops, ops);
        rmd_batch_put(&b, sl("later"), sl("1"));
        assert_int_equal(b.ops, table[i].error ? ops : ops + 1);
        rmd_batch_append(&into, &b);
        assert_int_equal(into.error, table[i].error);
        rmd_batch_release(&b);
        rmd_batch_release(&into);
    }
}

static void test_batch_has_a_limit(void **state) {
    (void)state;
    static uint8_t big[RMD_STORE_VALUE_MAX];
    struct rmd_batch b = {0};
    for (int i = 0; i < 17 && !b.error; i++)
        rmd_batch_put(&b, sl("k"), rmd_slice(big, sizeof big));
    assert_int_equal(b.error, RMD_ELIMIT);
    assert_int_equal(b.ops, 15);
    assert_true(b.len <= RMD_STORE_BATCH_MAX);
    rmd_batch_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_buffer_is_usable),
        cmocka_unit_test(test_numbers_are_decimal),
        cmocka_unit_test(test_appends_grow_and_terminate),
        cmocka_unit_test(test_what_is_reserved_at_once_is_not_rounded_up),
        cmocka_unit_test(test_long_format_crosses_the_capacity),
        cmocka_unit_test(test_limit_is_exact_and_sticky),
        cmocka_unit_test(test_buffer_may_append_itself),
        cmocka_unit_test(test_take_hands_the_bytes_over),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_batch_gives_back_what_it_got),
        cmocka_unit_test(test_batch_errors_are_sticky),
        cmocka_unit_test(test_batch_has_a_limit),
    };
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
