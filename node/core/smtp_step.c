/* What the SMTP client does on each reply (states and transitions: smtp_state.h). RFC 5321, 2920, 3030, 3207. */
#include "node/core/smtp_internal.h"

enum { OUT_KEEP_BYTES = 1024 }; /* a larger send buffer, one that held content, isn't kept between messages */

void rmd_smtp_hello(struct rmd_smtp *c, enum rmd_smtp_state state, int64_t now_ms) {
    char line[sizeof c->helo + 8];
    (void)rmd_format(line, sizeof line, "%s %s", state == RMD_SMTP_STATE_EHLO ? "EHLO" : "HELO", c->helo);
    memset(&c->ext, 0, sizeof c->ext);
    rmd_smtp_command(c, line);
    rmd_smtp_go(c, state, now_ms);
}

static void ready(struct rmd_smtp *c, int64_t now_ms) {
    c->was_ready = true;
    if (c->out.cap > OUT_KEEP_BYTES)
        rmd_buf_release(&c->out);
    rmd_smtp_go(c, RMD_SMTP_STATE_READY, now_ms);
}

static void reset(struct rmd_smtp *c, int64_t now_ms) {
    rmd_smtp_command(c, "RSET");
    rmd_smtp_go(c, RMD_SMTP_STATE_RSET, now_ms);
}

/* Ready for the next transaction; what the server may still have of this one goes first. */
static void settle(struct rmd_smtp *c, bool leftovers, int64_t now_ms) {
    if (leftovers)
        reset(c, now_ms);
    else
        ready(c, now_ms);
}

static void after_hello(struct rmd_smtp *c, int64_t now_ms) {
    if (c->tls || c->tls_policy == RMD_TLS_NEVER) {
        ready(c, now_ms);
    } else if (c->ext.starttls) {
        rmd_smtp_command(c, "STARTTLS");
        rmd_smtp_go(c, RMD_SMTP_STATE_STARTTLS, now_ms);
    } else if (c->tls_policy == RMD_TLS_REQUIRED) {
        rmd_smtp_fail(c, RMD_OWN_TLS_NOT_OFFERED, "TLS is required here, and the server doesn't offer STARTTLS",
                      now_ms);
    } else {
        ready(c, now_ms);
    }
}

/* The server doesn't know the command; any other 5yz to EHLO is its refusal to talk to us, and asking again won't mend it. */
static bool not_understood(int code) {
    return code == 500 || code == 501 || code == 502 || code == 504;
}

/* --- replies, one function a stage */

static void on_hello_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    switch (c->state) {
    case RMD_SMTP_STATE_GREETING:
        if (kind == 2)
            rmd_smtp_hello(c, RMD_SMTP_STATE_EHLO, now_ms);
        else
            rmd_smtp_refuse(c, now_ms);
        break;
    case RMD_SMTP_STATE_EHLO:
        if (kind == 2) {
            c->ext.esmtp = true;
            after_hello(c, now_ms);
        } else if (not_understood(c->parser.code) && !c->tls) {
            rmd_smtp_hello(c, RMD_SMTP_STATE_HELO, now_ms); /* section 3.2: a server without extensions */
        } else {
            rmd_smtp_refuse(c, now_ms);
        }
        break;
    case RMD_SMTP_STATE_HELO:
        if (kind == 2)
            after_hello(c, now_ms);
        else
            rmd_smtp_refuse(c, now_ms);
        break;
    default: /* STARTTLS */
        if (c->parser.code == 220) {
            c->start_tls = true;
            rmd_smtp_go(c, RMD_SMTP_STATE_TLS, now_ms);
        } else if (c->tls_policy == RMD_TLS_REQUIRED) {
            rmd_smtp_refuse(c, now_ms);
        } else {
            ready(c, now_ms);
        }
    }
}

static void on_mail_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    c->mail_ok = kind == 2;
    if (!c->mail_ok)
        rmd_smtp_finish(c, RMD_SMTP_REFUSED);
    if (c->pipelined) {
        rmd_smtp_go(c, RMD_SMTP_STATE_RCPT, now_ms);
    } else if (c->mail_ok) {
        rmd_smtp_out_start(c);
        rmd_buf_add(&c->out, c->rcpt_command.p, c->rcpt_command.len);
        c->out_commands = 1;
        rmd_smtp_go(c, RMD_SMTP_STATE_RCPT, now_ms);
    } else {
        ready(c, now_ms);
    }
}

static void on_rcpt_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    c->rcpt_ok = kind == 2;
    if (!c->rcpt_ok && c->open)
        rmd_smtp_finish(c, RMD_SMTP_REFUSED);
    if (c->ahead) {
        rmd_smtp_go(c, RMD_SMTP_STATE_DOT, now_ms);
    } else if (c->bdat && c->open) {
        rmd_smtp_go(c, RMD_SMTP_STATE_CONTENT, now_ms);
    } else if (c->bdat) {
        settle(c, c->mail_ok || c->rcpt_ok, now_ms);
    } else if (c->pipelined) {
        rmd_smtp_go(c, RMD_SMTP_STATE_DATA, now_ms);
    } else if (c->rcpt_ok) {
        rmd_smtp_command(c, "DATA");
        rmd_smtp_go(c, RMD_SMTP_STATE_DATA, now_ms);
    } else {
        reset(c, now_ms);
    }
}

static void on_data_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    if (kind == 3 && c->open) {
        rmd_smtp_go(c, RMD_SMTP_STATE_CONTENT, now_ms);
    } else if (kind == 3 && c->rcpt_ok) {
        /* MAIL was refused, RCPT and DATA accepted: a lone dot might deliver an empty message. */
        rmd_smtp_malformed(c, "a recipient accepted without a sender", now_ms);
    } else if (kind == 3) {
        rmd_smtp_command(c, "."); /* RFC 2920 section 3.1: no recipient, yet the server waits for content */
        rmd_smtp_go(c, RMD_SMTP_STATE_VOID, now_ms);
    } else {
        if (c->open)
            rmd_smtp_finish(c, RMD_SMTP_REFUSED);
        settle(c, c->mail_ok, now_ms);
    }
}

/* After a BDAT that failed the server may still hold the transaction (RFC 3030 section 2); after a dot it never does. */
static void on_dot_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    if (c->open) {
        rmd_smtp_finish(c, kind == 2 ? RMD_SMTP_ACCEPTED : RMD_SMTP_REFUSED);
        settle(c, c->bdat && kind != 2, now_ms);
    } else if (kind == 2 && c->rcpt_ok) {
        rmd_smtp_malformed(c, "an acceptance without a sender", now_ms); /* MAIL was refused, and that was told */
    } else {
        settle(c, kind != 2 && (c->mail_ok || c->rcpt_ok), now_ms); /* sent ahead, to nobody */
    }
}

void rmd_smtp_on_reply(struct rmd_smtp *c, int64_t now_ms) {
    int kind = c->parser.code / 100;
    if (c->state == RMD_SMTP_STATE_QUIT) {
        rmd_smtp_gone(c, now_ms);
        return;
    }
    if (c->parser.code == 421) {
        rmd_smtp_refuse(c, now_ms);
        return;
    }
    bool wrong = c->state == RMD_SMTP_STATE_DATA ? kind == 2 : kind == 3;
    if (wrong) {
        rmd_smtp_malformed(c, "a reply that no such command has", now_ms);
        return;
    }
    switch (c->state) {
    case RMD_SMTP_STATE_GREETING:
    case RMD_SMTP_STATE_EHLO:
    case RMD_SMTP_STATE_HELO:
    case RMD_SMTP_STATE_STARTTLS:
        on_hello_reply(c, kind, now_ms);
        break;
    case RMD_SMTP_STATE_MAIL:
        on_mail_reply(c, kind, now_ms);
        break;
    case RMD_SMTP_STATE_RCPT:
        on_rcpt_reply(c, kind, now_ms);
        break;
    case RMD_SMTP_STATE_DATA:
        on_data_reply(c, kind, now_ms);
        break;
    case RMD_SMTP_STATE_DOT:
        on_dot_reply(c, kind, now_ms);
        break;
    case RMD_SMTP_STATE_VOID:
        ready(c, now_ms);
        break;
    case RMD_SMTP_STATE_RSET:
        if (kind == 2)
            ready(c, now_ms);
        else
            rmd_smtp_refuse(c, now_ms);
        break;
    default:
        assert(!"a reply is owed in this state");
    }
}
