/* Leases from their first part to their last acknowledgement, across restarts; and what must never start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/kit/node_world.h"

static const char text[] = "a compiled template, as far as this core can tell";
static uint8_t hash[RMD_HASH_BYTES];

static void serving(struct world *w, uint32_t workers) {
    world_hash(text, strlen(text), hash);
    world_init(w, workers);
    world_start(w);
    world_welcome(w, NULL, 0);
    w->mails_read = w->mails;
    w->read = w->frames;
    w->trace[0] = 0;
}

static void lease_in(struct world *w, Remuda__Lease *l) {
    world_frame(w, REMUDA__FRAME__BODY_LEASE, l);
}

static void a_lease_starts_when_it_and_its_template_are_in_the_journal(void **state) {
    (void)state;
    struct world w;
    serving(&w, 3);
    lease_in(&w, world_lease(&w, 1, 5, 4, hash));
    Remuda__Frame *ack = world_next(&w, REMUDA__FRAME__BODY_LEASE_ACK);
    assert_int_equal(ack->lease_ack->id, 1);
    assert_true(ack->lease_ack->credit_bytes > 0);
    assert_int_equal(w.trace[0], 'L'); /* in the journal before anything is said of it */
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    w.read = 0;
    world_serve_template(&w, text);
    assert_int_equal(w.template_journaled.len, strlen(text));
    struct world_mail *t = world_next_mail(&w, RMD_MAIL_TEMPLATE), *m = world_next_mail(&w, RMD_MAIL_LEASE);
    assert_non_null(t);
    assert_non_null(m);
    assert_int_equal(t->worker, 5 % 3);
    assert_int_equal(m->worker, 5 % 3);
    assert_int_equal(m->mail.id, 1);
    assert_int_equal(m->mail.skip.n, 1);
    assert_int_equal(m->mail.skip.p[0], 0);
    assert_true(strchr(w.trace, 'T') < strchr(w.trace, 'M'));

    /* the next lease of the same template: nothing is fetched, and this worker isn't told again, but another is */
    lease_in(&w, world_lease(&w, 2, 5, 1, hash));
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    lease_in(&w, world_lease(&w, 3, 6, 1, hash));
    t = world_next_mail(&w, RMD_MAIL_TEMPLATE);
    assert_non_null(t);
    assert_int_equal(t->worker, 0);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_FETCH), 0);
    world_release(&w);
}

static void a_template_is_fetched_in_chunks_and_checked(void **state) {
    (void)state;
    struct world w;
    size_t n = 2 * RMD_BODY_CHUNK_BYTES + 1000;
    char *big = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)('a' + i % 23);
    big[n] = 0;
    serving(&w, 1);
    uint8_t h[RMD_HASH_BYTES];
    world_hash(big, n, h);
    lease_in(&w, world_lease(&w, 1, 1, 2, h));
    lease_in(&w, world_lease(&w, 2, 1, 2, h));
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_FETCH), 1); /* once, for both */
    world_serve_template(&w, big);
    size_t fetches = 0, credit = 0;
    for (size_t i = 0; i < w.frames; i++) {
        fetches += w.frame[i]->body_case == REMUDA__FRAME__BODY_FETCH;
        if (w.frame[i]->body_case == REMUDA__FRAME__BODY_LEASE_ACK && !w.frame[i]->lease_ack->id)
            credit += w.frame[i]->lease_ack->credit_bytes;
    }
    assert_int_equal(fetches, 3);
    assert_int_equal(credit, n);
    assert_int_equal(w.template_journaled.len, n);
    assert_memory_equal(w.template_journaled.p, big, n);
    assert_int_equal(world_next_mail(&w, RMD_MAIL_LEASE)->mail.id, 1);
    assert_int_equal(world_next_mail(&w, RMD_MAIL_LEASE)->mail.id, 2);
    world_release(&w);
    free(big);
}

static void a_template_with_another_hash_is_never_used(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 1, 1, 2, hash));
    world_serve_template(&w, "something else");
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    assert_int_equal(w.template_journaled.len, 0);
    assert_non_null(strstr(w.last_log, "does not have this hash"));
    world_tick(&w, RMD_NODE_REPEAT_MS);
    world_serve_template(&w, text);
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_release(&w);
}

static void a_lost_chunk_is_asked_for_again(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 1, 1, 2, hash));
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_FETCH)); /* lost on the way */
    world_tick(&w, RMD_NODE_REPEAT_MS - 1);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_FETCH), 0);
    world_tick(&w, 1);
    world_serve_template(&w, text);
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_release(&w);
}

static void a_lease_in_parts_counts_when_it_is_whole(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    Remuda__Lease *a = world_lease(&w, 1, 1, 3, hash), *b = world_lease(&w, 1, 1, 2, hash);
    a->part = 0;
    b->part = 1;
    a->parts = b->parts = 2;
    lease_in(&w, b); /* overtaken, and said twice */
    lease_in(&w, b);
    assert_int_equal(world_next(&w, REMUDA__FRAME__BODY_LEASE_ACK)->lease_ack->id, 0);
    assert_int_equal(world_next(&w, REMUDA__FRAME__BODY_LEASE_ACK)->lease_ack->id, 0);
    assert_null(strchr(w.trace, 'L'));
    lease_in(&w, a);
    w.read = 0;
    world_serve_template(&w, text);
    struct world_mail *m = world_next_mail(&w, RMD_MAIL_LEASE);
    struct rmd_arena arena = {0};
    Remuda__Lease *l = rmd_pb_decode(&remuda__lease__descriptor, m->mail.bytes, &arena);
    assert_int_equal(l->n_row, 5);
    rmd_arena_release(&arena);
    assert_non_null(strstr(w.trace, "LL"));

    /* half a lease of a session that ended was never received: the next Hello doesn't know it */
    Remuda__Lease *c = world_lease(&w, 2, 1, 3, hash);
    c->parts = 2;
    lease_in(&w, c);
    world_tick(&w, RMD_NODE_SILENCE_MS);
    Remuda__Frame *hello = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_int_equal(hello->hello->lease_high_water, 1);
    assert_int_equal(hello->hello->n_lease_id, 1);
    world_release(&w);
}

static void a_spent_id_is_refused(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 5, 1, 1, hash));
    world_serve_template(&w, text);
    world_outcome(&w, 5, 0, RMD_OUTCOME_DELIVERED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__ReportAck ack = REMUDA__REPORT_ACK__INIT;
    uint8_t uuid[RMD_UUID_BYTES];
    memset(uuid, 0xab, sizeof uuid);
    ack.journal_uuid = (ProtobufCBinaryData){sizeof uuid, uuid};
    ack.up_to_n = 1;
    world_frame(&w, REMUDA__FRAME__BODY_REPORT_ACK, &ack);
    assert_int_equal(w.last_dropped, 5);
    w.mails_read = w.mails;
    w.read = w.frames;
    w.trace[0] = 0;
    lease_in(&w, world_lease(&w, 5, 1, 1, hash)); /* a duplicate from far away */
    assert_non_null(strstr(w.last_log, "refused"));
    assert_null(strchr(w.trace, 'L'));
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    assert_int_equal(world_next(&w, REMUDA__FRAME__BODY_LEASE_ACK)->lease_ack->id, 0); /* its window comes back */

    /* 7 overtook 6 in this session: 6 may come. After the next Hello it may not. */
    lease_in(&w, world_lease(&w, 8, 1, 1, hash));
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    lease_in(&w, world_lease(&w, 6, 1, 1, hash));
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_tick(&w, RMD_NODE_SILENCE_MS);
    world_welcome(&w, (uint64_t[]){6, 8}, 2);
    w.mails_read = w.mails;
    lease_in(&w, world_lease(&w, 7, 1, 1, hash));
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    assert_non_null(strstr(w.last_log, "refused"));
    world_release(&w);
}

static void a_repeat_of_a_held_lease_is_acknowledged_and_not_started_twice(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 1, 1, 1, hash));
    world_serve_template(&w, text);
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    w.read = w.frames;
    lease_in(&w, world_lease(&w, 1, 1, 1, hash));
    assert_int_equal(world_next(&w, REMUDA__FRAME__BODY_LEASE_ACK)->lease_ack->id, 1);
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_release(&w);
}

static void replay_lease(struct world *w, uint64_t id, size_t rows, const char *marks, const char *outcomes) {
    uint8_t m[16] = {0}, o[8] = {0};
    for (size_t i = 0; i < rows; i++) {
        m[i / 4] = (uint8_t)(m[i / 4] | (marks[i] - '0') << (i % 4 * 2));
        if (outcomes[i] == '1')
            rmd_bit_set(o, i);
    }
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_LEASE,
                                          .lease = world_lease(w, id, 2, rows, hash),
                                          .marks = rmd_slice(m, sizeof m),
                                          .outcomes = rmd_slice(o, sizeof o)});
}

static void a_restart_tells_what_the_marks_say_and_starts_the_rest(void **state) {
    (void)state;
    struct world w;
    world_hash(text, strlen(text), hash);
    world_init(&w, 2);
    world_open(&w, 10, 9, 3);
    struct rmd_node_event e = {.kind = RMD_NE_REPLAY_TEMPLATE, .bytes = rmd_slice_str(text)};
    memcpy(e.hash, hash, sizeof hash);
    world_step(&w, e);
    replay_lease(&w, 3, 5, "01202", "10000");
    Remuda__Outcome o = REMUDA__OUTCOME__INIT;
    o.lease = 3;
    o.index = 0;
    o.kind = RMD_OUTCOME_DELIVERED;
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_OUTCOME, .n = 10, .outcome = &o});
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_int_equal(f->hello->n_lease_id, 1);
    assert_int_equal(f->hello->journal_position, 13);
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE)); /* nothing starts before the coordinator says that it is live */
    world_welcome(&w, (uint64_t[]){3}, 1);
    struct world_mail *m = world_next_mail(&w, RMD_MAIL_LEASE);
    assert_non_null(m);
    assert_int_equal(m->mail.skip.p[0], 0x17); /* only row 3 is left: 0, 1, 2 and 4 are skipped */
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(f->report->first_n, 10);
    assert_int_equal(f->report->n_outcome, 4);
    unsigned kinds[5] = {0}, reasons[5] = {0};
    for (size_t i = 0; i < 4; i++) {
        kinds[f->report->outcome[i]->index] = f->report->outcome[i]->kind;
        reasons[f->report->outcome[i]->index] = f->report->outcome[i]->returned_reason;
        assert_true(i == 0 || f->report->outcome[i]->rcpts == 1);
    }
    assert_int_equal(kinds[0], RMD_OUTCOME_DELIVERED);
    assert_int_equal(kinds[1], RMD_OUTCOME_RETURNED);
    assert_int_equal(reasons[1], RMD_RETURN_CRASHED);
    assert_int_equal(kinds[2], RMD_OUTCOME_UNCERTAIN);
    assert_int_equal(kinds[3], 0);
    assert_int_equal(kinds[4], RMD_OUTCOME_UNCERTAIN);
    world_release(&w);
}

static void leases_that_are_not_live_are_dropped_and_reported(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 1, 1, 2, hash));
    world_serve_template(&w, text); /* with its worker */
    uint8_t other[RMD_HASH_BYTES] = {1};
    lease_in(&w, world_lease(&w, 2, 1, 2, other)); /* waits for a template */
    world_tick(&w, RMD_NODE_SILENCE_MS);
    w.mails_read = w.mails;
    w.read = w.frames;
    world_welcome(&w, NULL, 0);
    struct world_mail *m = world_next_mail(&w, RMD_MAIL_RECALL);
    assert_non_null(m);
    struct rmd_arena arena = {0};
    Remuda__Recall *r = rmd_pb_decode(&remuda__recall__descriptor, m->mail.bytes, &arena);
    assert_int_equal(r->n_lease, 2);
    rmd_arena_release(&arena);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(f->report->n_outcome, 2);
    assert_int_equal(f->report->outcome[0]->lease, 2);
    assert_int_equal(f->report->outcome[0]->kind, RMD_OUTCOME_RETURNED);
    assert_int_equal(f->report->outcome[0]->rcpts, 0);
    world_outcome(&w, 1, 0, RMD_OUTCOME_DELIVERED); /* it was already under way */
    world_outcome(&w, 1, 1, RMD_OUTCOME_RETURNED);
    world_mail(&w, 0, RMD_MAIL_RECALL_DONE, m->mail.id);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_REPORT));
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_RECALLED), 0); /* nobody asked */
    world_release(&w);
}

static void leases_live_on_through_an_epoch_change(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 1, 1, 2, hash));
    world_serve_template(&w, text);
    world_tick(&w, 100);
    w.epoch = 8;
    world_welcome(&w, NULL, 0); /* doesn't answer a Hello: only makes the node say one */
    w.mails_read = w.mails;
    world_welcome(&w, (uint64_t[]){1}, 1);
    assert_true(rmd_node_serving(w.node));
    assert_null(world_next_mail(&w, RMD_MAIL_RECALL));
    w.epoch = 7;
    lease_in(&w, world_lease(&w, 2, 1, 2, hash)); /* of the coordinator before */
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    w.epoch = 8;
    lease_in(&w, world_lease(&w, 2, 1, 2, hash));
    assert_non_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_release(&w);
}

static void a_malformed_lease_is_counted_and_refused(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    Remuda__Lease *l = world_lease(&w, 1, 1, 1, hash);
    l->template_hash.len = 5;
    lease_in(&w, l);
    lease_in(&w, world_lease(&w, 2, 1, 0, hash));
    l = world_lease(&w, 3, 1, 1, hash);
    l->part = 4;
    l->parts = 2;
    lease_in(&w, l);
    l->part = 0;
    l->parts = RMD_NODE_LEASE_PARTS_MAX + 1;
    lease_in(&w, l);
    assert_null(strchr(w.trace, 'L'));
    world_tick(&w, RMD_NODE_HEARTBEAT_MS);
    Remuda__Frame *f = NULL, *last = NULL;
    while ((f = world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT)))
        last = f;
    assert_int_equal(last->heartbeat->malformed_frames, 4);
    world_release(&w);
}

static void an_unused_template_is_forgotten_in_the_end(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    lease_in(&w, world_lease(&w, 1, 1, 1, hash));
    world_serve_template(&w, text);
    w.mails_read = w.mails;
    world_outcome(&w, 1, 0, RMD_OUTCOME_DELIVERED);
    for (int i = 0; i < 70; i++) {
        w.now.mono_ms += 60000;
        world_step(&w, (struct rmd_node_event){.kind = RMD_NE_TICK});
    }
    assert_non_null(strchr(w.trace, 't'));
    world_welcome(&w, NULL, 0);
    w.read = w.frames;
    w.mails_read = w.mails;
    lease_in(&w, world_lease(&w, 2, 1, 1, hash)); /* fetched anew when it is needed again */
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_FETCH), 1);
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_release(&w);
}

static void the_limit_on_incomplete_leases_holds(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    Remuda__Lease *l = world_lease(&w, 1, 1, 1, hash);
    static uint8_t row[200 << 10];
    l->row[0] = (ProtobufCBinaryData){sizeof row, row};
    l->parts = 2;
    for (uint64_t id = 1; id <= 400; id++) {
        l->id = id;
        lease_in(&w, l);
    }
    assert_non_null(strstr(w.last_log, "too many incomplete leases"));
    size_t refused = w.logs;
    assert_true(refused > 50 && refused < 150);
    world_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_starts_when_it_and_its_template_are_in_the_journal),
        cmocka_unit_test(a_template_is_fetched_in_chunks_and_checked),
        cmocka_unit_test(a_template_with_another_hash_is_never_used),
        cmocka_unit_test(a_lost_chunk_is_asked_for_again),
        cmocka_unit_test(a_lease_in_parts_counts_when_it_is_whole),
        cmocka_unit_test(a_spent_id_is_refused),
        cmocka_unit_test(a_repeat_of_a_held_lease_is_acknowledged_and_not_started_twice),
        cmocka_unit_test(a_restart_tells_what_the_marks_say_and_starts_the_rest),
        cmocka_unit_test(leases_that_are_not_live_are_dropped_and_reported),
        cmocka_unit_test(leases_live_on_through_an_epoch_change),
        cmocka_unit_test(a_malformed_lease_is_counted_and_refused),
        cmocka_unit_test(an_unused_template_is_forgotten_in_the_end),
        cmocka_unit_test(the_limit_on_incomplete_leases_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
