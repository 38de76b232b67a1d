/* Surges of unknown users, acted upon: what surge.h recognises becomes an incident, and suppressions that are pending.
 *
 * A hard bounce at a provider in a surge settles the message as bounced, and its address is pending: not suppressed, so that later
 * campaigns contact it, and the receiver's next answer decides. Delivered: nothing is left of it. Unknown again when the surge is over:
 * suppressed. What was suppressed on the way into the surge, from RMD_SURGE_LEAD_MS before its run began, is pending as well. A person may
 * decide for all of a surge at once: undo frees whatever it suppressed or holds, confirm suppresses what is pending. Who complained,
 * unsubscribed or was suppressed by the operator is never pending.
 *
 * Owned here, all of it rebuilt from the store at start:
 *   places    answers at a provider (of `other`: at a site), by tenant; made by the first unknown user there. At most RMD_SURGE_PLACES_MAX,
 *             the one without a surge that had no unknown user for longest goes. Written when a surge begins or ends, else with the
 *             ledger's bucket: what a crash loses of the usual share are minutes.
 *   bounces   hard bounces of late, by address: the newest RMD_SURGE_RECENT_MAX of the last RMD_SURGE_RECENT_MS, and what belongs to the
 *             incident of a surge, RMD_SURGE_PENDING_MAX in all. Past that an address is neither suppressed nor pending; the incident
 *             counts how many. Their rows in the store are those of the suppressions. */
#include "coordinator/core/core.h"
#include "coordinator/core/surge.h"

enum {
    RUN_KEPT = 5,             /* unknown users of a run that is written at once */
    SLICE = 1024,             /* addresses decided in one step */
    EVENTS_A_DECISION = 1000, /* named one by one; the incident tells how many there were */
};

struct place_key {
    uint8_t b[16];
};

struct place {
    struct rmd_list lru;
    uint32_t tenant, provider;
    uint64_t site;
    char *name; /* of `other`: a domain of the site */
    struct rmd_surge s;
    uint64_t incident;
    bool dirty, urgent;
};

struct bounce {
    struct rmd_list link; /* recent, or held */
    uint64_t hash, site, incident;
    uint32_t tenant, provider;
    int64_t wall_ms;
    bool pending;
    char *address, *evidence;
};

struct rmd_surges {
    struct rmd_map places, bounces; /* by place_key, by address hash */
    struct rmd_list lru;            /* places, longest unused first */
    struct rmd_list recent, held;   /* bounces, oldest first */
    uint32_t n_recent, n_held;
    int64_t lost_wall_ms; /* the newest bounce that left `recent` before its time */
    uint32_t bucket;
    uint64_t deciding, token; /* incident under decision, and who waits for it */
    uint32_t told;            /* events of this decision */
    bool dirty;
};

void rmd_surges_init(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges = rmd_alloc(sizeof *s);
    rmd_list_init(&s->lru);
    rmd_list_init(&s->recent);
    rmd_list_init(&s->held);
}

/* ---------------------------------------------------------------- places */

static struct place_key place_key(uint32_t tenant, uint32_t provider, uint64_t site) {
    struct place_key k;
    rmd_put_be32(k.b, tenant);
    rmd_put_be32(k.b + 4, provider);
    rmd_put_be64(k.b + 8, site);
    return k;
}

static const char *domain_of(struct rmd_coord *c, struct rmd_slice email) {
    char *name = rmd_arena_str(&c->scratch, rmd_address_domain(email));
    rmd_lower_str(name);
    return name;
}

/* Where an address is: 0 for all of a named provider. Until a domain's site is known it stands for itself. */
static uint64_t site_of(struct rmd_coord *c, uint32_t provider, struct rmd_slice email) {
    if (provider != c->other)
        return 0;
    const char *domain = domain_of(c, email);
    const struct rmd_domain *d = rmd_map_get_str(&c->domains, domain);
    return d && d->site ? d->site : rmd_mix64(rmd_fnv32(rmd_slice_str(domain))) | 1;
}

static struct place *place_find(struct rmd_coord *c, uint32_t tenant, uint32_t provider, uint64_t site) {
    struct place_key k = place_key(tenant, provider, site);
    return rmd_map_get(&c->surges->places, rmd_slice(k.b, sizeof k.b));
}

static void place_drop(struct rmd_coord *c, struct place *p) {
    struct place_key k = place_key(p->tenant, p->provider, p->site);
    rmd_map_remove(&c->surges->places, rmd_slice(k.b, sizeof k.b));
    rmd_list_remove(&p->lru);
    free(p->name);
    free(p);
}

static void make_room(struct rmd_coord *c) {
    rmd_list_for(it, &c->surges->lru) {
        struct place *old = rmd_container(it, struct place, lru);
        if (old->s.on)
            continue;
        struct rmd_key row = rmd_key_surge(old->tenant, old->provider, old->site);
        rmd_core_delete(c, &row);
        place_drop(c, old);
        return;
    }
}

/* NULL when every place is in a surge. */
static struct place *place_make(struct rmd_coord *c, uint32_t tenant, uint32_t provider, uint64_t site,
                                const char *name) {
    if (c->surges->places.n >= RMD_SURGE_PLACES_MAX)
        make_room(c);
    if (c->surges->places.n >= RMD_SURGE_PLACES_MAX)
        return NULL;
    struct place *p = rmd_alloc(sizeof *p);
    p->tenant = tenant;
    p->provider = provider;
    p->site = site;
    p->name = rmd_strdup(site ? name : "");
    struct place_key k = place_key(tenant, provider, site);
    rmd_map_set(&c->surges->places, rmd_slice(k.b, sizeof k.b), p);
    rmd_list_push(&c->surges->lru, &p->lru);
    return p;
}

static void place_dirty(struct rmd_coord *c, struct place *p, bool urgent) {
    p->dirty = c->surges->dirty = true;
    p->urgent |= urgent;
}

/* ---------------------------------------------------------------- bounces */

static struct bounce *bounce_find(struct rmd_coord *c, uint64_t hash) {
    return rmd_map_get_u64(&c->surges->bounces, hash);
}

static void bounce_drop(struct rmd_coord *c, struct bounce *x) {
    struct rmd_surges *s = c->surges;
    rmd_map_remove_u64(&s->bounces, x->hash);
    rmd_list_remove(&x->link);
    *(x->incident ? &s->n_held : &s->n_recent) -= 1;
    free(x->address);
    free(x->evidence);
    free(x);
}

static struct bounce *bounce_add(struct rmd_coord *c, uint64_t hash, uint64_t incident) {
    struct rmd_surges *s = c->surges;
    struct bounce *x = rmd_alloc(sizeof *x);
    x->hash = hash;
    x->incident = incident;
    rmd_map_set_u64(&s->bounces, hash, x);
    rmd_list_push(incident ? &s->held : &s->recent, &x->link);
    *(incident ? &s->n_held : &s->n_recent) += 1;
    return x;
}

static void trim(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    while (!rmd_list_empty(&s->recent)) {
        struct bounce *x = rmd_container(s->recent.next, struct bounce, link);
        bool aged = c->now.wall_ms - x->wall_ms > RMD_SURGE_RECENT_MS;
        if (!aged && s->n_recent <= RMD_SURGE_RECENT_MAX)
            return;
        if (!aged && x->wall_ms > s->lost_wall_ms)
            s->lost_wall_ms = x->wall_ms;
        bounce_drop(c, x);
    }
}

static void write_row(struct rmd_coord *c, const struct bounce *x) {
    Remuda__SuppressionRecord r = REMUDA__SUPPRESSION_RECORD__INIT;
    r.address = x->address;
    r.reason = (char *)(uintptr_t) "hard bounce";
    r.evidence = x->evidence;
    r.wall_ms = x->wall_ms;
    r.confirmed = true;
    r.pending = x->pending;
    r.incident = x->incident;
    r.provider = x->provider;
    r.site = x->site;
    struct rmd_key k = rmd_key_suppression(x->tenant, 0, x->hash);
    rmd_core_put(c, &k, &r);
}

static void incident_count(struct rmd_coord *c, uint64_t id, int64_t pending, uint64_t undone, uint64_t confirmed) {
    struct rmd_incident *i = rmd_incident_find(c, id);
    if (!i)
        return;
    i->rec->pending = (uint64_t)((int64_t)i->rec->pending + pending);
    i->rec->undone += undone;
    i->rec->confirmed += confirmed;
    i->rec->waiting = i->rec->state ? 0 : i->rec->pending;
    if (i->rec->waiting > i->rec->waiting_most)
        i->rec->waiting_most = i->rec->waiting;
    i->dirty = true;
}

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
static void suspend(struct rmd_coord *c, struct bounce *x, uint64_t incident) {
    struct rmd_surges *s = c->surges;
    rmd_set64_remove(&c->suppressed, x->hash);
    if (!room_for_pending(c, incident)) {
        struct rmd_key k = rmd_key_suppression(x->tenant, 0, x->hash);
        rmd_core_delete(c, &k);
        bounce_drop(c, x);
        return;
    }
    rmd_list_remove(&x->link);
    rmd_list_push(&s->held, &x->link);
    s->n_recent--;
    s->n_held++;
    x->incident = incident;
    x->pending = true;
    write_row(c, x);
    incident_count(c, incident, 1, 0, 0);
}

enum rmd_bounce_known rmd_surges_forget(struct rmd_coord *c, uint32_t tenant, uint64_t hash) {
    struct bounce *x = bounce_find(c, hash);
    if (!x || x->tenant != tenant)
        return RMD_BOUNCE_NONE;
    bool pending = x->pending;
    if (pending)
        incident_count(c, x->incident, -1, 0, 0);
    bounce_drop(c, x);
    return pending ? RMD_BOUNCE_PENDING : RMD_BOUNCE_REAL;
}

bool rmd_surges_bounce(struct rmd_coord *c, uint32_t tenant, uint32_t provider, struct rmd_slice email,
                       const char *evidence) {
    uint64_t hash = rmd_address_hash(tenant, email), site = site_of(c, provider, email);
    const struct place *p = place_find(c, tenant, provider, site);
    struct bounce *x = bounce_find(c, hash);
    bool surge = p && p->s.on;
    if (surge && x && x->pending)
        return false; /* as before */
    if (surge && !x && !room_for_pending(c, p->incident))
        return false;
    if (x && !x->pending) { /* it was suppressed, and is no longer: somebody freed it */
        bounce_drop(c, x);
        x = NULL;
    }
    if (!x) {
        x = bounce_add(c, hash, surge ? p->incident : 0);
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
    write_row(c, x);
    if (surge || was) /* was: denied again, and no surge explains it */
        incident_count(c, x->incident, surge ? 1 : -1, 0, 0);
    if (!surge)
        rmd_set64_add(&c->suppressed, hash);
    trim(c);
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

static struct rmd_incident *incident_of(struct rmd_coord *c, struct place *p, const Remuda__Outcome *o) {
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
static void began(struct rmd_coord *c, struct place *p, const Remuda__Outcome *o) {
    struct rmd_surges *s = c->surges;
    struct rmd_incident *i = incident_of(c, p, o);
    int64_t lead = p->s.since_wall_ms - RMD_SURGE_LEAD_MS;
    rmd_list_for_safe(it, &s->recent) {
        struct bounce *x = rmd_container(it, struct bounce, link);
        if (x->tenant == p->tenant && x->provider == p->provider && x->site == p->site && x->wall_ms >= lead)
            suspend(c, x, p->incident);
    }
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
    place_dirty(c, p, true);
}

static void surge_event(struct rmd_coord *c, const char *type, const struct rmd_incident *i, const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->incident = i->rec->id;
    e->provider = i->rec->provider;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(text));
}

/* Nobody decided: what is pending stays so, and the incident open. */
static void over(struct rmd_coord *c, struct place *p) {
    struct rmd_incident *i = rmd_incident_find(c, p->incident);
    place_dirty(c, p, true);
    if (!i || i->rec->state)
        return;
    i->rec->surge_over_wall_ms = c->now.wall_ms;
    i->dirty = true;
    const char *text = rmd_arena_printf(&c->scratch, "the surge is over; %llu suppressions are pending",
                                        (unsigned long long)i->rec->pending);
    surge_event(c, "incident.surge_over", i, text);
    rmd_core_warn(c, "incident %llu: %s", (unsigned long long)i->rec->id, text);
    if (!i->rec->pending)
        rmd_incident_resolve(c, i, "the surge is over, and nothing is pending");
}

static void accepted(struct rmd_coord *c, uint32_t tenant, struct rmd_slice email) {
    struct bounce *x = c->surges->n_held ? bounce_find(c, rmd_address_hash(tenant, email)) : NULL;
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
    bool no = o->kind == RMD_OUTCOME_BOUNCED && v->action == RMD_ACTION_SUPPRESS && (v->scope & RMD_SCOPE_RECIPIENT);
    if ((!yes && !no) || !rmd_row_head(row, &h))
        return;
    uint32_t tenant = l->campaign->rec->tenant;
    uint64_t site = site_of(c, l->provider_id, h.email);
    struct place *p = place_find(c, tenant, l->provider_id, site);
    if (yes)
        accepted(c, tenant, h.email);
    if (!p && no)
        p = place_make(c, tenant, l->provider_id, site, domain_of(c, h.email));
    if (!p)
        return;
    if (no) {
        rmd_list_remove(&p->lru);
        rmd_list_push(&c->surges->lru, &p->lru);
    }
    enum rmd_surge_change change = rmd_surge_count(&p->s, no, c->now.wall_ms);
    place_dirty(c, p, no && p->s.unknown >= RUN_KEPT); /* a crash on the way into a surge doesn't hide it */
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

/* ---------------------------------------------------------------- decisions */

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

static void decide_event(struct rmd_coord *c, const char *type, const struct bounce *x, const char *reason) {
    if (c->surges->told++ >= EVENTS_A_DECISION)
        return;
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->recipient = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(x->address));
    e->address_hash = x->hash;
    e->incident = x->incident;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(reason));
}

static void undo_one(struct rmd_coord *c, struct bounce *x, const char *reason) {
    struct rmd_key k = rmd_key_suppression(x->tenant, 0, x->hash);
    rmd_core_delete(c, &k);
    if (!x->pending)
        rmd_set64_remove(&c->suppressed, x->hash);
    decide_event(c, "suppression.removed", x, reason);
    incident_count(c, x->incident, x->pending ? -1 : 0, 1, 0);
    bounce_drop(c, x);
}

static void confirm_one(struct rmd_coord *c, struct bounce *x, const char *reason) {
    uint64_t incident = x->incident;
    if (x->pending) {
        rmd_set64_add(&c->suppressed, x->hash);
        rmd_suppress_told(c, x->tenant, x->hash);
        decide_event(c, "suppression.added", x, reason);
    }
    incident_count(c, incident, x->pending ? -1 : 0, 0, x->pending);
    x->pending = false;
    x->incident = 0;
    write_row(c, x);
    x->incident = incident; /* by which it is counted */
    bounce_drop(c, x);
}

static struct place *place_of_incident(struct rmd_coord *c, uint64_t incident) {
    rmd_list_for(it, &c->surges->lru) {
        struct place *p = rmd_container(it, struct place, lru);
        if (p->incident == incident)
            return p;
    }
    return NULL;
}

static void decided(struct rmd_coord *c, struct rmd_incident *i) {
    struct rmd_surges *s = c->surges;
    struct place *p = place_of_incident(c, i->rec->id);
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
        place_dirty(c, p, true);
    }
    if (goes_on)
        surge_event(c, "incident.undone", i, text);
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
        struct bounce *x = rmd_container(it, struct bounce, link);
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
    struct place *p = i->rec->surge_wall_ms ? place_of_incident(c, i->rec->id) : NULL;
    if (!p || !p->s.on)
        return;
    rmd_surge_end(&p->s);
    place_dirty(c, p, true);
}

/* ---------------------------------------------------------------- start, writing, end */

bool rmd_surges_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) {
    const Remuda__SurgeRecord *r = rmd_pb_decode(&remuda__surge_record__descriptor, value, &c->scratch);
    if (!r || key.n != 17)
        return false;
    struct place *p =
        place_make(c, rmd_get_be32(key.p + 1), rmd_get_be32(key.p + 5), rmd_get_be64(key.p + 9), r->name);
    if (!p)
        return true;
    p->s = (struct rmd_surge){.usual_n = r->usual_n,
                              .usual_unknown = r->usual_unknown,
                              .decayed_wall_ms = r->decayed_wall_ms,
                              .on = r->on,
                              .n = r->n,
                              .unknown = r->unknown,
                              .since_wall_ms = r->since_wall_ms,
                              .score = r->score,
                              .unknown_wall_ms = r->unknown_wall_ms};
    p->incident = r->incident;
    return true;
}

void rmd_surges_restore_bounce(struct rmd_coord *c, uint32_t tenant, uint64_t hash,
                               const Remuda__SuppressionRecord *r) {
    if (!r->provider || bounce_find(c, hash))
        return;
    if (!r->incident && c->surges->n_recent >= RMD_SURGE_RECENT_MAX) {
        if (r->wall_ms > c->surges->lost_wall_ms)
            c->surges->lost_wall_ms = r->wall_ms;
        return;
    }
    if (!r->incident && c->now.wall_ms - r->wall_ms > RMD_SURGE_RECENT_MS)
        return;
    struct bounce *x = bounce_add(c, hash, r->incident);
    x->tenant = tenant;
    x->provider = r->provider;
    x->site = r->site;
    x->pending = r->pending;
    x->wall_ms = r->wall_ms;
    x->address = rmd_strdup(r->address);
    x->evidence = rmd_strdup(r->evidence);
}

static int by_time(const void *a, const void *b) {
    const struct bounce *x = *(struct bounce *const *)a, *y = *(struct bounce *const *)b;
    return x->wall_ms < y->wall_ms ? -1 : x->wall_ms > y->wall_ms ? 1 : x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* The rows came in the order of their keys. */
void rmd_surges_restored(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    struct bounce **v = rmd_alloc((s->n_recent + 1) * sizeof(struct bounce *));
    size_t n = 0;
    rmd_list_for_safe(it, &s->recent) {
        v[n++] = rmd_container(it, struct bounce, link);
        rmd_list_remove(it);
    }
    qsort(v, n, sizeof *v, by_time);
    for (size_t i = 0; i < n; i++)
        rmd_list_push(&s->recent, &v[i]->link);
    free(v);
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (i->rec->surge_wall_ms)
            i->rec->pending = 0;
        if (i->rec->decision)
            s->deciding = i->rec->id;
    }
    rmd_list_for(it, &s->held) {
        const struct bounce *x = rmd_container(it, struct bounce, link);
        struct rmd_incident *i = x->pending ? rmd_incident_find(c, x->incident) : NULL;
        if (i)
            i->rec->pending++;
    }
}

void rmd_surges_flush(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    uint32_t bucket = (uint32_t)(c->ledger.now_ms / RMD_LEDGER_BUCKET_MS);
    if (!s->dirty)
        return;
    bool all = bucket != s->bucket;
    s->bucket = bucket;
    s->dirty = false;
    rmd_list_for(it, &s->lru) {
        struct place *p = rmd_container(it, struct place, lru);
        if (!p->dirty || (!all && !p->urgent)) {
            s->dirty |= p->dirty;
            continue;
        }
        p->dirty = p->urgent = false;
        Remuda__SurgeRecord r = REMUDA__SURGE_RECORD__INIT;
        r.usual_n = p->s.usual_n;
        r.usual_unknown = p->s.usual_unknown;
        r.decayed_wall_ms = p->s.decayed_wall_ms;
        r.on = p->s.on;
        r.n = p->s.n;
        r.unknown = p->s.unknown;
        r.since_wall_ms = p->s.since_wall_ms;
        r.score = p->s.score;
        r.unknown_wall_ms = p->s.unknown_wall_ms;
        r.incident = p->incident;
        r.name = p->name;
        struct rmd_key k = rmd_key_surge(p->tenant, p->provider, p->site);
        rmd_core_put(c, &k, &r);
    }
}

void rmd_surges_free(struct rmd_coord *c) {
    struct rmd_surges *s = c->surges;
    rmd_list_for_safe(it, &s->recent) bounce_drop(c, rmd_container(it, struct bounce, link));
    rmd_list_for_safe(it, &s->held) bounce_drop(c, rmd_container(it, struct bounce, link));
    rmd_list_for_safe(it, &s->lru) place_drop(c, rmd_container(it, struct place, lru));
    rmd_map_release(&s->places);
    rmd_map_release(&s->bounces);
    free(s);
}
