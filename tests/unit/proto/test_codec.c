/* The codec: what goes in comes out, limits hold, hostile bytes are refused, and memory stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/codec.h"

static void a_frame_survives_the_wire(void **state) {
    (void)state;
    Remuda__Outcome outcome = REMUDA__OUTCOME__INIT, *outcomes[] = {&outcome};
    Remuda__Reply reply = REMUDA__REPLY__INIT;
    Remuda__Report report = REMUDA__REPORT__INIT;
    Remuda__Frame frame = REMUDA__FRAME__INIT;
    char enhanced[] = "4.7.1";
    reply.code = 421;
    reply.enhanced = enhanced;
    reply.text = (ProtobufCBinaryData){.len = 3, .data = (uint8_t *)enhanced};
    outcome.lease = UINT64_C(1) << 60;
    outcome.index = 255;
    outcome.reply = &reply;
    report.first_n = 17;
    report.n_outcome = 1;
    report.outcome = outcomes;
    frame.epoch = 3;
    frame.body_case = REMUDA__FRAME__BODY_REPORT;
    frame.report = &report;

    struct rmd_buf bytes = {0};
    struct rmd_arena arena = {0};
    Remuda__Frame *back = NULL;
    rmd_frame_encode(&frame, &bytes);
    assert_int_equal(rmd_frame_decode(rmd_buf_slice(&bytes), &arena, &back), RMD_OK);
    assert_int_equal(back->epoch, 3);
    assert_int_equal(back->body_case, REMUDA__FRAME__BODY_REPORT);
    assert_int_equal(back->report->first_n, 17);
    assert_int_equal(back->report->n_outcome, 1);
    assert_true(back->report->outcome[0]->lease == UINT64_C(1) << 60);
    assert_string_equal(back->report->outcome[0]->reply->enhanced, "4.7.1");
    assert_int_equal(back->report->outcome[0]->reply->text.len, 3);
    rmd_arena_release(&arena);
    rmd_buf_release(&bytes);
}

static void every_cut_of_a_frame_is_refused_or_harmless(void **state) {
    (void)state;
    Remuda__Hello hello = REMUDA__HELLO__INIT;
    char name[] = "node.example", address[] = "203.0.113.7", *addresses[] = {address, address};
    hello.hostname = name;
    hello.n_address = 2;
    hello.address = addresses;
    Remuda__Frame frame = REMUDA__FRAME__INIT, *back;
    frame.body_case = REMUDA__FRAME__BODY_HELLO;
    frame.hello = &hello;
    struct rmd_buf bytes = {0};
    struct rmd_arena arena = {0};
    rmd_frame_encode(&frame, &bytes);
    int refused = 0;
    for (size_t n = 0; n < bytes.len; n++) {
        uint8_t *cut =
            rmd_memdup(bytes.p, n ? n : 1); /* an exact allocation, so that a sanitizer sees a read past it */
        refused += rmd_frame_decode(rmd_slice(cut, n), &arena, &back) == RMD_EFORMAT;
        rmd_arena_reset(&arena);
        free(cut);
    }
    assert_int_equal(refused, bytes.len - 1); /* an empty frame is a frame without a body */
    rmd_arena_release(&arena);
    rmd_buf_release(&bytes);
}

static void a_frame_over_the_limit_is_refused_unread(void **state) {
    (void)state;
    uint8_t *big = rmd_alloc(RMD_FRAME_MAX_BYTES + 1);
    struct rmd_arena arena = {0};
    Remuda__Frame *back = NULL;
    assert_int_equal(rmd_frame_decode(rmd_slice(big, RMD_FRAME_MAX_BYTES + 1), &arena, &back), RMD_ELIMIT);
    assert_null(back);
    assert_int_equal(arena.total, 0);
    free(big);
    rmd_arena_release(&arena);
}

/* A megabyte of empty outcomes would ask for more than a hundred megabytes. */
static void a_frame_cannot_ask_for_unbounded_memory(void **state) {
    (void)state;
    struct rmd_buf body = {0}, bytes = {0};
    for (int i = 0; i < 500000; i++)
        rmd_buf_add(&body, "\x1a\x00", 2); /* Report.outcome, length 0 */
    rmd_buf_addc(&bytes, 0x42);            /* Frame.report */
    for (size_t n = body.len; n; n >>= 7)
        rmd_buf_addc(&bytes, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
    rmd_buf_add(&bytes, body.p, body.len);
    assert_true(bytes.len < RMD_FRAME_MAX_BYTES);
    struct rmd_arena arena = {0};
    Remuda__Frame *back = NULL;
    assert_int_equal(rmd_frame_decode(rmd_buf_slice(&bytes), &arena, &back), RMD_EFORMAT);
    assert_true(arena.total < 64 << 20);
    rmd_arena_release(&arena);
    rmd_buf_release(&body);
    rmd_buf_release(&bytes);
}

static void a_full_report_of_short_outcomes_fits(void **state) {
    (void)state;
    enum { N = 12000 };
    Remuda__Report report = REMUDA__REPORT__INIT;
    Remuda__Outcome *list = rmd_alloc(N * sizeof *list), **outcomes = rmd_alloc(N * sizeof *outcomes);
    for (int i = 0; i < N; i++) {
        remuda__outcome__init(outcomes[i] = &list[i]);
        list[i].lease = 100000;
        list[i].index = (uint32_t)i;
        list[i].kind = 1;
        list[i].wall_ms = INT64_C(1790000000000);
    }
    report.n_outcome = N;
    report.outcome = outcomes;
    Remuda__Frame frame = REMUDA__FRAME__INIT, *back = NULL;
    frame.body_case = REMUDA__FRAME__BODY_REPORT;
    frame.report = &report;
    struct rmd_buf bytes = {0};
    struct rmd_arena arena = {0};
    rmd_frame_encode(&frame, &bytes);
    assert_in_range(bytes.len, 128 << 10, RMD_FRAME_MAX_BYTES);
    assert_int_equal(rmd_frame_decode(rmd_buf_slice(&bytes), &arena, &back), RMD_OK);
    assert_int_equal(back->report->n_outcome, N);
    rmd_arena_release(&arena);
    rmd_buf_release(&bytes);
    free(list);
    free(outcomes);
}

static void encoding_appends_and_respects_the_buffer_limit(void **state) {
    (void)state;
    Remuda__Row row = REMUDA__ROW__INIT;
    char email[] = "ann@example.com";
    row.email = email;
    struct rmd_buf out = {0};
    rmd_buf_addstr(&out, "before");
    rmd_pb_encode(&row, &out);
    struct rmd_arena arena = {0};
    Remuda__Row *back = rmd_pb_decode(&remuda__row__descriptor, rmd_slice(out.p + 6, out.len - 6), &arena);
    assert_non_null(back);
    assert_string_equal(back->email, email);
    rmd_buf_release(&out);
    out.limit = 8;
    rmd_pb_encode(&row, &out);
    assert_true(out.overflow);
    assert_int_equal(out.len, 0);
    rmd_arena_release(&arena);
    rmd_buf_release(&out);
}

static void a_verdict_survives_the_wire(void **state) {
    (void)state;
    struct rmd_verdict v = {.class = RMD_CLASS_IP_BLOCKLISTED,
                            .scope = RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK,
                            .at_provider = true,
                            .action = RMD_ACTION_QUARANTINE,
                            .duration_ms = INT64_C(86400000),
                            .move = true,
                            .permanent = true,
                            .rule = "blocked-using-zone"},
                       back;
    Remuda__Verdict wire;
    rmd_verdict_to_wire(&v, &wire);
    struct rmd_buf bytes = {0};
    struct rmd_arena arena = {0};
    rmd_pb_encode(&wire, &bytes);
    Remuda__Verdict *w = rmd_pb_decode(&remuda__verdict__descriptor, rmd_buf_slice(&bytes), &arena);
    assert_non_null(w);
    rmd_verdict_from_wire(w, &back);
    assert_int_equal(back.class, v.class);
    assert_int_equal(back.scope, v.scope);
    assert_int_equal(back.action, v.action);
    assert_int_equal(back.duration_ms, v.duration_ms);
    assert_true(back.at_provider && back.move && back.permanent);
    assert_string_equal(back.rule, v.rule);
    rmd_arena_release(&arena);
    rmd_buf_release(&bytes);
}

static void a_verdict_of_a_later_version_falls_back(void **state) {
    (void)state;
    Remuda__Verdict w = REMUDA__VERDICT__INIT;
    struct rmd_verdict v;
    w.class_ = 4000;
    w.action = 77;
    w.scope = UINT32_MAX;
    w.duration_ms = -5;
    rmd_verdict_from_wire(&w, &v);
    assert_int_equal(v.class, RMD_CLASS_OTHER);
    assert_int_equal(v.action, RMD_ACTION_RETRY);
    assert_int_equal(v.scope, 0x3ff);
    assert_int_equal(v.duration_ms, 0);
    w.permanent = true;
    rmd_verdict_from_wire(&w, &v);
    assert_int_equal(v.action, RMD_ACTION_FAIL);
    rmd_verdict_from_wire(NULL, &v);
    assert_int_equal(v.class, RMD_CLASS_OTHER);
    assert_int_equal(v.action, RMD_ACTION_NONE);
    assert_string_equal(v.rule, "");
}

static void a_verp_token_names_its_message(void **state) {
    (void)state;
    struct rmd_id campaign = rmd_id_make(INT64_C(1790000000000), 0xdeadbeef), id = rmd_id_row(&campaign, 42), back;
    const uint8_t hmac[8] = {0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6};
    char token[48], mac[16];
    rmd_verp_token(&id, hmac, token);
    assert_int_equal(strlen(token), 37);
    assert_string_equal(token + 26, "-0123456789"); /* five bits a digit, highest first */
    assert_int_equal(rmd_verp_parse(rmd_slice_str(token), &back, mac), RMD_OK);
    assert_true(rmd_id_eq(&back, &id));
    assert_string_equal(mac, "0123456789");
}

static void a_verp_token_may_come_back_in_upper_case(void **state) {
    (void)state;
    struct rmd_id id = rmd_id_make(INT64_C(1790000000000), 7), back;
    const uint8_t hmac[8] = {0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88};
    char token[48], mac[16], mac_upper[16];
    rmd_verp_token(&id, hmac, token);
    assert_int_equal(rmd_verp_parse(rmd_slice_str(token), &back, mac), RMD_OK);
    for (char *p = token; *p; p++)
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    assert_int_equal(rmd_verp_parse(rmd_slice_str(token), &back, mac_upper), RMD_OK);
    assert_true(rmd_id_eq(&back, &id));
    assert_string_equal(mac, mac_upper);
}

static void forms_that_are_no_token_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "-",
        "01j9zk00000000000000000000",
        "01j9zk00000000000000000000-",
        "01j9zk00000000000000000000-012345678",
        "01j9zk00000000000000000000-01234567890",
        "01j9zk00000000000000000000+0123456789",
        "01j9zk00000000000000000000-012345678i",
        "01j9zk0000000000000000000l-0123456789",
        "81j9zk00000000000000000000-0123456789", /* over 128 bits */
    };
    struct rmd_id id;
    char mac[16];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (rmd_verp_parse(rmd_slice_str(bad[i]), &id, mac) != RMD_EFORMAT)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(rmd_verp_parse(rmd_slice("01j9zk00000000000000000000-012345678\0", 37), &id, mac), RMD_EFORMAT);
}

static void a_message_is_known_by_what_people_see_of_it(void **state) {
    (void)state;
    static const char *const good[] = {"01j9zk00000000000000000000", "01j9zk00000000000000000000-0123456789",
                                       "<01j9zk00000000000000000000-0123456789@news.example.net>",
                                       "01J9ZK00000000000000000000-0123456789@news.example.net",
                                       " <b+01j9zk00000000000000000000-0123456789@bounce.example.net>"},
                             *const bad[] = {"",
                                             "<>",
                                             "ann@example.org",
                                             "b+@x",
                                             "01j9zk00000000000000000000-x@y",
                                             "b+ann@example.org"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct rmd_id id;
        char text[27];
        assert_int_equal(rmd_message_parse(rmd_slice_str(good[i]), &id), RMD_OK);
        rmd_id_format(&id, text);
        assert_string_equal(text, "01j9zk00000000000000000000");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rmd_id id;
        if (rmd_message_parse(rmd_slice_str(bad[i]), &id) == RMD_OK)
            fail_msg("taken: %s", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_survives_the_wire),
        cmocka_unit_test(every_cut_of_a_frame_is_refused_or_harmless),
        cmocka_unit_test(a_frame_over_the_limit_is_refused_unread),
        cmocka_unit_test(a_frame_cannot_ask_for_unbounded_memory),
        cmocka_unit_test(a_full_report_of_short_outcomes_fits),
        cmocka_unit_test(encoding_appends_and_respects_the_buffer_limit),
        cmocka_unit_test(a_verdict_survives_the_wire),
        cmocka_unit_test(a_verdict_of_a_later_version_falls_back),
        cmocka_unit_test(a_verp_token_names_its_message),
        cmocka_unit_test(a_verp_token_may_come_back_in_upper_case),
        cmocka_unit_test(forms_that_are_no_token_are_refused),
        cmocka_unit_test(a_message_is_known_by_what_people_see_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
