/* A world for worker stories: virtual time, a resolver, and receivers that answer by a function. It turns effects
 * into events and keeps a record of everything that the worker said. One event at a time; nothing happens by itself
 * but what the script says. */
#ifndef REMUDA_TESTS_WORKER_WORLD_H
#define REMUDA_TESTS_WORKER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/worker.h"
#include "tests/kit/sign_fake.h"

enum { WORLD_CONNS = 64, WORLD_RECORDS = 20000 };

struct world_conn {
    bool open, content;
    struct rmd_addr from, to;
    struct rmd_buf command;
    int messages;
};

struct world_outcome {
    uint64_t lease, connection;
    uint32_t index, kind, rcpts, reason, class, stage, code;
    int64_t at_ms;
    bool tls;
    char text[120], mx[64], rule[40];
};

struct world_event {
    struct rmd_worker_event e;
    struct rmd_buf bytes;
    char name[256];
    struct rmd_mx_answer mx;
    struct rmd_addr_answer addr;
    struct rmd_tlsa_answer tlsa;
    struct rmd_tls_info tls;
    struct rmd_sts_answer sts;
};

struct world {
    struct rmd_worker *w;
    struct rmd_worker_effects fx;
    struct rmd_rules *rules;
    int64_t now, wall;
    struct world_event *queue;
    size_t head, tail, cap;
    struct world_conn conn[WORLD_CONNS];
    struct world_outcome outcome[WORLD_RECORDS];
    size_t outcomes, alarms, dials, marks[3], closes, mails;
    uint32_t alarm_action, alarm_source;
    uint64_t alarm_site;
    char alarm_text[160], alarm_domain[64], trouble[256];
    uint64_t recall_done, suppress_done;
    int stopped, troubles;
    struct {
        size_t n;
        uint32_t per_minute, per_hour, connections, in_use, deferred_permille, sites, site_per_minute;
        uint32_t connects_per_minute;
        bool slowed, fresh, connects_bind;
        int64_t rest_ms, at_ms;
        char site[64];
    } pace;             /* of source 1, as last told, and how often */
    struct rmd_buf log; /* "time conn line\n" of every command, "." for content */
    int64_t mail_at[WORLD_RECORDS];
    struct rmd_addr mail_to[WORLD_RECORDS], dialled[WORLD_RECORDS];
    size_t mail_n;
    /* script; NULL: the usual */
    const char *(*answer)(struct world *, struct world_conn *,
                          const char *line); /* reply, "!cut", "!silent", NULL: usual */
    bool (*resolve)(struct world *, const char *name, struct rmd_mx_answer *mx);
    bool (*host)(struct world *, const char *name, struct rmd_addr_answer *a);
    bool (*connect)(struct world *, const struct rmd_addr *to, enum rmd_own_error *error, const char **text);
    const char *ehlo;
    bool tls_fails, hold_mx;
    struct rmd_buf sent; /* the last that was sent with its dot */
    /* transport security; NULL: none of it */
    bool (*tlsa)(struct world *, const char *name, struct rmd_tlsa_answer *a);
    struct rmd_sts_policy *(*sts)(struct world *, const char *domain); /* given away */
    enum rmd_tls_result (*tls)(struct world *, const struct rmd_tls_spec *spec, bool *ok);
    struct {
        uint32_t kind, result;
        int64_t downgrade_until_ms;
        char domain[64], host[64];
    } session[256]; /* that were told */
    size_t sessions;
    enum rmd_tls_level asked[64]; /* of handshakes */
    size_t n_asked;
    int count, flag; /* for scripts */
    uint32_t max_conns, conns_now;
};

#ifndef WORLD_SIGN
#define WORLD_SIGN rmd_sign_fake()
#endif
#define MAYBE __attribute__((unused))

static struct world_event *world_push(struct world *x, enum rmd_worker_event_kind kind) {
    if (x->tail == x->cap) {
        size_t n = x->tail - x->head;
        if (x->head)
            memmove(x->queue, x->queue + x->head, n * sizeof *x->queue);
        x->head = 0;
        x->tail = n;
        if (n * 2 >= x->cap) {
            x->cap = x->cap ? x->cap * 2 : 64;
            x->queue = rmd_realloc(x->queue, x->cap * sizeof *x->queue);
        }
    }
    struct world_event *e = &x->queue[x->tail++];
    memset(e, 0, sizeof *e);
    e->e.kind = kind;
    return e;
}

static void world_reply(struct world *x, uint32_t n, const char *line, const char *ok) {
    const char *special = x->answer ? x->answer(x, &x->conn[n], line) : NULL;
    const char *say = special ? special : ok;
    if (!strcmp(say, "!silent"))
        return;
    if (!strcmp(say, "!cut")) {
        struct world_event *e = world_push(x, RMD_WE_FAILED);
        e->e.conn = n;
        e->e.error = RMD_OWN_CONNECTION_LOST;
        e->e.text = "connection reset by peer";
        return;
    }
    struct world_event *e = world_push(x, RMD_WE_BYTES);
    e->e.conn = n;
    rmd_buf_addstr(&e->bytes, say);
}

static void world_line(struct world *x, uint32_t n, const char *l) {
    struct world_conn *c = &x->conn[n];
    rmd_buf_addf(&x->log, "%lld %u %s\n", (long long)x->now, n, l);
    if (!strncmp(l, "MAIL", 4)) {
        assert_true(x->mail_n < WORLD_RECORDS);
        x->mail_to[x->mail_n] = c->to;
        x->mail_at[x->mail_n++] = x->now;
    }
    world_reply(x, n, l,
                !strncmp(l, "EHLO", 4)   ? (x->ehlo ? x->ehlo : "250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                : !strcmp(l, "DATA")     ? "354 go\r\n"
                : !strcmp(l, "STARTTLS") ? "220 go\r\n"
                                         : "250 2.0.0 ok\r\n");
}

/* Where in the bytes the content begins, behind what commands there are; BDAT counts it, else a dot ends it. */
static size_t world_content(const struct rmd_worker_effect *f) {
    size_t at = 0;
    while (at < f->bytes.n && (!memcmp(f->bytes.p + at, "MAIL", 4) || !memcmp(f->bytes.p + at, "RCPT", 4)))
        at = (size_t)((const uint8_t *)memchr(f->bytes.p + at, '\n', f->bytes.n - at) - f->bytes.p) + 1;
    if (memcmp(f->bytes.p + at, "BDAT ", 5) != 0) {
        assert_memory_equal(f->bytes.p + f->bytes.n - 5, "\r\n.\r\n", 5);
        return at;
    }
    uint64_t n = 0;
    const char *size = (const char *)f->bytes.p + at + 5;
    assert_int_equal(rmd_parse_u64(rmd_slice(size, strcspn(size, " ")), &n), RMD_OK);
    const char *content = strstr(size, " LAST\r\n") + 7;
    assert_int_equal(n, (size_t)((const char *)f->bytes.p + f->bytes.n - content));
    return at;
}

static void world_send(struct world *x, const struct rmd_worker_effect *f) {
    struct world_conn *c = &x->conn[f->conn];
    assert_true(c->open);
    size_t commands = f->dot ? world_content(f) : f->bytes.n;
    world_push(x, RMD_WE_SENT)->e.conn = f->conn;
    for (size_t i = 0; i < commands; i++) {
        if (f->bytes.p[i] == '\n') {
            rmd_buf_truncate(&c->command, c->command.len - 1);
            world_line(x, f->conn, rmd_buf_str(&c->command));
            rmd_buf_clear(&c->command);
        } else {
            rmd_buf_addc(&c->command, (char)f->bytes.p[i]);
        }
    }
    if (!f->dot)
        return;
    c->messages++;
    rmd_buf_clear(&x->sent);
    rmd_buf_add(&x->sent, f->bytes.p, f->bytes.n);
    rmd_buf_addf(&x->log, "%lld %u .\n", (long long)x->now, f->conn);
    world_reply(x, f->conn, ".", "250 2.0.0 queued\r\n");
}

static void world_dial(struct world *x, const struct rmd_worker_effect *f) {
    enum rmd_own_error error = RMD_OWN_CONNECT_REFUSED;
    const char *text = "Connection refused";
    assert_true(f->conn < WORLD_CONNS && !x->conn[f->conn].open);
    assert_int_equal(f->port, 25);
    x->conn[f->conn] = (struct world_conn){.open = true, .from = f->source_addr, .to = f->dest_addr};
    x->dialled[x->dials++] = f->dest_addr;
    if (++x->conns_now > x->max_conns)
        x->max_conns = x->conns_now;
    if (x->connect && !x->connect(x, &f->dest_addr, &error, &text)) {
        if (error == RMD_OWN_CONNECT_TIMEOUT)
            return;
        struct world_event *e = world_push(x, RMD_WE_FAILED);
        e->e.conn = f->conn;
        e->e.error = error;
        e->e.text = text;
        return;
    }
    world_push(x, RMD_WE_CONNECTED)->e.conn = f->conn;
    world_reply(x, f->conn, "GREETING", "220 mx ready\r\n");
}

static void world_name(struct world *x, const struct rmd_worker_effect *f) {
    bool mx = f->kind == RMD_WF_MX;
    struct world_event *e = world_push(x, mx ? RMD_WE_MX : RMD_WE_ADDR);
    rmd_copy(e->name, sizeof e->name, f->name);
    if (mx && !(x->resolve && x->resolve(x, f->name, &e->mx))) {
        e->mx.ttl_s = 3600;
        e->mx.n = 1;
        (void)rmd_format(e->mx.mx[0].host, sizeof e->mx.mx[0].host, "mx.%s", f->name);
    } else if (!mx && !(x->host && x->host(x, f->name, &e->addr))) {
        uint32_t h = rmd_fnv32(rmd_slice_str(f->name));
        e->addr.n = 1;
        e->addr.addr[0] =
            (struct rmd_addr){.family = 4, .b = {93, (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h}};
    }
}

static void world_outcome(struct world *x, const Remuda__Outcome *o) {
    assert_true(x->outcomes < WORLD_RECORDS);
    struct world_outcome *r = &x->outcome[x->outcomes++];
    *r = (struct world_outcome){.lease = o->lease,
                                .index = o->index,
                                .kind = o->kind,
                                .rcpts = o->rcpts,
                                .reason = o->returned_reason,
                                .tls = o->tls,
                                .at_ms = x->now,
                                .connection = o->connection};
    if (o->verdict) {
        r->class = o->verdict->class_;
        rmd_copy(r->rule, sizeof r->rule, o->verdict->rule);
    }
    if (o->reply) {
        r->stage = o->reply->stage;
        r->code = o->reply->code;
        rmd_copy_slice(r->text, sizeof r->text, rmd_slice(o->reply->text.data, o->reply->text.len));
        rmd_copy(r->mx, sizeof r->mx, o->reply->mx_host);
    }
    for (size_t i = 0; i + 1 < x->outcomes && x->outcomes < 2000; i++) /* exactly one a message */
        assert_false(x->outcome[i].lease == r->lease && x->outcome[i].index == r->index);
}

static void world_pace(struct world *x, struct rmd_slice bytes) {
    struct rmd_arena a = {0};
    const Remuda__Pace *p = rmd_pb_decode(&remuda__pace__descriptor, bytes, &a);
    assert_non_null(p);
    for (size_t i = 0; i < p->n_lane; i++) {
        const Remuda__LanePace *l = p->lane[i];
        if (l->source != 1)
            continue;
        x->pace.n++;
        x->pace.at_ms = x->now;
        x->pace.per_minute = l->per_minute;
        x->pace.per_hour = l->per_hour;
        x->pace.connections = l->connections;
        x->pace.in_use = l->in_use;
        x->pace.deferred_permille = l->deferred_permille;
        x->pace.slowed = l->slowed;
        x->pace.fresh = l->fresh;
        x->pace.connects_per_minute = l->connects_per_minute;
        x->pace.connects_bind = l->connects_bind;
        x->pace.rest_ms = l->rest_ms;
        x->pace.sites = (uint32_t)l->n_site;
        x->pace.site_per_minute = l->n_site ? l->site[0]->per_minute : 0;
        rmd_copy(x->pace.site, sizeof x->pace.site, l->n_site ? l->site[0]->domain : "");
    }
    rmd_arena_release(&a);
}

static void world_session(struct world *x, struct rmd_slice bytes);

static void world_mail(struct world *x, const struct rmd_mail *m) {
    x->mails++;
    if (m->kind == RMD_MAIL_RECALL_DONE)
        x->recall_done = m->id;
    else if (m->kind == RMD_MAIL_SUPPRESS_DONE)
        x->suppress_done = m->id;
    else if (m->kind == RMD_MAIL_STOPPED)
        x->stopped++;
    else if (m->kind == RMD_MAIL_PACE)
        world_pace(x, m->bytes);
    else if (m->kind == RMD_MAIL_TLS)
        world_session(x, m->bytes);
    else if (m->kind == RMD_MAIL_TROUBLE) {
        x->troubles++;
        rmd_copy(x->trouble, sizeof x->trouble, m->text);
    }
}

static void world_policy_of(struct world *x, const struct rmd_worker_effect *f) {
    struct world_event *e = world_push(x, f->kind == RMD_WF_TLSA ? RMD_WE_TLSA : RMD_WE_STS);
    rmd_copy(e->name, sizeof e->name, f->name);
    e->tlsa.status = RMD_DNS_NXDOMAIN;
    e->tlsa.secure = true;
    if (f->kind == RMD_WF_TLSA && x->tlsa)
        (void)x->tlsa(x, f->name, &e->tlsa);
    if (f->kind == RMD_WF_STS && x->sts)
        e->sts.policy = x->sts(x, f->name);
}

static void world_handshake(struct world *x, const struct rmd_worker_effect *f) {
    struct world_event *e = world_push(x, RMD_WE_TLS);
    bool ok = !x->tls_fails;
    e->tls.result = x->tls ? x->tls(x, f->tls, &ok) : RMD_TLS_R_OK;
    if (ok || e->tls.result)
        e->tls.suite = 0x03041302;
    e->tls.verified = !ok                               ? RMD_TLS_V_PLAIN
                      : f->tls->level == RMD_TLS_L_DANE ? RMD_TLS_V_DANE
                      : f->tls->level == RMD_TLS_L_PKIX ? RMD_TLS_V_PKIX
                                                        : RMD_TLS_V_ENCRYPTED;
    e->e.conn = f->conn;
    e->e.ok = ok;
    e->e.text = ok ? "TLSv1.3" : "handshake failure";
    if (x->n_asked < 64)
        x->asked[x->n_asked++] = f->tls->level;
}

static void world_session(struct world *x, struct rmd_slice bytes) {
    struct rmd_arena a = {0};
    const Remuda__TlsRow *row = rmd_pb_decode(&remuda__tls_row__descriptor, bytes, &a);
    assert_non_null(row);
    assert_true(x->sessions < 256);
    x->session[x->sessions].kind = row->kind;
    x->session[x->sessions].result = row->result;
    x->session[x->sessions].downgrade_until_ms =
        row->downgrade_until_wall_ms ? row->downgrade_until_wall_ms - x->wall : 0;
    rmd_copy(x->session[x->sessions].domain, 64, row->domain);
    rmd_copy(x->session[x->sessions++].host, 64, row->mx_host);
    rmd_arena_release(&a);
}

static void world_carry_out(struct world *x) {
    for (size_t i = 0; i < x->fx.n; i++) {
        const struct rmd_worker_effect *f = &x->fx.v[i];
        switch (f->kind) {
        case RMD_WF_MARK:
            x->marks[f->mark]++;
            break;
        case RMD_WF_OUTCOME:
            world_outcome(x, f->outcome);
            break;
        case RMD_WF_ALARM:
            x->alarms++;
            x->alarm_action = f->alarm->verdict->action;
            x->alarm_source = f->alarm->source;
            x->alarm_site = f->alarm->site;
            rmd_copy(x->alarm_domain, sizeof x->alarm_domain, f->alarm->domain);
            rmd_copy_slice(x->alarm_text, sizeof x->alarm_text,
                           rmd_slice(f->alarm->reply->text.data, f->alarm->reply->text.len));
            break;
        case RMD_WF_MX:
            if (x->hold_mx)
                break;
            /* fall through */
        case RMD_WF_ADDR:
            world_name(x, f);
            break;
        case RMD_WF_DIAL:
            world_dial(x, f);
            break;
        case RMD_WF_TLSA:
        case RMD_WF_STS:
            world_policy_of(x, f);
            break;
        case RMD_WF_TLS:
            world_handshake(x, f);
            break;
        case RMD_WF_SEND:
            world_send(x, f);
            break;
        case RMD_WF_CLOSE:
            assert_true(x->conn[f->conn].open);
            x->conn[f->conn].open = false;
            rmd_buf_release(&x->conn[f->conn].command);
            x->closes++;
            x->conns_now--;
            break;
        case RMD_WF_MAIL:
            world_mail(x, &f->mail);
            break;
        }
    }
}

static void world_step(struct world *x, struct rmd_worker_event *e) {
    e->at = (struct rmd_time){.mono_ms = x->now, .wall_ms = x->wall + x->now};
    rmd_worker_effects_reset(&x->fx);
    assert_int_equal(rmd_worker_step(x->w, e, &x->fx), RMD_OK);
    world_carry_out(x);
}

/* One waiting event; false when there is none. */
static bool world_one(struct world *x) {
    if (x->head == x->tail)
        return false;
    struct world_event e = x->queue[x->head++];
    e.e.bytes = rmd_buf_slice(&e.bytes);
    e.e.name = e.name;
    e.e.mx = &e.mx;
    e.e.addr = &e.addr;
    e.e.tlsa = &e.tlsa;
    e.e.tls = &e.tls;
    e.e.sts = &e.sts;
    bool conn = e.e.kind >= RMD_WE_CONNECTED;
    if (!conn || x->conn[e.e.conn].open)
        world_step(x, &e.e);
    free((void *)(uintptr_t)e.sts.policy);
    rmd_buf_release(&e.bytes);
    return true;
}

MAYBE static void world_settle(struct world *x) {
    for (int i = 0; world_one(x); i++)
        assert_true(i < 1000000);
}

/* Lets `ms` pass, with every timer at its time. */
MAYBE static void world_run(struct world *x, int64_t ms) {
    int64_t until = x->now + ms;
    for (int i = 0;; i++) {
        assert_true(i < 1000000);
        world_settle(x);
        int64_t due = rmd_worker_deadline(x->w);
        if (due > until)
            break;
        if (due > x->now)
            x->now = due;
        world_step(x, &(struct rmd_worker_event){.kind = RMD_WE_TICK});
    }
    x->now = until;
    world_step(x, &(struct rmd_worker_event){.kind = RMD_WE_TICK});
}

static void world_tell(struct world *x, struct rmd_mail *m, const void *pb) {
    struct rmd_buf b = {0};
    if (pb) {
        rmd_pb_encode(pb, &b);
        m->bytes = rmd_buf_slice(&b);
    }
    world_step(x, &(struct rmd_worker_event){.kind = RMD_WE_MAIL, .mail = m});
    rmd_buf_release(&b);
}

MAYBE static void world_valid(struct world *x, int64_t until_ms) {
    world_tell(x, &(struct rmd_mail){.kind = RMD_MAIL_VALID, .valid_until_mono_ms = until_ms}, NULL);
}

/* --- policy: two sources, "big" (*.big.test) with limits of its own, "other" */

struct world_policy {
    Remuda__Policy p;
    Remuda__SourcePolicy source[2], *sources[2];
    Remuda__ProviderPolicy provider[2], *providers[2];
    Remuda__StreamPolicy stream, second, *streams[2];
    char *suffix[1], *allow[1];
    uint32_t quarantined[1];
};
#define STR(s) ((char *)(uintptr_t)(s))

MAYBE static void world_policy_init(struct world_policy *p) {
    memset(p, 0, sizeof *p);
    remuda__policy__init(&p->p);
    static const char *const addresses[] = {"203.0.114.7", "203.0.115.7"};
    for (int i = 0; i < 2; i++) {
        remuda__source_policy__init(&p->source[i]);
        p->source[i].id = (uint32_t)i + 1;
        p->source[i].public_address = STR(addresses[i]);
        p->source[i].helo = STR("out.example.org");
        p->sources[i] = &p->source[i];
        remuda__provider_policy__init(&p->provider[i]);
        p->provider[i].name = STR(i ? "other" : "big");
        p->provider[i].id = rmd_provider_id(p->provider[i].name);
        p->providers[i] = &p->provider[i];
    }
    p->suffix[0] = STR(".big.test");
    p->provider[0].mx_suffix = p->suffix;
    p->provider[0].n_mx_suffix = 1;
    remuda__stream_policy__init(&p->stream);
    p->stream.id = 1;
    p->stream.name = STR("bulk");
    p->stream.sending_domain = STR("news.example.org");
    p->stream.return_domain = STR("r.example.org");
    p->stream.verp_secret = (ProtobufCBinaryData){.len = 6, .data = (uint8_t *)STR("secret")};
    p->streams[0] = &p->stream;
    p->second = p->stream;
    p->second.id = 2;
    p->second.name = STR("offers");
    p->streams[1] = &p->second;
    p->p.source = p->sources;
    p->p.n_source = 2;
    p->p.provider = p->providers;
    p->p.n_provider = 2;
    p->p.stream = p->streams;
    p->p.n_stream = 2;
    p->p.transaction_deadline_ms = 120000;
    p->p.smtp_port = 25;
}

MAYBE static void world_policy(struct world *x, const struct world_policy *p) {
    world_tell(x, &(struct rmd_mail){.kind = RMD_MAIL_POLICY}, &p->p);
}

static const uint8_t world_hash[RMD_HASH_BYTES] = {7};

static void world_template(struct world *x, bool eightbit) {
    Remuda__CompiledTemplate t;
    Remuda__TemplateHeader from;
    Remuda__Piece piece;
    Remuda__BodyOp op;
    Remuda__TemplateHeader *headers[] = {&from};
    Remuda__Piece *pieces[] = {&piece};
    Remuda__BodyOp *ops[] = {&op};
    remuda__compiled_template__init(&t);
    remuda__template_header__init(&from);
    remuda__piece__init(&piece);
    remuda__body_op__init(&op);
    piece.literal = (ProtobufCBinaryData){.len = 21, .data = (uint8_t *)STR("news@news.example.org")};
    from.name = STR("From");
    from.literal = true;
    from.value = pieces;
    from.n_value = 1;
    op.ready = (ProtobufCBinaryData){.len = eightbit ? 10 : 9,
                                     .data = (uint8_t *)STR(eightbit ? "hell\xc3\xb6 u\r\n" : "hello u\r\n")};
    t.version = 1;
    t.header = headers;
    t.n_header = 1;
    t.body = ops;
    t.n_body = 1;
    t.needs_8bitmime = eightbit;
    struct rmd_mail m = {.kind = RMD_MAIL_TEMPLATE};
    memcpy(m.template_hash, world_hash, sizeof m.template_hash);
    m.template_hash[1] = eightbit;
    world_tell(x, &m, &t);
}

struct world_lease {
    uint64_t id;
    uint32_t source;
    const char *provider, *domain; /* domain: "%d" is replaced by the index modulo `domains` */
    size_t n;
    int domains;
    int64_t valid_until_wall_ms;
    uint32_t rate, pace, width, per_hour; /* share of rate; the pace that it had before */
    bool eightbit, urgent;
    uint32_t connections, kept;
    uint32_t stream; /* 0: 1 */
};

MAYBE static void world_lease(struct world *x, struct world_lease o) {
    Remuda__Lease l;
    Remuda__LeaseShare share;
    uint8_t campaign[16] = {1, 0x8f, 0, 0, 0, 0, 9, 9, 9, 9}, hash[RMD_HASH_BYTES];
    ProtobufCBinaryData *rows = rmd_alloc(o.n * sizeof *rows);
    struct rmd_buf *packed = rmd_alloc(o.n * sizeof *packed);
    campaign[9] = (uint8_t)o.id;
    memcpy(hash, world_hash, sizeof hash);
    hash[1] = o.eightbit;
    remuda__lease__init(&l);
    remuda__lease_share__init(&share);
    for (size_t i = 0; i < o.n; i++) {
        Remuda__Row r;
        char email[128];
        remuda__row__init(&r);
        if (o.domains)
            (void)rmd_format(email, sizeof email, "u%zu@d%zu.%s", i, i % (size_t)o.domains, o.domain);
        else
            (void)rmd_format(email, sizeof email, "u%zu@%s", i, o.domain);
        r.ordinal = i + 1;
        r.email = email;
        rmd_pb_encode(&r, &packed[i]);
        rows[i] = (ProtobufCBinaryData){.len = packed[i].len, .data = packed[i].p};
    }
    l.id = o.id;
    l.source = o.source ? o.source : 1;
    l.provider = rmd_provider_id(o.provider ? o.provider : "other");
    l.stream = o.stream ? o.stream : 1;
    l.campaign = (ProtobufCBinaryData){.len = 16, .data = campaign};
    l.template_hash = (ProtobufCBinaryData){.len = sizeof hash, .data = hash};
    l.row = rows;
    l.n_row = o.n;
    l.valid_until_wall_ms = o.valid_until_wall_ms;
    l.urgent = o.urgent;
    share.rate_per_minute = o.rate;
    share.pace_per_minute = o.pace;
    share.pace_connections = o.width;
    share.pace_per_hour = o.per_hour;
    share.connections = o.connections;
    share.kept = o.kept;
    if (o.rate || o.pace || o.width || o.kept || o.connections)
        l.share = &share;
    world_tell(x, &(struct rmd_mail){.kind = RMD_MAIL_LEASE, .id = o.id}, &l);
    for (size_t i = 0; i < o.n; i++)
        rmd_buf_release(&packed[i]);
    free(packed);
    free(rows);
}

static void world_rule(struct rmd_rules *r, const char *name, const char *pattern, const char *sample,
                       const char *class_name, const char *scope, bool at_provider, const char *action, int64_t ms) {
    char err[200];
    struct rmd_rule_def d = {.name = name,
                             .file = "test",
                             .line = 1,
                             .class_name = class_name,
                             .at_provider = at_provider,
                             .action = action,
                             .duration_ms = ms,
                             .permanent = 0,
                             .layer = RMD_RULES_SHIPPED,
                             .pattern = (const char *const[]){pattern, NULL},
                             .sample = (const char *const[]){sample, NULL},
                             .scope = (const char *const[]){scope, NULL}};
    if (rmd_rules_add(r, &d, err, sizeof err) != RMD_OK)
        fail_msg("%s", err);
}

static void world_finding(void *ctx, const char *text) {
    (void)ctx;
    fail_msg("%s", text);
}

MAYBE static struct world *world_new(uint32_t connections) {
    struct world *x = rmd_alloc(sizeof *x);
    x->now = 1000000;
    x->wall = 1700000000000;
    x->rules = rmd_rules_new();
    world_rule(x->rules, "blocked", "blocked using", "554 5.7.1 blocked using list.test", "ip_blocklisted", "source",
               true, "quarantine", 3600000);
    world_rule(x->rules, "slow", "slow down", "421 4.7.0 slow down", "rate_limited", "lane", true, "slow", 60000);
    world_rule(x->rules, "rest", "rest please", "421 4.7.0 rest please", "rate_limited", "lane", true, "rest",
               600000);
    world_rule(x->rules, "narrow", "too many connections", "421 4.7.0 too many connections", "rate_limited", "lane",
               true, "narrow", 60000);
    world_rule(x->rules, "shorten", "enough on this connection", "421 4.7.0 enough on this connection",
               "rate_limited", "lane", true, "shorten", 60000);
    world_rule(x->rules, "grey", "greylisted", "450 4.2.0 greylisted", "greylisted", "recipient", true, "retry_same",
               0);
    world_rule(x->rules, "rdns", "reverse hostname", "450 4.7.25 no reverse hostname", "no_rdns", "source", false,
               "quarantine", 0);
    world_rule(x->rules, "domain", "sending domain", "421 4.7.0 very low reputation of the sending domain",
               "domain_blocklisted", "sending_domain", false, "pause", 0);
    assert_int_equal(rmd_rules_compile(x->rules, world_finding, NULL), RMD_OK);
    x->w = rmd_worker_new(&(struct rmd_worker_options){.workers = 1,
                                                       .sign = WORLD_SIGN,
                                                       .rules = x->rules,
                                                       .seed = 7,
                                                       .connection_limit = connections,
                                                       .timeouts = rmd_smtp_timeouts_rfc5321,
                                                       .idle_close_ms = 5000,
                                                       .connect_timeout_ms = 30000,
                                                       .dane = true,
                                                       .mta_sts = true});
    return x;
}

/* With policy, template and a day of validity. */
MAYBE static struct world *world_ready(void) {
    struct world_policy p;
    struct world *x = world_new(20);
    world_policy_init(&p);
    world_policy(x, &p);
    world_template(x, false);
    world_valid(x, x->now + 86400000);
    return x;
}

MAYBE static void world_free(struct world *x) {
    while (x->head < x->tail)
        rmd_buf_release(&x->queue[x->head++].bytes);
    for (int i = 0; i < WORLD_CONNS; i++)
        rmd_buf_release(&x->conn[i].command);
    free(x->queue);
    rmd_worker_free(x->w);
    rmd_worker_effects_release(&x->fx);
    rmd_rules_free(x->rules);
    rmd_buf_release(&x->log);
    rmd_buf_release(&x->sent);
    free(x);
}

MAYBE static size_t world_count(const struct world *x, uint32_t kind, uint32_t reason) {
    size_t n = 0;
    for (size_t i = 0; i < x->outcomes; i++)
        n += x->outcome[i].kind == kind && x->outcome[i].reason == reason;
    return n;
}

MAYBE static size_t world_said(const struct world *x, const char *what) {
    size_t n = 0;
    for (const char *p = rmd_buf_str(&x->log); (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

#endif
