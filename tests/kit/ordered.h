/* An ordered map from byte strings to byte strings: a skip list with a backward link at the lowest level.
 *
 * For the fakes: deterministic (heights come from a generator of its own with a fixed seed), O(log n) for everything
 * but walking. A zeroed struct is empty. The map owns its nodes; unlink() hands one over, and insert_node() takes one
 * back, so that an undo log keeps nodes without copying them. */
#ifndef REMUDA_KIT_ORDERED_H
#define REMUDA_KIT_ORDERED_H

#include <remuda/types.h>

enum { RMD_ORDERED_LEVELS = 16 };

struct rmd_ordered_node {
    struct rmd_ordered_node *prev;
    uint8_t *value; /* NULL when empty */
    uint32_t key_n, value_n;
    uint8_t levels;
    struct rmd_ordered_node *next[]; /* `levels` of them, then the key's bytes */
};

struct rmd_ordered {
    struct rmd_ordered_node *first[RMD_ORDERED_LEVELS];
    size_t n;
    uint64_t random;
};

struct rmd_slice rmd_ordered_key(const struct rmd_ordered_node *node);
static inline struct rmd_slice rmd_ordered_value(const struct rmd_ordered_node *node) {
    return rmd_slice(node->value, node->value_n);
}
int rmd_ordered_compare(struct rmd_slice a, struct rmd_slice b);

/* The first node whose key is not less than key, or NULL. */
struct rmd_ordered_node *rmd_ordered_seek(struct rmd_ordered *m, struct rmd_slice key);
/* The last node whose key is less than key, or NULL. */
struct rmd_ordered_node *rmd_ordered_before(struct rmd_ordered *m, struct rmd_slice key);
struct rmd_ordered_node *rmd_ordered_find(struct rmd_ordered *m, struct rmd_slice key);
/* Inserts a node for an absent key; its value is copied. */
struct rmd_ordered_node *rmd_ordered_insert(struct rmd_ordered *m, struct rmd_slice key, struct rmd_slice value);
void rmd_ordered_insert_node(struct rmd_ordered *m, struct rmd_ordered_node *node);
/* Unlinks; the caller owns the node from then on. */
void rmd_ordered_unlink(struct rmd_ordered *m, struct rmd_ordered_node *node);
void rmd_ordered_node_free(struct rmd_ordered_node *node);
void rmd_ordered_release(struct rmd_ordered *m);

#endif
