/* JSON pieces and errors of the API. */
#include <inttypes.h>

#include <base/text.h>

#include "coordinator/io/api_request.h"

unsigned rmd_api_status_of(int code) {
    switch (code) {
    case RMD_EINVAL:
    case RMD_EFORMAT:
        return 400;
    case RMD_EAUTH:
        return 403;
    case RMD_ENOTFOUND:
        return 404;
    case RMD_EEXISTS:
    case RMD_ECONFLICT:
        return 409;
    case RMD_ELIMIT:
        return 413;
    case RMD_EFULL:
        return 507;
    case RMD_ETIMEOUT:
    case RMD_ECLOSED:
    case RMD_EAGAIN:
    case RMD_EBUSY:
        return 503;
    default:
        return 500;
    }
}

static const char *code_name(int code) {
#define NAME(id, value, text) \
    case value:               \
        return #id + 4;
    switch (code) {
        RMD_ERRORS(NAME)
    default:
        return "UNKNOWN";
    }
#undef NAME
}

void rmd_api_fail(struct rmd_api_request *r, unsigned status, int code, const char *fmt, ...) {
    struct rmd_buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    char name[32];
    rmd_copy(name, sizeof name, code_name(code));
    rmd_lower_str(name);
    json_decref(r->out);
    r->out = json_pack("{s:o, s:s}", "error", rmd_json_text(rmd_buf_str(&text)), "code", name);
    r->status = status ? status : rmd_api_status_of(code);
    rmd_buf_release(&text);
}

const char *rmd_api_string(struct rmd_api_request *r, const char *key, bool *bad) {
    json_t *v = json_object_get(r->in, key);
    if (!v || json_is_null(v))
        return NULL;
    if (!json_is_string(v)) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%s: must be a string", key);
        *bad = true;
        return NULL;
    }
    return json_string_value(v);
}

int64_t rmd_api_int(struct rmd_api_request *r, const char *key, int64_t fallback, int64_t min, int64_t max,
                    bool *bad) {
    json_t *v = json_object_get(r->in, key);
    if (!v || json_is_null(v))
        return fallback;
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max) {
        char low[32], high[32];
        rmd_format_duration(min, low);
        rmd_format_duration(max, high);
        if (rmd_has_suffix(key, "_ms"))
            rmd_api_fail(r, 400, RMD_EINVAL, "%s: must be a time from %s to %s, in whole milliseconds", key, low,
                         high);
        else
            rmd_api_fail(r, 400, RMD_EINVAL, "%s: must be a whole number from %" PRId64 " to %" PRId64, key, min,
                         max);
        *bad = true;
        return fallback;
    }
    return json_integer_value(v);
}

const char *rmd_api_query(struct rmd_api_request *r, const char *key) {
    return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, key);
}

bool rmd_api_command(struct rmd_api_request *r, struct rmd_command *c, struct rmd_shell_reply *reply) {
    c->tenant = r->http->o.tenant;
    int rc = rmd_shell_command(r->http->o.shell, c, RMD_API_WAIT_MS, reply);
    if (rc == RMD_ETIMEOUT) {
        rmd_api_fail(r, 503, rc, "accepted, but not done within %d s: it stays in force; look at it again later",
                     RMD_API_WAIT_MS / 1000);
        return false;
    }
    if (rc < 0) {
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return false;
    }
    if (reply->error < 0) {
        rmd_api_fail(r, 0, reply->error, "%s", *reply->text ? reply->text : rmd_error_text(reply->error));
        return false;
    }
    return true;
}

json_t *rmd_json_time(int64_t wall_ms) {
    if (wall_ms == 0)
        return json_null();
    char text[32];
    rmd_date_rfc3339(wall_ms, text);
    return json_string(text);
}

json_t *rmd_json_id(const ProtobufCBinaryData *b) {
    struct rmd_id id;
    char text[27];
    if (b->len != sizeof id.b)
        return json_null();
    memcpy(id.b, b->data, sizeof id.b);
    rmd_id_format(&id, text);
    return json_string(text);
}

/* Receivers say what they like: bytes that are no UTF-8 stay visible as \xNN. */
json_t *rmd_json_text(const char *s) {
    json_t *plain = json_string(s);
    if (plain)
        return plain;
    struct rmd_buf b = {0};
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        size_t len = rmd_utf8_len((const uint8_t *)s + i, n - i);
        if (len)
            rmd_buf_add(&b, s + i, len);
        else
            rmd_buf_addf(&b, "\\x%02x", (unsigned char)s[i]);
        i += len ? len : 1;
    }
    json_t *escaped = json_string(rmd_buf_str(&b));
    rmd_buf_release(&b);
    return escaped;
}

json_t *rmd_json_campaign(const struct rmd_campaign_view *v, const char *stream) {
    const Remuda__CampaignRecord *c = v->record;
    json_t *o =
        json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "id", rmd_json_id(&c->id), "name", rmd_json_text(c->name),
                  "stream", stream, "state", v->scheduled ? "scheduled" : rmd_campaign_state_name(c->state), "reason",
                  rmd_json_text(c->reason), "subject", rmd_json_text(c->subject), "from", rmd_json_text(c->from));
    const struct {
        const char *key;
        uint64_t value;
    } number[] = {{"rows", c->rows},         {"rejected", c->rejected},           {"delivered", c->delivered},
                  {"bounced", c->bounced},   {"suppressed", c->suppressed},       {"expired", c->expired},
                  {"held", c->held},         {"cancelled", c->cancelled},         {"uncertain", c->uncertain},
                  {"in_doubt", c->in_doubt}, {"deferrals", c->deferrals},         {"queued", v->queued},
                  {"leased", v->leased},     {"deferred", v->deferred},           {"over_ms", (uint64_t)c->over_ms},
                  {"batch", c->batch},       {"every_ms", (uint64_t)c->every_ms}, {"offered", c->offered},
                  {"released", v->released}, {"next_recipients", v->next_release}};
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++)
        json_object_set_new(o, number[i].key, json_integer((json_int_t)number[i].value));
    json_object_set_new(o, "created", rmd_json_time(c->created_wall_ms));
    json_object_set_new(o, "accepted", rmd_json_time(c->accepted_wall_ms));
    json_object_set_new(o, "finished", rmd_json_time(c->finished_wall_ms));
    json_object_set_new(o, "starts", rmd_json_time(c->start_wall_ms));
    json_object_set_new(o, "next_release", rmd_json_time(v->next_release_wall_ms));
    json_object_set_new(o, "all_released", rmd_json_time(v->all_released_wall_ms));
    json_object_set_new(o, "waits_for", rmd_json_text(v->waits_for ? v->waits_for : ""));
    return o;
}

void rmd_api_copy_value(void *buf, size_t i, struct rmd_slice value) {
    (void)i;
    if (value.p)
        rmd_buf_add(buf, value.p, value.n);
}
