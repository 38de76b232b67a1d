/* GET /v1/explain: what became of a recipient or a message, why, and what it waits for.
 *
 * History tells what happened (found by the address's index). What is still open is found in the chunks: an address
 * lies in the group of its domain or in one bucket of the tail, so two ranges a campaign are read, with a bound on
 * their rows. */
#include <base/text.h>

#include "coordinator/core/intake.h"
#include "coordinator/core/keys.h"
#include "coordinator/io/api_request.h"
#include "proto/io/idn.h"

enum {
    EVENTS_MAX = 200,
    CAMPAIGNS_MAX = 20000, /* unfinished ones */
    CHUNKS_MAX = 2000,
    MATCHES_MAX = 50,
    UNRESOLVED_MAX = 100000, /* keys read to find a recipient whose domain has no answer from DNS */
    UNRESOLVED = 0,          /* the provider of these */
};

struct campaign {
    struct rmd_id id;
    uint32_t stream, state;
    const char *reason;
    bool engaged;
};

struct search {
    struct rmd_api_request *r;
    const char *address, *domain;
    uint64_t hash;
    const struct rmd_id *message;
    struct campaign *campaign;
    size_t n_campaigns;
    const struct campaign *now; /* the one whose chunks are being read */
    json_t *matches;
    uint32_t provider;
    struct rmd_buf lines;
    json_t *suppressed; /* names of streams; "" for all */
    struct rmd_leased_view leased;
    struct rmd_id id; /* of the match that is being explained */
    int64_t not_before_wall_ms;
    bool found, truncated;
};

/* ---- history */

static json_t *match_of(struct search *s, const struct rmd_id *message) {
    char text[27];
    size_t i;
    json_t *m;
    rmd_id_format(message, text);
    json_array_foreach(s->matches, i,
                       m) if (strcmp(json_string_value(json_object_get(m, "message")), text) == 0) return m;
    if (json_array_size(s->matches) == MATCHES_MAX) { /* the newest say most */
        json_array_remove(s->matches, 0);
        s->truncated = true;
    }
    struct rmd_id campaign = rmd_id_campaign(message);
    char campaign_text[27];
    rmd_id_format(&campaign, campaign_text);
    m = json_pack("{s:s, s:s, s:s, s:s, s:i, s:n, s:[], s:[]}", "message", text, "campaign", campaign_text,
                  "recipient", s->address ? s->address : "", "state", "queued", "attempts", 0, "not_before", "lines",
                  "events");
    json_array_append_new(s->matches, m);
    return m;
}

static bool is_final(const char *type) {
    static const char *const final[] = {"delivered", "bounced", "suppressed", "expired", "cancelled", "held"};
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++)
        if (strcmp(type, final[i]) == 0)
            return true;
    return false;
}

static bool on_event(void *ctx, const Remuda__EventRecord *e) {
    struct search *s = ctx;
    struct rmd_id id;
    if (e->message.len != sizeof id.b)
        return true;
    memcpy(id.b, e->message.data, sizeof id.b);
    json_t *m = match_of(s, &id);
    if (!m)
        return false;
    if (*e->recipient)
        json_object_set_new(m, "recipient", rmd_json_text(e->recipient));
    if (is_final(e->type) || strcmp(e->type, "deferred") == 0 || strcmp(e->type, "uncertain") == 0 ||
        strcmp(e->type, "in-doubt") == 0)
        json_object_set_new(m, "state", json_string(e->type));
    if (strcmp(e->type, "returned") == 0)
        json_object_set_new(m, "state", json_string("queued"));
    if (e->attempt)
        json_object_set_new(m, "attempts", json_integer(e->attempt));
    json_object_set_new(m, "not_before", rmd_json_time(e->not_before_wall_ms));
    json_array_append_new(json_object_get(m, "events"), rmd_json_event(s->r->http, e));
    return true;
}

/* ---- chunks of running campaigns */

static bool on_chunk(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)key;
    struct search *s = ctx;
    struct rmd_arena arena = {0};
    const Remuda__Chunk *c = rmd_pb_decode(&remuda__chunk__descriptor, value, &arena);
    for (size_t i = 0; c && i < c->n_address_hash && i < c->n_row; i++) {
        if (c->address_hash[i] != s->hash)
            continue;
        const Remuda__Row *row =
            rmd_pb_decode(&remuda__row__descriptor, rmd_slice(c->row[i].data, c->row[i].len), &arena);
        if (!row)
            continue;
        struct rmd_id id = rmd_id_row(&s->now->id, row->ordinal);
        json_t *m = match_of(s, &id);
        if (m)
            json_object_set_new(m, "recipient", rmd_json_text(row->email));
    }
    rmd_arena_release(&arena);
    return true;
}

static void scan_group(struct search *s, uint32_t group) {
    struct rmd_chunk_ref from = {.campaign = s->now->id, .group = group},
                         to = {.campaign = s->now->id, .group = group, .seq = UINT32_MAX};
    struct rmd_key a = rmd_key_chunk(s->r->http->o.tenant, &from), b = rmd_key_chunk(s->r->http->o.tenant, &to);
    struct rmd_scan scan = {.from = rmd_key_slice(&a), .to = rmd_key_slice(&b), .limit = CHUNKS_MAX};
    const struct rmd_store *st = rmd_shell_store(s->r->http->o.shell);
    (void)!st->ops->scan(st->s, &scan, on_chunk, s);
}

static void find_in_chunks(struct search *s) {
    uint32_t hash = rmd_fnv32(rmd_slice_str(s->domain));
    for (size_t i = 0; i < s->n_campaigns; i++) {
        s->now = &s->campaign[i];
        bool engaged = s->now->engaged;
        for (unsigned class = 0; class < (engaged ? RMD_ENGAGEMENT_CLASSES : 1); class ++) {
            scan_group(s, rmd_group_of(engaged, class, false, hash));
            scan_group(s, rmd_group_of(engaged, class, true, hash));
        }
    }
}

/* ---- what the core knows */

static void add_campaign(void *ctx, const struct rmd_campaign_view *v) {
    struct search *s = ctx;
    if (v->record->finished_wall_ms || v->record->id.len != sizeof s->campaign[0].id.b)
        return; /* history alone tells of finished ones */
    s->truncated |= s->n_campaigns == CAMPAIGNS_MAX;
    if (s->n_campaigns == CAMPAIGNS_MAX)
        return;
    struct campaign *c = &s->campaign[s->n_campaigns++];
    memcpy(c->id.b, v->record->id.data, sizeof c->id.b);
    c->stream = v->record->stream;
    c->state = v->record->state;
    c->reason = rmd_arena_str(&s->r->arena, rmd_slice_str(v->record->reason));
    c->engaged = v->record->engagement;
}

struct streams {
    struct search *s;
    struct rmd_coord *core;
};

static void add_suppressed(void *ctx, const Remuda__StreamRecord *t) {
    struct streams *x = ctx;
    uint32_t tenant = x->s->r->http->o.tenant;
    if (t->tenant == tenant && rmd_coord_suppressed(x->core, tenant, t->id, rmd_slice_str(x->s->address)))
        json_array_append_new(x->s->suppressed, json_string(t->name));
}

static void look_at_core(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct search *s = ctx;
    rmd_coord_campaigns(core, add_campaign, s);
    if (!s->domain)
        return;
    s->provider = rmd_coord_domain_provider(core, s->domain);
    s->r->out = json_pack("{s:s}", "provider", rmd_coord_provider_name(core, s->provider));
    if (rmd_coord_suppressed(core, s->r->http->o.tenant, 0, rmd_slice_str(s->address)))
        json_array_append_new(s->suppressed, json_string(""));
    else
        rmd_coord_streams(core, add_suppressed, &(struct streams){s, core});
}

static void say_leased(struct search *s) {
    const struct rmd_leased_view *l = &s->leased;
    char at[32], left[32];
    rmd_date_rfc3339(l->granted_wall_ms, at);
    rmd_buf_addf(&s->lines, "%s node %s since %s, to be sent from %s to %s (lease %llu)\n",
                 l->in_doubt ? "in doubt at" : "with", l->node, at, l->source, l->provider,
                 (unsigned long long)l->lease);
    rmd_format_duration(l->valid_ms, left);
    if (l->in_doubt)
        rmd_buf_addf(&s->lines,
                     "node %s has not told what became of it; it waits for the node, for the stream's "
                     "node_return_wait, or for `remuda node forget %s`\n",
                     l->node, l->node);
    else if (l->connects_per_minute)
        rmd_buf_addf(
            &s->lines,
            "it waits for connects_per_minute of %s: %u new connections a minute from %s (the providers' file)\n",
            l->provider, l->connects_per_minute, l->source);
    else if (!l->connected)
        rmd_buf_addf(&s->lines, "node %s is away: the lease is over in %s, unless it returns\n", l->node, left);
}

/* The lines that say where an open message is or why it waits. */
static void explain_open(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct search *s = ctx;
    char id[27];
    rmd_buf_clear(&s->lines);
    rmd_id_format(&s->now->id, id);
    if (s->now->state == RMD_CAMPAIGN_PAUSED)
        rmd_buf_addf(&s->lines, "its campaign is paused%s%s; `remuda campaign resume %s` goes on\n",
                     *s->now->reason ? ": " : "", s->now->reason, id);
    s->found = rmd_coord_find_leased(core, &s->id, &s->leased);
    if (s->found)
        say_leased(s);
    else
        rmd_coord_explain(core, s->r->http->o.tenant, s->now->stream, &s->now->id, s->domain, &s->lines);
}

/* A recipient that was never tried, because DNS gives no answer, has no event: its key tells when it is next. */
static bool on_unresolved(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)value;
    struct search *s = ctx;
    if (key.n < sizeof s->id.b + 8 || memcmp(key.p + key.n - sizeof s->id.b, s->id.b, sizeof s->id.b) != 0)
        return true;
    s->not_before_wall_ms = (int64_t)rmd_get_be64(key.p + key.n - sizeof s->id.b - 8);
    return false;
}

static void find_unresolved(struct search *s) {
    struct rmd_key from = rmd_key_deferred_of(s->r->http->o.tenant, UNRESOLVED, s->now->stream, 0),
                   to = rmd_key_after(&from);
    struct rmd_scan scan = {
        .from = rmd_key_slice(&from), .to = rmd_key_slice(&to), .limit = UNRESOLVED_MAX, .keys_only = true};
    const struct rmd_store *st = rmd_shell_store(s->r->http->o.shell);
    s->not_before_wall_ms = 0;
    (void)!st->ops->scan(st->s, &scan, on_unresolved, s);
}

static void add_lines(json_t *m, const struct rmd_buf *text) {
    json_t *list = json_object_get(m, "lines");
    for (const char *p = rmd_buf_str(text); *p;) {
        size_t n = strcspn(p, "\n");
        if (n)
            json_array_append_new(list, json_stringn(p, n));
        p += n + (p[n] == '\n');
    }
}

static void set_state(struct search *s, json_t *m) {
    const char *known = json_string_value(json_object_get(m, "state"));
    const struct rmd_leased_view *l = &s->leased;
    json_object_set_new(m, "campaign_state", json_string(rmd_campaign_state_name(s->now->state)));
    if (s->found) {
        json_object_set_new(m, "state", json_string(l->in_doubt ? "in-doubt" : "leased"));
        json_object_set_new(m, "not_before", json_null());
        json_object_set_new(m, "lease",
                            json_pack("{s:I, s:s, s:s, s:b, s:o}", "id", (json_int_t)l->lease, "node", l->node,
                                      "source", l->source, "connected", l->connected, "granted",
                                      rmd_json_time(l->granted_wall_ms)));
        return;
    }
    if (strcmp(known, "queued") != 0)
        return;
    find_unresolved(s);
    if (!s->not_before_wall_ms)
        return;
    json_object_set_new(m, "state", json_string("deferred"));
    json_object_set_new(m, "not_before", rmd_json_time(s->not_before_wall_ms));
}

static int explain_match(struct search *s, json_t *m) {
    struct rmd_id campaign;
    if (is_final(json_string_value(json_object_get(m, "state"))) ||
        rmd_id_parse(rmd_slice_str(json_string_value(json_object_get(m, "message"))), &s->id) < 0)
        return RMD_OK;
    campaign = rmd_id_campaign(&s->id);
    s->now = NULL;
    for (size_t k = 0; k < s->n_campaigns; k++)
        if (rmd_id_eq(&s->campaign[k].id, &campaign))
            s->now = &s->campaign[k];
    if (!s->now)
        return RMD_OK;
    int rc = rmd_shell_call(s->r->http->o.shell, explain_open, s);
    if (rc == RMD_OK) {
        set_state(s, m);
        add_lines(m, &s->lines);
    }
    return rc;
}

/* ---- the request */

static bool parse_request(struct rmd_api_request *r, struct search *s, struct rmd_id *message) {
    const char *address = rmd_api_query(r, "address"), *id = rmd_api_query(r, "message");
    char ascii[256];
    if (!address == !id) {
        rmd_api_fail(r, 400, RMD_EINVAL, "address or message is needed, one of them");
        return false;
    }
    if (id) {
        s->message = message;
        if (rmd_message_parse(rmd_slice_str(id), message) == RMD_OK)
            return true;
        rmd_api_fail(
            r, 400, RMD_EINVAL,
            "message: \"%s\" is neither an id of 26 characters nor a Message-ID or envelope sender of Remuda", id);
        return false;
    }
    struct rmd_slice all = rmd_trim(rmd_slice_str(address)), domain = rmd_address_domain(all);
    const char *why = domain.n ? rmd_idn_to_ascii(NULL, domain, ascii) : "there is no @ with a domain behind it";
    if (why) {
        rmd_api_fail(r, 400, RMD_EINVAL, "address: \"%s\": %s", address, why);
        return false;
    }
    s->domain = rmd_arena_str(&r->arena, rmd_slice_str(ascii));
    s->address = rmd_arena_printf(&r->arena, "%.*s%s", (int)(all.n - domain.n), (const char *)all.p, ascii);
    s->hash = rmd_address_hash(r->http->o.tenant, rmd_slice_str(s->address));
    return true;
}

void rmd_api_explain(struct rmd_api_request *r) {
    struct rmd_id message;
    struct search s = {.r = r};
    if (!parse_request(r, &s, &message))
        return;
    s.matches = json_array();
    s.suppressed = json_array();
    s.campaign = rmd_arena_alloc(&r->arena, CAMPAIGNS_MAX * sizeof *s.campaign);
    struct rmd_history_filter f = {.address_hash = s.hash, .message = s.message};
    struct rmd_history *history = rmd_shell_history(r->http->o.shell);
    f.after = rmd_history_back(history, &f, EVENTS_MAX);
    s.truncated = f.after > 0;
    rmd_history_read(history, &f, EVENTS_MAX, on_event, &s);
    if (!s.domain && json_array_size(s.matches)) {
        const char *to = json_string_value(json_object_get(json_array_get(s.matches, 0), "recipient"));
        s.address = rmd_arena_str(&r->arena, rmd_slice_str(to));
        s.domain = rmd_arena_str(&r->arena, rmd_address_domain(rmd_slice_str(to)));
        s.hash = 0;
    }
    int rc = rmd_shell_call(r->http->o.shell, look_at_core, &s);
    if (rc == RMD_OK && s.domain && s.hash)
        find_in_chunks(&s);
    json_t *m;
    size_t i;
    json_array_foreach(s.matches, i, m) if (rc == RMD_OK && s.domain) rc = explain_match(&s, m);
    if (!r->out)
        r->out = json_pack("{s:s}", "provider", "");
    json_object_set_new(r->out, "suppressed", json_boolean(json_array_size(s.suppressed)));
    json_object_set_new(r->out, "suppressed_streams", s.suppressed);
    json_object_set_new(r->out, "matches", s.matches);
    json_object_set_new(r->out, "truncated", json_boolean(s.truncated));
    if (rc < 0)
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
    rmd_buf_release(&s.lines);
}
