/* Recalls and suppressions, and their answers (node.h, design sections 5 and 6).
 *
 *   GATHER  every worker is asked, what is held here goes back; until all workers said DONE and the outcomes made
 * here have numbers SYNC    everything journaled so far is being synced ANSWERED  sent, and repeated until the
 * coordinator has acknowledged the answer
 *
 * A repeat of a recall that is known is answered from its state; of one that was forgotten, by doing it again:
 * nothing is left to give back then. Outcomes of a worker reach this core before its DONE, so the highest number seen
 * covers them. */
#include "node/core/node_state.h"

#include <assert.h>

#include <base/text.h>

static struct node_recall *find_recall(const struct rmd_node *n, uint64_t id) {
    rmd_list_for(it, &n->recalls) {
        struct node_recall *r = rmd_container(it, struct node_recall, in);
        if (r->id == id)
            return r;
    }
    return NULL;
}

static void recall_forget(struct node_recall *r) {
    rmd_list_remove(&r->in);
    free(r);
}

static bool in_scope(const struct node_lease *l, const Remuda__Recall *r) {
    for (size_t i = 0; i < r->n_lease; i++)
        if (r->lease[i] == l->id)
            return true;
    if (r->source && r->source == l->source && (!r->provider || r->provider == l->provider))
        return true;
    return l->has_campaign && r->campaign.len == sizeof l->campaign &&
           memcmp(r->campaign.data, l->campaign, sizeof l->campaign) == 0;
}

static void give_back_held(struct rmd_node *n, const Remuda__Recall *r) {
    enum rmd_return_reason reason = r->reason && r->reason < RMD_RETURN_COUNT ? r->reason : RMD_RETURN_RECALLED;
    if (!r->source && !r->campaign.len) { /* by id alone */
        for (size_t i = 0; i < r->n_lease; i++) {
            struct node_lease *l = rmd_map_get_u64(&n->leases, r->lease[i]);
            if (l && l->state == LEASE_WAITING)
                node_lease_give_back(n, l, reason);
        }
        return;
    }
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct node_lease *l = v;
        if (l->state == LEASE_WAITING && in_scope(l, r))
            node_lease_give_back(n, l, reason);
    }
}

/* Leases that the recall overtook: they go back when they come. */
static void remember_overtaken(struct rmd_node *n, const Remuda__Recall *r) {
    for (size_t i = 0; i < r->n_lease && n->overtaken.n < RMD_NODE_LEASES_MAX; i++)
        if (!rmd_map_get_u64(&n->leases, r->lease[i]))
            rmd_set64_add(&n->overtaken, r->lease[i]);
}

void node_recall_frame(struct rmd_node *n, const Remuda__Recall *m, bool internal) {
    struct node_recall *r = find_recall(n, m->id);
    if (r) {
        if (r->state == RECALL_ANSWERED)
            r->sent_at = RMD_NEVER; /* the answer was lost */
        return;
    }
    uint32_t open = 0;
    rmd_list_for(it, &n->recalls) open++;
    if (open >= RMD_NODE_RECALLS_MAX) {
        node_log(n, "recall %llu not taken up: %u are open; the coordinator repeats it", (unsigned long long)m->id,
                 open);
        return;
    }
    r = rmd_alloc(sizeof *r);
    r->id = m->id;
    r->internal = internal;
    r->sent_at = RMD_NEVER;
    r->workers_left = n->o.workers;
    rmd_list_push(&n->recalls, &r->in);
    give_back_held(n, m);
    if (!internal)
        remember_overtaken(n, m);
    r->own_seq = n->own_made;
    struct rmd_slice bytes = node_pack(n, m);
    for (uint32_t w = 0; w < n->o.workers; w++) {
        struct rmd_mail *mail = node_mail(n, w, RMD_MAIL_RECALL);
        mail->id = m->id;
        mail->source = m->source;
        mail->bytes = bytes;
    }
}

void node_recall_done(struct rmd_node *n, uint64_t id) {
    struct node_recall *r = find_recall(n, id);
    if (r && r->workers_left)
        r->workers_left--;
}

void node_recall_synced(struct rmd_node *n, uint64_t token) {
    rmd_list_for(it, &n->recalls) {
        struct node_recall *r = rmd_container(it, struct node_recall, in);
        if (r->state == RECALL_SYNC && r->token == token)
            r->state = RECALL_ANSWERED;
    }
}

void node_recall_ack(struct rmd_node *n, uint64_t id) {
    struct node_recall *r = find_recall(n, id);
    if (r && r->state == RECALL_ANSWERED)
        recall_forget(r);
}

static void answer(struct rmd_node *n, struct node_recall *r) {
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_RECALLED);
    f->recalled = rmd_arena_alloc(&n->out->arena, sizeof *f->recalled);
    remuda__recalled__init(f->recalled);
    f->recalled->id = r->id;
    f->recalled->up_to_n = r->up_to_n;
    f->recalled->journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    r->sent_at = n->now.mono_ms;
    node_send(n, f);
}

static void suppress_answers(struct rmd_node *n) {
    rmd_list_for_safe(it, &n->suppresses) {
        struct node_suppress *s = rmd_container(it, struct node_suppress, in);
        if (s->workers_left || n->own_back < s->own_seq || n->state != NODE_SERVING)
            continue;
        Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_SUPPRESS_ACK);
        f->suppress_ack = rmd_arena_alloc(&n->out->arena, sizeof *f->suppress_ack);
        remuda__suppress_ack__init(f->suppress_ack);
        f->suppress_ack->id = s->id;
        node_send(n, f);
        rmd_list_remove(&s->in);
        free(s);
    }
}

void node_recall_due(struct rmd_node *n) {
    uint64_t token = 0; /* one sync serves all that are ready in this step */
    rmd_list_for_safe(it, &n->recalls) {
        struct node_recall *r = rmd_container(it, struct node_recall, in);
        if (r->state == RECALL_GATHER && !r->workers_left && n->own_back >= r->own_seq) {
            if (r->internal) {
                recall_forget(r);
                continue;
            }
            if (!token) {
                token = n->next_token++;
                node_effect(n, RMD_NF_SYNC)->token = token;
            }
            r->state = RECALL_SYNC;
            r->token = token;
            r->up_to_n = n->max_n;
        } else if (r->state == RECALL_ANSWERED && n->state == NODE_SERVING &&
                   (r->sent_at == RMD_NEVER || n->now.mono_ms - r->sent_at >= RMD_NODE_REPEAT_MS)) {
            answer(n, r);
        }
    }
    suppress_answers(n);
}

int64_t node_recall_deadline(const struct rmd_node *n) {
    int64_t at = RMD_NEVER;
    rmd_list_for(it, &n->recalls) {
        const struct node_recall *r = rmd_container(it, struct node_recall, in);
        if (r->state == RECALL_ANSWERED && r->sent_at != RMD_NEVER && r->sent_at + RMD_NODE_REPEAT_MS < at)
            at = r->sent_at + RMD_NODE_REPEAT_MS;
    }
    return at;
}

/* ---------------------------------------------------------------- suppressions */

struct suppress_key {
    uint64_t hash;
    uint32_t tenant, stream;
};

static struct rmd_slice key_slice(const struct suppress_key *k) {
    return rmd_slice(k, sizeof *k);
}

bool node_suppress_has(const struct rmd_node *n, uint32_t tenant, uint32_t stream, uint64_t hash) {
    struct suppress_key all = {hash, tenant, 0}, one = {hash, tenant, stream};
    return rmd_map_get(&n->suppressed, key_slice(&all)) || rmd_map_get(&n->suppressed, key_slice(&one));
}

static void suppress_remember(struct rmd_node *n, const Remuda__Suppress *m) {
    uint64_t before = m->first_lease_after ? m->first_lease_after : UINT64_MAX;
    if (before > n->suppressed_before)
        n->suppressed_before = before;
    for (size_t i = 0; i < m->n_address_hash && n->suppressed.n < RMD_NODE_SUPPRESS_MAX; i++) {
        struct suppress_key k = {m->address_hash[i], m->tenant, m->stream};
        struct suppressed *s = rmd_map_get(&n->suppressed, key_slice(&k));
        if (!s) {
            s = rmd_alloc(sizeof *s);
            *s = (struct suppressed){.tenant = m->tenant, .stream = m->stream, .hash = k.hash};
            rmd_map_set(&n->suppressed, key_slice(&k), s);
        }
        s->at = n->now.mono_ms;
    }
}

void node_suppress_frame(struct rmd_node *n, const Remuda__Suppress *m) {
    rmd_list_for(it,
                 &n->suppresses) if (rmd_container(it, struct node_suppress, in)->id == m->id) return; /* under way */
    struct node_suppress *s = rmd_alloc(sizeof *s);
    s->id = m->id;
    s->workers_left = n->o.workers;
    rmd_list_push(&n->suppresses, &s->in);
    suppress_remember(n, m);
    node_lease_suppress_held(n);
    s->own_seq = n->own_made;
    struct rmd_slice bytes = node_pack(n, m);
    for (uint32_t w = 0; w < n->o.workers; w++) {
        struct rmd_mail *mail = node_mail(n, w, RMD_MAIL_SUPPRESS);
        mail->id = m->id;
        mail->bytes = bytes;
    }
}

void node_suppress_done(struct rmd_node *n, uint64_t id) {
    rmd_list_for(it, &n->suppresses) {
        struct node_suppress *s = rmd_container(it, struct node_suppress, in);
        if (s->id == id && s->workers_left)
            s->workers_left--;
    }
}

enum { SUPPRESS_SWEEP_MS = 60000 };

void node_suppress_sweep(struct rmd_node *n) {
    if (n->now.mono_ms - n->suppressed_swept_at < SUPPRESS_SWEEP_MS)
        return;
    n->suppressed_swept_at = n->now.mono_ms;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->suppressed, &it, NULL, &v)) {
        struct suppressed *s = v;
        if (n->now.mono_ms - s->at < RMD_NODE_SUPPRESS_KEEP_MS)
            continue;
        struct suppress_key k = {s->hash, s->tenant, s->stream};
        rmd_map_remove(&n->suppressed, key_slice(&k));
        free(s);
    }
}

void node_recall_free(struct rmd_node *n) {
    rmd_list_for_safe(it, &n->recalls) recall_forget(rmd_container(it, struct node_recall, in));
    rmd_list_for_safe(it, &n->suppresses) {
        rmd_list_remove(it);
        free(rmd_container(it, struct node_suppress, in));
    }
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->suppressed, &it, NULL, &v))
        free(v);
    rmd_map_release(&n->suppressed);
}
