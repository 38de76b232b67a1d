/* Commands of the API: checked, carried out, answered when durable. */
#include "coordinator/core/core.h"

/* ---------------------------------------------------------------- nodes */

static void allow(struct rmd_coord *c, const struct rmd_node *n, bool on) {
    struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_ALLOW);
    memcpy(f->peer.key, n->rec->public_key.data, RMD_KEY_BYTES);
    f->on = on;
}

/* A revoked key stays one, also when its node has a new one. */
static bool key_revoked(struct rmd_coord *c, const uint8_t key[RMD_KEY_BYTES]) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        const Remuda__NodeRecord *r = ((struct rmd_node *)v)->rec;
        for (size_t i = 0; i < r->n_revoked_key; i++) {
            if (r->revoked_key[i].len == RMD_KEY_BYTES && memcmp(r->revoked_key[i].data, key, RMD_KEY_BYTES) == 0)
                return true;
        }
    }
    return false;
}

/* A revoked node comes back with a new key as the node that it was: its sources, and what is in doubt there. */
static void node_rekey(struct rmd_coord *c, const struct rmd_command *m, struct rmd_node *n) {
    Remuda__NodeRecord *r = n->rec;
    r->revoked_key = rmd_realloc(r->revoked_key, (r->n_revoked_key + 1) * sizeof *r->revoked_key);
    r->revoked_key[r->n_revoked_key++] = r->public_key;
    rmd_map_remove(&c->nodes_by_key, rmd_slice(r->public_key.data, r->public_key.len));
    r->public_key = (ProtobufCBinaryData){0};
    rmd_bytes_set(&r->public_key, m->key, RMD_KEY_BYTES);
    rmd_map_set(&c->nodes_by_key, rmd_slice(r->public_key.data, RMD_KEY_BYTES), n);
    r->state = 0;
    rmd_policy_all(c);
}

static void node_new(struct rmd_coord *c, const struct rmd_command *m) {
    Remuda__NodeRecord *r = rmd_alloc(sizeof *r);
    remuda__node_record__init(r);
    r->id = c->meta->next_node++;
    c->meta_dirty = true;
    rmd_str_set(&r->name, m->name);
    rmd_bytes_set(&r->public_key, m->key, RMD_KEY_BYTES);
    rmd_registry_add_node(c, r);
}

static void node_add(struct rmd_coord *c, const struct rmd_command *m) {
    if (!m->name || !*m->name) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "a name is needed");
        return;
    }
    struct rmd_node *n = rmd_node_by_key(c, m->key), *named = rmd_node_by_name(c, m->name);
    if ((n && n->rec->state) || key_revoked(c, m->key)) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "this key was revoked; make a new one with `remuda keygen`");
        return;
    }
    if (n && n == named) {
        rmd_core_reply(c, m->token, RMD_OK, n->rec->id, "node %s is enrolled already", m->name);
        return;
    }
    if (n || (named && !named->rec->state)) {
        rmd_core_reply(c, m->token, RMD_EEXISTS, 0,
                       n ? "this key is enrolled as node %s"
                         : "node %s is enrolled with another key; `remuda node revoke` that first",
                       n ? n->rec->name : m->name);
        return;
    }
    if (named && named->rec->n_revoked_key >= RMD_COORD_REVOKED_KEYS_MAX) {
        rmd_core_reply(c, m->token, RMD_ELIMIT, 0, "node %s had %d keys already; take another name", m->name,
                       RMD_COORD_REVOKED_KEYS_MAX);
        return;
    }
    if (!named && c->nodes.n >= RMD_COORD_NODES_MAX) {
        rmd_core_reply(c, m->token, RMD_ELIMIT, 0, "there are %d nodes already", RMD_COORD_NODES_MAX);
        return;
    }
    if (named)
        node_rekey(c, m, named);
    else
        node_new(c, m);
    n = rmd_node_by_key(c, m->key);
    n->dirty = c->nodes_dirty = true;
    allow(c, n, true);
    Remuda__EventRecord *e = rmd_core_event(c, "node.enrolled");
    e->node = n->rec->id;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(n->rec->name));
    rmd_core_reply(c, m->token, RMD_OK, n->rec->id, "node %s is enrolled", n->rec->name);
}

static uint64_t messages_at(const struct rmd_node *n, enum rmd_lease_state state) {
    uint64_t sum = 0;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        const struct rmd_lease *l = v;
        sum += l->state == state ? l->left : 0;
    }
    return sum;
}

/* "830 messages are its until their leases end in 29 min", or nothing when it holds none. */
static const char *what_it_holds(struct rmd_coord *c, const struct rmd_node *n) {
    uint64_t held = messages_at(n, RMD_LEASE_GRANTED);
    char wait[32];
    int64_t ms = n->valid_until_mono_ms - c->now.mono_ms;
    rmd_format_duration(ms > 0 ? ms : 0, wait);
    return held ? rmd_arena_printf(&c->scratch, "; %llu message%s its until its leases end in %s",
                                   (unsigned long long)held, held == 1 ? " is" : "s are", wait)
                : "";
}

static void node_revoke(struct rmd_coord *c, const struct rmd_command *m, struct rmd_node *n) {
    if (!n->rec->state) {
        n->rec->state = 1;
        n->dirty = c->nodes_dirty = true;
        if (n->connected) /* one that is in order stops at once; another one can't be made to */
            rmd_membership_refuse_revoked(c, n);
        allow(c, n, false);
        struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_DROP);
        f->peer = n->peer;
        Remuda__EventRecord *e = rmd_core_event(c, "node.revoked");
        e->node = n->rec->id;
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(m->reason ? m->reason : ""));
        rmd_membership_lost(c, n, "its key was revoked");
    }
    rmd_core_reply(c, m->token, RMD_OK, n->rec->id, "node %s is revoked%s", n->rec->name, what_it_holds(c, n));
}

static void node_forget(struct rmd_coord *c, const struct rmd_command *m, struct rmd_node *n) {
    if (n->connected) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "node %s is connected; it reports what it knows", n->rec->name);
        return;
    }
    uint64_t doubt = messages_at(n, RMD_LEASE_DOUBT);
    if (!doubt && !n->granted) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "nothing is in doubt at node %s", n->rec->name);
        return;
    }
    n->rec->forgotten = true;
    n->dirty = c->nodes_dirty = true;
    rmd_core_wake(c, c->now.mono_ms);
    rmd_core_reply(c, m->token, RMD_OK, n->rec->id,
                   "%llu messages in doubt at node %s follow the uncertain policy now%s", (unsigned long long)doubt,
                   n->rec->name, what_it_holds(c, n));
}

static void node_command(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_node *n = rmd_node_by_name(c, m->name);
    if (!n)
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no node %s", m->name ? m->name : "");
    else if (m->kind == RMD_CMD_NODE_REVOKE)
        node_revoke(c, m, n);
    else
        node_forget(c, m, n);
}

/* ---------------------------------------------------------------- streams */

static void stream_put(struct rmd_coord *c, const struct rmd_command *m) {
    const Remuda__StreamRecord *in = m->stream_record;
    if (!in || !*in->name || !*in->sending_domain || !*in->pool) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "a stream needs a name, a pool and a sending domain");
        return;
    }
    const char *bad_plan = rmd_warm_objection(c, in->domain_warmup);
    if (bad_plan) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "domain warm-up: %s", bad_plan);
        return;
    }
    uint32_t tenant = in->tenant ? in->tenant : 1;
    const Remuda__StreamRecord *old = rmd_coord_stream_by_name(c, tenant, in->name);
    bool urgent = old && old->priority != in->priority;
    Remuda__StreamRecord *r = rmd_record_dup(in);
    r->tenant = tenant;
    if (old) {
        r->id = old->id;
        r->state = old->state;
        r->paused_by = old->paused_by;
        rmd_str_set(&r->reason, old->reason);
    } else {
        r->id = c->meta->next_stream++;
        c->meta_dirty = true;
    }
    rmd_registry_add_stream(c, r);
    rmd_warm_streams(c);
    struct rmd_stream *s = rmd_stream_find(c, r->id);
    for (uint32_t i = 0; i < 8; i++) {
        if (m->key_pem[i].n || i >= r->n_key)
            rmd_registry_key(c, r->id, i, m->key_pem[i]);
    }
    if (urgent)
        rmd_pq_reorder(c, s);
    rmd_stream_put(c, s);
    rmd_policy_all(c);
    rmd_core_reply(c, m->token, RMD_OK, r->id, "stream %s is %s", r->name, old ? "changed" : "made");
}

static void stream_state(struct rmd_coord *c, const struct rmd_command *m) {
    const Remuda__StreamRecord *r = rmd_coord_stream_by_name(c, m->tenant, m->name);
    struct rmd_stream *s = r ? rmd_stream_find(c, r->id) : NULL;
    if (!s || m->state > 1) {
        rmd_core_reply(c, m->token, s ? RMD_EINVAL : RMD_ENOTFOUND, 0, s ? "no such state" : "there is no stream %s",
                       m->name ? m->name : "");
        return;
    }
    if (s->rec->state != m->state) {
        s->rec->state = m->state;
        rmd_str_set(&s->rec->reason, m->reason ? m->reason : "");
        rmd_stream_put(c, s);
        c->after_probe = RMD_PROBE_CANCEL_SYNCED;
        if (m->state)
            rmd_recall_stream(c, s, RMD_RETURN_PAUSED, -1);
        Remuda__EventRecord *e = rmd_core_event(c, m->state ? "stream.paused" : "stream.active");
        e->stream = s->rec->id;
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->reason));
        c->deal = true;
    }
    bool by = s->rec->paused_by != 0;
    bool back = !m->state && rmd_sender_resumed(c, s, m->reason && *m->reason ? m->reason : "the stream was resumed");
    if (!m->state && (back || by))
        rmd_stream_put(c, s);
    rmd_core_reply(c, m->token, RMD_OK, s->rec->id, "stream %s is %s%s", s->rec->name, m->state ? "paused" : "active",
                   back ? "; its sending domain is probed where it was refused" : "");
}

/* ---------------------------------------------------------------- sources */

static const char *source_objection(struct rmd_coord *c, const struct rmd_command *m, const struct rmd_node *node) {
    const Remuda__SourceRecord *in = m->source;
    struct rmd_addr a;
    if (!in)
        return "a source is needed";
    if (rmd_addr_parse(in->address, &a) != RMD_OK || !rmd_addr_is_host(&a))
        return "the address isn't the IP address of a host";
    if (*in->bind && (rmd_addr_parse(in->bind, &a) != RMD_OK || !rmd_addr_is_host(&a)))
        return "the address to bind isn't the IP address of a host";
    uint8_t family = a.family;
    if (*in->bind && rmd_addr_parse(in->address, &a) == RMD_OK && a.family != family)
        return "the address to bind is of another family (IPv4, IPv6) than the address";
    if (!node)
        return "there is no such node; `remuda node list` shows those that are enrolled";
    if (node->rec->state)
        return "the node was revoked";
    return in->n_pool ? rmd_warm_objection(c, in->warmup) : "a source needs a pool";
}

static bool source_moves(const struct rmd_command *m, const struct rmd_source *s, const struct rmd_node *node) {
    return s->node != node || strcmp(s->rec->bind, m->source->bind) != 0;
}

/* New settings for a source that exists. It keeps its id, and with it its ledger: caps hold across the change. */
static bool source_change(struct rmd_coord *c, const struct rmd_command *m, struct rmd_source *s,
                          struct rmd_node *node) {
    bool moves = source_moves(m, s, node);
    if (moves && s->leases) {
        rmd_core_reply(
            c, m->token, RMD_ECONFLICT, 0,
            "source %s has %u leases with node %s: pause it, and change where it is bound when they are back",
            s->rec->address, s->leases, s->node ? s->node->rec->name : "?");
        return false;
    }
    Remuda__SourceRecord *r = rmd_record_dup(m->source), *old = s->rec;
    r->id = old->id;
    r->tenant = old->tenant;
    r->node = node->rec->id;
    r->state = old->state;
    rmd_str_set(&r->reason, old->reason);
    r->created_wall_ms = old->created_wall_ms;
    r->warmup_wall_ms = strcmp(r->warmup, old->warmup) == 0 ? old->warmup_wall_ms : c->now.wall_ms;
    bool now_warm = r->warm_as && !old->warm_as;
    if (!r->n_registered) { /* what a person arranged with a provider stays */
        r->registered = old->registered;
        r->n_registered = old->n_registered;
        old->registered = NULL;
        old->n_registered = 0;
    }
    remuda__source_record__free_unpacked(old, NULL);
    s->rec = r;
    rmd_warm_source(c, s);
    if (now_warm)
        rmd_warm_is_warm(c, s);
    rmd_warm_changed(c);
    s->node = node;
    s->family = rmd_source_family(r);
    if (moves) { /* what was said of it was said of another place */
        free(s->trouble);
        s->trouble = NULL;
        s->rest_until_mono_ms = 0;
    }
    s->dirty = c->sources_dirty = true;
    c->sources_rev++;
    c->deal = true;
    rmd_policy_all(c);
    return true;
}

static struct rmd_source *source_new(struct rmd_coord *c, const struct rmd_command *m, uint32_t tenant,
                                     const struct rmd_node *node) {
    if (c->sources.n >= RMD_COORD_SOURCES_MAX) {
        rmd_core_reply(c, m->token, RMD_ELIMIT, 0, "there are %d sources already", RMD_COORD_SOURCES_MAX);
        return NULL;
    }
    Remuda__SourceRecord *r = rmd_record_dup(m->source);
    r->id = c->meta->next_source++;
    c->meta_dirty = true;
    r->tenant = tenant;
    r->node = node->rec->id;
    r->created_wall_ms = c->now.wall_ms;
    r->warmup_wall_ms = *r->warmup ? c->now.wall_ms : 0;
    rmd_registry_add_source(c, r);
    struct rmd_source *s = rmd_source_find(c, r->id);
    rmd_warm_source(c, s);
    rmd_warm_changed(c);
    s->dirty = c->sources_dirty = true;
    rmd_policy_all(c);
    return s;
}

/* An address that was retired comes back as the source that it was; one that is being retired, too, where its leases stay right. */
static struct rmd_source *source_back(struct rmd_coord *c, const struct rmd_command *m, struct rmd_source *s,
                                      struct rmd_node *node) {
    if (s->rec->state != RMD_SOURCE_RETIRED && s->rec->state != RMD_SOURCE_RETIRING) {
        rmd_core_reply(c, m->token, RMD_EEXISTS, 0, "%s is a source already; `remuda source set` changes it",
                       s->rec->address);
        return NULL;
    }
    if (s->leases && source_moves(m, s, node)) {
        rmd_core_reply(
            c, m->token, RMD_ECONFLICT, 0,
            "source %s is being retired, and %s has %u lease%s of it still: add it elsewhere when `remuda source "
            "list` says that it is retired%s",
            s->rec->address, s->node ? s->node->rec->name : "its node", s->leases, s->leases == 1 ? "" : "s",
            s->node && !s->node->connected ? " (its node is away: `remuda node forget` is sooner)" : "");
        return NULL;
    }
    if (!source_change(c, m, s, node))
        return NULL;
    s->rec->state = RMD_SOURCE_ACTIVE;
    rmd_str_set(&s->rec->reason, "");
    return s;
}

static void refuse_source(struct rmd_coord *c, const struct rmd_command *m, const struct rmd_node *node,
                          const char *why) {
    if (m->source && !node)
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0,
                       "node: there is no node %s; `remuda node list` shows those that are enrolled",
                       m->name ? m->name : "");
    else
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "%s", why);
}

static void source_add(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_node *node = rmd_node_by_name(c, m->name);
    const char *why = source_objection(c, m, node);
    if (why) {
        refuse_source(c, m, node, why);
        return;
    }
    uint32_t tenant = m->source->tenant ? m->source->tenant : m->tenant ? m->tenant : 1;
    struct rmd_source *s = rmd_source_by_address(c, tenant, m->source->address);
    s = s ? source_back(c, m, s, node) : source_new(c, m, tenant, node);
    if (!s)
        return;
    Remuda__EventRecord *e = rmd_core_event(c, "source.added");
    e->source = s->rec->id;
    e->node = s->rec->node;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->address));
    rmd_core_reply(c, m->token, RMD_OK, s->rec->id, "source %s is added at node %s", s->rec->address,
                   node->rec->name);
}

static void source_put(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_node *node = rmd_node_by_name(c, m->name);
    const char *why = source_objection(c, m, node);
    struct rmd_source *s = why ? NULL : rmd_source_by_address(c, m->tenant ? m->tenant : 1, m->source->address);
    if (why) {
        refuse_source(c, m, node, why);
        return;
    }
    if (!s) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no source %s", m->source->address);
        return;
    }
    if (s->rec->state == RMD_SOURCE_RETIRED) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "source %s is retired; `remuda source add` brings it back",
                       s->rec->address);
        return;
    }
    if (!source_change(c, m, s, node))
        return;
    Remuda__EventRecord *e = rmd_core_event(c, "source.changed");
    e->source = s->rec->id;
    e->node = s->rec->node;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->address));
    rmd_core_reply(c, m->token, RMD_OK, s->rec->id, "source %s is changed", s->rec->address);
}

static const char *const source_events[RMD_SOURCE_STATE_COUNT] = {"source.active", "source.paused", "source.retiring",
                                                                  "source.retired"};

static void source_state(struct rmd_coord *c, const struct rmd_command *m, struct rmd_source *s) {
    if (m->state >= RMD_SOURCE_STATE_COUNT ||
        (s->rec->state == RMD_SOURCE_RETIRED && m->state != RMD_SOURCE_RETIRED)) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "source %s is %s; it can't become %s", s->rec->address,
                       rmd_source_state_name(s->rec->state), rmd_source_state_name(m->state));
        return;
    }
    uint32_t state = m->state == RMD_SOURCE_RETIRING && !s->leases ? RMD_SOURCE_RETIRED : m->state;
    s->rec->state = state;
    rmd_str_set(&s->rec->reason, m->reason ? m->reason : "");
    s->dirty = c->sources_dirty = true;
    rmd_warm_changed(c); /* a place in its network may be free */
    if (state == RMD_SOURCE_PAUSED || state == RMD_SOURCE_RETIRED)
        rmd_recall_source(c, s, 0, state == RMD_SOURCE_PAUSED ? RMD_RETURN_PAUSED : RMD_RETURN_RECALLED, -1);
    rmd_policy_all(c);
    Remuda__EventRecord *e = rmd_core_event(c, source_events[state]);
    e->source = s->rec->id;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->reason));
    rmd_core_reply(c, m->token, RMD_OK, s->rec->id, "source %s is %s", s->rec->address, rmd_source_state_name(state));
}

static void source_command(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_source *s = rmd_source_by_address(c, m->tenant ? m->tenant : 1, m->name);
    if (!s)
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no source %s", m->name ? m->name : "");
    else
        source_state(c, m, s);
}

/* ---------------------------------------------------------------- campaigns, incidents */

/* By the core, whose commits wait for room: the disk that is full of these rows has none for a commit that must not wait. */
static void submission_ended(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_key from = rmd_key_chunks_of('K', m->tenant, &m->id), to = rmd_key_after(&from);
    if (!rmd_campaign_find(c, rmd_slice(m->id.b, sizeof m->id.b)))
        rmd_batch_delete_range(&c->batch, rmd_key_slice(&from), rmd_key_slice(&to));
    rmd_core_reply(c, m->token, RMD_OK, 0, "its rows are deleted");
}

static void campaign_accepted(struct rmd_coord *c, const struct rmd_command *m) {
    const Remuda__CampaignRecord *in = m->campaign;
    if (!in || in->id.len != sizeof(struct rmd_id) || !rmd_stream_find(c, in->stream)) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "the campaign's stream is unknown");
        return;
    }
    if (!rmd_campaign_find(c, rmd_slice(in->id.data, in->id.len))) {
        Remuda__CampaignRecord *r = rmd_record_dup(in);
        if (r->state == RMD_CAMPAIGN_LOADING)
            r->state = RMD_CAMPAIGN_ACTIVE;
        if (!r->accepted_wall_ms)
            r->accepted_wall_ms = c->now.wall_ms;
        rmd_campaign_add(c, r);
        struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(in->id.data, in->id.len));
        rmd_campaign_dirty(c, k);
        Remuda__EventRecord *e = rmd_core_event(c, "campaign.accepted");
        e->campaign.data = rmd_arena_dup(rmd_arena_after(c), k->id.b, sizeof k->id.b);
        e->campaign.len = sizeof k->id.b;
        e->stream = k->rec->stream;
        e->text = rmd_arena_printf(rmd_arena_after(c), "%s: %llu recipient%s",
                                   *k->rec->name ? k->rec->name : k->rec->subject, (unsigned long long)k->rec->rows,
                                   k->rec->rows == 1 ? "" : "s");
        c->deal = true;
    }
    rmd_core_reply(c, m->token, RMD_OK, 0, "accepted");
}

static void incident_resolve(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_incident *i = rmd_incident_find(c, m->number);
    if (!i) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no incident %llu", (unsigned long long)m->number);
        return;
    }
    if (m->text && *m->text)
        rmd_incident_ticket(c, i, m->text);
    bool was_open = !i->rec->state;
    rmd_incident_resolve(c, i, m->reason);
    if (was_open)
        rmd_incident_unsay(c, i);
    rmd_surges_resolved(c, i);
    bool back = rmd_returning_all(c, m->number, *i->rec->resolution ? i->rec->resolution : "resolved");
    bool sender = rmd_sender_resolved(c, i), content = rmd_content_resolved(c, m->number, i->rec->resolution);
    c->deal = true;
    rmd_core_reply(
        c, m->token, RMD_OK, m->number, "incident %llu is resolved%s", (unsigned long long)m->number,
        sender    ? ": its sending domain is probed with a few recipients, and open when they are accepted"
        : content ? ": the campaign goes on there"
        : back && i->rec->site && !(c->o.without & RMD_WITHOUT_PROBING)
            ? ": the site gets a single recipient from each source that it refused, and is open to it when it accepts"
        : !back || c->o.without & RMD_WITHOUT_PROBING
            ? ""
            : ": what it stopped is probed with single recipients, and open when " RMD_PROBES_TEXT
              " were accepted in a row");
}

static void incident_ticket(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_incident *i = rmd_incident_find(c, m->number);
    if (!i) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no incident %llu", (unsigned long long)m->number);
        return;
    }
    if (!m->text || !*m->text || strlen(m->text) > RMD_TICKET_MAX) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "a ticket is a number, a URL or a few words: 1 to %d bytes",
                       RMD_TICKET_MAX);
        return;
    }
    rmd_incident_ticket(c, i, m->text);
    rmd_core_reply(c, m->token, RMD_OK, m->number, "noted");
}

void rmd_command(struct rmd_coord *c, const struct rmd_command *m) {
    if (c->phase == RMD_PHASE_RESTORE) {
        rmd_core_reply(c, m->token, RMD_EAGAIN, 0, "the coordinator is starting");
        return;
    }
    switch (m->kind) {
    case RMD_CMD_NODE_ADD:
        node_add(c, m);
        break;
    case RMD_CMD_NODE_REVOKE:
    case RMD_CMD_NODE_FORGET:
        node_command(c, m);
        break;
    case RMD_CMD_STREAM_PUT:
        stream_put(c, m);
        break;
    case RMD_CMD_STREAM_STATE:
        stream_state(c, m);
        break;
    case RMD_CMD_SOURCE_ADD:
        source_add(c, m);
        break;
    case RMD_CMD_SOURCE_PUT:
        source_put(c, m);
        break;
    case RMD_CMD_SOURCE_STATE:
        source_command(c, m);
        break;
    case RMD_CMD_CAMPAIGN_ACCEPTED:
        campaign_accepted(c, m);
        break;
    case RMD_CMD_CAMPAIGN_STATE:
        rmd_campaign_state(c, m);
        break;
    case RMD_CMD_CAMPAIGN_SCHEDULE:
        rmd_release_command(c, m);
        break;
    case RMD_CMD_SUBMISSION_ENDED:
        submission_ended(c, m);
        break;
    case RMD_CMD_SUPPRESS:
        rmd_suppress_command(c, m);
        break;
    case RMD_CMD_UNSUPPRESS:
        rmd_unsuppress_command(c, m);
        break;
    case RMD_CMD_SUPPRESS_UNDO:
    case RMD_CMD_SUPPRESS_CONFIRM:
        rmd_surges_command(c, m);
        break;
    case RMD_CMD_INCIDENT_RESOLVE:
        incident_resolve(c, m);
        break;
    case RMD_CMD_INCIDENT_TICKET:
        incident_ticket(c, m);
        break;
    case RMD_CMD_WARMUP_PAUSE:
    case RMD_CMD_WARMUP_RESUME:
    case RMD_CMD_WARMUP_SET:
    case RMD_CMD_COMPLAINTS:
    case RMD_CMD_SOURCE_REGISTER:
        rmd_warm_command(c, m);
        break;
    case RMD_CMD_RELOAD:
        rmd_reload(c, m);
        break;
    case RMD_CMD_LISTING_CHECK:
    case RMD_CMD_LISTING_REMOVAL:
        rmd_listing_command(c, m);
        break;
    case RMD_CMD_RESUME_RESTORED:
        if (!c->meta->restored) {
            rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "nothing was restored from a backup: dealing isn't paused");
            break;
        }
        rmd_restore_resume(c);
        rmd_core_reply(c, m->token, RMD_OK, 0,
                       "dealing goes on; every cap counts as spent until a day after the restore was noticed");
        break;
    }
}
