/* A packed Row read without unpacking: ordinal and address are all that settling needs, and it happens for every
 * recipient. */
#include "coordinator/core/core.h"

static bool varint(struct rmd_slice *s, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
        uint8_t b = *s->p++;
        s->n--;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

bool rmd_row_head(struct rmd_slice row, struct rmd_row_head *out) {
    *out = (struct rmd_row_head){0};
    uint64_t tag, v;
    while (row.n) {
        if (!varint(&row, &tag))
            return false;
        switch (tag & 7) {
        case 0:
            if (!varint(&row, &v))
                return false;
            if (tag >> 3 == 1)
                out->ordinal = v;
            break;
        case 2:
            if (!varint(&row, &v) || v > row.n)
                return false;
            if (tag >> 3 == 2)
                out->email = rmd_slice(row.p, (size_t)v);
            row.p += v;
            row.n -= (size_t)v;
            break;
        default:
            return false; /* Row has no fixed-width fields */
        }
    }
    return out->email.n > 0;
}
