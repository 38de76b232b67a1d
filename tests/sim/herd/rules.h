/* The rules of a world as data: what keys.c reads and judge.c, reputation.c, people.c and blocklist.c carry out. One struct for each kind of section of
 * a scenario file; tests/sim/README.md describes every key. `on` is set by opening the section.
 *
 * A text with $ is a reply: $ip, $net, $domain, $rcpt, $zone are filled in. */
#ifndef REMUDA_HERD_RULES_H
#define REMUDA_HERD_RULES_H

#include "tests/sim/herd/model.h"

enum {
    HERD_PPM = 1000000,
    HERD_MEMORY_DAYS = 16, /* that a receiver remembers; windows are shorter */
    HERD_WINDOW_DAYS_MAX = 14,
    HERD_CITES_MAX = 8,
    HERD_MIX_MAX = 32,
    HERD_HITS_MAX = 64, /* traps or complaints that list a source */
};

enum herd_stage { HERD_GREETING, HERD_MAIL, HERD_RCPT, HERD_DOT };

/* Every rule: whether it holds, where it speaks, what it says, and what it imitates. */
struct herd_rule {
    bool on, off;
    int64_t stage;
    const char *reply;
    const char *cites[HERD_CITES_MAX];
    int line;
};

struct herd_rules {
    struct { /* accepted on one day from a source younger than `days` */
        struct herd_rule r;
        int64_t days, per_day, grow, block_ms, forget_ms;
    } newcomer;
    struct { /* accepted on one day: at most factor times the busiest of the last days, and never fewer than floor */
        struct herd_rule r;
        int64_t floor, factor, days;
    } growth, domain_growth;
    struct { /* accepted in an hour: per_hour, and share of what the day allows */
        struct herd_rule r;
        int64_t per_hour, share, harder, least, recover_ms;
    } rate;
    struct { /* what a source risks that comes again while it was told to wait */
        struct herd_rule r;
        int64_t rest_ms, longest_ms, tolerate, levels, window_ms, block_ms;
    } pressure;
    struct {
        struct herd_rule r;
        int64_t most, messages;
        const char *reply_messages;
    } connections;
    struct {
        struct herd_rule r;
        int64_t days, minimum;
        int64_t poor_complaints, bad_complaints, poor_unknown, bad_unknown, poor_traps, bad_traps, poor_reads,
            poor_spam;
        int64_t forgive, defer_poor, refuse_bad;
        const char *reply_domain;
    } reputation;
    struct {
        struct herd_rule r;
        int64_t good, fresh, poor, bad, engaged;
    } folder;
    struct {
        struct herd_rule r;
        int64_t by_network, after_ms, forget_ms, known_after;
    } greylist;
    struct {
        struct herd_rule r;
        int64_t share;
    } noise;
    struct {
        struct herd_rule r;
        int64_t refuse;
    } content;
    struct {
        struct herd_rule r;
        int64_t share, minimum, for_ms;
    } unknowns;
    struct {
        struct herd_rule r;
        int64_t sources, block_ms;
    } network;
    struct {
        struct herd_rule r;
        int64_t within_ms, report, report_after_ms;
    } complaints;
    struct {
        struct herd_rule r;
        int64_t takes_ms, granted;
    } form;
    struct {
        struct herd_rule r;
    } unknown, full, announce;
    struct {
        struct herd_rule r;
        const char *zone[HERD_CITES_MAX]; /* names; blocklist: their indexes, n_zones */
        uint32_t blocklist[HERD_CITES_MAX], n_zones;
    } listed;
    int64_t latency_ms;
};

enum { HERD_REPORT_NONE, HERD_REPORT_CAMPAIGN, HERD_REPORT_FULL };

struct herd_blocklist {
    struct herd_rule r; /* no reply, no stage: receivers have those */
    const char *zone, *code, *network_code;
    struct rmd_addr answer, network_answer;
    int64_t traps, complaints, complaint_share, within_ms, delay_ms, unlist_ms, network_sources, takes_ms, granted;
};

struct herd_list {
    const char *name;
    int64_t size, unknown, traps, full, engaged, engaged_known, reads, reads_lapsed, complaints, complaints_lapsed;
    uint32_t n_mix;
    uint32_t mix_receiver[HERD_MIX_MAX];
    int64_t mix_share[HERD_MIX_MAX]; /* ppm; 1,000,000 in all */
};

enum herd_event_kind { HERD_EVENT_SURGE, HERD_EVENT_LIAR, HERD_EVENT_DOWN, HERD_EVENT_LISTING, HERD_EVENT_BLOCK };

struct herd_event {
    struct herd_rule r;
    const char *name, *receiver_name, *blocklist_name, *network_name;
    int64_t kind, at_ms, for_ms, share, site; /* site: of the receiver's, HERD_NONE: all */
    uint32_t receiver, blocklist, network;
};

/* ---- keys.c: sections against tables */

enum herd_key_type {
    HERD_KEY_COUNT,
    HERD_KEY_DURATION,
    HERD_KEY_SHARE, /* "5%", "0.02%", into ppm */
    HERD_KEY_FLAG,  /* true, false */
    HERD_KEY_TEXT,
    HERD_KEY_REPLY, /* "421 ..." */
    HERD_KEY_WORD,  /* one of `words`; its position */
    HERD_KEY_TEXTS, /* a list of texts, or one; at most HERD_CITES_MAX */
};

struct herd_key {
    const char *name;
    enum herd_key_type type;
    size_t offset;
    int64_t min, max, fallback;
    const char *const *words; /* NULL-terminated */
    bool required;
    const char *about;
};

struct herd_section {
    const char *name;
    size_t rule; /* offset of its struct herd_rule; SIZE_MAX: none */
    const struct herd_key *keys;
    size_t n;
    bool speaks;     /* it has reply and stage */
    unsigned stages; /* bits of the stages at which it can speak; 0: all */
    const char *about;
};

extern const struct herd_section herd_rule_sections[];
extern const size_t herd_rule_sections_n;
extern const struct herd_key herd_rule_keys[]; /* of every rule: cites, off, stage, reply */
extern const struct herd_section herd_scenario_section, herd_sources_section, herd_stream_section, herd_list_section,
    herd_campaign_section, herd_receiver_section, herd_blocklist_section, herd_event_section;

void herd_keys_fallback(const struct herd_section *s, void *base); /* defaults into the struct */

#endif
