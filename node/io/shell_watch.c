/* The watch's resolver: the node core's lookups, through the servers of the configuration, in the main thread. It keeps no
 * answers: the core asks nothing again before an answer's time to live is over. */
#include <base/log.h>
#include <base/text.h>

#include "node/io/shell_state.h"

enum { WATCH_IN_FLIGHT = 64 };

struct shell_lookup {
    struct rmd_node_shell *shell;
    uint64_t token;
};

int node_shell_watch_open(struct rmd_node_shell *s, const char *servers, char *err, size_t err_n) {
    const struct rmd_node_config *c = s->config;
    struct rmd_dns_cares_options o = {.servers = servers,
                                      .timeout_ms = (int)c->dns_timeout_ms,
                                      .tries = (int)c->dns_tries,
                                      .negative_ttl_s = (uint32_t)(c->dns_negative_ttl_ms / 1000),
                                      .max_in_flight = WATCH_IN_FLIGHT,
                                      .clock = s->clock};
    return rmd_dns_cares_open(&o, &s->dns, err, err_n);
}

void node_shell_watch_close(struct rmd_node_shell *s) {
    s->watch_closed = true;
    rmd_dns_cares_close(s->dns);
    s->dns = NULL;
}

/* An answer may come while effects are carried out (a cached failure, a bad name): it waits for its turn. */
static void give(struct shell_lookup *x, const struct rmd_addr_answer *addr, const struct rmd_txt_answer *txt) {
    struct rmd_node_shell *s = x->shell;
    if (!s->watch_closed)
        node_shell_looked_up(s, x->token, addr, txt);
    free(x);
}

static void on_codes(void *ctx, const char *name, const struct rmd_addr_answer *a) {
    (void)name;
    give(ctx, a, NULL);
}

static void on_txt(void *ctx, const char *name, const struct rmd_txt_answer *a) {
    (void)name;
    give(ctx, NULL, a);
}

void node_shell_watch_lookup(struct rmd_node_shell *s, const struct rmd_node_effect *f) {
    struct rmd_dns dns = rmd_dns_cares_port(s->dns);
    struct shell_lookup *x = rmd_alloc(sizeof *x);
    *x = (struct shell_lookup){s, f->token};
    if (f->txt)
        dns.ops->txt(dns.d, f->text, on_txt, x);
    else
        dns.ops->codes(dns.d, f->text, on_codes, x);
}

int node_shell_watch_fd(const struct rmd_node_shell *s) {
    return rmd_dns_cares_fd(s->dns);
}

int64_t node_shell_watch_deadline(const struct rmd_node_shell *s) {
    return rmd_dns_cares_deadline(s->dns);
}

void node_shell_watch_process(struct rmd_node_shell *s) {
    rmd_dns_cares_process(s->dns);
}
