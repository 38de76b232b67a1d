/* Inside of the reading of scenarios: what scenario.c hands to expand.c. */
#ifndef REMUDA_HERD_SCENARIO_H
#define REMUDA_HERD_SCENARIO_H

#include "tests/sim/herd/reader.h"

struct herd_scenario_full {
    struct herd_scenario s;
    struct rmd_arena arena;
    struct rmd_map domains, mx, addrs; /* -> site + 1 (domains: and the domain's place << 32) */
};

struct herd_expand_in {
    struct herd_reader *r;
    const struct herd_scenario_draft *whole;
    struct herd_sources_draft **sources;
    struct herd_stream_draft **stream;
    struct herd_list **list;
    const struct rmd_ucl **mix;
    struct herd_campaign_draft **campaign;
    struct herd_receiver_draft **receiver;
    struct herd_blocklist_draft **blocklist, **base_blocklist;
    struct herd_event **event;
    size_t n_sources, n_streams, n_lists, n_campaigns, n_receivers, n_blocklists, n_base_blocklists, n_events;
};

/* Resolves names, repeats campaigns, lays out sites. Findings go to in->r. */
void herd_expand(struct herd_expand_in *in, struct herd_scenario_full *out);

#endif
