/* HTTP over a Unix socket or TLS, with libcurl. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"
#include "proto/io/secret.h"

enum { ANSWER_MAX = 256 << 20, TIMEOUT_S = 60, TOKEN_MAX = 600 };

/* A Unix socket is a path; anything that looks like a network address must be https://. */
static int check_api(struct rmd_ctl *c) {
    bool https = strncmp(c->api, "https://", 8) == 0;
    const char *scheme = strstr(c->api, "://");
    if (!https && (scheme || (strchr(c->api, ':') && !strchr(c->api, '/'))))
        return rmd_ctl_fail(c, CTL_USAGE,
                            "--api (or REMUDA_API): \"%s\": must be the path of a Unix socket or https://HOST:PORT%s",
                            c->api, scheme ? "; the API is never served without TLS" : "");
    size_t n = strlen(c->api);
    while (https && n > 8 && c->api[n - 1] == '/')
        n--;
    if (!rmd_copy_slice(c->base, sizeof c->base, rmd_slice(c->api, n)))
        return rmd_ctl_fail(c, CTL_USAGE, "--api (or REMUDA_API): is too long");
    c->api = c->base;
    return CTL_OK;
}

/* "Authorization: Bearer ..." from the token file. */
static int read_token(struct rmd_ctl *c) {
    char err[512], *text;
    size_t n;
    if (!c->token_file)
        return CTL_OK;
    if (rmd_secret_read(c->token_file, RMD_SECRET_GROUP, TOKEN_MAX, &text, &n, err, sizeof err) < 0)
        return rmd_ctl_fail(c, CTL_FAILED, "--token-file: %s", err);
    struct rmd_slice t = rmd_trim(rmd_slice(text, n));
    struct rmd_buf b = {0};
    rmd_buf_addf(&b, "Authorization: Bearer %.*s", (int)t.n, (const char *)t.p);
    bool empty = t.n == 0, lines = memchr(t.p, '\n', t.n) != NULL;
    explicit_bzero(text, n);
    free(text);
    c->authorisation = (char *)rmd_buf_take(&b, &n);
    return empty || lines ? rmd_ctl_fail(c, CTL_FAILED, "--token-file: %s: %s", c->token_file,
                                         empty ? "is empty" : "must have the token and nothing else")
                          : CTL_OK;
}

int rmd_ctl_client_open(struct rmd_ctl *c) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->curl = curl_easy_init();
    if (!c->curl)
        return rmd_ctl_fail(c, CTL_FAILED, "libcurl could not be started");
    int rc = check_api(c);
    return rc == CTL_OK ? read_token(c) : rc;
}

void rmd_ctl_client_close(struct rmd_ctl *c) {
    if (c->authorisation) {
        explicit_bzero(c->authorisation, strlen(c->authorisation));
        free(c->authorisation);
    }
    curl_easy_cleanup(c->curl);
    curl_global_cleanup();
}

char *rmd_ctl_escape(struct rmd_ctl *c, const char *s) {
    char *e = curl_easy_escape(c->curl, s, 0), *copy = rmd_strdup(e ? e : "");
    curl_free(e);
    return copy;
}

static bool is_https(const struct rmd_ctl *c) {
    return strncmp(c->api, "https://", 8) == 0;
}

struct transfer {
    struct rmd_ctl *c;
    struct curl_slist *headers;
    struct rmd_buf url, answer;
    char error[CURL_ERROR_SIZE];
};

static size_t on_answer(char *p, size_t size, size_t n, void *ctx) {
    struct rmd_buf *b = ctx;
    rmd_buf_add(b, p, size * n);
    return b->overflow ? 0 : size * n;
}

static void begin(struct rmd_ctl *c, struct transfer *t, const char *method, const char *path) {
    *t = (struct transfer){.c = c, .answer = {.limit = ANSWER_MAX}};
    CURL *h = c->curl;
    curl_easy_reset(h);
    rmd_buf_addf(&t->url, "%s%s", is_https(c) ? c->api : "http://remuda", path);
    if (is_https(c)) {
        if (c->ca_file)
            curl_easy_setopt(h, CURLOPT_CAINFO, c->ca_file);
    } else {
        curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->api);
    }
    if (c->authorisation && is_https(c))
        t->headers = curl_slist_append(t->headers, c->authorisation);
    t->headers = curl_slist_append(t->headers, "Expect:");
    curl_easy_setopt(h, CURLOPT_URL, rmd_buf_str(&t->url));
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, &t->answer);
}

static void end(struct transfer *t) {
    curl_slist_free_all(t->headers);
    rmd_buf_release(&t->url);
    rmd_buf_release(&t->answer);
}

static int unreachable(const struct transfer *t, CURLcode rc) {
    const char *api = t->c->api;
    long error = 0;
    curl_easy_getinfo(t->c->curl, CURLINFO_OS_ERRNO, &error);
    bool local = !is_https(t->c) && rc == CURLE_COULDNT_CONNECT && error;
    const char *why = local ? strerror((int)error) : *t->error ? t->error : curl_easy_strerror(rc), *hint = "";
    if (local && error == EACCES)
        hint = "\nThis user may not use the socket: become a member of its group.";
    else if (local)
        hint = "\nIs remuda-coordinator running? --api (or REMUDA_API) must name its api.socket.";
    if (t->c->patient)
        return CTL_UNREACHABLE;
    return rmd_ctl_fail(t->c, CTL_UNREACHABLE, "the coordinator does not answer at %s: %s%s", api, why, hint);
}

/* The API's own object with --json; its first lines otherwise, without the line end of the last. */
int rmd_ctl_error(const struct rmd_ctl *c, long status, const json_t *answer) {
    int code = status == 404 ? CTL_NOT_FOUND : CTL_FAILED;
    if (c->json && *rmd_json_s(answer, "error")) {
        rmd_ctl_print_json(answer);
        return code;
    }
    struct rmd_slice text = rmd_trim(rmd_slice_str(rmd_json_s(answer, "error")));
    if (!text.n)
        text = rmd_slice_str("the coordinator refused without a reason");
    return rmd_ctl_fail(c, (enum rmd_ctl_exit)code, "%.*s", (int)text.n, (const char *)text.p);
}

/* Runs the transfer; *out is the answer as JSON (NULL: it was none). */
static int perform(struct transfer *t, json_t **out, long *status) {
    curl_easy_setopt(t->c->curl, CURLOPT_HTTPHEADER, t->headers);
    CURLcode rc = curl_easy_perform(t->c->curl);
    *out = NULL;
    if (rc != CURLE_OK)
        return unreachable(t, rc);
    curl_easy_getinfo(t->c->curl, CURLINFO_RESPONSE_CODE, status);
    *out = json_loadb((const char *)t->answer.p, t->answer.len, 0, NULL);
    if (*out)
        return CTL_OK;
    return rmd_ctl_fail(t->c, CTL_FAILED, "the answer at %s is not Remuda's (HTTP %ld)", t->c->api, *status);
}

int rmd_ctl_call(struct rmd_ctl *c, const char *method, const char *path, json_t *body, json_t **out) {
    struct transfer t;
    long status = 0;
    begin(c, &t, method, path);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    if (text || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        t.headers = curl_slist_append(t.headers, "Content-Type: application/json");
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, text ? text : "");
    }
    int rc = perform(&t, out, &status);
    if (rc == CTL_OK && status >= 300) {
        rc = rmd_ctl_error(c, status, *out);
        json_decref(*out);
        *out = NULL;
    }
    free(text);
    end(&t);
    return rc;
}

int rmd_ctl_show(struct rmd_ctl *c, int rc, json_t *answer, void (*show)(const json_t *)) {
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        show(answer);
    json_decref(answer);
    return rc;
}

/* ---- lines */

struct lines {
    struct rmd_buf text;
    bool (*fn)(void *ctx, const char *line);
    void *ctx;
    bool stopped;
    CURL *curl;
    struct rmd_buf *answer;
};

static size_t on_lines(char *p, size_t size, size_t n, void *ctx) {
    struct lines *l = ctx;
    long status = 0;
    curl_easy_getinfo(l->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 300)
        return on_answer(p, size, n, l->answer);
    rmd_buf_add(&l->text, p, size * n);
    for (uint8_t *nl; l->text.len && (nl = memchr(l->text.p, '\n', l->text.len)) != NULL;) {
        *nl = 0;
        if (*l->text.p && !l->fn(l->ctx, (const char *)l->text.p)) {
            l->stopped = true;
            return 0;
        }
        rmd_buf_consume(&l->text, (size_t)(nl - l->text.p) + 1);
    }
    return l->text.overflow ? 0 : size * n;
}

int rmd_ctl_lines(struct rmd_ctl *c, const char *path, bool (*fn)(void *ctx, const char *line), void *ctx) {
    struct transfer t;
    begin(c, &t, "GET", path);
    struct lines l = {.fn = fn, .ctx = ctx, .curl = c->curl, .answer = &t.answer};
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_lines);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &l);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, t.headers);
    CURLcode rc = curl_easy_perform(c->curl);
    long status = 0;
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    int code = l.stopped || rc == CURLE_OK ? CTL_OK : unreachable(&t, rc);
    if (code == CTL_OK && status >= 500 && c->patient) { /* it starts, or ends */
        code = CTL_UNREACHABLE;
    } else if (code == CTL_OK && status >= 300) {
        json_t *answer = json_loadb((const char *)t.answer.p, t.answer.len, 0, NULL);
        code = rmd_ctl_error(c, status, answer);
        json_decref(answer);
    }
    rmd_buf_release(&l.text);
    end(&t);
    return code;
}

/* ---- submission */

static int on_progress(void *ctx, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow) {
    (void)dltotal, (void)dlnow;
    const struct rmd_ctl_upload *u = ctx;
    if (u->progress)
        u->progress(u->ctx, (uint64_t)ulnow, (uint64_t)ultotal);
    return 0;
}

/* What can't be a template or a list is said before anything is sent. */
static bool usable(struct rmd_ctl *c, const char *option, const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why = fd < 0                 ? strerror(errno)
                      : fstat(fd, &st) != 0  ? strerror(errno)
                      : S_ISDIR(st.st_mode)  ? "is a folder"
                      : !S_ISREG(st.st_mode) ? NULL
                      : st.st_size == 0      ? "is empty"
                                             : NULL;
    if (fd >= 0)
        close(fd);
    if (why)
        rmd_ctl_fail(c, CTL_FAILED, "--%s: %s: %s", option, path, why);
    return !why;
}

static bool add_file(struct rmd_ctl *c, curl_mime *mime, const char *name, const char *path) {
    if (!usable(c, name, path))
        return false;
    curl_mimepart *part = curl_mime_addpart(mime);
    curl_mime_name(part, name);
    if (curl_mime_filedata(part, path) == CURLE_OK && curl_mime_filename(part, NULL) == CURLE_OK)
        return true;
    rmd_ctl_fail(c, CTL_FAILED, "--%s: %s: %s", name, path, strerror(errno));
    return false;
}

int rmd_ctl_submit(struct rmd_ctl *c, const struct rmd_ctl_upload *u, json_t **out, long *status) {
    struct transfer t;
    begin(c, &t, "POST", "/v1/campaigns");
    char *meta = json_dumps(u->meta, JSON_COMPACT);
    curl_mime *mime = curl_mime_init(c->curl);
    curl_mimepart *part = curl_mime_addpart(mime);
    curl_mime_name(part, "meta");
    curl_mime_data(part, meta, CURL_ZERO_TERMINATED);
    int rc = CTL_FAILED;
    *out = NULL;
    if (add_file(c, mime, "template", u->template_path) && add_file(c, mime, "recipients", u->recipients_path)) {
        curl_easy_setopt(c->curl, CURLOPT_MIMEPOST, mime);
        curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, u);
        rc = perform(&t, out, status);
    }
    curl_mime_free(mime);
    free(meta);
    end(&t);
    return rc;
}
