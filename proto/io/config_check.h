/* What both programs' configurations have in common beyond types and bounds: endpoints, name servers, and (for --check)
 * files, folders, keys and users that must be there. Each finding names its key (see config.h). */
#ifndef REMUDA_CONFIG_CHECK_H
#define REMUDA_CONFIG_CHECK_H

#include <remuda/types.h>

#include "proto/io/config.h"

/* "ADDRESS:PORT", "[ADDRESS]:PORT"; the port from 1 to 65535. Host names only when they may be. */
bool rmd_host_port(const char *text, bool names, char host[256], uint16_t *port);

/* "tcp://HOST:PORT", or "ipc://PATH" on one host; listen: "tcp://ADDRESS:PORT", "tcp://" "*:PORT". */
void rmd_config_check_endpoint(struct rmd_config_loader *l, const char *key, const char *endpoint, bool listen);
/* Each "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT". */
void rmd_config_check_servers(struct rmd_config_loader *l, const char *key, char *const *servers);

/* ---- for --check; "" is passed over */
void rmd_config_try_file(struct rmd_config_loader *l, const char *key, const char *file);
void rmd_config_try_secret(struct rmd_config_loader *l, const char *key, const char *file); /* RMD_SECRET_GROUP */
/* A folder that the program makes when it isn't there: it, or the one above it, must be writable. */
void rmd_config_try_folder(struct rmd_config_loader *l, const char *key, const char *path);
void rmd_config_try_user(struct rmd_config_loader *l, const char *key, const char *user);
/* The bus's secret key; *secret gets it, for comparison (zeroed when it can't be read). */
void rmd_config_try_key(struct rmd_config_loader *l, const char *key, const char *file,
                        uint8_t secret[RMD_KEY_BYTES]);

#endif
