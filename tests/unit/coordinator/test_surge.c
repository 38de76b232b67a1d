/* A provider that denies users who exist: nobody stays suppressed for it, and one command settles the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/surge.h"
#include "proto/codec.h"
#include "tests/kit/coord_world.h"

/* ---------------------------------------------------------------- counting */

/* n answers, one in `every` unknown (0: none); what changed last. */
static enum rmd_surge_change answers(struct rmd_surge *s, unsigned n, unsigned every, int64_t at) {
    enum rmd_surge_change last = RMD_SURGE_SAME;
    for (unsigned i = 1; i <= n; i++) {
        enum rmd_surge_change x = rmd_surge_count(s, every && i % every == 0, at);
        last = x == RMD_SURGE_SAME ? last : x;
    }
    return last;
}

static void what_is_far_over_the_usual(void **state) {
    (void)state;
    const struct {
        unsigned usual_n, usual_every, n, every;
        bool surge;
        unsigned unknown_at_most; /* when it was recognised */
    } rows[] = {
        {10000, 100, 1000, 5, true, 25},  /* 1 % usually: a fifth is a surge */
        {10000, 100, 20, 1, true, 20},    /* everybody */
        {10000, 100, 19, 1, false, 0},    /* too few to tell */
        {10000, 100, 5000, 25, false, 0}, /* 4 %: under 1 % + 5 points */
        {10000, 10, 5000, 5, false, 0},   /* 10 % usually: a fifth is not three times */
        {10000, 10, 5000, 2, true, 60},   /* half of them is */
        {0, 0, 1000, 5, true, 40},        /* hardly known: 1 % is supposed */
        {10000, 0, 3000, 30, false, 0},   /* 3.3 % where nobody was unknown: under five points */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_surge s = {.usual_n = rows[i].usual_n};
        s.usual_unknown = rows[i].usual_every ? rows[i].usual_n / rows[i].usual_every : 0;
        unsigned unknown = 0;
        for (unsigned k = 1; k <= rows[i].n && !s.on; k++) {
            bool denied = k % rows[i].every == 0;
            unknown += denied;
            rmd_surge_count(&s, denied, 2000);
        }
        assert_int_equal(s.on, rows[i].surge);
        if (s.on)
            assert_in_range(unknown, 1, rows[i].unknown_at_most);
    }
}

static void a_surge_is_not_learned_and_ends(void **state) {
    (void)state;
    struct rmd_surge s = {0};
    answers(&s, 10000, 100, 1000);
    uint32_t usual = rmd_surge_usual_ppm(&s);
    assert_in_range(usual, 9000, 11000);
    assert_int_equal(answers(&s, 500, 5, 2000), RMD_SURGE_BEGAN);
    answers(&s, 50000, 5, 3000);
    assert_true(s.on);
    assert_int_equal(rmd_surge_usual_ppm(&s), usual);
    assert_int_equal(answers(&s, 150, 0, 4000), RMD_SURGE_SAME); /* a pause in it is no end */
    answers(&s, 100, 5, 4500);
    assert_int_equal(answers(&s, 400, 100, 5000), RMD_SURGE_OVER);
    assert_in_range(rmd_surge_usual_ppm(&s), usual - 500, usual + 500);
    /* Or nothing more is heard of it. */
    assert_int_equal(answers(&s, 500, 5, 6000), RMD_SURGE_BEGAN);
    assert_int_equal(rmd_surge_count(&s, false, 6000 + RMD_SURGE_SILENT_MS), RMD_SURGE_OVER);
    /* Or somebody says that it was true: then so much is usual. */
    answers(&s, 100000, 5, 7000 + RMD_SURGE_SILENT_MS);
    assert_true(s.on);
    rmd_surge_learn(&s);
    assert_false(s.on);
    assert_in_range(rmd_surge_usual_ppm(&s), 170000, 200000);
    answers(&s, 5000, 5, 8000 + RMD_SURGE_SILENT_MS);
    assert_false(s.on);
}

/* ---------------------------------------------------------------- stories */

enum { USERS = 2000 };
static const char *const google[] = {"g.test", NULL}, *const both[] = {"g.test", "y.test", NULL},
                         *const small[] = {"o.test", "p.test", NULL};

struct receivers {
    bool denies_valid; /* google, or site o.test: a fifth of those who exist */
    bool denies_all;
};

static unsigned number_of(const char *email) {
    uint64_t n = 0;
    (void)!rmd_parse_u64(rmd_slice(email + 4, strcspn(email + 4, "@")), &n);
    return (unsigned)n;
}

/* One in a hundred doesn't exist. */
static bool exists(unsigned user) {
    return user % 100 != 7;
}

static void receive(struct cw *w, struct cw_node *n, const struct cw_lease *l, const char *email,
                    Remuda__Outcome *o) {
    (void)n, (void)l;
    const struct receivers *r = w->ctx;
    unsigned user = number_of(email);
    bool there = strstr(email, "@g.test") || strstr(email, "@o.test");
    if (!exists(user) || r->denies_all || (r->denies_valid && there && user % 5 == 3)) {
        cw_outcome_fill(o, RMD_OUTCOME_BOUNCED, RMD_CLASS_USER_UNKNOWN, RMD_ACTION_SUPPRESS, RMD_SCOPE_RECIPIENT,
                        false);
        o->reply->code = 550;
        o->reply->enhanced = (char *)(uintptr_t) "5.1.1";
    }
}

static struct cw *world(struct receivers *r) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    cw_domain(w, "p.test", "mx.p.test");
    cw_stream(w, "bulk", NULL);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    w->answer = receive;
    w->ctx = r;
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

/* Suppressed users of a domain who exist, or who don't. */
static unsigned suppressed(struct cw *w, const char *domain, bool real) {
    unsigned n = 0;
    for (unsigned i = 0; i < 3 * USERS; i++) {
        char email[64];
        assert_true(rmd_format(email, sizeof email, "user%u@%s", i, domain));
        n += exists(i) == real && rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str(email));
    }
    return n;
}

static void find_surge(void *ctx, const Remuda__IncidentRecord *i) {
    Remuda__IncidentRecord **found = ctx;
    if (i->surge_wall_ms && (!*found || i->id > (*found)->id))
        *found = (Remuda__IncidentRecord *)(uintptr_t)i;
}

static Remuda__IncidentRecord *surge_of(struct cw *w) {
    Remuda__IncidentRecord *found = NULL;
    rmd_coord_incidents(w->core, find_surge, &found);
    return found;
}

static void send(struct cw *w, const char *const *domains, uint32_t n, uint32_t first) {
    struct rmd_id id = cw_submit(w, "bulk", domains, n, first);
    cw_pass(w, 60000, 1000);
    const Remuda__CampaignRecord *k = cw_campaign(w, &id, NULL);
    assert_int_equal(k->delivered + k->bounced + k->suppressed, n);
}

static int decide(struct cw *w, enum rmd_command_kind kind, uint64_t incident) {
    struct rmd_command m = {.kind = kind, .number = incident, .tenant = 1, .reason = "said support"};
    return cw_command(w, &m);
}

static void a_provider_denies_a_fifth_and_one_command_undoes_it(void **state) {
    (void)state;
    struct receivers r = {0};
    struct cw *w = world(&r);
    send(w, both, USERS, 0); /* an ordinary day */
    assert_int_equal(suppressed(w, "g.test", false) + suppressed(w, "y.test", false), USERS / 100);
    assert_null(surge_of(w));
    r.denies_valid = true;
    send(w, both, USERS, USERS);
    assert_int_equal(suppressed(w, "g.test", true), 0); /* those of the way into it included */
    assert_int_equal(cw_events(w, "incident.opened"), 1);
    Remuda__IncidentRecord *i = surge_of(w);
    uint64_t id = i->id, pending = i->pending;
    assert_in_range(pending, 180, 240);
    assert_int_equal(i->waiting, pending);
    assert_true(i->denied >= 200 && i->answered >= 900 && !i->surge_over_wall_ms);
    assert_true(suppressed(w, "y.test", false) > USERS / 200); /* elsewhere unknown is unknown */
    cw_crash(w, false);
    i = surge_of(w);
    assert_int_equal(i->pending, pending);
    send(w, google, USERS / 2, 2 * USERS); /* it goes on after the restart */
    assert_int_equal(suppressed(w, "g.test", true), 0);
    i = surge_of(w);
    assert_int_equal(i->id, id);
    assert_true(i->pending > pending + 180);
    /* It ends, and nobody decides: the next answer to each does, and what is unknown now is suppressed. */
    r.denies_valid = false;
    send(w, google, 500, 2 * USERS + USERS / 2);
    i = surge_of(w);
    assert_true(i->surge_over_wall_ms && !i->state);
    assert_int_equal(cw_events(w, "incident.surge_over"), 1);
    pending = i->pending;
    unsigned before = suppressed(w, "g.test", false);
    send(w, google, USERS / 2, 2 * USERS);
    assert_true(surge_of(w)->pending < pending - 180);
    assert_true(suppressed(w, "g.test", false) > before);
    assert_int_equal(suppressed(w, "g.test", true), 0);
    /* The rest. */
    uint64_t left = surge_of(w)->pending;
    assert_true(left > 100);
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_UNDO, id), RMD_OK);
    i = surge_of(w);
    assert_int_equal(i->state, 1);
    assert_int_equal(i->pending, 0);
    assert_true(i->undone >= left);
    assert_non_null(strstr(i->resolution, "may be contacted again"));
    assert_int_equal(suppressed(w, "g.test", true), 0);
    cw_crash(w, true);
    assert_int_equal(suppressed(w, "g.test", true), 0);
    assert_true(suppressed(w, "g.test", false) > 0); /* of the ordinary day */
    done(w);
}

static void confirm_suppresses_and_such_a_share_is_usual(void **state) {
    (void)state;
    struct receivers r = {.denies_valid = true}; /* say: they are really gone */
    struct cw *w = world(&r);
    send(w, google, USERS, 0);
    uint64_t pending = surge_of(w)->pending, id = surge_of(w)->id;
    assert_true(pending > 300);
    assert_int_equal(suppressed(w, "g.test", true) + suppressed(w, "g.test", false), 0);
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_CONFIRM, id + 100), RMD_ENOTFOUND);
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_CONFIRM, id), RMD_OK);
    assert_int_equal(w->reply_number, pending);
    assert_int_equal(suppressed(w, "g.test", true) + suppressed(w, "g.test", false), pending);
    cw_crash(w, false);
    assert_int_equal(suppressed(w, "g.test", true) + suppressed(w, "g.test", false), pending);
    send(w, google, USERS, USERS); /* as before, and no surge any more */
    assert_int_equal(suppressed(w, "g.test", true) + suppressed(w, "g.test", false), 2 * pending);
    assert_int_equal(cw_events(w, "incident.opened"), 1);
    done(w);
}

static void undo_in_its_midst_frees_those_so_far(void **state) {
    (void)state;
    struct receivers r = {.denies_valid = true};
    struct cw *w = world(&r);
    send(w, google, USERS, 0);
    uint64_t id = surge_of(w)->id;
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_UNDO, id), RMD_OK);
    assert_int_equal(surge_of(w)->state, 0);
    assert_int_equal(surge_of(w)->pending, 0);
    send(w, google, USERS, USERS);
    assert_int_equal(surge_of(w)->id, id);
    assert_true(surge_of(w)->pending > 300);
    assert_int_equal(suppressed(w, "g.test", true), 0);
    done(w);
}

/* The operator's word counts whatever a provider says: it is never pending, and no undo frees it. */
static void who_was_suppressed_by_hand_stays_so(void **state) {
    (void)state;
    struct receivers r = {0};
    struct cw *w = world(&r);
    send(w, google, 100, 0); /* user7 bounces */
    const char *const by_hand[] = {"user7@g.test", "user1@g.test", "user2003@g.test", "user2008@g.test"};
    for (size_t i = 0; i < 2; i++) {
        struct rmd_command m = {
            .kind = RMD_CMD_SUPPRESS, .tenant = 1, .name = by_hand[i], .reason = i ? "asked" : ""};
        assert_int_equal(cw_command(w, &m), RMD_OK);
    }
    r.denies_valid = true;
    send(w, google, 1000, 2000);
    for (size_t i = 2; i < 4; i++) { /* pending until then */
        assert_false(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str(by_hand[i])));
        struct rmd_command m = {.kind = RMD_CMD_SUPPRESS, .tenant = 1, .name = by_hand[i], .reason = "complained"};
        assert_int_equal(cw_command(w, &m), RMD_OK);
    }
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_UNDO, surge_of(w)->id), RMD_OK);
    for (size_t i = 0; i < 4; i++)
        assert_true(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str(by_hand[i])));
    cw_crash(w, false);
    for (size_t i = 0; i < 4; i++)
        assert_true(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str(by_hand[i])));
    done(w);
}

/* Sites of `other` are receivers of their own: what one denies is nothing about the next. */
static void a_small_receiver_is_judged_alone(void **state) {
    (void)state;
    struct receivers r = {.denies_valid = true};
    struct cw *w = world(&r);
    send(w, small, USERS, 0);
    assert_int_equal(suppressed(w, "o.test", true), 0);
    assert_string_equal(surge_of(w)->subject, "o.test");
    assert_true(suppressed(w, "p.test", false) > 5);
    assert_int_equal(cw_events(w, "incident.opened"), 1);
    done(w);
}

/* Memory is bounded: past the limit nobody is suppressed, and nobody is remembered; the incident says how many. */
static void more_than_can_be_kept_is_counted(void **state) {
    (void)state;
    enum { MORE = 500 };
    struct receivers r = {.denies_all = true};
    struct cw *w = world(&r);
    cw_submit(w, "bulk", google, RMD_SURGE_PENDING_MAX + MORE, 0);
    cw_pass(w, 60000, 1000);
    assert_int_equal(surge_of(w)->pending, RMD_SURGE_PENDING_MAX);
    assert_int_equal(surge_of(w)->not_kept, MORE);
    assert_int_equal(suppressed(w, "g.test", true), 0);
    uint64_t id = surge_of(w)->id;
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_UNDO, id), RMD_OK); /* in slices */
    assert_int_equal(w->reply_number, RMD_SURGE_PENDING_MAX);
    assert_int_equal(surge_of(w)->pending, 0);
    assert_int_equal(cw_events(w, "suppression.removed"), 1000); /* not one by one without an end */
    done(w);
}

/* A decision that was taken is carried out, whatever happens to the process. */
static void a_crash_in_the_midst_of_a_decision(void **state) {
    (void)state;
    struct receivers r = {.denies_all = true};
    struct cw *w = world(&r);
    cw_submit(w, "bulk", google, 5000, 0);
    cw_pass(w, 30000, 1000);
    assert_int_equal(surge_of(w)->pending, 5000);
    w->hold_commits = true; /* the decision is on its way to the disk */
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_UNDO, surge_of(w)->id), RMD_EAGAIN);
    cw_crash(w, false); /* nothing of it is durable: nothing is undone, and nothing half */
    assert_int_equal(surge_of(w)->pending, 5000);
    assert_int_equal(decide(w, RMD_CMD_SUPPRESS_CONFIRM, surge_of(w)->id), RMD_OK);
    cw_crash(w, true);
    assert_int_equal(surge_of(w)->pending, 0);
    assert_int_equal(suppressed(w, "g.test", true) + suppressed(w, "g.test", false), 5000);
    done(w);
}

/* A tenant's bad list is no reason to doubt what another one hears. */
static void tenants_are_apart(void **state) {
    (void)state;
    struct receivers r = {.denies_valid = true};
    struct cw *w = world(&r);
    cw_tenant(w, 2);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.tenant = 2;
    cw_stream(w, "theirs", &s);
    Remuda__SourceRecord src = REMUDA__SOURCE_RECORD__INIT;
    char *pool = (char *)(uintptr_t) "main";
    src.tenant = 2;
    src.address = (char *)(uintptr_t) "203.0.113.8";
    src.pool = &pool;
    src.n_pool = 1;
    struct rmd_command add = {.kind = RMD_CMD_SOURCE_ADD, .name = "n1", .source = &src, .tenant = 2};
    assert_int_equal(cw_command(w, &add), RMD_OK);
    send(w, google, 1000, 0);
    uint64_t id = surge_of(w)->id;
    assert_int_equal(surge_of(w)->tenant, 1);
    struct rmd_command m = {.kind = RMD_CMD_SUPPRESS_UNDO, .number = id, .tenant = 2};
    assert_int_equal(cw_command(w, &m), RMD_ENOTFOUND);
    r.denies_valid = false;
    w->tenant = 2;
    struct rmd_id k = cw_submit(w, "theirs", google, 500, 0);
    cw_pass(w, 60000, 1000);
    assert_int_equal(cw_campaign(w, &k, NULL)->bounced, 5);
    assert_true(rmd_coord_suppressed(w->core, 2, 0, rmd_slice_str("user7@g.test")));
    assert_false(rmd_coord_suppressed(w->core, 1, 0, rmd_slice_str("user7@g.test")));
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_far_over_the_usual),
        cmocka_unit_test(a_surge_is_not_learned_and_ends),
        cmocka_unit_test(a_provider_denies_a_fifth_and_one_command_undoes_it),
        cmocka_unit_test(confirm_suppresses_and_such_a_share_is_usual),
        cmocka_unit_test(undo_in_its_midst_frees_those_so_far),
        cmocka_unit_test(who_was_suppressed_by_hand_stays_so),
        cmocka_unit_test(a_small_receiver_is_judged_alone),
        cmocka_unit_test(more_than_can_be_kept_is_counted),
        cmocka_unit_test(a_crash_in_the_midst_of_a_decision),
        cmocka_unit_test(tenants_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
