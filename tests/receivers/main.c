/* remuda-receivers: options, wiring, signals. */
#include "tests/receivers/receivers.h"

#include <ares.h>
#include <getopt.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char usage[] =
    "Usage: remuda-receivers --config FILE --log FILE [--control SOCKET] [--ready-fd N]\n"
    "\n"
    "Plays the MX hosts of many domains, with a policy for each provider, and writes a transcript that a judge can\n"
    "read: one JSON object a line.\n"
    "\n"
    "  --config FILE     providers and their policies (tests/receivers/README.md has a complete example)\n"
    "  --log FILE        the transcript, appended to\n"
    "  --control SOCKET  Unix socket for commands at run time: block, unblock, slow, set, get, cut, close, down, "
    "up,\n"
    "                    forget, stats\n"
    "  --ready-fd N      write \"ready\\n\" to descriptor N once everything listens (default: 1, standard output)\n"
    "  --check           read the configuration and end\n"
    "  --settings        list the settings of a provider with their defaults, and end\n"
    "  --help            this text\n"
    "\n"
    "Ends on SIGTERM or SIGINT, when what it accepted has been verified. Exit codes: 0 ended as told, 2 wrong "
    "options\n"
    "or configuration, 3 an address or file can't be used, 4 the transcript can't be written.\n";

struct options {
    const char *config, *log, *control;
    int ready_fd;
    bool check;
};

static int options_parse(int argc, char **argv, struct options *o) {
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},  {"log", required_argument, NULL, 'l'},
        {"control", required_argument, NULL, 's'}, {"ready-fd", required_argument, NULL, 'r'},
        {"check", no_argument, NULL, 'k'},         {"settings", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct rmd_buf help = {0};
    uint64_t n = 0;
    int opt;
    while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (opt == 'c')
            o->config = optarg;
        else if (opt == 'l')
            o->log = optarg;
        else if (opt == 's')
            o->control = optarg;
        else if (opt == 'k')
            o->check = true;
        else if (opt == 'r' && !rmd_parse_u64(rmd_slice_str(optarg), &n) && n < 1024)
            o->ready_fd = (int)n;
        else if (opt == 'h' || opt == 't') {
            if (opt == 't')
                rmd_rcv_policy_help(&help);
            fputs(opt == 't' ? rmd_buf_str(&help) : usage, stdout);
            rmd_buf_release(&help);
            exit(0);
        } else {
            fprintf(stderr, "Try remuda-receivers --help\n");
            return RMD_EINVAL;
        }
    }
    if (optind < argc || !o->config || (!o->log && !o->check)) {
        fputs("remuda-receivers: --config and --log are needed, and nothing beside options (see --help)\n", stderr);
        return RMD_EINVAL;
    }
    return RMD_OK;
}

static void signal_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events) {
    struct signalfd_siginfo si;
    (void)events;
    if (read(w->fd, &si, sizeof si) == (ssize_t)sizeof si)
        r->stop = true;
}

static int signals_watch(struct rmd_rcv *r, struct rmd_rcv_watch *w) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    /* before any thread starts, so that they all inherit it */
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return RMD_EIO;
    *w = (struct rmd_rcv_watch){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .ready = signal_ready};
    if (w->fd < 0)
        return RMD_EIO;
    rmd_rcv_watch_set(r, w, EPOLLIN);
    return RMD_OK;
}

static void descriptors_raise(void) {
    struct rlimit rl;
    if (!getrlimit(RLIMIT_NOFILE, &rl)) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
}

static int start(struct rmd_rcv *r, const struct options *o, struct rmd_rcv_watch *signals, char *err, size_t n) {
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rmd_list_init(&r->conns);
    rmd_list_init(&r->dead);
    r->now_us = rmd_rcv_boot_us();
    r->serial = (uint64_t)r->now_us / 1000; /* so that ids of an earlier run in the same log aren't used again */
    if (r->epoll_fd < 0 || signals_watch(r, signals)) {
        (void)rmd_format(err, n, "epoll or signalfd: %m");
        return RMD_EIO;
    }
    r->transcript = rmd_rcv_transcript_open(o->log, err, n);
    if (!r->transcript || rmd_rcv_tls_init(r, err, n))
        return RMD_EIO;
    if (r->dkim_verify && rmd_rcv_verifier_start(r, err, n))
        return RMD_EIO;
    for (size_t i = 0; i < r->providers_n; i++) {
        struct rmd_rcv_provider *p = r->providers[i];
        if (p->policy.dnsbl_zone && rmd_rcv_dnsbl_open(r, p, err, n))
            return RMD_EIO;
        for (size_t k = 0; k < p->listeners_n; k++)
            if (rmd_rcv_listen(r, &p->listeners[k], err, n))
                return RMD_EIO;
    }
    return o->control ? rmd_rcv_control_open(r, o->control, err, n) : RMD_OK;
}

static void stop(struct rmd_rcv *r) {
    rmd_rcv_control_close(r);
    for (size_t i = 0; i < r->providers_n; i++)
        for (size_t k = 0; k < r->providers[i]->listeners_n; k++)
            rmd_rcv_unlisten(r, &r->providers[i]->listeners[k]);
    rmd_list_for_safe(it, &r->conns) rmd_rcv_conn_close(r, rmd_container(it, struct rmd_rcv_conn, all));
    rmd_rcv_conn_reap(r);
    for (size_t i = 0; i < r->providers_n; i++)
        rmd_rcv_dnsbl_close(r, r->providers[i]);
    rmd_rcv_verifier_stop(r);
    rmd_rcv_transcript_close(r->transcript);
    rmd_rcv_tls_release(r);
    rmd_heap_release(&r->timers);
}

int main(int argc, char **argv) {
    static struct rmd_rcv r = {
        .dkim_verify = true, .dkim_sample = 1, .dkim_threads = 1, .dkim_queue_bytes = 512 << 20, .random = 1};
    struct options o = {.ready_fd = 1};
    struct rmd_rcv_watch signals = {.fd = -1};
    char err[1024] = "";
    int code = 0;
    if (options_parse(argc, argv, &o))
        return 2;
    ares_library_init(ARES_LIB_INIT_ALL);
    descriptors_raise();
    if (rmd_rcv_config_load(&r, o.config, err, sizeof err))
        code = 2;
    else if (!o.check && start(&r, &o, &signals, err, sizeof err))
        code = 3;
    if (code) {
        fprintf(stderr, "remuda-receivers: %s\n", err);
        return code;
    }
    if (!o.check) {
        if (write(o.ready_fd, "ready\n", 6) != 6)
            fprintf(stderr, "remuda-receivers: nobody reads descriptor %d\n", o.ready_fd);
        rmd_rcv_run(&r);
        stop(&r);
        close(signals.fd);
        close(r.epoll_fd);
    }
    rmd_rcv_config_release(&r);
    ares_library_cleanup();
    return 0;
}
