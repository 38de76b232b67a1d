/* The score as tables, and its stories through the real core: what it is made of, how it fades, what it weighs, what a restart keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>
#include <remuda/rng.h>

#include "coordinator/core/coordinator.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR, DAY_H = 24 };

static const struct rmd_reputation_facts nothing = {0}, of_domain = {.domain = true};

/* ---------------------------------------------------------------- the score */

static int32_t points(const struct rmd_reputation_score *s, enum rmd_reputation_term t) {
    for (size_t i = 0; i < s->n; i++)
        if (s->part[i].term == t)
            return s->part[i].points;
    return 0;
}

/* What a term contributes, and what comes out. */
static void each_term_has_its_weight(void **state) {
    (void)state;
    static const struct {
        enum rmd_reputation_term t;
        uint32_t accepted, events;
        int32_t points;
        uint32_t score;
    } rows[] = {
        {RMD_REPUTATION_ACCEPTED, 0, 0, 0, 50},
        {RMD_REPUTATION_ACCEPTED, 400, 0, 20, 70},    /* half of it is the prior */
        {RMD_REPUTATION_ACCEPTED, 100000, 0, 39, 89}, /* and 40 is never passed */
        {RMD_REPUTATION_RATE, 4000, 600, -12, 70},    /* 600 of 5,000 are 12 %, full are 20 */
        {RMD_REPUTATION_RATE, 0, 100000, -20, 30},
        {RMD_REPUTATION_REPUTATION, 4375, 225, -31, 54}, /* 4.5 %, full are 5 */
        {RMD_REPUTATION_BLOCKED, 4564, 36, -18, 68},     /* 0.72 %, full are 2 */
        {RMD_REPUTATION_BLOCKED, 0, 1, -6, 44},          /* a single one, of nothing else */
        {RMD_REPUTATION_BLOCKED, 0, 1000, -50, 0},
        {RMD_REPUTATION_COMPLAINTS, 8000, 10, -13, 75}, /* 0.1 %, full are 0.3 */
        {RMD_REPUTATION_COMPLAINTS, 300, 2, -11, 56},   /* a few among few */
        {RMD_REPUTATION_COMPLAINTS, 8000, 30, -40, 48},
        {RMD_REPUTATION_COMPLAINTS, 9600, 3000, -40, 48},
        {RMD_REPUTATION_QUARANTINES, 9600, 1, -12, 76},
        {RMD_REPUTATION_QUARANTINES, 9600, 9, -30, 58},
        {RMD_REPUTATION_OTHER, 9600, 10000, 0, 69}, /* says nothing of us, and dilutes */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_reputation r = {0};
        struct rmd_reputation_score s;
        rmd_reputation_count(&r, 0, RMD_REPUTATION_ACCEPTED, rows[i].accepted);
        rmd_reputation_count(&r, 0, rows[i].t, rows[i].events);
        rmd_reputation_explain(&r, 0, &nothing, &s);
        if (points(&s, rows[i].t) != rows[i].points || s.score != rows[i].score)
            fail_msg("row %zu: %d points, score %u", i, points(&s, rows[i].t), s.score);
        assert_int_equal(rmd_reputation_number(&r, 0, &nothing), s.score);
    }
}

static void lists_and_list_quality(void **state) {
    (void)state;
    struct rmd_reputation r = {0};
    struct rmd_reputation_score s;
    const struct rmd_reputation_facts listed = {.listed_points = RMD_REPUTATION_ACT_POINTS,
                                                .listed_on = "zen.example"};
    rmd_reputation_count(&r, 0, RMD_REPUTATION_ACCEPTED, 9600);
    rmd_reputation_count(&r, 0, RMD_REPUTATION_UNKNOWN, 1000);
    rmd_reputation_explain(&r, 0, &listed, &s);
    assert_int_equal(points(&s, RMD_REPUTATION_LISTINGS), -25);
    for (size_t i = 0; i < s.n; i++) {
        assert_int_not_equal(s.part[i].term, RMD_REPUTATION_UNKNOWN); /* no lane's fault */
        if (s.part[i].term == RMD_REPUTATION_LISTINGS)
            assert_non_null(strstr(s.part[i].reason, "zen.example"));
    }
    rmd_reputation_explain(&r, 0, &of_domain, &s);
    assert_int_equal(points(&s, RMD_REPUTATION_UNKNOWN), -22);
    assert_int_equal(points(&s, RMD_REPUTATION_LISTINGS), 0);
}

static void little_evidence_is_neutral_and_says_so(void **state) {
    (void)state;
    static const struct {
        uint32_t accepted, blocked, low, high;
        bool few;
    } rows[] = {{0, 0, 50, 50, true},     {5, 0, 50, 51, true}, {99, 0, 55, 60, true}, {100, 0, 56, 60, false},
                {1000, 0, 75, 80, false}, {3, 1, 42, 49, true}, {3, 10, 0, 10, true},  {10000, 1, 85, 90, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_reputation r = {0};
        struct rmd_reputation_score s;
        rmd_reputation_count(&r, 0, RMD_REPUTATION_ACCEPTED, rows[i].accepted);
        rmd_reputation_count(&r, 0, RMD_REPUTATION_BLOCKED, rows[i].blocked);
        rmd_reputation_explain(&r, 0, &nothing, &s);
        assert_in_range(s.score, rows[i].low, rows[i].high);
        assert_int_equal(s.few, rows[i].few);
    }
}

static void it_fades_by_half_lives(void **state) {
    (void)state;
    static const struct {
        enum rmd_reputation_term t;
        int64_t half_h;
    } rows[] = {
        {RMD_REPUTATION_RATE, DAY_H}, {RMD_REPUTATION_BLOCKED, 14 * DAY_H}, {RMD_REPUTATION_QUARANTINES, 7 * DAY_H}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_reputation big = {0}, small = {0};
        rmd_reputation_count(&big, 1000, rows[i].t, 10000);
        rmd_reputation_count(&small, 1000, rows[i].t, 10000);
        rmd_reputation_decay(&big, 1000 + rows[i].half_h);
        for (int64_t h = 0; h <= rows[i].half_h; h++) /* many small steps are as long as one big one */
            rmd_reputation_decay(&small, 1000 + h);
        assert_in_range(big.count[rows[i].t] / RMD_REPUTATION_UNIT, 4900, 5300);
        assert_in_range(small.count[rows[i].t] / RMD_REPUTATION_UNIT, 4900, 5300);
        rmd_reputation_decay(&big, 1000); /* time never goes back */
        assert_int_equal(big.hour, 1000 + rows[i].half_h);
        rmd_reputation_decay(&big, 1000 + 100 * rows[i].half_h);
        assert_int_equal(big.count[rows[i].t], 0);
    }
}

/* Whatever happens: between 0 and 100, the sum of its parts, and the same for lanes that are added up in any order. */
static void it_is_bounded_and_the_sum_of_its_parts(void **state) {
    (void)state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 5);
    for (int i = 0; i < 5000; i++) {
        struct rmd_reputation lane[2] = {0}, ab = {0}, ba = {0};
        struct rmd_reputation_facts f = {.domain = i & 1, .listed_points = (uint32_t)rmd_rng_below(&rng, 80)};
        struct rmd_reputation_score s;
        int64_t hour = 0;
        for (int k = 0; k < 30; k++) {
            hour += (int64_t)rmd_rng_below(&rng, 50);
            rmd_reputation_count(&lane[k & 1], hour,
                                 (enum rmd_reputation_term)rmd_rng_below(&rng, RMD_REPUTATION_TERM_COUNT),
                                 (uint32_t)rmd_rng_below(&rng, k % 7 ? 1000 : UINT32_MAX));
        }
        rmd_reputation_add(&ab, &lane[0], hour);
        rmd_reputation_add(&ab, &lane[1], hour);
        rmd_reputation_add(&ba, &lane[1], hour);
        rmd_reputation_add(&ba, &lane[0], hour);
        rmd_reputation_explain(&ab, hour, &f, &s);
        int32_t sum = RMD_REPUTATION_NEUTRAL;
        for (size_t k = 0; k < s.n; k++) {
            sum += s.part[k].points;
            assert_true(s.part[k].weight > 0 ? s.part[k].points >= 0 && s.part[k].points <= s.part[k].weight
                                             : s.part[k].points <= 0 && s.part[k].points >= s.part[k].weight);
        }
        if (f.domain || !ab.count[RMD_REPUTATION_UNKNOWN])
            assert_int_equal(s.score, sum < 0 ? 0 : sum > 100 ? 100 : sum);
        assert_true(s.score <= 100);
        assert_int_equal(s.score, rmd_reputation_number(&ba, hour, &f));
    }
}

static void bands_have_hysteresis(void **state) {
    (void)state;
    static const struct {
        enum rmd_reputation_band was;
        uint32_t score;
        enum rmd_reputation_band is;
    } rows[] = {{RMD_BAND_FAIR, 64, RMD_BAND_FAIR}, {RMD_BAND_FAIR, 65, RMD_BAND_GOOD},
                {RMD_BAND_GOOD, 60, RMD_BAND_GOOD}, {RMD_BAND_GOOD, 59, RMD_BAND_FAIR},
                {RMD_BAND_FAIR, 35, RMD_BAND_FAIR}, {RMD_BAND_FAIR, 34, RMD_BAND_POOR},
                {RMD_BAND_POOR, 39, RMD_BAND_POOR}, {RMD_BAND_POOR, 40, RMD_BAND_FAIR},
                {RMD_BAND_POOR, 70, RMD_BAND_GOOD}, {RMD_BAND_GOOD, 20, RMD_BAND_POOR}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(rmd_reputation_band(rows[i].was, rows[i].score), rows[i].is);
    assert_int_equal(rmd_reputation_poor_hour(10000), 200);
    assert_int_equal(rmd_reputation_poor_hour(100), RMD_REPUTATION_POOR_HOUR_MIN);
    assert_int_equal(rmd_reputation_poor_hour(0), RMD_REPUTATION_POOR_HOUR_FREE);
}

static void what_an_outcome_says(void **state) {
    (void)state;
    static const struct {
        enum rmd_outcome kind;
        enum rmd_class class;
        unsigned scope;
        enum rmd_action action;
        enum rmd_reputation_term lane, domain;
    } rows[] = {
#define ROW(kind, class, scope, action, lane, domain)               \
    {RMD_OUTCOME_##kind,  RMD_CLASS_##class,     RMD_SCOPE_##scope, \
     RMD_ACTION_##action, RMD_REPUTATION_##lane, RMD_REPUTATION_##domain},
        ROW(DELIVERED, DELIVERED, RECIPIENT, NONE, ACCEPTED, ACCEPTED)
            ROW(BOUNCED, USER_UNKNOWN, RECIPIENT, SUPPRESS, OTHER, UNKNOWN)
                ROW(DEFERRED, MAILBOX_FULL, RECIPIENT, RETRY, OTHER, OTHER)
                    ROW(DEFERRED, RATE_LIMITED, LANE, SLOW, RATE, OTHER)
                        ROW(DEFERRED, RATE_LIMITED, SENDING_DOMAIN, SLOW, OTHER, RATE)
                            ROW(DEFERRED, GREYLISTED, LANE, RETRY_SAME, OTHER, OTHER)
                                ROW(DEFERRED, IP_BLOCKLISTED, LANE, REST, REPUTATION, OTHER)
                                    ROW(DEFERRED, IP_BLOCKLISTED, SOURCE, QUARANTINE, BLOCKED, OTHER)
                                        ROW(BOUNCED, IP_BLOCKLISTED, NETWORK, NONE, BLOCKED, OTHER)
                                            ROW(BOUNCED, DOMAIN_BLOCKLISTED, SENDING_DOMAIN, PAUSE, OTHER, BLOCKED)
                                                ROW(DEFERRED, NETWORK, DESTINATION, NEXT_MX, OTHER, OTHER)
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_verdict v = {.class = rows[i].class, .scope = rows[i].scope, .action = rows[i].action};
        assert_int_equal(rmd_reputation_term_of(rows[i].kind, &v, false), rows[i].lane);
        assert_int_equal(rmd_reputation_term_of(rows[i].kind, &v, true), rows[i].domain);
    }
}

/* ---------------------------------------------------------------- the core */

static const char *const google[] = {"g.test", NULL};

/* What the receiver says to a source. */
struct script {
    uint32_t source; /* of the bad one; 0: nobody */
    uint32_t class, action;
};

static void answer(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email, Remuda__Outcome *o) {
    (void)n;
    (void)email;
    const struct script *s = w->ctx;
    if (s->source == l->source)
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, s->class, s->action, RMD_SCOPE_LANE, false);
}

static struct cw *world(uint32_t without, struct script *s) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 3);
    w->answer = answer;
    w->ctx = s;
    w->o.without = without;
    cw_crash(w, false);
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    r.priority = 5;
    r.retry_min_ms = 2 * DAY;
    r.retry_max_ms = 2 * DAY;
    r.age_limit_ms = 20ll * DAY;
    cw_stream(w, "bulk", &r);
    cw_node_add(w, "n1");
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

struct looked {
    const char *kind, *name, *provider;
    struct rmd_reputation_score s;
    char band[16];
    bool found;
};

static void on_view(void *ctx, const struct rmd_reputation_view *v) {
    struct looked *l = ctx;
    if (strcmp(v->kind, l->kind) != 0 || strcmp(v->name, l->name) != 0 || !v->provider != !l->provider ||
        (v->provider && strcmp(v->provider, l->provider) != 0))
        return;
    l->s = v->score;
    l->found = true;
    rmd_copy(l->band, sizeof l->band, v->band);
}

static struct looked look(struct cw *w, const char *kind, const char *name, const char *provider) {
    struct looked l = {.kind = kind, .name = name, .provider = provider};
    rmd_coord_reputations(w->core, on_view, &l);
    return l;
}

static size_t sent_by(const struct cw *w, uint32_t source, size_t from) {
    size_t n = 0;
    for (size_t i = from; i < w->n_rcpts; i++)
        n += w->rcpt[i].source == source;
    return n;
}

static struct rmd_id send(struct cw *w, uint32_t n, uint32_t first) {
    struct rmd_id id = cw_submit(w, "bulk", google, n, first);
    cw_run(w);
    cw_pass(w, MINUTE, 1000);
    return id;
}

static void explained(struct cw *w, const char *words, bool there) {
    struct rmd_buf b = {0};
    rmd_coord_explain(w->core, 1, 1, NULL, "g.test", &b);
    if (!strstr(rmd_buf_str(&b), words) == there)
        fail_msg("explain %s \"%s\":\n%s", there ? "doesn't say" : "says", words, rmd_buf_str(&b));
    rmd_buf_release(&b);
}

/* Two sources that may take the same work: the one that comes first is deferred for its reputation, and the other comes first from then on; where reputation
 * is left out of a measurement, nothing changes. */
static void lanes_of_better_repute_come_first(void **state) {
    (void)state;
    for (int without = 0; without < 2; without++) {
        struct script s = {.class = RMD_CLASS_IP_BLOCKLISTED, .action = RMD_ACTION_RETRY};
        struct cw *w = world(without ? RMD_WITHOUT_REPUTATION : 0, &s);
        uint32_t a = cw_source(w, "203.0.113.1", "n1", 0), b = cw_source(w, "198.51.100.1", "n1", 0);
        send(w, 20, 0);
        uint32_t first = sent_by(w, a, 0) ? a : b, other = first == a ? b : a;
        assert_int_equal(sent_by(w, first, 0), 20); /* concentrated */
        s.source = first;
        send(w, 200, 1000);
        assert_int_equal(sent_by(w, other, 0), 0);
        const char *name = first == a ? "203.0.113.1" : "198.51.100.1";
        struct looked l = look(w, "lane", name, "google");
        assert_true(l.found && l.s.score < RMD_REPUTATION_POOR_BELOW);
        assert_int_equal(cw_events(w, "reputation.poor"), 1);
        size_t from = w->n_rcpts;
        send(w, 100, 2000);
        assert_int_equal(sent_by(w, without ? first : other, from), 100);
        explained(w, "reputation poor (", !without);
        done(w);
    }
}

static void on_queue(void *ctx, const struct rmd_queue_view *q) {
    if (strcmp(q->provider, "google") == 0)
        rmd_copy(ctx, 160, q->waits_for);
}

static const char *waits_for(struct cw *w) {
    static char why[160];
    why[0] = 0;
    rmd_coord_queues(w->core, on_queue, why);
    return why;
}

/* A single source: its mail goes on, in a smaller share of the hour, and no cap is opened. */
static void a_poor_lane_has_a_smaller_share_of_its_hour(void **state) {
    (void)state;
    struct script s = {.class = RMD_CLASS_IP_BLOCKLISTED, .action = RMD_ACTION_RETRY};
    struct cw *w = world(0, &s);
    s.source = cw_source(w, "203.0.113.1", "n1", 2500);
    send(w, 200, 0);
    s.source = 0;
    assert_int_equal(cw_events(w, "reputation.poor"), 1);
    cw_pass(w, 2 * HOUR, MINUTE);
    size_t from = w->n_rcpts;
    send(w, 600, 1000);
    assert_int_equal(w->n_rcpts - from, 50); /* a fiftieth of 2,500 */
    assert_non_null(strstr(waits_for(w), "reputation is poor"));
    explained(w, "smaller share, for its poor reputation,", true);
    cw_pass(w, 66 * MINUTE, MINUTE);
    assert_int_equal(w->n_rcpts - from, 100);
    done(w);
}

/* Bad news at once, good news within a minute. */
static void a_restart_keeps_it(void **state) {
    (void)state;
    struct script s = {.class = RMD_CLASS_IP_BLOCKLISTED, .action = RMD_ACTION_RETRY};
    struct cw *w = world(0, &s);
    uint32_t a = cw_source(w, "203.0.113.1", "n1", 0);
    send(w, 1000, 0);
    cw_pass(w, 2 * MINUTE, 1000);
    struct looked before = look(w, "lane", "203.0.113.1", "google"),
                  domain = look(w, "domain", "example.org", "google");
    assert_string_equal(before.band, "good");
    cw_crash(w, false);
    struct looked after = look(w, "lane", "203.0.113.1", "google");
    assert_int_equal(after.s.score, before.s.score);
    assert_int_equal(after.s.attempts, before.s.attempts);
    assert_string_equal(after.band, "good");
    assert_int_equal(look(w, "domain", "example.org", "google").s.score, domain.s.score);
    struct rmd_verdict v = {.class = RMD_CLASS_IP_BLOCKLISTED,
                            .scope = RMD_SCOPE_SOURCE,
                            .at_provider = true,
                            .action = RMD_ACTION_QUARANTINE,
                            .duration_ms = HOUR,
                            .move = true,
                            .rule = "test"};
    cw_alarm(w, &w->node[0], a, rmd_provider_id("google"), &v, 1);
    cw_run(w);
    struct looked stopped = look(w, "lane", "203.0.113.1", "google");
    assert_true(stopped.s.score + RMD_REPUTATION_QUARANTINE_POINTS <= before.s.score);
    cw_crash(w, false);
    assert_int_equal(look(w, "lane", "203.0.113.1", "google").s.score, stopped.s.score);
    /* however good it is, a quarantine holds */
    size_t from = w->n_rcpts;
    send(w, 10, 5000);
    assert_int_equal(w->n_rcpts, from);
    done(w);
}

static void complaints_count_without_a_warm_up(void **state) {
    (void)state;
    struct script s = {0};
    struct cw *w = world(0, &s);
    cw_source(w, "203.0.113.1", "n1", 0);
    send(w, 1000, 0);
    uint32_t before = look(w, "lane", "203.0.113.1", "google").s.score;
    struct rmd_command m = {.kind = RMD_CMD_COMPLAINTS, .name = "203.0.113.1", .provider = "google", .number = 10};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_true(look(w, "lane", "203.0.113.1", "google").s.score + 30 < before);
    assert_true(look(w, "source", "203.0.113.1", NULL).s.score + 30 < before);
    m.name = "example.org";
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_true(look(w, "domain", "example.org", "google").s.score + 30 < before);
    m.name = "198.51.100.77";
    assert_int_equal(cw_command(w, &m), RMD_ENOTFOUND);
    cw_crash(w, false);
    assert_true(look(w, "lane", "203.0.113.1", "google").s.score + 30 < before);
    done(w);
}

/* A source's trouble everywhere is every lane's; a network is judged by all of its sources. */
static void rollups_of_sources_and_networks(void **state) {
    (void)state;
    struct script s = {.class = RMD_CLASS_IP_BLOCKLISTED, .action = RMD_ACTION_RETRY};
    struct cw *w = world(0, &s);
    s.source = cw_source(w, "203.0.113.1", "n1", 0);
    send(w, 100, 0);
    uint32_t alone = look(w, "network", "203.0.113.0/24", NULL).s.score;
    assert_true(alone < 50);
    cw_source(w, "203.0.113.2", "n1", 0);
    send(w, 3000, 1000);
    struct looked net = look(w, "network", "203.0.113.0/24", NULL);
    assert_int_equal(net.s.attempts, 3100);
    assert_true(net.s.score > alone);
    assert_true(look(w, "source", "203.0.113.2", NULL).s.score > net.s.score);
    assert_false(look(w, "network", "198.51.100.0/24", NULL).found);
    done(w);
}

/* ---------------------------------------------------------------- pace */

static void tell_hour(struct cw *w, struct cw_node *n, uint32_t source, uint32_t per_minute, uint32_t per_hour,
                      bool slowed, bool fresh) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Pace p = REMUDA__PACE__INIT;
    Remuda__LanePace l = REMUDA__LANE_PACE__INIT, *ls[] = {&l};
    Remuda__SitePace site = REMUDA__SITE_PACE__INIT, *sites[] = {&site, &site, &site, &site, &site};
    site.domain = (char *)(uintptr_t) "slow.test";
    l.source = source;
    l.provider = rmd_provider_id("google");
    l.per_minute = per_minute;
    l.per_hour = per_hour;
    l.connections = 3;
    l.narrowed = slowed ? 3 : 0;
    l.slowed = slowed;
    l.slowed_ms = MINUTE;
    l.rest_ms = slowed ? 10 * MINUTE : 0;
    l.fresh = fresh;
    l.deferred_permille = 5000;
    l.site = sites;
    l.n_site = 5;
    p.lane = ls;
    p.n_lane = 1;
    f.body_case = REMUDA__FRAME__BODY_PACE;
    f.pace = &p;
    cw_frame(w, n, &f);
    cw_run(w);
}

static void tell_pace(struct cw *w, struct cw_node *n, uint32_t source, uint32_t per_minute, bool slowed,
                      bool fresh) {
    tell_hour(w, n, source, per_minute, 0, slowed, fresh);
}

struct paced {
    const char *address;
    struct rmd_pace pace;
    bool known;
};

static void on_source(void *ctx, const struct rmd_source_view *v) {
    struct paced *p = ctx;
    for (size_t i = 0; i < v->n_lanes && strcmp(v->record->address, p->address) == 0; i++)
        if (strcmp(v->lane[i].provider, "google") == 0 && v->lane[i].pace) {
            p->pace = *v->lane[i].pace;
            p->known = true;
        }
}

static uint32_t leased_pace(struct cw *w, struct cw_node *n) {
    size_t before = n->n_leases;
    static uint32_t first = 50000;
    n->holds = true;
    cw_submit(w, "bulk", google, 1, first++);
    cw_run(w);
    cw_pass(w, 2000, 500);
    assert_true(n->n_leases > before);
    uint32_t pace = n->lane_pace;
    n->holds = false;
    cw_answer_all(w, n);
    cw_run(w);
    return pace;
}

static void pace_is_kept_and_given_back(void **state) {
    (void)state;
    struct script s = {0};
    struct cw *w = world(0, &s);
    struct cw_node *n = &w->node[0], *stranger = cw_node_add(w, "n2");
    uint32_t a = cw_source(w, "203.0.113.1", "n1", 0);
    assert_int_equal(leased_pace(w, n), 0);
    tell_pace(w, stranger, a, 7, true, false); /* not its source */
    struct paced p = {.address = "203.0.113.1"};
    rmd_coord_sources(w->core, on_source, &p);
    assert_false(p.known);
    tell_pace(w, n, a, 90, true, false);
    rmd_coord_sources(w->core, on_source, &p);
    assert_true(p.known && p.pace.slowed);
    assert_int_equal(p.pace.per_minute, 90);
    assert_int_equal(p.pace.deferred_permille, 1000); /* bounded, as its sites are */
    assert_int_equal(p.pace.n_sites, RMD_PACE_SITES);
    assert_int_equal(w->now.wall_ms - p.pace.slowed_wall_ms, MINUTE);
    assert_int_equal(p.pace.rest_wall_ms - w->now.wall_ms, 10 * MINUTE);
    for (int everywhere = 0; everywhere < 2;
         everywhere++) { /* a rest that was told ends with the stop that a person resolves */
        struct rmd_verdict v = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                .scope = RMD_SCOPE_SOURCE,
                                .at_provider = true,
                                .action = RMD_ACTION_QUARANTINE,
                                .move = true,
                                .rule = "block"};
        cw_alarm(w, n, a, rmd_provider_id("google"), &v, 1);
        if (everywhere)
            cw_alarm(w, n, a, rmd_provider_id("yahoo"), &v, 1);
        cw_run(w);
        tell_pace(w, n, a, 90, true, false);
        for (uint64_t i = 1; i < 5; i++)
            (void)cw_command(
                w, &(struct rmd_command){.kind = RMD_CMD_INCIDENT_RESOLVE, .number = i, .reason = "mended"});
        rmd_coord_sources(w->core, on_source, &p);
        assert_int_equal(p.pace.rest_wall_ms, 0);
    }
    for (int i = 0; i < 12; i++)
        (void)leased_pace(w, n); /* probes */
    assert_int_equal(leased_pace(w, n), 90);
    tell_pace(w, n, a, 0, false, true); /* the lane began anew: it doesn't know better */
    assert_int_equal(leased_pace(w, n), 90);
    cw_pass(w, 2 * MINUTE, 1000);
    cw_crash(w, false); /* and a restart of the coordinator forgets nothing */
    assert_int_equal(leased_pace(w, n), 90);
    tell_pace(w, n, a, 0, false, false);
    assert_int_equal(leased_pace(w, n), 0);
    tell_pace(w, n, a, 90, true, false);
    cw_pass(w, 25ll * HOUR, MINUTE); /* history */
    assert_int_equal(leased_pace(w, n), 0);
    done(w);
}

/* What a receiver takes an hour is known for a week, and no more than that waits at the lane: others may take the rest. */
static void an_hours_measure_is_kept_and_bounds_what_is_outstanding(void **state) {
    (void)state;
    struct script s = {0};
    struct cw *w = world(0, &s);
    struct cw_node *n = &w->node[0];
    uint32_t a = cw_source(w, "203.0.113.1", "n1", 0);
    (void)leased_pace(w, n);
    tell_hour(w, n, a, 0, 60, false, false);
    (void)leased_pace(w, n);
    assert_int_equal(n->lane_hour, 60);
    tell_hour(w, n, a, 0, 0, false, true); /* the lane began anew */
    cw_pass(w, 2 * MINUTE, 1000);
    cw_crash(w, false);
    cw_pass(w, 25ll * HOUR, MINUTE);
    (void)leased_pace(w, n);
    assert_int_equal(n->lane_hour, 60);
    tell_hour(w, n, a, 0, 60, false, false);
    n->holds = true;
    cw_submit(w, "bulk", google, 500, 90000);
    cw_pass(w, MINUTE, 1000);
    size_t leased = 0;
    for (size_t i = 0; i < n->n_leases; i++)
        leased += n->lease[i]->n;
    assert_int_equal(leased, 60);
    assert_string_equal(waits_for(w), "what the receiver takes an hour from its source");
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_term_has_its_weight),
        cmocka_unit_test(lists_and_list_quality),
        cmocka_unit_test(little_evidence_is_neutral_and_says_so),
        cmocka_unit_test(it_fades_by_half_lives),
        cmocka_unit_test(it_is_bounded_and_the_sum_of_its_parts),
        cmocka_unit_test(bands_have_hysteresis),
        cmocka_unit_test(what_an_outcome_says),
        cmocka_unit_test(lanes_of_better_repute_come_first),
        cmocka_unit_test(a_poor_lane_has_a_smaller_share_of_its_hour),
        cmocka_unit_test(a_restart_keeps_it),
        cmocka_unit_test(complaints_count_without_a_warm_up),
        cmocka_unit_test(rollups_of_sources_and_networks),
        cmocka_unit_test(pace_is_kept_and_given_back),
        cmocka_unit_test(an_hours_measure_is_kept_and_bounds_what_is_outstanding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
