/* Alarms: a node read a verdict that must not wait. The failover policy decides (failover.h), this file carries it
 * out: the quarantine or pause is in the step's batch, and recall, policy and acknowledgement leave when it is
 * durable.
 *
 * An alarm's number is answered once. Repeats are acknowledged and change nothing; of numbers that come out of order,
 * the last 64 are remembered. After a restart an older one may be taken twice: that finds the lane closed and changes
 * nothing either.
 *
 * Alarms of a Hello are decided before its Welcome is made, so that Welcome lists no lease of a source that they
 * stop: the node must not begin with one and be recalled. They are acknowledged behind it, when the node is in its
 * session. */
#include "coordinator/core/core.h"

static bool seen_before(struct rmd_coord *c, struct rmd_node *n, uint64_t number) {
    Remuda__NodeRecord *r = n->rec;
    if (r->alarm_n)
        n->alarms_seen |= 1;
    if (number <= r->alarm_n) {
        uint64_t back = r->alarm_n - number;
        if (back >= 64 || n->alarms_seen >> back & 1)
            return true;
        n->alarms_seen |= 1ULL << back;
        return false;
    }
    uint64_t step = number - r->alarm_n;
    n->alarms_seen = (step < 64 ? n->alarms_seen << step : 0) | 1;
    r->alarm_n = number;
    n->dirty = c->nodes_dirty = true;
    return false;
}

void rmd_alarm_ack(struct rmd_coord *c, struct rmd_node *n, uint64_t number) {
    Remuda__Frame *f = rmd_core_send(c, n, REMUDA__FRAME__BODY_ALARM_ACK, -1);
    struct rmd_arena *a = rmd_arena_after(c);
    f->alarm_ack = rmd_arena_alloc(a, sizeof *f->alarm_ack);
    remuda__alarm_ack__init(f->alarm_ack);
    f->alarm_ack->n = rmd_arena_dup(a, &number, sizeof number);
    f->alarm_ack->n_n = 1;
}

/* The receiver's words, code included, on one line. */
void rmd_reply_words(char out[RMD_REPLY_TEXT_MAX + 1], const Remuda__Reply *reply) {
    size_t at = 0;
    for (size_t i = 0; reply && i < reply->text.len && i < RMD_REPLY_TEXT_MAX; i++) { /* a protobuf string is UTF-8 */
        uint8_t b = reply->text.data[i];
        out[at++] = b >= 0x20 && b < 0x7f ? (char)b : b == '\n' ? ' ' : '?';
    }
    out[at] = 0;
}

struct scene {
    struct rmd_source *source;
    size_t provider;
    uint32_t provider_id;
    uint64_t site; /* of "other", or 0 */
    const char *site_name;
    struct rmd_stream *stream;
    const Remuda__Alarm *alarm;
    const struct rmd_verdict *verdict;
    struct rmd_failover_decision d;
    int64_t ms; /* 0: until resolved */
    bool ended; /* the source had taken moved work, within its canary */
};

/* It is about a source of this network. */
static bool of_network(struct rmd_coord *c, const struct rmd_incident *i, const struct rmd_net *net) {
    const struct rmd_source *s = rmd_source_find(c, i->rec->source);
    return s && s->net == net;
}

/* The open incident that is about the same: at a single site, whichever source it refused; of a network that is refused, whichever of its
 * sources; else of this source. */
static struct rmd_incident *find_open(struct rmd_coord *c, const struct scene *x, uint32_t provider, uint64_t site) {
    bool network = x->d.network && provider == x->provider_id;
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        const Remuda__IncidentRecord *r = i->rec;
        if (r->state || r->provider != provider || r->site != site || r->class_ != x->verdict->class)
            continue;
        if (site || rmd_incident_is_about(i, x->source) || (network && of_network(c, i, x->source->net)))
            return i;
    }
    return NULL;
}

/* The pair's own incident goes on, whatever the site says this time. */
static struct rmd_incident *of_pair(struct rmd_coord *c, const struct scene *x) {
    const struct rmd_site_stop *stop = rmd_site_stop_find(x->source, x->site);
    struct rmd_incident *i = stop ? rmd_incident_find(c, stop->incident) : NULL;
    return i && !i->rec->state ? i : NULL;
}

/* The incident of this trouble: the one that is open, or a new one. */
static struct rmd_incident *incident(struct rmd_coord *c, const struct scene *x, uint32_t provider,
                                     const char *title) {
    bool of_site = x->d.what == RMD_FAILOVER_QUARANTINE_SITE;
    struct rmd_incident *i = of_site ? of_pair(c, x) : NULL;
    i = i ? i : find_open(c, x, provider, of_site ? x->site : 0);
    if (i)
        return i;
    int64_t age = x->alarm->age_ms > 0 ? x->alarm->age_ms : 0;
    char text[RMD_REPLY_TEXT_MAX + 1];
    rmd_reply_words(text, x->alarm->reply);
    i = rmd_incident_open(c, title);
    Remuda__IncidentRecord *r = i->rec;
    r->class_ = x->verdict->class;
    r->scope = x->verdict->scope;
    r->source = x->source->rec->id;
    r->provider = provider;
    r->site = of_site ? x->site : 0;
    rmd_str_set(&r->site_name, of_site ? x->site_name : "");
    rmd_str_set(&r->cause, text);
    rmd_str_set(&r->next_step, x->d.next_step ? x->d.next_step : "");
    r->read_wall_ms = c->now.wall_ms - age;
    i->read_mono_ms = c->now.mono_ms - age;
    r->detect_us = age * 1000;
    rmd_incident_removal(c, i, rmd_slice_str(text), x->provider_id);
    rmd_incident_line(c, i, NULL, "the node read: %s", text);
    return i;
}

/* In the time line, and for its end: by itself, or by a person. */
static void note_stop(struct rmd_coord *c, const struct scene *x, const struct rmd_source *s, uint32_t provider,
                      int64_t ms, bool again, struct rmd_incident *i) {
    char length[32] = "";
    if (ms)
        rmd_format_duration(ms, length);
    i->rec->quarantined_wall_ms = i->rec->quarantined_wall_ms ? i->rec->quarantined_wall_ms : c->now.wall_ms;
    i->rec->human = i->rec->human || !ms;
    rmd_incident_line(c, i, NULL, "%s: %s at %s, %s%s", again ? "refused while it was probed" : "quarantined",
                      s->rec->address, provider ? rmd_provider_name(c, provider) : "every provider",
                      ms ? "for " : "until a person resolves it", length);
    if (x->ended)
        rmd_moving_ended(c, i,
                         "its work moves nowhere: it had taken moved work itself, and was refused in the same way");
}

/* An incident that nothing rests on any more, as this one stops the same and longer. */
static void taken_over(struct rmd_coord *c, uint64_t id, const struct rmd_source *s, const struct rmd_lane *l) {
    struct rmd_incident *i = id != l->incident ? rmd_incident_find(c, id) : NULL;
    if (!i || i->rec->site)
        return;
    rmd_incident_leave(c, i, s);
    if (!rmd_returning_rests_on(c, id))
        rmd_incident_resolve(c, i,
                             rmd_arena_printf(&c->scratch,
                                              "taken over by incident %llu, which stops the same for longer",
                                              (unsigned long long)l->incident));
}

static void close_lane(struct rmd_coord *c, const struct scene *x, struct rmd_source *s, struct rmd_lane *l,
                       uint32_t provider, enum rmd_lane_state state, struct rmd_incident *i) {
    bool was = l->state == RMD_LANE_QUARANTINED, again = l->state == RMD_LANE_PROBING;
    uint64_t had = l->incident;
    int64_t ms = x->ms && state == RMD_LANE_QUARANTINED ? rmd_returning_again_ms(l, x->ms) : x->ms;
    if (state == RMD_LANE_QUARANTINED && i && !was) {
        rmd_moving_begin(c, i, s, l, x->d.move);
        note_stop(c, x, s, provider, ms, again, i);
    } else if (state == RMD_LANE_QUARANTINED && i && !x->d.move) {
        rmd_moving_begin_site(c, i, false);
    }
    rmd_lane_set(c, s, l, state, ms, i ? i->rec->id : 0);
    taken_over(c, had, s, l);
    if (was && s != x->source)
        return; /* of its network; it was told already */
    Remuda__EventRecord *e = rmd_core_event(c, state == RMD_LANE_RESTING ? "source.resting" : "source.quarantined");
    e->source = s->rec->id;
    e->provider = provider;
    e->incident = i ? i->rec->id : 0;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(x->d.why));
    if (state != RMD_LANE_QUARANTINED || was)
        return;
    rmd_recall_source(c, s, provider, RMD_RETURN_SOURCE_STOPPED, -1);
    if (!provider || provider == c->other)
        rmd_site_stops_widened(c, s, i ? i->rec->id : 0);
}

static void pause_stream(struct rmd_coord *c, const struct scene *x) {
    struct rmd_stream *s = x->stream;
    if (!s || s->rec->state)
        return;
    s->rec->state = 1;
    rmd_str_set(&s->rec->reason, x->d.why);
    rmd_recall_stream(c, s, RMD_RETURN_PAUSED, -1);
    Remuda__EventRecord *e = rmd_core_event(c, "stream.paused");
    e->stream = s->rec->id;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(x->d.why));
}

/* The campaigns of the stream that a lane is sending: they stop at this provider, or everywhere. */
static void pause_of_lane(struct rmd_coord *c, const struct scene *x, const struct rmd_source *s, uint32_t provider,
                          struct rmd_incident *i) {
    uint32_t it = 0;
    void *v;
    while (s->node && rmd_map_next(&s->node->leases, &it, NULL, &v)) {
        const struct rmd_lease *l = v;
        if (l->source != s || l->provider_id != provider || (x->stream && l->campaign->stream != x->stream))
            continue;
        char id[27];
        rmd_id_format(&l->campaign->id, id);
        rmd_str_set(&i->rec->campaign, id);
        if (x->d.here)
            rmd_content_stop(c, l->campaign, x->provider_id, i, x->d.why);
        else
            rmd_campaign_set_state(c, l->campaign, RMD_CAMPAIGN_PAUSED, x->d.why);
    }
}

/* Of all lanes that were told the same, as this one may have few of them. */
static void pause_campaigns(struct rmd_coord *c, const struct scene *x, struct rmd_incident *i) {
    const struct rmd_refusals *r = &x->stream->refusals; /* of no stream, nothing is corroborated */
    for (uint32_t k = 0; k < r->n; k++) {
        const struct rmd_refusal *f = &r->v[k];
        const struct rmd_source *s = rmd_source_find(c, f->source);
        bool same = f->class == x->verdict->class && c->now.wall_ms - f->wall_ms <= RMD_CORROBORATION_MS &&
                    (f->provider == x->provider_id || (!x->d.here && f->provider != c->other));
        if (s && same)
            pause_of_lane(c, x, s, f->provider, i);
    }
}

/* The incident of the source that was refused first becomes its network's. */
static void widen(struct rmd_coord *c, struct rmd_incident *i, const struct scene *x, const char *title) {
    const struct rmd_source *first = rmd_source_find(c, i->rec->source);
    if (i->rec->n_member)
        return;
    if (first)
        rmd_incident_join(c, i, first);
    if (!strcmp(i->rec->title, title))
        return;
    char text[RMD_REPLY_TEXT_MAX + 1];
    rmd_reply_words(text, x->alarm->reply);
    rmd_str_set(&i->rec->title, title);
    rmd_str_set(&i->rec->next_step, x->d.next_step ? x->d.next_step : "");
    i->rec->scope |= x->verdict->scope;
    rmd_incident_line(c, i, NULL, "%s, too: %s", x->source->rec->address, text);
    rmd_incident_line(c, i, NULL, "%s", title);
}

/* "Part of their network": the lanes of all our sources there, at this provider. */
static void close_network(struct rmd_coord *c, const struct scene *x) {
    char title[200];
    (void)rmd_format(title, sizeof title, "%s refuses the network of %s, as two of our sources there were told",
                     rmd_provider_name(c, x->provider_id), x->source->rec->address);
    struct rmd_incident *i = incident(c, x, x->provider_id, title);
    widen(c, i, x, title);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (s->net != x->source->net)
            continue;
        struct rmd_lane *l = rmd_lane_of(c, s, x->provider);
        close_lane(c, x, s, l, x->provider_id, RMD_LANE_QUARANTINED, i);
        if (l->incident == i->rec->id)
            rmd_incident_join(c, i, s);
    }
    i->dirty = true;
}

/* Another source of ours at the same site: the same cause. */
static void refused_too(struct rmd_coord *c, struct rmd_incident *i, const struct scene *x) {
    const Remuda__IncidentMember *m = rmd_incident_member(i, x->source);
    bool first = !rmd_incident_sources(i);
    char text[RMD_REPLY_TEXT_MAX + 1];
    if (m && !m->over_wall_ms)
        return;
    rmd_incident_join(c, i, x->source);
    if (first)
        return;
    size_t n = rmd_incident_sources(i);
    rmd_reply_words(text, x->alarm->reply);
    if (n > 1)
        rmd_str_set(&i->rec->title,
                    rmd_arena_printf(&c->scratch,
                                     "the site of %.80s refuses %zu of our sources: stopped at this site, as no "
                                     "other site says so",
                                     x->site_name, n));
    rmd_incident_line(c, i, "incident.joined", "%s%s: %s", x->source->rec->address, m ? ", again" : ", too", text);
}

/* One site of "other" refuses the source. At the limit of such stops the lane is stopped. */
static struct rmd_incident *close_site(struct rmd_coord *c, struct scene *x, struct rmd_lane *lane) {
    if (!rmd_site_stop_find(x->source, x->site) && x->source->site_stops.n >= RMD_SITE_STOPS_MAX) {
        x->d.what = RMD_FAILOVER_QUARANTINE_LANE;
        rmd_format(x->d.why, sizeof x->d.why,
                   "%s is refused at %d sites of \"other\", and now at that of %.80s: stopped at all of them, as no "
                   "more are told apart",
                   x->source->rec->address, RMD_SITE_STOPS_MAX, x->site_name);
        struct rmd_incident *i = incident(c, x, x->provider_id, x->d.why);
        close_lane(c, x, x->source, lane, x->provider_id, RMD_LANE_QUARANTINED, i);
        return i;
    }
    struct rmd_incident *i = incident(c, x, x->provider_id, x->d.why);
    refused_too(c, i, x);
    const struct rmd_site_stop *was = rmd_site_stop_find(x->source, x->site);
    if (!was || was->state != RMD_LANE_QUARANTINED)
        rmd_moving_begin_site(c, i, x->d.move);
    i->rec->quarantined_wall_ms = i->rec->quarantined_wall_ms ? i->rec->quarantined_wall_ms : c->now.wall_ms;
    i->rec->human = i->rec->human || !x->ms;
    (void)rmd_site_stop_set(c, x->source, x->site, x->site_name, x->ms, i->rec->id);
    if (x->ended)
        rmd_moving_ended(c, i,
                         "its work moves nowhere: it had taken moved work itself, and was refused in the same way");
    return i;
}

/* The node that was told lets its lane rest itself; of the network's other sources, what isn't started comes back. */
static void rest(struct rmd_coord *c, const struct scene *x, struct rmd_lane *lane) {
    uint32_t it = 0;
    void *v;
    if (x->d.lane)
        close_lane(c, x, x->source, lane, x->provider_id, RMD_LANE_RESTING, NULL);
    while (x->d.network && rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        struct rmd_lane *l = rmd_lane_of(c, s, x->provider);
        if (s == x->source || s->net != x->source->net || l->state >= RMD_LANE_QUARANTINED)
            continue;
        close_lane(c, x, s, l, x->provider_id, RMD_LANE_RESTING, NULL);
        rmd_recall_source(c, s, x->provider_id, RMD_RETURN_SOURCE_STOPPED, -1);
    }
    if (x->d.sender)
        rmd_sender_alarm(c, x->stream, x->provider_id, x->verdict, x->alarm);
}

static void carry_out(struct rmd_coord *c, struct scene *x) {
    struct rmd_incident *i = NULL;
    struct rmd_lane *lane = rmd_lane_of(c, x->source, x->provider);
    switch (x->d.what) {
    case RMD_FAILOVER_NOTHING:
        return;
    case RMD_FAILOVER_REST:
        rest(c, x, lane);
        return;
    case RMD_FAILOVER_QUARANTINE_SITE:
        i = close_site(c, x, lane);
        break;
    case RMD_FAILOVER_QUARANTINE_LANE:
        i = incident(c, x, x->provider_id, x->d.why);
        close_lane(c, x, x->source, lane, x->provider_id, RMD_LANE_QUARANTINED, i);
        break;
    case RMD_FAILOVER_QUARANTINE_SOURCE:
        if (x->d.network)
            close_network(c, x);
        i = incident(c, x, 0, x->d.why);
        close_lane(c, x, x->source, &x->source->all, 0, RMD_LANE_QUARANTINED, i);
        break;
    case RMD_FAILOVER_QUARANTINE_NETWORK:
        close_network(c, x);
        i = incident(c, x, x->provider_id, x->d.why);
        break;
    case RMD_FAILOVER_PAUSE_STREAM:
        i = incident(c, x, x->provider_id, x->d.why);
        pause_stream(c, x);
        break;
    case RMD_FAILOVER_PAUSE_CAMPAIGN:
        i = incident(c, x, x->provider_id, x->d.why);
        pause_campaigns(c, x, i);
        break;
    case RMD_FAILOVER_SENDER:
        rmd_sender_alarm(c, x->stream, x->provider_id, x->verdict, x->alarm);
        return;
    case RMD_FAILOVER_ALERT:
        i = incident(c, x, x->provider_id, x->d.why);
        break;
    }
    i->dirty = true;
    rmd_core_warn(c, "source %s at %s: %s: %s", x->source->rec->address, rmd_provider_name(c, x->provider_id),
                  rmd_failover_name(x->d.what), x->d.why);
}

static void decide(struct rmd_coord *c, struct scene *x) {
    struct rmd_refusal refusal = {.wall_ms = c->now.wall_ms,
                                  .source = x->source->rec->id,
                                  .provider = x->provider_id,
                                  .network = x->source->net->hash,
                                  .class = x->verdict->class,
                                  .site = x->site,
                                  .own_fault = rmd_verdict_is_own_fault(x->verdict)};
    static const struct rmd_refusals none;
    if (rmd_refusal_of_the_ip(x->verdict)) {
        rmd_refusals_add(&x->source->refusals, &refusal);
        rmd_refusals_add(&x->source->net->refusals, &refusal);
        x->source->dirty = c->sources_dirty = true; /* what corroborates must survive a restart */
    }
    if (x->stream && rmd_refusal_of_the_mail(x->verdict))
        rmd_refusals_add(&x->stream->refusals, &refusal);
    struct rmd_failover_input in = {
        .verdict = x->verdict,
        .source = refusal.source,
        .provider = refusal.provider,
        .network = refusal.network,
        .other_provider = c->other,
        .site = x->site,
        .site_name = x->site_name,
        .provider_name = rmd_provider_name(c, x->provider_id),
        .source_name = x->source->rec->address,
        .now_wall_ms = c->now.wall_ms,
        .of_source = &x->source->refusals,
        .of_network = &x->source->net->refusals,
        .of_domain = x->stream ? &x->stream->refusals : &none,
        .temporary = x->alarm->reply && x->alarm->reply->code / 100 == 4,
        .transactional = x->stream && x->stream->rec->priority == 0,
        .dns_confirmed = rmd_listing_confirmed(c, x->source),
        .snowshoe = rmd_listing_snowshoe(c, x->source),
        .no_breaker = (c->o.without & RMD_WITHOUT_BREAKER) || !x->stream, /* of no stream: nobody to stop */
    };
    x->d = rmd_failover_decide(&in);
    x->ms = x->d.until_wall_ms > c->now.wall_ms ? x->d.until_wall_ms - c->now.wall_ms : 0;
    if (x->d.what >= RMD_FAILOVER_QUARANTINE_SITE && x->d.what <= RMD_FAILOVER_QUARANTINE_NETWORK)
        x->ended = rmd_moving_refused(c, x->source, x->provider_id, x->site,
                                      x->d.what == RMD_FAILOVER_QUARANTINE_SITE, x->verdict->class);
}

void rmd_alarm_of_hello(struct rmd_coord *c, struct rmd_node *n, const Remuda__Alarm *a) {
    if (seen_before(c, n, a->n))
        return;
    struct rmd_source *s = rmd_source_find(c, a->source);
    ssize_t p = rmd_provider_index(c, a->provider);
    if (!s || s->node != n || p < 0 || !a->verdict) { /* a node may speak of its own sources only */
        rmd_core_warn(c, "node %s: alarm %llu about source %u, which isn't its own, or an unknown provider: ignored",
                      n->rec->name, (unsigned long long)a->n, a->source);
        return;
    }
    struct rmd_verdict v;
    rmd_verdict_from_wire(a->verdict, &v);
    struct scene x = {.source = s, .provider = (size_t)p, .provider_id = a->provider, .alarm = a, .verdict = &v};
    x.stream = rmd_stream_find(c, a->stream);
    if (a->provider == c->other)
        x.site = a->site;
    x.site_name = *a->domain ? a->domain : a->reply && *a->reply->mx_host ? a->reply->mx_host : "an unknown domain";
    rmd_book_alarm(c, rmd_lane_of(c, s, (size_t)p), a, &v);
    decide(c, &x);
    c->after_probe = x.d.what == RMD_FAILOVER_NOTHING ? -1 : RMD_PROBE_QUARANTINE_SYNCED;
    carry_out(c, &x);
    if (x.stream)
        rmd_stream_put(c, x.stream);
    if (v.action == RMD_ACTION_QUARANTINE)
        rmd_watchers_refused(c, s, a->provider, a->reply);
    c->deal = true;
}

void rmd_alarm(struct rmd_coord *c, struct rmd_node *n, const Remuda__Alarm *a) {
    const ProtobufCBinaryData *uuid = &n->rec->journal_uuid;
    if (!rmd_slice_eq(rmd_slice(a->journal_uuid.data, a->journal_uuid.len), rmd_slice(uuid->data, uuid->len)))
        return;
    rmd_alarm_of_hello(c, n, a);
    rmd_alarm_ack(c, n, a->n);
}
