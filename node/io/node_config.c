/* See node_config.h. Timeouts default to RFC 5321 section 4.5.3.2. Floors keep a typing error from cutting off slow
 * receivers altogether. */
#include "node/io/node_config.h"

#include <base/log.h>
#include <base/text.h>

#include "proto/io/bus.h"
#include "proto/io/config_check.h"

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
    ROW("dns.validating", LIST, dns_validating, "127.0.0.1,::1", 0, 0, false,
        "resolvers that check DNSSEC and are reached by a path nobody can tamper with; DANE is used when all servers "
        "are "
        "among them"),
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
    ROW("tls.ca_file", PATH, tls_ca_file, NULL, 0, 0, false,
        "PEM file of the authorities to trust where certificates are verified; empty: the system's"),
    ROW("tls.dane", BOOL, tls_dane, "true", 0, 0, false, "verify receivers by their TLSA records (RFC 7672)"),
    ROW("tls.mta_sts", BOOL, tls_mta_sts, "true", 0, 0, false, "fetch and follow MTA-STS policies (RFC 8461)"),
    ROW("tls.downgrade", DURATION, tls_downgrade_ms, "1h", 1000, 604800000, false,
        "a host whose handshake failed, and that needn't have TLS, is spoken to in the clear for so long"),
    ROW("tls.mta_sts_timeout", DURATION, mta_sts_timeout_ms, "20s", 1000, 60000, false,
        "until an MTA-STS policy counts as not to be had"),
    ROW("tls.mta_sts_port", INT, mta_sts_port, "443", 1, 65535, false, "of policy hosts; another one only in tests"),
    ROW("journal.keep", DURATION, journal_keep_ms, "48h", 0, INT64_C(31536000000), false,
        "outcomes are kept so long after the coordinator has them; longer than the interval of its backups"),
    ROW("log.level", STRING, log_level, "info", 0, 0, false, "debug, info, warning or error"),
    ROW("user", STRING, user, NULL, 0, 0, false, "when started as root: become this user; empty: stay"),
    {0},
};

/* The text itself, or the file with it. Secret keys look the same: what `remuda keygen` calls NAME.key, and this node's
 * own, are told apart. */
static int coordinator_key(const struct rmd_node_config *c, const uint8_t secret[RMD_KEY_BYTES],
                           uint8_t key[RMD_KEY_BYTES], char *err, size_t err_n) {
    char why[400];
    uint8_t own[RMD_KEY_BYTES] = {0};
    if (!rmd_curve_is_text(c->coordinator_key) && rmd_has_suffix(c->coordinator_key, ".key")) {
        (void)rmd_format(
            err, err_n,
            "%s: is a secret key, which stays on the coordinator's host; give its public key, the .pub file",
            c->coordinator_key);
        return RMD_EINVAL;
    }
    int rc = rmd_curve_read(c->coordinator_key, key, why, sizeof why);
    if (rc < 0) {
        (void)rmd_format(err, err_n, "neither a key (40 characters of Z85) nor a file with one: %s", why);
        return rc;
    }
    bool known = memcmp(secret, own, sizeof own) != 0 && rmd_curve_public(secret, own) == RMD_OK;
    if (known && (memcmp(key, secret, sizeof own) == 0 || memcmp(key, own, sizeof own) == 0)) {
        (void)rmd_format(err, err_n, "this is the node's own key; the coordinator's public key is needed");
        return RMD_EINVAL;
    }
    return RMD_OK;
}

static void check(const void *conf, struct rmd_config_loader *l) {
    const struct rmd_node_config *c = conf;
    enum rmd_log_level level;
    if (rmd_log_level_parse(c->log_level, &level) != RMD_OK)
        rmd_config_finding(l, "log.level", "\"%.40s\" is none of debug, info, warning, error", c->log_level);
    if (c->dns_ttl_min_ms > c->dns_ttl_max_ms)
        rmd_config_finding(l, "dns.ttl_min", "is longer than dns.ttl_max");
    rmd_config_check_endpoint(l, "bus.coordinator", c->coordinator, false);
    rmd_config_check_servers(l, "dns.servers", c->dns_servers);
    for (char **a = c->dns_validating; *a; a++) {
        struct rmd_addr addr;
        if (rmd_addr_parse(*a, &addr) != RMD_OK)
            rmd_config_finding(l, "dns.validating", "\"%.64s\" is not an IP address", *a);
    }
}

static void check_with_files(const void *conf, struct rmd_config_loader *l) {
    const struct rmd_node_config *c = conf;
    struct rmd_node_keys keys;
    char why[600];
    check(conf, l);
    rmd_config_try_key(l, "bus.secret_key", c->secret_key, keys.secret);
    if (coordinator_key(c, keys.secret, keys.coordinator, why, sizeof why) != RMD_OK)
        rmd_config_finding(l, "bus.coordinator_key", "%s", why);
    explicit_bzero(&keys, sizeof keys);
    rmd_config_try_folder(l, "data", c->data);
    rmd_config_try_file(l, "tls.ca_file", c->tls_ca_file);
    rmd_config_try_user(l, "user", c->user);
}

int rmd_node_config_load(const char *path, enum rmd_node_config_mode mode, struct rmd_node_config *c,
                         struct rmd_buf *err) {
    if (mode == RMD_NODE_CONFIG_SHOW)
        return rmd_config_load_to_show(path, rmd_node_config_rows, check, c, err);
    return rmd_config_load(path, rmd_node_config_rows, mode == RMD_NODE_CONFIG_TRY ? check_with_files : check, c,
                           err);
}

int rmd_node_config_keys(const struct rmd_node_config *c, struct rmd_node_keys *keys, char *err, size_t err_n) {
    char why[400];
    int rc = rmd_curve_read_file(c->secret_key, true, keys->secret, why, sizeof why);
    if (rc) {
        (void)rmd_format(err, err_n, "bus.secret_key: %s%s", why,
                         rc == RMD_ENOTFOUND ? "; make one with: remuda keygen" : "");
        return rc;
    }
    rc = coordinator_key(c, keys->secret, keys->coordinator, why, sizeof why);
    if (rc)
        (void)rmd_format(err, err_n, "bus.coordinator_key: %s", why);
    return rc;
}
