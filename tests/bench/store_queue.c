/* Measures a queue on the RocksDB store that is filled and drained again and again: what it costs to read its head.
 *
 *     store_queue [entries [rounds]]            (1,000,000 and 10; 32-byte keys, 40-byte values, in /tmp or $TMPDIR)
 *
 * A log-structured store leaves a tombstone for each removed entry; a scan that has to walk them grows slower with
 * every round. Each round prints the time of a scan of 1,000 entries at the head, from the queue's first possible key
 * (no cursor: the worst case) and from a cursor, as mean and worst; the last line compares the last round with the
 * first. Exits with 1 when the mean from the cursor has grown to more than three times what it was. */
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "coordinator/io/store_rocks.h"

#include <base/text.h>

enum { KEY_BYTES = 32, VALUE_BYTES = 40, CHUNK = 1000, GROWTH_MAX = 3 };

struct queue {
    struct rmd_store store;
    uint64_t epoch, seq;
    uint8_t head[KEY_BYTES], found[CHUNK][KEY_BYTES];
    size_t found_n;
};

struct times {
    int64_t sum_us, max_us, n;
};

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what) {
    fprintf(stderr, "store_queue: %s\n", what);
    exit(1);
}

static void make_key(uint8_t key[KEY_BYTES], uint64_t entry) {
    memset(key, 0, KEY_BYTES);
    key[0] = 'q';
    rmd_put_be64(key + 1, entry);
    rmd_put_be64(key + 16, rmd_mix64(entry));
}

static void commit(struct queue *q, struct rmd_batch *b) {
    struct rmd_completion c;
    if (q->store.ops->submit(q->store.s, b, q->epoch, ++q->seq))
        die("submit failed");
    while (!q->store.ops->poll(q->store.s, &c, 1)) {
        struct pollfd fd = {.fd = q->store.ops->poll_fd(q->store.s), .events = POLLIN};
        if (poll(&fd, 1, 60000) <= 0)
            die("no completion within a minute");
    }
    if (c.error)
        die(rmd_error_text(c.error));
}

static bool take_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct queue *q = ctx;
    (void)value;
    if (key.n != KEY_BYTES)
        die("a key of another length");
    memcpy(q->found[q->found_n++], key.p, KEY_BYTES);
    return true;
}

static void scan_head(struct queue *q, struct rmd_slice from, struct times *t) {
    struct rmd_scan range = {.from = from, .to = rmd_slice_str("r"), .limit = CHUNK};
    q->found_n = 0;
    int64_t start = now_us();
    if (q->store.ops->scan(q->store.s, &range, take_row, q))
        die("scan failed");
    int64_t took = now_us() - start;
    t->sum_us += took;
    t->n++;
    t->max_us = took > t->max_us ? took : t->max_us;
}

static void fill(struct queue *q, uint64_t first, uint64_t entries) {
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    for (uint64_t i = first; i < first + entries;) {
        struct rmd_batch b = {0};
        for (int k = 0; k < CHUNK && i < first + entries; k++, i++) {
            make_key(key, i);
            for (size_t byte = 0; byte < sizeof value; byte += 8)
                rmd_put_be64(value + byte, rmd_mix64(i + byte));
            rmd_batch_put(&b, rmd_slice(key, sizeof key), rmd_slice(value, sizeof value));
        }
        commit(q, &b);
    }
}

static uint64_t drain(struct queue *q, struct times *plain, struct times *cursor) {
    uint64_t drained = 0;
    for (;;) {
        if (drained / CHUNK % 10 == 0) /* dear: looked at now and then */
            scan_head(q, rmd_slice_str("q"), plain);
        scan_head(q, rmd_slice(q->head, KEY_BYTES), cursor);
        if (!q->found_n)
            return drained;
        struct rmd_batch b = {0};
        for (size_t i = 0; i < q->found_n; i++)
            rmd_batch_delete(&b, rmd_slice(q->found[i], KEY_BYTES));
        memcpy(q->head, q->found[q->found_n - 1], KEY_BYTES);
        drained += q->found_n;
        commit(q, &b);
    }
}

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise) {
    uint64_t n = otherwise;
    if (argc > i && (rmd_parse_u64(rmd_slice_str(argv[i]), &n) || n == 0))
        die("usage: store_queue [entries [rounds]]");
    return n;
}

static void print_end(int64_t first, int64_t last, uint64_t ops, int64_t took_us) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    int64_t cpu_us =
        (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
    printf(
        "head by cursor: %lld us in the first round, %lld us in the last; %.2f us wall and %.2f us CPU an operation;"
        " %ld MiB resident at most\n",
        (long long)first, (long long)last, (double)took_us / (double)ops, (double)cpu_us / (double)ops,
        u.ru_maxrss / 1024);
    fflush(stdout); /* main ends in another program */
}

int main(int argc, char **argv) {
    uint64_t entries = argument(argc, argv, 1, 1000000), rounds = argument(argc, argv, 2, 10);
    const char *tmp = getenv("TMPDIR");
    char dir[256], err[512];
    struct queue *q = rmd_alloc(sizeof *q);
    if (rmd_format(dir, sizeof dir, "%s/rmd-queue-XXXXXX", tmp ? tmp : "/tmp") < 0 || !mkdtemp(dir))
        die("no temporary directory");
    const struct rmd_store_rocks_options opt = {.directory = dir};
    if (rmd_store_rocks_open(&opt, &q->store, err, sizeof err))
        die(err);
    if (q->store.ops->acquire(q->store.s, &q->epoch))
        die("acquire failed");
    int64_t first = 0, last = 0, start = now_us();
    make_key(q->head, 0);
    for (uint64_t round = 0; round < rounds; round++) {
        struct times plain = {0}, cursor = {0};
        fill(q, round * entries, entries);
        if (drain(q, &plain, &cursor) != entries)
            die("entries are missing");
        last = cursor.sum_us / cursor.n;
        first = round ? first : last;
        printf("round %2llu: head without cursor %6lld us (worst %lld), by cursor %5lld us (worst %lld)\n",
               (unsigned long long)round + 1, (long long)(plain.sum_us / plain.n), (long long)plain.max_us,
               (long long)last, (long long)cursor.max_us);
        fflush(stdout);
    }
    print_end(first, last, 2 * entries * rounds, now_us() - start);
    q->store.ops->close(q->store.s);
    free(q);
    const char *const rm[] = {"/bin/rm", "-rf", "--", dir, NULL};
    if (last > first * GROWTH_MAX)
        fprintf(stderr, "store_queue: the head has become slow; the data stays in %s\n", dir);
    else
        execv(rm[0], (char *const *)(uintptr_t)rm);
    return 1;
}
