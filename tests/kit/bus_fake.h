/* Bus port in memory, for tests that need no network: the same verbs as proto/io/bus.h, no threads, deterministic.
 *
 * Keys are public keys as they are (no cryptography). A client's connection is made, or refused, by connect(); frames
 * queue up to RMD_BUS_FAKE_FRAMES in each direction. A cut connection ends its session with what is queued in both
 * directions. */
#ifndef REMUDA_TEST_BUS_FAKE_H
#define REMUDA_TEST_BUS_FAKE_H

#include "proto/io/bus.h"

enum { RMD_BUS_FAKE_FRAMES = 256, RMD_BUS_FAKE_CLIENTS = 64 };

struct rmd_bus_fake;
struct rmd_bus_fake_client;

struct rmd_bus_fake *rmd_bus_fake_new(bool (*allow)(void *ctx, const uint8_t key[RMD_KEY_BYTES]), void *allow_ctx);
void rmd_bus_fake_free(struct rmd_bus_fake *b); /* and its clients */

int rmd_bus_fake_server_recv(struct rmd_bus_fake *b, struct rmd_peer *peer, struct rmd_slice *frame) RMD_CHECKED;
int rmd_bus_fake_server_send(struct rmd_bus_fake *b, const struct rmd_peer *peer, struct rmd_slice frame) RMD_CHECKED;
void rmd_bus_fake_server_drop(struct rmd_bus_fake *b, const struct rmd_peer *peer);
uint64_t rmd_bus_fake_refused(const struct rmd_bus_fake *b);
uint64_t rmd_bus_fake_discarded(const struct rmd_bus_fake *b);

struct rmd_bus_fake_client *rmd_bus_fake_client_open(struct rmd_bus_fake *b, const uint8_t key[RMD_KEY_BYTES]);
void rmd_bus_fake_client_close(struct rmd_bus_fake_client *c);
/* A new connection, and with it a new session, unless there is one. RMD_EAUTH when the key is refused. */
int rmd_bus_fake_client_connect(struct rmd_bus_fake_client *c) RMD_CHECKED;
void rmd_bus_fake_client_cut(struct rmd_bus_fake_client *c);
int rmd_bus_fake_client_recv(struct rmd_bus_fake_client *c, struct rmd_slice *frame) RMD_CHECKED;
int rmd_bus_fake_client_send(struct rmd_bus_fake_client *c, struct rmd_slice frame) RMD_CHECKED;

#endif
