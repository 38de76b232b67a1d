/* The settings of a provider: one table for the file, the control socket's `set` and `get`, and --settings. */
#include "tests/receivers/receivers.h"

#include <stdarg.h>

enum type { T_BOOL, T_INT, T_MS, T_BYTES, T_FRACTION, T_TEXT, T_LIST, T_STAGES, T_TLS };

struct row {
    const char *name;
    enum type type;
    size_t offset;
    const char *preset;
    const char *help;
};

#define AT(member) offsetof(struct rmd_rcv_policy, member)
static const struct row rows[] = {
    {"pipelining", T_BOOL, AT(pipelining), "on", "offer PIPELINING; off: commands sent ahead are a violation"},
    {"ehlo", T_BOOL, AT(ehlo), "on", "off: 502 to EHLO, HELO only"},
    {"8bitmime", T_BOOL, AT(eightbitmime), "on", "offer 8BITMIME"},
    {"smtputf8", T_BOOL, AT(smtputf8), "on", "offer SMTPUTF8"},
    {"chunking", T_BOOL, AT(chunking), "off", "offer CHUNKING and take BDAT"},
    {"dsn", T_BOOL, AT(dsn), "off", "offer DSN; what was asked for is logged with mail and rcpt"},
    {"requiretls", T_BOOL, AT(requiretls), "off", "offer REQUIRETLS over TLS"},
    {"starttls", T_TLS, AT(starttls), "on", "off, on, required, broken (garbage after 220), refuse (454)"},
    {"size", T_BYTES, AT(size_bytes), "20MB", "largest message taken"},
    {"announce_size", T_BYTES, AT(announce_size_bytes), "0", "SIZE said in EHLO; 0: the truth"},
    {"strict_line", T_BOOL, AT(strict_line), "on", "refuse lines over `line` bytes"},
    {"line", T_BYTES, AT(line_bytes), "1000", "longest line of content, with CRLF"},
    {"rcpts", T_INT, AT(rcpts), "100", "recipients a transaction"},
    {"rcpt_per_minute", T_INT, AT(rcpt_per_minute), "0", "RCPT a client address in any 60 s; 0: no limit"},
    {"throttle", T_INT, AT(throttle), "0",
     "RCPT a second of a client address that are borne; each push beyond costs a twentieth of it, a second of "
     "patience gives a fiftieth back; 0: off"},
    {"throttle_least", T_INT, AT(throttle_least), "1", "what is always borne, a second"},
    {"rate_text", T_TEXT, AT(rate_text),
     "421 RP-001 (%host) Unfortunately, some messages from %ip weren't sent. Please try again. We have limits for "
     "how "
     "many messages can be sent per hour and per day.",
     "said at RCPT over the limit"},
    {"connections_per_ip", T_INT, AT(connections_per_ip), "0", "open connections a client address; 0: no limit"},
    {"connections", T_INT, AT(connections), "0", "open connections in all; 0: no limit"},
    {"connections_text", T_TEXT, AT(connections_text),
     "421 4.7.0 %host Too many connections from %ip, try again later", "greeting over either limit"},
    {"messages_per_connection", T_INT, AT(messages_per_connection), "0", "accepted on a connection; 0: no limit"},
    {"messages_text", T_TEXT, AT(messages_text), "421 RP-002 (%host) Too many messages on this connection",
     "at MAIL"},
    {"greylist", T_BOOL, AT(greylist), "off", "first attempt of (client, sender, recipient) is deferred"},
    {"greylist_delay", T_MS, AT(greylist_ms), "5min", "how long until the triplet passes"},
    {"greylist_text", T_TEXT, AT(greylist_text), "451 4.7.1 Greylisted, please try again later", ""},
    {"unknown_users", T_LIST, AT(unknown_users), "",
     "patterns of local parts (or addresses with @) that don't exist"},
    {"unknown", T_FRACTION, AT(unknown), "0", "share of addresses, by hash, that don't exist"},
    {"unknown_text", T_TEXT, AT(unknown_text), "550 5.1.1 <%rcpt>: Recipient address rejected: User unknown", ""},
    {"full_users", T_LIST, AT(full_users), "", "patterns of local parts whose mailbox is full"},
    {"full", T_FRACTION, AT(full), "0", "share of addresses, by hash, whose mailbox is full"},
    {"full_text", T_TEXT, AT(full_text), "452 4.2.2 <%rcpt> Mailbox full", "a 552 makes it permanent"},
    {"defer", T_FRACTION, AT(defer), "0", "probability that a RCPT is deferred for no reason"},
    {"defer_text", T_TEXT, AT(defer_text), "451 4.3.0 <%rcpt> Temporary failure, try again later", ""},
    {"content_words", T_LIST, AT(content_words), "", "words (any case) in header or body that refuse the message"},
    {"content_text", T_TEXT, AT(content_text), "550 5.7.1 Message refused because of its content (%word)", ""},
    {"relay_text", T_TEXT, AT(relay_text), "550 5.7.1 <%rcpt>: Relay access denied", "domains not in `domains`"},
    {"dnsbl_zone", T_TEXT, AT(dnsbl_zone), "", "blocklist to ask about the client"},
    {"dnsbl_server", T_TEXT, AT(dnsbl_server), "", "address:port of the name server that serves it"},
    {"dnsbl_stage", T_STAGES, AT(dnsbl_stages), "greeting", "where the answer counts"},
    {"dnsbl_text", T_TEXT, AT(dnsbl_text), "554 5.7.1 Service unavailable; Client host [%ip] blocked using %zone",
     ""},
    {"dnsbl_cache", T_MS, AT(dnsbl_cache_ms), "1s", "how long an answer is used"},
    {"dnsbl_timeout", T_MS, AT(dnsbl_timeout_ms), "2s", "no answer until then: not listed"},
    {"idle", T_MS, AT(idle_ms), "5min", "silence after which the connection is closed with 421"},
    {"delay", T_MS, AT(delay_ms), "0", "before every reply"},
    {"delay_greeting", T_MS, AT(delay_stage_ms[RCV_GREETING]), "0", "added to delay, at its stage"},
    {"delay_ehlo", T_MS, AT(delay_stage_ms[RCV_EHLO]), "0", ""},
    {"delay_mail", T_MS, AT(delay_stage_ms[RCV_MAIL]), "0", ""},
    {"delay_rcpt", T_MS, AT(delay_stage_ms[RCV_RCPT]), "0", ""},
    {"delay_data", T_MS, AT(delay_stage_ms[RCV_DATA]), "0", ""},
    {"delay_dot", T_MS, AT(delay_stage_ms[RCV_DOT]), "0", ""},
    {"drip", T_MS, AT(drip_ms), "0", "replies byte by byte, this far apart"},
    {"drip_stage", T_STAGES, AT(drip_stages), "any", ""},
    {"nul_stage", T_STAGES, AT(nul_stages), "none", "NULs inside the replies of these stages"},
    {"flood_stage", T_STAGES, AT(flood_stages), "none", "an endless multi-line reply at these stages"},
    {"flood_bytes", T_BYTES, AT(flood_bytes), "64MB", "where endless ends, with a closed connection"},
    {"multiline", T_INT, AT(multiline), "0", "extra lines before the last of every reply"},
    {"reset", T_BOOL, AT(reset), "off", "cuts reset the connection (RST)"},
    {"cut_greeting", T_FRACTION, AT(cut[RCV_CUT_GREETING]), "0", "probability that the connection is cut there"},
    {"cut_ehlo", T_FRACTION, AT(cut[RCV_CUT_EHLO]), "0", ""},
    {"cut_mail", T_FRACTION, AT(cut[RCV_CUT_MAIL]), "0", ""},
    {"cut_rcpt", T_FRACTION, AT(cut[RCV_CUT_RCPT]), "0", ""},
    {"cut_data", T_FRACTION, AT(cut[RCV_CUT_DATA]), "0", "instead of the 354"},
    {"cut_before_dot", T_FRACTION, AT(cut[RCV_CUT_BEFORE_DOT]), "0", "after the 354, at the first bytes of content"},
    {"cut_after_lost", T_FRACTION, AT(cut[RCV_CUT_AFTER_LOST]), "0", "after the dot, the message forgotten"},
    {"cut_after_accepted", T_FRACTION, AT(cut[RCV_CUT_AFTER_ACCEPTED]), "0", "after the dot, the message accepted"},
    {"cut_nth_data", T_INT, AT(cut_nth[RCV_CUT_DATA]), "0", "the same for the n-th transaction (from 1)"},
    {"cut_nth_before_dot", T_INT, AT(cut_nth[RCV_CUT_BEFORE_DOT]), "0", ""},
    {"cut_nth_after_lost", T_INT, AT(cut_nth[RCV_CUT_AFTER_LOST]), "0", ""},
    {"cut_nth_after_accepted", T_INT, AT(cut_nth[RCV_CUT_AFTER_ACCEPTED]), "0", ""},
    {"reply_greeting", T_TEXT, AT(reply[RCV_GREETING]), "", "said instead of going on, whoever it is"},
    {"reply_ehlo", T_TEXT, AT(reply[RCV_EHLO]), "", ""},
    {"reply_mail", T_TEXT, AT(reply[RCV_MAIL]), "", ""},
    {"reply_rcpt", T_TEXT, AT(reply[RCV_RCPT]), "", ""},
    {"reply_data", T_TEXT, AT(reply[RCV_DATA]), "", ""},
    {"reply_dot", T_TEXT, AT(reply[RCV_DOT]), "", ""},
};
enum { ROWS = sizeof rows / sizeof *rows };

static const char *const stage_names[RCV_STAGES] = {"greeting", "ehlo", "mail", "rcpt", "data", "dot"};
static const char *const cut_names[RCV_CUTS] = {"greeting", "ehlo",       "mail",       "rcpt",
                                                "data",     "before-dot", "after-lost", "after-accepted"};
static const char *const tls_names[] = {"off", "on", "required", "broken", "refuse"};

const char *rmd_rcv_stage_name(enum rmd_rcv_stage s) {
    return stage_names[s];
}

const char *rmd_rcv_cut_name(int cut) {
    return cut_names[cut];
}

int rmd_rcv_cut_parse(const char *s) {
    for (int i = 0; i < RCV_CUTS; i++)
        if (!strcmp(s, cut_names[i]))
            return i;
    return -1;
}

int rmd_rcv_bool_parse(const char *s, bool *out) {
    if (!strcmp(s, "on") || !strcmp(s, "yes") || !strcmp(s, "true"))
        *out = true;
    else if (!strcmp(s, "off") || !strcmp(s, "no") || !strcmp(s, "false"))
        *out = false;
    else
        return RMD_EFORMAT;
    return RMD_OK;
}

void rmd_rcv_list_add(struct rmd_rcv_list *l, const char *s) {
    while (*s && l->n < RCV_LIST_MAX) {
        size_t n = strcspn(s, ",");
        struct rmd_slice item = rmd_trim(rmd_slice(s, n));
        if (item.n) {
            l->v = rmd_realloc(l->v, (l->n + 1) * sizeof *l->v);
            l->v[l->n++] = rmd_strndup(item.p, item.n);
        }
        s += n + (s[n] == ',');
    }
}

void rmd_rcv_list_release(struct rmd_rcv_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct rmd_rcv_list){0};
}

int rmd_rcv_stages_parse(const char *s, int64_t *bits) {
    struct rmd_rcv_list l = {0};
    int rc = RMD_OK;
    *bits = 0;
    rmd_rcv_list_add(&l, s);
    for (size_t i = 0; i < l.n && !rc; i++) {
        int64_t bit = !strcmp(l.v[i], "any") ? (int64_t)RCV_ANY : 0;
        for (int k = 0; k < RCV_STAGES && !bit; k++)
            if (!strcmp(l.v[i], stage_names[k]))
                bit = 1 << k;
        *bits |= bit;
        if (!bit && strcmp(l.v[i], "none"))
            rc = RMD_EFORMAT;
    }
    rmd_rcv_list_release(&l);
    return rc;
}

static int fraction_parse(const char *s, double *out) {
    char *end;
    double d = strtod(s, &end);
    if (end == s || *end || !(d >= 0 && d <= 1))
        return RMD_EFORMAT;
    *out = d;
    return RMD_OK;
}

static int int_parse(const struct row *row, const char *s, int64_t *out) {
    uint64_t u = 0;
    int rc = RMD_OK;
    if (row->type == T_MS)
        return rmd_parse_duration_ms(rmd_slice_str(s), out);
    if (row->type == T_STAGES)
        return rmd_rcv_stages_parse(s, out);
    if (row->type == T_TLS) {
        for (size_t i = 0; i < sizeof tls_names / sizeof *tls_names; i++)
            if (!strcmp(s, tls_names[i])) {
                *out = (int64_t)i;
                return RMD_OK;
            }
        return RMD_EFORMAT;
    }
    rc = row->type == T_BYTES ? rmd_parse_bytes(rmd_slice_str(s), &u) : rmd_parse_u64(rmd_slice_str(s), &u);
    if (!rc && u > INT32_MAX)
        rc = RMD_ELIMIT;
    *out = (int64_t)u;
    return rc;
}

/* "\n", "\r", "\0" are spelled out in the file; the text is kept with a NUL as "\0" spelled out, see rmd_rcv_reply.
 */
static char *unescape(const char *s) {
    struct rmd_buf b = {0};
    for (; *s; s++) {
        if (s[0] == '\\' && (s[1] == 'n' || s[1] == 'r' || s[1] == '\\')) {
            rmd_buf_addc(&b, s[1] == 'n' ? '\n' : s[1] == 'r' ? '\r' : '\\');
            s++;
        } else {
            rmd_buf_addc(&b, *s);
        }
    }
    char *text = rmd_strdup(rmd_buf_str(&b));
    rmd_buf_release(&b);
    return text;
}

static int row_set(const struct row *row, struct rmd_rcv_policy *p, const char *value) {
    void *at = (char *)p + row->offset;
    switch (row->type) {
    case T_BOOL:
        return rmd_rcv_bool_parse(value, at);
    case T_FRACTION:
        return fraction_parse(value, at);
    case T_TEXT: {
        char **text = at;
        free(*text);
        *text = *value ? unescape(value) : NULL;
        return RMD_OK;
    }
    case T_LIST:
        rmd_rcv_list_release(at);
        rmd_rcv_list_add(at, value);
        return RMD_OK;
    case T_INT:
    case T_MS:
    case T_BYTES:
    case T_STAGES:
    case T_TLS:
        break;
    }
    int64_t n;
    int rc = int_parse(row, value, &n);
    if (!rc)
        memcpy(at, &n, sizeof n);
    return rc;
}

int rmd_rcv_policy_set(struct rmd_rcv_policy *p, const char *name, const char *value, char *err, size_t err_n) {
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name))
            continue;
        int rc = row_set(&rows[i], p, value);
        if (rc)
            (void)rmd_format(err, err_n, "%s: \"%s\" is not a value for it (%s)", name, value, rmd_error_text(rc));
        return rc;
    }
    (void)rmd_format(err, err_n, "%s: no such setting (see --settings)", name);
    return RMD_ENOTFOUND;
}

void rmd_rcv_policy_defaults(struct rmd_rcv_policy *p) {
    *p = (struct rmd_rcv_policy){0};
    for (size_t i = 0; i < ROWS; i++)
        if (row_set(&rows[i], p, rows[i].preset)) {
            fprintf(stderr, "the built-in value of %s is wrong\n", rows[i].name);
            abort();
        }
}

void rmd_rcv_policy_copy(struct rmd_rcv_policy *to, const struct rmd_rcv_policy *from) {
    *to = *from;
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].type == T_TEXT) {
            char **text = (char **)(void *)((char *)to + rows[i].offset);
            *text = *text ? rmd_strdup(*text) : NULL;
        } else if (rows[i].type == T_LIST) {
            const struct rmd_rcv_list *l = (const void *)((const char *)from + rows[i].offset);
            struct rmd_rcv_list *copy = (void *)((char *)to + rows[i].offset);
            *copy = (struct rmd_rcv_list){0};
            for (size_t k = 0; k < l->n; k++)
                rmd_rcv_list_add(copy, l->v[k]);
        }
    }
}

void rmd_rcv_policy_release(struct rmd_rcv_policy *p) {
    for (size_t i = 0; i < ROWS; i++) {
        void *at = (char *)p + rows[i].offset;
        if (rows[i].type == T_TEXT)
            free(*(char **)at);
        else if (rows[i].type == T_LIST)
            rmd_rcv_list_release(at);
    }
}

static void stages_format(int64_t bits, struct rmd_buf *out) {
    size_t start = out->len;
    for (int k = 0; k < RCV_STAGES; k++)
        if (bits >> k & 1)
            rmd_buf_addf(out, "%s%s", out->len > start ? "," : "", stage_names[k]);
    if (out->len == start)
        rmd_buf_addstr(out, "none");
}

bool rmd_rcv_policy_get(const struct rmd_rcv_policy *p, size_t i, const char **name, struct rmd_buf *value) {
    if (i >= ROWS)
        return false;
    const void *at = (const char *)p + rows[i].offset;
    int64_t n = 0;
    *name = rows[i].name;
    switch (rows[i].type) {
    case T_BOOL:
        rmd_buf_addstr(value, *(const bool *)at ? "on" : "off");
        break;
    case T_FRACTION:
        rmd_buf_addf(value, "%g", *(const double *)at);
        break;
    case T_TEXT:
        rmd_buf_addstr(value, *(char *const *)at ? *(char *const *)at : "");
        break;
    case T_LIST:
        for (size_t k = 0; k < ((const struct rmd_rcv_list *)at)->n; k++)
            rmd_buf_addf(value, "%s%s", k ? ", " : "", ((const struct rmd_rcv_list *)at)->v[k]);
        break;
    case T_TLS:
        memcpy(&n, at, sizeof n);
        rmd_buf_addstr(value, tls_names[n]);
        break;
    case T_STAGES:
        memcpy(&n, at, sizeof n);
        stages_format(n, value);
        break;
    case T_INT:
    case T_MS:
    case T_BYTES:
        memcpy(&n, at, sizeof n);
        rmd_buf_addf(value, "%lld%s", (long long)n, rows[i].type == T_MS ? "ms" : "");
        break;
    }
    return true;
}

void rmd_rcv_policy_help(struct rmd_buf *out) {
    static const char *const kinds[] = {"on|off", "number", "duration", "bytes", "0..1",
                                        "text",   "list",   "stages",   "word"};
    for (size_t i = 0; i < ROWS; i++)
        rmd_buf_addf(out, "%-24s %-9s %-10s %s\n", rows[i].name, kinds[rows[i].type],
                     strlen(rows[i].preset) > 10 ? "(text)" : rows[i].preset, rows[i].help);
}
