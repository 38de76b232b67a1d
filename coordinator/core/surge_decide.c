/* What a person decides about a surge, a slice of its addresses a step. The decision is in the incident's record: a restart goes on with it. */
#include "coordinator/core/surge_internal.h"

enum {
    SLICE = 1024,             /* addresses decided in one step */
    EVENTS_A_DECISION = 1000, /* named one by one; the incident tells how many there were */
};

enum { UNDO = 1, CONFIRM = 2 };

void rmd_surges_command(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_incident *i = rmd_incident_find(c, m->number);
    if (!i || (i->rec->tenant && i->rec->tenant != m->tenant)) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no incident %llu", (unsigned long long)m->number);
        return;
    }
    if (!i->rec->surge_wall_ms) {
        rmd_core_reply(
            c, m->token, RMD_EINVAL, 0,
            "incident %llu is no surge of unknown users: it suppressed nobody; `remuda incident show %llu` "
            "tells what it is",
            (unsigned long long)m->number, (unsigned long long)m->number);
        return;
    }
    if (c->surges->deciding) {
        rmd_core_reply(c, m->token, RMD_EAGAIN, 0, "incident %llu is being decided; say it again in a moment",
                       (unsigned long long)c->surges->deciding);
        return;
    }
    i->rec->decision = m->kind == RMD_CMD_SUPPRESS_UNDO ? UNDO : CONFIRM;
    i->rec->undone = i->rec->confirmed = 0; /* of this decision */
    rmd_str_set(&i->rec->resolution, m->reason && *m->reason ? m->reason : "");
    i->dirty = true;
    c->surges->deciding = m->number;
    c->surges->token = m->token;
    c->surges->told = 0;
}

static void decide_event(struct rmd_coord *c, const char *type, const struct rmd_surge_bounce *x,
                         const char *reason) {
    if (c->surges->told++ >= EVENTS_A_DECISION)
        return;
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->recipient = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(x->address));
    e->address_hash = x->hash;
    e->incident = x->incident;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(reason));
}

static void undo_one(struct rmd_coord *c, struct rmd_surge_bounce *x, const char *reason) {
    struct rmd_key k = rmd_key_suppression(x->tenant, 0, x->hash);
    rmd_core_delete(c, &k);
    if (!x->pending)
        rmd_set64_remove(&c->suppressed, x->hash);
    decide_event(c, "suppression.removed", x, reason);
    rmd_surge_incident_count(c, x->incident, x->pending ? -1 : 0, 1, 0);
    rmd_surge_bounce_drop(c, x);
}

static void confirm_one(struct rmd_coord *c, struct rmd_surge_bounce *x, const char *reason) {
    uint64_t incident = x->incident;
    if (x->pending) {
        rmd_set64_add(&c->suppressed, x->hash);
        rmd_suppress_told(c, x->tenant, x->hash);
        decide_event(c, "suppression.added", x, reason);
    }
    rmd_surge_incident_count(c, incident, x->pending ? -1 : 0, 0, x->pending);
    x->pending = false;
    x->incident = 0;
    rmd_surge_write_row(c, x);
    x->incident = incident; /* by which it is counted */
    rmd_surge_bounce_drop(c, x);
}

static struct rmd_surge_place *place_of_incident(struct rmd_coord *c, uint64_t incident) {
    rmd_list_for(it, &c->surges->lru) {
        struct rmd_surge_place *p = rmd_container(it, struct rmd_surge_place, lru);
        if (p->incident == incident)
            return p;
    }
    return NULL;
}

static void decided(struct rmd_coord *c, struct rmd_incident *i) {
    struct rmd_surges *s = c->surges;
    struct rmd_surge_place *p = place_of_incident(c, i->rec->id);
    bool undo = i->rec->decision == UNDO, goes_on = p && p->s.on && undo;
    char *reason = rmd_arena_str(&c->scratch, rmd_slice_str(i->rec->resolution));
    const char *text =
        undo ? rmd_arena_printf(&c->scratch, "%llu address%s may be contacted again%s",
                                (unsigned long long)i->rec->undone, i->rec->undone == 1 ? "" : "es",
                                goes_on ? "; the surge goes on, and who is denied from now on is pending" : "")
             : rmd_arena_printf(&c->scratch, "%llu address%s suppressed", (unsigned long long)i->rec->confirmed,
                                i->rec->confirmed == 1 ? " is" : "es are");
    i->rec->decision = 0;
    i->dirty = true;
    if (!undo && p) {
        rmd_surge_learn(&p->s);
        rmd_surge_place_dirty(c, p, true);
    }
    if (goes_on)
        rmd_surge_event(c, "incident.undone", i, text);
    else
        rmd_incident_resolve(c, i, rmd_arena_printf(&c->scratch, "%s%s%s", text, *reason ? ": " : "", reason));
    if (goes_on)
        rmd_str_set(&i->rec->resolution, "");
    if (s->token)
        rmd_core_reply(c, s->token, RMD_OK, undo ? i->rec->undone : i->rec->confirmed, "%s", text);
    s->deciding = s->token = 0;
}

/* A slice of the decision that is under way. */
void rmd_surges_advance(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    struct rmd_incident *i = s->deciding ? rmd_incident_find(c, s->deciding) : NULL;
    if (!i || !rmd_core_may_deal(c)) {
        if (s->deciding && !i)
            s->deciding = 0;
        return;
    }
    const char *reason =
        *i->rec->resolution ? i->rec->resolution
        : i->rec->decision == UNDO
            ? rmd_arena_printf(&c->scratch, "undone with incident %llu", (unsigned long long)s->deciding)
            : rmd_arena_printf(&c->scratch, "confirmed with incident %llu", (unsigned long long)s->deciding);
    uint32_t n = 0;
    rmd_list_for_safe(it, &s->held) {
        struct rmd_surge_bounce *x = rmd_container(it, struct rmd_surge_bounce, link);
        if (x->incident != s->deciding)
            continue;
        if (++n > SLICE) {
            c->more = true;
            return;
        }
        if (i->rec->decision == UNDO)
            undo_one(c, x, reason);
        else
            confirm_one(c, x, reason);
    }
    decided(c, i);
}

/* By hand, without a decision: what is pending stays so until the next answer. A surge that goes on opens another. */
void rmd_surges_resolved(struct rmd_coord *c, struct rmd_incident *i) {
    struct rmd_surge_place *p = i->rec->surge_wall_ms ? place_of_incident(c, i->rec->id) : NULL;
    if (!p || !p->s.on)
        return;
    rmd_surge_end(&p->s);
    rmd_surge_place_dirty(c, p, true);
}
