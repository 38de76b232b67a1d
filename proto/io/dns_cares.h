/* DNS port over c-ares (1.18 API), with a bounded cache; used by both programs.
 *
 * Owned by one thread: callbacks run inside process() of that thread, or at once from the query when the answer is
 * cached. The resolver's addresses come from the configuration ("127.0.0.1:5353", or empty: /etc/resolv.conf). CNAMEs
 * are followed by the resolver; an MX that points to a CNAME is resolved all the same. Cache: TTL within [ttl_min_s,
 * ttl_max_s], negative answers by the SOA minimum where c-ares shows it, else negative_ttl_s; TEMPFAIL is never
 * cached. At most cache_entries entries (least recently used go). */
#ifndef REMUDA_DNS_CARES_H
#define REMUDA_DNS_CARES_H

#include <remuda/clock.h>
#include <remuda/dns.h>

struct rmd_dns_cares;

struct rmd_dns_cares_options {
    const char *servers; /* "host:port,host:port"; NULL or "": the system's */
    /* Addresses of resolvers that validate by DNSSEC, and to which nobody else can put words into the mouth: "127.0.0.1,::1".
     * When all servers are among them, their AD bit is believed (`secure` in answers); else it never is. */
    const char *validating;
    int timeout_ms, tries;
    uint32_t ttl_min_s, ttl_max_s, negative_ttl_s;
    uint32_t cache_entries;
    uint32_t max_in_flight; /* further queries wait in order */
    const struct rmd_clock *clock;
};

int rmd_dns_cares_open(const struct rmd_dns_cares_options *o, struct rmd_dns_cares **out, char *err,
                       size_t err_n) RMD_CHECKED;
void rmd_dns_cares_close(struct rmd_dns_cares *d); /* outstanding callbacks are answered with TEMPFAIL first */
struct rmd_dns rmd_dns_cares_port(struct rmd_dns_cares *d);
/* One descriptor to wait for (an epoll set of c-ares's sockets) and the time until which to wait at most (mono_ms,
 * RMD_NEVER). */
int rmd_dns_cares_fd(const struct rmd_dns_cares *d);
int64_t rmd_dns_cares_deadline(const struct rmd_dns_cares *d);
void rmd_dns_cares_process(struct rmd_dns_cares *d);

#endif
