/* Fuzz target: whatever a server sends, and whenever. The input is a script: each step is one byte of what to do and
 * its data. 0x00-0x7f n  the next n bytes of the input come from the server 0x80-0x8f    a good reply to what is
 * awaited (see `good`), so that deep states are reached 0x90-0x9f    time passes to the deadline;  0xa0 connection
 * lost;  0xb0 abort;  0xc0 quit;  0xd0 sent;  0xe0 TLS result The first byte: TLS policy and whether EHLO is answered
 * with PIPELINING and CHUNKING, and whether the content is given ahead. Checked: every transaction ends exactly once, an end before the dot was handed out is never
 * ACCEPTED or UNCERTAIN, nothing leaves after CLOSE, and the client always comes to rest. */
#include <stdint.h>

#include "node/core/smtp.h"
#include "tests/kit/smtp_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok)
        __builtin_trap();
}

struct run {
    struct rmd_smtp *c;
    int64_t now;
    bool open, dot, closed, tls_asked, ahead;
    int mails;
};

static void act(struct run *r) {
    static const char message[] = "Subject: x\r\n\r\n.body\r\n";
    for (int i = 0; !r->closed; i++) {
        must(i < 100);
        struct rmd_smtp_action a = rmd_smtp_next(r->c, r->now);
        enum rmd_own_error why;
        switch (a.kind) {
        case RMD_SMTP_NOTHING:
            return;
        case RMD_SMTP_SEND:
            must(a.bytes.n > 0);
            r->dot |= a.dot;
            break;
        case RMD_SMTP_START_TLS:
            r->tls_asked = true;
            break;
        case RMD_SMTP_IDLE:
            must(!r->open);
            if (r->mails-- <= 0)
                return;
            r->dot = false;
            struct rmd_smtp_mail m = {.mail_from = "a@b.test", .rcpt_to = "c@d.test", .size = 20};
            if (r->ahead)
                m.ahead = rmd_slice(message, sizeof message - 1);
            r->open = rmd_smtp_mail(r->c, &m, &why, r->now) == RMD_OK;
            break;
        case RMD_SMTP_NEED_CONTENT:
            must(r->open && !r->dot);
            kit_smtp_content(r->c, rmd_slice(message, sizeof message - 1), r->now);
            break;
        case RMD_SMTP_DONE:
            must(r->open);
            r->open = false;
            must(r->dot || (a.result.end != RMD_SMTP_ACCEPTED && a.result.end != RMD_SMTP_UNCERTAIN));
            must(a.result.reply.text.n <= RMD_SMTP_REPLY_MAX);
            must(a.result.own == (a.result.reply.code == 0));
            break;
        case RMD_SMTP_CLOSE:
            must(!r->open);
            r->closed = true;
            break;
        }
    }
}

static const char *good(const struct run *r, bool pipelining, bool chunking) {
    const char *state = rmd_smtp_state_name(r->c);
    if (state[0] == 'E')
        return chunking     ? "250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
               : pipelining ? "250-mx\r\n250-STARTTLS\r\n250 PIPELINING\r\n"
                            : "250-mx\r\n250 STARTTLS\r\n";
    if (state[0] == 'G' || state[0] == 'S')
        return "220 go\r\n";
    return state[0] == 'D' && state[1] == 'A' ? "354 go\r\n" : "250 2.0.0 ok\r\n";
}

static void server_says(struct run *r, const void *p, size_t n) {
    uint8_t *copy = malloc(n ? n : 1); /* exactly as long, so that a read past it is seen */
    must(copy != NULL);
    memcpy(copy, p, n);
    rmd_smtp_bytes(r->c, rmd_slice(copy, n), r->now);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct rmd_smtp_options o = {
        .helo = "h.example.org", .tls = (enum rmd_smtp_tls)(data[0] % 3), .chunking = data[0] & 0x40};
    struct run r = {.now = 1, .mails = 3, .ahead = data[0] & 0x20};
    r.c = rmd_smtp_new(&o, r.now);
    act(&r);
    for (size_t i = 1; i < size && !r.closed; i++) {
        uint8_t op = data[i];
        size_t n = op < size - i - 1 ? op : size - i - 1;
        if (op < 0x80) {
            server_says(&r, data + i + 1, n);
            i += n;
        } else if (op < 0x90) {
            const char *s = good(&r, data[0] & 0x80, data[0] & 0x40);
            server_says(&r, s, strlen(s));
        } else if (op < 0xa0 && rmd_smtp_deadline(r.c) != RMD_NEVER) {
            r.now = rmd_smtp_deadline(r.c);
            rmd_smtp_timeout(r.c, r.now);
        } else if (op < 0xb0) {
            rmd_smtp_lost(r.c, "reset", r.now);
        } else if (op < 0xc0) {
            rmd_smtp_abort(r.c, RMD_OWN_DEADLINE, r.now);
        } else if (op < 0xd0) {
            rmd_smtp_quit(r.c, r.now);
        } else if (op < 0xe0) {
            rmd_smtp_sent(r.c, r.now);
        } else if (r.tls_asked) {
            r.tls_asked = false;
            rmd_smtp_tls_done(r.c, op & 1, "tls", r.now);
        }
        act(&r);
    }
    rmd_smtp_free(r.c);
    return 0;
}
