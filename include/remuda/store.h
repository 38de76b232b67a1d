/* Store port: an ordered key-value map with durable, fenced, replayable batches.
 *
 * Life cycle: open -> (submit, get_many, scan)* -> close. One writer process at a time; a second open of the same
 * store answers RMD_EBUSY. Keys are at most RMD_STORE_KEY_MAX bytes, values at most RMD_STORE_VALUE_MAX. A key has at
 * least one byte, and its first byte isn't 0: those keys are the store's own.
 *
 * Writing: a batch collects puts, deletes and range deletes. An error while building it is sticky and is reported
 * once, by its commit. submit() takes the batch over, always; it answers RMD_OK when the batch was queued, and the
 * completion comes later through poll(), in the order of submission. A batch completes with RMD_OK only when it is
 * durable (fsync of the log), together with every batch before it: completions are never reordered. When submit()
 * answers an error (the sticky one, RMD_EINVAL for a key or number out of order, RMD_ELIMIT when RMD_STORE_QUEUE_MAX
 * bytes wait) the batch is gone, nothing of it is applied, and its number is unused.
 *
 * Sequence numbers rise by one from last_seq() + 1. The store keeps the last committed number in the same commit, so
 * a submit() that repeats a committed number completes with RMD_OK without being applied again: that is how a lost
 * reply to COMMIT is resolved. The number of a batch that completed with an error is spent: the next one is used.
 *
 * Epoch: acquire() raises the stored epoch and returns the new one. A batch whose epoch is not the stored one
 * completes with RMD_EFENCED, and nothing of it is applied.
 *
 * Failure: a batch that can't be made durable now (disk full, connection lost) stays at the head of the queue and is
 * retried with a back-off while its completion is withheld; stalled() tells the reason, so that the owner can stop
 * making work and tell the operator. Exception: a batch with fail_fast set completes with the error, unapplied; it
 * waits too, while it has unfinished batches before it or while nobody can tell whether it was applied.
 *
 * Reading: get_many() and scan() see every batch that has completed, and may see later ones; they hold no snapshot
 * between calls. Both may be called from any thread; submit() and poll() from one thread each. Callbacks of a read
 * don't call the store. */
#ifndef REMUDA_STORE_H
#define REMUDA_STORE_H

#include <remuda/types.h>

enum {
    RMD_STORE_KEY_MAX = 512,
    RMD_STORE_VALUE_MAX = 4 << 20,
    RMD_STORE_BATCH_MAX = 64 << 20,  /* bytes in one batch */
    RMD_STORE_QUEUE_MAX = 512 << 20, /* bytes in batches that were submitted and aren't decided */
};

/* A batch: operations encoded one after the other in one buffer. op is 'P' (put), 'D' (delete), 'R' (delete [key,
 * value)). */
struct rmd_batch {
    uint8_t *data;
    size_t len, cap;
    size_t ops;
    int error;      /* sticky */
    bool fail_fast; /* complete with an error instead of waiting for room */
};

struct rmd_batch_op {
    char op;
    struct rmd_slice key, value;
};

/* proto/base/batch.c. An empty batch is {0}; release() makes it empty again. */
void rmd_batch_put(struct rmd_batch *b, struct rmd_slice key, struct rmd_slice value);
void rmd_batch_delete(struct rmd_batch *b, struct rmd_slice key);
void rmd_batch_delete_range(struct rmd_batch *b, struct rmd_slice from, struct rmd_slice to);
/* Walks the operations: *pos starts at 0; false at the end. */
bool rmd_batch_next(const struct rmd_batch *b, size_t *pos, struct rmd_batch_op *op);
/* Appends all of src's operations; src is unchanged. */
void rmd_batch_append(struct rmd_batch *b, const struct rmd_batch *src);
void rmd_batch_release(struct rmd_batch *b);

/* For stores: RMD_EINVAL when an operation names one of the store's own keys. */
static inline int rmd_batch_check(const struct rmd_batch *b) {
    struct rmd_batch_op op;
    for (size_t pos = 0; rmd_batch_next(b, &pos, &op);) {
        if (op.op != 'R' && op.key.p[0] == 0)
            return RMD_EINVAL;
    }
    return RMD_OK;
}

/* [from, to) in bytewise key order; at most limit rows and about max_bytes bytes (0: no bound on bytes; at least one
 * row is always handed out). reverse walks from `to` downwards. */
struct rmd_scan {
    struct rmd_slice from, to;
    uint32_t limit;
    size_t max_bytes;
    bool reverse;
    bool keys_only;
};

/* A row's slices are valid during the call only. Return false to stop early. */
typedef bool (*rmd_row_fn)(void *ctx, struct rmd_slice key, struct rmd_slice value);
/* found: the value at index i; absent: value.p == NULL. */
typedef void (*rmd_value_fn)(void *ctx, size_t i, struct rmd_slice value);

struct rmd_completion {
    uint64_t seq;
    int error;
};

struct rmd_store_ops {
    const char *name; /* "rocksdb", "postgresql", "fake" */
    int (*acquire)(void *s, uint64_t *epoch) RMD_CHECKED;
    int (*last_seq)(void *s, uint64_t *seq) RMD_CHECKED;
    int (*submit)(void *s, struct rmd_batch *batch, uint64_t epoch, uint64_t seq) RMD_CHECKED;
    /* Up to max completions without waiting; returns their number. */
    int (*poll)(void *s, struct rmd_completion *out, int max);
    /* Readable when poll() has something to give; -1 for the fake. */
    int (*poll_fd)(void *s);
    /* NULL, or why the head of the queue isn't durable yet. Static or store-owned text, valid until the next call;
     * called from poll()'s thread. */
    const char *(*stalled)(void *s);
    int (*get_many)(void *s, const struct rmd_slice *keys, size_t n, rmd_value_fn fn, void *ctx) RMD_CHECKED;
    int (*scan)(void *s, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) RMD_CHECKED;
    /* Waits for queued batches that can be made durable, then closes. */
    void (*close)(void *s);
};

struct rmd_store {
    const struct rmd_store_ops *ops;
    void *s;
};

#endif
