/* The coordinator's core: queue, scheduler, ledger, leases, membership, failover, suppression, campaigns. Pure and stepped.
 *
 * One object, one thread. Events carry their time; effects are data. What an effect depends on is durable first: the core hands out a COMMIT
 * (a batch with a tag) and keeps the effects that wait for it until PERSISTED of that tag comes back. Commits complete in order. When the
 * store stalls (disk full), commits wait; the core stops dealing (no new leases) while more than RMD_COORD_COMMITS_IN_FLIGHT are open or the
 * shell says STALLED, and goes on afterwards: nothing is rolled back.
 *
 * Memory is O(domains + sources + leases): the queue is on disk and comes in windows (SCAN and GET effects, answered by SCANNED and GOT).
 *
 * Start: new -> RESTORE events (the shell scans the tables of keys.h that say "at start" and passes every row) -> RESTORED -> serving.
 *
 * How a recipient travels:  chunk stored by intake (K) -> campaign committed (C) -> chunk's domains resolved to provider -> queue entry (Q: bitmap
 * of the chunk's rows for this provider and stream) -> lease (L; Q entry rewritten or deleted in the same batch; caps outstanding) -> report ->
 * settled bit (B), event, or own record (D) with not_before (and sticky source), or back into Q (returned, never attempted).
 * A recipient has exactly one owner at any durable moment: Q bit, D record, L item, or settled bit. */
#ifndef REMUDA_COORDINATOR_CORE_H
#define REMUDA_COORDINATOR_CORE_H

#include <remuda/dns.h>
#include <remuda/rng.h>
#include <remuda/sign.h>
#include <remuda/store.h>

#include "coordinator/core/reputation.h"
#include "coordinator/core/schedule.h"
#include "coordinator/core/warmup.h"
#include "proto/codec.h"
#include "proto/plan.h"
#include "proto/site.h"

enum {
    RMD_COORD_COMMITS_IN_FLIGHT = 64,
    RMD_COORD_WINDOW_CHUNKS = 8,  /* loaded ahead for one (provider, stream, campaign) */
    RMD_COORD_WINDOW_TOTAL = 512, /* loaded ahead in all */
    RMD_COORD_RESOLVES_IN_FLIGHT = 200,
    RMD_COORD_CAMPAIGNS_KEPT = 1000, /* finished ones in memory, for views; older ones are in the store */
    RMD_COORD_DOMAINS_MAX = 1000000, /* cached sites, 200 bytes each; least recently used go */
    RMD_COORD_LEASE_MESSAGES = 200,  /* in one lease */
    RMD_COORD_LANE_MESSAGES = 800,   /* outstanding for one lane; the last lease may go over it */
    RMD_COORD_LANE_LEASES = 256,     /* likewise: many campaigns of few recipients are many leases */
    RMD_COORD_SOURCES_MAX = 20000,
    RMD_COORD_NODES_MAX = 2000,
    RMD_COORD_REVOKED_KEYS_MAX = 64, /* of one node */
    RMD_LEDGER_BUCKET_MS = 300000,
    RMD_LEDGER_WINDOW_MS = 86400000,
    RMD_LEDGER_HOUR_MS = 3600000,
};

/* The blocklist watch: whether lists are asked, how often in all, and which (proto/io/blocklists_file.h). */
struct rmd_watch_settings {
    bool enabled;
    uint32_t per_hour, per_day; /* queries of the whole cluster to all lists */
    uint32_t neighbours;        /* of each /24, asked about every neighbours_every_ms; 0: none */
    int64_t neighbours_every_ms;
    Remuda__Blocklist *const *list;
    size_t n_lists;
};

/* Features that a measurement leaves out, to see what each is worth (tests/sim). No configuration can. */
enum rmd_without {
    RMD_WITHOUT_GATES = 1 << 0,         /* warm-up goes on by sending days alone */
    RMD_WITHOUT_CONCENTRATION = 1 << 1, /* work is dealt round the pool */
    RMD_WITHOUT_STICKINESS = 1 << 2,    /* greylisted mail may come again from any source */
    RMD_WITHOUT_REPUTATION = 1 << 3,    /* scores don't weigh the dealing */
    RMD_WITHOUT_CANARY = 1 << 4,        /* moved work goes at once, without a limit to growth */
    RMD_WITHOUT_PROBING = 1 << 5,       /* a stopped lane comes back at once when its time is over */
    RMD_WITHOUT_MOVING = 1 << 6,        /* work of a stopped source waits for it */
    RMD_WITHOUT_NETWORKS = 1 << 7,      /* work moves to the same network, too */
    RMD_WITHOUT_BREAKER = 1 << 8,       /* content and senders that are refused go on */
};

/* Failover (moving.h, returning.h). All 0: moved work has no limit of its own, nor has a lane that comes back. */
struct rmd_failover_settings {
    int64_t canary_ms;                     /* from the first lease of an incident's moved work */
    uint32_t canary_percent, canary_floor; /* of the moved work; recipients that are always let go */
    uint32_t growth_percent,
        growth_floor; /* of a lane's recent peak hour, 0: no limit; recipients an hour at least */
};

/* What a lane may send more than it usually does before others come first. */
struct rmd_usual_settings {
    uint32_t percent, floor; /* of its busiest day of the last seven, 0: no such rule; recipients a day at least */
};

struct rmd_coord_options {
    uint32_t without;       /* RMD_WITHOUT_*; 0 in production */
    uint32_t look_from;     /* lanes of a pool from which on only those with news are looked at; 0: RMD_LOOK_FROM */
    int64_t lease_valid_ms; /* validity, renewed by heartbeats; > transaction_deadline_ms */
    int64_t transaction_deadline_ms;
    int64_t campaign_keep_ms; /* records of finished campaigns are forgotten after this; 0: never */
    int64_t
        heartbeat_lost_ms; /* a session is gone after this silence; its leases expire lease_valid_ms after the last echo */

    Remuda__ProviderPolicy *const *provider; /* shipped + operator's; "other" last; copied */
    size_t n_providers;
    struct rmd_slice rules;           /* operator's rule text for nodes; copied */
    const char *const *allow_special; /* NULL-terminated */
    uint16_t smtp_port;
    bool starttls;
    uint64_t lane_cap_per_day, source_cap_per_day, network_cap_per_day, domain_cap_per_day; /* defaults; 0: none */
    const struct rmd_plan *const *plan; /* warm-up plans; copied */
    size_t n_plans;
    uint32_t warm_per_network;      /* sources of one network that warm up at once; 0: any number */
    const char *const *class_retry; /* per-class overrides "greylisted=5min", NULL-terminated */
    struct rmd_failover_settings failover;
    struct rmd_usual_settings usual;
    uint64_t seed;                          /* jitter and ids */
    const struct rmd_watch_settings *watch; /* copied; NULL: no list is asked */
    uint8_t boot_id[RMD_UUID_BYTES];
    const struct rmd_sign_ops *sign; /* HMAC for the streams' VERP secrets */
};

/* Commands of the API; `token` comes back in REPLY. Strings are copied. */
enum rmd_command_kind {
    RMD_CMD_NODE_ADD,          /* name, key; a revoked node comes back as itself with its new key */
    RMD_CMD_NODE_REVOKE,       /* name, reason */
    RMD_CMD_NODE_FORGET,       /* name: its in-doubt messages follow the uncertain policy now */
    RMD_CMD_STREAM_PUT,        /* stream (create or replace by name; id is kept) */
    RMD_CMD_STREAM_STATE,      /* name, state 0 active / 1 paused, reason */
    RMD_CMD_SOURCE_ADD,        /* source (id assigned; a retired one comes back as itself), name = node name */
    RMD_CMD_SOURCE_PUT,        /* source, complete, found by its address; name = node name */
    RMD_CMD_SOURCE_STATE,      /* name = address, state (RMD_SOURCE_*), reason */
    RMD_CMD_CAMPAIGN_ACCEPTED, /* campaign: its commit record is durable already */
    RMD_CMD_CAMPAIGN_STATE,    /* id, state ACTIVE (resume) / PAUSED / CANCELLED, reason */
    RMD_CMD_CAMPAIGN_SCHEDULE, /* id, schedule, reason */
    RMD_CMD_SUBMISSION_ENDED,  /* id: of a submission that was refused, or broke off; its chunks go */
    RMD_CMD_SUPPRESS,   /* name = address, stream id or 0, reason; answered when no lease can contact it any more */
    RMD_CMD_UNSUPPRESS, /* name, stream id */
    RMD_CMD_SUPPRESS_UNDO, /* number of a surge's incident, reason: all that it suppressed or holds as pending goes */
    RMD_CMD_SUPPRESS_CONFIRM, /* likewise: what is pending is suppressed */
    RMD_CMD_INCIDENT_RESOLVE, /* number, reason; text: a ticket, or NULL */
    RMD_CMD_INCIDENT_TICKET,  /* number, text */
    RMD_CMD_RELOAD, /* providers, rules, plans, watch, stream_key: in place of what there is; reason says what changed */
    RMD_CMD_RESUME_RESTORED, /* leave the pause of a restored store */
    /* Warm-up: name = a source's address or a sending domain; provider, or NULL for every one; reason */
    RMD_CMD_WARMUP_PAUSE,
    RMD_CMD_WARMUP_RESUME,
    RMD_CMD_WARMUP_SET,      /* number = stage from 1; one more than there are, or UINT32_MAX: warm */
    RMD_CMD_COMPLAINTS,      /* provider, day, number = how many */
    RMD_CMD_SOURCE_REGISTER, /* name = address, provider: it is registered there; state 1: no longer */
    RMD_CMD_LISTING_CHECK, /* name = address or domain; answered with the check's number when the lists were asked */
    RMD_CMD_LISTING_REMOVAL, /* name = address or domain, text = list, reason: removal was asked for */
};

/* What is set changes, the rest stays. over in place of batches, and the other way round; 0 takes one away. */
struct rmd_schedule_change {
    struct rmd_schedule s; /* start 0: now */
    bool set_at, set_over, set_batch, set_every;
};

struct rmd_command {
    enum rmd_command_kind kind;
    const struct rmd_schedule_change *schedule;
    uint64_t token;
    uint32_t tenant; /* 1 = default */
    const char *name;
    const char *reason;
    const char *text;
    uint32_t state;
    uint32_t stream;
    uint64_t number;
    const char *provider;
    int64_t day; /* days since 1970-01-01 */
    struct rmd_id id;
    uint8_t key[RMD_KEY_BYTES];
    const Remuda__SourceRecord *source;
    const Remuda__StreamRecord *stream_record;
    const Remuda__CampaignRecord *campaign;
    Remuda__ProviderPolicy *const *providers; /* RELOAD; "other" last; copied */
    size_t n_providers;
    struct rmd_slice rules;
    const struct rmd_plan *const *plan; /* RELOAD; copied; NULL: as before */
    size_t n_plans;
    const struct rmd_watch_settings *watch; /* RELOAD; copied; NULL: as before */
    const struct rmd_stream_key {
        uint32_t stream, index;
        const char *path; /* of the key when it was read: a stream that was set since keeps its own */
        struct rmd_slice pem;
    } * stream_key;
    size_t n_keys;
    struct rmd_slice key_pem[8]; /* STREAM_PUT and at start: PEM of stream_record->key[i], read by the shell */
};

enum rmd_coord_event_kind {
    RMD_CE_RESTORE, /* key, value: a row of a table that is read at start */
    RMD_CE_RESTORED,
    RMD_CE_KEY, /* stream, index, pem: the shell read a stream's DKIM key at start */
    RMD_CE_TICK,
    RMD_CE_FRAME,     /* peer, frame */
    RMD_CE_MALFORMED, /* peer: a frame that could not be decoded */
    RMD_CE_PEER_GONE, /* peer: a send was answered RMD_ECLOSED */
    RMD_CE_PERSISTED, /* tag */
    RMD_CE_STALLED,   /* text, or NULL when it flows again */
    RMD_CE_SCANNED,   /* tag, rows */
    RMD_CE_GOT,       /* tag, rows (value.p == NULL: absent) */
    RMD_CE_RESOLVED,  /* name, mx */
    RMD_CE_COMMAND,   /* command */
    RMD_CE_DAY,       /* day: the sending day of this moment by the operator's calendar */
};

/* A sending day: from boundary to boundary of the operator's time zone. Days behind the one that was told last are taken for 24 hours
 * long; before any was told, days begin at 04:00 UTC. */
struct rmd_sending_day {
    int64_t number; /* days since 1970-01-01 of the date on which it begins */
    int64_t start_wall_ms, end_wall_ms;
};

struct rmd_row {
    struct rmd_slice key, value;
};

struct rmd_coord_peer {
    uint8_t key[RMD_KEY_BYTES];
    uint32_t session;
};

struct rmd_coord_event {
    enum rmd_coord_event_kind kind;
    struct rmd_time at;
    struct rmd_coord_peer peer;
    const Remuda__Frame *frame;
    uint64_t tag;
    const struct rmd_row *row;
    size_t n_rows;
    bool more; /* SCANNED: limit reached, more may follow */
    const char *name;
    const struct rmd_mx_answer *mx;
    const struct rmd_command *command;
    const char *text;
    uint32_t stream, index;
    struct rmd_slice pem;
    struct rmd_sending_day day;
};

enum rmd_coord_effect_kind {
    RMD_CF_COMMIT,  /* batch (moved to the shell), tag */
    RMD_CF_SEND,    /* peer, frame */
    RMD_CF_DROP,    /* peer: forget this session */
    RMD_CF_SCAN,    /* tag, scan (keys in the effect's arena) */
    RMD_CF_GET,     /* tag, keys */
    RMD_CF_RESOLVE, /* name */
    RMD_CF_REPLY,   /* token, error, text; number: id made (source, stream, incident) */
    RMD_CF_EVENT,   /* event: for the history log and followers; leaves after what it tells of is durable */
    RMD_CF_ALLOW,   /* peer.key, on: the set of enrolled keys changed */
    RMD_CF_LOG,     /* text; on: a warning, which somebody should look at */
};

struct rmd_coord_effect {
    enum rmd_coord_effect_kind kind;
    struct rmd_coord_peer peer;
    const Remuda__Frame *frame;
    struct rmd_batch batch;
    uint64_t tag;
    struct rmd_scan scan;
    const struct rmd_slice *key;
    size_t n_keys;
    const char *name;
    uint64_t token, number;
    int error;
    const char *text;
    const Remuda__EventRecord *event;
    bool on;
    int probe; /* rmd_probe of this effect (crash table), -1: none; the shell calls rmd_probe() before carrying it out */
};

struct rmd_coord_effects {
    struct rmd_coord_effect *v;
    size_t n, cap;
    struct rmd_arena arena; /* what effects point to; reset by the owner before each step */
};
void rmd_coord_effects_reset(struct rmd_coord_effects *e); /* also releases batches that were not taken */
void rmd_coord_effects_release(struct rmd_coord_effects *e);

struct rmd_coord;
struct rmd_coord *rmd_coord_new(const struct rmd_coord_options *o, uint64_t epoch);
void rmd_coord_free(struct rmd_coord *c);
/* RMD_EFORMAT, RMD_EVERSION: a RESTORE row can't be read (the log says which); the core can't be started then. */
int rmd_coord_step(struct rmd_coord *c, const struct rmd_coord_event *e, struct rmd_coord_effects *out) RMD_CHECKED;
int64_t rmd_coord_deadline(const struct rmd_coord *c); /* mono_ms of the next tick that is needed */
/* Between two steps: other lists, or the watch is switched. Takes effect with the next step. */
void rmd_coord_watch_set(struct rmd_coord *c, const struct rmd_watch_settings *s);

/* ---- views: read-only, between steps, for API and tests. Strings live until the next step. */

/* A lane's pace as its node last told it; shown, and given back by leases. Times are of the coordinator's clocks. */
enum { RMD_PACE_SITES = 3 };
struct rmd_pace {
    bool slowed;                               /* below its ceilings: by verdicts, or since it came back */
    uint32_t per_minute, connections;          /* that it may start, and have; per_minute 0: no limit */
    uint32_t per_hour;                         /* what the receiver takes, as learned; 0: not known */
    uint32_t in_use, tried, deferred_permille; /* of late: attempts, and of them deferred for rate */
    int64_t told_mono_ms, slowed_wall_ms, rest_wall_ms;
    uint32_t connects_per_minute; /* new connections, 0: no limit of its own */
    bool connects_bind;           /* that is what its recipients at the node wait for */
    size_t n_sites;               /* the slowest of its sites */
    struct {
        char domain[64];
        uint32_t per_minute, connections;
    } site[RMD_PACE_SITES];
};

struct rmd_lane_view {
    const char *provider;
    enum rmd_lane_state state;
    int64_t until_wall_ms;
    uint64_t cap, outstanding, used_24h;
    uint64_t delivered, deferred, bounced, blocked; /* since start */
    uint64_t incident;
    int64_t cap_frees_ms; /* until more frees, 0: room now */
    bool must_register, registered;
    const char *warmup;  /* "stage 3 of 23", "warm", "waits", or "" */
    uint32_t reputation; /* 0 to 100 */
    const char *reputation_band;
    bool few;                    /* of little evidence */
    uint64_t poor_hour;          /* its share of an hour, because its reputation is poor; 0: it isn't */
    const struct rmd_pace *pace; /* NULL: never told */
    int64_t pace_told_ms_ago;
};
/* A site of "other" at which the source is stopped. */
struct rmd_site_stop_view {
    const char *domain; /* one that it serves */
    enum rmd_lane_state state;
    int64_t until_wall_ms; /* 0: until resolved */
    uint64_t incident;
};
struct rmd_source_view {
    const Remuda__SourceRecord *record;
    const char *node_name, *network;
    bool node_connected;
    const char *trouble; /* what the node says of it, or "" */
    enum rmd_lane_state state;
    uint64_t cap, outstanding, used_24h;
    uint64_t lane_cap; /* in force for lanes that have none of their own; 0: none */
    uint64_t delivered, deferred, bounced;
    uint32_t reputation; /* of all its lanes together */
    const char *reputation_band;
    bool few;
    const struct rmd_lane_view *lane;
    size_t n_lanes;
    const struct rmd_site_stop_view *site;
    size_t n_sites;
};
struct rmd_node_view {
    const Remuda__NodeRecord *record;
    bool connected;
    int64_t last_heard_ms_ago;
    const char *hostname, *software, *trouble;
    uint32_t leases, connections, connection_limit, workers, waiting;
    uint64_t messages_leased, in_doubt;
    uint64_t malformed_from, malformed_at; /* frames that could not be read: this node's here, ours there */
};
struct rmd_campaign_view {
    const Remuda__CampaignRecord *record; /* counters up to date */
    uint64_t leased, queued, deferred;    /* queued includes not yet sorted */
    bool scheduled;                       /* it hasn't started */
    uint64_t released, next_release;      /* recipients that may be offered so far, and how many more next */
    int64_t next_release_wall_ms, all_released_wall_ms; /* 0: none; 0: at once */
    const char *waits_for; /* "starts at ...", "next batch of 1,000 at ...", "stopped at google: ...", or "" */
};
struct rmd_queue_view { /* one (provider, stream) */
    const char *provider, *stream;
    uint64_t queued, leased, deferred;
    int64_t next_attempt_wall_ms; /* of deferred; 0: none */
    const char *waits_for;        /* "", or which limit binds: "lane caps", "no eligible source", "paused", ... */
};
struct rmd_status_view {
    uint64_t epoch, incarnation;
    uint64_t queued, leased, deferred, in_doubt, unsorted;
    uint64_t
        unsorted_paused;     /* of the unsorted, those whose campaign or stream is paused: nobody looks them up now */
    uint64_t unsorted_later; /* of the unsorted, those whose campaign starts later */
    uint64_t leased_away;    /* of the leased, those at nodes that aren't connected */
    int64_t leased_away_ms;  /* until the last of these leases is over */
    uint64_t delivered, bounced, suppressed, expired, held, uncertain; /* recipients settled; uncertain: attempts */
    uint64_t leases, nodes_connected, nodes, sources_active, sources_quarantined, sources_trouble, open_incidents,
        malformed_frames;
    int64_t ledger_time_ms;
    const char *stalled; /* or "" */
    bool restored_paused;
};
void rmd_coord_status(struct rmd_coord *c, struct rmd_status_view *out);
void rmd_coord_sources(struct rmd_coord *c, void (*fn)(void *, const struct rmd_source_view *), void *ctx);
void rmd_coord_nodes(struct rmd_coord *c, void (*fn)(void *, const struct rmd_node_view *), void *ctx);
void rmd_coord_streams(struct rmd_coord *c, void (*fn)(void *, const Remuda__StreamRecord *), void *ctx);
void rmd_coord_providers(struct rmd_coord *c, void (*fn)(void *, const char *name), void *ctx);
void rmd_coord_campaigns(struct rmd_coord *c, void (*fn)(void *, const struct rmd_campaign_view *), void *ctx);
void rmd_coord_queues(struct rmd_coord *c, void (*fn)(void *, const struct rmd_queue_view *), void *ctx);
/* What one that runs waits for, by provider ("": none yet, or any); nothing of other campaigns. */
void rmd_coord_campaign_waits(struct rmd_coord *c, const struct rmd_id *id,
                              void (*fn)(void *, const struct rmd_queue_view *), void *ctx);
/* What of it waits, and for what: "" when nothing does. */
const char *rmd_coord_incident_waits_for(struct rmd_coord *c, const Remuda__IncidentRecord *r);
/* Of several sources, one. */
struct rmd_member_view {
    const char *address;
    enum rmd_lane_state state; /* open: it isn't stopped by this incident any more */
    int64_t since_wall_ms, until_wall_ms, over_wall_ms;
    uint64_t came_back;
};
void rmd_coord_incident_member(struct rmd_coord *c, const Remuda__IncidentRecord *r, size_t i,
                               struct rmd_member_view *out);
int64_t rmd_coord_incident_lapses(struct rmd_coord *c, uint64_t id); /* wall time; 0: never by itself */
void rmd_coord_incidents(struct rmd_coord *c, void (*fn)(void *, const Remuda__IncidentRecord *), void *ctx);
/* A message that a node holds: with which lease, from which source. False when no lease has it. */
struct rmd_leased_view {
    uint64_t lease;
    const char *node, *source, *provider;
    bool connected, in_doubt;
    uint32_t attempts;            /* before this lease */
    uint32_t connects_per_minute; /* it waits for this limit of its provider; 0: it doesn't */
    int64_t granted_wall_ms;
    int64_t valid_ms; /* the node is away: until its leases are over; 0: they are */
};
bool rmd_coord_find_leased(struct rmd_coord *c, const struct rmd_id *message, struct rmd_leased_view *out);
/* An address that was denied once, and by now neither again nor delivered to, is forgotten (denial.c). */
#define RMD_DENIAL_LIFE_MS (90 * INT64_C(86400000))

/* Nodes that a suppression still waits for: they hold leases, and have not confirmed it. */
struct rmd_suppress_wait {
    const char *node;
    bool connected;
    int64_t valid_ms; /* its leases are over then at the latest */
};
void rmd_coord_suppress_waits(struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email,
                              void (*fn)(void *, const struct rmd_suppress_wait *), void *ctx);
struct rmd_listing_view {
    const Remuda__ListingRecord *record;
    const char *removal, *hint; /* "" when the list isn't known any more */
    int64_t lifetime_ms;
};
void rmd_coord_listings(struct rmd_coord *c, void (*fn)(void *, const struct rmd_listing_view *), void *ctx);
struct rmd_list_health_view { /* at one node, for one kind of subject */
    const char *node, *kind, *state, *why, *last_error;
    int64_t tested_wall_ms;
};
struct rmd_list_view {
    const Remuda__Blocklist *list; /* its key is not for showing */
    bool asked;
    const char *off_because;
    uint32_t hour, day; /* queries of all nodes, as last told */
    uint32_t listings;  /* open ones */
    const struct rmd_list_health_view *health;
    size_t n_health;
};
bool rmd_coord_watches(const struct rmd_coord *c); /* lists are asked at all */
void rmd_coord_lists(struct rmd_coord *c, void (*fn)(void *, const struct rmd_list_view *), void *ctx);
/* TLS sessions, a record for each UTC day, domain and kind of policy, oldest day first. Returns how many sessions found no
 * room since the start. */
uint64_t rmd_coord_tls_days(struct rmd_coord *c, void (*fn)(void *, const Remuda__TlsDayRecord *), void *ctx);
struct rmd_check_view {
    const char *list, *state, *text; /* text: what the codes mean, or why it is unknown */
    const char *evidence, *codes, *tier;
};
/* false: no such check (any more). */
bool rmd_coord_check(struct rmd_coord *c, uint64_t number, void (*fn)(void *, const struct rmd_check_view *),
                     void *ctx);
bool rmd_coord_suppressed(const struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email);
/* By an entry of this stream's own, or (0) by the one for all streams. */
bool rmd_coord_suppressed_alone(const struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email);
/* A submission is about to store this template with its campaign: it isn't deleted as one that nobody needs. Off when the core has
 * the campaign, or there will be none. */
void rmd_coord_template_hold(struct rmd_coord *c, const uint8_t hash[RMD_HASH_BYTES], bool on);
const Remuda__StreamRecord *rmd_coord_stream_by_name(struct rmd_coord *c, uint32_t tenant, const char *name);

/* A sending domain at a provider that refuses it, while it isn't open. */
struct rmd_sender_view {
    uint32_t tenant;
    const char *domain, *provider;
    const char *state; /* "resting", "probing", "paused" */
    int64_t until_wall_ms;
    uint64_t incident;
};
void rmd_coord_senders(struct rmd_coord *c, void (*fn)(void *, const struct rmd_sender_view *), void *ctx);

/* ---- reputation (reputation_views.c) */
struct rmd_reputation_view {
    const char *kind;     /* "source", "lane", "network", "domain" */
    const char *name;     /* address, network, sending domain */
    const char *provider; /* NULL: over all */
    const char *band;
    struct rmd_reputation_score score;
};
void rmd_coord_reputations(struct rmd_coord *c, void (*fn)(void *, const struct rmd_reputation_view *), void *ctx);

/* ---- warm-up (warm_views.c) */
struct rmd_warmup_view {         /* a lane, or a sending domain at a provider */
    const char *source, *domain; /* one of them is NULL */
    const char *provider, *plan;
    const char *state;      /* "warming", "paused", "waits", "not registered", "warm" */
    const char *detail;     /* what holds it, the operator's reason, how sure its date is, or "" */
    bool new;               /* it never had mail */
    uint32_t stage, stages; /* from 1; stage > stages: warm */
    uint32_t hold;
    uint64_t cap, used_24h, outstanding; /* cap 0: none */
    uint64_t hour_cap, hour_used;        /* 0: none */
    uint64_t free;
    int64_t frees_ms;          /* until more frees; 0: room now, RMD_NEVER: when leases report */
    uint64_t distinct, needed; /* of the open day */
    uint64_t warm_as;
    int64_t warm_since_wall_ms;       /* 0: not warm */
    int64_t forecast_day;             /* when it will be warm; INT64_MIN: nobody can say, and detail tells why */
    const struct rmd_warm_day *today; /* what the gates are shown of; NULL: no mail yet */
    struct rmd_gate_value gate[RMD_GATE_KINDS];
    uint32_t gate_max_ppm[RMD_GATE_KINDS];
};
void rmd_coord_warmups(struct rmd_coord *c, void (*fn)(void *, const struct rmd_warmup_view *), void *ctx);
int64_t rmd_coord_sending_day(const struct rmd_coord *c);
/* Plans by name, for checking what operators ask for. */
const struct rmd_plan *rmd_coord_plan(const struct rmd_coord *c, const char *name);

/* Names of numbers in events and incidents; "" when there is none (any more). */
const char *rmd_coord_provider_name(struct rmd_coord *c, uint32_t provider);
const char *rmd_coord_source_address(struct rmd_coord *c, uint32_t source);
const char *rmd_coord_node_name(struct rmd_coord *c, uint32_t node);
const char *rmd_coord_stream_name(struct rmd_coord *c, uint32_t stream);
const char *rmd_coord_campaign_name(struct rmd_coord *c, const struct rmd_id *id); /* or its subject */
/* The provider that this domain's site was last found to be, 0 when it isn't in the cache. */
uint32_t rmd_coord_domain_provider(struct rmd_coord *c, const char *domain);

/* Why a recipient of this domain and stream isn't being sent right now, or from where it would be: for `explain`. Text lines into out.
 * campaign: its own; NULL: of none in particular. */
void rmd_coord_explain(struct rmd_coord *c, uint32_t tenant, uint32_t stream, const struct rmd_id *campaign,
                       const char *domain, struct rmd_buf *out);

#endif
