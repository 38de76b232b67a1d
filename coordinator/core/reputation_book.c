/* Reputations of lanes and sending domains: fed, judged, stored (reputation_book.h). */
#include "coordinator/core/core.h"
#include "coordinator/core/listing.h"

void rmd_book_init(struct rmd_coord *c) {
    rmd_list_init(&c->book.all);
    rmd_list_init(&c->book.dirty);
}

void rmd_book_free(struct rmd_coord *c) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->book.by_key, &it, NULL, &v))
        free(v);
    rmd_map_release(&c->book.by_key);
}

/* ---------------------------------------------------------------- who has one */

struct rmd_repute *rmd_book_find(struct rmd_coord *c, uint8_t kind, uint32_t a, uint32_t b) {
    struct rmd_key k = rmd_key_warm(kind, a, b);
    return rmd_map_get(&c->book.by_key, rmd_key_slice(&k));
}

static struct rmd_repute *get(struct rmd_coord *c, uint8_t kind, uint32_t a, uint32_t b) {
    struct rmd_repute *x = rmd_book_find(c, kind, a, b);
    if (x)
        return x;
    x = rmd_alloc(sizeof *x);
    x->kind = kind;
    x->a = a;
    x->b = b;
    x->score = RMD_REPUTATION_NEUTRAL;
    struct rmd_key k = rmd_key_warm(kind, a, b);
    rmd_map_set(&c->book.by_key, rmd_key_slice(&k), x);
    rmd_list_push(&c->book.all, &x->all);
    return x;
}

static struct rmd_repute *of_lane(struct rmd_coord *c, struct rmd_lane *l) {
    if (!l->repute)
        l->repute = get(c, RMD_BOOK_LANE, l->source->rec->id, c->o.provider[l->provider]->id);
    return l->repute;
}

static struct rmd_repute *of_domain(struct rmd_coord *c, struct rmd_pq *q) {
    if (!q->repute)
        q->repute = get(c, RMD_BOOK_DOMAIN, rmd_fnv32(rmd_slice_str(q->stream->rec->sending_domain)), q->provider_id);
    return q->repute;
}

static void dirty(struct rmd_coord *c, struct rmd_repute *x, bool urgent) {
    c->book.urgent |= urgent;
    if (x->dirty)
        return;
    x->dirty = true;
    rmd_list_push(&c->book.dirty, &x->dirty_link);
}

/* What is known of the source holds for a lane that it never used. */
void rmd_book_attach(struct rmd_coord *c, struct rmd_lane *l) {
    l->repute = rmd_book_find(c, RMD_BOOK_LANE, l->source->rec->id, c->o.provider[l->provider]->id);
    if (!l->repute && (l->source->listed_points || rmd_book_find(c, RMD_BOOK_LANE, l->source->rec->id, 0)))
        dirty(c, of_lane(c, l), true);
}

/* ---------------------------------------------------------------- fed */

static bool is_bad(enum rmd_reputation_term t) {
    return t == RMD_REPUTATION_BLOCKED || t == RMD_REPUTATION_COMPLAINTS || t == RMD_REPUTATION_LISTINGS ||
           t == RMD_REPUTATION_QUARANTINES;
}

static void count(struct rmd_coord *c, struct rmd_repute *x, enum rmd_reputation_term t, uint32_t n) {
    rmd_reputation_count(&x->r, c->book.hour, t, n);
    dirty(c, x, is_bad(t));
}

/* Once a message. Only what was tried on a connection says something: the rest of a queue is deferred in the words of one. */
void rmd_book_outcome(struct rmd_coord *c, struct rmd_lease *l, const Remuda__Outcome *o,
                      const struct rmd_verdict *v) {
    if (o->kind != RMD_OUTCOME_DELIVERED &&
        ((o->kind != RMD_OUTCOME_BOUNCED && o->kind != RMD_OUTCOME_DEFERRED) || !o->connection))
        return;
    if (l->lane)
        count(c, of_lane(c, l->lane), rmd_reputation_term_of(o->kind, v, false), 1);
    if (l->pq->provider_id)
        count(c, of_domain(c, l->pq), rmd_reputation_term_of(o->kind, v, true), 1);
}

void rmd_book_alarm(struct rmd_coord *c, struct rmd_lane *l, const Remuda__Alarm *a, const struct rmd_verdict *v) {
    if (a->reply && a->reply->code && a->reply->stage < RMD_STAGE_MAIL)
        count(c, of_lane(c, l), rmd_reputation_term_of(RMD_OUTCOME_DEFERRED, v, false), 1);
}

/* All lanes of the source are judged by it. */
static void touch_source(struct rmd_coord *c, struct rmd_source *s) {
    for (size_t i = 0; i < c->o.n_providers; i++)
        if (s->lane[i])
            dirty(c, of_lane(c, s->lane[i]), true);
}

void rmd_book_stopped(struct rmd_coord *c, struct rmd_source *s, const struct rmd_lane *l) {
    if (l == &s->all) {
        count(c, get(c, RMD_BOOK_LANE, s->rec->id, 0), RMD_REPUTATION_QUARANTINES, 1);
        touch_source(c, s);
    } else {
        count(c, get(c, RMD_BOOK_LANE, s->rec->id, c->o.provider[l->provider]->id), RMD_REPUTATION_QUARANTINES, 1);
        if (s->lane[l->provider])
            of_lane(c, s->lane[l->provider]);
    }
}

/* Of this source, or of the sending domain with this hash. */
static uint32_t listing_points(const Remuda__ListingRecord *r, uint32_t source, uint32_t domain) {
    bool of_domain = !r->source && !r->neighbour && !*r->network;
    if (source ? r->source != source : !of_domain || rmd_fnv32(rmd_slice_str(r->subject)) != domain)
        return 0;
    return r->tier == RMD_TIER_ACT    ? RMD_REPUTATION_ACT_POINTS
           : r->tier == RMD_TIER_SLOW ? RMD_REPUTATION_SLOW_POINTS
                                      : RMD_REPUTATION_ALERT_POINTS;
}

static uint32_t open_points(const struct rmd_coord *c, uint32_t source, uint32_t domain) {
    uint32_t it = 0, points = 0;
    void *v;
    while (rmd_map_next(&c->watchers->open, &it, NULL, &v))
        points += listing_points(((const struct rmd_listing *)v)->rec, source, domain);
    return points;
}

/* While it lasts a listing counts in full; what is left of it afterwards is half of that, and fades. */
void rmd_book_listed(struct rmd_coord *c, const Remuda__ListingRecord *r, bool began) {
    struct rmd_source *s = r->source ? rmd_source_find(c, r->source) : NULL;
    uint32_t hash = rmd_fnv32(rmd_slice_str(r->subject)), points = listing_points(r, s ? s->rec->id : 0, hash);
    if (!points)
        return;
    if (began)
        count(c, s ? get(c, RMD_BOOK_LANE, s->rec->id, 0) : get(c, RMD_BOOK_DOMAIN, hash, 0), RMD_REPUTATION_LISTINGS,
              (points + 1) / 2);
    if (s) {
        s->listed_points = open_points(c, s->rec->id, 0);
        touch_source(c, s);
        return;
    }
    for (size_t i = 0; i < c->o.n_providers; i++) {
        struct rmd_repute *x = rmd_book_find(c, RMD_BOOK_DOMAIN, hash, c->o.provider[i]->id);
        if (x)
            dirty(c, x, true);
    }
}

static bool complain(struct rmd_coord *c, struct rmd_repute *x, uint64_t n) {
    x->r.told = true;
    count(c, x, RMD_REPUTATION_COMPLAINTS, n < 1000000 ? (uint32_t)n : 1000000);
    return true;
}

bool rmd_book_complaints(struct rmd_coord *c, const struct rmd_command *m) {
    size_t p = 0;
    while (p < c->o.n_providers && (!m->provider || strcmp(c->o.provider[p]->name, m->provider) != 0))
        p++;
    if (p == c->o.n_providers || !m->name)
        return false;
    struct rmd_source *s = rmd_source_by_address(c, m->tenant ? m->tenant : 1, m->name);
    if (s)
        return complain(c, of_lane(c, rmd_lane_of(c, s, p)), m->number);
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->streams, &it, NULL, &v))
        if (strcmp(((const struct rmd_stream *)v)->rec->sending_domain, m->name) == 0)
            return complain(c, get(c, RMD_BOOK_DOMAIN, rmd_fnv32(rmd_slice_str(m->name)), c->o.provider[p]->id),
                            m->number);
    return false;
}

/* Told often, and of use for a while only: it is written when its turn comes. */
void rmd_book_paced(struct rmd_coord *c, struct rmd_lane *l, uint32_t per_minute, uint32_t connections,
                    uint32_t per_hour) {
    struct rmd_repute *x = l->repute;
    bool none = !per_minute && !connections && !per_hour;
    if (none && (!x || !(x->pace_per_minute || x->pace_connections || x->pace_per_hour)))
        return;
    x = of_lane(c, l);
    x->pace_per_minute = per_minute;
    x->pace_connections = connections;
    x->pace_per_hour = per_hour;
    x->pace_ledger_ms = c->ledger.now_ms;
    dirty(c, x, false);
}

const char *rmd_book_domain_name(struct rmd_coord *c, uint32_t hash) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->streams, &it, NULL, &v)) {
        const Remuda__StreamRecord *r = ((const struct rmd_stream *)v)->rec;
        if (rmd_fnv32(rmd_slice_str(r->sending_domain)) == hash)
            return r->sending_domain;
    }
    return "(gone)";
}

/* ---------------------------------------------------------------- judged */

void rmd_book_facts(struct rmd_coord *c, const struct rmd_source *s, const char *domain, struct rmd_arena *a,
                    struct rmd_reputation_facts *f) {
    uint32_t hash = domain ? rmd_fnv32(rmd_slice_str(domain)) : 0, it = 0;
    *f = (struct rmd_reputation_facts){.domain = domain, .listed_points = open_points(c, s ? s->rec->id : 0, hash)};
    if (!f->listed_points)
        return;
    struct rmd_buf b = {.limit = 120};
    void *v;
    while (rmd_map_next(&c->watchers->open, &it, NULL, &v)) {
        const Remuda__ListingRecord *r = ((const struct rmd_listing *)v)->rec;
        if (listing_points(r, s ? s->rec->id : 0, hash))
            rmd_buf_addf(&b, "%s%s", b.len ? ", " : "", r->list);
    }
    f->listed_on = rmd_arena_str(a, rmd_buf_slice(&b));
    rmd_buf_release(&b);
}

void rmd_book_of_lane(struct rmd_coord *c, const struct rmd_repute *x, struct rmd_reputation *out,
                      struct rmd_reputation_facts *f) {
    *out = x->r;
    const struct rmd_source *s = x->kind == RMD_BOOK_LANE ? rmd_source_find(c, x->a) : NULL;
    const struct rmd_repute *all = x->b ? rmd_book_find(c, x->kind, x->a, 0) : NULL;
    if (all)
        rmd_reputation_add(out, &all->r, c->book.hour);
    *f = (struct rmd_reputation_facts){.domain = x->kind == RMD_BOOK_DOMAIN};
    f->listed_points = s ? s->listed_points : f->domain ? open_points(c, 0, x->a) : 0;
}

/* The term that took most, for the event. */
static const char *worst(struct rmd_coord *c, const struct rmd_reputation_score *s) {
    const struct rmd_reputation_part *p = NULL;
    for (size_t i = 0; i < s->n; i++)
        if (!p || s->part[i].points < p->points)
            p = &s->part[i];
    if (!p || p->points >= 0)
        return "";
    return rmd_arena_printf(&c->scratch, "; most by %s (%d: %s)", rmd_reputation_term_name(p->term), p->points,
                            p->reason);
}

static void tell(struct rmd_coord *c, const struct rmd_repute *x, enum rmd_reputation_band was,
                 const struct rmd_reputation *r, const struct rmd_reputation_facts *f) {
    static const char *const types[] = {"reputation.fair", "reputation.good", "reputation.poor"};
    struct rmd_reputation_score score;
    rmd_reputation_explain(r, c->book.hour, f, &score);
    const struct rmd_source *s = x->kind == RMD_BOOK_LANE ? rmd_source_find(c, x->a) : NULL;
    Remuda__EventRecord *e = rmd_core_event(c, types[x->band]);
    e->source = s ? s->rec->id : 0;
    e->provider = x->b;
    const char *who = s ? s->rec->address : rmd_book_domain_name(c, x->a);
    e->text = rmd_arena_printf(rmd_arena_after(c), "%s at %s: reputation %u, %s (was %s)%s", who,
                               rmd_provider_name(c, x->b), x->score, rmd_reputation_band_name(x->band),
                               rmd_reputation_band_name(was), worst(c, &score));
}

static void judge(struct rmd_coord *c, struct rmd_repute *x) {
    if (!x->b)
        return; /* of all providers: a part of each one's */
    struct rmd_reputation r;
    struct rmd_reputation_facts f;
    rmd_book_of_lane(c, x, &r, &f);
    x->score = rmd_reputation_number(&r, c->book.hour, &f);
    enum rmd_reputation_band was = x->band;
    x->band = rmd_reputation_band(was, x->score);
    if (x->band == was)
        return;
    dirty(c, x, true);
    tell(c, x, was, &r, &f);
    c->sources_rev++; /* the order of lanes follows from it, and a poor one's share */
    c->deal = true;
}

/* ---------------------------------------------------------------- stored */

static void write_one(struct rmd_coord *c, struct rmd_repute *x) {
    Remuda__ReputationRecord r = REMUDA__REPUTATION_RECORD__INIT;
    r.count = x->r.count;
    r.n_count = RMD_REPUTATION_TERM_COUNT;
    r.hour = x->r.hour;
    r.first_hour = x->r.first_hour;
    r.told = x->r.told;
    r.band = x->band;
    r.pace_per_minute = x->pace_per_minute;
    r.pace_connections = x->pace_connections;
    r.pace_per_hour = x->pace_per_hour;
    r.pace_ledger_ms = x->pace_ledger_ms;
    struct rmd_key k = rmd_key_warm(x->kind, x->a, x->b);
    rmd_core_put(c, &k, &r);
}

static void sweep(struct rmd_coord *c) {
    struct rmd_book *b = &c->book;
    if (b->hour != b->swept_hour) {
        b->swept_hour = b->hour;
        b->to_sweep = b->by_key.n;
    }
    for (int i = 0; i < RMD_BOOK_SWEEP && b->to_sweep; i++, b->to_sweep--) {
        struct rmd_repute *x = rmd_container(b->all.next, struct rmd_repute, all);
        rmd_list_remove(&x->all);
        rmd_list_push(&b->all, &x->all);
        judge(c, x);
    }
}

void rmd_book_flush(struct rmd_coord *c) {
    struct rmd_book *b = &c->book;
    if (c->phase != RMD_PHASE_SERVING)
        return;
    sweep(c);
    if (rmd_list_empty(&b->dirty) || (!b->urgent && c->now.mono_ms < b->judge_mono_ms))
        return;
    b->judge_mono_ms = c->now.mono_ms + RMD_BOOK_JUDGE_MS;
    rmd_list_for(it, &b->dirty) judge(c, rmd_container(it, struct rmd_repute, dirty_link));
    if (!b->urgent && c->now.mono_ms < b->write_mono_ms)
        return;
    b->write_mono_ms = c->now.mono_ms + RMD_BOOK_WRITE_MS;
    b->urgent = false;
    rmd_list_for_safe(it, &b->dirty) {
        struct rmd_repute *x = rmd_container(it, struct rmd_repute, dirty_link);
        rmd_list_remove(it);
        x->dirty = false;
        write_one(c, x);
    }
}

bool rmd_book_restore_row(struct rmd_coord *c, struct rmd_slice key, struct rmd_slice value) {
    const Remuda__ReputationRecord *r = rmd_pb_decode(&remuda__reputation_record__descriptor, value, &c->scratch);
    if (!r)
        return false;
    struct rmd_repute *x = get(c, key.p[1], rmd_get_be32(key.p + 2), rmd_get_be32(key.p + 6));
    for (size_t i = 0; i < r->n_count && i < RMD_REPUTATION_TERM_COUNT; i++)
        x->r.count[i] = r->count[i];
    x->r.hour = r->hour;
    x->r.first_hour = r->first_hour;
    x->r.told = r->told;
    x->band = r->band <= RMD_BAND_POOR ? (enum rmd_reputation_band)r->band : RMD_BAND_FAIR;
    x->pace_per_minute = r->pace_per_minute;
    x->pace_connections = r->pace_connections;
    x->pace_per_hour = r->pace_per_hour;
    x->pace_ledger_ms = r->pace_ledger_ms;
    return true;
}

void rmd_book_restored(struct rmd_coord *c) {
    c->book.hour = c->ledger.now_ms / RMD_LEDGER_HOUR_MS;
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        s->listed_points = open_points(c, s->rec->id, 0);
        for (size_t i = 0; i < c->o.n_providers; i++) {
            if (rmd_book_find(c, RMD_BOOK_LANE, s->rec->id, c->o.provider[i]->id))
                rmd_lane_of(c, s, i); /* it has sent: operators see it */
            if (s->lane[i])
                rmd_book_attach(c, s->lane[i]);
        }
    }
}
