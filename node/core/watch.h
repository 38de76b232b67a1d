/* The blocklist watch of one node: which question is next, when, and what an answer is worth. Pure: the node core hands in
 * assignment, time and answers, and takes lookups and findings out.
 *
 * Trust (RFC 5782, section 5). Nothing a list says counts before its self-test has passed: its test entry is listed, the entry
 * that must not be listed isn't, and a name that can't exist below the zone doesn't (a resolver that rewrites, or a zone
 * that answers everything, gives itself away). It is repeated each day. A list that fails, says that it doesn't answer
 * us, or stays silent, is set aside and tested again later; nothing else is asked of it.
 *
 *   UNTRIED --test--> TRUSTED <--> (daily test)      TRUSTED, UNTRIED --fails, error code, silence--> ASIDE --test--> TRUSTED
 *
 * A new listing is told only when it was found, the self-test passed *after* that, and it is found once more: a list that goes
 * bad between two daily tests isn't believed, not even for the moment in which it changes.
 *
 *   question:  IDLE --due--> ASKED --clean, unknown, known listing--> told     ASKED --new listing--> VERIFY --test passed--> AGAIN --> told
 *
 * Budget. Every query counts, in any hour and any day, for its list and for all together: never more than per_hour and
 * per_day. Scheduled questions leave a tenth to self-tests, confirmations and checks that were asked for, and are spread
 * evenly: two of them are at least an hour / (9/10 per_hour) apart. Neighbours come after our own. A question isn't asked
 * again before the time to live of its answer is over. */
#ifndef REMUDA_NODE_WATCH_H
#define REMUDA_NODE_WATCH_H

#include "proto/blocklist.h"

enum {
    RMD_WATCH_IN_FLIGHT = 24,     /* lookups at once */
    RMD_WATCH_LIST_IN_FLIGHT = 6, /* of one list: a silent one doesn't hold up the others */
    RMD_WATCH_QUESTIONS_MAX = 200000,
    RMD_WATCH_CHECKS_MAX = 1000, /* asked for and not answered */
    RMD_WATCH_TEST_MS = 24 * 3600 * 1000,
    RMD_WATCH_RETEST_MIN_MS = 60 * 1000,   /* of a list that was set aside: doubled each time, */
    RMD_WATCH_RETEST_MAX_MS = 3600 * 1000, /* up to this; sooner for lists with a shorter interval */
    RMD_WATCH_LISTED_MS = 30 * 60 * 1000,  /* a listing is looked at again so soon */
    RMD_WATCH_CLEAN_MS = 10 * 60 * 1000,   /* and the first clean answer behind it */
    RMD_WATCH_RETRY_MS = 60 * 1000, /* after an answer that said nothing; doubled each time up to the interval */
    RMD_WATCH_SILENT_MAX = 3,       /* answers that never came in a row: the list is set aside */
    RMD_WATCH_RESERVE = 10,         /* one part of so many of a budget is for what can't wait */
    RMD_WATCH_FINDINGS_MAX = 20000, /* that wait for the coordinator; then the oldest go: they are found again */
    RMD_WATCH_FINDINGS_A_FRAME = 200,
    RMD_WATCH_STALE_MS = 60000,  /* a finding that couldn't be told so long isn't told */
    RMD_WATCH_HEALTH_MS = 30000, /* counts of queries are told so often */
};

struct rmd_watch;
struct rmd_watch *rmd_watch_new(void);
void rmd_watch_free(struct rmd_watch *w);

/* Replaces the assignment; what is known of questions and lists that stay is kept. */
void rmd_watch_assign(struct rmd_watch *w, const Remuda__Watch *m, int64_t now_ms);
/* Ask now; answered by findings that carry the check's id, one a list. */
void rmd_watch_check(struct rmd_watch *w, const Remuda__WatchCheck *m, int64_t now_ms);

struct rmd_watch_lookup {
    uint64_t token;
    bool txt;                      /* TXT instead of addresses */
    char name[RMD_DOMAIN_MAX + 1]; /* may hold a key: not for logs */
};
/* The next lookup that may leave now; false: none. Each is answered once. */
bool rmd_watch_next(struct rmd_watch *w, int64_t now_ms, struct rmd_watch_lookup *out);
/* One of addr and txt; a token that is unknown (or of a former assignment) is ignored. */
void rmd_watch_answer(struct rmd_watch *w, int64_t now_ms, uint64_t token, const struct rmd_addr_answer *addr,
                      const struct rmd_txt_answer *txt);
/* When next() may have something, RMD_NEVER: only after an answer. */
int64_t rmd_watch_deadline(const struct rmd_watch *w, int64_t now_ms);

/* Fills a frame with what wasn't told yet, or repeats the one that wasn't acknowledged for repeat_ms; false: nothing to send.
 * What it points to lives in the arena. */
bool rmd_watch_report(struct rmd_watch *w, int64_t now_ms, int64_t repeat_ms, struct rmd_arena *a,
                      Remuda__Findings *out);
int64_t rmd_watch_report_deadline(const struct rmd_watch *w, int64_t repeat_ms);
void rmd_watch_acked(struct rmd_watch *w, uint64_t n);
void rmd_watch_session(struct rmd_watch *w); /* a new session: all of it, and every list's health, is told again */

#endif
