/* The coordinator's loop, and the way in for other threads. See shell.h. */
#include "coordinator/io/shell.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "coordinator/io/sending_day.h"
#include "coordinator/io/shell_internal.h"
#include <base/log.h>

/* ---- requests of other threads */

static void wake(struct rmd_shell *s) {
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof one);
    (void)n; /* a full counter wakes as well */
}

static void unref(struct rmd_request *r) {
    if (--r->refs > 0)
        return;
    pthread_cond_destroy(&r->cond);
    free(r);
}

static struct rmd_request *request_new(int kind) {
    struct rmd_request *r = rmd_alloc(sizeof *r);
    r->kind = kind;
    r->refs = 2;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->cond, &attr);
    pthread_condattr_destroy(&attr);
    return r;
}

/* The loop's side lets go: the answer stands in the request. */
void rmd_shell_finish_request(struct rmd_shell *s, struct rmd_request *r) {
    pthread_mutex_lock(&s->lock);
    r->done = true;
    pthread_cond_signal(&r->cond);
    unref(r);
    pthread_mutex_unlock(&s->lock);
}

static void deadline_in(struct timespec *ts, int64_t ms) {
    clock_gettime(CLOCK_MONOTONIC, ts);
    ts->tv_sec += ms / 1000;
    ts->tv_nsec += (ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
}

/* Queues and waits; wait_ms < 0: without limit. The command's arguments are the caller's, so the wait lasts at least
 * until it was taken. */
static int request_run(struct rmd_shell *s, struct rmd_request *r, int64_t wait_ms, struct rmd_shell_reply *out) {
    struct timespec until = {0};
    if (wait_ms >= 0)
        deadline_in(&until, wait_ms);
    pthread_mutex_lock(&s->lock);
    if (s->closed) {
        r->refs = 1;
        rmd_batch_release(&r->batch);
        unref(r);
        pthread_mutex_unlock(&s->lock);
        return RMD_ECLOSED;
    }
    rmd_list_push(&s->requests, &r->link);
    wake(s);
    int rc = 0;
    while (!r->done) {
        if (wait_ms < 0 || (r->kind == REQUEST_COMMAND && !r->taken))
            pthread_cond_wait(&r->cond, &s->lock);
        else if (rc == ETIMEDOUT)
            break;
        else
            rc = pthread_cond_timedwait(&r->cond, &s->lock, &until);
    }
    int error = r->done ? RMD_OK : RMD_ETIMEOUT;
    if (out && r->done)
        *out = r->reply;
    unref(r);
    pthread_mutex_unlock(&s->lock);
    return error;
}

int rmd_shell_call(struct rmd_shell *s, void (*fn)(void *ctx, struct rmd_coord *core, struct rmd_time now),
                   void *ctx) {
    struct rmd_request *r = request_new(REQUEST_CALL);
    r->fn = fn;
    r->ctx = ctx;
    struct rmd_shell_reply reply;
    int rc = request_run(s, r, -1, &reply);
    return rc < 0 ? rc : reply.error;
}

int rmd_shell_command(struct rmd_shell *s, const struct rmd_command *cmd, int64_t wait_ms,
                      struct rmd_shell_reply *out) {
    struct rmd_request *r = request_new(REQUEST_COMMAND);
    r->command = cmd;
    *out = (struct rmd_shell_reply){0};
    return request_run(s, r, wait_ms, out);
}

int rmd_shell_commit(struct rmd_shell *s, struct rmd_batch *batch) {
    struct rmd_request *r = request_new(REQUEST_COMMIT);
    r->batch = *batch;
    *batch = (struct rmd_batch){0};
    struct rmd_shell_reply reply;
    int rc = request_run(s, r, -1, &reply);
    return rc < 0 ? rc : reply.error;
}

static void serve_command(struct rmd_shell *s, struct rmd_request *r) {
    struct rmd_command c = *r->command;
    c.token = s->next_token++;
    rmd_map_set_u64(&s->commands, c.token, r);
    rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_COMMAND, .command = &c});
    /* The core has copied what it needs; r may be answered already, but the map's reference or the waiter's keeps it
     * alive. */
    pthread_mutex_lock(&s->lock);
    if (rmd_map_get_u64(&s->commands, c.token)) {
        r->taken = true;
        pthread_cond_signal(&r->cond);
    }
    pthread_mutex_unlock(&s->lock);
}

static void serve_requests(struct rmd_shell *s) {
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct rmd_request *r = NULL;
        if (!rmd_list_empty(&s->requests)) {
            r = rmd_container(s->requests.next, struct rmd_request, link);
            rmd_list_remove(&r->link);
        }
        pthread_mutex_unlock(&s->lock);
        if (!r || s->failed)
            return;
        switch (r->kind) {
        case REQUEST_CALL:
            r->fn(r->ctx, s->core, s->o.clock->now(s->o.clock->ctx));
            rmd_shell_finish_request(s, r);
            break;
        case REQUEST_COMMAND:
            serve_command(s, r);
            break;
        case REQUEST_COMMIT:
            rmd_shell_submit(s, &r->batch, 0, r);
            break;
        }
        rmd_shell_run_pending(s);
    }
}

/* ---- the loop */

void rmd_shell_day(struct rmd_shell *s) {
    int64_t now = s->o.clock->now(s->o.clock->ctx).wall_ms;
    if (now >= s->day.start_wall_ms && now < s->day.end_wall_ms)
        return;
    rmd_sending_day_at(now, s->o.day_starts_ms, &s->day);
    rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_DAY, .day = s->day});
    rmd_shell_run_pending(s);
}

/* true: more may wait; ZeroMQ's descriptor tells of it only once. */
static bool serve_frames(struct rmd_shell *s) {
    for (int i = 0; i < RMD_SHELL_FRAMES_A_TURN && !s->failed; i++) {
        struct rmd_peer peer;
        struct rmd_slice bytes;
        int rc = rmd_bus_server_recv(s->bus, &peer, &bytes);
        if (rc == RMD_EAGAIN)
            return false;
        struct rmd_coord_event e = {.kind = RMD_CE_MALFORMED, .peer = {.session = peer.session}};
        memcpy(e.peer.key, peer.key, sizeof peer.key);
        Remuda__Frame *frame = NULL;
        rmd_arena_reset(&s->frames);
        if (rc == RMD_OK && rmd_frame_decode(bytes, &s->frames, &frame) == RMD_OK) {
            e.kind = RMD_CE_FRAME;
            e.frame = frame;
        }
        rmd_shell_step(s, &e);
        rmd_shell_run_pending(s);
    }
    return true;
}

static int wait_ms(const struct rmd_shell *s, int64_t dns_at) {
    int64_t now = s->o.clock->now(s->o.clock->ctx).mono_ms, until = rmd_coord_deadline(s->core);
    if (dns_at < until)
        until = dns_at;
    if (until <= now || s->n_pending || s->more_frames)
        return 0;
    return until - now > 1000 ? 1000 : (int)(until - now);
}

/* Serves what is ready, and nothing else: every look at a descriptor is a system call, and of the bus's several. */
static void turn(struct rmd_shell *s) {
    int64_t dns_at = rmd_dns_cares_deadline(s->dns);
    struct pollfd fd[4] = {{.fd = s->wake_fd, .events = POLLIN},
                           {.fd = rmd_bus_server_fd(s->bus), .events = POLLIN},
                           {.fd = rmd_dns_cares_fd(s->dns), .events = POLLIN},
                           {.fd = s->o.store.ops->poll_fd(s->o.store.s), .events = POLLIN}};
    poll(fd, 4, wait_ms(s, dns_at));
    if (fd[0].revents) {
        uint64_t count;
        ssize_t n = read(s->wake_fd, &count, sizeof count);
        (void)n;
    }
    if (fd[3].revents)
        rmd_shell_completions(s);
    rmd_shell_stalled(s);
    serve_requests(s);
    if (fd[1].revents || s->more_frames)
        s->more_frames = serve_frames(s);
    if (fd[2].revents || rmd_shell_now(s).mono_ms >= dns_at)
        rmd_dns_cares_process(s->dns);
    rmd_shell_run_pending(s);
    if (!s->failed)
        rmd_shell_day(s);
    if (!s->failed && rmd_coord_deadline(s->core) <= s->o.clock->now(s->o.clock->ctx).mono_ms) {
        rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_TICK});
        rmd_shell_run_pending(s);
    }
    rmd_history_flush(s->o.history);
}

/* Whoever still waits learns that the coordinator ends; what was durable is done all the same. */
static void refuse_all(struct rmd_shell *s) {
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_mutex_unlock(&s->lock);
    rmd_list_for_safe(it, &s->requests) {
        struct rmd_request *r = rmd_container(it, struct rmd_request, link);
        rmd_list_remove(it);
        r->reply.error = RMD_ECLOSED;
        rmd_batch_release(&r->batch);
        rmd_shell_finish_request(s, r);
    }
    uint32_t at = 0;
    void *r;
    while (rmd_map_next(&s->commands, &at, NULL, &r)) {
        ((struct rmd_request *)r)->reply.error = RMD_ECLOSED;
        rmd_shell_finish_request(s, r);
    }
    rmd_map_release(&s->commands);
    for (size_t i = 0; i < s->waiting_n; i++) {
        struct rmd_request *w = s->waiting[(s->waiting_from + i) % s->waiting_cap].request;
        if (w) {
            w->reply.error = RMD_ECLOSED;
            rmd_shell_finish_request(s, w);
        }
    }
    s->waiting_n = 0;
}

int rmd_shell_run(struct rmd_shell *s) {
    while (!atomic_load(&s->stopping) && !s->failed)
        turn(s);
    refuse_all(s);
    return s->failed;
}

void rmd_shell_stop(struct rmd_shell *s) {
    atomic_store(&s->stopping, true);
    wake(s);
}

/* ---- life cycle */

static bool allowed(void *ctx, const uint8_t key[RMD_KEY_BYTES]) {
    struct rmd_shell *s = ctx;
    pthread_mutex_lock(&s->keys_lock);
    bool on = rmd_map_get(&s->keys, rmd_slice(key, RMD_KEY_BYTES)) != NULL;
    pthread_mutex_unlock(&s->keys_lock);
    return on;
}

int rmd_shell_open(const struct rmd_shell_options *o, struct rmd_shell **out, char *err, size_t err_n) {
    struct rmd_shell *s = rmd_alloc(sizeof *s);
    *out = NULL;
    s->o = *o;
    s->next_token = 1;
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->keys_lock, NULL);
    rmd_list_init(&s->requests);
    rmd_list_init(&s->pending);
    s->started = o->clock->now(o->clock->ctx);
    s->o.bus.allow = allowed;
    s->o.bus.allow_ctx = s;
    s->o.dns.clock = o->clock;
    int rc = s->wake_fd < 0 ? RMD_EIO : RMD_OK;
    if (rc == RMD_OK)
        rc = rmd_dns_cares_open(&s->o.dns, &s->dns, err, err_n);
    if (rc == RMD_OK)
        rc = rmd_bus_server_open(&s->o.bus, &s->bus, err, err_n);
    if (rc == RMD_OK)
        rc = rmd_shell_restore(s, err, err_n);
    if (rc < 0) {
        rmd_shell_close(s);
        return rc;
    }
    *out = s;
    return RMD_OK;
}

void rmd_shell_close(struct rmd_shell *s) {
    if (!s)
        return;
    refuse_all(s);
    if (s->bus)
        rmd_bus_server_close(s->bus);
    if (s->dns)
        rmd_dns_cares_close(s->dns);
    if (s->core)
        rmd_coord_free(s->core);
    rmd_list_for_safe(it, &s->pending) {
        struct rmd_pending *p = rmd_container(it, struct rmd_pending, link);
        rmd_arena_release(&p->arena);
        free(p);
    }
    s->o.store.ops->close(s->o.store.s);
    rmd_coord_effects_release(&s->effects);
    rmd_map_release(&s->keys);
    rmd_arena_release(&s->frames);
    rmd_arena_release(&s->rows);
    rmd_buf_release(&s->frame_out);
    free(s->waiting);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->keys_lock);
    free(s);
}

const struct rmd_store *rmd_shell_store(const struct rmd_shell *s) {
    return &s->o.store;
}
struct rmd_history *rmd_shell_history(const struct rmd_shell *s) {
    return s->o.history;
}
struct rmd_time rmd_shell_now(const struct rmd_shell *s) {
    return s->o.clock->now(s->o.clock->ctx);
}
int64_t rmd_shell_started_mono_ms(const struct rmd_shell *s) {
    return s->started.mono_ms;
}
uint64_t rmd_shell_refused_connections(const struct rmd_shell *s) {
    return rmd_bus_server_refused(s->bus);
}
