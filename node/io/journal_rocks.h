/* What journal.c (writing) and journal_replay.c (opening and reading) share; nobody else includes this.
 *
 * Keys: one letter, then big-endian numbers, so that a range is a stretch of time or of leases.
 *   m            format, uuid, boot id                    l lease part  -> part of a lease
 *   w            high-water mark                          k lease index -> mark: 1 started, 2 dot, 3 finished
 *   p            acknowledged n, highest acked alarm      d lease       -> dropped, not yet trimmed
 *   o n          -> wall_ms, Outcome                      a n           -> wall_ms, Alarm
 *   t hash       -> template */
#ifndef REMUDA_NODE_JOURNAL_ROCKS_H
#define REMUDA_NODE_JOURNAL_ROCKS_H

#include <pthread.h>

#include <rocksdb/c.h>

#include <base/text.h>

#include "node/io/journal.h"

enum { JOURNAL_FORMAT = 1, JOURNAL_META_BYTES = 33, MARK_FINISHED = 3, JOURNAL_WHY_MAX = 256 };

struct rocks_journal {
    char *directory;
    int64_t keep_ms;
    const struct rmd_clock *clock;
    uint8_t uuid[RMD_UUID_BYTES], boot_id[RMD_UUID_BYTES];
    int lock_fd;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *unsynced, *synced;
    rocksdb_readoptions_t *read;
    pthread_rwlock_t handle; /* db: shared by users, alone to open it anew */
    rocksdb_t *db;           /* NULL: closed after a failure, and not open again yet */
    pthread_mutex_t lock;    /* everything below */
    rocksdb_writebatch_t *batch;
    bool broken; /* a write failed */
    uint64_t position, alarms, acked, alarm_acked, high_water;
    char why[JOURNAL_WHY_MAX];
};

struct journal_key {
    uint8_t b[1 + RMD_HASH_BYTES];
    size_t n;
};
struct journal_key journal_key(char letter);
struct journal_key journal_key_u64(char letter, uint64_t a);
struct journal_key journal_key_row(char letter, uint64_t lease, uint32_t index);
struct journal_key journal_key_hash(char letter, const uint8_t *hash);

/* Sets why; frees text. */
int journal_error(struct rocks_journal *j, const char *doing, char *text);
/* Opens the database and reads the positions. The caller holds `handle` alone. */
int journal_database_open(struct rocks_journal *j);
/* Another boot: new uuid, every unfinished message gets mark 2. After the first journal_database_open. */
int journal_identify(struct rocks_journal *j);
int journal_replay(void *ctx, rmd_replay_fn fn, void *fn_ctx);
int journal_replay_outcomes(void *ctx, uint64_t from, rmd_replay_fn fn, void *fn_ctx);
/* Walks [from, to); fn returns false to stop. */
typedef bool (*journal_row_fn)(void *ctx, struct rmd_slice key, struct rmd_slice value);
int journal_scan(struct rocks_journal *j, struct journal_key from, struct journal_key to, journal_row_fn fn,
                 void *ctx);

#endif
