/* A seeded storm over the whole core: nodes die and return, the coordinator crashes and reboots, lanes get blocked,
 * campaigns pause, caps bind. Judged by what the receivers saw: no cap exceeded in any 24 hours, nobody twice but
 * those named as uncertain, and in the end nobody lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <base/coll.h>
#include <base/probe.h>
#include <base/text.h>

#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { SEEDS = 24, STEPS = 170, LANE_CAP = 120, NODES = 3, SOURCES = 5, CAMPAIGNS_MAX = 12, DAY_MS = 86400000 };

static const char *const domains[] = {"g.test", "y.test", "o.test", "slow.test", NULL};

struct storm {
    struct cw w;
    struct rmd_rng rng;
    struct rmd_id campaign[CAMPAIGNS_MAX];
    size_t n_campaigns;
    uint32_t submitted;
    uint32_t source[SOURCES];
};

static void answer(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email, Remuda__Outcome *o) {
    (void)n, (void)l, (void)email;
    struct storm *s = w->ctx;
    switch (rmd_rng_below(&s->rng, 20)) {
    case 0:
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_SERVER_BUSY, RMD_ACTION_RETRY, RMD_SCOPE_DESTINATION,
                        false);
        break;
    case 1:
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_LANE, false);
        break;
    case 2:
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_IP_BLOCKLISTED, RMD_ACTION_QUARANTINE, RMD_SCOPE_SOURCE,
                        true);
        break;
    case 3:
        cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_USER_UNKNOWN, RMD_ACTION_FAIL, RMD_SCOPE_RECIPIENT, false);
        break;
    case 4:
        cw_outcome_fill(o, RMD_OUTCOME_RETURNED, 0, 0, 0, false);
        o->returned_reason = RMD_RETURN_PROVIDER_CHANGED;
        o->rcpts = 0;
        break;
    default:
        break;
    }
}

static void node_step(struct storm *s, struct cw_node *n) {
    static const struct rmd_verdict blocked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                               .scope = RMD_SCOPE_SOURCE,
                                               .at_provider = true,
                                               .action = RMD_ACTION_QUARANTINE,
                                               .move = true,
                                               .duration_ms = 3600000,
                                               .rule = "test"};
    uint64_t what = rmd_rng_below(&s->rng, 12);
    /* A node keeps its promise: nothing starts after its leases are over. */
    bool valid = s->w.now.wall_ms < n->valid_until_ms && n->welcomed;
    if (n->dead && what < 4) {
        /* Only a node of its own boot may still believe in leases; the marks of a lost boot are gone with what it
         * sent since. */
        cw_revive_node(&s->w, n, false, false);
    } else if (n->dead) {
        return;
    } else if (what == 0) {
        cw_kill_node(&s->w, n);
        if (valid && rmd_rng_below(&s->rng, 2))
            cw_answer_some(&s->w, n, (uint32_t)rmd_rng_below(&s->rng, 30));
    } else if (what == 1 && n->n_leases) {
        const struct cw_lease *l = n->lease[rmd_rng_below(&s->rng, n->n_leases)];
        cw_alarm(&s->w, n, l->source, l->provider, &blocked, 1);
    } else if (what == 2) {
        n->deaf_to_leases = !n->deaf_to_leases;
    } else if (what == 3 && n->n) {
        cw_report(&s->w, n, 1 + rmd_rng_below(&s->rng, n->n), n->n);
    } else if (valid) {
        cw_answer_some(&s->w, n, (uint32_t)rmd_rng_below(&s->rng, 120));
    }
}

static void submit(struct storm *s) {
    if (s->n_campaigns == CAMPAIGNS_MAX || s->w.hold_commits)
        return;
    uint32_t n = 1 + (uint32_t)rmd_rng_below(&s->rng, 150);
    s->campaign[s->n_campaigns++] =
        cw_submit(&s->w, rmd_rng_below(&s->rng, 3) ? "bulk" : "urgent", domains, n, s->submitted);
    s->submitted += n;
}

static void one_step(struct storm *s) {
    struct cw *w = &s->w;
    uint64_t what = rmd_rng_below(&s->rng, 40);
    if (what < 2) {
        submit(s);
    } else if (what == 2) {
        w->stop_at_probe = (int)rmd_rng_below(&s->rng, RMD_PROBE_COUNT);
    } else if (what == 3) {
        w->hold_commits = rmd_rng_below(&s->rng, 2); /* a crash below loses what was held */
    } else if (what == 4) {
        cw_crash(w, rmd_rng_below(&s->rng, 3) == 0);
    } else if (what == 5 && s->n_campaigns) {
        struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE,
                                .id = s->campaign[rmd_rng_below(&s->rng, s->n_campaigns)]};
        m.state = rmd_rng_below(&s->rng, 2) ? RMD_CAMPAIGN_PAUSED : RMD_CAMPAIGN_ACTIVE;
        (void)cw_command(w, &m); /* may be done or paused already */
    } else if (what < 30) {
        node_step(s, &w->node[rmd_rng_below(&s->rng, w->n_nodes)]);
        cw_run(w);
    } else {
        int64_t ms = (int64_t)rmd_rng_below(&s->rng, what < 33 ? 6 * 3600000 : 90000);
        cw_pass(w, ms, ms > 100000 ? 60000 : 5000);
    }
    if (w->died)
        cw_crash(w, rmd_rng_below(&s->rng, 4) == 0);
}

/* Sums of RCPTs by lane, in time's order; "real" time never jumps, so a window is exact. */
static void caps_held(struct storm *s, uint64_t seed) {
    const struct cw *w = &s->w;
    for (size_t i = 0; i < w->n_rcpts; i++) {
        uint32_t in_window = 0;
        for (size_t k = i + 1; k-- > 0 && w->rcpt[k].at_ms > w->rcpt[i].at_ms - DAY_MS;)
            in_window += w->rcpt[k].source == w->rcpt[i].source && w->rcpt[k].provider == w->rcpt[i].provider;
        if (in_window > LANE_CAP)
            fail_msg("seed %llu: %u RCPTs in 24 h at source %u, provider %u", (unsigned long long)seed, in_window,
                     w->rcpt[i].source, w->rcpt[i].provider);
    }
}

static void settled_in_the_end(struct storm *s, uint64_t seed) {
    struct cw *w = &s->w;
    struct rmd_status_view v;
    rmd_coord_status(w->core, &v);
    if (v.delivered + v.bounced != s->submitted)
        fail_msg("seed %llu: %llu delivered and %llu bounced of %u; queued %llu leased %llu deferred %llu in doubt "
                 "%llu unsorted %llu",
                 (unsigned long long)seed, (unsigned long long)v.delivered, (unsigned long long)v.bounced,
                 s->submitted, (unsigned long long)v.queued, (unsigned long long)v.leased,
                 (unsigned long long)v.deferred, (unsigned long long)v.in_doubt, (unsigned long long)v.unsorted);
    struct rmd_map times = {0}, named = {0};
    for (size_t i = 0; i < w->n_events; i++) {
        if (strcmp(w->event[i].type, "uncertain") == 0)
            rmd_map_set(&named, rmd_slice_str(w->event[i].recipient), w);
    }
    size_t distinct = 0;
    for (size_t i = 0; i < w->n_rcpts; i++) {
        if (w->rcpt[i].kind != RMD_OUTCOME_DELIVERED)
            continue;
        bool twice = rmd_map_set(&times, rmd_slice_str(w->rcpt[i].email), w);
        distinct += !twice;
        if (twice && !rmd_map_get_str(&named, w->rcpt[i].email))
            fail_msg("seed %llu: %s was delivered twice and isn't named as uncertain", (unsigned long long)seed,
                     w->rcpt[i].email);
    }
    assert_true(distinct >= v.delivered);
    rmd_map_release(&times);
    rmd_map_release(&named);
}

static void storm(uint64_t seed) {
    struct storm *s = rmd_alloc(sizeof *s);
    struct cw *w = &s->w;
    rmd_rng_seed(&s->rng, seed);
    cw_init(w, seed);
    w->o.heartbeat_lost_ms = 70000; /* so that time can go by in long steps */
    w->o.lease_valid_ms = 200000;
    cw_crash(w, false);
    w->ctx = s;
    w->answer = answer;
    Remuda__StreamRecord urgent = REMUDA__STREAM_RECORD__INIT, bulk = REMUDA__STREAM_RECORD__INIT;
    bulk.priority = 2;
    cw_stream(w, "bulk", &bulk);
    cw_stream(w, "urgent", &urgent);
    static const char *const address[SOURCES] = {"203.0.113.1", "203.0.113.2", "198.51.100.1", "192.0.2.1",
                                                 "192.0.2.2"};
    static const int node[SOURCES] = {0, 0, 1, 2, 2};
    static const char *const names[NODES] = {"n1", "n2", "n3"};
    for (int i = 0; i < NODES; i++)
        cw_node_add(w, names[i])->holds = true;
    for (int i = 0; i < SOURCES; i++)
        s->source[i] = cw_source(w, address[i], names[node[i]], LANE_CAP);
    submit(s);
    for (int i = 0; i < STEPS; i++)
        one_step(s);
    /* The storm is over. */
    if (w->died || w->hold_commits)
        cw_crash(w, false);
    w->stop_at_probe = -1;
    cw_domain(w, "slow.test", "mx.slow.test");
    for (size_t i = 0; i < w->n_nodes; i++) {
        w->node[i].holds = w->node[i].deaf_to_leases = false;
        if (w->node[i].dead)
            cw_revive_node(w, &w->node[i], false, false);
    }
    cw_run(w);
    for (size_t i = 0; i < s->n_campaigns; i++) {
        struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE, .id = s->campaign[i], .state = RMD_CAMPAIGN_ACTIVE};
        (void)cw_command(w, &m);
    }
    for (size_t i = 0; i < w->n_nodes; i++)
        cw_answer_all(w, &w->node[i]);
    cw_pass(w, 3LL * DAY_MS, 60000);
    settled_in_the_end(s, seed);
    caps_held(s, seed);
    cw_release(w);
    free(s);
}

static void storms(void **state) {
    (void)state;
    const char *one = getenv("SEED");
    uint64_t seed = 0;
    if (one && rmd_parse_u64(rmd_slice_str(one), &seed) == RMD_OK) {
        storm(seed);
        return;
    }
    for (seed = 1; seed <= SEEDS; seed++)
        storm(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(storms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
