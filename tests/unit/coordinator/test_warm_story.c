/* Stories of warm-ups, through the real coordinator core in virtual time: sixty days with everything that happens in them; who gets
 * what; what operators say. What the caps allowed is judged by the RCPTs that receivers saw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/coordinator.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { HOUR = 3600000, DAY = 24 * HOUR, STEP = 5 * 60000 };

static const uint64_t lane_caps[] = {20, 30, 45, 65, 95, 140, 200, 280, 400, 560, 780, 1000};
static const uint64_t source_caps[] = {40, 60, 90, 130, 190, 280, 400, 560, 800, 1200, 1600, 2000};
static const uint64_t site_caps[] = {5, 8, 12};
static const struct rmd_plan story_plan = {
    .name = "story",
    .hour_percent = 20,
    .use_percent = 80,
    .idle_days = 30,
    .hold_days = 1,
    .back_stages = 1,
    .confidence = 95,
    .gate = {{50000, 5}, {10000, 3}, {100000, 3}, {2000, 3}},
    .source = {.cap = source_caps, .n = 12},
    .site = {.cap = site_caps, .n = 3},
    .fallback = {.cap = lane_caps, .n = 12},
    .other = {.cap = lane_caps, .n = 12},
};
static const struct rmd_plan *const plans[] = {&story_plan};
static const char *const google[] = {"g.test", NULL};

/* A world whose heart beats slowly, so that days are cheap. */
static struct cw *world(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    w->o.plan = plans;
    w->o.n_plans = 1;
    w->o.lease_valid_ms = 2 * HOUR;
    w->o.transaction_deadline_ms = 60000;
    w->o.heartbeat_lost_ms = HOUR;
    w->now.wall_ms = INT64_C(1790000000000) / DAY * DAY + 5 * HOUR; /* an hour after the boundary */
    cw_crash(w, false);
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    r.priority = 5;
    r.age_limit_ms = 20ll * DAY;
    cw_stream(w, "bulk", &r);
    cw_node_add(w, "n1");
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static int source_add_at(struct cw *w, const char *address, const char *node, const char *plan, uint64_t warm_as) {
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    char *pool[] = {(char *)(uintptr_t) "main"};
    r.address = (char *)(uintptr_t)address;
    r.helo = (char *)(uintptr_t) "mail.example.org";
    r.pool = pool;
    r.n_pool = 1;
    r.warmup = (char *)(uintptr_t)plan;
    r.warm_as = warm_as;
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_ADD, .name = node, .source = &r};
    return cw_command(w, &m);
}

static int source_add(struct cw *w, const char *address, const char *plan, uint64_t warm_as) {
    return source_add_at(w, address, "n1", plan, warm_as);
}

static uint32_t add_at(struct cw *w, const char *address, const char *node, const char *plan, uint64_t warm_as) {
    assert_int_equal(source_add_at(w, address, node, plan, warm_as), RMD_OK);
    return (uint32_t)w->reply_number;
}

static uint32_t add(struct cw *w, const char *address, const char *plan, uint64_t warm_as) {
    assert_int_equal(source_add(w, address, plan, warm_as), RMD_OK);
    return (uint32_t)w->reply_number;
}

struct looked {
    const char *name, *provider;
    struct rmd_warmup_view v;
    char state[24], detail[160];
    bool found;
};

static void on_view(void *ctx, const struct rmd_warmup_view *v) {
    struct looked *l = ctx;
    if (strcmp(v->source ? v->source : v->domain, l->name) != 0 || strcmp(v->provider, l->provider) != 0)
        return;
    l->v = *v;
    l->found = true;
    rmd_copy(l->state, sizeof l->state, v->state);
    rmd_copy(l->detail, sizeof l->detail, v->detail);
}

static struct looked look(struct cw *w, const char *name, const char *provider) {
    struct looked l = {.name = name, .provider = provider};
    rmd_coord_warmups(w->core, on_view, &l);
    assert_true(l.found);
    return l;
}

static size_t sent_by(const struct cw *w, uint32_t source, size_t from) {
    size_t n = 0;
    for (size_t i = from; i < w->n_rcpts; i++)
        n += w->rcpt[i].source == source;
    return n;
}

/* ---- caps, by what receivers saw: any 24 hours and any hour that end with a RCPT */

struct judge {
    uint32_t source, provider;
    size_t seen;
    uint64_t cap; /* before this step */
};

static void judge_caps(struct cw *w, struct judge *j, const char *address, const char *provider) {
    uint64_t now = look(w, address, provider).v.cap, cap = now > j->cap ? now : j->cap;
    for (; j->seen < w->n_rcpts; j->seen++) {
        const struct cw_rcpt *r = &w->rcpt[j->seen];
        uint64_t day = 0, hour = 0;
        if (r->source != j->source || r->provider != j->provider)
            continue;
        for (size_t i = 0; i <= j->seen; i++) {
            bool same = w->rcpt[i].source == j->source && w->rcpt[i].provider == j->provider;
            day += same && w->rcpt[i].at_ms > r->at_ms - DAY;
            hour += same && w->rcpt[i].at_ms > r->at_ms - HOUR;
        }
        if (day > cap || hour > (cap * 20 + 99) / 100)
            fail_msg("%llu in a day, %llu in an hour; the cap is %llu", (unsigned long long)day,
                     (unsigned long long)hour, (unsigned long long)cap);
    }
    j->cap = now;
}

static void days(struct cw *w, struct judge *j, const char *address, int n, uint32_t a_day, uint32_t *number) {
    for (int d = 0; d < n; d++) {
        if (a_day)
            cw_submit(w, "bulk", google, a_day, *number);
        *number += a_day;
        for (int64_t ms = 0; ms < DAY; ms += 2 * HOUR) {
            cw_pass(w, 2 * HOUR, STEP);
            judge_caps(w, j, address, "google");
        }
    }
}

static void no_date(const struct looked *l, const char *because) {
    assert_true(l->v.forecast_day == INT64_MIN);
    if (!strstr(l->detail, because))
        fail_msg("\"%s\" doesn't say \"%s\"", l->detail, because);
}

static uint32_t deferring; /* source whose every third RCPT is deferred for the lane's sake; 0: none */

static void defers(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email, Remuda__Outcome *o) {
    (void)n;
    (void)email;
    if (l->source == deferring && w->n_rcpts % 3 == 0)
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_RETRY, RMD_SCOPE_LANE, false);
}

static void sixty_days(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t cold = add(w, "203.0.113.7", "story", 0), number = 0;
    add(w, "198.51.100.9", "story", 100000);
    w->answer = defers;
    deferring = 0;
    struct judge j = {.source = cold, .provider = rmd_provider_id("google")};
    struct looked l = look(w, "203.0.113.7", "google");
    assert_int_equal(l.v.stage, 1);
    assert_int_equal(l.v.cap, 20);
    assert_int_equal(l.v.hour_cap, 4);
    assert_int_equal(l.v.free, 4);
    assert_string_equal(l.state, "warming");
    assert_true(l.v.new);
    no_date(&l, "no mail to it yet");
    /* A week: a stage a day. What exceeds goes to the warm one at once. */
    days(w, &j, "203.0.113.7", 1, 200, &number);
    assert_int_equal(sent_by(w, cold, 0), 20);
    assert_int_equal(w->n_rcpts, 200);
    days(w, &j, "203.0.113.7", 5, 400, &number);
    l = look(w, "203.0.113.7", "google");
    assert_int_equal(l.v.stage, 7);
    assert_int_equal(cw_events(w, "warmup.advanced"), 6);
    assert_int_equal(l.v.forecast_day - rmd_coord_sending_day(w->core), 12 - 6);
    assert_string_equal(l.detail, "");
    /* A day with many deferrals: surely over, one back and held for a day. */
    deferring = cold;
    days(w, &j, "203.0.113.7", 1, 400, &number);
    deferring = 0;
    l = look(w, "203.0.113.7", "google");
    assert_int_equal(l.v.stage, 6);
    assert_int_equal(l.v.hold, 1);
    assert_int_equal(cw_events(w, "warmup.back"), 1);
    no_date(&l, "% (limit 10.00 %) holds the stage for 1 good day");
    assert_memory_equal(l.detail, "gate deferrals at 3", 19); /* every third */
    days(w, &j, "203.0.113.7", 1, 400, &number);
    l = look(w, "203.0.113.7", "google");
    assert_int_equal(l.v.stage, 6);
    /* Six good days and this one, of eight since the first; the window has seven of them. */
    assert_string_equal(l.detail, "at its pace of late: 6 good days of 7");
    assert_int_equal(l.v.forecast_day - rmd_coord_sending_day(w->core), (7 * 7 + 5) / 6);
    days(w, &j, "203.0.113.7", 1, 400, &number);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 7);
    /* Days with too little mail don't count, days without any don't either. */
    days(w, &j, "203.0.113.7", 2, 20, &number);
    days(w, &j, "203.0.113.7", 3, 0, &number);
    l = look(w, "203.0.113.7", "google");
    assert_int_equal(l.v.stage, 7);
    no_date(&l, "no mail to it in the last 3 days");
    /* A crash, and a reboot with another clock, in the midst of a day: nothing is forgotten. */
    cw_submit(w, "bulk", google, 600, number);
    number += 600;
    cw_pass(w, 3 * HOUR, STEP);
    uint64_t distinct = look(w, "203.0.113.7", "google").v.distinct;
    assert_in_range(distinct, 80, 200);
    cw_crash(w, true);
    cw_pass(w, 1000, 1000);
    l = look(w, "203.0.113.7", "google");
    assert_int_equal(l.v.stage, 7);
    assert_int_equal(l.v.distinct, distinct);
    cw_pass(w, DAY - 3 * HOUR - 1000, STEP);
    judge_caps(w, &j, "203.0.113.7", "google");
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 8);
    /* A wall clock that leaps ahead a day and back again gains one stage at most; then the calendar catches up. */
    w->now.wall_ms += DAY;
    days(w, &j, "203.0.113.7", 1, 800, &number);
    uint32_t stage = look(w, "203.0.113.7", "google").v.stage;
    assert_in_range(stage, 8, 10);
    /* The world judges windows by wall time, which it must not be: true time goes on from here as the wall says. */
    days(w, &j, "203.0.113.7", 2, 1200, &number);
    stage = look(w, "203.0.113.7", "google").v.stage;
    assert_in_range(stage, 10, 12);
    /* Late complaints about the day before yesterday. */
    struct rmd_command m = {.kind = RMD_CMD_COMPLAINTS,
                            .name = "203.0.113.7",
                            .provider = "google",
                            .day = rmd_coord_sending_day(w->core) - 2,
                            .number = 40};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    l = look(w, "203.0.113.7", "google");
    assert_true(l.v.stage < stage);
    assert_int_equal(cw_events(w, "warmup.back"), 2);
    /* And they weigh for seven days. */
    stage = l.v.stage;
    days(w, &j, "203.0.113.7", 4, 1500, &number);
    assert_true(look(w, "203.0.113.7", "google").v.stage <= stage);
    assert_int_equal(look(w, "203.0.113.7", "google").v.gate[RMD_GATE_COMPLAINTS].verdict, RMD_GATE_SURELY_OVER);
    /* Then it goes on to the end. */
    for (int d = 0; d < 40 && strcmp(look(w, "203.0.113.7", "google").state, "warm") != 0; d++)
        days(w, &j, "203.0.113.7", 1, 1500, &number);
    l = look(w, "203.0.113.7", "google");
    assert_string_equal(l.state, "warm");
    assert_int_equal(l.v.cap, 1000);
    assert_int_equal(l.v.hour_cap, 0);
    assert_true(l.v.warm_since_wall_ms > w->now.wall_ms - 2 * DAY);
    assert_int_equal(cw_events(w, "warmup.warm"), 1);
    /* A month of silence: both start again, the one that was brought in warm as well. */
    days(w, &j, "203.0.113.7", 33, 0, &number);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 1);
    assert_int_equal(look(w, "198.51.100.9", "google").v.stage, 1);
    assert_int_equal(cw_events(w, "warmup.restarted"), 2);
    done(w);
}

/* The wall clock leaps about; what a monotonic clock has counted decides. */
static void steps_of_the_clock_gain_nothing(void **state) {
    (void)state;
    struct cw *w = world();
    add(w, "203.0.113.7", "story", 0);
    cw_submit(w, "bulk", google, 2000, 0);
    cw_pass(w, 6 * HOUR, STEP); /* its first day is used */
    assert_int_equal(w->n_rcpts, 20);
    int64_t day = rmd_coord_sending_day(w->core);
    w->now.wall_ms += DAY; /* ahead: half a day hasn't passed yet */
    cw_pass(w, HOUR, STEP);
    w->now.wall_ms -= 3 * DAY; /* back, too far */
    cw_pass(w, HOUR, STEP);
    w->now.wall_ms += 2 * DAY;
    cw_pass(w, HOUR, STEP);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 1);
    cw_pass(w, 4 * HOUR, STEP);
    w->now.wall_ms += DAY; /* ahead, after thirteen hours: the day counts as over, once */
    cw_pass(w, HOUR, STEP);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 2);
    assert_int_equal(rmd_coord_sending_day(w->core), day + 1);
    w->now.wall_ms -= DAY; /* and back: the day that it leapt to isn't opened again */
    cw_pass(w, DAY, STEP);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 2);
    cw_pass(w, DAY, STEP);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 3);
    assert_int_equal(rmd_coord_sending_day(w->core), day + 2);
    assert_int_equal(cw_events(w, "warmup.advanced"), 2);
    done(w);
}

/* ---- who gets what */

static void small_volumes_concentrate(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t v[3] = {add(w, "203.0.113.7", "story", 0), add(w, "198.51.100.9", "story", 0),
                     add(w, "192.0.2.5", "story", 0)};
    cw_submit(w, "bulk", google, 18, 0);
    cw_pass(w, 20 * HOUR, STEP);
    size_t most = 0;
    for (int i = 0; i < 3; i++)
        most = sent_by(w, v[i], 0) > most ? sent_by(w, v[i], 0) : most;
    assert_int_equal(w->n_rcpts, 18); /* four an hour, from one and the same */
    assert_int_equal(most, 18);
    cw_pass(w, 4 * HOUR, STEP);
    cw_submit(w, "bulk", google, 45, 100); /* more than the first takes: the next gets the rest */
    cw_pass(w, 20 * HOUR, STEP);
    int used = 0;
    for (int i = 0; i < 3; i++)
        used += sent_by(w, v[i], 0) > 0;
    assert_int_equal(used, 2);
    done(w);
}

/* Of the last hours' cap nothing frees soon: a new sending day alone is no reason to let warm lanes idle. */
static void what_a_cold_lane_takes_late_goes_to_warm_ones(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t cold = add(w, "203.0.113.7", "story", 0), warm = add(w, "198.51.100.9", "story", 1000);
    cw_pass(w, 17 * HOUR, STEP); /* 22:00 */
    cw_submit(w, "bulk", google, 20, 0);
    cw_pass(w, 6 * HOUR, STEP); /* 04:00, and a little more: a new sending day */
    cw_pass(w, HOUR, STEP);
    assert_int_equal(sent_by(w, cold, 0), 20);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 2);
    /* All but ten of its thirty are used until 22:00, a few free by 10:00: no more than that is kept. */
    cw_submit(w, "bulk", google, 30, 100);
    cw_pass(w, HOUR, STEP);
    assert_in_range(sent_by(w, warm, 0), 20, 24);
    cw_pass(w, 5 * HOUR, STEP);
    assert_int_equal(w->n_rcpts, 50);
    done(w);
}

/* What has waited for hours isn't kept any longer; while there is enough for both, the cold lane has its day all the same. */
static void overflow_goes_to_warm_lanes(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t cold = add(w, "203.0.113.7", "story", 0), warm = add(w, "198.51.100.9", "story", 1000);
    cw_submit(w, "bulk", google, 400, 0);
    cw_pass(w, HOUR / 2, STEP);
    assert_in_range(sent_by(w, warm, 0), 380, 384); /* at once, but for what is kept */
    cw_pass(w, 6 * HOUR, STEP);
    assert_int_equal(sent_by(w, cold, 0), 20); /* its sending day */
    assert_int_equal(w->n_rcpts, 400);
    cw_pass(w, DAY - 6 * HOUR - HOUR / 2, STEP);
    assert_int_equal(look(w, "203.0.113.7", "google").v.stage, 2);
    done(w);
}

/* A lane whose receiver lets it crawl keeps no more than it can send: the rest of its stage would wait, and never go. */
static void a_slow_cold_lane_keeps_little(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n2");
    uint32_t cold = add(w, "203.0.113.7", "story", 0);
    struct rmd_command m = {.kind = RMD_CMD_WARMUP_SET, .name = "203.0.113.7", .number = 12, .reason = "known"};
    assert_int_equal(cw_command(w, &m), RMD_OK); /* 1000 a day, 200 an hour */
    w->node[0].holds = true;
    cw_submit(w, "bulk", google, 200, 0);
    cw_pass(w, HOUR / 2, STEP);
    Remuda__LanePace lane = REMUDA__LANE_PACE__INIT, *lanes[1] = {&lane};
    Remuda__Pace pace = REMUDA__PACE__INIT;
    Remuda__Frame f = REMUDA__FRAME__INIT;
    lane.source = cold;
    lane.provider = rmd_provider_id("google");
    lane.slowed = true;
    lane.per_minute = 1; /* 300 until then, 200 of which it has */
    lane.connections = 1;
    pace.n_lane = 1;
    pace.lane = lanes;
    f.body_case = REMUDA__FRAME__BODY_PACE;
    f.pace = &pace;
    cw_frame(w, &w->node[0], &f);
    uint32_t warm = add_at(w, "198.51.100.9", "n2", "story", 100000);
    cw_submit(w, "bulk", google, 700, 1000);
    cw_pass(w, HOUR, STEP);
    assert_int_equal(sent_by(w, warm, 0), 600);
    done(w);
}

/* A lane that has its hands full, and nobody knows for how long: hours are enough to wait for it. */
static void what_has_waited_goes_to_warm_lanes(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n2");
    add(w, "203.0.113.7", "story", 0);
    struct rmd_command m = {.kind = RMD_CMD_WARMUP_SET, .name = "203.0.113.7", .number = 12, .reason = "known"};
    assert_int_equal(cw_command(w, &m), RMD_OK); /* 1000 a day, 200 an hour */
    w->node[0].holds = true;
    uint32_t warm = add_at(w, "198.51.100.9", "n2", "story", 100000);
    cw_submit(w, "bulk", google, 1000, 0);
    cw_pass(w, 5 * HOUR, STEP);
    assert_int_equal(sent_by(w, warm, 0), 0);
    cw_pass(w, HOUR + 2 * STEP, STEP);
    assert_int_equal(sent_by(w, warm, 0), 800);
    done(w);
}

static void nothing_waits_for_a_lane_when_it_is_urgent(void **state) {
    (void)state;
    struct cw *w = world();
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    cw_stream(w, "urgent", &r);
    r.no_cold_lanes = true;
    cw_stream(w, "never", &r);
    uint32_t cold = add(w, "203.0.113.7", "story", 0);
    /* Nothing but a cold lane: one stream uses it, one waits and says so. */
    cw_submit(w, "never", google, 4, 0);
    cw_pass(w, HOUR, STEP);
    assert_int_equal(w->n_rcpts, 0);
    struct rmd_buf b = {0};
    uint32_t never = rmd_coord_stream_by_name(w->core, 1, "never")->id;
    rmd_coord_explain(w->core, 1, never, NULL, "g.test", &b);
    assert_non_null(strstr(rmd_buf_str(&b), "warms up, and the stream never uses such lanes"));
    rmd_buf_release(&b);
    cw_submit(w, "urgent", google, 4, 100);
    cw_pass(w, HOUR, STEP);
    assert_int_equal(sent_by(w, cold, 0), 4);
    /* A warm one comes: what is urgent goes from there first, though the cold one has room again. */
    cw_pass(w, 2 * HOUR, STEP);
    add(w, "198.51.100.9", "story", 1000);
    assert_int_equal(look(w, "203.0.113.7", "google").v.free, 4);
    cw_submit(w, "urgent", google, 50, 200);
    cw_pass(w, 2 * HOUR, STEP);
    assert_int_equal(sent_by(w, cold, 0), 4);
    assert_int_equal(w->n_rcpts, 58);
    done(w);
}

static const char *list_of(struct rmd_buf *b, int n, const char *domain, const char *const *engaged, int n_engaged) {
    rmd_buf_addf(b, "email,engaged_at\n");
    for (int i = 0; i < n; i++)
        rmd_buf_addf(b, "u%d@%s,%s\n", i, domain, engaged[i % n_engaged]);
    return rmd_buf_str(b);
}

static void engaged_recipients_come_first(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t cold = add(w, "203.0.113.7", "story", 0);
    add(w, "198.51.100.9", "story", 100000);
    char recent[32];
    rmd_date_rfc3339(w->now.wall_ms - 2 * DAY, recent);
    const char *const when[] = {"2019-01-01", "", "2026-08-30", recent, "2026-01-05"}; /* recent: u3, u8, u13, ... */
    struct rmd_buf b = {0};
    cw_submit_csv(w, "bulk", list_of(&b, 2000, "g.test", when, 5));
    rmd_buf_release(&b);
    cw_pass(w, 12 * HOUR, STEP);
    assert_int_equal(w->n_rcpts, 2000);
    assert_int_equal(sent_by(w, cold, 0), 20);
    for (size_t i = 0; i < w->n_rcpts; i++) {
        if (w->rcpt[i].source != cold)
            continue;
        unsigned n = (unsigned)strtoul(w->rcpt[i].email + 1, NULL, 10);
        assert_int_equal(n % 5, 3);
    }
    done(w);
}

static void sites_of_other_have_ceilings(void **state) {
    (void)state;
    struct cw *w = world();
    cw_domain(w, "p.test", "mx.p.test");
    cw_domain(w, "same.test", "mx.o.test"); /* of the site of o.test */
    uint32_t cold = add(w, "203.0.113.7", "story", 0);
    static const char *const domains[] = {"o.test", "same.test", "p.test", NULL};
    cw_submit(w, "bulk", domains, 300, 0);
    cw_pass(w, 10 * HOUR, STEP);
    size_t o = 0, p = 0;
    for (size_t i = 0; i < w->n_rcpts; i++)
        ++*(strstr(w->rcpt[i].email, "@p.test") ? &p : &o);
    assert_int_equal(o, 5);
    assert_int_equal(p, 5);
    cw_crash(w, false); /* remembered */
    cw_pass(w, 4 * HOUR, STEP);
    assert_int_equal(sent_by(w, cold, 0), 10);
    add(w, "198.51.100.9", "story", 1000); /* a warm lane has none */
    cw_pass(w, 12 * HOUR, STEP);
    assert_true(w->n_rcpts > 200);
    done(w);
}

/* More sites than a campaign's window has chunks: those at their ceilings make room for the others. */
static void many_sites_of_other(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t cold = add(w, "203.0.113.7", "story", 0);
    static char name[24][24];
    const char *domains[25] = {0};
    for (unsigned i = 0; i < 24; i++) {
        char mx[32];
        assert_true(rmd_format(name[i], sizeof name[i], "s%u.test", i) > 0);
        assert_true(rmd_format(mx, sizeof mx, "mx.s%u.test", i) > 0);
        cw_domain(w, name[i], mx);
        domains[i] = name[i];
    }
    struct rmd_command m = {.kind = RMD_CMD_WARMUP_SET, .name = "203.0.113.7", .number = 7, .reason = "known"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_submit(w, "bulk", domains, 24 * 40, 0);
    cw_pass(w, 12 * HOUR, STEP);
    assert_int_equal(sent_by(w, cold, 0), 200);
    for (unsigned i = 0; i < 24; i++) {
        size_t n = 0;
        for (size_t k = 0; k < w->n_rcpts; k++)
            n += rmd_has_suffix(strchr(w->rcpt[k].email, '@') + 1, name[i]);
        assert_in_range(n, 0, 12);
    }
    done(w);
}

static void places_in_a_network(void **state) {
    (void)state;
    struct cw *w = world();
    w->o.warm_per_network = 1;
    cw_crash(w, false);
    uint32_t first = add(w, "203.0.113.7", "story", 0), second = add(w, "203.0.113.8", "story", 0),
             elsewhere = add(w, "198.51.100.9", "story", 0);
    assert_string_equal(look(w, "203.0.113.8", "google").state, "waits");
    assert_string_equal(look(w, "203.0.113.8", "google").detail, "1 source of 203.0.113.0/24 warms up already");
    cw_submit(w, "bulk", google, 100, 0);
    cw_pass(w, 12 * HOUR, STEP);
    assert_int_equal(sent_by(w, second, 0), 0);
    assert_int_equal(sent_by(w, first, 0), 20);
    assert_int_equal(sent_by(w, elsewhere, 0), 20);
    struct rmd_command m = {
        .kind = RMD_CMD_WARMUP_SET, .name = "203.0.113.7", .number = UINT32_MAX, .reason = "known there"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_string_equal(look(w, "203.0.113.8", "google").state, "warming");
    cw_pass(w, 2 * HOUR, STEP);
    assert_true(sent_by(w, second, 0) > 0 || sent_by(w, first, 0) > 20);
    done(w);
}

static void a_provider_that_wants_to_know_first(void **state) {
    (void)state;
    struct cw *w = world();
    w->provider[1].register_first = true; /* yahoo */
    cw_crash(w, false);
    static const char *const yahoo[] = {"y.test", NULL};
    cw_source(w, "203.0.113.7", "n1", 0); /* without any warm-up */
    cw_submit(w, "bulk", yahoo, 10, 0);
    cw_submit(w, "bulk", google, 10, 0);
    cw_pass(w, HOUR, STEP);
    assert_int_equal(w->n_rcpts, 10);
    struct rmd_buf b = {0};
    rmd_coord_explain(w->core, 1, rmd_coord_stream_by_name(w->core, 1, "bulk")->id, NULL, "y.test", &b);
    assert_non_null(strstr(rmd_buf_str(&b), "must be registered with the provider first"));
    rmd_buf_release(&b);
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_REGISTER, .name = "203.0.113.7", .provider = "yaho"};
    assert_int_equal(cw_command(w, &m), RMD_EINVAL);
    m.provider = "yahoo";
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_crash(w, false);
    cw_pass(w, HOUR, STEP);
    assert_int_equal(w->n_rcpts, 20);
    assert_int_equal(cw_events(w, "source.registered"), 1);
    done(w);
}

static void domains_warm_up_too(void **state) {
    (void)state;
    struct cw *w = world();
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    r.domain_warmup = (char *)(uintptr_t) "story";
    r.priority = 5;
    cw_stream(w, "new", &r);
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_source(w, "198.51.100.9", "n1", 0);
    uint32_t number = 0;
    int64_t begin = w->now.wall_ms / DAY * DAY + 4 * HOUR;
    for (int d = 0; d < 3; d++) {
        cw_submit(w, "new", google, 100, number);
        number += 100;
        cw_pass(w, DAY, STEP);
        cw_crash(w, false);
    }
    for (int d = 0; d < 3; d++) { /* over both sources */
        size_t n = 0;
        for (size_t i = 0; i < w->n_rcpts; i++)
            n += w->rcpt[i].at_ms >= begin + d * (int64_t)DAY && w->rcpt[i].at_ms < begin + (d + 1) * (int64_t)DAY;
        assert_int_equal(n, lane_caps[d]);
    }
    struct looked l = look(w, "example.org", "google");
    assert_int_equal(l.v.stage, 4);
    assert_null(l.v.source);
    struct rmd_command m = {.kind = RMD_CMD_WARMUP_PAUSE, .name = "example.org", .provider = "google"};
    assert_int_equal(cw_command(w, &m), RMD_EINVAL); /* why? */
    m.reason = "a holiday";
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, DAY, STEP);
    l = look(w, "example.org", "google");
    assert_int_equal(l.v.stage, 4);
    assert_string_equal(l.state, "paused");
    assert_string_equal(l.detail, "a holiday");
    m.kind = RMD_CMD_WARMUP_RESUME;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, DAY, STEP);
    assert_int_equal(look(w, "example.org", "google").v.stage, 5);
    m = (struct rmd_command){.kind = RMD_CMD_WARMUP_SET, .name = "example.org", .number = 2, .reason = "careful"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_int_equal(look(w, "example.org", "google").v.stage, 2);
    assert_int_equal(look(w, "example.org", "yahoo").v.stage, 2);
    m.number = 13;
    assert_int_equal(cw_command(w, &m), RMD_EINVAL);
    m.name = "example.net";
    assert_int_equal(cw_command(w, &m), RMD_ENOTFOUND);
    m.name = "203.0.113.7";
    assert_int_equal(cw_command(w, &m), RMD_ECONFLICT);
    assert_int_equal(source_add(w, "192.0.2.1", "reckless", 0), RMD_EINVAL);
    assert_non_null(strstr(w->reply_text, "there is no warm-up plan \"reckless\"; there are story"));
    done(w);
}

static unsigned said_of; /* scope of what receivers defer every sixth RCPT for; 0: they take all */

static void defers_a_sixth(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                           Remuda__Outcome *o) {
    (void)n;
    (void)l;
    (void)email;
    if (said_of && w->n_rcpts % 6 == 0)
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_RATE_LIMITED, RMD_ACTION_RETRY, said_of, false);
}

/* A domain and a source of its mail warm up together: what is said of the one holds that one's stage only. */
static void who_is_refused_is_held(void **state) {
    (void)state;
    static const struct {
        unsigned scope;
        uint32_t domain, source; /* the stage after that day */
        const char *held;        /* whose gate says so, on that day */
    } rows[] = {{0, 7, 7, NULL},
                {RMD_SCOPE_SENDING_DOMAIN, 6, 8, "example.org"},
                {RMD_SCOPE_LANE, 6, 7, "203.0.113.7"}, /* the domain is held for one good day, and this is it */
                {0, 7, 7, NULL}};
    struct cw *w = world();
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    r.domain_warmup = (char *)(uintptr_t) "story";
    r.priority = 5;
    cw_stream(w, "new", &r);
    add(w, "203.0.113.7", "story", 0);
    struct rmd_command m = {.kind = RMD_CMD_WARMUP_SET, .name = "203.0.113.7", .number = 6, .reason = "known"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    m.name = "example.org";
    assert_int_equal(cw_command(w, &m), RMD_OK);
    w->answer = defers_a_sixth;
    for (uint32_t d = 0; d < sizeof rows / sizeof rows[0]; d++) {
        size_t back = cw_events(w, "warmup.back");
        said_of = rows[d].scope;
        cw_submit(w, "new", google, 300, 300 * d);
        cw_pass(w, DAY, STEP);
        struct looked domain = look(w, "example.org", "google"), source = look(w, "203.0.113.7", "google");
        if (domain.v.stage != rows[d].domain || source.v.stage != rows[d].source)
            fail_msg("day %u: the domain is on stage %u, the source on %u", d, domain.v.stage, source.v.stage);
        assert_int_equal(cw_events(w, "warmup.back") - back, rows[d].held != NULL);
        if (rows[d].held)
            assert_non_null(
                strstr(look(w, rows[d].held, "google").detail, "gate deferrals at 1")); /* about a sixth */
    }
    done(w);
}

static void what_binds_is_said(void **state) {
    (void)state;
    struct cw *w = world();
    add(w, "203.0.113.7", "story", 0);
    cw_submit(w, "bulk", google, 100, 0);
    cw_pass(w, 30 * 60000, STEP);
    assert_int_equal(w->n_rcpts, 4);
    struct rmd_buf b = {0};
    uint32_t bulk = rmd_coord_stream_by_name(w->core, 1, "bulk")->id;
    rmd_coord_explain(w->core, 1, bulk, NULL, "g.test", &b);
    assert_non_null(strstr(rmd_buf_str(&b), "what binds: warm-up's share of the hour"));
    assert_non_null(strstr(rmd_buf_str(&b), "(warm-up: stage 1 of 12)"));
    assert_non_null(strstr(rmd_buf_str(&b), "4 an hour, 4 used, 0 outstanding; more frees in 3"));
    cw_pass(w, 8 * HOUR, STEP);
    assert_int_equal(w->n_rcpts, 20);
    rmd_buf_clear(&b);
    rmd_coord_explain(w->core, 1, bulk, NULL, "g.test", &b);
    assert_non_null(strstr(rmd_buf_str(&b), "what binds: warm-up cap"));
    assert_non_null(strstr(rmd_buf_str(&b), "cap of the lane: 20 a day, 20 used in 24 h"));
    rmd_buf_release(&b);
    done(w);
}

/* A reload turns the providers around, leaves one out, brings it back: what was counted stays where it belongs. */
static void a_warm_up_follows_its_provider_through_reloads(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t source = add(w, "203.0.113.7", "story", 0), number = 0;
    struct judge j = {.source = source, .provider = rmd_provider_id("google")};
    days(w, &j, "203.0.113.7", 6, 100, &number);
    struct looked before = look(w, "203.0.113.7", "google");
    assert_true(before.v.stage > 1);
    Remuda__ProviderPolicy *orders[3][3] = {{&w->provider[1], &w->provider[0], &w->provider[2]},
                                            {&w->provider[1], &w->provider[2], NULL},
                                            {&w->provider[0], &w->provider[1], &w->provider[2]}};
    for (int i = 0; i < 3; i++) {
        struct rmd_command c = {.kind = RMD_CMD_RELOAD, .providers = orders[i], .n_providers = orders[i][2] ? 3 : 2};
        assert_int_equal(cw_command(w, &c), RMD_OK);
        if (i == 1)
            continue; /* google isn't there */
        struct looked now = look(w, "203.0.113.7", "google");
        assert_int_equal(now.v.stage, before.v.stage);
        assert_int_equal(now.v.cap, before.v.cap);
        assert_string_equal(now.v.provider, "google");
        assert_int_equal(look(w, "203.0.113.7", "yahoo").v.stage, 1); /* the first one */
    }
    days(w, &j, "203.0.113.7", 4, 100, &number);
    assert_true(look(w, "203.0.113.7", "google").v.stage >= before.v.stage); /* and it goes on */
    done(w);
}

/* What came back from a stopped lane goes to the warm lane of another network; the cold one, which would be first in order, gets none. */
static void moved_work_goes_to_warm_lanes(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = &w->node[0];
    n->holds = true;
    uint32_t a = cw_source(w, "203.0.113.7", "n1", 0), b = cw_source(w, "192.0.2.7", "n1", 0);
    cw_submit(w, "bulk", google, 200, 0);
    cw_pass(w, 2000, 200); /* one lease of one lane has all of it */
    uint32_t first = n->lease[0]->source, cold = add(w, "198.51.100.9", "story", 0);
    struct rmd_verdict v = {.class = RMD_CLASS_IP_BLOCKLISTED,
                            .scope = RMD_SCOPE_SOURCE,
                            .at_provider = true,
                            .action = RMD_ACTION_QUARANTINE,
                            .duration_ms = DAY,
                            .move = true,
                            .rule = "block"};
    size_t t0 = w->n_rcpts;
    cw_alarm(w, n, first, rmd_provider_id("google"), &v, 1);
    for (int k = 0; k < 120; k++) {
        cw_pass(w, 60000, 10000);
        cw_answer_all(w, n);
    }
    size_t to_warm = 0;
    for (size_t k = t0; k < w->n_rcpts; k++) {
        assert_int_not_equal(w->rcpt[k].source, cold);
        to_warm += w->rcpt[k].source == (first == a ? b : a);
    }
    assert_true(to_warm >= 20);
    done(w);
}

/* A reload brings the plan with other caps: the stage stays, the cap is the new list's, and the caller's memory isn't needed any more. */
static void a_plan_that_changes_holds_at_once(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t source = add(w, "203.0.113.7", "story", 0), number = 0;
    struct judge j = {.source = source, .provider = rmd_provider_id("google")};
    days(w, &j, "203.0.113.7", 3, 100, &number);
    struct looked before = look(w, "203.0.113.7", "google");
    uint64_t caps[12];
    for (int i = 0; i < 12; i++)
        caps[i] = lane_caps[i] / 2 + 1;
    struct rmd_plan slower = story_plan;
    const struct rmd_plan *next[] = {&slower};
    slower.fallback.cap = caps;
    Remuda__ProviderPolicy *same[] = {&w->provider[0], &w->provider[1], &w->provider[2]};
    struct rmd_command c = {.kind = RMD_CMD_RELOAD, .providers = same, .n_providers = 3, .plan = next, .n_plans = 1};
    assert_int_equal(cw_command(w, &c), RMD_OK);
    memset(caps, 0x5a, sizeof caps);
    struct looked now = look(w, "203.0.113.7", "google");
    assert_int_equal(now.v.stage, before.v.stage);
    assert_int_equal(now.v.cap, before.v.cap / 2 + 1);
    done(w);
}

/* One command is one event; who is stopped has no date, whatever its days were. */
static void what_holds_a_lane_is_said(void **state) {
    (void)state;
    struct cw *w = world();
    uint32_t a = add(w, "203.0.113.7", "story", 0), number = 0;
    struct judge j = {.source = a, .provider = rmd_provider_id("google")};
    struct rmd_command m = {.kind = RMD_CMD_WARMUP_PAUSE, .name = "203.0.113.7", .reason = "a holiday"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_true(w->reply_number > 1); /* lanes */
    assert_int_equal(cw_events(w, "warmup.paused"), 1);
    struct looked l = look(w, "203.0.113.7", "google");
    no_date(&l, "a holiday");
    m.kind = RMD_CMD_WARMUP_RESUME;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_int_equal(cw_events(w, "warmup.resumed"), 1);
    assert_int_equal(cw_command(w, &m), RMD_OK); /* nothing is new */
    assert_int_equal(w->reply_number, 0);
    assert_int_equal(cw_events(w, "warmup.resumed"), 1);
    m = (struct rmd_command){.kind = RMD_CMD_WARMUP_SET, .name = "203.0.113.7", .number = 2, .reason = "known"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_int_equal(cw_events(w, "warmup.set"), 1);
    days(w, &j, "203.0.113.7", 3, 100, &number);
    l = look(w, "203.0.113.7", "google");
    assert_true(l.v.forecast_day > rmd_coord_sending_day(w->core));
    struct rmd_verdict v = {.class = RMD_CLASS_IP_BLOCKLISTED,
                            .scope = RMD_SCOPE_SOURCE,
                            .at_provider = true,
                            .action = RMD_ACTION_QUARANTINE,
                            .move = true,
                            .rule = "block"};
    cw_alarm(w, &w->node[0], a, rmd_provider_id("google"), &v, 1);
    cw_run(w);
    l = look(w, "203.0.113.7", "google");
    no_date(&l, "quarantined (incident 1)");
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_days),
        cmocka_unit_test(steps_of_the_clock_gain_nothing),
        cmocka_unit_test(small_volumes_concentrate),
        cmocka_unit_test(what_a_cold_lane_takes_late_goes_to_warm_ones),
        cmocka_unit_test(overflow_goes_to_warm_lanes),
        cmocka_unit_test(a_slow_cold_lane_keeps_little),
        cmocka_unit_test(what_has_waited_goes_to_warm_lanes),
        cmocka_unit_test(nothing_waits_for_a_lane_when_it_is_urgent),
        cmocka_unit_test(engaged_recipients_come_first),
        cmocka_unit_test(sites_of_other_have_ceilings),
        cmocka_unit_test(many_sites_of_other),
        cmocka_unit_test(places_in_a_network),
        cmocka_unit_test(a_provider_that_wants_to_know_first),
        cmocka_unit_test(domains_warm_up_too),
        cmocka_unit_test(who_is_refused_is_held),
        cmocka_unit_test(what_binds_is_said),
        cmocka_unit_test(a_warm_up_follows_its_provider_through_reloads),
        cmocka_unit_test(moved_work_goes_to_warm_lanes),
        cmocka_unit_test(a_plan_that_changes_holds_at_once),
        cmocka_unit_test(what_holds_a_lane_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
