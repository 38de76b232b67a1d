/* Growable bytes, and the allocations that end the program when memory is out (see buf.h for the contract).
 *
 * Why memory exhaustion ends the program: nothing that Remuda owes anybody is in memory only. What is durable replays
 * after the restart, so a clean end is always right, and half-done work after a failed malloc never is. */
#include <base/buf.h>

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

enum { BUF_FIRST_BYTES = 64, EXIT_NO_MEMORY = 71 /* EX_OSERR of sysexits.h */ };

static _Noreturn void out_of_memory(size_t n) {
    char line[128];
    int len = snprintf(line, sizeof line, "remuda: out of memory (asked for %zu bytes); stopping\n", n);
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)len);
    (void)ignored;
    _exit(EXIT_NO_MEMORY);
}

void *rmd_alloc(size_t n) {
    void *p = calloc(1, n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

void *rmd_realloc(void *p, size_t n) {
    void *q = realloc(p, n ? n : 1);
    if (!q)
        out_of_memory(n);
    return q;
}

void *rmd_memdup(const void *p, size_t n) {
    void *q = malloc(n ? n : 1);
    if (!q)
        out_of_memory(n);
    if (n)
        memcpy(q, p, n);
    return q;
}

char *rmd_strndup(const void *s, size_t n) {
    char *q = rmd_realloc(NULL, n + 1);
    if (n)
        memcpy(q, s, n);
    q[n] = 0;
    return q;
}

char *rmd_strdup(const char *s) {
    return rmd_strndup(s, strlen(s));
}

void rmd_buf_release(struct rmd_buf *b) {
    free(b->p);
    *b = (struct rmd_buf){0};
}

static size_t buf_limit(const struct rmd_buf *b) {
    return b->limit ? b->limit : RMD_BUF_LIMIT;
}

void rmd_buf_reserve(struct rmd_buf *b, size_t more) {
    if (b->overflow)
        return;
    size_t limit = buf_limit(b);
    if (b->len > limit || more > limit - b->len) {
        b->overflow = true;
        return;
    }
    size_t need = b->len + more + 1; /* with the terminator; limit < SIZE_MAX in all practice, asserted here */
    assert(need > more);
    if (need <= b->cap)
        return;
    /* Twice as much, so that appending is cheap; but who says at once how much it will be gets no more than that. */
    size_t cap = b->cap > SIZE_MAX / 2 ? need : b->cap * 2;
    if (cap < BUF_FIRST_BYTES)
        cap = BUF_FIRST_BYTES;
    if (cap < need)
        cap = need;
    if (cap - 1 > limit)
        cap = limit + 1;
    b->p = rmd_realloc(b->p, cap);
    b->cap = cap;
    b->p[b->len] = 0;
}

void rmd_buf_add(struct rmd_buf *b, const void *p, size_t n) {
    /* The bytes may be the buffer's own: growing moves them. */
    const uint8_t *src = p;
    bool own = b->p && (uintptr_t)src >= (uintptr_t)b->p && (uintptr_t)src < (uintptr_t)b->p + b->cap;
    size_t offset = own ? (size_t)(src - b->p) : 0;
    rmd_buf_reserve(b, n);
    if (b->overflow || !n)
        return;
    memmove(b->p + b->len, own ? b->p + offset : src, n);
    b->len += n;
    b->p[b->len] = 0;
}

void rmd_buf_addstr(struct rmd_buf *b, const char *s) {
    rmd_buf_add(b, s, strlen(s));
}

void rmd_buf_addc(struct rmd_buf *b, char c) {
    if (b->overflow || b->len + 1 >= b->cap || b->len >= buf_limit(b)) {
        rmd_buf_add(b, &c, 1);
        return;
    }
    b->p[b->len++] = (uint8_t)c;
    b->p[b->len] = 0;
}

void rmd_buf_vaddf(struct rmd_buf *b, const char *fmt, va_list ap) {
    if (b->overflow)
        return;
    va_list again;
    va_copy(again, ap);
    size_t room = b->p ? b->cap - b->len : 0;
    int n = vsnprintf(room ? (char *)b->p + b->len : NULL, room, fmt, ap);
    assert(n >= 0);
    if (b->p)
        b->p[b->len] = 0; /* undone until it is known to fit */
    rmd_buf_reserve(b, (size_t)n);
    if (!b->overflow) {
        vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void rmd_buf_add_u64(struct rmd_buf *b, uint64_t v) {
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    rmd_buf_add(b, digits + n, sizeof digits - n);
}

void rmd_buf_addf(struct rmd_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(b, fmt, ap);
    va_end(ap);
}

void rmd_buf_truncate(struct rmd_buf *b, size_t len) {
    if (len >= b->len)
        return;
    b->len = len;
    b->p[len] = 0;
}

void rmd_buf_consume(struct rmd_buf *b, size_t n) {
    if (!n || !b->len)
        return;
    if (n > b->len)
        n = b->len;
    b->len -= n;
    memmove(b->p, b->p + n, b->len + 1); /* with the terminator */
}

uint8_t *rmd_buf_take(struct rmd_buf *b, size_t *n) {
    uint8_t *p = b->p ? b->p : rmd_alloc(1);
    if (n)
        *n = b->len;
    *b = (struct rmd_buf){.limit = b->limit};
    return p;
}
