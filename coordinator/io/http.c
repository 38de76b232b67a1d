/* HTTP server of the API: daemons, authorisation, routing, answers. A thread a connection, since handlers wait for
 * the core. */
#include "coordinator/io/http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "coordinator/io/api_request.h"
#include "proto/io/config_check.h"
#include "proto/io/secret.h"

struct route {
    const char *method;
    const char *path; /* behind /v1/; "*" stands for one segment */
    rmd_api_fn fn;
};

static const struct route routes[] = {
    {"GET", "health", rmd_api_health},
    {"GET", "status", rmd_api_status},
    {"GET", "campaigns", rmd_api_campaigns},
    {"GET", "campaigns/*", rmd_api_campaign},
    {"PUT", "campaigns/*", rmd_api_campaign_put},
    {"POST", "campaigns/*/*", rmd_api_campaign_verb},
    {"GET", "sources", rmd_api_sources},
    {"POST", "sources", rmd_api_source_add},
    {"GET", "sources/*", rmd_api_source},
    {"PUT", "sources/*", rmd_api_source_put},
    {"POST", "sources/*/register", rmd_api_source_register},
    {"POST", "sources/*/*", rmd_api_source_verb},
    {"GET", "reputation", rmd_api_reputation},
    {"GET", "warmup", rmd_api_warmup},
    {"POST", "warmup/*/*", rmd_api_warmup_verb},
    {"POST", "signals/complaints", rmd_api_complaints},
    {"GET", "nodes", rmd_api_nodes},
    {"POST", "nodes", rmd_api_node_add},
    {"POST", "nodes/*/*", rmd_api_node_verb},
    {"GET", "streams", rmd_api_streams},
    {"PUT", "streams/*", rmd_api_stream_put},
    {"POST", "streams/*/*", rmd_api_stream_verb},
    {"GET", "queue", rmd_api_queue},
    {"GET", "incidents", rmd_api_incidents},
    {"POST", "incidents/*/resolve", rmd_api_incident_resolve},
    {"POST", "incidents/*/ticket", rmd_api_incident_ticket},
    {"POST", "incidents/*/*", rmd_api_incident_decide},
    {"GET", "tls", rmd_api_tls},
    {"GET", "tls/reports", rmd_api_tls_reports},
    {"GET", "listings", rmd_api_listings},
    {"GET", "listings/lists", rmd_api_lists},
    {"POST", "listings/check", rmd_api_listing_check},
    {"POST", "listings/removal-asked", rmd_api_listing_removal},
    {"POST", "suppressions", rmd_api_suppress},
    {"GET", "suppressions/*", rmd_api_suppression},
    {"DELETE", "suppressions/*", rmd_api_unsuppress},
    {"GET", "events", rmd_api_events},
    {"GET", "explain", rmd_api_explain},
    {"POST", "resume-restored", rmd_api_resume_restored},
    {"POST", "rules/reload", rmd_api_rules_reload},
};

/* ---- requests */

static bool split_path(struct rmd_api_request *r, const char *url) {
    if (strncmp(url, "/" RMD_API_VERSION "/", 4) != 0)
        return false;
    for (const char *p = url + 4; *p;) {
        size_t n = strcspn(p, "/");
        if (r->n_segments == 4 || n == 0)
            return false;
        char *s = rmd_arena_str(&r->arena, rmd_slice(p, n));
        MHD_http_unescape(s);
        r->segment[r->n_segments++] = s;
        p += n + (p[n] == '/');
    }
    return r->n_segments > 0;
}

static bool matches(const struct rmd_api_request *r, const char *path) {
    size_t i = 0;
    for (const char *p = path; *p; i++) {
        size_t n = strcspn(p, "/");
        if (i == r->n_segments)
            return false;
        bool any = n == 1 && *p == '*';
        if (!any && (strlen(r->segment[i]) != n || strncmp(r->segment[i], p, n) != 0))
            return false;
        p += n + (p[n] == '/');
    }
    return i == r->n_segments;
}

static bool authorised(struct rmd_http *h, struct MHD_Connection *conn) {
    const char *a = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Authorization");
    size_t n = strlen(h->token);
    if (!a || strncmp(a, "Bearer ", 7) != 0 || strlen(a + 7) != n)
        return false;
    unsigned diff = 0; /* as long for a wrong token as for a right one */
    for (size_t i = 0; i < n; i++)
        diff |= (unsigned)((unsigned char)a[7 + i] ^ (unsigned char)h->token[i]);
    return diff == 0;
}

static void parse_body(struct rmd_api_request *r) {
    if (r->too_large) {
        rmd_api_fail(r, 413, RMD_ELIMIT, "the body is larger than %d bytes", RMD_API_BODY_MAX);
        return;
    }
    if (r->body.len == 0)
        return;
    json_error_t e;
    r->in = json_loadb((const char *)r->body.p, r->body.len, JSON_REJECT_DUPLICATES, &e);
    if (!json_is_object(r->in))
        rmd_api_fail(r, 400, RMD_EFORMAT, "the body is not a JSON object: %s (line %d)",
                     r->in ? "another kind of value" : e.text, r->in ? 1 : e.line);
}

static void dispatch(struct rmd_api_request *r) {
    bool known = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!matches(r, routes[i].path))
            continue;
        known = true;
        if (strcmp(routes[i].method, r->method) == 0) {
            routes[i].fn(r);
            return;
        }
    }
    if (known)
        rmd_api_fail(r, 405, RMD_EINVAL, "%s is not for this path", r->method);
    else
        rmd_api_fail(r, 404, RMD_ENOTFOUND, "there is no such path; see /v1/status, /v1/campaigns, /v1/sources, ...");
}

static enum MHD_Result answer(struct rmd_api_request *r) {
    struct MHD_Response *resp = r->stream;
    if (!resp) {
        char *text = r->out ? json_dumps(r->out, JSON_COMPACT) : NULL;
        size_t n = text ? strlen(text) : 0;
        if (n) { /* ends as a line, for whoever looks at it in a terminal */
            text = rmd_realloc(text, n + 2);
            memcpy(text + n, "\n", 2);
            n++;
        }
        resp = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
        MHD_add_response_header(resp, "Content-Type", "application/json");
    }
    if (r->status == 401)
        MHD_add_response_header(resp, "WWW-Authenticate", "Bearer");
    enum MHD_Result ok = MHD_queue_response(r->conn, r->status ? r->status : 200, resp);
    MHD_destroy_response(resp);
    r->stream = NULL;
    return ok;
}

static enum MHD_Result begin(struct rmd_api_request *r, const char *url, bool remote) {
    r->begun = true;
    bool path_ok = split_path(r, url);
    bool health = path_ok && r->n_segments == 1 && strcmp(r->segment[0], "health") == 0;
    if (remote && !health && !authorised(r->http, r->conn)) {
        rmd_api_fail(r, 401, RMD_EAUTH, "a valid bearer token is needed here");
        return answer(r);
    }
    if (!path_ok) {
        rmd_api_fail(r, 404, RMD_ENOTFOUND, "there is no such path; the API is below /v1/");
        return answer(r);
    }
    if (strcmp(r->method, "POST") == 0 && r->n_segments == 1 && strcmp(r->segment[0], "campaigns") == 0)
        r->upload = rmd_upload_new(r);
    return r->out ? answer(r) : MHD_YES;
}

static enum MHD_Result handle(struct rmd_http *h, struct MHD_Connection *conn, const char *url, const char *method,
                              const char *data, size_t *size, void **state, bool remote) {
    struct rmd_api_request *r = *state;
    if (!r) {
        r = *state = rmd_alloc(sizeof *r);
        r->http = h;
        r->conn = conn;
        r->method = method;
        r->body.limit = RMD_API_BODY_MAX;
        return MHD_YES;
    }
    if (!r->begun) {
        enum MHD_Result ok = begin(r, url, remote);
        if (ok != MHD_YES || r->out)
            return ok;
    }
    if (*size) {
        if (r->upload)
            rmd_upload_data(r, data, *size);
        else
            rmd_buf_add(&r->body, data, *size);
        r->too_large |= r->body.overflow;
        *size = 0;
        return MHD_YES;
    }
    if (r->upload) {
        rmd_upload_finish(r);
        return answer(r);
    }
    parse_body(r);
    if (!r->out)
        dispatch(r);
    return answer(r);
}

static enum MHD_Result handle_local(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                    const char *version, const char *data, size_t *size, void **state) {
    (void)version;
    return handle(cls, conn, url, method, data, size, state, false);
}

static enum MHD_Result handle_remote(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                     const char *version, const char *data, size_t *size, void **state) {
    (void)version;
    return handle(cls, conn, url, method, data, size, state, true);
}

static void completed(void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why) {
    (void)cls;
    (void)conn;
    struct rmd_api_request *r = *state;
    if (!r)
        return;
    if (r->accepted && why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        rmd_probe(RMD_PROBE_SUBMIT_ANSWERED);
    rmd_upload_free(r);
    json_decref(r->in);
    json_decref(r->out);
    rmd_buf_release(&r->body);
    rmd_arena_release(&r->arena);
    free(r);
    *state = NULL;
}

/* ---- daemons */

/* A socket file that nobody listens on is left over from a killed process and may be replaced. */
static bool is_stale(const struct sockaddr_un *a) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

static int listen_local(const char *path, char *err, size_t err_n) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!rmd_copy(a.sun_path, sizeof a.sun_path, path)) {
        rmd_format(err, err_n, "api.socket: \"%s\" is too long for a Unix socket (107 bytes)", path);
        return -1;
    }
    if (access(path, F_OK) == 0) {
        if (!is_stale(&a)) {
            rmd_format(err, err_n, "%s: another coordinator listens there (or it is no socket)", path);
            return -1;
        }
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0117);
    int rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&a, sizeof a);
    umask(mask);
    if (rc != 0 || listen(fd, 128) != 0) {
        int code = errno;
        rmd_format(err, err_n, "api.socket: %s: %s%s", path, strerror(code),
                   code == ENOENT   ? ": make its folder"
                   : code == EACCES ? ": its folder must belong to the user that the coordinator runs as"
                                    : "");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static char *read_small(const char *key, const char *path, unsigned forbidden, char *err, size_t err_n) {
    char *text, why[480];
    size_t n;
    if (rmd_secret_read(path, forbidden, RMD_API_BODY_MAX, &text, &n, why, sizeof why) == RMD_OK)
        return text;
    rmd_format(err, err_n, "%s: %s", key, why);
    return NULL;
}

static int read_token(struct rmd_http *h, char *err, size_t err_n) {
    char *text = read_small("api.token_file", h->o.token_file, RMD_SECRET_GROUP, err, err_n);
    if (!text)
        return RMD_EINVAL;
    struct rmd_slice t = rmd_trim(rmd_slice_str(text));
    bool fine = t.n >= 16 && rmd_copy_slice(h->token, sizeof h->token, t);
    explicit_bzero(text, strlen(text));
    free(text);
    if (!fine)
        rmd_format(err, err_n, "api.token_file: %s: the token must have 16 to 511 characters", h->o.token_file);
    return fine ? RMD_OK : RMD_EINVAL;
}

/* Checked with the configuration; "*" and nothing stand for every address. */
static int resolve_listen(const char *text, struct addrinfo **ai, char *err, size_t err_n) {
    char host[256], whole[300], service[8];
    uint16_t port;
    bool every = *text == ':' || *text == '*';
    rmd_format(whole, sizeof whole, "%s%.250s", every ? "0.0.0.0" : "", text + (*text == '*'));
    if (!rmd_host_port(whole, false, host, &port)) {
        rmd_format(err, err_n, "api.listen: \"%s\" is not ADDRESS:PORT (ports: 1 to 65535)", text);
        return RMD_EINVAL;
    }
    rmd_format(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(every ? NULL : host, service, &hints, ai);
    if (rc != 0)
        rmd_format(err, err_n, "api.listen: \"%s\": %s", text, gai_strerror(rc));
    return rc == 0 ? RMD_OK : RMD_EINVAL;
}

static int open_remote(struct rmd_http *h, char *err, size_t err_n) {
    struct addrinfo *ai = NULL;
    if (read_token(h, err, err_n) < 0 || resolve_listen(h->o.listen, &ai, err, err_n) < 0)
        return RMD_EINVAL;
    char *cert = read_small("api.tls_certificate", h->o.tls_certificate, 0, err, err_n);
    char *key = cert ? read_small("api.tls_key", h->o.tls_key, RMD_SECRET_GROUP, err, err_n) : NULL;
    if (key) {
        unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_TLS;
        if (ai->ai_family == AF_INET6)
            flags |= MHD_USE_IPv6;
        h->remote =
            MHD_start_daemon(flags, 0, NULL, NULL, handle_remote, h, MHD_OPTION_SOCK_ADDR, ai->ai_addr,
                             MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_HTTPS_MEM_KEY, key,
                             MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_CONNECTION_LIMIT,
                             (unsigned)RMD_API_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_END);
        if (!h->remote)
            rmd_format(err, err_n, "api.listen: %s could not be opened (in use, or certificate and key do not fit)",
                       h->o.listen);
        explicit_bzero(key, strlen(key));
    }
    freeaddrinfo(ai);
    free(cert);
    free(key);
    return h->remote ? RMD_OK : RMD_EINVAL;
}

int rmd_http_open(const struct rmd_http_options *o, struct rmd_http **out, char *err, size_t err_n) {
    struct rmd_http *h = rmd_alloc(sizeof *h);
    h->o = *o;
    pthread_mutex_init(&h->lock, NULL);
    int rc = RMD_EINVAL;
    h->local_fd = listen_local(o->socket_path, err, err_n);
    if (h->local_fd >= 0) {
        h->local = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL,
                                    handle_local, h, MHD_OPTION_LISTEN_SOCKET, h->local_fd,
                                    MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_CONNECTION_LIMIT,
                                    (unsigned)RMD_API_CONNECTIONS_MAX, MHD_OPTION_END);
        rc = h->local ? RMD_OK : RMD_EIO;
    }
    if (rc == RMD_OK && *o->listen)
        rc = open_remote(h, err, err_n);
    if (rc < 0) {
        rmd_http_close(h);
        return rc;
    }
    *out = h;
    return RMD_OK;
}

void rmd_http_close(struct rmd_http *h) {
    if (!h)
        return;
    atomic_store(&h->closing, true);
    if (h->remote)
        MHD_stop_daemon(h->remote);
    if (h->local)
        MHD_stop_daemon(h->local);
    if (h->local_fd >= 0)
        unlink(h->o.socket_path);
    rmd_map_release(&h->submitting);
    pthread_mutex_destroy(&h->lock);
    explicit_bzero(h->token, sizeof h->token);
    free(h);
}
