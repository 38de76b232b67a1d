/* The MTA-STS service of a node: one thread with the cache of policies (core/sts_cache.h), a resolver, HTTPS, and the file
 * in which policies outlive the process. The nodes fetch, not the coordinator: they are the ones that the Internet sees and
 * that dial, the coordinator may have no way out at all, and a policy is wanted when a connection is made.
 *
 * Policy hosts that lead to special addresses or to our own are refused unless the coordinator allows them
 * (smtp.allow_special), as MX hosts are. */
#ifndef REMUDA_NODE_STS_H
#define REMUDA_NODE_STS_H

#include <base/text.h>
#include <remuda/clock.h>

#include "node/core/sts_cache.h"
#include "proto/io/dns_cares.h"

enum { RMD_STS_FILE_MAX = 64 << 20, RMD_STS_SAVE_MS = 10000, RMD_STS_QUEUE_MAX = 65536 };

struct rmd_sts_service;

/* An answer for a worker, from the service's thread. */
typedef void (*rmd_sts_answer_fn)(void *ctx, uint32_t worker, const char *domain, const struct rmd_sts_answer *a);

struct rmd_sts_options {
    const char *file;    /* of the cache */
    const char *ca_file; /* "": the system's authorities */
    int64_t timeout_ms;
    uint16_t port;
    struct rmd_dns_cares_options dns;
    const struct rmd_clock *clock;
    rmd_sts_answer_fn answer;
    void *ctx;
};

int rmd_sts_start(const struct rmd_sts_options *o, struct rmd_sts_service **out, char *err, size_t err_n) RMD_CHECKED;
/* From any thread. Each question is answered once, unless the service was stopped. */
void rmd_sts_ask(struct rmd_sts_service *s, uint32_t worker, const char *domain);
/* Which special addresses may be dialled, and which addresses are ours; of the policy in force. */
void rmd_sts_addresses(struct rmd_sts_service *s, const struct rmd_prefix *allow, size_t n_allow,
                       const struct rmd_addr *own, size_t n_own);
void rmd_sts_stop(struct rmd_sts_service *s); /* no answers behind this; questions are still taken, and dropped */
void rmd_sts_free(struct rmd_sts_service *s);

#endif
