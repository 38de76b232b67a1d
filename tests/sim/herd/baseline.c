/* The four baselines as settings of the same mail server (baseline.h), and their parameters, which a search may tune. */
#include "tests/sim/herd/baseline.h"

enum { MINUTE = 60000 };

/* What nobody tunes, or one of them doesn't. */
static struct mta_settings usual(void) {
    return (struct mta_settings){
        .backoff_ms = 15 * MINUTE,
        .backoff_most_ms = 4 * (int64_t)HERD_HOUR_MS,
        .lifetime_ms = 5 * (int64_t)HERD_DAY_MS,
        .concurrency = 5,
        .messages = 50,
        .suppress_after = 3,
        .rate_other = 200,
        .published = true,
    };
}

#define COMMON_BACKOFF \
    { "backoff", "minutes until the first retry; doubles up to 4 hours", 1, 240, 15, true }
#define COMMON_RATE \
    { "rate", "messages an hour from one source to one provider", 20, 5000, 600, true }

/* ---- 1: a stock MTA over several addresses */

static const struct herd_param round_robin_params[] = {
    {"minimal_backoff", "seconds until the first retry; then as long as the message is old", 60, 7200, 300, true},
    {"maximal_backoff", "seconds, the longest time between retries", 600, 28800, 4000, true},
    {"concurrency", "connections of one source to one site", 1, 20, 20, true},
    {"messages", "messages of a connection", 1, 200, 100, true},
    {"suppress_after", "bounces of an address, other than unknown users', that suppress it", 1, 5, 2, false},
};

static int round_robin_run(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
                           struct rmd_buf *err) {
    int64_t v[HERD_PARAMS_MAX];
    int rc = herd_params(&herd_round_robin, set, n_set, v, err);
    if (rc < 0)
        return rc;
    (void)more;
    struct mta_settings s = usual();
    s.backoff_ms = v[0] * 1000;
    s.backoff_most_ms = v[1] * 1000;
    s.concurrency = v[2];
    s.messages = v[3];
    s.suppress_after = v[4];
    s.rate_other = 0;
    s.published = false;
    return mta_run(w, &s, err);
}

const struct herd_sender herd_round_robin = {
    "round-robin", "round robin over the addresses with fixed retries, as a stock MTA does", round_robin_params,
    sizeof round_robin_params / sizeof *round_robin_params, round_robin_run};

/* ---- 2: rates that somebody set once */

static const struct herd_param fixed_rate_params[] = {
    COMMON_RATE,
    {"rate_other", "messages an hour from one source to a site of no configured provider", 10, 2000, 200, true},
    {"concurrency", "connections of one source to one site", 1, 20, 5, true},
    {"messages", "messages of a connection", 1, 200, 50, true},
    COMMON_BACKOFF,
    {"suppress_after", "bounces of an address, other than unknown users', that suppress it", 1, 5, 3, false},
};

static int fixed_rate_run(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
                          struct rmd_buf *err) {
    int64_t v[HERD_PARAMS_MAX];
    int rc = herd_params(&herd_fixed_rate, set, n_set, v, err);
    if (rc < 0)
        return rc;
    (void)more;
    struct mta_settings s = usual();
    s.rate = v[0];
    s.rate_other = v[1];
    s.concurrency = v[2];
    s.messages = v[3];
    s.backoff_ms = v[4] * MINUTE;
    s.suppress_after = v[5];
    return mta_run(w, &s, err);
}

const struct herd_sender herd_fixed_rate = {"fixed-rate", "fixed rates for each provider and source",
                                            fixed_rate_params, sizeof fixed_rate_params / sizeof *fixed_rate_params,
                                            fixed_rate_run};

/* ---- 3: a warm-up by the calendar */

static const struct herd_param time_warmup_params[] = {
    {"start", "messages from a new source to one provider on its first day", 20, 2000, 100, true},
    {"growth", "per cent of the day before that each day may have", 105, 200, 140, false},
    {"hour_share", "per cent of a day's messages in an hour", 5, 100, 20, true},
    {"engaged_first", "1: a campaign begins with those who clicked last", 0, 1, 1, false},
    COMMON_RATE,
    COMMON_BACKOFF,
};

static int time_warmup_run(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
                           struct rmd_buf *err) {
    int64_t v[HERD_PARAMS_MAX];
    int rc = herd_params(&herd_time_warmup, set, n_set, v, err);
    if (rc < 0)
        return rc;
    (void)more;
    struct mta_settings s = usual();
    s.warm_start = v[0];
    s.warm_growth = v[1];
    s.warm_hour = v[2];
    s.engaged_first = v[3];
    s.rate = v[4];
    s.backoff_ms = v[5] * MINUTE;
    return mta_run(w, &s, err);
}

const struct herd_sender herd_time_warmup = {
    "time-warmup",
    "daily caps of new sources that grow by the calendar, with fixed rates; overflow to warm sources, else it waits",
    time_warmup_params, sizeof time_warmup_params / sizeof *time_warmup_params, time_warmup_run};

/* ---- 4: suspensions of a fixed length */

static const struct herd_param suspension_params[] = {
    {"suspend_rate", "minutes that a route rests after replies that ask for it", 1, 480, 30, true},
    {"suspend_block", "hours that a route rests after a reply that it is blocked", 1, 96, 12, true},
    {"trigger", "such replies within 10 minutes that begin a rest", 1, 20, 3, true},
    {"slow", "per cent of the rate after a rest, for as long as it was", 5, 100, 50, true},
    COMMON_RATE,
    COMMON_BACKOFF,
};

static int suspension_run(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
                          struct rmd_buf *err) {
    int64_t v[HERD_PARAMS_MAX];
    int rc = herd_params(&herd_suspension, set, n_set, v, err);
    if (rc < 0)
        return rc;
    (void)more;
    struct mta_settings s = usual();
    s.suspend_rate_ms = v[0] * MINUTE;
    s.suspend_block_ms = v[1] * HERD_HOUR_MS;
    s.trigger = v[2];
    s.slow = v[3];
    s.rate = v[4];
    s.backoff_ms = v[5] * MINUTE;
    return mta_run(w, &s, err);
}

const struct herd_sender herd_suspension = {
    "suspension",
    "rules that suspend a source at a provider for a fixed time when its replies ask for it, with fixed rates",
    suspension_params, sizeof suspension_params / sizeof *suspension_params, suspension_run};
