/* Stories of listings at the coordinator: who asks what, what a listing stops, slows or pauses, how it ends, and what is believed
 * of a node. Nodes are scripted: the test says what their resolvers found. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/listing.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

static Remuda__BlocklistCode code[3];
static Remuda__BlocklistCode *codes[3] = {&code[0], &code[1], &code[2]};
static Remuda__Blocklist list[6];
static Remuda__Blocklist *lists[6] = {&list[0], &list[1], &list[2], &list[3], &list[4], &list[5]};
static char *named[] = {(char *)(uintptr_t) "using a list"};
static struct rmd_watch_settings settings;

#define ACT "act.test"
#define SLOW "slow.test"
#define ALERT "alert.test"
#define DBL "dbl.test"
#define URL "url.test"

static void make_list(size_t i, const char *name, uint32_t tier, uint32_t kinds) {
    Remuda__Blocklist *l = &list[i];
    remuda__blocklist__init(l);
    l->name = l->zone = (char *)(uintptr_t)name;
    l->kinds = kinds;
    l->tier = tier;
    l->interval_ms = 60000;
    l->per_hour = 100;
    l->per_day = 1000;
    l->code = codes;
    l->n_code = 3;
    l->enabled = true;
    l->neighbours = i == 0;
    l->removal = (char *)(uintptr_t) "https://removal.test/";
    if (i == 0) {
        l->named = named;
        l->n_named = 1;
    }
}

static struct cw *world(void) {
    static const struct {
        uint32_t address, meaning;
        const char *text;
    } rows[] = {{0x7f000002, RMD_MEANS_LISTED, "bad"},
                {0x7f000003, RMD_MEANS_SNOWSHOE, "spread"},
                {0x7f00000a, RMD_MEANS_POLICY, "policy"}};
    for (size_t i = 0; i < 3; i++) {
        remuda__blocklist_code__init(&code[i]);
        code[i].address = rows[i].address;
        code[i].meaning = rows[i].meaning;
        code[i].text = (char *)(uintptr_t)rows[i].text;
    }
    make_list(0, ACT, RMD_TIER_ACT, RMD_LIST_IP4);
    make_list(1, SLOW, RMD_TIER_SLOW, RMD_LIST_IP4);
    make_list(2, ALERT, RMD_TIER_ALERT, RMD_LIST_IP4);
    make_list(3, DBL, RMD_TIER_ACT, RMD_LIST_DOMAIN);
    make_list(4, "off.test", RMD_TIER_ACT, RMD_LIST_IP4);
    list[4].enabled = false;
    make_list(5, URL, RMD_TIER_ALERT, RMD_LIST_URL);
    settings = (struct rmd_watch_settings){.enabled = true,
                                           .per_hour = 400,
                                           .per_day = 4000,
                                           .neighbours = 8,
                                           .neighbours_every_ms = 3600000,
                                           .list = lists,
                                           .n_lists = 6};
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    w->o.watch = &settings;
    rmd_coord_watch_set(w->core, &settings);
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    r.priority = 5;
    cw_stream(w, "bulk", &r);
    r.priority = 0;
    cw_stream(w, "receipts", &r);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

/* A node with two sources on one network, another with one elsewhere. */
static void two_networks(struct cw *w, struct cw_node **a, struct cw_node **b) {
    *a = cw_node_add(w, "n1");
    *b = cw_node_add(w, "n2");
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_source(w, "203.0.113.8", "n1", 0);
    cw_source(w, "198.51.100.9", "n2", 0);
    cw_pass(w, 2000, 500);
}

static void find_at(struct cw *w, struct cw_node *n, const char *name, const char *subject, uint32_t state,
                    uint32_t answer, const char *text, uint64_t check) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Findings m = REMUDA__FINDINGS__INIT;
    Remuda__Finding x = REMUDA__FINDING__INIT, *xs[] = {&x};
    x.list = rmd_blocklist_id(name);
    x.subject = (char *)(uintptr_t)subject;
    x.state = state;
    x.answer = &answer;
    x.n_answer = state == RMD_FINDING_LISTED;
    x.text = (char *)(uintptr_t)text;
    x.check = check;
    m.n = ++n->findings_n;
    m.finding = xs;
    m.n_finding = 1;
    f.body_case = REMUDA__FRAME__BODY_FINDINGS;
    f.findings = &m;
    cw_frame(w, n, &f);
    cw_run(w);
}

static void found(struct cw *w, struct cw_node *n, const char *name, const char *subject, uint32_t answer) {
    find_at(w, n, name, subject, RMD_FINDING_LISTED, answer, "", 0);
}
static void clean(struct cw *w, struct cw_node *n, const char *name, const char *subject) {
    find_at(w, n, name, subject, RMD_FINDING_CLEAN, 0, "", 0);
}
static void two_clean_checks(struct cw *w, struct cw_node *n, const char *name, const char *subject) {
    clean(w, n, name, subject);
    cw_pass(w, 40000, 5000);
    clean(w, n, name, subject);
}

struct seen {
    const char *address;
    enum rmd_lane_state state;
    const char *subject;
    Remuda__IncidentRecord incident; /* the first open one; strings live until the next step */
    size_t open, listings;
    bool any;
};
static void on_source(void *ctx, const struct rmd_source_view *v) {
    struct seen *s = ctx;
    if (strcmp(v->record->address, s->address) == 0)
        s->state = v->state;
}
static enum rmd_lane_state state_of(struct cw *w, const char *address) {
    struct seen s = {.address = address};
    rmd_coord_sources(w->core, on_source, &s);
    return s.state;
}
static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct seen *s = ctx;
    if (r->state)
        return;
    s->open++;
    s->incident = *r;
}
static struct seen incidents(struct cw *w) {
    struct seen s = {0};
    rmd_coord_incidents(w->core, on_incident, &s);
    return s;
}
static void on_stream(void *ctx, const Remuda__StreamRecord *r) {
    struct seen *s = ctx;
    if (strcmp(r->name, s->subject) == 0)
        s->any = r->state != 0;
}
static bool paused(struct cw *w, const char *stream) {
    struct seen s = {.subject = stream};
    rmd_coord_streams(w->core, on_stream, &s);
    return s.any;
}
static const Remuda__WatchSubject *subject_in(const struct cw_node *n, const char *name) {
    for (size_t i = 0; n->watch && i < n->watch->n_subject; i++)
        if (strcmp(n->watch->subject[i]->name, name) == 0)
            return n->watch->subject[i];
    return NULL;
}

/* By single recipients; its incidents end then. */
static void comes_back(struct cw *w) {
    static const char *const domain[] = {"g.test", NULL};
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_PROBING);
    assert_true(incidents(w).open > 0);
    for (size_t i = 0; i < w->n_nodes; i++) {
        w->node[i].holds = false;
        cw_answer_all(w, &w->node[i]);
    }
    for (uint32_t i = 0; i < 5; i++) { /* the first of each is the probe */
        assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_PROBING);
        cw_submit(w, "bulk", domain, 3, 5000 + 3 * i);
        cw_pass(w, 4000, 500);
    }
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    assert_int_equal(incidents(w).open, 0);
}

/* ---------------------------------------------------------------- the policy, as a table */

static void what_a_listing_does(void **state) {
    (void)state;
    static const struct {
        uint32_t tier;
        bool snowshoe, domain, neighbour;
        enum rmd_listing_what what;
    } rows[] = {
        {RMD_TIER_ACT, false, false, false, RMD_LISTING_QUARANTINE},
        {RMD_TIER_ACT, true, false, false, RMD_LISTING_PAUSE_POOL},
        {RMD_TIER_ACT, false, true, false, RMD_LISTING_PAUSE_DOMAIN},
        {RMD_TIER_ACT, false, false, true, RMD_LISTING_ALERT},
        {RMD_TIER_ACT, true, false, true, RMD_LISTING_ALERT},
        {RMD_TIER_SLOW, false, false, false, RMD_LISTING_SLOW},
        {RMD_TIER_SLOW, false, true, false, RMD_LISTING_ALERT},
        {RMD_TIER_SLOW, false, false, true, RMD_LISTING_ALERT},
        {RMD_TIER_ALERT, false, false, false, RMD_LISTING_ALERT},
        {RMD_TIER_ALERT, false, true, false, RMD_LISTING_ALERT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(rmd_listing_decide(rows[i].tier, rows[i].snowshoe, rows[i].domain, rows[i].neighbour),
                         rows[i].what);
}

/* ---------------------------------------------------------------- who asks */

static void each_node_asks_about_its_own_and_a_lost_ones_sources_move(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    assert_non_null(subject_in(a, "203.0.113.7"));
    assert_non_null(subject_in(a, "203.0.113.8"));
    assert_null(subject_in(a, "198.51.100.9"));
    assert_non_null(subject_in(b, "198.51.100.9"));
    assert_int_equal((subject_in(a, "example.org") != NULL) + (subject_in(b, "example.org") != NULL), 1);
    size_t neighbours = 0;
    for (size_t i = 0; i < a->watch->n_subject; i++)
        neighbours += a->watch->subject[i]->neighbour;
    assert_in_range(neighbours, 6, 8);                   /* of 203.0.113.0/24; never our own */
    assert_int_equal(a->watch->n_list, 5);               /* the one that is off stays here */
    assert_string_equal(a->watch->list[0]->removal, ""); /* what is for people, too */
    uint32_t hour = a->watch->per_hour + b->watch->per_hour,
             one = a->watch->list[0]->per_hour + b->watch->list[0]->per_hour;
    assert_in_range(hour, 390, 400); /* the cluster's budget, divided */
    assert_in_range(one, 95, 100);
    uint64_t before = b->watches;
    cw_kill_node(w, a);
    cw_pass(w, 30000, 2000);
    assert_int_equal(b->watches, before); /* away for a moment */
    cw_pass(w, 120000, 5000);
    assert_non_null(subject_in(b, "203.0.113.7"));
    assert_non_null(subject_in(b, "example.org"));
    assert_int_equal(b->watch->per_hour, 400);
    cw_revive_node(w, a, false, false);
    cw_pass(w, 5000, 500);
    assert_non_null(subject_in(a, "203.0.113.7"));
    assert_null(subject_in(b, "203.0.113.7"));
    done(w);
}

static void nothing_is_asked_before_it_is_switched_on(void **state) {
    (void)state;
    struct cw *w = world();
    settings.enabled = false;
    rmd_coord_watch_set(w->core, &settings);
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    assert_true(!a->watch || (!a->watch->n_list && !a->watch->n_subject));
    settings.enabled = true;
    rmd_coord_watch_set(w->core, &settings); /* as after a reload */
    cw_pass(w, 2000, 500);
    assert_int_equal(a->watch->n_list, 5);
    found(w, a, ACT, "203.0.113.7", 0x7f000002);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED);
    settings.enabled = false;
    rmd_coord_watch_set(w->core, &settings);
    cw_pass(w, 120000, 5000);
    assert_int_equal(a->watch->n_list, 0);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_PROBING); /* nobody would ever notice its end */
    done(w);
}

static size_t who_ask_about(const struct cw_node *a, const struct cw_node *b, const char *name) {
    return (size_t)(subject_in(a, name) != NULL) + (size_t)(subject_in(b, name) != NULL);
}

/* The host of a stream's unsubscribe link is in every mail: lists of links know it, and its parents, as lists of domains know senders. */
static void links_are_asked_about_by_their_hosts(void **state) {
    (void)state;
    static const struct {
        const char *url, *asked[3], *not_asked;
    } rows[] = {
        {"https://u.links.example/r/{token}", {"u.links.example", "links.example"}, "example"},
        {"https://Click.Shop.co.uk:8443/{token}", {"click.shop.co.uk", "shop.co.uk"}, "co.uk"},
        {"https://one.example?t={token}", {"one.example"}, NULL},
        {"https://{token}.example/", {NULL}, NULL},
        {"no link", {NULL}, "no link"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cw *w = world();
        struct cw_node *a, *b;
        Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
        r.priority = 5;
        r.unsubscribe_url = (char *)(uintptr_t)rows[i].url;
        two_networks(w, &a, &b);
        uint64_t usual = a->watch->n_subject + b->watch->n_subject, more = 0;
        cw_stream(w, "links", &r);
        cw_pass(w, 2000, 500);
        for (; rows[i].asked[more]; more++)
            if (who_ask_about(a, b, rows[i].asked[more]) != 1)
                fail_msg("%s: \"%s\" is asked about by %zu", rows[i].url, rows[i].asked[more],
                         who_ask_about(a, b, rows[i].asked[more]));
        assert_true(!rows[i].not_asked || who_ask_about(a, b, rows[i].not_asked) == 0);
        assert_int_equal(a->watch->n_subject + b->watch->n_subject, usual + more);
        done(w);
    }
}

static void a_listed_link_is_told_and_stops_nothing(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1");
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    r.priority = 5;
    r.unsubscribe_url = (char *)(uintptr_t) "https://u.links.example/r/{token}";
    cw_stream(w, "links", &r);
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_pass(w, 2000, 500);
    found(w, a, URL, "203.0.113.7", 0x7f000002); /* a list of links doesn't know addresses */
    assert_int_equal(cw_events(w, "listing.found"), 0);
    found(w, a, URL, "links.example", 0x7f000002);
    assert_int_equal(cw_events(w, "listing.found"), 1);
    assert_int_equal(incidents(w).open, 1);
    assert_string_equal(incidents(w).incident.subject, "links.example");
    assert_false(paused(w, "links"));
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    done(w);
}

static void a_node_is_believed_about_its_own_subjects_only(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    found(w, b, ACT, "203.0.113.7", 0x7f000002);      /* not its own */
    found(w, a, "x.test", "203.0.113.7", 0x7f000002); /* no such list */
    found(w, a, "off.test", "203.0.113.7", 0x7f000002);
    found(w, a, DBL, "203.0.113.7", 0x7f000002); /* a list of domains */
    found(w, a, ACT, "203.0.113.7", 0x7f000063); /* a code that isn't documented */
    found(w, a, ACT, "203.0.113.7", 0xcb007109); /* nor an answer of a list */
    find_at(w, a, ACT, "203.0.113.7", 99, 0, "", 0);
    find_at(w, a, ACT, "203.0.113.7", RMD_FINDING_LISTED, 0x7f000002, "",
            77); /* of a check that nobody made: still its own */
    assert_int_equal(cw_events(w, "listing.found"), 1);
    assert_int_equal(a->findings_acked, a->findings_n);
    done(w);
}

/* ---------------------------------------------------------------- what it does */

struct reputed {
    const char *name;
    uint32_t score;
};

static void on_reputation(void *ctx, const struct rmd_reputation_view *v) {
    struct reputed *r = ctx;
    if (strcmp(v->name, r->name) == 0 && !v->provider)
        r->score = v->score.score;
}

/* Over all providers. */
static uint32_t reputation(struct cw *w, const char *name) {
    struct reputed r = {name, UINT32_MAX};
    rmd_coord_reputations(w->core, on_reputation, &r);
    return r.score;
}

static void a_listing_of_the_acting_tier_stops_the_source_everywhere(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    a->holds = b->holds = true;
    static const char *const domains[] = {"g.test", "y.test", NULL};
    cw_submit(w, "bulk", domains, 40, 0);
    cw_pass(w, 1000, 200);
    uint64_t recalls = a->recalls;
    uint32_t before = reputation(w, "203.0.113.7");
    found(w, a, ACT, "203.0.113.7", 0x7f000002);
    find_at(w, a, ACT, "203.0.113.7", RMD_FINDING_LISTED, 0x7f000002, "reported by its users", 0);
    cw_run(w);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED);
    assert_int_equal(state_of(w, "203.0.113.8"), RMD_LANE_OPEN); /* its neighbour isn't */
    assert_true(a->recalls > recalls || a->n_leases == 0 || b->n_leases > 0);
    struct seen s = incidents(w);
    assert_int_equal(s.open, 1);
    assert_non_null(
        strstr(s.incident.cause, "act.test answers 127.0.0.2 for 203.0.113.7 (bad): reported by its users"));
    assert_non_null(strstr(s.incident.next_step, "https://removal.test/"));
    uint32_t listed = reputation(w, "203.0.113.7");
    assert_true(listed + RMD_REPUTATION_ACT_POINTS <= before);
    cw_crash(w, false); /* it survives a restart */
    cw_pass(w, 3000, 500);
    assert_int_equal(reputation(w, "203.0.113.7"), listed);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED);
    find_at(w, a, ACT, "203.0.113.7", RMD_FINDING_UNKNOWN, 0, "timeout", 0);
    cw_pass(w, 40000, 5000);
    find_at(w, a, ACT, "203.0.113.7", RMD_FINDING_UNKNOWN, 0, "timeout", 0);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED); /* no word is no removal */
    clean(w, a, ACT, "203.0.113.7");
    clean(w, a, ACT, "203.0.113.7"); /* at once: it is the same check */
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED);
    cw_pass(w, 40000, 5000);
    clean(w, a, ACT, "203.0.113.7");
    assert_int_equal(cw_events(w, "listing.removed"), 1);
    assert_int_equal(reputation(w, "203.0.113.7"),
                     listed + RMD_REPUTATION_ACT_POINTS); /* what it was of late fades */
    comes_back(w);
    done(w);
}

static struct rmd_verdict blocked(void) {
    return (struct rmd_verdict){.class = RMD_CLASS_IP_BLOCKLISTED,
                                .scope = RMD_SCOPE_SOURCE,
                                .at_provider = true,
                                .action = RMD_ACTION_QUARANTINE,
                                .duration_ms = 24 * 3600000,
                                .move = true,
                                .rule = "listed"};
}

static void a_refusal_that_names_a_list_is_confirmed_by_asking_it(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    struct rmd_verdict v = blocked();
    uint32_t google = rmd_provider_id("google"), yahoo = rmd_provider_id("yahoo");
    cw_alarm(w, a, 1, google, &v, 1);
    cw_run(w);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN); /* stopped at google only: one voice */
    assert_int_equal(a->checks, 1);
    assert_string_equal(a->check->subject, "203.0.113.7");
    assert_int_equal(a->check->n_list, 1);
    assert_int_equal(a->check->list[0], rmd_blocklist_id(ACT));
    find_at(w, a, ACT, "203.0.113.7", RMD_FINDING_CLEAN, 0, "", a->check->id); /* the liar */
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    cw_pass(w, 40000, 2000);
    assert_int_equal(a->checks, 2); /* the resolver may have remembered */
    find_at(w, a, ACT, "203.0.113.7", RMD_FINDING_LISTED, 0x7f000002, "", a->check->id);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED);
    assert_int_equal(incidents(w).open, 2);
    cw_alarm(w, a, 1, yahoo, &v, 1); /* what is known needs no second incident */
    cw_run(w);
    assert_int_equal(incidents(w).open, 2);
    two_clean_checks(w, a, ACT, "203.0.113.7");
    comes_back(w); /* google's refusal named the list: it ends with it */
    done(w);
}

static void confirmed_by_dns_one_refusal_is_enough(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    found(w, a, ACT, "203.0.113.7", 0x7f000002);
    uint64_t id = incidents(w).incident.id;
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = id, .reason = "it is a mistake of theirs"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_PROBING);
    found(w, a, ACT, "203.0.113.7", 0x7f000002); /* found again: the operator knows */
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_PROBING);
    struct rmd_verdict v = blocked();
    cw_alarm(w, a, 1, rmd_provider_id("google"), &v, 1);
    cw_run(w);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_QUARANTINED);
    done(w);
}

static void the_slow_tier_halves_the_pace(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_pass(w, 2000, 500);
    found(w, a, SLOW, "203.0.113.7", 0x7f000002);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    assert_int_equal(a->pace_percent, 50);
    assert_int_equal(incidents(w).open, 1);
    two_clean_checks(w, a, SLOW, "203.0.113.7");
    assert_int_equal(a->pace_percent, 0);
    assert_int_equal(incidents(w).open, 0);
    done(w);
}

static void alerts_stop_nothing_and_share_an_incident(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    found(w, a, ALERT, "203.0.113.7", 0x7f000002);
    found(w, a, ALERT, "203.0.113.8", 0x7f000002); /* the same network: one incident */
    found(w, b, ALERT, "198.51.100.9", 0x7f000002);
    found(w, b, ACT, "198.51.100.9", 0x7f00000a); /* a policy code on a list of the acting tier */
    assert_int_equal(incidents(w).open, 3);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    assert_int_equal(state_of(w, "198.51.100.9"), RMD_LANE_OPEN);
    two_clean_checks(w, a, ALERT, "203.0.113.7");
    assert_int_equal(incidents(w).open, 3);
    two_clean_checks(w, a, ALERT, "203.0.113.8");
    assert_int_equal(incidents(w).open, 2);
    found(w, b, ACT, "198.51.100.9", 0x7f000002); /* it got worse */
    assert_int_equal(state_of(w, "198.51.100.9"), RMD_LANE_QUARANTINED);
    assert_int_equal(cw_events(w, "listing.worse"), 1);
    done(w);
}

static void a_snowshoe_list_pauses_the_stream_and_moves_nothing(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    found(w, a, ACT, "203.0.113.7", 0x7f000003);
    assert_true(paused(w, "bulk"));
    assert_false(paused(w, "receipts")); /* transactional mail goes on, a person is told */
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    assert_int_equal(incidents(w).open, 1);
    struct rmd_verdict v = blocked();
    cw_alarm(w, a, 1, rmd_provider_id("google"), &v, 1);
    cw_alarm(w, a, 1, rmd_provider_id("yahoo"), &v, 1);
    cw_run(w);
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN); /* not even refused by two */
    assert_int_equal(cw_events(w, "source.quarantined"), 0);
    two_clean_checks(w, a, ACT, "203.0.113.7");
    assert_true(paused(w, "bulk")); /* the stream is mended by a person */
    done(w);
}

static void a_listed_domain_pauses_its_bulk_streams(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_pass(w, 2000, 500);
    uint32_t before = reputation(w, "example.org");
    found(w, a, DBL, "example.org", 0x7f000002);
    assert_true(reputation(w, "example.org") + RMD_REPUTATION_ACT_POINTS <= before);
    assert_true(paused(w, "bulk"));
    assert_false(paused(w, "receipts"));
    assert_int_equal(state_of(w, "203.0.113.7"), RMD_LANE_OPEN);
    struct seen s = incidents(w);
    assert_int_equal(s.incident.class_, RMD_CLASS_DOMAIN_BLOCKLISTED);
    assert_string_equal(s.incident.subject, "example.org");
    done(w);
}

static void neighbours_only_alert_and_a_range_asks_about_the_rest(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    cw_source(w, "203.0.113.9", "n1", 0);
    cw_pass(w, 2000, 500);
    char name[16][48];
    size_t n = 0;
    for (size_t i = 0; i < a->watch->n_subject; i++)
        if (a->watch->subject[i]->neighbour)
            rmd_copy(name[n++], sizeof name[0], a->watch->subject[i]->name);
    assert_true(n >= 6);
    for (size_t i = 0; i < n; i++)
        found(w, a, ACT, name[i], 0x7f000002);
    assert_int_equal(incidents(w).open, 1); /* all of them in one */
    assert_int_equal(cw_events(w, "source.quarantined"), 0);
    found(w, a, ACT, "203.0.113.7", 0x7f000002);
    uint64_t before = a->checks;
    found(w, a, ACT, "203.0.113.8", 0x7f000002);
    assert_int_equal(cw_events(w, "network.listed"), 1);
    assert_true(a->checks > before); /* about the third one, which is not stopped for its neighbours' sake */
    assert_string_equal(a->check->subject, "203.0.113.9");
    assert_int_equal(state_of(w, "203.0.113.9"), RMD_LANE_OPEN);
    found(w, a, ACT, "203.0.113.9", 0x7f000002);
    assert_int_equal(state_of(w, "203.0.113.9"), RMD_LANE_QUARANTINED);
    assert_int_equal(state_of(w, "198.51.100.9"), RMD_LANE_OPEN);
    done(w);
}

/* ---------------------------------------------------------------- history and commands */

struct history {
    size_t n;
    Remuda__ListingRecord last; /* the newest */
};
static void on_listing(void *ctx, const struct rmd_listing_view *v) {
    struct history *h = ctx;
    if (!h->n++)
        h->last = *v->record;
}

static void history_knows_relistings_and_where_removal_was_asked(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    for (int i = 0; i < 3; i++) {
        found(w, a, ACT, "203.0.113.7", 0x7f000002);
        cw_pass(w, 600000, 20000);
        if (i < 2)
            two_clean_checks(w, a, ACT, "203.0.113.7");
    }
    struct rmd_command m = {.kind = RMD_CMD_LISTING_REMOVAL, .name = "203.0.113.7", .text = ACT, .reason = "form 17"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    m.text = SLOW;
    assert_int_equal(cw_command(w, &m), RMD_ENOTFOUND);
    cw_crash(w, true);
    cw_pass(w, 3000, 500);
    struct history h = {0};
    rmd_coord_listings(w->core, on_listing, &h);
    assert_int_equal(h.n, 3);
    assert_int_equal(h.last.relisted, 2);
    assert_int_equal(h.last.removed_wall_ms, 0);
    assert_string_equal(h.last.removal_note, "form 17");
    assert_true(h.last.last_wall_ms >= h.last.first_wall_ms);
    done(w);
}

static void on_check(void *ctx, const struct rmd_check_view *v) {
    struct seen *s = ctx;
    s->listings++;
    s->any = s->any || strcmp(v->state, "listed") == 0;
}

static void a_check_by_hand_waits_for_the_lists(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    struct rmd_command m = {.kind = RMD_CMD_LISTING_CHECK, .name = "198.51.100.77"};
    assert_int_equal(cw_command(w, &m), RMD_EAGAIN); /* not answered yet */
    struct cw_node *n = a->checks ? a : b;
    assert_int_equal(n->check->n_list, 3); /* all of addresses */
    uint64_t id = n->check->id;
    find_at(w, n, ACT, "198.51.100.77", RMD_FINDING_LISTED, 0x7f000002, "", id);
    find_at(w, n, SLOW, "198.51.100.77", RMD_FINDING_CLEAN, 0, "", id);
    assert_true(w->reply_token != m.token);
    find_at(w, n, ALERT, "198.51.100.77", RMD_FINDING_UNKNOWN, 0, "timeout", id);
    assert_int_equal(w->reply_token, m.token);
    assert_int_equal(w->reply_error, RMD_OK);
    struct seen s = {0};
    assert_true(rmd_coord_check(w->core, w->reply_number, on_check, &s));
    assert_int_equal(s.listings, 3);
    assert_true(s.any);
    assert_int_equal(cw_events(w, "listing.found"), 0); /* it isn't ours */
    assert_int_equal(cw_command(w, &m), RMD_EAGAIN);
    cw_pass(w, 25000, 1000); /* nobody answers */
    assert_int_equal(w->reply_token, m.token);
    assert_non_null(strstr(w->reply_text, "did not answer"));
    m.name = "not a name!";
    assert_int_equal(cw_command(w, &m), RMD_EINVAL);
    done(w);
}

static void a_retired_source_is_no_longer_listed_here(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    cw_pass(w, 90000, 5000);
    found(w, a, ALERT, "203.0.113.7", 0x7f000002);
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_STATE, .name = "203.0.113.7", .state = RMD_SOURCE_RETIRED};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 2000, 500);
    assert_int_equal(incidents(w).open, 0);
    assert_null(subject_in(a, "203.0.113.7"));
    done(w);
}

static void health_is_told_when_it_changes(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a, *b;
    two_networks(w, &a, &b);
    for (int i = 0; i < 3; i++) {
        Remuda__Frame f = REMUDA__FRAME__INIT;
        Remuda__Findings m = REMUDA__FINDINGS__INIT;
        Remuda__ListHealth h = REMUDA__LIST_HEALTH__INIT, *hs[] = {&h};
        h.list = rmd_blocklist_id(ACT);
        h.kind = RMD_LIST_IP4;
        h.state = i < 2 ? RMD_LIST_ASIDE : RMD_LIST_TRUSTED;
        h.why = (char *)(uintptr_t) "it lists everything";
        m.n = ++a->findings_n;
        m.health = hs;
        m.n_health = 1;
        f.body_case = REMUDA__FRAME__BODY_FINDINGS;
        f.findings = &m;
        cw_frame(w, a, &f);
        cw_run(w);
    }
    assert_int_equal(cw_events(w, "list.set_aside"), 1);
    assert_int_equal(cw_events(w, "list.trusted"), 1);
    done(w);
}

/* The list takes back what it had stopped the source for, and leaves something that stops nothing, or something else. */
static void a_listing_that_gets_milder_ends_what_it_stopped(void **state) {
    (void)state;
    static const struct {
        uint32_t first, then;
        enum rmd_lane_state was, is;
    } row[] = {
        {0x7f000002, 0x7f00000a, RMD_LANE_QUARANTINED, RMD_LANE_PROBING},
        {0x7f000003, 0x7f000002, RMD_LANE_OPEN, RMD_LANE_QUARANTINED},
    };
    for (size_t k = 0; k < sizeof row / sizeof row[0]; k++) {
        struct cw *w = world();
        struct cw_node *a, *b;
        two_networks(w, &a, &b);
        found(w, a, ACT, "203.0.113.7", row[k].first);
        assert_int_equal(state_of(w, "203.0.113.7"), row[k].was);
        found(w, a, ACT, "203.0.113.7", row[k].then);
        found(w, a, ACT, "203.0.113.7", row[k].then); /* at once: it is the same check */
        assert_int_equal(state_of(w, "203.0.113.7"), row[k].was);
        cw_pass(w, 3600000, 60000);
        found(w, a, ACT, "203.0.113.7", row[k].then);
        cw_pass(w, 2000, 500);
        assert_int_equal(state_of(w, "203.0.113.7"), row[k].is);
        assert_int_equal(cw_events(w, "listing.removed"), 1);
        assert_int_equal(cw_events(w, "listing.found"), 2);
        cw_crash(w, false);
        cw_pass(w, 2000, 500);
        assert_int_equal(state_of(w, "203.0.113.7"), row[k].is);
        done(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_listing_does),
        cmocka_unit_test(a_listing_that_gets_milder_ends_what_it_stopped),
        cmocka_unit_test(each_node_asks_about_its_own_and_a_lost_ones_sources_move),
        cmocka_unit_test(nothing_is_asked_before_it_is_switched_on),
        cmocka_unit_test(links_are_asked_about_by_their_hosts),
        cmocka_unit_test(a_node_is_believed_about_its_own_subjects_only),
        cmocka_unit_test(a_listing_of_the_acting_tier_stops_the_source_everywhere),
        cmocka_unit_test(a_refusal_that_names_a_list_is_confirmed_by_asking_it),
        cmocka_unit_test(confirmed_by_dns_one_refusal_is_enough),
        cmocka_unit_test(the_slow_tier_halves_the_pace),
        cmocka_unit_test(alerts_stop_nothing_and_share_an_incident),
        cmocka_unit_test(a_snowshoe_list_pauses_the_stream_and_moves_nothing),
        cmocka_unit_test(a_listed_domain_pauses_its_bulk_streams),
        cmocka_unit_test(a_listed_link_is_told_and_stops_nothing),
        cmocka_unit_test(neighbours_only_alert_and_a_range_asks_about_the_rest),
        cmocka_unit_test(history_knows_relistings_and_where_removal_was_asked),
        cmocka_unit_test(a_check_by_hand_waits_for_the_lists),
        cmocka_unit_test(a_retired_source_is_no_longer_listed_here),
        cmocka_unit_test(health_is_told_when_it_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
