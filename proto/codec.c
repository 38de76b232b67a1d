/* Codec: protobuf in and out of bytes, with an arena as allocator (see codec.h).
 *
 * protobuf-c allocates what a message asks for, and a hostile frame asks for much more than its size: an empty
 * sub-message costs two bytes on the wire and a hundred in memory. So every decode has a budget of arena bytes, and a
 * message that wants more is malformed. Our message types don't nest in themselves, so depth is bounded by the
 * schema. */
#include "proto/codec.h"

#include <base/text.h>

/* Memory that one decoded message may take: a fixed part, plus a multiple of its size for the big stored records (a
 * lease that took thousands of records of its own). A full Report of short outcomes takes 15 times its size. */
enum { DECODE_BYTES_BASE = 24 << 20, DECODE_BYTES_FACTOR = 16 };

struct budget {
    struct rmd_arena *arena;
    size_t left;
};

static void *budget_alloc(void *ctx, size_t n) {
    struct budget *b = ctx;
    if (n > b->left)
        return NULL;
    b->left -= n;
    return rmd_arena_alloc(b->arena, n ? n : 1);
}

/* The arena frees all together. */
static void budget_free(void *ctx, void *p) {
    (void)ctx;
    (void)p;
}

void *rmd_pb_decode(const ProtobufCMessageDescriptor *type, struct rmd_slice bytes, struct rmd_arena *arena) {
    struct budget b = {.arena = arena, .left = DECODE_BYTES_BASE};
    if (bytes.n > (SIZE_MAX - DECODE_BYTES_BASE) / DECODE_BYTES_FACTOR)
        return NULL;
    b.left += bytes.n * DECODE_BYTES_FACTOR;
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &b};
    static const uint8_t nothing[1];
    return protobuf_c_message_unpack(type, &allocator, bytes.n, bytes.p ? bytes.p : nothing);
}

void rmd_pb_encode(const void *message, struct rmd_buf *out) {
    size_t n = protobuf_c_message_get_packed_size(message);
    rmd_buf_reserve(out, n);
    if (out->overflow)
        return;
    protobuf_c_message_pack(message, out->p + out->len);
    out->len += n;
    out->p[out->len] = 0;
}

int rmd_frame_decode(struct rmd_slice bytes, struct rmd_arena *arena, Remuda__Frame **out) {
    *out = NULL;
    if (bytes.n > RMD_FRAME_MAX_BYTES)
        return RMD_ELIMIT;
    Remuda__Frame *frame = rmd_pb_decode(&remuda__frame__descriptor, bytes, arena);
    if (!frame)
        return RMD_EFORMAT;
    *out = frame;
    return RMD_OK;
}

void rmd_frame_encode(const Remuda__Frame *frame, struct rmd_buf *out) {
    rmd_pb_encode(frame, out);
}

void rmd_verdict_to_wire(const struct rmd_verdict *v, Remuda__Verdict *out) {
    remuda__verdict__init(out);
    out->class_ = v->class;
    out->scope = v->scope;
    out->at_provider = v->at_provider;
    out->action = v->action;
    out->duration_ms = v->duration_ms;
    out->move = v->move;
    out->permanent = v->permanent;
    if (v->rule)
        out->rule = (char *)(uintptr_t)v->rule; /* protobuf-c has no const; it only reads */
}

#define X_SCOPE_BIT(id, bit, name) | 1u << (bit)
enum { SCOPE_ALL = 0u RMD_SCOPES(X_SCOPE_BIT) };

void rmd_verdict_from_wire(const Remuda__Verdict *w, struct rmd_verdict *out) {
    *out = (struct rmd_verdict){.rule = ""};
    if (!w)
        return;
    out->class = w->class_ < RMD_CLASS_COUNT ? (enum rmd_class)w->class_ : RMD_CLASS_OTHER;
    out->scope = w->scope & SCOPE_ALL;
    out->at_provider = w->at_provider;
    out->duration_ms = w->duration_ms < 0 ? 0 : w->duration_ms;
    out->move = w->move;
    out->permanent = w->permanent;
    out->rule = w->rule;
    if (w->action < RMD_ACTION_COUNT)
        out->action = (enum rmd_action)w->action;
    else /* an action of a later version: what the code alone would have said */
        out->action = w->permanent ? RMD_ACTION_FAIL : RMD_ACTION_RETRY;
}

/* ---------------------------------------------------------------- VERP tokens */

enum { VERP_ID = 26, VERP_MAC = 10, VERP_TOKEN = VERP_ID + 1 + VERP_MAC };

/* The alphabet of ids, so that a token survives receivers that fold the case of a local part. */
static const char verp_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void rmd_verp_token(const struct rmd_id *message, const uint8_t hmac[8], char out[48]) {
    rmd_id_format(message, out);
    out[VERP_ID] = '-';
    uint64_t mac = rmd_get_be64(hmac);
    for (int i = 0; i < VERP_MAC; i++)
        out[VERP_ID + 1 + i] = verp_digits[mac >> (59 - 5 * i) & 31];
    out[VERP_TOKEN] = 0;
}

int rmd_verp_parse(struct rmd_slice token, struct rmd_id *message, char mac[16]) {
    if (token.n != VERP_TOKEN || token.p[VERP_ID] != '-')
        return RMD_EFORMAT;
    struct rmd_id id;
    char text[VERP_MAC + 1] = "";
    for (int i = 0; i < VERP_MAC; i++) {
        text[i] = rmd_lower((char)token.p[VERP_ID + 1 + i]);
        if (!text[i] || !strchr(verp_digits, text[i]))
            return RMD_EFORMAT;
    }
    int error = rmd_id_parse(rmd_slice(token.p, VERP_ID), &id);
    if (error)
        return error;
    *message = id;
    memcpy(mac, text, sizeof text);
    return RMD_OK;
}

int rmd_message_parse(struct rmd_slice text, struct rmd_id *message) {
    char mac[16];
    struct rmd_slice t = rmd_trim(text);
    if (t.n && t.p[0] == '<')
        t = rmd_slice(t.p + 1, t.n - 1);
    if (t.n > 2 && rmd_lower((char)t.p[0]) == 'b' && t.p[1] == '+')
        t = rmd_slice(t.p + 2, t.n - 2);
    const uint8_t *end = memchr(t.p, '@', t.n);
    if (end)
        t.n = (size_t)(end - t.p);
    return t.n == VERP_TOKEN ? rmd_verp_parse(t, message, mac) : rmd_id_parse(t, message);
}
