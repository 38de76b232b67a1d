/* TLS client for SMTP: OpenSSL, TLS 1.2 and later, on a non-blocking descriptor. Opportunistic sessions don't verify
 * certificates, because an answer in the clear would be the alternative (RFC 7435); PKIX and DANE (through OpenSSL's
 * SSL_dane) are checked when the handshake is through, before a byte of ours follows. Sessions are resumed by (source
 * address, host, what was verified), so that two sources are never linked by a ticket and nothing unverified is taken for
 * verified; at most RMD_TLS_SESSIONS_MAX are kept, the least recently used go. One context a thread. */
#ifndef REMUDA_NODE_TLS_H
#define REMUDA_NODE_TLS_H

#include "node/core/tls_policy.h"

enum { RMD_TLS_SESSIONS_MAX = 4096 };

struct rmd_tls_context;
struct rmd_tls;

/* ca_file: PEM with the authorities to trust; "": the system's. NULL: err tells the operator why. */
struct rmd_tls_context *rmd_tls_context_new(const char *ca_file, char *err, size_t err_n);
void rmd_tls_context_free(struct rmd_tls_context *c);

/* fd stays the caller's; spec is read here only. */
struct rmd_tls *rmd_tls_new(struct rmd_tls_context *c, int fd, const struct rmd_addr *source,
                            const struct rmd_tls_spec *spec);
void rmd_tls_free(struct rmd_tls *t, bool orderly); /* orderly: with a close_notify, as far as it can leave at once */

/* RMD_OK; RMD_EAGAIN: see rmd_tls_wants_write; RMD_EIO: the handshake, or what had to be verified, failed. text (up to n
 * bytes) is for people: protocol and cipher, or what failed, or after RMD_OK what a mere check found. */
int rmd_tls_handshake(struct rmd_tls *t, struct rmd_tls_info *info, char *text, size_t n) RMD_CHECKED;
/* > 0: bytes; 0: closed in order; RMD_EAGAIN; RMD_EIO with text. */
long rmd_tls_read(struct rmd_tls *t, void *buf, size_t n, char *text, size_t text_n);
long rmd_tls_write(struct rmd_tls *t, const void *buf, size_t n, char *text, size_t text_n);
bool rmd_tls_wants_write(const struct rmd_tls *t); /* the last RMD_EAGAIN waits for room rather than for bytes */

#endif
