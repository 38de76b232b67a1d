/* Codec: protobuf frames and records in and out of bytes, with an arena as allocator, plus the few values that both
 * programs compute alike. Pure. A decoded message lives in the arena and must not be freed by itself. */
#ifndef REMUDA_CODEC_H
#define REMUDA_CODEC_H

#include <wire/remuda.pb-c.h>

#include "proto/verdict.h"
#include <base/coll.h>

enum {
    RMD_PROTOCOL_VERSION = 1,
    RMD_PROTOCOL_VERSION_MIN = 1,
    RMD_FRAME_MAX_BYTES = 1 << 20,
    RMD_BODY_CHUNK_BYTES = 256 << 10, /* of a template part or a lease part */
    RMD_CREDIT_WINDOW_BYTES = 1 << 20,
    RMD_CHUNK_ROWS_MAX = 256,
    RMD_CHUNK_BYTES_MAX = 192 << 10,
    RMD_EMAIL_MAX = 320,
};

/* RMD_ELIMIT over max_bytes, RMD_EFORMAT when it isn't one. *out lives in the arena. */
int rmd_frame_decode(struct rmd_slice bytes, struct rmd_arena *arena, Remuda__Frame **out) RMD_CHECKED;
void rmd_frame_encode(const Remuda__Frame *frame, struct rmd_buf *out);

/* Any message: descriptor of the type, e.g. &remuda__chunk__descriptor. NULL when malformed. */
void *rmd_pb_decode(const ProtobufCMessageDescriptor *type, struct rmd_slice bytes, struct rmd_arena *arena);
void rmd_pb_encode(const void *message, struct rmd_buf *out); /* appends */

/* Verdicts and replies between memory and wire. The wire side points into the memory side (or the arena). */
void rmd_verdict_to_wire(const struct rmd_verdict *v, Remuda__Verdict *out);
void rmd_verdict_from_wire(const Remuda__Verdict *w,
                           struct rmd_verdict *out); /* NULL: a zeroed verdict; unknown class: OTHER */

/* Hash by which an address is compared for suppressions and in chunks: 64 bits over tenant, the local part as it is
 * but with ASCII letters in lower case, and the domain in lower case. */
uint64_t rmd_address_hash(uint32_t tenant, struct rmd_slice email);

/* Part behind the last "@", or an empty slice. */
struct rmd_slice rmd_address_domain(struct rmd_slice email);

/* Syntax of an address as Remuda sends it: RFC 5321 Mailbox without address literals and comments; quoted local parts
 * allowed; UTF-8 local parts (RFC 6531) when utf8_ok. Domain: A-labels, at least one dot. NULL, or a reason in static
 * text. */
const char *rmd_address_check(struct rmd_slice email, bool utf8_ok);

/* Envelope sender of a message: "b+" token "@" return_domain. The token is the message id (26 characters), "-", and
 * the first 10 characters of base32(HMAC-SHA256(secret, id)): forged bounces don't count. hmac: first bytes of the
 * MAC, computed by the caller through the sign port. */
void rmd_verp_token(const struct rmd_id *message, const uint8_t hmac[8], char out[48]);
int rmd_verp_parse(struct rmd_slice token, struct rmd_id *message, char mac[16]) RMD_CHECKED;
/* A message as people come to know it: its id, its token, its Message-ID ("<" token "@" domain ">", also without the
 * brackets), its envelope sender. RMD_EFORMAT: none of these. The MAC isn't checked: this only looks things up. */
int rmd_message_parse(struct rmd_slice text, struct rmd_id *message) RMD_CHECKED;

#endif
