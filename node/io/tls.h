/* TLS client for SMTP: OpenSSL, TLS 1.2 and later, on a non-blocking descriptor. Opportunistic: certificates are not
 * verified, because an answer in the clear would be the alternative (RFC 7435). Sessions are resumed by (source
 * address, host), so that two sources are never linked by a ticket; at most RMD_TLS_SESSIONS_MAX are kept. One
 * context a thread. */
#ifndef REMUDA_NODE_TLS_H
#define REMUDA_NODE_TLS_H

#include <remuda/types.h>

enum { RMD_TLS_SESSIONS_MAX = 4096 };

struct rmd_tls_context;
struct rmd_tls;

struct rmd_tls_context *rmd_tls_context_new(void); /* NULL: OpenSSL can't be set up */
void rmd_tls_context_free(struct rmd_tls_context *c);

/* fd stays the caller's. host: for SNI, "" = none. */
struct rmd_tls *rmd_tls_new(struct rmd_tls_context *c, int fd, const struct rmd_addr *source, const char *host);
void rmd_tls_free(struct rmd_tls *t, bool orderly); /* orderly: with a close_notify, as far as it can leave at once */

/* RMD_OK; RMD_EAGAIN: see rmd_tls_wants_write; RMD_EIO with text (up to n bytes) for people. After RMD_OK text is
 * protocol and cipher. */
int rmd_tls_handshake(struct rmd_tls *t, char *text, size_t n) RMD_CHECKED;
/* > 0: bytes; 0: closed in order; RMD_EAGAIN; RMD_EIO with text. */
long rmd_tls_read(struct rmd_tls *t, void *buf, size_t n, char *text, size_t text_n);
long rmd_tls_write(struct rmd_tls *t, const void *buf, size_t n, char *text, size_t text_n);
bool rmd_tls_wants_write(const struct rmd_tls *t); /* the last RMD_EAGAIN waits for room rather than for bytes */

#endif
