/* The API's HTTP server (libmicrohttpd) and its life cycle. Routes and JSON shapes: api.h. */
#ifndef REMUDA_HTTP_H
#define REMUDA_HTTP_H

#include "coordinator/io/shell.h"

struct rmd_http;
struct rmd_reload;

struct rmd_http_options {
    struct rmd_shell *shell;
    struct rmd_reload *reload; /* not owned */
    const char *socket_path;   /* an old socket file of a dead process is replaced; a live one is RMD_EBUSY */
    const char *listen;        /* "" = Unix socket only */
    const char *tls_certificate, *tls_key, *token_file;
    uint32_t tenant;
    const char *tls_reports;            /* folder of reports about TLS sessions */
    const char *organization, *contact; /* as such reports name us */
};

int rmd_http_open(const struct rmd_http_options *o, struct rmd_http **out, char *err, size_t err_n) RMD_CHECKED;
/* Ends open requests (followers included) and waits for them. */
void rmd_http_close(struct rmd_http *h);

#endif
