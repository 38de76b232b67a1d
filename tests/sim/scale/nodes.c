/* Stand-ins for nodes and for the receivers behind them, and what they count.
 *
 * A lease's messages go out at the lane's pace and are reported by the hundred. What a receiver says to a recipient
 * follows from its number alone. The counts of RCPTs are kept by five minutes for each lane, source and network: their
 * sum is never more than what went out in the last 24 hours, so one above a cap is a broken promise. */
#include "proto/rules.h"
#include "tests/sim/scale/scale.h"

enum { BLOCK_MS = 6 * SC_HOUR };
/* Of a lease's rows: tried before, and more than once. */
static const uint32_t TRIED = 1u << 31, AGAIN = 1u << 30;

void sc_broken(struct sc *s, const char *fmt, ...) {
    if (*s->broken)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->broken, sizeof s->broken, fmt, ap);
    va_end(ap);
}

static ProtobufCBinaryData bytes(const void *p, size_t n) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)p, .len = n};
}

static uint32_t provider_index(const struct sc *s, uint32_t id) {
    for (uint32_t i = 0; i < SC_PROVIDERS; i++)
        if (s->policy[i].id == id)
            return i;
    return SC_PROVIDERS - 1;
}

/* ---------------------------------------------------------------- what receivers say */

enum answer { ACCEPTS, GREYLISTS, SLOWS, FULL, REFUSES, UNKNOWN, ANSWERS };

static enum answer answer_to(const struct sc *s, uint32_t campaign, uint32_t ordinal, uint32_t before) {
    uint64_t x = rmd_mix64(((uint64_t)campaign << 32 | ordinal) ^ s->seed << 20) % 10000;
    if (before)
        return !(before & AGAIN) && x % 50 == 7 ? FULL : ACCEPTS;
    return x < 200 ? GREYLISTS : x < 250 ? SLOWS : x < 280 ? FULL : x < 310 ? REFUSES : x < 315 ? UNKNOWN : ACCEPTS;
}

struct words {
    uint32_t kind, code, class, action;
    unsigned scope;
    const char *enhanced, *text;
};
static const struct words words[ANSWERS] = {
    [ACCEPTS] = {RMD_OUTCOME_DELIVERED, 250, RMD_CLASS_DELIVERED, RMD_ACTION_NONE, 0, "2.0.0", "OK"},
    [GREYLISTS] = {RMD_OUTCOME_DEFERRED, 450, RMD_CLASS_GREYLISTED, RMD_ACTION_RETRY_SAME, RMD_SCOPE_RECIPIENT,
                   "4.2.0", "greylisted, come again"},
    [SLOWS] = {RMD_OUTCOME_DEFERRED, 421, RMD_CLASS_RATE_LIMITED, RMD_ACTION_SLOW, RMD_SCOPE_LANE, "4.7.0",
               "too fast, try again later"},
    [FULL] = {RMD_OUTCOME_DEFERRED, 452, RMD_CLASS_MAILBOX_FULL, RMD_ACTION_RETRY, RMD_SCOPE_RECIPIENT, "4.2.2",
              "mailbox full"},
    [REFUSES] = {RMD_OUTCOME_BOUNCED, 550, RMD_CLASS_POLICY, RMD_ACTION_FAIL, RMD_SCOPE_RECIPIENT, "5.7.1",
                 "not wanted here"},
    [UNKNOWN] = {RMD_OUTCOME_BOUNCED, 550, RMD_CLASS_USER_UNKNOWN, RMD_ACTION_SUPPRESS, RMD_SCOPE_RECIPIENT, "5.1.1",
                 "user unknown"},
};

static Remuda__Verdict verdict[ANSWERS];
static Remuda__Reply reply[ANSWERS];
static Remuda__Outcome outcome[RMD_CHUNK_ROWS_MAX], *outcomes[RMD_CHUNK_ROWS_MAX];

static void prepare(void) {
    if (outcomes[0])
        return;
    for (int i = 0; i < ANSWERS; i++) {
        const struct words *w = &words[i];
        remuda__verdict__init(&verdict[i]);
        remuda__reply__init(&reply[i]);
        verdict[i].class_ = w->class;
        verdict[i].action = w->action;
        verdict[i].scope = w->scope;
        verdict[i].at_provider = true;
        verdict[i].permanent = w->kind == RMD_OUTCOME_BOUNCED;
        verdict[i].duration_ms = i == SLOWS ? SC_MINUTE : i == GREYLISTS ? 5 * SC_MINUTE : 0;
        verdict[i].rule = (char *)(uintptr_t) "scale";
        reply[i].code = w->code;
        reply[i].enhanced = (char *)(uintptr_t)w->enhanced;
        reply[i].text = bytes(w->text, strlen(w->text));
        reply[i].stage = RMD_STAGE_RCPT;
        reply[i].mx_host = (char *)(uintptr_t) "mx.example";
        reply[i].mx_addr = (char *)(uintptr_t) "198.51.100.1";
    }
    for (int i = 0; i < RMD_CHUNK_ROWS_MAX; i++) {
        remuda__outcome__init(&outcome[i]);
        outcomes[i] = &outcome[i];
    }
}

/* ---------------------------------------------------------------- caps, as nodes count them */

static void count_rcpts(struct sc *s, struct sc_lane *l, uint32_t n, uint64_t cap, const char *what, uint32_t which) {
    l->bucket[s->bucket % SC_BUCKETS] = (uint16_t)(l->bucket[s->bucket % SC_BUCKETS] + n);
    l->day += n;
    if (l->day > cap)
        sc_broken(s, "a cap is never exceeded: %s of source %u had %u RCPTs in 24 hours, its cap is %llu", what,
                  which, l->day, (unsigned long long)cap);
}

static void count(struct sc *s, const struct sc_lease *l, uint32_t n) {
    struct sc_source *x = &s->source[l->source];
    count_rcpts(s, &x->lane[l->provider], n, sc_lane_cap(s, x, l->provider), "a lane", l->source);
    count_rcpts(s, &x->all, n, sc_source_cap(s, x), "all lanes", l->source);
    uint32_t *day = &s->network_day[l->provider][x->node];
    uint16_t *bucket = &s->network_bucket[l->provider][(size_t)x->node * SC_BUCKETS + s->bucket % SC_BUCKETS];
    *bucket = (uint16_t)(*bucket + n);
    *day += n;
    if (*day > sc_network_cap(s))
        sc_broken(s, "a cap is never exceeded: network of node %u had %u RCPTs in 24 hours at a provider", x->node,
                  *day);
    s->count.rcpts += n;
}

static void lane_ages(struct sc_lane *l, uint32_t slot) {
    l->day -= l->bucket[slot];
    l->bucket[slot] = 0;
}

void sc_bucket(struct sc *s) {
    uint32_t slot = ++s->bucket % SC_BUCKETS;
    for (uint32_t i = 0; i < s->n_sources; i++) {
        lane_ages(&s->source[i].all, slot);
        for (uint32_t p = 0; p < SC_PROVIDERS; p++)
            lane_ages(&s->source[i].lane[p], slot);
    }
    for (uint32_t p = 0; p < SC_PROVIDERS; p++)
        for (uint32_t i = 0; i < s->n_nodes; i++) {
            uint16_t *b = &s->network_bucket[p][(size_t)i * SC_BUCKETS + slot];
            s->network_day[p][i] -= *b;
            *b = 0;
        }
}

/* ---------------------------------------------------------------- leases */

static uint32_t ordinal_of(struct rmd_slice row) {
    uint32_t v = 0;
    if (row.n && *row.p++ == 1 << 3)
        for (unsigned shift = 0;; shift += 7) {
            uint8_t b = *row.p++;
            v |= (uint32_t)(b & 0x7f) << shift;
            if (!(b & 0x80))
                break;
        }
    return v;
}

static void next_part(struct sc *s, struct sc_lease *l, int64_t from) {
    uint32_t left = l->n - l->done, n = left < SC_ROWS_A_REPORT ? left : SC_ROWS_A_REPORT;
    sc_due_add(
        s, (struct sc_due){.at = from + n * l->gap_ms, .kind = SC_DUE_PART, .a = n, .b = l->generation, .lease = l});
}

static struct sc_lease *lease_new(struct sc *s) {
    if (rmd_list_empty(&s->spare))
        return pool_take(sizeof(struct sc_lease));
    struct rmd_list *at = s->spare.next;
    rmd_list_remove(at);
    return rmd_container(at, struct sc_lease, link);
}

static void on_lease(struct sc *s, struct sc_node *n, const Remuda__Lease *m) {
    struct sc_lease *l = lease_new(s);
    l->id = m->id;
    l->source = m->source < s->n_source_index ? s->source_index[m->source] : 0;
    l->provider = provider_index(s, m->provider);
    l->campaign = rmd_get_be32(m->campaign.data + 6);
    l->n = (uint32_t)m->n_row;
    l->done = 0;
    l->gap_ms = SC_MINUTE / SC_MINUTE_RATE;
    for (uint32_t i = 0; i < l->n; i++) {
        l->ordinal[i] = ordinal_of(rmd_slice(m->row[i].data, m->row[i].len));
        if (m->n_item && m->item[i]->attempt)
            l->ordinal[i] |= TRIED | (m->item[i]->attempt > 1 ? AGAIN : 0);
    }
    if (&s->node[s->source[l->source].node] != n)
        sc_broken(s, "a lease of source %u went to another node", m->source);
    rmd_list_push(&n->leases, &l->link);
    struct sc_lane *lane = &s->source[l->source].lane[l->provider];
    int64_t from = lane->free_at > s->now.wall_ms ? lane->free_at : s->now.wall_ms;
    lane->free_at = from + l->n * l->gap_ms;
    next_part(s, l, from);
    s->count.leases++;
    s->count.leased += l->n;
    struct sc_todo *t = sc_todo(s, SC_TODO_ACK);
    t->node = (uint32_t)(n - s->node);
    t->id = m->id;
    t->bytes = protobuf_c_message_get_packed_size(&m->base);
}

/* Leases are used again, never anything else: what is due for one that ended finds another generation. */
static void lease_free(struct sc *s, struct sc_lease *l) {
    rmd_list_remove(&l->link);
    l->generation++;
    rmd_list_push(&s->spare, &l->link);
}

static void report(struct sc *s, struct sc_node *n, uint32_t outcomes_n) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Report r = REMUDA__REPORT__INIT;
    r.journal_uuid = bytes(n->uuid, sizeof n->uuid);
    r.first_n = n->n + 1;
    r.outcome = outcomes;
    r.n_outcome = outcomes_n;
    n->n += outcomes_n;
    f.body_case = REMUDA__FRAME__BODY_REPORT;
    f.report = &r;
    s->count.reports++;
    sc_frame_in(s, n, &f, SC_COST_REPORT);
}

static void accept_one(struct sc *s, uint32_t campaign, uint32_t ordinal) {
    struct sc_campaign *k = &s->campaign[campaign];
    uint64_t bit = UINT64_C(1) << (ordinal & 63);
    if (!k->open || ordinal > k->rows) {
        sc_broken(s, "row %u of campaign %u was sent after it was settled, or never was", ordinal, campaign);
        return;
    }
    if (k->accepted[ordinal >> 6] & bit)
        sc_broken(s, "row %u of campaign %u was accepted twice", ordinal, campaign);
    k->accepted[ordinal >> 6] |= bit;
    s->accepted++;
}

void sc_part(struct sc *s, const struct sc_due *d) {
    struct sc_lease *l = d->lease;
    if (l->generation != d->b)
        return;
    struct sc_node *n = &s->node[s->source[l->source].node];
    prepare();
    for (uint32_t i = 0; i < d->a; i++) {
        uint32_t row = l->done + i, ordinal = l->ordinal[row] & ~(TRIED | AGAIN);
        enum answer a = answer_to(s, l->campaign, ordinal, l->ordinal[row] & (TRIED | AGAIN));
        Remuda__Outcome *o = &outcome[i];
        o->lease = l->id;
        o->index = row;
        o->kind = words[a].kind;
        o->rcpts = 1;
        o->reply = &reply[a];
        o->verdict = &verdict[a];
        o->returned_reason = 0;
        o->took_ms = 120;
        o->tls = true;
        o->wall_ms = s->now.wall_ms;
        s->count.deferred += o->kind == RMD_OUTCOME_DEFERRED;
        if (a == ACCEPTS)
            accept_one(s, l->campaign, ordinal);
    }
    count(s, l, d->a);
    l->done += d->a;
    if (l->done < l->n)
        next_part(s, l, s->now.wall_ms);
    else
        lease_free(s, l);
    report(s, n, d->a);
}

static bool wanted(const struct sc *s, const Remuda__Recall *r, const struct sc_lease *l) {
    for (size_t i = 0; i < r->n_lease; i++)
        if (r->lease[i] == l->id)
            return true;
    if (r->n_lease)
        return false;
    if (r->campaign.len)
        return rmd_get_be32(r->campaign.data + 6) == l->campaign;
    return r->source == s->source[l->source].id && (!r->provider || r->provider == s->policy[l->provider].id);
}

/* Gives back what has not been tried. */
static void give_back(struct sc *s, struct sc_node *n, struct sc_lease *l, uint32_t reason) {
    uint32_t m = 0;
    prepare();
    for (uint32_t row = l->done; row < l->n; row++) {
        Remuda__Outcome *o = &outcome[m++];
        o->lease = l->id;
        o->index = row;
        o->kind = RMD_OUTCOME_RETURNED;
        o->rcpts = 0;
        o->reply = NULL;
        o->verdict = NULL;
        o->returned_reason = reason;
    }
    struct sc_lane *lane = &s->source[l->source].lane[l->provider];
    lane->free_at -= m * l->gap_ms;
    s->count.returned += m;
    lease_free(s, l);
    report(s, n, m);
}

void sc_recall(struct sc *s, struct sc_node *n, const Remuda__Recall *r) {
    s->count.recalls++;
    rmd_list_for_safe(it, &n->leases) {
        struct sc_lease *l = rmd_container(it, struct sc_lease, link);
        if (wanted(s, r, l))
            give_back(s, n, l, r->reason);
    }
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Recalled m = REMUDA__RECALLED__INIT;
    m.id = r->id;
    m.up_to_n = n->n;
    m.journal_uuid = bytes(n->uuid, sizeof n->uuid);
    f.body_case = REMUDA__FRAME__BODY_RECALLED;
    f.recalled = &m;
    sc_frame_in(s, n, &f, SC_COST_FRAME);
}

/* A receiver blocks some source at some provider: its node stops the lane, says so, and gives its work back. */
void sc_alarm(struct sc *s) {
    struct sc_source *x = &s->source[rmd_rng_below(&s->rng, s->n_sources)];
    uint32_t p = (uint32_t)rmd_rng_below(&s->rng, 4);
    struct sc_node *n = &s->node[x->node];
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Alarm a = REMUDA__ALARM__INIT;
    Remuda__Verdict v = REMUDA__VERDICT__INIT;
    Remuda__Reply r = REMUDA__REPLY__INIT;
    v.class_ = RMD_CLASS_IP_BLOCKLISTED;
    v.scope = RMD_SCOPE_SOURCE;
    v.at_provider = true;
    v.action = RMD_ACTION_QUARANTINE;
    v.duration_ms = BLOCK_MS;
    v.move = true;
    v.rule = (char *)(uintptr_t) "scale";
    r.code = 554;
    r.enhanced = (char *)(uintptr_t) "5.7.1";
    r.text = bytes("Client host blocked using a private list", 40);
    a.journal_uuid = bytes(n->uuid, sizeof n->uuid);
    a.n = ++n->alarms;
    a.source = x->id;
    a.provider = s->policy[p].id;
    a.verdict = &v;
    a.reply = &r;
    a.stream = s->stream_id[1];
    f.body_case = REMUDA__FRAME__BODY_ALARM;
    f.alarm = &a;
    s->count.alarms++;
    sc_frame_in(s, n, &f, SC_COST_FRAME);
}

/* ---------------------------------------------------------------- frames */

void sc_hello(struct sc *s, struct sc_node *n) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Hello h = REMUDA__HELLO__INIT;
    h.version_min = h.version_max = RMD_PROTOCOL_VERSION;
    h.software = (char *)(uintptr_t) "stand-in";
    h.hostname = n->name;
    h.boot_id = bytes(n->boot, sizeof n->boot);
    h.journal_uuid = bytes(n->uuid, sizeof n->uuid);
    h.node_mono_ms = s->now.wall_ms;
    f.body_case = REMUDA__FRAME__BODY_HELLO;
    f.hello = &h;
    sc_frame_in(s, n, &f, SC_COST_FRAME);
    sc_settle_down(s);
}

void sc_heartbeat(struct sc *s, struct sc_node *n) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__Heartbeat h = REMUDA__HEARTBEAT__INIT;
    h.node_mono_ms = s->now.wall_ms;
    f.body_case = REMUDA__FRAME__BODY_HEARTBEAT;
    f.heartbeat = &h;
    sc_frame_in(s, n, &f, SC_COST_FRAME);
}

void sc_ack(struct sc *s, const struct sc_todo *t) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__LeaseAck a = REMUDA__LEASE_ACK__INIT;
    a.id = t->id;
    a.credit_bytes = t->bytes;
    f.body_case = REMUDA__FRAME__BODY_LEASE_ACK;
    f.lease_ack = &a;
    sc_frame_in(s, &s->node[t->node], &f, SC_COST_FRAME);
}

void sc_suppressed(struct sc *s, const struct sc_todo *t) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    Remuda__SuppressAck a = REMUDA__SUPPRESS_ACK__INIT;
    a.id = t->id;
    f.body_case = REMUDA__FRAME__BODY_SUPPRESS_ACK;
    f.suppress_ack = &a;
    sc_frame_in(s, &s->node[t->node], &f, SC_COST_FRAME);
}

void sc_frame(struct sc *s, struct sc_node *n, const Remuda__Frame *f) {
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_WELCOME:
        n->welcomed = true;
        n->epoch = f->epoch;
        break;
    case REMUDA__FRAME__BODY_LEASE:
        on_lease(s, n, f->lease);
        break;
    case REMUDA__FRAME__BODY_RECALL: {
        struct sc_todo *t = sc_todo(s, SC_TODO_RECALL);
        struct rmd_buf b = {0};
        rmd_pb_encode(f->recall, &b);
        t->node = (uint32_t)(n - s->node);
        t->recall = rmd_pb_decode(&remuda__recall__descriptor, rmd_buf_slice(&b), &t->arena);
        rmd_buf_release(&b);
        break;
    }
    case REMUDA__FRAME__BODY_SUPPRESS: {
        struct sc_todo *t = sc_todo(s, SC_TODO_SUPPRESSED);
        t->node = (uint32_t)(n - s->node);
        t->id = f->suppress->id;
        break;
    }
    case REMUDA__FRAME__BODY_REFUSED:
        sc_broken(s, "node %s was refused: %s", n->name, f->refused->reason);
        break;
    default: /* acknowledgements, policies */
        break;
    }
}

/* ---------------------------------------------------------------- what the core says was settled */

static void settle(struct sc *s, const Remuda__EventRecord *e, bool delivered) {
    struct rmd_id id;
    memcpy(id.b, e->message.data, sizeof id.b);
    uint32_t campaign = rmd_get_be32(id.b + 6), ordinal = (uint32_t)rmd_id_ordinal(&id);
    struct sc_campaign *k = campaign < s->n_campaigns ? &s->campaign[campaign] : NULL;
    if (!k || !k->open || ordinal > k->rows) {
        sc_broken(s, "row %u of campaign %u: \"%s\" after the campaign's end", ordinal, campaign, e->type);
        return;
    }
    uint64_t bit = UINT64_C(1) << (ordinal & 63);
    if (k->seen[ordinal >> 6] & bit)
        sc_broken(s, "row %u of campaign %u was settled twice", ordinal, campaign);
    if (delivered != !!(k->accepted[ordinal >> 6] & bit))
        sc_broken(s, "row %u of campaign %u was settled as %s, which isn't what the receiver did", ordinal, campaign,
                  e->type);
    k->seen[ordinal >> 6] |= bit;
    s->settled++;
    if (++k->settled < k->rows)
        return;
    pool_give(k->accepted, (k->rows / 64 + 1) * 8);
    pool_give(k->seen, (k->rows / 64 + 1) * 8);
    k->accepted = k->seen = NULL;
    k->open = false;
    s->last_ms = s->now.wall_ms;
}

void sc_event(struct sc *s, const Remuda__EventRecord *e) {
    if (e->message.len != sizeof(struct rmd_id))
        return;
    if (strcmp(e->type, "delivered") == 0) {
        s->count.delivered++;
        settle(s, e, true);
    } else if (strcmp(e->type, "bounced") == 0) {
        s->count.bounced++;
        settle(s, e, false);
    } else if (strcmp(e->type, "suppressed") == 0) {
        s->count.suppressed++;
        settle(s, e, false);
    } else if (strcmp(e->type, "expired") == 0) {
        s->count.expired++;
        settle(s, e, false);
    }
}
