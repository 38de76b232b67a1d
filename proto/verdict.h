/* The vocabulary of replies, verdicts, outcomes and states: one X-macro each, shared by both programs, logs, CLI and
 * rules. */
#ifndef REMUDA_VERDICT_H
#define REMUDA_VERDICT_H

#include <remuda/types.h>

/* X(ID, value, "name", "meaning for people") */
#define RMD_CLASSES(X)                                                                                  \
    X(OTHER, 0, "other", "no meaning could be read from the reply")                                     \
    X(DELIVERED, 1, "delivered", "accepted by the receiver")                                            \
    X(USER_UNKNOWN, 2, "user_unknown", "the address does not exist at this receiver")                   \
    X(MAILBOX_DISABLED, 3, "mailbox_disabled", "the mailbox is closed, suspended or inactive")          \
    X(MAILBOX_FULL, 4, "mailbox_full", "the mailbox is over its quota")                                 \
    X(NO_SUCH_DOMAIN, 5, "no_such_domain", "the recipient's domain or its MX can't be used")            \
    X(RATE_LIMITED, 6, "rate_limited", "too much, too fast, or too many connections")                   \
    X(IP_BLOCKLISTED, 7, "ip_blocklisted", "the sending IP is listed, banned or of bad reputation")     \
    X(DOMAIN_BLOCKLISTED, 8, "domain_blocklisted", "the sending domain is listed or of bad reputation") \
    X(SPAM_CONTENT, 9, "spam_content", "this message was judged spam")                                  \
    X(BAD_MESSAGE, 10, "bad_message", "the message is malformed or of a forbidden kind")                \
    X(VIRUS, 11, "virus", "malware was found")                                                          \
    X(AUTH_FAILED, 12, "auth_failed", "SPF, DKIM or DMARC failed")                                      \
    X(NO_RDNS, 13, "no_rdns", "no PTR record, or it does not match")                                    \
    X(SENDER_INVALID, 14, "sender_invalid", "the envelope sender or its domain is not usable")          \
    X(GREYLISTED, 15, "greylisted", "refused for now because unknown; same source should retry")        \
    X(POLICY, 16, "policy", "refused by a rule that is not named")                                      \
    X(RELAY_DENIED, 17, "relay_denied", "the receiver is not responsible, or wants a login")            \
    X(TLS_REQUIRED, 18, "tls_required", "the receiver demands encryption, or TLS failed")               \
    X(MESSAGE_TOO_BIG, 19, "message_too_big", "over the receiver's size limit")                         \
    X(PROTOCOL_ERROR, 20, "protocol_error", "syntax or sequence of an SMTP command")                    \
    X(SERVER_BUSY, 21, "server_busy", "the receiver's own trouble")                                     \
    X(NETWORK, 22, "network", "connection, timeout or DNS trouble that may pass")                       \
    X(EXPIRED, 23, "expired", "given up after the age limit")                                           \
    X(CHALLENGE, 24, "challenge", "challenge-response")

/* Where a verdict holds: bits. */
#define RMD_SCOPES(X)                      \
    X(RECIPIENT, 0, "recipient")           \
    X(MESSAGE, 1, "message")               \
    X(CAMPAIGN, 2, "campaign")             \
    X(SENDING_DOMAIN, 3, "sending_domain") \
    X(SOURCE, 4, "source")                 \
    X(NETWORK, 5, "network")               \
    X(NODE, 6, "node")                     \
    X(DESTINATION, 7, "destination")       \
    X(OURSELVES, 8, "ourselves")           \
    X(LANE, 9, "lane") /* source at this provider */

/* What is done at once; whether the message itself is retried follows from `retry` in the rule or the code. */
#define RMD_ACTIONS(X)                                                                       \
    X(NONE, 0, "none")                                                                       \
    X(RETRY, 1, "retry")                      /* this recipient later */                     \
    X(RETRY_SAME, 2, "retry_same")            /* greylist: later, from the same source */    \
    X(FAIL, 3, "fail")                        /* this recipient has failed */                \
    X(SUPPRESS, 4, "suppress")                /* failed, and never again */                  \
    X(SLOW, 5, "slow")                        /* halve rate and connections of the lane */   \
    X(REST, 6, "rest")                        /* the lane rests for the duration */          \
    X(QUARANTINE, 7, "quarantine")            /* nothing more from here until it is clear */ \
    X(PAUSE, 8, "pause")                      /* campaign or stream pauses in the scope */   \
    X(NEXT_MX, 9, "next_mx")                  /* try the next host, then later */            \
    X(NARROW, 10, "narrow")                   /* fewer connections of the lane, same rate */ \
    X(SHORTEN, 11, "shorten")                 /* fewer messages on a connection */           \
    X(SUPPRESS_SECOND, 12, "suppress_second") /* failed, and never again when it is denied once more */

/* The SMTP stage that a reply answered; the first ones are before SMTP. */
#define RMD_STAGES(X)          \
    X(NONE, 0, "none")         \
    X(DNS, 1, "dns")           \
    X(CONNECT, 2, "connect")   \
    X(GREETING, 3, "greeting") \
    X(EHLO, 4, "ehlo")         \
    X(STARTTLS, 5, "starttls") \
    X(MAIL, 6, "mail")         \
    X(RCPT, 7, "rcpt")         \
    X(DATA, 8, "data")         \
    X(DOT, 9, "dot")           \
    X(RSET, 10, "rset")        \
    X(QUIT, 11, "quit")        \
    X(RENDER, 12, "render")

#define RMD_OUTCOMES(X)                                                       \
    X(NONE, 0, "none")                                                        \
    X(DELIVERED, 1, "delivered")                                              \
    X(BOUNCED, 2, "bounced")     /* permanent */                              \
    X(DEFERRED, 3, "deferred")   /* attempted, later again */                 \
    X(UNCERTAIN, 4, "uncertain") /* the dot was sent, its reply never came */ \
    X(RETURNED, 5, "returned")   /* given back; the receiver has nothing */

#define RMD_RETURN_REASONS(X)                                                     \
    X(NONE, 0, "none")                                                            \
    X(RECALLED, 1, "recalled")                                                    \
    X(SOURCE_STOPPED, 2, "source stopped") /* a verdict stopped lane or source */ \
    X(PROVIDER_CHANGED, 3, "provider changed")                                    \
    X(EXPIRING, 4, "lease expiring")                                              \
    X(PAUSED, 5, "paused")                                                        \
    X(CANCELLED, 6, "cancelled")                                                  \
    X(SUPPRESSED, 7, "suppressed")                                                \
    X(NO_ADDRESS, 8, "source address not on the host")                            \
    X(AGE, 9, "age limit")                                                        \
    X(CRASHED, 10, "interrupted before the final dot")                            \
    X(OVERLOAD, 11, "node over its limits")                                       \
    X(SITE_STOPPED, 12, "site stopped") /* a verdict stopped the source at this site of "other" */

#define RMD_SOURCE_STATES(X)   \
    X(ACTIVE, 0, "active")     \
    X(PAUSED, 1, "paused")     \
    X(RETIRING, 2, "retiring") \
    X(RETIRED, 3, "retired")

#define RMD_LANE_STATES(X)           \
    X(OPEN, 0, "open")               \
    X(RESTING, 1, "resting")         \
    X(QUARANTINED, 2, "quarantined") \
    X(PROBING, 3, "probing")

#define RMD_CAMPAIGN_STATES(X)   \
    X(LOADING, 0, "loading")     \
    X(ACTIVE, 1, "active")       \
    X(PAUSED, 2, "paused")       \
    X(CANCELLED, 3, "cancelled") \
    X(DONE, 4, "done")

#define RMD_E4(prefix, id, value) RMD_##prefix##_##id = (value),
#define RMD_E4_CLASS(id, value, name, meaning) RMD_E4(CLASS, id, value)
#define RMD_E3_SCOPE(id, bit, name) RMD_SCOPE_##id = 1 << (bit),
#define RMD_E3_ACTION(id, value, name) RMD_E4(ACTION, id, value)
#define RMD_E3_STAGE(id, value, name) RMD_E4(STAGE, id, value)
#define RMD_E3_OUTCOME(id, value, name) RMD_E4(OUTCOME, id, value)
#define RMD_E3_RETURN(id, value, name) RMD_E4(RETURN, id, value)
#define RMD_E3_SOURCE(id, value, name) RMD_E4(SOURCE, id, value)
#define RMD_E3_LANE(id, value, name) RMD_E4(LANE, id, value)
#define RMD_E3_CAMPAIGN(id, value, name) RMD_E4(CAMPAIGN, id, value)

enum rmd_class { RMD_CLASSES(RMD_E4_CLASS) RMD_CLASS_COUNT };
enum rmd_scope { RMD_SCOPES(RMD_E3_SCOPE) };
enum rmd_action { RMD_ACTIONS(RMD_E3_ACTION) RMD_ACTION_COUNT };
/* The node goes on, and asks less of the lane. */
static inline bool rmd_action_slows(enum rmd_action a) {
    return a == RMD_ACTION_SLOW || a == RMD_ACTION_NARROW || a == RMD_ACTION_SHORTEN;
}
/* The recipient is denied, at once or on the second time. */
static inline bool rmd_action_suppresses(enum rmd_action a) {
    return a == RMD_ACTION_SUPPRESS || a == RMD_ACTION_SUPPRESS_SECOND;
}
enum rmd_stage { RMD_STAGES(RMD_E3_STAGE) RMD_STAGE_COUNT };
enum rmd_outcome { RMD_OUTCOMES(RMD_E3_OUTCOME) RMD_OUTCOME_COUNT };
enum rmd_return_reason { RMD_RETURN_REASONS(RMD_E3_RETURN) RMD_RETURN_COUNT };
enum rmd_source_state { RMD_SOURCE_STATES(RMD_E3_SOURCE) RMD_SOURCE_STATE_COUNT };
enum rmd_lane_state { RMD_LANE_STATES(RMD_E3_LANE) RMD_LANE_STATE_COUNT };
enum rmd_campaign_state { RMD_CAMPAIGN_STATES(RMD_E3_CAMPAIGN) RMD_CAMPAIGN_STATE_COUNT };

/* Names of values; "?" for a value out of range. Static storage. */
const char *rmd_class_name(unsigned v);
const char *rmd_class_meaning(unsigned v);
const char *rmd_action_name(unsigned v);
const char *rmd_stage_name(unsigned v);
const char *rmd_outcome_name(unsigned v);
const char *rmd_return_name(unsigned v);
const char *rmd_source_state_name(unsigned v);
const char *rmd_lane_state_name(unsigned v);
const char *rmd_campaign_state_name(unsigned v);
/* "source,network" for a set of scope bits; returns out. */
const char *rmd_scope_format(unsigned bits, char *out, size_t n);

/* Value of a name, or RMD_ENOTFOUND (negative). For scopes: the bit. */
int rmd_class_parse(struct rmd_slice name);
int rmd_action_parse(struct rmd_slice name);
int rmd_stage_parse(struct rmd_slice name);
int rmd_scope_parse(struct rmd_slice name);

/* A verdict in memory. rule is owned by the rule set, or static. */
struct rmd_verdict {
    enum rmd_class class;
    unsigned scope;
    bool at_provider;
    enum rmd_action action;
    int64_t duration_ms;
    bool move;
    bool permanent; /* this recipient is not tried again because of it */
    const char *rule;
};

enum { RMD_REPLY_TEXT_MAX = 2048 };

/* A reply in memory: what the receiver said, or our own error (code 0). text isn't terminated. */
struct rmd_reply {
    int code;
    char enhanced[12]; /* "" when there is none */
    struct rmd_slice text;
    enum rmd_stage stage;
};

#endif
