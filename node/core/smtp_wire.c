/* Wire forms of the SMTP client (contract: smtp_wire.h): RFC 5321 sections 4.1 and 4.5.2, RFC 1870, 3030, 3461, 6152,
 * 6531, 8689. */
#include "node/core/smtp_wire.h"

#include <base/text.h>

void rmd_smtp_wire_ehlo(struct rmd_slice line, struct rmd_smtp_extensions *ext) {
    if (line.n < 5)
        return;
    struct rmd_slice s = rmd_trim(rmd_slice(line.p + 4, line.n - 4));
    size_t n = 0;
    while (n < s.n && s.p[n] != ' ' && s.p[n] != '=')
        n++;
    struct rmd_slice word = rmd_slice(s.p, n);
    const struct {
        const char *name;
        bool *flag;
    } known[] = {
        {"PIPELINING", &ext->pipelining},
        {"SIZE", &ext->size},
        {"8BITMIME", &ext->eightbitmime},
        {"SMTPUTF8", &ext->smtputf8},
        {"STARTTLS", &ext->starttls},
        {"CHUNKING", &ext->chunking},
        {"DSN", &ext->dsn},
        {"REQUIRETLS", &ext->requiretls},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (rmd_case_eq(word, rmd_slice_str(known[i].name)))
            *known[i].flag = true;
    uint64_t max;
    if (rmd_case_eq(word, rmd_slice_str("SIZE")) && n < s.n &&
        rmd_parse_u64(rmd_trim(rmd_slice(s.p + n + 1, s.n - n - 1)), &max) == RMD_OK)
        ext->size_max = max;
}

/* Outside of a quoted local part a blank or bracket would end the path and start parameters of the command. */
static bool address_is_safe(const char *s) {
    bool quoted = false;
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (ch < 0x20 || ch == 0x7f)
            return false;
        if (quoted && ch == '\\' && s[1] >= 0x20)
            s++;
        else if (ch == '"')
            quoted = !quoted;
        else if (!quoted && (ch == ' ' || ch == '<' || ch == '>'))
            return false;
    }
    return !quoted;
}

int rmd_smtp_wire_carries(const struct rmd_smtp_extensions *ext, const struct rmd_smtp_mail *m,
                          enum rmd_own_error *why) {
    if (!address_is_safe(m->mail_from) || !address_is_safe(m->rcpt_to))
        *why = RMD_OWN_RENDER_FAILED;
    else if (ext->size && ext->size_max && m->size > ext->size_max)
        *why = RMD_OWN_SIZE_EXCEEDED;
    else if (m->smtputf8 && !ext->smtputf8)
        *why = RMD_OWN_NO_SMTPUTF8;
    else if (m->eightbit && !ext->eightbitmime)
        *why = RMD_OWN_NO_8BITMIME;
    else if (m->requiretls && !ext->requiretls)
        *why = RMD_OWN_NO_REQUIRETLS;
    else
        return RMD_OK;
    return RMD_EUNSUPPORTED;
}

/* RFC 3461 section 4: printable ASCII but "+" and "=" as it is, all else as "+" and two hexadecimal digits. */
static void add_xtext(struct rmd_buf *out, const char *s) {
    static const char digits[] = "0123456789ABCDEF";
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c > ' ' && c < 0x7f && c != '+' && c != '=')
            rmd_buf_addc(out, (char)c);
        else
            rmd_buf_add(out, (char[]){'+', digits[c >> 4], digits[c & 15]}, 3);
    }
}

void rmd_smtp_wire_mail(const struct rmd_smtp_extensions *ext, const struct rmd_smtp_mail *m, struct rmd_buf *out) {
    rmd_buf_add(out, "MAIL FROM:<", 11);
    rmd_buf_addstr(out, m->mail_from);
    rmd_buf_addc(out, '>');
    if (ext->size) {
        rmd_buf_add(out, " SIZE=", 6);
        rmd_buf_add_u64(out, m->size);
    }
    if (m->eightbit)
        rmd_buf_add(out, " BODY=8BITMIME", 14);
    if (m->smtputf8)
        rmd_buf_add(out, " SMTPUTF8", 9);
    if (m->requiretls)
        rmd_buf_add(out, " REQUIRETLS", 11);
    if (ext->dsn && m->notify) {
        rmd_buf_add(out, " RET=HDRS", 9); /* a bounce needn't bring the body back */
        if (m->envid) {
            rmd_buf_add(out, " ENVID=", 7);
            add_xtext(out, m->envid);
        }
    }
    rmd_buf_add(out, "\r\n", 2);
}

void rmd_smtp_wire_rcpt(const struct rmd_smtp_extensions *ext, const struct rmd_smtp_mail *m, struct rmd_buf *out) {
    rmd_buf_add(out, "RCPT TO:<", 9);
    rmd_buf_addstr(out, m->rcpt_to);
    rmd_buf_addc(out, '>');
    if (ext->dsn && m->notify) {
        rmd_buf_add(out, " NOTIFY=", 8);
        rmd_buf_addstr(out, m->notify);
        if (rmd_is_ascii(
                rmd_slice_str(m->rcpt_to))) { /* others have a form of their own (RFC 6533), and it is optional */
            rmd_buf_add(out, " ORCPT=rfc822;", 14);
            add_xtext(out, m->rcpt_to);
        }
    }
    rmd_buf_add(out, "\r\n", 2);
}

/* Dots are rare, those at the start of a line more so: the search is for dots, and all between two stuffed ones goes
 * over in one copy. */
void rmd_smtp_wire_content(struct rmd_slice message, struct rmd_buf *out) {
    rmd_buf_reserve(out, message.n + message.n / 64 + 16);
    const uint8_t *from = message.p, *end = message.p + message.n, *p = message.p;
    while (p < end && (p = memchr(p, '.', (size_t)(end - p)))) {
        if (p == message.p || p[-1] == '\n') {
            rmd_buf_add(out, from, (size_t)(p - from));
            rmd_buf_addc(out, '.');
            from = p;
        }
        p++;
    }
    if (from < end)
        rmd_buf_add(out, from, (size_t)(end - from));
    bool ended = message.n >= 2 && end[-2] == '\r' && end[-1] == '\n';
    rmd_buf_addstr(out, ended || !message.n ? ".\r\n" : "\r\n.\r\n");
}

void rmd_smtp_wire_bdat(struct rmd_slice message, struct rmd_buf *out) {
    rmd_buf_reserve(out, message.n + 32);
    rmd_buf_add(out, "BDAT ", 5);
    rmd_buf_add_u64(out, message.n);
    rmd_buf_add(out, " LAST\r\n", 7);
    if (message.n)
        rmd_buf_add(out, message.p, message.n);
}
