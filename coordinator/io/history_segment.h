/* One file of the history: frames of length u32, checksum u32 (FNV-1a of the payload), packed EventRecord;
 * little-endian as the host writes it. Sequence numbers are dense: the i-th frame of a segment has its first number +
 * i. */
#ifndef REMUDA_HISTORY_SEGMENT_H
#define REMUDA_HISTORY_SEGMENT_H

#include "proto/codec.h"

enum { RMD_HISTORY_EVENT_BYTES_MAX = 64 << 10, RMD_HISTORY_FRAME_HEAD = 8 };

struct rmd_segment {
    uint64_t first; /* number of its first event */
    uint64_t n;     /* events in it; closed segments: from the next one's first number */
    uint64_t bytes;
    int64_t newest_wall_ms;
};

/* A segment mapped for reading, up to `bytes`; {0} when it could not be. */
struct rmd_segment_view {
    const uint8_t *p;
    size_t n;
};
void rmd_segment_path(char *out, size_t n, const char *directory, uint64_t first, const char *suffix);
struct rmd_segment_view rmd_segment_map(const char *directory, const struct rmd_segment *s);
void rmd_segment_unmap(struct rmd_segment_view *v);
/* The frame at *pos; moves *pos behind it. False at the end or at a torn or damaged frame. */
bool rmd_segment_next(const struct rmd_segment_view *v, size_t *pos, struct rmd_slice *payload);
void rmd_segment_frame(struct rmd_buf *out, struct rmd_slice payload); /* appends one */

/* The index of a closed segment: pairs (address hash, offset), sorted. Made once; a missing one is made when it is
 * needed. */
int rmd_segment_index_write(const char *directory, const struct rmd_segment *s) RMD_CHECKED;
/* Calls fn with the offset of each frame of this address, in order; false when there is no usable index. */
bool rmd_segment_index_find(const char *directory, const struct rmd_segment *s, uint64_t address_hash,
                            bool (*fn)(void *ctx, size_t offset), void *ctx);

#endif
