/* The coordinator's end of the bus: ROUTER with CURVE (see bus.h).
 *
 * ROUTER names a connection by a routing id of its own making; a *session* is such a connection with the key that ZAP
 * vouched for on each of its frames. ZeroMQ 4.3 doesn't tell when a connection ends (that is in its draft API), so a
 * session is forgotten when a send finds it gone, when its key has opened RMD_BUS_SESSIONS_PER_KEY_MAX newer ones, or
 * when it is the one heard of longest ago of RMD_BUS_SESSIONS_MAX. A dropped one stays in the table as a tombstone,
 * so that its later frames are known for what they are. */
#include <assert.h>
#include <errno.h>

#include <base/coll.h>
#include <base/log.h>
#include <base/text.h>

#include "proto/codec.h"
#include "proto/io/bus_zmq.h"

struct session {
    struct rmd_list by_use; /* in server.by_use: longest ago first */
    uint8_t routing_id[RMD_BUS_ROUTING_ID_BYTES];
    uint8_t key[RMD_KEY_BYTES];
    uint32_t number;
    bool dropped;
};

struct rmd_bus_server {
    void *ctx, *router;
    struct rmd_bus_zap *zap;
    struct rmd_bus_wake wake;
    zmq_msg_t frame;          /* what the last recv handed out */
    struct rmd_map by_id;     /* routing id -> session */
    struct rmd_map by_number; /* u64 of its number -> session */
    struct rmd_map per_key;   /* key -> number of its sessions, as pointer */
    struct rmd_list by_use;
    uint32_t sessions, last_number;
    uint64_t discarded;
    bool (*allow)(void *ctx, const uint8_t key[RMD_KEY_BYTES]);
    void *allow_ctx;
};

/* --- sessions */

static uintptr_t key_count(const struct rmd_bus_server *b, const uint8_t key[RMD_KEY_BYTES]) {
    return (uintptr_t)rmd_map_get(&b->per_key, rmd_slice(key, RMD_KEY_BYTES));
}

static void key_count_set(struct rmd_bus_server *b, const uint8_t key[RMD_KEY_BYTES], uintptr_t n) {
    if (n)
        rmd_map_set(&b->per_key, rmd_slice(key, RMD_KEY_BYTES), (void *)n);
    else
        rmd_map_remove(&b->per_key, rmd_slice(key, RMD_KEY_BYTES));
}

static void session_forget(struct rmd_bus_server *b, struct session *s) {
    rmd_map_remove(&b->by_id, rmd_slice(s->routing_id, sizeof s->routing_id));
    rmd_map_remove_u64(&b->by_number, s->number);
    key_count_set(b, s->key, key_count(b, s->key) - 1);
    rmd_list_remove(&s->by_use);
    b->sessions--;
    free(s);
}

/* Makes room for one more: the oldest of this key, or of all. */
static void session_evict(struct rmd_bus_server *b, const uint8_t key[RMD_KEY_BYTES]) {
    bool own = key_count(b, key) >= RMD_BUS_SESSIONS_PER_KEY_MAX;
    if (!own && b->sessions < RMD_BUS_SESSIONS_MAX)
        return;
    rmd_list_for(it, &b->by_use) {
        struct session *s = rmd_container(it, struct session, by_use);
        if (!own || memcmp(s->key, key, RMD_KEY_BYTES) == 0) {
            session_forget(b, s);
            return;
        }
    }
}

static struct session *session_new(struct rmd_bus_server *b, const void *routing_id,
                                   const uint8_t key[RMD_KEY_BYTES]) {
    session_evict(b, key);
    struct session *s = rmd_alloc(sizeof *s);
    memcpy(s->routing_id, routing_id, sizeof s->routing_id);
    memcpy(s->key, key, RMD_KEY_BYTES);
    s->number = ++b->last_number;
    rmd_map_set(&b->by_id, rmd_slice(s->routing_id, sizeof s->routing_id), s);
    rmd_map_set_u64(&b->by_number, s->number, s);
    key_count_set(b, key, key_count(b, key) + 1);
    rmd_list_push(&b->by_use, &s->by_use);
    b->sessions++;
    return s;
}

static struct session *session_of_peer(const struct rmd_bus_server *b, const struct rmd_peer *peer) {
    uint64_t number = peer->session;
    struct session *s = rmd_map_get_u64(&b->by_number, number);
    return s && !s->dropped && memcmp(s->key, peer->key, RMD_KEY_BYTES) == 0 ? s : NULL;
}

/* --- receiving */

/* The session a frame belongs to; NULL when it must be thrown away. */
static struct session *session_of_frame(struct rmd_bus_server *b, zmq_msg_t *id, zmq_msg_t *frame) {
    const char *user = zmq_msg_gets(frame, "User-Id");
    uint8_t key[RMD_KEY_BYTES];
    const uint8_t *rid = zmq_msg_data(id);
    /* An id that doesn't begin with a zero was chosen by the peer; ours never do that. */
    if (!user || rmd_curve_parse(user, key) < 0 || zmq_msg_size(id) != RMD_BUS_ROUTING_ID_BYTES || rid[0] != 0)
        return NULL;
    struct session *s = rmd_map_get(&b->by_id, rmd_slice(rid, RMD_BUS_ROUTING_ID_BYTES));
    if (s && memcmp(s->key, key, RMD_KEY_BYTES) != 0) { /* ROUTER used the id again */
        session_forget(b, s);
        s = NULL;
    }
    if (!s) {
        if (!b->allow(b->allow_ctx, key)) /* revoked between its handshake and its first frame */
            return NULL;
        s = session_new(b, rid, key);
    }
    rmd_list_remove(&s->by_use);
    rmd_list_push(&b->by_use, &s->by_use);
    return s->dropped ? NULL : s;
}

/* Reads one message into b->frame: routing id and a single part. 0, -1 with errno; *ok is false for other shapes. */
static int receive_parts(struct rmd_bus_server *b, zmq_msg_t *id, bool *ok) {
    if (zmq_msg_recv(id, b->router, ZMQ_DONTWAIT) < 0)
        return -1;
    *ok = zmq_msg_more(id);
    if (!*ok)
        return 0;
    if (zmq_msg_recv(&b->frame, b->router, ZMQ_DONTWAIT) < 0)
        return -1;
    bool more = zmq_msg_more(&b->frame);
    *ok = !more && zmq_msg_size(&b->frame) <= RMD_FRAME_MAX_BYTES;
    while (more) {
        zmq_msg_t rest;
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, b->router, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&rest);
        zmq_msg_close(&rest);
    }
    return 0;
}

int rmd_bus_server_recv(struct rmd_bus_server *b, struct rmd_peer *peer, struct rmd_slice *frame) {
    enum { DISCARDS_MAX = 1000 }; /* a flood of rubbish can't hold the caller here */
    rmd_bus_wake_clear(&b->wake);
    for (int i = 0; i < DISCARDS_MAX; i++) {
        zmq_msg_t id;
        bool ok = false;
        zmq_msg_init(&id);
        if (receive_parts(b, &id, &ok) < 0) {
            int code = errno;
            zmq_msg_close(&id);
            return code == EAGAIN || code == EINTR ? RMD_EAGAIN : RMD_ECLOSED;
        }
        struct session *s = ok ? session_of_frame(b, &id, &b->frame) : NULL;
        zmq_msg_close(&id);
        if (s) {
            memcpy(peer->key, s->key, RMD_KEY_BYTES);
            peer->session = s->number;
            *frame = rmd_slice(zmq_msg_data(&b->frame), zmq_msg_size(&b->frame));
            return RMD_OK;
        }
        b->discarded++;
    }
    rmd_bus_wake_after_send(&b->wake, b->router); /* come back for the rest */
    return RMD_EAGAIN;
}

/* --- sending */

int rmd_bus_server_send(struct rmd_bus_server *b, const struct rmd_peer *peer, struct rmd_slice frame) {
    if (frame.n > RMD_FRAME_MAX_BYTES)
        return RMD_ELIMIT;
    struct session *s = session_of_peer(b, peer);
    if (!s)
        return RMD_ECLOSED;
    int rc = zmq_send(b->router, s->routing_id, sizeof s->routing_id, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    if (rc >= 0)
        rc = zmq_send(b->router, frame.p, frame.n, ZMQ_DONTWAIT);
    int code = errno;
    rmd_bus_wake_after_send(&b->wake, b->router);
    if (rc >= 0)
        return RMD_OK;
    if (code == EAGAIN || code == EINTR)
        return RMD_EAGAIN;
    if (code == EHOSTUNREACH)
        session_forget(b, s);
    return RMD_ECLOSED;
}

void rmd_bus_server_drop(struct rmd_bus_server *b, const struct rmd_peer *peer) {
    struct session *s = session_of_peer(b, peer);
    if (s)
        s->dropped = true;
}

uint64_t rmd_bus_server_refused(const struct rmd_bus_server *b) {
    return rmd_bus_zap_refused(b->zap);
}

uint64_t rmd_bus_server_discarded(const struct rmd_bus_server *b) {
    return b->discarded;
}

int rmd_bus_server_fd(const struct rmd_bus_server *b) {
    return b->wake.epoll_fd;
}

/* --- opening and closing */

static int server_set_up(struct rmd_bus_server *b, const struct rmd_bus_server_options *o, const char **at) {
    *at = "context";
    b->ctx = zmq_ctx_new();
    if (!b->ctx || rmd_bus_wake_open(&b->wake) != 0)
        return -1;
    *at = "authentication";
    if (rmd_bus_zap_start(b->ctx, o, &b->zap) != 0)
        return -1;
    *at = "socket";
    b->router = zmq_socket(b->ctx, ZMQ_ROUTER);
    if (!b->router || rmd_bus_set_common(b->router, "") != 0 ||
        rmd_bus_set_int(b->router, ZMQ_ROUTER_MANDATORY, 1) != 0 ||
        rmd_bus_set_int(b->router, ZMQ_BACKLOG, RMD_BUS_BACKLOG) != 0 ||
        rmd_bus_set_int(b->router, ZMQ_CURVE_SERVER, 1) != 0 ||
        zmq_setsockopt(b->router, ZMQ_CURVE_SECRETKEY, o->secret_key, RMD_KEY_BYTES) != 0 ||
        zmq_setsockopt(b->router, ZMQ_ZAP_DOMAIN, RMD_BUS_ZAP_DOMAIN, strlen(RMD_BUS_ZAP_DOMAIN)) != 0 ||
        rmd_bus_zap_monitor(b->zap, b->router) != 0 || rmd_bus_wake_watch_socket(&b->wake, b->router) != 0)
        return -1;
    for (const char *const *e = o->endpoint; *e; e++) {
        *at = *e;
        if (rmd_bus_set_int(b->router, ZMQ_IPV6, strchr(*e, '[') != NULL) != 0 || zmq_bind(b->router, *e) != 0)
            return -1;
    }
    return 0;
}

int rmd_bus_server_open(const struct rmd_bus_server_options *o, struct rmd_bus_server **out, char *err,
                        size_t err_n) {
    *out = NULL;
    struct rmd_bus_server *b = rmd_alloc(sizeof *b);
    b->wake = (struct rmd_bus_wake){.epoll_fd = -1, .event_fd = -1};
    b->allow = o->allow;
    b->allow_ctx = o->allow_ctx;
    rmd_list_init(&b->by_use);
    zmq_msg_init(&b->frame);
    const char *at = "";
    if (server_set_up(b, o, &at) != 0) {
        int code = errno;
        rmd_format(err, err_n, "bus: cannot listen: %s: %s", at, zmq_strerror(code));
        rmd_bus_server_close(b);
        return code == EADDRINUSE ? RMD_EBUSY : code == EINVAL || code == EPROTONOSUPPORT ? RMD_EINVAL : RMD_EIO;
    }
    *out = b;
    return RMD_OK;
}

void rmd_bus_server_close(struct rmd_bus_server *b) {
    if (!b)
        return;
    zmq_msg_close(&b->frame);
    rmd_bus_wake_close(&b->wake); /* before its descriptors go */
    if (b->router)
        zmq_close(b->router);
    if (b->ctx)
        zmq_ctx_shutdown(b->ctx);
    rmd_bus_zap_join(b->zap);
    while (b->ctx && zmq_ctx_term(b->ctx) != 0 && errno == EINTR)
        ;
    while (!rmd_list_empty(&b->by_use))
        session_forget(b, rmd_container(b->by_use.next, struct session, by_use));
    rmd_map_release(&b->by_id);
    rmd_map_release(&b->by_number);
    rmd_map_release(&b->per_key);
    free(b);
}
