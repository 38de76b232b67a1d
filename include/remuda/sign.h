/* Crypto port for the hot path: hashing and signing with keys that were parsed once.
 *
 * A key handle belongs to the implementation and is shared read-only by threads; contexts are per thread. The fake is
 * deterministic and cheap, for the simulator. */
#ifndef REMUDA_SIGN_H
#define REMUDA_SIGN_H

#include <remuda/types.h>

enum rmd_key_kind { RMD_KEY_RSA = 1, RMD_KEY_ED25519 = 2 };
enum { RMD_SIGNATURE_MAX = 512, RMD_SHA256_BYTES = 32, RMD_SHA256_STATE_MAX = 256 };

/* Storage for a running SHA-256, so that a state can be copied after a common prefix. */
struct rmd_sha256 {
    _Alignas(16) uint8_t opaque[RMD_SHA256_STATE_MAX];
};

struct rmd_sign_ops {
    void (*sha256_init)(struct rmd_sha256 *h);
    void (*sha256_update)(struct rmd_sha256 *h, const void *p, size_t n);
    void (*sha256_final)(struct rmd_sha256 *h, uint8_t out[RMD_SHA256_BYTES]);
    void (*hmac_sha256)(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[RMD_SHA256_BYTES]);
    /* PEM private key -> handle; RMD_EFORMAT when it can't be read, RMD_EUNSUPPORTED when neither RSA (>= 1024 bit)
     * nor Ed25519; err gets a text for the operator. */
    int (*key_load)(struct rmd_slice pem, void **key, enum rmd_key_kind *kind, char *err, size_t err_n) RMD_CHECKED;
    void (*key_free)(void *key);
    /* Signs the SHA-256 digest of the data (RFC 6376: RSASSA-PKCS1-v1_5; RFC 8463: PureEdDSA over the digest).
     * *sig_n: capacity in, length out. */
    int (*sign_digest)(void *key, const uint8_t digest[RMD_SHA256_BYTES], uint8_t *sig, size_t *sig_n) RMD_CHECKED;
};

#endif
