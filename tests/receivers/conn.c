/* A connection's bytes: reading, writing, dripping, closing.
 *
 *   open -> work (step the session while it can move, send) -> ... -> drain (send the rest) -> close -> reap
 *
 * Replies leave after the transcript lines that describe them. While a delay, a listing query or unsent output holds
 * the session, nothing is read, so that a flooding client fills its own socket, not our memory. */
#include "tests/receivers/receivers.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_US = 1000000 };

static void conn_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events);

static void hold_fire(struct rmd_rcv *r, struct rmd_rcv_timer *t) {
    struct rmd_rcv_conn *c = rmd_container(t, struct rmd_rcv_conn, hold);
    c->held = false;
    rmd_rcv_conn_work(r, c);
}

static void idle_fire(struct rmd_rcv *r, struct rmd_rcv_timer *t) {
    struct rmd_rcv_conn *c = rmd_container(t, struct rmd_rcv_conn, idle);
    if (c->closing || c->state == RCV_S_FLOOD) {
        rmd_rcv_conn_close(r, c);
        return;
    }
    rmd_rcv_reply(r, c, RCV_GREETING, "idle", NULL, "421 4.4.2 %host Error: timeout exceeded");
    rmd_rcv_conn_work(r, c);
}

static struct rmd_rcv_client *client_get(struct rmd_rcv_provider *p, const struct rmd_addr *peer) {
    char ip[48];
    rmd_addr_format(peer, ip);
    struct rmd_rcv_client *client = rmd_map_get_str(&p->clients, ip);
    if (client || p->clients.n >= RCV_CLIENTS_MAX)
        return client;
    client = rmd_alloc(sizeof *client);
    client->addr = *peer;
    (void)rmd_copy(client->ip, sizeof client->ip, ip);
    rmd_map_set(&p->clients, rmd_slice_str(ip), client);
    return client;
}

void rmd_rcv_conn_open(struct rmd_rcv *r, struct rmd_rcv_listener *l, int fd, const struct rmd_addr *peer) {
    struct rmd_rcv_provider *p = l->provider;
    struct rmd_rcv_client *client = client_get(p, peer);
    if (!client || r->conns_n >= RCV_CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    struct rmd_rcv_conn *c = rmd_alloc(sizeof *c);
    c->watch = (struct rmd_rcv_watch){.fd = fd, .ready = conn_ready};
    c->hold.fire = hold_fire;
    c->idle.fire = idle_fire;
    c->provider = p;
    c->client = client;
    c->local = l->addr;
    c->serial = ++r->serial;
    c->cut = -1;
    rmd_list_push(&r->conns, &c->all);
    r->conns_n++;
    p->open++;
    p->n_connections++;
    client->connections++;
    rmd_rcv_line(r, c, "connect");
    rmd_rcv_line_end(r);
    rmd_rcv_timer_set(r, &c->idle, r->now_us + p->policy.idle_ms * 1000);
    rmd_rcv_conn_work(r, c);
}

/* A connection that only lingers no longer counts against its client. */
static void uncount(struct rmd_rcv_conn *c) {
    if (c->lingering)
        return;
    c->client->connections--;
    c->provider->open--;
}

/* Everything is said. Closing with input unread would reset the connection, and the last reply could be lost on its
 * way; so only our direction ends now, and what still comes is dropped until the peer closes too, for a second at
 * most. */
static void linger(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    if (c->peer_closed) {
        rmd_rcv_conn_close(r, c);
        return;
    }
    uncount(c);
    c->lingering = true;
    rmd_rcv_tls_free(c);
    shutdown(c->watch.fd, SHUT_WR);
    rmd_rcv_timer_set(r, &c->idle, r->now_us + LINGER_US);
    rmd_rcv_watch_set(r, &c->watch, EPOLLIN);
}

static void lingering_read(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    char drop[4096];
    ssize_t n = recv(c->watch.fd, drop, sizeof drop, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        rmd_rcv_conn_close(r, c);
}

void rmd_rcv_conn_close(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    if (c->dead)
        return;
    c->dead = true;
    rmd_rcv_transcript_flush(r->transcript);
    rmd_rcv_timer_stop(r, &c->hold);
    rmd_rcv_timer_stop(r, &c->idle);
    rmd_rcv_watch_set(r, &c->watch, 0);
    rmd_rcv_tls_free(c);
    close(c->watch.fd);
    uncount(c);
    r->conns_n--;
    rmd_list_remove(&c->all);
    rmd_list_push(&r->dead, &c->all);
}

void rmd_rcv_conn_reap(struct rmd_rcv *r) {
    rmd_list_for_safe(it, &r->dead) {
        struct rmd_rcv_conn *c = rmd_container(it, struct rmd_rcv_conn, all);
        rmd_list_remove(it);
        rmd_rcv_smtp_reset(c);
        free(c->rcpts);
        rmd_buf_release(&c->in);
        rmd_buf_release(&c->out);
        rmd_buf_release(&c->msg);
        rmd_buf_release(&c->verdict);
        free(c);
    }
}

void rmd_rcv_conn_drain(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    c->closing = true;
    rmd_rcv_timer_set(r, &c->idle, r->now_us + 5000000); /* a peer that doesn't read gets 5 s */
}

static void verdict_left(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    if (!c->verdict_at || c->out_pos < c->verdict_at)
        return;
    rmd_buf_addstr(rmd_rcv_line(r, c, "verdict"), rmd_buf_str(&c->verdict));
    rmd_rcv_line_end(r);
    c->verdict_at = 0;
}

static ssize_t send_some(struct rmd_rcv_conn *c, size_t n) {
    const uint8_t *p = c->out.p + c->out_pos;
    if (c->ssl && c->state != RCV_S_TLS)
        return rmd_rcv_tls_write(c, p, n);
    ssize_t k = send(c->watch.fd, p, n, MSG_NOSIGNAL);
    return k >= 0 ? k : errno == EAGAIN || errno == EINTR ? -1 : -2;
}

/* Sends what is due. Returns false when the connection is gone. */
static bool out_send(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    if (c->out_pos < c->out.len)
        rmd_rcv_transcript_flush(r->transcript);
    while (c->out_pos < c->out.len && !(c->drip && c->held)) {
        ssize_t k = send_some(c, c->drip ? 1 : c->out.len - c->out_pos);
        if (k == -1)
            break;
        if (k <= 0) {
            rmd_rcv_conn_close(r, c);
            return false;
        }
        c->out_pos += (size_t)k;
        verdict_left(r, c);
        if (c->drip && c->out_pos < c->out.len) {
            c->held = true;
            rmd_rcv_timer_set(r, &c->hold, r->now_us + c->provider->policy.drip_ms * 1000);
        }
    }
    if (c->out_pos == c->out.len) {
        rmd_buf_clear(&c->out);
        c->out_pos = 0;
        c->drip = false;
    }
    return true;
}

static bool may_step(const struct rmd_rcv_conn *c) {
    size_t unsent = c->out.len - c->out_pos;
    return !c->dead && !c->closing && !c->held && !c->dnsbl_wait && unsent < RCV_OUT_MAX && !(c->drip && unsent) &&
           !(c->state == RCV_S_TLS && !c->handshake_wants_write && unsent);
}

static void interest_set(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    bool unsent = c->out_pos < c->out.len;
    uint32_t want = c->peer_closed ? 0 : EPOLLRDHUP;
    if (!c->peer_closed && (may_step(c) || (c->state == RCV_S_TLS && !unsent)) && c->state != RCV_S_FLOOD)
        want |= EPOLLIN;
    if ((unsent && !(c->drip && c->held)) || c->state == RCV_S_FLOOD ||
        (c->state == RCV_S_TLS && c->handshake_wants_write))
        want |= EPOLLOUT;
    rmd_rcv_watch_set(r, &c->watch, want);
}

static void in_compact(struct rmd_rcv_conn *c) {
    if (c->in_pos == c->in.len)
        rmd_buf_clear(&c->in);
    else if (c->in_pos)
        rmd_buf_consume(&c->in, c->in_pos);
    c->in_pos = 0;
}

void rmd_rcv_conn_work(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    bool moved = true;
    if (c->lingering)
        return;
    while (moved && !c->dead) {
        for (moved = false; may_step(c) && rmd_rcv_smtp_step(r, c);)
            moved = true;
        if (c->dead)
            return;
        in_compact(c);
        if (!out_send(r, c))
            return;
    }
    if (c->dead)
        return;
    bool sent_all = c->out_pos == c->out.len;
    if (c->closing && sent_all) {
        linger(r, c);
        return;
    }
    if (c->peer_closed && sent_all && !c->held && !c->dnsbl_wait) {
        rmd_rcv_json_cstr(rmd_rcv_line(r, c, "quit"), "text", "peer closed");
        rmd_rcv_line_end(r);
        rmd_rcv_conn_close(r, c);
        return;
    }
    interest_set(r, c);
}

/* One read a round. Appends to c->in. */
static void in_read(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    rmd_buf_reserve(&c->in, RCV_READ_BYTES);
    void *at = c->in.p + c->in.len;
    ssize_t n;
    if (c->ssl) {
        n = rmd_rcv_tls_read(c, at, RCV_READ_BYTES);
    } else {
        n = recv(c->watch.fd, at, RCV_READ_BYTES, 0);
        n = n >= 0 ? n : errno == EAGAIN || errno == EINTR ? -1 : -2;
    }
    if (n > 0) {
        c->in.len += (size_t)n;
        c->in.p[c->in.len] = 0;
        rmd_rcv_timer_set(r, &c->idle, r->now_us + c->provider->policy.idle_ms * 1000);
    } else if (n == 0 || n == -2) {
        c->peer_closed = true;
    }
}

static void conn_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events) {
    struct rmd_rcv_conn *c = rmd_container(w, struct rmd_rcv_conn, watch);
    bool held = c->held || c->dnsbl_wait;
    if (c->lingering) {
        lingering_read(r, c);
        return;
    }
    if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        /* what the peer sent before it left still counts, when we may read it */
        if (held)
            c->peer_closed = true;
        if (events & EPOLLERR || (held && events & EPOLLHUP)) {
            c->peer_closed = true;
            if (!held) {
                rmd_rcv_conn_close(r, c);
                return;
            }
            rmd_rcv_watch_set(r, &c->watch, 0);
            return;
        }
    }
    if (events & (EPOLLIN | EPOLLRDHUP) && c->state != RCV_S_TLS && !held && !c->closing && !c->peer_closed)
        in_read(r, c);
    rmd_rcv_conn_work(r, c);
}
