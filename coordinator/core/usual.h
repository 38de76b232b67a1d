/* The usual: what a lane sent on the busiest of its last seven days. Only state.h includes this.
 *
 * Receivers look askance at a source that suddenly sends many times what it is known for ("never double at once"), and concentration would do
 * just that with the first big campaign. So the dealing goes by levels: a lane that sent less than usual.percent (150) of its usual in the
 * last hours is at level 0, below twice that at 1, and so on. Lanes of a lower level come first, in the order of preference among their like: what is
 * more than usual is shared by the whole pool, and small volumes (usual.floor recipients a day, 200) still go to the fewest lanes. It never strands
 * mail: when all are at a higher level, that level has its turn.
 *
 * But for one case. A lane that a receiver throttles (it rests) says what that receiver takes at the moment: while a quarter of the queue's
 * lanes rest, the others don't go to a higher level than those had reached. What is more waits until they are back, which is a matter of
 * minutes or hours: deferrals of several sources that pile onto the next one get that throttled, too. Campaigns that end soon don't wait.
 *
 * Streams of priority 0 and lanes that warm up (they have their plan) know none of this. Measured in windows of RMD_USUAL_WINDOW_MS, less than a day,
 * so that yesterday's mail of this hour isn't today's. */
#ifndef REMUDA_COORDINATOR_USUAL_H
#define REMUDA_COORDINATOR_USUAL_H

#include <remuda/types.h>

#include "coordinator/core/moving.h"

struct _Remuda__LanePeak;

enum {
    RMD_USUAL_WINDOW_MS = 20 * 3600 * 1000,
    RMD_USUAL_LEVELS = 24,      /* each is twice the one before: the last has no end */
    RMD_USUAL_RESTING_PART = 4, /* one in so many lanes that rest holds the others back */
    RMD_USUAL_WAKE_MS = 5 * 60 * 1000,
};

/* Most recipients within a window, on each day of ledger time; most[0] is of `day`. */
struct rmd_usual {
    uint32_t day;
    uint32_t most[RMD_PEAK_DAYS];
};

struct rmd_usual_at {
    uint32_t level;
    uint64_t room; /* until the next one; UINT64_MAX: it has no end */
};

extern const char rmd_why_usual[], rmd_why_rests[];

uint64_t rmd_usual_of(const struct rmd_coord *c, const struct rmd_lane *l); /* today apart */
void rmd_usual_tick(struct rmd_coord *c, struct rmd_lane *l);
struct rmd_usual_at rmd_usual_at(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *l);
/* The highest level that lanes of this queue may be at and get work; RMD_USUAL_LEVELS: any. */
uint32_t rmd_usual_bound(const struct rmd_coord *c, struct rmd_pq *q);
const char *rmd_usual_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l); /* NULL: nothing holds it */
void rmd_usual_write(const struct rmd_lane *l, struct Remuda__LanePeak *p);
void rmd_usual_read(struct rmd_lane *l, const struct Remuda__LanePeak *p);

#endif
