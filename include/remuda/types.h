/* Plain types that both programs share: slices, ids, times, addresses. No functions beside trivial inline ones. */
#ifndef REMUDA_TYPES_H
#define REMUDA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <remuda/error.h>

/* Bytes owned by somebody else; valid as long as the contract of the call that handed them out says. */
struct rmd_slice {
    const uint8_t *p;
    size_t n;
};

static inline struct rmd_slice rmd_slice(const void *p, size_t n) {
    return (struct rmd_slice){.p = (const uint8_t *)p, .n = n};
}
static inline struct rmd_slice rmd_slice_str(const char *s) {
    return rmd_slice(s, strlen(s));
}
static inline bool rmd_slice_eq(struct rmd_slice a, struct rmd_slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* 128-bit time-ordered id, compared bytewise: 48 bits of wall milliseconds, 32 random bits, 48 bits of ordinal.
 * A campaign's id has ordinal 0; its messages share the first 80 bits, and their ordinal is the row (from 1). */
struct rmd_id {
    uint8_t b[16];
};

/* When something happened. Monotonic time serves waiting and expiry; wall time serves people, age limits and day
 * boundaries. Both in milliseconds; mono_ms has no meaning in another boot. */
struct rmd_time {
    int64_t mono_ms;
    int64_t wall_ms;
};

#define RMD_NEVER INT64_MAX

/* An IP address; IPv4 uses the first four bytes. family is 4 or 6, 0 = none. */
struct rmd_addr {
    uint8_t family;
    uint8_t b[16];
};

enum { RMD_KEY_BYTES = 32, RMD_HASH_BYTES = 32, RMD_UUID_BYTES = 16 };

#endif
