/* Explain: why a recipient of this domain and stream isn't being sent right now, or from where it would be. */
#include "coordinator/core/core.h"

static const char *const account_names[RMD_ACCOUNTS] = {"lane", "source", "network at this provider",
                                                        "sending domain at this provider"};

static void explain_caps(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st, struct rmd_buf *out) {
    struct rmd_caps caps;
    rmd_caps_of(c, l, st, &caps);
    for (int i = 0; i < RMD_ACCOUNTS; i++) {
        int64_t hour_ms = rmd_account_hour_frees_ms(&c->ledger, caps.account[i], caps.hour[i]);
        if (hour_ms) {
            char when[32] = "";
            if (hour_ms != RMD_NEVER)
                rmd_format_duration(hour_ms, when);
            rmd_buf_addf(out,
                         "    %s of the hour of the %s: %llu an hour, %llu used, %llu outstanding; more "
                         "frees %s%s\n",
                         i == 0 && rmd_book_poor(c, l) ? "smaller share, for its poor reputation,"
                                                       : "warm-up's share",
                         account_names[i], (unsigned long long)caps.hour[i],
                         (unsigned long long)rmd_account_hour_used(&c->ledger, caps.account[i]),
                         (unsigned long long)caps.account[i]->outstanding,
                         hour_ms == RMD_NEVER ? "when leases report" : "in ", when);
        }
        if (!caps.limit[i] || rmd_account_available(&c->ledger, caps.account[i], caps.limit[i]))
            continue;
        int64_t frees = rmd_account_frees_ms(&c->ledger, caps.account[i], caps.limit[i]);
        char when[32] = "";
        if (frees != RMD_NEVER)
            rmd_format_duration(frees, when);
        rmd_buf_addf(out, "    cap of the %s: %llu a day, %llu used in 24 h, %llu outstanding; more frees %s%s\n",
                     account_names[i], (unsigned long long)caps.limit[i], (unsigned long long)caps.account[i]->used,
                     (unsigned long long)caps.account[i]->outstanding,
                     frees == RMD_NEVER ? "when leases report" : "in ", when);
    }
}

/* How much it sends, when that is why others come first. */
static void explain_usual(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, struct rmd_buf *out) {
    uint64_t usual = rmd_usual_of(c, l);
    if (!rmd_usual_at(c, q, l).level)
        return;
    if (usual)
        rmd_buf_addf(out, "    usually at most %llu a day in the last week\n", (unsigned long long)usual);
    else
        rmd_buf_addstr(out, "    nothing is known of what it usually sends\n");
}

static void explain_connects(const struct rmd_coord *c, const struct rmd_lane *l, struct rmd_buf *out) {
    if (rmd_pace_connects_bind(l))
        rmd_buf_addf(out,
                     "    its node waits for connects_per_minute of %s: %u new connections a minute; %u recipients "
                     "are there\n",
                     c->o.provider[l->provider]->name, l->pace->connects_per_minute, l->leased);
}

/* The site that the domain belongs to, when it refuses sources. */
static const struct rmd_stopped_site *site_of(const struct rmd_coord *c, const struct rmd_domain *d) {
    return d->provider == c->other ? rmd_map_get_u64(&c->stopped_sites, d->site) : NULL;
}

/* Which trouble it is, and when that ends. */
static void explain_trouble(const struct rmd_lane *l, const struct rmd_incident *by, struct rmd_buf *out) {
    uint64_t incident = l->source->all.incident ? l->source->all.incident : l->incident;
    incident = by ? by->rec->id : incident;
    if (incident)
        rmd_buf_addf(out, " (incident %llu)", (unsigned long long)incident);
    int64_t until = l->source->all.until_wall_ms ? l->source->all.until_wall_ms : l->until_wall_ms;
    if (until) {
        char at[32];
        rmd_date_rfc3339(until, at);
        rmd_buf_addf(out, " until %s", at);
    }
    rmd_buf_addc(out, '\n');
}

/* lowest: level of the lanes that come first. */
static void explain_lane(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l,
                         const struct rmd_stopped_site *site, uint32_t lowest, bool *chosen, struct rmd_buf *out) {
    struct rmd_incident *by;
    const char *why = rmd_sched_lane_why(c, q, l, &by);
    if (!why && site)
        why = rmd_site_keeps(c, q, l, site, NULL, 0);
    if (!why && rmd_usual_at(c, q, l).level > lowest)
        why = rmd_why_usual;
    const char *node = l->source->node ? l->source->node->rec->name : "no node";
    rmd_buf_addf(out, "  %s (%s, node %s): ", l->source->rec->address, l->source->network, node);
    if (l->repute && (l->repute->band != RMD_BAND_FAIR) && !(c->o.without & RMD_WITHOUT_REPUTATION))
        rmd_buf_addf(out, "reputation %s (%u); ", rmd_reputation_band_name(l->repute->band), l->repute->score);
    if (!why) {
        rmd_buf_addf(out, "%s\n",
                     *chosen ? "free; takes over when those before it are full"
                             : "next: the first of the pool's order with room");
        *chosen = true;
        explain_connects(c, l, out);
        return;
    }
    rmd_buf_addf(out, "%s", why);
    if (rmd_warm_is_cold(l->warm))
        rmd_buf_addf(out, " (warm-up: stage %u of %u)", l->warm->w.stage + 1, l->warm->scheme.caps->n);
    explain_trouble(l, by, out);
    explain_caps(c, l, q->stream, out);
    explain_connects(c, l, out);
    if (why == rmd_why_usual || why == rmd_why_rests)
        explain_usual(c, q, l, out);
}

/* k, site: of the recipient; NULL: not known; no site that refuses sources. */
static void explain_queue(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k,
                          const struct rmd_stopped_site *site, struct rmd_buf *out) {
    rmd_buf_addf(out, "waiting there for this stream: %llu queued, %llu leased, %llu deferred\n",
                 (unsigned long long)q->queued, (unsigned long long)q->leased, (unsigned long long)q->deferred);
    int64_t next = RMD_NEVER;
    rmd_list_for(it, &q->dqs) {
        const struct rmd_dq *d = rmd_container(it, struct rmd_dq, in_pq);
        if (d->next_wall_ms < next)
            next = d->next_wall_ms;
    }
    if (next != RMD_NEVER) {
        char at[32] = "due";
        if (next > c->now.wall_ms)
            rmd_date_rfc3339(next, at);
        rmd_buf_addf(out, "next attempt of a deferred recipient: %s\n", at);
    }
    const char *why = rmd_sched_binds(c, q, k, q->queued, q->deferred);
    if (why && *why)
        rmd_buf_addf(out, "what binds: %s\n", why);
    rmd_sched_candidates(c, q);
    if (!q->n_candidates)
        rmd_buf_addf(out, "no source is in pool %s\n", q->stream->rec->pool);
    bool chosen = false;
    uint32_t lowest = rmd_sched_lowest(c, q);
    for (size_t i = 0; i < q->n_candidates; i++)
        explain_lane(c, q, q->candidate[i], site, lowest, &chosen, out);
}

/* The recipient's own campaign waits for a time. */
static void explain_schedule(struct rmd_coord *c, const struct rmd_campaign *k, struct rmd_buf *out) {
    const char *why = k && !k->draining ? rmd_release_why(c, k, &c->scratch) : NULL;
    if (why)
        rmd_buf_addf(out, "campaign %s: %s\n", rmd_campaign_name(k), why);
}

/* Its domain isn't in the cache: not sorted yet, or sorted before a restart, into one of the stream's queues. */
static void explain_unknown(struct rmd_coord *c, struct rmd_stream *s, const struct rmd_campaign *k,
                            const char *domain, struct rmd_buf *out) {
    rmd_buf_addf(
        out,
        "%s: its MX hosts aren't known at the moment; they are asked for when a recipient there is sorted or "
        "dealt\n",
        domain);
    rmd_list_for(it, &s->pqs) {
        struct rmd_pq *q = rmd_container(it, struct rmd_pq, in_stream);
        if (q->provider < 0 || !(q->queued + q->deferred))
            continue;
        rmd_buf_addf(out, "what was sorted already waits in the queues of its stream; at provider %s:\n",
                     rmd_provider_name(c, q->provider_id));
        explain_queue(c, q, k, NULL, out);
    }
}

void rmd_coord_explain(struct rmd_coord *c, uint32_t tenant, uint32_t stream, const struct rmd_id *campaign,
                       const char *domain, struct rmd_buf *out) {
    struct rmd_stream *s = rmd_stream_find(c, stream);
    if (!s || s->rec->tenant != tenant) {
        rmd_buf_addf(out, "there is no such stream\n");
        return;
    }
    if (!c->meta || c->phase != RMD_PHASE_SERVING)
        rmd_buf_addf(out, "the coordinator is starting: nothing is dealt yet\n");
    if (s->rec->state)
        rmd_buf_addf(out, "stream %s is paused: %s\n", s->rec->name,
                     *s->rec->reason ? s->rec->reason : "by the operator");
    const struct rmd_campaign *k = campaign ? rmd_campaign_find(c, rmd_slice(campaign->b, sizeof campaign->b)) : NULL;
    explain_schedule(c, k, out);
    if (rmd_stream_lacks_key(s))
        rmd_buf_addf(out,
                     "stream %s: a DKIM key of the stream can't be read, and nothing is sent unsigned: make its file "
                     "readable for the coordinator, then say `remuda rules reload`\n",
                     s->rec->name);
    if (c->stalled)
        rmd_buf_addf(out, "the store is stalled: %s\n", c->stalled);
    const struct rmd_domain *d = rmd_map_get_str(&c->domains, domain);
    if (!d || d->state == RMD_SITE_WAIT) {
        explain_unknown(c, s, k, domain, out);
        return;
    }
    if (d->state == RMD_SITE_GONE) {
        rmd_buf_addf(out, "%s: %s: recipients there bounce without an attempt\n", domain, d->detail);
        return;
    }
    if (d->state == RMD_SITE_TEMP) {
        rmd_buf_addf(out, "%s: DNS gives no answer (%s); asked again in %lld s\n", domain,
                     d->detail ? d->detail : "temporary failure",
                     (long long)((d->until_mono_ms - c->now.mono_ms) / 1000));
        return;
    }
    rmd_buf_addf(out, "%s belongs to provider %s\n", domain, rmd_provider_name(c, d->provider));
    rmd_site_explain(c, d, s, out);
    const struct rmd_pq *known = rmd_map_get_u64(&c->pqs, (uint64_t)d->provider << 32 | s->rec->id);
    if (known)
        explain_queue(c, rmd_pq_get(c, d->provider, s), k, site_of(c, d), out);
    else
        rmd_buf_addf(out, "nothing of this stream waits there\n");
}

static bool lease_has(const struct rmd_lease *l, uint64_t ordinal, uint32_t *attempts) {
    for (uint32_t i = 0; i < l->n; i++) {
        struct rmd_row_head h;
        if (rmd_bit_get(l->done, i) || !rmd_row_head(rmd_lease_row(l, i), &h) || h.ordinal != ordinal)
            continue;
        *attempts = l->own && l->own[i] ? l->own[i]->attempts : 0;
        return true;
    }
    return false;
}

static void leased_view(const struct rmd_coord *c, const struct rmd_lease *l, struct rmd_leased_view *out) {
    out->lease = l->id;
    out->node = l->node->rec->name;
    out->source = l->source ? l->source->rec->address : "";
    out->provider = rmd_provider_name(c, l->provider_id);
    out->connected = l->node->connected;
    out->in_doubt = l->state == RMD_LEASE_DOUBT;
    out->connects_per_minute = l->lane && rmd_pace_connects_bind(l->lane) ? l->lane->pace->connects_per_minute : 0;
    out->granted_wall_ms = l->granted_wall_ms;
    int64_t left = l->node->valid_until_mono_ms - c->now.mono_ms;
    out->valid_ms = left > 0 ? left : 0;
}

bool rmd_coord_find_leased(struct rmd_coord *c, const struct rmd_id *message, struct rmd_leased_view *out) {
    struct rmd_id campaign = rmd_id_campaign(message);
    uint64_t ordinal = rmd_id_ordinal(message);
    uint32_t it = 0;
    void *v;
    *out = (struct rmd_leased_view){0};
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        uint32_t jt = 0;
        void *w;
        while (rmd_map_next(&((struct rmd_node *)v)->leases, &jt, NULL, &w)) {
            const struct rmd_lease *l = w;
            if (l->state == RMD_LEASE_TAKEN || !rmd_id_eq(&l->campaign->id, &campaign) ||
                !lease_has(l, ordinal, &out->attempts))
                continue;
            leased_view(c, l, out);
            return true;
        }
    }
    return false;
}
