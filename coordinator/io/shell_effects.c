/* The shell carries out what the core decided: commits, frames, scans, DNS queries, replies, history. */
#include "coordinator/io/shell_internal.h"
#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

/* ---- pending events */

struct rmd_pending *rmd_shell_pend(struct rmd_shell *s, enum rmd_coord_event_kind kind) {
    struct rmd_pending *p = rmd_alloc(sizeof *p);
    p->kind = kind;
    rmd_list_push(&s->pending, &p->link);
    s->n_pending++;
    return p;
}

static struct rmd_slice keep(struct rmd_arena *a, struct rmd_slice x) {
    return x.n ? rmd_slice(rmd_arena_dup(a, x.p, x.n), x.n) : rmd_slice("", 0);
}

struct row_list {
    struct rmd_arena *arena;
    struct rmd_row *v;
    size_t n, cap;
};

static void add_row(struct row_list *l, struct rmd_slice key, struct rmd_slice value) {
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->v = rmd_realloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = (struct rmd_row){.key = keep(l->arena, key), .value = value.p ? keep(l->arena, value) : value};
}

static bool on_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    add_row(ctx, key, value);
    return true;
}

struct got {
    struct row_list *list;
    const struct rmd_slice *key;
};

static void on_value(void *ctx, size_t i, struct rmd_slice value) {
    struct got *g = ctx;
    add_row(g->list, g->key[i], value);
}

/* Reads are done when their turn comes, so that a step never waits for another's. A store that can't read is the end:
 * nothing is lost by it. */
static void read_pending(struct rmd_shell *s, struct rmd_pending *p, struct rmd_coord_event *e,
                         struct row_list *rows) {
    const struct rmd_store *st = &s->o.store;
    int rc;
    if (p->kind == RMD_CE_SCANNED) {
        rc = st->ops->scan(st->s, &p->scan, on_row, rows);
        e->more = rows->n >= p->scan.limit || (p->scan.max_bytes && rows->n > 0);
    } else {
        struct got g = {rows, p->key};
        rc = st->ops->get_many(st->s, p->key, p->n_keys, on_value, &g);
    }
    if (rc < 0) {
        rmd_error("store", "reading failed: %s; stopping, so that nothing is decided on half the data",
                  rmd_error_text(rc));
        s->failed = rc;
    }
    e->row = rows->v;
    e->n_rows = rows->n;
}

/* What is there now; what these steps add waits for the next turn, so that reads never keep frames and answers waiting. */
void rmd_shell_run_pending(struct rmd_shell *s) {
    for (size_t n = s->n_pending; n > 0 && !s->failed; n--) {
        struct rmd_pending *p = rmd_container(s->pending.next, struct rmd_pending, link);
        rmd_list_remove(&p->link);
        s->n_pending--;
        struct rmd_coord_event e = {.kind = p->kind, .tag = p->tag, .peer = p->peer, .name = p->name, .mx = p->mx};
        struct row_list rows = {.arena = &s->rows};
        rmd_arena_reset(&s->rows);
        if (p->kind == RMD_CE_SCANNED || p->kind == RMD_CE_GOT)
            read_pending(s, p, &e, &rows);
        if (!s->failed)
            rmd_shell_step(s, &e);
        free(rows.v);
        rmd_arena_release(&p->arena);
        free(p);
    }
}

/* ---- commits */

void rmd_shell_submit(struct rmd_shell *s, struct rmd_batch *batch, uint64_t tag, struct rmd_request *request) {
    if (s->waiting_n == s->waiting_cap) {
        size_t cap = s->waiting_cap ? s->waiting_cap * 2 : 64;
        struct rmd_waiting_commit *v = rmd_alloc(cap * sizeof *v);
        for (size_t i = 0; i < s->waiting_n; i++)
            v[i] = s->waiting[(s->waiting_from + i) % s->waiting_cap];
        free(s->waiting);
        s->waiting = v;
        s->waiting_from = 0;
        s->waiting_cap = cap;
    }
    uint64_t seq = s->next_seq++;
    s->waiting[(s->waiting_from + s->waiting_n++) % s->waiting_cap] =
        (struct rmd_waiting_commit){.seq = seq, .tag = tag, .request = request};
    int rc = s->o.store.ops->submit(s->o.store.s, batch, s->o.epoch, seq);
    if (rc < 0) {
        rmd_error("store", "batch %llu was not taken: %s", (unsigned long long)seq, rmd_error_text(rc));
        s->failed = rc;
    }
}

static void completed(struct rmd_shell *s, const struct rmd_waiting_commit *w, int error) {
    if (w->request) {
        w->request->reply.error = error;
        rmd_shell_finish_request(s, w->request);
        return;
    }
    if (error == RMD_EFENCED)
        rmd_error(
            "store",
            "another coordinator has taken over this store (a newer epoch exists): this one ends, nothing is lost");
    else if (error < 0)
        rmd_error("store", "a batch failed: %s", rmd_error_text(error));
    if (error < 0) {
        s->failed = error;
        return;
    }
    rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_PERSISTED, .tag = w->tag});
}

void rmd_shell_completions(struct rmd_shell *s) {
    struct rmd_completion done[RMD_SHELL_COMPLETIONS_A_TURN];
    int n = s->o.store.ops->poll(s->o.store.s, done, RMD_SHELL_COMPLETIONS_A_TURN);
    for (int i = 0; i < n && !s->failed; i++) {
        struct rmd_waiting_commit w = s->waiting[s->waiting_from];
        if (s->waiting_n == 0 || w.seq != done[i].seq) {
            rmd_error("store", "completion %llu came out of order", (unsigned long long)done[i].seq);
            s->failed = RMD_ECORRUPT;
            return;
        }
        s->waiting_from = (s->waiting_from + 1) % s->waiting_cap;
        s->waiting_n--;
        completed(s, &w, done[i].error);
        rmd_shell_run_pending(s);
    }
}

void rmd_shell_stalled(struct rmd_shell *s) {
    const char *stalled = s->o.store.ops->stalled(s->o.store.s);
    if ((stalled != NULL) != (s->stalled != NULL) && !s->failed) {
        if (stalled)
            rmd_error("store", "not durable for now: %s; no new work is dealt until it is, what nodes hold goes on",
                      stalled);
        else
            rmd_info("store", "durable again");
        s->stalled = stalled;
        rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_STALLED, .text = stalled});
    }
}

/* ---- effects */

static void resolved(void *ctx, const char *domain, const struct rmd_mx_answer *a) {
    struct rmd_shell *s = ctx;
    struct rmd_pending *p = rmd_shell_pend(s, RMD_CE_RESOLVED);
    p->name = rmd_arena_str(&p->arena, rmd_slice_str(domain));
    p->mx = rmd_arena_dup(&p->arena, a, sizeof *a);
}

static void send_frame(struct rmd_shell *s, const struct rmd_coord_effect *f) {
    rmd_buf_clear(&s->frame_out);
    rmd_frame_encode(f->frame, &s->frame_out);
    struct rmd_peer peer = {.session = f->peer.session};
    memcpy(peer.key, f->peer.key, sizeof peer.key);
    int rc = rmd_bus_server_send(s->bus, &peer, rmd_buf_slice(&s->frame_out));
    if (rc == RMD_ECLOSED ||
        rc == RMD_EAGAIN) /* a full pipe is a peer that doesn't read: the same to us, it says Hello again */
        rmd_shell_pend(s, RMD_CE_PEER_GONE)->peer = f->peer;
    else if (rc < 0)
        rmd_warn("bus", "a frame could not be sent: %s", rmd_error_text(rc));
}

static void read_later(struct rmd_shell *s, const struct rmd_coord_effect *f) {
    struct rmd_pending *p = rmd_shell_pend(s, f->kind == RMD_CF_SCAN ? RMD_CE_SCANNED : RMD_CE_GOT);
    p->tag = f->tag;
    if (f->kind == RMD_CF_SCAN) {
        p->scan = f->scan;
        p->scan.from = keep(&p->arena, f->scan.from);
        p->scan.to = keep(&p->arena, f->scan.to);
        return;
    }
    p->n_keys = f->n_keys;
    p->key = rmd_arena_alloc(&p->arena, f->n_keys * sizeof *p->key + 1);
    for (size_t i = 0; i < f->n_keys; i++)
        p->key[i] = keep(&p->arena, f->key[i]);
}

static void answer(struct rmd_shell *s, const struct rmd_coord_effect *f) {
    struct rmd_request *r = rmd_map_remove_u64(&s->commands, f->token);
    if (!r)
        return;
    r->reply.error = f->error;
    r->reply.number = f->number;
    rmd_copy(r->reply.text, sizeof r->reply.text, f->text ? f->text : "");
    rmd_shell_finish_request(s, r);
}

static void set_allowed(struct rmd_shell *s, const uint8_t key[RMD_KEY_BYTES], bool on) {
    pthread_mutex_lock(&s->keys_lock);
    if (on)
        rmd_map_set(&s->keys, rmd_slice(key, RMD_KEY_BYTES), s);
    else
        rmd_map_remove(&s->keys, rmd_slice(key, RMD_KEY_BYTES));
    pthread_mutex_unlock(&s->keys_lock);
}

static void drop_peer(struct rmd_shell *s, const struct rmd_coord_peer *p) {
    struct rmd_peer peer = {.session = p->session};
    memcpy(peer.key, p->key, sizeof peer.key);
    rmd_bus_server_drop(s->bus, &peer);
}

static void carry_out(struct rmd_shell *s, struct rmd_coord_effect *f) {
    if (f->probe >= 0)
        rmd_probe((enum rmd_probe)f->probe);
    switch (f->kind) {
    case RMD_CF_COMMIT:
        rmd_shell_submit(s, &f->batch, f->tag, NULL);
        break;
    case RMD_CF_SEND:
        send_frame(s, f);
        break;
    case RMD_CF_DROP:
        drop_peer(s, &f->peer);
        break;
    case RMD_CF_SCAN:
    case RMD_CF_GET:
        read_later(s, f);
        break;
    case RMD_CF_RESOLVE: {
        struct rmd_dns dns = rmd_dns_cares_port(s->dns);
        dns.ops->mx(dns.d, f->name, resolved, s);
        break;
    }
    case RMD_CF_REPLY:
        answer(s, f);
        break;
    case RMD_CF_EVENT:
        rmd_history_append(s->o.history, f->event);
        break;
    case RMD_CF_ALLOW:
        set_allowed(s, f->peer.key, f->on);
        break;
    case RMD_CF_LOG:
        rmd_log(f->on ? RMD_LOG_WARNING : RMD_LOG_INFO, "core", "%s", f->text);
        break;
    }
}

void rmd_shell_step(struct rmd_shell *s, struct rmd_coord_event *e) {
    e->at = s->o.clock->now(s->o.clock->ctx);
    rmd_coord_effects_reset(&s->effects);
    int rc = rmd_coord_step(s->core, e, &s->effects);
    if (rc < 0)
        s->failed = rc;
    for (size_t i = 0; i < s->effects.n; i++) {
        if (rc == RMD_OK || s->effects.v[i].kind == RMD_CF_LOG) /* a failed step may only say why */
            carry_out(s, &s->effects.v[i]);
    }
}
