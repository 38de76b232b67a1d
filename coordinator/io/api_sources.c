/* POST and PUT below /v1/sources: sources are added, changed, paused, resumed and retired. */
#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "proto/codec.h"
#include "proto/io/idn.h"
#include "proto/provider_name.h"

enum { POOLS_MAX = 16, LANE_CAPS_MAX = 64 };

struct source_fields {
    Remuda__SourceRecord rec;
    const char *node;
    char *pool[POOLS_MAX];
    Remuda__LaneCap cap[LANE_CAPS_MAX], *caps[LANE_CAPS_MAX];
};

/* "pool" or "pools": all of them, in place of those that it has. */
static bool take_pools(struct rmd_api_request *r, struct source_fields *f, bool *bad) {
    json_t *v = json_object_get(r->in, "pools"), *e;
    const char *one = rmd_api_string(r, "pool", bad);
    size_t i;
    if (!one && !v)
        return true;
    f->rec.n_pool = 0;
    f->rec.pool = f->pool;
    if (one)
        f->pool[f->rec.n_pool++] = (char *)(uintptr_t)one;
    json_array_foreach(v, i, e) {
        if (!json_is_string(e) || f->rec.n_pool == POOLS_MAX) {
            rmd_api_fail(r, 400, RMD_EINVAL, "pools: at most %d names", POOLS_MAX);
            return false;
        }
        f->pool[f->rec.n_pool++] = (char *)(uintptr_t)json_string_value(e);
    }
    for (i = 0; i < f->rec.n_pool; i++)
        if (!rmd_api_good_name(f->pool[i])) {
            rmd_api_fail(r, 400, RMD_EINVAL, "pool: \"%.100s\": 1 to 63 letters, digits, \"-\", \"_\" or \".\"",
                         f->pool[i]);
            return false;
        }
    return true;
}

static void note_provider(void *ctx, const char *name) {
    rmd_provider_search_add(ctx, name);
}

static void find_provider(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_providers(core, note_provider, ctx);
}

/* A cap for a name that no provider has would never bind. */
static bool known_provider(struct rmd_api_request *r, const char *name) {
    struct rmd_provider_search s = {.wanted = name};
    struct rmd_buf why = {0};
    int rc = rmd_shell_call(r->http->o.shell, find_provider, &s);
    rmd_provider_unknown(&s, &why);
    if (rc < 0)
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
    else if (!s.found)
        rmd_api_fail(r, 400, RMD_EINVAL, "lane_caps: %s", rmd_buf_str(&why));
    rmd_provider_search_release(&s);
    rmd_buf_release(&why);
    return rc >= 0 && s.found;
}

/* The cap for this provider, made when there is none; NULL when there are too many. */
static Remuda__LaneCap *lane_cap_at(struct source_fields *f, const char *provider) {
    size_t n = f->rec.n_lane_cap;
    for (size_t i = 0; i < n; i++)
        if (strcmp(f->caps[i]->provider, provider) == 0)
            return f->caps[i];
    if (n == LANE_CAPS_MAX)
        return NULL;
    remuda__lane_cap__init(&f->cap[n]);
    f->cap[n].provider = (char *)(uintptr_t)provider;
    f->caps[n] = &f->cap[n];
    f->rec.n_lane_cap++;
    return f->caps[n];
}

static void lane_cap_drop(struct source_fields *f, const Remuda__LaneCap *cap) {
    size_t i = 0;
    while (f->caps[i] != cap)
        i++;
    f->rec.n_lane_cap--;
    memmove(&f->caps[i], &f->caps[i + 1], (f->rec.n_lane_cap - i) * sizeof f->caps[0]);
}

/* Caps that the request names; the others stay. null takes a provider's own cap away: what holds for every lane holds
 * for it then. */
static bool take_caps(struct rmd_api_request *r, struct source_fields *f, bool *bad) {
    Remuda__SourceRecord *s = &f->rec;
    s->cap_per_day = (uint64_t)rmd_api_int(r, "cap_per_day", (int64_t)s->cap_per_day, 0, INT64_MAX, bad);
    s->lane_cap_per_day =
        (uint64_t)rmd_api_int(r, "lane_cap_per_day", (int64_t)s->lane_cap_per_day, 0, INT64_MAX, bad);
    json_t *e;
    const char *provider;
    json_object_foreach(json_object_get(r->in, "lane_caps"), provider, e) {
        bool fine = json_is_null(e) || (json_is_integer(e) && json_integer_value(e) >= 0);
        if (fine && !known_provider(r, provider))
            return false;
        Remuda__LaneCap *cap = fine ? lane_cap_at(f, provider) : NULL;
        if (!cap) {
            rmd_api_fail(r, 400, RMD_EINVAL,
                         "lane_caps: %s: must be a whole number of recipients a day, for at most %d providers",
                         provider, LANE_CAPS_MAX);
            return false;
        }
        if (json_is_null(e))
            lane_cap_drop(f, cap);
        else
            cap->per_day = (uint64_t)json_integer_value(e);
    }
    return !*bad;
}

/* An address in its canonical spelling, in the request's arena; NULL when it isn't one (the answer is set). */
static char *canonical_address(struct rmd_api_request *r, const char *key, const char *text) {
    struct rmd_addr a;
    char out[48];
    if (!text || rmd_addr_parse(text, &a) < 0) {
        rmd_api_fail(r, 400, RMD_EINVAL, "%s: \"%s\" is not an IPv4 or IPv6 address", key, text ? text : "");
        return NULL;
    }
    rmd_addr_format(&a, out);
    return rmd_arena_str(&r->arena, rmd_slice_str(out));
}

static bool take_helo(struct rmd_api_request *r, struct source_fields *f, bool *bad) {
    const char *helo = rmd_api_string(r, "helo", bad);
    char ascii[256];
    if (!helo)
        return !*bad;
    const char *why = rmd_idn_to_ascii(NULL, rmd_slice_str(helo), ascii);
    if (!why && !strchr(ascii, '.'))
        why = "must be a full host name, the one that the address resolves to";
    if (why) {
        rmd_api_fail(r, 400, RMD_EINVAL, "helo: \"%s\": %s", helo, why);
        return false;
    }
    f->rec.helo = rmd_arena_str(&r->arena, rmd_slice_str(ascii));
    return true;
}

/* What the request says, over what is there; false when the answer is set. */
static bool take_source(struct rmd_api_request *r, struct source_fields *f) {
    bool bad = false;
    const char *bind = rmd_api_string(r, "bind", &bad), *label = rmd_api_string(r, "label", &bad);
    const char *node = rmd_api_string(r, "node", &bad);
    if (bad || !take_helo(r, f, &bad) || !take_pools(r, f, &bad) || !take_caps(r, f, &bad))
        return false;
    struct rmd_warm_fields warm = {f->rec.warmup, f->rec.warm_as, f->rec.warm_since_wall_ms};
    if (!rmd_api_take_warmup(r, "", &warm))
        return false;
    f->rec.warmup = warm.plan;
    f->rec.warm_as = warm.warm_as;
    f->rec.warm_since_wall_ms = warm.since_wall_ms;
    f->node = node ? node : f->node;
    f->rec.label = label ? (char *)(uintptr_t)label : f->rec.label;
    if (bind)
        f->rec.bind = canonical_address(r, "bind", bind);
    if (!f->rec.bind)
        return false;
    const char *lacks = !*f->rec.helo        ? "helo: the name for EHLO is needed"
                        : !*f->node          ? "node: the name of the node that has this address is needed"
                        : f->rec.n_pool == 0 ? "pool: at least one pool is needed"
                                             : NULL;
    if (lacks)
        rmd_api_fail(r, 400, RMD_EINVAL, "%s", lacks);
    return !lacks;
}

/* Which pools streams use. */
struct pools {
    uint32_t tenant;
    json_t *used;
};

static void note_pool(void *ctx, const Remuda__StreamRecord *s) {
    const struct pools *p = ctx;
    const json_t *known;
    size_t i;
    if (s->tenant != p->tenant)
        return;
    json_array_foreach(p->used, i, known) if (strcmp(json_string_value(known), s->pool) == 0) return;
    json_array_append_new(p->used, json_string(s->pool));
}

static void find_pools(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_streams(core, note_pool, ctx);
}

static void warn(struct rmd_api_request *r, const char *text) {
    json_t *list = json_object_get(r->out, "warnings");
    if (!list)
        json_object_set_new(r->out, "warnings", list = json_array());
    json_array_append_new(list, json_string(text));
}

static void warn_of_pool(struct rmd_api_request *r, const char *pool, const json_t *used) {
    struct rmd_buf text = {0};
    const json_t *known;
    size_t i;
    json_array_foreach(used, i, known) if (strcmp(json_string_value(known), pool) == 0) return;
    rmd_buf_addf(&text, "no stream uses pool %s: nothing is sent from it; ", pool);
    if (!json_array_size(used))
        rmd_buf_addf(&text, "there are no streams yet (`remuda stream set NAME --pool %s` makes one)", pool);
    json_array_foreach(used, i, known)
        rmd_buf_addf(&text, "%s%s", i ? ", " : "streams use ", json_string_value(known));
    warn(r, rmd_buf_str(&text));
    rmd_buf_release(&text);
}

/* A pool that is named and that no stream uses is a typing error, or its stream comes later. */
static void check_pools(struct rmd_api_request *r, const struct source_fields *f) {
    struct pools p = {.tenant = r->http->o.tenant, .used = json_array()};
    bool named = json_object_get(r->in, "pool") || json_object_get(r->in, "pools");
    if (named && json_is_object(r->out) && rmd_shell_call(r->http->o.shell, find_pools, &p) == RMD_OK)
        for (size_t i = 0; i < f->rec.n_pool; i++)
            warn_of_pool(r, f->rec.pool[i], p.used);
    json_decref(p.used);
}

static void note_pools_of(void *ctx, const struct rmd_source_view *v) {
    json_t *seen = ctx;
    for (size_t i = 0; i < v->record->n_pool && v->record->state != RMD_SOURCE_RETIRED; i++)
        json_object_set_new(seen, v->record->pool[i], json_true());
}

static void find_pools_of_sources(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_sources(core, note_pools_of, ctx);
}

void rmd_api_warn_of_empty_pool(struct rmd_api_request *r, const char *pool) {
    json_t *seen = json_object(), *v;
    const char *name, *between = "; sources are in ";
    int rc = rmd_shell_call(r->http->o.shell, find_pools_of_sources, seen);
    if (rc == RMD_OK && json_is_object(r->out) && !json_object_get(seen, pool)) {
        struct rmd_buf text = {0};
        rmd_buf_addf(&text,
                     "no source is in pool %s: nothing of this stream is sent until there is one (`remuda source add "
                     "ADDRESS --pool %s ...`)",
                     pool, pool);
        json_object_foreach(seen, name, v) {
            rmd_buf_addf(&text, "%s%s", between, name);
            between = ", ";
        }
        warn(r, rmd_buf_str(&text));
        rmd_buf_release(&text);
    }
    json_decref(seen);
}

static bool carry_out(struct rmd_api_request *r, enum rmd_command_kind kind, struct source_fields *f) {
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = kind, .name = f->node, .source = &f->rec};
    if (!rmd_api_command(r, &c, &reply))
        return false;
    r->segment[1] = f->rec.address;
    rmd_api_source(r);
    check_pools(r, f);
    return true;
}

void rmd_api_source_add(struct rmd_api_request *r) {
    bool bad = false;
    struct source_fields f = {.rec = REMUDA__SOURCE_RECORD__INIT, .node = ""};
    const char *address = rmd_api_string(r, "address", &bad);
    f.rec.lane_cap = f.caps;
    f.rec.address = bad ? NULL : canonical_address(r, "address", address);
    f.rec.bind = f.rec.address;
    if (f.rec.address && take_source(r, &f) && carry_out(r, RMD_CMD_SOURCE_ADD, &f) && !r->status)
        r->status = 201;
}

struct present {
    const char *address;
    struct rmd_buf packed;
    char node[64];
};

static void copy_present(void *ctx, const struct rmd_source_view *v) {
    struct present *p = ctx;
    if (strcmp(v->record->address, p->address) != 0)
        return;
    rmd_pb_encode(v->record, &p->packed);
    rmd_copy(p->node, sizeof p->node, v->node_name);
}

static void find_present(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_sources(core, copy_present, ctx);
}

/* The source as it is, as the ground for changes. */
static bool load_source(struct rmd_api_request *r, struct source_fields *f, struct present *p) {
    int rc = rmd_shell_call(r->http->o.shell, find_present, p);
    const Remuda__SourceRecord *now = rc < 0 || !p->packed.len ? NULL
                                                               : rmd_pb_decode(&remuda__source_record__descriptor,
                                                                               rmd_buf_slice(&p->packed), &r->arena);
    if (!now) {
        rmd_api_fail(r, rc < 0 ? 503 : 404, rc < 0 ? rc : RMD_ENOTFOUND,
                     rc < 0 ? "the coordinator is stopping" : "there is no source %s", p->address);
        return false;
    }
    f->rec = *now;
    f->node = rmd_arena_str(&r->arena, rmd_slice_str(p->node));
    f->rec.lane_cap = f->caps;
    f->rec.n_lane_cap = 0;
    for (size_t i = 0; i < now->n_lane_cap; i++) {
        Remuda__LaneCap *cap = lane_cap_at(f, now->lane_cap[i]->provider);
        if (cap)
            cap->per_day = now->lane_cap[i]->per_day;
    }
    return true;
}

void rmd_api_source_put(struct rmd_api_request *r) {
    struct source_fields f = {.rec = REMUDA__SOURCE_RECORD__INIT};
    struct present p = {.address = canonical_address(r, "address", r->segment[1])};
    if (p.address && load_source(r, &f, &p) && take_source(r, &f))
        carry_out(r, RMD_CMD_SOURCE_PUT, &f);
    rmd_buf_release(&p.packed);
}

void rmd_api_source_verb(struct rmd_api_request *r) {
    static const struct rmd_api_verb verbs[] = {
        {"pause", RMD_SOURCE_PAUSED}, {"resume", RMD_SOURCE_ACTIVE}, {"retire", RMD_SOURCE_RETIRING}};
    int state = rmd_api_find_verb(r, verbs, 3);
    bool bad = false;
    struct rmd_shell_reply reply;
    char *address = state < 0 ? NULL : canonical_address(r, "address", r->segment[1]);
    if (!address)
        return;
    struct rmd_command c = {
        .kind = RMD_CMD_SOURCE_STATE, .name = address, .state = (uint32_t)state, .reason = rmd_api_reason(r, &bad)};
    if (bad || !rmd_api_command(r, &c, &reply))
        return;
    r->segment[1] = address;
    rmd_api_source(r);
}
