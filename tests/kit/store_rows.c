/* Rows of a store (see store_rows.h). */
#include "tests/kit/store_rows.h"

#include <assert.h>

struct rmd_slice kit_keep(struct rmd_arena *a, struct rmd_slice x) {
    return x.n ? rmd_slice(rmd_arena_dup(a, x.p, x.n), x.n) : rmd_slice("", 0);
}

bool kit_on_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct kit_rows *l = ctx;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->v = rmd_realloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] =
        (struct rmd_row){.key = kit_keep(l->arena, key), .value = value.p ? kit_keep(l->arena, value) : value};
    return true;
}

void kit_on_value(void *ctx, size_t i, struct rmd_slice value) {
    struct kit_rows *l = ctx;
    assert(i == l->n); /* the port answers in order */
    kit_on_row(l, l->key[i], value);
}
