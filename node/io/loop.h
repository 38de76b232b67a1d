/* One worker thread: an epoll loop around a worker core (node/core/worker.h), its connections, its DNS and its
 * mailbox.
 *
 * Everything inside belongs to the thread. From outside: letters in, letters out, statistics, and the end. Effects
 * are carried out as worker.h says: what a step writes goes to the journal in one piece first, then its outcomes and
 * alarms go to the node core, then the rest follows in order. One connection hands over at most RMD_DIAL_READ_BYTES
 * before the others have their turn. */
#ifndef REMUDA_NODE_LOOP_H
#define REMUDA_NODE_LOOP_H

#include <remuda/clock.h>

#include "node/io/journal.h"
#include "node/io/mailbox.h"
#include "node/io/sts.h"
#include "proto/io/dns_cares.h"

struct rmd_loop_options {
    struct rmd_worker_options worker; /* rules: set by the loop */
    struct rmd_rules_ref *rules;      /* the loop takes a use of its own */
    struct rmd_dns_cares_options dns;
    struct rmd_journal *journal;
    const struct rmd_clock *clock;
    struct rmd_mailbox *core;    /* letters to the node core */
    const char *ca_file;         /* authorities for verified TLS; "": the system's */
    struct rmd_sts_service *sts; /* NULL: MTA-STS isn't looked at */
};

struct rmd_loop;

/* Starts the thread. RMD_EIO with err for the operator. */
int rmd_loop_start(const struct rmd_loop_options *o, struct rmd_loop **out, char *err, size_t err_n) RMD_CHECKED;
void rmd_loop_mail(struct rmd_loop *l, const struct rmd_mail *mail);
/* From any thread: what the MTA-STS service knows. */
void rmd_loop_sts(struct rmd_loop *l, const char *domain, const struct rmd_sts_answer *a);
void rmd_loop_rules(struct rmd_loop *l, struct rmd_rules_ref *rules); /* a use of it passes to the loop */
bool rmd_loop_full(struct rmd_loop *l);                               /* its mailbox is */
void rmd_loop_stats(struct rmd_loop *l, struct rmd_worker_stats *out);
/* Ends the thread after the step it is in, closes its connections, frees everything. */
void rmd_loop_stop(struct rmd_loop *l);

#endif
