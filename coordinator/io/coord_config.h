/* Configuration of remuda-coordinator: what belongs to the process. What operators change at run time is in the
 * store. */
#ifndef REMUDA_COORD_CONFIG_H
#define REMUDA_COORD_CONFIG_H

#include "proto/io/config.h"

#define RMD_COORD_CONFIG_PATH "/etc/remuda/coordinator.conf"

struct rmd_coord_config {
    char *data;
    char *store, *postgresql;
    char **bus_listen;
    char *bus_secret_key;
    char *api_socket, *api_listen, *api_tls_certificate, *api_tls_key, *api_token_file;
    char **dns_servers;
    int64_t dns_timeout_ms, dns_tries, dns_ttl_min_ms, dns_ttl_max_ms, dns_negative_ttl_ms, dns_cache_entries;
    int64_t lease_valid_ms, transaction_deadline_ms, heartbeat_lost_ms;
    char **retry_class;
    int64_t lane_per_day, source_per_day, network_per_day, domain_per_day;
    char *tls_organization, *tls_contact;
    int64_t smtp_port;
    bool smtp_starttls;
    char **allow_special;
    char *providers, *rules, *blocklists;
    char *warmup_plans, *warmup_zone, *warmup_starts;
    int64_t warmup_per_network;
    int64_t usual_percent, usual_floor;
    int64_t failover_canary_ms, failover_canary_percent, failover_canary_floor, failover_growth_percent,
        failover_growth_floor;
    bool watch;
    int64_t watch_per_hour, watch_per_day, watch_neighbours, watch_neighbours_every_ms;
    int64_t disk_reserve_bytes, cache_bytes;
    int64_t history_keep_ms, history_max_bytes;
    char *log_level, *user;
};

extern const struct rmd_config_row rmd_coord_config_rows[];

/* Loads and checks what rows can't. RMD_EINVAL with lines in err. RMD_COORD_CONFIG_TRY (--check): what the configuration
 * names must be there and be what it must be, too, as far as that can be told without the store and the network.
 * RMD_COORD_CONFIG_SHOW (--dump-config): path NULL is the defaults alone. */
enum rmd_coord_config_mode { RMD_COORD_CONFIG_RUN, RMD_COORD_CONFIG_TRY, RMD_COORD_CONFIG_SHOW };
int rmd_coord_config_load(const char *path, enum rmd_coord_config_mode mode, struct rmd_coord_config *out,
                          struct rmd_buf *err) RMD_CHECKED;
/* Of the latter (coord_check.c): files that can't be read, keys that are none, folders and users that don't exist. */
void rmd_coord_config_try(const struct rmd_coord_config *c, struct rmd_config_loader *l);
/* Hides passwords, for showing. */
void rmd_coord_config_mask(struct rmd_coord_config *c);
void rmd_coord_config_release(struct rmd_coord_config *c);

#endif
