/* The MTA-STS service and the shell: where it keeps its file, to whom it answers, what it may contact (sts.h). */
#include <base/text.h>

#include "node/io/shell_state.h"

enum { DNS_CACHE_ENTRIES = 1000 }; /* the policies themselves are what is kept */

static void answer(void *ctx, uint32_t worker, const char *domain, const struct rmd_sts_answer *a) {
    struct rmd_node_shell *s = ctx;
    if (worker < s->workers)
        rmd_loop_sts(s->loop[worker], domain, a);
}

int node_shell_sts_open(struct rmd_node_shell *s, const struct rmd_dns_cares_options *dns, char *err, size_t err_n) {
    const struct rmd_node_config *c = s->config;
    struct rmd_buf file = {0};
    rmd_buf_addf(&file, "%s/mta-sts.cache", c->data);
    struct rmd_sts_options o = {.file = rmd_buf_str(&file),
                                .ca_file = c->tls_ca_file,
                                .timeout_ms = c->mta_sts_timeout_ms,
                                .port = (uint16_t)c->mta_sts_port,
                                .dns = *dns,
                                .clock = s->clock,
                                .answer = answer,
                                .ctx = s};
    o.dns.cache_entries = DNS_CACHE_ENTRIES;
    int rc = rmd_sts_start(&o, &s->sts, err, err_n);
    rmd_buf_release(&file);
    return rc;
}

void node_shell_sts_learn(struct rmd_node_shell *s, const Remuda__Policy *p) {
    if (!s->sts)
        return;
    struct rmd_prefix *allow = rmd_alloc((p->n_allow_special + 1) * sizeof *allow);
    struct rmd_addr *own = rmd_alloc((2 * p->n_source + 1) * sizeof *own);
    size_t n_allow = 0, n_own = 0;
    for (size_t i = 0; i < p->n_allow_special; i++)
        n_allow += rmd_prefix_parse(p->allow_special[i], &allow[n_allow]) == RMD_OK;
    for (size_t i = 0; i < p->n_source; i++) {
        n_own += rmd_addr_parse(p->source[i]->bind, &own[n_own]) == RMD_OK;
        n_own += rmd_addr_parse(p->source[i]->public_address, &own[n_own]) == RMD_OK;
    }
    rmd_sts_addresses(s->sts, allow, n_allow, own, n_own);
    free(allow);
    free(own);
}
