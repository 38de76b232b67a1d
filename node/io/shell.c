/* The main thread: what it waits for and in which order it is served (shell.h).
 *
 *   bus -> frames -> node core -> effects -> journal, bus, workers' mailboxes
 *   workers' letters (outcomes, alarms, answers) -> node core
 *   SIGTERM, SIGINT: orderly stop, at most RMD_NODE_SHELL_STOP_MS; again: at once
 *
 * Letters come before frames, so that an outcome is known before the coordinator's next word; frames are not read
 * while a worker's mailbox is full. */
#include "node/io/shell_state.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <remuda/version.h>

#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "proto/io/clock.h"
#include "proto/io/notify.h"
#include "proto/io/rules_file.h"
#include "proto/io/sign_openssl.h"

#define SOFTWARE "remuda-node " RMD_VERSION
enum {
    FRAMES_AT_ONCE = 256,
    STATS_MS = 500,
    TRIM_MS = 60000,
    SOURCES_MS = 15000,
    WAIT_MAX_MS = 1000,
    FULL_MS = 10,
    DNS_IN_FLIGHT = 200,
    GATHER_MS = 10, /* between two looks at the workers' letters: one wake-up for many outcomes */
};

struct rmd_time node_shell_now(const struct rmd_node_shell *s) {
    return s->clock->now(s->clock->ctx);
}

/* ---------------------------------------------------------------- steps */

static void step_once(struct rmd_node_shell *s, struct rmd_node_event *e) {
    e->at = node_shell_now(s);
    rmd_node_effects_reset(&s->effects);
    int rc = rmd_node_step(s->node, e, &s->effects);
    if (rc)
        rmd_error("node", "an event of kind %d was refused: %s", (int)e->kind, rmd_error_text(rc));
    node_shell_carry_out(s);
}

static void do_later(struct rmd_node_shell *s, struct shell_later *x) {
    struct rmd_arena a = {0};
    struct rmd_node_event e = {.kind = x->kind, .n = x->n, .token = x->token};
    if (x->kind == RMD_NE_OUTCOME) {
        e.outcome = rmd_pb_decode(&remuda__outcome__descriptor, rmd_slice(x->bytes, x->bytes_n), &a);
        assert(e.outcome);
    }
    struct rmd_txt_answer txt;
    struct rmd_addr_answer addr;
    if (x->kind == RMD_NE_LOOKED_UP && x->txt)
        e.txt = memcpy(&txt, x->bytes, sizeof txt);
    else if (x->kind == RMD_NE_LOOKED_UP)
        e.addr = memcpy(&addr, x->bytes, sizeof addr);
    step_once(s, &e);
    rmd_arena_release(&a);
}

static void run_later(struct rmd_node_shell *s) {
    while (s->later && !s->failed) {
        struct shell_later *x = s->later;
        s->later = x->next;
        if (!s->later)
            s->later_last = &s->later;
        do_later(s, x);
        free(x);
    }
}

void node_shell_step(struct rmd_node_shell *s, struct rmd_node_event *e) {
    if (s->failed)
        return;
    step_once(s, e);
    run_later(s);
}

/* ---------------------------------------------------------------- what comes in */

static void letter(struct rmd_node_shell *s, const struct rmd_letter *x) {
    struct rmd_node_event e = {.kind = RMD_NE_MAIL, .worker = x->worker, .n = x->n, .mail = &x->mail};
    rmd_arena_reset(&s->decoded);
    if (x->kind == RMD_LETTER_OUTCOME) {
        e.kind = RMD_NE_OUTCOME;
        e.outcome = rmd_pb_decode(&remuda__outcome__descriptor, x->bytes, &s->decoded);
        assert(e.outcome);
    } else if (x->kind == RMD_LETTER_ALARM) {
        e.kind = RMD_NE_ALARM;
        e.alarm = rmd_pb_decode(&remuda__alarm__descriptor, x->bytes, &s->decoded);
        assert(e.alarm);
    }
    node_shell_step(s, &e);
}

/* false: there were none. */
static bool letters(struct rmd_node_shell *s) {
    struct rmd_letter *first = rmd_mailbox_take(s->inbox);
    for (struct rmd_letter *x = first, *next; x; x = next) {
        next = x->next;
        letter(s, x);
        rmd_letter_free(x);
    }
    return first != NULL;
}

static void frame(struct rmd_node_shell *s, struct rmd_slice bytes) {
    Remuda__Frame *f = NULL;
    rmd_arena_reset(&s->decoded);
    int rc = rmd_frame_decode(bytes, &s->decoded, &f);
    if (rc)
        rmd_warn("bus", "a malformed frame of %zu bytes from the coordinator: %s", bytes.n, rmd_error_text(rc));
    else if (f->body_case == REMUDA__FRAME__BODY_RECALL)
        rmd_probe(RMD_PROBE_RECALL_RECEIVED);
    node_shell_step(s, &(struct rmd_node_event){.kind = RMD_NE_FRAME, .frame = f});
    if (!f || !rmd_node_serving(s->node))
        return;
    const Remuda__Policy *p = f->body_case == REMUDA__FRAME__BODY_POLICY    ? f->policy
                              : f->body_case == REMUDA__FRAME__BODY_WELCOME ? f->welcome->policy
                                                                            : NULL;
    if (!p)
        return;
    node_shell_sources_learn(s, p);
    node_shell_sts_learn(s, p);
}

enum wait { WAIT, WAIT_BRIEFLY, GO_ON };

static bool any_worker_full(const struct rmd_node_shell *s) {
    for (uint32_t w = 0; w < s->workers; w++)
        if (rmd_loop_full(s->loop[w]))
            return true;
    return false;
}

/* How to wait for more of them: a worker whose mailbox is full has time to read it. */
static enum wait frames(struct rmd_node_shell *s) {
    for (int i = 0; i < FRAMES_AT_ONCE && !s->failed; i++) {
        if (any_worker_full(s))
            return WAIT_BRIEFLY;
        struct rmd_slice bytes;
        if (rmd_bus_client_recv(s->bus, &bytes) != RMD_OK)
            return WAIT;
        frame(s, bytes);
    }
    return GO_ON;
}

bool node_shell_read_signals(struct rmd_node_shell *s) {
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            rmd_info("node", "SIGHUP: nothing to read again; what changes at run time comes from the coordinator");
            continue;
        }
        s->stop_signals++;
        rmd_info("node", "%s: %s", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT",
                 s->stop_signals == 1 ? "finishing open transactions, giving back the rest; again: at once"
                                      : "ending at once");
    }
    return s->stop_signals > 0;
}

/* ---------------------------------------------------------------- what is due */

static void tell_stats(struct rmd_node_shell *s) {
    struct rmd_node_event e = {.kind = RMD_NE_STATS};
    for (uint32_t w = 0; w < s->workers; w++) {
        struct rmd_worker_stats x;
        rmd_loop_stats(s->loop[w], &x);
        e.stats.connections += x.connections;
        e.stats.waiting += x.waiting;
        e.stats.open_transactions += x.open_transactions;
        e.stats.delivered += x.delivered;
        e.stats.bounced += x.bounced;
        e.stats.deferred += x.deferred;
        e.stats.uncertain += x.uncertain;
        e.stats.returned += x.returned;
    }
    node_shell_step(s, &e);
}

/* Said when it changes, and again every minute while it lasts. */
static void log_bus_trouble(struct rmd_node_shell *s, int64_t now) {
    const char *text = rmd_bus_client_trouble(s->bus);
    if (!text)
        text = "";
    bool same = strncmp(text, s->bus_trouble, sizeof s->bus_trouble - 1) == 0;
    if (same && (!*text || now - s->bus_logged_at < 60000))
        return;
    s->bus_logged_at = now;
    (void)rmd_copy(s->bus_trouble, sizeof s->bus_trouble, text);
    if (*text)
        rmd_warn("bus", "%s", text);
    else
        rmd_info("bus", "the coordinator can be reached again");
}

static void trim(struct rmd_node_shell *s) {
    if (s->journal.ops->trim(s->journal.j) == RMD_OK)
        return;
    char why[256];
    s->journal.ops->trouble(s->journal.j, why, sizeof why);
    rmd_warn("journal", "can't be trimmed: %s", why);
}

static void due(struct rmd_node_shell *s) {
    int64_t now = node_shell_now(s).mono_ms;
    log_bus_trouble(s, now);
    if (now >= s->stats_at) {
        s->stats_at = now + STATS_MS;
        tell_stats(s);
    }
    if (now >= s->sources_at) {
        s->sources_at = now + SOURCES_MS;
        node_shell_sources_check(s);
    }
    if (now >= s->trim_at) {
        s->trim_at = now + TRIM_MS;
        trim(s);
    }
    if (rmd_node_deadline(s->node) <= now)
        node_shell_step(s, &(struct rmd_node_event){.kind = RMD_NE_TICK});
}

/* What the thread waits for besides descriptors. */
struct alarm_clock {
    enum wait how;
    int64_t letters_at; /* letters gather until then; 0: the first one wakes */
    int64_t dns_at;
};

static int wait_ms(const struct rmd_node_shell *s, const struct alarm_clock *c, int64_t now) {
    if (c->how != WAIT)
        return c->how == GO_ON ? 0 : FULL_MS;
    int64_t at = rmd_node_deadline(s->node);
    at = s->stats_at < at ? s->stats_at : at;
    at = c->letters_at && c->letters_at < at ? c->letters_at : at;
    at = c->dns_at < at ? c->dns_at : at;
    int64_t left = at - now;
    return left <= 0 ? 0 : left > WAIT_MAX_MS ? WAIT_MAX_MS : (int)left;
}

/* ---------------------------------------------------------------- running */

static void stop_when_told(struct rmd_node_shell *s) {
    if (s->stop_at != RMD_NEVER || !s->stop_signals)
        return;
    s->stop_at = node_shell_now(s).mono_ms + RMD_NODE_SHELL_STOP_MS;
    node_shell_step(s, &(struct rmd_node_event){.kind = RMD_NE_STOP});
}

static void replayed(void *ctx, const struct rmd_node_event *e) {
    struct rmd_node_event copy = *e;
    node_shell_step(ctx, &copy);
}

/* The coordinator asked for outcomes that it had acknowledged. */
static void replay_again(struct rmd_node_shell *s) {
    uint64_t from = s->replay_from;
    s->replay_from = 0;
    node_shell_step(s, &(struct rmd_node_event){.kind = RMD_NE_REWIND, .n = from});
    if (s->journal.ops->replay_outcomes(s->journal.j, from, replayed, s) != RMD_OK) {
        char why[256];
        s->journal.ops->trouble(s->journal.j, why, sizeof why);
        rmd_error("journal", "%s; ending: the next start reports what could not be read now", why);
        s->failed = true;
        return;
    }
    node_shell_step(s, &(struct rmd_node_event){.kind = RMD_NE_REWOUND});
}

enum { FD_BUS, FD_LETTERS, FD_SIGNALS, FD_DNS, FDS };

/* Serves what is ready, and nothing else: every look at a descriptor is a system call, and of the bus's several. */
static void serve(struct rmd_node_shell *s, struct alarm_clock *c, const struct pollfd *fd) {
    int64_t now = node_shell_now(s).mono_ms;
    if (fd[FD_LETTERS].revents || (c->letters_at && now >= c->letters_at))
        c->letters_at = letters(s) ? node_shell_now(s).mono_ms + GATHER_MS : 0;
    if (fd[FD_BUS].revents || c->how != WAIT)
        c->how = frames(s);
    if (fd[FD_DNS].revents || now >= c->dns_at)
        node_shell_watch_process(s);
    run_later(s);
    if (s->replay_from && !s->failed)
        replay_again(s);
    due(s);
}

/* false: it can't. */
static bool wait_for_work(const struct rmd_node_shell *s, struct alarm_clock *c, struct pollfd fd[FDS]) {
    c->dns_at = node_shell_watch_deadline(s);
    fd[FD_BUS] = (struct pollfd){.fd = rmd_bus_client_fd(s->bus), .events = POLLIN};
    fd[FD_LETTERS] = (struct pollfd){.fd = rmd_mailbox_fd(s->inbox), .events = POLLIN};
    fd[FD_SIGNALS] = (struct pollfd){.fd = s->signals, .events = POLLIN};
    fd[FD_DNS] = (struct pollfd){.fd = node_shell_watch_fd(s), .events = POLLIN};
    if (poll(fd, FDS, wait_ms(s, c, node_shell_now(s).mono_ms)) >= 0 || errno == EINTR)
        return true;
    rmd_error("node", "poll: %s", strerror(errno));
    return false;
}

int rmd_node_shell_run(struct rmd_node_shell *s) {
    if (s->journal.ops->replay(s->journal.j, replayed, s) != RMD_OK) {
        char why[256];
        s->journal.ops->trouble(s->journal.j, why, sizeof why);
        rmd_error("journal", "%s", why);
        return 1;
    }
    rmd_info("node", "%s started: %u workers, %lld connections, coordinator %s", SOFTWARE, s->workers,
             (long long)s->config->connections, s->config->coordinator);
    rmd_notify_ready();
    struct alarm_clock clock = {.how = WAIT};
    while (!s->stopped && !s->failed) {
        struct pollfd fd[FDS];
        if (!wait_for_work(s, &clock, fd))
            return 1;
        if (fd[FD_SIGNALS].revents)
            node_shell_read_signals(s);
        if (s->stop_signals > 1 || (s->stop_at != RMD_NEVER && node_shell_now(s).mono_ms >= s->stop_at))
            break;
        stop_when_told(s);
        serve(s, &clock, fd);
    }
    if (s->stopped)
        rmd_info("node", "stopped in order");
    return s->failed ? 1 : 0;
}

/* ---------------------------------------------------------------- life */

/* Descriptors for all connections; fewer connections when the host doesn't give so many. */
static int64_t connections_possible(const struct rmd_node_config *c) {
    struct rlimit r;
    rlim_t wanted = (rlim_t)c->connections + RMD_NODE_SHELL_FILES_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return c->connections;
    if (r.rlim_cur < wanted) {
        r.rlim_cur = r.rlim_max < wanted ? r.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
    if (r.rlim_cur >= wanted)
        return c->connections;
    int64_t possible =
        r.rlim_cur > 2 * RMD_NODE_SHELL_FILES_SPARE ? (int64_t)r.rlim_cur - RMD_NODE_SHELL_FILES_SPARE : 16;
    rmd_warn(
        "node",
        "connections = %lld needs %lld open files, the limit is %lld: using %lld connections (raise LimitNOFILE)",
        (long long)c->connections, (long long)wanted, (long long)r.rlim_cur, (long long)possible);
    return possible;
}

static int start_workers(struct rmd_node_shell *s, int64_t connections, char *err, size_t err_n) {
    const struct rmd_node_config *c = s->config;
    char *servers = rmd_config_join(c->dns_servers), *validating = rmd_config_join(c->dns_validating);
    struct rmd_loop_options o = {
        .worker = {.workers = s->workers,
                   .sign = rmd_sign_openssl(),
                   .connection_limit = (uint32_t)((connections + s->workers - 1) / s->workers),
                   .timeouts = c->timeout,
                   .idle_close_ms = c->idle_close_ms,
                   .connect_timeout_ms = c->connect_timeout_ms,
                   .dane = c->tls_dane,
                   .mta_sts = c->tls_mta_sts,
                   .tls_downgrade_ms = c->tls_downgrade_ms},
        .rules = s->rules,
        .dns = {.servers = servers,
                .validating = validating,
                .timeout_ms = (int)c->dns_timeout_ms,
                .tries = (int)c->dns_tries,
                .ttl_min_s = (uint32_t)(c->dns_ttl_min_ms / 1000),
                .ttl_max_s = (uint32_t)(c->dns_ttl_max_ms / 1000),
                .negative_ttl_s = (uint32_t)(c->dns_negative_ttl_ms / 1000),
                .cache_entries = (uint32_t)c->dns_cache_entries,
                .max_in_flight = DNS_IN_FLIGHT,
                .clock = s->clock},
        .journal = &s->journal,
        .clock = s->clock,
        .core = s->inbox,
        .ca_file = c->tls_ca_file,
    };
    int rc = c->tls_mta_sts ? node_shell_sts_open(s, &o.dns, err, err_n) : RMD_OK;
    o.sts = s->sts;
    for (uint32_t w = 0; w < s->workers && !rc; w++) {
        o.worker.index = w;
        o.worker.seed = rmd_random_seed();
        rc = rmd_loop_start(&o, &s->loop[w], err, err_n);
    }
    if (rc == RMD_OK)
        rc = node_shell_watch_open(s, servers, err, err_n);
    free(servers);
    free(validating);
    return rc;
}

static void new_core(struct rmd_node_shell *s, int64_t connections) {
    char hostname[256] = "";
    if (gethostname(hostname, sizeof hostname - 1))
        hostname[0] = 0;
    s->address = node_shell_addresses();
    struct rmd_node_options o = {.workers = s->workers,
                                 .hostname = hostname,
                                 .address = (const char *const *)s->address,
                                 .connection_limit = (uint32_t)connections,
                                 .software = SOFTWARE,
                                 .sign = rmd_sign_openssl()};
    s->node = rmd_node_new(&o);
}

static int open_all(struct rmd_node_shell *s, const struct rmd_node_keys *keys, char *err, size_t err_n) {
    const struct rmd_node_config *c = s->config;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->inbox = rmd_mailbox_new(true);
    if (s->signals < 0 || !s->inbox) {
        (void)rmd_format(err, err_n, "no file descriptor left: %s", strerror(errno));
        return RMD_EIO;
    }
    struct rmd_journal_options jo = {.directory = c->data, .keep_ms = c->journal_keep_ms, .clock = s->clock};
    int rc = rmd_journal_open(&jo, &s->journal, err, err_n);
    if (rc)
        return rc;
    struct rmd_buf findings = {0};
    struct rmd_rules *rules = rmd_rules_shipped((struct rmd_slice){0}, "", &findings);
    if (!rules) {
        (void)rmd_format(err, err_n, "the shipped verdict rules are broken: %s", rmd_buf_str(&findings));
        rmd_buf_release(&findings);
        return RMD_EINVAL;
    }
    s->rules = rmd_rules_ref_new(rules);
    struct rmd_bus_client_options bo = {.endpoint = c->coordinator};
    memcpy(bo.server_key, keys->coordinator, sizeof bo.server_key);
    memcpy(bo.secret_key, keys->secret, sizeof bo.secret_key);
    rc = rmd_bus_client_open(&bo, &s->bus, err, err_n);
    explicit_bzero(&bo, sizeof bo);
    if (rc)
        return rc;
    int64_t connections = connections_possible(c);
    new_core(s, connections);
    return start_workers(s, connections, err, err_n);
}

struct rmd_node_shell *rmd_node_shell_open(const struct rmd_node_config *c, const struct rmd_node_keys *keys,
                                           struct rmd_buf *err) {
    struct rmd_node_shell *s = rmd_alloc(sizeof *s);
    s->config = c;
    s->clock = rmd_clock_host();
    s->signals = -1;
    s->stop_at = RMD_NEVER;
    s->later_last = &s->later;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    s->workers = c->workers ? (uint32_t)c->workers : cpus > 0 ? (uint32_t)cpus : 1;
    s->loop = rmd_alloc(s->workers * sizeof(struct rmd_loop *));
    char why[512] = "";
    if (open_all(s, keys, why, sizeof why) == RMD_OK)
        return s;
    rmd_buf_addstr(err, why);
    rmd_node_shell_close(s);
    return NULL;
}

void rmd_node_shell_close(struct rmd_node_shell *s) {
    if (s->inbox)
        rmd_mailbox_close(s->inbox); /* a worker that waits for room goes on, to its end */
    rmd_sts_stop(s->sts);            /* it answers to workers */
    for (uint32_t w = 0; w < s->workers; w++)
        rmd_loop_stop(s->loop[w]);
    rmd_sts_free(s->sts);
    if (s->dns)
        node_shell_watch_close(s);
    if (s->bus)
        rmd_bus_client_close(s->bus);
    rmd_node_free(s->node);
    rmd_node_effects_release(&s->effects);
    rmd_arena_release(&s->decoded);
    if (s->journal.ops)
        s->journal.ops->close(s->journal.j);
    rmd_mailbox_free(s->inbox);
    rmd_rules_ref_drop(s->rules);
    for (struct shell_later *x = s->later, *next; x; x = next) {
        next = x->next;
        free(x);
    }
    node_shell_addresses_free(s->address);
    if (s->signals >= 0)
        close(s->signals);
    rmd_buf_release(&s->encoded);
    free(s->record);
    free(s->source);
    free(s->loop);
    free(s);
}
