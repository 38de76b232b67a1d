/* DNS port out of a table (see dns_fake.h). */
#include "tests/kit/dns_fake.h"

#include <assert.h>

#include <base/coll.h>
#include <base/text.h>

enum { CNAME_HOPS = 8, NEGATIVE_TTL_S = 60 };

struct record {
    bool has_mx, has_addr, has_txt;
    struct rmd_mx_answer mx;
    struct rmd_addr_answer addr;
    struct rmd_txt_answer txt;
    char cname[RMD_DOMAIN_MAX + 1];
    enum rmd_dns_fault fault;
};

struct cached {
    int64_t until_ms;
    char what; /* 'm', 'a', 't' */
    union {
        struct rmd_mx_answer mx;
        struct rmd_addr_answer addr;
        struct rmd_txt_answer txt;
    };
};

struct pending {
    struct rmd_heap_node at;
    char name[RMD_DOMAIN_MAX + 1];
    rmd_mx_fn mx_fn;
    rmd_addr_fn addr_fn;
    rmd_txt_fn txt_fn;
    bool want4, want6;
    void *ctx;
};

struct rmd_dns_fake {
    int64_t now_ms, delay_ms, timeout_ms;
    struct rmd_map table, cache;
    struct rmd_heap pending;
    enum rmd_dns_fault fault;
    uint64_t queries;
};

static struct record *record_of(struct rmd_dns_fake *f, const char *name) {
    struct record *r = rmd_map_get_str(&f->table, name);
    if (!r) {
        r = rmd_alloc(sizeof *r);
        rmd_map_set(&f->table, rmd_slice_str(name), r);
    }
    return r;
}

static const struct record *follow(const struct rmd_dns_fake *f, const char *name) {
    const struct record *r = rmd_map_get_str(&f->table, name);
    for (int i = 0; r && r->cname[0] && i < CNAME_HOPS; i++)
        r = rmd_map_get_str(&f->table, r->cname);
    return r;
}

static enum rmd_dns_fault fault_of(const struct rmd_dns_fake *f, const char *name) {
    const struct record *r = rmd_map_get_str(&f->table, name);
    return r && r->fault ? r->fault : f->fault;
}

/* --- the table */

static int by_preference(const void *a, const void *b) {
    const struct rmd_mx *x = a, *y = b;
    return x->preference != y->preference ? (x->preference < y->preference ? -1 : 1) : strcmp(x->host, y->host);
}

/* Next item of a comma-separated list, trimmed. */
static bool next_item(const char **at, struct rmd_slice *item) {
    if (!**at)
        return false;
    size_t n = strcspn(*at, ",");
    *item = rmd_trim(rmd_slice(*at, n));
    *at += n + ((*at)[n] == ',');
    return true;
}

void rmd_dns_fake_mx(struct rmd_dns_fake *f, const char *domain, const char *mx, uint32_t ttl_s) {
    struct record *r = record_of(f, domain);
    r->has_mx = *mx != 0;
    r->mx = (struct rmd_mx_answer){.status = RMD_DNS_OK, .ttl_s = ttl_s};
    struct rmd_mx all[64];
    int n = 0;
    struct rmd_slice item;
    while (next_item(&mx, &item)) {
        const uint8_t *blank = memchr(item.p, ' ', item.n);
        uint64_t preference = 0;
        assert(n < 64 && blank);
        int rc = rmd_parse_u64(rmd_slice(item.p, (size_t)(blank - item.p)), &preference);
        assert(rc == RMD_OK && preference <= UINT16_MAX);
        struct rmd_slice host = rmd_trim(rmd_slice(blank, item.n - (size_t)(blank - item.p)));
        if (rmd_slice_eq(host, rmd_slice_str(".")))
            host.n = 0;
        all[n].preference = (uint16_t)preference;
        rmd_copy_slice(all[n++].host, sizeof all[0].host, host);
    }
    qsort(all, (size_t)n, sizeof all[0], by_preference);
    r->mx.n = n < RMD_DNS_MX_MAX ? n : RMD_DNS_MX_MAX;
    memcpy(r->mx.mx, all, (size_t)r->mx.n * sizeof all[0]);
}

void rmd_dns_fake_addr(struct rmd_dns_fake *f, const char *host, const char *addresses, uint32_t ttl_s) {
    struct record *r = record_of(f, host);
    r->has_addr = *addresses != 0;
    r->addr = (struct rmd_addr_answer){.status = RMD_DNS_OK, .ttl_s = ttl_s};
    struct rmd_slice item;
    while (next_item(&addresses, &item) && r->addr.n < RMD_DNS_ADDR_MAX) {
        char text[48];
        rmd_copy_slice(text, sizeof text, item);
        int rc = rmd_addr_parse(text, &r->addr.addr[r->addr.n++]);
        assert(rc == RMD_OK);
    }
}

void rmd_dns_fake_txt(struct rmd_dns_fake *f, const char *name, const char *text, uint32_t ttl_s) {
    struct record *r = record_of(f, name);
    r->txt.status = RMD_DNS_OK;
    r->txt.ttl_s = ttl_s;
    if (!text)
        r->txt.n = 0;
    else if (r->txt.n < RMD_DNS_TXT_MAX)
        rmd_copy(r->txt.txt[r->txt.n++], RMD_DNS_TXT_BYTES, text);
    r->has_txt = r->txt.n > 0;
}

void rmd_dns_fake_cname(struct rmd_dns_fake *f, const char *name, const char *target) {
    rmd_copy(record_of(f, name)->cname, RMD_DOMAIN_MAX + 1, target);
}

void rmd_dns_fake_fault(struct rmd_dns_fake *f, const char *name, enum rmd_dns_fault fault) {
    if (name)
        record_of(f, name)->fault = fault;
    else
        f->fault = fault;
}

void rmd_dns_fake_remove(struct rmd_dns_fake *f, const char *name) {
    free(rmd_map_remove(&f->table, rmd_slice_str(name)));
}

/* --- answers */

static void resolve_mx(const struct rmd_dns_fake *f, const char *name, struct rmd_mx_answer *a) {
    const struct record *r = follow(f, name);
    enum rmd_dns_fault fault = fault_of(f, name);
    *a = (struct rmd_mx_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = NEGATIVE_TTL_S};
    if (fault == RMD_DNS_FAULT_SERVFAIL || fault == RMD_DNS_FAULT_TIMEOUT) {
        *a = (struct rmd_mx_answer){.status = RMD_DNS_TEMPFAIL};
        rmd_copy(a->detail, sizeof a->detail, fault == RMD_DNS_FAULT_SERVFAIL ? "SERVFAIL" : "timeout after 3 tries");
    } else if (fault == RMD_DNS_FAULT_NXDOMAIN || !r) {
        return;
    } else if (r->has_mx) {
        *a = r->mx;
    } else if (r->has_addr) {
        *a = (struct rmd_mx_answer){.status = RMD_DNS_OK, .implicit = true, .ttl_s = r->addr.ttl_s, .n = 1};
        rmd_copy(a->mx[0].host, sizeof a->mx[0].host, name);
    } else {
        a->status = RMD_DNS_NODATA;
        rmd_copy(a->detail, sizeof a->detail, "neither MX nor address");
    }
}

static void resolve_addr(const struct rmd_dns_fake *f, const char *name, struct rmd_addr_answer *a) {
    const struct record *r = follow(f, name);
    enum rmd_dns_fault fault = fault_of(f, name);
    *a = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = NEGATIVE_TTL_S};
    if (fault == RMD_DNS_FAULT_SERVFAIL || fault == RMD_DNS_FAULT_TIMEOUT) {
        *a = (struct rmd_addr_answer){.status = RMD_DNS_TEMPFAIL};
        rmd_copy(a->detail, sizeof a->detail, fault == RMD_DNS_FAULT_SERVFAIL ? "SERVFAIL" : "timeout after 3 tries");
    } else if (fault != RMD_DNS_FAULT_NXDOMAIN && r) {
        a->status = RMD_DNS_NODATA;
        if (r->has_addr)
            *a = r->addr;
    }
}

static void resolve_txt(const struct rmd_dns_fake *f, const char *name, struct rmd_txt_answer *a) {
    const struct record *r = follow(f, name);
    enum rmd_dns_fault fault = fault_of(f, name);
    *a = (struct rmd_txt_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = NEGATIVE_TTL_S};
    if (fault == RMD_DNS_FAULT_SERVFAIL || fault == RMD_DNS_FAULT_TIMEOUT) {
        *a = (struct rmd_txt_answer){.status = RMD_DNS_TEMPFAIL};
        rmd_copy(a->detail, sizeof a->detail, fault == RMD_DNS_FAULT_SERVFAIL ? "SERVFAIL" : "timeout after 3 tries");
    } else if (fault != RMD_DNS_FAULT_NXDOMAIN && r) {
        a->status = RMD_DNS_NODATA;
        if (r->has_txt)
            *a = r->txt;
    }
}

/* The families that the caller can use. */
static void filter(struct rmd_addr_answer *a, bool want4, bool want6) {
    int n = 0;
    for (int i = 0; i < a->n; i++)
        if (a->addr[i].family == 4 ? want4 : want6)
            a->addr[n++] = a->addr[i];
    a->n = n;
    if (a->status == RMD_DNS_OK && !n)
        a->status = RMD_DNS_NODATA;
}

static char what_of(const struct pending *p) {
    return p->mx_fn ? 'm' : p->txt_fn ? 't' : 'a';
}

static struct cached *cached(struct rmd_dns_fake *f, const char *name, char what) {
    char key[RMD_DOMAIN_MAX + 3];
    rmd_format(key, sizeof key, "%c%s", what, name);
    struct cached *c = rmd_map_get_str(&f->cache, key);
    if (c && f->now_ms < c->until_ms)
        return c;
    free(rmd_map_remove(&f->cache, rmd_slice_str(key)));
    return NULL;
}

static void keep(struct rmd_dns_fake *f, const char *name, const struct cached *c) {
    char key[RMD_DOMAIN_MAX + 3];
    rmd_format(key, sizeof key, "%c%s", c->what, name);
    free(rmd_map_set(&f->cache, rmd_slice_str(key), rmd_memdup(c, sizeof *c)));
}

static void call(const struct pending *p, struct cached c) {
    if (p->mx_fn) {
        p->mx_fn(p->ctx, p->name, &c.mx);
        return;
    }
    if (p->txt_fn) {
        p->txt_fn(p->ctx, p->name, &c.txt);
        return;
    }
    filter(&c.addr, p->want4, p->want6);
    p->addr_fn(p->ctx, p->name, &c.addr);
}

static void answer(struct rmd_dns_fake *f, struct pending *p) {
    const struct cached *old = cached(f, p->name, what_of(p));
    struct cached c = {.what = what_of(p)};
    if (old) { /* a query for the same name was answered meanwhile */
        c = *old;
    } else {
        f->queries++;
        uint32_t ttl;
        enum rmd_dns_status status;
        if (c.what == 'm') {
            resolve_mx(f, p->name, &c.mx);
            ttl = c.mx.ttl_s;
            status = c.mx.status;
        } else if (c.what == 't') {
            resolve_txt(f, p->name, &c.txt);
            ttl = c.txt.ttl_s;
            status = c.txt.status;
        } else {
            resolve_addr(f, p->name, &c.addr);
            ttl = c.addr.ttl_s;
            status = c.addr.status;
        }
        c.until_ms = f->now_ms + (int64_t)ttl * 1000;
        if (status != RMD_DNS_TEMPFAIL)
            keep(f, p->name, &c);
    }
    call(p, c);
    free(p);
}

/* --- the port */

static void ask(struct rmd_dns_fake *f, const char *name, const struct pending *like) {
    const struct cached *c = cached(f, name, what_of(like));
    struct pending *p = rmd_memdup(like, sizeof *like);
    rmd_copy(p->name, sizeof p->name, name);
    if (c) {
        call(p, *c);
        free(p);
        return;
    }
    int64_t wait = fault_of(f, name) == RMD_DNS_FAULT_TIMEOUT ? f->timeout_ms : f->delay_ms;
    rmd_heap_set(&f->pending, &p->at, f->now_ms + wait);
}

static void fake_mx(void *d, const char *domain, rmd_mx_fn fn, void *ctx) {
    ask(d, domain, &(struct pending){.mx_fn = fn, .ctx = ctx});
}

static void fake_addr(void *d, const char *host, bool want4, bool want6, rmd_addr_fn fn, void *ctx) {
    ask(d, host, &(struct pending){.addr_fn = fn, .want4 = want4, .want6 = want6, .ctx = ctx});
}

static void fake_codes(void *d, const char *name, rmd_addr_fn fn, void *ctx) {
    ask(d, name, &(struct pending){.addr_fn = fn, .want4 = true, .ctx = ctx});
}

static void fake_txt(void *d, const char *name, rmd_txt_fn fn, void *ctx) {
    ask(d, name, &(struct pending){.txt_fn = fn, .ctx = ctx});
}

/* The table has none of these, and isn't signed. */
static void fake_tlsa(void *d, const char *name, rmd_tlsa_fn fn, void *ctx) {
    struct rmd_tlsa_answer none = {.status = RMD_DNS_NODATA};
    (void)d;
    fn(ctx, name, &none);
}

struct rmd_dns rmd_dns_fake_port(struct rmd_dns_fake *f) {
    static const struct rmd_dns_ops ops = {
        .mx = fake_mx, .addr = fake_addr, .codes = fake_codes, .txt = fake_txt, .tlsa = fake_tlsa};
    return (struct rmd_dns){.ops = &ops, .d = f};
}

void rmd_dns_fake_step(struct rmd_dns_fake *f, int64_t now_ms) {
    f->now_ms = now_ms;
    struct rmd_heap_node *node;
    while ((node = rmd_heap_min(&f->pending)) && node->key <= now_ms) {
        rmd_heap_remove(&f->pending, node);
        answer(f, rmd_container(node, struct pending, at));
    }
}

int64_t rmd_dns_fake_deadline(const struct rmd_dns_fake *f) {
    const struct rmd_heap_node *node = rmd_heap_min(&f->pending);
    return node ? node->key : RMD_NEVER;
}

uint64_t rmd_dns_fake_queries(const struct rmd_dns_fake *f) {
    return f->queries;
}

struct rmd_dns_fake *rmd_dns_fake_new(int64_t delay_ms, int64_t timeout_ms) {
    struct rmd_dns_fake *f = rmd_alloc(sizeof *f);
    f->delay_ms = delay_ms;
    f->timeout_ms = timeout_ms;
    return f;
}

static void free_values(struct rmd_map *m) {
    uint32_t it = 0;
    struct rmd_slice key;
    void *value;
    while (rmd_map_next(m, &it, &key, &value))
        free(value);
    rmd_map_release(m);
}

void rmd_dns_fake_free(struct rmd_dns_fake *f) {
    if (!f)
        return;
    struct rmd_heap_node *node;
    while ((node = rmd_heap_min(&f->pending))) {
        rmd_heap_remove(&f->pending, node);
        struct pending *p = rmd_container(node, struct pending, at);
        struct cached c = {.what = what_of(p)};
        if (c.what == 'm')
            c.mx = (struct rmd_mx_answer){.status = RMD_DNS_TEMPFAIL, .detail = "shutting down"};
        else if (c.what == 't')
            c.txt = (struct rmd_txt_answer){.status = RMD_DNS_TEMPFAIL, .detail = "shutting down"};
        else
            c.addr = (struct rmd_addr_answer){.status = RMD_DNS_TEMPFAIL, .detail = "shutting down"};
        call(p, c);
        free(p);
    }
    rmd_heap_release(&f->pending);
    free_values(&f->table);
    free_values(&f->cache);
    free(f);
}
