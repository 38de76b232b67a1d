/* Scheduler, for people: what binds a lane, a whole queue, or one campaign's part of it. */
#include "coordinator/core/core.h"

static const char *lane_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l,
                            const struct rmd_moving_stops *stops, struct rmd_incident **by) {
    const char *why = rmd_sched_bars(c, q, l);
    struct rmd_moving m;
    *by = NULL;
    if (why)
        return why;
    rmd_moving_bind(c, q, stops, l, &m);
    why = rmd_moving_why(c, q, l, &m, by);
    return why ? why : rmd_usual_why(c, q, l);
}

const char *rmd_sched_lane_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, struct rmd_incident **by) {
    struct rmd_moving_stops stops;
    rmd_moving_stops(c, q, &stops);
    return lane_why(c, q, l, &stops, by);
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

/* What concerns the lanes as little as the campaigns. */
static const char *nothing_goes(struct rmd_coord *c, const struct rmd_pq *q) {
    if (c->meta->restored)
        return "store restored from a backup: waits for \"resume\"";
    if (c->stalled)
        return "store stalled";
    if (q->provider < 0)
        return NULL;
    if (rmd_tenant_paused(c, q->stream->rec->tenant) || q->stream->rec->state)
        return "paused";
    return rmd_stream_lacks_key(q->stream) ? "a DKIM key of the stream can't be read" : NULL;
}

/* Of all that wait in the queue, or of one. */
static const char *campaigns_why(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k) {
    if (!k && campaigns_paused(c, q))
        return "campaign paused";
    if (q->provider < 0)
        return "the domain's MX can't be resolved yet";
    const char *later = k ? rmd_release_why(c, k, &c->view) : rmd_release_binds(c, q);
    if (later)
        return later;
    const char *refused = rmd_sender_why(c, q, &c->view);
    return refused ? refused : rmd_content_why(q, k);
}

/* "canary: 20 of 20 recipients went to other lanes; ... (incident 3: google refuses 127.0.0.1 ...)" */
static const char *with_incident(struct rmd_coord *c, const char *why, const struct rmd_incident *i,
                                 int64_t until_wall_ms) {
    char at[32] = "";
    if (!i)
        return why;
    if (until_wall_ms)
        rmd_date_rfc3339(until_wall_ms, at);
    const char *waits = why == rmd_why_canary ? rmd_coord_incident_waits_for(c, i->rec) : "";
    return rmd_arena_printf(&c->view, "%s%s%s (incident %llu: %s); see `remuda incident show %llu`",
                            *waits ? waits : why, *at ? " until " : "", at, (unsigned long long)i->rec->id,
                            i->rec->title, (unsigned long long)i->rec->id);
}

static const char *stopped_why(struct rmd_coord *c, const struct rmd_lane *l, const char *why) {
    const struct rmd_lane *stopped = l->source->all.state != RMD_LANE_OPEN ? &l->source->all : l;
    bool is = why == rmd_lane_state_name(stopped->state);
    return is ? with_incident(c, why, rmd_incident_find(c, stopped->incident), stopped->until_wall_ms) : why;
}

/* What binds the lanes: "" when some would take what is queued. */
static const char *lanes_why(struct rmd_coord *c, struct rmd_pq *q, bool queued) {
    const char *first = NULL;
    const struct rmd_lane *lane = NULL;
    struct rmd_incident *by = NULL, *x;
    uint64_t reserved = 0;
    struct rmd_moving_stops stops;
    rmd_sched_candidates(c, q);
    if (!q->n_candidates)
        return "no source in the pool";
    rmd_moving_stops(c, q, &stops);
    for (size_t i = 0; i < q->n_candidates; i++) {
        const char *why = lane_why(c, q, q->candidate[i], &stops, &x);
        if (!why && q->queued && rmd_sched_all_kept(c, q, reserved))
            return rmd_why_kept;
        if (!why)
            return queued ? "" : rmd_why_time;
        reserved += rmd_warm_keeps(c, q, q->candidate[i], why);
        if (first && !says_most(why))
            continue;
        first = why;
        lane = q->candidate[i];
        by = x;
    }
    return by ? with_incident(c, first, by, 0) : stopped_why(c, lane, first);
}

const char rmd_why_outstanding[] = "leases outstanding";
const char rmd_why_hour[] = "what the receiver takes an hour from its source";
const char *const rmd_why_connects = "connects_per_minute of the provider";
const char rmd_why_time[] = "time of the next attempt";

/* What nodes hold waits for, when nothing before them says more: leases are out because this limit empties them slowly. */
static bool connects_bind(struct rmd_coord *c, struct rmd_pq *q) {
    rmd_sched_candidates(c, q);
    for (size_t i = 0; i < q->n_candidates; i++)
        if (rmd_pace_connects_bind(q->candidate[i]))
            return true;
    return false;
}

const char *rmd_sched_binds(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, uint64_t queued,
                            uint64_t deferred) {
    const char *why = "";
    if (queued || deferred) {
        why = nothing_goes(c, q);
        why = why ? why : campaigns_why(c, q, k);
        why = why ? why : lanes_why(c, q, queued);
    }
    bool leased = k ? k->leased : q->leased;
    bool at_nodes = !*why || why == rmd_why_outstanding || why == rmd_why_time;
    return at_nodes && leased && q->provider >= 0 && connects_bind(c, q) ? rmd_why_connects : why;
}

const char *rmd_sched_why(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, uint64_t queued,
                          uint64_t deferred) {
    const char *why = rmd_sched_binds(c, q, k, queued, deferred);
    bool free = !*why || why == rmd_why_time;
    const char *site = free && (queued || deferred) ? rmd_site_why(c, q, k, &c->view) : NULL;
    return site ? site : why;
}
