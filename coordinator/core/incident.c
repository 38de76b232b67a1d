/* Incidents: records of trouble, with their time line: read by the node, quarantined here, dealt again elsewhere (moving.h),
 * probed, resolved. The time line is bounded: its first lines stay, and the latest.
 *
 * One cause is one incident. What a site of "other" says in one way (class) of many sources is one, with the sources as its members, and so
 * is a network that a provider refuses: they share canary, time line, ticket and end, and what moved and waits is the sum of all. An incident
 * of this kind is over when nothing rests on it any more; a member leaves when it is open there again, or when a wider stop takes it over.
 * What a named provider says of single sources is an incident each: it may be true of one, and not of the other. */
#include <stdarg.h>

#include "coordinator/core/listing.h"

struct rmd_incident *rmd_incident_find(struct rmd_coord *c, uint64_t id) {
    return id ? rmd_map_get_u64(&c->incidents_by_id, id) : NULL;
}

static void incident_free(struct rmd_coord *c, struct rmd_incident *i) {
    rmd_list_remove(&i->link);
    rmd_map_remove_u64(&c->incidents_by_id, i->rec->id);
    c->n_incidents--;
    remuda__incident_record__free_unpacked(i->rec, NULL);
    free(i);
}

/* ---------------------------------------------------------------- members */

static Remuda__IncidentMember *member_add(Remuda__IncidentRecord *r, uint32_t source, int64_t since_wall_ms) {
    Remuda__IncidentMember *m = rmd_alloc(sizeof *m);
    remuda__incident_member__init(m);
    m->source = source;
    m->since_wall_ms = since_wall_ms;
    r->member = rmd_realloc(r->member, (r->n_member + 1) * sizeof *r->member);
    return r->member[r->n_member++] = m;
}

Remuda__IncidentMember *rmd_incident_member(const struct rmd_incident *i, const struct rmd_source *s) {
    for (size_t k = 0; k < i->rec->n_member; k++)
        if (i->rec->member[k]->source == s->rec->id)
            return i->rec->member[k];
    return NULL;
}

size_t rmd_incident_sources(const struct rmd_incident *i) {
    return i->rec->n_member + i->rec->more_members;
}

bool rmd_incident_is_about(const struct rmd_incident *i, const struct rmd_source *s) {
    return i->rec->source == s->rec->id || rmd_incident_member(i, s) ||
           (i->rec->more_members && rmd_site_stops_rest_on(s, i->rec->id));
}

void rmd_incident_join(struct rmd_coord *c, struct rmd_incident *i, const struct rmd_source *s) {
    Remuda__IncidentMember *m = rmd_incident_member(i, s);
    if (m && !m->over_wall_ms)
        return;
    i->dirty = true;
    if (m) {
        m->since_wall_ms = c->now.wall_ms;
        m->over_wall_ms = 0;
    } else if (i->rec->n_member < RMD_INCIDENT_MEMBERS_MAX) {
        (void)member_add(i->rec, s->rec->id, c->now.wall_ms);
    } else {
        i->rec->more_members++;
    }
}

void rmd_incident_leave(struct rmd_coord *c, struct rmd_incident *i, const struct rmd_source *s) {
    Remuda__IncidentMember *m = rmd_incident_member(i, s);
    if (!m || m->over_wall_ms)
        return;
    m->over_wall_ms = c->now.wall_ms;
    i->dirty = true;
}

static bool behind(const struct rmd_incident *i, const struct rmd_source *s, const struct rmd_refusal *x) {
    const Remuda__IncidentRecord *r = i->rec;
    return x->source == s->rec->id && x->class == r->class_ && (!r->provider || x->provider == r->provider) &&
           (!r->site || x->site == r->site);
}

static void unsay(struct rmd_refusals *r, const struct rmd_incident *i, const struct rmd_source *s) {
    uint32_t kept = 0;
    for (uint32_t k = 0; k < r->n; k++)
        if (!behind(i, s, &r->v[k]))
            r->v[kept++] = r->v[k];
    r->n = kept;
}

void rmd_incident_unsay(struct rmd_coord *c, const struct rmd_incident *i) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (!rmd_incident_is_about(i, s))
            continue;
        unsay(&s->refusals, i, s);
        unsay(&s->net->refusals, i, s);
        s->dirty = c->sources_dirty = true;
    }
}

/* Newest first. Open ones are kept, and the last RMD_INCIDENTS_KEPT. */
void rmd_incident_add(struct rmd_coord *c, Remuda__IncidentRecord *r) {
    struct rmd_incident *i = rmd_alloc(sizeof *i);
    i->rec = r;
    i->read_mono_ms = c->now.mono_ms;
    if (r->site && !r->n_member && r->source) /* of before sites' incidents had members */
        member_add(r, r->source, r->quarantined_wall_ms ? r->quarantined_wall_ms : r->opened_wall_ms);
    rmd_list_push_front(&c->incidents, &i->link);
    rmd_map_set_u64(&c->incidents_by_id, r->id, i);
    if (++c->n_incidents <= RMD_INCIDENTS_KEPT)
        return;
    for (struct rmd_list *it = c->incidents.prev; it != &c->incidents; it = it->prev) {
        struct rmd_incident *old = rmd_container(it, struct rmd_incident, link);
        if (old->rec->state == 0)
            continue;
        struct rmd_key k = rmd_key_incident(old->rec->id);
        rmd_core_delete(c, &k);
        incident_free(c, old);
        return;
    }
}

static void event(struct rmd_coord *c, const char *type, const struct rmd_incident *i, const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->incident = i->rec->id;
    e->source = i->rec->source;
    e->provider = i->rec->provider;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(text));
}

/* ---------------------------------------------------------------- time line */

static void line_add(struct rmd_coord *c, Remuda__IncidentRecord *r, const char *text) {
    if (r->n_line >= RMD_INCIDENT_LINES_MAX) { /* the oldest behind the first ones makes room */
        Remuda__IncidentLine **gone = &r->line[RMD_INCIDENT_LINES_FIRST];
        remuda__incident_line__free_unpacked(*gone, NULL);
        memmove(gone, gone + 1, (--r->n_line - RMD_INCIDENT_LINES_FIRST) * sizeof *gone);
    }
    Remuda__IncidentLine *l = rmd_alloc(sizeof *l);
    remuda__incident_line__init(l);
    l->wall_ms = c->now.wall_ms;
    l->text = rmd_strdup(text);
    r->line = rmd_realloc(r->line, (r->n_line + 1) * sizeof *r->line);
    r->line[r->n_line++] = l;
}

void rmd_incident_line(struct rmd_coord *c, struct rmd_incident *i, const char *type, const char *fmt, ...) {
    struct rmd_buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    line_add(c, i->rec, rmd_buf_str(&text));
    i->dirty = true;
    if (type)
        event(c, type, i, rmd_buf_str(&text));
    rmd_buf_release(&text);
}

void rmd_incident_ticket(struct rmd_coord *c, struct rmd_incident *i, const char *text) {
    rmd_str_set(&i->rec->ticket, text);
    rmd_incident_line(c, i, "incident.ticket", "ticket: %s", text);
}

void rmd_incident_removal(struct rmd_coord *c, struct rmd_incident *i, struct rmd_slice words, uint32_t provider) {
    const struct rmd_watchers *w = c->watchers;
    ssize_t p = rmd_provider_index(c, provider);
    const char *where = p >= 0 ? c->o.provider[p]->removal : "";
    for (size_t k = 0; k < w->n_lists; k++)
        if (*w->list[k]->removal && rmd_blocklist_named(w->list[k], words))
            where = w->list[k]->removal;
    if (!*i->rec->removal)
        rmd_str_set(&i->rec->removal, where);
}

/* ---------------------------------------------------------------- life */

struct rmd_incident *rmd_incident_open(struct rmd_coord *c, const char *title) {
    Remuda__IncidentRecord *r = rmd_alloc(sizeof *r);
    remuda__incident_record__init(r);
    r->id = c->meta->next_incident++;
    c->meta_dirty = true;
    rmd_str_set(&r->title, title);
    r->opened_wall_ms = r->read_wall_ms = c->now.wall_ms;
    rmd_incident_add(c, r);
    struct rmd_incident *i = rmd_container(c->incidents.next, struct rmd_incident, link);
    i->dirty = true;
    event(c, "incident.opened", i, title);
    return i;
}

void rmd_incident_resolve(struct rmd_coord *c, struct rmd_incident *i, const char *resolution) {
    if (i->rec->state)
        return;
    i->rec->state = 1;
    i->rec->resolved_wall_ms = c->now.wall_ms;
    i->rec->waiting = 0;
    rmd_str_set(&i->rec->resolution, resolution && *resolution ? resolution : "by the operator");
    rmd_incident_line(c, i, NULL, "resolved: %s", i->rec->resolution);
    event(c, "incident.resolved", i, i->rec->resolution);
}

void rmd_incident_returned(struct rmd_coord *c, uint64_t id, const struct rmd_source *from, uint32_t n) {
    struct rmd_incident *i = rmd_incident_find(c, id);
    if (!i || i->rec->state)
        return;
    Remuda__IncidentMember *m = from ? rmd_incident_member(i, from) : NULL;
    if (m)
        m->came_back += n;
    i->rec->waiting += n;
    i->rec->moved_work += n;
    if (i->rec->waiting > i->rec->waiting_most)
        i->rec->waiting_most = i->rec->waiting;
    i->dirty = true;
}

/* The times are from the reading of the verdict to this lease. */
void rmd_incident_flowed(struct rmd_coord *c, struct rmd_incident *i, struct rmd_source *to, uint32_t n) {
    Remuda__IncidentRecord *r = i->rec;
    if (!r->redealt_wall_ms) {
        r->redealt_wall_ms = c->now.wall_ms;
        r->redeal_us = (c->now.mono_ms - i->read_mono_ms) * 1000;
    }
    r->moved += n;
    i->dirty = true;
    size_t k = 0;
    while (k < r->n_moved_to && strcmp(r->moved_to[k], to->rec->address) != 0)
        k++;
    if (k == RMD_INCIDENT_TARGETS_MAX)
        return;
    if (k == r->n_moved_to) {
        r->moved_to = rmd_realloc(r->moved_to, (k + 1) * sizeof *r->moved_to);
        r->moved_to[r->n_moved_to++] = rmd_strdup(to->rec->address);
        rmd_incident_line(c, i, NULL, "work moves to %s", to->rec->address);
    }
    if (r->n_moved_n < r->n_moved_to) { /* a record of before counts were kept has fewer */
        r->moved_n = rmd_realloc(r->moved_n, r->n_moved_to * sizeof *r->moved_n);
        for (; r->n_moved_n < r->n_moved_to; r->n_moved_n++)
            r->moved_n[r->n_moved_n] = 0;
    }
    r->moved_n[k] += n;
}

/* n of its messages, which had come back, were leased: to another source, or to one of its own, which comes back. */
void rmd_incident_moved(struct rmd_coord *c, uint64_t id, struct rmd_source *to, uint32_t n) {
    struct rmd_incident *i = rmd_incident_find(c, id);
    if (!i)
        return;
    if (!rmd_incident_is_about(i, to))
        rmd_incident_flowed(c, i, to, n);
    i->dirty = true;
    i->rec->waiting -= n < i->rec->waiting ? n : i->rec->waiting;
}

void rmd_incidents_flush(struct rmd_coord *c) {
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (!i->dirty)
            continue;
        i->dirty = false;
        struct rmd_key k = rmd_key_incident(i->rec->id);
        rmd_core_put(c, &k, i->rec);
    }
}

void rmd_incidents_free(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->incidents) incident_free(c, rmd_container(it, struct rmd_incident, link));
    rmd_map_release(&c->incidents_by_id);
}
