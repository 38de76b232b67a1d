/* The bus's contract: the fake in memory and ZeroMQ over TCP and over a Unix socket under one suite; then what only
 * the real one can show: keys, foreign sockets, frames too large, garbage, vanished peers, a server that restarts;
 * and keys in files. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <base/log.h>
#include <base/text.h>

#include "proto/codec.h"
#include "proto/io/bus.h"
#include "tests/kit/bus_fake.h"

enum { WAIT_MS = 10000, WAIT_US = WAIT_MS * 1000, NODES = 3 };

/* --- who is enrolled: asked from the ZAP thread too */

struct keys {
    uint8_t server_public[RMD_KEY_BYTES], server_secret[RMD_KEY_BYTES];
    uint8_t public[NODES][RMD_KEY_BYTES], secret[NODES][RMD_KEY_BYTES];
    atomic_bool enrolled[NODES];
};

static bool allow(void *ctx, const uint8_t key[RMD_KEY_BYTES]) {
    struct keys *k = ctx;
    for (int i = 0; i < NODES; i++)
        if (memcmp(k->public[i], key, RMD_KEY_BYTES) == 0)
            return atomic_load(&k->enrolled[i]);
    return false;
}

static void make_keys(struct keys *k) {
    assert_int_equal(rmd_curve_generate(k->server_public, k->server_secret), RMD_OK);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(rmd_curve_generate(k->public[i], k -> secret[i]), RMD_OK);
        atomic_store(&k->enrolled[i], i < 2); /* the last one is a stranger */
    }
}

/* --- one world for both backends */

struct client {
    struct rmd_bus_fake_client *fake;
    struct rmd_bus_client *real;
};

struct world {
    struct keys keys;
    struct rmd_bus_fake *fake;
    struct rmd_bus_server *real;
    char endpoint[128];
};

static struct rmd_bus_server *server_open(struct world *w) {
    const char *const endpoints[] = {w->endpoint, NULL};
    struct rmd_bus_server_options o = {.endpoint = endpoints, .allow = allow, .allow_ctx = &w->keys};
    memcpy(o.secret_key, w->keys.server_secret, RMD_KEY_BYTES);
    struct rmd_bus_server *b;
    char err[256] = "";
    int rc = rmd_bus_server_open(&o, &b, err, sizeof err);
    assert_string_equal(err, "");
    assert_int_equal(rc, RMD_OK);
    return b;
}

static struct client client_open(struct world *w, int node) {
    struct client c = {0};
    if (w->fake) {
        c.fake = rmd_bus_fake_client_open(w->fake, w->keys.public[node]);
        return c;
    }
    struct rmd_bus_client_options o = {.endpoint = w->endpoint};
    memcpy(o.server_key, w->keys.server_public, RMD_KEY_BYTES);
    memcpy(o.secret_key, w->keys.secret[node], RMD_KEY_BYTES);
    char err[256] = "";
    int rc = rmd_bus_client_open(&o, &c.real, err, sizeof err);
    assert_string_equal(err, "");
    assert_int_equal(rc, RMD_OK);
    return c;
}

static void client_close(struct client *c) {
    if (c->fake)
        rmd_bus_fake_client_close(c->fake);
    else
        rmd_bus_client_close(c->real);
}

static int client_send(struct client *c, struct rmd_slice frame) {
    if (!c->fake)
        return rmd_bus_client_send(c->real, frame);
    int rc = rmd_bus_fake_client_connect(c->fake);
    return rc < 0 ? rc : rmd_bus_fake_client_send(c->fake, frame);
}

static int client_recv(struct client *c, struct rmd_slice *frame) {
    return c->fake ? rmd_bus_fake_client_recv(c->fake, frame) : rmd_bus_client_recv(c->real, frame);
}

static int server_recv(struct world *w, struct rmd_peer *peer, struct rmd_slice *frame) {
    return w->fake ? rmd_bus_fake_server_recv(w->fake, peer, frame) : rmd_bus_server_recv(w->real, peer, frame);
}

static int server_send(struct world *w, const struct rmd_peer *peer, struct rmd_slice frame) {
    return w->fake ? rmd_bus_fake_server_send(w->fake, peer, frame) : rmd_bus_server_send(w->real, peer, frame);
}

static void server_drop(struct world *w, const struct rmd_peer *peer) {
    if (w->fake)
        rmd_bus_fake_server_drop(w->fake, peer);
    else
        rmd_bus_server_drop(w->real, peer);
}

static uint64_t refused(const struct world *w) {
    return w->fake ? rmd_bus_fake_refused(w->fake) : rmd_bus_server_refused(w->real);
}

static uint64_t discarded(const struct world *w) {
    return w->fake ? rmd_bus_fake_discarded(w->fake) : rmd_bus_server_discarded(w->real);
}

static int64_t mono_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Waits for the descriptor (-1: none) for at most 20 ms, and counts the time that passed off *left. */
static void doze(int fd, int *left_us) {
    int64_t before = mono_us();
    poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20);
    *left_us -= (int)(mono_us() - before) + 1;
    if (*left_us <= 0)
        fail_msg("nothing happened within %d ms", WAIT_MS);
}

static int server_fd(const struct world *w) {
    return w->real ? rmd_bus_server_fd(w->real) : -1;
}

static int client_fd(const struct client *c) {
    return c->real ? rmd_bus_client_fd(c->real) : -1;
}

static struct rmd_peer server_expect(struct world *w, const char *text) {
    struct rmd_peer peer = {0};
    struct rmd_slice frame;
    for (int left = WAIT_US; server_recv(w, &peer, &frame) != RMD_OK;)
        doze(server_fd(w), &left);
    if (!rmd_slice_eq(frame, rmd_slice_str(text)))
        fail_msg("expected \"%s\", received %zu bytes \"%.*s\"", text, frame.n, frame.n < 100 ? (int)frame.n : 100,
                 (const char *)frame.p);
    return peer;
}

static void client_expect(struct client *c, const char *text) {
    struct rmd_slice frame;
    for (int left = WAIT_US; client_recv(c, &frame) != RMD_OK;)
        doze(client_fd(c), &left);
    assert_true(rmd_slice_eq(frame, rmd_slice_str(text)));
}

/* Sends as soon as there is a connection. */
static void client_say(struct client *c, const char *text) {
    for (int left = WAIT_US; client_send(c, rmd_slice_str(text)) != RMD_OK;)
        doze(-1, &left);
}

static void server_say(struct world *w, const struct rmd_peer *peer, const char *text) {
    assert_int_equal(server_send(w, peer, rmd_slice_str(text)), RMD_OK);
}

/* --- the suite */

static void frames_go_both_ways_in_order(struct world *w) {
    struct client c = client_open(w, 0);
    client_say(&c, "hello");
    struct rmd_peer peer = server_expect(w, "hello");
    assert_memory_equal(peer.key, w->keys.public[0], RMD_KEY_BYTES);
    for (int i = 0; i < 100; i++) {
        char text[16];
        rmd_format(text, sizeof text, "down %d", i);
        server_say(w, &peer, text);
    }
    for (int i = 0; i < 100; i++) {
        char text[16];
        rmd_format(text, sizeof text, "down %d", i);
        client_expect(&c, text);
    }
    client_say(&c, "");
    struct rmd_peer again = server_expect(w, "");
    assert_int_equal(again.session, peer.session);
    client_close(&c);
}

static void large_frames_pass_and_too_large_ones_are_refused(struct world *w) {
    struct client c = client_open(w, 0);
    client_say(&c, "hello");
    struct rmd_peer peer = server_expect(w, "hello");
    uint8_t *big = rmd_alloc(RMD_FRAME_MAX_BYTES + 1);
    memset(big, 'x', RMD_FRAME_MAX_BYTES);
    assert_int_equal(client_send(&c, rmd_slice(big, RMD_FRAME_MAX_BYTES + 1)), RMD_ELIMIT);
    assert_int_equal(server_send(w, &peer, rmd_slice(big, RMD_FRAME_MAX_BYTES + 1)), RMD_ELIMIT);
    client_say(&c, (const char *)big);
    server_expect(w, (const char *)big);
    free(big);
    client_close(&c);
}

static void two_sessions_on_one_key_are_two(struct world *w) {
    struct client a = client_open(w, 0), b = client_open(w, 0), other = client_open(w, 1);
    client_say(&a, "a");
    struct rmd_peer pa = server_expect(w, "a");
    client_say(&b, "b");
    struct rmd_peer pb = server_expect(w, "b");
    client_say(&other, "other");
    struct rmd_peer po = server_expect(w, "other");
    assert_memory_equal(pa.key, pb.key, RMD_KEY_BYTES);
    assert_memory_not_equal(pa.key, po.key, RMD_KEY_BYTES);
    assert_true(pa.session < pb.session && pb.session < po.session);
    server_say(w, &pa, "to a");
    server_say(w, &pb, "to b");
    client_expect(&a, "to a");
    client_expect(&b, "to b");

    struct rmd_peer forged = po; /* a session of another key is nobody's */
    memcpy(forged.key, pa.key, RMD_KEY_BYTES);
    assert_int_equal(server_send(w, &forged, rmd_slice_str("x")), RMD_ECLOSED);

    uint64_t before = discarded(w);
    server_drop(w, &pb);
    assert_int_equal(server_send(w, &pb, rmd_slice_str("x")), RMD_ECLOSED);
    client_say(&b, "unheard");
    client_say(&a, "heard");
    server_expect(w, "heard");
    struct rmd_slice frame;
    for (int left = WAIT_US; discarded(w) == before;) {
        assert_int_equal(server_recv(w, &pb, &frame), RMD_EAGAIN);
        doze(server_fd(w), &left);
    }
    server_say(w, &pa, "still here");
    client_expect(&a, "still here");
    client_close(&a);
    client_close(&b);
    client_close(&other);
}

static void a_full_queue_says_try_again(struct world *w) {
    struct client c = client_open(w, 0);
    client_say(&c, "hello");
    struct rmd_peer peer = server_expect(w, "hello");
    uint8_t *chunk = rmd_alloc(256 << 10); /* larger than socket buffers, so that the queue is what fills */
    int rc = RMD_OK, sent = 0;
    for (; rc == RMD_OK && sent < 2000; sent++)
        rc = server_send(w, &peer, rmd_slice(chunk, 256 << 10));
    free(chunk);
    assert_int_equal(rc, RMD_EAGAIN);
    struct rmd_slice frame;
    for (int left = WAIT_US, got = 0; got < sent - 1;) {
        if (client_recv(&c, &frame) == RMD_OK)
            got++;
        else
            doze(client_fd(&c), &left);
    }
    client_close(&c);
}

static void a_stranger_is_refused_and_counted(struct world *w) {
    struct client stranger = client_open(w, 2), c = client_open(w, 0);
    uint64_t before = refused(w);
    for (int left = WAIT_US; refused(w) == before;) {
        assert_int_not_equal(client_send(&stranger, rmd_slice_str("let me in")), RMD_OK);
        doze(-1, &left);
    }
    client_say(&c, "hello");
    server_expect(w, "hello");
    client_close(&stranger);
    client_close(&c);
}

static void a_vanished_peer_is_closed(struct world *w) {
    struct client c = client_open(w, 0);
    client_say(&c, "hello");
    struct rmd_peer peer = server_expect(w, "hello");
    client_close(&c);
    int rc = RMD_OK;
    for (int left = WAIT_US; rc != RMD_ECLOSED;) {
        rc = server_send(w, &peer, rmd_slice_str("anybody there?"));
        if (rc != RMD_ECLOSED)
            doze(-1, &left);
    }
    assert_int_equal(server_send(w, &peer, rmd_slice_str("?")), RMD_ECLOSED);
}

static void run_suite(struct world *w) {
    frames_go_both_ways_in_order(w);
    large_frames_pass_and_too_large_ones_are_refused(w);
    two_sessions_on_one_key_are_two(w);
    a_full_queue_says_try_again(w);
    a_stranger_is_refused_and_counted(w);
    a_vanished_peer_is_closed(w);
}

static void world_real(struct world *w, const char *endpoint) {
    memset(w, 0, sizeof *w);
    make_keys(&w->keys);
    rmd_copy(w->endpoint, sizeof w->endpoint, endpoint);
    w->real = server_open(w);
}

static void fake_backend(void **state) {
    (void)state;
    struct world w = {0};
    make_keys(&w.keys);
    w.fake = rmd_bus_fake_new(allow, &w.keys);
    run_suite(&w);
    rmd_bus_fake_free(w.fake);
}

static uint16_t port_of_process(void) {
    return (uint16_t)(20000 + getpid() % 10000);
}

static void tcp_endpoint(char out[64], int plus) {
    rmd_format(out, 64, "tcp://127.0.0.1:%u", port_of_process() + (unsigned)plus);
}

static void zeromq_over_tcp(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 0);
    world_real(&w, endpoint);
    run_suite(&w);
    rmd_bus_server_close(w.real);
}

static void zeromq_over_a_unix_socket(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    rmd_format(endpoint, sizeof endpoint, "ipc:///tmp/remuda-bus-%d.sock", (int)getpid());
    world_real(&w, endpoint);
    run_suite(&w);
    rmd_bus_server_close(w.real);
    unlink(endpoint + 6);
}

/* --- the real one alone */

static const char *wait_trouble(struct client *c, const char *part) {
    struct rmd_slice frame;
    for (int left = WAIT_US;;) {
        assert_int_equal(client_recv(c, &frame), RMD_EAGAIN);
        const char *text = rmd_bus_client_trouble(c->real);
        if (text && strstr(text, part))
            return text;
        doze(client_fd(c), &left);
    }
}

static void a_refused_key_is_named_and_comes_in_once_enrolled(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 1);
    world_real(&w, endpoint);
    struct client c = client_open(&w, 2);
    char z85[41];
    rmd_curve_format(w.keys.public[2], z85);
    const char *text = wait_trouble(&c, "refused this node's key");
    assert_non_null(strstr(text, z85));
    atomic_store(&w.keys.enrolled[2], true);
    client_say(&c, "thank you");
    struct rmd_peer peer = server_expect(&w, "thank you");
    assert_memory_equal(peer.key, w.keys.public[2], RMD_KEY_BYTES);
    struct rmd_slice frame;
    for (int left = WAIT_US; rmd_bus_client_trouble(c.real);) {
        assert_int_equal(client_recv(&c, &frame), RMD_EAGAIN);
        doze(-1, &left);
    }
    client_close(&c);
    rmd_bus_server_close(w.real);
}

/* A session stays allowed to ZeroMQ after its key is revoked: drop() and allow() together end it. */
static void a_revoked_key_stays_out(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 2);
    world_real(&w, endpoint);
    struct client c = client_open(&w, 0);
    client_say(&c, "hello");
    struct rmd_peer peer = server_expect(&w, "hello");
    atomic_store(&w.keys.enrolled[0], false);
    rmd_bus_server_drop(w.real, &peer);
    client_say(&c, "still me");
    client_close(&c);
    c = client_open(&w, 0);
    wait_trouble(&c, "refused this node's key");
    struct rmd_slice frame;
    assert_int_equal(server_recv(&w, &peer, &frame), RMD_EAGAIN);
    client_close(&c);
    rmd_bus_server_close(w.real);
}

static void a_wrong_server_key_is_told_apart(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 3);
    world_real(&w, endpoint);
    struct keys right = w.keys;
    memcpy(w.keys.server_public, w.keys.public[1], RMD_KEY_BYTES);
    struct client c = client_open(&w, 0);
    wait_trouble(&c, "server key");
    for (int left = WAIT_US; rmd_bus_server_refused(w.real) == 0;)
        doze(-1, &left);
    client_close(&c);
    memcpy(w.keys.server_public, right.server_public, RMD_KEY_BYTES);
    rmd_bus_server_close(w.real);
}

static void nobody_there_is_told(void **state) {
    (void)state;
    struct world w = {0};
    make_keys(&w.keys);
    tcp_endpoint(w.endpoint, 4);
    struct client c = client_open(&w, 0);
    wait_trouble(&c, "no connection to the coordinator");
    assert_int_equal(client_send(&c, rmd_slice_str("x")), RMD_ECLOSED);
    client_close(&c);
}

static void a_restarted_server_is_found_again(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 5);
    world_real(&w, endpoint);
    struct client c = client_open(&w, 0);
    client_say(&c, "one");
    server_expect(&w, "one");
    rmd_bus_server_close(w.real);
    struct rmd_slice frame;
    for (int left = WAIT_US; !rmd_bus_client_trouble(c.real);) {
        assert_int_equal(client_recv(&c, &frame), RMD_EAGAIN);
        doze(client_fd(&c), &left);
    }
    w.real = server_open(&w);
    client_say(&c, "two");
    struct rmd_peer peer = server_expect(&w, "two");
    server_say(&w, &peer, "welcome back");
    client_expect(&c, "welcome back");
    client_close(&c);
    rmd_bus_server_close(w.real);
}

/* --- foreign sockets */

struct foreign {
    void *ctx, *socket;
};

/* A DEALER of our own: node < 0 speaks no CURVE. */
static struct foreign foreign_open(const struct world *w, int node, const char *routing_id) {
    struct foreign f = {.ctx = zmq_ctx_new()};
    f.socket = zmq_socket(f.ctx, ZMQ_DEALER);
    int linger = 0;
    zmq_setsockopt(f.socket, ZMQ_LINGER, &linger, sizeof linger);
    if (node >= 0) {
        zmq_setsockopt(f.socket, ZMQ_CURVE_SERVERKEY, w->keys.server_public, RMD_KEY_BYTES);
        zmq_setsockopt(f.socket, ZMQ_CURVE_PUBLICKEY, w->keys.public[node], RMD_KEY_BYTES);
        zmq_setsockopt(f.socket, ZMQ_CURVE_SECRETKEY, w->keys.secret[node], RMD_KEY_BYTES);
    }
    if (routing_id)
        zmq_setsockopt(f.socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id));
    assert_int_equal(zmq_connect(f.socket, w->endpoint), 0);
    return f;
}

static void foreign_close(struct foreign *f) {
    zmq_close(f->socket);
    zmq_ctx_term(f->ctx);
}

struct log_seen {
    atomic_int refusals;
};

static void log_sink(void *ctx, enum rmd_log_level level, const char *line, size_t n) {
    (void)level;
    struct log_seen *seen = ctx;
    if (rmd_case_find(rmd_slice(line, n), rmd_slice_str("refused a connection")))
        atomic_fetch_add(&seen->refusals, 1);
}

static void a_socket_without_keys_is_refused_and_logged(void **state) {
    (void)state;
    struct log_seen seen = {0};
    rmd_log_sink(log_sink, &seen);
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 6);
    world_real(&w, endpoint);
    struct foreign f = foreign_open(&w, -1, NULL);
    zmq_send(f.socket, "plain", 5, ZMQ_DONTWAIT);
    struct rmd_peer peer;
    struct rmd_slice frame;
    for (int left = WAIT_US; rmd_bus_server_refused(w.real) == 0 || atomic_load(&seen.refusals) == 0;) {
        assert_int_equal(server_recv(&w, &peer, &frame), RMD_EAGAIN);
        doze(server_fd(&w), &left);
    }
    foreign_close(&f);
    rmd_bus_server_close(w.real);
    rmd_log_sink(NULL, NULL);
}

static void wait_discarded(struct world *w, uint64_t n) {
    struct rmd_peer peer;
    struct rmd_slice frame;
    for (int left = WAIT_US; rmd_bus_server_discarded(w->real) < n;) {
        assert_int_equal(server_recv(w, &peer, &frame), RMD_EAGAIN);
        doze(server_fd(w), &left);
    }
}

static void garbage_is_counted_and_harms_nobody(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 7);
    world_real(&w, endpoint);
    struct client c = client_open(&w, 0);
    client_say(&c, "hello");
    struct rmd_peer good = server_expect(&w, "hello");

    struct foreign f = foreign_open(&w, 1, NULL);
    for (int i = 0; i < 5; i++) {
        assert_true(zmq_send(f.socket, "one", 3, ZMQ_SNDMORE) >= 0);
        assert_true(zmq_send(f.socket, "", 0, ZMQ_SNDMORE) >= 0);
        assert_true(zmq_send(f.socket, "three", 5, 0) >= 0);
    }
    wait_discarded(&w, 5);
    assert_true(zmq_send(f.socket, "proper", 6, 0) >= 0); /* the connection is kept */
    struct rmd_peer peer = server_expect(&w, "proper");
    assert_memory_equal(peer.key, w.keys.public[1], RMD_KEY_BYTES);

    struct foreign named = foreign_open(&w, 1, "impostor"); /* routing ids are not for peers to choose */
    assert_true(zmq_send(named.socket, "it's me", 7, 0) >= 0);
    wait_discarded(&w, 6);

    server_say(&w, &good, "fine");
    client_expect(&c, "fine");
    foreign_close(&f);
    foreign_close(&named);
    client_close(&c);
    rmd_bus_server_close(w.real);
}

static void an_oversize_frame_ends_its_connection_only(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 8);
    world_real(&w, endpoint);
    struct client c = client_open(&w, 0);
    client_say(&c, "hello");
    struct rmd_peer good = server_expect(&w, "hello");
    struct foreign f = foreign_open(&w, 1, NULL);
    assert_true(zmq_send(f.socket, "first", 5, 0) >= 0);
    struct rmd_peer bad = server_expect(&w, "first");
    uint8_t *big = rmd_alloc(RMD_FRAME_MAX_BYTES + 4096);
    assert_true(zmq_send(f.socket, big, RMD_FRAME_MAX_BYTES + 4096, 0) >= 0);
    free(big);
    int rc = RMD_OK;
    for (int left = WAIT_US; rc != RMD_ECLOSED;) {
        struct rmd_peer peer;
        struct rmd_slice frame;
        assert_int_equal(server_recv(&w, &peer, &frame), RMD_EAGAIN); /* it never arrives */
        rc = server_send(&w, &bad, rmd_slice_str("?"));
        if (rc != RMD_ECLOSED)
            doze(-1, &left);
    }
    server_say(&w, &good, "fine");
    client_expect(&c, "fine");
    foreign_close(&f);
    client_close(&c);
    rmd_bus_server_close(w.real);
}

/* One peer that floods doesn't keep another waiting: ROUTER takes from its peers in turn. */
static void a_flood_is_served_in_turn(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 9);
    world_real(&w, endpoint);
    struct client loud = client_open(&w, 0), quiet = client_open(&w, 1);
    client_say(&loud, "l");
    server_expect(&w, "l");
    client_say(&quiet, "q");
    struct rmd_peer pq = server_expect(&w, "q");
    for (int i = 0; i < 200; i++)
        client_say(&loud, "noise");
    client_say(&quiet, "one word");
    doze(-1, &(int){WAIT_US}); /* both have arrived by now; were they not, the test would only be easier */
    int before = 0;
    for (int left = WAIT_US;;) {
        struct rmd_peer peer;
        struct rmd_slice frame;
        if (server_recv(&w, &peer, &frame) != RMD_OK) {
            doze(server_fd(&w), &left);
            continue;
        }
        if (peer.session == pq.session)
            break;
        before++;
    }
    assert_true(before < 150);
    client_close(&loud);
    client_close(&quiet);
    rmd_bus_server_close(w.real);
}

static void the_descriptor_wakes_after_a_send_too(void **state) {
    (void)state;
    struct world w;
    char endpoint[64];
    tcp_endpoint(endpoint, 10);
    world_real(&w, endpoint);
    struct client c = client_open(&w, 0);
    client_say(&c, "hello");
    struct rmd_peer peer = server_expect(&w, "hello");
    struct rmd_slice frame;
    assert_int_equal(server_recv(&w, &peer, &frame), RMD_EAGAIN);
    server_say(&w, &peer, "x");
    client_expect(&c, "x");
    client_say(&c, "while the server is busy sending");
    for (int i = 0; i < 50; i++) { /* sends swallow ZeroMQ's edge */
        server_say(&w, &peer, "y");
        poll(NULL, 0, 2);
    }
    struct pollfd p = {.fd = rmd_bus_server_fd(w.real), .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    server_expect(&w, "while the server is busy sending");
    client_close(&c);
    rmd_bus_server_close(w.real);
}

static void endpoints_that_cannot_be_used_are_named(void **state) {
    (void)state;
    struct keys k;
    make_keys(&k);
    static const char *const endpoints[] = {"tcp://192.0.2.1:1", NULL};
    struct rmd_bus_server_options o = {.endpoint = endpoints, .allow = allow, .allow_ctx = &k};
    memcpy(o.secret_key, k.server_secret, RMD_KEY_BYTES);
    struct rmd_bus_server *b;
    char err[256] = "";
    assert_int_equal(rmd_bus_server_open(&o, &b, err, sizeof err), RMD_EIO);
    assert_non_null(strstr(err, "tcp://192.0.2.1:1"));
    struct rmd_bus_client_options co = {.endpoint = "nonsense"};
    struct rmd_bus_client *c;
    assert_int_equal(rmd_bus_client_open(&co, &c, err, sizeof err), RMD_EINVAL);
    assert_non_null(strstr(err, "nonsense"));
}

/* --- keys in files */

static void keys_in_files(void **state) {
    (void)state;
    char dir[] = "/tmp/remuda-keys-XXXXXX", path[64], err[256] = "";
    assert_non_null(mkdtemp(dir));
    rmd_format(path, sizeof path, "%s/node.key", dir);
    uint8_t public[RMD_KEY_BYTES], secret[RMD_KEY_BYTES], back[RMD_KEY_BYTES];
    assert_int_equal(rmd_curve_generate(public, secret), RMD_OK);
    assert_int_equal(rmd_curve_public(secret, back), RMD_OK);
    assert_memory_equal(back, public, RMD_KEY_BYTES);
    assert_int_equal(rmd_curve_read_file(path, true, back, err, sizeof err), RMD_ENOTFOUND);
    assert_int_equal(rmd_curve_write_file(path, true, secret, err, sizeof err), RMD_OK);
    assert_int_equal(rmd_curve_read_file(path, true, back, err, sizeof err), RMD_OK);
    assert_memory_equal(back, secret, RMD_KEY_BYTES);
    assert_int_equal(rmd_curve_write_file(path, true, secret, err, sizeof err), RMD_EEXISTS);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    chmod(path, 0640);
    assert_int_equal(rmd_curve_read_file(path, true, back, err, sizeof err), RMD_EAUTH);
    assert_non_null(strstr(err, "chmod 600"));
    assert_int_equal(rmd_curve_read_file(path, false, back, err, sizeof err),
                     RMD_OK); /* a public key may be read by all */
    chmod(path, 0600);
    assert_int_equal(truncate(path, 39), 0);
    assert_int_equal(rmd_curve_read_file(path, true, back, err, sizeof err), RMD_EFORMAT);
    assert_int_equal(rmd_curve_read_file(dir, false, back, err, sizeof err), RMD_EIO);
    assert_int_equal(rmd_curve_parse("short", back), RMD_EFORMAT);
    assert_int_equal(rmd_curve_parse("                                        ", back), RMD_EFORMAT);
    unlink(path);
    rmdir(dir);
}

/* Found by a cluster whose folder happened to have the length: the path itself was enrolled as the key. */
static void a_path_of_forty_characters_is_a_path(void **state) {
    (void)state;
    char dir[] = "/tmp/remuda-keys-XXXXXX", path[64], text[41], err[256] = "";
    assert_non_null(mkdtemp(dir));
    rmd_format(path, sizeof path, "%s/%.*s", dir, (int)(40 - strlen(dir) - 1), "a-node-of-ours.pub");
    uint8_t public[RMD_KEY_BYTES], secret[RMD_KEY_BYTES], back[RMD_KEY_BYTES];
    assert_int_equal(strlen(path), 40);
    assert_int_equal(rmd_curve_parse(path, back), RMD_OK);
    assert_int_equal(rmd_curve_generate(public, secret), RMD_OK);
    assert_int_equal(rmd_curve_write_file(path, false, public, err, sizeof err), RMD_OK);
    assert_int_equal(rmd_curve_read(path, back, err, sizeof err), RMD_OK);
    assert_memory_equal(back, public, RMD_KEY_BYTES);
    rmd_curve_format(public, text);
    assert_int_equal(rmd_curve_read(text, back, err, sizeof err), RMD_OK);
    assert_memory_equal(back, public, RMD_KEY_BYTES);
    assert_int_equal(rmd_curve_read("neither", back, err, sizeof err), RMD_ENOTFOUND);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fake_backend),
        cmocka_unit_test(zeromq_over_tcp),
        cmocka_unit_test(zeromq_over_a_unix_socket),
        cmocka_unit_test(a_refused_key_is_named_and_comes_in_once_enrolled),
        cmocka_unit_test(a_revoked_key_stays_out),
        cmocka_unit_test(a_wrong_server_key_is_told_apart),
        cmocka_unit_test(nobody_there_is_told),
        cmocka_unit_test(a_restarted_server_is_found_again),
        cmocka_unit_test(a_socket_without_keys_is_refused_and_logged),
        cmocka_unit_test(garbage_is_counted_and_harms_nobody),
        cmocka_unit_test(an_oversize_frame_ends_its_connection_only),
        cmocka_unit_test(a_flood_is_served_in_turn),
        cmocka_unit_test(the_descriptor_wakes_after_a_send_too),
        cmocka_unit_test(endpoints_that_cannot_be_used_are_named),
        cmocka_unit_test(keys_in_files),
        cmocka_unit_test(a_path_of_forty_characters_is_a_path),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
