/* remuda-coordinator: wiring, privilege drop, signals. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <remuda/version.h>

#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "coordinator/io/coord_config.h"
#include "coordinator/io/http.h"
#include "coordinator/io/reload.h"
#include "coordinator/io/sending_day.h"
#include "coordinator/io/shell.h"
#include "coordinator/io/store_pg.h"
#include "coordinator/io/store_rocks.h"
#include "coordinator/io/tls_report.h"
#include "proto/io/blocklists_file.h"
#include "proto/io/clock.h"
#include "proto/io/notify.h"
#include "proto/io/plans_file.h"
#include "proto/io/privilege.h"
#include "proto/io/sign_openssl.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78, EXIT_UNAVAILABLE = 69 };

static const char usage[] =
    "remuda-coordinator: holds the queue, decides which source sends what, and talks to nodes and operators.\n"
    "\n"
    "usage: remuda-coordinator [--config PATH] [--check | --dump-config] [--takeover]\n"
    "\n"
    "  -c, --config PATH   file, or folder of *.conf files (default " RMD_COORD_CONFIG_PATH ")\n"
    "      --check         read the configuration and the files that it names, say all that is wrong, and end\n"
    "                      (0: in order, 78: not)\n"
    "      --dump-config   print the effective configuration with an explanation of each key, and end; without a\n"
    "                      file the defaults\n"
    "      --takeover      with store = postgresql: take the store from a coordinator that is gone or cut off;\n"
    "                      its writes are refused from then on\n"
    "      --version       print the version and end\n"
    "  -h, --help          this text\n"
    "\n"
    "It stays in the foreground and logs to standard error; SIGTERM ends it in order, SIGHUP reads provider\n"
    "and verdict rules, warm-up plans, blocklists and DKIM keys again. Its keys are made with `remuda keygen`, nodes "
    "are\n"
    "enrolled with `remuda node add`, mail is submitted with `remuda send`.\n"
    "Exit: 0 stopped in order; 64 wrong usage; 69 it can't serve (store, socket, user: the log says why); 78 wrong\n"
    "configuration.\n";

struct options {
    const char *config;
    bool named, check, dump, takeover;
};

static void parse_options(int argc, char **argv, struct options *o) {
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"check", no_argument, NULL, 'k'},
                                          {"dump-config", no_argument, NULL, 'd'},
                                          {"takeover", no_argument, NULL, 't'},
                                          {"version", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    *o = (struct options){.config = RMD_COORD_CONFIG_PATH};
    for (int c; (c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;)
        switch (c) {
        case 'c':
            o->config = optarg;
            o->named = true;
            break;
        case 'k':
            o->check = true;
            break;
        case 'd':
            o->dump = true;
            break;
        case 't':
            o->takeover = true;
            break;
        case 'v':
            puts("remuda-coordinator " RMD_VERSION);
            exit(0);
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fprintf(stderr, "try `remuda-coordinator --help`\n");
            exit(EXIT_USAGE);
        }
    if (optind < argc) {
        fprintf(stderr, "remuda-coordinator: unexpected argument \"%s\"; try --help\n", argv[optind]);
        exit(EXIT_USAGE);
    }
}

/* Everything that main opens, in order, so that one label can close it. */
struct parts {
    struct rmd_coord_config conf;
    struct rmd_store store;
    struct rmd_history *history;
    struct rmd_policy_files files;
    struct rmd_reload reload;
    struct rmd_shell *shell;
    struct rmd_http *http;
    struct rmd_tls_files *tls_files;
    char tls_reports[1024]; /* their folder */
    uint8_t secret_key[RMD_KEY_BYTES];
    uint8_t boot_id[RMD_UUID_BYTES];
    uint64_t epoch;
};

static int complain(const char *what, const char *err) {
    rmd_error("start", "%s: %s", what, err);
    return RMD_EINVAL;
}

/* Data and the socket's folder, for the user that the process will be; becomes that user. */
static int settle_down(const struct rmd_coord_config *c) {
    char err[512], folder[1024];
    const char *slash = strrchr(c->api_socket, '/');
    bool named = slash && slash > c->api_socket &&
                 rmd_copy_slice(folder, sizeof folder, rmd_slice(c->api_socket, (size_t)(slash - c->api_socket)));
    struct rmd_settle s = {
        .user = c->user, .data = c->data, .folder = named ? folder : NULL, .name = slash ? slash + 1 : c->api_socket};
    if (rmd_settle_down(&s, err, sizeof err) < 0)
        return complain("start", err);
    if (geteuid() == 0)
        rmd_warn("start", "running as root, which it doesn't need: set user in the configuration");
    return RMD_OK;
}

static int open_store(struct parts *p, bool takeover) {
    char err[512] = "", path[1024];
    int rc;
    if (strcmp(p->conf.store, "postgresql") == 0) {
        rc = rmd_store_pg_open(&(struct rmd_store_pg_options){.conninfo = p->conf.postgresql, .takeover = takeover},
                               &p->store, err, sizeof err);
    } else {
        rmd_format(path, sizeof path, "%s/store", p->conf.data);
        struct rmd_store_rocks_options o = {.directory = path,
                                            .block_cache_bytes = (size_t)p->conf.cache_bytes,
                                            .reserve_bytes = (uint64_t)p->conf.disk_reserve_bytes};
        rc = rmd_store_rocks_open(&o, &p->store, err, sizeof err);
    }
    if (rc < 0)
        return complain("store", err);
    rc = p->store.ops->acquire(p->store.s, &p->epoch);
    return rc < 0 ? complain("store", rmd_error_text(rc)) : RMD_OK;
}

static int open_history(struct parts *p) {
    char err[512] = "", path[1024];
    rmd_format(path, sizeof path, "%s/history", p->conf.data);
    rmd_format(p->tls_reports, sizeof p->tls_reports, "%s/tls-reports", p->conf.data);
    struct rmd_history_options o = {.directory = path,
                                    .keep_ms = p->conf.history_keep_ms,
                                    .max_bytes = p->conf.history_max_bytes,
                                    .clock = rmd_clock_host()};
    return rmd_history_open(&o, &p->history, err, sizeof err) < 0 ? complain("history", err) : RMD_OK;
}

static struct rmd_policy_paths policy_paths(const struct rmd_coord_config *c) {
    return (struct rmd_policy_paths){
        .providers = c->providers, .rules = c->rules, .plans = c->warmup_plans, .blocklists = c->blocklists};
}

/* Without the lists: they come from the files. */
static struct rmd_watch_settings watch_settings(const struct rmd_coord_config *c) {
    return (struct rmd_watch_settings){.enabled = c->watch,
                                       .per_hour = (uint32_t)c->watch_per_hour,
                                       .per_day = (uint32_t)c->watch_per_day,
                                       .neighbours = (uint32_t)c->watch_neighbours,
                                       .neighbours_every_ms = c->watch_neighbours_every_ms};
}

static struct rmd_coord_options core_options(struct parts *p) {
    struct rmd_coord_config *c = &p->conf;
    return (struct rmd_coord_options){.lease_valid_ms = c->lease_valid_ms,
                                      .transaction_deadline_ms = c->transaction_deadline_ms,
                                      .heartbeat_lost_ms = c->heartbeat_lost_ms,
                                      .campaign_keep_ms = c->history_keep_ms,
                                      .provider = p->reload.now.providers.v,
                                      .n_providers = p->reload.now.providers.n,
                                      .rules = rmd_buf_slice(&p->reload.now.rules),
                                      .allow_special = (const char *const *)c->allow_special,
                                      .smtp_port = (uint16_t)c->smtp_port,
                                      .starttls = c->smtp_starttls,
                                      .lane_cap_per_day = (uint64_t)c->lane_per_day,
                                      .source_cap_per_day = (uint64_t)c->source_per_day,
                                      .network_cap_per_day = (uint64_t)c->network_per_day,
                                      .domain_cap_per_day = (uint64_t)c->domain_per_day,
                                      .plan = p->reload.now.plans.v,
                                      .n_plans = p->reload.now.plans.n,
                                      .warm_per_network = (uint32_t)c->warmup_per_network,
                                      .usual = {(uint32_t)c->usual_percent, (uint32_t)c->usual_floor},
                                      .failover = {.canary_ms = c->failover_canary_ms,
                                                   .canary_percent = (uint32_t)c->failover_canary_percent,
                                                   .canary_floor = (uint32_t)c->failover_canary_floor,
                                                   .growth_percent = (uint32_t)c->failover_growth_percent,
                                                   .growth_floor = (uint32_t)c->failover_growth_floor},
                                      .class_retry = (const char *const *)c->retry_class,
                                      .seed = rmd_random_seed(),
                                      .watch = &p->reload.watch,
                                      .sign = rmd_sign_openssl()};
}

static int open_shell(struct parts *p) {
    struct rmd_coord_config *c = &p->conf;
    char err[1024] = "", *servers = rmd_config_join(c->dns_servers);
    struct rmd_shell_options o = {.clock = rmd_clock_host(),
                                  .store = p->store,
                                  .epoch = p->epoch,
                                  .core = core_options(p),
                                  .bus = {.endpoint = (const char *const *)c->bus_listen},
                                  .dns = {.servers = servers,
                                          .timeout_ms = (int)c->dns_timeout_ms,
                                          .tries = (int)c->dns_tries,
                                          .ttl_min_s = (uint32_t)(c->dns_ttl_min_ms / 1000),
                                          .ttl_max_s = (uint32_t)(c->dns_ttl_max_ms / 1000),
                                          .negative_ttl_s = (uint32_t)(c->dns_negative_ttl_ms / 1000),
                                          .cache_entries = (uint32_t)c->dns_cache_entries,
                                          .max_in_flight = RMD_COORD_RESOLVES_IN_FLIGHT},
                                  .history = p->history};
    if (rmd_sending_day_parse(c->warmup_starts, &o.day_starts_ms) < 0)
        return complain("warmup.day_starts", c->warmup_starts);
    memcpy(o.bus.secret_key, p->secret_key, RMD_KEY_BYTES);
    o.clock->boot_id(o.clock->ctx, o.core.boot_id);
    p->store = (struct rmd_store){0}; /* the shell's now, also when it fails */
    int rc = rmd_shell_open(&o, &p->shell, err, sizeof err) < 0 ? complain("start", err) : RMD_OK;
    free(servers);
    return rc;
}

static int open_http(struct parts *p) {
    char err[512] = "";
    struct rmd_http_options o = {.shell = p->shell,
                                 .reload = &p->reload,
                                 .socket_path = p->conf.api_socket,
                                 .listen = p->conf.api_listen,
                                 .tls_certificate = p->conf.api_tls_certificate,
                                 .tls_key = p->conf.api_tls_key,
                                 .token_file = p->conf.api_token_file,
                                 .tls_reports = p->tls_reports,
                                 .organization = p->conf.tls_organization,
                                 .contact = p->conf.tls_contact,
                                 .tenant = 1};
    return rmd_http_open(&o, &p->http, err, sizeof err) < 0 ? complain("api", err) : RMD_OK;
}

static int open_tls_files(struct parts *p) {
    struct rmd_tls_files_options o = {.shell = p->shell,
                                      .folder = p->tls_reports,
                                      .who = {p->conf.tls_organization, p->conf.tls_contact},
                                      .clock = rmd_clock_host()};
    return rmd_tls_files_start(&o, &p->tls_files) < 0 ? complain("tls-reports", "no thread could be made") : RMD_OK;
}

static struct parts *serving;

enum { SIGNAL_ENOUGH = SIGUSR1 }; /* to the thread that waits for signals: the shell has ended */

/* Each finding is a line of the log. */
static void reload(struct rmd_reload *r) {
    struct rmd_buf said = {0};
    int rc = rmd_reload_run(r, &said);
    if (rc == RMD_OK) {
        rmd_info("reload", "%s", rmd_buf_str(&said));
    } else {
        for (const char *p = rmd_buf_str(&said); *p; p += strcspn(p, "\n"), p += *p == '\n')
            rmd_error("reload", "%.*s", (int)strcspn(p, "\n"), p);
        rmd_error("reload", "nothing changed: what was read before stays in force");
    }
    rmd_buf_release(&said);
}

static void *wait_for_signals(void *arg) {
    int sig;
    while (sigwait(arg, &sig) == 0 && sig == SIGHUP)
        reload(&serving->reload);
    if (sig != SIGNAL_ENOUGH) {
        rmd_info("stop", "signal %d: ending in order", sig);
        rmd_shell_stop(serving->shell);
    }
    return NULL;
}

static void close_parts(struct parts *p) {
    if (p->http)
        rmd_http_close(p->http);
    rmd_tls_files_stop(p->tls_files);
    rmd_shell_close(p->shell);
    if (p->store.ops)
        p->store.ops->close(p->store.s);
    rmd_history_close(p->history);
    rmd_policy_files_release(&p->files);
    rmd_reload_close(&p->reload);
    rmd_coord_config_release(&p->conf);
    explicit_bzero(p->secret_key, sizeof p->secret_key);
}

static int serve(struct parts *p, bool takeover) {
    char err[512] = "";
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGNAL_ENOUGH);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread is made: they all inherit it */
    signal(SIGPIPE, SIG_IGN);
    if (rmd_curve_read_file(p->conf.bus_secret_key, true, p->secret_key, err, sizeof err) < 0)
        return complain("bus.secret_key", err);
    struct rmd_policy_paths paths = policy_paths(&p->conf);
    struct rmd_watch_settings watch = watch_settings(&p->conf);
    rmd_reload_open(&p->reload, NULL, &paths, &watch, &p->files);
    if (settle_down(&p->conf) < 0 || open_store(p, takeover) < 0 || open_history(p) < 0 || open_shell(p) < 0 ||
        open_http(p) < 0 || open_tls_files(p) < 0)
        return RMD_EINVAL;
    p->reload.shell = p->shell;
    serving = p;
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_signals, &signals) != 0)
        return complain("start", "no thread could be made");
    bool tcp = *p->conf.api_listen;
    rmd_info("start", "serving: API on %s%s%s, bus on %s, epoch %llu", p->conf.api_socket, tcp ? " and https://" : "",
             p->conf.api_listen, p->conf.bus_listen[0], (unsigned long long)p->epoch);
    rmd_notify_ready();
    int rc = rmd_shell_run(p->shell);
    if (rc == RMD_OK)
        rmd_info("stop", "stopped");
    pthread_kill(thread, SIGNAL_ENOUGH); /* not cancelled: a cancelled thread's frames are never left */
    pthread_join(thread, NULL);
    return rc;
}

int main(int argc, char **argv) {
    struct options o;
    parse_options(argc, argv, &o);
    rmd_log_init("remuda-coordinator", RMD_LOG_INFO, rmd_clock_host());
    struct parts p = {0};
    struct rmd_buf err = {0};
    enum rmd_log_level level = RMD_LOG_INFO;
    enum rmd_coord_config_mode mode = o.dump    ? RMD_COORD_CONFIG_SHOW
                                      : o.check ? RMD_COORD_CONFIG_TRY
                                                : RMD_COORD_CONFIG_RUN;
    bool defaults = o.dump && !o.named && access(o.config, F_OK) != 0;
    int rc = rmd_coord_config_load(defaults ? NULL : o.config, mode, &p.conf, &err);
    struct rmd_policy_paths paths = policy_paths(&p.conf);
    if (rc == RMD_OK && !o.dump && !o.check)
        rc = rmd_policy_files_load(&paths, &p.files, &err);
    if (rc < 0)
        fputs(rmd_buf_str(&err), stderr);
    rmd_buf_release(&err);
    int code = rc < 0 ? EXIT_CONFIG : 0;
    if (rc == RMD_OK && o.dump) {
        struct rmd_buf text = {0};
        rmd_coord_config_mask(&p.conf);
        rmd_config_dump(rmd_coord_config_rows, &p.conf, &text);
        fputs(rmd_buf_str(&text), stdout);
        rmd_buf_release(&text);
    } else if (rc == RMD_OK && o.check) {
        printf("%s: in order\n", o.config);
    } else if (rc == RMD_OK) {
        rmd_sending_day_zone(p.conf.warmup_zone);
        if (rmd_log_level_parse(p.conf.log_level, &level) == RMD_OK)
            rmd_log_init("remuda-coordinator", level, rmd_clock_host());
        rmd_probe_init();
        code = serve(&p, o.takeover) < 0 ? EXIT_UNAVAILABLE : 0;
    }
    close_parts(&p);
    return code;
}
