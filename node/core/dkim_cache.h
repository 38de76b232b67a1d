/* What signing needn't do twice: hashes of bodies, or of what comes before the first value of a body, and signatures of
 * messages that are equal in all that is signed. Pure but for the sign port; one thread's.
 *
 * Bodies are found by their bytes, compared: a hash is never taken for another body's. A signature is found by its key
 * and the digest that it signs, and RSA (PKCS #1 v1.5) and Ed25519 sign equal digests equally; only those of bodies
 * without values are kept, because others don't come again. Bounded: RMD_DKIM_BODIES_MAX bodies of together
 * RMD_DKIM_BODIES_BYTES, RMD_DKIM_MEMOS_MAX signatures. */
#ifndef REMUDA_NODE_DKIM_CACHE_H
#define REMUDA_NODE_DKIM_CACHE_H

#include "node/core/dkim.h"

enum { RMD_DKIM_BODIES_MAX = 16, RMD_DKIM_BODIES_BYTES = 4 << 20, RMD_DKIM_MEMOS_MAX = 64 };

struct rmd_dkim_cache;
struct rmd_dkim_cache *rmd_dkim_cache_new(const struct rmd_sign_ops *sign);
void rmd_dkim_cache_free(struct rmd_dkim_cache *c);
/* Keys were unloaded: another one may have the handle that one of them had. */
void rmd_dkim_cache_forget_keys(struct rmd_dkim_cache *c);

/* The hash of a body of which no value can have touched the first `fixed` bytes. */
void rmd_dkim_cache_body(struct rmd_dkim_cache *c, enum rmd_dkim_canon canon, struct rmd_slice body, size_t fixed,
                         uint8_t hash[RMD_SHA256_BYTES]);
/* Where the signature by the k-th key over a body of that hash is kept. */
struct rmd_dkim_memo *rmd_dkim_cache_memo(struct rmd_dkim_cache *c, const uint8_t body_hash[RMD_SHA256_BYTES],
                                          size_t k);

#endif
