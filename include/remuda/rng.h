/* Random port: cores that need jitter or ids get a seed or a generator as an argument, never the system's. */
#ifndef REMUDA_RNG_H
#define REMUDA_RNG_H

#include <remuda/types.h>

/* Deterministic generator (xoshiro256**), seeded by its owner: from the kernel in production, by number in the
 * simulator. */
struct rmd_rng {
    uint64_t s[4];
};

void rmd_rng_seed(struct rmd_rng *rng, uint64_t seed);
uint64_t rmd_rng_next(struct rmd_rng *rng);
/* Uniform in [0, bound); bound > 0. */
uint64_t rmd_rng_below(struct rmd_rng *rng, uint64_t bound);

#endif
