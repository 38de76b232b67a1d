/* Node core: session with the coordinator, leases, journal numbers, reports, recalls, templates. Pure and stepped.
 *
 * States of the session: START -> HELLO (said, repeated every 2 s) -> SERVING (welcomed) -> HELLO again after a
 * silence of ten heartbeats or a Refused or a Welcome of another epoch. In SERVING a Heartbeat leaves every
 * second; each echo renews the validity of all leases: echo + lease_valid_ms (the node's own clock). Leases not in
 * Welcome.lease_live are dropped: unstarted messages come back as outcomes (returned), which are reported all the
 * same.
 *
 * The journal (io) keeps: uuid, lease parts, templates, marks, outcomes by n, alarms by n, recalls answered. Its
 * content is replayed at start as events, in this order: JOURNAL_OPEN, then REPLAY_TEMPLATE*, REPLAY_LEASE*,
 * REPLAY_OUTCOME*, REPLAY_ALARM*, REPLAY_END. From marks: a message with mark 2 and no outcome becomes an outcome
 * "uncertain" (rcpts 1); with mark 1 and no outcome: "returned", reason crashed, rcpts 1; without a mark: it starts
 * anew when its lease is still live.
 *
 * A lease becomes startable (RMD_MAIL_LEASE to its worker) when all its parts and its template are in the journal.
 * Parts are kept in memory until the last one is there, and then journaled together: an incomplete lease was never
 * received. A LeaseAck with the lease's id says that all of it is in the journal; other window (earlier parts,
 * repeats, chunks of templates) is given back by a LeaseAck with id 0. An id at or below the high-water mark that
 * isn't in the journal is refused, unless it is known to have been passed over by a later one in this same session.
 *
 * A Welcome with replay_from: the coordinator's store is older than this journal. The shell gives REWIND, the outcomes from that number on as
 * REPLAY_OUTCOME, and REWOUND; they are reported again, and acknowledged outcomes count as unacknowledged until then.
 *
 * Templates: a worker gets RMD_MAIL_TEMPLATE before a lease that needs it, unless another unfinished lease with it
 * uses the same one. The node forgets a template that no lease has used for RMD_NODE_TEMPLATE_KEEP_MS. */
#ifndef REMUDA_NODE_CORE_H
#define REMUDA_NODE_CORE_H

#include "node/core/worker.h"

enum {
    RMD_NODE_REFUSED_MS = 30000, /* between Hellos after a refusal that only a person can mend */
    RMD_NODE_STOP_MS = 9000,     /* an orderly end takes no longer */
    RMD_NODE_TEMPLATE_KEEP_MS = 3600000,
    RMD_NODE_TEMPLATE_BYTES_MAX = 64 << 20,
    RMD_NODE_TEMPLATES_UNUSED_MAX = 512, /* that no lease uses; the oldest go */
    RMD_NODE_LEASE_PARTS_MAX = 256,
    RMD_NODE_LEASE_ROWS_MAX = 100000,
    RMD_NODE_PARTIAL_BYTES_MAX = 64 << 20, /* all incomplete leases together */
    RMD_NODE_SUPPRESS_KEEP_MS = 3600000,   /* a lease that was overtaken by a suppression is checked for so long */
    RMD_NODE_SUPPRESS_MAX = 1000000,
    RMD_NODE_RECALLS_MAX = 10000,
    RMD_NODE_HELLO_ALARMS = 256,  /* in one Hello; the rest follows as frames */
    RMD_NODE_HEARTBEAT_MS = 1000, /* unless the options say otherwise */
    RMD_NODE_NOT_READY_MS = 500,  /* after a coordinator that is starting said so: it won't take long */
    RMD_NODE_HELLO_MS = 2000,
    RMD_NODE_SILENCE_BEATS = 10, /* the coordinator counts as gone after a silence of so many heartbeats */
    RMD_NODE_SILENCE_MS = RMD_NODE_SILENCE_BEATS * RMD_NODE_HEARTBEAT_MS,
    RMD_NODE_LEASES_MAX = 100000,
    RMD_NODE_REPORT_MAX = 1000,     /* outcomes in one Report */
    RMD_NODE_REPORT_DELAY_MS = 100, /* each Report is a frame, a commit and an answer: gathered, they cost less */
    RMD_NODE_REPORTS_IN_FLIGHT = 8,
    RMD_NODE_REPEAT_MS = 5000, /* unacknowledged reports, alarms, answers are sent again */
};

enum rmd_node_event_kind {
    RMD_NE_JOURNAL_OPEN, /* uuid, boot_id, position (last n), reported (acked n), alarm position in id, high_water */
    RMD_NE_REPLAY_TEMPLATE, /* hash, bytes */
    RMD_NE_REPLAY_LEASE,   /* lease (all parts joined), marks: 2 bits an index (0, 1, 2), outcomes: bitmap of finished
                              indexes */
    RMD_NE_REPLAY_OUTCOME, /* n, outcome: not acknowledged yet */
    RMD_NE_REPLAY_ALARM,   /* n, alarm: not acknowledged yet */
    RMD_NE_REPLAY_END,
    RMD_NE_REWIND, /* n: outcomes from n on follow */
    RMD_NE_REWOUND,
    RMD_NE_TICK,
    RMD_NE_FRAME,   /* frame; NULL: one that could not be decoded, which is counted */
    RMD_NE_OUTCOME, /* n, outcome: just journaled by the shell for a worker (or for an OUTCOME effect of this core) */
    RMD_NE_ALARM,   /* n, alarm: likewise */
    RMD_NE_MAIL,    /* mail, worker */
    RMD_NE_SYNCED,  /* token: a SYNC effect is done */
    RMD_NE_STATS,   /* stats summed over workers, for heartbeats */
    RMD_NE_LOOKED_UP, /* token, addr or txt: a LOOKUP effect is done */
    RMD_NE_STOP,      /* orderly end: recall everything, report, Bye */
};

struct rmd_node_event {
    enum rmd_node_event_kind kind;
    struct rmd_time at;
    uint8_t uuid[RMD_UUID_BYTES], boot_id[RMD_UUID_BYTES], hash[RMD_HASH_BYTES];
    uint64_t n, position, reported, high_water, alarms;
    uint64_t token;
    uint32_t worker;
    const Remuda__Frame *frame;
    const Remuda__Lease *lease;
    const Remuda__Outcome *outcome;
    const Remuda__Alarm *alarm;
    const struct rmd_mail *mail;
    struct rmd_slice marks, outcomes, bytes;
    struct rmd_worker_stats stats;
    const struct rmd_addr_answer *addr;
    const struct rmd_txt_answer *txt;
};

enum rmd_node_effect_kind {
    RMD_NF_SEND,                  /* frame: to the coordinator */
    RMD_NF_MAIL,                  /* mail, worker */
    RMD_NF_JOURNAL_LEASE,         /* bytes: encoded Lease (one part), lease id, part; raises the high-water mark */
    RMD_NF_JOURNAL_TEMPLATE,      /* hash, bytes (whole, hash verified) */
    RMD_NF_JOURNAL_TEMPLATE_DROP, /* hash: no lease uses it any more */
    RMD_NF_JOURNAL_OUTCOME,       /* outcome: journal it, then come back with RMD_NE_OUTCOME */
    RMD_NF_JOURNAL_DROP,  /* lease: finished and acknowledged; may be trimmed (the shell keeps it for the retention
                             time) */
    RMD_NF_JOURNAL_ACKED, /* n: outcomes up to n are acknowledged */
    RMD_NF_JOURNAL_ALARM_ACKED, /* n */
    RMD_NF_SYNC,                /* token: fsync everything journaled so far, then RMD_NE_SYNCED */
    RMD_NF_REPLAY,              /* n: in later steps REWIND, what the journal has from n on, REWOUND */
    RMD_NF_RULES,               /* bytes: operator's rules in the policy changed */
    RMD_NF_LOOKUP, /* text: a name; txt: its TXT record, else its addresses, as they come; token. May hold a key: not for logs */
    RMD_NF_STOPPED, /* the process may end */
    RMD_NF_LOG,     /* text for the operator */
};

struct rmd_node_effect {
    enum rmd_node_effect_kind kind;
    const Remuda__Frame *frame;
    struct rmd_mail mail;
    uint32_t worker;
    uint64_t lease, n, token;
    uint32_t part;
    struct rmd_slice bytes;
    uint8_t hash[RMD_HASH_BYTES];
    const Remuda__Outcome *outcome;
    const char *text;
    bool warning; /* LOG: somebody should look at it */
    bool txt;
};

/* JOURNAL_* effects of a step survive a process crash before any SEND or MAIL of that step is carried out. */
struct rmd_node_effects {
    struct rmd_node_effect *v;
    size_t n, cap;
    struct rmd_arena arena;
};
void rmd_node_effects_reset(struct rmd_node_effects *e);
void rmd_node_effects_release(struct rmd_node_effects *e);

struct rmd_node_options {
    uint32_t workers;
    const char *hostname;
    const char *const *address; /* plumbed addresses, NULL-terminated */
    uint32_t connection_limit;
    const char *software;
    const struct rmd_sign_ops *sign; /* SHA-256 of templates */
    int64_t heartbeat_ms;            /* 0: RMD_NODE_HEARTBEAT_MS; simulations of weeks beat more slowly */
};

struct rmd_node;
struct rmd_node *rmd_node_new(const struct rmd_node_options *o);
void rmd_node_free(struct rmd_node *n);
int rmd_node_step(struct rmd_node *n, const struct rmd_node_event *e, struct rmd_node_effects *out) RMD_CHECKED;
int64_t rmd_node_deadline(const struct rmd_node *n);
bool rmd_node_serving(const struct rmd_node *n);

#endif
