/* remuda source, node, stream, keygen. */
#include <errno.h>
#include <sys/stat.h>

#include "coordinator/ctl/ctl.h"
#include "proto/io/bus.h"

/* ---- options that become members of a request */

/* "50k" -> number; false after a usage error. */
static bool set_count(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text) {
    uint64_t n;
    if (!text)
        return true;
    if (rmd_parse_count(rmd_slice_str(text), &n) < 0 || n > INT64_MAX) {
        rmd_ctl_usage(c, "--%s: \"%s\" is not a number like 500 or 50k", option, text);
        return false;
    }
    json_object_set_new(o, member, json_integer((json_int_t)n));
    return true;
}

static bool set_duration(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text) {
    int64_t ms;
    if (text && !rmd_ctl_duration(c, option, text, &ms))
        return false;
    if (text)
        json_object_set_new(o, member, json_integer(ms));
    return true;
}

static void set_text(json_t *o, const char *member, const char *text) {
    if (text)
        json_object_set_new(o, member, json_string(text));
}

/* Calls fn for each piece of "a,b,c"; false stops. */
static bool each_piece(const char *list, bool (*fn)(void *ctx, const char *piece), void *ctx) {
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        char *one = rmd_strndup(p, n);
        bool go_on = fn(ctx, one);
        free(one);
        if (!go_on)
            return false;
        p += n + (p[n] == ',');
    }
    return true;
}

struct pieces {
    struct rmd_ctl *c;
    json_t *to;
};

static bool add_name(void *ctx, const char *piece) {
    json_array_append_new(((struct pieces *)ctx)->to, json_string(piece));
    return true;
}

static bool add_lane_cap(void *ctx, const char *piece) {
    struct pieces *p = ctx;
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

static bool add_key(void *ctx, const char *piece) {
    struct pieces *p = ctx;
    const char *eq = strchr(piece, '=');
    if (!eq || eq == piece) {
        rmd_ctl_usage(p->c, "--key: \"%s\" is not SELECTOR=PATH", piece);
        return false;
    }
    json_array_append_new(p->to, json_pack("{s:s%, s:s}", "selector", piece, (size_t)(eq - piece), "path", eq + 1));
    return true;
}

static int finish(struct rmd_ctl *c, int rc, json_t *answer, const char *before, const char *name,
                  const char *after) {
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        printf("%s%s%s\n", before, name, after);
    json_decref(answer);
    return rc;
}

/* ---- sources */

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
    set_text(o, "node", k->node);
    set_text(o, "helo", k->helo);
    set_text(o, "bind", k->bind);
    set_text(o, "label", k->label);
    set_text(o, "warmup", k->warmup);
    set_text(o, "since", k->since);
    each_piece(k->pool, add_name, &(struct pieces){c, pools});
    if (k->pool)
        json_object_set(o, "pools", pools);
    json_object_set_new(o, "lane_caps", lanes);
    json_decref(pools);
    if (set_count(c, o, "cap_per_day", "cap", k->cap) &&
        set_count(c, o, "lane_cap_per_day", "lane-cap", k->lane_cap) &&
        set_count(c, o, "warm_as", "warm-as", k->warm_as) &&
        each_piece(k->lane_caps, add_lane_cap, &(struct pieces){c, lanes})) {
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
    set_text(o, "address", address);
    rc = rmd_ctl_call(c, "POST", "/v1/sources", o, &answer);
    return finish(c, rc, answer, "source ", address,
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
    return finish(c, rc, answer, "source ", address, " is changed");
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
            json_t *p;
            size_t k;
            json_array_foreach(json_object_get(s, "pools"), k, p)
                rmd_buf_addf(&pools, "%s%s", k ? "," : "", json_string_value(p));
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
    printf("  node      %s (%s)\n  HELO      %s\n  network   %s%s%s\n", rmd_json_s(s, "node"),
           json_is_true(json_object_get(s, "node_connected")) ? "connected" : "not connected", rmd_json_s(s, "helo"),
           rmd_json_s(s, "network"), *rmd_json_s(s, "label") ? "  " : "", rmd_json_s(s, "label"));
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

/* ---- nodes */

int rmd_ctl_node_add(struct rmd_ctl *c) {
    const char *name, *key = NULL;
    const struct rmd_ctl_option opt[] = {{"key", &key, NULL}, {0}};
    int rc = rmd_ctl_options(c, opt, &name, 1, 1);
    if (rc >= 0)
        return rc;
    if (!key)
        return rmd_ctl_usage(c, "--key is needed: what `remuda keygen` printed on the node's host");
    if (rmd_has_suffix(key, ".key"))
        return rmd_ctl_usage(c, "--key: %s is the secret key, which stays on the node's host; give the .pub file",
                             key);
    uint8_t raw[RMD_KEY_BYTES];
    char text[41], err[256];
    if (rmd_curve_parse(key, raw) < 0) {
        if (rmd_curve_read_file(key, false, raw, err, sizeof err) < 0)
            return rmd_ctl_usage(c, "--key: neither a public key of 40 characters nor a file with one: %s", err);
    }
    rmd_curve_format(raw, text);
    json_t *answer = NULL;
    rc = rmd_ctl_call(c, "POST", "/v1/nodes", json_pack("{s:s, s:s}", "name", name, "key", text), &answer);
    return finish(c, rc, answer, "node ", name, " is enrolled; it may connect now");
}

static void node_trouble(const json_t *n, struct rmd_buf *out) {
    json_int_t bad = rmd_json_i(n, "malformed_from") + rmd_json_i(n, "malformed_at");
    rmd_buf_addstr(out, rmd_json_s(n, "trouble"));
    if (bad)
        rmd_buf_addf(out, "%s%lld malformed frame%s", out->len ? "; " : "", (long long)bad, bad == 1 ? "" : "s");
}

int rmd_ctl_node_list(struct rmd_ctl *c) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    json_t *answer = NULL, *n;
    size_t i;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", "/v1/nodes", NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new("NODE|HOST|STATE|HEARD|>LEASES|>MESSAGES|>IN DOUBT|>CONNECTIONS|TROUBLE");
        json_array_foreach(json_object_get(answer, "nodes"), i, n) {
            bool on = json_is_true(json_object_get(n, "connected"));
            char heard[32] = "never";
            if (json_is_integer(json_object_get(n, "last_heard_ms")))
                rmd_format_duration(rmd_json_i(n, "last_heard_ms"), heard);
            rmd_table_cell(t, rmd_json_s(n, "name"));
            rmd_table_cell(t, rmd_json_s(n, "hostname"));
            rmd_table_cell(t, on ? "connected" : strcmp(rmd_json_s(n, "state"), "revoked") == 0 ? "revoked" : "away");
            rmd_table_cell(t, heard);
            rmd_table_count(t, (uint64_t)rmd_json_i(n, "leases"));
            rmd_table_count(t, (uint64_t)rmd_json_i(n, "messages_leased"));
            rmd_table_count(t, (uint64_t)rmd_json_i(n, "in_doubt"));
            if (on)
                rmd_table_count(t, (uint64_t)rmd_json_i(n, "connections"));
            else
                rmd_table_cell(t, "");
            struct rmd_buf trouble = {0};
            node_trouble(n, &trouble);
            rmd_table_cell(t, rmd_buf_str(&trouble));
            rmd_buf_release(&trouble);
        }
        rmd_table_print(t, "no nodes yet; `remuda node add --help` tells how to enrol one");
    }
    json_decref(answer);
    return rc;
}

/* ---- streams */

int rmd_ctl_stream_set(struct rmd_ctl *c) {
    const char *name, *pool = NULL, *sending = NULL, *ret = NULL, *key = NULL, *url = NULL, *mailto = NULL,
                      *priority = NULL, *age = NULL;
    const char *warmup = NULL, *warm_as = NULL, *since = NULL, *cold = NULL;
    const char *dsn = NULL, *requiretls = NULL, *tls = NULL, *one = NULL;
    const char *rmin = NULL, *rmax = NULL, *uncertain = NULL, *wait = NULL, *cap = NULL, *canon = NULL;
    const struct rmd_ctl_option opt[] = {{"pool", &pool, NULL},
                                         {"sending-domain", &sending, NULL},
                                         {"return-domain", &ret, NULL},
                                         {"key", &key, NULL},
                                         {"unsubscribe-url", &url, NULL},
                                         {"unsubscribe-mailto", &mailto, NULL},
                                         {"priority", &priority, NULL},
                                         {"age-limit", &age, NULL},
                                         {"retry-min", &rmin, NULL},
                                         {"retry-max", &rmax, NULL},
                                         {"uncertain", &uncertain, NULL},
                                         {"node-return-wait", &wait, NULL},
                                         {"domain-cap", &cap, NULL},
                                         {"canonicalization", &canon, NULL},
                                         {"domain-warmup", &warmup, NULL},
                                         {"domain-warm-as", &warm_as, NULL},
                                         {"domain-since", &since, NULL},
                                         {"cold-lanes", &cold, NULL},
                                         {"dsn", &dsn, NULL},
                                         {"requiretls", &requiretls, NULL},
                                         {"one-signature", &one, NULL},
                                         {"tls", &tls, NULL},
                                         {0}};
    int rc = rmd_ctl_options(c, opt, &name, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *o = json_object(), *answer = NULL, *keys = json_array();
    set_text(o, "pool", pool);
    set_text(o, "sending_domain", sending);
    set_text(o, "return_domain", ret);
    set_text(o, "unsubscribe_url", url);
    set_text(o, "unsubscribe_mailto", mailto);
    set_text(o, "uncertain_policy", uncertain);
    set_text(o, "canonicalization", canon);
    set_text(o, "domain_warmup", warmup);
    set_text(o, "domain_since", since);
    set_text(o, "cold_lanes", cold);
    set_text(o, "dsn", dsn);
    set_text(o, "requiretls", requiretls);
    set_text(o, "one_signature", one);
    set_text(o, "tls", tls);
    bool fine = set_count(c, o, "priority", "priority", priority) &&
                set_count(c, o, "domain_cap_per_day", "domain-cap", cap) &&
                set_count(c, o, "domain_warm_as", "domain-warm-as", warm_as) &&
                set_duration(c, o, "age_limit_ms", "age-limit", age) &&
                set_duration(c, o, "retry_min_ms", "retry-min", rmin) &&
                set_duration(c, o, "retry_max_ms", "retry-max", rmax) &&
                set_duration(c, o, "node_return_wait_ms", "node-return-wait", wait) &&
                each_piece(key, add_key, &(struct pieces){c, keys});
    if (key)
        json_object_set(o, "keys", keys);
    json_decref(keys);
    if (!fine) {
        json_decref(o);
        return CTL_USAGE;
    }
    char *e = rmd_ctl_escape(c, name), path[512];
    rmd_format(path, sizeof path, "/v1/streams/%s", e);
    free(e);
    rc = rmd_ctl_call(c, "PUT", path, o, &answer);
    return finish(c, rc, answer, "stream ", name, " is set");
}

int rmd_ctl_stream_list(struct rmd_ctl *c) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    json_t *answer = NULL, *s;
    size_t i;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", "/v1/streams", NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new("STREAM|POOL|SENDING DOMAIN|>PRIORITY|SELECTORS|UNCERTAIN|STATE");
        json_array_foreach(json_object_get(answer, "streams"), i, s) {
            struct rmd_buf keys = {0}, state = {0};
            json_t *k;
            size_t n;
            json_array_foreach(json_object_get(s, "keys"), n, k)
                rmd_buf_addf(&keys, "%s%s", n ? "," : "", rmd_json_s(k, "selector"));
            rmd_buf_addf(&state, "%s%s%s", rmd_json_s(s, "state"), *rmd_json_s(s, "reason") ? ": " : "",
                         rmd_json_s(s, "reason"));
            rmd_table_cell(t, rmd_json_s(s, "name"));
            rmd_table_cell(t, rmd_json_s(s, "pool"));
            rmd_table_cell(t, rmd_json_s(s, "sending_domain"));
            rmd_table_count(t, (uint64_t)rmd_json_i(s, "priority"));
            rmd_table_cell(t, keys.len ? rmd_buf_str(&keys) : "unsigned");
            rmd_table_cell(t, rmd_json_s(s, "uncertain_policy"));
            rmd_table_cell(t, rmd_buf_str(&state));
            rmd_buf_release(&keys);
            rmd_buf_release(&state);
        }
        rmd_table_print(t, "no streams yet; `remuda stream set --help` tells how to make one");
    }
    json_decref(answer);
    return rc;
}

static void duration_row(const char *name, const json_t *s, const char *key, const char *what) {
    char text[32];
    rmd_format_duration(rmd_json_i(s, key), text);
    printf("  %-18s %s%s%s\n", name, text, *what ? "  " : "", what);
}

static void text_row(const char *name, const json_t *s, const char *key, const char *absent) {
    const char *text = rmd_json_s(s, key);
    printf("  %-18s %s\n", name, *text ? text : absent);
}

/* What `stream set` sets, by the names of its options. */
static void show_stream(const json_t *s) {
    json_t *k;
    size_t i;
    char cap[32], when[32];
    printf("stream %s  %s%s%s\n", rmd_json_s(s, "name"), rmd_json_s(s, "state"), *rmd_json_s(s, "reason") ? ": " : "",
           rmd_json_s(s, "reason"));
    text_row("pool", s, "pool", "-");
    text_row("sending-domain", s, "sending_domain", "-");
    text_row("return-domain", s, "return_domain", "-");
    json_array_foreach(json_object_get(s, "keys"), i, k)
        printf("  %-18s %s=%s  (d=%s)\n", i ? "" : "key", rmd_json_s(k, "selector"), rmd_json_s(k, "path"),
               rmd_json_s(k, "domain"));
    text_row("canonicalization", s, "canonicalization", "-");
    text_row("one-signature", s, "one_signature", "-");
    text_row("dsn", s, "dsn", "-");
    text_row("requiretls", s, "requiretls", "-");
    text_row("unsubscribe-url", s, "unsubscribe_url", "none");
    text_row("unsubscribe-mailto", s, "unsubscribe_mailto", "none");
    printf("  %-18s %lld%s\n", "priority", (long long)rmd_json_i(s, "priority"),
           rmd_json_i(s, "priority") ? "" : "  transactional");
    duration_row("age-limit", s, "age_limit_ms", "then a recipient is given up");
    duration_row("retry-min", s, "retry_min_ms", "");
    duration_row("retry-max", s, "retry_max_ms", "");
    text_row("tls", s, "tls", "may");
    text_row("uncertain", s, "uncertain_policy", "-");
    duration_row("node-return-wait", s, "node_return_wait_ms", "");
    rmd_format_count((uint64_t)rmd_json_i(s, "domain_cap_per_day"), cap);
    printf("  %-18s %s\n", "domain-cap", rmd_json_i(s, "domain_cap_per_day") ? cap : "none of its own");
    text_row("cold-lanes", s, "cold_lanes", "yes");
    json_array_foreach(json_object_get(s, "refused_at"), i, k)
        printf("  %-18s %s: %s%s%s  incident %lld\n", i ? "" : "refused-at", rmd_json_s(k, "provider"),
               rmd_json_s(k, "state"), *rmd_json_s(k, "until") ? " until " : "",
               *rmd_json_s(k, "until") ? rmd_ctl_when(rmd_json_s(k, "until"), when) : "",
               (long long)rmd_json_i(k, "incident"));
}

int rmd_ctl_stream_show(struct rmd_ctl *c) {
    const char *name;
    int rc = rmd_ctl_options(c, NULL, &name, 1, 1);
    json_t *answer = NULL, *s, *found = NULL;
    size_t i;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", "/v1/streams", NULL, &answer);
    json_array_foreach(json_object_get(answer, "streams"), i, s) if (strcmp(rmd_json_s(s, "name"), name) == 0) found =
        s;
    if (rc == CTL_OK && !found)
        rc = rmd_ctl_fail(c, CTL_NOT_FOUND, "there is no stream %s; `remuda stream list` shows them", name);
    rc = rmd_ctl_show(c, rc, json_incref(found), show_stream);
    json_decref(answer);
    return rc;
}

/* ---- keys */

int rmd_ctl_keygen(struct rmd_ctl *c) {
    const char *prefix;
    int rc = rmd_ctl_options(c, NULL, &prefix, 1, 1);
    if (rc >= 0)
        return rc;
    char secret_path[4096], public_path[4096], err[256] = "", text[41];
    uint8_t public_key[RMD_KEY_BYTES], secret_key[RMD_KEY_BYTES];
    struct stat st;
    rmd_format(secret_path, sizeof secret_path, "%s.key", prefix);
    rmd_format(public_path, sizeof public_path, "%s.pub", prefix);
    if (stat(secret_path, &st) == 0)
        return rmd_ctl_fail(c, CTL_FAILED, "%s exists already and is not overwritten", secret_path);
    rc = rmd_curve_generate(public_key, secret_key);
    if (rc == RMD_OK)
        rc = rmd_curve_write_file(secret_path, true, secret_key, err, sizeof err);
    if (rc == RMD_OK)
        rc = rmd_curve_write_file(public_path, false, public_key, err, sizeof err);
    explicit_bzero(secret_key, sizeof secret_key);
    if (rc < 0)
        return rmd_ctl_fail(c, CTL_FAILED, "%s", *err ? err : "no key could be made");
    rmd_curve_format(public_key, text);
    if (c->json) {
        json_t *o = json_pack("{s:s, s:s, s:s}", "secret", secret_path, "public", public_path, "key", text);
        rmd_ctl_print_json(o);
        json_decref(o);
    } else {
        printf("secret key  %s (keep it on this host)\npublic key  %s\n%s\n", secret_path, public_path, text);
    }
    return CTL_OK;
}
