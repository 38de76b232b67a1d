/* A stream with a DKIM key that can't be read at the start: nothing of it leaves, and the operator reads why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/core/core.h"
#include "tests/kit/coord_world.h"

static const char *const one_domain[] = {"g.test", NULL};

static int set_keys(struct cw *w, bool second) {
    Remuda__DkimRef key[2] = {REMUDA__DKIM_REF__INIT, REMUDA__DKIM_REF__INIT}, *keys[2] = {&key[0], &key[1]};
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    key[0].selector = (char *)(uintptr_t) "r1";
    key[1].selector = (char *)(uintptr_t) "e1";
    r.name = (char *)(uintptr_t) "bulk";
    r.pool = (char *)(uintptr_t) "main";
    r.sending_domain = r.return_domain = (char *)(uintptr_t) "example.org";
    r.key = keys;
    r.n_key = 2;
    struct rmd_command m = {.kind = RMD_CMD_STREAM_PUT, .stream_record = &r};
    m.key_pem[0] = rmd_slice_str("-----BEGIN FAKE RSA KEY-----");
    if (second)
        m.key_pem[1] = rmd_slice_str("-----BEGIN FAKE ED25519 KEY-----");
    return cw_command(w, &m);
}

static void note_queue(void *ctx, const struct rmd_queue_view *q) {
    if (q->queued)
        (void)rmd_copy(ctx, 80, q->waits_for);
}

/* How many keys the nodes are told of, and how many of them can be loaded. */
static void policy_keys(struct cw *w, size_t *all, size_t *loadable) {
    struct rmd_arena a = {0};
    uint32_t it = 0;
    void *node = NULL;
    *all = *loadable = 0;
    assert_true(rmd_map_next(&w->core->nodes, &it, NULL, &node));
    const Remuda__Policy *p = rmd_policy_build(w->core, node, &a);
    assert_int_equal(p->n_stream, 1);
    for (size_t i = 0; i < p->stream[0]->n_key; i++) {
        ++*all;
        *loadable += p->stream[0]->key[i]->pem.len > 0;
    }
    rmd_arena_release(&a);
}

static void nothing_of_it_is_dealt(struct cw *w, const struct rmd_id *id, size_t readable) {
    char why[80] = "";
    struct rmd_buf text = {0};
    size_t all, loadable;
    cw_pass(w, 60000, 1000);
    assert_int_equal(cw_campaign(w, id, NULL)->delivered, 0);
    assert_int_equal(w->n_rcpts, 10);
    rmd_coord_queues(w->core, note_queue, why);
    assert_string_equal(why, "a DKIM key of the stream can't be read");
    rmd_coord_explain(w->core, 1, 1, NULL, "g.test", &text);
    assert_non_null(strstr(rmd_buf_str(&text), "a DKIM key of the stream can't be read"));
    rmd_buf_release(&text);
    policy_keys(w, &all, &loadable);
    assert_int_equal(all, 2); /* the node must not take the stream for one with fewer keys, or without any */
    assert_int_equal(loadable, readable);
}

static void no_mail_leaves_without_a_signature_that_it_should_have(void **state) {
    (void)state;
    struct cw *w = rmd_alloc(sizeof *w);
    cw_init(w, 7);
    assert_int_equal(set_keys(w, true), RMD_OK);
    cw_node_add(w, "n1");
    cw_source(w, "203.0.113.7", "n1", 0);
    struct rmd_id id = cw_submit(w, "bulk", one_domain, 10, 0);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 10);
    cw_crash(w, false); /* this start can't read either key */
    id = cw_submit(w, "bulk", one_domain, 20, 100);
    nothing_of_it_is_dealt(w, &id, 0);
    assert_int_equal(set_keys(w, false), RMD_OK); /* one of two isn't enough */
    nothing_of_it_is_dealt(w, &id, 1);
    assert_int_equal(set_keys(w, true), RMD_OK);
    cw_pass(w, 5000, 500);
    assert_int_equal(cw_campaign(w, &id, NULL)->delivered, 20);
    cw_release(w);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_mail_leaves_without_a_signature_that_it_should_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
