/* Reputations and paces, as JSON. */
#include <base/text.h>

#include "coordinator/io/api_request.h"

static json_t *terms_json(const struct rmd_reputation_score *s) {
    json_t *terms = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const struct rmd_reputation_part *p = &s->part[i];
        json_array_append_new(terms, json_pack("{s:s, s:i, s:i, s:I, s:f, s:i, s:o}", "term",
                                               rmd_reputation_term_name(p->term), "points", (int)p->points, "weight",
                                               (int)p->weight, "events", (json_int_t)p->events, "share",
                                               (double)p->ppm / 1e6, "half_life_hours", (int)p->half_life_h, "reason",
                                               rmd_json_text(p->reason)));
    }
    return terms;
}

static json_t *reputation_json(const struct rmd_reputation_view *v) {
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:s, s:b, s:I}", "kind", v->kind, "name", v->name, "score", (int)v->score.score,
                  "band", v->band, "little_evidence", v->score.few, "attempts", (json_int_t)v->score.attempts);
    json_object_set_new(o, "provider", v->provider ? json_string(v->provider) : json_null());
    json_object_set_new(o, "terms", terms_json(&v->score));
    return o;
}

struct list {
    json_t *all;
    const char *only;
};

static void add(void *ctx, const struct rmd_reputation_view *v) {
    struct list *l = ctx;
    if (!l->only || strcmp(l->only, v->name) == 0)
        json_array_append_new(l->all, reputation_json(v));
}

static void build(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_reputations(core, add, ctx);
}

json_t *rmd_json_reputation_of(struct rmd_coord *core, const char *name) {
    struct list l = {.all = json_array(), .only = name};
    rmd_coord_reputations(core, add, &l);
    return l.all;
}

void rmd_api_reputation(struct rmd_api_request *r) {
    const char *name = rmd_api_query(r, "name");
    struct rmd_addr a;
    char address[48];
    if (name && rmd_addr_parse(name, &a) == RMD_OK) {
        rmd_addr_format(&a, address);
        name = address;
    }
    struct list l = {.all = json_array(), .only = name};
    int rc = rmd_shell_call(r->http->o.shell, build, &l);
    if (rc < 0)
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
    else if (name && !json_array_size(l.all))
        rmd_api_fail(r, 404, RMD_ENOTFOUND, "there is no source, network or sending domain \"%.200s\"", name);
    else
        r->out = json_pack("{s:O}", "reputations", l.all);
    json_decref(l.all);
}

json_t *rmd_json_pace(const struct rmd_pace *p, int64_t told_ms_ago) {
    if (!p)
        return json_null();
    json_t *sites = json_array();
    for (size_t i = 0; i < p->n_sites; i++)
        json_array_append_new(sites,
                              json_pack("{s:o, s:i, s:i}", "domain", rmd_json_text(p->site[i].domain), "per_minute",
                                        (int)p->site[i].per_minute, "connections", (int)p->site[i].connections));
    json_t *o =
        json_pack("{s:b, s:i, s:i, s:i, s:f}", "slowed", p->slowed, "connections", (int)p->connections, "in_use",
                  (int)p->in_use, "tried", (int)p->tried, "deferred_share", (double)p->deferred_permille / 1e3);
    json_object_set_new(o, "per_minute", p->per_minute ? json_integer(p->per_minute) : json_null());
    json_object_set_new(o, "per_hour", p->per_hour ? json_integer(p->per_hour) : json_null());
    json_object_set_new(o, "connects_per_minute",
                        p->connects_per_minute ? json_integer(p->connects_per_minute) : json_null());
    json_object_set_new(o, "connects_bind", json_boolean(p->connects_bind));
    json_object_set_new(o, "slowed_since", rmd_json_time(p->slowed_wall_ms));
    json_object_set_new(o, "rests_until", rmd_json_time(p->rest_wall_ms));
    json_object_set_new(o, "told_ms_ago", json_integer(told_ms_ago));
    json_object_set_new(o, "slowest_sites", sites);
    return o;
}
