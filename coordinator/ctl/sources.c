/* remuda source add, set, list and show. */
#include "coordinator/ctl/ctl.h"

static bool add_name(void *ctx, const char *piece) {
    json_array_append_new(((struct rmd_ctl_pieces *)ctx)->to, json_string(piece));
    return true;
}

static bool add_lane_cap(void *ctx, const char *piece) {
    struct rmd_ctl_pieces *p = ctx;
    const char *eq = strchr(piece, '=');
    uint64_t n;
    bool none = eq && strcmp(eq + 1, "default") == 0;
    if (!eq || (!none && rmd_parse_count(rmd_slice_str(eq + 1), &n) < 0)) {
        rmd_ctl_usage(p->c, "--lane-caps: \"%s\" is not provider=number or provider=default", piece);
        return false;
    }
    char *name = rmd_strndup(piece, (size_t)(eq - piece));
    json_object_set_new(p->to, name, none ? json_null() : json_integer((json_int_t)n));
    free(name);
    return true;
}

/* Options of `add` and `set`. */
struct source_options {
    const char *node, *helo, *pool, *bind, *label, *cap, *lane_cap, *lane_caps, *warmup, *warm_as, *since;
};

/* Reads them into a request; rc as rmd_ctl_options. */
static int source_options(struct rmd_ctl *c, const char **address, struct source_options *k, json_t **out) {
    const struct rmd_ctl_option opt[] = {
        {"node", &k->node, NULL},         {"helo", &k->helo, NULL},           {"pool", &k->pool, NULL},
        {"bind", &k->bind, NULL},         {"label", &k->label, NULL},         {"cap", &k->cap, NULL},
        {"lane-cap", &k->lane_cap, NULL}, {"lane-caps", &k->lane_caps, NULL}, {"warmup", &k->warmup, NULL},
        {"warm-as", &k->warm_as, NULL},   {"since", &k->since, NULL},         {0}};
    int rc = rmd_ctl_options(c, opt, address, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *o = json_object(), *lanes = json_object(), *pools = json_array();
    rmd_ctl_set_text(o, "node", k->node);
    rmd_ctl_set_text(o, "helo", k->helo);
    rmd_ctl_set_text(o, "bind", k->bind);
    rmd_ctl_set_text(o, "label", k->label);
    rmd_ctl_set_text(o, "warmup", k->warmup);
    rmd_ctl_set_text(o, "since", k->since);
    rmd_ctl_each_piece(k->pool, add_name, &(struct rmd_ctl_pieces){c, pools});
    if (k->pool)
        json_object_set(o, "pools", pools);
    json_object_set_new(o, "lane_caps", lanes);
    json_decref(pools);
    if (rmd_ctl_set_count(c, o, "cap_per_day", "cap", k->cap) &&
        rmd_ctl_set_count(c, o, "lane_cap_per_day", "lane-cap", k->lane_cap) &&
        rmd_ctl_set_count(c, o, "warm_as", "warm-as", k->warm_as) &&
        rmd_ctl_each_piece(k->lane_caps, add_lane_cap, &(struct rmd_ctl_pieces){c, lanes})) {
        *out = o;
        return -1;
    }
    json_decref(o);
    return CTL_USAGE;
}

int rmd_ctl_source_add(struct rmd_ctl *c) {
    const char *address;
    struct source_options k = {0};
    json_t *o, *answer = NULL;
    int rc = source_options(c, &address, &k, &o);
    if (rc >= 0)
        return rc;
    if (!k.node || !k.helo || !k.pool) {
        json_decref(o);
        return rmd_ctl_usage(c, "--node, --helo and --pool are needed");
    }
    rmd_ctl_set_text(o, "address", address);
    rc = rmd_ctl_call(c, "POST", "/v1/sources", o, &answer);
    return rmd_ctl_done(c, rc, answer, "source ", address,
                        " added; `remuda source show` tells whether its node can use it");
}

int rmd_ctl_source_set(struct rmd_ctl *c) {
    const char *address;
    struct source_options k = {0};
    json_t *o, *answer = NULL;
    int rc = source_options(c, &address, &k, &o);
    if (rc >= 0)
        return rc;
    if (json_object_size(o) == 1 && !k.lane_caps) {
        json_decref(o);
        return rmd_ctl_usage(c, "nothing to change is named");
    }
    char *e = rmd_ctl_escape(c, address), path[256];
    rmd_format(path, sizeof path, "/v1/sources/%s", e);
    free(e);
    rc = rmd_ctl_call(c, "PUT", path, o, &answer);
    return rmd_ctl_done(c, rc, answer, "source ", address, " is changed");
}

static void cap_cell(struct rmd_table *t, const json_t *o) {
    if (rmd_json_i(o, "cap_per_day"))
        rmd_table_count(t, (uint64_t)rmd_json_i(o, "cap_per_day"));
    else
        rmd_table_cell(t, "none");
}

/* "500", "500; google 1,000, yahoo 200", "none": of each lane. */
static void lane_caps_text(const json_t *s, bool own, struct rmd_buf *out) {
    char n[32];
    const char *provider;
    json_t *cap;
    bool first = true;
    rmd_format_count((uint64_t)rmd_json_i(s, "lane_cap_in_force"), n);
    rmd_buf_addstr(out, rmd_json_i(s, "lane_cap_in_force") ? n : "none");
    json_object_foreach(json_object_get(s, "lane_caps"), provider, cap) {
        if (!own) {
            rmd_buf_addc(out, '*');
            return;
        }
        rmd_format_count((uint64_t)json_integer_value(cap), n);
        rmd_buf_addf(out, "%s%s %s", first ? "; but " : ", ", provider, json_integer_value(cap) ? n : "none");
        first = false;
    }
}

static void pools_text(const json_t *s, const char *between, struct rmd_buf *out) {
    const json_t *p;
    size_t i;
    json_array_foreach(json_object_get(s, "pools"), i, p)
        rmd_buf_addf(out, "%s%s", i ? between : "", json_string_value(p));
}

static const char *state_of(const json_t *s) {
    if (strcmp(rmd_json_s(s, "state"), "active") != 0)
        return rmd_json_s(s, "state");
    if (*rmd_json_s(s, "trouble"))
        return "trouble";
    if (strcmp(rmd_json_s(s, "lane_state"), "open") != 0)
        return rmd_json_s(s, "lane_state");
    json_t *l;
    size_t i;
    json_array_foreach(json_object_get(s, "lanes"), i,
                       l) if (strcmp(rmd_json_s(l, "state"), "quarantined") == 0) return "partly quarantined";
    return json_is_true(json_object_get(s, "node_connected")) ? "active" : "node away";
}

int rmd_ctl_source_list(struct rmd_ctl *c) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    json_t *answer = NULL, *s;
    size_t i;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", "/v1/sources", NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new(
            "SOURCE|NODE|NETWORK|POOLS|STATE|>REPUTATION|>CAP/24H|>LANE CAP|>USED|>DELIVERED|>DEFERRED|>BOUNCED");
        json_array_foreach(json_object_get(answer, "sources"), i, s) {
            struct rmd_buf pools = {0};
            pools_text(s, ",", &pools);
            rmd_table_cell(t, rmd_json_s(s, "address"));
            rmd_table_cell(t, rmd_json_s(s, "node"));
            rmd_table_cell(t, rmd_json_s(s, "network"));
            rmd_table_cell(t, rmd_buf_str(&pools));
            rmd_table_cell(t, state_of(s));
            rmd_table_count(t, (uint64_t)rmd_json_i(s, "reputation"));
            cap_cell(t, s);
            struct rmd_buf lanes = {0};
            lane_caps_text(s, false, &lanes);
            rmd_table_cell(t, rmd_buf_str(&lanes));
            rmd_buf_release(&lanes);
            rmd_table_count(t, (uint64_t)rmd_json_i(s, "used_24h"));
            rmd_table_count(t, (uint64_t)rmd_json_i(s, "delivered"));
            rmd_table_count(t, (uint64_t)rmd_json_i(s, "deferred"));
            rmd_table_count(t, (uint64_t)rmd_json_i(s, "bounced"));
            rmd_buf_release(&pools);
        }
        rmd_table_print(t, "no sources yet; `remuda source add --help` tells how to add one");
    }
    json_decref(answer);
    return rc;
}

static void show_caps(const json_t *s) {
    struct rmd_buf lanes = {0};
    char all[32], used[32];
    lane_caps_text(s, true, &lanes);
    rmd_format_count((uint64_t)rmd_json_i(s, "cap_per_day"), all);
    rmd_format_count((uint64_t)rmd_json_i(s, "used_24h"), used);
    printf("  caps      in any 24 h: %s in all, at each provider: %s\n  used      %s\n",
           rmd_json_i(s, "cap_per_day") ? all : "none", rmd_buf_str(&lanes), used);
    rmd_buf_release(&lanes);
}

static void show_source(const json_t *s) {
    json_t *l;
    size_t i;
    printf("source %s  %s\n", rmd_json_s(s, "address"), state_of(s));
    if (strcmp(rmd_json_s(s, "bind"), rmd_json_s(s, "address")) != 0)
        printf("  bound as  %s\n", rmd_json_s(s, "bind"));
    printf("  node      %s (%s)\n  HELO      %s\n  network   %s\n", rmd_json_s(s, "node"),
           json_is_true(json_object_get(s, "node_connected")) ? "connected" : "not connected", rmd_json_s(s, "helo"),
           rmd_json_s(s, "network"));
    printf("  label     %s\n", *rmd_json_s(s, "label") ? rmd_json_s(s, "label") : "-");
    struct rmd_buf pools = {0};
    pools_text(s, ", ", &pools);
    printf("  pools     %s\n", rmd_buf_str(&pools));
    rmd_buf_release(&pools);
    show_caps(s);
    if (*rmd_json_s(s, "reason"))
        printf("  reason    %s\n", rmd_json_s(s, "reason"));
    if (*rmd_json_s(s, "trouble"))
        printf("  TROUBLE   %s\n", rmd_json_s(s, "trouble"));
    if (*rmd_json_s(s, "warmup"))
        printf("  warm-up   plan %s; `remuda warmup %s` tells more\n", rmd_json_s(s, "warmup"),
               rmd_json_s(s, "address"));
    if (rmd_json_i(s, "warm_as"))
        printf("  warm      as %lld a day since %.10s\n", (long long)rmd_json_i(s, "warm_as"),
               rmd_json_s(s, "warm_since"));
    struct rmd_table *t = rmd_table_new(
        "LANE|STATE|WARM-UP|REPUTATION|>CAP/24H|>USED|>OUTSTANDING|MORE IN|>DELIVERED|>DEFERRED|>BOUNCED|>INCIDENT");
    json_array_foreach(json_object_get(s, "lanes"), i, l) {
        char wait[32];
        rmd_table_cell(t, rmd_json_s(l, "provider"));
        bool barred =
            json_is_true(json_object_get(l, "must_register")) && !json_is_true(json_object_get(l, "registered"));
        rmd_table_cell(t, barred ? "to be registered" : rmd_json_s(l, "state"));
        rmd_table_cell(t, rmd_json_s(l, "warmup"));
        rmd_format(wait, sizeof wait, "%lld %s", (long long)rmd_json_i(l, "reputation"),
                   rmd_json_s(l, "reputation_band"));
        rmd_table_cell(t, wait);
        rmd_format_duration(rmd_json_i(l, "frees_in_ms"), wait);
        cap_cell(t, l);
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "used_24h"));
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "outstanding"));
        rmd_table_cell(t, rmd_json_i(l, "frees_in_ms") ? wait : "now");
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "delivered"));
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "deferred"));
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "bounced"));
        if (rmd_json_i(l, "incident"))
            rmd_table_count(t, (uint64_t)rmd_json_i(l, "incident"));
        else
            rmd_table_cell(t, "");
    }
    rmd_table_print(
        t, "  no lanes yet: nothing was sent from here; a provider's lane is made with its first recipients");
    rmd_ctl_show_stopped_sites(json_object_get(s, "stopped_sites"));
    rmd_ctl_show_pace(json_object_get(s, "lanes"));
    rmd_ctl_show_reputation(json_object_get(s, "reputations"));
    if (json_array_size(json_object_get(s, "listings"))) {
        puts("blocklists");
        rmd_ctl_show_listings(json_object_get(s, "listings"), "");
    }
}

int rmd_ctl_source_show(struct rmd_ctl *c) {
    const char *address;
    int rc = rmd_ctl_options(c, NULL, &address, 1, 1);
    json_t *answer = NULL;
    if (rc >= 0)
        return rc;
    char *e = rmd_ctl_escape(c, address), path[256];
    rmd_format(path, sizeof path, "/v1/sources/%s", e);
    free(e);
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        show_source(answer);
    json_decref(answer);
    return rc;
}
