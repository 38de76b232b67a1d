/* Files of the history: see history_segment.h. */
#include "coordinator/io/history_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

void rmd_segment_path(char *out, size_t n, const char *directory, uint64_t first, const char *suffix) {
    (void)!rmd_format(out, n, "%s/%016llx.%s", directory, (unsigned long long)first, suffix);
}

static struct rmd_segment_view map_file(const char *path, uint64_t bytes) {
    struct rmd_segment_view v = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        size_t n = (uint64_t)st.st_size < bytes ? (size_t)st.st_size : (size_t)bytes;
        void *p = n ? mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        if (p != MAP_FAILED)
            v = (struct rmd_segment_view){.p = p, .n = n};
    }
    if (fd >= 0)
        close(fd);
    return v;
}

struct rmd_segment_view rmd_segment_map(const char *directory, const struct rmd_segment *s) {
    char path[1024];
    rmd_segment_path(path, sizeof path, directory, s->first, "log");
    return map_file(path, s->bytes);
}

void rmd_segment_unmap(struct rmd_segment_view *v) {
    if (v->p)
        munmap((void *)(uintptr_t)v->p, v->n);
    *v = (struct rmd_segment_view){0};
}

bool rmd_segment_next(const struct rmd_segment_view *v, size_t *pos, struct rmd_slice *payload) {
    uint32_t head[2];
    if (*pos > v->n || v->n - *pos < sizeof head) /* an index may say anything */
        return false;
    memcpy(head, v->p + *pos, sizeof head);
    if (head[0] == 0 || head[0] > RMD_HISTORY_EVENT_BYTES_MAX || head[0] > v->n - *pos - sizeof head)
        return false;
    *payload = rmd_slice(v->p + *pos + sizeof head, head[0]);
    if (rmd_fnv32(*payload) != head[1])
        return false;
    *pos += sizeof head + head[0];
    return true;
}

void rmd_segment_frame(struct rmd_buf *out, struct rmd_slice payload) {
    uint32_t head[2] = {(uint32_t)payload.n, rmd_fnv32(payload)};
    rmd_buf_add(out, head, sizeof head);
    rmd_buf_add(out, payload.p, payload.n);
}

/* ---- index */

struct entry {
    uint64_t hash;
    uint64_t offset;
};

static int by_hash(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Several threads may want the same index at once: each writes a file of its own, the last name stays. Synced before
 * it gets its name, so that a host's crash can't leave half an index that looks whole. */
static int write_file(const char *path, const void *p, size_t n) {
    char tmp[1040];
    if (rmd_format(tmp, sizeof tmp, "%s.XXXXXX", path) < 0)
        return RMD_ELIMIT;
    int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return RMD_EIO;
    bool good = write(fd, p, n) == (ssize_t)n && fdatasync(fd) == 0;
    good = close(fd) == 0 && good;
    if (!good || rename(tmp, path) != 0) {
        unlink(tmp);
        return RMD_EIO;
    }
    return RMD_OK;
}

static void collect_entries(const struct rmd_segment_view *v, struct rmd_buf *entries) {
    struct rmd_arena arena = {0};
    size_t pos = 0, at = 0;
    struct rmd_slice payload;
    for (; rmd_segment_next(v, &pos, &payload); at = pos) {
        const Remuda__EventRecord *e = rmd_pb_decode(&remuda__event_record__descriptor, payload, &arena);
        if (e && e->address_hash)
            rmd_buf_add(entries, &(struct entry){.hash = e->address_hash, .offset = at}, sizeof(struct entry));
        rmd_arena_reset(&arena);
    }
    rmd_arena_release(&arena);
    if (entries->len)
        qsort(entries->p, entries->len / sizeof(struct entry), sizeof(struct entry), by_hash);
}

int rmd_segment_index_write(const char *directory, const struct rmd_segment *s) {
    struct rmd_segment_view v = rmd_segment_map(directory, s);
    if (!v.p)
        return RMD_EIO; /* trimmed a moment ago */
    struct rmd_buf entries = {.limit = (size_t)s->bytes};
    collect_entries(&v, &entries);
    rmd_segment_unmap(&v);
    char path[1024];
    rmd_segment_path(path, sizeof path, directory, s->first, "idx");
    int rc = write_file(path, entries.p ? entries.p : (const uint8_t *)"", entries.len);
    rmd_buf_release(&entries);
    return rc;
}

bool rmd_segment_index_find(const char *directory, const struct rmd_segment *s, uint64_t address_hash,
                            bool (*fn)(void *ctx, size_t offset), void *ctx) {
    char path[1024];
    rmd_segment_path(path, sizeof path, directory, s->first, "idx");
    if (access(path, R_OK) != 0 && rmd_segment_index_write(directory, s) < 0)
        return false;
    struct rmd_segment_view v = map_file(path, UINT64_MAX);
    const struct entry *e = (const void *)v.p;
    size_t lo = 0, hi = v.n / sizeof *e, n = hi;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e[mid].hash < address_hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo < n && e[lo].hash == address_hash && fn(ctx, e[lo].offset))
        lo++;
    rmd_segment_unmap(&v);
    return true;
}
