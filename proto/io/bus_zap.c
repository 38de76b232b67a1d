/* ZAP handler and watch over failed handshakes (see bus_zmq.h; RFC 27 of ZeroMQ).
 *
 * One thread, started before the server socket exists and ended by zmq_ctx_shutdown. It owns its two sockets. Shared
 * with the server's thread: the counter (atomic), allow() (thread-safe by contract). Strangers can knock as often as
 * they like: the same refusal is logged once, and again after a minute with how often it came; the log gets at most
 * LOG_LINES_MAX lines in LOG_WINDOW_MS, and then one line with the number of those not shown. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include <base/log.h>
#include <base/text.h>

#include "proto/io/bus_zmq.h"

enum {
    LOG_LINES_MAX = 20,
    LOG_WINDOW_MS = 10000,
    LOG_AGAIN_MS = 60000,
    LOG_KNOWN_MAX = 64, /* refusals that are remembered; the oldest one goes */
    ZAP_PARTS_MAX = 8,
    ZAP_PART_BYTES = 256
};

/* A refusal that was logged: who and why as a hash, when, and how often since. */
struct known {
    uint64_t hash;
    int64_t logged_ms;
    uint64_t since;
};

struct rmd_bus_zap {
    void *ctx;
    void *rep, *monitor;
    bool (*allow)(void *ctx, const uint8_t key[RMD_KEY_BYTES]);
    void *allow_ctx;
    pthread_t thread;
    bool started;
    atomic_uint_fast64_t refused;
    struct known known[LOG_KNOWN_MAX]; /* thread only, as all below */
    int64_t window_ms;                 /* start of the log window */
    int lines;
    uint64_t hidden;
};

struct zap_request {
    int parts;
    struct {
        uint8_t b[ZAP_PART_BYTES];
        size_t n;
    } part[ZAP_PARTS_MAX];
};
enum { PART_VERSION, PART_ID, PART_DOMAIN, PART_ADDRESS, PART_IDENTITY, PART_MECHANISM, PART_KEY, PARTS_CURVE };

/* Its place, or that of the oldest one, made its own. */
static struct known *known_of(struct rmd_bus_zap *z, const char *who, const char *why) {
    uint64_t hash = rmd_mix64(rmd_fnv64(rmd_slice_str(who))) ^ rmd_fnv64(rmd_slice_str(why));
    struct known *oldest = &z->known[0];
    for (size_t i = 0; i < LOG_KNOWN_MAX; i++) {
        if (z->known[i].logged_ms && z->known[i].hash == hash)
            return &z->known[i];
        if (z->known[i].logged_ms < oldest->logged_ms)
            oldest = &z->known[i];
    }
    *oldest = (struct known){.hash = hash};
    return oldest;
}

/* The window is full: counted, and told when it is over. */
static bool window_full(struct rmd_bus_zap *z, int64_t now) {
    if (!z->window_ms || now - z->window_ms >= LOG_WINDOW_MS) {
        if (z->hidden)
            rmd_warn("bus", "%llu more refused connections, not shown", (unsigned long long)z->hidden);
        z->window_ms = now;
        z->lines = 0;
        z->hidden = 0;
    }
    if (z->lines++ < LOG_LINES_MAX)
        return false;
    z->hidden++;
    return true;
}

static void refuse(struct rmd_bus_zap *z, const char *who, const char *why) {
    atomic_fetch_add(&z->refused, 1);
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    struct known *k = known_of(z, who, why);
    if (k->logged_ms && now - k->logged_ms < LOG_AGAIN_MS) {
        k->since++;
        return;
    }
    if (window_full(z, now))
        return;
    char often[64] = "";
    if (k->since)
        rmd_format(often, sizeof often, " (and %llu times since it was said last)", (unsigned long long)k->since);
    rmd_warn("bus", "refused a connection from %s: %s%s", who, why, often);
    k->logged_ms = now;
    k->since = 0;
}

/* Reads all parts of one request; parts beyond the limits are read and forgotten. -1 when the context is ending. */
static int zap_receive(struct rmd_bus_zap *z, struct zap_request *r) {
    r->parts = 0;
    int more = 1;
    while (more) {
        uint8_t rest[ZAP_PART_BYTES];
        uint8_t *to = r->parts < ZAP_PARTS_MAX ? r->part[r->parts].b : rest;
        int n = zmq_recv(z->rep, to, ZAP_PART_BYTES, 0);
        if (n < 0)
            return -1;
        if (r->parts < ZAP_PARTS_MAX)
            r->part[r->parts++].n = (size_t)n < ZAP_PART_BYTES ? (size_t)n : ZAP_PART_BYTES;
        size_t size = sizeof more;
        if (zmq_getsockopt(z->rep, ZMQ_RCVMORE, &more, &size) != 0)
            return -1;
    }
    return 0;
}

static bool part_is(const struct zap_request *r, int i, const char *text) {
    return rmd_slice_eq(rmd_slice(r->part[i].b, r->part[i].n), rmd_slice_str(text));
}

static bool decide(struct rmd_bus_zap *z, const struct zap_request *r, char user[41]) {
    char address[64] = "an unknown address";
    if (r->parts > PART_ADDRESS)
        rmd_copy_slice(address, sizeof address, rmd_slice(r->part[PART_ADDRESS].b, r->part[PART_ADDRESS].n));
    if (r->parts != PARTS_CURVE || !part_is(r, PART_VERSION, "1.0") || !part_is(r, PART_MECHANISM, "CURVE") ||
        r->part[PART_KEY].n != RMD_KEY_BYTES) {
        refuse(z, address, "it offers no CURVE key");
        return false;
    }
    rmd_curve_format(r->part[PART_KEY].b, user);
    if (z->allow(z->allow_ctx, r->part[PART_KEY].b))
        return true;
    char why[128];
    rmd_format(why, sizeof why, "key %s is not that of an enrolled node, or was revoked", user);
    refuse(z, address, why);
    return false;
}

static int zap_answer(struct rmd_bus_zap *z, const struct zap_request *r, bool ok, const char *user) {
    struct rmd_slice id = r->parts > PART_ID ? rmd_slice(r->part[PART_ID].b, r->part[PART_ID].n) : rmd_slice_str("");
    const struct rmd_slice part[] = {
        rmd_slice_str("1.0"),
        id,
        rmd_slice_str(ok ? "200" : "400"),
        rmd_slice_str(ok ? "enrolled" : "not enrolled"),
        rmd_slice_str(ok ? user : ""),
        rmd_slice_str(""),
    };
    enum { PARTS = sizeof part / sizeof part[0] };
    for (int i = 0; i < PARTS; i++)
        if (zmq_send(z->rep, part[i].p, part[i].n, i + 1 < PARTS ? ZMQ_SNDMORE : 0) < 0)
            return -1;
    return 0;
}

/* Failures that never reach ZAP. A peer without CURVE may see the mismatch first and hang up before this side has
 * read its greeting: that is NO_DETAIL, as a port scan is. */
static void watch_monitor(struct rmd_bus_zap *z) {
    static const char who[] = "a peer that didn't come as far as its key";
    uint16_t event;
    uint32_t value;
    while (rmd_bus_monitor_next(z->monitor, &event, &value)) {
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
            refuse(z, who, "it hung up during the handshake (no CURVE there, or a port scan)");
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL && value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
            refuse(z, who, "it uses another coordinator's public key (check bus.coordinator_key there)");
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            refuse(z, who, "it doesn't speak ZeroMQ with CURVE as this server does");
    }
}

static void *zap_run(void *arg) {
    struct rmd_bus_zap *z = arg;
    for (;;) {
        zmq_pollitem_t item[2] = {{.socket = z->rep, .events = ZMQ_POLLIN},
                                  {.socket = z->monitor, .events = ZMQ_POLLIN}};
        if (zmq_poll(item, z->monitor ? 2 : 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            break; /* ETERM: the context is shut down */
        }
        if (item[1].revents)
            watch_monitor(z);
        if (!item[0].revents)
            continue;
        struct zap_request r;
        char user[41] = "";
        if (zap_receive(z, &r) < 0)
            break;
        bool ok = decide(z, &r, user);
        if (zap_answer(z, &r, ok, user) < 0)
            break;
    }
    zmq_close(z->rep);
    if (z->monitor)
        zmq_close(z->monitor);
    return NULL;
}

int rmd_bus_zap_start(void *zmq_ctx, const struct rmd_bus_server_options *o, struct rmd_bus_zap **out) {
    struct rmd_bus_zap *z = rmd_alloc(sizeof *z);
    z->ctx = zmq_ctx;
    z->allow = o->allow;
    z->allow_ctx = o->allow_ctx;
    z->rep = zmq_socket(zmq_ctx, ZMQ_REP);
    *out = z;
    if (!z->rep || rmd_bus_set_int(z->rep, ZMQ_LINGER, 0) != 0)
        return -1;
    return zmq_bind(z->rep, "inproc://zeromq.zap.01");
}

int rmd_bus_zap_monitor(struct rmd_bus_zap *z, void *server_socket) {
    if (zmq_socket_monitor(server_socket, "inproc://remuda.bus.monitor",
                           ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) != 0)
        return -1;
    z->monitor = zmq_socket(z->ctx, ZMQ_PAIR);
    if (!z->monitor || rmd_bus_set_int(z->monitor, ZMQ_LINGER, 0) != 0 ||
        rmd_bus_set_int(z->monitor, ZMQ_RCVHWM, RMD_BUS_EVENTS_MAX) != 0 ||
        zmq_connect(z->monitor, "inproc://remuda.bus.monitor") != 0)
        return -1;
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&z->thread, NULL, zap_run, z);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    z->started = rc == 0;
    errno = rc;
    return rc ? -1 : 0;
}

void rmd_bus_zap_join(struct rmd_bus_zap *z) {
    if (!z)
        return;
    if (z->started) {
        pthread_join(z->thread, NULL);
    } else {
        if (z->rep)
            zmq_close(z->rep);
        if (z->monitor)
            zmq_close(z->monitor);
    }
    free(z);
}

uint64_t rmd_bus_zap_refused(const struct rmd_bus_zap *z) {
    return atomic_load(&z->refused);
}
