/* Retry schedule and failover policy: tables and short stories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/core/failover.h"
#include "coordinator/core/retry.h"

enum { MIN = 60 * 1000 };

static void retry_grows_and_stays_in_bounds(void **state) {
    (void)state;
    struct rmd_retry_plan p;
    rmd_retry_plan_init(&p, 5 * MIN, 4 * 60 * MIN);
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 7);
    struct rmd_verdict v = {.class = RMD_CLASS_SERVER_BUSY};
    static const int64_t want_min[] = {5, 10, 20, 40, 80, 160, 240, 240, 240};
    for (uint32_t a = 1; a <= 9; a++)
        for (int i = 0; i < 200; i++) {
            struct rmd_retry r = rmd_retry_next(&p, &v, a, 1000, RMD_NEVER, &rng);
            int64_t d = r.not_before_wall_ms - 1000, w = want_min[a - 1] * MIN;
            assert_false(r.expires);
            assert_in_range(d, w - w / 4, w + w / 4);
        }
    struct rmd_retry huge = rmd_retry_next(&p, &v, UINT32_MAX, 0, RMD_NEVER, &rng);
    assert_in_range(huge.not_before_wall_ms, 180 * MIN, 300 * MIN);
}

static void retry_honours_class_receiver_and_age(void **state) {
    (void)state;
    struct rmd_retry_plan p;
    rmd_retry_plan_init(&p, 15 * MIN, 4 * 60 * MIN);
    const char *override[] = {"greylisted=2min", NULL}, *bad;
    assert_int_equal(rmd_retry_plan_override(&p, override, &bad), RMD_OK);
    const char *wrong[] = {"greylisted=soon", NULL}, *unknown[] = {"gray=5min", NULL}, *no[] = {"x", NULL};
    assert_int_equal(rmd_retry_plan_override(&p, wrong, &bad), RMD_EINVAL);
    assert_string_equal(bad, "greylisted=soon");
    assert_int_equal(rmd_retry_plan_override(&p, unknown, &bad), RMD_EINVAL);
    assert_int_equal(rmd_retry_plan_override(&p, no, &bad), RMD_EINVAL);
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 1);
    struct rmd_verdict grey = {.class = RMD_CLASS_GREYLISTED};
    struct rmd_retry r = rmd_retry_next(&p, &grey, 1, 0, RMD_NEVER, &rng);
    assert_in_range(r.not_before_wall_ms, 90 * 1000, 150 * 1000);
    struct rmd_verdict told = {.class = RMD_CLASS_RATE_LIMITED, .duration_ms = 3600 * 1000};
    r = rmd_retry_next(&p, &told, 1, 0, RMD_NEVER, &rng);
    assert_in_range(r.not_before_wall_ms, 3600 * 1000, 4050 * 1000);
    r = rmd_retry_next(&p, &told, 1, 0, 30 * MIN, &rng);
    assert_true(r.expires);
    assert_int_equal(r.not_before_wall_ms, 30 * MIN);
    r = rmd_retry_next(&p, &told, 1, 50 * MIN, 30 * MIN, &rng);
    assert_true(r.expires);
    assert_int_equal(r.not_before_wall_ms, 50 * MIN);
}

enum { OTHER = 1, GOOGLE = 2, YAHOO = 3 };

static struct rmd_failover_input input(const struct rmd_verdict *v, const struct rmd_refusals *s,
                                       const struct rmd_refusals *n, const struct rmd_refusals *d) {
    return (struct rmd_failover_input){.verdict = v,
                                       .source = 1,
                                       .provider = GOOGLE,
                                       .network = 10,
                                       .other_provider = OTHER,
                                       .provider_name = "google",
                                       .source_name = "127.1.0.1",
                                       .now_wall_ms = 1000,
                                       .of_source = s,
                                       .of_network = n,
                                       .of_domain = d};
}

static const struct rmd_verdict blocked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                           .scope = RMD_SCOPE_SOURCE,
                                           .at_provider = true,
                                           .action = RMD_ACTION_QUARANTINE,
                                           .move = true};

static void a_block_stops_one_lane_until_another_provider_agrees(void **state) {
    (void)state;
    struct rmd_refusals s = {0}, none = {0};
    rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    struct rmd_failover_input in = input(&blocked, &s, &none, &none);
    struct rmd_failover_decision d = rmd_failover_decide(&in);
    assert_int_equal(d.what, RMD_FAILOVER_QUARANTINE_LANE);
    assert_true(d.move);
    assert_int_equal(d.until_wall_ms, 0);
    /* Any number of small receivers is still one voice: "other" corroborates nothing. */
    for (int i = 0; i < 20; i++)
        rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, OTHER, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_LANE);
    rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, YAHOO, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_SOURCE);
    in.now_wall_ms += RMD_CORROBORATION_MS + 1;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_LANE);
    in.dns_confirmed = true;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_SOURCE);
}

/* What it says of us is another matter at the same place: one voice still. */
static void one_provider_with_two_reasons_is_one_voice(void **state) {
    (void)state;
    struct rmd_verdict v = blocked;
    v.class = RMD_CLASS_NO_RDNS;
    struct rmd_refusals s = {0}, n = {0}, none = {0};
    rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_NO_RDNS, 0, false});
    struct rmd_failover_input in = input(&v, &s, &none, &none);
    struct rmd_failover_decision d = rmd_failover_decide(&in);
    assert_int_equal(d.what, RMD_FAILOVER_QUARANTINE_LANE);
    assert_non_null(strstr(d.next_step, "PTR record"));
    assert_int_equal(rmd_refusals_providers(&s, OTHER, 1000), 1);
    rmd_refusals_add(&n, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    rmd_refusals_add(&n, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_NO_RDNS, 0, false});
    v.scope = RMD_SCOPE_NETWORK;
    in.of_network = &n;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_LANE);
    /* A refusal that doesn't count hides none that does. */
    struct rmd_refusals t = {0};
    rmd_refusals_add(&t, &(struct rmd_refusal){1000, 1, YAHOO, 10, RMD_CLASS_SPAM_CONTENT, 0, false});
    rmd_refusals_add(&t, &(struct rmd_refusal){1000, 1, YAHOO, 10, RMD_CLASS_NO_RDNS, 0, false});
    rmd_refusals_add(&t, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    assert_int_equal(rmd_refusals_providers(&t, OTHER, 1000), 2);
}

/* No reverse DNS, an open relay, a compromised host: the source's own configuration, which no other address mends. */
static void what_the_source_itself_is_to_blame_for_moves_nothing(void **state) {
    (void)state;
    struct rmd_refusals none = {0};
    struct rmd_verdict hijacked = blocked, no_ptr = blocked, form = blocked, announced = blocked;
    hijacked.move = announced.move = false;
    no_ptr.class = RMD_CLASS_NO_RDNS; /* whatever a rule says of moving */
    form.duration_ms = 0;
    announced.scope = RMD_SCOPE_LANE; /* an address that must be announced to this provider */
    const struct {
        const struct rmd_verdict *before, *now; /* before: at Yahoo */
        uint32_t before_at;
        bool move;
        enum rmd_failover_what what;
        const char *next_step;
    } rows[] = {
        {NULL, &hijacked, 0, false, RMD_FAILOVER_QUARANTINE_LANE, "look at the host"},
        {NULL, &no_ptr, 0, false, RMD_FAILOVER_QUARANTINE_LANE, "PTR record"},
        {NULL, &form, 0, true, RMD_FAILOVER_QUARANTINE_LANE, "instructions for removal"},
        {&form, &form, YAHOO, true, RMD_FAILOVER_QUARANTINE_SOURCE, "ask the lists"},
        {&hijacked, &form, YAHOO, false, RMD_FAILOVER_QUARANTINE_SOURCE, ""},
        {&no_ptr, &form, YAHOO, false, RMD_FAILOVER_QUARANTINE_SOURCE, ""},
        {&form, &hijacked, YAHOO, false, RMD_FAILOVER_QUARANTINE_SOURCE, "look at the host"},
        {&announced, &form, YAHOO, true, RMD_FAILOVER_QUARANTINE_SOURCE, ""},
        {&no_ptr, &form, OTHER, true, RMD_FAILOVER_QUARANTINE_LANE,
         ""}, /* one small receiver's word, and it may be its DNS */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_refusals s = {0};
        if (rows[i].before)
            rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, rows[i].before_at, 10, rows[i].before->class, 0,
                                                       rmd_verdict_is_own_fault(rows[i].before)});
        rmd_refusals_add(&s, &(struct rmd_refusal){1000, 1, GOOGLE, 10, rows[i].now->class, 0,
                                                   rmd_verdict_is_own_fault(rows[i].now)});
        struct rmd_failover_input in = input(rows[i].now, &s, &none, &none);
        struct rmd_failover_decision d = rmd_failover_decide(&in);
        if (d.what != rows[i].what || d.move != rows[i].move || !strstr(d.next_step, rows[i].next_step))
            fail_msg("row %zu: %s, move %d: %s", i, rmd_failover_name(d.what), d.move, d.next_step);
    }
}

static void a_network_is_stopped_only_when_two_of_ours_were_told(void **state) {
    (void)state;
    struct rmd_verdict v = blocked;
    v.scope = RMD_SCOPE_NETWORK;
    struct rmd_refusals s = {0}, n = {0}, none = {0};
    rmd_refusals_add(&n, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    struct rmd_failover_input in = input(&v, &s, &n, &none);
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_LANE);
    rmd_refusals_add(&n, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_LANE);
    rmd_refusals_add(&n, &(struct rmd_refusal){1000, 2, GOOGLE, 10, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_QUARANTINE_NETWORK);
}

static void content_never_moves_and_pauses_only_when_corroborated(void **state) {
    (void)state;
    struct rmd_verdict v = {
        .class = RMD_CLASS_SPAM_CONTENT, .scope = RMD_SCOPE_MESSAGE, .action = RMD_ACTION_PAUSE, .move = true};
    struct rmd_refusals none = {0}, d = {0};
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_SPAM_CONTENT, 0, false});
    struct rmd_failover_input in = input(&v, &none, &none, &d);
    struct rmd_failover_decision x = rmd_failover_decide(&in);
    assert_int_equal(x.what, RMD_FAILOVER_ALERT);
    assert_false(x.move);
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 2, YAHOO, 10, RMD_CLASS_SPAM_CONTENT, 0, false});
    x = rmd_failover_decide(&in);
    assert_int_equal(x.what, RMD_FAILOVER_PAUSE_CAMPAIGN);
    assert_false(x.move || x.here);
    in.transactional = true;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_ALERT);
    v.scope = RMD_SCOPE_SENDING_DOMAIN;
    assert_int_equal(rmd_failover_decide(&in).what,
                     RMD_FAILOVER_SENDER); /* of the domain at this provider: sender.h */
    in.no_breaker = true;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_ALERT);
}

/* Two networks at one provider show that no address is meant, and say nothing of other providers. */
static void content_refused_on_two_networks_stops_there(void **state) {
    (void)state;
    struct rmd_verdict v = {.class = RMD_CLASS_SPAM_CONTENT, .scope = RMD_SCOPE_MESSAGE, .action = RMD_ACTION_PAUSE};
    struct rmd_refusals none = {0}, d = {0};
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 2, OTHER, 20, RMD_CLASS_SPAM_CONTENT, 0, false});
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_SPAM_CONTENT, 0, false});
    struct rmd_failover_input in = input(&v, &none, &none, &d);
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_ALERT); /* elsewhere is no corroboration */
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 2, GOOGLE, 20, RMD_CLASS_SPAM_CONTENT, 0, false});
    struct rmd_failover_decision x = rmd_failover_decide(&in);
    assert_int_equal(x.what, RMD_FAILOVER_PAUSE_CAMPAIGN);
    assert_true(x.here && !x.move);
}

static void an_ip_block_elsewhere_says_nothing_of_the_content(void **state) {
    (void)state;
    struct rmd_verdict v = {
        .class = RMD_CLASS_SPAM_CONTENT, .scope = RMD_SCOPE_MESSAGE, .action = RMD_ACTION_PAUSE, .move = false};
    struct rmd_refusals none = {0}, d = {0};
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 2, YAHOO, 20, RMD_CLASS_IP_BLOCKLISTED, 0, false});
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 1, GOOGLE, 10, RMD_CLASS_SPAM_CONTENT, 0, false});
    struct rmd_failover_input in = input(&v, &none, &none, &d);
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_ALERT);
    rmd_refusals_add(&d, &(struct rmd_refusal){1000, 2, GOOGLE, 20, RMD_CLASS_SPAM_CONTENT, 0, false});
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_PAUSE_CAMPAIGN);
}

/* What is temporary, or said by one small site alone, is asked again within the hour; what a person must end is not. */
static void when_a_single_recipient_asks_again(void **state) {
    (void)state;
    enum { HOUR = 3600 * 1000 };
    static const struct {
        bool temporary;
        uint32_t provider;
        int64_t duration_ms, until_ms;
    } rows[] = {
        {false, GOOGLE, 24 * HOUR, 1000 + 24 * HOUR},
        {true, GOOGLE, 24 * HOUR, 1000 + HOUR},
        {true, GOOGLE, 40 * 60 * 1000, 1000 + 40 * 60 * 1000}, /* the rule says sooner */
        {true, GOOGLE, 0, 0},                                  /* a person */
        {false, OTHER, 24 * HOUR, 1000 + HOUR},
        {false, OTHER, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_refusals s = {0}, none = {0};
        struct rmd_verdict v = blocked;
        v.duration_ms = rows[i].duration_ms;
        rmd_refusals_add(&s, &(struct rmd_refusal){.wall_ms = 1000,
                                                   .source = 1,
                                                   .provider = rows[i].provider,
                                                   .network = 10,
                                                   .class = v.class,
                                                   .site = rows[i].provider == OTHER ? 7 : 0});
        struct rmd_failover_input in = input(&v, &s, &s, &none);
        in.provider = rows[i].provider;
        in.site = rows[i].provider == OTHER ? 7 : 0;
        in.site_name = "small.test";
        in.temporary = rows[i].temporary;
        struct rmd_failover_decision d = rmd_failover_decide(&in);
        assert_int_equal(d.what, in.site ? RMD_FAILOVER_QUARANTINE_SITE : RMD_FAILOVER_QUARANTINE_LANE);
        assert_int_equal(d.until_wall_ms, rows[i].until_ms);
    }
}

static void rates_rest_a_lane_and_never_quarantine(void **state) {
    (void)state;
    struct rmd_refusals none = {0};
    struct rmd_verdict v = {.class = RMD_CLASS_RATE_LIMITED, .scope = RMD_SCOPE_LANE, .action = RMD_ACTION_REST};
    struct rmd_failover_input in = input(&v, &none, &none, &none);
    struct rmd_failover_decision d = rmd_failover_decide(&in);
    assert_int_equal(d.what, RMD_FAILOVER_REST);
    assert_true(d.lane && !d.network && !d.sender);
    assert_int_equal(d.until_wall_ms, 1000 + RMD_REST_DEFAULT_MS);
    assert_false(d.move);
    v.scope = RMD_SCOPE_LANE | RMD_SCOPE_NETWORK;
    d = rmd_failover_decide(&in);
    assert_true(d.lane && d.network && !d.sender);
    v.scope = RMD_SCOPE_LANE | RMD_SCOPE_SENDING_DOMAIN;
    d = rmd_failover_decide(&in);
    assert_true(d.lane && !d.network && d.sender);
    v.scope = RMD_SCOPE_SENDING_DOMAIN; /* no address is meant */
    d = rmd_failover_decide(&in);
    assert_true(d.what == RMD_FAILOVER_REST && !d.lane && d.sender);
    v.scope = RMD_SCOPE_DESTINATION;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_NOTHING);
    v.scope = RMD_SCOPE_LANE;
    v.duration_ms = 5000;
    assert_int_equal(rmd_failover_decide(&in).until_wall_ms, 6000);
    v.duration_ms = (int64_t)48 * 3600 * 1000;
    assert_int_equal(rmd_failover_decide(&in).until_wall_ms, 1000 + RMD_REST_MAX_MS);
    v.action = RMD_ACTION_SLOW;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_NOTHING);
    v.action = RMD_ACTION_FAIL;
    assert_int_equal(rmd_failover_decide(&in).what, RMD_FAILOVER_NOTHING);
}

static void content_that_is_refused_again_and_again_pauses_its_campaign(void **state) {
    (void)state;
    static const struct {
        struct rmd_content_tally t[2]; /* the refusal came at the first */
        bool transactional;
        enum rmd_failover_what want;
        bool here;
    } row[] = {
        {{{GOOGLE, 19, 19, 0, false}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{GOOGLE, 20, 20, 0, false}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_PAUSE_CAMPAIGN, true},
        {{{GOOGLE, 20, 20, 0, false}, {YAHOO, 90, 0, 0, false}},
         false,
         RMD_FAILOVER_PAUSE_CAMPAIGN,
         true}, /* what others say is no excuse */
        {{{GOOGLE, 39, 20, 0, false}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_PAUSE_CAMPAIGN, true},
        {{{GOOGLE, 40, 20, 0, false}, {YAHOO, 0, 0, 0, false}},
         false,
         RMD_FAILOVER_NOTHING,
         false}, /* half is not most */
        {{{GOOGLE, 20, 20, 0, false}, {YAHOO, 0, 0, 0, false}}, true, RMD_FAILOVER_ALERT, true},
        {{{OTHER, 20, 20, 0, false}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_PAUSE_CAMPAIGN, true},
        {{{GOOGLE, 10, 10, 0, false}, {YAHOO, 10, 10, 0, false}},
         false,
         RMD_FAILOVER_PAUSE_CAMPAIGN,
         false}, /* two agree */
        {{{GOOGLE, 10, 10, 0, false}, {YAHOO, 10, 10, 0, false}}, true, RMD_FAILOVER_ALERT, false},
        {{{GOOGLE, 10, 10, 0, false}, {YAHOO, 9, 9, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{GOOGLE, 9, 9, 0, false}, {YAHOO, 19, 19, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{GOOGLE, 10, 10, 0, false}, {YAHOO, 20, 10, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{GOOGLE, 10, 10, 0, false}, {OTHER, 19, 19, 0, false}},
         false,
         RMD_FAILOVER_NOTHING,
         false}, /* many small ones are no second voice */
        {{{OTHER, 10, 10, 0, false}, {GOOGLE, 19, 19, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        /* stopped at one already: a second that agrees pauses it everywhere, the same one says nothing new */
        {{{YAHOO, 10, 10, 0, false}, {GOOGLE, 20, 20, 0, true}}, false, RMD_FAILOVER_PAUSE_CAMPAIGN, false},
        {{{GOOGLE, 30, 30, 0, true}, {YAHOO, 90, 0, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{OTHER, 10, 10, 0, false}, {GOOGLE, 20, 20, 0, true}}, false, RMD_FAILOVER_NOTHING, false},
        /* of the campaign as a whole, whatever else was answered */
        {{{GOOGLE, 100, 2, 2, false}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{GOOGLE, 100, 3, 3, false}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_PAUSE_CAMPAIGN, true},
        {{{GOOGLE, 100, 3, 3, false}, {YAHOO, 0, 0, 0, false}}, true, RMD_FAILOVER_ALERT, true},
        {{{GOOGLE, 100, 3, 3, true}, {YAHOO, 0, 0, 0, false}}, false, RMD_FAILOVER_NOTHING, false},
        {{{GOOGLE, 100, 3, 3, false}, {YAHOO, 10, 10, 0, false}}, false, RMD_FAILOVER_PAUSE_CAMPAIGN, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_failover_decision d = rmd_content_decide(row[i].t, 2, 0, OTHER, "google", row[i].transactional);
        if (d.what != row[i].want)
            fail_msg("row %zu: %s", i, rmd_failover_name(d.what));
        assert_int_equal(d.here, row[i].here);
        assert_int_equal(d.own, d.what != RMD_FAILOVER_NOTHING && row[i].t[0].said);
        assert_false(d.move);
        assert_int_equal(strncmp(d.why, "google refuses", 14) == 0, d.what != RMD_FAILOVER_NOTHING);
        assert_true(strlen(d.why) + 1 < sizeof d.why);
    }
}

static void what_counts_as_refused_content(void **state) {
    (void)state;
    static const struct {
        enum rmd_class class;
        unsigned scope;
        bool want;
    } row[] = {
        {RMD_CLASS_SPAM_CONTENT, RMD_SCOPE_MESSAGE, true},
        {RMD_CLASS_SPAM_CONTENT, RMD_SCOPE_MESSAGE | RMD_SCOPE_SENDING_DOMAIN, true},
        {RMD_CLASS_SPAM_CONTENT, RMD_SCOPE_SOURCE, false},
        {RMD_CLASS_DOMAIN_BLOCKLISTED, RMD_SCOPE_MESSAGE, true},
        {RMD_CLASS_BAD_MESSAGE, RMD_SCOPE_MESSAGE, true}, /* an attachment */
        {RMD_CLASS_DOMAIN_BLOCKLISTED, RMD_SCOPE_SENDING_DOMAIN, false},
        {RMD_CLASS_IP_BLOCKLISTED, RMD_SCOPE_SOURCE, false},
        {RMD_CLASS_USER_UNKNOWN, RMD_SCOPE_RECIPIENT, false},
        {RMD_CLASS_RATE_LIMITED, RMD_SCOPE_CAMPAIGN, false},
        {RMD_CLASS_DELIVERED, 0, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_verdict v = {.class = row[i].class, .scope = row[i].scope};
        assert_int_equal(rmd_content_is_refused(&v), row[i].want);
        assert_false(rmd_content_is_said(&v) || rmd_content_rests(&v));
    }
    /* a list that is bad (SC-002), and a rate for a time */
    struct rmd_verdict v = {.class = RMD_CLASS_RATE_LIMITED,
                            .scope = RMD_SCOPE_CAMPAIGN,
                            .action = RMD_ACTION_PAUSE,
                            .at_provider = true};
    assert_true(rmd_content_is_refused(&v) && rmd_content_is_said(&v) && !rmd_content_rests(&v));
    v.duration_ms = 3600000;
    assert_true(!rmd_content_is_refused(&v) && !rmd_content_is_said(&v) && rmd_content_rests(&v));
    v.scope |= RMD_SCOPE_MESSAGE; /* one message's */
    assert_false(rmd_content_is_said(&v) || rmd_content_rests(&v));
}

static void the_past_fades_from_the_tally(void **state) {
    (void)state;
    struct rmd_content_tally t = {.provider = GOOGLE};
    for (int i = 0; i < 100000; i++)
        rmd_content_count(&t, false, false);
    assert_true(t.outcomes < RMD_CONTENT_WINDOW);
    assert_int_equal(t.refused, 0);
    int n = 0; /* however long it went well, a message that is refused now is noticed within a window */
    for (; rmd_content_decide(&t, 1, 0, OTHER, "google", false).what == RMD_FAILOVER_NOTHING; n++)
        rmd_content_count(&t, true, false);
    assert_in_range(n, RMD_CONTENT_REFUSALS, RMD_CONTENT_WINDOW);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry_grows_and_stays_in_bounds),
        cmocka_unit_test(retry_honours_class_receiver_and_age),
        cmocka_unit_test(a_block_stops_one_lane_until_another_provider_agrees),
        cmocka_unit_test(when_a_single_recipient_asks_again),
        cmocka_unit_test(one_provider_with_two_reasons_is_one_voice),
        cmocka_unit_test(what_the_source_itself_is_to_blame_for_moves_nothing),
        cmocka_unit_test(a_network_is_stopped_only_when_two_of_ours_were_told),
        cmocka_unit_test(content_never_moves_and_pauses_only_when_corroborated),
        cmocka_unit_test(content_refused_on_two_networks_stops_there),
        cmocka_unit_test(content_that_is_refused_again_and_again_pauses_its_campaign),
        cmocka_unit_test(what_counts_as_refused_content),
        cmocka_unit_test(the_past_fades_from_the_tally),
        cmocka_unit_test(an_ip_block_elsewhere_says_nothing_of_the_content),
        cmocka_unit_test(rates_rest_a_lane_and_never_quarantine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
