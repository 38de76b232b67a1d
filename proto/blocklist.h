/* Blocklists: what coordinator and nodes must agree on. How a list is asked about an address or a domain (RFC 5782),
 * and what its answer means. Pure.
 *
 * An answer counts as a listing only when the list documents its code. Everything else that isn't "no such name" is
 * unknown and never a listing: a timeout, SERVFAIL, an address outside 127.0.0.0/8 (a resolver that rewrites), an
 * undocumented code, a code by which the list says that it didn't look ("asked through an open resolver"). */
#ifndef REMUDA_BLOCKLIST_H
#define REMUDA_BLOCKLIST_H

#include <remuda/dns.h>

#include "proto/codec.h"

/* X(ID, value, "name") */
#define RMD_LIST_TIERS(X)                                           \
    X(ALERT, 0, "alert") /* a person is told */                     \
    X(SLOW, 1, "slow")   /* and the source goes at half its pace */ \
    X(ACT, 2, "act")     /* the source stops everywhere, work may move */

#define RMD_LIST_KINDS(X)  \
    X(IP4, 1, "ip4")       \
    X(IP6, 2, "ip6")       \
    X(DOMAIN, 4, "domain") \
    X(URL, 8, "url") /* asked about domains too: what links point to */

/* What a code means; LISTED: of the list's own tier. */
#define RMD_LIST_MEANINGS(X)                                                                    \
    X(LISTED, 0, "listed")                                                                      \
    X(ACT, 1, "act")                                                                            \
    X(SLOW, 2, "slow")                                                                          \
    X(ALERT, 3, "alert")                                                                        \
    X(SNOWSHOE, 4, "snowshoe") /* a sender spread over many addresses: moving would prove it */ \
    X(POLICY, 5, "policy")     /* no word about conduct: alert only */                          \
    X(CLEAN, 6, "clean")       /* neutral, or on a list of the good */                          \
    X(ERROR, 7, "error")       /* the list didn't look */

#define RMD_FINDINGS(X)    \
    X(CLEAN, 0, "clean")   \
    X(LISTED, 1, "listed") \
    X(UNKNOWN, 2, "unknown")

#define RMD_LIST_STATES(X)         \
    X(UNTRIED, 0, "not tried yet") \
    X(TESTING, 1, "being tested")  \
    X(TRUSTED, 2, "trusted")       \
    X(ASIDE, 3, "set aside") /* it failed its self-test, or didn't answer */

#define RMD_ENUM_TIER(id, value, name) RMD_TIER_##id = (value),
#define RMD_ENUM_KIND(id, value, name) RMD_LIST_##id = (value),
#define RMD_ENUM_MEANING(id, value, name) RMD_MEANS_##id = (value),
#define RMD_ENUM_FINDING(id, value, name) RMD_FINDING_##id = (value),
#define RMD_ENUM_STATE(id, value, name) RMD_LIST_##id = (value),
enum rmd_list_tier { RMD_LIST_TIERS(RMD_ENUM_TIER) RMD_TIER_COUNT };
enum rmd_list_kind { RMD_LIST_KINDS(RMD_ENUM_KIND) };
enum rmd_list_meaning { RMD_LIST_MEANINGS(RMD_ENUM_MEANING) RMD_MEANING_COUNT };
enum rmd_finding_state { RMD_FINDINGS(RMD_ENUM_FINDING) RMD_FINDING_COUNT };
enum rmd_list_state { RMD_LIST_STATES(RMD_ENUM_STATE) RMD_LIST_STATE_COUNT };
#undef RMD_ENUM_TIER
#undef RMD_ENUM_KIND
#undef RMD_ENUM_MEANING
#undef RMD_ENUM_FINDING
#undef RMD_ENUM_STATE

enum {
    RMD_LISTS_MAX = 64,
    RMD_LIST_CODES_MAX = 64,
    RMD_LIST_NAME_MAX = 64,
    RMD_LIST_KEY_MAX = 64,
    RMD_LIST_ANSWERS_MAX = RMD_DNS_ADDR_MAX,
    RMD_LIST_TEXT_MAX = 400,       /* of a TXT record that is kept */
    RMD_WATCH_SUBJECTS_MAX = 5000, /* of one node: their frame stays below a chunk */
};
#define RMD_LIST_KEY_PLACE "{key}"

const char *rmd_tier_name(uint32_t tier);
const char *rmd_list_kind_name(uint32_t kind); /* of one bit */
const char *rmd_meaning_name(uint32_t meaning);
const char *rmd_finding_name(uint32_t state);
const char *rmd_list_state_name(uint32_t state);

uint32_t rmd_blocklist_id(const char *name); /* rmd_fnv32 of the lower-case name; never 0 */

/* The kind of question that a subject is: IP4, IP6, or DOMAIN; 0 when it is neither an address nor a domain. */
uint32_t rmd_subject_kind(const char *subject);
/* Whether the list is asked about such subjects; a domain is asked of domain and of URL lists. */
bool rmd_blocklist_answers(const Remuda__Blocklist *l, uint32_t kind);

/* The name to look up. RMD_ELIMIT when it would be longer than a name can be, RMD_EINVAL for a subject that is none. It
 * holds the key of a keyed zone: it is no text for people. */
int rmd_blocklist_query(const Remuda__Blocklist *l, const char *subject, char out[RMD_DOMAIN_MAX + 1]) RMD_CHECKED;
/* Names of a self-test for one kind: what must be listed, and what must not (RFC 5782, section 5). */
const char *rmd_blocklist_test(const Remuda__Blocklist *l, uint32_t kind, bool listed);
/* label below the zone, as it is. */
int rmd_blocklist_below(const Remuda__Blocklist *l, const char *label, char out[RMD_DOMAIN_MAX + 1]) RMD_CHECKED;

struct rmd_list_judgement {
    enum rmd_finding_state state;
    enum rmd_list_tier tier; /* LISTED: what to do about it */
    bool snowshoe;
    bool refused;   /* UNKNOWN: the list says that it doesn't answer us */
    bool rewritten; /* UNKNOWN: an address that no list answers with */
    char text[160]; /* LISTED: what the codes mean; UNKNOWN: why */
};
/* What the answer to a query means. */
void rmd_blocklist_judge(const Remuda__Blocklist *l, const struct rmd_addr_answer *a, struct rmd_list_judgement *out);
/* The same from the addresses alone; n > 0. */
void rmd_blocklist_judge_codes(const Remuda__Blocklist *l, const uint32_t *answer, size_t n,
                               struct rmd_list_judgement *out);
/* The addresses of an answer as numbers, host order; outside of IPv4: 0. Returns how many. */
size_t rmd_blocklist_codes(const struct rmd_addr_answer *a, uint32_t out[RMD_LIST_ANSWERS_MAX]);
/* "127.0.0.2, 127.0.0.4" */
void rmd_blocklist_codes_format(const uint32_t *answer, size_t n, char *out, size_t out_n);

/* A refusal's words name this list: its zone, or one of the words that mean it, not as a part of a longer word. */
bool rmd_blocklist_named(const Remuda__Blocklist *l, struct rmd_slice reply);

/* Lists as shipped, text embedded in the library; parsed by proto/io/blocklists_file.c. */
extern const char rmd_blocklists_shipped[];
extern const size_t rmd_blocklists_shipped_n;

#endif
