/* The rule engine: what a rule matches, which rule wins, what the lint finds, how layers meet, what the code alone
 * says, and our own errors. What the shipped rules say about replies is in test_verdicts.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/rules_file.h"

#define V "class = policy; scope = recipient; action = fail; "

static struct rmd_rules *rules_of(const char *text) {
    struct rmd_buf err = {0};
    struct rmd_rules *r = rmd_rules_parse(rmd_slice_str(text), "test.conf", &err);
    if (!r)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_buf_release(&err);
    return r;
}

static struct rmd_verdict ask_at(const struct rmd_rules *r, const char *provider, enum rmd_stage stage, int code,
                                 const char *text) {
    struct rmd_verdict v;
    struct rmd_reply reply = {.code = code, .stage = stage, .text = rmd_slice_str(text)};
    rmd_rules_classify(r, &reply, provider, &v);
    return v;
}

static const char *ask(const struct rmd_rules *r, int code, const char *text) {
    return ask_at(r, "", RMD_STAGE_RCPT, code, text).rule;
}

/* ---------------------------------------------------------------- matching */

static void patterns_have_wildcards_and_ignore_case_and_white_space(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"mailbox full", "Mailbox FULL", true},
        {"mailbox full", "the mailbox \t\r\n full, sorry", true},
        {"mailbox full", "mailboxfull", false},
        {"mailbox full", "mailbox  is full", false},
        {"mailbox*full", "mailbox (ann) is full", true},
        {"mailbox*full", "full is the mailbox", false},
        {"box*full*now", "box full, not full, now", true},
        {"box*full*now", "box now full", false},
        {"code # here", "code 12345 here", true},
        {"code # here", "code x here", false},
        {"ofr#_104", "x OFR004_104 y", true},
        {"ofr#_104", "OFR_104", false},
        {"#00 per hour", "2500 per hour", false}, /* a run of digits is a whole run */
        {"abc#def*xyz", "abcdef abc9def -- xyz", true},
        {" ptr ", "no PTR", true},
        {" ptr ", "script ptrs", false},
        {"aaab", "aaaaaaaaab", true},
        {"a\\\\#b*c\\\\*d", "a#b and c*d", true},
        {"a\\\\#b*c\\\\*d", "a1b and cxd", false},
        {"sentence in two", "the sentence\n550-5.7.1 in two lines", true},
        /* alternatives, nearness, edges, a letter in any encoding, contractions */
        {"mail{box|folder} is {full|over quota}", "the mailfolder is over quota", true},
        {"mail{box|folder} is {full|over quota}", "the mailbox is empty", false},
        {"mail{box|} full", "mail full", true},
        {"{a|ab}cde", "xabcde", true},
        {"box{es|}~gone", "boxes, all of them, gone", true},
        {"box ~gone", "box 0123456789012345678901234567890123456789 gone", false},
        {"box*gone", "box 0123456789012345678901234567890123456789 gone", true},
        {"abc~def~ghi", "abc def 0123456789012345678901234567890123456789 def ghi", false},
        {"abc~def~ghi", "abc def 01234567890123456789012 def 012345678901234 ghi", true},
        {"^spam^", "(spam)", true},
        {"^spam^", "spammer", false},
        {"^spam^", "antispam", false},
        {"empf?nger", "Empf\xc3\xa4nger", true},
        {"empf?nger", "Empfaenger", true},
        {"empf?nger", "Empfnger", true},
        {"empf?nger", "empf\xe4nger", true},
        {"empf?nger", "empfxxxxnger", false},
        {"does not exist", "doesn't exist", true},
        {"doesn't exist", "does not exist", true},
        {"can not be", "cannot be", true},
        {"can't be", "can not be", true},
        {"isn't here", "isn\xe2\x80\x99t here", true},
        {"a\\\\{b\\\\|c\\\\}d", "a{b|c}d", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_buf conf = {0}, err = {0};
        rmd_buf_addf(&conf, "rule \"r\" { " V "pattern = \"%s\"; sample = \"550 x\" }", rows[i].pattern);
        struct rmd_rules *r = rmd_rules_parse(rmd_buf_slice(&conf), "t", &err);
        assert_null(r); /* the sample is wrong on purpose: the pattern must not match everything */
        rmd_buf_clear(&conf);
        /* a second rule takes the sample, so that the set compiles only when the pattern is sound by itself */
        rmd_buf_addf(&conf, "rule \"r\" { " V "pattern = [\"%s\", \"zzz\"]; sample = \"550 zzz\" }", rows[i].pattern);
        r = rules_of(rmd_buf_str(&conf));
        bool got = strcmp(ask(r, 550, rows[i].text), "r") == 0;
        if (got != rows[i].matches)
            fail_msg("row %zu: \"%s\" on \"%s\": %d", i, rows[i].pattern, rows[i].text, got);
        rmd_rules_free(r);
        rmd_buf_release(&conf);
        rmd_buf_release(&err);
    }
}

static void conditions_narrow_a_rule(void **state) {
    (void)state;
    struct rmd_rules *r =
        rules_of("providers = [google, yahoo]\n"
                 "rule \"g\" { " V "provider = google; pattern = alpha; sample = \"550 alpha\" }\n"
                 "rule \"s\" { " V "stage = [greeting, ehlo]; pattern = alpha; sample = \"550 alpha\" }\n"
                 "rule \"c\" { " V "code = [42, 55]; pattern = beta; sample = \"554 beta\" }\n"
                 "rule \"e\" { " V "enhanced = [\"4.7.x\", \"5.1.1\"]; sample = \"451 4.7.26 no\" }\n"
                 "rule \"last\" { " V "pattern = alpha; sample = \"550 alpha\" }\n");
    assert_string_equal(ask_at(r, "google", RMD_STAGE_RCPT, 550, "alpha").rule, "g");
    assert_string_equal(ask_at(r, "yahoo", RMD_STAGE_RCPT, 550, "alpha").rule, "last");
    assert_string_equal(ask_at(r, "unheard-of", RMD_STAGE_RCPT, 550, "alpha").rule, "last");
    assert_string_equal(ask_at(r, "", RMD_STAGE_GREETING, 550, "alpha").rule, "s");
    assert_string_equal(ask(r, 421, "beta"), "c");
    assert_string_equal(ask(r, 559, "beta"), "c");
    assert_string_equal(ask(r, 451, "beta"), "code");
    assert_string_equal(ask(r, 451, "4.7.1 no"), "e");
    assert_string_equal(ask(r, 451, "4.7.100 no"), "e");
    assert_string_equal(ask(r, 550, "5.1.1 no"), "e");
    assert_string_equal(ask(r, 550, "5.1.10 no"), "code");
    assert_string_equal(ask(r, 550, "version 5.1.1"), "code"); /* an enhanced code stands in front */
    struct rmd_reply reply = {.code = 550, .enhanced = "5.1.1", .stage = RMD_STAGE_RCPT, .text = rmd_slice_str("no")};
    struct rmd_verdict v;
    rmd_rules_classify(r, &reply, "", &v);
    assert_string_equal(v.rule, "e");
    rmd_rules_free(r);
}

static void an_enhanced_code_may_leave_its_last_digits_open(void **state) {
    (void)state;
    struct rmd_rules *r =
        rules_of("rule \"f\" { " V "enhanced = [\"4.7.85x\", \"5.x.x\"]; sample = \"451 4.7.850 no\" }");
    assert_string_equal(ask(r, 451, "4.7.850 no"), "f");
    assert_string_equal(ask(r, 451, "4.7.859 no"), "f");
    assert_string_equal(ask(r, 451, "4.7.860 no"), "code");
    assert_string_equal(ask(r, 451, "4.7.85 no"), "code");
    assert_string_equal(ask(r, 550, "5.0.999 no"), "f");
    assert_string_equal(ask(r, 550, "no"), "code");
    rmd_rules_free(r);
}

static void the_first_rule_wins_with_or_without_patterns(void **state) {
    (void)state;
    struct rmd_rules *r = rules_of("rule \"one\" { " V "pattern = \"alpha beta\"; sample = \"550 alpha beta\" }\n"
                                   "rule \"two\" { " V "code = 554; sample = \"554 x\" }\n"
                                   "rule \"three\" { " V "pattern = alpha; sample = \"550 alpha\" }\n");
    assert_string_equal(ask(r, 554, "alpha beta"), "one");
    assert_string_equal(ask(r, 554, "alpha"), "two");
    assert_string_equal(ask(r, 550, "alpha"), "three");
    rmd_rules_free(r);
}

static void long_and_hostile_texts_are_read_in_bounds(void **state) {
    (void)state;
    struct rmd_rules *r = rules_of("rule \"r\" { " V "pattern = \"aaa*aab\"; sample = \"550 aaa aab\" }\n");
    uint8_t *text = rmd_alloc(RMD_REPLY_TEXT_MAX * 4);
    memset(text, 'a', RMD_REPLY_TEXT_MAX * 4);
    struct rmd_reply reply = {.code = 550, .stage = RMD_STAGE_RCPT, .text = rmd_slice(text, RMD_REPLY_TEXT_MAX * 4)};
    struct rmd_verdict v;
    rmd_rules_classify(r, &reply, "", &v);
    assert_string_equal(v.rule, "code");
    memset(text, '\n', RMD_REPLY_TEXT_MAX);
    rmd_rules_classify(r, &reply, "", &v);
    assert_string_equal(v.rule, "code");
    reply.text = rmd_slice(NULL, 0);
    rmd_rules_classify(r, &reply, "", &v);
    assert_string_equal(v.rule, "code");
    free(text);
    rmd_rules_free(r);
}

/* ---------------------------------------------------------------- by the code */

static void the_code_alone_speaks_when_no_rule_does(void **state) {
    (void)state;
    static const struct {
        int code;
        enum rmd_stage stage;
        enum rmd_class class;
        enum rmd_action action;
        bool permanent;
    } rows[] = {
        {250, RMD_STAGE_DOT, RMD_CLASS_DELIVERED, RMD_ACTION_NONE, false},
        {451, RMD_STAGE_RCPT, RMD_CLASS_OTHER, RMD_ACTION_RETRY, false},
        {550, RMD_STAGE_RCPT, RMD_CLASS_OTHER, RMD_ACTION_FAIL, true},
        {554, RMD_STAGE_DOT, RMD_CLASS_OTHER, RMD_ACTION_FAIL, true},
        {421, RMD_STAGE_GREETING, RMD_CLASS_OTHER, RMD_ACTION_NEXT_MX, false},
        {554, RMD_STAGE_EHLO, RMD_CLASS_OTHER, RMD_ACTION_NEXT_MX, false},
        {600, RMD_STAGE_RCPT, RMD_CLASS_OTHER, RMD_ACTION_FAIL, true},
    };
    struct rmd_rules *r = rules_of("rule \"r\" { " V "pattern = alpha; sample = \"550 alpha\" }");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_verdict v = ask_at(r, "", rows[i].stage, rows[i].code, "words");
        assert_int_equal(v.class, rows[i].class);
        assert_int_equal(v.action, rows[i].action);
        assert_int_equal(v.permanent, rows[i].permanent);
        assert_false(v.move);
        assert_string_equal(v.rule, "code");
    }
    assert_int_equal(ask_at(r, "", RMD_STAGE_DOT, 250, "alpha").class,
                     RMD_CLASS_DELIVERED); /* rules don't judge success */
    rmd_rules_free(r);
}

static void permanence_follows_the_code_unless_the_rule_says(void **state) {
    (void)state;
    struct rmd_rules *r = rules_of("rule \"s\" { class = user_unknown; scope = recipient; action = suppress; pattern "
                                   "= alpha; sample = \"550 alpha\" }\n"
                                   "rule \"t\" { class = mailbox_full; scope = recipient; action = retry; pattern = "
                                   "beta; sample = \"552 beta\" }\n"
                                   "rule \"n\" { class = server_busy; scope = destination; action = next_mx; pattern "
                                   "= gamma; sample = \"554 gamma\" }\n"
                                   "rule \"q\" { class = ip_blocklisted; scope = source; action = quarantine; move = "
                                   "true; permanent = false; pattern = delta; "
                                   "sample = \"554 delta\" }\n");
    static const struct {
        int code;
        enum rmd_stage stage;
        const char *text;
        enum rmd_action action;
        bool permanent;
    } rows[] = {
        {550, RMD_STAGE_RCPT, "alpha", RMD_ACTION_SUPPRESS, true},
        {450, RMD_STAGE_RCPT, "alpha", RMD_ACTION_RETRY, false},     /* never suppress on a 4xx */
        {550, RMD_STAGE_GREETING, "alpha", RMD_ACTION_RETRY, false}, /* nor before a recipient was named */
        {452, RMD_STAGE_RCPT, "beta", RMD_ACTION_RETRY, false},
        {552, RMD_STAGE_RCPT, "beta", RMD_ACTION_FAIL, true},
        {554, RMD_STAGE_RCPT, "gamma", RMD_ACTION_NEXT_MX, false},
        {554, RMD_STAGE_RCPT, "delta", RMD_ACTION_QUARANTINE, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_verdict v = ask_at(r, "", rows[i].stage, rows[i].code, rows[i].text);
        if (v.action != rows[i].action || v.permanent != rows[i].permanent)
            fail_msg("row %zu: %s, permanent %d", i, rmd_action_name(v.action), v.permanent);
    }
    rmd_rules_free(r);
}

/* ---------------------------------------------------------------- lint */

struct finding_row {
    const char *text, *finding;
};

static const struct finding_row findings[] = {
    {"rule \"r\" { " V "patern = alpha; sample = \"550 alpha\" }",
     "test.conf:1: rule r: nothing reads the key \"patern\""},
    {"\n\nrules { }", "test.conf:3: nothing reads the key \"rules\""},
    {"verdict \"v\" { " V "colour = red }\nrule \"r\" { verdict = v; pattern = alpha; sample = \"550 alpha\" }",
     "test.conf:1: verdict v: nothing reads the key \"colour\""},
    {"rule \"r\" { verdict = v; pattern = alpha; sample = \"550 alpha\" }", "there is no verdict \"v\""},
    {"verdict \"v\" { " V "}\nrule \"r\" { " V "pattern = alpha; sample = \"550 alpha\" }",
     "no rule names the verdict \"v\""},
    {"rule \"r\" { " V "provider = gogle; pattern = alpha; sample = \"550 alpha\" }",
     "rule r: there is no provider \"gogle\""},
    {"providers = [google]\nrule \"r\" { " V "provider = \"google.\"; pattern = alpha; sample = \"550 alpha\" }",
     "test.conf:2: rule r: there is no provider \"google.\" (it ends with a dot)"},
    {"rule \"r\" { " V "provider = \"\"; pattern = alpha; sample = \"550 alpha\" }", "a provider's name is empty"},
    {"providers = [\"\"]", "a provider's name is empty"},
    {"providers = [\"google.\"]", "ends with a dot"},
    {"rule \"r\" { class = spam; scope = message; action = fail; pattern = alpha; sample = \"550 alpha\" }",
     "unknown class \"spam\""},
    {"rule \"r\" { class = policy; scope = world; action = fail; pattern = alpha; sample = \"550 alpha\" }",
     "unknown scope \"world\""},
    {"rule \"r\" { class = policy; scope = message; action = burn; pattern = alpha; sample = \"550 alpha\" }",
     "unknown action \"burn\""},
    {"rule \"r\" { class = policy; action = fail; pattern = alpha; sample = \"550 alpha\" }", "has no scope"},
    {"rule \"r\" { " V "stage = hello; pattern = alpha; sample = \"550 alpha\" }", "unknown stage \"hello\""},
    {"rule \"r\" { " V "code = 250; pattern = alpha; sample = \"550 alpha\" }", "code \"250\""},
    {"rule \"r\" { " V "enhanced = \"5.1\"; pattern = alpha; sample = \"550 alpha\" }", "enhanced code \"5.1\""},
    {"rule \"r\" { " V "pattern = alpha }", "has no sample"},
    {"rule \"r\" { " V "sample = \"550 alpha\" }", "asks for nothing"},
    {"rule \"r\" { " V "pattern = alpha; sample = \"550 beta\" }", "rule r: does not match its sample \"550 beta\""},
    {"rule \"r\" { " V "pattern = alpha; sample = \"250 alpha\" }", "does not start with a reply code"},
    {"rule \"r\" { " V "pattern = alpha; sample = alpha }", "is neither a reply nor"},
    {"rule \"r\" { " V "pattern = alpha; sample = \"|dance|550 alpha\" }", "names an unknown stage"},
    {"rule \"r\" { " V "pattern = alpha; sample = \"nobody||550 alpha\" }", "names a provider that doesn't exist"},
    {"rule \"a\" { " V "pattern = alpha; sample = \"550 alpha\" }\nrule \"b\" { " V
     "pattern = \"alpha beta\"; sample = \"550 alpha beta\" }",
     "test.conf:2: rule b: its sample \"550 alpha beta\" is taken by rule a (test.conf:1)"},
    {"rule \"a\" { " V "pattern = alpha; sample = \"550 alpha\" }\nrule \"b\" { " V
     "pattern = [\"alpha beta\", \"gamma\"]; sample = \"550 gamma\" }",
     "rule b: pattern \"alpha beta\" is always shadowed by rule a (test.conf:1)"},
    {"rule \"a\" { " V "pattern = \"alp*a #\"; sample = \"550 alpha 1\" }\nrule \"b\" { " V
     "pattern = [\"alp*ha # x\", \"gamma\"]; sample = \"550 gamma\" }",
     "rule b: pattern \"alp*ha # x\" is always shadowed by rule a"},
    {"rule \"a\" { " V "code = 5; sample = \"550 alpha\" }\nrule \"b\" { " V
     "code = 55; pattern = beta; sample = \"550 beta\" }",
     "rule b: is always shadowed by rule a"},
    {"rule \"r\" { " V "pattern = \"user unknown.\"; sample = \"550 user unknown.\" }", "ends with a dot"},
    {"rule \"r\" { " V "pattern = \"*alpha\"; sample = \"550 alpha\" }", "has a * or ~ at an end"},
    {"rule \"r\" { " V "pattern = \"{alpha\"; sample = \"550 alpha\" }", "has a { without its }"},
    {"rule \"r\" { " V "pattern = \"alpha}\"; sample = \"550 alpha\" }", "has a | or } outside of braces"},
    {"rule \"r\" { " V "pattern = \"alpha {b*c|d}\"; sample = \"550 alpha d\" }", "has *, ~ or { inside braces"},
    {"rule \"r\" { " V "pattern = \"{nowhere} alpha\"; sample = \"550 alpha\" }",
     "names a set of words that nothing defines"},
    {"words { one = [\"a\"] }\nrule \"r\" { " V "pattern = \"{one} alpha\"; sample = \"550 a alpha\" }",
     "set one: has fewer than 2"},
    {"words { two = [\"a\", \"b\"] }\nrule \"r\" { " V "pattern = \"alpha\"; sample = \"550 alpha\" }",
     "test.conf:1: no pattern names the words \"two\""},
    {"rule \"a\" { " V "pattern = \"{alpha|beta}\"; sample = \"550 alpha\" }\nrule \"b\" { " V
     "pattern = [\"the {alpha|beta} one\", \"gamma\"]; sample = \"550 gamma\" }",
     "rule b: pattern \"the {alpha|beta} one\" is always shadowed by rule a"},
    {"rule \"r\" { " V "pattern = \"al*ph*a\"; sample = \"550 alpha\" }", "has no run of three characters"},
    {"rule \"r\" { " V "pattern = \"5\\\\.7\\\\.1\"; sample = \"550 5.7.1\" }", "has a backslash"},
    {"rule \"r\" { " V "duration = soon; pattern = alpha; sample = \"550 alpha\" }", "duration \"soon\""},
    {"rule \"r\" { " V "move = perhaps; pattern = alpha; sample = \"550 alpha\" }", "move is \"perhaps\""},
    {"rule \"R 1\" { " V "pattern = alpha; sample = \"550 alpha\" }", "a rule's name has"},
    {"rule \"r\" { " V "pattern = []; sample = \"550 alpha\" }", "pattern is an empty list"},
    /* what no rule may do, whoever wrote it */
    {"rule \"r\" { class = spam_content; scope = message; action = fail; move = true; pattern = alpha; sample = "
     "\"550 alpha\" }",
     "moves work for a cause that is not the source's"},
    {"rule \"r\" { class = ip_blocklisted; scope = source; action = suppress; pattern = alpha; sample = \"550 "
     "alpha\" }",
     "suppresses for a cause that is not the recipient's"},
    {"rule \"r\" { class = ip_blocklisted; scope = recipient; action = suppress_second; pattern = alpha; sample = "
     "\"550 "
     "alpha\" }",
     "suppresses for what is no fault of the recipient: class ip_blocklisted"},
    {"rule \"r\" { class = no_rdns; scope = source; action = quarantine; move = true; pattern = alpha; sample = "
     "\"550 "
     "alpha\" }",
     "moves work because of the source's own names in DNS"},
    {"rule \"r\" { class = ip_blocklisted; scope = recipient; action = suppress; pattern = alpha; sample = \"550 "
     "alpha\" }",
     "suppresses for what is no fault of the recipient: class ip_blocklisted"},
    {"rule \"r\" { class = auth_failed; scope = sending_domain; action = quarantine; pattern = alpha; sample = \"550 "
     "alpha\" }",
     "quarantines something that is no source"},
    {"rule \"r\" { class = rate_limited; scope = lane; action = rest; pattern = alpha; sample = \"450 alpha\" }",
     "without a duration"},
    {"rule \"r\" { class = policy; scope = source; action = pause; pattern = alpha; sample = \"450 alpha\" }",
     "pauses, but"},
    {"rule \"r\" { class = greylisted; scope = lane; action = retry_same; move = true; pattern = alpha; sample = "
     "\"450 alpha\" }",
     "retries from the same source and moves"},
    {"rule \"r\" { class = policy; scope = recipient; action = fail; permanent = false; pattern = alpha; sample = "
     "\"550 alpha\" }",
     "fails and is not permanent"},
};

static void each_mistake_is_found_and_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof findings / sizeof *findings; i++) {
        struct rmd_buf err = {0};
        struct rmd_rules *r = rmd_rules_parse(rmd_slice_str(findings[i].text), "test.conf", &err);
        if (r || !strstr(rmd_buf_str(&err), findings[i].finding))
            fail_msg("row %zu: wanted \"%s\", got \"%s\"", i, findings[i].finding, rmd_buf_str(&err));
        rmd_buf_release(&err);
    }
}

static void all_findings_are_told_not_the_first_alone(void **state) {
    (void)state;
    struct rmd_buf err = {0};
    assert_null(rmd_rules_parse(rmd_slice_str("rule \"a\" { " V "pattern = \"*x\"; sample = \"550 x\" }\n"
                                              "rule \"b\" { colour = red }\nrule { c = 5 }\n"),
                                "test.conf", &err));
    assert_non_null(strstr(rmd_buf_str(&err), "test.conf:1:"));
    assert_non_null(strstr(rmd_buf_str(&err), "test.conf:2:"));
    assert_non_null(strstr(rmd_buf_str(&err), "test.conf:3:"));
    rmd_buf_release(&err);
}

static void narrower_conditions_are_no_shadow(void **state) {
    (void)state;
    struct rmd_rules *r = rules_of("rule \"a\" { " V "code = 4; pattern = alpha; sample = \"450 alpha\" }\n"
                                   "rule \"b\" { " V "stage = mail; pattern = alpha; sample = \"550 alpha\" }\n"
                                   "rule \"c\" { " V "pattern = \"alpha\"; sample = \"550 alpha\" }\n");
    assert_string_equal(ask(r, 450, "alpha"), "a");
    assert_string_equal(ask_at(r, "", RMD_STAGE_MAIL, 550, "alpha").rule, "b");
    assert_string_equal(ask(r, 550, "alpha"), "c");
    rmd_rules_free(r);
    r = rules_of("words { x = [\"alpha\", \"beta\"] }\n"
                 "rule \"a\" { " V "pattern = \"alpha\"; sample = \"550 alpha\" }\n"
                 "rule \"b\" { " V "pattern = \"{x}\"; sample = \"550 beta\" }\n"
                 "rule \"w\" { " V "weak = true; pattern = \"gamma\"; sample = \"550 gamma\" }\n"
                 "rule \"g\" { " V "pattern = \"gamma delta\"; sample = \"550 gamma delta\" }\n");
    assert_string_equal(ask(r, 550, "beta"), "b");
    assert_string_equal(ask(r, 550, "gamma delta"), "g"); /* weak rules come last, wherever they stand */
    assert_string_equal(ask(r, 550, "gamma"), "w");
    rmd_rules_free(r);
}

/* ---------------------------------------------------------------- layers */

static struct rmd_rules *over_shipped(const char *text) {
    struct rmd_buf err = {0};
    struct rmd_rules *r = rmd_rules_shipped(rmd_slice_str(text), "operator.conf", &err);
    if (!r)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_buf_release(&err);
    return r;
}

static void the_operators_rules_come_first(void **state) {
    (void)state;
    struct rmd_rules *shipped = over_shipped("");
    struct rmd_rules *r = over_shipped("rule \"house\" { " V "pattern = \"mailbox\"; sample = \"550 mailbox\" }");
    assert_int_equal(rmd_rules_count(r), rmd_rules_count(shipped) + 1);
    assert_int_equal(ask_at(shipped, "", RMD_STAGE_RCPT, 552, "5.2.2 mailbox full").class, RMD_CLASS_MAILBOX_FULL);
    assert_string_equal(ask(r, 552, "5.2.2 mailbox full"), "house");
    rmd_rules_free(r);
    rmd_rules_free(shipped);
}

static void an_override_stands_in_the_place_of_the_shipped_rule(void **state) {
    (void)state;
    struct rmd_rules *shipped = over_shipped("");
    struct rmd_rules *r = over_shipped(
        "rule \"full\" { verdict = full; class = policy; pattern = [\"mailbox full\", \"user unknown\"]; "
        "sample = \"552 mailbox full\" }");
    assert_int_equal(rmd_rules_count(r), rmd_rules_count(shipped));
    assert_int_equal(ask_at(r, "", RMD_STAGE_RCPT, 552, "mailbox full").class, RMD_CLASS_POLICY);
    assert_string_equal(ask(r, 450, "greylisted, user unknown"), "greylisted"); /* what came before still does */
    rmd_rules_free(r);
    rmd_rules_free(shipped);
}

static void a_broken_operator_file_gives_no_set(void **state) {
    (void)state;
    struct rmd_buf err = {0};
    assert_null(rmd_rules_shipped(rmd_slice_str("rule \"x\" {\n pattern = [\n"), "operator.conf", &err));
    assert_non_null(strstr(rmd_buf_str(&err), "operator.conf:"));
    rmd_buf_clear(&err);
    assert_null(rmd_rules_load("/nonexistent/rules.conf", &err));
    assert_non_null(strstr(rmd_buf_str(&err), "/nonexistent/rules.conf"));
    rmd_buf_release(&err);
}

static void a_name_is_taken_once_in_a_layer(void **state) {
    (void)state;
    struct rmd_rules *r = rmd_rules_new();
    const char *pattern[] = {"alpha", NULL}, *sample[] = {"550 alpha", NULL}, *scope[] = {"recipient", NULL};
    struct rmd_rule_def def = {.name = "r",
                               .file = "f",
                               .line = 7,
                               .pattern = pattern,
                               .sample = sample,
                               .class_name = "policy",
                               .scope = scope,
                               .action = "fail",
                               .permanent = -1};
    char err[256];
    assert_int_equal(rmd_rules_add(r, &def, err, sizeof err), RMD_OK);
    assert_int_equal(rmd_rules_add(r, &def, err, sizeof err), RMD_EINVAL);
    assert_string_equal(err, "f:7: rule r: the name is taken by the rule at f:7");
    rmd_rules_free(r);
}

/* ---------------------------------------------------------------- our own errors */

static void our_own_errors_have_their_own_verdicts(void **state) {
    (void)state;
    struct rmd_verdict v;
    for (int i = 0; i < RMD_OWN_COUNT; i++) {
        rmd_rules_own((enum rmd_own_error)i, &v);
        assert_true(rmd_case_prefix(rmd_slice_str(v.rule), "own:"));
        assert_int_not_equal(v.scope, 0);
        assert_int_not_equal(v.action, RMD_ACTION_NONE);
        assert_int_not_equal(v.action, RMD_ACTION_SUPPRESS);
        assert_true(v.permanent == (v.action == RMD_ACTION_FAIL));
        assert_true(!v.move || v.scope == RMD_SCOPE_SOURCE);
        assert_int_not_equal(v.class, RMD_CLASS_OTHER);
        assert_int_not_equal(v.class, RMD_CLASS_IP_BLOCKLISTED);
    }
    static const struct {
        enum rmd_own_error error;
        const char *enhanced;
    } codes[] = {{RMD_OWN_SIZE_EXCEEDED, "5.3.4"},   {RMD_OWN_NO_8BITMIME, "5.6.3"},
                 {RMD_OWN_NO_SMTPUTF8, "5.6.7"},     {RMD_OWN_NO_REQUIRETLS, "5.7.30"},
                 {RMD_OWN_TLS_UNVERIFIED, "4.7.10"}, {RMD_OWN_CONNECT_REFUSED, ""}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_string_equal(rmd_rules_own_enhanced(codes[i].error), codes[i].enhanced);
        rmd_rules_own(codes[i].error, &v);
        assert_true(!*codes[i].enhanced || (codes[i].enhanced[0] == '5') == v.permanent);
    }
    rmd_rules_own(RMD_OWN_DNS_TEMPFAIL, &v);
    assert_int_equal(v.action, RMD_ACTION_RETRY);
    rmd_rules_own(RMD_OWN_DNS_NULL_MX, &v);
    assert_int_equal(v.class, RMD_CLASS_NO_SUCH_DOMAIN);
    assert_true(v.permanent);
    rmd_rules_own(RMD_OWN_CONNECT_REFUSED, &v);
    assert_int_equal(v.scope, RMD_SCOPE_DESTINATION);
    assert_int_equal(v.action, RMD_ACTION_NEXT_MX);
    rmd_rules_own(RMD_OWN_SOURCE_ADDRESS, &v);
    assert_true(v.move && !v.permanent && v.duration_ms > 0);
    rmd_rules_own(RMD_OWN_AGE_LIMIT, &v);
    assert_int_equal(v.class, RMD_CLASS_EXPIRED);
}

static void an_answer_that_we_made_up_matches_no_rule(void **state) {
    (void)state;
    struct rmd_rules *r = over_shipped("");
    struct rmd_verdict v = ask_at(r, "", RMD_STAGE_CONNECT, 0, "connection timed out, user unknown, blocked using x");
    assert_string_equal(v.rule, "code");
    rmd_rules_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_have_wildcards_and_ignore_case_and_white_space),
        cmocka_unit_test(conditions_narrow_a_rule),
        cmocka_unit_test(an_enhanced_code_may_leave_its_last_digits_open),
        cmocka_unit_test(the_first_rule_wins_with_or_without_patterns),
        cmocka_unit_test(long_and_hostile_texts_are_read_in_bounds),
        cmocka_unit_test(the_code_alone_speaks_when_no_rule_does),
        cmocka_unit_test(permanence_follows_the_code_unless_the_rule_says),
        cmocka_unit_test(each_mistake_is_found_and_named),
        cmocka_unit_test(all_findings_are_told_not_the_first_alone),
        cmocka_unit_test(narrower_conditions_are_no_shadow),
        cmocka_unit_test(the_operators_rules_come_first),
        cmocka_unit_test(an_override_stands_in_the_place_of_the_shipped_rule),
        cmocka_unit_test(a_broken_operator_file_gives_no_set),
        cmocka_unit_test(a_name_is_taken_once_in_a_layer),
        cmocka_unit_test(our_own_errors_have_their_own_verdicts),
        cmocka_unit_test(an_answer_that_we_made_up_matches_no_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
