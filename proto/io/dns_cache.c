/* Bounded cache with expiry (see dns_cache.h). An entry is one allocation: links, key, value. */
#include "proto/io/dns_cache.h"

struct entry {
    struct rmd_list by_use;
    int64_t expires_ms;
    size_t key_n, value_n;
    uint8_t bytes[]; /* key, value */
};

void rmd_dns_cache_init(struct rmd_dns_cache *c, uint32_t max) {
    *c = (struct rmd_dns_cache){.max = max};
    rmd_list_init(&c->by_use);
}

static void forget(struct rmd_dns_cache *c, struct entry *e) {
    rmd_map_remove(&c->map, rmd_slice(e->bytes, e->key_n));
    rmd_list_remove(&e->by_use);
    c->n--;
    free(e);
}

void rmd_dns_cache_release(struct rmd_dns_cache *c) {
    while (c->n)
        forget(c, rmd_container(c->by_use.next, struct entry, by_use));
    rmd_map_release(&c->map);
}

bool rmd_dns_cache_get(struct rmd_dns_cache *c, struct rmd_slice key, int64_t now_ms, struct rmd_slice *value,
                       int64_t *left_ms) {
    struct entry *e = rmd_map_get(&c->map, key);
    if (!e)
        return false;
    if (now_ms >= e->expires_ms) {
        forget(c, e);
        return false;
    }
    rmd_list_remove(&e->by_use);
    rmd_list_push_front(&c->by_use, &e->by_use);
    *value = rmd_slice(e->bytes + e->key_n, e->value_n);
    *left_ms = e->expires_ms - now_ms;
    return true;
}

void rmd_dns_cache_put(struct rmd_dns_cache *c, struct rmd_slice key, struct rmd_slice value, int64_t now_ms,
                       int64_t ttl_ms) {
    struct entry *old = rmd_map_get(&c->map, key);
    if (old)
        forget(c, old);
    if (!c->max || ttl_ms <= 0)
        return;
    if (c->n >= c->max)
        forget(c, rmd_container(c->by_use.prev, struct entry, by_use));
    struct entry *e = rmd_alloc(sizeof *e + key.n + value.n);
    e->expires_ms = now_ms + ttl_ms;
    e->key_n = key.n;
    e->value_n = value.n;
    memcpy(e->bytes, key.p, key.n);
    if (value.n)
        memcpy(e->bytes + key.n, value.p, value.n);
    rmd_map_set(&c->map, rmd_slice(e->bytes, key.n), e);
    rmd_list_push_front(&c->by_use, &e->by_use);
    c->n++;
}
