/* Surges of unknown users, acted upon: what surge.h recognises becomes an incident, and suppressions that are pending.
 *
 * A hard bounce at a provider in a surge settles the message as bounced, and its address is pending: not suppressed, so that later
 * campaigns contact it, and the receiver's next answer decides. Delivered: nothing is left of it. Unknown again when the surge is over:
 * suppressed. What was suppressed on the way into the surge, from RMD_SURGE_LEAD_MS before its run began, is pending as well. A person may
 * decide for all of a surge at once: undo frees whatever it suppressed or holds, confirm suppresses what is pending. Who complained,
 * unsubscribed or was suppressed by the operator is never pending. */
#include "coordinator/core/surge_internal.h"

enum { RUN_KEPT = 5 }; /* unknown users of a run that is written at once */

static bool room_for_pending(struct rmd_coord *c, uint64_t incident) {
    if (c->surges->n_held < RMD_SURGE_PENDING_MAX)
        return true;
    struct rmd_incident *i = rmd_incident_find(c, incident);
    if (i) {
        i->rec->not_kept++;
        i->dirty = true;
    }
    return false;
}

/* A suppression of late belongs to a surge: no longer in force. */
static void suspend(struct rmd_coord *c, struct rmd_surge_bounce *x, uint64_t incident) {
    struct rmd_surges *s = c->surges;
    rmd_set64_remove(&c->suppressed, x->hash);
    if (!room_for_pending(c, incident)) {
        struct rmd_key k = rmd_key_suppression(x->tenant, 0, x->hash);
        rmd_core_delete(c, &k);
        rmd_surge_bounce_drop(c, x);
        return;
    }
    rmd_list_remove(&x->link);
    rmd_list_push(&s->held, &x->link);
    s->n_recent--;
    s->n_held++;
    x->incident = incident;
    x->pending = true;
    rmd_surge_write_row(c, x);
    rmd_surge_incident_count(c, incident, 1, 0, 0);
}

enum rmd_bounce_known rmd_surges_forget(struct rmd_coord *c, uint32_t tenant, uint64_t hash) {
    struct rmd_surge_bounce *x = rmd_surge_bounce_find(c, hash);
    if (!x || x->tenant != tenant)
        return RMD_BOUNCE_NONE;
    bool pending = x->pending;
    if (pending)
        rmd_surge_incident_count(c, x->incident, -1, 0, 0);
    rmd_surge_bounce_drop(c, x);
    return pending ? RMD_BOUNCE_PENDING : RMD_BOUNCE_REAL;
}

bool rmd_surges_bounce(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                       const char *evidence) {
    uint64_t hash = rmd_address_hash(tenant, email), site = rmd_surge_site_of(c, provider, email);
    const struct rmd_surge_place *p = rmd_surge_place_find(c, tenant, provider, site);
    struct rmd_surge_bounce *x = rmd_surge_bounce_find(c, hash);
    bool surge = p && p->s.on;
    if (surge && x && x->pending)
        return false; /* as before */
    if (surge && !x && !room_for_pending(c, p->incident))
        return false;
    if (x && !x->pending) { /* it was suppressed, and is no longer: somebody freed it */
        rmd_surge_bounce_drop(c, x);
        x = NULL;
    }
    if (!x) {
        x = rmd_surge_bounce_add(c, hash, surge ? p->incident : 0);
        x->tenant = tenant;
        x->provider = provider;
        x->site = site;
        x->address = rmd_strndup(email.p, email.n);
    }
    free(x->evidence);
    x->evidence = rmd_strdup(evidence);
    x->wall_ms = c->now.wall_ms;
    bool was = x->pending;
    x->pending = surge;
    rmd_surge_write_row(c, x);
    if (surge || was) /* was: denied again, and no surge explains it */
        rmd_surge_incident_count(c, x->incident, surge ? 1 : -1, 0, 0);
    if (!surge)
        rmd_set64_add(&c->suppressed, hash);
    rmd_surge_trim(c);
    return !surge;
}

/* ---------------------------------------------------------------- surges */

/* The receiver's words, code included, on one line; a protobuf string is UTF-8. */
static void words(char out[RMD_REPLY_TEXT_MAX + 1], const Remuda__Outcome *o) {
    size_t n = 0;
    for (size_t i = 0; o->reply && i < o->reply->text.len && n < RMD_REPLY_TEXT_MAX; i++) {
        uint8_t b = o->reply->text.data[i];
        out[n++] = b >= 0x20 && b < 0x7f ? (char)b : b == '\n' ? ' ' : '?';
    }
    out[n] = 0;
}

static struct rmd_incident *incident_of(struct rmd_coord *c, struct rmd_surge_place *p, const Remuda__Outcome *o) {
    struct rmd_incident *i = rmd_incident_find(c, p->incident);
    if (i && !i->rec->state) {
        i->rec->surge_over_wall_ms = 0;
        return i;
    }
    char cause[RMD_REPLY_TEXT_MAX + 1];
    uint32_t usual = rmd_surge_usual_ppm(&p->s);
    const char *where = *p->name ? p->name : rmd_provider_name(c, p->provider);
    i = rmd_incident_open(c, rmd_arena_printf(&c->scratch,
                                              "%s denies recipients far over its usual: %llu of %llu are unknown "
                                              "there, usual are %u.%u %%",
                                              where, (unsigned long long)p->s.unknown, (unsigned long long)p->s.n,
                                              usual / 10000, usual / 1000 % 10));
    words(cause, o);
    rmd_str_set(&i->rec->cause, cause);
    i->rec->class_ = RMD_CLASS_USER_UNKNOWN;
    i->rec->scope = RMD_SCOPE_RECIPIENT;
    i->rec->provider = p->provider;
    i->rec->tenant = p->tenant;
    i->rec->surge_wall_ms = p->s.since_wall_ms;
    rmd_str_set(&i->rec->subject, p->name);
    rmd_str_set(
        &i->rec->next_step,
        rmd_arena_printf(&c->scratch,
                         "Nobody it denies is suppressed for now. If these users exist: `remuda suppress undo "
                         "--incident %llu`; if they don't (a bad list): `remuda suppress confirm --incident "
                         "%llu`. Until then the next answer to each decides.",
                         (unsigned long long)i->rec->id, (unsigned long long)i->rec->id));
    p->incident = i->rec->id;
    return i;
}

/* What was suppressed on the way into it is pending as well. */
static void began(struct rmd_coord *c, struct rmd_surge_place *p, const Remuda__Outcome *o) {
    struct rmd_surges *s = c->surges;
    struct rmd_incident *i = incident_of(c, p, o);
    int64_t lead = p->s.since_wall_ms - RMD_SURGE_LEAD_MS;
    rmd_list_for_safe(it, &s->recent) {
        struct rmd_surge_bounce *x = rmd_container(it, struct rmd_surge_bounce, link);
        if (x->tenant == p->tenant && x->provider == p->provider && x->site == p->site && x->wall_ms >= lead)
            suspend(c, x, p->incident);
    }
    rmd_denials_surge(c, p, lead);
    if (s->lost_wall_ms >= lead) {
        struct rmd_buf b = {0};
        rmd_buf_addf(&b,
                     "%s More than %d addresses bounced on the way into it: those suppressed first are not known any "
                     "more, and stay suppressed.",
                     i->rec->next_step, RMD_SURGE_RECENT_MAX);
        rmd_str_set(&i->rec->next_step, rmd_buf_str(&b));
        rmd_buf_release(&b);
    }
    rmd_core_warn(c, "incident %llu: %s; who is denied there from now on is pending, not suppressed",
                  (unsigned long long)i->rec->id, i->rec->title);
    rmd_surge_place_dirty(c, p, true);
}

void rmd_surge_event(struct rmd_coord *c, const char *type, const struct rmd_incident *i, const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->incident = i->rec->id;
    e->provider = i->rec->provider;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(text));
}

/* Nobody decided: what is pending stays so, and the incident open. */
static void over(struct rmd_coord *c, struct rmd_surge_place *p) {
    struct rmd_incident *i = rmd_incident_find(c, p->incident);
    rmd_surge_place_dirty(c, p, true);
    if (!i || i->rec->state)
        return;
    i->rec->surge_over_wall_ms = c->now.wall_ms;
    i->dirty = true;
    const char *text = rmd_arena_printf(&c->scratch, "the surge is over; %llu suppressions are pending",
                                        (unsigned long long)i->rec->pending);
    rmd_surge_event(c, "incident.surge_over", i, text);
    rmd_core_warn(c, "incident %llu: %s", (unsigned long long)i->rec->id, text);
    if (!i->rec->pending)
        rmd_incident_resolve(c, i, "the surge is over, and nothing is pending");
}

static void accepted(struct rmd_coord *c, uint32_t tenant, struct rmd_slice email) {
    struct rmd_surge_bounce *x = c->surges->n_held ? rmd_surge_bounce_find(c, rmd_address_hash(tenant, email)) : NULL;
    if (!x || !x->pending)
        return;
    struct rmd_key k = rmd_key_suppression(tenant, 0, x->hash);
    rmd_core_delete(c, &k);
    Remuda__EventRecord *e = rmd_core_event(c, "suppression.removed");
    e->recipient = rmd_arena_str(rmd_arena_after(c), email);
    e->incident = x->incident;
    e->text = (char *)(uintptr_t) "it was pending, and has accepted mail since";
    rmd_surges_forget(c, tenant, x->hash);
}

void rmd_surges_outcome(struct rmd_coord *c, const struct rmd_lease *l, struct rmd_slice row,
                        const Remuda__Outcome *o, const struct rmd_verdict *v) {
    struct rmd_row_head h;
    bool yes = o->kind == RMD_OUTCOME_DELIVERED;
    bool no = o->kind == RMD_OUTCOME_BOUNCED && rmd_action_suppresses(v->action) && (v->scope & RMD_SCOPE_RECIPIENT);
    if ((!yes && !no) || !rmd_row_head(row, &h))
        return;
    uint32_t tenant = l->campaign->rec->tenant;
    uint64_t site = rmd_surge_site_of(c, l->provider_id, h.email);
    struct rmd_surge_place *p = rmd_surge_place_find(c, tenant, l->provider_id, site);
    if (yes) {
        accepted(c, tenant, h.email);
        rmd_denial_accepted(c, tenant, h.email);
    }
    if (!p && no)
        p = rmd_surge_place_make(c, tenant, l->provider_id, site, rmd_surge_domain_of(c, h.email));
    if (!p)
        return;
    if (no) {
        rmd_list_remove(&p->lru);
        rmd_list_push(&c->surges->lru, &p->lru);
    }
    enum rmd_surge_change change = rmd_surge_count(&p->s, no, c->now.wall_ms);
    rmd_surge_place_dirty(c, p, no && p->s.unknown >= RUN_KEPT); /* a crash on the way into a surge doesn't hide it */
    if (change == RMD_SURGE_BEGAN)
        began(c, p, o);
    else if (change == RMD_SURGE_OVER)
        over(c, p);
    struct rmd_incident *i = p->s.on ? rmd_incident_find(c, p->incident) : NULL;
    if (i) {
        i->rec->denied = p->s.unknown;
        i->rec->answered = p->s.n;
        i->dirty = true;
    }
}
