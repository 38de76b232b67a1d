/* The herd's world: receivers, blocklists and people as data, for weeks of virtual time.
 *
 * A scenario file says who sends (hosts, sources, streams), to whom (lists of recipients), what (campaigns), and how the receivers
 * judge it (receiver { ... }, blocklist { ... }). Its format is in tests/sim/README.md. A *world* is a scenario with a seed. The world
 * is the only judge: it sees what real receivers see (connections, MAIL, RCPT, the dot), answers in SMTP words, and counts the metrics itself.
 * A sender (Remuda's cores, or a baseline) asks it and reads replies; it never reads the world's state, except where a call says that real
 * senders can know it.
 *
 * Time is in milliseconds from the scenario's start, which is a Monday, 00:00 UTC (HERD_WALL_START_MS of wall time). The times of calls must not go
 * back. Nothing happens by itself: each call brings the world up to its time first; herd_advance does only that.
 *
 * Choices are made by hashes of the seed and of what is decided (recipient, campaign, attempt), never by a generator that is shared, so two
 * senders that do the same are told the same, and one that sends more doesn't change another's luck. Amounts are integers: shares in
 * millionths (ppm), counts of decaying things in thousandths.
 *
 * Ownership: a scenario outlives its worlds. Texts in replies are the world's until the next call. Indexes (source, site, stream,
 * campaign, ...) are positions in the scenario's arrays. Impossible arguments are asserted. */
#ifndef REMUDA_HERD_MODEL_H
#define REMUDA_HERD_MODEL_H

#include <base/coll.h>
#include <remuda/types.h>

#define HERD_WALL_START_MS 1772409600000 /* 2026-03-02T00:00:00Z, a Monday */

enum {
    HERD_DAY_MS = 86400000,
    HERD_HOUR_MS = 3600000,
    HERD_DAYS_MAX = 120,
    HERD_SOURCES_MAX = 1000,
    HERD_RECEIVERS_MAX = 64,
    HERD_SITES_MAX = 20000,
    HERD_LISTS_MAX = 32,
    HERD_LIST_ROWS_MAX = 4000000,
    HERD_STREAMS_MAX = 32,
    HERD_CAMPAIGNS_MAX = 4000, /* after repetition */
    HERD_MESSAGES_MAX = 16000000,
    HERD_BLOCKLISTS_MAX = 16,
    HERD_EVENTS_MAX = 64,
    HERD_CONNS_MAX = 65536, /* open at one time */
    HERD_NONE = -1,
};

/* ---- the scenario, as read (constant) */

struct herd_source {
    const char *address, *host, *helo, *pool;
    struct rmd_addr addr;
    uint32_t host_index, network; /* network: of its /24, an index below scenario->n_networks */
    uint32_t age_days;            /* 0: nobody has seen it; else since when receivers know it */
    uint64_t usual_per_day;       /* if so: what all receivers together were used to get from it */
    uint64_t
        announced; /* bit i: known to the postmaster of receiver i, who wants to be told first; every receiver's bit for an old one */
};

struct herd_site { /* domains that share their MX hosts; the unit that judges */
    const char *const *domain;
    uint32_t n_domains;
    const char *mx[2]; /* NULL-filled; they end in the suffix of Remuda's provider */
    struct rmd_addr mx_addr[2];
    uint32_t receiver;
};

struct herd_receiver {
    const char *name;
    const char *provider; /* what an operator's configuration calls it: google, ..., other */
    uint32_t first_site, n_sites;
    bool reports;       /* it has a feedback loop */
    uint32_t share_ppm; /* of all messages of the scenario */
    const struct herd_rules *rules;
};

struct herd_domain { /* a sending domain */
    const char *name;
    uint32_t age_days;
    uint64_t usual_per_day;
};

struct herd_stream {
    const char *name, *tenant, *sending_domain, *pool;
    bool transactional;
    uint32_t domain; /* sending domain, an index */
};

struct herd_campaign { /* one submission; repetitions are campaigns of their own */
    const char *name;  /* "news.3" */
    uint32_t stream, list, first, rows;
    int64_t at_ms, valid_for_ms; /* valid_for: from submission; a message that is older is of no use to anybody */
    bool bad_content;
};

struct herd_scenario {
    const char *name, *about, *file;
    uint32_t days;
    int64_t operator_hour_ms;
    const char *const *host;
    const struct rmd_addr *network; /* x.y.z.0 */
    const struct herd_domain *domain;
    uint32_t n_hosts, n_networks, n_sources, n_sites, n_receivers, n_streams, n_domains, n_lists, n_campaigns,
        n_blocklists, n_events;
    const struct herd_source *source;
    const struct herd_site *site;
    const struct herd_receiver *receiver;
    const struct herd_stream *stream;
    const struct herd_campaign *campaign; /* by at_ms */
    const struct herd_list *list;
    const struct herd_blocklist *blocklist;
    const struct herd_event *event;
    uint64_t messages; /* of all campaigns */
};

const char *herd_list_name(const struct herd_scenario *s, uint32_t list);
uint32_t herd_list_size(const struct herd_scenario *s, uint32_t list);
const char *herd_blocklist_zone(const struct herd_scenario *s, uint32_t blocklist);

/* NULL: err has every finding, a line each, "file:line: what is wrong". */
struct herd_scenario *herd_load(const char *path, struct rmd_buf *err);
struct herd_scenario *herd_parse(struct rmd_slice text, const char *file, struct rmd_buf *err);
void herd_scenario_free(struct herd_scenario *s);

/* ---- the world */

struct herd_world *herd_world_new(const struct herd_scenario *s, uint64_t seed);
void herd_world_free(struct herd_world *w);
const struct herd_scenario *herd_scenario_of(const struct herd_world *w);
uint64_t herd_seed(const struct herd_world *w);
int64_t herd_end_ms(const struct herd_world *w); /* days * HERD_DAY_MS */
void herd_advance(struct herd_world *w, int64_t now_ms);

/* ---- who is on the lists: what a sender's own database knows */

struct herd_person {
    uint32_t list, number; /* of this list; the same person in every campaign */
    uint32_t site, domain; /* of the site's domains */
    int32_t engaged_days;  /* last known click or open, in days before the start; HERD_NONE: never, or not known */
};
void herd_person(const struct herd_world *w, uint32_t campaign, uint32_t row, struct herd_person *out);
/* "p17.subscribers@gmail.com"; list and number can be read back. */
void herd_email(const struct herd_world *w, const struct herd_person *p, char out[128]);
bool herd_email_parse(const struct herd_world *w, const char *email, struct herd_person *out);

/* ---- DNS */
int herd_site_of_domain(const struct herd_world *w, const char *domain); /* HERD_NONE: no such domain */
int herd_site_of_mx(const struct herd_world *w, const char *host,
                    struct rmd_addr *addr); /* likewise; addr may be NULL */
int herd_site_of_addr(const struct herd_world *w, const struct rmd_addr *a);
/* A question to a blocklist, "4.1.0.20.zen.spamhaus.org": how many answers (0: NXDOMAIN), HERD_NONE when no zone of the scenario ends the name.
 * 127.0.0.2 is listed and 127.0.0.1 is not (RFC 5782). */
int herd_dnsbl(struct herd_world *w, const char *name, int64_t now_ms, struct rmd_addr answer[4]);
bool herd_listed(struct herd_world *w, uint32_t blocklist, uint32_t source, int64_t now_ms, struct rmd_addr *answer);

/* ---- SMTP. A reply has the stage's own meaning: code and text as on the wire ("421 4.7.0 ..."; a '\n' between the lines of a reply
 * that has several, each with its code), when it comes (delay_ms after the call), and whether the receiver hangs up behind it. */

struct herd_reply {
    const char *text;
    uint16_t code;
    uint32_t delay_ms;
    bool close; /* the connection is over, its number free */
};
static inline bool herd_ok(const struct herd_reply *r) {
    return r->code < 400;
}

/* The greeting. Returns the connection's number (> 0), or 0: nobody answers (code 0, delay_ms is the time until that is known). EHLO is always
 * answered 250. At most HERD_CONNS_MAX are open: more than that is a mistake of the sender and asserted. */
uint32_t herd_connect(struct herd_world *w, uint32_t source, uint32_t site, int64_t now_ms, struct herd_reply *out);
/* One transaction: MAIL, RCPT, the dot. A refusal ends it (connection kept unless `close`); herd_reset ends it without one (RSET). */
void herd_mail(struct herd_world *w, uint32_t conn, uint32_t campaign, uint32_t row, int64_t now_ms,
               struct herd_reply *out);
void herd_rcpt(struct herd_world *w, uint32_t conn, int64_t now_ms, struct herd_reply *out);
void herd_dot(struct herd_world *w, uint32_t conn, int64_t now_ms, struct herd_reply *out);
void herd_reset(struct herd_world *w, uint32_t conn, int64_t now_ms);
void herd_disconnect(struct herd_world *w, uint32_t conn, int64_t now_ms); /* QUIT or cut, by the sender */

/* ---- what comes back later */

struct herd_report { /* a complaint, as a feedback loop tells it */
    int64_t at_ms;
    uint32_t source, site, stream, campaign;
    uint32_t row; /* UINT32_MAX: the report doesn't name the recipient */
};
int64_t herd_report_due(const struct herd_world *w);                                  /* RMD_NEVER: none */
bool herd_report_next(struct herd_world *w, int64_t now_ms, struct herd_report *out); /* one that is due */

/* What a receiver's web form tells the person who asks about an address (never the sending program). The world's operator files the forms
 * himself, the same for every sender (`operator` in the scenario); this is for a driver that plays the person who closes incidents. */
bool herd_blocked(struct herd_world *w, uint32_t source, uint32_t site, int64_t now_ms);

/* ---- what the sender did in the end, told once for each message (a second time replaces) and each suppressed person */
enum herd_final { HERD_OPEN, HERD_DELIVERED, HERD_BOUNCED, HERD_EXPIRED, HERD_DROPPED /* suppressed, cancelled */ };
void herd_settle(struct herd_world *w, uint32_t campaign, uint32_t row, enum herd_final how, int64_t now_ms);
void herd_suppress(struct herd_world *w, uint32_t list, uint32_t number, bool on); /* false: undone */

/* ---- metrics: README.md says how each is counted. Shares and means are in thousandths or millionths. */
struct herd_metrics {
    uint64_t messages, people; /* submitted; of these to people who exist */
    uint64_t seen[4];          /* people who had it before their eyes 1, 3, 7, 30 days after submission */
    uint64_t attempts, connections, accepted, foldered, deferrals, refused, refused_connections, duplicates;
    uint64_t complaints, reports, trap_hits, unknown_hits, listings, blocks;
    uint64_t ip_days_lost_milli, wrong_suppressions, suppressions;
    uint64_t delivered, bounced, expired, dropped, open; /* by the sender's word */
    uint64_t complete_minutes;                   /* mean over campaigns: submission until every message was settled */
    uint64_t delay_minutes_50, delay_minutes_95; /* of accepted messages to people: submission until acceptance */
};
/* Of everything; of a stream or of a receiver with those >= 0 (one of the two). */
void herd_metrics(const struct herd_world *w, int stream, int receiver, struct herd_metrics *out);
/* One JSON object: {"scenario", "seed", "days", "metrics": {...}, "streams": {name: {...}}, "receivers": {name: {...}}}; members that a sender
 * adds are put in by `more` (text of members, with a comma at the end; NULL: none). Ends with a newline. */
void herd_metrics_json(const struct herd_world *w, const char *more, struct rmd_buf *out);
void herd_metrics_text(const struct herd_world *w, const char *title, struct rmd_buf *out); /* for people */

/* ---- senders */

enum { HERD_PARAMS_MAX = 12 };

struct herd_param {
    const char *name, *about;
    int64_t min, max, fallback; /* the range of the search, and what is used when nothing is set */
    bool log_scale;             /* search by factors */
};

struct herd_setting { /* --set name=value */
    const char *name, *value;
};

/* A way of sending. run() sends every campaign at its time until herd_end_ms, and calls herd_settle and herd_suppress. RMD_OK, or an error with
 * a line in err. `more` gets JSON members for herd_metrics_json. */
struct herd_sender {
    const char *name, *about;
    const struct herd_param *param;
    size_t n_params;
    int (*run)(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
               struct rmd_buf *err);
};
extern const struct herd_sender herd_round_robin, herd_fixed_rate, herd_time_warmup,
    herd_suspension;                         /* baseline*.c */
extern const struct herd_sender herd_remuda; /* remuda.c */

/* Values of all parameters, set or fallback; unknown names and values outside the range are errors. */
int herd_params(const struct herd_sender *s, const struct herd_setting *set, size_t n_set, int64_t *value,
                struct rmd_buf *err) RMD_CHECKED;

/* `sim --scenario ...` and `sim --baselines` */
int herd_main(int argc, char **argv);

#endif
