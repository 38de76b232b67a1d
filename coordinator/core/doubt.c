/* In doubt: leases whose node vanished with outcomes that it never reported.
 *
 * A lease expires when its node's validity is over and no session renews it, when the node's host is another boot, or
 * when its journal is another one. Then nobody knows which of its messages were sent: they wait for the node to
 * return, and what it reports is settled as ever. After the stream's wait, or when the operator says the node is gone
 * for good, they follow the uncertain policy: retried (each counted and named, since it may arrive twice) or held.
 * The lease's record stays for a while: a late report is evidence, and settles the message. */
#include "coordinator/core/core.h"

static void lease_event(struct rmd_coord *c, const char *type, const struct rmd_lease *l, const char *why) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->lease = l->id;
    e->node = l->node->rec->id;
    e->source = l->source_id;
    e->provider = l->provider_id;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%u message%s: %s", l->left, l->left == 1 ? "" : "s", why);
}

void rmd_doubt(struct rmd_coord *c, struct rmd_lease *l, const char *why) {
    if (l->state != RMD_LEASE_GRANTED)
        return;
    lease_event(c, "lease.expired", l, why);
    rmd_lease_state(c, l, RMD_LEASE_DOUBT);
    l->doubt_wall_ms = c->now.wall_ms;
    l->doubt_mono_ms = c->now.mono_ms;
    l->campaign->rec->in_doubt += l->left;
    rmd_campaign_dirty(c, l->campaign);
    for (uint32_t i = 0; i < l->n; i++) {
        if (!rmd_bit_get(l->done, i))
            rmd_event_message(c, "in-doubt", l->campaign, rmd_lease_row(l, i), l, NULL);
    }
    rmd_suppress_check(c);
}

/* The store is an older copy. Leases that it knows are settled by what their nodes' journals tell; of those that were
 * granted after the backup it knows nothing, so any other message that it calls unsettled may have been sent.
 * Campaigns of streams that hold the uncertain wait for the operator; of the others, each message is counted and
 * named when it is dealt. */
void rmd_doubt_restored(struct rmd_coord *c) {
    rmd_list_for(it, &c->all_campaigns) {
        struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, all);
        if (k->rec->finished_wall_ms)
            continue;
        k->rec->doubtful = true;
        rmd_campaign_dirty(c, k);
        if (k->stream->rec->uncertain_policy == 1)
            rmd_campaign_set_state(
                c, k, RMD_CAMPAIGN_PAUSED,
                "the store was restored from a backup, and this stream holds what is uncertain: resuming sends again "
                "what was sent since the backup");
    }
}

void rmd_doubt_since_backup(struct rmd_coord *c, struct rmd_lease *l) {
    struct rmd_campaign *k = l->campaign;
    if (!k->rec->doubtful)
        return;
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t row;
        struct rmd_chunk *ch = rmd_lease_chunk(l, i, &row);
        if (!ch || rmd_bit_get(ch->named, row) || (l->own && l->own[i] && l->own[i]->uncertain))
            continue;
        rmd_bit_set(ch->named, row);
        if (l->own && l->own[i])
            l->own[i]->uncertain++;
        k->rec->uncertain++;
        c->uncertain++;
        rmd_event_message(c, "uncertain", k, rmd_lease_row(l, i), l, NULL)->text = rmd_arena_str(
            rmd_arena_after(c),
            rmd_slice_str("unsettled in a store that was restored from a backup; it may have been sent since"));
    }
    rmd_campaign_dirty(c, k);
}

/* The node returned and never had it: it is still the node's, as if nothing had been. */
void rmd_doubt_regrant(struct rmd_coord *c, struct rmd_lease *l) {
    if (l->state == RMD_LEASE_DOUBT)
        rmd_lease_state(c, l, RMD_LEASE_GRANTED);
}

static Remuda__DeferredRecord *record_of(struct rmd_coord *c, const struct rmd_lease *l, uint32_t i,
                                         const struct rmd_chunk *ch, uint32_t row) {
    if (!l->own)
        return rmd_deferred_of_row(c, ch, row, l->provider_id);
    Remuda__DeferredRecord *d = rmd_arena_alloc(&c->scratch, sizeof *d);
    *d = *l->own[i];
    return d;
}

/* The uncertain policy, for every message that is still unknown. */
static void take(struct rmd_coord *c, struct rmd_lease *l, const char *why) {
    struct rmd_campaign *k = l->campaign;
    rmd_lease_state(c, l, RMD_LEASE_TAKEN);
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t row;
        struct rmd_chunk *ch = rmd_lease_chunk(l, i, &row);
        if (rmd_bit_get(l->done, i) || !ch || rmd_bit_get(ch->settled, row) || !rmd_lease_row(l, i).n)
            continue;
        k->rec->uncertain++;
        c->uncertain++;
        Remuda__DeferredRecord *d = record_of(c, l, i, ch, row);
        d->attempts++;
        d->uncertain++;
        d->sticky_source = 0;
        d->provider = l->provider_id;
        d->not_before_wall_ms = c->now.wall_ms;
        Remuda__EventRecord *e = rmd_event_message(c, "uncertain", k, rmd_lease_row(l, i), l, NULL);
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(why));
        e->attempt = d->attempts;
        if (k->stream->rec->uncertain_policy == 1)
            rmd_settle_deferred(c, ch, d, RMD_SETTLED_HELD, why);
        else if (k->draining)
            rmd_settle_deferred(c, ch, d, rmd_campaign_drain_kind(k), NULL);
        else
            rmd_deferred_put(c, k, d);
    }
    rmd_campaign_dirty(c, k);
    c->deal = true;
}

/* A late report settled this message: its other copy, when it is leased, is recalled. When it waits in a queue, its
 * settled bit keeps it from being dealt. */
void rmd_doubt_other_copy(struct rmd_coord *c, struct rmd_campaign *k, struct rmd_slice row,
                          const struct rmd_lease *late) {
    struct rmd_row_head h, o;
    if (!rmd_row_head(row, &h))
        return;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        uint32_t jt = 0;
        void *w;
        while (rmd_map_next(&n->leases, &jt, NULL, &w)) {
            struct rmd_lease *l = w;
            if (l == late || l->campaign != k || l->state != RMD_LEASE_GRANTED || !l->own)
                continue;
            for (uint32_t i = 0; i < l->n; i++) {
                if (l->own[i] && l->own[i]->uncertain && rmd_row_head(rmd_lease_row(l, i), &o) &&
                    o.ordinal == h.ordinal) {
                    rmd_recall_lease(c, l, RMD_RETURN_RECALLED);
                    return;
                }
            }
        }
    }
}

static void lease_tick(struct rmd_coord *c, struct rmd_node *n, struct rmd_lease *l) {
    if (l->state == RMD_LEASE_GRANTED) {
        if (c->now.mono_ms >= n->valid_until_mono_ms)
            rmd_doubt(c, l, "its node was not heard of until it expired");
        else if (n->connected && !l->acked && c->now.mono_ms - l->sent_mono_ms >= RMD_LEASE_REPEAT_MS &&
                 rmd_core_left(c, l->sent_tag))
            rmd_lease_send(c, l);
        if (n->connected && !l->acked) {
            int64_t at = l->sent_mono_ms + RMD_LEASE_REPEAT_MS;
            rmd_core_wake(c, c->now.mono_ms < at ? at : c->now.mono_ms + RMD_TICK_MS);
        }
        return;
    }
    if (l->state == RMD_LEASE_TAKEN) {
        bool known = rmd_slice_eq(rmd_slice(l->journal, sizeof l->journal),
                                  rmd_slice(n->rec->journal_uuid.data, n->rec->journal_uuid.len));
        if (n->rec->state || n->rec->forgotten || (!known && n->connected) ||
            c->now.wall_ms - l->doubt_wall_ms > RMD_TAKEN_KEPT_MS)
            rmd_lease_end(c, l);
        return;
    }
    int64_t wait = l->campaign->stream->rec->node_return_wait_ms;
    if (wait <= 0)
        wait = RMD_NODE_RETURN_WAIT_MS;
    /* The host came back and told all that it still knew. */
    bool told = n->connected && memcmp(l->boot, n->boot, sizeof l->boot) != 0 && n->rec->settled_n >= n->journal_end;
    if (n->rec->forgotten)
        take(c, l, "the operator says that its node is gone");
    else if (told)
        take(c, l, "its host restarted and has no outcome for it");
    else if (c->now.mono_ms - l->doubt_mono_ms >= wait)
        take(c, l, "its node did not return in time");
    else
        rmd_core_wake(c, l->doubt_mono_ms + wait);
}

/* "Forgotten" holds until what the node had has expired and was decided; a node that returns is a new one. */
static void forgotten_tick(struct rmd_coord *c, struct rmd_node *n) {
    uint32_t it = 0;
    void *v;
    bool open = n->granted > 0;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        if (((const struct rmd_lease *)v)->state != RMD_LEASE_DOUBT)
            continue;
        open = true;
        rmd_core_wake(c, c->now.mono_ms); /* it expired in this tick */
    }
    if (open)
        return;
    n->rec->forgotten = false;
    n->dirty = c->nodes_dirty = true;
}

void rmd_doubt_tick(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        uint32_t jt = 0;
        void *w;
        while (rmd_map_next(&n->leases, &jt, NULL, &w))
            lease_tick(c, n, w);
        if (n->granted)
            rmd_core_wake(c, n->valid_until_mono_ms);
        if (n->rec->forgotten)
            forgotten_tick(c, n);
    }
}
