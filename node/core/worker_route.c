/* From a message's domain to its site: MX, provider check, queue. The domain's answer is kept for its TTL and shared
 * by all messages to it; failures aren't kept, the resolver's cache does that. */
#include "node/core/worker_internal.h"

enum { MX_HOLD_MIN_MS = 60000, MX_HOLD_MAX_MS = 3600000 };

void rmd_worker_domain_free(struct rmd_worker *w, struct rmd_wdomain *d) {
    (void)w;
    free(d->name);
    free(d->mx);
    rmd_wsts_free(d->sts);
    free(d);
}

struct rmd_wdomain *rmd_worker_domain_ref(struct rmd_worker *w, struct rmd_slice name) {
    char lower[RMD_DOMAIN_MAX + 1];
    if (!name.n || !rmd_copy_slice(lower, sizeof lower, name))
        return NULL;
    rmd_lower_str(lower);
    struct rmd_wdomain *d = rmd_map_get_str(&w->domains, lower);
    if (!d) {
        if (w->domains.n >= RMD_WORKER_DOMAINS_MAX && !rmd_list_empty(&w->domain_lru)) {
            struct rmd_wdomain *old = rmd_container(w->domain_lru.next, struct rmd_wdomain, lru);
            rmd_list_remove(&old->lru);
            rmd_map_remove(&w->domains, rmd_slice_str(old->name));
            rmd_worker_domain_free(w, old);
        }
        d = rmd_alloc(sizeof *d);
        d->name = rmd_strdup(lower);
        rmd_list_init(&d->waiting);
        rmd_map_set(&w->domains, rmd_slice_str(d->name), d);
    }
    if (!d->refs++)
        rmd_list_remove(&d->lru);
    return d;
}

void rmd_worker_domain_unref(struct rmd_worker *w, struct rmd_wdomain *d) {
    assert(d->refs);
    if (!--d->refs && !d->asked)
        rmd_list_push(&w->domain_lru, &d->lru);
}

void rmd_worker_unqueue(struct rmd_worker *w, struct rmd_wmessage *m) {
    struct rmd_wsite *site = m->site;
    rmd_list_remove(&m->link);
    m->state = RMD_W_HELD;
    m->site = NULL;
    if (site) {
        rmd_site_dequeued(site, m);
        rmd_worker_site_touch(w, site);
    }
}

static void ask(struct rmd_worker *w, struct rmd_wdomain *d) {
    if (d->asked)
        return;
    d->asked = true;
    rmd_worker_effect(w, RMD_WF_MX)->name = rmd_arena_str(&w->out->arena, rmd_slice_str(d->name));
}

/* The domain's answer holds: into the site's queue. */
static void enqueue(struct rmd_worker *w, struct rmd_wmessage *m, bool front) {
    const struct rmd_wdomain *d = m->domain;
    struct rmd_lane *lane = m->lease->lane;
    if (d->provider != lane->provider) {
        rmd_worker_return(w, m, RMD_RETURN_PROVIDER_CHANGED);
        return;
    }
    if (rmd_worker_site_stopped(w, lane, d->site)) {
        rmd_worker_return(w, m, RMD_RETURN_SITE_STOPPED);
        return;
    }
    const struct rmd_wstream *stream = rmd_worker_stream(w, m->lease->pb->stream);
    bool tls_required = stream && stream->pb->tls_required;
    struct rmd_wsite *site = rmd_worker_site(w, lane, rmd_worker_tls_site(d, tls_required));
    if (!site) {
        rmd_worker_return(w, m, RMD_RETURN_OVERLOAD);
        return;
    }
    site->tls_required = tls_required;
    site->mx_site = d->site;
    if (w->now.mono_ms < site->down_until_ms) {
        rmd_worker_defer_saved(w, m, site->saved);
        return;
    }
    m->site = site;
    m->state = RMD_W_QUEUED;
    rmd_site_enqueue(site, m, front);
    rmd_worker_site_touch(w, site);
    rmd_worker_wake(w, site, !rmd_list_empty(&site->idle));
}

void rmd_worker_route(struct rmd_worker *w, struct rmd_wmessage *m, bool front) {
    enum rmd_return_reason blocked = rmd_worker_lane_blocked(w, m->lease->lane);
    if (blocked != RMD_RETURN_NONE) {
        rmd_worker_return(w, m, blocked);
    } else if (m->domain->until_ms && w->now.mono_ms < m->domain->until_ms) {
        enqueue(w, m, front);
    } else {
        m->state = RMD_W_RESOLVING;
        rmd_list_push(&m->domain->waiting, &m->link);
        ask(w, m->domain);
    }
}

static enum rmd_own_error dns_error(const struct rmd_mx_answer *mx) {
    switch (mx->status) {
    case RMD_DNS_NXDOMAIN:
        return RMD_OWN_DNS_NXDOMAIN;
    case RMD_DNS_NODATA:
        return RMD_OWN_DNS_NO_ADDRESS;
    case RMD_DNS_TEMPFAIL:
        return RMD_OWN_DNS_TEMPFAIL;
    case RMD_DNS_OK:
        break;
    }
    return mx->n >= 1 && !mx->implicit && !mx->mx[0].host[0] ? RMD_OWN_DNS_NULL_MX : RMD_OWN_COUNT;
}

static void keep_answer(struct rmd_worker *w, struct rmd_wdomain *d, const struct rmd_mx_answer *mx) {
    int64_t hold = (int64_t)mx->ttl_s * 1000;
    hold = hold < MX_HOLD_MIN_MS ? MX_HOLD_MIN_MS : hold > MX_HOLD_MAX_MS ? MX_HOLD_MAX_MS : hold;
    d->until_ms = w->now.mono_ms + hold;
    d->mx_secure = mx->secure;
    d->site = rmd_site_id(mx, d->name);
    size_t n_provider = w->policy ? w->policy->n_provider : 0;
    int i = rmd_site_provider(mx, d->name, n_provider ? w->policy->provider : NULL, n_provider);
    d->provider = i >= 0 ? w->policy->provider[i]->id : rmd_provider_id(RMD_PROVIDER_OTHER_NAME);
    free(d->mx);
    d->n_mx = mx->implicit || mx->n <= 0 ? 1 : (size_t)(mx->n < RMD_DNS_MX_MAX ? mx->n : RMD_DNS_MX_MAX);
    d->mx = rmd_alloc(d->n_mx * sizeof *d->mx);
    if (mx->implicit || mx->n <= 0)
        rmd_copy(d->mx[0].host, sizeof d->mx[0].host, d->name);
    else
        memcpy(d->mx, mx->mx, d->n_mx * sizeof *d->mx);
}

/* All that is asked about the domain is answered. detail: of the error; RMD_OWN_COUNT: none. */
static void release(struct rmd_worker *w, struct rmd_wdomain *d, enum rmd_own_error error, const char *detail) {
    struct rmd_list waiting; /* what a message's end makes wait again is not of this answer */
    rmd_list_init(&waiting);
    while (!rmd_list_empty(&d->waiting)) {
        struct rmd_list *it = d->waiting.next;
        rmd_list_remove(it);
        rmd_list_push(&waiting, it);
    }
    d->refs++; /* until all of them were told */
    while (!rmd_list_empty(&waiting)) {
        struct rmd_wmessage *m = rmd_container(waiting.next, struct rmd_wmessage, link);
        rmd_list_remove(&m->link);
        if (error == RMD_OWN_COUNT)
            rmd_worker_route(w, m, false);
        else
            rmd_worker_own(w, m, error, RMD_STAGE_DNS, detail);
    }
    rmd_worker_domain_unref(w, d);
}

void rmd_worker_mx(struct rmd_worker *w, const char *name, const struct rmd_mx_answer *mx) {
    struct rmd_wdomain *d = rmd_map_get_str(&w->domains, name);
    if (!d || !d->asked || d->asking_sts)
        return;
    enum rmd_own_error error = dns_error(mx);
    d->until_ms = 0;
    if (error == RMD_OWN_COUNT) {
        keep_answer(w, d, mx);
        if (rmd_worker_sts_ask(w, d))
            return;
    }
    d->asked = false;
    release(w, d, error, mx->detail[0] ? mx->detail : error == RMD_OWN_DNS_NULL_MX ? "null MX (RFC 7505)" : "");
}

void rmd_worker_sts(struct rmd_worker *w, const char *name, const struct rmd_sts_answer *sts) {
    struct rmd_wdomain *d = rmd_map_get_str(&w->domains, name);
    if (!d || !d->asking_sts)
        return;
    d->asking_sts = d->asked = false;
    d->until_ms = w->now.mono_ms + d->hold_ms;
    rmd_wsts_free(d->sts);
    d->sts = NULL;
    if (sts->policy || sts->result != RMD_TLS_R_OK) {
        d->sts = rmd_alloc(sizeof *d->sts);
        d->sts->policy = rmd_sts_dup(sts->policy);
        d->sts->expires_wall_ms = sts->expires_wall_ms;
        d->sts->result = sts->result;
        memcpy(d->sts->why, sts->why, sizeof d->sts->why);
    }
    release(w, d, RMD_OWN_COUNT, "");
}
