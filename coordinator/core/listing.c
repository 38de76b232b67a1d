/* Listings: found, found again, ended; their records and their history (see listing.h). */
#include "coordinator/core/listing.h"

enum { CONFIRMS_FOR_MS = 3 * 3600 * 1000 };

static struct rmd_slice key_of(struct rmd_buf *b, const char *list, const char *subject) {
    rmd_buf_addf(b, "%s %s", list, subject);
    return rmd_buf_slice(b);
}

struct rmd_listing *rmd_listing_find(const struct rmd_coord *c, const char *list, const char *subject) {
    struct rmd_buf b = {0};
    struct rmd_listing *x = rmd_map_get(&c->watchers->open, key_of(&b, list, subject));
    rmd_buf_release(&b);
    return x;
}

struct rmd_source *rmd_listing_source(struct rmd_coord *c, const char *address) {
    struct rmd_addr a, b;
    uint32_t it = 0;
    void *v;
    if (rmd_addr_parse(address, &a) != RMD_OK)
        return NULL;
    while (rmd_map_next(&c->sources, &it, NULL, &v)) {
        struct rmd_source *s = v;
        if (rmd_addr_parse(s->rec->address, &b) == RMD_OK && rmd_addr_eq(&a, &b))
            return s;
    }
    return NULL;
}

void rmd_listing_event(struct rmd_coord *c, const char *type, const struct rmd_listing *x, const char *text) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->source = x->rec->source;
    e->incident = x->rec->n_incident ? x->rec->incident[0] : 0;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(text));
}

/* ---------------------------------------------------------------- records */

static void listing_free(struct rmd_listing *x) {
    rmd_list_remove(&x->link);
    remuda__listing_record__free_unpacked(x->rec, NULL);
    free(x);
}

void rmd_listings_free(struct rmd_watchers *w) {
    rmd_list_for_safe(it, &w->listings) listing_free(rmd_container(it, struct rmd_listing, link));
    rmd_map_release(&w->open);
}

static void dirty(struct rmd_coord *c, struct rmd_listing *x) {
    x->dirty = c->watchers->dirty = true;
}

/* Newest first. */
void rmd_listing_restore(struct rmd_coord *c, Remuda__ListingRecord *r) {
    struct rmd_watchers *w = c->watchers;
    struct rmd_listing *x = rmd_alloc(sizeof *x);
    x->rec = r;
    rmd_list_push_front(&w->listings, &x->link);
    if (r->removed_wall_ms) {
        w->n_ended++;
        return;
    }
    struct rmd_buf b = {0};
    rmd_map_set(&w->open, key_of(&b, r->list, r->subject), x);
    rmd_buf_release(&b);
}

void rmd_listings_flush(struct rmd_coord *c) {
    struct rmd_watchers *w = c->watchers;
    if (!w->dirty)
        return;
    w->dirty = false;
    rmd_list_for(it, &w->listings) {
        struct rmd_listing *x = rmd_container(it, struct rmd_listing, link);
        if (!x->dirty)
            continue;
        x->dirty = false;
        struct rmd_key k = rmd_key_listing(x->rec->id);
        rmd_core_put(c, &k, x->rec);
    }
    for (struct rmd_list *it = w->listings.prev; w->n_ended > RMD_LISTINGS_KEPT && it != &w->listings;) {
        struct rmd_listing *old = rmd_container(it, struct rmd_listing, link);
        it = it->prev;
        if (!old->rec->removed_wall_ms)
            continue;
        struct rmd_key k = rmd_key_listing(old->rec->id);
        rmd_core_delete(c, &k);
        listing_free(old);
        w->n_ended--;
    }
}

void rmd_listing_link(struct rmd_coord *c, struct rmd_listing *x, uint64_t incident) {
    Remuda__ListingRecord *r = x->rec;
    for (size_t i = 0; i < r->n_incident; i++)
        if (r->incident[i] == incident)
            return;
    r->incident = rmd_realloc(r->incident, (r->n_incident + 1) * sizeof *r->incident);
    r->incident[r->n_incident++] = incident;
    dirty(c, x);
}

/* ---------------------------------------------------------------- found */

static uint32_t times_before(const struct rmd_watchers *w, const char *list, const char *subject) {
    uint32_t n = 0;
    rmd_list_for(it, &w->listings) {
        const Remuda__ListingRecord *r = rmd_container(it, struct rmd_listing, link)->rec;
        n += r->removed_wall_ms && strcmp(r->subject, subject) == 0 && strcmp(r->list, list) == 0;
    }
    return n;
}

static struct rmd_listing *listing_new(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject,
                                       bool neighbour) {
    struct rmd_watchers *w = c->watchers;
    Remuda__ListingRecord *r = rmd_alloc(sizeof *r);
    remuda__listing_record__init(r);
    r->id = ++c->meta->next_listing;
    c->meta_dirty = true;
    rmd_str_set(&r->list, l->name);
    rmd_str_set(&r->subject, subject);
    r->neighbour = neighbour;
    r->relisted = times_before(w, l->name, subject);
    r->first_wall_ms = c->now.wall_ms;
    const struct rmd_source *s = neighbour ? NULL : rmd_listing_source(c, subject);
    struct rmd_addr a;
    char network[56] = "";
    if (rmd_addr_parse(subject, &a) == RMD_OK)
        rmd_network_format(&a, network);
    rmd_str_set(&r->network, network);
    r->source = s ? s->rec->id : 0;
    rmd_listing_restore(c, r);
    return rmd_container(w->listings.next, struct rmd_listing, link);
}

/* The answer's codes and what they mean; true: it is worse than what was acted upon. */
static bool update(struct rmd_listing *x, const Remuda__Finding *f, const struct rmd_list_judgement *j, bool fresh) {
    Remuda__ListingRecord *r = x->rec;
    uint32_t tier = r->neighbour ? RMD_TIER_ALERT : j->tier;
    bool worse = fresh || tier > r->tier || (j->snowshoe && !r->snowshoe);
    free(r->answer);
    r->answer = rmd_memdup(f->answer, f->n_answer * sizeof *f->answer);
    r->n_answer = f->n_answer;
    r->tier = tier;
    r->snowshoe = j->snowshoe;
    rmd_str_set(&r->meaning, j->text);
    if (*f->text)
        rmd_str_set(&r->evidence, f->text);
    return worse;
}

static int64_t apart_ms(const Remuda__Blocklist *l) {
    return l->interval_ms / 2 < RMD_WATCH_CLEAN_APART_MS ? l->interval_ms / 2 : RMD_WATCH_CLEAN_APART_MS;
}

/* What it stood for isn't so any more, by two checks with time between them. */
static bool seen_twice(struct rmd_coord *c, const Remuda__Blocklist *l, struct rmd_listing *x) {
    Remuda__ListingRecord *r = x->rec;
    dirty(c, x);
    if (!r->clean++) {
        r->clean_wall_ms = c->now.wall_ms;
        return false;
    }
    int64_t since = c->now.wall_ms - r->clean_wall_ms;
    if (since < 0) /* the clock went back */
        r->clean_wall_ms = c->now.wall_ms;
    return since >= apart_ms(l);
}

/* Still listed, for something that is less, or something else: what the listing stopped has no reason left. */
static bool is_milder(const struct rmd_listing *x, const struct rmd_list_judgement *j) {
    return !x->rec->neighbour &&
           (j->tier < x->rec->tier || (x->rec->snowshoe && !j->snowshoe && j->tier == x->rec->tier));
}

static void found(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject, bool neighbour,
                  const Remuda__Finding *f, const struct rmd_list_judgement *j) {
    struct rmd_listing *x = rmd_listing_find(c, l->name, subject);
    if (x && is_milder(x, j)) {
        if (!seen_twice(c, l, x))
            return;
        rmd_listing_end(c, x, "listed for something else now, by two checks");
        x = NULL;
    }
    bool fresh = !x, words = x && *f->text && !*x->rec->evidence;
    if (fresh && c->watchers->open.n >= RMD_LISTINGS_OPEN_MAX)
        return;
    if (fresh)
        x = listing_new(c, l, subject, neighbour);
    x->rec->last_wall_ms = c->now.wall_ms;
    x->rec->clean = 0;
    bool was_slow = !fresh && x->rec->tier == RMD_TIER_SLOW;
    bool worse = update(x, f, j, fresh);
    dirty(c, x);
    if (was_slow != (x->rec->tier == RMD_TIER_SLOW))
        rmd_listing_paced(c, x);
    if (worse) {
        char codes[64];
        rmd_blocklist_codes_format(x->rec->answer, x->rec->n_answer, codes, sizeof codes);
        rmd_listing_event(c, fresh ? "listing.found" : "listing.worse", x,
                          rmd_arena_printf(&c->scratch, "%s%s is on %s (%s: %s)%s%s", neighbour ? "neighbour " : "",
                                           subject, l->name, codes, x->rec->meaning, *f->text ? ": " : "", f->text));
        rmd_core_warn(c, "blocklists: %s%s is on %s (%s: %s)", neighbour ? "neighbour " : "", subject, l->name, codes,
                      x->rec->meaning);
        rmd_book_listed(c, x->rec, fresh);
        rmd_listing_act(c, l, x);
    } else if (words) {
        rmd_listing_cause(c, x);
    }
}

/* ---------------------------------------------------------------- ended */

void rmd_listing_end(struct rmd_coord *c, struct rmd_listing *x, const char *why) {
    struct rmd_buf b = {0};
    struct rmd_watchers *w = c->watchers;
    Remuda__ListingRecord *r = x->rec;
    char lasted[32];
    rmd_map_remove(&w->open, key_of(&b, r->list, r->subject));
    rmd_buf_release(&b);
    r->removed_wall_ms = c->now.wall_ms;
    w->n_ended++;
    dirty(c, x);
    rmd_format_duration(r->removed_wall_ms - r->first_wall_ms, lasted);
    const char *text = rmd_arena_printf(&c->scratch, "%s and %s: %s, after %s", r->subject, r->list, why, lasted);
    rmd_listing_event(c, "listing.removed", x, text);
    rmd_core_log(c, "blocklists: %s", text);
    rmd_listing_paced(c, x);
    rmd_book_listed(c, r, false);
    rmd_listing_undo(c, x, rmd_arena_printf(&c->scratch, "%s: %s", r->list, why));
}

static void clean(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject) {
    struct rmd_listing *x = rmd_listing_find(c, l->name, subject);
    if (x && seen_twice(c, l, x))
        rmd_listing_end(c, x, "not listed any more, by two checks");
}

void rmd_listing_found(struct rmd_coord *c, const Remuda__Blocklist *l, const char *subject, bool neighbour,
                       const Remuda__Finding *f) {
    struct rmd_list_judgement j = {.state = (enum rmd_finding_state)f->state};
    if (f->state == RMD_FINDING_LISTED)
        rmd_blocklist_judge_codes(l, f->answer, f->n_answer, &j); /* by our own copy of the list */
    if (j.state == RMD_FINDING_LISTED)
        found(c, l, subject, neighbour, f, &j);
    else if (j.state == RMD_FINDING_CLEAN)
        clean(c, l, subject);
    if (j.state != RMD_FINDING_UNKNOWN)
        rmd_listing_range(c, l, subject, neighbour, j.state == RMD_FINDING_LISTED);
}

/* ---------------------------------------------------------------- what others ask */

static struct rmd_listing *open_of(struct rmd_coord *c, const struct rmd_source *s, uint32_t tier, bool snowshoe) {
    rmd_list_for(it, &c->watchers->listings) {
        struct rmd_listing *x = rmd_container(it, struct rmd_listing, link);
        const Remuda__ListingRecord *r = x->rec;
        if (!r->removed_wall_ms && r->source == s->rec->id && r->tier == tier && r->snowshoe == snowshoe)
            return x;
    }
    return NULL;
}

/* What was found hours ago, by nodes that were away since, corroborates nothing. */
bool rmd_listing_confirmed(struct rmd_coord *c, const struct rmd_source *s) {
    const struct rmd_listing *x = c->watchers->open.n ? open_of(c, s, RMD_TIER_ACT, false) : NULL;
    return x && c->now.wall_ms - x->rec->last_wall_ms < CONFIRMS_FOR_MS;
}

bool rmd_listing_snowshoe(struct rmd_coord *c, const struct rmd_source *s) {
    return c->watchers->open.n && open_of(c, s, RMD_TIER_ACT, true);
}

uint32_t rmd_listing_pace(struct rmd_coord *c, const struct rmd_source *s) {
    return c->watchers->open.n && open_of(c, s, RMD_TIER_SLOW, false) ? RMD_SLOW_PERCENT : 0;
}

/* ---------------------------------------------------------------- commands */

static void check(struct rmd_coord *c, const struct rmd_command *m) {
    char name[RMD_DOMAIN_MAX + 1];
    uint32_t kind = m->name && rmd_copy(name, sizeof name, m->name) ? rmd_subject_kind(m->name) : 0;
    if (!kind || (kind == RMD_LIST_DOMAIN && !strchr(m->name, '.'))) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "\"%.64s\" is neither an address nor a domain",
                       m->name ? m->name : "");
        return;
    }
    rmd_lower_str(name);
    if (!c->watchers->enabled) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0,
                       "the blocklist watch is off: set watch.enabled in the coordinator's configuration");
        return;
    }
    if (!rmd_watchers_check(c, name, NULL, 0, m->token, 0, 0))
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0,
                       "no list that is asked has such subjects, or too many checks are under way");
}

static void removal_asked(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_listing *x = m->name && m->text ? rmd_listing_find(c, m->text, m->name) : NULL;
    if (!x) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0,
                       "%.64s is not on %.64s, as far as is known; see `remuda listings`", m->name ? m->name : "",
                       m->text ? m->text : "");
        return;
    }
    x->rec->removal_asked_wall_ms = c->now.wall_ms;
    rmd_str_set(&x->rec->removal_note, m->reason ? m->reason : "");
    dirty(c, x);
    rmd_listing_event(c, "listing.removal_asked", x,
                      rmd_arena_printf(&c->scratch, "%s: removal of %s was asked for%s%s", x->rec->list,
                                       x->rec->subject, m->reason && *m->reason ? ": " : "",
                                       m->reason ? m->reason : ""));
    rmd_core_reply(c, m->token, RMD_OK, x->rec->id, "noted");
}

void rmd_listing_command(struct rmd_coord *c, const struct rmd_command *m) {
    if (m->kind == RMD_CMD_LISTING_CHECK)
        check(c, m);
    else
        removal_asked(c, m);
}
