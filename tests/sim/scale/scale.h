/* The scale run: the real coordinator core with a store in memory and stand-in nodes at protocol level, for simulated days.
 *
 *     sim --scale 1.0 [--json] [--messages N] [--days N] [--seed N]
 *
 * 1.0 is 1,000 sources on 100 nodes, 10,000 domains and 100 million recipients within five days; 0.1 is a tenth of all
 * of it. Providers, caps of all kinds, a cluster ceiling and warm-ups are in force; every twentieth source is new. A
 * campaign comes every half hour, in chunks as intake writes them. Receivers accept, greylist, bounce, defer, and block
 * a source at a provider now and then; nodes take leases, acknowledge, keep a pace for each lane, report in batches,
 * raise alarms and answer recalls.
 *
 * It judges itself: each recipient is settled exactly once, as the receiver answered; no lane, source or network gets
 * more in 24 hours than its cap, by the nodes' own count. It tells what the core took of the processor (the thread's
 * clock around rmd_coord_step alone) and how much memory it held.
 *
 * Memory: what the stand-ins and the store keep comes from mappings of their own (pool.c), so that malloc's heap is the
 * core's. Only what lives for a moment (reads under way, effects) is in both.
 *
 *   pool.c   blocks of mappings, by size        plan.c   providers, domains, caps, campaigns
 *   store.c  the ordered map                    nodes.c  stand-in nodes and receivers, counts of caps
 *   drive.c  virtual time, effects, the clock   main.c   arguments, the report */
#ifndef REMUDA_SIM_SCALE_H
#define REMUDA_SIM_SCALE_H

#include <remuda/rng.h>

#include <base/coll.h>
#include <base/text.h>

#include "coordinator/core/coordinator.h"
#include "coordinator/core/intake.h"
#include "coordinator/core/keys.h"

enum {
    SC_PROVIDERS = 20, /* the last is "other" */
    SC_STREAMS = 3,    /* 0 urgent, 1 and 2 bulk */
    SC_NODE_SOURCES = 10,
    SC_MINUTE = 60000,
    SC_HOUR = 60 * SC_MINUTE,
    SC_DAY = 24 * SC_HOUR,
    SC_BUCKETS = 24 * 12, /* of five minutes, in a day */
    SC_ROWS_A_REPORT = 100,
    SC_MINUTE_RATE = 240, /* RCPTs of a lane */
    SC_HEARTBEAT_MS = 15000,
};

/* ---- pool.c */
void *pool_take(size_t n); /* zeroed */
void pool_give(void *p, size_t n);
void *pool_map(size_t n); /* for good */
size_t pool_bytes(void);  /* mapped in all */

/* ---- store.c: ordered, durable at once */
struct sc_store;
struct sc_store *store_new(void);
void store_apply(struct sc_store *s, const struct rmd_batch *b);
/* Rows of [from, to), at most limit; returns whether fn stopped or limit was reached. */
bool store_scan(struct sc_store *s, const struct rmd_scan *range, rmd_row_fn fn, void *ctx);
struct rmd_slice store_get(struct sc_store *s, struct rmd_slice key);
size_t store_rows(const struct sc_store *s);
uint64_t store_operations(const struct sc_store *s);

/* ---- the world */
struct sc_lane {
    int64_t free_at; /* the next RCPT may begin */
    uint32_t day;    /* RCPTs in the last 24 hours */
    uint16_t bucket[SC_BUCKETS];
};

struct sc_source {
    uint32_t id, node;
    bool cold; /* new: warms up */
    uint64_t cap;
    struct sc_lane all, lane[SC_PROVIDERS];
};

struct sc_lease {
    struct rmd_list link; /* of its node */
    uint64_t id;
    uint32_t source, provider; /* indexes */
    uint32_t campaign, n, done, generation;
    int64_t gap_ms;
    uint32_t ordinal[RMD_CHUNK_ROWS_MAX]; /* bit 31: tried before */
};

struct sc_node {
    struct rmd_coord_peer peer;
    uint8_t uuid[RMD_UUID_BYTES], boot[RMD_UUID_BYTES];
    char name[16];
    bool welcomed;
    uint64_t n, alarms, epoch;
    struct rmd_list leases;
};

struct sc_domain {
    char name[32];
    uint32_t provider, group, weight_ppb, owed_ppb;
};

struct sc_campaign {
    struct rmd_id id;
    uint32_t rows, settled, stream;
    bool open;
    uint64_t *accepted, *seen; /* bits by ordinal: a receiver took it; the core settled it */
};

/* What waits for its time, smallest first. */
enum sc_due_kind { SC_DUE_PART, SC_DUE_HEARTBEAT, SC_DUE_ALARM, SC_DUE_CAMPAIGN, SC_DUE_URGENT, SC_DUE_BUCKET };
struct sc_due {
    int64_t at;
    uint32_t kind, a, b;
    struct sc_lease *lease;
};

/* What is to be done at this moment, in order. */
enum sc_todo_kind { SC_TODO_ACK, SC_TODO_RECALL, SC_TODO_READ, SC_TODO_RESOLVED, SC_TODO_SUPPRESSED };
struct sc_todo {
    struct rmd_list link;
    enum sc_todo_kind kind;
    uint32_t node;
    uint64_t id, bytes;
    char *name;
    Remuda__Recall *recall;
    struct rmd_coord_event e;
    struct rmd_arena arena;
};

enum sc_cost {
    SC_COST_REPORT,
    SC_COST_FRAME,
    SC_COST_READ,
    SC_COST_PERSISTED,
    SC_COST_TICK,
    SC_COST_OTHER,
    SC_COSTS
};

struct sc_counts {
    uint64_t leases, leased, reports, rcpts, delivered, deferred, bounced, suppressed, returned, alarms, recalls,
        campaigns, expired, stopped_lanes;
    uint64_t steps[SC_COSTS];
    int64_t cpu_ns[SC_COSTS];
    uint64_t commits, reads;
};

struct sc {
    /* the size */
    double scale;
    uint32_t n_sources, n_nodes, n_domains, days;
    uint64_t messages, seed;
    uint32_t campaign_rows, urgent_rows;
    /* the parts */
    struct rmd_rng rng;
    struct sc_store *store;
    struct rmd_coord *core;
    struct rmd_coord_effects fx;
    struct rmd_coord_options o;
    Remuda__ProviderPolicy policy[SC_PROVIDERS], *policies[SC_PROVIDERS];
    char provider_name[SC_PROVIDERS][16], provider_suffix[SC_PROVIDERS][24], *suffix[SC_PROVIDERS][1];
    uint32_t stream_id[SC_STREAMS];
    struct sc_source *source;
    struct sc_node *node;
    struct sc_domain *domain;
    struct rmd_map domain_by_name;
    uint32_t *source_index; /* by id */
    size_t n_source_index;
    struct sc_campaign *campaign;
    uint32_t n_campaigns, first_open;
    uint32_t *network_day[SC_PROVIDERS]; /* by node: its sources share a network */
    uint16_t *network_bucket[SC_PROVIDERS];
    struct rmd_time now;
    int64_t start_ms, last_ms;
    uint32_t bucket; /* of five minutes, since the start */
    struct sc_due *due;
    size_t n_due, due_cap;
    struct rmd_list todo, spare; /* spare: leases to be used again */
    uint64_t tag;                /* last commit, durable at once */
    bool tag_told;
    uint64_t submitted, settled, accepted;
    /* the outcome */
    struct sc_counts count;
    uint64_t reply_number;
    int reply_error;
    size_t heap_peak, heap_start;
    uint64_t queued_peak;
    char broken[300]; /* the first promise that was not kept */
    bool progress, look_all;
};

void sc_broken(struct sc *s, const char *fmt, ...) RMD_PRINTF(2, 3);

/* ---- plan.c */
void sc_plan(struct sc *s);  /* sizes, providers, domains, options */
void sc_enrol(struct sc *s); /* streams, nodes, sources: through commands */
void sc_submit(struct sc *s, bool urgent);
uint64_t sc_lane_cap(const struct sc *s, const struct sc_source *x, uint32_t provider);
uint64_t sc_source_cap(const struct sc *s, const struct sc_source *x);
uint64_t sc_network_cap(const struct sc *s);

/* ---- nodes.c */
void sc_hello(struct sc *s, struct sc_node *n);
void sc_frame(struct sc *s, struct sc_node *n, const Remuda__Frame *f);
void sc_part(struct sc *s, const struct sc_due *d);
void sc_heartbeat(struct sc *s, struct sc_node *n);
void sc_alarm(struct sc *s);
void sc_ack(struct sc *s, const struct sc_todo *t);
void sc_suppressed(struct sc *s, const struct sc_todo *t);
void sc_recall(struct sc *s, struct sc_node *n, const Remuda__Recall *r);
void sc_bucket(struct sc *s); /* five minutes are over */
void sc_event(struct sc *s, const Remuda__EventRecord *e);

/* ---- drive.c */
void sc_step(struct sc *s, struct rmd_coord_event *e, enum sc_cost cost);
void sc_frame_in(struct sc *s, struct sc_node *n, Remuda__Frame *f, enum sc_cost cost);
int sc_command(struct sc *s, struct rmd_command *m);
void sc_due_add(struct sc *s, struct sc_due d);
struct sc_todo *sc_todo(struct sc *s, enum sc_todo_kind kind);
void sc_settle_down(struct sc *s); /* everything that is to be done now */
void sc_start(struct sc *s);
void sc_run(struct sc *s);

/* ---- main.c */
int scale_main(int argc, char **argv);

#endif
