/* The SMTP client's timeouts (RFC 5321, section 4.5.3.2): a conversation walks through every state, each timeout has a
 * value that no other has, and in each state the deadline is that state's, counted from when it was entered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/smtp_state.h"
#include "tests/kit/smtp_kit.h"

static const struct rmd_smtp_timeouts_ms distinct = {.greeting = 101000,
                                                     .helo = 102000,
                                                     .starttls = 103000,
                                                     .mail = 104000,
                                                     .rcpt = 105000,
                                                     .data = 106000,
                                                     .block = 107000,
                                                     .dot = 108000,
                                                     .rset = 109000,
                                                     .quit = 110000};

/* What is done, and the state and timeout that it leads to. "" is the start. "!" words are the owner's: mail, content, sent,
 * tls, quit; anything else is a reply. 0: no deadline. */
struct step {
    const char *say, *state;
    int64_t ms;
};
struct walk {
    const char *title;
    enum rmd_smtp_tls tls;
    struct step step[24];
};

static const struct walk walks[] = {
    {"everything, command by command",
     RMD_TLS_OPPORTUNISTIC,
     {{"", "GREETING", 101000},
      {"220 mx\r\n", "EHLO", 102000},
      {"502 5.5.1 what\r\n", "HELO", 102000},
      {"250 mx\r\n", "READY", 0},
      {"!mail", "MAIL", 104000},
      {"250 ok\r\n", "RCPT", 105000},
      {"250 ok\r\n", "DATA", 106000},
      {"354 go\r\n", "CONTENT", 107000},
      {"!content", "DOT", 0}, /* the block timer: see below */
      {"!sent", "DOT", 108000},
      {"250 queued\r\n", "READY", 0},
      {"!mail", "MAIL", 104000},
      {"250 ok\r\n", "RCPT", 105000},
      {"550 no\r\n", "RSET", 109000},
      {"250 ok\r\n", "READY", 0},
      {"!quit", "QUIT", 110000},
      {"221 bye\r\n", "CLOSED", 0}}},
    {"STARTTLS, then a group of commands",
     RMD_TLS_REQUIRED,
     {{"", "GREETING", 101000},
      {"220 mx\r\n", "EHLO", 102000},
      {"250-mx\r\n250 STARTTLS\r\n", "STARTTLS", 103000},
      {"220 go\r\n", "TLS", 103000},
      {"!tls", "EHLO", 102000},
      {"250-mx\r\n250 PIPELINING\r\n", "READY", 0},
      {"!mail", "MAIL", 104000},
      {"250 ok\r\n", "RCPT", 105000},
      {"250 ok\r\n", "DATA", 106000},
      {"354 go\r\n", "CONTENT", 107000},
      {"!content", "DOT", 0},
      {"!sent", "DOT", 108000},
      {"250 queued\r\n", "READY", 0},
      {"!mail", "MAIL", 104000},
      {"250 ok\r\n", "RCPT", 105000},
      {"550 no\r\n", "DATA", 106000},
      {"354 go on then\r\n", "VOID", 108000}, /* a lone dot, and its answer may take as long as any dot's */
      {"554 no recipients\r\n", "READY", 0}}},
};

struct talk {
    struct rmd_smtp *c;
    int64_t now;
    bool seen[RMD_SMTP_STATE_COUNT];
};

static void actions(struct talk *t) {
    for (;;) {
        struct rmd_smtp_action a = rmd_smtp_next(t->c, t->now);
        if (a.kind == RMD_SMTP_NOTHING || a.kind == RMD_SMTP_IDLE || a.kind == RMD_SMTP_NEED_CONTENT ||
            a.kind == RMD_SMTP_CLOSE)
            return;
    }
}

static void take(struct talk *t, const char *say) {
    static const struct rmd_smtp_mail mail = {.mail_from = "b@r.example", .rcpt_to = "u@g.test", .size = 100};
    enum rmd_own_error why;
    if (!*say)
        return;
    if (!strcmp(say, "!mail"))
        assert_int_equal(rmd_smtp_mail(t->c, &mail, &why, t->now), RMD_OK);
    else if (!strcmp(say, "!content"))
        kit_smtp_content(t->c, rmd_slice_str("Subject: x\r\n\r\nx\r\n"), t->now);
    else if (!strcmp(say, "!sent"))
        rmd_smtp_sent(t->c, t->now);
    else if (!strcmp(say, "!tls"))
        rmd_smtp_tls_done(t->c, true, "", t->now);
    else if (!strcmp(say, "!quit"))
        rmd_smtp_quit(t->c, t->now);
    else
        rmd_smtp_bytes(t->c, rmd_slice_str(say), t->now);
}

static void saw(struct talk *t) {
#define NAME(id, stage, timeout, text, next) #id,
    static const char *const names[] = {RMD_SMTP_STATES(NAME)};
#undef NAME
    for (size_t i = 0; i < RMD_SMTP_STATE_COUNT; i++)
        t->seen[i] = t->seen[i] || !strcmp(names[i], rmd_smtp_state_name(t->c));
}

static void each_state_has_its_own_timeout(void **state) {
    (void)state;
    struct talk t = {.now = 5000000};
    for (size_t i = 0; i < sizeof walks / sizeof walks[0]; i++) {
        const struct walk *w = &walks[i];
        struct rmd_smtp_options o = {.helo = "out.example.org", .tls = w->tls, .timeouts = &distinct};
        t.c = rmd_smtp_new(&o, t.now);
        for (const struct step *s = w->step; s->say; s++) {
            t.now += *s->say ? 1000 : 0;
            take(&t, s->say);
            actions(&t);
            assert_string_equal(rmd_smtp_state_name(t.c), s->state);
            saw(&t);
            int64_t left = rmd_smtp_deadline(t.c) == RMD_NEVER ? 0 : rmd_smtp_deadline(t.c) - t.now;
            if (!strcmp(s->say, "!content")) /* until the kernel has it all: a block's time for each MiB */
                assert_int_equal(left, 107000);
            else if (left != s->ms)
                fail_msg("%s: %s waits %lld ms, not %lld", w->title, s->state, (long long)left, (long long)s->ms);
        }
        rmd_smtp_free(t.c);
    }
    for (size_t i = 0; i < RMD_SMTP_STATE_COUNT; i++)
        assert_true(t.seen[i]);
}

/* None ends before its time; then each ends the connection. */
static void a_timeout_ends_at_its_deadline(void **state) {
    (void)state;
    for (size_t n = 1; n < sizeof walks[0].step / sizeof walks[0].step[0] && walks[0].step[n - 1].say; n++) {
        struct rmd_smtp_options o = {.helo = "out.example.org", .timeouts = &distinct};
        struct talk t = {.c = rmd_smtp_new(&o, 5000000), .now = 5000000};
        for (size_t i = 0; i < n; i++) {
            take(&t, walks[0].step[i].say);
            actions(&t);
        }
        int64_t at = rmd_smtp_deadline(t.c);
        if (at != RMD_NEVER) {
            const char *before = rmd_smtp_state_name(t.c);
            rmd_smtp_timeout(t.c, at - 1);
            assert_string_equal(rmd_smtp_state_name(t.c), before);
            rmd_smtp_timeout(t.c, at);
            assert_string_equal(rmd_smtp_state_name(t.c), "CLOSED");
        }
        rmd_smtp_free(t.c);
    }
}

static void a_long_message_has_a_block_timeout_for_each_mib(void **state) {
    (void)state;
    struct rmd_smtp_options o = {.helo = "out.example.org", .timeouts = &distinct};
    struct talk t = {.c = rmd_smtp_new(&o, 5000000), .now = 5000000};
    struct rmd_buf big = {0};
    for (size_t i = 0; i < 3 << 14; i++)
        rmd_buf_addstr(&big, "12345678901234567890123456789012345678901234567890123456789012\r\n"); /* 64 bytes */
    for (const char *const *s = (const char *const[]){"220 mx\r\n", "250 mx\r\n", "!mail", "250 ok\r\n", "250 ok\r\n",
                                                      "354 go\r\n", NULL};
         *s; s++) {
        take(&t, *s);
        actions(&t);
    }
    kit_smtp_content(t.c, rmd_buf_slice(&big), t.now);
    actions(&t);
    assert_int_equal(rmd_smtp_deadline(t.c) - t.now, 4 * 107000);
    rmd_smtp_free(t.c);
    rmd_buf_release(&big);
}

/* The RFC's least values. */
static void the_defaults_are_the_rfcs(void **state) {
    (void)state;
    const struct rmd_smtp_timeouts_ms *t = &rmd_smtp_timeouts_rfc5321;
    const struct {
        int64_t ms, minutes;
    } row[] = {{t->greeting, 5}, {t->helo, 5}, {t->mail, 5}, {t->rcpt, 5}, {t->data, 2}, {t->block, 3}, {t->dot, 10}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        assert_int_equal(row[i].ms, row[i].minutes * 60000);
    assert_true(t->starttls >= 60000 && t->rset >= 60000 && t->quit > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_own_timeout),
        cmocka_unit_test(a_timeout_ends_at_its_deadline),
        cmocka_unit_test(a_long_message_has_a_block_timeout_for_each_mib),
        cmocka_unit_test(the_defaults_are_the_rfcs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
