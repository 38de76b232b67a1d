/* remuda events, explain, suppress. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"
#include "proto/codec.h"

/* ---- events */

/* Whose event it is, when it isn't a message's: that has its recipient. */
static void print_subject(const json_t *e) {
    if (*rmd_json_s(e, "message"))
        return;
    if (*rmd_json_s(e, "campaign"))
        printf(" campaign=%s", rmd_json_s(e, "campaign"));
    if (*rmd_json_s(e, "campaign_name") && !strstr(rmd_json_s(e, "text"), rmd_json_s(e, "campaign_name")))
        printf(" \"%s\"", rmd_json_s(e, "campaign_name"));
    if (*rmd_json_s(e, "stream"))
        printf(" stream=%s", rmd_json_s(e, "stream"));
    else if (strncmp(rmd_json_s(e, "type"), "suppression.", 12) == 0)
        printf(" stream=all");
}

/* The text without the name that the line has already. */
static const char *own_text(const json_t *e) {
    static const char *const named[] = {"node", "source"};
    const char *text = rmd_json_s(e, "text");
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        const char *name = rmd_json_s(e, named[i]);
        size_t n = strlen(name);
        if (n && strncmp(text, name, n) == 0 && (!text[n] || strncmp(text + n, ": ", 2) == 0))
            return text[n] ? text + n + 2 : "";
    }
    return text;
}

/* " tls=TLSv1.3/TLS_AES_256_GCM_SHA384,dane" */
static void print_tls(const json_t *e) {
    const char *session = rmd_json_s(e, "tls_session");
    if (!*session)
        return;
    printf(" tls=");
    for (const char *p = session; *p; p++)
        putchar(*p == ' ' ? '/' : *p);
    printf(",%s", rmd_json_s(e, "tls_verified"));
}

/* One line a delivery, as Postfix has taught everybody to read them. */
static void print_event(const json_t *e) {
    static const char *const keys[][2] = {{"to", "recipient"}, {"source", "source"}, {"provider", "provider"},
                                          {"node", "node"},    {"mx", "mx"},         {"stage", "stage"},
                                          {"class", "class"},  {"rule", "rule"}};
    char when[32];
    printf("%s %-12s", rmd_ctl_when(rmd_json_s(e, "at"), when), rmd_json_s(e, "type"));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (*rmd_json_s(e, keys[i][1]))
            printf(" %s=%s", keys[i][0], rmd_json_s(e, keys[i][1]));
    print_subject(e);
    print_tls(e);
    if (rmd_json_i(e, "attempt"))
        printf(" attempt=%" PRId64, rmd_json_i(e, "attempt"));
    if (rmd_json_i(e, "incident"))
        printf(" incident=%" PRId64, rmd_json_i(e, "incident"));
    if (*rmd_json_s(e, "not_before"))
        printf(" next=%s", rmd_ctl_when(rmd_json_s(e, "not_before"), when));
    if (*rmd_json_s(e, "reply")) {
        printf(" (");
        for (const char *p = rmd_json_s(e, "reply"); *p; p++)
            putchar((unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p);
        printf(")");
    }
    if (*own_text(e))
        printf(" %s", own_text(e));
    putchar('\n');
}

struct followed {
    struct rmd_ctl *c;
    json_int_t seq; /* of the last event that was printed, or was there before */
    bool closed;    /* nobody reads what is printed */
};

static bool on_line(void *ctx, const char *line) {
    struct followed *f = ctx;
    json_t *e = json_loads(line, 0, NULL);
    if (f->c->json)
        puts(line);
    else if (e)
        print_event(e);
    if (e)
        f->seq = json_integer_value(json_object_get(e, "seq"));
    json_decref(e);
    f->closed = !rmd_ctl_flush(f->c);
    return !f->closed;
}

/* What is there before anything is followed, so that it is known where to go on. */
static bool on_newest(void *ctx, const char *line) {
    struct followed *f = ctx;
    json_t *e = json_loads(line, 0, NULL);
    f->seq = json_integer_value(json_object_get(e, "seq"));
    json_decref(e);
    return true;
}

/* Goes on behind the last event when the coordinator is back: nothing is missed, nothing comes twice. */
static int follow_on(struct rmd_ctl *c, struct followed *f, const char *filter) {
    const struct timespec pause = {.tv_sec = 1};
    struct rmd_buf path = {0};
    bool told = false;
    int rc = CTL_OK;
    while (!f->closed && (rc == CTL_OK || rc == CTL_UNREACHABLE)) {
        if (!told)
            fputs("the coordinator has ended; waiting for it\n", stderr);
        json_int_t before = f->seq;
        nanosleep(&pause, NULL);
        rmd_buf_clear(&path);
        rmd_buf_addf(&path, "/v1/events?after=%" JSON_INTEGER_FORMAT "%s", f->seq, filter);
        rc = rmd_ctl_lines(c, rmd_buf_str(&path), on_line, f);
        told = rc == CTL_UNREACHABLE && f->seq == before;
    }
    rmd_buf_release(&path);
    return rc;
}

int rmd_ctl_events(struct rmd_ctl *c) {
    const char *last = "20", *type = NULL, *campaign = NULL, *recipient = NULL;
    bool follow = false;
    const struct rmd_ctl_option o[] = {{"last", &last, NULL},         {"type", &type, NULL},
                                       {"campaign", &campaign, NULL}, {"recipient", &recipient, NULL},
                                       {"follow", NULL, &follow},     {0}};
    int rc = rmd_ctl_options(c, o, NULL, 0, 0);
    uint64_t n;
    if (rc >= 0)
        return rc;
    if (rmd_parse_u64(rmd_slice_str(last), &n) < 0)
        return rmd_ctl_usage(c, "--last: \"%s\" is not a number", last);
    struct rmd_buf path = {0}, filter = {0};
    struct followed f = {.c = c};
    rmd_ctl_query(c, &filter, "type", type);
    rmd_ctl_query(c, &filter, "campaign", campaign);
    rmd_ctl_query(c, &filter, "recipient", recipient);
    rmd_ctl_query(c, &filter, "follow", follow ? "1" : NULL);
    if (n)
        rmd_buf_addf(&path, "/v1/events?last=%" PRIu64 "%s", n, rmd_buf_str(&filter));
    else
        rmd_buf_addf(&path, "/v1/events?after=0%s", rmd_buf_str(&filter));
    rc = follow ? rmd_ctl_lines(c, "/v1/events?last=1", on_newest, &f) : CTL_OK;
    c->patient = follow; /* it has answered: when it ends, it will be back */
    if (rc == CTL_OK)
        rc = rmd_ctl_lines(c, rmd_buf_str(&path), on_line, &f);
    if (follow && (rc == CTL_OK || rc == CTL_UNREACHABLE))
        rc = follow_on(c, &f, rmd_buf_str(&filter));
    rmd_buf_release(&path);
    rmd_buf_release(&filter);
    return rc;
}

/* ---- explain */

static void show_match(const json_t *m) {
    json_t *x;
    size_t i;
    char when[32];
    const char *campaign_state = rmd_json_s(m, "campaign_state");
    bool noted = *campaign_state && strcmp(campaign_state, "active") != 0;
    printf("message %s to %s\n  campaign  %s%s%s%s\n  state     %s", rmd_json_s(m, "message"),
           rmd_json_s(m, "recipient"), rmd_json_s(m, "campaign"), noted ? " (" : "", noted ? campaign_state : "",
           noted ? ")" : "", rmd_json_s(m, "state"));
    if (rmd_json_i(m, "attempts"))
        printf(", %" PRId64 " attempt%s", rmd_json_i(m, "attempts"), rmd_json_i(m, "attempts") == 1 ? "" : "s");
    if (*rmd_json_s(m, "not_before")) {
        const char *next = rmd_ctl_when_next(rmd_json_s(m, "not_before"), when);
        printf(", %s%s", next == when ? "next not before " : "", next);
    }
    putchar('\n');
    json_array_foreach(json_object_get(m, "lines"), i, x) rmd_ctl_line("  ", json_string_value(x));
    json_array_foreach(json_object_get(m, "events"), i, x) {
        printf("  ");
        print_event(x);
    }
}

static int show_explain(struct rmd_ctl *c, const json_t *a, const char *what) {
    json_t *list = json_object_get(a, "matches"), *m, *streams = json_object_get(a, "suppressed_streams");
    size_t i;
    bool suppressed = json_is_true(json_object_get(a, "suppressed"));
    json_array_foreach(streams, i, m) {
        const char *stream = json_string_value(m);
        printf("%s is suppressed for %s%s: `remuda suppress check` tells why\n", what,
               *stream ? "stream " : "all streams", stream);
    }
    if (json_is_true(json_object_get(a, "truncated")))
        puts("(older ones are left out; `remuda events --recipient ADDRESS --last 0` has them all)");
    json_array_foreach(list, i, m) show_match(m);
    if (json_array_size(list) || suppressed)
        return CTL_OK;
    return rmd_ctl_fail(c, CTL_NOT_FOUND, "nothing is known of %s: no campaign has it, and history says nothing",
                        what);
}

int rmd_ctl_explain(struct rmd_ctl *c) {
    const char *what;
    int rc = rmd_ctl_options(c, NULL, &what, 1, 1);
    if (rc >= 0)
        return rc;
    struct rmd_buf path = {0};
    json_t *answer = NULL;
    char *e = rmd_ctl_escape(c, what);
    struct rmd_id id;
    bool message = !strchr(what, '@') || rmd_message_parse(rmd_slice_str(what), &id) == RMD_OK;
    rmd_buf_addf(&path, "/v1/explain?%s=%s", message ? "message" : "address", e);
    free(e);
    rc = rmd_ctl_call(c, "GET", rmd_buf_str(&path), NULL, &answer);
    bool known =
        json_array_size(json_object_get(answer, "matches")) || json_is_true(json_object_get(answer, "suppressed"));
    if (rc == CTL_OK && c->json) {
        rmd_ctl_print_json(answer);
        rc = known ? CTL_OK : CTL_NOT_FOUND;
    } else if (rc == CTL_OK)
        rc = show_explain(c, answer, what);
    json_decref(answer);
    rmd_buf_release(&path);
    return rc;
}

/* ---- suppressions */

static char *suppression_path(struct rmd_ctl *c, const char *address, const char *stream) {
    struct rmd_buf b = {0};
    size_t n;
    char *e = rmd_ctl_escape(c, address);
    rmd_buf_addf(&b, "/v1/suppressions/%s", e);
    free(e);
    if (stream) {
        e = rmd_ctl_escape(c, stream);
        rmd_buf_addf(&b, "?stream=%s", e);
        free(e);
    }
    return (char *)rmd_buf_take(&b, &n);
}

enum { CONFIRM_FIRST_MS = 1500, CONFIRM_POLL_MS = 1000, CONFIRM_POLLS = 28 };

/* "node n1 (away; its leases are over in 28min)", for each. */
static void waits_text(const json_t *waits, struct rmd_buf *out) {
    json_t *w;
    size_t i;
    rmd_buf_clear(out);
    json_array_foreach(waits, i, w) {
        char left[32];
        rmd_format_duration(rmd_json_i(w, "valid_ms") / 1000 * 1000, left);
        bool on = json_is_true(json_object_get(w, "connected"));
        rmd_buf_addf(out, "%snode %s (%s%s%s)", i ? ", " : "", rmd_json_s(w, "node"),
                     on ? "connected" : "away; its leases are over in ", on ? "" : left,
                     on ? "" : " unless it returns");
    }
}

/* Polls until the nodes have confirmed, or time is over; the address's entry of this stream says so. */
static bool await_confirmation(struct rmd_ctl *c, const char *address, const char *stream, struct rmd_buf *waits) {
    char *path = suppression_path(c, address, NULL);
    bool confirmed = false, tty = isatty(STDERR_FILENO);
    for (int turn = 0; turn < CONFIRM_POLLS && !confirmed; turn++) {
        json_t *answer = NULL, *e;
        size_t i;
        if (tty)
            fprintf(stderr, "\r\033[Kin force; waiting for %s", rmd_buf_str(waits));
        nanosleep(&(struct timespec){.tv_sec = CONFIRM_POLL_MS / 1000, .tv_nsec = CONFIRM_POLL_MS % 1000 * 1000000L},
                  NULL);
        if (rmd_ctl_call(c, "GET", path, NULL, &answer) != CTL_OK)
            break;
        json_array_foreach(json_object_get(answer, "entries"), i, e) {
            if (strcmp(rmd_json_s(e, "stream"), stream ? stream : "") != 0)
                continue;
            confirmed = json_is_true(json_object_get(e, "confirmed"));
            waits_text(json_object_get(e, "waits_for"), waits);
        }
        json_decref(answer);
    }
    if (tty)
        fputs("\r\033[K", stderr);
    free(path);
    return confirmed;
}

/* "all streams", "stream bulk", "streams bulk, urgent" */
static void add_streams(const json_t *streams, struct rmd_buf *out) {
    const json_t *s;
    size_t i;
    json_array_foreach(streams, i, s) {
        if (!*json_string_value(s)) {
            rmd_buf_addstr(out, "all streams");
            return;
        }
        rmd_buf_addf(out, "%s%s",
                     i                              ? ", "
                     : json_array_size(streams) > 1 ? "streams "
                                                    : "stream ",
                     json_string_value(s));
    }
}

/* stream NULL: for all. */
static void say_suppressed(const json_t *answer, const char *stream, bool reason) {
    const char *address = rmd_json_s(answer, "address"),
               *first = json_string_value(json_array_get(json_object_get(answer, "streams"), 0));
    bool already = json_is_true(json_object_get(answer, "already")), all = stream && first && !*first;
    if (already)
        printf("%s was suppressed for %s%s already: %s\n", address, stream ? "stream " : "all streams",
               stream ? stream : "", reason ? "only the reason is another one now" : "nothing changed");
    else if (all)
        printf("%s is suppressed for stream %s, and for all others: it was suppressed for all streams before\n",
               address, stream);
    else
        printf("%s is suppressed for %s%s: nothing %s can start any more\n", address,
               stream ? "stream " : "all streams", stream ? stream : "", stream ? "of this stream to it" : "to it");
}

int rmd_ctl_suppress_add(struct rmd_ctl *c) {
    const char *address, *stream = NULL, *reason = "";
    const struct rmd_ctl_option o[] = {{"stream", &stream, NULL}, {"reason", &reason, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, &address, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *body = json_pack("{s:s, s:s, s:i}", "address", address, "reason", reason, "wait_ms", CONFIRM_FIRST_MS);
    json_t *answer = NULL;
    struct rmd_buf waits = {0};
    if (stream)
        json_object_set_new(body, "stream", json_string(stream));
    rc = rmd_ctl_call(c, "POST", "/v1/suppressions", body, &answer);
    bool confirmed = rc == CTL_OK && json_is_true(json_object_get(answer, "confirmed"));
    if (rc == CTL_OK && !confirmed) {
        waits_text(json_object_get(answer, "waits_for"), &waits);
        confirmed = await_confirmation(c, address, stream, &waits);
        json_object_set_new(answer, "confirmed", json_boolean(confirmed));
        if (confirmed)
            json_object_del(answer, "waits_for");
    }
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (confirmed)
        say_suppressed(answer, stream, *reason);
    else if (rc == CTL_OK)
        printf("%s is suppressed for whatever no node holds already. What has been leased may still reach it until "
               "this is "
               "confirmed by %s. `remuda suppress check` tells.\n",
               rmd_json_s(answer, "address"), rmd_buf_str(&waits));
    json_decref(answer);
    rmd_buf_release(&waits);
    return rc == CTL_OK && !confirmed ? CTL_PARTLY : rc;
}

int rmd_ctl_suppress_remove(struct rmd_ctl *c) {
    const char *address, *stream = NULL;
    const struct rmd_ctl_option o[] = {{"stream", &stream, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, &address, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *answer = NULL;
    char *path = suppression_path(c, address, stream);
    rc = rmd_ctl_call(c, "DELETE", path, NULL, &answer);
    free(path);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK && json_array_size(json_object_get(answer, "streams"))) {
        struct rmd_buf left = {0};
        add_streams(json_object_get(answer, "streams"), &left);
        printf("%s is no longer suppressed for %s%s, but it still is for %s\n", rmd_json_s(answer, "address"),
               stream ? "stream " : "all streams", stream ? stream : "", rmd_buf_str(&left));
        rmd_buf_release(&left);
    } else if (rc == CTL_OK)
        printf("%s may be contacted again%s%s\n", rmd_json_s(answer, "address"), stream ? " by stream " : "",
               stream ? stream : "");
    json_decref(answer);
    return rc;
}

static void show_suppression(const char *address, const json_t *x) {
    char when[32];
    struct rmd_buf waits = {0};
    bool pending = json_is_true(json_object_get(x, "pending"));
    printf("%s is %s since %s for %s%s%s%s%s\n", address, pending ? "pending" : "suppressed",
           rmd_ctl_when(rmd_json_s(x, "since"), when),
           *rmd_json_s(x, "stream") ? rmd_json_s(x, "stream") : "all streams", *rmd_json_s(x, "reason") ? ": " : "",
           rmd_json_s(x, "reason"), *rmd_json_s(x, "evidence") ? ": " : "", rmd_json_s(x, "evidence"));
    if (pending && rmd_json_i(x, "denials"))
        printf("  such words are usually, not always, about a user who doesn't exist: it may be contacted. Denied "
               "again\n"
               "  before %s, it is suppressed; delivered, this is forgotten\n",
               rmd_ctl_when(rmd_json_s(x, "forgotten"), when));
    else if (pending)
        printf("  its provider denies far more users than usual (incident %" PRId64
               "): it may be contacted; the next answer\n"
               "  decides, or `remuda suppress undo|confirm --incident %" PRId64 "`\n",
               rmd_json_i(x, "incident"), rmd_json_i(x, "incident"));
    if (!json_is_true(json_object_get(x, "confirmed"))) {
        waits_text(json_object_get(x, "waits_for"), &waits);
        printf("  not confirmed yet%s%s: what was leased before may still reach it\n", waits.len ? " by " : "",
               rmd_buf_str(&waits));
    }
    rmd_buf_release(&waits);
}

int rmd_ctl_suppress_check(struct rmd_ctl *c) {
    const char *address;
    int rc = rmd_ctl_options(c, NULL, &address, 1, 1);
    json_t *answer = NULL, *x;
    size_t i;
    if (rc >= 0)
        return rc;
    char *path = suppression_path(c, address, NULL);
    rc = rmd_ctl_call(c, "GET", path, NULL, &answer);
    free(path);
    if (rc != CTL_OK)
        return rc;
    bool suppressed = json_is_true(json_object_get(answer, "suppressed"));
    if (c->json)
        rmd_ctl_print_json(answer);
    else if (!suppressed)
        printf("%s is not suppressed%s\n", rmd_json_s(answer, "address"),
               json_array_size(json_object_get(answer, "entries")) ? ":" : "");
    json_array_foreach(json_object_get(answer, "entries"), i, x) if (!c->json)
        show_suppression(rmd_json_s(answer, "address"), x);
    json_decref(answer);
    return suppressed ? CTL_OK : CTL_NOT_FOUND;
}

int rmd_ctl_suppress_decide(struct rmd_ctl *c) {
    const char *incident = NULL, *reason = "";
    const struct rmd_ctl_option o[] = {{"incident", &incident, NULL}, {"reason", &reason, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, NULL, 0, 0);
    json_t *answer = NULL;
    uint64_t n;
    char path[128];
    if (rc >= 0)
        return rc;
    if (!incident || rmd_parse_u64(rmd_slice_str(incident), &n) < 0)
        return rmd_ctl_usage(c, "--incident NUMBER is needed (`remuda incident list`)");
    rmd_format(path, sizeof path, "/v1/incidents/%" PRIu64 "/%s", n, c->command->verb);
    rc = rmd_ctl_call(c, "POST", path, json_pack("{s:s}", "reason", reason), &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        printf("incident %" PRIu64 ": %s\n", n, rmd_json_s(answer, "text"));
    json_decref(answer);
    return rc;
}
