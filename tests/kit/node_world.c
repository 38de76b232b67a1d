/* See node_world.h. */
#include "tests/kit/node_world.h"

#include <assert.h>

#include <base/text.h>

#include "tests/kit/sign_fake.h"

static const char *const addresses[] = {"127.1.0.1", "127.1.0.2", NULL};

void world_init(struct world *w, uint32_t workers) {
    *w = (struct world){.now = {.mono_ms = 1000000, .wall_ms = 1700000000000}, .epoch = 7};
    struct rmd_node_options o = {.workers = workers,
                                 .hostname = "n1.example",
                                 .address = addresses,
                                 .connection_limit = 500,
                                 .software = "test",
                                 .sign = rmd_sign_fake()};
    w->node = rmd_node_new(&o);
}

void world_release(struct world *w) {
    rmd_node_free(w->node);
    rmd_node_effects_release(&w->effects);
    rmd_arena_release(&w->arena);
    rmd_buf_release(&w->template_journaled);
}

static void trace(struct world *w, char c) {
    size_t n = strlen(w->trace);
    if (n + 1 < sizeof w->trace) {
        w->trace[n] = c;
        w->trace[n + 1] = 0;
    }
}

static struct rmd_slice keep(struct world *w, struct rmd_slice s) {
    return s.n ? rmd_slice(rmd_arena_dup(&w->arena, s.p, s.n), s.n) : (struct rmd_slice){0};
}

static void *keep_message(struct world *w, const void *message, const ProtobufCMessageDescriptor *type) {
    struct rmd_buf b = {0};
    rmd_pb_encode(message, &b);
    void *m = rmd_pb_decode(type, rmd_buf_slice(&b), &w->arena);
    rmd_buf_release(&b);
    assert(m);
    return m;
}

static void do_effect(struct world *w, const struct rmd_node_effect *x) {
    switch (x->kind) {
    case RMD_NF_LOOKUP:
        if (w->lookups < WORLD_LOOKUPS_MAX) {
            w->lookup[w->lookups].token = x->token;
            w->lookup[w->lookups].txt = x->txt;
            rmd_copy(w->lookup[w->lookups++].name, sizeof w->lookup[0].name, x->text);
        }
        break;
    case RMD_NF_SEND:
        trace(w, 'S');
        assert(w->frames < WORLD_FRAMES_MAX);
        w->frame[w->frames++] = keep_message(w, x->frame, &remuda__frame__descriptor);
        break;
    case RMD_NF_MAIL: {
        trace(w, 'M');
        assert(w->mails < WORLD_MAILS_MAX);
        struct world_mail *m = &w->mail[w->mails++];
        m->worker = x->worker;
        m->mail = x->mail;
        m->mail.bytes = keep(w, x->mail.bytes);
        m->mail.skip = keep(w, x->mail.skip);
        break;
    }
    case RMD_NF_JOURNAL_LEASE:
        trace(w, 'L');
        break;
    case RMD_NF_JOURNAL_TEMPLATE:
        trace(w, 'T');
        rmd_buf_clear(&w->template_journaled);
        rmd_buf_add(&w->template_journaled, x->bytes.p, x->bytes.n);
        break;
    case RMD_NF_JOURNAL_TEMPLATE_DROP:
        trace(w, 't');
        break;
    case RMD_NF_JOURNAL_OUTCOME:
        trace(w, 'O');
        assert(w->n_held < WORLD_MAILS_MAX);
        w->held[w->n_held++] = keep_message(w, x->outcome, &remuda__outcome__descriptor);
        break;
    case RMD_NF_JOURNAL_DROP:
        trace(w, 'D');
        w->dropped++;
        w->last_dropped = x->lease;
        break;
    case RMD_NF_JOURNAL_ACKED:
        trace(w, 'A');
        w->acked_n = x->n;
        break;
    case RMD_NF_JOURNAL_ALARM_ACKED:
        trace(w, 'B');
        w->alarm_acked_n = x->n;
        break;
    case RMD_NF_SYNC:
        trace(w, 'F');
        w->syncs++;
        w->sync_token = x->token;
        break;
    case RMD_NF_REPLAY:
        trace(w, 'R');
        w->replay_from = x->n;
        break;
    case RMD_NF_RULES:
        w->rules++;
        break;
    case RMD_NF_STOPPED:
        w->stopped = true;
        break;
    case RMD_NF_LOG:
        w->logs++;
        rmd_copy(w->last_log, sizeof w->last_log, x->text);
        break;
    }
}

void world_give_held(struct world *w) {
    while (w->n_held) {
        Remuda__Outcome *o = w->held[0];
        memmove(w->held, w->held + 1, --w->n_held * sizeof *w->held);
        world_step(w, (struct rmd_node_event){.kind = RMD_NE_OUTCOME, .n = ++w->next_n, .outcome = o});
    }
}

void world_step(struct world *w, struct rmd_node_event e) {
    e.at = w->now;
    rmd_node_effects_reset(&w->effects);
    int rc = rmd_node_step(w->node, &e, &w->effects);
    assert(rc == RMD_OK);
    for (size_t i = 0; i < w->effects.n; i++)
        do_effect(w, &w->effects.v[i]);
    if (!w->hold_outcomes)
        world_give_held(w);
    if (w->sync_token && !w->hold_sync)
        world_synced(w);
}

void world_synced(struct world *w) {
    uint64_t token = w->sync_token;
    w->sync_token = 0;
    if (token)
        world_step(w, (struct rmd_node_event){.kind = RMD_NE_SYNCED, .token = token});
}

void world_tick(struct world *w, int64_t ms) {
    int64_t end = w->now.mono_ms + ms;
    for (int rounds = 0; rounds < 100000; rounds++) {
        int64_t at = rmd_node_deadline(w->node);
        if (at > end)
            break;
        if (at > w->now.mono_ms) {
            w->now.wall_ms += at - w->now.mono_ms;
            w->now.mono_ms = at;
        }
        world_step(w, (struct rmd_node_event){.kind = RMD_NE_TICK});
        /* a deadline that a tick doesn't move is a busy loop in production */
        assert(rmd_node_deadline(w->node) > w->now.mono_ms);
    }
    w->now.wall_ms += end - w->now.mono_ms;
    w->now.mono_ms = end;
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_TICK});
}

void world_open(struct world *w, uint64_t position, uint64_t reported, uint64_t high_water) {
    struct rmd_node_event e = {
        .kind = RMD_NE_JOURNAL_OPEN, .position = position, .reported = reported, .high_water = high_water};
    memset(e.uuid, 0xab, sizeof e.uuid);
    memset(e.boot_id, 0xcd, sizeof e.boot_id);
    w->next_n = position;
    world_step(w, e);
}

void world_start(struct world *w) {
    world_open(w, 0, 0, 0);
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
}

void world_frame(struct world *w, Remuda__Frame__BodyCase body, void *message) {
    Remuda__Frame f = REMUDA__FRAME__INIT;
    f.epoch = w->epoch;
    f.body_case = body;
    f.hello = message; /* any member of the union */
    struct rmd_buf b = {0};
    rmd_frame_encode(&f, &b);
    struct rmd_arena a = {0};
    Remuda__Frame *back;
    int rc = rmd_frame_decode(rmd_buf_slice(&b), &a, &back);
    assert(rc == RMD_OK);
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_FRAME, .frame = back});
    rmd_arena_release(&a); /* the core keeps nothing of a frame */
    rmd_buf_release(&b);
}

void world_welcome(struct world *w, const uint64_t *live, size_t n) {
    Remuda__Welcome m = REMUDA__WELCOME__INIT;
    Remuda__Policy p = REMUDA__POLICY__INIT;
    m.version = RMD_PROTOCOL_VERSION;
    m.node_id = 3;
    m.echo_mono_ms = w->now.mono_ms;
    m.lease_valid_ms = 60000;
    m.lease_live = (uint64_t *)(uintptr_t)live;
    m.n_lease_live = n;
    m.policy = &p;
    p.revision = 1;
    world_frame(w, REMUDA__FRAME__BODY_WELCOME, &m);
}

void world_mail(struct world *w, uint32_t worker, enum rmd_mail_kind kind, uint64_t id) {
    struct rmd_mail m = {.kind = kind, .id = id};
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_MAIL, .mail = &m, .worker = worker});
}

void world_outcome(struct world *w, uint64_t lease, uint32_t index, enum rmd_outcome kind) {
    Remuda__Outcome o = REMUDA__OUTCOME__INIT;
    Remuda__Reply r = REMUDA__REPLY__INIT;
    char text[] = "250 ok";
    r.code = 250;
    r.text = (ProtobufCBinaryData){6, (uint8_t *)text};
    o.lease = lease;
    o.index = index;
    o.kind = kind;
    o.rcpts = 1;
    o.reply = &r;
    world_step(w, (struct rmd_node_event){.kind = RMD_NE_OUTCOME, .n = ++w->next_n, .outcome = &o});
}

Remuda__Frame *world_next(struct world *w, Remuda__Frame__BodyCase body) {
    while (w->read < w->frames) {
        Remuda__Frame *f = w->frame[w->read++];
        if (f->body_case == body)
            return f;
    }
    return NULL;
}

size_t world_count(const struct world *w, Remuda__Frame__BodyCase body) {
    size_t n = 0;
    for (size_t i = w->read; i < w->frames; i++)
        n += w->frame[i]->body_case == body;
    return n;
}

struct world_mail *world_next_mail(struct world *w, enum rmd_mail_kind kind) {
    while (w->mails_read < w->mails) {
        struct world_mail *m = &w->mail[w->mails_read++];
        if (m->mail.kind == kind)
            return m;
    }
    return NULL;
}

void world_hash(const void *p, size_t n, uint8_t out[RMD_HASH_BYTES]) {
    struct rmd_sha256 h;
    const struct rmd_sign_ops *s = rmd_sign_fake();
    s->sha256_init(&h);
    s->sha256_update(&h, p, n);
    s->sha256_final(&h, out);
}

Remuda__Lease *world_lease(struct world *w, uint64_t id, uint32_t source, size_t rows,
                           const uint8_t hash[RMD_HASH_BYTES]) {
    Remuda__Lease *l = rmd_arena_alloc(&w->arena, sizeof *l);
    remuda__lease__init(l);
    l->id = id;
    l->source = source;
    l->provider = 9;
    l->stream = 1;
    l->tenant = 1;
    l->campaign = (ProtobufCBinaryData){16, rmd_arena_dup(&w->arena, "campaign-0000001", 16)};
    l->template_hash = (ProtobufCBinaryData){RMD_HASH_BYTES, rmd_arena_dup(&w->arena, hash, RMD_HASH_BYTES)};
    l->n_row = rows;
    l->row = rmd_arena_alloc(&w->arena, (rows + 1) * sizeof *l->row);
    for (size_t i = 0; i < rows; i++) {
        Remuda__Row r = REMUDA__ROW__INIT;
        r.ordinal = i + 1;
        r.email = rmd_arena_printf(&w->arena, "u%zu@d.example", i);
        struct rmd_buf b = {0};
        rmd_pb_encode(&r, &b);
        l->row[i] = (ProtobufCBinaryData){b.len, rmd_arena_dup(&w->arena, b.p, b.len)};
        rmd_buf_release(&b);
    }
    return l;
}

void world_serve_template(struct world *w, const char *text) {
    Remuda__Frame *f;
    size_t n = strlen(text);
    while ((f = world_next(w, REMUDA__FRAME__BODY_FETCH))) {
        Remuda__Template t = REMUDA__TEMPLATE__INIT;
        size_t left = n - f->fetch->offset;
        t.template_hash = f->fetch->template_hash;
        t.offset = f->fetch->offset;
        t.size = n;
        t.data.len = left > RMD_BODY_CHUNK_BYTES ? RMD_BODY_CHUNK_BYTES : left;
        t.data.data = (uint8_t *)(uintptr_t)text + f->fetch->offset;
        world_frame(w, REMUDA__FRAME__BODY_TEMPLATE, &t);
    }
}
