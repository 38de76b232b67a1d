/* What operators change while mail is under way: sources, nodes, streams; and a store that can't be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/core/keys.h"
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

/* A complete record as the API gives it: address, HELO, pool "main", a cap for each lane. */
static int source(struct cw *w, enum rmd_command_kind kind, const char *address, const char *node, const char *helo,
                  uint64_t lane_cap) {
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    char *pool[] = {(char *)(uintptr_t) "main"};
    r.address = r.bind = (char *)(uintptr_t)address;
    r.helo = (char *)(uintptr_t)helo;
    r.pool = pool;
    r.n_pool = 1;
    r.lane_cap_per_day = lane_cap;
    struct rmd_command m = {.kind = kind, .name = node, .source = &r};
    return cw_command(w, &m);
}

static int source_state(struct cw *w, const char *address, uint32_t state) {
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_STATE, .name = address, .state = state};
    return cw_command(w, &m);
}

static int node_add(struct cw *w, const char *name, uint8_t key) {
    struct rmd_command m = {.kind = RMD_CMD_NODE_ADD, .name = name};
    memset(m.key, key, sizeof m.key);
    return cw_command(w, &m);
}

static uint64_t delivered(struct cw *w, const struct rmd_id *id) {
    return cw_campaign(w, id, NULL)->delivered;
}

static void a_changed_source_keeps_what_it_has_used(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    assert_int_equal(source(w, RMD_CMD_SOURCE_ADD, "203.0.113.7", "n1", "a.example.org", 10), RMD_OK);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 30, 0);
    cw_pass(w, 5000, 500);
    assert_int_equal(delivered(w, &id), 10);
    assert_int_equal(source(w, RMD_CMD_SOURCE_PUT, "203.0.113.7", "n1", "b.example.org", 15), RMD_OK);
    cw_pass(w, 5000, 500);
    assert_int_equal(delivered(w, &id), 15);
    /* Retired and brought back, also across a restart, it is the same address to receivers, and to the ledger. */
    assert_int_equal(source_state(w, "203.0.113.7", RMD_SOURCE_RETIRING),
                     RMD_OK); /* without leases: retired at once */
    assert_int_equal(source(w, RMD_CMD_SOURCE_PUT, "203.0.113.7", "n1", "b.example.org", 20), RMD_ECONFLICT);
    cw_crash(w, false);
    assert_int_equal(source(w, RMD_CMD_SOURCE_ADD, "203.0.113.7", "n1", "b.example.org", 18), RMD_OK);
    assert_int_equal(source(w, RMD_CMD_SOURCE_ADD, "203.0.113.7", "n1", "b.example.org", 18), RMD_EEXISTS);
    cw_pass(w, 60000, 1000);
    assert_int_equal(delivered(w, &id), 18);
    done(w);
}

static void a_source_moves_to_another_node_when_nothing_is_out(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n1 = cw_node_add(w, "n1");
    cw_node_add(w, "n2");
    assert_int_equal(source(w, RMD_CMD_SOURCE_ADD, "203.0.113.7", "n1", "a.example.org", 0), RMD_OK);
    n1->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 20, 0);
    cw_pass(w, 2000, 500);
    assert_int_equal(source(w, RMD_CMD_SOURCE_PUT, "203.0.113.7", "n2", "a.example.org", 0), RMD_ECONFLICT);
    assert_non_null(strstr(w->reply_text, "leases with node n1"));
    assert_int_equal(source(w, RMD_CMD_SOURCE_PUT, "203.0.113.7", "nobody", "a.example.org", 0), RMD_ENOTFOUND);
    assert_non_null(strstr(w->reply_text, "there is no node nobody"));
    cw_answer_some(w, n1, 5);
    cw_give_back(w, n1, NULL, NULL, RMD_RETURN_RECALLED);
    assert_int_equal(source_state(w, "203.0.113.7", RMD_SOURCE_PAUSED), RMD_OK);
    cw_pass(w, 5000, 500);
    assert_int_equal(source(w, RMD_CMD_SOURCE_PUT, "203.0.113.7", "n2", "a.example.org", 0), RMD_OK);
    assert_int_equal(source_state(w, "203.0.113.7", RMD_SOURCE_ACTIVE), RMD_OK);
    cw_pass(w, 20000, 1000);
    assert_int_equal(delivered(w, &id), 20);
    done(w);
}

static void a_revoked_node_comes_back_with_a_new_key_only(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    uint8_t old = n->peer.key[0];
    cw_source(w, "203.0.113.7", "n1", 0);
    assert_int_equal(node_add(w, "n1", 200), RMD_EEXISTS); /* revoke first: two hosts may not be one node */
    struct rmd_command m = {.kind = RMD_CMD_NODE_REVOKE, .name = "n1", .reason = "its disk was stolen"};
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_int_equal(node_add(w, "n1", old), RMD_ECONFLICT);
    assert_int_equal(node_add(w, "n1", 200), RMD_OK);
    assert_int_equal(node_add(w, "n1", 200), RMD_OK); /* said twice */
    cw_crash(w, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(node_add(w, i ? "n1" : "n9", old), RMD_ECONFLICT);
    memset(n->peer.key, 200, sizeof n->peer.key);
    n->peer.session++;
    cw_hello(w, n);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 20, 0);
    cw_pass(w, 20000, 1000);
    assert_int_equal(delivered(w, &id), 20); /* its source is still its */
    done(w);
}

static Remuda__Bye *bye_of(struct cw_node *n, Remuda__Bye *b, uint64_t *held) {
    remuda__bye__init(b);
    b->reason = (char *)(uintptr_t) "orderly stop";
    b->journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    b->journal_position = n->n;
    b->lease_high_water = n->high_water;
    b->lease_id = held;
    return b;
}

/* A node that ends in order leaves nothing behind: leases that it never took, and those that it holds no more, are
 * dealt to another one at once. What it names stays its. */
static void an_orderly_end_strands_nothing(void **state) {
    (void)state;
    for (int holds_one = 0; holds_one < 2; holds_one++) {
        struct cw *w = world();
        struct cw_node *n = cw_node_add(w, "n1");
        cw_node_add(w, "n2");
        cw_source(w, "203.0.113.7", "n1", 0);
        n->holds = true;
        struct rmd_id id = cw_submit(w, "bulk", one_domain, 500, 0);
        cw_pass(w, 1000, 100);
        assert_true(n->n_leases >= 2);
        uint64_t held = n->lease[0]->id;
        uint32_t held_n = n->lease[0]->n;
        Remuda__Heartbeat h = REMUDA__HEARTBEAT__INIT;
        Remuda__Frame f = REMUDA__FRAME__INIT;
        h.stopping = true;
        f.body_case = REMUDA__FRAME__BODY_HEARTBEAT;
        f.heartbeat = &h;
        cw_frame(w, n, &f);
        cw_run(w);
        cw_source(w, "203.0.113.8", "n1", 0); /* room, but at a node that is leaving */
        size_t leases = n->n_leases;
        cw_run(w);
        assert_int_equal(n->n_leases, leases);
        Remuda__Bye b;
        f.body_case = REMUDA__FRAME__BODY_BYE;
        f.bye = bye_of(n, &b, &held);
        b.n_lease_id = (size_t)holds_one;
        cw_frame(w, n, &f);
        n->dead = true;
        cw_run(w);
        struct rmd_campaign_view v;
        cw_campaign(w, &id, &v);
        assert_int_equal(v.leased, holds_one ? held_n : 0);
        cw_source(w, "198.51.100.7", "n2", 0);
        cw_pass(w, 20000, 1000);
        assert_int_equal(delivered(w, &id), 500 - (holds_one ? held_n : 0));
        assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 0);
        done(w);
    }
}

/* Reports that are not settled yet may tell of any of its leases: nothing comes back before. */
static void an_orderly_end_waits_for_its_reports(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 100);
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Bye b;
    f.body_case = REMUDA__FRAME__BODY_BYE;
    f.bye = bye_of(n, &b, NULL);
    b.journal_position = n->n + 1; /* one outcome that never arrived here */
    cw_frame(w, n, &f);
    cw_run(w);
    struct rmd_campaign_view v;
    cw_campaign(w, &id, &v);
    assert_int_equal(v.leased, 50);
    done(w);
}

static void revoking_tells_the_node_and_forgetting_waits_for_its_leases(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    struct rmd_command m = {.kind = RMD_CMD_NODE_FORGET, .name = "n1"};
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 1000, 100);
    m.kind = RMD_CMD_NODE_REVOKE;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_int_equal(n->refused_code, 3);
    assert_non_null(strstr(w->reply_text, "50 messages are its until its leases end in"));
    m.kind = RMD_CMD_NODE_FORGET;
    assert_int_equal(cw_command(w, &m), RMD_OK);
    assert_non_null(strstr(w->reply_text, "50 messages are its until its leases end in"));
    assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 0);
    cw_crash(w, false); /* it stays forgotten */
    cw_pass(w, 70000, 1000);
    assert_int_equal(cw_campaign(w, &id, NULL)->uncertain, 50);
    assert_int_equal(cw_command(w, &m), RMD_ECONFLICT);
    assert_non_null(strstr(w->reply_text, "nothing is in doubt"));
    done(w);
}

static void addresses_that_no_host_has_are_no_sources(void **state) {
    (void)state;
    struct cw *w = world();
    cw_node_add(w, "n1");
    static const char *const bad[] = {"0.0.0.0", "0.1.2.3", "224.0.0.1",          "255.255.255.255",
                                      "::",      "ff02::1", "::ffff:203.0.113.7", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(source(w, RMD_CMD_SOURCE_ADD, bad[i], "n1", "a.example.org", 0), RMD_EINVAL);
    assert_int_equal(source(w, RMD_CMD_SOURCE_ADD, "2001:db8::7", "n1", "a.example.org", 0), RMD_OK);
    done(w);
}

static void a_new_priority_orders_the_queues_at_once(void **state) {
    (void)state;
    struct cw *w = world();
    struct cw_node *n = cw_node_add(w, "n1");
    cw_stream(w, "urgent", NULL);
    cw_source(w, "203.0.113.7", "n1", 0);
    n->holds = true;
    assert_int_equal(source_state(w, "203.0.113.7", RMD_SOURCE_PAUSED), RMD_OK);
    Remuda__StreamRecord s = REMUDA__STREAM_RECORD__INIT;
    s.priority = 10;
    cw_stream(w, "bulk", &s);
    cw_stream(w, "urgent", &s);
    cw_submit(w, "bulk", one_domain, 100, 0);
    struct rmd_id urgent = cw_submit(w, "urgent", one_domain, 100, 1000);
    cw_pass(w, 5000, 500);
    assert_int_equal(n->n_leases, 0);
    s.priority = 1;
    cw_stream(w, "urgent", &s);
    assert_int_equal(source_state(w, "203.0.113.7", RMD_SOURCE_ACTIVE), RMD_OK);
    cw_pass(w, 2000, 500);
    assert_true(n->n_leases > 0);
    assert_memory_equal(&n->lease[0]->campaign, &urgent, sizeof urgent); /* the first of them */
    done(w);
}

/* Without its row a campaign's recipients would be removed as those of a submission that never ended. */
static void a_store_that_cant_be_read_is_not_served(void **state) {
    (void)state;
    struct rmd_id id = rmd_id_make(1, 1);
    const struct rmd_key keys[] = {rmd_key_table('A'), rmd_key_campaign(1, &id), rmd_key_stream(1, 1)};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct rmd_coord_options o = {.heartbeat_lost_ms = 1000};
        struct rmd_coord *c = rmd_coord_new(&o, 1);
        struct rmd_coord_effects fx = {0};
        struct rmd_row row = {.key = rmd_key_slice(&keys[i]), .value = rmd_slice("\xff\xff\xff", 3)};
        struct rmd_coord_event e = {.kind = RMD_CE_RESTORE, .row = &row, .n_rows = 1};
        assert_int_equal(rmd_coord_step(c, &e, &fx), RMD_EFORMAT);
        assert_int_equal(fx.n, 1);
        assert_int_equal(fx.v[0].kind, RMD_CF_LOG);
        rmd_coord_effects_release(&fx);
        rmd_coord_free(c);
    }
}

static void a_store_of_a_later_version_is_left_alone(void **state) {
    (void)state;
    Remuda__MetaRecord m = REMUDA__META_RECORD__INIT;
    m.schema = 99;
    struct rmd_buf packed = {0};
    rmd_pb_encode(&m, &packed);
    struct rmd_coord_options o = {.heartbeat_lost_ms = 1000};
    struct rmd_coord *c = rmd_coord_new(&o, 1);
    struct rmd_coord_effects fx = {0};
    struct rmd_key k = rmd_key_table('A');
    struct rmd_row row = {.key = rmd_key_slice(&k), .value = rmd_buf_slice(&packed)};
    struct rmd_coord_event e = {.kind = RMD_CE_RESTORE, .row = &row, .n_rows = 1};
    assert_int_equal(rmd_coord_step(c, &e, &fx), RMD_EVERSION);
    assert_non_null(strstr(fx.v[0].text, "later version"));
    rmd_coord_effects_release(&fx);
    rmd_coord_free(c);
    rmd_buf_release(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_source_keeps_what_it_has_used),
        cmocka_unit_test(a_source_moves_to_another_node_when_nothing_is_out),
        cmocka_unit_test(a_revoked_node_comes_back_with_a_new_key_only),
        cmocka_unit_test(an_orderly_end_strands_nothing),
        cmocka_unit_test(an_orderly_end_waits_for_its_reports),
        cmocka_unit_test(revoking_tells_the_node_and_forgetting_waits_for_its_leases),
        cmocka_unit_test(addresses_that_no_host_has_are_no_sources),
        cmocka_unit_test(a_new_priority_orders_the_queues_at_once),
        cmocka_unit_test(a_store_that_cant_be_read_is_not_served),
        cmocka_unit_test(a_store_of_a_later_version_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
