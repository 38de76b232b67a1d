/* Outcomes, alarms, recalls, suppressions and the orderly end of a node core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/kit/node_world.h"

static const char text[] = "template";
static uint8_t hash[RMD_HASH_BYTES];
static uint8_t uuid[RMD_UUID_BYTES];

static void serving(struct world *w, uint32_t workers) {
    world_hash(text, strlen(text), hash);
    memset(uuid, 0xab, sizeof uuid);
    world_init(w, workers);
    world_start(w);
    world_welcome(w, NULL, 0);
    w->mails_read = w->mails;
    w->read = w->frames;
    w->trace[0] = 0;
}

static void working(struct world *w, uint64_t id, uint32_t source, size_t rows) {
    world_frame(w, REMUDA__FRAME__BODY_LEASE, world_lease(w, id, source, rows, hash));
    world_serve_template(w, text);
    assert_non_null(world_next_mail(w, RMD_MAIL_LEASE));
}

static void ack(struct world *w, uint64_t up_to_n) {
    Remuda__ReportAck a = REMUDA__REPORT_ACK__INIT;
    a.journal_uuid = (ProtobufCBinaryData){sizeof uuid, uuid};
    a.up_to_n = up_to_n;
    world_frame(w, REMUDA__FRAME__BODY_REPORT_ACK, &a);
}

static void alarm_at(struct world *w, uint64_t n, uint32_t source) {
    Remuda__Alarm a = REMUDA__ALARM__INIT;
    Remuda__Verdict v = REMUDA__VERDICT__INIT;
    char domain[] = "example.net";
    v.class_ = RMD_CLASS_IP_BLOCKLISTED;
    a.source = source;
    a.verdict = &v;
    a.domain = domain;
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_ALARM, .n = n, .alarm = &a});
}

/* A coordinator of a later epoch, whose store ends before outcome `from`. */
static void welcomed_by_an_older_store(struct world *w, uint64_t from) {
    Remuda__Welcome m = REMUDA__WELCOME__INIT;
    Remuda__Policy p = REMUDA__POLICY__INIT;
    w->epoch++;
    world_frame(w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &(Remuda__HeartbeatEcho)REMUDA__HEARTBEAT_ECHO__INIT);
    world_tick(w, RMD_NODE_HELLO_MS);
    w->read = w->frames;
    m.version = RMD_PROTOCOL_VERSION;
    m.echo_mono_ms = w->now.mono_ms;
    m.lease_valid_ms = 60000;
    m.policy = &p;
    m.replay_from = from;
    world_frame(w, REMUDA__FRAME__BODY_WELCOME, &m);
}

static void replayed(struct world *w, uint64_t n, uint32_t index) {
    Remuda__Outcome o = REMUDA__OUTCOME__INIT;
    o.lease = 1;
    o.index = index;
    o.kind = RMD_OUTCOME_DELIVERED;
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_OUTCOME, .n = n, .outcome = &o});
}

static void an_older_store_hears_again_what_it_acknowledged(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 10);
    for (uint32_t i = 0; i < 5; i++)
        world_outcome(&w, 1, i, RMD_OUTCOME_DELIVERED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    ack(&w, 4); /* the fifth waits for its acknowledgement */
    welcomed_by_an_older_store(&w, 3);
    assert_int_equal(w.replay_from, 3);
    w.read = w.frames;
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REWIND, .n = 3});
    for (uint64_t n = 3; n <= 5; n++)
        replayed(&w, n, (uint32_t)n - 1);
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REWOUND});
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_non_null(f);
    assert_int_equal(f->report->first_n, 3);
    assert_int_equal(f->report->n_outcome, 3);
    assert_int_equal(f->report->skipped, 0);
    ack(&w, 5);
    assert_int_equal(w.acked_n, 5);
    world_tick(&w, 2 * RMD_NODE_REPEAT_MS);
    assert_null(world_next(&w, REMUDA__FRAME__BODY_REPORT)); /* once */
    world_release(&w);
}

static void numbers_that_the_journal_has_no_more_are_told(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 10);
    for (uint32_t i = 0; i < 5; i++)
        world_outcome(&w, 1, i, RMD_OUTCOME_DELIVERED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    ack(&w, 5);
    welcomed_by_an_older_store(&w, 1);
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REWIND, .n = 1});
    replayed(&w, 4, 3); /* 1 to 3 were trimmed, 5 is unreadable */
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REWOUND});
    world_outcome(&w, 1, 5, RMD_OUTCOME_DELIVERED);
    w.read = 0;
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__Frame *f;
    uint64_t next = 0;
    while ((f = world_next(&w, REMUDA__FRAME__BODY_REPORT)))
        if (f->report->first_n == 4 || f->report->first_n == 6) {
            assert_int_equal(f->report->skipped, f->report->first_n == 4 ? 3 : 1);
            next = f->report->first_n;
        }
    assert_int_equal(next, 6);
    world_release(&w);
}

static void outcomes_leave_in_batches_and_in_order(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 10);
    for (uint32_t i = 0; i < 3; i++)
        world_outcome(&w, 1, i, RMD_OUTCOME_DELIVERED);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_REPORT), 0); /* company is waited for */
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(f->report->first_n, 1);
    assert_int_equal(f->report->n_outcome, 3);
    assert_int_equal(f->report->outcome[2]->index, 2);
    assert_int_equal(f->report->outcome[2]->reply->code, 250);
    assert_memory_equal(f->report->outcome[2]->reply->text.data, "250 ok", 6);

    /* the second worker thread's number arrives first */
    Remuda__Outcome o = REMUDA__OUTCOME__INIT;
    o.lease = 1;
    o.kind = RMD_OUTCOME_DELIVERED;
    o.index = 4;
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_OUTCOME, .n = 5, .outcome = &o});
    world_tick(&w, 2 * RMD_NODE_REPORT_DELAY_MS);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_REPORT), 0);
    o.index = 3;
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_OUTCOME, .n = 4, .outcome = &o});
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(f->report->first_n, 4);
    assert_int_equal(f->report->n_outcome, 2);
    assert_int_equal(f->report->outcome[0]->index, 3);
    assert_int_equal(f->report->outcome[1]->index, 4);
    world_release(&w);
}

static void an_unacknowledged_report_is_repeated_as_it_was(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 4);
    world_outcome(&w, 1, 0, RMD_OUTCOME_DELIVERED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    world_next(&w, REMUDA__FRAME__BODY_REPORT);
    world_outcome(&w, 1, 1, RMD_OUTCOME_DELIVERED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    world_next(&w, REMUDA__FRAME__BODY_REPORT);
    world_tick(&w, RMD_NODE_REPEAT_MS);
    Remuda__Frame *a = world_next(&w, REMUDA__FRAME__BODY_REPORT), *b = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(a->report->first_n, 1);
    assert_int_equal(a->report->n_outcome, 1);
    assert_int_equal(b->report->first_n, 2);
    ack(&w, 1);
    assert_int_equal(w.acked_n, 1);
    world_tick(&w, RMD_NODE_REPEAT_MS / 2);
    Remuda__ReportAck other = REMUDA__REPORT_ACK__INIT;
    uint8_t stranger[RMD_UUID_BYTES] = {1};
    other.journal_uuid = (ProtobufCBinaryData){sizeof stranger, stranger};
    other.up_to_n = 2;
    world_frame(&w, REMUDA__FRAME__BODY_REPORT_ACK, &other); /* of another journal */
    ack(&w, 99);                                             /* of what was never sent */
    assert_int_equal(w.acked_n, 1);
    world_tick(&w, RMD_NODE_REPEAT_MS / 2);
    a = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(a->report->first_n, 2);
    ack(&w, 2);
    ack(&w, 1); /* overtaken */
    assert_int_equal(w.acked_n, 2);
    w.read = w.frames;
    world_tick(&w, RMD_NODE_REPEAT_MS - 1000);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_REPORT), 0);
    world_release(&w);
}

static void only_so_many_reports_are_under_way(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 20 * RMD_NODE_REPORT_MAX);
    for (uint32_t i = 0; i < 20 * RMD_NODE_REPORT_MAX; i++)
        world_outcome(&w, 1, i, RMD_OUTCOME_DELIVERED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_REPORT), RMD_NODE_REPORTS_IN_FLIGHT);
    uint64_t expected = 1;
    for (int i = 0; i < 20; i++) {
        Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
        assert_non_null(f);
        assert_true(f->report->n_outcome <= RMD_NODE_REPORT_MAX);
        assert_int_equal(f->report->first_n, expected);
        expected += f->report->n_outcome;
        ack(&w, expected - 1);
    }
    assert_int_equal(expected, 20 * RMD_NODE_REPORT_MAX + 1);
    assert_int_equal(w.dropped, 1); /* finished and acknowledged */
    world_release(&w);
}

static void a_lease_is_dropped_when_its_last_outcome_is_acknowledged(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 2);
    world_outcome(&w, 1, 1, RMD_OUTCOME_DELIVERED);
    world_outcome(&w, 1, 0, RMD_OUTCOME_DEFERRED);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    ack(&w, 1);
    assert_int_equal(w.dropped, 0);
    ack(&w, 2);
    assert_int_equal(w.dropped, 1);
    world_release(&w);
}

static void an_alarm_overtakes_reports_and_is_repeated_until_acknowledged(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 4);
    world_outcome(&w, 1, 0, RMD_OUTCOME_DEFERRED);
    w.now.mono_ms += RMD_NODE_REPORT_DELAY_MS; /* report and alarm are due in one step */
    w.read = w.frames;
    alarm_at(&w, 1, 1);
    assert_int_equal(w.frame[w.read]->body_case, REMUDA__FRAME__BODY_ALARM);
    assert_int_equal(w.frame[w.read + 1]->body_case, REMUDA__FRAME__BODY_REPORT);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_ALARM);
    assert_int_equal(f->alarm->n, 1);
    assert_int_equal(f->alarm->verdict->class_, RMD_CLASS_IP_BLOCKLISTED);
    assert_string_equal(f->alarm->domain, "example.net");
    assert_int_equal(f->alarm->age_ms, 0);
    world_tick(&w, RMD_NODE_REPEAT_MS);
    f = world_next(&w, REMUDA__FRAME__BODY_ALARM);
    assert_int_equal(f->alarm->age_ms, RMD_NODE_REPEAT_MS);

    /* silence: the Hello carries it, and so does the new session */
    world_tick(&w, RMD_NODE_SILENCE_MS);
    f = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_int_equal(f->hello->n_alarm, 1);
    assert_int_equal(f->hello->alarm[0]->n, 1);
    world_welcome(&w, (uint64_t[]){1}, 1);
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_ALARM));
    Remuda__AlarmAck a = REMUDA__ALARM_ACK__INIT;
    a.n_n = 1;
    a.n = (uint64_t[]){1};
    world_frame(&w, REMUDA__FRAME__BODY_ALARM_ACK, &a);
    assert_int_equal(w.alarm_acked_n, 1);
    world_tick(&w, RMD_NODE_REPEAT_MS);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_ALARM), 0);
    world_release(&w);
}

static void an_alarm_that_was_never_acknowledged_is_in_the_first_hello(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_open(&w, 0, 0, 0);
    Remuda__Alarm m = REMUDA__ALARM__INIT;
    m.source = 4;
    m.age_ms = 90000;
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_ALARM, .n = 6, .alarm = &m});
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_int_equal(f->hello->n_alarm, 1);
    assert_int_equal(f->hello->alarm[0]->n, 6);
    assert_int_equal(f->hello->alarm[0]->age_ms, 90000);
    world_release(&w);
}

static void a_recall_is_answered_after_everybody_and_after_the_sync(void **state) {
    (void)state;
    struct world w;
    serving(&w, 2);
    w.hold_sync = true;
    working(&w, 1, 1, 2);
    uint8_t other[RMD_HASH_BYTES] = {9};
    world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 2, 1, 3, other)); /* held: no template yet */
    w.hold_outcomes = true;
    Remuda__Recall r = REMUDA__RECALL__INIT;
    r.id = 77;
    r.source = 1;
    r.reason = RMD_RETURN_PAUSED;
    world_frame(&w, REMUDA__FRAME__BODY_RECALL, &r);
    assert_int_equal(w.n_held, 3);
    assert_int_equal(w.held[0]->kind, RMD_OUTCOME_RETURNED);
    assert_int_equal(w.held[0]->returned_reason, RMD_RETURN_PAUSED);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(world_next_mail(&w, RMD_MAIL_RECALL)->worker, i);
    world_frame(&w, REMUDA__FRAME__BODY_RECALL, &r); /* a repeat changes nothing */
    assert_null(world_next_mail(&w, RMD_MAIL_RECALL));
    world_mail(&w, 0, RMD_MAIL_RECALL_DONE, 77);
    world_outcome(&w, 1, 0, RMD_OUTCOME_RETURNED);
    world_outcome(&w, 1, 1, RMD_OUTCOME_RETURNED);
    world_mail(&w, 1, RMD_MAIL_RECALL_DONE, 77);
    assert_int_equal(w.syncs, 0); /* what was held here has no number yet */
    world_give_held(&w);
    assert_int_equal(w.syncs, 1);
    world_tick(&w, 1000);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_RECALLED), 0); /* as long as the sync takes */
    world_synced(&w);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_RECALLED);
    assert_non_null(f);
    assert_int_equal(f->recalled->id, 77);
    assert_int_equal(f->recalled->up_to_n, 5);
    assert_memory_equal(f->recalled->journal_uuid.data, uuid, sizeof uuid);

    world_frame(&w, REMUDA__FRAME__BODY_RECALL, &r); /* the answer was lost */
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_RECALLED));
    world_tick(&w, RMD_NODE_REPEAT_MS);
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_RECALLED));
    Remuda__RecalledAck a = REMUDA__RECALLED_ACK__INIT;
    a.id = 77;
    world_frame(&w, REMUDA__FRAME__BODY_RECALLED_ACK, &a);
    world_tick(&w, RMD_NODE_REPEAT_MS);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_RECALLED), 0);
    world_release(&w);
}

static void a_recall_that_overtook_its_lease_still_holds(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 1); /* so that the template is there */
    Remuda__Recall r = REMUDA__RECALL__INIT;
    r.id = 5;
    r.n_lease = 1;
    r.lease = (uint64_t[]){2};
    world_frame(&w, REMUDA__FRAME__BODY_RECALL, &r);
    world_mail(&w, 0, RMD_MAIL_RECALL_DONE, 5);
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_RECALLED));
    w.mails_read = w.mails;
    world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 2, 1, 2, hash));
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE));
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(f->report->n_outcome, 2);
    assert_int_equal(f->report->outcome[0]->kind, RMD_OUTCOME_RETURNED);
    world_release(&w);
}

static void the_scope_of_a_recall_is_kept(void **state) {
    (void)state;
    static const struct {
        uint32_t source, provider;
        bool campaign;
        size_t given;
    } rows[] = {{1, 0, false, 1}, {1, 9, false, 1}, {1, 8, false, 0}, {2, 0, false, 1}, {0, 0, true, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world w;
        serving(&w, 1);
        uint8_t other[RMD_HASH_BYTES] = {9};
        world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 1, 1, 1, other));
        world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 2, 2, 1, other));
        Remuda__Recall r = REMUDA__RECALL__INIT;
        r.id = 5;
        r.source = rows[i].source;
        r.provider = rows[i].provider;
        if (rows[i].campaign)
            r.campaign = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t) "campaign-0000001"};
        world_frame(&w, REMUDA__FRAME__BODY_RECALL, &r);
        assert_int_equal(w.next_n, rows[i].given);
        world_release(&w);
    }
}

static void a_suppression_is_confirmed_after_all_workers_and_holds_for_what_is_held(void **state) {
    (void)state;
    struct world w;
    serving(&w, 2);
    uint8_t other[RMD_HASH_BYTES] = {9};
    world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 1, 1, 3, other));
    Remuda__Suppress s = REMUDA__SUPPRESS__INIT;
    s.id = 3;
    s.tenant = 1;
    s.n_address_hash = 1;
    s.address_hash = (uint64_t[]){rmd_address_hash(1, rmd_slice_str("u1@d.example"))};
    world_frame(&w, REMUDA__FRAME__BODY_SUPPRESS, &s);
    assert_int_equal(w.next_n, 1); /* row 1 has its outcome */
    assert_int_equal(world_next_mail(&w, RMD_MAIL_SUPPRESS)->worker, 0);
    assert_int_equal(world_next_mail(&w, RMD_MAIL_SUPPRESS)->worker, 1);
    world_mail(&w, 0, RMD_MAIL_SUPPRESS_DONE, 3);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_SUPPRESS_ACK), 0);
    world_mail(&w, 1, RMD_MAIL_SUPPRESS_DONE, 3);
    assert_int_equal(world_next(&w, REMUDA__FRAME__BODY_SUPPRESS_ACK)->suppress_ack->id, 3);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(f->report->outcome[0]->index, 1);
    assert_int_equal(f->report->outcome[0]->returned_reason, RMD_RETURN_SUPPRESSED);

    /* a lease that was overtaken by it is checked too */
    world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 2, 1, 3, other));
    assert_int_equal(w.next_n, 2);
    world_release(&w);
}

static void an_orderly_stop_gives_back_reports_and_says_bye(void **state) {
    (void)state;
    struct world w;
    serving(&w, 2);
    w.hold_sync = true;
    working(&w, 1, 1, 2);
    uint8_t other[RMD_HASH_BYTES] = {9};
    world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 2, 1, 1, other));
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_STOP});
    assert_non_null(world_next_mail(&w, RMD_MAIL_STOP));
    assert_non_null(world_next_mail(&w, RMD_MAIL_STOP));
    assert_int_equal(w.next_n, 1); /* the held one */
    world_frame(&w, REMUDA__FRAME__BODY_LEASE, world_lease(&w, 3, 1, 1, hash));
    assert_null(world_next_mail(&w, RMD_MAIL_LEASE)); /* nothing new */
    world_outcome(&w, 1, 0, RMD_OUTCOME_DELIVERED);
    world_outcome(&w, 1, 1, RMD_OUTCOME_RETURNED);
    world_mail(&w, 0, RMD_MAIL_STOPPED, 0);
    world_mail(&w, 1, RMD_MAIL_STOPPED, 0);
    world_synced(&w);
    world_tick(&w, RMD_NODE_REPORT_DELAY_MS);
    assert_false(w.stopped); /* reported, not acknowledged */
    ack(&w, 3);
    assert_true(w.stopped);
    assert_non_null(world_next(&w, REMUDA__FRAME__BODY_BYE));
    assert_int_equal(rmd_node_deadline(w.node), RMD_NEVER);
    world_release(&w);
}

static void a_stop_does_not_wait_for_ever(void **state) {
    (void)state;
    struct world w;
    serving(&w, 1);
    working(&w, 1, 1, 2);
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_STOP});
    world_tick(&w, RMD_NODE_STOP_MS - 1);
    assert_false(w.stopped); /* a receiver is slow with its last reply */
    world_tick(&w, 1);
    assert_true(w.stopped);
    world_release(&w);

    world_init(&w, 1); /* without a coordinator: at once, when the workers are done */
    world_start(&w);
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_STOP});
    world_mail(&w, 0, RMD_MAIL_STOPPED, 0);
    assert_true(w.stopped);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_BYE), 0);
    world_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_leave_in_batches_and_in_order),
        cmocka_unit_test(an_unacknowledged_report_is_repeated_as_it_was),
        cmocka_unit_test(only_so_many_reports_are_under_way),
        cmocka_unit_test(an_older_store_hears_again_what_it_acknowledged),
        cmocka_unit_test(numbers_that_the_journal_has_no_more_are_told),
        cmocka_unit_test(a_lease_is_dropped_when_its_last_outcome_is_acknowledged),
        cmocka_unit_test(an_alarm_overtakes_reports_and_is_repeated_until_acknowledged),
        cmocka_unit_test(an_alarm_that_was_never_acknowledged_is_in_the_first_hello),
        cmocka_unit_test(a_recall_is_answered_after_everybody_and_after_the_sync),
        cmocka_unit_test(a_recall_that_overtook_its_lease_still_holds),
        cmocka_unit_test(the_scope_of_a_recall_is_kept),
        cmocka_unit_test(a_suppression_is_confirmed_after_all_workers_and_holds_for_what_is_held),
        cmocka_unit_test(an_orderly_stop_gives_back_reports_and_says_bye),
        cmocka_unit_test(a_stop_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
