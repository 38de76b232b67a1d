/* What each decision of the failover policy does to the cluster: a row an action, with everything that it must stop, and
 * everything that it must leave alone. Work of two campaigns is in leases of every lane when the alarms come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/failover.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { A, B, C, SOURCES };                    /* A and B stand in one network, C in another */
enum { BULK, TRANSACTIONAL, PROMO, STREAMS }; /* PROMO: another sending domain's */
static const char *const address[SOURCES] = {"203.0.113.7", "203.0.113.8", "198.51.100.7"};
static const char *const node_of[SOURCES] = {"n1", "n2", "n3"};
static const char *const stream_name[STREAMS] = {"bulk", "transactional", "promo"};

static const struct rmd_verdict block = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                         .scope = RMD_SCOPE_SOURCE,
                                         .at_provider = true,
                                         .action = RMD_ACTION_QUARANTINE,
                                         .move = true,
                                         .rule = "block"},
                                network = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                           .scope = RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK,
                                           .at_provider = true,
                                           .action = RMD_ACTION_QUARANTINE,
                                           .move = true,
                                           .rule = "network"},
                                hijacked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                            .scope = RMD_SCOPE_SOURCE,
                                            .action = RMD_ACTION_QUARANTINE,
                                            .rule = "hijacked"},
                                slow = {.class = RMD_CLASS_RATE_LIMITED,
                                        .scope = RMD_SCOPE_LANE,
                                        .action = RMD_ACTION_SLOW,
                                        .rule = "slow"},
                                rest = {.class = RMD_CLASS_RATE_LIMITED,
                                        .scope = RMD_SCOPE_LANE,
                                        .action = RMD_ACTION_REST,
                                        .duration_ms = 60000,
                                        .rule = "rest"},
                                rest_network = {.class = RMD_CLASS_RATE_LIMITED,
                                                .scope = RMD_SCOPE_LANE | RMD_SCOPE_NETWORK,
                                                .action = RMD_ACTION_REST,
                                                .duration_ms = 60000,
                                                .rule = "rest network"},
                                content = {.class = RMD_CLASS_SPAM_CONTENT,
                                           .scope = RMD_SCOPE_MESSAGE | RMD_SCOPE_CAMPAIGN,
                                           .action = RMD_ACTION_PAUSE,
                                           .rule = "content"};

struct alarm {
    const struct rmd_verdict *verdict;
    int source, stream;
    const char *provider; /* "other o.test": and a domain of the site */
};
struct row {
    const char *title;
    struct alarm alarm[3];
    const char *quarantined, *resting; /* source letter and provider, "*": every provider */
    const char *paused_stream, *paused_campaigns;
    const char *scope; /* of the newest incident: source and provider; NULL: none */
    size_t incidents;
};

static const struct row rows[] = {
    {"nothing: the node's pacer slows down by itself", {{&slow, A, BULK, "google"}}, "", "", "", "", NULL, 0},
    {"rest: the lane", {{&rest, A, BULK, "google"}}, "", "A:google ", "", "", NULL, 0},
    {"a rest that is said of the network: the lanes of all our sources there",
     {{&rest_network, A, BULK, "google"}},
     "",
     "A:google B:google D:google ",
     "",
     "",
     NULL,
     0},
    {"a network that a site of \"other\" lets rest is its node's",
     {{&rest_network, A, BULK, "other o.test"}},
     "",
     "",
     "",
     "",
     NULL,
     0},
    {"quarantine lane", {{&block, A, BULK, "google"}}, "A:google ", "", "", "", "A:google", 1},
    {"one voice twice is one voice",
     {{&block, A, BULK, "google"}, {&block, A, BULK, "google"}},
     "A:google ",
     "",
     "",
     "",
     "A:google",
     1},
    {"\"other\" is nobody in particular",
     {{&block, A, BULK, "google"}, {&block, A, BULK, "other"}},
     "A:google A:other ",
     "",
     "",
     "",
     "A:other",
     2},
    {"quarantine site: one of \"other\" speaks for itself",
     {{&block, A, BULK, "other o.test"}, {&block, A, BULK, "other o.test"}},
     "",
     "",
     "",
     "",
     "A:other",
     1},
    {"a site that speaks of the network, to two of our sources",
     {{&network, A, BULK, "other o.test"}, {&network, B, BULK, "other o.test"}},
     "",
     "",
     "",
     "",
     "A:other",
     1},
    {"a site that asks for a rest rests alone, at its node",
     {{&rest, A, BULK, "other o.test"}},
     "",
     "",
     "",
     "",
     NULL,
     0},
    {"two sites of \"other\": the lane",
     {{&block, A, BULK, "other o.test"}, {&block, A, BULK, "other o2.test"}},
     "A:other ",
     "",
     "",
     "",
     "A:other",
     2},
    {"what one site said of one source is nothing of another",
     {{&block, A, BULK, "other o.test"}, {&block, C, BULK, "other o2.test"}},
     "",
     "",
     "",
     "",
     "C:other",
     2},
    {"a site, and a named provider: each speaks for itself",
     {{&block, A, BULK, "other o.test"}, {&block, A, BULK, "google"}},
     "A:google ",
     "",
     "",
     "",
     "A:google",
     2},
    {"a named provider, and a site: each speaks for itself",
     {{&block, A, BULK, "google"}, {&block, A, BULK, "other o.test"}},
     "A:google ",
     "",
     "",
     "",
     "A:other",
     2},
    {"quarantine source",
     {{&block, A, BULK, "google"}, {&block, A, BULK, "yahoo"}},
     "A:* A:google ",
     "",
     "",
     "",
     "A:*",
     2},
    {"a host that others use, by one named provider: the source",
     {{&hijacked, A, BULK, "google"}},
     "A:* ",
     "",
     "",
     "",
     "A:*",
     1},
    {"a host that others use, by one of \"other\": at its site",
     {{&hijacked, A, BULK, "other o.test"}},
     "",
     "",
     "",
     "",
     "A:other",
     1},
    {"one source that hears of its network", {{&network, A, BULK, "google"}}, "A:google ", "", "", "", "A:google", 1},
    {"quarantine network: one cause is one incident",
     {{&network, A, BULK, "google"}, {&network, B, BULK, "google"}},
     "A:google B:google ",
     "",
     "",
     "",
     "A:google",
     1},
    {"two sources of a network that hear of themselves only",
     {{&block, A, BULK, "google"}, {&block, B, BULK, "google"}},
     "A:google B:google ",
     "",
     "",
     "",
     "B:google",
     2},
    {"a network that was told so twice stops whole: its third source was never refused",
     {{&block, B, BULK, "google"}, {&network, A, BULK, "google"}},
     "A:google B:google ",
     "",
     "",
     "",
     "B:google",
     1},
    {"quarantine source, and its network: one refusal says both",
     {{&block, A, BULK, "yahoo"}, {&network, B, BULK, "google"}, {&network, A, BULK, "google"}},
     "A:* A:google A:yahoo B:google ",
     "",
     "",
     "",
     "A:*",
     3},
    {"another network corroborates nothing of the first",
     {{&network, A, BULK, "google"}, {&network, C, BULK, "google"}},
     "A:google C:google ",
     "",
     "",
     "",
     "C:google",
     2},
    {"alert: content, not corroborated", {{&content, A, BULK, "google"}}, "", "", "", "", "A:google", 1},
    {"pause campaign",
     {{&content, A, BULK, "google"}, {&content, A, BULK, "yahoo"}},
     "",
     "",
     "",
     "bulk ",
     "A:yahoo",
     2},
    {"alert: transactional mail goes on",
     {{&content, A, TRANSACTIONAL, "google"}, {&content, A, TRANSACTIONAL, "yahoo"}},
     "",
     "",
     "",
     "",
     "A:yahoo",
     2},
    {"two sources of one network are one voice about content",
     {{&content, A, BULK, "google"}, {&content, B, BULK, "google"}},
     "",
     "",
     "",
     "",
     "B:google",
     2},
    {"\"other\" agrees with nobody",
     {{&content, A, BULK, "google"}, {&content, A, BULK, "other"}},
     "",
     "",
     "",
     "",
     "A:other",
     2},
};

struct stage {
    struct cw *w;
    struct cw_node *node[SOURCES];
    uint32_t source[SOURCES], stream[STREAMS], third; /* third: one more of A's network, without work of its own */
    struct rmd_id campaign[STREAMS];
};

static void build(struct stage *x) {
    static const char *const domains[] = {"g.test", "y.test", "o.test", NULL};
    struct cw *w = x->w = rmd_alloc(sizeof *x->w);
    cw_init(w, 11);
    for (int i = 0; i < STREAMS; i++) {
        Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
        s.priority = i == TRANSACTIONAL ? 0 : 2;
        x->stream[i] = cw_stream(w, stream_name[i], &s);
    }
    for (int i = 0; i < SOURCES; i++) {
        x->node[i] = cw_node_add(w, node_of[i]);
        x->node[i]->holds = true;
        x->source[i] = cw_source(w, address[i], node_of[i], 400);
    }
    for (int i = 0; i < STREAMS; i++)
        x->campaign[i] = cw_submit(w, stream_name[i], domains, i == BULK ? 3000 : 60, 10000 * (uint32_t)i);
    cw_pass(w, 2000, 200);
    x->third = cw_source(w, "203.0.113.9", node_of[A], 600);
}

static void tear_down(struct stage *x) {
    cw_release(x->w);
    free(x->w);
}

/* "A:google B:* " of the lanes in a state; "*" is the source in all. The network's third source is "D". */
struct lanes {
    const struct stage *x;
    enum rmd_lane_state state;
    struct rmd_buf text;
};

static void on_source(void *ctx, const struct rmd_source_view *v) {
    struct lanes *l = ctx;
    char letter = 'D';
    for (int i = 0; i < SOURCES; i++)
        if (v->record->id == l->x->source[i])
            letter = (char)('A' + i);
    if (v->state == l->state)
        rmd_buf_addf(&l->text, "%c:* ", letter);
    for (size_t i = 0; i < v->n_lanes; i++)
        if (v->lane[i].state == l->state)
            rmd_buf_addf(&l->text, "%c:%s ", letter, v->lane[i].provider);
}

static void lanes_are(const struct stage *x, enum rmd_lane_state state, const char *wanted) {
    struct lanes l = {.x = x, .state = state};
    rmd_coord_sources(x->w->core, on_source, &l);
    assert_string_equal(rmd_buf_str(&l.text), wanted);
    rmd_buf_release(&l.text);
}

struct found {
    size_t n;
    uint32_t source, provider;
    uint64_t id;
};
static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct found *f = ctx;
    f->n++;
    if (r->id > f->id)
        *f = (struct found){.n = f->n, .source = r->source, .provider = r->provider, .id = r->id};
}

static void on_stream(void *ctx, const Remuda__StreamRecord *r) {
    if (r->state)
        rmd_buf_addf(ctx, "%s ", r->name);
}

static void paused_streams_are(const struct stage *x, const char *wanted) {
    struct rmd_buf text = {0};
    rmd_coord_streams(x->w->core, on_stream, &text);
    assert_string_equal(rmd_buf_str(&text), wanted);
    rmd_buf_release(&text);
}

/* What the nodes still have, of what must not be sent. */
static bool closed(const struct row *r, char letter, const char *provider) {
    char one[64];
    rmd_format(one, sizeof one, "%c:%s ", letter, provider);
    if (strstr(r->quarantined, one))
        return true;
    if (strstr(r->resting, one)) /* the node that was told stops its lane itself */
        return letter != 'A' + r->alarm[0].source;
    rmd_format(one, sizeof one, "%c:* ", letter);
    return strstr(r->quarantined, one) != NULL;
}

static size_t held(const struct stage *x, int source, const char *provider, int stream) {
    size_t n = 0;
    const struct cw_node *node = x->node[source];
    for (size_t i = 0; i < node->n_leases; i++) {
        const struct cw_lease *l = node->lease[i];
        n += l->source == x->source[source] && l->provider == rmd_provider_id(provider) &&
             memcmp(l->campaign.b, x->campaign[stream].b, 10) == 0;
    }
    return n;
}

static void leases_are(const struct stage *x, const struct row *r) {
    static const char *const providers[] = {"google", "yahoo", "other"};
    for (int s = 0; s < SOURCES; s++) {
        for (size_t p = 0; p < 3; p++) {
            for (int k = 0; k < STREAMS; k++) {
                bool stopped = closed(r, (char)('A' + s), providers[p]) || strstr(r->paused_stream, stream_name[k]) ||
                               strstr(r->paused_campaigns, stream_name[k]);
                if (stopped)
                    assert_int_equal(held(x, s, providers[p], k), 0);
            }
        }
    }
}

static void act(struct stage *x, const struct row *r) {
    for (size_t i = 0; i < 3 && r->alarm[i].verdict; i++) {
        const struct alarm *a = &r->alarm[i];
        char provider[32];
        const char *site = strchr(a->provider, ' ');
        rmd_copy_slice(provider, sizeof provider, rmd_slice(a->provider, strcspn(a->provider, " ")));
        cw_alarm_at(x->w, x->node[a->source], x->source[a->source], rmd_provider_id(provider), a->verdict,
                    x->stream[a->stream], site ? site + 1 : NULL);
        cw_run(x->w);
    }
    cw_pass(x->w, 1000, 200); /* the time that a re-deal may take */
}

static void each_action_stops_what_it_says_and_nothing_else(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct stage x;
        print_message("  %s\n", r->title);
        build(&x);
        for (int s = 0; s < SOURCES; s++)
            assert_true(held(&x, s, "google", BULK) > 0); /* else nothing is shown */
        act(&x, r);
        char quarantined[80];
        /* The third source of the network is stopped with it. */
        bool whole = r->alarm[1].verdict == &network && strstr(r->quarantined, "A:google ") &&
                     strstr(r->quarantined, "B:google ");
        rmd_format(quarantined, sizeof quarantined, "%s%s", r->quarantined, whole ? "D:google " : "");
        lanes_are(&x, RMD_LANE_QUARANTINED, quarantined);
        lanes_are(&x, RMD_LANE_RESTING, r->resting);
        paused_streams_are(&x, r->paused_stream);
        for (int k = 0; k < STREAMS; k++)
            assert_int_equal(cw_campaign(x.w, &x.campaign[k], NULL)->state,
                             strstr(r->paused_campaigns, stream_name[k]) ? RMD_CAMPAIGN_PAUSED : RMD_CAMPAIGN_ACTIVE);
        struct found f = {0};
        rmd_coord_incidents(x.w->core, on_incident, &f);
        assert_int_equal(f.n, r->incidents);
        if (r->scope) {
            assert_int_equal(f.source, x.source[r->scope[0] - 'A']);
            assert_int_equal(f.provider, r->scope[2] == '*' ? 0 : rmd_provider_id(r->scope + 2));
        }
        leases_are(&x, r);
        /* Durable: a coordinator that died here holds to it. */
        cw_crash(x.w, false);
        cw_pass(x.w, 2000, 200);
        lanes_are(&x, RMD_LANE_QUARANTINED, quarantined);
        leases_are(&x, r);
        paused_streams_are(&x, r->paused_stream);
        tear_down(&x);
    }
}

/* What is said of rates, however often, and what is said again and again, leave room for who says something else. */
static void many_words_hide_no_second_voice(void **state) {
    (void)state;
    const struct rmd_verdict *const much[] = {&slow, &rest, &block, &content};
    for (size_t k = 0; k < sizeof much / sizeof much[0]; k++) {
        struct stage x;
        build(&x);
        act(&x, &(struct row){.alarm = {{&network, A, BULK, "google"}}});
        for (int i = 0; i < 2 * RMD_REFUSALS_MAX; i++) {
            cw_alarm(x.w, x.node[A], x.source[A], rmd_provider_id("google"), much[k], x.stream[BULK]);
            cw_alarm(x.w, x.node[B], x.source[B], rmd_provider_id("yahoo"), k == 2 ? &slow : much[k], x.stream[BULK]);
            cw_pass(x.w, 10000, 1000);
        }
        act(&x, &(struct row){.alarm = {{&network, B, BULK, "google"}}});
        lanes_are(&x, RMD_LANE_QUARANTINED, "A:google B:google D:google ");
        act(&x, &(struct row){.alarm = {{&block, A, BULK, "yahoo"}}});
        lanes_are(&x, RMD_LANE_QUARANTINED, "A:* A:google B:google D:google ");
        tear_down(&x);
    }
}

/* Every value of the policy's answer is one of the rows' results: a new one needs a row. Elsewhere are a snowshoe listing, which
 * pauses streams (test_listings.c), and sending domains (test_sender.c). */
static void every_action_has_a_row(void **state) {
    (void)state;
    for (enum rmd_failover_what what = RMD_FAILOVER_NOTHING; strcmp(rmd_failover_name(what), "?") != 0; what++) {
        bool found = what == RMD_FAILOVER_PAUSE_STREAM || what == RMD_FAILOVER_SENDER;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            found = found || strncmp(rows[i].title, rmd_failover_name(what), strlen(rmd_failover_name(what))) == 0;
        if (!found)
            fail_msg("no row shows \"%s\"", rmd_failover_name(what));
    }
}

/* A day's quarantine, resolved after ten minutes: what was refused for its sake waits for the lane, not for the day. */
static void refuse_for_a_day(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                             Remuda__Outcome *o) {
    (void)n;
    (void)l;
    (void)email;
    bool *refuses = w->ctx;
    if (!*refuses)
        return;
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_IP_BLOCKLISTED, RMD_ACTION_QUARANTINE, RMD_SCOPE_SOURCE, true);
    o->verdict->duration_ms = 24 * 3600000;
}

static void what_a_quarantine_held_is_free_when_it_ends(void **state) {
    (void)state;
    static const char *const one[] = {"g.test", NULL};
    struct cw *w = rmd_alloc(sizeof *w);
    bool refuses = true;
    cw_init(w, 3);
    cw_stream(w, "bulk", NULL);
    struct cw_node *n = cw_node_add(w, "n1");
    uint32_t source = cw_source(w, address[A], "n1", 0);
    w->answer = refuse_for_a_day;
    w->ctx = &refuses;
    struct rmd_verdict day = block;
    day.duration_ms = 24 * 3600000;
    struct rmd_id id = cw_submit(w, "bulk", one, 5, 0);
    cw_pass(w, 400, 100);
    cw_alarm(w, n, source, rmd_provider_id("google"), &day, 1);
    cw_pass(w, 600000, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0);
    refuses = false;
    struct found f = {0};
    rmd_coord_incidents(w->core, on_incident, &f);
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = f.id, .reason = "delisted"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    cw_pass(w, 60000, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 5);
    cw_release(w);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_action_stops_what_it_says_and_nothing_else),
        cmocka_unit_test(many_words_hide_no_second_voice),
        cmocka_unit_test(every_action_has_a_row),
        cmocka_unit_test(what_a_quarantine_held_is_free_when_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
