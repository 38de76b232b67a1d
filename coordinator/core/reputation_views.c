/* Reputations as operators see them: of lanes and sources, networks and sending domains, term by term. */
#include "coordinator/core/core.h"

struct out {
    void (*fn)(void *, const struct rmd_reputation_view *);
    void *ctx;
    struct rmd_reputation_view v;
    struct rmd_arena arena; /* of names */
};

static void show(struct rmd_coord *c, struct out *o, const char *kind, const char *name, const char *provider,
                 const struct rmd_reputation *r, const struct rmd_reputation_facts *f, const struct rmd_repute *x) {
    o->v.kind = kind;
    o->v.name = name;
    o->v.provider = provider;
    rmd_reputation_explain(r, c->book.hour, f, &o->v.score);
    o->v.band = rmd_reputation_band_name(x ? x->band : rmd_reputation_band(RMD_BAND_FAIR, o->v.score.score));
    o->fn(o->ctx, &o->v);
}

static void add_lanes(struct rmd_coord *c, const struct rmd_source *s, struct rmd_reputation *sum) {
    for (size_t i = 0; i < c->o.n_providers; i++)
        if (s->lane[i] && s->lane[i]->repute)
            rmd_reputation_add(sum, &s->lane[i]->repute->r, c->book.hour);
    const struct rmd_repute *all = rmd_book_find(c, RMD_BOOK_LANE, s->rec->id, 0);
    if (all)
        rmd_reputation_add(sum, &all->r, c->book.hour);
}

void rmd_book_of_source(struct rmd_coord *c, const struct rmd_source *s, struct rmd_reputation *sum) {
    *sum = (struct rmd_reputation){0};
    add_lanes(c, s, sum);
}

static void show_source(struct rmd_coord *c, struct out *o, const struct rmd_source *s) {
    struct rmd_reputation r;
    struct rmd_reputation_facts f, lane;
    rmd_book_facts(c, s, NULL, &o->arena, &f);
    rmd_book_of_source(c, s, &r);
    show(c, o, "source", s->rec->address, NULL, &r, &f, NULL);
    for (size_t i = 0; i < c->o.n_providers; i++) {
        const struct rmd_repute *x = s->lane[i] ? s->lane[i]->repute : NULL;
        if (!x)
            continue;
        rmd_book_of_lane(c, x, &r, &lane);
        show(c, o, "lane", s->rec->address, c->o.provider[i]->name, &r, &f, x);
    }
}

/* Of all its sources; their listings are told by the sources themselves, and count here by their mean. */
static void show_network(struct rmd_coord *c, struct out *o, const struct rmd_net *net) {
    struct rmd_reputation sum = {0};
    struct rmd_reputation_facts f = {0};
    uint32_t it = 0, n = 0, listed = 0;
    void *v;
    const char *name = NULL;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        const struct rmd_source *s = v;
        if (s->net != net || s->rec->state == RMD_SOURCE_RETIRED)
            continue;
        add_lanes(c, s, &sum);
        f.listed_points += s->listed_points;
        listed += s->listed_points > 0;
        name = s->network;
        n++;
    }
    if (!name)
        return;
    f.listed_points /= n;
    sum.count[RMD_REPUTATION_LISTINGS] /= n;
    sum.count[RMD_REPUTATION_QUARANTINES] /= n;
    if (f.listed_points)
        f.listed_on = rmd_arena_printf(&o->arena, "lists: %u of its %u sources", listed, n);
    show(c, o, "network", name, NULL, &sum, &f, NULL);
}

static void show_domain(struct rmd_coord *c, struct out *o, const char *name) {
    uint32_t hash = rmd_fnv32(rmd_slice_str(name));
    struct rmd_reputation sum = {0}, r;
    struct rmd_reputation_facts f, own;
    rmd_book_facts(c, NULL, name, &o->arena, &f);
    const struct rmd_repute *all = rmd_book_find(c, RMD_BOOK_DOMAIN, hash, 0);
    if (all)
        rmd_reputation_add(&sum, &all->r, c->book.hour);
    for (size_t i = 0; i < c->o.n_providers; i++) {
        const struct rmd_repute *x = rmd_book_find(c, RMD_BOOK_DOMAIN, hash, c->o.provider[i]->id);
        if (x)
            rmd_reputation_add(&sum, &x->r, c->book.hour);
    }
    show(c, o, "domain", name, NULL, &sum, &f, NULL);
    for (size_t i = 0; i < c->o.n_providers; i++) {
        const struct rmd_repute *x = rmd_book_find(c, RMD_BOOK_DOMAIN, hash, c->o.provider[i]->id);
        if (!x)
            continue;
        rmd_book_of_lane(c, x, &r, &own);
        show(c, o, "domain", name, c->o.provider[i]->name, &r, &f, x);
    }
}

/* Streams may share a sending domain: the first of them shows it. */
static bool shown_before(struct rmd_coord *c, const struct rmd_stream *st) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(&c->streams, &it, NULL, &v) && v != st)
        if (strcmp(((const struct rmd_stream *)v)->rec->sending_domain, st->rec->sending_domain) == 0)
            return true;
    return false;
}

void rmd_coord_reputations(struct rmd_coord *c, void (*fn)(void *, const struct rmd_reputation_view *), void *ctx) {
    struct out o = {.fn = fn, .ctx = ctx};
    uint32_t it = 0;
    void *v;
    if (c->phase != RMD_PHASE_SERVING)
        return;
    while (rmd_map_next(&c->sources, &it, NULL, &v))
        if (((const struct rmd_source *)v)->rec->state != RMD_SOURCE_RETIRED)
            show_source(c, &o, v);
    for (it = 0; rmd_map_next(&c->nets, &it, NULL, &v);)
        show_network(c, &o, v);
    for (it = 0; rmd_map_next(&c->streams, &it, NULL, &v);)
        if (!shown_before(c, v))
            show_domain(c, &o, ((const struct rmd_stream *)v)->rec->sending_domain);
    rmd_arena_release(&o.arena);
}

void rmd_book_view_lane(struct rmd_coord *c, const struct rmd_lane *l, struct rmd_lane_view *out) {
    const struct rmd_repute *x = l->repute;
    out->reputation = RMD_REPUTATION_NEUTRAL;
    out->reputation_band = rmd_reputation_band_name(RMD_BAND_FAIR);
    out->few = true;
    out->poor_hour = rmd_book_poor(c, l) ? rmd_reputation_poor_hour(out->cap) : 0;
    if (x) {
        struct rmd_reputation r;
        struct rmd_reputation_facts f;
        struct rmd_reputation_score s;
        rmd_book_of_lane(c, x, &r, &f);
        rmd_reputation_explain(&r, c->book.hour, &f, &s);
        out->reputation = s.score;
        out->few = s.few;
        out->reputation_band = rmd_reputation_band_name(x->band);
    }
    out->pace = l->pace;
    out->pace_told_ms_ago = l->pace ? c->now.mono_ms - l->pace->told_mono_ms : -1;
}

void rmd_book_view_source(struct rmd_coord *c, const struct rmd_source *s, struct rmd_source_view *out) {
    struct rmd_reputation r;
    struct rmd_reputation_facts f = {.listed_points = s->listed_points};
    struct rmd_reputation_score score;
    rmd_book_of_source(c, s, &r);
    rmd_reputation_explain(&r, c->book.hour, &f, &score);
    out->reputation = score.score;
    out->few = score.few;
    out->reputation_band = rmd_reputation_band_name(rmd_reputation_band(RMD_BAND_FAIR, score.score));
}
