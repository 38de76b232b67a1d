/* Hashes and signatures that are used again: see dkim_cache.h. Bodies are few and stand in the order of their last use. */
#include "node/core/dkim_cache.h"

#include <base/buf.h>

enum { FIXED_MIN_BYTES = 512 /* less isn't worth a comparison */, FIXED_MAX_BYTES = 1 << 20 };

struct known_body {
    struct rmd_buf bytes;
    struct rmd_dkim_body state; /* after them */
    bool whole;                 /* they were a whole body once: hash */
    uint8_t hash[RMD_SHA256_BYTES];
};

struct rmd_dkim_cache {
    const struct rmd_sign_ops *sign;
    struct known_body *body[RMD_DKIM_BODIES_MAX]; /* last used first */
    size_t n, bytes;
    struct rmd_dkim_memo memo[RMD_DKIM_MEMOS_MAX];
};

struct rmd_dkim_cache *rmd_dkim_cache_new(const struct rmd_sign_ops *sign) {
    struct rmd_dkim_cache *c = rmd_alloc(sizeof *c);
    c->sign = sign;
    return c;
}

static void drop_last(struct rmd_dkim_cache *c) {
    struct known_body *b = c->body[--c->n];
    c->bytes -= b->bytes.len;
    rmd_buf_release(&b->bytes);
    free(b);
}

void rmd_dkim_cache_free(struct rmd_dkim_cache *c) {
    if (!c)
        return;
    while (c->n)
        drop_last(c);
    free(c);
}

void rmd_dkim_cache_forget_keys(struct rmd_dkim_cache *c) {
    for (size_t i = 0; i < RMD_DKIM_MEMOS_MAX; i++)
        c->memo[i].handle = NULL;
}

static struct known_body *to_front(struct rmd_dkim_cache *c, size_t at) {
    struct known_body *b = c->body[at];
    memmove(c->body + 1, c->body, at * sizeof *c->body);
    c->body[0] = b;
    return b;
}

static struct known_body *find(struct rmd_dkim_cache *c, enum rmd_dkim_canon canon, struct rmd_slice fixed) {
    for (size_t i = 0; i < c->n; i++)
        if (c->body[i]->bytes.len == fixed.n && c->body[i]->state.canon == canon &&
            memcmp(c->body[i]->bytes.p, fixed.p, fixed.n) == 0)
            return to_front(c, i);
    return NULL;
}

static struct known_body *learn(struct rmd_dkim_cache *c, enum rmd_dkim_canon canon, struct rmd_slice fixed) {
    while (c->n == RMD_DKIM_BODIES_MAX || (c->n && c->bytes + fixed.n > RMD_DKIM_BODIES_BYTES))
        drop_last(c);
    struct known_body *b = rmd_alloc(sizeof *b);
    b->bytes.limit = FIXED_MAX_BYTES;
    rmd_buf_add(&b->bytes, fixed.p, fixed.n);
    rmd_dkim_body_init(&b->state, c->sign, canon);
    rmd_dkim_body_update(&b->state, fixed.p, fixed.n);
    rmd_dkim_body_flush(&b->state);
    c->bytes += fixed.n;
    c->body[c->n++] = b;
    return to_front(c, c->n - 1);
}

void rmd_dkim_cache_body(struct rmd_dkim_cache *c, enum rmd_dkim_canon canon, struct rmd_slice body, size_t fixed,
                         uint8_t hash[RMD_SHA256_BYTES]) {
    struct rmd_dkim_body state;
    if (fixed < FIXED_MIN_BYTES || fixed > FIXED_MAX_BYTES) {
        rmd_dkim_body_init(&state, c->sign, canon);
        rmd_dkim_body_update(&state, body.p, body.n);
        rmd_dkim_body_final(&state, hash);
        return;
    }
    struct rmd_slice part = rmd_slice(body.p, fixed);
    struct known_body *b = find(c, canon, part);
    if (!b)
        b = learn(c, canon, part);
    if (fixed < body.n || !b->whole) {
        rmd_dkim_body_copy(&state, &b->state);
        rmd_dkim_body_update(&state, body.p + fixed, body.n - fixed);
        rmd_dkim_body_final(&state, fixed < body.n ? hash : b->hash);
        b->whole |= fixed == body.n;
    }
    if (fixed == body.n)
        memcpy(hash, b->hash, RMD_SHA256_BYTES);
}

struct rmd_dkim_memo *rmd_dkim_cache_memo(struct rmd_dkim_cache *c, const uint8_t body_hash[RMD_SHA256_BYTES],
                                          size_t k) {
    return &c->memo[(body_hash[0] + k) % RMD_DKIM_MEMOS_MAX];
}
