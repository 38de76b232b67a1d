/* Intrusive binary heap (see coll.h). Equal keys leave in the order in which they got that key: a node that moves to
 * another key counts as inserted then, one that is set to the key it has keeps its turn. */
#include <base/coll.h>

#include <assert.h>

enum { HEAP_FIRST = 16, HEAP_MAX = 1 << 30 };

static bool before(const struct rmd_heap_node *a, const struct rmd_heap_node *b) {
    return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void place(struct rmd_heap *h, uint32_t i, struct rmd_heap_node *node) {
    h->v[i] = node;
    node->pos = i + 1;
}

static void sift_up(struct rmd_heap *h, uint32_t i, struct rmd_heap_node *node) {
    for (; i > 0; i = (i - 1) / 2) {
        struct rmd_heap_node *parent = h->v[(i - 1) / 2];
        if (!before(node, parent))
            break;
        place(h, i, parent);
    }
    place(h, i, node);
}

static void sift_down(struct rmd_heap *h, uint32_t i, struct rmd_heap_node *node) {
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(h->v[child + 1], h->v[child]))
            child++;
        if (!before(h->v[child], node))
            break;
        place(h, i, h->v[child]);
        i = child;
    }
    place(h, i, node);
}

/* Puts node at the free place i, then where it belongs. */
static void settle(struct rmd_heap *h, uint32_t i, struct rmd_heap_node *node) {
    if (i > 0 && before(node, h->v[(i - 1) / 2]))
        sift_up(h, i, node);
    else
        sift_down(h, i, node);
}

void rmd_heap_set(struct rmd_heap *h, struct rmd_heap_node *node, int64_t key) {
    if (node->pos) {
        assert(node->pos <= h->n && h->v[node->pos - 1] == node); /* else it is in another heap */
        if (node->key == key)
            return;
        node->key = key;
        node->tie = h->next_tie++;
        settle(h, node->pos - 1, node);
        return;
    }
    if (h->n == h->cap) {
        assert(h->cap < HEAP_MAX);
        h->cap = h->cap ? h->cap * 2 : HEAP_FIRST;
        h->v = rmd_realloc(h->v, h->cap * sizeof(struct rmd_heap_node *));
    }
    node->key = key;
    node->tie = h->next_tie++;
    h->n++;
    sift_up(h, h->n - 1, node);
}

void rmd_heap_remove(struct rmd_heap *h, struct rmd_heap_node *node) {
    if (!node->pos)
        return;
    assert(node->pos <= h->n && h->v[node->pos - 1] == node);
    uint32_t i = node->pos - 1;
    struct rmd_heap_node *last = h->v[--h->n];
    node->pos = 0;
    if (last != node)
        settle(h, i, last);
}

void rmd_heap_release(struct rmd_heap *h) {
    for (uint32_t i = 0; i < h->n; i++)
        h->v[i]->pos = 0;
    free(h->v);
    *h = (struct rmd_heap){0};
}
