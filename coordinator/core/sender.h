/* What a provider says of a sending domain: SPF, DKIM, DMARC, the domain's reputation, domain blocklists. Pure: it counts and decides;
 * sender_act.c carries it out.
 *
 * Scope (design, section 7): the sending domain at this provider. Whatever streams of the tenant send as that domain are in it together;
 * other providers, other domains and the sources are not, and nothing moves: another address would be told the same.
 *
 *   open --refused--> resting --time over--> probing --RMD_SENDER_PROBED accepted--> open
 *   probing --refused--> resting, twice as long
 *   any --refused for good, again and again--> paused --a person resolves or resumes--> probing
 *
 * For now (4xx): a rest of the verdict's duration, RMD_SENDER_REST_MIN_MS at least; each one in a row is twice as long, RMD_SENDER_REST_MAX_MS at
 * most. For its rate ("an unusual rate of mail from your DKIM domain"): RMD_SENDER_RATE_REST_MIN_MS, and so much more with each one in a row, the verdict's
 * duration at least; nothing of it is tolerated; it passes by itself, so it is no incident and says nothing to the breaker, and a refusal of the domain that comes
 * meanwhile is heard. For good (5xx, or authentication, which doesn't mend itself): a rest as well, as one reply may be about one message; paused when
 * RMD_SENDER_REFUSALS of such answers are most of what was answered since the trouble began, or with the RMD_SENDER_RESTS-th such rest in a
 * row. What comes while it rests, from mail that was under way, is counted and lengthens nothing.
 *
 * Heard at once is only the first refusal of a trouble. From the probing on all answers count: while refusals are at most one in
 * RMD_SENDER_TOLERATED, each is its own message's matter and the flow goes on. So it is at "other" from the beginning, as its receivers have
 * nothing to do with each other: nothing rests before RMD_SENDER_CROWD of them have answered, and a person is told.
 *
 * Probing: one lease at a time, of RMD_SENDER_PROBE recipients and as many more as were accepted since, so that the flow doubles.
 *
 * Transactional mail goes on in every state, RMD_SENDER_URGENT_PER_MINUTE at most while it isn't open: each incident is a page.
 *
 * The breaker: two named providers are sure ("other" is nobody in particular). Sure: paused; or RMD_SENDER_REFUSALS_AGREED answers for good, and
 * more than half; or never open for RMD_SENDER_PERSISTS_MS over RMD_SENDER_RESTS rests. Then every bulk stream of the domain pauses, everywhere,
 * until a person resumes. Two of our networks at one provider show only that the domain is meant and not an address.
 *
 * Times are of the ledger's clock. */
#ifndef REMUDA_SENDER_H
#define REMUDA_SENDER_H

#include "proto/verdict.h"

enum rmd_sender_state { RMD_SENDER_OPEN, RMD_SENDER_RESTING, RMD_SENDER_PROBING, RMD_SENDER_PAUSED };

enum {
    RMD_SENDER_REST_MIN_MS = 3600 * 1000,
    RMD_SENDER_RATE_REST_MIN_MS = 10 * 60 * 1000,
    RMD_SENDER_REST_MAX_MS = 24 * 3600 * 1000,
    RMD_SENDER_FORGET_MS = 24 * 3600 * 1000, /* open so long: what follows is new trouble */
    RMD_SENDER_REFUSALS = 10,
    RMD_SENDER_REFUSALS_AGREED = 3,
    RMD_SENDER_RESTS = 3,
    RMD_SENDER_PERSISTS_MS = 24 * 3600 * 1000,
    RMD_SENDER_WINDOW = 200,   /* answers; then both counters are halved */
    RMD_SENDER_TOLERATED = 10, /* answers a refusal */
    RMD_SENDER_CROWD = 20,
    RMD_SENDER_PROBE = 5,
    RMD_SENDER_PROBED = 100,
    RMD_SENDER_URGENT_PER_MINUTE = 10,
    RMD_SENDER_PLACES_MAX = 4096, /* sending domain x provider, in memory and in the store */
};

/* Zeroed: open, nothing was ever said. */
struct rmd_sender {
    enum rmd_sender_state state;
    int64_t until_ms;               /* resting */
    int64_t since_ms, last_ms;      /* the trouble's first and last refusal, 0: none */
    uint32_t rests, rests_for_good; /* in a row, and of them the last ones that began with a refusal for good */
    uint32_t outcomes, refused;     /* answers since it began, and of them refusals for good */
    uint32_t asked, denied;         /* answers since it was probed, or first counted, and refusals of any kind */
    uint32_t accepted;              /* while it is probed */
    bool by_rate;                   /* the last rest was for its rate */
};

enum rmd_sender_what { RMD_SENDER_NOTHING, RMD_SENDER_TELL, RMD_SENDER_REST, RMD_SENDER_PAUSE, RMD_SENDER_REOPEN };

enum rmd_sender_cause { RMD_SENDER_RATE, RMD_SENDER_FOR_NOW, RMD_SENDER_FOR_GOOD };
/* The verdict is about the sending domain, and asks for a pause or a rest. */
bool rmd_sender_is_refused(const struct rmd_verdict *v);
/* For good: it doesn't pass by itself. code: of the reply; 0: not known, then by the verdict. */
enum rmd_sender_cause rmd_sender_cause(const struct rmd_verdict *v, uint32_t code);
/* An alarm. crowd: the provider is "other". */
enum rmd_sender_what rmd_sender_told(struct rmd_sender *s, int64_t duration_ms, enum rmd_sender_cause cause,
                                     bool crowd, int64_t now_ms);
/* A receiver's answer about a message of the domain. */
enum rmd_sender_answer { RMD_SENDER_ACCEPTED, RMD_SENDER_OTHERWISE, RMD_SENDER_REFUSED, RMD_SENDER_REFUSED_FOR_GOOD };
enum rmd_sender_what rmd_sender_answered(struct rmd_sender *s, enum rmd_sender_answer answer);
/* A rest is over: it is probed. */
bool rmd_sender_tick(struct rmd_sender *s, int64_t now_ms);
/* By a person. */
void rmd_sender_retry(struct rmd_sender *s);
bool rmd_sender_sure(const struct rmd_sender *s, int64_t now_ms);
/* Recipients of bulk mail that may be leased now. leased: those that are. */
uint32_t rmd_sender_room(const struct rmd_sender *s, uint64_t leased);
const char *rmd_sender_state_name(enum rmd_sender_state state);

#endif
