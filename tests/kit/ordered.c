/* Skip list; the contract is in ordered.h. */
#include "tests/kit/ordered.h"

#include <assert.h>

#include <base/buf.h>
#include <base/text.h>

/* For each level, the link that leads past the last node less than the key; and that node. */
struct path {
    struct rmd_ordered_node **link[RMD_ORDERED_LEVELS];
    struct rmd_ordered_node *before;
};

struct rmd_slice rmd_ordered_key(const struct rmd_ordered_node *node) {
    return rmd_slice(&node->next[node->levels], node->key_n);
}

int rmd_ordered_compare(struct rmd_slice a, struct rmd_slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static struct rmd_ordered_node *descend(struct rmd_ordered *m, struct rmd_slice key, struct path *path) {
    struct rmd_ordered_node **links = m->first;
    path->before = NULL;
    for (int level = RMD_ORDERED_LEVELS - 1; level >= 0; level--) {
        while (links[level] && rmd_ordered_compare(rmd_ordered_key(links[level]), key) < 0) {
            path->before = links[level];
            links = path->before->next;
        }
        path->link[level] = &links[level];
    }
    return links[0];
}

struct rmd_ordered_node *rmd_ordered_seek(struct rmd_ordered *m, struct rmd_slice key) {
    struct path path;
    return descend(m, key, &path);
}

struct rmd_ordered_node *rmd_ordered_before(struct rmd_ordered *m, struct rmd_slice key) {
    struct path path;
    descend(m, key, &path);
    return path.before;
}

struct rmd_ordered_node *rmd_ordered_find(struct rmd_ordered *m, struct rmd_slice key) {
    struct rmd_ordered_node *node = rmd_ordered_seek(m, key);
    return node && rmd_slice_eq(rmd_ordered_key(node), key) ? node : NULL;
}

void rmd_ordered_insert_node(struct rmd_ordered *m, struct rmd_ordered_node *node) {
    struct path path;
    struct rmd_ordered_node *after = descend(m, rmd_ordered_key(node), &path);
    assert(!after || !rmd_slice_eq(rmd_ordered_key(after), rmd_ordered_key(node)));
    for (int level = 0; level < node->levels; level++) {
        node->next[level] = *path.link[level];
        *path.link[level] = node;
    }
    node->prev = path.before;
    if (after)
        after->prev = node;
    m->n++;
}

struct rmd_ordered_node *rmd_ordered_insert(struct rmd_ordered *m, struct rmd_slice key, struct rmd_slice value) {
    uint64_t r = rmd_mix64(++m->random);
    uint8_t levels = 1;
    for (; levels < RMD_ORDERED_LEVELS && (r & 3) == 0; r >>= 2)
        levels++;
    struct rmd_ordered_node *node = rmd_alloc(sizeof *node + levels * sizeof node->next[0] + key.n);
    node->levels = levels;
    node->key_n = (uint32_t)key.n;
    if (key.n)
        memcpy(&node->next[levels], key.p, key.n);
    node->value_n = (uint32_t)value.n;
    node->value = value.n ? rmd_memdup(value.p, value.n) : NULL;
    rmd_ordered_insert_node(m, node);
    return node;
}

void rmd_ordered_unlink(struct rmd_ordered *m, struct rmd_ordered_node *node) {
    struct path path;
    struct rmd_ordered_node *found = descend(m, rmd_ordered_key(node), &path);
    assert(found == node);
    (void)found;
    for (int level = 0; level < node->levels; level++)
        *path.link[level] = node->next[level];
    if (node->next[0])
        node->next[0]->prev = path.before;
    node->prev = NULL;
    m->n--;
}

void rmd_ordered_node_free(struct rmd_ordered_node *node) {
    free(node->value);
    free(node);
}

void rmd_ordered_release(struct rmd_ordered *m) {
    for (struct rmd_ordered_node *node = m->first[0]; node;) {
        struct rmd_ordered_node *next = node->next[0];
        rmd_ordered_node_free(node);
        node = next;
    }
    *m = (struct rmd_ordered){0};
}
