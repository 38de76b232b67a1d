/* One message: rendered and handed to the SMTP machine, and its one outcome. */
#include "node/core/worker_internal.h"
#include "proto/esmtp.h"

static const struct rmd_verdict delivered = {
    .class = RMD_CLASS_DELIVERED, .scope = RMD_SCOPE_RECIPIENT, .rule = "code"};

/* --- outcomes */

Remuda__Verdict *rmd_worker_wire_verdict(struct rmd_worker *w, const struct rmd_verdict *v) {
    Remuda__Verdict *out = rmd_arena_alloc(&w->out->arena, sizeof *out);
    rmd_verdict_to_wire(v, out);
    return out;
}

Remuda__Reply *rmd_worker_wire_reply(struct rmd_worker *w, const struct rmd_reply *r, const char *host,
                                     const char *addr) {
    struct rmd_arena *a = &w->out->arena;
    Remuda__Reply *out = rmd_arena_alloc(a, sizeof *out);
    remuda__reply__init(out);
    out->code = (uint32_t)r->code;
    out->stage = r->stage;
    if (r->enhanced[0])
        out->enhanced = rmd_arena_str(a, rmd_slice_str(r->enhanced));
    if (r->text.n) {
        out->text.data = rmd_arena_dup(a, r->text.p, r->text.n);
        out->text.len = r->text.n;
    }
    if (host && *host)
        out->mx_host = rmd_arena_str(a, rmd_slice_str(host));
    if (addr && *addr)
        out->mx_addr = rmd_arena_str(a, rmd_slice_str(addr));
    return out;
}

static void count(struct rmd_worker *w, enum rmd_outcome kind) {
    switch (kind) {
    case RMD_OUTCOME_DELIVERED:
        w->stats.delivered++;
        break;
    case RMD_OUTCOME_BOUNCED:
        w->stats.bounced++;
        break;
    case RMD_OUTCOME_DEFERRED:
        w->stats.deferred++;
        break;
    case RMD_OUTCOME_UNCERTAIN:
        w->stats.uncertain++;
        break;
    default:
        w->stats.returned++;
    }
}

void rmd_worker_outcome(struct rmd_worker *w, struct rmd_wmessage *m, const struct rmd_outcome_facts *f) {
    assert(m->state != RMD_W_DONE);
    struct rmd_wlease *l = m->lease;
    Remuda__Outcome *o = rmd_arena_alloc(&w->out->arena, sizeof *o);
    remuda__outcome__init(o);
    o->lease = l->id;
    o->index = m->index;
    o->kind = f->kind;
    o->rcpts = (uint32_t)f->rcpts;
    o->returned_reason = f->reason;
    o->wall_ms = w->now.wall_ms;
    if (f->reply)
        o->reply = rmd_worker_wire_reply(w, f->reply, f->mx_host, f->mx_addr);
    if (f->verdict)
        o->verdict = rmd_worker_wire_verdict(w, f->verdict);
    if (f->conn) {
        o->took_ms = w->now.mono_ms - f->conn->started_ms;
        o->tls = f->conn->smtp && rmd_smtp_is_tls(f->conn->smtp);
        if (o->tls) {
            o->tls_suite = f->conn->tls.info.suite;
            o->tls_verified = f->conn->tls.info.verified;
        }
        o->connection = f->conn->serial;
    }
    rmd_worker_effect(w, RMD_WF_OUTCOME)->outcome = o;
    count(w, f->kind);
    if (m->state < RMD_W_OPEN) {
        w->waiting--;
        rmd_worker_unqueue(w, m);
    } else {
        w->open--;
    }
    m->state = RMD_W_DONE;
    if (m->suppress_wait)
        rmd_worker_suppress_ended(w, m);
    if (m->domain)
        rmd_worker_domain_unref(w, m->domain);
    m->domain = NULL;
    assert(l->left);
    l->left--;
    l->pins++;
    rmd_worker_lease_unpin(w, l);
}

void rmd_worker_return(struct rmd_worker *w, struct rmd_wmessage *m, enum rmd_return_reason reason) {
    rmd_worker_outcome(w, m, &(struct rmd_outcome_facts){.kind = RMD_OUTCOME_RETURNED, .reason = reason});
}

void rmd_worker_own(struct rmd_worker *w, struct rmd_wmessage *m, enum rmd_own_error error, enum rmd_stage stage,
                    const char *detail) {
    struct rmd_verdict v;
    struct rmd_reply reply = {.text = rmd_slice_str(detail), .stage = stage};
    rmd_copy(reply.enhanced, sizeof reply.enhanced, rmd_rules_own_enhanced(error));
    rmd_rules_own(error, &v);
    rmd_worker_outcome(w, m,
                       &(struct rmd_outcome_facts){.kind = v.permanent ? RMD_OUTCOME_BOUNCED : RMD_OUTCOME_DEFERRED,
                                                   .reply = &reply,
                                                   .verdict = &v});
}

/* --- start */

/* When the campaign was accepted, from its id: every attempt renders the same Date, hence the same bytes. */
static int64_t campaign_wall_ms(const struct rmd_id *campaign) {
    return (int64_t)rmd_get_be32(campaign->b) << 16 | rmd_get_be16(campaign->b + 4);
}

/* False: the message was ended because it can't be rendered. */
static bool render(struct rmd_worker *w, struct rmd_wmessage *m, struct rmd_rendered *out) {
    char err[160] = "";
    const struct rmd_wstream *stream = rmd_worker_stream(w, m->lease->pb->stream);
    if (!stream || stream->broken) {
        rmd_worker_return(w, m, RMD_RETURN_PAUSED);
        return false;
    }
    const ProtobufCBinaryData *packed = &m->lease->pb->row[m->index];
    rmd_arena_reset(&w->scratch);
    const Remuda__Row *row =
        rmd_pb_decode(&remuda__row__descriptor, rmd_slice(packed->data, packed->len), &w->scratch);
    if (!row) {
        rmd_worker_own(w, m, RMD_OWN_RENDER_FAILED, RMD_STAGE_RENDER, "the recipient's row is malformed");
        return false;
    }
    struct rmd_id id = rmd_id_row(&m->lease->campaign, row->ordinal);
    int error = rmd_render(w->renderer, m->lease->compiled, &stream->render, &id, row,
                           campaign_wall_ms(&m->lease->campaign), out, err, sizeof err);
    if (error == RMD_EIO) /* a key can't sign: nothing about the message, and never sent unsigned */
        rmd_worker_return(w, m, RMD_RETURN_PAUSED);
    else if (error)
        rmd_worker_own(w, m, RMD_OWN_RENDER_FAILED, RMD_STAGE_RENDER, err);
    return error == RMD_OK;
}

static const char *unsupported_text(enum rmd_own_error why) {
    switch (why) {
    case RMD_OWN_SIZE_EXCEEDED:
        return "the message is larger than the server's SIZE";
    case RMD_OWN_NO_SMTPUTF8:
        return "the message needs SMTPUTF8, and the server doesn't offer it";
    case RMD_OWN_NO_8BITMIME:
        return "the message needs 8BITMIME, and the server doesn't offer it";
    case RMD_OWN_NO_REQUIRETLS:
        return "the stream demands REQUIRETLS, and the server doesn't offer it";
    case RMD_OWN_TLS_UNVERIFIED:
        return "the stream demands REQUIRETLS, and the connection isn't verified TLS (MTA-STS or DANE)";
    default:
        return "an envelope address can't be written in an SMTP command";
    }
}

static void mark(struct rmd_worker *w, const struct rmd_wmessage *m, int mark) {
    struct rmd_worker_effect *f = rmd_worker_effect(w, RMD_WF_MARK);
    f->lease = m->lease->id;
    f->index = m->index;
    f->mark = mark;
}

/* The content leaves with the envelope, where the provider's policy and the server let it. */
static bool goes_ahead(const struct rmd_wconn *c) {
    const struct rmd_lane *lane = c->site->lane;
    return lane->policy && lane->policy->chunking == RMD_CHUNKING_AHEAD && rmd_smtp_sends_ahead(c->smtp);
}

/* RFC 8689 section 4.2.1: the server is authenticated by MTA-STS or DANE, not only encrypted to. */
static bool is_verified(const struct rmd_wconn *c) {
    return c->tls.decision.level >= RMD_TLS_L_PKIX && c->tls.info.verified >= RMD_TLS_V_PKIX;
}

static int begin(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_wmessage *m,
                 const struct rmd_rendered *mail, enum rmd_own_error *why) {
    const Remuda__StreamPolicy *stream = rmd_worker_stream(w, m->lease->pb->stream)->pb;
    struct rmd_smtp_mail envelope = {.mail_from = mail->mail_from,
                                     .rcpt_to = mail->rcpt_to,
                                     .size = mail->message.n,
                                     .eightbit = mail->has_8bit,
                                     .smtputf8 = mail->needs_smtputf8,
                                     .requiretls = stream->requiretls,
                                     .notify = rmd_dsn_notify(stream->dsn),
                                     .envid = mail->token};
    if (stream->requiretls && !is_verified(c)) {
        *why = RMD_OWN_TLS_UNVERIFIED;
        return RMD_EUNSUPPORTED;
    }
    if (goes_ahead(c))
        envelope.ahead = mail->message;
    return rmd_smtp_mail(c->smtp, &envelope, why, w->now.mono_ms);
}

void rmd_worker_start(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_wmessage *m) {
    struct rmd_rendered mail;
    enum rmd_own_error why = RMD_OWN_RENDER_FAILED;
    assert(c->is_idle && !c->message && m->state == RMD_W_HELD);
    if (!render(w, m, &mail))
        return;
    if (begin(w, c, m, &mail, &why) != RMD_OK) {
        rmd_worker_own(w, m, why, why == RMD_OWN_RENDER_FAILED ? RMD_STAGE_RENDER : RMD_STAGE_MAIL,
                       unsupported_text(why));
        return;
    }
    bool ahead = goes_ahead(c);
    rmd_buf_clear(&c->content);
    c->content.limit = 2 * (size_t)RMD_MESSAGE_MAX_BYTES;
    if (!ahead)
        rmd_smtp_wire(c->smtp, mail.message, &c->content);
    rmd_worker_conn_unidle(c);
    w->waiting--;
    w->open++;
    m->state = RMD_W_OPEN;
    m->tries++;
    c->message = m;
    rmd_conn_began(c, m);
    c->dot_sent = false;
    c->started_ms = w->now.mono_ms;
    c->tx_deadline_ms = w->now.mono_ms + rmd_worker_tx_ms(w);
    rmd_pacer_take(&c->site->pacer, w->now.mono_ms);
    rmd_pacer_take(&c->site->lane->pacer, w->now.mono_ms);
    mark(w, m, 1);
    if (ahead)
        mark(w, m, 2);
    rmd_worker_conn_drive(w, c);
}

void rmd_worker_content(struct rmd_worker *w, struct rmd_wconn *c) {
    mark(w, c->message, 2);
    rmd_smtp_content(c->smtp, &c->content, w->now.mono_ms);
    rmd_buf_release(&c->content); /* the machine's former one: what waits for a reply holds no more than it sends */
}

/* --- end */

static void refused(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_wmessage *m, struct rmd_outcome_facts *f) {
    struct rmd_verdict v;
    struct rmd_cause cause = {.lane = c->site->lane,
                              .site = c->site,
                              .reply = f->reply,
                              .verdict = &v,
                              .domain = m->domain->name,
                              .mx_host = c->host,
                              .mx_addr = c->addr_text,
                              .stream = m->lease->pb->stream,
                              .taken = c->sent - 1};
    rmd_worker_classify(w, cause.lane, f->reply, &v);
    f->verdict = &v;
    f->kind = v.permanent ? RMD_OUTCOME_BOUNCED : RMD_OUTCOME_DEFERRED;
    rmd_worker_outcome(w, m, f);
    rmd_worker_tried(w, cause.lane, v.class == RMD_CLASS_RATE_LIMITED);
    rmd_worker_apply(w, &cause);
}

/* The connection failed before the dot. Without a RCPT the receiver knows nothing of it: another connection may try.
 */
static void failed(struct rmd_worker *w, struct rmd_wconn *c, struct rmd_wmessage *m, struct rmd_outcome_facts *f,
                   enum rmd_own_error error) {
    enum rmd_return_reason back = c->stop_reason ? (enum rmd_return_reason)c->stop_reason
                                  : f->rcpts     ? RMD_RETURN_NONE
                                                 : (enum rmd_return_reason)m->give_back;
    struct rmd_verdict v;
    if (back) {
        rmd_worker_outcome(
            w, m,
            &(struct rmd_outcome_facts){.kind = RMD_OUTCOME_RETURNED, .reason = back, .rcpts = f->rcpts, .conn = c});
        return;
    }
    if (!f->rcpts && m->tries < RMD_WORKER_TRIES_MAX && error != RMD_OWN_DEADLINE) {
        w->open--;
        w->waiting++;
        m->state = RMD_W_HELD;
        rmd_worker_route(w, m, true);
        return;
    }
    rmd_rules_own(error, &v);
    f->verdict = &v;
    f->kind = v.permanent ? RMD_OUTCOME_BOUNCED : RMD_OUTCOME_DEFERRED;
    rmd_worker_outcome(w, m, f);
}

void rmd_worker_transaction_end(struct rmd_worker *w, struct rmd_wconn *c, const struct rmd_smtp_result *r) {
    struct rmd_wmessage *m = c->message;
    struct rmd_verdict v;
    struct rmd_outcome_facts f = {
        .rcpts = r->rcpts, .reply = &r->reply, .mx_host = c->host, .mx_addr = c->addr_text, .conn = c};
    assert(m && m->state == RMD_W_OPEN);
    c->message = NULL;
    rmd_conn_ended(w, c);
    c->sent++;
    switch (r->end) {
    case RMD_SMTP_ACCEPTED:
        f.kind = RMD_OUTCOME_DELIVERED;
        f.verdict = &delivered;
        rmd_worker_outcome(w, m, &f);
        rmd_worker_tried(w, c->site->lane, false);
        rmd_worker_success(w, c->site);
        break;
    case RMD_SMTP_REFUSED:
        refused(w, c, m, &f);
        break;
    case RMD_SMTP_UNCERTAIN:
        rmd_rules_own(r->error, &v);
        v.permanent = false;
        f.kind = RMD_OUTCOME_UNCERTAIN;
        f.verdict = &v;
        rmd_worker_outcome(w, m, &f);
        break;
    default:
        failed(w, c, m, &f, r->error);
    }
    c->dot_sent = false;
    c->stop_reason = 0;
    rmd_buf_release(&c->content); /* of one that was refused before it was asked for */
}
