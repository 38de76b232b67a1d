/* Fetching small texts over HTTPS with libcurl: certificate and name checked, no redirects, no proxy, no cookies, at most
 * max_bytes and timeout_ms, only the addresses that the caller found good (checked again on the address that is connected
 * to). At most RMD_HTTPS_AT_ONCE at the same time, the others wait. Of one thread. */
#ifndef REMUDA_NODE_HTTPS_CURL_H
#define REMUDA_NODE_HTTPS_CURL_H

#include <remuda/types.h>

#include "proto/tls.h"

enum { RMD_HTTPS_AT_ONCE = 64, RMD_HTTPS_ADDRESSES_MAX = 16 };

struct rmd_https_options {
    const char *ca_file; /* "": the system's */
    long timeout_ms;
    uint16_t port;
    size_t max_bytes;
};

struct rmd_https_result {
    enum rmd_tls_result result; /* OK: body; STS_WEBPKI_INVALID: the certificate; STS_POLICY_FETCH_ERROR: all else */
    const char *why;
    struct rmd_slice body;
};
typedef void (*rmd_https_fn)(void *ctx, const char *name, const struct rmd_https_result *r);

struct rmd_https;
int rmd_https_open(const struct rmd_https_options *o, struct rmd_https **out, char *err, size_t err_n) RMD_CHECKED;
void rmd_https_close(struct rmd_https *h); /* what is under way is dropped without a word */
/* GET https://HOST:PORT/PATH; name comes back. fn is called once, from within process(). */
void rmd_https_get(struct rmd_https *h, const char *name, const char *host, const char *path,
                   const struct rmd_addr *addr, size_t n, rmd_https_fn fn, void *ctx);
/* Sleeps until something is to be done here, or one of the descriptors (-1: none) is readable, or timeout_ms is over. */
void rmd_https_wait(struct rmd_https *h, const int fd[2], int timeout_ms);
void rmd_https_process(struct rmd_https *h);

#endif
