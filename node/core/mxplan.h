/* MX plan: in which order the hosts and addresses of a domain are dialled (RFC 5321 section 5.1). Pure.
 *
 * Hosts by preference, shuffled within equal preference by the owner's generator; of each host the addresses of the
 * source's family, shuffled too; addresses that failed lately from the same source come last within their host, and a
 * host that has no other waits until the rest was tried. Special addresses (rmd_addr_is_special) are left out unless
 * a network of the policy allows them. At most RMD_MXPLAN_DIALS addresses are tried.
 *
 *   new -> host -> [owner resolves it] -> addresses -> (address, next)* -> host of the next ... -> host == NULL:
 * exhausted */
#ifndef REMUDA_NODE_MXPLAN_H
#define REMUDA_NODE_MXPLAN_H

#include <base/coll.h>
#include <remuda/dns.h>
#include <remuda/rng.h>

#include "proto/rules.h"

enum { RMD_MXPLAN_DIALS = 8, RMD_MXFAIL_MAX = 4096, RMD_MXFAIL_MS = 300000, RMD_NETS_MAX = 256 };

/* Addresses that failed lately, by source; bounded, the oldest leaves first. A zeroed one is empty. */
struct rmd_mxfail {
    struct rmd_map by_key;
    struct rmd_list oldest;
};
void rmd_mxfail_add(struct rmd_mxfail *f, uint32_t source, const struct rmd_addr *a, int64_t now_ms);
void rmd_mxfail_clear(struct rmd_mxfail *f, uint32_t source, const struct rmd_addr *a);
bool rmd_mxfail_has(const struct rmd_mxfail *f, uint32_t source, const struct rmd_addr *a, int64_t now_ms);
void rmd_mxfail_release(struct rmd_mxfail *f);

/* What an address must pass. */
struct rmd_mxplan_filter {
    uint32_t source;
    uint8_t family; /* of the source */
    const struct rmd_prefix *allow;
    size_t n_allow;
    bool (*ours)(void *ctx, const struct rmd_addr *a); /* our own address: as good as special; may be NULL */
    void *ctx;
    const struct rmd_mxfail *fail;
    int64_t now_ms;
};

struct rmd_mxplan;
/* mx: sorted by preference; the hosts are copied. */
struct rmd_mxplan *rmd_mxplan_new(const struct rmd_mx *mx, size_t n, struct rmd_rng *rng);
void rmd_mxplan_free(struct rmd_mxplan *p);
const char *rmd_mxplan_host(const struct rmd_mxplan *p); /* NULL: exhausted */
/* The answer for the current host. Afterwards address() is set, or the plan stands at the next host (or is
 * exhausted). */
void rmd_mxplan_addresses(struct rmd_mxplan *p, const struct rmd_addr_answer *a, const struct rmd_mxplan_filter *f,
                          struct rmd_rng *rng);
const struct rmd_addr *rmd_mxplan_address(const struct rmd_mxplan *p); /* NULL: the host must be resolved first */
void rmd_mxplan_next(struct rmd_mxplan *p);                            /* the current address failed */
void rmd_mxplan_next_host(struct rmd_mxplan *p);                       /* nothing of the current host is to be used */
/* Why no address could be dialled at all, when the plan is exhausted without a single dial; detail is for people. */
enum rmd_own_error rmd_mxplan_error(const struct rmd_mxplan *p, char *detail, size_t n);
/* Some host has addresses that only a source of the other family can dial. */
bool rmd_mxplan_other_family(const struct rmd_mxplan *p);

#endif
