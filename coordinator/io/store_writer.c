/* Group commit for the durable stores; the contract is in store_writer.h.
 *
 * The thread detaches a group from the queue, commits it without the lock, then puts the decided prefix on the list
 * of completions. A group that is not wholly decided is kept by the thread and nothing is added to it: what was sent
 * once and is in doubt must be told apart from what came later. */
#include "coordinator/io/store_writer.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <base/buf.h>
#include <base/log.h>
#include <base/text.h>

enum { WRITE_OVERHEAD_BYTES = sizeof(struct rmd_write) };

static void write_free(struct rmd_write *w) {
    rmd_batch_release(&w->batch);
    free(w);
}

static void chain_free(struct rmd_write *w) {
    while (w) {
        struct rmd_write *next = w->next;
        write_free(w);
        w = next;
    }
}

/* Under the lock: detaches the next group. */
static struct rmd_write *take_group(struct rmd_writer *w) {
    struct rmd_write *group = w->queue, *last = group;
    size_t bytes = last->bytes;
    for (size_t n = 1; last->next && n < RMD_WRITER_GROUP_BATCHES; n++) {
        if (bytes + last->next->bytes > RMD_WRITER_GROUP_BYTES)
            break;
        last = last->next;
        bytes += last->bytes;
    }
    w->queue = last->next;
    if (!w->queue)
        w->queue_end = &w->queue;
    last->next = NULL;
    return group;
}

/* Hands the decided prefix over to poll(); returns what is left of the group. */
static struct rmd_write *complete_prefix(struct rmd_writer *w, struct rmd_write *group) {
    struct rmd_write *last = NULL, *rest = group;
    size_t bytes = 0;
    for (; rest && rest->decided; last = rest, rest = rest->next) {
        rmd_batch_release(&rest->batch);
        bytes += rest->bytes;
    }
    if (!last)
        return rest;
    last->next = NULL;
    pthread_mutex_lock(&w->lock);
    bool passed = !rest && w->is_stalled;
    if (passed)
        w->is_stalled = false; /* before anybody sees the completions */
    *w->done_end = group;
    w->done_end = &last->next;
    w->queued_bytes -= bytes;
    uint64_t one = 1;
    /* Fails only when the counter would overflow, and then it is readable anyway. */
    ssize_t ignored = write(w->fd, &one, sizeof one);
    (void)ignored;
    pthread_mutex_unlock(&w->lock);
    if (passed)
        rmd_info(w->subject, "writing goes on");
    return rest;
}

static void stall_set(struct rmd_writer *w, const char *why) {
    pthread_mutex_lock(&w->lock);
    bool news = !w->is_stalled || strcmp(w->stall, why) != 0;
    w->is_stalled = true;
    rmd_copy(w->stall, sizeof w->stall, why);
    pthread_mutex_unlock(&w->lock);
    if (news)
        rmd_error(w->subject, "writing has stopped, and is tried again until it works: %s", why);
}

/* Waits for the next try; false when the store is being closed. */
static bool back_off(struct rmd_writer *w, int ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->lock);
    while (!w->closing && pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
        ;
    bool go_on = !w->closing;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

/* Commits one group, however long it takes; false when it was given up because the store is being closed. */
static bool commit_group(struct rmd_writer *w, struct rmd_write *group) {
    char why[RMD_WRITER_TEXT_MAX];
    for (int wait_ms = RMD_WRITER_BACKOFF_MS;;) {
        why[0] = 0;
        int rc = w->backend->commit(w->ctx, group, why, sizeof why);
        group = complete_prefix(w, group);
        if (!group)
            return true;
        stall_set(w, why[0] ? why : rmd_error_text(rc));
        if (!back_off(w, wait_ms)) {
            chain_free(group);
            return false;
        }
        wait_ms = wait_ms * 2 < RMD_WRITER_BACKOFF_MAX_MS ? wait_ms * 2 : RMD_WRITER_BACKOFF_MAX_MS;
    }
}

static void *writer_main(void *arg) {
    struct rmd_writer *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (!w->queue && !w->closing)
            pthread_cond_wait(&w->wake, &w->lock);
        struct rmd_write *group = w->queue ? take_group(w) : NULL;
        pthread_mutex_unlock(&w->lock);
        if (!group || !commit_group(w, group))
            return NULL;
    }
}

int rmd_writer_start(struct rmd_writer *w, const struct rmd_writer_backend *backend, void *ctx, const char *subject,
                     uint64_t last_seq) {
    *w = (struct rmd_writer){.backend = backend, .ctx = ctx, .subject = subject, .last_submitted = last_seq};
    w->queue_end = &w->queue;
    w->done_end = &w->done;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0)
        return RMD_EIO;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&w->thread, NULL, writer_main, w)) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        close(w->fd);
        return RMD_EIO;
    }
    return RMD_OK;
}

void rmd_writer_stop(struct rmd_writer *w) {
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    chain_free(w->queue);
    chain_free(w->done);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    close(w->fd);
}

int rmd_writer_submit(struct rmd_writer *w, struct rmd_batch *batch, uint64_t epoch, uint64_t seq) {
    struct rmd_write *write = rmd_alloc(sizeof *write);
    write->batch = *batch;
    write->epoch = epoch;
    write->seq = seq;
    write->bytes = batch->cap + WRITE_OVERHEAD_BYTES;
    *batch = (struct rmd_batch){0};
    int rc = write->batch.error ? write->batch.error : rmd_batch_check(&write->batch);
    pthread_mutex_lock(&w->lock);
    /* A number further ahead is a gap in what the caller believes to be stored. */
    if (!rc && (seq == 0 || seq > w->last_submitted + 1))
        rc = RMD_EINVAL;
    if (!rc && w->queued_bytes + write->bytes > RMD_STORE_QUEUE_MAX)
        rc = RMD_ELIMIT;
    if (!rc) {
        *w->queue_end = write;
        w->queue_end = &write->next;
        w->queued_bytes += write->bytes;
        if (seq > w->last_submitted)
            w->last_submitted = seq;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    if (rc)
        write_free(write);
    return rc;
}

int rmd_writer_poll(struct rmd_writer *w, struct rmd_completion *out, int max) {
    int n = 0;
    pthread_mutex_lock(&w->lock);
    while (n < max && w->done) {
        struct rmd_write *write = w->done;
        w->done = write->next;
        if (!w->done)
            w->done_end = &w->done;
        out[n++] = (struct rmd_completion){.seq = write->seq, .error = write->error};
        write_free(write);
    }
    if (!w->done) {
        uint64_t count;
        ssize_t ignored = read(w->fd, &count, sizeof count); /* EAGAIN: was not readable */
        (void)ignored;
    }
    pthread_mutex_unlock(&w->lock);
    return n;
}

const char *rmd_writer_stalled(struct rmd_writer *w) {
    pthread_mutex_lock(&w->lock);
    bool is_stalled = w->is_stalled;
    if (is_stalled)
        memcpy(w->stall_shown, w->stall, sizeof w->stall_shown);
    pthread_mutex_unlock(&w->lock);
    return is_stalled ? w->stall_shown : NULL;
}

size_t rmd_writer_sort(struct rmd_write *group, uint64_t epoch, uint64_t last_seq, int fail_fast_error,
                       uint64_t *new_last) {
    size_t included = 0;
    *new_last = last_seq;
    for (struct rmd_write *w = group; w; w = w->next) {
        if (w->decided)
            continue;
        if (w->epoch != epoch) {
            rmd_write_decide(w, RMD_EFENCED);
        } else if (w->seq <= last_seq) {
            rmd_write_decide(w, RMD_OK);
        } else if (w->batch.fail_fast && fail_fast_error && w->seq > *new_last) {
            rmd_write_decide(w, fail_fast_error);
        } else {
            w->included = true;
            w->repeat = w->seq <= *new_last;
            included++;
            if (!w->repeat)
                *new_last = w->seq;
        }
    }
    return included;
}

void rmd_writer_decide(struct rmd_write *group, int error) {
    for (struct rmd_write *w = group; w; w = w->next) {
        if (w->included)
            rmd_write_decide(w, error);
    }
}
