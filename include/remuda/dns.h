/* DNS port: what the coordinator needs to find a domain's site, and the node to dial it (RFC 5321 section 5, RFC
 * 7505).
 *
 * Answers are cached by the implementation for their TTL, bounded below and above by the configuration; negative ones
 * as RFC 2308 says. Names come in ASCII (A-labels), lower case, without a trailing dot. */
#ifndef REMUDA_DNS_H
#define REMUDA_DNS_H

#include <remuda/types.h>

enum {
    RMD_DNS_MX_MAX = 32,
    RMD_DNS_ADDR_MAX = 16,
    RMD_DNS_TXT_MAX = 8,
    RMD_DNS_TXT_BYTES = 512,
    RMD_DNS_TLSA_MAX = 16,
    RMD_DNS_TLSA_BYTES = 4096, /* association data of all records of an answer together */
    RMD_DOMAIN_MAX = 253
};

enum rmd_dns_status {
    RMD_DNS_OK,
    RMD_DNS_NXDOMAIN, /* the name does not exist */
    RMD_DNS_NODATA,   /* it exists, without such a record */
    RMD_DNS_TEMPFAIL, /* timeout, SERVFAIL, refused, malformed answer */
};

struct rmd_mx {
    uint16_t preference;
    char host[RMD_DOMAIN_MAX + 1]; /* "" with preference 0 alone: null MX (RFC 7505) */
};

struct rmd_mx_answer {
    enum rmd_dns_status status;
    bool implicit; /* no MX, but an address: the domain itself is its host */
    bool secure;   /* validated by DNSSEC, as a resolver says that the configuration trusts in this */
    uint32_t ttl_s;
    int n;
    struct rmd_mx mx[RMD_DNS_MX_MAX]; /* sorted by preference, then host */
    char detail[96];                  /* for people: "SERVFAIL", "timeout after 3 tries", ... */
};

struct rmd_addr_answer {
    enum rmd_dns_status status;
    bool secure; /* each family that was answered */
    uint32_t ttl_s;
    int n;
    struct rmd_addr addr[RMD_DNS_ADDR_MAX];
    char detail[96];
};

/* Each record's strings joined, as RFC 7208 section 3.3 joins them; bytes that are no printable ASCII are shown as "?". What is
 * longer is cut, what is more is left out. */
struct rmd_txt_answer {
    enum rmd_dns_status status;
    uint32_t ttl_s;
    int n;
    char txt[RMD_DNS_TXT_MAX][RMD_DNS_TXT_BYTES];
    char detail[96];
};

/* TLSA records (RFC 6698), as they came; whether they can be used is decided elsewhere. */
struct rmd_tlsa {
    uint8_t usage, selector, matching;
    uint16_t at, n; /* in data of the answer */
};
struct rmd_tlsa_answer {
    enum rmd_dns_status status;
    bool secure;
    uint32_t ttl_s;
    int n;
    int lost; /* records that didn't fit */
    struct rmd_tlsa tlsa[RMD_DNS_TLSA_MAX];
    uint8_t data[RMD_DNS_TLSA_BYTES];
    char detail[96];
};

typedef void (*rmd_mx_fn)(void *ctx, const char *domain, const struct rmd_mx_answer *a);
typedef void (*rmd_addr_fn)(void *ctx, const char *host, const struct rmd_addr_answer *a);
typedef void (*rmd_txt_fn)(void *ctx, const char *name, const struct rmd_txt_answer *a);
typedef void (*rmd_tlsa_fn)(void *ctx, const char *name, const struct rmd_tlsa_answer *a);

struct rmd_dns_ops {
    /* The callback comes exactly once, from within process(), or at once when the answer is cached. */
    void (*mx)(void *d, const char *domain, rmd_mx_fn fn, void *ctx);
    /* Both families in one answer, A and AAAA; want4/want6 say which the caller can use. */
    void (*addr)(void *d, const char *host, bool want4, bool want6, rmd_addr_fn fn, void *ctx);
    /* The addresses of a name as the server gave them, IPv4: for blocklists, whose answers are read as codes. Nothing is
     * kept back as rewritten: who asks a list finds out about that by himself. */
    void (*codes)(void *d, const char *name, rmd_addr_fn fn, void *ctx);
    void (*txt)(void *d, const char *name, rmd_txt_fn fn, void *ctx);
    void (*tlsa)(void *d, const char *name, rmd_tlsa_fn fn, void *ctx); /* "_25._tcp.mx.example.com" */
};

struct rmd_dns {
    const struct rmd_dns_ops *ops;
    void *d;
};

#endif
