/* The session machine: which state takes which input, and what waits for what.
 *
 *   GREETING --220--> COMMAND --DATA/354--> CONTENT --CRLF.CRLF--> DOT --reply--> COMMAND
 *                       |  ^----BDAT-----> BDAT ----LAST---------> DOT
 *                       |--STARTTLS/220--> TLS --handshake--> COMMAND (EHLO needed again)
 *                       |--flood_stage---> FLOOD --flood_bytes--> closed
 *
 * Before a reply's decision stands a gate: first the configured delay, then, where the listing counts, the
 * blocklist's answer. The command stays in the input until the gate opens. */
#include "tests/receivers/receivers.h"

#include <sys/socket.h>

enum { FLOOD_CHUNK = 16 << 10 };

bool rmd_rcv_smtp_gate(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    if (!c->gated) {
        int64_t ms = p->delay_ms + p->delay_stage_ms[stage];
        c->gated = true;
        c->dnsbl_done = false;
        if (ms > 0) {
            c->held = true;
            rmd_rcv_timer_set(r, &c->hold, r->now_us + ms * 1000);
            return false;
        }
    }
    if (p->dnsbl_zone && p->dnsbl_stages >> stage & 1 && !c->dnsbl_done &&
        !rmd_rcv_dnsbl_fresh(r, c->provider, c->client)) {
        c->dnsbl_wait = true;
        return false;
    }
    c->gated = false;
    return true;
}

void rmd_rcv_smtp_reset(struct rmd_rcv_conn *c) {
    for (size_t i = 0; i < c->rcpts_n; i++)
        free(c->rcpts[i]);
    c->rcpts_n = 0;
    c->mail = c->chunking = false;
    c->utf8 = c->body8 = false;
    c->cut = -1;
    c->bdat_left = 0;
    c->content = (struct rmd_rcv_content){.after_crlf = true};
    rmd_buf_clear(&c->msg);
}

void rmd_rcv_smtp_violation(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *what) {
    c->provider->n_violations++;
    rmd_rcv_json_cstr(rmd_rcv_line(r, c, "violation"), "text", what);
    rmd_rcv_line_end(r);
}

static bool more_input(const struct rmd_rcv_conn *c, size_t used) {
    char byte;
    if (c->in.len > c->in_pos + used)
        return true;
    return !c->ssl && recv(c->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static bool over_limit(const struct rmd_rcv_conn *c) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    return (p->connections_per_ip && c->client->connections > (uint64_t)p->connections_per_ip) ||
           (p->connections && c->provider->open > (uint64_t)p->connections);
}

static bool greet(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    if (!rmd_rcv_smtp_gate(r, c, RCV_GREETING))
        return false;
    c->state = RCV_S_COMMAND;
    if (more_input(c, 0)) {
        rmd_rcv_smtp_violation(r, c, "the client talked before the greeting");
        rmd_rcv_reply(r, c, RCV_GREETING, "sequence", NULL, "554 5.5.0 %host Talked before the greeting");
        rmd_rcv_conn_drain(r, c);
    } else if (over_limit(c)) {
        c->refused_greeting = true;
        rmd_rcv_reply(r, c, RCV_GREETING, "connections", NULL, c->provider->policy.connections_text);
    } else if (rmd_rcv_policy_refuses(r, c, RCV_GREETING, NULL)) {
        c->refused_greeting = true;
    } else {
        rmd_rcv_reply(r, c, RCV_GREETING, NULL, NULL, "220 %host ESMTP Remuda test receiver");
    }
    return true;
}

static int stage_of(struct rmd_slice line) {
    static const struct {
        const char *verb;
        int stage;
    } verbs[] = {{"EHLO", RCV_EHLO}, {"HELO", RCV_EHLO}, {"MAIL", RCV_MAIL},
                 {"RCPT", RCV_RCPT}, {"DATA", RCV_DATA}, {"BDAT", RCV_DATA}};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (rmd_case_prefix(line, verbs[i].verb))
            return verbs[i].stage;
    return -1;
}

/* Commands sent ahead where that isn't allowed. BDAT's chunk follows it at once; DATA's content never does (RFC
 * 2920). */
static bool sent_ahead(const struct rmd_rcv_conn *c, struct rmd_slice line, size_t used) {
    if (rmd_case_prefix(line, "BDAT"))
        return false;
    if (rmd_case_prefix(line, "DATA"))
        return more_input(c, used);
    if (rmd_case_prefix(line, "EHLO") || rmd_case_prefix(line, "HELO") || rmd_case_prefix(line, "STARTTLS"))
        return c->in.len > c->in_pos + used;
    return !(c->provider->policy.pipelining && c->extended) && c->in.len > c->in_pos + used;
}

static bool bad_line(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *what, const char *text) {
    rmd_rcv_smtp_violation(r, c, what);
    rmd_rcv_reply(r, c, RCV_MAIL, "syntax", NULL, text);
    rmd_rcv_conn_drain(r, c);
    return true;
}

static bool command(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    const uint8_t *p = c->in.p + c->in_pos;
    size_t n = c->in.len - c->in_pos;
    const uint8_t *lf = n ? memchr(p, '\n', n) : NULL;
    if (!lf && n <= RCV_COMMAND_MAX)
        return false;
    size_t used = lf ? (size_t)(lf - p) + 1 : n;
    if (used > RCV_COMMAND_MAX)
        return bad_line(r, c, "command line too long", "500 5.5.6 line too long");
    if (used < 2 || p[used - 2] != '\r') {
        c->provider->n_smuggling++;
        return bad_line(r, c, "bare LF ends a command", "554 5.5.2 bare LF");
    }
    struct rmd_slice line = rmd_slice(p, used - 2);
    if (memchr(p, '\r', line.n) || memchr(p, 0, line.n))
        return bad_line(r, c, "bare CR or NUL in a command", "554 5.5.2 bare CR or NUL");
    int stage = stage_of(line);
    if (stage >= 0 && !rmd_rcv_smtp_gate(r, c, (enum rmd_rcv_stage)stage))
        return false;
    if (sent_ahead(c, line, used))
        return bad_line(r, c, "input sent ahead of a reply that had to be waited for",
                        "503 5.5.0 improper command pipelining");
    c->in_pos += used;
    rmd_rcv_smtp_command(r, c, line);
    return true;
}

static bool handshake(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    int rc = rmd_rcv_tls_handshake(r, c);
    if (rc < 0) {
        rmd_rcv_conn_close(r, c);
        return true;
    }
    if (rc == 0)
        return false;
    c->state = RCV_S_COMMAND;
    c->greeted = c->extended = false;
    rmd_rcv_smtp_reset(c);
    return true;
}

/* Adds one chunk of an endless reply; the next when this one has left. */
static bool flood(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    static const char line[] = "250-there is always one line more to come before the last\r\n";
    if (c->out.len - c->out_pos >= FLOOD_CHUNK)
        return false;
    if (c->flooded >= (uint64_t)c->provider->policy.flood_bytes) {
        rmd_rcv_conn_drain(r, c);
        return true;
    }
    for (size_t n = 0; n < FLOOD_CHUNK; n += sizeof line - 1, c->flooded += sizeof line - 1)
        rmd_buf_add(&c->out, line, sizeof line - 1);
    return false;
}

static bool content(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    if (c->cut == RCV_CUT_BEFORE_DOT && c->in.len > c->in_pos) {
        rmd_rcv_cut(r, c, c->cut);
        return true;
    }
    return c->state == RCV_S_CONTENT ? rmd_rcv_content_feed(r, c) : rmd_rcv_bdat_feed(r, c);
}

bool rmd_rcv_smtp_step(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    switch (c->state) {
    case RCV_S_GREETING:
        return greet(r, c);
    case RCV_S_COMMAND:
        return command(r, c);
    case RCV_S_CONTENT:
    case RCV_S_BDAT:
        return content(r, c);
    case RCV_S_DOT:
        if (!rmd_rcv_smtp_gate(r, c, RCV_DOT))
            return false;
        rmd_rcv_content_done(r, c);
        return true;
    case RCV_S_TLS:
        return handshake(r, c);
    case RCV_S_FLOOD:
        return flood(r, c);
    }
    return false;
}
