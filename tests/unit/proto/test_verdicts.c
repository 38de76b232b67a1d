/* The shipped verdict rules: what they say about replies in the words that receivers publish, and what they must
 * never say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/rules_file.h"
#include "proto/site.h"

#define SRC RMD_SCOPE_SOURCE
#define NET RMD_SCOPE_NETWORK
#define LANE RMD_SCOPE_LANE
#define DOM RMD_SCOPE_SENDING_DOMAIN
#define MSG RMD_SCOPE_MESSAGE
#define RCP RMD_SCOPE_RECIPIENT
#define DST RMD_SCOPE_DESTINATION
#define CAM RMD_SCOPE_CAMPAIGN
#define US RMD_SCOPE_OURSELVES

enum { STAY = 0, MOVE = 1 };

struct row {
    const char *provider;
    enum rmd_stage stage;
    const char *reply;
    enum rmd_class class;
    unsigned scope;
    enum rmd_action action;
    int move;
    int minutes; /* duration, -1: any */
};

/* clang-format off */
#define G RMD_STAGE_GREETING
#define E RMD_STAGE_EHLO
#define M RMD_STAGE_MAIL
#define R RMD_STAGE_RCPT
#define D RMD_STAGE_DOT

static const struct row rows[] = {
    /* the source at one provider: quarantine, and the work may move */
    {"", R, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using rbl.net.example", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 1440},
    {"", G, "421 4.7.1 Service unavailable; Client host [192.0.2.1] blocked using private.example", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"", G, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using urbl.hostedemail.com", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 0},
    {"", R, "554 5.7.1 <ann@r.example>: Recipient address rejected: 192.0.2.1 listed at zen.spamhaus.org", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"outlook", M, "550 5.7.1 Sorry, messages from [192.0.2.1] were not sent. Part of their network is on our block list (S3150)", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 0},
    {"outlook", M, "550 5.7.1 Sorry, messages from [192.0.2.1] were not sent. Part of their network is on our block list (S3140)", RMD_CLASS_IP_BLOCKLISTED, NET, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"office365", R, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 0},
    {"yahoo", M, "553 5.7.2 [TSS09] All messages from 192.0.2.1 are deferred for good", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 0},
    {"yahoo", M, "553 5.7.1 [BL21] No connections are accepted from 192.0.2.1", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"google", D, "550-5.7.1 [192.0.2.1] This message looks suspicious due to the very low\n550 5.7.1 reputation of the sending IP address.", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"", G, "554 mx.example Your access to this mail system has been rejected due to the poor reputation of the sending MTA", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"", R, "554 5.7.1 Refused: see https://ipcheck.proofpoint.com/?ip=192.0.2.1", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"", R, "554 5.7.1 Reset at https://csi.cloudmark.com/reset-request?ip=192.0.2.1", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"", R, "450 4.7.1 Client host [192.0.2.1] refused, see barracudacentral.org", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, -1},
    {"comcast", G, "554 mx.example comcast 192.0.2.1 see the error codes page #BL000110", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 240},
    {"gmx", G, "554 mx.example Nemesis ESMTP Service not available: IP address is block listed", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, MOVE, 0},
    {"", G, "554 mx.example", RMD_CLASS_POLICY, SRC, RMD_ACTION_QUARANTINE, MOVE, 60},
    /* the source, but nothing moves */
    {"", R, "550 5.7.1 192.0.2.1 is in Spamhaus CSS", RMD_CLASS_IP_BLOCKLISTED, SRC | DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"t-online", G, "554 IP=192.0.2.1 - None or bad reputation, ask for a reset (NOWL)", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, STAY, -1},
    {"", M, "550 5.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", RMD_CLASS_NO_RDNS, SRC, RMD_ACTION_QUARANTINE, STAY, 240},
    {"google", D, "421 4.7.23 The sending IP has no PTR record; its mail was rate limited", RMD_CLASS_NO_RDNS, SRC, RMD_ACTION_QUARANTINE, STAY, 240},
    {"outlook", M, "550 SC-003 Mail rejected for policy reasons: open proxy", RMD_CLASS_IP_BLOCKLISTED, SRC, RMD_ACTION_QUARANTINE, STAY, -1},
    /* rates: never a block, never moved */
    {"outlook", M, "421 RP-001 (BAY1) Some messages from 192.0.2.1 were not sent", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_SLOW, STAY, 45},
    {"outlook", M, "421 RP-002 (BAY1) Limit of this connection", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_SHORTEN, STAY, 30},
    {"outlook", G, "421 RP-003 (BAY1) Too many connections", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_NARROW, STAY, 60},
    {"office365", M, "451 4.7.650 192.0.2.1 is limited because of IP reputation (S775)", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_REST, STAY, 90},
    {"yahoo", M, "421 4.7.0 [TSS04] 192.0.2.1 deferred: unexpected volume or user complaints", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_REST, STAY, 120},
    {"yahoo", M, "421 4.7.0 [TSS05] 192.0.2.1 deferred", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_REST, STAY, 240},
    {"google", D, "421-4.7.28 An unusual rate of mail originates from your\n421 4.7.28 DKIM domain [d.example]. It was slowed", RMD_CLASS_RATE_LIMITED, DOM, RMD_ACTION_REST, STAY, 10},
    {"google", D, "421 4.7.28 An unusual rate of unsolicited mail originates from your IP address", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_REST, STAY, 10},
    {"google", D, "550 5.7.28 An unusual rate of unsolicited mail originates from your IP address, it has been blocked", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_QUARANTINE, STAY, -1},
    {"google", R, "450 4.2.1 This user is receiving mail at a rate that is too high", RMD_CLASS_RATE_LIMITED, RCP, RMD_ACTION_RETRY, STAY, -1},
    {"apple", R, "421 4.7.1 Messages to ann deferred due to excessive volume", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_REST, STAY, 15},
    {"comcast", G, "421 Throttled, see #RL000010", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_SLOW, STAY, 5},
    {"", G, "421 4.7.0 mx.example Error: too many connections from 192.0.2.1", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_NARROW, STAY, -1},
    {"", R, "451 4.7.1 Slow down, please", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_REST, STAY, -1},
    {"", R, "452 4.5.3 Too many recipients", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_SLOW, STAY, -1},
    {"orange", G, "421 mwinf ME Trop de connexions. OFR004_104 [104]", RMD_CLASS_RATE_LIMITED, LANE, RMD_ACTION_NARROW, STAY, 60},
    /* greylisting */
    {"", R, "450 4.2.0 <ann@r.example>: Recipient address rejected: Greylisted for 5 minutes", RMD_CLASS_GREYLISTED, RCP, RMD_ACTION_RETRY_SAME, STAY, 5},
    {"", R, "451 4.7.1 Please try again in 300 seconds", RMD_CLASS_GREYLISTED, RCP, RMD_ACTION_RETRY_SAME, STAY, 5},
    /* domain, authentication, URL, content: never moved */
    {"", M, "554 5.7.1 Service unavailable; Sender address [news@d.example] blocked using dbl.spamhaus.org", RMD_CLASS_DOMAIN_BLOCKLISTED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"", M, "554 5.7.1 Service unavailable; Client host [m.d.example] blocked using multi.surbl.org", RMD_CLASS_DOMAIN_BLOCKLISTED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"google", D, "550 5.7.1 Suspicious due to the very low reputation of the sending domain", RMD_CLASS_DOMAIN_BLOCKLISTED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"google", D, "550 5.7.26 This mail is unauthenticated: neither SPF nor DKIM passed", RMD_CLASS_AUTH_FAILED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"outlook", D, "550 5.7.515 Access denied, sending domain D.EXAMPLE does not meet the level of authentication", RMD_CLASS_AUTH_FAILED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"", D, "550 5.7.1 Refused by the DMARC policy of d.example", RMD_CLASS_AUTH_FAILED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"", M, "550 5.7.23 SPF check failed: 192.0.2.1 is not permitted by the domain owner", RMD_CLASS_AUTH_FAILED, DOM, RMD_ACTION_PAUSE, STAY, -1},
    {"", M, "450 4.1.8 <news@d.example>: Sender address rejected: Domain not found", RMD_CLASS_SENDER_INVALID, DOM, RMD_ACTION_RETRY, STAY, -1},
    {"google", D, "550 5.7.1 This message is likely unsolicited mail and was blocked", RMD_CLASS_SPAM_CONTENT, MSG, RMD_ACTION_FAIL, STAY, -1},
    {"", D, "554 5.7.1 Message rejected: contains a URL in multi.uribl.com", RMD_CLASS_SPAM_CONTENT, MSG | DOM, RMD_ACTION_FAIL, STAY, -1},
    {"", D, "550 5.7.1 Spam score 12 is above our threshold", RMD_CLASS_SPAM_CONTENT, MSG, RMD_ACTION_FAIL, STAY, -1},
    {"outlook", M, "550 SC-002 Mail rejected for policy reasons: namespace mining", RMD_CLASS_RATE_LIMITED, CAM, RMD_ACTION_PAUSE, STAY, -1},
    {"", D, "554 5.6.0 Virus found in the second part", RMD_CLASS_VIRUS, MSG, RMD_ACTION_FAIL, STAY, -1},
    {"", D, "552 5.3.4 Message size exceeds fixed limit", RMD_CLASS_MESSAGE_TOO_BIG, MSG, RMD_ACTION_FAIL, STAY, -1},
    {"", D, "550 5.7.1 Two From fields: the message is not RFC 5322 compliant", RMD_CLASS_BAD_MESSAGE, MSG, RMD_ACTION_FAIL, STAY, -1},
    /* the recipient */
    {"", R, "550 5.1.1 <ann@r.example>: Recipient address rejected: User unknown in virtual mailbox table", RMD_CLASS_USER_UNKNOWN, RCP, RMD_ACTION_SUPPRESS, STAY, -1},
    {"", R, "450 4.1.1 <ann@r.example>: Recipient address rejected: User unknown in local recipient table", RMD_CLASS_USER_UNKNOWN, RCP, RMD_ACTION_RETRY, STAY, -1},
    {"outlook", R, "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", RMD_CLASS_USER_UNKNOWN, RCP, RMD_ACTION_SUPPRESS_SECOND, STAY, -1},
    {"", R, "550 5.1.1 Sorry, ann", RMD_CLASS_USER_UNKNOWN, RCP, RMD_ACTION_FAIL, STAY, -1},
    {"", R, "552 5.2.2 The mailbox of ann is over quota", RMD_CLASS_MAILBOX_FULL, RCP, RMD_ACTION_FAIL, STAY, -1},
    {"", R, "452 4.2.2 The mailbox of ann is over quota", RMD_CLASS_MAILBOX_FULL, RCP, RMD_ACTION_RETRY, STAY, -1},
    {"", R, "550 5.2.1 This account has been suspended", RMD_CLASS_MAILBOX_DISABLED, RCP, RMD_ACTION_FAIL, STAY, -1},
    {"", R, "550 5.7.1 Access denied", RMD_CLASS_POLICY, RCP, RMD_ACTION_FAIL, STAY, -1},
    /* the receiver, or ourselves */
    {"", R, "554 5.7.1 <ann@r.example>: Relay access denied", RMD_CLASS_RELAY_DENIED, DST, RMD_ACTION_FAIL, STAY, -1},
    {"", M, "530 5.7.0 Must issue a STARTTLS command first", RMD_CLASS_TLS_REQUIRED, DST, RMD_ACTION_NEXT_MX, STAY, -1},
    {"", R, "451 4.3.0 Temporary system problem, try again later", RMD_CLASS_SERVER_BUSY, DST, RMD_ACTION_NEXT_MX, STAY, -1},
    {"", G, "421 Service not available, closing transmission channel", RMD_CLASS_SERVER_BUSY, DST, RMD_ACTION_NEXT_MX, STAY, -1},
    {"", R, "421 4.4.2 mx.example Error: timeout exceeded", RMD_CLASS_NETWORK, DST, RMD_ACTION_NEXT_MX, STAY, -1},
    {"", D, "554 5.4.6 Too many hops", RMD_CLASS_NETWORK, DST, RMD_ACTION_FAIL, STAY, -1},
    {"", R, "550 5.1.2 <ann@r.example>: Recipient address rejected: Domain not found", RMD_CLASS_NO_SUCH_DOMAIN, DST, RMD_ACTION_FAIL, STAY, -1},
    {"", G, "521 mx.example does not accept mail", RMD_CLASS_NO_SUCH_DOMAIN, DST, RMD_ACTION_RETRY, STAY, -1},
    {"", M, "501 5.5.4 Syntax error in parameters", RMD_CLASS_PROTOCOL_ERROR, US, RMD_ACTION_FAIL, STAY, -1},
    {"", R, "550 Xyzzy", RMD_CLASS_OTHER, RCP, RMD_ACTION_FAIL, STAY, -1},
    {"", R, "450 Xyzzy", RMD_CLASS_OTHER, RCP, RMD_ACTION_RETRY, STAY, -1},
};
/* clang-format on */

static struct rmd_rules *shipped(void) {
    struct rmd_buf err = {0};
    struct rmd_rules *r = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    if (!r)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_buf_release(&err);
    return r;
}

static struct rmd_verdict ask(const struct rmd_rules *r, const struct row *row) {
    struct rmd_verdict v;
    uint64_t code = 0;
    assert_int_equal(rmd_parse_u64(rmd_slice(row->reply, 3), &code), RMD_OK);
    struct rmd_reply reply = {.code = (int)code, .stage = row->stage, .text = rmd_slice_str(row->reply + 4)};
    rmd_rules_classify(r, &reply, row->provider, &v);
    return v;
}

static void each_reply_gets_its_verdict(void **state) {
    (void)state;
    struct rmd_rules *r = shipped();
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct rmd_verdict v = ask(r, row);
        if (v.class == row->class && v.scope == row->scope && v.action == row->action && v.move == row->move &&
            (row->minutes < 0 || v.duration_ms == row->minutes * INT64_C(60000)))
            continue;
        char scope[128];
        print_error("row %zu \"%s\": %s, scope %s, %s, move %d, %d min by %s\n", i, row->reply,
                    rmd_class_name(v.class), rmd_scope_format(v.scope, scope, sizeof scope),
                    rmd_action_name(v.action), v.move, (int)(v.duration_ms / 60000), v.rule);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    rmd_rules_free(r);
}

/* But for a host that others use: it is stopped everywhere, and its work moves nowhere. */
static void what_holds_at_one_provider_says_so(void **state) {
    (void)state;
    struct rmd_rules *r = shipped();
    int everywhere = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_verdict v = ask(r, &rows[i]);
        if (v.move || v.action == RMD_ACTION_QUARANTINE || (v.scope & (LANE | NET)))
            assert_true(v.at_provider || (v.scope == SRC && !v.move && ++everywhere));
    }
    assert_int_equal(everywhere, 1);
    rmd_rules_free(r);
}

/* A refusal for our IP's sake leaves the recipient free to be tried from elsewhere. */
static void moved_work_is_never_failed(void **state) {
    (void)state;
    struct rmd_rules *r = shipped();
    int moved = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_verdict v = ask(r, &rows[i]);
        if (!v.move)
            continue;
        moved++;
        assert_false(v.permanent);
        assert_int_equal(v.scope & ~(unsigned)(SRC | NET | LANE), 0);
    }
    assert_true(moved > 10);
    rmd_rules_free(r);
}

/* The same refusal wrapped into a receiver's usual "Recipient address rejected" must not turn into "user unknown". */
static void a_wrapped_refusal_keeps_its_cause(void **state) {
    (void)state;
    static const struct {
        const char *cause;
        enum rmd_class class;
    } causes[] = {
        {"Your IP is blocked for spam", RMD_CLASS_IP_BLOCKLISTED},
        {"192.0.2.1 is blacklisted", RMD_CLASS_IP_BLOCKLISTED},
        {"poor reputation of 192.0.2.1", RMD_CLASS_IP_BLOCKLISTED},
        {"blocked using dbl.spamhaus.org", RMD_CLASS_DOMAIN_BLOCKLISTED},
        {"message looks like spam", RMD_CLASS_SPAM_CONTENT},
        {"SPF check failed", RMD_CLASS_AUTH_FAILED},
        {"DMARC policy of d.example", RMD_CLASS_AUTH_FAILED},
        {"too many connections", RMD_CLASS_RATE_LIMITED},
        {"rate limit exceeded", RMD_CLASS_RATE_LIMITED},
        {"no PTR record for 192.0.2.1", RMD_CLASS_NO_RDNS},
        {"Greylisted", RMD_CLASS_GREYLISTED},
    };
    static const char *const wraps[] = {"550 5.1.1 <ann@r.example>: Recipient address rejected: %s",
                                        "554 5.7.1 <ann@r.example> %s",
                                        "450 4.1.1 <ann@r.example>: Recipient address rejected: %s", "550 5.1.1 %s",
                                        "550-%s\n550 5.1.1 See our page"};
    struct rmd_rules *r = shipped();
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
        for (size_t w = 0; w < sizeof wraps / sizeof *wraps; w++) {
            struct rmd_buf text = {0};
            const char *at = strstr(wraps[w], "%s");
            rmd_buf_add(&text, wraps[w], (size_t)(at - wraps[w]));
            rmd_buf_addstr(&text, causes[i].cause);
            rmd_buf_addstr(&text, at + 2);
            struct row row = {.provider = "", .stage = R, .reply = rmd_buf_str(&text)};
            struct rmd_verdict v = ask(r, &row);
            if (v.class != causes[i].class)
                fail_msg("\"%s\": %s by %s", row.reply, rmd_class_name(v.class), v.rule);
            rmd_buf_release(&text);
        }
    rmd_rules_free(r);
}

/* A rule for a provider that the shipped limits don't know would be dead. */
static void the_providers_of_the_rules_exist(void **state) {
    (void)state;
    const char *p = strstr(rmd_verdicts_shipped, "\nproviders = ["), *end = p ? strchr(p, ']') : NULL;
    assert_non_null(end);
    int n = 0;
    while ((p = memchr(p, '"', (size_t)(end - p)))) {
        const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
        assert_non_null(close);
        struct rmd_buf wanted = {0};
        rmd_buf_addf(&wanted, "provider \"%.*s\"", (int)(close - p - 1), p + 1);
        if (!strstr(rmd_providers_shipped, rmd_buf_str(&wanted)))
            fail_msg("no shipped provider: %s", rmd_buf_str(&wanted));
        rmd_buf_release(&wanted);
        p = close + 1;
        n++;
    }
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reply_gets_its_verdict),      cmocka_unit_test(what_holds_at_one_provider_says_so),
        cmocka_unit_test(moved_work_is_never_failed),       cmocka_unit_test(a_wrapped_refusal_keeps_its_cause),
        cmocka_unit_test(the_providers_of_the_rules_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
