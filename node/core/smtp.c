/* SMTP client, sans-I/O (contract: smtp.h; states and transitions: smtp_state.h; replies: smtp_reply.c). RFC 5321,
 * 1870, 2920, 3207, 6152, 6531.
 *
 * Input functions change the state and put what must leave into `out`; rmd_smtp_next hands it out. A reply is owed
 * for each command that was handed out (`awaiting`); bytes that come while none is owed are a reply to nothing: a 421
 * is believed, anything else ends the connection, because the next command would be paired with the wrong reply. The
 * result of a transaction is told as soon as it is known, before the rest of a pipelined group was read, so that the
 * owner can act on a verdict at once. */
#include "node/core/smtp.h"

#include <assert.h>

#include <base/text.h>
#include <remuda/dns.h>

#include "node/core/smtp_reply.h"
#include "node/core/smtp_state.h"
#include "node/core/smtp_wire.h"

enum {
    TIMEOUT_FLOOR_MS = 1000,
    BLOCK_BYTES = 1 << 20,      /* one block timeout for each MiB of content */
    OUT_KEEP_BYTES = 128 << 10, /* a larger send buffer isn't kept between messages */
    DETAIL_MAX = 256,
};

const struct rmd_smtp_timeouts_ms rmd_smtp_timeouts_rfc5321 = {
    .greeting = 300000,
    .helo = 300000,
    .starttls = 300000,
    .mail = 300000,
    .rcpt = 300000,
    .data = 120000,
    .block = 180000,
    .dot = 600000,
    .rset = 60000,
    .quit = 10000,
};

struct rmd_smtp {
    enum rmd_smtp_state state;
    enum rmd_smtp_tls tls_policy;
    const struct rmd_smtp_timeouts_ms *timeouts;
    char helo[RMD_DOMAIN_MAX + 3];
    struct rmd_smtp_extensions ext;
    bool tls, start_tls, was_ready;
    int64_t deadline_ms;

    struct rmd_buf out; /* what leaves next, or has just left */
    bool out_pending, out_dot;
    unsigned out_commands; /* replies that `out` will owe */
    unsigned awaiting;     /* replies owed for what was handed out */
    bool early;            /* the reply under way began while none was owed */

    bool open;      /* a transaction whose result isn't known */
    bool pipelined; /* MAIL, RCPT and DATA left together */
    bool mail_ok, rcpt_ok, dot_sent;
    int rcpts;
    struct rmd_buf rcpt_command; /* kept for its turn when there is no PIPELINING */

    bool done_pending, close_pending;
    struct rmd_smtp_result done, close;
    struct rmd_buf done_text, close_text;
    struct rmd_reply_parser parser;
};

struct smtp_state_row {
    const char *name, *awaited;
    enum rmd_stage stage;
    size_t timeout; /* offset in rmd_smtp_timeouts_ms; NO_TIMEOUT: none */
    unsigned next;
};

#define NO_TIMEOUT SIZE_MAX
#define AT_none NO_TIMEOUT
#define AT_greeting offsetof(struct rmd_smtp_timeouts_ms, greeting)
#define AT_helo offsetof(struct rmd_smtp_timeouts_ms, helo)
#define AT_starttls offsetof(struct rmd_smtp_timeouts_ms, starttls)
#define AT_mail offsetof(struct rmd_smtp_timeouts_ms, mail)
#define AT_rcpt offsetof(struct rmd_smtp_timeouts_ms, rcpt)
#define AT_data offsetof(struct rmd_smtp_timeouts_ms, data)
#define AT_block offsetof(struct rmd_smtp_timeouts_ms, block)
#define AT_dot offsetof(struct rmd_smtp_timeouts_ms, dot)
#define AT_rset offsetof(struct rmd_smtp_timeouts_ms, rset)
#define AT_quit offsetof(struct rmd_smtp_timeouts_ms, quit)
#define ROW(id, stage_, timeout_, text, next_)            \
    [RMD_SMTP_STATE_##id] = {.name = #id,                 \
                             .awaited = text,             \
                             .stage = RMD_STAGE_##stage_, \
                             .timeout = AT_##timeout_,    \
                             .next = (next_) | RMD_SMTP_TO(CLOSED)},
static const struct smtp_state_row states[RMD_SMTP_STATE_COUNT] = {RMD_SMTP_STATES(ROW)};

static int64_t timeout_of(const struct rmd_smtp *c, enum rmd_smtp_state state) {
    if (states[state].timeout == NO_TIMEOUT)
        return RMD_NEVER;
    int64_t ms;
    memcpy(&ms, (const char *)c->timeouts + states[state].timeout, sizeof ms);
    return ms < TIMEOUT_FLOOR_MS ? TIMEOUT_FLOOR_MS : ms;
}

static void arm(struct rmd_smtp *c, int64_t now_ms) {
    int64_t ms = timeout_of(c, c->state);
    c->deadline_ms = ms == RMD_NEVER ? RMD_NEVER : now_ms + ms;
}

static void go(struct rmd_smtp *c, enum rmd_smtp_state to, int64_t now_ms) {
    assert(states[c->state].next & 1u << to);
    c->state = to;
    arm(c, now_ms);
}

struct rmd_smtp *rmd_smtp_new(const struct rmd_smtp_options *o, int64_t now_ms) {
    struct rmd_smtp *c = rmd_alloc(sizeof *c);
    c->state = RMD_SMTP_STATE_GREETING;
    c->tls_policy = o->tls;
    c->timeouts = o->timeouts ? o->timeouts : &rmd_smtp_timeouts_rfc5321;
    rmd_copy(c->helo, sizeof c->helo, o->helo);
    rmd_reply_parser_init(&c->parser);
    c->awaiting = 1; /* the greeting answers the connection */
    arm(c, now_ms);
    return c;
}

void rmd_smtp_free(struct rmd_smtp *c) {
    if (!c)
        return;
    rmd_buf_release(&c->out);
    rmd_buf_release(&c->rcpt_command);
    rmd_buf_release(&c->done_text);
    rmd_buf_release(&c->close_text);
    free(c);
}

/* --- results */

static struct rmd_smtp_result result_of_reply(struct rmd_smtp *c, enum rmd_smtp_end end, struct rmd_buf *text) {
    struct rmd_smtp_result r = {.end = end, .rcpts = c->rcpts};
    rmd_buf_clear(text);
    rmd_buf_add(text, c->parser.text, c->parser.text_n);
    r.reply.code = c->parser.code;
    memcpy(r.reply.enhanced, c->parser.enhanced, sizeof r.reply.enhanced);
    r.reply.text = rmd_buf_slice(text);
    r.reply.stage = states[c->state].stage;
    r.connection_refusal = c->parser.code == 421 || (c->state <= RMD_SMTP_STATE_TLS && end == RMD_SMTP_REFUSED);
    return r;
}

static struct rmd_smtp_result result_of_error(struct rmd_smtp *c, enum rmd_smtp_end end, enum rmd_own_error error,
                                              const char *detail, struct rmd_buf *text) {
    struct rmd_smtp_result r = {.end = end, .own = true, .error = error, .rcpts = c->rcpts};
    rmd_buf_clear(text);
    rmd_buf_addstr(text, detail);
    r.reply.text = rmd_buf_slice(text);
    r.reply.stage = states[c->state].stage;
    return r;
}

/* The transaction ends by the reply just read. */
static void finish(struct rmd_smtp *c, enum rmd_smtp_end end) {
    assert(c->open && !c->done_pending);
    c->open = false;
    c->done_pending = true;
    c->done = result_of_reply(c, end, &c->done_text);
}

static void shut(struct rmd_smtp *c, int64_t now_ms) {
    c->close_pending = true;
    c->out_pending = false;
    go(c, RMD_SMTP_STATE_CLOSED, now_ms);
}

/* The connection ends by an error of our own: the open transaction with it. */
static void fail(struct rmd_smtp *c, enum rmd_own_error error, const char *detail, int64_t now_ms) {
    if (c->state == RMD_SMTP_STATE_CLOSED)
        return;
    bool told = c->open;
    if (c->open) {
        c->open = false;
        c->done_pending = true;
        c->done =
            result_of_error(c, c->dot_sent ? RMD_SMTP_UNCERTAIN : RMD_SMTP_FAILED, error, detail, &c->done_text);
    }
    enum rmd_smtp_end end = c->was_ready || told ? RMD_SMTP_UNUSED : RMD_SMTP_FAILED;
    c->close = result_of_error(c, end, error, told ? "" : detail, &c->close_text);
    shut(c, now_ms);
}

/* The connection ends by the reply just read. */
static void refuse(struct rmd_smtp *c, int64_t now_ms) {
    bool told = c->open;
    if (c->open)
        finish(c, RMD_SMTP_REFUSED);
    c->close = result_of_reply(c, c->was_ready || told ? RMD_SMTP_UNUSED : RMD_SMTP_REFUSED, &c->close_text);
    c->close.connection_refusal = true;
    shut(c, now_ms);
}

static void malformed(struct rmd_smtp *c, const char *what, int64_t now_ms) {
    char detail[DETAIL_MAX];
    (void)rmd_format(detail, sizeof detail, "instead of %s the server sent %s", states[c->state].awaited, what);
    fail(c, RMD_OWN_REPLY_MALFORMED, detail, now_ms);
}

/* --- commands */

static void out_start(struct rmd_smtp *c) {
    assert(!c->out_pending);
    rmd_buf_clear(&c->out);
    c->out_pending = true;
    c->out_dot = false;
    c->out_commands = 0;
}

static void command(struct rmd_smtp *c, const char *text) {
    out_start(c);
    rmd_buf_addstr(&c->out, text);
    rmd_buf_add(&c->out, "\r\n", 2);
    c->out_commands = 1;
}

static void hello(struct rmd_smtp *c, enum rmd_smtp_state state, int64_t now_ms) {
    char line[sizeof c->helo + 8];
    (void)rmd_format(line, sizeof line, "%s %s", state == RMD_SMTP_STATE_EHLO ? "EHLO" : "HELO", c->helo);
    memset(&c->ext, 0, sizeof c->ext);
    command(c, line);
    go(c, state, now_ms);
}

static void ready(struct rmd_smtp *c, int64_t now_ms) {
    c->was_ready = true;
    if (c->out.cap > OUT_KEEP_BYTES)
        rmd_buf_release(&c->out);
    go(c, RMD_SMTP_STATE_READY, now_ms);
}

static void reset(struct rmd_smtp *c, int64_t now_ms) {
    command(c, "RSET");
    go(c, RMD_SMTP_STATE_RSET, now_ms);
}

static void after_hello(struct rmd_smtp *c, int64_t now_ms) {
    if (c->tls || c->tls_policy == RMD_TLS_NEVER) {
        ready(c, now_ms);
    } else if (c->ext.starttls) {
        command(c, "STARTTLS");
        go(c, RMD_SMTP_STATE_STARTTLS, now_ms);
    } else if (c->tls_policy == RMD_TLS_REQUIRED) {
        fail(c, RMD_OWN_TLS_NOT_OFFERED, "TLS is required here, and the server doesn't offer STARTTLS", now_ms);
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
            hello(c, RMD_SMTP_STATE_EHLO, now_ms);
        else
            refuse(c, now_ms);
        break;
    case RMD_SMTP_STATE_EHLO:
        if (kind == 2) {
            c->ext.esmtp = true;
            after_hello(c, now_ms);
        } else if (not_understood(c->parser.code) && !c->tls) {
            hello(c, RMD_SMTP_STATE_HELO, now_ms); /* section 3.2: a server without extensions */
        } else {
            refuse(c, now_ms);
        }
        break;
    case RMD_SMTP_STATE_HELO:
        if (kind == 2)
            after_hello(c, now_ms);
        else
            refuse(c, now_ms);
        break;
    default: /* STARTTLS */
        if (c->parser.code == 220) {
            c->start_tls = true;
            go(c, RMD_SMTP_STATE_TLS, now_ms);
        } else if (c->tls_policy == RMD_TLS_REQUIRED) {
            refuse(c, now_ms);
        } else {
            ready(c, now_ms);
        }
    }
}

static void on_mail_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    c->mail_ok = kind == 2;
    if (!c->mail_ok)
        finish(c, RMD_SMTP_REFUSED);
    if (c->pipelined) {
        go(c, RMD_SMTP_STATE_RCPT, now_ms);
    } else if (c->mail_ok) {
        out_start(c);
        rmd_buf_add(&c->out, c->rcpt_command.p, c->rcpt_command.len);
        c->out_commands = 1;
        go(c, RMD_SMTP_STATE_RCPT, now_ms);
    } else {
        ready(c, now_ms);
    }
}

static void on_rcpt_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    c->rcpt_ok = kind == 2;
    if (!c->rcpt_ok && c->open)
        finish(c, RMD_SMTP_REFUSED);
    if (c->pipelined) {
        go(c, RMD_SMTP_STATE_DATA, now_ms);
    } else if (c->rcpt_ok) {
        command(c, "DATA");
        go(c, RMD_SMTP_STATE_DATA, now_ms);
    } else {
        reset(c, now_ms);
    }
}

static void on_data_reply(struct rmd_smtp *c, int kind, int64_t now_ms) {
    if (kind == 3 && c->open) {
        go(c, RMD_SMTP_STATE_CONTENT, now_ms);
    } else if (kind == 3 && c->rcpt_ok) {
        /* MAIL was refused, RCPT and DATA accepted: a lone dot might deliver an empty message. */
        malformed(c, "a recipient accepted without a sender", now_ms);
    } else if (kind == 3) {
        command(c, "."); /* RFC 2920 section 3.1: no recipient, yet the server waits for content */
        go(c, RMD_SMTP_STATE_VOID, now_ms);
    } else {
        if (c->open)
            finish(c, RMD_SMTP_REFUSED);
        if (c->mail_ok)
            reset(c, now_ms);
        else
            ready(c, now_ms);
    }
}

static void on_reply(struct rmd_smtp *c, int64_t now_ms) {
    int kind = c->parser.code / 100;
    if (c->state == RMD_SMTP_STATE_QUIT) {
        c->close = result_of_reply(c, RMD_SMTP_UNUSED, &c->close_text);
        shut(c, now_ms);
        return;
    }
    if (c->parser.code == 421) {
        refuse(c, now_ms);
        return;
    }
    bool wrong = c->state == RMD_SMTP_STATE_DATA ? kind == 2 : kind == 3;
    if (wrong) {
        malformed(c, "a reply that no such command has", now_ms);
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
        finish(c, kind == 2 ? RMD_SMTP_ACCEPTED : RMD_SMTP_REFUSED);
        ready(c, now_ms);
        break;
    case RMD_SMTP_STATE_VOID:
        ready(c, now_ms);
        break;
    case RMD_SMTP_STATE_RSET:
        if (kind == 2)
            ready(c, now_ms);
        else
            refuse(c, now_ms);
        break;
    default:
        assert(!"a reply is owed in this state");
    }
}

/* --- input */

void rmd_smtp_bytes(struct rmd_smtp *c, struct rmd_slice in, int64_t now_ms) {
    while (in.n && c->state != RMD_SMTP_STATE_CLOSED) {
        if (c->state == RMD_SMTP_STATE_TLS)
            return; /* what came in clear behind the reply to STARTTLS may be injected: dropped (RFC 3207,
                       CVE-2011-0411) */
        if (!rmd_reply_parser_busy(&c->parser))
            c->early = c->awaiting == 0;
        switch (rmd_reply_parser_feed(&c->parser, &in)) {
        case RMD_REPLY_MORE:
            return;
        case RMD_REPLY_BAD:
            malformed(c, c->parser.why, now_ms);
            return;
        case RMD_REPLY_LINE:
            if (c->state == RMD_SMTP_STATE_EHLO && c->parser.lines > 1)
                rmd_smtp_wire_ehlo(c->parser.line, &c->ext);
            break;
        case RMD_REPLY_WHOLE:
            if (c->early && c->parser.code == 421) {
                refuse(c, now_ms);
            } else if (c->early) {
                malformed(c, "a reply before there was a command", now_ms);
            } else {
                if (c->state == RMD_SMTP_STATE_EHLO && c->parser.lines > 1)
                    rmd_smtp_wire_ehlo(c->parser.line, &c->ext);
                c->awaiting--;
                on_reply(c, now_ms);
            }
        }
    }
}

void rmd_smtp_sent(struct rmd_smtp *c, int64_t now_ms) {
    if (c->state == RMD_SMTP_STATE_DOT && !c->out_pending)
        arm(c, now_ms);
}

void rmd_smtp_tls_done(struct rmd_smtp *c, bool ok, const char *detail, int64_t now_ms) {
    if (c->state != RMD_SMTP_STATE_TLS)
        return;
    if (!ok) {
        fail(c, RMD_OWN_TLS_HANDSHAKE, detail, now_ms);
        return;
    }
    c->tls = true;
    rmd_reply_parser_init(&c->parser);
    hello(c, RMD_SMTP_STATE_EHLO, now_ms);
}

void rmd_smtp_lost(struct rmd_smtp *c, const char *detail, int64_t now_ms) {
    char text[DETAIL_MAX];
    (void)rmd_format(text, sizeof text, "%s while waiting for %s", detail, states[c->state].awaited);
    fail(c, RMD_OWN_CONNECTION_LOST, text, now_ms);
}

void rmd_smtp_timeout(struct rmd_smtp *c, int64_t now_ms) {
    if (now_ms < c->deadline_ms)
        return;
    char text[DETAIL_MAX];
    (void)rmd_format(text, sizeof text, "timed out while waiting for %s", states[c->state].awaited);
    fail(c, c->state == RMD_SMTP_STATE_TLS ? RMD_OWN_TLS_HANDSHAKE : RMD_OWN_REPLY_TIMEOUT, text, now_ms);
}

void rmd_smtp_abort(struct rmd_smtp *c, enum rmd_own_error why, int64_t now_ms) {
    if (!c->open)
        return;
    char text[DETAIL_MAX];
    (void)rmd_format(text, sizeof text, "given up while waiting for %s", states[c->state].awaited);
    fail(c, why, text, now_ms);
}

/* --- transaction */

int rmd_smtp_mail(struct rmd_smtp *c, const struct rmd_smtp_mail *m, enum rmd_own_error *why, int64_t now_ms) {
    assert(c->state == RMD_SMTP_STATE_READY && !c->done_pending);
    int error = rmd_smtp_wire_carries(&c->ext, m, why);
    if (error)
        return error;
    if (rmd_reply_parser_busy(&c->parser)) {
        /* Half a reply to nothing: whatever follows can't be paired. The transaction ends as failed, nothing was
         * sent. */
        c->open = true;
        c->rcpts = 0;
        c->dot_sent = false;
        malformed(c, "a reply before there was a command", now_ms);
        return RMD_OK;
    }
    out_start(c);
    rmd_smtp_wire_mail(&c->ext, m, &c->out);
    c->open = true;
    c->pipelined = c->ext.pipelining;
    c->mail_ok = c->rcpt_ok = c->dot_sent = false;
    c->rcpts = 0;
    c->out_commands = 1;
    if (c->pipelined) {
        rmd_smtp_wire_rcpt(m->rcpt_to, &c->out);
        rmd_buf_add(&c->out, "DATA\r\n", 6);
        c->out_commands = 3;
    } else {
        rmd_buf_clear(&c->rcpt_command);
        rmd_smtp_wire_rcpt(m->rcpt_to, &c->rcpt_command);
    }
    go(c, RMD_SMTP_STATE_MAIL, now_ms);
    return RMD_OK;
}

void rmd_smtp_content(struct rmd_smtp *c, struct rmd_slice message, int64_t now_ms) {
    assert(c->state == RMD_SMTP_STATE_CONTENT);
    if (rmd_reply_parser_busy(&c->parser)) {
        malformed(c, "a reply before the content", now_ms);
        return;
    }
    out_start(c);
    rmd_smtp_wire_content(message, &c->out);
    assert(!c->out.overflow); /* RMD_MESSAGE_MAX_BYTES, doubled by dots, is within the buffer's limit */
    c->out_commands = 1;
    c->out_dot = true;
    go(c, RMD_SMTP_STATE_DOT, now_ms);
}

void rmd_smtp_quit(struct rmd_smtp *c, int64_t now_ms) {
    if (c->state == RMD_SMTP_STATE_CLOSED || c->state == RMD_SMTP_STATE_QUIT)
        return;
    if (c->state != RMD_SMTP_STATE_READY) {
        c->close = result_of_error(c, RMD_SMTP_UNUSED, RMD_OWN_CONNECTION_LOST, "", &c->close_text);
        if (c->open)
            rmd_smtp_abort(c, RMD_OWN_DEADLINE, now_ms);
        else
            shut(c, now_ms);
        return;
    }
    command(c, "QUIT");
    go(c, RMD_SMTP_STATE_QUIT, now_ms);
}

/* --- output */

static struct rmd_smtp_action hand_out(struct rmd_smtp *c, int64_t now_ms) {
    c->out_pending = false;
    c->awaiting += c->out_commands;
    arm(c, now_ms);
    if (c->state == RMD_SMTP_STATE_RCPT || (c->state == RMD_SMTP_STATE_MAIL && c->pipelined))
        c->rcpts = 1;
    if (c->out_dot) {
        c->dot_sent = true;
        c->deadline_ms = now_ms + timeout_of(c, RMD_SMTP_STATE_CONTENT) * (1 + (int64_t)(c->out.len / BLOCK_BYTES));
    }
    return (struct rmd_smtp_action){.kind = RMD_SMTP_SEND, .bytes = rmd_buf_slice(&c->out), .dot = c->out_dot};
}

struct rmd_smtp_action rmd_smtp_next(struct rmd_smtp *c, int64_t now_ms) {
    if (c->done_pending) {
        c->done_pending = false;
        return (struct rmd_smtp_action){.kind = RMD_SMTP_DONE, .result = c->done};
    }
    if (c->out_pending)
        return hand_out(c, now_ms);
    if (c->start_tls) {
        c->start_tls = false;
        return (struct rmd_smtp_action){.kind = RMD_SMTP_START_TLS};
    }
    if (c->close_pending) {
        c->close_pending = false;
        return (struct rmd_smtp_action){.kind = RMD_SMTP_CLOSE, .result = c->close};
    }
    if (c->state == RMD_SMTP_STATE_READY)
        return (struct rmd_smtp_action){.kind = RMD_SMTP_IDLE};
    if (c->state == RMD_SMTP_STATE_CONTENT)
        return (struct rmd_smtp_action){.kind = RMD_SMTP_NEED_CONTENT};
    return (struct rmd_smtp_action){.kind = RMD_SMTP_NOTHING};
}

int64_t rmd_smtp_deadline(const struct rmd_smtp *c) {
    return c->deadline_ms;
}

const struct rmd_smtp_extensions *rmd_smtp_ext(const struct rmd_smtp *c) {
    return &c->ext;
}

bool rmd_smtp_is_tls(const struct rmd_smtp *c) {
    return c->tls;
}

const char *rmd_smtp_state_name(const struct rmd_smtp *c) {
    return states[c->state].name;
}
