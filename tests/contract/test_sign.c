/* The sign port: the fake and OpenSSL under one suite, and known answers and operator's errors of the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <base/text.h>

#include "proto/io/sign_openssl.h"
#include "tests/kit/message_kit.h"
#include "tests/kit/sign_fake.h"

struct backend {
    const struct rmd_sign_ops *ops;
    const char *pem[2]; /* RSA, Ed25519 */
};

static struct kit_keys keys;
static struct backend real, fake;

static int set_up(void **state) {
    (void)state;
    kit_keys_make(&keys);
    real = (struct backend){rmd_sign_openssl(), {keys.pem[0], keys.pem[1]}};
    fake = (struct backend){rmd_sign_fake(),
                            {"-----BEGIN FAKE RSA KEY-----\n1\n-----END FAKE RSA KEY-----\n",
                             "-----BEGIN FAKE ED25519 KEY-----\n1\n-----END FAKE ED25519 KEY-----\n"}};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    kit_keys_release(&keys);
    return 0;
}

/* ---------------------------------------------------------------- one suite */

static void pieces_make_no_difference(void **state) {
    const struct backend *b = *state;
    uint8_t text[300], whole[RMD_SHA256_BYTES], pieces[RMD_SHA256_BYTES];
    struct rmd_sha256 h;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7);
    b->ops->sha256_init(&h);
    b->ops->sha256_update(&h, text, sizeof text);
    b->ops->sha256_final(&h, whole);
    for (size_t step = 1; step < 130; step += 3) {
        b->ops->sha256_init(&h);
        for (size_t i = 0; i < sizeof text; i += step)
            b->ops->sha256_update(&h, text + i, sizeof text - i < step ? sizeof text - i : step);
        b->ops->sha256_final(&h, pieces);
        assert_memory_equal(whole, pieces, sizeof whole);
    }
    text[100] ^= 1;
    b->ops->sha256_init(&h);
    b->ops->sha256_update(&h, text, sizeof text);
    b->ops->sha256_final(&h, pieces);
    assert_memory_not_equal(whole, pieces, sizeof whole);
}

static void a_state_can_be_copied(void **state) {
    const struct backend *b = *state;
    struct rmd_sha256 prefix, copy;
    uint8_t one[RMD_SHA256_BYTES], two[RMD_SHA256_BYTES], other[RMD_SHA256_BYTES];
    b->ops->sha256_init(&prefix);
    b->ops->sha256_update(&prefix, "common prefix", 13);
    copy = prefix;
    b->ops->sha256_update(&copy, " a", 2);
    b->ops->sha256_final(&copy, one);
    copy = prefix;
    b->ops->sha256_update(&copy, " b", 2);
    b->ops->sha256_final(&copy, other);
    b->ops->sha256_update(&prefix, " a", 2);
    b->ops->sha256_final(&prefix, two);
    assert_memory_equal(one, two, sizeof one);
    assert_memory_not_equal(one, other, sizeof one);
}

static void macs_depend_on_key_and_text(void **state) {
    const struct backend *b = *state;
    uint8_t m[4][RMD_SHA256_BYTES], again[RMD_SHA256_BYTES];
    uint8_t long_key[200] = {1};
    b->ops->hmac_sha256("key", 3, "text", 4, m[0]);
    b->ops->hmac_sha256("kez", 3, "text", 4, m[1]);
    b->ops->hmac_sha256("key", 3, "texu", 4, m[2]);
    b->ops->hmac_sha256(long_key, sizeof long_key, "text", 4, m[3]);
    b->ops->hmac_sha256("key", 3, "text", 4, again);
    assert_memory_equal(m[0], again, sizeof again);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(m[i], m[k], sizeof m[i]);
}

static void signatures(void **state) {
    const struct backend *b = *state;
    static const size_t sizes[] = {256, 64};
    static const enum rmd_key_kind kinds[] = {RMD_KEY_RSA, RMD_KEY_ED25519};
    for (int i = 0; i < 2; i++) {
        uint8_t digest[RMD_SHA256_BYTES] = {1, 2, 3}, one[RMD_SIGNATURE_MAX], two[RMD_SIGNATURE_MAX];
        size_t n = sizeof one, m = sizeof two, small = sizes[i] - 1;
        enum rmd_key_kind kind;
        void *key;
        char err[200];
        assert_int_equal(b->ops->key_load(rmd_slice_str(b->pem[i]), &key, &kind, err, sizeof err), RMD_OK);
        assert_int_equal(kind, kinds[i]);
        assert_int_equal(b->ops->sign_digest(key, digest, one, &n), RMD_OK);
        assert_int_equal(n, sizes[i]);
        assert_int_equal(b->ops->sign_digest(key, digest, two, &m), RMD_OK);
        assert_int_equal(m, n);
        assert_memory_equal(one, two, n); /* both schemes are deterministic */
        digest[31] ^= 1;
        m = sizeof two;
        assert_int_equal(b->ops->sign_digest(key, digest, two, &m), RMD_OK);
        assert_memory_not_equal(one, two, n);
        assert_int_equal(b->ops->sign_digest(key, digest, two, &small), RMD_ELIMIT);
        b->ops->key_free(key);
    }
}

static void what_is_no_key_is_refused(void **state) {
    const struct backend *b = *state;
    static const char *const texts[] = {"", "hello",
                                        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        enum rmd_key_kind kind;
        void *key;
        char err[300] = "";
        assert_int_equal(b->ops->key_load(rmd_slice_str(texts[i]), &key, &kind, err, sizeof err), RMD_EFORMAT);
        assert_string_not_equal(err, "");
    }
    b->ops->key_free(NULL);
}

/* ---------------------------------------------------------------- OpenSSL alone */

static void known_answers(void **state) {
    (void)state;
    uint8_t out[RMD_SHA256_BYTES];
    char hex[2 * sizeof out + 1];
    struct rmd_sha256 h;
    real.ops->sha256_init(&h);
    real.ops->sha256_update(&h, "abc", 3); /* FIPS 180-4 */
    real.ops->sha256_final(&h, out);
    rmd_hex(hex, out, sizeof out);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    real.ops->hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out); /* RFC 4231, case 2 */
    rmd_hex(hex, out, sizeof out);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    uint8_t key[131];
    memset(key, 0xaa, sizeof key); /* case 6: a key longer than a block */
    real.ops->hmac_sha256(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
    rmd_hex(hex, out, sizeof out);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* What the operator reads when a key can't be used. */
static void assert_refused(EVP_PKEY *pkey, const char *passphrase, int code, const char *words) {
    char pem[8192], err[400] = "";
    enum rmd_key_kind kind;
    void *key;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_non_null(pkey);
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey, passphrase ? EVP_aes_256_cbc() : NULL, passphrase,
                                                   passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    int n = BIO_read(bio, pem, sizeof pem);
    assert_true(n > 0);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    assert_int_equal(real.ops->key_load(rmd_slice(pem, (size_t)n), &key, &kind, err, sizeof err), code);
    if (!strstr(err, words))
        fail_msg("\"%s\" doesn't say \"%s\"", err, words);
}

static void unusable_keys_are_explained(void **state) {
    (void)state;
    assert_refused(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)512), NULL, RMD_EUNSUPPORTED, "has 512 bits");
    assert_refused(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), NULL, RMD_EUNSUPPORTED, "RSA or Ed25519");
    assert_refused(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "secret", RMD_EFORMAT, "passphrase");
    enum rmd_key_kind kind;
    void *key;
    char err[400];
    static const char damaged[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_int_equal(real.ops->key_load(rmd_slice_str(damaged), &key, &kind, err, sizeof err), RMD_EFORMAT);
    assert_non_null(strstr(err, "can't be read"));
    static const char public[] = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_int_equal(real.ops->key_load(rmd_slice_str(public), &key, &kind, err, sizeof err), RMD_EFORMAT);
    assert_non_null(strstr(err, "this is a public key"));
}

/* More keys than a thread caches, used in turn, freed and loaded again: each signs as itself. */
static void many_keys_in_turn(void **state) {
    (void)state;
    enum { KEYS = 20, ROUNDS = 3 };
    uint8_t first[KEYS][64], digest[RMD_SHA256_BYTES] = {9};
    char pem[KEYS][400];
    for (int i = 0; i < KEYS; i++) {
        EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        BIO *bio = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
        int n = BIO_read(bio, pem[i], sizeof pem[i] - 1);
        assert_true(n > 0);
        pem[i][n] = 0;
        BIO_free(bio);
        EVP_PKEY_free(pkey);
    }
    for (int round = 0; round < ROUNDS; round++) {
        void *key[KEYS];
        for (int i = 0; i < KEYS; i++) {
            enum rmd_key_kind kind;
            char err[200];
            uint8_t sig[64];
            size_t n = sizeof sig;
            assert_int_equal(real.ops->key_load(rmd_slice_str(pem[i]), &key[i], &kind, err, sizeof err), RMD_OK);
            assert_int_equal(real.ops->sign_digest(key[i], digest, sig, &n), RMD_OK);
            if (round == 0)
                memcpy(first[i], sig, n);
            assert_memory_equal(first[i], sig, n);
            if (i > 0)
                assert_memory_not_equal(first[i], first[i - 1], n);
        }
        for (int i = 0; i < KEYS; i++)
            real.ops->key_free(key[i]);
    }
}

static void *sign_in_thread(void *arg) {
    uint8_t digest[RMD_SHA256_BYTES] = {7};
    size_t n = RMD_SIGNATURE_MAX;
    for (int i = 0; i < 5; i++) {
        n = RMD_SIGNATURE_MAX;
        if (real.ops->sign_digest(keys.key[0].handle, digest, arg, &n) != RMD_OK)
            return NULL;
    }
    return arg;
}

static void a_key_serves_threads(void **state) {
    (void)state;
    pthread_t t[3];
    uint8_t sig[3][RMD_SIGNATURE_MAX];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, sign_in_thread, sig[i]), 0);
    for (int i = 0; i < 3; i++) {
        void *done;
        assert_int_equal(pthread_join(t[i], &done), 0);
        assert_non_null(done);
        assert_memory_equal(sig[i], sig[0], 256);
    }
}

#define SUITE(backend)                                                                                      \
    {"pieces_make_no_difference(" #backend ")", pieces_make_no_difference, NULL, NULL, &(backend)},         \
        {"a_state_can_be_copied(" #backend ")", a_state_can_be_copied, NULL, NULL, &(backend)},             \
        {"macs_depend_on_key_and_text(" #backend ")", macs_depend_on_key_and_text, NULL, NULL, &(backend)}, \
        {"signatures(" #backend ")", signatures, NULL, NULL, &(backend)}, {                                 \
        "what_is_no_key_is_refused(" #backend ")", what_is_no_key_is_refused, NULL, NULL, &(backend)        \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        SUITE(fake),
        SUITE(real),
        cmocka_unit_test(known_answers),
        cmocka_unit_test(unusable_keys_are_explained),
        cmocka_unit_test(many_keys_in_turn),
        cmocka_unit_test(a_key_serves_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
