/* Stories of stopping: verdicts, recalls in each state, suppressions, validity, age, provider changes, the end. */
#include "tests/unit/worker/world.h"

static const char *blocked_greeting(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    return !strcmp(l, "GREETING") && c->from.b[2] == 114 ? "554 5.7.1 blocked using list.test\r\n" : NULL;
}

static void a_blocking_greeting_stops_the_lane_and_bounces_nobody(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = blocked_greeting;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 20});
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 3, .source = 2});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 20);
    assert_int_equal(world_count(x, RMD_OUTCOME_BOUNCED, 0), 0);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 3); /* another source has nothing to do with it */
    assert_int_equal(x->alarms, 1);
    assert_int_equal(x->alarm_action, RMD_ACTION_QUARANTINE);
    assert_int_equal(x->alarm_source, 1);
    assert_string_equal(x->alarm_domain, "big.test");
    assert_string_equal(x->alarm_text, "554 5.7.1 blocked using list.test");
    world_lease(x, (struct world_lease){.id = 3, .provider = "big", .domain = "big.test", .n = 5});
    world_lease(x, (struct world_lease){.id = 4, .domain = "a.test", .n = 1}); /* another lane of the same source */
    x->answer = NULL;
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 25);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 4);
    world_free(x);
}

static const char *rdns_at_small(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    return !strncmp(l, "RCPT", 4) && c->from.b[2] == 114 && strstr(l, "small")
               ? "450 4.7.25 cannot find your reverse hostname\r\n"
               : NULL;
}

/* A broken resolver at one receiver, and a rule that doesn't bind its verdict to the provider. */
static void one_receiver_never_stops_a_source_everywhere(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = rdns_at_small;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 3});
    world_run(x, 1000);
    assert_int_equal(x->alarms, 1);
    assert_int_equal(x->alarm_action, RMD_ACTION_QUARANTINE);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0) + world_count(x, RMD_OUTCOME_BOUNCED, 0), 0);
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 12});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 12);
    size_t back = world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED);
    world_lease(x, (struct world_lease){.id = 3, .domain = "small.test", .n = 4}); /* the site that was stopped */
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SITE_STOPPED), back + 4);
    world_free(x);
}

static const char *one_blocked_rest_silent(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    if (x->flag == 1 && !strncmp(l, "MAIL", 4))
        return x->count++ ? "!silent" : "250 ok\r\n";
    if (x->flag == 1 && !strncmp(l, "RCPT", 4) && x->count > 1)
        return "!silent";
    if (x->flag == 1 && !strcmp(l, "DATA") && x->count > 1)
        return "!silent";
    return x->flag == 2 && !strcmp(l, ".") ? "!silent" : NULL;
}

static struct world_event *bytes(struct world *x, uint32_t conn, const char *s) {
    struct world_event *e = world_push(x, RMD_WE_BYTES);
    e->e.conn = conn;
    rmd_buf_addstr(&e->bytes, s);
    return e;
}

/* Three connections: one reads the block, one is before the dot, one behind it. */
static void a_block_aborts_before_the_dot_and_waits_behind_it(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 12});
    world_run(x, 100);
    assert_int_equal(x->outcomes, 12);
    assert_true(x->conns_now >= 3);
    x->answer = one_blocked_rest_silent;
    x->flag = 2; /* dots go unanswered */
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 1});
    world_settle(x);
    size_t dots = x->marks[2];
    x->flag = 1;
    x->count = 1; /* the next ones stay before the dot */
    world_lease(x, (struct world_lease){.id = 3, .provider = "big", .domain = "big.test", .n = 4});
    world_settle(x);
    size_t mails = x->mail_n, before = x->outcomes;
    assert_int_equal(x->marks[2], dots);
    uint32_t hit = WORLD_CONNS, behind = WORLD_CONNS;
    for (uint32_t i = 0; i < WORLD_CONNS; i++) {
        if (x->conn[i].open && x->conn[i].messages && strstr(rmd_buf_str(&x->log), "MAIL")) {
            char tail[64];
            (void)rmd_format(tail, sizeof tail, "%lld %u .\n", (long long)x->now, i);
            if (strstr(rmd_buf_str(&x->log) + x->log.len / 2, tail) && behind == WORLD_CONNS)
                behind = i;
        }
    }
    struct rmd_worker_stats s;
    rmd_worker_stats(x->w, &s);
    assert_true(s.open_transactions >= 2);
    for (uint32_t i = 0; i < WORLD_CONNS && hit == WORLD_CONNS; i++)
        if (x->conn[i].open && i != behind)
            hit = i;
    assert_true(hit < WORLD_CONNS && behind < WORLD_CONNS && hit != behind);
    bytes(x, hit, "550 5.7.1 blocked using list.test\r\n");
    world_settle(x);
    assert_int_equal(x->mail_n, mails); /* no MAIL after the verdict */
    rmd_worker_stats(x->w, &s);
    assert_int_equal(s.open_transactions, 1); /* the sent dot */
    assert_int_equal(s.waiting, 0);
    size_t deferred = 0, returned = 0;
    for (size_t i = before; i < x->outcomes; i++) {
        deferred += x->outcome[i].kind == RMD_OUTCOME_DEFERRED;
        returned += x->outcome[i].kind == RMD_OUTCOME_RETURNED && x->outcome[i].reason == RMD_RETURN_SOURCE_STOPPED;
        assert_true(x->outcome[i].kind != RMD_OUTCOME_BOUNCED);
    }
    assert_int_equal(deferred, 1); /* it heard the block itself: free to move, not failed */
    assert_int_equal(returned, 3);
    bytes(x, behind, "250 2.0.0 queued\r\n");
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 13);
    assert_int_equal(x->conns_now, 0);
    world_free(x);
}

static void a_stop_ends_when_a_policy_lifts_it(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    x->answer = blocked_greeting;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 1});
    world_run(x, 100);
    x->answer = NULL;
    world_policy_init(&p);
    world_policy(x, &p); /* left before the alarm arrived: lifts nothing */
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 2);
    p.quarantined[0] = p.provider[0].id;
    p.source[0].quarantined_provider = p.quarantined;
    p.source[0].n_quarantined_provider = 1;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 3, .provider = "big", .domain = "big.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 3);
    world_run(x, 5000);
    assert_true(x->pace.rest_ms > 0);
    p.source[0].n_quarantined_provider = 0;
    world_policy(x, &p);
    world_run(x, 2000);
    assert_int_equal(x->pace.rest_ms, 0); /* it tells that its rest is over, too */
    world_lease(x, (struct world_lease){.id = 4, .provider = "big", .domain = "big.test", .n = 3});
    world_run(x, 15000);
    assert_in_range(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1, 2); /* not back at once to what it was */
    world_run(x, 60000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 3);
    world_free(x);
}

/* Whoever lifted it asks whether the block is over, and must hear that it isn't, however soon that is. */
static void the_same_block_is_told_again_after_a_lift(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_lease(x, (struct world_lease){.id = 9, .provider = "big", .domain = "big.test", .n = 100});
    world_run(x, 60000); /* it has a pace, and no connection */
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 100);
    x->answer = blocked_greeting;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(x->alarms, 1);
    world_policy_init(&p);
    p.quarantined[0] = p.provider[0].id;
    p.source[0].quarantined_provider = p.quarantined;
    p.source[0].n_quarantined_provider = 1;
    world_policy(x, &p);
    p.source[0].n_quarantined_provider = 0;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 1});
    world_run(x, 4500);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SOURCE_STOPPED), 2);
    assert_int_equal(x->alarms, 2);
    world_free(x);
}

/* Another HELO or address to bind: what was dialled before is another sender's, to a receiver. */
static void a_source_that_changes_dials_anew(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 2});
    world_run(x, 100);
    size_t dials = x->dials;
    assert_true(dials > 0);
    world_policy(x, &p); /* the same again: the kept connection serves */
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(x->dials, dials);
    p.source[0].helo = STR("new.example.org");
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 3, .domain = "a.test", .n = 1});
    world_run(x, 1000);
    assert_int_equal(x->dials, dials + 1);
    assert_non_null(strstr(rmd_buf_str(&x->log), "EHLO new.example.org"));
    p.source[0].bind = STR("203.0.114.9");
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 4, .domain = "a.test", .n = 1});
    world_run(x, 1000);
    assert_int_equal(x->dials, dials + 2);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 5);
    world_free(x);
}

static const char *domain_at_mail(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return !strncmp(l, "MAIL", 4) ? "421 4.7.0 very low reputation of the sending domain\r\n" : NULL;
}

/* Each stream's sending domain is its own, so that each is told once; nothing stops here but what is said of a source. */
static void what_is_said_of_a_sending_domain_is_told_for_each_stream(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = domain_at_mail;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 5});
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 5, .stream = 2});
    world_run(x, 1000);
    assert_int_equal(x->alarms, 2);
    assert_int_equal(x->alarm_action, RMD_ACTION_PAUSE);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 10);
    world_free(x);
}

static const char *busy_mail(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    return !strncmp(l, "RCPT", 4) && x->count++ == 5 ? "421 4.7.0 slow down\r\n" : NULL;
}

static void a_rate_verdict_slows_and_goes_on(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = busy_mail;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 40});
    world_run(x, 1000);
    assert_int_equal(x->alarms, 1);
    assert_int_equal(x->alarm_action, RMD_ACTION_SLOW);
    size_t early = x->outcomes;
    assert_true(early < 40);
    world_run(x, 1200000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 39);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 1);
    world_free(x);
}

static const char *refuses_all(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    return x->flag && !strncmp(l, "MAIL", 4) ? "421 4.7.0 slow down\r\n" : NULL;
}

/* Half of the rate, and refused again with nothing accepted in between: it rests, and longer each time, until something is accepted. */
static void who_refuses_again_is_left_alone(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = refuses_all;
    x->flag = 1;
    uint64_t id = 1;
    const int64_t rests[] = {60000, 120000, 180000};
    for (size_t i = 0; i < 3; i++) {
        size_t n = x->alarms;
        world_lease(x, (struct world_lease){.id = id++, .provider = "big", .domain = "big.test", .n = 9});
        world_run(x, 45000);
        assert_int_equal(x->alarms, n + (i ? 1 : 2)); /* the slower pace, then the rest */
        assert_int_equal(x->alarm_action, RMD_ACTION_REST);
        assert_in_range(x->pace.rest_ms, rests[i] - 45000, rests[i]);
        assert_int_equal(x->outcomes, 9 * (id - 1)); /* what it had goes back */
        world_run(x, x->pace.rest_ms);
    }
    assert_in_range(world_count(x, RMD_OUTCOME_DEFERRED, 0), 4, 12); /* of 27: the others weren't tried */
    x->flag = 0;
    world_lease(x, (struct world_lease){.id = id, .provider = "big", .domain = "big.test", .n = 3});
    world_run(x, 300000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 3);
    x->flag = 1;
    for (int i = 0; i < 600 && !x->pace.rest_ms; i++) {
        if (i % 60 == 0)
            world_lease(x, (struct world_lease){.id = ++id, .provider = "big", .domain = "big.test", .n = 1});
        world_run(x, 1000);
    }
    assert_in_range(x->pace.rest_ms, 1, 60000); /* the first one again */
    world_free(x);
}

static bool dot_waits[WORLD_CONNS];

/* Two connections at a time; a message takes it until the script says so. */
static const char *crowded(struct world *x, struct world_conn *c, const char *l) {
    if (!strcmp(l, ".")) {
        dot_waits[c - x->conn] = true;
        return "!silent";
    }
    if (strcmp(l, "GREETING") != 0 || x->conns_now <= 2)
        return NULL;
    x->count++;
    return "421 4.7.0 too many connections\r\n";
}

static void take_dots(struct world *x) {
    for (uint32_t i = 0; i < WORLD_CONNS; i++) {
        if (dot_waits[i] && x->conn[i].open)
            bytes(x, i, "250 2.0.0 queued\r\n");
        dot_waits[i] = false;
    }
}

/* "Too many connections" says nothing of the rate. */
static void too_many_connections_narrows_and_keeps_the_rate(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = crowded;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 400});
    for (int i = 0; i < 400 && x->outcomes < 400; i++) {
        world_run(x, 500);
        take_dots(x);
        if (x->pace.n)
            assert_in_range(x->pace.connections, 1, 3); /* it tries one more now and then, and no more */
    }
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 400);
    assert_in_range(x->count, 2,
                    11); /* the first time, and once for each step up; who doesn't narrow hears it twice as often */
    assert_true(x->pace.slowed);
    assert_int_equal(x->pace.per_minute, 0);
    assert_int_equal(x->alarm_action, RMD_ACTION_NARROW);
    world_free(x);
}

static const char *seven_each(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    return !strncmp(l, "MAIL", 4) && c->messages >= 7 ? "421 4.7.0 enough on this connection\r\n" : NULL;
}

/* Refused once on each of the connections that are open then, and never again. */
static void a_connection_ends_where_the_receiver_ends_it(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = seven_each;
    world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 300});
    world_run(x, 60000);
    size_t held = world_count(x, RMD_OUTCOME_DEFERRED, 0);
    assert_in_range(held, 1, 10);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 300 - held);
    assert_false(x->pace.slowed);
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "big.test", .n = 200});
    world_run(x, 60000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), held);
    world_free(x);
}

static const char *rest_at_mail(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    return !strncmp(l, "MAIL", 4) && c->to.b[3] == 9 ? "451 4.7.0 rest please\r\n" : NULL;
}

static bool ninth(struct world *x, const char *name, struct rmd_addr_answer *a) {
    (void)x;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {93, 0, 0, strstr(name, "small") ? 9 : 8}};
    return true;
}

static void one_small_site_rests_alone(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = rest_at_mail;
    x->host = ninth;
    world_lease(x, (struct world_lease){.id = 1, .domain = "small.test", .n = 10});
    world_lease(x, (struct world_lease){.id = 2, .domain = "b.test", .n = 10});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 10);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 10);
    size_t dials = x->dials;
    world_lease(x, (struct world_lease){.id = 3, .domain = "small.test", .n = 1});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 11);
    assert_int_equal(x->dials, dials);
    world_free(x);
}

static void recall(struct world *x, uint64_t id, uint64_t lease, uint32_t source, const char *provider) {
    Remuda__Recall r;
    remuda__recall__init(&r);
    r.id = id;
    r.lease = &lease;
    r.n_lease = lease != 0;
    r.source = source;
    r.provider = provider ? rmd_provider_id(provider) : 0;
    world_tell(x, &(struct rmd_mail){.kind = RMD_MAIL_RECALL, .id = id}, &r);
}

static const char *silent_at(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    static const char *const at[] = {"GREETING", "EHLO", "MAIL", "."};
    return x->flag < 4 && !strncmp(l, at[x->flag], strlen(at[x->flag])) ? "!silent" : NULL;
}

static void recall_in_each_state(void **state) {
    (void)state;
    for (int flag = -1; flag < 4; flag++) {
        struct world *x = world_ready();
        x->answer = silent_at;
        x->flag = flag < 0 ? 9 : flag;
        x->hold_mx = flag < 0;
        x->ehlo = "250 mx\r\n";
        world_lease(x, (struct world_lease){.id = 1, .provider = "big", .domain = "big.test", .n = 5});
        world_settle(x);
        size_t open = flag >= 2;
        recall(x, 77, flag % 2 ? 1 : 0, flag % 2 ? 0 : 1, "big");
        assert_int_equal(x->recall_done, 77);
        assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_RECALLED), 5 - open);
        size_t mails = x->mail_n;
        world_run(x, 200000);
        assert_int_equal(x->mail_n, mails); /* nothing of it starts any more */
        assert_int_equal(x->outcomes, 5);
        world_free(x);
    }
}

static void a_recall_of_something_else_takes_nothing(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->hold_mx = true;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 5});
    recall(x, 78, 2, 2, "big");
    assert_int_equal(x->recall_done, 78);
    assert_int_equal(x->outcomes, 0);
    world_free(x);
}

static void suppress(struct world *x, uint64_t id, const char *email, uint32_t stream) {
    Remuda__Suppress s;
    uint64_t hash = rmd_address_hash(0, rmd_slice_str(email));
    remuda__suppress__init(&s);
    s.id = id;
    s.address_hash = &hash;
    s.n_address_hash = 1;
    s.stream = stream;
    world_tell(x, &(struct rmd_mail){.kind = RMD_MAIL_SUPPRESS, .id = id}, &s);
}

static void suppressed_addresses(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = silent_at;
    x->flag = 3;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 2}); /* u0 is open, u1 waits */
    world_settle(x);
    suppress(x, 1, "u1@a.test", 0);
    assert_int_equal(x->suppress_done, 1);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SUPPRESSED), 1);
    suppress(x, 2, "u0@a.test", 1);
    assert_int_equal(x->suppress_done, 1); /* its dot is out */
    bytes(x, 0, "250 ok\r\n");
    world_settle(x);
    assert_int_equal(x->suppress_done, 2);
    x->answer = NULL;
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 3}); /* was on its way */
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_SUPPRESSED), 3);
    suppress(x, 3, "u0@b.test", 2); /* another stream */
    world_lease(x, (struct world_lease){.id = 3, .domain = "b.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 3);
    world_free(x);
}

static void nothing_starts_without_time_to_end(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->hold_mx = true;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3});
    world_valid(x, x->now + 150000); /* the deadline of a transaction is 120 s */
    world_run(x, 29000);
    assert_int_equal(x->outcomes, 0);
    world_run(x, 2000);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_EXPIRING), 3);
    assert_int_equal(x->outcome[0].at_ms, 1000000 + 30001);
    world_free(x);
}

static void a_lost_session_starts_nothing(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_valid(x, 0);
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3});
    world_run(x, 10000);
    assert_int_equal(x->mail_n + x->outcomes, 0);
    world_valid(x, x->now + 600000);
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 3);
    world_free(x);
}

static void messages_grow_too_old(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->hold_mx = true;
    world_lease(
        x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3, .valid_until_wall_ms = x->wall + x->now + 5000});
    world_run(x, 4999);
    assert_int_equal(x->outcomes, 0);
    world_run(x, 1);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_AGE), 3);
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 1, .valid_until_wall_ms = 1});
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_AGE), 4);
    world_free(x);
}

static void another_provider_means_back_unsent(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x,
                (struct world_lease){.id = 1, .domain = "a.big.test", .n = 2}); /* leased for "other", MX is big's */
    world_lease(x, (struct world_lease){.id = 2, .provider = "big", .domain = "a.test", .n = 3});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_PROVIDER_CHANGED), 5);
    assert_int_equal(x->dials, 0);
    world_free(x);
}

static void paused_sources_give_back(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    x->hold_mx = true;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3});
    world_policy_init(&p);
    p.source[0].state = RMD_SOURCE_PAUSED;
    world_policy(x, &p);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_PAUSED), 3);
    world_free(x);
}

static void an_orderly_end(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = silent_at;
    x->flag = 3;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3});
    world_settle(x);
    world_tell(x, &(struct rmd_mail){.kind = RMD_MAIL_STOP}, NULL);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_RECALLED), 2);
    assert_int_equal(x->stopped, 0);
    bytes(x, 0, "250 ok\r\n");
    world_settle(x);
    assert_int_equal(x->stopped, 1);
    assert_int_equal(x->conns_now, 0);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1);
    world_run(x, 100000);
    assert_int_equal(x->stopped, 1);
    world_free(x);
}

static const char *dies_midway(struct world *x, struct world_conn *c, const char *l) {
    return c->messages == 2 && !strncmp(l, "MAIL", 4) && x->count++ == 0 ? "421 4.4.2 too many messages\r\n" : NULL;
}

static void a_421_midway_ends_one_connection(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = dies_midway;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 4});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 3);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 1);
    assert_int_equal(x->dials, 2);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blocking_greeting_stops_the_lane_and_bounces_nobody),
        cmocka_unit_test(one_receiver_never_stops_a_source_everywhere),
        cmocka_unit_test(a_block_aborts_before_the_dot_and_waits_behind_it),
        cmocka_unit_test(a_stop_ends_when_a_policy_lifts_it),
        cmocka_unit_test(the_same_block_is_told_again_after_a_lift),
        cmocka_unit_test(a_source_that_changes_dials_anew),
        cmocka_unit_test(a_rate_verdict_slows_and_goes_on),
        cmocka_unit_test(what_is_said_of_a_sending_domain_is_told_for_each_stream),
        cmocka_unit_test(who_refuses_again_is_left_alone),
        cmocka_unit_test(too_many_connections_narrows_and_keeps_the_rate),
        cmocka_unit_test(a_connection_ends_where_the_receiver_ends_it),
        cmocka_unit_test(one_small_site_rests_alone),
        cmocka_unit_test(recall_in_each_state),
        cmocka_unit_test(a_recall_of_something_else_takes_nothing),
        cmocka_unit_test(suppressed_addresses),
        cmocka_unit_test(nothing_starts_without_time_to_end),
        cmocka_unit_test(a_lost_session_starts_nothing),
        cmocka_unit_test(messages_grow_too_old),
        cmocka_unit_test(another_provider_means_back_unsent),
        cmocka_unit_test(paused_sources_give_back),
        cmocka_unit_test(an_orderly_end),
        cmocka_unit_test(a_421_midway_ends_one_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
