/* Named probes: the places of the crash table (design, section 6) in the production binary.
 *
 * A probe costs one load and a compare. When the environment variable REMUDA_PROBE names it at start ("name" or
 * "name:n" for the n-th passage), the process stops itself there with SIGSTOP, after writing "probe NAME reached" to
 * standard error; a test waits for the stop and kills it. Only shells call it, never a core. */
#ifndef REMUDA_PROBE_H
#define REMUDA_PROBE_H

#define RMD_PROBES(X)                                                                                      \
    X(SUBMIT_PARTLY_STORED, "submit.partly-stored")                                                        \
    X(SUBMIT_ANSWERED, "submit.answered")                                                                  \
    X(LEASE_BUILT, "lease.built")             /* coordinator: lease in a batch that isn't durable */       \
    X(LEASE_PERSISTED, "lease.persisted")     /* coordinator: durable, not sent */                         \
    X(LEASE_RECEIVED, "lease.received")       /* node: in the journal, not started */                      \
    X(TRANSACTION_OPEN, "transaction.open")   /* node: MAIL sent, no dot */                                \
    X(DOT_SENT, "dot.sent")                   /* node: dot sent, reply not read */                         \
    X(REPLY_READ, "reply.read")               /* node: outcome in the journal, not reported */             \
    X(VERDICT_READ, "verdict.read")           /* node: blocking verdict in the journal, not alarmed */     \
    X(REPORT_SENT, "report.sent")             /* node: report sent, no acknowledgement */                  \
    X(REPORT_SETTLED, "report.settled")       /* coordinator: settle durable, acknowledgement not sent */  \
    X(RECALL_RECEIVED, "recall.received")     /* node: recall read, nothing written */                     \
    X(RECALL_GIVEN_BACK, "recall.given-back") /* node: answer synced, not sent */                          \
    X(RECALL_SETTLED, "recall.settled")       /* coordinator: give-back durable */                         \
    X(SUPPRESS_SYNCED, "suppress.synced")     /* coordinator: durable, not confirmed by nodes */           \
    X(QUARANTINE_SYNCED, "quarantine.synced") /* coordinator: durable, effects not sent */                 \
    X(CANCEL_SYNCED, "cancel.synced")         /* coordinator: pause or cancel durable, effects not sent */ \
    X(SETTLED, "settled")                     /* coordinator: settled, history not yet written */

enum rmd_probe {
#define RMD_PROBE_ENUM(id, name) RMD_PROBE_##id,
    RMD_PROBES(RMD_PROBE_ENUM)
#undef RMD_PROBE_ENUM
        RMD_PROBE_COUNT
};

extern int rmd_probe_armed; /* -1: none */
void rmd_probe_init(void);  /* reads REMUDA_PROBE; ends the program when the name is unknown */
void rmd_probe_hit(enum rmd_probe p);

static inline void rmd_probe(enum rmd_probe p) {
    if (__builtin_expect(rmd_probe_armed == (int)p, 0))
        rmd_probe_hit(p);
}

#endif
