/* remuda send, and watching a campaign. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"

enum { BAR = 32, POLL_MS = 500, LINE_EVERY = 20 };

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

static void write_rejects(const json_t *answer, const char *path, uint64_t rejected) {
    json_t *list = json_object_get(answer, "rejects"), *r;
    size_t i;
    FILE *f = fopen(path, "we");
    if (!f) {
        fprintf(stderr, "remuda: the rejects could not be written to %s: %m\n", path);
        return;
    }
    fputs("line,email,reason\n", f);
    json_array_foreach(list, i, r) {
        const char *email = rmd_json_s(r, "email");
        fprintf(f, "%" PRId64 ",\"", rmd_json_i(r, "line"));
        for (; *email; email++)
            fputs(*email == '"' ? "\"\"" : (char[2]){*email, 0}, f);
        fprintf(f, "\",%s\n", rmd_json_s(r, "reason"));
    }
    if (fclose(f) != 0)
        fprintf(stderr, "remuda: %s: %m\n", path);
    else if (rejected > i)
        fprintf(stderr, "remuda: %s has the first %zu of %" PRIu64 " rejected rows\n", path, i, rejected);
}

/* What was accepted, for people; the first few rejects at once. */
static void summary(const json_t *answer, const char *rejects_path) {
    char accepted[32], rejected[32];
    json_t *list = json_object_get(answer, "rejects"), *r;
    size_t i;
    rmd_format_count((uint64_t)rmd_json_i(answer, "accepted"), accepted);
    rmd_format_count((uint64_t)rmd_json_i(answer, "rejected"), rejected);
    printf("campaign %s: %s recipients %s", rmd_json_s(json_object_get(answer, "campaign"), "id"), accepted,
           json_is_true(json_object_get(answer, "duplicate_submission"))
               ? "were accepted before, under the same key: nothing was queued again\n"
               : "accepted\n");
    if (!rmd_json_i(answer, "rejected"))
        return;
    printf("%s rows rejected, see %s\n", rejected, rejects_path);
    json_array_foreach(list, i, r) {
        if (i == 5)
            break;
        printf("  line %" PRId64 ": %s%s%s\n", rmd_json_i(r, "line"), rmd_json_s(r, "email"),
               *rmd_json_s(r, "email") ? ": " : "", rmd_json_s(r, "reason"));
    }
}

static json_t *make_meta(struct rmd_ctl *c, const char *stream, const char *name, const char *key, bool strict,
                         const char *valid) {
    int64_t ms = 0;
    if (valid && (rmd_parse_duration_ms(rmd_slice_str(valid), &ms) < 0 || ms <= 0)) {
        rmd_ctl_usage(c, "--valid-for: \"%s\" is not a time like 36h or 2d", valid);
        return NULL;
    }
    json_t *m = json_pack("{s:s, s:b}", "stream", stream, "strict", strict);
    if (name)
        json_object_set_new(m, "name", json_string(name));
    if (key)
        json_object_set_new(m, "idempotency_key", json_string(key));
    if (ms)
        json_object_set_new(m, "valid_for_ms", json_integer(ms));
    return m;
}

static int report(struct rmd_ctl *c, long status, const json_t *answer, const char *rejects_path) {
    uint64_t rejected = (uint64_t)rmd_json_i(answer, "rejected");
    if (rejected && json_object_get(answer, "rejects"))
        write_rejects(answer, rejects_path, rejected);
    if (c->json)
        rmd_ctl_print_json(answer);
    if (status >= 300) {
        if (rejected && !c->json)
            printf("%" PRIu64 " rows rejected, see %s\n", rejected, rejects_path);
        return c->json ? CTL_FAILED : rmd_ctl_error(status, answer);
    }
    if (!c->json)
        summary(answer, rejects_path);
    return rejected ? CTL_PARTLY : CTL_OK;
}

int rmd_ctl_send(struct rmd_ctl *c) {
    const char *template = NULL, *list = NULL, *stream = NULL, *name = NULL, *key = NULL, *valid = NULL,
               *rejects = NULL;
    bool strict = false, watch = false;
    const struct rmd_ctl_option o[] = {{"template", &template, NULL}, {"recipients", &list, NULL},
                                       {"stream", &stream, NULL},     {"name", &name, NULL},
                                       {"key", &key, NULL},           {"valid-for", &valid, NULL},
                                       {"rejects", &rejects, NULL},   {"strict", NULL, &strict},
                                       {"watch", NULL, &watch},       {0}};
    int rc = rmd_ctl_options(c, o, NULL, 0, 0);
    if (rc >= 0)
        return rc;
    if (!template || !list || !stream)
        return rmd_ctl_usage(c, "--template, --recipients and --stream are needed");
    json_t *answer = NULL, *meta = make_meta(c, stream, name, key, strict, valid);
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
    if (watch && (rc == CTL_OK || rc == CTL_PARTLY)) {
        char *id = rmd_strdup(rmd_json_s(json_object_get(answer, "campaign"), "id"));
        int watched = rmd_ctl_watch(c, id);
        rc = watched == CTL_OK ? rc : watched;
        free(id);
    }
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

int rmd_ctl_watch(struct rmd_ctl *c, const char *campaign) {
    char path[128], text[256];
    bool tty = isatty(STDERR_FILENO);
    rmd_format(path, sizeof path, "/v1/campaigns/%s", campaign);
    fflush(stdout);
    for (unsigned turn = 0;; turn++) {
        json_t *k = NULL;
        int rc = rmd_ctl_call(c, "GET", path, NULL, &k);
        if (rc != CTL_OK)
            return rc;
        uint64_t rows = (uint64_t)rmd_json_i(k, "rows"), done = settled(k);
        bool over = json_is_string(json_object_get(k, "finished"));
        progress_text(k, text, sizeof text);
        if (tty)
            draw("sending", done, rows, text);
        else if (over || turn % LINE_EVERY == 0)
            fprintf(stderr, "%u%% settled: %s\n", rows ? (unsigned)(done * 100 / rows) : 100, text);
        if (over && tty)
            fputc('\n', stderr);
        if (over && c->json)
            rmd_ctl_print_json(k);
        json_decref(k);
        if (over)
            return CTL_OK;
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}
