/* Scheduler, for people: what binds a lane, and a whole queue. */
#include "coordinator/core/core.h"

const char *rmd_sched_lane_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l) {
    const char *why = rmd_sched_bars(c, q, l);
    struct rmd_moving_stops stops;
    struct rmd_moving m;
    if (why)
        return why;
    rmd_moving_stops(c, q, &stops);
    rmd_moving_bind(c, q, &stops, l, &m);
    why = rmd_moving_why(c, q, l, &m);
    return why ? why : rmd_usual_why(c, q, l);
}

uint32_t rmd_sched_lowest(struct rmd_coord *c, struct rmd_pq *q) {
    uint32_t lowest = RMD_USUAL_LEVELS;
    for (size_t i = 0; i < q->n_candidates; i++) {
        uint32_t level =
            rmd_sched_bars(c, q, q->candidate[i]) ? RMD_USUAL_LEVELS : rmd_usual_at(c, q, q->candidate[i]).level;
        lowest = level < lowest ? level : lowest;
    }
    return lowest;
}

/* Whatever waits here belongs to paused campaigns. */
static bool campaigns_paused(struct rmd_coord *c, const struct rmd_pq *q) {
    rmd_list_for(it, &q->cqs) {
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        if (x->queued && x->campaign->rec->state != RMD_CAMPAIGN_PAUSED)
            return false;
    }
    if (!q->deferred)
        return true;
    rmd_list_for(it, &c->all_campaigns) {
        const struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, all);
        if (k->stream == q->stream && k->deferred && k->rec->state != RMD_CAMPAIGN_PAUSED)
            return false;
    }
    return true;
}

/* Its end would help at once; of a lane that is stopped or has no node, nobody knows when it will. */
static bool says_most(const char *why) {
    static const char *const v[] = {rmd_why_outstanding, rmd_why_hour,   rmd_why_warm_cap, rmd_why_warm_hour,
                                    rmd_why_reputation,  rmd_why_canary, rmd_why_growth,   rmd_why_ended,
                                    rmd_why_ramp,        rmd_why_rests};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (why == v[i])
            return true;
    return strncmp(why, "lane caps", strlen("lane caps")) == 0;
}

static const char *queue_why(struct rmd_coord *c, struct rmd_pq *q) {
    if (!q->queued && !q->deferred)
        return "";
    if (c->meta->restored)
        return "store restored from a backup: waits for \"resume\"";
    if (c->stalled)
        return "store stalled";
    if (q->provider < 0)
        return campaigns_paused(c, q) ? "campaign paused" : "the domain's MX can't be resolved yet";
    if (rmd_tenant_paused(c, q->stream->rec->tenant) || q->stream->rec->state)
        return "paused";
    if (rmd_stream_lacks_key(q->stream))
        return "a DKIM key of the stream can't be read";
    if (campaigns_paused(c, q))
        return "campaign paused";
    const char *later = rmd_release_binds(c, q);
    if (later)
        return later;
    const char *refused = rmd_sender_why(c, q, &c->view);
    refused = refused ? refused : rmd_content_why(q);
    if (refused)
        return refused;
    rmd_sched_candidates(c, q);
    if (!q->n_candidates)
        return "no source in the pool";
    const char *first = NULL;
    uint64_t reserved = 0;
    struct rmd_moving_stops stops;
    struct rmd_moving m;
    rmd_moving_stops(c, q, &stops);
    for (size_t i = 0; i < q->n_candidates; i++) {
        const char *why = rmd_sched_bars(c, q, q->candidate[i]);
        rmd_moving_bind(c, q, &stops, q->candidate[i], &m);
        if (!why)
            why = rmd_moving_why(c, q, q->candidate[i], &m);
        if (!why)
            why = rmd_usual_why(c, q, q->candidate[i]);
        if (!why && q->queued && rmd_sched_all_kept(c, q, reserved))
            return rmd_why_kept;
        if (!why)
            return q->queued ? "" : "time of the next attempt";
        reserved += rmd_warm_keeps(c, q, q->candidate[i], why);
        if (!first || says_most(why))
            first = why;
    }
    return first;
}

const char rmd_why_outstanding[] = "leases outstanding";
const char rmd_why_hour[] = "what the receiver takes an hour from its source";
const char *const rmd_why_connects = "connects_per_minute of the provider";

/* What nodes hold waits for, when nothing before them says more: leases are out because this limit empties them slowly. */
const char *rmd_sched_why(struct rmd_coord *c, struct rmd_pq *q) {
    const char *why = queue_why(c, q);
    bool at_nodes = !why || !*why || why == rmd_why_outstanding || strcmp(why, "time of the next attempt") == 0;
    if (!at_nodes || !q->leased || q->provider < 0)
        return why;
    rmd_sched_candidates(c, q);
    for (size_t i = 0; i < q->n_candidates; i++)
        if (rmd_pace_connects_bind(q->candidate[i]))
            return rmd_why_connects;
    return why;
}
