/* Who asks what: sources, sending domains, links and neighbours, each given to one node (see listing.h). */
#include "coordinator/core/listing.h"

enum { BUDGET_MIN = 5 };

struct rmd_watcher *rmd_watcher_of(struct rmd_watchers *w, uint32_t node) {
    struct rmd_watcher *x = rmd_map_get(&w->watcher, rmd_slice(&node, sizeof node));
    if (!x) {
        x = rmd_alloc(sizeof *x);
        x->node = node;
        rmd_map_set(&w->watcher, rmd_slice(&node, sizeof node), x);
    }
    return x;
}

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
bool rmd_watcher_present(const struct rmd_coord *c, const struct rmd_node *n) {
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
    struct rmd_node *n = rmd_watcher_present(p->c, s->node) ? s->node : node_for(p, s->network);
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
        if (rmd_watcher_present(c, v))
            p->present[p->n_present++] = v;
    if (!c->watchers->enabled || !p->n_present)
        return;
    for (it = 0; rmd_map_next(&c->sources, &it, NULL, &v);) {
        const struct rmd_source *s = v;
        if (s->rec->state == RMD_SOURCE_RETIRED)
            continue;
        add(p, s->rec->address, s->node && rmd_watcher_present(c, s->node) ? s->node : node_for(p, s->rec->address),
            false);
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
    struct rmd_watcher *x = rmd_watcher_of(w, n->rec->id);
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
    struct rmd_watcher *x = rmd_watcher_of(c->watchers, n->rec->id);
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

/* Nobody is told any more that this is so: it may have ended, or be looked at elsewhere. */
static void forget(struct rmd_coord *c, const struct rmd_watchers *w) {
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

void rmd_watchers_assign(struct rmd_coord *c) {
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
        if (!n || !rmd_watcher_present(c, n)) {
            rmd_map_release(&x->subject);
            x->digest = 0;
        }
    }
    rmd_map_release(&p.seen);
    forget(c, c->watchers);
}

void rmd_watchers_changed(struct rmd_coord *c) {
    c->watchers->changed = true; /* looked at in this step: rmd_watchers_advance */
}

void rmd_watchers_session(struct rmd_coord *c, struct rmd_node *n) {
    struct rmd_watcher *x = rmd_watcher_of(c->watchers, n->rec->id);
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
