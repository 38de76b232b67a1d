/* Warm-ups in the simulator: worlds in which some sources and sending domains warm up, receivers that are wary of them, and what the
 * receivers' logs alone must show.
 *
 * The stage is not asked for: it is bounded from what receivers saw. Every stage that was gained used up a day of its own, so lane and
 * domain stand at most where the recipients that they accepted, and the half days since the world began, allow. No window of 24 hours
 * holds more than that stage's cap, no hour more than its share. A receiver that refuses every sixth RCPT of new sources, for the lane's
 * sake, keeps them on their first stage for good: the gate sees that rate on every day that uses the stage. */
#include "tests/sim/sim.h"

enum { HALF_DAY_MS = SIM_DAY_MS / 2, HOUR_MS = 3600000, WARY_EVERY = 6 };

static const uint64_t caps[] = {12, 18, 27, 40, 60, 90}, source_caps[] = {30, 45, 66, 99, 140, 200},
                      site_caps[] = {8, 12, 18};

static void make_plan(struct sim_warm *w, struct rmd_rng *rng) {
    static const uint32_t hours[] = {20, 50, 100};
    w->plan = (struct rmd_plan){.name = "sim",
                                .hour_percent = hours[rmd_rng_below(rng, 3)],
                                .use_percent = 80,
                                .idle_days = 30,
                                .hold_days = (uint32_t)rmd_rng_below(rng, 2),
                                .back_stages = 1,
                                .confidence = 95,
                                .gate = {{100000, 3}, {100000, 3}, {50000, 1}, {1000, 1}},
                                .source = {.cap = source_caps, .n = 6},
                                .site = {.cap = site_caps, .n = 3},
                                .fallback = {.cap = caps, .n = 6},
                                .other = {.cap = caps, .n = 6}};
    w->plans[0] = &w->plan;
}

/* Choices come from a generator of their own, so that worlds without warm-ups stay what they were. */
void sim_warm_config(struct sim *s) {
    struct sim_warm *w = &s->warm;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, rmd_mix64(s->seed ^ 0x77a5));
    make_plan(w, &rng);
    s->coord_options.plan = w->plans;
    s->coord_options.n_plans = 1;
    if (rmd_rng_below(&rng, 3) || s->staged.kind != SIM_STAGED_NONE)
        return;
    w->on = true;
    w->per_network = s->coord_options.warm_per_network = (uint32_t)rmd_rng_below(&rng, 3);
    for (uint32_t i = 0; i < s->n_sources; i++) {
        s->source[i].warms = rmd_rng_below(&rng, 2);
        s->source[i].warm_as = s->source[i].warms && !rmd_rng_below(&rng, 5) ? 200 + rmd_rng_below(&rng, 300) : 0;
    }
    for (uint32_t i = 0; i < s->n_streams; i++) {
        s->stream[i].warms = !rmd_rng_below(&rng, 4);
        s->stream[i].no_cold = s->stream[i].priority == 0 && rmd_rng_below(&rng, 2);
    }
    /* Of refusals that nobody could report, no gate knows. A stage may be used within an hour here, so that gates have
     * days to judge. */
    bool wary = rmd_rng_below(&rng, 3) && !s->faults.host_loss && !s->faults.forget && !s->faults.revoke;
    for (uint32_t p = 0; wary && p < s->n_providers; p++)
        s->provider[p].wary = rmd_rng_below(&rng, 3) > 0;
    if (wary)
        w->plan.hour_percent = 100;
}

bool sim_warm_refuses(struct sim *s, struct sim_conn *c) {
    const struct sim_source *x = &s->source[c->source];
    if (!s->provider[c->provider].wary || !x->warms || x->warm_as)
        return false;
    return ++s->warm.seen[c->source][c->provider] % WARY_EVERY == 0;
}

/* ---- bounds */

static uint32_t bound(const struct sim *s, uint64_t accepted) {
    uint32_t stage = 0, n = s->warm.plan.fallback.n;
    for (uint64_t need = 0; stage < n; stage++) {
        need += (caps[stage] * s->warm.plan.use_percent + 99) / 100;
        if (accepted < need || s->now_ms < (stage + 1) * (int64_t)HALF_DAY_MS)
            break;
    }
    return stage;
}

static uint32_t lane_bound(const struct sim *s, uint32_t source, uint32_t provider) {
    if (s->source[source].warm_as)
        return s->warm.plan.fallback.n;
    return s->provider[provider].wary ? 0 : bound(s, s->warm.accepted[source][provider]);
}

static uint32_t source_bound(const struct sim *s, uint32_t source) {
    uint32_t most = 0;
    for (uint32_t p = 0; p < s->n_providers; p++) {
        uint32_t b = lane_bound(s, source, p);
        most = b > most ? b : most;
    }
    return most;
}

struct limits {
    uint64_t day, hour;
};

static struct limits limits_of(const struct sim *s, const uint64_t *list, uint32_t stage, uint64_t configured,
                               uint64_t warm_as) {
    uint32_t n = s->warm.plan.fallback.n;
    struct limits l = {.day = list[stage < n ? stage : n - 1]};
    if (stage < n && configured && configured < l.day)
        l.day = configured;
    else if (stage >= n)
        l.day = configured ? configured : warm_as ? warm_as : l.day;
    if (stage < n && s->warm.plan.hour_percent < 100)
        l.hour = rmd_plan_hour(&s->warm.plan, l.day);
    return l;
}

/* ---- told by receivers */

void sim_warm_limits(const struct sim *s, const struct sim_conn *c, uint64_t lane[2], uint64_t source[2],
                     uint64_t sender[2]) {
    const struct sim_source *x = &s->source[c->source];
    uint32_t stream = c->campaign->stream;
    if (x->warms) {
        struct limits l = limits_of(s, caps, lane_bound(s, c->source, c->provider), x->lane_cap, x->warm_as);
        lane[0] = l.day;
        lane[1] = l.hour;
        l = limits_of(s, source_caps, source_bound(s, c->source), x->cap, x->warm_as);
        source[0] = l.day;
        source[1] = l.hour;
    }
    if (s->stream[stream].warms) {
        uint64_t configured = s->stream[stream].domain_cap ? s->stream[stream].domain_cap : s->domain_cap;
        struct limits l = limits_of(s, caps, bound(s, s->warm.sender_accepted[stream][c->provider]), configured, 0);
        sender[0] = l.day;
        sender[1] = l.hour;
    }
}

/* Sources of this network that send, and can't have got through yet. */
static void check_network(struct sim *s, const struct sim_conn *c) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_sources; i++)
        n += s->source[i].warms && s->source[i].net == s->source[c->source].net && s->total[i].n > 0 &&
             source_bound(s, i) < s->warm.plan.fallback.n;
    if (s->warm.per_network && n > s->warm.per_network)
        sim_broken(s, "a network's places hold", "%u sources of the network of %s warm up, at most %u may", n,
                   s->source[c->source].address, s->warm.per_network);
}

void sim_warm_rcpt(struct sim *s, struct sim_conn *c) {
    const struct sim_source *x = &s->source[c->source];
    if (!x->warms)
        return;
    check_network(s, c);
    if (s->stream[c->campaign->stream].no_cold && lane_bound(s, c->source, c->provider) < s->warm.plan.fallback.n)
        sim_broken(s, "never from a cold lane", "%s sends for stream %s, which forbids it", x->address,
                   s->stream[c->campaign->stream].name);
}

void sim_warm_accepted(struct sim *s, const struct sim_conn *c) {
    s->warm.accepted[c->source][c->provider]++;
    s->warm.sender_accepted[c->campaign->stream][c->provider]++;
}

void sim_warm_free(struct sim *s) {
    struct sim_warm *w = &s->warm;
    for (uint32_t p = 0; p < SIM_PROVIDERS; p++) {
        for (uint32_t i = 0; i < SIM_SOURCES; i++)
            free(w->lane_hour[i][p].v);
        for (uint32_t i = 0; i < SIM_STREAMS; i++)
            free(w->sender_hour[i][p].v);
    }
    for (uint32_t i = 0; i < SIM_SOURCES; i++)
        free(w->total_hour[i].v);
}
