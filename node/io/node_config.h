/* Configuration of remuda-node: the schema, its struct, and what must be read or checked beside the file (keys). */
#ifndef REMUDA_NODE_CONFIG_H
#define REMUDA_NODE_CONFIG_H

#include "node/core/smtp.h"
#include "proto/io/config.h"

#define RMD_NODE_CONFIG_PATH "/etc/remuda/node.conf"

struct rmd_node_config {
    char *data;
    char *coordinator, *coordinator_key, *secret_key;
    int64_t workers, connections;
    char **dns_servers;
    int64_t dns_timeout_ms, dns_tries, dns_ttl_min_ms, dns_ttl_max_ms, dns_negative_ttl_ms, dns_cache_entries;
    struct rmd_smtp_timeouts_ms timeout;
    int64_t connect_timeout_ms, idle_close_ms;
    char **dns_validating;
    char *tls_ca_file;
    bool tls_dane, tls_mta_sts;
    int64_t tls_downgrade_ms, mta_sts_timeout_ms, mta_sts_port;
    int64_t journal_keep_ms;
    char *log_level;
    char *user;
};

extern const struct rmd_config_row rmd_node_config_rows[];

struct rmd_node_keys {
    uint8_t coordinator[RMD_KEY_BYTES], secret[RMD_KEY_BYTES];
};

/* Every finding is a line in err. RMD_NODE_CONFIG_TRY (--check): keys, folder and user must be there, too.
 * RMD_NODE_CONFIG_SHOW (--dump-config): see rmd_config_load_to_show. */
enum rmd_node_config_mode { RMD_NODE_CONFIG_RUN, RMD_NODE_CONFIG_TRY, RMD_NODE_CONFIG_SHOW };
int rmd_node_config_load(const char *path, enum rmd_node_config_mode mode, struct rmd_node_config *c,
                         struct rmd_buf *err) RMD_CHECKED;
/* coordinator_key: the Z85 text itself, or a file that holds it. */
int rmd_node_config_keys(const struct rmd_node_config *c, struct rmd_node_keys *keys, char *err,
                         size_t err_n) RMD_CHECKED;

#endif
