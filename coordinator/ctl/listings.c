/* remuda listings ...: who is on which blocklist, how the lists are, and checks out of schedule. */
#include "coordinator/ctl/ctl.h"

/* "zen.spamhaus.org 127.0.0.2: SBL...; the list's words" */
static void evidence_cell(struct rmd_table *t, const json_t *l) {
    struct rmd_buf b = {0};
    rmd_buf_addf(&b, "%s %s", rmd_json_s(l, "codes"), rmd_json_s(l, "meaning"));
    if (*rmd_json_s(l, "evidence"))
        rmd_buf_addf(&b, ": %s", rmd_json_s(l, "evidence"));
    rmd_table_cell(t, rmd_buf_str(&b));
    rmd_buf_release(&b);
}

void rmd_ctl_show_listings(const json_t *listings, const char *empty) {
    struct rmd_table *t = rmd_table_new("LIST|TIER|SUBJECT|SINCE|FOR|STATE|>RELISTED|REMOVAL ASKED|ASK AT|EVIDENCE");
    const json_t *l;
    size_t i;
    json_array_foreach(listings, i, l) {
        char since[32], lasted[32], asked[32];
        rmd_format_duration(rmd_json_i(l, "for_ms"), lasted);
        rmd_table_cell(t, rmd_json_s(l, "list"));
        rmd_table_cell(t, rmd_json_s(l, "tier"));
        rmd_table_cell(t, rmd_json_s(l, "subject"));
        rmd_table_cell(t, rmd_ctl_when(rmd_json_s(l, "since"), since));
        rmd_table_cell(t, lasted);
        rmd_table_cell(t, rmd_json_s(l, "state"));
        rmd_table_count(t, (uint64_t)rmd_json_i(l, "relisted"));
        rmd_table_cell(t,
                       *rmd_json_s(l, "removal_asked") ? rmd_ctl_when(rmd_json_s(l, "removal_asked"), asked) : "no");
        rmd_table_cell(t, rmd_json_s(l, "removal"));
        evidence_cell(t, l);
    }
    rmd_table_print(t, empty);
}

static void show_notes(const json_t *listings) {
    const json_t *l;
    size_t i;
    json_array_foreach(listings, i, l) {
        if (*rmd_json_s(l, "removal_note"))
            printf("%s on %s: removal was asked for: %s\n", rmd_json_s(l, "subject"), rmd_json_s(l, "list"),
                   rmd_json_s(l, "removal_note"));
        else if (*rmd_json_s(l, "hint") && !*rmd_json_s(l, "removed"))
            printf("%s on %s: %s\n", rmd_json_s(l, "subject"), rmd_json_s(l, "list"), rmd_json_s(l, "hint"));
    }
}

int rmd_ctl_listings(struct rmd_ctl *c) {
    const char *subject = NULL;
    bool all = false, history = false;
    const struct rmd_ctl_option o[] = {{"all", NULL, &all}, {"history", NULL, &history}, {0}};
    int rc = rmd_ctl_options(c, o, &subject, 0, 1);
    if (rc >= 0)
        return rc;
    char path[512], *e = subject ? rmd_ctl_escape(c, subject) : NULL;
    rmd_format(path, sizeof path, "/v1/listings?%s%s%s%s", all ? "all=1&" : "", history ? "history=1&" : "",
               e ? "subject=" : "", e ? e : "");
    free(e);
    json_t *answer = NULL;
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    if (rc == CTL_OK && c->json) {
        rmd_ctl_print_json(answer);
    } else if (rc == CTL_OK) {
        const json_t *l = json_object_get(answer, "listings");
        bool on = json_is_true(json_object_get(answer, "watch"));
        rmd_ctl_show_listings(
            l, history ? "nothing was ever listed"
               : on    ? "nothing is listed, as far as the lists that are asked say (`remuda listings lists`)"
                       : NULL);
        show_notes(l);
        if (!on)
            puts("the blocklist watch is off: no list is asked; `watch { enabled = true }` in the coordinator's "
                 "configuration\nswitches it on at its next start");
    }
    json_decref(answer);
    return rc;
}

static void state_cell(struct rmd_table *t, const json_t *l) {
    const json_t *h, *health = json_object_get(l, "health");
    size_t i, aside = 0, trusted = 0, n = json_array_size(health);
    char text[64];
    json_array_foreach(health, i, h) {
        aside += strcmp(rmd_json_s(h, "state"), "set aside") == 0;
        trusted += strcmp(rmd_json_s(h, "state"), "trusted") == 0;
    }
    if (!json_is_true(json_object_get(l, "asked")))
        rmd_table_cell(t, "off");
    else if (!n)
        rmd_table_cell(t, "nothing to ask");
    else if (aside) {
        rmd_format(text, sizeof text, aside == n ? "set aside" : "set aside at %zu of %zu", aside, n);
        rmd_table_cell(t, text);
    } else
        rmd_table_cell(t, trusted == n ? "trusted" : "being tested");
}

/* Of the health rows, the first that has something to say. */
static const char *first_of(const json_t *l, const char *key) {
    const json_t *h;
    size_t i;
    json_array_foreach(json_object_get(l, "health"), i, h) {
        if (*rmd_json_s(h, key))
            return rmd_json_s(h, key);
    }
    return "";
}

static void budget_cell(struct rmd_table *t, const json_t *l, const char *used, const char *of) {
    char a[32], b[32], text[80];
    rmd_format_count((uint64_t)rmd_json_i(l, used), a);
    rmd_format_count((uint64_t)rmd_json_i(l, of), b);
    rmd_format(text, sizeof text, "%s/%s", a, b);
    rmd_table_cell(t, text);
}

int rmd_ctl_listings_lists(struct rmd_ctl *c) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    json_t *answer = NULL, *l, *k;
    size_t i, n;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", "/v1/listings/lists", NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new("LIST|TIER|KINDS|STATE|>LISTINGS|>HOUR|>DAY|SELF-TEST|WHY|LAST ERROR");
        json_array_foreach(json_object_get(answer, "lists"), i, l) {
            struct rmd_buf kinds = {0};
            char when[32];
            json_array_foreach(json_object_get(l, "kinds"), n, k)
                rmd_buf_addf(&kinds, "%s%s", n ? "," : "", json_string_value(k));
            const char *off = rmd_json_s(l, "off_because");
            rmd_table_cell(t, rmd_json_s(l, "list"));
            rmd_table_cell(t, rmd_json_s(l, "tier"));
            rmd_table_cell(t, rmd_buf_str(&kinds));
            state_cell(t, l);
            rmd_table_count(t, (uint64_t)rmd_json_i(l, "listings"));
            budget_cell(t, l, "queries_hour", "per_hour");
            budget_cell(t, l, "queries_day", "per_day");
            rmd_table_cell(t, rmd_ctl_when(first_of(l, "tested"), when));
            rmd_table_cell(t, *off ? off : first_of(l, "why"));
            rmd_table_cell(t, first_of(l, "last_error"));
            rmd_buf_release(&kinds);
        }
        rmd_table_print(t, "there are no lists");
    }
    json_decref(answer);
    return rc;
}

int rmd_ctl_listings_check(struct rmd_ctl *c) {
    const char *subject;
    int rc = rmd_ctl_options(c, NULL, &subject, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *answer = NULL, *l;
    size_t i;
    rc = rmd_ctl_call(c, "POST", "/v1/listings/check", json_pack("{s:s}", "subject", subject), &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new("LIST|STATE|TIER|CODES|WHAT IT SAYS");
        json_array_foreach(json_object_get(answer, "lists"), i, l) {
            struct rmd_buf text = {0};
            rmd_buf_addf(&text, "%s%s%s", rmd_json_s(l, "text"), *rmd_json_s(l, "evidence") ? ": " : "",
                         rmd_json_s(l, "evidence"));
            rmd_table_cell(t, rmd_json_s(l, "list"));
            rmd_table_cell(t, rmd_json_s(l, "state"));
            rmd_table_cell(t, rmd_json_s(l, "tier"));
            rmd_table_cell(t, rmd_json_s(l, "codes"));
            rmd_table_cell(t, rmd_buf_str(&text));
            rmd_buf_release(&text);
        }
        rmd_table_print(t, "no list was asked");
        printf("%s\n", rmd_json_s(answer, "outcome"));
    }
    json_decref(answer);
    return rc;
}

int rmd_ctl_listings_removal(struct rmd_ctl *c) {
    const char *what[2] = {NULL, NULL}, *note = "";
    const struct rmd_ctl_option o[] = {{"note", &note, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, what, 2, 2);
    if (rc >= 0)
        return rc;
    json_t *answer = NULL;
    rc = rmd_ctl_call(c, "POST", "/v1/listings/removal-asked",
                      json_pack("{s:s, s:s, s:s}", "subject", what[0], "list", what[1], "note", note), &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        printf("noted: removal of %s from %s was asked for\n", what[0], what[1]);
    json_decref(answer);
    return rc;
}
