/* Stops of single sites. "other" is thousands of receivers that have nothing to do with each other: what one of them says of
 * a source stops this source at its site, and mail to all others goes on (design, promises 5 and 10). The coordinator, who
 * hears them all, widens it.
 *
 * Such a stop lives as a lane's does (struct rmd_stop): made by a verdict, taken over by a policy that lists the site or has
 * closed the lane, lifted by a later one; one that no policy confirmed lapses. They are kept beside the table of sites, which
 * forgets what nobody uses. */
#include "node/core/worker_internal.h"

bool rmd_lane_is_other(const struct rmd_lane *lane) {
    return lane->provider == rmd_provider_id(RMD_PROVIDER_OTHER_NAME);
}

bool rmd_worker_site_stopped(const struct rmd_worker *w, const struct rmd_lane *lane, uint64_t site) {
    const struct rmd_stop *stop = rmd_map_get_u64(&lane->site_stops, site);
    if (stop && w->now.mono_ms < stop->until_ms)
        return true;
    return rmd_lane_is_other(lane) && rmd_map_get_u64(&lane->source->quarantined_sites, site);
}

static void forget(struct rmd_lane *lane, uint64_t site, struct rmd_stop *stop) {
    rmd_map_remove_u64(&lane->site_stops, site);
    free(stop);
}

static uint64_t site_of(struct rmd_slice key) {
    uint64_t id;
    memcpy(&id, key.p, sizeof id);
    return id;
}

static void drop_lapsed(const struct rmd_worker *w, struct rmd_lane *lane) {
    uint32_t it = 0;
    struct rmd_slice key;
    void *v;
    while (rmd_map_next(&lane->site_stops, &it, &key, &v))
        if (((struct rmd_stop *)v)->until_ms <= w->now.mono_ms)
            forget(lane, site_of(key), v);
}

/* What waits for the site goes back; open transactions before the dot are aborted. */
static void halt_one(struct rmd_worker *w, struct rmd_wsite *site) {
    struct rmd_wmessage *m;
    while ((m = rmd_site_head(site)))
        rmd_worker_return(w, m, RMD_RETURN_SITE_STOPPED);
    rmd_list_for_safe(it, &site->idle) rmd_worker_conn_quit(w, rmd_container(it, struct rmd_wconn, idle));
    rmd_worker_doom(w, site->lane, site, RMD_RETURN_SITE_STOPPED);
}

static void halt(struct rmd_worker *w, struct rmd_lane *lane, uint64_t mx_site) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&lane->sites, &it, NULL, &v))
        if (((struct rmd_wsite *)v)->mx_site == mx_site)
            halt_one(w, v);
}

bool rmd_worker_stop_site(struct rmd_worker *w, struct rmd_wsite *site, int64_t until_ms) {
    struct rmd_lane *lane = site->lane;
    struct rmd_stop *stop = rmd_map_get_u64(&lane->site_stops, site->mx_site);
    if (!stop && lane->site_stops.n >= RMD_WORKER_SITE_STOPS_MAX)
        drop_lapsed(w, lane);
    if (!stop && lane->site_stops.n >= RMD_WORKER_SITE_STOPS_MAX)
        return false;
    if (!stop) {
        stop = rmd_alloc(sizeof *stop);
        rmd_map_set_u64(&lane->site_stops, site->mx_site, stop);
    }
    if (until_ms > stop->until_ms)
        *stop = (struct rmd_stop){.until_ms = until_ms};
    halt(w, lane, site->mx_site);
    return true;
}

/* ---------------------------------------------------------------- policy */

/* A policy that left before the alarm arrived says nothing about a stop. */
bool rmd_worker_settle_stop(struct rmd_stop *stop, bool in_policy) {
    bool lifted = !in_policy && stop->confirmed;
    if (in_policy && stop->until_ms)
        stop->confirmed = true;
    else if (lifted)
        *stop = (struct rmd_stop){0};
    return lifted;
}

void rmd_worker_sites_given(struct rmd_wsource *s, const Remuda__SourcePolicy *pb) {
    rmd_map_release(&s->quarantined_sites);
    s->quarantined_sites = (struct rmd_map){0};
    for (size_t i = 0; i < pb->n_quarantined_site; i++)
        rmd_map_set_u64(&s->quarantined_sites, pb->quarantined_site[i], s);
}

void rmd_worker_settle_sites(struct rmd_worker *w, struct rmd_lane *lane, bool lane_in_policy) {
    uint32_t it = 0;
    struct rmd_slice key;
    void *v;
    while (rmd_map_next(&lane->site_stops, &it, &key, &v)) {
        struct rmd_stop *stop = v;
        uint64_t site = site_of(key);
        if (rmd_worker_settle_stop(stop,
                                   lane_in_policy || rmd_map_get_u64(&lane->source->quarantined_sites, site) != NULL))
            rmd_worker_alarms_anew(lane, site);
        if (!stop->until_ms)
            forget(lane, site, stop);
    }
    if (!rmd_lane_is_other(lane))
        return;
    for (it = 0; rmd_map_next(&lane->sites, &it, NULL, &v);) {
        struct rmd_wsite *site = v;
        if ((site->queued || site->conns) && rmd_map_get_u64(&lane->source->quarantined_sites, site->mx_site))
            halt_one(w, site);
    }
}

void rmd_worker_stops_release(struct rmd_lane *lane) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&lane->site_stops, &it, NULL, &v))
        free(v);
    rmd_map_release(&lane->site_stops);
}
