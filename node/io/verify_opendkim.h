/* Verifies DKIM signatures with libopendkim: an implementation that shares nothing with our signer. For tests,
 * incoming reports and `doctor`; not for the hot path. */
#ifndef REMUDA_VERIFY_OPENDKIM_H
#define REMUDA_VERIFY_OPENDKIM_H

#include <remuda/types.h>

enum { RMD_VERIFY_SIGNATURES_MAX = 16 };

/* Writes the TXT record of "selector._domainkey.domain" into out, terminated; RMD_ENOTFOUND when there is none,
 * RMD_EAGAIN when nobody could tell now. */
typedef int (*rmd_verify_key_fn)(void *arg, const char *selector, const char *domain, char *out, size_t out_n);

struct rmd_verify_result {
    char domain[256];
    char selector[256];
    char algorithm[32]; /* a= */
    bool pass;
    char why[96]; /* libopendkim's words when it did not pass */
};

struct rmd_verifier;
/* key: NULL = libopendkim asks DNS itself. One verifier serves one thread. NULL when the library can't be set up. */
struct rmd_verifier *rmd_verifier_new(rmd_verify_key_fn key, void *arg);
void rmd_verifier_free(struct rmd_verifier *v);

/* message: header fields, empty line, body, with CRLF line ends. One result a signature, in the order of the message,
 * at most max; *n is how many there are. RMD_OK when every signature was judged (n may be 0), RMD_EFORMAT when it
 * isn't a message, RMD_EAGAIN when a key could not be asked for. */
int rmd_verify_message(struct rmd_verifier *v, struct rmd_slice message, struct rmd_verify_result *results,
                       size_t max, size_t *n) RMD_CHECKED;

#endif
