/* What the coordinator's core keeps in memory: its limits and structures. Only core.h includes this; what is done with them is there.
 *
 * The core owns everything here. Objects refer to each other by pointer as long as both live: deferred records and leases to chunks, chunks
 * to campaigns, lanes to sources, and rmd_coord_free lets go in that order. Times are named by their clock: _mono_ms, _wall_ms, _ledger_ms. */
#ifndef REMUDA_COORDINATOR_CORE_STATE_H
#define REMUDA_COORDINATOR_CORE_STATE_H

#include <base/coll.h>
#include <base/probe.h>
#include <base/text.h>

#include "coordinator/core/coordinator.h"
#include "coordinator/core/failover.h"
#include "coordinator/core/keys.h"
#include "coordinator/core/ledger.h"
#include "coordinator/core/moving.h"
#include "coordinator/core/reputation_book.h"
#include "coordinator/core/retry.h"
#include "coordinator/core/sender.h"
#include "coordinator/core/site_stop.h"
#include "coordinator/core/usual.h"
#include "coordinator/core/warm.h"

enum {
    RMD_STORE_SCHEMA = 1,           /* of the records; a later one is refused */
    RMD_PENDING_MAX = 4096,         /* steps whose effects wait for the store */
    RMD_TICK_MS = 1000,             /* what can't say when it is due is looked at again after this */
    RMD_SORT_WINDOW = 16,           /* chunks of one campaign loaded for sorting */
    RMD_SORT_WAIT_MS = 3000,        /* for the DNS answer of a chunk's domains; then they go their own way */
    RMD_SORT_WAIT_ALONE_MS = 60000, /* a chunk of one big domain waits longer: it would become many records */
    RMD_DNS_RETRY_MIN_MS = 5000,
    RMD_DNS_RETRY_MAX_MS = 900000,
    RMD_QUEUE_ROTATE_MS = 30000, /* chunks whose sites are at their ceilings make room for others so often */
    RMD_DQ_WINDOW = 256,         /* records of a deferred queue loaded ahead */
    RMD_DEALS_PER_STEP = 64,
    RMD_LOOK_FROM = 32, /* lanes of a pool, below which all are looked at in each step */
    RMD_LOOK_ALL_MS = 60000,
    RMD_DRAIN_PER_STEP = 2048, /* recipients settled in one step by cancel or expiry */
    RMD_RECALL_REPEAT_MS = 2000,
    RMD_SUPPRESS_REPEAT_MS = 2000,
    RMD_DENIALS_MAX = 100000,
    RMD_REPLAY_MS = 30000,             /* how long a returned node's journal holds up messages of unknown fate */
    RMD_LEASE_REPEAT_MS = 5000,        /* a lease that wasn't acknowledged is sent again */
    RMD_LEASE_BYTES = 200 << 10,       /* of rows: a lease fits one part */
    RMD_NODE_RETURN_WAIT_MS = 3600000, /* when the stream names none */
    RMD_INCIDENTS_KEPT = 1000,
    RMD_AVOID_MAX = 8,
    RMD_TAKEN_KEPT_MS =
        7 * 24 * 3600 * 1000, /* how long a late report about a lease that was taken back is understood */
    RMD_OUT_OF_REACH_MS =
        3600 * 1000, /* how long a domain is not offered to sources of a family that can't reach it */
    RMD_SOURCE_TROUBLE_REST_MS = 30000,
    RMD_LANE_STOPPED_REST_MS = 5000, /* a node stopped a lane that is open here: nothing is dealt to it so long */
    RMD_NODE_OVERLOAD_REST_MS = 2000,
    RMD_SHARE_LINGER_MS =
        30000, /* of connections after the last lease: a node's QUIT is answered or given up in 10 s */
    RMD_CHUNK_BITS = RMD_CHUNK_ROWS_MAX / 8,
};

/* Effects that wait for a commit. */
struct rmd_pending {
    struct rmd_list link;
    uint64_t tag;
    struct rmd_coord_effects fx;
};

/* ---- registry */
struct rmd_stream {
    Remuda__StreamRecord *rec;
    uint8_t verp[RMD_HASH_BYTES];
    uint8_t *pem[8];
    size_t pem_n[8];
    struct rmd_retry_plan plan;
    struct rmd_refusals refusals;
    struct rmd_account **domain; /* of its sending domain, by provider index; NULL: not looked up yet */
    struct rmd_list pqs;         /* by link_stream */
};

struct rmd_net {
    uint32_t hash;
    struct rmd_refusals refusals;
    uint32_t warming; /* sources of it that warm up */
};

struct rmd_lane {
    struct rmd_source *source;
    size_t provider; /* index */
    enum rmd_lane_state state;
    int64_t until_ledger_ms; /* 0: until resolved */
    int64_t until_wall_ms;
    uint64_t incident;
    struct rmd_account *account, *network;
    struct rmd_warm_lane *warm;        /* NULL: no warm-up */
    struct rmd_repute *repute;         /* NULL: nothing is known of it yet */
    struct rmd_pace *pace;             /* as its node last told it; NULL: never */
    int64_t rest_until_mono_ms;        /* its node gave work back although the lane is open */
    uint32_t leases, leased;           /* granted: leases, and their messages */
    uint32_t bulk_leases, bulk_leased; /* of these, of streams that aren't transactional */
    uint32_t in_doubt;                 /* leases */
    uint32_t share;                    /* connections of the provider's cluster ceiling, 0: none held */
    int64_t share_until_mono_ms;       /* it lingers until then; 0: held by leases */
    uint64_t delivered, deferred, bounced, blocked;
    struct rmd_peak peak;
    struct rmd_usual usual;
    struct rmd_own own;
    struct rmd_comeback back;
    struct rmd_list news;      /* look.c */
    struct rmd_list lingering; /* share.c */
};

/* Providers, verdict rules and warm-up plans, from the options or by a reload. */
struct rmd_policy_set {
    struct rmd_list link;
    Remuda__ProviderPolicy **provider;
    size_t n;
    const struct rmd_plan **plan;
    size_t n_plans;
    struct rmd_slice rules;
    struct rmd_arena arena;
    uint64_t tag; /* frames that point to it leave with this commit at the latest */
};

struct rmd_source {
    Remuda__SourceRecord *rec;
    struct rmd_node *node;
    struct rmd_net *net;
    uint8_t family; /* 4, 6: of the address that it binds; 0: unknown */
    char network[56];
    struct rmd_lane **lane; /* by provider index; made when first needed */
    struct rmd_lane all;    /* the source everywhere */
    struct rmd_account *account;
    struct rmd_refusals refusals;
    Remuda__LaneState **kept; /* of lanes whose provider is not configured now */
    size_t n_kept;
    char *trouble; /* what the node says, or NULL */
    int64_t rest_until_mono_ms;
    uint32_t leases;
    uint64_t delivered, deferred, bounced;
    bool dirty;
    const struct rmd_plan *plan; /* of its warm-up, or NULL */
    uint32_t warm_stage;         /* of its most advanced lane */
    uint32_t listed_points;      /* of its open listings, for its reputation */
    bool warm_waits, sites_dirty;
    bool has_priority;         /* some stream of priority 0 uses it, ... */
    uint64_t priority_rev;     /* ... as of this sources_rev, and 1 */
    struct rmd_map site_stops; /* id -> rmd_site_stop */
    struct rmd_map sites;      /* id -> rmd_warm_site */
    int64_t sites_swept;
};

struct rmd_recall {
    struct rmd_list link;
    uint64_t id;
    uint64_t lease[16];
    uint32_t n_leases, source, provider, reason;
    struct rmd_id campaign;
    bool has_campaign;
    int64_t repeat_mono_ms;
    uint64_t tag;     /* commit that it leaves behind */
    uint64_t up_to_n; /* of the answer */
    bool answered;
};

struct rmd_node {
    Remuda__NodeRecord *rec;
    struct rmd_coord_peer peer;
    bool connected;
    uint8_t boot[RMD_UUID_BYTES];
    int64_t heard_mono_ms;
    int64_t valid_until_mono_ms; /* its leases hold until then at the latest */
    int64_t hold_mono_ms;        /* over its limits: nothing more until then */
    char *hostname, *software, *trouble;
    uint32_t connections, waiting, connection_limit, workers;
    uint64_t malformed, malformed_there;
    uint64_t high_water;
    uint64_t journal_end; /* journal position it said in Hello */
    int64_t hello_mono_ms;
    int64_t credit;
    struct rmd_map leases; /* id -> rmd_lease */
    uint32_t granted;      /* leases in state granted */
    struct rmd_list recalls;
    uint64_t alarms_seen; /* bit i: alarm_n - i was seen */
    bool policy_dirty, dirty;
    bool stopping; /* an orderly end has begun there */
    char *said;    /* last refusal logged */
};

/* ---- sites */
enum rmd_site_state { RMD_SITE_WAIT, RMD_SITE_OK, RMD_SITE_GONE, RMD_SITE_TEMP };
struct rmd_domain {
    struct rmd_list lru;
    char *name;
    enum rmd_site_state state;
    bool asked;
    uint32_t provider;
    uint32_t failures;
    int64_t until_mono_ms;
    int64_t no_v4_until_mono_ms, no_v6_until_mono_ms; /* a node found no address of this family that it can reach */
    uint64_t site;                                    /* as last found; 0: not yet */
    char *detail;
};

/* ---- queue */
struct rmd_chunk {
    struct rmd_campaign *campaign;
    uint32_t group, seq;
    Remuda__Chunk *rows; /* NULL: not loaded */
    struct rmd_arena rows_own;
    uint32_t n;     /* rows; 0: not known */
    bool has_state; /* settled is what the store says, or later */
    bool loading, failed;
    uint8_t settled[RMD_CHUNK_BITS];
    uint8_t named[RMD_CHUNK_BITS]; /* as uncertain since a restore from a backup; only memory, so that a message is
                                      not named at each lease */
    uint32_t refs;
    uint64_t dirty_tag;
    bool dirty;
    struct rmd_list dirty_link, idle_link;
    struct rmd_list entries;
};

/* A chunk's rows that wait for one provider. Pinned by leases, so that what they return can be put back. */
struct rmd_entry {
    struct rmd_chunk *chunk;
    struct rmd_cq *cq;
    struct rmd_list in_chunk, in_cq, dirty_link, idle_link;
    uint8_t queued[RMD_CHUNK_BITS];
    uint32_t n;
    uint32_t refs;
    bool known; /* queued is what the store says, or later */
    bool dirty;
    uint64_t dirty_tag;
    uint64_t incident; /* work that came back because of it */
};

/* Queue of a campaign at a provider. */
struct rmd_cq {
    struct rmd_campaign *campaign;
    struct rmd_pq *pq;
    struct rmd_list in_campaign, in_pq;
    struct rmd_list entries;
    uint64_t queued, loaded; /* recipients: in all, and in loaded entries */
    uint32_t n_entries;      /* with work */
    struct rmd_key cursor;   /* last key scanned; n 0: from the start */
    bool scanning, from_start, pass_loaded;
    uint64_t credit;   /* of a paced campaign: recipients that may be offered for the first time (release.c) */
    int64_t carry;     /* what the last share lacked or had too much, in 1/1024 */
    uint64_t put_tag;  /* last commit that queued something without loading it */
    uint64_t wait_tag; /* no scan before this commit is durable */
    int64_t rotated_mono_ms;
};

struct rmd_ditem {
    struct rmd_list link;
    Remuda__DeferredRecord *rec;
    struct rmd_chunk *chunk;
    struct rmd_dq *dq;
};

/* Deferred recipients of (provider, stream, sticky source). */
struct rmd_dq {
    struct rmd_pq *pq;
    uint32_t sticky;
    struct rmd_list in_pq, all;
    struct rmd_list in_ready;  /* of its queue: with items */
    struct rmd_list in_flight; /* a put isn't durable */
    struct rmd_list in_look;   /* look.c */
    bool bound;                /* nobody but its own lane may have it */
    struct rmd_heap_node due;  /* at next_wall_ms, while it may be read */
    struct rmd_list items;     /* due and loaded */
    uint32_t n_items;
    uint64_t count;
    int64_t next_wall_ms;   /* earliest of those not loaded; RMD_NEVER: none */
    int64_t cursor_wall_ms; /* everything before was loaded */
    struct rmd_key cursor;
    bool scanning;
    int64_t inflight_wall_ms; /* earliest put that isn't durable; RMD_NEVER: none */
    uint64_t put_tag;
};

/* What is known of a queue's lanes since they were last looked at (look.c). */
struct rmd_look {
    uint64_t *skip, *fed;    /* bits in the order of preference */
    uint64_t *keeps;         /* of those that are passed over */
    uint32_t *place;         /* by source id: its lane's, from 1 */
    size_t n_places, n_cold; /* n_cold: from here on no lane warms up */
    int64_t again_mono_ms;
    bool work;                 /* there is other work */
    uint32_t n_bound;          /* of the queue's ready retries, those that nobody but their own lane may have */
    struct rmd_lane **stopped; /* lanes that aren't open, in order, as of stopped_rev */
    size_t n_stopped;
    uint64_t stopped_rev;
    struct rmd_list retries; /* by in_look: they, or their own lane, have news */
};

/* What waits at a provider for a stream. */
struct rmd_pq {
    uint32_t provider_id;
    ssize_t provider; /* index, or -1: unresolved */
    struct rmd_stream *stream;
    struct rmd_list in_stream, all;
    struct rmd_list cqs, dqs, ready_dqs;
    uint32_t n_ready_dqs;
    uint64_t queued, leased, deferred;
    int64_t deficit;
    struct rmd_lane **candidate; /* lanes of the pool, in order of preference */
    size_t n_candidates, turn;   /* turn: whose it is, where work is dealt round the pool */
    bool has_cold;               /* some of them warm up */
    struct rmd_repute *repute;   /* of the sending domain here; NULL: not looked up since streams changed */
    uint64_t candidates_rev;
    struct rmd_look look;
};

/* ---- campaigns */
struct rmd_sort_chunk {
    struct rmd_list link;
    struct rmd_key key;
    Remuda__Chunk *rows; /* NULL: damaged */
    struct rmd_arena rows_own;
    uint32_t group, seq;
    bool tail;
    uint32_t n_asked, n_answered; /* of its domains, from the first one on */
    int64_t since_mono_ms;        /* all of them are asked */
};

struct rmd_campaign {
    Remuda__CampaignRecord *rec;
    struct rmd_id id;
    struct rmd_stream *stream;
    struct rmd_list cqs, all;
    struct rmd_list life;        /* in open, closing or finished campaigns */
    bool closed;                 /* in the last of them */
    uint32_t n_chunks, n_leases; /* in memory, which point here */
    uint64_t queued, leased, deferred, in_doubt;
    uint64_t released; /* as last looked at */
    /* sorting */
    struct rmd_list sort;
    uint32_t n_sort;
    bool sort_scanning, sort_end, sorted; /* sort_end: everything is read; sorted: and placed */
    struct rmd_key sort_cursor;           /* last key scanned */
    /* settling what a cancel or the age limit left */
    bool draining, drain_swept, drain_scanning;
    uint64_t drain_tag;
    struct rmd_dq *drain_dq;
    struct rmd_key drain_cursor;
    struct rmd_chunk **drain_pin; /* chunks that the sweep is waiting for */
    size_t n_drain_pins;
    bool dirty, recalled;
    struct rmd_list dirty_link;
    struct rmd_content_tally *tally; /* one a provider that had outcomes; only memory: a restart counts anew */
    size_t n_tallies;
};

/* ---- leases: granted -> (in doubt <-> granted) -> taken -> gone; granted or in doubt -> gone when every message was
 * settled. */
enum rmd_lease_state { RMD_LEASE_GRANTED, RMD_LEASE_DOUBT, RMD_LEASE_TAKEN, RMD_LEASE_STATES };

struct rmd_lease {
    uint64_t id;
    enum rmd_lease_state state;
    struct rmd_node *node;
    struct rmd_source *source;
    struct rmd_lane *lane; /* NULL: the provider is no longer configured */
    uint32_t source_id, provider_id;
    struct rmd_campaign *campaign;
    struct rmd_pq *pq;
    struct rmd_caps caps;
    bool bulk; /* of a stream that isn't transactional */
    uint32_t n, left;
    uint8_t done[RMD_CHUNK_BITS];
    /* rows of a chunk ... */
    struct rmd_chunk *chunk;
    struct rmd_entry *entry;
    uint8_t row[RMD_CHUNK_ROWS_MAX];
    /* ... or records of their own; a finished one is NULL */
    Remuda__DeferredRecord **own;
    struct rmd_chunk **own_chunk;
    uint8_t boot[RMD_UUID_BYTES], journal[RMD_UUID_BYTES];
    int64_t granted_wall_ms, doubt_wall_ms;
    int64_t doubt_mono_ms, sent_mono_ms;
    uint64_t sent_tag; /* commit that its frame leaves behind */
    uint64_t epoch;
    uint64_t credit_out;
    bool acked, dirty;
    bool probe;    /* granted to a lane that comes back: what becomes of it counts for that */
    bool unlisted; /* the node came back and doesn't hold it: what its journal doesn't tell of, it never had */
    struct rmd_list dirty_link;
};

struct rmd_incident {
    struct rmd_list link;
    Remuda__IncidentRecord *rec;
    bool dirty;
    int64_t read_mono_ms;
};

struct rmd_suppressing {
    struct rmd_list link;
    uint64_t id, hash, token;
    uint32_t tenant, stream;
    char *address;
    uint32_t *waits; /* node ids */
    uint32_t n_waits;
    uint64_t tag;
    int64_t repeat_mono_ms;
};

/* ---- reads under way */
enum rmd_read_kind {
    RMD_READ_CQ,       /* Q rows of a cq */
    RMD_READ_DQ,       /* D rows of a dq */
    RMD_READ_SORT,     /* K rows of a campaign */
    RMD_READ_CHUNKS,   /* K and B of chunks */
    RMD_READ_SWEEP,    /* D rows, for a campaign that is drained */
    RMD_READ_TEMPLATE, /* E row for a node */
    RMD_READ_START_Q,
    RMD_READ_START_D,
    RMD_READ_START_K,
    RMD_READ_START_LEASE, /* K, B, Q of a lease */
    RMD_READ_SUPPRESSION, /* R row: its text survives */
    RMD_READ_EXPIRE,      /* C rows: old ones are forgotten */
    RMD_READ_TEMPLATES,   /* E keys: those that nobody needs any more */
};
struct rmd_read {
    enum rmd_read_kind kind;
    void *subject;
    struct rmd_chunk **chunk;
    size_t n_chunks;
    uint8_t hash[RMD_HASH_BYTES];
    uint64_t offset;
    uint32_t session;
    int64_t at_wall_ms;
};

/* ---- events kept in the store until history has them (events.c) */
enum { RMD_EVENTS_KEPT_MS = 2000, RMD_EVENT_EPOCH_SHIFT = 40 };
struct rmd_kept_row {
    uint64_t first, last;
};
struct rmd_kept_events {
    struct rmd_kept_row *v; /* rows in the store, oldest first */
    size_t n, cap;
    uint64_t told, mark; /* last event that left; the one of RMD_EVENTS_KEPT_MS ago */
    int64_t mark_mono_ms;
    bool swept;
};

enum rmd_phase { RMD_PHASE_RESTORE, RMD_PHASE_LOADING, RMD_PHASE_SERVING };

struct rmd_coord {
    struct rmd_coord_options o;
    uint64_t epoch;
    struct rmd_rng rng;
    struct rmd_time now;
    enum rmd_phase phase;
    int64_t started_wall_ms;
    Remuda__CampaignRecord **start_campaign; /* rows that wait for RESTORED: they refer to others */
    Remuda__LeaseRecord **start_lease;
    size_t n_start_campaigns, n_start_leases;
    uint32_t starting; /* reads of the start that are under way */

    struct rmd_coord_effects *out;
    struct rmd_pending *cur;
    struct rmd_batch batch;
    int commit_probe, after_probe;
    struct rmd_list pending, retired;
    size_t n_pending;
    uint64_t tag, persisted;
    char *stalled;

    Remuda__MetaRecord *meta;
    bool meta_dirty;
    uint64_t event_seq;
    struct rmd_kept_events kept;
    uint32_t ledger_bucket;

    struct rmd_ledger ledger;
    struct rmd_map streams, sources, nodes, nodes_by_key, nets,
        tenants; /* by id, by id, by id, by key, by hash, by id */
    uint64_t sources_rev, policy_rev;
    uint32_t other;             /* provider id */
    struct rmd_policy_set *set; /* o.provider and o.rules point into it */
    struct rmd_list old_sets;
    uint32_t *shared;           /* by provider: connections of its cluster ceiling that are out */
    struct rmd_list lingering;  /* lanes whose share is over soon, the first one first */
    int64_t lanes_tick_mono_ms; /* a lane's or a source's state changes by itself then, ... */
    uint64_t lanes_tick_rev;    /* ... as of this sources_rev, and when a bucket ends */
    int64_t share_from_mono_ms; /* shares that lingered when the process started are over then */

    struct rmd_map stopped_sites; /* id -> rmd_stopped_site */
    struct rmd_map domains;
    struct rmd_list domain_lru, resolve_queue;
    uint32_t resolving;
    bool deal_asks; /* dealing met a domain whose site isn't known yet */

    struct rmd_map campaigns, chunks, pqs, dqs;
    struct rmd_list all_pqs, all_dqs, all_campaigns;
    struct rmd_list flying_dqs;
    struct rmd_heap due_dqs;
    struct rmd_list open_campaigns, closing_campaigns, finished_campaigns; /* see campaign.c */
    size_t n_finished;
    uint64_t
        dropped[6]; /* what campaigns that left memory had delivered, bounced, suppressed, expired, held, uncertain */
    struct rmd_key expire_cursor; /* of the search for campaigns and templates to forget; n 0: at its beginning */
    struct {
        bool marking, sweeping; /* campaigns are read; templates are */
        struct rmd_set64 used;  /* since marking began, by the first 64 bits of their hash */
        struct rmd_map held;    /* likewise, to the number of submissions under way */
    } templates;
    int64_t expire_at_mono_ms;
    bool expiring;
    struct rmd_list dirty_chunks, dirty_entries, dirty_campaigns, dirty_leases, idle_chunks, idle_entries;
    uint32_t windows; /* loaded entries with work */
    struct rmd_map reads;
    uint64_t read_tag;

    struct rmd_set64 suppressed;
    struct rmd_surges *surges; /* surge_internal.h */
    struct rmd_list denials;   /* denied once, oldest first (denial.c) */
    struct rmd_map denials_by_hash;
    struct rmd_map senders; /* tenant, provider, domain's hash -> place (sender_act.c) */
    struct rmd_list sender_list;
    bool senders_dirty;
    int64_t content_tick_ledger_ms; /* a campaign's rest at a provider ends then, or later */
    struct rmd_list suppressing;
    uint64_t bounce_suppressed[64]; /* hashes to tell nodes of in this step */
    uint32_t n_bounce_suppressed;
    uint32_t bounce_tenant;

    struct rmd_list incidents;
    struct rmd_map incidents_by_id;
    uint32_t n_incidents;
    uint32_t peak_bucket;          /* lanes' recent hours were looked at */
    struct rmd_watchers *watchers; /* blocklists: listing.h */
    struct rmd_tls_book *tls;      /* tls.c */

    struct rmd_warming warm;
    struct rmd_book book; /* reputations */

    bool replaying; /* some node that returned hasn't told everything yet */
    bool deal;      /* anything may be otherwise */
    bool deal_on;   /* what is otherwise was said to look.c */
    size_t look_from;
    uint32_t look_bucket;
    uint64_t lane_rev; /* some lane's state changed */
    int64_t look_all_mono_ms;
    struct rmd_list lane_news;
    bool more, nodes_dirty, sources_dirty;
    uint64_t malformed, uncertain;
    int64_t tick_mono_ms;
    struct rmd_arena scratch; /* of one step */
    struct rmd_arena view;    /* of the views */
};

#endif
