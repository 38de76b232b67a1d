/* The SMTP client against a server that misbehaves once: every way of sending content (mode), every stage, every kind of
 * trouble, with the outcome that each must have (server.h has what must hold in all of them). */
#include "tests/unit/smtp/server.h"

static bool is_own(enum kind k) {
    return k == CUT || k == CUT_INSIDE || (k >= SILENT && k != EARLY);
}

static enum rmd_own_error error_of(enum kind k) {
    return k == CUT || k == CUT_INSIDE || k == CUT_BEHIND ? RMD_OWN_CONNECTION_LOST
           : k == SILENT                                  ? RMD_OWN_REPLY_TIMEOUT
                                                          : RMD_OWN_REPLY_MALFORMED;
}

/* The connection never became ready: nobody's message was touched. */
static void check_before(const struct talk *t) {
    enum kind k = t->s.kind;
    assert_int_equal(t->done, 0);
    assert_int_equal(t->s.accepted, 0);
    assert_int_equal(t->close.own, is_own(k));
    if (t->close.own) {
        assert_int_equal(t->close.end, RMD_SMTP_FAILED);
        assert_int_equal(t->close.error, error_of(k));
    } else {
        assert_int_equal(t->close.end, RMD_SMTP_REFUSED);
        assert_true(t->close.connection_refusal);
        assert_int_equal(t->close.reply.stage, stage_values[t->s.stage]);
    }
}

/* The trouble was the first message's. */
static void check_message(const struct talk *t) {
    enum kind k = t->s.kind;
    enum stage s = t->s.stage;
    const struct rmd_smtp_result *r = &t->result[0];
    bool gone = t->s.mode == AHEAD || s == DOT; /* the dot had left */
    if (k == LATER || k == NO || k == GO_AWAY) {
        assert_int_equal(r->end, RMD_SMTP_REFUSED);
        assert_int_equal(r->reply.code, k == LATER ? 450 : k == NO ? 550 : 421);
        assert_int_equal(r->reply.stage, stage_values[s]);
        assert_int_equal(r->connection_refusal, k == GO_AWAY);
    } else if (is_own(k)) {
        assert_int_equal(r->end, gone ? RMD_SMTP_UNCERTAIN : RMD_SMTP_FAILED);
        assert_int_equal(r->error, error_of(k));
        assert_int_equal(r->reply.stage, stage_values[s]);
    } else if (k == CUT_BEHIND) { /* the next reply is the one that doesn't come */
        bool content_left = gone || s == DATA || (s == RCPT && is_bdat(t->s.mode));
        assert_int_equal(r->end, s == DOT ? RMD_SMTP_ACCEPTED : content_left ? RMD_SMTP_UNCERTAIN : RMD_SMTP_FAILED);
    } else if (k == FINE) {
        assert_int_equal(r->end, RMD_SMTP_ACCEPTED);
    }
    /* The connection goes on after a plain refusal, and the next message isn't mixed up with this one. */
    bool goes_on = k == FINE || k == LATER || k == NO;
    assert_int_equal(t->done, goes_on || (k == CUT_BEHIND && s == DOT) ? 2 : 1);
    if (goes_on) {
        assert_int_equal(t->result[1].end, RMD_SMTP_ACCEPTED);
        assert_int_equal(t->s.accepted, k == FINE ? 2 : 1);
        assert_int_equal(t->rsets, k != FINE && (s == RCPT || s == DATA || (s == DOT && is_bdat(t->s.mode))));
        assert_int_equal(t->close.end, RMD_SMTP_UNUSED);
    }
}

static void check(const struct talk *t) {
    enum stage s = t->s.stage;
    enum kind k = t->s.kind;
    if (s == QUIT) { /* all is delivered, whatever is said of it */
        assert_int_equal(t->done, 2);
        assert_int_equal(t->s.accepted, 2);
        assert_int_equal(t->close.end, RMD_SMTP_UNUSED);
    } else if (k == EARLY) {
        /* what ended() asserts, and no more: it may be noticed at once, or by a reply that no such command has */
    } else if (k == CUT_BEHIND && s < MAIL) { /* it was ready, or nearly */
        assert_int_equal(t->s.accepted, 0);
    } else if (s < MAIL && k != FINE) {
        check_before(t);
    } else {
        check_message(t);
    }
}

static void every_mode_stage_and_trouble(void **state) {
    (void)state;
    struct rmd_rng rng;
    rmd_rng_seed(&rng, 5321);
    for (int m = 0; m < MODES; m++)
        for (int s = 0; s < STAGES; s++)
            for (int k = 0; k < KINDS; k++)
                for (int cuts = 0; cuts < 3 && happens((enum mode)m, (enum stage)s); cuts++) {
                    /* A server off by one reply is caught by 354, and without DATA by nothing that the protocol has. */
                    if (k == EARLY && is_bdat((enum mode)m) && s > GREETING)
                        continue;
                    struct talk t = {.s = {.mode = (enum mode)m, .stage = (enum stage)s, .kind = (enum kind)k},
                                     .cuts = cuts ? &rng : NULL};
                    print_message("%s, %s: %s%s\n", mode_names[m], stage_names[s], kind_names[k],
                                  cuts ? ", in pieces" : "");
                    run(&t);
                    check(&t);
                    end(&t);
                }
}

/* RSET comes behind a refusal that was told: nothing of a message is at stake, only the connection. */
static void trouble_with_rset_costs_the_connection_alone(void **state) {
    (void)state;
    for (int m = 0; m < MODES; m++)
        for (int k = LATER; k < KINDS; k++) {
            struct talk t = {.s = {.mode = (enum mode)m, .stage = RCPT, .kind = NO, .at_rset = (enum kind)k}};
            run(&t);
            print_message("%s, RSET: %s\n", mode_names[m], kind_names[k]);
            assert_int_equal(t.result[0].end, RMD_SMTP_REFUSED);
            assert_int_equal(t.result[0].reply.stage, RMD_STAGE_RCPT);
            assert_int_equal(t.close.own, is_own((enum kind)k) || k == CUT_BEHIND || k == EARLY);
            assert_int_equal(t.close.end, RMD_SMTP_UNUSED);
            if (k == CUT_BEHIND) /* the next message was under way */
                assert_int_equal(t.result[1].end, m == AHEAD ? RMD_SMTP_UNCERTAIN : RMD_SMTP_FAILED);
            else
                assert_int_equal(t.done, 1);
            assert_int_equal(t.s.accepted, 0);
            end(&t);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_stage_and_trouble),
        cmocka_unit_test(trouble_with_rset_costs_the_connection_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
