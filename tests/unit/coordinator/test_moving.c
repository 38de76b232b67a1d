/* Failover in stories: what a stop moves, how fast, what ends it, and how a stopped lane comes back. Three sources on three networks; time
 * goes by in steps, and nodes answer what they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { MIN = 60000, HOUR = 60 * MIN, SOURCES = 3, PROBES = 5 };
static const char *const address[SOURCES] = {"203.0.113.7", "198.51.100.7", "192.0.2.7"};
static const char *const node_name[SOURCES] = {"n1", "n2", "n3"};
static const char *const google[] = {"g.test", NULL}, *const yahoo[] = {"y.test", NULL};

struct stage {
    struct cw w;
    struct cw_node *node[SOURCES];
    uint32_t source[SOURCES];
    int first; /* of the order at google */
};

static struct rmd_verdict block(int64_t duration_ms) {
    return (struct rmd_verdict){.class = RMD_CLASS_IP_BLOCKLISTED,
                                .scope = RMD_SCOPE_SOURCE,
                                .at_provider = true,
                                .action = RMD_ACTION_QUARANTINE,
                                .duration_ms = duration_ms,
                                .move = true,
                                .rule = "block"};
}

static struct stage *build(uint32_t without) {
    struct stage *x = rmd_alloc(sizeof *x);
    struct cw *w = &x->w;
    cw_init(w, 3);
    w->o.without = without;
    w->o.failover = (struct rmd_failover_settings){
        .canary_ms = 30 * MIN, .canary_percent = 5, .canary_floor = 20, .growth_percent = 150, .growth_floor = 20};
    w->provider[0].removal = (char *)(uintptr_t) "https://google.test/removal";
    cw_crash(w, false); /* with these settings */
    Remuda__StreamRecord urgent = REMUDA__STREAM_RECORD__INIT, bulk = REMUDA__STREAM_RECORD__INIT;
    bulk.priority = 2;
    bulk.age_limit_ms = 30ll * 24 * HOUR;
    cw_stream(w, "bulk", &bulk);
    cw_stream(w, "urgent", &urgent);
    for (int i = 0; i < SOURCES; i++) {
        x->node[i] = cw_node_add(w, node_name[i]);
        x->node[i]->holds = true;
        x->source[i] = cw_source(w, address[i], node_name[i], 0);
    }
    return x;
}

static void tear_down(struct stage *x) {
    cw_release(&x->w);
    free(x);
}

/* A campaign of which the first lane of the order holds a part; the work of the others, if any, is answered. */
static struct rmd_id under_way(struct stage *x, uint32_t n) {
    struct rmd_id id = cw_submit(&x->w, "bulk", google, n, 0);
    cw_pass(&x->w, 1000, 200);
    x->first = -1;
    for (int i = 0; i < SOURCES; i++)
        if (x->node[i]->n_leases && (x->first < 0 || x->node[i]->lease[0]->id < x->node[x->first]->lease[0]->id))
            x->first = i;
    assert_true(x->first >= 0);
    return id;
}

static void no_reverse_name(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                            Remuda__Outcome *o) {
    (void)w, (void)n, (void)l, (void)email;
    cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_NO_RDNS, RMD_ACTION_QUARANTINE, RMD_SCOPE_SOURCE, false);
}

static void refuse(struct stage *x, int i, int64_t ms) {
    struct rmd_verdict v = block(ms);
    cw_alarm(&x->w, x->node[i], x->source[i], rmd_provider_id("google"), &v, 1);
    cw_run(&x->w);
}

static size_t sent(const struct stage *x, int source, size_t from) {
    size_t n = 0;
    for (size_t i = from; i < x->w.n_rcpts; i++)
        n += x->w.rcpt[i].source == x->source[source];
    return n;
}

/* Nodes answer what they have, except this one. */
static void answer(struct stage *x, int not, int64_t ms) {
    for (int64_t t = 0; t < ms; t += MIN) {
        for (int i = 0; i < SOURCES; i++)
            if (i != not )
                cw_answer_all(&x->w, x->node[i]);
        cw_pass(&x->w, MIN, 10000);
    }
}

struct found {
    uint64_t id;
    Remuda__IncidentRecord r; /* the newest */
    size_t open;
};
static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct found *f = ctx;
    f->open += r->state == 0;
    if (r->id > f->id) {
        f->id = r->id;
        f->r = *r;
    }
}
static struct found newest(struct stage *x) {
    struct found f = {0};
    rmd_coord_incidents(x->w.core, on_incident, &f);
    return f;
}
static void on_numbered(void *ctx, const Remuda__IncidentRecord *r) {
    struct found *f = ctx;
    if (r->id == f->id)
        f->r = *r;
}
static Remuda__IncidentRecord incident(struct stage *x, uint64_t id) {
    struct found f = {.id = id};
    rmd_coord_incidents(x->w.core, on_numbered, &f);
    return f.r;
}
static bool line_says(const Remuda__IncidentRecord *r, const char *words) {
    for (size_t i = 0; i < r->n_line; i++)
        if (strstr(r->line[i]->text, words))
            return true;
    return false;
}

struct seen {
    const char *address;
    struct rmd_lane_view lane;
};
static void on_source(void *ctx, const struct rmd_source_view *v) {
    struct seen *s = ctx;
    for (size_t i = 0; i < v->n_lanes && strcmp(v->record->address, s->address) == 0; i++)
        if (strcmp(v->lane[i].provider, "google") == 0)
            s->lane = v->lane[i];
}
static struct rmd_lane_view lane(struct stage *x, int i) {
    struct seen s = {.address = address[i]};
    rmd_coord_sources(x->w.core, on_source, &s);
    return s.lane;
}

static void on_queue(void *ctx, const struct rmd_queue_view *q) {
    char *out = ctx;
    if (strcmp(q->provider, "google") == 0 && strcmp(q->stream, "bulk") == 0)
        (void)rmd_copy(out, 200, q->waits_for);
}
static void waits_for(struct stage *x, const char *words) {
    char text[200] = "";
    rmd_coord_queues(x->w.core, on_queue, text);
    if (!strstr(text, words))
        fail_msg("waits for \"%s\", not \"%s\"", text, words);
}

/* ---------------------------------------------------------------- canary and growth */

static void moved_work_starts_as_a_canary_and_grows(void **state) {
    (void)state;
    struct stage *x = build(0);
    struct rmd_id id = under_way(x, 600); /* the first lane holds all */
    int a = x->first;
    size_t t0 = x->w.n_rcpts;
    refuse(x, a, 24 * HOUR);
    uint64_t first = newest(x).id;
    answer(x, a, 10 * MIN);
    size_t canary = x->w.n_rcpts - t0;
    Remuda__IncidentRecord r = incident(x, first);
    assert_in_range(canary, 1, 600 * 5 / 100); /* of what came back; nobody had sent anything before */
    waits_for(x, "canary");
    assert_true(line_says(&r, "canary began"));
    cw_crash(&x->w, false); /* a restart begins no second canary */
    cw_pass(&x->w, 5000, 500);
    answer(x, a, 15 * MIN);
    assert_in_range(x->w.n_rcpts - t0, canary, 600 * 5 / 100);
    answer(x, a, 10 * MIN); /* its time is over */
    r = incident(x, first);
    assert_true(line_says(&r, "canary ended"));
    size_t before = x->w.n_rcpts, last = 0;
    for (int hour = 0; hour < 12; hour++) { /* geometric: each hour at most half as much again, over all lanes */
        answer(x, a, HOUR);
        size_t now = x->w.n_rcpts - before;
        before = x->w.n_rcpts;
        if (hour > 1)
            assert_true(now <= last * 17 / 10 + 2 * 40); /* two lanes; buckets of five minutes */
        last = now > last ? now : last;
    }
    assert_true(last > 2 * 40);
    assert_int_equal(sent(x, a, t0), 0);
    assert_true(cw_campaign(&x->w, &id, NULL)->delivered > 200);
    r = incident(x, first);
    assert_int_equal(r.n_moved_to, r.n_moved_n);
    uint64_t sum = 0;
    for (size_t i = 0; i < r.n_moved_n; i++)
        sum += r.moved_n[i];
    assert_int_equal(sum, r.moved);
    tear_down(x);
}

/* Two sources on each network; the first of the order, by its first lease: it, and its neighbour. */
static void pairs(struct stage *x, uint32_t n, uint32_t *first, uint32_t *neighbour) {
    uint32_t second[SOURCES];
    for (int i = 0; i < SOURCES; i++) {
        char text[32];
        (void)rmd_format(text, sizeof text, "%.*s8", (int)strlen(address[i]) - 1, address[i]);
        second[i] = cw_source(&x->w, text, node_name[i], 0);
    }
    under_way(x, n);
    *first = x->node[x->first]->lease[0]->source;
    *neighbour = *first == second[x->first] ? x->source[x->first] : second[x->first];
}

static void refuse_source(struct stage *x, uint32_t source) {
    struct rmd_verdict v = block(24 * HOUR);
    cw_alarm(&x->w, x->node[x->first], source, rmd_provider_id("google"), &v, 1);
    cw_run(&x->w);
}

static size_t sent_by(const struct stage *x, uint32_t source, size_t from) {
    size_t n = 0;
    for (size_t i = from; i < x->w.n_rcpts; i++)
        n += x->w.rcpt[i].source == source;
    return n;
}

/* Mail that comes after the stop is moved work, too: it goes to other networks, and not to the neighbour of the refused one. */
static void the_neighbour_takes_no_moved_work(void **state) {
    (void)state;
    struct stage *x = build(0);
    uint32_t first, neighbour;
    pairs(x, 100, &first, &neighbour);
    refuse_source(x, first);
    size_t t0 = x->w.n_rcpts;
    struct rmd_id id = cw_submit(&x->w, "bulk", google, 400, 50000);
    answer(x, -1, 10 * MIN);
    assert_in_range(x->w.n_rcpts - t0, 1, 20 + 20); /* the canary of what came back and of what came */
    answer(x, -1, 12 * HOUR);
    assert_int_equal(sent_by(x, first, t0), 0);
    assert_int_equal(sent_by(x, neighbour, t0), 0);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 400);
    tear_down(x);
}

/* It goes on with what it sent before. */
static void the_neighbour_keeps_what_is_its_own(void **state) {
    (void)state;
    struct stage *x = build(0);
    uint32_t first, neighbour;
    pairs(x, 60000, &first, &neighbour);
    for (int t = 0; t < 90; t++) {
        for (int i = 0; i < SOURCES; i++)
            cw_answer_some(&x->w, x->node[i], 60);
        cw_pass(&x->w, MIN, 10000);
    }
    size_t before = sent_by(x, neighbour, 0), t0 = x->w.n_rcpts;
    refuse_source(x, first);
    for (int t = 0; t < 75; t++) {
        for (int i = 0; i < SOURCES; i++)
            cw_answer_some(&x->w, x->node[i], 60);
        cw_pass(&x->w, MIN, 10000);
    }
    assert_true(before > 2 * RMD_COORD_LANE_MESSAGES); /* more than what it holds when the stop comes */
    assert_true(sent_by(x, neighbour, t0) >= before * 75 / 90 * 9 / 10);
    tear_down(x);
}

static void a_canary_that_is_refused_ends_the_moving(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 700);
    int a = x->first, b = -1;
    refuse(x, a, 24 * HOUR);
    uint64_t first = newest(x).id;
    cw_pass(&x->w, 2000, 500);
    for (int i = 0; i < SOURCES; i++)
        if (i != a && x->node[i]->n_leases)
            b = i;
    assert_true(b >= 0);
    int c = 3 - a - b;
    size_t t0 = x->w.n_rcpts;
    refuse(x, b, 24 * HOUR);
    answer(x, a, 24 * HOUR - 10 * MIN);
    assert_int_equal(sent(x, c, t0), 0); /* the third network is never asked */
    Remuda__IncidentRecord r = incident(x, first);
    assert_true(line_says(&r, "moving has ended"));
    assert_non_null(strstr(rmd_coord_incident_waits_for(x->w.core, &r), "refused on another network"));
    r = newest(x).r;
    assert_int_equal(r.source, x->source[b]);
    assert_true(line_says(&r, "moves nowhere"));
    assert_int_equal(cw_events(&x->w, "incident.moving_ended"), 2);
    waits_for(x, "refused on another network");
    tear_down(x);
}

static void another_reason_on_a_target_ends_nothing(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 700);
    int a = x->first, b = -1;
    refuse(x, a, 24 * HOUR);
    uint64_t first = newest(x).id;
    cw_pass(&x->w, 2000, 500);
    for (int i = 0; i < SOURCES; i++)
        if (i != a && x->node[i]->n_leases)
            b = i;
    struct rmd_verdict v = block(4 * HOUR);
    v.class = RMD_CLASS_NO_RDNS;
    cw_alarm(&x->w, x->node[b], x->source[b], rmd_provider_id("google"), &v, 1);
    cw_run(&x->w);
    Remuda__IncidentRecord r = incident(x, first);
    assert_false(line_says(&r, "moving has ended"));
    tear_down(x);
}

/* Its own names in DNS: neither what waits nor whom it refused goes to another address, until it is mended. */
static void what_the_source_is_to_blame_for_waits_for_it(void **state) {
    (void)state;
    struct stage *x = build(0);
    struct rmd_id id = under_way(x, 100);
    int a = x->first;
    struct rmd_verdict v = block(4 * HOUR);
    v.class = RMD_CLASS_NO_RDNS;
    v.move = false;
    cw_alarm(&x->w, x->node[a], x->source[a], rmd_provider_id("google"), &v, 1);
    cw_run(&x->w);
    x->w.answer = no_reverse_name;
    cw_answer_all(&x->w, x->node[a]);
    x->w.answer = NULL;
    size_t t0 = x->w.n_rcpts;
    answer(x, a, 3 * HOUR);
    for (int i = 0; i < SOURCES; i++)
        assert_int_equal(sent(x, i, t0), 0);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 0);
    Remuda__IncidentRecord r = newest(x).r;
    assert_int_equal(r.moving, 4); /* this cause moves nothing */
    assert_non_null(strstr(rmd_coord_incident_waits_for(x->w.core, &r), "never moves"));
    for (int t = 0; t < 20; t++) { /* mended: it comes back */
        for (int i = 0; i < SOURCES; i++)
            cw_answer_all(&x->w, x->node[i]);
        cw_pass(&x->w, HOUR, 10000);
    }
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 100);
    tear_down(x);
}

static void urgent_mail_knows_no_canary(void **state) {
    (void)state;
    struct stage *x = build(0);
    x->w.o.failover.growth_floor = 300;
    cw_crash(&x->w, false);
    cw_pass(&x->w, 3000, 500);
    under_way(x, 700);
    int a = x->first;
    refuse(x, a, 24 * HOUR);
    struct rmd_id id = cw_submit(&x->w, "urgent", google, 100, 50000);
    answer(x, a, 3 * MIN);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 100);
    tear_down(x);
}

/* A lane that was sending goes on with what it sent: only what is beyond that is moved work. */
static void what_a_lane_sent_before_is_its_own(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 20000);
    int a = x->first, b = -1;
    for (int i = 0; i < SOURCES; i++)
        if (i != a && x->node[i]->n_leases && (b < 0 || x->node[i]->n_leases > x->node[b]->n_leases))
            b = i;
    if (b < 0)
        b = (a + 1) % 3;
    /* the first is full, so that the next ones work as well: 30 a minute each for an hour and a half */
    for (int t = 0; t < 90; t++) {
        for (int i = 0; i < SOURCES; i++)
            cw_answer_some(&x->w, x->node[i], 30);
        cw_pass(&x->w, MIN, 10000);
    }
    size_t before = sent(x, b, 0), t0 = x->w.n_rcpts;
    assert_true(before > 1500);
    refuse(x, a, 24 * HOUR);
    for (int t = 0; t < 25; t++) {
        for (int i = 0; i < SOURCES; i++)
            if (i != a)
                cw_answer_some(&x->w, x->node[i], 30);
        cw_pass(&x->w, MIN, 10000);
    }
    assert_in_range(sent(x, b, t0), 25 * 30 * 9 / 10, 25 * 30);
    tear_down(x);
}

static void without_the_canary_all_moves_at_once(void **state) {
    (void)state;
    struct stage *x = build(RMD_WITHOUT_CANARY);
    struct rmd_id id = under_way(x, 700);
    refuse(x, x->first, 24 * HOUR);
    answer(x, x->first, 10 * MIN);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 700);
    tear_down(x);
}

static void without_moving_it_waits_for_the_source(void **state) {
    (void)state;
    struct stage *x = build(RMD_WITHOUT_MOVING);
    under_way(x, 700);
    size_t t0 = x->w.n_rcpts;
    refuse(x, x->first, 24 * HOUR);
    answer(x, x->first, 2 * HOUR);
    assert_int_equal(x->w.n_rcpts, t0);
    tear_down(x);
}

/* The neighbour that takes no moved work (above) takes its part of it. */
static void without_networks_the_neighbour_takes_moved_work(void **state) {
    (void)state;
    struct stage *x = build(RMD_WITHOUT_NETWORKS);
    uint32_t first, neighbour;
    pairs(x, 100, &first, &neighbour);
    refuse_source(x, first);
    size_t t0 = x->w.n_rcpts;
    struct rmd_id id = cw_submit(&x->w, "bulk", google, 400, 50000);
    answer(x, -1, 12 * HOUR);
    assert_int_equal(sent_by(x, first, t0), 0);
    assert_true(sent_by(x, neighbour, t0) > 0);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 400);
    tear_down(x);
}

/* ---------------------------------------------------------------- return */

static void small_mail(struct stage *x, uint32_t n) {
    static uint32_t first = 100000;
    cw_submit(&x->w, "bulk", google, n, first);
    first += n;
    cw_pass(&x->w, 1000, 200);
}

static size_t held(const struct stage *x, int i) {
    size_t n = 0;
    for (size_t k = 0; k < x->node[i]->n_leases; k++)
        for (uint32_t r = 0; r < x->node[i]->lease[k]->n; r++)
            n += !x->node[i]->lease[k]->done[r];
    return n;
}

static void a_quarantine_that_ends_is_probed_and_grows_anew(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 300);
    int a = x->first;
    refuse(x, a, HOUR);
    uint64_t id = newest(x).id;
    answer(x, a, HOUR + 5 * MIN);
    assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
    assert_int_equal(newest(x).open, 1);
    for (int k = 0; k < PROBES; k++) {
        small_mail(x, 50);
        assert_int_equal(held(x, a), 1); /* whatever waits */
        small_mail(x, 50);
        assert_int_equal(held(x, a), 1);
        if (k == 2) { /* a restart counts on */
            cw_crash(&x->w, false);
            cw_pass(&x->w, 3000, 500);
            assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
            assert_int_equal(held(x, a), 1);
        }
        x->node[a]->holds = true;
        cw_answer_some(&x->w, x->node[a], 1);
        cw_run(&x->w);
    }
    assert_int_equal(lane(x, a).state, RMD_LANE_OPEN);
    Remuda__IncidentRecord r = incident(x, id);
    assert_int_equal(r.state, 1);
    assert_true(line_says(&r, "is probed"));
    assert_true(line_says(&r, "is open again"));
    size_t t0 = x->w.n_rcpts;
    for (int i = 0; i < SOURCES; i++) {
        struct rmd_command pause = {
            .kind = RMD_CMD_SOURCE_STATE, .name = address[i], .state = RMD_SOURCE_PAUSED, .reason = "only this one"};
        if (i != a)
            assert_int_equal(cw_command(&x->w, &pause), RMD_OK);
    }
    cw_submit(&x->w, "bulk", google, 3000, 500000);
    cw_pass(&x->w, 5000, 500);
    answer(x, -1, 50 * MIN);
    assert_in_range(sent(x, a, t0), 1, 40); /* never a snap back */
    answer(x, -1, 12 * HOUR);
    assert_true(sent(x, a, t0) > 100);
    tear_down(x);
}

/* Its node was cut off, and tells of them when the lane is probed already: that the receiver took them before it refused the source says nothing
 * now. singly: each by a lease of its own, as probes are; and the coordinator was restarted meanwhile. */
static void accepted_before_the_stop(bool singly) {
    struct stage *x = build(0);
    Remuda__StreamRecord patient = REMUDA__STREAM_RECORD__INIT;
    patient.priority = 2;
    patient.age_limit_ms = 30ll * 24 * HOUR;
    patient.node_return_wait_ms = 6ll * HOUR;
    cw_stream(&x->w, "patient", &patient);
    uint32_t campaigns = singly ? 3 * PROBES : 1, each = singly ? 1 : 300;
    for (uint32_t i = 0; i < campaigns; i++)
        cw_submit(&x->w, "patient", google, each, i);
    cw_pass(&x->w, 1000, 200);
    int a = 0;
    while (x->node[a]->n_leases < (singly ? 2 * PROBES : 1))
        a++;
    struct rmd_verdict v = block(HOUR);
    cw_alarm(&x->w, x->node[a], x->source[a], rmd_provider_id("google"), &v, 1);
    x->node[a]->dead = true; /* the recall is lost */
    cw_answer_some(&x->w, x->node[a], 2 * PROBES);
    cw_run(&x->w);
    cw_kill_node(&x->w, x->node[a]);
    answer(x, a, HOUR + 5 * MIN);
    assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
    if (singly)
        cw_crash(&x->w, false);
    size_t before = cw_events(&x->w, "delivered");
    cw_revive_node(&x->w, x->node[a], false, false);
    cw_pass(&x->w, 5000, 500);
    assert_int_equal(cw_events(&x->w, "delivered"), before + 2 * PROBES);
    assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
    tear_down(x);
}

static void what_was_accepted_before_the_stop_is_no_probe(void **state) {
    (void)state;
    accepted_before_the_stop(false);
    accepted_before_the_stop(true);
}

static void a_probe_that_is_refused_doubles_the_time(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 300);
    int a = x->first;
    refuse(x, a, HOUR);
    int64_t wanted = HOUR;
    for (int k = 0; k < 10; k++) {
        answer(x, a, wanted + 5 * MIN);
        assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
        int64_t now = x->w.now.wall_ms;
        refuse(x, a, HOUR);
        assert_int_equal(lane(x, a).state, RMD_LANE_QUARANTINED);
        wanted = wanted * 2 < 24 * (int64_t)HOUR ? wanted * 2 : 24 * (int64_t)HOUR;
        assert_in_range(lane(x, a).until_wall_ms - now, wanted, wanted + 1000);
    }
    tear_down(x);
}

static void a_block_without_an_end_waits_for_a_person(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 100);
    int a = x->first;
    refuse(x, a, 0);
    answer(x, a, 5 * 24 * HOUR);
    assert_int_equal(lane(x, a).state, RMD_LANE_QUARANTINED);
    struct found f = newest(x);
    assert_true(f.r.human);
    assert_string_equal(f.r.removal, "https://google.test/removal");
    assert_true(line_says(&f.r, "until a person resolves it"));
    struct rmd_command t = {.kind = RMD_CMD_INCIDENT_TICKET, .number = f.id, .text = "case 4711"};
    assert_int_equal(cw_command(&x->w, &t), RMD_OK);
    t.text = "";
    assert_int_equal(cw_command(&x->w, &t), RMD_EINVAL);
    t.number = 99;
    assert_int_equal(cw_command(&x->w, &t), RMD_ENOTFOUND);
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = f.id, .reason = "delisted"};
    assert_int_equal(cw_command(&x->w, &m), RMD_OK);
    assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
    cw_crash(&x->w, false);
    cw_pass(&x->w, 3000, 500);
    assert_int_equal(lane(x, a).state, RMD_LANE_PROBING);
    Remuda__IncidentRecord r = incident(x, f.id);
    assert_string_equal(r.ticket, "case 4711");
    assert_int_equal(cw_events(&x->w, "incident.ticket"), 1);
    tear_down(x);
}

static void without_probing_it_is_open_at_once(void **state) {
    (void)state;
    struct stage *x = build(RMD_WITHOUT_PROBING);
    under_way(x, 100);
    refuse(x, x->first, HOUR);
    answer(x, x->first, HOUR + 5 * MIN);
    assert_int_equal(lane(x, x->first).state, RMD_LANE_OPEN);
    assert_int_equal(newest(x).open, 0);
    tear_down(x);
}

/* A source that was stopped everywhere is probed by one recipient in all, wherever it goes. */
static void a_whole_source_is_probed_by_one_recipient(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 100);
    int a = x->first;
    struct rmd_verdict v = block(HOUR);
    refuse(x, a, HOUR);
    cw_alarm(&x->w, x->node[a], x->source[a], rmd_provider_id("yahoo"), &v, 1);
    cw_run(&x->w);
    answer(x, a, HOUR + 5 * MIN);
    small_mail(x, 30);
    cw_submit(&x->w, "bulk", yahoo, 30, 900000);
    cw_pass(&x->w, 2000, 500);
    assert_int_equal(held(x, a), 1);
    tear_down(x);
}

static void the_time_line_is_bounded(void **state) {
    (void)state;
    struct stage *x = build(0);
    under_way(x, 100);
    refuse(x, x->first, 0);
    uint64_t id = newest(x).id;
    for (int i = 0; i < 200; i++) {
        char text[20];
        rmd_format(text, sizeof text, "ticket%d", i);
        struct rmd_command t = {.kind = RMD_CMD_INCIDENT_TICKET, .number = id, .text = text};
        assert_int_equal(cw_command(&x->w, &t), RMD_OK);
    }
    Remuda__IncidentRecord r = incident(x, id);
    assert_int_equal(r.n_line, 64);
    assert_true(line_says(&r, "the node read"));
    assert_true(line_says(&r, "ticket199"));
    tear_down(x);
}

/* ---------------------------------------------------------------- content */

static void refuse_content(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                           Remuda__Outcome *o) {
    (void)w;
    (void)n;
    (void)email;
    if (l->provider != rmd_provider_id("google"))
        return;
    cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_SPAM_CONTENT, RMD_ACTION_FAIL, RMD_SCOPE_MESSAGE, false);
    o->reply->code = 550;
}

/* The same template in many small campaigns is one content. */
static void small_campaigns_of_one_content_stop_together(void **state) {
    (void)state;
    for (int breaker = 1; breaker >= 0; breaker--) {
        struct stage *x = build(breaker ? 0 : RMD_WITHOUT_BREAKER);
        struct cw *w = &x->w;
        w->answer = refuse_content;
        for (int i = 0; i < SOURCES; i++)
            x->node[i]->holds = false;
        struct rmd_id id = {0};
        for (uint32_t k = 0; k < 19; k++) {
            id = cw_submit(w, "bulk", google, 1, 10 * k);
            cw_pass(w, 2000, 500);
            assert_int_equal(cw_campaign(w, &id, NULL)->bounced, 1);
        }
        for (int i = 0; i < SOURCES; i++)
            x->node[i]->holds = true;
        id = cw_submit(w, "bulk", google, 400, 1000);
        cw_pass(w, 1000, 200);
        for (int i = 0; i < SOURCES; i++)
            cw_answer_some(w, x->node[i], 1); /* the twentieth */
        cw_pass(w, 1000, 200);
        assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, breaker); /* at this provider */
        for (int i = 0; i < SOURCES; i++)
            assert_int_equal(lane(x, i).state, RMD_LANE_OPEN);
        tear_down(x);
    }
}

/* What the template had before, when it was welcome, keeps none of a campaign that is refused going. */
static void a_campaign_that_is_refused_stops_whatever_its_template_had(void **state) {
    (void)state;
    struct stage *x = build(0);
    struct cw *w = &x->w;
    for (int i = 0; i < SOURCES; i++)
        x->node[i]->holds = false;
    struct rmd_id id = cw_submit(w, "bulk", google, 150, 0);
    cw_pass(w, 60000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 150);
    w->answer = refuse_content;
    id = cw_submit(w, "bulk", google, 30, 1000);
    cw_pass(w, 60000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->n_stop, 1);
    tear_down(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_work_starts_as_a_canary_and_grows),
        cmocka_unit_test(the_neighbour_takes_no_moved_work),
        cmocka_unit_test(the_neighbour_keeps_what_is_its_own),
        cmocka_unit_test(a_canary_that_is_refused_ends_the_moving),
        cmocka_unit_test(another_reason_on_a_target_ends_nothing),
        cmocka_unit_test(what_the_source_is_to_blame_for_waits_for_it),
        cmocka_unit_test(urgent_mail_knows_no_canary),
        cmocka_unit_test(what_a_lane_sent_before_is_its_own),
        cmocka_unit_test(without_the_canary_all_moves_at_once),
        cmocka_unit_test(without_moving_it_waits_for_the_source),
        cmocka_unit_test(without_networks_the_neighbour_takes_moved_work),
        cmocka_unit_test(a_quarantine_that_ends_is_probed_and_grows_anew),
        cmocka_unit_test(what_was_accepted_before_the_stop_is_no_probe),
        cmocka_unit_test(a_probe_that_is_refused_doubles_the_time),
        cmocka_unit_test(a_block_without_an_end_waits_for_a_person),
        cmocka_unit_test(without_probing_it_is_open_at_once),
        cmocka_unit_test(a_whole_source_is_probed_by_one_recipient),
        cmocka_unit_test(the_time_line_is_bounded),
        cmocka_unit_test(small_campaigns_of_one_content_stop_together),
        cmocka_unit_test(a_campaign_that_is_refused_stops_whatever_its_template_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
