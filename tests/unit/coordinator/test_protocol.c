/* The coordinator's side of the protocol's rules (design, section 5): which versions are spoken, what becomes of a frame that can't
 * be read, that a node speaks of its own sources and leases only, what revoking a key does to the bus, and the credit window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/codec.h"
#include "proto/site.h"
#include "tests/kit/coord_world.h"

static const char *const one_domain[] = {"g.test", NULL};

static struct cw *world(void) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    cw_stream(w, "bulk", NULL);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static struct rmd_status_view status(struct cw *w) {
    struct rmd_status_view v;
    rmd_coord_status(w->core, &v);
    return v;
}

/* ---------------------------------------------------------------- versions */

static void hello_with_versions(struct cw *w, struct cw_node *n, uint32_t min, uint32_t max) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Hello h = REMUDA__HELLO__INIT;
    h.version_min = min;
    h.version_max = max;
    h.software = h.hostname = n->name;
    h.boot_id = (ProtobufCBinaryData){.data = n->boot, .len = sizeof n->boot};
    h.journal_uuid = (ProtobufCBinaryData){.data = n->uuid, .len = sizeof n->uuid};
    h.node_mono_ms = w->now.wall_ms;
    f.body_case = REMUDA__FRAME__BODY_HELLO;
    f.hello = &h;
    cw_frame(w, n, &f);
    cw_run(w);
}

static void only_a_common_version_is_spoken(void **state) {
    (void)state;
    enum { V = RMD_PROTOCOL_VERSION, LEAST = RMD_PROTOCOL_VERSION_MIN };
    static const struct {
        uint32_t min, max;
        bool common;
    } row[] = {{V, V, true},          {LEAST, V, true},   {V, V + 5, true}, {0, LEAST, true}, {0, V + 9, true},
               {V + 1, V + 1, false}, {V + 1, 99, false}, {0, 0, false},    {99, 99, false},  {0, LEAST - 1, false}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct cw *w = world();
        struct cw_node *n = cw_node_add(w, "n1");
        cw_source(w, "203.0.113.7", "n1", 0);
        cw_kill_node(w, n);
        cw_pass(w, 6000, 500);
        n->dead = n->welcomed = false;
        n->refused_code = 0;
        n->peer.session++;
        hello_with_versions(w, n, row[i].min, row[i].max);
        assert_int_equal(n->welcomed, row[i].common);
        assert_int_equal(n->refused_code, row[i].common ? 0 : 1);
        assert_int_equal(status(w).nodes_connected, row[i].common);
        n->dead = !row[i].common; /* the world's own Hello would come next, in a version that is spoken */
        cw_submit(w, "bulk", one_domain, 10, 0);
        cw_pass(w, 1000, 200);
        assert_int_equal(w->n_rcpts, row[i].common ? 10 : 0);
        assert_int_equal(cw_events(w, "node.refused"), row[i].common ? 0 : 1);
        done(w);
    }
}

/* ---------------------------------------------------------------- frames that can't be read */

struct counted {
    uint64_t from;
    bool connected;
};
static void on_node(void *ctx, const struct rmd_node_view *v) {
    *(struct counted *)ctx = (struct counted){v->malformed_from, v->connected};
}

static void a_malformed_frame_is_counted_and_the_session_goes_on(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 200);
    for (int i = 0; i < 3; i++)
        cw_malformed(w, n);
    cw_run(w);
    Remuda__Frame strange = REMUDA__FRAME__INIT; /* readable, and nothing that a node says */
    cw_frame(w, n, &strange);
    cw_run(w);
    struct counted c;
    rmd_coord_nodes(w->core, on_node, &c);
    assert_int_equal(c.from, 4);
    assert_true(c.connected);
    assert_int_equal(status(w).malformed_frames, 4);
    assert_int_equal(status(w).nodes_connected, 1);
    assert_int_equal(n->drops, 0);
    assert_int_equal(cw_events(w, "node.lost"), 0);
    cw_answer_all(w, n); /* and what it says next is heard */
    n->holds = false;
    cw_pass(w, 1000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 50);
    assert_int_equal(n->welcomed, true);
    done(w);
}

static void strangers_frames_are_counted_too(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node stranger = {.name = "nobody", .peer = {.key = {99}, .session = 7}};
    cw_malformed(w, &stranger);
    cw_run(w);
    assert_int_equal(status(w).malformed_frames, 1);
    done(w);
}

/* ---------------------------------------------------------------- its own sources and leases only */

static void on_any(void *ctx, const Remuda__IncidentRecord *r) {
    (void)r;
    ++*(size_t *)ctx;
}

static size_t incidents(struct cw *w) {
    size_t n = 0;
    rmd_coord_incidents(w->core, on_any, &n);
    return n;
}

static const struct rmd_verdict blocked = {.class = RMD_CLASS_IP_BLOCKLISTED,
                                           .scope = RMD_SCOPE_SOURCE,
                                           .at_provider = true,
                                           .action = RMD_ACTION_QUARANTINE,
                                           .move = true,
                                           .rule = "test"};

static void an_alarm_about_anothers_source_is_not_believed(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1"), *b = cw_node_add(w, "n2");
    uint32_t s1 = cw_source(w, "203.0.113.7", "n1", 0), s2 = cw_source(w, "198.51.100.7", "n2", 0);
    uint32_t google = rmd_provider_id("google");
    cw_alarm(w, b, s1, google, &blocked, 1);
    cw_run(w);
    cw_alarm(w, b, s1, rmd_provider_id("yahoo"), &blocked, 1); /* two providers would stop it everywhere */
    cw_run(w);
    assert_int_equal(status(w).sources_quarantined, 0);
    assert_int_equal(incidents(w), 0);
    assert_int_equal(cw_events(w, "source.quarantined"), 0);
    assert_int_equal(a->recalls, 0);
    assert_int_equal(b->alarms_acked, 2); /* else it would say so for ever */
    cw_alarm(w, b, s2 + 100, google, &blocked, 1);
    cw_run(w);
    assert_int_equal(incidents(w), 0);
    cw_alarm(w, b, s2, google, &blocked, 1); /* of its own it is believed */
    cw_run(w);
    assert_int_equal(incidents(w), 1);
    assert_int_equal(cw_events(w, "source.quarantined"), 1);
    done(w);
}

static void a_report_on_anothers_lease_settles_nothing(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1"), *b = cw_node_add(w, "n2");
    cw_source(w, "203.0.113.7", "n1", 0);
    a->holds = b->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 20, 0);
    cw_pass(w, 1000, 200);
    assert_true(a->n_leases == 1 && b->n_leases == 0);
    Remuda__Outcome o = REMUDA__OUTCOME__INIT, *list[] = {&o};
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Report r = REMUDA__REPORT__INIT;
    o.lease = a->lease[0]->id;
    o.kind = RMD_OUTCOME_DELIVERED;
    o.rcpts = 1;
    r.journal_uuid = (ProtobufCBinaryData){.data = b->uuid, .len = sizeof b->uuid};
    r.first_n = 1;
    r.outcome = list;
    r.n_outcome = 1;
    f.body_case = REMUDA__FRAME__BODY_REPORT;
    f.report = &r;
    cw_frame(w, b, &f);
    cw_pass(w, 1000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 0);
    assert_int_equal(cw_events(w, "delivered"), 0);
    a->holds = false;
    cw_answer_all(w, a);
    cw_pass(w, 1000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 20);
    done(w);
}

/* ---------------------------------------------------------------- keys */

static void revoking_takes_the_key_from_the_bus_and_drops_the_session(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *a = cw_node_add(w, "n1"), *b = cw_node_add(w, "n2");
    cw_source(w, "203.0.113.7", "n1", 0);
    assert_true(a->allowed && b->allowed);
    struct rmd_command m = {.kind = RMD_CMD_NODE_REVOKE, .name = "n1"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_false(a->allowed);
    assert_int_equal(a->drops, 1);
    assert_true(b->allowed && !b->drops);
    assert_int_equal(status(w).nodes_connected, 1);
    /* It comes again, as itself or with frames of its old session: refused and dropped each time. */
    a->welcomed = false;
    cw_hello(w, a);
    cw_run(w);
    assert_false(a->welcomed);
    assert_int_equal(a->refused_code, 3);
    assert_int_equal(a->drops, 2);
    /* After a restart the bus is told of the others alone. */
    a->allowed = b->allowed = false;
    a->dead = true;
    cw_crash(w, false);
    assert_false(a->allowed);
    assert_true(b->allowed);
    done(w);
}

/* ---------------------------------------------------------------- the window */

enum { ROW_BYTES = 6000, LEASE_BYTES_MOST = 200 << 10 };

static void a_node_that_acknowledges_nothing_gets_a_window_and_no_more(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    w->row_bytes = ROW_BYTES;
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = n->deaf_to_leases = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 700, 0); /* 4 MiB for one lane */
    cw_pass(w, 3000, 200);                                       /* nothing is repeated yet */
    assert_true(n->lease_bytes > RMD_CREDIT_WINDOW_BYTES - LEASE_BYTES_MOST);
    assert_true(n->lease_bytes <= RMD_CREDIT_WINDOW_BYTES + LEASE_BYTES_MOST + 4096);
    /* It listens again: repeated, acknowledged, and the rest comes. */
    n->holds = n->deaf_to_leases = false;
    cw_pass(w, 20000, 200);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 700);
    done(w);
}

static void what_is_acknowledged_comes_back_to_the_window(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    w->row_bytes = ROW_BYTES;
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    cw_submit(w, "bulk", one_domain, 700, 0);
    cw_pass(w, 3000, 200);
    assert_true(n->lease_bytes > 700 * ROW_BYTES); /* all of it, as fast as it was taken */
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_common_version_is_spoken),
        cmocka_unit_test(a_malformed_frame_is_counted_and_the_session_goes_on),
        cmocka_unit_test(strangers_frames_are_counted_too),
        cmocka_unit_test(an_alarm_about_anothers_source_is_not_believed),
        cmocka_unit_test(a_report_on_anothers_lease_settles_nothing),
        cmocka_unit_test(revoking_takes_the_key_from_the_bus_and_drops_the_session),
        cmocka_unit_test(a_node_that_acknowledges_nothing_gets_a_window_and_no_more),
        cmocka_unit_test(what_is_acknowledged_comes_back_to_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
