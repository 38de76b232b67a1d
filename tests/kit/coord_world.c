/* A small world around the coordinator's core: see coord_world.h. */
#include "tests/kit/coord_world_internal.h"

#include <assert.h>

#include <base/text.h>

#include "coordinator/core/keys.h"
#include "tests/kit/sign_fake.h"
#include "tests/kit/store_rows.h"

void *cw_grown(void *v, size_t n, size_t size) {
    return n & (n - 1) || n == 1 ? v : rmd_realloc(v, (n ? 2 * n : 2) * size);
}

struct todo *cw_todo_new(struct cw *w, enum rmd_coord_event_kind kind) {
    struct todo *t = rmd_alloc(sizeof *t);
    t->e.kind = kind;
    rmd_list_push(&w->queue, &t->link);
    return t;
}

static void todo_free(struct todo *t) {
    rmd_list_remove(&t->link);
    rmd_arena_release(&t->arena);
    free(t);
}

/* ---------------------------------------------------------------- effects */

static void on_event(struct cw *w, const Remuda__EventRecord *e) {
    w->event = cw_grown(w->event, w->n_events, sizeof *w->event);
    memset(&w->event[w->n_events], 0, sizeof *w->event);
    rmd_copy(w->event[w->n_events].type, sizeof w->event->type, e->type);
    rmd_copy(w->event[w->n_events].recipient, sizeof w->event->recipient, e->recipient);
    rmd_copy(w->event[w->n_events].text, sizeof w->event->text, e->text);
    w->event[w->n_events].source = e->source;
    w->n_events++;
}

static void resolve(struct cw *w, const char *name) {
    struct todo *t = cw_todo_new(w, RMD_CE_RESOLVED);
    if (w->hold_dns) {
        rmd_list_remove(&t->link);
        rmd_list_push(&w->asked, &t->link);
    }
    struct rmd_mx_answer *a = rmd_arena_alloc(&t->arena, sizeof *a);
    t->e.name = rmd_arena_str(&t->arena, rmd_slice_str(name));
    t->e.mx = a;
    a->status = RMD_DNS_NXDOMAIN;
    a->ttl_s = 300;
    for (size_t i = 0; i < w->n_domains; i++) {
        if (strcmp(w->domain[i].name, name) != 0)
            continue;
        if (strcmp(w->domain[i].mx, "nx") == 0)
            return;
        if (strcmp(w->domain[i].mx, "temp") == 0) {
            a->status = RMD_DNS_TEMPFAIL;
            rmd_copy(a->detail, sizeof a->detail, "SERVFAIL");
            return;
        }
        a->status = RMD_DNS_OK;
        a->n = 1;
        rmd_copy(a->mx[0].host, sizeof a->mx[0].host, w->domain[i].mx);
    }
}

static void commit(struct cw *w, struct rmd_coord_effect *f) {
    w->commit = cw_grown(w->commit, w->n_commits, sizeof *w->commit);
    w->commit[w->n_commits++].tag = f->tag;
    int rc = w->store.ops->submit(w->store.s, &f->batch, w->epoch, ++w->seq);
    assert(rc == RMD_OK);
    f->batch = (struct rmd_batch){0};
}

static void read_later(struct cw *w, const struct rmd_coord_effect *f) {
    struct todo *t = cw_todo_new(w, f->kind == RMD_CF_SCAN ? RMD_CE_SCANNED : RMD_CE_GOT);
    t->f = *f;
    t->read = true;
    t->e.tag = f->tag;
    if (f->kind == RMD_CF_SCAN) {
        t->f.scan.from = rmd_slice(rmd_arena_dup(&t->arena, f->scan.from.p, f->scan.from.n), f->scan.from.n);
        t->f.scan.to = rmd_slice(rmd_arena_dup(&t->arena, f->scan.to.p, f->scan.to.n), f->scan.to.n);
        return;
    }
    struct rmd_slice *keys = rmd_arena_alloc(&t->arena, (f->n_keys + 1) * sizeof *keys);
    for (size_t i = 0; i < f->n_keys; i++)
        keys[i] = rmd_slice(rmd_arena_dup(&t->arena, f->key[i].p, f->key[i].n), f->key[i].n);
    t->f.key = keys;
}

static void carry_out(struct cw *w, struct rmd_coord_effect *f) {
    switch (f->kind) {
    case RMD_CF_COMMIT:
        commit(w, f);
        break;
    case RMD_CF_SEND: {
        struct cw_node *n = cw_node_of(w, &f->peer);
        if (n && !n->dead && n->peer.session == f->peer.session)
            cw_node_frame(w, n, f->frame);
        break;
    }
    case RMD_CF_SCAN:
    case RMD_CF_GET:
        read_later(w, f);
        break;
    case RMD_CF_RESOLVE:
        resolve(w, f->name);
        break;
    case RMD_CF_REPLY:
        w->reply_token = f->token;
        w->reply_error = f->error;
        w->reply_number = f->number;
        rmd_copy(w->reply_text, sizeof w->reply_text, f->text);
        break;
    case RMD_CF_EVENT:
        on_event(w, f->event);
        break;
    case RMD_CF_LOG:
        if (w->verbose)
            fprintf(stderr, "[%lld] %s\n", (long long)w->now.mono_ms, f->text);
        break;
    case RMD_CF_DROP:
        if (cw_node_of(w, &f->peer))
            cw_node_of(w, &f->peer)->drops++;
        break;
    case RMD_CF_ALLOW:
        if (cw_node_of(w, &f->peer))
            cw_node_of(w, &f->peer)->allowed = f->on;
        break;
    }
}

static void step(struct cw *w, struct rmd_coord_event *e) {
    if (w->died)
        return;
    e->at = w->now;
    rmd_coord_effects_reset(&w->fx);
    int rc = rmd_coord_step(w->core, e, &w->fx);
    assert(rc == RMD_OK);
    for (size_t i = 0; i < w->fx.n; i++) {
        if (w->stop_at_probe >= 0 && w->fx.v[i].probe == w->stop_at_probe) {
            w->died = true;
            return;
        }
        carry_out(w, &w->fx.v[i]);
    }
}

static void do_todo(struct cw *w, struct todo *t) {
    struct kit_rows rows = {.arena = &t->arena, .key = t->f.key};
    if (t->read && t->f.kind == RMD_CF_SCAN) {
        int rc = w->store.ops->scan(w->store.s, &t->f.scan, kit_on_row, &rows);
        assert(rc == RMD_OK);
        t->e.more = rows.n >= t->f.scan.limit || (t->f.scan.max_bytes && rows.n);
    } else if (t->read) {
        int rc = w->store.ops->get_many(w->store.s, t->f.key, t->f.n_keys, kit_on_value, &rows);
        assert(rc == RMD_OK);
    }
    if (t->read) {
        t->e.row = rows.v;
        t->e.n_rows = rows.n;
    }
    struct cw_node *n = t->e.kind == RMD_CE_FRAME ? cw_node_of(w, &t->e.peer) : NULL;
    if (!n || n->peer.session == t->e.peer.session)
        step(w, &t->e);
    free(rows.v);
    todo_free(t);
}

bool cw_sync_one(struct cw *w) {
    if (w->hold_commits || w->died)
        return false;
    rmd_store_fake_sync(w->disk, 1);
    struct rmd_completion done;
    if (w->store.ops->poll(w->store.s, &done, 1) != 1)
        return false;
    assert(done.error == RMD_OK);
    if (w->commits_done >= w->n_commits)
        return true;
    struct rmd_coord_event e = {.kind = RMD_CE_PERSISTED, .tag = w->commit[w->commits_done++].tag};
    step(w, &e);
    return true;
}

void cw_run(struct cw *w) {
    for (int i = 0; i < 1000000 && !w->died; i++) {
        if (!rmd_list_empty(&w->queue)) {
            do_todo(w, rmd_container(w->queue.next, struct todo, link));
        } else if (cw_sync_one(w)) {
            continue;
        } else if (rmd_coord_deadline(w->core) <= w->now.mono_ms && i < 900000) {
            struct rmd_coord_event e = {.kind = RMD_CE_TICK};
            step(w, &e);
            if (rmd_list_empty(&w->queue) && w->commits_done == w->n_commits &&
                rmd_coord_deadline(w->core) <= w->now.mono_ms)
                w->now.mono_ms++, w->now.wall_ms++;
        } else {
            return;
        }
    }
    if (!w->died)
        fprintf(stderr, "deadline %lld now %lld\n", (long long)rmd_coord_deadline(w->core),
                (long long)w->now.mono_ms);
    assert(w->died || !"the world doesn't come to rest");
}

size_t cw_dns(struct cw *w, size_t most) {
    size_t n = 0;
    rmd_list_for_safe(it, &w->asked) {
        if (n == most)
            break;
        rmd_list_remove(it);
        rmd_list_push(&w->queue, it);
        n++;
    }
    cw_run(w);
    return n;
}

void cw_pass(struct cw *w, int64_t ms, int64_t step_ms) {
    for (int64_t end = w->now.mono_ms + ms; w->now.mono_ms < end && !w->died;) {
        int64_t next = rmd_coord_deadline(w->core), by = step_ms;
        if (next > w->now.mono_ms && next - w->now.mono_ms < by)
            by = next - w->now.mono_ms;
        if (by > end - w->now.mono_ms)
            by = end - w->now.mono_ms;
        w->now.mono_ms += by;
        w->now.wall_ms += by;
        for (size_t i = 0; i < w->n_nodes; i++) {
            struct cw_node *n = &w->node[i];
            if (n->dead || w->now.wall_ms - n->heartbeat_ms < 1000)
                continue;
            n->heartbeat_ms = w->now.wall_ms;
            if (!n->welcomed)
                cw_hello(w, n);
            else
                cw_heartbeat(w, n);
            if (n->welcomed && n->n > n->acked_n)
                cw_report(w, n, n->acked_n + 1, n->n);
        }
        cw_run(w);
    }
}

/* ---------------------------------------------------------------- life */

static bool restore_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct cw *w = ctx;
    struct rmd_row row = {key, value};
    struct rmd_coord_event e = {.kind = RMD_CE_RESTORE, .row = &row, .n_rows = 1};
    step(w, &e);
    return true;
}

static void start(struct cw *w) {
    int rc = rmd_store_fake_open(w->disk, &w->store);
    assert(rc == RMD_OK);
    rc = w->store.ops->acquire(w->store.s, &w->epoch);
    assert(rc == RMD_OK);
    rc = w->store.ops->last_seq(w->store.s, &w->seq);
    assert(rc == RMD_OK);
    w->n_commits = w->commits_done = 0;
    w->died = false;
    w->stop_at_probe = -1;
    w->o.seed = ++w->seed;
    w->core = rmd_coord_new(&w->o, w->epoch);
    for (const char *t = "ATPSNWJYHCLGRUX"; *t; t++) {
        struct rmd_key from = rmd_key_table(*t), to = rmd_key_after(&from);
        struct rmd_scan scan = {.from = rmd_key_slice(&from), .to = rmd_key_slice(&to), .limit = 1000000};
        rc = w->store.ops->scan(w->store.s, &scan, restore_row, w);
        assert(rc == RMD_OK);
    }
    struct rmd_coord_event e = {.kind = RMD_CE_RESTORED};
    step(w, &e);
    cw_run(w);
}

static void stop(struct cw *w) {
    rmd_list_for_safe(it, &w->queue) todo_free(rmd_container(it, struct todo, link));
    rmd_list_for_safe(it, &w->asked) todo_free(rmd_container(it, struct todo, link));
    rmd_coord_free(w->core);
    rmd_coord_effects_reset(&w->fx);
    w->core = NULL;
}

void cw_crash(struct cw *w, bool reboot) {
    stop(w);
    rmd_store_fake_crash(w->disk);
    w->hold_commits = false;
    if (reboot) {
        w->o.boot_id[0]++;
        w->now.mono_ms = 5000; /* another boot, another clock */
    }
    for (size_t i = 0; i < w->n_nodes; i++) {
        w->node[i].welcomed = false;
        w->node[i].peer.session++;
    }
    start(w);
    for (size_t i = 0; i < w->n_nodes; i++) {
        if (!w->node[i].dead)
            cw_hello(w, &w->node[i]);
    }
    cw_run(w);
}

void cw_init(struct cw *w, uint64_t seed) {
    *w = (struct cw){.seed = seed, .stop_at_probe = -1};
    rmd_list_init(&w->queue);
    rmd_list_init(&w->asked);
    w->disk = rmd_store_fake_new();
    w->now = (struct rmd_time){.mono_ms = 1000000, .wall_ms = 1790000000000};
    static const char *const names[] = {"google", "yahoo", "other"};
    static char *suffix_google[] = {(char *)(uintptr_t) ".google.test"},
                *suffix_yahoo[] = {(char *)(uintptr_t) ".yahoo.test"};
    for (size_t i = 0; i < 3; i++) {
        remuda__provider_policy__init(&w->provider[i]);
        w->provider[i].id = rmd_provider_id(names[i]);
        w->provider[i].name = (char *)(uintptr_t)names[i];
        w->providers[i] = &w->provider[i];
    }
    w->provider[0].mx_suffix = suffix_google;
    w->provider[1].mx_suffix = suffix_yahoo;
    w->provider[0].n_mx_suffix = w->provider[1].n_mx_suffix = 1;
    w->o = (struct rmd_coord_options){
        .lease_valid_ms = 60000,
        .transaction_deadline_ms = 20000,
        .heartbeat_lost_ms = 5000,
        .provider = w->providers,
        .n_providers = 3,
        .smtp_port = 25,
        .sign = rmd_sign_fake(),
        .boot_id = {1},
    };
    cw_domain(w, "g.test", "mx.google.test");
    cw_domain(w, "g2.test", "mx2.google.test");
    cw_domain(w, "y.test", "mx.yahoo.test");
    cw_domain(w, "o.test", "mx.o.test");
    cw_domain(w, "gone.test", "nx");
    cw_domain(w, "null.test", "");
    cw_domain(w, "slow.test", "temp");
    start(w);
}

void cw_release(struct cw *w) {
    stop(w);
    rmd_coord_effects_release(&w->fx);
    rmd_store_fake_crash(w->disk);
    rmd_store_fake_free(w->disk);
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct cw_node *n = &w->node[i];
        for (uint64_t k = 0; k < n->n; k++)
            cw_outcome_free(n->journal[k]);
        free(n->journal);
        for (size_t k = 0; k < n->n_leases; k++)
            cw_lease_free(n->lease[k]);
        if (n->watch)
            remuda__watch__free_unpacked(n->watch, NULL);
        if (n->check)
            remuda__watch_check__free_unpacked(n->check, NULL);
    }
    for (size_t i = 0; i < w->n_rcpts; i++)
        free(w->rcpt[i].email);
    free(w->rcpt);
    free(w->event);
    free(w->commit);
}

void cw_domain(struct cw *w, const char *name, const char *mx) {
    size_t i = 0;
    while (i < w->n_domains && strcmp(w->domain[i].name, name) != 0)
        i++;
    assert(i < CW_DOMAINS);
    rmd_copy(w->domain[i].name, sizeof w->domain[i].name, name);
    rmd_copy(w->domain[i].mx, sizeof w->domain[i].mx, mx);
    if (i == w->n_domains)
        w->n_domains++;
}

/* Gives the command and runs; the reply's error, or RMD_EAGAIN when none came. */
int cw_command(struct cw *w, struct rmd_command *m) {
    m->token = ++w->next_token;
    if (!m->tenant)
        m->tenant = 1;
    struct rmd_coord_event e = {.kind = RMD_CE_COMMAND, .command = m};
    step(w, &e);
    cw_run(w);
    return w->reply_token == m->token ? w->reply_error : RMD_EAGAIN;
}

uint32_t cw_stream(struct cw *w, const char *name, const Remuda__StreamRecord *more) {
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    if (more)
        r = *more;
    r.name = (char *)(uintptr_t)name;
    r.pool = (char *)(uintptr_t) "main";
    if (!*r.sending_domain)
        r.sending_domain = (char *)(uintptr_t) "example.org";
    r.return_domain = (char *)(uintptr_t) "r.example.org";
    if (!r.retry_min_ms)
        r.retry_min_ms = 60000;
    if (!r.retry_max_ms)
        r.retry_max_ms = 600000;
    if (!r.node_return_wait_ms)
        r.node_return_wait_ms = 600000;
    struct rmd_command m = {.kind = RMD_CMD_STREAM_PUT, .stream_record = &r};
    int rc = cw_command(w, &m);
    assert(rc == RMD_OK);
    return (uint32_t)w->reply_number;
}

struct cw_node *cw_node_add(struct cw *w, const char *name) {
    assert(w->n_nodes < CW_NODES);
    struct cw_node *n = &w->node[w->n_nodes++];
    rmd_copy(n->name, sizeof n->name, name);
    memset(n->peer.key, (int)(w->n_nodes + 64), RMD_KEY_BYTES);
    n->peer.session = 1;
    memset(n->uuid, (int)w->n_nodes, sizeof n->uuid);
    memset(n->boot, (int)(w->n_nodes + 16), sizeof n->boot);
    n->confirm_suppress = true;
    struct rmd_command m = {.kind = RMD_CMD_NODE_ADD, .name = name};
    memcpy(m.key, n->peer.key, RMD_KEY_BYTES);
    int rc = cw_command(w, &m);
    assert(rc == RMD_OK);
    cw_hello(w, n);
    cw_run(w);
    assert(n->welcomed);
    return n;
}

uint32_t cw_source(struct cw *w, const char *address, const char *node, uint64_t lane_cap) {
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    char *pool[] = {(char *)(uintptr_t) "main"};
    r.address = (char *)(uintptr_t)address;
    r.helo = (char *)(uintptr_t) "mail.example.org";
    r.pool = pool;
    r.n_pool = 1;
    r.lane_cap_per_day = lane_cap;
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_ADD, .name = node, .source = &r};
    int rc = cw_command(w, &m);
    assert(rc == RMD_OK);
    return (uint32_t)w->reply_number;
}

/* ---------------------------------------------------------------- judging */

static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct cw_incidents *x = ctx;
    if (!x->n++)
        x->last = *r;
}

struct cw_incidents cw_incidents(struct cw *w) {
    struct cw_incidents x = {0};
    rmd_coord_incidents(w->core, on_incident, &x);
    return x;
}

size_t cw_events(const struct cw *w, const char *type) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_events; i++)
        n += strcmp(w->event[i].type, type) == 0;
    return n;
}

size_t cw_delivered_to(const struct cw *w, const char *email) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_rcpts; i++)
        n += w->rcpt[i].kind == RMD_OUTCOME_DELIVERED && strcmp(w->rcpt[i].email, email) == 0;
    return n;
}

struct wanted {
    const struct rmd_id *id;
    struct rmd_campaign_view view;
    bool found;
};

static void on_campaign(void *ctx, const struct rmd_campaign_view *v) {
    struct wanted *x = ctx;
    if (memcmp(v->record->id.data, x->id->b, sizeof x->id->b) != 0)
        return;
    x->view = *v;
    x->found = true;
}

const Remuda__CampaignRecord *cw_campaign(struct cw *w, const struct rmd_id *id, struct rmd_campaign_view *view) {
    struct wanted x = {.id = id};
    rmd_coord_campaigns(w->core, on_campaign, &x);
    assert(x.found);
    if (view)
        *view = x.view;
    return x.view.record;
}
