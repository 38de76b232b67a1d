/* Inside of a world: what receivers and blocklists remember. world.c owns it; standing.c, judge.c, smtp.c, blocklist.c, people.c and metrics.c work on it. */
#ifndef REMUDA_HERD_WORLD_H
#define REMUDA_HERD_WORLD_H

#include "tests/sim/herd/rules.h"

/* ---- what a receiver remembers of a source, or of a sending domain */

struct herd_day {
    uint32_t offered, accepted, complaints, unknown, traps, reads, spam;
};

struct herd_standing {
    bool known;       /* it has sent at least once, or did before the start */
    int64_t first_ms; /* its first message here; may be before the start */
    int64_t last_ms;  /* its last one */
    int64_t today;    /* day of the youngest entry */
    struct herd_day day[HERD_MEMORY_DAYS];
};

enum herd_level { HERD_GOOD, HERD_NEW, HERD_POOR, HERD_BAD };

/* A block, of a lane or of a network at a site; or a listing, of a source or of a network. */
struct herd_bar {
    int64_t from_ms, until_ms;
    const char *reply;
    int64_t stage;
    uint32_t forms;
    bool asked;   /* of this one removal was asked for */
    bool in_list; /* of bars that are looked at every hour */
};
static inline bool herd_bar_holds(const struct herd_bar *b, int64_t now_ms) {
    return now_ms >= b->from_ms && now_ms < b->until_ms;
}

struct herd_lane { /* source at a site */
    uint32_t source, site;
    struct herd_standing st;
    struct herd_bar block;
    uint32_t five[12]; /* accepted in the last 12 times 5 minutes */
    int64_t five_at;   /* number of the youngest of them */
    int64_t rest_until_ms, rest_ms, refused_ms, rest_stage;
    const char *rest_reply;
    uint32_t pushes, levels, conns;
    int64_t pace_ppm, pace_ms;
    uint64_t accepted;
};

struct herd_sender_lane { /* sending domain at a site */
    struct herd_standing st;
    int64_t refused_until_ms;
};

struct herd_site_state {
    struct herd_lane **lane;          /* by source; NULL until it comes */
    struct herd_sender_lane **domain; /* by sending domain */
    struct herd_bar *network;         /* by network */
};

/* ---- blocklists */

struct herd_hits {
    int64_t at_ms[HERD_HITS_MAX];
    uint32_t n;
};

struct herd_listing {
    struct herd_bar bar;
    struct herd_hits traps, complaints;
};

/* ---- people, messages, connections */

enum herd_kind { HERD_PERSON, HERD_UNKNOWN, HERD_TRAP, HERD_FULL };

struct herd_traits {
    enum herd_kind kind;
    uint32_t site, domain;
    bool engaged;
    int32_t engaged_days; /* as the sender knows */
    uint32_t blocklist;   /* of a trap */
};

enum { HERD_MSG_ACCEPTED = 1, HERD_MSG_FOLDERED = 2 };

struct herd_message {
    uint32_t accepted_minute; /* from submission */
    uint16_t tries;
    uint8_t flags, final;
};

struct herd_campaign_state {
    struct herd_message *message;
    uint64_t open;
    int64_t last_ms;
};

struct herd_conn {
    bool used, mail, rcpt;
    uint32_t source, site, messages, campaign, row, number, next_free;
    struct herd_traits who;
};

struct herd_complaint {
    struct rmd_heap_node node;
    struct herd_report r;
    uint32_t number;
};

struct herd_count {
    uint64_t seen[4], attempts, accepted, foldered, deferrals, refused, duplicates, complaints, reports, trap_hits,
        unknown_hits;
    uint64_t messages, people;
};

struct herd_world {
    const struct herd_scenario *s;
    uint64_t seed;
    int64_t now_ms, hour; /* hour: the next to be looked at */
    struct herd_site_state *site;
    struct herd_listing *listing,
        *net_listing; /* [blocklist * n_sources + source], [blocklist * n_networks + network] */
    struct herd_campaign_state *campaign;
    uint8_t **suppressed, **complained; /* by list: bitmaps, NULL until used */
    struct rmd_map grey;                /* key -> time of the first attempt + 1 */
    struct rmd_heap complaints, reports;
    struct herd_conn *conn;
    uint32_t n_conns, free_conn; /* free_conn: 0 or number */
    struct herd_lane **barred;   /* lanes whose block may hold; likewise networks at sites */
    size_t n_barred, cap_barred;
    struct {
        uint32_t site, network;
    } * barred_net;
    size_t n_barred_net, cap_barred_net;
    bool event_begun[HERD_EVENTS_MAX];
    struct herd_count *count;                                  /* [stream * n_receivers + receiver] */
    uint64_t *connections, *refused_connections, *refused_4xx; /* by receiver */
    uint64_t listings, blocks;
    uint64_t lost_ppm_hours;
    uint32_t *lost; /* by source, of one hour */
    struct rmd_buf reply;
};

/* Choices: a number below 1,000,000 from the seed and what it is about. */
enum herd_purpose {
    HERD_FOR_KIND,
    HERD_FOR_RECEIVER,
    HERD_FOR_SITE,
    HERD_FOR_ENGAGED,
    HERD_FOR_DAYS,
    HERD_FOR_KNOWN,
    HERD_FOR_TRAP,
    HERD_FOR_FOLDER,
    HERD_FOR_READ,
    HERD_FOR_COMPLAINT,
    HERD_FOR_COMPLAINT_TIME,
    HERD_FOR_COMPLAINT_LIST,
    HERD_FOR_NOISE,
    HERD_FOR_CONTENT,
    HERD_FOR_REPUTATION,
    HERD_FOR_SURGE,
    HERD_FOR_LIAR,
    HERD_FOR_LATENCY,
};
uint64_t herd_hash(const struct herd_world *w, enum herd_purpose p, uint64_t a, uint64_t b, uint64_t c);
static inline bool herd_chance(const struct herd_world *w, int64_t ppm, enum herd_purpose p, uint64_t a, uint64_t b,
                               uint64_t c) {
    return ppm > 0 && (int64_t)(herd_hash(w, p, a, b, c) % HERD_PPM) < ppm;
}
static inline const struct herd_rules *herd_rules_of(const struct herd_world *w, uint32_t site) {
    return w->s->receiver[w->s->site[site].receiver].rules;
}
static inline struct herd_count *herd_count_of(const struct herd_world *w, uint32_t campaign, uint32_t site) {
    return &w->count[w->s->campaign[campaign].stream * w->s->n_receivers + w->s->site[site].receiver];
}

/* ---- people.c */
void herd_traits(const struct herd_world *w, uint32_t list, uint32_t number, struct herd_traits *out);
uint32_t herd_number(const struct herd_world *w, uint32_t campaign, uint32_t row);

/* ---- standing.c */
struct herd_day *herd_today(struct herd_standing *st, int64_t now_ms);
void herd_window(struct herd_standing *st, int64_t now_ms, int64_t days, struct herd_day *sum);
uint32_t herd_busiest(struct herd_standing *st, int64_t now_ms,
                      int64_t days); /* accepted, of the days before today */
void herd_standing_new(struct herd_standing *st, uint32_t age_days, uint64_t usual_per_day);
enum herd_level herd_level(const struct herd_rules *r, struct herd_standing *st, int64_t now_ms);

/* ---- world.c */
struct herd_lane *herd_lane(struct herd_world *w, uint32_t source, uint32_t site);
struct herd_sender_lane *herd_sender_lane(struct herd_world *w, uint32_t domain, uint32_t site);
void herd_block(struct herd_world *w, struct herd_lane *l, const struct herd_rule *rule, int64_t for_ms);
const struct herd_bar *herd_barred(const struct herd_world *w, uint32_t source,
                                   uint32_t site); /* its block, or its network's */

/* ---- blocklist.c */
void herd_trap_hit(struct herd_world *w, uint32_t blocklist, uint32_t source);
void herd_complaint_hit(struct herd_world *w, uint32_t source, const struct herd_report *r);
bool herd_is_listed(const struct herd_world *w, uint32_t blocklist, uint32_t source, struct rmd_addr *answer);
/* The blocklist that this receiver believes and that lists the source, or HERD_NONE. */
int herd_believed(const struct herd_world *w, uint32_t receiver, uint32_t source);
void herd_listing_event(struct herd_world *w, const struct herd_event *e);
void herd_blocklist_forms(struct herd_world *w);

/* ---- judge.c: what this receiver says at this stage; NULL: nothing against it */
struct herd_word {
    const char *reply; /* template */
    const char *zone;  /* of $zone */
    bool close;
};
bool herd_judge(struct herd_world *w, struct herd_conn *c, enum herd_stage stage, struct herd_word *out);
void herd_accept(struct herd_world *w,
                 struct herd_conn *c); /* the message is the receiver's: folder, people, complaints */
const struct herd_event *herd_event_now(const struct herd_world *w, enum herd_event_kind kind, uint32_t site);

#endif
