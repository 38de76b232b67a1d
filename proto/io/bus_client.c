/* A node's end of the bus: DEALER with CURVE (see bus.h).
 *
 * ZeroMQ reconnects by itself after a lost connection, but gives up after a refusal (libzmq 4.3, a protocol error
 * ends the session). A node whose key gets enrolled a minute later must come in without a restart, so a refusal arms
 * a timer that connects anew. The monitor socket tells why there is no connection; its descriptor and the timer's are
 * in the wake-up set, so that the caller's loop needs to know of one descriptor only. */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/codec.h"
#include "proto/io/bus_zmq.h"

struct rmd_bus_client {
    void *ctx, *dealer, *monitor;
    struct rmd_bus_wake wake;
    int timer_fd;
    zmq_msg_t frame;
    char *endpoint;
    char public_text[41];
    bool connected; /* handshake done */
    bool tcp_up;    /* an attempt since the last retry reached the other side */
    bool in_trouble;
    char trouble[512];
};

static void RMD_PRINTF(2, 3) trouble(struct rmd_bus_client *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->trouble, sizeof b->trouble, fmt, ap);
    va_end(ap);
    b->in_trouble = true;
}

static void arm_retry(struct rmd_bus_client *b) {
    struct itimerspec in = {.it_value = {.tv_sec = RMD_BUS_REFUSED_RETRY_MS / 1000,
                                         .tv_nsec = RMD_BUS_REFUSED_RETRY_MS % 1000 * 1000000L}};
    timerfd_settime(b->timer_fd, 0, &in, NULL);
}

static void on_event(struct rmd_bus_client *b, uint16_t event, uint32_t value) {
    switch (event) {
    case ZMQ_EVENT_CONNECTED:
        b->tcp_up = true;
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        b->connected = true;
        b->in_trouble = false;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        trouble(b,
                "the coordinator at %s refused this node's key %s (ZAP status %u): enrol this key there; trying "
                "again every %d s",
                b->endpoint, b->public_text, (unsigned)value, RMD_BUS_REFUSED_RETRY_MS / 1000);
        arm_retry(b);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        trouble(b,
                "%s doesn't answer as a coordinator with the configured server key (protocol error 0x%08x): check "
                "bus.coordinator and bus.coordinator_key; trying again every %d s",
                b->endpoint, (unsigned)value, RMD_BUS_REFUSED_RETRY_MS / 1000);
        arm_retry(b);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        trouble(
            b,
            "the coordinator at %s hung up during the handshake: the configured server key (bus.coordinator_key) may "
            "not be its key; trying again",
            b->endpoint);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        if (b->connected)
            trouble(b, "lost the connection to the coordinator at %s; connecting again", b->endpoint);
        b->connected = false; /* tcp_up stays: what the handshake said is the trouble, not the next retry */
        break;
    case ZMQ_EVENT_CONNECT_RETRIED:
        if (!b->tcp_up)
            trouble(b,
                    "no connection to the coordinator at %s: is it running, and is the address right? Trying again",
                    b->endpoint);
        b->tcp_up = false;
        break;
    default:
        break;
    }
}

/* Monitor events, and the retry when it is due. */
static void pump(struct rmd_bus_client *b) {
    uint16_t event;
    uint32_t value;
    while (rmd_bus_monitor_next(b->monitor, &event, &value))
        on_event(b, event, value);
    uint64_t ticks;
    if (read(b->timer_fd, &ticks, sizeof ticks) == (ssize_t)sizeof ticks) {
        zmq_disconnect(b->dealer, b->endpoint); /* ENOENT when ZeroMQ took it away itself */
        if (zmq_connect(b->dealer, b->endpoint) != 0)
            arm_retry(b);
    }
}

int rmd_bus_client_recv(struct rmd_bus_client *b, struct rmd_slice *frame) {
    rmd_bus_wake_clear(&b->wake);
    pump(b);
    for (;;) {
        if (zmq_msg_recv(&b->frame, b->dealer, ZMQ_DONTWAIT) < 0)
            return errno == EAGAIN || errno == EINTR ? RMD_EAGAIN : RMD_ECLOSED;
        if (!zmq_msg_more(&b->frame)) {
            *frame = rmd_slice(zmq_msg_data(&b->frame), zmq_msg_size(&b->frame));
            return RMD_OK;
        }
        /* The coordinator sends single parts only: not understood, so all of it is passed over. */
        while (zmq_msg_more(&b->frame) && zmq_msg_recv(&b->frame, b->dealer, ZMQ_DONTWAIT) >= 0)
            ;
    }
}

int rmd_bus_client_send(struct rmd_bus_client *b, struct rmd_slice frame) {
    if (frame.n > RMD_FRAME_MAX_BYTES)
        return RMD_ELIMIT;
    int rc = zmq_send(b->dealer, frame.p, frame.n, ZMQ_DONTWAIT);
    int code = errno;
    if (rc < 0)
        pump(b);
    rmd_bus_wake_after_send(&b->wake, b->dealer);
    if (rc >= 0)
        return RMD_OK;
    if (code != EAGAIN && code != EINTR)
        return RMD_ECLOSED;
    return b->connected ? RMD_EAGAIN : RMD_ECLOSED;
}

int rmd_bus_client_fd(const struct rmd_bus_client *b) {
    return b->wake.epoll_fd;
}

const char *rmd_bus_client_trouble(const struct rmd_bus_client *b) {
    return b->in_trouble ? b->trouble : NULL;
}

static int client_monitor(struct rmd_bus_client *b) {
    static const char at[] = "inproc://remuda.bus.client";
    int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED |
                 ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    if (zmq_socket_monitor(b->dealer, at, events) != 0)
        return -1;
    b->monitor = zmq_socket(b->ctx, ZMQ_PAIR);
    if (!b->monitor || rmd_bus_set_int(b->monitor, ZMQ_LINGER, 0) != 0 ||
        rmd_bus_set_int(b->monitor, ZMQ_RCVHWM, RMD_BUS_EVENTS_MAX) != 0 || zmq_connect(b->monitor, at) != 0)
        return -1;
    return rmd_bus_wake_watch_socket(&b->wake, b->monitor);
}

static int client_set_up(struct rmd_bus_client *b, const struct rmd_bus_client_options *o,
                         const uint8_t *public_key) {
    b->ctx = zmq_ctx_new();
    b->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (!b->ctx || b->timer_fd < 0 || rmd_bus_wake_open(&b->wake) != 0 ||
        rmd_bus_wake_watch(&b->wake, b->timer_fd) != 0)
        return -1;
    b->dealer = zmq_socket(b->ctx, ZMQ_DEALER);
    if (!b->dealer || rmd_bus_set_common(b->dealer, b->endpoint) != 0 ||
        rmd_bus_set_int(b->dealer, ZMQ_IMMEDIATE, 1) != 0 || /* nothing queues for a connection that isn't there */
        rmd_bus_set_int(b->dealer, ZMQ_RECONNECT_IVL, RMD_BUS_RECONNECT_MIN_MS) != 0 ||
        rmd_bus_set_int(b->dealer, ZMQ_RECONNECT_IVL_MAX, RMD_BUS_RECONNECT_MAX_MS) != 0 ||
        zmq_setsockopt(b->dealer, ZMQ_CURVE_SERVERKEY, o->server_key, RMD_KEY_BYTES) != 0 ||
        zmq_setsockopt(b->dealer, ZMQ_CURVE_PUBLICKEY, public_key, RMD_KEY_BYTES) != 0 ||
        zmq_setsockopt(b->dealer, ZMQ_CURVE_SECRETKEY, o->secret_key, RMD_KEY_BYTES) != 0)
        return -1;
    if (client_monitor(b) != 0 || rmd_bus_wake_watch_socket(&b->wake, b->dealer) != 0)
        return -1;
    return zmq_connect(b->dealer, b->endpoint);
}

int rmd_bus_client_open(const struct rmd_bus_client_options *o, struct rmd_bus_client **out, char *err,
                        size_t err_n) {
    *out = NULL;
    uint8_t public_key[RMD_KEY_BYTES];
    int rc = rmd_curve_public(o->secret_key, public_key);
    if (rc < 0) {
        rmd_format(err, err_n, "bus: the node's key can't be used: %s", rmd_error_text(rc));
        return rc;
    }
    struct rmd_bus_client *b = rmd_alloc(sizeof *b);
    b->wake = (struct rmd_bus_wake){.epoll_fd = -1, .event_fd = -1};
    b->timer_fd = -1;
    b->endpoint = rmd_strdup(o->endpoint);
    rmd_curve_format(public_key, b->public_text);
    zmq_msg_init(&b->frame);
    if (client_set_up(b, o, public_key) != 0) {
        int code = errno;
        rmd_format(err, err_n, "bus: cannot connect to %s: %s", o->endpoint, zmq_strerror(code));
        rmd_bus_client_close(b);
        return code == EINVAL || code == EPROTONOSUPPORT ? RMD_EINVAL : RMD_EIO;
    }
    *out = b;
    return RMD_OK;
}

void rmd_bus_client_close(struct rmd_bus_client *b) {
    if (!b)
        return;
    zmq_msg_close(&b->frame);
    rmd_bus_wake_close(&b->wake);
    if (b->timer_fd >= 0)
        close(b->timer_fd);
    if (b->dealer)
        zmq_socket_monitor(b->dealer, NULL, 0);
    if (b->dealer)
        zmq_close(b->dealer);
    if (b->monitor)
        zmq_close(b->monitor);
    while (b->ctx && zmq_ctx_term(b->ctx) != 0 && errno == EINTR)
        ;
    free(b->endpoint);
    free(b);
}
