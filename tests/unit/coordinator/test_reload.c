/* Stories of providers that come, change and go while lanes, queues and leases exist, and of a provider's cluster ceiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/probe.h>
#include <base/text.h>

#include "tests/kit/coord_world.h"

static const char *const g_domain[] = {"g.test", NULL};
static const char *const o_domain[] = {"o.test", NULL};
static const char *const all_domains[] = {"g.test", "y.test", "o.test", NULL};

static struct cw *world(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 1);
    cw_stream(w, "bulk", NULL);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static void each_once(struct cw *w, const char *const *domains, uint32_t n) {
    uint32_t k = 0;
    while (domains[k])
        k++;
    for (uint32_t i = 0; i < n; i++) {
        char email[64];
        rmd_format(email, sizeof email, "user%u@%s", i, domains[i % k]);
        if (cw_delivered_to(w, email) != 1)
            fail_msg("%s: %zu times", email, cw_delivered_to(w, email));
    }
}

/* A list of providers in this order; "p" is one that the world doesn't start with. */
struct list {
    Remuda__ProviderPolicy v[4];
    Remuda__ProviderPolicy *p[4];
    size_t n;
};

static void add(struct list *l, struct cw *w, const char *name) {
    static char *suffix_p[] = {(char *)(uintptr_t) ".o.test"};
    Remuda__ProviderPolicy *p = &l->v[l->n];
    remuda__provider_policy__init(p);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(w->provider[i].name, name) == 0)
            *p = w->provider[i];
    if (!*p->name) {
        p->id = rmd_provider_id(name);
        p->name = (char *)(uintptr_t)name;
        p->mx_suffix = suffix_p;
        p->n_mx_suffix = 1;
    }
    l->p[l->n] = p;
    l->n++;
}

static struct list list_of(struct cw *w, const char *a, const char *b, const char *c, const char *d) {
    struct list l = {0};
    const char *names[] = {a, b, c, d};
    for (int i = 0; i < 4 && names[i]; i++)
        add(&l, w, names[i]);
    return l;
}

static void reload(struct cw *w, struct list *l) {
    for (size_t i = 0; i < l->n; i++)
        l->p[i] = &l->v[i];
    struct rmd_command c = {.kind = RMD_CMD_RELOAD, .providers = l->p, .n_providers = l->n, .reason = "told so"};
    assert_int_equal(cw_command(w, &c), RMD_OK);
    assert_string_equal(w->reply_text, "told so");
    memset(l, 0x5a, sizeof *l); /* the core has copied it */
}

static uint32_t provider_of(const struct cw *w, const char *email) {
    for (size_t i = w->n_rcpts; i-- > 0;)
        if (strcmp(w->rcpt[i].email, email) == 0)
            return w->rcpt[i].provider;
    return 0;
}

/* What the node was about to send belongs to another provider now: it gives it back, and it is sorted anew. */
static void a_provider_that_comes_takes_its_domains(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", o_domain, 600, 0);
    cw_pass(w, 5000, 200);
    assert_true(n->n_leases > 0);
    uint64_t policies = n->policies;
    struct list l = list_of(w, "p", "google", "yahoo", "other");
    reload(w, &l);
    cw_pass(w, 1000, 200);
    assert_true(n->policies > policies); /* nodes learn it at once */
    cw_give_back(w, n, NULL, NULL, RMD_RETURN_PROVIDER_CHANGED);
    n->holds = false;
    n->stopped_all = false;
    cw_pass(w, 600000, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 600);
    each_once(w, o_domain, 600);
    assert_int_equal(provider_of(w, "user0@o.test"), rmd_provider_id("p"));
    id = cw_submit(w, "bulk", o_domain, 10, 1000);
    cw_pass(w, 10000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 10);
    assert_int_equal(provider_of(w, "user1005@o.test"), rmd_provider_id("p"));
    assert_int_equal(cw_events(w, "rules.reloaded"), 1);
    done(w);
}

/* Queued, leased and deferred work of a provider that nobody knows any more: all of it goes to where its domain belongs. */
static void defer_once(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                       Remuda__Outcome *o) {
    (void)w;
    (void)n;
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->email[i], email) == 0 && l->attempt[i] == 0)
            cw_outcome_fill(o, RMD_OUTCOME_DEFERRED, RMD_CLASS_SERVER_BUSY, RMD_ACTION_RETRY, RMD_SCOPE_RECIPIENT,
                            false);
}

static void a_provider_that_goes_leaves_nothing_behind(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = defer_once;
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", all_domains, 3000, 0);
    cw_pass(w, 5000, 200);
    cw_answer_some(w, n, 200); /* some deferred, some leased, the rest queued */
    cw_pass(w, 2000, 200);
    struct list l = list_of(w, "yahoo", "other", NULL, NULL);
    reload(w, &l);
    cw_pass(w, 1000, 200);
    cw_answer_some(w, n, 50);                                    /* what was open ends as it would have */
    cw_give_back(w, n, NULL, NULL, RMD_RETURN_PROVIDER_CHANGED); /* the node's answer to its new policy */
    n->holds = false;
    w->answer = NULL;
    cw_pass(w, 4 * 3600000, 5000);
    struct rmd_campaign_view v;
    assert_int_equal(cw_campaign(w, &id, &v)->delivered, 3000);
    assert_int_equal(v.queued + v.leased + v.deferred, 0);
    each_once(w, all_domains, 3000);
    assert_int_equal(provider_of(w, "user2997@g.test"), rmd_provider_id("other"));
    done(w);
}

struct seen {
    enum rmd_lane_state state;
    bool found;
};

static void look(void *ctx, const struct rmd_source_view *v) {
    struct seen *s = ctx;
    for (size_t i = 0; i < v->n_lanes; i++)
        if (strcmp(v->lane[i].provider, "google") == 0) {
            s->found = true;
            s->state = v->lane[i].state;
        }
}

/* Lanes keep their state over any order, over a provider's absence, and over a restart during it. */
static void a_quarantine_outlives_its_providers_absence(void **state) {
    (void)state;
    static const struct rmd_verdict blocked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                               .scope = RMD_SCOPE_SOURCE,
                                               .at_provider = true,
                                               .action = RMD_ACTION_QUARANTINE,
                                               .move = true,
                                               .rule = "ip-form"};
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    uint32_t source = cw_source(w, "203.0.113.7", "n1", 0);
    cw_submit(w, "bulk", g_domain, 10, 0);
    cw_pass(w, 5000, 200);
    cw_alarm(w, n, source, rmd_provider_id("google"), &blocked, 1);
    cw_pass(w, 2000, 200);
    struct list l = list_of(w, "p", "yahoo", "google", "other");
    reload(w, &l);
    struct seen s = {0};
    rmd_coord_sources(w->core, look, &s);
    assert_true(s.found);
    assert_int_equal(s.state, RMD_LANE_QUARANTINED);
    l = list_of(w, "yahoo", "other", NULL, NULL);
    reload(w, &l);
    s = (struct seen){0};
    rmd_coord_sources(w->core, look, &s);
    assert_false(s.found);
    cw_pass(w, 1000, 200);
    cw_crash(w, false); /* starts anew with google in its list */
    cw_pass(w, 2000, 200);
    rmd_coord_sources(w->core, look, &s);
    assert_true(s.found);
    assert_int_equal(s.state, RMD_LANE_QUARANTINED);
    l = list_of(w, "yahoo", "other", NULL, NULL);
    reload(w, &l);
    l = list_of(w, "google", "yahoo", "other", NULL);
    reload(w, &l);
    s = (struct seen){0};
    rmd_coord_sources(w->core, look, &s);
    assert_int_equal(s.state, RMD_LANE_QUARANTINED);
    struct rmd_id id = cw_submit(w, "bulk", g_domain, 5, 100);
    cw_pass(w, 20000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0); /* it holds */
    done(w);
}

/* Changes every few seconds while mail flows: nobody lost, nobody twice. */
static void reloads_in_full_flight_lose_nothing(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_node_add(w, "n2");
    cw_source(w, "203.0.113.7", "n1", 0);
    cw_source(w, "198.51.100.7", "n2", 0);
    struct rmd_id id = cw_submit(w, "bulk", all_domains, 6000, 0);
    n->holds = true;
    for (int i = 0; i < 12; i++) {
        cw_pass(w, 700, 100);
        cw_answer_some(w, n, 60);
        struct list l = i % 4 == 0   ? list_of(w, "p", "google", "yahoo", "other")
                        : i % 4 == 1 ? list_of(w, "yahoo", "google", "other", NULL)
                        : i % 4 == 2 ? list_of(w, "google", "other", NULL, NULL)
                                     : list_of(w, "yahoo", "p", "google", "other");
        reload(w, &l);
        if (i % 3 == 0) {
            cw_pass(w, 300, 100);
            cw_give_back(w, n, NULL, NULL, RMD_RETURN_PROVIDER_CHANGED);
        }
    }
    n->holds = false;
    cw_pass(w, 3600000, 2000);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 6000);
    each_once(w, all_domains, 6000);
    done(w);
}

static void a_list_without_other_is_refused(void **state) {
    (void)state;
    struct cw *w = world();
    struct list l = list_of(w, "google", "yahoo", NULL, NULL);
    for (size_t i = 0; i < l.n; i++)
        l.p[i] = &l.v[i]; /* it was copied */
    struct rmd_command c = {.kind = RMD_CMD_RELOAD, .providers = l.p, .n_providers = l.n};
    assert_int_equal(cw_command(w, &c), RMD_EINVAL);
    assert_non_null(strstr(w->reply_text, "ends with \"other\""));
    done(w);
}

/* ---------------------------------------------------------------- the cluster's ceiling */

enum { CONNECTIONS = 5, CEILING = 12, SOURCES = 5, LINGER_MS = 30000 };

/* Shares that may still have connections: of leases that a node holds, and of lanes whose last one ended less than a linger ago. */
struct shares {
    uint32_t now[SOURCES + 2];
    int64_t until[SOURCES + 2];
};

static uint32_t out(struct cw *w, struct shares *s) {
    uint32_t sum = 0;
    for (size_t i = 0; i < w->n_nodes; i++)
        for (size_t k = 0; k < w->node[i].n_leases; k++) {
            const struct cw_lease *l = w->node[i].lease[k];
            assert_true(l->source < SOURCES + 2);
            s->now[l->source] = l->share;
            s->until[l->source] = w->now.mono_ms + LINGER_MS - 2000; /* what may be open a moment before it is told */
        }
    for (size_t i = 0; i < SOURCES + 2; i++)
        sum += w->now.mono_ms < s->until[i] ? s->now[i] : 0;
    return sum;
}

static void ceiling(struct cw *w, uint32_t most) {
    struct list l = list_of(w, "google", "yahoo", "other", NULL);
    l.v[0].connections = CONNECTIONS;
    l.v[0].cluster_connections = most;
    reload(w, &l);
}

/* A tenth of a second of a cluster that delivers. */
static void work(struct cw *w) {
    for (size_t i = 0; i < w->n_nodes; i++)
        cw_answer_some(w, &w->node[i], 4);
    cw_pass(w, 100, 100);
}

static struct cw *cluster(void) {
    struct cw *w = world();
    for (int i = 0; i < SOURCES; i++) {
        char name[16], address[32];
        rmd_format(name, sizeof name, "n%d", i);
        rmd_format(address, sizeof address, "203.0.%d.7", 113 + i);
        cw_node_add(w, name)->holds = true;
        cw_source(w, address, name, 300);
    }
    return w;
}

static void all_shares_together_stay_below_the_ceiling(void **state) {
    (void)state;
    struct cw *w = cluster();
    struct shares s = {0};
    uint32_t most = 0;
    ceiling(w, CEILING);
    cw_pass(w, 40000, 1000); /* the process may have followed one that gave out shares */
    struct rmd_id id = cw_submit(w, "bulk", g_domain, 1500, 0);
    for (int i = 0; i < 4000 && cw_campaign(w, &id, NULL)->delivered < 1500; i++) {
        work(w);
        uint32_t sum = out(w, &s);
        most = sum > most ? sum : most;
        assert_true(sum <= CEILING);
    }
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered,
                     1500);          /* every lane had its turn: each may send 300 a day */
    assert_true(most > CONNECTIONS); /* and it was used */
    done(w);
}

static void a_ceiling_that_is_lowered_takes_back_what_is_over_it(void **state) {
    (void)state;
    struct cw *w = cluster();
    struct shares s = {0};
    ceiling(w, 0);
    struct rmd_id id = cw_submit(w, "bulk", g_domain, 1500, 0);
    cw_pass(w, 5000, 200);
    assert_true(out(w, &s) > CEILING); /* no ceiling: everybody works */
    ceiling(w, CEILING);
    cw_pass(w, 3000, 200); /* leases are recalled */
    for (size_t i = 0; i < w->n_nodes; i++)
        cw_give_back(w, &w->node[i], NULL, NULL, RMD_RETURN_RECALLED);
    cw_pass(w, 2 * LINGER_MS, 500);
    s = (struct shares){0};
    for (int i = 0; i < 4000 && cw_campaign(w, &id, NULL)->delivered < 1500; i++) {
        work(w);
        assert_true(out(w, &s) <= CEILING);
    }
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 1500);
    each_once(w, g_domain, 1500);
    done(w);
}

static void shares_are_known_after_a_restart(void **state) {
    (void)state;
    struct cw *w = cluster();
    struct shares s = {0};
    w->provider[0].connections = CONNECTIONS;
    w->provider[0].cluster_connections = CEILING;
    cw_crash(w, false); /* with a ceiling in its files from the start */
    cw_pass(w, 40000, 1000);
    struct rmd_id id = cw_submit(w, "bulk", g_domain, 1500, 0);
    cw_pass(w, 3000, 200);
    assert_true(out(w, &s) > CONNECTIONS && out(w, &s) <= CEILING);
    cw_crash(w, false);
    for (int i = 0; i < 200; i++) {
        cw_pass(w, 200, 200);
        assert_true(out(w, &s) <= CEILING);
    }
    for (int i = 0; i < 4000 && cw_campaign(w, &id, NULL)->delivered < 1500; i++) {
        work(w);
        assert_true(out(w, &s) <= CEILING);
    }
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 1500);
    done(w);
}

static size_t leases_of_others(const struct cw *w, const struct cw_node *a) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_nodes; i++)
        n += &w->node[i] == a ? 0 : w->node[i].n_leases;
    return n;
}

/* The node may be cut off alone, and go on with what it holds: its share is out until the doubt is over. */
static void a_lease_in_doubt_holds_its_share(void **state) {
    (void)state;
    struct cw *w = cluster();
    struct rmd_status_view v;
    struct cw_node *a = NULL;
    ceiling(w, CONNECTIONS); /* one lane's worth */
    cw_pass(w, 40000, 1000);
    cw_submit(w, "bulk", g_domain, 1500, 0);
    cw_pass(w, 3000, 200);
    for (size_t i = 0; i < w->n_nodes; i++)
        a = w->node[i].n_leases ? &w->node[i] : a;
    assert_non_null(a);
    assert_int_equal(leases_of_others(w, a), 0);
    cw_kill_node(w, a);
    cw_pass(w, 70000, 500);
    rmd_coord_status(w->core, &v);
    assert_true(v.in_doubt > 0);
    for (int i = 0; i < 100; i++) { /* three lingers */
        cw_pass(w, 1000, 500);
        assert_int_equal(leases_of_others(w, a), 0);
    }
    cw_pass(w, 600000, 2000); /* its return was waited for long enough */
    assert_true(leases_of_others(w, a) > 0);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_provider_that_comes_takes_its_domains),
        cmocka_unit_test(a_provider_that_goes_leaves_nothing_behind),
        cmocka_unit_test(a_quarantine_outlives_its_providers_absence),
        cmocka_unit_test(reloads_in_full_flight_lose_nothing),
        cmocka_unit_test(a_list_without_other_is_refused),
        cmocka_unit_test(all_shares_together_stay_below_the_ceiling),
        cmocka_unit_test(a_ceiling_that_is_lowered_takes_back_what_is_over_it),
        cmocka_unit_test(shares_are_known_after_a_restart),
        cmocka_unit_test(a_lease_in_doubt_holds_its_share),
    };
    return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
