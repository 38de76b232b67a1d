/* The scripted nodes of the coordinator's world: what they hold, answer, journal and report. See coord_world.h. */
#include "tests/kit/coord_world_internal.h"

#include <assert.h>

#include <base/text.h>

#include "proto/site.h"

void cw_outcome_free(Remuda__Outcome *o) {
    remuda__outcome__free_unpacked(o, NULL);
}

void cw_lease_free(struct cw_lease *l) {
    for (uint32_t i = 0; i < l->n; i++)
        free(l->email[i]);
    free(l);
}

struct cw_node *cw_node_of(struct cw *w, const struct rmd_coord_peer *p) {
    for (size_t i = 0; i < w->n_nodes; i++) {
        if (memcmp(w->node[i].peer.key, p->key, RMD_KEY_BYTES) == 0)
            return &w->node[i];
    }
    return NULL;
}

void cw_frame(struct cw *w, struct cw_node *n, Remuda__Frame *f) {
    if (n->dead)
        return;
    f->epoch = n->epoch;
    struct todo *t = cw_todo_new(w, RMD_CE_FRAME);
    struct rmd_buf b = {0};
    rmd_frame_encode(f, &b);
    Remuda__Frame *copy;
    int rc = rmd_frame_decode(rmd_buf_slice(&b), &t->arena, &copy);
    assert(rc == RMD_OK);
    rmd_buf_release(&b);
    t->e.frame = copy;
    t->e.peer = n->peer;
}

void cw_malformed(struct cw *w, struct cw_node *n) {
    cw_todo_new(w, RMD_CE_MALFORMED)->e.peer = n->peer;
}

ProtobufCBinaryData cw_bytes(const void *p, size_t n) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)p, .len = n};
}

void cw_hello(struct cw *w, struct cw_node *n) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Hello h = REMUDA__HELLO__INIT;
    uint64_t ids[CW_LEASES];
    for (size_t i = 0; i < n->n_leases; i++)
        ids[i] = n->lease[i]->id;
    h.version_min = h.version_max = RMD_PROTOCOL_VERSION;
    h.software = (char *)(uintptr_t) "test";
    h.hostname = n->name;
    h.boot_id = cw_bytes(n->boot, sizeof n->boot);
    h.journal_uuid = cw_bytes(n->uuid, sizeof n->uuid);
    h.journal_position = n->n;
    h.reported_position = n->acked_n;
    n->fence = h.lease_high_water = n->high_water;
    h.lease_id = ids;
    h.n_lease_id = n->n_leases;
    h.epoch_seen = n->epoch;
    h.ledger_time_ms = n->ledger_ms ? n->ledger_ms + w->now.wall_ms - n->ledger_at_ms : 0;
    h.node_mono_ms = w->now.wall_ms;
    f.body_case = REMUDA__FRAME__BODY_HELLO;
    f.hello = &h;
    cw_frame(w, n, &f);
}

void cw_heartbeat(struct cw *w, struct cw_node *n) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Heartbeat h = REMUDA__HEARTBEAT__INIT;
    h.node_mono_ms = w->now.wall_ms;
    f.body_case = REMUDA__FRAME__BODY_HEARTBEAT;
    f.heartbeat = &h;
    cw_frame(w, n, &f);
}

void cw_report(struct cw *w, struct cw_node *n, uint64_t from_n, uint64_t to_n) {
    if (to_n < from_n)
        return;
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Report r = REMUDA__REPORT__INIT;
    r.journal_uuid = cw_bytes(n->uuid, sizeof n->uuid);
    r.first_n = from_n;
    r.outcome = n->journal + (from_n - 1);
    r.n_outcome = (size_t)(to_n - from_n + 1);
    f.body_case = REMUDA__FRAME__BODY_REPORT;
    f.report = &r;
    cw_frame(w, n, &f);
}

static void journal(struct cw_node *n, const Remuda__Outcome *o) {
    struct rmd_buf b = {0};
    rmd_pb_encode(o, &b);
    n->journal = cw_grown(n->journal, n->n, sizeof *n->journal);
    n->journal[n->n++] = remuda__outcome__unpack(NULL, b.len, b.p);
    rmd_buf_release(&b);
}

void cw_outcome_fill(Remuda__Outcome *o, uint32_t kind, uint32_t class, uint32_t action, unsigned scope, bool move) {
    o->kind = kind;
    o->verdict->class_ = class;
    o->verdict->action = action;
    o->verdict->scope = scope;
    o->verdict->move = move;
}

static void answer_one(struct cw *w, struct cw_node *n, struct cw_lease *l, uint32_t i) {
    Remuda__Outcome o = REMUDA__OUTCOME__INIT;
    Remuda__Verdict v = REMUDA__VERDICT__INIT;
    Remuda__Reply r = REMUDA__REPLY__INIT;
    o.lease = l->id;
    o.index = i;
    o.rcpts = 1;
    o.connection = 1;
    o.verdict = &v;
    o.reply = &r;
    r.code = 250;
    r.text = cw_bytes("said", 4);
    cw_outcome_fill(&o, RMD_OUTCOME_DELIVERED, RMD_CLASS_DELIVERED, RMD_ACTION_NONE, 0, false);
    if (w->answer)
        w->answer(w, n, l, l->email[i], &o);
    l->done[i] = true;
    for (uint32_t k = 0; k < o.rcpts; k++) {
        w->rcpt = cw_grown(w->rcpt, w->n_rcpts, sizeof *w->rcpt);
        w->rcpt[w->n_rcpts++] =
            (struct cw_rcpt){rmd_strdup(l->email[i]), l->source, l->provider, w->now.wall_ms, o.kind};
    }
    journal(n, &o);
}

static void forget_done(struct cw_node *n) {
    for (size_t i = 0; i < n->n_leases; i++) {
        struct cw_lease *l = n->lease[i];
        bool left = false;
        for (uint32_t k = 0; k < l->n; k++)
            left |= !l->done[k];
        if (left)
            continue;
        cw_lease_free(l);
        n->n_leases--; /* in the order in which they came */
        memmove(&n->lease[i], &n->lease[i + 1], (n->n_leases - i) * sizeof(struct cw_lease *));
        i--;
    }
}

void cw_answer_some(struct cw *w, struct cw_node *n, uint32_t most) {
    uint64_t from = n->n + 1;
    for (size_t i = 0; i < n->n_leases; i++) {
        for (uint32_t k = 0; k < n->lease[i]->n && most; k++) {
            if (!n->lease[i]->done[k]) {
                answer_one(w, n, n->lease[i], k);
                most--;
            }
        }
    }
    forget_done(n);
    cw_report(w, n, from, n->n);
}

void cw_answer_all(struct cw *w, struct cw_node *n) {
    cw_answer_some(w, n, UINT32_MAX);
}

void cw_give_back(struct cw *w, struct cw_node *n, bool (*which)(void *ctx, const struct cw_lease *l), void *ctx,
                  uint32_t reason) {
    uint64_t from = n->n + 1;
    for (size_t i = 0; i < n->n_leases; i++) {
        struct cw_lease *l = n->lease[i];
        for (uint32_t k = 0; k < l->n; k++) {
            if (l->done[k] || (which && !which(ctx, l)))
                continue;
            Remuda__Outcome o = REMUDA__OUTCOME__INIT;
            o.lease = l->id;
            o.index = k;
            o.kind = RMD_OUTCOME_RETURNED;
            o.returned_reason = reason;
            l->done[k] = true;
            journal(n, &o);
        }
    }
    forget_done(n);
    cw_report(w, n, from, n->n);
}

void cw_alarm(struct cw *w, struct cw_node *n, uint32_t source, uint32_t provider, const struct rmd_verdict *v,
              uint32_t stream) {
    cw_alarm_at(w, n, source, provider, v, stream, NULL);
}

uint64_t cw_site(struct cw *w, const char *domain) {
    struct rmd_mx_answer a = {.n = 1};
    rmd_copy(a.mx[0].host, sizeof a.mx[0].host, domain);
    for (size_t i = 0; i < w->n_domains; i++)
        if (strcmp(w->domain[i].name, domain) == 0)
            rmd_copy(a.mx[0].host, sizeof a.mx[0].host, w->domain[i].mx);
    return rmd_site_id(&a, domain);
}

void cw_alarm_at(struct cw *w, struct cw_node *n, uint32_t source, uint32_t provider, const struct rmd_verdict *v,
                 uint32_t stream, const char *domain) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Alarm a = REMUDA__ALARM__INIT;
    Remuda__Verdict x = REMUDA__VERDICT__INIT;
    Remuda__Reply r = REMUDA__REPLY__INIT;
    rmd_verdict_to_wire(v, &x);
    r.code = w->alarm_code ? w->alarm_code : 554;
    r.text = cw_bytes("Client host blocked using a list", 32);
    a.journal_uuid = cw_bytes(n->uuid, sizeof n->uuid);
    a.n = ++n->alarm_n;
    a.source = source;
    a.provider = provider;
    a.verdict = &x;
    a.reply = &r;
    a.age_ms = 3;
    a.stream = stream;
    a.site = domain ? cw_site(w, domain) : 0;
    a.domain = domain ? (char *)(uintptr_t)domain : a.domain;
    f.body_case = REMUDA__FRAME__BODY_ALARM;
    f.alarm = &a;
    cw_frame(w, n, &f);
}

static bool recalled(void *ctx, const struct cw_lease *l) {
    const Remuda__Recall *r = ctx;
    for (size_t i = 0; i < r->n_lease; i++) {
        if (r->lease[i] == l->id)
            return true;
    }
    if (r->n_lease)
        return false;
    if (r->campaign.len)
        return memcmp(r->campaign.data, l->campaign.b, 16) == 0;
    return r->source == l->source && (!r->provider || r->provider == l->provider);
}

static void on_recall(struct cw *w, struct cw_node *n, const Remuda__Recall *r) {
    n->recalls++;
    cw_give_back(w, n, recalled, (void *)(uintptr_t)r, r->reason);
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Recalled m = REMUDA__RECALLED__INIT;
    m.id = r->id;
    m.up_to_n = n->n;
    m.journal_uuid = cw_bytes(n->uuid, sizeof n->uuid);
    f.body_case = REMUDA__FRAME__BODY_RECALLED;
    f.recalled = &m;
    cw_frame(w, n, &f);
}

static void on_lease(struct cw *w, struct cw_node *n, const Remuda__Lease *m) {
    n->lease_bytes += protobuf_c_message_get_packed_size(&m->base);
    if (n->deaf_to_leases)
        return;
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__LeaseAck a = REMUDA__LEASE_ACK__INIT;
    assert(m->id < CW_IDS);
    bool refused = !n->had[m->id] && m->id <= n->fence;
    a.id = refused ? 0 : m->id;
    a.credit_bytes = protobuf_c_message_get_packed_size(&m->base);
    f.body_case = REMUDA__FRAME__BODY_LEASE_ACK;
    f.lease_ack = &a;
    cw_frame(w, n, &f);
    if (refused || n->had[m->id])
        return;
    n->had[m->id] = true;
    n->high_water = m->id > n->high_water ? m->id : n->high_water;
    assert(n->n_leases < CW_LEASES && m->n_row <= CW_ROWS && m->parts == 1);
    struct cw_lease *l = rmd_alloc(sizeof *l);
    l->id = m->id;
    l->source = m->source;
    l->provider = m->provider;
    l->share = m->share ? m->share->connections : 0;
    n->lane_pace = m->share ? m->share->pace_per_minute : 0;
    n->lane_hour = m->share ? m->share->pace_per_hour : 0;
    memcpy(l->campaign.b, m->campaign.data, 16);
    for (size_t i = 0; i < m->n_row; i++) {
        Remuda__Row *r = remuda__row__unpack(NULL, m->row[i].len, m->row[i].data);
        assert(r);
        l->email[l->n] = rmd_strdup(r->email);
        l->attempt[l->n++] = m->n_item ? m->item[i]->attempt : 0;
        remuda__row__free_unpacked(r, NULL);
    }
    n->lease[n->n_leases++] = l;
    if (!n->holds)
        cw_answer_all(w, n);
}

static bool not_live(void *ctx, const struct cw_lease *l) {
    const Remuda__Welcome *m = ctx;
    for (size_t i = 0; i < m->n_lease_live; i++) {
        if (m->lease_live[i] == l->id)
            return false;
    }
    return true;
}

static void on_welcome(struct cw *w, struct cw_node *n, uint64_t epoch, const Remuda__Welcome *m) {
    n->welcomed = true;
    n->epoch = epoch;
    n->valid_until_ms = m->echo_mono_ms + m->lease_valid_ms;
    n->ledger_ms = m->ledger_time_ms;
    n->ledger_at_ms = w->now.wall_ms;
    cw_report(w, n, n->acked_n + 1, n->n);
    cw_give_back(w, n, not_live, (void *)(uintptr_t)m, RMD_RETURN_EXPIRING);
    if (!n->holds)
        cw_answer_all(w, n);
}

void cw_node_frame(struct cw *w, struct cw_node *n, const Remuda__Frame *f) {
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_WELCOME:
        on_welcome(w, n, f->epoch, f->welcome);
        break;
    case REMUDA__FRAME__BODY_REFUSED:
        n->refused_code = f->refused->code;
        n->welcomed = false;
        break;
    case REMUDA__FRAME__BODY_LEASE:
        on_lease(w, n, f->lease);
        break;
    case REMUDA__FRAME__BODY_RECALL:
        on_recall(w, n, f->recall);
        break;
    case REMUDA__FRAME__BODY_POLICY:
        n->policies++;
        n->pace_percent = f->policy->n_source ? f->policy->source[0]->pace_percent : 0;
        n->stopped_sites = f->policy->n_source ? f->policy->source[0]->n_quarantined_site : 0;
        break;
    case REMUDA__FRAME__BODY_WATCH: {
        struct rmd_buf b = {0};
        rmd_pb_encode(f->watch, &b);
        if (n->watch)
            remuda__watch__free_unpacked(n->watch, NULL);
        n->watch = remuda__watch__unpack(NULL, b.len, b.p ? b.p : (const uint8_t *)"");
        n->watches++;
        rmd_buf_release(&b);
        break;
    }
    case REMUDA__FRAME__BODY_WATCH_CHECK: {
        struct rmd_buf b = {0};
        rmd_pb_encode(f->watch_check, &b);
        if (n->check)
            remuda__watch_check__free_unpacked(n->check, NULL);
        n->check = remuda__watch_check__unpack(NULL, b.len, b.p);
        n->checks++;
        rmd_buf_release(&b);
        break;
    }
    case REMUDA__FRAME__BODY_FINDINGS_ACK:
        n->findings_acked = f->findings_ack->n;
        break;
    case REMUDA__FRAME__BODY_REPORT_ACK:
        if (f->report_ack->up_to_n > n->acked_n)
            n->acked_n = f->report_ack->up_to_n;
        break;
    case REMUDA__FRAME__BODY_ALARM_ACK:
        n->alarms_acked += f->alarm_ack->n_n;
        break;
    case REMUDA__FRAME__BODY_HEARTBEAT_ECHO:
        n->valid_until_ms = f->heartbeat_echo->echo_mono_ms + f->heartbeat_echo->lease_valid_ms;
        n->ledger_ms = f->heartbeat_echo->ledger_time_ms;
        n->ledger_at_ms = w->now.wall_ms;
        break;
    case REMUDA__FRAME__BODY_SUPPRESS: {
        n->suppresses++;
        n->last_suppress = f->suppress->id;
        if (!n->confirm_suppress)
            break;
        Remuda__Frame g = REMUDA__FRAME__INIT;
        Remuda__SuppressAck a = REMUDA__SUPPRESS_ACK__INIT;
        a.id = f->suppress->id;
        g.body_case = REMUDA__FRAME__BODY_SUPPRESS_ACK;
        g.suppress_ack = &a;
        cw_frame(w, n, &g);
        break;
    }
    default:
        break;
    }
}

void cw_kill_node(struct cw *w, struct cw_node *n) {
    n->dead = true;
    n->welcomed = false;
    struct todo *t = cw_todo_new(w, RMD_CE_PEER_GONE);
    t->e.peer = n->peer;
}

void cw_revive_node(struct cw *w, struct cw_node *n, bool new_boot, bool new_journal) {
    n->dead = false;
    n->peer.session++;
    if (new_boot)
        n->boot[0]++;
    if (new_journal) {
        n->uuid[0]++;
        for (uint64_t i = 0; i < n->n; i++)
            cw_outcome_free(n->journal[i]);
        n->n = n->acked_n = n->alarm_n = n->high_water = n->fence = 0;
        memset(n->had, 0, sizeof n->had);
        for (size_t i = 0; i < n->n_leases; i++)
            cw_lease_free(n->lease[i]);
        n->n_leases = 0;
    }
    cw_hello(w, n);
}
