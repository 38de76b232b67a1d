/* Shared ground of the bus's two ends: wake-up descriptor, common socket options, monitor events (see bus_zmq.h). */
#include "proto/io/bus_zmq.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/codec.h"

int rmd_bus_wake_open(struct rmd_bus_wake *w) {
    *w = (struct rmd_bus_wake){.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                               .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (w->epoll_fd < 0 || w->event_fd < 0)
        return -1;
    return rmd_bus_wake_watch(w, w->event_fd);
}

int rmd_bus_wake_watch(struct rmd_bus_wake *w, int fd) {
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int rmd_bus_wake_watch_socket(struct rmd_bus_wake *w, void *socket) {
    int fd;
    size_t n = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &n) != 0)
        return -1;
    return rmd_bus_wake_watch(w, fd);
}

void rmd_bus_wake_after_send(struct rmd_bus_wake *w, void *socket) {
    int events = 0;
    size_t n = sizeof events;
    if (w->raised || zmq_getsockopt(socket, ZMQ_EVENTS, &events, &n) != 0 || !(events & ZMQ_POLLIN))
        return;
    w->raised = eventfd_write(w->event_fd, 1) == 0;
}

void rmd_bus_wake_clear(struct rmd_bus_wake *w) {
    eventfd_t ignored;
    if (w->raised && eventfd_read(w->event_fd, &ignored) == 0)
        w->raised = false;
}

void rmd_bus_wake_close(struct rmd_bus_wake *w) {
    if (w->event_fd >= 0)
        close(w->event_fd);
    if (w->epoll_fd >= 0)
        close(w->epoll_fd);
    *w = (struct rmd_bus_wake){.epoll_fd = -1, .event_fd = -1};
}

int rmd_bus_set_int(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

int rmd_bus_set_common(void *socket, const char *endpoint) {
    static const struct {
        int option, value;
    } common[] = {
        {ZMQ_LINGER, RMD_BUS_LINGER_MS},
        {ZMQ_SNDHWM, RMD_BUS_SEND_FRAMES_MAX},
        {ZMQ_RCVHWM, RMD_BUS_RECV_FRAMES_MAX},
        {ZMQ_HANDSHAKE_IVL, RMD_BUS_HANDSHAKE_MS},
        {ZMQ_HEARTBEAT_IVL, RMD_BUS_HEARTBEAT_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, RMD_BUS_HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HEARTBEAT_TTL, RMD_BUS_HEARTBEAT_TIMEOUT_MS},
    };
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
        if (rmd_bus_set_int(socket, common[i].option, common[i].value) != 0)
            return -1;
    if (strchr(endpoint, '[') && rmd_bus_set_int(socket, ZMQ_IPV6, 1) != 0) /* tcp://[::1]:7350 */
        return -1;
    int64_t max = RMD_FRAME_MAX_BYTES + RMD_BUS_CURVE_BYTES;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof max);
}

/* An event is two parts: 16 bits of event and 32 of value in host order, then the endpoint. */
bool rmd_bus_monitor_next(void *monitor, uint16_t *event, uint32_t *value) {
    uint8_t head[6];
    int n = zmq_recv(monitor, head, sizeof head, ZMQ_DONTWAIT);
    if (n < 0)
        return false;
    int more = 0;
    size_t size = sizeof more;
    while (zmq_getsockopt(monitor, ZMQ_RCVMORE, &more, &size) == 0 && more) {
        char endpoint[256];
        if (zmq_recv(monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT) < 0)
            break;
    }
    if (n != (int)sizeof head)
        return false;
    memcpy(event, head, sizeof *event);
    memcpy(value, head + 2, sizeof *value);
    return true;
}
