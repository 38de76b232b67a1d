/* Verdict rules: ordered data that turn a receiver's reply into a verdict (design, section 7). Pure.
 *
 * A rule set is compiled once from text and shared read-only by threads. The first rule that matches wins. A rule can
 * ask for provider names, stages, a reply code or its first digit(s) ("4", "55", "421"), an enhanced code with "x" as
 * a wildcard (a whole part, or its last digits: "4.7.x", "4.7.85x"), and patterns: each is ASCII-case-insensitive
 * text in which "*" stands for any text, "~" for at most 40 bytes of any text, "?" for at most three (a letter with an accent, in any encoding), "#" for a run of
 * digits, "^" for the edge of a word, "{a|b|}" for one of its alternatives, "{box}" for one of the
 * words of the set box, and white space for any white space; a rule matches
 * when any of its patterns occurs anywhere in the reply's text (after the code). "doesn't" is "does not", "can't" and
 * "cannot" are "can not", in both.
 * "\\*", "\\#", "\\~", "\\^", "\\?", "\\{", "\\|", "\\}" and "\\\\" stand for themselves. Codes at the start of a line don't belong to the text, a line end is
 * white space, and there is white space at both ends: " ptr " finds the word alone.
 *
 * An answer that Remuda made up itself (code 0) never matches a rule: rmd_rules_own() has its own table.
 *
 * In order: all rules that aren't weak; the learned model (model.h), where there is one; the weak rules, which know a code
 * alone, or words like "refused"; then nothing but the code's first digit. The model overrides no rule that isn't weak.
 *
 * The text is libucl (parsed in proto/io/rules_file.c, one struct rmd_rule_def a rule); compile() lints: every rule
 * carries at least one sample that it must match and win, patterns that an earlier rule always shadows are errors,
 * names must be known. */
#ifndef REMUDA_RULES_H
#define REMUDA_RULES_H

#include "proto/model.h"
#include "proto/verdict.h"
#include <base/coll.h>

enum {
    RMD_RULES_MAX = 4096,
    RMD_RULES_PATTERNS_MAX = 16384, /* of all rules together */
    RMD_RULE_PATTERNS_MAX = 128,
    RMD_RULES_SET_MAX = 128, /* words */
    RMD_RULE_PATTERN_BYTES_MAX = 1024,
    RMD_RULE_SAMPLES_MAX = 16,
    RMD_RULE_LIST_MAX = 16, /* providers, stages, codes, enhanced codes of one rule */
};

/* Who wrote a rule. The operator's rules come before the shipped ones, but for one that has the name of a shipped
 * rule: it stands in that rule's place. A shipped rule that only the operator's rules shadow is no finding. */
enum { RMD_RULES_OPERATOR = 0, RMD_RULES_SHIPPED = 1 };

/* A rule as read; strings are the caller's and are copied by add(). Lists end with NULL. */
struct rmd_rule_def {
    const char *name;
    const char *file; /* for messages */
    int line;
    const char *const *provider;
    const char *const *stage;
    const char *const *code;
    const char *const *enhanced;
    const char *const *pattern;
    const char *const
        *sample; /* whole replies: "421 4.7.0 ..."; "provider|stage|reply" when the rule asks for them */
    const char *class_name;
    const char *const *scope;
    bool at_provider;
    const char *action;
    int64_t duration_ms;
    bool move;
    /* 1, 0, -1: by the code: 5xx is permanent, but for a greeting, EHLO or STARTTLS, which are never about a
     * recipient; `fail`, `suppress` and `suppress_second` become `retry` on a 4xx, and `retry` becomes `fail` on a 5xx. */
    int permanent;
    int layer;          /* RMD_RULES_OPERATOR, RMD_RULES_SHIPPED */
    const char *source; /* who says so: a provider's documentation, a facts page; NULL: nobody in particular */
    bool weak;          /* asked after the model */
};

struct rmd_rules;

struct rmd_rules *rmd_rules_new(void);
/* RMD_EINVAL with a text in err (file and line first) when the rule itself is wrong. */
int rmd_rules_add(struct rmd_rules *r, const struct rmd_rule_def *def, char *err, size_t err_n) RMD_CHECKED;
/* Declares a provider's name, so that rules may use it ("other" is known). RMD_EINVAL for an empty or malformed name.
 */
int rmd_rules_provider(struct rmd_rules *r, const char *name, char *err, size_t err_n) RMD_CHECKED;
/* Defines a set of words, for "{name}" in patterns that are added later; a later definition replaces. */
int rmd_rules_set(struct rmd_rules *r, const char *name, const char *const *word, char *err,
                  size_t err_n) RMD_CHECKED;
/* Builds the index and lints all samples. Every finding goes to `finding`; RMD_EINVAL when there was any. */
int rmd_rules_compile(struct rmd_rules *r, void (*finding)(void *ctx, const char *text), void *ctx) RMD_CHECKED;
void rmd_rules_free(struct rmd_rules *r);
size_t rmd_rules_count(const struct rmd_rules *r);
size_t rmd_rules_own_count(const struct rmd_rules *r); /* the operator's */

/* The verdict of a reply (code > 0). provider: name, or "" when unknown. Rules are asked about 4xx and 5xx alone.
 * Falls back to the code: 2xx delivered, 4xx retry, 5xx fail, class OTHER, rule "code"; before MAIL both try the next
 * host. Never fails. */
void rmd_rules_classify(const struct rmd_rules *r, const struct rmd_reply *reply, const char *provider,
                        struct rmd_verdict *out);

/* The same, and why: for people. Strings are the set's and the model's. */
struct rmd_why {
    const char *file; /* NULL: no rule */
    int line;
    const char *pattern; /* as written; NULL: by codes alone */
    const char *source;
    struct rmd_model_answer model; /* n_reasons > 0: the model decided */
};
void rmd_rules_explain(const struct rmd_rules *r, const struct rmd_reply *reply, const char *provider,
                       struct rmd_verdict *out, struct rmd_why *why);
/* The model to ask behind the rules that know words; the set's from now on. NULL: none. */
void rmd_rules_model(struct rmd_rules *r, struct rmd_model *m);

/* The verdict of an error of our own at a stage: kind names what happened. */
#define RMD_OWN_ERRORS(X)                                                                \
    X(DNS_TEMPFAIL, "own:dns-temporary")                                                 \
    X(DNS_NXDOMAIN, "own:no-such-domain")                                                \
    X(DNS_NO_ADDRESS, "own:no-address")                                                  \
    X(DNS_NULL_MX, "own:null-mx")                                                        \
    X(DNS_SPECIAL, "own:special-address") /* resolves to addresses that we don't dial */ \
    X(CONNECT_REFUSED, "own:connect-refused")                                            \
    X(CONNECT_TIMEOUT, "own:connect-timeout")                                            \
    X(CONNECT_UNREACHABLE, "own:unreachable")                                            \
    X(SOURCE_ADDRESS, "own:source-address") /* bind failed: not on this host */          \
    X(TLS_HANDSHAKE, "own:tls-handshake")                                                \
    X(TLS_NOT_OFFERED, "own:tls-not-offered")                                            \
    X(TLS_CERTIFICATE, "own:tls-certificate")                                            \
    X(TLS_POLICY, "own:tls-policy") /* DANE or MTA-STS forbids the host */               \
    X(REPLY_TIMEOUT, "own:reply-timeout")                                                \
    X(CONNECTION_LOST, "own:connection-lost")                                            \
    X(REPLY_MALFORMED, "own:reply-malformed")                                            \
    X(DEADLINE, "own:transaction-deadline")                                              \
    X(SIZE_EXCEEDED, "own:size-limit") /* over the SIZE that the server offers */        \
    X(NO_8BITMIME, "own:no-8bitmime")                                                    \
    X(NO_SMTPUTF8, "own:no-smtputf8")                                                    \
    X(NO_REQUIRETLS, "own:no-requiretls")   /* the stream demands REQUIRETLS */          \
    X(TLS_UNVERIFIED, "own:tls-unverified") /* so does it verified TLS */                \
    X(RENDER_FAILED, "own:render")                                                       \
    X(AGE_LIMIT, "own:age-limit")

enum rmd_own_error {
#define RMD_OWN_ENUM(id, name) RMD_OWN_##id,
    RMD_OWN_ERRORS(RMD_OWN_ENUM)
#undef RMD_OWN_ENUM
        RMD_OWN_COUNT
};
void rmd_rules_own(enum rmd_own_error kind, struct rmd_verdict *out);
/* The enhanced status code (RFC 3463, 5248) of one that is about what a server can't carry; "" for all others. */
const char *rmd_rules_own_enhanced(enum rmd_own_error kind);

#endif
