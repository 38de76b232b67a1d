/* The store port on PostgreSQL, for a coordinator that must survive its machine.
 *
 * One table of rows and one row of state (epoch, last sequence number) in a schema of their own. A group of batches
 * is one transaction: it locks the row of state, checks the epoch, applies what is not applied yet, raises the number
 * and commits. So a connection that dies during COMMIT leaves no doubt: the next transaction waits for the lost one
 * to end, reads the number, and either has nothing left to do or sends the batches again.
 *
 * Who may write: a coordinator that is connected holds an advisory lock, which makes a second open answer RMD_EBUSY;
 * but only the epoch decides. When the machine of the old one is gone or cut off, open with `takeover`, then
 * acquire(): the old one's commits are fenced from that moment. Durability is the server's: fsync on, and synchronous
 * standbys when the machine's loss must be survived (synchronous_commit is raised to "on" here, never lowered). */
#ifndef REMUDA_STORE_PG_H
#define REMUDA_STORE_PG_H

#include <remuda/store.h>

struct rmd_store_pg_options {
    const char *conninfo; /* as for libpq: "host=... dbname=... user=..." or a URI */
    const char *schema;   /* NULL: "remuda"; letters, digits and _, at most 63 bytes; made when it is absent */
    bool takeover;        /* open although another session holds the lock */
};

/* RMD_EBUSY, RMD_EINVAL (schema), RMD_EVERSION, RMD_EIO; err says what happened, where, and what to do. The password
 * is never part of it. */
int rmd_store_pg_open(const struct rmd_store_pg_options *opt, struct rmd_store *out, char *err,
                      size_t err_n) RMD_CHECKED;

#endif
