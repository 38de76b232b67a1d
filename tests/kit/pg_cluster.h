/* A private PostgreSQL server for a test: made with initdb in a directory of its own under $TMPDIR or /tmp, reached
 * by its Unix socket only, and gone with the test.
 *
 *     struct rmd_pg_cluster pg;
 *     if (rmd_pg_cluster_start(&pg)) ...                  // text in pg.err
 *     PQconnectdb(pg.conninfo);
 *     rmd_pg_cluster_stop(&pg);                           // kills it and removes the directory
 *
 * Started as root, the server runs as user postgres. It dies with the thread that started it, should that be killed.
 */
#ifndef REMUDA_PG_CLUSTER_H
#define REMUDA_PG_CLUSTER_H

#include <sys/types.h>

#include <remuda/types.h>

struct rmd_pg_cluster {
    pid_t pid;
    char dir[64];       /* holds data/ and the socket */
    char socket[96];    /* path of the server's socket */
    char conninfo[160]; /* for libpq */
    char err[256];
};

int rmd_pg_cluster_start(struct rmd_pg_cluster *c) RMD_CHECKED;
void rmd_pg_cluster_stop(struct rmd_pg_cluster *c);
/* Kills the server as a crash of its host's processes would, and starts it again on the same data. */
int rmd_pg_cluster_crash_restart(struct rmd_pg_cluster *c) RMD_CHECKED;

#endif
