/* Findings on their way to the coordinator: gathered, sent in frames, kept until acknowledged (see watch.h). */
#include "node/core/watch_internal.h"

static void finding_free(struct rmd_watch *w, struct wfinding *f) {
    rmd_list_remove(&f->link);
    w->n_findings--;
    free(f->subject);
    free(f->text);
    free(f);
}

void watch_findings_free(struct rmd_watch *w) {
    rmd_list_for_safe(it, &w->findings) finding_free(w, rmd_container(it, struct wfinding, link));
}

static void add(struct rmd_watch *w, const struct question *q, enum rmd_finding_state state, const uint32_t *answer,
                size_t n, const char *text, uint64_t check, int64_t now_ms) {
    if (w->n_findings == RMD_WATCH_FINDINGS_MAX) { /* the oldest one that isn't under way */
        struct rmd_list *it = w->findings.next;
        for (uint32_t i = 0; i < w->sent; i++)
            it = it->next;
        finding_free(w, rmd_container(it, struct wfinding, link));
    }
    struct wfinding *f = rmd_alloc(sizeof *f);
    f->list = q->list->id;
    f->state = state;
    f->check = check;
    f->at_ms = now_ms;
    f->n_answer = n;
    if (n)
        memcpy(f->answer, answer, n * sizeof *answer);
    f->subject = rmd_strdup(q->subject);
    f->text = rmd_strndup(text, strnlen(text, RMD_LIST_TEXT_MAX));
    rmd_list_push(&w->findings, &f->link);
    w->n_findings++;
}

/* A list's words may hold the operator's key: it is taken out. */
static char *without_key(const char *text, const char *key) {
    struct rmd_buf b = {0};
    size_t n = strlen(key);
    for (const char *at = text; *at;) {
        if (n > 3 && rmd_case_prefix(rmd_slice_str(at), key)) {
            rmd_buf_addstr(&b, "(key)");
            at += n;
        } else {
            rmd_buf_addc(&b, *at++);
        }
    }
    rmd_buf_addc(&b, 0);
    return (char *)rmd_buf_take(&b, NULL);
}

void watch_tell(struct rmd_watch *w, const struct question *q, enum rmd_finding_state state, const uint32_t *answer,
                size_t n, const char *text, int64_t now_ms) {
    char *plain = without_key(text, q->list->pb->key);
    for (uint8_t i = 0; i < q->n_checks; i++)
        add(w, q, state, answer, n, plain, q->check[i], now_ms);
    if (!q->n_checks)
        add(w, q, state, answer, n, plain, 0, now_ms);
    free(plain);
}

/* Words of yesterday are no news: a node that was cut off, or asleep, tells what it finds now. A listing that is kept back was
 * never told, so that it is confirmed anew. */
static void drop_stale(struct rmd_watch *w, int64_t now_ms) {
    rmd_list_for_safe(it, &w->findings) {
        struct wfinding *f = rmd_container(it, struct wfinding, link);
        if (now_ms - f->at_ms <= RMD_WATCH_STALE_MS)
            return;
        struct question *q = watch_question(w, f->list, f->subject);
        if (q && f->state == RMD_FINDING_LISTED)
            q->listed = false;
        finding_free(w, f);
    }
}

/* ---------------------------------------------------------------- frames */

static void health(struct rmd_watch *w, int64_t now_ms, bool all, struct rmd_arena *a, Remuda__Findings *out) {
    out->health = rmd_arena_alloc(a, ((size_t)w->lists.n * UNITS + 1) * sizeof *out->health);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lists, &it, NULL, &v)) {
        struct wlist *l = v;
        watch_budget_slide(&l->budget, now_ms);
        for (int u = 0; u < UNITS; u++) {
            struct unit *x = &l->unit[u];
            if (!x->questions || !(all || x->dirty))
                continue;
            x->dirty = false;
            Remuda__ListHealth *h = out->health[out->n_health++] = rmd_arena_alloc(a, sizeof *h);
            remuda__list_health__init(h);
            h->list = l->id;
            h->kind = u == UNIT_IP4 ? RMD_LIST_IP4 : u == UNIT_IP6 ? RMD_LIST_IP6 : RMD_LIST_DOMAIN;
            h->state = x->state;
            h->why = rmd_arena_str(a, rmd_slice_str(x->why));
            h->last_error = rmd_arena_str(a, rmd_slice_str(x->last_error));
            h->hour = watch_spent(l->budget.hour, HOUR_BUCKETS);
            h->day = watch_spent(l->budget.day, DAY_BUCKETS);
            h->tested_ms_ago = x->tested_ms < 0 ? -1 : now_ms - x->tested_ms;
        }
    }
}

static Remuda__Finding *wire(const struct wfinding *f, struct rmd_arena *a) {
    Remuda__Finding *m = rmd_arena_alloc(a, sizeof *m);
    remuda__finding__init(m);
    m->list = f->list;
    m->subject = rmd_arena_str(a, rmd_slice_str(f->subject));
    m->state = f->state;
    m->answer = rmd_arena_dup(a, f->answer, f->n_answer * sizeof *f->answer);
    m->n_answer = f->n_answer;
    m->text = rmd_arena_str(a, rmd_slice_str(f->text));
    m->check = f->check;
    return m;
}

static bool due(const struct rmd_watch *w, int64_t now_ms, int64_t repeat_ms) {
    if (w->out)
        return now_ms - w->sent_at_ms >= repeat_ms;
    return w->n_findings || w->health_dirty || (w->counts_dirty && now_ms >= w->health_at_ms);
}

bool rmd_watch_report(struct rmd_watch *w, int64_t now_ms, int64_t repeat_ms, struct rmd_arena *a,
                      Remuda__Findings *out) {
    if (!w->out)
        drop_stale(w, now_ms);
    if (!due(w, now_ms, repeat_ms))
        return false;
    remuda__findings__init(out);
    bool counts = w->counts_dirty && now_ms >= w->health_at_ms;
    bool all = counts;
    if (!w->out) {
        w->out = true;
        w->n++;
        w->sent = w->n_findings < RMD_WATCH_FINDINGS_A_FRAME ? w->n_findings : RMD_WATCH_FINDINGS_A_FRAME;
    } else {
        all = true; /* the health that went along may be lost */
    }
    out->n = w->n;
    out->finding = rmd_arena_alloc(a, ((size_t)w->sent + 1) * sizeof *out->finding);
    struct rmd_list *it = w->findings.next;
    for (uint32_t i = 0; i < w->sent; i++, it = it->next)
        out->finding[out->n_finding++] = wire(rmd_container(it, struct wfinding, link), a);
    health(w, now_ms, all, a, out);
    w->health_dirty = false;
    if (all) {
        w->counts_dirty = false;
        w->health_at_ms = now_ms + RMD_WATCH_HEALTH_MS;
    }
    w->sent_at_ms = now_ms;
    return true;
}

int64_t rmd_watch_report_deadline(const struct rmd_watch *w, int64_t repeat_ms) {
    if (w->out)
        return w->sent_at_ms + repeat_ms;
    if (w->n_findings || w->health_dirty)
        return 0;
    return w->counts_dirty ? w->health_at_ms : RMD_NEVER;
}

void rmd_watch_acked(struct rmd_watch *w, uint64_t n) {
    if (!w->out || n != w->n)
        return;
    for (; w->sent; w->sent--)
        finding_free(w, rmd_container(w->findings.next, struct wfinding, link));
    w->out = false;
}

void rmd_watch_session(struct rmd_watch *w) {
    w->out = false; /* what was under way goes into the next frame, unless it got stale */
    w->sent = 0;
    w->counts_dirty = w->health_dirty = w->lists.n > 0;
    w->health_at_ms = 0;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lists, &it, NULL, &v))
        for (int u = 0; u < UNITS; u++)
            ((struct wlist *)v)->unit[u].dirty = true;
}
