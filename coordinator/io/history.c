/* History: see history.h. One lock for the list of segments and the buffer; readers map files and hold no lock while
 * they walk. */
#include "coordinator/io/history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/log.h>
#include <base/text.h>

#include "coordinator/io/history_segment.h"

struct rmd_history {
    struct rmd_history_options o;
    char *directory;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct rmd_segment *segment; /* the last one is open */
    size_t n_segments, cap_segments;
    int64_t oldest_wall_ms; /* of the first event in the open one */
    int fd;                 /* of the open one; -1: none could be made */
    uint64_t next, written;
    struct rmd_buf buffer, packed;
    uint64_t buffered;
    uint64_t dropped;
    char trouble[256];
};

static struct rmd_segment *open_segment(struct rmd_history *h) {
    return h->n_segments ? &h->segment[h->n_segments - 1] : NULL;
}

static void add_segment(struct rmd_history *h, struct rmd_segment s) {
    if (h->n_segments == h->cap_segments) {
        h->cap_segments = h->cap_segments ? h->cap_segments * 2 : 16;
        h->segment = rmd_realloc(h->segment, h->cap_segments * sizeof *h->segment);
    }
    h->segment[h->n_segments++] = s;
}

static int by_first(const void *a, const void *b) {
    const struct rmd_segment *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Opens the last segment for writing; what stands behind its last whole event (a torn tail, a write that failed half
 * way) is cut off. */
static int open_file(struct rmd_history *h) {
    char path[1024];
    struct rmd_segment *s = open_segment(h);
    rmd_segment_path(path, sizeof path, h->directory, s->first, "log");
    h->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (h->fd < 0)
        return RMD_EIO;
    if (ftruncate(h->fd, (off_t)s->bytes) == 0)
        return RMD_OK;
    int error = errno;
    close(h->fd);
    h->fd = -1;
    errno = error;
    return RMD_EIO;
}

static int64_t wall_ms_of(struct rmd_slice payload) {
    struct rmd_arena arena = {0};
    const Remuda__EventRecord *e = rmd_pb_decode(&remuda__event_record__descriptor, payload, &arena);
    int64_t wall_ms = e ? e->wall_ms : 0;
    rmd_arena_release(&arena);
    return wall_ms;
}

/* Counts the events of the last segment; what a crash left behind the last whole one is cut off when the file is
 * opened. */
static int mend_tail(struct rmd_history *h, struct rmd_segment *s) {
    struct rmd_segment_view v = rmd_segment_map(h->directory, s);
    if (!v.p && s->bytes)
        return RMD_EIO;
    size_t pos = 0;
    struct rmd_slice payload;
    for (s->n = 0; rmd_segment_next(&v, &pos, &payload); s->n++)
        if (s->n == 0)
            h->oldest_wall_ms = wall_ms_of(payload);
    rmd_segment_unmap(&v);
    if (pos != s->bytes)
        rmd_warn("history", "%" PRIu64 " bytes of unfinished events were cut off", s->bytes - pos);
    s->bytes = pos;
    return RMD_OK;
}

/* "0123456789abcdef.idx.Xa3b0Q": an index that a crash left before it got its name. */
static bool is_half_index(const char *name) {
    return strlen(name) == 27 && strspn(name, "0123456789abcdef") == 16 && strncmp(name + 16, ".idx.", 5) == 0;
}

static void list_segments(struct rmd_history *h, DIR *d) {
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint64_t first;
        char path[1024];
        struct stat st;
        if (is_half_index(e->d_name)) {
            (void)rmd_format(path, sizeof path, "%s/%s", h->directory, e->d_name);
            (void)unlink(path);
        }
        if (strlen(e->d_name) != 20 || !rmd_has_suffix(e->d_name, ".log") ||
            sscanf(e->d_name, "%16" SCNx64, &first) != 1)
            continue;
        rmd_segment_path(path, sizeof path, h->directory, first, "log");
        if (stat(path, &st) == 0)
            add_segment(h, (struct rmd_segment){.first = first,
                                                .bytes = (uint64_t)st.st_size,
                                                .newest_wall_ms = (int64_t)st.st_mtime * 1000});
    }
    if (h->n_segments)
        qsort(h->segment, h->n_segments, sizeof *h->segment, by_first);
    for (size_t i = 0; i + 1 < h->n_segments; i++)
        h->segment[i].n = h->segment[i + 1].first - h->segment[i].first;
}

static void remove_oldest(struct rmd_history *h) {
    char path[1024];
    rmd_segment_path(path, sizeof path, h->directory, h->segment[0].first, "log");
    unlink(path);
    rmd_segment_path(path, sizeof path, h->directory, h->segment[0].first, "idx");
    unlink(path);
    memmove(h->segment, h->segment + 1, --h->n_segments * sizeof *h->segment);
}

static void trim(struct rmd_history *h, int64_t now_wall_ms) {
    uint64_t total = 0;
    for (size_t i = 0; i < h->n_segments; i++)
        total += h->segment[i].bytes;
    while (h->n_segments > 1 &&
           (now_wall_ms - h->segment[0].newest_wall_ms > h->o.keep_ms || total > (uint64_t)h->o.max_bytes)) {
        total -= h->segment[0].bytes;
        remove_oldest(h);
    }
}

static struct rmd_history *new_history(const struct rmd_history_options *o) {
    struct rmd_history *h = rmd_alloc(sizeof *h);
    h->o = *o;
    if (h->o.segment_bytes <= 0)
        h->o.segment_bytes = RMD_HISTORY_SEGMENT_BYTES;
    h->directory = rmd_strdup(o->directory);
    h->o.directory = h->directory;
    h->fd = -1;
    h->buffer.limit = 2 * (size_t)RMD_HISTORY_BUFFER_BYTES;
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->more, &attr);
    pthread_condattr_destroy(&attr);
    return h;
}

static int open_last(struct rmd_history *h) {
    if (h->n_segments == 0)
        add_segment(h, (struct rmd_segment){.first = 1});
    struct rmd_segment *last = open_segment(h);
    if (mend_tail(h, last) < 0 || open_file(h) < 0)
        return RMD_EIO;
    h->next = h->written = last->first + last->n;
    trim(h, h->o.clock->now(h->o.clock->ctx).wall_ms);
    return RMD_OK;
}

int rmd_history_open(const struct rmd_history_options *o, struct rmd_history **out, char *err, size_t err_n) {
    DIR *d = NULL;
    if ((mkdir(o->directory, 0700) == 0 || errno == EEXIST))
        d = opendir(o->directory);
    if (!d) {
        (void)!rmd_format(err, err_n, "%s: %s", o->directory, strerror(errno));
        return RMD_EIO;
    }
    struct rmd_history *h = new_history(o);
    list_segments(h, d);
    closedir(d);
    if (open_last(h) < 0) {
        (void)!rmd_format(err, err_n, "%s: the newest segment can't be used: %s", o->directory, strerror(errno));
        rmd_history_close(h);
        return RMD_EIO;
    }
    *out = h;
    return RMD_OK;
}

void rmd_history_close(struct rmd_history *h) {
    if (!h)
        return;
    rmd_history_flush(h);
    if (h->fd >= 0)
        close(h->fd);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->more);
    rmd_buf_release(&h->buffer);
    rmd_buf_release(&h->packed);
    free(h->segment);
    free(h->directory);
    free(h);
}

/* ---- writing */

static bool is_full(const struct rmd_history *h, const struct rmd_segment *s, int64_t now_wall_ms) {
    return s->n && (s->bytes >= (uint64_t)h->o.segment_bytes || now_wall_ms - h->oldest_wall_ms >= h->o.keep_ms / 8);
}

/* The open segment is full. When the next one can't be made, each flush tries again. */
static void roll(struct rmd_history *h, int64_t now_wall_ms) {
    close(h->fd);
    add_segment(h, (struct rmd_segment){.first = h->written, .newest_wall_ms = now_wall_ms});
    (void)!open_file(h);
    trim(h, now_wall_ms);
}

static int write_all(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return RMD_EIO;
        p += w;
        n -= (size_t)w;
    }
    return RMD_OK;
}

static void drop_buffer(struct rmd_history *h) {
    int error = errno;
    if (h->fd >= 0) { /* open_file cuts off the part that was written */
        close(h->fd);
        h->fd = -1;
    }
    h->dropped += h->buffered;
    h->next = h->written;
    (void)!rmd_format(h->trouble, sizeof h->trouble, "%" PRIu64 " events could not be written to %s: %s", h->dropped,
                      h->directory, strerror(error));
    rmd_error("history", "%s", h->trouble);
}

/* Writes the whole buffer, or nothing of it counts. */
static void write_buffer(struct rmd_history *h) {
    if (h->buffer.len == 0)
        return;
    int64_t now = h->o.clock->now(h->o.clock->ctx).wall_ms;
    struct rmd_segment *s = open_segment(h);
    if ((h->fd >= 0 || open_file(h) == RMD_OK) && write_all(h->fd, h->buffer.p, h->buffer.len) == RMD_OK) {
        if (s->n == 0)
            h->oldest_wall_ms = now;
        s->bytes += h->buffer.len;
        s->n += h->buffered;
        s->newest_wall_ms = now;
        h->written = h->next;
        h->trouble[0] = 0;
        if (is_full(h, s, now))
            roll(h, now);
    } else {
        drop_buffer(h);
    }
    rmd_buf_clear(&h->buffer);
    h->buffered = 0;
    pthread_cond_broadcast(&h->more);
}

uint64_t rmd_history_append(struct rmd_history *h, const Remuda__EventRecord *e) {
    Remuda__EventRecord copy = *e;
    pthread_mutex_lock(&h->lock);
    copy.seq = h->next;
    rmd_buf_clear(&h->packed);
    rmd_pb_encode(&copy, &h->packed);
    if (h->packed.len <= RMD_HISTORY_EVENT_BYTES_MAX) {
        rmd_segment_frame(&h->buffer, rmd_buf_slice(&h->packed));
        h->next++;
        h->buffered++;
        if (h->buffer.len >= RMD_HISTORY_BUFFER_BYTES)
            write_buffer(h);
    } else {
        copy.seq = 0;
        h->dropped++;
        rmd_error("history", "an event \"%.64s\" of %zu bytes is over the limit of %d and was dropped", e->type,
                  h->packed.len, RMD_HISTORY_EVENT_BYTES_MAX);
    }
    pthread_mutex_unlock(&h->lock);
    return copy.seq;
}

void rmd_history_flush(struct rmd_history *h) {
    pthread_mutex_lock(&h->lock);
    write_buffer(h);
    pthread_mutex_unlock(&h->lock);
}

bool rmd_history_trouble(struct rmd_history *h, char *out, size_t n) {
    pthread_mutex_lock(&h->lock);
    bool trouble = h->trouble[0] != 0;
    (void)!rmd_copy(out, n, h->trouble);
    pthread_mutex_unlock(&h->lock);
    return trouble;
}

uint64_t rmd_history_last(struct rmd_history *h) {
    pthread_mutex_lock(&h->lock);
    uint64_t last = h->written - 1;
    pthread_mutex_unlock(&h->lock);
    return last;
}

bool rmd_history_wait(struct rmd_history *h, uint64_t after, int64_t wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&h->lock);
    int rc = 0;
    while (h->written - 1 <= after && rc == 0)
        rc = pthread_cond_timedwait(&h->more, &h->lock, &until);
    bool there = h->written - 1 > after;
    pthread_mutex_unlock(&h->lock);
    return there;
}

/* ---- reading */

struct walk {
    const struct rmd_history_filter *f;
    const struct rmd_segment_view *view;
    struct rmd_arena arena;
    size_t left;
    uint64_t seen;
    bool stopped;
    bool (*fn)(void *ctx, const Remuda__EventRecord *e);
    void *ctx;
};

static bool same_id(const ProtobufCBinaryData *b, const struct rmd_id *id) {
    return !id || (b->len == sizeof id->b && memcmp(b->data, id->b, sizeof id->b) == 0);
}

static bool same_type(const char *type, const char *want) {
    if (!want)
        return true;
    size_t n = strlen(want);
    return n && want[n - 1] == '.' ? strncmp(type, want, n) == 0 : strcmp(type, want) == 0;
}

/* Shows one event to the caller when the filter lets it through; false to stop. */
static bool show(struct walk *w, struct rmd_slice payload) {
    rmd_arena_reset(&w->arena);
    const Remuda__EventRecord *e = rmd_pb_decode(&remuda__event_record__descriptor, payload, &w->arena);
    if (!e || e->seq <= w->f->after)
        return true;
    w->seen = e->seq;
    if (!same_type(e->type, w->f->type) || !same_id(&e->campaign, w->f->campaign) ||
        !same_id(&e->message, w->f->message) || (w->f->address_hash && e->address_hash != w->f->address_hash))
        return true;
    if (!w->fn(w->ctx, e) || --w->left == 0)
        w->stopped = true;
    return !w->stopped;
}

static bool at_offset(void *ctx, size_t offset) {
    struct walk *w = ctx;
    struct rmd_slice payload;
    return !rmd_segment_next(w->view, &offset, &payload) || show(w, payload);
}

static void walk_segment(struct rmd_history *h, struct walk *w, const struct rmd_segment *s, bool closed) {
    struct rmd_segment_view v = rmd_segment_map(h->directory, s);
    w->view = &v;
    if (!closed || !w->f->address_hash ||
        !rmd_segment_index_find(h->directory, s, w->f->address_hash, at_offset, w)) {
        size_t pos = 0;
        struct rmd_slice payload;
        for (uint64_t seq = s->first; rmd_segment_next(&v, &pos, &payload); seq++)
            if (seq > w->f->after && !show(w, payload))
                break;
    }
    if (!w->stopped && s->n && s->first + s->n - 1 > w->seen)
        w->seen = s->first + s->n - 1;
    rmd_segment_unmap(&v);
}

/* A copy of the list, so that the walk holds no lock. */
static struct rmd_segment *copy_segments(struct rmd_history *h, size_t *n) {
    pthread_mutex_lock(&h->lock);
    *n = h->n_segments;
    struct rmd_segment *s = rmd_memdup(h->segment, *n * sizeof *s);
    pthread_mutex_unlock(&h->lock);
    return s;
}

uint64_t rmd_history_read(struct rmd_history *h, const struct rmd_history_filter *f, size_t limit,
                          bool (*fn)(void *ctx, const Remuda__EventRecord *e), void *ctx) {
    struct walk w = {.f = f, .left = limit, .seen = f->after, .fn = fn, .ctx = ctx};
    size_t n;
    struct rmd_segment *s = copy_segments(h, &n);
    for (size_t i = 0; i < n && limit && !w.stopped; i++)
        if (s[i].first + s[i].n > f->after + 1)
            walk_segment(h, &w, &s[i], i + 1 < n);
    free(s);
    rmd_arena_release(&w.arena);
    return w.seen;
}

/* The last n numbers seen, in a ring. */
struct ring {
    uint64_t *seq;
    size_t n;
    uint64_t count;
};

static bool note_seq(void *ctx, const Remuda__EventRecord *e) {
    struct ring *r = ctx;
    r->seq[r->count++ % r->n] = e->seq;
    return true;
}

/* From the newest segment backwards, so that few of them are read. */
uint64_t rmd_history_back(struct rmd_history *h, const struct rmd_history_filter *f, size_t n) {
    if (n > RMD_HISTORY_BACK_MAX)
        n = RMD_HISTORY_BACK_MAX;
    size_t segments;
    struct rmd_segment *s = copy_segments(h, &segments);
    struct ring r = {.seq = rmd_alloc((n + 1) * sizeof *r.seq)};
    uint64_t after = f->after;
    for (size_t i = segments; i > 0 && n && s[i - 1].first + s[i - 1].n > f->after + 1; i--) {
        struct walk w = {.f = f, .left = SIZE_MAX, .seen = f->after, .fn = note_seq, .ctx = &r};
        r.n = n;
        r.count = 0;
        walk_segment(h, &w, &s[i - 1], i < segments);
        rmd_arena_release(&w.arena);
        if (r.count >= n) {
            after = r.seq[r.count % n] - 1;
            break;
        }
        n -= (size_t)r.count;
    }
    free(r.seq);
    free(s);
    return after;
}
