/* Cache of MTA-STS policies (contract: sts_cache.h). */
#include "node/core/sts_cache.h"

#include <base/text.h>

enum state { STATE_IDLE, STATE_TXT, STATE_FETCH };

struct entry {
    struct rmd_list lru;
    struct rmd_heap_node refresh;
    char *domain;
    enum state state;
    bool force; /* fetch even when the id is known */
    struct rmd_sts_policy *policy;
    int64_t fetched_wall_ms, expires_wall_ms;
    int64_t check_at_ms, retry_at_ms, asked_at_ms; /* mono */
    char id[RMD_STS_ID_MAX + 1];                   /* of the record that is being followed */
    enum rmd_tls_result result;
    char why[RMD_STS_WHY];
    bool waiting;
    uint8_t workers[RMD_STS_WORKERS_MAX / 8];
};

struct rmd_sts_cache {
    struct rmd_map entries;
    struct rmd_list lru; /* least recently asked first */
    struct rmd_heap refresh;
    struct rmd_sts_effects *out;
    struct rmd_time now;
};

void rmd_sts_effects_release(struct rmd_sts_effects *e) {
    free(e->v);
    *e = (struct rmd_sts_effects){0};
}

struct rmd_sts_cache *rmd_sts_cache_new(void) {
    struct rmd_sts_cache *c = rmd_alloc(sizeof *c);
    rmd_list_init(&c->lru);
    return c;
}

static void forget(struct rmd_sts_cache *c, struct entry *e) {
    rmd_map_remove(&c->entries, rmd_slice_str(e->domain));
    rmd_list_remove(&e->lru);
    rmd_heap_remove(&c->refresh, &e->refresh);
    free(e->policy);
    free(e->domain);
    free(e);
}

void rmd_sts_cache_free(struct rmd_sts_cache *c) {
    if (!c)
        return;
    while (!rmd_list_empty(&c->lru))
        forget(c, rmd_container(c->lru.next, struct entry, lru));
    rmd_map_release(&c->entries);
    rmd_heap_release(&c->refresh);
    free(c);
}

static struct rmd_sts_effect *effect(struct rmd_sts_cache *c, enum rmd_sts_effect_kind kind, const char *domain) {
    struct rmd_sts_effects *out = c->out;
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 8;
        out->v = rmd_realloc(out->v, out->cap * sizeof *out->v);
    }
    struct rmd_sts_effect *f = &out->v[out->n++];
    *f = (struct rmd_sts_effect){.kind = kind};
    rmd_copy(f->domain, sizeof f->domain, domain);
    return f;
}

static bool in_force(const struct rmd_sts_cache *c, const struct entry *e) {
    return e->policy && c->now.wall_ms < e->expires_wall_ms;
}

static void fill(const struct rmd_sts_cache *c, const struct entry *e, struct rmd_sts_answer *a) {
    if (in_force(c, e)) {
        a->policy = e->policy;
        a->expires_wall_ms = e->expires_wall_ms;
        return;
    }
    a->result = e->result;
    memcpy(a->why, e->why, sizeof a->why);
}

/* Everybody who waits is told what is known now. */
static void settle(struct rmd_sts_cache *c, struct entry *e, int64_t check_at_ms) {
    e->state = STATE_IDLE;
    e->force = false;
    e->check_at_ms = check_at_ms;
    if (!e->waiting)
        return;
    struct rmd_sts_effect *f = effect(c, RMD_SF_ANSWER, e->domain);
    memcpy(f->workers, e->workers, sizeof f->workers);
    fill(c, e, &f->answer);
    e->waiting = false;
    memset(e->workers, 0, sizeof e->workers);
}

static void look_up(struct rmd_sts_cache *c, struct entry *e) {
    e->state = STATE_TXT;
    effect(c, RMD_SF_TXT, e->domain);
}

/* NULL: every entry is busy. */
static struct entry *entry_of(struct rmd_sts_cache *c, const char *domain) {
    struct entry *e = rmd_map_get_str(&c->entries, domain);
    if (e)
        return e;
    if (c->entries.n >= RMD_STS_CACHE_MAX) {
        struct entry *old = rmd_container(c->lru.next, struct entry, lru);
        if (old->state != STATE_IDLE)
            return NULL;
        forget(c, old);
    }
    e = rmd_alloc(sizeof *e);
    e->domain = rmd_strdup(domain);
    e->check_at_ms = e->retry_at_ms = INT64_MIN;
    rmd_map_set(&c->entries, rmd_slice_str(domain), e);
    rmd_list_push(&c->lru, &e->lru);
    return e;
}

static void ask(struct rmd_sts_cache *c, const char *domain, uint32_t worker) {
    struct entry *e = entry_of(c, domain);
    if (!e) {
        rmd_bit_set(effect(c, RMD_SF_ANSWER, domain)->workers, worker);
        return;
    }
    rmd_list_remove(&e->lru);
    rmd_list_push(&c->lru, &e->lru);
    e->asked_at_ms = c->now.mono_ms;
    if (e->state == STATE_IDLE && c->now.mono_ms >= e->check_at_ms)
        look_up(c, e);
    if (e->state != STATE_IDLE && !in_force(c, e)) {
        e->waiting = true;
        rmd_bit_set(e->workers, worker);
        return;
    }
    struct rmd_sts_effect *f = effect(c, RMD_SF_ANSWER, domain);
    rmd_bit_set(f->workers, worker);
    fill(c, e, &f->answer);
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static void say(struct entry *e, enum rmd_tls_result result, const char *why) {
    e->result = result;
    rmd_copy(e->why, sizeof e->why, why);
}

static void on_txt(struct rmd_sts_cache *c, struct entry *e, const struct rmd_txt_answer *txt) {
    char id[RMD_STS_ID_MAX + 1];
    int64_t now = c->now.mono_ms;
    int64_t again = now + clamp((int64_t)txt->ttl_s * 1000, RMD_STS_CHECK_MIN_MS, RMD_STS_CHECK_MAX_MS);
    int rc = rmd_sts_record(txt, id);
    if (rc) { /* its TTL, or a minute when DNS is in trouble */
        say(e, rc == RMD_EFORMAT ? RMD_TLS_R_STS_POLICY_INVALID : RMD_TLS_R_OK,
            rc == RMD_EFORMAT ? "the record _mta-sts has no valid id" : "");
        settle(c, e, txt->status == RMD_DNS_TEMPFAIL ? now + 60000 : again);
    } else if (!e->force && in_force(c, e) && strcmp(id, e->policy->id) == 0) {
        settle(c, e, again);
    } else if (now < e->retry_at_ms && strcmp(id, e->id) == 0) {
        settle(c, e, e->retry_at_ms); /* it couldn't be fetched a moment ago */
    } else {
        memcpy(e->id, id, sizeof id);
        e->state = STATE_FETCH;
        effect(c, RMD_SF_FETCH, e->domain);
    }
}

static void arm_refresh(struct rmd_sts_cache *c, struct entry *e) {
    int64_t life = e->expires_wall_ms - c->now.wall_ms;
    if (life > 0)
        rmd_heap_set(&c->refresh, &e->refresh,
                     c->now.mono_ms + clamp(life / 2, RMD_STS_RETRY_MS, RMD_STS_REFRESH_MAX_MS));
}

static void on_fetched(struct rmd_sts_cache *c, struct entry *e, const struct rmd_sts_event *x) {
    struct rmd_sts_policy *p = NULL;
    char why[RMD_STS_WHY];
    enum rmd_tls_result result = x->result;
    rmd_copy(why, sizeof why, x->why ? x->why : "");
    if (result == RMD_TLS_R_OK && rmd_sts_parse(x->body, &p, why) != RMD_OK)
        result = RMD_TLS_R_STS_POLICY_INVALID;
    say(e, result, result == RMD_TLS_R_OK ? "" : why);
    if (!p) {
        e->retry_at_ms = c->now.mono_ms + RMD_STS_RETRY_MS;
        arm_refresh(c, e);
        settle(c, e, e->retry_at_ms);
        return;
    }
    memcpy(p->id, e->id, sizeof p->id);
    free(e->policy);
    e->policy = p;
    e->fetched_wall_ms = c->now.wall_ms;
    e->expires_wall_ms = c->now.wall_ms + p->max_age_s * 1000;
    e->retry_at_ms = INT64_MIN;
    arm_refresh(c, e);
    effect(c, RMD_SF_SAVE, e->domain);
    settle(c, e, c->now.mono_ms + RMD_STS_CHECK_MIN_MS);
}

static void refresh(struct rmd_sts_cache *c) {
    struct rmd_heap_node *top;
    while ((top = rmd_heap_min(&c->refresh)) && top->key <= c->now.mono_ms) {
        struct entry *e = rmd_container(top, struct entry, refresh);
        rmd_heap_remove(&c->refresh, top);
        if (e->state != STATE_IDLE || !in_force(c, e) || c->now.mono_ms - e->asked_at_ms > RMD_STS_UNUSED_MS)
            continue;
        e->force = true;
        look_up(c, e);
    }
}

void rmd_sts_cache_step(struct rmd_sts_cache *c, const struct rmd_sts_event *x, struct rmd_sts_effects *out) {
    c->out = out;
    c->now = x->at;
    out->n = 0;
    struct entry *e = x->domain ? rmd_map_get_str(&c->entries, x->domain) : NULL;
    if (x->kind == RMD_SE_ASK)
        ask(c, x->domain, x->worker < RMD_STS_WORKERS_MAX ? x->worker : 0);
    else if (x->kind == RMD_SE_TXT && e && e->state == STATE_TXT)
        on_txt(c, e, x->txt);
    else if (x->kind == RMD_SE_FETCHED && e && e->state == STATE_FETCH)
        on_fetched(c, e, x);
    refresh(c);
    c->out = NULL;
}

int64_t rmd_sts_cache_deadline(const struct rmd_sts_cache *c) {
    const struct rmd_heap_node *top = rmd_heap_min(&c->refresh);
    return top ? top->key : RMD_NEVER;
}

/* --- across restarts */

void rmd_sts_cache_save(const struct rmd_sts_cache *c, struct rmd_buf *out) {
    rmd_list_for(it, &c->lru) {
        const struct entry *e = rmd_container(it, struct entry, lru);
        if (!e->policy)
            continue;
        rmd_buf_addf(out, "%s %s %lld %lld %s %lld ", e->domain, e->policy->id, (long long)e->fetched_wall_ms,
                     (long long)e->expires_wall_ms, rmd_sts_mode_name(e->policy->mode),
                     (long long)e->policy->max_age_s);
        for (uint16_t i = 0; i + 1 < e->policy->mx_n; i++)
            rmd_buf_addc(out, e->policy->mx[i] == '\n' ? ',' : e->policy->mx[i]);
        rmd_buf_addstr(out, e->policy->mx_n ? "\n" : "-\n");
    }
}

enum { COLUMNS = 7 };

static bool split(struct rmd_slice line, struct rmd_slice column[COLUMNS]) {
    for (int i = 0; i < COLUMNS; i++) {
        const uint8_t *blank = line.n ? memchr(line.p, ' ', line.n) : NULL;
        size_t n = blank ? (size_t)(blank - line.p) : line.n;
        column[i] = rmd_slice(line.p, n);
        if (!n || (!blank && i < COLUMNS - 1))
            return false;
        n += blank != NULL;
        line = rmd_slice(line.p + n, line.n - n);
    }
    return !line.n;
}

/* The policy goes through the parser of policies again: a file is input, too. */
static struct rmd_sts_policy *policy_of(const struct rmd_slice *column) {
    struct rmd_buf text = {0};
    struct rmd_sts_policy *p = NULL;
    char why[RMD_STS_WHY];
    rmd_buf_addf(&text, "version: STSv1\nmode: %.*s\nmax_age: %.*s\nmx: ", (int)column[4].n,
                 (const char *)column[4].p, (int)column[5].n, (const char *)column[5].p);
    for (size_t i = 0; i < column[6].n; i++) {
        if (column[6].p[i] == ',')
            rmd_buf_addstr(&text, "\nmx: ");
        else
            rmd_buf_addc(&text, (char)column[6].p[i]);
    }
    if (column[6].n == 1 && column[6].p[0] == '-')
        rmd_buf_truncate(&text, text.len - strlen("mx: -"));
    if (rmd_sts_parse(rmd_buf_slice(&text), &p, why) != RMD_OK)
        p = NULL;
    rmd_buf_release(&text);
    return p;
}

/* A domain or an id, as they are written. */
static bool is_word(struct rmd_slice s, const char *more) {
    for (size_t i = 0; i < s.n; i++) {
        char c = rmd_lower((char)s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr(more, c))))
            return false;
    }
    return s.n > 0;
}

static void load_line(struct rmd_sts_cache *c, struct rmd_slice line) {
    struct rmd_slice column[COLUMNS];
    uint64_t fetched, expires;
    char domain[RMD_DOMAIN_MAX + 1];
    if (!split(line, column) || !is_word(column[0], ".-_") || !is_word(column[1], "") ||
        column[1].n > RMD_STS_ID_MAX || rmd_parse_u64(column[2], &fetched) != RMD_OK ||
        rmd_parse_u64(column[3], &expires) != RMD_OK || !rmd_copy_slice(domain, sizeof domain, column[0]))
        return;
    int64_t latest = c->now.wall_ms + (int64_t)RMD_STS_MAX_AGE_S * 1000; /* a clock that stood elsewhere */
    if ((int64_t)expires <= c->now.wall_ms || expires > (uint64_t)latest || fetched > expires ||
        rmd_map_get_str(&c->entries, domain))
        return;
    struct rmd_sts_policy *p = policy_of(column);
    struct entry *e = p ? entry_of(c, domain) : NULL;
    if (!e) {
        free(p);
        return;
    }
    (void)rmd_copy_slice(p->id, sizeof p->id, column[1]);
    e->policy = p;
    e->fetched_wall_ms = (int64_t)fetched;
    e->expires_wall_ms = (int64_t)expires;
    e->asked_at_ms = c->now.mono_ms;
    arm_refresh(c, e);
}

void rmd_sts_cache_load(struct rmd_sts_cache *c, struct rmd_slice text, struct rmd_time now) {
    c->now = now;
    while (text.n) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        load_line(c, rmd_slice(text.p, n));
        n += end != NULL;
        text = rmd_slice(text.p + n, text.n - n);
    }
}
