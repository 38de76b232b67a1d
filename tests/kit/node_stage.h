/* Everything around a node, for tests of the whole program: a name server, receivers, and a scripted coordinator on a
 * real bus, all on loopback addresses and in a directory of their own. The node runs in a thread of the test, or as
 * the production program in a child. */
#ifndef REMUDA_TESTS_NODE_STAGE_H
#define REMUDA_TESTS_NODE_STAGE_H

#include <pthread.h>
#include <sys/types.h>

#include "node/io/shell.h"
#include "proto/codec.h"
#include "proto/io/bus.h"
#include "tests/kit/dns_server.h"

enum { STAGE_PATIENCE_MS = 20000 };

/* Where the receivers of this test process listen: test runs beside each other don't meet. */
int stage_port(void);

struct stage {
    char dir[64], log[96];
    pid_t receivers, node;
    struct rmd_dns_server *dns;
    struct rmd_bus_server *bus;
    struct rmd_peer peer;
    uint8_t node_public[RMD_KEY_BYTES];
    pthread_t thread;
    struct rmd_node_config config;
    struct rmd_node_keys keys;
    int exit_code;
    struct rmd_buf template;
    uint8_t hash[RMD_HASH_BYTES];
    struct rmd_arena arena;
    uint8_t uuid[RMD_UUID_BYTES];
    bool mute_templates; /* Fetch is not answered: nothing can start */
    bool deaf;           /* nothing is acknowledged */
    /* what the coordinator saw */
    unsigned hellos, fetches, lease_acks, alarms, kinds[6], tls, byes, recalls, suppresses, hello_alarms;
    uint64_t last_n, recalled_id, recalled_n, suppressed_id;
    char trouble[200];
};

void stage_set(struct stage *s);
void stage_clear(struct stage *s);
void stage_node_thread(struct stage *s);
/* probe: name for REMUDA_PROBE, or NULL. */
void stage_node_child(struct stage *s, const char *probe);
/* Serves the bus for a moment. */
void stage_serve(struct stage *s);
/* Serves the bus until *counter is at least `wanted`. */
void stage_until(struct stage *s, const unsigned *counter, unsigned wanted);
/* Serves the bus until the child has stopped itself at its probe, and kills it there. */
void stage_kill_at_probe(struct stage *s);
void stage_end_child(struct stage *s);
void stage_say(struct stage *s, Remuda__Frame__BodyCase body, void *message);
/* A lease of recipients "u<i>.<id><pattern>". */
void stage_deal(struct stage *s, uint64_t id, uint32_t source, size_t rows, const char *pattern);
unsigned stage_transcript_count(const struct stage *s, const char *what);

#endif
