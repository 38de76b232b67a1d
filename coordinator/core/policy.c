/* Policy frames: everything a node must know besides its leases, complete each time. Built when something changed,
 * once a step. */
#include "coordinator/core/core.h"

/* A resting lane isn't stopped: the node that read the verdict paces it; it only gets no new leases. Nor is one that is
 * probed: it gets leases of one recipient. */
static bool stopped(const struct rmd_lane *l) {
    return l->state == RMD_LANE_QUARANTINED;
}

static Remuda__SourcePolicy *source_policy(struct rmd_coord *c, const struct rmd_source *s, struct rmd_arena *a) {
    Remuda__SourcePolicy *p = rmd_arena_alloc(a, sizeof *p);
    remuda__source_policy__init(p);
    p->id = s->rec->id;
    p->bind = rmd_arena_str(a, rmd_slice_str(*s->rec->bind ? s->rec->bind : s->rec->address));
    p->public_address = rmd_arena_str(a, rmd_slice_str(s->rec->address));
    p->helo = rmd_arena_str(a, rmd_slice_str(s->rec->helo));
    p->state = s->rec->state;
    p->quarantined = stopped(&s->all);
    p->pace_percent = rmd_listing_pace(c, s);
    p->quarantined_provider = rmd_arena_alloc(a, (c->o.n_providers + 1) * sizeof *p->quarantined_provider);
    for (size_t i = 0; i < c->o.n_providers; i++) {
        if (s->lane[i] && stopped(s->lane[i]))
            p->quarantined_provider[p->n_quarantined_provider++] = c->o.provider[i]->id;
    }
    p->quarantined_site = rmd_arena_alloc(a, (s->site_stops.n + 1) * sizeof *p->quarantined_site);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&s->site_stops, &it, NULL, &v)) {
        const struct rmd_site_stop *x = v;
        if (x->state == RMD_LANE_QUARANTINED)
            p->quarantined_site[p->n_quarantined_site++] = x->site;
    }
    return p;
}

static Remuda__StreamPolicy *stream_policy(const struct rmd_stream *s, struct rmd_arena *a) {
    const Remuda__StreamRecord *r = s->rec;
    Remuda__StreamPolicy *p = rmd_arena_alloc(a, sizeof *p);
    remuda__stream_policy__init(p);
    p->id = r->id;
    p->tenant = r->tenant;
    p->name = rmd_arena_str(a, rmd_slice_str(r->name));
    p->sending_domain = rmd_arena_str(a, rmd_slice_str(r->sending_domain));
    p->return_domain = rmd_arena_str(a, rmd_slice_str(*r->return_domain ? r->return_domain : r->sending_domain));
    p->unsubscribe_url = rmd_arena_str(a, rmd_slice_str(r->unsubscribe_url));
    p->unsubscribe_mailto = rmd_arena_str(a, rmd_slice_str(r->unsubscribe_mailto));
    p->canonicalization = rmd_arena_str(a, rmd_slice_str(r->canonicalization));
    p->uncertain_policy = r->uncertain_policy;
    p->dsn = r->dsn;
    p->requiretls = r->requiretls;
    p->one_signature = r->one_signature;
    p->tls_required = r->tls_required;
    p->verp_secret.data = rmd_arena_dup(a, s->verp, sizeof s->verp);
    p->verp_secret.len = sizeof s->verp;
    p->key = rmd_arena_alloc(a, 8 * sizeof *p->key);
    for (size_t i = 0; i < r->n_key && i < 8; i++) {
        Remuda__DkimKey *k = rmd_arena_alloc(a, sizeof *k);
        remuda__dkim_key__init(k);
        k->domain = rmd_arena_str(a, rmd_slice_str(*r->key[i]->domain ? r->key[i]->domain : r->sending_domain));
        k->selector = rmd_arena_str(a, rmd_slice_str(r->key[i]->selector));
        if (s->pem[i]) { /* without: no key can be loaded from it, and the node sends nothing of the stream */
            k->pem.data = rmd_arena_dup(a, s->pem[i], s->pem_n[i]);
            k->pem.len = s->pem_n[i];
        }
        p->key[p->n_key++] = k;
    }
    return p;
}

/* A node gets the keys of the streams that its own sources serve, and no others. */
static bool serves(struct rmd_coord *c, const struct rmd_node *n, const struct rmd_stream *st) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        if (s->node == n && rmd_stream_uses(st, s))
            return true;
    }
    return false;
}

Remuda__Policy *rmd_policy_build(struct rmd_coord *c, const struct rmd_node *n, struct rmd_arena *a) {
    Remuda__Policy *p = rmd_arena_alloc(a, sizeof *p);
    remuda__policy__init(p);
    p->revision = ++c->policy_rev;
    p->source = rmd_arena_alloc(a, (c->sources.n + 1) * sizeof *p->source);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        if (s->node == n)
            p->source[p->n_source++] = source_policy(c, s, a);
    }
    p->stream = rmd_arena_alloc(a, (c->streams.n + 1) * sizeof *p->stream);
    for (it = 0; rmd_map_next(&c->streams, &it, NULL, &v);) {
        if (serves(c, n, v))
            p->stream[p->n_stream++] = stream_policy(v, a);
    }
    p->provider =
        (Remuda__ProviderPolicy **)(uintptr_t)c->o.provider; /* a set outlives the frames that point to it */
    p->n_provider = c->o.n_providers;
    p->rules.data = (uint8_t *)(uintptr_t)c->o.rules.p;
    p->rules.len = c->o.rules.n;
    p->transaction_deadline_ms = c->o.transaction_deadline_ms;
    size_t allow = 0;
    while (c->o.allow_special && c->o.allow_special[allow])
        allow++;
    p->allow_special = (char **)(uintptr_t)c->o.allow_special;
    p->n_allow_special = allow;
    p->smtp_port = c->o.smtp_port;
    p->starttls = c->o.starttls;
    return p;
}

void rmd_policy_all(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        n->policy_dirty = true;
    }
    rmd_watchers_changed(c);
    c->sources_rev++;
    c->deal = true;
}

void rmd_policy_flush(struct rmd_coord *c, int probe) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (!n->policy_dirty)
            continue;
        n->policy_dirty = false;
        if (!n->connected)
            continue; /* Welcome carries it */
        Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_POLICY, probe);
        f->policy = rmd_policy_build(c, n, rmd_arena_after(c));
    }
}
