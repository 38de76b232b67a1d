/* Blocklist watch: listings, the health of lists, checks out of schedule. */
#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "proto/blocklist.h"

struct view {
    struct rmd_api_request *r;
    struct rmd_coord *core;
    json_t *list;
    const char *subject;
    bool all, history, watch;
    uint64_t number;
    bool found;
};

/* ---- listings */

json_t *rmd_json_listing(const struct rmd_listing_view *v) {
    const Remuda__ListingRecord *r = v->record;
    char codes[128];
    int64_t until = r->removed_wall_ms ? r->removed_wall_ms : r->last_wall_ms;
    rmd_blocklist_codes_format(r->answer, r->n_answer, codes, sizeof codes);
    json_t *incidents = json_array(), *o = json_object();
    for (size_t i = 0; i < r->n_incident; i++)
        json_array_append_new(incidents, json_integer((json_int_t)r->incident[i]));
    const struct {
        const char *key;
        const char *value;
    } text[] = {
        {"list", r->list},         {"tier", r->snowshoe ? "snowshoe" : rmd_tier_name(r->tier)},
        {"subject", r->subject},   {"kind", r->neighbour ? "neighbour" : *r->network ? "source" : "domain"},
        {"network", r->network},   {"state", r->removed_wall_ms ? "removed" : r->clean ? "clean once" : "listed"},
        {"codes", codes},          {"meaning", r->meaning},
        {"evidence", r->evidence}, {"removal", v->removal},
        {"hint", v->hint},         {"removal_note", r->removal_note}};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        json_object_set_new(o, text[i].key, rmd_json_text(text[i].value));
    json_object_set_new(o, "id", json_integer((json_int_t)r->id));
    json_object_set_new(o, "since", rmd_json_time(r->first_wall_ms));
    json_object_set_new(o, "last_seen", rmd_json_time(r->last_wall_ms));
    json_object_set_new(o, "removed", rmd_json_time(r->removed_wall_ms));
    json_object_set_new(o, "for_ms", json_integer(until > r->first_wall_ms ? until - r->first_wall_ms : 0));
    json_object_set_new(o, "relisted", json_integer(r->relisted));
    json_object_set_new(o, "removal_asked", rmd_json_time(r->removal_asked_wall_ms));
    json_object_set_new(o, "expected_ms", v->lifetime_ms ? json_integer(v->lifetime_ms) : json_null());
    json_object_set_new(o, "incidents", incidents);
    return o;
}

static bool is_about(const char *subject, const Remuda__ListingRecord *r) {
    struct rmd_addr a, b;
    if (!subject || strcmp(subject, r->subject) == 0 || strcmp(subject, r->network) == 0)
        return true;
    return rmd_addr_parse(subject, &a) == RMD_OK && rmd_addr_parse(r->subject, &b) == RMD_OK && rmd_addr_eq(&a, &b);
}

static void add_listing(void *ctx, const struct rmd_listing_view *l) {
    struct view *v = ctx;
    const Remuda__ListingRecord *r = l->record;
    if (!is_about(v->subject, r) || (r->removed_wall_ms && !v->history) ||
        (r->neighbour && !v->all && !v->history && !v->subject))
        return;
    json_array_append_new(v->list, rmd_json_listing(l));
}

static void listings_in_core(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    ((struct view *)ctx)->watch = rmd_coord_watches(core);
    rmd_coord_listings(core, add_listing, ctx);
}

void rmd_api_listings(struct rmd_api_request *r) {
    struct view v = {.r = r,
                     .list = json_array(),
                     .subject = rmd_api_query(r, "subject"),
                     .all = rmd_api_query(r, "all") != NULL,
                     .history = rmd_api_query(r, "history") != NULL};
    int rc = rmd_shell_call(r->http->o.shell, listings_in_core, &v);
    if (rc < 0) {
        json_decref(v.list);
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return;
    }
    r->out = json_pack("{s:o, s:b}", "listings", v.list, "watch", v.watch);
}

struct of_source {
    uint32_t source;
    json_t *list;
};

static void add_of(void *ctx, const struct rmd_listing_view *l) {
    struct of_source *o = ctx;
    if (l->record->source == o->source && !l->record->removed_wall_ms)
        json_array_append_new(o->list, rmd_json_listing(l));
}

json_t *rmd_json_listings_of(struct rmd_coord *core, uint32_t source) {
    struct of_source o = {source, json_array()};
    rmd_coord_listings(core, add_of, &o);
    return o.list;
}

/* ---- lists */

static void add_list(void *ctx, const struct rmd_list_view *x) {
    json_t *kinds = json_array(), *health = json_array(), *o;
    for (uint32_t bit = 1; bit <= RMD_LIST_URL; bit <<= 1)
        if (x->list->kinds & bit)
            json_array_append_new(kinds, json_string(rmd_list_kind_name(bit)));
    for (size_t i = 0; i < x->n_health; i++) {
        const struct rmd_list_health_view *h = &x->health[i];
        json_array_append_new(health, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "node", h->node, "kind", h->kind,
                                                "state", h->state, "tested", rmd_json_time(h->tested_wall_ms), "why",
                                                rmd_json_text(h->why), "last_error", rmd_json_text(h->last_error)));
    }
    o = json_pack("{s:s, s:s, s:s, s:o, s:b, s:s, s:o}", "list", x->list->name, "zone", x->list->zone, "tier",
                  rmd_tier_name(x->list->tier), "kinds", kinds, "asked", x->asked, "off_because", x->off_because,
                  "health", health);
    json_object_set_new(o, "interval_ms", json_integer(x->list->interval_ms));
    json_object_set_new(o, "queries_hour", json_integer(x->hour));
    json_object_set_new(o, "per_hour", json_integer(x->list->per_hour));
    json_object_set_new(o, "queries_day", json_integer(x->day));
    json_object_set_new(o, "per_day", json_integer(x->list->per_day));
    json_object_set_new(o, "listings", json_integer(x->listings));
    json_object_set_new(o, "removal", rmd_json_text(x->list->removal));
    json_array_append_new(((struct view *)ctx)->list, o);
}

static void lists_in_core(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_lists(core, add_list, ctx);
}

void rmd_api_lists(struct rmd_api_request *r) {
    struct view v = {.r = r, .list = json_array()};
    int rc = rmd_shell_call(r->http->o.shell, lists_in_core, &v);
    if (rc < 0) {
        json_decref(v.list);
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return;
    }
    r->out = json_pack("{s:o}", "lists", v.list);
}

/* ---- commands */

static void add_check(void *ctx, const struct rmd_check_view *x) {
    json_array_append_new(((struct view *)ctx)->list,
                          json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "list", x->list, "state", x->state, "tier",
                                    x->tier, "codes", x->codes, "text", rmd_json_text(x->text), "evidence",
                                    rmd_json_text(x->evidence)));
}

static void check_in_core(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    struct view *v = ctx;
    (void)now;
    v->found = rmd_coord_check(core, v->number, add_check, v);
}

void rmd_api_listing_check(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_LISTING_CHECK, .name = rmd_api_string(r, "subject", &bad)};
    if (bad)
        return;
    if (!c.name) {
        rmd_api_fail(r, 400, RMD_EINVAL, "subject: an address or a domain is needed");
        return;
    }
    if (!rmd_api_command(r, &c, &reply))
        return;
    struct view v = {.r = r, .list = json_array(), .number = reply.number};
    int rc = rmd_shell_call(r->http->o.shell, check_in_core, &v);
    if (rc < 0) {
        json_decref(v.list);
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return;
    }
    r->out = json_pack("{s:s, s:s, s:o}", "subject", c.name, "outcome", reply.text, "lists", v.list);
}

void rmd_api_listing_removal(struct rmd_api_request *r) {
    bool bad = false;
    struct rmd_shell_reply reply;
    struct rmd_command c = {.kind = RMD_CMD_LISTING_REMOVAL,
                            .name = rmd_api_string(r, "subject", &bad),
                            .text = rmd_api_string(r, "list", &bad),
                            .reason = rmd_api_string(r, "note", &bad)};
    if (bad)
        return;
    if (!c.name || !c.text)
        rmd_api_fail(r, 400, RMD_EINVAL, "subject and list are needed");
    else if (rmd_api_command(r, &c, &reply))
        r->out = json_pack("{s:s, s:s, s:b}", "subject", c.name, "list", c.text, "noted", 1);
}
