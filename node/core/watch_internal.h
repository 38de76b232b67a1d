/* What watch.c (questions and answers), watch_next.c (what leaves, and when) and watch_report.c (findings) share; nobody else includes this. */
#ifndef REMUDA_NODE_WATCH_INTERNAL_H
#define REMUDA_NODE_WATCH_INTERNAL_H

#include "node/core/watch.h"

#include <base/text.h>

/* Queries of the last hour in five-minute buckets, and of the last day in hours. One bucket more than fits, so that no
 * window of an hour or a day, however it lies, holds more than their sum. */
enum { HOUR_BUCKETS = 13, DAY_BUCKETS = 25, HOUR_BUCKET_MS = 300000, DAY_BUCKET_MS = 3600000 };
struct budget {
    uint32_t per_hour, per_day;
    uint32_t hour[HOUR_BUCKETS], day[DAY_BUCKETS];
    int64_t hour_at, day_at; /* number of the newest bucket */
    int64_t next_ms;         /* of a scheduled question */
    bool used;
};
uint32_t watch_spent(const uint32_t *v, size_t n);
void watch_budget_slide(struct budget *b, int64_t now_ms);

enum { UNIT_IP4, UNIT_IP6, UNIT_NAME, UNITS };

/* A list for one kind of subject: each has its own self-test. */
struct unit {
    enum rmd_list_state state;
    uint32_t questions, silent, failures;
    int64_t test_at_ms, tested_ms, test_began_ms; /* tested_ms -1: never */
    uint8_t todo, out;                            /* bits of enum test: to be asked, asked and not answered */
    bool again; /* a listing was found while the test ran: only a later one counts for it */
    bool failed;
    bool dirty; /* its health wasn't told */
    char why[160], test_why[160], last_error[160];
    struct rmd_list verify; /* questions that wait for the test */
};

struct wlist {
    uint32_t id;
    uint64_t digest; /* of what its answers mean: another one starts anew */
    bool wanted;
    Remuda__Blocklist *pb;
    struct budget budget;
    struct unit unit[UNITS];
    struct rmd_heap due[2]; /* our own, neighbours */
    struct rmd_list urgent;
    struct rmd_list evidence; /* lookups of TXT records that haven't left */
    uint32_t in_flight;
};

enum phase { PHASE_IDLE, PHASE_ASKED, PHASE_VERIFY, PHASE_AGAIN };

struct question {
    struct rmd_heap_node heap;
    struct rmd_list link; /* urgent or verify */
    struct wlist *list;
    uint8_t unit, phase;
    bool wanted, neighbour, assigned, listed; /* listed: told so */
    uint8_t clean, n_checks;
    uint32_t fails;
    int64_t soonest_ms; /* the answer's time to live is over */
    uint64_t check[3];
    char subject[];
};

enum lookup_kind { LOOK_LISTED, LOOK_CLEAN, LOOK_NOTHING, LOOK_QUESTION, LOOK_TXT };
struct lookup {
    struct rmd_list link; /* wlist.evidence */
    enum lookup_kind kind;
    struct wlist *list; /* NULL: it isn't asked any more */
    uint8_t unit;
    struct question *question;
    uint32_t codes[RMD_LIST_ANSWERS_MAX]; /* TXT: what was found */
    size_t n_codes;
};

struct wfinding {
    struct rmd_list link;
    uint32_t list, state;
    int64_t at_ms;
    uint64_t check;
    uint32_t answer[RMD_LIST_ANSWERS_MAX];
    size_t n_answer;
    char *subject, *text;
};

struct rmd_watch {
    int64_t neighbours_every_ms;
    struct budget all;
    struct rmd_map lists;     /* id -> struct wlist */
    struct rmd_map questions; /* id, subject -> struct question */
    struct rmd_map lookups;   /* token -> struct lookup */
    uint64_t next_token, nonce;
    uint32_t in_flight, turn, checks;
    struct rmd_list findings;
    uint32_t n_findings;
    uint64_t n;    /* of the last frame */
    uint32_t sent; /* findings in it, at the head of the list */
    bool out;      /* a frame is not acknowledged */
    int64_t sent_at_ms;
    int64_t health_at_ms;
    bool health_dirty, counts_dirty;
};

void watch_tell(struct rmd_watch *w, const struct question *q, enum rmd_finding_state state, const uint32_t *answer,
                size_t n, const char *text, int64_t now_ms);
struct question *watch_question(const struct rmd_watch *w, uint32_t list, const char *subject); /* or NULL */
void watch_findings_free(struct rmd_watch *w);

uint32_t watch_kind(uint8_t unit); /* RMD_LIST_IP4, ... */
bool watch_test_due(const struct unit *x, int64_t now_ms);
void watch_test_begin(struct rmd_watch *w, struct unit *x, int64_t now_ms);

#endif
