/* A small world around the coordinator's core: see coord_world.h. */
#include "tests/kit/coord_world.h"

#include <assert.h>

#include <base/text.h>

#include "coordinator/core/intake.h"
#include "coordinator/core/keys.h"
#include "proto/site.h"
#include "tests/kit/sign_fake.h"
#include "tests/kit/store_rows.h"

/* An event that waits for its turn; it owns what it points to. */
struct todo {
    struct rmd_list link;
    struct rmd_coord_event e;
    struct rmd_arena arena;
    struct rmd_coord_effect f; /* SCAN or GET, read when its turn comes */
    bool read;
};

/* Room for one more than n: doubled, since a checked build copies at every step. */
static void *grown(void *v, size_t n, size_t size) {
    return n & (n - 1) || n == 1 ? v : rmd_realloc(v, (n ? 2 * n : 2) * size);
}

static struct todo *todo_new(struct cw *w, enum rmd_coord_event_kind kind) {
    struct todo *t = rmd_alloc(sizeof *t);
    t->e.kind = kind;
    rmd_list_push(&w->queue, &t->link);
    return t;
}

static void todo_free(struct todo *t) {
    rmd_list_remove(&t->link);
    rmd_arena_release(&t->arena);
    free(t);
}

/* ---------------------------------------------------------------- nodes */

static void outcome_free(Remuda__Outcome *o) {
    remuda__outcome__free_unpacked(o, NULL);
}

static void lease_free(struct cw_lease *l) {
    for (uint32_t i = 0; i < l->n; i++)
        free(l->email[i]);
    free(l);
}

static struct cw_node *node_of(struct cw *w, const struct rmd_coord_peer *p) {
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
    struct todo *t = todo_new(w, RMD_CE_FRAME);
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
    todo_new(w, RMD_CE_MALFORMED)->e.peer = n->peer;
}

static ProtobufCBinaryData bytes(const void *p, size_t n) {
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
    h.boot_id = bytes(n->boot, sizeof n->boot);
    h.journal_uuid = bytes(n->uuid, sizeof n->uuid);
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

static void heartbeat(struct cw *w, struct cw_node *n) {
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
    r.journal_uuid = bytes(n->uuid, sizeof n->uuid);
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
    n->journal = grown(n->journal, n->n, sizeof *n->journal);
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
    r.text = bytes("said", 4);
    cw_outcome_fill(&o, RMD_OUTCOME_DELIVERED, RMD_CLASS_DELIVERED, RMD_ACTION_NONE, 0, false);
    if (w->answer)
        w->answer(w, n, l, l->email[i], &o);
    l->done[i] = true;
    for (uint32_t k = 0; k < o.rcpts; k++) {
        w->rcpt = grown(w->rcpt, w->n_rcpts, sizeof *w->rcpt);
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
        lease_free(l);
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
    r.text = bytes("Client host blocked using a list", 32);
    a.journal_uuid = bytes(n->uuid, sizeof n->uuid);
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
    m.journal_uuid = bytes(n->uuid, sizeof n->uuid);
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

static void on_frame(struct cw *w, struct cw_node *n, const Remuda__Frame *f) {
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
    struct todo *t = todo_new(w, RMD_CE_PEER_GONE);
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
            outcome_free(n->journal[i]);
        n->n = n->acked_n = n->alarm_n = n->high_water = n->fence = 0;
        memset(n->had, 0, sizeof n->had);
        for (size_t i = 0; i < n->n_leases; i++)
            lease_free(n->lease[i]);
        n->n_leases = 0;
    }
    cw_hello(w, n);
}

/* ---------------------------------------------------------------- effects */

static void on_event(struct cw *w, const Remuda__EventRecord *e) {
    w->event = grown(w->event, w->n_events, sizeof *w->event);
    memset(&w->event[w->n_events], 0, sizeof *w->event);
    rmd_copy(w->event[w->n_events].type, sizeof w->event->type, e->type);
    rmd_copy(w->event[w->n_events].recipient, sizeof w->event->recipient, e->recipient);
    rmd_copy(w->event[w->n_events].text, sizeof w->event->text, e->text);
    w->event[w->n_events].source = e->source;
    w->n_events++;
}

static void resolve(struct cw *w, const char *name) {
    struct todo *t = todo_new(w, RMD_CE_RESOLVED);
    if (w->hold_dns) {
        rmd_list_remove(&t->link);
        rmd_list_push(&w->asked, &t->link);
    }
    struct rmd_mx_answer *a = rmd_arena_alloc(&t->arena, sizeof *a);
    t->e.name = rmd_arena_str(&t->arena, rmd_slice_str(name));
    t->e.mx = a;
    a->status = RMD_DNS_NXDOMAIN;
    a->ttl_s = 300;
    for (size_t i = 0; i < w->n_domains; i++) {
        if (strcmp(w->domain[i].name, name) != 0)
            continue;
        if (strcmp(w->domain[i].mx, "nx") == 0)
            return;
        if (strcmp(w->domain[i].mx, "temp") == 0) {
            a->status = RMD_DNS_TEMPFAIL;
            rmd_copy(a->detail, sizeof a->detail, "SERVFAIL");
            return;
        }
        a->status = RMD_DNS_OK;
        a->n = 1;
        rmd_copy(a->mx[0].host, sizeof a->mx[0].host, w->domain[i].mx);
    }
}

static void commit(struct cw *w, struct rmd_coord_effect *f) {
    w->commit = grown(w->commit, w->n_commits, sizeof *w->commit);
    w->commit[w->n_commits++].tag = f->tag;
    int rc = w->store.ops->submit(w->store.s, &f->batch, w->epoch, ++w->seq);
    assert(rc == RMD_OK);
    f->batch = (struct rmd_batch){0};
}

static void read_later(struct cw *w, const struct rmd_coord_effect *f) {
    struct todo *t = todo_new(w, f->kind == RMD_CF_SCAN ? RMD_CE_SCANNED : RMD_CE_GOT);
    t->f = *f;
    t->read = true;
    t->e.tag = f->tag;
    if (f->kind == RMD_CF_SCAN) {
        t->f.scan.from = rmd_slice(rmd_arena_dup(&t->arena, f->scan.from.p, f->scan.from.n), f->scan.from.n);
        t->f.scan.to = rmd_slice(rmd_arena_dup(&t->arena, f->scan.to.p, f->scan.to.n), f->scan.to.n);
        return;
    }
    struct rmd_slice *keys = rmd_arena_alloc(&t->arena, (f->n_keys + 1) * sizeof *keys);
    for (size_t i = 0; i < f->n_keys; i++)
        keys[i] = rmd_slice(rmd_arena_dup(&t->arena, f->key[i].p, f->key[i].n), f->key[i].n);
    t->f.key = keys;
}

static void carry_out(struct cw *w, struct rmd_coord_effect *f) {
    switch (f->kind) {
    case RMD_CF_COMMIT:
        commit(w, f);
        break;
    case RMD_CF_SEND: {
        struct cw_node *n = node_of(w, &f->peer);
        if (n && !n->dead && n->peer.session == f->peer.session)
            on_frame(w, n, f->frame);
        break;
    }
    case RMD_CF_SCAN:
    case RMD_CF_GET:
        read_later(w, f);
        break;
    case RMD_CF_RESOLVE:
        resolve(w, f->name);
        break;
    case RMD_CF_REPLY:
        w->reply_token = f->token;
        w->reply_error = f->error;
        w->reply_number = f->number;
        rmd_copy(w->reply_text, sizeof w->reply_text, f->text);
        break;
    case RMD_CF_EVENT:
        on_event(w, f->event);
        break;
    case RMD_CF_LOG:
        if (w->verbose)
            fprintf(stderr, "[%lld] %s\n", (long long)w->now.mono_ms, f->text);
        break;
    case RMD_CF_DROP:
        if (node_of(w, &f->peer))
            node_of(w, &f->peer)->drops++;
        break;
    case RMD_CF_ALLOW:
        if (node_of(w, &f->peer))
            node_of(w, &f->peer)->allowed = f->on;
        break;
    }
}

static void step(struct cw *w, struct rmd_coord_event *e) {
    if (w->died)
        return;
    e->at = w->now;
    rmd_coord_effects_reset(&w->fx);
    int rc = rmd_coord_step(w->core, e, &w->fx);
    assert(rc == RMD_OK);
    for (size_t i = 0; i < w->fx.n; i++) {
        if (w->stop_at_probe >= 0 && w->fx.v[i].probe == w->stop_at_probe) {
            w->died = true;
            return;
        }
        carry_out(w, &w->fx.v[i]);
    }
}

static void do_todo(struct cw *w, struct todo *t) {
    struct kit_rows rows = {.arena = &t->arena, .key = t->f.key};
    if (t->read && t->f.kind == RMD_CF_SCAN) {
        int rc = w->store.ops->scan(w->store.s, &t->f.scan, kit_on_row, &rows);
        assert(rc == RMD_OK);
        t->e.more = rows.n >= t->f.scan.limit || (t->f.scan.max_bytes && rows.n);
    } else if (t->read) {
        int rc = w->store.ops->get_many(w->store.s, t->f.key, t->f.n_keys, kit_on_value, &rows);
        assert(rc == RMD_OK);
    }
    if (t->read) {
        t->e.row = rows.v;
        t->e.n_rows = rows.n;
    }
    struct cw_node *n = t->e.kind == RMD_CE_FRAME ? node_of(w, &t->e.peer) : NULL;
    if (!n || n->peer.session == t->e.peer.session)
        step(w, &t->e);
    free(rows.v);
    todo_free(t);
}

static bool sync_one(struct cw *w) {
    if (w->hold_commits || w->died)
        return false;
    rmd_store_fake_sync(w->disk, 1);
    struct rmd_completion done;
    if (w->store.ops->poll(w->store.s, &done, 1) != 1)
        return false;
    assert(done.error == RMD_OK);
    if (w->commits_done >= w->n_commits)
        return true;
    struct rmd_coord_event e = {.kind = RMD_CE_PERSISTED, .tag = w->commit[w->commits_done++].tag};
    step(w, &e);
    return true;
}

void cw_run(struct cw *w) {
    for (int i = 0; i < 1000000 && !w->died; i++) {
        if (!rmd_list_empty(&w->queue)) {
            do_todo(w, rmd_container(w->queue.next, struct todo, link));
        } else if (sync_one(w)) {
            continue;
        } else if (rmd_coord_deadline(w->core) <= w->now.mono_ms && i < 900000) {
            struct rmd_coord_event e = {.kind = RMD_CE_TICK};
            step(w, &e);
            if (rmd_list_empty(&w->queue) && w->commits_done == w->n_commits &&
                rmd_coord_deadline(w->core) <= w->now.mono_ms)
                w->now.mono_ms++, w->now.wall_ms++;
        } else {
            return;
        }
    }
    if (!w->died)
        fprintf(stderr, "deadline %lld now %lld\n", (long long)rmd_coord_deadline(w->core),
                (long long)w->now.mono_ms);
    assert(w->died || !"the world doesn't come to rest");
}

size_t cw_dns(struct cw *w, size_t most) {
    size_t n = 0;
    rmd_list_for_safe(it, &w->asked) {
        if (n == most)
            break;
        rmd_list_remove(it);
        rmd_list_push(&w->queue, it);
        n++;
    }
    cw_run(w);
    return n;
}

void cw_pass(struct cw *w, int64_t ms, int64_t step_ms) {
    for (int64_t end = w->now.mono_ms + ms; w->now.mono_ms < end && !w->died;) {
        int64_t next = rmd_coord_deadline(w->core), by = step_ms;
        if (next > w->now.mono_ms && next - w->now.mono_ms < by)
            by = next - w->now.mono_ms;
        if (by > end - w->now.mono_ms)
            by = end - w->now.mono_ms;
        w->now.mono_ms += by;
        w->now.wall_ms += by;
        for (size_t i = 0; i < w->n_nodes; i++) {
            struct cw_node *n = &w->node[i];
            if (n->dead || w->now.wall_ms - n->heartbeat_ms < 1000)
                continue;
            n->heartbeat_ms = w->now.wall_ms;
            if (!n->welcomed)
                cw_hello(w, n);
            else
                heartbeat(w, n);
            if (n->welcomed && n->n > n->acked_n)
                cw_report(w, n, n->acked_n + 1, n->n);
        }
        cw_run(w);
    }
}

/* ---------------------------------------------------------------- life */

static bool restore_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct cw *w = ctx;
    struct rmd_row row = {key, value};
    struct rmd_coord_event e = {.kind = RMD_CE_RESTORE, .row = &row, .n_rows = 1};
    step(w, &e);
    return true;
}

static void start(struct cw *w) {
    int rc = rmd_store_fake_open(w->disk, &w->store);
    assert(rc == RMD_OK);
    rc = w->store.ops->acquire(w->store.s, &w->epoch);
    assert(rc == RMD_OK);
    rc = w->store.ops->last_seq(w->store.s, &w->seq);
    assert(rc == RMD_OK);
    w->n_commits = w->commits_done = 0;
    w->died = false;
    w->stop_at_probe = -1;
    w->o.seed = ++w->seed;
    w->core = rmd_coord_new(&w->o, w->epoch);
    for (const char *t = "ATPSNWJYHCLGRUX"; *t; t++) {
        struct rmd_key from = rmd_key_table(*t), to = rmd_key_after(&from);
        struct rmd_scan scan = {.from = rmd_key_slice(&from), .to = rmd_key_slice(&to), .limit = 1000000};
        rc = w->store.ops->scan(w->store.s, &scan, restore_row, w);
        assert(rc == RMD_OK);
    }
    struct rmd_coord_event e = {.kind = RMD_CE_RESTORED};
    step(w, &e);
    cw_run(w);
}

static void stop(struct cw *w) {
    rmd_list_for_safe(it, &w->queue) todo_free(rmd_container(it, struct todo, link));
    rmd_list_for_safe(it, &w->asked) todo_free(rmd_container(it, struct todo, link));
    rmd_coord_free(w->core);
    rmd_coord_effects_reset(&w->fx);
    w->core = NULL;
}

void cw_crash(struct cw *w, bool reboot) {
    stop(w);
    rmd_store_fake_crash(w->disk);
    w->hold_commits = false;
    if (reboot) {
        w->o.boot_id[0]++;
        w->now.mono_ms = 5000; /* another boot, another clock */
    }
    for (size_t i = 0; i < w->n_nodes; i++) {
        w->node[i].welcomed = false;
        w->node[i].peer.session++;
    }
    start(w);
    for (size_t i = 0; i < w->n_nodes; i++) {
        if (!w->node[i].dead)
            cw_hello(w, &w->node[i]);
    }
    cw_run(w);
}

void cw_init(struct cw *w, uint64_t seed) {
    *w = (struct cw){.seed = seed, .stop_at_probe = -1};
    rmd_list_init(&w->queue);
    rmd_list_init(&w->asked);
    w->disk = rmd_store_fake_new();
    w->now = (struct rmd_time){.mono_ms = 1000000, .wall_ms = 1790000000000};
    static const char *const names[] = {"google", "yahoo", "other"};
    static char *suffix_google[] = {(char *)(uintptr_t) ".google.test"},
                *suffix_yahoo[] = {(char *)(uintptr_t) ".yahoo.test"};
    for (size_t i = 0; i < 3; i++) {
        remuda__provider_policy__init(&w->provider[i]);
        w->provider[i].id = rmd_provider_id(names[i]);
        w->provider[i].name = (char *)(uintptr_t)names[i];
        w->providers[i] = &w->provider[i];
    }
    w->provider[0].mx_suffix = suffix_google;
    w->provider[1].mx_suffix = suffix_yahoo;
    w->provider[0].n_mx_suffix = w->provider[1].n_mx_suffix = 1;
    w->o = (struct rmd_coord_options){
        .lease_valid_ms = 60000,
        .transaction_deadline_ms = 20000,
        .heartbeat_lost_ms = 5000,
        .provider = w->providers,
        .n_providers = 3,
        .smtp_port = 25,
        .sign = rmd_sign_fake(),
        .boot_id = {1},
    };
    cw_domain(w, "g.test", "mx.google.test");
    cw_domain(w, "g2.test", "mx2.google.test");
    cw_domain(w, "y.test", "mx.yahoo.test");
    cw_domain(w, "o.test", "mx.o.test");
    cw_domain(w, "gone.test", "nx");
    cw_domain(w, "null.test", "");
    cw_domain(w, "slow.test", "temp");
    start(w);
}

void cw_release(struct cw *w) {
    stop(w);
    rmd_coord_effects_release(&w->fx);
    rmd_store_fake_crash(w->disk);
    rmd_store_fake_free(w->disk);
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct cw_node *n = &w->node[i];
        for (uint64_t k = 0; k < n->n; k++)
            outcome_free(n->journal[k]);
        free(n->journal);
        for (size_t k = 0; k < n->n_leases; k++)
            lease_free(n->lease[k]);
        if (n->watch)
            remuda__watch__free_unpacked(n->watch, NULL);
        if (n->check)
            remuda__watch_check__free_unpacked(n->check, NULL);
    }
    for (size_t i = 0; i < w->n_rcpts; i++)
        free(w->rcpt[i].email);
    free(w->rcpt);
    free(w->event);
    free(w->commit);
}

void cw_domain(struct cw *w, const char *name, const char *mx) {
    size_t i = 0;
    while (i < w->n_domains && strcmp(w->domain[i].name, name) != 0)
        i++;
    assert(i < CW_DOMAINS);
    rmd_copy(w->domain[i].name, sizeof w->domain[i].name, name);
    rmd_copy(w->domain[i].mx, sizeof w->domain[i].mx, mx);
    if (i == w->n_domains)
        w->n_domains++;
}

/* Gives the command and runs; the reply's error, or RMD_EAGAIN when none came. */
int cw_command(struct cw *w, struct rmd_command *m) {
    m->token = ++w->next_token;
    if (!m->tenant)
        m->tenant = 1;
    struct rmd_coord_event e = {.kind = RMD_CE_COMMAND, .command = m};
    step(w, &e);
    cw_run(w);
    return w->reply_token == m->token ? w->reply_error : RMD_EAGAIN;
}

uint32_t cw_stream(struct cw *w, const char *name, const Remuda__StreamRecord *more) {
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    if (more)
        r = *more;
    r.name = (char *)(uintptr_t)name;
    r.pool = (char *)(uintptr_t) "main";
    if (!*r.sending_domain)
        r.sending_domain = (char *)(uintptr_t) "example.org";
    r.return_domain = (char *)(uintptr_t) "r.example.org";
    if (!r.retry_min_ms)
        r.retry_min_ms = 60000;
    if (!r.retry_max_ms)
        r.retry_max_ms = 600000;
    if (!r.node_return_wait_ms)
        r.node_return_wait_ms = 600000;
    struct rmd_command m = {.kind = RMD_CMD_STREAM_PUT, .stream_record = &r};
    int rc = cw_command(w, &m);
    assert(rc == RMD_OK);
    return (uint32_t)w->reply_number;
}

struct cw_node *cw_node_add(struct cw *w, const char *name) {
    assert(w->n_nodes < CW_NODES);
    struct cw_node *n = &w->node[w->n_nodes++];
    rmd_copy(n->name, sizeof n->name, name);
    memset(n->peer.key, (int)(w->n_nodes + 64), RMD_KEY_BYTES);
    n->peer.session = 1;
    memset(n->uuid, (int)w->n_nodes, sizeof n->uuid);
    memset(n->boot, (int)(w->n_nodes + 16), sizeof n->boot);
    n->confirm_suppress = true;
    struct rmd_command m = {.kind = RMD_CMD_NODE_ADD, .name = name};
    memcpy(m.key, n->peer.key, RMD_KEY_BYTES);
    int rc = cw_command(w, &m);
    assert(rc == RMD_OK);
    cw_hello(w, n);
    cw_run(w);
    assert(n->welcomed);
    return n;
}

uint32_t cw_source(struct cw *w, const char *address, const char *node, uint64_t lane_cap) {
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    char *pool[] = {(char *)(uintptr_t) "main"};
    r.address = (char *)(uintptr_t)address;
    r.helo = (char *)(uintptr_t) "mail.example.org";
    r.pool = pool;
    r.n_pool = 1;
    r.lane_cap_per_day = lane_cap;
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_ADD, .name = node, .source = &r};
    int rc = cw_command(w, &m);
    assert(rc == RMD_OK);
    return (uint32_t)w->reply_number;
}

/* ---------------------------------------------------------------- submissions */

enum {
    CHUNK_BYTES = 192 << 10,
    CHUNKS_A_BATCH = 200
}; /* 200 of them are 38 MiB: a batch has less than RMD_STORE_BATCH_MAX */

struct loading {
    struct cw *w;
    struct rmd_batch batch;
    struct rmd_id id;
    uint32_t chunks;
};

static uint32_t tenant_of(const struct cw *w) {
    return w->tenant ? w->tenant : 1;
}

static void put_chunk(struct loading *in, const char *domain, uint32_t group, uint32_t seq, const uint32_t *number,
                      uint32_t n, uint32_t step_by) {
    Remuda__Chunk c = REMUDA__CHUNK__INIT;
    struct rmd_arena a = {0};
    char *name = rmd_arena_str(&a, rmd_slice_str(domain));
    c.row = rmd_arena_alloc(&a, n * sizeof *c.row);
    c.address_hash = rmd_arena_alloc(&a, n * sizeof *c.address_hash);
    c.n_row = c.n_address_hash = n;
    c.domain = &name;
    c.n_domain = 1;
    for (uint32_t i = 0; i < n; i++) {
        Remuda__Row r = REMUDA__ROW__INIT;
        r.ordinal = number[i] / step_by + 1;
        r.ordinal = number[i] + 1;
        r.email = rmd_arena_printf(&a, "user%u@%s", number[i], domain);
        ProtobufCBinaryData padding = bytes(rmd_arena_alloc(&a, in->w->row_bytes + 1), in->w->row_bytes);
        r.field = &padding;
        r.n_field = padding.len ? 1 : 0;
        c.address_hash[i] = rmd_address_hash(tenant_of(in->w), rmd_slice_str(r.email));
        struct rmd_buf b = {0};
        rmd_pb_encode(&r, &b);
        c.row[i] = bytes(rmd_arena_dup(&a, b.p, b.len), b.len);
        rmd_buf_release(&b);
    }
    struct rmd_chunk_ref ref = {.campaign = in->id, .group = group, .seq = seq};
    struct rmd_key k = rmd_key_chunk(tenant_of(in->w), &ref);
    struct rmd_buf b = {0};
    rmd_pb_encode(&c, &b);
    rmd_batch_put(&in->batch, rmd_key_slice(&k), rmd_buf_slice(&b));
    rmd_buf_release(&b);
    rmd_arena_release(&a);
    in->chunks++;
}

/* Durable, without the core. */
static void store_beside(struct cw *w, struct rmd_batch *b) {
    while (sync_one(w)) {
    }
    int rc = w->store.ops->submit(w->store.s, b, w->epoch, ++w->seq);
    assert(rc == RMD_OK);
    rmd_store_fake_sync(w->disk, 1);
    struct rmd_completion done;
    rc = w->store.ops->poll(w->store.s, &done, 1);
    assert(rc == 1 && done.error == RMD_OK);
}

static void put_domain(struct loading *in, const char *domain, uint32_t at, uint32_t step_by, uint32_t n,
                       uint32_t first) {
    uint32_t number[RMD_CHUNK_ROWS_MAX], m = 0, seq = 0, group = rmd_fnv32(rmd_slice_str(domain)) & 0x7fffffff;
    uint32_t most = in->w->row_bytes ? CHUNK_BYTES / (in->w->row_bytes + 100) : RMD_CHUNK_ROWS_MAX;
    for (uint32_t i = at; i < n; i += step_by) {
        number[m++] = first + i;
        if (m == (most < RMD_CHUNK_ROWS_MAX ? most : RMD_CHUNK_ROWS_MAX)) {
            put_chunk(in, domain, group, seq++, number, m, step_by);
            m = 0;
            if (in->chunks % CHUNKS_A_BATCH == 0) /* as a long submission comes in */
                store_beside(in->w, &in->batch);
        }
    }
    if (m)
        put_chunk(in, domain, group, seq, number, m, step_by);
}

void cw_tenant(struct cw *w, uint32_t id) {
    Remuda__TenantRecord t = REMUDA__TENANT_RECORD__INIT;
    t.id = id;
    t.name = (char *)(uintptr_t) "another";
    struct rmd_key k = rmd_key_tenant(id);
    struct rmd_buf packed = {0};
    struct rmd_batch b = {0};
    rmd_pb_encode(&t, &packed);
    rmd_batch_put(&b, rmd_key_slice(&k), rmd_buf_slice(&packed));
    rmd_buf_release(&packed);
    store_beside(w, &b);
    cw_crash(w, false);
}

static struct rmd_id commit_submission(struct loading *in, const char *stream, uint32_t n, bool engagement) {
    struct cw *w = in->w;
    const Remuda__StreamRecord *s = rmd_coord_stream_by_name(w->core, tenant_of(w), stream);
    assert(s);
    Remuda__CampaignRecord r = REMUDA__CAMPAIGN_RECORD__INIT;
    if (w->schedule)
        r = *w->schedule;
    uint8_t hash[RMD_HASH_BYTES] = {w->template_id ? w->template_id : 7};
    r.id = bytes(in->id.b, sizeof in->id.b);
    r.tenant = tenant_of(w);
    r.stream = s->id;
    r.name = (char *)(uintptr_t) "test";
    r.state = RMD_CAMPAIGN_ACTIVE;
    r.rows = n;
    r.engagement = engagement;
    r.chunks = in->chunks;
    r.accepted_wall_ms = r.created_wall_ms = w->now.wall_ms;
    r.template_hash = bytes(hash, sizeof hash);
    struct rmd_key k = rmd_key_campaign(r.tenant, &in->id);
    struct rmd_buf b = {0};
    rmd_pb_encode(&r, &b);
    rmd_batch_put(&in->batch, rmd_key_slice(&k), rmd_buf_slice(&b));
    rmd_buf_release(&b);
    struct rmd_key template = rmd_key_template(hash);
    rmd_batch_put(&in->batch, rmd_key_slice(&template), rmd_slice_str("compiled"));
    store_beside(w, &in->batch);
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_ACCEPTED, .tenant = r.tenant, .campaign = &r};
    int rc = cw_command(w, &m);
    assert(w->died || rc == RMD_OK);
    return in->id;
}

struct rmd_id cw_submit(struct cw *w, const char *stream, const char *const *domains, uint32_t n, uint32_t first) {
    struct loading in = {.w = w, .id = rmd_id_make(w->now.wall_ms, (uint32_t)++w->submissions)};
    uint32_t n_domains = 0;
    while (domains[n_domains])
        n_domains++;
    for (uint32_t d = 0; d < n_domains; d++)
        put_domain(&in, domains[d], d, n_domains, n, first);
    return commit_submission(&in, stream, n, false);
}

static const char *ascii(void *ctx, struct rmd_slice domain, char out[256]) {
    (void)ctx;
    return rmd_copy_slice(out, 256, domain) ? NULL : "too long";
}

static int take_batch(void *ctx, struct rmd_batch *b) {
    struct loading *in = ctx;
    assert(!in->batch.ops); /* lists of tests are small */
    in->batch = *b;
    *b = (struct rmd_batch){0};
    return RMD_OK;
}

struct rmd_id cw_submit_csv(struct cw *w, const char *stream, const char *csv) {
    struct loading in = {.w = w, .id = rmd_id_make(w->now.wall_ms, (uint32_t)++w->submissions)};
    struct rmd_intake_options o = {.tenant = 1,
                                   .campaign = in.id,
                                   .now_wall_ms = w->now.wall_ms,
                                   .to_ascii = ascii,
                                   .batch = take_batch,
                                   .ctx = &in};
    struct rmd_intake *i = rmd_intake_new(&o);
    int rc = rmd_intake_feed(i, rmd_slice_str(csv));
    assert(rc == RMD_OK);
    rc = rmd_intake_finish(i);
    assert(rc == RMD_OK && rmd_intake_rejected(i) == 0);
    uint32_t n = (uint32_t)rmd_intake_accepted(i);
    bool engaged = rmd_intake_engaged(i);
    in.chunks = rmd_intake_chunks(i);
    rmd_intake_free(i);
    return commit_submission(&in, stream, n, engaged);
}

/* ---------------------------------------------------------------- judging */

size_t cw_events(const struct cw *w, const char *type) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_events; i++)
        n += strcmp(w->event[i].type, type) == 0;
    return n;
}

size_t cw_delivered_to(const struct cw *w, const char *email) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_rcpts; i++)
        n += w->rcpt[i].kind == RMD_OUTCOME_DELIVERED && strcmp(w->rcpt[i].email, email) == 0;
    return n;
}

struct wanted {
    const struct rmd_id *id;
    struct rmd_campaign_view view;
    bool found;
};

static void on_campaign(void *ctx, const struct rmd_campaign_view *v) {
    struct wanted *x = ctx;
    if (memcmp(v->record->id.data, x->id->b, sizeof x->id->b) != 0)
        return;
    x->view = *v;
    x->found = true;
}

const Remuda__CampaignRecord *cw_campaign(struct cw *w, const struct rmd_id *id, struct rmd_campaign_view *view) {
    struct wanted x = {.id = id};
    rmd_coord_campaigns(w->core, on_campaign, &x);
    assert(x.found);
    if (view)
        *view = x.view;
    return x.view.record;
}
