/* A mail server of the usual kind, to compare with: queue, routes (source x site), connections, retries, bounces, suppression list. What the four baselines
 * differ in is a policy (baseline.c): when a message may be put on a route, how far apart messages leave, and what a reply does to the route. mta.c runs it.
 *
 * All of them are honest and sane: they keep connections open for several messages, keep to the concurrency they are set to, back off message by message, treat a
 * refusal in the greeting as temporary (as Postfix does), bounce on other 5xx, suppress unknown users at once and others after some bounces, and
 * suppress who complains. All but the stock MTA know the limits of connections that senders share about each provider. They see codes and texts, never the
 * world. */
#ifndef REMUDA_HERD_BASELINE_H
#define REMUDA_HERD_BASELINE_H

#include "tests/sim/herd/model.h"

struct mta_settings { /* of a run; what a policy doesn't tune has its default here */
    int64_t backoff_ms, backoff_most_ms, lifetime_ms;
    int64_t concurrency, messages; /* of a route; of a connection */
    bool
        published; /* connections and messages a connection stay below what senders share about each provider (Remuda's shipped limits) */
    int64_t suppress_after;   /* bounces, other than of unknown users */
    int64_t rate, rate_other; /* messages an hour of a route; 0: no limit. other: sites of no configured provider */
    int64_t warm_start, warm_growth,
        warm_hour; /* cap of the first day; per cent of the day before; per cent of a day in an hour. 0: no warm-up */
    bool engaged_first;
    int64_t suspend_rate_ms, suspend_block_ms, trigger,
        slow; /* 0: no suspensions; slow: per cent of the rate for as long afterwards */
};

struct mta_route { /* source at a site */
    uint32_t source, site;
    struct mta_message *first, *last;
    uint64_t queued;
    int64_t conns, next_mail_ms, dead_until_ms;
    int64_t suspended_until_ms, slow_until_ms, trigger_ms, triggers;
    struct mta_wake *wake;
};

int mta_run(struct herd_world *w, const struct mta_settings *s, struct rmd_buf *err) RMD_CHECKED;

#endif
