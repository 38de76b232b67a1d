/* Preloaded into a node by the bench: the private key operation costs nothing, its answer is the digest again and again,
 * which no receiver would believe. Remuda itself sends nothing unsigned; so this stands for the unsigned message: all is
 * done that belongs to a signature, hashes and header included, but for the one operation that is the floor. */
#include <string.h>

#include <openssl/evp.h>

__attribute__((visibility("default"))) int EVP_PKEY_sign(EVP_PKEY_CTX *ctx, unsigned char *sig, size_t *sig_n,
                                                         const unsigned char *digest, size_t digest_n) {
    size_t n = (size_t)EVP_PKEY_get_size(EVP_PKEY_CTX_get0_pkey(ctx));
    if (*sig_n < n || !digest_n)
        return 0;
    for (size_t i = 0; i < n; i += digest_n)
        memcpy(sig + i, digest, n - i < digest_n ? n - i : digest_n);
    *sig_n = n;
    return 1;
}
