/* What listings change: quarantine, pace, pauses, incidents; and how it ends (see listing.h). */
#include "coordinator/core/listing.h"

enum rmd_listing_what rmd_listing_decide(uint32_t tier, bool snowshoe, bool domain, bool neighbour) {
    if (neighbour)
        return RMD_LISTING_ALERT;
    if (domain)
        return tier == RMD_TIER_ACT ? RMD_LISTING_PAUSE_DOMAIN : RMD_LISTING_ALERT;
    if (snowshoe)
        return RMD_LISTING_PAUSE_POOL;
    return tier == RMD_TIER_ACT    ? RMD_LISTING_QUARANTINE
           : tier == RMD_TIER_SLOW ? RMD_LISTING_SLOW
                                   : RMD_LISTING_ALERT;
}

/* ---------------------------------------------------------------- incidents */

/* "zen.spamhaus.org answers 127.0.0.2 (SBL: ...) for 203.0.113.7: the list's words" */
static const char *cause(struct rmd_coord *c, const Remuda__ListingRecord *r) {
    char codes[64];
    rmd_blocklist_codes_format(r->answer, r->n_answer, codes, sizeof codes);
    return rmd_arena_printf(&c->scratch, "%s answers %s for %s (%s)%s%s", r->list, codes, r->subject, r->meaning,
                            *r->evidence ? ": " : "", r->evidence);
}

static const char *removal(struct rmd_coord *c, const Remuda__Blocklist *l, const char *first) {
    return rmd_arena_printf(&c->scratch, "%s%s%s%s%s%s%s", first, *first && (*l->removal || *l->hint) ? "; " : "",
                            *l->removal ? "removal: " : "", l->removal, *l->removal && *l->hint ? " (" : "", l->hint,
                            *l->removal && *l->hint ? ")" : "");
}

static struct rmd_incident *open_incident(struct rmd_coord *c, const struct rmd_listing *x, const char *title,
                                          const char *next_step, unsigned scope) {
    struct rmd_incident *i = rmd_incident_open(c, title);
    i->rec->class_ = scope & RMD_SCOPE_SENDING_DOMAIN ? RMD_CLASS_DOMAIN_BLOCKLISTED : RMD_CLASS_IP_BLOCKLISTED;
    i->rec->scope = scope;
    rmd_str_set(&i->rec->cause, cause(c, x->rec));
    rmd_str_set(&i->rec->next_step, next_step);
    const Remuda__Blocklist *l = rmd_watchers_list(c->watchers, rmd_blocklist_id(x->rec->list));
    rmd_str_set(&i->rec->removal, l ? l->removal : "");
    i->dirty = true;
    return i;
}

/* The open incident that an open listing of this list and network rests on already. */
static struct rmd_incident *of_network(struct rmd_coord *c, const char *list, const char *network) {
    rmd_list_for(it, &c->watchers->listings) {
        const Remuda__ListingRecord *r = rmd_container(it, struct rmd_listing, link)->rec;
        if (r->removed_wall_ms || strcmp(r->list, list) != 0 || strcmp(r->network, network) != 0)
            continue;
        for (size_t k = 0; k < r->n_incident; k++) {
            struct rmd_incident *i = rmd_incident_find(c, r->incident[k]);
            if (i && !i->rec->state && strcmp(i->rec->subject, network) == 0)
                return i;
        }
    }
    return NULL;
}

/* One incident a list and network: a range on a list of ranges would open hundreds. */
static void alert(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    Remuda__ListingRecord *r = x->rec;
    bool domain = !*r->network;
    const char *subject = domain ? r->subject : r->network;
    struct rmd_incident *i = domain ? NULL : of_network(c, r->list, r->network);
    if (!i) {
        i = open_incident(
            c, x,
            rmd_arena_printf(&c->scratch, "%s%s is on %s: nothing is stopped", r->neighbour ? "neighbour " : "",
                             r->subject, r->list),
            removal(c, l, r->neighbour ? "watch your own; ask the network's owner when it goes on" : ""),
            domain ? RMD_SCOPE_SENDING_DOMAIN : RMD_SCOPE_NETWORK);
        rmd_str_set(&i->rec->subject, subject);
    }
    rmd_listing_link(c, x, i->rec->id);
}

static void slow(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    Remuda__ListingRecord *r = x->rec;
    struct rmd_incident *i = open_incident(
        c, x, rmd_arena_printf(&c->scratch, "%s is on %s: it goes at half its pace", r->subject, r->list),
        removal(c, l, ""), RMD_SCOPE_SOURCE);
    rmd_str_set(&i->rec->subject, r->subject);
    rmd_listing_link(c, x, i->rec->id);
    rmd_listing_paced(c, x);
}

void rmd_listing_paced(struct rmd_coord *c, const struct rmd_listing *x) {
    struct rmd_source *s = x->rec->source ? rmd_source_find(c, x->rec->source) : NULL;
    if (s && s->node)
        s->node->policy_dirty = true;
}

/* ---------------------------------------------------------------- quarantine */

static struct rmd_incident *of_source(struct rmd_coord *c, uint32_t source) {
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (!i->rec->state && i->rec->source == source && !i->rec->provider &&
            i->rec->class_ == RMD_CLASS_IP_BLOCKLISTED)
            return i;
    }
    return NULL;
}

void rmd_listing_link_named(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    const struct rmd_source *s = rmd_source_find(c, x->rec->source);
    rmd_list_for(it, &c->incidents) {
        const struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        const Remuda__IncidentRecord *r = i->rec;
        if (!r->state && r->class_ == RMD_CLASS_IP_BLOCKLISTED && s && rmd_incident_is_about(i, s) &&
            rmd_blocklist_named(l, rmd_slice_str(r->cause)))
            rmd_listing_link(c, x, r->id);
    }
}

static void quarantine(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    struct rmd_source *s = rmd_source_find(c, x->rec->source);
    if (!s)
        return;
    const char *why = rmd_arena_printf(&c->scratch, "%s is on %s, by our own DNS: stopped everywhere",
                                       s->rec->address, x->rec->list);
    struct rmd_incident *i = s->all.state >= RMD_LANE_QUARANTINED ? of_source(c, s->rec->id) : NULL;
    if (!i) {
        i = open_incident(
            c, x, why,
            removal(c, l, "find the cause and end it, then ask for removal; it returns after two clean checks"),
            RMD_SCOPE_SOURCE);
        i->rec->source = s->rec->id;
    }
    rmd_listing_link(c, x, i->rec->id);
    rmd_listing_link_named(c, l, x);
    bool was = s->all.state == RMD_LANE_QUARANTINED;
    c->after_probe = was ? c->after_probe : RMD_PROBE_QUARANTINE_SYNCED;
    rmd_lane_set(c, s, &s->all, RMD_LANE_QUARANTINED, 0, i->rec->id);
    if (was)
        return;
    rmd_moving_begin(c, i, s, &s->all, true);
    rmd_incident_line(c, i, NULL, "quarantined: %s at every provider", s->rec->address);
    Remuda__EventRecord *e = rmd_core_event(c, "source.quarantined");
    e->source = s->rec->id;
    e->incident = i->rec->id;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(why));
    i->rec->quarantined_wall_ms = c->now.wall_ms;
    i->dirty = true;
    rmd_recall_source(c, s, 0, RMD_RETURN_SOURCE_STOPPED, -1);
    rmd_core_warn(c, "source %s: %s", s->rec->address, why);
    c->deal = true;
}

/* ---------------------------------------------------------------- pauses */

static void pause_stream(struct rmd_coord *c, struct rmd_stream *s, const char *why, uint64_t incident) {
    if (s->rec->state)
        return;
    s->rec->state = 1;
    rmd_str_set(&s->rec->reason, why);
    rmd_stream_put(c, s);
    rmd_recall_stream(c, s, RMD_RETURN_PAUSED, -1);
    Remuda__EventRecord *e = rmd_core_event(c, "stream.paused");
    e->stream = s->rec->id;
    e->incident = incident;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(why));
}

static bool concerns(const struct rmd_coord *c, const struct rmd_stream *st, const struct rmd_listing *x,
                     const struct rmd_source *s) {
    (void)c;
    if (s)
        return rmd_stream_uses(st, s);
    /* the listed name is the sending domain or one of its parents */
    char suffix[RMD_DOMAIN_MAX + 2], domain[RMD_DOMAIN_MAX + 1];
    rmd_copy(domain, sizeof domain, st->rec->sending_domain);
    rmd_lower_str(domain);
    rmd_format(suffix, sizeof suffix, ".%s", x->rec->subject);
    return strcmp(domain, x->rec->subject) == 0 || rmd_has_suffix(domain, suffix);
}

/* Bulk streams stop; transactional mail goes on, and a person is told. */
static void pause_streams(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    struct rmd_source *s = x->rec->source ? rmd_source_find(c, x->rec->source) : NULL;
    const char *title =
        s ? rmd_arena_printf(&c->scratch,
                             "%s is on %s as part of a sender spread over many addresses: bulk streams of its pools "
                             "pause, nothing moves",
                             x->rec->subject, x->rec->list)
          : rmd_arena_printf(&c->scratch, "sending domain %s is on %s: its bulk streams pause, nothing moves",
                             x->rec->subject, x->rec->list);
    struct rmd_incident *i =
        open_incident(c, x, title,
                      removal(c, l,
                              s ? "mend the stream: consent, list and content; then `remuda stream resume`"
                                : "mend the domain's mail, then `remuda stream resume`"),
                      s ? RMD_SCOPE_SOURCE : RMD_SCOPE_SENDING_DOMAIN);
    rmd_str_set(&i->rec->subject, x->rec->subject);
    rmd_listing_link(c, x, i->rec->id);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->streams, &it, NULL, &v)) {
        struct rmd_stream *st = v;
        if (st->rec->priority > 0 && concerns(c, st, x, s))
            pause_stream(c, st, title, i->rec->id);
    }
    rmd_core_warn(c, "%s", title);
    c->deal = true;
}

/* ---------------------------------------------------------------- the whole */

void rmd_listing_act(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    const Remuda__ListingRecord *r = x->rec;
    bool domain = !*r->network;
    switch (rmd_listing_decide(r->tier, r->snowshoe, domain, r->neighbour || (!domain && !r->source))) {
    case RMD_LISTING_ALERT:
        alert(c, l, x);
        break;
    case RMD_LISTING_SLOW:
        slow(c, l, x);
        break;
    case RMD_LISTING_QUARANTINE:
        quarantine(c, l, x);
        break;
    case RMD_LISTING_PAUSE_POOL:
    case RMD_LISTING_PAUSE_DOMAIN:
        pause_streams(c, l, x);
        break;
    }
}

void rmd_listing_cause(struct rmd_coord *c, struct rmd_listing *x) {
    for (size_t i = 0; i < x->rec->n_incident; i++) {
        struct rmd_incident *k = rmd_incident_find(c, x->rec->incident[i]);
        if (!k || k->rec->state || !rmd_case_prefix(rmd_slice_str(k->rec->cause), x->rec->list))
            continue; /* a receiver's words stay */
        rmd_str_set(&k->rec->cause, cause(c, x->rec));
        k->dirty = true;
    }
}

static bool rests_on(const struct rmd_coord *c, uint64_t incident) {
    rmd_list_for(it, &c->watchers->listings) {
        const Remuda__ListingRecord *r = rmd_container(it, struct rmd_listing, link)->rec;
        for (size_t k = 0; k < r->n_incident && !r->removed_wall_ms; k++)
            if (r->incident[k] == incident)
                return true;
    }
    return false;
}

/* False: nothing of it has to come back first, and the incident can end. */
static bool comes_back(struct rmd_coord *c, const struct rmd_incident *i, const char *why) {
    if (i->rec->human)
        return true; /* a person's word is waited for */
    return rmd_returning_all(c, i->rec->id, why) && i->rec->state == 0;
}

void rmd_listing_undo(struct rmd_coord *c, struct rmd_listing *x, const char *why) {
    for (size_t i = 0; i < x->rec->n_incident; i++) {
        struct rmd_incident *k = rmd_incident_find(c, x->rec->incident[i]);
        if (!k || k->rec->state || rests_on(c, x->rec->incident[i]))
            continue;
        if (comes_back(c, k, why))
            rmd_incident_line(c, k, NULL, "%s", why);
        else
            rmd_incident_resolve(c, k, why);
    }
}

/* ---------------------------------------------------------------- networks */

static struct rmd_range *range_of(struct rmd_coord *c, const Remuda__Blocklist *l, const char *network) {
    struct rmd_buf b = {0};
    rmd_buf_addf(&b, "%s %s", l->name, network);
    struct rmd_range *r = rmd_map_get(&c->watchers->ranges, rmd_buf_slice(&b));
    if (!r) {
        r = rmd_alloc(sizeof *r);
        rmd_map_set(&c->watchers->ranges, rmd_buf_slice(&b), r);
    }
    rmd_buf_release(&b);
    return r;
}

/* Our sources of the network that are on the list, or were refused for their own sake lately. */
static uint32_t own_in_trouble(struct rmd_coord *c, const Remuda__Blocklist *l, const char *network) {
    uint32_t it = 0, n = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (strcmp(s->network, network) != 0)
            continue;
        n += rmd_listing_find(c, l->name, s->rec->address) || rmd_refusals_sources(&s->refusals, 0, c->now.wall_ms);
    }
    return n;
}

static void ask_the_rest(struct rmd_coord *c, const Remuda__Blocklist *l, const char *network) {
    uint32_t it = 0, id = rmd_blocklist_id(l->name);
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        if (strcmp(s->network, network) == 0 && s->rec->state != RMD_SOURCE_RETIRED &&
            !rmd_listing_find(c, l->name, s->rec->address))
            rmd_watchers_check(c, s->rec->address, &id, 1, 0, 0, 0);
    }
}

void rmd_listing_range(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject, bool neighbour,
                       bool listed) {
    struct rmd_addr a;
    char network[56];
    if (rmd_addr_parse(subject, &a) != RMD_OK || a.family != 4 || !l->neighbours)
        return;
    rmd_network_format(&a, network);
    struct rmd_range *r = range_of(c, l, network);
    if (neighbour) {
        rmd_bit_set(r->asked, a.b[3]);
        if (listed)
            rmd_bit_set(r->listed, a.b[3]);
        else
            rmd_bit_clear(r->listed, a.b[3]);
    }
    size_t asked = rmd_bit_count(r->asked, 256), hits = rmd_bit_count(r->listed, 256);
    if (!listed || asked < RMD_RANGE_ASKED_MIN || hits * 4 < asked * 3)
        return;
    uint32_t own = own_in_trouble(c, l, network);
    struct rmd_listing *x = rmd_listing_find(c, l->name, subject);
    if (own < 2 || !x)
        return;
    struct rmd_incident *i = of_network(c, l->name, network);
    bool known = i && i->rec->scope & RMD_SCOPE_NETWORK && rmd_case_prefix(rmd_slice_str(i->rec->title), network);
    if (known)
        return;
    const char *title = rmd_arena_printf(
        &c->scratch, "%s is on %s: %zu of %zu neighbours, and %u of our sources are on it or refused", network,
        l->name, hits, asked, own);
    if (!i) {
        i = open_incident(c, x, title, "", RMD_SCOPE_NETWORK);
        rmd_str_set(&i->rec->subject, network);
    }
    rmd_str_set(&i->rec->title, title);
    rmd_str_set(&i->rec->next_step,
                removal(c, l, "the network's owner must act; move sources to another network when it lasts"));
    i->dirty = true;
    rmd_listing_link(c, x, i->rec->id);
    rmd_listing_event(c, "network.listed", x, title);
    ask_the_rest(c, l, network);
}
