/* SMTP client, sans-I/O: life, input and output of a connection (contract: smtp.h; states and transitions: smtp_state.h;
 * what a reply leads to: smtp_step.c; replies: smtp_reply.c). RFC 5321, 1870, 2920, 3030, 3207, 3461, 6152, 6531, 8689.
 *
 * Input functions change the state and put what must leave into `out`; rmd_smtp_next hands it out. A reply is owed
 * for each command that was handed out (`awaiting`); bytes that come while none is owed are a reply to nothing: a 421
 * is believed, anything else ends the connection, because the next command would be paired with the wrong reply. The
 * result of a transaction is told as soon as it is known, before the rest of a pipelined group was read, so that the
 * owner can act on a verdict at once. */
#include "node/core/smtp_internal.h"

enum {
    TIMEOUT_FLOOR_MS = 1000,
    BLOCK_BYTES = 1 << 20, /* one block timeout for each MiB of content */
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

void rmd_smtp_go(struct rmd_smtp *c, enum rmd_smtp_state to, int64_t now_ms) {
    assert(states[c->state].next & 1u << to);
    c->state = to;
    arm(c, now_ms);
}

struct rmd_smtp *rmd_smtp_new(const struct rmd_smtp_options *o, int64_t now_ms) {
    struct rmd_smtp *c = rmd_alloc(sizeof *c);
    c->state = RMD_SMTP_STATE_GREETING;
    c->tls_policy = o->tls;
    c->chunking = o->chunking;
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
    rmd_reply_parser_release(&c->parser);
    free(c);
}

/* --- results */

static struct rmd_smtp_result result_of_reply(struct rmd_smtp *c, enum rmd_smtp_end end, struct rmd_buf *text) {
    struct rmd_smtp_result r = {.end = end, .rcpts = c->rcpts};
    rmd_buf_clear(text);
    rmd_buf_add(text, c->parser.text.p, c->parser.text.len);
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
void rmd_smtp_finish(struct rmd_smtp *c, enum rmd_smtp_end end) {
    assert(c->open && !c->done_pending);
    c->open = false;
    c->done_pending = true;
    c->done = result_of_reply(c, end, &c->done_text);
}

static void shut(struct rmd_smtp *c, int64_t now_ms) {
    c->close_pending = true;
    c->out_pending = false;
    rmd_smtp_go(c, RMD_SMTP_STATE_CLOSED, now_ms);
}

/* The connection ends by an error of our own: the open transaction with it. */
void rmd_smtp_fail(struct rmd_smtp *c, enum rmd_own_error error, const char *detail, int64_t now_ms) {
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

void rmd_smtp_gone(struct rmd_smtp *c, int64_t now_ms) {
    c->close = result_of_reply(c, RMD_SMTP_UNUSED, &c->close_text);
    shut(c, now_ms);
}

/* The connection ends by the reply just read. */
void rmd_smtp_refuse(struct rmd_smtp *c, int64_t now_ms) {
    bool told = c->open;
    if (c->open)
        rmd_smtp_finish(c, RMD_SMTP_REFUSED);
    c->close = result_of_reply(c, c->was_ready || told ? RMD_SMTP_UNUSED : RMD_SMTP_REFUSED, &c->close_text);
    c->close.connection_refusal = true;
    shut(c, now_ms);
}

void rmd_smtp_malformed(struct rmd_smtp *c, const char *what, int64_t now_ms) {
    char detail[DETAIL_MAX];
    (void)rmd_format(detail, sizeof detail, "instead of %s the server sent %s", states[c->state].awaited, what);
    rmd_smtp_fail(c, RMD_OWN_REPLY_MALFORMED, detail, now_ms);
}

/* --- what leaves */

void rmd_smtp_out_start(struct rmd_smtp *c) {
    assert(!c->out_pending);
    rmd_buf_clear(&c->out);
    c->out_pending = true;
    c->out_dot = false;
    c->out_commands = 0;
}

void rmd_smtp_command(struct rmd_smtp *c, const char *text) {
    rmd_smtp_out_start(c);
    rmd_buf_addstr(&c->out, text);
    rmd_buf_add(&c->out, "\r\n", 2);
    c->out_commands = 1;
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
            rmd_smtp_malformed(c, c->parser.why, now_ms);
            return;
        case RMD_REPLY_LINE:
            if (c->state == RMD_SMTP_STATE_EHLO && c->parser.lines > 1)
                rmd_smtp_wire_ehlo(c->parser.line, &c->ext);
            break;
        case RMD_REPLY_WHOLE:
            if (c->early && c->parser.code == 421) {
                rmd_smtp_refuse(c, now_ms);
            } else if (c->early) {
                rmd_smtp_malformed(c, "a reply before there was a command", now_ms);
            } else {
                if (c->state == RMD_SMTP_STATE_EHLO && c->parser.lines > 1)
                    rmd_smtp_wire_ehlo(c->parser.line, &c->ext);
                c->awaiting--;
                rmd_smtp_on_reply(c, now_ms);
            }
        }
    }
}

void rmd_smtp_sent(struct rmd_smtp *c, int64_t now_ms) {
    if (!c->out_dot || c->out_pending)
        return;
    arm(c, now_ms);
    rmd_buf_release(&c->out); /* thousands of connections may wait for the reply: none of them needs the content */
}

void rmd_smtp_tls_done(struct rmd_smtp *c, bool ok, const char *detail, int64_t now_ms) {
    if (c->state != RMD_SMTP_STATE_TLS)
        return;
    if (!ok) {
        rmd_smtp_fail(c, RMD_OWN_TLS_HANDSHAKE, detail, now_ms);
        return;
    }
    c->tls = true;
    rmd_reply_parser_init(&c->parser);
    rmd_smtp_hello(c, RMD_SMTP_STATE_EHLO, now_ms);
}

void rmd_smtp_lost(struct rmd_smtp *c, const char *detail, int64_t now_ms) {
    char text[DETAIL_MAX];
    (void)rmd_format(text, sizeof text, "%s while waiting for %s", detail, states[c->state].awaited);
    rmd_smtp_fail(c, RMD_OWN_CONNECTION_LOST, text, now_ms);
}

void rmd_smtp_timeout(struct rmd_smtp *c, int64_t now_ms) {
    if (now_ms < c->deadline_ms)
        return;
    char text[DETAIL_MAX];
    (void)rmd_format(text, sizeof text, "timed out while waiting for %s", states[c->state].awaited);
    rmd_smtp_fail(c, c->state == RMD_SMTP_STATE_TLS ? RMD_OWN_TLS_HANDSHAKE : RMD_OWN_REPLY_TIMEOUT, text, now_ms);
}

void rmd_smtp_abort(struct rmd_smtp *c, enum rmd_own_error why, int64_t now_ms) {
    if (!c->open)
        return;
    char text[DETAIL_MAX];
    (void)rmd_format(text, sizeof text, "given up while waiting for %s", states[c->state].awaited);
    rmd_smtp_fail(c, why, text, now_ms);
}

/* --- transaction */

void rmd_smtp_wire(const struct rmd_smtp *c, struct rmd_slice message, struct rmd_buf *out) {
    if (c->bdat)
        rmd_smtp_wire_bdat(message, out);
    else
        rmd_smtp_wire_content(message, out);
    assert(!out->overflow); /* RMD_MESSAGE_MAX_BYTES, doubled by dots, is within the buffer's limit */
}

/* PIPELINING: what leaves in one piece with MAIL. */
static void add_group(struct rmd_smtp *c, const struct rmd_smtp_mail *m) {
    rmd_smtp_wire_rcpt(&c->ext, m, &c->out);
    c->out_commands++;
    if (c->ahead)
        rmd_smtp_wire(c, m->ahead, &c->out);
    else if (!c->bdat)
        rmd_buf_add(&c->out, "DATA\r\n", 6);
    c->out_dot = c->ahead;
    c->out_commands += c->ahead || !c->bdat;
}

static void keep_rcpt(struct rmd_smtp *c, const struct rmd_smtp_mail *m) {
    rmd_buf_clear(&c->rcpt_command);
    rmd_smtp_wire_rcpt(&c->ext, m, &c->rcpt_command);
}

bool rmd_smtp_sends_ahead(const struct rmd_smtp *c) {
    return c->chunking && c->ext.chunking && c->ext.pipelining;
}

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
        rmd_smtp_malformed(c, "a reply before there was a command", now_ms);
        return RMD_OK;
    }
    rmd_smtp_out_start(c);
    rmd_smtp_wire_mail(&c->ext, m, &c->out);
    c->open = true;
    c->pipelined = c->ext.pipelining;
    c->bdat = c->chunking && c->ext.chunking;
    c->ahead = m->ahead.p && rmd_smtp_sends_ahead(c);
    c->mail_ok = c->rcpt_ok = c->dot_sent = false;
    c->rcpts = 0;
    c->out_commands = 1;
    if (c->pipelined)
        add_group(c, m);
    else
        keep_rcpt(c, m);
    rmd_smtp_go(c, RMD_SMTP_STATE_MAIL, now_ms);
    return RMD_OK;
}

void rmd_smtp_content(struct rmd_smtp *c, struct rmd_buf *wire, int64_t now_ms) {
    assert(c->state == RMD_SMTP_STATE_CONTENT);
    if (rmd_reply_parser_busy(&c->parser)) {
        rmd_smtp_malformed(c, "a reply before the content", now_ms);
        return;
    }
    rmd_smtp_out_start(c);
    struct rmd_buf other = c->out;
    c->out = *wire;
    *wire = other;
    c->out_dot = true;
    c->out_commands = 1;
    rmd_smtp_go(c, RMD_SMTP_STATE_DOT, now_ms);
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
    rmd_smtp_command(c, "QUIT");
    rmd_smtp_go(c, RMD_SMTP_STATE_QUIT, now_ms);
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
