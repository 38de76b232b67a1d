/* Sending domains at providers, acted upon: what sender.h decides becomes a stop of the domain's bulk queues there, an incident, events, a
 * recall of unstarted work within the step; and of all its streams when two named providers are sure.
 *
 * Owns the places: one for each (tenant, sending domain, provider) that ever refused the domain, at most RMD_SENDER_PLACES_MAX; the one that
 * was quiet longest makes room, as long as it is open. Written when dirty, at the end of a step (table H). */
#include "coordinator/core/core.h"

struct rmd_sender_place {
    struct rmd_list link; /* least recently refused first */
    uint32_t tenant, provider;
    char *domain; /* lower case */
    struct rmd_sender s;
    int64_t until_wall_ms;
    uint64_t incident;
    int64_t minute; /* of the clock that waits, and what transactional mail took in it */
    uint32_t minute_used;
    bool dirty;
};

/* ---------------------------------------------------------------- places */

struct place_key {
    uint8_t b[16];
};

static struct place_key key_of(uint32_t tenant, uint32_t provider, const char *domain) {
    struct place_key k;
    char lower[RMD_DOMAIN_MAX + 1];
    rmd_copy(lower, sizeof lower, domain);
    rmd_lower_str(lower);
    rmd_put_be32(k.b, tenant);
    rmd_put_be32(k.b + 4, provider);
    rmd_put_be64(k.b + 8, rmd_fnv64(rmd_slice_str(lower)));
    return k;
}

static struct rmd_sender_place *find(const struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s) {
    if (!c->senders.n)
        return NULL;
    struct place_key k = key_of(s->rec->tenant, provider, s->rec->sending_domain);
    return rmd_map_get(&c->senders, rmd_slice(k.b, sizeof k.b));
}

static struct rmd_key row_key(const struct rmd_sender_place *p) {
    return rmd_key_sender(p->tenant, p->provider, rmd_fnv64(rmd_slice_str(p->domain)));
}

static void drop(struct rmd_coord *c, struct rmd_sender_place *p) {
    struct place_key k = key_of(p->tenant, p->provider, p->domain);
    rmd_map_remove(&c->senders, rmd_slice(k.b, sizeof k.b));
    rmd_list_remove(&p->link);
    free(p->domain);
    free(p);
}

static void make_room(struct rmd_coord *c) {
    rmd_list_for(it, &c->sender_list) {
        struct rmd_sender_place *p = rmd_container(it, struct rmd_sender_place, link);
        if (p->s.state != RMD_SENDER_OPEN)
            continue;
        struct rmd_key k = row_key(p);
        rmd_core_delete(c, &k);
        drop(c, p);
        return;
    }
}

/* NULL when every place is stopped. */
static struct rmd_sender_place *make(struct rmd_coord *c, uint32_t tenant, uint32_t provider, const char *domain) {
    struct place_key k = key_of(tenant, provider, domain);
    struct rmd_sender_place *p = rmd_map_get(&c->senders, rmd_slice(k.b, sizeof k.b));
    if (p)
        return p;
    if (c->senders.n >= RMD_SENDER_PLACES_MAX)
        make_room(c);
    if (c->senders.n >= RMD_SENDER_PLACES_MAX)
        return NULL;
    p = rmd_alloc(sizeof *p);
    p->tenant = tenant;
    p->provider = provider;
    p->domain = rmd_strdup(domain);
    rmd_lower_str(p->domain);
    rmd_map_set(&c->senders, rmd_slice(k.b, sizeof k.b), p);
    rmd_list_push(&c->sender_list, &p->link);
    return p;
}

static bool sends_as(const struct rmd_stream *s, const struct rmd_sender_place *p) {
    return s->rec->tenant == p->tenant && strcasecmp(s->rec->sending_domain, p->domain) == 0;
}

static bool urgent(const struct rmd_stream *s) {
    return s->rec->priority == 0;
}

static void mark(struct rmd_coord *c, struct rmd_sender_place *p) {
    p->dirty = c->senders_dirty = true;
}

/* ---------------------------------------------------------------- telling */

static void tell(struct rmd_coord *c, const struct rmd_sender_place *p, const char *type, uint64_t incident,
                 const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->provider = p->provider;
    e->incident = incident;
    e->text = rmd_arena_printf(rmd_arena_after(c), "%s: %s", p->domain, text);
}

static const char *to_mend(const struct rmd_verdict *v) {
    return v->class == RMD_CLASS_AUTH_FAILED
               ? "mend the domain's SPF, DKIM and DMARC records in DNS, then resolve this incident"
               : "mend what the domain is refused for: consent, complaints, and the reputation that the provider's "
                 "own "
                 "tools show; then resolve this incident";
}

static struct rmd_incident *open_incident_of(struct rmd_coord *c, struct rmd_sender_place *p) {
    struct rmd_incident *i = rmd_incident_find(c, p->incident);
    if (i && !i->rec->state)
        return i;
    p->incident = 0; /* what a person has resolved tells nothing of what comes later */
    return NULL;
}

static struct rmd_incident *incident_of(struct rmd_coord *c, struct rmd_sender_place *p, const struct rmd_verdict *v,
                                        const Remuda__Reply *reply) {
    struct rmd_incident *i = open_incident_of(c, p);
    if (i)
        return i;
    const char *at = rmd_provider_name(c, p->provider);
    i = rmd_incident_open(c, rmd_arena_printf(&c->scratch, "%s refuses sending domain %s (%s)", at, p->domain,
                                              rmd_class_name(v->class)));
    Remuda__IncidentRecord *r = i->rec;
    r->class_ = v->class;
    r->scope = RMD_SCOPE_SENDING_DOMAIN;
    r->provider = p->provider;
    rmd_str_set(&r->subject, p->domain);
    p->incident = r->id;
    char words[RMD_REPLY_TEXT_MAX + 1];
    rmd_reply_words(words, reply);
    rmd_str_set(&r->cause, words);
    rmd_incident_line(c, i, NULL, "the node read: %s", words);
    rmd_incident_removal(c, i, rmd_slice_str(words), p->provider);
    return i;
}

/* ---------------------------------------------------------------- stopping */

static bool of_place(void *ctx, const struct rmd_lease *l) {
    const struct rmd_sender_place *p = ctx;
    return l->provider_id == p->provider && !urgent(l->campaign->stream) && sends_as(l->campaign->stream, p);
}

/* i: NULL, for its rate. */
static void rests(struct rmd_coord *c, struct rmd_sender_place *p, const struct rmd_verdict *v,
                  enum rmd_sender_cause cause, struct rmd_incident *i) {
    bool for_good = cause == RMD_SENDER_FOR_GOOD;
    char length[32];
    int64_t ms = p->s.until_ms - c->ledger.now_ms;
    p->until_wall_ms = c->now.wall_ms + ms;
    rmd_format_duration(ms, length);
    const char *text = rmd_arena_printf(
        &c->scratch, "%sbulk mail rests at %s for %s, transactional mail goes on slowly%s",
        cause == RMD_SENDER_RATE ? "too much for its usual: " : "", rmd_provider_name(c, p->provider), length,
        for_good ? "; refused for good: it pauses when that repeats" : ", then it is probed with a few recipients");
    if (i) {
        rmd_incident_line(c, i, NULL, "%s", text);
        rmd_str_set(&i->rec->next_step, for_good ? to_mend(v) : "nothing: it is probed when the rest is over");
    }
    tell(c, p, "sender.resting", p->incident, text);
    rmd_core_wake(c, c->now.mono_ms + ms);
    rmd_recall_where(c, of_place, p, RMD_RETURN_PAUSED);
    rmd_core_warn(c, "sending domain %s: %s", p->domain, text);
}

static void pauses(struct rmd_coord *c, struct rmd_sender_place *p, const struct rmd_verdict *v,
                   struct rmd_incident *i) {
    const char *text = rmd_arena_printf(
        &c->scratch,
        "bulk mail pauses at %s until a person resolves incident %llu, transactional mail goes on slowly",
        rmd_provider_name(c, p->provider), (unsigned long long)p->incident);
    p->until_wall_ms = 0;
    i->rec->human = true;
    i->rec->quarantined_wall_ms = c->now.wall_ms;
    rmd_incident_line(c, i, NULL, "%s", text);
    rmd_str_set(&i->rec->next_step, to_mend(v));
    i->dirty = true;
    tell(c, p, "sender.paused", p->incident, text);
    rmd_recall_where(c, of_place, p, RMD_RETURN_PAUSED);
    rmd_core_warn(c, "sending domain %s: %s", p->domain, text);
}

/* Two named providers are sure. */
static const struct rmd_sender_place *agrees(struct rmd_coord *c, const struct rmd_sender_place *p) {
    if (p->provider == c->other || !rmd_sender_sure(&p->s, c->ledger.now_ms))
        return NULL;
    rmd_list_for(it, &c->sender_list) {
        const struct rmd_sender_place *x = rmd_container(it, struct rmd_sender_place, link);
        if (x != p && x->provider != c->other && x->tenant == p->tenant && strcmp(x->domain, p->domain) == 0 &&
            rmd_sender_sure(&x->s, c->ledger.now_ms))
            return x;
    }
    return NULL;
}

static void pause_stream(struct rmd_coord *c, struct rmd_stream *s, const struct rmd_incident *i) {
    s->rec->state = 1;
    s->rec->paused_by = i->rec->id;
    rmd_str_set(&s->rec->reason, i->rec->title);
    rmd_stream_put(c, s);
    rmd_recall_stream(c, s, RMD_RETURN_PAUSED, -1);
    Remuda__EventRecord *e = rmd_core_event(c, "stream.paused");
    e->stream = s->rec->id;
    e->incident = i->rec->id;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(i->rec->title));
}

static void breaker(struct rmd_coord *c, struct rmd_sender_place *p) {
    const struct rmd_sender_place *x = agrees(c, p);
    struct rmd_incident *i = NULL;
    uint32_t it = 0;
    void *v;
    while (x && rmd_map_next(&c->streams, &it, NULL, &v)) {
        struct rmd_stream *s = v;
        if (urgent(s) || !sends_as(s, p) || s->rec->state)
            continue;
        if (!i) {
            i = rmd_incident_open(
                c, rmd_arena_printf(&c->scratch, "sending domain %s is refused by %s and %s: its bulk streams pause",
                                    p->domain, rmd_provider_name(c, x->provider), rmd_provider_name(c, p->provider)));
            i->rec->scope = RMD_SCOPE_SENDING_DOMAIN;
            i->rec->human = true;
            rmd_str_set(&i->rec->subject, p->domain);
            rmd_str_set(&i->rec->next_step, "mend authentication or the domain's reputation, as the providers' "
                                            "incidents say; then resolve this incident, or `remuda stream resume`");
        }
        pause_stream(c, s, i);
    }
    if (i)
        rmd_core_warn(c, "%s", i->rec->title);
}

/* ---------------------------------------------------------------- what is heard */

void rmd_sender_alarm(struct rmd_coord *c, const struct rmd_stream *s, uint32_t provider, const struct rmd_verdict *v,
                      const Remuda__Alarm *a) {
    struct rmd_sender_place *p = make(c, s->rec->tenant, provider, s->rec->sending_domain);
    if (!p) {
        rmd_core_warn(c, "sending domain %s is refused at %s: there are %d such places already, and all are stopped",
                      s->rec->sending_domain, rmd_provider_name(c, provider), RMD_SENDER_PLACES_MAX);
        return;
    }
    enum rmd_sender_cause cause = rmd_sender_cause(v, a->reply ? a->reply->code : 0);
    enum rmd_sender_what what = rmd_sender_told(&p->s, v->duration_ms, cause, provider == c->other, c->ledger.now_ms);
    rmd_list_remove(&p->link);
    rmd_list_push(&c->sender_list, &p->link);
    mark(c, p);
    if (what == RMD_SENDER_NOTHING)
        return;
    struct rmd_incident *i = cause == RMD_SENDER_RATE ? open_incident_of(c, p) : incident_of(c, p, v, a->reply);
    if (what == RMD_SENDER_TELL) {
        rmd_str_set(&i->rec->next_step, to_mend(v));
        rmd_incident_line(c, i, NULL, "nothing stops there while most of its receivers accept");
        rmd_core_warn(c, "%s", i->rec->title);
        return;
    }
    if (what == RMD_SENDER_REST)
        rests(c, p, v, cause, i);
    else
        pauses(c, p, v, i);
    if (i)
        i->dirty = true;
    breaker(c, p);
    c->deal = true;
}

static void opens(struct rmd_coord *c, struct rmd_sender_place *p) {
    struct rmd_incident *i = rmd_incident_find(c, p->incident);
    p->incident = 0;
    p->until_wall_ms = 0;
    tell(c, p, "sender.opened", i ? i->rec->id : 0,
         rmd_arena_printf(&c->scratch, "%s accepts it again", rmd_provider_name(c, p->provider)));
    if (i)
        rmd_incident_resolve(c, i, "accepted again");
}

void rmd_sender_outcome(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                        const struct rmd_verdict *v) {
    struct rmd_sender_place *p = find(c, l->provider_id, l->campaign->stream);
    bool answered =
        o->kind == RMD_OUTCOME_DELIVERED ||
        (o->reply && o->reply->code && (o->kind == RMD_OUTCOME_BOUNCED || o->kind == RMD_OUTCOME_DEFERRED));
    if (!p || !answered)
        return;
    enum rmd_sender_answer answer = o->kind == RMD_OUTCOME_DELIVERED ? RMD_SENDER_ACCEPTED
                                    : !rmd_sender_is_refused(v)      ? RMD_SENDER_OTHERWISE
                                    : rmd_sender_cause(v, o->reply->code) == RMD_SENDER_FOR_GOOD
                                        ? RMD_SENDER_REFUSED_FOR_GOOD
                                        : RMD_SENDER_REFUSED;
    bool refused = answer == RMD_SENDER_REFUSED_FOR_GOOD;
    enum rmd_sender_what what = rmd_sender_answered(&p->s, answer);
    if (p->s.state != RMD_SENDER_OPEN || what != RMD_SENDER_NOTHING) /* open: what most say is only memory */
        mark(c, p);
    if (what == RMD_SENDER_PAUSE)
        pauses(c, p, v, incident_of(c, p, v, o->reply));
    if (what == RMD_SENDER_REOPEN)
        opens(c, p);
    if (refused)
        breaker(c, p);
}

static void probes(struct rmd_coord *c, struct rmd_sender_place *p, const char *why) {
    p->until_wall_ms = 0;
    struct rmd_incident *i = rmd_incident_find(c, p->incident);
    const char *text = rmd_arena_printf(&c->scratch, "%s is probed with a few recipients: %s",
                                        rmd_provider_name(c, p->provider), why);
    tell(c, p, "sender.probing", p->incident, text);
    if (i && !i->rec->state)
        rmd_incident_line(c, i, NULL, "%s", text);
    mark(c, p);
    c->deal = true;
}

void rmd_senders_tick(struct rmd_coord *c) {
    rmd_list_for(it, &c->sender_list) {
        struct rmd_sender_place *p = rmd_container(it, struct rmd_sender_place, link);
        if (rmd_sender_tick(&p->s, c->ledger.now_ms))
            probes(c, p, "its rest is over");
        else if (p->s.state == RMD_SENDER_RESTING)
            rmd_core_wake(c, c->now.mono_ms + (p->s.until_ms - c->ledger.now_ms));
    }
}

/* ---------------------------------------------------------------- persons */

static bool retry(struct rmd_coord *c, struct rmd_sender_place *p, const char *why) {
    if (p->s.state == RMD_SENDER_OPEN)
        return false;
    rmd_sender_retry(&p->s);
    probes(c, p, why);
    return true;
}

bool rmd_sender_resolved(struct rmd_coord *c, const struct rmd_incident *i) {
    bool any = false;
    uint32_t it = 0;
    void *v;
    rmd_list_for(at, &c->sender_list) {
        struct rmd_sender_place *p = rmd_container(at, struct rmd_sender_place, link);
        if (p->incident == i->rec->id)
            any |= retry(c, p, i->rec->resolution);
    }
    while (rmd_map_next(&c->streams, &it, NULL, &v)) {
        struct rmd_stream *s = v;
        if (!s->rec->state || s->rec->paused_by != i->rec->id)
            continue;
        s->rec->state = 0;
        rmd_str_set(&s->rec->reason, i->rec->resolution);
        Remuda__EventRecord *e = rmd_core_event(c, "stream.active");
        e->stream = s->rec->id;
        e->incident = i->rec->id;
        e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(i->rec->resolution));
        (void)rmd_sender_resumed(c, s, i->rec->resolution);
        rmd_stream_put(c, s);
        any = true;
    }
    return any;
}

/* Somebody looked at the stream: its domain is probed wherever it was stopped, and what was counted against it is void. */
bool rmd_sender_resumed(struct rmd_coord *c, struct rmd_stream *s, const char *why) {
    bool any = false;
    uint64_t by = s->rec->paused_by;
    s->rec->paused_by = 0;
    rmd_list_for(it, &c->sender_list) {
        struct rmd_sender_place *p = rmd_container(it, struct rmd_sender_place, link);
        if (!sends_as(s, p))
            continue;
        bool back = retry(c, p, why);
        struct rmd_incident *i = back ? rmd_incident_find(c, p->incident) : NULL;
        if (i)
            rmd_incident_resolve(c, i, why);
        any |= back;
    }
    struct rmd_incident *i = rmd_incident_find(c, by);
    if (i)
        rmd_incident_resolve(c, i, why);
    return any;
}

/* ---------------------------------------------------------------- dealing */

static uint64_t leased(const struct rmd_coord *c, const struct rmd_sender_place *p) {
    uint64_t n = 0;
    rmd_list_for(it, &c->all_pqs) {
        const struct rmd_pq *q = rmd_container(it, struct rmd_pq, all);
        if (q->provider_id == p->provider && !urgent(q->stream) && sends_as(q->stream, p))
            n += q->leased;
    }
    return n;
}

static uint32_t urgent_room(struct rmd_coord *c, const struct rmd_sender_place *p) {
    int64_t minute = c->now.mono_ms / 60000;
    uint32_t used = p->minute == minute ? p->minute_used : 0;
    if (used < RMD_SENDER_URGENT_PER_MINUTE)
        return RMD_SENDER_URGENT_PER_MINUTE - used;
    rmd_core_wake(c, (minute + 1) * 60000);
    return 0;
}

uint32_t rmd_sender_room_for(struct rmd_coord *c, const struct rmd_pq *q) {
    const struct rmd_sender_place *p = find(c, q->provider_id, q->stream);
    if (!p || p->s.state == RMD_SENDER_OPEN)
        return UINT32_MAX;
    return urgent(q->stream) ? urgent_room(c, p) : rmd_sender_room(&p->s, leased(c, p));
}

void rmd_sender_took(struct rmd_coord *c, const struct rmd_pq *q, uint32_t n) {
    struct rmd_sender_place *p = find(c, q->provider_id, q->stream);
    if (!p || p->s.state == RMD_SENDER_OPEN || !urgent(q->stream))
        return;
    int64_t minute = c->now.mono_ms / 60000;
    p->minute_used = (p->minute == minute ? p->minute_used : 0) + n;
    p->minute = minute;
}

bool rmd_sender_stops(const struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s) {
    const struct rmd_sender_place *p = urgent(s) ? NULL : find(c, provider, s);
    return p && (p->s.state == RMD_SENDER_RESTING || p->s.state == RMD_SENDER_PAUSED);
}

int64_t rmd_sender_rests_ms(const struct rmd_coord *c, uint32_t provider, const struct rmd_stream *s) {
    const struct rmd_sender_place *p = urgent(s) ? NULL : find(c, provider, s);
    int64_t ms = p && p->s.state == RMD_SENDER_RESTING ? p->s.until_ms - c->ledger.now_ms : 0;
    return ms > 0 ? ms : 0;
}

const char *rmd_sender_why(struct rmd_coord *c, const struct rmd_pq *q, struct rmd_arena *a) {
    const struct rmd_sender_place *p = find(c, q->provider_id, q->stream);
    if (!p || p->s.state == RMD_SENDER_OPEN || rmd_sender_room_for(c, q))
        return NULL;
    char at[32] = "";
    if (p->s.state == RMD_SENDER_RESTING && !urgent(q->stream))
        rmd_date_rfc3339(p->until_wall_ms, at);
    const char *text = rmd_arena_printf(a, "sending domain %s %s%s%s", p->domain,
                                        urgent(q->stream) && p->s.by_rate
                                            ? "sends more than is usual there: transactional mail is slowed"
                                        : urgent(q->stream) ? "is refused there: transactional mail is slowed"
                                        : p->s.state == RMD_SENDER_PROBING ? "is probed with a few recipients"
                                        : p->s.state == RMD_SENDER_PAUSED  ? "is paused there until a person resolves"
                                        : p->s.by_rate ? "sends more than is usual there, and rests"
                                                       : "rests there",
                                        *at ? " until " : "", at);
    return p->incident ? rmd_arena_printf(a, "%s (incident %llu)", text, (unsigned long long)p->incident) : text;
}

/* ---------------------------------------------------------------- views, start, writing, end */

void rmd_coord_senders(struct rmd_coord *c, void (*fn)(void *, const struct rmd_sender_view *), void *ctx) {
    rmd_list_for(it, &c->sender_list) {
        const struct rmd_sender_place *p = rmd_container(it, struct rmd_sender_place, link);
        if (p->s.state == RMD_SENDER_OPEN)
            continue;
        fn(ctx, &(struct rmd_sender_view){.tenant = p->tenant,
                                          .domain = p->domain,
                                          .provider = rmd_provider_name(c, p->provider),
                                          .state = rmd_sender_state_name(p->s.state),
                                          .until_wall_ms = p->until_wall_ms,
                                          .incident = p->incident});
    }
}

int64_t rmd_sender_lapses(const struct rmd_coord *c, uint64_t incident) {
    rmd_list_for(it, &c->sender_list) {
        const struct rmd_sender_place *p = rmd_container(it, struct rmd_sender_place, link);
        if (p->incident == incident)
            return p->until_wall_ms;
    }
    return 0;
}

bool rmd_sender_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) {
    const Remuda__SenderRecord *r = rmd_pb_decode(&remuda__sender_record__descriptor, value, &c->scratch);
    if (!r || key.n != 17 || r->state > RMD_SENDER_PAUSED)
        return false;
    struct rmd_sender_place *p = make(c, rmd_get_be32(key.p + 1), rmd_get_be32(key.p + 5), r->domain);
    if (!p)
        return true;
    p->s = (struct rmd_sender){.state = (enum rmd_sender_state)r->state,
                               .until_ms = r->until_ledger_ms,
                               .since_ms = r->since_ledger_ms,
                               .last_ms = r->last_ledger_ms,
                               .rests = r->rests,
                               .rests_for_good = r->rests_for_good,
                               .outcomes = r->outcomes,
                               .refused = r->refused,
                               .asked = r->asked,
                               .denied = r->denied,
                               .accepted = r->accepted,
                               .by_rate = r->by_rate};
    p->until_wall_ms = r->until_wall_ms;
    p->incident = r->incident;
    return true;
}

void rmd_senders_flush(struct rmd_coord *c) {
    if (!c->senders_dirty)
        return;
    c->senders_dirty = false;
    rmd_list_for(it, &c->sender_list) {
        struct rmd_sender_place *p = rmd_container(it, struct rmd_sender_place, link);
        if (!p->dirty)
            continue;
        p->dirty = false;
        Remuda__SenderRecord r = REMUDA__SENDER_RECORD__INIT;
        r.domain = p->domain;
        r.state = p->s.state;
        r.until_ledger_ms = p->s.until_ms;
        r.until_wall_ms = p->until_wall_ms;
        r.since_ledger_ms = p->s.since_ms;
        r.last_ledger_ms = p->s.last_ms;
        r.rests = p->s.rests;
        r.rests_for_good = p->s.rests_for_good;
        r.outcomes = p->s.outcomes;
        r.refused = p->s.refused;
        r.asked = p->s.asked;
        r.denied = p->s.denied;
        r.accepted = p->s.accepted;
        r.by_rate = p->s.by_rate;
        r.incident = p->incident;
        struct rmd_key k = row_key(p);
        rmd_core_put(c, &k, &r);
    }
}

void rmd_senders_free(struct rmd_coord *c) {
    rmd_list_for_safe(it, &c->sender_list) drop(c, rmd_container(it, struct rmd_sender_place, link));
    rmd_map_release(&c->senders);
}
