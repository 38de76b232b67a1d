/* Incidents: records of trouble, with their time line: read by the node, quarantined here, dealt again elsewhere,
 * resolved. */
#include "coordinator/core/core.h"

struct rmd_incident *rmd_incident_find(struct rmd_coord *c, uint64_t id) {
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (id && i->rec->id == id)
            return i;
    }
    return NULL;
}

static void incident_free(struct rmd_coord *c, struct rmd_incident *i) {
    rmd_list_remove(&i->link);
    c->n_incidents--;
    remuda__incident_record__free_unpacked(i->rec, NULL);
    free(i);
}

/* Newest first. Open ones are kept, and the last RMD_INCIDENTS_KEPT. */
void rmd_incident_add(struct rmd_coord *c, Remuda__IncidentRecord *r) {
    struct rmd_incident *i = rmd_alloc(sizeof *i);
    i->rec = r;
    i->read_mono_ms = c->now.mono_ms;
    rmd_list_push_front(&c->incidents, &i->link);
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
    i->dirty = true;
    event(c, "incident.resolved", i, i->rec->resolution);
}

void rmd_incident_returned(struct rmd_coord *c, uint64_t id, uint32_t n) {
    struct rmd_incident *i = rmd_incident_find(c, id);
    if (!i || i->rec->state)
        return;
    i->rec->waiting += n;
    if (i->rec->waiting > i->rec->waiting_most)
        i->rec->waiting_most = i->rec->waiting;
    i->dirty = true;
}

/* n of its messages were leased to another source. The times are from the reading of the verdict to this lease. */
void rmd_incident_moved(struct rmd_coord *c, uint64_t id, struct rmd_source *to, uint32_t n) {
    struct rmd_incident *i = rmd_incident_find(c, id);
    if (!i || i->rec->source == to->rec->id)
        return;
    Remuda__IncidentRecord *r = i->rec;
    if (!r->redealt_wall_ms) {
        r->redealt_wall_ms = c->now.wall_ms;
        r->redeal_us = (c->now.mono_ms - i->read_mono_ms) * 1000;
    }
    r->moved += n;
    r->waiting -= n < r->waiting ? n : r->waiting;
    i->dirty = true;
    for (size_t k = 0; k < r->n_moved_to; k++) {
        if (strcmp(r->moved_to[k], to->rec->address) == 0)
            return;
    }
    r->moved_to = rmd_realloc(r->moved_to, (r->n_moved_to + 1) * sizeof *r->moved_to);
    r->moved_to[r->n_moved_to++] = rmd_strdup(to->rec->address);
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
}
