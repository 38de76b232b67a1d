/* Outcomes into Reports, alarms, acknowledgements (node.h).
 *
 * Outcomes are numbered by the journal and reported in order without holes. Workers write side by side, so one may
 * arrive here before a smaller number: it waits in `early`. A batch is closed when it is sent first, so that a repeat
 * is the same Report. */
#include "node/core/node_state.h"

#include <assert.h>

#include <base/text.h>

/* ---------------------------------------------------------------- copies that outlive a step */

static ProtobufCBinaryData copy_bytes(struct rmd_arena *a, ProtobufCBinaryData b) {
    return (ProtobufCBinaryData){b.len, b.len ? rmd_arena_dup(a, b.data, b.len) : NULL};
}

static char *copy_text(struct rmd_arena *a, const char *s) {
    return *s ? rmd_arena_str(a, rmd_slice_str(s)) : (char *)(uintptr_t)protobuf_c_empty_string;
}

static Remuda__Reply *copy_reply(struct rmd_arena *a, const Remuda__Reply *r) {
    if (!r)
        return NULL;
    Remuda__Reply *c = rmd_arena_dup(a, r, sizeof *c);
    c->enhanced = copy_text(a, r->enhanced);
    c->text = copy_bytes(a, r->text);
    c->mx_host = copy_text(a, r->mx_host);
    c->mx_addr = copy_text(a, r->mx_addr);
    return c;
}

static Remuda__Verdict *copy_verdict(struct rmd_arena *a, const Remuda__Verdict *v) {
    if (!v)
        return NULL;
    Remuda__Verdict *c = rmd_arena_dup(a, v, sizeof *c);
    c->rule = copy_text(a, v->rule);
    return c;
}

static Remuda__Outcome *copy_outcome(struct rmd_arena *a, const Remuda__Outcome *o) {
    Remuda__Outcome *c = rmd_arena_dup(a, o, sizeof *c);
    c->base.unknown_fields = NULL;
    c->base.n_unknown_fields = 0;
    c->reply = copy_reply(a, o->reply);
    c->verdict = copy_verdict(a, o->verdict);
    return c;
}

/* ---------------------------------------------------------------- outcomes */

static struct node_batch *batch_open(struct rmd_node *n, uint64_t number, size_t bytes) {
    struct node_batch *b = rmd_list_empty(&n->batches) ? NULL : rmd_container(n->batches.prev, struct node_batch, in);
    bool follows = number == n->batched_n + 1;
    if (b && follows && !b->closed && b->n < RMD_NODE_REPORT_MAX && b->bytes + bytes <= RMD_BODY_CHUNK_BYTES)
        return b;
    if (b)
        b->closed = true;
    b = rmd_alloc(sizeof *b);
    b->first_n = number;
    b->skipped = number - n->batched_n - 1;
    b->opened_at = n->now.mono_ms;
    b->sent_at = RMD_NEVER;
    rmd_list_push(&n->batches, &b->in);
    return b;
}

static void batch_free(struct rmd_node *n, struct node_batch *b) {
    if (b->sent_at != RMD_NEVER)
        n->in_flight--;
    rmd_list_remove(&b->in);
    rmd_arena_release(&b->arena);
    free(b);
}

/* The next number in order. */
static void append(struct rmd_node *n, const Remuda__Outcome *o, uint64_t number) {
    assert(number == n->last_n + 1);
    size_t bytes = protobuf_c_message_get_packed_size(&o->base) + 4;
    struct node_batch *b = batch_open(n, number, bytes);
    b->v[b->n++] = copy_outcome(&b->arena, o);
    b->bytes += bytes;
    n->last_n = n->batched_n = number;
}

static void keep_early(struct rmd_node *n, const Remuda__Outcome *o, uint64_t number) {
    if (rmd_map_get_u64(&n->early, number))
        return;
    struct rmd_buf *b = rmd_alloc(sizeof *b);
    rmd_pb_encode(o, b);
    rmd_map_set_u64(&n->early, number, b);
}

static void append_early(struct rmd_node *n) {
    struct rmd_buf *b;
    while (n->early.n && (b = rmd_map_remove_u64(&n->early, n->last_n + 1))) {
        Remuda__Outcome *o = rmd_pb_decode(&remuda__outcome__descriptor, rmd_buf_slice(b), &n->out->arena);
        assert(o);
        append(n, o, n->last_n + 1);
        rmd_buf_release(b);
        free(b);
    }
}

void node_outcome(struct rmd_node *n, const Remuda__Outcome *o, uint64_t number, bool replayed) {
    if (number <= n->last_n)
        return;
    node_lease_outcome(n, o, number);
    if (number > n->max_n)
        n->max_n = number;
    if (replayed && number > n->last_n + 1)
        n->last_n = number - 1; /* a hole in the journal is nobody's outcome */
    if (number == n->last_n + 1) {
        append(n, o, number);
        append_early(n);
    } else {
        keep_early(n, o, number);
    }
}

/* Whatever is missing up to the journal's position is nobody's outcome. */
void node_report_replayed(struct rmd_node *n) {
    if (n->last_n < n->position)
        n->last_n = n->position;
    append_early(n);
}

static void early_free(struct rmd_node *n) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->early, &it, NULL, &v)) {
        rmd_buf_release(v);
        free(v);
    }
    rmd_map_release(&n->early);
}

/* The coordinator has forgotten what it acknowledged from `from` on. The journal gives it all again, also what is in
 * batches now. */
void node_report_rewind(struct rmd_node *n, uint64_t from) {
    if (!from || from > n->acked_n)
        return;
    node_log(n, "the coordinator's store is an older one: outcomes from %llu to %llu are reported again",
             (unsigned long long)from, (unsigned long long)n->acked_n);
    while (!rmd_list_empty(&n->batches))
        batch_free(n, rmd_container(n->batches.next, struct node_batch, in));
    early_free(n); /* the journal has them too */
    n->position = n->last_n;
    n->last_n = n->acked_n = n->batched_n = from - 1;
}

void node_own_outcome(struct rmd_node *n, struct node_lease *l, uint32_t index, enum rmd_outcome kind,
                      enum rmd_return_reason reason, uint32_t rcpts) {
    assert(!rmd_bit_get(l->done, index));
    rmd_bit_set(l->done, index);
    n->own_made++;
    Remuda__Outcome *o = rmd_arena_alloc(&n->out->arena, sizeof *o);
    remuda__outcome__init(o);
    o->lease = l->id;
    o->index = index;
    o->kind = kind;
    o->returned_reason = reason;
    o->rcpts = rcpts;
    o->wall_ms = n->now.wall_ms;
    node_effect(n, RMD_NF_JOURNAL_OUTCOME)->outcome = o;
}

void node_report_ack(struct rmd_node *n, const Remuda__ReportAck *a) {
    if (a->journal_uuid.len != sizeof n->uuid || memcmp(a->journal_uuid.data, n->uuid, sizeof n->uuid) != 0)
        return; /* of another journal */
    if (a->up_to_n <= n->acked_n || a->up_to_n > n->last_n)
        return; /* old, or of what was never sent */
    n->acked_n = a->up_to_n;
    node_effect(n, RMD_NF_JOURNAL_ACKED)->n = n->acked_n;
    while (!rmd_list_empty(&n->batches)) {
        struct node_batch *b = rmd_container(n->batches.next, struct node_batch, in);
        if (b->first_n + b->n - 1 > n->acked_n)
            break;
        batch_free(n, b);
    }
    node_lease_acked(n);
}

static void send_batch(struct rmd_node *n, struct node_batch *b) {
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_REPORT);
    Remuda__Report *r = f->report = rmd_arena_alloc(&n->out->arena, sizeof *r);
    remuda__report__init(r);
    r->journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    r->first_n = b->first_n;
    r->skipped = b->skipped;
    r->n_outcome = b->n;
    r->outcome = b->v;
    if (b->sent_at == RMD_NEVER)
        n->in_flight++;
    b->sent_at = n->now.mono_ms;
    b->closed = true;
    node_send(n, f);
}

/* ---------------------------------------------------------------- alarms */

void node_alarm(struct rmd_node *n, const Remuda__Alarm *m, uint64_t number, bool replayed) {
    if (number <= n->alarm_n && !replayed)
        return;
    struct node_alarm *a = rmd_alloc(sizeof *a);
    a->n = number;
    a->read_at = n->now.mono_ms;
    a->sent_at = RMD_NEVER;
    a->age_ms = replayed && m->age_ms > 0 ? (uint32_t)(m->age_ms > UINT32_MAX ? UINT32_MAX : m->age_ms) : 0;
    a->alarm = rmd_arena_dup(&a->arena, m, sizeof *m);
    a->alarm->base.unknown_fields = NULL;
    a->alarm->base.n_unknown_fields = 0;
    a->alarm->reply = copy_reply(&a->arena, m->reply);
    a->alarm->verdict = copy_verdict(&a->arena, m->verdict);
    a->alarm->domain = copy_text(&a->arena, m->domain);
    rmd_list_push(&n->alarms, &a->in);
    if (number > n->alarm_n)
        n->alarm_n = number;
}

/* As it is sent now: with the journal's name, its number and its age. */
Remuda__Alarm *node_alarm_wire(struct rmd_node *n, const struct node_alarm *a) {
    Remuda__Alarm *w = rmd_arena_dup(&n->out->arena, a->alarm, sizeof *w);
    w->journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    w->n = a->n;
    w->age_ms = a->age_ms + (n->now.mono_ms - a->read_at);
    return w;
}

static void alarm_free(struct node_alarm *a) {
    rmd_list_remove(&a->in);
    rmd_arena_release(&a->arena);
    free(a);
}

void node_alarm_ack(struct rmd_node *n, const Remuda__AlarmAck *m) {
    for (size_t i = 0; i < m->n_n; i++) {
        rmd_list_for_safe(it, &n->alarms) {
            struct node_alarm *a = rmd_container(it, struct node_alarm, in);
            if (a->n != m->n[i])
                continue;
            node_effect(n, RMD_NF_JOURNAL_ALARM_ACKED)->n = a->n;
            alarm_free(a);
        }
    }
}

/* ---------------------------------------------------------------- when */

static bool due(int64_t sent_at, int64_t now) {
    return sent_at == RMD_NEVER || now - sent_at >= RMD_NODE_REPEAT_MS;
}

static bool batch_ripe(const struct node_batch *b, int64_t now) {
    return b->closed || b->n == RMD_NODE_REPORT_MAX || now - b->opened_at >= RMD_NODE_REPORT_DELAY_MS;
}

void node_report_due(struct rmd_node *n) {
    int64_t now = n->now.mono_ms;
    rmd_list_for(it, &n->alarms) {
        struct node_alarm *a = rmd_container(it, struct node_alarm, in);
        if (!due(a->sent_at, now))
            continue;
        Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_ALARM);
        f->alarm = node_alarm_wire(n, a);
        a->sent_at = now;
        node_send(n, f);
    }
    rmd_list_for(it, &n->batches) {
        struct node_batch *b = rmd_container(it, struct node_batch, in);
        if (b->sent_at == RMD_NEVER && (n->in_flight >= RMD_NODE_REPORTS_IN_FLIGHT || !batch_ripe(b, now)))
            return;
        if (due(b->sent_at, now))
            send_batch(n, b);
    }
}

int64_t node_report_deadline(const struct rmd_node *n) {
    int64_t at = RMD_NEVER;
    rmd_list_for(it, &n->alarms) {
        const struct node_alarm *a = rmd_container(it, struct node_alarm, in);
        if (a->sent_at != RMD_NEVER && a->sent_at + RMD_NODE_REPEAT_MS < at)
            at = a->sent_at + RMD_NODE_REPEAT_MS;
    }
    rmd_list_for(it, &n->batches) {
        const struct node_batch *b = rmd_container(it, struct node_batch, in);
        int64_t t;
        if (b->sent_at != RMD_NEVER)
            t = b->sent_at + RMD_NODE_REPEAT_MS;
        else if (n->in_flight >= RMD_NODE_REPORTS_IN_FLIGHT)
            break;
        else
            t = b->closed ? b->opened_at : b->opened_at + RMD_NODE_REPORT_DELAY_MS;
        at = t < at ? t : at;
        if (b->sent_at == RMD_NEVER)
            break;
    }
    return at;
}

void node_report_again(struct rmd_node *n) {
    n->in_flight = 0;
    rmd_list_for(it, &n->alarms) rmd_container(it, struct node_alarm, in)->sent_at = RMD_NEVER;
    rmd_list_for(it, &n->batches) rmd_container(it, struct node_batch, in)->sent_at = RMD_NEVER;
    rmd_list_for(it, &n->recalls) rmd_container(it, struct node_recall, in)->sent_at = RMD_NEVER;
}

void node_report_free(struct rmd_node *n) {
    rmd_list_for_safe(it, &n->batches) batch_free(n, rmd_container(it, struct node_batch, in));
    rmd_list_for_safe(it, &n->alarms) alarm_free(rmd_container(it, struct node_alarm, in));
    early_free(n);
}
