/* The node's blocklist watch: budgets, self-tests, confirmed listings, what a bad list can do. Time is the test's; the resolver is a
 * function of the name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/watch.h"

enum { FINDINGS = 4096, ZONE = 12 };

struct finding {
    uint32_t state;
    uint64_t check;
    char subject[64], text[200];
};

struct world {
    struct rmd_watch *w;
    int64_t now;
    void (*answer)(struct world *w, const char *name, struct rmd_addr_answer *a);
    const char *listed; /* "7.113.0.203" */
    struct finding finding[FINDINGS];
    size_t findings;
    int64_t asked_ms[20000]; /* of every query */
    char asked[20000][48];
    size_t queries;
    uint32_t state, kind;
    char why[200];
    struct rmd_arena arena;
};

static void say(struct rmd_addr_answer *a, const char *address) {
    *a = (struct rmd_addr_answer){.status = RMD_DNS_OK, .ttl_s = 1, .n = 1};
    assert_int_equal(rmd_addr_parse(address, &a->addr[0]), RMD_OK);
}

static void honest(struct world *w, const char *name, struct rmd_addr_answer *a) {
    char prefix[64];
    *a = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = 1};
    rmd_format(prefix, sizeof prefix, "%s.", w->listed ? w->listed : "?");
    if (strncmp(name, "2.0.0.127.", 10) == 0 || strncmp(name, "2.0.0.0.0.0.f.7.", 16) == 0 ||
        strncmp(name, "test.", 5) == 0 || strncmp(name, prefix, strlen(prefix)) == 0)
        say(a, "127.0.0.2");
}

static Remuda__BlocklistCode code[2];
static Remuda__BlocklistCode *codes[2] = {&code[0], &code[1]};

static Remuda__Blocklist list(const char *zone, uint32_t kinds, int64_t interval_ms, uint32_t hour, uint32_t day) {
    Remuda__Blocklist l = REMUDA__BLOCKLIST__INIT;
    remuda__blocklist_code__init(&code[0]);
    remuda__blocklist_code__init(&code[1]);
    code[0].address = 0x7f000002;
    code[0].text = (char *)(uintptr_t) "bad";
    code[1].address = 0x7ffffffe;
    code[1].meaning = RMD_MEANS_ERROR;
    code[1].text = (char *)(uintptr_t) "asked through an open resolver";
    l.name = l.zone = (char *)(uintptr_t)zone;
    l.kinds = kinds;
    l.tier = RMD_TIER_ACT;
    l.interval_ms = interval_ms;
    l.code = codes;
    l.n_code = 2;
    l.per_hour = hour;
    l.per_day = day;
    l.neighbours = true;
    return l;
}

static void assign_n(struct world *w, Remuda__Blocklist **lists, size_t n_lists, uint32_t hour, size_t sources,
                     size_t neighbours) {
    static Remuda__WatchSubject subject[2000];
    static Remuda__WatchSubject *subjects[2000];
    static char name[2000][32];
    Remuda__Watch m = REMUDA__WATCH__INIT;
    for (size_t i = 0; i < sources + neighbours; i++) {
        remuda__watch_subject__init(&subject[i]);
        rmd_format(name[i], sizeof name[i], "203.%zu.113.%zu", i / 200, 7 + i % 200);
        subject[i].name = name[i];
        subject[i].neighbour = i >= sources;
        subjects[i] = &subject[i];
    }
    m.list = lists;
    m.n_list = n_lists;
    m.subject = subjects;
    m.n_subject = sources + neighbours;
    m.per_hour = hour;
    m.per_day = hour * 20;
    m.neighbours_every_ms = 24 * 3600000;
    rmd_watch_assign(w->w, &m, w->now);
}

static void assign(struct world *w, Remuda__Blocklist *l, size_t sources) {
    assign_n(w, &l, 1, 100000, sources, 0);
}

static void take_findings(struct world *w) {
    Remuda__Findings m;
    while (rmd_watch_report(w->w, w->now, 5000, &w->arena, &m)) {
        for (size_t i = 0; i < m.n_finding; i++) {
            struct finding *f = &w->finding[w->findings++];
            assert_true(w->findings < FINDINGS);
            f->state = m.finding[i]->state;
            f->check = m.finding[i]->check;
            rmd_copy(f->subject, sizeof f->subject, m.finding[i]->subject);
            rmd_copy(f->text, sizeof f->text, m.finding[i]->text);
        }
        for (size_t i = 0; i < m.n_health; i++) {
            w->state = m.health[i]->state;
            w->kind = m.health[i]->kind;
            rmd_copy(w->why, sizeof w->why, m.health[i]->why);
        }
        rmd_watch_acked(w->w, m.n);
    }
}

/* All that may leave now, answered at once. */
static void turn(struct world *w) {
    struct rmd_watch_lookup x;
    while (rmd_watch_next(w->w, w->now, &x)) {
        struct rmd_addr_answer a;
        struct rmd_txt_answer t = {.status = RMD_DNS_OK, .n = 1, .txt = {"because"}};
        assert_true(w->queries < 20000);
        rmd_copy(w->asked[w->queries], sizeof w->asked[0], x.name);
        w->asked_ms[w->queries++] = w->now;
        if (!x.txt)
            w->answer(w, x.name, &a);
        rmd_watch_answer(w->w, w->now, x.token, x.txt ? NULL : &a, x.txt ? &t : NULL);
    }
    take_findings(w);
}

static void pass(struct world *w, int64_t ms) {
    int64_t end = w->now + ms;
    for (int64_t steps = 0; w->now < end; steps++) {
        assert_true(steps < 2000000); /* it never spins */
        int64_t at = rmd_watch_deadline(w->w, w->now);
        w->now = at > end ? end : at > w->now ? at : w->now + 1;
        turn(w);
    }
}

static void open_world(struct world *w) {
    memset(w, 0, sizeof *w);
    w->w = rmd_watch_new();
    w->now = 1000000;
    w->answer = honest;
}

static void close_world(struct world *w) {
    rmd_watch_free(w->w);
    rmd_arena_release(&w->arena);
    free(w);
}

static size_t count(const struct world *w, const char *subject, uint32_t state) {
    size_t n = 0;
    for (size_t i = 0; i < w->findings; i++)
        n += w->finding[i].state == state && (!subject || strcmp(w->finding[i].subject, subject) == 0);
    return n;
}

static void a_list_is_believed_after_its_self_test(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 3600000, 1000, 10000);
    assign(w, &l, 1);
    turn(w);
    assert_true(w->queries >= 3); /* listed, not listed, not even a name; nothing before they are answered */
    assert_string_equal(w->asked[0], "2.0.0.127.bl.test");
    assert_string_equal(w->asked[1], "1.0.0.127.bl.test");
    assert_int_equal(strncmp(w->asked[2], "remuda-no-such-name-", 20), 0);
    pass(w, 5000);
    assert_int_equal(w->state, RMD_LIST_TRUSTED);
    assert_int_equal(count(w, "203.0.113.7", RMD_FINDING_CLEAN), 1);
    size_t before = w->queries;
    pass(w, 30 * 3600000); /* the test again after a day */
    size_t tests = 0;
    for (size_t i = before; i < w->queries; i++)
        tests += strcmp(w->asked[i], "1.0.0.127.bl.test") == 0;
    assert_int_equal(tests, 1);
    close_world(w);
}

static void ipv6_and_domains_have_tests_of_their_own(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist six = list("six.test", RMD_LIST_IP6, 3600000, 1000, 10000),
                      domain = list("dbl.test", RMD_LIST_DOMAIN, 3600000, 1000, 10000),
                      url = list("url.test", RMD_LIST_URL, 3600000, 1000, 10000);
    Remuda__Blocklist *lists[] = {&six, &domain, &url};
    Remuda__WatchSubject a = REMUDA__WATCH_SUBJECT__INIT, b = REMUDA__WATCH_SUBJECT__INIT;
    Remuda__WatchSubject *subjects[] = {&a, &b};
    Remuda__Watch m = REMUDA__WATCH__INIT;
    a.name = (char *)(uintptr_t) "2001:db8::7";
    b.name = (char *)(uintptr_t) "news.example.net";
    m.list = lists;
    m.n_list = 3;
    m.n_subject = 2;
    m.subject = subjects;
    m.per_hour = m.per_day = 1000;
    rmd_watch_assign(w->w, &m, w->now);
    turn(w);
    size_t found = 0;
    for (size_t i = 0; i < w->queries; i++)
        found += strncmp(w->asked[i], "1.0.0.0.0.0.f.7.f.f.f.f.0.", 26) == 0 ||
                 strcmp(w->asked[i], "test.dbl.test") == 0 || strcmp(w->asked[i], "invalid.dbl.test") == 0 ||
                 strcmp(w->asked[i], "test.url.test") == 0 || strcmp(w->asked[i], "invalid.url.test") == 0;
    assert_int_equal(found, 5);
    pass(w, 10000);
    assert_int_equal(count(w, NULL, RMD_FINDING_CLEAN), 3); /* the name, from the list of domains and that of links */
    assert_int_equal(count(w, "news.example.net", RMD_FINDING_CLEAN), 2);
    close_world(w);
}

/* --- what a bad list can do: set aside, and nothing of it is believed */

static void everything(struct world *w, const char *name, struct rmd_addr_answer *a) {
    (void)w;
    *a = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN};
    if (strncmp(name, "remuda-", 7) != 0)
        say(a, "127.0.0.2");
}
static void wildcard(struct world *w, const char *name, struct rmd_addr_answer *a) {
    honest(w, name, a);
    if (strncmp(name, "remuda-", 7) == 0)
        say(a, "127.0.0.2");
}
static void nothing(struct world *w, const char *name, struct rmd_addr_answer *a) {
    (void)w;
    (void)name;
    *a = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN};
}
static void rewrites(struct world *w, const char *name, struct rmd_addr_answer *a) {
    honest(w, name, a);
    if (a->status == RMD_DNS_NXDOMAIN)
        say(a, "203.0.113.99");
}
static void open_resolver(struct world *w, const char *name, struct rmd_addr_answer *a) {
    (void)w;
    (void)name;
    say(a, "127.255.255.254");
}
static void silent(struct world *w, const char *name, struct rmd_addr_answer *a) {
    (void)w;
    (void)name;
    *a = (struct rmd_addr_answer){.status = RMD_DNS_TEMPFAIL};
    rmd_copy(a->detail, sizeof a->detail, "timeout after 3 tries");
}

static const struct {
    void (*answer)(struct world *, const char *, struct rmd_addr_answer *);
    const char *why;
} bad[] = {
    {everything, "it lists everything"}, {wildcard, "a name that doesn't exist"},
    {nothing, "isn't listed"},           {rewrites, "rewrites"},
    {open_resolver, "open resolver"},    {silent, "doesn't answer: timeout"},
};

static void a_list_that_fails_is_set_aside_and_tested_again(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct world *w = rmd_alloc(sizeof *w);
        open_world(w);
        w->answer = bad[i].answer;
        Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 3600000, 1000, 10000);
        assign(w, &l, 3);
        pass(w, 10000);
        assert_int_equal(w->state, RMD_LIST_ASIDE);
        if (!strstr(w->why, bad[i].why))
            fail_msg("%zu: \"%s\"", i, w->why);
        assert_int_equal(w->findings, 0); /* nothing was asked about sources */
        w->answer = honest;
        pass(w, 3 * 60000);
        assert_int_equal(w->state, RMD_LIST_TRUSTED);
        assert_int_equal(count(w, NULL, RMD_FINDING_CLEAN), 3);
        close_world(w);
    }
}

static void a_list_that_goes_bad_between_tests_is_not_believed(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct world *w = rmd_alloc(sizeof *w);
        open_world(w);
        Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 600000, 1000, 10000);
        assign(w, &l, 3);
        pass(w, 10000);
        assert_int_equal(w->state, RMD_LIST_TRUSTED);
        w->answer = bad[i].answer;
        pass(w, 3600000);
        assert_int_equal(count(w, NULL, RMD_FINDING_LISTED), 0);
        /* one that only answers for nonsense, or has gone quietly, looks clean until its daily test */
        if (bad[i].answer == everything || bad[i].answer == rewrites || bad[i].answer == open_resolver ||
            bad[i].answer == silent)
            assert_int_equal(w->state, RMD_LIST_ASIDE);
        pass(w, 25 * 3600000);
        assert_int_equal(w->state, RMD_LIST_ASIDE);
        assert_int_equal(count(w, NULL, RMD_FINDING_LISTED), 0);
        close_world(w);
    }
}

static void for_a_moment(struct world *w, const char *name, struct rmd_addr_answer *a) {
    honest(w, name, a);
    if (strncmp(name, "7.113.0.203.", ZONE) == 0)
        say(a, "127.0.0.2"); /* once; the self-test that follows finds the list in order */
    w->answer = honest;
}

static void one_wrong_answer_is_asked_again(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 600000, 1000, 10000);
    assign(w, &l, 1);
    pass(w, 10000);
    w->answer = for_a_moment;
    pass(w, 800000);
    assert_int_equal(count(w, NULL, RMD_FINDING_LISTED), 0);
    assert_int_equal(w->state, RMD_LIST_TRUSTED);
    close_world(w);
}

static void a_listing_is_confirmed_told_and_told_again_when_it_ends(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 4 * 3600000, 1000, 10000);
    assign(w, &l, 2);
    pass(w, 60000);
    w->listed = "7.113.0.203";
    pass(w, 5 * 3600000);
    assert_true(count(w, "203.0.113.7", RMD_FINDING_LISTED) >= 2);
    size_t with_text = 0;
    for (size_t i = 0; i < w->findings; i++)
        with_text += strcmp(w->finding[i].text, "because") == 0;
    assert_int_equal(with_text, 1);
    assert_int_equal(count(w, "203.0.113.8", RMD_FINDING_LISTED), 0);
    size_t before = count(w, "203.0.113.7", RMD_FINDING_CLEAN);
    w->listed = NULL;
    pass(w, 3600000); /* sooner than the interval: half an hour, then ten minutes */
    assert_true(count(w, "203.0.113.7", RMD_FINDING_CLEAN) >= before + 2);
    close_world(w);
}

static void a_check_is_answered_at_once(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 4 * 3600000, 100, 10000);
    assign(w, &l, 1);
    pass(w, 60000);
    uint32_t id = rmd_blocklist_id("bl.test");
    Remuda__WatchCheck m = REMUDA__WATCH_CHECK__INIT;
    m.id = 42;
    m.subject = (char *)(uintptr_t) "203.0.113.7";
    m.list = &id;
    m.n_list = 1;
    w->listed = "7.113.0.203";
    size_t before = w->findings;
    rmd_watch_check(w->w, &m, w->now);
    turn(w); /* no time passes */
    assert_true(w->findings > before);
    assert_int_equal(w->finding[before].check, 42);
    assert_int_equal(w->finding[before].state, RMD_FINDING_LISTED);
    m.id = 43;
    m.subject = (char *)(uintptr_t) "198.51.100.9"; /* of somebody else: asked once, and forgotten */
    rmd_watch_check(w->w, &m, w->now);
    turn(w);
    assert_int_equal(w->finding[w->findings - 1].check, 43);
    size_t q = w->queries;
    pass(w, 3 * 3600000);
    for (; q < w->queries; q++)
        assert_string_not_equal(w->asked[q], "9.100.51.198.bl.test");
    w->answer = silent;
    pass(w, 30 * 3600000);
    m.id = 44;
    before = w->findings;
    rmd_watch_check(w->w, &m, w->now); /* of a list that is set aside: says so */
    turn(w);
    assert_int_equal(w->finding[before].check, 44);
    assert_int_equal(w->finding[before].state, RMD_FINDING_UNKNOWN);
    assert_non_null(strstr(w->finding[before].text, "set aside"));
    close_world(w);
}

/* --- budgets */

static size_t most_within(const struct world *w, const char *zone, int64_t window_ms) {
    size_t most = 0;
    for (size_t i = 0, from = 0, n = 0; i < w->queries; i++) {
        n += !zone || strstr(w->asked[i], zone);
        for (; w->asked_ms[from] <= w->asked_ms[i] - window_ms; from++)
            n -= !zone || strstr(w->asked[from], zone);
        most = n > most ? n : most;
    }
    return most;
}

static void no_hour_and_no_day_has_more_queries_than_the_budget(void **state) {
    (void)state;
    static const struct {
        uint32_t hour, day, all;
        size_t sources;
    } rows[] = {{60, 1000, 1000, 500}, {10, 50, 1000, 100}, {200, 300, 1000, 300}, {100, 2000, 120, 400}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *w = rmd_alloc(sizeof *w);
        open_world(w);
        Remuda__Blocklist a = list("a.test", RMD_LIST_IP4, 60000, rows[i].hour, rows[i].day),
                          b = list("b.test", RMD_LIST_IP4, 60000, rows[i].hour, rows[i].day);
        Remuda__Blocklist *lists[] = {&a, &b};
        assign_n(w, lists, 2, rows[i].all, rows[i].sources, 0);
        pass(w, 30 * 3600000);
        assert_in_range(most_within(w, "a.test", 3600000), 1, rows[i].hour);
        assert_in_range(most_within(w, "a.test", 24 * 3600000), 1, rows[i].day);
        assert_in_range(most_within(w, NULL, 3600000), 1, rows[i].all);
        /* and it is used, and shared */
        assert_true(most_within(w, "a.test", 3600000) * 3 >=
                    (rows[i].hour < rows[i].all / 2 ? rows[i].hour : rows[i].all / 2));
        assert_true(most_within(w, "b.test", 3600000) * 3 >=
                    (rows[i].hour < rows[i].all / 2 ? rows[i].hour : rows[i].all / 2));
        /* no bursts: the self-tests apart, a minute has little more than its share */
        assert_in_range(most_within(w, "a.test", 60000), 1, rows[i].hour / 60 + 6);
        close_world(w);
    }
}

static void neighbours_come_after_our_own_and_over_the_day(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 4 * 3600000, 200, 2000);
    Remuda__Blocklist *lists[] = {&l};
    assign_n(w, lists, 1, 1000, 20, 100);
    pass(w, 3600000);
    size_t own = 0, neighbours = 0;
    for (size_t i = 0; i < w->findings; i++) {
        struct rmd_addr a;
        assert_int_equal(rmd_addr_parse(w->finding[i].subject, &a), RMD_OK);
        own += a.b[3] < 27;
        neighbours += a.b[3] >= 27;
    }
    assert_int_equal(own, 20);
    assert_in_range(neighbours, 0, 20);
    pass(w, 24 * 3600000);
    size_t seen = 0;
    for (int i = 27; i < 127; i++) {
        char name[32];
        rmd_format(name, sizeof name, "203.0.113.%d", i);
        seen += count(w, name, RMD_FINDING_CLEAN) >= 1;
        assert_in_range(count(w, name, RMD_FINDING_CLEAN), 0, 2);
    }
    assert_int_equal(seen, 100);
    close_world(w);
}

static void a_restarted_node_goes_on_with_what_was_spent(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 60000, 100, 1000);
    Remuda__WatchSpent spent = REMUDA__WATCH_SPENT__INIT, *spents[] = {&spent};
    Remuda__Blocklist *lists[] = {&l};
    Remuda__WatchSubject s = REMUDA__WATCH_SUBJECT__INIT, *subjects[] = {&s};
    Remuda__Watch m = REMUDA__WATCH__INIT;
    s.name = (char *)(uintptr_t) "203.0.113.7";
    m.list = lists;
    m.subject = subjects;
    m.n_list = m.n_subject = m.n_spent = 1;
    m.per_hour = 1000;
    m.per_day = 10000;
    spent.list = rmd_blocklist_id("bl.test");
    spent.hour = spent.day = 100;
    m.spent = spents;
    rmd_watch_assign(w->w, &m, w->now);
    pass(w, 30 * 60000);
    assert_int_equal(w->queries, 0);
    pass(w, 90 * 60000);
    assert_true(w->queries > 0);
    close_world(w);
}

/* --- telling */

static void findings_are_kept_until_they_are_acknowledged(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 3600000, 10000, 100000);
    assign(w, &l, 1);
    struct rmd_watch_lookup x;
    for (int i = 0; i < 200; i++, w->now += 100)
        while (rmd_watch_next(w->w, w->now, &x)) {
            struct rmd_addr_answer a;
            honest(w, x.name, &a);
            rmd_watch_answer(w->w, w->now, x.token, &a, NULL);
        }
    Remuda__Findings a, b;
    assert_true(rmd_watch_report(w->w, w->now, 5000, &w->arena, &a));
    assert_int_equal(a.n_finding, 1);
    assert_int_equal(a.n_health, 1);
    assert_false(rmd_watch_report(w->w, w->now + 100, 5000, &w->arena, &b)); /* under way */
    assert_true(rmd_watch_report(w->w, w->now + 5000, 5000, &w->arena, &b));
    assert_int_equal(b.n, a.n);
    assert_int_equal(b.n_finding, 1);
    rmd_watch_session(w->w); /* another session: at once, with the lists' health */
    assert_true(rmd_watch_report(w->w, w->now + 5001, 5000, &w->arena, &b));
    assert_int_equal(b.n_finding, 1);
    assert_int_equal(b.n_health, 1);
    assert_true(b.n > a.n);
    rmd_watch_acked(w->w, b.n + 7); /* of something else */
    assert_int_equal(rmd_watch_report_deadline(w->w, 5000), w->now + 5001 + 5000);
    rmd_watch_acked(w->w, b.n);
    while (rmd_watch_report(w->w, w->now + 6000, 5000, &w->arena, &b)) {
        assert_int_equal(b.n_finding, 0);
        rmd_watch_acked(w->w, b.n);
    }
    close_world(w);
}

static void what_could_not_be_told_for_long_is_found_again(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 600000, 10000, 100000);
    w->listed = "7.113.0.203";
    assign(w, &l, 1);
    struct rmd_watch_lookup x;
    Remuda__Findings m;
    for (int i = 0; i < 200; i++, w->now += 100)
        while (rmd_watch_next(w->w, w->now, &x)) {
            struct rmd_addr_answer a;
            honest(w, x.name, &a);
            rmd_watch_answer(w->w, w->now, x.token, x.txt ? NULL : &a, NULL);
        }
    assert_true(rmd_watch_report(w->w, w->now, 5000, &w->arena, &m));
    assert_int_equal(m.n_finding, 1);
    assert_int_equal(m.finding[0]->state, RMD_FINDING_LISTED);
    w->now += 2 * 3600000; /* it was cut off, and comes back */
    rmd_watch_session(w->w);
    while (rmd_watch_report(w->w, w->now, 5000, &w->arena, &m)) {
        assert_int_equal(m.n_finding, 0);
        rmd_watch_acked(w->w, m.n);
    }
    w->answer = everything; /* now the list is bad: the listing that nobody was told of must be confirmed */
    pass(w, 3600000);
    assert_int_equal(count(w, NULL, RMD_FINDING_LISTED), 0);
    w->answer = honest;
    pass(w, 2 * 3600000);
    assert_true(count(w, NULL, RMD_FINDING_LISTED) > 0);
    close_world(w);
}

static void a_key_never_leaves_with_a_finding(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("dqs", RMD_LIST_IP4, 3600000, 10000, 100000);
    l.zone = (char *)(uintptr_t) "{key}.zen.test";
    l.key = (char *)(uintptr_t) "s3cretkey";
    w->listed = "7.113.0.203";
    assign(w, &l, 1);
    struct rmd_watch_lookup x;
    bool keyed = true;
    for (int i = 0; i < 100; i++, w->now += 100)
        while (rmd_watch_next(w->w, w->now, &x)) {
            struct rmd_addr_answer a;
            struct rmd_txt_answer t = {.status = RMD_DNS_OK, .n = 1, .txt = {"see S3CRETKEY.zen.test"}};
            keyed = keyed && strstr(x.name, ".s3cretkey.zen.test");
            honest(w, x.name, &a);
            rmd_watch_answer(w->w, w->now, x.token, x.txt ? NULL : &a, x.txt ? &t : NULL);
        }
    assert_true(keyed);
    take_findings(w);
    bool told = false;
    for (size_t i = 0; i < w->findings; i++) {
        told = told || strcmp(w->finding[i].text, "see (key).zen.test") == 0;
        assert_null(strstr(w->finding[i].text, "S3CRET"));
    }
    assert_true(told);
    close_world(w);
}

static void a_new_assignment_keeps_what_is_known_and_forgets_the_rest(void **state) {
    (void)state;
    struct world *w = rmd_alloc(sizeof *w);
    open_world(w);
    Remuda__Blocklist l = list("bl.test", RMD_LIST_IP4, 4 * 3600000, 10000, 100000);
    assign(w, &l, 3);
    pass(w, 60000);
    size_t before = w->queries;
    assign(w, &l, 3);
    pass(w, 60000);
    assert_int_equal(w->queries, before); /* neither tests nor questions anew */
    assign(w, &l, 1);
    pass(w, 30 * 3600000);
    for (size_t i = before; i < w->queries; i++)
        assert_null(strstr(w->asked[i], "8.113.0.203"));
    l.zone = (char *)(uintptr_t) "other.test"; /* another zone under the name: tested anew */
    before = w->queries;
    assign(w, &l, 1);
    pass(w, 10000);
    assert_string_equal(w->asked[before], "2.0.0.127.other.test");
    struct rmd_watch_lookup x;
    l.zone = (char *)(uintptr_t) "third.test";
    assign(w, &l, 1);
    assert_true(rmd_watch_next(w->w, w->now, &x));
    assign_n(w, NULL, 0, 0, 0, 0); /* the watch ends with a question under way */
    struct rmd_addr_answer a;
    say(&a, "127.0.0.2");
    rmd_watch_answer(w->w, w->now, x.token, &a, NULL);
    assert_false(rmd_watch_next(w->w, w->now, &x));
    close_world(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_believed_after_its_self_test),
        cmocka_unit_test(ipv6_and_domains_have_tests_of_their_own),
        cmocka_unit_test(a_list_that_fails_is_set_aside_and_tested_again),
        cmocka_unit_test(a_list_that_goes_bad_between_tests_is_not_believed),
        cmocka_unit_test(one_wrong_answer_is_asked_again),
        cmocka_unit_test(a_listing_is_confirmed_told_and_told_again_when_it_ends),
        cmocka_unit_test(a_check_is_answered_at_once),
        cmocka_unit_test(no_hour_and_no_day_has_more_queries_than_the_budget),
        cmocka_unit_test(neighbours_come_after_our_own_and_over_the_day),
        cmocka_unit_test(a_restarted_node_goes_on_with_what_was_spent),
        cmocka_unit_test(findings_are_kept_until_they_are_acknowledged),
        cmocka_unit_test(what_could_not_be_told_for_long_is_found_again),
        cmocka_unit_test(a_key_never_leaves_with_a_finding),
        cmocka_unit_test(a_new_assignment_keeps_what_is_known_and_forgets_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
