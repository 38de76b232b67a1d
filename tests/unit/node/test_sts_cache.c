/* The cache of MTA-STS policies: a story for each way in which a policy comes, stays, is renewed and goes. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/sts_cache.h"

enum { HOUR = 3600000, DAY = 24 * HOUR };

struct world {
    struct rmd_sts_cache *cache;
    struct rmd_sts_effects fx;
    struct rmd_time now;
};

static void begin(struct world *w) {
    *w = (struct world){.cache = rmd_sts_cache_new(), .now = {.mono_ms = 1000000, .wall_ms = 1000000000}};
}

static void end(struct world *w) {
    rmd_sts_cache_free(w->cache);
    rmd_sts_effects_release(&w->fx);
}

static void pass(struct world *w, int64_t ms) {
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

static void step(struct world *w, struct rmd_sts_event e) {
    e.at = w->now;
    rmd_sts_cache_step(w->cache, &e, &w->fx);
}

static void ask(struct world *w, const char *domain, uint32_t worker) {
    step(w, (struct rmd_sts_event){.kind = RMD_SE_ASK, .domain = domain, .worker = worker});
}

static void txt(struct world *w, const char *domain, const char *text, uint32_t ttl_s) {
    struct rmd_txt_answer a = {.status = text ? RMD_DNS_OK : RMD_DNS_NXDOMAIN, .n = text != NULL, .ttl_s = ttl_s};
    rmd_copy(a.txt[0], sizeof a.txt[0], text ? text : "");
    step(w, (struct rmd_sts_event){.kind = RMD_SE_TXT, .domain = domain, .txt = &a});
}

static void fetched(struct world *w, const char *domain, const char *body) {
    step(w, (struct rmd_sts_event){.kind = RMD_SE_FETCHED, .domain = domain, .body = rmd_slice_str(body)});
}

static void unreachable(struct world *w, const char *domain) {
    step(w, (struct rmd_sts_event){.kind = RMD_SE_FETCHED,
                                   .domain = domain,
                                   .result = RMD_TLS_R_STS_POLICY_FETCH_ERROR,
                                   .why = "HTTP 500"});
}

static const struct rmd_sts_effect *effect(const struct world *w, enum rmd_sts_effect_kind kind) {
    for (size_t i = 0; i < w->fx.n; i++)
        if (w->fx.v[i].kind == kind)
            return &w->fx.v[i];
    return NULL;
}

#define ENFORCE "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 604800\n"
#define TESTING "version: STSv1\nmode: testing\nmx: mx.a.example\nmax_age: 604800\n"

static void first_policy(struct world *w) {
    ask(w, "a.example", 0);
    txt(w, "a.example", "v=STSv1; id=1;", 60);
    fetched(w, "a.example", ENFORCE);
}

static void askers_wait_for_the_first_policy(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    ask(&w, "a.example", 0);
    assert_int_equal(w.fx.n, 1);
    assert_string_equal(effect(&w, RMD_SF_TXT)->domain, "a.example");
    ask(&w, "a.example", 3);
    assert_int_equal(w.fx.n, 0);
    txt(&w, "a.example", "v=STSv1; id=1;", 60);
    assert_int_equal(w.fx.n, 1);
    assert_non_null(effect(&w, RMD_SF_FETCH));
    fetched(&w, "a.example", ENFORCE);
    const struct rmd_sts_effect *f = effect(&w, RMD_SF_ANSWER);
    assert_true(rmd_bit_get(f->workers, 0) && rmd_bit_get(f->workers, 3) && !rmd_bit_get(f->workers, 1));
    assert_int_equal(f->answer.policy->mode, RMD_STS_ENFORCE);
    assert_string_equal(f->answer.policy->id, "1");
    assert_true(f->answer.expires_wall_ms == w.now.wall_ms + INT64_C(604800000));
    assert_non_null(effect(&w, RMD_SF_SAVE));
    ask(&w, "a.example", 1); /* known: at once, and nobody is asked */
    assert_int_equal(w.fx.n, 1);
    assert_non_null(effect(&w, RMD_SF_ANSWER)->answer.policy);
    end(&w);
}

static void no_record_means_no_policy_for_a_while(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    ask(&w, "a.example", 0);
    txt(&w, "a.example", NULL, 5);
    const struct rmd_sts_effect *f = effect(&w, RMD_SF_ANSWER);
    assert_null(f->answer.policy);
    assert_int_equal(f->answer.result, RMD_TLS_R_OK);
    pass(&w, RMD_STS_CHECK_MIN_MS - 1); /* a TTL of seconds doesn't make it ask with every message */
    ask(&w, "a.example", 0);
    assert_null(effect(&w, RMD_SF_TXT));
    assert_non_null(effect(&w, RMD_SF_ANSWER));
    pass(&w, 1);
    ask(&w, "a.example", 0);
    assert_non_null(effect(&w, RMD_SF_TXT));
    assert_null(effect(&w, RMD_SF_ANSWER));
    end(&w);
}

static void a_policy_holds_whatever_becomes_of_its_record(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    first_policy(&w);
    for (int day = 0; day < 6; day++) {
        pass(&w, DAY);
        ask(&w, "a.example", 0);
        assert_non_null(effect(&w, RMD_SF_ANSWER)->answer.policy); /* before anything was looked up */
        txt(&w, "a.example", day % 2 ? NULL : "v=STSv1;", 60);
    }
    pass(&w, DAY); /* the seventh: it has expired */
    ask(&w, "a.example", 0);
    assert_null(effect(&w, RMD_SF_ANSWER));
    txt(&w, "a.example", NULL, 60);
    assert_null(effect(&w, RMD_SF_ANSWER)->answer.policy);
    end(&w);
}

static void a_new_id_brings_a_new_policy_and_the_same_one_does_not(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    first_policy(&w);
    pass(&w, HOUR);
    ask(&w, "a.example", 0);
    txt(&w, "a.example", "v=STSv1; id=1;", 60);
    assert_null(effect(&w, RMD_SF_FETCH));
    pass(&w, HOUR);
    ask(&w, "a.example", 0);
    txt(&w, "a.example", "v=STSv1; id=2;", 60);
    assert_non_null(effect(&w, RMD_SF_FETCH));
    fetched(&w, "a.example", TESTING);
    ask(&w, "a.example", 0);
    assert_int_equal(effect(&w, RMD_SF_ANSWER)->answer.policy->mode, RMD_STS_TESTING);
    assert_string_equal(effect(&w, RMD_SF_ANSWER)->answer.policy->id, "2");
    end(&w);
}

static void a_fetch_that_fails_is_told_and_not_repeated_at_once(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    ask(&w, "a.example", 0);
    txt(&w, "a.example", "v=STSv1; id=1;", 60);
    unreachable(&w, "a.example");
    const struct rmd_sts_effect *f = effect(&w, RMD_SF_ANSWER);
    assert_null(f->answer.policy);
    assert_int_equal(f->answer.result, RMD_TLS_R_STS_POLICY_FETCH_ERROR);
    assert_string_equal(f->answer.why, "HTTP 500");
    pass(&w, RMD_STS_RETRY_MS - 1);
    ask(&w, "a.example", 0);
    assert_null(effect(&w, RMD_SF_TXT));
    assert_int_equal(effect(&w, RMD_SF_ANSWER)->answer.result, RMD_TLS_R_STS_POLICY_FETCH_ERROR);
    pass(&w, 1);
    ask(&w, "a.example", 0);
    txt(&w, "a.example", "v=STSv1; id=1;", 60);
    fetched(&w, "a.example", "version: STSv1\nmode: what\n");
    assert_int_equal(effect(&w, RMD_SF_ANSWER)->answer.result, RMD_TLS_R_STS_POLICY_INVALID);
    end(&w);
}

static void a_failed_renewal_leaves_the_policy_in_force(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    first_policy(&w);
    pass(&w, HOUR);
    ask(&w, "a.example", 0);
    txt(&w, "a.example", "v=STSv1; id=2;", 60);
    unreachable(&w, "a.example");
    ask(&w, "a.example", 0);
    const struct rmd_sts_effect *f = effect(&w, RMD_SF_ANSWER);
    assert_int_equal(f->answer.policy->mode, RMD_STS_ENFORCE);
    assert_int_equal(f->answer.result, RMD_TLS_R_OK);
    end(&w);
}

static void policies_in_use_are_renewed_in_time(void **state) {
    (void)state;
    struct world w;
    begin(&w);
    first_policy(&w);
    int fetches = 0;
    for (int day = 0; day < 30; day++) { /* nobody asks; it stays in force all the same, until it is out of use */
        assert_true(rmd_sts_cache_deadline(w.cache) <= w.now.mono_ms + DAY);
        pass(&w, DAY);
        step(&w, (struct rmd_sts_event){.kind = RMD_SE_TICK});
        if (!effect(&w, RMD_SF_TXT))
            break;
        txt(&w, "a.example", "v=STSv1; id=1;", 60); /* the same id, and it is fetched: its life begins anew */
        assert_non_null(effect(&w, RMD_SF_FETCH));
        fetched(&w, "a.example", ENFORCE);
        fetches++;
    }
    assert_int_equal(fetches, 7);
    assert_true(rmd_sts_cache_deadline(w.cache) == RMD_NEVER);
    end(&w);
}

static void policies_outlive_the_process(void **state) {
    (void)state;
    struct world w;
    struct rmd_buf text = {0}, again = {0};
    begin(&w);
    first_policy(&w);
    ask(&w, "none.example", 0);
    txt(&w, "none.example", "v=STSv1; id=x;", 60);
    fetched(&w, "none.example", "version: STSv1\nmode: none\nmax_age: 86400\n");
    rmd_sts_cache_save(w.cache, &text);
    int64_t wall_ms = w.now.wall_ms;
    end(&w);
    begin(&w);
    w.now = (struct rmd_time){.mono_ms = 5, .wall_ms = wall_ms + 2 * DAY}; /* another boot; one of them has expired */
    rmd_buf_addstr(&text,
                   "short line\nbad.example 1 1 9999999999 enforce 1 a b\nbad2.example 1 x 9999999999 enforce 1 a\n"
                   "old.example 1 1 5 enforce 1 a\nfar.example 1 1 99999999999999999 enforce 1 a\n");
    rmd_sts_cache_load(w.cache, rmd_buf_slice(&text), w.now);
    rmd_sts_cache_save(w.cache, &again);
    assert_string_equal(rmd_buf_str(&again), "a.example 1 1000000000 1604800000 enforce 604800 mx.a.example\n");
    ask(&w, "a.example", 0);
    assert_int_equal(effect(&w, RMD_SF_ANSWER)->answer.policy->mode, RMD_STS_ENFORCE);
    assert_non_null(effect(&w, RMD_SF_TXT)); /* and it is looked at whether it still holds */
    ask(&w, "none.example", 0);
    assert_null(effect(&w, RMD_SF_ANSWER));
    rmd_buf_release(&text);
    rmd_buf_release(&again);
    end(&w);
}

static void it_has_room_for_so_many(void **state) {
    (void)state;
    struct world w;
    char domain[32];
    begin(&w);
    first_policy(&w);
    for (int i = 0; i < RMD_STS_CACHE_MAX; i++) { /* the first one is the least recently asked */
        (void)rmd_format(domain, sizeof domain, "d%d.example", i);
        ask(&w, domain, 0);
    }
    ask(&w, "more.example", 7); /* all others are being looked up: it goes without */
    assert_int_equal(w.fx.n, 1);
    assert_true(rmd_bit_get(effect(&w, RMD_SF_ANSWER)->workers, 7));
    assert_null(effect(&w, RMD_SF_ANSWER)->answer.policy);
    txt(&w, "d0.example", NULL, 60);
    ask(&w, "more.example", 7);
    assert_non_null(effect(&w, RMD_SF_TXT));
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(askers_wait_for_the_first_policy),
        cmocka_unit_test(no_record_means_no_policy_for_a_while),
        cmocka_unit_test(a_policy_holds_whatever_becomes_of_its_record),
        cmocka_unit_test(a_new_id_brings_a_new_policy_and_the_same_one_does_not),
        cmocka_unit_test(a_fetch_that_fails_is_told_and_not_repeated_at_once),
        cmocka_unit_test(a_failed_renewal_leaves_the_policy_in_force),
        cmocka_unit_test(policies_in_use_are_renewed_in_time),
        cmocka_unit_test(policies_outlive_the_process),
        cmocka_unit_test(it_has_room_for_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
