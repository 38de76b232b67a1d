/* remuda reputation, and what `source show` says of reputation and pace. */
#include "coordinator/ctl/ctl.h"

static const char *band_text(const json_t *o, const char *score, const char *band, char out[48]) {
    bool few = json_is_true(json_object_get(o, "little_evidence"));
    rmd_format(out, 48, "%lld %s%s", (long long)rmd_json_i(o, score), rmd_json_s(o, band),
               few ? ", little evidence" : "");
    return out;
}

static const char *where(const json_t *o) {
    const char *p = rmd_json_s(o, "provider");
    return *p ? p : "all";
}

static void points_cell(struct rmd_table *t, int64_t points) {
    char text[16];
    rmd_format(text, sizeof text, points > 0 ? "+%lld" : "%lld", (long long)points);
    rmd_table_cell(t, text);
}

static void half_life_cell(struct rmd_table *t, int64_t hours) {
    char text[32] = "";
    if (hours)
        rmd_format_duration(hours * 3600000, text);
    rmd_table_cell(t, text);
}

void rmd_ctl_show_reputation(const json_t *all) {
    json_t *o, *p;
    size_t i, k;
    char text[48];
    json_array_foreach(all, i, o) {
        char attempts[32];
        rmd_format_count((uint64_t)rmd_json_i(o, "attempts"), attempts);
        printf("%sreputation of %s%s%s: %s, of %s attempt%s\n", i ? "\n" : "", rmd_json_s(o, "name"),
               *rmd_json_s(o, "provider") ? " at " : "", rmd_json_s(o, "provider"),
               band_text(o, "score", "band", text), attempts, rmd_json_i(o, "attempts") == 1 ? "" : "s");
        struct rmd_table *t = rmd_table_new("  TERM|>POINTS|>AT MOST|HALF-LIFE|WHY");
        rmd_table_cell(t, "  neutral");
        points_cell(t, 50);
        rmd_table_cell(t, "");
        rmd_table_cell(t, "");
        rmd_table_cell(t, "where everybody begins");
        json_array_foreach(json_object_get(o, "terms"), k, p) {
            rmd_format(text, sizeof text, "  %s", rmd_json_s(p, "term"));
            rmd_table_cell(t, text);
            points_cell(t, rmd_json_i(p, "points"));
            points_cell(t, rmd_json_i(p, "weight"));
            half_life_cell(t, rmd_json_i(p, "half_life_hours"));
            rmd_table_cell(t, rmd_json_s(p, "reason"));
        }
        rmd_table_print(t, NULL);
    }
}

static void show_list(const json_t *all) {
    struct rmd_table *t = rmd_table_new("WHAT|NAME|AT|>SCORE|BAND|>ATTEMPTS|MOST AGAINST IT");
    json_t *o, *p;
    size_t i, k;
    json_array_foreach(all, i, o) {
        const json_t *worst = NULL;
        json_array_foreach(json_object_get(o, "terms"), k,
                           p) if (rmd_json_i(p, "points") < (worst ? rmd_json_i(worst, "points") : 0)) worst = p;
        char text[240] = "";
        rmd_table_cell(t, rmd_json_s(o, "kind"));
        rmd_table_cell(t, rmd_json_s(o, "name"));
        rmd_table_cell(t, where(o));
        rmd_table_count(t, (uint64_t)rmd_json_i(o, "score"));
        rmd_format(text, sizeof text, "%s%s", rmd_json_s(o, "band"),
                   json_is_true(json_object_get(o, "little_evidence")) ? ", little evidence" : "");
        rmd_table_cell(t, text);
        rmd_table_count(t, (uint64_t)rmd_json_i(o, "attempts"));
        text[0] = 0;
        if (worst)
            rmd_format(text, sizeof text, "%s %lld: %s", rmd_json_s(worst, "term"),
                       (long long)rmd_json_i(worst, "points"), rmd_json_s(worst, "reason"));
        rmd_table_cell(t, text);
    }
    rmd_table_print(t, "no sources and no sending domains yet");
}

int rmd_ctl_reputation(struct rmd_ctl *c) {
    const char *name = NULL;
    int rc = rmd_ctl_options(c, NULL, &name, 0, 1);
    json_t *answer = NULL;
    if (rc >= 0)
        return rc;
    char *e = name ? rmd_ctl_escape(c, name) : NULL, path[512];
    rmd_format(path, sizeof path, "/v1/reputation%s%s", e ? "?name=" : "", e ? e : "");
    free(e);
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK && name)
        rmd_ctl_show_reputation(json_object_get(answer, "reputations"));
    else if (rc == CTL_OK)
        show_list(json_object_get(answer, "reputations"));
    json_decref(answer);
    return rc;
}

/* ---- pace */

static void add_pace(struct rmd_table *t, const char *lane, const json_t *p, bool is_lane) {
    char text[32];
    rmd_table_cell(t, lane);
    if (rmd_json_i(p, "per_minute"))
        rmd_table_count(t, (uint64_t)rmd_json_i(p, "per_minute"));
    else
        rmd_table_cell(t, "no limit");
    if (is_lane && rmd_json_i(p, "per_hour"))
        rmd_table_count(t, (uint64_t)rmd_json_i(p, "per_hour"));
    else
        rmd_table_cell(t, "");
    if (rmd_json_i(p, "connections"))
        rmd_table_count(t, (uint64_t)rmd_json_i(p, "connections"));
    else
        rmd_table_cell(t, "no limit");
    if (!is_lane) {
        for (int i = 0; i < 6; i++)
            rmd_table_cell(t, "");
        return;
    }
    rmd_table_count(t, (uint64_t)rmd_json_i(p, "in_use"));
    char connects[64];
    rmd_format_count((uint64_t)rmd_json_i(p, "connects_per_minute"), connects);
    rmd_table_cell(t, rmd_json_i(p, "connects_per_minute") ? connects : "no limit");
    const char *since = rmd_json_s(p, "slowed_since"), *rests = rmd_json_s(p, "rests_until");
    rmd_table_cell(t, *since ? rmd_ctl_when(since, text) : "");
    rmd_table_cell(t, *rests ? rmd_ctl_when(rests, text) : "");
    rmd_format(text, sizeof text, "%.1f %%", 100 * rmd_json_f(p, "deferred_share"));
    rmd_table_cell(t, rmd_json_i(p, "tried") ? text : "");
    rmd_format_duration(rmd_json_i(p, "told_ms_ago") / 1000 * 1000, text);
    rmd_table_cell(t, text);
}

/* Single sites of "other" that refuse it. */
void rmd_ctl_show_stopped_sites(const json_t *sites) {
    const json_t *x;
    size_t i;
    char when[32];
    if (!json_array_size(sites))
        return;
    struct rmd_table *t = rmd_table_new("STOPPED AT|STATE|UNTIL|>INCIDENT");
    json_array_foreach(sites, i, x) {
        rmd_table_cell(t, rmd_json_s(x, "domain"));
        rmd_table_cell(t, rmd_json_s(x, "state"));
        bool probed = strcmp(rmd_json_s(x, "state"), "probing") == 0;
        rmd_table_cell(t, *rmd_json_s(x, "until") ? rmd_ctl_when(rmd_json_s(x, "until"), when)
                          : probed                ? "one recipient was accepted"
                                                  : "resolved");
        rmd_table_count(t, (uint64_t)rmd_json_i(x, "incident"));
    }
    rmd_table_print(t, "");
}

void rmd_ctl_show_pace(const json_t *lanes) {
    struct rmd_table *t =
        rmd_table_new("PACE OF|>A MINUTE|>AN HOUR|>CONNECTIONS|>IN USE|>NEW A MINUTE|SLOWED SINCE|RESTS "
                      "UNTIL|>DEFERRED OF LATE|>TOLD BEFORE");
    json_t *l, *s;
    size_t i, k;
    json_array_foreach(lanes, i, l) {
        const json_t *p = json_object_get(l, "pace");
        if (!json_is_object(p))
            continue;
        add_pace(t, rmd_json_s(l, "provider"), p, true);
        json_array_foreach(json_object_get(p, "slowest_sites"), k, s) {
            char name[80];
            rmd_format(name, sizeof name, "  %s", rmd_json_s(s, "domain"));
            add_pace(t, name, s, false);
        }
    }
    rmd_table_print(t, NULL);
    json_array_foreach(lanes, i, l) {
        const json_t *p = json_object_get(l, "pace");
        if (json_is_true(json_object_get(p, "connects_bind")))
            printf(
                "%s waits for its limit connects_per_minute: %lld new connections a minute (the providers' file)\n",
                rmd_json_s(l, "provider"), (long long)rmd_json_i(p, "connects_per_minute"));
    }
}
