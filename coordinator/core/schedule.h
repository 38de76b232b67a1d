/* When a campaign's recipients may be offered for the first time: from a start on, spread over a period, or in batches.
 *
 *   released(t) = 0                                            before the start
 *               = base + (rows - base) x share of the slices    spread: over_ms is cut into slices (RMD_SCHEDULE_SLICES of them, none
 *                                                               shorter than RMD_SCHEDULE_SLICE_MIN_MS); slice i is released when it begins
 *               = base + batch x (1 + full every_ms since)      in batches: the first one at once
 *               = all                                           otherwise, and when that passes rows
 *
 * A function of the record and of the wall clock, with nothing to remember: a restart releases nothing twice, and what is released is compared
 * with how many were offered, which the campaign's record counts in the batch of each lease. A clock that steps back makes the next release
 * wait, one that steps forward releases what is due by then; a campaign that has started stays started. Retries need no release.
 *
 * A change releases nothing by itself: what the old plan had released stays released, and the new one's first release comes when its own step
 * (every_ms, or a slice) is over since the old one's last. So a plan that is changed again and again releases at most one step in each of its
 * steps. A plan that had released everything (as one without a pace has) stands at what was offered, and at the moment of the change;
 * unless its pace stays as it is.
 *
 * Putting off is such a change: meanwhile nothing is offered, but what was released is still told as released, and when the next release was due
 * is kept beside the start, so that it is due then again when the start is taken back: at once, when that has passed.
 *
 * Age counts from the start: that is when the mail begins to wait for its receivers. Pure. Wall clock in milliseconds. */
#ifndef REMUDA_SCHEDULE_H
#define REMUDA_SCHEDULE_H

#include <base/text.h>

enum { RMD_SCHEDULE_SLICES = 360, RMD_SCHEDULE_SLICE_MIN_MS = 1000 };
#define RMD_SCHEDULE_AHEAD_MAX_MS (366 * INT64_C(86400000))

struct rmd_schedule {
    int64_t start_wall_ms; /* 0: at once */
    int64_t over_ms;       /* 0: not spread */
    uint64_t batch;        /* 0: no batches */
    int64_t every_ms;
};

/* As it runs: its first step is due at `from_wall_ms`, but not before its start; `base` recipients were released, or offered, by then. */
struct rmd_release {
    struct rmd_schedule s;
    int64_t from_wall_ms;
    uint64_t base, rows;
};

/* True when nothing is wrong; why says what and what to do. rows 0: not known yet. life_ms: how long mail may wait (0: no limit). */
bool rmd_schedule_check(const struct rmd_schedule *s, uint64_t rows, int64_t now_wall_ms, int64_t life_ms,
                        struct rmd_buf *why);
uint64_t rmd_release_at(const struct rmd_release *r, int64_t wall_ms);  /* recipients; UINT64_MAX: all */
int64_t rmd_release_next(const struct rmd_release *r, int64_t wall_ms); /* when it grows; RMD_NEVER */
int64_t rmd_release_end(const struct rmd_release *r);                   /* when all are released */

/* The plan that follows: s.start_wall_ms 0: no start of its own. begun: the old one has started, or something was offered. */
struct rmd_release rmd_release_changed(const struct rmd_release *old, const struct rmd_schedule *s, uint64_t offered,
                                       bool begun, int64_t now_wall_ms);

/* What people are told of it; recipients are never more than rows. */
struct rmd_forecast {
    uint64_t released, next; /* also when it is put off; next: how many the next release adds */
    int64_t next_wall_ms;    /* 0: there is none */
    int64_t all_wall_ms;
};
struct rmd_forecast rmd_release_forecast(const struct rmd_release *r, int64_t now_wall_ms);

#endif
