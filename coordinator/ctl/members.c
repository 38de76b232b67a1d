/* Options that become members of a request, and the line that says that it was done. */
#include "coordinator/ctl/ctl.h"

bool rmd_ctl_set_count(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text) {
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

bool rmd_ctl_set_duration(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text) {
    int64_t ms;
    if (text && !rmd_ctl_duration(c, option, text, &ms))
        return false;
    if (text)
        json_object_set_new(o, member, json_integer(ms));
    return true;
}

void rmd_ctl_set_text(json_t *o, const char *member, const char *text) {
    if (text)
        json_object_set_new(o, member, json_string(text));
}

bool rmd_ctl_each_piece(const char *list, bool (*fn)(void *ctx, const char *piece), void *ctx) {
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

void rmd_ctl_query(struct rmd_ctl *c, struct rmd_buf *path, const char *key, const char *value) {
    if (!value)
        return;
    char *e = rmd_ctl_escape(c, value);
    rmd_buf_addf(path, "&%s=%s", key, e);
    free(e);
}

void rmd_ctl_show_warnings(const json_t *answer) {
    json_t *w;
    size_t i;
    json_array_foreach(json_object_get(answer, "warnings"), i, w) printf("warning: %s\n", json_string_value(w));
}

int rmd_ctl_done(struct rmd_ctl *c, int rc, json_t *answer, const char *before, const char *name, const char *after) {
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        printf("%s%s%s\n", before, name, after);
    if (rc == CTL_OK && !c->json)
        rmd_ctl_show_warnings(answer);
    json_decref(answer);
    return rc;
}
