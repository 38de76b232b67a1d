/* Inside of the SMTP client: what its files share. smtp.c has the life of a connection, its input and output;
 * smtp_step.c what each reply leads to. */
#ifndef REMUDA_NODE_SMTP_INTERNAL_H
#define REMUDA_NODE_SMTP_INTERNAL_H

#include <assert.h>

#include <base/text.h>
#include <remuda/dns.h>

#include "node/core/smtp_reply.h"
#include "node/core/smtp_state.h"
#include "node/core/smtp_wire.h"

struct rmd_smtp {
    enum rmd_smtp_state state;
    enum rmd_smtp_tls tls_policy;
    bool chunking; /* BDAT where it is offered */
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
    bool pipelined; /* MAIL and RCPT left together, with DATA behind them when it isn't BDAT's */
    bool bdat;      /* the content leaves by BDAT, when RCPT was accepted */
    bool ahead;     /* it left with MAIL and RCPT */
    bool mail_ok, rcpt_ok, dot_sent;
    int rcpts;
    struct rmd_buf rcpt_command; /* kept for its turn when there is no PIPELINING */

    bool done_pending, close_pending;
    struct rmd_smtp_result done, close;
    struct rmd_buf done_text, close_text;
    struct rmd_reply_parser parser;
};

/* --- smtp.c */
void rmd_smtp_go(struct rmd_smtp *c, enum rmd_smtp_state to, int64_t now_ms);
/* The transaction ends by the reply just read. */
void rmd_smtp_finish(struct rmd_smtp *c, enum rmd_smtp_end end);
/* The connection ends: by the reply just read; by an error of our own; because what came isn't a reply. The open
 * transaction ends with it. */
void rmd_smtp_refuse(struct rmd_smtp *c, int64_t now_ms);
void rmd_smtp_fail(struct rmd_smtp *c, enum rmd_own_error error, const char *detail, int64_t now_ms);
void rmd_smtp_malformed(struct rmd_smtp *c, const char *what, int64_t now_ms);
/* It was told to quit, or went: the last reply is the close's. */
void rmd_smtp_gone(struct rmd_smtp *c, int64_t now_ms);
void rmd_smtp_out_start(struct rmd_smtp *c);
void rmd_smtp_command(struct rmd_smtp *c, const char *text);

/* --- smtp_step.c */
void rmd_smtp_hello(struct rmd_smtp *c, enum rmd_smtp_state state, int64_t now_ms);
void rmd_smtp_on_reply(struct rmd_smtp *c, int64_t now_ms);

#endif
