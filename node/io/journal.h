/* The node's journal: what must survive a crash of the process, and, once synced, a loss of the host (design,
 * sections 5 and 6).
 *
 * A port with two implementations: RocksDB (rmd_journal_open) and the simulator's in tests/kit/journal_fake.h. One
 * process at a time has it open; a second one is told RMD_EBUSY.
 *
 * append() writes all records of a call in one atomic piece, which survives a crash of the process when the call
 * returns, though not a loss of the host. It is thread-safe: workers and the node core write side by side. OUTCOME
 * and ALARM records get their numbers there: each kind rises by one, without holes, in the order in which they were
 * written. sync() makes everything that was appended before it durable. RMD_EFULL, RMD_EIO: nothing of the call was
 * written; the same call may be made again, and works when the cause is gone (each try opens the database anew).
 *
 * Another boot: when the journal was last open in another boot of the host, what was not synced may be gone, marks
 * included. open() then takes a new uuid, and gives every unfinished message of every lease the mark 2, durably: no
 * dot can be excluded. Numbers go on.
 *
 * Retention: a dropped lease may go at once. Outcomes stay `keep_ms` after they were written and until they are
 * acknowledged; trim() removes them by ranges. A template stays until it is dropped.
 *
 * replay_outcomes() gives the outcomes from a number on, acknowledged or not, as RMD_NE_REPLAY_OUTCOME.
 *
 * replay() gives the events of node.h from JOURNAL_OPEN to REPLAY_END in their order, `at` unset; what they point to
 * lives during the call of fn. The age_ms of a replayed alarm counts from when it was written. */
#ifndef REMUDA_NODE_JOURNAL_H
#define REMUDA_NODE_JOURNAL_H

#include <remuda/clock.h>

#include "node/core/node.h"

enum { RMD_JOURNAL_KEEP_MS = 172800000 };

enum rmd_journal_kind {
    RMD_JR_LEASE,         /* lease, index = part, bytes: the encoded part; raises the high-water mark */
    RMD_JR_MARK,          /* lease, index, mark */
    RMD_JR_OUTCOME,       /* lease, index, bytes: the encoded Outcome; n is filled in */
    RMD_JR_ALARM,         /* bytes: the encoded Alarm; n is filled in */
    RMD_JR_TEMPLATE,      /* hash, bytes */
    RMD_JR_TEMPLATE_DROP, /* hash */
    RMD_JR_LEASE_DROP,    /* lease */
    RMD_JR_ACKED,         /* n */
    RMD_JR_ALARM_ACKED,   /* n */
};

struct rmd_journal_record {
    enum rmd_journal_kind kind;
    uint64_t lease, n;
    uint32_t index;
    uint8_t mark;
    const uint8_t *hash; /* RMD_HASH_BYTES */
    struct rmd_slice bytes;
};

typedef void (*rmd_replay_fn)(void *ctx, const struct rmd_node_event *e);

struct rmd_journal_ops {
    int (*append)(void *j, struct rmd_journal_record *records, size_t n) RMD_CHECKED;
    int (*sync)(void *j) RMD_CHECKED;
    int (*replay)(void *j, rmd_replay_fn fn, void *ctx) RMD_CHECKED;
    int (*replay_outcomes)(void *j, uint64_t from, rmd_replay_fn fn, void *ctx) RMD_CHECKED;
    int (*trim)(void *j) RMD_CHECKED;
    /* Why the last call failed, for the operator. Thread-safe; at most n bytes. */
    void (*trouble)(void *j, char *out, size_t n);
    void (*close)(void *j);
};

struct rmd_journal {
    const struct rmd_journal_ops *ops;
    void *j;
};

struct rmd_journal_options {
    const char *directory; /* made when it isn't there, mode 0700 */
    int64_t keep_ms;
    const struct rmd_clock *clock;
};

/* RMD_EBUSY, RMD_EFULL, RMD_EIO, RMD_ECORRUPT, RMD_EVERSION with err for the operator. */
int rmd_journal_open(const struct rmd_journal_options *o, struct rmd_journal *out, char *err,
                     size_t err_n) RMD_CHECKED;

#endif
