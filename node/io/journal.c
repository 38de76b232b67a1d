/* The node's journal on RocksDB: opening, writing, syncing, trimming. The contract is in journal.h, the keys in
 * journal_rocks.h.
 *
 * Writes go to the log without fsync: they are in the page cache when append() returns, so that they survive the
 * process. Numbers are given under `lock`, in the order of the writes; fsync happens outside of it, so that a recall
 * doesn't hold up the workers. */
#include "node/io/journal_rocks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/log.h>

enum {
    WRITE_BUFFER_BYTES = 8 << 20,
    OPEN_FILES_MAX = 128,
    INFO_LOG_BYTES = 1 << 20,
    BATCH_KEEP_BYTES = 1 << 20,
    TRIM_DROPPED_MAX = 100000, /* leases trimmed in one go */
};

/* ---------------------------------------------------------------- keys */

struct journal_key journal_key(char letter) {
    return (struct journal_key){.b = {(uint8_t)letter}, .n = 1};
}

struct journal_key journal_key_u64(char letter, uint64_t a) {
    struct journal_key k = {.b = {(uint8_t)letter}, .n = 9};
    rmd_put_be64(k.b + 1, a);
    return k;
}

struct journal_key journal_key_row(char letter, uint64_t lease, uint32_t index) {
    struct journal_key k = journal_key_u64(letter, lease);
    rmd_put_be32(k.b + k.n, index);
    k.n += 4;
    return k;
}

struct journal_key journal_key_hash(char letter, const uint8_t *hash) {
    struct journal_key k = {.b = {(uint8_t)letter}, .n = 1 + RMD_HASH_BYTES};
    memcpy(k.b + 1, hash, RMD_HASH_BYTES);
    return k;
}

static void put(rocksdb_writebatch_t *b, struct journal_key k, const void *value, size_t n) {
    rocksdb_writebatch_put(b, (const char *)k.b, k.n, value, n);
}

static void put_dated(rocksdb_writebatch_t *b, struct journal_key k, int64_t wall_ms, struct rmd_slice bytes) {
    uint8_t date[8];
    rmd_put_be64(date, (uint64_t)wall_ms);
    const char *key[1] = {(const char *)k.b}, *value[2] = {(const char *)date, (const char *)bytes.p};
    size_t key_n[1] = {k.n}, value_n[2] = {sizeof date, bytes.n};
    rocksdb_writebatch_putv(b, 1, key, key_n, 2, value, value_n);
}

static void delete_range(rocksdb_writebatch_t *b, struct journal_key from, struct journal_key to) {
    rocksdb_writebatch_delete_range(b, (const char *)from.b, from.n, (const char *)to.b, to.n);
}

/* ---------------------------------------------------------------- errors */

int journal_error(struct rocks_journal *j, const char *doing, char *text) {
    int rc = RMD_EIO;
    if (strstr(text, "No space left on device")) {
        rc = RMD_EFULL;
        (void)rmd_format(j->why, sizeof j->why, "no space left on device %s the journal %s; free some", doing,
                         j->directory);
    } else if (strstr(text, "Corruption")) {
        rc = RMD_ECORRUPT;
        (void)rmd_format(j->why, sizeof j->why, "the journal %s is corrupt: %.120s", j->directory, text);
    } else {
        (void)rmd_format(j->why, sizeof j->why, "failed %s the journal %s: %.120s", doing, j->directory, text);
    }
    rocksdb_free(text);
    return rc;
}

static void rocks_trouble(void *ctx, char *out, size_t n) {
    struct rocks_journal *j = ctx;
    pthread_mutex_lock(&j->lock);
    (void)rmd_copy(out, n, j->why);
    pthread_mutex_unlock(&j->lock);
}

/* Under `lock`. Closes what refuses writes and opens it again; reading the positions anew tells what of the failed
 * write is there. */
static int reopen(struct rocks_journal *j) {
    pthread_rwlock_wrlock(&j->handle);
    if (j->db) {
        rocksdb_cancel_all_background_work(j->db, 1);
        rocksdb_close(j->db);
        j->db = NULL;
    }
    int rc = journal_database_open(j);
    pthread_rwlock_unlock(&j->handle);
    if (!rc)
        j->broken = false;
    return rc;
}

/* ---------------------------------------------------------------- writing */

static void acked_put(struct rocks_journal *j, uint64_t acked, uint64_t alarm_acked) {
    uint8_t value[16];
    rmd_put_be64(value, acked);
    rmd_put_be64(value + 8, alarm_acked);
    put(j->batch, journal_key('p'), value, sizeof value);
}

struct positions {
    uint64_t position, alarms, acked, alarm_acked, high_water;
};

static void fill_number(struct rocks_journal *j, struct rmd_journal_record *r, struct positions *p, int64_t wall_ms) {
    static const uint8_t finished[1] = {MARK_FINISHED};
    if (r->kind == RMD_JR_OUTCOME) {
        r->n = ++p->position;
        put_dated(j->batch, journal_key_u64('o', r->n), wall_ms, r->bytes);
        put(j->batch, journal_key_row('k', r->lease, r->index), finished, sizeof finished);
    } else {
        r->n = ++p->alarms;
        put_dated(j->batch, journal_key_u64('a', r->n), wall_ms, r->bytes);
    }
}

static void fill_lease(struct rocks_journal *j, const struct rmd_journal_record *r, struct positions *p) {
    put(j->batch, journal_key_row('l', r->lease, r->index), r->bytes.p, r->bytes.n);
    if (r->lease > p->high_water) {
        uint8_t value[8];
        p->high_water = r->lease;
        rmd_put_be64(value, r->lease);
        put(j->batch, journal_key('w'), value, sizeof value);
    }
}

static void fill(struct rocks_journal *j, struct rmd_journal_record *r, struct positions *p, int64_t wall_ms) {
    struct journal_key k;
    switch (r->kind) {
    case RMD_JR_LEASE:
        fill_lease(j, r, p);
        break;
    case RMD_JR_MARK:
        put(j->batch, journal_key_row('k', r->lease, r->index), &r->mark, 1);
        break;
    case RMD_JR_OUTCOME:
    case RMD_JR_ALARM:
        fill_number(j, r, p, wall_ms);
        break;
    case RMD_JR_TEMPLATE:
        put(j->batch, journal_key_hash('t', r->hash), r->bytes.p, r->bytes.n);
        break;
    case RMD_JR_TEMPLATE_DROP:
        k = journal_key_hash('t', r->hash);
        rocksdb_writebatch_delete(j->batch, (const char *)k.b, k.n);
        break;
    case RMD_JR_LEASE_DROP:
        put(j->batch, journal_key_u64('d', r->lease), "", 0);
        break;
    case RMD_JR_ACKED:
        p->acked = r->n > p->acked ? r->n : p->acked;
        acked_put(j, p->acked, p->alarm_acked);
        break;
    case RMD_JR_ALARM_ACKED:
        p->alarm_acked = r->n > p->alarm_acked ? r->n : p->alarm_acked;
        k = journal_key_u64('a', r->n);
        rocksdb_writebatch_delete(j->batch, (const char *)k.b, k.n);
        acked_put(j, p->acked, p->alarm_acked);
        break;
    }
}

static void batch_clear(struct rocks_journal *j) {
    size_t size = 0;
    rocksdb_writebatch_data(j->batch, &size);
    if (size > BATCH_KEEP_BYTES) {
        rocksdb_writebatch_destroy(j->batch);
        j->batch = rocksdb_writebatch_create();
    } else {
        rocksdb_writebatch_clear(j->batch);
    }
}

/* Under `lock`: j->batch in one write. */
static int write_batch(struct rocks_journal *j, const rocksdb_writeoptions_t *how) {
    char *text = NULL;
    pthread_rwlock_rdlock(&j->handle);
    rocksdb_write(j->db, how, j->batch, &text);
    pthread_rwlock_unlock(&j->handle);
    batch_clear(j);
    if (!text)
        return RMD_OK;
    j->broken = true;
    return journal_error(j, "writing", text);
}

static int append_locked(struct rocks_journal *j, struct rmd_journal_record *r, size_t n) {
    int rc = j->broken ? reopen(j) : RMD_OK;
    if (rc)
        return rc;
    struct positions p = {j->position, j->alarms, j->acked, j->alarm_acked, j->high_water};
    int64_t wall_ms = j->clock->now(j->clock->ctx).wall_ms;
    for (size_t i = 0; i < n; i++)
        fill(j, &r[i], &p, wall_ms);
    rc = write_batch(j, j->unsynced);
    if (rc)
        return rc;
    j->position = p.position;
    j->alarms = p.alarms;
    j->acked = p.acked;
    j->alarm_acked = p.alarm_acked;
    j->high_water = p.high_water;
    return RMD_OK;
}

static int rocks_append(void *ctx, struct rmd_journal_record *r, size_t n) {
    struct rocks_journal *j = ctx;
    if (!n)
        return RMD_OK;
    pthread_mutex_lock(&j->lock);
    int rc = append_locked(j, r, n);
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static int rocks_sync(void *ctx) {
    struct rocks_journal *j = ctx;
    char *text = NULL;
    pthread_rwlock_rdlock(&j->handle);
    bool open = j->db;
    if (open)
        rocksdb_flush_wal(j->db, 1, &text);
    pthread_rwlock_unlock(&j->handle);
    if (open && !text)
        return RMD_OK;
    pthread_mutex_lock(&j->lock);
    int rc = text ? journal_error(j, "syncing", text) : RMD_EIO;
    j->broken = true;
    if (reopen(j) == RMD_OK)
        rc = RMD_EAGAIN; /* opening wrote and synced what the log had; the caller asks again */
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* ---------------------------------------------------------------- trimming */

/* Reads by one iterator and without `lock`: the memtable is sorted for each of them (options_init), and nobody waits for
 * that. What was read stays true: leases' ids and outcomes' numbers only rise. */
struct trim {
    struct rocks_journal *j;
    rocksdb_iterator_t *it;
    struct range {
        struct journal_key from, to;
    } * range;
    size_t ranges, cap;
};

static void add_range(struct trim *t, struct journal_key from, struct journal_key to) {
    if (t->ranges == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->range = rmd_realloc(t->range, t->cap * sizeof *t->range);
    }
    t->range[t->ranges++] = (struct range){from, to};
}

/* The number of the first key of the letter from `from` on; false: there is none. */
static bool first_number(struct trim *t, char letter, uint64_t from, uint64_t *n) {
    struct journal_key k = journal_key_u64(letter, from);
    rocksdb_iter_seek(t->it, (const char *)k.b, k.n);
    size_t key_n = 0;
    const uint8_t *key = rocksdb_iter_valid(t->it) ? (const uint8_t *)rocksdb_iter_key(t->it, &key_n) : NULL;
    if (!key || key_n < 9 || key[0] != (uint8_t)letter)
        return false;
    *n = rmd_get_be64(key + 1);
    return true;
}

/* Runs of dropped leases with no live one between them go as one range: few tombstones for many leases. */
static void trim_leases(struct trim *t) {
    uint64_t id = 0, live;
    for (size_t n = 0; n < TRIM_DROPPED_MAX && first_number(t, 'd', id, &id); id++) {
        uint64_t last = id, next;
        for (n++; n < TRIM_DROPPED_MAX && first_number(t, 'd', last + 1, &next); n++) {
            if (first_number(t, 'l', last + 1, &live) && live < next)
                break;
            last = next;
        }
        for (const char *letter = "lkd"; *letter; letter++)
            add_range(t, journal_key_u64(*letter, id), journal_key_u64(*letter, last + 1));
        id = last;
    }
}

/* When the outcome at the iterator was written. */
static int64_t written_ms(const struct trim *t) {
    size_t n = 0;
    const uint8_t *value = (const uint8_t *)rocksdb_iter_value(t->it, &n);
    return n >= 8 ? (int64_t)rmd_get_be64(value) : 0;
}

/* Numbers rise with time: the first one to keep is found by halving. */
static void trim_outcomes(struct trim *t, uint64_t acked, int64_t before_wall_ms) {
    uint64_t low, n;
    if (!first_number(t, 'o', 0, &low) || low > acked)
        return;
    uint64_t from = low, to = acked + 1; /* [from, to) is where the border is */
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (first_number(t, 'o', middle, &n) && n < to && written_ms(t) <= before_wall_ms)
            from = n + 1;
        else
            to = middle;
    }
    if (to > low)
        add_range(t, journal_key_u64('o', low), journal_key_u64('o', to));
}

static int find_ranges(struct trim *t, uint64_t acked) {
    struct rocks_journal *j = t->j;
    char *text = NULL;
    pthread_rwlock_rdlock(&j->handle);
    bool open = j->db;
    if (open) {
        t->it = rocksdb_create_iterator(j->db, j->read);
        trim_leases(t);
        trim_outcomes(t, acked, j->clock->now(j->clock->ctx).wall_ms - j->keep_ms);
        rocksdb_iter_get_error(t->it, &text);
        rocksdb_iter_destroy(t->it);
    }
    pthread_rwlock_unlock(&j->handle);
    if (!text)
        return open ? RMD_OK : RMD_EIO;
    pthread_mutex_lock(&j->lock);
    int rc = journal_error(j, "reading", text);
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static int rocks_trim(void *ctx) {
    struct rocks_journal *j = ctx;
    struct trim t = {.j = j};
    pthread_mutex_lock(&j->lock);
    int rc = j->broken ? reopen(j) : RMD_OK;
    uint64_t acked = j->acked;
    pthread_mutex_unlock(&j->lock);
    if (!rc)
        rc = find_ranges(&t, acked);
    if (!rc && t.ranges) {
        pthread_mutex_lock(&j->lock);
        for (size_t i = 0; i < t.ranges; i++)
            delete_range(j->batch, t.range[i].from, t.range[i].to);
        rc = write_batch(j, j->unsynced);
        pthread_mutex_unlock(&j->lock);
    }
    free(t.range);
    return rc;
}

/* ---------------------------------------------------------------- life */

static void rocks_close(void *ctx) {
    struct rocks_journal *j = ctx;
    if (j->db) {
        rocksdb_cancel_all_background_work(j->db, 1);
        rocksdb_close(j->db);
    }
    if (j->options) {
        rocksdb_writebatch_destroy(j->batch);
        rocksdb_readoptions_destroy(j->read);
        rocksdb_writeoptions_destroy(j->unsynced);
        rocksdb_writeoptions_destroy(j->synced);
        rocksdb_options_destroy(j->options);
    }
    if (j->lock_fd >= 0)
        close(j->lock_fd);
    pthread_rwlock_destroy(&j->handle);
    pthread_mutex_destroy(&j->lock);
    free(j->directory);
    free(j);
}

static const struct rmd_journal_ops ROCKS_OPS = {
    .append = rocks_append,
    .sync = rocks_sync,
    .replay = journal_replay,
    .replay_outcomes = journal_replay_outcomes,
    .trim = rocks_trim,
    .trouble = rocks_trouble,
    .close = rocks_close,
};

static int directory_lock(struct rocks_journal *j, char *err, size_t err_n) {
    if (mkdir(j->directory, 0700) && errno != EEXIST) {
        (void)rmd_format(err, err_n, "can't make the data directory %s: %s", j->directory, strerror(errno));
        return errno == ENOSPC ? RMD_EFULL : RMD_EIO;
    }
    char path[4096];
    if (rmd_format(path, sizeof path, "%s/REMUDA.LOCK", j->directory) < 0) {
        (void)rmd_format(err, err_n, "the path of the data directory is too long");
        return RMD_ELIMIT;
    }
    j->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock_fd < 0) {
        (void)rmd_format(err, err_n, "can't open %s: %s", path, strerror(errno));
        return errno == ENOSPC ? RMD_EFULL : RMD_EIO;
    }
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB)) {
        (void)rmd_format(err, err_n,
                         "%s is in use: another node holds it; stop that one, or give this one its own directory",
                         j->directory);
        return RMD_EBUSY;
    }
    return RMD_OK;
}

static void options_init(struct rocks_journal *j) {
    rocksdb_options_t *o = j->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_write_buffer_size(o, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    /* Nearly all of it is written and never read, a few records at a time and in no order of keys: a memtable that is
     * sorted when it is full, or read, costs a fraction of one that looks for each record's place. */
    rocksdb_options_set_memtable_vector_rep(o);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
    rocksdb_options_set_target_file_size_base(o, WRITE_BUFFER_BYTES);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery);
    rocksdb_options_set_info_log_level(o, 2); /* warnings and worse */
    rocksdb_options_set_max_log_file_size(o, INFO_LOG_BYTES);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    j->unsynced = rocksdb_writeoptions_create();
    j->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(j->synced, 1);
    j->read = rocksdb_readoptions_create();
    j->batch = rocksdb_writebatch_create();
}

int rmd_journal_open(const struct rmd_journal_options *o, struct rmd_journal *out, char *err, size_t err_n) {
    struct rocks_journal *j = rmd_alloc(sizeof *j);
    j->directory = rmd_strdup(o->directory);
    j->keep_ms = o->keep_ms;
    j->clock = o->clock;
    j->lock_fd = -1;
    pthread_rwlock_init(&j->handle, NULL);
    pthread_mutex_init(&j->lock, NULL);
    int rc = directory_lock(j, err, err_n);
    if (!rc) {
        options_init(j);
        rc = journal_database_open(j);
        if (!rc)
            rc = journal_identify(j);
        if (rc)
            (void)rmd_copy(err, err_n, j->why);
    }
    if (rc) {
        rocks_close(j);
        return rc;
    }
    *out = (struct rmd_journal){.ops = &ROCKS_OPS, .j = j};
    return RMD_OK;
}
