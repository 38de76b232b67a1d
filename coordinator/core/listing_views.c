/* Views of listings, lists and checks; read between steps (see views.c). */
#include "coordinator/core/listing.h"

void rmd_coord_listings(struct rmd_coord *c, void (*fn)(void *, const struct rmd_listing_view *), void *ctx) {
    rmd_list_for(it, &c->watchers->listings) {
        const struct rmd_listing *x = rmd_container(it, struct rmd_listing, link);
        const Remuda__Blocklist *l = rmd_watchers_list(c->watchers, rmd_blocklist_id(x->rec->list));
        struct rmd_listing_view v = {.record = x->rec,
                                     .removal = l ? l->removal : "",
                                     .hint = l ? l->hint : "",
                                     .lifetime_ms = l ? l->lifetime_ms : 0};
        fn(ctx, &v);
    }
}

static uint32_t listings_on(const struct rmd_watchers *w, const char *list) {
    uint32_t n = 0;
    rmd_list_for(it, &w->listings) {
        const Remuda__ListingRecord *r = rmd_container(it, struct rmd_listing, link)->rec;
        n += !r->removed_wall_ms && strcmp(r->list, list) == 0;
    }
    return n;
}

/* Counts are of the list, whatever the kind: one a node. */
static void count_queries(const struct rmd_watchers *w, uint32_t list, struct rmd_list_view *v) {
    uint32_t it = 0;
    void *a, *b;
    while (rmd_map_next(&w->health, &it, NULL, &a)) {
        const struct rmd_list_health *h = a;
        bool first = h->list == list;
        for (uint32_t jt = 0; first && rmd_map_next(&w->health, &jt, NULL, &b) && b != a;) {
            const struct rmd_list_health *k = b;
            first = k->list != list || k->node != h->node;
        }
        v->hour += first ? h->hour : 0;
        v->day += first ? h->day : 0;
    }
}

bool rmd_coord_watches(const struct rmd_coord *c) {
    return c->watchers->enabled;
}

void rmd_coord_lists(struct rmd_coord *c, void (*fn)(void *, const struct rmd_list_view *), void *ctx) {
    const struct rmd_watchers *w = c->watchers;
    for (size_t i = 0; i < w->n_lists; i++) {
        const Remuda__Blocklist *l = w->list[i];
        uint32_t id = rmd_blocklist_id(l->name), it = 0;
        void *x;
        rmd_arena_reset(&c->view);
        struct rmd_list_health_view *health = rmd_arena_alloc(&c->view, (w->health.n + 1) * sizeof *health);
        struct rmd_list_view v = {.list = l,
                                  .asked = w->enabled && l->enabled,
                                  .off_because = l->enabled ? w->enabled ? "" : "the watch is off" : l->off_because,
                                  .listings = listings_on(w, l->name),
                                  .health = health};
        count_queries(w, id, &v);
        while (v.asked && rmd_map_next(&w->health, &it, NULL, &x)) {
            const struct rmd_list_health *h = x;
            const struct rmd_node *n = rmd_node_find(c, h->node);
            if (h->list == id && n && !n->rec->state)
                health[v.n_health++] = (struct rmd_list_health_view){.node = n->rec->name,
                                                                     .kind = rmd_list_kind_name(h->kind),
                                                                     .state = rmd_list_state_name(h->state),
                                                                     .why = h->why,
                                                                     .last_error = h->last_error,
                                                                     .tested_wall_ms = h->tested_wall_ms};
        }
        fn(ctx, &v);
    }
}

bool rmd_coord_check(struct rmd_coord *c, uint64_t number, void (*fn)(void *, const struct rmd_check_view *),
                     void *ctx) {
    const struct rmd_check *k = NULL;
    rmd_list_for(it, &c->watchers->checks) {
        const struct rmd_check *x = rmd_container(it, struct rmd_check, link);
        if (x->id == number)
            k = x;
    }
    for (size_t i = 0; k && i < k->n_results; i++) {
        const struct rmd_check_result *r = &k->result[i];
        const Remuda__Blocklist *l = rmd_watchers_list(c->watchers, r->list);
        struct rmd_list_judgement j = {.state = (enum rmd_finding_state)r->state};
        char codes[128];
        if (!l)
            continue;
        if (r->state == RMD_FINDING_LISTED)
            rmd_blocklist_judge_codes(l, r->answer, r->n_answer, &j);
        rmd_blocklist_codes_format(r->answer, r->n_answer, codes, sizeof codes);
        bool listed = r->answered && j.state == RMD_FINDING_LISTED;
        const struct rmd_listing *x = listed ? rmd_listing_find(c, l->name, k->subject) : NULL;
        struct rmd_check_view v = {.list = l->name,
                                   .state = r->answered ? rmd_finding_name(j.state) : "not answered",
                                   .text = listed || j.state == RMD_FINDING_UNKNOWN ? listed ? j.text : r->text : "",
                                   .evidence = x ? x->rec->evidence : "",
                                   .codes = codes,
                                   .tier = listed ? j.snowshoe ? "snowshoe" : rmd_tier_name(j.tier) : ""};
        fn(ctx, &v);
    }
    return k != NULL;
}
