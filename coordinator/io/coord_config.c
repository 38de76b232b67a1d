/* The schema of coordinator.conf. */
#include "coordinator/io/coord_config.h"

#include "coordinator/core/retry.h"
#include "coordinator/io/sending_day.h"
#include <base/log.h>
#include <base/text.h>

#include "proto/io/config_check.h"

#define AT(field) offsetof(struct rmd_coord_config, field)

/* clang-format off */
const struct rmd_config_row rmd_coord_config_rows[] = {
    {"data", RMD_CONFIG_PATH, AT(data), "/var/lib/remuda/coordinator", 0, 0, false, "folder of queue and history"},
    {"store", RMD_CONFIG_STRING, AT(store), "rocksdb", 0, 0, false, "rocksdb (in data) or postgresql"},
    {"postgresql", RMD_CONFIG_STRING, AT(postgresql), "", 0, 0, false, "connection string when store is postgresql"},
    {"bus.listen", RMD_CONFIG_LIST, AT(bus_listen), "tcp://127.0.0.1:7350", 0, 0, false, "endpoints for nodes (CURVE always)"},
    {"bus.secret_key", RMD_CONFIG_PATH, AT(bus_secret_key), "/etc/remuda/coordinator.key", 0, 0, false, "file made by `remuda keygen`"},
    {"api.socket", RMD_CONFIG_PATH, AT(api_socket), "/run/remuda/api.sock", 0, 0, false, "Unix socket of the API, mode 0660; its folder is made when the one above it exists"},
    {"api.listen", RMD_CONFIG_STRING, AT(api_listen), "", 0, 0, false, "address:port of the API over TLS; empty: none"},
    {"api.tls_certificate", RMD_CONFIG_PATH, AT(api_tls_certificate), "", 0, 0, false, "PEM chain for api.listen"},
    {"api.tls_key", RMD_CONFIG_PATH, AT(api_tls_key), "", 0, 0, false, "PEM key for api.listen, not readable by everybody"},
    {"api.token_file", RMD_CONFIG_PATH, AT(api_token_file), "", 0, 0, false, "file with the bearer token for api.listen, not readable by everybody"},
    {"dns.servers", RMD_CONFIG_LIST, AT(dns_servers), "", 0, 0, false, "resolvers, as [\"192.0.2.53\", \"[2001:db8::53]:5353\"]; empty: those of the system"},
    {"dns.timeout", RMD_CONFIG_DURATION, AT(dns_timeout_ms), "3s", 100, 60000, false, "of one query to one server"},
    {"dns.tries", RMD_CONFIG_INT, AT(dns_tries), "3", 1, 10, false, "queries before a temporary failure"},
    {"dns.ttl_min", RMD_CONFIG_DURATION, AT(dns_ttl_min_ms), "60s", 0, 86400000, false, "answers are kept at least so long"},
    {"dns.ttl_max", RMD_CONFIG_DURATION, AT(dns_ttl_max_ms), "1h", 1000, 604800000, false, "and at most so long"},
    {"dns.negative_ttl", RMD_CONFIG_DURATION, AT(dns_negative_ttl_ms), "5min", 1000, 86400000, false, "for names that don't exist, when the zone doesn't say"},
    {"dns.cache_entries", RMD_CONFIG_INT, AT(dns_cache_entries), "100000", 100, 10000000, false, "answers kept in memory"},
    {"lease.valid", RMD_CONFIG_DURATION, AT(lease_valid_ms), "30min", 2000, 86400000, false, "how long a node may go on without hearing from here; more than lease.transaction_deadline"},
    {"lease.transaction_deadline", RMD_CONFIG_DURATION, AT(transaction_deadline_ms), "25min", 1000, 3600000, false, "total time of one SMTP transaction"},
    {"lease.heartbeat_lost", RMD_CONFIG_DURATION, AT(heartbeat_lost_ms), "10s", 1000, 600000, false, "silence after which a node counts as gone"},
    {"retry.class", RMD_CONFIG_LIST, AT(retry_class), "", 0, 0, false, "first delay by class of refusal: \"greylisted=5min\""},
    {"caps.lane_per_day", RMD_CONFIG_INT, AT(lane_per_day), "0", 0, INT64_MAX, false, "recipients of one source at one provider in any 24 h, unless the source says otherwise; 0: no cap"},
    {"caps.source_per_day", RMD_CONFIG_INT, AT(source_per_day), "0", 0, INT64_MAX, false, "of one source in all"},
    {"caps.network_per_day", RMD_CONFIG_INT, AT(network_per_day), "0", 0, INT64_MAX, false, "of all sources of a /24 or /64 at one provider"},
    {"caps.domain_per_day", RMD_CONFIG_INT, AT(domain_per_day), "0", 0, INT64_MAX, false, "of one sending domain at one provider, unless the stream says otherwise"},
    {"smtp.port", RMD_CONFIG_INT, AT(smtp_port), "25", 1, 65535, false, "where receivers listen"},
    {"smtp.starttls", RMD_CONFIG_BOOL, AT(smtp_starttls), "true", 0, 0, false, "use TLS where it is offered"},
    {"smtp.allow_special", RMD_CONFIG_LIST, AT(allow_special), "", 0, 0, false, "networks of private or loopback addresses that may be dialled all the same"},
    {"tls_report.organization", RMD_CONFIG_STRING, AT(tls_organization), "Remuda", 0, 0, false, "who we are, in reports about TLS sessions (RFC 8460)"},
    {"tls_report.contact", RMD_CONFIG_STRING, AT(tls_contact), "", 0, 0, false, "and whom to write to about them"},
    {"providers", RMD_CONFIG_PATH, AT(providers), "", 0, 0, false, "file of provider rules over the shipped ones"},
    {"rules", RMD_CONFIG_PATH, AT(rules), "", 0, 0, false, "file of verdict rules before the shipped ones"},
    {"warmup.plans", RMD_CONFIG_PATH, AT(warmup_plans), "", 0, 0, false, "file of warm-up plans over the shipped ones"},
    {"warmup.time_zone", RMD_CONFIG_STRING, AT(warmup_zone), "", 0, 0, false, "of sending days: a name like Europe/Berlin, or an offset like +02:00; empty: the host's"},
    {"warmup.day_starts", RMD_CONFIG_STRING, AT(warmup_starts), "04:00", 0, 0, false, "when a sending day begins"},
    {"warmup.sources_per_network", RMD_CONFIG_INT, AT(warmup_per_network), "3", 0, 20000, false, "sources of one network (/24 or /64) that warm up at once; 0: any number"},
    {"usual.percent", RMD_CONFIG_INT, AT(usual_percent), "150", 0, 1000, false, "of the busiest of its last seven days that a lane sends at a provider before others come first; over 100, or 0: no such rule"},
    {"usual.floor", RMD_CONFIG_INT, AT(usual_floor), "200", 1, 1000000000, false, "recipients a day that it sends in any case"},
    {"failover.canary", RMD_CONFIG_DURATION, AT(failover_canary_ms), "30min", 0, 86400000, false, "how long only a small part of moved work goes to other lanes; 0: no canary"},
    {"failover.canary_percent", RMD_CONFIG_INT, AT(failover_canary_percent), "5", 0, 100, false, "of the moved work that part is"},
    {"failover.canary_floor", RMD_CONFIG_INT, AT(failover_canary_floor), "20", 1, 1000000, false, "recipients that it always may be"},
    {"failover.growth_percent", RMD_CONFIG_INT, AT(failover_growth_percent), "150", 0, 1000, false, "of its recent peak hour that a lane grows to with moved work, or when it comes back; over 100, or 0: no limit"},
    {"failover.growth_floor", RMD_CONFIG_INT, AT(failover_growth_floor), "20", 1, 1000000000, false, "recipients an hour that a lane without a past begins with"},
    {"blocklists", RMD_CONFIG_PATH, AT(blocklists), "", 0, 0, false, "file of blocklists over the shipped ones"},
    {"watch.enabled", RMD_CONFIG_BOOL, AT(watch), "false", 0, 0, false, "ask blocklists about sources, their neighbours and sending domains; until then nothing is asked of anybody"},
    {"watch.queries_per_hour", RMD_CONFIG_INT, AT(watch_per_hour), "1000", 10, 1000000, false, "queries of all nodes to all lists, in any hour"},
    {"watch.queries_per_day", RMD_CONFIG_INT, AT(watch_per_day), "10000", 10, 10000000, false, "and in any day"},
    {"watch.neighbours", RMD_CONFIG_INT, AT(watch_neighbours), "8", 0, 254, false, "addresses of each source's /24 that lists are asked about; another sample each day; 0: none"},
    {"watch.neighbours_every", RMD_CONFIG_DURATION, AT(watch_neighbours_every_ms), "24h", 1000, 604800000, false, "how often"},
    {"limits.disk_reserve", RMD_CONFIG_BYTES, AT(disk_reserve_bytes), "512MiB", 0, INT64_MAX, false, "submissions are refused when less is free"},
    {"limits.cache", RMD_CONFIG_BYTES, AT(cache_bytes), "64MiB", 1 << 20, INT64_MAX, false, "block cache of the store"},
    {"history.keep", RMD_CONFIG_DURATION, AT(history_keep_ms), "30d", 60000, INT64_MAX, false, "events are kept so long"},
    {"history.max", RMD_CONFIG_BYTES, AT(history_max_bytes), "4GiB", 64 << 20, INT64_MAX, false, "and at most so many bytes of them"},
    {"log.level", RMD_CONFIG_STRING, AT(log_level), "info", 0, 0, false, "debug, info, warning or error"},
    {"user", RMD_CONFIG_STRING, AT(user), "", 0, 0, false, "when started as root: become this user; empty: stay"},
    {0},
};
/* clang-format on */

static void check_store(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    if (strcmp(c->store, "rocksdb") != 0 && strcmp(c->store, "postgresql") != 0)
        rmd_config_finding(l, "store", "\"%s\" is neither rocksdb nor postgresql", c->store);
    if (strcmp(c->store, "postgresql") == 0 && !*c->postgresql)
        rmd_config_finding(l, "postgresql", "a connection string is needed when store is postgresql");
}

static void check_api(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    if (*c->api_listen && (!*c->api_tls_certificate || !*c->api_tls_key || !*c->api_token_file))
        rmd_config_finding(l, "api.listen",
                           "over TCP the API needs api.tls_certificate, api.tls_key and api.token_file");
    char host[256];
    uint16_t port;
    const char *a = c->api_listen;
    bool every = *a == ':' || *a == '*'; /* every address */
    char text[300];
    (void)rmd_format(text, sizeof text, "%s%.250s", every ? "0.0.0.0" : "", a + (*a == '*'));
    if (*a && !rmd_host_port(text, false, host, &port))
        rmd_config_finding(
            l, "api.listen",
            "\"%.200s\" is not ADDRESS:PORT, like 192.0.2.1:8443, [2001:db8::1]:8443 or *:8443 (ports: 1 "
            "to 65535)",
            a);
}

static void check_bus(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    if (!c->bus_listen || !c->bus_listen[0])
        rmd_config_finding(l, "bus.listen", "is empty: no node could connect");
    for (char **e = c->bus_listen; e && *e; e++)
        rmd_config_check_endpoint(l, "bus.listen", *e, true);
}

static void check_smtp(const struct rmd_coord_config *c, struct rmd_config_loader *l) {
    for (char **n = c->allow_special; n && *n; n++) {
        struct rmd_prefix prefix;
        if (rmd_prefix_parse(*n, &prefix) < 0)
            rmd_config_finding(l, "smtp.allow_special", "\"%s\" is not a network like 10.0.0.0/8", *n);
    }
}

static void check(const void *conf, struct rmd_config_loader *l) {
    const struct rmd_coord_config *c = conf;
    check_store(c, l);
    check_api(c, l);
    check_bus(c, l);
    rmd_config_check_servers(l, "dns.servers", c->dns_servers);
    check_smtp(c, l);
    if (c->lease_valid_ms <= c->transaction_deadline_ms)
        rmd_config_finding(l, "lease.valid",
                           "must be longer than lease.transaction_deadline, or nodes could start nothing");
    if (c->dns_ttl_min_ms > c->dns_ttl_max_ms)
        rmd_config_finding(l, "dns.ttl_min", "is longer than dns.ttl_max");
    struct rmd_retry_plan plan;
    const char *bad;
    rmd_retry_plan_init(&plan, 1, 1);
    if (rmd_retry_plan_override(&plan, (const char *const *)c->retry_class, &bad) < 0)
        rmd_config_finding(l, "retry.class", "\"%s\" is not class=duration", bad);
    if (c->failover_growth_percent && c->failover_growth_percent <= 100)
        rmd_config_finding(l, "failover.growth_percent",
                           "%lld would never let a lane grow: more than 100, or 0 for no limit",
                           (long long)c->failover_growth_percent);
    if (c->usual_percent && c->usual_percent <= 100)
        rmd_config_finding(l, "usual.percent",
                           "%lld would never let a lane grow: more than 100, or 0 for no such rule",
                           (long long)c->usual_percent);
    char why[512];
    int64_t starts_ms;
    if (rmd_sending_day_parse(c->warmup_starts, &starts_ms) < 0)
        rmd_config_finding(l, "warmup.day_starts", "\"%s\" is not a time of day like 04:00", c->warmup_starts);
    if (rmd_sending_day_check(c->warmup_zone, why, sizeof why) < 0)
        rmd_config_finding(l, "warmup.time_zone", "%s", why);
    enum rmd_log_level level;
    if (rmd_log_level_parse(c->log_level, &level) < 0)
        rmd_config_finding(l, "log.level", "\"%s\" is not debug, info, warning or error", c->log_level);
}

static void check_with_files(const void *conf, struct rmd_config_loader *l) {
    check(conf, l);
    rmd_coord_config_try(conf, l);
}

int rmd_coord_config_load(const char *path, enum rmd_coord_config_mode mode, struct rmd_coord_config *out,
                          struct rmd_buf *err) {
    if (mode == RMD_COORD_CONFIG_SHOW)
        return rmd_config_load_to_show(path, rmd_coord_config_rows, check, out, err);
    return rmd_config_load(path, rmd_coord_config_rows, mode == RMD_COORD_CONFIG_TRY ? check_with_files : check, out,
                           err);
}

/* Both spellings of libpq: "... password=secret ..." and "postgresql://user:secret@host/...". */
void rmd_coord_config_mask(struct rmd_coord_config *c) {
    char *s = c->postgresql, *at = strchr(s, '@'), *p = strstr(s, "password=");
    if (p)
        for (p += strlen("password="); *p && *p != ' '; p++)
            *p = '*';
    char *host = strstr(s, "://"), *colon = host ? strchr(host + 3, ':') : NULL;
    for (; colon && at && ++colon < at;)
        *colon = '*';
}

void rmd_coord_config_release(struct rmd_coord_config *c) {
    rmd_config_release(rmd_coord_config_rows, c);
}
