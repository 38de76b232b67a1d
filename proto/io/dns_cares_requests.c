/* What callers of the DNS port ask (see dns_cares.h), made of lookups by name and type: dns_cares.c answers those.
 *
 *   mx():    MX -> found | NXDOMAIN | no data: A and AAAA of the domain -> implicit MX, checked against a rewriting resolver
 *   addr():  A and AAAA at once -> together          codes(), txt(), tlsa():  one lookup
 *
 * A request is freed before its callback runs; callbacks may start further requests. A resolver that answers every unknown name with an address of its own ("NXDOMAIN rewriting") would give each mistyped
 * domain an implicit MX: before an implicit MX is believed, a name under .invalid (RFC 6761), which can't exist, is looked
 * up, and addresses that it has too are no answer. */
#include <base/text.h>

#include "proto/io/dns_cares_internal.h"

enum { DNS_CANARY_QUIET_MS = 60000 };

#define CANARY_NAME "remuda-nxdomain-check.invalid"

/* --- requests */

static void answer_mx(struct request *r, const struct rmd_mx_answer *a) {
    char name[RMD_DOMAIN_MAX + 1];
    rmd_copy(name, sizeof name, r->name);
    rmd_mx_fn fn = r->mx_fn;
    void *ctx = r->ctx;
    free(r);
    fn(ctx, name, a);
}

static void answer_mx_status(struct request *r, enum rmd_dns_status status, uint32_t ttl_s, const char *detail) {
    struct rmd_mx_answer a = {.status = status, .ttl_s = ttl_s};
    rmd_copy(a.detail, sizeof a.detail, detail);
    answer_mx(r, &a);
}

static bool is_rewritten(const struct rmd_dns_cares *d, const struct rmd_addr_answer *a) {
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < d->n_rewritten; k++)
            if (rmd_addr_eq(&a->addr[i], &d->rewritten[k]))
                return true;
    return false;
}

static void refuse_rewritten(struct rmd_addr_answer *a) {
    *a = (struct rmd_addr_answer){.status = RMD_DNS_TEMPFAIL};
    rmd_copy(a->detail, sizeof a->detail,
             "the resolver invents addresses for names that don't exist; use another one");
}

/* Both families: found if either is; else the worse of what is known. When there are too many, each family keeps a
 * half. */
static void join_parts(const struct request *r, struct rmd_addr_answer *out) {
    *out = (struct rmd_addr_answer){.status = RMD_DNS_NODATA, .ttl_s = UINT32_MAX, .secure = true};
    const struct part *fail = NULL;
    int nxdomain = 0, wanted = 0;
    for (int i = 0; i < 2; i++) {
        const struct part *p = &r->part[i], *other = &r->part[1 - i];
        if (!p->wanted)
            continue;
        wanted++;
        nxdomain += p->status == RMD_DNS_NXDOMAIN;
        if (p->status == RMD_DNS_TEMPFAIL) {
            fail = p;
            continue;
        }
        out->secure &= p->secure;
        int spare = RMD_DNS_ADDR_MAX / 2 > other->n ? RMD_DNS_ADDR_MAX / 2 - other->n : 0;
        for (int k = 0; k < p->n && k < RMD_DNS_ADDR_MAX / 2 + spare; k++)
            out->addr[out->n++] = p->addr[k];
        if (p->ttl_s < out->ttl_s)
            out->ttl_s = p->ttl_s;
    }
    if (out->n) {
        out->status = RMD_DNS_OK;
    } else if (fail) {
        out->status = RMD_DNS_TEMPFAIL;
        rmd_copy(out->detail, sizeof out->detail, fail->detail);
    } else if (wanted && nxdomain == wanted) {
        out->status = RMD_DNS_NXDOMAIN;
    }
    if (out->ttl_s == UINT32_MAX || out->status == RMD_DNS_TEMPFAIL)
        out->ttl_s = 0;
    out->secure &= out->status != RMD_DNS_TEMPFAIL;
}

static void finish_addr(struct request *r) {
    struct rmd_addr_answer a;
    join_parts(r, &a);
    if (is_rewritten(r->d, &a))
        refuse_rewritten(&a);
    char name[RMD_DOMAIN_MAX + 1];
    rmd_copy(name, sizeof name, r->name);
    rmd_addr_fn fn = r->addr_fn;
    void *ctx = r->ctx;
    free(r);
    fn(ctx, name, &a);
}

/* The domain has no MX; its addresses are known, and so is whether the resolver invents some. */
static void finish_implicit(struct request *r) {
    struct rmd_addr_answer addr;
    join_parts(r, &addr);
    if (is_rewritten(r->d, &addr))
        refuse_rewritten(&addr);
    if (addr.status == RMD_DNS_TEMPFAIL) {
        answer_mx_status(r, RMD_DNS_TEMPFAIL, 0, addr.detail);
        return;
    }
    uint32_t ttl = addr.ttl_s < r->mx_ttl_s ? addr.ttl_s : r->mx_ttl_s;
    if (addr.status != RMD_DNS_OK) { /* the MX query said that the name exists */
        answer_mx_status(r, RMD_DNS_NODATA, ttl, "neither MX nor address");
        return;
    }
    struct rmd_mx_answer a = {
        .status = RMD_DNS_OK, .implicit = true, .secure = r->mx_secure && addr.secure, .ttl_s = ttl, .n = 1};
    rmd_copy(a.mx[0].host, sizeof a.mx[0].host, r->name);
    answer_mx(r, &a);
}

static void on_mx(struct request *r, const struct rmd_dns_reply *reply) {
    if (reply->status == RMD_DNS_NODATA) {
        r->mx_ttl_s = reply->ttl_s;
        r->mx_secure = reply->secure;
        r->part[SLOT_A].wanted = r->part[SLOT_AAAA].wanted = true;
        struct rmd_dns_cares *d = r->d;
        char name[RMD_DOMAIN_MAX + 1]; /* r may be answered within the second call */
        rmd_copy(name, sizeof name, r->name);
        dns_cares_lookup(d, r, SLOT_A, name, RMD_DNS_TYPE_A);
        dns_cares_lookup(d, r, SLOT_AAAA, name, RMD_DNS_TYPE_AAAA);
        return;
    }
    if (reply->status != RMD_DNS_OK) {
        answer_mx_status(r, reply->status, reply->status == RMD_DNS_TEMPFAIL ? 0 : reply->ttl_s, reply->detail);
        return;
    }
    struct rmd_mx_answer a = {.status = RMD_DNS_OK, .secure = reply->secure, .ttl_s = reply->ttl_s, .n = reply->n_mx};
    memcpy(a.mx, reply->mx, (size_t)reply->n_mx * sizeof a.mx[0]);
    answer_mx(r, &a);
}

static void on_check(struct request *r, const struct rmd_dns_reply *reply) {
    struct rmd_dns_cares *d = r->d;
    if (reply->status == RMD_DNS_TEMPFAIL) {
        d->canary_quiet_until_ms =
            dns_cares_now_ms(d) + DNS_CANARY_QUIET_MS; /* nothing learned; not with every domain again */
    } else {
        d->n_rewritten = reply->n_addr;
        memcpy(d->rewritten, reply->addr, (size_t)reply->n_addr * sizeof d->rewritten[0]);
    }
    finish_implicit(r);
}

static void on_codes(struct request *r, const struct rmd_dns_reply *reply) {
    struct rmd_addr_answer a = {.status = reply->status, .n = reply->n_addr};
    if (a.status != RMD_DNS_TEMPFAIL)
        a.ttl_s = reply->ttl_s;
    memcpy(a.addr, reply->addr, (size_t)reply->n_addr * sizeof a.addr[0]);
    rmd_copy(a.detail, sizeof a.detail, reply->detail);
    char name[RMD_DOMAIN_MAX + 1];
    rmd_copy(name, sizeof name, r->name);
    rmd_addr_fn fn = r->codes_fn;
    void *ctx = r->ctx;
    free(r);
    fn(ctx, name, &a);
}

static void on_txt(struct request *r, const struct rmd_dns_reply *reply) {
    struct rmd_txt_answer a = {.status = reply->status, .n = reply->n_txt};
    if (a.status != RMD_DNS_TEMPFAIL)
        a.ttl_s = reply->ttl_s;
    memcpy(a.txt, reply->txt, (size_t)reply->n_txt * sizeof a.txt[0]);
    rmd_copy(a.detail, sizeof a.detail, reply->detail);
    char name[RMD_DOMAIN_MAX + 1];
    rmd_copy(name, sizeof name, r->name);
    rmd_txt_fn fn = r->txt_fn;
    void *ctx = r->ctx;
    free(r);
    fn(ctx, name, &a);
}

static void on_tlsa(struct request *r, const struct rmd_dns_reply *reply) {
    struct rmd_tlsa_answer a = {
        .status = reply->status, .secure = reply->secure, .n = reply->n_tlsa, .lost = reply->tlsa_lost};
    if (a.status != RMD_DNS_TEMPFAIL)
        a.ttl_s = reply->ttl_s;
    memcpy(a.tlsa, reply->tlsa, (size_t)reply->n_tlsa * sizeof a.tlsa[0]);
    memcpy(a.data, reply->tlsa_data, reply->tlsa_bytes);
    rmd_copy(a.detail, sizeof a.detail, reply->detail);
    char name[RMD_DOMAIN_MAX + 1];
    rmd_copy(name, sizeof name, r->name);
    rmd_tlsa_fn fn = r->tlsa_fn;
    void *ctx = r->ctx;
    free(r);
    fn(ctx, name, &a);
}

void dns_cares_result(struct request *r, enum slot slot, const struct rmd_dns_reply *reply) {
    if (slot == SLOT_OTHER) {
        if (r->tlsa_fn)
            on_tlsa(r, reply);
        else if (r->codes_fn)
            on_codes(r, reply);
        else if (r->txt_fn)
            on_txt(r, reply);
        else if (r->checking)
            on_check(r, reply);
        else
            on_mx(r, reply);
        return;
    }
    struct part *p = &r->part[slot];
    p->known = true;
    p->status = reply->status;
    p->ttl_s = reply->ttl_s;
    p->secure = reply->secure;
    p->n = reply->n_addr;
    memcpy(p->addr, reply->addr, (size_t)reply->n_addr * sizeof p->addr[0]);
    rmd_copy(p->detail, sizeof p->detail, reply->detail);
    for (int i = 0; i < 2; i++)
        if (r->part[i].wanted && !r->part[i].known)
            return;
    if (!r->mx_fn) {
        finish_addr(r);
    } else if ((r->part[0].n || r->part[1].n) && dns_cares_now_ms(r->d) >= r->d->canary_quiet_until_ms) {
        r->checking = true;
        dns_cares_lookup(r->d, r, SLOT_OTHER, CANARY_NAME, RMD_DNS_TYPE_A);
    } else {
        finish_implicit(r);
    }
}

static struct request *request_new(struct rmd_dns_cares *d, const char *name, void *ctx) {
    struct request *r = rmd_alloc(sizeof *r);
    r->d = d;
    r->ctx = ctx;
    rmd_copy(r->name, sizeof r->name, name);
    rmd_lower_str(r->name);
    return r;
}

static void cares_mx(void *dns, const char *domain, rmd_mx_fn fn, void *ctx) {
    struct request *r = request_new(dns, domain, ctx);
    r->mx_fn = fn;
    if (rmd_dns_name_ok(domain))
        dns_cares_lookup(dns, r, SLOT_OTHER, r->name, RMD_DNS_TYPE_MX);
    else
        answer_mx_status(r, RMD_DNS_NXDOMAIN, 0, "not a domain name");
}

static void cares_addr(void *dns, const char *host, bool want4, bool want6, rmd_addr_fn fn, void *ctx) {
    struct request *r = request_new(dns, host, ctx);
    r->addr_fn = fn;
    if (!rmd_dns_name_ok(host) || (!want4 && !want6)) {
        struct rmd_addr_answer a = {.status = want4 || want6 ? RMD_DNS_NXDOMAIN : RMD_DNS_NODATA};
        rmd_copy(a.detail, sizeof a.detail, want4 || want6 ? "not a host name" : "no address family wanted");
        free(r);
        fn(ctx, host, &a);
        return;
    }
    r->part[SLOT_A].wanted = want4;
    r->part[SLOT_AAAA].wanted = want6;
    char name[RMD_DOMAIN_MAX + 1];
    rmd_copy(name, sizeof name, r->name);
    if (want4) /* r lives on when the other family is still to come */
        dns_cares_lookup(dns, r, SLOT_A, name, RMD_DNS_TYPE_A);
    if (want6)
        dns_cares_lookup(dns, r, SLOT_AAAA, name, RMD_DNS_TYPE_AAAA);
}

/* One question of one type; what isn't a name has no answer. */
static void ask(void *dns, struct request *r, const char *name, int type,
                void (*on)(struct request *, const struct rmd_dns_reply *)) {
    struct rmd_dns_reply no = {.status = RMD_DNS_NXDOMAIN, .detail = "not a name"};
    char lower[RMD_DOMAIN_MAX + 1];
    rmd_copy(lower, sizeof lower, r->name);
    if (rmd_dns_name_ok(name))
        dns_cares_lookup(dns, r, SLOT_OTHER, lower, type);
    else
        on(r, &no);
}

static void cares_codes(void *dns, const char *name, rmd_addr_fn fn, void *ctx) {
    struct request *r = request_new(dns, name, ctx);
    r->codes_fn = fn;
    ask(dns, r, name, RMD_DNS_TYPE_A, on_codes);
}

static void cares_txt(void *dns, const char *name, rmd_txt_fn fn, void *ctx) {
    struct request *r = request_new(dns, name, ctx);
    r->txt_fn = fn;
    ask(dns, r, name, RMD_DNS_TYPE_TXT, on_txt);
}

static void cares_tlsa(void *dns, const char *name, rmd_tlsa_fn fn, void *ctx) {
    struct request *r = request_new(dns, name, ctx);
    r->tlsa_fn = fn;
    ask(dns, r, name, RMD_DNS_TYPE_TLSA, on_tlsa);
}

struct rmd_dns rmd_dns_cares_port(struct rmd_dns_cares *d) {
    static const struct rmd_dns_ops ops = {
        .mx = cares_mx, .addr = cares_addr, .codes = cares_codes, .txt = cares_txt, .tlsa = cares_tlsa};
    return (struct rmd_dns){.ops = &ops, .d = d};
}
