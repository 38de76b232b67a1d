/* DKIM signing (RFC 6376, RFC 8463) for the hot path: streaming canonicalisation and hashing, keys parsed once. Pure
 * but for the sign port. From is oversigned (named once more than it occurs), so that none can be added. */
#ifndef REMUDA_NODE_DKIM_H
#define REMUDA_NODE_DKIM_H

#include "node/core/render.h"

/* Body hash as the body is written: feed in any pieces (CRLF line ends), finish once. */
struct rmd_dkim_body {
    const struct rmd_sign_ops *sign;
    struct rmd_sha256 sha;
    enum rmd_dkim_canon canon;
    uint64_t pending_crlf; /* line ends not yet known to be followed by something */
    bool pending_space, pending_cr, any;
    size_t out_n;
    uint8_t out[4096]; /* gathers small pieces before they are hashed */
};
void rmd_dkim_body_init(struct rmd_dkim_body *b, const struct rmd_sign_ops *sign, enum rmd_dkim_canon canon);
void rmd_dkim_body_update(struct rmd_dkim_body *b, const void *p, size_t n);
void rmd_dkim_body_final(struct rmd_dkim_body *b, uint8_t hash[RMD_SHA256_BYTES]);
/* Hashes what was gathered so far, before copies are made. */
void rmd_dkim_body_flush(struct rmd_dkim_body *b);
/* What was fed to `from`, fed to `to`. */
void rmd_dkim_body_copy(struct rmd_dkim_body *to, const struct rmd_dkim_body *from);

/* A header field as it will be sent: name, and the whole field with its folding, without the final CRLF. */
struct rmd_dkim_header {
    struct rmd_slice name;
    struct rmd_slice field;
};

/* The last signature by a key, kept by the owner: an equal digest isn't signed again. */
struct rmd_dkim_memo {
    const void *handle; /* of the key; NULL: empty */
    uint8_t digest[RMD_SHA256_BYTES];
    size_t n;
    uint8_t signature[RMD_SIGNATURE_MAX];
};

/* Appends "DKIM-Signature: ...\r\n" to out. headers in order of the message, their bytes not in out. memo may be NULL.
 * RMD_EIO when the key can't sign, RMD_ELIMIT when out is full; out is as before then. */
int rmd_dkim_sign(const struct rmd_sign_ops *sign, const struct rmd_dkim_key *key, enum rmd_dkim_canon header_canon,
                  enum rmd_dkim_canon body_canon, const struct rmd_dkim_header *headers, size_t n,
                  const uint8_t body_hash[RMD_SHA256_BYTES], int64_t wall_s, struct rmd_dkim_memo *memo,
                  struct rmd_buf *out) RMD_CHECKED;

/* The canonical form of one header field, appended (for tests and for signing). */
void rmd_dkim_canon_header(enum rmd_dkim_canon canon, const struct rmd_dkim_header *h, struct rmd_buf *out);

#endif
