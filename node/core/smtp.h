/* SMTP client (RFC 5321 and extensions), sans-I/O: bytes in, bytes and outcomes out. Pure.
 *
 * One object is one connection. The owner moves bytes, tells time, and reads the actions. Plain sockets and TLS drive
 * the same machine: when it asks for TLS the owner does the handshake and reports it.
 *
 *   start -> GREETING -> EHLO [-> HELO] [-> STARTTLS -> TLS -> EHLO] -> READY
 *   READY -> transaction: MAIL RCPT DATA (one group when PIPELINING) -> CONTENT -> DOT -> READY
 *                         MAIL RCPT (likewise) -> CONTENT (BDAT LAST) -> DOT -> READY, where CHUNKING is offered
 *                         MAIL RCPT BDAT LAST in one group -> DOT -> READY, when the owner gives the content at once
 *   any -> QUIT -> CLOSED;   any -> CLOSED on loss
 *
 * A transaction is one message to one recipient. The content is asked for by RMD_SMTP_NEED_CONTENT after 354 (BDAT:
 * after RCPT was accepted); it and the final dot leave in one action, so that the owner can record "dot" before they
 * leave. Content is dot-stuffed here; in BDAT it goes as it is. Content that is sent ahead saves a round trip, and
 * costs certainty: a connection that dies before any reply leaves an uncertain message, not an unsent one.
 *
 * Timeouts per state (RFC 5321 section 4.5.3.2): greeting 5 min, EHLO/HELO 5 min, MAIL 5 min, RCPT 5 min, DATA 2 min,
 * block 3 min, dot 10 min; each can be configured, never below a floor. deadline() is the earliest. Replies: at most
 * RMD_SMTP_REPLY_LINES lines of RMD_SMTP_LINE_MAX bytes, kept verbatim; NULs and controls in them are data, never
 * commands. A reply that isn't one (no code, code changing between lines, flood) ends the connection as
 * RMD_OWN_REPLY_MALFORMED. */
#ifndef REMUDA_NODE_SMTP_H
#define REMUDA_NODE_SMTP_H

#include "proto/rules.h"

enum {
    RMD_SMTP_LINE_MAX = 2048,
    RMD_SMTP_REPLY_LINES = 100,
    RMD_SMTP_REPLY_MAX = RMD_REPLY_TEXT_MAX,
};

enum rmd_smtp_tls { RMD_TLS_NEVER, RMD_TLS_OPPORTUNISTIC, RMD_TLS_REQUIRED };

struct rmd_smtp_timeouts_ms {
    int64_t greeting, helo, starttls, mail, rcpt, data, block, dot, rset, quit;
};
extern const struct rmd_smtp_timeouts_ms rmd_smtp_timeouts_rfc5321;

struct rmd_smtp_options {
    const char *helo; /* copied */
    enum rmd_smtp_tls tls;
    bool chunking;                               /* BDAT instead of DATA where CHUNKING is offered */
    const struct rmd_smtp_timeouts_ms *timeouts; /* outlives the object */
};

struct rmd_smtp_extensions {
    bool esmtp, pipelining, size, eightbitmime, smtputf8, starttls, chunking, dsn, requiretls;
    uint64_t size_max; /* 0: none told */
};

enum rmd_smtp_action_kind {
    RMD_SMTP_NOTHING,      /* wait for bytes or the deadline */
    RMD_SMTP_SEND,         /* send `bytes` (valid until the next call) */
    RMD_SMTP_START_TLS,    /* do the handshake, then call rmd_smtp_tls_done */
    RMD_SMTP_IDLE,         /* ready for a transaction: rmd_smtp_mail, or rmd_smtp_quit */
    RMD_SMTP_NEED_CONTENT, /* 354 was read, or RCPT's 250 with BDAT: call rmd_smtp_content */
    RMD_SMTP_DONE,         /* the transaction ended: see `result`; another action follows */
    RMD_SMTP_CLOSE,        /* close the connection; result tells why when no transaction told it */
};

enum rmd_smtp_end {
    RMD_SMTP_ACCEPTED,  /* 2xx to the dot, or to BDAT LAST */
    RMD_SMTP_REFUSED,   /* the receiver said no at reply.stage */
    RMD_SMTP_FAILED,    /* own error before the dot was sent: the receiver has nothing */
    RMD_SMTP_UNCERTAIN, /* dot sent, no reply */
    RMD_SMTP_UNUSED,    /* connection ended without a transaction (close only) */
};

struct rmd_smtp_result {
    enum rmd_smtp_end end;
    bool own; /* own error instead of a reply */
    enum rmd_own_error error;
    struct rmd_reply reply;  /* text valid until the next call */
    int rcpts;               /* RCPT commands sent */
    bool connection_refusal; /* greeting, EHLO, STARTTLS or 421: it is about the connection, not this recipient */
};

struct rmd_smtp_action {
    enum rmd_smtp_action_kind kind;
    struct rmd_slice bytes;
    bool dot; /* bytes hold the final dot, or BDAT LAST */
    struct rmd_smtp_result result;
};

struct rmd_smtp;

struct rmd_smtp *rmd_smtp_new(const struct rmd_smtp_options *o, int64_t now_ms);
void rmd_smtp_free(struct rmd_smtp *c);

/* Input. After each, take actions until RMD_SMTP_NOTHING or RMD_SMTP_IDLE or NEED_CONTENT comes. */
void rmd_smtp_bytes(struct rmd_smtp *c, struct rmd_slice in, int64_t now_ms);
/* Everything handed out has left for the kernel: restarts the block timer, and frees the content. */
void rmd_smtp_sent(struct rmd_smtp *c, int64_t now_ms);
void rmd_smtp_tls_done(struct rmd_smtp *c, bool ok, const char *detail, int64_t now_ms);
void rmd_smtp_lost(struct rmd_smtp *c, const char *detail, int64_t now_ms); /* closed by the peer, reset */
void rmd_smtp_timeout(struct rmd_smtp *c, int64_t now_ms);                  /* call when deadline() has passed */
/* The owner gives up on the transaction (total deadline, recall before the dot): ends it as FAILED or UNCERTAIN. */
void rmd_smtp_abort(struct rmd_smtp *c, enum rmd_own_error why, int64_t now_ms);

struct rmd_smtp_mail {
    const char *mail_from; /* without brackets; "" is the null sender */
    const char *rcpt_to;
    uint64_t size;
    bool eightbit, smtputf8, requiretls;
    /* Where DSN is offered (RFC 3461): NOTIFY of the recipient, with RET=HDRS, ORCPT and the ENVID. NULL: nothing. */
    const char *notify;
    const char *envid; /* printable ASCII without blanks, at most 100 bytes as xtext; NULL: none */
    struct rmd_slice
        ahead; /* the content, to be sent with MAIL and RCPT (rmd_smtp_sends_ahead); p NULL: it is asked for */
};
/* Only when IDLE. RMD_EUNSUPPORTED with *why when the server's extensions can't carry it (SIZE, 8BITMIME, SMTPUTF8,
 * REQUIRETLS); nothing was sent. */
int rmd_smtp_mail(struct rmd_smtp *c, const struct rmd_smtp_mail *m, enum rmd_own_error *why,
                  int64_t now_ms) RMD_CHECKED;
/* Would a content given with MAIL leave at once (CHUNKING and PIPELINING)? Then "dot" is to be recorded before. */
bool rmd_smtp_sends_ahead(const struct rmd_smtp *c);
/* Adds the message in the form in which the open transaction will send it: dot-stuffed and ended, or behind its BDAT. */
void rmd_smtp_wire(const struct rmd_smtp *c, struct rmd_slice message, struct rmd_buf *out);
/* After NEED_CONTENT: what rmd_smtp_wire made. It is the machine's from then on; *wire is another buffer, for the next
 * one. */
void rmd_smtp_content(struct rmd_smtp *c, struct rmd_buf *wire, int64_t now_ms);
void rmd_smtp_quit(struct rmd_smtp *c, int64_t now_ms);

struct rmd_smtp_action rmd_smtp_next(struct rmd_smtp *c, int64_t now_ms);
int64_t rmd_smtp_deadline(const struct rmd_smtp *c);
const struct rmd_smtp_extensions *rmd_smtp_ext(const struct rmd_smtp *c);
bool rmd_smtp_is_tls(const struct rmd_smtp *c);
const char *rmd_smtp_state_name(const struct rmd_smtp *c);

#endif
