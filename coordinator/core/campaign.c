/* Campaigns: life, counters, settling of recipients.
 *
 *   ACTIVE <-> PAUSED;  ACTIVE, PAUSED -> CANCELLED;  ACTIVE, PAUSED -> DONE when every recipient is settled.
 *   A cancelled campaign stays CANCELLED; finished_wall_ms says when its last recipient was settled.
 *
 * In memory a campaign is open, then closing (finished, while chunks or leases still point to it), then finished; of
 * the finished ones the newest are kept for views (expire.c).
 *
 * A recipient is settled by its bit in the chunk's state, in the same batch as the campaign's counters, so the
 * counters are exact. */
#include "coordinator/core/core.h"

static const uint8_t moves[RMD_CAMPAIGN_STATE_COUNT] = {
    [RMD_CAMPAIGN_LOADING] = 1 << RMD_CAMPAIGN_ACTIVE,
    [RMD_CAMPAIGN_ACTIVE] = 1 << RMD_CAMPAIGN_PAUSED | 1 << RMD_CAMPAIGN_CANCELLED | 1 << RMD_CAMPAIGN_DONE,
    [RMD_CAMPAIGN_PAUSED] = 1 << RMD_CAMPAIGN_ACTIVE | 1 << RMD_CAMPAIGN_CANCELLED | 1 << RMD_CAMPAIGN_DONE,
};

static const char *const settled_names[] = {"delivered", "bounced", "suppressed", "expired", "held", "cancelled"};

const char *rmd_settled_name(enum rmd_settled kind) {
    return settled_names[kind];
}

static uint64_t settled_total(const Remuda__CampaignRecord *r) {
    return r->delivered + r->bounced + r->suppressed + r->expired + r->held + r->cancelled;
}

uint64_t rmd_campaign_unsorted(const struct rmd_campaign *k) {
    uint64_t known = settled_total(k->rec) + k->queued + k->leased + k->deferred + k->in_doubt;
    return k->rec->rows > known ? k->rec->rows - known : 0;
}

const char *rmd_campaign_name(const struct rmd_campaign *k) {
    return *k->rec->name ? k->rec->name : k->rec->subject;
}

struct rmd_campaign *rmd_campaign_find(struct rmd_coord *c, struct rmd_slice id) {
    return id.n == sizeof(struct rmd_id) ? rmd_map_get(&c->campaigns, id) : NULL;
}

void rmd_campaign_dirty(struct rmd_coord *c, struct rmd_campaign *k) {
    if (k->dirty)
        return;
    k->dirty = true;
    rmd_list_push(&c->dirty_campaigns, &k->dirty_link);
}

int64_t rmd_campaign_valid_until(const struct rmd_campaign *k) {
    int64_t at = RMD_NEVER, since = k->rec->accepted_wall_ms;
    if (k->rec->start_wall_ms > since) /* it waited for its time, not for a receiver */
        since = k->rec->start_wall_ms;
    if (k->stream->rec->age_limit_ms > 0)
        at = since + k->stream->rec->age_limit_ms;
    if (k->rec->valid_until_wall_ms > 0 && k->rec->valid_until_wall_ms < at)
        at = k->rec->valid_until_wall_ms;
    return at;
}

bool rmd_campaign_deals(struct rmd_coord *c, const struct rmd_campaign *k) {
    return k->rec->state == RMD_CAMPAIGN_ACTIVE && k->stream->rec->state == 0 && !k->draining &&
           !rmd_tenant_paused(c, k->rec->tenant) && rmd_release_started(c, k) &&
           c->now.wall_ms < rmd_campaign_valid_until(k);
}

enum rmd_settled rmd_campaign_drain_kind(const struct rmd_campaign *k) {
    return k->rec->state == RMD_CAMPAIGN_CANCELLED ? RMD_SETTLED_CANCELLED : RMD_SETTLED_EXPIRED;
}

/* ---------------------------------------------------------------- life */

/* Takes the record. */
void rmd_campaign_add(struct rmd_coord *c, Remuda__CampaignRecord *r) {
    struct rmd_stream *s = rmd_stream_find(c, r->stream);
    if (!s || r->id.len != sizeof(struct rmd_id)) {
        rmd_core_warn(c, "campaign \"%s\": its stream %u is unknown; it is kept and not sent", r->name, r->stream);
        remuda__campaign_record__free_unpacked(r, NULL);
        return;
    }
    struct rmd_campaign *k = rmd_alloc(sizeof *k);
    k->rec = r;
    k->stream = s;
    memcpy(k->id.b, r->id.data, sizeof k->id.b);
    rmd_list_init(&k->cqs);
    rmd_list_init(&k->sort);
    if (r->sort_cursor.len && r->sort_cursor.len < RMD_KEY_MAX) {
        memcpy(k->sort_cursor.b, r->sort_cursor.data, r->sort_cursor.len);
        k->sort_cursor.n = r->sort_cursor.len;
    }
    rmd_template_used(c, r);
    rmd_list_push(&c->all_campaigns, &k->all);
    rmd_list_push(r->finished_wall_ms ? &c->closing_campaigns : &c->open_campaigns, &k->life);
    rmd_map_set(&c->campaigns, rmd_slice(k->id.b, sizeof k->id.b), k);
}

static Remuda__EventRecord *event(struct rmd_coord *c, const char *type, const struct rmd_campaign *k) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->campaign.data = rmd_arena_dup(rmd_arena_after(c), k->id.b, sizeof k->id.b);
    e->campaign.len = sizeof k->id.b;
    e->stream = k->rec->stream;
    return e;
}

static const char *const state_events[RMD_CAMPAIGN_STATE_COUNT] = {
    "campaign.loading", "campaign.active", "campaign.paused", "campaign.cancelled", "campaign.done",
};

void rmd_campaign_set_state(struct rmd_coord *c, struct rmd_campaign *k, uint32_t state, const char *reason) {
    if (k->rec->state == state || state >= RMD_CAMPAIGN_STATE_COUNT || !(moves[k->rec->state] >> state & 1))
        return;
    k->rec->state = state;
    if (state == RMD_CAMPAIGN_ACTIVE)
        rmd_content_reopen(c, k, 0, reason ? reason : ""); /* somebody looked at it */
    rmd_str_set(&k->rec->reason, reason ? reason : "");
    rmd_campaign_dirty(c, k);
    if (state == RMD_CAMPAIGN_PAUSED || state == RMD_CAMPAIGN_CANCELLED) {
        c->after_probe = RMD_PROBE_CANCEL_SYNCED;
        rmd_recall_campaign(c, k, state == RMD_CAMPAIGN_PAUSED ? RMD_RETURN_PAUSED : RMD_RETURN_CANCELLED, -1);
    }
    if (state == RMD_CAMPAIGN_CANCELLED)
        rmd_drain_start(c, k);
    event(c, state_events[state], k)->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(reason ? reason : ""));
    c->deal = true;
}

void rmd_campaign_state(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(m->id.b, sizeof m->id.b));
    if (!k || k->rec->tenant != m->tenant) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no such campaign");
        return;
    }
    const char *is = rmd_campaign_state_name(k->rec->state);
    if (k->rec->state == m->state && m->state == RMD_CAMPAIGN_ACTIVE &&
        rmd_content_reopen(c, k, 0, m->reason && *m->reason ? m->reason : "the campaign was resumed")) {
        rmd_core_reply(c, m->token, RMD_OK, 0, "the campaign goes on at every provider");
        return;
    }
    if (k->rec->state == m->state) {
        rmd_core_reply(c, m->token, RMD_OK, 0, "the campaign is %s already", is);
        return;
    }
    bool wanted =
        m->state == RMD_CAMPAIGN_ACTIVE || m->state == RMD_CAMPAIGN_PAUSED || m->state == RMD_CAMPAIGN_CANCELLED;
    if (!wanted || k->rec->state >= RMD_CAMPAIGN_STATE_COUNT || !(moves[k->rec->state] >> m->state & 1)) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "the campaign is %s; it can't become %s", is,
                       rmd_campaign_state_name(m->state));
        return;
    }
    rmd_campaign_set_state(c, k, m->state, m->reason);
    rmd_core_reply(c, m->token, RMD_OK, 0, "the campaign is %s", rmd_campaign_state_name(m->state));
}

static void finish(struct rmd_coord *c, struct rmd_campaign *k) {
    if (k->rec->finished_wall_ms || settled_total(k->rec) < k->rec->rows || k->leased || k->in_doubt || k->deferred)
        return;
    k->rec->finished_wall_ms = c->now.wall_ms;
    k->draining = false;
    rmd_drain_unpin(c, k);
    k->sorted = k->sort_end = true;
    rmd_sort_clear(k);
    rmd_campaign_dirty(c, k);
    rmd_list_remove(&k->life);
    rmd_list_push(&c->closing_campaigns, &k->life);
    rmd_campaign_set_state(c, k, RMD_CAMPAIGN_DONE, "");
    /* What is left of it is its record and the history; a late report finds it settled. */
    for (const char *t = "KB"; *t; t++) {
        struct rmd_key from = rmd_key_chunks_of(*t, k->rec->tenant, &k->id), to = rmd_key_after(&from);
        rmd_batch_delete_range(&c->batch, rmd_key_slice(&from), rmd_key_slice(&to));
    }
}

/* Every campaign that isn't finished: sort, expire, drain. */
void rmd_campaign_tick(struct rmd_coord *c) {
    rmd_campaign_reap(c);
    rmd_list_for_safe(it, &c->open_campaigns) {
        struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, life);
        if (k->rec->state == RMD_CAMPAIGN_LOADING)
            continue;
        int64_t until = rmd_campaign_valid_until(k);
        if (!k->draining && (k->rec->state == RMD_CAMPAIGN_CANCELLED || c->now.wall_ms >= until))
            rmd_drain_start(c, k);
        else if (!k->draining && until != RMD_NEVER)
            rmd_core_wake(c, c->now.mono_ms + (until - c->now.wall_ms));
        rmd_release_tick(c, k);
        if (c->stalled || c->tag - c->persisted > RMD_COORD_COMMITS_IN_FLIGHT)
            continue;
        if (k->draining)
            rmd_drain(c, k);
        else if (!k->sorted && rmd_campaign_deals(c, k) && !c->meta->restored) {
            rmd_sort(c, k);
            rmd_release_tick(c, k); /* more waits, to be spread */
        }
        finish(c, k);
    }
}

/* ---------------------------------------------------------------- settling */

static uint64_t *counter(Remuda__CampaignRecord *r, enum rmd_settled kind) {
    uint64_t *const v[] = {&r->delivered, &r->bounced, &r->suppressed, &r->expired, &r->held, &r->cancelled};
    return v[kind];
}

bool rmd_settle(struct rmd_coord *c, struct rmd_chunk *ch, uint32_t row, enum rmd_settled kind) {
    if (rmd_bit_get(ch->settled, row) || ch->campaign->rec->finished_wall_ms)
        return false;
    rmd_bit_set(ch->settled, row);
    rmd_chunk_dirty(c, ch);
    ++*counter(ch->campaign->rec, kind);
    rmd_campaign_dirty(c, ch->campaign);
    return true;
}

static Remuda__Reply *reply_dup(struct rmd_arena *a, const Remuda__Reply *in) {
    Remuda__Reply *r = rmd_arena_alloc(a, sizeof *r);
    remuda__reply__init(r);
    r->code = in->code;
    r->stage = in->stage;
    r->enhanced = rmd_arena_str(a, rmd_slice_str(in->enhanced));
    r->mx_host = rmd_arena_str(a, rmd_slice_str(in->mx_host));
    r->mx_addr = rmd_arena_str(a, rmd_slice_str(in->mx_addr));
    r->text.len = in->text.len < RMD_REPLY_TEXT_MAX ? in->text.len : RMD_REPLY_TEXT_MAX;
    r->text.data = rmd_arena_dup(a, in->text.data, r->text.len);
    return r;
}

static Remuda__Verdict *verdict_dup(struct rmd_arena *a, const Remuda__Verdict *in) {
    Remuda__Verdict *v = rmd_arena_alloc(a, sizeof *v);
    *v = *in;
    v->base.n_unknown_fields = 0;
    v->base.unknown_fields = NULL;
    v->rule = rmd_arena_str(a, rmd_slice_str(in->rule));
    return v;
}

Remuda__EventRecord *rmd_event_message(struct rmd_coord *c, const char *type, const struct rmd_campaign *k,
                                       struct rmd_slice row, const struct rmd_lease *lease,
                                       const Remuda__Outcome *o) {
    Remuda__EventRecord *e = event(c, type, k);
    struct rmd_arena *a = rmd_arena_after(c);
    struct rmd_row_head h;
    if (rmd_row_head(row, &h)) {
        struct rmd_id id = rmd_id_row(&k->id, h.ordinal);
        e->message.data = rmd_arena_dup(a, id.b, sizeof id.b);
        e->message.len = sizeof id.b;
        e->recipient = rmd_arena_str(a, h.email);
        e->address_hash = rmd_address_hash(k->rec->tenant, h.email);
    }
    if (lease) {
        e->lease = lease->id;
        e->node = lease->node->rec->id;
        e->source = lease->source_id;
        e->provider = lease->provider_id;
    }
    if (o) {
        e->took_ms = o->took_ms;
        e->tls = o->tls;
        e->tls_suite = o->tls_suite;
        e->tls_verified = o->tls_verified;
        if (o->reply)
            e->reply = reply_dup(a, o->reply);
        if (o->verdict)
            e->verdict = verdict_dup(a, o->verdict);
    }
    return e;
}

static void settled_event(struct rmd_coord *c, struct rmd_campaign *k, struct rmd_slice row, enum rmd_settled kind,
                          const char *text) {
    Remuda__EventRecord *e = rmd_event_message(c, settled_names[kind], k, row, NULL, NULL);
    struct rmd_arena *a = rmd_arena_after(c);
    c->cur->fx.v[c->cur->fx.n - 1].probe = RMD_PROBE_SETTLED;
    if (kind == RMD_SETTLED_EXPIRED && !text)
        text = "too old to be tried again; no attempt was answered";
    if (text)
        e->text = rmd_arena_str(a, rmd_slice_str(text));
    if (kind == RMD_SETTLED_BOUNCED) { /* without an attempt: the domain takes no mail */
        e->verdict = rmd_arena_alloc(a, sizeof *e->verdict);
        remuda__verdict__init(e->verdict);
        e->verdict->class_ = RMD_CLASS_NO_SUCH_DOMAIN;
        e->verdict->scope = RMD_SCOPE_RECIPIENT;
        e->verdict->permanent = true;
        e->verdict->action = RMD_ACTION_FAIL;
        e->verdict->rule = (char *)(uintptr_t) "own:no-such-domain";
    }
}

/* A row of a loaded chunk, with its event. */
void rmd_settle_row(struct rmd_coord *c, struct rmd_chunk *ch, uint32_t row, enum rmd_settled kind,
                    const char *text) {
    if (rmd_settle(c, ch, row, kind))
        settled_event(c, ch->campaign, rmd_slice(ch->rows->row[row].data, ch->rows->row[row].len), kind, text);
}

void rmd_settle_deferred(struct rmd_coord *c, struct rmd_chunk *ch, const Remuda__DeferredRecord *r,
                         enum rmd_settled kind, const char *text) {
    if (kind == RMD_SETTLED_EXPIRED && !text && *r->last_reply)
        text = rmd_arena_printf(&c->scratch, "too old to be tried again; last answer: %s", r->last_reply);
    if (rmd_settle(c, ch, r->index, kind))
        settled_event(c, ch->campaign, rmd_slice(r->row.data, r->row.len), kind, text);
}

/* ---------------------------------------------------------------- writing */

void rmd_campaigns_flush(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->dirty_campaigns) {
        struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, dirty_link);
        finish(c, k); /* may dirty it again: it is still marked, and is written now */
        rmd_list_remove(it);
        k->dirty = false;
        struct rmd_key key = rmd_key_campaign(k->rec->tenant, &k->id);
        rmd_core_put(c, &key, k->rec);
    }
}

void rmd_campaign_free(struct rmd_campaign *k) {
    free(k->drain_pin);
    rmd_content_forget(k);
    rmd_sort_clear(k);
    remuda__campaign_record__free_unpacked(k->rec, NULL);
    free(k);
}

void rmd_campaigns_free(struct rmd_coord *c) {
    rmd_set64_release(&c->templates.used);
    rmd_map_release(&c->templates.held);
    rmd_list_for_safe(it, &c->all_campaigns) {
        struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, all);
        rmd_list_for_safe(jt, &k->cqs) free(rmd_container(jt, struct rmd_cq, in_campaign));
        rmd_campaign_free(k);
    }
    rmd_map_release(&c->campaigns);
}
