/* Membership: sessions of nodes, their validity, and what each frame means.
 *
 *   (none) --Hello, accepted--> CONNECTED --silence, Bye, gone, revoked--> (none)
 *
 * A node is its key. A second live session on a key is refused; one that fell silent is replaced. Leases follow the
 * node's validity: it ends lease_valid_ms after the last echo left us, which is later than the node's own end of it
 * (it counts from the time that it stamped), so what we call expired the node has stopped.
 *
 * On Hello: another boot or another journal puts the node's leases in doubt. A lease that the node never had (its id
 * is over the high-water mark of the same journal) is sent again. Leases that may not send any more are left out of
 * Welcome's list, and come back as outcomes. */
#include "coordinator/core/core.h"

enum { REFUSED_KEY = 3 };
static const char REVOKED[] = "this node's key was revoked";

static bool same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b) {
    return rmd_slice_eq(rmd_slice(a->data, a->len), rmd_slice(b->data, b->len));
}

static Remuda__EventRecord *node_event(struct rmd_coord *c, const char *type, const struct rmd_node *n,
                                       const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->node = n->rec->id;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%s: %s", n->rec->name, text);
    return e;
}

static void refuse(struct rmd_coord *c, const struct rmd_coord_peer *peer, uint32_t code, const char *reason) {
    Remuda__Frame *f = rmd_core_send_now(c, peer, REMUDA__FRAME__BODY_REFUSED);
    f->refused = rmd_arena_alloc(rmd_arena_now(c), sizeof *f->refused);
    remuda__refused__init(f->refused);
    f->refused->code = code;
    f->refused->reason = rmd_arena_str(rmd_arena_now(c), rmd_slice_str(reason));
}

void rmd_membership_refuse_revoked(struct rmd_coord *c, struct rmd_node *n) {
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_REFUSED, -1);
    f->refused = rmd_arena_alloc(rmd_arena_after(c), sizeof *f->refused);
    remuda__refused__init(f->refused);
    f->refused->code = REFUSED_KEY;
    f->refused->reason = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(REVOKED));
}

/* The same refusal is told to the operator once, not every two seconds. */
static void refuse_node(struct rmd_coord *c, struct rmd_node *n, const struct rmd_coord_peer *peer, uint32_t code,
                        const char *reason) {
    refuse(c, peer, code, reason);
    if (n->said && strcmp(n->said, reason) == 0)
        return;
    free(n->said);
    n->said = rmd_strdup(reason);
    rmd_core_warn(c, "node %s: refused: %s", n->rec->name, reason);
    node_event(c, "node.refused", n, reason);
}

void rmd_membership_lost(struct rmd_coord *c, struct rmd_node *n, const char *why) {
    if (!n->connected)
        return;
    n->connected = false;
    rmd_recall_clear(n);
    node_event(c, "node.lost", n, why);
    char left[32];
    int64_t ms = n->valid_until_mono_ms - c->now.mono_ms;
    rmd_format_duration(ms > 1000 ? ms - ms % 1000 : 0, left);
    if (n->granted)
        rmd_core_warn(c, "node %s: lost: %s; its %u lease%s expire%s in %s%s", n->rec->name, why, n->granted,
                      n->granted == 1 ? "" : "s", n->granted == 1 ? "s" : "", left,
                      n->rec->state ? "" : " unless it returns");
    else if (n->stopping) /* as it said it would */
        rmd_core_log(c, "node %s: gone: %s; it has no leases", n->rec->name, why);
    else
        rmd_core_warn(c, "node %s: lost: %s; it has no leases", n->rec->name, why);
    rmd_core_wake(c, n->valid_until_mono_ms);
    rmd_suppress_check(c);
}

void rmd_membership_gone(struct rmd_coord *c, const struct rmd_coord_peer *peer) {
    struct rmd_node *n = rmd_node_by_key(c, peer->key);
    if (n && n->connected && n->peer.session == peer->session)
        rmd_membership_lost(c, n, "its connection is gone");
}

static void renew(struct rmd_coord *c, struct rmd_node *n) {
    int64_t until = c->now.mono_ms + c->o.lease_valid_ms;
    if (until > n->valid_until_mono_ms)
        n->valid_until_mono_ms = until;
}

/* ---------------------------------------------------------------- Hello */

/* NULL, or why this Hello is refused. */
static const char *objection(struct rmd_coord *c, struct rmd_node *n, const struct rmd_coord_event *e,
                             uint32_t *code) {
    const Remuda__Hello *h = e->frame->hello;
    *code = REFUSED_KEY;
    if (n->rec->state)
        return REVOKED;
    *code = 4;
    if (c->phase != RMD_PHASE_SERVING)
        return "the coordinator is starting; try again";
    if (rmd_core_choked(c))
        return "the coordinator's store is stalled; try again";
    *code = 1;
    if (h->version_min > RMD_PROTOCOL_VERSION || h->version_max < RMD_PROTOCOL_VERSION_MIN)
        return rmd_arena_printf(&c->scratch,
                                "no common protocol version: the node speaks %u to %u, the coordinator %d to %d",
                                h->version_min, h->version_max, RMD_PROTOCOL_VERSION_MIN, RMD_PROTOCOL_VERSION);
    *code = 2;
    if (n->connected && n->peer.session != e->peer.session &&
        c->now.mono_ms - n->heard_mono_ms < c->o.heartbeat_lost_ms)
        return "another session with this key is live; is the same key used on two hosts?";
    if (h->boot_id.len != RMD_UUID_BYTES || h->journal_uuid.len != RMD_UUID_BYTES) {
        *code = 1;
        return "Hello without boot id or journal id";
    }
    return NULL;
}

static void doubt_all(struct rmd_coord *c, struct rmd_node *n, const char *why) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v))
        rmd_doubt(c, v, why);
}

static void identify(struct rmd_coord *c, struct rmd_node *n, const Remuda__Hello *h) {
    Remuda__NodeRecord *r = n->rec;
    bool attests = same(&r->boot_id, &h->boot_id);
    if (attests && rmd_ledger_attest(&c->ledger, h->ledger_time_ms, c->now.mono_ms))
        c->meta_dirty = true;
    if (r->boot_id.len && !attests)
        doubt_all(c, n, "its host restarted");
    bool known = same(&r->journal_uuid, &h->journal_uuid);
    if (r->journal_uuid.len && !known) {
        doubt_all(c, n, "its journal is another one");
        r->settled_n = h->reported_position; /* a journal that went through another boot goes on counting */
        r->alarm_n = 0;
        n->alarms_seen = 0;
    }
    memcpy(n->boot, h->boot_id.data, sizeof n->boot);
    if (!attests || !known)
        n->dirty = c->nodes_dirty = true;
    rmd_bytes_set(&r->boot_id, h->boot_id.data, h->boot_id.len);
    rmd_bytes_set(&r->journal_uuid, h->journal_uuid.data, h->journal_uuid.len);
    n->high_water = h->lease_high_water;
    n->journal_end = h->journal_position;
    n->hello_mono_ms = c->now.mono_ms;
    rmd_restore_check(c, n, h, known);
}

static bool listed(const uint64_t *held, size_t n, uint64_t id) {
    for (size_t i = 0; i < n; i++) {
        if (held[i] == id)
            return true;
    }
    return false;
}

/* A late report settled one of its messages while this node couldn't be told to leave it alone. */
static bool overtaken(const struct rmd_lease *l) {
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t row;
        const struct rmd_chunk *ch = rmd_bit_get(l->done, i) ? NULL : rmd_lease_chunk(l, i, &row);
        if (ch && rmd_bit_get(ch->settled, row))
            return true;
    }
    return false;
}

/* Which leases are live, which the node never had, and which it may have had and doesn't hold (those are settled when
 * its journal was told, see rmd_report_unlisted). */
static void reconcile(struct rmd_coord *c, struct rmd_node *n, const Remuda__Hello *h, Remuda__Welcome *w,
                      struct rmd_lease **again, size_t *n_again) {
    w->lease_live = rmd_arena_alloc(rmd_arena_after(c), (n->leases.n + 1) * sizeof *w->lease_live);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct rmd_lease *l = v;
        bool mine = memcmp(l->boot, n->boot, sizeof l->boot) == 0 &&
                    memcmp(l->journal, h->journal_uuid.data, sizeof l->journal) == 0;
        bool never_had = mine && l->id > n->high_water;
        bool past = overtaken(l);
        if (never_had && !past && l->state == RMD_LEASE_DOUBT)
            rmd_doubt_regrant(c, l);
        l->unlisted = mine && (never_had ? past : !listed(h->lease_id, h->n_lease_id, l->id));
        if (l->state != RMD_LEASE_GRANTED || !mine || l->unlisted)
            continue;
        if (!never_had && (past || !rmd_lease_wanted(c, l))) /* it comes back */
            continue;
        w->lease_live[w->n_lease_live++] = l->id;
        if (never_had)
            again[(*n_again)++] = l;
        else
            l->acked = true; /* whole, in its journal */
    }
}

static void welcome(struct rmd_coord *c, struct rmd_node *n, const Remuda__Hello *h) {
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_WELCOME, -1);
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__Welcome *w = f->welcome = rmd_arena_alloc(a, sizeof *w);
    remuda__welcome__init(w);
    w->version = h->version_max < RMD_PROTOCOL_VERSION ? h->version_max : RMD_PROTOCOL_VERSION;
    w->node_id = n->rec->id;
    w->node_name = rmd_arena_str(a, rmd_slice_str(n->rec->name));
    w->echo_mono_ms = h->node_mono_ms;
    w->lease_valid_ms = c->o.lease_valid_ms;
    w->ledger_time_ms = c->ledger.now_ms;
    w->credit_bytes = RMD_CREDIT_WINDOW_BYTES;
    if (h->reported_position > n->rec->settled_n)
        w->replay_from = n->rec->settled_n + 1;
    struct rmd_lease **again = rmd_arena_alloc(&c->scratch, (n->leases.n + 1) * sizeof *again);
    size_t n_again = 0;
    reconcile(c, n, h, w, again, &n_again);
    w->policy = rmd_policy_build(c, n, a);
    n->policy_dirty = false;
    for (size_t i = 0; i < n_again; i++) {
        rmd_suppress_before_lease(c, n, again[i]);
        rmd_lease_send(c, again[i]);
        if (!rmd_lease_wanted(c, again[i]))
            rmd_recall_lease(c, again[i], RMD_RETURN_RECALLED);
    }
}

static void hello(struct rmd_coord *c, struct rmd_node *n, const struct rmd_coord_event *e) {
    const Remuda__Hello *h = e->frame->hello;
    uint32_t code;
    const char *why = objection(c, n, e, &code);
    if (why) {
        refuse_node(c, n, &e->peer, code, why);
        return;
    }
    bool fresh = !n->connected || n->peer.session != e->peer.session;
    if (n->connected && fresh)
        rmd_membership_lost(c, n, "replaced by a new session");
    free(n->said);
    n->said = NULL;
    n->peer = e->peer;
    n->heard_mono_ms = c->now.mono_ms;
    n->stopping = false;
    if (n->rec->forgotten) { /* it is back, and says itself what it knows */
        n->rec->forgotten = false;
        n->dirty = c->nodes_dirty = true;
    }
    n->credit = RMD_CREDIT_WINDOW_BYTES;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v))
        ((struct rmd_lease *)v)->credit_out = 0;
    free(n->hostname);
    free(n->software);
    n->hostname = rmd_strdup(h->hostname);
    n->software = rmd_strdup(h->software);
    n->connection_limit = h->connection_limit;
    n->workers = h->worker_threads;
    identify(c, n, h);
    renew(c, n);
    n->connected = false; /* what these alarms stop, Welcome leaves out; nothing is sent before it */
    for (size_t i = 0; i < h->n_alarm; i++)
        rmd_alarm_of_hello(c, n, h->alarm[i]);
    n->connected = true;
    welcome(c, n, h);
    if (fresh) {
        node_event(c, "node.connected", n, rmd_arena_printf(&c->scratch, "%s, %s", h->hostname, h->software));
    }
    for (size_t i = 0; i < h->n_alarm; i++)
        rmd_alarm_ack(c, n, h->alarm[i]->n);
    rmd_report_unlisted(c, n);
    rmd_suppress_session(c, n);
    rmd_watchers_session(c, n);
    c->sources_rev++;
    c->deal = true;
    rmd_core_wake(c, c->now.mono_ms);
}

/* ---------------------------------------------------------------- heartbeats, templates */

static void trouble(struct rmd_coord *c, struct rmd_node *n, const Remuda__Heartbeat *b) {
    for (size_t i = 0; i < b->n_source; i++) {
        struct rmd_source *s = rmd_source_find(c, b->source[i]->source);
        const char *text = b->source[i]->text;
        if (!s || s->node != n || (s->trouble ? strcmp(s->trouble, text) == 0 : !*text))
            continue;
        free(s->trouble);
        s->trouble = *text ? rmd_strndup(text, strnlen(text, 300)) : NULL;
        if (*text)
            rmd_core_warn(c, "source %s: %s", s->rec->address, s->trouble);
        else
            rmd_core_log(c, "source %s: its trouble is over", s->rec->address);
        Remuda__EventRecord *e = rmd_core_event(c, *text ? "source.trouble" : "source.mended");
        e->source = s->rec->id;
        e->node = n->rec->id;
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(s->trouble ? s->trouble : ""));
        c->deal = true;
    }
    if (!n->trouble || strcmp(n->trouble, b->trouble) != 0) {
        free(n->trouble);
        n->trouble = rmd_strndup(b->trouble, strnlen(b->trouble, 300));
        if (*n->trouble)
            rmd_core_warn(c, "node %s: %s", n->rec->name, n->trouble);
    }
}

static void heartbeat(struct rmd_coord *c, struct rmd_node *n, const Remuda__Heartbeat *b) {
    n->connections = b->connections;
    n->waiting = b->waiting;
    n->malformed_there = b->malformed_frames;
    if (b->stopping && !n->stopping)
        rmd_core_log(c, "node %s: is stopping: it gets no more leases", n->rec->name);
    n->stopping = b->stopping;
    trouble(c, n, b);
    renew(c, n);
    Remuda__Frame *f = rmd_core_send_now(c, &n->peer, REMUDA__FRAME__BODY_HEARTBEAT_ECHO);
    f->heartbeat_echo = rmd_arena_alloc(rmd_arena_now(c), sizeof *f->heartbeat_echo);
    remuda__heartbeat_echo__init(f->heartbeat_echo);
    f->heartbeat_echo->echo_mono_ms = b->node_mono_ms;
    f->heartbeat_echo->lease_valid_ms = c->o.lease_valid_ms;
    f->heartbeat_echo->ledger_time_ms = c->ledger.now_ms;
}

static void fetch(struct rmd_coord *c, struct rmd_node *n, const Remuda__Fetch *m) {
    if (m->template_hash.len != RMD_HASH_BYTES)
        return;
    struct rmd_key k = rmd_key_template(m->template_hash.data);
    struct rmd_read *r = rmd_core_get(c, RMD_READ_TEMPLATE, n, &k, 1);
    memcpy(r->hash, m->template_hash.data, RMD_HASH_BYTES);
    r->offset = m->offset;
    r->session = n->peer.session;
}

void rmd_template_got(struct rmd_coord *c, const struct rmd_read *r, const struct rmd_coord_event *e) {
    struct rmd_node *n = r->subject;
    struct rmd_slice v = e->n_rows ? e->row[0].value : rmd_slice(NULL, 0);
    if (!v.p) {
        char hash[2 * RMD_HASH_BYTES + 1];
        rmd_hex(hash, r->hash, RMD_HASH_BYTES);
        rmd_core_warn(c, "node %s asks for template %s, which isn't in the store", n->rec->name, hash);
        return;
    }
    if (!n->connected || n->peer.session != r->session || r->offset > v.n)
        return;
    Remuda__Frame *f = rmd_core_send_now(c, &n->peer, REMUDA__FRAME__BODY_TEMPLATE);
    Remuda__Template *t = f->template_ = rmd_arena_alloc(rmd_arena_now(c), sizeof *t);
    remuda__template__init(t);
    t->template_hash.data = rmd_arena_dup(rmd_arena_now(c), r->hash, RMD_HASH_BYTES);
    t->template_hash.len = RMD_HASH_BYTES;
    t->offset = r->offset;
    t->size = v.n;
    size_t left = v.n - (size_t)r->offset;
    t->data.len = left < RMD_BODY_CHUNK_BYTES ? left : RMD_BODY_CHUNK_BYTES;
    t->data.data = rmd_arena_dup(rmd_arena_now(c), v.p + r->offset, t->data.len);
}

/* An orderly end: what the node doesn't name is not there, and comes back as soon as its reports are settled. */
static void bye(struct rmd_coord *c, struct rmd_node *n, const Remuda__Bye *b) {
    rmd_membership_lost(c, n, *b->reason ? b->reason : "said goodbye");
    if (!same(&n->rec->journal_uuid, &b->journal_uuid))
        return; /* of a version that doesn't say */
    n->journal_end = b->journal_position;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct rmd_lease *l = v;
        bool mine = memcmp(l->boot, n->boot, sizeof l->boot) == 0 &&
                    memcmp(l->journal, b->journal_uuid.data, sizeof l->journal) == 0;
        bool held = l->id <= b->lease_high_water && listed(b->lease_id, b->n_lease_id, l->id);
        l->unlisted = mine && !held;
    }
    rmd_report_unlisted(c, n);
}

/* ---------------------------------------------------------------- frames */

static void session_frame(struct rmd_coord *c, struct rmd_node *n, const Remuda__Frame *f) {
    n->heard_mono_ms = c->now.mono_ms;
    if (rmd_core_choked(c) && f->body_case != REMUDA__FRAME__BODY_HEARTBEAT)
        return; /* the node repeats it */
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_HEARTBEAT:
        heartbeat(c, n, f->heartbeat);
        break;
    case REMUDA__FRAME__BODY_LEASE_ACK:
        rmd_lease_acked(c, n, f->lease_ack);
        break;
    case REMUDA__FRAME__BODY_REPORT:
        rmd_report(c, n, f->report);
        break;
    case REMUDA__FRAME__BODY_ALARM:
        rmd_alarm(c, n, f->alarm);
        break;
    case REMUDA__FRAME__BODY_RECALLED:
        rmd_recalled(c, n, f->recalled);
        break;
    case REMUDA__FRAME__BODY_SUPPRESS_ACK:
        rmd_suppress_acked(c, n, f->suppress_ack->id);
        break;
    case REMUDA__FRAME__BODY_FINDINGS:
        rmd_watchers_findings(c, n, f->findings);
        break;
    case REMUDA__FRAME__BODY_PACE:
        rmd_pace_told(c, n, f->pace);
        break;
    case REMUDA__FRAME__BODY_TLS_REPORT:
        rmd_tls_report(c, n, f->tls_report);
        break;
    case REMUDA__FRAME__BODY_FETCH:
        fetch(c, n, f->fetch);
        break;
    case REMUDA__FRAME__BODY_BYE:
        bye(c, n, f->bye);
        break;
    default: /* not for us, or of a later version */
        c->malformed++;
        n->malformed++;
        break;
    }
}

void rmd_membership_frame(struct rmd_coord *c, const struct rmd_coord_event *e) {
    struct rmd_node *n = rmd_node_by_key(c, e->peer.key);
    if (!n || n->rec->state) {
        refuse(c, &e->peer, REFUSED_KEY, n ? REVOKED : "this key is not enrolled");
        struct rmd_coord_effect *f = rmd_fx_now(c, RMD_CF_DROP);
        f->peer = e->peer;
        return;
    }
    if (e->frame->body_case == REMUDA__FRAME__BODY_HELLO) {
        hello(c, n, e);
        return;
    }
    if (!n->connected || n->peer.session != e->peer.session) {
        if (e->frame->body_case == REMUDA__FRAME__BODY_HEARTBEAT)
            refuse(c, &e->peer, 4, "this session isn't known; say Hello");
        return;
    }
    if (e->frame->epoch != rmd_core_epoch(c))
        return; /* sent to a coordinator before us; the node repeats what matters */
    session_frame(c, n, e->frame);
}

void rmd_membership_tick(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v)) {
        struct rmd_node *n = v;
        if (!n->connected)
            continue;
        if (c->now.mono_ms - n->heard_mono_ms >= c->o.heartbeat_lost_ms) {
            rmd_membership_lost(c, n, "not heard of for too long");
            continue;
        }
        rmd_core_wake(c, n->heard_mono_ms + c->o.heartbeat_lost_ms);
        rmd_recall_tick(c, n);
    }
}
