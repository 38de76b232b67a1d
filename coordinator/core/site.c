/* Which provider a domain belongs to: a bounded cache of the resolver's answers, least recently used first to go.
 *
 * WAIT (asked, or queued to be asked) -> OK (until the TTL) | GONE (NXDOMAIN, no MX and no address, null MX) | TEMP
 * (asked again after a back-off). An OK that has aged is used while the new answer is under way. */
#include "coordinator/core/core.h"

#include "proto/site.h"

enum { TTL_MIN_MS = 60 * 1000, TTL_MAX_MS = 24 * 3600 * 1000, GONE_TTL_MS = 15 * 60 * 1000 };

static void ask(struct rmd_coord *c, struct rmd_domain *d) {
    if (d->asked)
        return;
    if (c->resolving >= RMD_COORD_RESOLVES_IN_FLIGHT)
        return; /* asked again by whoever needs it; answers wake them */
    d->asked = true;
    c->resolving++;
    struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_RESOLVE);
    f->name = rmd_arena_str(rmd_arena_now(c), rmd_slice_str(d->name));
}

static void domain_free(struct rmd_domain *d) {
    free(d->name);
    free(d->detail);
    free(d);
}

static void evict(struct rmd_coord *c) {
    while (c->domains.n > RMD_COORD_DOMAINS_MAX) {
        struct rmd_list *oldest = c->domain_lru.next;
        struct rmd_domain *d = rmd_container(oldest, struct rmd_domain, lru);
        if (d->asked)
            return;
        rmd_list_remove(&d->lru);
        rmd_map_remove(&c->domains, rmd_slice_str(d->name));
        domain_free(d);
    }
}

struct rmd_domain *rmd_site_find(struct rmd_coord *c, const char *name) {
    struct rmd_domain *d = rmd_map_get_str(&c->domains, name);
    if (!d) {
        evict(c);
        d = rmd_alloc(sizeof *d);
        d->name = rmd_strdup(name);
        rmd_map_set(&c->domains, rmd_slice_str(name), d);
    }
    rmd_list_remove(&d->lru);
    rmd_list_push(&c->domain_lru, &d->lru);
    bool aged = d->state != RMD_SITE_WAIT && c->now.mono_ms >= d->until_mono_ms;
    if (aged && d->state != RMD_SITE_OK)
        d->state = RMD_SITE_WAIT;
    if (aged || d->state == RMD_SITE_WAIT)
        ask(c, d);
    return d;
}

bool rmd_site_asked(const struct rmd_domain *d) {
    return d->asked || d->state != RMD_SITE_WAIT;
}

void rmd_site_forget(struct rmd_coord *c, const char *name) {
    struct rmd_domain *d = rmd_map_get_str(&c->domains, name);
    if (d)
        d->state = RMD_SITE_WAIT;
}

static int64_t *out_of_reach(struct rmd_domain *d, uint8_t family) {
    return family == 6 ? &d->no_v6_until_mono_ms : &d->no_v4_until_mono_ms;
}

void rmd_site_out_of_reach(struct rmd_coord *c, const char *name, uint8_t family) {
    struct rmd_domain *d = rmd_map_get_str(&c->domains, name);
    if (d && family)
        *out_of_reach(d, family) = c->now.mono_ms + RMD_OUT_OF_REACH_MS;
}

bool rmd_site_in_reach(const struct rmd_coord *c, const char *name, uint8_t family) {
    struct rmd_domain *d = rmd_map_get_str(&c->domains, name);
    return !d || c->now.mono_ms >= *out_of_reach(d, family);
}

/* Other providers: whose a domain is must be asked anew; what is known of its MX was not kept. */
void rmd_site_forget_all(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->domains, &it, NULL, &v)) {
        struct rmd_domain *d = v;
        if (d->state == RMD_SITE_OK)
            d->state = RMD_SITE_WAIT;
    }
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static void temporary(struct rmd_coord *c, struct rmd_domain *d) {
    int64_t wait = RMD_DNS_RETRY_MIN_MS;
    for (uint32_t i = 0; i < d->failures && wait < RMD_DNS_RETRY_MAX_MS; i++)
        wait *= 2;
    wait = clamp(wait, RMD_DNS_RETRY_MIN_MS, RMD_DNS_RETRY_MAX_MS);
    d->failures++;
    d->until_mono_ms = c->now.mono_ms + wait;
    if (d->state != RMD_SITE_OK) /* a provider that was known stays good while DNS is in trouble */
        d->state = RMD_SITE_TEMP;
    rmd_core_wake(c, d->until_mono_ms);
}

void rmd_site_resolved(struct rmd_coord *c, const char *name, const struct rmd_mx_answer *mx) {
    c->deal_on |= c->deal_asks;
    c->deal_asks = false;
    struct rmd_domain *d = rmd_map_get_str(&c->domains, name);
    if (!d || !d->asked)
        return;
    d->asked = false;
    c->resolving--;
    free(d->detail);
    d->detail = NULL;
    if (mx->status == RMD_DNS_TEMPFAIL) {
        d->detail = rmd_strdup(mx->detail[0] ? mx->detail : "temporary failure");
        temporary(c, d);
        return;
    }
    d->failures = 0;
    bool null_mx = mx->status == RMD_DNS_OK && mx->n == 1 && !mx->mx[0].host[0];
    if (mx->status != RMD_DNS_OK || null_mx || mx->n == 0) {
        d->state = RMD_SITE_GONE;
        d->detail = rmd_strdup(null_mx                          ? "null MX: the domain accepts no mail"
                               : mx->status == RMD_DNS_NXDOMAIN ? "the domain does not exist"
                                                                : "the domain has neither MX nor address");
        d->until_mono_ms = c->now.mono_ms + clamp((int64_t)mx->ttl_s * 1000, TTL_MIN_MS, GONE_TTL_MS);
        return;
    }
    int i = rmd_site_provider(mx, name, c->o.provider, c->o.n_providers);
    d->provider = i >= 0 ? c->o.provider[i]->id : c->other;
    d->site = rmd_site_id(mx, name);
    d->state = RMD_SITE_OK;
    d->until_mono_ms = c->now.mono_ms + clamp((int64_t)mx->ttl_s * 1000, TTL_MIN_MS, TTL_MAX_MS);
}

void rmd_site_free(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->domains, &it, NULL, &v))
        domain_free(v);
    rmd_map_release(&c->domains);
}
