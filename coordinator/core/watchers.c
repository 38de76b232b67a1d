/* The blocklist watch at the coordinator: its lists, their health as nodes tell it, and their findings (see listing.h). Who asks what is
 * in watch_plan.c, checks out of schedule in watch_checks.c. */
#include "coordinator/core/listing.h"

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
    rmd_checks_free(w);
    rmd_map_release(&w->watcher);
    rmd_map_release(&w->health);
    rmd_map_release(&w->ranges);
    rmd_listings_free(w);
    lists_free(w);
    free(w);
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
    struct rmd_check *k = f->check ? rmd_check_find(w, f->check) : NULL;
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
        rmd_check_done(c, k);
    return true;
}

void rmd_watchers_findings(struct rmd_coord *c, struct rmd_node *n, const Remuda__Findings *m) {
    struct rmd_watcher *x = rmd_watcher_of(c->watchers, n->rec->id);
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
        if (rmd_watcher_present(c, v))
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
        rmd_watchers_assign(c);
    if (w->enabled)
        rmd_core_wake(c, w->look_mono_ms);
    rmd_checks_tick(c);
}
