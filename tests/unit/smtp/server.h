/* An SMTP server in memory that misbehaves once, and a conversation of two messages with it.
 *
 * The server knows what it accepted. Whatever happens: a message that it has is told as accepted or uncertain, one that it
 * hasn't never as accepted; only what left with its dot is uncertain. */
#ifndef REMUDA_TESTS_SMTP_SERVER_H
#define REMUDA_TESTS_SMTP_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>
#include <remuda/rng.h>

#include "node/core/smtp.h"
#include "tests/kit/smtp_kit.h"

enum mode { LOCKSTEP, PIPELINED, BDAT_LOCKSTEP, BDAT_PIPELINED, AHEAD, OVER_TLS, MODES };
static const char *const mode_names[MODES] = {"lockstep", "pipelined", "BDAT", "BDAT pipelined", "ahead", "TLS"};

/* Stages in the order of the conversation; RSET and QUIT come behind a refusal and at the end. */
enum stage { GREETING, EHLO, STARTTLS, MAIL, RCPT, DATA, DOT, RSET, QUIT, STAGES };
static const char *const stage_names[STAGES] = {"greeting", "EHLO", "STARTTLS", "MAIL", "RCPT",
                                                "DATA",     "dot",  "RSET",     "QUIT"};
static const enum rmd_stage stage_values[STAGES] = {RMD_STAGE_GREETING, RMD_STAGE_EHLO, RMD_STAGE_STARTTLS,
                                                    RMD_STAGE_MAIL,     RMD_STAGE_RCPT, RMD_STAGE_DATA,
                                                    RMD_STAGE_DOT,      RMD_STAGE_RSET, RMD_STAGE_QUIT};

enum kind {
    FINE,
    LATER,      /* 4xx, in several lines */
    NO,         /* 5xx */
    GO_AWAY,    /* 421, then it closes */
    CUT,        /* closes instead of a reply */
    CUT_INSIDE, /* in the middle of the reply */
    CUT_BEHIND, /* after the reply */
    SILENT,     /* neither answers nor closes */
    GARBAGE,    /* a line without a code */
    LONG,       /* a line beyond any limit */
    CHANGING,   /* two codes in one reply */
    ENDLESS,    /* too many lines */
    JUNK,       /* a line of junk, then the reply */
    EARLY,      /* the reply twice: the second one answers nothing yet */
    KINDS
};
static const char *const kind_names[KINDS] = {"fine",       "4xx",        "5xx",    "421",     "cut",
                                              "cut inside", "cut behind", "silent", "garbage", "long",
                                              "changing",   "endless",    "junk",   "early"};

struct server {
    enum mode mode;
    enum stage stage;
    enum kind kind;
    enum kind at_rset; /* the next trouble */
    bool misbehaved, cut, silent, tls, mail, rcpt, in_data, ended;
    struct rmd_buf in, out, heard;
    size_t chunk; /* bytes of a BDAT that are still to come */
    int accepted; /* messages that it has */
    bool has;     /* the present one */
};

static const char *good(const struct server *s, enum stage stage) {
    switch (stage) {
    case GREETING:
        return "220-mx.example.net\r\n220 ready\r\n";
    case EHLO:
        if (s->mode == OVER_TLS && !s->tls)
            return "250-mx.example.net\r\n250 STARTTLS\r\n";
        return s->mode == LOCKSTEP         ? "250-mx\r\n250 8BITMIME\r\n"
               : s->mode == BDAT_LOCKSTEP  ? "250-mx\r\n250 CHUNKING\r\n"
               : s->mode >= BDAT_PIPELINED ? "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
                                           : "250-mx\r\n250 PIPELINING\r\n";
    case STARTTLS:
        return "220 2.0.0 go\r\n";
    case DATA:
        return "354 go\r\n";
    case QUIT:
        return "221 bye\r\n";
    default:
        return "250-2.0.0 well\r\n250 2.0.0 done\r\n";
    }
}

static void say_many(struct rmd_buf *out, const char *line, int n) {
    for (int i = 0; i < n; i++)
        rmd_buf_addstr(out, line);
}

/* False: the stage didn't go well. */
static bool answer(struct server *s, enum stage stage) {
    const char *ok = good(s, stage);
    if (s->cut || s->silent)
        return false;
    if (s->stage != stage || s->misbehaved) {
        rmd_buf_addstr(&s->out, ok);
        return true;
    }
    enum kind kind = s->kind;
    s->misbehaved = kind != FINE;
    if (s->at_rset) {
        s->stage = RSET;
        s->kind = s->at_rset;
        s->at_rset = FINE;
        s->misbehaved = false;
    }
    switch (kind) {
    case LATER:
        rmd_buf_addstr(&s->out, "450-4.7.1 wait\r\n450 4.7.1 a while\r\n");
        return false;
    case NO:
        rmd_buf_addstr(&s->out, "550 5.7.1 no\r\n");
        return false;
    case GO_AWAY:
        rmd_buf_addstr(&s->out, "421 4.3.2 closing\r\n");
        s->cut = true;
        return false;
    case CUT:
        s->cut = true;
        return false;
    case CUT_INSIDE:
        rmd_buf_add(&s->out, ok, strlen(ok) - 3);
        s->cut = true;
        return stage == DOT; /* it has the message, and didn't get to say so */
    case CUT_BEHIND:
        rmd_buf_addstr(&s->out, ok);
        s->cut = true;
        return true;
    case SILENT:
        s->silent = true;
        return false;
    case GARBAGE:
        rmd_buf_addstr(&s->out, "hello world\r\n");
        return false;
    case LONG:
        say_many(&s->out, "2500000000000000000000000000000000000000000000000000", 100);
        rmd_buf_addstr(&s->out, "\r\n");
        return false;
    case CHANGING:
        rmd_buf_addstr(&s->out, "250-one\r\n251 two\r\n");
        return false;
    case ENDLESS:
        say_many(&s->out, "250-more\r\n", RMD_SMTP_REPLY_LINES + 1);
        return false;
    case JUNK:
        rmd_buf_addf(&s->out, "junk\r\n%s", ok);
        return true;
    case EARLY:
        rmd_buf_addf(&s->out, "%s%s", ok, ok);
        return true;
    default:
        rmd_buf_addstr(&s->out, ok);
        return true;
    }
}

static void take_message(struct server *s) {
    if (answer(s, DOT)) {
        s->accepted++;
        s->has = true;
    }
    s->mail = s->rcpt = false;
}

static void take_line(struct server *s, const char *l) {
    if (!strncmp(l, "EHLO", 4)) {
        answer(s, EHLO);
    } else if (!strncmp(l, "HELO", 4)) {
        rmd_buf_addstr(&s->out, "250 mx\r\n");
    } else if (!strcmp(l, "STARTTLS")) {
        answer(s, STARTTLS);
    } else if (!strncmp(l, "MAIL", 4)) {
        s->has = s->rcpt = false;
        s->mail = answer(s, MAIL);
    } else if (!strncmp(l, "RCPT", 4)) {
        if (s->mail)
            s->rcpt = answer(s, RCPT);
        else if (!s->cut && !s->silent)
            rmd_buf_addstr(&s->out, "503 5.5.1 no sender\r\n");
    } else if (!strcmp(l, "DATA")) {
        if (s->rcpt)
            s->in_data = answer(s, DATA);
        else if (!s->cut && !s->silent)
            rmd_buf_addstr(&s->out, "554 5.5.1 no recipient\r\n");
    } else if (!strcmp(l, "RSET")) {
        s->mail = s->rcpt = false;
        answer(s, RSET);
    } else {
        assert_string_equal(l, "QUIT");
        answer(s, QUIT);
    }
}

static bool take_some(struct server *s) {
    const char *text = rmd_buf_str(&s->in);
    if (s->in_data) {
        const char *dot = s->in.len >= 3 && !memcmp(text, ".\r\n", 3) ? text - 2 : strstr(text, "\r\n.\r\n");
        if (!dot)
            return false;
        rmd_buf_consume(&s->in, (size_t)(dot + 5 - text));
        s->in_data = false;
        take_message(s);
        return true;
    }
    const char *end = strstr(text, "\r\n");
    uint64_t n = 0;
    char line[600];
    if (!end)
        return false;
    rmd_copy_slice(line, sizeof line, rmd_slice(text, (size_t)(end - text)));
    if (!strncmp(line, "BDAT ", 5))
        assert_int_equal(rmd_parse_u64(rmd_slice(line + 5, strcspn(line + 5, " ")), &n), RMD_OK);
    assert_true(s->in.len >= (size_t)(end + 2 - text) + n);
    rmd_buf_consume(&s->in, (size_t)(end + 2 - text) + n);
    if (strncmp(line, "BDAT ", 5) != 0)
        take_line(s, line);
    else if (s->rcpt)
        take_message(s);
    else if (!s->cut && !s->silent)
        rmd_buf_addstr(&s->out, "503 5.5.1 no recipient\r\n");
    return true;
}

/* --- a conversation of two messages */

struct talk {
    struct rmd_smtp *c;
    struct server s;
    int64_t now;
    int mails, done, idle;
    bool closed, dot_left;
    struct rmd_smtp_result result[2], close;
    bool had[2]; /* what the server had when the result was told */
    int rsets;
    struct rmd_rng *cuts; /* replies come in pieces: of random lengths */
    uint32_t cut_bits;    /* or behind each byte whose bit is set, of the first 32 */
    size_t cut_at;        /* or in two, after so many bytes of the conversation */
    size_t fed;
};

static const char message[] = "Subject: x\r\n\r\n.dot\r\nend\r\n";

static void begin(struct talk *t) {
    bool tls = t->s.mode == OVER_TLS;
    t->now = 1000;
    t->mails = 2;
    t->c = rmd_smtp_new(&(struct rmd_smtp_options){.helo = "out.example.org",
                                                   .tls = tls ? RMD_TLS_REQUIRED : RMD_TLS_NEVER,
                                                   .chunking = !tls},
                        t->now);
    answer(&t->s, GREETING);
}

static void start_mail(struct talk *t) {
    enum rmd_own_error why;
    struct rmd_smtp_mail m = {
        .mail_from = "b+x@r.example.org", .rcpt_to = "u@example.net", .size = sizeof message - 1};
    t->idle++;
    if (!t->mails) {
        rmd_smtp_quit(t->c, t->now);
        return;
    }
    t->mails--;
    t->dot_left = t->s.has = false;
    if (t->s.mode == AHEAD)
        m.ahead = rmd_slice(message, sizeof message - 1);
    assert_int_equal(rmd_smtp_mail(t->c, &m, &why, t->now), RMD_OK);
}

static void hear(struct talk *t, const struct rmd_smtp_action *a) {
    t->dot_left |= a->dot;
    rmd_buf_add(&t->s.heard, a->bytes.p, a->bytes.n);
    rmd_buf_add(&t->s.in, a->bytes.p, a->bytes.n);
    rmd_smtp_sent(t->c, t->now);
    while (t->s.in.len && take_some(&t->s)) {
    }
}

static void ended(struct talk *t, const struct rmd_smtp_result *r) {
    assert_true(t->done < 2);
    t->had[t->done] = t->s.has;
    t->result[t->done++] = *r;
    bool knows = r->end == RMD_SMTP_ACCEPTED || r->end == RMD_SMTP_UNCERTAIN;
    assert_true(!t->s.has || knows);                      /* nothing is sent again that it has */
    assert_true(r->end != RMD_SMTP_ACCEPTED || t->s.has); /* nothing is lost */
    assert_true(r->end != RMD_SMTP_UNCERTAIN || t->dot_left);
    assert_true(t->dot_left || !t->s.has);
}

/* Takes actions until the client waits. */
static void act(struct talk *t) {
    for (int i = 0; i < 100 && !t->closed; i++) {
        struct rmd_smtp_action a = rmd_smtp_next(t->c, t->now);
        switch (a.kind) {
        case RMD_SMTP_NOTHING:
            return;
        case RMD_SMTP_SEND:
            hear(t, &a);
            break;
        case RMD_SMTP_START_TLS:
            t->s.tls = true;
            rmd_smtp_tls_done(t->c, true, "", t->now);
            break;
        case RMD_SMTP_IDLE:
            start_mail(t);
            break;
        case RMD_SMTP_NEED_CONTENT:
            kit_smtp_content(t->c, rmd_slice(message, sizeof message - 1), t->now);
            break;
        case RMD_SMTP_DONE:
            ended(t, &a.result);
            break;
        case RMD_SMTP_CLOSE:
            t->close = a.result;
            t->closed = true;
            break;
        }
    }
}

static size_t piece(struct talk *t) {
    size_t n = t->s.out.len;
    if (t->cuts)
        return 1 + (size_t)rmd_rng_below(t->cuts, n);
    if (t->cut_at > t->fed && t->cut_at - t->fed < n)
        return t->cut_at - t->fed;
    for (size_t i = 1; t->cut_bits && i < n && t->fed + i <= 32; i++)
        if (t->cut_bits >> (t->fed + i - 1) & 1)
            return i;
    return n;
}

/* One thing from the outside: bytes, the end of the connection, or time. */
static void happen(struct talk *t) {
    if (t->s.out.len) {
        size_t n = piece(t);
        struct rmd_buf copy = {0}; /* exactly these bytes, so that a sanitizer sees a read past them */
        rmd_buf_add(&copy, t->s.out.p, n);
        rmd_buf_consume(&t->s.out, n);
        t->fed += n;
        rmd_smtp_bytes(t->c, rmd_buf_slice(&copy), t->now);
        rmd_buf_release(&copy);
    } else if (t->s.cut) {
        rmd_smtp_lost(t->c, "connection reset", t->now);
    } else {
        t->now = rmd_smtp_deadline(t->c);
        assert_true(t->now != RMD_NEVER);
        rmd_smtp_timeout(t->c, t->now);
    }
}

static void run(struct talk *t) {
    begin(t);
    act(t);
    for (int i = 0; i < 20000 && !t->closed; i++) {
        happen(t);
        act(t);
    }
    assert_true(t->closed);
    const char *at = rmd_buf_str(&t->s.heard);
    while ((at = strstr(at, "RSET\r\n"))) {
        t->rsets++;
        at += 6;
    }
}

static void end(struct talk *t) {
    rmd_smtp_free(t->c);
    rmd_buf_release(&t->s.in);
    rmd_buf_release(&t->s.out);
    rmd_buf_release(&t->s.heard);
}

static bool is_bdat(enum mode m) {
    return m >= BDAT_LOCKSTEP && m <= AHEAD;
}

static bool happens(enum mode m, enum stage s) {
    return !(s == STARTTLS && m != OVER_TLS) && !(s == DATA && is_bdat(m)) && s != RSET;
}

#endif
