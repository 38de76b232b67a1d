/* remuda status, campaign, queue. */
#include "coordinator/ctl/ctl.h"

/* GET, printed as JSON or handed to show(). */
static int get(struct rmd_ctl *c, const char *path, void (*show)(const json_t *)) {
    json_t *answer = NULL;
    int rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    return rmd_ctl_show(c, rc, answer, show);
}

static int get_plain(struct rmd_ctl *c, const char *path, void (*show)(const json_t *)) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    return rc >= 0 ? rc : get(c, path, show);
}

static void line(const char *name, const json_t *o, const char *key, const char *what) {
    char n[32];
    rmd_format_count((uint64_t)rmd_json_i(o, key), n);
    printf("  %-12s %14s%s%s\n", name, n, *what ? "  " : "", what);
}

static void show_status(const json_t *o) {
    char up[32];
    rmd_format_duration(rmd_json_i(o, "uptime_ms") / 1000 * 1000, up);
    printf("remuda %s, up %s, epoch %lld\n", rmd_json_s(o, "version"), up, (long long)rmd_json_i(o, "epoch"));
    printf("nodes    %lld of %lld connected\n", (long long)rmd_json_i(o, "nodes_connected"),
           (long long)rmd_json_i(o, "nodes"));
    printf("sources  %lld in service", (long long)rmd_json_i(o, "sources_active"));
    if (rmd_json_i(o, "sources_trouble"))
        printf(", %lld IN TROUBLE (`remuda source list`)", (long long)rmd_json_i(o, "sources_trouble"));
    printf(", %lld with a quarantine\n", (long long)rmd_json_i(o, "sources_quarantined"));
    int64_t open = rmd_json_i(o, "open_incidents");
    printf("trouble  %lld open incident%s%s\n", (long long)open, open == 1 ? "" : "s",
           open ? " (`remuda incident list`)" : "");
    int64_t refused = rmd_json_i(o, "refused_connections"), malformed = rmd_json_i(o, "malformed_frames");
    if (refused || malformed)
        printf("BUS      ");
    if (refused)
        printf("%lld connection%s refused since the start (the log says whose)%s", (long long)refused,
               refused == 1 ? "" : "s", malformed ? ", " : "\n");
    if (malformed)
        printf("%lld malformed frame%s\n", (long long)malformed, malformed == 1 ? "" : "s");
    if (*rmd_json_s(o, "stalled"))
        printf("STORE    not durable now: %s; nothing new is dealt until it is\n", rmd_json_s(o, "stalled"));
    if (*rmd_json_s(o, "history_trouble"))
        printf("HISTORY  %s\n", rmd_json_s(o, "history_trouble"));
    if (json_is_true(json_object_get(o, "restored_paused")))
        printf("PAUSED   the store was restored from a backup: `remuda resume-restored` when all nodes are back\n");
    puts("recipients");
    line("unsorted", o, "unsorted",
         rmd_json_i(o, "unsorted_paused") || rmd_json_i(o, "unsorted_later")
             ? "accepted, not looked up yet; those of paused campaigns wait for `resume`, of later ones for their "
               "start"
             : "accepted, their domains not looked up yet");
    line("queued", o, "queued", "waiting for a lane");
    line("deferred", o, "deferred", "to be tried again later");
    line("leased", o, "leased", "at a node");
    if (rmd_json_i(o, "leased_away")) {
        rmd_format_duration(rmd_json_i(o, "leased_away_ms") / 1000 * 1000, up);
        char text[160];
        rmd_format(text, sizeof text, "of these, at nodes that are away: theirs until they return, %s at most", up);
        line("  away", o, "leased_away", text);
    }
    line("in doubt", o, "in_doubt", "at a node that did not report");
    line("delivered", o, "delivered", "accepted by their receivers");
    line("bounced", o, "bounced", "refused for good");
    line("suppressed", o, "suppressed", "not contacted");
    line("expired", o, "expired", "given up after their age limit");
    line("held", o, "held", "may have been delivered; not tried again");
    line("uncertain", o, "uncertain", "attempts of which nobody can tell whether they delivered");
}

int rmd_ctl_status(struct rmd_ctl *c) {
    return get_plain(c, "/v1/status", show_status);
}

static void show_campaigns(const json_t *o) {
    struct rmd_table *t =
        rmd_table_new("ID|NAME|STREAM|STATE|>ROWS|>DELIVERED|>BOUNCED|>WAITING|SUBMITTED|NEXT RELEASE");
    json_t *k;
    size_t i;
    json_array_foreach(json_object_get(o, "campaigns"), i, k) {
        char when[32];
        rmd_table_cell(t, rmd_json_s(k, "id"));
        rmd_table_cell(t, *rmd_json_s(k, "name") ? rmd_json_s(k, "name") : rmd_json_s(k, "subject"));
        rmd_table_cell(t, rmd_json_s(k, "stream"));
        rmd_table_cell(t, rmd_json_s(k, "state"));
        rmd_table_count(t, (uint64_t)rmd_json_i(k, "rows"));
        rmd_table_count(t, (uint64_t)rmd_json_i(k, "delivered"));
        rmd_table_count(t, (uint64_t)rmd_json_i(k, "bounced"));
        rmd_table_count(t, (uint64_t)(rmd_json_i(k, "queued") + rmd_json_i(k, "leased") + rmd_json_i(k, "deferred")));
        rmd_table_cell(t, rmd_ctl_when(rmd_json_s(k, "accepted"), when));
        rmd_table_cell(t, rmd_ctl_when(rmd_json_s(k, "next_release"), when));
    }
    bool of_some = json_object_get(o, "asked_for_some") != NULL;
    rmd_table_print(t, of_some ? "no campaign of these; `remuda campaign list` has all"
                               : "no campaigns yet; `remuda send --template news.eml --recipients list.csv --stream "
                                 "NAME` submits one (`remuda send --help`)");
    if (rmd_json_i(o, "left_out"))
        printf("the newest; %lld more are left out (--limit N, 0: all; --state, --stream)\n",
               (long long)rmd_json_i(o, "left_out"));
    if (json_is_true(json_object_get(o, "older_left_out")))
        puts("of finished ones the newest 1,000 are listed; `remuda campaign show ID` has older ones, as long as "
             "history is "
             "kept");
}

int rmd_ctl_campaign_list(struct rmd_ctl *c) {
    static const char *const states[] = {"scheduled", "active", "paused", "cancelled", "done"};
    const char *state = NULL, *stream = NULL, *limit = NULL;
    const struct rmd_ctl_option opt[] = {
        {"state", &state, NULL}, {"stream", &stream, NULL}, {"limit", &limit, NULL}, {0}};
    int rc = rmd_ctl_options(c, opt, NULL, 0, 0);
    uint64_t n = 0;
    size_t i = 0;
    if (rc >= 0)
        return rc;
    while (state && i < sizeof states / sizeof states[0] && strcmp(state, states[i]) != 0)
        i++;
    if (i == sizeof states / sizeof states[0])
        return rmd_ctl_usage(c, "--state: \"%s\" is none of scheduled, active, paused, cancelled, done", state);
    if (limit && rmd_parse_u64(rmd_slice_str(limit), &n) < 0)
        return rmd_ctl_usage(c, "--limit: \"%s\" is not a number (0: all)", limit);
    struct rmd_buf path = {0};
    rmd_buf_addstr(&path, "/v1/campaigns?");
    rmd_ctl_query(c, &path, "state", state);
    rmd_ctl_query(c, &path, "stream", stream);
    rmd_ctl_query(c, &path, "limit", limit);
    json_t *answer = NULL;
    rc = rmd_ctl_call(c, "GET", rmd_buf_str(&path), NULL, &answer);
    rmd_buf_release(&path);
    if (rc == CTL_OK && !c->json && (state || stream))
        json_object_set_new(answer, "asked_for_some", json_true());
    return rmd_ctl_show(c, rc, answer, show_campaigns);
}

static void show_waits(const json_t *k) {
    struct rmd_buf why = {0};
    rmd_ctl_waits(k, "  waits for ", "\n            ", &why);
    if (why.len)
        printf("%s\n", rmd_buf_str(&why));
    rmd_buf_release(&why);
}

static void show_campaign(const json_t *k) {
    char when[32];
    printf("campaign %s%s%s\n", rmd_json_s(k, "id"), *rmd_json_s(k, "name") ? "  " : "", rmd_json_s(k, "name"));
    printf("  from      %s\n  subject   %s\n  stream    %s\n  state     %s%s%s\n", rmd_json_s(k, "from"),
           rmd_json_s(k, "subject"), rmd_json_s(k, "stream"), rmd_json_s(k, "state"),
           *rmd_json_s(k, "reason") ? ": " : "", rmd_json_s(k, "reason"));
    printf("  accepted  %s", rmd_ctl_when(rmd_json_s(k, "accepted"), when));
    printf("\n  finished  %s\n", rmd_ctl_when(rmd_json_s(k, "finished"), when));
    rmd_ctl_show_schedule(k);
    show_waits(k);
    line("rows", k, "rows", "");
    line("rejected", k, "rejected", "at submission");
    line("queued", k, "queued", "");
    line("leased", k, "leased", "at a node, those in doubt included");
    line("deferred", k, "deferred", "to be tried again later");
    line("delivered", k, "delivered", "");
    line("bounced", k, "bounced", "");
    line("suppressed", k, "suppressed", "");
    line("expired", k, "expired", "");
    line("held", k, "held", "");
    line("cancelled", k, "cancelled", "");
    line("uncertain", k, "uncertain", "attempts of which nobody can tell whether they delivered");
    line("in doubt", k, "in_doubt", "attempts at a node that vanished");
    line("deferrals", k, "deferrals", "attempts that were deferred");
}

int rmd_ctl_campaign_show(struct rmd_ctl *c) {
    const char *id;
    bool watch = false;
    const struct rmd_ctl_option o[] = {{"watch", NULL, &watch}, {0}};
    int rc = rmd_ctl_options(c, o, &id, 1, 1);
    if (rc >= 0)
        return rc;
    char *e = rmd_ctl_escape(c, id), path[256];
    rmd_format(path, sizeof path, "/v1/campaigns/%s", e);
    free(e);
    if (!watch)
        return get(c, path, show_campaign);
    json_t *last = NULL;
    rc = rmd_ctl_watch(c, id, &last);
    return rmd_ctl_show(c, rc, last, show_campaign);
}

static const char *done_word(const char *verb) {
    static const char *const words[][2] = {{"pause", "paused"},     {"resume", "active again"},
                                           {"cancel", "cancelled"}, {"retire", "retired"},
                                           {"revoke", "revoked"},   {"forget", "forgotten"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i][0], verb) == 0)
            return words[i][1];
    return verb;
}

/* POST /v1/FAMILY/NAME/VERB with a reason, then the one line that says what is so now. */
static int post_verb(struct rmd_ctl *c, const char *family) {
    const char *name, *reason = "";
    const struct rmd_ctl_option o[] = {{"reason", &reason, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, &name, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *answer = NULL;
    char *e = rmd_ctl_escape(c, name), path[512];
    rmd_format(path, sizeof path, "/v1/%s/%s/%s", family, e, c->command->verb);
    free(e);
    rc = rmd_ctl_call(c, "POST", path, json_pack("{s:s}", "reason", reason), &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK && strcmp(rmd_json_s(answer, "state"), "retiring") == 0)
        printf("source %s is retiring: what its node has open ends first, then it is retired\n", name);
    else if (rc == CTL_OK && *rmd_json_s(answer, "note"))
        printf("%s\n", rmd_json_s(answer, "note"));
    else if (rc == CTL_OK)
        printf("%s %s is %s\n", c->command->family, name, done_word(c->command->verb));
    json_decref(answer);
    return rc;
}

int rmd_ctl_campaign_verb(struct rmd_ctl *c) {
    return post_verb(c, "campaigns");
}
int rmd_ctl_source_verb(struct rmd_ctl *c) {
    return post_verb(c, "sources");
}
int rmd_ctl_node_verb(struct rmd_ctl *c) {
    return post_verb(c, "nodes");
}
int rmd_ctl_stream_verb(struct rmd_ctl *c) {
    return post_verb(c, "streams");
}

static void recipients(uint64_t n, const char *which) {
    char text[32];
    rmd_format_count(n, text);
    printf("%s recipient%s %s\n", text, n == 1 ? "" : "s", which);
}

static void show_queue(const json_t *o) {
    struct rmd_table *t = rmd_table_new("PROVIDER|STREAM|>QUEUED|>LEASED|>DEFERRED|NEXT ATTEMPT|WAITS FOR");
    json_t *q;
    size_t i;
    size_t rows = 0;
    json_array_foreach(json_object_get(o, "queues"), i, q) {
        char when[32];
        if (!rmd_json_i(q, "queued") && !rmd_json_i(q, "leased") && !rmd_json_i(q, "deferred"))
            continue;
        rows++;
        rmd_table_cell(t, rmd_json_s(q, "provider"));
        rmd_table_cell(t, rmd_json_s(q, "stream"));
        rmd_table_count(t, (uint64_t)rmd_json_i(q, "queued"));
        rmd_table_count(t, (uint64_t)rmd_json_i(q, "leased"));
        rmd_table_count(t, (uint64_t)rmd_json_i(q, "deferred"));
        rmd_table_cell(t, rmd_ctl_when_next(rmd_json_s(q, "next_attempt"), when));
        struct rmd_buf why = {0};
        rmd_ctl_local(rmd_json_s(q, "waits_for"), &why);
        rmd_table_cell(t, rmd_buf_str(&why));
        rmd_buf_release(&why);
    }
    int64_t unsorted = rmd_json_i(o, "unsorted"), paused = rmd_json_i(o, "unsorted_paused"),
            later = rmd_json_i(o, "unsorted_later");
    int64_t doubt = rmd_json_i(o, "in_doubt");
    rmd_table_print(t, rows || unsorted || doubt ? NULL : "nothing waits");
    if (doubt)
        recipients((uint64_t)doubt,
                   "in doubt at nodes that did not report (`remuda node list`, `remuda node forget`)");
    if (later)
        recipients((uint64_t)later, "of campaigns that start later (`remuda campaign list`)");
    if (unsorted > paused + later)
        recipients((uint64_t)(unsorted - paused - later), "with domains that are being looked up");
    if (paused)
        recipients((uint64_t)paused, "of paused campaigns or streams, not looked up yet");
}

int rmd_ctl_queue(struct rmd_ctl *c) {
    return get_plain(c, "/v1/queue", show_queue);
}

static void show_resumed(const json_t *o) {
    (void)o;
    puts("the restored store deals again; every cap counts as spent until a day after the restore was noticed");
}

int rmd_ctl_resume_restored(struct rmd_ctl *c) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    json_t *answer = NULL;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "POST", "/v1/resume-restored", json_object(), &answer);
    return rmd_ctl_show(c, rc, answer, show_resumed);
}
