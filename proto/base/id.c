/* Ids of campaigns and messages: 48 bits of wall milliseconds, 32 random bits, 48 bits of ordinal, big-endian, so
 * that bytewise order is order of time, then of row. As text: Crockford's base 32, which sorts in the same way.
 *
 * Parsing takes either case, but not Crockford's look-alikes (I, L, O): an id has one spelling. */
#include <base/text.h>

#include <assert.h>

enum { ID_RANDOM_AT = 6, ID_ORDINAL_AT = 10, ID_TEXT = 26 };

static void put_be48(uint8_t *p, uint64_t v) {
    rmd_put_be16(p, (uint16_t)(v >> 32));
    rmd_put_be32(p + 2, (uint32_t)v);
}

struct rmd_id rmd_id_make(int64_t wall_ms, uint32_t random) {
    struct rmd_id id = {{0}};
    put_be48(id.b, wall_ms < 0 ? 0 : (uint64_t)wall_ms);
    rmd_put_be32(id.b + ID_RANDOM_AT, random);
    return id;
}

struct rmd_id rmd_id_row(const struct rmd_id *campaign, uint64_t ordinal) {
    assert(ordinal < UINT64_C(1) << 48);
    struct rmd_id id = *campaign;
    put_be48(id.b + ID_ORDINAL_AT, ordinal);
    return id;
}

struct rmd_id rmd_id_campaign(const struct rmd_id *message) {
    return rmd_id_row(message, 0);
}

uint64_t rmd_id_ordinal(const struct rmd_id *message) {
    return (uint64_t)rmd_get_be16(message->b + ID_ORDINAL_AT) << 32 | rmd_get_be32(message->b + ID_ORDINAL_AT + 2);
}

static const char id_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* 26 digits are 130 bits: the first digit holds the three highest bits only. */
void rmd_id_format(const struct rmd_id *id, char out[27]) {
    uint64_t hi = rmd_get_be64(id->b), lo = rmd_get_be64(id->b + 8);
    for (int i = ID_TEXT - 1; i >= 0; i--) {
        out[i] = id_digits[lo & 31];
        lo = lo >> 5 | hi << 59;
        hi >>= 5;
    }
    out[ID_TEXT] = 0;
}

static int id_value(uint8_t c) {
    char d = rmd_lower((char)c);
    if (d >= '0' && d <= '9')
        return d - '0';
    const char *at = d ? strchr(id_digits, d) : NULL;
    return at ? (int)(at - id_digits) : -1;
}

int rmd_id_parse(struct rmd_slice s, struct rmd_id *out) {
    if (s.n != ID_TEXT || s.p[0] > '7') /* more than 128 bits */
        return RMD_EFORMAT;
    uint64_t hi = 0, lo = 0;
    for (int i = 0; i < ID_TEXT; i++) {
        int v = id_value(s.p[i]);
        if (v < 0)
            return RMD_EFORMAT;
        hi = hi << 5 | lo >> 59;
        lo = lo << 5 | (uint64_t)v;
    }
    rmd_put_be64(out->b, hi);
    rmd_put_be64(out->b + 8, lo);
    return RMD_OK;
}

bool rmd_id_eq(const struct rmd_id *a, const struct rmd_id *b) {
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}
