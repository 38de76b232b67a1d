/* What a reply means, row by row: class, scope, action, how long, and whether work may move.
 *
 * tests/data/facts.tsv: codes and words that receivers publish, in samples of our own around them; `page` is what each publishes them in.
 * Nothing but this table excuses a rule that is written for one reply (make lint-rules).
 * tests/data/servers.tsv: what mail servers and filters in wide use answer as they come, from common knowledge; the class alone counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <base/text.h>

#include "proto/io/rules_file.h"
#include "proto/reply_text.h"

#include "proto/tsv.h"

static const char *const columns[] = {"page",   "provider", "stage",   "class", "scope",
                                      "action", "move",     "minutes", "reply", NULL};
enum { PAGE, PROVIDER, STAGE, CLASS, SCOPE, ACTION, MOVE, MINUTES, REPLY, COLUMNS };

enum { FACTS_LEAST = 120, SERVERS_LEAST = 240 };

/* "*", and a column that the table hasn't: whatever. */
static bool is(struct rmd_slice want, const char *got) {
    return !want.n || rmd_slice_eq(want, rmd_slice_str("*")) || rmd_slice_eq(want, rmd_slice_str(got));
}

static bool row_is_right(const struct rmd_rules *r, const struct rmd_slice value[COLUMNS]) {
    struct rmd_reply reply;
    struct rmd_verdict v;
    char provider[64], scope[128], minutes[32], text[512];
    assert_true(rmd_copy_slice(provider, sizeof provider, value[PROVIDER]));
    assert_true(rmd_copy_slice(text, sizeof text, value[REPLY]));
    assert_true(value[CLASS].n > 0);
    rmd_reply_read(value[REPLY], &reply);
    reply.stage = rmd_stage_of_word(value[STAGE]);
    assert_int_not_equal(reply.stage, RMD_STAGE_NONE);
    rmd_rules_classify(r, &reply, provider, &v);
    (void)rmd_format(minutes, sizeof minutes, "%lld", (long long)(v.duration_ms / 60000));
    rmd_scope_format(v.scope, scope, sizeof scope);
    if (v.class != RMD_CLASS_USER_UNKNOWN)
        assert_false(rmd_action_suppresses(v.action)); /* nobody is punished for our reputation */
    bool ok = is(value[CLASS], rmd_class_name(v.class)) && is(value[SCOPE], scope) &&
              is(value[ACTION], rmd_action_name(v.action)) && is(value[MOVE], v.move ? "move" : "stay") &&
              is(value[MINUTES], minutes);
    if (!ok)
        print_error("%s\n  got %s %s %s %s min %s by %s, want %.*s %.*s %.*s %.*s min %.*s\n", text,
                    rmd_class_name(v.class), scope, rmd_action_name(v.action), minutes, v.move ? "move" : "stay",
                    v.rule, (int)value[CLASS].n, (const char *)value[CLASS].p, (int)value[SCOPE].n,
                    (const char *)value[SCOPE].p, (int)value[ACTION].n, (const char *)value[ACTION].p,
                    (int)value[MINUTES].n, (const char *)value[MINUTES].p, (int)value[MOVE].n,
                    (const char *)value[MOVE].p);
    return ok;
}

static void each_row_has_its_verdict(const char *table, int rows_least, bool pages) {
    struct rmd_buf err = {0};
    struct rmd_rules *r = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    if (!r)
        fail_msg("%s", rmd_buf_str(&err));
    FILE *f = fopen(table, "r");
    if (!f)
        fail_msg("%s: run it from the top folder", table);
    struct rmd_tsv tsv;
    rmd_tsv_init(&tsv, columns);
    int rows = 0, wrong = 0;
    char line[4096];
    for (bool more = true; more;) {
        more = fgets(line, sizeof line, f);
        if ((more ? rmd_tsv_line(&tsv, rmd_slice_str(line)) : rmd_tsv_end(&tsv)) != RMD_OK)
            continue;
        rows++;
        assert_true(!pages || tsv.value[PAGE].n > 0);
        wrong += !row_is_right(r, tsv.value);
    }
    rmd_tsv_release(&tsv);
    fclose(f);
    rmd_rules_free(r);
    rmd_buf_release(&err);
    assert_int_equal(wrong, 0);
    assert_true(rows >= rows_least);
}

static void each_published_reply_has_its_verdict(void **state) {
    (void)state;
    each_row_has_its_verdict("tests/data/facts.tsv", FACTS_LEAST, true);
}

static void each_server_is_understood(void **state) {
    (void)state;
    each_row_has_its_verdict("tests/data/servers.tsv", SERVERS_LEAST, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_published_reply_has_its_verdict),
                                       cmocka_unit_test(each_server_is_understood)};
    return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
