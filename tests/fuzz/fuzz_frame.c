/* Fuzz target: bytes as a frame. What decodes is encoded again, and that must decode to the same bytes: a coordinator
 * and its nodes agree on every frame that either of them takes. Memory stays within the decoder's budget. */
#include <stdlib.h>

#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Remuda ignores unknown fields, but protobuf-c keeps them for the next encoding, even those of field number 0,
 * written overlong, which it then refuses to read. They are not ours to compare. */
static void drop_unknown(ProtobufCMessage *m) {
    m->n_unknown_fields = 0;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const uint8_t *at = (const uint8_t *)m + f->offset, *quantifier = (const uint8_t *)m + f->quantifier_offset;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            ProtobufCMessage **list = *(ProtobufCMessage * *const *)(const void *)at;
            for (size_t k = 0; k < *(const size_t *)(const void *)quantifier; k++)
                drop_unknown(list[k]);
            continue;
        }
        ProtobufCMessage *child = *(ProtobufCMessage *const *)(const void *)at;
        bool is_case =
            !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || *(const uint32_t *)(const void *)quantifier == f->id;
        if (is_case && child)
            drop_unknown(child);
    }
}

static void encode(const Remuda__Frame *frame, struct rmd_buf *out) {
    rmd_frame_encode(frame, out);
    if (out->overflow)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rmd_arena arena = {0};
    struct rmd_buf first = {0}, second = {0};
    Remuda__Frame *frame, *again;
    if (rmd_frame_decode(rmd_slice(data, size), &arena, &frame) == RMD_OK) {
        struct rmd_verdict verdict;
        if (frame->body_case == REMUDA__FRAME__BODY_ALARM && frame->alarm) {
            Remuda__Verdict wire;
            rmd_verdict_from_wire(frame->alarm->verdict, &verdict);
            rmd_verdict_to_wire(&verdict, &wire);
            if (rmd_class_name(wire.class_)[0] == '?' || rmd_action_name(wire.action)[0] == '?')
                abort();
        }
        drop_unknown(&frame->base);
        encode(frame, &first);
        if (first.len <= RMD_FRAME_MAX_BYTES) {
            if (rmd_frame_decode(rmd_buf_slice(&first), &arena, &again) != RMD_OK)
                abort();
            encode(again, &second);
            if (!rmd_slice_eq(rmd_buf_slice(&first), rmd_buf_slice(&second)))
                abort();
        }
    }
    if (arena.total > (size_t)256 << 20)
        abort();
    rmd_arena_release(&arena);
    rmd_buf_release(&first);
    rmd_buf_release(&second);
    return 0;
}
