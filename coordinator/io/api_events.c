/* GET /v1/events: history as one JSON object a line, with following. Names of sources, providers, nodes and streams
 * are looked up once a batch. */
#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "proto/tls.h"

enum { EVENTS_A_READ = 500, FOLLOW_WAIT_MS = 1000 };

/* Every type that there is: a filter for another one would wait for ever. */
static const char *const types[] = {
    "delivered",
    "deferred",
    "bounced",
    "suppressed",
    "expired",
    "held",
    "cancelled",
    "uncertain",
    "in-doubt",
    "returned",
    "campaign.accepted",
    "campaign.active",
    "campaign.paused",
    "campaign.stopped",
    "campaign.resting",
    "campaign.reopened",
    "sender.resting",
    "sender.probing",
    "sender.opened",
    "sender.paused",
    "campaign.done",
    "campaign.cancelled",
    "campaign.loading",
    "campaign.scheduled",
    "campaign.started",
    "listing.found",
    "listing.worse",
    "listing.removed",
    "listing.removal_asked",
    "network.listed",
    "list.set_aside",
    "list.trusted",
    "incident.opened",
    "incident.joined",
    "incident.resolved",
    "incident.canary",
    "incident.growing",
    "incident.moving_ended",
    "incident.ticket",
    "incident.surge_over",
    "incident.undone",
    "lease.granted",
    "lease.expired",
    "node.enrolled",
    "node.connected",
    "node.lost",
    "node.refused",
    "node.revoked",
    "source.added",
    "source.changed",
    "source.active",
    "source.paused",
    "source.retiring",
    "source.retired",
    "source.opened",
    "source.probing",
    "source.resting",
    "source.quarantined",
    "source.site_opened",
    "source.site_probing",
    "source.site_stopped",
    "source.trouble",
    "source.mended",
    "source.registered",
    "source.unregistered",
    "stream.active",
    "stream.paused",
    "suppression.added",
    "suppression.removed",
    "tls.downgraded",
    "tls.failed",
    "warmup.advanced",
    "warmup.held",
    "warmup.back",
    "warmup.warm",
    "warmup.restarted",
    "warmup.paused",
    "warmup.resumed",
    "warmup.set",
    "warmup.complaints",
    "reputation.good",
    "reputation.fair",
    "reputation.poor",
};

static void set_text(json_t *o, const char *key, const char *s) {
    if (s && *s)
        json_object_set_new(o, key, rmd_json_text(s));
}

static void set_int(json_t *o, const char *key, int64_t v) {
    if (v)
        json_object_set_new(o, key, json_integer(v));
}

static void set_reply(json_t *o, const Remuda__Reply *p) {
    char text[RMD_REPLY_TEXT_MAX + 1];
    set_int(o, "code", p->code);
    set_text(o, "enhanced", p->enhanced);
    rmd_copy_slice(text, sizeof text, rmd_slice(p->text.data, p->text.len));
    set_text(o, "reply", text);
    if (p->stage)
        json_object_set_new(o, "stage", json_string(rmd_stage_name(p->stage)));
    set_text(o, "mx", p->mx_host);
    set_text(o, "mx_address", p->mx_addr);
}

static void set_verdict(json_t *o, const Remuda__Verdict *v) {
    char scope[128];
    json_object_set_new(o, "class", json_string(rmd_class_name(v->class_)));
    set_text(o, "scope", rmd_scope_format(v->scope, scope, sizeof scope));
    json_object_set_new(o, "action", json_string(rmd_action_name(v->action)));
    set_text(o, "rule", v->rule);
}

static void set_tls(json_t *o, const Remuda__EventRecord *e) {
    char text[64];
    json_object_set_new(o, "tls", json_true());
    if (!e->tls_suite)
        return;
    rmd_tls_suite_format(e->tls_suite, text);
    set_text(o, "tls_session", text);
    set_text(o, "tls_verified", rmd_tls_verified_name(e->tls_verified));
}

struct names {
    const Remuda__EventRecord *e;
    json_t *o;
    struct rmd_id campaign; /* of an event about a campaign, and not about one of its messages */
    bool has_campaign;
};

static struct names names_of(const Remuda__EventRecord *e, json_t *o) {
    struct names n = {.e = e, .o = o};
    n.has_campaign = !e->message.len && e->campaign.len == sizeof n.campaign.b;
    if (n.has_campaign)
        memcpy(n.campaign.b, e->campaign.data, sizeof n.campaign.b);
    return n;
}

static void set_names(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct names *n = ctx;
    set_text(n->o, "source", rmd_coord_source_address(core, n->e->source));
    set_text(n->o, "provider", rmd_coord_provider_name(core, n->e->provider));
    set_text(n->o, "node", rmd_coord_node_name(core, n->e->node));
    set_text(n->o, "stream", rmd_coord_stream_name(core, n->e->stream));
    if (n->has_campaign)
        set_text(n->o, "campaign_name", rmd_coord_campaign_name(core, &n->campaign));
}

static json_t *event_json(const Remuda__EventRecord *e) {
    json_t *o =
        json_pack("{s:I, s:o, s:s}", "seq", (json_int_t)e->seq, "at", rmd_json_time(e->wall_ms), "type", e->type);
    if (e->message.len)
        json_object_set_new(o, "message", rmd_json_id(&e->message));
    if (e->campaign.len)
        json_object_set_new(o, "campaign", rmd_json_id(&e->campaign));
    set_text(o, "recipient", e->recipient);
    if (e->reply)
        set_reply(o, e->reply);
    if (e->verdict)
        set_verdict(o, e->verdict);
    set_text(o, "text", e->text);
    set_int(o, "attempt", e->attempt);
    if (e->not_before_wall_ms)
        json_object_set_new(o, "not_before", rmd_json_time(e->not_before_wall_ms));
    set_int(o, "took_ms", e->took_ms);
    if (e->tls)
        set_tls(o, e);
    set_int(o, "incident", (int64_t)e->incident);
    set_int(o, "lease", (int64_t)e->lease);
    return o;
}

json_t *rmd_json_event(struct rmd_http *h, const Remuda__EventRecord *e) {
    struct names n = names_of(e, event_json(e));
    if (e->source || e->provider || e->node || e->stream || n.has_campaign)
        if (rmd_shell_call(h->o.shell, set_names, &n) < 0)
            json_object_set_new(n.o, "stopping", json_true());
    return n.o;
}

/* ---- streaming */

/* A reader between two pieces of the answer. */
struct follower {
    struct rmd_http *http;
    struct rmd_history_filter filter;
    struct rmd_id campaign, message;
    char *type;
    uint64_t left;
    bool follow;
    struct rmd_buf text;    /* lines that were not sent yet */
    json_t **batch;         /* events of one read, before their names are looked up */
    Remuda__EventRecord *e; /* their numbers of source, provider, node, stream */
    struct names *names;
    size_t n;
};

static bool take(void *ctx, const Remuda__EventRecord *e) {
    struct follower *f = ctx;
    f->e[f->n] = *e; /* only its numbers are used later */
    f->batch[f->n] = event_json(e);
    f->names[f->n] = names_of(e, f->batch[f->n]);
    f->names[f->n].e = &f->e[f->n];
    f->n++;
    return f->n < EVENTS_A_READ;
}

static void name_batch(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    struct follower *f = ctx;
    for (size_t i = 0; i < f->n; i++)
        set_names(&f->names[i], core, now);
}

static void read_more(struct follower *f) {
    struct rmd_history *h = rmd_shell_history(f->http->o.shell);
    uint64_t limit = f->left < EVENTS_A_READ ? f->left : EVENTS_A_READ;
    f->n = 0;
    f->filter.after = rmd_history_read(h, &f->filter, limit, take, f);
    if (f->n && rmd_shell_call(f->http->o.shell, name_batch, f) < 0)
        f->follow = false;
    for (size_t i = 0; i < f->n; i++) {
        char *line = json_dumps(f->batch[i], JSON_COMPACT);
        rmd_buf_addstr(&f->text, line ? line : "{}");
        rmd_buf_addc(&f->text, '\n');
        free(line);
        json_decref(f->batch[i]);
    }
    f->left -= f->n;
}

static ssize_t more_text(void *cls, uint64_t pos, char *buf, size_t max) {
    (void)pos;
    struct follower *f = cls;
    while (f->text.len == 0) {
        if (f->left == 0 || atomic_load(&f->http->closing))
            return MHD_CONTENT_READER_END_OF_STREAM;
        uint64_t before = f->filter.after;
        read_more(f);
        if (f->text.len || f->filter.after != before)
            continue;
        if (!f->follow)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (!rmd_history_wait(rmd_shell_history(f->http->o.shell), f->filter.after, FOLLOW_WAIT_MS))
            rmd_buf_addc(&f->text, '\n'); /* an empty line now and then finds out whether the reader is still there */
    }
    size_t n = f->text.len < max ? f->text.len : max;
    memcpy(buf, f->text.p, n);
    rmd_buf_consume(&f->text, n);
    return (ssize_t)n;
}

static void end_follower(void *cls) {
    struct follower *f = cls;
    rmd_buf_release(&f->text);
    free(f->batch);
    free(f->e);
    free(f->names);
    free(f->type);
    free(f);
}

/* "17": behind event 17; "-20": the last 20; absent: from the beginning. */
static bool parse_after(struct rmd_api_request *r, struct follower *f) {
    const char *after = rmd_api_query(r, "after"), *limit = rmd_api_query(r, "limit");
    uint64_t n = 0, last = rmd_history_last(rmd_shell_history(r->http->o.shell));
    bool back = after && after[0] == '-';
    if ((after && rmd_parse_u64(rmd_slice_str(after + back), &n) < 0) ||
        (limit && rmd_parse_u64(rmd_slice_str(limit), &f->left) < 0)) {
        rmd_api_fail(r, 400, RMD_EINVAL, "after and limit must be whole numbers");
        return false;
    }
    f->filter.after = back ? (last > n ? last - n : 0) : n;
    return true;
}

/* last=N: what the filters let through, the last N of it. */
static bool parse_last(struct rmd_api_request *r, struct follower *f) {
    const char *last = rmd_api_query(r, "last");
    uint64_t n;
    if (!last)
        return true;
    if (rmd_parse_u64(rmd_slice_str(last), &n) < 0 || n > RMD_HISTORY_BACK_MAX) {
        rmd_api_fail(r, 400, RMD_EINVAL, "last must be a whole number, at most %d", RMD_HISTORY_BACK_MAX);
        return false;
    }
    struct rmd_history *h = rmd_shell_history(r->http->o.shell);
    f->filter.after = n ? rmd_history_back(h, &f->filter, n) : rmd_history_last(h);
    return true;
}

/* A type, or a family of them with the dot at its end. */
static bool check_type(struct rmd_api_request *r, const char *type) {
    struct rmd_buf known = {0};
    size_t n = type ? strlen(type) : 0;
    bool family = n && type[n - 1] == '.', found = !type;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        found = found || (family ? strncmp(types[i], type, n) : strcmp(types[i], type)) == 0;
        rmd_buf_addf(&known, "%s%s", i ? ", " : "", types[i]);
    }
    if (!found)
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "type: there are no events \"%s\"; a type, or a family like \"incident.\", is one of: %s", type,
                     rmd_buf_str(&known));
    rmd_buf_release(&known);
    return found;
}

static bool parse_id(struct rmd_api_request *r, const char *key, struct rmd_id *id, const struct rmd_id **out) {
    const char *s = rmd_api_query(r, key);
    if (s && rmd_id_parse(rmd_slice_str(s), id) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%s: \"%s\" is not an id of 26 characters", key, s);
        return false;
    }
    *out = s ? id : NULL;
    return true;
}

void rmd_api_events(struct rmd_api_request *r) {
    struct follower *f = rmd_alloc(sizeof *f);
    const char *type = rmd_api_query(r, "type"), *recipient = rmd_api_query(r, "recipient"),
               *follow = rmd_api_query(r, "follow");
    f->http = r->http;
    f->left = UINT64_MAX;
    f->follow = follow && strcmp(follow, "0") != 0;
    f->filter.type = f->type = type ? rmd_strdup(type) : NULL;
    f->filter.address_hash = recipient ? rmd_address_hash(r->http->o.tenant, rmd_slice_str(recipient)) : 0;
    if (!check_type(r, type) || !parse_after(r, f) || !parse_id(r, "campaign", &f->campaign, &f->filter.campaign) ||
        !parse_id(r, "message", &f->message, &f->filter.message) || !parse_last(r, f)) {
        end_follower(f);
        return;
    }
    f->batch = rmd_alloc(EVENTS_A_READ * sizeof *f->batch);
    f->e = rmd_alloc(EVENTS_A_READ * sizeof *f->e);
    f->names = rmd_alloc(EVENTS_A_READ * sizeof *f->names);
    r->stream = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 << 10, more_text, f, end_follower);
    MHD_add_response_header(r->stream, "Content-Type", "application/x-ndjson");
    r->out = json_null();
}
