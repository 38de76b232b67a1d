/* Rule files read again while the coordinator runs: on SIGHUP, and by POST /v1/rules/reload.
 *
 * Providers, verdict rules, warm-up plans, blocklists and the streams' DKIM key files are read and linted first; with any finding nothing
 * changes.
 * Thread-safe: one reload after the other. */
#ifndef REMUDA_RELOAD_H
#define REMUDA_RELOAD_H

#include "coordinator/io/shell.h"
#include "proto/io/policy_files.h"

enum { RMD_RELOAD_WAIT_MS = 30000 };

struct rmd_reload {
    struct rmd_shell *shell;
    struct rmd_policy_paths paths;
    struct rmd_policy_files now;     /* what is in force; this struct's */
    struct rmd_watch_settings watch; /* of the configuration, with the lists of `now` */
    pthread_mutex_t lock;
};

/* Takes the files over; watch: its lists are those of the files. */
void rmd_reload_open(struct rmd_reload *r, struct rmd_shell *shell, const struct rmd_policy_paths *paths,
                     const struct rmd_watch_settings *watch, struct rmd_policy_files *now);
void rmd_reload_close(struct rmd_reload *r);
/* RMD_OK: said has what changed, on one line. RMD_EINVAL: findings, one a line, and nothing changed; other errors: why not. */
int rmd_reload_run(struct rmd_reload *r, struct rmd_buf *said) RMD_CHECKED;
/* "2 providers changed: google, ours; verdict rules changed", or "nothing changed". */
void rmd_reload_difference(const struct rmd_policy_files *before, const struct rmd_policy_files *after,
                           struct rmd_buf *out);

#endif
