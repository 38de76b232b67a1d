/* What dns_cares.c (c-ares, queries, cache, sockets) and dns_cares_requests.c (what callers ask, made of lookups) share;
 * nobody else includes this. */
#ifndef REMUDA_DNS_CARES_INTERNAL_H
#define REMUDA_DNS_CARES_INTERNAL_H

#include <base/coll.h>

#include "proto/io/dns_cache.h"
#include "proto/io/dns_cares.h"
#include "proto/io/dns_message.h"

enum slot { SLOT_A, SLOT_AAAA, SLOT_OTHER, SLOTS }; /* OTHER: the MX, later the check of the resolver */

struct request;

struct waiter {
    struct rmd_list link; /* in query.waiters */
    struct request *request;
};

struct part {
    bool wanted, known, secure;
    enum rmd_dns_status status;
    uint32_t ttl_s;
    int n;
    struct rmd_addr addr[RMD_DNS_ADDR_MAX];
    char detail[96];
};

struct request {
    struct rmd_dns_cares *d;
    struct waiter waiter[SLOTS];
    char name[RMD_DOMAIN_MAX + 1];
    rmd_mx_fn mx_fn; /* one of these; codes_fn takes A records as they are */
    rmd_addr_fn addr_fn, codes_fn;
    rmd_txt_fn txt_fn;
    rmd_tlsa_fn tlsa_fn;
    void *ctx;
    bool checking;     /* the resolver, before an implicit MX */
    bool mx_secure;    /* that there is none */
    uint32_t mx_ttl_s; /* how long there is no MX */
    struct part part[2];
};

struct rmd_dns_cares {
    struct ares_channeldata *channel;
    int epoll_fd;
    bool closing, one_server, validating;
    struct rmd_dns_cares_options o;
    struct rmd_dns_cache cache;
    struct rmd_map queries; /* key -> query */
    struct rmd_list waiting;
    uint32_t in_flight, n_queries;
    int64_t canary_quiet_until_ms;
    int n_rewritten;
    struct rmd_addr rewritten[RMD_DNS_ADDR_MAX];
};

/* dns_cares.c: answers the request's slot at once (cache, limits) or when the query is through. The request may be gone
 * afterwards. */
void dns_cares_lookup(struct rmd_dns_cares *d, struct request *r, enum slot slot, const char *name, uint16_t type);
int64_t dns_cares_now_ms(const struct rmd_dns_cares *d);

/* dns_cares_requests.c */
void dns_cares_result(struct request *r, enum slot slot, const struct rmd_dns_reply *reply);

#endif
