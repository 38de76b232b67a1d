/* Counting in a bitmap over caller-owned bytes (see coll.h). Bits past nbits in the last byte are not looked at. */
#include <base/coll.h>

size_t rmd_bit_count(const uint8_t *b, size_t nbits) {
    size_t count = 0, bytes = nbits / 8, i = 0;
    for (; bytes - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, b + i, sizeof word);
        count += (size_t)__builtin_popcountll(word);
    }
    for (; i < bytes; i++)
        count += (size_t)__builtin_popcount(b[i]);
    if (nbits % 8)
        count += (size_t)__builtin_popcount(b[i] & ((1u << nbits % 8) - 1));
    return count;
}
