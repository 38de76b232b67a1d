/* Arena (see coll.h): blocks that double up to a size, the newest in front; `total` counts the bytes handed out since
 * the last reset, rounded up to 16, so that an owner can compare it with a limit. A large piece gets a block of its
 * own, behind the front one, whose rest stays usable. */
#include <base/coll.h>

#include <assert.h>
#include <stdio.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST_BYTES = 4 << 10, ARENA_BLOCK_BYTES = 256 << 10 };

struct rmd_arena_block {
    struct rmd_arena_block *next;
    size_t size, used;
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

static struct rmd_arena_block *block_new(size_t size) {
    struct rmd_arena_block *block = rmd_realloc(NULL, sizeof *block + size);
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

/* A block with room for n bytes. */
static struct rmd_arena_block *arena_room(struct rmd_arena *a, size_t n) {
    struct rmd_arena_block *head = a->head;
    if (head && head->size - head->used >= n)
        return head;
    size_t size = head ? head->size * 2 : ARENA_FIRST_BYTES;
    if (size > ARENA_BLOCK_BYTES)
        size = ARENA_BLOCK_BYTES;
    if (head && n > size / 4) {
        struct rmd_arena_block *own = block_new(n);
        own->next = head->next;
        head->next = own;
        return own;
    }
    struct rmd_arena_block *block = block_new(n > size ? n : size);
    block->next = head;
    a->head = block;
    return block;
}

static void *arena_take(struct rmd_arena *a, size_t n) {
    assert(n <= SIZE_MAX / 2);
    n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (!n)
        n = ARENA_ALIGN; /* distinct addresses, even for nothing */
    struct rmd_arena_block *block = arena_room(a, n);
    void *p = block->data + block->used;
    block->used += n;
    a->total += n;
    return p;
}

void *rmd_arena_alloc(struct rmd_arena *a, size_t n) {
    return memset(arena_take(a, n), 0, n);
}

void *rmd_arena_dup(struct rmd_arena *a, const void *p, size_t n) {
    void *q = arena_take(a, n);
    if (n)
        memcpy(q, p, n);
    return q;
}

char *rmd_arena_str(struct rmd_arena *a, struct rmd_slice s) {
    char *q = arena_take(a, s.n + 1);
    if (s.n)
        memcpy(q, s.p, s.n);
    q[s.n] = 0;
    return q;
}

char *rmd_arena_printf(struct rmd_arena *a, const char *fmt, ...) {
    assert(fmt);
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    char *q = arena_take(a, (size_t)n + 1);
    vsnprintf(q, (size_t)n + 1, fmt, again);
    va_end(again);
    return q;
}

void rmd_arena_reserve(struct rmd_arena *a, size_t n) {
    if (!a->head)
        a->head = block_new(n);
}

void rmd_arena_reset(struct rmd_arena *a) {
    if (!a->head)
        return;
    struct rmd_arena_block *next = a->head->next;
    while (next) {
        struct rmd_arena_block *block = next;
        next = block->next;
        free(block);
    }
    a->head->next = NULL;
    a->head->used = 0;
    a->total = 0;
    if (a->head->size > ARENA_BLOCK_BYTES) { /* one large first piece must not stay for ever */
        free(a->head);
        a->head = NULL;
    }
}

void rmd_arena_release(struct rmd_arena *a) {
    rmd_arena_reset(a);
    free(a->head);
    *a = (struct rmd_arena){0};
}
