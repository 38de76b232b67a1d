/* remuda-node: options, privileges, signals, wiring. Everything else is in node/io/shell.c. */
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include <remuda/version.h>

#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "node/io/shell.h"
#include "proto/io/clock.h"
#include "proto/io/privilege.h"

enum { EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_CONFIG = 78 }; /* of sysexits.h */

static const char help[] =
    "remuda-node: sends what a Remuda coordinator deals to it, from the addresses of this host.\n"
    "\n"
    "  remuda-node [--config PATH]                  run, in the foreground; a service manager starts and stops it\n"
    "  remuda-node --check [--config PATH]          read configuration and keys, say all that is wrong, do nothing\n"
    "  remuda-node --dump-config [--config PATH]    print the configuration in effect, each key with its meaning; "
    "without\n"
    "                                               a file the defaults, and what is required\n"
    "  remuda-node --version | --help\n"
    "\n"
    "PATH is a file, or a directory whose *.conf files are read in order of name; default " RMD_NODE_CONFIG_PATH ".\n"
    "\n"
    "A first node:\n"
    "  remuda keygen /etc/remuda/node                      # makes node.key (secret) and node.pub\n"
    "  cat > /etc/remuda/node.conf <<EOF\n"
    "  data = \"/var/lib/remuda-node\";\n"
    "  bus {\n"
    "      coordinator = \"tcp://192.0.2.1:7350\";            # where the coordinator listens\n"
    "      coordinator_key = \"...40 characters...\";         # its public key\n"
    "      secret_key = \"/etc/remuda/node.key\";\n"
    "  }\n"
    "  EOF\n"
    "  remuda node add NAME --key node.pub                      # at the coordinator: the key is who the node "
    "is\n"
    "\n"
    "The node has no list of its sources: the coordinator tells it (remuda source add ...). An address that is not "
    "on this\n"
    "host is shown by `remuda source list`.\n"
    "\n"
    "Signals: SIGTERM or SIGINT finish open transactions, give back the rest and report, within 10 s; a second one "
    "ends at once.\n"
    "Nothing is lost either way: what was under way is in the journal.\n"
    "Exit: 0 stopped; 64 wrong usage; 69 it can't serve (journal, user: the log says why); 78 wrong configuration.\n";

struct choices {
    const char *config;
    bool named, check, dump;
};

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct choices *out) {
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"dump-config", no_argument, NULL, 'd'},
        {"foreground", no_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *out = (struct choices){.config = RMD_NODE_CONFIG_PATH};
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (o) {
        case 'c':
            out->config = optarg;
            out->named = true;
            break;
        case 'k':
            out->check = true;
            break;
        case 'd':
            out->dump = true;
            break;
        case 'f':
            break; /* the only way it runs */
        case 'v':
            puts("remuda-node " RMD_VERSION);
            return 0;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            fputs("remuda-node: see remuda-node --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "remuda-node: \"%s\": no such argument; see remuda-node --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

static void dump(const struct rmd_node_config *c) {
    struct rmd_buf out = {0};
    rmd_config_dump(rmd_node_config_rows, c, &out);
    fputs(rmd_buf_str(&out), stdout);
    rmd_buf_release(&out);
}

static void block_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before any thread: the shell reads them from a descriptor */
    signal(SIGPIPE, SIG_IGN);
}

static int run(const struct rmd_node_config *c, struct rmd_node_keys *keys) {
    struct rmd_buf err = {0};
    char why[600];
    if (rmd_settle_down(&(struct rmd_settle){.user = c->user, .data = c->data}, why, sizeof why) < 0) {
        rmd_error("node", "%s", why);
        return EXIT_UNAVAILABLE;
    }
    if (geteuid() == 0)
        rmd_warn("node", "running as root, which it doesn't need: set user in the configuration");
    block_signals();
    struct rmd_node_shell *s = rmd_node_shell_open(c, keys, &err);
    explicit_bzero(keys, sizeof *keys);
    if (!s) {
        rmd_error("node", "%s", rmd_buf_str(&err));
        rmd_buf_release(&err);
        return EXIT_UNAVAILABLE;
    }
    int rc = rmd_node_shell_run(s);
    rmd_node_shell_close(s);
    return rc ? EXIT_UNAVAILABLE : 0;
}

int main(int argc, char **argv) {
    struct choices choice;
    int rc = read_options(argc, argv, &choice);
    if (rc >= 0)
        return rc;
    rmd_probe_init();
    rmd_log_init("remuda-node", RMD_LOG_INFO, rmd_clock_host());
    struct rmd_node_config c;
    struct rmd_node_keys keys;
    struct rmd_buf err = {0};
    char why[600];
    enum rmd_node_config_mode mode = choice.dump    ? RMD_NODE_CONFIG_SHOW
                                     : choice.check ? RMD_NODE_CONFIG_TRY
                                                    : RMD_NODE_CONFIG_RUN;
    bool defaults = choice.dump && !choice.named && access(choice.config, F_OK) != 0;
    if (rmd_node_config_load(defaults ? NULL : choice.config, mode, &c, &err) != RMD_OK) {
        fputs(rmd_buf_str(&err), stderr);
        rmd_buf_release(&err);
        return EXIT_CONFIG;
    }
    enum rmd_log_level level;
    if (rmd_log_level_parse(c.log_level, &level) == RMD_OK)
        rmd_log_init("remuda-node", level, rmd_clock_host());
    if (choice.dump) {
        dump(&c);
        rc = 0;
    } else if (choice.check) {
        printf("%s: in order\n", choice.config);
        rc = 0;
    } else if (rmd_node_config_keys(&c, &keys, why, sizeof why) != RMD_OK) {
        fprintf(stderr, "%s: %s\n", choice.config, why);
        rc = EXIT_CONFIG;
    } else {
        rc = run(&c, &keys);
    }
    explicit_bzero(&keys, sizeof keys);
    rmd_config_release(rmd_node_config_rows, &c);
    rmd_buf_release(&err);
    return rc;
}
