/* A node's host: the real core and workers, with a journal, mailboxes, and a way to die at any effect. What node/io
 * does in production, here in one thread: the journal's part of a step first and in one piece, then the rest in
 * order. Mailboxes between core and workers keep their order, and which of them is served next is a throw of the
 * dice. */
#include "tests/sim/sim.h"

enum item_kind { ITEM_MAIL, ITEM_OUTCOME, ITEM_ALARM };
struct sim_item {
    struct sim_item *next;
    enum item_kind kind;
    uint32_t worker;
    uint64_t n;
    struct rmd_mail mail;
    struct rmd_buf bytes, skip, text;
};

static uint32_t number(const struct sim *s, const struct sim_node *nd) {
    return (uint32_t)(nd - s->node);
}

/* ---- mailboxes */

static struct sim_item *push(struct sim_node *nd, uint32_t to, enum item_kind kind) {
    struct sim_item *i = rmd_alloc(sizeof *i);
    i->kind = kind;
    if (nd->tail[to])
        nd->tail[to]->next = i;
    else
        nd->head[to] = i;
    nd->tail[to] = i;
    return i;
}

static void push_mail(struct sim_node *nd, uint32_t to, uint32_t from, const struct rmd_mail *m) {
    struct sim_item *i = push(nd, to, ITEM_MAIL);
    i->worker = from;
    i->mail = *m;
    rmd_buf_add(&i->bytes, m->bytes.p, m->bytes.n);
    rmd_buf_add(&i->skip, m->skip.p, m->skip.n);
    if (m->text)
        rmd_buf_addstr(&i->text, m->text);
    i->mail.bytes = rmd_buf_slice(&i->bytes);
    i->mail.skip = rmd_buf_slice(&i->skip);
    i->mail.text = m->text ? rmd_buf_str(&i->text) : NULL;
}

static void item_free(struct sim_item *i) {
    rmd_buf_release(&i->bytes);
    rmd_buf_release(&i->skip);
    rmd_buf_release(&i->text);
    free(i);
}

static struct sim_item *pop(struct sim *s, struct sim_node *nd, uint32_t *from) {
    uint32_t full[1 + SIM_WORKERS], n = 0;
    for (uint32_t q = 0; q <= nd->workers; q++)
        if (nd->head[q])
            full[n++] = q;
    if (!n)
        return NULL;
    *from = full[n > 1 ? sim_below(s, n) : 0];
    struct sim_item *i = nd->head[*from];
    nd->head[*from] = i->next;
    if (!i->next)
        nd->tail[*from] = NULL;
    return i;
}

/* false: the process dies here. */
static bool lives(struct sim_node *nd) {
    if (nd->dying)
        return false;
    if (nd->crash_in >= 0 && nd->crash_in-- == 0)
        nd->dying = true;
    return !nd->dying;
}

/* ---- the core's effects */

static void on_synced(struct sim *s, struct sim_event *e);
static void on_looked_up(struct sim *s, struct sim_event *e);

static bool core_record(const struct rmd_node_effect *x, struct rmd_journal_record *r, struct rmd_buf *outcome) {
    *r = (struct rmd_journal_record){
        .lease = x->lease, .index = x->part, .n = x->n, .hash = x->hash, .bytes = x->bytes};
    switch (x->kind) {
    case RMD_NF_JOURNAL_LEASE:
        r->kind = RMD_JR_LEASE;
        return true;
    case RMD_NF_JOURNAL_TEMPLATE:
        r->kind = RMD_JR_TEMPLATE;
        return true;
    case RMD_NF_JOURNAL_TEMPLATE_DROP:
        r->kind = RMD_JR_TEMPLATE_DROP;
        return true;
    case RMD_NF_JOURNAL_DROP:
        r->kind = RMD_JR_LEASE_DROP;
        return true;
    case RMD_NF_JOURNAL_ACKED:
        r->kind = RMD_JR_ACKED;
        return true;
    case RMD_NF_JOURNAL_ALARM_ACKED:
        r->kind = RMD_JR_ALARM_ACKED;
        return true;
    case RMD_NF_JOURNAL_OUTCOME:
        r->kind = RMD_JR_OUTCOME;
        rmd_buf_clear(outcome);
        rmd_pb_encode(x->outcome, outcome);
        r->lease = x->outcome->lease;
        r->index = x->outcome->index;
        r->bytes = rmd_buf_slice(outcome);
        return true;
    default:
        return false;
    }
}

/* All of it or nothing; the crash comes before or behind it. */
static bool core_journal(struct sim_node *nd) {
    struct rmd_buf outcome = {0};
    bool any = false;
    for (size_t i = 0; i < nd->fx.n; i++) {
        struct rmd_journal_record r;
        if (!core_record(&nd->fx.v[i], &r, &outcome))
            continue;
        if (!any && !lives(nd))
            break;
        any = true;
        sim_journal_append(nd->journal, &r, 1);
        if (r.kind != RMD_JR_OUTCOME)
            continue;
        struct sim_item *it = push(nd, 0, ITEM_OUTCOME);
        it->n = r.n;
        rmd_buf_add(&it->bytes, r.bytes.p, r.bytes.n);
    }
    rmd_buf_release(&outcome);
    return !nd->dying;
}

static void core_effect(struct sim *s, struct sim_node *nd, const struct rmd_node_effect *x) {
    switch (x->kind) {
    case RMD_NF_SEND:
        sim_net_to_coord(s, number(s, nd), x->frame);
        break;
    case RMD_NF_MAIL:
        push_mail(nd, 1 + x->worker, 0, &x->mail);
        break;
    case RMD_NF_SYNC: {
        struct sim_event *e = sim_at(s, sim_between(s, 1, 8), on_synced, number(s, nd), nd->gen, x->token);
        e->p = (void *)(uintptr_t)sim_journal_position(nd->journal);
        break;
    }
    case RMD_NF_LOOKUP: {
        struct sim_event *e = sim_at(s, 1 + (int64_t)(rmd_mix64(x->token ^ (uint64_t)s->now_ms) % 60), on_looked_up,
                                     number(s, nd), nd->gen, x->token);
        e->p = (void *)(uintptr_t)x->txt;
        rmd_buf_addstr(&e->bytes, x->text);
        break;
    }
    case RMD_NF_STOPPED:
        nd->stopping = true; /* ended in good order */
        nd->dying = true;
        break;
    case RMD_NF_LOG:
        sim_say(s, "%s: %s", nd->name, x->text);
        break;
    default: /* the journal's, done; no operator's rules here */
        break;
    }
}

static void core_step(struct sim *s, struct sim_node *nd, struct rmd_node_event *e) {
    e->at = sim_time(s, &nd->clock);
    rmd_node_effects_reset(&nd->fx);
    if (rmd_node_step(nd->core, e, &nd->fx) != RMD_OK) {
        sim_broken(s, "cores never fail", "%s: node core's step %d failed", nd->name, (int)e->kind);
        return;
    }
    if (!core_journal(nd))
        return;
    for (size_t i = 0; i < nd->fx.n; i++) {
        struct rmd_journal_record r;
        if (nd->fx.v[i].kind == RMD_NF_JOURNAL_OUTCOME || core_record(&nd->fx.v[i], &r, NULL))
            continue;
        if (!lives(nd))
            return;
        core_effect(s, nd, &nd->fx.v[i]);
    }
}

/* ---- a worker's effects */

static void on_name(struct sim *s, struct sim_event *e);

static bool worker_journal(struct sim_node *nd) {
    struct rmd_buf b = {0};
    bool any = false;
    for (size_t i = 0; i < nd->wfx.n; i++) {
        const struct rmd_worker_effect *x = &nd->wfx.v[i];
        struct rmd_journal_record r = {
            .kind = RMD_JR_MARK, .lease = x->lease, .index = x->index, .mark = (uint8_t)x->mark};
        if (x->kind != RMD_WF_MARK && x->kind != RMD_WF_OUTCOME && x->kind != RMD_WF_ALARM)
            continue;
        if (!any && !lives(nd))
            break;
        any = true;
        rmd_buf_clear(&b);
        if (x->kind == RMD_WF_OUTCOME) {
            rmd_pb_encode(x->outcome, &b);
            r = (struct rmd_journal_record){
                .kind = RMD_JR_OUTCOME, .lease = x->outcome->lease, .index = x->outcome->index};
        } else if (x->kind == RMD_WF_ALARM) {
            rmd_pb_encode(x->alarm, &b);
            r = (struct rmd_journal_record){.kind = RMD_JR_ALARM};
        }
        r.bytes = rmd_buf_slice(&b);
        sim_journal_append(nd->journal, &r, 1);
        if (x->kind == RMD_WF_MARK)
            continue;
        struct sim_item *it = push(nd, 0, x->kind == RMD_WF_OUTCOME ? ITEM_OUTCOME : ITEM_ALARM);
        it->n = r.n;
        rmd_buf_add(&it->bytes, b.p, b.len);
    }
    rmd_buf_release(&b);
    return !nd->dying;
}

static void worker_effect(struct sim *s, struct sim_node *nd, uint32_t w, const struct rmd_worker_effect *x) {
    struct sim_conn *c;
    switch (x->kind) {
    case RMD_WF_MX:
    case RMD_WF_ADDR: {
        struct sim_event *e = sim_at(s, sim_between(s, 1, 60), on_name, number(s, nd), nd->gen, w);
        e->p = (void *)(uintptr_t)(x->kind == RMD_WF_MX);
        rmd_buf_addstr(&e->bytes, x->name);
        break;
    }
    case RMD_WF_DIAL:
        sim_smtp_dial(s, number(s, nd), w, x);
        break;
    case RMD_WF_SEND:
        if ((c = sim_smtp_conn(s, number(s, nd), w, x->conn)))
            sim_smtp_send(s, c, x);
        break;
    case RMD_WF_CLOSE:
        if ((c = sim_smtp_conn(s, number(s, nd), w, x->conn)))
            sim_smtp_close(s, c, false);
        break;
    case RMD_WF_MAIL:
        push_mail(nd, 0, w, &x->mail);
        break;
    default: /* marks, outcomes, alarms are in the journal; no receiver here offers STARTTLS */
        break;
    }
}

static void worker_step(struct sim *s, struct sim_node *nd, uint32_t w, struct rmd_worker_event *e,
                        struct sim_conn *c) {
    e->at = sim_time(s, &nd->clock);
    rmd_worker_effects_reset(&nd->wfx);
    if (rmd_worker_step(nd->worker[w], e, &nd->wfx) != RMD_OK) {
        sim_broken(s, "cores never fail", "%s: worker's step %d failed", nd->name, (int)e->kind);
        return;
    }
    if (!worker_journal(nd))
        return;
    if (c && e->kind == RMD_WE_BYTES) {
        if (c->dot_reply)
            sim_check_reply_read(s, c);
        if (c->block_said)
            sim_check_blocked(s, c);
        if (c->says)
            sim_stops_heard(s, c, c->says);
        c->dot_reply = c->block_said = false;
        c->says = 0;
    }
    for (size_t i = 0; i < nd->wfx.n; i++) {
        enum rmd_worker_effect_kind k = nd->wfx.v[i].kind;
        if (k == RMD_WF_MARK || k == RMD_WF_OUTCOME || k == RMD_WF_ALARM)
            continue;
        if (!lives(nd))
            return;
        worker_effect(s, nd, w, &nd->wfx.v[i]);
    }
}

/* ---- turns */

static void on_tick(struct sim *s, struct sim_event *e);

static void serve(struct sim *s, struct sim_node *nd, struct sim_item *i, uint32_t q) {
    struct rmd_arena arena = {0};
    if (q > 0) {
        worker_step(s, nd, q - 1, &(struct rmd_worker_event){.kind = RMD_WE_MAIL, .mail = &i->mail}, NULL);
    } else if (i->kind == ITEM_MAIL) {
        core_step(s, nd, &(struct rmd_node_event){.kind = RMD_NE_MAIL, .worker = i->worker, .mail = &i->mail});
    } else {
        bool outcome = i->kind == ITEM_OUTCOME;
        struct rmd_node_event e = {.kind = outcome ? RMD_NE_OUTCOME : RMD_NE_ALARM, .n = i->n};
        void *m = rmd_pb_decode(outcome ? &remuda__outcome__descriptor : &remuda__alarm__descriptor,
                                rmd_buf_slice(&i->bytes), &arena);
        if (outcome)
            e.outcome = m;
        else
            e.alarm = m;
        core_step(s, nd, &e);
    }
    rmd_arena_release(&arena);
}

static int64_t deadline(const struct sim_node *nd) {
    int64_t at = rmd_node_deadline(nd->core);
    for (uint32_t w = 0; w < nd->workers; w++) {
        int64_t x = rmd_worker_deadline(nd->worker[w]);
        at = x < at ? x : at;
    }
    return at;
}

/* Serves the mailboxes until they are empty, then sets the clock; or the process died on the way. */
static void turn(struct sim *s, struct sim_node *nd) {
    struct sim_item *i;
    uint32_t q;
    while (!nd->dying && !s->broken && (i = pop(s, nd, &q))) {
        serve(s, nd, i, q);
        item_free(i);
    }
    if (nd->dying) {
        sim_node_kill(s, number(s, nd), nd->crash_host && !nd->stopping);
        return;
    }
    int64_t at = deadline(nd);
    int64_t delay = at == RMD_NEVER ? SIM_DAY_MS : sim_true_ms(&nd->clock, at) - s->now_ms;
    int64_t when = s->now_ms + (delay < 1 ? 1 : delay);
    if (nd->tick && nd->tick->at.key == when)
        return;
    sim_cancel(s, &nd->tick);
    nd->tick = sim_at(s, when - s->now_ms, on_tick, number(s, nd), 0, 0);
}

static void on_tick(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    struct rmd_node_event stats = {.kind = RMD_NE_STATS};
    int64_t now = sim_time(s, &nd->clock).mono_ms;
    nd->tick = NULL;
    for (uint32_t w = 0; w < nd->workers && !nd->dying; w++) {
        struct rmd_worker_stats x;
        if (rmd_worker_deadline(nd->worker[w]) <= now)
            worker_step(s, nd, w, &(struct rmd_worker_event){.kind = RMD_WE_TICK}, NULL);
        rmd_worker_stats(nd->worker[w], &x);
        stats.stats.connections += x.connections;
        stats.stats.waiting += x.waiting;
        stats.stats.open_transactions += x.open_transactions;
    }
    if (!nd->dying && rmd_node_deadline(nd->core) <= now) {
        core_step(s, nd, &stats);
        if (!nd->dying && rmd_node_deadline(nd->core) <= now)
            core_step(s, nd, &(struct rmd_node_event){.kind = RMD_NE_TICK});
    }
    turn(s, nd);
}

static void on_synced(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    if (!nd->up || nd->gen != e->b)
        return;
    sim_journal_sync(nd->journal, (size_t)(uintptr_t)e->p);
    core_step(s, nd, &(struct rmd_node_event){.kind = RMD_NE_SYNCED, .token = e->c});
    turn(s, nd);
}

static void on_looked_up(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    struct rmd_addr_answer addr;
    struct rmd_txt_answer txt = {.status = RMD_DNS_OK, .ttl_s = 5, .n = 1, .txt = {"because of its mail"}};
    struct rmd_node_event n = {.kind = RMD_NE_LOOKED_UP, .token = e->c};
    if (!nd->up || nd->gen != e->b)
        return;
    sim_dnsbl(s, (uint32_t)e->a, rmd_buf_str(&e->bytes), &addr);
    n.addr = e->p ? NULL : &addr;
    n.txt = e->p ? &txt : NULL;
    core_step(s, nd, &n);
    turn(s, nd);
}

static void on_name(struct sim *s, struct sim_event *e) {
    struct sim_node *nd = &s->node[e->a];
    const char *name = rmd_buf_str(&e->bytes);
    struct rmd_worker_event w = {.kind = e->p ? RMD_WE_MX : RMD_WE_ADDR, .name = name};
    struct rmd_mx_answer mx;
    struct rmd_addr_answer addr;
    if (!nd->up || nd->gen != e->b)
        return;
    if (e->p)
        sim_mx(s, name, &mx);
    else
        sim_addr(s, name, &addr);
    w.mx = e->p ? &mx : NULL;
    w.addr = e->p ? NULL : &addr;
    worker_step(s, nd, (uint32_t)e->c, &w, NULL);
    turn(s, nd);
}

void sim_node_frame(struct sim *s, uint32_t n, struct rmd_slice bytes) {
    struct sim_node *nd = &s->node[n];
    struct rmd_arena arena = {0};
    Remuda__Frame *f = NULL;
    if (!nd->up)
        return;
    if (rmd_frame_decode(bytes, &arena, &f) != RMD_OK)
        f = NULL;
    bool was = rmd_node_serving(nd->core);
    core_step(s, nd, &(struct rmd_node_event){.kind = RMD_NE_FRAME, .frame = f});
    if (!was && rmd_node_serving(nd->core))
        nd->serving_since_ms = s->now_ms;
    if (f && rmd_node_serving(nd->core)) { /* what the node may count on, in true time */
        int64_t echo = -1;
        if (f->body_case == REMUDA__FRAME__BODY_HEARTBEAT_ECHO)
            echo = f->heartbeat_echo->echo_mono_ms;
        else if (f->body_case == REMUDA__FRAME__BODY_WELCOME)
            echo = f->welcome->echo_mono_ms;
        int64_t until = sim_true_ms(&nd->clock, echo) + s->lease_valid_ms;
        if (echo >= 0 && until > nd->valid_until_ms)
            nd->valid_until_ms = until;
    }
    rmd_arena_release(&arena);
    turn(s, nd);
}

void sim_node_conn(struct sim *s, struct sim_conn *c, struct rmd_worker_event *e) {
    struct sim_node *nd = &s->node[c->node];
    if (!nd->up)
        return;
    e->conn = c->number;
    worker_step(s, nd, c->worker, e, c);
    turn(s, nd);
}

void sim_node_stop(struct sim *s, uint32_t n) {
    struct sim_node *nd = &s->node[n];
    if (!nd->up)
        return;
    sim_say(s, "%s: asked to stop", nd->name);
    core_step(s, nd, &(struct rmd_node_event){.kind = RMD_NE_STOP});
    turn(s, nd);
}

/* ---- life */

static void replayed(void *ctx, const struct rmd_node_event *e) {
    struct sim_node *nd = ((void **)ctx)[1];
    struct rmd_node_event copy = *e;
    if (!nd->dying)
        core_step(((void **)ctx)[0], nd, &copy);
}

void sim_node_start(struct sim *s, uint32_t n) {
    struct sim_node *nd = &s->node[n];
    if (nd->up)
        return;
    nd->up = true;
    nd->dying = nd->stopping = false;
    nd->gen++;
    nd->crash_in = -1;
    if (!nd->journal)
        nd->journal = sim_journal_new();
    sim_journal_open(s, nd->journal, &nd->clock);
    struct rmd_node_options o = {.workers = nd->workers,
                                 .hostname = nd->name,
                                 .address = (const char *const *)nd->addresses,
                                 .connection_limit = 200,
                                 .software = "remuda-node simulated",
                                 .sign = rmd_sign_fake()};
    nd->core = rmd_node_new(&o);
    static const struct rmd_smtp_timeouts_ms timeouts = {.greeting = 30000,
                                                         .helo = 30000,
                                                         .starttls = 30000,
                                                         .mail = 30000,
                                                         .rcpt = 30000,
                                                         .data = 30000,
                                                         .block = 30000,
                                                         .dot = 40000,
                                                         .rset = 20000,
                                                         .quit = 5000};
    for (uint32_t w = 0; w < nd->workers; w++)
        nd->worker[w] = rmd_worker_new(&(struct rmd_worker_options){.index = w,
                                                                    .workers = nd->workers,
                                                                    .sign = rmd_sign_fake(),
                                                                    .rules = s->rules,
                                                                    .seed = rmd_rng_next(&s->rng),
                                                                    .connection_limit = 100,
                                                                    .timeouts = timeouts,
                                                                    .idle_close_ms = 8000,
                                                                    .connect_timeout_ms = 20000});
    sim_say(s, "%s: starts", nd->name);
    sim_check_disturbed(s, (int)n);
    void *ctx[2] = {s, nd};
    sim_journal_replay(nd->journal, &nd->clock, sim_time(s, &nd->clock).wall_ms, replayed, ctx);
    sim_net_reset(s, n, sim_between(s, 5, 100));
    turn(s, nd);
}

static void on_start(struct sim *s, struct sim_event *e) {
    sim_node_start(s, (uint32_t)e->a);
}

static void forget(struct sim_node *nd) {
    for (uint32_t q = 0; q <= SIM_WORKERS; q++) {
        for (struct sim_item *i = nd->head[q], *next; i; i = next) {
            next = i->next;
            item_free(i);
        }
        nd->head[q] = nd->tail[q] = NULL;
    }
    rmd_node_free(nd->core);
    nd->core = NULL;
    for (uint32_t w = 0; w < SIM_WORKERS; w++) {
        if (nd->worker[w])
            rmd_worker_free(nd->worker[w]);
        nd->worker[w] = NULL;
    }
}

/* The process is gone; host: and with it what its kernel hadn't written. It comes back after a while. */
void sim_node_kill(struct sim *s, uint32_t n, bool host) {
    struct sim_node *nd = &s->node[n];
    if (!nd->up)
        return;
    sim_say(s, "%s: %s", nd->name, nd->stopping ? "has stopped" : host ? "its host is lost" : "process dies");
    s->n_crashes++;
    nd->up = nd->dying = nd->crash_host = false;
    nd->gen++;
    sim_cancel(s, &nd->tick);
    for (uint32_t i = 0; i < SIM_CONNS; i++)
        if (s->conn[i].used && s->conn[i].client_open && s->conn[i].node == n)
            sim_smtp_close(s, &s->conn[i], !nd->stopping);
    forget(nd);
    sim_check_vanished(s, (int)n);
    if (host) {
        sim_journal_lose(s, nd->journal, false);
        sim_boot(s, &nd->clock);
        sim_check_host_lost(s, n);
    }
    sim_net_reset(s, n, 0);
    int64_t away = nd->stopping       ? sim_between(s, 1000, 20000)
                   : sim_one_in(s, 3) ? sim_between(s, 60000, 400000)
                                      : sim_between(s, 500, 30000);
    sim_at(s, s->quiet_faults ? 1000 : away, on_start, n, 0, 0);
}

void sim_node_free(struct sim *s, uint32_t n) {
    struct sim_node *nd = &s->node[n];
    forget(nd);
    sim_journal_free(nd->journal);
    rmd_node_effects_release(&nd->fx);
    rmd_worker_effects_release(&nd->wfx);
    for (size_t i = 0; i < SIM_SOURCES; i++)
        free(nd->addresses[i]);
}
