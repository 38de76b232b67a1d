/* Transport security: what is known of domains' policies and sessions, and reports about them. */
#include <stdlib.h>

#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "coordinator/io/tls_report.h"
#include "proto/tls.h"

enum { DAY_MS = 86400000 };

struct view {
    json_t *list, *by_key; /* by_key: "domain kind" -> the object in list */
    const char *domain;
    uint64_t dropped;
};

static void set_time(json_t *o, const char *key, int64_t wall_ms) {
    json_object_set_new(o, key, rmd_json_time(wall_ms));
}

static void add_count(json_t *o, const char *key, uint64_t more) {
    json_int_t before = json_integer_value(json_object_get(o, key));
    json_object_set_new(o, key, json_integer(before + (json_int_t)more));
}

/* Records come oldest first: what a later one knows counts. */
static void add_day(void *ctx, const Remuda__TlsDayRecord *r) {
    struct view *v = ctx;
    char key[RMD_DOMAIN_MAX + 32];
    if (v->domain && strcmp(v->domain, r->domain) != 0)
        return;
    (void)rmd_format(key, sizeof key, "%s %u", r->domain, r->kind);
    json_t *o = json_object_get(v->by_key, key);
    if (!o) {
        o = json_object();
        json_object_set_new(o, "domain", rmd_json_text(r->domain));
        json_object_set_new(o, "policy", json_string(rmd_tls_policy_name(r->kind)));
        json_object_set(v->by_key, key, o);
        json_array_append_new(v->list, o);
    }
    bool sts = r->kind == RMD_TLS_POLICY_STS && *r->policy;
    json_object_set_new(o, "mode", sts ? json_string(rmd_sts_mode_name(r->mode)) : json_null());
    json_object_set_new(o, "id", sts ? rmd_json_text(r->sts_id) : json_null());
    json_object_set_new(o, "records", rmd_json_text(r->policy));
    set_time(o, "expires", sts ? r->expires_wall_ms : 0);
    add_count(o, "good", r->good);
    add_count(o, "failed", r->failed);
    add_count(o, "resumed", r->resumed);
    set_time(o, "last", r->last_wall_ms);
    if (r->last_failure_wall_ms || !json_object_get(o, "last_failure")) {
        json_object_set_new(o, "last_failure", rmd_json_text(r->last_failure));
        set_time(o, "last_failure_at", r->last_failure_wall_ms);
    }
    if (r->downgrade_until_wall_ms || !json_object_get(o, "in_the_clear_until"))
        set_time(o, "in_the_clear_until", r->downgrade_until_wall_ms);
}

static void domains_in_core(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    struct view *v = ctx;
    (void)now;
    v->dropped = rmd_coord_tls_days(core, add_day, v);
}

static int by_name(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int rc = strcmp(json_string_value(json_object_get(x, "domain")), json_string_value(json_object_get(y, "domain")));
    return rc ? rc
              : strcmp(json_string_value(json_object_get(x, "policy")),
                       json_string_value(json_object_get(y, "policy")));
}

/* The same list in order of names. */
static json_t *sorted(json_t *list) {
    size_t n = json_array_size(list);
    json_t **v = rmd_alloc((n + 1) * sizeof *v), *out = json_array();
    for (size_t i = 0; i < n; i++)
        v[i] = json_array_get(list, i);
    qsort(v, n, sizeof *v, by_name);
    for (size_t i = 0; i < n; i++)
        json_array_append(out, v[i]);
    free(v);
    json_decref(list);
    return out;
}

void rmd_api_tls(struct rmd_api_request *r) {
    struct view v = {.list = json_array(), .by_key = json_object(), .domain = rmd_api_query(r, "domain")};
    int rc = rmd_shell_call(r->http->o.shell, domains_in_core, &v);
    json_decref(v.by_key);
    if (rc < 0) {
        json_decref(v.list);
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return;
    }
    r->out = json_pack("{s:o, s:I}", "domains", sorted(v.list), "dropped", (json_int_t)v.dropped);
}

void rmd_api_tls_reports(struct rmd_api_request *r) {
    int64_t now_ms = rmd_shell_now(r->http->o.shell).wall_ms, wall_ms = now_ms;
    const char *text = rmd_api_query(r, "day"), *domain = rmd_api_query(r, "domain");
    const struct rmd_tls_who who = {r->http->o.organization, r->http->o.contact};
    if (text && (strlen(text) != 10 || rmd_date_parse_rfc3339(rmd_slice_str(text), &wall_ms) != RMD_OK)) {
        rmd_api_fail(r, 400, RMD_EINVAL, "day: must be a date like 2026-11-27");
        return;
    }
    uint32_t day = (uint32_t)(wall_ms / DAY_MS);
    json_t *reports = NULL;
    int rc = wall_ms < 0 || wall_ms > now_ms ? RMD_ENOTFOUND
                                             : rmd_tls_reports_of_file(r->http->o.tls_reports, day, domain, &reports);
    if (rc < 0 && wall_ms <= now_ms)
        rc = rmd_tls_reports(r->http->o.shell, &who, day, domain, &reports);
    if (rc == RMD_ECLOSED) {
        rmd_api_fail(r, 503, rc, "the coordinator is stopping");
        return;
    }
    r->out = json_pack("{s:o}", "reports", reports ? reports : json_array());
}
