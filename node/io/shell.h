/* The main thread of remuda-node: bus, node core, mailboxes, signals, journal. Owns the workers' threads.
 *
 * run() returns the process's exit code: 0 after an orderly stop, 1 when something in the environment ended it. */
#ifndef REMUDA_NODE_IO_SHELL_H
#define REMUDA_NODE_IO_SHELL_H

#include "node/io/node_config.h"

struct rmd_node_shell;

enum { RMD_NODE_SHELL_STOP_MS = 10000, RMD_NODE_SHELL_FILES_SPARE = 256 };

/* Opens everything. SIGTERM, SIGINT and SIGHUP must be blocked in the calling thread. NULL: err tells the operator
 * why. */
struct rmd_node_shell *rmd_node_shell_open(const struct rmd_node_config *c, const struct rmd_node_keys *keys,
                                           struct rmd_buf *err);
int rmd_node_shell_run(struct rmd_node_shell *s);
void rmd_node_shell_close(struct rmd_node_shell *s);

#endif
