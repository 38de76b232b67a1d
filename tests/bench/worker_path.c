/* CPU of the worker core a message: 10 KiB bodies over kept, pipelined connections to a receiver in memory. The
 * signing is the fake's, and rendering is measured by itself and taken off, so that what remains is SMTP, pacing,
 * queueing and outcomes. worker_path [messages [off|on|ahead]]   prints one JSON object; off, on, ahead: how content
 * leaves (proto/esmtp.h), to a receiver that offers CHUNKING unless it is off */
#include <stdio.h>
#include <time.h>

#include "proto/esmtp.h"
#include "tests/unit/worker/world.h"

enum { LEASE = 200, BODY_LINES = 131 };

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct receiver {
    struct rmd_worker *w;
    struct rmd_worker_effects fx;
    struct rmd_time now;
    size_t delivered, bytes, sends;
    uint32_t chunking;
    struct {
        enum rmd_worker_event_kind kind;
        uint32_t conn;
        const char *text, *name;
    } todo[256];
    size_t head, tail;
    char name[64][64];
};

static void later(struct receiver *r, enum rmd_worker_event_kind kind, uint32_t conn, const char *text) {
    size_t i = r->tail++ % 256;
    r->todo[i].kind = kind;
    r->todo[i].conn = conn;
    r->todo[i].text = text;
}

static void carry_out(struct receiver *r) {
    for (size_t i = 0; i < r->fx.n; i++) {
        const struct rmd_worker_effect *f = &r->fx.v[i];
        switch (f->kind) {
        case RMD_WF_OUTCOME:
            r->delivered += f->outcome->kind == RMD_OUTCOME_DELIVERED;
            break;
        case RMD_WF_MX:
        case RMD_WF_ADDR:
            rmd_copy(r->name[r->tail % 64], 64, f->name);
            later(r, f->kind == RMD_WF_MX ? RMD_WE_MX : RMD_WE_ADDR, 0, r->name[r->tail % 64]);
            break;
        case RMD_WF_DIAL:
            later(r, RMD_WE_CONNECTED, f->conn, NULL);
            later(r, RMD_WE_BYTES, f->conn, "220 mx\r\n");
            break;
        case RMD_WF_SEND:
            r->bytes += f->bytes.n;
            r->sends++;
            later(r, RMD_WE_SENT, f->conn, NULL);
            if (f->dot && f->bytes.p[0] == 'M')
                later(r, RMD_WE_BYTES, f->conn, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok: queued as 12345\r\n");
            else if (f->dot)
                later(r, RMD_WE_BYTES, f->conn, "250 2.0.0 Ok: queued as 12345\r\n");
            else if (f->bytes.p[0] == 'E')
                later(r, RMD_WE_BYTES, f->conn,
                      r->chunking
                          ? "250-mx\r\n250-PIPELINING\r\n250-SIZE 30000000\r\n250-CHUNKING\r\n250 8BITMIME\r\n"
                          : "250-mx\r\n250-PIPELINING\r\n250-SIZE 30000000\r\n250 8BITMIME\r\n");
            else if (f->bytes.p[0] == 'M' && r->chunking)
                later(r, RMD_WE_BYTES, f->conn, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
            else if (f->bytes.p[0] == 'M')
                later(r, RMD_WE_BYTES, f->conn,
                      "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n");
            else
                later(r, RMD_WE_BYTES, f->conn, "221 bye\r\n");
            break;
        default:
            break;
        }
    }
}

static void step(struct receiver *r, struct rmd_worker_event *e) {
    e->at = r->now;
    rmd_worker_effects_reset(&r->fx);
    if (rmd_worker_step(r->w, e, &r->fx) != RMD_OK)
        abort();
    carry_out(r);
}

static void run(struct receiver *r) {
    static struct rmd_mx_answer mx = {.n = 1, .ttl_s = 3600, .mx = {{10, "mx.a.test"}}};
    static struct rmd_addr_answer addr = {.n = 1, .addr = {{4, {93, 1, 1, 1}}}};
    while (r->head < r->tail) {
        size_t i = r->head++ % 256;
        struct rmd_worker_event e = {.kind = r->todo[i].kind, .conn = r->todo[i].conn, .mx = &mx, .addr = &addr};
        e.name = r->todo[i].text;
        if (e.kind == RMD_WE_BYTES)
            e.bytes = rmd_slice_str(r->todo[i].text);
        step(r, &e);
    }
    r->now.mono_ms++;
}

static void body(struct rmd_buf *b) {
    for (int i = 0; i < BODY_LINES; i++)
        rmd_buf_addstr(b, "Dear reader, this line has seventy-six characters, as many as lines do. So.\r\n");
}

static void tell(struct receiver *r, struct rmd_mail *m, const void *pb, struct rmd_buf *packed) {
    rmd_buf_clear(packed);
    if (pb)
        rmd_pb_encode(pb, packed);
    m->bytes = rmd_buf_slice(packed);
    step(r, &(struct rmd_worker_event){.kind = RMD_WE_MAIL, .mail = m});
}

int main(int argc, char **argv) {
    uint64_t n = 20000;
    if (argc > 1 && rmd_parse_u64(rmd_slice_str(argv[1]), &n) != RMD_OK)
        return 2;
    struct receiver *r = rmd_alloc(sizeof *r);
    while (argc > 2 && strcmp(argv[2], rmd_chunking_name(r->chunking)) != 0)
        if (++r->chunking >= RMD_CHUNKING_COUNT)
            return 2;
    struct world_policy p;
    struct rmd_rules *rules = rmd_rules_new();
    struct rmd_buf packed = {0}, text = {0}, rows[LEASE] = {{0}};
    if (rmd_rules_compile(rules, NULL, NULL) != RMD_OK)
        return 1;
    r->now = (struct rmd_time){1000, 1700000000000};
    r->w = rmd_worker_new(&(struct rmd_worker_options){.workers = 1,
                                                       .sign = rmd_sign_fake(),
                                                       .rules = rules,
                                                       .seed = 1,
                                                       .connection_limit = 8,
                                                       .timeouts = rmd_smtp_timeouts_rfc5321});
    world_policy_init(&p);
    p.provider[0].chunking = p.provider[1].chunking = r->chunking;
    tell(r, &(struct rmd_mail){.kind = RMD_MAIL_POLICY}, &p.p, &packed);
    step(r, &(struct rmd_worker_event){
                .kind = RMD_WE_MAIL,
                .mail = &(struct rmd_mail){.kind = RMD_MAIL_VALID, .valid_until_mono_ms = INT64_MAX / 2}});

    body(&text);
    Remuda__CompiledTemplate t;
    Remuda__TemplateHeader from;
    Remuda__Piece piece;
    Remuda__BodyOp op;
    remuda__compiled_template__init(&t);
    remuda__template_header__init(&from);
    remuda__piece__init(&piece);
    remuda__body_op__init(&op);
    piece.literal = (ProtobufCBinaryData){.len = 21, .data = (uint8_t *)STR("news@news.example.org")};
    from.name = STR("From");
    from.literal = true;
    from.value = (Remuda__Piece *[]){&piece};
    from.n_value = 1;
    op.ready = (ProtobufCBinaryData){.len = text.len, .data = text.p};
    t.version = 1;
    t.header = (Remuda__TemplateHeader *[]){&from};
    t.n_header = 1;
    t.body = (Remuda__BodyOp *[]){&op};
    t.n_body = 1;
    struct rmd_mail m = {.kind = RMD_MAIL_TEMPLATE};
    tell(r, &m, &t, &packed);

    struct rmd_template *compiled;
    char err[160];
    if (rmd_template_new(rmd_buf_slice(&packed), NULL, 0, &compiled, err, sizeof err) != RMD_OK)
        return 1;

    Remuda__Lease l;
    ProtobufCBinaryData row[LEASE];
    uint8_t campaign[16] = {1}, hash[RMD_HASH_BYTES] = {0};
    remuda__lease__init(&l);
    for (size_t i = 0; i < LEASE; i++) {
        Remuda__Row one;
        char email[64];
        remuda__row__init(&one);
        (void)rmd_format(email, sizeof email, "reader%zu@a.test", i);
        one.ordinal = i + 1;
        one.email = email;
        rmd_pb_encode(&one, &rows[i]);
        row[i] = (ProtobufCBinaryData){.len = rows[i].len, .data = rows[i].p};
    }
    l.source = 1;
    l.provider = rmd_provider_id("other");
    l.stream = 1;
    l.campaign = (ProtobufCBinaryData){.len = 16, .data = campaign};
    l.template_hash = (ProtobufCBinaryData){.len = RMD_HASH_BYTES, .data = hash};
    l.row = row;
    l.n_row = LEASE;

    int64_t before = cpu_ns();
    for (l.id = 1; r->delivered < n; l.id++) {
        tell(r, &(struct rmd_mail){.kind = RMD_MAIL_LEASE, .id = l.id}, &l, &packed);
        run(r);
        if (l.id > 2 * n / LEASE + 2)
            return 1; /* doesn't get on */
    }
    int64_t all = cpu_ns() - before;

    struct rmd_renderer *renderer = rmd_renderer_new(rmd_sign_fake());
    struct rmd_render_stream stream = {.sending_domain = "news.example.org",
                                       .unsubscribe_url = "",
                                       .unsubscribe_mailto = "",
                                       .stream_name = "bulk",
                                       .verp_secret = rmd_slice("secret", 6),
                                       .return_domain = "r.example.org",
                                       .header_canon = RMD_CANON_RELAXED,
                                       .body_canon = RMD_CANON_RELAXED};
    Remuda__Row one;
    struct rmd_rendered out;
    remuda__row__init(&one);
    one.ordinal = 1;
    one.email = STR("reader1@a.test");
    before = cpu_ns();
    for (size_t i = 0; i < r->delivered; i++)
        if (rmd_render(renderer, compiled, &stream, &(struct rmd_id){{1}}, &one, 1700000000000, &out, err,
                       sizeof err) != RMD_OK)
            return 1;
    int64_t render = cpu_ns() - before;
    printf("{\"messages\": %zu, \"bytes_a_message\": %zu, \"worker_us\": %.2f, \"render_us\": %.2f, \"rest_us\": "
           "%.2f, \"sends_a_message\": %.2f}\n",
           r->delivered, r->bytes / r->delivered, (double)all / 1e3 / (double)r->delivered,
           (double)render / 1e3 / (double)r->delivered, (double)(all - render) / 1e3 / (double)r->delivered,
           (double)r->sends / (double)r->delivered);
    rmd_renderer_free(renderer);
    rmd_template_free(compiled);
    rmd_worker_free(r->w);
    rmd_worker_effects_release(&r->fx);
    rmd_rules_free(rules);
    for (size_t i = 0; i < LEASE; i++)
        rmd_buf_release(&rows[i]);
    rmd_buf_release(&packed);
    rmd_buf_release(&text);
    free(r);
    return 0;
}
