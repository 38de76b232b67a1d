/* The judge of warm-ups: bounds, days, holding, going back, idleness, late complaints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/warmup.h"

static const uint64_t caps[] = {100, 150, 200, 300, 400};
static const struct rmd_plan plan = {
    .name = "test",
    .hour_percent = 20,
    .use_percent = 80,
    .idle_days = 30,
    .hold_days = 1,
    .back_stages = 2,
    .confidence = 95,
    .gate = {[RMD_GATE_BOUNCES] = {50000, 5},
             [RMD_GATE_BLOCKS] = {10000, 2},
             [RMD_GATE_DEFERRALS] = {100000, 5},
             [RMD_GATE_COMPLAINTS] = {1000, 3}},
    .fallback = {.cap = caps, .n = 5},
};
static const struct rmd_scheme scheme = {.plan = &plan, .caps = &plan.fallback};

/* A day in which n distinct recipients accepted. */
static struct rmd_warm_day *use(struct rmd_warm *w, int64_t day, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        rmd_warm_accepted(w, day, rmd_mix64((uint64_t)day << 32 | (i + 1)));
    struct rmd_warm_day *d = rmd_warm_today(w, day);
    d->offered += n;
    w->last_day = day;
    return d;
}

static void bounds_are_wilsons(void **state) {
    (void)state;
    static const struct {
        uint64_t k, n;
        uint32_t confidence, low, high; /* by the formula in floating point */
    } row[] = {
        {0, 0, 95, 0, 1000000},          {0, 100, 95, 0, 26343},       {1, 100, 95, 2234, 43582},
        {5, 100, 95, 24547, 99161},      {10, 100, 95, 60719, 160356}, {50, 100, 95, 418848, 581152},
        {100, 100, 95, 973657, 1000000}, {10, 100, 99, 49526, 191546}, {10, 100, 80, 77497, 128130},
        {1000, 1000000, 90, 960, 1041},  {1, 1000000, 95, 0, 4},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        uint32_t low, high;
        rmd_wilson_ppm(row[i].k, row[i].n, row[i].confidence, &low, &high);
        assert_in_range(low, row[i].low > 2 ? row[i].low - 2 : 0, row[i].low + 2);
        assert_in_range(high, row[i].high - 2, row[i].high + 2 > 1000000 ? 1000000 : row[i].high + 2);
    }
    uint32_t low, high; /* no overflow */
    rmd_wilson_ppm(UINT32_MAX / 2, UINT32_MAX, 99, &low, &high);
    assert_in_range(low, 499900, 500000);
    assert_in_range(high, 500000, 500100);
}

/* One day on stage 2 (cap 150, 120 are needed) and what becomes of it. */
static void a_day_is_judged(void **state) {
    (void)state;
    static const struct {
        const char *what;
        uint32_t accepted, deferred, blocked, bounced;
        bool stopped, paused;
        uint32_t hold;
        enum rmd_warm_move move;
        uint32_t stage, hold_after;
    } row[] = {
        {"a good day", 140, 0, 0, 0, false, false, 0, RMD_WARM_ADVANCED, 2, 0},
        {"just enough", 120, 0, 0, 0, false, false, 0, RMD_WARM_ADVANCED, 2, 0},
        {"one too few", 119, 0, 0, 0, false, false, 0, RMD_WARM_UNUSED, 1, 0},
        {"few, and held", 119, 0, 0, 0, false, false, 1, RMD_WARM_UNUSED, 1, 1},
        {"held", 140, 0, 0, 0, false, false, 2, RMD_WARM_STAYS, 1, 1},
        {"paused", 140, 0, 0, 0, false, true, 0, RMD_WARM_STAYS, 1, 0},
        {"below the minimum", 130, 0, 1, 4, false, false, 0, RMD_WARM_ADVANCED, 2, 0},
        {"deferrals within", 135, 15, 0, 0, false, false, 0, RMD_WARM_ADVANCED, 2, 0},
        {"deferrals over, not surely", 133, 17, 0, 0, false, false, 0, RMD_WARM_HELD, 1, 1},
        {"deferrals surely over", 120, 30, 0, 0, false, false, 0, RMD_WARM_BACK, 0, 1},
        {"blocks over, not surely", 145, 0, 3, 0, false, false, 0, RMD_WARM_HELD, 1, 1},
        {"blocks surely over", 140, 0, 8, 0, false, false, 0, RMD_WARM_BACK, 0, 1},
        {"bounces surely over", 120, 0, 0, 20, false, false, 0, RMD_WARM_BACK, 0, 1},
        {"paused goes back all the same", 120, 0, 0, 20, false, true, 0, RMD_WARM_BACK, 0, 1},
        {"quarantined", 140, 0, 0, 0, true, false, 0, RMD_WARM_HELD, 1, 1},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_warm w;
        rmd_warm_init(&w, 1);
        w.hold = row[i].hold;
        w.paused = row[i].paused;
        struct rmd_warm_day *d = use(&w, 100, row[i].accepted);
        d->deferred = row[i].deferred;
        d->blocked = row[i].blocked;
        d->bounced = row[i].bounced;
        d->offered += row[i].deferred + row[i].blocked + row[i].bounced;
        d->stopped = row[i].stopped;
        struct rmd_judgement j = rmd_warm_close(&scheme, &w, 101);
        if (j.move != row[i].move || w.stage != row[i].stage || w.hold != row[i].hold_after)
            fail_msg("%s: %s to stage %u, held %u", row[i].what, rmd_warm_move_name(j.move), w.stage, w.hold);
        j = rmd_warm_close(&scheme, &w, 101); /* a day is judged once */
        assert_int_equal(j.move, RMD_WARM_STAYS);
        assert_int_equal(w.stage, row[i].stage);
        rmd_warm_release(&w);
    }
}

static void a_plan_is_walked_to_its_end(void **state) {
    (void)state;
    struct rmd_warm w;
    rmd_warm_init(&w, 0);
    for (int64_t day = 1; day <= 5; day++) {
        assert_int_equal(rmd_warm_days_left(&scheme, &w), 6 - day);
        use(&w, day, (uint32_t)caps[day - 1]);
        struct rmd_judgement j = rmd_warm_close(&scheme, &w, day + 1);
        assert_int_equal(j.move, day < 5 ? RMD_WARM_ADVANCED : RMD_WARM_DONE);
        assert_int_equal(w.stage, day);
    }
    assert_int_equal(w.warm_day, 6);
    assert_int_equal(rmd_warm_days_left(&scheme, &w), 0);
    use(&w, 6, 1)->blocked = 500; /* warm: others look after it */
    assert_int_equal(rmd_warm_close(&scheme, &w, 7).move, RMD_WARM_STAYS);
    rmd_warm_release(&w);
}

/* The day counter goes on only on days with mail; thirty days without start again. */
static void days_without_mail(void **state) {
    (void)state;
    static const struct {
        int64_t gap; /* days between the last one with mail and the next */
        enum rmd_warm_move move;
        uint32_t stage;
    } row[] = {{0, RMD_WARM_ADVANCED, 3},
               {1, RMD_WARM_ADVANCED, 3},
               {29, RMD_WARM_ADVANCED, 3},
               {30, RMD_WARM_RESTARTED, 0},
               {400, RMD_WARM_RESTARTED, 0}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_warm w;
        rmd_warm_init(&w, 2);
        use(&w, 50, 200);
        struct rmd_judgement j = rmd_warm_close(&scheme, &w, 51 + row[i].gap);
        assert_int_equal(j.move, row[i].move);
        assert_int_equal(w.stage, row[i].stage);
        rmd_warm_release(&w);
    }
    /* Day by day, as the shell tells them, it is the same. */
    struct rmd_warm w;
    rmd_warm_init(&w, 5); /* a warm one, too */
    use(&w, 50, 10);
    for (int64_t day = 51; day <= 80; day++) {
        assert_int_equal(rmd_warm_close(&scheme, &w, day).move, RMD_WARM_STAYS);
        assert_int_equal(w.stage, 5);
    }
    assert_int_equal(rmd_warm_close(&scheme, &w, 81).move, RMD_WARM_RESTARTED);
    assert_int_equal(w.stage, 0);
    assert_int_equal(rmd_warm_close(&scheme, &w, 82).move, RMD_WARM_STAYS);
    rmd_warm_release(&w);
}

static void walk(struct rmd_warm *w, int64_t from, int64_t to) {
    for (int64_t day = from; day <= to; day++) {
        use(w, day, (uint32_t)caps[w->stage < 5 ? w->stage : 4]);
        (void)rmd_warm_close(&scheme, w, day + 1);
    }
}

static void late_complaints_judge_again(void **state) {
    (void)state;
    static const struct {
        const char *what;
        int64_t day;
        uint64_t count;
        bool taken;
        uint32_t stage, hold; /* of a lane that stood on stage 4 (index) with day 5 open */
    } row[] = {
        {"none at all", 4, 0, true, 4, 0},
        {"below the minimum", 4, 2, true, 4, 0},
        {"over on the last day: its stage isn't gained", 4, 3, true, 1, 1},
        {"a day that isn't kept", -3, 3, false, 4, 0},
        {"a day to come", 6, 3, false, 4, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_warm w;
        struct rmd_judgement j;
        rmd_warm_init(&w, 0);
        walk(&w, 1, 4);
        assert_int_equal(w.stage, 4);
        bool taken = rmd_warm_complaints(&scheme, &w, 5, row[i].day, row[i].count, &j);
        if (taken != row[i].taken || w.stage != row[i].stage || w.hold != row[i].hold)
            fail_msg("%s: taken %d, stage %u, held %u", row[i].what, taken, w.stage, w.hold);
        assert_int_equal(j.move, w.stage < 4 ? RMD_WARM_BACK : RMD_WARM_STAYS);
        rmd_warm_release(&w);
    }
    /* Older than seven days: the record is there, and too old. */
    struct rmd_warm w;
    struct rmd_judgement j;
    rmd_warm_init(&w, 0);
    use(&w, 1, 100);
    (void)rmd_warm_close(&scheme, &w, 2);
    assert_true(rmd_warm_complaints(&scheme, &w, 8, 1, 1, &j));
    assert_false(rmd_warm_complaints(&scheme, &w, 9, 1, 100, &j));
    rmd_warm_release(&w);
    /* What got warm on that day is not, any more. */
    rmd_warm_init(&w, 4);
    walk(&w, 1, 1);
    assert_int_equal(w.stage, 5);
    assert_true(rmd_warm_complaints(&scheme, &w, 2, 1, 1, &j)); /* one alone says nothing */
    assert_int_equal(w.stage, 5);
    assert_true(rmd_warm_complaints(&scheme, &w, 2, 1, 20, &j));
    assert_int_equal(w.stage, 2);
    assert_int_equal(j.gate, RMD_GATE_COMPLAINTS);
    assert_int_equal(w.warm_day, 0);
    rmd_warm_release(&w);
    /* The operator's word stands over days before it. */
    rmd_warm_init(&w, 0);
    walk(&w, 1, 3);
    rmd_warm_set(&w, 4, 4);
    assert_true(rmd_warm_complaints(&scheme, &w, 4, 2, 50, &j));
    assert_int_equal(w.stage, 4);
    rmd_warm_release(&w);
}

static void complaints_are_unknown_until_somebody_tells(void **state) {
    (void)state;
    struct rmd_warm w;
    struct rmd_gate_value v[RMD_GATE_KINDS];
    struct rmd_judgement j;
    rmd_warm_init(&w, 0);
    use(&w, 1, 100);
    rmd_warm_gates(&scheme, &w, 0, v);
    assert_int_equal(v[RMD_GATE_COMPLAINTS].verdict, RMD_GATE_UNKNOWN);
    assert_int_equal(v[RMD_GATE_BLOCKS].verdict, RMD_GATE_OK);
    assert_true(rmd_warm_complaints(&scheme, &w, 1, 1, 0, &j)); /* told: none */
    rmd_warm_gates(&scheme, &w, 0, v);
    assert_int_equal(v[RMD_GATE_COMPLAINTS].verdict, RMD_GATE_OK);
    assert_int_equal(v[RMD_GATE_COMPLAINTS].of, 100);
    assert_true(rmd_warm_complaints(&scheme, &w, 1, 1, 2, &j));
    rmd_warm_gates(&scheme, &w, 0, v);
    assert_int_equal(v[RMD_GATE_COMPLAINTS].verdict, RMD_GATE_FEW);
    assert_int_equal(rmd_warm_close(&scheme, &w, 2).move, RMD_WARM_ADVANCED);
    /* Seven days together pass the gate that no day passes alone. */
    use(&w, 2, 150);
    assert_true(rmd_warm_complaints(&scheme, &w, 2, 2, 1, &j));
    assert_int_equal(rmd_warm_close(&scheme, &w, 3).move, RMD_WARM_BACK);
    assert_int_equal(w.stage, 0);
    rmd_warm_release(&w);
}

/* Days never go back, and a recipient counts once a day. */
static void distinct_recipients(void **state) {
    (void)state;
    struct rmd_warm w;
    rmd_warm_init(&w, 0);
    for (int i = 0; i < 3; i++)
        use(&w, 10, 90);
    assert_int_equal(w.day[0].accepted, 270);
    assert_int_equal(w.day[0].distinct, 90);
    assert_ptr_equal(rmd_warm_today(&w, 9), &w.day[0]); /* a clock that stepped back */
    assert_int_equal(w.n_days, 1);
    assert_int_equal(rmd_warm_close(&scheme, &w, 10).move, RMD_WARM_STAYS);
    assert_int_equal(rmd_warm_close(&scheme, &w, 9).move, RMD_WARM_STAYS);
    use(&w, 11, 90);
    assert_int_equal(w.day[1].distinct, 90);
    for (uint32_t n = 1000; n <= 1000000; n *= 10) { /* estimated beyond the sketch */
        struct rmd_warm x;
        rmd_warm_init(&x, 0);
        use(&x, 1, n);
        use(&x, 1, n);
        assert_in_range(x.day[0].distinct, n - n / 8, n + n / 8);
        rmd_warm_release(&x);
    }
    for (int64_t day = 12; day < 40; day++) /* bounded */
        use(&w, day, 1);
    assert_int_equal(w.n_days, RMD_WARM_DAYS);
    assert_int_equal(w.day[RMD_WARM_DAYS - 1].day, 39);
    rmd_warm_release(&w);
}

static void volumes(void **state) {
    (void)state;
    static const uint64_t source[] = {200, 300, 400, 600, 800}, other[] = {100, 150, 200, 300, 400};
    struct rmd_plan p = plan;
    p.source = (struct rmd_caps_list){.cap = source, .n = 5};
    p.other = (struct rmd_caps_list){.cap = other, .n = 5};
    const struct rmd_plan_share share[] = {{"google", 1200}, {"other", 800}};
    struct rmd_plan_question q = {.plan = &p, .share = share, .n_shares = 2, .per_day = 2000};
    assert_int_equal(rmd_plan_least_of(&q, 0), 3);
    assert_int_equal(rmd_plan_least_of(&q, 1), 2);
    assert_int_equal(rmd_plan_least_of(&q, SIZE_MAX), 3);
    assert_int_equal(rmd_plan_least(&q), 3);
    assert_int_equal(rmd_plan_days(&q, 2), 0);
    assert_int_equal(rmd_plan_days(&q, 3), 5);
    assert_int_equal(rmd_plan_days(&q, 4), 4);
    assert_int_equal(rmd_plan_days(&q, 12), 1);
    assert_int_equal(rmd_plan_volume_on(&q, 4, 0), 800);
    q.at_once = 2; /* the second pair begins when the first is warm */
    assert_int_equal(rmd_plan_volume_on(&q, 4, 0), 400);
    assert_int_equal(rmd_plan_days(&q, 4), 5 + 3);
    assert_int_equal(rmd_plan_hour(&p, 100), 20);
    assert_int_equal(rmd_plan_hour(&p, 3), 1);
}

/* ---------------------------------------------------------------- what is to come */

/* Days 1, 2, ...: '.' no mail, 'g' its stage is used, 'u' it isn't, 'd' many deferrals, 'q' a quarantine; the last one is open. */
static struct rmd_warm_outlook after(const char *days) {
    struct rmd_warm w;
    struct rmd_warm_outlook o;
    rmd_warm_init(&w, 0);
    int64_t day = 100;
    for (const char *d = days; *d; d++) {
        (void)rmd_warm_close(&scheme, &w, ++day);
        if (*d == '.')
            continue;
        struct rmd_warm_day *r = use(&w, day, *d == 'u' ? 7 : 100);
        if (*d == 'd')
            r->deferred = r->offered / 100 * 12; /* over the 10 % that are allowed, and not surely */
        r->stopped = *d == 'q';
    }
    rmd_warm_look_ahead(&scheme, &w, day, &o);
    rmd_warm_release(&w);
    return o;
}

static void a_date_needs_a_pace(void **state) {
    (void)state;
    static const struct {
        const char *days;
        enum rmd_warm_why why;
        uint32_t in_days, good, of;
        int64_t idle;
    } row[] = {
        {"", RMD_WARM_WHY_NEW, 0, 0, 0, 0},
        {"....", RMD_WARM_WHY_NEW, 0, 0, 0, 0},
        {"u", RMD_WARM_WHY_FIRST, 0, 0, 0, 0},
        {"g", RMD_WARM_WHY_NOTHING, 5, 1, 1, 0},        /* used already */
        {"g.", RMD_WARM_WHY_NOTHING, 4, 1, 1, 0},       /* a stage a day */
        {"g..", RMD_WARM_WHY_NOTHING, 8, 1, 2, 1},      /* every second day */
        {"g...", RMD_WARM_WHY_NOTHING, 12, 1, 3, 2},    /* a weekend */
        {"g....", RMD_WARM_WHY_IDLE, 0, 0, 0, 3},       /* and no mail since */
        {"uuu.", RMD_WARM_WHY_UNUSED, 0, 0, 3, 0},      /* mail, and too little */
        {"guuuuuuu.", RMD_WARM_WHY_UNUSED, 0, 0, 7, 0}, /* the good day is long ago */
        {"guuu.", RMD_WARM_WHY_NOTHING, 16, 1, 4, 0},
        {"d", RMD_WARM_WHY_GATE, 0, 0, 0, 0},       /* will be held */
        {"d.", RMD_WARM_WHY_GATE, 0, 0, 0, 0},      /* is */
        {"dg.", RMD_WARM_WHY_NOTHING, 10, 1, 2, 0}, /* that day was the one that it was held for */
        {"dgg.", RMD_WARM_WHY_NOTHING, 6, 2, 3, 0},
        {"q", RMD_WARM_WHY_STOPPED, 0, 0, 0, 0},
        {"gq.", RMD_WARM_WHY_STOPPED, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_warm_outlook o = after(row[i].days);
        print_message("  %s\n", row[i].days);
        assert_int_equal(o.why, row[i].why);
        assert_int_equal(o.days, row[i].in_days);
        assert_int_equal(o.good, row[i].good);
        assert_int_equal(o.of, row[i].of);
        assert_int_equal(o.idle, row[i].idle);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_wilsons),          cmocka_unit_test(a_day_is_judged),
        cmocka_unit_test(a_plan_is_walked_to_its_end), cmocka_unit_test(days_without_mail),
        cmocka_unit_test(late_complaints_judge_again), cmocka_unit_test(complaints_are_unknown_until_somebody_tells),
        cmocka_unit_test(distinct_recipients),         cmocka_unit_test(volumes),
        cmocka_unit_test(a_date_needs_a_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
