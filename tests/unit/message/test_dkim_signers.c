/* The fast signer beside libopendkim's: for generated messages and every pair of canonicalisations, b= and bh= that it
 * computes over what libopendkim's signature field names are those that libopendkim wrote there. RSA (PKCS #1 v1.5) signs
 * equal digests equally, so that equal b= means equal canonical headers, byte for byte, and equal bh= equal bodies.
 * Ed25519 differs in the last step only, which test_dkim.c and other verifiers judge: what libopendkim 2.11 itself signs
 * by it, not even libopendkim verifies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <opendkim/dkim.h>

#include "proto/io/sign_openssl.h"
#include "tests/kit/message_kit.h"
#include "tests/unit/message/dkim_samples.h"

static struct kit_keys keys;
static DKIM_LIB *lib;

static int set_up(void **state) {
    (void)state;
    unsigned int flags;
    kit_keys_make(&keys);
    lib = dkim_init(NULL, NULL);
    if (!lib || dkim_options(lib, DKIM_OP_GETOPT, DKIM_OPTS_FLAGS, &flags, sizeof flags) != DKIM_STAT_OK)
        return -1;
    flags &= ~(unsigned int)DKIM_LIBFLAGS_FIXCRLF;
    return dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FLAGS, &flags, sizeof flags) == DKIM_STAT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    dkim_close(lib);
    kit_keys_release(&keys);
    return 0;
}

/* The value of libopendkim's DKIM-Signature field. */
static void their_signature(const struct sample *s, enum rmd_dkim_canon header, enum rmd_dkim_canon body,
                            struct rmd_buf *out) {
    static const dkim_canon_t canons[] = {
        [RMD_CANON_SIMPLE] = DKIM_CANON_SIMPLE, [RMD_CANON_RELAXED] = DKIM_CANON_RELAXED};
    DKIM_STAT st;
    struct rmd_buf pem = {0};
    rmd_buf_addstr(&pem, keys.pem[0]);
    DKIM *d = dkim_sign(lib, (const unsigned char *)"test", NULL, (dkim_sigkey_t)(void *)rmd_buf_str(&pem),
                        (const unsigned char *)keys.key[0].selector, (const unsigned char *)"news.example",
                        canons[header], canons[body], DKIM_SIGN_RSASHA256, -1, &st);
    assert_non_null(d);
    for (size_t i = 0; i < s->n; i++) {
        struct rmd_buf field = {0};
        rmd_buf_add(&field, s->field[i].field.p, s->field[i].field.n);
        assert_int_equal(dkim_header(d, field.p, field.len), DKIM_STAT_OK);
        rmd_buf_release(&field);
    }
    assert_int_equal(dkim_eoh(d), DKIM_STAT_OK);
    if (s->body.len)
        assert_int_equal(dkim_body(d, s->body.p, s->body.len), DKIM_STAT_OK);
    assert_int_equal(dkim_eom(d, NULL), DKIM_STAT_OK);
    unsigned char *text;
    size_t n;
    assert_int_equal(dkim_getsighdr_d(d, sizeof "DKIM-Signature: " - 1, &text, &n), DKIM_STAT_OK);
    rmd_buf_clear(out);
    rmd_buf_addstr(out, "DKIM-Signature: ");
    for (size_t i = 0; i < n; i++) { /* it folds with a bare LF, and leaves CRs to the milter */
        if (text[i] == '\n' && (!i || text[i - 1] != '\r'))
            rmd_buf_addc(out, '\r');
        rmd_buf_addc(out, (char)text[i]);
    }
    dkim_free(d);
    rmd_buf_release(&pem);
}

/* The value of a tag, as it stands in the field; p NULL when there is none. */
static struct rmd_slice tag(struct rmd_slice field, const char *name) {
    size_t n = strlen(name), from = (size_t)((const uint8_t *)memchr(field.p, ':', field.n) - field.p) + 1;
    while (from < field.n) {
        const uint8_t *semicolon = memchr(field.p + from, ';', field.n - from);
        size_t to = semicolon ? (size_t)(semicolon - field.p) : field.n;
        struct rmd_slice t = rmd_trim(rmd_slice(field.p + from, to - from));
        if (t.n > n && t.p[n] == '=' && memcmp(t.p, name, n) == 0)
            return rmd_slice(t.p + n + 1, t.n - n - 1);
        from = to + 1;
    }
    return rmd_slice(NULL, 0);
}

static void without_blanks(struct rmd_slice s, struct rmd_buf *out) {
    rmd_buf_clear(out);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] > ' ')
            rmd_buf_addc(out, (char)s.p[i]);
}

static void hash_field(struct rmd_sha256 *sha, enum rmd_dkim_canon canon, const struct rmd_dkim_header *h,
                       const char *end) {
    struct rmd_buf b = {0};
    rmd_dkim_canon_header(canon, h, &b);
    rmd_buf_addstr(&b, end);
    rmd_sign_openssl()->sha256_update(sha, b.p, b.len);
    rmd_buf_release(&b);
}

/* The signature that we make over what their field names. */
static void our_signature(const struct sample *s, enum rmd_dkim_canon canon, struct rmd_slice field,
                          struct rmd_buf *out) {
    const struct rmd_sign_ops *ops = rmd_sign_openssl();
    struct rmd_sha256 sha;
    struct rmd_buf names = {0}, self = {0};
    bool used[64] = {false};
    ops->sha256_init(&sha);
    without_blanks(tag(field, "h"), &names);
    for (size_t from = 0; from < names.len;) {
        const uint8_t *colon = memchr(names.p + from, ':', names.len - from);
        size_t to = colon ? (size_t)(colon - names.p) : names.len;
        for (size_t i = s->n; i > 0; i--) {
            if (used[i - 1] || !rmd_case_eq(s->field[i - 1].name, rmd_slice(names.p + from, to - from)))
                continue;
            used[i - 1] = true;
            hash_field(&sha, canon, &s->field[i - 1], "\r\n");
            break;
        }
        from = to + 1;
    }
    struct rmd_slice b = tag(field, "b");
    rmd_buf_add(&self, field.p, (size_t)(b.p - field.p));
    rmd_buf_add(&self, b.p + b.n, (size_t)(field.p + field.n - b.p) - b.n);
    hash_field(&sha, canon, &(struct rmd_dkim_header){rmd_slice_str("DKIM-Signature"), rmd_buf_slice(&self)}, "");
    uint8_t digest[RMD_SHA256_BYTES], sig[RMD_SIGNATURE_MAX];
    size_t n = sizeof sig;
    ops->sha256_final(&sha, digest);
    assert_int_equal(ops->sign_digest(keys.key[0].handle, digest, sig, &n), RMD_OK);
    rmd_buf_clear(out);
    rmd_base64(out, sig, n);
    rmd_buf_release(&names);
    rmd_buf_release(&self);
}

static void our_body_hash(const struct sample *s, enum rmd_dkim_canon canon, struct rmd_buf *out) {
    struct rmd_dkim_body b;
    uint8_t hash[RMD_SHA256_BYTES];
    rmd_dkim_body_init(&b, rmd_sign_openssl(), canon);
    if (s->body.len)
        rmd_dkim_body_update(&b, s->body.p, s->body.len);
    rmd_dkim_body_final(&b, hash);
    rmd_buf_clear(out);
    rmd_base64(out, hash, sizeof hash);
}

static void compare(const struct sample *s, enum rmd_dkim_canon header, enum rmd_dkim_canon body) {
    struct rmd_buf theirs = {0}, ours = {0}, b = {0};
    their_signature(s, header, body, &theirs);
    struct rmd_slice field = rmd_buf_slice(&theirs);
    without_blanks(tag(field, "bh"), &b);
    our_body_hash(s, body, &ours);
    if (strcmp(rmd_buf_str(&ours), rmd_buf_str(&b)) != 0)
        fail_msg("bh=%s, theirs %s, of %d/%d:\n%s\r\n%s", rmd_buf_str(&ours), rmd_buf_str(&b), header, body,
                 rmd_buf_str((struct rmd_buf *)(uintptr_t)&s->head),
                 rmd_buf_str((struct rmd_buf *)(uintptr_t)&s->body));
    without_blanks(tag(field, "b"), &b);
    our_signature(s, header, field, &ours);
    if (strcmp(rmd_buf_str(&ours), rmd_buf_str(&b)) != 0)
        fail_msg("b= differs, of %d/%d: %s\n%s", header, body, rmd_buf_str(&theirs),
                 rmd_buf_str((struct rmd_buf *)(uintptr_t)&s->head));
    rmd_buf_release(&theirs);
    rmd_buf_release(&ours);
    rmd_buf_release(&b);
}

static void equal_to_the_byte_over_generated_messages(void **state) {
    (void)state;
    enum { MESSAGES = 400 };
    struct rmd_rng rng;
    struct sample s = {0};
    rmd_rng_seed(&rng, 8463);
    for (int i = 0; i < MESSAGES; i++) {
        sample_throw(&s, &rng);
        for (int c = 0; c < 4; c++)
            compare(&s, c & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE, c & 2 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE);
    }
    sample_release(&s);
}

static void equal_to_the_byte_at_the_edges(void **state) {
    (void)state;
    static const char *const bodies[] = {"",
                                         "\r\n",
                                         "\r\n\r\n\r\n",
                                         " \r\n",
                                         "\t \r\n\r\n",
                                         ".\r\n",
                                         "..\r\n.\r\n",
                                         "a \r\n\r\n b\r\n",
                                         "a\r\n \r\n\t\r\n\r\n",
                                         "\xff\xfe\x80 8bit\r\n",
                                         "\r\n\r\nlate\r\n",
                                         " lead\ttab \t mix  \r\n"};
    struct sample s = {0};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (int c = 0; c < 4; c++) {
            sample_clear(&s);
            sample_field(&s, "From", "\ta@news.example");
            sample_field(&s, "Subject", i & 1 ? " \r\n\t\r\n folded   to\tnothing \t" : "");
            sample_field(&s, "Subject", " twice");
            rmd_buf_addstr(&s.body, bodies[i]);
            for (size_t k = 0; k < s.n; k++) {
                s.field[k].name = rmd_slice(s.head.p + s.start[k], s.name_n[k]);
                s.field[k].field = rmd_slice(s.head.p + s.start[k], s.end[k] - s.start[k]);
            }
            compare(&s, c & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE, c & 2 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE);
        }
    sample_clear(&s);
    struct rmd_buf line = {0}; /* one line of 100,000 bytes */
    for (int i = 0; i < 100000; i++)
        rmd_buf_addc(&line, i % 9 ? 'x' : ' ');
    rmd_buf_addstr(&line, "\r\n");
    sample_field(&s, "From", " a@news.example");
    rmd_buf_add(&s.body, line.p, line.len);
    s.field[0].name = rmd_slice(s.head.p, 4);
    s.field[0].field = rmd_slice(s.head.p, s.end[0]);
    for (int c = 0; c < 4; c++)
        compare(&s, c & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE, c & 2 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE);
    rmd_buf_release(&line);
    sample_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_to_the_byte_over_generated_messages),
        cmocka_unit_test(equal_to_the_byte_at_the_edges),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
