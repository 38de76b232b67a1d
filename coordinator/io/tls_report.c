/* RFC 8460 reports as JSON (see tls_report.h). Records leave the core packed: JSON is made outside of its thread. */
#include "coordinator/io/tls_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/coll.h>
#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "proto/tls.h"

enum { DAY_MS = 86400000, DAY_S = 86400 };

struct packed {
    uint32_t day;
    const char *domain;
    struct rmd_buf bytes; /* be32 length, record; again */
};

void rmd_tls_pack(const Remuda__TlsDayRecord *r, struct rmd_buf *out) {
    size_t at = out->len;
    rmd_buf_add(out, "\0\0\0", 4);
    rmd_pb_encode(r, out);
    if (!out->overflow)
        rmd_put_be32(out->p + at, (uint32_t)(out->len - at - 4));
}

static void pack(void *ctx, const Remuda__TlsDayRecord *r) {
    struct packed *p = ctx;
    if (r->day == p->day && (!p->domain || strcmp(r->domain, p->domain) == 0))
        rmd_tls_pack(r, &p->bytes);
}

static void pack_all(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_coord_tls_days(core, pack, ctx);
}

/* ---- one policy */

static void add_lines(json_t *array, const char *text, const char *only) {
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), skip = only ? strlen(only) : 0;
        if (n && (!only || strncmp(p, only, skip) == 0))
            json_array_append_new(array, json_stringn(p + skip, n - skip));
        p += n + (p[n] == '\n');
    }
}

static json_t *policy_json(const Remuda__TlsDayRecord *r) {
    json_t *lines = json_array(), *hosts = json_array(), *o = json_object();
    add_lines(lines, r->policy, NULL);
    if (r->kind == RMD_TLS_POLICY_STS)
        add_lines(hosts, r->policy, "mx: ");
    else
        for (size_t i = 0; i < r->n_mx_host; i++)
            json_array_append_new(hosts, rmd_json_text(r->mx_host[i]));
    json_object_set_new(o, "policy-type", json_string(rmd_tls_policy_name(r->kind)));
    if (json_array_size(lines))
        json_object_set(o, "policy-string", lines);
    json_object_set_new(o, "policy-domain", rmd_json_text(r->domain));
    if (json_array_size(hosts))
        json_object_set(o, "mx-host", hosts);
    json_decref(lines);
    json_decref(hosts);
    return o;
}

static json_t *failure_json(const Remuda__TlsRow *f) {
    json_t *o = json_object();
    json_object_set_new(o, "result-type", json_string(rmd_tls_result_name(f->result)));
    json_object_set_new(o, "sending-mta-ip", rmd_json_text(f->sending_ip));
    if (*f->mx_host)
        json_object_set_new(o, "receiving-mx-hostname", rmd_json_text(f->mx_host));
    if (*f->receiving_ip)
        json_object_set_new(o, "receiving-ip", rmd_json_text(f->receiving_ip));
    json_object_set_new(o, "failed-session-count", json_integer((json_int_t)f->sessions));
    if (*f->reason)
        json_object_set_new(o, "failure-reason-code", rmd_json_text(f->reason));
    return o;
}

static json_t *entry_json(const Remuda__TlsDayRecord *r) {
    json_t *failures = json_array();
    for (size_t i = 0; i < r->n_failure; i++)
        json_array_append_new(failures, failure_json(r->failure[i]));
    if (r->failed_unlisted) {
        Remuda__TlsRow rest = REMUDA__TLS_ROW__INIT;
        rest.result = RMD_TLS_R_VALIDATION_FAILURE;
        rest.sessions = r->failed_unlisted;
        rest.reason = (char *)(uintptr_t) "of further kinds, not kept apart";
        json_array_append_new(failures, failure_json(&rest));
    }
    json_t *o =
        json_pack("{s:o, s:{s:I, s:I}}", "policy", policy_json(r), "summary", "total-successful-session-count",
                  (json_int_t)r->good, "total-failure-session-count", (json_int_t)r->failed);
    if (json_array_size(failures))
        json_object_set(o, "failure-details", failures);
    json_decref(failures);
    return o;
}

/* ---- reports */

static void time_text(int64_t wall_ms, char out[32]) {
    rmd_date_rfc3339(wall_ms, out);
    memcpy(out + 19, "Z", 2); /* whole seconds */
}

static json_t *report_json(const struct rmd_tls_who *who, uint32_t day, const char *domain) {
    char start[32], end[32], date[32], id[RMD_DOMAIN_MAX + 64];
    int64_t from = (int64_t)day * DAY_MS;
    time_text(from, start);
    time_text(from + DAY_MS - 1000, end);
    rmd_date_rfc3339(from, date);
    date[10] = 0;
    (void)rmd_format(id, sizeof id, "%s.%s@remuda", date, domain);
    json_t *o = json_object();
    json_object_set_new(o, "organization-name", rmd_json_text(who->organization));
    json_object_set_new(o, "date-range", json_pack("{s:s, s:s}", "start-datetime", start, "end-datetime", end));
    if (*who->contact)
        json_object_set_new(o, "contact-info", rmd_json_text(who->contact));
    json_object_set_new(o, "report-id", rmd_json_text(id));
    json_object_set_new(o, "policies", json_array());
    return o;
}

json_t *rmd_tls_reports_of(const struct rmd_tls_who *who, uint32_t day, struct rmd_slice packed) {
    json_t *all = json_array(), *by_domain = json_object();
    struct rmd_arena a = {0};
    for (size_t at = 0; at + 4 <= packed.n;) {
        size_t n = rmd_get_be32(packed.p + at);
        rmd_arena_reset(&a);
        const Remuda__TlsDayRecord *r = n <= packed.n - at - 4 ? rmd_pb_decode(&remuda__tls_day_record__descriptor,
                                                                               rmd_slice(packed.p + at + 4, n), &a)
                                                               : NULL;
        if (!r)
            break;
        json_t *report = json_object_get(by_domain, r->domain);
        if (!report) {
            report = report_json(who, day, r->domain);
            json_object_set(by_domain, r->domain, report);
            json_array_append_new(all, report);
        }
        json_array_append_new(json_object_get(report, "policies"), entry_json(r));
        at += 4 + n;
    }
    rmd_arena_release(&a);
    json_decref(by_domain);
    return all;
}

int rmd_tls_reports(struct rmd_shell *s, const struct rmd_tls_who *who, uint32_t day, const char *domain,
                    json_t **out) {
    struct packed p = {.day = day, .domain = domain, .bytes = {.limit = 256 << 20}};
    int rc = rmd_shell_call(s, pack_all, &p);
    if (rc == RMD_OK)
        *out = rmd_tls_reports_of(who, day, rmd_buf_slice(&p.bytes));
    rmd_buf_release(&p.bytes);
    return rc;
}

static bool is_about(const json_t *report, const char *domain) {
    const json_t *p = json_array_get(json_object_get(report, "policies"), 0);
    const char *name = json_string_value(json_object_get(json_object_get(p, "policy"), "policy-domain"));
    return name && strcmp(name, domain) == 0;
}

int rmd_tls_reports_of_file(const char *folder, uint32_t day, const char *domain, json_t **out) {
    char date[32], path[1200];
    rmd_date_rfc3339((int64_t)day * DAY_MS, date);
    date[10] = 0;
    (void)rmd_format(path, sizeof path, "%s/%s.jsonl", folder, date);
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? RMD_ENOTFOUND : RMD_EIO;
    char *line = NULL;
    size_t cap = 0;
    *out = json_array();
    while (getline(&line, &cap, f) > 0) {
        json_t *report = json_loads(line, 0, NULL);
        if (report && (!domain || is_about(report, domain)))
            json_array_append(*out, report);
        json_decref(report);
    }
    free(line);
    fclose(f);
    return RMD_OK;
}
