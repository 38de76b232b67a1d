/* TLS policy of a host (contract: tls_policy.h). */
#include "node/core/tls_policy.h"

#include <base/text.h>

bool rmd_tlsa_usable(const struct rmd_tlsa *t) {
    enum { SHA256_BYTES = 32, SHA512_BYTES = 64 };
    if ((t->usage != 2 && t->usage != 3) || t->selector > 1)
        return false;
    switch (t->matching) {
    case 0:
        return t->n > 0;
    case 1:
        return t->n == SHA256_BYTES;
    case 2:
        return t->n == SHA512_BYTES;
    default:
        return false;
    }
}

bool rmd_tls_asks_tlsa(const struct rmd_tls_facts *f) {
    return (f->on || f->required) && f->dane && f->mx_secure && f->addr_secure;
}

static struct rmd_tls_decision skip(enum rmd_tls_policy_kind kind, enum rmd_tls_result why, const char *reason) {
    return (struct rmd_tls_decision){.level = RMD_TLS_L_SKIP, .kind = kind, .why = why, .reason = reason};
}

/* False: DANE says nothing about this host. */
static bool by_dane(const struct rmd_tls_facts *f, struct rmd_tls_decision *d) {
    if (!rmd_tls_asks_tlsa(f))
        return false;
    if (!f->tlsa || f->tlsa->status == RMD_DNS_TEMPFAIL) {
        *d = skip(RMD_TLS_POLICY_TLSA, RMD_TLS_R_DNSSEC_INVALID, "its TLSA records can't be looked up or are bogus");
        return true;
    }
    if (f->tlsa->status != RMD_DNS_OK || !f->tlsa->secure)
        return false;
    *d = (struct rmd_tls_decision){.level = RMD_TLS_L_ENCRYPT, .kind = RMD_TLS_POLICY_TLSA};
    for (int i = 0; i < f->tlsa->n; i++)
        if (rmd_tlsa_usable(&f->tlsa->tlsa[i]))
            d->level = RMD_TLS_L_DANE;
    return true;
}

struct rmd_tls_decision rmd_tls_decide(const struct rmd_tls_facts *f) {
    static const char not_named[] = "the MTA-STS policy doesn't name this host";
    struct rmd_tls_decision d = {.level = RMD_TLS_L_PLAIN};
    if (!f->on && !f->required)
        return d;
    if (by_dane(f, &d))
        return d;
    bool sts = f->sts && f->sts->mode != RMD_STS_NONE;
    bool named = sts && rmd_sts_match(f->sts, f->host);
    d.kind = sts ? RMD_TLS_POLICY_STS : RMD_TLS_POLICY_NONE;
    if (sts && f->sts->mode == RMD_STS_ENFORCE) {
        if (!named)
            return skip(RMD_TLS_POLICY_STS, RMD_TLS_R_VALIDATION_FAILURE, not_named);
        d.level = RMD_TLS_L_PKIX;
        return d;
    }
    if (sts) {
        d.check = true;
        d.why = named ? RMD_TLS_R_OK : RMD_TLS_R_VALIDATION_FAILURE;
        d.reason = named ? NULL : not_named;
    }
    d.level = f->required ? RMD_TLS_L_ENCRYPT : f->broken ? RMD_TLS_L_PLAIN : RMD_TLS_L_MAY;
    d.fallback = d.level == RMD_TLS_L_MAY;
    return d;
}

/* --- hosts whose TLS failed lately */

struct broken {
    struct rmd_list link;
    int64_t until_ms;
    char host[];
};

static void forget(struct rmd_tls_broken *b, struct broken *e) {
    rmd_map_remove(&b->by_host, rmd_slice_str(e->host));
    rmd_list_remove(&e->link);
    free(e);
}

void rmd_tls_broken_add(struct rmd_tls_broken *b, const char *host, int64_t until_ms) {
    if (!b->oldest.next)
        rmd_list_init(&b->oldest);
    struct broken *e = rmd_map_get_str(&b->by_host, host);
    if (!e) {
        if (b->by_host.n >= RMD_TLS_BROKEN_MAX)
            forget(b, rmd_container(b->oldest.next, struct broken, link));
        size_t n = strlen(host) + 1;
        e = rmd_alloc(sizeof *e + n);
        memcpy(e->host, host, n);
        rmd_map_set(&b->by_host, rmd_slice_str(e->host), e);
    }
    rmd_list_remove(&e->link);
    rmd_list_push(&b->oldest, &e->link);
    e->until_ms = until_ms;
}

bool rmd_tls_broken_has(const struct rmd_tls_broken *b, const char *host, int64_t now_ms) {
    const struct broken *e = b->by_host.n ? rmd_map_get_str(&b->by_host, host) : NULL;
    return e && now_ms < e->until_ms;
}

void rmd_tls_broken_release(struct rmd_tls_broken *b) {
    uint32_t it = 0;
    void *e;
    while (rmd_map_next(&b->by_host, &it, NULL, &e))
        free(e);
    rmd_map_release(&b->by_host);
    b->oldest.next = b->oldest.prev = NULL;
}
