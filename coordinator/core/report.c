/* Reports: outcomes of a node's journal, settled once, in order.
 *
 * Outcomes carry journal numbers. Only the next number is settled; repeated ones are acknowledged again, a gap is
 * answered with the position that is known, and the node starts over from there. One report is one batch: settled
 * bits, records, leases, ledger, the campaign's counters and the node's position; the acknowledgement follows when it
 * is durable.
 *
 * Whatever an outcome says, its index in its lease counts once. When the message was settled by another copy already,
 * only its RCPTs count. */
#include "coordinator/core/core.h"
#include "proto/rules.h"

struct item {
    struct rmd_lease *lease;
    uint32_t index, row;
    struct rmd_chunk *chunk;
    struct rmd_campaign *campaign;
    struct rmd_slice bytes;
};

/* RCPTs of a grant, or of one that was booked already when its fate was unknown. */
static void book(struct rmd_coord *c, struct rmd_lease *l, uint32_t rcpts) {
    if (l->state == RMD_LEASE_GRANTED) {
        rmd_caps_return(&l->caps, 1);
        rmd_caps_book(&c->ledger, &l->caps, rcpts);
        c->deal |= !rcpts; /* room for other lanes, too */
    } else if (rcpts > 1) {
        rmd_caps_book(&c->ledger, &l->caps, rcpts - 1);
    }
}

/* The record with which a message goes back; scratch memory, strings of the former one. */
static Remuda__DeferredRecord *record_of(struct rmd_coord *c, const struct item *x) {
    const struct rmd_lease *l = x->lease;
    if (!l->own)
        return rmd_deferred_of_row(c, x->chunk, x->row, l->provider_id);
    Remuda__DeferredRecord *d = rmd_arena_alloc(&c->scratch, sizeof *d);
    *d = *l->own[x->index];
    d->provider = l->provider_id;
    d->not_before_wall_ms = c->now.wall_ms;
    return d;
}

static void set_last_reply(struct rmd_coord *c, Remuda__DeferredRecord *d, const Remuda__Outcome *o) {
    enum { KEPT = 300 };
    if (!o->reply)
        return;
    size_t n = o->reply->text.len < KEPT ? o->reply->text.len : KEPT;
    char *s = rmd_arena_alloc(&c->scratch, n + 1);
    for (size_t i = 0; i < n; i++) { /* a protobuf string is UTF-8 */
        uint8_t b = o->reply->text.data[i];
        s[i] = b >= 0x20 && b < 0x7f ? (char)b : b == '\n' ? ' ' : '?';
    }
    d->last_reply = s;
}

static void avoid(struct rmd_coord *c, Remuda__DeferredRecord *d, uint32_t source) {
    uint32_t *v = rmd_arena_alloc(&c->scratch, (RMD_AVOID_MAX + 1) * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < d->n_avoid_network_of && n < RMD_AVOID_MAX; i++) {
        if (d->avoid_network_of[i] == source)
            return;
        v[n++] = d->avoid_network_of[i];
    }
    if (n == RMD_AVOID_MAX) /* the oldest refusal makes room */
        memmove(v, v + 1, --n * sizeof *v);
    v[n++] = source;
    d->avoid_network_of = v;
    d->n_avoid_network_of = n;
}

/* The mail itself or its sender was refused: another network would only be asked the same again. */
static bool stays(const struct rmd_coord *c, const struct rmd_verdict *v) {
    bool same = v->action == RMD_ACTION_RETRY_SAME || v->class == RMD_CLASS_GREYLISTED;
    return (same && !(c->o.without & RMD_WITHOUT_STICKINESS)) ||
           (v->scope & (RMD_SCOPE_MESSAGE | RMD_SCOPE_CAMPAIGN | RMD_SCOPE_SENDING_DOMAIN)) != 0;
}

static bool for_our_sake(const struct rmd_verdict *v) {
    unsigned scopes = RMD_SCOPE_SOURCE | RMD_SCOPE_LANE | RMD_SCOPE_NETWORK;
    return v->move && (v->scope & scopes);
}

static bool for_our_sake_alone(const struct rmd_verdict *v) {
    return for_our_sake(v) && !(v->scope & RMD_SCOPE_RECIPIENT);
}

/* The receiver has no address that this source can reach: of another family, or without a route. A source elsewhere
 * may have one. When all that are remembered failed the same, only the schedule of retries asks again. */
static bool out_of_reach(const struct rmd_verdict *v, const Remuda__DeferredRecord *d) {
    struct rmd_verdict own;
    rmd_rules_own(RMD_OWN_CONNECT_UNREACHABLE, &own);
    return v->rule && strcmp(v->rule, own.rule) == 0 && d->n_avoid_network_of < RMD_AVOID_MAX;
}

static uint64_t incident_of(const struct rmd_lease *l) {
    if (!l->source)
        return 0;
    return l->source->all.incident ? l->source->all.incident : l->lane ? l->lane->incident : 0;
}

static uint64_t incident_of_site(struct rmd_coord *c, const struct item *x) {
    struct rmd_row_head h;
    return rmd_row_head(x->bytes, &h) ? rmd_site_incident_of(c, x->lease, h.email) : 0;
}

/* Attempted, later again. */
static void deferred(struct rmd_coord *c, const struct item *x, const Remuda__Outcome *o,
                     const struct rmd_verdict *v) {
    struct rmd_campaign *k = x->campaign;
    struct rmd_lease *l = x->lease;
    k->rec->deferrals++;
    rmd_campaign_dirty(c, k);
    Remuda__DeferredRecord *d = record_of(c, x);
    d->attempts++;
    d->sticky_source = 0;
    set_last_reply(c, d, o);
    /* How long a quarantine lasts is said of the lane, and the closed lane holds its work: the recipient is free as soon as the incident
     * is resolved, or the pool gets another source. How long a lane is slowed is no word about the recipient either: its node spaces
     * what it tries. */
    struct rmd_verdict own = *v;
    if ((for_our_sake(v) && v->action == RMD_ACTION_QUARANTINE) || rmd_action_slows(v->action))
        own.duration_ms = 0;
    if (rmd_sender_is_refused(v)) /* how long is said of the domain there, which has its own rest */
        own.duration_ms = rmd_sender_rests_ms(c, l->provider_id, k->stream);
    struct rmd_retry r =
        rmd_retry_next(&k->stream->plan, &own, d->attempts, c->now.wall_ms, rmd_campaign_valid_until(k), &c->rng);
    d->not_before_wall_ms = r.not_before_wall_ms;
    if (for_our_sake(v)) {
        avoid(c, d, l->source_id);
        /* Nothing is wrong with the recipient: another network may try at once, unless every one refused. */
        if (l->pq->provider >= 0 && rmd_sched_elsewhere(c, l->pq, d)) {
            uint64_t incident = incident_of(l);
            d->not_before_wall_ms = c->now.wall_ms;
            rmd_incident_returned(c, incident ? incident : incident_of_site(c, x), l->source, 1);
        }
    } else if (rmd_verdict_is_own_fault(v) && v->action == RMD_ACTION_QUARANTINE) {
        avoid(c, d,
              l->source_id); /* bound to the incident, which lets nothing move: it waits until the source is mended */
    } else if (out_of_reach(v, d)) {
        struct rmd_row_head h;
        if (l->source && rmd_row_head(x->bytes, &h))
            rmd_site_out_of_reach(c, rmd_arena_str(&c->scratch, rmd_address_domain(h.email)), l->source->family);
        avoid(c, d, l->source_id);
        if (l->pq->provider >= 0 && rmd_sched_elsewhere(c, l->pq, d))
            d->not_before_wall_ms = c->now.wall_ms;
    } else if (stays(c, v)) {
        d->sticky_source = l->source_id;
    }
    Remuda__EventRecord *e = rmd_event_message(c, "deferred", k, x->bytes, l, o);
    e->attempt = d->attempts;
    if (k->draining) {
        rmd_settle_deferred(c, x->chunk, d, rmd_campaign_drain_kind(k), NULL);
        return;
    }
    rmd_deferred_put(c, k, d);
    e->not_before_wall_ms = d->not_before_wall_ms;
}

/* The dot was sent and no reply came: the stream's policy decides, and it is counted and named. */
static void uncertain(struct rmd_coord *c, const struct item *x, const Remuda__Outcome *o,
                      const struct rmd_verdict *v) {
    struct rmd_campaign *k = x->campaign;
    k->rec->uncertain++;
    c->uncertain++;
    rmd_campaign_dirty(c, k);
    Remuda__EventRecord *e = rmd_event_message(c, "uncertain", k, x->bytes, x->lease, o);
    Remuda__DeferredRecord *d = record_of(c, x);
    e->attempt = ++d->attempts;
    d->uncertain++;
    d->sticky_source = 0;
    if (k->stream->rec->uncertain_policy == 1) {
        rmd_settle_deferred(c, x->chunk, d, RMD_SETTLED_HELD, "the final dot was sent and its reply never came");
    } else if (k->draining) {
        rmd_settle_deferred(c, x->chunk, d, rmd_campaign_drain_kind(k), NULL);
    } else {
        d->not_before_wall_ms =
            rmd_retry_next(&k->stream->plan, v, d->attempts, c->now.wall_ms, rmd_campaign_valid_until(k), &c->rng)
                .not_before_wall_ms;
        rmd_deferred_put(c, k, d);
        e->not_before_wall_ms = d->not_before_wall_ms;
    }
}

/* Given back; the receiver has nothing. */
static void returned(struct rmd_coord *c, const struct item *x, const Remuda__Outcome *o) {
    struct rmd_campaign *k = x->campaign;
    struct rmd_lease *l = x->lease;
    rmd_event_message(c, "returned", k, x->bytes, l, NULL)->text =
        rmd_arena_str(rmd_arena_after(c), rmd_slice_str(rmd_return_name(o->returned_reason)));
    if (l->source && o->returned_reason == RMD_RETURN_NO_ADDRESS)
        l->source->rest_until_mono_ms = c->now.mono_ms + RMD_SOURCE_TROUBLE_REST_MS;
    if (o->returned_reason == RMD_RETURN_SOURCE_STOPPED && l->source && l->lane &&
        l->source->all.state != RMD_LANE_QUARANTINED && l->lane->state != RMD_LANE_QUARANTINED)
        l->lane->rest_until_mono_ms = c->now.mono_ms + RMD_LANE_STOPPED_REST_MS;
    if (o->returned_reason == RMD_RETURN_OVERLOAD)
        l->node->hold_mono_ms = c->now.mono_ms + RMD_NODE_OVERLOAD_REST_MS;
    if (k->draining) {
        rmd_settle_deferred(c, x->chunk, record_of(c, x), rmd_campaign_drain_kind(k), NULL);
        return;
    }
    bool untouched = !o->rcpts && (!l->own || rmd_release_first(l->own[x->index]));
    bool counts = !l->own && rmd_release_paced(k) && !untouched; /* its RCPT was sent: it keeps its place */
    if (untouched || (!l->own && !counts))                       /* somebody else may have its place */
        rmd_release_offered(c, k, -1);
    bool site = o->returned_reason == RMD_RETURN_SITE_STOPPED;
    uint64_t incident = incident_of(l), of_site = site ? incident_of_site(c, x) : 0;
    bool disagree = site && !incident && !of_site; /* about the site: our DNS answered otherwise than the node's */
    rmd_incident_returned(c, incident ? incident : of_site, l->source, 1);
    if (!l->own && !counts && !disagree && o->returned_reason != RMD_RETURN_PROVIDER_CHANGED &&
        l->pq->provider >= 0) {
        rmd_entry_set(c, l->entry, x->row);
        if (incident)
            l->entry->incident = incident;
        return;
    }
    Remuda__DeferredRecord *d = record_of(c, x);
    d->offered = counts || (l->own && !untouched);
    if (o->returned_reason == RMD_RETURN_PROVIDER_CHANGED || l->pq->provider < 0) {
        struct rmd_row_head h;
        if (rmd_row_head(x->bytes, &h))
            rmd_site_forget(c, rmd_arena_str(&c->scratch, rmd_address_domain(h.email)));
        d->provider = 0; /* its domain is resolved anew */
        d->sticky_source = 0;
    } else if (disagree) {
        d->not_before_wall_ms += RMD_SITE_STOP_LATER_MS;
        d->sticky_source = 0;
        avoid(c, d, l->source_id);
    } else if (o->rcpts) {
        /* Interrupted after an attempt had begun: not at once again, should it be this message that hurts. */
        d->not_before_wall_ms += 1000;
    }
    rmd_deferred_put(c, k, d);
}

static void count(struct rmd_lease *l, const Remuda__Outcome *o, const struct rmd_verdict *v) {
    struct rmd_lane none = {0};
    struct rmd_lane *lane = l->lane ? l->lane : &none;
    switch (o->kind) {
    case RMD_OUTCOME_DELIVERED:
        lane->delivered++;
        if (l->source)
            l->source->delivered++;
        break;
    case RMD_OUTCOME_BOUNCED:
        lane->bounced++;
        if (l->source)
            l->source->bounced++;
        break;
    case RMD_OUTCOME_DEFERRED:
    case RMD_OUTCOME_UNCERTAIN:
        lane->deferred++;
        if (l->source)
            l->source->deferred++;
        break;
    default:
        break;
    }
    if (for_our_sake(v))
        lane->blocked++;
}

static void settled(struct rmd_coord *c, const struct item *x, const Remuda__Outcome *o, enum rmd_settled kind) {
    if (!rmd_settle(c, x->chunk, x->row, kind))
        return;
    Remuda__EventRecord *e = rmd_event_message(c, rmd_settled_name(kind), x->campaign, x->bytes, x->lease, o);
    c->cur->fx.v[c->cur->fx.n - 1].probe = RMD_PROBE_SETTLED;
    e->attempt = 1 + (x->lease->own && x->lease->own[x->index] ? x->lease->own[x->index]->attempts : 0);
}

static void bounced(struct rmd_coord *c, const struct item *x, const Remuda__Outcome *o,
                    const struct rmd_verdict *v) {
    if (for_our_sake_alone(v)) { /* nobody is punished for our reputation */
        deferred(c, x, o, v);
        return;
    }
    settled(c, x, o, v->class == RMD_CLASS_EXPIRED ? RMD_SETTLED_EXPIRED : RMD_SETTLED_BOUNCED);
    struct rmd_row_head h;
    if (!rmd_action_suppresses(v->action) || !(v->scope & RMD_SCOPE_RECIPIENT) || !rmd_row_head(x->bytes, &h))
        return;
    if (v->action == RMD_ACTION_SUPPRESS)
        rmd_suppress_bounce(c, x->campaign->rec->tenant, x->lease->provider_id, h.email, o);
    else
        rmd_denial(c, x->campaign->rec->tenant, x->lease->provider_id, h.email, o);
}

/* A message that was dealt again, or held, after its lease was in doubt: only an answer of the receiver is news. */
static void late(struct rmd_coord *c, const struct item *x, const Remuda__Outcome *o, const struct rmd_verdict *v) {
    bool final = o->kind == RMD_OUTCOME_DELIVERED || (o->kind == RMD_OUTCOME_BOUNCED && !for_our_sake_alone(v));
    if (!final)
        return;
    settled(c, x, o, o->kind == RMD_OUTCOME_DELIVERED ? RMD_SETTLED_DELIVERED : RMD_SETTLED_BOUNCED);
    rmd_doubt_other_copy(c, x->campaign, x->bytes, x->lease);
}

static uint64_t hash_of(const struct item *x) {
    const struct rmd_lease *l = x->lease;
    if (l->own)
        return l->own[x->index] ? l->own[x->index]->address_hash : 0;
    return x->chunk && x->chunk->rows && x->row < x->chunk->rows->n_address_hash
               ? x->chunk->rows->address_hash[x->row]
               : 0;
}

static void outcome(struct rmd_coord *c, struct rmd_node *n, const Remuda__Outcome *o) {
    struct rmd_lease *l = rmd_lease_find(n, o->lease);
    if (!l || o->index >= l->n || rmd_bit_get(l->done, o->index))
        return;
    struct item x = {.lease = l, .index = o->index, .campaign = l->campaign, .bytes = rmd_lease_row(l, o->index)};
    x.chunk = rmd_lease_chunk(l, o->index, &x.row);
    struct rmd_verdict v;
    rmd_verdict_from_wire(o->verdict, &v);
    /* A host that went down may have lost its marks: what it gives back from before may have been sent. */
    bool lost = memcmp(l->boot, n->boot, sizeof l->boot) != 0;
    if (o->kind == RMD_OUTCOME_RETURNED && lost && l->state != RMD_LEASE_TAKEN)
        return;
    book(c, l, o->rcpts);
    count(l, o, &v);
    rmd_book_outcome(c, l, o, &v);
    rmd_warm_outcome(c, l, o, &v, hash_of(&x));
    rmd_content_outcome(c, l, o, &v);
    rmd_sender_outcome(c, l, o, &v);
    rmd_returning_outcome(c, l, o->kind, v.scope, v.class);
    rmd_site_outcome(c, l, o->index, o->kind, v.scope);
    rmd_surges_outcome(c, l, x.bytes, o, &v);
    if (!x.chunk || !x.bytes.n || rmd_bit_get(x.chunk->settled, x.row)) {
        if (o->kind == RMD_OUTCOME_DELIVERED && x.bytes.n)
            rmd_event_message(c, "delivered", l->campaign, x.bytes, l, o)->text =
                (char *)(uintptr_t) "another copy; settled before";
    } else if (l->state == RMD_LEASE_TAKEN) {
        late(c, &x, o, &v);
    } else if (o->kind == RMD_OUTCOME_DELIVERED) {
        settled(c, &x, o, RMD_SETTLED_DELIVERED);
    } else if (o->kind == RMD_OUTCOME_BOUNCED) {
        bounced(c, &x, o, &v);
    } else if (o->kind == RMD_OUTCOME_DEFERRED) {
        deferred(c, &x, o, &v);
    } else if (o->kind == RMD_OUTCOME_UNCERTAIN) {
        uncertain(c, &x, o, &v);
    } else {
        returned(c, &x, o);
    }
    rmd_lease_done(c, l, o->index);
}

/* A lease under the node's high-water mark that it neither holds nor has outcomes for: the frame was lost and a later
 * one came. The node's fence refuses it from now on, and its journal, all told, shows that nothing of it was started.
 */
void rmd_report_unlisted(struct rmd_coord *c, struct rmd_node *n) {
    if (n->rec->settled_n < n->journal_end)
        return;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct rmd_lease *l = v;
        if (!l->unlisted || l->state == RMD_LEASE_TAKEN)
            continue;
        Remuda__Outcome o = REMUDA__OUTCOME__INIT;
        o.kind = RMD_OUTCOME_RETURNED;
        o.returned_reason = RMD_RETURN_RECALLED;
        o.lease = l->id;
        for (uint32_t i = 0, count = l->n; i < count; i++) {
            bool last = l->left == 1;
            if (rmd_bit_get(l->done, i))
                continue;
            o.index = i;
            outcome(c, n, &o);
            if (last)
                break; /* it ended the lease */
        }
    }
}

void rmd_report(struct rmd_coord *c, struct rmd_node *n, const Remuda__Report *r) {
    const ProtobufCBinaryData *uuid = &n->rec->journal_uuid;
    if (!rmd_slice_eq(rmd_slice(r->journal_uuid.data, r->journal_uuid.len), rmd_slice(uuid->data, uuid->len)))
        return;
    if (r->skipped < r->first_n && r->first_n > n->rec->settled_n + 1 &&
        r->first_n - r->skipped <= n->rec->settled_n + 1) {
        n->rec->settled_n = r->first_n - 1; /* numbers that the node's journal has no more */
        n->dirty = c->nodes_dirty = true;
    }
    bool replaying = n->rec->settled_n < n->journal_end;
    if (r->first_n <= n->rec->settled_n + 1 && r->first_n > 0) {
        for (size_t i = 0; i < r->n_outcome; i++) {
            if (r->first_n + i != n->rec->settled_n + 1)
                continue; /* settled before */
            outcome(c, n, r->outcome[i]);
            n->rec->settled_n++;
            n->dirty = c->nodes_dirty = true;
        }
    }
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_REPORT_ACK, RMD_PROBE_REPORT_SETTLED);
    struct rmd_arena *a = rmd_arena_after(c);
    f->report_ack = rmd_arena_alloc(a, sizeof *f->report_ack);
    remuda__report_ack__init(f->report_ack);
    f->report_ack->journal_uuid.data = rmd_arena_dup(a, uuid->data, uuid->len);
    f->report_ack->journal_uuid.len = uuid->len;
    f->report_ack->up_to_n = n->rec->settled_n;
    if (replaying && n->rec->settled_n >= n->journal_end)
        rmd_core_wake(c, c->now.mono_ms); /* what its journal doesn't tell of can be decided now */
    rmd_report_unlisted(c, n);
    rmd_recall_settled(c, n);
    rmd_suppress_check(c);
    c->deal_on = true;
}
