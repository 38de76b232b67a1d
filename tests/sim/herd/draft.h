/* What a scenario file says, section by section, before names are resolved (keys.c fills it, scenario.c reads it). */
#ifndef REMUDA_HERD_DRAFT_H
#define REMUDA_HERD_DRAFT_H

#include "tests/sim/herd/rules.h"

struct herd_scenario_draft {
    const char *name, *about, *use;
    int64_t days, operator_hour_ms;
};

struct herd_sources_draft {
    const char *name, *host, *pool, *first, *announced[HERD_CITES_MAX];
    int64_t count, age_days, usual_per_day;
    int line;
};

struct herd_stream_draft {
    const char *name, *tenant, *pool, *domain;
    int64_t transactional, domain_age_days, domain_usual_per_day;
    int line;
};

struct herd_campaign_draft {
    const char *name, *stream, *list;
    int64_t at_ms, every_ms, times, rows, grow, first, valid_for_ms, bad_content;
    int line;
};

struct herd_receiver_draft {
    const char *name, *like, *provider, *mx[HERD_CITES_MAX], *domains[HERD_CITES_MAX];
    int64_t sites;
    struct herd_rules rules;
    int line;
};

struct herd_blocklist_draft {
    const char *like;
    struct herd_blocklist b;
};

#endif
