/* The control socket: one command a line over a Unix stream socket, one answer a line, "ok ..." or "error ...".
 *
 *   block PROVIDER NET STAGE[,STAGE] TEXT     unblock PROVIDER NET [STAGE]      slow PROVIDER MS
 *   set PROVIDER NAME VALUE                   get PROVIDER NAME                 cut PROVIDER WHERE [COUNT]
 *   close PROVIDER [NET]                      down PROVIDER   up PROVIDER       forget PROVIDER
 *   stats [PROVIDER]
 *
 * PROVIDER may be *, NET an address, a prefix or *. What changes a provider is written to its transcript too. */
#include "tests/receivers/receivers.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SESSIONS_MAX = 16, LINE_MAX_BYTES = 8192 };

struct session {
    struct rmd_rcv_watch watch;
    struct rmd_buf in;
};

static struct {
    struct rmd_rcv_watch watch;
    char path[108];
    struct session sessions[SESSIONS_MAX]; /* fd < 0: free */
} control = {.watch.fd = -1};

struct call {
    struct rmd_rcv *r;
    struct rmd_rcv_provider *p;
    char *args; /* what follows PROVIDER */
    struct rmd_buf *out;
    char err[512];
};

/* Cuts the next word off s; returns "" at the end. */
static char *word(char **s) {
    char *w = *s + strspn(*s, " ");
    size_t n = strcspn(w, " ");
    *s = w + n + (w[n] != 0);
    w[n] = 0;
    return w;
}

static int fail(struct call *k, const char *text) {
    (void)rmd_copy(k->err, sizeof k->err, text);
    return RMD_EINVAL;
}

static int do_block(struct call *k) {
    char *net = word(&k->args), *stages = word(&k->args);
    if (rmd_rcv_block_add(k->p, net, stages, k->args))
        return fail(k, "expected block PROVIDER NET STAGE TEXT, the text beginning with 4xx or 5xx");
    return RMD_OK;
}

static int do_unblock(struct call *k) {
    char *net = word(&k->args), *stages = word(&k->args);
    int64_t bits = RCV_ANY;
    if (*stages && rmd_rcv_stages_parse(stages, &bits))
        return fail(k, "no such stage");
    rmd_buf_addf(k->out, " %zu", rmd_rcv_block_remove(k->p, net, (unsigned)bits));
    return RMD_OK;
}

static int do_slow(struct call *k) {
    char value[64];
    if (rmd_format(value, sizeof value, "%sms", word(&k->args)) < 0)
        return RMD_ELIMIT;
    return rmd_rcv_policy_set(&k->p->policy, "delay", value, k->err, sizeof k->err);
}

static int do_set(struct call *k) {
    char *name = word(&k->args);
    if (!strncmp(name, "dnsbl_", 6) && (!strcmp(name + 6, "zone") || !strcmp(name + 6, "server")))
        return fail(k, "the blocklist's zone and server are fixed at start; dnsbl_stage = none turns it off");
    return rmd_rcv_policy_set(&k->p->policy, name, k->args, k->err, sizeof k->err);
}

static int do_get(struct call *k) {
    char *wanted = word(&k->args);
    const char *name;
    struct rmd_buf value = {0};
    int rc = RMD_ENOTFOUND;
    for (size_t i = 0; rc && rmd_rcv_policy_get(&k->p->policy, i, &name, &value); i++) {
        if (!strcmp(name, wanted)) {
            rmd_buf_addf(k->out, " %s", rmd_buf_str(&value));
            rc = RMD_OK;
        }
        rmd_buf_clear(&value);
    }
    rmd_buf_release(&value);
    return rc ? fail(k, "no such setting") : RMD_OK;
}

static int do_cut(struct call *k) {
    int cut = rmd_rcv_cut_parse(word(&k->args));
    char *count = word(&k->args);
    uint64_t n = 1;
    if (cut < 0 || (*count && rmd_parse_u64(rmd_slice_str(count), &n)) || n > INT32_MAX)
        return fail(
            k, "expected cut PROVIDER greeting|ehlo|mail|rcpt|data|before-dot|after-lost|after-accepted [COUNT]");
    k->p->cut_next[cut] = (int64_t)n;
    return RMD_OK;
}

static void close_all(struct rmd_rcv *r, struct rmd_rcv_provider *p, const char *ip) {
    rmd_list_for_safe(it, &r->conns) {
        struct rmd_rcv_conn *c = rmd_container(it, struct rmd_rcv_conn, all);
        if (c->provider != p || (ip && *ip && strcmp(ip, c->client->ip)))
            continue;
        rmd_rcv_json_cstr(rmd_rcv_line(r, c, "cut"), "stage", "control");
        rmd_rcv_line_end(r);
        p->n_cuts++;
        rmd_rcv_conn_close(r, c);
    }
}

static int do_close(struct call *k) {
    close_all(k->r, k->p, word(&k->args));
    return RMD_OK;
}

static int do_down(struct call *k) {
    for (size_t i = 0; i < k->p->listeners_n; i++)
        rmd_rcv_unlisten(k->r, &k->p->listeners[i]);
    close_all(k->r, k->p, NULL);
    return RMD_OK;
}

static int do_up(struct call *k) {
    for (size_t i = 0; i < k->p->listeners_n; i++)
        if (rmd_rcv_listen(k->r, &k->p->listeners[i], k->err, sizeof k->err))
            return RMD_EIO;
    return RMD_OK;
}

static int do_forget(struct call *k) {
    struct rmd_slice key;
    void *value;
    rmd_map_release(&k->p->greylist);
    for (uint32_t it = 0; rmd_map_next(&k->p->clients, &it, &key, &value);) {
        struct rmd_rcv_client *client = value;
        memset(client->rcpts, 0, sizeof client->rcpts);
        client->dnsbl_answer_us = 0;
    }
    return RMD_OK;
}

static int do_stats(struct call *k) {
    const struct rmd_rcv_provider *p = k->p;
    rmd_rcv_json_quote(k->out, rmd_slice_str(p->name));
    rmd_buf_addf(k->out, ":{\"open\":%u", p->open);
#define COUNTER(name) rmd_rcv_json_int(k->out, #name, (int64_t)p->n_##name);
    RCV_COUNTERS(COUNTER)
#undef COUNTER
    rmd_buf_addc(k->out, '}');
    return RMD_OK;
}

static const struct {
    const char *name;
    int (*run)(struct call *);
    bool changes;
} commands[] = {{"block", do_block, true},   {"unblock", do_unblock, true}, {"slow", do_slow, true},
                {"set", do_set, true},       {"get", do_get, false},        {"cut", do_cut, true},
                {"close", do_close, true},   {"down", do_down, true},       {"up", do_up, true},
                {"forget", do_forget, true}, {"stats", do_stats, false}};

static int run_on(struct rmd_rcv *r, size_t cmd, struct rmd_rcv_provider *p, const char *args, struct rmd_buf *out,
                  char *err, size_t err_n) {
    struct call k = {.r = r, .p = p, .out = out};
    char *copy = k.args = rmd_strdup(args);
    int rc = commands[cmd].run(&k);
    if (!rc && commands[cmd].changes) {
        struct rmd_buf *b = rmd_rcv_line_of(r, p, "control");
        rmd_rcv_json_cstr(b, "command", commands[cmd].name);
        rmd_rcv_json_cstr(b, "args", args);
        rmd_rcv_line_end(r);
        rmd_rcv_transcript_flush(r->transcript);
    }
    if (rc)
        (void)rmd_copy(err, err_n, k.err[0] ? k.err : rmd_error_text(rc));
    free(copy);
    return rc;
}

/* Fills out with the answer line. */
static void execute(struct rmd_rcv *r, char *line, struct rmd_buf *out) {
    char err[512] = "no such command";
    char *name = word(&line), *who = word(&line);
    size_t cmd = 0, n = sizeof commands / sizeof *commands;
    int rc = RMD_OK, found = 0;
    while (cmd < n && strcmp(name, commands[cmd].name))
        cmd++;
    bool stats = cmd < n && commands[cmd].run == do_stats, all = !strcmp(who, "*") || (stats && !*who);
    rmd_buf_addstr(out, stats ? "ok {" : "ok");
    if (cmd == n)
        rc = RMD_ENOTFOUND;
    for (size_t i = 0; i < r->providers_n && !rc; i++) {
        if (!all && strcmp(who, r->providers[i]->name))
            continue;
        found++;
        if (stats && found > 1)
            rmd_buf_addc(out, ',');
        rc = run_on(r, cmd, r->providers[i], line, out, err, sizeof err);
    }
    if (!rc && !found) {
        rc = RMD_ENOTFOUND;
        (void)rmd_format(err, sizeof err, "no provider %s", who);
    }
    if (stats && !rc)
        rmd_buf_addf(out, "%s\"verify_pending\":%zu}", found ? "," : "", rmd_rcv_verifier_pending(r));
    if (rc) {
        rmd_buf_clear(out);
        rmd_buf_addf(out, "error %s", err);
    }
    rmd_buf_addc(out, '\n');
}

static void session_close(struct rmd_rcv *r, struct session *s) {
    rmd_rcv_watch_set(r, &s->watch, 0);
    close(s->watch.fd);
    s->watch.fd = -1;
    rmd_buf_release(&s->in);
}

static void session_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events) {
    struct session *s = rmd_container(w, struct session, watch);
    struct rmd_buf out = {0};
    char buf[4096], *lf;
    (void)events;
    ssize_t n = read(w->fd, buf, sizeof buf);
    if (n > 0)
        rmd_buf_add(&s->in, buf, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        s->in.overflow = true;
    while (s->in.len && (lf = memchr(s->in.p, '\n', s->in.len))) {
        size_t used = (size_t)(lf - (char *)s->in.p) + 1;
        char *line = rmd_strndup(s->in.p, used - 1);
        execute(r, line, &out);
        free(line);
        /* the answers are short and the socket's buffer isn't */
        if (send(w->fd, out.p, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
            s->in.overflow = true;
        rmd_buf_clear(&out);
        bool gone = s->in.overflow;
        rmd_buf_consume(&s->in, used);
        s->in.overflow = gone;
    }
    rmd_buf_release(&out);
    if (s->in.overflow || s->in.len > LINE_MAX_BYTES)
        session_close(r, s);
}

static void control_ready(struct rmd_rcv *r, struct rmd_rcv_watch *w, uint32_t events) {
    (void)events;
    int fd = rmd_rcv_accept(w->fd, NULL, NULL);
    if (fd < 0)
        return;
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session *s = &control.sessions[i];
        if (s->watch.fd >= 0)
            continue;
        s->watch = (struct rmd_rcv_watch){.fd = fd, .ready = session_ready};
        rmd_rcv_watch_set(r, &s->watch, EPOLLIN);
        return;
    }
    close(fd);
}

int rmd_rcv_control_open(struct rmd_rcv *r, const char *path, char *err, size_t err_n) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    for (int i = 0; i < SESSIONS_MAX; i++)
        control.sessions[i].watch.fd = -1;
    if (!rmd_copy(sa.sun_path, sizeof sa.sun_path, path)) {
        (void)rmd_format(err, err_n, "%s: a socket's path has at most %zu bytes", path, sizeof sa.sun_path - 1);
        return RMD_ELIMIT;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) || listen(fd, SESSIONS_MAX)) {
        (void)rmd_format(err, err_n, "%s: can't listen there: %m", path);
        if (fd >= 0)
            close(fd);
        return RMD_EIO;
    }
    (void)rmd_copy(control.path, sizeof control.path, path);
    control.watch = (struct rmd_rcv_watch){.fd = fd, .ready = control_ready};
    rmd_rcv_watch_set(r, &control.watch, EPOLLIN);
    return RMD_OK;
}

void rmd_rcv_control_close(struct rmd_rcv *r) {
    if (control.watch.fd < 0)
        return;
    for (int i = 0; i < SESSIONS_MAX; i++)
        if (control.sessions[i].watch.fd >= 0)
            session_close(r, &control.sessions[i]);
    rmd_rcv_watch_set(r, &control.watch, 0);
    close(control.watch.fd);
    unlink(control.path);
}
