/* What a lane usually sends in a day, and why it shouldn't suddenly send many times that (see usual.h). */
#include "coordinator/core/core.h"

const char rmd_why_usual[] = "it has sent more than it usually does: lanes below that come first",
           rmd_why_rests[] =
               "waits for lanes that rest: this one has sent more than it usually does, and isn't pushed further";

static uint32_t day_of(const struct rmd_coord *c) {
    return (uint32_t)(c->ledger.now_ms / RMD_LEDGER_WINDOW_MS);
}

static uint64_t sent(const struct rmd_coord *c, const struct rmd_lane *l) {
    return rmd_account_between(l->account, c->ledger.now_ms - RMD_USUAL_WINDOW_MS, INT64_MAX);
}

uint64_t rmd_usual_of(const struct rmd_coord *c, const struct rmd_lane *l) {
    uint64_t most = 0;
    uint32_t age = day_of(c) - l->usual.day;
    for (uint32_t i = 0; age < RMD_PEAK_DAYS && i + age < RMD_PEAK_DAYS; i++)
        if (i + age > 0) /* today is no habit yet */
            most = l->usual.most[i] > most ? l->usual.most[i] : most;
    return most;
}

void rmd_usual_tick(struct rmd_coord *c, struct rmd_lane *l) {
    struct rmd_usual *u = &l->usual;
    uint64_t now = sent(c, l);
    now = now < UINT32_MAX ? now : UINT32_MAX;
    if (!now)
        return;
    if (u->day != day_of(c)) {
        uint32_t by = day_of(c) - u->day;
        for (uint32_t i = RMD_PEAK_DAYS; i-- > 0;)
            u->most[i] = by <= i ? u->most[i - by] : 0;
        u->day = day_of(c);
    }
    if (now <= u->most[0])
        return;
    u->most[0] = (uint32_t)now;
    l->source->dirty = c->sources_dirty = true;
}

/* Lanes that warm up have their plan for it. */
static bool free_of_it(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *l) {
    return !c->o.usual.percent || (c->o.without & RMD_WITHOUT_CONCENTRATION) || q->stream->rec->priority == 0 ||
           rmd_warm_is_cold(l->warm);
}

static uint64_t first_level(const struct rmd_coord *c, const struct rmd_lane *l) {
    uint64_t usual = rmd_usual_of(c, l) * c->o.usual.percent / 100;
    return usual > c->o.usual.floor ? usual : c->o.usual.floor;
}

struct rmd_usual_at rmd_usual_at(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *l) {
    struct rmd_usual_at at = {0, UINT64_MAX};
    if (free_of_it(c, q, l))
        return at;
    uint64_t limit = first_level(c, l);
    limit = limit ? limit : 1;
    uint64_t used = sent(c, l) + l->account->outstanding;
    for (; at.level < RMD_USUAL_LEVELS - 1 && used >= limit; at.level++)
        limit *= 2;
    if (used < limit)
        at.room = limit - used;
    return at;
}

uint32_t rmd_usual_bound(const struct rmd_coord *c, struct rmd_pq *q) {
    size_t rest = 0, stopped = c->o.usual.percent ? rmd_look_stopped(c, q) : 0;
    uint32_t level = 0;
    for (size_t i = 0; i < stopped; i++) {
        const struct rmd_lane *l = q->look.stopped[i];
        if (l->state != RMD_LANE_RESTING || free_of_it(c, q, l))
            continue;
        uint32_t its = rmd_usual_at(c, q, l).level;
        level = its > level ? its : level;
        rest++;
    }
    return rest && rest * RMD_USUAL_RESTING_PART >= q->n_candidates ? level : RMD_USUAL_LEVELS;
}

const char *rmd_usual_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l) {
    uint32_t level = rmd_usual_at(c, q, l).level;
    if (level > rmd_usual_bound(c, q))
        return rmd_why_rests;
    return NULL;
}

/* ---------------------------------------------------------------- records: beside the peaks (growth.c) */

void rmd_usual_write(const struct rmd_lane *l, Remuda__LanePeak *p) {
    p->usual_day = l->usual.day;
    p->usual = rmd_memdup(l->usual.most, sizeof l->usual.most);
    p->n_usual = RMD_PEAK_DAYS;
}

void rmd_usual_read(struct rmd_lane *l, const Remuda__LanePeak *p) {
    l->usual = (struct rmd_usual){.day = p->usual_day};
    for (size_t k = 0; k < p->n_usual && k < RMD_PEAK_DAYS; k++)
        l->usual.most[k] = p->usual[k];
}
