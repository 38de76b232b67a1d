/* Who asks what: the assignment of sources, sending domains and neighbours to nodes, checks out of schedule, the health of
 * lists as nodes tell it, and their findings (see listing.h). */
#include "coordinator/core/listing.h"

enum { BUDGET_MIN = 5, AWAY_LOOK_MS = 5000 };

const Remuda__Blocklist *rmd_watchers_list(const struct rmd_watchers *w, uint32_t id) {
    for (size_t i = 0; w && i < w->n_lists; i++)
        if (rmd_blocklist_id(w->list[i]->name) == id)
            return w->list[i];
    return NULL;
}

/* ---------------------------------------------------------------- life */

static void lists_free(struct rmd_watchers *w) {
    for (size_t i = 0; i < w->n_lists; i++)
        remuda__blocklist__free_unpacked(w->list[i], NULL);
    free(w->list);
    w->list = NULL;
    w->n_lists = 0;
}

void rmd_coord_watch_set(struct rmd_coord *c, const struct rmd_watch_settings *s) {
    struct rmd_watchers *w = c->watchers;
    lists_free(w);
    w->enabled = s && s->enabled;
    w->changed = true;
    w->look_mono_ms = 0;
    c->tick_mono_ms = c->now.mono_ms; /* between steps: the next one begins with a tick */
    if (!s)
        return;
    w->per_hour = s->per_hour;
    w->per_day = s->per_day;
    w->neighbours = s->neighbours;
    w->neighbours_every_ms = s->neighbours_every_ms;
    w->list = rmd_alloc((s->n_lists + 1) * sizeof *w->list);
    for (size_t i = 0; i < s->n_lists && i < RMD_LISTS_MAX; i++)
        w->list[w->n_lists++] = rmd_record_dup(s->list[i]);
}

void rmd_watchers_init(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers = rmd_alloc(sizeof *w);
    rmd_list_init(&w->listings);
    rmd_list_init(&w->checks);
    rmd_coord_watch_set(c, c->o.watch);
}

static void watcher_free(struct rmd_watcher *x) {
    rmd_map_release(&x->subject);
    free(x);
}

static void check_free(struct rmd_watchers *w, struct rmd_check *k) {
    rmd_list_remove(&k->link);
    w->n_checks--;
    free(k->subject);
    free(k->result);
    free(k);
}

void rmd_watchers_free(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&w->watcher, &it, NULL, &v))
        watcher_free(v);
    for (it = 0; rmd_map_next(&w->health, &it, NULL, &v);)
        free(v);
    for (it = 0; rmd_map_next(&w->ranges, &it, NULL, &v);)
        free(v);
    rmd_list_for_safe(k, &w->checks) check_free(w, rmd_container(k, struct rmd_check, link));
    rmd_map_release(&w->watcher);
    rmd_map_release(&w->health);
    rmd_map_release(&w->ranges);
    rmd_listings_free(w);
    lists_free(w);
    free(w);
}

static struct rmd_watcher *watcher(struct rmd_watchers *w, uint32_t node) {
    struct rmd_watcher *x = rmd_map_get(&w->watcher, rmd_slice(&node, sizeof node));
    if (!x) {
        x = rmd_alloc(sizeof *x);
        x->node = node;
        rmd_map_set(&w->watcher, rmd_slice(&node, sizeof node), x);
    }
    return x;
}

/* ---------------------------------------------------------------- assignment */

struct share { /* one subject */
    const char *name;
    struct rmd_node *node;
    bool neighbour;
};

struct plan {
    struct rmd_coord *c;
    struct rmd_node **present;
    size_t n_present;
    struct share *v;
    size_t n, cap;
    struct rmd_map seen; /* networks and domains that were looked at */
};

/* Away for a moment is not away: its questions would all be asked anew elsewhere, and anew when it is back. */
static bool present(const struct rmd_coord *c, const struct rmd_node *n) {
    if (n->rec->state)
        return false;
    int64_t since = n->heard_mono_ms ? n->heard_mono_ms : c->watchers->started_mono_ms;
    return n->connected || c->now.mono_ms - since < RMD_WATCH_AWAY_MS;
}

/* The same node for the same name as long as it is there (highest random weight). */
static struct rmd_node *node_for(const struct plan *p, const char *name) {
    struct rmd_node *best = NULL;
    uint64_t most = 0;
    for (size_t i = 0; i < p->n_present; i++) {
        uint64_t h = rmd_mix64(rmd_fnv64(rmd_slice_str(name)) ^ rmd_mix64(p->present[i]->rec->id));
        if (!best || h > most) {
            best = p->present[i];
            most = h;
        }
    }
    return best;
}

static void add(struct plan *p, const char *name, struct rmd_node *n, bool neighbour) {
    if (!n)
        return;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct share *v = rmd_arena_alloc(&p->c->scratch, cap * sizeof *v);
        if (p->n)
            memcpy(v, p->v, p->n * sizeof *v);
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = (struct share){name, n, neighbour};
}

static void add_domain(struct plan *p, const char *domain) {
    char *name = rmd_arena_str(&p->c->scratch, rmd_slice_str(domain));
    rmd_lower_str(name);
    if (rmd_subject_kind(name) != RMD_LIST_DOMAIN || !strchr(name, '.') ||
        rmd_map_set(&p->seen, rmd_slice_str(name), name))
        return;
    add(p, name, node_for(p, name), false);
}

/* Lists have registered domains: the parents of a sending domain are asked about too, down to two labels, or three where the
 * second looks like a registry's ("co.uk"). */
static void add_domains(struct plan *p, const char *domain) {
    add_domain(p, domain);
    const char *at = domain;
    for (const char *dot; (dot = strchr(at, '.')) != NULL && strchr(dot + 1, '.');) {
        at = dot + 1;
        const char *last = strrchr(at, '.');
        size_t second = (size_t)(last - at);
        bool registry = strlen(last + 1) == 2 && second <= 3 && !memchr(at, '.', second);
        if (registry)
            return;
        add_domain(p, at);
    }
}

/* Host of "https://u.example.net/r/{token}". */
static void add_link(struct plan *p, const char *url) {
    const char *host = strstr(url, "://");
    if (!host)
        return;
    host += 3;
    char name[RMD_DOMAIN_MAX + 1];
    if (rmd_copy_slice(name, sizeof name, rmd_slice(host, strcspn(host, "/:?#{"))))
        add_domains(p, name);
}

/* A sample of the /24, another one each day, so that all of it is seen in the course of weeks. */
static void add_neighbours(struct plan *p, const struct rmd_source *s) {
    const struct rmd_watchers *w = p->c->watchers;
    struct rmd_addr a;
    if (!w->neighbours || rmd_addr_parse(s->rec->address, &a) != RMD_OK || a.family != 4 ||
        rmd_map_set(&p->seen, rmd_slice_str(s->network), (void *)(uintptr_t)s))
        return;
    struct rmd_node *n = present(p->c, s->node) ? s->node : node_for(p, s->network);
    uint32_t many = w->neighbours < 254 ? w->neighbours : 254;
    uint32_t shift = (uint32_t)(rmd_mix64((uint64_t)w->day ^ s->net->hash) % 254);
    for (uint32_t i = 0; i < many; i++) {
        char text[48];
        a.b[3] = (uint8_t)(1 + (shift + i * 254 / many) % 254);
        rmd_addr_format(&a, text);
        if (!rmd_map_get_str(&p->seen, text))
            add(p, rmd_arena_str(&p->c->scratch, rmd_slice_str(text)), n, true);
    }
}

static void make_plan(struct rmd_coord *c, struct plan *p) {
    uint32_t it = 0;
    void *v;
    *p = (struct plan){.c = c};
    p->present = rmd_arena_alloc(&c->scratch, (c->nodes.n + 1) * sizeof(struct rmd_node *));
    while (rmd_map_next(&c->nodes, &it, NULL, &v))
        if (present(c, v))
            p->present[p->n_present++] = v;
    if (!c->watchers->enabled || !p->n_present)
        return;
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
        const struct rmd_source *s = v;
        if (s->rec->state == RMD_SOURCE_RETIRED)
            continue;
        add(p, s->rec->address, s->node && present(c, s->node) ? s->node : node_for(p, s->rec->address), false);
        rmd_map_set(&p->seen, rmd_slice_str(s->rec->address), v);
    }
    for (it = 0; rmd_map_next(&c->streams, &it, NULL, &v);) {
        const Remuda__StreamRecord *r = ((const struct rmd_stream *)v)->rec;
        add_domains(p, r->sending_domain);
        add_link(p, r->unsubscribe_url);
    }
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
        const struct rmd_source *s = v;
        if (s->rec->state != RMD_SOURCE_RETIRED && s->node)
            add_neighbours(p, s);
    }
}

static uint32_t part(uint32_t budget, size_t mine, size_t all) {
    uint64_t n = (uint64_t)budget * mine / (all ? all : 1);
    uint32_t least = budget < BUDGET_MIN ? budget : BUDGET_MIN;
    return n < least ? least : (uint32_t)n;
}

static void add_spent(struct rmd_coord *c, const struct rmd_node *n, Remuda__Watch *m, struct rmd_arena *a) {
    struct rmd_watchers *w = c->watchers;
    uint32_t it = 0, hour = 0, day = 0;
    void *v;
    m->spent = rmd_arena_alloc(a, (w->n_lists + 1) * sizeof *m->spent);
    for (size_t i = 0; i <= w->n_lists; i++) {
        Remuda__WatchSpent *s = m->spent[m->n_spent++] = rmd_arena_alloc(a, sizeof *s);
        remuda__watch_spent__init(s);
        if (i < w->n_lists)
            s->list = rmd_blocklist_id(w->list[i]->name);
        else {
            s->hour = hour;
            s->day = day;
        }
        for (it = 0; s->list && rmd_map_next(&w->health, &it, NULL, &v);) {
            const struct rmd_list_health *h = v;
            if (h->node != n->rec->id || h->list != s->list || h->day < s->day)
                continue;
            s->hour = h->hour;
            s->day = h->day;
        }
        hour += s->hour;
        day += s->day;
    }
}

static void fill(struct rmd_coord *c, const struct plan *p, const struct rmd_node *n, Remuda__Watch *m,
                 struct rmd_arena *a) {
    struct rmd_watchers *w = c->watchers;
    struct rmd_watcher *x = watcher(w, n->rec->id);
    remuda__watch__init(m);
    rmd_map_release(&x->subject);
    m->subject = rmd_arena_alloc(a, (p->n + 1) * sizeof *m->subject);
    for (size_t i = 0; i < p->n && m->n_subject < RMD_WATCH_SUBJECTS_MAX; i++) {
        if (p->v[i].node != n)
            continue;
        Remuda__WatchSubject *s = m->subject[m->n_subject++] = rmd_arena_alloc(a, sizeof *s);
        remuda__watch_subject__init(s);
        s->name = rmd_arena_str(a, rmd_slice_str(p->v[i].name));
        s->neighbour = p->v[i].neighbour;
        rmd_map_set(&x->subject, rmd_slice_str(s->name),
                    (void *)(uintptr_t)(s->neighbour ? RMD_SUBJECT_NEIGHBOUR : RMD_SUBJECT_OWN));
    }
    m->per_hour = part(w->per_hour, m->n_subject, p->n);
    m->per_day = part(w->per_day, m->n_subject, p->n);
    m->neighbours_every_ms = w->neighbours_every_ms;
    m->list = rmd_arena_alloc(a, (w->n_lists + 1) * sizeof *m->list);
    for (size_t i = 0; i < w->n_lists && w->enabled; i++) {
        if (!w->list[i]->enabled)
            continue;
        struct rmd_buf b = {0};
        rmd_pb_encode(w->list[i], &b);
        Remuda__Blocklist *l = rmd_pb_decode(&remuda__blocklist__descriptor, rmd_buf_slice(&b), a);
        rmd_buf_release(&b);
        l->n_named = 0; /* what is for people stays here */
        l->removal = l->hint = l->off_because = (char *)(uintptr_t)protobuf_c_empty_string;
        l->lifetime_ms = 0;
        l->per_hour = part(l->per_hour, m->n_subject, p->n);
        l->per_day = part(l->per_day, m->n_subject, p->n);
        m->list[m->n_list++] = l;
    }
}

static void send_watch(struct rmd_coord *c, const struct plan *p, struct rmd_node *n, bool always) {
    struct rmd_arena *a = rmd_arena_after(c);
    struct rmd_watcher *x = watcher(c->watchers, n->rec->id);
    Remuda__Watch *m = rmd_arena_alloc(a, sizeof *m);
    fill(c, p, n, m, a);
    struct rmd_buf b = {0};
    rmd_pb_encode(m, &b);
    uint64_t digest = rmd_fnv64(rmd_buf_slice(&b));
    rmd_buf_release(&b);
    bool none = !m->n_subject && !m->n_list && !x->digest;
    if ((digest == x->digest && !always) || none)
        return;
    x->digest = digest;
    m->revision = ++c->watchers->revision;
    add_spent(c, n, m, a);
    rmd_core_send(c, n, REMUDA__FRAME__BODY_WATCH, -1)->watch = m;
}

static void assign(struct rmd_coord *c) {
    struct plan p;
    make_plan(c, &p);
    for (size_t i = 0; i < p.n_present; i++)
        if (p.present[i]->connected)
            send_watch(c, &p, p.present[i], false);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->watchers->watcher, &it, NULL, &v)) { /* who is away for long is told at his next Hello */
        struct rmd_watcher *x = v;
        const struct rmd_node *n = rmd_node_find(c, x->node);
        if (!n || !present(c, n)) {
            rmd_map_release(&x->subject);
            x->digest = 0;
        }
    }
    rmd_map_release(&p.seen);
    rmd_watchers_forget(c, c->watchers);
}

void rmd_watchers_changed(struct rmd_coord *c) {
    c->watchers->changed = true; /* looked at in this step: rmd_watchers_advance */
}

void rmd_watchers_session(struct rmd_coord *c, struct rmd_node *n) {
    struct rmd_watcher *x = watcher(c->watchers, n->rec->id);
    x->findings_n = 0;
    x->complained = false;
    struct plan p;
    make_plan(c, &p);
    send_watch(c, &p, n, true);
    rmd_map_release(&p.seen);
    rmd_list_for(it, &c->watchers->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (k->node == n->rec->id)
            k->sent = false; /* asked again in this session */
    }
    rmd_watchers_changed(c);
}

/* Nobody is told any more that this is so: it may have ended, or be looked at elsewhere. */
void rmd_watchers_forget(struct rmd_coord *c, const struct rmd_watchers *w) {
    if (!w->open.n || c->now.mono_ms - c->watchers->started_mono_ms < RMD_WATCH_AWAY_MS)
        return; /* nodes are still coming */
    struct rmd_map watched = {0};
    uint32_t it = 0;
    struct rmd_slice name;
    void *v;
    while (rmd_map_next(&w->watcher, &it, NULL, &v)) {
        uint32_t jt = 0;
        void *what;
        while (rmd_map_next(&((struct rmd_watcher *)v)->subject, &jt, &name, &what))
            rmd_map_set(&watched, name, what);
    }
    rmd_list_for_safe(i, &w->listings) {
        struct rmd_listing *x = rmd_container(i, struct rmd_listing, link);
        const Remuda__Blocklist *l = rmd_watchers_list(w, rmd_blocklist_id(x->rec->list));
        if (x->rec->removed_wall_ms)
            continue;
        if (!w->enabled || !l || !l->enabled)
            rmd_listing_end(c, x, "the list is not asked any more");
        else if (watched.n && !rmd_map_get_str(&watched, x->rec->subject))
            rmd_listing_end(c, x, "it is not watched any more");
    }
    rmd_map_release(&watched);
}

/* ---------------------------------------------------------------- checks out of schedule */

static struct rmd_check *check_find(const struct rmd_watchers *w, uint64_t id) {
    rmd_list_for(it, &w->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (k->id == id)
            return k;
    }
    return NULL;
}

/* The source's own node, else one that is connected. */
static struct rmd_node *checker(struct rmd_coord *c, const char *subject) {
    uint32_t it = 0;
    void *v;
    for (it = 0; rmd_map_next(&c->watchers->watcher, &it, NULL, &v);) {
        struct rmd_watcher *x = v;
        struct rmd_node *n = rmd_node_find(c, x->node);
        if (n && n->connected && rmd_map_get_str(&x->subject, subject))
            return n;
    }
    struct rmd_node *best = NULL;
    for (it = 0; rmd_map_next(&c->nodes, &it, NULL, &v);)
        if (((struct rmd_node *)v)->connected && (!best || ((struct rmd_node *)v)->rec->id < best->rec->id))
            best = v;
    return best;
}

static void check_send(struct rmd_coord *c, struct rmd_check *k) {
    struct rmd_node *n = checker(c, k->subject);
    if (!n)
        return;
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__WatchCheck *m = rmd_arena_alloc(a, sizeof *m);
    remuda__watch_check__init(m);
    k->node = n->rec->id;
    k->sent = true;
    m->id = k->id;
    m->subject = rmd_arena_str(a, rmd_slice_str(k->subject));
    m->list = rmd_arena_alloc(a, (k->n_results + 1) * sizeof *m->list);
    for (size_t i = 0; i < k->n_results; i++)
        if (!k->result[i].answered)
            m->list[m->n_list++] = k->result[i].list;
    rmd_core_send(c, n, REMUDA__FRAME__BODY_WATCH_CHECK, -1)->watch_check = m;
}

static void checks_trim(struct rmd_watchers *w) {
    uint32_t done = 0;
    rmd_list_for_safe(it, &w->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (k->done && k->again_mono_ms == RMD_NEVER && ++done > RMD_CHECKS_KEPT)
            check_free(w, k);
    }
}

uint64_t rmd_watchers_check(struct rmd_coord *c, const char *subject, const uint32_t *list, size_t n, uint64_t token,
                            uint64_t incident, uint32_t times) {
    struct rmd_watchers *w = c->watchers;
    uint32_t kind = rmd_subject_kind(subject);
    checks_trim(w);
    if (!w->enabled || w->n_checks >= RMD_CHECKS_OPEN_MAX + RMD_CHECKS_KEPT)
        return 0;
    struct rmd_check *k = rmd_alloc(sizeof *k);
    k->result = rmd_alloc((w->n_lists + 1) * sizeof *k->result);
    for (size_t i = 0; i < w->n_lists; i++) {
        uint32_t id = rmd_blocklist_id(w->list[i]->name);
        bool wanted = !n;
        for (size_t j = 0; j < n; j++)
            wanted = wanted || list[j] == id;
        if (wanted && w->list[i]->enabled && rmd_blocklist_answers(w->list[i], kind))
            k->result[k->n_results++].list = id;
    }
    if (!k->n_results) {
        free(k->result);
        free(k);
        return 0;
    }
    k->id = c->epoch << 32 | ++w->next_check;
    k->token = token;
    k->incident = incident;
    k->times = times;
    k->subject = rmd_strdup(subject);
    k->begun_mono_ms = c->now.mono_ms;
    k->again_mono_ms = RMD_NEVER;
    rmd_list_push_front(&w->checks, &k->link);
    w->n_checks++;
    check_send(c, k);
    rmd_core_wake(c, c->now.mono_ms + (k->sent ? RMD_CHECK_WAIT_MS : AWAY_LOOK_MS));
    return k->id;
}

static void check_done(struct rmd_coord *c, struct rmd_check *k) {
    bool listed = false, all = true;
    for (size_t i = 0; i < k->n_results; i++) {
        listed = listed || (k->result[i].answered && k->result[i].state == RMD_FINDING_LISTED);
        all = all && k->result[i].answered;
    }
    k->done = true;
    if (k->token)
        rmd_core_reply(c, k->token, RMD_OK, k->id, "%s",
                       all       ? "all lists answered"
                       : k->sent ? "some lists did not answer in time"
                                 : "no node is connected that could ask");
    k->token = 0;
    /* the resolver may remember for a while that it wasn't listed */
    if (k->incident && !listed && k->times < RMD_CHECK_AGAIN_TIMES) {
        k->again_mono_ms = c->now.mono_ms + ((int64_t)RMD_CHECK_AGAIN_MS << (2 * k->times));
        rmd_core_wake(c, k->again_mono_ms);
    }
}

static void checks_tick(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers;
    rmd_list_for_safe(it, &w->checks) {
        struct rmd_check *k = rmd_container(it, struct rmd_check, link);
        if (!k->done && c->now.mono_ms - k->begun_mono_ms >= RMD_CHECK_WAIT_MS) {
            check_done(c, k);
        } else if (!k->done && !k->sent) {
            check_send(c, k);
            rmd_core_wake(c, c->now.mono_ms + (k->sent ? RMD_CHECK_WAIT_MS : AWAY_LOOK_MS));
        } else if (!k->done) {
            rmd_core_wake(c, k->begun_mono_ms + RMD_CHECK_WAIT_MS);
        } else if (k->again_mono_ms != RMD_NEVER && c->now.mono_ms >= k->again_mono_ms) {
            uint32_t list[RMD_LISTS_MAX];
            size_t n = 0;
            for (; n < k->n_results && n < RMD_LISTS_MAX; n++)
                list[n] = k->result[n].list;
            k->again_mono_ms = RMD_NEVER;
            rmd_watchers_check(c, k->subject, list, n, 0, k->incident, k->times + 1);
        } else if (k->again_mono_ms != RMD_NEVER) {
            rmd_core_wake(c, k->again_mono_ms);
        }
    }
}

/* A receiver's words name a list: we ask it ourselves, at once. */
void rmd_watchers_refused(struct rmd_coord *c, struct rmd_source *s, uint32_t provider, const Remuda__Reply *reply) {
    struct rmd_watchers *w = c->watchers;
    uint32_t list[RMD_LISTS_MAX], kind = rmd_subject_kind(s->rec->address);
    size_t n = 0;
    for (size_t i = 0; i < w->n_lists && w->enabled && reply; i++)
        if (w->list[i]->enabled && rmd_blocklist_answers(w->list[i], kind) &&
            rmd_blocklist_named(w->list[i], rmd_slice(reply->text.data, reply->text.len)))
            list[n++] = rmd_blocklist_id(w->list[i]->name);
    if (!n)
        return;
    ssize_t p = rmd_provider_index(c, provider);
    uint64_t incident = p >= 0 && s->lane[p] && s->lane[p]->incident ? s->lane[p]->incident : s->all.incident;
    for (size_t i = 0; i < n; i++) { /* what is known already needs no question */
        struct rmd_listing *x = rmd_listing_find(c, rmd_watchers_list(w, list[i])->name, s->rec->address);
        if (x && incident)
            rmd_listing_link(c, x, incident);
        if (x)
            rmd_listing_link_named(c, rmd_watchers_list(w, list[i]), x);
    }
    rmd_watchers_check(c, s->rec->address, list, n, 0, incident, 0);
}

/* ---------------------------------------------------------------- findings */

static void take_health(struct rmd_coord *c, const struct rmd_node *n, const Remuda__ListHealth *m) {
    struct rmd_watchers *w = c->watchers;
    const Remuda__Blocklist *l = rmd_watchers_list(w, m->list);
    if (!l || m->state >= RMD_LIST_STATE_COUNT || !*rmd_list_kind_name(m->kind) ||
        *rmd_list_kind_name(m->kind) == '?')
        return;
    uint32_t key[3] = {n->rec->id, m->list, m->kind};
    struct rmd_list_health *h = rmd_map_get(&w->health, rmd_slice(key, sizeof key));
    bool fresh = !h;
    if (!h) {
        h = rmd_alloc(sizeof *h);
        h->node = key[0];
        h->list = key[1];
        h->kind = key[2];
        rmd_map_set(&w->health, rmd_slice(key, sizeof key), h);
    }
    uint32_t was = fresh ? (uint32_t)RMD_LIST_UNTRIED : h->state;
    h->state = m->state;
    h->hour = m->hour;
    h->day = m->day;
    h->tested_wall_ms = m->tested_ms_ago < 0 ? 0 : c->now.wall_ms - m->tested_ms_ago;
    rmd_copy_slice(h->why, sizeof h->why, rmd_slice_str(m->why));
    rmd_copy_slice(h->last_error, sizeof h->last_error, rmd_slice_str(m->last_error));
    bool aside = h->state == RMD_LIST_ASIDE;
    if (aside == (was == RMD_LIST_ASIDE) || (!aside && fresh))
        return;
    Remuda__EventRecord *e = rmd_core_event(c, aside ? "list.set_aside" : "list.trusted");
    e->node = n->rec->id;
    e->text =
        aside ? rmd_arena_printf(rmd_arena_after(c), "%s (%s) is set aside at node %s: %s", l->name,
                                 rmd_list_kind_name(h->kind), n->rec->name, h->why)
              : rmd_arena_printf(rmd_arena_after(c), "%s (%s) is believed again at node %s: it passed its self-test",
                                 l->name, rmd_list_kind_name(h->kind), n->rec->name);
    if (aside)
        rmd_core_warn(c, "blocklists: %s", e->text);
    else
        rmd_core_log(c, "blocklists: %s", e->text);
}

/* A node speaks of what it was given, and of what it was asked. */
static bool take_finding(struct rmd_coord *c, const struct rmd_node *n, const struct rmd_watcher *x,
                         const Remuda__Finding *f) {
    struct rmd_watchers *w = c->watchers;
    const Remuda__Blocklist *l = rmd_watchers_list(w, f->list);
    struct rmd_check *k = f->check ? check_find(w, f->check) : NULL;
    uintptr_t what = (uintptr_t)rmd_map_get_str(&x->subject, f->subject);
    bool asked = k && k->node == n->rec->id && strcmp(k->subject, f->subject) == 0;
    if (!l || !l->enabled || f->state >= RMD_FINDING_COUNT || f->n_answer > RMD_LIST_ANSWERS_MAX ||
        (f->state == RMD_FINDING_LISTED && !f->n_answer) || !rmd_blocklist_answers(l, rmd_subject_kind(f->subject)) ||
        (what == RMD_SUBJECT_NONE && !asked))
        return false;
    bool done = asked;
    for (size_t i = 0; asked && i < k->n_results; i++) {
        struct rmd_check_result *r = &k->result[i];
        if (r->list == f->list) {
            r->answered = true;
            r->state = f->state;
            r->n_answer = f->n_answer;
            if (f->n_answer)
                memcpy(r->answer, f->answer, f->n_answer * sizeof *f->answer);
            rmd_copy_slice(r->text, sizeof r->text, rmd_slice_str(f->text));
        }
        done = done && r->answered;
    }
    if (what != RMD_SUBJECT_NONE || rmd_listing_source(c, f->subject))
        rmd_listing_found(c, l, f->subject, what == RMD_SUBJECT_NEIGHBOUR, f);
    if (asked && k->incident && f->state == RMD_FINDING_LISTED) {
        struct rmd_listing *li = rmd_listing_find(c, l->name, f->subject);
        if (li)
            rmd_listing_link(c, li, k->incident);
    }
    if (done && !k->done)
        check_done(c, k);
    return true;
}

void rmd_watchers_findings(struct rmd_coord *c, struct rmd_node *n, const Remuda__Findings *m) {
    struct rmd_watcher *x = watcher(c->watchers, n->rec->id);
    if (m->n > x->findings_n) {
        x->findings_n = m->n;
        for (size_t i = 0; i < m->n_health; i++)
            take_health(c, n, m->health[i]);
        for (size_t i = 0; i < m->n_finding; i++) {
            if (take_finding(c, n, x, m->finding[i]) || x->complained)
                continue;
            x->complained = true; /* an overtaken assignment does that; it is no reason for a line each */
            rmd_core_log(c, "node %s: a finding about %.64s, which it wasn't asked about: ignored", n->rec->name,
                         m->finding[i]->subject);
        }
    }
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_FINDINGS_ACK, -1);
    f->findings_ack = rmd_arena_alloc(rmd_arena_after(c), sizeof *f->findings_ack);
    remuda__findings_ack__init(f->findings_ack);
    f->findings_ack->n = m->n;
}

/* ---------------------------------------------------------------- time */

void rmd_watchers_advance(struct rmd_coord *c) {
    if (c->watchers->changed && c->watchers->started)
        rmd_watchers_tick(c);
}

/* An assignment follows from who is there, and from what says by itself that it changed. The first look behind the time in which nodes are
 * still coming counts as well: what nobody is told any more is forgotten then. */
static bool somebody_came_or_went(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers;
    uint64_t who = c->now.mono_ms - w->started_mono_ms >= RMD_WATCH_AWAY_MS;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->nodes, &it, NULL, &v))
        if (present(c, v))
            who = rmd_mix64(who ^ ((const struct rmd_node *)v)->rec->id);
    bool other = who != w->who;
    w->who = who;
    return other;
}

void rmd_watchers_tick(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers;
    int64_t day = c->now.wall_ms / (24 * 3600 * 1000);
    if (!w->started) {
        w->started = true;
        w->started_mono_ms = c->now.mono_ms;
    }
    bool look = c->now.mono_ms >= w->look_mono_ms;
    if (day != w->day || (look && somebody_came_or_went(c)))
        w->changed = true;
    w->day = day;
    bool changed = w->changed;
    w->changed = false;
    if (changed || look)
        w->look_mono_ms = c->now.mono_ms + RMD_WATCH_AWAY_MS; /* who has gone is noticed then */
    if (changed && (w->enabled || w->watcher.n || w->open.n))
        assign(c);
    if (w->enabled)
        rmd_core_wake(c, w->look_mono_ms);
    checks_tick(c);
}
