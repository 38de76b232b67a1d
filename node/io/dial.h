/* One outgoing TCP connection: bound to its source, non-blocking, with TLS on demand and a send buffer.
 *
 * Errors of the kernel become our own errors with a text for people (proto/rules.h). Bytes given to send() leave as
 * the kernel takes them; what is left waits in `out`. A send that the peer has cut isn't reported by itself: reading
 * tells, after what the peer still said (a 421 before it closed) has been read. */
#ifndef REMUDA_NODE_DIAL_H
#define REMUDA_NODE_DIAL_H

#include <base/buf.h>

#include "node/io/tls.h"
#include "proto/rules.h"

enum { RMD_DIAL_READ_BYTES = 16 << 10, RMD_DIAL_OUT_BYTES_MAX = 80 << 20 };

enum rmd_dial_state {
    RMD_DIAL_CLOSED,
    RMD_DIAL_CONNECTING,
    RMD_DIAL_OPEN,
    RMD_DIAL_HANDSHAKE,
    RMD_DIAL_FAILED, /* told, or being told: nothing more is read or sent */
};

struct rmd_dial {
    int fd;
    enum rmd_dial_state state;
    struct rmd_addr source;
    struct rmd_tls *tls;
    struct rmd_tls_info tls_info; /* of the handshake that ended */
    struct rmd_buf out;
    size_t out_at;
    bool cut; /* sending failed: only reading goes on */
    enum rmd_own_error error;
    char text[160];
};

/* RMD_OK: connecting. Else state is FAILED with error and text. */
int rmd_dial_open(struct rmd_dial *d, const struct rmd_addr *source, const struct rmd_addr *dest,
                  uint16_t port) RMD_CHECKED;
/* When a connecting socket became writable: OPEN, or FAILED. RMD_EAGAIN: not yet. */
int rmd_dial_connected(struct rmd_dial *d) RMD_CHECKED;
void rmd_dial_close(struct rmd_dial *d);

/* RMD_OK: everything has left. RMD_EAGAIN: the rest leaves by flush(). */
int rmd_dial_send(struct rmd_dial *d, struct rmd_slice bytes) RMD_CHECKED;
int rmd_dial_flush(struct rmd_dial *d) RMD_CHECKED;
/* > 0: bytes, at most RMD_DIAL_READ_BYTES; RMD_EAGAIN; RMD_ECLOSED: FAILED with error and text. */
long rmd_dial_read(struct rmd_dial *d, void *buf);
/* Anything in the buffers before the handshake is an injection (CVE-2011-0411): the core has read all of it by then.
 */
int rmd_dial_start_tls(struct rmd_dial *d, struct rmd_tls_context *c, const struct rmd_tls_spec *spec) RMD_CHECKED;
/* RMD_OK with d->text and d->tls_info; RMD_EAGAIN; RMD_EIO with both. */
int rmd_dial_handshake(struct rmd_dial *d) RMD_CHECKED;
/* Which of EPOLLIN and EPOLLOUT to wait for. */
uint32_t rmd_dial_events(const struct rmd_dial *d);

/* Whether the address can be bound on this host right now. */
bool rmd_dial_can_bind(const struct rmd_addr *source);

#endif
