/* Commands of the API: checked, carried out, answered when durable. */
#include "coordinator/core/core.h"

static void put_stream(struct rmd_coord *c, const struct rmd_stream *s) {
    struct rmd_key k = rmd_key_stream(s->rec->tenant, s->rec->id);
    rmd_core_put(c, &k, s->rec);
}

/* ---------------------------------------------------------------- nodes */

static void allow(struct rmd_coord *c, const struct rmd_node *n, bool on) {
    struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_ALLOW);
    memcpy(f->peer.key, n->rec->public_key.data, RMD_KEY_BYTES);
    f->on = on;
}

static void node_add(struct rmd_coord *c, const struct rmd_command *m) {
    if (!m->name || !*m->name) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "a name is needed");
        return;
    }
    struct rmd_node *n = rmd_node_by_key(c, m->key);
    if (n && n->rec->state) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "this key was revoked; make a new one with \"remuda keygen\"");
        return;
    }
    if (n && strcmp(n->rec->name, m->name) == 0) {
        rmd_core_reply(c, m->token, RMD_OK, n->rec->id, "node %s is enrolled already", m->name);
        return;
    }
    if (n || rmd_node_by_name(c, m->name)) {
        rmd_core_reply(c, m->token, RMD_EEXISTS, 0, n ? "this key is enrolled as node %s" : "a node %s exists",
                       n ? n->rec->name : m->name);
        return;
    }
    if (c->nodes.n >= RMD_COORD_NODES_MAX) {
        rmd_core_reply(c, m->token, RMD_ELIMIT, 0, "there are %d nodes already", RMD_COORD_NODES_MAX);
        return;
    }
    Remuda__NodeRecord *r = rmd_alloc(sizeof *r);
    remuda__node_record__init(r);
    r->id = c->meta->next_node++;
    c->meta_dirty = true;
    rmd_str_set(&r->name, m->name);
    rmd_bytes_set(&r->public_key, m->key, RMD_KEY_BYTES);
    rmd_registry_add_node(c, r);
    n = rmd_node_find(c, r->id);
    n->dirty = c->nodes_dirty = true;
    allow(c, n, true);
    rmd_core_reply(c, m->token, RMD_OK, r->id, "node %s is enrolled", r->name);
}

static void node_revoke(struct rmd_coord *c, const struct rmd_command *m, struct rmd_node *n) {
    if (!n->rec->state) {
        n->rec->state = 1;
        n->dirty = c->nodes_dirty = true;
        allow(c, n, false);
        struct rmd_coord_effect *f = rmd_fx_after(c, RMD_CF_DROP);
        f->peer = n->peer;
        Remuda__EventRecord *e = rmd_core_event(c, "node.revoked");
        e->node = n->rec->id;
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(m->reason ? m->reason : ""));
        rmd_membership_lost(c, n, "its key was revoked");
    }
    rmd_core_reply(c, m->token, RMD_OK, n->rec->id, "node %s is revoked; its leases expire", n->rec->name);
}

static void node_forget(struct rmd_coord *c, const struct rmd_command *m, struct rmd_node *n) {
    if (n->connected) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "node %s is connected; it reports what it knows", n->rec->name);
        return;
    }
    n->forget = true;
    rmd_core_wake(c, c->now.mono_ms);
    rmd_core_reply(c, m->token, RMD_OK, n->rec->id, "what is in doubt at node %s follows the uncertain policy now",
                   n->rec->name);
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
    uint32_t tenant = in->tenant ? in->tenant : 1;
    const Remuda__StreamRecord *old = rmd_coord_stream_by_name(c, tenant, in->name);
    Remuda__StreamRecord *r = rmd_record_dup(in);
    r->tenant = tenant;
    if (old) {
        r->id = old->id;
        r->state = old->state;
        rmd_str_set(&r->reason, old->reason);
    } else {
        r->id = c->meta->next_stream++;
        c->meta_dirty = true;
    }
    rmd_registry_add_stream(c, r);
    struct rmd_stream *s = rmd_stream_find(c, r->id);
    for (uint32_t i = 0; i < 8; i++) {
        if (m->key_pem[i].n || i >= r->n_key)
            rmd_registry_key(c, r->id, i, m->key_pem[i]);
    }
    put_stream(c, s);
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
        put_stream(c, s);
        c->after_probe = RMD_PROBE_CANCEL_SYNCED;
        if (m->state)
            rmd_recall_stream(c, s, RMD_RETURN_PAUSED, -1);
        Remuda__EventRecord *e = rmd_core_event(c, m->state ? "stream.paused" : "stream.active");
        e->stream = s->rec->id;
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->reason));
        c->deal = true;
    }
    rmd_core_reply(c, m->token, RMD_OK, s->rec->id, "stream %s is %s", s->rec->name, m->state ? "paused" : "active");
}

/* ---------------------------------------------------------------- sources */

static const char *source_objection(struct rmd_coord *c, const struct rmd_command *m, uint32_t tenant,
                                    struct rmd_node *node) {
    const Remuda__SourceRecord *in = m->source;
    struct rmd_addr a;
    if (rmd_addr_parse(in->address, &a) != RMD_OK)
        return "the address isn't an IP address";
    if (*in->bind && rmd_addr_parse(in->bind, &a) != RMD_OK)
        return "the address to bind isn't an IP address";
    if (!node || node->rec->state)
        return "there is no such node";
    if (!in->n_pool)
        return "a source needs a pool";
    if (rmd_source_by_address(c, tenant, in->address))
        return "this address is a source already";
    return c->sources.n >= RMD_COORD_SOURCES_MAX ? "there are too many sources" : NULL;
}

static void source_add(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_node *node = rmd_node_by_name(c, m->name);
    uint32_t tenant = m->source && m->source->tenant ? m->source->tenant : m->tenant ? m->tenant : 1;
    const char *why = m->source ? source_objection(c, m, tenant, node) : "a source is needed";
    if (why) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "%s", why);
        return;
    }
    Remuda__SourceRecord *r = rmd_record_dup(m->source);
    r->id = c->meta->next_source++;
    c->meta_dirty = true;
    r->tenant = tenant;
    r->node = node->rec->id;
    r->created_wall_ms = c->now.wall_ms;
    rmd_registry_add_source(c, r);
    struct rmd_source *s = rmd_source_find(c, r->id);
    s->dirty = c->sources_dirty = true;
    Remuda__EventRecord *e = rmd_core_event(c, "source.added");
    e->source = r->id;
    e->node = r->node;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(r->address));
    rmd_policy_all(c);
    rmd_core_reply(c, m->token, RMD_OK, r->id, "source %s is added at node %s", r->address, node->rec->name);
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
    s->rec->state = m->state;
    rmd_str_set(&s->rec->reason, m->reason ? m->reason : "");
    s->dirty = c->sources_dirty = true;
    if (m->state == RMD_SOURCE_PAUSED || m->state == RMD_SOURCE_RETIRED)
        rmd_recall_source(c, s, 0, m->state == RMD_SOURCE_PAUSED ? RMD_RETURN_PAUSED : RMD_RETURN_RECALLED, -1);
    rmd_policy_all(c);
    Remuda__EventRecord *e = rmd_core_event(c, source_events[m->state]);
    e->source = s->rec->id;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->rec->reason));
    rmd_core_reply(c, m->token, RMD_OK, s->rec->id, "source %s is %s", s->rec->address,
                   rmd_source_state_name(m->state));
}

static void source_caps(struct rmd_coord *c, const struct rmd_command *m, struct rmd_source *s) {
    if (!m->source) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "caps are needed");
        return;
    }
    Remuda__SourceRecord *in = rmd_record_dup(m->source);
    Remuda__SourceRecord *r = s->rec;
    r->cap_per_day = in->cap_per_day;
    r->lane_cap_per_day = in->lane_cap_per_day;
    Remuda__LaneCap **v = r->lane_cap;
    size_t n = r->n_lane_cap;
    r->lane_cap = in->lane_cap;
    r->n_lane_cap = in->n_lane_cap;
    in->lane_cap = v;
    in->n_lane_cap = n;
    remuda__source_record__free_unpacked(in, NULL);
    s->dirty = c->sources_dirty = true;
    c->deal = true;
    rmd_core_reply(c, m->token, RMD_OK, r->id, "caps of source %s are changed", r->address);
}

static void source_command(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_source *s = rmd_source_by_address(c, m->tenant ? m->tenant : 1, m->name);
    if (!s)
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no source %s", m->name ? m->name : "");
    else if (m->kind == RMD_CMD_SOURCE_STATE)
        source_state(c, m, s);
    else
        source_caps(c, m, s);
}

/* ---------------------------------------------------------------- campaigns, incidents */

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
        e->text = rmd_arena_printf(rmd_arena_after(c), "%s: %llu recipients", k->rec->name,
                                   (unsigned long long)k->rec->rows);
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
    rmd_incident_resolve(c, i, m->reason);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (s->all.incident == m->number)
            rmd_lane_set(c, s, &s->all, RMD_LANE_OPEN, 0, 0);
        for (size_t p = 0; p < c->o.n_providers; p++) {
            if (s->lane[p] && s->lane[p]->incident == m->number)
                rmd_lane_set(c, s, s->lane[p], RMD_LANE_OPEN, 0, 0);
        }
    }
    rmd_core_reply(c, m->token, RMD_OK, m->number, "incident %llu is resolved", (unsigned long long)m->number);
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
    case RMD_CMD_SOURCE_STATE:
    case RMD_CMD_SOURCE_CAPS:
        source_command(c, m);
        break;
    case RMD_CMD_CAMPAIGN_ACCEPTED:
        campaign_accepted(c, m);
        break;
    case RMD_CMD_CAMPAIGN_STATE:
        rmd_campaign_state(c, m);
        break;
    case RMD_CMD_SUPPRESS:
        rmd_suppress_command(c, m);
        break;
    case RMD_CMD_UNSUPPRESS:
        rmd_unsuppress_command(c, m);
        break;
    case RMD_CMD_INCIDENT_RESOLVE:
        incident_resolve(c, m);
        break;
    case RMD_CMD_RESUME_RESTORED:
        rmd_restore_resume(c);
        rmd_core_reply(c, m->token, RMD_OK, 0,
                       "dealing goes on; every cap counts as spent until a day after the restore was noticed");
        break;
    }
}
