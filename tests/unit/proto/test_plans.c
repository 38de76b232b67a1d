/* Warm-up plans: the shipped ones, an operator's file over them, and the words for what is wrong in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/plans_file.h"

static bool known(void *ctx, const char *name) {
    (void)ctx;
    return strcmp(name, "google") == 0;
}

static void the_shipped_plans_grow_steadily(void **state) {
    (void)state;
    struct rmd_plans p;
    struct rmd_buf err = {0};
    if (rmd_plans_load(NULL, known, NULL, &p, &err) < 0)
        fail_msg("%s", rmd_buf_str(&err));
    assert_int_equal(p.n, 3);
    static const char *const names[] = {"conservative", "standard", "aggressive"};
    uint64_t first = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct rmd_plan *x = rmd_plan_find(p.v, p.n, names[i]);
        assert_non_null(x);
        assert_int_equal(x->hour_percent, 20);
        assert_int_equal(x->use_percent, 80);
        assert_int_equal(x->idle_days, 30);
        assert_int_equal(x->gate[RMD_GATE_COMPLAINTS].max_ppm, 1000);
        const struct rmd_caps_list *lists[] = {&x->fallback, &x->other, &x->source, &x->site};
        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(lists[k]->n, x->fallback.n);
            for (uint32_t s = 1; s < lists[k]->n; s++)
                assert_true(lists[k]->cap[s] < 2 * lists[k]->cap[s - 1]); /* never doubled at once */
        }
        assert_true(x->fallback.cap[0] > first && x->fallback.cap[0] <= 1000);
        first = x->fallback.cap[0];
        assert_ptr_equal(rmd_plan_caps(x, "google"), &x->fallback);
        assert_ptr_equal(rmd_plan_caps(x, "other"), &x->other);
        assert_int_equal(rmd_caps_list_at(&x->fallback, 1000), x->fallback.cap[x->fallback.n - 1]);
    }
    assert_null(rmd_plan_find(p.v, p.n, "reckless"));
    rmd_plans_release(&p);
    rmd_buf_release(&err);
}

static void an_operators_file_overrides_key_by_key(void **state) {
    (void)state;
    struct rmd_plans p;
    struct rmd_buf err = {0};
    struct rmd_slice text = rmd_slice_str("default { use = 70%; complaints { minimum = 9 } }\n"
                                          "plan \"standard\" { hour = 100%; caps { google = [50, 100] } }\n"
                                          "plan \"own\" { source = [1k, 2k]; site = [5]; confidence = 99%\n"
                                          "  caps { default = [100]; other = [200, 400] } }\n");
    if (rmd_plans_parse(text, "own.conf", known, NULL, &p, &err) < 0)
        fail_msg("%s", rmd_buf_str(&err));
    assert_int_equal(p.n, 4);
    const struct rmd_plan *s = rmd_plan_find(p.v, p.n, "standard"), *o = rmd_plan_find(p.v, p.n, "own");
    assert_int_equal(s->hour_percent, 100);
    assert_int_equal(s->use_percent, 70);
    assert_int_equal(s->gate[RMD_GATE_COMPLAINTS].minimum, 9);
    assert_int_equal(s->gate[RMD_GATE_COMPLAINTS].max_ppm, 1000);
    assert_int_equal(rmd_plan_caps(s, "google")->n, 2);
    assert_int_equal(rmd_plan_caps(s, "yahoo")->cap[0], 100);
    assert_true(s->source.n > 2);
    assert_int_equal(o->confidence, 99);
    assert_int_equal(o->idle_days, 30);
    assert_int_equal(o->source.cap[1], 2000);
    rmd_plans_release(&p);
    rmd_buf_release(&err);
}

static void what_does_not_fit_is_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } row[] = {
        {"plan \"own\" { }", "own.conf:1: plan \"own\": source is missing, and no shipped plan has this name\n"},
        {"\nplan \"standard\" { hourly = 5% }", "own.conf:2: plan \"standard\": hourly: unknown key\n"},
        {"plan \"standard\" { hour = 120% }",
         "own.conf:1: plan \"standard\": hour: \"120%\" is not within 1 and 100 per cent\n"},
        {"plan \"standard\" { hour = 20 }",
         "own.conf:1: plan \"standard\": hour: \"20\" is not whole per cent, like 20%\n"},
        {"plan \"standard\" { use = 1.5% }",
         "own.conf:1: plan \"standard\": use: \"1.5%\" is not whole per cent, like 20%\n"},
        {"plan \"standard\" { idle_days = soon }",
         "own.conf:1: plan \"standard\": idle_days: \"soon\" is not a whole number\n"},
        {"plan \"standard\" { confidence = 85% }",
         "own.conf:1: plan \"standard\": confidence: must be 80%, 90%, 95% or 99%\n"},
        {"plan \"standard\" { blocks { max = 0% } }",
         "own.conf:1: plan \"standard\": blocks: max: expected per cent above 0, like 0.1%\n"},
        {"plan \"standard\" { blocks { maximum = 1% } }",
         "own.conf:1: plan \"standard\": blocks: maximum: unknown key\n"},
        {"plan \"standard\" { blocks { minimum = 0 } }",
         "own.conf:1: plan \"standard\": blocks: minimum: expected a whole number from 1 to 1000000\n"},
        {"plan \"standard\" { blocks = 5% }",
         "own.conf:1: plan \"standard\": blocks: is a section: blocks { max = 1%; minimum = 5 }\n"},
        {"plan \"standard\" { source = [100,\n 90] }",
         "own.conf:2: plan \"standard\": source: 90 comes after 100: caps never fall\n"},
        {"plan \"standard\" { source = [100, 400] }", "own.conf:1: plan \"standard\": source: 400 comes after 100: a "
                                                      "leap that receivers refuse; at most three times\n"},
        {"plan \"standard\" { source = [] }",
         "own.conf:1: plan \"standard\": source: expected a list of daily caps, one a stage\n"},
        {"plan \"standard\" { source = [0] }",
         "own.conf:1: plan \"standard\": source: \"0\" is not a number like 500 or 50k\n"},
        {"plan \"standard\" { caps { gogle = [1] } }",
         "own.conf:1: plan \"standard\": caps: there is no provider \"gogle\"\n"},
        {"plan \"standard\" {\n caps { google = [500, 600] } }",
         "own.conf:2: plan \"standard\": caps: google: stage 1 allows 500, and the source in all only 400\n"},
        {"plan \"No\" { }", "own.conf:1: plan \"No\": a name has 1 to 32 small letters"},
        {"default { source = [5] }", "own.conf:1: default: source: unknown key\n"},
        {"plans { }", "own.conf:1: plans: unknown key; expected plan \"name\" { ... } or default { ... }\n"},
        {"plan \"x\" {", "own.conf:1: "},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_plans p;
        struct rmd_buf err = {0};
        int rc = rmd_plans_parse(rmd_slice_str(row[i].text), "own.conf", known, NULL, &p, &err);
        if (rc != RMD_EINVAL || !strstr(rmd_buf_str(&err), row[i].words))
            fail_msg("%s\n%d: %s", row[i].text, rc, rmd_buf_str(&err));
        assert_int_equal(p.n, 0);
        rmd_buf_release(&err);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_plans_grow_steadily),
        cmocka_unit_test(an_operators_file_overrides_key_by_key),
        cmocka_unit_test(what_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
