/* What the files of the node core share; nobody else includes this.
 *
 *   node.c           life, dispatch of events, clock work, orderly end
 *   node_session.c   Hello, Welcome, Refused, policy, heartbeats, validity
 *   node_lease.c     parts, the fence, hand-over to workers, suppression of what is held
 *   node_template.c  Fetch and Template, hash check, forgetting
 *   node_report.c    outcomes into Reports, alarms, acknowledgements
 *   node_watch.c     the blocklist watch (watch.h)
 *   node_tls.c       counts of TLS sessions (tls_report.h)
 *   node_recall.c    recalls and their answers, suppressions and their answers
 *
 * Ownership: every struct below belongs to struct rmd_node. Frames and mails of a step live in the effects' arena,
 * except that outcomes of a Report live in their batch, which is freed in a later step at the earliest. */
#ifndef REMUDA_NODE_STATE_H
#define REMUDA_NODE_STATE_H

#include "node/core/node.h"
#include "node/core/tls_report.h"
#include "node/core/watch.h"

enum node_state { NODE_START, NODE_HELLO, NODE_SERVING, NODE_STOPPED };

enum lease_state {
    LEASE_WAITING, /* in the journal; for its template or for a session that confirms it */
    LEASE_WORKING, /* with its worker */
    LEASE_GIVEN,   /* every row that was unfinished has been given back here */
};

/* One lease of the journal.
 *   WAITING -> WORKING -> (finished) -> dropped      WAITING -> GIVEN -> (finished) -> dropped
 * `done`: rows that no worker may start; `journaled`: rows whose outcome has its number. journaled is within done for
 * rows that were finished here, and done is all that a worker is told to skip. */
struct node_lease {
    uint64_t id;
    enum lease_state state;
    bool confirmed; /* by the Welcome of the present session, or received in it */
    uint32_t source, provider, stream, tenant, worker;
    uint8_t campaign[16];
    bool has_campaign;
    uint32_t rows, left; /* left: rows without a journaled outcome */
    uint8_t *done, *journaled;
    uint64_t last_n;      /* highest number of its outcomes */
    struct rmd_buf bytes; /* the encoded lease, while WAITING */
    struct node_template *tmpl;
    struct rmd_list in_finished;
};

struct node_template {
    uint8_t hash[RMD_HASH_BYTES];
    bool ready; /* in the journal */
    struct rmd_buf bytes;
    uint64_t size;    /* as told; 0: not told yet */
    int64_t asked_at; /* mono_ms of the last Fetch; RMD_NEVER: none is out */
    uint32_t leases;  /* that use it */
    int64_t unused_since;
    uint32_t *working; /* unfinished leases with each worker */
    struct rmd_list in_fetching, in_unused;
};

/* Parts of a lease that isn't complete. */
struct node_partial {
    uint64_t id;
    uint32_t parts, have;
    size_t bytes;
    struct rmd_slice *part; /* owned bytes */
};

/* Outcomes first_n .. first_n + n - 1 in one Report. Closed when it is sent first: then its content never changes. */
struct node_batch {
    struct rmd_list in;
    uint64_t first_n, skipped; /* skipped: numbers before first_n that nobody has */
    uint32_t n;
    size_t bytes;
    int64_t opened_at, sent_at; /* sent_at: RMD_NEVER while unsent in this session */
    bool closed;
    Remuda__Outcome *v[RMD_NODE_REPORT_MAX];
    struct rmd_arena arena;
};

struct node_alarm {
    struct rmd_list in;
    uint64_t n;
    int64_t read_at, sent_at; /* sent_at: RMD_NEVER while unsent in this session */
    uint32_t age_ms;          /* at read_at: of one that was replayed */
    Remuda__Alarm *alarm;     /* in arena */
    struct rmd_arena arena;
};

enum recall_state { RECALL_GATHER, RECALL_SYNC, RECALL_ANSWERED };

struct node_recall {
    struct rmd_list in;
    uint64_t id;
    bool internal; /* our own, of leases that the coordinator doesn't list: no answer */
    enum recall_state state;
    uint32_t workers_left;
    uint64_t own_seq; /* outcomes made here that must be journaled first */
    uint64_t token, up_to_n;
    int64_t sent_at;
};

struct node_suppress {
    struct rmd_list in;
    uint64_t id;
    uint32_t workers_left;
    uint64_t own_seq;
};

/* A suppression that a late lease is checked against. */
struct suppressed {
    int64_t at;
    uint32_t tenant, stream;
    uint64_t hash;
};

struct node_trouble {
    uint32_t source;
    bool told; /* a heartbeat has carried it */
    char text[160];
};

struct gap {
    uint64_t from, to;
};
enum { NODE_GAPS_MAX = 64 };

struct rmd_node {
    struct rmd_node_options o;
    char *hostname, *software;
    char **address;
    size_t n_address;
    enum node_state state;
    uint8_t uuid[RMD_UUID_BYTES], boot_id[RMD_UUID_BYTES];

    /* session */
    uint64_t epoch, epoch_seen;
    int64_t hello_first_at, hello_at, heard_at, heartbeat_at;
    int64_t hello_pause_ms; /* until the next Hello */
    int64_t valid_until;
    int64_t ledger_time_ms, ledger_mono_ms; /* as last told, and when */
    uint64_t policy_revision;
    bool policy_known;
    struct rmd_buf rules;
    char refused[160]; /* last refusal that was logged */
    uint64_t malformed_frames;
    struct rmd_worker_stats stats;
    struct rmd_map trouble; /* source -> struct node_trouble */

    /* leases */
    struct rmd_map leases; /* id -> struct node_lease */
    uint64_t high_water;
    struct gap gap[NODE_GAPS_MAX];
    int gaps;
    struct rmd_map partials; /* id -> struct node_partial */
    size_t partial_bytes;
    struct rmd_set64 overtaken;       /* ids that a recall named before they came: given back when they come */
    struct rmd_list finished;         /* all outcomes journaled, in order of last_n */
    struct rmd_map templates;         /* hash -> struct node_template */
    struct rmd_list fetching, unused; /* unused: oldest first */
    uint32_t n_unused;
    int64_t templates_swept_at;
    struct rmd_map suppressed;  /* hash, tenant, stream -> struct suppressed */
    uint64_t suppressed_before; /* leases from this id on were built knowing them all */
    int64_t suppressed_swept_at;

    /* numbers */
    uint64_t last_n;    /* contiguous */
    uint64_t batched_n; /* the last one in a batch, or acknowledged */
    uint64_t max_n;     /* seen */
    uint64_t position;  /* of the journal when it was opened */
    uint64_t acked_n, alarm_n;
    struct rmd_map early; /* n -> struct rmd_buf with an encoded outcome that overtook another */
    struct rmd_list batches, alarms;
    uint32_t in_flight;
    uint64_t own_made, own_back; /* outcomes made by this core: effects, and those that came back */

    struct rmd_watch *watch;
    uint64_t watch_revision;

    struct rmd_tls_report *tls;
    uint64_t tls_run;

    struct rmd_list recalls, suppresses;
    uint64_t next_token, next_internal;

    /* orderly end */
    bool stopping, stop_synced;
    uint32_t stop_workers_left;
    uint64_t stop_token;
    int64_t stop_at;

    /* of the present step */
    struct rmd_node_effects *out;
    struct rmd_time now;
};

/* node.c */
struct rmd_node_effect *node_effect(struct rmd_node *n, enum rmd_node_effect_kind kind);
void node_log(struct rmd_node *n, const char *fmt, ...) RMD_PRINTF(2, 3);
void node_warn(struct rmd_node *n, const char *fmt, ...) RMD_PRINTF(2, 3); /* somebody should look at it */
Remuda__Frame *node_frame(struct rmd_node *n, Remuda__Frame__BodyCase body);
void node_send(struct rmd_node *n, const Remuda__Frame *frame);
struct rmd_mail *node_mail(struct rmd_node *n, uint32_t worker, enum rmd_mail_kind kind);
struct rmd_slice node_pack(struct rmd_node *n, const void *message); /* encoded in the effects' arena */

/* node_session.c */
void node_hello(struct rmd_node *n);
uint64_t *node_leases_held(struct rmd_node *n, size_t *n_out); /* ids of unfinished ones, in the arena of effects */
void node_disconnect(struct rmd_node *n, int64_t pause_ms);
bool node_session_frame(struct rmd_node *n, const Remuda__Frame *f); /* false: not a frame of the session itself */
void node_heartbeat(struct rmd_node *n);
void node_trouble(struct rmd_node *n, const struct rmd_mail *mail);

/* node_tls.c */
void node_tls_session_told(struct rmd_node *n, const struct rmd_mail *m);
void node_tls_due(struct rmd_node *n);

/* node_watch.c */
void node_watch_frame(struct rmd_node *n, const Remuda__Watch *m);
void node_watch_check(struct rmd_node *n, const Remuda__WatchCheck *m);
static inline int64_t node_silence_ms(const struct rmd_node *n) {
    return RMD_NODE_SILENCE_BEATS * n->o.heartbeat_ms;
}
void node_watch_ack(struct rmd_node *n, const Remuda__FindingsAck *m);
void node_watch_session(struct rmd_node *n);
void node_watch_answer(struct rmd_node *n, const struct rmd_node_event *e);
void node_watch_due(struct rmd_node *n);
int64_t node_watch_deadline(const struct rmd_node *n);

/* node_lease.c */
void node_lease_frame(struct rmd_node *n, const Remuda__Lease *l);
void node_lease_replay(struct rmd_node *n, const struct rmd_node_event *e);
void node_lease_hand_over(struct rmd_node *n, struct node_lease *l);
void node_lease_give_back(struct rmd_node *n, struct node_lease *l, enum rmd_return_reason reason);
void node_lease_outcome(struct rmd_node *n, const Remuda__Outcome *o, uint64_t number);
void node_lease_acked(struct rmd_node *n);
void node_lease_finish_replay(struct rmd_node *n);
void node_lease_welcome(struct rmd_node *n, const Remuda__Welcome *w);
void node_lease_credit(struct rmd_node *n, uint64_t id, uint64_t bytes);
void node_lease_suppress_held(struct rmd_node *n);
void node_lease_session_end(struct rmd_node *n);
void node_lease_free(struct node_lease *l);
void node_partial_free(struct node_partial *p);

/* node_template.c */
struct node_template *node_template_use(struct rmd_node *n, const uint8_t *hash);
void node_template_unuse(struct rmd_node *n, struct node_template *t);
void node_template_frame(struct rmd_node *n, const Remuda__Template *t);
void node_template_replay(struct rmd_node *n, const struct rmd_node_event *e);
void node_template_working(struct rmd_node *n, struct node_template *t, uint32_t worker);
void node_template_fetch_due(struct rmd_node *n);
void node_template_again(struct rmd_node *n);
void node_template_sweep(struct rmd_node *n);
int64_t node_template_deadline(const struct rmd_node *n);
void node_template_free(struct node_template *t);

/* node_report.c */
void node_outcome(struct rmd_node *n, const Remuda__Outcome *o, uint64_t number, bool replayed);
void node_alarm(struct rmd_node *n, const Remuda__Alarm *a, uint64_t number, bool replayed);
void node_report_ack(struct rmd_node *n, const Remuda__ReportAck *a);
void node_alarm_ack(struct rmd_node *n, const Remuda__AlarmAck *a);
void node_report_replayed(struct rmd_node *n);
void node_report_rewind(struct rmd_node *n, uint64_t from);
void node_report_due(struct rmd_node *n);
void node_report_again(struct rmd_node *n); /* a new session: everything is unsent */
int64_t node_report_deadline(const struct rmd_node *n);
Remuda__Alarm *node_alarm_wire(struct rmd_node *n, const struct node_alarm *a);
void node_report_free(struct rmd_node *n);
/* Makes an outcome of the node's own and hands it to the journal; row must not be done. */
void node_own_outcome(struct rmd_node *n, struct node_lease *l, uint32_t index, enum rmd_outcome kind,
                      enum rmd_return_reason reason, uint32_t rcpts);

/* node_recall.c */
void node_recall_frame(struct rmd_node *n, const Remuda__Recall *r, bool internal);
void node_recall_ack(struct rmd_node *n, uint64_t id);
void node_recall_done(struct rmd_node *n, uint64_t id);
void node_recall_synced(struct rmd_node *n, uint64_t token);
void node_recall_due(struct rmd_node *n);
int64_t node_recall_deadline(const struct rmd_node *n);
void node_suppress_frame(struct rmd_node *n, const Remuda__Suppress *s);
void node_suppress_done(struct rmd_node *n, uint64_t id);
bool node_suppress_has(const struct rmd_node *n, uint32_t tenant, uint32_t stream, uint64_t hash);
void node_suppress_sweep(struct rmd_node *n);
void node_recall_free(struct rmd_node *n);

#endif
