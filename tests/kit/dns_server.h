/* A real authoritative server (Knot DNS) for tests: zones in a temporary directory, loopback, a port of the kernel's
 * choice. The child is killed by its pid at stop(), and by the kernel when the test dies. */
#ifndef REMUDA_TEST_DNS_SERVER_H
#define REMUDA_TEST_DNS_SERVER_H

#include <remuda/types.h>

struct rmd_dns_server;

struct rmd_dns_zone {
    const char *name; /* "test": without a trailing dot */
    const char *text; /* zone file */
};

/* RMD_ENOTFOUND: no knotd on this machine. err says what went wrong. Ready to answer when it returns. */
int rmd_dns_server_start(const struct rmd_dns_zone *zones, size_t n, struct rmd_dns_server **out, char *err,
                         size_t err_n) RMD_CHECKED;
const char *rmd_dns_server_address(const struct rmd_dns_server *s); /* "127.0.0.1:40123" */
void rmd_dns_server_stop(struct rmd_dns_server *s);

#endif
