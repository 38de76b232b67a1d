/* Suppressions: addresses that must not be contacted.
 *
 * In memory a set of hashes (tenant is in the hash, a stream is mixed in); in the store a row each. A command is
 * answered when nothing can contact the address any more: the row is durable, and every node that holds leases has
 * confirmed, or its leases are over. From the moment of the command the address is in no new lease. A hard bounce
 * suppresses by itself, and needs no answer; in a surge of them it is pending (surge_act.c), as is one that counts on the second
 * (denial.c). */
#include "coordinator/core/core.h"

static uint64_t member(uint32_t stream, uint64_t hash) {
    return stream ? rmd_mix64(hash ^ ((uint64_t)stream << 32 | stream)) : hash;
}

bool rmd_suppress_has(const struct rmd_coord *c, uint32_t stream, uint64_t hash) {
    return rmd_set64_has(&c->suppressed, hash) || (stream && rmd_set64_has(&c->suppressed, member(stream, hash)));
}

bool rmd_coord_suppressed(const struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email) {
    return rmd_suppress_has(c, stream, rmd_address_hash(tenant, email));
}

bool rmd_coord_suppressed_alone(const struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email) {
    return rmd_set64_has(&c->suppressed, member(stream, rmd_address_hash(tenant, email)));
}

static void write_row(struct rmd_coord *c, const struct rmd_suppressing *s, const char *reason, const char *evidence,
                      bool confirmed) {
    Remuda__SuppressionRecord r = REMUDA__SUPPRESSION_RECORD__INIT;
    r.address = s->address;
    r.reason = (char *)(uintptr_t)reason;
    r.evidence = (char *)(uintptr_t)evidence;
    r.wall_ms = c->now.wall_ms;
    r.stream = s->stream;
    r.confirmed = confirmed;
    struct rmd_key k = rmd_key_suppression(s->tenant, s->stream, s->hash);
    rmd_core_put(c, &k, &r);
}

static void tell(struct rmd_coord *c, struct rmd_node *n, uint64_t id, uint32_t tenant, uint32_t stream,
                 const uint64_t *hash, size_t count, int probe) {
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_SUPPRESS, probe);
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__Suppress *m = f->suppress = rmd_arena_alloc(a, sizeof *m);
    remuda__suppress__init(m);
    m->id = id;
    m->tenant = tenant;
    m->stream = stream;
    m->address_hash = rmd_arena_dup(a, hash, count * sizeof *hash);
    m->n_address_hash = count;
    m->first_lease_after = n->rec->last_lease + 1;
}

/* Waits for every node that may contact somebody: it holds leases that aren't over. */
static void start(struct rmd_coord *c, struct rmd_suppressing *s) {
    s->id = c->meta->next_suppress++;
    c->meta_dirty = true;
    s->tag = c->tag + 1;
    s->repeat_mono_ms = c->now.mono_ms + RMD_SUPPRESS_REPEAT_MS;
    rmd_core_wake(c, s->repeat_mono_ms);
    s->waits = rmd_alloc((c->nodes.n + 1) * sizeof *s->waits);
    int probe = RMD_PROBE_SUPPRESS_SYNCED;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (n->granted)
            s->waits[s->n_waits++] = n->rec->id;
        if (!n->connected)
            continue;
        tell(c, n, s->id, s->tenant, s->stream, &s->hash, 1, probe);
        probe = -1;
    }
    rmd_list_push(&c->suppressing, &s->link);
}

static void drop(struct rmd_suppressing *s) {
    rmd_list_remove(&s->link);
    free(s->address);
    free(s->waits);
    free(s);
}

static struct rmd_suppressing *make(struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email) {
    struct rmd_suppressing *s = rmd_alloc(sizeof *s);
    s->tenant = tenant;
    s->stream = stream;
    s->address = rmd_strndup(email.p, email.n);
    s->hash = rmd_address_hash(tenant, email);
    rmd_set64_add(&c->suppressed, member(stream, s->hash));
    return s;
}

void rmd_coord_suppress_waits(struct rmd_coord *c, uint32_t tenant, uint32_t stream, struct rmd_slice email,
                              void (*fn)(void *, const struct rmd_suppress_wait *), void *ctx) {
    uint64_t hash = rmd_address_hash(tenant, email);
    rmd_list_for(it, &c->suppressing) {
        const struct rmd_suppressing *s = rmd_container(it, struct rmd_suppressing, link);
        if (s->hash != hash || s->stream != stream)
            continue;
        for (uint32_t i = 0; i < s->n_waits; i++) {
            const struct rmd_node *n = rmd_node_find(c, s->waits[i]);
            int64_t left = n ? n->valid_until_mono_ms - c->now.mono_ms : 0;
            if (n)
                fn(ctx, &(struct rmd_suppress_wait){
                            .node = n->rec->name, .connected = n->connected, .valid_ms = left > 0 ? left : 0});
        }
        return; /* a second command for the same waits for the same nodes */
    }
}

void rmd_suppress_command(struct rmd_coord *c, const struct rmd_command *m) {
    if (!m->name || !strchr(m->name, '@') || strlen(m->name) > RMD_EMAIL_MAX) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "an address is needed");
        return;
    }
    uint64_t hash = rmd_address_hash(m->tenant, rmd_slice_str(m->name));
    bool known = rmd_set64_has(&c->suppressed, member(m->stream, hash)), why = m->reason && *m->reason;
    struct rmd_suppressing *s = make(c, m->tenant, m->stream, rmd_slice_str(m->name));
    s->token = m->token;
    if (!m->stream && rmd_surges_forget(c, m->tenant, hash)) /* somebody's word now, not only a provider's */
        known = false;
    if (!m->stream)
        (void)rmd_denial_forget(c, hash);
    if (known && !why) { /* its row says why, and since when: that stays */
        start(c, s);
        return;
    }
    write_row(c, s, why ? m->reason : "asked for", "", false);
    Remuda__EventRecord *e = rmd_core_event(c, "suppression.added");
    e->recipient = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(m->name));
    e->stream = m->stream;
    e->address_hash = s->hash;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(m->reason ? m->reason : ""));
    start(c, s);
}

void rmd_unsuppress_command(struct rmd_coord *c, const struct rmd_command *m) {
    uint64_t hash = m->name ? rmd_address_hash(m->tenant, rmd_slice_str(m->name)) : 0;
    bool pending = m->name && !m->stream && rmd_surges_forget(c, m->tenant, hash) == RMD_BOUNCE_PENDING;
    if (m->name && !m->stream)
        pending |= rmd_denial_forget(c, hash);
    if (!m->name || (!rmd_set64_remove(&c->suppressed, member(m->stream, hash)) && !pending)) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "this address isn't suppressed: nothing changed");
        return;
    }
    rmd_list_for_safe(it, &c->suppressing) { /* its row must not come back when the nodes have confirmed */
        struct rmd_suppressing *s = rmd_container(it, struct rmd_suppressing, link);
        if (s->hash != hash || s->stream != m->stream)
            continue;
        if (s->token)
            rmd_core_reply(c, s->token, RMD_ECONFLICT, 0,
                           "the suppression was taken back before every node had confirmed it");
        drop(s);
    }
    struct rmd_key k = rmd_key_suppression(m->tenant, m->stream, hash);
    rmd_core_delete(c, &k);
    Remuda__EventRecord *e = rmd_core_event(c, "suppression.removed");
    e->recipient = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(m->name));
    e->stream = m->stream;
    rmd_core_reply(c, m->token, RMD_OK, 0, "%s may be contacted again", m->name);
}

void rmd_suppress_told(struct rmd_coord *c, uint32_t tenant, uint64_t hash) {
    if (c->n_bounce_suppressed == sizeof c->bounce_suppressed / sizeof c->bounce_suppressed[0] ||
        (c->n_bounce_suppressed && c->bounce_tenant != tenant))
        rmd_suppress_bounce_flush(c);
    c->bounce_tenant = tenant;
    c->bounce_suppressed[c->n_bounce_suppressed++] = hash;
}

const char *rmd_suppress_evidence(struct rmd_coord *c, const Remuda__Outcome *o) {
    if (!o->reply)
        return "";
    return rmd_arena_printf(&c->scratch, "%u %s at %s", o->reply->code, o->reply->enhanced,
                            rmd_stage_name(o->reply->stage));
}

void rmd_suppress_bounce(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                         const Remuda__Outcome *o) {
    if (rmd_coord_suppressed(c, tenant, 0, email))
        return;
    (void)rmd_denial_forget(c, rmd_address_hash(tenant, email)); /* its row is written anew */
    if (rmd_surges_bounce(c, tenant, provider, email, rmd_suppress_evidence(c, o)))
        rmd_suppress_told(c, tenant, rmd_address_hash(tenant, email));
}

/* One frame a node for the bounces of a step. */
void rmd_suppress_bounce_flush(struct rmd_coord *c) {
    if (!c->n_bounce_suppressed)
        return;
    uint64_t id = c->meta->next_suppress++;
    c->meta_dirty = true;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (n->connected && n->granted)
            tell(c, n, id, c->bounce_tenant, 0, c->bounce_suppressed, c->n_bounce_suppressed, -1);
    }
    c->n_bounce_suppressed = 0;
}

/* A lease is sent again as it was built: whoever was suppressed since, with an answer that counted this lease as
 * over, or to a node that has forgotten it, is named before. */
void rmd_suppress_before_lease(struct rmd_coord *c, struct rmd_node *n, const struct rmd_lease *l) {
    uint32_t stream = l->campaign->rec->stream, count = 0;
    uint64_t *hash = rmd_arena_alloc(&c->scratch, (l->n + 1) * sizeof *hash);
    struct rmd_row_head h;
    for (uint32_t i = 0; i < l->n; i++) {
        if (rmd_bit_get(l->done, i) || !rmd_row_head(rmd_lease_row(l, i), &h))
            continue;
        hash[count] = rmd_address_hash(l->campaign->rec->tenant, h.email);
        count += rmd_suppress_has(c, stream, hash[count]);
    }
    if (!count)
        return;
    c->meta_dirty = true;
    tell(c, n, c->meta->next_suppress++, l->campaign->rec->tenant, stream, hash, count, -1);
}

/* ---------------------------------------------------------------- confirmations */

static void confirmed(struct rmd_suppressing *s, uint32_t node) {
    for (uint32_t i = 0; i < s->n_waits; i++) {
        if (s->waits[i] == node)
            s->waits[i--] = s->waits[--s->n_waits];
    }
}

void rmd_suppress_acked(struct rmd_coord *c, struct rmd_node *n, uint64_t id) {
    rmd_list_for(it, &c->suppressing) {
        struct rmd_suppressing *s = rmd_container(it, struct rmd_suppressing, link);
        if (s->id == id)
            confirmed(s, n->rec->id);
    }
    rmd_suppress_check(c);
}

/* A new session: it may not have heard of what is still waited for. */
void rmd_suppress_session(struct rmd_coord *c, struct rmd_node *n) {
    rmd_list_for(it, &c->suppressing) {
        struct rmd_suppressing *s = rmd_container(it, struct rmd_suppressing, link);
        tell(c, n, s->id, s->tenant, s->stream, &s->hash, 1, -1);
    }
}

static void repeat(struct rmd_coord *c, struct rmd_suppressing *s) {
    s->repeat_mono_ms = c->now.mono_ms + RMD_SUPPRESS_REPEAT_MS;
    s->tag = c->tag + 1;
    for (uint32_t i = 0; i < s->n_waits; i++) {
        struct rmd_node *n = rmd_node_find(c, s->waits[i]);
        if (n && n->connected)
            tell(c, n, s->id, s->tenant, s->stream, &s->hash, 1, -1);
    }
}

/* Who is still waited for; answers those that are complete. */
void rmd_suppress_check(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->suppressing) {
        struct rmd_suppressing *s = rmd_container(it, struct rmd_suppressing, link);
        for (uint32_t i = 0; i < s->n_waits; i++) {
            struct rmd_node *n = rmd_node_find(c, s->waits[i]);
            if (!n || !n->granted) /* its leases are over */
                s->waits[i--] = s->waits[--s->n_waits];
        }
        if (s->n_waits || !rmd_core_left(c, s->tag)) {
            if (s->n_waits && c->now.mono_ms >= s->repeat_mono_ms && rmd_core_left(c, s->tag))
                repeat(c, s);
            if (s->n_waits)
                rmd_core_wake(c,
                              c->now.mono_ms < s->repeat_mono_ms ? s->repeat_mono_ms : c->now.mono_ms + RMD_TICK_MS);
            continue;
        }
        if (s->token)
            rmd_core_reply(c, s->token, RMD_OK, 0, "%s is suppressed; no node can contact it any more", s->address);
        struct rmd_key k = rmd_key_suppression(s->tenant, s->stream, s->hash);
        rmd_core_get(c, RMD_READ_SUPPRESSION, NULL, &k, 1); /* marked confirmed, with the text that it has */
        drop(s);
    }
}

void rmd_suppress_restore(struct rmd_coord *c, struct rmd_slice key, const Remuda__SuppressionRecord *r) {
    if (key.n != 17)
        return;
    uint32_t stream = rmd_get_be32(key.p + 5);
    uint64_t hash = rmd_get_be64(key.p + 9);
    if (!stream && r->denials && r->pending) {
        rmd_denial_restore(c, rmd_get_be32(key.p + 1), hash, r);
        return;
    }
    if (!stream)
        rmd_surges_restore_bounce(c, rmd_get_be32(key.p + 1), hash, r);
    if (r->pending)
        return;
    rmd_set64_add(&c->suppressed, member(stream, hash));
    if (r->confirmed)
        return;
    struct rmd_suppressing *s = rmd_alloc(sizeof *s);
    s->tenant = rmd_get_be32(key.p + 1);
    s->stream = stream;
    s->hash = hash;
    s->address = rmd_strdup(r->address);
    rmd_list_push(&c->suppressing, &s->link); /* rmd_restore_end starts it */
}

void rmd_suppress_resume(struct rmd_coord *c) {
    struct rmd_list all;
    rmd_list_init(&all);
    rmd_list_for_safe(it, &c->suppressing) {
        rmd_list_remove(it);
        rmd_list_push(&all, it);
    }
    rmd_list_for_safe(it, &all) {
        rmd_list_remove(it);
        start(c, rmd_container(it, struct rmd_suppressing, link));
    }
}

void rmd_suppress_free(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->suppressing) drop(rmd_container(it, struct rmd_suppressing, link));
    rmd_set64_release(&c->suppressed);
}
