/* struct rmd_buf: growable bytes with a limit.
 *
 * Invariant: p is NULL or holds cap bytes, len < cap, and p[len] == 0, so that p can be read as a C string. Growing
 * past `limit` (0: RMD_BUF_LIMIT) sets the sticky flag `overflow` and leaves the content as it was; later appends do
 * nothing. Out of memory ends the program (rmd_alloc). init/release: a zeroed struct is a valid empty buffer;
 * release() frees and zeroes; clear() keeps the memory; take() hands the bytes over to the caller, who frees them
 * with free(). */
#ifndef REMUDA_BUF_H
#define REMUDA_BUF_H

#include <stdarg.h>
#include <stdlib.h>

#include <remuda/types.h>

enum { RMD_BUF_LIMIT = 64 << 20 };

struct rmd_buf {
    uint8_t *p;
    size_t len, cap, limit;
    bool overflow;
};

/* malloc/realloc/strdup that end the program with a clear message when memory is out. */
void *rmd_alloc(size_t n); /* zeroed */
void *rmd_realloc(void *p, size_t n);
char *rmd_strdup(const char *s);
char *rmd_strndup(const void *s, size_t n);
void *rmd_memdup(const void *p, size_t n);

void rmd_buf_release(struct rmd_buf *b);
static inline void rmd_buf_clear(struct rmd_buf *b) {
    b->len = 0;
    b->overflow = false;
    if (b->p)
        b->p[0] = 0;
}
void rmd_buf_reserve(struct rmd_buf *b, size_t more);
void rmd_buf_add(struct rmd_buf *b, const void *p, size_t n);
void rmd_buf_addstr(struct rmd_buf *b, const char *s);
void rmd_buf_addc(struct rmd_buf *b, char c);
void rmd_buf_add_u64(struct rmd_buf *b, uint64_t v); /* decimal */
void rmd_buf_addf(struct rmd_buf *b, const char *fmt, ...) RMD_PRINTF(2, 3);
void rmd_buf_vaddf(struct rmd_buf *b, const char *fmt, va_list ap);
void rmd_buf_truncate(struct rmd_buf *b, size_t len);
void rmd_buf_consume(struct rmd_buf *b, size_t n); /* drops n bytes at the front */
uint8_t *rmd_buf_take(struct rmd_buf *b, size_t *n);
static inline struct rmd_slice rmd_buf_slice(const struct rmd_buf *b) {
    return rmd_slice(b->p, b->len);
}
static inline const char *rmd_buf_str(const struct rmd_buf *b) {
    return b->p ? (const char *)b->p : "";
}

#endif
