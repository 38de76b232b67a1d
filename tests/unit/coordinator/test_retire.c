/* A source is retired, and added again: at once, while a node still has leases of it, and when it is elsewhere by then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "tests/kit/coord_world.h"

static const char *const one_domain[] = {"g.test", NULL};
#define AT "203.0.113.7"

static struct cw *world(struct cw_node **n) {
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 11);
    cw_stream(w, "bulk", NULL);
    *n = cw_node_add(w, "n1");
    cw_node_add(w, "n2");
    cw_source(w, AT, "n1", 0);
    return w;
}

static void done(struct cw *w) {
    cw_release(w);
    free(w);
}

static int retire(struct cw *w) {
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_STATE, .tenant = 1, .name = AT, .state = RMD_SOURCE_RETIRING};
    return cw_command(w, &m);
}

static int add(struct cw *w, const char *node) {
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    char *pool[] = {(char *)(uintptr_t) "main"};
    r.address = (char *)(uintptr_t)AT;
    r.helo = (char *)(uintptr_t) "m.example";
    r.pool = pool;
    r.n_pool = 1;
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_ADD, .tenant = 1, .name = node, .source = &r};
    return cw_command(w, &m);
}

static void state_of(void *ctx, const struct rmd_source_view *v) {
    *(uint32_t *)ctx = v->record->state;
}

static uint32_t state(struct cw *w) {
    uint32_t s = UINT32_MAX;
    rmd_coord_sources(w->core, state_of, &s);
    return s;
}

static void without_leases_it_is_retired_at_once(void **unused) {
    (void)unused;
    struct cw_node *n;
    struct cw *w = world(&n);
    assert_int_equal(retire(w), RMD_OK);
    assert_int_equal(state(w), RMD_SOURCE_RETIRED);
    assert_int_equal(cw_events(w, "source.retired"), 1);
    assert_int_equal(add(w, "n2"), RMD_OK); /* and elsewhere, if that is wanted */
    assert_int_equal(state(w), RMD_SOURCE_ACTIVE);
    done(w);
}

static void with_leases_it_comes_back_where_it_is(void **unused) {
    (void)unused;
    struct cw_node *n;
    struct cw *w = world(&n);
    n->holds = true;
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 2000, 200);
    assert_true(n->n_leases > 0);
    assert_int_equal(retire(w), RMD_OK);
    assert_int_equal(state(w), RMD_SOURCE_RETIRING);
    assert_int_equal(add(w, "n2"), RMD_ECONFLICT);
    assert_non_null(strstr(w->reply_text, "n1 has 1 lease of it still: add it elsewhere when"));
    assert_int_equal(state(w), RMD_SOURCE_RETIRING);
    assert_int_equal(add(w, "n1"), RMD_OK);
    assert_int_equal(state(w), RMD_SOURCE_ACTIVE);
    assert_int_equal(add(w, "n1"), RMD_EEXISTS);
    cw_answer_all(w, n);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 50);
    assert_int_equal(state(w), RMD_SOURCE_ACTIVE); /* what was retiring then isn't retired now */
    assert_int_equal(cw_events(w, "source.retired"), 0);
    done(w);
}

static void when_the_leases_are_back_it_goes_anywhere(void **unused) {
    (void)unused;
    struct cw_node *n;
    struct cw *w = world(&n);
    n->holds = true;
    cw_submit(w, "bulk", one_domain, 50, 0);
    cw_pass(w, 2000, 200);
    assert_int_equal(retire(w), RMD_OK);
    cw_answer_all(w, n);
    cw_pass(w, 5000, 500);
    assert_int_equal(state(w), RMD_SOURCE_RETIRED);
    assert_int_equal(add(w, "n2"), RMD_OK);
    assert_int_equal(state(w), RMD_SOURCE_ACTIVE);
    done(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_leases_it_is_retired_at_once),
        cmocka_unit_test(with_leases_it_comes_back_where_it_is),
        cmocka_unit_test(when_the_leases_are_back_it_goes_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
