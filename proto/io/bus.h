/* Bus port over ZeroMQ: ROUTER at the coordinator, DEALER at a node, CURVE always (design, section 5).
 *
 * A peer is its CURVE public key: the server takes it from the ZAP User-Id of every frame and never from a routing
 * id. Two connections with one key are two sessions; the core decides which lives. One thread uses a bus object;
 * allow() is called from the ZAP thread and must be thread-safe. Frames over RMD_FRAME_MAX_BYTES are dropped by
 * ZeroMQ with the connection. Nothing blocks: a frame that can't be queued is RMD_EAGAIN, a peer that is gone
 * RMD_ECLOSED. */
#ifndef REMUDA_BUS_H
#define REMUDA_BUS_H

#include <base/buf.h>

struct rmd_peer {
    uint8_t key[RMD_KEY_BYTES];
    uint32_t session; /* rises with each new connection seen */
};

struct rmd_bus_server;
struct rmd_bus_client;

struct rmd_bus_server_options {
    const char *const *endpoint; /* NULL-terminated: "tcp://127.0.0.1:7350", "ipc:///run/..." */
    uint8_t secret_key[RMD_KEY_BYTES];
    /* Is this public key an enrolled node? Refusals are logged with address and key. */
    bool (*allow)(void *ctx, const uint8_t key[RMD_KEY_BYTES]);
    void *allow_ctx;
};

int rmd_bus_server_open(const struct rmd_bus_server_options *o, struct rmd_bus_server **out, char *err,
                        size_t err_n) RMD_CHECKED;
void rmd_bus_server_close(struct rmd_bus_server *b);
int rmd_bus_server_fd(
    const struct rmd_bus_server *b); /* edge-triggered as ZeroMQ's: drain recv until RMD_EAGAIN after each wake-up */
/* *frame points into the bus until the next recv. RMD_EAGAIN when there is none. */
int rmd_bus_server_recv(struct rmd_bus_server *b, struct rmd_peer *peer, struct rmd_slice *frame) RMD_CHECKED;
int rmd_bus_server_send(struct rmd_bus_server *b, const struct rmd_peer *peer, struct rmd_slice frame) RMD_CHECKED;
/* Forgets a session: later frames of it are dropped and counted, sends answer RMD_ECLOSED. */
void rmd_bus_server_drop(struct rmd_bus_server *b, const struct rmd_peer *peer);
/* Refused handshakes since start. */
uint64_t rmd_bus_server_refused(const struct rmd_bus_server *b);
/* Frames thrown away since start: of dropped or unknown sessions, in more than one part, with a routing id of the
 * peer's choice. */
uint64_t rmd_bus_server_discarded(const struct rmd_bus_server *b);

struct rmd_bus_client_options {
    const char *endpoint;
    uint8_t server_key[RMD_KEY_BYTES];
    uint8_t secret_key[RMD_KEY_BYTES];
};
int rmd_bus_client_open(const struct rmd_bus_client_options *o, struct rmd_bus_client **out, char *err,
                        size_t err_n) RMD_CHECKED;
void rmd_bus_client_close(struct rmd_bus_client *b);
int rmd_bus_client_fd(const struct rmd_bus_client *b);
int rmd_bus_client_recv(struct rmd_bus_client *b, struct rmd_slice *frame) RMD_CHECKED;
int rmd_bus_client_send(struct rmd_bus_client *b, struct rmd_slice frame) RMD_CHECKED;
/* A text for the operator when the handshake fails: "coordinator refused this node's key ...", or NULL. Also when the
 * coordinator can't be reached. Refreshed by recv and send; the descriptor wakes for it. A refused client tries again
 * by itself. */
const char *rmd_bus_client_trouble(const struct rmd_bus_client *b);

/* Keys: Z85 text (40 characters) in files. The secret file must not be readable by others (checked). */
int rmd_curve_generate(uint8_t public_key[RMD_KEY_BYTES], uint8_t secret_key[RMD_KEY_BYTES]) RMD_CHECKED;
int rmd_curve_public(const uint8_t secret_key[RMD_KEY_BYTES], uint8_t public_key[RMD_KEY_BYTES]) RMD_CHECKED;
void rmd_curve_format(const uint8_t key[RMD_KEY_BYTES], char out[41]);
int rmd_curve_parse(const char *text, uint8_t key[RMD_KEY_BYTES]) RMD_CHECKED;
int rmd_curve_read_file(const char *path, bool secret, uint8_t key[RMD_KEY_BYTES], char *err,
                        size_t err_n) RMD_CHECKED;
/* A public key as people give it: its text, or the file with it. A path may have forty characters of Z85, too: a file goes first. */
int rmd_curve_read(const char *named, uint8_t key[RMD_KEY_BYTES], char *err, size_t err_n) RMD_CHECKED;
bool rmd_curve_is_text(const char *named);
int rmd_curve_write_file(const char *path, bool secret, const uint8_t key[RMD_KEY_BYTES], char *err,
                         size_t err_n) RMD_CHECKED;

#endif
