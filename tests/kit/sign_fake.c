/* The sign port's fake; see sign_fake.h. The "hash" is FNV-1a, spread over 32 bytes by splitmix64. */
#include "tests/kit/sign_fake.h"

#include <base/text.h>

enum { FAKE_RSA_BYTES = 256, FAKE_ED25519_BYTES = 64 };
#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

struct fake_key {
    uint64_t seed;
    enum rmd_key_kind kind;
};

static uint64_t fnv(uint64_t h, const void *data, size_t n) {
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * FNV_PRIME;
    return h;
}

static void spread(uint64_t h, uint8_t *out, size_t n) {
    for (size_t i = 0; i < n; i += 8)
        rmd_put_be64(out + i, rmd_mix64(h + i));
}

static void sha256_init(struct rmd_sha256 *h) {
    uint64_t start = FNV_START;
    memcpy(h->opaque, &start, sizeof start);
}

static void sha256_update(struct rmd_sha256 *h, const void *p, size_t n) {
    uint64_t state;
    memcpy(&state, h->opaque, sizeof state);
    state = fnv(state, p, n);
    memcpy(h->opaque, &state, sizeof state);
}

static void sha256_final(struct rmd_sha256 *h, uint8_t out[RMD_SHA256_BYTES]) {
    uint64_t state;
    memcpy(&state, h->opaque, sizeof state);
    spread(state, out, RMD_SHA256_BYTES);
}

static void hmac_sha256(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[RMD_SHA256_BYTES]) {
    spread(fnv(rmd_mix64(fnv(FNV_START, key, key_n)), p, n), out, RMD_SHA256_BYTES);
}

static int key_load(struct rmd_slice pem, void **key, enum rmd_key_kind *kind, char *err, size_t err_n) {
    static const char rsa[] = "-----BEGIN FAKE RSA KEY-----", ed[] = "-----BEGIN FAKE ED25519 KEY-----";
    if (pem.n >= sizeof rsa - 1 && memcmp(pem.p, rsa, sizeof rsa - 1) == 0) {
        *kind = RMD_KEY_RSA;
    } else if (pem.n >= sizeof ed - 1 && memcmp(pem.p, ed, sizeof ed - 1) == 0) {
        *kind = RMD_KEY_ED25519;
    } else {
        bool whole = rmd_copy(err, err_n, "there is no PEM private key in it (a fake one is expected)");
        (void)whole;
        return RMD_EFORMAT;
    }
    struct fake_key *k = rmd_alloc(sizeof *k);
    k->seed = rmd_mix64(fnv(FNV_START, pem.p, pem.n));
    k->kind = *kind;
    *key = k;
    return RMD_OK;
}

static void key_free(void *key) {
    free(key);
}

static int sign_digest(void *key, const uint8_t digest[RMD_SHA256_BYTES], uint8_t *sig, size_t *sig_n) {
    const struct fake_key *k = key;
    size_t need = k->kind == RMD_KEY_RSA ? FAKE_RSA_BYTES : FAKE_ED25519_BYTES;
    if (*sig_n < need)
        return RMD_ELIMIT;
    spread(fnv(k->seed, digest, RMD_SHA256_BYTES), sig, need);
    *sig_n = need;
    return RMD_OK;
}

const struct rmd_sign_ops *rmd_sign_fake(void) {
    static const struct rmd_sign_ops ops = {
        .sha256_init = sha256_init,
        .sha256_update = sha256_update,
        .sha256_final = sha256_final,
        .hmac_sha256 = hmac_sha256,
        .key_load = key_load,
        .key_free = key_free,
        .sign_digest = sign_digest,
    };
    return &ops;
}
