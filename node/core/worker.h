/* Worker: everything that one event loop (thread) of a node does with its sources. Pure and stepped.
 *
 * A source, with all its lanes, belongs to exactly one worker (source id modulo workers), so that a verdict stops it
 * at once. Inside: lanes (source x provider) with their leases' messages by site and domain; a pacer a lane and site;
 * connections; MX plans (next host on failure, addresses of both families, special addresses refused); the SMTP
 * machines; rendering and signing through ports.
 *
 * Effects are executed in order, except that all MARK, OUTCOME and ALARM effects of a step are in the journal
 * (surviving a process crash) before any SEND of that step leaves. OUTCOME and ALARM get their journal numbers from
 * the shell, which passes them to the node core. Slices in effects live until the next step; the bytes of a SEND with a
 * dot until the next event of its connection, or the step behind the one that closes it.
 *
 * Promises kept here: no MAIL starts on a stopped lane or source once the verdict was read; none starts later than
 * the lease's validity less the transaction deadline, or after the message's valid_until; each transaction has a
 * total deadline; every message assigned ends in exactly one OUTCOME (kept for leases until the shell drops them);
 * RCPTs are never more than the lease's count (a message that needs another attempt goes back). */
#ifndef REMUDA_NODE_WORKER_H
#define REMUDA_NODE_WORKER_H

#include <remuda/rng.h>
#include <remuda/sign.h>

#include "node/core/render.h"
#include "node/core/smtp.h"
#include "node/core/tls_policy.h"
#include "proto/site.h"

enum { RMD_WORKER_SITE_STOPS_MAX = 512 }; /* sites of a lane that are stopped; with one more, the lane is */

/* Messages between a node's core and its workers (a mailbox each way; in the simulator a plain queue). */
enum rmd_mail_kind {
    /* to a worker */
    RMD_MAIL_POLICY,   /* policy: complete; keys handle-loaded by the worker through the sign port */
    RMD_MAIL_TEMPLATE, /* template_hash, bytes */
    RMD_MAIL_LEASE,    /* lease with skip/started bitmaps from replay */
    RMD_MAIL_VALID,  /* valid_until_mono_ms for all leases of the session; 0: session lost, start nothing new after it
                      */
    RMD_MAIL_RECALL, /* recall */
    RMD_MAIL_SUPPRESS, /* suppress */
    RMD_MAIL_STOP,     /* finish open transactions, give back the rest, say STOPPED */
    /* from a worker */
    RMD_MAIL_RECALL_DONE,   /* id: nothing in its scope will start; all its outcomes were emitted before */
    RMD_MAIL_SUPPRESS_DONE, /* id: nothing open or startable for these addresses */
    RMD_MAIL_TROUBLE, /* source (0: none in particular), text ("" = mended): address not on this host, key unreadable,
                         ... */
    RMD_MAIL_PACE,    /* bytes: Pace, of lanes that changed */
    RMD_MAIL_STOPPED,
    RMD_MAIL_TLS, /* bytes: an encoded TlsRow of one session */
};

struct rmd_mail {
    enum rmd_mail_kind kind;
    uint64_t id;
    uint32_t source;
    int64_t valid_until_mono_ms;
    uint8_t template_hash[RMD_HASH_BYTES];
    struct rmd_slice
        bytes; /* TEMPLATE: compiled template; others: the encoded protobuf message named in the kind's comment */
    struct rmd_slice skip; /* LEASE: bitmap of indexes that are finished already */
    const char *text;
};

/* What is known of a domain's MTA-STS policy. */
struct rmd_sts_answer {
    const struct rmd_sts_policy *policy; /* NULL: none */
    int64_t expires_wall_ms;
    enum rmd_tls_result
        result; /* why there is none although the domain announces one; OK: it doesn't, or there is one */
    char why[RMD_STS_WHY];
};

enum rmd_worker_event_kind {
    RMD_WE_TICK,
    RMD_WE_MAIL,      /* mail */
    RMD_WE_MX,        /* name, mx */
    RMD_WE_ADDR,      /* name, addr */
    RMD_WE_TLSA,      /* name, tlsa */
    RMD_WE_STS,       /* name, sts */
    RMD_WE_CONNECTED, /* conn */
    RMD_WE_FAILED,    /* conn: dial failed or connection lost; error (own error), text */
    RMD_WE_TLS,       /* conn: ok, text, tls (protocol and cipher, or why it failed) */
    RMD_WE_BYTES,     /* conn, bytes */
    RMD_WE_SENT,      /* conn: everything given to SEND so far has left, and isn't looked at any more; needn't be told
                       * without a dot in it */
};

struct rmd_worker_event {
    enum rmd_worker_event_kind kind;
    struct rmd_time at;
    uint32_t conn;
    bool ok;
    enum rmd_own_error error;
    struct rmd_slice bytes;
    const char *text;
    const char *name;
    const struct rmd_mx_answer *mx;
    const struct rmd_addr_answer *addr;
    const struct rmd_tlsa_answer *tlsa;
    const struct rmd_sts_answer *sts;
    const struct rmd_tls_info *tls;
    const struct rmd_mail *mail;
};

enum rmd_worker_effect_kind {
    RMD_WF_MARK,    /* lease, index, mark: 1 started (before MAIL), 2 dot (before the dot) */
    RMD_WF_OUTCOME, /* outcome */
    RMD_WF_ALARM,   /* alarm (without n) */
    RMD_WF_MX,      /* name */
    RMD_WF_ADDR,    /* name */
    RMD_WF_TLSA,    /* name */
    RMD_WF_STS,     /* name: what is known of the domain's MTA-STS policy; answered once */
    RMD_WF_DIAL,    /* conn, source_addr (bind), dest_addr, port */
    RMD_WF_TLS,     /* conn, tls; resume sessions by (source, host, what is verified) */
    RMD_WF_SEND,    /* conn, bytes, dot */
    RMD_WF_CLOSE,   /* conn; its number may be used again for another DIAL. Exactly one for each DIAL, also after
                       RMD_WE_FAILED */
    RMD_WF_MAIL,    /* mail, to the node core */
};

struct rmd_worker_effect {
    enum rmd_worker_effect_kind kind;
    uint32_t conn;
    uint64_t lease;
    uint32_t index;
    int mark;
    bool dot;
    uint16_t port;
    struct rmd_addr source_addr, dest_addr;
    struct rmd_slice bytes;
    const char *name;
    const struct rmd_tls_spec *tls;
    const Remuda__Outcome *outcome;
    const Remuda__Alarm *alarm;
    struct rmd_mail mail;
};

struct rmd_worker_effects {
    struct rmd_worker_effect *v;
    size_t n, cap;
    struct rmd_arena arena; /* what the effects point to; reset by the owner before each step */
};
void rmd_worker_effects_reset(struct rmd_worker_effects *e);
void rmd_worker_effects_release(struct rmd_worker_effects *e);

struct rmd_worker_options {
    uint32_t index, workers;
    const struct rmd_sign_ops *sign;
    const struct rmd_rules *rules; /* shipped; replaced when a policy brings others: the shell compiles and passes
                                      them by rmd_worker_rules */
    uint64_t seed;
    uint32_t connection_limit;
    struct rmd_smtp_timeouts_ms timeouts;
    int64_t idle_close_ms; /* kept connections: how long unused */
    int64_t connect_timeout_ms;
    bool
        without_pace; /* measurements alone: verdicts of rate, rests and idleness change no pace. No configuration can */
    bool dane, mta_sts; /* are looked at; without: no TLSA and no STS effects */
    int64_t
        tls_downgrade_ms; /* how long a host whose TLS failed is spoken to in the clear; 0: RMD_TLS_DOWNGRADE_MS */
};

struct rmd_worker;
struct rmd_worker *rmd_worker_new(const struct rmd_worker_options *o);
void rmd_worker_free(struct rmd_worker *w);
void rmd_worker_rules(struct rmd_worker *w, const struct rmd_rules *rules);
int rmd_worker_step(struct rmd_worker *w, const struct rmd_worker_event *e,
                    struct rmd_worker_effects *out) RMD_CHECKED;
int64_t rmd_worker_deadline(const struct rmd_worker *w); /* mono_ms of the next tick that is needed */

/* For heartbeats and status; any time between steps. */
struct rmd_worker_stats {
    uint32_t connections, waiting, open_transactions;
    uint64_t delivered, bounced, deferred, uncertain, returned;
};
void rmd_worker_stats(const struct rmd_worker *w, struct rmd_worker_stats *out);

#endif
