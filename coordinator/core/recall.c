/* Recalls: asking a node to give back what has not started. Repeated until it answers; the answer counts when every
 * outcome up to the position that it names is settled, and is acknowledged then. A recall needs no record: after a
 * new session, Welcome's list of live leases says the same. */
#include "coordinator/core/core.h"

static struct rmd_recall *find(struct rmd_node *n, uint64_t id) {
    rmd_list_for(it, &n->recalls) {
        struct rmd_recall *r = rmd_container(it, struct rmd_recall, link);
        if (r->id == id)
            return r;
    }
    return NULL;
}

struct rmd_recall *rmd_recall_new(struct rmd_coord *c, struct rmd_node *n, uint32_t reason) {
    struct rmd_recall *r = rmd_alloc(sizeof *r);
    r->id = ++n->rec->last_recall;
    n->dirty = c->nodes_dirty = true;
    r->reason = reason;
    rmd_list_push(&n->recalls, &r->link);
    return r;
}

void rmd_recall_send(struct rmd_coord *c, struct rmd_node *n, struct rmd_recall *r, int probe) {
    r->repeat_mono_ms = c->now.mono_ms + RMD_RECALL_REPEAT_MS;
    r->tag = c->tag + 1;
    rmd_core_wake(c, r->repeat_mono_ms);
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_RECALL, probe);
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__Recall *m = f->recall = rmd_arena_alloc(a, sizeof *m);
    remuda__recall__init(m);
    m->id = r->id;
    m->lease = rmd_arena_dup(a, r->lease, sizeof r->lease);
    m->n_lease = r->n_leases;
    m->source = r->source;
    m->provider = r->provider;
    m->reason = r->reason;
    if (r->has_campaign) {
        m->campaign.data = rmd_arena_dup(a, r->campaign.b, sizeof r->campaign.b);
        m->campaign.len = sizeof r->campaign.b;
    }
}

void rmd_recall_source(struct rmd_coord *c, struct rmd_source *s, uint32_t provider, uint32_t reason, int probe) {
    struct rmd_node *n = s->node;
    if (!n || !n->connected)
        return; /* Welcome tells it */
    struct rmd_recall *r = rmd_recall_new(c, n, reason);
    r->source = s->rec->id;
    r->provider = provider;
    rmd_recall_send(c, n, r, probe);
}

static bool holds(struct rmd_node *n, const struct rmd_campaign *k) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        if (((struct rmd_lease *)v)->campaign == k)
            return true;
    }
    return false;
}

void rmd_recall_campaign(struct rmd_coord *c, struct rmd_campaign *k, uint32_t reason, int probe) {
    uint32_t it = 0;
    void *v;
    while (k->leased && rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (!n->connected || !holds(n, k))
            continue;
        struct rmd_recall *r = rmd_recall_new(c, n, reason);
        r->campaign = k->id;
        r->has_campaign = true;
        rmd_recall_send(c, n, r, probe);
    }
}

void rmd_recall_stream(struct rmd_coord *c, struct rmd_stream *s, uint32_t reason, int probe) {
    rmd_list_for(it, &c->all_campaigns) {
        struct rmd_campaign *k = rmd_container(it, struct rmd_campaign, all);
        if (k->stream == s)
            rmd_recall_campaign(c, k, reason, probe);
    }
}

void rmd_recall_where(struct rmd_coord *c, bool (*which)(void *ctx, const struct rmd_lease *l), void *ctx,
                      uint32_t reason) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        struct rmd_recall *r = NULL;
        uint32_t jt = 0;
        void *w;
        while (n->connected && rmd_map_next(&n->leases, &jt, NULL, &w)) {
            const struct rmd_lease *l = w;
            if (l->state != RMD_LEASE_GRANTED || !which(ctx, l))
                continue;
            if (!r)
                r = rmd_recall_new(c, n, reason);
            r->lease[r->n_leases++] = l->id;
            if (r->n_leases < sizeof r->lease / sizeof r->lease[0])
                continue;
            rmd_recall_send(c, n, r, -1);
            r = NULL;
        }
        if (r)
            rmd_recall_send(c, n, r, -1);
    }
}

void rmd_recall_lease(struct rmd_coord *c, struct rmd_lease *l, uint32_t reason) {
    if (!l->node->connected)
        return;
    struct rmd_recall *r = rmd_recall_new(c, l->node, reason);
    r->lease[r->n_leases++] = l->id;
    rmd_recall_send(c, l->node, r, -1);
}

static void drop(struct rmd_recall *r) {
    rmd_list_remove(&r->link);
    free(r);
}

static void ack(struct rmd_coord *c, struct rmd_node *n, uint64_t id) {
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_RECALLED_ACK, RMD_PROBE_RECALL_SETTLED);
    f->recalled_ack = rmd_arena_alloc(rmd_arena_after(c), sizeof *f->recalled_ack);
    remuda__recalled_ack__init(f->recalled_ack);
    f->recalled_ack->id = id;
}

void rmd_recalled(struct rmd_coord *c, struct rmd_node *n, const Remuda__Recalled *m) {
    const ProtobufCBinaryData *uuid = &n->rec->journal_uuid;
    if (!rmd_slice_eq(rmd_slice(m->journal_uuid.data, m->journal_uuid.len), rmd_slice(uuid->data, uuid->len)))
        return;
    struct rmd_recall *r = find(n, m->id);
    if (!r) { /* answered before, or asked by an earlier session */
        if (m->up_to_n <= n->rec->settled_n)
            ack(c, n, m->id);
        return;
    }
    r->answered = true;
    r->up_to_n = m->up_to_n;
    rmd_recall_settled(c, n);
}

void rmd_recall_settled(struct rmd_coord *c, struct rmd_node *n) {
    rmd_list_for_safe(it, &n->recalls) {
        struct rmd_recall *r = rmd_container(it, struct rmd_recall, link);
        if (!r->answered || r->up_to_n > n->rec->settled_n)
            continue;
        ack(c, n, r->id);
        drop(r);
    }
}

void rmd_recall_tick(struct rmd_coord *c, struct rmd_node *n) {
    rmd_list_for_safe(it, &n->recalls) {
        struct rmd_recall *r = rmd_container(it, struct rmd_recall, link);
        if (r->answered)
            continue;
        if (c->now.mono_ms >= r->repeat_mono_ms && rmd_core_left(c, r->tag))
            rmd_recall_send(c, n, r, -1);
        rmd_core_wake(c, c->now.mono_ms < r->repeat_mono_ms ? r->repeat_mono_ms : c->now.mono_ms + RMD_TICK_MS);
    }
}

void rmd_recall_clear(struct rmd_node *n) {
    rmd_list_for_safe(it, &n->recalls) drop(rmd_container(it, struct rmd_recall, link));
}
