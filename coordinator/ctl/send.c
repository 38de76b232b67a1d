/* remuda send, and watching a campaign. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"

enum { BAR = 32, POLL_MS = 500, LINE_EVERY = 20, STILL_TURNS = 10, PATIENCE_S = 600 };

static void draw(const char *what, uint64_t done, uint64_t total, const char *detail) {
    char bar[BAR + 1];
    size_t filled = total ? (size_t)(done * BAR / total) : 0;
    for (size_t i = 0; i < BAR; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR] = 0;
    fprintf(stderr, "\r\033[K%s [%s] %3u%%  %s", what, bar, total ? (unsigned)(done * 100 / total) : 0, detail);
    fflush(stderr);
}

static void uploading(void *ctx, uint64_t sent, uint64_t total) {
    struct rmd_ctl *c = ctx;
    char detail[64];
    (void)c;
    if (total == 0 || !isatty(STDERR_FILENO))
        return;
    rmd_format(detail, sizeof detail, "%.1f of %.1f MB", (double)sent / 1e6, (double)total / 1e6);
    draw("loading", sent, total, detail);
}

enum { REJECTS_SHOWN = 5 };

/* True when the file is there to be looked at. */
static bool write_rejects(const json_t *answer, const char *path, uint64_t rejected) {
    json_t *list = json_object_get(answer, "rejects"), *r;
    size_t i;
    FILE *f = fopen(path, "we");
    if (!f) {
        fprintf(stderr, "remuda: the rejects could not be written to %s: %m\n", path);
        return false;
    }
    fputs("line,email,reason\n", f);
    json_array_foreach(list, i, r) {
        const char *email = rmd_json_s(r, "email");
        fprintf(f, "%" PRId64 ",\"", rmd_json_i(r, "line"));
        for (; *email; email++)
            fputs(*email == '"' ? "\"\"" : (char[2]){*email, 0}, f);
        fprintf(f, "\",%s\n", rmd_json_s(r, "reason"));
    }
    bool good = !ferror(f);
    good = fclose(f) == 0 && good;
    if (!good)
        fprintf(stderr, "remuda: %s is not whole: it could not be written to its end\n", path);
    else if (rejected > i)
        fprintf(stderr, "remuda: %s has the first %zu of %" PRIu64 " rejected rows\n", path, i, rejected);
    return good;
}

/* How many rows and the first few of them, with where all are. */
static void show_rejects(const json_t *answer, const char *path) {
    json_t *list = json_object_get(answer, "rejects"), *r;
    size_t i;
    uint64_t n = (uint64_t)rmd_json_i(answer, "rejected");
    char count[32];
    if (!n)
        return;
    rmd_format_count(n, count);
    printf("%s row%s rejected%s%s\n", count, n == 1 ? "" : "s", path ? ", see " : "", path ? path : "");
    json_array_foreach(list, i, r) {
        if (i == REJECTS_SHOWN)
            break;
        printf("  line %" PRId64 ": %s%s%s\n", rmd_json_i(r, "line"), rmd_json_s(r, "email"),
               *rmd_json_s(r, "email") ? ": " : "", rmd_json_s(r, "reason"));
    }
    if (n > i && i) {
        rmd_format_count(n - i, count);
        printf("  and %s more\n", count);
    }
}

/* What was accepted, for people. */
static void summary(const json_t *answer) {
    char accepted[32];
    uint64_t n = (uint64_t)rmd_json_i(answer, "accepted");
    bool again = json_is_true(json_object_get(answer, "duplicate_submission"));
    rmd_format_count(n, accepted);
    printf("campaign %s: %s recipient%s %s\n", rmd_json_s(json_object_get(answer, "campaign"), "id"), accepted,
           n == 1 ? "" : "s",
           !again   ? "accepted"
           : n == 1 ? "was accepted before, under the same key: nothing was queued again"
                    : "were accepted before, under the same key: nothing was queued again");
    if (!again)
        rmd_ctl_show_schedule(json_object_get(answer, "campaign"));
    rmd_ctl_show_warnings(answer);
}

static json_t *make_meta(struct rmd_ctl *c, const char *stream, const char *name, const char *key, bool strict,
                         const char *valid, const struct rmd_ctl_schedule *schedule) {
    int64_t ms = 0;
    if (valid && !rmd_ctl_duration(c, "valid-for", valid, &ms))
        return NULL;
    if (valid && ms <= 0) {
        rmd_ctl_usage(c, "--valid-for: must be more than nothing");
        return NULL;
    }
    json_t *m = json_pack("{s:s, s:b}", "stream", stream, "strict", strict);
    if (name)
        json_object_set_new(m, "name", json_string(name));
    if (key)
        json_object_set_new(m, "idempotency_key", json_string(key));
    if (ms)
        json_object_set_new(m, "valid_for_ms", json_integer(ms));
    if (!rmd_ctl_schedule(c, schedule, true, m)) {
        json_decref(m);
        return NULL;
    }
    return m;
}

/* With --json the answer is printed by the caller, when it is the last word. */
static int report(struct rmd_ctl *c, long status, const json_t *answer, const char *rejects_path) {
    uint64_t rejected = (uint64_t)rmd_json_i(answer, "rejected");
    bool listed = rejected && json_object_get(answer, "rejects") && write_rejects(answer, rejects_path, rejected);
    if (status < 300 && !c->json)
        summary(answer);
    if (!c->json)
        show_rejects(answer, listed ? rejects_path : NULL);
    rmd_ctl_flush(c);
    if (status >= 300)
        return rmd_ctl_error(c, status, answer);
    return rejected ? CTL_PARTLY : CTL_OK;
}

int rmd_ctl_send(struct rmd_ctl *c) {
    const char *template = NULL, *list = NULL, *stream = NULL, *name = NULL, *key = NULL, *valid = NULL,
               *rejects = NULL;
    bool strict = false, watch = false;
    struct rmd_ctl_schedule schedule = {0};
    const struct rmd_ctl_option o[] = {{"template", &template, NULL},
                                       {"recipients", &list, NULL},
                                       {"stream", &stream, NULL},
                                       {"name", &name, NULL},
                                       {"key", &key, NULL},
                                       {"valid-for", &valid, NULL},
                                       {"rejects", &rejects, NULL},
                                       {"strict", NULL, &strict},
                                       {"watch", NULL, &watch},
                                       {"at", &schedule.at, NULL},
                                       {"over", &schedule.over, NULL},
                                       {"batch", &schedule.batch, NULL},
                                       {"every", &schedule.every, NULL},
                                       {0}};
    int rc = rmd_ctl_options(c, o, NULL, 0, 0);
    if (rc >= 0)
        return rc;
    if (!template || !list || !stream)
        return rmd_ctl_usage(c, "--template, --recipients and --stream are needed");
    json_t *answer = NULL, *meta = make_meta(c, stream, name, key, strict, valid, &schedule);
    if (!meta)
        return CTL_USAGE;
    char path[4096];
    rmd_format(path, sizeof path, "%s%s", rejects ? rejects : list, rejects ? "" : ".rejects");
    long status = 0;
    struct rmd_ctl_upload u = {
        .meta = meta, .template_path = template, .recipients_path = list, .progress = uploading, .ctx = c};
    rc = rmd_ctl_submit(c, &u, &answer, &status);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (rc == CTL_OK)
        rc = report(c, status, answer, path);
    bool accepted = rc == CTL_OK || rc == CTL_PARTLY;
    if (watch && accepted) {
        char *id = rmd_strdup(rmd_json_s(json_object_get(answer, "campaign"), "id"));
        json_t *last = NULL;
        int watched = rmd_ctl_watch(c, id, &last);
        rc = watched == CTL_OK ? rc : watched;
        accepted = watched == CTL_OK;
        if (last)
            json_object_set_new(answer, "campaign", last);
        free(id);
    }
    if (c->json && accepted)
        rmd_ctl_print_json(answer);
    json_decref(answer);
    json_decref(meta);
    return rc;
}

/* ---- watching */

static uint64_t settled(const json_t *k) {
    static const char *const keys[] = {"delivered", "bounced", "suppressed", "expired", "held", "cancelled"};
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        n += (uint64_t)rmd_json_i(k, keys[i]);
    return n;
}

static void add_count(struct rmd_buf *b, const json_t *k, const char *key, bool always) {
    char n[32];
    if (!always && !rmd_json_i(k, key))
        return;
    rmd_format_count((uint64_t)rmd_json_i(k, key), n);
    rmd_buf_addf(b, "%s%s %s", b->len ? ", " : "", n, key);
}

static void progress_text(const json_t *k, char *out, size_t n) {
    static const char *const rare[] = {"suppressed", "expired", "held", "cancelled"};
    struct rmd_buf b = {0};
    add_count(&b, k, "delivered", true);
    add_count(&b, k, "bounced", true);
    add_count(&b, k, "deferred", true);
    for (size_t i = 0; i < sizeof rare / sizeof rare[0]; i++)
        add_count(&b, k, rare[i], false);
    if (strcmp(rmd_json_s(k, "state"), "paused") == 0)
        rmd_buf_addf(&b, ", paused: %s", rmd_json_s(k, "reason"));
    rmd_copy(out, n, rmd_buf_str(&b));
    rmd_buf_release(&b);
}

/* "waits for: lane caps (google, yahoo); 12 with nodes; next attempt 2026-11-24 00:43:57" */
static void waits_text(const json_t *k, struct rmd_buf *out) {
    char count[32], when[32];
    rmd_buf_clear(out);
    if (*rmd_json_s(k, "next_release")) {
        rmd_format_count((uint64_t)rmd_json_i(k, "next_recipients"), count);
        rmd_buf_addf(out, "waits for its time: %s more may go at %s", count,
                     rmd_ctl_when(rmd_json_s(k, "next_release"), when));
        return;
    }
    rmd_ctl_waits(k, "waits for: ", "; ", out);
}

/* What is watched for: nothing settled, nothing deferred since. */
struct stillness {
    uint64_t done, deferrals;
    unsigned turns, lines, percent; /* of lines that were printed, and what the last one said */
    struct rmd_buf said, now;
};

/* Says why nothing moves, once as long as it stays the same. */
static void explain_stillness(const json_t *k, struct stillness *s, bool tty) {
    uint64_t done = settled(k), deferrals = (uint64_t)rmd_json_i(k, "deferrals");
    bool moved = done != s->done || deferrals != s->deferrals;
    s->done = done;
    s->deferrals = deferrals;
    s->turns = moved ? 0 : s->turns + 1;
    if (moved)
        rmd_buf_clear(&s->said);
    if (!s->turns || s->turns % STILL_TURNS)
        return;
    waits_text(k, &s->now);
    if (!s->now.len || rmd_slice_eq(rmd_buf_slice(&s->now), rmd_buf_slice(&s->said)))
        return;
    fprintf(stderr, "%s%s\n", tty ? "\r\033[K" : "", rmd_buf_str(&s->now));
    rmd_buf_clear(&s->said);
    rmd_buf_addstr(&s->said, rmd_buf_str(&s->now));
}

/* A line that would say the same as the one before it says what is waited for as well: mail may trickle for long. */
static void show_line(const json_t *k, struct stillness *s, bool over, const char *text) {
    uint64_t rows = (uint64_t)rmd_json_i(k, "rows");
    unsigned percent = rows ? (unsigned)(settled(k) * 100 / rows) : 100;
    rmd_buf_clear(&s->now);
    if (!over && s->lines++ && percent == s->percent)
        waits_text(k, &s->now);
    fprintf(stderr, "%u%% settled: %s%s%s\n", percent, text, s->now.len ? "; " : "", rmd_buf_str(&s->now));
    s->percent = percent;
}

static void show_progress(const json_t *k, struct stillness *s, bool tty, bool over, unsigned turn) {
    char text[256];
    progress_text(k, text, sizeof text);
    if (tty)
        draw("sending", settled(k), (uint64_t)rmd_json_i(k, "rows"), text);
    else if (over || turn % LINE_EVERY == 0)
        show_line(k, s, over, text);
    if (over && tty)
        fputc('\n', stderr);
}

/* The campaign is the coordinator's, durable: while that is restarted, whoever watches waits. */
static int ask_patiently(struct rmd_ctl *c, const char *path, json_t **out, bool tty) {
    int rc = CTL_UNREACHABLE;
    for (unsigned s = 0; rc == CTL_UNREACHABLE; s++) {
        c->patient = s < PATIENCE_S;
        rc = rmd_ctl_call(c, "GET", path, NULL, out);
        bool go_on = rc == CTL_UNREACHABLE && c->patient;
        c->patient = false;
        if (!go_on)
            break;
        if (s == 0)
            fprintf(stderr,
                    "%sthe coordinator does not answer; the campaign is accepted, and the watch goes on when it is "
                    "back\n",
                    tty ? "\r\033[K" : "");
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    return rc;
}

int rmd_ctl_watch(struct rmd_ctl *c, const char *campaign, json_t **last) {
    char path[128];
    bool tty = isatty(STDERR_FILENO), over = false;
    struct stillness still = {.done = UINT64_MAX};
    int rc = CTL_OK;
    rmd_format(path, sizeof path, "/v1/campaigns/%s", campaign);
    rmd_ctl_flush(c);
    for (unsigned turn = 0; rc == CTL_OK && !over; turn++) {
        json_t *k = NULL;
        rc = ask_patiently(c, path, &k, tty);
        if (rc != CTL_OK)
            break;
        over = json_is_string(json_object_get(k, "finished"));
        if (!over)
            explain_stillness(k, &still, tty);
        show_progress(k, &still, tty, over, turn);
        if (over)
            *last = json_incref(k);
        json_decref(k);
        if (!over)
            nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    rmd_buf_release(&still.said);
    rmd_buf_release(&still.now);
    return rc;
}
