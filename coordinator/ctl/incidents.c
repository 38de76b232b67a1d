/* remuda incident: trouble, what it moved, what waits, and what a person says of it. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"
#include "proto/codec.h"

/* ---- incidents */

/* The source that it is about, or the first of them and how many more. */
static const char *subject(const json_t *x, char *buf, size_t size) {
    size_t n = json_array_size(json_object_get(x, "sources")) + (size_t)rmd_json_i(x, "more_sources");
    if (!*rmd_json_s(x, "source") || n < 2)
        return *rmd_json_s(x, "source") ? rmd_json_s(x, "source") : rmd_json_s(x, "subject");
    rmd_format(buf, size, "%s +%zu", rmd_json_s(x, "source"), n - 1);
    return buf;
}

int rmd_ctl_incident_list(struct rmd_ctl *c) {
    bool all = false;
    const struct rmd_ctl_option o[] = {{"all", NULL, &all}, {0}};
    int rc = rmd_ctl_options(c, o, NULL, 0, 0);
    json_t *answer = NULL, *x;
    size_t i;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", all ? "/v1/incidents?all=1" : "/v1/incidents", NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new(">NO|OPENED|SOURCE|PROVIDER|CLASS|STATE|>MOVED|>WAITING|TICKET|WHAT");
        json_array_foreach(json_object_get(answer, "incidents"), i, x) {
            char when[32], who[80];
            rmd_table_count(t, (uint64_t)rmd_json_i(x, "id"));
            rmd_table_cell(t, rmd_ctl_when(rmd_json_s(x, "opened"), when));
            rmd_table_cell(t, subject(x, who, sizeof who));
            rmd_table_cell(t, rmd_json_s(x, "provider"));
            rmd_table_cell(t, rmd_json_s(x, "class"));
            rmd_table_cell(t, rmd_json_s(x, "state"));
            rmd_table_count(t, (uint64_t)rmd_json_i(x, "moved"));
            rmd_table_count(t, (uint64_t)rmd_json_i(x, "waiting"));
            rmd_table_cell(t, rmd_json_s(x, "ticket"));
            rmd_table_cell(t, rmd_json_s(x, "title"));
        }
        rmd_table_print(t, all ? "no incidents" : "no open incidents");
    }
    json_decref(answer);
    return rc;
}

static void show_times(const json_t *x) {
    static const char *const times[][2] = {{"read", "reply read"},
                                           {"opened", "opened"},
                                           {"quarantined", "quarantined"},
                                           {"redealt", "work re-dealt"},
                                           {"resolved", "resolved"}};
    char when[32];
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (*rmd_json_s(x, times[i][0]))
            printf("  %s  %s\n", rmd_ctl_when(rmd_json_s(x, times[i][0]), when), times[i][1]);
    printf("  detected in %.1f ms", rmd_json_f(x, "detect_ms"));
    if (json_is_real(json_object_get(x, "redeal_ms")))
        printf(", re-dealt in %.1f ms", rmd_json_f(x, "redeal_ms"));
    putchar('\n');
}

static void show_moving(json_t *x) {
    const char *to;
    json_t *n;
    size_t i = 0;
    printf("  moved     %" PRId64 " recipient%s", rmd_json_i(x, "moved"), rmd_json_i(x, "moved") == 1 ? "" : "s");
    json_object_foreach(json_object_get(x, "moved_by_source"), to, n) {
        printf("%s%s", i++ ? ", " : " to ", to);
        if (json_is_integer(n))
            printf(" (%" PRId64 ")", (int64_t)json_integer_value(n));
    }
    printf("\n  waiting   %" PRId64, rmd_json_i(x, "waiting"));
    if (rmd_json_i(x, "waiting_most") > rmd_json_i(x, "waiting"))
        printf(" (%" PRId64 " at most)", rmd_json_i(x, "waiting_most"));
    printf("%s%s\n", *rmd_json_s(x, "waits_for") ? ": " : "", rmd_json_s(x, "waits_for"));
}

static void show_line(const json_t *x) {
    json_t *l;
    size_t i;
    char when[32];
    if (json_array_size(json_object_get(x, "timeline")))
        printf("  what happened\n");
    json_array_foreach(json_object_get(x, "timeline"), i, l)
        printf("    %s  %s\n", rmd_ctl_when(rmd_json_s(l, "at"), when), rmd_json_s(l, "text"));
}

static void show_next(const json_t *x) {
    static const char *const field[][2] = {
        {"next_step", "next"}, {"removal", "removal"}, {"ticket", "ticket"}, {"resolution", "resolved"}};
    char when[32];
    if (*rmd_json_s(x, "lapses"))
        printf("  lapses    %s by itself: single recipients are tried then, and it is stopped for longer if one is "
               "refused; "
               "`remuda incident resolve` is sooner\n",
               rmd_ctl_when(rmd_json_s(x, "lapses"), when));
    if (json_is_true(json_object_get(x, "needs_person")))
        printf("  ends      by a person only: ask for removal, then `remuda incident resolve %" PRId64 "`\n",
               rmd_json_i(x, "id"));
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        if (*rmd_json_s(x, field[i][0]))
            printf("  %-8s  %s\n", field[i][1], rmd_json_s(x, field[i][0]));
}

/* A surge of unknown users: nothing moved, no source is involved. */
static void show_surge(const json_t *s) {
    char when[32], a[32], b[32];
    rmd_format_count((uint64_t)rmd_json_i(s, "denied"), a);
    rmd_format_count((uint64_t)rmd_json_i(s, "answered"), b);
    printf("  surge     since %s", rmd_ctl_when(rmd_json_s(s, "since"), when));
    if (*rmd_json_s(s, "over"))
        printf(", over since %s\n", rmd_ctl_when(rmd_json_s(s, "over"), when));
    else
        printf(": %s of %s recipients denied\n", a, b);
    static const char *const counts[][3] = {
        {"pending", "pending", "denied, and not suppressed until somebody decides or they are denied again"},
        {"undone", "undone", "may be contacted again"},
        {"confirmed", "confirmed", "suppressed"},
        {"not_kept", "not kept", "denied and neither suppressed nor pending: more than can be kept"}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (i && !rmd_json_i(s, counts[i][0]))
            continue;
        rmd_format_count((uint64_t)rmd_json_i(s, counts[i][0]), a);
        printf("  %-9s %s  %s\n", counts[i][1], a, counts[i][2]);
    }
}

static void show_where(const json_t *x) {
    const char *site = rmd_json_s(x, "site"), *provider = rmd_json_s(x, "provider");
    size_t n = json_array_size(json_object_get(x, "sources")) + (size_t)rmd_json_i(x, "more_sources");
    if (*site)
        printf("  at        the site of %s (%s)\n", site, provider);
    if (n < 2 && *rmd_json_s(x, "source"))
        printf("  source    %s%s%s\n", rmd_json_s(x, "source"), *site ? "" : " at ",
               *site       ? ""
               : *provider ? provider
                           : "every provider");
    if (n > 1)
        printf("  sources   %zu%s%s\n", n, *site ? "" : " at ", *site ? "" : provider);
}

/* Of several, each has a line. */
static void show_sources(const json_t *x) {
    const json_t *sources = json_object_get(x, "sources"), *s;
    size_t i;
    if (json_array_size(sources) < 2)
        return;
    putchar('\n');
    struct rmd_table *t = rmd_table_new("SOURCE|REFUSED|STATE|UNTIL|>CAME BACK");
    json_array_foreach(sources, i, s) {
        char since[32], until[32];
        bool over = *rmd_json_s(s, "over") != 0, probed = strcmp(rmd_json_s(s, "state"), "probing") == 0;
        const char *end = rmd_json_s(s, over ? "over" : "until");
        rmd_table_cell(t, rmd_json_s(s, "address"));
        rmd_table_cell(t, rmd_ctl_when(rmd_json_s(s, "since"), since));
        rmd_table_cell(t, over ? "over since" : rmd_json_s(s, "state"));
        rmd_table_cell(t, *end ? rmd_ctl_when(end, until) : probed ? "it is accepted" : "resolved");
        rmd_table_count(t, (uint64_t)rmd_json_i(s, "came_back"));
    }
    rmd_table_print(t, NULL);
    if (rmd_json_i(x, "more_sources"))
        printf("and %" PRId64 " more\n", rmd_json_i(x, "more_sources"));
}

static void show_incident(json_t *x) {
    printf("incident %" PRId64 " (%s): %s\n", rmd_json_i(x, "id"), rmd_json_s(x, "state"), rmd_json_s(x, "title"));
    if (*rmd_json_s(x, "subject"))
        printf("  about     %s\n", rmd_json_s(x, "subject"));
    show_where(x);
    printf("  class     %s, scope %s\n  cause     %s\n", rmd_json_s(x, "class"), rmd_json_s(x, "scope"),
           rmd_json_s(x, "cause"));
    const json_t *surge = json_object_get(x, "surge");
    show_times(x);
    if (surge)
        show_surge(surge);
    else
        show_moving(x);
    show_next(x);
    show_line(x);
    show_sources(x);
}

int rmd_ctl_incident_show(struct rmd_ctl *c) {
    const char *number;
    int rc = rmd_ctl_options(c, NULL, &number, 1, 1);
    uint64_t n;
    json_t *answer = NULL, *x, *found = NULL;
    size_t i;
    if (rc >= 0)
        return rc;
    if (rmd_parse_u64(rmd_slice_str(number), &n) < 0)
        return rmd_ctl_usage(c, "\"%s\" is not an incident's number", number);
    rc = rmd_ctl_call(c, "GET", "/v1/incidents?all=1", NULL, &answer);
    json_array_foreach(json_object_get(answer, "incidents"), i, x) if ((uint64_t)rmd_json_i(x, "id") == n) found = x;
    if (rc == CTL_OK && !found) {
        rc = rmd_ctl_fail(c, CTL_NOT_FOUND, "there is no incident %s", number);
    } else if (rc == CTL_OK && c->json) {
        rmd_ctl_print_json(found);
    } else if (rc == CTL_OK) {
        show_incident(found);
    }
    json_decref(answer);
    return rc;
}

static int post(struct rmd_ctl *c, const char *number, json_t *body, const char *verb, json_t **answer) {
    char *e = rmd_ctl_escape(c, number), path[300];
    rmd_format(path, sizeof path, "/v1/incidents/%s/%s", e, verb);
    free(e);
    return rmd_ctl_call(c, "POST", path, body, answer);
}

int rmd_ctl_incident_resolve(struct rmd_ctl *c) {
    const char *number, *reason = "", *ticket = NULL;
    const struct rmd_ctl_option o[] = {{"reason", &reason, NULL}, {"ticket", &ticket, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, &number, 1, 1);
    json_t *answer = NULL, *body;
    if (rc >= 0)
        return rc;
    body = json_pack("{s:s}", "reason", reason);
    if (ticket)
        json_object_set_new(body, "ticket", json_string(ticket));
    rc = post(c, number, body, "resolve", &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        printf("%s\n", rmd_json_s(answer, "text"));
    json_decref(answer);
    return rc;
}

int rmd_ctl_incident_ticket(struct rmd_ctl *c) {
    const char *what[2];
    int rc = rmd_ctl_options(c, NULL, what, 2, 2);
    json_t *answer = NULL;
    if (rc >= 0)
        return rc;
    rc = post(c, what[0], json_pack("{s:s}", "ticket", what[1]), "ticket", &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        printf("incident %s: ticket noted: %s\n", what[0], what[1]);
    json_decref(answer);
    return rc;
}
