/* The network between coordinator and nodes, as ZeroMQ shows it: a session for each connection, frames in order
 * within a session, whatever was under way is lost when the connection breaks. Then the faults: a frame may come
 * twice, and frames of a former connection may come late, between those of the next. */
#include "tests/sim/sim.h"

enum { LATE_ONE_IN = 4, TWICE_ONE_IN = 60 };

static void on_to_coord(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    bool late = e->c & 1; /* left behind by a former connection, and allowed to come all the same */
    if (nd->partitioned || (!late && (nd->session != e->b || nd->link_gen != e->c >> 1)))
        return;
    sim_coord_frame(s, nd->key, (uint32_t)e->b, rmd_buf_slice(&e->bytes));
}

static void on_to_node(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    bool late = (e->c & 1) && (uintptr_t)e->p == nd->gen; /* never to another process: it has its own connection */
    if (nd->partitioned || (!late && (nd->session != e->b || nd->link_gen != e->c >> 1)))
        return;
    sim_node_frame(s, (uint32_t)e->a, rmd_buf_slice(&e->bytes));
}

static int64_t latency(struct sim *s) {
    if (s->faults.delay && !s->quiet_faults && sim_one_in(s, 300))
        return sim_between(s, 200, 3000);
    return sim_between(s, 1, 12);
}

static void deliver(struct sim *s, uint32_t n, const Remuda__Frame *f, sim_fn fn, int64_t *last_ms) {
    struct sim_node *nd = &s->node[n];
    bool faults = !s->quiet_faults;
    int64_t at = s->now_ms + latency(s);
    if (at < *last_ms)
        at = *last_ms; /* in order */
    *last_ms = at;
    s->n_frames++;
    bool late = faults && s->faults.reorder && sim_one_in(s, LATE_ONE_IN * 8);
    struct sim_event *e = sim_at(s, at - s->now_ms, fn, n, nd->session, nd->link_gen << 1);
    rmd_frame_encode(f, &e->bytes);
    if (late) { /* also a copy that outlives its connection */
        struct sim_event *x =
            sim_at(s, at - s->now_ms + sim_between(s, 0, 20000), fn, n, nd->session, nd->link_gen << 1 | 1);
        x->p = (void *)(uintptr_t)nd->gen;
        rmd_buf_add(&x->bytes, e->bytes.p, e->bytes.len);
    }
    if (faults && s->faults.duplicate && sim_one_in(s, TWICE_ONE_IN)) {
        struct sim_event *x =
            sim_at(s, at - s->now_ms + sim_between(s, 0, 400), fn, n, nd->session, nd->link_gen << 1);
        rmd_buf_add(&x->bytes, e->bytes.p, e->bytes.len);
    }
}

void sim_net_to_coord(struct sim *s, uint32_t n, const Remuda__Frame *f) {
    struct sim_node *nd = &s->node[n];
    if (nd->session)
        deliver(s, n, f, on_to_coord, &nd->to_coord_ms);
}

bool sim_net_session_live(const struct sim *s, const struct rmd_coord_peer *p) {
    int n = sim_net_node_of(s, p->key);
    return n >= 0 && s->node[n].session == p->session && p->session;
}

void sim_net_to_node(struct sim *s, const struct rmd_coord_peer *p, const Remuda__Frame *f) {
    int n = sim_net_node_of(s, p->key);
    if (n >= 0)
        deliver(s, (uint32_t)n, f, on_to_node, &s->node[n].to_node_ms);
}

int sim_net_node_of(const struct sim *s, const uint8_t key[RMD_KEY_BYTES]) {
    for (uint32_t n = 0; n < s->n_nodes; n++)
        if (memcmp(s->node[n].key, key, RMD_KEY_BYTES) == 0)
            return (int)n;
    return -1;
}

static void on_connect(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    if (nd->link_gen != e->b || nd->session)
        return;
    if (!nd->up || !s->coord.up || nd->partitioned || !nd->enrolled) {
        sim_at(s, sim_between(s, 300, 1500), on_connect, e->a, e->b, 0);
        return;
    }
    nd->session = ++s->coord.next_session;
    nd->to_coord_ms = nd->to_node_ms = s->now_ms;
}

void sim_net_reset(struct sim *s, uint32_t n, int64_t again_ms) {
    struct sim_node *nd = &s->node[n];
    nd->session = 0;
    nd->link_gen++;
    sim_check_disturbed(s, (int)n);
    sim_at(s, again_ms, on_connect, n, nd->link_gen, 0);
}

void sim_net_drop(struct sim *s, const struct rmd_coord_peer *p) {
    int n = sim_net_node_of(s, p->key);
    if (n >= 0 && s->node[n].session == p->session)
        sim_net_reset(s, (uint32_t)n, 1000);
}

/* A partition is silence: neither side is told. The connection breaks when it is over. */
void sim_net_partition(struct sim *s, uint32_t n, bool on) {
    struct sim_node *nd = &s->node[n];
    if (nd->partitioned == on)
        return;
    sim_say(s, "%s: %s the coordinator", nd->name, on ? "is cut off from" : "can reach");
    nd->partitioned = on;
    sim_check_vanished(s, (int)n);
    if (!on)
        sim_net_reset(s, n, sim_between(s, 1, 2000));
}
