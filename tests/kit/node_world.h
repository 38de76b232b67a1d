/* A node core with everything around it that isn't a coordinator: a journal that numbers outcomes, workers that can
 * be played by the test, and a post box of the frames that it sent. For stories: frames in, frames out. Time is the
 * test's. */
#ifndef REMUDA_TESTS_NODE_WORLD_H
#define REMUDA_TESTS_NODE_WORLD_H

#include "node/core/node.h"

enum { WORLD_FRAMES_MAX = 4096, WORLD_MAILS_MAX = 4096, WORLD_LOOKUPS_MAX = 256 };

struct world_mail {
    uint32_t worker;
    struct rmd_mail mail; /* slices in the world's arena */
};

/* What the core did, in order, as letters: a crash rule reads best as a string. S send, M mail, L journal lease, T
 * journal template, O journal outcome, D drop, A acked, B alarm acked, F sync. */
struct world {
    struct rmd_node *node;
    struct rmd_node_effects effects;
    struct rmd_arena arena; /* of frames and mails; lives as long as the world */
    struct rmd_time now;
    uint64_t next_n, next_alarm, epoch;
    Remuda__Frame *frame[WORLD_FRAMES_MAX];
    size_t frames, read;
    struct world_mail mail[WORLD_MAILS_MAX];
    size_t mails, mails_read;
    uint64_t sync_token; /* of a SYNC that the test hasn't finished; 0: none */
    uint64_t replay_from;
    bool hold_sync, hold_outcomes;
    uint64_t acked_n, alarm_acked_n;
    size_t dropped, syncs, rules, logs;
    uint64_t last_dropped;
    bool stopped;
    struct {
        uint64_t token;
        bool txt;
        char name[RMD_DOMAIN_MAX + 1];
    } lookup[WORLD_LOOKUPS_MAX];
    size_t lookups;
    char trace[8192];
    char last_log[512];
    struct rmd_buf template_journaled;
    Remuda__Outcome *held[WORLD_MAILS_MAX];
    size_t n_held;
};

void world_init(struct world *w, uint32_t workers);
void world_open(struct world *w, uint64_t position, uint64_t reported, uint64_t high_water); /* JOURNAL_OPEN */
void world_start(struct world *w); /* open(0, 0, 0) and REPLAY_END */
void world_release(struct world *w);

void world_step(struct world *w, struct rmd_node_event e); /* e.at is filled in */
void world_tick(struct world *w, int64_t ms); /* time goes on by ms, stepping at every deadline on the way */
void world_frame(struct world *w, Remuda__Frame__BodyCase body,
                 void *message);                                     /* from the coordinator, in w->epoch */
void world_welcome(struct world *w, const uint64_t *live, size_t n); /* answers the last Hello */
void world_mail(struct world *w, uint32_t worker, enum rmd_mail_kind kind, uint64_t id);
void world_outcome(struct world *w, uint64_t lease, uint32_t index, enum rmd_outcome kind); /* of a worker */
void world_synced(struct world *w);
void world_give_held(struct world *w); /* outcomes that hold_outcomes kept back */

/* The next unread frame of this body, skipping others; NULL when there is none. */
Remuda__Frame *world_next(struct world *w, Remuda__Frame__BodyCase body);
size_t world_count(const struct world *w, Remuda__Frame__BodyCase body); /* of all unread ones */
/* The next unread mail of this kind, skipping others. */
struct world_mail *world_next_mail(struct world *w, enum rmd_mail_kind kind);

/* A lease of n rows "u<i>@d.example" of template `hash`, in the world's arena. */
Remuda__Lease *world_lease(struct world *w, uint64_t id, uint32_t source, size_t rows,
                           const uint8_t hash[RMD_HASH_BYTES]);
void world_hash(const void *p, size_t n, uint8_t out[RMD_HASH_BYTES]);
/* Sends the lease and, when asked, serves its template `text`. */
void world_serve_template(struct world *w, const char *text);

#endif
