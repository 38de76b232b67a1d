/* Templates: fetched once a node in chunks, checked against their hash, told to a worker with the first of its
 * leases, forgotten when nobody has used them for a while. A few are fetched at a time, one chunk of each at a time,
 * so that a lease or a recall never waits behind them. */
#include "node/core/node_state.h"

#include <assert.h>

#include <base/text.h>

enum { FETCHES_MAX = 4, SWEEP_MS = 60000 };

void node_template_free(struct node_template *t) {
    rmd_list_remove(&t->in_fetching);
    rmd_list_remove(&t->in_unused);
    rmd_buf_release(&t->bytes);
    free(t->working);
    free(t);
}

static struct node_template *template_new(struct rmd_node *n, const uint8_t *hash) {
    struct node_template *t = rmd_alloc(sizeof *t);
    memcpy(t->hash, hash, sizeof t->hash);
    t->bytes.limit = RMD_NODE_TEMPLATE_BYTES_MAX + 1;
    t->working = rmd_alloc(n->o.workers * sizeof *t->working);
    t->asked_at = RMD_NEVER;
    t->unused_since = n->now.mono_ms;
    rmd_map_set(&n->templates, rmd_slice(t->hash, sizeof t->hash), t);
    rmd_list_push(&n->unused, &t->in_unused);
    n->n_unused++;
    return t;
}

/* No lease uses it: the journal need not keep it. */
static void forget(struct rmd_node *n, struct node_template *t) {
    if (t->ready)
        memcpy(node_effect(n, RMD_NF_JOURNAL_TEMPLATE_DROP)->hash, t->hash, sizeof t->hash);
    n->n_unused--;
    rmd_map_remove(&n->templates, rmd_slice(t->hash, sizeof t->hash));
    node_template_free(t);
}

struct node_template *node_template_use(struct rmd_node *n, const uint8_t *hash) {
    struct node_template *t = rmd_map_get(&n->templates, rmd_slice(hash, RMD_HASH_BYTES));
    if (!t)
        t = template_new(n, hash);
    if (!t->ready && !rmd_list_linked(&t->in_fetching))
        rmd_list_push(&n->fetching, &t->in_fetching);
    if (t->leases++ == 0) {
        rmd_list_remove(&t->in_unused);
        n->n_unused--;
    }
    return t;
}

void node_template_unuse(struct rmd_node *n, struct node_template *t) {
    assert(t->leases > 0);
    if (--t->leases == 0) {
        t->unused_since = n->now.mono_ms;
        rmd_list_remove(&t->in_fetching); /* nobody waits for it any more */
        rmd_list_push(&n->unused, &t->in_unused);
        if (++n->n_unused > RMD_NODE_TEMPLATES_UNUSED_MAX)
            forget(n, rmd_container(n->unused.next, struct node_template, in_unused));
    }
}

void node_template_replay(struct rmd_node *n, const struct rmd_node_event *e) {
    if (rmd_map_get(&n->templates, rmd_slice(e->hash, sizeof e->hash)))
        return;
    struct node_template *t = template_new(n, e->hash);
    rmd_buf_add(&t->bytes, e->bytes.p, e->bytes.n);
    t->ready = !t->bytes.overflow && e->bytes.n > 0;
}

/* A lease goes to the worker. Workers keep a template as long as a lease uses it, and longer when they have room. */
void node_template_working(struct rmd_node *n, struct node_template *t, uint32_t worker) {
    if (t->working[worker]++)
        return;
    struct rmd_mail *m = node_mail(n, worker, RMD_MAIL_TEMPLATE);
    memcpy(m->template_hash, t->hash, sizeof t->hash);
    m->bytes = rmd_slice(rmd_arena_dup(&n->out->arena, t->bytes.p, t->bytes.len), t->bytes.len);
}

/* ---------------------------------------------------------------- fetching */

static void ask(struct rmd_node *n, struct node_template *t) {
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_FETCH);
    f->fetch = rmd_arena_alloc(&n->out->arena, sizeof *f->fetch);
    remuda__fetch__init(f->fetch);
    f->fetch->template_hash =
        (ProtobufCBinaryData){sizeof t->hash, rmd_arena_dup(&n->out->arena, t->hash, sizeof t->hash)};
    f->fetch->offset = t->bytes.len;
    t->asked_at = n->now.mono_ms;
    node_send(n, f);
}

void node_template_fetch_due(struct rmd_node *n) {
    int busy = 0;
    rmd_list_for(it, &n->fetching) {
        struct node_template *t = rmd_container(it, struct node_template, in_fetching);
        if (busy++ == FETCHES_MAX)
            return;
        if (t->asked_at == RMD_NEVER || n->now.mono_ms - t->asked_at >= RMD_NODE_REPEAT_MS)
            ask(n, t);
    }
}

int64_t node_template_deadline(const struct rmd_node *n) {
    int64_t at = RMD_NEVER;
    int busy = 0;
    rmd_list_for(it, &n->fetching) {
        const struct node_template *t = rmd_container(it, struct node_template, in_fetching);
        if (busy++ == FETCHES_MAX)
            break;
        int64_t due = t->asked_at == RMD_NEVER ? INT64_MIN : t->asked_at + RMD_NODE_REPEAT_MS;
        at = due < at ? due : at;
    }
    return at;
}

/* A new session: what was asked for in the old one isn't coming. */
void node_template_again(struct rmd_node *n) {
    rmd_list_for(it, &n->fetching) rmd_container(it, struct node_template, in_fetching)->asked_at = RMD_NEVER;
}

static bool hash_is_right(const struct rmd_node *n, const struct node_template *t) {
    struct rmd_sha256 h;
    uint8_t got[RMD_SHA256_BYTES];
    n->o.sign->sha256_init(&h);
    n->o.sign->sha256_update(&h, t->bytes.p, t->bytes.len);
    n->o.sign->sha256_final(&h, got);
    return memcmp(got, t->hash, sizeof got) == 0;
}

static void complete(struct rmd_node *n, struct node_template *t) {
    t->ready = true;
    rmd_list_remove(&t->in_fetching);
    struct rmd_node_effect *x = node_effect(n, RMD_NF_JOURNAL_TEMPLATE);
    memcpy(x->hash, t->hash, sizeof t->hash);
    x->bytes = rmd_slice(rmd_arena_dup(&n->out->arena, t->bytes.p, t->bytes.len), t->bytes.len);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct node_lease *l = v;
        if (l->tmpl == t)
            node_lease_hand_over(n, l);
    }
}

/* Starts over, not before the usual pause: a wrong answer is not asked for in a tight loop. */
static void start_over(struct rmd_node *n, struct node_template *t, const char *why) {
    char hex[2 * RMD_HASH_BYTES + 1];
    rmd_hex(hex, t->hash, sizeof t->hash);
    node_log(n, "template %.16s: %s; fetching it again in %d s", hex, why, RMD_NODE_REPEAT_MS / 1000);
    rmd_buf_clear(&t->bytes);
    t->size = 0;
    t->asked_at = n->now.mono_ms;
}

void node_template_frame(struct rmd_node *n, const Remuda__Template *m) {
    node_lease_credit(n, 0, m->data.len);
    struct node_template *t = rmd_map_get(&n->templates, rmd_slice(m->template_hash.data, m->template_hash.len));
    if (!t || t->ready || m->offset != t->bytes.len)
        return; /* not asked for, or a repeat */
    if (!m->size || m->size > RMD_NODE_TEMPLATE_BYTES_MAX || (t->size && t->size != m->size) ||
        m->data.len > RMD_BODY_CHUNK_BYTES || m->data.len > m->size - m->offset || !m->data.len) {
        n->malformed_frames++;
        start_over(n, t, "the coordinator's answer contradicts itself");
        return;
    }
    t->size = m->size;
    rmd_buf_add(&t->bytes, m->data.data, m->data.len);
    if (t->bytes.len < t->size)
        t->asked_at = RMD_NEVER; /* the next chunk is asked for in this step */
    else if (hash_is_right(n, t))
        complete(n, t);
    else
        start_over(n, t, "what came does not have this hash");
}

void node_template_sweep(struct rmd_node *n) {
    if (n->now.mono_ms - n->templates_swept_at < SWEEP_MS)
        return;
    n->templates_swept_at = n->now.mono_ms;
    while (!rmd_list_empty(&n->unused)) {
        struct node_template *t = rmd_container(n->unused.next, struct node_template, in_unused);
        if (n->now.mono_ms - t->unused_since < RMD_NODE_TEMPLATE_KEEP_MS)
            return;
        forget(n, t);
    }
}
