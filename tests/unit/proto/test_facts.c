/* What providers document about their replies, row by row, in samples of our own wording: class, scope, action, how long, and whether
 * work may move. A row that names several replies has several lines here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/rules_file.h"
#include "proto/reply_text.h"

#define SRC RMD_SCOPE_SOURCE
#define NET RMD_SCOPE_NETWORK
#define LANE RMD_SCOPE_LANE
#define DOM RMD_SCOPE_SENDING_DOMAIN
#define MSG RMD_SCOPE_MESSAGE
#define RCP RMD_SCOPE_RECIPIENT
#define DST RMD_SCOPE_DESTINATION
#define CAM RMD_SCOPE_CAMPAIGN

enum { STAY = 0, MOVE = 1, ANY = -1 };

struct row {
    const char *provider;
    enum rmd_stage stage;
    const char *reply;
    enum rmd_class class;
    unsigned scope;
    enum rmd_action action;
    int move;
    int minutes; /* 0: until it is resolved, or not timed; ANY: whatever */
};

#define C(name) RMD_CLASS_##name
#define A(name) RMD_ACTION_##name

/* clang-format off */
#define G RMD_STAGE_GREETING
#define M RMD_STAGE_MAIL
#define R RMD_STAGE_RCPT
#define D RMD_STAGE_DOT

static const struct row rows[] = {
    /* Gmail 4.7.28: the text names what has sent too much */
    {"google", D, "421 4.7.28 An unusual rate of unsolicited mail comes from your IP address [192.0.2.7 12]", C(RATE_LIMITED), LANE, A(REST), STAY, 10},
    {"google", D, "421 4.7.28 An unusual rate of unsolicited mail comes from your IP netblock [192.0.2.0 24]", C(RATE_LIMITED), LANE | NET, A(REST), STAY, 10},
    {"google", D, "421 4.7.28 An unusual rate of mail originates from your DKIM domain [d.example 35]", C(RATE_LIMITED), LANE | DOM, A(REST), STAY, 10},
    {"google", D, "421 4.7.28 An unusual rate of mail originates from your SPF domain [d.example 35]", C(RATE_LIMITED), LANE | DOM, A(REST), STAY, 10},
    {"google", D, "421 4.7.28 An unusual rate of unsolicited mail containing one of your URL domains", C(RATE_LIMITED), CAM, A(PAUSE), STAY, 60},
    {"google", D, "421 4.7.28 It exceeded its quota for sending messages with the same Message-ID", C(RATE_LIMITED), CAM, A(PAUSE), STAY, 60},
    {"google", D, "421 4.7.28 We have detected an unusual rate of mail", C(RATE_LIMITED), LANE | DOM, A(REST), STAY, 10},
    /* Gmail reputation: rest an hour to four; the 550 twin */
    {"google", D, "421 4.7.0 Suspicious due to the very low reputation of the sending IP address", C(RATE_LIMITED), LANE, A(REST), STAY, 120},
    {"google", D, "550 5.7.1 Suspicious due to the very low reputation of the sending IP address", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"google", D, "421 4.7.0 Suspicious due to the very low reputation of the sending domain", C(DOMAIN_BLOCKLISTED), DOM, A(PAUSE), STAY, 240},
    {"google", D, "550 5.7.1 Suspicious due to the very low reputation of the sending domain", C(DOMAIN_BLOCKLISTED), DOM, A(PAUSE), STAY, ANY},
    /* Gmail 550 unusual rate: quarantine, a person looks */
    {"google", D, "550 5.7.28 An unusual rate of unsolicited mail comes from your IP address and was blocked", C(RATE_LIMITED), LANE, A(QUARANTINE), STAY, 0},
    {"google", D, "550 5.7.1 An unusual rate of unsolicited mail comes from your IP address", C(RATE_LIMITED), LANE, A(QUARANTINE), STAY, 0},
    /* Gmail rDNS, SPF, authentication, TLS: that scope, never failover */
    {"google", D, "421 4.7.23 The IP has no PTR record", C(NO_RDNS), SRC, A(QUARANTINE), STAY, ANY},
    {"google", D, "550 5.7.25 The IP has no PTR record", C(NO_RDNS), SRC, A(QUARANTINE), STAY, ANY},
    {"google", D, "421 4.7.24 The SPF record holds suspicious entries", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"google", D, "550 5.7.26 It is unauthenticated", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"google", D, "421 4.7.27 SPF didn't pass", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"google", D, "550 5.7.30 DKIM didn't pass", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"google", D, "421 4.7.29 It was not sent over TLS", C(TLS_REQUIRED), DST, A(NEXT_MX), STAY, ANY},
    {"google", D, "421 4.7.31 No DMARC record", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"google", D, "421 4.7.32 From isn't aligned", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    /* Gmail content */
    {"google", D, "550 5.7.1 It is likely unsolicited mail and has been blocked", C(SPAM_CONTENT), MSG, A(FAIL), STAY, 0},
    {"google", D, "550 5.7.1 Suspicious due to the nature of the content or its links", C(SPAM_CONTENT), MSG, A(FAIL), STAY, 0},
    /* Gmail: this recipient only */
    {"google", R, "450 4.2.1 That user is receiving mail too quickly", C(RATE_LIMITED), RCP, A(RETRY), STAY, ANY},
    {"google", R, "452 4.2.2 The inbox is out of storage", C(MAILBOX_FULL), RCP, A(RETRY), STAY, ANY},
    {"google", R, "552 5.2.2 The account is over quota", C(MAILBOX_FULL), RCP, A(FAIL), STAY, ANY},
    /* Microsoft rates */
    {"outlook", M, "421 RP-001 Some messages from 192.0.2.7 weren't sent", C(RATE_LIMITED), LANE, A(SLOW), STAY, 45},
    {"outlook", M, "421 RP-002 Some messages on this connection weren't sent", C(RATE_LIMITED), LANE, A(SHORTEN), STAY, 30},
    {"outlook", G, "421 RP-003 Too many connections from 192.0.2.7", C(RATE_LIMITED), LANE, A(NARROW), STAY, 60},
    {"outlook", M, "451 4.7.650 The server [192.0.2.7] is limited for its IP reputation (S775)", C(RATE_LIMITED), LANE, A(REST), STAY, 90},
    {"outlook", M, "451 4.7.651 The server [192.0.2.7] is limited for its IP reputation (S3114)", C(RATE_LIMITED), LANE, A(REST), STAY, 90},
    {"office365", M, "451 4.7.500 Server busy. Try again later from [192.0.2.7]", C(SERVER_BUSY), LANE, A(REST), STAY, 30},
    {"office365", M, "451 4.7.850 Access denied, try again later", C(RATE_LIMITED), LANE, A(REST), STAY, 60},
    {"office365", M, "451 4.7.899 Access denied, try again later", C(RATE_LIMITED), LANE, A(REST), STAY, 60},
    /* Microsoft block list */
    {"outlook", M, "550 5.7.1 Not sent from [192.0.2.7]: part of their network is on our block list (S3140)", C(IP_BLOCKLISTED), NET, A(QUARANTINE), MOVE, ANY},
    {"outlook", M, "550 5.7.1 Not sent from [192.0.2.7]: part of their network is on our block list (S3150)", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"outlook", M, "550 SC-001 Rejected for policy reasons: its content", C(SPAM_CONTENT), MSG, A(FAIL), STAY, 0},
    {"outlook", M, "550 SC-002 Rejected for policy reasons: namespace mining", C(RATE_LIMITED), CAM, A(PAUSE), STAY, ANY},
    {"outlook", M, "550 SC-003 Rejected for policy reasons: an open relay", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), STAY, 0},
    {"outlook", M, "550 SC-004 Rejected for policy reasons: complaints", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"outlook", M, "550 DY-001 Rejected for policy reasons: a dynamic IP", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"outlook", M, "550 DY-002 Rejected for policy reasons: compromised", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), STAY, 0},
    {"outlook", M, "550 OU-001 Rejected for policy reasons: Spamhaus", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"outlook", M, "550 OU-002 Rejected for policy reasons: reputation", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"office365", R, "550 5.7.606 Access denied, banned sending IP [192.0.2.7]", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"office365", R, "550 5.7.649 Access denied", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"office365", R, "550 5.7.511 Access denied, banned sender[192.0.2.7]", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"office365", R, "550 5.7.0 Access denied (AS16012611)", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"office365", R, "550 5.4.1 Recipient address rejected: Access denied", C(USER_UNKNOWN), RCP, A(SUPPRESS_SECOND), STAY, 0},
    {"outlook", D, "550 5.7.515 The sending domain doesn't meet the required level of authentication", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    /* Yahoo */
    {"yahoo", M, "421 4.7.0 [TSS04] Messages from 192.0.2.7 deferred: volume or complaints", C(RATE_LIMITED), LANE, A(REST), STAY, 120},
    {"yahoo", M, "421 4.7.0 [IPTS04] Messages from 192.0.2.7 deferred", C(RATE_LIMITED), LANE, A(REST), STAY, 120},
    {"yahoo", M, "421 4.7.0 [TSS05] Messages from 192.0.2.7 deferred", C(RATE_LIMITED), LANE, A(REST), STAY, 240},
    {"yahoo", M, "421 4.7.0 [IPTS05] Messages from 192.0.2.7 deferred", C(RATE_LIMITED), LANE, A(REST), STAY, 240},
    {"yahoo", M, "421 4.7.1 [TS01] Messages from 192.0.2.7 deferred for complaints", C(RATE_LIMITED), LANE, A(SLOW), STAY, 240},
    {"yahoo", M, "421 4.7.1 [TS02] All messages from 192.0.2.7 deferred for good", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"yahoo", M, "421 4.7.1 [TS03] All messages from 192.0.2.7 deferred for good", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"yahoo", M, "553 5.7.2 [TSS09] All messages from 192.0.2.7 deferred for good", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"yahoo", M, "553 5.7.2 [TSS11] All messages from 192.0.2.7 deferred for good", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"yahoo", M, "553 5.7.1 [BL21] Not accepted from 192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"yahoo", M, "553 5.7.1 [BL22] Not accepted from 192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"yahoo", M, "553 5.7.1 [BL23] Not accepted from 192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"yahoo", M, "553 5.7.1 [TSS07] Not accepted from 192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, ANY},
    {"yahoo", D, "554 5.7.9 Message not accepted for policy reasons", C(POLICY), MSG, A(FAIL), STAY, 0},
    {"yahoo", D, "554 5.7.9 [PH01] Not accepted", C(POLICY), MSG, A(FAIL), STAY, 0},
    {"yahoo", D, "554 5.7.9 [AU01] Not accepted", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"yahoo", R, "554 5.7.9 Excessive unknown recipients", C(RATE_LIMITED), CAM, A(PAUSE), STAY, ANY},
    /* Apple */
    {"apple", R, "421 4.7.1 Deferred due to excessive volume", C(RATE_LIMITED), LANE, A(REST), STAY, 15},
    {"apple", R, "421 4.7.1 [HCM1] Later", C(RATE_LIMITED), LANE, A(REST), STAY, 15},
    {"apple", R, "421 4.7.1 [BS02] Later", C(RATE_LIMITED), LANE, A(REST), STAY, 15},
    {"apple", D, "550 5.7.1 [CS01] Rejected", C(POLICY), CAM, A(PAUSE), STAY, ANY},
    {"apple", D, "550 5.7.1 d.example is on the Spamhaus DBL", C(DOMAIN_BLOCKLISTED), DOM, A(PAUSE), STAY, ANY},
    /* filtering services */
    {"proofpoint", G, "421 4.7.1 Later; see ipcheck.proofpoint.com", C(RATE_LIMITED), LANE, A(REST), STAY, 15},
    {"proofpoint", G, "554 5.7.0 Blocked; see https://ipcheck.proofpoint.com/?ip=192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 240},
    {"", R, "550 5.7.1 See http://csi.cloudmark.com/reset-request?ip=192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"mimecast", R, "550 Poor reputation sender; csi.mimecast.org", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 240},
    {"mimecast", R, "451 IP temporarily blacklisted", C(IP_BLOCKLISTED), LANE, A(REST), STAY, 60},
    {"mimecast", R, "451 Internal resources are temporarily unavailable", C(SERVER_BUSY), DST, A(NEXT_MX), STAY, 30},
    {"barracuda", R, "450 4.7.1 Refused, see barracudacentral", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"", R, "554 5.7.1 [192.0.2.7] blocked using b.barracudacentral.org", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"hostedemail", G, "421 Client host blocked using urbl.hostedemail.com", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"hostedemail", G, "554 Client host blocked using tms.urbl.hostedemail.com", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    /* European access providers */
    {"gmx", G, "421-mx.example Nemesis\n421 rate limit reached", C(RATE_LIMITED), LANE, A(REST), STAY, 240},
    {"gmx", G, "421-mx.example Nemesis\n421 policy violations", C(POLICY), CAM, A(PAUSE), STAY, ANY},
    {"gmx", G, "554-mx.example Nemesis\n554 IP address is block listed, see https://postmaster.example/case?c=1", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"t-online", G, "554 IP=192.0.2.7 - A problem occurred. (BL)", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 0},
    {"t-online", G, "554 IP=192.0.2.7 - None or bad reputation. (NOWL)", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), STAY, 0},
    {"t-online", G, "554 IP=192.0.2.7 - Dialup IP isn't allowed (DIAL)", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), ANY, 0},
    {"orange", G, "554 ME refused OFR001_101 [101]", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"orange", G, "550 ME refused OFR006_102 [102]", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 120},
    {"orange", G, "421 ME refused OFR005_103 [103]", C(POLICY), LANE, A(REST), STAY, 60},
    {"laposte", G, "421 refused LPN007_510", C(POLICY), LANE, A(REST), STAY, 60},
    {"orange", G, "421 refused OFR_999 [999]", C(POLICY), LANE, A(REST), STAY, 60},
    {"orange", G, "421 ME too many OFR004_104 [104]", C(RATE_LIMITED), LANE, A(NARROW), STAY, 60},
    {"orange", D, "550 5.7.1 OFR004_517 [517]", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"laposte", D, "550 5.7.1 LPN004_401", C(AUTH_FAILED), DOM, A(PAUSE), STAY, ANY},
    {"orange", R, "550 5.1.1 OFR_416 [416]", C(USER_UNKNOWN), RCP, A(SUPPRESS), STAY, 0},
    {"orange", R, "552 5.2.2 OFR_417 [417]", C(MAILBOX_FULL), RCP, A(FAIL), STAY, ANY},
    {"orange", R, "550 5.2.1 OFR_420 [420]", C(MAILBOX_DISABLED), RCP, A(FAIL), STAY, ANY},
    {"laposte", R, "550 5.5.0 LPN007_426", C(MAILBOX_DISABLED), RCP, A(FAIL), STAY, ANY},
    {"orange", D, "550 5.7.1 OFR_506 [506]", C(SPAM_CONTENT), MSG, A(FAIL), STAY, 0},
    /* American access providers */
    {"comcast", G, "554 mx.example found on a list #BL000001", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 240},
    {"comcast", G, "554 mx.example found on a list #BL001110", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 240},
    {"comcast", G, "421 Throttled #RL000003", C(RATE_LIMITED), LANE, A(REST), STAY, 240},
    {"comcast", G, "421 Throttled #RL000010", C(RATE_LIMITED), LANE, A(SLOW), STAY, 5},
    {"cox", G, "554 refused IPBL0001", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"cox", G, "554 refused CXBL ", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"cox", G, "421 refused CDRBL ", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"cox", G, "421 too many sessions CXCNCT", C(RATE_LIMITED), LANE, A(NARROW), STAY, 30},
    {"spectrum", G, "554 not available AUP#I-1000", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"godaddy", G, "554 refused IB103", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"godaddy", G, "554 refused IB106", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"godaddy", G, "554 blocked for now IB110", C(RATE_LIMITED), LANE, A(REST), STAY, 60},
    {"godaddy", G, "554 blocked for now IB112", C(RATE_LIMITED), LANE, A(REST), STAY, 60},
    {"godaddy", G, "554 blocked for the day IB111", C(RATE_LIMITED), LANE, A(REST), STAY, 1440},
    {"godaddy", G, "554 blocked for the day IB113", C(RATE_LIMITED), LANE, A(REST), STAY, 1440},
    /* anybody */
    {"", R, "554 5.7.1 [192.0.2.7] blocked using bl.example", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"", R, "550 5.7.1 192.0.2.7 listed at bl.example", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"", R, "550 5.7.1 See https://www.spamhaus.org/query/ip/192.0.2.7", C(IP_BLOCKLISTED), SRC, A(QUARANTINE), MOVE, 1440},
    {"", M, "554 5.7.1 d.example blocked using dbl.example and dbl.spamhaus.org", C(DOMAIN_BLOCKLISTED), DOM, A(PAUSE), STAY, ANY},
    {"", D, "554 5.7.1 d.example is in multi.uribl.com", C(DOMAIN_BLOCKLISTED), DOM, A(PAUSE), STAY, ANY},
    {"", D, "554 5.7.1 d.example is in multi.surbl.org", C(DOMAIN_BLOCKLISTED), DOM, A(PAUSE), STAY, ANY},
    {"", R, "450 4.2.0 Greylisted, come back", C(GREYLISTED), RCP, A(RETRY_SAME), STAY, 5},
    {"", G, "421 mx.example too many connections from you", C(RATE_LIMITED), LANE, A(NARROW), STAY, 30},
};
/* clang-format on */

static void each_row_of_the_facts_has_its_verdict(void **state) {
    (void)state;
    struct rmd_buf err = {0};
    struct rmd_rules *r = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    if (!r)
        fail_msg("%s", rmd_buf_str(&err));
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct rmd_reply reply;
        struct rmd_verdict v;
        char got[128], want[128];
        rmd_reply_read(rmd_slice_str(row->reply), &reply);
        reply.stage = row->stage;
        rmd_rules_classify(r, &reply, row->provider, &v);
        bool ok = v.class == row->class && v.scope == row->scope && v.action == row->action &&
                  (row->move == ANY || v.move == row->move) &&
                  (row->minutes == ANY || v.duration_ms == (int64_t)row->minutes * 60000);
        if (!ok) {
            wrong++;
            print_error("%s\n  got %s %s %s %lld min move %d by %s, want %s %s %s %d min move %d\n", row->reply,
                        rmd_class_name(v.class), rmd_scope_format(v.scope, got, sizeof got),
                        rmd_action_name(v.action), (long long)(v.duration_ms / 60000), v.move, v.rule,
                        rmd_class_name(row->class), rmd_scope_format(row->scope, want, sizeof want),
                        rmd_action_name(row->action), row->minutes, row->move);
        }
        if (v.class != RMD_CLASS_USER_UNKNOWN)
            assert_int_not_equal(v.action, RMD_ACTION_SUPPRESS); /* nobody is punished for our reputation */
    }
    rmd_rules_free(r);
    rmd_buf_release(&err);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row_of_the_facts_has_its_verdict)};
    return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
