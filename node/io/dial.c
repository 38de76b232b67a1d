/* See dial.h. */
#include "node/io/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/text.h>

static socklen_t socket_address(const struct rmd_addr *a, uint16_t port, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, a->b, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    memcpy(&in6->sin6_addr, a->b, 16);
    return sizeof *in6;
}

static int fail(struct rmd_dial *d, enum rmd_own_error error, const char *what, int err) {
    d->state = RMD_DIAL_FAILED;
    d->error = error;
    if (err)
        (void)rmd_format(d->text, sizeof d->text, "%s: %s", what, strerror(err));
    else
        (void)rmd_copy(d->text, sizeof d->text, what);
    return RMD_ECLOSED;
}

static int connect_failed(struct rmd_dial *d, int err) {
    switch (err) {
    case ECONNREFUSED:
        return fail(d, RMD_OWN_CONNECT_REFUSED, "connection refused", 0);
    case ETIMEDOUT:
        return fail(d, RMD_OWN_CONNECT_TIMEOUT, "connection timed out", 0);
    case EADDRNOTAVAIL: /* the source was bound: no port of it is left for this destination */
        return fail(d, RMD_OWN_CONNECT_UNREACHABLE, "no free port on the source address", 0);
    case ECONNRESET:
        return fail(d, RMD_OWN_CONNECTION_LOST, "connection reset by the receiver", 0);
    default:
        return fail(d, RMD_OWN_CONNECT_UNREACHABLE, "connect", err);
    }
}

/* A socket that is bound to the source; the port is chosen at connect, so that a source has 28,000 for each
 * destination. */
static int bound_socket(const struct rmd_addr *source, int *err) {
    int fd = socket(source->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *err = errno;
        return -1;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_storage from;
    socklen_t n = socket_address(source, 0, &from);
    *err = 0;
    if (bind(fd, (struct sockaddr *)&from, n)) {
        *err = errno;
        close(fd);
        return -2;
    }
    return fd;
}

int rmd_dial_open(struct rmd_dial *d, const struct rmd_addr *source, const struct rmd_addr *dest, uint16_t port) {
    *d = (struct rmd_dial){.fd = -1, .source = *source};
    int err;
    if (source->family != dest->family || (source->family != 4 && source->family != 6))
        return fail(d, RMD_OWN_CONNECT_UNREACHABLE, "source and destination are of different address families", 0);
    int fd = bound_socket(source, &err);
    if (fd == -2 && err == EADDRNOTAVAIL) {
        char from[48];
        rmd_addr_format(source, from);
        (void)rmd_format(d->text, sizeof d->text, "%s is not an address of this host", from);
        d->state = RMD_DIAL_FAILED;
        d->error = RMD_OWN_SOURCE_ADDRESS;
        return RMD_ECLOSED;
    }
    if (fd < 0)
        return fail(d, fd == -2 ? RMD_OWN_SOURCE_ADDRESS : RMD_OWN_CONNECT_UNREACHABLE, fd == -2 ? "bind" : "socket",
                    err);
    d->fd = fd;
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_storage to;
    socklen_t n = socket_address(dest, port, &to);
    d->state = RMD_DIAL_CONNECTING;
    if (connect(fd, (struct sockaddr *)&to, n) && errno != EINPROGRESS && errno != EINTR) {
        err = errno;
        close(fd);
        d->fd = -1;
        return connect_failed(d, err);
    }
    return RMD_OK;
}

int rmd_dial_connected(struct rmd_dial *d) {
    int err = 0;
    socklen_t n = sizeof err;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &n))
        err = errno;
    if (err == EINPROGRESS || err == EAGAIN)
        return RMD_EAGAIN;
    if (err)
        return connect_failed(d, err);
    struct sockaddr_storage peer;
    n = sizeof peer;
    if (getpeername(d->fd, (struct sockaddr *)&peer, &n))
        return errno == ENOTCONN ? RMD_EAGAIN : connect_failed(d, errno);
    d->state = RMD_DIAL_OPEN;
    return RMD_OK;
}

void rmd_dial_close(struct rmd_dial *d) {
    rmd_tls_free(d->tls, d->state == RMD_DIAL_OPEN && !d->cut);
    if (d->fd >= 0)
        close(d->fd);
    rmd_buf_release(&d->out);
    *d = (struct rmd_dial){.fd = -1};
}

/* How much the kernel took; negative as rmd_dial_send. */
static long push(struct rmd_dial *d, const uint8_t *p, size_t n) {
    if (d->tls) {
        char text[160];
        long sent = rmd_tls_write(d->tls, p, n, text, sizeof text);
        if (sent == RMD_EIO)
            d->cut = true;
        return sent;
    }
    for (;;) {
        ssize_t sent = send(d->fd, p, n, MSG_NOSIGNAL);
        if (sent >= 0)
            return sent;
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return RMD_EAGAIN;
        d->cut = true;
        return RMD_EIO;
    }
}

/* Sends what it can of [p, p + n); returns how much left, or n when the connection is cut: nobody waits for that. */
static size_t push_all(struct rmd_dial *d, const uint8_t *p, size_t n) {
    size_t at = 0;
    while (at < n) {
        long sent = push(d, p + at, n - at);
        if (sent == RMD_EAGAIN)
            return at;
        if (sent < 0)
            return n;
        at += (size_t)sent;
    }
    return at;
}

int rmd_dial_flush(struct rmd_dial *d) {
    if (d->out_at < d->out.len && !d->cut)
        d->out_at += push_all(d, d->out.p + d->out_at, d->out.len - d->out_at);
    if (d->cut)
        return RMD_EAGAIN; /* reading will tell */
    if (d->out_at < d->out.len)
        return RMD_EAGAIN;
    rmd_buf_release(&d->out);
    d->out_at = 0;
    return RMD_OK;
}

int rmd_dial_send(struct rmd_dial *d, struct rmd_slice bytes) {
    size_t at = 0;
    if (d->cut)
        return RMD_EAGAIN;
    if (d->out_at == d->out.len && d->state == RMD_DIAL_OPEN)
        at = push_all(d, bytes.p, bytes.n);
    if (d->cut)
        return RMD_EAGAIN;
    if (at == bytes.n)
        return RMD_OK;
    d->out.limit = RMD_DIAL_OUT_BYTES_MAX;
    rmd_buf_add(&d->out, bytes.p + at, bytes.n - at);
    d->cut |= d->out.overflow;
    return RMD_EAGAIN;
}

long rmd_dial_read(struct rmd_dial *d, void *buf) {
    if (d->tls) {
        char text[sizeof d->text];
        long n = rmd_tls_read(d->tls, buf, RMD_DIAL_READ_BYTES, text, sizeof text);
        if (n > 0 || n == RMD_EAGAIN)
            return n;
        return fail(d, RMD_OWN_CONNECTION_LOST, n == 0 ? "connection closed by the receiver" : text, 0);
    }
    ssize_t n = recv(d->fd, buf, RMD_DIAL_READ_BYTES, 0);
    if (n > 0)
        return n;
    if (n == 0)
        return fail(d, RMD_OWN_CONNECTION_LOST, "connection closed by the receiver", 0);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return RMD_EAGAIN;
    return fail(d, RMD_OWN_CONNECTION_LOST, "connection lost", errno);
}

int rmd_dial_start_tls(struct rmd_dial *d, struct rmd_tls_context *c, const struct rmd_tls_spec *spec) {
    d->tls = c ? rmd_tls_new(c, d->fd, &d->source, spec) : NULL;
    if (!d->tls) {
        d->tls_info = (struct rmd_tls_info){.result = spec->level == RMD_TLS_L_DANE ? RMD_TLS_R_TLSA_INVALID
                                                                                    : RMD_TLS_R_VALIDATION_FAILURE};
        (void)rmd_copy(d->text, sizeof d->text,
                       spec->level == RMD_TLS_L_DANE ? "none of the TLSA records can be read"
                                                     : "TLS can't be set up here");
        return RMD_EIO;
    }
    d->state = RMD_DIAL_HANDSHAKE;
    return RMD_OK;
}

int rmd_dial_handshake(struct rmd_dial *d) {
    int rc = rmd_tls_handshake(d->tls, &d->tls_info, d->text, sizeof d->text);
    if (rc == RMD_OK)
        d->state = RMD_DIAL_OPEN;
    else if (rc != RMD_EAGAIN)
        d->state = RMD_DIAL_FAILED;
    return rc;
}

uint32_t rmd_dial_events(const struct rmd_dial *d) {
    switch (d->state) {
    case RMD_DIAL_CONNECTING:
        return EPOLLOUT;
    case RMD_DIAL_HANDSHAKE:
        return rmd_tls_wants_write(d->tls) ? EPOLLOUT : EPOLLIN;
    case RMD_DIAL_OPEN:
        return EPOLLIN | (d->out_at < d->out.len && !d->cut ? (uint32_t)EPOLLOUT : 0u);
    case RMD_DIAL_CLOSED:
    case RMD_DIAL_FAILED:
        break;
    }
    return 0;
}

bool rmd_dial_can_bind(const struct rmd_addr *source) {
    int err, fd = bound_socket(source, &err);
    if (fd < 0)
        return err != EADDRNOTAVAIL; /* out of descriptors says nothing about the address */
    close(fd);
    return true;
}
