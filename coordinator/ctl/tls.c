/* remuda tls, remuda tls-report: transport security towards receivers. */
#include "coordinator/ctl/ctl.h"

static const char *policy_words(const json_t *d) {
    const char *p = rmd_json_s(d, "policy");
    return strcmp(p, "tlsa") == 0 ? "DANE" : strcmp(p, "sts") == 0 ? "MTA-STS" : "none";
}

static void show(const json_t *answer) {
    struct rmd_table *t =
        rmd_table_new("DOMAIN|POLICY|MODE|EXPIRES|>GOOD|>FAILED|>RESUMED|IN THE CLEAR UNTIL|LAST FAILURE");
    const json_t *d;
    size_t i;
    json_array_foreach(json_object_get(answer, "domains"), i, d) {
        char expires[32], clear[32], at[32];
        struct rmd_buf failure = {0};
        const char *mode = rmd_json_s(d, "mode");
        if (*rmd_json_s(d, "last_failure"))
            rmd_buf_addf(&failure, "%s %s", rmd_ctl_when(rmd_json_s(d, "last_failure_at"), at),
                         rmd_json_s(d, "last_failure"));
        rmd_table_cell(t, rmd_json_s(d, "domain"));
        rmd_table_cell(t, policy_words(d));
        rmd_table_cell(t, *mode ? mode : "-");
        rmd_table_cell(t, rmd_ctl_when(rmd_json_s(d, "expires"), expires));
        rmd_table_count(t, (uint64_t)rmd_json_i(d, "good"));
        rmd_table_count(t, (uint64_t)rmd_json_i(d, "failed"));
        rmd_table_count(t, (uint64_t)rmd_json_i(d, "resumed"));
        rmd_table_cell(t, rmd_ctl_when(rmd_json_s(d, "in_the_clear_until"), clear));
        rmd_table_cell(t, failure.len ? rmd_buf_str(&failure) : "-");
        rmd_buf_release(&failure);
    }
    rmd_table_print(t, "no connection to such a receiver was made in the last three days");
    if (rmd_json_i(answer, "dropped"))
        printf("%lld sessions found no room and are not counted\n", (long long)rmd_json_i(answer, "dropped"));
}

int rmd_ctl_tls(struct rmd_ctl *c) {
    const char *domain = NULL;
    int rc = rmd_ctl_options(c, NULL, &domain, 0, 1);
    json_t *answer = NULL;
    char path[512], *e = NULL;
    if (rc >= 0)
        return rc;
    if (domain)
        e = rmd_ctl_escape(c, domain);
    rmd_format(path, sizeof path, "/v1/tls%s%s", e ? "?domain=" : "", e ? e : "");
    free(e);
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    return rmd_ctl_show(c, rc, answer, show);
}

/* One report a line: what RFC 8460 calls a report is about one domain. */
int rmd_ctl_tls_report(struct rmd_ctl *c) {
    const char *domain = NULL, *day = NULL;
    const struct rmd_ctl_option o[] = {{"day", &day, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, &domain, 0, 1);
    json_t *answer = NULL;
    const json_t *report;
    size_t i;
    if (rc >= 0)
        return rc;
    char path[700], *e = domain ? rmd_ctl_escape(c, domain) : NULL, *d = day ? rmd_ctl_escape(c, day) : NULL;
    rmd_format(path, sizeof path, "/v1/tls/reports?%s%s%s%s%s", d ? "day=" : "", d ? d : "", d && e ? "&" : "",
               e ? "domain=" : "", e ? e : "");
    free(e);
    free(d);
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    const json_t *reports = json_object_get(answer, "reports");
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK && !json_array_size(reports))
        fprintf(stderr, "remuda: no TLS session%s%s on that day is known\n", domain ? " with " : "",
                domain ? domain : "");
    json_array_foreach(c->json ? NULL : reports, i, report) {
        rmd_ctl_print_json(report);
    }
    json_decref(answer);
    return rc;
}
