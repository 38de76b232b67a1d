/* Session with the coordinator: Hello, Welcome, Refused, policy, heartbeats, validity of leases (node.h, design
 * section 5).
 *
 *   HELLO --Welcome--> SERVING --silence, Refused, newer epoch--> HELLO
 *
 * A Welcome counts only when it answers a Hello of the present attempt (its echo says so) and is not of an older
 * epoch than one that was served before: a coordinator that was replaced can't take the node back. Validity only ever
 * grows, by the echo of this node's own clock; it ends at once when the coordinator says that the key is revoked. */
#include "node/core/node_state.h"

#include <assert.h>

#include <base/text.h>

enum { REFUSED_VERSION = 1, REFUSED_SECOND = 2, REFUSED_KEY = 3, REFUSED_NOT_READY = 4 };

uint64_t *node_leases_held(struct rmd_node *n, size_t *n_out) {
    uint64_t *id = rmd_arena_alloc(&n->out->arena, (n->leases.n + 1) * sizeof *id);
    uint32_t it = 0;
    void *v;
    *n_out = 0;
    while (rmd_map_next(&n->leases, &it, NULL, &v)) {
        const struct node_lease *l = v;
        if (l->left)
            id[(*n_out)++] = l->id;
    }
    return id;
}

static void hello_alarms(struct rmd_node *n, Remuda__Hello *h) {
    h->alarm = rmd_arena_alloc(&n->out->arena, RMD_NODE_HELLO_ALARMS * sizeof *h->alarm);
    rmd_list_for(it, &n->alarms) {
        if (h->n_alarm == RMD_NODE_HELLO_ALARMS)
            break;
        h->alarm[h->n_alarm++] = node_alarm_wire(n, rmd_container(it, struct node_alarm, in));
    }
}

void node_hello(struct rmd_node *n) {
    struct rmd_arena *a = &n->out->arena;
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_HELLO);
    Remuda__Hello *h = f->hello = rmd_arena_alloc(a, sizeof *h);
    remuda__hello__init(h);
    f->epoch = n->epoch_seen;
    h->version_min = RMD_PROTOCOL_VERSION_MIN;
    h->version_max = RMD_PROTOCOL_VERSION;
    h->software = n->software;
    h->hostname = n->hostname;
    h->boot_id = (ProtobufCBinaryData){sizeof n->boot_id, n->boot_id};
    h->journal_uuid = (ProtobufCBinaryData){sizeof n->uuid, n->uuid};
    h->journal_position = n->max_n;
    h->reported_position = n->acked_n;
    h->lease_high_water = n->high_water;
    h->lease_id = node_leases_held(n, &h->n_lease_id);
    h->address = n->address;
    h->n_address = n->n_address;
    hello_alarms(n, h);
    h->epoch_seen = n->epoch_seen;
    if (n->ledger_time_ms)
        h->ledger_time_ms = n->ledger_time_ms + (n->now.mono_ms - n->ledger_mono_ms);
    h->node_mono_ms = n->now.mono_ms;
    h->worker_threads = n->o.workers;
    h->connection_limit = n->o.connection_limit;
    n->hello_at = n->now.mono_ms;
    n->hello_pause_ms = RMD_NODE_HELLO_MS;
    /* what this Hello leaves out below the high-water mark never starts here: the coordinator may rely on that */
    node_lease_session_end(n);
    node_send(n, f);
}

/* Out of the session; the next Hello leaves pause_ms after the last one. */
void node_disconnect(struct rmd_node *n, int64_t pause_ms) {
    if (n->state == NODE_SERVING) {
        n->state = NODE_HELLO;
        n->hello_first_at = n->now.mono_ms;
        node_lease_session_end(n);
    }
    n->hello_pause_ms = pause_ms;
}

static void tell_validity(struct rmd_node *n, int64_t until) {
    n->valid_until = until;
    for (uint32_t w = 0; w < n->o.workers; w++)
        node_mail(n, w, RMD_MAIL_VALID)->valid_until_mono_ms = until;
}

/* echo is this node's clock as the coordinator read it; anything from the future is not an echo. */
static void renew_validity(struct rmd_node *n, int64_t echo, int64_t valid_ms) {
    if (echo > n->now.mono_ms || valid_ms <= 0 || valid_ms > INT64_MAX - echo)
        return;
    if (echo + valid_ms > n->valid_until)
        tell_validity(n, echo + valid_ms);
}

static void learn_ledger_time(struct rmd_node *n, int64_t ledger_ms) {
    int64_t known = n->ledger_time_ms ? n->ledger_time_ms + (n->now.mono_ms - n->ledger_mono_ms) : 0;
    if (ledger_ms <= known && known - ledger_ms < node_silence_ms(n))
        return; /* an echo that was under way; time doesn't go back for it */
    n->ledger_time_ms = ledger_ms;
    n->ledger_mono_ms = n->now.mono_ms;
}

static void apply_policy(struct rmd_node *n, const Remuda__Policy *p, bool fresh) {
    if (!p || (!fresh && n->policy_known && p->revision < n->policy_revision))
        return; /* overtaken by a later one */
    n->policy_revision = p->revision;
    n->policy_known = true;
    struct rmd_slice rules = rmd_slice(p->rules.data, p->rules.len);
    if (!rmd_slice_eq(rules, rmd_buf_slice(&n->rules))) {
        rmd_buf_clear(&n->rules);
        rmd_buf_add(&n->rules, rules.p, rules.n);
        node_effect(n, RMD_NF_RULES)->bytes = rmd_slice(rmd_arena_dup(&n->out->arena, rules.p, rules.n), rules.n);
    }
    struct rmd_slice bytes = node_pack(n, p);
    for (uint32_t w = 0; w < n->o.workers; w++)
        node_mail(n, w, RMD_MAIL_POLICY)->bytes = bytes;
}

static void log_refusal(struct rmd_node *n, const char *text) {
    if (strcmp(n->refused, text) == 0)
        return; /* once, not every two seconds */
    rmd_copy(n->refused, sizeof n->refused, text);
    node_warn(n, "%s", text);
}

/* Of the leases that the coordinator calls live, those that are here; the others are on their way again. */
static size_t live_here(const struct rmd_node *n, const Remuda__Welcome *w) {
    size_t here = 0;
    for (size_t i = 0; i < w->n_lease_live; i++)
        here += rmd_map_get_u64(&n->leases, w->lease_live[i]) != NULL;
    return here;
}

static void log_welcome(struct rmd_node *n, uint64_t epoch, const Remuda__Welcome *w) {
    size_t here = live_here(n, w), again = w->n_lease_live - here;
    char more[64] = "";
    if (again)
        (void)rmd_format(more, sizeof more, "; %zu more are sent again", again);
    node_log(n, "welcomed as node %u%s%s by epoch %llu: %zu of %u leases are live%s", w->node_id,
             *w->node_name ? " " : "", w->node_name, (unsigned long long)epoch, here, n->leases.n, more);
}

static void welcome(struct rmd_node *n, uint64_t epoch, const Remuda__Welcome *w) {
    if (n->state == NODE_SERVING) {
        if (epoch <= n->epoch)
            return; /* the answer to an earlier Hello */
        node_disconnect(n, 0);
        return;
    }
    if (w->echo_mono_ms < n->hello_first_at || w->echo_mono_ms > n->now.mono_ms)
        return; /* the answer to a Hello of an earlier attempt */
    char text[160];
    if (w->version < RMD_PROTOCOL_VERSION_MIN || w->version > RMD_PROTOCOL_VERSION) {
        rmd_format(text, sizeof text,
                   "coordinator chose protocol version %u; this node speaks %d to %d: update one of them", w->version,
                   RMD_PROTOCOL_VERSION_MIN, RMD_PROTOCOL_VERSION);
        log_refusal(n, text);
        n->hello_pause_ms = RMD_NODE_REFUSED_MS;
        return;
    }
    if (epoch < n->epoch_seen) {
        rmd_format(text, sizeof text,
                   "a coordinator of epoch %llu answered, but epoch %llu was served already: not obeyed",
                   (unsigned long long)epoch, (unsigned long long)n->epoch_seen);
        log_refusal(n, text);
        return;
    }
    n->refused[0] = 0;
    n->state = NODE_SERVING;
    n->epoch = n->epoch_seen = epoch;
    n->heard_at = n->now.mono_ms;
    n->heartbeat_at = n->now.mono_ms;
    log_welcome(n, epoch, w);
    learn_ledger_time(n, w->ledger_time_ms);
    node_watch_session(n);
    rmd_tls_report_session(n->tls);
    apply_policy(n, w->policy, true);
    int64_t before = n->valid_until;
    renew_validity(n, w->echo_mono_ms, w->lease_valid_ms);
    if (n->valid_until == before)
        tell_validity(n, before); /* workers that were told 0 hear it again */
    node_report_again(n);
    node_template_again(n);
    node_lease_welcome(n, w);
    if (w->replay_from && w->replay_from <= n->acked_n)
        node_effect(n, RMD_NF_REPLAY)->n = w->replay_from;
}

static void refused(struct rmd_node *n, const Remuda__Refused *r) {
    char text[160];
    (void)rmd_format(text, sizeof text, "coordinator refused this node: %s",
                     *r->reason ? r->reason : rmd_error_text(RMD_EAUTH));
    if (r->code == REFUSED_NOT_READY && n->state == NODE_SERVING)
        node_log(n, "the coordinator doesn't know this session (it was restarted, or this node was silent too long): "
                    "saying Hello again");
    else
        log_refusal(n, text);
    if (r->code == REFUSED_KEY) {
        /* revoked: nothing starts any more; renewed only by another Welcome */
        n->valid_until = 0;
        tell_validity(n, 0);
    }
    bool person = r->code == REFUSED_VERSION || r->code == REFUSED_KEY;
    node_disconnect(n, person                         ? RMD_NODE_REFUSED_MS
                       : r->code == REFUSED_NOT_READY ? RMD_NODE_NOT_READY_MS
                                                      : RMD_NODE_HELLO_MS);
}

bool node_session_frame(struct rmd_node *n, const Remuda__Frame *f) {
    switch (f->body_case) {
    case REMUDA__FRAME__BODY_WELCOME:
        welcome(n, f->epoch, f->welcome);
        return true;
    case REMUDA__FRAME__BODY_REFUSED:
        if (f->epoch >= n->epoch_seen || !f->epoch)
            refused(n, f->refused);
        return true;
    case REMUDA__FRAME__BODY_POLICY:
    case REMUDA__FRAME__BODY_HEARTBEAT_ECHO:
        break;
    default:
        if (n->state == NODE_SERVING && f->epoch > n->epoch)
            node_disconnect(n, 0); /* another coordinator speaks: who is it? */
        return false;
    }
    if (n->state != NODE_SERVING || f->epoch != n->epoch) {
        if (n->state == NODE_SERVING && f->epoch > n->epoch)
            node_disconnect(n, 0);
        return true;
    }
    n->heard_at = n->now.mono_ms;
    if (f->body_case == REMUDA__FRAME__BODY_POLICY) {
        apply_policy(n, f->policy, false);
    } else {
        renew_validity(n, f->heartbeat_echo->echo_mono_ms, f->heartbeat_echo->lease_valid_ms);
        learn_ledger_time(n, f->heartbeat_echo->ledger_time_ms);
    }
    return true;
}

/* ---------------------------------------------------------------- heartbeats */

void node_trouble(struct rmd_node *n, const struct rmd_mail *m) {
    struct node_trouble *t = rmd_map_get_u64(&n->trouble, m->source);
    const char *text = m->text ? m->text : "";
    if (!t) {
        if (!*text)
            return;
        t = rmd_alloc(sizeof *t);
        t->source = m->source;
        rmd_map_set_u64(&n->trouble, m->source, t);
    }
    if (strcmp(t->text, text) == 0)
        return;
    rmd_copy(t->text, sizeof t->text, text);
    t->told = false;
    if (*text)
        node_warn(n, "%s", text);
    else if (m->source)
        node_log(n, "source %u: its trouble is over", m->source);
    if (n->state == NODE_SERVING)
        n->heartbeat_at = n->now.mono_ms;
}

void node_heartbeat(struct rmd_node *n) {
    struct rmd_arena *a = &n->out->arena;
    Remuda__Frame *f = node_frame(n, REMUDA__FRAME__BODY_HEARTBEAT);
    Remuda__Heartbeat *h = f->heartbeat = rmd_arena_alloc(a, sizeof *h);
    remuda__heartbeat__init(h);
    h->node_mono_ms = n->now.mono_ms;
    h->malformed_frames = n->malformed_frames;
    h->connections = n->stats.connections;
    h->waiting = n->stats.waiting;
    h->stopping = n->stopping;
    h->source = rmd_arena_alloc(a, (n->trouble.n + 1) * sizeof *h->source);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&n->trouble, &it, NULL, &v)) {
        struct node_trouble *t = v;
        Remuda__SourceTrouble *s = h->source[h->n_source++] = rmd_arena_alloc(a, sizeof *s);
        remuda__source_trouble__init(s);
        s->source = t->source;
        s->text = rmd_arena_str(a, rmd_slice_str(t->text));
        if (*t->text && !t->source)
            h->trouble = s->text;   /* a source's own is told with the source */
        if (!*t->text && t->told) { /* mended, and said twice: the second time makes up for a lost frame */
            rmd_map_remove_u64(&n->trouble, t->source);
            free(t);
            continue;
        }
        t->told = true;
    }
    node_send(n, f);
    n->heartbeat_at = n->now.mono_ms + n->o.heartbeat_ms;
}
