/* Which TLS a connection to one MX host must have: DANE (RFC 7672), MTA-STS (RFC 8461), what the operator requires, and
 * else opportunistic (RFC 7435). Pure; one decision a host.
 *
 *   DANE, when the MX record, the host's addresses and its TLSA records are all secure. It wins over MTA-STS (RFC 8461,
 *   section 2). TLSA records that can't be looked up stop the host: else whoever can suppress an answer could take TLS
 *   away. Records of which none can be used still mean TLS, unverified (RFC 7672, section 2.2).
 *   MTA-STS in mode enforce: only hosts that the policy names, with a certificate of a public authority in the host's
 *   name. In mode testing the same is looked at and reported, and changes nothing.
 *   Required by the operator, for the provider or the stream: TLS, whoever it is.
 *   Otherwise TLS when it is offered. When its handshake fails the host is spoken to in the clear, and for a while
 *   (rmd_tls_broken) at once.
 *
 * Nothing here ever bounces a message: a host that may not be used is passed over, and when none is left the mail waits. */
#ifndef REMUDA_NODE_TLS_POLICY_H
#define REMUDA_NODE_TLS_POLICY_H

#include <base/coll.h>

#include "node/core/mta_sts.h"

enum rmd_tls_level {
    RMD_TLS_L_PLAIN,   /* no STARTTLS */
    RMD_TLS_L_MAY,     /* when offered, unverified */
    RMD_TLS_L_ENCRYPT, /* always, unverified */
    RMD_TLS_L_PKIX,    /* always, with a trusted certificate in the host's name */
    RMD_TLS_L_DANE,    /* always, as the TLSA records say */
    RMD_TLS_L_SKIP,    /* the host may not be used */
};

struct rmd_tls_facts {
    const char *host;
    bool on;       /* STARTTLS is used at all */
    bool required; /* by provider or stream */
    bool dane;     /* DANE is looked at */
    bool mx_secure, addr_secure;
    const struct rmd_tlsa_answer *tlsa; /* NULL: not asked */
    const struct rmd_sts_policy *sts;   /* NULL: none */
    bool broken;                        /* its TLS failed lately */
};

struct rmd_tls_decision {
    enum rmd_tls_level level;
    bool check;                    /* a PKIX check whose result is reported and changes nothing (mode testing) */
    bool fallback;                 /* a failed handshake is followed by an attempt without TLS */
    enum rmd_tls_policy_kind kind; /* that led to it */
    enum rmd_tls_result why;       /* SKIP; with `check`: the policy doesn't name the host */
    const char *reason;            /* for people, with `why`; static */
};

/* What the TLS client is asked for. */
struct rmd_tls_spec {
    enum rmd_tls_level level;           /* ENCRYPT and less: nothing is verified */
    bool check;                         /* as PKIX, and go on whatever comes of it */
    const char *host;                   /* SNI, the name that a certificate must have; "": none */
    const char *domain;                 /* DANE usage 2: as good as the host's name (RFC 7672, section 3.2.2) */
    const struct rmd_tlsa_answer *tlsa; /* DANE */
};

bool rmd_tls_asks_tlsa(const struct rmd_tls_facts *f); /* the decision needs the host's TLSA records */
struct rmd_tls_decision rmd_tls_decide(const struct rmd_tls_facts *f);
/* Usages 2 and 3, both selectors, matching types 0 to 2, with data that fits (RFC 7672, section 3.1). */
bool rmd_tlsa_usable(const struct rmd_tlsa *t);

/* Hosts whose TLS failed lately; bounded, the oldest leaves first. A zeroed one is empty. */
enum { RMD_TLS_BROKEN_MAX = 4096, RMD_TLS_DOWNGRADE_MS = 3600000 /* unless the node is told otherwise */ };
struct rmd_tls_broken {
    struct rmd_map by_host;
    struct rmd_list oldest;
};
void rmd_tls_broken_add(struct rmd_tls_broken *b, const char *host, int64_t until_ms);
bool rmd_tls_broken_has(const struct rmd_tls_broken *b, const char *host, int64_t now_ms);
void rmd_tls_broken_release(struct rmd_tls_broken *b);

#endif
