/* Shell of the coordinator's core: one thread that owns core, bus, DNS and the store's writing side, and carries out
 * effects.
 *
 * Other threads (HTTP, intake) come in through the three calls below, which wait for the answer. Order of effects: a
 * commit's dependents come back from the core only after its completion, so the shell simply carries effects out as
 * they come. */
#ifndef REMUDA_SHELL_H
#define REMUDA_SHELL_H

#include <pthread.h>

#include "coordinator/core/coordinator.h"
#include "coordinator/io/history.h"
#include "proto/io/bus.h"
#include "proto/io/dns_cares.h"

struct rmd_shell;

struct rmd_shell_options {
    const struct rmd_clock *clock;
    struct rmd_store store; /* acquired: epoch is ours; the shell closes it at the end */
    uint64_t epoch;
    struct rmd_coord_options core;
    int64_t day_starts_ms;             /* after midnight of the process's time zone */
    struct rmd_bus_server_options bus; /* allow and allow_ctx are set by the shell */
    struct rmd_dns_cares_options dns;
    struct rmd_history *history; /* not owned */
};

/* Restores the core from the store and opens bus and DNS; err tells the operator what is in the way. */
int rmd_shell_open(const struct rmd_shell_options *o, struct rmd_shell **out, char *err, size_t err_n) RMD_CHECKED;
/* Serves until rmd_shell_stop() (any thread, also a signal handler) was called. */
int rmd_shell_run(struct rmd_shell *s) RMD_CHECKED;
void rmd_shell_stop(struct rmd_shell *s);
void rmd_shell_close(struct rmd_shell *s);

/* From any other thread: runs fn in the core's thread, between two steps, and waits. RMD_ECLOSED when the shell is
 * stopping. */
int rmd_shell_call(struct rmd_shell *s, void (*fn)(void *ctx, struct rmd_coord *core, struct rmd_time now),
                   void *ctx) RMD_CHECKED;

struct rmd_shell_reply {
    int error;
    uint64_t number;
    char text[512];
};
/* Gives the core a command (token is set here) and waits for its REPLY at most wait_ms: RMD_ETIMEOUT, the command
 * stays in force. */
int rmd_shell_command(struct rmd_shell *s, const struct rmd_command *cmd, int64_t wait_ms,
                      struct rmd_shell_reply *out) RMD_CHECKED;

/* A durable write of intake: takes the batch over, waits until it is durable or refused (batch->fail_fast:
 * RMD_EFULL). */
int rmd_shell_commit(struct rmd_shell *s, struct rmd_batch *batch) RMD_CHECKED;

/* For reading only (get_many, scan): thread-safe. */
const struct rmd_store *rmd_shell_store(const struct rmd_shell *s);
struct rmd_history *rmd_shell_history(const struct rmd_shell *s);
struct rmd_time rmd_shell_now(const struct rmd_shell *s);
int64_t rmd_shell_started_mono_ms(const struct rmd_shell *s);
uint64_t rmd_shell_refused_connections(const struct rmd_shell *s); /* by ZAP, or not as far as that */

#endif
