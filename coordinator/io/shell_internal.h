/* Inside of the shell, shared by its files: shell.c (loop, threads' way in), shell_effects.c (carrying out),
 * shell_restore.c (start). */
#ifndef REMUDA_SHELL_INTERNAL_H
#define REMUDA_SHELL_INTERNAL_H

#include <stdatomic.h>

#include "coordinator/io/shell.h"

enum { RMD_SHELL_FRAMES_A_TURN = 256, RMD_SHELL_COMPLETIONS_A_TURN = 256 };

/* A request of another thread; lives until both sides have let go. */
struct rmd_request {
    struct rmd_list link;
    enum { REQUEST_CALL, REQUEST_COMMAND, REQUEST_COMMIT } kind;
    void (*fn)(void *ctx, struct rmd_coord *core, struct rmd_time now);
    void *ctx;
    const struct rmd_command *command; /* the caller waits at least until it was taken */
    bool taken;
    struct rmd_batch batch;
    struct rmd_shell_reply reply;
    bool done;
    int refs;
    pthread_cond_t cond;
};

/* Who waits for a store sequence number. */
struct rmd_waiting_commit {
    uint64_t seq;
    uint64_t tag;                /* of the core, when request == NULL */
    struct rmd_request *request; /* of intake */
};

/* Something to give to the core once the present step is over: a step never runs inside another. */
struct rmd_pending {
    struct rmd_list link;
    enum rmd_coord_event_kind kind;
    uint64_t tag;
    struct rmd_coord_peer peer;
    struct rmd_scan scan;  /* SCANNED: executed when its turn comes */
    struct rmd_slice *key; /* GOT: likewise */
    size_t n_keys;
    char *name;
    struct rmd_mx_answer *mx;
    struct rmd_arena arena; /* what the fields above point to */
};

struct rmd_shell {
    struct rmd_shell_options o;
    struct rmd_coord *core;
    struct rmd_coord_effects effects;
    struct rmd_bus_server *bus;
    struct rmd_dns_cares *dns;
    int wake_fd;
    atomic_bool stopping;
    int failed; /* why the loop must end, negative */
    struct rmd_time started;
    struct rmd_sending_day day; /* told last */

    pthread_mutex_t lock; /* requests, and the done flags of all requests */
    struct rmd_list requests;
    bool closed;

    pthread_mutex_t keys_lock; /* enrolled keys: read by the ZAP thread */
    struct rmd_map keys;

    struct rmd_list pending;
    size_t n_pending;
    struct rmd_map commands; /* token -> request */
    uint64_t next_token, next_seq;
    struct rmd_waiting_commit *waiting; /* ring in order of seq */
    size_t waiting_from, waiting_n, waiting_cap;
    const char *stalled;
    bool more_frames; /* a turn ended before the bus was read empty */
    struct rmd_arena frames, rows;
    struct rmd_buf frame_out;
};

/* Runs one step and carries its effects out. */
void rmd_shell_step(struct rmd_shell *s, struct rmd_coord_event *e);
void rmd_shell_run_pending(struct rmd_shell *s);
/* A new entry of the pending list, with its own arena. */
struct rmd_pending *rmd_shell_pend(struct rmd_shell *s, enum rmd_coord_event_kind kind);
void rmd_shell_submit(struct rmd_shell *s, struct rmd_batch *batch, uint64_t tag, struct rmd_request *request);
void rmd_shell_completions(struct rmd_shell *s);
/* Tells the core when the store stalls, and when it goes on. */
void rmd_shell_stalled(struct rmd_shell *s);
void rmd_shell_finish_request(struct rmd_shell *s, struct rmd_request *r);
/* Tells the core which sending day it is, when that changed. */
void rmd_shell_day(struct rmd_shell *s);
int rmd_shell_restore(struct rmd_shell *s, char *err, size_t err_n) RMD_CHECKED;

#endif
