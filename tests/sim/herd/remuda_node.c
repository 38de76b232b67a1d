/* A node's host: its core and one worker. What its journal would keep is numbered and forgotten: nothing dies here. And the resolvers,
 * whose answers are the world's. */
#include "tests/sim/herd/remuda.h"

static void on_tick(struct hr *h, struct hr_event *e);

/* ---- frames: in order, after some milliseconds */

static void on_to_coord(struct hr *h, struct hr_event *e) {
    hr_coord_frame(h, &h->node[e->a], rmd_buf_slice(&e->bytes));
}

static void on_to_node(struct hr *h, struct hr_event *e) {
    hr_node_frame(h, &h->node[e->a], rmd_buf_slice(&e->bytes));
}

void hr_to_coord(struct hr *h, struct hr_node *n, const Remuda__Frame *f) {
    if (n->session)
        rmd_frame_encode(f, &hr_at(h, HR_FRAME_MS, on_to_coord, n->index, 0)->bytes);
}

void hr_to_node(struct hr *h, struct hr_node *n, const Remuda__Frame *f) {
    rmd_frame_encode(f, &hr_at(h, HR_FRAME_MS, on_to_node, n->index, 0)->bytes);
}

struct hr_node *hr_node_of(struct hr *h, const uint8_t key[RMD_KEY_BYTES]) {
    uint32_t i = rmd_get_be32(key);
    return i < h->s->n_hosts ? &h->node[i] : NULL;
}

/* ---- the mailbox */

static struct hr_item *push(struct hr *h, struct hr_node *n, enum hr_item_kind kind) {
    struct hr_item *i = h->spare_items;
    if (i)
        h->spare_items = i->next;
    else
        i = rmd_alloc(sizeof *i);
    i->kind = kind;
    i->next = NULL;
    rmd_buf_clear(&i->bytes);
    rmd_buf_clear(&i->skip);
    rmd_buf_clear(&i->text);
    if (n->tail)
        n->tail->next = i;
    else
        n->head = i;
    n->tail = i;
    return i;
}

static void push_mail(struct hr *h, struct hr_node *n, enum hr_item_kind to, const struct rmd_mail *m) {
    struct hr_item *i = push(h, n, to);
    i->mail = *m;
    rmd_buf_add(&i->bytes, m->bytes.p, m->bytes.n);
    rmd_buf_add(&i->skip, m->skip.p, m->skip.n);
    if (m->text)
        rmd_buf_addstr(&i->text, m->text);
    i->mail.bytes = rmd_buf_slice(&i->bytes);
    i->mail.skip = rmd_buf_slice(&i->skip);
    i->mail.text = m->text ? rmd_buf_str(&i->text) : NULL;
}

/* ---- the core */

static void on_synced(struct hr *h, struct hr_event *e);
static void on_looked_up(struct hr *h, struct hr_event *e);

static void core_effect(struct hr *h, struct hr_node *n, const struct rmd_node_effect *x) {
    struct hr_event *e;
    struct hr_item *i;
    switch (x->kind) {
    case RMD_NF_SEND:
        hr_to_coord(h, n, x->frame);
        break;
    case RMD_NF_MAIL:
        push_mail(h, n, HR_TO_WORKER, &x->mail);
        break;
    case RMD_NF_JOURNAL_OUTCOME:
        i = push(h, n, HR_OWN_OUTCOME);
        i->n = ++n->outcomes;
        rmd_pb_encode(x->outcome, &i->bytes);
        break;
    case RMD_NF_SYNC:
        hr_at(h, HR_COMMIT_MS, on_synced, n->index, x->token);
        break;
    case RMD_NF_LOOKUP:
        e = hr_at(h, HR_DNS_MS, on_looked_up, n->index, x->token);
        e->p = (void *)(uintptr_t)x->txt;
        rmd_buf_addstr(&e->bytes, x->text);
        break;
    case RMD_NF_STOPPED:
    case RMD_NF_REPLAY:
        hr_fail(h, "%s: stops or replays, where nothing is lost", n->name);
        break;
    case RMD_NF_LOG:
        hr_say(h, "%s: %s", n->name, x->text);
        break;
    default: /* the journal's, and no operator's rules here */
        break;
    }
}

static void core_step(struct hr *h, struct hr_node *n, struct rmd_node_event *e) {
    e->at = hr_time(h);
    rmd_node_effects_reset(&n->fx);
    if (rmd_node_step(n->core, e, &n->fx) != RMD_OK)
        hr_fail(h, "%s: its core's step %d failed", n->name, (int)e->kind);
    for (size_t i = 0; i < n->fx.n && !h->failed; i++)
        core_effect(h, n, &n->fx.v[i]);
}

/* ---- the worker */

static void on_name(struct hr *h, struct hr_event *e);

static void worker_effect(struct hr *h, struct hr_node *n, const struct rmd_worker_effect *x) {
    struct rmd_node_event e = {.worker = 0};
    switch (x->kind) {
    case RMD_WF_MARK:
        break;
    case RMD_WF_OUTCOME:
        e.kind = RMD_NE_OUTCOME;
        e.n = ++n->outcomes;
        e.outcome = x->outcome;
        core_step(h, n, &e);
        break;
    case RMD_WF_ALARM:
        e.kind = RMD_NE_ALARM;
        e.n = ++n->alarms;
        e.alarm = x->alarm;
        core_step(h, n, &e);
        break;
    case RMD_WF_MX:
    case RMD_WF_ADDR: {
        struct hr_event *later = hr_at(h, HR_DNS_MS, on_name, n->index, x->kind == RMD_WF_MX);
        rmd_buf_addstr(&later->bytes, x->name);
        break;
    }
    case RMD_WF_TLSA:
    case RMD_WF_STS:
        break; /* neither DANE nor MTA-STS is looked at here */
    case RMD_WF_DIAL:
        hr_smtp_dial(h, n, x);
        break;
    case RMD_WF_TLS:
        hr_smtp_tls(h, n, x->conn);
        break;
    case RMD_WF_SEND:
        hr_smtp_send(h, n, x);
        break;
    case RMD_WF_CLOSE:
        hr_smtp_close(h, n, x->conn);
        break;
    case RMD_WF_MAIL:
        push_mail(h, n, HR_TO_CORE, &x->mail);
        break;
    }
}

static void worker_step(struct hr *h, struct hr_node *n, struct rmd_worker_event *e) {
    e->at = hr_time(h);
    rmd_worker_effects_reset(&n->wfx);
    if (rmd_worker_step(n->worker, e, &n->wfx) != RMD_OK)
        hr_fail(h, "%s: its worker's step %d failed", n->name, (int)e->kind);
    for (size_t i = 0; i < n->wfx.n && !h->failed; i++)
        worker_effect(h, n, &n->wfx.v[i]);
}

/* ---- turns */

static void own_outcome(struct hr *h, struct hr_node *n, struct hr_item *i) {
    struct rmd_arena arena = {0};
    struct rmd_node_event e = {.kind = RMD_NE_OUTCOME, .n = i->n};
    e.outcome = rmd_pb_decode(&remuda__outcome__descriptor, rmd_buf_slice(&i->bytes), &arena);
    core_step(h, n, &e);
    rmd_arena_release(&arena);
}

static void turn(struct hr *h, struct hr_node *n) {
    while (n->head && !h->failed) {
        struct hr_item *i = n->head;
        n->head = i->next;
        if (!n->head)
            n->tail = NULL;
        if (i->kind == HR_TO_WORKER)
            worker_step(h, n, &(struct rmd_worker_event){.kind = RMD_WE_MAIL, .mail = &i->mail});
        else if (i->kind == HR_TO_CORE)
            core_step(h, n, &(struct rmd_node_event){.kind = RMD_NE_MAIL, .mail = &i->mail});
        else
            own_outcome(h, n, i);
        i->next = h->spare_items;
        h->spare_items = i;
    }
    int64_t at = rmd_node_deadline(n->core), w = rmd_worker_deadline(n->worker);
    at = hr_of_mono(w < at ? w : at);
    if (!h->failed && (!n->tick || at < n->tick->at.key))
        hr_move(h, &n->tick, at, on_tick, n->index);
}

static void on_tick(struct hr *h, struct hr_event *e) {
    struct hr_node *n = &h->node[e->a];
    int64_t now = hr_time(h).mono_ms;
    n->tick = NULL;
    if (rmd_worker_deadline(n->worker) <= now)
        worker_step(h, n, &(struct rmd_worker_event){.kind = RMD_WE_TICK});
    if (rmd_node_deadline(n->core) <= now)
        core_step(h, n, &(struct rmd_node_event){.kind = RMD_NE_TICK});
    turn(h, n);
}

static void on_synced(struct hr *h, struct hr_event *e) {
    core_step(h, &h->node[e->a], &(struct rmd_node_event){.kind = RMD_NE_SYNCED, .token = e->b});
    turn(h, &h->node[e->a]);
}

void hr_node_frame(struct hr *h, struct hr_node *n, struct rmd_slice bytes) {
    struct rmd_arena arena = {0};
    Remuda__Frame *f = NULL;
    if (rmd_frame_decode(bytes, &arena, &f) != RMD_OK)
        hr_fail(h, "%s: a frame can't be read", n->name);
    else
        core_step(h, n, &(struct rmd_node_event){.kind = RMD_NE_FRAME, .frame = f});
    rmd_arena_release(&arena);
    turn(h, n);
}

void hr_node_conn(struct hr *h, struct hr_conn *c, struct rmd_worker_event *e) {
    struct hr_node *n = &h->node[c->node];
    e->conn = c->number;
    worker_step(h, n, e);
    turn(h, n);
}

/* ---- resolvers */

void hr_mx(struct hr *h, const char *domain, struct rmd_mx_answer *out) {
    int site = herd_site_of_domain(h->w, domain);
    *out = (struct rmd_mx_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = 3600};
    if (site < 0)
        return;
    out->status = RMD_DNS_OK;
    for (int i = 0; i < 2 && h->s->site[site].mx[i]; i++) {
        out->mx[out->n].preference = (uint16_t)(10 * (i + 1));
        (void)rmd_copy(out->mx[out->n].host, sizeof out->mx[0].host, h->s->site[site].mx[i]);
        out->n++;
    }
}

static void on_name(struct hr *h, struct hr_event *e) {
    struct hr_node *n = &h->node[e->a];
    struct rmd_worker_event w = {.kind = e->b ? RMD_WE_MX : RMD_WE_ADDR, .name = rmd_buf_str(&e->bytes)};
    struct rmd_mx_answer mx;
    struct rmd_addr_answer addr = {.status = RMD_DNS_NXDOMAIN, .ttl_s = 3600};
    if (e->b) {
        hr_mx(h, w.name, &mx);
        w.mx = &mx;
    } else {
        if (herd_site_of_mx(h->w, w.name, &addr.addr[0]) >= 0) {
            addr.status = RMD_DNS_OK;
            addr.n = 1;
        }
        w.addr = &addr;
    }
    worker_step(h, n, &w);
    turn(h, n);
}

static void on_looked_up(struct hr *h, struct hr_event *e) {
    struct hr_node *n = &h->node[e->a];
    struct rmd_addr_answer addr = {.status = RMD_DNS_NXDOMAIN, .ttl_s = 900};
    struct rmd_txt_answer txt = {.status = RMD_DNS_NODATA, .ttl_s = 900};
    struct rmd_node_event x = {.kind = RMD_NE_LOOKED_UP, .token = e->b};
    if (e->p) {
        x.txt = &txt;
    } else {
        struct rmd_addr answer[4];
        int k = herd_dnsbl(h->w, rmd_buf_str(&e->bytes), h->now_ms, answer);
        if (k == HERD_NONE)
            hr_fail(h, "%s asks a list that the world doesn't have: %s", n->name, rmd_buf_str(&e->bytes));
        if (k > 0) {
            addr.status = RMD_DNS_OK;
            addr.n = k;
            memcpy(addr.addr, answer, (size_t)k * sizeof answer[0]);
        }
        x.addr = &addr;
    }
    core_step(h, n, &x);
    turn(h, n);
}

/* ---- life */

void hr_node_connect(struct hr *h, struct hr_node *n) {
    (void)h;
    n->session = 1;
}

static void addresses(struct hr *h, struct hr_node *n) {
    size_t k = 0;
    n->address = rmd_alloc((h->s->n_sources + 1) * sizeof *n->address);
    for (uint32_t i = 0; i < h->s->n_sources; i++)
        if (h->s->source[i].host_index == n->index)
            n->address[k++] = (char *)(uintptr_t)h->s->source[i].address;
}

void hr_node_open(struct hr *h, struct hr_node *n) {
    n->index = (uint32_t)(n - h->node);
    (void)rmd_copy(n->name, sizeof n->name, h->s->host[n->index]);
    rmd_put_be32(n->key, n->index);
    n->key[RMD_KEY_BYTES - 1] = 1;
    addresses(h, n);
    n->conn = rmd_alloc(HR_CONNECTIONS * sizeof *n->conn);
    n->core = rmd_node_new(&(struct rmd_node_options){.workers = 1,
                                                      .hostname = n->name,
                                                      .address = (const char *const *)n->address,
                                                      .connection_limit = HR_CONNECTIONS,
                                                      .software = "remuda-node simulated",
                                                      .sign = rmd_sign_fake(),
                                                      .heartbeat_ms = HR_HEARTBEAT_MS});
    n->worker = rmd_worker_new(&(struct rmd_worker_options){.workers = 1,
                                                            .sign = rmd_sign_fake(),
                                                            .rules = h->rules,
                                                            .seed = rmd_rng_next(&h->rng),
                                                            .connection_limit = HR_CONNECTIONS,
                                                            .timeouts = rmd_smtp_timeouts_rfc5321,
                                                            .idle_close_ms = 5000,
                                                            .connect_timeout_ms = 30000,
                                                            .without_pace = h->no_pace});
    struct rmd_node_event open = {.kind = RMD_NE_JOURNAL_OPEN};
    open.uuid[0] = open.boot_id[0] = (uint8_t)(n->index + 1);
    rmd_put_be32(open.uuid + 4, n->index + 1);
    core_step(h, n, &open);
    core_step(h, n, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
    turn(h, n);
}

static void items_free(struct hr_item *i) {
    while (i) {
        struct hr_item *next = i->next;
        rmd_buf_release(&i->bytes);
        rmd_buf_release(&i->skip);
        rmd_buf_release(&i->text);
        free(i);
        i = next;
    }
}

void hr_node_close(struct hr *h, struct hr_node *n) {
    if (!n->core)
        return;
    items_free(n->head);
    items_free(h->spare_items);
    h->spare_items = NULL;
    rmd_node_free(n->core);
    rmd_worker_free(n->worker);
    rmd_node_effects_release(&n->fx);
    rmd_worker_effects_release(&n->wfx);
    free(n->address);
    free(n->conn);
}
