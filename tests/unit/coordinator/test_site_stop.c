/* Single sites of "other" that refuse a source, in stories: what stops, what goes on, what makes it more than one site's word, and how
 * it ends. Judged by the RCPTs that nodes made. Three sources on three networks; whatever a node gets, it sends at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/moving.h"
#include "coordinator/core/site_stop.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { MIN = 60000, HOUR = 60 * MIN, SOURCES = 3 };
static const char *const address[SOURCES] = {"203.0.113.7", "198.51.100.7", "192.0.2.7"};
static const char *const node_name[SOURCES] = {"n1", "n2", "n3"};
static const char *const liar[] = {"liar.test", NULL}, *const others[] = {"o.test", "p.test", NULL},
                         *const all[] = {"liar.test", "o.test", "p.test", NULL};

struct stage {
    struct cw w;
    struct cw_node *node[SOURCES];
    uint32_t source[SOURCES], next;
    int a;             /* the first of the order at "other" */
    bool greylists;    /* liar.test does, whoever comes first */
    bool refuses_auto; /* liar.test refuses the source again, with an alarm of its node */
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

static void answer(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email, Remuda__Outcome *o) {
    struct stage *x = w->ctx;
    (void)n;
    (void)l;
    if (x->greylists && strstr(email, "@liar.test"))
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_RECIPIENT,
                        false);
    if (x->refuses_auto && strstr(email, "@liar.test"))
        cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_IP_BLOCKLISTED, RMD_ACTION_QUARANTINE, RMD_SCOPE_SOURCE,
                        true);
}

static struct rmd_id mail(struct stage *x, const char *const *domains, uint32_t n) {
    struct rmd_id id = cw_submit(&x->w, "bulk", domains, n, x->next);
    x->next += n;
    cw_pass(&x->w, 2000, 200);
    return id;
}

static struct stage *build(uint32_t without) {
    struct stage *x = rmd_alloc(sizeof *x);
    struct cw *w = &x->w;
    cw_init(w, 3);
    w->o.without = without;
    w->o.failover = (struct rmd_failover_settings){
        .canary_ms = 30 * MIN, .canary_percent = 5, .canary_floor = 20, .growth_percent = 150, .growth_floor = 20};
    cw_crash(w, false);
    cw_domain(w, "liar.test", "mx.liar.test");
    cw_domain(w, "p.test", "mx.p.test");
    Remuda__StreamRecord bulk = REMUDA__STREAM_RECORD__INIT;
    bulk.priority = 2;
    bulk.age_limit_ms = 30ll * 24 * HOUR;
    cw_stream(w, "bulk", &bulk);
    w->answer = answer;
    w->ctx = x;
    for (int i = 0; i < SOURCES; i++) {
        x->node[i] = cw_node_add(w, node_name[i]);
        x->source[i] = cw_source(w, address[i], node_name[i], 0);
    }
    mail(x, others, 10);
    assert_true(w->n_rcpts > 0);
    for (int i = 0; i < SOURCES; i++)
        if (w->rcpt[0].source == x->source[i])
            x->a = i;
    return x;
}

static void tear_down(struct stage *x) {
    cw_release(&x->w);
    free(x);
}

static void refuse_at(struct stage *x, int i, const char *domain, int64_t ms) {
    struct rmd_verdict v = block(ms);
    cw_alarm_at(&x->w, x->node[i], x->source[i], rmd_provider_id("other"), &v, 1, domain);
    cw_run(&x->w);
}

static bool any_lease(void *ctx, const struct cw_lease *l) {
    (void)ctx;
    (void)l;
    return true;
}

/* RCPTs since `from` to a domain, of one source or (-1) of all. */
static size_t sent(const struct stage *x, int source, const char *domain, size_t from) {
    size_t n = 0;
    for (size_t i = from; i < x->w.n_rcpts; i++)
        n += (source < 0 || x->w.rcpt[i].source == x->source[source]) && strstr(x->w.rcpt[i].email, domain);
    return n;
}

struct seen {
    const char *address;
    enum rmd_lane_state other, google, all;
    size_t n_sites;
    enum rmd_lane_state site;
    int64_t until_wall_ms;
};
static void on_source(void *ctx, const struct rmd_source_view *v) {
    struct seen *s = ctx;
    if (strcmp(v->record->address, s->address) != 0)
        return;
    for (size_t i = 0; i < v->n_lanes; i++) {
        if (strcmp(v->lane[i].provider, "other") == 0)
            s->other = v->lane[i].state;
        if (strcmp(v->lane[i].provider, "google") == 0)
            s->google = v->lane[i].state;
    }
    s->all = v->state;
    s->n_sites = v->n_sites;
    if (v->n_sites) {
        s->site = v->site[0].state;
        s->until_wall_ms = v->site[0].until_wall_ms;
    }
}
static struct seen look(struct stage *x, int i) {
    struct seen s = {.address = address[i]};
    rmd_coord_sources(x->w.core, on_source, &s);
    return s;
}

static enum rmd_lane_state everywhere(struct stage *x, int i) {
    return look(x, i).all;
}

struct found {
    uint64_t id, wanted;
    size_t open;
    char site[64], title[240];
    uint32_t state;
};
static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct found *f = ctx;
    f->open += r->state == 0;
    if (f->wanted ? r->id != f->wanted : r->id <= f->id)
        return;
    f->id = r->id;
    f->state = r->state;
    rmd_copy(f->site, sizeof f->site, r->site_name);
    rmd_copy(f->title, sizeof f->title, r->title);
}
static struct found incident(struct stage *x, uint64_t id) {
    struct found f = {.wanted = id};
    rmd_coord_incidents(x->w.core, on_incident, &f);
    return f;
}

static bool explains(struct stage *x, const char *domain, const char *words) {
    struct rmd_buf out = {0};
    rmd_coord_explain(x->w.core, 1, 1, NULL, domain, &out);
    bool says = strstr(rmd_buf_str(&out), words) != NULL;
    if (!says)
        print_message("%s", rmd_buf_str(&out));
    rmd_buf_release(&out);
    return says;
}

struct wait {
    const char *words;
    bool said;
};
static void on_wait(void *ctx, const struct rmd_queue_view *q) {
    struct wait *w = ctx;
    w->said |= strstr(q->waits_for, w->words) != NULL;
}
/* As the campaign is told, or (NULL) the queues are. */
static bool waits_for(struct stage *x, const struct rmd_id *campaign, const char *words) {
    struct wait w = {.words = words};
    if (campaign)
        rmd_coord_campaign_waits(x->w.core, campaign, on_wait, &w);
    else
        rmd_coord_queues(x->w.core, on_wait, &w);
    return w.said;
}

/* ---------------------------------------------------------------- stories */

static void one_site_stops_itself_and_nothing_else(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", 24 * HOUR);
    struct found f = incident(x, 0);
    assert_string_equal(f.site, "liar.test");
    assert_non_null(strstr(f.title, "stopped at this site"));
    assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN);
    assert_int_equal(look(x, x->a).n_sites, 1);
    assert_int_equal(x->node[x->a]->stopped_sites, 1);
    size_t t0 = x->w.n_rcpts;
    struct rmd_id id = mail(x, all, 300);
    cw_pass(&x->w, MIN, 1000);
    assert_int_equal(sent(x, x->a, "@o.test", t0), 100); /* at once, from where they came */
    assert_int_equal(sent(x, x->a, "@p.test", t0), 100);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 0);
    assert_int_equal(sent(x, -1, "@liar.test", t0), 20); /* the canary, on other networks */
    assert_true(explains(x, "liar.test", "its site refuses"));
    assert_true(explains(x, "liar.test", "canary"));
    cw_pass(&x->w, 50 * MIN, MIN);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 0);
    cw_pass(&x->w, 12 * HOUR, MIN);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 300);
    tear_down(x);
}

/* A named provider refuses the source, too: among thousands of sites there is always one that refuses it, and all others, who said nothing,
 * get their mail from where they had it; the canary is of the one site's mail. */
static void a_named_provider_makes_no_site_everybody(void **state) {
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct stage *x = build(0);
        struct rmd_verdict v = block(24 * HOUR);
        if (first)
            refuse_at(x, x->a, "liar.test", 24 * HOUR);
        cw_alarm(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id("google"), &v, 1);
        cw_run(&x->w);
        if (!first)
            refuse_at(x, x->a, "liar.test", 24 * HOUR);
        assert_int_equal(look(x, x->a).google, RMD_LANE_QUARANTINED);
        assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN);
        assert_int_equal(look(x, x->a).n_sites, 1);
        assert_int_equal(incident(x, 0).open, 2);
        size_t t0 = x->w.n_rcpts;
        struct rmd_id bad = mail(x, liar, 300);
        cw_pass(&x->w, MIN, 1000);
        struct rmd_id id = mail(x, others, 300); /* submitted while the canary is out */
        cw_pass(&x->w, MIN, 1000);
        assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 300);
        assert_int_equal(sent(x, x->a, "@o.test", t0) + sent(x, x->a, "@p.test", t0), 300);
        assert_int_equal(sent(x, -1, "@liar.test", t0), 20);
        assert_true(waits_for(x, &bad, "the site of liar.test refuses ") && waits_for(x, &bad, "canary: 20 of 20"));
        assert_true(waits_for(x, NULL, "the site of liar.test refuses "));
        assert_true(explains(x, "liar.test", "canary: of moved work only a small part goes on at first\n"));
        assert_true(explains(x, "o.test", "next: the first of the pool's order"));
        refuse_at(x, x->a, "p.test", 24 * HOUR); /* that is a second voice */
        assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
        tear_down(x);
    }
}

static size_t held(const struct cw_node *n) {
    size_t held = 0;
    for (size_t i = 0; i < n->n_leases; i++)
        for (uint32_t k = 0; k < n->lease[i]->n; k++)
            held += !n->lease[i]->done[k];
    return held;
}

/* Nobody else says so, and it may be a broken lookup: one recipient asks after an hour, then after twice as long each time, and at last
 * every six hours, whatever the verdict's time is. */
static void one_site_is_asked_again_soon_and_seldom(void **state) {
    (void)state;
    struct stage *x = build(0);
    x->refuses_auto = x->node[x->a]->holds = true; /* one is answered when the test says so */
    refuse_at(x, x->a, "liar.test", 24 * HOUR);
    for (int i = 0; i < SOURCES; i++) {
        struct rmd_command pause = {
            .kind = RMD_CMD_SOURCE_STATE, .name = address[i], .state = RMD_SOURCE_PAUSED, .reason = "only this one"};
        if (i != x->a)
            assert_int_equal(cw_command(&x->w, &pause), RMD_OK);
    }
    mail(x, liar, 60);
    static const int hours[] = {1, 2, 4, 6, 6, 6};
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++) {
        cw_pass(&x->w, hours[i] * (int64_t)HOUR - MIN, MIN);
        assert_int_equal(held(x->node[x->a]), 0);
        cw_pass(&x->w, 2 * MIN, 1000);
        assert_int_equal(held(x->node[x->a]), 1);
        refuse_at(x, x->a, "liar.test", 24 * HOUR);
        cw_answer_all(&x->w, x->node[x->a]);
    }
    tear_down(x);
}

static void it_survives_a_restart(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", 24 * HOUR);
    cw_crash(&x->w, false);
    cw_pass(&x->w, 3000, 500);
    assert_int_equal(look(x, x->a).n_sites, 1);
    assert_int_equal(x->node[x->a]->stopped_sites, 1);
    size_t t0 = x->w.n_rcpts;
    mail(x, all, 60);
    cw_pass(&x->w, MIN, 1000);
    assert_int_equal(sent(x, x->a, "@o.test", t0), 20);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 0);
    assert_int_equal(sent(x, -1, "@liar.test", t0), 20);
    refuse_at(x, x->a, "p.test", 24 * HOUR); /* what corroborates survives, too */
    assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
    tear_down(x);
}

static void a_second_site_makes_it_the_lane(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", 24 * HOUR);
    uint64_t first = incident(x, 0).id;
    refuse_at(x, x->a, "liar.test", 24 * HOUR); /* the same one: no second voice */
    assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN);
    cw_pass(&x->w, 5 * HOUR, MIN);
    refuse_at(x, x->a, "p.test", 24 * HOUR);
    assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
    assert_int_equal(look(x, x->a).google, RMD_LANE_OPEN);
    assert_int_equal(look(x, x->a).n_sites, 0); /* taken over */
    assert_int_equal(incident(x, first).state, 1);
    assert_int_equal(incident(x, 0).open, 1);
    assert_string_equal(incident(x, 0).site, "");
    size_t t0 = x->w.n_rcpts;
    mail(x, all, 60);
    cw_pass(&x->w, HOUR, MIN);
    assert_int_equal(sent(x, x->a, "@", t0), 0);
    tear_down(x);
}

static void much_later_it_is_a_second_site_alone(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", 48 * HOUR);
    cw_pass(&x->w, 7 * (int64_t)HOUR, MIN);
    refuse_at(x, x->a, "p.test", 48 * HOUR);
    assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN);
    assert_int_equal(look(x, x->a).n_sites, 2);
    assert_int_equal(incident(x, 0).open, 2);
    size_t t0 = x->w.n_rcpts;
    mail(x, others, 60);
    assert_int_equal(sent(x, x->a, "@o.test", t0), 30);
    assert_int_equal(sent(x, x->a, "@p.test", t0), 0);
    tear_down(x);
}

static void on_the_third_day_one_recipient_opens_it(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", 48 * HOUR);
    uint64_t id = incident(x, 0).id;
    cw_pass(&x->w, 48 * HOUR + MIN, MIN);
    assert_int_equal(look(x, x->a).site, RMD_LANE_PROBING);
    assert_int_equal(x->node[x->a]->stopped_sites, 0); /* it is to try */
    x->node[x->a]->holds = true;
    size_t t0 = x->w.n_rcpts, held = 0;
    mail(x, liar, 30);
    for (size_t k = 0; k < x->node[x->a]->n_leases; k++)
        held += x->node[x->a]->lease[k]->n;
    assert_int_equal(held, 1);
    assert_true(explains(x, "liar.test", "probed with a single recipient"));
    assert_int_equal(sent(x, -1, "@liar.test", t0), 0); /* the others wait for what comes of it */
    cw_crash(&x->w, false);
    cw_pass(&x->w, 3000, 500);
    assert_int_equal(x->node[x->a]->n_leases, 1); /* no second one by a restart */
    x->node[x->a]->holds = false;
    cw_answer_all(&x->w, x->node[x->a]);
    cw_pass(&x->w, MIN, 1000);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 30);
    assert_int_equal(look(x, x->a).n_sites, 0);
    assert_int_equal(incident(x, id).state, 1);
    tear_down(x);
}

/* The moving ended, as another network was refused, too: each comes back for itself. */
static void two_that_were_refused_come_back(void **state) {
    (void)state;
    struct stage *x = build(0);
    int b = (x->a + 1) % SOURCES;
    refuse_at(x, x->a, "liar.test", 24 * HOUR);
    mail(x, liar, 60);
    for (int i = 0; i < SOURCES; i++)
        if (sent(x, i, "@liar.test", 0))
            b = i; /* it took moved work */
    assert_true(b != x->a);
    refuse_at(x, b, "liar.test", 24 * HOUR);
    size_t t0 = x->w.n_rcpts;
    cw_pass(&x->w, 50 * MIN, MIN);
    assert_int_equal(sent(x, -1, "@liar.test", t0), 0); /* whoever refuses two isn't asked with a third */
    cw_pass(&x->w, HOUR + 10 * MIN, MIN);
    assert_int_equal(sent(x, -1, "@liar.test", 0), 60);
    assert_int_equal(look(x, x->a).n_sites, 0);
    tear_down(x);
}

/* A source is stopped at all of "other", or everywhere, and its work moves; then the liar, who refuses everybody, refuses the source
 * that takes it. That ends nothing for anybody else. */
static void a_liar_ends_no_moving_but_its_own(void **state) {
    (void)state;
    for (int everywhere = 0; everywhere < 2; everywhere++) {
        struct stage *x = build(0);
        struct rmd_verdict v = block(24 * HOUR);
        for (int i = 0; i < 2; i++)
            if (everywhere)
                cw_alarm(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id(i ? "yahoo" : "google"), &v, 1);
            else
                refuse_at(x, x->a, i ? "liar.test" : "q.test", 24 * HOUR);
        cw_run(&x->w);
        assert_int_equal(look(x, x->a).other, everywhere ? RMD_LANE_OPEN : RMD_LANE_QUARANTINED);
        size_t t0 = x->w.n_rcpts;
        mail(x, all, 120);
        assert_int_equal(sent(x, x->a, "@", t0), 0);
        for (int i = 0; i < SOURCES; i++)
            if (sent(x, i, "@", t0))
                refuse_at(x, i, "liar.test", 24 * HOUR);
        assert_in_range(sent(x, -1, "@", t0), 1, 20);                   /* it is the canary that was refused */
        assert_int_equal(cw_events(&x->w, "incident.moving_ended"), 1); /* the target's, at liar.test */
        cw_pass(&x->w, 12 * HOUR, MIN);
        assert_int_equal(sent(x, -1, "@o.test", t0), 40);
        assert_int_equal(sent(x, -1, "@p.test", t0), 40);
        assert_int_equal(sent(x, x->a, "@", t0), 0);
        tear_down(x);
    }
}

/* What a third one must try again isn't for the one that is probed; nobody waits for ever. */
static void greylisted_elsewhere_while_one_is_probed(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", HOUR);
    cw_pass(&x->w, HOUR - 5 * MIN, MIN);
    x->greylists = true;
    struct rmd_id id = mail(x, liar, 5); /* to another source, which is to come again */
    assert_int_equal(sent(x, x->a, "@liar.test", 0), 0);
    assert_int_equal(sent(x, -1, "@liar.test", 0), 5);
    x->greylists = false;
    cw_pass(&x->w, 6 * HOUR, MIN);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 5);
    tear_down(x);
}

static void a_probe_that_is_refused_doubles_the_time(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", HOUR);
    int64_t wanted = HOUR;
    for (int k = 0; k < 4; k++) {
        cw_pass(&x->w, wanted + MIN, MIN);
        assert_int_equal(look(x, x->a).site, RMD_LANE_PROBING);
        x->refuses_auto = true;
        size_t t0 = x->w.n_rcpts;
        x->node[x->a]->holds = true;
        mail(x, liar, 1);
        cw_answer_all(&x->w, x->node[x->a]);
        x->refuses_auto = false;
        int64_t now = x->w.now.wall_ms;
        refuse_at(x, x->a, "liar.test", HOUR);
        x->node[x->a]->holds = false;
        assert_int_equal(sent(x, x->a, "@liar.test", t0), 1);
        wanted = wanted * 2 < RMD_SITE_AGAIN_MAX_MS ? wanted * 2 : RMD_SITE_AGAIN_MAX_MS;
        assert_int_equal(look(x, x->a).site, RMD_LANE_QUARANTINED);
        assert_in_range(look(x, x->a).until_wall_ms - now, wanted, wanted + 1000);
        assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN); /* its word doesn't get another's by repetition */
    }
    tear_down(x);
}

static void without_an_end_it_waits_for_a_person(void **state) {
    (void)state;
    struct stage *x = build(0);
    refuse_at(x, x->a, "liar.test", 0);
    cw_pass(&x->w, 5 * 24 * (int64_t)HOUR, 10 * MIN);
    assert_int_equal(look(x, x->a).site, RMD_LANE_QUARANTINED);
    struct rmd_command m = {
        .kind = RMD_CMD_INCIDENT_RESOLVE, .number = incident(x, 0).id, .reason = "its lookup was broken"};
    assert_int_equal(cw_command(&x->w, &m), RMD_OK);
    assert_int_equal(look(x, x->a).site, RMD_LANE_PROBING);
    size_t t0 = x->w.n_rcpts;
    mail(x, liar, 3);
    cw_pass(&x->w, MIN, 1000);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 3);
    assert_int_equal(look(x, x->a).n_sites, 0);
    tear_down(x);
}

/* What would be tried again from the refused source isn't bound to it any more, and waits for nobody. */
static void greylisted_there_and_then_refused(void **state) {
    (void)state;
    struct stage *x = build(0);
    x->greylists = true;
    size_t t0 = x->w.n_rcpts;
    struct rmd_id id = mail(x, liar, 5);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 5);
    x->greylists = false;
    refuse_at(x, x->a, "liar.test", 0);
    t0 = x->w.n_rcpts;
    cw_pass(&x->w, 6 * HOUR, MIN);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 5);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 0);
    tear_down(x);
}

/* One network only: its recipients wait, however many, and don't stand in the others' way. */
static void nowhere_to_go(void **state) {
    (void)state;
    struct stage *x = build(0);
    for (int i = 0; i < SOURCES; i++) {
        struct rmd_command pause = {
            .kind = RMD_CMD_SOURCE_STATE, .name = address[i], .state = RMD_SOURCE_PAUSED, .reason = "only this one"};
        if (i != x->a)
            assert_int_equal(cw_command(&x->w, &pause), RMD_OK);
    }
    x->greylists = true; /* records of their own: more than a window of them */
    mail(x, liar, 600);
    x->greylists = false;
    refuse_at(x, x->a, "liar.test", 0);
    mail(x, liar, 6000); /* and chunks: more than a window */
    cw_pass(&x->w, 2 * HOUR, MIN);
    size_t t0 = x->w.n_rcpts;
    struct rmd_id id = mail(x, others, 100);
    cw_pass(&x->w, 10 * MIN, 1000);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 100);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 0);
    tear_down(x);
}

static void too_many_sites_are_the_lane(void **state) {
    (void)state;
    struct stage *x = build(0);
    char domain[32];
    struct rmd_verdict v = block(0);
    v.class = RMD_CLASS_POLICY; /* which corroborates nothing: else the second one would do */
    for (int i = 0; i <= RMD_SITE_STOPS_MAX; i++) {
        rmd_format(domain, sizeof domain, "s%d.test", i < RMD_SITE_STOPS_MAX ? i : 7); /* at last one that is known */
        cw_alarm_at(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id("other"), &v, 1, domain);
        cw_run(&x->w);
        assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN);
    }
    assert_int_equal(look(x, x->a).n_sites, RMD_SITE_STOPS_MAX);
    cw_alarm_at(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id("other"), &v, 1, "one.more.test");
    cw_run(&x->w);
    assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
    assert_non_null(strstr(incident(x, 0).title, "is refused at 256 sites"));
    assert_int_equal(incident(x, 0).open, 1);
    tear_down(x);
}

/* ---------------------------------------------------------------- one cause, one incident */

struct picked {
    uint64_t id;
    const Remuda__IncidentRecord *r;
};
static void pick(void *ctx, const Remuda__IncidentRecord *r) {
    struct picked *p = ctx;
    p->r = r->id == p->id ? r : p->r;
}
/* Until the next step. */
static const Remuda__IncidentRecord *record(struct stage *x, uint64_t id) {
    struct picked p = {.id = id};
    rmd_coord_incidents(x->w.core, pick, &p);
    assert_non_null(p.r);
    return p.r;
}

static void member_is(struct stage *x, uint64_t id, int source, enum rmd_lane_state state, bool over) {
    const Remuda__IncidentRecord *r = record(x, id);
    bool found = false;
    for (size_t i = 0; i < r->n_member; i++) {
        struct rmd_member_view m;
        rmd_coord_incident_member(x->w.core, r, i, &m);
        if (strcmp(m.address, address[source]) != 0)
            continue;
        found = true;
        assert_int_equal(m.state, state);
        assert_int_equal(m.over_wall_ms != 0, over);
    }
    assert_true(found);
}

static void resolve(struct stage *x, uint64_t id) {
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = id, .reason = "its lookup was broken"};
    assert_int_equal(cw_command(&x->w, &m), RMD_OK);
}

/* Refuses everybody, in two ways of saying it: one incident, that speaks for all. */
static void a_liar_is_one_incident(void **state) {
    (void)state;
    struct stage *x = build(0);
    for (int i = 0; i < SOURCES; i++)
        x->node[i]->holds = true;
    mail(x, liar, 40);
    refuse_at(x, x->a, "liar.test", 0);
    cw_give_back(&x->w, x->node[x->a], any_lease, NULL, RMD_RETURN_SITE_STOPPED);
    cw_pass(&x->w, MIN, 1000);
    for (int i = 0; i < SOURCES; i++) {
        if (i != x->a)
            refuse_at(x, i, "liar.test", 0);
        cw_give_back(&x->w, x->node[i], any_lease, NULL, RMD_RETURN_SITE_STOPPED);
        x->node[i]->holds = false;
    }
    cw_pass(&x->w, MIN, 1000);
    struct found f = incident(x, 0);
    assert_int_equal(f.open, 1);
    assert_int_equal(cw_events(&x->w, "incident.opened"), 1);
    assert_int_equal(cw_events(&x->w, "incident.joined"), SOURCES - 1);
    assert_non_null(strstr(f.title, "the site of liar.test refuses 3 of our sources"));
    const Remuda__IncidentRecord *r = record(x, f.id);
    assert_int_equal(r->n_member, SOURCES);
    assert_int_equal(r->source, x->source[x->a]);
    uint64_t back = 0;
    for (size_t i = 0; i < r->n_member; i++)
        back += r->member[i]->came_back;
    assert_in_range(back, 40, 60); /* what moved came back twice */
    assert_int_equal(r->waiting, 40);
    for (int i = 0; i < SOURCES; i++)
        member_is(x, f.id, i, RMD_LANE_QUARANTINED, false);
    refuse_at(x, x->a, "liar.test", 0); /* said again */
    struct rmd_verdict other_words = block(0);
    other_words.class = RMD_CLASS_NO_RDNS;
    cw_alarm_at(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id("other"), &other_words, 1, "liar.test");
    cw_run(&x->w);
    assert_int_equal(incident(x, 0).open, 1);
    assert_int_equal(record(x, f.id)->n_member, SOURCES);
    cw_crash(&x->w, false);
    cw_pass(&x->w, 3000, 500);
    assert_int_equal(record(x, f.id)->n_member, SOURCES);
    size_t t0 = x->w.n_rcpts;
    struct rmd_id id = mail(x, others, 100);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 100);
    for (int i = 0; i < SOURCES; i++)
        assert_int_equal(look(x, i).other, RMD_LANE_OPEN);
    /* One word ends it for all. */
    resolve(x, f.id);
    assert_int_equal(cw_events(&x->w, "source.site_probing"), SOURCES);
    cw_pass(&x->w, HOUR, MIN);
    assert_int_equal(sent(x, -1, "@liar.test", t0), 40);
    tear_down(x);
}

/* Each comes back for itself; the incident ends with the last one, and who is open again has its mail. */
static void it_ends_with_its_last_source(void **state) {
    (void)state;
    struct stage *x = build(0);
    int b = (x->a + 1) % SOURCES;
    refuse_at(x, x->a, "liar.test", HOUR);
    refuse_at(x, b, "liar.test", 0);
    uint64_t id = incident(x, 0).id;
    assert_int_equal(incident(x, 0).open, 1);
    cw_pass(&x->w, HOUR + MIN, MIN);
    mail(x, liar, 1); /* the probe */
    cw_pass(&x->w, MIN, 1000);
    member_is(x, id, x->a, RMD_LANE_OPEN, true);
    member_is(x, id, b, RMD_LANE_QUARANTINED, false);
    assert_int_equal(record(x, id)->state, 0);
    size_t t0 = x->w.n_rcpts;
    mail(x, liar, 100);
    cw_pass(&x->w, MIN, 1000);
    assert_int_equal(sent(x, x->a, "@liar.test", t0), 100); /* no canary: the site answers it */
    /* Refused again, it is a member again; another site's word takes it out. */
    refuse_at(x, x->a, "liar.test", 0);
    member_is(x, id, x->a, RMD_LANE_QUARANTINED, false);
    assert_int_equal(record(x, id)->n_member, 2);
    refuse_at(x, x->a, "p.test", 0);
    assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
    member_is(x, id, x->a, RMD_LANE_OPEN, true);
    assert_int_equal(record(x, id)->state, 0);
    assert_int_equal(look(x, b).other, RMD_LANE_OPEN);
    resolve(x, id);
    mail(x, liar, 1);
    cw_pass(&x->w, MIN, 1000);
    assert_int_equal(look(x, b).n_sites, 0);
    tear_down(x);
}

/* A site has mended. Its probe is owed by a source whose neighbour comes back from a stop at all of "other": it takes none of what the
 * neighbour had, but asks with one recipient. Nobody else can: the canary is used up, and the neighbour waits for what it is told. When it
 * is paused, the neighbour asks: else that one would find nothing to come back with. */
static void a_neighbour_that_comes_back_holds_up_no_probe(void **state) {
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        struct stage *x = build(0);
        struct cw *w = &x->w;
        const char *own = address[x->a];
        char beside[32];
        rmd_format(beside, sizeof beside, "%.*s.8", (int)(strrchr(own, '.') - own), own);
        uint32_t site = cw_source(w, beside, node_name[x->a], 0);
        mail(x, others, 10);
        assert_int_equal(w->rcpt[w->n_rcpts - 1].source, x->source[x->a]); /* the first of the order */
        struct rmd_verdict v = block(24 * HOUR);
        cw_alarm_at(w, x->node[x->a], site, rmd_provider_id("other"), &v, 1, "liar.test");
        cw_run(w);
        refuse_at(x, x->a, "liar.test", 24 * HOUR);
        uint64_t of_site = incident(x, 0).id;
        struct rmd_id id = mail(x, liar, 60);
        assert_int_equal(sent(x, -1, "@liar.test", 0), 20); /* the canary */
        refuse_at(x, x->a, "p.test", 24 * HOUR);
        assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
        struct rmd_command pause = {
            .kind = RMD_CMD_SOURCE_STATE, .name = beside, .state = RMD_SOURCE_PAUSED, .reason = "not this one"};
        if (paused)
            assert_int_equal(cw_command(w, &pause), RMD_OK);
        resolve(x, incident(x, 0).id);
        resolve(x, of_site);
        cw_pass(w, MIN, 1000);
        assert_int_equal(look(x, x->a).other, RMD_LANE_OPEN);
        assert_int_equal(sent(x, -1, "@liar.test", 0), paused ? 20 + RMD_PROBES : 60);
        cw_pass(w, 2 * HOUR, MIN);
        assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 60);
        tear_down(x);
    }
}

/* A person has said that it was no evidence: for nothing else either. */
static void what_was_resolved_corroborates_nothing(void **state) {
    (void)state;
    for (int resolved = 0; resolved < 2; resolved++) {
        struct stage *x = build(0);
        struct rmd_verdict v = block(0);
        refuse_at(x, x->a, "liar.test", 0);
        if (resolved)
            resolve(x, incident(x, 0).id);
        cw_crash(&x->w, false); /* nor after a restart */
        cw_pass(&x->w, 3000, 500);
        refuse_at(x, x->a, "p.test", 0);
        assert_int_equal(look(x, x->a).other, resolved ? RMD_LANE_OPEN : RMD_LANE_QUARANTINED);
        if (resolved) { /* p.test's goes on counting */
            refuse_at(x, x->a, "o.test", 0);
            assert_int_equal(look(x, x->a).other, RMD_LANE_QUARANTINED);
            cw_alarm(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id("google"), &v, 1);
            cw_run(&x->w);
            uint64_t google = incident(x, 0).id;
            assert_string_equal(incident(x, google).site, "");
            resolve(x, google);
            cw_alarm(&x->w, x->node[x->a], x->source[x->a], rmd_provider_id("yahoo"), &v, 1);
            cw_run(&x->w);
            assert_int_equal(everywhere(x, x->a), RMD_LANE_OPEN); /* not two providers */
        }
        tear_down(x);
    }
}

/* Its DNS said another site than ours: what it gives back isn't dealt to it in circles. */
static void a_node_that_sees_another_site(void **state) {
    (void)state;
    struct stage *x = build(0);
    x->node[x->a]->holds = true;
    struct rmd_id id = mail(x, liar, 5);
    assert_int_equal(x->node[x->a]->n_leases, 1);
    cw_give_back(&x->w, x->node[x->a], any_lease, NULL, RMD_RETURN_SITE_STOPPED);
    cw_pass(&x->w, 30000, 1000);
    assert_int_equal(x->node[x->a]->n_leases, 0);
    cw_pass(&x->w, 2 * MIN, 1000);
    assert_int_equal(cw_campaign(&x->w, &id, NULL)->delivered, 5); /* by the others */
    tear_down(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_site_stops_itself_and_nothing_else),
        cmocka_unit_test(a_named_provider_makes_no_site_everybody),
        cmocka_unit_test(one_site_is_asked_again_soon_and_seldom),
        cmocka_unit_test(it_survives_a_restart),
        cmocka_unit_test(a_second_site_makes_it_the_lane),
        cmocka_unit_test(much_later_it_is_a_second_site_alone),
        cmocka_unit_test(on_the_third_day_one_recipient_opens_it),
        cmocka_unit_test(two_that_were_refused_come_back),
        cmocka_unit_test(a_liar_ends_no_moving_but_its_own),
        cmocka_unit_test(greylisted_elsewhere_while_one_is_probed),
        cmocka_unit_test(a_probe_that_is_refused_doubles_the_time),
        cmocka_unit_test(without_an_end_it_waits_for_a_person),
        cmocka_unit_test(greylisted_there_and_then_refused),
        cmocka_unit_test(nowhere_to_go),
        cmocka_unit_test(too_many_sites_are_the_lane),
        cmocka_unit_test(a_node_that_sees_another_site),
        cmocka_unit_test(a_liar_is_one_incident),
        cmocka_unit_test(it_ends_with_its_last_source),
        cmocka_unit_test(what_was_resolved_corroborates_nothing),
        cmocka_unit_test(a_neighbour_that_comes_back_holds_up_no_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
