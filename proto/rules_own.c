/* Verdicts of errors that Remuda made up itself: one row an error. They never pass through rules written for a
 * receiver's words. */
#include "proto/rules.h"

#include <assert.h>

enum { MINUTE_MS = 60 * 1000 };

struct row {
    enum rmd_class class;
    unsigned scope;
    enum rmd_action action;
    int64_t duration_ms;
    bool move, permanent;
};

static const char *const names[] = {
#define X_NAME(id, name) [RMD_OWN_##id] = name,
    RMD_OWN_ERRORS(X_NAME)
#undef X_NAME
};

#define D RMD_SCOPE_DESTINATION
/* clang-format off */
static const struct row rows[RMD_OWN_COUNT] = {
    [RMD_OWN_DNS_TEMPFAIL]        = {RMD_CLASS_NETWORK, D, RMD_ACTION_RETRY, 0, false, false},
    [RMD_OWN_DNS_NXDOMAIN]        = {RMD_CLASS_NO_SUCH_DOMAIN, D, RMD_ACTION_FAIL, 0, false, true},
    [RMD_OWN_DNS_NO_ADDRESS]      = {RMD_CLASS_NO_SUCH_DOMAIN, D, RMD_ACTION_FAIL, 0, false, true},
    [RMD_OWN_DNS_NULL_MX]         = {RMD_CLASS_NO_SUCH_DOMAIN, D, RMD_ACTION_FAIL, 0, false, true},
    /* a resolver that rewrites answers gives such addresses for good domains: wait, don't fail */
    [RMD_OWN_DNS_SPECIAL]         = {RMD_CLASS_NO_SUCH_DOMAIN, D, RMD_ACTION_RETRY, 0, false, false},
    [RMD_OWN_CONNECT_REFUSED]     = {RMD_CLASS_NETWORK, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_CONNECT_TIMEOUT]     = {RMD_CLASS_NETWORK, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_CONNECT_UNREACHABLE] = {RMD_CLASS_NETWORK, D, RMD_ACTION_NEXT_MX, 0, false, false},
    /* the source can send nothing at all; an address that is being moved comes back by itself */
    [RMD_OWN_SOURCE_ADDRESS]      = {RMD_CLASS_NETWORK, RMD_SCOPE_SOURCE, RMD_ACTION_REST, 5 * MINUTE_MS, true, false},
    [RMD_OWN_TLS_HANDSHAKE]       = {RMD_CLASS_TLS_REQUIRED, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_TLS_NOT_OFFERED]     = {RMD_CLASS_TLS_REQUIRED, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_TLS_CERTIFICATE]     = {RMD_CLASS_TLS_REQUIRED, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_TLS_POLICY]          = {RMD_CLASS_TLS_REQUIRED, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_REPLY_TIMEOUT]       = {RMD_CLASS_NETWORK, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_CONNECTION_LOST]     = {RMD_CLASS_NETWORK, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_REPLY_MALFORMED]     = {RMD_CLASS_PROTOCOL_ERROR, D, RMD_ACTION_NEXT_MX, 0, false, false},
    [RMD_OWN_DEADLINE]            = {RMD_CLASS_NETWORK, D, RMD_ACTION_RETRY, 0, false, false},
    [RMD_OWN_SIZE_EXCEEDED]       = {RMD_CLASS_MESSAGE_TOO_BIG, RMD_SCOPE_MESSAGE, RMD_ACTION_FAIL, 0, false, true},
    [RMD_OWN_NO_8BITMIME]         = {RMD_CLASS_BAD_MESSAGE, RMD_SCOPE_MESSAGE, RMD_ACTION_FAIL, 0, false, true},
    [RMD_OWN_NO_SMTPUTF8]         = {RMD_CLASS_BAD_MESSAGE, RMD_SCOPE_RECIPIENT, RMD_ACTION_FAIL, 0, false, true},
    /* RFC 8689 section 4.2.1: never sent without; what may be mended waits, what the server doesn't offer fails */
    [RMD_OWN_NO_REQUIRETLS]       = {RMD_CLASS_TLS_REQUIRED, RMD_SCOPE_RECIPIENT, RMD_ACTION_FAIL, 0, false, true},
    [RMD_OWN_TLS_UNVERIFIED]      = {RMD_CLASS_TLS_REQUIRED, RMD_SCOPE_RECIPIENT, RMD_ACTION_RETRY, 0, false, false},
    [RMD_OWN_RENDER_FAILED]       = {RMD_CLASS_BAD_MESSAGE, RMD_SCOPE_MESSAGE | RMD_SCOPE_OURSELVES, RMD_ACTION_FAIL, 0, false, true},
    [RMD_OWN_AGE_LIMIT]           = {RMD_CLASS_EXPIRED, RMD_SCOPE_RECIPIENT, RMD_ACTION_FAIL, 0, false, true},
};
/* clang-format on */
#undef D

void rmd_rules_own(enum rmd_own_error kind, struct rmd_verdict *out) {
    assert((unsigned)kind < RMD_OWN_COUNT);
    const struct row *row = &rows[kind];
    *out = (struct rmd_verdict){.class = row->class,
                                .scope = row->scope,
                                .action = row->action,
                                .duration_ms = row->duration_ms,
                                .move = row->move,
                                .permanent = row->permanent,
                                .rule = names[kind]};
}

const char *rmd_rules_own_enhanced(enum rmd_own_error kind) {
    switch (kind) {
    case RMD_OWN_SIZE_EXCEEDED:
        return "5.3.4";
    case RMD_OWN_NO_8BITMIME:
        return "5.6.3";
    case RMD_OWN_NO_SMTPUTF8:
        return "5.6.7";
    case RMD_OWN_NO_REQUIRETLS:
        return "5.7.30";
    case RMD_OWN_TLS_UNVERIFIED:
        return "4.7.10";
    default:
        return "";
    }
}
