/* The store port in memory, for the simulator and for tests: it loses what was not synced.
 *
 * A `struct rmd_store_fake` is the disk: it outlives the processes that use it. A process opens it, writes, and dies:
 *
 *     struct rmd_store_fake *disk = rmd_store_fake_new();
 *     struct rmd_store store;
 *     rmd_store_fake_open(disk, &store);        // RMD_EBUSY while another handle is open
 *     store.ops->submit(store.s, &batch, epoch, 1);
 *     rmd_store_fake_sync(disk, 1);             // the disk gets round to one batch: now poll() gives its completion
 *     rmd_store_fake_crash(disk);               // whatever was not synced is gone, and so is the handle
 *     rmd_store_fake_open(disk, &store);        // the next life of the process
 *     rmd_store_fake_free(disk);
 *
 * Nothing happens by itself: a submitted batch is held until rmd_store_fake_sync() says so, so the test (or the
 * seeded simulator) owns every interleaving. No threads, no clock, no randomness but the seed given. A handle that a
 * crash or a close killed answers RMD_ECLOSED to everything, gives no completions, and may be closed again.
 *
 * The disk owns its handles and all data. Keys and values are copied. Lookup, insertion and removal take O(log n). */
#ifndef REMUDA_STORE_FAKE_H
#define REMUDA_STORE_FAKE_H

#include <remuda/store.h>

struct rmd_store_fake;

/* When a read sees a batch that is submitted and not synced; the contract allows each. */
enum rmd_fake_visibility {
    RMD_FAKE_LATE,   /* not before it is synced */
    RMD_FAKE_EARLY,  /* at once */
    RMD_FAKE_RANDOM, /* before each read a coin decides, batch by batch, in order */
};

struct rmd_store_fake *rmd_store_fake_new(void);
void rmd_store_fake_free(struct rmd_store_fake *f);

int rmd_store_fake_open(struct rmd_store_fake *f, struct rmd_store *out) RMD_CHECKED;

/* Makes up to n of the oldest held batches durable, and stops at one that a planned failure holds up. Returns how
 * many were decided (made durable, or completed with an error). */
size_t rmd_store_fake_sync(struct rmd_store_fake *f, size_t n);
/* The process dies: held batches, completions that were not polled, and the handle are gone. */
void rmd_store_fake_crash(struct rmd_store_fake *f);

/* The next `times` attempts to make a batch durable fail with `error`: a fail_fast batch completes with it, any other
 * stays at the head and stalls the store. times = -1: until it is called again with times = 0. */
void rmd_store_fake_fail_next(struct rmd_store_fake *f, int error, int times);
/* May be called at any time; batches that are visible already stay so. */
void rmd_store_fake_visibility(struct rmd_store_fake *f, enum rmd_fake_visibility v, uint64_t seed);
/* Another machine's writer takes over: raises the stored epoch behind the back of the open handle, as a store that is
 * reached over a network allows. Returns the new epoch. */
uint64_t rmd_store_fake_usurp(struct rmd_store_fake *f);

size_t rmd_store_fake_held(const struct rmd_store_fake *f); /* batches submitted and not decided */
size_t rmd_store_fake_rows(const struct rmd_store_fake *f); /* as reads see it */

#endif
