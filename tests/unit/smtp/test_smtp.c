/* The SMTP client against a scripted server: every stage times every way to answer, replies whole and byte by byte,
 * with and without PIPELINING; then the traps. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/smtp_internal.h"
#include "tests/kit/smtp_kit.h"

enum kind { OK, LATER, NO, GO_AWAY, CUT, SILENT, GARBAGE, KINDS };
static const char *const kind_names[] = {"ok", "4xx", "5xx", "421", "close", "timeout", "garbage"};
enum stage { GREETING, EHLO, MAIL, RCPT, DATA, DOT, STAGES };
static const char *const stage_names[] = {"greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"};
static const enum rmd_stage stage_values[] = {RMD_STAGE_GREETING, RMD_STAGE_EHLO, RMD_STAGE_MAIL,
                                              RMD_STAGE_RCPT,     RMD_STAGE_DATA, RMD_STAGE_DOT};

struct talk {
    struct rmd_smtp *c;
    int64_t now;
    bool untold; /* that what was handed out has left */
    bool bytewise, in_content, mailed, broken;
    enum stage at;
    enum kind kind;
    const char *ehlo;                        /* instead of the usual one */
    const char *(*answer)(const char *line); /* overrides; NULL: the usual answer */
    struct rmd_buf heard, reply, command;    /* what the client sent; what waits to be fed */
    int done, closed, idle, mails;
    struct rmd_smtp_result result, close;
    char text[RMD_REPLY_TEXT_MAX + 1];
    const char *message;
};

static const char *usual(struct talk *t, enum stage s, const char *ok) {
    if (t->at != s)
        return ok;
    switch (t->kind) {
    case OK:
        return ok;
    case LATER:
        return "450-4.7.1 wait\r\n450 4.7.1 a while\r\n";
    case NO:
        return s == EHLO ? "502 5.5.1 not implemented\r\n" : "550 5.7.1 no\r\n";
    case GO_AWAY:
        return "421 4.3.2 closing\r\n";
    case GARBAGE:
        return "hello world\r\n";
    default:
        t->broken = true;
        return "";
    }
}

static void say(struct talk *t, const char *s) {
    if (!t->broken || !*s)
        rmd_buf_addstr(&t->reply, s);
}

static void line(struct talk *t, const char *l) {
    const char *special = t->answer ? t->answer(l) : NULL;
    if (t->broken)
        return;
    if (special)
        say(t, special);
    else if (!strncmp(l, "EHLO", 4))
        say(t, usual(t, EHLO, t->ehlo));
    else if (!strncmp(l, "HELO", 4))
        say(t, "250 fine\r\n");
    else if (!strncmp(l, "MAIL", 4))
        say(t, usual(t, MAIL, "250 2.1.0 ok\r\n"));
    else if (!strncmp(l, "RCPT", 4))
        say(t, t->at == MAIL && t->kind != OK ? "503 no sender\r\n" : usual(t, RCPT, "250 2.1.5 ok\r\n"));
    else if (!strcmp(l, "DATA"))
        say(t, (t->at == MAIL || t->at == RCPT) && t->kind != OK ? "554 no recipient\r\n"
                                                                 : usual(t, DATA, "354 go\r\n"));
    else
        say(t, "250 ok\r\n");
}

static void hear(struct talk *t, struct rmd_slice b, bool dot) {
    rmd_buf_add(&t->heard, b.p, b.n);
    if (dot) {
        assert_true(b.n >= 3 && !memcmp(b.p + b.n - 3, ".\r\n", 3));
        say(t, usual(t, DOT, "250 2.0.0 queued\r\n"));
        return;
    }
    for (size_t i = 0; i < b.n; i++) {
        rmd_buf_addc(&t->command, (char)b.p[i]);
        if (b.p[i] != '\n')
            continue;
        rmd_buf_truncate(&t->command, t->command.len - 2);
        line(t, rmd_buf_str(&t->command));
        rmd_buf_clear(&t->command);
    }
}

static void begin(struct talk *t, enum rmd_smtp_tls tls) {
    struct rmd_smtp_options o = {.helo = "out.example.org", .tls = tls};
    t->c = rmd_smtp_new(&o, t->now);
    if (!t->ehlo)
        t->ehlo = "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
    if (!t->message)
        t->message = "Subject: x\r\n\r\n.dot\r\nend\r\n";
    t->mails = t->mails ? t->mails : 1;
    say(t, usual(t, GREETING, "220-mx\r\n220 ready\r\n"));
}

static void keep(struct talk *t, struct rmd_smtp_result *to, const struct rmd_smtp_result *r) {
    *to = *r;
    rmd_copy_slice(t->text, sizeof t->text, r->reply.text);
}

/* Takes actions; false when the conversation is over. */
static bool act(struct talk *t) {
    for (int i = 0; i < 1000; i++) {
        struct rmd_smtp_action a = rmd_smtp_next(t->c, t->now);
        enum rmd_own_error why;
        switch (a.kind) {
        case RMD_SMTP_NOTHING:
            return true;
        case RMD_SMTP_SEND:
            hear(t, a.bytes, a.dot);
            if (!t->untold)
                rmd_smtp_sent(t->c, t->now);
            break;
        case RMD_SMTP_START_TLS:
            rmd_smtp_tls_done(t->c, true, "TLSv1.3", t->now);
            break;
        case RMD_SMTP_IDLE:
            t->idle++;
            if (!t->mails)
                return false;
            t->mails--;
            assert_int_equal(rmd_smtp_mail(t->c,
                                           &(struct rmd_smtp_mail){.mail_from = "b+x@r.example.org",
                                                                   .rcpt_to = "u@example.net",
                                                                   .size = strlen(t->message)},
                                           &why, t->now),
                             RMD_OK);
            break;
        case RMD_SMTP_NEED_CONTENT:
            kit_smtp_content(t->c, rmd_slice_str(t->message), t->now);
            break;
        case RMD_SMTP_DONE:
            t->done++;
            keep(t, &t->result, &a.result);
            break;
        case RMD_SMTP_CLOSE:
            t->closed++;
            keep(t, &t->close, &a.result);
            return false;
        }
    }
    fail_msg("the client doesn't come to rest");
    return false;
}

static void talk(struct talk *t) {
    for (int i = 0; i < 20000 && act(t); i++) {
        if (t->reply.len) {
            size_t n = t->bytewise ? 1 : t->reply.len;
            struct rmd_buf copy = {0}; /* exactly these bytes, so that a sanitizer sees a read past them */
            rmd_buf_add(&copy, t->reply.p, n);
            rmd_buf_consume(&t->reply, n);
            rmd_smtp_bytes(t->c, rmd_buf_slice(&copy), t->now);
            rmd_buf_release(&copy);
        } else if (t->broken && t->kind == CUT) {
            rmd_smtp_lost(t->c, "connection reset", t->now);
        } else {
            assert_true(rmd_smtp_deadline(t->c) != RMD_NEVER);
            rmd_smtp_timeout(t->c, rmd_smtp_deadline(t->c) - 1); /* not yet */
            assert_int_equal(rmd_smtp_next(t->c, t->now).kind, RMD_SMTP_NOTHING);
            t->now = rmd_smtp_deadline(t->c);
            rmd_smtp_timeout(t->c, t->now);
        }
    }
}

static void end(struct talk *t) {
    rmd_smtp_free(t->c);
    rmd_buf_release(&t->heard);
    rmd_buf_release(&t->reply);
    rmd_buf_release(&t->command);
}

static enum rmd_own_error error_of(enum kind k) {
    return k == CUT ? RMD_OWN_CONNECTION_LOST : k == SILENT ? RMD_OWN_REPLY_TIMEOUT : RMD_OWN_REPLY_MALFORMED;
}

static void check(const struct talk *t, enum stage s, enum kind k, bool pipelined) {
    bool before = s == GREETING || s == EHLO;
    if (k == OK || (s == EHLO && k == NO)) { /* EHLO refused: HELO does */
        assert_int_equal(t->done, 1);
        assert_int_equal(t->result.end, RMD_SMTP_ACCEPTED);
        assert_int_equal(t->closed, 0);
        assert_true(k == OK ||
                    strstr(rmd_buf_str(&t->heard), "HELO out.example.org\r\nMAIL FROM:<b+x@r.example.org>\r\n"));
        return;
    }
    const struct rmd_smtp_result *r = before ? &t->close : &t->result;
    bool own = k >= CUT;
    assert_int_equal(t->done, !before);
    assert_int_equal(r->own, own);
    assert_int_equal(r->reply.stage, stage_values[s]);
    if (own) {
        assert_int_equal(r->end, s == DOT ? RMD_SMTP_UNCERTAIN : RMD_SMTP_FAILED);
        assert_int_equal(r->error, error_of(k));
        assert_int_equal(r->reply.code, 0);
    } else {
        assert_int_equal(r->end, RMD_SMTP_REFUSED);
        assert_int_equal(r->reply.code, k == LATER ? 450 : k == NO ? 550 : 421);
        assert_string_equal(r->reply.enhanced, k == LATER ? "4.7.1" : k == NO ? "5.7.1" : "4.3.2");
        if (!t->closed && k == LATER)
            assert_string_equal(t->text, "450-4.7.1 wait\n450 4.7.1 a while");
        assert_int_equal(r->connection_refusal, before || k == GO_AWAY);
    }
    assert_int_equal(r->rcpts, before ? 0 : pipelined || s >= RCPT ? 1 : 0);
    bool closes = before || own || k == GO_AWAY;
    assert_int_equal(t->closed, closes);
    assert_int_equal(t->idle, closes ? !before : 2); /* reusable after a refusal */
}

static void every_stage_every_answer(void **state) {
    (void)state;
    for (int s = 0; s < STAGES; s++)
        for (int k = 0; k < KINDS; k++)
            for (int variant = 0; variant < 4; variant++) {
                bool pipelined = variant & 1;
                struct talk t = {.at = (enum stage)s, .kind = (enum kind)k, .bytewise = variant & 2};
                if (!pipelined)
                    t.ehlo = "250-mx\r\n250 8BITMIME\r\n";
                begin(&t, RMD_TLS_OPPORTUNISTIC);
                talk(&t);
                print_message("%s %s%s%s\n", stage_names[s], kind_names[k], pipelined ? " pipelined" : "",
                              t.bytewise ? " bytewise" : "");
                check(&t, (enum stage)s, (enum kind)k, pipelined);
                end(&t);
            }
}

/* --- traps */

static const char *rcpt_no_data_yes(const char *l) {
    return !strncmp(l, "RCPT", 4) ? "550 5.1.1 unknown\r\n"
           : !strcmp(l, "DATA")   ? "354 go\r\n"
           : !strcmp(l, ".")      ? "554 no\r\n"
                                  : NULL;
}

static void lone_dot_after_refused_recipient(void **state) {
    (void)state;
    struct talk t = {.answer = rcpt_no_data_yes, .mails = 2};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    assert_int_equal(t.done, 2); /* the connection went on */
    assert_int_equal(t.result.end, RMD_SMTP_REFUSED);
    assert_int_equal(t.result.reply.stage, RMD_STAGE_RCPT);
    assert_int_equal(t.closed, 0);
    assert_non_null(strstr(rmd_buf_str(&t.heard), "DATA\r\n.\r\nMAIL"));
    assert_null(strstr(rmd_buf_str(&t.heard), "Subject"));
    end(&t);
}

static const char *mail_no_rest_yes(const char *l) {
    return !strncmp(l, "MAIL", 4) ? "451 4.7.1 later\r\n" : NULL;
}

static void no_dot_into_an_accepted_recipient(void **state) {
    (void)state;
    struct talk t = {.answer = mail_no_rest_yes};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    assert_int_equal(t.result.end, RMD_SMTP_REFUSED);
    assert_int_equal(t.result.reply.stage, RMD_STAGE_MAIL);
    assert_int_equal(t.closed, 1);
    assert_int_equal(t.close.error, RMD_OWN_REPLY_MALFORMED);
    assert_null(strstr(rmd_buf_str(&t.heard), "\r\n.\r\n"));
    end(&t);
}

static const char *blocked_at_ehlo(const char *l) {
    return !strncmp(l, "EHLO", 4) ? "554 5.7.1 blocked\r\n" : NULL;
}

static void a_block_at_ehlo_is_no_lack_of_extensions(void **state) {
    (void)state;
    struct talk t = {.answer = blocked_at_ehlo};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    assert_int_equal(t.done, 0);
    assert_int_equal(t.closed, 1);
    assert_int_equal(t.close.reply.stage, RMD_STAGE_EHLO);
    assert_true(t.close.connection_refusal);
    assert_null(strstr(rmd_buf_str(&t.heard), "HELO out"));
    end(&t);
}

static const char *rcpt_no(const char *l) {
    return !strncmp(l, "RCPT", 4) ? "550 5.1.1 unknown\r\n" : !strcmp(l, "DATA") ? "503 5.5.1 no\r\n" : NULL;
}

static void rset_clears_a_refused_transaction(void **state) {
    (void)state;
    struct talk t = {.answer = rcpt_no, .mails = 2, .bytewise = true};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    assert_int_equal(t.done, 2);
    assert_non_null(strstr(rmd_buf_str(&t.heard), "DATA\r\nRSET\r\nMAIL"));
    assert_int_equal(t.result.reply.code, 550);
    end(&t);
}

static const char *starttls(const char *l) {
    static int ehlos;
    if (!strncmp(l, "EHLO", 4))
        return ++ehlos % 2 ? "250-mx\r\n250 STARTTLS\r\n" : "250-mx\r\n250 PIPELINING\r\n";
    return !strcmp(l, "STARTTLS") ? "220 go\r\n250-injected\r\n250 SIZE 1\r\n" : NULL;
}

static void starttls_drops_injected_bytes(void **state) {
    (void)state;
    struct talk t = {.answer = starttls};
    begin(&t, RMD_TLS_REQUIRED);
    talk(&t);
    assert_int_equal(t.result.end, RMD_SMTP_ACCEPTED);
    assert_true(rmd_smtp_is_tls(t.c));
    assert_true(rmd_smtp_ext(t.c)->pipelining && !rmd_smtp_ext(t.c)->size && !rmd_smtp_ext(t.c)->starttls);
    end(&t);
}

static const char *starttls_refused(const char *l) {
    if (!strncmp(l, "EHLO", 4))
        return "250-mx\r\n250 STARTTLS\r\n";
    return !strcmp(l, "STARTTLS") ? "454 4.7.0 not now\r\n" : NULL;
}

static void tls_policies(void **state) {
    (void)state;
    struct talk none = {.at = GREETING}, refused = {.answer = starttls_refused},
                required = {.answer = starttls_refused};
    begin(&none, RMD_TLS_REQUIRED);
    talk(&none);
    assert_int_equal(none.close.end, RMD_SMTP_FAILED);
    assert_int_equal(none.close.error, RMD_OWN_TLS_NOT_OFFERED);
    begin(&refused, RMD_TLS_OPPORTUNISTIC);
    talk(&refused);
    assert_int_equal(refused.result.end, RMD_SMTP_ACCEPTED);
    begin(&required, RMD_TLS_REQUIRED);
    talk(&required);
    assert_int_equal(required.close.end, RMD_SMTP_REFUSED);
    assert_int_equal(required.close.reply.stage, RMD_STAGE_STARTTLS);
    assert_true(required.close.connection_refusal);
    end(&none);
    end(&refused);
    end(&required);
}

/* A greeting, fed as it is; what the connection ends as. */
static void ends_as(const char *bytes, size_t n, enum rmd_own_error error, int code) {
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        struct talk t = {.at = GREETING, .kind = SILENT, .bytewise = bytewise};
        begin(&t, RMD_TLS_NEVER);
        rmd_buf_add(&t.reply, bytes, n);
        talk(&t);
        assert_int_equal(t.closed, 1);
        assert_int_equal(t.close.own, code == 0);
        if (!code)
            assert_int_equal(t.close.error, error);
        assert_int_equal(t.close.reply.code, code);
        end(&t);
    }
}

static void malformed_replies(void **state) {
    (void)state;
    struct rmd_buf b = {0};
#define LIT(s) s, sizeof(s) - 1
    ends_as(LIT("220-a\r\n221 b\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("99\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("120 hm\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("220ready\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("HTTP/1.1 400 Bad Request\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("\0\0\0\r\n"), RMD_OWN_REPLY_MALFORMED, 0);
    ends_as(LIT("220 "), RMD_OWN_REPLY_TIMEOUT, 0); /* drips and stops */
    ends_as(LIT("554-a\0b\r\n554\r\n"), RMD_OWN_REPLY_MALFORMED, 554);
    for (int i = 0; i < 5000; i++)
        rmd_buf_addc(&b, 'x');
    ends_as(rmd_buf_str(&b), b.len, RMD_OWN_REPLY_MALFORMED, 0); /* floods without a line end */
    rmd_buf_clear(&b);
    for (int i = 0; i < 101; i++)
        rmd_buf_addstr(&b, "220-more\r\n");
    ends_as(rmd_buf_str(&b), b.len, RMD_OWN_REPLY_MALFORMED, 0);
    rmd_buf_clear(&b);
    for (int i = 0; i < 99; i++)
        rmd_buf_addstr(&b, "554-more and more and more and more\r\n");
    rmd_buf_addstr(&b, "554 end\r\n");
    ends_as(rmd_buf_str(&b), b.len, RMD_OWN_REPLY_MALFORMED, 554); /* many lines, kept within the limit */
    rmd_buf_release(&b);
}

static void replies_before_their_command(void **state) {
    (void)state;
    struct talk t = {.at = GREETING, .kind = SILENT};
    begin(&t, RMD_TLS_NEVER);
    rmd_buf_addstr(&t.reply, "220 ready\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n");
    talk(&t);
    assert_int_equal(t.done, 0);
    assert_int_equal(t.close.error, RMD_OWN_REPLY_MALFORMED);
    end(&t);
    struct talk dot = {.mails = 1};
    dot.at = DATA;
    dot.kind = SILENT;
    begin(&dot, RMD_TLS_NEVER);
    dot.broken = false;
    for (int i = 0; i < 10 && act(&dot) && dot.reply.len; i++) {
        struct rmd_buf copy = dot.reply;
        dot.reply = (struct rmd_buf){0};
        rmd_smtp_bytes(dot.c, rmd_buf_slice(&copy), dot.now);
        rmd_buf_release(&copy);
    }
    rmd_smtp_bytes(dot.c, rmd_slice_str("354 go\r\n250 2.0.0 already queued\r\n"), dot.now);
    act(&dot);
    assert_int_equal(dot.done, 1); /* an acceptance of what was never sent is none */
    assert_int_equal(dot.result.end, RMD_SMTP_FAILED);
    assert_int_equal(dot.result.error, RMD_OWN_REPLY_MALFORMED);
    end(&dot);
}

static void a_421_while_idle(void **state) {
    (void)state;
    struct talk t = {0};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    rmd_smtp_bytes(t.c, rmd_slice_str("421 4.4.2 idle too "), t.now);
    assert_int_equal(rmd_smtp_next(t.c, t.now).kind, RMD_SMTP_IDLE);
    rmd_smtp_bytes(t.c, rmd_slice_str("long\r\n"), t.now);
    struct rmd_smtp_action a = rmd_smtp_next(t.c, t.now);
    assert_int_equal(a.kind, RMD_SMTP_CLOSE);
    assert_int_equal(a.result.end, RMD_SMTP_UNUSED);
    assert_int_equal(a.result.reply.code, 421);
    end(&t);
}

static void half_a_reply_isnt_paired(void **state) {
    (void)state;
    struct talk t = {0};
    enum rmd_own_error why;
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    rmd_smtp_bytes(t.c, rmd_slice_str("25"), t.now);
    struct rmd_smtp_mail m = {.mail_from = "", .rcpt_to = "u@example.net"};
    assert_int_equal(rmd_smtp_mail(t.c, &m, &why, t.now), RMD_OK);
    act(&t);
    assert_int_equal(t.result.end, RMD_SMTP_FAILED);
    assert_int_equal(t.result.rcpts, 0);
    end(&t);
}

static void content_is_dot_stuffed(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"a\r\n.b\r\n..c\r\nd.e\r\n", "a\r\n..b\r\n...c\r\nd.e\r\n.\r\n"},
        {".", "..\r\n.\r\n"},
        {"no end", "no end\r\n.\r\n"},
        {"", ".\r\n"},
        {"x\r\n.\r\n", "x\r\n..\r\n.\r\n"},
        {"\r\n.\r\n.\r\n", "\r\n..\r\n..\r\n.\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct talk t = {.message = rows[i][0]};
        begin(&t, RMD_TLS_NEVER);
        talk(&t);
        const char *sent = strstr(rmd_buf_str(&t.heard), "DATA\r\n");
        assert_non_null(sent);
        assert_string_equal(sent + 6, rows[i][1]);
        end(&t);
    }
}

static void what_a_server_cannot_carry(void **state) {
    (void)state;
    struct talk t = {.ehlo = "250-mx\r\n250 SIZE 1000\r\n"};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    static const struct {
        struct rmd_smtp_mail m;
        enum rmd_own_error why;
    } rows[] = {
        {{.mail_from = "a@b.c", .rcpt_to = "d@e.f", .size = 1001}, RMD_OWN_SIZE_EXCEEDED},
        {{.mail_from = "a@b.c", .rcpt_to = "d@e.f", .eightbit = true}, RMD_OWN_NO_8BITMIME},
        {{.mail_from = "a@b.c", .rcpt_to = "\xc3\xbc@e.f", .smtputf8 = true}, RMD_OWN_NO_SMTPUTF8},
        {{.mail_from = "a@b.c", .rcpt_to = "d@e.f", .requiretls = true}, RMD_OWN_NO_REQUIRETLS},
        {{.mail_from = "a@b.c", .rcpt_to = "d@e.f\r\nRCPT TO:<x@y.z>"}, RMD_OWN_RENDER_FAILED},
        {{.mail_from = "a@b.c> SIZE=1", .rcpt_to = "d@e.f"}, RMD_OWN_RENDER_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum rmd_own_error why;
        assert_int_equal(rmd_smtp_mail(t.c, &rows[i].m, &why, t.now), RMD_EUNSUPPORTED);
        assert_int_equal(why, rows[i].why);
        assert_int_equal(rmd_smtp_next(t.c, t.now).kind, RMD_SMTP_IDLE);
    }
    end(&t);
}

static void parameters_of_mail_and_rcpt(void **state) {
    (void)state;
    static const char all[] =
        "250-mx\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-REQUIRETLS\r\n250 DSN\r\n";
    static const struct {
        const char *ehlo;
        struct rmd_smtp_mail m;
        const char *sent;
    } rows[] = {
        {NULL,
         {.mail_from = "a@b.c", .rcpt_to = "\"odd name\"@e.f", .size = 1234, .eightbit = true, .smtputf8 = true},
         "MAIL FROM:<a@b.c> SIZE=1234 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<\"odd name\"@e.f>\r\nDATA\r\n"},
        {NULL, /* DSN isn't offered */
         {.mail_from = "a@b.c", .rcpt_to = "d@e.f", .notify = "FAILURE", .envid = "x"},
         "MAIL FROM:<a@b.c> SIZE=0\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"},
        {all,
         {.mail_from = "a@b.c", .rcpt_to = "d@e.f", .requiretls = true},
         "MAIL FROM:<a@b.c> SIZE=0 REQUIRETLS\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"},
        {all, /* xtext: RFC 3461 section 4 */
         {.mail_from = "a@b.c", .rcpt_to = "\"a b\"+l=x@e.f", .notify = "NEVER", .envid = "7-a+b=c"},
         "MAIL FROM:<a@b.c> SIZE=0 RET=HDRS ENVID=7-a+2Bb+3Dc\r\n"
         "RCPT TO:<\"a b\"+l=x@e.f> NOTIFY=NEVER ORCPT=rfc822;\"a+20b\"+2Bl+3Dx@e.f\r\nDATA\r\n"},
        {all,
         {.mail_from = "", .rcpt_to = "\xc3\xbc@e.f", .smtputf8 = true, .eightbit = true, .notify = "FAILURE,DELAY"},
         "MAIL FROM:<> SIZE=0 BODY=8BITMIME SMTPUTF8 RET=HDRS\r\n"
         "RCPT TO:<\xc3\xbc@e.f> NOTIFY=FAILURE,DELAY\r\nDATA\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct talk t = {.ehlo = rows[i].ehlo};
        enum rmd_own_error why;
        begin(&t, RMD_TLS_NEVER);
        talk(&t);
        rmd_buf_clear(&t.heard);
        assert_int_equal(rmd_smtp_mail(t.c, &rows[i].m, &why, t.now), RMD_OK);
        act(&t);
        assert_string_equal(rmd_buf_str(&t.heard), rows[i].sent);
        end(&t);
    }
}

static void aborting(void **state) {
    (void)state;
    struct talk t = {.at = RCPT, .kind = SILENT}, dot = {.at = DOT, .kind = SILENT};
    begin(&t, RMD_TLS_NEVER);
    while (act(&t) && t.reply.len) {
        rmd_smtp_bytes(t.c, rmd_buf_slice(&t.reply), t.now);
        rmd_buf_clear(&t.reply);
    }
    rmd_smtp_abort(t.c, RMD_OWN_DEADLINE, t.now);
    act(&t);
    assert_int_equal(t.result.end, RMD_SMTP_FAILED);
    assert_int_equal(t.result.error, RMD_OWN_DEADLINE);
    assert_int_equal(t.closed, 1);
    begin(&dot, RMD_TLS_NEVER);
    while (act(&dot) && dot.reply.len) {
        rmd_smtp_bytes(dot.c, rmd_buf_slice(&dot.reply), dot.now);
        rmd_buf_clear(&dot.reply);
    }
    rmd_smtp_abort(dot.c, RMD_OWN_DEADLINE, dot.now);
    act(&dot);
    assert_int_equal(dot.result.end, RMD_SMTP_UNCERTAIN);
    end(&t);
    end(&dot);
}

/* Thousands of connections wait at the same time, mostly for the reply to their content. */
static void content_that_left_is_not_kept(void **state) {
    (void)state;
    char *message = rmd_alloc(20001);
    memset(message, 'x', 20000);
    struct talk t = {.message = message, .at = DOT, .kind = SILENT};
    begin(&t, RMD_TLS_NEVER);
    for (int i = 0; i < 100 && t.c->state != RMD_SMTP_STATE_DOT; i++) {
        assert_true(act(&t));
        rmd_smtp_bytes(t.c, rmd_buf_slice(&t.reply), t.now);
        rmd_buf_clear(&t.reply);
    }
    assert_int_equal(t.c->state, RMD_SMTP_STATE_DOT);
    assert_true(act(&t));
    assert_true(t.heard.len > 20000);
    assert_true(t.c->out.cap < 1000);
    free(message);
    end(&t);
}

static void content_is_not_kept_when_its_reply_comes_first(void **state) {
    (void)state;
    char *message = rmd_alloc(20001);
    memset(message, 'x', 20000);
    struct talk t = {.message = message, .untold = true};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    assert_int_equal(t.result.end, RMD_SMTP_ACCEPTED);
    assert_true(t.heard.len > 20000);
    assert_true(t.c->out.cap < 1100);
    rmd_smtp_sent(t.c, t.now); /* late, and harmless */
    assert_int_equal(rmd_smtp_next(t.c, t.now).kind, RMD_SMTP_IDLE);
    free(message);
    end(&t);
}

static void quitting(void **state) {
    (void)state;
    struct talk t = {0};
    begin(&t, RMD_TLS_NEVER);
    talk(&t);
    rmd_smtp_quit(t.c, t.now);
    struct rmd_smtp_action a = rmd_smtp_next(t.c, t.now);
    assert_int_equal(a.kind, RMD_SMTP_SEND);
    assert_memory_equal(a.bytes.p, "QUIT\r\n", 6);
    rmd_smtp_bytes(t.c, rmd_slice_str("221 bye\r\n"), t.now);
    assert_int_equal(rmd_smtp_next(t.c, t.now).kind, RMD_SMTP_CLOSE);
    assert_int_equal(rmd_smtp_next(t.c, t.now).kind, RMD_SMTP_NOTHING);
    end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stage_every_answer),
        cmocka_unit_test(lone_dot_after_refused_recipient),
        cmocka_unit_test(no_dot_into_an_accepted_recipient),
        cmocka_unit_test(a_block_at_ehlo_is_no_lack_of_extensions),
        cmocka_unit_test(rset_clears_a_refused_transaction),
        cmocka_unit_test(starttls_drops_injected_bytes),
        cmocka_unit_test(tls_policies),
        cmocka_unit_test(malformed_replies),
        cmocka_unit_test(replies_before_their_command),
        cmocka_unit_test(a_421_while_idle),
        cmocka_unit_test(half_a_reply_isnt_paired),
        cmocka_unit_test(content_is_dot_stuffed),
        cmocka_unit_test(what_a_server_cannot_carry),
        cmocka_unit_test(parameters_of_mail_and_rcpt),
        cmocka_unit_test(aborting),
        cmocka_unit_test(content_that_left_is_not_kept),
        cmocka_unit_test(content_is_not_kept_when_its_reply_comes_first),
        cmocka_unit_test(quitting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
