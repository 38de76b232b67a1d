/* remuda warmup, signal, source register. */
#include "coordinator/ctl/ctl.h"

static int finish(struct rmd_ctl *c, int rc, json_t *answer, const char *text) {
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        puts(text);
    json_decref(answer);
    return rc;
}

static const char *name_of(const json_t *l) {
    const char *s = rmd_json_s(l, "source");
    return *s ? s : rmd_json_s(l, "domain");
}

/* "3/23", "warm". */
static void stage_cell(struct rmd_table *t, const json_t *l) {
    char text[32];
    int64_t stage = rmd_json_i(l, "stage"), n = rmd_json_i(l, "stages");
    rmd_format(text, sizeof text, "%lld/%lld", (long long)stage, (long long)n);
    rmd_table_cell(t, stage > n ? "-" : text);
}

static void count_or_none(struct rmd_table *t, const json_t *l, const char *key) {
    if (rmd_json_i(l, key))
        rmd_table_count(t, (uint64_t)rmd_json_i(l, key));
    else
        rmd_table_cell(t, "none");
}

static void more_cell(struct rmd_table *t, const json_t *l) {
    char text[32];
    json_t *v = json_object_get(l, "frees_in_ms");
    rmd_format_duration(json_integer_value(v), text);
    rmd_table_cell(t, json_is_null(v) ? "when leases report" : json_integer_value(v) ? text : "now");
}

/* When it will be warm, or since when it is. */
static void warm_cell(struct rmd_table *t, const json_t *l) {
    char text[32];
    const char *since = rmd_json_s(l, "warm_since"), *forecast = rmd_json_s(l, "forecast");
    rmd_format(text, sizeof text, *since ? "since %.10s" : "%.10s",
               *since      ? since
               : *forecast ? forecast
                           : "no date");
    rmd_table_cell(t, text);
}

/* It never had mail, and nobody set its stage: there is nothing to say of it alone. */
static bool is_quiet(const json_t *l) {
    bool warm = rmd_json_i(l, "stage") > rmd_json_i(l, "stages");
    return json_is_true(json_object_get(l, "new")) && !rmd_json_i(l, "outstanding") &&
           (warm || rmd_json_i(l, "stage") == 1);
}

static bool same(const json_t *a, const json_t *b) {
    static const char *const key[] = {"plan", "state", "detail", "warm_since"};
    for (size_t i = 0; i < sizeof key / sizeof key[0]; i++)
        if (strcmp(rmd_json_s(a, key[i]), rmd_json_s(b, key[i])) != 0)
            return false;
    return strcmp(name_of(a), name_of(b)) == 0;
}

/* Those of which nothing is to be said, in one line for each source or domain and what holds them. */
static void show_quiet(struct rmd_table *t, json_t *lanes) {
    json_t *l, *m;
    size_t i, k;
    json_array_foreach(lanes, i, l) {
        char text[40];
        size_t n = 0;
        bool first = is_quiet(l);
        for (k = 0; k < i && first; k++)
            first = !is_quiet(json_array_get(lanes, k)) || !same(l, json_array_get(lanes, k));
        if (!first)
            continue;
        json_array_foreach(lanes, k, m) n += is_quiet(m) && same(l, m);
        rmd_format(text, sizeof text, "(%zu providers)", n);
        rmd_table_cell(t, name_of(l));
        rmd_table_cell(t, n > 1 ? text : rmd_json_s(l, "provider"));
        rmd_table_cell(t, rmd_json_s(l, "plan"));
        rmd_table_cell(t, rmd_json_s(l, "state"));
        for (k = 0; k < 7; k++)
            rmd_table_cell(t, "");
        warm_cell(t, l);
        rmd_table_cell(t, rmd_json_s(l, "detail"));
    }
}

static void show_lanes(const json_t *answer, bool all) {
    struct rmd_table *t =
        rmd_table_new("WARM-UP|PROVIDER|PLAN|STATE|>STAGE|>CAP/24H|>USED|>FREE|MORE IN|>TODAY|>NEEDED|WARM|WHY");
    json_t *l, *lanes = json_object_get(answer, "lanes");
    size_t i;
    json_array_foreach(lanes, i, l) {
        if (!all && is_quiet(l))
            continue;
        rmd_table_cell(t, name_of(l));
        rmd_table_cell(t, rmd_json_s(l, "provider"));
        rmd_table_cell(t, rmd_json_s(l, "plan"));
        rmd_table_cell(t, rmd_json_s(l, "state"));
        stage_cell(t, l);
        count_or_none(t, l, "cap_per_day");
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "used_24h"));
        if (json_is_null(json_object_get(l, "free")))
            rmd_table_cell(t, "");
        else
            rmd_table_count(t, (uint64_t)rmd_json_i(l, "free"));
        more_cell(t, l);
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "distinct"));
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "needed"));
        warm_cell(t, l);
        rmd_table_cell(t, rmd_json_s(l, "detail"));
    }
    if (!all)
        show_quiet(t, lanes);
    rmd_table_print(
        t, "nothing warms up; `remuda source add --warmup PLAN` or `remuda stream set --domain-warmup PLAN` begins");
}

static void percent_cell(struct rmd_table *t, const json_t *g, const char *key) {
    char text[32];
    rmd_format(text, sizeof text, "%.2f %%", rmd_json_f(g, key) * 100);
    rmd_table_cell(t, text);
}

static void show_gates(const json_t *answer) {
    struct rmd_table *t = rmd_table_new("GATES OF|DAY|GATE|>EVENTS|>OF|>RATE|>SURELY|>AT MOST|>ALLOWED|VERDICT");
    json_t *l, *g;
    size_t i, k;
    json_array_foreach(json_object_get(answer, "lanes"), i, l) {
        json_array_foreach(json_object_get(l, "gates"), k, g) {
            rmd_table_cell(t, rmd_json_s(l, "provider"));
            rmd_table_cell(t, rmd_json_s(l, "day"));
            rmd_table_cell(t, rmd_json_s(g, "gate"));
            rmd_table_count(t, (uint64_t)rmd_json_i(g, "events"));
            rmd_table_count(t, (uint64_t)rmd_json_i(g, "of"));
            percent_cell(t, g, "rate");
            percent_cell(t, g, "low");
            percent_cell(t, g, "high");
            percent_cell(t, g, "max");
            rmd_table_cell(t, rmd_json_s(g, "verdict"));
        }
    }
    rmd_table_print(t, "no gates yet: no day of its warm-up with mail is over");
}

int rmd_ctl_warmup_show(struct rmd_ctl *c) {
    const char *name = NULL;
    bool all = false;
    const struct rmd_ctl_option o[] = {{"all", NULL, &all}, {0}};
    int rc = rmd_ctl_options(c, o, &name, 0, 1);
    json_t *answer = NULL;
    char path[512] = "/v1/warmup";
    if (rc >= 0)
        return rc;
    if (name) {
        char *e = rmd_ctl_escape(c, name);
        rmd_format(path, sizeof path, "/v1/warmup?name=%s", e);
        free(e);
    }
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    if (rc == CTL_OK && c->json) {
        rmd_ctl_print_json(answer);
    } else if (rc == CTL_OK) {
        printf("sending day %s\n", rmd_json_s(answer, "day"));
        show_lanes(answer, all);
        if (name)
            show_gates(answer);
    }
    json_decref(answer);
    return rc;
}

int rmd_ctl_warmup_verb(struct rmd_ctl *c) {
    const char *name[2] = {0}, *stage = NULL, *reason = NULL, *verb = c->command->verb;
    bool set = strcmp(verb, "set") == 0, resume = strcmp(verb, "resume") == 0;
    const struct rmd_ctl_option opt[] = {{"reason", &reason, NULL}, {set ? "stage" : NULL, &stage, NULL}, {0}};
    int rc = rmd_ctl_options(c, opt, name, 1, 2);
    uint64_t n = 0;
    if (rc >= 0)
        return rc;
    if (!resume && !reason)
        return rmd_ctl_usage(c, "--reason is needed");
    if (set && !stage)
        return rmd_ctl_usage(c, "--stage is needed");
    if (set && strcmp(stage, "warm") != 0 && (rmd_parse_u64(rmd_slice_str(stage), &n) < 0 || !n || n > 1000))
        return rmd_ctl_usage(c, "--stage: \"%s\" is neither a stage from 1 nor \"warm\"", stage);
    json_t *o = json_object(), *answer = NULL;
    rmd_ctl_set_text(o, "provider", name[1]);
    rmd_ctl_set_text(o, "reason", reason);
    if (set)
        json_object_set_new(o, "stage", n ? json_integer((json_int_t)n) : json_string("warm"));
    char *e = rmd_ctl_escape(c, name[0]), path[512], text[512];
    rmd_format(path, sizeof path, "/v1/warmup/%s/%s", e, verb);
    free(e);
    rc = rmd_ctl_call(c, "POST", path, o, &answer);
    char at[64];
    int64_t changed = rmd_json_i(answer, "changed");
    rmd_format(at, sizeof at, "%lld provider%s", (long long)changed, changed == 1 ? "" : "s");
    rmd_format(text, sizeof text, "warm-up of %s at %s: %s%s%s", name[0], name[1] ? name[1] : at,
               !changed ? "it was so already"
               : set    ? "stage "
               : resume ? "goes on"
                        : "paused",
               set ? stage : "", set ? " from now on" : "");
    return finish(c, rc, answer, text);
}

int rmd_ctl_signal_complaints(struct rmd_ctl *c) {
    const char *source = NULL, *domain = NULL, *provider = NULL, *day = NULL, *count = NULL, *reason = NULL;
    const struct rmd_ctl_option opt[] = {{"source", &source, NULL},
                                         {"domain", &domain, NULL},
                                         {"provider", &provider, NULL},
                                         {"day", &day, NULL},
                                         {"count", &count, NULL},
                                         {"reason", &reason, NULL},
                                         {0}};
    int rc = rmd_ctl_options(c, opt, NULL, 0, 0);
    uint64_t n = 0;
    if (rc >= 0)
        return rc;
    if (!source == !domain || !provider || !day || !count)
        return rmd_ctl_usage(c, "--source or --domain, --provider, --day and --count are needed");
    if (rmd_parse_count(rmd_slice_str(count), &n) < 0 || n > INT32_MAX)
        return rmd_ctl_usage(c, "--count: \"%s\" is not a number of recipients", count);
    json_t *o = json_pack("{s:s, s:s, s:I}", "provider", provider, "day", day, "count", (json_int_t)n),
           *answer = NULL;
    rmd_ctl_set_text(o, "source", source);
    rmd_ctl_set_text(o, "domain", domain);
    rmd_ctl_set_text(o, "reason", reason);
    rc = rmd_ctl_call(c, "POST", "/v1/signals/complaints", o, &answer);
    return finish(
        c, rc, answer,
        "counted; `remuda reputation NAME` shows what it costs, `remuda warmup NAME` what the gates make of it");
}

int rmd_ctl_source_register(struct rmd_ctl *c) {
    const char *name[2], *reason = NULL;
    bool undo = false;
    const struct rmd_ctl_option opt[] = {{"reason", &reason, NULL}, {"undo", NULL, &undo}, {0}};
    int rc = rmd_ctl_options(c, opt, name, 2, 2);
    if (rc >= 0)
        return rc;
    json_t *o = json_pack("{s:s, s:b}", "provider", name[1], "registered", !undo), *answer = NULL;
    rmd_ctl_set_text(o, "reason", reason);
    char *e = rmd_ctl_escape(c, name[0]), path[256], text[256];
    rmd_format(path, sizeof path, "/v1/sources/%s/register", e);
    free(e);
    rc = rmd_ctl_call(c, "POST", path, o, &answer);
    rmd_copy(text, sizeof text, rmd_json_s(answer, "note"));
    return finish(c, rc, answer, text);
}
