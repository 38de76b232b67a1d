/* Inside of the worker core (contract: worker.h). Read worker.c first.
 *
 *   source 1:n lane (source x provider) 1:n site (lane x set of MX hosts) 1:n connection 0:1 message
 *   lease 1:n message; a message is HELD (template missing), RESOLVING (its domain's MX), QUEUED (in a site), OPEN
 * (on a connection), DONE
 *
 * worker.c          step, timers, effects          worker_mail.c     policy, templates, leases, recall, suppress,
 * stop worker_lane.c     lanes, sites, pump, stopping   worker_conn.c     dialling, connections worker_route.c domain
 * -> MX -> site           worker_tls.c  TLS policy of a host, its reports           worker_message.c  one message: start, end, outcome verdict.c         what a verdict does
 * here
 *
 * Whoever ends a message calls rmd_worker_outcome, which may free its lease. Connections are freed at the begin of
 * the next step, because effects point into their send buffers. */
#ifndef REMUDA_NODE_WORKER_INTERNAL_H
#define REMUDA_NODE_WORKER_INTERNAL_H

#include <assert.h>

#include <base/text.h>

#include "node/core/mxplan.h"
#include "node/core/pacer.h"
#include "node/core/worker.h"

enum {
    RMD_WORKER_WAITING_MAX = 1 << 20,  /* messages held and not ended */
    RMD_WORKER_SITES_MAX = 1 << 14,    /* sites remembered, with what their pacers learned */
    RMD_WORKER_DOMAINS_MAX = 1 << 15,  /* domains remembered with their MX */
    RMD_WORKER_TEMPLATES_MAX = 1024,   /* templates without a lease that are kept */
    RMD_WORKER_SUPPRESS_MAX = 2 << 20, /* hashes in each of two generations */
    RMD_WORKER_TRIES_MAX = 3,          /* connections that may fail under a message before its RCPT was sent */
    RMD_WORKER_URGENT_RUN = 8,         /* urgent messages in a row while bulk mail waits */
    RMD_WORKER_SLOT_LOOK = 8,          /* sites that wait for a slot are passed over so often in one look */
    RMD_WORKER_FAIR_TURN = 20,         /* messages on a connection before another site may have its place */
    RMD_WORKER_SITE_DOWN_MS = 15000,   /* no new dial to a site whose hosts all failed */
    RMD_WORKER_BIND_RETRY_MS = 60000,
    RMD_WORKER_STOP_MS = 600000,       /* a stop that no policy confirmed lapses: the coordinator decided otherwise */
    RMD_WORKER_ALARM_REPEAT_MS = 5000, /* the same alarm isn't repeated sooner */
    RMD_WORKER_DNS_WAIT_MS = 60000,
    RMD_WORKER_REST_DEFAULT_MS = 1800000,
    RMD_WORKER_CONNECTIONS = 10, /* of a lane whose provider says nothing */
    RMD_WORKER_MESSAGES_A_CONNECTION = 100,
    RMD_WORKER_DEADLINE_DEFAULT_MS = 600000,
    RMD_WORKER_IDLE_RETURN_MS = 3600000, /* a lane that did nothing so long comes back gradually */
    RMD_WORKER_REST_RETURN_MS = 300000,  /* and one that rested, or was stopped, so long */
    RMD_WORKER_FRESH_MS =
        60000, /* so long after a lane's begin, the pace that it had before is taken over when it is told */
    RMD_WORKER_PACE_TELL_MS = 5000, /* lanes that only did something are told of so often, */
    RMD_WORKER_PACE_SOON_MS = 1000, /* and what verdicts changed after this */
    RMD_WORKER_CONNECTS_MS = 10000, /* connects_per_minute binds, as long as something waited for it so lately */
    RMD_WORKER_PACE_LANES = 256,    /* in one message */
    RMD_WORKER_PACE_SITES = 3,
    RMD_WORKER_LATE_MS = 60000,        /* counts of attempts are halved so often */
    RMD_WORKER_QUEUE_A_CONNECTION = 4, /* waiting messages that are worth one more connection */
    RMD_WORKER_SAVED_TEXT = 512,
};

enum rmd_timer_kind {
    RMD_TIMER_CONN,
    RMD_TIMER_SITE,
    RMD_TIMER_LANE,
    RMD_TIMER_LEASE,
    RMD_TIMER_VALID,
    RMD_TIMER_PACE
};
struct rmd_timer {
    struct rmd_heap_node heap;
    enum rmd_timer_kind kind;
};

/* A local stop, made by a verdict at once. Holds until a policy confirmed it and a later one lifted it, or until it
 * lapses. */
struct rmd_stop {
    int64_t until_ms; /* 0: none */
    bool confirmed;
};

struct rmd_wsource {
    uint32_t id;
    uint8_t family;
    bool known;       /* in the present policy */
    bool has_trouble; /* said TROUBLE, not mended yet */
    enum rmd_source_state state;
    bool quarantined;
    uint32_t pace_percent; /* of every ceiling of its lanes */
    int64_t no_address_until_ms;
    struct rmd_addr bind, public_address;
    char bind_text[48];
    char helo[RMD_DOMAIN_MAX + 1];
    uint32_t identity; /* rises when what it is bound to, or calls itself, changes: connections of before end */
    uint32_t *quarantined_provider;
    size_t n_quarantined;
    struct rmd_map quarantined_sites; /* of "other", as the policy says */
    struct rmd_list lanes;
};

enum { RMD_WORKER_ALARMS_KEPT = 4 };
struct rmd_walarm {
    char rule[64];
    uint32_t stream; /* of a verdict about the mail or its sender */
    uint64_t site;   /* of "other": one that stops the source there */
    enum rmd_action action;
    int64_t at_ms;
};

struct rmd_lane {
    struct rmd_list of_source, dirty, starved;
    struct rmd_wsource *source;
    uint32_t provider;
    const Remuda__ProviderPolicy *policy; /* of the present policy; NULL: unknown there */
    struct rmd_stop stop;
    struct rmd_map site_stops; /* worker_stops.c */
    struct rmd_pacer pacer, connects;
    struct rmd_width width;
    uint32_t share_connections, share_rate;
    uint32_t messages_a_connection; /* that the receiver was found to take; 0: nothing was found */
    uint32_t leases;                /* that name it */
    uint32_t conns, quitting;
    uint32_t kept, bulk_open, urgent_queued; /* worker_priority.c */
    bool hungry;                             /* a site waits for a connection's place */
    struct rmd_list ring;                    /* sites that may have something to start, first in turn */
    struct rmd_list conn_list, idle;
    struct rmd_map sites;
    struct rmd_timer timer;
    struct rmd_walarm alarm[RMD_WORKER_ALARMS_KEPT]; /* the last ones */
    /* pace (worker_pace.c) */
    struct rmd_list told_link; /* has something to tell */
    int64_t began_ms, slowed_ms, late_ms;
    uint32_t tried, held;   /* of late: attempts, and of them deferred for rate */
    bool stopped;           /* since its last start */
    bool slow_sites;        /* some site of it was slowed */
    uint64_t told;          /* digest of what was told last; 0: nothing */
    int64_t connect_due_ms; /* when the next connection may begin, as something last waited for it; 0: nothing did */
};

/* Why a site answers nothing for a while, in the words of the last attempt. */
struct rmd_saved {
    struct rmd_verdict verdict;
    struct rmd_reply reply; /* text in `text` */
    char mx_host[RMD_DOMAIN_MAX + 1], mx_addr[48];
    uint8_t text[RMD_WORKER_SAVED_TEXT];
};

struct rmd_wsite {
    struct rmd_list ring, lru; /* in lane->ring; in worker->site_lru when nobody uses it */
    struct rmd_lane *lane;
    uint64_t id;
    uint64_t
        mx_site; /* by its MX hosts alone (proto/site.h): some sites may have the same, and differ in what TLS they need */
    struct rmd_list queue, urgent;
    uint32_t urgent_run, bulk_open; /* worker_priority.c */
    bool tls_required;              /* by the stream whose messages wait here */
    uint32_t queued, conns, dialing, ready;
    struct rmd_list idle; /* connections */
    struct rmd_pacer pacer;
    struct rmd_width width;
    uint32_t messages_a_connection;
    int64_t down_until_ms, dial_after_ms;
    struct rmd_saved *saved;
    char *label; /* a domain of it, once it was slowed */
    struct rmd_timer timer;
};

/* A domain's MTA-STS policy, or why there is none. */
struct rmd_wsts {
    struct rmd_sts_policy *policy; /* NULL: none */
    int64_t expires_wall_ms;
    enum rmd_tls_result result;
    char why[RMD_STS_WHY];
};

struct rmd_wdomain {
    struct rmd_list lru; /* linked while no message refers to it */
    char *name;
    uint32_t refs;
    bool asked;
    int64_t until_ms; /* the answer below holds so long; 0: none */
    uint64_t site;
    uint32_t provider;
    struct rmd_mx *mx;
    size_t n_mx;
    bool mx_secure;
    bool asking_sts;      /* the MX answer is here, the policy is awaited */
    int64_t hold_ms;      /* of that MX answer */
    struct rmd_wsts *sts; /* NULL: no policy, and nothing to say of it */
    struct rmd_list waiting;
};

struct rmd_wtemplate {
    struct rmd_list lru; /* linked while no lease refers to it */
    uint8_t hash[RMD_HASH_BYTES];
    uint32_t refs;
    uint8_t *bytes;
    size_t bytes_n;
};

enum rmd_wstate { RMD_W_HELD, RMD_W_RESOLVING, RMD_W_QUEUED, RMD_W_OPEN, RMD_W_DONE };

struct rmd_wlease;
struct rmd_wmessage {
    struct rmd_list link;
    struct rmd_wlease *lease;
    struct rmd_wdomain *domain;
    struct rmd_wsite *site; /* while QUEUED */
    uint64_t address_hash;
    uint32_t index;
    uint8_t state, tries;
    uint8_t give_back; /* RMD_RETURN_*: isn't tried again, goes back for this reason */
    bool suppress_wait;
};

struct rmd_wlease {
    struct rmd_list all;
    uint64_t id;
    struct rmd_lane *lane;
    Remuda__Lease *pb;
    struct rmd_arena arena;
    struct rmd_wmessage *message;
    size_t n;
    uint32_t left, pins;
    struct rmd_wtemplate *raw; /* NULL: the template isn't here yet */
    struct rmd_template *compiled;
    struct rmd_id campaign;
    struct rmd_timer timer;
};

/* TLS of a connection: what is known of the host that it is dialled to, and what came of it. */
struct rmd_wconn_tls {
    char *domain; /* for which it was dialled: reports name it, DANE usage 2 takes its name */
    struct rmd_wsts *sts;
    bool mx_secure, addr_secure, decided, told;
    struct rmd_tlsa_answer *tlsa;
    struct rmd_tls_decision decision;
    struct rmd_tls_info info;
    char text[160]; /* what the handshake said */
};

enum rmd_conn_phase { RMD_CONN_RESOLVING, RMD_CONN_DIALING, RMD_CONN_OPEN };

struct rmd_wconn {
    struct rmd_list of_lane, idle, idle_of_lane, idle_of_worker, resolving, dead;
    struct rmd_wsite *site;
    uint32_t number;
    uint64_t serial;
    enum rmd_conn_phase phase;
    bool ready; /* has been ready for mail */
    bool is_idle, quitting, doomed, driving, dot_sent, dialled;
    bool bulk; /* its open transaction is of bulk mail */
    struct rmd_wconn_tls tls;
    uint8_t stop_reason; /* RMD_RETURN_* of the open message when it is aborted */
    struct rmd_smtp *smtp;
    struct rmd_mxplan *plan;
    struct rmd_saved *last; /* why the last address of the plan failed */
    bool answered;          /* some address of the plan took the connection */
    char host[RMD_DOMAIN_MAX + 1], addr_text[48];
    struct rmd_addr addr;
    uint32_t sent, identity; /* of its source when it was dialled */
    int64_t due_ms, started_ms, tx_deadline_ms;
    struct rmd_wmessage *message;
    struct rmd_buf content;
    struct rmd_timer timer;
};

struct rmd_wstream {
    const Remuda__StreamPolicy *pb;
    struct rmd_render_stream render;
    struct rmd_dkim_key *key;
    bool broken; /* a key can't be read: nothing of it is sent unsigned */
};

struct rmd_wkey { /* loaded keys, kept from policy to policy */
    void *handle;
    enum rmd_key_kind kind;
    uint64_t used_revision;
};

struct rmd_wsuppress { /* a Suppress whose addresses are still open */
    struct rmd_list link;
    uint64_t id;
    size_t open;
    struct {
        uint64_t lease;
        uint32_t index;
    } * message;
    size_t n;
};

struct rmd_worker {
    struct rmd_worker_options o;
    const struct rmd_rules *rules;
    struct rmd_rng rng;
    struct rmd_renderer *renderer;
    struct rmd_time now;
    struct rmd_worker_effects *out;

    struct rmd_arena policy_arena;
    Remuda__Policy *policy;
    uint64_t providers_digest;
    uint64_t policies; /* how many came: a generation */
    struct rmd_wstream *stream;
    struct rmd_prefix allow[RMD_NETS_MAX];
    size_t n_allow;
    struct rmd_map keys; /* by domain, selector and PEM */

    struct rmd_map sources, lanes, leases, templates, domains, hosts, tlsa_hosts;
    struct rmd_list lease_list, template_lru, domain_lru, site_lru, dirty, starved, idle, suppressing, graveyard;
    uint32_t n_sites;
    struct rmd_mxfail fail;
    struct rmd_tls_broken tls_broken;
    struct rmd_set64 suppressed[2];
    uint64_t suppressed_before; /* leases from this id on were built knowing them all */
    struct rmd_heap timers;
    struct rmd_timer valid_timer;
    int64_t valid_until_ms; /* 0: never told */
    bool paused, stopping, stopped;
    bool hungry;
    struct rmd_list to_tell; /* lanes whose pace changed */
    struct rmd_timer pace_timer;

    struct rmd_wconn **conn;
    uint32_t conn_cap, conns, quitting;
    uint32_t *free_number, n_free;
    uint64_t serial;
    uint32_t waiting, open;
    struct rmd_worker_stats stats;
    struct rmd_arena scratch;
};

/* --- worker.c */
struct rmd_worker_effect *rmd_worker_effect(struct rmd_worker *w, enum rmd_worker_effect_kind kind);
void rmd_worker_say(struct rmd_worker *w, enum rmd_mail_kind kind, uint64_t id, uint32_t source, const char *text);
void rmd_worker_arm(struct rmd_worker *w, struct rmd_timer *t, int64_t due_ms); /* RMD_NEVER: disarm */
int64_t rmd_worker_tx_ms(const struct rmd_worker *w);
bool rmd_worker_startable(const struct rmd_worker *w);

/* --- worker_mail.c */
int rmd_worker_mail(struct rmd_worker *w, const struct rmd_mail *mail) RMD_CHECKED;
void rmd_worker_return_unstarted(struct rmd_worker *w, enum rmd_return_reason reason);
void rmd_worker_lease_age(struct rmd_worker *w, struct rmd_wlease *l);
void rmd_worker_lease_unpin(struct rmd_worker *w, struct rmd_wlease *l);
void rmd_worker_suppress_ended(struct rmd_worker *w, const struct rmd_wmessage *m);
struct rmd_wstream *rmd_worker_stream(struct rmd_worker *w, uint32_t id);
int64_t rmd_worker_valid_until(const struct rmd_wmessage *m); /* wall; RMD_NEVER when it has none */

/* --- worker_policy.c */
int rmd_worker_policy(struct rmd_worker *w, struct rmd_slice bytes) RMD_CHECKED;
void rmd_worker_policy_release(struct rmd_worker *w);

/* --- worker_route.c */
void rmd_worker_route(struct rmd_worker *w, struct rmd_wmessage *m, bool front);
void rmd_worker_mx(struct rmd_worker *w, const char *name, const struct rmd_mx_answer *mx);
void rmd_worker_domain_unref(struct rmd_worker *w, struct rmd_wdomain *d);
struct rmd_wdomain *rmd_worker_domain_ref(struct rmd_worker *w, struct rmd_slice name);
void rmd_worker_domain_free(struct rmd_worker *w, struct rmd_wdomain *d);
void rmd_worker_unqueue(struct rmd_worker *w, struct rmd_wmessage *m); /* out of whatever list it waits in */

/* --- worker_lane.c */
struct rmd_lane *rmd_worker_lane(struct rmd_worker *w, struct rmd_wsource *s, uint32_t provider);
struct rmd_wsite *rmd_worker_site(struct rmd_worker *w, struct rmd_lane *lane, uint64_t id);
void rmd_worker_site_touch(struct rmd_worker *w, struct rmd_wsite *site);
void rmd_worker_site_free(struct rmd_worker *w, struct rmd_wsite *site);
enum rmd_return_reason rmd_worker_lane_blocked(const struct rmd_worker *w, const struct rmd_lane *lane);
void rmd_worker_wake(struct rmd_worker *w, struct rmd_wsite *site, bool front); /* may have something to start now */
void rmd_worker_wake_lane(struct rmd_worker *w, struct rmd_lane *lane);
void rmd_worker_pump(struct rmd_worker *w);
/* Of a ceiling, what the source's pace lets through; 0 stays no ceiling. */
uint32_t rmd_lane_paced(const struct rmd_lane *lane, uint32_t ceiling);
uint32_t rmd_lane_limit(const struct rmd_lane *lane);
uint32_t rmd_site_limit(const struct rmd_wsite *site);
/* Nothing more leaves from the lane: open transactions before the dot are aborted, what waits goes back. */
void rmd_worker_stop_lane(struct rmd_worker *w, struct rmd_lane *lane, enum rmd_return_reason reason);
void rmd_worker_return_lane(struct rmd_worker *w, struct rmd_lane *lane, enum rmd_return_reason reason);
/* The lane's connections, or those to one site: aborted before the dot, closed behind its reply. */
void rmd_worker_doom(struct rmd_worker *w, struct rmd_lane *lane, const struct rmd_wsite *site,
                     enum rmd_return_reason reason);

/* --- worker_stops.c */
bool rmd_lane_is_other(const struct rmd_lane *lane);
bool rmd_worker_site_stopped(const struct rmd_worker *w, const struct rmd_lane *lane, uint64_t site);
/* Nothing more leaves from this lane to the site. false: too many are stopped already. */
bool rmd_worker_stop_site(struct rmd_worker *w, struct rmd_wsite *site, int64_t until_ms);
/* A stop of our own ends when a policy has taken it over and a later one lifts it: true. */
bool rmd_worker_settle_stop(struct rmd_stop *stop, bool in_policy);
void rmd_worker_sites_given(struct rmd_wsource *s, const Remuda__SourcePolicy *pb);
void rmd_worker_settle_sites(struct rmd_worker *w, struct rmd_lane *lane, bool lane_in_policy);
void rmd_worker_stops_release(struct rmd_lane *lane);

/* --- worker_pace.c */
struct rmd_cause;
void rmd_worker_slow(struct rmd_worker *w, const struct rmd_cause *c);
void rmd_worker_narrow(struct rmd_worker *w, const struct rmd_cause *c);
void rmd_worker_shorten(struct rmd_worker *w, const struct rmd_cause *c);
/* The step down before was answered in the same way, and nothing was accepted since. */
bool rmd_worker_unheard(const struct rmd_worker *w, const struct rmd_cause *c);
int64_t rmd_worker_rest_ms(struct rmd_worker *w, const struct rmd_cause *c); /* that begins: longer each time */
void rmd_worker_rested(struct rmd_worker *w, const struct rmd_cause *c, bool of_site); /* a rest or stop begins */
/* Before a start: a lane, or a site, that comes back after long does so gradually. */
void rmd_worker_comes_back(struct rmd_worker *w, struct rmd_wsite *site);
void rmd_worker_success(struct rmd_worker *w, struct rmd_wsite *site);
void rmd_worker_tried(struct rmd_worker *w, struct rmd_lane *lane, bool held);
void rmd_worker_pace_given(struct rmd_worker *w, struct rmd_lane *lane, const Remuda__LeaseShare *share);
void rmd_worker_pace_changed(struct rmd_worker *w, struct rmd_lane *lane, bool soon);
void rmd_worker_pace_again(struct rmd_worker *w); /* a new session may know nothing: all is told again */
void rmd_worker_pace_timer(struct rmd_worker *w);

/* --- worker_priority.c */
bool rmd_message_urgent(const struct rmd_wmessage *m);
struct rmd_wmessage *rmd_site_head(const struct rmd_wsite *site); /* next to start; NULL: nothing waits */
/* Bulk mail that has as many transactions open as it may. */
bool rmd_site_waits_for_slot(const struct rmd_wsite *site, const struct rmd_wmessage *m);
uint32_t rmd_lane_bulk_limit(const struct rmd_lane *lane);
uint32_t rmd_site_bulk_limit(const struct rmd_wsite *site);
void rmd_site_enqueue(struct rmd_wsite *site, struct rmd_wmessage *m, bool front);
void rmd_site_dequeued(struct rmd_wsite *site, const struct rmd_wmessage *m);
void rmd_conn_began(struct rmd_wconn *c, const struct rmd_wmessage *m);
void rmd_conn_ended(struct rmd_worker *w, struct rmd_wconn *c);
struct rmd_wsite *rmd_lane_urgent_site(const struct rmd_lane *lane);

/* --- worker_tls.c */
/* What messages to this domain must have in common to share connections, beside the MX hosts. */
uint64_t rmd_worker_tls_site(const struct rmd_wdomain *d, bool required);
void rmd_worker_sts(struct rmd_worker *w, const char *name, const struct rmd_sts_answer *sts);
bool rmd_worker_sts_ask(struct rmd_worker *w, struct rmd_wdomain *d); /* false: nothing to ask */
struct rmd_wsts *rmd_wsts_dup(const struct rmd_wsts *s);
void rmd_wsts_free(struct rmd_wsts *s);
/* The plan stands at an address of the host whose addresses are secure or not. */
enum rmd_tls_step { RMD_TLS_STEP_DIAL, RMD_TLS_STEP_ASK_TLSA, RMD_TLS_STEP_SKIP };
enum rmd_tls_step rmd_worker_tls_host(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_tls_new_host(struct rmd_wconn *c, bool addr_secure);
enum rmd_smtp_tls rmd_worker_tls_option(const struct rmd_wconn *c);
void rmd_worker_tls_start(struct rmd_worker *w, struct rmd_wconn *c); /* the effect that starts the handshake */
/* The handshake failed: true when the address is to be dialled again without TLS. */
bool rmd_worker_tls_fall_back(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_slice detail);
/* The connection ended by this error before it was ready: reported when TLS is the reason; the error as it is told. */
enum rmd_own_error rmd_worker_tls_failed(struct rmd_worker *w, struct rmd_wconn *c, enum rmd_own_error error,
                                         struct rmd_slice detail);
void rmd_worker_tls_ready(struct rmd_worker *w, struct rmd_wconn *c); /* it can be used: reports */
void rmd_worker_tls_release(struct rmd_wconn *c);                     /* all but what outcomes tell */

/* --- worker_conn.c */
void rmd_worker_tlsa(struct rmd_worker *w, const char *name, const struct rmd_tlsa_answer *tlsa);
bool rmd_worker_dial(struct rmd_worker *w, struct rmd_wsite *site, const struct rmd_wdomain *domain);
void rmd_worker_conn_event(struct rmd_worker *w, const struct rmd_worker_event *e);
void rmd_worker_addr(struct rmd_worker *w, const char *name, const struct rmd_addr_answer *addr);
void rmd_worker_conn_timer(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_conn_arm(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_conn_drive(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_conn_quit(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_conn_close(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_conn_unidle(struct rmd_wconn *c);
void rmd_worker_conn_free(struct rmd_wconn *c);

/* --- worker_message.c */
/* Begins a transaction on an idle connection, or ends the message when it can't be sent. */
void rmd_worker_start(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_wmessage *m);
void rmd_worker_content(struct rmd_worker *w, struct rmd_wconn *c);
void rmd_worker_transaction_end(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_smtp_result *r);

struct rmd_outcome_facts {
    enum rmd_outcome kind;
    enum rmd_return_reason reason;
    int rcpts;
    const struct rmd_reply *reply; /* NULL: none */
    const struct rmd_verdict *verdict;
    const char *mx_host, *mx_addr;
    const struct rmd_wconn *conn;
};
void rmd_worker_outcome(struct rmd_worker *w, struct rmd_wmessage *m, const struct rmd_outcome_facts *f);
void rmd_worker_return(struct rmd_worker *w, struct rmd_wmessage *m, enum rmd_return_reason reason);
/* Ends it by an error of our own before any RCPT: bounced when the error is permanent. */
void rmd_worker_own(struct rmd_worker *w, struct rmd_wmessage *m, enum rmd_own_error error, enum rmd_stage stage,
                    const char *detail);

/* --- verdict.c */
struct rmd_cause {
    struct rmd_lane *lane;
    struct rmd_wsite *site;
    const struct rmd_reply *reply;
    const struct rmd_verdict *verdict;
    const char *domain, *mx_host, *mx_addr;
    uint32_t stream;
    uint32_t taken; /* transactions of the connection before this one */
};
void rmd_worker_classify(const struct rmd_worker *w, const struct rmd_lane *lane, const struct rmd_reply *reply,
                         struct rmd_verdict *out);
/* Slows, rests, stops, alarms. */
void rmd_worker_apply(struct rmd_worker *w, const struct rmd_cause *c);
/* A stop was lifted: the same words of before stop it anew, and are told again. site: of "other", or 0. */
void rmd_worker_alarms_anew(struct rmd_lane *lane, uint64_t site);
/* All that waits for the site is deferred, and what comes within `hold_ms`. */
void rmd_worker_site_down(struct rmd_worker *w, const struct rmd_cause *c, int64_t hold_ms);
void rmd_worker_defer_saved(struct rmd_worker *w, struct rmd_wmessage *m, const struct rmd_saved *s);
void rmd_worker_no_address(struct rmd_worker *w, struct rmd_wsource *s, const char *text);
Remuda__Reply *rmd_worker_wire_reply(struct rmd_worker *w, const struct rmd_reply *r, const char *host,
                                     const char *addr);
Remuda__Verdict *rmd_worker_wire_verdict(struct rmd_worker *w, const struct rmd_verdict *v);

#endif
