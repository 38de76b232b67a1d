/* remuda stream set, list and show. */
#include "coordinator/ctl/ctl.h"

static bool add_key(void *ctx, const char *piece) {
    struct rmd_ctl_pieces *p = ctx;
    const char *eq = strchr(piece, '=');
    if (!eq || eq == piece) {
        rmd_ctl_usage(p->c, "--key: \"%s\" is not SELECTOR=PATH", piece);
        return false;
    }
    json_array_append_new(p->to, json_pack("{s:s%, s:s}", "selector", piece, (size_t)(eq - piece), "path", eq + 1));
    return true;
}

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
    rmd_ctl_set_text(o, "pool", pool);
    rmd_ctl_set_text(o, "sending_domain", sending);
    rmd_ctl_set_text(o, "return_domain", ret);
    rmd_ctl_set_text(o, "unsubscribe_url", url);
    rmd_ctl_set_text(o, "unsubscribe_mailto", mailto);
    rmd_ctl_set_text(o, "uncertain_policy", uncertain);
    rmd_ctl_set_text(o, "canonicalization", canon);
    rmd_ctl_set_text(o, "domain_warmup", warmup);
    rmd_ctl_set_text(o, "domain_since", since);
    rmd_ctl_set_text(o, "cold_lanes", cold);
    rmd_ctl_set_text(o, "dsn", dsn);
    rmd_ctl_set_text(o, "requiretls", requiretls);
    rmd_ctl_set_text(o, "one_signature", one);
    rmd_ctl_set_text(o, "tls", tls);
    bool fine = rmd_ctl_set_count(c, o, "priority", "priority", priority) &&
                rmd_ctl_set_count(c, o, "domain_cap_per_day", "domain-cap", cap) &&
                rmd_ctl_set_count(c, o, "domain_warm_as", "domain-warm-as", warm_as) &&
                rmd_ctl_set_duration(c, o, "age_limit_ms", "age-limit", age) &&
                rmd_ctl_set_duration(c, o, "retry_min_ms", "retry-min", rmin) &&
                rmd_ctl_set_duration(c, o, "retry_max_ms", "retry-max", rmax) &&
                rmd_ctl_set_duration(c, o, "node_return_wait_ms", "node-return-wait", wait) &&
                rmd_ctl_each_piece(key, add_key, &(struct rmd_ctl_pieces){c, keys});
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
    return rmd_ctl_done(c, rc, answer, "stream ", name, " is set");
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
