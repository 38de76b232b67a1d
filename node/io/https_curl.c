/* HTTPS over libcurl (see https_curl.h). */
#include "node/io/https_curl.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include <base/coll.h>
#include <base/text.h>

struct fetch {
    struct rmd_list link; /* in waiting or active */
    struct rmd_https *https;
    CURL *easy;
    struct curl_slist *resolve;
    char *name, *url;
    struct rmd_addr addr[RMD_HTTPS_ADDRESSES_MAX];
    size_t n_addr;
    struct rmd_buf body;
    bool too_big;
    char error[CURL_ERROR_SIZE];
    rmd_https_fn fn;
    void *ctx;
};

struct rmd_https {
    CURLM *multi;
    struct rmd_https_options o;
    char *ca_file;
    struct rmd_list waiting, active;
    unsigned n_active;
};

static void library_init(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int rmd_https_open(const struct rmd_https_options *o, struct rmd_https **out, char *err, size_t err_n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    struct rmd_https *h = rmd_alloc(sizeof *h);
    h->o = *o;
    h->ca_file = rmd_strdup(o->ca_file);
    h->multi = curl_multi_init();
    rmd_list_init(&h->waiting);
    rmd_list_init(&h->active);
    if (!h->multi) {
        (void)rmd_format(err, err_n, "libcurl can't be set up");
        rmd_https_close(h);
        return RMD_EIO;
    }
    *out = h;
    return RMD_OK;
}

static void fetch_free(struct fetch *f) {
    rmd_list_remove(&f->link);
    if (f->easy) {
        curl_multi_remove_handle(f->https->multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_slist_free_all(f->resolve);
    rmd_buf_release(&f->body);
    free(f->name);
    free(f->url);
    free(f);
}

void rmd_https_close(struct rmd_https *h) {
    if (!h)
        return;
    struct rmd_list *all[] = {&h->waiting, &h->active};
    for (int i = 0; i < 2; i++)
        while (!rmd_list_empty(all[i]))
            fetch_free(rmd_container(all[i]->next, struct fetch, link));
    curl_multi_cleanup(h->multi);
    free(h->ca_file);
    free(h);
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx) {
    struct fetch *f = ctx;
    if (f->body.len + size * n > f->https->o.max_bytes) {
        f->too_big = true;
        return 0;
    }
    rmd_buf_add(&f->body, p, size * n);
    return size * n;
}

/* The last look before a connection: only what was found good. */
static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to) {
    const struct fetch *f = ctx;
    struct rmd_addr a = {.family = to->family == AF_INET6 ? 6 : 4};
    (void)purpose;
    if (a.family == 6)
        memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)&to->addr)->sin6_addr, 16);
    else
        memcpy(a.b, &((const struct sockaddr_in *)(const void *)&to->addr)->sin_addr, 4);
    for (size_t i = 0; i < f->n_addr; i++)
        if (rmd_addr_eq(&a, &f->addr[i]))
            return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    return CURL_SOCKET_BAD;
}

static void set_up(struct fetch *f) {
    CURL *e = f->easy;
    const struct rmd_https *h = f->https;
    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    curl_easy_setopt(e, CURLOPT_URL, f->url);
    curl_easy_setopt(e, CURLOPT_RESOLVE, f->resolve);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L); /* RFC 8461, section 3.3 */
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, h->o.timeout_ms);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    if (*h->ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, h->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "remuda");
}

void rmd_https_get(struct rmd_https *h, const char *name, const char *host, const char *path,
                   const struct rmd_addr *addr, size_t n, rmd_https_fn fn, void *ctx) {
    struct fetch *f = rmd_alloc(sizeof *f);
    struct rmd_buf url = {0}, resolve = {0};
    f->https = h;
    f->name = rmd_strdup(name);
    f->fn = fn;
    f->ctx = ctx;
    rmd_buf_addf(&url, "https://%s:%u%s", host, h->o.port, path);
    rmd_buf_addf(&resolve, "%s:%u:", host, h->o.port);
    for (size_t i = 0; i < n && i < RMD_HTTPS_ADDRESSES_MAX; i++) {
        char text[48];
        rmd_addr_format(&addr[i], text);
        rmd_buf_addf(&resolve, addr[i].family == 6 ? "%s[%s]" : "%s%s", i ? "," : "", text);
        f->addr[f->n_addr++] = addr[i];
    }
    f->url = (char *)rmd_buf_take(&url, NULL);
    f->resolve = curl_slist_append(NULL, rmd_buf_str(&resolve));
    rmd_buf_release(&resolve);
    rmd_list_push(&h->waiting, &f->link);
}

static void start_waiting(struct rmd_https *h) {
    while (h->n_active < RMD_HTTPS_AT_ONCE && !rmd_list_empty(&h->waiting)) {
        struct fetch *f = rmd_container(h->waiting.next, struct fetch, link);
        rmd_list_remove(&f->link);
        rmd_list_push(&h->active, &f->link);
        h->n_active++;
        f->easy = curl_easy_init();
        if (!f->easy)
            abort(); /* out of memory */
        set_up(f);
        curl_multi_add_handle(h->multi, f->easy);
    }
}

static bool about_certificate(CURLcode code) {
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR;
}

static bool is_text(const char *type) {
    return type && rmd_case_prefix(rmd_slice_str(type), "text/plain");
}

static void finish(struct fetch *f, CURLcode code) {
    struct rmd_https_result r = {.result = RMD_TLS_R_STS_POLICY_FETCH_ERROR};
    char why[160];
    long status = 0;
    char *type = NULL;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    if (f->too_big) {
        (void)rmd_format(why, sizeof why, "it is larger than %zu bytes", f->https->o.max_bytes);
    } else if (code != CURLE_OK) {
        r.result = about_certificate(code) ? RMD_TLS_R_STS_WEBPKI_INVALID : r.result;
        (void)rmd_format(why, sizeof why, "%s", *f->error ? f->error : curl_easy_strerror(code));
    } else if (status != 200) {
        (void)rmd_format(why, sizeof why, "HTTP status %ld%s", status,
                         status >= 300 && status < 400 ? "; redirects aren't followed" : "");
    } else if (!is_text(type)) {
        r.result = RMD_TLS_R_STS_POLICY_INVALID;
        (void)rmd_format(why, sizeof why, "its media type isn't text/plain");
    } else {
        r = (struct rmd_https_result){.result = RMD_TLS_R_OK, .body = rmd_buf_slice(&f->body)};
        why[0] = 0;
    }
    r.why = why;
    f->fn(f->ctx, f->name, &r);
    f->https->n_active--;
    fetch_free(f);
}

void rmd_https_wait(struct rmd_https *h, const int fd[2], int timeout_ms) {
    struct curl_waitfd extra[2];
    unsigned n = 0;
    for (int i = 0; i < 2; i++)
        if (fd[i] >= 0)
            extra[n++] = (struct curl_waitfd){.fd = fd[i], .events = CURL_WAIT_POLLIN};
    curl_multi_poll(h->multi, extra, n, rmd_list_empty(&h->waiting) ? timeout_ms : 0, NULL);
}

void rmd_https_process(struct rmd_https *h) {
    int running, left;
    CURLMsg *m;
    start_waiting(h);
    curl_multi_perform(h->multi, &running);
    while ((m = curl_multi_info_read(h->multi, &left))) {
        struct fetch *f = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f);
        finish(f, code);
    }
    start_waiting(h);
}
