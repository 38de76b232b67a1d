/* What receivers of the herd's world do, rule by rule: a story each, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/sim/herd/herd_kit.h"

#define MINUTE ((int64_t)60000)
#define HOUR ((int64_t)HERD_HOUR_MS)
#define DAY ((int64_t)HERD_DAY_MS)

#define assert_said(k, word) assert_non_null(strstr((k).reply, word))

/* ---- volume */

static void the_1001st_message_of_a_new_source_blocks_it(void **state) {
    struct kit k;
    (void)state;
    kit_open(
        &k, KIT_WORLD("newcomer { " C "per_day = 1000; block = 3d; stage = dot; reply = \"550 5.7.28 $ip is new\" }"),
        1);
    assert_int_equal(kit_send_many(&k, 0, 1000, 0), 1000);
    assert_int_equal(kit_send(&k, 0, MINUTE), 550);
    assert_string_equal(k.reply, "550 5.7.28 20.0.1.10 is new");
    assert_int_equal(kit_send(&k, 0, 2 * DAY), 550); /* another day doesn't help */
    assert_true(herd_blocked(k.w, 0, 0, 2 * DAY));
    assert_int_equal(kit_send(&k, 1, 2 * DAY), 250); /* another source isn't meant */
    assert_int_equal(kit_send(&k, 0, 3 * DAY + HOUR), 250);
    kit_close(&k);
}

static void a_newcomer_may_send_more_with_age(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("newcomer { " C
                       "days = 5d; per_day = 100; grow = 150%; block = 1h; stage = dot; reply = \"550 new\" }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 90, 0), 90);
    assert_int_equal(kit_send_many(&k, 0, 200, DAY), 150);
    assert_int_equal(kit_send_many(&k, 0, 400, 2 * DAY), 225);
    assert_int_equal(kit_send_many(&k, 0, 2000, 5 * DAY), 2000); /* five days old */
    assert_int_equal(kit_send_many(&k, 3, 500, 5 * DAY), 500);   /* known for long */
    assert_int_equal(kit_send_many(&k, 0, 200, 36 * DAY), 100);  /* a month of silence, and new again */
    kit_close(&k);
}

static void a_day_has_at_most_a_multiple_of_the_busiest_before(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("growth { " C
                       "floor = 50; factor = 200%; days = 3; stage = mail; reply = \"421 4.7.28 too fast\" }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 60, 0), 50);
    assert_said(k, "421 4.7.28");
    assert_int_equal(kit_send_many(&k, 0, 200, DAY), 100);
    assert_int_equal(kit_send_many(&k, 0, 30, 2 * DAY), 30);
    assert_int_equal(kit_send_many(&k, 0, 300, 3 * DAY), 200); /* of the last three days, the first had 100 */
    assert_int_equal(kit_send_many(&k, 0, 300, 8 * DAY), 50);  /* all forgotten */
    assert_int_equal(kit_send_many(&k, 3, 300, 8 * DAY), 50);
    kit_close(&k);
}

static void a_day_is_looked_back_on_for_as_long_as_the_rule_says(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD("growth { " C "floor = 20; factor = 200%; days = 3; stage = mail; reply = \"421 no\" }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 50, 0), 20);
    assert_int_equal(kit_send_many(&k, 0, 50, DAY), 40);
    assert_int_equal(kit_send_many(&k, 0, 100, 4 * DAY), 80);
    assert_int_equal(kit_send_many(&k, 0, 100, 8 * DAY), 20);
    kit_close(&k);
}

static void what_a_known_source_was_used_to_send_counts(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD("growth { " C "floor = 10; factor = 200%; stage = mail; reply = \"421 no\" }"), 1);
    assert_int_equal(kit_send_many(&k, 3, 300, 0), 200); /* usual_per_day = 100, all of it here */
    assert_int_equal(kit_send_many(&k, 0, 300, 0), 10);
    kit_close(&k);
}

static void a_sending_domain_grows_over_all_sources(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("domain_growth { " C
                       "floor = 80; stage = dot; reply = \"421 4.7.28 your DKIM domain [$domain 35]\" }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 50, 0), 50);
    assert_int_equal(kit_send_many(&k, 1, 50, 0), 30);
    assert_string_equal(k.reply, "421 4.7.28 your DKIM domain [m.example 35]");
    kit_close(&k);
}

static void an_hour_has_its_rate(void **state) {
    static const struct {
        int64_t at_ms;
        int sent, accepted;
    } row[] = {{0, 200, 100},         {30 * MINUTE, 10, 0},  {59 * MINUTE, 10, 0},
               {60 * MINUTE, 60, 60}, {90 * MINUTE, 60, 40}, {120 * MINUTE, 100, 60}};
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD("rate { " C "per_hour = 100; stage = rcpt; reply = \"421 RP-001\" }"), 1);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(kit_send_many(&k, 0, row[i].sent, row[i].at_ms), row[i].accepted);
    assert_int_equal(kit_send_many(&k, 1, 100, 120 * MINUTE), 100);
    kit_close(&k);
}

static void every_refusal_makes_a_throttle_harder_and_patience_undoes_it(void **state) {
    struct kit k;
    (void)state;
    kit_open(
        &k,
        KIT_WORLD("rate { " C
                  "per_hour = 100; harder = 10%; least = 20%; recover = 10h; stage = rcpt; reply = \"421 slow\" }"),
        1);
    assert_int_equal(kit_send_many(&k, 0, 105, 0), 100);  /* five refusals: half is left */
    assert_int_equal(kit_send_many(&k, 0, 61, HOUR), 60); /* an hour gave a tenth back */
    assert_int_equal(kit_send_many(&k, 0, 500, 2 * HOUR), 60);
    assert_int_equal(kit_send_many(&k, 0, 31, 3 * HOUR), 30); /* the worst case, and a tenth */
    assert_int_equal(kit_send_many(&k, 0, 101, 20 * HOUR), 100);
    kit_close(&k);
}

/* ---- connections */

static void one_connection_too_many_is_refused_in_its_greeting(void **state) {
    struct kit k;
    struct herd_reply r;
    uint32_t c[4];
    (void)state;
    kit_open(
        &k,
        KIT_WORLD("connections { " C
                  "most = 3; messages = 2; reply = \"421 too many from $ip\"; reply_messages = \"421 RP-002\" }"),
        1);
    for (int i = 0; i < 3; i++) {
        c[i] = herd_connect(k.w, 0, 0, 0, &r);
        assert_int_equal(r.code, 220);
    }
    herd_connect(k.w, 0, 0, 0, &r);
    assert_string_equal(r.text, "421 too many from 20.0.1.10");
    assert_true(r.close);
    c[3] = herd_connect(k.w, 1, 0, 0, &r);
    assert_int_equal(r.code, 220);
    herd_disconnect(k.w, c[1], 10);
    c[1] = herd_connect(k.w, 0, 0, 10, &r);
    assert_int_equal(r.code, 220);
    for (uint32_t i = 0; i < 2; i++) {
        herd_mail(k.w, c[0], 0, i, 20, &r);
        herd_rcpt(k.w, c[0], 20, &r);
        herd_dot(k.w, c[0], 20, &r);
        assert_int_equal(r.code, 250);
    }
    herd_mail(k.w, c[0], 0, 3, 30, &r);
    assert_string_equal(r.text, "421 RP-002");
    assert_true(r.close);
    for (int i = 1; i < 4; i++)
        herd_disconnect(k.w, c[i], 40);
    kit_close(&k);
}

/* ---- escalation */

#define PRESSURE                                                                                                   \
    "rate { " C "per_hour = 10; stage = mail; reply = \"421 4.7.0 wait\" }; pressure { " C                         \
    "rest = 10min; longest = 2h; tolerate = 3; levels = 3; window = 12h; block = 2d; stage = mail; reply = \"550 " \
    "5.7.1 blocked\" }"

static void who_waits_is_let_in_again(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD(PRESSURE), 1);
    assert_int_equal(kit_send_many(&k, 0, 11, 0), 10);
    assert_int_equal(kit_send(&k, 0, 9 * MINUTE), 421); /* one try too early is forgiven */
    assert_int_equal(kit_send_many(&k, 0, 10, 61 * MINUTE), 10);
    assert_false(herd_blocked(k.w, 0, 0, 61 * MINUTE));
    kit_close(&k);
}

static void who_pushes_waits_longer_and_is_blocked_in_the_end(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD(PRESSURE), 1);
    assert_int_equal(kit_send_many(&k, 0, 11, 0), 10);
    assert_int_equal(kit_send_many(&k, 0, 4, MINUTE), 0);      /* the fourth is a level: 20 minutes from here */
    assert_int_equal(kit_send(&k, 0, 20 * MINUTE), 421);       /* it would have been over otherwise */
    assert_int_equal(kit_send_many(&k, 0, 3, 20 * MINUTE), 0); /* the second level: 40 minutes */
    assert_false(herd_blocked(k.w, 0, 0, 20 * MINUTE));
    assert_int_equal(kit_send_many(&k, 0, 4, 59 * MINUTE), 0);
    assert_string_equal(k.reply, "550 5.7.1 blocked");
    assert_true(herd_blocked(k.w, 0, 0, 59 * MINUTE));
    assert_int_equal(kit_send(&k, 0, 47 * HOUR), 550);
    assert_int_equal(kit_send(&k, 0, 50 * HOUR), 250);
    kit_close(&k);
}

static void each_refusal_within_the_window_makes_the_rest_longer(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD(PRESSURE), 1);
    assert_int_equal(kit_send_many(&k, 0, 11, 0), 10);
    assert_int_equal(kit_send_many(&k, 0, 1, 11 * MINUTE), 0); /* still too fast: 20 minutes from here */
    assert_int_equal(kit_send_many(&k, 0, 1, 32 * MINUTE), 0); /* 30 minutes */
    assert_int_equal(kit_send_many(&k, 0, 1, 61 * MINUTE), 0); /* the hour is over, the rest isn't */
    assert_int_equal(kit_send_many(&k, 0, 10, 63 * MINUTE), 10);
    kit_close(&k);
}

static void a_rest_has_its_longest(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("rate { " C "per_hour = 10; stage = mail; reply = \"421 wait\" }; pressure { " C
                       "rest = 40min; longest = 1h; tolerate = 0; levels = 99; window = 12h; stage = mail; reply = "
                       "\"550 no\" }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 11, 0), 10);
    assert_int_equal(kit_send_many(&k, 0, 5, MINUTE), 0); /* five times doubled */
    assert_int_equal(kit_send(&k, 0, 62 * MINUTE), 250);
    kit_close(&k);
}

static void two_blocked_sources_block_their_network(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("newcomer { " C "per_day = 10; block = 1d; stage = dot; reply = \"550 S3150\" }; network { " C
                       "sources = 2; block = 3d; stage = mail; reply = \"550 S3140\" }"),
             1);
    kit_send_many(&k, 0, 11, 0);
    assert_int_equal(kit_send(&k, 1, MINUTE), 250);
    kit_send_many(&k, 1, 11, 2 * MINUTE);
    assert_int_equal(kit_send(&k, 0, 2 * DAY), 550); /* its own block is over */
    assert_string_equal(k.reply, "550 S3140");
    assert_int_equal(kit_send(&k, 2, 2 * DAY), 250); /* another /24 */
    assert_int_equal(kit_send(&k, 0, 3 * DAY + HOUR), 250);
    struct herd_metrics m;
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.ip_days_lost_milli, 6000); /* two sources, three days, each hour once */
    kit_close(&k);
}

static void a_form_shortens_a_block_as_often_as_it_is_granted(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("newcomer { " C "per_day = 10; block = 20d; stage = dot; reply = \"550 no\" }; form { " C
                       "takes = 5h; granted = 1 }"),
             1);
    kit_send_many(&k, 0, 11, 0);
    assert_int_equal(kit_send(&k, 0, 13 * HOUR), 550); /* the operator looks at 9:00, the form takes five hours */
    assert_int_equal(kit_send_many(&k, 0, 11, 2 * DAY), 10);
    assert_int_equal(kit_send(&k, 0, 10 * DAY), 550); /* the second time nobody listens */
    kit_close(&k);
}

static void a_new_source_must_be_announced(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_STREAM KIT_LIST KIT_CAMPAIGN
             "sources a { host = n; pool = p; first = \"20.0.1.1\" }\n"
             "sources b { host = n; pool = p; first = \"20.0.1.2\"; announced = r }\n"
             "sources o { host = n; pool = p; first = \"20.0.1.3\"; age_days = 90 }\n" KIT_RECEIVER(
                 "announce { " C "stage = greeting; reply = \"554 IP=$ip (NOWL)\" }"),
             1);
    assert_int_equal(kit_send(&k, 0, 0), 554);
    assert_int_equal(kit_send(&k, 1, 0), 250);
    assert_int_equal(kit_send(&k, 2, 0), 250);
    kit_close(&k);
}

/* ---- greylisting */

static void greylisting_remembers_network_recipient_and_domain(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("greylist { " C
                       "by = network; after = 5min; forget = 1d; known_after = 3; reply = \"450 Greylisted\" }"),
             1);
    assert_int_equal(kit_send_row(&k, 0, 0, 0, 0), 450);
    assert_int_equal(kit_send_row(&k, 0, 0, 0, 4 * MINUTE), 450);
    assert_int_equal(kit_send_row(&k, 2, 0, 0, 6 * MINUTE), 450); /* another network begins anew */
    assert_int_equal(kit_send_row(&k, 1, 0, 0, 6 * MINUTE), 250); /* the same one doesn't */
    assert_int_equal(kit_send_row(&k, 0, 0, 1, 6 * MINUTE), 450);
    assert_int_equal(kit_send_row(&k, 0, 0, 1, 40 * HOUR), 450); /* forgotten */
    for (uint32_t row = 1; row < 4; row++)
        kit_send_row(&k, 1, 0, row, 40 * HOUR);
    for (uint32_t row = 1; row < 4; row++)
        assert_int_equal(kit_send_row(&k, 1, 0, row, 41 * HOUR), 250);
    assert_int_equal(kit_send_row(&k, 1, 0, 9, 41 * HOUR), 250);  /* known by now */
    assert_int_equal(kit_send_row(&k, 3, 0, 10, 41 * HOUR), 250); /* known before */
    kit_close(&k);
}

static void greylisting_by_source_is_stricter(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k, KIT_WORLD("greylist { " C "by = source; after = 5min; reply = \"450 Greylisted\" }"), 1);
    assert_int_equal(kit_send_row(&k, 0, 0, 0, 0), 450);
    assert_int_equal(kit_send_row(&k, 1, 0, 0, 6 * MINUTE), 450);
    assert_int_equal(kit_send_row(&k, 0, 0, 0, 6 * MINUTE), 250);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_1001st_message_of_a_new_source_blocks_it),
        cmocka_unit_test(a_newcomer_may_send_more_with_age),
        cmocka_unit_test(a_day_has_at_most_a_multiple_of_the_busiest_before),
        cmocka_unit_test(a_day_is_looked_back_on_for_as_long_as_the_rule_says),
        cmocka_unit_test(what_a_known_source_was_used_to_send_counts),
        cmocka_unit_test(a_sending_domain_grows_over_all_sources),
        cmocka_unit_test(an_hour_has_its_rate),
        cmocka_unit_test(every_refusal_makes_a_throttle_harder_and_patience_undoes_it),
        cmocka_unit_test(one_connection_too_many_is_refused_in_its_greeting),
        cmocka_unit_test(who_waits_is_let_in_again),
        cmocka_unit_test(who_pushes_waits_longer_and_is_blocked_in_the_end),
        cmocka_unit_test(each_refusal_within_the_window_makes_the_rest_longer),
        cmocka_unit_test(a_rest_has_its_longest),
        cmocka_unit_test(two_blocked_sources_block_their_network),
        cmocka_unit_test(a_form_shortens_a_block_as_often_as_it_is_granted),
        cmocka_unit_test(a_new_source_must_be_announced),
        cmocka_unit_test(greylisting_remembers_network_recipient_and_domain),
        cmocka_unit_test(greylisting_by_source_is_stricter),
    };
    return cmocka_run_group_tests_name("herd rules", tests, NULL, NULL);
}
