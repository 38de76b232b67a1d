/* The blocklist watch in the node core: assignments and checks come as frames, lookups leave as effects, findings as
 * frames. Nothing is asked outside of a session: there would be nobody to tell. */
#include "node/core/node_state.h"

void node_watch_frame(struct rmd_node *n, const Remuda__Watch *m) {
    if (m->revision < n->watch_revision)
        return; /* overtaken by a later one */
    n->watch_revision = m->revision;
    rmd_watch_assign(n->watch, m, n->now.mono_ms);
}

void node_watch_check(struct rmd_node *n, const Remuda__WatchCheck *m) {
    rmd_watch_check(n->watch, m, n->now.mono_ms);
}

void node_watch_ack(struct rmd_node *n, const Remuda__FindingsAck *m) {
    rmd_watch_acked(n->watch, m->n);
}

void node_watch_session(struct rmd_node *n) {
    n->watch_revision = 0;
    rmd_watch_session(n->watch);
}

void node_watch_answer(struct rmd_node *n, const struct rmd_node_event *e) {
    rmd_watch_answer(n->watch, n->now.mono_ms, e->token, e->addr, e->txt);
}

void node_watch_due(struct rmd_node *n) {
    struct rmd_watch_lookup x;
    while (!n->stopping && rmd_watch_next(n->watch, n->now.mono_ms, &x)) {
        struct rmd_node_effect *f = node_effect(n, RMD_NF_LOOKUP);
        f->token = x.token;
        f->txt = x.txt;
        f->text = rmd_arena_str(&n->out->arena, rmd_slice_str(x.name));
    }
    Remuda__Findings *m = rmd_arena_alloc(&n->out->arena, sizeof *m);
    if (!rmd_watch_report(n->watch, n->now.mono_ms, RMD_NODE_REPEAT_MS, &n->out->arena, m))
        return;
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_FINDINGS);
    f->findings = m;
    node_send(n, f);
}

int64_t node_watch_deadline(const struct rmd_node *n) {
    int64_t ask = n->stopping ? RMD_NEVER : rmd_watch_deadline(n->watch, n->now.mono_ms);
    int64_t tell = rmd_watch_report_deadline(n->watch, RMD_NODE_REPEAT_MS);
    return ask < tell ? ask : tell;
}
