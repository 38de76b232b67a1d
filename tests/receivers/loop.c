/* epoll, timers and listening sockets. Level-triggered; a connection that closes is freed at the end of the round. */
#include "tests/receivers/receivers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_A_ROUND = 256, ACCEPTS_A_ROUND = 64, BACKLOG = 1024 };

int64_t rmd_rcv_boot_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t rmd_rcv_wall_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

double rmd_rcv_chance(struct rmd_rcv *r) {
    return (double)(rmd_mix64(r->random++) >> 11) / (double)(UINT64_C(1) << 53);
}

void rmd_rcv_watch_set(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t interest) {
    if (interest == w->interest)
        return;
    struct epoll_event ev = {.events = interest, .data.ptr = w};
    int op = !interest ? EPOLL_CTL_DEL : w->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(r->epoll_fd, op, w->fd, &ev) && op != EPOLL_CTL_DEL) {
        fprintf(stderr, "remuda-receivers: epoll_ctl: %m\n");
        abort();
    }
    w->interest = interest;
}

void rmd_rcv_timer_set(struct rmd_rcv *r, struct rmd_rcv_timer *t, int64_t at_us) {
    rmd_heap_set(&r->timers, &t->node, at_us);
}

void rmd_rcv_timer_stop(struct rmd_rcv *r, struct rmd_rcv_timer *t) {
    rmd_heap_remove(&r->timers, &t->node);
}

int rmd_rcv_accept(int listener, struct sockaddr *peer, socklen_t *n) {
    int fd = accept(listener, peer, n);
    if (fd >= 0 && (fcntl(fd, F_SETFL, O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))) {
        close(fd);
        return -1;
    }
    return fd;
}

static void listener_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events) {
    struct rmd_rcv_listener *l = rmd_container(w, struct rmd_rcv_listener, watch);
    (void)events;
    for (int i = 0; i < ACCEPTS_A_ROUND && w->fd >= 0; i++) {
        struct sockaddr_storage ss;
        struct rmd_addr peer = {0};
        socklen_t n = sizeof ss;
        int one = 1, fd = rmd_rcv_accept(w->fd, (struct sockaddr *)&ss, &n);
        if (fd < 0)
            return; /* EAGAIN, or a peer that left; out of descriptors shows as connections that wait */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (ss.ss_family == AF_INET) {
            peer.family = 4;
            memcpy(peer.b, &((struct sockaddr_in *)&ss)->sin_addr, 4);
        } else {
            peer.family = 6;
            memcpy(peer.b, &((struct sockaddr_in6 *)&ss)->sin6_addr, 16);
        }
        rmd_rcv_conn_open(r, l, fd, &peer);
    }
}

int rmd_rcv_listen(struct rmd_rcv *r, struct rmd_rcv_listener *l, char *err, size_t err_n) {
    struct rmd_addr a;
    uint16_t port;
    struct sockaddr_storage ss = {0};
    socklen_t n;
    int one = 1;
    if (l->watch.fd >= 0)
        return RMD_OK;
    if (rmd_rcv_endpoint_parse(l->addr, &a, &port))
        return RMD_EFORMAT;
    if (a.family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)&ss;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&in->sin_addr, a.b, 4);
        n = sizeof *in;
    } else {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)&ss;
        *in = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&in->sin6_addr, a.b, 16);
        n = sizeof *in;
    }
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (a.family == 6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&ss, n) || listen(fd, BACKLOG)) {
        (void)rmd_format(err, err_n, "provider %s: can't listen on %s: %m", l->provider->name, l->addr);
        if (fd >= 0)
            close(fd);
        return RMD_EIO;
    }
    l->watch = (struct rmd_rcv_watch){.fd = fd, .ready = listener_ready};
    rmd_rcv_watch_set(r, &l->watch, EPOLLIN);
    return RMD_OK;
}

void rmd_rcv_unlisten(struct rmd_rcv *r, struct rmd_rcv_listener *l) {
    if (l->watch.fd < 0)
        return;
    rmd_rcv_watch_set(r, &l->watch, 0);
    close(l->watch.fd);
    l->watch.fd = -1;
}

static void timers_fire(struct rmd_rcv *r) {
    struct rmd_heap_node *n;
    while ((n = rmd_heap_min(&r->timers)) && n->key <= r->now_us) {
        struct rmd_rcv_timer *t = rmd_container(n, struct rmd_rcv_timer, node);
        rmd_heap_remove(&r->timers, n);
        t->fire(r, t);
    }
}

static int wait_ms(struct rmd_rcv *r) {
    struct rmd_heap_node *n = rmd_heap_min(&r->timers);
    if (!n)
        return 1000;
    int64_t us = n->key - r->now_us;
    return us <= 0 ? 0 : us > 1000000 ? 1000 : (int)((us + 999) / 1000);
}

void rmd_rcv_run(struct rmd_rcv *r) {
    struct epoll_event events[EVENTS_A_ROUND];
    while (!r->stop) {
        r->now_us = rmd_rcv_boot_us();
        int n = epoll_wait(r->epoll_fd, events, EVENTS_A_ROUND, wait_ms(r));
        r->now_us = rmd_rcv_boot_us();
        for (int i = 0; i < n; i++) {
            struct rmd_rcv_watch *w = events[i].data.ptr;
            if (w->interest)
                w->ready(r, w, events[i].events);
        }
        timers_fire(r);
        rmd_rcv_transcript_flush(r->transcript);
        rmd_rcv_conn_reap(r);
    }
}
