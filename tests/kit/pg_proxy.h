/* A proxy between libpq and a PostgreSQL server's Unix socket that cuts connections around COMMIT.
 *
 * It reads the client's messages, so that it knows the very message that carries COMMIT, and cuts at the asked place:
 *
 *     struct rmd_pg_proxy *p = rmd_pg_proxy_start(cluster.socket);
 *     PQconnectdb(rmd_pg_proxy_conninfo(p));
 *     rmd_pg_proxy_cut(p, RMD_CUT_AFTER_COMMIT, 1);       // the next COMMIT is done, its reply never comes
 *     ...
 *     rmd_pg_proxy_stop(p);
 *
 * One thread, which owns the connections; the calls may come from any other. A cut closes both sides of the
 * connection on which the COMMIT went; further connections are served as before. */
#ifndef REMUDA_PG_PROXY_H
#define REMUDA_PG_PROXY_H

#include <remuda/types.h>

enum rmd_pg_cut {
    RMD_CUT_BEFORE_COMMIT, /* the server never sees it */
    RMD_CUT_WITH_COMMIT,   /* forwarded, and cut at once: the server may still be at it when the client comes back */
    RMD_CUT_AFTER_COMMIT,  /* forwarded, and cut when the server has answered; the answer is dropped */
    RMD_CUT_KINDS,
    RMD_CUT_DOWN_AFTER_COMMIT, /* as the last, and the proxy is down from then on */
};

struct rmd_pg_proxy;

struct rmd_pg_proxy *rmd_pg_proxy_start(const char *server_socket); /* NULL: errno tells */
void rmd_pg_proxy_stop(struct rmd_pg_proxy *p);
const char *rmd_pg_proxy_conninfo(const struct rmd_pg_proxy *p);

/* Cuts the next `times` COMMITs in this way. */
void rmd_pg_proxy_cut(struct rmd_pg_proxy *p, enum rmd_pg_cut kind, int times);
int rmd_pg_proxy_cuts_done(struct rmd_pg_proxy *p);
/* While it is set, every connection is cut, and new ones are closed as they come. */
void rmd_pg_proxy_down(struct rmd_pg_proxy *p, bool down);

#endif
