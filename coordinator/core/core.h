/* The coordinator core inside: what its files offer each other. Its structures are in state.h. Nobody outside coordinator/core includes
 * either.
 *
 * One step: an event comes in; handlers change memory and mark objects dirty; the end of the step writes every dirty
 * object once into the step's batch, hands the batch out as COMMIT, and keeps the effects that wait for it
 * (rmd_fx_after) until PERSISTED. Memory is ahead of the store between the two, and nothing is rolled back: when the
 * process dies, both are gone.
 *
 * Reading the store therefore needs care: an object that was changed stays in memory until the commit that wrote it
 * is durable (dirty_tag <= persisted), so a GET or SCAN that is issued later sees it. */
#ifndef REMUDA_COORDINATOR_CORE_INTERNAL_H
#define REMUDA_COORDINATOR_CORE_INTERNAL_H

#include "coordinator/core/state.h"

/* ---- core.c: effects, dirt, commits */
struct rmd_coord_effect *rmd_fx_now(struct rmd_coord *c, enum rmd_coord_effect_kind kind); /* memory: rmd_arena_now */
struct rmd_coord_effect *rmd_fx_after(struct rmd_coord *c,
                                      enum rmd_coord_effect_kind kind); /* memory: rmd_arena_after */
struct rmd_arena *rmd_arena_now(struct rmd_coord *c);
struct rmd_arena *rmd_arena_after(struct rmd_coord *c);
void rmd_core_reply(struct rmd_coord *c, uint64_t token, int error, uint64_t number, const char *fmt, ...)
    RMD_PRINTF(5, 6);
void rmd_core_log(struct rmd_coord *c, const char *fmt, ...) RMD_PRINTF(2, 3);
void rmd_core_warn(struct rmd_coord *c, const char *fmt, ...) RMD_PRINTF(2, 3); /* somebody should look at it */
Remuda__EventRecord *rmd_core_event(struct rmd_coord *c, const char *type);     /* an EVENT after the step's commit */
uint64_t rmd_core_epoch(const struct rmd_coord *c);                             /* as nodes see it */
Remuda__Frame *rmd_core_send(struct rmd_coord *c, struct rmd_node *n, int body_case,
                             int probe); /* after; body is set by the caller */
Remuda__Frame *rmd_core_send_now(struct rmd_coord *c, const struct rmd_coord_peer *peer, int body_case);
void rmd_core_put(struct rmd_coord *c, const struct rmd_key *k, const void *message);
void rmd_core_delete(struct rmd_coord *c, const struct rmd_key *k);
bool rmd_core_may_deal(const struct rmd_coord *c);
/* What was parked behind this commit has left: it makes sense to repeat it. */
bool rmd_core_left(const struct rmd_coord *c, uint64_t tag);
/* So much waits for the store that nothing is taken that its sender repeats anyway. */
bool rmd_core_choked(const struct rmd_coord *c);
void rmd_core_wake(struct rmd_coord *c, int64_t mono_ms);
void rmd_str_set(char **field, const char *value);                       /* a string of an unpacked record */
void rmd_bytes_set(ProtobufCBinaryData *field, const void *p, size_t n); /* likewise */
void *rmd_record_dup(const void *message);
struct rmd_read *rmd_core_get(struct rmd_coord *c, enum rmd_read_kind kind, void *subject, const struct rmd_key *keys,
                              size_t n);
struct rmd_read *rmd_core_scan(struct rmd_coord *c, enum rmd_read_kind kind, void *subject,
                               const struct rmd_key *from, const struct rmd_key *to, uint32_t limit, size_t max_bytes,
                               bool keys_only);

/* ---- registry.c */
struct rmd_stream *rmd_stream_find(struct rmd_coord *c, uint32_t id);
struct rmd_source *rmd_source_find(struct rmd_coord *c, uint32_t id);
struct rmd_node *rmd_node_find(struct rmd_coord *c, uint32_t id);
struct rmd_node *rmd_node_by_key(struct rmd_coord *c, const uint8_t key[RMD_KEY_BYTES]);
struct rmd_node *rmd_node_by_name(struct rmd_coord *c, const char *name);
struct rmd_source *rmd_source_by_address(struct rmd_coord *c, uint32_t tenant, const char *address);
void rmd_registry_add_tenant(struct rmd_coord *c, Remuda__TenantRecord *r);
void rmd_registry_add_stream(struct rmd_coord *c, Remuda__StreamRecord *r);
uint8_t rmd_source_family(const Remuda__SourceRecord *r);
void rmd_stream_put(struct rmd_coord *c, struct rmd_stream *s); /* writes its record */
void rmd_registry_add_source(struct rmd_coord *c, Remuda__SourceRecord *r);
void rmd_registry_add_node(struct rmd_coord *c, Remuda__NodeRecord *r);
void rmd_registry_key(struct rmd_coord *c, uint32_t stream, uint32_t index, struct rmd_slice pem);
/* A key that the stream is configured with wasn't readable: nothing of it may leave, because it would leave unsigned. */
bool rmd_stream_lacks_key(const struct rmd_stream *s);
bool rmd_tenant_paused(struct rmd_coord *c, uint32_t tenant);
struct rmd_lane *rmd_lane_of(struct rmd_coord *c, struct rmd_source *s, size_t provider);
void rmd_lane_free(struct rmd_lane *l);
void rmd_lane_set(struct rmd_coord *c, struct rmd_source *s, struct rmd_lane *l, enum rmd_lane_state state,
                  int64_t ms, uint64_t incident);
void rmd_lanes_restore(struct rmd_coord *c);
void rmd_lanes_tick(struct rmd_coord *c);
ssize_t rmd_provider_index(const struct rmd_coord *c, uint32_t id);
const char *rmd_provider_name(const struct rmd_coord *c, uint32_t id);
void rmd_registry_flush(struct rmd_coord *c);
void rmd_registry_free(struct rmd_coord *c);
void rmd_member_free(struct rmd_node *n);
bool rmd_stream_uses(const struct rmd_stream *st, const struct rmd_source *s);
bool rmd_source_has_priority(struct rmd_coord *c, const struct rmd_source *s);
uint64_t rmd_source_cap(const struct rmd_coord *c, const struct rmd_source *s);
uint64_t rmd_lane_cap(const struct rmd_coord *c, const struct rmd_lane *l);
void rmd_caps_of(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st, struct rmd_caps *out);
void rmd_stream_forget_accounts(struct rmd_stream *s); /* its domain, or the providers, are others */
void rmd_lane_keep(struct rmd_coord *c, struct rmd_source *s, const struct rmd_lane *l);
void rmd_lanes_come_back(struct rmd_coord *c);
/* ---- share.c */
bool rmd_share_room(struct rmd_coord *c, const struct rmd_lane *l);
void rmd_share_take(struct rmd_coord *c, struct rmd_lane *l);
void rmd_share_restore(struct rmd_coord *c, struct rmd_lane *l, uint32_t share);
void rmd_share_idle(struct rmd_coord *c, struct rmd_lane *l);
void rmd_share_tick(struct rmd_coord *c);
uint32_t rmd_share_connections(const struct rmd_coord *c, const struct rmd_lane *l);
void rmd_share_reloaded(struct rmd_coord *c, size_t provider, uint32_t connections_before);
/* ---- reload.c */
void rmd_reload(struct rmd_coord *c, const struct rmd_command *m);
void rmd_reload_forget(struct rmd_coord *c);
void rmd_reload_init(struct rmd_coord *c);
void rmd_reload_free(struct rmd_coord *c);
/* ---- commands.c */
void rmd_command(struct rmd_coord *c, const struct rmd_command *m);
/* ---- policy.c */
Remuda__Policy *rmd_policy_build(struct rmd_coord *c, const struct rmd_node *n, struct rmd_arena *a);
void rmd_policy_all(struct rmd_coord *c);
void rmd_policy_flush(struct rmd_coord *c, int probe);

/* ---- site.c */
struct rmd_domain *rmd_site_find(struct rmd_coord *c, const char *name);
bool rmd_site_asked(const struct rmd_domain *d); /* its answer is there, or will come */
void rmd_site_forget(struct rmd_coord *c, const char *name);
/* No source of this family reached any host of the domain; remembered for a while. */
void rmd_site_out_of_reach(struct rmd_coord *c, const char *name, uint8_t family);
bool rmd_site_in_reach(const struct rmd_coord *c, const char *name, uint8_t family);
void rmd_site_forget_all(struct rmd_coord *c);
void rmd_site_resolved(struct rmd_coord *c, const char *name, const struct rmd_mx_answer *mx);
void rmd_site_free(struct rmd_coord *c);

/* ---- queue.c */
struct rmd_pq *rmd_pq_get(struct rmd_coord *c, uint32_t provider, struct rmd_stream *s);
void rmd_pq_reorder(struct rmd_coord *c, struct rmd_stream *s); /* its priority changed */
struct rmd_cq *rmd_cq_get(struct rmd_coord *c, uint32_t provider, struct rmd_campaign *k);
bool rmd_cqs_drop(struct rmd_campaign *k); /* of a finished campaign without chunks; false: one is being read */
struct rmd_chunk *rmd_chunk_get(struct rmd_coord *c, struct rmd_campaign *k, uint32_t group, uint32_t seq);
Remuda__Chunk *rmd_rows_read(struct rmd_slice packed, struct rmd_arena *own);
void rmd_chunk_take_rows(struct rmd_chunk *ch, struct rmd_sort_chunk *s);
void rmd_chunk_unref(struct rmd_coord *c, struct rmd_chunk *ch);
void rmd_chunk_dirty(struct rmd_coord *c, struct rmd_chunk *ch);
bool rmd_chunk_load(struct rmd_coord *c, struct rmd_pq *q, struct rmd_chunk **v, size_t n); /* q: may be NULL */
void rmd_chunk_got(struct rmd_coord *c, struct rmd_chunk *ch, struct rmd_slice k, struct rmd_slice b);
struct rmd_entry *rmd_entry_get(struct rmd_coord *c, struct rmd_cq *q, struct rmd_chunk *ch);
void rmd_entry_set(struct rmd_coord *c, struct rmd_entry *e, size_t row);   /* queue it */
void rmd_entry_clear(struct rmd_coord *c, struct rmd_entry *e, size_t row); /* it left the queue */
void rmd_entry_known(struct rmd_coord *c, struct rmd_entry *e,
                     struct rmd_slice value); /* what the store says of it */
void rmd_entry_unref(struct rmd_coord *c, struct rmd_entry *e);
void rmd_queue_load(struct rmd_coord *c);
/* What is loaded is of no use just now (its sites are at their ceilings): others come in its place. */
void rmd_queue_rotate(struct rmd_coord *c, struct rmd_cq *q);
void rmd_queue_scanned(struct rmd_coord *c, struct rmd_cq *q, const struct rmd_coord_event *e);
void rmd_queue_flush(struct rmd_coord *c, uint64_t tag);
void rmd_queue_evict(struct rmd_coord *c);
void rmd_queue_free(struct rmd_coord *c);
void rmd_key_of_chunk(const struct rmd_chunk *ch, struct rmd_chunk_ref *ref);

/* ---- deferred.c */
struct rmd_dq *rmd_dq_get(struct rmd_coord *c, uint32_t provider, struct rmd_stream *s, uint32_t sticky);
struct rmd_dq *rmd_dq_find(struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s, uint32_t sticky);
void rmd_dq_stored(struct rmd_coord *c, struct rmd_dq *q, int64_t at_wall_ms); /* at start: a record for this time */
void rmd_dq_count(struct rmd_coord *c, struct rmd_dq *q,
                  int by); /* a record more or less, stored or counted at start */
struct rmd_id rmd_deferred_id(const Remuda__DeferredRecord *r);
/* Stores it (key from its fields), counts it. The record stays the caller's. */
void rmd_deferred_put(struct rmd_coord *c, struct rmd_campaign *k, Remuda__DeferredRecord *r);
void rmd_deferred_delete(struct rmd_coord *c, struct rmd_campaign *k, const Remuda__DeferredRecord *r);
void rmd_ditem_free(struct rmd_coord *c, struct rmd_ditem *d);
void rmd_deferred_load(struct rmd_coord *c);
void rmd_deferred_scanned(struct rmd_coord *c, struct rmd_dq *q, const struct rmd_read *r,
                          const struct rmd_coord_event *e);
void rmd_deferred_resolve(struct rmd_coord *c);
int64_t rmd_deferred_deadline_wall(const struct rmd_coord *c);
void rmd_deferred_free(struct rmd_coord *c);
Remuda__DeferredRecord *rmd_deferred_of_row(struct rmd_coord *c, const struct rmd_chunk *ch, uint32_t row,
                                            uint32_t provider);

/* ---- rows.c: a packed Row, read without unpacking */
struct rmd_row_head {
    uint64_t ordinal;
    struct rmd_slice email;
};
bool rmd_row_head(struct rmd_slice row, struct rmd_row_head *out);

/* ---- campaign.c */
enum rmd_settled {
    RMD_SETTLED_DELIVERED,
    RMD_SETTLED_BOUNCED,
    RMD_SETTLED_SUPPRESSED,
    RMD_SETTLED_EXPIRED,
    RMD_SETTLED_HELD,
    RMD_SETTLED_CANCELLED
};
const char *rmd_campaign_name(const struct rmd_campaign *k); /* for people: its subject when it has none */
struct rmd_campaign *rmd_campaign_find(struct rmd_coord *c, struct rmd_slice id);
void rmd_campaign_add(struct rmd_coord *c, Remuda__CampaignRecord *r);
void rmd_campaign_state(struct rmd_coord *c, const struct rmd_command *m);
void rmd_campaign_set_state(struct rmd_coord *c, struct rmd_campaign *k, uint32_t state, const char *reason);
void rmd_campaign_dirty(struct rmd_coord *c, struct rmd_campaign *k);
bool rmd_campaign_deals(struct rmd_coord *c, const struct rmd_campaign *k);
int64_t rmd_campaign_valid_until(const struct rmd_campaign *k); /* RMD_NEVER: no limit */
enum rmd_settled rmd_campaign_drain_kind(const struct rmd_campaign *k);
uint64_t rmd_campaign_unsorted(const struct rmd_campaign *k);
/* Sets the bit and counts; false when it was settled before. */
bool rmd_settle(struct rmd_coord *c, struct rmd_chunk *ch, uint32_t row, enum rmd_settled kind);
/* Event about a message; outcome, lease may be NULL. */
Remuda__EventRecord *rmd_event_message(struct rmd_coord *c, const char *type, const struct rmd_campaign *k,
                                       struct rmd_slice row, const struct rmd_lease *lease, const Remuda__Outcome *o);
void rmd_settle_row(struct rmd_coord *c, struct rmd_chunk *ch, uint32_t row, enum rmd_settled kind, const char *text);
void rmd_settle_deferred(struct rmd_coord *c, struct rmd_chunk *ch, const Remuda__DeferredRecord *r,
                         enum rmd_settled kind, const char *text);
const char *rmd_settled_name(enum rmd_settled kind);
void rmd_campaign_tick(struct rmd_coord *c);
void rmd_campaign_expire_scanned(struct rmd_coord *c, const struct rmd_coord_event *e);
void rmd_campaign_sweep_scanned(struct rmd_coord *c, const struct rmd_coord_event *e);
void rmd_template_used(struct rmd_coord *c, const Remuda__CampaignRecord *r); /* it isn't to be forgotten */
void rmd_campaigns_flush(struct rmd_coord *c);
void rmd_campaigns_free(struct rmd_coord *c);
void rmd_campaign_free(struct rmd_campaign *k);
/* ---- release.c (schedule.h) */
bool rmd_release_paced(const struct rmd_campaign *k);
bool rmd_release_started(const struct rmd_coord *c, const struct rmd_campaign *k);
/* Recipients that may be offered for the first time; UINT64_MAX: any number. */
uint64_t rmd_release_room(const struct rmd_coord *c, const struct rmd_campaign *k);
bool rmd_release_first(const Remuda__DeferredRecord *r); /* it wasn't offered yet */
void rmd_release_offered(struct rmd_coord *c, struct rmd_campaign *k, int64_t by);
void rmd_release_tick(struct rmd_coord *c, struct rmd_campaign *k);
const char *rmd_release_why(struct rmd_coord *c, const struct rmd_campaign *k, struct rmd_arena *a);
const char *rmd_release_binds(struct rmd_coord *c, const struct rmd_pq *q);
void rmd_release_view(struct rmd_coord *c, const struct rmd_campaign *k, struct rmd_campaign_view *v);
void rmd_release_command(struct rmd_coord *c, const struct rmd_command *m);

/* ---- expire.c */
void rmd_campaign_reap(struct rmd_coord *c);
/* ---- drain.c */
void rmd_drain_start(struct rmd_coord *c, struct rmd_campaign *k);
void rmd_drain(struct rmd_coord *c, struct rmd_campaign *k);
void rmd_drain_unpin(struct rmd_coord *c, struct rmd_campaign *k);
void rmd_drain_swept(struct rmd_coord *c, struct rmd_campaign *k, const struct rmd_coord_event *e);
/* ---- sort.c */
void rmd_sort(struct rmd_coord *c, struct rmd_campaign *k);
void rmd_sort_scanned(struct rmd_campaign *k, const struct rmd_coord_event *e);
void rmd_sort_clear(struct rmd_campaign *k);
void rmd_sort_chunk_free(struct rmd_campaign *k, struct rmd_sort_chunk *s);
void rmd_sort_ahead(struct rmd_coord *c, struct rmd_campaign *k); /* reads the next chunks of K, when there is room */

/* ---- sched.c */
void rmd_sched_deal(struct rmd_coord *c);
/* "" or what binds these: all that waits in the queue (k NULL), or what is one campaign's. The first leaves out what single sites hold. */
const char *rmd_sched_binds(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, uint64_t queued,
                            uint64_t deferred);
const char *rmd_sched_why(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_campaign *k, uint64_t queued,
                          uint64_t deferred);
extern const char rmd_why_outstanding[], rmd_why_hour[], rmd_why_time[];
extern const char *const rmd_why_connects;
/* NULL, or why a lane may take nothing at all now; moved work and what is usual are apart. */
const char *rmd_sched_bars(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l);
/* The lowest level of usual.h among lanes that may take work. */
uint32_t rmd_sched_lowest(struct rmd_coord *c, struct rmd_pq *q);
/* NULL: it may take work. *by: the incident whose moving binds it, or NULL. */
const char *rmd_sched_lane_why(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane *l, struct rmd_incident **by);
/* Lanes that warm up will take all that is queued, and there is nothing else: none behind them gets anything. */
bool rmd_sched_all_kept(struct rmd_coord *c, const struct rmd_pq *q, uint64_t reserved);
void rmd_sched_candidates(struct rmd_coord *c, struct rmd_pq *q);
bool rmd_sched_avoids(struct rmd_coord *c, struct rmd_pq *q, const Remuda__DeferredRecord *r,
                      const struct rmd_source *s);
/* Some standing lane of the queue binds an address of another family than this one. */
bool rmd_sched_other_family(struct rmd_coord *c, struct rmd_pq *q, const struct rmd_lane *l);
bool rmd_sched_elsewhere(struct rmd_coord *c, struct rmd_pq *q, const Remuda__DeferredRecord *r);
/* A source that could be used but for the moment: for stickiness and avoidance. */
/* Before x was stopped, it came before l in the order of this queue. */
bool rmd_sched_preceded(const struct rmd_coord *c, const struct rmd_pq *q, const struct rmd_lane *x,
                        const struct rmd_lane *l);
bool rmd_sched_standing(const struct rmd_source *s, const struct rmd_lane *l);

/* Only its own lane may have what sticks to it: *own. */
bool rmd_sched_bound(struct rmd_coord *c, const struct rmd_dq *d, struct rmd_lane **own);

/* ---- look.c */
void rmd_look_ordered(struct rmd_coord *c, struct rmd_pq *q);
void rmd_look_free(struct rmd_pq *q);
void rmd_look_lane(struct rmd_coord *c, struct rmd_lane *l);
void rmd_look_work(struct rmd_coord *c, struct rmd_pq *q);
void rmd_look_retries(struct rmd_dq *d);
void rmd_look_news(struct rmd_coord *c, bool all);
size_t rmd_look_next(const struct rmd_pq *q, size_t i, uint64_t *reserved);
void rmd_look_passed(struct rmd_pq *q, size_t i, const char *why, uint64_t keeps);
int64_t rmd_look_begin(struct rmd_coord *c);
void rmd_look_end(struct rmd_coord *c, struct rmd_pq *q, int64_t tick);
bool rmd_look_fed(const struct rmd_pq *q, bool cold);
size_t rmd_look_stopped(const struct rmd_coord *c, struct rmd_pq *q); /* in q->look.stopped */
void rmd_look_unbind(struct rmd_dq *d);
bool rmd_look_is_bound(const struct rmd_dq *d);
bool rmd_look_all_bound(const struct rmd_pq *q);
struct rmd_dq *rmd_look_bound(struct rmd_coord *c, struct rmd_pq *q, struct rmd_lane **l);

/* ---- lease.c */
struct rmd_lease *rmd_lease_find(struct rmd_node *n, uint64_t id);
/* only_probes: nothing but what the lane's source is probed with at sites that stopped it. */
uint32_t rmd_lease_build_chunk(struct rmd_coord *c, struct rmd_lane *l, struct rmd_entry *e, uint32_t max,
                               bool only_probes);
/* *moved: how many of them moved because of an incident. */
uint32_t rmd_lease_build_own(struct rmd_coord *c, struct rmd_lane *l, struct rmd_dq *q, uint32_t max,
                             bool only_probes, uint32_t *moved);
void rmd_lease_send(struct rmd_coord *c, struct rmd_lease *l);
void rmd_lease_state(struct rmd_coord *c, struct rmd_lease *l, enum rmd_lease_state to);
void rmd_lease_dirty(struct rmd_coord *c, struct rmd_lease *l);
void rmd_lease_done(struct rmd_coord *c, struct rmd_lease *l,
                    uint32_t index);                          /* marks; ends the lease with the last one */
void rmd_lease_end(struct rmd_coord *c, struct rmd_lease *l); /* deletes record and memory */
void rmd_lease_acked(struct rmd_coord *c, struct rmd_node *n, const Remuda__LeaseAck *a);
void rmd_lease_restore(struct rmd_coord *c, const Remuda__LeaseRecord *r);
void rmd_leases_flush(struct rmd_coord *c, uint64_t tag);
void rmd_lease_release(struct rmd_coord *c, struct rmd_lease *l);
struct rmd_slice rmd_lease_row(const struct rmd_lease *l, uint32_t index);
struct rmd_chunk *rmd_lease_chunk(const struct rmd_lease *l, uint32_t index, uint32_t *row);
bool rmd_lease_wanted(struct rmd_coord *c, const struct rmd_lease *l); /* its lane, stream and campaign may send */

/* ---- report.c */
void rmd_report(struct rmd_coord *c, struct rmd_node *n, const Remuda__Report *r);
void rmd_report_unlisted(struct rmd_coord *c,
                         struct rmd_node *n); /* when a returned node has told all: its unlisted leases come back */
/* ---- doubt.c */
void rmd_doubt(struct rmd_coord *c, struct rmd_lease *l, const char *why);
void rmd_doubt_regrant(struct rmd_coord *c, struct rmd_lease *l);
void rmd_doubt_restored(struct rmd_coord *c);
void rmd_doubt_since_backup(struct rmd_coord *c, struct rmd_lease *l);
void rmd_doubt_tick(struct rmd_coord *c);
void rmd_doubt_other_copy(struct rmd_coord *c, struct rmd_campaign *k, struct rmd_slice row,
                          const struct rmd_lease *late);

/* ---- events.c */
void rmd_events_keep(struct rmd_coord *c); /* at the end of a step, before its commit is made */
void rmd_events_told(struct rmd_coord *c, const Remuda__EventRecord *e);

/* ---- membership.c */
void rmd_membership_frame(struct rmd_coord *c, const struct rmd_coord_event *e);
void rmd_membership_gone(struct rmd_coord *c, const struct rmd_coord_peer *peer);
void rmd_membership_refuse_revoked(struct rmd_coord *c, struct rmd_node *n);
void rmd_membership_lost(struct rmd_coord *c, struct rmd_node *n, const char *why);
void rmd_membership_tick(struct rmd_coord *c);
void rmd_template_got(struct rmd_coord *c, const struct rmd_read *r, const struct rmd_coord_event *e);
/* ---- recall.c */
struct rmd_recall *rmd_recall_new(struct rmd_coord *c, struct rmd_node *n, uint32_t reason);
void rmd_recall_send(struct rmd_coord *c, struct rmd_node *n, struct rmd_recall *r, int probe);
void rmd_recall_source(struct rmd_coord *c, struct rmd_source *s, uint32_t provider, uint32_t reason, int probe);
void rmd_recall_campaign(struct rmd_coord *c, struct rmd_campaign *k, uint32_t reason, int probe);
void rmd_recall_stream(struct rmd_coord *c, struct rmd_stream *s, uint32_t reason, int probe);
void rmd_recall_lease(struct rmd_coord *c, struct rmd_lease *l, uint32_t reason);
void rmd_recalled(struct rmd_coord *c, struct rmd_node *n, const Remuda__Recalled *r);
void rmd_recall_settled(struct rmd_coord *c, struct rmd_node *n);
void rmd_recall_tick(struct rmd_coord *c, struct rmd_node *n);
void rmd_recall_clear(struct rmd_node *n);

/* Leases at connected nodes that `which` names. */
void rmd_recall_where(struct rmd_coord *c, bool (*which)(void *ctx, const struct rmd_lease *l), void *ctx,
                      uint32_t reason);

/* ---- sender_act.c (sender.h): sending domains at providers that refuse them */
void rmd_sender_alarm(struct rmd_coord *c, const struct rmd_stream *s, uint32_t provider, const struct rmd_verdict *v,
                      const Remuda__Alarm *a);
void rmd_sender_outcome(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                        const struct rmd_verdict *v);
void rmd_senders_tick(struct rmd_coord *c);
/* A person's word; true: something is probed now. The stream's record is the caller's to write. */
bool rmd_sender_resolved(struct rmd_coord *c, const struct rmd_incident *i);
bool rmd_sender_resumed(struct rmd_coord *c, struct rmd_stream *s, const char *why);
/* Recipients that its domain's state lets the queue have now; UINT32_MAX: any number. */
uint32_t rmd_sender_room_for(struct rmd_coord *c, const struct rmd_pq *q);
void rmd_sender_took(struct rmd_coord *c, const struct rmd_pq *q, uint32_t n);
bool rmd_sender_stops(const struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s);
int64_t rmd_sender_rests_ms(const struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s);
const char *rmd_sender_why(struct rmd_coord *c, const struct rmd_pq *q,
                           struct rmd_arena *a); /* NULL: nothing binds */
int64_t rmd_sender_lapses(const struct rmd_coord *c, uint64_t incident);
bool rmd_sender_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value);
void rmd_senders_flush(struct rmd_coord *c);
void rmd_senders_free(struct rmd_coord *c);

/* ---- alarm.c */
void rmd_reply_words(char out[RMD_REPLY_TEXT_MAX + 1], const Remuda__Reply *reply); /* the receiver's, on one line */
void rmd_alarm(struct rmd_coord *c, struct rmd_node *n, const Remuda__Alarm *a);
void rmd_alarm_of_hello(struct rmd_coord *c, struct rmd_node *n,
                        const Remuda__Alarm *a); /* without acknowledgement */
void rmd_alarm_ack(struct rmd_coord *c, struct rmd_node *n, uint64_t number);
/* ---- incident.c */
struct rmd_incident *rmd_incident_find(struct rmd_coord *c, uint64_t id);
struct rmd_incident *rmd_incident_open(struct rmd_coord *c, const char *title);
void rmd_incident_add(struct rmd_coord *c, Remuda__IncidentRecord *r);
void rmd_incident_resolve(struct rmd_coord *c, struct rmd_incident *i, const char *resolution);
void rmd_incident_moved(struct rmd_coord *c, uint64_t id, struct rmd_source *to, uint32_t n);
/* n that would have gone to the stopped lane from the queue. */
void rmd_incident_flowed(struct rmd_coord *c, struct rmd_incident *i, struct rmd_source *to, uint32_t n);
/* A line of its time line, and an event of this type unless it is NULL. */
void rmd_incident_line(struct rmd_coord *c, struct rmd_incident *i, const char *type, const char *fmt, ...)
    RMD_PRINTF(4, 5);
void rmd_incident_ticket(struct rmd_coord *c, struct rmd_incident *i, const char *text);
/* Where removal is asked for: the list that the receiver's words name, else what the provider says. */
void rmd_incident_removal(struct rmd_coord *c, struct rmd_incident *i, struct rmd_slice words, uint32_t provider);
void rmd_incident_returned(struct rmd_coord *c, uint64_t id, const struct rmd_source *from, uint32_t n);
/* The sources of a site's or a network's incident. Joins once, and again after it was over. */
void rmd_incident_join(struct rmd_coord *c, struct rmd_incident *i, const struct rmd_source *s);
void rmd_incident_leave(struct rmd_coord *c, struct rmd_incident *i, const struct rmd_source *s);
Remuda__IncidentMember *rmd_incident_member(const struct rmd_incident *i, const struct rmd_source *s); /* or NULL */
size_t rmd_incident_sources(const struct rmd_incident *i); /* how many it is or was about */
/* This source was refused, whether it is open again or not. */
bool rmd_incident_is_about(const struct rmd_incident *i, const struct rmd_source *s);
/* A person says that it is over: the refusals behind it corroborate nothing any more. */
void rmd_incident_unsay(struct rmd_coord *c, const struct rmd_incident *i);
void rmd_incidents_flush(struct rmd_coord *c);

/* content.c */
void rmd_content_outcome(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                         const struct rmd_verdict *v);
void rmd_content_tick(struct rmd_coord *c); /* rests that are over */
void rmd_content_forget(struct rmd_campaign *k);
void rmd_content_resumed(struct rmd_coord *c,
                         struct rmd_campaign *k); /* somebody looked at it: all of its content counts anew */
bool rmd_content_stopped(const struct rmd_campaign *k, uint32_t provider);
void rmd_content_stop(struct rmd_coord *c, struct rmd_campaign *k, uint32_t provider, const struct rmd_incident *i,
                      const char *why);
/* incident 0: wherever it is stopped. */
bool rmd_content_reopen(struct rmd_coord *c, struct rmd_campaign *k, uint64_t incident, const char *why);
bool rmd_content_resolved(struct rmd_coord *c, uint64_t incident, const char *why);
/* Whatever waits there for the first time is of campaigns that are stopped there; NULL: it isn't. */
const char *rmd_content_why(const struct rmd_pq *q, const struct rmd_campaign *k); /* k: that one's alone */
const char *rmd_content_stops(struct rmd_coord *c, const struct rmd_campaign *k,
                              struct rmd_arena *a); /* where it is stopped; NULL: nowhere */
void rmd_incidents_free(struct rmd_coord *c);

/* ---- suppress.c */
bool rmd_suppress_has(const struct rmd_coord *c, uint32_t stream, uint64_t hash);
void rmd_suppress_command(struct rmd_coord *c, const struct rmd_command *m);
void rmd_unsuppress_command(struct rmd_coord *c, const struct rmd_command *m);
/* A hard bounce at this provider: suppressed, or pending while it denies users in a surge. */
void rmd_suppress_bounce(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                         const Remuda__Outcome *o);
void rmd_suppress_told(struct rmd_coord *c, uint32_t tenant, uint64_t hash); /* nodes hear of it with this step */
void rmd_suppress_bounce_flush(struct rmd_coord *c);
void rmd_suppress_before_lease(struct rmd_coord *c, struct rmd_node *n, const struct rmd_lease *l);
void rmd_suppress_restore(struct rmd_coord *c, struct rmd_slice key, const Remuda__SuppressionRecord *r);
void rmd_suppress_acked(struct rmd_coord *c, struct rmd_node *n, uint64_t id);
void rmd_suppress_session(struct rmd_coord *c, struct rmd_node *n);
void rmd_suppress_check(struct rmd_coord *c);
void rmd_suppress_resume(struct rmd_coord *c);
void rmd_suppress_free(struct rmd_coord *c);
const char *rmd_suppress_evidence(struct rmd_coord *c, const Remuda__Outcome *o); /* scratch */

/* ---- denial.c: refusals that suppress on the second */
struct rmd_surge_place;
void rmd_denials_init(struct rmd_coord *c);
void rmd_denials_free(struct rmd_coord *c);
void rmd_denial(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                const Remuda__Outcome *o);
void rmd_denial_accepted(struct rmd_coord *c, uint32_t tenant, struct rmd_slice email);
/* Another reason has come for or against this address, and its row is written anew or goes. True: it was denied once. */
bool rmd_denial_forget(struct rmd_coord *c, uint64_t hash);
/* A surge began there: what was denied on the way into it is forgotten. */
void rmd_denials_surge(struct rmd_coord *c, const struct rmd_surge_place *p, int64_t since_wall_ms);
void rmd_denials_tick(struct rmd_coord *c);
void rmd_denial_restore(struct rmd_coord *c, uint32_t tenant, uint64_t hash, const Remuda__SuppressionRecord *r);
void rmd_denials_restored(struct rmd_coord *c);

/* ---- surge_act.c, surge_table.c, surge_decide.c (surge.h): hard bounces of late, and what surges hold as pending */
void rmd_surges_init(struct rmd_coord *c);
void rmd_surges_free(struct rmd_coord *c);
bool rmd_surges_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value);
void rmd_surges_restore_bounce(struct rmd_coord *c, uint32_t tenant, uint64_t hash,
                               const Remuda__SuppressionRecord *r);
void rmd_surges_restored(struct rmd_coord *c);
void rmd_surges_outcome(struct rmd_coord *c, const struct rmd_lease *l, struct rmd_slice row,
                        const Remuda__Outcome *o, const struct rmd_verdict *v);
/* Takes a hard bounce of an address that isn't suppressed: true when it is suppressed now, in memory and in the batch. */
bool rmd_surges_bounce(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                       const char *evidence);
/* Another reason has come for or against this address: what was known of it as a hard bounce. */
enum rmd_bounce_known { RMD_BOUNCE_NONE, RMD_BOUNCE_REAL, RMD_BOUNCE_PENDING };
enum rmd_bounce_known rmd_surges_forget(struct rmd_coord *c, uint32_t tenant, uint64_t hash);
void rmd_surges_command(struct rmd_coord *c, const struct rmd_command *m);
void rmd_surges_advance(struct rmd_coord *c);
void rmd_surges_resolved(struct rmd_coord *c, struct rmd_incident *i);
void rmd_surges_flush(struct rmd_coord *c);

/* ---- watchers.c, watch_plan.c, watch_checks.c, listing.c, listing_act.c (listing.h) */
void rmd_watchers_init(struct rmd_coord *c);
void rmd_watchers_free(struct rmd_coord *c);
void rmd_watchers_changed(struct rmd_coord *c); /* sources, streams or nodes: who asks what may change */
void rmd_watchers_session(struct rmd_coord *c, struct rmd_node *n);
void rmd_watchers_findings(struct rmd_coord *c, struct rmd_node *n, const Remuda__Findings *m);
void rmd_watchers_refused(struct rmd_coord *c, struct rmd_source *s, uint32_t provider, const Remuda__Reply *reply);
void rmd_watchers_tick(struct rmd_coord *c);
void rmd_watchers_advance(struct rmd_coord *c); /* at the end of a step in which something changed */
void rmd_listing_restore(struct rmd_coord *c, Remuda__ListingRecord *r);
void rmd_listing_command(struct rmd_coord *c, const struct rmd_command *m);
void rmd_listings_flush(struct rmd_coord *c);
bool rmd_listing_confirmed(struct rmd_coord *c, const struct rmd_source *s); /* on a list of the acting tier */
bool rmd_listing_snowshoe(struct rmd_coord *c, const struct rmd_source *s);  /* on one that never moves work */
uint32_t rmd_listing_pace(struct rmd_coord *c, const struct rmd_source *s);  /* per cent, 0: all */

/* ---- tls.c */
enum {
    RMD_TLS_DAYS = 3,
    RMD_TLS_RECORDS_MAX = 60000,
    RMD_TLS_FAILURES_MAX = 32, /* kinds of failure kept apart, of a record */
    RMD_TLS_MX_HOSTS_MAX = 32,
    RMD_TLS_DOMAIN_BYTES = 253,
};
void rmd_tls_init(struct rmd_coord *c);
void rmd_tls_free(struct rmd_coord *c);
void rmd_tls_restore(struct rmd_coord *c, Remuda__TlsDayRecord *r);
void rmd_tls_report(struct rmd_coord *c, struct rmd_node *n, const Remuda__TlsReport *m);
void rmd_tls_flush(struct rmd_coord *c);

/* ---- restore.c */
int rmd_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) RMD_CHECKED;
void rmd_restore_end(struct rmd_coord *c);
void rmd_restore_read(struct rmd_coord *c, struct rmd_read *r, const struct rmd_coord_event *e);
void rmd_restore_resume(struct rmd_coord *c);
/* What a node remembers and this store does not: then the store is an older copy. */
void rmd_restore_check(struct rmd_coord *c, struct rmd_node *n, const Remuda__Hello *h, bool known);

#endif
