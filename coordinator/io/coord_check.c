/* --check beyond the file: does what the configuration names exist, and is it what it must be. See coord_config.h. */
#include <base/text.h>
#include <remuda/types.h>

#include "coordinator/io/coord_config.h"
#include "proto/io/config_check.h"
#include "proto/io/policy_files.h"

/* The folder of the socket: the coordinator makes it when the one above it is there. */
static void try_socket(struct rmd_config_loader *l, const char *path) {
    const char *slash = strrchr(path, '/');
    char folder[4096];
    if (slash && slash > path && rmd_copy_slice(folder, sizeof folder, rmd_slice(path, (size_t)(slash - path))))
        rmd_config_try_folder(l, "api.socket", folder);
}

/* The files that it names, each to its end; what one of them lacks is told beside what the others lack. */
static void try_policy_files(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    struct rmd_policy_paths paths = {
        .providers = c->providers, .rules = c->rules, .plans = c->warmup_plans, .blocklists = c->blocklists};
    struct rmd_policy_files files;
    struct rmd_buf err = {0};
    if (rmd_policy_files_load(&paths, &files, &err) < 0)
        rmd_config_findings(l, &err);
    else
        rmd_policy_files_release(&files);
    rmd_buf_release(&err);
}

void rmd_coord_config_try(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    uint8_t key[RMD_KEY_BYTES];
    rmd_config_try_key(l, "bus.secret_key", c->bus_secret_key, key);
    explicit_bzero(key, sizeof key);
    rmd_config_try_folder(l, "data", c->data);
    try_socket(l, c->api_socket);
    rmd_config_try_file(l, "api.tls_certificate", c->api_tls_certificate);
    rmd_config_try_secret(l, "api.tls_key", c->api_tls_key);
    rmd_config_try_secret(l, "api.token_file", c->api_token_file);
    rmd_config_try_user(l, "user", c->user);
    try_policy_files(c, l);
}
