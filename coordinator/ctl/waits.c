/* What a campaign waits for, for people: reasons of its own mail only, as the API tells them by provider. */
#include "coordinator/ctl/ctl.h"

/* A reason and the providers where it holds. */
static void add_reason(json_t *reasons, const char *why, const char *provider) {
    json_t *at = json_object_get(reasons, why);
    if (!at)
        json_object_set_new(reasons, why, at = json_array());
    json_array_append_new(at, json_string(provider));
}

static void add_reasons(const json_t *reasons, const char *first, const char *between, struct rmd_buf *out) {
    const char *why;
    json_t *at, *p;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)reasons, why, at) {
        rmd_buf_addstr(out, out->len ? between : first);
        rmd_ctl_local(why, out);
        rmd_buf_addstr(out, " (");
        json_array_foreach(at, i, p) rmd_buf_addf(out, "%s%s", i ? ", " : "",
                                                  *json_string_value(p) ? json_string_value(p) : "no provider yet");
        rmd_buf_addc(out, ')');
    }
}

void rmd_ctl_waits(const json_t *campaign, const char *first, const char *between, struct rmd_buf *out) {
    json_t *reasons = json_object(), *w;
    size_t i;
    char count[32], when[32];
    const char *next = "";
    int64_t later = 0;
    json_array_foreach(json_object_get(campaign, "waits"), i, w) {
        const char *why = rmd_json_s(w, "why"), *at = rmd_json_s(w, "next_attempt");
        bool time = strcmp(why, "time of the next attempt") == 0; /* told with the time */
        if (*why && !time)
            add_reason(reasons, why, rmd_json_s(w, "provider"));
        later += time ? rmd_json_i(w, "deferred") : 0;
        next = *at && (!*next || strcmp(at, next) < 0) ? at : next;
    }
    add_reasons(reasons, first, between, out);
    if (rmd_json_i(campaign, "leased")) {
        rmd_format_count((uint64_t)rmd_json_i(campaign, "leased"), count);
        rmd_buf_addstr(out, out->len ? between : first);
        rmd_buf_addf(out, "%s with nodes", count);
    }
    if (later) {
        rmd_format_count((uint64_t)later, count);
        rmd_buf_addstr(out, out->len ? between : first);
        rmd_buf_addf(out, "%s to be tried again", count);
        if (*next)
            rmd_buf_addf(out, ", next attempt %s", rmd_ctl_when_next(next, when));
    }
    json_decref(reasons);
}
