/* Node core: life, dispatch of events, clock work, orderly end. The contract is in node.h, the parts in node_state.h.
 */
#include "node/core/node_state.h"

#include <assert.h>

#include <base/text.h>

/* ---------------------------------------------------------------- effects */

struct rmd_node_effect *node_effect(struct rmd_node *n, enum rmd_node_effect_kind kind) {
    struct rmd_node_effects *e = n->out;
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 32;
        e->v = rmd_realloc(e->v, e->cap * sizeof *e->v);
    }
    struct rmd_node_effect *x = &e->v[e->n++];
    *x = (struct rmd_node_effect){.kind = kind};
    return x;
}

void rmd_node_effects_reset(struct rmd_node_effects *e) {
    e->n = 0;
    rmd_arena_reset(&e->arena);
}

void rmd_node_effects_release(struct rmd_node_effects *e) {
    free(e->v);
    rmd_arena_release(&e->arena);
    *e = (struct rmd_node_effects){0};
}

static void log_line(struct rmd_node *n, bool warning, const char *fmt, va_list ap) {
    struct rmd_buf b = {.limit = 1024};
    rmd_buf_vaddf(&b, fmt, ap);
    struct rmd_node_effect *x = node_effect(n, RMD_NF_LOG);
    x->text = rmd_arena_str(&n->out->arena, rmd_buf_slice(&b));
    x->warning = warning;
    rmd_buf_release(&b);
}

void node_log(struct rmd_node *n, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    log_line(n, false, fmt, ap);
    va_end(ap);
}

void node_warn(struct rmd_node *n, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    log_line(n, true, fmt, ap);
    va_end(ap);
}

Remuda__Frame *node_frame(struct rmd_node *n, Remuda__Frame__BodyCase body) {
    Remuda__Frame *f = rmd_arena_alloc(&n->out->arena, sizeof *f);
    remuda__frame__init(f);
    f->epoch = n->epoch;
    f->body_case = body;
    return f;
}

void node_send(struct rmd_node *n, const Remuda__Frame *frame) {
    node_effect(n, RMD_NF_SEND)->frame = frame;
}

struct rmd_mail *node_mail(struct rmd_node *n, uint32_t worker, enum rmd_mail_kind kind) {
    struct rmd_node_effect *x = node_effect(n, RMD_NF_MAIL);
    x->worker = worker;
    x->mail.kind = kind;
    return &x->mail;
}

struct rmd_slice node_pack(struct rmd_node *n, const void *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *p = rmd_arena_alloc(&n->out->arena, size ? size : 1);
    protobuf_c_message_pack(message, p);
    return rmd_slice(p, size);
}

/* ---------------------------------------------------------------- life */

struct rmd_node *rmd_node_new(const struct rmd_node_options *o) {
    assert(o->workers > 0 && o->sign);
    struct rmd_node *n = rmd_alloc(sizeof *n);
    n->o = *o;
    if (!n->o.heartbeat_ms)
        n->o.heartbeat_ms = RMD_NODE_HEARTBEAT_MS;
    n->hostname = rmd_strdup(o->hostname ? o->hostname : "");
    n->software = rmd_strdup(o->software ? o->software : "");
    while (o->address && o->address[n->n_address])
        n->n_address++;
    n->address = rmd_alloc((n->n_address + 1) * sizeof *n->address);
    for (size_t i = 0; i < n->n_address; i++)
        n->address[i] = rmd_strdup(o->address[i]);
    rmd_list_init(&n->finished);
    rmd_list_init(&n->fetching);
    rmd_list_init(&n->unused);
    rmd_list_init(&n->batches);
    rmd_list_init(&n->alarms);
    rmd_list_init(&n->recalls);
    rmd_list_init(&n->suppresses);
    n->stop_at = RMD_NEVER;
    n->next_token = 1;
    n->watch = rmd_watch_new();
    n->tls = rmd_tls_report_new();
    return n;
}

void rmd_node_free(struct rmd_node *n) {
    if (!n)
        return;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v))
        node_lease_free(v);
    for (it = 0; rmd_map_next(&n->partials, &it, NULL, &v);)
        node_partial_free(v);
    for (it = 0; rmd_map_next(&n->templates, &it, NULL, &v);)
        node_template_free(v);
    for (it = 0; rmd_map_next(&n->trouble, &it, NULL, &v);)
        free(v);
    node_recall_free(n);
    node_report_free(n);
    rmd_watch_free(n->watch);
    rmd_tls_report_free(n->tls);
    rmd_map_release(&n->leases);
    rmd_map_release(&n->partials);
    rmd_map_release(&n->templates);
    rmd_map_release(&n->trouble);
    rmd_set64_release(&n->overtaken);
    rmd_buf_release(&n->rules);
    for (size_t i = 0; i < n->n_address; i++)
        free(n->address[i]);
    free(n->address);
    free(n->hostname);
    free(n->software);
    free(n);
}

bool rmd_node_serving(const struct rmd_node *n) {
    return n->state == NODE_SERVING;
}

/* ---------------------------------------------------------------- orderly end */

/* Nothing new starts; what is held goes back; workers finish their open transactions. */
static void stop_begin(struct rmd_node *n) {
    if (n->stopping || n->state == NODE_STOPPED)
        return;
    n->stopping = true;
    n->heartbeat_at = n->now.mono_ms; /* which says so */
    n->stop_at = n->now.mono_ms + RMD_NODE_STOP_MS;
    n->stop_workers_left = n->o.workers;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        struct node_lease *l = v;
        /* without a session since the start nobody has said what is live: these wait for the next start */
        if (l->state == LEASE_WAITING && l->confirmed)
            node_lease_give_back(n, l, RMD_RETURN_RECALLED);
    }
    for (uint32_t w = 0; w < n->o.workers; w++)
        node_mail(n, w, RMD_MAIL_STOP);
}

static void stop_finish(struct rmd_node *n) {
    if (n->state == NODE_SERVING) {
        Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_BYE);
        f->bye = rmd_arena_alloc(&n->out->arena, sizeof *f->bye);
        remuda__bye__init(f->bye);
        f->bye->reason = rmd_arena_printf(&n->out->arena, "orderly stop");
        f->bye->journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
        f->bye->journal_position = n->max_n;
        f->bye->lease_high_water = n->high_water;
        f->bye->lease_id = node_leases_held(n, &f->bye->n_lease_id);
        node_send(n, f);
    }
    n->state = NODE_STOPPED;
    node_effect(n, RMD_NF_STOPPED);
}

static void stop_proceed(struct rmd_node *n) {
    if (!n->stopping || n->state == NODE_STOPPED)
        return;
    bool late = n->now.mono_ms >= n->stop_at;
    if (!late) {
        if (n->stop_workers_left || n->own_back < n->own_made)
            return;
        if (!n->stop_token) {
            n->stop_token = n->next_token++;
            node_effect(n, RMD_NF_SYNC)->token = n->stop_token;
        }
        if (!n->stop_synced)
            return;
        if (n->state == NODE_SERVING && (!rmd_list_empty(&n->batches) || !rmd_list_empty(&n->alarms)))
            return;
    }
    stop_finish(n);
}

/* ---------------------------------------------------------------- events */

static void journal_open(struct rmd_node *n, const struct rmd_node_event *e) {
    memcpy(n->uuid, e->uuid, sizeof n->uuid);
    memcpy(n->boot_id, e->boot_id, sizeof n->boot_id);
    /* unacknowledged outcomes are replayed one by one, and bring last_n up to the journal's position */
    n->last_n = n->acked_n = n->batched_n = e->reported;
    n->max_n = n->position = e->position;
    n->alarm_n = e->alarms;
    n->high_water = e->high_water;
}

static void replay_end(struct rmd_node *n) {
    node_report_replayed(n);
    node_lease_finish_replay(n);
    n->state = NODE_HELLO;
    n->hello_first_at = n->now.mono_ms;
    node_hello(n);
}

static void frame(struct rmd_node *n, const Remuda__Frame *f) {
    if (!f || f->body_case == REMUDA__FRAME__BODY__NOT_SET) {
        n->malformed_frames++;
        return;
    }
    if (n->state == NODE_START || n->state == NODE_STOPPED || node_session_frame(n, f))
        return;
    if (n->state != NODE_SERVING || f->epoch != n->epoch)
        return; /* of another session: what matters in it is sent again in this one */
    n->heard_at = n->now.mono_ms;
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_LEASE:
        node_lease_frame(n, f->lease);
        break;
    case REMUDA__FRAME__BODY_REPORT_ACK:
        node_report_ack(n, f->report_ack);
        break;
    case REMUDA__FRAME__BODY_ALARM_ACK:
        node_alarm_ack(n, f->alarm_ack);
        break;
    case REMUDA__FRAME__BODY_RECALL:
        node_recall_frame(n, f->recall, false);
        break;
    case REMUDA__FRAME__BODY_RECALLED_ACK:
        node_recall_ack(n, f->recalled_ack->id);
        break;
    case REMUDA__FRAME__BODY_SUPPRESS:
        node_suppress_frame(n, f->suppress);
        break;
    case REMUDA__FRAME__BODY_TEMPLATE:
        node_template_frame(n, f->template_);
        break;
    case REMUDA__FRAME__BODY_WATCH:
        node_watch_frame(n, f->watch);
        break;
    case REMUDA__FRAME__BODY_WATCH_CHECK:
        node_watch_check(n, f->watch_check);
        break;
    case REMUDA__FRAME__BODY_FINDINGS_ACK:
        node_watch_ack(n, f->findings_ack);
        break;
    case REMUDA__FRAME__BODY_TLS_REPORT_ACK:
        rmd_tls_report_acked(n->tls, f->tls_report_ack);
        break;
    default:
        n->malformed_frames++; /* a body that only a node sends */
        break;
    }
}

/* As it came from a worker; without a session it is told anew when there is one. */
static void node_pace(struct rmd_node *n, struct rmd_slice bytes) {
    if (n->state != NODE_SERVING)
        return;
    Remuda__Pace *p = rmd_pb_decode(&remuda__pace__descriptor, bytes, &n->out->arena);
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_PACE);
    f->pace = p;
    if (p)
        node_send(n, f);
}

static void mail(struct rmd_node *n, const struct rmd_mail *m) {
    switch (m->kind) {
    case RMD_MAIL_RECALL_DONE:
        node_recall_done(n, m->id);
        break;
    case RMD_MAIL_SUPPRESS_DONE:
        node_suppress_done(n, m->id);
        break;
    case RMD_MAIL_TROUBLE:
        node_trouble(n, m);
        break;
    case RMD_MAIL_PACE:
        node_pace(n, m->bytes);
        break;
    case RMD_MAIL_TLS:
        node_tls_session_told(n, m);
        break;
    case RMD_MAIL_STOPPED:
        if (n->stop_workers_left)
            n->stop_workers_left--;
        break;
    default:
        assert(!"mail of a kind that no worker sends");
    }
}

/* What is due by now, urgent things first: an alarm never waits behind a report. */
static void due(struct rmd_node *n) {
    int64_t now = n->now.mono_ms;
    if (n->state == NODE_SERVING && now - n->heard_at >= node_silence_ms(n)) {
        node_log(n, "nothing heard from the coordinator for %d s: saying Hello again; leases stay valid for %lld s",
                 (int)(node_silence_ms(n) / 1000),
                 n->valid_until > now ? (long long)(n->valid_until - now) / 1000 : 0LL);
        node_disconnect(n, 0);
    }
    if (n->state == NODE_HELLO && now - n->hello_at >= n->hello_pause_ms)
        node_hello(n);
    if (n->state == NODE_SERVING) {
        node_recall_due(n);
        node_report_due(n);
        node_template_fetch_due(n);
        if (now >= n->heartbeat_at)
            node_heartbeat(n);
        node_watch_due(n);
        node_tls_due(n);
    } else {
        node_recall_due(n); /* syncs go on; answers wait */
    }
    node_template_sweep(n);
    node_suppress_sweep(n);
    stop_proceed(n);
}

int rmd_node_step(struct rmd_node *n, const struct rmd_node_event *e, struct rmd_node_effects *out) {
    n->out = out;
    n->now = e->at;
    switch (e->kind) {
    case RMD_NE_JOURNAL_OPEN:
        journal_open(n, e);
        break;
    case RMD_NE_REPLAY_TEMPLATE:
        node_template_replay(n, e);
        break;
    case RMD_NE_REPLAY_LEASE:
        node_lease_replay(n, e);
        break;
    case RMD_NE_REPLAY_OUTCOME:
        node_outcome(n, e->outcome, e->n, true);
        break;
    case RMD_NE_REPLAY_ALARM:
        node_alarm(n, e->alarm, e->n, true);
        break;
    case RMD_NE_REPLAY_END:
        replay_end(n);
        break;
    case RMD_NE_REWIND:
        node_report_rewind(n, e->n);
        break;
    case RMD_NE_REWOUND:
        node_report_replayed(n);
        break;
    case RMD_NE_TICK:
        break;
    case RMD_NE_FRAME:
        frame(n, e->frame);
        break;
    case RMD_NE_OUTCOME:
        node_outcome(n, e->outcome, e->n, false);
        break;
    case RMD_NE_ALARM:
        node_alarm(n, e->alarm, e->n, false);
        break;
    case RMD_NE_MAIL:
        mail(n, e->mail);
        break;
    case RMD_NE_SYNCED:
        if (e->token == n->stop_token)
            n->stop_synced = true;
        else
            node_recall_synced(n, e->token);
        break;
    case RMD_NE_STATS:
        n->stats = e->stats;
        break;
    case RMD_NE_LOOKED_UP:
        node_watch_answer(n, e);
        break;
    case RMD_NE_STOP:
        stop_begin(n);
        break;
    }
    if (n->state != NODE_START && n->state != NODE_STOPPED)
        due(n);
    n->out = NULL;
    return RMD_OK;
}

int64_t rmd_node_deadline(const struct rmd_node *n) {
    int64_t at = RMD_NEVER;
#define EARLIER(x)        \
    do {                  \
        int64_t x_ = (x); \
        if (x_ < at)      \
            at = x_;      \
    } while (0)
    if (n->state == NODE_HELLO)
        EARLIER(n->hello_at + n->hello_pause_ms);
    if (n->state == NODE_SERVING) {
        EARLIER(n->heard_at + node_silence_ms(n));
        EARLIER(n->heartbeat_at);
        EARLIER(node_report_deadline(n));
        EARLIER(node_recall_deadline(n));
        EARLIER(node_template_deadline(n));
        EARLIER(node_watch_deadline(n));
        EARLIER(rmd_tls_report_deadline(n->tls));
    }
    if (n->stopping && n->state != NODE_STOPPED)
        EARLIER(n->stop_at);
#undef EARLIER
    return at;
}
