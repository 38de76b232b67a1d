/* Features that measurements leave out (RMD_WITHOUT_*): each story is told with the feature and without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/coordinator.h"
#include "tests/kit/coord_world.h"

enum { HOUR = 3600000, DAY = 24 * HOUR, STEP = 5 * 60000 };

static const char *const google[] = {"g.test", NULL};

static struct cw *world(uint32_t without) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    w->o.without = without;
    w->o.lease_valid_ms = 2 * HOUR;
    w->o.transaction_deadline_ms = 60000;
    w->o.heartbeat_lost_ms = HOUR;
    w->now.wall_ms = INT64_C(1790000000000) / DAY * DAY + 5 * HOUR; /* an hour after the boundary of days */
    return w;
}

static void start(struct cw *w) {
    cw_crash(w, false); /* the core starts with the options as they are now */
    cw_stream(w, "bulk", NULL);
    cw_node_add(w, "n1");
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

/* ---- gates */

static const uint64_t caps[] = {20, 30, 45, 65}, source_caps[] = {40, 60, 90, 130}, site_caps[] = {5};
static const struct rmd_plan plan = {
    .name = "story",
    .hour_percent = 100,
    .use_percent = 50,
    .idle_days = 30,
    .hold_days = 1,
    .back_stages = 1,
    .confidence = 95,
    .gate = {{50000, 3}, {10000, 3}, {100000, 3}, {2000, 3}},
    .source = {.cap = source_caps, .n = 4},
    .site = {.cap = site_caps, .n = 1},
    .fallback = {.cap = caps, .n = 4},
    .other = {.cap = caps, .n = 4},
};
static const struct rmd_plan *const plans[] = {&plan};

static void refuses_a_third(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                            Remuda__Outcome *o) {
    (void)w, (void)n;
    uint32_t attempt = 0;
    for (uint32_t i = 0; i < l->n; i++)
        attempt = l->email[i] == email ? l->attempt[i] : attempt;
    if (strchr("147", strchr(email, '@')[-1]) && !attempt)
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_RETRY, RMD_SCOPE_LANE, false);
}

static void stage_of(void *ctx, const struct rmd_warmup_view *v) {
    if (v->source && strcmp(v->provider, "google") == 0)
        *(uint32_t *)ctx = v->stage;
}

/* A provider that puts off a third of everything: the lane stays where it is, or goes on as if nothing had been said. */
static void gates(void **state) {
    (void)state;
    for (int without = 0; without < 2; without++) {
        struct cw *w = world(without ? RMD_WITHOUT_GATES : 0);
        w->o.plan = plans;
        w->o.n_plans = 1;
        start(w);
        Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
        char *pool[] = {(char *)(uintptr_t) "main"};
        r.address = (char *)(uintptr_t) "203.0.113.7";
        r.helo = (char *)(uintptr_t) "mail.example.org";
        r.pool = pool;
        r.n_pool = 1;
        r.warmup = (char *)(uintptr_t) "story";
        struct rmd_command m = {.kind = RMD_CMD_SOURCE_ADD, .name = "n1", .source = &r};
        assert_int_equal(cw_command(w, &m), RMD_OK);
        w->answer = refuses_a_third;
        uint32_t stage = 0;
        for (uint32_t day = 0; day < 3; day++) {
            cw_submit(w, "bulk", google, 200, day * 1000);
            cw_pass(w, DAY, STEP);
        }
        rmd_coord_warmups(w->core, stage_of, &stage);
        assert_int_equal(stage, without ? 4 : 1);
        done(w);
    }
}

/* ---- concentration */

static void small_volumes(void **state) {
    (void)state;
    enum { SOURCES = 4 };
    for (int without = 0; without < 2; without++) {
        struct cw *w = world(without ? RMD_WITHOUT_CONCENTRATION : 0);
        start(w);
        uint32_t source[SOURCES];
        for (int i = 0; i < SOURCES; i++) {
            char address[32];
            assert_true(rmd_format(address, sizeof address, "203.0.113.%d", i + 1) > 0);
            source[i] = cw_source(w, address, "n1", 0);
        }
        for (uint32_t k = 0; k < 5; k++) {
            cw_submit(w, "bulk", google, 40, k * 100);
            cw_pass(w, 60000, 1000);
        }
        assert_int_equal(w->n_rcpts, 200);
        for (int i = 0; i < SOURCES; i++) {
            size_t n = 0;
            for (size_t k = 0; k < w->n_rcpts; k++)
                n += w->rcpt[k].source == source[i];
            if (without)
                assert_in_range(n, 25, 75); /* round the pool */
            else
                assert_true(n == 0 || n == 200);
        }
        done(w);
    }
}

/* ---- stickiness */

struct grey {
    uint32_t first;
    size_t again;
};

static void greylists(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                      Remuda__Outcome *o) {
    struct grey *g = w->ctx;
    (void)n;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->email[i] != email)
            continue;
        if (!g->first)
            g->first = l->source;
        if (l->source == g->first)
            g->again += l->attempt[i] > 0;
        if (!l->attempt[i])
            cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_LANE,
                            false);
    }
}

/* Work is dealt round the pool, and sources come while greylisted mail waits: it goes to its own all the same, or round. */
static void greylisted_mail(void **state) {
    (void)state;
    for (int without = 0; without < 2; without++) {
        struct cw *w = world(RMD_WITHOUT_CONCENTRATION | (without ? RMD_WITHOUT_STICKINESS : 0));
        struct grey g = {0};
        w->ctx = &g;
        w->answer = greylists;
        start(w);
        cw_source(w, "203.0.113.7", "n1", 0);
        struct rmd_id id = cw_submit(w, "bulk", google, 40, 0);
        cw_pass(w, 2000, 200);
        for (int i = 0; i < 8; i++) {
            char address[32];
            assert_true(rmd_format(address, sizeof address, "198.51.100.%d", i + 1) > 0);
            cw_source(w, address, "n1", 0);
        }
        cw_pass(w, 900000, 5000);
        assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 40);
        assert_in_range(g.again, without ? 0 : 40, without ? 20 : 40);
        done(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates),
        cmocka_unit_test(small_volumes),
        cmocka_unit_test(greylisted_mail),
    };
    return cmocka_run_group_tests_name("without", tests, NULL, NULL);
}
