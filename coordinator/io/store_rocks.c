/* RocksDB behind the store port; the contract is in store_rocks.h, the queue and its thread in store_writer.h.
 *
 * Tuned for queues, which are written at one end and deleted at the other: every scan is bounded on both sides inside
 * RocksDB, so that it never walks tombstones past its range, and table files that are mostly tombstones are compacted
 * at once. Memory is bounded: block cache (indexes and filters count), two memtables, 256 open files.
 *
 * Locks: `handle` guards the pointer `db` (readers and commits share it, reopening is alone), `state` guards epoch
 * and last_seq and makes commits and acquire() exclude each other. Order: state, then handle. */
#include "coordinator/io/store_rocks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "coordinator/io/store_writer.h"

#include <base/buf.h>
#include <base/log.h>
#include <base/text.h>

enum {
    DEFAULT_BLOCK_CACHE_BYTES = 32 << 20,
    DEFAULT_WRITE_BUFFER_BYTES = 16 << 20,
    RECLAIM_BYTES = 32 << 20, /* deleted ranges of files that are smaller wait for compaction */
    MIN_WRITE_BUFFER_BYTES = 64 << 10,
    OPEN_FILES_MAX = 256,
    BLOCK_BYTES = 8 << 10,
    DELETIONS_WINDOW = 8192,  /* a table file with this many entries in a row ... */
    DELETIONS_TRIGGER = 2048, /* ... of which so many are deletions is compacted soon */
    INFO_LOG_BYTES = 1 << 20,
    WRITE_BATCH_KEEP_BYTES = 1 << 20,
    PROBE_BYTES = 64 << 10,
    FORMAT = 1,
    META_BYTES = 17, /* format, epoch, last_seq */
};

static const char META_KEY[] = {0, 'm'};
static const uint8_t FIRST_USER_KEY[] = {1};

struct rocks {
    char *directory;
    int lock_fd;
    uint64_t reserve_bytes;
    size_t write_buffer_bytes;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *sync;
    rocksdb_readoptions_t *get;
    rocksdb_writebatch_t *batch; /* the writer's thread only */
    pthread_rwlock_t handle;
    rocksdb_t *db; /* NULL: closed, and could not be opened again yet */
    pthread_mutex_t state;
    uint64_t epoch, last_seq;
    struct rmd_buf reclaim[2]; /* from, to: a deleted range that takes up space still, while `reclaiming` */
    bool reclaiming;
    bool broken; /* a write failed: reopen before the next; guarded by state */
    struct rmd_writer writer;
};

/* What a RocksDB text means; frees it. */
static int rocks_error(const char *directory, const char *doing, char *text, char *why, size_t why_n) {
    int rc = RMD_EIO;
    if (strstr(text, "No space left on device")) {
        rc = RMD_EFULL;
        rmd_format(why, why_n, "no space left on device %s %s; free some (%s)", doing, directory, text);
    } else if (strstr(text, "lock hold by current process") || strstr(text, "While lock file")) {
        rc = RMD_EBUSY;
        rmd_format(why, why_n, "%s is in use: another coordinator holds it (%s)", directory, text);
    } else if (strstr(text, "Corruption")) {
        rc = RMD_ECORRUPT;
        rmd_format(why, why_n, "%s is corrupt; restore it from a backup (%s)", directory, text);
    } else {
        rmd_format(why, why_n, "failed %s %s: %s", doing, directory, text);
    }
    rocksdb_free(text);
    return rc;
}

static int compare(struct rmd_slice a, struct rmd_slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* A range's start, moved past the store's own keys. */
static struct rmd_slice user_from(struct rmd_slice from) {
    struct rmd_slice first = rmd_slice(FIRST_USER_KEY, sizeof FIRST_USER_KEY);
    return compare(from, first) < 0 ? first : from;
}

/* --- opening */

static void options_init(struct rocks *s, const struct rmd_store_rocks_options *opt) {
    size_t cache = opt->block_cache_bytes ? opt->block_cache_bytes : DEFAULT_BLOCK_CACHE_BYTES;
    s->write_buffer_bytes = opt->write_buffer_bytes ? opt->write_buffer_bytes : DEFAULT_WRITE_BUFFER_BYTES;
    if (s->write_buffer_bytes < MIN_WRITE_BUFFER_BYTES)
        s->write_buffer_bytes = MIN_WRITE_BUFFER_BYTES;
    s->cache = rocksdb_cache_create_lru(cache);
    s->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(s->table, s->cache);
    rocksdb_block_based_options_set_block_size(s->table, BLOCK_BYTES);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(s->table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(s->table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(s->table, 1);
    rocksdb_block_based_options_set_filter_policy(s->table, rocksdb_filterpolicy_create_bloom(10));

    rocksdb_options_t *o = s->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_block_based_table_factory(o, s->table);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression); /* no dearer than none, measured on a queue */
    rocksdb_options_set_write_buffer_size(o, s->write_buffer_bytes);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    rocksdb_options_set_target_file_size_base(o, s->write_buffer_bytes);
    rocksdb_options_set_max_bytes_for_level_base(o, 4 * (uint64_t)s->write_buffer_bytes);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_add_compact_on_deletion_collector_factory(o, DELETIONS_WINDOW, DELETIONS_TRIGGER);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery);
    rocksdb_options_set_info_log_level(o, 2); /* warnings and worse */
    rocksdb_options_set_max_log_file_size(o, INFO_LOG_BYTES);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_stats_dump_period_sec(o, 0);

    s->sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->sync, 1);
    s->get = rocksdb_readoptions_create();
    s->batch = rocksdb_writebatch_create();
}

/* A lock of our own, beside RocksDB's: it is held while the database is closed and opened again, and it is taken
 * before RocksDB touches anything. */
static int directory_lock(struct rocks *s, char *err, size_t err_n) {
    if (mkdir(s->directory, 0700) && errno != EEXIST) {
        rmd_format(err, err_n, "can't make the store's directory %s: %s", s->directory, strerror(errno));
        return errno == ENOSPC ? RMD_EFULL : RMD_EIO;
    }
    char path[4096];
    if (rmd_format(path, sizeof path, "%s/REMUDA.LOCK", s->directory) < 0) {
        rmd_format(err, err_n, "the path of the store's directory is too long");
        return RMD_ELIMIT;
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        rmd_format(err, err_n, "can't open %s: %s", path, strerror(errno));
        return errno == ENOSPC ? RMD_EFULL : RMD_EIO;
    }
    if (!flock(s->lock_fd, LOCK_EX | LOCK_NB))
        return RMD_OK;
    rmd_format(err, err_n, "the store %s is in use: another coordinator holds it; stop that one first", s->directory);
    return RMD_EBUSY;
}

/* Under `state` (or before there are threads). */
static int meta_read(struct rocks *s, char *why, size_t why_n) {
    char *text = NULL;
    size_t n = 0;
    char *value = rocksdb_get(s->db, s->get, META_KEY, sizeof META_KEY, &n, &text);
    if (text)
        return rocks_error(s->directory, "reading", text, why, why_n);
    int rc = RMD_OK;
    const uint8_t *p = (const uint8_t *)value;
    if (!value) {
        s->epoch = s->last_seq = 0;
    } else if (n >= 1 && p[0] > FORMAT) {
        rmd_format(why, why_n, "%s was written by a later version of Remuda (format %u, known %u)", s->directory,
                   p[0], FORMAT);
        rc = RMD_EVERSION;
    } else if (n != META_BYTES || p[0] != FORMAT) {
        rmd_format(why, why_n, "%s is corrupt: its own record has %zu bytes; restore it from a backup", s->directory,
                   n);
        rc = RMD_ECORRUPT;
    } else {
        s->epoch = rmd_get_be64(p + 1);
        s->last_seq = rmd_get_be64(p + 9);
    }
    if (value)
        rocksdb_free(value);
    return rc;
}

static void meta_put(rocksdb_writebatch_t *batch, uint64_t epoch, uint64_t last_seq) {
    uint8_t value[META_BYTES] = {FORMAT};
    rmd_put_be64(value + 1, epoch);
    rmd_put_be64(value + 9, last_seq);
    rocksdb_writebatch_put(batch, META_KEY, sizeof META_KEY, (const char *)value, sizeof value);
}

static int database_open(struct rocks *s, char *why, size_t why_n) {
    char *text = NULL;
    s->db = rocksdb_open(s->options, s->directory, &text);
    if (text) {
        s->db = NULL;
        return rocks_error(s->directory, "opening", text, why, why_n);
    }
    return RMD_OK;
}

static void rocks_free(struct rocks *s) {
    if (s->db) {
        rocksdb_cancel_all_background_work(s->db, 1);
        rocksdb_close(s->db);
    }
    if (s->options) {
        rocksdb_writebatch_destroy(s->batch);
        rocksdb_readoptions_destroy(s->get);
        rocksdb_writeoptions_destroy(s->sync);
        rocksdb_options_destroy(s->options);
        rocksdb_block_based_options_destroy(s->table);
        rocksdb_cache_destroy(s->cache);
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->state);
    pthread_rwlock_destroy(&s->handle);
    rmd_buf_release(&s->reclaim[0]);
    rmd_buf_release(&s->reclaim[1]);
    free(s->directory);
    free(s);
}

/* --- writing: all of it on the writer's thread, but for acquire() */

static uint64_t free_bytes(const struct rocks *s) {
    struct statvfs v;
    if (statvfs(s->directory, &v))
        return UINT64_MAX; /* the write itself will tell */
    return (uint64_t)v.f_bavail * v.f_frsize;
}

/* Whether the disk takes data again: a whole memtable must fit, since opening flushes the log, and a file can be
 * written and synced. */
static int disk_probe(struct rocks *s, char *why, size_t why_n) {
    uint64_t needed = s->write_buffer_bytes + 4 * (uint64_t)PROBE_BYTES;
    if (free_bytes(s) < needed) {
        rmd_format(why, why_n, "no space left on device writing %s: %llu bytes must be free", s->directory,
                   (unsigned long long)needed);
        return RMD_EFULL;
    }
    char path[4096];
    if (rmd_format(path, sizeof path, "%s/REMUDA.PROBE", s->directory) < 0)
        return RMD_ELIMIT;
    int rc = RMD_OK, saved = 0;
    uint8_t *zeros = rmd_alloc(PROBE_BYTES);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, zeros, PROBE_BYTES) != PROBE_BYTES || fsync(fd)) {
        saved = errno;
        rc = saved == ENOSPC ? RMD_EFULL : RMD_EIO;
        rmd_format(why, why_n, "failed writing %s: %s", path, strerror(saved));
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    free(zeros);
    return rc;
}

/* Under `state`. Closes the database that refuses writes and opens it again, which also tells what of the failed
 * write reached the log. */
static int reopen(struct rocks *s, char *why, size_t why_n) {
    int rc = disk_probe(s, why, why_n);
    if (rc)
        return rc;
    pthread_rwlock_wrlock(&s->handle);
    if (s->db) {
        rocksdb_cancel_all_background_work(s->db, 1);
        rocksdb_close(s->db);
    }
    rc = database_open(s, why, why_n);
    if (!rc)
        rc = meta_read(s, why, why_n);
    pthread_rwlock_unlock(&s->handle);
    if (!rc)
        s->broken = false;
    return rc;
}

static void batch_fill(rocksdb_writebatch_t *out, const struct rmd_batch *b) {
    struct rmd_batch_op op;
    for (size_t pos = 0; rmd_batch_next(b, &pos, &op);) {
        const char *key = (const char *)op.key.p, *value = (const char *)op.value.p;
        if (op.op == 'P') {
            rocksdb_writebatch_put(out, key, op.key.n, value, op.value.n);
        } else if (op.op == 'D') {
            rocksdb_writebatch_delete(out, key, op.key.n);
        } else {
            struct rmd_slice from = user_from(op.key);
            if (compare(from, op.value) < 0)
                rocksdb_writebatch_delete_range(out, (const char *)from.p, from.n, value, op.value.n);
        }
    }
}

/* Under `state`, with the database open: one synced write. */
static int write_synced(struct rocks *s, rocksdb_writebatch_t *batch, char *why, size_t why_n) {
    char *text = NULL;
    rocksdb_write(s->db, s->sync, batch, &text);
    if (!text)
        return RMD_OK;
    s->broken = true;
    return rocks_error(s->directory, "writing", text, why, why_n);
}

/* RMD_EFULL when the group would eat into the reserve, once in the log and once in table files. */
static int fail_fast_error(const struct rocks *s, const struct rmd_write *group) {
    uint64_t bytes = 0;
    bool any = false;
    for (const struct rmd_write *w = group; w; w = w->next) {
        bytes += w->decided ? 0 : w->batch.len;
        any |= !w->decided && w->batch.fail_fast;
    }
    return any && free_bytes(s) < s->reserve_bytes + 2 * bytes ? RMD_EFULL : RMD_OK;
}

static bool short_of_space(const struct rocks *s) {
    return free_bytes(s) < 2 * s->reserve_bytes + RECLAIM_BYTES;
}

static bool takes_up_space(const struct rocks *s) {
    const char *a = (const char *)s->reclaim[0].p, *b = (const char *)s->reclaim[1].p;
    size_t a_n = s->reclaim[0].len, b_n = s->reclaim[1].len;
    char *text = NULL;
    uint64_t bytes = 0;
    rocksdb_approximate_sizes(s->db, 1, &a, &a_n, &b, &b_n, &bytes, &text);
    bool big = !text && bytes >= RECLAIM_BYTES;
    rocksdb_free(text);
    return big;
}

/* A big range that was deleted goes from the disk in time, by compaction; where space is short it goes now. Files that hold
 * nothing else are dropped, which needs no room, but for those of level 0, which RocksDB keeps; at once only, while the deletion itself is in no such
 * file: dropped with one, rows in others would be back. Then the range is compacted, and
 * this waits for it: what is merely suggested may never be done. A compaction that has once run out of room stops all others until
 * there is room for the whole of what they read, though little of it would be written: opening the database again lifts that. A disk
 * that is full to the brim has no room for any of this: it is tried again with the next commits, until the range is gone. Errors are
 * of no interest: a write that fails tells. */
static void reclaim(struct rocks *s, bool again) {
    const char *a = (const char *)s->reclaim[0].p, *b = (const char *)s->reclaim[1].p;
    size_t a_n = s->reclaim[0].len, b_n = s->reclaim[1].len;
    uint64_t errors = 0;
    char *text = NULL;
    s->reclaiming = takes_up_space(s);
    if (!s->reclaiming)
        return;
    if (!again)
        rocksdb_delete_file_in_range(s->db, a, a_n, b, b_n, &text);
    bool room = !text && free_bytes(s) > s->write_buffer_bytes + s->write_buffer_bytes / 4;
    rocksdb_free(text);
    if (room)
        rocksdb_compact_range(s->db, a, a_n, b, b_n);
    s->reclaiming = takes_up_space(s);
    if (room && s->reclaiming && !rocksdb_property_int(s->db, "rocksdb.background-errors", &errors))
        s->broken = errors > 0;
}

static void reclaim_ranges(struct rocks *s, const struct rmd_write *group) {
    struct rmd_batch_op op;
    if (s->reclaiming)
        reclaim(s, true);
    for (const struct rmd_write *w = group; w; w = w->next)
        for (size_t pos = 0; w->included && !w->repeat && rmd_batch_next(&w->batch, &pos, &op);) {
            if (op.op == 'P' || op.op == 'D' || s->reclaiming || !short_of_space(s))
                continue;
            struct rmd_slice from = user_from(op.key);
            rmd_buf_clear(&s->reclaim[0]);
            rmd_buf_clear(&s->reclaim[1]);
            rmd_buf_add(&s->reclaim[0], from.p, from.n);
            rmd_buf_add(&s->reclaim[1], op.value.p, op.value.n);
            reclaim(s, false);
        }
}

static int commit_locked(struct rocks *s, struct rmd_write *group, char *why, size_t why_n) {
    int rc = s->broken ? reopen(s, why, why_n) : RMD_OK;
    if (rc)
        return rc;
    uint64_t last;
    if (!rmd_writer_sort(group, s->epoch, s->last_seq, fail_fast_error(s, group), &last))
        return RMD_OK;
    for (struct rmd_write *w = group; w; w = w->next) {
        if (w->included && !w->repeat)
            batch_fill(s->batch, &w->batch);
    }
    meta_put(s->batch, s->epoch, last);
    rc = write_synced(s, s->batch, why, why_n);
    size_t size = 0;
    rocksdb_writebatch_data(s->batch, &size);
    if (size > WRITE_BATCH_KEEP_BYTES) {
        rocksdb_writebatch_destroy(s->batch);
        s->batch = rocksdb_writebatch_create();
    } else {
        rocksdb_writebatch_clear(s->batch);
    }
    if (rc)
        return rc;
    s->last_seq = last;
    reclaim_ranges(s, group);
    rmd_writer_decide(group, RMD_OK);
    return RMD_OK;
}

static int rocks_commit(void *ctx, struct rmd_write *group, char *why, size_t why_n) {
    struct rocks *s = ctx;
    pthread_mutex_lock(&s->state);
    int rc = commit_locked(s, group, why, why_n);
    pthread_mutex_unlock(&s->state);
    return rc;
}

static const struct rmd_writer_backend ROCKS_WRITER = {.commit = rocks_commit};

static int rocks_acquire(void *store, uint64_t *epoch) {
    struct rocks *s = store;
    char why[RMD_WRITER_TEXT_MAX] = "";
    pthread_mutex_lock(&s->state);
    int rc = s->broken ? reopen(s, why, sizeof why) : RMD_OK;
    if (!rc) {
        rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
        meta_put(batch, s->epoch + 1, s->last_seq);
        rc = write_synced(s, batch, why, sizeof why);
        rocksdb_writebatch_destroy(batch);
    }
    if (!rc)
        *epoch = ++s->epoch;
    pthread_mutex_unlock(&s->state);
    if (rc)
        rmd_error("store", "can't raise the epoch: %s", why);
    return rc;
}

static int rocks_last_seq(void *store, uint64_t *seq) {
    struct rocks *s = store;
    pthread_mutex_lock(&s->state);
    int rc = s->broken ? RMD_EAGAIN : RMD_OK; /* what reached the log isn't known before the database is reopened */
    if (!rc)
        *seq = s->last_seq;
    pthread_mutex_unlock(&s->state);
    return rc;
}

static int rocks_submit(void *store, struct rmd_batch *batch, uint64_t epoch, uint64_t seq) {
    return rmd_writer_submit(&((struct rocks *)store)->writer, batch, epoch, seq);
}

static int rocks_poll(void *store, struct rmd_completion *out, int max) {
    return rmd_writer_poll(&((struct rocks *)store)->writer, out, max);
}

static int rocks_poll_fd(void *store) {
    return ((struct rocks *)store)->writer.fd;
}

static const char *rocks_stalled(void *store) {
    return rmd_writer_stalled(&((struct rocks *)store)->writer);
}

/* --- reading */

static int read_failed(struct rocks *s, char *text) {
    char why[RMD_WRITER_TEXT_MAX];
    int rc = rocks_error(s->directory, "reading", text, why, sizeof why);
    rmd_error("store", "%s", why);
    return rc;
}

static int get_all(struct rocks *s, const struct rmd_slice *keys, size_t n, rmd_value_fn fn, void *ctx) {
    for (size_t i = 0; i < n; i++) {
        if (!keys[i].n || keys[i].n > RMD_STORE_KEY_MAX || keys[i].p[0] == 0)
            return RMD_EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        char *text = NULL;
        rocksdb_pinnableslice_t *pinned =
            rocksdb_get_pinned(s->db, s->get, (const char *)keys[i].p, keys[i].n, &text);
        if (text)
            return read_failed(s, text);
        size_t value_n = 0;
        const char *value = pinned ? rocksdb_pinnableslice_value(pinned, &value_n) : NULL;
        if (pinned && !value)
            value = ""; /* present and empty is not absent */
        fn(ctx, i, rmd_slice(value, value_n));
        rocksdb_pinnableslice_destroy(pinned);
    }
    return RMD_OK;
}

static int rocks_get_many(void *store, const struct rmd_slice *keys, size_t n, rmd_value_fn fn, void *ctx) {
    struct rocks *s = store;
    pthread_rwlock_rdlock(&s->handle);
    int rc = s->db ? get_all(s, keys, n, fn, ctx) : RMD_EAGAIN;
    pthread_rwlock_unlock(&s->handle);
    return rc;
}

static void scan_rows(rocksdb_iterator_t *it, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) {
    size_t bytes = 0;
    for (uint32_t rows = 0; rows < range->limit && rocksdb_iter_valid(it); rows++) {
        size_t key_n = 0, value_n = 0;
        const char *key = rocksdb_iter_key(it, &key_n);
        const char *value = range->keys_only ? NULL : rocksdb_iter_value(it, &value_n);
        bytes += key_n + value_n;
        if (!fn(ctx, rmd_slice(key, key_n), rmd_slice(value, value_n)))
            return;
        if (range->max_bytes && bytes >= range->max_bytes)
            return;
        if (range->reverse)
            rocksdb_iter_prev(it);
        else
            rocksdb_iter_next(it);
    }
}

static int scan_range(struct rocks *s, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) {
    struct rmd_slice from = user_from(range->from), to = range->to;
    if (!range->limit || compare(from, to) >= 0)
        return RMD_OK;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_lower_bound(options, (const char *)from.p, from.n);
    rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)to.p, to.n);
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, options);
    if (range->reverse)
        rocksdb_iter_seek_to_last(it);
    else
        rocksdb_iter_seek_to_first(it);
    scan_rows(it, range, fn, ctx);
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return text ? read_failed(s, text) : RMD_OK;
}

static int rocks_scan(void *store, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) {
    struct rocks *s = store;
    pthread_rwlock_rdlock(&s->handle);
    int rc = s->db ? scan_range(s, range, fn, ctx) : RMD_EAGAIN;
    pthread_rwlock_unlock(&s->handle);
    return rc;
}

static void rocks_close(void *store) {
    struct rocks *s = store;
    rmd_writer_stop(&s->writer);
    rocks_free(s);
}

static const struct rmd_store_ops ROCKS_OPS = {
    .name = "rocksdb",
    .acquire = rocks_acquire,
    .last_seq = rocks_last_seq,
    .submit = rocks_submit,
    .poll = rocks_poll,
    .poll_fd = rocks_poll_fd,
    .stalled = rocks_stalled,
    .get_many = rocks_get_many,
    .scan = rocks_scan,
    .close = rocks_close,
};

int rmd_store_rocks_open(const struct rmd_store_rocks_options *opt, struct rmd_store *out, char *err, size_t err_n) {
    if (err_n)
        err[0] = 0;
    struct rocks *s = rmd_alloc(sizeof *s);
    s->directory = rmd_strdup(opt->directory);
    s->lock_fd = -1;
    s->reserve_bytes = opt->reserve_bytes;
    pthread_rwlock_init(&s->handle, NULL);
    pthread_mutex_init(&s->state, NULL);
    int rc = directory_lock(s, err, err_n);
    if (rc)
        goto fail;
    options_init(s, opt);
    rc = database_open(s, err, err_n);
    if (!rc)
        rc = meta_read(s, err, err_n);
    if (rc)
        goto fail;
    rc = rmd_writer_start(&s->writer, &ROCKS_WRITER, s, "store", s->last_seq);
    if (rc) {
        rmd_format(err, err_n, "can't start the store's writing thread: %s", strerror(errno));
        goto fail;
    }
    *out = (struct rmd_store){.ops = &ROCKS_OPS, .s = s};
    return RMD_OK;
fail:
    rocks_free(s);
    return rc;
}
