/* What server and client of the bus share inside proto/io: limits, times, the wake-up descriptor, monitor events, and
 * the ZAP handler. Private to bus_*.c; ZeroMQ's types go no further. */
#ifndef REMUDA_BUS_ZMQ_H
#define REMUDA_BUS_ZMQ_H

#include <zmq.h>

#include "proto/io/bus.h"

enum {
    RMD_BUS_SEND_FRAMES_MAX = 256, /* queued for one peer; then RMD_EAGAIN */
    RMD_BUS_RECV_FRAMES_MAX = 256, /* queued from one peer; then TCP pushes back on that peer alone */
    RMD_BUS_SESSIONS_PER_KEY_MAX = 8,
    RMD_BUS_SESSIONS_MAX = 16384,
    RMD_BUS_BACKLOG = 256,
    RMD_BUS_HEARTBEAT_MS = 5000,
    RMD_BUS_HEARTBEAT_TIMEOUT_MS = 15000,
    RMD_BUS_HANDSHAKE_MS = 10000,
    RMD_BUS_LINGER_MS = 200,
    RMD_BUS_RECONNECT_MIN_MS = 100,
    RMD_BUS_RECONNECT_MAX_MS = 2000,
    RMD_BUS_REFUSED_RETRY_MS = 2000, /* ZeroMQ gives up after a refusal; the client doesn't */
    RMD_BUS_ROUTING_ID_BYTES = 5,    /* as ROUTER makes them: a zero and 32 bits */
    RMD_BUS_EVENTS_MAX = 1000,       /* queued monitor events */
    RMD_BUS_CURVE_BYTES = 64,        /* CURVE adds 33 to a frame before ZeroMQ compares its size */
};

#define RMD_BUS_ZAP_DOMAIN "remuda"

/* ZeroMQ's descriptor is edge-triggered, and sending can swallow an edge. This one is an epoll set of that descriptor
 * and an eventfd that is raised whenever frames are waiting although the edge is gone. */
struct rmd_bus_wake {
    int epoll_fd, event_fd;
    bool raised;
};
int rmd_bus_wake_open(struct rmd_bus_wake *w) RMD_CHECKED;
int rmd_bus_wake_watch(struct rmd_bus_wake *w, int fd) RMD_CHECKED;
int rmd_bus_wake_watch_socket(struct rmd_bus_wake *w, void *socket) RMD_CHECKED;
void rmd_bus_wake_after_send(struct rmd_bus_wake *w, void *socket); /* raises when frames wait */
void rmd_bus_wake_clear(struct rmd_bus_wake *w);                    /* before recv says RMD_EAGAIN */
void rmd_bus_wake_close(struct rmd_bus_wake *w);

/* Options that both ends set alike; -1 with errno. */
int rmd_bus_set_common(void *socket, const char *endpoint) RMD_CHECKED;
int rmd_bus_set_int(void *socket, int option, int value) RMD_CHECKED;

/* Next event of a monitor socket without waiting; false when there is none. */
bool rmd_bus_monitor_next(void *monitor, uint16_t *event, uint32_t *value);

/* ZAP (RFC 27) in a thread of its own: asks allow() about each CURVE key, refuses every other mechanism, counts and
 * logs. It also reads the server socket's monitor, where peers show up that never come as far as ZAP: no CURVE at
 * all, or not the server's key. */
struct rmd_bus_zap;
int rmd_bus_zap_start(void *zmq_ctx, const struct rmd_bus_server_options *o, struct rmd_bus_zap **out) RMD_CHECKED;
int rmd_bus_zap_monitor(struct rmd_bus_zap *z, void *server_socket) RMD_CHECKED; /* before the socket binds */
void rmd_bus_zap_join(struct rmd_bus_zap *z);                                    /* after zmq_ctx_shutdown */
uint64_t rmd_bus_zap_refused(const struct rmd_bus_zap *z);

#endif
