/* Memory of the stand-ins and their store: blocks of a few sizes out of mappings, so that malloc holds the core alone. */
#include <sys/mman.h>

#include "tests/sim/scale/scale.h"

enum { SIZES = 64, SLAB = 4 << 20, BIG = 1 << 20 };

static struct {
    void *free[SIZES];
    uint8_t *at, *end;
    size_t mapped;
} pool;

void *pool_map(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fputs("sim: no memory left for the scale run\n", stderr);
        exit(2);
    }
    pool.mapped += n;
    return p;
}

/* Four sizes between two powers of two. */
static unsigned size_class(size_t n, size_t *size) {
    size_t unit = 16;
    unsigned c = 0;
    while (unit * 8 < n)
        unit *= 2, c += 4;
    size_t steps = (n + unit - 1) / unit;
    *size = steps * unit;
    return c + (unsigned)steps;
}

void *pool_take(size_t n) {
    if (n >= BIG)
        return pool_map(n);
    size_t size;
    unsigned c = size_class(n, &size);
    void *p = pool.free[c];
    if (p) {
        memcpy(&pool.free[c], p, sizeof(void *));
        memset(p, 0, size);
        return p;
    }
    if ((size_t)(pool.end - pool.at) < size) {
        pool.at = pool_map(SLAB);
        pool.end = pool.at + SLAB;
    }
    p = pool.at;
    pool.at += size;
    return p;
}

void pool_give(void *p, size_t n) {
    if (!p)
        return;
    if (n >= BIG) {
        munmap(p, n);
        pool.mapped -= n;
        return;
    }
    size_t size;
    unsigned c = size_class(n, &size);
    memcpy(p, &pool.free[c], sizeof(void *));
    pool.free[c] = p;
}

size_t pool_bytes(void) {
    return pool.mapped;
}
