/* Questions and answers of the blocklist watch (see watch.h). */
#include "node/core/watch_internal.h"

#include <assert.h>

/* ---------------------------------------------------------------- life */

uint32_t watch_kind(uint8_t unit) {
    return unit == UNIT_IP4 ? RMD_LIST_IP4 : unit == UNIT_IP6 ? RMD_LIST_IP6 : RMD_LIST_DOMAIN;
}

static int unit_of(const char *subject) {
    uint32_t kind = rmd_subject_kind(subject);
    return kind == RMD_LIST_IP4 ? UNIT_IP4 : kind == RMD_LIST_IP6 ? UNIT_IP6 : kind ? UNIT_NAME : -1;
}

struct rmd_watch *rmd_watch_new(void) {
    struct rmd_watch *w = rmd_alloc(sizeof *w);
    rmd_list_init(&w->findings);
    w->next_token = 1;
    return w;
}

static struct unit *unit(const struct question *q) {
    return &q->list->unit[q->unit];
}

/* Out of everything that may hold it, but the map. */
static void question_free(struct rmd_watch *w, struct question *q) {
    rmd_heap_remove(&q->list->due[q->neighbour], &q->heap);
    rmd_list_remove(&q->link);
    unit(q)->questions--;
    w->checks -= q->n_checks;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lookups, &it, NULL, &v)) {
        struct lookup *x = v;
        if (x->question == q)
            x->question = NULL;
    }
    rmd_list_for_safe(e, &q->list->evidence) {
        struct lookup *x = rmd_container(e, struct lookup, link);
        if (x->question != q)
            continue;
        rmd_list_remove(e);
        free(x);
    }
    free(q);
}

static void list_free(struct rmd_watch *w, struct wlist *l) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lookups, &it, NULL, &v)) {
        struct lookup *x = v;
        if (x->list == l)
            x->list = NULL;
    }
    rmd_heap_release(&l->due[0]);
    rmd_heap_release(&l->due[1]);
    remuda__blocklist__free_unpacked(l->pb, NULL);
    free(l);
}

void rmd_watch_free(struct rmd_watch *w) {
    if (!w)
        return;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lookups, &it, NULL, &v))
        free(v);
    rmd_map_release(&w->lookups);
    for (it = 0; rmd_map_next(&w->questions, &it, NULL, &v);)
        question_free(w, v);
    for (it = 0; rmd_map_next(&w->lists, &it, NULL, &v);)
        list_free(w, v);
    rmd_map_release(&w->questions);
    rmd_map_release(&w->lists);
    watch_findings_free(w);
    free(w);
}

/* ---------------------------------------------------------------- schedule */

/* Up to an eighth more, so that a thousand questions that began together don't stay together. */
static int64_t jitter(const struct question *q, int64_t ms, int64_t now_ms) {
    uint64_t h = rmd_mix64(rmd_fnv64(rmd_slice_str(q->subject)) ^ q->list->id ^ (uint64_t)now_ms);
    return ms + (int64_t)(h % (uint64_t)(ms / 8 + 1));
}

static void schedule(struct question *q, int64_t now_ms, int64_t in_ms) {
    int64_t at = now_ms + jitter(q, in_ms, now_ms);
    if (at < q->soonest_ms)
        at = q->soonest_ms;
    q->phase = PHASE_IDLE;
    rmd_list_remove(&q->link);
    if (q->assigned)
        rmd_heap_set(&q->list->due[q->neighbour], &q->heap, at);
}

static void make_urgent(struct question *q) {
    rmd_heap_remove(&q->list->due[q->neighbour], &q->heap);
    if (q->phase == PHASE_IDLE || q->phase == PHASE_AGAIN) {
        rmd_list_remove(&q->link);
        rmd_list_push(&q->list->urgent, &q->link);
    }
}

/* ---------------------------------------------------------------- assignment */

static struct rmd_slice question_key(struct rmd_buf *b, uint32_t list, const char *subject) {
    rmd_buf_clear(b);
    rmd_buf_add(b, &list, sizeof list);
    rmd_buf_addstr(b, subject);
    return rmd_buf_slice(b);
}

static struct question *question_get(struct rmd_watch *w, struct wlist *l, const char *subject, bool make) {
    struct rmd_buf key = {0};
    struct rmd_slice k = question_key(&key, l->id, subject);
    struct question *q = rmd_map_get(&w->questions, k);
    int u = unit_of(subject);
    if (!q && make && u >= 0 && w->questions.n < RMD_WATCH_QUESTIONS_MAX && strlen(subject) <= RMD_DOMAIN_MAX) {
        size_t n = strlen(subject) + 1;
        q = rmd_alloc(sizeof *q + n);
        memcpy(q->subject, subject, n);
        q->list = l;
        q->unit = (uint8_t)u;
        unit(q)->questions++;
        rmd_map_set(&w->questions, k, q);
    }
    rmd_buf_release(&key);
    return q;
}

struct question *watch_question(const struct rmd_watch *w, uint32_t list, const char *subject) {
    struct rmd_buf key = {0};
    struct question *q = rmd_map_get(&w->questions, question_key(&key, list, subject));
    rmd_buf_release(&key);
    return q;
}

/* What the answers of a list mean to us, and where they come from. */
static uint64_t digest(const Remuda__Blocklist *l) {
    Remuda__Blocklist x = *l;
    x.interval_ms = 0;
    x.per_hour = x.per_day = 0;
    x.neighbours = false;
    struct rmd_buf b = {0};
    rmd_pb_encode(&x, &b);
    uint64_t h = rmd_fnv64(rmd_buf_slice(&b));
    rmd_buf_release(&b);
    return h;
}

static void units_reset(struct wlist *l, int64_t now_ms) {
    for (int u = 0; u < UNITS; u++) {
        struct unit *x = &l->unit[u];
        uint32_t questions = x->questions;
        while (x->verify.next && !rmd_list_empty(&x->verify))
            rmd_list_remove(x->verify.next);
        *x = (struct unit){.questions = questions, .test_at_ms = now_ms, .tested_ms = -1, .dirty = true};
        rmd_list_init(&x->verify);
    }
}

static void *copy_of(const void *message) {
    const ProtobufCMessage *m = message;
    struct rmd_buf b = {0};
    rmd_pb_encode(m, &b);
    static const uint8_t nothing[1];
    void *out = protobuf_c_message_unpack(m->descriptor, NULL, b.len, b.p ? b.p : nothing);
    assert(out);
    rmd_buf_release(&b);
    return out;
}

static void list_assign(struct rmd_watch *w, const Remuda__Blocklist *pb, int64_t now_ms) {
    uint32_t id = rmd_blocklist_id(pb->name);
    struct wlist *l = rmd_map_get(&w->lists, rmd_slice(&id, sizeof id));
    bool fresh = !l;
    uint64_t d = digest(pb);
    if (!l) {
        l = rmd_alloc(sizeof *l);
        l->id = id;
        rmd_list_init(&l->urgent);
        rmd_list_init(&l->evidence);
        rmd_map_set(&w->lists, rmd_slice(&id, sizeof id), l);
    } else {
        remuda__blocklist__free_unpacked(l->pb, NULL);
    }
    l->pb = copy_of(pb);
    if (l->pb->interval_ms < 1000)
        l->pb->interval_ms = 1000;
    l->wanted = true;
    if (fresh || d != l->digest) {
        units_reset(l, now_ms);
        w->health_dirty = true;
        uint32_t it = 0;
        void *v;
        while (!fresh && rmd_map_next(&w->questions, &it, NULL, &v)) {
            struct question *q = v;
            if (q->list == l && q->phase != PHASE_IDLE)
                schedule(q, now_ms, 0);
        }
    }
    l->digest = d;
    l->budget.per_hour = pb->per_hour;
    l->budget.per_day = pb->per_day;
}

static void subject_assign(struct rmd_watch *w, const Remuda__WatchSubject *s, int64_t now_ms) {
    int u = unit_of(s->name);
    uint32_t it = 0;
    void *v;
    while (u >= 0 && rmd_map_next(&w->lists, &it, NULL, &v)) {
        struct wlist *l = v;
        if (!l->wanted || !rmd_blocklist_answers(l->pb, watch_kind((uint8_t)u)) ||
            (s->neighbour && !l->pb->neighbours))
            continue;
        struct question *q = question_get(w, l, s->name, true);
        if (!q)
            continue;
        q->wanted = true;
        if (q->assigned && q->neighbour == s->neighbour)
            continue;
        rmd_heap_remove(&l->due[q->neighbour], &q->heap);
        q->assigned = true;
        q->neighbour = s->neighbour;
        if (q->phase != PHASE_IDLE || rmd_list_linked(&q->link))
            continue;
        /* our own as soon as the budget lets them; neighbours all over the day */
        int64_t spread = s->neighbour ? w->neighbours_every_ms : 0;
        uint64_t h = rmd_mix64(rmd_fnv64(rmd_slice_str(q->subject)) ^ l->id);
        rmd_heap_set(&l->due[q->neighbour], &q->heap, now_ms + (int64_t)(h % (uint64_t)(spread + 1)));
    }
}

static void sweep(struct rmd_watch *w) {
    uint32_t it = 0;
    struct rmd_slice key;
    void *v;
    while (rmd_map_next(&w->questions, &it, &key, &v)) {
        struct question *q = v;
        if (q->wanted && q->list->wanted)
            continue;
        if (q->list->wanted && q->n_checks) { /* still to be answered, then it goes */
            rmd_heap_remove(&q->list->due[q->neighbour], &q->heap);
            q->assigned = false;
            continue;
        }
        rmd_map_remove(&w->questions, key);
        question_free(w, q);
    }
    for (it = 0; rmd_map_next(&w->lists, &it, &key, &v);) {
        struct wlist *l = v;
        if (l->wanted)
            continue;
        rmd_map_remove(&w->lists, key);
        list_free(w, l);
    }
}

static void take_spent(struct rmd_watch *w, const Remuda__Watch *m, int64_t now_ms) {
    for (size_t i = 0; i < m->n_spent; i++) {
        const Remuda__WatchSpent *s = m->spent[i];
        struct wlist *l = rmd_map_get(&w->lists, rmd_slice(&s->list, sizeof s->list));
        struct budget *b = s->list ? (l ? &l->budget : NULL) : &w->all;
        if (!b || b->used)
            continue;
        watch_budget_slide(b, now_ms);
        b->hour[0] = s->hour;
        b->day[0] = s->day;
        b->used = true;
    }
}

void rmd_watch_assign(struct rmd_watch *w, const Remuda__Watch *m, int64_t now_ms) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->lists, &it, NULL, &v))
        ((struct wlist *)v)->wanted = false;
    for (it = 0; rmd_map_next(&w->questions, &it, NULL, &v);)
        ((struct question *)v)->wanted = false;
    w->all.per_hour = m->per_hour;
    w->all.per_day = m->per_day;
    w->neighbours_every_ms = m->neighbours_every_ms > 1000 ? m->neighbours_every_ms : 1000;
    for (size_t i = 0; i < m->n_list && i < RMD_LISTS_MAX; i++)
        list_assign(w, m->list[i], now_ms);
    for (size_t i = 0; i < m->n_subject && i < RMD_WATCH_SUBJECTS_MAX; i++)
        subject_assign(w, m->subject[i], now_ms);
    take_spent(w, m, now_ms);
    sweep(w);
}

/* ---------------------------------------------------------------- ends of questions */

/* Tells the finding, and when it is asked next. */
static void told(struct rmd_watch *w, struct question *q, enum rmd_finding_state state, const uint32_t *answer,
                 size_t n, const char *text, int64_t now_ms) {
    watch_tell(w, q, state, answer, n, text, now_ms);
    w->checks -= q->n_checks;
    q->n_checks = 0;
    int64_t every = q->neighbour ? w->neighbours_every_ms : q->list->pb->interval_ms, in = every;
    if (state == RMD_FINDING_UNKNOWN) {
        int64_t retry = (int64_t)RMD_WATCH_RETRY_MS << (q->fails < 12 ? q->fails : 12);
        q->fails++;
        in = retry < every ? retry : every;
    } else {
        q->fails = 0;
    }
    if (state == RMD_FINDING_LISTED) {
        q->listed = true;
        q->clean = 0;
        in = every < RMD_WATCH_LISTED_MS ? every : RMD_WATCH_LISTED_MS;
    } else if (state == RMD_FINDING_CLEAN && q->listed) {
        q->listed = ++q->clean < 2;
        in = every < RMD_WATCH_CLEAN_MS ? every : RMD_WATCH_CLEAN_MS;
    }
    schedule(q, now_ms, in);
    if (q->assigned)
        return;
    struct rmd_buf key = {0};
    rmd_map_remove(&w->questions, question_key(&key, q->list->id, q->subject));
    rmd_buf_release(&key);
    question_free(w, q);
}

/* All that waits for a unit's word learns that there is none. */
static void unanswered(struct rmd_watch *w, struct wlist *l, uint8_t u, int64_t now_ms) {
    struct unit *x = &l->unit[u];
    char text[200];
    rmd_format(text, sizeof text, "the list is set aside: %s", x->why);
    struct rmd_list *from[] = {&x->verify, &l->urgent};
    for (int i = 0; i < 2; i++) {
        rmd_list_for_safe(it, from[i]) {
            struct question *q = rmd_container(it, struct question, link);
            if (q->unit == u)
                told(w, q, RMD_FINDING_UNKNOWN, NULL, 0, text, now_ms);
        }
    }
}

static int64_t retest_ms(const struct wlist *l, const struct unit *x) {
    int64_t least = l->pb->interval_ms < RMD_WATCH_RETEST_MIN_MS ? l->pb->interval_ms : RMD_WATCH_RETEST_MIN_MS;
    int64_t ms = least << (x->failures < 12 ? x->failures : 12);
    return ms < RMD_WATCH_RETEST_MAX_MS ? ms : RMD_WATCH_RETEST_MAX_MS;
}

static void set_aside(struct rmd_watch *w, struct wlist *l, uint8_t u, const char *why, int64_t now_ms) {
    struct unit *x = &l->unit[u];
    rmd_copy(x->why, sizeof x->why, why);
    rmd_copy(x->last_error, sizeof x->last_error, why);
    x->state = RMD_LIST_ASIDE;
    x->todo = 0;
    x->again = false;
    x->silent = 0;
    x->test_at_ms = now_ms + retest_ms(l, x);
    x->failures++;
    x->dirty = w->health_dirty = true;
    unanswered(w, l, u, now_ms);
}

/* ---------------------------------------------------------------- self-tests */

void watch_test_begin(struct rmd_watch *w, struct unit *x, int64_t now_ms) {
    x->todo = 1u << LOOK_LISTED | 1u << LOOK_CLEAN | 1u << LOOK_NOTHING;
    x->out = 0;
    x->failed = x->again = false;
    x->test_began_ms = now_ms;
    x->test_why[0] = 0;
    if (x->state == RMD_LIST_UNTRIED) {
        x->state = RMD_LIST_TESTING;
        x->dirty = w->health_dirty = true;
    }
}

static bool test_runs(const struct unit *x) {
    return x->todo || x->out;
}

bool watch_test_due(const struct unit *x, int64_t now_ms) {
    return x->questions && !test_runs(x) && now_ms >= x->test_at_ms;
}

static void test_passed(struct rmd_watch *w, struct wlist *l, struct unit *x, int64_t now_ms) {
    x->tested_ms = now_ms;
    x->test_at_ms = now_ms + RMD_WATCH_TEST_MS;
    x->failures = 0;
    if (x->state != RMD_LIST_TRUSTED) {
        x->state = RMD_LIST_TRUSTED;
        x->why[0] = 0;
        x->dirty = w->health_dirty = true;
    }
    w->counts_dirty = true;
    rmd_list_for_safe(it, &x->verify) {
        struct question *q = rmd_container(it, struct question, link);
        q->phase = PHASE_AGAIN;
        make_urgent(q);
    }
    (void)l;
}

static void RMD_PRINTF(2, 3) test_fails(struct unit *x, const char *fmt, ...) {
    if (x->failed)
        return; /* the first reason is the one that is told */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(x->test_why, sizeof x->test_why, fmt, ap);
    va_end(ap);
    (void)n;
    x->failed = true;
}

/* Any answer of 127.0.0.0/8 that is no error: test entries often have codes of their own. */
static bool is_entry(const Remuda__Blocklist *l, const struct rmd_addr_answer *a, struct rmd_list_judgement *j) {
    rmd_blocklist_judge(l, a, j);
    return a->status == RMD_DNS_OK && !j->refused && !j->rewritten;
}

static void test_answer(struct rmd_watch *w, struct wlist *l, uint8_t u, enum lookup_kind kind,
                        const struct rmd_addr_answer *a, int64_t now_ms) {
    struct unit *x = &l->unit[u];
    if (!(x->out >> kind & 1))
        return; /* of a test that was given up */
    x->out = (uint8_t)(x->out & ~(1u << kind));
    struct rmd_list_judgement j;
    const char *name = rmd_blocklist_test(l->pb, watch_kind(u), kind == LOOK_LISTED);
    bool entry = is_entry(l->pb, a, &j);
    if (a->status == RMD_DNS_TEMPFAIL)
        test_fails(x, "it doesn't answer: %s", j.text);
    else if (j.refused || j.rewritten)
        test_fails(x, "%s", j.text);
    else if (kind == LOOK_LISTED && !entry)
        test_fails(x, "its test entry %s isn't listed", name);
    else if (kind == LOOK_CLEAN && entry)
        test_fails(x, "it lists %s, which no list may list: it lists everything", name);
    else if (kind == LOOK_NOTHING && entry)
        test_fails(x, "it answers for a name that doesn't exist: it lists everything");
    if (test_runs(x))
        return;
    if (x->failed) {
        char why[160];
        rmd_copy(why, sizeof why, x->test_why);
        set_aside(w, l, u, why, now_ms);
    } else if (x->again) {
        watch_test_begin(w, x, now_ms);
    } else {
        test_passed(w, l, x, now_ms);
    }
}

/* ---------------------------------------------------------------- answers to questions */

static void verify(struct rmd_watch *w, struct question *q, int64_t now_ms) {
    struct unit *x = unit(q);
    q->phase = PHASE_VERIFY;
    rmd_list_remove(&q->link);
    rmd_list_push(&x->verify, &q->link);
    if (test_runs(x))
        x->again = true;
    else
        watch_test_begin(w, x, now_ms);
}

/* The text behind a listing is fetched beside it: the finding doesn't wait for it. */
static void ask_evidence(struct question *q, const uint32_t *codes, size_t n) {
    struct lookup *x = rmd_alloc(sizeof *x);
    *x = (struct lookup){.kind = LOOK_TXT, .list = q->list, .unit = q->unit, .question = q, .n_codes = n};
    memcpy(x->codes, codes, n * sizeof *codes);
    rmd_list_push(&q->list->evidence, &x->link);
}

static void found(struct rmd_watch *w, struct question *q, const struct rmd_addr_answer *a, int64_t now_ms) {
    uint32_t codes[RMD_LIST_ANSWERS_MAX];
    size_t n = rmd_blocklist_codes(a, codes);
    bool fresh = !q->listed;
    if (fresh && q->phase != PHASE_AGAIN) {
        verify(w, q, now_ms);
        return;
    }
    if (fresh)
        ask_evidence(q, codes, n);
    told(w, q, RMD_FINDING_LISTED, codes, n, "", now_ms);
}

static void question_answer(struct rmd_watch *w, struct question *q, const struct rmd_addr_answer *a,
                            int64_t now_ms) {
    struct wlist *l = q->list;
    struct unit *x = unit(q);
    uint8_t u = q->unit;
    struct rmd_list_judgement j;
    rmd_blocklist_judge(l->pb, a, &j);
    q->soonest_ms = a->status == RMD_DNS_TEMPFAIL ? 0 : now_ms + (int64_t)a->ttl_s * 1000;
    if (j.state != RMD_FINDING_UNKNOWN && x->state == RMD_LIST_TRUSTED) {
        x->silent = 0;
        if (j.state == RMD_FINDING_LISTED)
            found(w, q, a, now_ms);
        else
            told(w, q, RMD_FINDING_CLEAN, NULL, 0, "", now_ms);
        return;
    }
    char why[160];
    rmd_copy(why, sizeof why, j.state == RMD_FINDING_UNKNOWN ? j.text : x->why);
    rmd_copy(x->last_error, sizeof x->last_error, why);
    w->counts_dirty = x->dirty = true;
    bool bad = j.refused || j.rewritten;
    bool silent = a->status == RMD_DNS_TEMPFAIL && ++x->silent >= RMD_WATCH_SILENT_MAX;
    told(w, q, RMD_FINDING_UNKNOWN, NULL, 0, why, now_ms);
    if (x->state == RMD_LIST_TRUSTED && bad)
        set_aside(w, l, u, why, now_ms);
    else if (x->state == RMD_LIST_TRUSTED && silent) {
        char text[160];
        rmd_format(text, sizeof text, "it doesn't answer: %.130s", why);
        set_aside(w, l, u, text, now_ms);
    }
}

void rmd_watch_answer(struct rmd_watch *w, int64_t now_ms, uint64_t token, const struct rmd_addr_answer *addr,
                      const struct rmd_txt_answer *txt) {
    struct lookup *x = rmd_map_remove_u64(&w->lookups, token);
    if (!x)
        return;
    w->in_flight--;
    if (x->list) {
        x->list->in_flight--;
        if (x->kind == LOOK_TXT) {
            if (x->question && txt && txt->status == RMD_DNS_OK && txt->n)
                watch_tell(w, x->question, RMD_FINDING_LISTED, x->codes, x->n_codes, txt->txt[0], now_ms);
        } else if (x->kind == LOOK_QUESTION) {
            if (x->question && addr)
                question_answer(w, x->question, addr, now_ms);
        } else if (addr) {
            test_answer(w, x->list, x->unit, x->kind, addr, now_ms);
        }
    }
    free(x);
}

/* ---------------------------------------------------------------- checks out of schedule */

static bool asked_of(const Remuda__WatchCheck *m, uint32_t list) {
    for (size_t i = 0; i < m->n_list; i++)
        if (m->list[i] == list)
            return true;
    return false;
}

void rmd_watch_check(struct rmd_watch *w, const Remuda__WatchCheck *m, int64_t now_ms) {
    int u = unit_of(m->subject);
    uint32_t it = 0;
    void *v;
    while (u >= 0 && rmd_map_next(&w->lists, &it, NULL, &v)) {
        struct wlist *l = v;
        if (!asked_of(m, l->id) || !rmd_blocklist_answers(l->pb, watch_kind((uint8_t)u)))
            continue;
        struct question *q = w->checks < RMD_WATCH_CHECKS_MAX ? question_get(w, l, m->subject, true) : NULL;
        if (!q || q->n_checks == sizeof q->check / sizeof q->check[0])
            continue; /* the coordinator asks again */
        q->check[q->n_checks++] = m->id;
        w->checks++;
        if (l->unit[u].state == RMD_LIST_ASIDE && !test_runs(&l->unit[u])) {
            char text[200];
            rmd_format(text, sizeof text, "the list is set aside: %s", l->unit[u].why);
            told(w, q, RMD_FINDING_UNKNOWN, NULL, 0, text, now_ms);
        } else {
            make_urgent(q);
        }
    }
}
