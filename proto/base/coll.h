/* Collections: intrusive list, intrusive binary heap, hash map, bitmap, arena. None of them is thread-safe. */
#ifndef REMUDA_COLL_H
#define REMUDA_COLL_H

#include <base/buf.h>

#define rmd_container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* --- doubly linked list; a node that is in no list has next == NULL. The head is a node that points to itself. */
struct rmd_list {
    struct rmd_list *next, *prev;
};
static inline void rmd_list_init(struct rmd_list *h) {
    h->next = h->prev = h;
}
static inline bool rmd_list_empty(const struct rmd_list *h) {
    return h->next == h;
}
static inline bool rmd_list_linked(const struct rmd_list *n) {
    return n->next != NULL;
}
static inline void rmd_list_insert_before(struct rmd_list *at, struct rmd_list *n) {
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void rmd_list_push(struct rmd_list *h, struct rmd_list *n) { /* at the end */
    rmd_list_insert_before(h, n);
}
static inline void rmd_list_push_front(struct rmd_list *h, struct rmd_list *n) {
    rmd_list_insert_before(h->next, n);
}
static inline void rmd_list_remove(struct rmd_list *n) {
    if (!n->next)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
}
#define rmd_list_for(it, head) for (struct rmd_list *it = (head)->next; it != (head); it = it->next)
/* `it` may be removed in the body. */
#define rmd_list_for_safe(it, head)                                               \
    for (struct rmd_list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)

/* --- binary heap of intrusive nodes, smallest key first; ties in order of insertion. A node in no heap has pos == 0
 * (positions start at 1), so a zeroed node is ready. */
struct rmd_heap_node {
    int64_t key;
    uint64_t tie;
    uint32_t pos;
};
struct rmd_heap {
    struct rmd_heap_node **v;
    uint32_t n, cap;
    uint64_t next_tie;
};
void rmd_heap_set(struct rmd_heap *h, struct rmd_heap_node *node, int64_t key); /* insert, or move */
void rmd_heap_remove(struct rmd_heap *h, struct rmd_heap_node *node);           /* does nothing when absent */
static inline struct rmd_heap_node *rmd_heap_min(const struct rmd_heap *h) {
    return h->n ? h->v[0] : NULL;
}
void rmd_heap_release(struct rmd_heap *h); /* nodes are the caller's */

/* --- hash map from byte strings to pointers; open addressing, keys copied into the map. Zeroed = empty.
 * Iteration order is insertion order as long as nothing is deleted (deterministic for a given history, whatever the
 * addresses), so that the simulator replays exactly. */
struct rmd_map {
    struct rmd_map_entry *entries; /* dense, in order */
    uint32_t *index;
    uint32_t n, used, cap, index_cap;
};
struct rmd_map_entry {
    uint8_t *key; /* NULL: deleted */
    uint32_t key_n;
    uint32_t hash;
    void *value;
};
void *rmd_map_get(const struct rmd_map *m, struct rmd_slice key);
/* Returns the old value, or NULL. value must not be NULL. */
void *rmd_map_set(struct rmd_map *m, struct rmd_slice key, void *value);
void *rmd_map_remove(struct rmd_map *m, struct rmd_slice key); /* returns the value, or NULL */
/* *it starts at 0; false at the end. The current entry may be removed while walking; nothing may be inserted. */
bool rmd_map_next(const struct rmd_map *m, uint32_t *it, struct rmd_slice *key, void **value);
void rmd_map_release(struct rmd_map *m);
static inline void *rmd_map_get_str(const struct rmd_map *m, const char *key) {
    return rmd_map_get(m, rmd_slice_str(key));
}
static inline void *rmd_map_get_u64(const struct rmd_map *m, uint64_t key) {
    return rmd_map_get(m, rmd_slice(&key, sizeof key));
}
static inline void *rmd_map_set_u64(struct rmd_map *m, uint64_t key, void *value) {
    return rmd_map_set(m, rmd_slice(&key, sizeof key), value);
}
static inline void *rmd_map_remove_u64(struct rmd_map *m, uint64_t key) {
    return rmd_map_remove(m, rmd_slice(&key, sizeof key));
}

/* --- set of 64-bit hashes, 8 bytes a place at a load of 0.5 to 0.8: for suppressions. 0 is a valid member. */
struct rmd_set64 {
    uint64_t *v;
    size_t n, cap;
    bool has_zero;
};
bool rmd_set64_has(const struct rmd_set64 *s, uint64_t x);
bool rmd_set64_add(struct rmd_set64 *s, uint64_t x);    /* false: was there */
bool rmd_set64_remove(struct rmd_set64 *s, uint64_t x); /* false: was not there */
void rmd_set64_release(struct rmd_set64 *s);

/* --- bitmap over caller-owned bytes; bit i is byte i / 8, value 1 << (i % 8). */
static inline bool rmd_bit_get(const uint8_t *b, size_t i) {
    return b[i >> 3] >> (i & 7) & 1;
}
static inline void rmd_bit_set(uint8_t *b, size_t i) {
    b[i >> 3] = (uint8_t)(b[i >> 3] | 1u << (i & 7));
}
static inline void rmd_bit_clear(uint8_t *b, size_t i) {
    b[i >> 3] = (uint8_t)(b[i >> 3] & ~(1u << (i & 7)));
}
static inline size_t rmd_bit_bytes(size_t n) {
    return (n + 7) / 8;
}
size_t rmd_bit_count(const uint8_t *b, size_t nbits);

/* --- arena: many small allocations, freed together. Memory is zeroed and aligned to 16. */
struct rmd_arena {
    struct rmd_arena_block *head;
    size_t total;
};
void rmd_arena_reserve(struct rmd_arena *a, size_t n); /* the first block's size, before anything is in it */
void *rmd_arena_alloc(struct rmd_arena *a, size_t n);
void *rmd_arena_dup(struct rmd_arena *a, const void *p, size_t n);
char *rmd_arena_str(struct rmd_arena *a, struct rmd_slice s); /* terminated copy */
char *rmd_arena_printf(struct rmd_arena *a, const char *fmt, ...) RMD_PRINTF(2, 3);
void rmd_arena_reset(struct rmd_arena *a); /* keeps one block */
void rmd_arena_release(struct rmd_arena *a);

#endif
