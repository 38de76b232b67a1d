/* See node_config.h. Timeouts default to RFC 5321 section 4.5.3.2. Floors keep a typing error from cutting off slow
 * receivers altogether. */
#include "node/io/node_config.h"

#include <base/log.h>
#include <base/text.h>

#include "proto/io/bus.h"

#define ROW(key, type, field, fallback, min, max, required, help) \
    { key, RMD_CONFIG_##type, offsetof(struct rmd_node_config, field), fallback, min, max, required, help }
#define TIMEOUT(name, fallback, what) \
    ROW("smtp.timeout_" #name, DURATION, timeout.name, fallback, 1000, 3600000, false, what)

const struct rmd_config_row rmd_node_config_rows[] = {
    ROW("data", PATH, data, "/var/lib/remuda-node", 0, 0, false,
        "directory of the journal; one node each, made with mode 0700"),
    ROW("bus.coordinator", STRING, coordinator, NULL, 0, 0, true,
        "endpoint of the coordinator, as \"tcp://192.0.2.1:7350\""),
    ROW("bus.coordinator_key", STRING, coordinator_key, NULL, 0, 0, true,
        "the coordinator's public key: 40 characters of Z85, or the path of a file with them"),
    ROW("bus.secret_key", PATH, secret_key, NULL, 0, 0, true,
        "file with this node's secret key, readable by its owner only (remuda keygen)"),
    ROW("workers", INT, workers, "0", 0, 256, false, "threads that send; 0: one a CPU"),
    ROW("connections", INT, connections, "2000", 1, 100000, false,
        "SMTP connections at the same time, all sources together"),
    ROW("dns.servers", LIST, dns_servers, NULL, 0, 0, false,
        "resolvers, as [\"192.0.2.53\", \"[2001:db8::53]:5353\"]; empty: those of the system"),
    ROW("dns.timeout", DURATION, dns_timeout_ms, "3s", 100, 60000, false, "until a query is tried again"),
    ROW("dns.tries", INT, dns_tries, "3", 1, 10, false, "how often a query is sent before it failed for now"),
    ROW("dns.ttl_min", DURATION, dns_ttl_min_ms, "30s", 0, 3600000, false, "answers are kept at least so long"),
    ROW("dns.ttl_max", DURATION, dns_ttl_max_ms, "1h", 1000, 604800000, false, "answers are kept at most so long"),
    ROW("dns.negative_ttl", DURATION, dns_negative_ttl_ms, "1min", 0, 86400000, false,
        "\"no such name\" is kept so long when the zone doesn't say"),
    ROW("dns.cache_entries", INT, dns_cache_entries, "50000", 100, 10000000, false,
        "names kept in each worker's cache"),
    TIMEOUT(greeting, "5min", "wait for the receiver's greeting"),
    TIMEOUT(helo, "5min", "wait for the reply to EHLO or HELO"),
    TIMEOUT(starttls, "2min", "wait for the reply to STARTTLS and for the handshake"),
    TIMEOUT(mail, "5min", "wait for the reply to MAIL"),
    TIMEOUT(rcpt, "5min", "wait for the reply to RCPT"),
    TIMEOUT(data, "2min", "wait for the reply to DATA"),
    TIMEOUT(block, "3min", "wait for the receiver to take more bytes"),
    TIMEOUT(dot, "10min", "wait for the reply to the final dot; cutting this short makes duplicates"),
    TIMEOUT(rset, "1min", "wait for the reply to RSET"),
    TIMEOUT(quit, "10s", "wait for the reply to QUIT"),
    ROW("smtp.connect_timeout", DURATION, connect_timeout_ms, "30s", 1000, 600000, false,
        "until a receiver counts as not answering"),
    ROW("smtp.idle_close", DURATION, idle_close_ms, "5s", 0, 300000, false,
        "how long a connection without work is kept"),
    ROW("journal.keep", DURATION, journal_keep_ms, "48h", 0, INT64_C(31536000000), false,
        "outcomes are kept so long after the coordinator has them; longer than the interval of its backups"),
    ROW("log.level", STRING, log_level, "info", 0, 0, false, "debug, info, warning or error"),
    ROW("user", STRING, user, NULL, 0, 0, false, "when started as root: become this user; empty: stay"),
    {0},
};

static void check(const void *conf, struct rmd_config_loader *l) {
    const struct rmd_node_config *c = conf;
    enum rmd_log_level level;
    if (rmd_log_level_parse(c->log_level, &level) != RMD_OK)
        rmd_config_finding(l, "log.level", "\"%.40s\" is none of debug, info, warning, error", c->log_level);
    if (c->dns_ttl_min_ms > c->dns_ttl_max_ms)
        rmd_config_finding(l, "dns.ttl_min", "is longer than dns.ttl_max");
}

int rmd_node_config_load(const char *path, struct rmd_node_config *c, struct rmd_buf *err) {
    return rmd_config_load(path, rmd_node_config_rows, check, c, err);
}

int rmd_node_config_keys(const struct rmd_node_config *c, struct rmd_node_keys *keys, char *err, size_t err_n) {
    char why[400];
    int rc = RMD_OK;
    if (rmd_curve_parse(c->coordinator_key, keys->coordinator) != RMD_OK) {
        rc = rmd_curve_read_file(c->coordinator_key, false, keys->coordinator, why, sizeof why);
        if (rc) {
            (void)rmd_format(
                err, err_n, "bus.coordinator_key: neither a key (40 characters of Z85) nor a file with one: %s", why);
            return rc;
        }
    }
    rc = rmd_curve_read_file(c->secret_key, true, keys->secret, why, sizeof why);
    if (rc)
        (void)rmd_format(err, err_n, "bus.secret_key: %s%s", why,
                         rc == RMD_ENOTFOUND ? "; make one with: remuda keygen" : "");
    return rc;
}
