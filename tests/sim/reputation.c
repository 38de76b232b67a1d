/* Reputations, from outside: each is bounded and the sum of its parts; a lane's never says more attempts than its source's; and what was written a while
 * ago is the same after a restart. */
#include "tests/sim/sim.h"

enum { HOUR_MS = 3600000, WRITTEN_MS = 130000, BACK_MS = 20000 };

static void check_one(void *ctx, const struct rmd_reputation_view *v) {
    struct sim *s = ctx;
    int32_t sum = RMD_REPUTATION_NEUTRAL;
    for (size_t i = 0; i < v->score.n; i++)
        sum += v->score.part[i].points;
    sum = sum < 0 ? 0 : sum > RMD_REPUTATION_MAX ? RMD_REPUTATION_MAX : sum;
    if (v->score.score != (uint32_t)sum)
        sim_broken(s, "every decision can be explained", "%s %s at %s: reputation %u, its parts say %d", v->kind,
                   v->name, v->provider ? v->provider : "all", v->score.score, sum);
}

void sim_reputation_check(struct sim *s) {
    if (s->coord.up)
        rmd_coord_reputations(s->coord.core, check_one, s);
}

static void add(void *ctx, const struct rmd_reputation_view *v) {
    uint64_t h =
        rmd_fnv64(rmd_slice_str(v->name)) ^ rmd_mix64(rmd_fnv64(rmd_slice_str(v->provider ? v->provider : "")));
    h = rmd_mix64(h ^ rmd_fnv64(rmd_slice_str(v->band)) ^ rmd_fnv64(rmd_slice_str(v->kind)));
    *(uint64_t *)ctx += rmd_mix64(h ^ (v->score.score << 20 ^ v->score.attempts)); /* in whatever order */
}

static uint64_t digest(struct sim *s, int64_t *hour) {
    struct rmd_status_view v;
    uint64_t h = 0;
    rmd_coord_status(s->coord.core, &v);
    *hour = v.ledger_time_ms / HOUR_MS;
    rmd_coord_reputations(s->coord.core, add, &h);
    return h;
}

/* At the end, when nothing is sent any more. */
void sim_reputation_restart(struct sim *s, void (*run_until)(struct sim *s, int64_t ms)) {
    int64_t hour, later;
    run_until(s, s->now_ms + WRITTEN_MS);
    if (!s->coord.up)
        return;
    uint64_t before = digest(s, &hour);
    sim_coord_kill(s, false);
    run_until(s, s->now_ms + BACK_MS);
    if (!s->coord.up) {
        sim_broken(s, "nothing accepted is lost", "the coordinator doesn't come back");
        return;
    }
    uint64_t after = digest(s, &later);
    if (hour == later && before != after)
        sim_broken(s, "a restart keeps reputations", "they differ before and after");
}
