/* DNS over c-ares (see dns_cares.h). c-ares sends, times out, retries and changes to TCP; what an answer says is read
 * by dns_message.c, because c-ares 1.18 doesn't hand out the TTL of an MX.
 *
 *   request (dns_cares_requests.c: a caller waits)  --  1..3 lookups, by name and type:
 *                                                       cache | joined to a query in flight | a query of its own */
#include "proto/io/dns_cares.h"

#include <arpa/nameser.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include <ares.h>

#include <base/coll.h>
#include <base/text.h>

#include "proto/io/dns_cares_internal.h"

enum {
    DNS_QUEUE_MAX = 65536, /* queries in flight or waiting; beyond: TEMPFAIL at once */
    DNS_EDNS_BYTES = 1232, /* fits one datagram everywhere (DNS flag day 2020) */
    DNS_ROUNDS_MAX = 16,   /* of epoll in one process() */
    DNS_TIMEOUT_DEFAULT_MS = 3000,
    DNS_TRIES_DEFAULT = 3,
    DNS_NEGATIVE_TTL_DEFAULT_S = 300,
    DNS_TTL_MAX_DEFAULT_S = 86400,
    DNS_IN_FLIGHT_DEFAULT = 256,
};

struct query {
    struct rmd_list link; /* in cares.waiting until it starts */
    struct rmd_list waiters;
    struct rmd_dns_cares *d;
    uint16_t type;
    int hops;
    bool has_ttl;
    bool insecure;                 /* a CNAME on the way was */
    uint32_t ttl_s;                /* least of the CNAMEs on the way */
    char name[RMD_DOMAIN_MAX + 1]; /* asked for */
    char at[RMD_DOMAIN_MAX + 1];   /* where the CNAMEs led */
};

struct key {
    uint8_t b[RMD_DOMAIN_MAX + 2];
    size_t n;
};

static void start_waiting(struct rmd_dns_cares *d);

int64_t dns_cares_now_ms(const struct rmd_dns_cares *d) {
    return d->o.clock->now(d->o.clock->ctx).mono_ms;
}

static struct key make_key(const char *name, uint16_t type) {
    struct key k;
    k.n = strlen(name) + 1;
    k.b[0] = (uint8_t)type;
    memcpy(k.b + 1, name, k.n - 1);
    return k;
}

static void reply_fail(struct rmd_dns_reply *reply, const char *detail) {
    memset(reply, 0, offsetof(struct rmd_dns_reply, mx));
    reply->status = RMD_DNS_TEMPFAIL;
    rmd_copy(reply->detail, sizeof reply->detail, detail);
}

/* --- cache: packed replies */

static void pack(const struct rmd_dns_reply *reply, struct rmd_buf *out) {
    uint8_t head[6] = {(uint8_t)reply->status, (uint8_t)reply->n_mx,   (uint8_t)reply->n_addr,
                       (uint8_t)reply->n_txt,  (uint8_t)reply->n_tlsa, reply->secure};
    rmd_buf_add(out, head, sizeof head);
    for (int i = 0; i < reply->n_mx; i++) {
        uint8_t preference[2];
        rmd_put_be16(preference, reply->mx[i].preference);
        rmd_buf_add(out, preference, sizeof preference);
        rmd_buf_add(out, reply->mx[i].host, strlen(reply->mx[i].host) + 1);
    }
    if (reply->n_addr)
        rmd_buf_add(out, reply->addr, (size_t)reply->n_addr * sizeof reply->addr[0]);
    for (int i = 0; i < reply->n_txt; i++)
        rmd_buf_add(out, reply->txt[i], strlen(reply->txt[i]) + 1);
    if (reply->n_tlsa || reply->tlsa_lost) {
        uint8_t n[4];
        rmd_put_be16(n, (uint16_t)reply->tlsa_bytes);
        rmd_put_be16(n + 2, (uint16_t)reply->tlsa_lost);
        rmd_buf_add(out, n, sizeof n);
        rmd_buf_add(out, reply->tlsa, (size_t)reply->n_tlsa * sizeof reply->tlsa[0]);
        rmd_buf_add(out, reply->tlsa_data, reply->tlsa_bytes);
    }
}

static void unpack(struct rmd_slice s, int64_t left_ms, struct rmd_dns_reply *reply) {
    memset(reply, 0, offsetof(struct rmd_dns_reply, mx));
    reply->detail[0] = 0;
    reply->status = (enum rmd_dns_status)s.p[0];
    reply->n_mx = s.p[1];
    reply->n_addr = s.p[2];
    reply->n_txt = s.p[3];
    reply->n_tlsa = s.p[4];
    reply->secure = s.p[5];
    reply->has_ttl = true;
    reply->ttl_s = (uint32_t)((left_ms + 999) / 1000);
    const uint8_t *p = s.p + 6;
    for (int i = 0; i < reply->n_mx; i++) {
        reply->mx[i].preference = rmd_get_be16(p);
        rmd_copy(reply->mx[i].host, sizeof reply->mx[i].host, (const char *)p + 2);
        p += 2 + strlen(reply->mx[i].host) + 1;
    }
    if (reply->n_addr)
        memcpy(reply->addr, p, (size_t)reply->n_addr * sizeof reply->addr[0]);
    p += (size_t)reply->n_addr * sizeof reply->addr[0];
    for (int i = 0; i < reply->n_txt; i++) {
        rmd_copy(reply->txt[i], sizeof reply->txt[i], (const char *)p);
        p += strlen(reply->txt[i]) + 1;
    }
    if (p == s.p + s.n)
        return;
    reply->tlsa_bytes = rmd_get_be16(p);
    reply->tlsa_lost = rmd_get_be16(p + 2);
    memcpy(reply->tlsa, p + 4, (size_t)reply->n_tlsa * sizeof reply->tlsa[0]);
    memcpy(reply->tlsa_data, p + 4 + (size_t)reply->n_tlsa * sizeof reply->tlsa[0], reply->tlsa_bytes);
}

/* --- queries */

static const char *status_text(const struct rmd_dns_cares *d, int status, char out[96]) {
    switch (status) {
    case ARES_ESERVFAIL:
        return "SERVFAIL";
    case ARES_EREFUSED:
        return "REFUSED";
    case ARES_EFORMERR:
        return "FORMERR";
    case ARES_ENOTIMP:
        return "NOTIMP";
    case ARES_EBADRESP:
        return "malformed answer";
    case ARES_ECONNREFUSED:
        return d->one_server ? "the DNS server can't be reached"
                             : "every DNS server failed, refused or can't be reached";
    case ARES_EDESTRUCTION:
    case ARES_ECANCELLED:
        return "shutting down";
    case ARES_ETIMEOUT:
        rmd_format(out, 96, "timeout after %d tries", d->o.tries);
        return out;
    default:
        rmd_copy(out, 96, ares_strerror(status));
        return out;
    }
}

static uint32_t clamp_ttl(const struct rmd_dns_cares *d, const struct rmd_dns_reply *reply) {
    uint32_t ttl = reply->has_ttl ? reply->ttl_s : d->o.negative_ttl_s;
    return ttl < d->o.ttl_min_s ? d->o.ttl_min_s : ttl > d->o.ttl_max_s ? d->o.ttl_max_s : ttl;
}

/* The end of a query: cache, then everybody who waits. Frees it. */
static void query_finish(struct query *q, struct rmd_dns_reply *reply) {
    struct rmd_dns_cares *d = q->d;
    struct key key = make_key(q->name, q->type);
    rmd_map_remove(&d->queries, rmd_slice(key.b, key.n));
    d->n_queries--;
    if (reply->status != RMD_DNS_TEMPFAIL) {
        if (q->has_ttl && reply->has_ttl && q->ttl_s < reply->ttl_s)
            reply->ttl_s = q->ttl_s;
        reply->ttl_s = clamp_ttl(d, reply);
        reply->has_ttl = true;
        struct rmd_buf packed = {0};
        pack(reply, &packed);
        rmd_dns_cache_put(&d->cache, rmd_slice(key.b, key.n), rmd_buf_slice(&packed), dns_cares_now_ms(d),
                          (int64_t)reply->ttl_s * 1000);
        rmd_buf_release(&packed);
    }
    while (!rmd_list_empty(&q->waiters)) {
        struct waiter *w = rmd_container(q->waiters.next, struct waiter, link);
        rmd_list_remove(&w->link);
        dns_cares_result(w->request, (enum slot)(w - w->request->waiter), reply);
    }
    free(q);
}

static void on_ares(void *arg, int status, int timeouts, unsigned char *answer, int answer_n);

/* What ares_query() does, with the AD bit set: "tell me whether you validated it" (RFC 6840, section 5.7). */
static void query_send(struct query *q) {
    enum { FLAGS = 3, AD = 0x20 };
    unsigned char *bytes;
    int n;
    uint16_t id;
    (void)!getrandom(&id, sizeof id, 0);
    int rc = ares_create_query(q->at, ns_c_in, q->type, id, 1, &bytes, &n, DNS_EDNS_BYTES);
    if (rc != ARES_SUCCESS) {
        on_ares(q, rc, 0, NULL, 0);
        return;
    }
    bytes[FLAGS] |= AD;
    ares_send(q->d->channel, bytes, n, on_ares, q); /* q may be gone behind this line */
    ares_free_string(bytes);
}

static void on_ares(void *arg, int status, int timeouts, unsigned char *answer, int answer_n) {
    struct query *q = arg;
    struct rmd_dns_cares *d = q->d;
    struct rmd_dns_reply reply;
    char text[96];
    (void)timeouts;
    if (answer && status != ARES_EDESTRUCTION)
        rmd_dns_reply_parse(rmd_slice(answer, (size_t)answer_n), q->at, q->type, &reply);
    else
        reply_fail(&reply, status_text(d, status, text));
    q->insecure |= !reply.secure;
    reply.secure = d->validating && !q->insecure;
    if (reply.alias[0] && !d->closing) { /* the server knows the CNAME only: the chain goes on elsewhere */
        if (++q->hops <= RMD_DNS_CHAIN_MAX) {
            rmd_copy(q->at, sizeof q->at, reply.alias);
            query_send(q);
            return;
        }
        reply_fail(&reply, "CNAME loop");
    }
    d->in_flight--;
    query_finish(q, &reply);
    start_waiting(d);
}

/* Starts what waits, in order, up to the limit. Not recursive beyond queries that fail before they are sent. */
static void start_waiting(struct rmd_dns_cares *d) {
    while (!d->closing && d->in_flight < d->o.max_in_flight && !rmd_list_empty(&d->waiting)) {
        struct query *q = rmd_container(d->waiting.next, struct query, link);
        rmd_list_remove(&q->link);
        d->in_flight++;
        query_send(q);
    }
}

static struct query *query_new(struct rmd_dns_cares *d, const char *name, uint16_t type) {
    struct query *q = rmd_alloc(sizeof *q);
    q->d = d;
    q->type = type;
    rmd_copy(q->name, sizeof q->name, name);
    rmd_copy(q->at, sizeof q->at, name);
    rmd_list_init(&q->waiters);
    struct key key = make_key(name, type);
    rmd_map_set(&d->queries, rmd_slice(key.b, key.n), q);
    d->n_queries++;
    rmd_list_push(&d->waiting, &q->link);
    return q;
}

void dns_cares_lookup(struct rmd_dns_cares *d, struct request *r, enum slot slot, const char *name, uint16_t type) {
    struct key key = make_key(name, type);
    struct rmd_slice packed;
    int64_t left_ms;
    struct rmd_dns_reply reply;
    if (rmd_dns_cache_get(&d->cache, rmd_slice(key.b, key.n), dns_cares_now_ms(d), &packed, &left_ms)) {
        unpack(packed, left_ms, &reply);
        dns_cares_result(r, slot, &reply);
        return;
    }
    struct query *q = rmd_map_get(&d->queries, rmd_slice(key.b, key.n));
    if (!q && (d->closing || d->n_queries >= DNS_QUEUE_MAX)) {
        reply_fail(&reply, d->closing ? "shutting down" : "too many DNS queries are waiting");
        dns_cares_result(r, slot, &reply);
        return;
    }
    if (!q)
        q = query_new(d, name, type);
    r->waiter[slot].request = r;
    rmd_list_push(&q->waiters, &r->waiter[slot].link);
    start_waiting(d);
}

/* --- sockets and time */

static void on_socket(void *arg, ares_socket_t fd, int readable, int writable) {
    struct rmd_dns_cares *d = arg;
    struct epoll_event ev = {.events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u), .data.fd = fd};
    if (!ev.events)
        epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0 && errno == ENOENT)
        epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int rmd_dns_cares_fd(const struct rmd_dns_cares *d) {
    return d->epoll_fd;
}

int64_t rmd_dns_cares_deadline(const struct rmd_dns_cares *d) {
    struct timeval tv;
    if (!ares_timeout(d->channel, NULL, &tv))
        return RMD_NEVER;
    return dns_cares_now_ms(d) + (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1;
}

void rmd_dns_cares_process(struct rmd_dns_cares *d) {
    for (int round = 0; round < DNS_ROUNDS_MAX; round++) {
        struct epoll_event ev[64];
        int n = epoll_wait(d->epoll_fd, ev, 64, 0);
        if (n <= 0)
            break;
        for (int i = 0; i < n; i++) {
            bool in = ev[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP), out = ev[i].events & EPOLLOUT;
            ares_process_fd(d->channel, in ? ev[i].data.fd : ARES_SOCKET_BAD, out ? ev[i].data.fd : ARES_SOCKET_BAD);
        }
    }
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* timeouts */
}

/* --- opening and closing */

static void library_init(void) {
    ares_library_init(ARES_LIB_INIT_ALL); /* can only fail on Windows */
}

static struct rmd_dns_cares_options with_defaults(const struct rmd_dns_cares_options *o) {
    struct rmd_dns_cares_options r = *o;
    r.servers = r.validating = NULL; /* read in open() only */
    r.timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : DNS_TIMEOUT_DEFAULT_MS;
    r.tries = o->tries > 0 ? o->tries : DNS_TRIES_DEFAULT;
    r.ttl_max_s = o->ttl_max_s ? o->ttl_max_s : DNS_TTL_MAX_DEFAULT_S;
    r.negative_ttl_s = o->negative_ttl_s ? o->negative_ttl_s : DNS_NEGATIVE_TTL_DEFAULT_S;
    r.max_in_flight = o->max_in_flight ? o->max_in_flight : DNS_IN_FLIGHT_DEFAULT;
    return r;
}

/* Which server answered isn't told: all of them must be trusted. */
static bool all_validate(const struct ares_addr_port_node *list, const char *validating) {
    for (const struct ares_addr_port_node *s = list; s; s = s->next) {
        struct rmd_addr a = {.family = s->family == AF_INET6 ? 6 : 4}, v;
        memcpy(a.b, &s->addr, a.family == 6 ? 16 : 4);
        bool found = false;
        for (const char *p = validating ? validating : ""; *p && !found;) {
            char text[64];
            size_t n = strcspn(p, ",");
            found = rmd_copy_slice(text, sizeof text, rmd_trim(rmd_slice(p, n))) &&
                    rmd_addr_parse(text, &v) == RMD_OK && rmd_addr_eq(&a, &v);
            p += n + (p[n] == ',');
        }
        if (!found)
            return false;
    }
    return list != NULL;
}

static int init_channel(struct rmd_dns_cares *d, const char *servers, const char *validating, int more_flags) {
    struct ares_options ao = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS | more_flags,
        .timeout = d->o.timeout_ms,
        .tries = d->o.tries,
        .ednspsz = DNS_EDNS_BYTES,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = d,
    };
    int rc = ares_init_options(&d->channel, &ao,
                               ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
                                   ARES_OPT_SOCK_STATE_CB);
    if (rc != ARES_SUCCESS)
        return rc;
    if (servers && *servers)
        rc = ares_set_servers_ports_csv(d->channel, servers);
    struct ares_addr_port_node *list = NULL;
    if (rc == ARES_SUCCESS && ares_get_servers_ports(d->channel, &list) == ARES_SUCCESS) {
        d->one_server = list && !list->next;
        d->validating = all_validate(list, validating);
        ares_free_data(list);
    }
    if (rc != ARES_SUCCESS)
        ares_destroy(d->channel);
    return rc;
}

/* On SERVFAIL and the like c-ares goes on to the next server, and reports "refused" when none is left. With a single
 * server there is nowhere to go, and its own words are worth more. */
static int set_up_channel(struct rmd_dns_cares *d, const char *servers, const char *validating) {
    int rc = init_channel(d, servers, validating, 0);
    if (rc != ARES_SUCCESS || !d->one_server)
        return rc;
    ares_destroy(d->channel);
    return init_channel(d, servers, validating, ARES_FLAG_NOCHECKRESP);
}

int rmd_dns_cares_open(const struct rmd_dns_cares_options *o, struct rmd_dns_cares **out, char *err, size_t err_n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    *out = NULL;
    struct rmd_dns_cares *d = rmd_alloc(sizeof *d);
    d->o = with_defaults(o);
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rmd_list_init(&d->waiting);
    rmd_dns_cache_init(&d->cache, o->cache_entries);
    int rc = d->epoll_fd < 0 ? ARES_ENOMEM : set_up_channel(d, o->servers, o->validating);
    if (rc != ARES_SUCCESS) {
        rmd_format(err, err_n, "dns: servers \"%s\" can't be used: %s", o->servers ? o->servers : "",
                   ares_strerror(rc));
        if (d->epoll_fd >= 0)
            close(d->epoll_fd);
        free(d);
        return RMD_EINVAL;
    }
    *out = d;
    return RMD_OK;
}

void rmd_dns_cares_close(struct rmd_dns_cares *d) {
    if (!d)
        return;
    d->closing = true;
    ares_destroy(d->channel); /* answers all that is in flight */
    struct rmd_dns_reply reply;
    while (!rmd_list_empty(&d->waiting)) {
        struct query *q = rmd_container(d->waiting.next, struct query, link);
        rmd_list_remove(&q->link);
        reply_fail(&reply, "shutting down");
        query_finish(q, &reply);
    }
    assert(d->n_queries == 0 && d->in_flight == 0);
    rmd_dns_cache_release(&d->cache);
    rmd_map_release(&d->queries);
    close(d->epoll_fd);
    free(d);
}
