/* The node's session with its coordinator, told as stories: frames in, frames out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/kit/node_world.h"
#include "tests/kit/sign_fake.h"

static void says_hello_until_it_is_welcomed(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 2);
    world_open(&w, 40, 30, 9);
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_non_null(f);
    assert_int_equal(f->hello->version_max, RMD_PROTOCOL_VERSION);
    assert_int_equal(f->hello->journal_position, 40);
    assert_int_equal(f->hello->reported_position, 30);
    assert_int_equal(f->hello->lease_high_water, 9);
    assert_int_equal(f->hello->n_address, 2);
    assert_string_equal(f->hello->address[1], "127.1.0.2");
    assert_int_equal(f->hello->worker_threads, 2);
    assert_int_equal(f->hello->boot_id.data[0], 0xcd);
    world_tick(&w, 3 * RMD_NODE_HELLO_MS);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HELLO), 3);
    assert_false(rmd_node_serving(w.node));

    world_welcome(&w, NULL, 0);
    assert_true(rmd_node_serving(w.node));
    f = world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT);
    assert_non_null(f);
    assert_int_equal(f->epoch, 7);
    for (uint32_t i = 0; i < 2; i++) {
        struct world_mail *m = world_next_mail(&w, RMD_MAIL_POLICY);
        assert_non_null(m);
        assert_int_equal(m->worker, i);
    }
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(world_next_mail(&w, RMD_MAIL_VALID)->mail.valid_until_mono_ms, w.now.mono_ms + 60000);
    world_release(&w);
}

static void a_welcome_counts_only_as_the_answer_to_a_present_hello(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    Remuda__Welcome m = REMUDA__WELCOME__INIT;
    m.version = RMD_PROTOCOL_VERSION;
    m.lease_valid_ms = 60000;
    m.echo_mono_ms = w.now.mono_ms - 1; /* of an attempt before this one */
    world_frame(&w, REMUDA__FRAME__BODY_WELCOME, &m);
    assert_false(rmd_node_serving(w.node));
    m.echo_mono_ms = w.now.mono_ms + 1; /* of nobody */
    world_frame(&w, REMUDA__FRAME__BODY_WELCOME, &m);
    assert_false(rmd_node_serving(w.node));
    m.echo_mono_ms = w.now.mono_ms;
    world_frame(&w, REMUDA__FRAME__BODY_WELCOME, &m);
    assert_true(rmd_node_serving(w.node));
    world_release(&w);
}

static void a_version_refused_is_logged_once_and_tried_again_slowly(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    char reason[] = "no common protocol version";
    Remuda__Refused r = REMUDA__REFUSED__INIT;
    r.reason = reason;
    r.code = 1;
    world_frame(&w, REMUDA__FRAME__BODY_REFUSED, &r);
    assert_non_null(strstr(w.last_log, reason));
    size_t logs = w.logs;
    world_next(&w, REMUDA__FRAME__BODY_HELLO);
    world_tick(&w, RMD_NODE_REFUSED_MS - 1);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HELLO), 0);
    world_tick(&w, 1);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HELLO), 1);
    world_frame(&w, REMUDA__FRAME__BODY_REFUSED, &r);
    assert_int_equal(w.logs, logs);

    Remuda__Welcome m = REMUDA__WELCOME__INIT;
    m.version = RMD_PROTOCOL_VERSION + 1;
    m.echo_mono_ms = w.now.mono_ms;
    m.lease_valid_ms = 60000;
    world_frame(&w, REMUDA__FRAME__BODY_WELCOME, &m);
    assert_false(rmd_node_serving(w.node));
    assert_non_null(strstr(w.last_log, "version"));
    world_release(&w);
}

static void a_second_session_refused_goes_on_asking(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    Remuda__Refused r = REMUDA__REFUSED__INIT;
    r.code = 2;
    for (int i = 0; i < 4; i++) { /* the coordinator doesn't believe yet that the former life of this node is over */
        world_frame(&w, REMUDA__FRAME__BODY_REFUSED, &r);
        assert_non_null(world_next(&w, REMUDA__FRAME__BODY_HELLO));
        world_tick(&w, RMD_NODE_HELLO_MS);
    }
    world_welcome(&w, NULL, 0);
    assert_true(rmd_node_serving(w.node));
    world_release(&w);
}

static void a_coordinator_that_is_starting_is_asked_again_soon(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    Remuda__Refused r = REMUDA__REFUSED__INIT;
    r.code = 4;
    for (int i = 0; i < 4; i++) {
        world_frame(&w, REMUDA__FRAME__BODY_REFUSED, &r);
        assert_non_null(world_next(&w, REMUDA__FRAME__BODY_HELLO));
        assert_null(world_next(&w, REMUDA__FRAME__BODY_HELLO));
        world_tick(&w, RMD_NODE_NOT_READY_MS);
    }
    world_welcome(&w, NULL, 0);
    assert_true(rmd_node_serving(w.node));
    world_release(&w);
}

static void a_revoked_key_ends_validity_at_once(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    assert_true(world_next_mail(&w, RMD_MAIL_VALID)->mail.valid_until_mono_ms > 0);
    Remuda__Refused r = REMUDA__REFUSED__INIT;
    r.code = 3;
    world_frame(&w, REMUDA__FRAME__BODY_REFUSED, &r);
    assert_false(rmd_node_serving(w.node));
    assert_int_equal(world_next_mail(&w, RMD_MAIL_VALID)->mail.valid_until_mono_ms, 0);
    world_release(&w);
}

static void echoes_renew_validity_and_never_shorten_it(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    world_next_mail(&w, RMD_MAIL_VALID);
    int64_t welcomed = w.now.mono_ms;
    world_tick(&w, 3000);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HEARTBEAT), 4);
    Remuda__HeartbeatEcho e = REMUDA__HEARTBEAT_ECHO__INIT;
    e.lease_valid_ms = 60000;
    e.echo_mono_ms = welcomed + 2000;
    world_frame(&w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &e);
    assert_int_equal(world_next_mail(&w, RMD_MAIL_VALID)->mail.valid_until_mono_ms, welcomed + 62000);
    e.echo_mono_ms = welcomed + 1000; /* overtaken */
    world_frame(&w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &e);
    e.echo_mono_ms = w.now.mono_ms + 5000; /* not an echo of ours */
    world_frame(&w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &e);
    assert_null(world_next_mail(&w, RMD_MAIL_VALID));
    world_release(&w);
}

static void silence_means_hello_again_and_validity_runs_out_by_itself(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    int64_t until = world_next_mail(&w, RMD_MAIL_VALID)->mail.valid_until_mono_ms;
    world_next(&w, REMUDA__FRAME__BODY_HELLO);
    world_tick(&w, RMD_NODE_SILENCE_MS - 1);
    assert_true(rmd_node_serving(w.node));
    world_tick(&w, 1);
    assert_false(rmd_node_serving(w.node));
    assert_non_null(strstr(w.last_log, "nothing heard"));
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HELLO), 1);
    world_tick(&w, 2 * RMD_NODE_HELLO_MS);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HELLO), 3);
    assert_null(world_next_mail(&w, RMD_MAIL_VALID)); /* nothing renewed it, nothing cut it */
    assert_true(until < w.now.mono_ms + 60000);
    size_t heartbeats = world_count(&w, REMUDA__FRAME__BODY_HEARTBEAT);
    world_tick(&w, 5000);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HEARTBEAT), heartbeats);
    world_release(&w);
}

/* A simulation of weeks lets it beat every half hour; what counts as silence grows with it. */
static void a_slower_heart_is_silent_later(void **state) {
    (void)state;
    enum { BEAT_MS = 1800000 };
    struct world w;
    world_init(&w, 1);
    rmd_node_free(w.node);
    w.node = rmd_node_new(&(struct rmd_node_options){
        .workers = 1, .hostname = "n1.example", .sign = rmd_sign_fake(), .heartbeat_ms = BEAT_MS});
    world_start(&w);
    world_welcome(&w, NULL, 0);
    while (world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT))
        ;
    world_tick(&w, BEAT_MS - 1);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HEARTBEAT), 0);
    assert_int_equal(rmd_node_deadline(w.node), w.now.mono_ms + 1);
    world_tick(&w, 1);
    assert_int_equal(world_count(&w, REMUDA__FRAME__BODY_HEARTBEAT), 1);
    for (int i = 1; i < RMD_NODE_SILENCE_BEATS; i++) {
        assert_true(rmd_node_serving(w.node));
        world_tick(&w, BEAT_MS);
    }
    assert_false(rmd_node_serving(w.node));
    world_release(&w);
}

static void another_epoch_ends_the_session_and_an_older_one_is_not_obeyed(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    world_next(&w, REMUDA__FRAME__BODY_HELLO);
    w.epoch = 6;
    Remuda__HeartbeatEcho e = REMUDA__HEARTBEAT_ECHO__INIT;
    e.echo_mono_ms = w.now.mono_ms;
    e.lease_valid_ms = 90000;
    world_frame(&w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &e);
    assert_true(rmd_node_serving(w.node));
    w.epoch = 8;
    world_tick(&w, 500);
    world_welcome(&w, NULL, 0); /* a coordinator that started anew answers a Hello of ours from long ago */
    assert_false(rmd_node_serving(w.node));
    Remuda__Frame *hello = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_non_null(hello);
    assert_int_equal(hello->hello->epoch_seen, 7);
    w.epoch = 6;
    world_welcome(&w, NULL, 0);
    assert_false(rmd_node_serving(w.node));
    assert_non_null(strstr(w.last_log, "epoch 6"));
    w.epoch = 8;
    world_welcome(&w, NULL, 0);
    assert_true(rmd_node_serving(w.node));
    world_release(&w);
}

static void malformed_frames_are_counted_and_the_session_goes_on(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    while (world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT))
        ;
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_FRAME, .frame = NULL});
    world_frame(&w, REMUDA__FRAME__BODY__NOT_SET, NULL);
    Remuda__Bye bye = REMUDA__BYE__INIT;
    world_frame(&w, REMUDA__FRAME__BODY_BYE, &bye); /* only a node says that */
    world_tick(&w, RMD_NODE_HEARTBEAT_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT);
    assert_int_equal(f->heartbeat->malformed_frames, 3);
    assert_true(rmd_node_serving(w.node));
    world_release(&w);
}

static void trouble_of_a_source_is_told_until_it_is_mended(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    world_tick(&w, 100);
    while (world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT))
        ;
    struct rmd_mail m = {.kind = RMD_MAIL_TROUBLE, .source = 5, .text = "203.0.113.7: address is not on this host"};
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_MAIL, .mail = &m});
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT); /* at once */
    assert_non_null(f);
    assert_int_equal(f->heartbeat->n_source, 1);
    assert_int_equal(f->heartbeat->source[0]->source, 5);
    assert_non_null(strstr(f->heartbeat->source[0]->text, "not on this host"));
    assert_string_equal(f->heartbeat->trouble, ""); /* told once */
    m.text = "";
    world_step(&w, (struct rmd_node_event){.kind = RMD_NE_MAIL, .mail = &m});
    f = world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT);
    assert_int_equal(f->heartbeat->n_source, 1);
    assert_string_equal(f->heartbeat->source[0]->text, "");
    assert_string_equal(f->heartbeat->trouble, "");
    world_tick(&w, 2 * RMD_NODE_HEARTBEAT_MS);
    world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT);
    f = world_next(&w, REMUDA__FRAME__BODY_HEARTBEAT);
    assert_int_equal(f->heartbeat->n_source, 0);
    world_release(&w);
}

static void ledger_time_is_attested_across_sessions(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    Remuda__HeartbeatEcho e = REMUDA__HEARTBEAT_ECHO__INIT;
    e.echo_mono_ms = w.now.mono_ms;
    e.lease_valid_ms = 60000;
    e.ledger_time_ms = 5000000;
    world_frame(&w, REMUDA__FRAME__BODY_HEARTBEAT_ECHO, &e);
    world_next(&w, REMUDA__FRAME__BODY_HELLO);
    world_tick(&w, RMD_NODE_SILENCE_MS);
    Remuda__Frame *f = world_next(&w, REMUDA__FRAME__BODY_HELLO);
    assert_int_equal(f->hello->ledger_time_ms, 5000000 + RMD_NODE_SILENCE_MS);
    world_release(&w);
}

static void a_policy_goes_to_every_worker_and_an_overtaken_one_to_none(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 2);
    world_start(&w);
    world_welcome(&w, NULL, 0);
    w.mails_read = w.mails;
    Remuda__Policy p = REMUDA__POLICY__INIT;
    char rules[] = "rules";
    p.revision = 5;
    p.rules = (ProtobufCBinaryData){5, (uint8_t *)rules};
    world_frame(&w, REMUDA__FRAME__BODY_POLICY, &p);
    assert_int_equal(world_next_mail(&w, RMD_MAIL_POLICY)->worker, 0);
    assert_int_equal(world_next_mail(&w, RMD_MAIL_POLICY)->worker, 1);
    assert_int_equal(w.rules, 1);
    p.revision = 4;
    world_frame(&w, REMUDA__FRAME__BODY_POLICY, &p);
    assert_null(world_next_mail(&w, RMD_MAIL_POLICY));
    p.revision = 6;
    world_frame(&w, REMUDA__FRAME__BODY_POLICY, &p);
    assert_int_equal(w.rules, 1); /* the same rules are not compiled again */
    world_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_hello_until_it_is_welcomed),
        cmocka_unit_test(a_welcome_counts_only_as_the_answer_to_a_present_hello),
        cmocka_unit_test(a_version_refused_is_logged_once_and_tried_again_slowly),
        cmocka_unit_test(a_second_session_refused_goes_on_asking),
        cmocka_unit_test(a_coordinator_that_is_starting_is_asked_again_soon),
        cmocka_unit_test(a_revoked_key_ends_validity_at_once),
        cmocka_unit_test(echoes_renew_validity_and_never_shorten_it),
        cmocka_unit_test(silence_means_hello_again_and_validity_runs_out_by_itself),
        cmocka_unit_test(a_slower_heart_is_silent_later),
        cmocka_unit_test(another_epoch_ends_the_session_and_an_older_one_is_not_obeyed),
        cmocka_unit_test(malformed_frames_are_counted_and_the_session_goes_on),
        cmocka_unit_test(trouble_of_a_source_is_told_until_it_is_mended),
        cmocka_unit_test(ledger_time_is_attested_across_sessions),
        cmocka_unit_test(a_policy_goes_to_every_worker_and_an_overtaken_one_to_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
