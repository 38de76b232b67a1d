/* --check beyond the file: does what the configuration names exist, and is it what it must be. See coord_config.h. */
#include <base/text.h>
#include <remuda/types.h>

#include "coordinator/io/coord_config.h"
#include "proto/io/config_check.h"

/* The folder of the socket: the coordinator makes it when the one above it is there. */
static void try_socket(struct rmd_config_loader *l, const char *path) {
    const char *slash = strrchr(path, '/');
    char folder[4096];
    if (slash && slash > path && rmd_copy_slice(folder, sizeof folder, rmd_slice(path, (size_t)(slash - path))))
        rmd_config_try_folder(l, "api.socket", folder);
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
}
