/* Bounded cache of small byte strings with an expiry, least recently used out first. Time is an argument (mono_ms).
 * Not thread-safe. dns_cares.c keeps packed answers in it. */
#ifndef REMUDA_DNS_CACHE_H
#define REMUDA_DNS_CACHE_H

#include <base/coll.h>

struct rmd_dns_cache {
    struct rmd_map map;
    struct rmd_list by_use; /* most recently used first */
    uint32_t n, max;
};

void rmd_dns_cache_init(struct rmd_dns_cache *c, uint32_t max); /* max 0: nothing is kept */
void rmd_dns_cache_release(struct rmd_dns_cache *c);
/* The value, valid until the next call, and how many ms it is good for. False: unknown or over (then forgotten). */
bool rmd_dns_cache_get(struct rmd_dns_cache *c, struct rmd_slice key, int64_t now_ms, struct rmd_slice *value,
                       int64_t *left_ms);
void rmd_dns_cache_put(struct rmd_dns_cache *c, struct rmd_slice key, struct rmd_slice value, int64_t now_ms,
                       int64_t ttl_ms);

#endif
