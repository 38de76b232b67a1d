/* HTTP over a Unix socket or TLS, with libcurl. */
#include <curl/curl.h>
#include <errno.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"

enum { ANSWER_MAX = 256 << 20, TIMEOUT_S = 60 };

int rmd_ctl_client_open(struct rmd_ctl *c) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->curl = curl_easy_init();
    if (!c->curl)
        fprintf(stderr, "remuda: libcurl could not be started\n");
    return c->curl ? CTL_OK : CTL_FAILED;
}

void rmd_ctl_client_close(struct rmd_ctl *c) {
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

/* "Authorization: Bearer ..." from the token file; NULL when there is none. */
static char *authorisation(const struct rmd_ctl *c) {
    char token[600] = "";
    FILE *f = c->token_file ? fopen(c->token_file, "re") : NULL;
    size_t n = f ? fread(token, 1, sizeof token - 1, f) : 0;
    if (f)
        fclose(f);
    struct rmd_slice t = rmd_trim(rmd_slice(token, n));
    if (!t.n)
        return NULL;
    struct rmd_buf b = {0};
    rmd_buf_addf(&b, "Authorization: Bearer %.*s", (int)t.n, (const char *)t.p);
    explicit_bzero(token, sizeof token);
    return (char *)rmd_buf_take(&b, &n);
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
    char *auth = authorisation(c);
    if (auth) {
        t->headers = curl_slist_append(t->headers, auth);
        explicit_bzero(auth, strlen(auth));
        free(auth);
    }
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
    fprintf(stderr, "remuda: the coordinator does not answer at %s: %s\n", api,
            local       ? strerror((int)error)
            : *t->error ? t->error
                        : curl_easy_strerror(rc));
    if (local && error == EACCES)
        fprintf(stderr, "This user may not use the socket: become a member of its group.\n");
    else if (local)
        fprintf(stderr, "Is remuda-coordinator running? --api (or REMUDA_API) must name its api.socket.\n");
    return CTL_UNREACHABLE;
}

int rmd_ctl_error(long status, const json_t *answer) {
    const char *text = rmd_json_s(answer, "error");
    fprintf(stderr, "remuda: %s\n", *text ? text : "the coordinator refused without a reason");
    return status == 404 ? CTL_NOT_FOUND : CTL_FAILED;
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
    fprintf(stderr, "remuda: the answer at %s is not Remuda's (HTTP %ld)\n", t->c->api, *status);
    return CTL_FAILED;
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
        rc = rmd_ctl_error(status, *out);
        json_decref(*out);
        *out = NULL;
    }
    free(text);
    end(&t);
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
    if (code == CTL_OK && status >= 300) {
        json_t *answer = json_loadb((const char *)t.answer.p, t.answer.len, 0, NULL);
        code = rmd_ctl_error(status, answer);
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

static bool add_file(curl_mime *mime, const char *name, const char *path) {
    curl_mimepart *part = curl_mime_addpart(mime);
    curl_mime_name(part, name);
    if (access(path, R_OK) == 0 && curl_mime_filedata(part, path) == CURLE_OK &&
        curl_mime_filename(part, NULL) == CURLE_OK)
        return true;
    fprintf(stderr, "remuda: %s: %s\n", path, strerror(errno));
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
    if (add_file(mime, "template", u->template_path) && add_file(mime, "recipients", u->recipients_path)) {
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
