/* The commands of RFC 5321, read strictly: what a careless client gets away with elsewhere is refused here. */
#include "tests/receivers/receivers.h"

struct params {
    int64_t size;
    bool body8, utf8, requiretls;
    struct rmd_slice ret, envid; /* DSN */
    const char *error;           /* reply text */
};

static void say(struct rmd_rcv *r, struct rmd_rcv_conn *c, enum rmd_rcv_stage stage, const char *reason,
                const char *rcpt, const char *text) {
    rmd_rcv_reply(r, c, stage, reason, rcpt, text);
}

static bool name_ok(struct rmd_slice s) {
    if (!s.n || s.n > 255)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("<>()\\,;\"", s.p[i]))
            return false;
    return true;
}

static void ehlo_reply(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    int64_t size = p->announce_size_bytes ? p->announce_size_bytes : p->size_bytes;
    struct rmd_buf b = {0};
    rmd_buf_addf(&b, "250 %%host at your service, [%%ip]\nSIZE %lld\nENHANCEDSTATUSCODES", (long long)size);
    if (p->pipelining)
        rmd_buf_addstr(&b, "\nPIPELINING");
    if (p->eightbitmime)
        rmd_buf_addstr(&b, "\n8BITMIME");
    if (p->smtputf8)
        rmd_buf_addstr(&b, "\nSMTPUTF8");
    if (p->chunking)
        rmd_buf_addstr(&b, "\nCHUNKING");
    if (p->dsn)
        rmd_buf_addstr(&b, "\nDSN");
    if (p->requiretls && c->ssl)
        rmd_buf_addstr(&b, "\nREQUIRETLS");
    if (p->starttls != RCV_TLS_OFF && !c->ssl)
        rmd_buf_addstr(&b, "\nSTARTTLS");
    say(r, c, RCV_EHLO, NULL, NULL, rmd_buf_str(&b));
    rmd_buf_release(&b);
}

static void cmd_hello(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice arg, bool extended) {
    if (!name_ok(arg)) {
        say(r, c, RCV_EHLO, "syntax", NULL, "501 5.5.4 Syntax: EHLO hostname");
        return;
    }
    (void)rmd_copy_slice(c->helo, sizeof c->helo, arg);
    struct rmd_buf *b = rmd_rcv_line(r, c, "ehlo");
    rmd_rcv_json_str(b, "helo", arg);
    rmd_rcv_json_bool(b, "extended", extended);
    rmd_rcv_line_end(r);
    rmd_rcv_smtp_reset(c);
    c->greeted = false;
    if (rmd_rcv_policy_refuses(r, c, RCV_EHLO, NULL))
        return;
    if (extended && !c->provider->policy.ehlo) {
        say(r, c, RCV_EHLO, "ehlo", NULL, "502 5.5.1 Error: command not implemented");
        return;
    }
    c->greeted = true;
    c->extended = extended;
    if (extended)
        ehlo_reply(r, c);
    else
        say(r, c, RCV_EHLO, NULL, NULL, "250 %host");
}

/* "<local@domain>" at the beginning of s; returns the bytes used, 0 when it isn't one. addr: without the brackets. */
static size_t path_parse(struct rmd_slice s, struct rmd_slice *addr) {
    bool quoted = false;
    size_t at = 0;
    if (!s.n || s.p[0] != '<')
        return 0;
    for (size_t i = 1; i < s.n; i++) {
        uint8_t ch = s.p[i];
        if (quoted && ch == '\\') {
            i++;
        } else if (ch == '"') {
            quoted = !quoted;
        } else if (!quoted && ch == '@') {
            at = i;
        } else if (!quoted && ch == '>') {
            *addr = rmd_slice(s.p + 1, i - 1);
            bool local_only = !at && rmd_case_eq(*addr, rmd_slice_str("postmaster"));
            bool full = at > 1 && at + 1 < i && at - 1 <= 64 && addr->n <= 254 && s.p[1] != '@';
            return addr->n == 0 || local_only || full ? i + 1 : 0;
        } else if (ch < ' ' || ch == 0x7f || (!quoted && (ch == ' ' || ch == '<'))) {
            return 0;
        }
    }
    return 0;
}

static void param(const struct rmd_rcv_conn *c, struct rmd_slice word, struct params *out) {
    const struct rmd_rcv_policy *p = &c->provider->policy;
    uint64_t n;
    if (rmd_case_prefix(word, "SIZE=") && c->extended) {
        if (rmd_parse_u64(rmd_slice(word.p + 5, word.n - 5), &n) || n > INT64_MAX)
            out->error = "501 5.5.4 Bad SIZE";
        else
            out->size = (int64_t)n;
    } else if (p->eightbitmime && c->extended && rmd_case_eq(word, rmd_slice_str("BODY=8BITMIME"))) {
        out->body8 = true;
    } else if (p->smtputf8 && c->extended && rmd_case_eq(word, rmd_slice_str("SMTPUTF8"))) {
        out->utf8 = true;
    } else if (p->requiretls && c->ssl && rmd_case_eq(word, rmd_slice_str("REQUIRETLS"))) {
        out->requiretls = true;
    } else if (p->dsn && c->extended &&
               (rmd_case_eq(word, rmd_slice_str("RET=HDRS")) || rmd_case_eq(word, rmd_slice_str("RET=FULL")))) {
        out->ret = rmd_slice(word.p + 4, word.n - 4);
    } else if (p->dsn && c->extended && rmd_case_prefix(word, "ENVID=") && word.n <= 106) {
        out->envid = rmd_slice(word.p + 6, word.n - 6);
    } else if (!(p->eightbitmime && c->extended && rmd_case_eq(word, rmd_slice_str("BODY=7BIT")))) {
        out->error = "555 5.5.4 Unsupported option";
    }
}

static void params_parse(const struct rmd_rcv_conn *c, struct rmd_slice s, struct params *out) {
    while (s.n && !out->error) {
        size_t n = 1;
        if (s.p[0] != ' ') {
            out->error = "501 5.5.4 Syntax: a blank before each parameter";
            return;
        }
        while (n < s.n && s.p[n] != ' ')
            n++;
        if (n == 1)
            out->error = "501 5.5.4 Syntax: an empty parameter";
        else
            param(c, rmd_slice(s.p + 1, n - 1), out);
        s = rmd_slice(s.p + n, s.n - n);
    }
}

static void mail_log(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice from, const struct params *p) {
    struct rmd_buf *b = rmd_rcv_line(r, c, "mail");
    rmd_rcv_json_str(b, "mail_from", from);
    rmd_rcv_json_int(b, "size", p->size);
    rmd_rcv_json_bool(b, "body8", p->body8);
    rmd_rcv_json_bool(b, "utf8", p->utf8);
    if (p->requiretls)
        rmd_rcv_json_bool(b, "requiretls", true);
    if (p->ret.n)
        rmd_rcv_json_str(b, "ret", p->ret);
    if (p->envid.n)
        rmd_rcv_json_str(b, "envid", p->envid);
    rmd_rcv_line_end(r);
}

static const char *mail_problem(const struct rmd_rcv_conn *c, struct rmd_slice from, const struct params *p,
                                const char **reason) {
    const struct rmd_rcv_policy *policy = &c->provider->policy;
    *reason = "syntax";
    if (p->error)
        return p->error;
    if (!rmd_is_ascii(from) && !p->utf8)
        return "553 5.6.7 A non-ASCII address needs SMTPUTF8";
    *reason = "tls";
    if (policy->starttls == RCV_TLS_REQUIRED && !c->ssl)
        return "530 5.7.0 Must issue a STARTTLS command first";
    *reason = "messages";
    if (policy->messages_per_connection && c->accepted >= policy->messages_per_connection)
        return policy->messages_text;
    *reason = "size";
    if (p->size > policy->size_bytes)
        return "552 5.3.4 Message size exceeds fixed limit";
    return NULL;
}

static void cmd_mail(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice arg) {
    struct params p = {0};
    struct rmd_slice from = {0};
    const char *reason;
    size_t used = rmd_case_prefix(arg, "FROM:") ? path_parse(rmd_slice(arg.p + 5, arg.n - 5), &from) : 0;
    if (!used) {
        say(r, c, RCV_MAIL, "syntax", NULL, "501 5.5.4 Syntax: MAIL FROM:<address>");
        return;
    }
    if (!c->greeted || c->mail) {
        say(r, c, RCV_MAIL, "sequence", NULL,
            c->mail ? "503 5.5.1 Error: nested MAIL command" : "503 5.5.1 Error: send HELO/EHLO first");
        return;
    }
    params_parse(c, rmd_slice(arg.p + 5 + used, arg.n - 5 - used), &p);
    (void)rmd_copy_slice(c->sender, sizeof c->sender, from);
    mail_log(r, c, from, &p);
    if (rmd_rcv_policy_refuses(r, c, RCV_MAIL, NULL))
        return;
    const char *problem = mail_problem(c, from, &p, &reason);
    if (problem) {
        say(r, c, RCV_MAIL, reason, NULL, problem);
        return;
    }
    rmd_rcv_smtp_reset(c);
    c->mail = true;
    c->message++;
    c->utf8 = p.utf8;
    c->body8 = p.body8;
    c->declared_size = p.size;
    say(r, c, RCV_MAIL, NULL, NULL, "250 2.1.0 Ok");
}

struct rcpt_params {
    struct rmd_slice notify, orcpt;
    bool unknown;
};

static void rcpt_params_parse(const struct rmd_rcv_conn *c, struct rmd_slice s, struct rcpt_params *out) {
    bool dsn = c->provider->policy.dsn && c->extended;
    while (s.n && !out->unknown) {
        size_t n = 1;
        while (n < s.n && s.p[n] != ' ')
            n++;
        struct rmd_slice word = rmd_slice(s.p + 1, n - 1);
        if (dsn && s.p[0] == ' ' && rmd_case_prefix(word, "NOTIFY=") && word.n > 7)
            out->notify = rmd_slice(word.p + 7, word.n - 7);
        else if (dsn && s.p[0] == ' ' && rmd_case_prefix(word, "ORCPT=rfc822;") && word.n > 13)
            out->orcpt = rmd_slice(word.p + 6, word.n - 6);
        else
            out->unknown = true;
        s = rmd_slice(s.p + n, s.n - n);
    }
}

/* One line for every RCPT command that named an address: what was offered. A `refused` line follows when it was
 * refused. */
static void rcpt_log(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *rcpt, const struct rcpt_params *p) {
    struct rmd_buf *b = rmd_rcv_line(r, c, "rcpt");
    rmd_rcv_json_cstr(b, "mail_from", c->sender);
    rmd_rcv_json_cstr(b, "rcpt", rcpt);
    if (p->notify.n)
        rmd_rcv_json_str(b, "notify", p->notify);
    if (p->orcpt.n)
        rmd_rcv_json_str(b, "orcpt", p->orcpt);
    rmd_rcv_line_end(r);
    c->provider->n_rcpts++;
}

static const char *rcpt_problem(struct rmd_rcv *r, struct rmd_rcv_conn *c, const char *rcpt, const char **reason) {
    *reason = "sequence";
    if (!c->mail)
        return "503 5.5.1 Error: need MAIL command";
    *reason = "syntax";
    if (!rmd_is_ascii(rmd_slice_str(rcpt)) && !c->utf8)
        return "553 5.6.7 A non-ASCII address needs SMTPUTF8";
    *reason = "recipients";
    if (c->rcpts_n >= (uint64_t)c->provider->policy.rcpts || c->rcpts_n >= RCV_RCPTS_MAX)
        return "452 4.5.3 Error: too many recipients";
    return rmd_rcv_policy_rcpt(r, c, rcpt, reason);
}

static void cmd_rcpt(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice arg) {
    struct rmd_slice to = {0};
    const char *reason, *problem;
    size_t used = rmd_case_prefix(arg, "TO:") ? path_parse(rmd_slice(arg.p + 3, arg.n - 3), &to) : 0;
    if (!used || !to.n) {
        say(r, c, RCV_RCPT, "syntax", NULL, "501 5.5.4 Syntax: RCPT TO:<address>");
        return;
    }
    char *rcpt = rmd_strndup(to.p, to.n);
    struct rcpt_params p = {0};
    rcpt_params_parse(c, rmd_slice(arg.p + 3 + used, arg.n - 3 - used), &p);
    rcpt_log(r, c, rcpt, &p);
    if (c->mail && rmd_rcv_policy_refuses(r, c, RCV_RCPT, rcpt)) {
        free(rcpt);
        return;
    }
    if (p.unknown)
        problem = "555 5.5.4 Unsupported option", reason = "syntax";
    else
        problem = rcpt_problem(r, c, rcpt, &reason);
    say(r, c, RCV_RCPT, reason, rcpt, problem ? problem : "250 2.1.5 Ok");
    if (problem) {
        free(rcpt);
        return;
    }
    c->rcpts = rmd_realloc(c->rcpts, (c->rcpts_n + 1) * sizeof *c->rcpts);
    c->rcpts[c->rcpts_n++] = rcpt;
}

/* False: refused, with the reply said. */
static bool content_may_begin(struct rmd_rcv *r, struct rmd_rcv_conn *c, bool chunking) {
    if (!c->mail || !c->rcpts_n) {
        say(r, c, RCV_DATA, "sequence", NULL,
            c->mail ? "554 5.5.1 Error: no valid recipients" : "503 5.5.1 Error: need MAIL command");
        return false;
    }
    rmd_rcv_json_bool(rmd_rcv_line(r, c, "data"), "chunking", chunking);
    rmd_rcv_line_end(r);
    c->cut = rmd_rcv_policy_choose_cut(r, c);
    if (rmd_rcv_policy_refuses(r, c, RCV_DATA, NULL)) {
        if (!c->dead && c->state == RCV_S_COMMAND)
            rmd_rcv_smtp_reset(c);
        return false;
    }
    return true;
}

static void cmd_data(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice arg) {
    if (arg.n) {
        say(r, c, RCV_DATA, "syntax", NULL, "501 5.5.4 Syntax: DATA");
    } else if (c->chunking) {
        say(r, c, RCV_DATA, "sequence", NULL, "503 5.5.1 Error: DATA after BDAT");
    } else if (content_may_begin(r, c, false)) {
        c->state = RCV_S_CONTENT;
        say(r, c, RCV_DATA, NULL, NULL, "354 End data with <CR><LF>.<CR><LF>");
    }
}

/* The chunk's bytes follow whatever is answered, so a refused one is read and dropped (RFC 3030). */
static void cmd_bdat(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice arg) {
    size_t n = 0;
    uint64_t bytes;
    while (n < arg.n && arg.p[n] != ' ')
        n++;
    struct rmd_slice rest = rmd_trim(rmd_slice(arg.p + n, arg.n - n));
    bool last = rmd_case_eq(rest, rmd_slice_str("LAST"));
    if (!c->provider->policy.chunking || rmd_parse_u64(rmd_slice(arg.p, n), &bytes) || (rest.n && !last) ||
        bytes > RCV_MESSAGE_MAX) {
        say(r, c, RCV_DATA, "syntax", NULL, "501 5.5.4 Syntax: BDAT size [LAST]");
        rmd_rcv_conn_drain(r, c);
        return;
    }
    c->bdat_refused = !c->chunking && !content_may_begin(r, c, true);
    if (c->dead || c->closing || c->state != RCV_S_COMMAND)
        return;
    c->chunking = !c->bdat_refused;
    c->bdat_left = bytes;
    c->bdat_last = last;
    c->state = RCV_S_BDAT;
}

static void cmd_starttls(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice arg) {
    int64_t how = c->provider->policy.starttls;
    if (arg.n || how == RCV_TLS_OFF || c->ssl) {
        say(r, c, RCV_EHLO, "tls", NULL, "502 5.5.1 Error: command not implemented");
        return;
    }
    if (how == RCV_TLS_REFUSE || rmd_rcv_tls_start(r, c)) {
        say(r, c, RCV_EHLO, "tls", NULL, "454 4.7.0 TLS not available due to local problem");
        return;
    }
    say(r, c, RCV_EHLO, NULL, NULL, "220 2.0.0 Ready to start TLS");
    if (how == RCV_TLS_BROKEN) {
        rmd_rcv_tls_free(c);
        rmd_buf_addstr(&c->out, "this is not TLS, and it never will be\r\n");
        rmd_rcv_conn_drain(r, c);
        return;
    }
    c->state = RCV_S_TLS;
}

static void cmd_simple(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice verb) {
    if (rmd_case_eq(verb, rmd_slice_str("RSET"))) {
        rmd_rcv_smtp_reset(c);
        say(r, c, RCV_MAIL, NULL, NULL, "250 2.0.0 Ok");
    } else if (rmd_case_eq(verb, rmd_slice_str("NOOP"))) {
        say(r, c, RCV_MAIL, NULL, NULL, "250 2.0.0 Ok");
    } else if (rmd_case_eq(verb, rmd_slice_str("VRFY"))) {
        say(r, c, RCV_MAIL, NULL, NULL, "252 2.0.0 Send some mail, I'll try my best");
    } else {
        say(r, c, RCV_MAIL, "syntax", NULL, "500 5.5.2 Error: command not recognized");
    }
}

void rmd_rcv_smtp_command(struct rmd_rcv *r, struct rmd_rcv_conn *c, struct rmd_slice line) {
    static const struct {
        const char *verb;
        void (*run)(struct rmd_rcv *, struct rmd_rcv_conn *, struct rmd_slice);
    } verbs[] = {
        {"MAIL", cmd_mail}, {"RCPT", cmd_rcpt}, {"DATA", cmd_data}, {"BDAT", cmd_bdat}, {"STARTTLS", cmd_starttls}};
    size_t n = 0;
    while (n < line.n && line.p[n] != ' ')
        n++;
    struct rmd_slice verb = rmd_slice(line.p, n), arg = rmd_slice(line.p + n, line.n - n);
    if (arg.n)
        arg = rmd_slice(arg.p + 1, arg.n - 1);
    if (rmd_case_eq(verb, rmd_slice_str("QUIT"))) {
        rmd_rcv_line(r, c, "quit");
        rmd_rcv_line_end(r);
        say(r, c, RCV_MAIL, NULL, NULL, "221 2.0.0 Bye");
        rmd_rcv_conn_drain(r, c);
        return;
    }
    if (c->refused_greeting) {
        say(r, c, RCV_GREETING, "sequence", NULL, "503 5.5.1 Error: the greeting refused you");
        return;
    }
    bool ehlo = rmd_case_eq(verb, rmd_slice_str("EHLO"));
    if (ehlo || rmd_case_eq(verb, rmd_slice_str("HELO"))) {
        cmd_hello(r, c, arg, ehlo);
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (rmd_case_eq(verb, rmd_slice_str(verbs[i].verb))) {
            verbs[i].run(r, c, arg);
            return;
        }
    cmd_simple(r, c, verb);
}
