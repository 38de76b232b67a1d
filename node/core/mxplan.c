/* MX plan (contract: mxplan.h). */
#include "node/core/mxplan.h"

#include <assert.h>

#include <base/text.h>

/* --- addresses that failed lately */

struct failed {
    struct rmd_list link;
    uint8_t key[21];
    int64_t until_ms;
};

static struct rmd_slice fail_key(uint8_t key[21], uint32_t source, const struct rmd_addr *a) {
    rmd_put_be32(key, source);
    key[4] = a->family;
    memset(key + 5, 0, 16);
    memcpy(key + 5, a->b, a->family == 4 ? 4 : 16);
    return rmd_slice(key, 21);
}

static void fail_remove(struct rmd_mxfail *f, struct failed *e) {
    rmd_map_remove(&f->by_key, rmd_slice(e->key, sizeof e->key));
    rmd_list_remove(&e->link);
    free(e);
}

void rmd_mxfail_add(struct rmd_mxfail *f, uint32_t source, const struct rmd_addr *a, int64_t now_ms) {
    uint8_t key[21];
    struct rmd_slice k = fail_key(key, source, a);
    if (!f->oldest.next)
        rmd_list_init(&f->oldest);
    struct failed *e = rmd_map_get(&f->by_key, k);
    if (!e) {
        if (f->by_key.n >= RMD_MXFAIL_MAX)
            fail_remove(f, rmd_container(f->oldest.next, struct failed, link));
        e = rmd_alloc(sizeof *e);
        memcpy(e->key, key, sizeof key);
        rmd_map_set(&f->by_key, k, e);
    }
    rmd_list_remove(&e->link);
    rmd_list_push(&f->oldest, &e->link);
    e->until_ms = now_ms + RMD_MXFAIL_MS;
}

void rmd_mxfail_clear(struct rmd_mxfail *f, uint32_t source, const struct rmd_addr *a) {
    uint8_t key[21];
    struct failed *e = f->by_key.n ? rmd_map_get(&f->by_key, fail_key(key, source, a)) : NULL;
    if (e)
        fail_remove(f, e);
}

bool rmd_mxfail_has(const struct rmd_mxfail *f, uint32_t source, const struct rmd_addr *a, int64_t now_ms) {
    uint8_t key[21];
    const struct failed *e = f->by_key.n ? rmd_map_get(&f->by_key, fail_key(key, source, a)) : NULL;
    return e && now_ms < e->until_ms;
}

void rmd_mxfail_release(struct rmd_mxfail *f) {
    uint32_t it = 0;
    void *e;
    while (rmd_map_next(&f->by_key, &it, NULL, &e))
        free(e);
    rmd_map_release(&f->by_key);
    f->oldest.next = f->oldest.prev = NULL;
}

/* --- the plan */

struct rmd_mxplan {
    size_t host, n_hosts;
    size_t at, n_addr; /* of the current host; n_addr 0: not resolved yet */
    unsigned dials;
    size_t postponed; /* so many at the end of `name` wait for the others because they failed lately */
    unsigned tempfail, special, family; /* hosts that gave no address because of this */
    bool other_family;
    char special_text[48];
    struct rmd_addr addr[RMD_DNS_ADDR_MAX];
    char *name[RMD_DNS_MX_MAX];
};

struct rmd_mxplan *rmd_mxplan_new(const struct rmd_mx *mx, size_t n, struct rmd_rng *rng) {
    struct rmd_mxplan *p = rmd_alloc(sizeof *p);
    assert(n <= RMD_DNS_MX_MAX);
    for (size_t i = 0; i < n; i++)
        p->name[i] = rmd_strdup(mx[i].host);
    p->n_hosts = n;
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && mx[to].preference == mx[from].preference;)
            to++;
        for (size_t i = to - 1; i > from; i--) {
            size_t j = from + (size_t)rmd_rng_below(rng, i - from + 1);
            char *swap = p->name[i];
            p->name[i] = p->name[j];
            p->name[j] = swap;
        }
    }
    return p;
}

void rmd_mxplan_free(struct rmd_mxplan *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->n_hosts; i++)
        free(p->name[i]);
    free(p);
}

const char *rmd_mxplan_host(const struct rmd_mxplan *p) {
    return p->host < p->n_hosts && p->dials < RMD_MXPLAN_DIALS ? p->name[p->host] : NULL;
}

static bool address_allowed(const struct rmd_addr *a, const struct rmd_mxplan_filter *f) {
    if (!rmd_addr_is_special(a) && !(f->ours && f->ours(f->ctx, a)))
        return true;
    for (size_t i = 0; i < f->n_allow; i++)
        if (rmd_prefix_has(&f->allow[i], a))
            return true;
    return false;
}

static void next_host(struct rmd_mxplan *p) {
    p->host++;
    p->at = p->n_addr = 0;
}

/* The current host goes behind all others; the next one stands in its place. */
static void postpone(struct rmd_mxplan *p) {
    char *name = p->name[p->host];
    memmove(&p->name[p->host], &p->name[p->host + 1], (p->n_hosts - p->host - 1) * sizeof *p->name);
    p->name[p->n_hosts - 1] = name;
    p->postponed++;
}

void rmd_mxplan_addresses(struct rmd_mxplan *p, const struct rmd_addr_answer *a, const struct rmd_mxplan_filter *f,
                          struct rmd_rng *rng) {
    struct rmd_addr good[RMD_DNS_ADDR_MAX], late[RMD_DNS_ADDR_MAX];
    size_t n = 0, n_late = 0;
    bool special = false, family = false;
    assert(rmd_mxplan_host(p) && !p->n_addr);
    for (int i = 0; a->status == RMD_DNS_OK && i < a->n && i < RMD_DNS_ADDR_MAX; i++) {
        if (a->addr[i].family != f->family) {
            family = true;
        } else if (!address_allowed(&a->addr[i], f)) {
            special = true;
            rmd_addr_format(&a->addr[i], p->special_text);
        } else if (rmd_mxfail_has(f->fail, f->source, &a->addr[i], f->now_ms)) {
            late[n_late++] = a->addr[i];
        } else {
            good[n++] = a->addr[i];
        }
    }
    p->other_family |= family;
    if (!n && n_late && p->host + 1 < p->n_hosts - p->postponed) {
        postpone(p);
        return;
    }
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rmd_rng_below(rng, i);
        struct rmd_addr swap = good[i - 1];
        good[i - 1] = good[j];
        good[j] = swap;
    }
    memcpy(p->addr, good, n * sizeof *good);
    memcpy(p->addr + n, late, n_late * sizeof *late);
    p->n_addr = n + n_late;
    p->at = 0;
    p->tempfail += a->status == RMD_DNS_TEMPFAIL;
    p->special += !p->n_addr && special;
    p->family += !p->n_addr && !special && family;
    if (!p->n_addr)
        next_host(p);
    else
        p->dials++;
}

const struct rmd_addr *rmd_mxplan_address(const struct rmd_mxplan *p) {
    return p->host < p->n_hosts && p->at < p->n_addr ? &p->addr[p->at] : NULL;
}

void rmd_mxplan_next(struct rmd_mxplan *p) {
    if (++p->at >= p->n_addr || p->dials >= RMD_MXPLAN_DIALS)
        next_host(p);
    else
        p->dials++;
}

bool rmd_mxplan_other_family(const struct rmd_mxplan *p) {
    return p->other_family;
}

void rmd_mxplan_next_host(struct rmd_mxplan *p) {
    next_host(p);
}

enum rmd_own_error rmd_mxplan_error(const struct rmd_mxplan *p, char *detail, size_t n) {
    const char *host = p->n_hosts ? p->name[0] : "";
    if (p->tempfail) {
        (void)rmd_format(detail, n, "no address of %s for now: DNS failed", host);
        return RMD_OWN_DNS_TEMPFAIL;
    }
    if (p->special) {
        (void)rmd_format(detail, n, "%s leads to %s, which is not dialled", host, p->special_text);
        return RMD_OWN_DNS_SPECIAL;
    }
    if (p->family) {
        (void)rmd_format(detail, n, "%s has no address of the source's family", host);
        return RMD_OWN_CONNECT_UNREACHABLE;
    }
    (void)rmd_format(detail, n, "%s has no address", host);
    return RMD_OWN_DNS_NO_ADDRESS;
}
