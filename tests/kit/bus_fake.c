/* Bus port in memory (see bus_fake.h). Clients are served in turn, one frame each: fair, as ROUTER is. */
#include "tests/kit/bus_fake.h"

#include <assert.h>

#include "proto/codec.h"

struct queue {
    struct rmd_slice v[RMD_BUS_FAKE_FRAMES];
    int first, n;
};

struct rmd_bus_fake_client {
    struct rmd_bus_fake *bus;
    int place;
    uint8_t key[RMD_KEY_BYTES];
    uint32_t session; /* 0: not connected */
    bool dropped;
    struct queue up, down;
    uint8_t *held; /* what the last recv handed out */
};

struct rmd_bus_fake {
    bool (*allow)(void *ctx, const uint8_t key[RMD_KEY_BYTES]);
    void *allow_ctx;
    struct rmd_bus_fake_client *client[RMD_BUS_FAKE_CLIENTS];
    int next;
    uint32_t last_session;
    uint64_t refused, discarded;
    uint8_t *held;
};

static int put(struct queue *q, struct rmd_slice frame) {
    if (q->n == RMD_BUS_FAKE_FRAMES)
        return RMD_EAGAIN;
    q->v[(q->first + q->n++) % RMD_BUS_FAKE_FRAMES] = rmd_slice(rmd_memdup(frame.p, frame.n), frame.n);
    return RMD_OK;
}

static bool take(struct queue *q, uint8_t **held, struct rmd_slice *frame) {
    if (!q->n)
        return false;
    *frame = q->v[q->first];
    q->first = (q->first + 1) % RMD_BUS_FAKE_FRAMES;
    q->n--;
    free(*held);
    *held = (uint8_t *)frame->p;
    return true;
}

static void empty(struct queue *q) {
    for (; q->n; q->n--, q->first = (q->first + 1) % RMD_BUS_FAKE_FRAMES)
        free((void *)q->v[q->first].p);
}

struct rmd_bus_fake *rmd_bus_fake_new(bool (*allow)(void *ctx, const uint8_t key[RMD_KEY_BYTES]), void *allow_ctx) {
    struct rmd_bus_fake *b = rmd_alloc(sizeof *b);
    b->allow = allow;
    b->allow_ctx = allow_ctx;
    return b;
}

void rmd_bus_fake_free(struct rmd_bus_fake *b) {
    for (int i = 0; i < RMD_BUS_FAKE_CLIENTS; i++)
        if (b->client[i])
            rmd_bus_fake_client_close(b->client[i]);
    free(b->held);
    free(b);
}

static struct rmd_bus_fake_client *client_of(const struct rmd_bus_fake *b, const struct rmd_peer *peer) {
    for (int i = 0; i < RMD_BUS_FAKE_CLIENTS; i++) {
        struct rmd_bus_fake_client *c = b->client[i];
        if (c && c->session && c->session == peer->session && memcmp(c->key, peer->key, RMD_KEY_BYTES) == 0)
            return c->dropped ? NULL : c;
    }
    return NULL;
}

int rmd_bus_fake_server_recv(struct rmd_bus_fake *b, struct rmd_peer *peer, struct rmd_slice *frame) {
    for (int i = 0; i < RMD_BUS_FAKE_CLIENTS; i++) {
        struct rmd_bus_fake_client *c = b->client[(b->next + i) % RMD_BUS_FAKE_CLIENTS];
        while (c && take(&c->up, &b->held, frame)) {
            if (c->dropped) {
                b->discarded++;
                continue;
            }
            b->next = (c->place + 1) % RMD_BUS_FAKE_CLIENTS;
            memcpy(peer->key, c->key, RMD_KEY_BYTES);
            peer->session = c->session;
            return RMD_OK;
        }
    }
    return RMD_EAGAIN;
}

int rmd_bus_fake_server_send(struct rmd_bus_fake *b, const struct rmd_peer *peer, struct rmd_slice frame) {
    struct rmd_bus_fake_client *c = client_of(b, peer);
    return frame.n > RMD_FRAME_MAX_BYTES ? RMD_ELIMIT : c ? put(&c->down, frame) : RMD_ECLOSED;
}

void rmd_bus_fake_server_drop(struct rmd_bus_fake *b, const struct rmd_peer *peer) {
    struct rmd_bus_fake_client *c = client_of(b, peer);
    if (c)
        c->dropped = true;
}

uint64_t rmd_bus_fake_refused(const struct rmd_bus_fake *b) {
    return b->refused;
}

uint64_t rmd_bus_fake_discarded(const struct rmd_bus_fake *b) {
    return b->discarded;
}

struct rmd_bus_fake_client *rmd_bus_fake_client_open(struct rmd_bus_fake *b, const uint8_t key[RMD_KEY_BYTES]) {
    struct rmd_bus_fake_client *c = rmd_alloc(sizeof *c);
    c->bus = b;
    memcpy(c->key, key, RMD_KEY_BYTES);
    while (c->place < RMD_BUS_FAKE_CLIENTS && b->client[c->place])
        c->place++;
    assert(c->place < RMD_BUS_FAKE_CLIENTS);
    b->client[c->place] = c;
    return c;
}

void rmd_bus_fake_client_cut(struct rmd_bus_fake_client *c) {
    c->session = 0;
    c->dropped = false;
    empty(&c->up);
    empty(&c->down);
}

void rmd_bus_fake_client_close(struct rmd_bus_fake_client *c) {
    rmd_bus_fake_client_cut(c);
    c->bus->client[c->place] = NULL;
    free(c->held);
    free(c);
}

int rmd_bus_fake_client_connect(struct rmd_bus_fake_client *c) {
    if (c->session)
        return RMD_OK;
    if (!c->bus->allow(c->bus->allow_ctx, c->key)) {
        c->bus->refused++;
        return RMD_EAUTH;
    }
    c->session = ++c->bus->last_session;
    return RMD_OK;
}

int rmd_bus_fake_client_recv(struct rmd_bus_fake_client *c, struct rmd_slice *frame) {
    return take(&c->down, &c->held, frame) ? RMD_OK : RMD_EAGAIN;
}

int rmd_bus_fake_client_send(struct rmd_bus_fake_client *c, struct rmd_slice frame) {
    if (frame.n > RMD_FRAME_MAX_BYTES)
        return RMD_ELIMIT;
    return c->session ? put(&c->up, frame) : RMD_ECLOSED;
}
