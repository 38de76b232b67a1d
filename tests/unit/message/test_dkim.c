/* DKIM: the examples of RFC 6376 byte for byte, every pair of canonicalisations and both algorithms judged by
 * libopendkim, and a differential test of messages that are as odd as they may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>
#include <remuda/rng.h>

#include "node/core/dkim.h"
#include "node/io/verify_opendkim.h"
#include "proto/io/sign_openssl.h"
#include "tests/kit/message_kit.h"
#include "tests/unit/message/dkim_samples.h"

static struct kit_keys keys;
static struct rmd_verifier *verifier;

static int set_up(void **state) {
    (void)state;
    kit_keys_make(&keys);
    verifier = rmd_verifier_new(kit_keys_lookup, &keys);
    return verifier ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    rmd_verifier_free(verifier);
    kit_keys_release(&keys);
    return 0;
}

/* ---------------------------------------------------------------- canonical forms */

static void check_header(enum rmd_dkim_canon canon, const char *name, const char *field, const char *expected) {
    struct rmd_buf out = {0};
    struct rmd_dkim_header h = {rmd_slice_str(name), rmd_slice_str(field)};
    rmd_dkim_canon_header(canon, &h, &out);
    assert_string_equal(rmd_buf_str(&out), expected);
    rmd_buf_release(&out);
}

/* RFC 6376 section 3.4.5: "A: <SP> X <CRLF> B <SP> : <SP> Y <HTAB><CRLF> <HTAB> Z <SP><SP><CRLF>". */
static void header_examples_of_the_rfc(void **state) {
    (void)state;
    check_header(RMD_CANON_RELAXED, "A", "A: X", "a:X");
    check_header(RMD_CANON_RELAXED, "B", "B : Y\t\r\n\tZ  ", "b:Y Z");
    check_header(RMD_CANON_SIMPLE, "A", "A: X", "A: X");
    check_header(RMD_CANON_SIMPLE, "B", "B : Y\t\r\n\tZ  ", "B : Y\t\r\n\tZ  ");
    check_header(RMD_CANON_RELAXED, "Subject", "SUBJect:", "subject:");
}

/* The hash of a body, fed in pieces of `step` bytes. */
static void body_hash(enum rmd_dkim_canon canon, struct rmd_slice body, size_t step, uint8_t hash[RMD_SHA256_BYTES]) {
    struct rmd_dkim_body b;
    rmd_dkim_body_init(&b, rmd_sign_openssl(), canon);
    for (size_t i = 0; i < body.n; i += step)
        rmd_dkim_body_update(&b, body.p + i, body.n - i < step ? body.n - i : step);
    rmd_dkim_body_final(&b, hash);
}

static void sha(const char *text, uint8_t hash[RMD_SHA256_BYTES]) {
    struct rmd_sha256 s;
    rmd_sign_openssl()->sha256_init(&s);
    rmd_sign_openssl()->sha256_update(&s, text, strlen(text));
    rmd_sign_openssl()->sha256_final(&s, hash);
}

static void body_forms(void **state) {
    (void)state;
    static const struct {
        const char *body, *simple, *relaxed;
    } rows[] = {
        /* section 3.4.5 */
        {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
        /* section 3.4.3 and 3.4.4: empty bodies */
        {"", "\r\n", ""},
        {"\r\n", "\r\n", ""},
        {"\r\n\r\n\r\n", "\r\n", ""},
        {" \t\r\n", " \t\r\n", ""},
        {"no line end", "no line end\r\n", "no line end\r\n"},
        {"a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
        {"a\r\n \r\n\t\r\n", "a\r\n \r\n\t\r\n", "a\r\n"},
        {"a \r\n\r\n b", "a \r\n\r\n b\r\n", "a\r\n\r\n b\r\n"},
        {"x\ty  z\r\n", "x\ty  z\r\n", "x y z\r\n"},
        {"a\rb \rc\r\n", "a\rb \rc\r\n", "a\rb \rc\r\n"},
        {".\r\n..\r\n", ".\r\n..\r\n", ".\r\n..\r\n"},
        {"0123456789abcdef 0123456789abcdef  0123456789abcdef\t\r\nx",
         "0123456789abcdef 0123456789abcdef  0123456789abcdef\t\r\nx\r\n",
         "0123456789abcdef 0123456789abcdef 0123456789abcdef\r\nx\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t step = 1; step < 40; step++) {
            uint8_t got[RMD_SHA256_BYTES], want[RMD_SHA256_BYTES];
            body_hash(RMD_CANON_SIMPLE, rmd_slice_str(rows[i].body), step, got);
            sha(rows[i].simple, want);
            assert_memory_equal(got, want, sizeof got);
            body_hash(RMD_CANON_RELAXED, rmd_slice_str(rows[i].body), step, got);
            sha(rows[i].relaxed, want);
            assert_memory_equal(got, want, sizeof got);
        }
    }
}

/* ---------------------------------------------------------------- whole messages */

/* Signs with both keys and puts the message together. */
static void sample_sign(struct sample *s, enum rmd_dkim_canon header, enum rmd_dkim_canon body) {
    uint8_t hash[RMD_SHA256_BYTES];
    for (size_t i = 0; i < s->n; i++) {
        s->field[i].name = rmd_slice(s->head.p + s->start[i], s->name_n[i]);
        s->field[i].field = rmd_slice(s->head.p + s->start[i], s->end[i] - s->start[i]);
    }
    body_hash(body, rmd_buf_slice(&s->body), 1000, hash);
    for (int k = 0; k < 2; k++)
        assert_int_equal(rmd_dkim_sign(rmd_sign_openssl(), &keys.key[k], header, body, s->field, s->n, hash,
                                       1763900000, NULL, &s->all),
                         RMD_OK);
    rmd_buf_add(&s->all, s->head.p, s->head.len);
    rmd_buf_addstr(&s->all, "\r\n");
    rmd_buf_add(&s->all, rmd_buf_str(&s->body), s->body.len);
}

/* How many of the signatures pass. */
static size_t passing(struct rmd_slice message, size_t *signatures) {
    struct rmd_verify_result r[RMD_VERIFY_SIGNATURES_MAX];
    size_t n, pass = 0;
    assert_int_equal(rmd_verify_message(verifier, message, r, RMD_VERIFY_SIGNATURES_MAX, &n), RMD_OK);
    for (size_t i = 0; i < n; i++) {
        pass += r[i].pass;
        if (!r[i].pass)
            print_message("%s: %s\n", r[i].selector, r[i].why);
    }
    *signatures = n;
    return pass;
}

static void assert_verified(const struct sample *s) {
    size_t n, pass = passing(rmd_buf_slice(&s->all), &n);
    if (n != 2 || pass != 2)
        fail_msg("%zu of %zu signatures pass for:\n%s", pass, n, rmd_buf_str(&s->all));
}

static void every_canonicalisation_is_verified(void **state) {
    (void)state;
    struct sample s = {0};
    for (int c = 0; c < 4; c++) {
        sample_clear(&s);
        sample_field(&s, "From", " \"A. Person\"  <a@news.example>");
        sample_field(&s, "Subject", "  spaces   and\r\n\t folding \t");
        sample_field(&s, "X-Unsigned", " x");
        sample_field(&s, "To", " b@there.example");
        sample_field(&s, "Date", " Mon, 23 Nov 2026 10:00:00 +0000");
        rmd_buf_addstr(&s.body, "Hello  you \r\n\r\n\t tabs\t\r\n.\r\n\r\n\r\n");
        sample_sign(&s, c & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE, c & 2 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE);
        assert_verified(&s);
    }
    sample_release(&s);
}

static void changes_are_noticed(void **state) {
    (void)state;
    struct sample s = {0};
    size_t n;
    sample_field(&s, "From", " a@news.example");
    sample_field(&s, "Subject", " one");
    rmd_buf_addstr(&s.body, "text\r\n");
    sample_sign(&s, RMD_CANON_RELAXED, RMD_CANON_RELAXED);
    assert_verified(&s);
    s.all.p[s.all.len - 3] ^= 1;
    assert_int_equal(passing(rmd_buf_slice(&s.all), &n), 0);
    s.all.p[s.all.len - 3] ^= 1;
    uint8_t *subject = s.all.p + (rmd_case_find(rmd_buf_slice(&s.all), rmd_slice_str(" one")) - s.all.p);
    subject[1] ^= 1;
    assert_int_equal(passing(rmd_buf_slice(&s.all), &n), 0);
    assert_int_equal(n, 2);
    sample_release(&s);
}

/* A second From in front of ours would be shown by some readers; naming From once too often makes it break the
 * signature. */
static void from_cannot_be_added(void **state) {
    (void)state;
    struct sample s = {0};
    struct rmd_buf forged = {0};
    size_t n;
    sample_field(&s, "From", " a@news.example");
    sample_field(&s, "Subject", " one");
    sample_sign(&s, RMD_CANON_SIMPLE, RMD_CANON_SIMPLE);
    assert_verified(&s);
    assert_non_null(strstr(rmd_buf_str(&s.all), "h=From:From:Subject;"));
    rmd_buf_addstr(&forged, "From: c@evil.example\r\n");
    rmd_buf_add(&forged, s.all.p, s.all.len);
    assert_int_equal(passing(rmd_buf_slice(&forged), &n), 0);
    rmd_buf_release(&forged);
    sample_release(&s);
}

/* What is signed, in one look: all the names, each occurrence. */
static void signed_fields(void **state) {
    (void)state;
    struct sample s = {0};
    static const char *const names[] = {"To",
                                        "From",
                                        "Subject",
                                        "Date",
                                        "Message-ID",
                                        "Reply-To",
                                        "Cc",
                                        "MIME-Version",
                                        "Content-Type",
                                        "List-Id",
                                        "Feedback-ID",
                                        "Content-Transfer-Encoding",
                                        "X-Other",
                                        "List-Unsubscribe",
                                        "List-Unsubscribe-Post",
                                        "Cc"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        sample_field(&s, names[i], i % 2 ? " x@y.example" : " z@y.example");
    sample_sign(&s, RMD_CANON_RELAXED, RMD_CANON_RELAXED);
    assert_verified(&s);
    struct kit_message m;
    assert_null(kit_message_check(rmd_buf_slice(&s.all), &m));
    struct rmd_slice sig = kit_message_header(&m, "DKIM-Signature", 0);
    assert_non_null(rmd_case_find(sig, rmd_slice_str("Cc:Cc:")));
    assert_null(rmd_case_find(sig, rmd_slice_str("X-Other")));
    for (size_t i = 0; i < sig.n; i++) { /* folded for people: no line over 78 */
        size_t end = i;
        while (end < sig.n && sig.p[end] != '\r')
            end++;
        assert_true(end - i <= 78);
        i = end + 1;
    }
    sample_release(&s);
}

/* ---------------------------------------------------------------- differential */

static void generated_messages_are_verified(void **state) {
    (void)state;
    enum { MESSAGES = 400 };
    struct rmd_rng rng;
    struct sample s = {0};
    rmd_rng_seed(&rng, 6376);
    for (int i = 0; i < MESSAGES; i++) {
        sample_throw(&s, &rng);
        sample_sign(&s, i & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE, i & 2 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE);
        assert_verified(&s);
    }
    sample_release(&s);
}

static void the_verifier_tells_what_is_wrong(void **state) {
    (void)state;
    struct rmd_verify_result r[2];
    struct sample s = {0};
    size_t n;
    sample_field(&s, "From", " a@news.example");
    rmd_buf_addstr(&s.body, "text\r\n");
    keys.key[0].selector = "unknown";
    sample_sign(&s, RMD_CANON_RELAXED, RMD_CANON_RELAXED);
    keys.key[0].selector = "rsa";
    assert_int_equal(rmd_verify_message(verifier, rmd_buf_slice(&s.all), r, 2, &n), RMD_OK);
    assert_int_equal(n, 2);
    assert_false(r[0].pass);
    assert_string_equal(r[0].selector, "unknown");
    assert_string_not_equal(r[0].why, "");
    assert_true(r[1].pass);
    assert_string_equal(r[1].algorithm, "ed25519-sha256");
    assert_string_equal(r[1].domain, "news.example");
    assert_int_equal(rmd_verify_message(verifier, rmd_slice_str("From: a@b.example\r\n\r\ntext\r\n"), r, 2, &n),
                     RMD_OK);
    assert_int_equal(n, 0);
    sample_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_examples_of_the_rfc),
        cmocka_unit_test(body_forms),
        cmocka_unit_test(every_canonicalisation_is_verified),
        cmocka_unit_test(changes_are_noticed),
        cmocka_unit_test(from_cannot_be_added),
        cmocka_unit_test(signed_fields),
        cmocka_unit_test(generated_messages_are_verified),
        cmocka_unit_test(the_verifier_tells_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
