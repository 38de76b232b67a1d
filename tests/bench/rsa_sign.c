/* The floor of every personalised message: one bare RSA-2048 signature (PKCS #1 v1.5 over a SHA-256 digest) by
 * OpenSSL's EVP, with the key parsed and the context set up once.
 *
 *     rsa_sign KEY.pem [signatures]         (2,000)
 *
 * Prints {"signatures": n, "cpu_us": x}, x being CPU microseconds a signature of this process, which does nothing
 * else; the digest changes with each, so that nothing can be remembered. The last signature is verified: a measured
 * wrong answer would be worth nothing. Exits with 1 and a sentence on any failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <base/text.h>

enum { DIGEST_BYTES = 32, SIGNATURE_MAX = 512, RSA_BITS = 2048, WARM_UP = 50 };

static void die(const char *what) {
    fprintf(stderr, "rsa_sign: %s\n", what);
    exit(1);
}

static int64_t cpu_ns(void) {
    struct timespec t;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t))
        die("no clock of CPU time");
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static EVP_PKEY *read_key(const char *path) {
    FILE *f = fopen(path, "r");
    if (!f)
        die("the key file can't be opened");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) != RSA_BITS)
        die("the file has no RSA-2048 private key");
    return key;
}

static EVP_PKEY_CTX *context(EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *)) {
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
    if (!c || init(c) <= 0 || EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) <= 0)
        die("OpenSSL gives no context for the key");
    return c;
}

int main(int argc, char **argv) {
    uint64_t n = 2000;
    if (argc < 2 || argc > 3 || (argc == 3 && (rmd_parse_u64(rmd_slice_str(argv[2]), &n) || n == 0)))
        die("usage: rsa_sign KEY.pem [signatures]");
    EVP_PKEY *key = read_key(argv[1]);
    EVP_PKEY_CTX *signer = context(key, EVP_PKEY_sign_init);
    uint8_t digest[DIGEST_BYTES] = {0}, signature[SIGNATURE_MAX];
    size_t signature_n = 0;
    int64_t start = 0;
    for (uint64_t i = 0; i < n + WARM_UP; i++) {
        if (i == WARM_UP)
            start = cpu_ns();
        memcpy(digest, &i, sizeof i);
        signature_n = sizeof signature;
        if (EVP_PKEY_sign(signer, signature, &signature_n, digest, sizeof digest) <= 0)
            die("signing failed");
    }
    double us = (double)(cpu_ns() - start) / 1000 / (double)n;
    EVP_PKEY_CTX *verifier = context(key, EVP_PKEY_verify_init);
    if (EVP_PKEY_verify(verifier, signature, signature_n, digest, sizeof digest) != 1)
        die("the signature doesn't verify");
    printf("{\"signatures\": %llu, \"cpu_us\": %.2f}\n", (unsigned long long)n, us);
    EVP_PKEY_CTX_free(verifier);
    EVP_PKEY_CTX_free(signer);
    EVP_PKEY_free(key);
    return 0;
}
