/* xoshiro256** (Blackman and Vigna), seeded through splitmix64 as its authors advise. Deterministic on every machine;
 * not for secrets. */
#include <remuda/rng.h>

#include <base/text.h>

#include <assert.h>

void rmd_rng_seed(struct rmd_rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        rng->s[i] = rmd_mix64(seed += UINT64_C(0x9e3779b97f4a7c15));
}

static uint64_t rotate(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

uint64_t rmd_rng_next(struct rmd_rng *rng) {
    uint64_t *s = rng->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* Lemire's multiplication, with rejection of the few values that would favour some results. */
uint64_t rmd_rng_below(struct rmd_rng *rng, uint64_t bound) {
    assert(bound > 0);
    uint64_t reject = (0 - bound) % bound; /* 2^64 mod bound */
    for (;;) {
        unsigned __int128 m = (unsigned __int128)rmd_rng_next(rng) * bound;
        if ((uint64_t)m >= reject)
            return (uint64_t)(m >> 64);
    }
}
