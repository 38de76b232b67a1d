/* States of the SMTP client: names, stages, timeouts and allowed transitions in one table. Only the client
 * and its tests include it.
 *
 *   GREETING -> EHLO -> [HELO] -> [STARTTLS -> TLS -> EHLO] -> READY
 *   READY -> MAIL -> RCPT -> DATA -> CONTENT -> DOT -> READY
 *            |        |      +-----> VOID (354 without a recipient: a lone dot) -> READY
 *            |        +--BDAT------> CONTENT, or DOT when the content left ahead
 *            +--------+-BDAT-+-BDAT-> RSET -> READY
 *   any -> QUIT -> CLOSED, any -> CLOSED
 *
 * MAIL, RCPT and DATA mean "the reply to this command is the next one"; with PIPELINING all three have left together.
 * With BDAT (RFC 3030) there is no DATA, and DOT is the reply to BDAT LAST.
 */
#ifndef REMUDA_NODE_SMTP_STATE_H
#define REMUDA_NODE_SMTP_STATE_H

#include "node/core/smtp.h"

#define RMD_SMTP_TO(id) (1u << RMD_SMTP_STATE_##id)

/* X(ID, stage, timeout field, "what is awaited", next states besides CLOSED) */
#define RMD_SMTP_STATES(X)                                                                                   \
    X(GREETING, GREETING, greeting, "the greeting", RMD_SMTP_TO(EHLO))                                       \
    X(EHLO, EHLO, helo, "the reply to EHLO", RMD_SMTP_TO(HELO) | RMD_SMTP_TO(STARTTLS) | RMD_SMTP_TO(READY)) \
    X(HELO, EHLO, helo, "the reply to HELO", RMD_SMTP_TO(READY))                                             \
    X(STARTTLS, STARTTLS, starttls, "the reply to STARTTLS", RMD_SMTP_TO(TLS) | RMD_SMTP_TO(READY))          \
    X(TLS, STARTTLS, starttls, "the TLS handshake", RMD_SMTP_TO(EHLO))                                       \
    X(READY, NONE, none, "work", RMD_SMTP_TO(MAIL) | RMD_SMTP_TO(QUIT))                                      \
    X(MAIL, MAIL, mail, "the reply to MAIL", RMD_SMTP_TO(RCPT) | RMD_SMTP_TO(READY) | RMD_SMTP_TO(QUIT))     \
    X(RCPT, RCPT, rcpt, "the reply to RCPT",                                                                 \
      RMD_SMTP_TO(DATA) | RMD_SMTP_TO(CONTENT) | RMD_SMTP_TO(DOT) | RMD_SMTP_TO(RSET) | RMD_SMTP_TO(READY) | \
          RMD_SMTP_TO(QUIT))                                                                                 \
    X(DATA, DATA, data, "the reply to DATA",                                                                 \
      RMD_SMTP_TO(CONTENT) | RMD_SMTP_TO(VOID) | RMD_SMTP_TO(RSET) | RMD_SMTP_TO(READY) | RMD_SMTP_TO(QUIT)) \
    X(CONTENT, DATA, block, "the content", RMD_SMTP_TO(DOT))                                                 \
    X(DOT, DOT, dot, "the reply to the final dot", RMD_SMTP_TO(READY) | RMD_SMTP_TO(RSET))                   \
    X(VOID, DATA, dot, "the reply to a dot without content", RMD_SMTP_TO(READY))                             \
    X(RSET, RSET, rset, "the reply to RSET", RMD_SMTP_TO(READY) | RMD_SMTP_TO(QUIT))                         \
    X(QUIT, QUIT, quit, "the reply to QUIT", 0)                                                              \
    X(CLOSED, NONE, none, "nothing", 0)

enum rmd_smtp_state {
#define RMD_SMTP_STATE_ENUM(id, stage, timeout, text, next) RMD_SMTP_STATE_##id,
    RMD_SMTP_STATES(RMD_SMTP_STATE_ENUM)
#undef RMD_SMTP_STATE_ENUM
        RMD_SMTP_STATE_COUNT
};

#endif
