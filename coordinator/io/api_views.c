/* GET: views of the core as JSON, built in the core's thread between two steps. */
#include <inttypes.h>

#include <remuda/version.h>

#include <base/text.h>

#include "coordinator/core/keys.h"
#include "coordinator/io/api_request.h"
#include "proto/esmtp.h"

enum { CAMPAIGNS_LISTED = 1000 }; /* unless the request says how many */

/* What a view is built with: the list that grows, and a filter. */
struct view {
    struct rmd_api_request *r;
    struct rmd_coord *core;
    struct rmd_time now;
    json_t *list;
    const char *only;
    const char *state; /* of campaigns; NULL: any */
    uint64_t limit, left_out, finished;
    const struct rmd_id *id;
    uint32_t stream;
    void (*build)(struct view *v);
};

static void in_core(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    struct view *v = ctx;
    v->core = core;
    v->now = now;
    v->build(v);
}

/* Runs build() in the core's thread; false when the coordinator is stopping (the answer is set). */
static bool run_view(struct view *v) {
    int rc = rmd_shell_call(v->r->http->o.shell, in_core, v);
    if (rc < 0)
        rmd_api_fail(v->r, 503, rc, "the coordinator is stopping");
    return rc == RMD_OK;
}

static void list_view(struct rmd_api_request *r, const char *key, void (*build)(struct view *)) {
    struct view v = {.r = r, .list = json_array(), .build = build};
    if (run_view(&v))
        r->out = json_pack("{s:o}", key, v.list);
    else
        json_decref(v.list);
}

/* The single member that the filter let through, or 404. */
static void single_view(struct view *v, void (*build)(struct view *), const char *what, const char *name) {
    v->list = json_array();
    v->build = build;
    if (run_view(v)) {
        if (json_array_size(v->list))
            v->r->out = json_incref(json_array_get(v->list, 0));
        else
            rmd_api_fail(v->r, 404, RMD_ENOTFOUND, "there is no %s %s", what, name);
    }
    json_decref(v->list);
}

void rmd_api_health(struct rmd_api_request *r) {
    r->out = json_pack("{s:b}", "ok", 1);
}

/* ---- status */

static void build_status(struct view *v) {
    struct rmd_status_view s;
    rmd_coord_status(v->core, &s);
    const struct {
        const char *key;
        uint64_t value;
    } number[] = {{"epoch", s.epoch},
                  {"incarnation", s.incarnation},
                  {"queued", s.queued},
                  {"unsorted", s.unsorted},
                  {"unsorted_paused", s.unsorted_paused},
                  {"unsorted_later", s.unsorted_later},
                  {"leased", s.leased},
                  {"leased_away", s.leased_away},
                  {"leased_away_ms", (uint64_t)s.leased_away_ms},
                  {"deferred", s.deferred},
                  {"in_doubt", s.in_doubt},
                  {"delivered", s.delivered},
                  {"bounced", s.bounced},
                  {"suppressed", s.suppressed},
                  {"expired", s.expired},
                  {"held", s.held},
                  {"uncertain", s.uncertain},
                  {"leases", s.leases},
                  {"nodes", s.nodes},
                  {"nodes_connected", s.nodes_connected},
                  {"sources_active", s.sources_active},
                  {"sources_quarantined", s.sources_quarantined},
                  {"sources_trouble", s.sources_trouble},
                  {"open_incidents", s.open_incidents},
                  {"malformed_frames", s.malformed_frames},
                  {"refused_connections", rmd_shell_refused_connections(v->r->http->o.shell)}};
    json_t *o = v->r->out = json_object();
    char history[256];
    rmd_history_trouble(rmd_shell_history(v->r->http->o.shell), history, sizeof history);
    json_object_set_new(o, "version", json_string(RMD_VERSION));
    json_object_set_new(o, "uptime_ms",
                        json_integer(v->now.mono_ms - rmd_shell_started_mono_ms(v->r->http->o.shell)));
    json_object_set_new(o, "stalled", rmd_json_text(s.stalled ? s.stalled : ""));
    json_object_set_new(o, "history_trouble", rmd_json_text(history));
    json_object_set_new(o, "restored_paused", json_boolean(s.restored_paused));
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++)
        json_object_set_new(o, number[i].key, json_integer((json_int_t)number[i].value));
}

void rmd_api_status(struct rmd_api_request *r) {
    struct view v = {.r = r, .build = build_status};
    (void)run_view(&v);
}

/* ---- streams and campaigns */

static const char *campaign_state(const struct rmd_campaign_view *c) {
    return c->scheduled ? "scheduled" : rmd_campaign_state_name(c->record->state);
}

static void add_campaign(void *ctx, const struct rmd_campaign_view *c) {
    struct view *v = ctx;
    v->finished += c->record->finished_wall_ms != 0;
    if (v->id && (c->record->id.len != sizeof v->id->b || memcmp(c->record->id.data, v->id->b, sizeof v->id->b) != 0))
        return;
    const char *stream = rmd_coord_stream_name(v->core, c->record->stream);
    if ((v->state && strcmp(v->state, campaign_state(c)) != 0) || (v->only && strcmp(v->only, stream) != 0))
        return;
    if (v->limit && json_array_size(v->list) == v->limit) { /* the oldest come first, and go first */
        json_array_remove(v->list, 0);
        v->left_out++;
    }
    json_array_append_new(v->list, rmd_json_campaign(c, stream));
}

static void build_campaigns(struct view *v) {
    rmd_coord_campaigns(v->core, add_campaign, v);
}

static void add_wait(void *ctx, const struct rmd_queue_view *q) {
    json_array_append_new(ctx, json_pack("{s:s, s:I, s:I, s:o, s:o}", "provider", q->provider, "queued",
                                         (json_int_t)q->queued, "deferred", (json_int_t)q->deferred, "next_attempt",
                                         rmd_json_time(q->next_attempt_wall_ms), "why", rmd_json_text(q->waits_for)));
}

/* One, with what it waits for: that takes a look at its queues. */
static void build_campaign(struct view *v) {
    build_campaigns(v);
    json_t *waits = json_array(), *one = json_array_get(v->list, 0);
    rmd_coord_campaign_waits(v->core, v->id, add_wait, waits);
    if (one)
        json_object_set(one, "waits", waits);
    json_decref(waits);
}

/* A stream that isn't there has no campaigns, and is a typing error. */
static void find_stream(struct view *v) {
    if (rmd_coord_stream_by_name(v->core, v->r->http->o.tenant, v->only))
        build_campaigns(v);
    else
        rmd_api_fail(v->r, 404, RMD_ENOTFOUND, "there is no stream %s; `remuda stream list` shows them", v->only);
}

static bool is_campaign_state(const char *name) {
    static const char *const known[] = {"scheduled", "active", "paused", "cancelled", "done"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], name) == 0)
            return true;
    return false;
}

static bool take_campaign_filter(struct rmd_api_request *r, struct view *v) {
    const char *limit = rmd_api_query(r, "limit");
    v->state = rmd_api_query(r, "state");
    v->only = rmd_api_query(r, "stream");
    v->limit = CAMPAIGNS_LISTED;
    if (limit && rmd_parse_u64(rmd_slice_str(limit), &v->limit) < 0)
        rmd_api_fail(r, 400, RMD_EINVAL, "limit: \"%.40s\" is not a number (0: all)", limit);
    else if (v->state && !is_campaign_state(v->state))
        rmd_api_fail(r, 400, RMD_EINVAL, "state: \"%.40s\" is none of scheduled, active, paused, cancelled, done",
                     v->state);
    return !r->status;
}

void rmd_api_campaigns(struct rmd_api_request *r) {
    struct view v = {.r = r};
    if (!take_campaign_filter(r, &v))
        return;
    v.list = json_array();
    v.build = v.only ? find_stream : build_campaigns;
    if (run_view(&v) && !r->status)
        r->out = json_pack("{s:O, s:I, s:b}", "campaigns", v.list, "left_out", (json_int_t)v.left_out,
                           "older_left_out", v.finished >= RMD_COORD_CAMPAIGNS_KEPT);
    json_decref(v.list);
}

static void name_stream(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct view *v = ctx;
    v->only = rmd_arena_str(&v->r->arena, rmd_slice_str(rmd_coord_stream_name(core, v->stream)));
}

/* One that finished long ago: the core knows the newest only, the store has them as long as history is kept. */
static void stored_campaign(struct rmd_api_request *r, const struct rmd_id *id) {
    struct rmd_key k = rmd_key_campaign(r->http->o.tenant, id);
    struct rmd_slice key = rmd_key_slice(&k);
    struct rmd_buf packed = {0};
    const struct rmd_store *st = rmd_shell_store(r->http->o.shell);
    int rc = st->ops->get_many(st->s, &key, 1, rmd_api_copy_value, &packed);
    const Remuda__CampaignRecord *rec =
        rc == RMD_OK && packed.len
            ? rmd_pb_decode(&remuda__campaign_record__descriptor, rmd_buf_slice(&packed), &r->arena)
            : NULL;
    if (rec && rec->finished_wall_ms) { /* anything else is an acceptance under way */
        struct view v = {.r = r, .stream = rec->stream, .only = ""};
        struct rmd_campaign_view c = {.record = rec};
        (void)!rmd_shell_call(r->http->o.shell, name_stream, &v);
        json_decref(r->out);
        r->out = rmd_json_campaign(&c, v.only);
        r->status = 200;
    }
    rmd_buf_release(&packed);
}

void rmd_api_campaign(struct rmd_api_request *r) {
    struct rmd_id id;
    if (rmd_id_parse(rmd_slice_str(r->segment[1]), &id) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "\"%s\" is not a campaign id (26 characters; see `remuda campaign list`)",
                     r->segment[1]);
        return;
    }
    struct view v = {.r = r, .id = &id};
    single_view(&v, build_campaign, "campaign", r->segment[1]);
    if (r->status == 404)
        stored_campaign(r, &id);
}

static json_t *stream_json(const Remuda__StreamRecord *s) {
    json_t *keys = json_array();
    for (size_t i = 0; i < s->n_key; i++)
        json_array_append_new(keys, json_pack("{s:s, s:s, s:s}", "domain", s->key[i]->domain, "selector",
                                              s->key[i]->selector, "path", s->key[i]->path));
    json_t *o =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", (int)s->id, "name", s->name,
                  "pool", s->pool, "sending_domain", s->sending_domain, "return_domain", s->return_domain,
                  "unsubscribe_url", s->unsubscribe_url, "unsubscribe_mailto", s->unsubscribe_mailto,
                  "canonicalization", s->canonicalization, "uncertain_policy", s->uncertain_policy ? "hold" : "retry",
                  "state", s->state ? "paused" : "active", "reason", rmd_json_text(s->reason), "keys", keys);
    json_object_set_new(o, "priority", json_integer(s->priority));
    json_object_set_new(o, "age_limit_ms", json_integer(s->age_limit_ms));
    json_object_set_new(o, "retry_min_ms", json_integer(s->retry_min_ms));
    json_object_set_new(o, "retry_max_ms", json_integer(s->retry_max_ms));
    json_object_set_new(o, "node_return_wait_ms", json_integer(s->node_return_wait_ms));
    json_object_set_new(o, "domain_cap_per_day", json_integer((json_int_t)s->domain_cap_per_day));
    json_object_set_new(o, "domain_warmup", json_string(s->domain_warmup));
    json_object_set_new(o, "domain_warm_as", json_integer((json_int_t)s->domain_warm_as));
    json_object_set_new(o, "domain_since", rmd_json_time(s->domain_warm_since_wall_ms));
    json_object_set_new(o, "dsn", json_string(rmd_dsn_name(s->dsn)));
    json_object_set_new(o, "requiretls", json_string(s->requiretls ? "yes" : "no"));
    json_object_set_new(o, "one_signature", json_string(s->one_signature ? "yes" : "no"));
    json_object_set_new(o, "cold_lanes", json_string(s->no_cold_lanes ? "never" : "yes"));
    json_object_set_new(o, "tls", json_string(s->tls_required ? "required" : "may"));
    return o;
}

struct refused_at {
    const Remuda__StreamRecord *stream;
    json_t *list;
};

/* Where its sending domain is refused. */
static void add_refused(void *ctx, const struct rmd_sender_view *v) {
    struct refused_at *x = ctx;
    if (v->tenant == x->stream->tenant && strcasecmp(v->domain, x->stream->sending_domain) == 0)
        json_array_append_new(x->list,
                              json_pack("{s:s, s:s, s:o, s:I}", "provider", v->provider, "state", v->state, "until",
                                        rmd_json_time(v->until_wall_ms), "incident", (json_int_t)v->incident));
}

static void add_stream(void *ctx, const Remuda__StreamRecord *s) {
    struct view *v = ctx;
    json_t *o = stream_json(s);
    struct refused_at x = {.stream = s, .list = json_array()};
    rmd_coord_senders(v->core, add_refused, &x);
    json_object_set_new(o, "refused_at", x.list);
    json_array_append_new(v->list, o);
}

static void build_streams(struct view *v) {
    rmd_coord_streams(v->core, add_stream, v);
}

void rmd_api_streams(struct rmd_api_request *r) {
    list_view(r, "streams", build_streams);
}

/* ---- sources and nodes */

static json_t *lane_json(const struct rmd_lane_view *l) {
    json_t *o = json_pack("{s:s, s:s, s:o}", "provider", l->provider, "state", rmd_lane_state_name(l->state), "until",
                          rmd_json_time(l->until_wall_ms));
    uint64_t taken = l->outstanding + l->used_24h;
    json_object_set_new(o, "cap_per_day", json_integer((json_int_t)l->cap));
    json_object_set_new(o, "outstanding", json_integer((json_int_t)l->outstanding));
    json_object_set_new(o, "used_24h", json_integer((json_int_t)l->used_24h));
    json_object_set_new(o, "free",
                        l->cap ? json_integer((json_int_t)(l->cap > taken && !l->cap_frees_ms ? l->cap - taken : 0))
                               : json_null());
    json_object_set_new(o, "frees_in_ms", json_integer(l->cap_frees_ms));
    json_object_set_new(o, "delivered", json_integer((json_int_t)l->delivered));
    json_object_set_new(o, "deferred", json_integer((json_int_t)l->deferred));
    json_object_set_new(o, "bounced", json_integer((json_int_t)l->bounced));
    json_object_set_new(o, "blocked", json_integer((json_int_t)l->blocked));
    json_object_set_new(o, "warmup", json_string(l->warmup));
    json_object_set_new(o, "reputation", json_integer(l->reputation));
    json_object_set_new(o, "reputation_band", json_string(l->reputation_band));
    json_object_set_new(o, "little_evidence", json_boolean(l->few));
    json_object_set_new(o, "poor_hour", l->poor_hour ? json_integer((json_int_t)l->poor_hour) : json_null());
    json_object_set_new(o, "pace", rmd_json_pace(l->pace, l->pace_told_ms_ago));
    json_object_set_new(o, "must_register", json_boolean(l->must_register));
    json_object_set_new(o, "registered", json_boolean(l->registered));
    json_object_set_new(o, "incident", l->incident ? json_integer((json_int_t)l->incident) : json_null());
    return o;
}

static json_t *sites_json(const struct rmd_source_view *s) {
    json_t *sites = json_array();
    for (size_t i = 0; i < s->n_sites; i++) {
        const struct rmd_site_stop_view *x = &s->site[i];
        json_array_append_new(sites, json_pack("{s:s, s:s, s:o, s:I}", "domain", x->domain, "state",
                                               rmd_lane_state_name(x->state), "until",
                                               rmd_json_time(x->until_wall_ms), "incident", (json_int_t)x->incident));
    }
    return sites;
}

static void add_source(void *ctx, const struct rmd_source_view *s) {
    struct view *v = ctx;
    const Remuda__SourceRecord *c = s->record;
    if (v->only && strcmp(v->only, c->address) != 0)
        return;
    json_t *pools = json_array(), *lanes = json_array();
    for (size_t i = 0; i < c->n_pool; i++)
        json_array_append_new(pools, json_string(c->pool[i]));
    for (size_t i = 0; i < s->n_lanes; i++)
        json_array_append_new(lanes, lane_json(&s->lane[i]));
    json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:o, s:s, s:o, s:o, s:s}", "id", (int)c->id,
                          "address", c->address, "bind", c->bind, "helo", c->helo, "node", s->node_name,
                          "node_connected", s->node_connected, "network", s->network, "label", c->label, "pools",
                          pools, "state", rmd_source_state_name(c->state), "reason", rmd_json_text(c->reason),
                          "trouble", rmd_json_text(s->trouble), "lane_state", rmd_lane_state_name(s->state));
    json_object_set_new(o, "cap_per_day", json_integer((json_int_t)s->cap));
    json_object_set_new(o, "lane_cap_per_day", json_integer((json_int_t)c->lane_cap_per_day));
    json_object_set_new(o, "lane_cap_in_force", json_integer((json_int_t)s->lane_cap));
    json_t *caps = json_object();
    for (size_t i = 0; i < c->n_lane_cap; i++)
        json_object_set_new(caps, c->lane_cap[i]->provider, json_integer((json_int_t)c->lane_cap[i]->per_day));
    json_object_set_new(o, "lane_caps", caps);
    json_object_set_new(o, "outstanding", json_integer((json_int_t)s->outstanding));
    json_object_set_new(o, "used_24h", json_integer((json_int_t)s->used_24h));
    json_object_set_new(o, "delivered", json_integer((json_int_t)s->delivered));
    json_object_set_new(o, "deferred", json_integer((json_int_t)s->deferred));
    json_object_set_new(o, "bounced", json_integer((json_int_t)s->bounced));
    json_object_set_new(o, "warmup", json_string(c->warmup));
    json_object_set_new(o, "warm_as", json_integer((json_int_t)c->warm_as));
    json_object_set_new(o, "warm_since", rmd_json_time(c->warm_since_wall_ms));
    json_object_set_new(o, "reputation", json_integer(s->reputation));
    json_object_set_new(o, "reputation_band", json_string(s->reputation_band));
    json_object_set_new(o, "little_evidence", json_boolean(s->few));
    json_object_set_new(o, "lanes", lanes);
    json_object_set_new(o, "stopped_sites", sites_json(s));
    if (v->only)
        json_object_set_new(o, "listings", rmd_json_listings_of(v->core, c->id));
    if (v->only)
        json_object_set_new(o, "reputations", rmd_json_reputation_of(v->core, c->address));
    json_array_append_new(v->list, o);
}

static void build_sources(struct view *v) {
    rmd_coord_sources(v->core, add_source, v);
}

void rmd_api_sources(struct rmd_api_request *r) {
    list_view(r, "sources", build_sources);
}

void rmd_api_source(struct rmd_api_request *r) {
    struct view v = {.r = r, .only = r->segment[1]};
    single_view(&v, build_sources, "source", r->segment[1]);
}

static void add_node(void *ctx, const struct rmd_node_view *n) {
    struct view *v = ctx;
    char key[41] = "";
    if (n->record->public_key.len == RMD_KEY_BYTES)
        rmd_curve_format(n->record->public_key.data, key);
    json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "id", (int)n->record->id, "name",
                          n->record->name, "key", key, "state", n->record->state ? "revoked" : "enrolled",
                          "connected", n->connected, "hostname", rmd_json_text(n->hostname), "software",
                          rmd_json_text(n->software), "trouble", rmd_json_text(n->trouble));
    json_object_set_new(o, "last_heard_ms",
                        n->last_heard_ms_ago < 0 ? json_null() : json_integer(n->last_heard_ms_ago));
    json_object_set_new(o, "leases", json_integer(n->leases));
    json_object_set_new(o, "messages_leased", json_integer((json_int_t)n->messages_leased));
    json_object_set_new(o, "in_doubt", json_integer((json_int_t)n->in_doubt));
    json_object_set_new(o, "connections", json_integer(n->connections));
    json_object_set_new(o, "connection_limit", json_integer(n->connection_limit));
    json_object_set_new(o, "workers", json_integer(n->workers));
    json_object_set_new(o, "waiting", json_integer(n->waiting));
    json_object_set_new(o, "malformed_from", json_integer((json_int_t)n->malformed_from));
    json_object_set_new(o, "malformed_at", json_integer((json_int_t)n->malformed_at));
    json_array_append_new(v->list, o);
}

static void build_nodes(struct view *v) {
    rmd_coord_nodes(v->core, add_node, v);
}

void rmd_api_nodes(struct rmd_api_request *r) {
    list_view(r, "nodes", build_nodes);
}

/* ---- queue and incidents */

static void add_queue(void *ctx, const struct rmd_queue_view *q) {
    struct view *v = ctx;
    json_array_append_new(v->list,
                          json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:s}", "provider", q->provider, "stream",
                                    q->stream, "queued", (json_int_t)q->queued, "leased", (json_int_t)q->leased,
                                    "deferred", (json_int_t)q->deferred, "next_attempt",
                                    rmd_json_time(q->next_attempt_wall_ms), "waits_for", q->waits_for));
}

static void build_queue(struct view *v) {
    struct rmd_status_view s;
    rmd_coord_queues(v->core, add_queue, v);
    rmd_coord_status(v->core, &s);
    v->r->out = json_pack("{s:O, s:I, s:I, s:I}", "queues", v->list, "unsorted", (json_int_t)s.unsorted,
                          "unsorted_paused", (json_int_t)s.unsorted_paused, "in_doubt", (json_int_t)s.in_doubt);
    json_object_set_new(v->r->out, "unsorted_later", json_integer((json_int_t)s.unsorted_later));
}

void rmd_api_queue(struct rmd_api_request *r) {
    struct view v = {.r = r, .list = json_array(), .build = build_queue};
    (void)run_view(&v);
    json_decref(v.list);
}

/* How its work moves, what happened, and what a person needs. */
static void add_moving(struct view *v, json_t *o, const Remuda__IncidentRecord *i) {
    static const char *const phase[] = {"", "canary", "growing", "ended", "never"};
    json_t *moved = json_object(), *line = json_array();
    for (size_t k = 0; k < i->n_moved_to; k++)
        json_object_set_new(moved, i->moved_to[k],
                            k < i->n_moved_n ? json_integer((json_int_t)i->moved_n[k]) : json_null());
    for (size_t k = 0; k < i->n_line; k++)
        json_array_append_new(line, json_pack("{s:o, s:o}", "at", rmd_json_time(i->line[k]->wall_ms), "text",
                                              rmd_json_text(i->line[k]->text)));
    json_object_set_new(o, "moved_by_source", moved);
    json_object_set_new(o, "timeline", line);
    json_object_set_new(o, "moving", json_string(i->moving < sizeof phase / sizeof phase[0] ? phase[i->moving] : ""));
    json_object_set_new(o, "canary_used", json_integer((json_int_t)i->canary_used));
    json_object_set_new(o, "waits_for", json_string(rmd_coord_incident_waits_for(v->core, i)));
    json_object_set_new(o, "needs_person", json_boolean(i->human && !i->state));
    json_object_set_new(o, "removal", rmd_json_text(i->removal));
    json_object_set_new(o, "site", rmd_json_text(i->site_name));
    json_object_set_new(o, "ticket", rmd_json_text(i->ticket));
}

/* Every source that it is about. */
static void add_sources(struct view *v, json_t *o, const Remuda__IncidentRecord *i) {
    json_t *sources = json_array();
    if (!i->n_member && i->source)
        json_array_append_new(sources, json_pack("{s:s}", "address", rmd_coord_source_address(v->core, i->source)));
    for (size_t k = 0; k < i->n_member; k++) {
        struct rmd_member_view m;
        rmd_coord_incident_member(v->core, i, k, &m);
        json_array_append_new(sources,
                              json_pack("{s:s, s:o, s:s, s:o, s:o, s:I}", "address", m.address, "since",
                                        rmd_json_time(m.since_wall_ms), "state", rmd_lane_state_name(m.state),
                                        "until", rmd_json_time(m.until_wall_ms), "over",
                                        rmd_json_time(m.over_wall_ms), "came_back", (json_int_t)m.came_back));
    }
    json_object_set_new(o, "sources", sources);
    json_object_set_new(o, "more_sources", json_integer((json_int_t)i->more_members));
}

static void add_incident(void *ctx, const Remuda__IncidentRecord *i) {
    struct view *v = ctx;
    if (i->state && !v->only)
        return;
    char scope[128];
    json_t *moved_to = json_array();
    for (size_t k = 0; k < i->n_moved_to; k++)
        json_array_append_new(moved_to, json_string(i->moved_to[k]));
    json_t *o = json_pack("{s:I, s:s, s:o, s:s, s:s, s:s, s:o}", "id", (json_int_t)i->id, "state",
                          i->state ? "resolved" : "open", "title", rmd_json_text(i->title), "class",
                          rmd_class_name(i->class_), "scope", rmd_scope_format(i->scope, scope, sizeof scope),
                          "source", rmd_coord_source_address(v->core, i->source), "cause", rmd_json_text(i->cause));
    json_object_set_new(o, "provider", json_string(rmd_coord_provider_name(v->core, i->provider)));
    json_object_set_new(o, "opened", rmd_json_time(i->opened_wall_ms));
    json_object_set_new(o, "read", rmd_json_time(i->read_wall_ms));
    json_object_set_new(o, "quarantined", rmd_json_time(i->quarantined_wall_ms));
    json_object_set_new(o, "redealt", rmd_json_time(i->redealt_wall_ms));
    json_object_set_new(o, "resolved", rmd_json_time(i->resolved_wall_ms));
    json_object_set_new(o, "detect_ms", i->detect_us < 0 ? json_null() : json_real((double)i->detect_us / 1000));
    json_object_set_new(o, "redeal_ms", i->redealt_wall_ms ? json_real((double)i->redeal_us / 1000) : json_null());
    json_object_set_new(o, "moved", json_integer((json_int_t)i->moved));
    json_object_set_new(o, "moved_to", moved_to);
    add_moving(v, o, i);
    add_sources(v, o, i);
    json_object_set_new(o, "waiting", json_integer((json_int_t)i->waiting));
    json_object_set_new(o, "waiting_most", json_integer((json_int_t)i->waiting_most));
    json_object_set_new(o, "lapses", rmd_json_time(rmd_coord_incident_lapses(v->core, i->id)));
    json_object_set_new(o, "next_step", rmd_json_text(i->next_step));
    json_object_set_new(o, "resolution", rmd_json_text(i->resolution));
    json_object_set_new(o, "subject", rmd_json_text(i->subject));
    if (i->surge_wall_ms)
        json_object_set_new(o, "surge",
                            json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "since",
                                      rmd_json_time(i->surge_wall_ms), "over", rmd_json_time(i->surge_over_wall_ms),
                                      "denied", (json_int_t)i->denied, "answered", (json_int_t)i->answered, "pending",
                                      (json_int_t)i->pending, "undone", (json_int_t)i->undone, "confirmed",
                                      (json_int_t)i->confirmed, "not_kept", (json_int_t)i->not_kept));
    json_array_append_new(v->list, o);
}

static void build_incidents(struct view *v) {
    v->only = rmd_api_query(v->r, "all");
    rmd_coord_incidents(v->core, add_incident, v);
}

void rmd_api_incidents(struct rmd_api_request *r) {
    list_view(r, "incidents", build_incidents);
}
