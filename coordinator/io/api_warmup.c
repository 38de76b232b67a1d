/* Warm-up: what is shown, and what operators say about it. */
#include <base/text.h>

#include "coordinator/io/api_request.h"

enum { DAY_MS = 86400000 };

/* "2026-11-23" of a day's number. */
static json_t *json_day(int64_t day) {
    char text[32];
    rmd_date_rfc3339(day * DAY_MS, text);
    text[10] = 0;
    return json_string(text);
}

static const char *named(char out[64], const char *prefix, const char *name) {
    rmd_format(out, 64, "%s%s", prefix, name);
    return out;
}

/* A plan that is named begins a warm-up, which is nothing for one that is warm: neither is dropped without a word. */
static bool makes_sense(struct rmd_api_request *r, const char *prefix, const char *plan,
                        const struct rmd_warm_fields *was, const struct rmd_warm_fields *now) {
    bool begins = plan && *now->plan && (strcmp(now->plan, was->plan) != 0 || now->warm_as != was->warm_as);
    if (!begins || !now->warm_as)
        return true;
    if (now->warm_as == was->warm_as)
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "%swarmup: it is warm already, as %llu a day; name %swarm_as 0, too, to begin a warm-up", prefix,
                     (unsigned long long)was->warm_as, prefix);
    else
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "%swarmup and %swarm_as exclude each other: choose %swarmup for one that is new and begins with "
                     "little, %swarm_as for one that is warm already",
                     prefix, prefix, prefix, prefix);
    return false;
}

bool rmd_api_take_warmup(struct rmd_api_request *r, const char *prefix, struct rmd_warm_fields *f) {
    char key[64];
    bool bad = false;
    const char *plan = rmd_api_string(r, named(key, prefix, "warmup"), &bad);
    bool none = plan && strcmp(plan, "none") == 0;
    const struct rmd_warm_fields was = *f;
    if (plan)
        f->plan = (char *)(uintptr_t)(none ? "" : plan);
    if (none)
        f->warm_as = 0;
    f->warm_as = (uint64_t)rmd_api_int(r, named(key, prefix, "warm_as"), (int64_t)f->warm_as, 0, INT64_MAX, &bad);
    const char *since = rmd_api_string(r, named(key, prefix, "since"), &bad);
    if (bad || !makes_sense(r, prefix, plan, &was, f))
        return false;
    int64_t now = rmd_shell_now(r->http->o.shell).wall_ms;
    if (since && (rmd_date_parse_rfc3339(rmd_slice_str(since), &f->since_wall_ms) < 0 || f->since_wall_ms > now)) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%ssince: \"%.40s\" is not a date of the past, like 2024-03-01", prefix,
                     since);
        return false;
    }
    if (since && !f->warm_as) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%ssince: says since when it is warm; %swarm_as is needed with it", prefix,
                     prefix);
        return false;
    }
    if (f->warm_as && !f->since_wall_ms)
        f->since_wall_ms = now;
    return true;
}

/* ---- shown */

struct list {
    json_t *lanes;
    const char *only;
    int64_t day;
};

static json_t *gates_json(const struct rmd_warmup_view *v) {
    json_t *gates = json_array();
    for (unsigned k = 0; k < RMD_GATE_KINDS; k++) {
        const struct rmd_gate_value *g = &v->gate[k];
        json_array_append_new(gates,
                              json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:s}", "gate", rmd_gate_name(k),
                                        "events", (json_int_t)g->events, "of", (json_int_t)g->of, "rate",
                                        g->ppm / 1e6, "low", g->low_ppm / 1e6, "high", g->high_ppm / 1e6, "max",
                                        v->gate_max_ppm[k] / 1e6, "verdict", rmd_gate_verdict_name(g->verdict)));
    }
    return gates;
}

static void add(void *ctx, const struct rmd_warmup_view *v) {
    struct list *l = ctx;
    const char *name = v->source ? v->source : v->domain;
    if (l->only && strcmp(l->only, name) != 0)
        return;
    const struct {
        const char *key;
        uint64_t value;
    } number[] = {{"stage", v->stage},       {"stages", v->stages},       {"hold", v->hold},
                  {"cap_per_day", v->cap},   {"used_24h", v->used_24h},   {"outstanding", v->outstanding},
                  {"hour_cap", v->hour_cap}, {"hour_used", v->hour_used}, {"distinct", v->distinct},
                  {"needed", v->needed},     {"warm_as", v->warm_as}};
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:o}", v->source ? "source" : "domain", name, "provider", v->provider,
                          "plan", v->plan, "state", v->state, "detail", rmd_json_text(v->detail));
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++)
        json_object_set_new(o, number[i].key, json_integer((json_int_t)number[i].value));
    json_object_set_new(o, "free", v->cap || v->hour_cap ? json_integer((json_int_t)v->free) : json_null());
    json_object_set_new(o, "frees_in_ms", v->frees_ms == RMD_NEVER ? json_null() : json_integer(v->frees_ms));
    json_object_set_new(o, "new", json_boolean(v->new));
    json_object_set_new(o, "warm_since", rmd_json_time(v->warm_since_wall_ms));
    json_object_set_new(o, "forecast", v->forecast_day == INT64_MIN ? json_null() : json_day(v->forecast_day));
    json_object_set_new(o, "day", v->today ? json_day(v->today->day) : json_null());
    json_object_set_new(o, "gates", v->today ? gates_json(v) : json_array());
    json_array_append_new(l->lanes, o);
}

static void build(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    struct list *l = ctx;
    (void)now;
    l->day = rmd_coord_sending_day(core);
    rmd_coord_warmups(core, add, l);
}

/* An address in the spelling of its source, else as it is. */
static const char *spelled(const char *name, char out[48]) {
    struct rmd_addr a;
    if (!name || rmd_addr_parse(name, &a) < 0)
        return name;
    rmd_addr_format(&a, out);
    return out;
}

/* none: there may be no such warm-up. */
static void show(struct rmd_api_request *r, const char *name, bool none) {
    char address[48];
    struct list l = {.lanes = json_array(), .only = spelled(name, address)};
    int rc = rmd_shell_call(r->http->o.shell, build, &l);
    if (rc < 0)
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
    else if (name && !none && !json_array_size(l.lanes))
        rmd_api_fail(r, 404, RMD_ENOTFOUND,
                     "no source or sending domain \"%.200s\" is warming up (`source set --warmup PLAN` begins one)",
                     name);
    else
        r->out = json_pack("{s:o, s:O}", "day", json_day(l.day), "lanes", l.lanes);
    json_decref(l.lanes);
}

void rmd_api_warmup(struct rmd_api_request *r) {
    show(r, rmd_api_query(r, "name"), false);
}

/* ---- said */

static bool take_stage(struct rmd_api_request *r, uint64_t *out) {
    json_t *v = json_object_get(r->in, "stage");
    if (json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) < UINT32_MAX)
        *out = (uint64_t)json_integer_value(v);
    else if (json_is_string(v) && strcmp(json_string_value(v), "warm") == 0)
        *out = UINT32_MAX;
    else
        rmd_api_fail(r, 400, RMD_EINVAL, "stage: must be a number from 1, or \"warm\"");
    return !r->status;
}

void rmd_api_warmup_verb(struct rmd_api_request *r) {
    static const struct {
        const char *name;
        enum rmd_command_kind kind;
    } verb[] = {{"pause", RMD_CMD_WARMUP_PAUSE}, {"resume", RMD_CMD_WARMUP_RESUME}, {"set", RMD_CMD_WARMUP_SET}};
    size_t k = 0;
    bool bad = false;
    while (k < 3 && strcmp(verb[k].name, r->segment[2]) != 0)
        k++;
    if (k == 3) {
        rmd_api_fail(r, 404, RMD_ENOTFOUND, "there is no verb \"%s\" for this", r->segment[2]);
        return;
    }
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = verb[k].kind,
                            .name = r->segment[1],
                            .provider = rmd_api_string(r, "provider", &bad),
                            .reason = rmd_api_string(r, "reason", &bad)};
    if (bad || (c.kind == RMD_CMD_WARMUP_SET && !take_stage(r, &c.number)))
        return;
    if (!rmd_api_command(r, &c, &reply))
        return;
    show(r, r->segment[1], false);
    if (!r->status)
        json_object_set_new(r->out, "changed", json_integer((json_int_t)reply.number)); /* lanes */
}

static void find_day(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    *(int64_t *)ctx = rmd_coord_sending_day(core);
}

/* "2026-11-23", or a word that counts from the sending day that it is now. */
static bool take_day(struct rmd_api_request *r, const char *day, int64_t *out) {
    int64_t ms = 0;
    bool today = strcmp(day, "today") == 0, yesterday = strcmp(day, "yesterday") == 0;
    bool date = strlen(day) == 10 && rmd_date_parse_rfc3339(rmd_slice_str(day), &ms) == RMD_OK;
    int rc = today || yesterday ? rmd_shell_call(r->http->o.shell, find_day, out) : RMD_OK;
    if (rc < 0)
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
    else if (date)
        *out = ms / DAY_MS;
    else if (today || yesterday)
        *out -= yesterday;
    else
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "day: \"%.40s\" is no sending day: it is written like 2026-11-23, or is today or yesterday",
                     day);
    return !r->status;
}

void rmd_api_complaints(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    const char *source = rmd_api_string(r, "source", &bad), *domain = rmd_api_string(r, "domain", &bad);
    const char *day = rmd_api_string(r, "day", &bad);
    struct rmd_command c = {.kind = RMD_CMD_COMPLAINTS,
                            .name = source ? source : domain,
                            .provider = rmd_api_string(r, "provider", &bad),
                            .reason = rmd_api_string(r, "reason", &bad),
                            .number = (uint64_t)rmd_api_int(r, "count", -1, 0, INT32_MAX, &bad)};
    if (bad)
        return;
    if (!source == !domain || !c.provider || !day || (int64_t)c.number < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL,
                     "needed are \"source\" or \"domain\", \"provider\", \"day\" (the sending day, like 2026-11-23, "
                     "today or yesterday) and \"count\"");
        return;
    }
    if (!take_day(r, day, &c.day))
        return;
    if (rmd_api_command(r, &c, &reply))
        show(r, c.name, true); /* they count for its reputation, too */
}

void rmd_api_source_register(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    char address[48];
    struct rmd_command c = {.kind = RMD_CMD_SOURCE_REGISTER,
                            .name = r->segment[1],
                            .provider = rmd_api_string(r, "provider", &bad),
                            .reason = rmd_api_string(r, "reason", &bad)};
    c.state = json_is_false(json_object_get(r->in, "registered"));
    if (bad || !rmd_api_command(r, &c, &reply))
        return;
    r->segment[1] = rmd_arena_str(&r->arena, rmd_slice_str(spelled(r->segment[1], address)));
    rmd_api_source(r);
    if (!r->status)
        json_object_set_new(r->out, "note", rmd_json_text(reply.text));
}
