/* TLS sessions in the node core: workers tell of each, the coordinator gets counts (tls_report.h). */
#include <base/text.h>

#include "node/core/node_state.h"

void node_tls_session_told(struct rmd_node *n, const struct rmd_mail *m) {
    if (!n->tls_run)
        n->tls_run = rmd_mix64(rmd_fnv64(rmd_slice(n->uuid, sizeof n->uuid)) ^ (uint64_t)n->now.wall_ms) | 1;
    rmd_tls_report_add(n->tls, m->bytes, n->now.mono_ms);
}

void node_tls_due(struct rmd_node *n) {
    Remuda__TlsReport *m = rmd_arena_alloc(&n->out->arena, sizeof *m);
    if (!rmd_tls_report_due(n->tls, n->now.mono_ms, n->tls_run, n->stopping, &n->out->arena, m))
        return;
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_TLS_REPORT);
    f->tls_report = m;
    node_send(n, f);
}
