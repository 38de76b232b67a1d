/* Blocklist watch at the coordinator: who asks what (watch_plan.c, watch_checks.c), what nodes found (watchers.c), what listings
 * are known and what they change (listing.c, listing_act.c). Inside of coordinator/core.
 *
 * Policy (design, sections 7 and 9):
 * - A listing counts when our own DNS found it, by a node that the subject was assigned to, with a code that the list
 *   documents. "Unknown" changes nothing: neither is it a listing, nor is it the end of one.
 * - Source on a list of the acting tier: it is quarantined everywhere; its work is dealt again by rule. While that is so,
 *   each refusal of it is confirmed by DNS (failover.h).
 * - A snowshoe list never moves work: the bulk streams of the source's pools pause, and a person mends them. Transactional mail
 *   goes on.
 * - Slow tier: the source goes at half its pace until it is off the list. Alert tier, policy and range codes: an incident.
 * - Neighbours only alert. When most of the asked neighbours of a network are on a list, and two of our own sources there are
 *   on it or were refused, the network is the subject: an incident, and our other sources there are asked about at once.
 *   Each is stopped by its own listing, never by its neighbours'.
 * - Sending domain on a list of the acting tier: its bulk streams pause. It never moves work.
 * - Two clean checks, apart from each other, end a listing. With the last listing that an incident rests on, what it had closed comes back by
 *   single recipients (returning.c), unless a person must resolve it; the incident ends when that was accepted. A paused stream is resumed by a person.
 * - A listing that is no longer watched (the source retired, the list was switched off) ends without a word about removal.
 *
 * Watching. Each source is asked about by its own node; one whose node has been away for RMD_WATCH_AWAY_MS by another,
 * and so are domains and neighbours, spread over the nodes. Budgets of the cluster are divided in proportion. */
#ifndef REMUDA_COORDINATOR_LISTING_H
#define REMUDA_COORDINATOR_LISTING_H

#include "coordinator/core/core.h"
#include "proto/blocklist.h"

enum {
    RMD_WATCH_AWAY_MS = 60000,
    RMD_LISTINGS_KEPT = 5000, /* of those that ended */
    RMD_LISTINGS_OPEN_MAX = 50000,
    RMD_WATCH_CLEAN_APART_MS = 10 * 60 * 1000, /* between the two clean checks; half of a shorter interval */
    RMD_CHECKS_KEPT = 32,
    RMD_CHECKS_OPEN_MAX = 256,
    RMD_CHECK_WAIT_MS = 20000,  /* for a node's answers */
    RMD_CHECK_AGAIN_MS = 30000, /* a refusal named a list that doesn't list us (yet): asked again, */
    RMD_CHECK_AGAIN_TIMES = 3,  /* so often, each time after four times as long: the resolver may remember */
    RMD_RANGE_ASKED_MIN = 4,    /* neighbours, before most of them means anything */
    RMD_SLOW_PERCENT = 50,
};

struct rmd_listing {
    struct rmd_list link;
    Remuda__ListingRecord *rec;
    bool dirty, watched;
};

/* An own address, a domain, or a neighbour, as given to a node. */
enum rmd_subject_what { RMD_SUBJECT_NONE, RMD_SUBJECT_OWN, RMD_SUBJECT_NEIGHBOUR };

/* A node as a watcher. */
struct rmd_watcher {
    uint32_t node;
    uint64_t digest, findings_n;
    struct rmd_map subject; /* name -> enum rmd_subject_what, as a pointer */
    bool complained;
};

struct rmd_list_health {
    uint32_t node, list, kind, state, hour, day;
    int64_t tested_wall_ms; /* 0: never */
    char why[160], last_error[160];
};

struct rmd_check_result {
    uint32_t list;
    bool answered;
    uint32_t state;
    uint32_t answer[RMD_LIST_ANSWERS_MAX];
    size_t n_answer;
    char text[RMD_LIST_TEXT_MAX + 1];
};

struct rmd_check {
    struct rmd_list link;
    uint64_t id, token; /* token 0: nobody waits */
    char *subject;
    uint32_t node;
    uint32_t times;                       /* asked before, without a listing */
    uint64_t incident;                    /* of the refusal that named the list */
    int64_t begun_mono_ms, again_mono_ms; /* again: RMD_NEVER, or when it is asked again */
    bool sent, done;
    struct rmd_check_result *result;
    size_t n_results;
};

/* Neighbours of a network on a list, by last octet. */
struct rmd_range {
    uint8_t asked[32], listed[32];
};

struct rmd_watchers {
    bool enabled;
    uint32_t per_hour, per_day, neighbours;
    int64_t neighbours_every_ms;
    Remuda__Blocklist **list; /* copies, disabled ones too */
    size_t n_lists;
    uint64_t revision;
    bool changed, started;
    int64_t day, look_mono_ms, started_mono_ms;
    uint64_t who;             /* hash of the nodes that were there at the last look */
    struct rmd_map watcher;   /* node id */
    struct rmd_map open;      /* list, subject -> struct rmd_listing */
    struct rmd_list listings; /* newest first */
    uint32_t n_ended;
    bool dirty;
    struct rmd_list checks; /* newest first */
    uint32_t n_checks;
    uint64_t next_check;
    struct rmd_map health; /* node, list, kind */
    struct rmd_map ranges; /* list, network -> struct rmd_range */
};

/* ---- watch_plan.c */
struct rmd_watcher *rmd_watcher_of(struct rmd_watchers *w, uint32_t node); /* made, if there is none */
bool rmd_watcher_present(const struct rmd_coord *c, const struct rmd_node *n);
void rmd_watchers_assign(
    struct rmd_coord *c); /* nodes are told what changed, and what nobody watches any more is forgotten */

/* ---- watch_checks.c */
/* Asks the lists (all that answer such subjects when n is 0) about it now. 0: too many checks are under way. */
uint64_t rmd_watchers_check(struct rmd_coord *c, const char *subject, const uint32_t *list, size_t n, uint64_t token,
                            uint64_t incident, uint32_t times);
struct rmd_check *rmd_check_find(const struct rmd_watchers *w, uint64_t id); /* NULL: unknown */
void rmd_check_done(struct rmd_coord *c, struct rmd_check *k);
void rmd_checks_tick(struct rmd_coord *c);
void rmd_checks_free(struct rmd_watchers *w);

/* ---- watchers.c */
const Remuda__Blocklist *rmd_watchers_list(const struct rmd_watchers *w, uint32_t id); /* NULL: unknown */

/* ---- listing.c */
struct rmd_listing *rmd_listing_find(const struct rmd_coord *c, const char *list, const char *subject); /* open */
/* What a node found; the subject is an own source, a sending domain or a neighbour. */
void rmd_listing_found(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject, bool neighbour,
                       const Remuda__Finding *f);
void rmd_listing_end(struct rmd_coord *c, struct rmd_listing *x, const char *why);
/* The incident rests on this listing: it ends with it. */
void rmd_listing_link(struct rmd_coord *c, struct rmd_listing *x, uint64_t incident);
/* Every open incident about this source whose cause names the list: what it stopped ends with the listing. */
void rmd_listing_link_named(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x);
/* Our source with this address, of whichever tenant, or NULL. */
struct rmd_source *rmd_listing_source(struct rmd_coord *c, const char *address);
void rmd_listings_free(struct rmd_watchers *w);
void rmd_listing_event(struct rmd_coord *c, const char *type, const struct rmd_listing *x, const char *text);

/* ---- listing_act.c */
enum rmd_listing_what {
    RMD_LISTING_ALERT,
    RMD_LISTING_SLOW,
    RMD_LISTING_QUARANTINE,
    RMD_LISTING_PAUSE_POOL,  /* bulk streams that use the source */
    RMD_LISTING_PAUSE_DOMAIN /* bulk streams of the sending domain */
};
/* Pure. */
enum rmd_listing_what rmd_listing_decide(uint32_t tier, bool snowshoe, bool domain, bool neighbour);
void rmd_listing_act(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x);
/* The list's words came later than its codes. */
void rmd_listing_cause(struct rmd_coord *c, struct rmd_listing *x);
/* The listing ended: what incidents closed that rest on no other one comes back. */
void rmd_listing_undo(struct rmd_coord *c, struct rmd_listing *x, const char *why);
/* Its source's pace may have changed. */
void rmd_listing_paced(struct rmd_coord *c, const struct rmd_listing *x);
/* A network's sources and neighbours on this list. */
void rmd_listing_range(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject, bool neighbour,
                       bool listed);

#endif
