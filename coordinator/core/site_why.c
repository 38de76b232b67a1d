/* Stopped sites of "other", for people: which site keeps mail waiting, what it said, until when, and what can be done.
 *
 * A view looks at no more than ROWS of what is loaded: what a site holds stays loaded, and others' mail goes by. */
#include "coordinator/core/core.h"

enum { ROWS = 4096, SITES = 16 };

struct look {
    struct rmd_coord *c;
    struct rmd_pq *q;
    struct rmd_lane **free; /* lanes that would take any other mail */
    size_t n_free;
    uint32_t rows;
    struct {
        uint64_t site;
        const char *domain;
        bool held;
    } seen[SITES];
    size_t n_seen;
};

/* ---------------------------------------------------------------- in words */

/* What of the pool is stopped there; the first of them, and when the first is asked again. */
struct stops {
    const struct rmd_site_stop *first;
    size_t n, probed;
    int64_t until_wall_ms; /* 0: a person resolves it */
};

static struct stops stops_of(const struct rmd_stopped_site *site, const struct rmd_stream *s) {
    struct stops x = {0};
    rmd_list_for(it, &site->stops) {
        const struct rmd_site_stop *stop = rmd_container(it, struct rmd_site_stop, of_site);
        if (!rmd_stream_uses(s, stop->source))
            continue;
        x.first = x.first ? x.first : stop;
        x.n++;
        x.probed += stop->state == RMD_LANE_PROBING;
        if (stop->until_wall_ms && (!x.until_wall_ms || stop->until_wall_ms < x.until_wall_ms))
            x.until_wall_ms = stop->until_wall_ms;
    }
    return x;
}

/* Some source of the pool stands on a network that the site doesn't refuse. */
static bool elsewhere(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_stopped_site *site) {
    rmd_sched_candidates(c, q);
    for (size_t i = 0; i < q->n_candidates; i++) {
        const struct rmd_source *s = q->candidate[i]->source;
        bool refused = !rmd_sched_standing(s, q->candidate[i]);
        rmd_list_for(it, &site->stops) {
            const struct rmd_source *x = rmd_container(it, struct rmd_site_stop, of_site)->source;
            refused = refused || (x->net == s->net && rmd_stream_uses(q->stream, x)); /* as it binds the dealing */
        }
        if (!refused)
            return true;
    }
    return false;
}

/* "the site of a.test refuses 127.0.0.1 and 2 more (ip_blocklisted, incident 3) until ...; canary: ..." */
static const char *words(const struct look *x, const char *domain, const struct rmd_stopped_site *site, size_t more,
                         struct rmd_arena *a) {
    struct rmd_coord *c = x->c;
    struct stops of = stops_of(site, x->q->stream);
    const struct rmd_incident *i = of.first ? rmd_incident_find(c, of.first->incident) : NULL;
    if (!of.first)
        return NULL;
    char until[32] = "a person resolves it";
    if (of.until_wall_ms)
        rmd_date_rfc3339(of.until_wall_ms, until);
    const char *others = of.n > 1 ? rmd_arena_printf(a, " and %zu more", of.n - 1) : "",
               *sites = more ? rmd_arena_printf(a, "; and %zu more site%s", more, more == 1 ? "" : "s") : "",
               *class = i ? rmd_arena_printf(a, "%s, ", rmd_class_name(i->rec->class_)) : "";
    const char *next =
        of.probed ? "a single recipient asks again" : rmd_arena_printf(a, "stopped there until %s", until);
    const char *waits = i ? rmd_coord_incident_waits_for(c, i->rec) : "";
    if (!elsewhere(c, x->q, site))
        waits = rmd_why_nowhere;
    return rmd_arena_printf(
        a, "the site of %s refuses %s%s (%sincident %llu): %s%s%s%s; see `remuda incident show %llu`", domain,
        of.first->source->rec->address, others, class, (unsigned long long)of.first->incident, next,
        *waits ? "; " : "", waits, sites, (unsigned long long)of.first->incident);
}

/* ---------------------------------------------------------------- what is held */

/* No lane that is free may have mail for this site. */
static bool is_held(const struct look *x, const struct rmd_stopped_site *site) {
    for (size_t i = 0; i < x->n_free; i++)
        if (!rmd_site_keeps(x->c, x->q, x->free[i], site, NULL, 0))
            return false;
    return true;
}

/* True: more may be looked at. */
static bool look_at(struct look *x, const char *domain) {
    const struct rmd_domain *d = domain ? rmd_map_get_str(&x->c->domains, domain) : NULL;
    if (!x->rows)
        return false;
    x->rows--;
    const struct rmd_stopped_site *site = d && d->site ? rmd_map_get_u64(&x->c->stopped_sites, d->site) : NULL;
    if (!site)
        return true;
    for (size_t i = 0; i < x->n_seen; i++)
        if (x->seen[i].site == d->site)
            return true;
    x->seen[x->n_seen].site = d->site;
    x->seen[x->n_seen].domain = d->name;
    x->seen[x->n_seen++].held = is_held(x, site);
    return x->n_seen < SITES;
}

static bool look_at_entry(struct look *x, const struct rmd_entry *e) {
    const struct rmd_chunk *ch = e->chunk;
    for (uint32_t i = 0; ch->rows && i < ch->n; i++)
        if (rmd_bit_get(e->queued, i) && !look_at(x, rmd_chunk_domain(ch->rows, i)))
            return false;
    return true;
}

static bool look_at_queued(struct look *x, const struct rmd_campaign *k) {
    rmd_list_for(it, &x->q->cqs) {
        const struct rmd_cq *cq = rmd_container(it, struct rmd_cq, in_pq);
        if (k ? cq->campaign != k : !rmd_campaign_deals(x->c, cq->campaign))
            continue;
        rmd_list_for(et, &cq->entries) {
            if (!look_at_entry(x, rmd_container(et, struct rmd_entry, in_cq)))
                return false;
        }
    }
    return true;
}

/* Those that are due. */
static void look_at_retries(struct look *x, const struct rmd_campaign *k) {
    rmd_list_for(it, &x->q->ready_dqs) {
        const struct rmd_dq *d = rmd_container(it, struct rmd_dq, in_ready);
        rmd_list_for(jt, &d->items) {
            const struct rmd_ditem *item = rmd_container(jt, struct rmd_ditem, link);
            if (k ? item->chunk->campaign != k : !rmd_campaign_deals(x->c, item->chunk->campaign))
                continue;
            if (!look_at(x, rmd_site_domain(x->c, item->rec)))
                return;
        }
    }
}

const char *rmd_site_why(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, struct rmd_arena *a) {
    if (!c->stopped_sites.n || q->provider < 0 || q->provider_id != c->other)
        return NULL;
    struct look x = {.c = c, .q = q, .rows = ROWS};
    struct rmd_incident *by;
    rmd_sched_candidates(c, q);
    x.free = rmd_arena_alloc(&c->scratch, (q->n_candidates + 1) * sizeof *x.free);
    for (size_t i = 0; i < q->n_candidates; i++)
        if (!rmd_sched_lane_why(c, q, q->candidate[i], &by))
            x.free[x.n_free++] = q->candidate[i];
    if (look_at_queued(&x, k))
        look_at_retries(&x, k);
    size_t held = 0;
    const char *domain = NULL;
    for (size_t i = 0; i < x.n_seen; i++) {
        held += x.seen[i].held;
        domain = !domain && x.seen[i].held ? x.seen[i].domain : domain;
    }
    const struct rmd_domain *d = domain ? rmd_map_get_str(&c->domains, domain) : NULL;
    const struct rmd_stopped_site *site = d ? rmd_map_get_u64(&c->stopped_sites, d->site) : NULL;
    return site ? words(&x, domain, site, held - 1, a) : NULL;
}

/* ---------------------------------------------------------------- one domain, at length */

static void explain_stop(struct rmd_coord *c, const struct rmd_site_stop *x, struct rmd_buf *out) {
    char at[32] = "a person resolves it";
    const struct rmd_incident *i = rmd_incident_find(c, x->incident);
    bool probed = x->state == RMD_LANE_PROBING;
    if (x->until_wall_ms)
        rmd_date_rfc3339(x->until_wall_ms, at);
    rmd_buf_addf(
        out,
        "its site refuses %s (%s%sincident %llu): %s%s; its recipients go to other networks of the pool, or wait\n",
        x->source->rec->address, i ? rmd_class_name(i->rec->class_) : "", i ? ", " : "",
        (unsigned long long)x->incident, probed ? "probed with a single recipient" : "stopped there alone, until ",
        probed ? "" : at);
}

void rmd_site_explain(struct rmd_coord *c, const struct rmd_domain *d, const struct rmd_stream *s,
                      struct rmd_buf *out) {
    const struct rmd_stopped_site *site =
        d->provider == c->other ? rmd_map_get_u64(&c->stopped_sites, d->site) : NULL;
    uint64_t told = 0; /* sources that were refused in the same way share an incident */
    if (!site)
        return;
    rmd_list_for(it, &site->stops) {
        const struct rmd_site_stop *x = rmd_container(it, struct rmd_site_stop, of_site);
        if (!rmd_stream_uses(s, x->source))
            continue;
        explain_stop(c, x, out);
        const struct rmd_incident *i = x->incident != told ? rmd_incident_find(c, x->incident) : NULL;
        told = x->incident;
        const char *waits = i ? rmd_coord_incident_waits_for(c, i->rec) : "";
        if (*waits)
            rmd_buf_addf(out, "  %s\n", waits);
        if (i)
            rmd_buf_addf(out, "  what you can do: %s (`remuda incident show %llu`)\n", i->rec->next_step,
                         (unsigned long long)i->rec->id);
    }
}
