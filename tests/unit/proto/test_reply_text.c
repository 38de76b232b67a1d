/* Replies in every shape: code, enhanced code, stage and words are found wherever somebody put them. Tables read line by line. The model
 * behind the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/rules_file.h"
#include "proto/provider_name.h"
#include "proto/reply_text.h"
#include "proto/rules_internal.h"
#include "proto/tsv.h"

/* clang-format off */
static const struct {
    const char *text;
    int code;
    const char *enhanced;
    enum rmd_stage stage;
    const char *words; /* what the receiver's part begins with */
} shapes[] = {
    {"550 5.1.1 No such user", 550, "5.1.1", RMD_STAGE_NONE, "550 5.1.1 No"},
    {"550-5.1.1 No such\n550 5.1.1 user", 550, "5.1.1", RMD_STAGE_NONE, "550-5.1.1"},
    {"No such user", 550, "", RMD_STAGE_NONE, "No such"},
    {"Temporary trouble", 450, "", RMD_STAGE_NONE, "Temporary"},
    {"5.1.1 No such user", 550, "5.1.1", RMD_STAGE_NONE, "5.1.1 No"},
    {"4.2.2 The box is full", 450, "4.2.2", RMD_STAGE_NONE, "4.2.2 The"},
    {"smtp; 550 5.1.1 No such user", 550, "5.1.1", RMD_STAGE_NONE, "550 5.1.1 No"},
    {"smtp;421 Later", 421, "", RMD_STAGE_NONE, "421 Later"},
    {"host mx.d.example[192.0.2.1] said: 452 4.2.2 Full (in reply to RCPT TO command)", 452, "4.2.2", RMD_STAGE_RCPT, "452 4.2.2 Full"},
    {"host mx.d.example[192.0.2.1] refused to talk to me: 554 5.7.1 Blocked", 554, "5.7.1", RMD_STAGE_GREETING, "554 5.7.1 Blocked"},
    {"SMTP error from remote mail server after end of data: host mx [192.0.2.1]: 552 spam", 552, "", RMD_STAGE_DOT, "552 spam"},
    {"... while talking to mx.d.example:\n>>> RCPT To:<ann@d.example>\n<<< 550 5.1.1 Unknown", 550, "5.1.1", RMD_STAGE_NONE, "550 5.1.1"},
    {"sorry, no mailbox here by that name (#5.1.1)", 550, "5.1.1", RMD_STAGE_NONE, "sorry"},
    {"421 #4.4.5 Too many", 421, "4.4.5", RMD_STAGE_NONE, "421 #4.4.5"},
    {"You may send 500 messages an hour", 550, "", RMD_STAGE_NONE, "You may"},
    {"see 192.0.2.5.1.1 and 5.1.10.4", 550, "", RMD_STAGE_NONE, "see"},
    {"connect to mx.d.example[192.0.2.1]:25: Connection timed out", 450, "", RMD_STAGE_NONE, "connect to"},
    {"250 2.0.0 Ok", 250, "", RMD_STAGE_NONE, "250"},
    {"250-mx.d.example\n250 SIZE", 250, "", RMD_STAGE_NONE, "250-mx"},
    {"250 messages are too many", 250, "", RMD_STAGE_NONE, "250"},
    {"220-mx.d.example\n421 Later", 421, "", RMD_STAGE_NONE, "421 Later"},
    {"We take 250 of them", 550, "", RMD_STAGE_NONE, "We take"},
    {"", 550, "", RMD_STAGE_NONE, ""},
};
/* clang-format on */

static void the_code_is_found_in_every_shape(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct rmd_reply r;
        rmd_reply_read(rmd_slice_str(shapes[i].text), &r);
        size_t n = strlen(shapes[i].words);
        if (r.code != shapes[i].code || strcmp(r.enhanced, shapes[i].enhanced) != 0 || r.stage != shapes[i].stage ||
            r.text.n < n || memcmp(r.text.p, shapes[i].words, n) != 0)
            fail_msg("\"%s\": %d \"%s\" at %s, \"%.*s\"", shapes[i].text, r.code, r.enhanced, rmd_stage_name(r.stage),
                     (int)r.text.n, (const char *)r.text.p);
    }
}

static void a_code_that_is_not_there_is_said_so(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool read;
    } rows[] = {{"zxcv", false},
                {"", false},
                {"5.1.1 No such user", false},
                {"550 zxcv", true},
                {"host mx.d.example said: 450 zxcv", true},
                {"250 Ok", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_reply r;
        if (rmd_reply_read(rmd_slice_str(rows[i].text), &r) != rows[i].read)
            fail_msg("\"%s\"", rows[i].text);
    }
}

static void others_names_for_stages_and_providers(void **state) {
    (void)state;
    assert_int_equal(rmd_stage_of_word(rmd_slice_str("CONN")), RMD_STAGE_GREETING);
    assert_int_equal(rmd_stage_of_word(rmd_slice_str(" rcpt to ")), RMD_STAGE_RCPT);
    assert_int_equal(rmd_stage_of_word(rmd_slice_str("HELO")), RMD_STAGE_EHLO);
    assert_int_equal(rmd_stage_of_word(rmd_slice_str("dot")), RMD_STAGE_DOT);
    assert_int_equal(rmd_stage_of_word(rmd_slice_str("lunch")), RMD_STAGE_NONE);
    assert_string_equal(rmd_provider_of_word("Microsoft"), "outlook");
    assert_string_equal(rmd_provider_of_word("google"), "google");
}

/* ---------------------------------------------------------------- tables */

static const char *const columns[] = {"reply", "id", "stage", NULL};

/* All rows as "id|stage|reply;". */
static void table(const char *text, struct rmd_buf *out) {
    struct rmd_tsv t;
    rmd_tsv_init(&t, columns);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        int rc = rmd_tsv_line(&t, rmd_slice(p, n));
        p += n + (p[n] == '\n');
        for (bool end = false; rc == RMD_OK || (!*p && !end);) {
            if (rc != RMD_OK) {
                end = true;
                rc = rmd_tsv_end(&t);
                continue;
            }
            rmd_buf_addf(out, "%.*s|%.*s|%.*s;", (int)t.value[1].n, (const char *)t.value[1].p, (int)t.value[2].n,
                         (const char *)t.value[2].p, (int)t.value[0].n, (const char *)t.value[0].p);
            rc = RMD_EAGAIN;
        }
    }
    rmd_tsv_release(&t);
}

static void a_table_is_read_however_its_columns_stand(void **state) {
    (void)state;
    static const struct {
        const char *text, *rows;
    } cases[] = {
        {"id\treply\n1\t550 a\n2\t551 b\n", "1||550 a;2||551 b;"},
        {"reply\tx\tID\n550 a\t?\t1\r\n", "1||550 a;"},
        {"\xef\xbb\xbfreply\n550 a\n551 b\n", "||550 a;||551 b;"},
        {"stage\treply\tid\nrcpt\t550 a \"q\t9\n\n", "9|rcpt|550 a \"q;"},
        {"id\treply\n1\t550-a\\n550 b\n", "1||550-a 550 b;"}, /* a literal \n */
        {"id\treply\n1\t550-a\n  550 b\n2\t551 c\n",
         "1||550-a   550 b;2||551 c;"},                                         /* a line that begins with a blank */
        {"id\treply\n1\t550-a\n550 b\n2\t551 c\n", "1||550-a 550 b;2||551 c;"}, /* a line without a tab */
        {"id\treply\tstage\n1\t550-a\n550 b\trcpt\n2\t551 c\tmail\n", "1|rcpt|550-a 550 b;2|mail|551 c;"},
        {"reply\n550-a\n550 b\n551 c\n", "||550-a 550 b;||551 c;"}, /* the code says that more follows */
        {"id\treply\tstage\n1\t550 a\n2\t551 b\trcpt\n",
         "1||550 a;2|rcpt|551 b;"}, /* columns that are missing at the end */
        {"id\treply\n1\t\n", "1||;"},
        {"id\treply\n", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rmd_buf out = {0};
        table(cases[i].text, &out);
        if (strcmp(rmd_buf_str(&out), cases[i].rows) != 0)
            fail_msg("row %zu: wanted %s, got %s", i, cases[i].rows, rmd_buf_str(&out));
        rmd_buf_release(&out);
    }
}

/* ---------------------------------------------------------------- the model */

static struct rmd_model *model(const char *text, struct rmd_buf *err) {
    return rmd_model_parse(rmd_slice_str(text), "m", err);
}

#define HEAD "remuda-model 1\nmargin 50\nclass user_unknown mailbox_full\n"

static void a_model_is_read_or_refused_by_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *finding;
    } bad[] = {{"", "m:0: is empty"},
               {"remuda-model 2\n", "m:1:"},
               {HEAD "w:a\t0:1\n w\n", "m:5: expected a token"},
               {HEAD "w:ab\t7:1\n", "m:4: a weight is CLASS:WEIGHT"},
               {HEAD "w:ab\t0:99999\n", "m:4: a weight is a whole number"},
               {HEAD "w:ab\t\n", "m:4: a token without weights"},
               {HEAD "w:ab\t0:1\nw:ab\t0:1\n", "m:5: a token that was there before"},
               {HEAD, "m:3: no tokens"},
               {"remuda-model 1\ncostly x\n", "m:2: a lead is a whole number"},
               {"remuda-model 1\nclass nonsense other\n", "m:2: an unknown class"},
               {"remuda-model 1\nw:a\t0:1\n", "m:2: expected the classes first"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rmd_buf err = {0};
        struct rmd_model *m = model(bad[i].text, &err);
        if (m || !strstr(rmd_buf_str(&err), bad[i].finding))
            fail_msg("row %zu: %s", i, rmd_buf_str(&err));
        rmd_buf_release(&err);
    }
}

static struct rmd_verdict ask(const struct rmd_rules *r, const char *text, struct rmd_why *why) {
    struct rmd_reply reply;
    struct rmd_verdict v, again;
    rmd_reply_read(rmd_slice_str(text), &reply);
    reply.stage = reply.stage == RMD_STAGE_NONE ? RMD_STAGE_RCPT : reply.stage;
    rmd_rules_explain(r, &reply, "", &v, why);
    rmd_rules_classify(r, &reply, "", &again);
    assert_int_equal(v.class, again.class);
    assert_string_equal(v.rule, again.rule);
    return v;
}

static void the_model_is_asked_behind_the_rules_and_before_the_codes(void **state) {
    (void)state;
    struct rmd_buf err = {0};
    struct rmd_why why;
    struct rmd_rules *r =
        rmd_rules_parse(rmd_slice_str("rule \"words\" { class = policy; scope = recipient; action = fail; pattern = "
                                      "\"purple\"; sample = \"550 purple\" }\n"
                                      "rule \"code\" { class = server_busy; scope = destination; action = next_mx; "
                                      "code = 55; weak = true; sample = \"550 x\" }\n"),
                        "t", &err);
    assert_non_null(r);
    rmd_rules_model(
        r, model(HEAD "w:stuff\t0:200\nw:green\t0:150 1:20\nb:green stuff\t1:10\ng:gre\t1:5\ng:ff_\t0:5\n", &err));
    struct rmd_verdict v = ask(r, "550 purple green stuff", &why);
    assert_string_equal(v.rule, "words"); /* never overridden */
    v = ask(r, "550 green stuff", &why);
    assert_string_equal(v.rule, "model");
    assert_int_equal(v.class, RMD_CLASS_USER_UNKNOWN);
    assert_int_equal(v.action, RMD_ACTION_FAIL); /* never suppresses */
    assert_int_equal(why.model.n_reasons, 3);
    assert_string_equal(why.model.reason[0].token, "w:stuff");
    assert_int_equal(why.model.margin, 320); /* 200 + 150 + 5 - 20 - 10 - 5 */
    v = ask(r, "450 green stuff", &why);
    assert_int_equal(v.action, RMD_ACTION_RETRY);
    assert_string_equal(ask(r, "550 stuff", &why).rule, "code"); /* two known tokens are no evidence */
    assert_string_equal(ask(r, "550 blue", &why).rule, "code");
    assert_int_equal(why.model.n_reasons, 0);
    rmd_rules_free(r);
    rmd_buf_release(&err);
}

/* A block isn't taken for a rate limit, nor a rate limit for a block, when it leads by less than `costly`; other classes may be. */
static void what_would_cost_must_lead_clearly(void **state) {
    (void)state;
    static const struct {
        const char *classes, *weights, *rule;
    } rows[] = {
        {"rate_limited ip_blocklisted", "0:150 1:51", "code"}, {"rate_limited ip_blocklisted", "0:150 1:49", "model"},
        {"ip_blocklisted rate_limited", "0:150 1:51", "code"}, {"user_unknown spam_content", "0:150 1:51", "code"},
        {"user_unknown auth_failed", "0:150 1:51", "code"},    {"user_unknown mailbox_full", "0:150 1:51", "model"},
        {"spam_content user_unknown", "0:150 1:51", "model"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_buf err = {0}, text = {0};
        struct rmd_why why;
        struct rmd_rules *r = rmd_rules_parse(
            rmd_slice_str("rule \"code\" { class = server_busy; scope = destination; action = next_mx; "
                          "code = 55; weak = true; sample = \"550 x\" }\n"),
            "t", &err);
        assert_non_null(r);
        rmd_buf_addf(&text,
                     "remuda-model 1\nmargin 50\ncostly 100\nclass %s\ng:_gr\t%s\ng:gre\t0:1 1:1\ng:ree\t0:1 1:1\n"
                     "g:een\t0:1 1:1\ng:en_\t0:1 1:1\n",
                     rows[i].classes, rows[i].weights);
        rmd_rules_model(r, model(rmd_buf_str(&text), &err));
        if (strcmp(ask(r, "550 green", &why).rule, rows[i].rule) != 0)
            fail_msg("row %zu", i);
        rmd_rules_free(r);
        rmd_buf_release(&err);
        rmd_buf_release(&text);
    }
}

static void add_token(void *ctx, const char *token) {
    rmd_buf_addf(ctx, "%s|", token);
}

/* Words as stems, pairs, three characters in a row (of UTF-8; of a long word only in a script that has no blanks), codes. */
static void tokens_are_what_the_model_reads(void **state) {
    (void)state;
    static const struct {
        const char *text, *tokens;
    } rows[] = {
        {"550 5.1.1 No users", "c:550|c:5xx|e:1.1|e:1|w:no|g:_no|g:no_|w:user|g:_us|g:use|g:ser|g:er_|b:no user|"},
        {"450 \xe6\xb2\xa1\xe6\x9c\x89",
         "c:450|c:4xx|w:\xe6\xb2\xa1\xe6\x9c\x89|g:_\xe6\xb2\xa1\xe6\x9c\x89|g:\xe6\xb2\xa1\xe6\x9c\x89_|"},
        {"550 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "c:550|c:5xx|"},
        {"550 \xff\xfe\xfd", "c:550|c:5xx|w:\xff\xfe\xfd|g:_\xff\xfe|g:\xff\xfe\xfd|g:\xfe\xfd_|"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_reply reply;
        struct rmd_subject s;
        struct rmd_buf got = {0};
        rmd_reply_read(rmd_slice_str(rows[i].text), &reply);
        rmd_subject_init(&s, &reply);
        rmd_model_tokens(&s, add_token, &got);
        if (strcmp(rmd_buf_str(&got), rows[i].tokens) != 0)
            fail_msg("row %zu: got %s", i, rmd_buf_str(&got));
        rmd_buf_release(&got);
    }
}

/* Whatever it says: nobody is suppressed, nothing is quarantined, no work moves. */
static void what_the_model_does_is_mild(void **state) {
    (void)state;
    for (int class = 0; class < RMD_CLASS_COUNT; class ++)
        for (int code = 421; code <= 554; code += 133)
            for (int stage = RMD_STAGE_GREETING; stage <= RMD_STAGE_DOT; stage++) {
                struct rmd_verdict v;
                rmd_model_verdict((enum rmd_class) class, code, (enum rmd_stage)stage, &v);
                assert_false(v.move);
                assert_int_not_equal(v.action, RMD_ACTION_SUPPRESS);
                assert_int_not_equal(v.action, RMD_ACTION_QUARANTINE);
                assert_int_not_equal(v.action, RMD_ACTION_PAUSE);
                if (code < 500 || stage <= RMD_STAGE_STARTTLS)
                    assert_false(v.permanent);
                if (v.action == RMD_ACTION_SLOW || v.action == RMD_ACTION_REST)
                    assert_true(v.duration_ms > 0);
            }
}

/* ---------------------------------------------------------------- our own replies */

/* Several hundred replies in our own words, for every class: what the rules and the model have learned stays learned. */
static void our_own_replies_are_read_right(void **state) {
    (void)state;
    static const char *const wanted[] = {"class", "accept", "reply", NULL};
    struct rmd_buf err = {0};
    struct rmd_rules *r = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    assert_non_null(r);
    FILE *f = fopen("tests/data/replies.tsv", "r");
    assert_non_null(f);
    static char line[8192];
    struct rmd_tsv t;
    int rows = 0, right = 0, suppressed = 0, rate_as_block = 0, block_as_rate = 0;
    rmd_tsv_init(&t, wanted);
    for (int rc = RMD_EAGAIN; rc != RMD_ENOTFOUND;) {
        rc = fgets(line, sizeof line, f) ? rmd_tsv_line(&t, rmd_slice_str(line)) : rmd_tsv_end(&t);
        if (rc != RMD_OK) {
            rc = feof(f) ? RMD_ENOTFOUND : rc;
            continue;
        }
        struct rmd_why why;
        char text[4096], accept[256];
        rmd_copy_slice(text, sizeof text, t.value[2]);
        rmd_copy_slice(accept, sizeof accept, t.value[1]);
        struct rmd_verdict v = ask(r, text, &why);
        int class = rmd_class_parse(t.value[0]);
        bool ok = strstr(accept, rmd_class_name(v.class)) != NULL;
        rows++;
        right += ok;
        suppressed += v.action == RMD_ACTION_SUPPRESS && class != RMD_CLASS_USER_UNKNOWN && !ok;
        rate_as_block += class == RMD_CLASS_RATE_LIMITED && v.class == RMD_CLASS_IP_BLOCKLISTED && !ok;
        block_as_rate += class == RMD_CLASS_IP_BLOCKLISTED && v.class == RMD_CLASS_RATE_LIMITED && !ok;
    }
    fclose(f);
    print_message("%d of %d right\n", right, rows);
    assert_true(rows > 1500);
    assert_true(right * 100 >= rows * 95);
    assert_int_equal(rate_as_block, 0);
    assert_int_equal(block_as_rate, 0);
    assert_true(suppressed <= 2);
    rmd_tsv_release(&t);
    rmd_rules_free(r);
    rmd_buf_release(&err);
}

static void a_name_that_no_provider_has_gets_the_nearest(void **state) {
    (void)state;
    static const char *const known[] = {"google", "outlook", "office365", "gmx", "ab", "ac", "other", NULL};
    static const struct {
        const char *wanted, *text;
    } rows[] = {
        {"gogle", "there is no provider \"gogle\"; nearest is google; known are "},
        {"GOOGLE", "there is no provider \"GOOGLE\"; nearest is google; known are "},
        {"gmial",
         "there is no provider \"gmial\"; nearest is google; known are "}, /* "gmail" is what others call it */
        {"outlok", "there is no provider \"outlok\"; nearest is outlook; known are "},
        {"ofice356", "there is no provider \"ofice356\"; nearest is office365; known are "},
        {"small", "there is no provider \"small\"; known are "}, /* two letters from "gmail", of five */
        {"nonsense", "there is no provider \"nonsense\"; known are "},
        {"aa", "there is no provider \"aa\"; known are "}, /* too short to be near anything */
        {"", "there is no provider \"\"; known are "},
        {"a-name-that-is-longer-than-any-name-may-be-because-it-has-70-letters--",
         "there is no provider \"a-name-that-is-longer-than-any-name-may-be-because-it-has-70-letters--\"; known "
         "are "}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rmd_provider_search s = {.wanted = rows[i].wanted};
        struct rmd_buf text = {0}, wanted = {0};
        for (size_t k = 0; known[k]; k++)
            rmd_provider_search_add(&s, known[k]);
        assert_false(s.found);
        rmd_provider_unknown(&s, &text);
        rmd_buf_addf(&wanted, "%sgoogle, outlook, office365, gmx, ab, ac, other", rows[i].text);
        assert_string_equal(rmd_buf_str(&text), rmd_buf_str(&wanted));
        rmd_provider_search_release(&s);
        rmd_buf_release(&text);
        rmd_buf_release(&wanted);
    }
    struct rmd_provider_search s = {.wanted = "gmx"};
    for (size_t k = 0; known[k]; k++)
        rmd_provider_search_add(&s, known[k]);
    assert_true(s.found);
    rmd_provider_search_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_no_provider_has_gets_the_nearest),
        cmocka_unit_test(the_code_is_found_in_every_shape),
        cmocka_unit_test(a_code_that_is_not_there_is_said_so),
        cmocka_unit_test(others_names_for_stages_and_providers),
        cmocka_unit_test(a_table_is_read_however_its_columns_stand),
        cmocka_unit_test(a_model_is_read_or_refused_by_line),
        cmocka_unit_test(the_model_is_asked_behind_the_rules_and_before_the_codes),
        cmocka_unit_test(what_would_cost_must_lead_clearly),
        cmocka_unit_test(tokens_are_what_the_model_reads),
        cmocka_unit_test(what_the_model_does_is_mild),
        cmocka_unit_test(our_own_replies_are_read_right),
    };
    return cmocka_run_group_tests_name("reply_text", tests, NULL, NULL);
}
