/* People, reputation, blocklists and events of the herd's world, and how its metrics count them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "tests/sim/herd/herd_kit.h"

#define MINUTE ((int64_t)60000)
#define HOUR ((int64_t)HERD_HOUR_MS)
#define DAY ((int64_t)HERD_DAY_MS)

#define LIST(keys) "list l { size = 100k; mix { r = 100% }; " keys " }\n"
#define WORLD(keys, rules)                     \
    KIT_HEAD KIT_SOURCES KIT_STREAM LIST(keys) \
    KIT_CAMPAIGN KIT_RECEIVER(rules)

/* ---- people */

static void shares_of_a_list_are_what_the_file_says(void **state) {
    struct kit k;
    uint64_t n[4] = {0}, engaged = 0, named = 0;
    (void)state;
    kit_open(&k, WORLD("unknown = 5%; traps = 2%; full = 1%; engaged = 30%; engaged_known = 80%", ""), 7);
    for (uint32_t i = 0; i < 100000; i++) {
        struct herd_traits t;
        herd_traits(k.w, 0, i, &t);
        n[t.kind]++;
        engaged += t.engaged;
        named += t.engaged && t.engaged_days >= 0;
    }
    assert_in_range(n[HERD_UNKNOWN], 4700, 5300);
    assert_in_range(n[HERD_TRAP], 1800, 2200);
    assert_in_range(n[HERD_FULL], 850, 1150);
    assert_in_range(engaged, 27000, 29000); /* of the 93 % who exist */
    assert_in_range(named * 100 / engaged, 79, 81);
    kit_close(&k);
}

static void an_address_can_be_read_back(void **state) {
    struct kit k;
    struct herd_person p, q;
    char email[128];
    (void)state;
    kit_open(&k, WORLD("", ""), 7);
    herd_person(k.w, 0, 12, &p);
    herd_email(k.w, &p, email);
    assert_string_equal(email, "p12.l@r.example");
    assert_true(herd_email_parse(k.w, email, &q));
    assert_int_equal(q.number, 12);
    static const char *const wrong[] = {
        "p12.l@x.example", "p12.x@r.example", "p100000.l@r.example", "12.l@r.example", "p1", "p@l.", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(herd_email_parse(k.w, wrong[i], &q));
    kit_close(&k);
}

static void unknown_full_and_trapped_recipients_answer_as_they_are(void **state) {
    struct kit k;
    (void)state;
    kit_open(
        &k, WORLD("unknown = 10%; traps = 10%; full = 10%", "unknown { " C "reply = \"550 5.1.1 <$rcpt> unknown\" }"),
        1);
    assert_int_equal(kit_send_row(&k, 0, 0, kit_row_of(&k, HERD_UNKNOWN), 0), 550);
    assert_non_null(strstr(k.reply, "@r.example> unknown"));
    assert_int_equal(kit_send_row(&k, 0, 0, kit_row_of(&k, HERD_FULL), 0), 452);
    assert_int_equal(kit_send_row(&k, 0, 0, kit_row_of(&k, HERD_TRAP), 0), 250);
    assert_int_equal(kit_send_row(&k, 0, 0, kit_row_of(&k, HERD_PERSON), 0), 250);
    struct herd_metrics m;
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.unknown_hits, 1);
    assert_int_equal(m.trap_hits, 1);
    assert_int_equal(m.seen[0], 1); /* a trap is nobody */
    kit_close(&k);
}

/* ---- reputation: source and sending domain apart */

#define JUDGES                                                                                              \
    "reputation { " C                                                                                       \
    "days = 5; minimum = 100; poor_unknown = 10%; bad_unknown = 30%; poor_traps = 1000; bad_traps = 1000; " \
    "refuse_bad = 100%; stage = mail; reply = \"421 4.7.0 source\"; reply_domain = \"421 4.7.0 domain\" }"

static void many_unknown_users_make_a_source_and_its_domain_bad(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_SOURCES KIT_STREAM
             "stream x { tenant = a; pool = p; domain = x.example }\n"
             "list l { size = 100k; mix { r = 100% } }\nlist bad { size = 100k; mix { r = 100% }; unknown = 50% "
             "}\n" KIT_CAMPAIGN "campaign d { stream = x; list = bad; at = 0; rows = 1000 }\n" KIT_RECEIVER(JUDGES),
             1);
    assert_string_equal(k.s->campaign[1].name, "d");
    for (uint32_t i = 0; i < 110; i++)
        kit_send_row(&k, 0, 1, i, 0);
    assert_int_equal(kit_send_row(&k, 0, 1, 200, 0), 421);
    assert_string_equal(k.reply, "421 4.7.0 source");
    assert_int_equal(kit_send_row(&k, 0, 0, 0, 0), 421);   /* another domain from this source suffers */
    assert_int_equal(kit_send_row(&k, 2, 1, 201, 0), 421); /* its domain from another source does */
    assert_string_equal(k.reply, "421 4.7.0 domain");
    assert_int_equal(kit_send_row(&k, 2, 0, 1, 0), 250);           /* neither has done anything */
    assert_int_equal(kit_send_row(&k, 0, 0, 2, 5 * DAY + 1), 250); /* out of sight */
    kit_close(&k);
}

static void traps_make_bad_whatever_the_volume(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             WORLD("traps = 20%", "reputation { " C "days = 3; minimum = 1000; poor_traps = 2; bad_traps = 3; "
                                  "defer_poor = 0%; refuse_bad = 100%; stage = mail; "
                                  "reply = \"421 4.7.0 reputation\" }"),
             1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kit_send_row(&k, 0, 0, kit_row_of(&k, HERD_TRAP), 0), 250);
    assert_int_equal(kit_send(&k, 0, 2 * DAY), 421);
    assert_int_equal(kit_send(&k, 0, 3 * DAY), 250);
    kit_close(&k);
}

static void who_is_new_or_bad_is_folded_and_engaged_people_see_more(void **state) {
    struct kit k;
    struct herd_metrics m;
    (void)state;
    kit_open(&k,
             WORLD("engaged = 50%; complaints = 0%; complaints_lapsed = 0%",
                   "reputation { " C "minimum = 1000; refuse_bad = 0%; reply = \"421 no\" }; folder { " C
                   "good = 0%; new = 40%; engaged = 25% }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 1000, 0), 1000);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_in_range(m.foldered, 210, 290); /* 40 % of the lapsed half and 10 % of the other */
    assert_int_equal(m.seen[0] + m.foldered, 1000);
    assert_int_equal(kit_send_many(&k, 0, 500, HOUR), 500);
    struct herd_metrics later;
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &later);
    assert_int_equal(later.foldered, m.foldered); /* known by now, and good */
    kit_close(&k);
}

static uint64_t folded_of_1000(const char *list) {
    struct kit k;
    struct herd_metrics m;
    char text[2000];
    rmd_format(text, sizeof text, "%s%s%slist l { size = 100k; mix { r = 100%% }; %s }\n%s%s", KIT_HEAD, KIT_SOURCES,
               KIT_STREAM, list, KIT_CAMPAIGN,
               KIT_RECEIVER("reputation { " C "minimum = 200; poor_reads = 8%; reply = \"421 no\" }; folder { " C
                            "good = 0%; new = 0%; poor = 100%; engaged = 0% }"));
    kit_open(&k, text, 1);
    kit_send_many(&k, 0, 1000, 0);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    kit_close(&k);
    return m.foldered;
}

static void mail_that_nobody_reads_makes_poor(void **state) {
    (void)state;
    assert_in_range(folded_of_1000("engaged = 10%; reads = 20%; reads_lapsed = 0%"), 650,
                    800); /* of the last 800, all but the engaged tenth */
    assert_in_range(folded_of_1000("engaged = 60%; reads = 40%; reads_lapsed = 0%"), 0, 0);
}

static void bad_content_is_refused_in_part_and_counts(void **state) {
    struct kit k;
    struct herd_metrics m;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_SOURCES KIT_STREAM KIT_LIST
             "campaign c { stream = m; list = l; at = 0; rows = 20k; content = bad }\n" KIT_RECEIVER(
                 "content { " C "refuse = 40%; stage = dot; reply = \"550 5.7.1 likely unsolicited\" }; folder { " C
                 "good = 0%; new = 0%; bad = 100%; engaged = 100% }"),
             1);
    assert_in_range(kit_send_many(&k, 0, 1000, 0), 550, 650);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.seen[0], 0);
    kit_close(&k);
}

static void excessive_unknown_recipients_stop_the_domain_for_a_while(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             WORLD("unknown = 50%", "unknowns { " C "share = 20%; minimum = 20; for = 4h; stage = mail; reply = "
                                    "\"554 5.7.9 Excessive unknown recipients\" }"),
             1);
    for (int i = 0; i < 20; i++)
        kit_send(&k, 0, 22 * HOUR);
    assert_int_equal(kit_send(&k, 1, 22 * HOUR), 554);
    assert_int_equal(kit_send(&k, 1, 25 * HOUR), 554); /* the next day's share is clean, but four hours aren't over */
    assert_int_equal(kit_send_row(&k, 1, 0, kit_row_of(&k, HERD_PERSON), 27 * HOUR), 250);
    kit_close(&k);
}

/* ---- complaints */

static void complaints_come_late_and_reports_later(void **state) {
    struct kit k;
    struct herd_report r;
    struct herd_metrics m;
    (void)state;
    kit_open(&k,
             WORLD("engaged = 100%; complaints = 10%",
                   "complaints { " C "within = 2d; report = full; report_after = 1d }"),
             1);
    kit_send_many(&k, 0, 1000, 0);
    assert_false(herd_report_next(k.w, 1, &r));
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.complaints, 0);
    uint64_t n = 0;
    while (herd_report_due(k.w) != RMD_NEVER) {
        int64_t due = herd_report_due(k.w);
        assert_true(due <= 3 * DAY + 1);
        while (herd_report_next(k.w, due, &r)) {
            n++;
            assert_int_equal(r.source, 0);
            assert_true(r.row < 1000 && r.at_ms <= due && r.at_ms > DAY);
        }
    }
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_in_range(m.complaints, 75, 125);
    assert_int_equal(m.reports, n);
    assert_int_equal(m.complaints, n);
    kit_close(&k);
}

static void some_reports_name_nobody_and_some_receivers_report_nothing(void **state) {
    static const struct {
        const char *rules;
        bool any;
    } row[] = {
        {"complaints { " C "report = campaign }", true}, {"complaints { " C "report = none }", false}, {"", false}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct kit k;
        struct herd_report r;
        char text[2000];
        rmd_format(text, sizeof text, "%s%s%s%s%sreceiver r { mx = [mx.r.example]; domains = [r.example]; %s }\n",
                   KIT_HEAD, KIT_SOURCES, KIT_STREAM, LIST("engaged = 100%; complaints = 50%"), KIT_CAMPAIGN,
                   row[i].rules);
        kit_open(&k, text, 1);
        kit_send_many(&k, 0, 10, 0);
        assert_int_equal(herd_report_next(k.w, 10 * DAY, &r), row[i].any);
        if (row[i].any)
            assert_int_equal(r.row, UINT32_MAX);
        kit_close(&k);
    }
}

static void complaints_make_a_source_bad(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             WORLD("engaged = 100%; complaints = 2%",
                   "complaints { " C "within = 1d }; reputation { " C
                   "minimum = 100; refuse_bad = 100%; stage = mail; reply = \"421 4.7.0 reputation\" }"),
             1);
    assert_int_equal(kit_send_many(&k, 0, 500, 0), 500);
    assert_int_equal(kit_send(&k, 0, DAY + HOUR), 421);
    kit_close(&k);
}

/* ---- blocklists */

#define LISTS                                                                                                       \
    "blocklist bl.test { " C "code = \"127.0.0.2\"; network_code = \"127.0.0.9\"; traps = 2; within = 1h; delay = " \
    "10min; unlist = 2d; network_sources = 2 }\n"
#define BELIEVES "listed { " C "zones = bl.test; stage = greeting; reply = \"554 5.7.1 [$ip] blocked using $zone\" }"

static uint32_t trap(struct kit *k) {
    return kit_row_of(k, HERD_TRAP);
}

static void traps_list_a_source_and_time_unlists_it(void **state) {
    struct kit k;
    struct rmd_addr a;
    (void)state;
    kit_open(&k, KIT_HEAD KIT_SOURCES KIT_STREAM LIST("traps = 20%") KIT_CAMPAIGN KIT_RECEIVER(BELIEVES) LISTS, 1);
    kit_send_row(&k, 0, 0, trap(&k), 0);
    kit_send_row(&k, 0, 0, trap(&k), 2 * HOUR); /* too far apart */
    assert_false(herd_listed(k.w, 0, 0, 3 * HOUR - 1, &a));
    kit_send_row(&k, 0, 0, trap(&k), 3 * HOUR);
    assert_false(herd_listed(k.w, 0, 0, 3 * HOUR, &a)); /* not published yet */
    assert_true(herd_listed(k.w, 0, 0, 3 * HOUR + 10 * MINUTE, &a));
    assert_int_equal(a.b[3], 2);
    assert_int_equal(kit_send(&k, 0, 4 * HOUR), 554);
    assert_string_equal(k.reply, "554 5.7.1 [20.0.1.10] blocked using bl.test");
    assert_int_equal(kit_send_row(&k, 1, 0, 0, 4 * HOUR), 250);
    assert_true(herd_listed(k.w, 0, 0, 50 * HOUR, &a));
    assert_false(herd_listed(k.w, 0, 0, 52 * HOUR, &a));
    struct herd_metrics m;
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.listings, 1);
    assert_in_range(m.ip_days_lost_milli, 1958,
                    2042); /* the one receiver believes the list: two days but ten minutes, by the hour */
    kit_close(&k);
}

static void two_listed_sources_list_their_network(void **state) {
    struct kit k;
    struct rmd_addr a[4];
    (void)state;
    kit_open(&k, KIT_HEAD KIT_SOURCES KIT_STREAM LIST("traps = 20%") KIT_CAMPAIGN KIT_RECEIVER("") LISTS, 1);
    for (uint32_t s = 0; s < 2; s++)
        for (int i = 0; i < 2; i++)
            kit_send_row(&k, s, 0, trap(&k), s * HOUR);
    assert_int_equal(herd_dnsbl(k.w, "10.1.0.20.bl.test", 2 * HOUR, a), 1);
    assert_int_equal(a[0].b[3], 2); /* its own entry */
    assert_int_equal(herd_dnsbl(k.w, "99.1.0.20.BL.test.", 2 * HOUR, a), 1);
    assert_int_equal(a[0].b[3], 9); /* a neighbour's */
    assert_int_equal(herd_dnsbl(k.w, "10.2.0.20.bl.test", 2 * HOUR, a), 0);
    kit_close(&k);
}

static void a_blocklist_answers_as_rfc_5782_says(void **state) {
    static const struct {
        const char *name;
        int answers;
    } row[] = {{"2.0.0.127.bl.test", 1},
               {"1.0.0.127.bl.test", 0},
               {"10.1.0.20.bl.test", 0},
               {"1.0.20.bl.test", 0},
               {"x.bl.test", 0},
               {"bl.test", HERD_NONE},
               {"2.0.0.127.no.test", HERD_NONE},
               {"2.0.0.127.xbl.test", HERD_NONE}};
    struct kit k;
    struct rmd_addr a[4];
    (void)state;
    kit_open(&k, KIT_HEAD KIT_SOURCES KIT_STREAM KIT_LIST KIT_CAMPAIGN KIT_RECEIVER("") LISTS, 1);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(herd_dnsbl(k.w, row[i].name, 0, a), row[i].answers);
    kit_close(&k);
}

static void removal_is_granted_once(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_SOURCES KIT_STREAM LIST("traps = 20%")
                 KIT_CAMPAIGN KIT_RECEIVER("") "blocklist bl.test { " C
                                               "traps = 1; delay = 0; unlist = 20d; takes = 6h; granted = 1 }\n",
             1);
    kit_send_row(&k, 0, 0, trap(&k), 0);
    assert_true(herd_listed(k.w, 0, 0, 14 * HOUR, NULL));
    assert_false(herd_listed(k.w, 0, 0, 16 * HOUR, NULL)); /* asked at 9:00, six hours */
    kit_send_row(&k, 0, 0, trap(&k), 20 * HOUR);
    assert_true(herd_listed(k.w, 0, 0, 10 * DAY, NULL));
    kit_close(&k);
}

static void a_form_does_not_help_against_neighbours(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_WORLD("") "blocklist bl.test { " C "traps = 1; takes = 6h; granted = 5 }\n"
                           "event n { " C
                           "kind = listing; blocklist = bl.test; network = \"20.0.1.0/24\"; at = 0; for = 3d }\n",
             1);
    assert_true(herd_listed(k.w, 0, 0, 71 * HOUR, NULL));
    assert_false(herd_listed(k.w, 0, 0, 73 * HOUR, NULL));
    kit_close(&k);
}

static void complaints_that_reach_a_list_count_there(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_SOURCES KIT_STREAM LIST("engaged = 100%; complaints = 10%") KIT_CAMPAIGN KIT_RECEIVER(
                 "complaints { " C
                 "within = 1h }") "blocklist bl.test { " C
                                  "complaints = 5; complaint_share = 20%; within = 1d; delay = 0 }\n",
             1);
    kit_send_many(&k, 0, 100, 0);
    kit_send_many(&k, 1, 1000, 0);
    assert_false(herd_listed(k.w, 0, 0, 2 * HOUR, NULL));
    assert_true(herd_listed(k.w, 0, 1, 2 * HOUR, NULL));
    kit_close(&k);
}

/* ---- events */

static void events_happen_at_their_time(void **state) {
    struct kit k;
    struct herd_reply r;
    (void)state;
    kit_open(&k,
             KIT_WORLD("") LISTS
             "event n { " C "kind = listing; blocklist = bl.test; network = \"20.0.1.0/24\"; at = 1d; for = 1d }\n"
             "event d { " C "kind = down; receiver = r; at = 3d; for = 1h }\n"
             "event l { " C "kind = liar; receiver = r; at = 4d; for = 1h; stage = greeting; reply = \"554 $ip "
             "blocked using zen.spamhaus.org\" }\n"
             "event b { " C "kind = block; receiver = r; network = \"20.0.2.0/24\"; at = 5d; for = 1h; stage = mail; "
             "reply = \"550 S3140\" }\n",
             1);
    assert_false(herd_listed(k.w, 0, 1, DAY - 1, NULL));
    assert_true(herd_listed(k.w, 0, 1, DAY, NULL));
    assert_false(herd_listed(k.w, 0, 2, DAY, NULL));
    assert_false(herd_listed(k.w, 0, 1, 2 * DAY, NULL));
    assert_int_equal(herd_connect(k.w, 0, 0, 3 * DAY, &r), 0);
    assert_int_equal(r.code, 0);
    assert_int_equal(kit_send(&k, 3, 4 * DAY), 554);
    assert_int_equal(kit_send(&k, 3, 4 * DAY + HOUR), 250);
    assert_int_equal(kit_send(&k, 2, 5 * DAY), 550);
    assert_int_equal(kit_send(&k, 0, 5 * DAY), 250);
    kit_close(&k);
}

static void a_surge_denies_the_same_people_while_it_lasts(void **state) {
    struct kit k;
    int denied = 0;
    (void)state;
    kit_open(&k, KIT_WORLD("") "event s { " C "kind = surge; receiver = r; at = 1h; for = 30min; share = 20% }\n", 1);
    for (uint32_t i = 0; i < 500; i++)
        denied += kit_send_row(&k, 0, 0, i, HOUR) == 550;
    assert_in_range(denied, 75, 125);
    int again = 0;
    for (uint32_t i = 0; i < 500; i++)
        again += kit_send_row(&k, 1, 0, i, HOUR + MINUTE) == 550;
    assert_int_equal(again, denied);
    for (uint32_t i = 0; i < 500; i++)
        assert_int_equal(kit_send_row(&k, 0, 0, i, 2 * HOUR), 250);
    kit_close(&k);
}

/* ---- metrics */

static void metrics_count_what_people_saw_and_when(void **state) {
    struct kit k;
    struct herd_metrics m;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_SOURCES KIT_STREAM KIT_LIST
             "campaign c { stream = m; list = l; at = 1d; rows = 10; valid_for = 10d }\n" KIT_RECEIVER(""),
             1);
    for (int i = 0; i < 4; i++) {
        static const int64_t at[] = {2 * DAY, 4 * DAY, 5 * DAY, 20 * DAY};
        assert_int_equal(kit_send(&k, 0, at[i]), 250);
    }
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.messages, 10);
    assert_int_equal(m.seen[0], 1);
    assert_int_equal(m.seen[1], 2);
    assert_int_equal(m.seen[2], 3);
    assert_int_equal(m.seen[3], 3); /* the last one came when nobody wanted it any more */
    kit_send_row(&k, 0, 0, 0, 21 * DAY);
    for (uint32_t i = 0; i < 10; i++)
        herd_settle(k.w, 0, i, i < 4 ? HERD_DELIVERED : i < 6 ? HERD_BOUNCED : HERD_EXPIRED, 22 * DAY);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.duplicates, 1);
    assert_int_equal(m.seen[3], 3);
    assert_int_equal(m.delivered, 4);
    assert_int_equal(m.bounced, 2);
    assert_int_equal(m.expired, 4);
    assert_int_equal(m.open, 0);
    assert_int_equal(m.complete_minutes, 21 * 24 * 60);
    assert_int_equal(m.delay_minutes_50, 4 * 24 * 60);
    kit_close(&k);
}

static void only_suppressions_of_people_who_did_not_complain_are_wrong(void **state) {
    struct kit k;
    struct herd_metrics m;
    struct herd_report r;
    (void)state;
    kit_open(&k,
             WORLD("unknown = 20%; traps = 10%; engaged = 100%; complaints = 50%",
                   "complaints { " C "within = 1h; report = full; report_after = 0 }"),
             1);
    uint32_t unknown = kit_row_of(&k, HERD_UNKNOWN), trapped = trap(&k), person;
    herd_suppress(k.w, 0, unknown, true);
    herd_suppress(k.w, 0, trapped, true);
    kit_send_many(&k, 0, 50, 0);
    assert_true(herd_report_next(k.w, DAY, &r));
    herd_suppress(k.w, 0, herd_number(k.w, r.campaign, r.row), true);
    person = kit_row_of(&k, HERD_PERSON);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.suppressions, 3);
    assert_int_equal(m.wrong_suppressions, 0);
    herd_suppress(k.w, 0, person, true);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.wrong_suppressions, 1);
    herd_suppress(k.w, 0, person, false);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.wrong_suppressions, 0);
    kit_close(&k);
}

static void a_block_costs_the_share_of_mail_that_goes_there(void **state) {
    struct kit k;
    struct herd_metrics m;
    uint32_t row = 0;
    (void)state;
    kit_open(
        &k,
        KIT_HEAD KIT_SOURCES KIT_STREAM
        "list l { size = 1000; mix { r = 25%; q = 75% } }\n" KIT_CAMPAIGN KIT_RECEIVER(
            "newcomer { " C
            "per_day = 1; block = 2d; stage = mail; reply = \"550 new\" }") "receiver q { mx = [mx.q.example]; "
                                                                            "domains = [q.example] }\n"
                                                                            "event b { " C
                                                                            "kind = block; receiver = r; network = "
                                                                            "\"20.0.1.0/24\"; at = 1d; for = 4d; "
                                                                            "stage = dot; reply = \"550 S3140\" }\n",
        1);
    while (!herd_blocked(k.w, 2, 0, DAY - 1)) /* another network's source by itself: two days */
        kit_send_row(&k, 2, 0, row++, DAY - 1);
    herd_advance(k.w, 10 * DAY);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.ip_days_lost_milli,
                     2500); /* two sources, four days, and one source, two days; a quarter of them */
    assert_int_equal(m.blocks, 2);
    kit_close(&k);
}

static void a_source_that_is_blocked_twice_is_lost_once(void **state) {
    struct kit k;
    struct herd_metrics m;
    uint32_t row = 0;
    (void)state;
    kit_open(
        &k,
        KIT_HEAD KIT_SOURCES KIT_STREAM
        "list l { size = 1000; mix { r = 25%; q = 75% } }\n" KIT_CAMPAIGN KIT_RECEIVER(
            "newcomer { " C "per_day = 1; block = 2d; stage = mail; reply = \"550 new\" }; listed { " C
            "zones = bl.test; stage = dot; reply = \"554 $zone\" }") "receiver q { mx = [mx.q.example]; domains = "
                                                                     "[q.example] }\n" LISTS "event b { " C
                                                                     "kind = block; receiver = r; network = "
                                                                     "\"20.0.2.0/24\"; at = 1d; for = 2d; stage = "
                                                                     "dot; reply = \"550 S3140\" }\n"
                                                                     "event l { " C
                                                                     "kind = listing; blocklist = bl.test; network = "
                                                                     "\"20.0.2.0/24\"; at = 2d; for = 2d }\n",
        1);
    while (row < 40)
        kit_send_row(&k, 2, 0, row++, DAY - 1); /* its own block, by the way */
    herd_advance(k.w, 10 * DAY);
    herd_metrics(k.w, HERD_NONE, HERD_NONE, &m);
    assert_int_equal(m.ip_days_lost_milli, 750); /* three days, a quarter */
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_of_a_list_are_what_the_file_says),
        cmocka_unit_test(an_address_can_be_read_back),
        cmocka_unit_test(unknown_full_and_trapped_recipients_answer_as_they_are),
        cmocka_unit_test(many_unknown_users_make_a_source_and_its_domain_bad),
        cmocka_unit_test(traps_make_bad_whatever_the_volume),
        cmocka_unit_test(who_is_new_or_bad_is_folded_and_engaged_people_see_more),
        cmocka_unit_test(mail_that_nobody_reads_makes_poor),
        cmocka_unit_test(bad_content_is_refused_in_part_and_counts),
        cmocka_unit_test(excessive_unknown_recipients_stop_the_domain_for_a_while),
        cmocka_unit_test(complaints_come_late_and_reports_later),
        cmocka_unit_test(some_reports_name_nobody_and_some_receivers_report_nothing),
        cmocka_unit_test(complaints_make_a_source_bad),
        cmocka_unit_test(traps_list_a_source_and_time_unlists_it),
        cmocka_unit_test(two_listed_sources_list_their_network),
        cmocka_unit_test(a_blocklist_answers_as_rfc_5782_says),
        cmocka_unit_test(removal_is_granted_once),
        cmocka_unit_test(a_form_does_not_help_against_neighbours),
        cmocka_unit_test(complaints_that_reach_a_list_count_there),
        cmocka_unit_test(events_happen_at_their_time),
        cmocka_unit_test(a_surge_denies_the_same_people_while_it_lasts),
        cmocka_unit_test(metrics_count_what_people_saw_and_when),
        cmocka_unit_test(only_suppressions_of_people_who_did_not_complain_are_wrong),
        cmocka_unit_test(a_block_costs_the_share_of_mail_that_goes_there),
        cmocka_unit_test(a_source_that_is_blocked_twice_is_lost_once),
    };
    return cmocka_run_group_tests_name("herd people", tests, NULL, NULL);
}
