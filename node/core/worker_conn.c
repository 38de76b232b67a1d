/* Connections: dialled along an MX plan, driven, kept, closed.
 *
 *   RESOLVING -> DIALING -> OPEN (SMTP) -> ready -> idle <-> transaction -> quitting -> gone
 *       ^___________|__________| next address, next host, or the same one without TLS
 *
 * Every DIAL is followed by exactly one CLOSE, also after a failure that the shell reported. When a plan is
 * exhausted, and no other connection to the site lives, all that waits for the site is deferred in the words of the
 * last attempt: the receiver is down, or doesn't talk to us, and the coordinator's retry schedule says when to ask
 * again. */
#include "node/core/worker_internal.h"
#include "proto/esmtp.h"

struct host_wait { /* connections that wait for a host's addresses */
    struct rmd_list conns;
};

void rmd_worker_conn_free(struct rmd_wconn *c) {
    if (!c)
        return;
    rmd_smtp_free(c->smtp);
    rmd_mxplan_free(c->plan);
    free(c->last);
    rmd_worker_tls_release(c);
    rmd_buf_release(&c->content);
    free(c);
}

/* --- numbers */

static struct rmd_wconn *conn_new(struct rmd_worker *w, struct rmd_wsite *site) {
    struct rmd_wconn *c = rmd_alloc(sizeof *c);
    if (!w->n_free) {
        uint32_t cap = w->conn_cap ? w->conn_cap * 2 : 16;
        w->conn = rmd_realloc(w->conn, cap * sizeof(struct rmd_wconn *));
        w->free_number = rmd_realloc(w->free_number, cap * sizeof *w->free_number);
        for (uint32_t i = cap; i > w->conn_cap; i--) {
            w->conn[i - 1] = NULL;
            w->free_number[w->n_free++] = i - 1;
        }
        w->conn_cap = cap;
    }
    c->number = w->free_number[--w->n_free];
    w->conn[c->number] = c;
    c->serial = ++w->serial;
    c->site = site;
    c->timer.kind = RMD_TIMER_CONN;
    w->conns++;
    site->conns++;
    site->dialing++;
    site->lane->conns++;
    rmd_list_push(&site->lane->conn_list, &c->of_lane);
    rmd_worker_site_touch(w, site);
    return c;
}

/* What was opened for it goes; the object may dial again. */
static void hang_up(struct rmd_worker *w, struct rmd_wconn *c) {
    rmd_list_remove(&c->resolving);
    if (c->dialled)
        rmd_worker_effect(w, RMD_WF_CLOSE)->conn = c->number;
    c->dialled = false;
}

void rmd_worker_conn_unidle(struct rmd_wconn *c) {
    c->is_idle = false;
    rmd_list_remove(&c->idle);
    rmd_list_remove(&c->idle_of_lane);
    rmd_list_remove(&c->idle_of_worker);
}

void rmd_worker_conn_close(struct rmd_worker *w, struct rmd_wconn *c) {
    struct rmd_wsite *site = c->site;
    struct rmd_lane *lane = site->lane;
    assert(!c->message);
    hang_up(w, c);
    rmd_worker_conn_unidle(c);
    rmd_worker_arm(w, &c->timer, RMD_NEVER);
    rmd_list_remove(&c->of_lane);
    w->conn[c->number] = NULL;
    w->free_number[w->n_free++] = c->number;
    rmd_list_push(&w->graveyard, &c->dead);
    w->conns--;
    site->conns--;
    lane->conns--;
    if (c->ready)
        site->ready--;
    else
        site->dialing--;
    if (c->quitting) {
        w->quitting--;
        lane->quitting--;
    }
    lane->hungry = w->hungry = false;
    rmd_worker_pace_changed(w, lane, false);
    rmd_worker_site_touch(w, site);
    while (!rmd_list_empty(&w->starved)) /* those that waited come first */
        rmd_worker_wake_lane(w, rmd_container(w->starved.next, struct rmd_lane, starved));
    rmd_worker_wake(w, site, false);
    rmd_worker_wake_lane(w, lane);
}

/* --- dialling */

static void exhausted(struct rmd_worker *w, struct rmd_wconn *c) {
    char detail[160];
    struct rmd_saved own = {0}, *last = c->last;
    if (!last) {
        enum rmd_own_error error = rmd_mxplan_error(c->plan, detail, sizeof detail);
        rmd_rules_own(error, &own.verdict);
        own.reply.text = rmd_slice_str(detail);
        own.reply.stage = RMD_STAGE_DNS;
        last = &own;
    }
    /* Nobody is there by our family, and there is another: whoever has a source of that one asks it, and remembers. */
    if (!c->answered && last == c->last && rmd_mxplan_other_family(c->plan))
        rmd_rules_own(RMD_OWN_CONNECT_UNREACHABLE, &last->verdict);
    struct rmd_wsite *site = c->site;
    struct rmd_cause cause = {.lane = site->lane,
                              .site = site,
                              .reply = &last->reply,
                              .verdict = &last->verdict,
                              .mx_host = last->mx_host,
                              .mx_addr = last->mx_addr};
    if (site->ready) { /* others get through: only no more of them for a while */
        site->dial_after_ms = w->now.mono_ms + RMD_WORKER_SITE_DOWN_MS;
        rmd_worker_conn_close(w, c);
        return;
    }
    rmd_worker_site_down(w, &cause, RMD_WORKER_SITE_DOWN_MS);
    rmd_worker_conn_close(w, c);
}

static void dial_address(struct rmd_worker *w, struct rmd_wconn *c) {
    const struct rmd_wsource *s = c->site->lane->source;
    c->addr = *rmd_mxplan_address(c->plan);
    rmd_copy(c->host, sizeof c->host, rmd_mxplan_host(c->plan));
    rmd_addr_format(&c->addr, c->addr_text);
    c->tls.info = (struct rmd_tls_info){0};
    c->phase = RMD_CONN_DIALING;
    c->dialled = true;
    c->identity = c->site->lane->source->identity;
    c->due_ms = w->now.mono_ms + w->o.connect_timeout_ms;
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_DIAL);
    f->conn = c->number;
    f->source_addr = s->bind;
    f->dest_addr = c->addr;
    f->port = w->policy->smtp_port ? (uint16_t)w->policy->smtp_port : 25;
    rmd_worker_conn_arm(w, c);
}

/* Waits for an answer about the name, with all others that do. */
static void look_up(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_map *waits,
                    enum rmd_worker_effect_kind kind, const char *name) {
    c->phase = RMD_CONN_RESOLVING;
    c->due_ms = w->now.mono_ms + RMD_WORKER_DNS_WAIT_MS;
    struct host_wait *wait = rmd_map_get_str(waits, name);
    if (!wait) {
        wait = rmd_alloc(sizeof *wait);
        rmd_list_init(&wait->conns);
        rmd_map_set(waits, rmd_slice_str(name), wait);
        rmd_worker_effect(w, kind)->name = rmd_arena_str(&w->out->arena, rmd_slice_str(name));
    }
    rmd_list_push(&wait->conns, &c->resolving);
    rmd_worker_conn_arm(w, c);
}

static void look_up_tlsa(struct rmd_worker *w, struct rmd_wconn *c, const char *host) {
    char name[RMD_DOMAIN_MAX + 32];
    unsigned port = w->policy->smtp_port ? w->policy->smtp_port : 25;
    (void)rmd_format(name, sizeof name, "_%u._tcp.%s", port, host);
    look_up(w, c, &w->tlsa_hosts, RMD_WF_TLSA, name);
}

static void forbidden(struct rmd_wconn *c, const char *host);

/* From where the plan stands: the next address, or the next host's addresses, or the end. */
static void advance(struct rmd_worker *w, struct rmd_wconn *c) {
    for (;;) {
        const char *host = rmd_mxplan_host(c->plan);
        if (!host) {
            exhausted(w, c);
            return;
        }
        if (!rmd_mxplan_address(c->plan)) {
            look_up(w, c, &w->hosts, RMD_WF_ADDR, host);
            return;
        }
        switch (rmd_worker_tls_host(w, c)) {
        case RMD_TLS_STEP_DIAL:
            dial_address(w, c);
            return;
        case RMD_TLS_STEP_ASK_TLSA:
            look_up_tlsa(w, c, host);
            return;
        case RMD_TLS_STEP_SKIP:
            forbidden(c, host);
            rmd_mxplan_next_host(c->plan);
        }
    }
}

bool rmd_worker_dial(struct rmd_worker *w, struct rmd_wsite *site, const struct rmd_wdomain *d) {
    struct rmd_wconn *c = conn_new(w, site);
    c->plan = rmd_mxplan_new(d->mx, d->n_mx, &w->rng);
    c->tls.domain = rmd_strdup(d->name);
    c->tls.sts = rmd_wsts_dup(d->sts);
    c->tls.mx_secure = d->mx_secure;
    advance(w, c);
    return true;
}

static bool our_address(void *ctx, const struct rmd_addr *a) {
    const struct rmd_worker *w = ctx;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->sources, &it, NULL, &v)) {
        const struct rmd_wsource *s = v;
        if (s->known && (rmd_addr_eq(a, &s->bind) || rmd_addr_eq(a, &s->public_address)))
            return true;
    }
    return false;
}

static void host_answer(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_addr_answer *addr) {
    struct rmd_mxplan_filter filter = {.source = c->site->lane->source->id,
                                       .family = c->site->lane->source->family,
                                       .allow = w->allow,
                                       .n_allow = w->n_allow,
                                       .ours = our_address,
                                       .ctx = w,
                                       .fail = &w->fail,
                                       .now_ms = w->now.mono_ms};
    rmd_mxplan_addresses(c->plan, addr, &filter, &w->rng);
    rmd_worker_tls_new_host(c, addr->secure);
    advance(w, c);
}

static void host_tlsa(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_tlsa_answer *tlsa) {
    free(c->tls.tlsa);
    c->tls.tlsa = rmd_memdup(tlsa, sizeof *tlsa);
    advance(w, c);
}

void rmd_worker_tlsa(struct rmd_worker *w, const char *name, const struct rmd_tlsa_answer *tlsa) {
    struct host_wait *wait = rmd_map_remove(&w->tlsa_hosts, rmd_slice_str(name));
    if (!wait)
        return;
    while (!rmd_list_empty(&wait->conns)) {
        struct rmd_wconn *c = rmd_container(wait->conns.next, struct rmd_wconn, resolving);
        rmd_list_remove(&c->resolving);
        host_tlsa(w, c, tlsa);
    }
    free(wait);
}

void rmd_worker_addr(struct rmd_worker *w, const char *name, const struct rmd_addr_answer *addr) {
    struct host_wait *wait = rmd_map_remove(&w->hosts, rmd_slice_str(name));
    if (!wait)
        return;
    while (!rmd_list_empty(&wait->conns)) {
        struct rmd_wconn *c = rmd_container(wait->conns.next, struct rmd_wconn, resolving);
        rmd_list_remove(&c->resolving);
        host_answer(w, c, addr);
    }
    free(wait);
}

/* --- a connection that never became ready */

static void remember(struct rmd_wconn *c, const struct rmd_reply *reply, const struct rmd_verdict *v) {
    if (!c->last)
        c->last = rmd_alloc(sizeof *c->last);
    struct rmd_saved *s = c->last;
    s->verdict = *v;
    s->reply = *reply;
    size_t n = reply->text.n < sizeof s->text ? reply->text.n : sizeof s->text;
    if (n)
        memcpy(s->text, reply->text.p, n);
    s->reply.text = rmd_slice(s->text, n);
    rmd_copy(s->mx_host, sizeof s->mx_host, c->host);
    rmd_copy(s->mx_addr, sizeof s->mx_addr, c->addr_text);
}

/* The TLS policy forbids the host that the plan stands at. */
static void forbidden(struct rmd_wconn *c, const char *host) {
    struct rmd_verdict v;
    char text[160];
    (void)rmd_format(text, sizeof text, "%s isn't used: %s", host, c->tls.decision.reason);
    struct rmd_reply reply = {.text = rmd_slice_str(text), .stage = RMD_STAGE_DNS};
    rmd_copy(c->host, sizeof c->host, host);
    rmd_addr_format(rmd_mxplan_address(c->plan), c->addr_text);
    rmd_rules_own(RMD_OWN_TLS_POLICY, &v);
    remember(c, &reply, &v);
}

static void next_address(struct rmd_worker *w, struct rmd_wconn *c) {
    rmd_mxfail_add(&w->fail, c->site->lane->source->id, &c->addr, w->now.mono_ms);
    hang_up(w, c);
    rmd_mxplan_next(c->plan);
    advance(w, c);
}

static void own_failure(struct rmd_worker *w, struct rmd_wconn *c, enum rmd_own_error error, enum rmd_stage stage,
                        struct rmd_slice detail) {
    struct rmd_verdict v;
    struct rmd_reply reply = {.text = detail, .stage = stage};
    if (error == RMD_OWN_TLS_HANDSHAKE && rmd_worker_tls_fall_back(w, c, detail)) {
        hang_up(w, c);
        advance(w, c);
        return;
    }
    error = rmd_worker_tls_failed(w, c, error, detail);
    rmd_rules_own(error, &v);
    remember(c, &reply, &v);
    next_address(w, c);
}

/* The receiver refused the connection: a word about us. Nobody is bounced for it. */
static void refused_connection(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_reply *reply) {
    struct rmd_verdict v;
    rmd_worker_classify(w, c->site->lane, reply, &v);
    v.permanent = false;
    remember(c, reply, &v);
    const struct rmd_wmessage *head = rmd_site_head(c->site);
    struct rmd_cause cause = {.lane = c->site->lane,
                              .site = c->site,
                              .reply = &c->last->reply,
                              .verdict = &v,
                              .domain = head ? head->domain->name : NULL,
                              .mx_host = c->host,
                              .mx_addr = c->addr_text,
                              .stream = head ? head->lease->pb->stream : 0};
    rmd_worker_apply(w, &cause); /* with `driving` set: this one is closed here, nowhere else */
    c->driving = false;
    if (c->doomed) {
        rmd_worker_conn_close(w, c);
    } else if (v.action == RMD_ACTION_NEXT_MX || (reply->code < 500 && !rmd_action_slows(v.action))) {
        next_address(w, c);
    } else {
        if (v.action != RMD_ACTION_NARROW) /* it talks to us, on fewer connections */
            rmd_mxfail_add(&w->fail, c->site->lane->source->id, &c->addr, w->now.mono_ms);
        exhausted(w, c);
    }
}

static void never_ready(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_smtp_result *r) {
    if (!r->own) {
        if (r->reply.stage == RMD_STAGE_STARTTLS)
            (void)rmd_worker_tls_failed(w, c, RMD_OWN_TLS_NOT_OFFERED, r->reply.text);
        refused_connection(w, c, &r->reply);
        return;
    }
    c->driving = false;
    own_failure(w, c, r->error, r->reply.stage, r->reply.text);
}

static void dial_failed(struct rmd_worker *w, struct rmd_wconn *c, enum rmd_own_error error, const char *text) {
    if (error == RMD_OWN_SOURCE_ADDRESS)
        rmd_worker_no_address(w, c->site->lane->source, text); /* closes this one too */
    else
        own_failure(w, c, error, RMD_STAGE_CONNECT, rmd_slice_str(text));
}

/* --- an open connection */

static void connected(struct rmd_worker *w, struct rmd_wconn *c) {
    struct rmd_lane *lane = c->site->lane;
    struct rmd_smtp_options o = {
        .helo = lane->source->helo, .timeouts = &w->o.timeouts, .tls = rmd_worker_tls_option(c)};
    o.chunking = lane->policy && lane->policy->chunking != RMD_CHUNKING_OFF;
    rmd_smtp_free(c->smtp);
    c->smtp = rmd_smtp_new(&o, w->now.mono_ms);
    c->phase = RMD_CONN_OPEN;
    c->answered = true;
    if (lane->source->has_trouble) {
        lane->source->has_trouble = false;
        rmd_worker_say(w, RMD_MAIL_TROUBLE, 0, lane->source->id, "");
    }
    rmd_worker_conn_drive(w, c);
}

static uint32_t messages_a_connection(const struct rmd_wconn *c) {
    const struct rmd_lane *lane = c->site->lane;
    uint32_t max = lane->policy && lane->policy->messages_per_connection ? lane->policy->messages_per_connection
                                                                         : RMD_WORKER_MESSAGES_A_CONNECTION;
    uint32_t found = c->site->messages_a_connection ? c->site->messages_a_connection : lane->messages_a_connection;
    return found && found < max ? found : max;
}

static bool used_up(const struct rmd_worker *w, const struct rmd_wconn *c) {
    const struct rmd_lane *lane = c->site->lane;
    if (lane->policy && lane->policy->cluster_connections && !lane->leases)
        return true; /* its share of the cluster's ceiling is gone with the last lease */
    return c->sent >= messages_a_connection(c) || c->identity != lane->source->identity ||
           ((lane->hungry || w->hungry) && c->sent >= RMD_WORKER_FAIR_TURN) ||
           lane->conns - lane->quitting > rmd_width_limit(&lane->width, rmd_lane_limit(lane)) ||
           c->site->conns > rmd_width_limit(&c->site->width, rmd_site_limit(c->site)) ||
           w->now.mono_ms < c->site->down_until_ms || rmd_worker_lane_blocked(w, lane) != RMD_RETURN_NONE ||
           rmd_worker_site_stopped(w, lane, c->site->mx_site);
}

static void idle(struct rmd_worker *w, struct rmd_wconn *c) {
    struct rmd_wsite *site = c->site;
    if (!c->ready) {
        c->ready = true;
        site->dialing--;
        site->ready++;
        site->dial_after_ms = 0;
        rmd_worker_tls_ready(w, c);
        rmd_mxfail_clear(&w->fail, site->lane->source->id, &c->addr);
        rmd_mxplan_free(c->plan);
        c->plan = NULL;
        free(c->last);
        c->last = NULL;
    }
    if (used_up(w, c)) {
        rmd_worker_conn_quit(w, c);
        return;
    }
    c->is_idle = true;
    c->due_ms = w->now.mono_ms + w->o.idle_close_ms;
    rmd_list_push(&site->idle, &c->idle);
    rmd_list_push(&site->lane->idle, &c->idle_of_lane);
    rmd_list_push(&w->idle, &c->idle_of_worker);
    rmd_worker_conn_arm(w, c);
    rmd_worker_wake(w, site, true);
}

/* The connection is over. */
static void ended(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_smtp_result *r) {
    if (!c->ready && !c->doomed) {
        never_ready(w, c, r);
        return;
    }
    if (!c->doomed && !c->quitting && !r->own && r->reply.code >= 400) {
        struct rmd_verdict v; /* 421 while idle, RSET refused */
        struct rmd_cause cause = {.lane = c->site->lane,
                                  .site = c->site,
                                  .reply = &r->reply,
                                  .verdict = &v,
                                  .mx_host = c->host,
                                  .mx_addr = c->addr_text};
        rmd_worker_classify(w, cause.lane, &r->reply, &v);
        rmd_worker_apply(w, &cause);
    }
    rmd_worker_conn_close(w, c);
}

static void send_bytes(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_smtp_action *a) {
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_SEND);
    f->conn = c->number;
    f->dot = a->dot;
    /* Content stays where it is until the next step. Commands are copied: one step may hand out two. */
    f->bytes = a->dot ? a->bytes : rmd_slice(rmd_arena_dup(&w->out->arena, a->bytes.p, a->bytes.n), a->bytes.n);
    if (a->dot)
        c->dot_sent = true;
}

/* Takes the SMTP machine's actions until it waits. */
void rmd_worker_conn_drive(struct rmd_worker *w, struct rmd_wconn *c) {
    if (c->driving)
        return;
    c->driving = true;
    for (;;) {
        if (c->doomed && !c->message) {
            rmd_worker_conn_close(w, c);
            return;
        }
        struct rmd_smtp_action a = rmd_smtp_next(c->smtp, w->now.mono_ms);
        switch (a.kind) {
        case RMD_SMTP_NOTHING:
            c->driving = false;
            rmd_worker_conn_arm(w, c);
            return;
        case RMD_SMTP_SEND:
            send_bytes(w, c, &a);
            break;
        case RMD_SMTP_START_TLS:
            rmd_worker_tls_start(w, c);
            break;
        case RMD_SMTP_IDLE:
            c->driving = false;
            idle(w, c);
            return;
        case RMD_SMTP_NEED_CONTENT:
            rmd_worker_content(w, c);
            break;
        case RMD_SMTP_DONE:
            rmd_worker_transaction_end(w, c, &a.result);
            break;
        case RMD_SMTP_CLOSE:
            ended(w, c, &a.result);
            return;
        }
    }
}

void rmd_worker_conn_quit(struct rmd_worker *w, struct rmd_wconn *c) {
    if (c->quitting)
        return;
    rmd_worker_conn_unidle(c);
    c->quitting = true;
    w->quitting++;
    c->site->lane->quitting++;
    rmd_smtp_quit(c->smtp, w->now.mono_ms);
    rmd_worker_conn_drive(w, c);
}

void rmd_worker_conn_event(struct rmd_worker *w, const struct rmd_worker_event *e) {
    struct rmd_wconn *c = e->conn < w->conn_cap ? w->conn[e->conn] : NULL;
    int64_t now = w->now.mono_ms;
    if (!c || !c->dialled)
        return;
    if (c->phase == RMD_CONN_DIALING) {
        if (e->kind == RMD_WE_CONNECTED)
            connected(w, c);
        else if (e->kind == RMD_WE_FAILED)
            dial_failed(w, c, e->error, e->text ? e->text : "");
        return;
    }
    switch (e->kind) {
    case RMD_WE_FAILED:
        rmd_smtp_lost(c->smtp, e->text && *e->text ? e->text : "connection lost", now);
        break;
    case RMD_WE_TLS:
        c->tls.info = e->tls ? *e->tls : (struct rmd_tls_info){0};
        (void)rmd_copy(c->tls.text, sizeof c->tls.text, e->text ? e->text : "");
        rmd_smtp_tls_done(c->smtp, e->ok, e->text ? e->text : "", now);
        break;
    case RMD_WE_BYTES:
        rmd_smtp_bytes(c->smtp, e->bytes, now);
        break;
    case RMD_WE_SENT:
        rmd_smtp_sent(c->smtp, now);
        break;
    default:
        return;
    }
    bool was_idle = c->is_idle;
    int64_t due_ms = c->due_ms;
    if (was_idle)
        rmd_worker_conn_unidle(c); /* the server may have ended it */
    rmd_worker_conn_drive(w, c);
    if (was_idle && c->is_idle)
        c->due_ms = due_ms; /* bytes to no purpose don't keep it open */
}

/* --- time */

static int64_t due(const struct rmd_wconn *c) {
    if (c->phase != RMD_CONN_OPEN || c->is_idle)
        return c->due_ms;
    int64_t at = rmd_smtp_deadline(c->smtp);
    return c->message && c->tx_deadline_ms < at ? c->tx_deadline_ms : at;
}

/* Lazy: a timer that fires too early is set again; that is rarer than deadlines that move on. */
void rmd_worker_conn_arm(struct rmd_worker *w, struct rmd_wconn *c) {
    int64_t at = due(c);
    if (!c->timer.heap.pos || c->timer.heap.key > at)
        rmd_worker_arm(w, &c->timer, at);
}

void rmd_worker_conn_timer(struct rmd_worker *w, struct rmd_wconn *c) {
    int64_t now = w->now.mono_ms;
    if (due(c) > now) {
        rmd_worker_conn_arm(w, c);
        return;
    }
    if (c->phase == RMD_CONN_RESOLVING) {
        struct rmd_addr_answer none = {.status = RMD_DNS_TEMPFAIL};
        struct rmd_tlsa_answer no_tlsa = {.status = RMD_DNS_TEMPFAIL};
        rmd_list_remove(&c->resolving);
        if (rmd_mxplan_address(c->plan))
            host_tlsa(w, c, &no_tlsa);
        else
            host_answer(w, c, &none);
    } else if (c->phase == RMD_CONN_DIALING) {
        own_failure(w, c, RMD_OWN_CONNECT_TIMEOUT, RMD_STAGE_CONNECT, rmd_slice_str("no answer to the connection"));
    } else if (c->is_idle) {
        rmd_worker_conn_quit(w, c);
    } else {
        if (c->message && now >= c->tx_deadline_ms)
            rmd_smtp_abort(c->smtp, RMD_OWN_DEADLINE, now);
        else
            rmd_smtp_timeout(c->smtp, now);
        rmd_worker_conn_drive(w, c);
    }
}
