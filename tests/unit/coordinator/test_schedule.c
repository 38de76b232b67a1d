/* Campaigns that start at a time, are spread over a period, or go in batches: nothing before, never more than released. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/schedule.h"
#include "proto/codec.h"
#include "tests/kit/coord_world.h"

enum { S = 1000, MIN = 60 * S, H = 60 * MIN };

/* ---------------------------------------------------------------- arithmetic */

static void how_much_is_released(void **state) {
    (void)state;
    const struct {
        struct rmd_schedule s;
        uint64_t base, rows;
        int64_t at;
        uint64_t released;
        int64_t next, end; /* 0: never */
    } rows[] = {
        /* at a time; everything, then */
        {{5000, 0, 0, 0}, 0, 100, 4999, 0, 5000, 5000},
        {{5000, 0, 0, 0}, 0, 100, 5000, UINT64_MAX, 0, 5000},
        /* in batches from 1000 on */
        {{1000, 0, 10, 60 * S}, 0, 25, 999, 0, 1000, 1000 + 120 * S},
        {{1000, 0, 10, 60 * S}, 0, 25, 1000, 10, 1000 + 60 * S, 1000 + 120 * S},
        {{1000, 0, 10, 60 * S}, 0, 25, 60 * S + 999, 10, 1000 + 60 * S, 1000 + 120 * S},
        {{1000, 0, 10, 60 * S}, 0, 25, 60 * S + 1000, 20, 1000 + 120 * S, 1000 + 120 * S},
        {{1000, 0, 10, 60 * S}, 0, 25, 120 * S + 1000, UINT64_MAX, 0, 1000 + 120 * S},
        {{1000, 0, 10, 60 * S}, 5, 25, 1000, 15, 1000 + 60 * S, 1000 + 60 * S}, /* five were offered before */
        {{1000, 0, 10, 60 * S}, 0, 10, 1000, UINT64_MAX, 0, 1000},
        /* over six hours: a minute a slice */
        {{1000, 6 * H, 0, 0}, 0, 36000, 1000, 100, 1000 + MIN, 1000 + 359 * MIN},
        {{1000, 6 * H, 0, 0}, 0, 36000, 1000 + 3 * H, 18100, 1000 + 181 * MIN, 1000 + 359 * MIN},
        {{1000, 6 * H, 0, 0}, 0, 36000, 1000 + 359 * MIN, UINT64_MAX, 0, 1000 + 359 * MIN},
        {{1000, 6 * H, 0, 0},
         0,
         2,
         1000,
         0,
         1000 + 179 * MIN,
         1000 + 359 * MIN},                                         /* few recipients: not every slice has one */
        {{1000, 10 * S, 0, 0}, 0, 20, 1000, 2, 2000, 1000 + 9 * S}, /* no slice under a second */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_release r = {.s = rows[i].s, .from_wall_ms = 1000, .base = rows[i].base, .rows = rows[i].rows};
        if (!rows[i].s.over_ms && !rows[i].s.batch)
            r.from_wall_ms = rows[i].s.start_wall_ms;
        uint64_t released = rmd_release_at(&r, rows[i].at);
        if (released != rows[i].released)
            fail_msg("row %zu: %llu released, not %llu", i, (unsigned long long)released,
                     (unsigned long long)rows[i].released);
        int64_t next = rmd_release_next(&r, rows[i].at);
        if (next != (rows[i].next ? rows[i].next : RMD_NEVER))
            fail_msg("row %zu: next at %lld", i, (long long)next);
        assert_int_equal(rmd_release_end(&r), rows[i].end);
        if (next != RMD_NEVER) /* a wake-up that brings something, and no wake-up before */
            assert_true(rmd_release_at(&r, next) > released && rmd_release_at(&r, next - 1) == released);
    }
}

static void what_contradicts_itself_is_told(void **state) {
    (void)state;
    const struct {
        struct rmd_schedule s;
        uint64_t rows;
        const char *why; /* NULL: fine */
    } rows[] = {
        {{0, 0, 0, 0}, 10, NULL},
        {{100 * H, 0, 0, 0}, 10, NULL},
        {{1000, 0, 0, 0}, 10, "has passed"},
        {{400 * 24LL * H, 0, 0, 0}, 10, "within a year"},
        {{0, H, 10, H}, 10, "not both"},
        {{0, 0, 10, 0}, 10, "needs --every"},
        {{0, 0, 0, H}, 10, "needs --batch"},
        {{0, 10, 0, 0}, 10, "at least 1s"},
        {{0, 72 * (int64_t)H, 0, 0}, 10, "too long"},
        {{0, 71 * (int64_t)H, 0, 0}, 10, NULL},
        {{0, 0, 10, H}, 720, NULL},
        {{0, 0, 10, H}, 731, "74 batches take 3d 1h"},
        {{0, 0, 1, H}, 0, NULL}, /* not known yet */
        {{0, 0, 1, H}, UINT64_MAX / 2, "batches take more than"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_buf why = {0};
        bool good = rmd_schedule_check(&rows[i].s, rows[i].rows, 10 * S, 72 * (int64_t)H, &why);
        if (good != !rows[i].why || (rows[i].why && !strstr(rmd_buf_str(&why), rows[i].why)))
            fail_msg("row %zu: \"%s\"", i, rmd_buf_str(&why));
        rmd_buf_release(&why);
    }
}

/* ---------------------------------------------------------------- stories */

static const char *const google[] = {"g.test", NULL}, *const three[] = {"g.test", "y.test", "o.test", NULL};

static struct cw *world(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.age_limit_ms = 72 * (int64_t)H;
    cw_stream(w, "bulk", &s);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static struct rmd_id submit(struct cw *w, const char *const *domains, uint32_t n, struct rmd_schedule s) {
    Remuda__CampaignRecord r = REMUDA__CAMPAIGN_RECORD__INIT;
    r.start_wall_ms = s.start_wall_ms;
    r.over_ms = s.over_ms;
    r.batch = s.batch;
    r.every_ms = s.every_ms;
    w->schedule = &r;
    struct rmd_id id = cw_submit(w, "bulk", domains, n, 0);
    w->schedule = NULL;
    return id;
}

/* Different recipients that a receiver was asked for, up to a time. */
static unsigned contacted(const struct cw *w, int64_t until, const char *at) {
    unsigned n = 0;
    for (size_t i = 0; i < w->n_rcpts; i++) {
        bool again = w->rcpt[i].at_ms > until || !strstr(w->rcpt[i].email, at);
        for (size_t k = 0; k < i && !again; k++)
            again = strcmp(w->rcpt[k].email, w->rcpt[i].email) == 0;
        n += !again;
    }
    return n;
}

/* A recipient waits for its own campaign's time, not for that of others of its stream. */
static void explain_tells_the_time_of_its_own_campaign(void **state) {
    (void)state;
    struct cw *w = world();
    struct rmd_id later = submit(w, google, 10, (struct rmd_schedule){.start_wall_ms = w->now.wall_ms + 2 * H});
    struct rmd_id now = submit(w, google, 10, (struct rmd_schedule){0});
    struct rmd_buf text = {0};
    rmd_coord_explain(w->core, 1, 1, &later, "g.test", &text);
    assert_non_null(strstr(rmd_buf_str(&text), "starts at "));
    rmd_buf_clear(&text);
    rmd_coord_explain(w->core, 1, 1, &now, "g.test", &text);
    assert_null(strstr(rmd_buf_str(&text), "starts at "));
    rmd_buf_release(&text);
    done(w);
}

static void nothing_leaves_before_its_time(void **state) {
    (void)state;
    struct cw *w = world();
    int64_t start = w->now.wall_ms + 2 * H;
    struct rmd_id id = submit(w, google, 300, (struct rmd_schedule){.start_wall_ms = start});
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_true(v.scheduled);
    assert_non_null(strstr(v.waits_for, "starts at "));
    assert_true(rmd_coord_deadline(w->core) - w->now.mono_ms <= 2 * H);
    cw_pass(w, 90 * MIN, MIN);
    cw_crash(w, false); /* remembered */
    cw_pass(w, 29 * MIN, MIN);
    assert_int_equal(w->n_rcpts, 0);
    cw_pass(w, 2 * MIN, 10 * S);
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 300);
    assert_int_equal(contacted(w, start - 1, "@"), 0);
    assert_true(w->rcpt[0].at_ms < start + 2 * S);
    assert_int_equal(cw_events(w, "campaign.started"), 1);
    assert_false(v.scheduled);
    done(w);
}

/* The core says itself when it must be woken: nobody else has a word with it. */
static void it_wakes_at_the_time(void **state) {
    (void)state;
    struct cw *w = world();
    int64_t start = w->now.wall_ms + 40 * S, mono = w->now.mono_ms + 40 * S;
    submit(w, google, 10, (struct rmd_schedule){.start_wall_ms = start});
    while (rmd_coord_deadline(w->core) < mono) {
        w->now.wall_ms += rmd_coord_deadline(w->core) - w->now.mono_ms;
        w->now.mono_ms = rmd_coord_deadline(w->core);
        cw_run(w);
        assert_true(w->now.mono_ms <= mono);
    }
    assert_int_equal(rmd_coord_deadline(w->core), mono);
    done(w);
}

static void batches_are_exact_through_crashes(void **state) {
    (void)state;
    struct cw *w = world();
    int64_t t0 = w->now.wall_ms;
    struct rmd_id id = submit(w, three, 1000, (struct rmd_schedule){.batch = 100, .every_ms = 10 * MIN});
    struct rmd_campaign_view v;
    for (unsigned b = 1; b <= 5; b++) {
        cw_pass(w, 5 * MIN, 5 * S);
        assert_int_equal(contacted(w, w->now.wall_ms, "@"), 100 * b);
        cw_campaign(w, &id, &v);
        assert_int_equal(v.released, 100 * b);
        assert_int_equal(v.next_release, 100);
        assert_int_equal(v.next_release_wall_ms, t0 + b * 10LL * MIN);
        assert_int_equal(v.all_released_wall_ms, t0 + 90LL * MIN);
        assert_non_null(strstr(v.waits_for, "next batch of 100 at "));
        cw_crash(w, b == 3);
        cw_pass(w, w->now.wall_ms < t0 + b * 10LL * MIN ? t0 + b * 10LL * MIN - w->now.wall_ms : 0, 5 * S);
    }
    cw_pass(w, 60 * MIN, 10 * S);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->offered, 1000);
    done(w);
}

static bool every_lease(void *ctx, const struct cw_lease *l) {
    (void)ctx, (void)l;
    return true;
}

static void what_a_node_gives_back_is_released_once(void **state) {
    (void)state;
    struct cw *w = world();
    w->node[0].holds = true;
    struct rmd_id id = submit(w, google, 1000, (struct rmd_schedule){.batch = 100, .every_ms = H});
    for (int i = 0; i < 5; i++) { /* taken and given back, and part of it sent */
        cw_pass(w, 3 * S, S);
        cw_answer_some(w, &w->node[0], 10);
        cw_give_back(w, &w->node[0], every_lease, NULL, RMD_RETURN_RECALLED);
        cw_pass(w, 3 * S, S);
    }
    w->node[0].holds = false;
    cw_answer_all(w, &w->node[0]);
    cw_pass(w, MIN, S);
    assert_int_equal(contacted(w, w->now.wall_ms, "@"), 100);
    assert_int_equal(cw_campaign(w, &id, NULL)->offered, 100);
    cw_pass(w, H, 10 * S);
    assert_int_equal(contacted(w, w->now.wall_ms, "@"), 200);
    done(w);
}

static void greylist_first(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                           Remuda__Outcome *o) {
    (void)n, (void)l;
    for (size_t i = 0; i < w->n_rcpts; i++)
        if (strcmp(w->rcpt[i].email, email) == 0)
            return;
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_RECIPIENT, false);
}

static void retries_need_no_release(void **state) {
    (void)state;
    struct cw *w = world();
    w->answer = greylist_first;
    struct rmd_id id = submit(w, google, 200, (struct rmd_schedule){.batch = 100, .every_ms = 10 * (int64_t)H});
    cw_pass(w, 2 * H, MIN);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 100);
    assert_int_equal(contacted(w, w->now.wall_ms, "@"), 100);
    assert_int_equal(w->n_rcpts, 200);
    done(w);
}

static void spread_is_even_in_time_and_over_providers(void **state) {
    (void)state;
    struct cw *w = world();
    int64_t t0 = w->now.wall_ms;
    struct rmd_id id = submit(w, three, 3000, (struct rmd_schedule){.over_ms = 2 * H});
    cw_pass(w, 2 * H, 20 * S);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 3000);
    for (int64_t t = 10; t < 120; t += 10) {
        unsigned n = contacted(w, t0 + t * MIN, "@"), most = (unsigned)(3000 * (t * 3 + 1) / 360);
        assert_in_range(n, most - 60, most);
        const char *const at[] = {"@g.test", "@y.test", "@o.test"};
        for (size_t i = 0; i < 3; i++)
            assert_in_range(contacted(w, t0 + t * MIN, at[i]), n / 3 - 20, n / 3 + 20);
    }
    done(w);
}

static void a_clock_that_steps_releases_nothing_twice(void **state) {
    (void)state;
    struct cw *w = world();
    struct rmd_id id =
        submit(w, google, 1000,
               (struct rmd_schedule){.start_wall_ms = w->now.wall_ms + H, .batch = 100, .every_ms = 10 * MIN});
    cw_pass(w, 75 * MIN, 10 * S);
    assert_int_equal(contacted(w, w->now.wall_ms, "@"), 200);
    w->now.wall_ms -= 2 * H; /* before its start: it has started */
    for (size_t i = 0; i < w->n_nodes; i++)
        w->node[i].heartbeat_ms -= 2 * H;
    cw_pass(w, 20 * MIN, 10 * S);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_false(v.scheduled);
    assert_int_equal(w->n_rcpts, 200);
    w->now.wall_ms += 2 * H + 30 * MIN; /* what is due by then, and no more */
    cw_pass(w, MIN, 10 * S);
    assert_int_equal(w->n_rcpts, 700);
    done(w);
}

static int set(struct cw *w, const struct rmd_id *id, struct rmd_schedule_change m) {
    struct rmd_command c = {.kind = RMD_CMD_CAMPAIGN_SCHEDULE, .id = *id, .schedule = &m, .reason = "because"};
    return cw_command(w, &c);
}

static void it_can_be_changed_before_and_while_it_runs(void **state) {
    (void)state;
    struct cw *w = world();
    struct rmd_id id = submit(w, google, 1000, (struct rmd_schedule){.start_wall_ms = w->now.wall_ms + 10 * H});
    int64_t until = cw_campaign(w, &id, NULL)->start_wall_ms + 72 * (int64_t)H;
    assert_int_equal(set(w, &id, (struct rmd_schedule_change){.set_at = true, .s.start_wall_ms = 5}), RMD_EINVAL);
    assert_non_null(strstr(w->reply_text, "has passed"));
    assert_int_equal(set(w, &id, (struct rmd_schedule_change){.set_over = true, .s.over_ms = 90 * (int64_t)H}),
                     RMD_EINVAL);
    (void)until;
    struct rmd_schedule_change soon = {.set_at = true, .set_batch = true, .set_every = true};
    soon.s = (struct rmd_schedule){.start_wall_ms = w->now.wall_ms + H, .batch = 50, .every_ms = 10 * MIN};
    assert_int_equal(set(w, &id, soon), RMD_OK);
    cw_pass(w, 62 * MIN, 10 * S);
    assert_int_equal(w->n_rcpts, 50);
    /* In place of batches the rest is spread over an hour, beginning now. */
    assert_int_equal(set(w, &id, (struct rmd_schedule_change){.set_over = true, .s.over_ms = H}), RMD_OK);
    cw_pass(w, 30 * MIN, 10 * S);
    assert_in_range(w->n_rcpts, 50 + 460, 50 + 485);
    size_t n = w->n_rcpts;
    /* Later: it stops until then, and the age counts from then. */
    assert_int_equal(
        set(w, &id,
            (struct rmd_schedule_change){.set_at = true, .s.start_wall_ms = w->now.wall_ms + 100 * (int64_t)H}),
        RMD_OK);
    cw_pass(w, 99 * (int64_t)H, 10 * MIN);
    assert_int_equal(w->n_rcpts, n);
    /* At once, all of it. */
    struct rmd_schedule_change all = {.set_at = true, .set_over = true};
    assert_int_equal(set(w, &id, all), RMD_OK);
    cw_pass(w, MIN, S);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 1000);
    assert_int_equal(cw_events(w, "campaign.scheduled"), 4);
    assert_int_equal(set(w, &id, all), RMD_ECONFLICT);
    done(w);
}

/* Ten changes in a row, a second apart, release nothing; the next release comes when it was due, by the plan that holds then. */
static void a_change_releases_nothing(void **state) {
    (void)state;
    const struct rmd_schedule_change batches = {.set_batch = true,
                                                .set_every = true,
                                                .s = {.batch = 50, .every_ms = 10 * MIN}},
                                     larger = {.set_batch = true,
                                               .set_every = true,
                                               .s = {.batch = 80, .every_ms = 10 * MIN}},
                                     later = {.set_every = true, .s.every_ms = 20 * MIN},
                                     spread = {.set_over = true, .s.over_ms = 60 * H}, /* a slice: 10 minutes */
        soon = {.set_at = true};
    const struct {
        const char *what;
        struct rmd_schedule_change a, b; /* in turn; b holds in the end */
        int64_t next;                    /* since the last release; and so many are released then */
        unsigned n;
    } rows[] = {
        {"the same again", batches, batches, 10 * MIN, 50},
        {"larger batches and back", larger, batches, 10 * MIN, 50},
        {"larger batches", batches, larger, 10 * MIN, 80},
        {"a longer time and back", later, batches, 10 * MIN, 50},
        {"a longer time", batches, later, 20 * MIN, 50},
        {"spread and back", spread, batches, 10 * MIN, 50},
        {"spread", batches, spread, 10 * MIN, 2}, /* 950 in 360 slices */
        {"started at once, which it is", soon, batches, 10 * MIN, 50},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cw *w = world();
        struct rmd_campaign_view v;
        print_message("  %s\n", rows[i].what);
        int64_t t0 = w->now.wall_ms;
        struct rmd_id id = submit(w, google, 1000, (struct rmd_schedule){.batch = 50, .every_ms = 10 * MIN});
        cw_pass(w, 5 * MIN, 5 * S);
        assert_int_equal(w->n_rcpts, 50);
        for (int k = 0; k < 10; k++) {
            assert_int_equal(set(w, &id, k % 2 ? rows[i].b : rows[i].a), RMD_OK);
            cw_pass(w, S, S);
            assert_int_equal(w->n_rcpts, 50);
        }
        cw_campaign(w, &id, &v);
        assert_int_equal(v.released, 50);
        assert_int_equal(v.next_release_wall_ms - t0, rows[i].next);
        cw_pass(w, t0 + rows[i].next - w->now.wall_ms - S, S);
        assert_int_equal(w->n_rcpts, 50);
        cw_pass(w, 5 * S, S);
        assert_int_equal(w->n_rcpts, 50 + rows[i].n);
        done(w);
    }
}

/* A shorter time is due sooner, once: not for all the time that has passed. Put off, it starts then and not with a piece before; what was
 * released and not offered yet stays released; and a campaign that went without a pace gets one from where it is. */
static void what_was_released_stays(void **state) {
    (void)state;
    struct cw *w = world();
    struct rmd_id id = submit(w, google, 1000, (struct rmd_schedule){.batch = 50, .every_ms = H});
    cw_pass(w, 30 * MIN, 5 * S);
    assert_int_equal(set(w, &id, (struct rmd_schedule_change){.set_every = true, .s.every_ms = 10 * MIN}), RMD_OK);
    cw_pass(w, 5 * MIN, S);
    assert_int_equal(w->n_rcpts, 100);
    struct rmd_schedule_change put_off = {.set_at = true, .s.start_wall_ms = w->now.wall_ms + MIN};
    assert_int_equal(set(w, &id, put_off), RMD_OK);
    put_off.s.start_wall_ms += MIN; /* and once more, while it waits: its last batch is five minutes old */
    assert_int_equal(set(w, &id, put_off), RMD_OK);
    cw_pass(w, 4 * MIN, S);
    assert_int_equal(w->n_rcpts, 100);
    cw_pass(w, 2 * MIN, S);
    assert_int_equal(w->n_rcpts, 150);
    /* A part of a batch wasn't offered yet when the plan changes. */
    struct rmd_command source = {
        .kind = RMD_CMD_SOURCE_STATE, .name = "203.0.113.7", .state = RMD_SOURCE_PAUSED, .reason = "x"};
    w->node[0].holds = true;
    cw_pass(w, 10 * MIN, S);
    cw_answer_some(w, &w->node[0], 20);
    assert_int_equal(cw_command(w, &source), RMD_OK);
    cw_give_back(w, &w->node[0], every_lease, NULL, RMD_RETURN_RECALLED);
    assert_int_equal(cw_campaign(w, &id, NULL)->offered, 170);
    assert_int_equal(set(w, &id, (struct rmd_schedule_change){.set_every = true, .s.every_ms = 3 * H}), RMD_OK);
    w->node[0].holds = false;
    source.state = RMD_SOURCE_ACTIVE;
    assert_int_equal(cw_command(w, &source), RMD_OK);
    cw_pass(w, H, 10 * S);
    assert_int_equal(contacted(w, w->now.wall_ms, "@"), 200);
    done(w);

    struct rmd_release r = {.rows = 1000, .from_wall_ms = 0};
    struct rmd_schedule s = {.batch = 50, .every_ms = H};
    struct rmd_release then = rmd_release_changed(&r, &s, 300, true, 7 * MIN);
    assert_int_equal(rmd_release_at(&then, 7 * MIN), 300);
    assert_int_equal(rmd_release_next(&then, 7 * MIN), 7 * MIN + H);
    then = rmd_release_changed(&r, &s, 0, false, 7 * MIN); /* it hadn't begun */
    assert_int_equal(rmd_release_at(&then, 7 * MIN), 50);
}

/* Put off and taken back while it runs: what was released stays so and is told so, parts keep their size, and the next one is due a step after
 * the last one was released, or at once when that has passed. */
static void putting_off_can_be_taken_back(void **state) {
    (void)state;
    const struct rmd_schedule_change none = {0}, smaller = {.set_batch = true,
                                                            .set_every = true,
                                                            .s = {.batch = 20, .every_ms = 5 * MIN}};
    const struct {
        const char *what;
        struct rmd_schedule s;
        int64_t off, back;                  /* when the change comes, since it was accepted */
        int64_t off_by;                     /* until then: how long after `off` */
        struct rmd_schedule_change between; /* while it is put off */
        unsigned had, n;                    /* released by then; and by the next release */
        int64_t planned, next;              /* when the next release is due, before and after it is taken back */
    } rows[] = {
        {"batches", {0, 0, 50, 10 * MIN}, 4 * MIN, 5 * MIN, 24 * H, none, 50, 50, 24 * H + 4 * MIN, 10 * MIN},
        {"batches, the second one is out",
         {0, 0, 50, 10 * MIN},
         14 * MIN,
         15 * MIN,
         24 * H,
         none,
         100,
         50,
         24 * H + 14 * MIN,
         20 * MIN},
        {"batches, long after", {0, 0, 50, 10 * MIN}, 4 * MIN, 3 * H, 24 * H, none, 50, 50, 24 * H + 4 * MIN, 3 * H},
        {"batches, for less than a step",
         {0, 0, 50, 10 * MIN},
         4 * MIN,
         5 * MIN,
         2 * MIN,
         none,
         50,
         50,
         10 * MIN,
         10 * MIN},
        {"batches, others meanwhile",
         {0, 0, 50, 10 * MIN},
         2 * MIN,
         3 * MIN,
         24 * H,
         smaller,
         50,
         20,
         24 * H + 2 * MIN,
         5 * MIN},
        /* over 60 h a slice is 10 minutes; 1000 recipients in 360 slices, and then the other 998 or 995 */
        {"spread", {0, 60 * H, 0, 0}, 4 * MIN, 5 * MIN, 24 * H, none, 2, 2, 24 * H + 4 * MIN, 10 * MIN},
        {"spread, the second slice is out",
         {0, 60 * H, 0, 0},
         14 * MIN,
         15 * MIN,
         24 * H,
         none,
         5,
         2,
         24 * H + 14 * MIN,
         20 * MIN},
        {"spread, long after", {0, 60 * H, 0, 0}, 4 * MIN, 3 * H, 24 * H, none, 2, 2, 24 * H + 4 * MIN, 3 * H},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int crash = 0; crash < 2; crash++) {
            struct cw *w = world();
            struct rmd_campaign_view v;
            print_message("  %s%s\n", rows[i].what, crash ? ", after a crash" : "");
            int64_t t0 = w->now.wall_ms;
            struct rmd_id id = submit(w, google, 1000, rows[i].s);
            cw_pass(w, rows[i].off, 5 * S);
            assert_int_equal(w->n_rcpts, rows[i].had);
            struct rmd_schedule_change off = {.set_at = true, .s.start_wall_ms = w->now.wall_ms + rows[i].off_by};
            assert_int_equal(set(w, &id, off), RMD_OK);
            if (rows[i].between.set_batch)
                assert_int_equal(set(w, &id, rows[i].between), RMD_OK);
            cw_campaign(w, &id, &v);
            assert_true(v.scheduled);
            assert_int_equal(v.released, rows[i].had);
            assert_int_equal(v.next_release, rows[i].n);
            assert_int_equal(v.next_release_wall_ms - t0, rows[i].planned);
            if (crash)
                cw_crash(w, false);
            cw_pass(w, t0 + rows[i].back - w->now.wall_ms, 5 * S);
            for (int k = 0; k < 3; k++) /* said more than once it releases no more */
                assert_int_equal(set(w, &id, (struct rmd_schedule_change){.set_at = true}), RMD_OK);
            cw_campaign(w, &id, &v);
            assert_false(v.scheduled);
            unsigned due = rows[i].next <= rows[i].back ? rows[i].n : 0;
            assert_int_equal(v.released, rows[i].had + due);
            if (!due) {
                assert_int_equal(v.next_release_wall_ms - t0, rows[i].next);
                assert_int_equal(v.next_release, rows[i].n);
                cw_pass(w, t0 + rows[i].next - w->now.wall_ms - S, S);
                assert_int_equal(w->n_rcpts, rows[i].had);
            }
            cw_pass(w, 5 * S, S);
            assert_int_equal(w->n_rcpts, rows[i].had + rows[i].n);
            done(w);
        }
    }
}

static void set_and_back(struct rmd_release *r, int64_t off, int64_t start, int64_t back, uint64_t offered) {
    struct rmd_schedule s = r->s;
    s.start_wall_ms = start;
    struct rmd_release then = rmd_release_changed(r, &s, offered, true, off);
    assert_int_equal(rmd_release_at(&then, start - 1), 0); /* nothing is offered */
    s.start_wall_ms = start + H;                           /* and once more: nothing of it was offered, it may be */
    then = rmd_release_changed(&then, &s, 0, false, off);
    s.start_wall_ms = 0;
    *r = rmd_release_changed(&then, &s, 0, false, back);
}

/* What was released is not released again when nothing of it has been offered yet; all of it stays all of it; and a record of before, which
 * tells no more than the start, makes it wait for a step and not until then. */
static void putting_off_is_exact(void **state) {
    (void)state;
    const struct rmd_schedule batches = {.batch = 10, .every_ms = H}, spread = {.over_ms = 10 * H};
    struct rmd_release r = {.s = batches, .from_wall_ms = 0, .rows = 100};
    set_and_back(&r, 5 * MIN, 24 * H, 6 * MIN, 0);
    assert_int_equal(rmd_release_at(&r, 6 * MIN), 10);
    assert_int_equal(rmd_release_at(&r, H - 1), 10);
    assert_int_equal(rmd_release_at(&r, H), 20);

    const struct rmd_schedule *const pace[] = {&batches, &spread};
    for (size_t i = 0; i < 2; i++) {
        r = (struct rmd_release){.s = *pace[i], .from_wall_ms = 0, .rows = 100};
        struct rmd_schedule s = *pace[i];
        s.start_wall_ms = 24 * H;
        struct rmd_release off = rmd_release_changed(&r, &s, 95, true, 11 * H);
        struct rmd_forecast f = rmd_release_forecast(&off, 11 * H);
        assert_int_equal(f.released, 100);
        assert_int_equal(f.next_wall_ms, 0);
        assert_int_equal(f.all_wall_ms, 24 * H);
        assert_int_equal(rmd_release_at(&off, 24 * H), UINT64_MAX);
        set_and_back(&r, 11 * H, 24 * H, 12 * H, 95);
        assert_int_equal(rmd_release_at(&r, 12 * H), UINT64_MAX);
    }

    r = (struct rmd_release){.s = batches, .from_wall_ms = 24 * H, .base = 10, .rows = 100};
    r = rmd_release_changed(&r, &batches, 10, true, 5 * MIN);
    assert_int_equal(rmd_release_next(&r, 5 * MIN), H + 5 * MIN);
}

/* No mail is stranded: paused over its start, or past its age with batches still to come. */
static void it_ends_in_every_state(void **state) {
    (void)state;
    struct cw *w = world();
    struct rmd_id id = submit(w, google, 100, (struct rmd_schedule){.start_wall_ms = w->now.wall_ms + H});
    struct rmd_id slow = submit(w, google, 100, (struct rmd_schedule){.batch = 1, .every_ms = H});
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE, .id = id, .state = RMD_CAMPAIGN_PAUSED, .reason = "wait"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 72 * (int64_t)H, 10 * MIN);
    assert_int_equal(cw_campaign(w, &id, NULL)->expired, 0); /* its age began an hour later */
    cw_pass(w, 2 * H, MIN);
    assert_int_equal(cw_campaign(w, &id, NULL)->expired, 100);
    assert_int_equal(cw_campaign(w, &slow, NULL)->expired, 28);
    assert_int_equal(cw_campaign(w, &slow, NULL)->delivered, 72);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_much_is_released),
        cmocka_unit_test(what_contradicts_itself_is_told),
        cmocka_unit_test(explain_tells_the_time_of_its_own_campaign),
        cmocka_unit_test(nothing_leaves_before_its_time),
        cmocka_unit_test(it_wakes_at_the_time),
        cmocka_unit_test(batches_are_exact_through_crashes),
        cmocka_unit_test(what_a_node_gives_back_is_released_once),
        cmocka_unit_test(retries_need_no_release),
        cmocka_unit_test(spread_is_even_in_time_and_over_providers),
        cmocka_unit_test(a_clock_that_steps_releases_nothing_twice),
        cmocka_unit_test(it_can_be_changed_before_and_while_it_runs),
        cmocka_unit_test(a_change_releases_nothing),
        cmocka_unit_test(what_was_released_stays),
        cmocka_unit_test(putting_off_can_be_taken_back),
        cmocka_unit_test(putting_off_is_exact),
        cmocka_unit_test(it_ends_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
