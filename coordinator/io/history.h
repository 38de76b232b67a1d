/* History: every event of the coordinator, appended to segment files, with a sparse index by recipient; thread-safe.
 *
 * A directory of segments ("%016llx.log", named by their first sequence number). A segment is a run of frames: length
 * u32, checksum u32 (FNV-1a), packed EventRecord. Appending is buffered and written at once when the shell's step
 * ends (flush); it isn't synced for each event: history is told after the fact, and what a crash of the host cuts off
 * is seen in the settled records all the same. A torn tail is cut at open. A segment is closed at segment_bytes, or
 * when it spans an eighth of keep_ms, and then gets an index file (sorted address hashes with offsets) when somebody
 * first asks for a recipient, so that a recipient's events are found without reading it. Segments whose newest event
 * is older than keep_ms, or over max_bytes in all, are deleted, oldest first; the open one never is. */
#ifndef REMUDA_HISTORY_H
#define REMUDA_HISTORY_H

#include <remuda/clock.h>

#include "proto/codec.h"

enum { RMD_HISTORY_SEGMENT_BYTES = 64 << 20, RMD_HISTORY_BUFFER_BYTES = 8 << 20, RMD_HISTORY_BACK_MAX = 100000 };

struct rmd_history;

struct rmd_history_options {
    const char *directory;
    int64_t keep_ms;
    int64_t max_bytes;
    int64_t segment_bytes; /* 0: RMD_HISTORY_SEGMENT_BYTES */
    const struct rmd_clock *clock;
};

int rmd_history_open(const struct rmd_history_options *o, struct rmd_history **out, char *err,
                     size_t err_n) RMD_CHECKED;
void rmd_history_close(struct rmd_history *h);
/* Takes a copy; gives it the next sequence number, which it returns; 0 when the event is over
 * RMD_HISTORY_EVENT_BYTES_MAX and was dropped. More than RMD_HISTORY_BUFFER_BYTES between two flushes are written at
 * once. Trouble (disk full) drops what could not be written, whose numbers are given out again, and is told by
 * trouble(). */
uint64_t rmd_history_append(struct rmd_history *h, const Remuda__EventRecord *e);
void rmd_history_flush(struct rmd_history *h); /* writes what was appended, wakes followers */
/* True while events are being dropped, with the reason and how many were; over with the next good write. */
bool rmd_history_trouble(struct rmd_history *h, char *out, size_t n);
uint64_t rmd_history_last(struct rmd_history *h);

struct rmd_history_filter {
    uint64_t after;   /* events with a greater number */
    const char *type; /* exact, or a prefix that ends with "." ; NULL: all */
    const struct rmd_id *campaign;
    const struct rmd_id *message;
    uint64_t address_hash; /* 0: all */
};
/* Walks in order, from any thread; fn returns false to stop. Returns the number of the last event seen (also of those
 * filtered out). */
uint64_t rmd_history_read(struct rmd_history *h, const struct rmd_history_filter *f, size_t limit,
                          bool (*fn)(void *ctx, const Remuda__EventRecord *e), void *ctx);
/* The number behind which the last n events that the filter lets through stand (n <= RMD_HISTORY_BACK_MAX); at least
 * f->after. */
uint64_t rmd_history_back(struct rmd_history *h, const struct rmd_history_filter *f, size_t n);
/* Waits until there is an event after `after`, at most wait_ms; false at the time limit. */
bool rmd_history_wait(struct rmd_history *h, uint64_t after, int64_t wait_ms);

#endif
