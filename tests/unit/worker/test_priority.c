/* Transactional mail at a lane that is busy with bulk mail: it finds a connection, it goes first, and bulk mail goes on. */
#include "tests/unit/worker/world.h"

enum { BULK = 1, URGENT = 2, CONNECTIONS = 3 };

static size_t outcomes_of(const struct world *x, uint64_t lease, size_t first) {
    size_t n = 0;
    for (size_t i = first; i < x->outcomes; i++)
        n += x->outcome[i].lease == lease;
    return n;
}

/* Whoever has sent its dot while `flag` is set waits for ever; `count` has a bit for each such connection. */
static const char *hangs(struct world *x, struct world_conn *c, const char *line) {
    int bit = 1 << (c - x->conn);
    if (strcmp(line, ".") != 0)
        return NULL;
    if (x->flag)
        x->count |= bit;
    return x->count & bit ? "!silent" : NULL;
}

static struct world *busy(uint32_t kept, size_t sites) {
    struct world *x = world_ready();
    x->answer = hangs;
    x->flag = 1;
    world_lease(x, (struct world_lease){.id = BULK,
                                        .domain = sites > 1 ? "bulk.test" : "a.test",
                                        .domains = sites > 1 ? (int)sites : 0,
                                        .n = 200,
                                        .connections = CONNECTIONS,
                                        .kept = kept});
    world_run(x, 5000);
    x->flag = 0;
    assert_int_equal(x->max_conns, CONNECTIONS - kept);
    assert_int_equal(x->outcomes, 0);
    return x;
}

static void a_connection_is_kept_for_it(void **state) {
    (void)state;
    for (size_t sites = 1; sites <= 5; sites += 4) {
        struct world *x = busy(1, sites);
        world_lease(
            x, (struct world_lease){
                   .id = URGENT, .domain = "a.test", .n = 20, .connections = CONNECTIONS, .kept = 1, .urgent = true});
        world_run(x, 2000);
        assert_int_equal(outcomes_of(x, URGENT, 0), 20);
        assert_int_equal(outcomes_of(x, BULK, 0), 0); /* the place stays kept */
        world_lease(x, (struct world_lease){.id = URGENT + 1,
                                            .domain = "b.test",
                                            .n = 20,
                                            .connections = CONNECTIONS,
                                            .kept = 1,
                                            .urgent = true});
        world_run(x, 20000);
        assert_int_equal(outcomes_of(x, URGENT + 1, 0), 20);
        assert_int_equal(x->max_conns, CONNECTIONS);
        world_free(x);
    }
}

static void without_it_waits_for_the_receiver(void **state) {
    (void)state;
    struct world *x = busy(0, 1);
    world_lease(x, (struct world_lease){
                       .id = URGENT, .domain = "a.test", .n = 20, .connections = CONNECTIONS, .urgent = true});
    world_run(x, 20000);
    assert_int_equal(x->outcomes, 0);
    world_free(x);
}

static void it_goes_first_and_bulk_goes_on(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(
        x, (struct world_lease){.id = BULK, .domain = "a.test", .n = 600, .rate = 600, .connections = 1, .kept = 1});
    world_run(x, 10000);
    size_t before = x->outcomes;
    world_lease(
        x, (struct world_lease){
               .id = URGENT, .domain = "a.test", .n = 100, .rate = 600, .connections = 1, .kept = 1, .urgent = true});
    world_run(x, 12000); /* 120 at most; 112 of them are the urgent ones and one bulk after each eight */
    assert_int_equal(outcomes_of(x, URGENT, before), 100);
    size_t bulk = 0;
    for (size_t i = before, urgent = 0; urgent < 100; i++) {
        urgent += x->outcome[i].lease == URGENT;
        bulk += x->outcome[i].lease == BULK;
    }
    assert_in_range(bulk, 100 / 9, 100 / 8 + 2);
    world_run(x, 60000);
    assert_int_equal(x->outcomes, 700);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept_for_it),
        cmocka_unit_test(without_it_waits_for_the_receiver),
        cmocka_unit_test(it_goes_first_and_bulk_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
