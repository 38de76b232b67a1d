/* What the parts of the coordinator's world (coord_world.h) share: coord_world.c has time, disk and effects, coord_world_nodes.c the scripted nodes,
 * coord_world_rows.c submissions. */
#ifndef REMUDA_TESTS_COORD_WORLD_INTERNAL_H
#define REMUDA_TESTS_COORD_WORLD_INTERNAL_H

#include "tests/kit/coord_world.h"

/* An event that waits for its turn; it owns what it points to. */
struct todo {
    struct rmd_list link;
    struct rmd_coord_event e;
    struct rmd_arena arena;
    struct rmd_coord_effect f; /* SCAN or GET, read when its turn comes */
    bool read;
};

struct todo *cw_todo_new(struct cw *w, enum rmd_coord_event_kind kind);
/* Room for one more than n: doubled, since a checked build copies at every step. */
void *cw_grown(void *v, size_t n, size_t size);
bool cw_sync_one(struct cw *w);

struct cw_node *cw_node_of(struct cw *w, const struct rmd_coord_peer *p);
void cw_node_frame(struct cw *w, struct cw_node *n, const Remuda__Frame *f);
void cw_heartbeat(struct cw *w, struct cw_node *n);
void cw_lease_free(struct cw_lease *l);
void cw_outcome_free(Remuda__Outcome *o);
ProtobufCBinaryData cw_bytes(const void *p, size_t n);

#endif
