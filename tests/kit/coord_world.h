/* A small world around the coordinator's core: a disk that loses what wasn't synced, scripted nodes, a DNS table,
 * virtual time.
 *
 * cw_run() carries effects out until nothing is left to do at this instant; cw_pass() lets time go by, step by step.
 * The world keeps what matters for judging: every RCPT that a node made (by address, source and time), events by
 * type, replies to commands. A crash drops what wasn't synced and starts the core anew from the disk. */
#ifndef REMUDA_TESTS_COORD_WORLD_H
#define REMUDA_TESTS_COORD_WORLD_H

#include "coordinator/core/coordinator.h"
#include "tests/kit/store_fake.h"

enum { CW_NODES = 6, CW_LEASES = 512, CW_ROWS = 256, CW_DOMAINS = 64, CW_IDS = 8192 };

struct cw_lease {
    uint64_t id;
    uint32_t source, provider, n;
    uint32_t share; /* connections */
    char *email[CW_ROWS];
    uint32_t attempt[CW_ROWS];
    bool done[CW_ROWS];
    struct rmd_id campaign;
};

/* What a receiver says to one RCPT: fills the outcome; reply and verdict point to what `o` brings along. */
struct cw;
struct cw_node;
typedef void (*cw_answer_fn)(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                             Remuda__Outcome *o);

struct cw_node {
    struct rmd_coord_peer peer;
    char name[32];
    bool dead; /* process is down, or cut off: frames to it are lost */
    bool welcomed;
    bool holds;          /* sends nothing by itself */
    bool deaf_to_leases; /* leases are lost on the way */
    uint8_t uuid[RMD_UUID_BYTES], boot[RMD_UUID_BYTES];
    uint64_t n, acked_n, alarm_n, high_water, epoch;
    uint64_t fence;   /* leases up to it that it doesn't have are refused: those of former sessions */
    bool had[CW_IDS]; /* lease ids */
    int64_t heartbeat_ms, valid_until_ms, ledger_ms, ledger_at_ms; /* by its own clock: true time */
    struct cw_lease *lease[CW_LEASES];
    size_t n_leases;
    Remuda__Outcome **journal; /* all outcomes; index n - 1 */
    Remuda__Recall *recall;    /* last one */
    Remuda__Watch *watch;      /* last one; the node's to free */
    Remuda__WatchCheck *check;
    uint64_t watches, checks, findings_n, findings_acked;
    size_t stopped_sites;          /* of the first source of the last policy */
    uint32_t pace_percent;         /* of the first source of the last policy */
    uint32_t lane_pace, lane_hour; /* with the last lease: what its lane was slowed to, and takes an hour */
    uint64_t recalls, suppresses, policies, alarms_acked, last_suppress;
    uint32_t refused_code;
    bool stopped_all;
    bool confirm_suppress; /* default true */
    bool allowed;          /* its key, as the bus was told */
    uint32_t drops;        /* times at which its connection was to be dropped */
    uint64_t lease_bytes;  /* of all leases that were sent, taken or not */
};

struct cw_rcpt {
    char *email;
    uint32_t source, provider;
    int64_t at_ms; /* wall, which in this world is true time */
    uint32_t kind;
};

struct cw {
    struct rmd_store_fake *disk;
    struct rmd_store store;
    uint64_t epoch, seq, acked_seq;
    struct {
        uint64_t tag;
    } * commit; /* submitted, in order */
    size_t n_commits, commits_done;
    struct rmd_coord_options o;
    struct rmd_coord *core;
    struct rmd_coord_effects fx;
    struct rmd_time now;
    bool hold_commits; /* nothing gets durable */
    bool hold_dns;     /* answers wait for cw_dns() */
    struct rmd_list queue, asked;
    struct cw_node node[CW_NODES];
    size_t n_nodes;
    struct {
        char name[64];
        char mx[64]; /* "" null MX, "nx" no such domain, "temp" */
    } domain[CW_DOMAINS];
    size_t n_domains;
    cw_answer_fn answer;
    void *ctx;
    struct cw_rcpt *rcpt;
    size_t n_rcpts;
    struct {
        char type[32], recipient[128], text[160];
        uint32_t source;
    } * event;
    size_t n_events;
    int reply_error;
    uint64_t reply_token, reply_number, next_token;
    char reply_text[256];
    int stop_at_probe; /* the process dies instead of carrying out this effect; -1: never */
    bool died;
    uint64_t submissions, seed;
    uint32_t alarm_code;                    /* of the reply that alarms tell; 0: 554 */
    uint32_t tenant;                        /* of submissions; 0: the default one */
    const Remuda__CampaignRecord *schedule; /* submissions take from it when they start, and how they are released */
    uint8_t template_id;                    /* of submissions; 0: always the same one */
    uint32_t row_bytes;                     /* of a merge field that each row brings along */
    Remuda__ProviderPolicy provider[4];
    Remuda__ProviderPolicy *providers[4];
    char *log;
    bool verbose;
};

void cw_init(struct cw *w, uint64_t seed);
void cw_release(struct cw *w);
size_t cw_dns(struct cw *w, size_t most); /* the first answers that wait; how many there were */
void cw_domain(struct cw *w, const char *name, const char *mx);
/* Everything there is to do now. */
void cw_run(struct cw *w);
/* Time goes by in steps of at most step_ms, nodes' heartbeats included. */
void cw_pass(struct cw *w, int64_t ms, int64_t step_ms);
void cw_crash(struct cw *w, bool reboot);
int cw_command(struct cw *w, struct rmd_command *m);

void cw_tenant(struct cw *w, uint32_t id); /* starts anew: tenants are rows of the store */
uint32_t cw_stream(struct cw *w, const char *name, const Remuda__StreamRecord *more);
struct cw_node *cw_node_add(struct cw *w, const char *name);
uint32_t cw_source(struct cw *w, const char *address, const char *node, uint64_t lane_cap);
void cw_hello(struct cw *w, struct cw_node *n);
void cw_kill_node(struct cw *w, struct cw_node *n);
/* Back with the journal (same uuid) or without; another boot or the same. */
void cw_revive_node(struct cw *w, struct cw_node *n, bool new_boot, bool new_journal);
/* n recipients user<i>@domain, i from first; in chunks as intake makes them. Several domains: round robin. */
struct rmd_id cw_submit(struct cw *w, const char *stream, const char *const *domains, uint32_t n, uint32_t first);
/* The same from a list as operators submit it: through intake. */
struct rmd_id cw_submit_csv(struct cw *w, const char *stream, const char *csv);
void cw_answer_all(struct cw *w, struct cw_node *n); /* for nodes that hold */
void cw_answer_some(struct cw *w, struct cw_node *n, uint32_t most);
void cw_report(struct cw *w, struct cw_node *n, uint64_t from_n, uint64_t to_n);
void cw_alarm(struct cw *w, struct cw_node *n, uint32_t source, uint32_t provider, const struct rmd_verdict *v,
              uint32_t stream);
/* Read at the site of this domain. */
void cw_alarm_at(struct cw *w, struct cw_node *n, uint32_t source, uint32_t provider, const struct rmd_verdict *v,
                 uint32_t stream, const char *domain);
uint64_t cw_site(struct cw *w, const char *domain);
/* Gives back everything unstarted of these leases. */
void cw_give_back(struct cw *w, struct cw_node *n, bool (*which)(void *ctx, const struct cw_lease *l), void *ctx,
                  uint32_t reason);

void cw_outcome_fill(Remuda__Outcome *o, uint32_t kind, uint32_t class, uint32_t action, unsigned scope, bool move);
/* How many there are, ended ones included, and the newest; its strings are the core's. */
struct cw_incidents {
    size_t n;
    Remuda__IncidentRecord last;
};
struct cw_incidents cw_incidents(struct cw *w);
size_t cw_events(const struct cw *w, const char *type);
size_t cw_delivered_to(const struct cw *w, const char *email);
const Remuda__CampaignRecord *cw_campaign(struct cw *w, const struct rmd_id *id, struct rmd_campaign_view *view);
void cw_frame(struct cw *w, struct cw_node *n, Remuda__Frame *f);
/* A frame of its that nobody can read. */
void cw_malformed(struct cw *w, struct cw_node *n);

#endif
