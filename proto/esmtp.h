/* Settings of ESMTP by the names that operators give them: of a stream, what receivers are asked to report (DSN, RFC
 * 3461); of a provider, how content leaves where CHUNKING is offered (RFC 3030). Numbers are what records and frames
 * hold. Pure. */
#ifndef REMUDA_ESMTP_H
#define REMUDA_ESMTP_H

#include <remuda/types.h>

/* X(ID, "name", "NOTIFY="). The default asks for failures alone: what a receiver says of its delays is no news to who
 * sends to many, and a bounce comes back to the return path whatever is asked. */
#define RMD_DSN_KINDS(X)               \
    X(FAILURE, "failure", "FAILURE")   \
    X(NONE, "none", NULL)              \
    X(NEVER, "never", "NEVER")         \
    X(DELAY, "delay", "FAILURE,DELAY") \
    X(SUCCESS, "success", "SUCCESS,FAILURE,DELAY")

enum rmd_dsn {
#define RMD_DSN_ENUM(id, name, notify) RMD_DSN_##id,
    RMD_DSN_KINDS(RMD_DSN_ENUM)
#undef RMD_DSN_ENUM
        RMD_DSN_COUNT
};

/* OFF: DATA. ON: BDAT, after RCPT was accepted. AHEAD: BDAT in one group with MAIL and RCPT: a round trip less, but a
 * connection that dies before any reply leaves an uncertain message. */
enum rmd_chunking { RMD_CHUNKING_OFF, RMD_CHUNKING_ON, RMD_CHUNKING_AHEAD, RMD_CHUNKING_COUNT };

const char *rmd_dsn_name(uint32_t dsn);   /* "" when there is none */
const char *rmd_dsn_notify(uint32_t dsn); /* NULL: no DSN parameters */
int rmd_dsn_parse(const char *name, uint32_t *out) RMD_CHECKED;
const char *rmd_chunking_name(uint32_t chunking);

#endif
