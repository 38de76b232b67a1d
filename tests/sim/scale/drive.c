/* The scale run's time: what is due, what is to be done now, the core's steps and their cost. */
#include <malloc.h>
#include <time.h>

#include "tests/sim/scale/scale.h"

/* ---------------------------------------------------------------- what is due: a binary heap */

void sc_due_add(struct sc *s, struct sc_due d) {
    if (s->n_due == s->due_cap) {
        size_t cap = s->due_cap ? s->due_cap * 2 : 4096;
        struct sc_due *v = pool_map(cap * sizeof *v);
        if (s->n_due)
            memcpy(v, s->due, s->n_due * sizeof *v);
        s->due = v;
        s->due_cap = cap;
    }
    size_t i = s->n_due++;
    for (; i && s->due[(i - 1) / 2].at > d.at; i = (i - 1) / 2)
        s->due[i] = s->due[(i - 1) / 2];
    s->due[i] = d;
}

static struct sc_due due_take(struct sc *s) {
    struct sc_due first = s->due[0], last = s->due[--s->n_due];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < s->n_due; i = k) {
        if (k + 1 < s->n_due && s->due[k + 1].at < s->due[k].at)
            k++;
        if (s->due[k].at >= last.at)
            break;
        s->due[i] = s->due[k];
    }
    s->due[i] = last;
    return first;
}

/* ---------------------------------------------------------------- what is to be done now */

struct sc_todo *sc_todo(struct sc *s, enum sc_todo_kind kind) {
    struct sc_todo *t = rmd_alloc(sizeof *t);
    t->kind = kind;
    rmd_list_push(&s->todo, &t->link);
    return t;
}

static void todo_free(struct sc_todo *t) {
    rmd_list_remove(&t->link);
    rmd_arena_release(&t->arena);
    free(t);
}

struct reading {
    struct rmd_arena *arena;
    struct rmd_row *v;
    size_t n, cap;
};

static bool on_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct reading *r = ctx;
    if (r->n == r->cap) {
        struct rmd_row *v = rmd_arena_alloc(r->arena, 2 * (r->cap + 8) * sizeof *v);
        if (r->n)
            memcpy(v, r->v, r->n * sizeof *v);
        r->v = v;
        r->cap = 2 * (r->cap + 8);
    }
    r->v[r->n].key = rmd_slice(rmd_arena_dup(r->arena, key.p, key.n), key.n);
    r->v[r->n++].value = rmd_slice(value.n ? rmd_arena_dup(r->arena, value.p, value.n) : (const void *)"", value.n);
    return true;
}

static void read_now(struct sc *s, const struct rmd_coord_effect *f) {
    struct sc_todo *t = sc_todo(s, SC_TODO_READ);
    struct reading r = {.arena = &t->arena};
    s->count.reads++;
    t->e.tag = f->tag;
    if (f->kind == RMD_CF_SCAN) {
        t->e.kind = RMD_CE_SCANNED;
        t->e.more = store_scan(s->store, &f->scan, on_row, &r);
    } else {
        t->e.kind = RMD_CE_GOT;
        r.v = rmd_arena_alloc(&t->arena, (f->n_keys + 1) * sizeof *r.v);
        for (; r.n < f->n_keys; r.n++) {
            struct rmd_slice k = f->key[r.n], v = store_get(s->store, k);
            r.v[r.n].key = rmd_slice(rmd_arena_dup(&t->arena, k.p, k.n), k.n);
            r.v[r.n].value = v.p ? rmd_slice(rmd_arena_dup(&t->arena, v.p, v.n), v.n) : v;
        }
    }
    t->e.row = r.v;
    t->e.n_rows = r.n;
}

static void resolve(struct sc *s, const char *name) {
    struct sc_todo *t = sc_todo(s, SC_TODO_RESOLVED);
    struct rmd_mx_answer *a = rmd_arena_alloc(&t->arena, sizeof *a);
    const struct sc_domain *d = rmd_map_get_str(&s->domain_by_name, name);
    t->e.kind = RMD_CE_RESOLVED;
    t->e.name = rmd_arena_str(&t->arena, rmd_slice_str(name));
    t->e.mx = a;
    a->ttl_s = 86400;
    a->status = d ? RMD_DNS_OK : RMD_DNS_NXDOMAIN;
    a->n = d ? 1 : 0;
    if (d && d->provider + 1 < SC_PROVIDERS)
        rmd_format(a->mx[0].host, sizeof a->mx[0].host, "mx%s", s->provider_suffix[d->provider]);
    else if (d)
        rmd_format(a->mx[0].host, sizeof a->mx[0].host, "mx.%s", d->name);
}

static void carry_out(struct sc *s, struct rmd_coord_effect *f) {
    switch (f->kind) {
    case RMD_CF_COMMIT:
        store_apply(s->store, &f->batch);
        rmd_batch_release(&f->batch);
        f->batch = (struct rmd_batch){0};
        s->tag = f->tag;
        s->tag_told = false;
        s->count.commits++;
        break;
    case RMD_CF_SEND: {
        uint32_t i = rmd_get_be32(f->peer.key) - 1;
        if (i < s->n_nodes)
            sc_frame(s, &s->node[i], f->frame);
        break;
    }
    case RMD_CF_SCAN:
    case RMD_CF_GET:
        read_now(s, f);
        break;
    case RMD_CF_RESOLVE:
        resolve(s, f->name);
        break;
    case RMD_CF_REPLY:
        s->reply_error = f->error;
        s->reply_number = f->number;
        break;
    case RMD_CF_EVENT:
        sc_event(s, f->event);
        break;
    case RMD_CF_LOG:
        if (s->progress && f->on)
            fprintf(stderr, "%s\n", f->text);
        break;
    default:
        break;
    }
}

/* ---------------------------------------------------------------- steps */

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void sc_step(struct sc *s, struct rmd_coord_event *e, enum sc_cost cost) {
    e->at = s->now;
    int64_t from = cpu_ns();
    rmd_coord_effects_reset(&s->fx);
    int rc = rmd_coord_step(s->core, e, &s->fx);
    s->count.cpu_ns[cost] += cpu_ns() - from;
    s->count.steps[cost]++;
    if (rc != RMD_OK)
        sc_broken(s, "the core refused a step: %s", rmd_error_text(rc));
    for (size_t i = 0; i < s->fx.n; i++)
        carry_out(s, &s->fx.v[i]);
}

void sc_frame_in(struct sc *s, struct sc_node *n, Remuda__Frame *f, enum sc_cost cost) {
    f->epoch = n->epoch;
    struct rmd_coord_event e = {.kind = RMD_CE_FRAME, .peer = n->peer, .frame = f};
    sc_step(s, &e, cost);
}

static void do_todo(struct sc *s, struct sc_todo *t) {
    switch (t->kind) {
    case SC_TODO_ACK:
        sc_ack(s, t);
        break;
    case SC_TODO_RECALL:
        sc_recall(s, &s->node[t->node], t->recall);
        break;
    case SC_TODO_READ:
        sc_step(s, &t->e, SC_COST_READ);
        break;
    case SC_TODO_RESOLVED:
        sc_step(s, &t->e, SC_COST_OTHER);
        break;
    case SC_TODO_SUPPRESSED:
        sc_suppressed(s, t);
        break;
    }
    todo_free(t);
}

void sc_settle_down(struct sc *s) {
    for (unsigned turns = 0;; turns++) {
        struct rmd_coord_event e = {0};
        if (!rmd_list_empty(&s->todo)) {
            do_todo(s, rmd_container(s->todo.next, struct sc_todo, link));
        } else if (!s->tag_told) {
            s->tag_told = true;
            e.kind = RMD_CE_PERSISTED;
            e.tag = s->tag;
            sc_step(s, &e, SC_COST_PERSISTED);
        } else if (rmd_coord_deadline(s->core) <= s->now.mono_ms && turns < 100000) {
            e.kind = RMD_CE_TICK;
            sc_step(s, &e, SC_COST_TICK);
            if (rmd_list_empty(&s->todo) && s->tag_told && rmd_coord_deadline(s->core) <= s->now.mono_ms)
                s->now.mono_ms++, s->now.wall_ms++;
        } else {
            if (turns >= 100000)
                sc_broken(s, "the core doesn't come to rest");
            return;
        }
    }
}

int sc_command(struct sc *s, struct rmd_command *m) {
    m->token = 1;
    m->tenant = 1;
    s->reply_error = RMD_EAGAIN;
    struct rmd_coord_event e = {.kind = RMD_CE_COMMAND, .command = m};
    sc_step(s, &e, SC_COST_OTHER);
    sc_settle_down(s);
    return s->reply_error;
}

/* ---------------------------------------------------------------- the run */

static size_t heap(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void show_queue(void *ctx, const struct rmd_queue_view *v) {
    uint64_t *most = ctx;
    if (v->queued < *most)
        return;
    *most = v->queued;
    fprintf(stderr, "  %s at %s: %llu queued, %s\n", v->stream, v->provider, (unsigned long long)v->queued,
            *v->waits_for ? v->waits_for : "on its way");
}

static void look(struct sc *s) {
    struct rmd_status_view v;
    size_t h = heap();
    s->heap_peak = h > s->heap_peak ? h : s->heap_peak;
    rmd_coord_status(s->core, &v);
    uint64_t waits = v.queued + v.deferred + v.leased + v.unsorted;
    s->queued_peak = waits > s->queued_peak ? waits : s->queued_peak;
    if (!s->progress)
        return;
    int64_t total = 0;
    for (int i = 0; i < SC_COSTS; i++)
        total += s->count.cpu_ns[i];
    fprintf(
        stderr,
        "day %lld %02lld:00  settled %llu  queued %llu unsorted %llu leased %llu deferred %llu  leases %llu  core "
        "%.2f us a message, %zu KiB; store %zu rows, %zu MiB\n",
        (long long)((s->now.wall_ms - s->start_ms) / SC_DAY),
        (long long)((s->now.wall_ms - s->start_ms) / SC_HOUR % 24), (unsigned long long)s->settled,
        (unsigned long long)v.queued, (unsigned long long)v.unsorted, (unsigned long long)v.leased,
        (unsigned long long)v.deferred, (unsigned long long)s->count.leases,
        (double)total / 1000 / (double)(s->settled ? s->settled : 1), h >> 10, store_rows(s->store),
        pool_bytes() >> 20);
    uint64_t most = 1;
    rmd_coord_queues(s->core, show_queue, &most); /* each that is longer than those before it */
}

void sc_start(struct sc *s) {
    rmd_list_init(&s->todo);
    rmd_list_init(&s->spare);
    s->tag_told = true;
    s->store = store_new();
    sc_plan(s);
    s->heap_start = heap();
    s->core = rmd_coord_new(&s->o, 1);
    struct rmd_coord_event e = {.kind = RMD_CE_RESTORED};
    sc_step(s, &e, SC_COST_OTHER);
    sc_settle_down(s);
    sc_enrol(s);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        sc_due_add(s, (struct sc_due){.at = s->now.wall_ms + SC_HEARTBEAT_MS * (int64_t)i / s->n_nodes,
                                      .kind = SC_DUE_HEARTBEAT,
                                      .a = i});
    sc_due_add(s, (struct sc_due){.at = s->now.wall_ms + SC_MINUTE, .kind = SC_DUE_URGENT});
    sc_due_add(s, (struct sc_due){.at = s->now.wall_ms + 5 * SC_MINUTE, .kind = SC_DUE_BUCKET});
    sc_due_add(s, (struct sc_due){.at = s->now.wall_ms + SC_HOUR, .kind = SC_DUE_ALARM});
}

/* Each source is blocked somewhere once in 25 days. */
static int64_t next_alarm(struct sc *s) {
    uint64_t mean = 25 * (uint64_t)SC_DAY / s->n_sources;
    return s->now.wall_ms + 1 + (int64_t)rmd_rng_below(&s->rng, 2 * mean);
}

static void act(struct sc *s, struct sc_due d) {
    bool more = s->submitted < s->messages;
    switch ((enum sc_due_kind)d.kind) {
    case SC_DUE_PART:
        sc_part(s, &d);
        return;
    case SC_DUE_HEARTBEAT:
        sc_heartbeat(s, &s->node[d.a]);
        d.at += SC_HEARTBEAT_MS;
        break;
    case SC_DUE_ALARM:
        sc_alarm(s);
        d.at = next_alarm(s);
        break;
    case SC_DUE_URGENT: /* by turns, and a quarter of an hour apart */
    case SC_DUE_CAMPAIGN:
        if (!more)
            return;
        sc_submit(s, d.kind == SC_DUE_URGENT);
        d.kind = d.kind == SC_DUE_URGENT ? SC_DUE_CAMPAIGN : SC_DUE_URGENT;
        d.at += 15 * SC_MINUTE;
        break;
    case SC_DUE_BUCKET:
        sc_bucket(s);
        if (s->bucket % 12 == 0)
            look(s);
        d.at += 5 * SC_MINUTE;
        break;
    }
    sc_due_add(s, d);
}

void sc_run(struct sc *s) {
    int64_t give_up = s->start_ms + (int64_t)(s->days + 3) * SC_DAY;
    while (!*s->broken && (s->submitted < s->messages || s->settled < s->submitted)) {
        int64_t tick = rmd_coord_deadline(s->core), wait = s->due[0].at - s->now.wall_ms;
        if (tick - s->now.mono_ms < wait)
            wait = tick - s->now.mono_ms;
        if (wait > 0) {
            s->now.mono_ms += wait;
            s->now.wall_ms += wait;
        }
        while (s->due[0].at <= s->now.wall_ms && !*s->broken) {
            act(s, due_take(s));
            sc_settle_down(s);
        }
        sc_settle_down(s);
        if (s->now.wall_ms > give_up)
            sc_broken(s, "%llu recipients are not settled three days after the last campaign",
                      (unsigned long long)(s->submitted - s->settled));
    }
    look(s);
}
