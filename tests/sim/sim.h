/* The simulator: the real coordinator core and node cores in one process, with virtual time, seeded faults, and a
 * checker that knows only submissions and what the receivers saw.
 *
 * One `struct sim` is one world. Everything that happens is an event of its heap; ties go in order of insertion;
 * every choice comes from its generator: a seed replays exactly. Two times: `now_ms` is the truth (milliseconds since
 * the world began), and each host has its own clocks (rmd_time of sim_clock): a monotonic one that starts anew with
 * each boot and a wall clock that may step.
 *
 *   world.c       heap, clocks, story, freezing (everything sleeps for hours)      config.c   what a world consists
 * of coord_host.c  the coordinator's shell: store, effects, restore, crash          node_host.c  a node's: journal,
 * mail, crash journal.c     the node's journal with its unsynced part                        net.c      sessions and
 * frames smtp_world.c  sockets and receivers                                            operator.c submissions and
 * commands faults.c      what goes wrong, and when                                        checker.c  the promises
 * stops.c       what more than one receiver said, and must stop                    moves.c    what a stop moves, and how it ends
 * staged.c      sequences of receivers' words that chance makes too seldom
 *
 * Ownership: the sim owns all; pointers between its parts live as long as it. Units are in the names. */
#ifndef REMUDA_TESTS_SIM_H
#define REMUDA_TESTS_SIM_H

#include <base/text.h>

#include "coordinator/core/coordinator.h"
#include "node/io/journal.h"
#include "tests/kit/sign_fake.h"
#include "tests/kit/store_fake.h"

enum {
    SIM_NODES = 5,
    SIM_WORKERS = 2,
    SIM_SOURCES = 20,
    SIM_NETS = 4,
    SIM_LIES = 64,
    SIM_PROVIDERS = 7, /* the last one in use is "other" */
    SIM_DOMAINS = 24,
    SIM_STREAMS = 3,
    SIM_CAMPAIGNS = 16,
    SIM_IDS = 8, /* attempts of one submission */
    SIM_CONNS = 2048,
    SIM_ADDRESSES = 3000,
    SIM_BLOCKS = 24,
    SIM_DAY_MS = 24 * 3600 * 1000,
    SIM_STEPS_MAX = 20000000,
};
#define SIM_WALL0_MS INT64_C(1800000000000)

struct sim;
struct sim_event;
typedef void (*sim_fn)(struct sim *s, struct sim_event *e);

struct sim_event {
    struct rmd_heap_node at;
    sim_fn fn;
    uint64_t a, b, c;
    void *p;
    struct rmd_buf bytes;
    struct sim_event *next;
};

/* ---- a host's clocks */
struct sim_clock {
    int64_t boot_ms; /* true time at which the monotonic clock was mono0_ms */
    int64_t mono0_ms, wall_off_ms;
    uint8_t boot_id[RMD_UUID_BYTES];
};

/* ---- the world's plan */
struct sim_provider {
    char name[16];
    uint32_t id;
    Remuda__ProviderPolicy policy;
    char *suffix[1], suffix_text[32];
    bool other;
    /* receivers' habits */
    bool greylists, pipelining, chunking;
    int64_t grey_ms;
    uint32_t rate_per_minute; /* 0: no limit */
    uint32_t slow_one_in, cut_one_in, unknown_one_in, tempfail_one_in;
    int64_t slow_ms;
    bool content_4xx, content_5xx; /* refuses campaigns that look like spam */
    int64_t liar_from_ms, liar_to_ms;
    int64_t silent_from_ms, silent_to_ms; /* accepts connections and says nothing */
    bool wary;                            /* of sources that warm up: refuses some of what they send */
};

struct sim_domain {
    char name[48], mx[48];
    uint32_t provider;
};

struct sim_source {
    char address[24], helo[32];
    uint32_t node, net, id; /* id: the coordinator's */
    uint64_t cap, lane_cap;
    struct rmd_addr addr;
    bool warms;
    uint64_t warm_as;
    int64_t stopped_ms;       /* everywhere, as the coordinator's durable word says; 0: it isn't */
    int64_t refused_until_ms; /* anything about its lanes: its being in service isn't sure */
};

struct sim_stream {
    char name[16], domain[32];
    uint32_t id, priority, uncertain_policy;
    int64_t age_ms, retry_min_ms, retry_max_ms, return_wait_ms;
    uint64_t domain_cap;
    bool paused, warms, no_cold;
    int64_t paused_ack_ms;
    int64_t shunned_from_ms, shunned_to_ms; /* receivers refuse its sending domain */
    uint32_t shunned_by;                    /* bits of providers */
    bool shunned_for_good;
};

struct sim_block { /* a receiver refuses a source */
    uint32_t source, provider;
    int64_t from_ms, to_ms;
    enum rmd_stage stage;
    bool network;  /* says that the whole network is meant */
    bool whole;    /* and refuses all of it */
    uint32_t site; /* of "other", from 1: it alone; 0: all of the provider */
};

/* ---- what the checker keeps */
enum sim_accept { SIM_ACCEPT_NONE, SIM_ACCEPT_PENDING, SIM_ACCEPT_UNREAD, SIM_ACCEPT_READ };
struct sim_message {
    uint32_t address;
    uint16_t rcpts, accepts;
    uint8_t accept;      /* of the last acceptance */
    uint8_t rcpt_source; /* of the last RCPT, from 1 */
    int64_t told_ms;     /* a "delivered" event was seen; 0: none */
    bool permanent;      /* a receiver refused the recipient or the content for good */
    bool clean;          /* an acceptance was read and its journal lives */
    uint32_t accept_node;
    uint64_t accept_conn;
    int64_t accepted_ms;
    int64_t grey_ms, content_ms; /* of the last refusal of that kind, 0: none since the last RCPT */
    uint32_t grey_source, content_source;
};

struct sim_campaign {
    uint32_t stream, rows, stop_provider;
    struct rmd_id id[SIM_IDS];
    uint32_t n_ids;
    bool spam, accepted, acknowledged;
    int64_t valid_until_wall_ms; /* as the record says */
    struct sim_message *message; /* by ordinal - 1 */
    bool cancelled, paused;
    int64_t cancel_ack_ms, pause_ack_ms;
    uint64_t duplicates;
    int64_t start_in_ms, over_ms, every_ms; /* release.c */
    uint64_t batch, contacted;
    int64_t start_wall_ms;
    int32_t one_id; /* index of the id that sent first, -1 */
};

struct sim_address {
    uint32_t domain;
    bool unknown;          /* the receiver doesn't know it */
    bool told_unknown;     /* some receiver said so */
    uint32_t lie;          /* by which it was denied though it exists; 0: none */
    bool asked;            /* a suppression was submitted */
    int64_t suppressed_ms; /* acknowledged at; 0: never */
    uint32_t suppress_stream;
};

struct sim_account { /* RCPT times of one cap, as a ring */
    int64_t *v;
    size_t head, n, cap;
};

struct sim_warm { /* warm.c */
    bool on;
    struct rmd_plan plan;
    const struct rmd_plan *plans[1];
    uint32_t per_network;
    uint64_t seen[SIM_SOURCES][SIM_PROVIDERS]; /* RCPTs, by receivers that are wary */
    uint64_t accepted[SIM_SOURCES][SIM_PROVIDERS], sender_accepted[SIM_STREAMS][SIM_PROVIDERS];
    struct sim_account lane_hour[SIM_SOURCES][SIM_PROVIDERS], total_hour[SIM_SOURCES],
        sender_hour[SIM_STREAMS][SIM_PROVIDERS];
};

enum sim_says {
    SIM_SAYS_DOT = 1,
    SIM_SAYS_BLOCK = 2,
    SIM_SAYS_NETWORK = 4,
    SIM_SAYS_SENDER = 8,
    SIM_SAYS_SPAM = 16,

};

/* Since when something must have stopped (0: it needn't), and who read the two refusals. */
struct sim_stop {
    int64_t at_ms;
    uint32_t node[2];
};

/* When a node read it, 0: never; and what must have stopped. */
struct sim_stops {
    int64_t block_ms[SIM_SOURCES][SIM_PROVIDERS], network_ms[SIM_SOURCES][SIM_PROVIDERS];

    int64_t spam_ms[SIM_CAMPAIGNS][SIM_SOURCES][SIM_PROVIDERS];
    int64_t lane_said_ms[SIM_SOURCES][SIM_PROVIDERS][SIM_STREAMS][2]; /* the last alarm: of the sender, of content */
    struct sim_stop source[SIM_SOURCES], network[SIM_NETS][SIM_PROVIDERS], stream[SIM_STREAMS][SIM_PROVIDERS],
        campaign[SIM_CAMPAIGNS], campaign_at[SIM_CAMPAIGNS][SIM_PROVIDERS],
        other[SIM_SOURCES]; /* other: the lane there, by two of its sites */
    /* Said of its domain by a receiver, ever; when first, 0: never; and it has accepted since, so that a few refusals stop nothing. */
    int64_t shunned_ms[SIM_STREAMS][SIM_PROVIDERS];
    bool shunned_for_good[SIM_STREAMS][SIM_PROVIDERS], liked_again[SIM_STREAMS][SIM_PROVIDERS];
    int64_t site_ms[SIM_SOURCES][SIM_DOMAINS];                                    /* blocked by a site of "other" */
    bool said_site[SIM_SOURCES][SIM_DOMAINS];                                     /* ever */
    bool said[SIM_SOURCES][SIM_PROVIDERS], said_network[SIM_NETS][SIM_PROVIDERS]; /* by a receiver, ever */
};

/* One stop at a provider, and the lanes that were idle then. */
struct sim_move {
    int64_t at_ms; /* 0: none is judged */
    uint32_t source;
    uint64_t most, n;
    bool idle[SIM_SOURCES];
};

struct sim_moves { /* moves.c */
    struct sim_move move[SIM_PROVIDERS];
    int64_t stopped_ms[SIM_SOURCES][SIM_PROVIDERS], everywhere_ms[SIM_SOURCES]; /* 0: it isn't */
    int64_t returning_ms[SIM_SOURCES][SIM_PROVIDERS];                           /* stopped then */
    int64_t rcpt_ms[SIM_SOURCES][SIM_PROVIDERS], lease_ms[SIM_SOURCES][SIM_PROVIDERS];
    int64_t end_ms[SIM_SOURCES][SIM_PROVIDERS];    /* of the last transaction, as its node knows */
    uint32_t accepted[SIM_SOURCES][SIM_PROVIDERS]; /* since it was stopped */
    bool whole[SIM_SOURCES];                       /* stopped everywhere once: what is accepted anywhere counts */
    uint32_t accepted_everywhere[SIM_SOURCES];
    int64_t site_ms; /* a source was stopped at a single site */
    struct sim_account hour[SIM_SOURCES][SIM_PROVIDERS], sent[SIM_SOURCES][SIM_PROVIDERS];
};

enum sim_staged_kind {
    SIM_STAGED_NETWORK,
    SIM_STAGED_BESIDE,
    SIM_STAGED_SITES,
    SIM_STAGED_GROWTH,
    SIM_STAGED_KINDS,
    SIM_STAGED_NONE = SIM_STAGED_KINDS
};

struct sim_staged { /* staged.c */
    enum sim_staged_kind kind;
    uint32_t step, period;
    uint32_t provider, first, second; /* who is meant; each kind knows what they are to it */
    bool over;
};

/* ---- hosts */
struct sim_journal; /* journal.c */

struct sim_conn {
    bool used, server_open, client_open, reset;
    uint64_t gen;
    uint32_t node, worker, number, source, provider, domain;
    uint32_t site; /* of "other" every domain is one */
    int state;
    bool block_said; /* an unread reply says that the source is blocked */
    unsigned says;   /* enum sim_says, of that reply */
    struct rmd_buf in;
    int64_t reply_at_ms, send_at_ms, mail_ms;
    struct rmd_id message;
    uint32_t address;
    bool have_rcpt, in_data, bdat, dot_reply;
    struct sim_campaign *campaign;
    uint64_t ordinal;
};

struct sim_node {
    struct sim_clock clock;
    bool up, stopping, enrolled, revoked;
    uint64_t gen;
    uint8_t key[RMD_KEY_BYTES];
    char name[16];
    char *addresses[SIM_SOURCES + 1];
    struct sim_journal *journal;
    struct rmd_node *core;
    struct rmd_worker *worker[SIM_WORKERS];
    uint32_t workers;
    struct rmd_node_effects fx;
    struct rmd_worker_effects wfx;
    struct sim_item *head[1 + SIM_WORKERS], *tail[1 + SIM_WORKERS]; /* queues: core, workers */
    int64_t crash_in; /* effects until the process dies; -1: it doesn't */
    bool dying, crash_host;
    uint32_t conn[SIM_WORKERS][512]; /* worker's number -> index in conns + 1 */
    struct sim_event *tick;
    int64_t start_at_ms;
    /* link */
    bool partitioned;
    uint32_t session; /* 0: no connection */
    uint64_t link_gen;
    int64_t to_coord_ms, to_node_ms; /* last arrival, for order within a session */
    /* for the checker */
    int64_t lost_at_ms, disturbed_ms, vanished_ms, valid_until_ms, forgotten_ms, serving_since_ms;
    int64_t blocked_since_ms[SIM_SOURCES][SIM_PROVIDERS], blocked_until_ms[SIM_SOURCES][SIM_PROVIDERS];
    int64_t site_since_ms[SIM_SOURCES][SIM_DOMAINS],
        site_until_ms[SIM_SOURCES][SIM_DOMAINS]; /* at sites of "other" */
};

struct sim_coord {
    struct sim_clock clock;
    bool up, dying, busy; /* busy: in the midst of completions, the turn ends later */
    uint64_t gen;
    struct rmd_store_fake *disk;
    struct rmd_store store;
    struct rmd_coord *core;
    struct rmd_coord_effects fx;
    uint64_t epoch, next_seq, next_token;
    struct rmd_map waiting; /* seq -> tag or request */
    struct rmd_list pending;
    int64_t crash_in, stall_until_ms, disturbed_ms;
    struct sim_event *tick, *sync;
    struct rmd_arena frames, rows;
    uint32_t next_session;
    char *stalled;
};

struct sim_op; /* operator.c */

struct sim_faults { /* what this world suffers from */
    bool coord_crash, node_crash, host_loss, cut, partition, duplicate, reorder, delay, stall, clock_step, revoke,
        blocks, smtp_cuts, liar, forget, silent, shun;
    uint32_t rate; /* events in a period */
};

struct sim {
    uint64_t seed;
    bool capped, verbose, quiet_faults; /* quiet: the last part, without faults */
    struct rmd_rng rng;
    int64_t now_ms;
    struct rmd_heap heap;
    struct sim_event *spare;
    uint64_t events;

    uint32_t n_nodes, n_sources, n_nets, n_providers, n_domains, n_streams, n_addresses, n_campaigns;
    struct sim_provider provider[SIM_PROVIDERS];
    Remuda__ProviderPolicy *policies[SIM_PROVIDERS];
    struct sim_domain domain[SIM_DOMAINS];
    struct sim_source source[SIM_SOURCES];
    struct sim_stream stream[SIM_STREAMS];
    struct sim_campaign campaign[SIM_CAMPAIGNS];
    struct sim_address *address;
    struct sim_block block[SIM_BLOCKS];
    uint32_t n_blocks;
    struct sim_faults faults;
    bool watch; /* nodes ask blocklists */
    struct rmd_watch_settings watch_settings;
    uint64_t network_cap, domain_cap;
    int64_t lease_valid_ms, deadline_ms, heartbeat_lost_ms, max_step_ms;
    struct rmd_coord_options coord_options;
    const struct rmd_rules *rules;
    struct rmd_buf template;
    uint8_t template_hash[RMD_HASH_BYTES];
    struct rmd_map grey;     /* (source, campaign, row) -> first time */
    struct rmd_map rates;    /* provider receivers' counts */
    struct rmd_map sessions; /* id bytes -> campaign */

    struct sim_coord coord;
    struct sim_node node[SIM_NODES];
    struct sim_conn conn[SIM_CONNS];
    uint64_t conn_gen;
    uint32_t next_conn;

    struct sim_account lane[SIM_SOURCES][SIM_PROVIDERS], total[SIM_SOURCES], network[SIM_NETS][SIM_PROVIDERS],
        sender[SIM_STREAMS][SIM_PROVIDERS];
    struct sim_warm warm;
    struct sim_stops stops;
    struct sim_moves moves;
    struct sim_staged staged;
    int64_t slept_from_ms, slept_to_ms; /* the last time that everything slept */
    int64_t ahead_ms;                   /* of true time: the most that the coordinator's wall clock ever was */
    uint32_t n_lies, lied[SIM_LIES][SIM_PROVIDERS];
    uint32_t ops_open;
    struct rmd_list ops;

    /* verdict */
    bool broken;
    char promise[48], what[400];
    uint64_t hash, n_rcpt, n_accept, n_frames, n_crashes, n_duplicates, n_uncertain;
    struct rmd_buf line;
};

/* ---- release.c, liars.c */
void sim_release_plan(struct sim *s, struct sim_campaign *c);
void sim_release_record(const struct sim_campaign *c, Remuda__CampaignRecord *r);
void sim_release_accepted(struct sim_campaign *c, const Remuda__CampaignRecord *r);
void sim_release_clock(struct sim *s);
void sim_release_first(struct sim *s, struct sim_campaign *c);
void sim_liar_begins(struct sim *s);
void sim_liar_denies(struct sim *s, struct sim_conn *c);
void sim_liar_end(struct sim *s);

/* ---- world.c */
bool sim_run(uint64_t seed, bool verbose, char promise[48], char what[400], uint64_t *hash);
struct sim_event *sim_at(struct sim *s, int64_t delay_ms, sim_fn fn, uint64_t a, uint64_t b, uint64_t c);
void sim_cancel(struct sim *s, struct sim_event **e);
struct rmd_time sim_time(const struct sim *s, const struct sim_clock *c);
int64_t sim_true_ms(const struct sim_clock *c, int64_t mono_ms);
void sim_boot(struct sim *s, struct sim_clock *c); /* another boot: new id, monotonic clock from anew */
uint64_t sim_below(struct sim *s, uint64_t n);
bool sim_one_in(struct sim *s, uint64_t n); /* never when n is 0 */
int64_t sim_between(struct sim *s, int64_t from, int64_t to);
void sim_say(struct sim *s, const char *fmt, ...) RMD_PRINTF(2, 3);
void sim_broken(struct sim *s, const char *promise, const char *fmt, ...) RMD_PRINTF(3, 4);

/* ---- config.c */
void sim_config(struct sim *s);
void sim_config_release(struct sim *s);
const struct rmd_rules *sim_rules(void);
int sim_source_of(const struct sim *s, const struct rmd_addr *a);
int sim_domain_find(const struct sim *s, const char *name);
int sim_provider_find(const struct sim *s, uint32_t id);
void sim_email(const struct sim *s, uint32_t address, char out[96]);
bool sim_mx(struct sim *s, const char *name, struct rmd_mx_answer *out);
bool sim_addr(struct sim *s, const char *name, struct rmd_addr_answer *out);

/* ---- coord_host.c */
void sim_coord_start(struct sim *s);
void sim_coord_kill(struct sim *s, bool host);
void sim_coord_frame(struct sim *s, const uint8_t key[RMD_KEY_BYTES], uint32_t session, struct rmd_slice bytes);
/* false: it isn't up. *token is set before the core is asked: the answer may come within the call. */
bool sim_coord_command(struct sim *s, struct rmd_command *c, uint64_t *token);
bool sim_coord_submit(struct sim *s, struct rmd_batch *b,
                      uint64_t request); /* for intake: answered by sim_op_committed */
void sim_coord_free(struct sim *s);

/* ---- node_host.c */
void sim_node_start(struct sim *s, uint32_t n);
void sim_node_kill(struct sim *s, uint32_t n, bool host);
void sim_node_frame(struct sim *s, uint32_t n, struct rmd_slice bytes);
void sim_node_stop(struct sim *s, uint32_t n); /* orderly */
/* Something happened on a connection; the event's fields but conn are set. */
void sim_node_conn(struct sim *s, struct sim_conn *c, struct rmd_worker_event *e);
void sim_node_free(struct sim *s, uint32_t n);

/* ---- journal.c */
struct sim_journal *sim_journal_new(void);
void sim_journal_free(struct sim_journal *j);
/* Opens in this boot: another one makes a new identity and puts what is unfinished in doubt (node/io/journal.h). */
void sim_journal_open(struct sim *s, struct sim_journal *j, const struct sim_clock *clock);
void sim_journal_append(struct sim_journal *j, struct rmd_journal_record *r, size_t n);
size_t sim_journal_position(const struct sim_journal *j);
void sim_journal_sync(struct sim_journal *j, size_t position);
void sim_journal_lose(struct sim *s, struct sim_journal *j,
                      bool all); /* the unsynced part; or everything: a new disk */
void sim_journal_replay(struct sim_journal *j, const struct sim_clock *clock, int64_t wall_ms,
                        void (*fn)(void *, const struct rmd_node_event *), void *ctx);

/* ---- net.c */
void sim_net_reset(struct sim *s, uint32_t n, int64_t again_ms); /* the connection breaks */
void sim_net_to_coord(struct sim *s, uint32_t n, const Remuda__Frame *f);
void sim_net_to_node(struct sim *s, const struct rmd_coord_peer *p, const Remuda__Frame *f);
void sim_net_drop(struct sim *s, const struct rmd_coord_peer *p);
int sim_net_node_of(const struct sim *s, const uint8_t key[RMD_KEY_BYTES]);
void sim_net_partition(struct sim *s, uint32_t n, bool on);
bool sim_net_session_live(const struct sim *s, const struct rmd_coord_peer *p);

/* ---- smtp_world.c */
void sim_smtp_dial(struct sim *s, uint32_t n, uint32_t worker, const struct rmd_worker_effect *f);
void sim_smtp_send(struct sim *s, struct sim_conn *c, const struct rmd_worker_effect *f);
void sim_smtp_close(struct sim *s, struct sim_conn *c,
                    bool reset);      /* by the client; reset: its process or host died */
void sim_smtp_cut_all(struct sim *s); /* every connection is reset */
struct sim_conn *sim_smtp_conn(struct sim *s, uint32_t n, uint32_t worker, uint32_t number);
void sim_smtp_free(struct sim *s);

/* ---- operator.c */
void sim_op_setup(struct sim *s);
void sim_op_period(struct sim *s, int64_t length_ms); /* plans the operator's doings of this period */
void sim_op_calm(struct sim *s);                      /* resumes what is paused, resolves what is open */
void sim_op_reply(struct sim *s, uint64_t token, int error, const char *text);
void sim_op_committed(struct sim *s, uint64_t request, int error);
void sim_op_coord_gone(struct sim *s);
void sim_op_suppress_some(struct sim *s, uint32_t n); /* addresses of the latest campaigns */
void sim_op_resume_stream(struct sim *s, uint32_t stream, int64_t in_ms);
void sim_op_forget(struct sim *s, uint32_t node);
void sim_op_revoke(struct sim *s, uint32_t node);
bool sim_op_busy(const struct sim *s);
void sim_op_free(struct sim *s);

/* ---- warm.c */
void sim_warm_config(struct sim *s);
bool sim_warm_refuses(struct sim *s, struct sim_conn *c); /* the receiver is wary of this source */
/* Of 24 hours and of one; what isn't about a warm-up is left as it is. */
void sim_warm_limits(const struct sim *s, const struct sim_conn *c, uint64_t lane[2], uint64_t source[2],
                     uint64_t sender[2]);
void sim_warm_rcpt(struct sim *s, struct sim_conn *c);
void sim_warm_accepted(struct sim *s, const struct sim_conn *c);
void sim_warm_free(struct sim *s);
/* ---- watch.c */
void sim_watch_config(struct sim *s);
void sim_dnsbl(struct sim *s, uint32_t node, const char *name, struct rmd_addr_answer *out);
bool sim_watch_was_listed(const struct sim *s, uint32_t source,
                          const Remuda__EventRecord *e); /* on the list of the acting tier, a while ago or now */
void sim_watch_event(struct sim *s, const Remuda__EventRecord *e);
void sim_watch_restored(struct sim *s); /* the coordinator is back */

/* ---- faults.c */
void sim_faults_period(struct sim *s, int64_t length_ms);
void sim_faults_heal(struct sim *s);
void sim_freeze(struct sim *s, int64_t ms);

/* ---- staged.c */
void sim_staged_choose(struct sim *s); /* before anything else is */
void sim_staged_config(struct sim *s);
bool sim_staged_one_network(const struct sim *s);
bool sim_staged_many_sites(const struct sim *s);
void sim_staged_period(struct sim *s);

/* ---- checker.c: told by receivers and submissions */
void sim_check_mail(struct sim *s, struct sim_conn *c, const struct rmd_id *message); /* the client sends MAIL */
void sim_check_rcpt(struct sim *s, struct sim_conn *c);                               /* the receiver sees RCPT */
enum sim_refusal { SIM_REFUSED_GREY, SIM_REFUSED_CONTENT_LATER, SIM_REFUSED_FOR_GOOD };
void sim_check_refused(struct sim *s, struct sim_conn *c, enum sim_refusal why);
void sim_check_accepted(struct sim *s, struct sim_conn *c);
void sim_check_reply_read(struct sim *s, struct sim_conn *c);
void sim_check_reply_lost(struct sim *s, struct sim_conn *c);
void sim_check_blocked(struct sim *s, struct sim_conn *c);
void sim_check_event(struct sim *s, const Remuda__EventRecord *e);
void sim_check_host_lost(struct sim *s, uint32_t n);
void sim_check_disturbed(struct sim *s, int node); /* -1: the coordinator, and so everybody */
void sim_check_vanished(struct sim *s,
                        int node); /* likewise; and what was offered may count for caps though nobody saw it */
struct sim_campaign *sim_check_campaign(struct sim *s, const struct rmd_id *message, uint64_t *ordinal);
bool sim_check_steady(const struct sim *s, uint32_t node, int64_t since_ms);
int64_t sim_check_grace(const struct sim *s, uint32_t node, int64_t since_ms);
void sim_check_state(struct sim *s);
void sim_reputation_check(struct sim *s);
void sim_reputation_restart(struct sim *s, void (*run_until)(struct sim *s, int64_t ms)); /* at the end */
bool sim_check_all_done(struct sim *s);
void sim_check_end(struct sim *s);
void sim_check_free(struct sim *s);

/* ---- moves.c */
void sim_moves_config(struct sim *s);
void sim_moves_event(struct sim *s, const Remuda__EventRecord *e);
void sim_moves_rcpt(struct sim *s, struct sim_conn *c, struct sim_message *m);
void sim_moves_mail(struct sim *s, const struct sim_conn *c); /* the client says MAIL */
void sim_moves_read(struct sim *s, const struct sim_conn *c); /* it has read the reply to its dot */
void sim_moves_accepted(struct sim *s, const struct sim_conn *c);
void sim_moves_resolved(struct sim *s);
void sim_moves_free(struct sim *s);

/* ---- stops.c */
void sim_stops_heard(struct sim *s, struct sim_conn *c, unsigned says); /* a node has read that reply */
void sim_stops_mail(struct sim *s, const struct sim_conn *c, const struct sim_campaign *k);
/* A receiver refuses the source, or its network. */
void sim_stops_said(struct sim *s, const struct sim_conn *c, bool network);
/* The coordinator says that a source is quarantined, at a provider or (0) everywhere. */
void sim_stops_quarantined(struct sim *s, const Remuda__EventRecord *e);
/* An incident was opened: of each single site, at most one of a kind is open. */
void sim_stops_opened(struct sim *s);
void sim_stops_accepted(struct sim *s, const struct sim_conn *c);
/* A receiver refuses the sending domain. */
void sim_stops_shunned(struct sim *s, const struct sim_conn *c, bool for_good);
/* The coordinator says that a sending domain stops, at a provider; that a stream pauses. */
void sim_stops_sender(struct sim *s, const Remuda__EventRecord *e);
void sim_stops_stream_paused(struct sim *s, const Remuda__EventRecord *e);
void sim_stops_stream_opened(struct sim *s, uint32_t stream); /* by the operator */
void sim_stops_campaign_opened(struct sim *s, uint32_t campaign);
void sim_stops_resolved(struct sim *s);
/* Its node may send there again: blocks that it had read are over; -1: everywhere. */
void sim_stops_lifted(struct sim *s, uint32_t source, int provider);

#endif
