/* How much a lane sent of late: the busiest hour of each of seven days, from the ledger's buckets. */
#include "coordinator/core/core.h"

enum { BUCKETS_AN_HOUR = RMD_LEDGER_HOUR_MS / RMD_LEDGER_BUCKET_MS };

int64_t rmd_moving_now(const struct rmd_coord *c) {
    return c->ledger.now_ms ? c->ledger.now_ms : 1;
}

static uint32_t day_of(const struct rmd_coord *c) {
    return (uint32_t)(c->ledger.now_ms / RMD_LEDGER_WINDOW_MS);
}

uint64_t rmd_peak_of(const struct rmd_coord *c, const struct rmd_lane *l) {
    uint64_t most = 0;
    uint32_t age = day_of(c) - l->peak.day;
    for (uint32_t i = 0; age < RMD_PEAK_DAYS && i + age < RMD_PEAK_DAYS; i++)
        most = l->peak.most[i] > most ? l->peak.most[i] : most;
    return most;
}

uint64_t rmd_growth_of(const struct rmd_coord *c, uint64_t peak, uint64_t least) {
    const struct rmd_failover_settings *f = &c->o.failover;
    if (!f->growth_percent || (c->o.without & RMD_WITHOUT_CANARY))
        return UINT64_MAX;
    uint64_t limit = peak * f->growth_percent / 100;
    limit = limit > f->growth_floor ? limit : f->growth_floor;
    return limit > least ? limit : least;
}

static void turn(struct rmd_peak *p, uint32_t day) {
    uint32_t by = day - p->day;
    for (uint32_t i = RMD_PEAK_DAYS; i-- > 0;)
        p->most[i] = by <= i ? p->most[i - by] : 0;
    p->day = day;
}

static void dirty(struct rmd_coord *c, struct rmd_lane *l) {
    l->source->dirty = c->sources_dirty = true;
}

/* Hours that ended with a bucket that is an hour old now. */
void rmd_peak_tick(struct rmd_coord *c, struct rmd_lane *l) {
    struct rmd_peak *p = &l->peak;
    const struct rmd_account *a = l->account;
    uint32_t now = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
    if (a->n == a->head || now < 2 * BUCKETS_AN_HOUR)
        return;
    uint32_t end = now - BUCKETS_AN_HOUR, oldest = end > 11 * BUCKETS_AN_HOUR ? end - 11 * BUCKETS_AN_HOUR : 0;
    uint64_t most = 0;
    for (uint32_t e = p->seen > oldest ? p->seen + 1 : oldest + 1; e <= end; e++) {
        int64_t from = (int64_t)(e - BUCKETS_AN_HOUR) * RMD_LEDGER_BUCKET_MS;
        if (e < BUCKETS_AN_HOUR)
            continue;
        if (from < l->back.ramp_ledger_ms)
            from = l->back.ramp_ledger_ms;
        uint64_t n = rmd_account_between(a, from, (int64_t)e * RMD_LEDGER_BUCKET_MS);
        most = n > most ? n : most;
    }
    p->seen = end;
    if (!most)
        return;
    if (p->day != day_of(c))
        turn(p, day_of(c));
    most = most < UINT32_MAX ? most : UINT32_MAX;
    if (most > p->most[0]) {
        p->most[0] = (uint32_t)most;
        dirty(c, l);
    }
}

void rmd_peak_forget(struct rmd_coord *c, struct rmd_lane *l) {
    l->peak = (struct rmd_peak){.day = day_of(c)};
    dirty(c, l);
}

/* The last hour, or the pace of the last minutes. */
uint64_t rmd_lane_rate(const struct rmd_coord *c, const struct rmd_lane *l, int64_t at_ledger_ms) {
    (void)c;
    int64_t end = at_ledger_ms + RMD_LEDGER_BUCKET_MS;
    uint64_t hour = rmd_account_between(l->account, end - RMD_LEDGER_HOUR_MS, end),
             two = rmd_account_between(l->account, end - 2 * RMD_LEDGER_BUCKET_MS, end);
    uint64_t pace = two * BUCKETS_AN_HOUR / 2;
    return pace > hour ? pace : hour;
}

/* ---------------------------------------------------------------- records */

void rmd_peaks_write(const struct rmd_coord *c, struct rmd_source *s) {
    Remuda__SourceRecord *r = s->rec;
    for (size_t i = 0; i < r->n_peak; i++)
        remuda__lane_peak__free_unpacked(r->peak[i], NULL);
    free(r->peak);
    r->peak = rmd_alloc((c->o.n_providers + 1) * sizeof *r->peak);
    r->n_peak = 0;
    for (size_t i = 0; i < c->o.n_providers; i++) {
        const struct rmd_lane *l = s->lane[i];
        if (!l || (!rmd_peak_of(c, l) && !l->usual.day))
            continue;
        Remuda__LanePeak *p = rmd_alloc(sizeof *p);
        remuda__lane_peak__init(p);
        p->provider = c->o.provider[i]->id;
        p->day = l->peak.day;
        p->most = rmd_memdup(l->peak.most, sizeof l->peak.most);
        p->n_most = RMD_PEAK_DAYS;
        rmd_usual_write(l, p);
        r->peak[r->n_peak++] = p;
    }
}

void rmd_peaks_read(struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < s->rec->n_peak; i++) {
        const Remuda__LanePeak *p = s->rec->peak[i];
        ssize_t at = rmd_provider_index(c, p->provider);
        if (at < 0)
            continue;
        struct rmd_peak *to = &rmd_lane_of(c, s, (size_t)at)->peak;
        rmd_usual_read(s->lane[at], p);
        *to = (struct rmd_peak){.day = p->day};
        for (size_t k = 0; k < p->n_most && k < RMD_PEAK_DAYS; k++)
            to->most[k] = p->most[k];
    }
}
