/* Suppressions by the API: add, look up, remove, decide on those of a surge. */
#include <base/text.h>

#include "coordinator/core/keys.h"
#include "coordinator/io/api_request.h"
#include "proto/io/idn.h"

/* The address as it is compared: domain in A-labels. NULL with the answer set when it isn't one. */
static const char *normal_address(struct rmd_api_request *r, const char *text) {
    struct rmd_slice all = rmd_trim(rmd_slice_str(text ? text : "")), domain = rmd_address_domain(all);
    char ascii[256];
    const char *why = domain.n ? rmd_idn_to_ascii(NULL, domain, ascii) : "there is no @ with a domain behind it";
    if (why) {
        rmd_api_fail(r, 400, RMD_EINVAL, "address: \"%s\": %s", text ? text : "", why);
        return NULL;
    }
    return rmd_arena_printf(&r->arena, "%.*s%s", (int)(all.n - domain.n), (const char *)all.p, ascii);
}

struct stream_id {
    const char *name;
    uint32_t tenant, id;
};

static void find_stream_id(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct stream_id *f = ctx;
    const Remuda__StreamRecord *s = rmd_coord_stream_by_name(core, f->tenant, f->name);
    f->id = s ? s->id : 0;
}

/* 0: all streams. False when the name is unknown (the answer is set). */
static bool stream_id(struct rmd_api_request *r, const char *name, uint32_t *id) {
    struct stream_id f = {.name = name, .tenant = r->http->o.tenant};
    *id = 0;
    if (!name || !*name)
        return true;
    int rc = rmd_shell_call(r->http->o.shell, find_stream_id, &f);
    *id = f.id;
    if (rc < 0 || !f.id)
        rmd_api_fail(r, rc < 0 ? 503 : 404, rc < 0 ? rc : RMD_ENOTFOUND, "there is no stream %s", name);
    return rc == RMD_OK && f.id;
}

/* ---- what is in force */

struct in_force {
    struct rmd_coord *core;
    const char *address;
    uint32_t tenant;
    json_t *streams; /* names; "" for the entry for all */
};

static void add_in_force(void *ctx, const Remuda__StreamRecord *s) {
    struct in_force *f = ctx;
    if (s->tenant == f->tenant && rmd_coord_suppressed_alone(f->core, f->tenant, s->id, rmd_slice_str(f->address)))
        json_array_append_new(f->streams, json_string(s->name));
}

static void find_in_force(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct in_force *f = ctx;
    f->core = core;
    if (rmd_coord_suppressed_alone(core, f->tenant, 0, rmd_slice_str(f->address)))
        json_array_append_new(f->streams, json_string(""));
    rmd_coord_streams(core, add_in_force, f);
}

static json_t *in_force(struct rmd_api_request *r, const char *address) {
    struct in_force f = {.address = address, .tenant = r->http->o.tenant, .streams = json_array()};
    (void)!rmd_shell_call(r->http->o.shell, find_in_force, &f);
    return f.streams;
}

/* stream NULL or "": the entry for all. */
static bool is_among(const json_t *streams, const char *stream) {
    const json_t *s;
    size_t i;
    json_array_foreach(streams, i, s) if (strcmp(json_string_value(s), stream ? stream : "") == 0) return true;
    return false;
}

/* ---- who is waited for */

struct waits {
    const char *address;
    uint32_t tenant, stream;
    json_t *list;
};

static void add_wait(void *ctx, const struct rmd_suppress_wait *w) {
    json_array_append_new(((struct waits *)ctx)->list, json_pack("{s:s, s:b, s:I}", "node", w->node, "connected",
                                                                 w->connected, "valid_ms", (json_int_t)w->valid_ms));
}

static void find_waits(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    struct waits *w = ctx;
    rmd_coord_suppress_waits(core, w->tenant, w->stream, rmd_slice_str(w->address), add_wait, w);
}

static json_t *waits_for(struct rmd_api_request *r, uint32_t stream, const char *address) {
    struct waits w = {.address = address, .tenant = r->http->o.tenant, .stream = stream, .list = json_array()};
    (void)!rmd_shell_call(r->http->o.shell, find_waits, &w);
    return w.list;
}

void rmd_api_suppress(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    const char *address = rmd_api_string(r, "address", &bad), *stream = rmd_api_string(r, "stream", &bad);
    const char *reason = rmd_api_string(r, "reason", &bad);
    int64_t wait_ms = rmd_api_int(r, "wait_ms", RMD_API_WAIT_MS, 0, RMD_API_WAIT_MS, &bad);
    struct rmd_command c = {.kind = RMD_CMD_SUPPRESS, .tenant = r->http->o.tenant, .reason = reason ? reason : ""};
    if (bad || !(c.name = normal_address(r, address)) || !stream_id(r, stream, &c.stream))
        return;
    json_t *before = in_force(r, c.name);
    bool already = is_among(before, stream);
    json_decref(before);
    int rc = rmd_shell_command(r->http->o.shell, &c, wait_ms, &reply);
    if (rc < 0 && rc != RMD_ETIMEOUT) {
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
    } else if (rc == RMD_OK && reply.error < 0) {
        rmd_api_fail(r, 0, reply.error, "%s", *reply.text ? reply.text : rmd_error_text(reply.error));
    } else { /* in force in any case; what nodes hold may still leave until they have confirmed */
        r->out = json_pack("{s:s, s:b, s:b, s:b, s:o}", "address", c.name, "suppressed", 1, "confirmed", rc == RMD_OK,
                           "already", already, "streams", in_force(r, c.name));
        if (rc == RMD_ETIMEOUT)
            json_object_set_new(r->out, "waits_for", waits_for(r, c.stream, c.name));
        r->status = rc == RMD_OK ? 200 : 202;
    }
}

/* What is there is an entry for something else than what is to be taken back. */
static void fail_of_others(struct rmd_api_request *r, const char *address, const char *stream,
                           const json_t *streams) {
    struct rmd_buf names = {0};
    const json_t *s;
    size_t i;
    if (is_among(streams, ""))
        rmd_api_fail(
            r, 404, RMD_ENOTFOUND,
            "%s is suppressed for all streams, not for %s alone; `remuda suppress remove %s` takes that back",
            address, stream, address);
    else {
        json_array_foreach(streams, i, s) rmd_buf_addf(&names, "%s%s", i ? ", " : "", json_string_value(s));
        rmd_api_fail(r, 404, RMD_ENOTFOUND, "%s is suppressed for %s, not for %s; --stream names which to take back",
                     address, rmd_buf_str(&names), stream && *stream ? stream : "all streams");
    }
    rmd_buf_release(&names);
}

void rmd_api_unsuppress(struct rmd_api_request *r) {
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_UNSUPPRESS, .reason = ""};
    const char *stream = rmd_api_query(r, "stream");
    if (!(c.name = normal_address(r, r->segment[1])) || !stream_id(r, stream, &c.stream))
        return;
    const char *address = c.name;
    json_t *before = in_force(r, address);
    bool done = rmd_api_command(r, &c, &reply);
    if (!done && r->status == 404 && json_array_size(before))
        fail_of_others(r, address, stream, before);
    json_decref(before);
    if (!done)
        return;
    json_t *left = in_force(r, address);
    r->out =
        json_pack("{s:s, s:b, s:o}", "address", address, "suppressed", json_array_size(left) > 0, "streams", left);
}

/* True when it is in force. */
static bool add_entry(struct rmd_api_request *r, json_t *list, uint32_t stream, const char *stream_name,
                      const char *address) {
    struct rmd_key key =
        rmd_key_suppression(r->http->o.tenant, stream, rmd_address_hash(r->http->o.tenant, rmd_slice_str(address)));
    struct rmd_slice k = rmd_key_slice(&key);
    struct rmd_buf value = {0};
    const struct rmd_store *st = rmd_shell_store(r->http->o.shell);
    if (st->ops->get_many(st->s, &k, 1, rmd_api_copy_value, &value) < 0 || value.len == 0) {
        rmd_buf_release(&value);
        return false;
    }
    const Remuda__SuppressionRecord *s =
        rmd_pb_decode(&remuda__suppression_record__descriptor, rmd_buf_slice(&value), &r->arena);
    if (s)
        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:o, s:o, s:b, s:b, s:i, s:o, s:o, s:o}", "stream", stream_name,
                                        "reason", rmd_json_text(s->reason), "evidence", rmd_json_text(s->evidence),
                                        "since", rmd_json_time(s->wall_ms), "confirmed", s->confirmed, "pending",
                                        s->pending, "denials", (int)s->denials, "forgotten",
                                        s->denials ? rmd_json_time(s->wall_ms + RMD_DENIAL_LIFE_MS) : json_null(),
                                        "incident", s->incident ? json_integer((json_int_t)s->incident) : json_null(),
                                        "waits_for", waits_for(r, stream, address)));
    rmd_buf_release(&value);
    return s && !s->pending;
}

struct stream_names {
    struct rmd_arena *arena;
    uint32_t id[256];
    char *name[256];
    size_t n;
};

static void add_stream_name(void *ctx, const Remuda__StreamRecord *s) {
    struct stream_names *l = ctx;
    if (l->n == 256)
        return;
    l->id[l->n] = s->id;
    l->name[l->n++] = rmd_arena_str(l->arena, rmd_slice_str(s->name));
}

static void all_streams(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_streams(core, add_stream_name, ctx);
}

void rmd_api_suppression(struct rmd_api_request *r) {
    const char *address = normal_address(r, r->segment[1]);
    struct stream_names l = {.arena = &r->arena};
    if (!address)
        return;
    if (rmd_shell_call(r->http->o.shell, all_streams, &l) < 0) {
        rmd_api_fail(r, 503, RMD_ECLOSED, "the coordinator is stopping");
        return;
    }
    json_t *list = json_array();
    bool any = add_entry(r, list, 0, "", address);
    for (size_t i = 0; i < l.n; i++)
        any |= add_entry(r, list, l.id[i], l.name[i], address);
    r->out = json_pack("{s:s, s:b, s:o}", "address", address, "suppressed", any, "entries", list);
}

void rmd_api_incident_decide(struct rmd_api_request *r) {
    static const struct rmd_api_verb verbs[] = {{"undo", RMD_CMD_SUPPRESS_UNDO},
                                                {"confirm", RMD_CMD_SUPPRESS_CONFIRM}};
    int kind = rmd_api_find_verb(r, verbs, 2);
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = (enum rmd_command_kind)kind, .reason = rmd_api_reason(r, &bad)};
    if (kind < 0 || bad)
        return;
    if (rmd_parse_u64(rmd_slice_str(r->segment[1]), &c.number) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "\"%s\" is not an incident's number", r->segment[1]);
        return;
    }
    uint64_t incident = c.number;
    if (rmd_api_command(r, &c, &reply))
        r->out = json_pack("{s:I, s:I, s:s}", "incident", (json_int_t)incident, "addresses", (json_int_t)reply.number,
                           "text", reply.text);
}
