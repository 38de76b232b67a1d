/* Sending domains at providers that refuse them: they rest and pause there and nowhere else, come back by few recipients, and
 * stop everywhere when two named providers are sure. Content likewise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/failover.h"
#include "coordinator/core/sender.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE };
enum { A, C, SOURCES };                        /* on two networks */
enum { BULK, OFFERS, URGENT, PROMO, STREAMS }; /* the first three send as one domain */
enum { GOOGLE, YAHOO, OTHER, PLACES };
static const char *const stream_name[STREAMS] = {"bulk", "offers", "urgent", "promo"};
static const char *const provider[PLACES] = {"google", "yahoo", "other"};

/* ---- the policy */

static void a_rest_is_as_long_as_was_said_and_doubles(void **state) {
    (void)state;
    struct rmd_sender s = {0};
    int64_t now = HOUR, want = 4 * HOUR;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rmd_sender_told(&s, 4 * HOUR, RMD_SENDER_FOR_NOW, false, now), RMD_SENDER_REST);
        assert_int_equal(s.until_ms - now, want);
        /* mail that was under way lengthens nothing */
        assert_int_equal(rmd_sender_told(&s, 4 * HOUR, RMD_SENDER_FOR_NOW, false, now + MINUTE), RMD_SENDER_NOTHING);
        assert_int_equal(s.until_ms - now, want);
        assert_int_equal(rmd_sender_room(&s, 0), 0);
        assert_false(rmd_sender_tick(&s, s.until_ms - 1));
        now = s.until_ms;
        assert_true(rmd_sender_tick(&s, now));
        assert_int_equal(rmd_sender_room(&s, 0), RMD_SENDER_PROBE);
        assert_int_equal(rmd_sender_room(&s, 1), 0); /* one lease at a time */
        want = 2 * want < RMD_SENDER_REST_MAX_MS ? 2 * want : RMD_SENDER_REST_MAX_MS;
    }
    struct rmd_sender shortest = {0};
    rmd_sender_told(&shortest, MINUTE, RMD_SENDER_FOR_NOW, false, HOUR);
    assert_int_equal(shortest.until_ms - HOUR, RMD_SENDER_REST_MIN_MS);
}

/* Ten minutes, and ten more each time; of a domain that is refused for another reason, that one counts from the beginning. */
static void a_rest_for_its_rate_is_short_and_says_little(void **state) {
    (void)state;
    struct rmd_sender s = {0};
    int64_t now = HOUR;
    for (int i = 1; i <= 6; i++) {
        assert_int_equal(rmd_sender_told(&s, MINUTE, RMD_SENDER_RATE, false, now), RMD_SENDER_REST);
        assert_int_equal(s.until_ms - now, i * RMD_SENDER_RATE_REST_MIN_MS);
        assert_int_equal(rmd_sender_told(&s, MINUTE, RMD_SENDER_RATE, false, now + MINUTE), RMD_SENDER_NOTHING);
        now = s.until_ms;
        assert_true(rmd_sender_tick(&s, now));
    }
    assert_false(rmd_sender_sure(&s, now + RMD_SENDER_PERSISTS_MS));
    assert_int_equal(rmd_sender_told(&s, 3 * HOUR, RMD_SENDER_RATE, false, now), RMD_SENDER_REST);
    assert_int_equal(s.until_ms - now, 3 * HOUR); /* what a node says has grown already */
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_NOW, false, now + MINUTE), RMD_SENDER_REST);
    assert_int_equal(s.until_ms - now - MINUTE, RMD_SENDER_REST_MIN_MS);
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_RATE, false, now + 2 * MINUTE), RMD_SENDER_NOTHING);
    struct rmd_sender open = {0}; /* each such word is heard, however many were accepted before */
    rmd_sender_told(&open, MINUTE, RMD_SENDER_RATE, false, HOUR);
    rmd_sender_tick(&open, open.until_ms);
    for (int i = 0; i < 2 * RMD_SENDER_PROBED; i++)
        rmd_sender_answered(&open, RMD_SENDER_ACCEPTED);
    assert_int_equal(open.state, RMD_SENDER_OPEN);
    assert_int_equal(rmd_sender_told(&open, MINUTE, RMD_SENDER_RATE, false, 2 * HOUR), RMD_SENDER_REST);
    struct rmd_sender often = {.rests = UINT32_MAX - 1, .since_ms = HOUR, .last_ms = HOUR, .by_rate = true};
    rmd_sender_told(&often, HOUR, RMD_SENDER_RATE, false, 2 * HOUR);
    assert_int_equal(often.until_ms, 2 * HOUR + RMD_SENDER_REST_MAX_MS);
}

static void probing_doubles_opens_and_tolerates_a_few(void **state) {
    (void)state;
    struct rmd_sender s = {0};
    rmd_sender_told(&s, 0, RMD_SENDER_FOR_NOW, false, HOUR);
    rmd_sender_tick(&s, s.until_ms);
    for (int i = 0; i < 20; i++)
        assert_int_equal(rmd_sender_answered(&s, RMD_SENDER_ACCEPTED), RMD_SENDER_NOTHING);
    assert_int_equal(rmd_sender_room(&s, 0), RMD_SENDER_PROBE + 20);
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_NOW, false, 3 * HOUR),
                     RMD_SENDER_NOTHING); /* one of twenty */
    rmd_sender_answered(&s, RMD_SENDER_REFUSED);
    for (int i = 20; i < RMD_SENDER_PROBED - 1; i++)
        rmd_sender_answered(&s, RMD_SENDER_ACCEPTED);
    assert_int_equal(rmd_sender_answered(&s, RMD_SENDER_ACCEPTED), RMD_SENDER_REOPEN);
    assert_int_equal(rmd_sender_room(&s, 100000), UINT32_MAX);
    for (int i = 0; i < 11; i++)
        rmd_sender_answered(&s, RMD_SENDER_REFUSED);
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_NOW, false, 4 * HOUR),
                     RMD_SENDER_REST);                                   /* more than one of ten */
    assert_int_equal(s.until_ms - 4 * HOUR, 2 * RMD_SENDER_REST_MIN_MS); /* the second in a row */
    rmd_sender_tick(&s, s.until_ms);
    for (int i = 0; i < RMD_SENDER_PROBED; i++)
        rmd_sender_answered(&s, RMD_SENDER_ACCEPTED);
    int64_t later = s.last_ms + RMD_SENDER_FORGET_MS + 1; /* new trouble: the first rest again */
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_NOW, false, later), RMD_SENDER_REST);
    assert_int_equal(s.until_ms - later, RMD_SENDER_REST_MIN_MS);
}

static void refusals_for_good_pause_when_they_repeat(void **state) {
    (void)state;
    struct rmd_sender s = {0}, rests = {0}, mixed = {0};
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_GOOD, false, HOUR),
                     RMD_SENDER_REST); /* one may be about one message */
    for (int i = 1; i < RMD_SENDER_REFUSALS; i++)
        assert_int_equal(rmd_sender_answered(&s, RMD_SENDER_REFUSED_FOR_GOOD), RMD_SENDER_NOTHING);
    assert_int_equal(rmd_sender_answered(&s, RMD_SENDER_REFUSED_FOR_GOOD), RMD_SENDER_PAUSE);
    assert_false(rmd_sender_tick(&s, 1000 * (int64_t)HOUR)); /* until a person says so */
    rmd_sender_retry(&s);
    assert_int_equal(s.state, RMD_SENDER_PROBING);
    assert_false(rmd_sender_sure(&s, 0)); /* what was counted is void */
    int64_t now = HOUR;
    for (int i = 1; i < RMD_SENDER_RESTS; i++) {
        assert_int_equal(rmd_sender_told(&rests, 0, RMD_SENDER_FOR_GOOD, false, now), RMD_SENDER_REST);
        rmd_sender_tick(&rests, now = rests.until_ms);
    }
    assert_int_equal(rmd_sender_told(&rests, 0, RMD_SENDER_FOR_GOOD, false, now), RMD_SENDER_PAUSE);
    rmd_sender_told(&mixed, 0, RMD_SENDER_FOR_GOOD, false, HOUR);
    for (int i = 0; i < 3 * RMD_SENDER_REFUSALS; i++) { /* half is not most */
        rmd_sender_answered(&mixed, RMD_SENDER_ACCEPTED);
        assert_int_equal(rmd_sender_answered(&mixed, RMD_SENDER_REFUSED_FOR_GOOD), RMD_SENDER_NOTHING);
    }
    assert_false(rmd_sender_sure(&mixed, HOUR));
}

static void who_is_sure(void **state) {
    (void)state;
    struct rmd_sender s = {0}, late = {0};
    rmd_sender_told(&s, 0, RMD_SENDER_FOR_GOOD, false, HOUR);
    for (int i = 0; i < RMD_SENDER_REFUSALS_AGREED; i++) {
        assert_false(rmd_sender_sure(&s, HOUR));
        rmd_sender_answered(&s, RMD_SENDER_REFUSED_FOR_GOOD);
    }
    assert_true(rmd_sender_sure(&s, HOUR));
    int64_t now = HOUR; /* for now, again and again: 4, 8 and 16 hours */
    for (int i = 0; i < RMD_SENDER_RESTS; i++) {
        rmd_sender_told(&late, 4 * HOUR, RMD_SENDER_FOR_NOW, false, now);
        assert_false(rmd_sender_sure(&late, now));
        rmd_sender_tick(&late, now = late.until_ms);
    }
    assert_true(rmd_sender_sure(&late, now));
}

static void other_needs_a_crowd(void **state) {
    (void)state;
    struct rmd_sender s = {0};
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_GOOD, true, HOUR), RMD_SENDER_TELL);
    for (int i = 0; i < 60; i++)
        rmd_sender_answered(&s, RMD_SENDER_ACCEPTED);
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_GOOD, true, HOUR), RMD_SENDER_NOTHING);
    for (int i = 0; i < 10; i++)
        rmd_sender_answered(&s, RMD_SENDER_REFUSED_FOR_GOOD);
    assert_int_equal(rmd_sender_told(&s, 0, RMD_SENDER_FOR_GOOD, true, HOUR), RMD_SENDER_REST);
}

/* ---- in the cluster */

static const struct rmd_verdict reputation = {.class = RMD_CLASS_DOMAIN_BLOCKLISTED,
                                              .scope = RMD_SCOPE_SENDING_DOMAIN,
                                              .at_provider = true,
                                              .action = RMD_ACTION_PAUSE,
                                              .duration_ms = 4 * HOUR,
                                              .rule = "reputation"},
                                rate = {.class = RMD_CLASS_RATE_LIMITED,
                                        .scope = RMD_SCOPE_SENDING_DOMAIN | RMD_SCOPE_LANE,
                                        .at_provider = true,
                                        .action = RMD_ACTION_REST,
                                        .duration_ms = 10 * MINUTE,
                                        .rule = "rate"},
                                content = {.class = RMD_CLASS_SPAM_CONTENT,
                                           .scope = RMD_SCOPE_MESSAGE | RMD_SCOPE_CAMPAIGN,
                                           .at_provider = true,
                                           .action = RMD_ACTION_PAUSE,
                                           .rule = "content"};

struct stage {
    struct cw *w;
    struct cw_node *node[SOURCES];
    uint32_t source[SOURCES], stream[STREAMS];
    struct rmd_id campaign[STREAMS];
    uint32_t refuses; /* the provider that refuses the domain, or 0 */
    bool for_good;
    uint32_t first; /* of the recipients that come next */
};

static void refuse(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email, Remuda__Outcome *o) {
    const struct stage *x = w->ctx;
    (void)n, (void)email;
    if (l->provider != x->refuses || memcmp(l->campaign.b, x->campaign[PROMO].b, 10) == 0)
        return;
    cw_outcome_fill(o, x->for_good ? RMD_OUTCOME_BOUNCED : RMD_OUTCOME_DEFERRED, RMD_CLASS_DOMAIN_BLOCKLISTED,
                    RMD_ACTION_PAUSE, RMD_SCOPE_SENDING_DOMAIN, false);
    o->reply->code = x->for_good ? 550 : 421;
    o->verdict->duration_ms = 4 * HOUR;
}

static void submit(struct stage *x, int stream, uint32_t n) {
    static const char *const all[] = {"g.test", "y.test", "o.test", NULL};
    x->campaign[stream] = cw_submit(x->w, stream_name[stream], all, n, x->first);
    x->first += n;
}

static void build(struct stage *x, uint32_t without) {
    static const char *const address[SOURCES] = {"203.0.113.7", "198.51.100.7"}, *const node[SOURCES] = {"n1", "n2"};
    struct cw *w = x->w = rmd_alloc(sizeof *x->w);
    cw_init(w, 11);
    w->o.without = without;
    cw_crash(w, false); /* the options hold from the start on */
    w->answer = refuse;
    w->ctx = x;
    w->alarm_code = 421;
    for (int i = 0; i < STREAMS; i++) {
        Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
        s.priority = i == URGENT ? 0 : 2;
        s.sending_domain = (char *)(uintptr_t)(i == PROMO ? "promo.test" : i == OFFERS ? "News.test" : "news.test");
        x->stream[i] = cw_stream(w, stream_name[i], &s);
    }
    for (int i = 0; i < SOURCES; i++) {
        x->node[i] = cw_node_add(w, node[i]);
        x->node[i]->holds = true;
        x->source[i] = cw_source(w, address[i], node[i], 1200); /* so that both have some */
    }
    for (int i = 0; i < STREAMS; i++)
        submit(x, i, i == URGENT ? 60 : 1500);
    cw_pass(w, 2000, 200);
}

static void tear_down(struct stage *x) {
    cw_release(x->w);
    free(x->w);
}

static size_t held(const struct stage *x, int stream, int place) {
    size_t n = 0;
    for (int s = 0; s < SOURCES; s++)
        for (size_t i = 0; i < x->node[s]->n_leases; i++) {
            const struct cw_lease *l = x->node[s]->lease[i];
            bool this = memcmp(l->campaign.b, x->campaign[stream].b, 10) == 0;
            n += this && l->provider == rmd_provider_id(provider[place]) ? l->n : 0;
        }
    return n;
}

static void hear(struct stage *x, int source, int place, int stream, const struct rmd_verdict *v) {
    cw_alarm(x->w, x->node[source], x->source[source], rmd_provider_id(provider[place]), v, x->stream[stream]);
    cw_pass(x->w, 1000, 200); /* the time that a stop may take */
}

static void flow(struct stage *x, bool on) {
    for (int i = 0; i < SOURCES; i++) {
        x->node[i]->holds = !on;
        if (on)
            cw_answer_all(x->w, x->node[i]);
    }
}

struct said {
    char text[400];
    size_t n;
};

static void say(struct said *s, const char *one) {
    assert_true(rmd_copy(s->text + s->n, sizeof s->text - s->n, one));
    s->n += strlen(one);
}

static void on_sender(void *ctx, const struct rmd_sender_view *v) {
    char one[120];
    rmd_format(one, sizeof one, "%s@%s:%s ", v->domain, v->provider, v->state);
    say(ctx, one);
}

static void on_stream(void *ctx, const Remuda__StreamRecord *r) {
    char one[120];
    rmd_format(one, sizeof one, "%s ", r->name);
    if (r->state)
        say(ctx, one);
}

static void senders_are(const struct stage *x, const char *wanted) {
    struct said s = {"", 0};
    rmd_coord_senders(x->w->core, on_sender, &s);
    assert_string_equal(s.text, wanted);
}

static void paused_are(const struct stage *x, const char *wanted) {
    struct said s = {"", 0};
    rmd_coord_streams(x->w->core, on_stream, &s);
    assert_string_equal(s.text, wanted);
}

struct open_incidents {
    uint64_t newest;
    size_t n;
};

static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct open_incidents *o = ctx;
    if (r->state)
        return;
    o->n++;
    o->newest = r->id > o->newest ? r->id : o->newest;
}

static struct open_incidents incidents(const struct stage *x) {
    struct open_incidents o = {0};
    rmd_coord_incidents(x->w->core, on_incident, &o);
    return o;
}

static void resolve(struct stage *x, uint64_t id) {
    struct rmd_command m = {.kind = RMD_CMD_INCIDENT_RESOLVE, .number = id, .reason = "mended"};
    assert_int_equal(cw_command(x->w, &m), RMD_OK);
}

struct why {
    const char *stream, *provider;
    char text[200];
};

static void on_queue(void *ctx, const struct rmd_queue_view *q) {
    struct why *y = ctx;
    if (strcmp(q->stream, y->stream) == 0 && strcmp(q->provider, y->provider) == 0)
        rmd_copy(y->text, sizeof y->text, q->waits_for);
}

static void waits_for(const struct stage *x, int stream, int place, const char *wanted) {
    struct why y = {stream_name[stream], provider[place], ""};
    rmd_coord_queues(x->w->core, on_queue, &y);
    if (!strstr(y.text, wanted))
        fail_msg("%s at %s waits for \"%s\", not for \"%s\"", y.stream, y.provider, y.text, wanted);
}

/* Two networks at one provider: nobody else is asked to stop. */
static void it_rests_at_the_provider_and_nowhere_else(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    assert_true(held(&x, BULK, GOOGLE) && held(&x, OFFERS, GOOGLE) && held(&x, BULK, YAHOO) &&
                held(&x, PROMO, GOOGLE));
    hear(&x, A, GOOGLE, BULK, &reputation);
    hear(&x, C, GOOGLE, BULK, &reputation);
    for (int again = 0; again < 2; again++) {
        senders_are(&x, "news.test@google:resting ");
        paused_are(&x, "");
        assert_int_equal(held(&x, BULK, GOOGLE) + held(&x, OFFERS, GOOGLE), 0); /* streams of one domain */
        assert_true(held(&x, BULK, YAHOO) && held(&x, BULK, OTHER) && held(&x, PROMO, GOOGLE) &&
                    held(&x, URGENT, GOOGLE));
        waits_for(&x, BULK, GOOGLE, "sending domain news.test rests there until ");
        assert_int_equal(incidents(&x).n, 1);
        cw_crash(x.w, false); /* durable */
        cw_pass(x.w, 2000, 200);
    }
    tear_down(&x);
}

/* "An unusual rate of mail from your DKIM domain": every lane there would be told the same. It passes, and nobody is called. */
static void its_rate_rests_the_domain_on_every_lane(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    assert_true(held(&x, BULK, GOOGLE) && held(&x, OFFERS, GOOGLE));
    hear(&x, A, GOOGLE, BULK, &rate);
    for (int again = 0; again < 2; again++) {
        senders_are(&x, "news.test@google:resting ");
        assert_int_equal(held(&x, BULK, GOOGLE) + held(&x, OFFERS, GOOGLE), 0);
        assert_true(held(&x, BULK, YAHOO) && held(&x, PROMO, GOOGLE) && held(&x, URGENT, GOOGLE));
        waits_for(&x, BULK, GOOGLE, "sending domain news.test sends more than is usual there, and rests until ");
        assert_int_equal(incidents(&x).n, 0);
        cw_crash(x.w, false); /* durable */
        cw_pass(x.w, 2000, 200);
    }
    cw_pass(x.w, 8 * MINUTE, MINUTE);
    assert_int_equal(held(&x, BULK, GOOGLE), 0);
    flow(&x, true);
    cw_pass(x.w, HOUR, 10000);
    senders_are(&x, "");
    paused_are(&x, "");
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(cw_campaign(x.w, &x.campaign[i], NULL)->delivered, i == URGENT ? 60 : 1500);
    tear_down(&x);
}

/* A person resolved what was; that it is too fast now is another matter, and the resolved incident says nothing of it. */
static void a_rate_rest_leaves_what_was_resolved_alone(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    hear(&x, A, GOOGLE, BULK, &reputation);
    struct open_incidents o = incidents(&x);
    assert_int_equal(o.n, 1);
    resolve(&x, o.newest);
    cw_pass(x.w, 1000, 200);
    hear(&x, A, GOOGLE, BULK, &rate);
    senders_are(&x, "news.test@google:resting ");
    assert_int_equal(incidents(&x).n, 0);
    struct why y = {stream_name[BULK], provider[GOOGLE], ""};
    rmd_coord_queues(x.w->core, on_queue, &y);
    assert_null(strstr(y.text, "incident"));
    tear_down(&x);
}

/* What is refused for good while the rate rests is heard, and has its incident. */
static void a_refusal_is_heard_while_its_rate_rests(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    hear(&x, A, GOOGLE, BULK, &rate);
    assert_int_equal(incidents(&x).n, 0);
    hear(&x, C, GOOGLE, BULK, &reputation);
    assert_int_equal(incidents(&x).n, 1);
    waits_for(&x, BULK, GOOGLE, "sending domain news.test rests there until ");
    cw_pass(x.w, 3 * HOUR, MINUTE);
    senders_are(&x, "news.test@google:resting ");
    tear_down(&x);
}

/* The rest's end, few recipients first, all of it at last; nothing is lost. */
static void it_comes_back_by_few_recipients(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    hear(&x, A, GOOGLE, BULK, &reputation);
    x.refuses = 0;
    cw_pass(x.w, 4 * HOUR - 10 * MINUTE, MINUTE);
    assert_int_equal(held(&x, BULK, GOOGLE), 0);
    cw_pass(x.w, 20 * MINUTE, MINUTE);
    senders_are(&x, "news.test@google:probing ");
    assert_int_equal(held(&x, BULK, GOOGLE) + held(&x, OFFERS, GOOGLE), RMD_SENDER_PROBE);
    flow(&x, true);
    cw_pass(x.w, 5 * MINUTE, 1000);
    senders_are(&x, "");
    assert_int_equal(incidents(&x).n, 0);
    assert_true(cw_events(x.w, "sender.opened") == 1);
    cw_pass(x.w, HOUR, 10000);
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(cw_campaign(x.w, &x.campaign[i], NULL)->delivered, i == URGENT ? 60 : 1500);
    tear_down(&x);
}

/* What was refused for now waits for the rest's end, not longer. */
static void what_was_refused_waits_for_the_rest(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    x.refuses = rmd_provider_id("google");
    hear(&x, A, GOOGLE, BULK, &reputation);
    flow(&x, true);
    cw_pass(x.w, HOUR, 10000);
    submit(&x, BULK, 3);
    size_t before = 0;
    for (size_t i = 0; i < x.w->n_rcpts; i++)
        before += x.w->rcpt[i].provider == rmd_provider_id("google");
    x.refuses = 0;
    cw_pass(x.w, 2 * HOUR, MINUTE);
    size_t bulk = 0;
    for (size_t i = 0, n = 0; i < x.w->n_rcpts; i++)
        bulk += x.w->rcpt[i].provider == rmd_provider_id("google") && ++n > before &&
                x.w->rcpt[i].kind == RMD_OUTCOME_DELIVERED;
    assert_in_range(bulk, 0, 20); /* transactional ones only: sixty in all, a third there */
    cw_pass(x.w, 3 * HOUR, MINUTE);
    assert_int_equal(cw_campaign(x.w, &x.campaign[BULK], NULL)->delivered, 3);
    assert_int_equal(cw_campaign(x.w, &x.campaign[OFFERS], NULL)->delivered, 1500);
    tear_down(&x);
}

static void transactional_mail_is_slowed_and_goes_on(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    hear(&x, A, GOOGLE, URGENT, &reputation);
    assert_int_equal(incidents(&x).n, 1); /* a page */
    senders_are(&x, "news.test@google:resting ");
    flow(&x, true);
    cw_pass(x.w, MINUTE, 1000);
    submit(&x, URGENT, 300); /* a third at google */
    size_t from = x.w->n_rcpts;
    cw_pass(x.w, 3 * MINUTE, 1000);
    size_t n = 0;
    for (size_t i = from; i < x.w->n_rcpts; i++)
        n += x.w->rcpt[i].provider == rmd_provider_id("google") && strncmp(x.w->rcpt[i].email, "user", 4) == 0 &&
             strtoul(x.w->rcpt[i].email + 4, NULL, 10) >= x.first - 300;
    assert_in_range(n, 2 * RMD_SENDER_URGENT_PER_MINUTE, 4 * RMD_SENDER_URGENT_PER_MINUTE);
    waits_for(&x, URGENT, GOOGLE, "transactional mail is slowed");
    cw_pass(x.w, 15 * MINUTE, 1000);
    assert_int_equal(cw_campaign(x.w, &x.campaign[URGENT], NULL)->delivered, 300);
    tear_down(&x);
}

static void refuse_for_good(struct stage *x, int place) {
    x->refuses = rmd_provider_id(provider[place]);
    x->for_good = true;
    x->w->alarm_code = 550;
    cw_alarm(x->w, x->node[A], x->source[A], rmd_provider_id(provider[place]), &reputation, x->stream[BULK]);
    flow(x, true); /* it was read with the first of these */
    cw_pass(x->w, 2000, 200);
    flow(x, false);
    cw_pass(x->w, 2000, 200);
}

static void refused_for_good_it_pauses_there_until_a_person_resolves(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    refuse_for_good(&x, GOOGLE);
    senders_are(&x, "news.test@google:paused ");
    paused_are(&x, "");
    submit(&x, BULK, 300);
    cw_pass(x.w, 3 * 24 * HOUR, HOUR / 4);
    senders_are(&x, "news.test@google:paused ");
    waits_for(&x, BULK, GOOGLE, "paused there until a person resolves");
    x.refuses = 0;
    resolve(&x, incidents(&x).newest);
    senders_are(&x, "news.test@google:probing ");
    flow(&x, true);
    cw_pass(x.w, HOUR, 1000);
    assert_int_equal(cw_campaign(x.w, &x.campaign[BULK], NULL)->delivered, 300);
    tear_down(&x);
}

/* The breaker: every bulk stream of the domain, once two named providers are sure. */
static void two_named_providers_stop_it_everywhere(void **state) {
    (void)state;
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        struct stage x = {0};
        build(&x, 0);
        refuse_for_good(&x, GOOGLE);
        submit(&x, BULK, 300);
        cw_pass(x.w, 2000, 200);
        refuse_for_good(&x, OTHER);
        paused_are(&x, ""); /* nobody in particular */
        submit(&x, BULK, 300);
        cw_pass(x.w, 2000, 200);
        refuse_for_good(&x, YAHOO);
        paused_are(&x, "bulk offers ");
        for (int p = 0; p < PLACES; p++)
            assert_int_equal(held(&x, BULK, p) + held(&x, OFFERS, p), 0);
        cw_crash(x.w, false);
        cw_pass(x.w, 24 * HOUR, HOUR);
        paused_are(&x, "bulk offers ");
        x.refuses = 0;
        if (by_stream) {
            for (int i = BULK; i <= OFFERS; i++) {
                struct rmd_command m = {.kind = RMD_CMD_STREAM_STATE, .tenant = 1, .name = stream_name[i]};
                assert_int_equal(cw_command(x.w, &m), RMD_OK);
            }
        } else {
            resolve(&x, incidents(&x).newest);
        }
        paused_are(&x, "");
        struct said s = {"", 0};
        rmd_coord_senders(x.w->core, on_sender, &s);
        assert_true(strstr(s.text, "google:probing ") && strstr(s.text, "yahoo:probing "));
        tear_down(&x);
    }
}

static void content_stops_at_the_provider_first(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, 0);
    struct rmd_campaign_view v;
    hear(&x, A, GOOGLE, BULK, &content);
    assert_true(held(&x, BULK, GOOGLE) > 0);
    hear(&x, C, GOOGLE, BULK, &content);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(held(&x, BULK, GOOGLE), 0);
        assert_true(held(&x, BULK, YAHOO) && held(&x, OFFERS, GOOGLE));
        assert_int_equal(cw_campaign(x.w, &x.campaign[BULK], &v)->state, RMD_CAMPAIGN_ACTIVE);
        waits_for(&x, BULK, GOOGLE, "its content is refused there");
        cw_crash(x.w, false);
        cw_pass(x.w, 2000, 200);
    }
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_STATE,
                            .tenant = 1,
                            .id = x.campaign[BULK],
                            .state = RMD_CAMPAIGN_ACTIVE,
                            .reason = "looked at"};
    assert_int_equal(cw_command(x.w, &m), RMD_OK);
    cw_pass(x.w, 1000, 200);
    assert_true(held(&x, BULK, GOOGLE) > 0);
    tear_down(&x);
}

static void without_the_breaker_nothing_stops(void **state) {
    (void)state;
    struct stage x = {0};
    build(&x, RMD_WITHOUT_BREAKER);
    hear(&x, A, GOOGLE, BULK, &reputation);
    hear(&x, C, YAHOO, BULK, &reputation);
    hear(&x, A, GOOGLE, BULK, &content);
    hear(&x, C, YAHOO, BULK, &content);
    senders_are(&x, "");
    paused_are(&x, "");
    assert_true(held(&x, BULK, GOOGLE) && held(&x, BULK, YAHOO));
    tear_down(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rest_is_as_long_as_was_said_and_doubles),
        cmocka_unit_test(a_rest_for_its_rate_is_short_and_says_little),
        cmocka_unit_test(its_rate_rests_the_domain_on_every_lane),
        cmocka_unit_test(a_refusal_is_heard_while_its_rate_rests),
        cmocka_unit_test(a_rate_rest_leaves_what_was_resolved_alone),
        cmocka_unit_test(probing_doubles_opens_and_tolerates_a_few),
        cmocka_unit_test(refusals_for_good_pause_when_they_repeat),
        cmocka_unit_test(who_is_sure),
        cmocka_unit_test(other_needs_a_crowd),
        cmocka_unit_test(it_rests_at_the_provider_and_nowhere_else),
        cmocka_unit_test(it_comes_back_by_few_recipients),
        cmocka_unit_test(what_was_refused_waits_for_the_rest),
        cmocka_unit_test(transactional_mail_is_slowed_and_goes_on),
        cmocka_unit_test(refused_for_good_it_pauses_there_until_a_person_resolves),
        cmocka_unit_test(two_named_providers_stop_it_everywhere),
        cmocka_unit_test(content_stops_at_the_provider_first),
        cmocka_unit_test(without_the_breaker_nothing_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
