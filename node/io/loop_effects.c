/* Carrying out what a worker core decided: journal, then letters, then DNS, dialling, TLS, sending, closing, in order
 * (loop.h, worker.h).
 *
 * A write to the journal costs more than most of what it waits for. So content whose effects are its mark and its SEND
 * alone is held until the next step that writes anyway, at the latest until all that was ready is served: both go to the
 * journal in one piece, then the content leaves, then what the other step decided. Envelopes are never held: no MAIL may
 * leave after a verdict that another connection reads meanwhile.
 *
 * Nothing here steps the core: what happens at once (an answer from the DNS cache, bytes that left) waits in `later`.
 */
#include "node/io/loop_state.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>

#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "node/io/journal_wait.h"

/* ---------------------------------------------------------------- journal and letters */

static struct rmd_journal_record *record_next(struct rmd_loop *l, size_t n) {
    if (n == l->record_cap) {
        l->record_cap = l->record_cap ? l->record_cap * 2 : 32;
        l->record = rmd_realloc(l->record, l->record_cap * sizeof *l->record);
    }
    l->record[n] = (struct rmd_journal_record){0};
    return &l->record[n];
}

/* Encodes at the end of `encoded`; bytes.p holds the offset until all is encoded, because the buffer may move. */
static struct rmd_slice encode(struct rmd_loop *l, const void *message) {
    size_t at = l->encoded.len;
    rmd_pb_encode(message, &l->encoded);
    return (struct rmd_slice){.p = (const uint8_t *)(uintptr_t)at, .n = l->encoded.len - at};
}

static void mark(struct rmd_journal_record *r, uint64_t lease, uint32_t index, int mark) {
    r->kind = RMD_JR_MARK;
    r->lease = lease;
    r->index = index;
    r->mark = (uint8_t)mark;
}

/* The marks of what is held come first, then the records of the effects. */
static size_t collect_records(struct rmd_loop *l) {
    size_t n = 0;
    rmd_buf_clear(&l->encoded);
    for (; n < l->held_n; n++)
        mark(record_next(l, n), l->held[n].lease, l->held[n].index, 2);
    for (size_t i = 0; i < l->effects.n; i++) {
        const struct rmd_worker_effect *x = &l->effects.v[i];
        struct rmd_journal_record *r;
        if (x->kind == RMD_WF_MARK) {
            mark(record_next(l, n++), x->lease, x->index, x->mark);
        } else if (x->kind == RMD_WF_OUTCOME) {
            r = record_next(l, n++);
            r->kind = RMD_JR_OUTCOME;
            r->lease = x->outcome->lease;
            r->index = x->outcome->index;
            r->bytes = encode(l, x->outcome);
        } else if (x->kind == RMD_WF_ALARM) {
            r = record_next(l, n++);
            r->kind = RMD_JR_ALARM;
            r->bytes = encode(l, x->alarm);
        }
    }
    for (size_t i = 0; i < n; i++)
        if (l->record[i].bytes.n)
            l->record[i].bytes.p = l->encoded.p + (uintptr_t)l->record[i].bytes.p;
    return n;
}

static bool was_replied(const Remuda__Outcome *o) {
    return o->kind == RMD_OUTCOME_DELIVERED || (o->kind == RMD_OUTCOME_BOUNCED && o->reply && o->reply->code);
}

static bool ending(void *ctx) {
    return atomic_load((atomic_bool *)ctx);
}

/* false: the journal can't be written and the process is ending. */
static bool journal(struct rmd_loop *l) {
    size_t n = collect_records(l);
    if (!n)
        return true;
    if (rmd_journal_append_wait(l->o.journal, l->record, n, ending, &l->quit) != RMD_OK)
        return false;
    size_t r = l->held_n;
    for (size_t i = 0; i < l->effects.n; i++) {
        const struct rmd_worker_effect *x = &l->effects.v[i];
        if (x->kind != RMD_WF_MARK && x->kind != RMD_WF_OUTCOME && x->kind != RMD_WF_ALARM)
            continue;
        const struct rmd_journal_record *rec = &l->record[r++];
        if (x->kind == RMD_WF_OUTCOME) {
            if (was_replied(x->outcome))
                rmd_probe(RMD_PROBE_REPLY_READ);
            rmd_mailbox_put(l->o.core, rmd_letter_number(RMD_LETTER_OUTCOME, rec->n, rec->bytes), true);
        } else if (x->kind == RMD_WF_ALARM) {
            rmd_probe(RMD_PROBE_VERDICT_READ);
            rmd_mailbox_put(l->o.core, rmd_letter_number(RMD_LETTER_ALARM, rec->n, rec->bytes), true);
        }
    }
    return true;
}

/* ---------------------------------------------------------------- connections */

static void wait_for(struct rmd_loop *l, uint32_t number) {
    struct loop_conn *c = &l->conn[number];
    uint32_t events = rmd_dial_events(&c->dial);
    if (c->dial.fd < 0 || (c->registered && events == c->events))
        return;
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)c->generation << 32 | number};
    if (epoll_ctl(l->epoll, c->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->dial.fd, &e)) {
        struct loop_later *x = loop_later(l, LATER_FAILED);
        x->conn = number;
        x->generation = c->generation;
        x->error = RMD_OWN_CONNECTION_LOST;
        (void)rmd_format(x->text, sizeof x->text, "epoll: %s", strerror(errno));
        c->dial.state = RMD_DIAL_FAILED;
        return;
    }
    c->registered = true;
    c->events = events;
}

/* Stops listening: a failed connection that the core hasn't closed yet must not spin. */
static void fail_later(struct rmd_loop *l, uint32_t number) {
    struct loop_conn *c = &l->conn[number];
    struct loop_later *x = loop_later(l, LATER_FAILED);
    x->conn = number;
    x->generation = c->generation;
    x->error = c->dial.error;
    (void)rmd_copy(x->text, sizeof x->text, c->dial.text);
    if (c->registered && c->dial.fd >= 0)
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, c->dial.fd, NULL);
    c->registered = false;
}

static struct loop_conn *conn_at(struct rmd_loop *l, uint32_t number) {
    if (number >= l->conns) {
        uint32_t conns = l->conns ? l->conns : 64;
        while (conns <= number)
            conns *= 2;
        l->conn = rmd_realloc(l->conn, conns * sizeof *l->conn);
        memset(l->conn + l->conns, 0, (conns - l->conns) * sizeof *l->conn);
        for (uint32_t i = l->conns; i < conns; i++)
            l->conn[i].dial.fd = -1;
        l->conns = conns;
    }
    return &l->conn[number];
}

static void dial(struct rmd_loop *l, const struct rmd_worker_effect *x) {
    struct loop_conn *c = conn_at(l, x->conn);
    assert(c->dial.state == RMD_DIAL_CLOSED);
    c->generation++;
    if (!c->generation)
        c->generation = 1; /* 0 tags what isn't a connection */
    c->registered = c->dot = c->opened = c->held = false;
    if (rmd_dial_open(&c->dial, &x->source_addr, &x->dest_addr, x->port) != RMD_OK)
        fail_later(l, x->conn);
    else
        wait_for(l, x->conn);
}

static void hang_up(struct rmd_loop *l, uint32_t number) {
    if (number >= l->conns)
        return;
    rmd_dial_close(&l->conn[number].dial); /* epoll forgets a closed descriptor */
    l->conn[number].registered = false;
}

void loop_conns_close(struct rmd_loop *l) {
    for (uint32_t i = 0; i < l->conns; i++)
        rmd_dial_close(&l->conn[i].dial);
}

static void all_left(struct rmd_loop *l, uint32_t number) {
    struct loop_conn *c = &l->conn[number];
    if (c->opened)
        rmd_probe(RMD_PROBE_TRANSACTION_OPEN);
    bool dot = c->dot;
    if (dot)
        rmd_probe(RMD_PROBE_DOT_SENT);
    c->opened = c->dot = false;
    if (!dot)
        return; /* the core waits for the reply to it, and has begun to */
    struct loop_later *x = loop_later(l, LATER_SENT);
    x->conn = number;
    x->generation = c->generation;
}

static void send_bytes(struct rmd_loop *l, const struct rmd_worker_effect *x, bool opens) {
    struct loop_conn *c = conn_at(l, x->conn);
    if (c->dial.state != RMD_DIAL_OPEN)
        return; /* it failed under the core's hands; that is on its way */
    c->opened |= opens;
    c->dot |= x->dot;
    if (rmd_dial_send(&c->dial, x->bytes) == RMD_OK)
        all_left(l, x->conn);
    wait_for(l, x->conn);
}

static void tls_done(struct rmd_loop *l, uint32_t number, bool ok) {
    struct loop_conn *c = &l->conn[number];
    struct loop_later *x = loop_later(l, LATER_TLS);
    x->conn = number;
    x->generation = c->generation;
    x->ok = ok;
    x->tls = c->dial.tls_info;
    (void)rmd_copy(x->text, sizeof x->text, c->dial.text);
    if (!ok && c->registered && c->dial.fd >= 0) {
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, c->dial.fd, NULL);
        c->registered = false;
    }
}

static void handshake(struct rmd_loop *l, uint32_t number) {
    int rc = rmd_dial_handshake(&l->conn[number].dial);
    if (rc == RMD_EAGAIN) {
        wait_for(l, number);
        return;
    }
    tls_done(l, number, rc == RMD_OK);
    if (rc == RMD_OK)
        wait_for(l, number);
}

static void start_tls(struct rmd_loop *l, const struct rmd_worker_effect *x) {
    struct loop_conn *c = conn_at(l, x->conn);
    if (c->dial.state != RMD_DIAL_OPEN)
        return;
    if (rmd_dial_start_tls(&c->dial, l->tls, x->tls) != RMD_OK)
        tls_done(l, x->conn, false);
    else
        handshake(l, x->conn);
}

/* ---------------------------------------------------------------- DNS */

static void mx_answer(void *ctx, const char *domain, const struct rmd_mx_answer *a) {
    struct loop_later *x = loop_later(ctx, LATER_MX);
    (void)rmd_copy(x->name, sizeof x->name, domain);
    x->mx = rmd_memdup(a, sizeof *a);
}

static void addr_answer(void *ctx, const char *host, const struct rmd_addr_answer *a) {
    struct loop_later *x = loop_later(ctx, LATER_ADDR);
    (void)rmd_copy(x->name, sizeof x->name, host);
    x->addr = rmd_memdup(a, sizeof *a);
}

static void tlsa_answer(void *ctx, const char *name, const struct rmd_tlsa_answer *a) {
    struct loop_later *x = loop_later(ctx, LATER_TLSA);
    (void)rmd_copy(x->name, sizeof x->name, name);
    x->tlsa = rmd_memdup(a, sizeof *a);
}

/* ---------------------------------------------------------------- all effects */

static void carry_out_one(struct rmd_loop *l, const struct rmd_worker_effect *x, bool *opens) {
    switch (x->kind) {
    case RMD_WF_MARK:
        *opens |= x->mark == 1;
        break;
    case RMD_WF_OUTCOME:
    case RMD_WF_ALARM:
        break;
    case RMD_WF_MX:
        l->dns.ops->mx(l->dns.d, x->name, mx_answer, l);
        break;
    case RMD_WF_ADDR:
        l->dns.ops->addr(l->dns.d, x->name, true, true, addr_answer, l);
        break;
    case RMD_WF_TLSA:
        l->dns.ops->tlsa(l->dns.d, x->name, tlsa_answer, l);
        break;
    case RMD_WF_STS:
        rmd_sts_ask(l->o.sts, l->o.worker.index, x->name);
        break;
    case RMD_WF_DIAL:
        dial(l, x);
        break;
    case RMD_WF_TLS:
        start_tls(l, x);
        break;
    case RMD_WF_SEND:
        send_bytes(l, x, *opens);
        *opens = false;
        break;
    case RMD_WF_CLOSE:
        hang_up(l, x->conn);
        break;
    case RMD_WF_MAIL:
        rmd_mailbox_put(l->o.core, rmd_letter_mail(l->o.worker.index, &x->mail), true);
        break;
    }
}

/* The step's effects are a content's mark and its SEND, and nothing else. */
static bool is_content(const struct rmd_worker_effects *e) {
    return e->n == 2 && e->v[0].kind == RMD_WF_MARK && e->v[0].mark == 2 && e->v[1].kind == RMD_WF_SEND &&
           e->v[1].dot;
}

static void hold(struct rmd_loop *l) {
    const struct rmd_worker_effect *m = &l->effects.v[0], *send = &l->effects.v[1];
    struct loop_conn *c = conn_at(l, send->conn);
    if (l->held_n == l->held_cap) {
        l->held_cap = l->held_cap ? l->held_cap * 2 : 32;
        l->held = rmd_realloc(l->held, l->held_cap * sizeof *l->held);
    }
    l->held[l->held_n++] = (struct loop_held){
        .lease = m->lease, .index = m->index, .conn = send->conn, .generation = c->generation, .bytes = send->bytes};
    c->held = true;
}

/* What was held is in the journal. */
static void send_held(struct rmd_loop *l) {
    for (size_t i = 0; i < l->held_n; i++) {
        const struct loop_held *h = &l->held[i];
        if (l->conn[h->conn].generation != h->generation)
            continue;
        l->conn[h->conn].held = false;
        send_bytes(l, &(struct rmd_worker_effect){.conn = h->conn, .bytes = h->bytes, .dot = true}, false);
    }
    l->held_n = 0;
}

void loop_carry_out(struct rmd_loop *l) {
    if (l->failed || !l->effects.n)
        return;
    if (is_content(&l->effects)) {
        hold(l);
        return;
    }
    if (!journal(l)) {
        l->failed = true;
        return;
    }
    send_held(l);
    bool opens = false;
    for (size_t i = 0; i < l->effects.n; i++)
        carry_out_one(l, &l->effects.v[i], &opens);
}

void loop_let_go(struct rmd_loop *l) {
    if (l->failed || !l->held_n)
        return;
    rmd_worker_effects_reset(&l->effects);
    if (journal(l))
        send_held(l);
    else
        l->failed = true;
}

/* ---------------------------------------------------------------- what epoll says */

static void readable(struct rmd_loop *l, uint32_t number) {
    struct loop_conn *c = &l->conn[number];
    long n = rmd_dial_read(&c->dial, l->read);
    if (n > 0) {
        loop_step(l, &(struct rmd_worker_event){
                         .kind = RMD_WE_BYTES, .conn = number, .bytes = rmd_slice(l->read, (size_t)n)});
    } else if (n == RMD_ECLOSED) {
        fail_later(l, number);
    } else {
        wait_for(l, number);
    }
}

void loop_conn_event(struct rmd_loop *l, uint32_t number, uint32_t generation, uint32_t events) {
    if (number >= l->conns || l->conn[number].generation != generation)
        return; /* closed by an event before it */
    struct loop_conn *c = &l->conn[number];
    int rc;
    switch (c->dial.state) {
    case RMD_DIAL_CONNECTING:
        rc = rmd_dial_connected(&c->dial);
        if (rc == RMD_OK) {
            wait_for(l, number);
            loop_step(l, &(struct rmd_worker_event){.kind = RMD_WE_CONNECTED, .conn = number});
        } else if (rc != RMD_EAGAIN) {
            fail_later(l, number);
        }
        break;
    case RMD_DIAL_HANDSHAKE:
        handshake(l, number);
        break;
    case RMD_DIAL_OPEN:
        if (events & EPOLLOUT && rmd_dial_flush(&c->dial) == RMD_OK)
            all_left(l, number);
        wait_for(l, number);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            readable(l, number);
        break;
    case RMD_DIAL_CLOSED:
    case RMD_DIAL_FAILED:
        break;
    }
}
