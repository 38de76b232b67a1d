/* A blocklist asked over DNS (RFC 5782), with c-ares inside the event loop.
 *
 * One channel a provider. The client's record keeps the answer; connections that wait for it are found by walking the
 * provider's open ones, which is cheap beside a query. Listed means: an A record inside 127.0.0.0/8 other than
 * 127.255.255.x, which lists use to say that they don't answer. No answer counts as not listed. */
#include "tests/receivers/receivers.h"

#include <ares.h>
#include <netdb.h>
#include <sys/epoll.h>

enum { SOCKETS_MAX = 16, TICK_MS = 100 };

struct socket_watch {
    struct rmd_rcv_watch watch;
    struct rmd_rcv_dnsbl *owner;
};

struct rmd_rcv_dnsbl {
    struct rmd_rcv *r;
    struct rmd_rcv_provider *provider;
    ares_channel channel;
    struct socket_watch sockets[SOCKETS_MAX]; /* fd < 0: free */
    struct rmd_rcv_timer tick;                /* while queries are open, for their timeouts */
    unsigned open;
};

struct question {
    struct rmd_rcv_dnsbl *d;
    struct rmd_rcv_client *client;
};

static void socket_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events) {
    struct socket_watch *s = rmd_container(w, struct socket_watch, watch);
    (void)r;
    ares_process_fd(s->owner->channel, events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? w->fd : ARES_SOCKET_BAD,
                    events & EPOLLOUT ? w->fd : ARES_SOCKET_BAD);
}

static void socket_state(void *ctx, ares_socket_t fd, int readable, int writable) {
    struct rmd_rcv_dnsbl *d = ctx;
    struct socket_watch *s = NULL;
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (d->sockets[i].watch.fd == fd) {
            s = &d->sockets[i];
            break;
        }
        if (d->sockets[i].watch.fd < 0 && !s)
            s = &d->sockets[i];
    }
    if (!s)
        return; /* the query times out, which is logged as no answer */
    s->owner = d;
    s->watch.fd = fd;
    s->watch.ready = socket_ready;
    rmd_rcv_watch_set(d->r, &s->watch, (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u));
    if (!readable && !writable)
        s->watch.fd = -1;
}

static void tick(struct rmd_rcv *r, struct rmd_rcv_timer *t) {
    struct rmd_rcv_dnsbl *d = rmd_container(t, struct rmd_rcv_dnsbl, tick);
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (d->open)
        rmd_rcv_timer_set(r, t, r->now_us + TICK_MS * 1000);
}

int rmd_rcv_dnsbl_open(struct rmd_rcv *r, struct rmd_rcv_provider *p, char *err, size_t err_n) {
    struct rmd_rcv_dnsbl *d = rmd_alloc(sizeof *d);
    struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP,
                             .timeout = (int)p->policy.dnsbl_timeout_ms,
                             .tries = 1,
                             .sock_state_cb = socket_state,
                             .sock_state_cb_data = d};
    d->r = r;
    d->provider = p;
    d->tick.fire = tick;
    for (int i = 0; i < SOCKETS_MAX; i++)
        d->sockets[i].watch.fd = -1;
    int rc = ares_init_options(&d->channel, &o,
                               ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (rc) {
        free(d);
    } else {
        p->dnsbl = d;
        rc = ares_set_servers_ports_csv(d->channel, p->policy.dnsbl_server);
    }
    if (rc)
        (void)rmd_format(err, err_n, "provider %s: dnsbl_server %s: %s", p->name, p->policy.dnsbl_server,
                         ares_strerror(rc));
    return rc ? RMD_EINVAL : RMD_OK;
}

void rmd_rcv_dnsbl_close(struct rmd_rcv *r, struct rmd_rcv_provider *p) {
    if (!p->dnsbl)
        return;
    ares_destroy(p->dnsbl->channel);
    rmd_rcv_timer_stop(r, &p->dnsbl->tick);
    free(p->dnsbl);
    p->dnsbl = NULL;
}

static bool is_listing(const struct hostent *h) {
    for (char **a = h->h_addr_list; h->h_addrtype == AF_INET && *a; a++) {
        const uint8_t *b = (const uint8_t *)*a;
        if (b[0] == 127 && !(b[1] == 255 && b[2] == 255))
            return true;
    }
    return false;
}

static void answered(void *ctx, int status, int timeouts, unsigned char *answer, int n) {
    struct question *q = ctx;
    struct rmd_rcv *r = q->d->r;
    struct rmd_rcv_client *client = q->client;
    struct hostent *h = NULL;
    (void)timeouts;
    q->d->open--;
    client->dnsbl_asking = false;
    client->dnsbl_listed = false;
    client->dnsbl_answer_us = rmd_rcv_boot_us();
    if (status == ARES_SUCCESS && ares_parse_a_reply(answer, n, &h, NULL, NULL) == ARES_SUCCESS) {
        client->dnsbl_listed = is_listing(h);
        ares_free_hostent(h);
    }
    free(q);
    if (status == ARES_EDESTRUCTION)
        return;
    rmd_list_for_safe(it, &r->conns) {
        struct rmd_rcv_conn *c = rmd_container(it, struct rmd_rcv_conn, all);
        if (c->client != client || !c->dnsbl_wait)
            continue;
        c->dnsbl_wait = false;
        c->dnsbl_done = true;
        rmd_rcv_timer_set(r, &c->hold, 0); /* worked on in the loop, not inside the resolver */
        c->held = true;
    }
}

static void name_of(const struct rmd_rcv_client *client, const char *zone, struct rmd_buf *out) {
    const uint8_t *b = client->addr.b;
    if (client->addr.family == 4)
        rmd_buf_addf(out, "%u.%u.%u.%u.", b[3], b[2], b[1], b[0]);
    else
        for (int i = 15; i >= 0; i--)
            rmd_buf_addf(out, "%x.%x.", b[i] & 15u, b[i] >> 4);
    rmd_buf_addstr(out, zone);
}

bool rmd_rcv_dnsbl_fresh(struct rmd_rcv *r, struct rmd_rcv_provider *p, struct rmd_rcv_client *client) {
    struct rmd_buf name = {0};
    if (client->dnsbl_answer_us && r->now_us - client->dnsbl_answer_us <= p->policy.dnsbl_cache_ms * 1000)
        return true;
    if (client->dnsbl_asking)
        return false;
    struct rmd_rcv_dnsbl *d = p->dnsbl;
    struct question *q = rmd_alloc(sizeof *q);
    *q = (struct question){d, client};
    client->dnsbl_asking = true;
    d->open++;
    p->n_dnsbl_queries++;
    if (!d->tick.node.pos)
        rmd_rcv_timer_set(r, &d->tick, r->now_us + TICK_MS * 1000);
    name_of(client, p->policy.dnsbl_zone, &name);
    ares_query(d->channel, rmd_buf_str(&name), 1 /* IN */, 1 /* A */, answered, q);
    rmd_buf_release(&name);
    return false;
}
