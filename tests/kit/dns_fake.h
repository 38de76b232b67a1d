/* DNS port out of a table, in virtual time: for the simulator and for tests. Deterministic, no threads, no sockets.
 *
 * A query is answered delay_ms after it came, from within step(); answers are cached for their TTL, so a changed
 * table shows only when the TTL is over, as in the world. Names that the table doesn't have are NXDOMAIN. */
#ifndef REMUDA_TEST_DNS_FAKE_H
#define REMUDA_TEST_DNS_FAKE_H

#include <remuda/dns.h>

struct rmd_dns_fake;

enum rmd_dns_fault {
    RMD_DNS_FAULT_NONE,
    RMD_DNS_FAULT_SERVFAIL, /* TEMPFAIL after the usual delay */
    RMD_DNS_FAULT_TIMEOUT,  /* TEMPFAIL after timeout_ms */
    RMD_DNS_FAULT_NXDOMAIN, /* a lying resolver */
};

struct rmd_dns_fake *rmd_dns_fake_new(int64_t delay_ms, int64_t timeout_ms);
void rmd_dns_fake_free(struct rmd_dns_fake *f); /* outstanding callbacks are answered with TEMPFAIL first */
struct rmd_dns rmd_dns_fake_port(struct rmd_dns_fake *f);

/* The table. mx: "10 mx1.example.com, 20 mx2.example.com", "0 ." for a null MX, "" for none. */
void rmd_dns_fake_mx(struct rmd_dns_fake *f, const char *domain, const char *mx, uint32_t ttl_s);
void rmd_dns_fake_addr(struct rmd_dns_fake *f, const char *host, const char *addresses, uint32_t ttl_s);
/* Up to RMD_DNS_TXT_MAX texts, one after the other; NULL: none any more. */
void rmd_dns_fake_txt(struct rmd_dns_fake *f, const char *name, const char *text, uint32_t ttl_s);
void rmd_dns_fake_cname(struct rmd_dns_fake *f, const char *name, const char *target);
void rmd_dns_fake_fault(struct rmd_dns_fake *f, const char *name,
                        enum rmd_dns_fault fault); /* name NULL: every name */
void rmd_dns_fake_remove(struct rmd_dns_fake *f, const char *name);

void rmd_dns_fake_step(struct rmd_dns_fake *f, int64_t now_ms);
int64_t rmd_dns_fake_deadline(const struct rmd_dns_fake *f);
uint64_t rmd_dns_fake_queries(const struct rmd_dns_fake *f); /* answered by the table, not by the cache */

#endif
