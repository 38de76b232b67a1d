/* The store port on RocksDB: the embedded default.
 *
 * One directory, one process: the directory is locked for as long as the store is open. Batches that wait are written
 * together, with the store's own record (epoch, last sequence number), in one synced write. A failed write leaves
 * doubt about what reached the log, and RocksDB refuses further ones, so the database is then closed and opened again
 * inside the backend as soon as the disk takes data; reads go on with the old handle until that moment.
 *
 * Full disk: a fail_fast batch is refused with RMD_EFULL while less than reserve_bytes (and room for the batch) would
 * stay free, so that what was accepted earlier can still be settled. Other batches use the reserve. */
#ifndef REMUDA_STORE_ROCKS_H
#define REMUDA_STORE_ROCKS_H

#include <remuda/store.h>

struct rmd_store_rocks_options {
    const char *directory;     /* made when its parent exists */
    size_t block_cache_bytes;  /* 0: 32 MiB; holds blocks, indexes and filters */
    size_t write_buffer_bytes; /* 0: 16 MiB; twice that is the most that memtables take */
    uint64_t reserve_bytes;
};

/* RMD_EBUSY: another process, or another store of this one, holds the directory. RMD_EIO, RMD_EFULL, RMD_ECORRUPT,
 * RMD_EVERSION: a later version wrote it. err says what happened, to which directory, and what to do. */
int rmd_store_rocks_open(const struct rmd_store_rocks_options *opt, struct rmd_store *out, char *err,
                         size_t err_n) RMD_CHECKED;

#endif
