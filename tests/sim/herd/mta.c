/* The mail server behind the baselines (see baseline.h): an event loop over virtual time.
 *
 * A message is in one of three places: waiting for a time (heap), queued on a route, or in a connection's transaction. It is put on a route each time that it is
 * due: the next source of its pool, in turn, that the policy lets it have. */
#include "tests/sim/herd/baseline.h"

#include <assert.h>

#include <base/text.h>

#include "proto/io/providers_file.h"

enum { ROUTES_LINGER_MS = 30000, TRIGGER_WINDOW_MS = 600000 };

enum mta_kind { MTA_SUBMIT, MTA_DUE, MTA_CONN, MTA_WAKE };

struct mta_timer {
    struct rmd_heap_node node;
    enum mta_kind kind;
};

struct mta_message {
    struct mta_timer timer;
    struct mta_message *next;
    uint32_t campaign, row, site, list, number;
    int64_t born_ms;
    uint32_t tries;
};

struct mta_wake {
    struct mta_timer timer;
    struct mta_route *route;
};

enum mta_stage { AT_GREETING, AT_READY, AT_MAIL, AT_RCPT, AT_DOT };

struct mta_conn {
    struct mta_timer timer;
    struct mta_route *route;
    struct mta_message *message;
    uint32_t number; /* 0: over */
    int64_t sent;
    enum mta_stage stage;
    struct herd_reply reply; /* that arrives when the timer ends; text is a copy */
    char text[400];
};

struct mta_bucket { /* source at a receiver, for warm-up caps */
    int64_t day, hour, used_day, used_hour;
};

struct mta {
    struct herd_world *w;
    const struct herd_scenario *s;
    const struct mta_settings *set;
    struct rmd_heap heap;
    struct rmd_map routes; /* source << 32 | site -> route */
    struct mta_message **campaign;
    struct mta_timer *submit;
    struct mta_bucket *bucket; /* source * receivers + receiver */
    int64_t *first_ms;         /* of each source: its first message; RMD_NEVER */
    uint32_t *turn;            /* by stream */
    uint8_t **bounces;         /* by list and number */
    uint8_t **suppressed;
    int64_t *connections, *messages; /* by receiver: of a route, of a connection */
    int64_t now_ms;
};

static void at(struct mta *m, struct mta_timer *t, int64_t when_ms) {
    rmd_heap_set(&m->heap, &t->node, when_ms > m->now_ms ? when_ms : m->now_ms);
}

static struct mta_route *route(struct mta *m, uint32_t source, uint32_t site) {
    uint64_t key = (uint64_t)source << 32 | site;
    struct mta_route *r = rmd_map_get_u64(&m->routes, key);
    if (!r) {
        r = rmd_alloc(sizeof *r);
        r->source = source;
        r->site = site;
        r->wake = rmd_alloc(sizeof *r->wake);
        r->wake->timer.kind = MTA_WAKE;
        r->wake->route = r;
        rmd_map_set_u64(&m->routes, key, r);
    }
    return r;
}

/* ---- suppression */

static bool is_suppressed(const struct mta *m, const struct mta_message *x) {
    return m->suppressed[x->list][x->number];
}

static void suppress(struct mta *m, uint32_t list, uint32_t number) {
    if (m->suppressed[list][number])
        return;
    m->suppressed[list][number] = 1;
    herd_suppress(m->w, list, number, true);
}

static void complained(struct mta *m) {
    struct herd_report r;
    while (herd_report_next(m->w, m->now_ms, &r)) {
        struct herd_person p;
        if (r.row == UINT32_MAX)
            continue;
        herd_person(m->w, r.campaign, r.row, &p);
        suppress(m, p.list, p.number);
    }
}

/* ---- policy */

static int64_t rate_of(const struct mta *m, const struct mta_route *r) {
    bool other = strcmp(m->s->receiver[m->s->site[r->site].receiver].provider, "other") == 0;
    int64_t rate = other ? m->set->rate_other : m->set->rate;
    if (rate && m->now_ms < r->slow_until_ms)
        rate = rate * m->set->slow / 100;
    return rate;
}

static int64_t gap_ms(const struct mta *m, const struct mta_route *r) {
    if (!m->set->rate && !m->set->rate_other)
        return 0;
    int64_t rate = rate_of(m, r);
    return rate > 0 ? HERD_HOUR_MS / rate : HERD_HOUR_MS;
}

/* The cap of a new source on this day of its life; INT64_MAX: none. */
static int64_t warm_cap(const struct mta *m, uint32_t source) {
    if (!m->set->warm_start || m->s->source[source].age_days >= 30)
        return INT64_MAX;
    int64_t first = m->first_ms[source], cap = m->set->warm_start;
    int64_t day = first == RMD_NEVER ? 0 : m->now_ms / HERD_DAY_MS - first / HERD_DAY_MS;
    for (int64_t i = 0; i < day && cap < 10000000; i++)
        cap = cap * m->set->warm_growth / 100;
    return cap;
}

/* When a message may be put on this route: now, or later. */
static int64_t warm_ready(struct mta *m, const struct mta_route *r) {
    int64_t cap = warm_cap(m, r->source);
    if (cap == INT64_MAX)
        return m->now_ms;
    struct mta_bucket *b = &m->bucket[r->source * m->s->n_receivers + m->s->site[r->site].receiver];
    int64_t day = m->now_ms / HERD_DAY_MS, hour = m->now_ms / HERD_HOUR_MS;
    if (b->day != day)
        b->used_day = 0;
    if (b->hour != hour)
        b->used_hour = 0;
    b->day = day;
    b->hour = hour;
    if (b->used_day >= cap)
        return (day + 1) * HERD_DAY_MS;
    int64_t in_hour = cap * m->set->warm_hour / 100;
    return b->used_hour >= (in_hour > 0 ? in_hour : 1) ? (hour + 1) * HERD_HOUR_MS : m->now_ms;
}

static int64_t ready_ms(struct mta *m, const struct mta_route *r) {
    int64_t when = r->suspended_until_ms > m->now_ms ? r->suspended_until_ms : m->now_ms;
    int64_t warm = warm_ready(m, r);
    return warm > when ? warm : when;
}

static void book(struct mta *m, const struct mta_route *r) {
    struct mta_bucket *b = &m->bucket[r->source * m->s->n_receivers + m->s->site[r->site].receiver];
    b->used_day++;
    b->used_hour++;
    if (m->first_ms[r->source] == RMD_NEVER)
        m->first_ms[r->source] = m->now_ms;
}

/* ---- where a message goes */

static void run_route(struct mta *m, struct mta_route *r);

static void place(struct mta *m, struct mta_message *x) {
    uint32_t stream = m->s->campaign[x->campaign].stream;
    int64_t soonest = RMD_NEVER;
    if (is_suppressed(m, x)) {
        herd_settle(m->w, x->campaign, x->row, HERD_DROPPED, m->now_ms);
        return;
    }
    for (uint32_t i = 0; i < m->s->n_sources; i++) {
        uint32_t source = (m->turn[stream] + i) % m->s->n_sources;
        if (strcmp(m->s->source[source].pool, m->s->stream[stream].pool) != 0)
            continue;
        struct mta_route *r = route(m, source, x->site);
        int64_t when = ready_ms(m, r);
        soonest = when < soonest ? when : soonest;
        if (when > m->now_ms)
            continue;
        m->turn[stream] = source + 1;
        x->next = NULL;
        if (r->last)
            r->last->next = x;
        else
            r->first = x;
        r->last = x;
        r->queued++;
        book(m, r);
        run_route(m, r);
        return;
    }
    if (soonest > x->born_ms + m->set->lifetime_ms)
        herd_settle(m->w, x->campaign, x->row, HERD_EXPIRED, m->now_ms);
    else
        at(m, &x->timer, soonest);
}

static struct mta_message *take(struct mta_route *r) {
    struct mta_message *x = r->first;
    r->first = x->next;
    if (!r->first)
        r->last = NULL;
    r->queued--;
    return x;
}

static void defer(struct mta *m, struct mta_message *x) {
    int64_t wait = m->set->backoff_ms;
    for (uint32_t i = 0; i < x->tries && wait < m->set->backoff_most_ms; i++)
        wait *= 2;
    wait = wait < m->set->backoff_most_ms ? wait : m->set->backoff_most_ms;
    x->tries++;
    if (m->now_ms + wait > x->born_ms + m->set->lifetime_ms)
        herd_settle(m->w, x->campaign, x->row, HERD_EXPIRED, m->now_ms);
    else
        at(m, &x->timer, m->now_ms + wait);
}

static void bounce(struct mta *m, struct mta_message *x, const struct herd_reply *r, enum mta_stage stage) {
    bool plain = strlen(r->text) < 9 || r->text[5] != '.'; /* no enhanced code */
    bool unknown = (plain && stage == AT_RCPT) || strncmp(r->text + 4, "5.1.", 4) == 0;
    herd_settle(m->w, x->campaign, x->row, HERD_BOUNCED, m->now_ms);
    uint8_t *n = &m->bounces[x->list][x->number];
    *n = (uint8_t)(*n < UINT8_MAX ? *n + 1 : *n);
    if (unknown || *n >= m->set->suppress_after)
        suppress(m, x->list, x->number);
}

/* ---- suspensions */

static bool asks_to_rest(const struct herd_reply *r) {
    return r->code == 421 || (r->code < 500 && strlen(r->text) > 8 && strncmp(r->text + 4, "4.7.", 4) == 0);
}

static bool says(const struct herd_reply *r, const char *word) {
    return rmd_case_find(rmd_slice_str(r->text), rmd_slice_str(word));
}

static bool says_blocked(const struct herd_reply *r) {
    static const char *const words[] = {"block",     "spamhaus", "listed", "banned", "permanently deferred",
                                        "reputation"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (says(r, words[i]))
            return true;
    return false;
}

/* Its queue goes back, to be put on other routes. */
static void suspend(struct mta *m, struct mta_route *r, int64_t for_ms) {
    if (m->now_ms + for_ms > r->suspended_until_ms)
        r->suspended_until_ms = m->now_ms + for_ms;
    r->slow_until_ms = r->suspended_until_ms + for_ms;
    while (r->first) {
        struct mta_message *x = take(r);
        at(m, &x->timer, m->now_ms + 1);
    }
}

static void heed(struct mta *m, struct mta_route *r, const struct herd_reply *reply) {
    if (!m->set->suspend_rate_ms || reply->code < 400)
        return;
    bool greylist = says(reply, "greylist");
    if (reply->code >= 500 && says_blocked(reply)) {
        suspend(m, r, m->set->suspend_block_ms);
    } else if (asks_to_rest(reply) && !greylist) {
        if (m->now_ms - r->trigger_ms > TRIGGER_WINDOW_MS) {
            r->triggers = 0;
            r->trigger_ms = m->now_ms;
        }
        if (++r->triggers >= m->set->trigger) {
            r->triggers = 0;
            suspend(m, r, m->set->suspend_rate_ms);
        }
    }
}

/* ---- connections */

static void wait_for(struct mta *m, struct mta_conn *c, const struct herd_reply *r) {
    c->reply = *r;
    rmd_copy(c->text, sizeof c->text, r->text ? r->text : "");
    c->reply.text = c->text;
    if (r->close)
        c->number = 0;
    at(m, &c->timer, m->now_ms + r->delay_ms);
}

static void conn_free(struct mta *m, struct mta_conn *c) {
    if (c->number)
        herd_disconnect(m->w, c->number, m->now_ms);
    c->route->conns--;
    free(c);
}

static void open_conn(struct mta *m, struct mta_route *r) {
    struct mta_conn *c = rmd_alloc(sizeof *c);
    struct herd_reply reply;
    c->timer.kind = MTA_CONN;
    c->route = r;
    r->conns++;
    c->number = herd_connect(m->w, r->source, r->site, m->now_ms, &reply);
    wait_for(m, c, &reply);
}

static void wake_at(struct mta *m, struct mta_route *r, int64_t when_ms) {
    at(m, &r->wake->timer, when_ms);
}

static void run_route(struct mta *m, struct mta_route *r) {
    int64_t from =
        r->next_mail_ms - ROUTES_LINGER_MS > r->dead_until_ms ? r->next_mail_ms - ROUTES_LINGER_MS : r->dead_until_ms;
    if (r->first && m->now_ms < from) {
        wake_at(m, r, from);
        return;
    }
    while (r->first && r->conns < m->connections[m->s->site[r->site].receiver] && r->conns < (int64_t)r->queued)
        open_conn(m, r);
}

/* The connection is free: the next message, or QUIT. */
static void next_message(struct mta *m, struct mta_conn *c) {
    struct mta_route *r = c->route;
    int64_t slot = r->next_mail_ms > m->now_ms ? r->next_mail_ms : m->now_ms;
    c->stage = AT_READY;
    if (!r->first || c->sent >= m->messages[m->s->site[r->site].receiver] || slot - m->now_ms > ROUTES_LINGER_MS) {
        conn_free(m, c);
        run_route(m, r);
        return;
    }
    r->next_mail_ms = slot + gap_ms(m, r);
    c->message = take(r);
    c->sent++;
    c->reply = (struct herd_reply){.code = 220, .text = ""};
    at(m, &c->timer, slot);
}

static void ended(struct mta *m, struct mta_conn *c) {
    struct mta_message *x = c->message;
    struct mta_route *r = c->route;
    c->message = NULL;
    if (c->reply.code < 400)
        herd_settle(m->w, x->campaign, x->row, HERD_DELIVERED, m->now_ms);
    else if (c->reply.code < 500)
        defer(m, x);
    else
        bounce(m, x, &c->reply, c->stage);
    heed(m, r, &c->reply);
    if (c->number) {
        next_message(m, c);
        return;
    }
    conn_free(m, c);
    run_route(m, r);
}

/* Nobody talks to us: every message of the route waits, as with a stock MTA's dead destination. */
static void turned_away(struct mta *m, struct mta_conn *c) {
    struct mta_route *r = c->route;
    bool others = r->conns > 1;
    heed(m, r, &c->reply);
    conn_free(m, c);
    if (others) /* too many at one time, perhaps: the open ones go on */
        return;
    r->dead_until_ms = m->now_ms + m->set->backoff_ms;
    while (r->first)
        defer(m, take(r));
}

static void on_conn(struct mta *m, struct mta_conn *c) {
    struct mta_message *x = c->message;
    struct herd_reply reply;
    if (c->stage == AT_GREETING) {
        if (!c->number || c->reply.code >= 400)
            turned_away(m, c);
        else
            next_message(m, c);
        return;
    }
    if (c->reply.code >= 400 || c->stage == AT_DOT) {
        ended(m, c);
        return;
    }
    if (c->stage == AT_READY)
        herd_mail(m->w, c->number, x->campaign, x->row, m->now_ms, &reply);
    else if (c->stage == AT_MAIL)
        herd_rcpt(m->w, c->number, m->now_ms, &reply);
    else
        herd_dot(m->w, c->number, m->now_ms, &reply);
    c->stage++;
    wait_for(m, c, &reply);
}

/* ---- submissions */

struct ranked {
    uint32_t row;
    int32_t days;
};

static int by_engagement(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->days != y->days)
        return x->days < y->days ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void submit(struct mta *m, uint32_t campaign) {
    const struct herd_campaign *k = &m->s->campaign[campaign];
    struct ranked *order = rmd_alloc(k->rows * sizeof *order);
    struct mta_message *v = m->campaign[campaign] = rmd_alloc(k->rows * sizeof *v);
    for (uint32_t row = 0; row < k->rows; row++) {
        struct herd_person p;
        herd_person(m->w, campaign, row, &p);
        order[row] = (struct ranked){row, p.engaged_days < 0 ? INT32_MAX : p.engaged_days};
        v[row] = (struct mta_message){.timer.kind = MTA_DUE,
                                      .campaign = campaign,
                                      .row = row,
                                      .site = p.site,
                                      .list = p.list,
                                      .number = p.number,
                                      .born_ms = m->now_ms};
    }
    if (m->set->engaged_first)
        qsort(order, k->rows, sizeof *order, by_engagement);
    for (uint32_t i = 0; i < k->rows; i++)
        place(m, &v[order[i].row]);
    free(order);
}

/* ---- the loop */

static void step(struct mta *m, struct mta_timer *t) {
    switch (t->kind) {
    case MTA_SUBMIT:
        submit(m, (uint32_t)(t - m->submit));
        break;
    case MTA_DUE:
        place(m, rmd_container(t, struct mta_message, timer));
        break;
    case MTA_CONN:
        on_conn(m, rmd_container(t, struct mta_conn, timer));
        break;
    case MTA_WAKE:
        run_route(m, rmd_container(t, struct mta_wake, timer)->route);
        break;
    }
}

static void loop(struct mta *m) {
    struct rmd_heap_node *n;
    while ((n = rmd_heap_min(&m->heap))) {
        int64_t report = herd_report_due(m->w), next = n->key < report ? n->key : report;
        if (next >= herd_end_ms(m->w))
            break;
        m->now_ms = next > m->now_ms ? next : m->now_ms;
        if (report <= n->key) {
            complained(m);
            continue;
        }
        rmd_heap_remove(&m->heap, n);
        step(m, rmd_container(n, struct mta_timer, node));
    }
    herd_advance(m->w, herd_end_ms(m->w));
}

static int limits(struct mta *m, struct rmd_buf *err) {
    struct rmd_providers p = {0};
    m->connections = rmd_alloc(m->s->n_receivers * sizeof *m->connections);
    m->messages = rmd_alloc(m->s->n_receivers * sizeof *m->messages);
    int rc = rmd_providers_load(NULL, &p, err);
    for (uint32_t i = 0; rc == RMD_OK && i < m->s->n_receivers; i++) {
        const Remuda__ProviderPolicy *x = rmd_providers_find(&p, m->s->receiver[i].provider);
        m->connections[i] = m->set->concurrency;
        m->messages[i] = m->set->messages;
        if (!x || !m->set->published)
            continue;
        uint32_t most = x->connections_per_site ? x->connections_per_site : x->connections;
        if (most && most < m->connections[i])
            m->connections[i] = most;
        if (x->messages_per_connection && x->messages_per_connection < m->messages[i])
            m->messages[i] = x->messages_per_connection;
    }
    rmd_providers_release(&p);
    return rc;
}

static void setup(struct mta *m) {
    m->campaign = rmd_alloc(m->s->n_campaigns * sizeof(struct mta_message *));
    m->submit = rmd_alloc(m->s->n_campaigns * sizeof *m->submit);
    m->bucket = rmd_alloc((size_t)m->s->n_sources * m->s->n_receivers * sizeof *m->bucket);
    m->first_ms = rmd_alloc(m->s->n_sources * sizeof *m->first_ms);
    m->turn = rmd_alloc(m->s->n_streams * sizeof *m->turn);
    m->bounces = rmd_alloc(m->s->n_lists * sizeof *m->bounces);
    m->suppressed = rmd_alloc(m->s->n_lists * sizeof *m->suppressed);
    for (uint32_t i = 0; i < m->s->n_sources; i++)
        m->first_ms[i] = RMD_NEVER;
    for (uint32_t i = 0; i < m->s->n_lists; i++) {
        size_t size = herd_list_size(m->s, i);
        m->bounces[i] = rmd_alloc(size);
        m->suppressed[i] = rmd_alloc(size);
    }
    for (uint32_t i = 0; i < m->s->n_campaigns; i++) {
        m->submit[i].kind = MTA_SUBMIT;
        at(m, &m->submit[i], m->s->campaign[i].at_ms);
    }
}

static void release(struct mta *m) {
    struct rmd_heap_node *n;
    while ((n = rmd_heap_min(&m->heap))) {
        struct mta_timer *t = rmd_container(n, struct mta_timer, node);
        rmd_heap_remove(&m->heap, n);
        if (t->kind == MTA_CONN)
            free(rmd_container(t, struct mta_conn, timer));
    }
    rmd_heap_release(&m->heap);
    uint32_t it = 0;
    struct rmd_slice key;
    void *value;
    while (rmd_map_next(&m->routes, &it, &key, &value)) {
        free(((struct mta_route *)value)->wake);
        free(value);
    }
    rmd_map_release(&m->routes);
    for (uint32_t i = 0; i < m->s->n_campaigns; i++)
        free(m->campaign[i]);
    for (uint32_t i = 0; i < m->s->n_lists; i++) {
        free(m->bounces[i]);
        free(m->suppressed[i]);
    }
    void *const all[] = {m->campaign, m->submit,     m->bucket,      m->first_ms, m->turn,
                         m->bounces,  m->suppressed, m->connections, m->messages};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

int mta_run(struct herd_world *w, const struct mta_settings *s, struct rmd_buf *err) {
    struct mta m = {.w = w, .s = herd_scenario_of(w), .set = s};
    setup(&m);
    int rc = limits(&m, err);
    if (rc == RMD_OK)
        loop(&m);
    release(&m);
    return rc;
}
