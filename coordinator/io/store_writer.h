/* The writing half that the durable stores share: a queue of batches, one thread that commits them in groups, and the
 * completions on their way back.
 *
 * The backend gives one function, commit(), which runs on the writer's thread and *decides* every batch of the group
 * it gets: sets `decided` and `error`. When it can't decide all of them now it answers an error and the reason; the
 * rest stays at the head and is tried again, after 100 ms, doubling up to 5 s. Completions leave in order of
 * submission: a batch that is decided behind one that isn't waits for it.
 *
 * Owns the submitted batches until they are decided, an eventfd that is readable while completions wait, and the text
 * of stalled(). Errors: enum rmd_error. Times in milliseconds. */
#ifndef REMUDA_STORE_WRITER_H
#define REMUDA_STORE_WRITER_H

#include <pthread.h>

#include <remuda/store.h>

enum {
    RMD_WRITER_GROUP_BYTES = 8 << 20, /* a group takes no further batch once it holds this much */
    RMD_WRITER_GROUP_BATCHES = 4096,
    RMD_WRITER_TEXT_MAX = 512,
    RMD_WRITER_BACKOFF_MS = 100,
    RMD_WRITER_BACKOFF_MAX_MS = 5000,
};

/* One batch on its way. */
struct rmd_write {
    struct rmd_write *next;
    struct rmd_batch batch;
    uint64_t epoch, seq;
    size_t bytes; /* what it counts for in the queue's limit */
    int error;
    bool decided;
    bool included; /* rmd_writer_sort(): is decided by the outcome of the commit under way */
    bool repeat;   /* rmd_writer_sort(): included, but its operations are those of an earlier batch of the group */
    bool in_doubt; /* the backend's note: a commit of it was sent and its outcome isn't known */
};

struct rmd_writer_backend {
    /* group: a chain by `next`, never empty; decided batches in it are skipped. why: the reason, for the operator. */
    int (*commit)(void *ctx, struct rmd_write *group, char *why, size_t why_n);
};

struct rmd_writer {
    const struct rmd_writer_backend *backend;
    void *ctx;
    const char *subject; /* of log lines */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct rmd_write *queue, **queue_end;
    struct rmd_write *done, **done_end;
    size_t queued_bytes;
    uint64_t last_submitted;
    int fd;
    bool closing, is_stalled;
    char stall[RMD_WRITER_TEXT_MAX];
    char stall_shown[RMD_WRITER_TEXT_MAX]; /* what stalled() handed out: the caller's thread only */
};

/* last_seq: the store's last committed number. subject: static text. Starts the thread. */
int rmd_writer_start(struct rmd_writer *w, const struct rmd_writer_backend *backend, void *ctx, const char *subject,
                     uint64_t last_seq) RMD_CHECKED;
/* Commits what can be committed, gives up at the first failure, ends the thread and frees everything. */
void rmd_writer_stop(struct rmd_writer *w);

/* As in struct rmd_store_ops. */
int rmd_writer_submit(struct rmd_writer *w, struct rmd_batch *batch, uint64_t epoch, uint64_t seq) RMD_CHECKED;
int rmd_writer_poll(struct rmd_writer *w, struct rmd_completion *out, int max);
const char *rmd_writer_stalled(struct rmd_writer *w);

/* For commit(): sorts the group's undecided batches out against what the store holds. Decides the fenced ones and the
 * repeats of committed numbers, decides fail_fast ones with fail_fast_error unless that is RMD_OK, and marks the rest
 * as included. Returns how many are included, and in *new_last the number to store with them. */
size_t rmd_writer_sort(struct rmd_write *group, uint64_t epoch, uint64_t last_seq, int fail_fast_error,
                       uint64_t *new_last);
/* Decides every included batch of the group. */
void rmd_writer_decide(struct rmd_write *group, int error);
static inline void rmd_write_decide(struct rmd_write *w, int error) {
    w->decided = true;
    w->error = error;
    w->included = false;
}

#endif
