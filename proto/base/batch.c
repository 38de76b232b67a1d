/* Batches for the store port (store.h): operations encoded one after the other in one buffer.
 *
 * An operation: one byte of kind, four of key length, four of value length (big-endian), key, value. Limits are those
 * of store.h; the first that is passed stays in `error`, and later operations are not added. */
#include <remuda/store.h>

#include <base/buf.h>
#include <base/text.h>

enum { OP_HEAD_BYTES = 9, BATCH_FIRST_BYTES = 512 };

static void batch_reserve(struct rmd_batch *b, size_t more) {
    if (more > RMD_STORE_BATCH_MAX || b->len > RMD_STORE_BATCH_MAX - more) {
        b->error = RMD_ELIMIT;
        return;
    }
    if (b->cap - b->len >= more)
        return;
    size_t cap = b->cap ? b->cap : BATCH_FIRST_BYTES;
    while (cap < b->len + more)
        cap *= 2;
    b->data = rmd_realloc(b->data, cap);
    b->cap = cap;
}

static void batch_add(struct rmd_batch *b, char op, struct rmd_slice key, struct rmd_slice value) {
    batch_reserve(b, OP_HEAD_BYTES + key.n + value.n);
    if (b->error)
        return;
    uint8_t *p = b->data + b->len;
    *p = (uint8_t)op;
    rmd_put_be32(p + 1, (uint32_t)key.n);
    rmd_put_be32(p + 5, (uint32_t)value.n);
    p += OP_HEAD_BYTES;
    if (key.n)
        memcpy(p, key.p, key.n);
    if (value.n)
        memcpy(p + key.n, value.p, value.n);
    b->len += OP_HEAD_BYTES + key.n + value.n;
    b->ops++;
}

/* Sets the sticky error and answers false when the operation can't be added. */
static bool batch_check(struct rmd_batch *b, struct rmd_slice key, bool may_be_empty) {
    if (b->error)
        return false;
    if (key.n > RMD_STORE_KEY_MAX)
        b->error = RMD_ELIMIT;
    else if (!key.n && !may_be_empty)
        b->error = RMD_EINVAL;
    return !b->error;
}

void rmd_batch_put(struct rmd_batch *b, struct rmd_slice key, struct rmd_slice value) {
    if (!batch_check(b, key, false))
        return;
    if (value.n > RMD_STORE_VALUE_MAX)
        b->error = RMD_ELIMIT;
    else
        batch_add(b, 'P', key, value);
}

void rmd_batch_delete(struct rmd_batch *b, struct rmd_slice key) {
    if (batch_check(b, key, false))
        batch_add(b, 'D', key, rmd_slice(NULL, 0));
}

/* A range that ends before it begins is a caller's mistake; one that ends where it begins holds nothing. */
void rmd_batch_delete_range(struct rmd_batch *b, struct rmd_slice from, struct rmd_slice to) {
    if (!batch_check(b, from, true) || !batch_check(b, to, true))
        return;
    size_t n = from.n < to.n ? from.n : to.n;
    int order = n ? memcmp(from.p, to.p, n) : 0;
    if (!order)
        order = from.n < to.n ? -1 : from.n > to.n;
    if (order > 0)
        b->error = RMD_EINVAL;
    else if (order < 0)
        batch_add(b, 'R', from, to);
}

bool rmd_batch_next(const struct rmd_batch *b, size_t *pos, struct rmd_batch_op *op) {
    if (*pos >= b->len || b->len - *pos < OP_HEAD_BYTES)
        return false;
    const uint8_t *p = b->data + *pos;
    size_t key_n = rmd_get_be32(p + 1), value_n = rmd_get_be32(p + 5), left = b->len - *pos - OP_HEAD_BYTES;
    if (key_n > left || value_n > left - key_n)
        return false;
    op->op = (char)*p;
    op->key = rmd_slice(p + OP_HEAD_BYTES, key_n);
    op->value = rmd_slice(p + OP_HEAD_BYTES + key_n, value_n);
    *pos += OP_HEAD_BYTES + key_n + value_n;
    return true;
}

/* src's error comes along: otherwise what src lacks would be lost silently. */
void rmd_batch_append(struct rmd_batch *b, const struct rmd_batch *src) {
    if (b->error)
        return;
    if (src->error) {
        b->error = src->error;
        return;
    }
    size_t n = src->len, ops = src->ops;
    batch_reserve(b, n);
    if (b->error || !n)
        return;
    memcpy(b->data + b->len, src->data, n);
    b->len += n;
    b->ops += ops;
}

void rmd_batch_release(struct rmd_batch *b) {
    free(b->data);
    *b = (struct rmd_batch){0};
}
