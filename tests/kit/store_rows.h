/* What a store gives, collected for the core's event: for hosts that read the store in tests and simulations.
 *
 * The bytes are copied into the caller's arena; `v` is the caller's to free. */
#ifndef REMUDA_TESTS_STORE_ROWS_H
#define REMUDA_TESTS_STORE_ROWS_H

#include "coordinator/core/coordinator.h"

struct kit_rows {
    struct rmd_arena *arena;
    const struct rmd_slice *key; /* of a get_many: what was asked for */
    struct rmd_row *v;
    size_t n, cap;
};

/* A copy that lives in the arena; never NULL. */
struct rmd_slice kit_keep(struct rmd_arena *a, struct rmd_slice x);
/* Callbacks of scan and get_many; ctx is a struct kit_rows. An absent value stays NULL. */
bool kit_on_row(void *ctx, struct rmd_slice key, struct rmd_slice value);
void kit_on_value(void *ctx, size_t i, struct rmd_slice value);

#endif
