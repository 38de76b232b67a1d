/* Remuda as a sender of the herd (sender "remuda"): its real cores against a world's receivers.
 *
 * One coordinator core, a node core with one worker for each host of the scenario; store, bus, resolver and sockets are played. Nothing
 * fails here (tests/sim/sim.h is for that): commits are durable after some milliseconds, frames arrive, no process dies, so there is no
 * journal to read back. Everything is an event of one heap; nobody polls: hosts sleep until their cores' deadlines.
 *
 *   remuda.c           heap, clock, course of a run, parameters          remuda_coord.c   the coordinator's host
 *   remuda_node.c      a node's host, its resolver, its blocklist questions
 *   remuda_smtp.c      sockets, and the small server that asks the world  remuda_operator.c  people: setup, submissions, incidents
 *   remuda_check.c     what is held against the world's log               remuda_story.c   story for people, numbers for JSON
 *
 * Ownership: struct hr owns all of it for the time of a run; pointers between its parts live as long. */
#ifndef REMUDA_HERD_REMUDA_H
#define REMUDA_HERD_REMUDA_H

#include <base/text.h>

#include "coordinator/core/coordinator.h"
#include "node/core/node.h"
#include "proto/io/policy_files.h"
#include "tests/kit/sign_fake.h"
#include "tests/kit/store_fake.h"
#include "tests/sim/herd/model.h"

enum {
    HR_COMMIT_MS = 3,
    HR_FRAME_MS = 3,
    HR_DNS_MS = 20,
    HR_HEARTBEAT_MS = 30 * 60 * 1000, /* nobody dies here: it need only renew leases */
    HR_LEASE_MS = 3 * HERD_HOUR_MS,
    HR_CONNECTIONS = 2000, /* of a node */
    HR_RETRY_CLASSES = 1,
};

enum hr_param {
    HR_PLAN,
    HR_DOMAIN_WARMS,
    HR_WARM_AS,
    HR_WARM_PER_NETWORK,
    HR_LANE_CAP,
    HR_RETRY_MIN,
    HR_RETRY_MAX,
    HR_GREYLIST,
    HR_OPERATOR_HOURS,
    HR_PARAMS
};

struct hr;
struct hr_event;
typedef void (*hr_fn)(struct hr *h, struct hr_event *e);

struct hr_event {
    struct rmd_heap_node at;
    hr_fn fn;
    uint64_t a, b;
    void *p;
    struct rmd_buf bytes;
    struct hr_event *next; /* spare */
};

/* ---- sockets */
enum hr_state { HR_S_READY, HR_S_MAIL, HR_S_RCPT, HR_S_DATA, HR_S_OVER };
struct hr_conn {
    bool used, open; /* open: at the world */
    uint64_t gen;
    uint32_t node, number;        /* the worker's */
    uint32_t source, site, world; /* world: its number there */
    uint32_t rtt_ms;
    enum hr_state state;
    bool in_data, tls;
    uint32_t campaign, row;
    int64_t reply_at_ms;
    struct rmd_buf in;
};

/* ---- hosts */
enum hr_item_kind { HR_TO_WORKER, HR_TO_CORE, HR_OWN_OUTCOME };
struct hr_item { /* of a mailbox */
    struct hr_item *next;
    enum hr_item_kind kind;
    uint64_t n;
    struct rmd_mail mail;
    struct rmd_buf bytes, skip, text;
};

struct hr_node {
    uint32_t index;
    char name[64];
    uint8_t key[RMD_KEY_BYTES];
    char **address; /* NULL-terminated */
    struct rmd_node *core;
    struct rmd_worker *worker;
    struct rmd_node_effects fx;
    struct rmd_worker_effects wfx;
    struct hr_item *head, *tail;
    struct hr_event *tick;
    bool allowed;
    uint32_t session;
    uint64_t outcomes, alarms; /* numbers that its journal would have given */
    uint32_t *conn;            /* worker's number -> index + 1 */
    uint32_t n_conns;
    bool in_worker; /* its effects are being carried out */
};

struct hr_coord {
    struct rmd_store_fake *disk;
    struct rmd_store store;
    struct rmd_coord *core;
    struct rmd_coord_effects fx;
    uint64_t epoch, next_seq, next_token;
    struct rmd_list pending, spare_reads;
    struct hr_event *tick;
    bool syncing;
    struct hr_waiting *waiting; /* a ring, in order of the batches */
    size_t waiting_from, waiting_n, waiting_cap;
    struct rmd_arena frames, rows;
};

/* ---- campaigns and what became of them */
struct hr_campaign {
    struct rmd_id id;
    uint32_t batches;       /* not durable yet */
    bool taken_in, refused; /* refused: its content is bad, and a person has seen that */
    uint64_t first;         /* of its rows in hr.row */
    Remuda__CampaignRecord record;
    int64_t look_ms; /* when a person looks at it, paused; 0: it isn't */
};

struct hr_row {
    uint8_t final;   /* enum herd_final */
    uint8_t accepts; /* dots that the world took */
    uint16_t day;    /* sending day of the last, counted from the start */
};

/* RCPTs of one cap, and the greatest that it was in the last day. */
enum { HR_LIMITS = 8, HR_CHECK_HOURS = 4 };
struct hr_window {
    int64_t *at;
    size_t head, n, cap, checked;
    uint64_t limit[HR_LIMITS]; /* newest first; 0: none was in force */
    uint32_t limits;
    uint64_t day, day_before; /* RCPTs of this sending day, and of the last */
};

struct hr_counts {
    uint64_t delivered, deferred, bounced, expired, dropped, uncertain, returned, incidents, resolved, quarantines,
        rests, opened, advanced, held, back, warm, stream_pauses, campaign_pauses, resumed, complaints, found,
        removed, set_aside, suppressed;
};

struct hr {
    struct herd_world *w;
    const struct herd_scenario *s;
    uint64_t seed;
    int64_t param[HR_PARAMS];
    uint32_t without;
    bool no_watch, no_engagement, no_pace, verbose;
    int64_t now_ms, end_ms;
    struct rmd_heap heap;
    struct hr_event *spare;
    struct rmd_rng rng;
    struct rmd_buf *err;
    bool failed;

    /* configuration, as the programs read it */
    struct rmd_policy_files files;
    Remuda__Blocklist **watched;
    struct rmd_watch_settings watch;
    struct rmd_rules *rules;
    struct rmd_coord_options options;
    char greylist[48];
    const char *class_retry[2];
    struct rmd_buf template;
    uint8_t template_hash[RMD_HASH_BYTES];

    struct hr_coord coord;
    struct hr_node *node; /* by host */
    struct hr_conn *conn;
    uint32_t n_conns, cap_conns;
    uint32_t *free_conn, n_free;
    uint64_t conn_gen;
    struct hr_item *spare_items;

    struct hr_campaign *campaign;
    struct hr_row *row;
    struct rmd_map ids; /* first ten bytes of a message's id -> campaign + 1 */
    uint32_t *stream_id;
    int64_t *stream_look_ms;
    struct rmd_map setup;   /* tokens of commands that must not fail */
    struct rmd_map bounced; /* people who may be suppressed: list << 32 | number */
    struct rmd_map looks;   /* incident -> when a person looks at it (ms) */
    char **engaged;         /* dates by days before the start, as far as needed */
    uint32_t n_engaged;

    struct hr_window *lane, *total, *domain; /* source x provider, source, domain x provider */
    uint32_t *provider;                      /* of a receiver: index into files.providers */
    uint64_t events, rcpts, accepts, duplicates;
    struct hr_counts n, before; /* before: at the last line of the story */
    struct rmd_map why;         /* deferrals since then: provider << 8 | class */
};

/* ---- remuda.c */
struct hr_event *hr_at(struct hr *h, int64_t delay_ms, hr_fn fn, uint64_t a, uint64_t b);
void hr_move(struct hr *h, struct hr_event **e, int64_t at_ms, hr_fn fn, uint64_t a); /* made when there is none */
void hr_fail(struct hr *h, const char *fmt, ...) RMD_PRINTF(2, 3);
struct rmd_time hr_time(const struct hr *h);
const char *hr_plan_name(const struct hr *h);
#define HR_MONO0_MS 100000
/* Since 1970. They begin at 00:00 UTC, as the world's: 04:00 where the operator lives. */
static inline int64_t hr_sending_day(int64_t now_ms) {
    return (HERD_WALL_START_MS + now_ms) / HERD_DAY_MS;
}
static inline int64_t hr_of_mono(int64_t mono_ms) {
    return mono_ms - HR_MONO0_MS;
}

/* ---- remuda_coord.c */
int hr_coord_open(struct hr *h) RMD_CHECKED;
void hr_coord_close(struct hr *h);
void hr_coord_frame(struct hr *h, struct hr_node *n, struct rmd_slice bytes);
void hr_coord_day(struct hr *h);
uint64_t hr_coord_command(struct hr *h, struct rmd_command *c); /* the token of its reply */
void hr_coord_submit(struct hr *h, struct rmd_batch *b, uint32_t campaign);

/* ---- remuda_node.c */
void hr_node_open(struct hr *h, struct hr_node *n);
void hr_node_close(struct hr *h, struct hr_node *n);
void hr_node_frame(struct hr *h, struct hr_node *n, struct rmd_slice bytes);
void hr_node_conn(struct hr *h, struct hr_conn *c, struct rmd_worker_event *e);
void hr_node_connect(struct hr *h, struct hr_node *n);
void hr_to_coord(struct hr *h, struct hr_node *n, const Remuda__Frame *f);
void hr_to_node(struct hr *h, struct hr_node *n, const Remuda__Frame *f);
struct hr_node *hr_node_of(struct hr *h, const uint8_t key[RMD_KEY_BYTES]);
void hr_mx(struct hr *h, const char *domain, struct rmd_mx_answer *out);

/* ---- remuda_smtp.c */
void hr_smtp_dial(struct hr *h, struct hr_node *n, const struct rmd_worker_effect *f);
void hr_smtp_send(struct hr *h, struct hr_node *n, const struct rmd_worker_effect *f);
void hr_smtp_tls(struct hr *h, struct hr_node *n, uint32_t conn);
void hr_smtp_close(struct hr *h, struct hr_node *n, uint32_t conn);
void hr_smtp_free(struct hr *h);

/* ---- remuda_operator.c */
void hr_operator_setup(struct hr *h);
void hr_operator_work(struct hr *h); /* from now on: submissions, complaints, incidents */
void hr_operator_stored(struct hr *h, uint32_t campaign);
void hr_operator_reply(struct hr *h, uint64_t token, int error, const char *text);
void hr_operator_event(struct hr *h, const Remuda__EventRecord *e);
void hr_operator_suppressed(struct hr *h);
void hr_operator_free(struct hr *h);

/* ---- remuda_check.c */
void hr_check_open(struct hr *h);
void hr_check_rcpt(struct hr *h, const struct hr_conn *c);
void hr_check_accepted(struct hr *h, const struct hr_conn *c);
void hr_check_hour(struct hr *h); /* caps, now and then */
void hr_check_day(struct hr *h);  /* a sending day begins */
void hr_check_end(struct hr *h);
void hr_check_free(struct hr *h);

/* ---- remuda_story.c */
void hr_say(struct hr *h, const char *fmt, ...) RMD_PRINTF(2, 3);
void hr_story_deferred(struct hr *h, const Remuda__EventRecord *e);
void hr_story_day(struct hr *h);
void hr_story_json(struct hr *h, struct rmd_buf *more);

#endif
