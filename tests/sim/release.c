/* Campaigns with a time: what operators ask for, and the judgement of receivers' logs: nothing before the start, never more recipients
 * contacted for the first time than were released. The bound is the checker's own arithmetic, by the latest time that the coordinator's
 * wall clock may have shown. */
#include "tests/sim/sim.h"

#include <inttypes.h>

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS };

/* Some start later, some are spread, some go in batches. */
void sim_release_plan(struct sim *s, struct sim_campaign *c) {
    c->start_in_ms = sim_one_in(s, 4) ? sim_between(s, MINUTE_MS, 20 * MINUTE_MS) : 0;
    switch (sim_below(s, 6)) {
    case 0:
        c->over_ms = sim_between(s, MINUTE_MS, 40 * MINUTE_MS);
        break;
    case 1:
        c->batch = 5 + sim_below(s, 60);
        c->every_ms = sim_between(s, 5 * SECOND_MS, 5 * MINUTE_MS);
        break;
    default:
        break;
    }
}

void sim_release_record(const struct sim_campaign *c, Remuda__CampaignRecord *r) {
    if (c->start_in_ms) {
        r->start_wall_ms = r->accepted_wall_ms + c->start_in_ms;
        r->valid_until_wall_ms += c->start_in_ms;
    }
    r->over_ms = c->over_ms;
    r->batch = c->batch;
    r->every_ms = c->every_ms;
}

void sim_release_accepted(struct sim_campaign *c, const Remuda__CampaignRecord *r) {
    c->start_wall_ms = r->start_wall_ms ? r->start_wall_ms : r->accepted_wall_ms;
}

void sim_release_clock(struct sim *s) {
    if (s->coord.clock.wall_off_ms > s->ahead_ms)
        s->ahead_ms = s->coord.clock.wall_off_ms;
}

/* RCPT of a recipient that was never contacted before. */
void sim_release_first(struct sim *s, struct sim_campaign *c) {
    int64_t since = SIM_WALL0_MS + s->now_ms + s->ahead_ms - c->start_wall_ms;
    uint64_t most = c->rows;
    c->contacted++;
    sim_release_clock(s);
    if (c->start_in_ms && since < 0)
        sim_broken(s, "nothing leaves before its time", "campaign %u: a recipient, %" PRId64 " ms before its start",
                   (unsigned)(c - s->campaign), -since);
    if (since < 0)
        since = 0;
    if (c->batch)
        most = c->batch * (1 + (uint64_t)(since / c->every_ms));
    int64_t slice = c->over_ms / 360 > SECOND_MS ? c->over_ms / 360 : SECOND_MS;
    if (c->over_ms && since < c->over_ms)
        most = (uint64_t)(((since / slice + 1) * slice) * c->rows / c->over_ms);
    if (c->contacted > most)
        sim_broken(s, "never more than released",
                   "campaign %u: %" PRIu64 " recipients were contacted %" PRId64 " ms after its start, %" PRIu64
                   " were released",
                   (unsigned)(c - s->campaign), c->contacted, since, most);
}
