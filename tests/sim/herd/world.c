/* A world: memory of receivers, and time. What happens by itself happens here: complaints arrive, events begin, hours are counted, the operator asks for removal once a day. */
#include "tests/sim/herd/world.h"

#include <assert.h>

#include <base/text.h>

uint64_t herd_hash(const struct herd_world *w, enum herd_purpose p, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t h = rmd_mix64(w->seed ^ (uint64_t)p << 56);
    h = rmd_mix64(h ^ a);
    h = rmd_mix64(h ^ b * 0x9e3779b97f4a7c15u);
    return rmd_mix64(h ^ c * 0xc2b2ae3d27d4eb4fu);
}

/* ---- life */

static void count_people(struct herd_world *w, uint32_t c) {
    const struct herd_campaign *k = &w->s->campaign[c];
    for (uint32_t row = 0; row < k->rows; row++) {
        struct herd_traits t;
        herd_traits(w, k->list, herd_number(w, c, row), &t);
        struct herd_count *n = herd_count_of(w, c, t.site);
        n->messages++;
        n->people += t.kind == HERD_PERSON;
    }
}

struct herd_world *herd_world_new(const struct herd_scenario *s, uint64_t seed) {
    struct herd_world *w = rmd_alloc(sizeof *w);
    w->s = s;
    w->seed = seed;
    w->hour = 0;
    w->site = rmd_alloc(s->n_sites * sizeof *w->site);
    w->listing = rmd_alloc((s->n_blocklists * s->n_sources + 1) * sizeof *w->listing);
    w->net_listing = rmd_alloc((s->n_blocklists * s->n_networks + 1) * sizeof *w->net_listing);
    w->campaign = rmd_alloc(s->n_campaigns * sizeof *w->campaign);
    w->suppressed = rmd_alloc(s->n_lists * sizeof *w->suppressed);
    w->complained = rmd_alloc(s->n_lists * sizeof *w->complained);
    w->count = rmd_alloc((size_t)s->n_streams * s->n_receivers * sizeof *w->count);
    w->connections = rmd_alloc(s->n_receivers * sizeof *w->connections);
    w->refused_connections = rmd_alloc(s->n_receivers * sizeof *w->refused_connections);
    w->refused_4xx = rmd_alloc(s->n_receivers * sizeof *w->refused_4xx);
    w->lost = rmd_alloc(s->n_sources * sizeof *w->lost);
    for (uint32_t c = 0; c < s->n_campaigns; c++) {
        w->campaign[c].message = rmd_alloc(s->campaign[c].rows * sizeof *w->campaign[c].message);
        w->campaign[c].open = s->campaign[c].rows;
        count_people(w, c);
    }
    return w;
}

static void heap_free(struct rmd_heap *h) {
    struct rmd_heap_node *n;
    while ((n = rmd_heap_min(h))) {
        rmd_heap_remove(h, n);
        free(rmd_container(n, struct herd_complaint, node));
    }
    rmd_heap_release(h);
}

static void site_free(const struct herd_world *w, struct herd_site_state *st) {
    for (uint32_t i = 0; st->lane && i < w->s->n_sources; i++)
        free(st->lane[i]);
    for (uint32_t i = 0; st->domain && i < w->s->n_domains; i++)
        free(st->domain[i]);
    free(st->lane);
    free(st->domain);
    free(st->network);
}

void herd_world_free(struct herd_world *w) {
    if (!w)
        return;
    for (uint32_t i = 0; i < w->s->n_sites; i++)
        site_free(w, &w->site[i]);
    for (uint32_t c = 0; c < w->s->n_campaigns; c++)
        free(w->campaign[c].message);
    for (uint32_t i = 0; i < w->s->n_lists; i++) {
        free(w->suppressed[i]);
        free(w->complained[i]);
    }
    heap_free(&w->complaints);
    heap_free(&w->reports);
    rmd_map_release(&w->grey);
    rmd_buf_release(&w->reply);
    void *const all[] = {
        w->site,   w->listing,     w->net_listing,         w->campaign,    w->suppressed, w->complained,
        w->count,  w->connections, w->refused_connections, w->refused_4xx, w->lost,       w->conn,
        w->barred, w->barred_net};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(w);
}

const struct herd_scenario *herd_scenario_of(const struct herd_world *w) {
    return w->s;
}
uint64_t herd_seed(const struct herd_world *w) {
    return w->seed;
}
int64_t herd_end_ms(const struct herd_world *w) {
    return (int64_t)w->s->days * HERD_DAY_MS;
}

/* ---- memory of sites, made when somebody comes */

static uint64_t usual_at(const struct herd_world *w, uint64_t per_day, uint32_t site) {
    const struct herd_receiver *r = &w->s->receiver[w->s->site[site].receiver];
    return (per_day * r->share_ppm / r->n_sites + HERD_PPM / 2) / HERD_PPM;
}

struct herd_lane *herd_lane(struct herd_world *w, uint32_t source, uint32_t site) {
    struct herd_site_state *st = &w->site[site];
    if (!st->lane)
        st->lane = rmd_alloc(w->s->n_sources * sizeof *st->lane);
    struct herd_lane *l = st->lane[source];
    if (!l) {
        const struct herd_source *x = &w->s->source[source];
        l = st->lane[source] = rmd_alloc(sizeof *l);
        l->source = source;
        l->site = site;
        l->pace_ppm = HERD_PPM;
        l->refused_ms = INT64_MIN / 2;              /* never */
        l->accepted = x->age_days ? UINT32_MAX : 0; /* known, for greylists */
        herd_standing_new(&l->st, x->age_days, usual_at(w, x->usual_per_day, site));
    }
    return l;
}

struct herd_sender_lane *herd_sender_lane(struct herd_world *w, uint32_t domain, uint32_t site) {
    struct herd_site_state *st = &w->site[site];
    if (!st->domain)
        st->domain = rmd_alloc(w->s->n_domains * sizeof *st->domain);
    if (!st->domain[domain]) {
        const struct herd_domain *x = &w->s->domain[domain];
        st->domain[domain] = rmd_alloc(sizeof *st->domain[domain]);
        herd_standing_new(&st->domain[domain]->st, x->age_days, usual_at(w, x->usual_per_day, site));
    }
    return st->domain[domain];
}

/* ---- blocks */

const struct herd_bar *herd_barred(const struct herd_world *w, uint32_t source, uint32_t site) {
    const struct herd_site_state *st = &w->site[site];
    const struct herd_lane *l = st->lane ? st->lane[source] : NULL;
    if (l && herd_bar_holds(&l->block, w->now_ms))
        return &l->block;
    const struct herd_bar *net = st->network ? &st->network[w->s->source[source].network] : NULL;
    return net && herd_bar_holds(net, w->now_ms) ? net : NULL;
}

static void bar_start(struct herd_world *w, struct herd_bar *b, const struct herd_rule *rule, int64_t for_ms) {
    if (!herd_bar_holds(b, w->now_ms)) {
        b->from_ms = w->now_ms;
        b->asked = false;
        w->blocks++;
        b->until_ms = 0;
    }
    if (w->now_ms + for_ms > b->until_ms)
        b->until_ms = w->now_ms + for_ms;
    b->reply = rule->reply;
    b->stage = rule->stage;
}

static void network_block(struct herd_world *w, uint32_t network, uint32_t site, const struct herd_rule *rule,
                          int64_t for_ms) {
    struct herd_site_state *st = &w->site[site];
    if (!st->network)
        st->network = rmd_alloc(w->s->n_networks * sizeof *st->network);
    bar_start(w, &st->network[network], rule, for_ms);
    if (st->network[network].in_list)
        return;
    st->network[network].in_list = true;
    if (w->n_barred_net == w->cap_barred_net) {
        w->cap_barred_net = w->cap_barred_net ? w->cap_barred_net * 2 : 16;
        w->barred_net = rmd_realloc(w->barred_net, w->cap_barred_net * sizeof *w->barred_net);
    }
    w->barred_net[w->n_barred_net].site = site;
    w->barred_net[w->n_barred_net++].network = network;
}

void herd_block(struct herd_world *w, struct herd_lane *l, const struct herd_rule *rule, int64_t for_ms) {
    bar_start(w, &l->block, rule, for_ms);
    if (!l->block.in_list) {
        l->block.in_list = true;
        if (w->n_barred == w->cap_barred) {
            w->cap_barred = w->cap_barred ? w->cap_barred * 2 : 64;
            w->barred = rmd_realloc(w->barred, w->cap_barred * sizeof(struct herd_lane *));
        }
        w->barred[w->n_barred++] = l;
    }
    const struct herd_rules *r = herd_rules_of(w, l->site);
    if (!r->network.r.on)
        return;
    uint32_t network = w->s->source[l->source].network;
    int64_t n = 0;
    for (uint32_t i = 0; i < w->s->n_sources; i++) {
        const struct herd_lane *x = w->site[l->site].lane[i];
        n += x && w->s->source[i].network == network && herd_bar_holds(&x->block, w->now_ms);
    }
    if (n >= r->network.sources)
        network_block(w, network, l->site, &r->network.r, r->network.block_ms);
}

/* ---- hours: what is lost, and what the operator asks for */

static uint32_t share_of_site(const struct herd_world *w, uint32_t site) {
    const struct herd_receiver *r = &w->s->receiver[w->s->site[site].receiver];
    return r->share_ppm / r->n_sites;
}

static bool network_holds(const struct herd_world *w, uint32_t source, uint32_t site) {
    const struct herd_site_state *st = &w->site[site];
    return st->network && herd_bar_holds(&st->network[w->s->source[source].network], w->now_ms);
}

static void lose(struct herd_world *w, uint32_t source, uint32_t site) {
    if (herd_believed(w, w->s->site[site].receiver, source) < 0)
        w->lost[source] += share_of_site(w, site);
}

static void lost_lanes(struct herd_world *w) {
    size_t kept = 0;
    for (size_t i = 0; i < w->n_barred; i++) {
        struct herd_lane *l = w->barred[i];
        if (!herd_bar_holds(&l->block, w->now_ms)) {
            l->block.in_list = false;
            continue;
        }
        w->barred[kept++] = l;
        if (!network_holds(w, l->source, l->site))
            lose(w, l->source, l->site);
    }
    w->n_barred = kept;
}

static void lost_networks(struct herd_world *w) {
    size_t kept = 0;
    for (size_t i = 0; i < w->n_barred_net; i++) {
        uint32_t site = w->barred_net[i].site, network = w->barred_net[i].network;
        if (!herd_bar_holds(&w->site[site].network[network], w->now_ms)) {
            w->site[site].network[network].in_list = false;
            continue;
        }
        w->barred_net[kept++] = w->barred_net[i];
        for (uint32_t s = 0; s < w->s->n_sources; s++)
            if (w->s->source[s].network == network)
                lose(w, s, site);
    }
    w->n_barred_net = kept;
}

static void count_lost(struct herd_world *w) {
    memset(w->lost, 0, w->s->n_sources * sizeof *w->lost);
    for (uint32_t s = 0; w->s->n_blocklists && s < w->s->n_sources; s++)
        for (uint32_t r = 0; r < w->s->n_receivers; r++)
            if (herd_believed(w, r, s) >= 0)
                w->lost[s] += w->s->receiver[r].share_ppm;
    lost_lanes(w);
    lost_networks(w);
    for (uint32_t s = 0; s < w->s->n_sources; s++)
        w->lost_ppm_hours += w->lost[s] < HERD_PPM ? w->lost[s] : HERD_PPM;
}

static void ask(struct herd_world *w, struct herd_bar *b, const struct herd_rules *r) {
    if (!r->form.r.on || b->asked || !herd_bar_holds(b, w->now_ms) || b->forms >= r->form.granted)
        return;
    b->asked = true;
    b->forms++;
    if (w->now_ms + r->form.takes_ms < b->until_ms)
        b->until_ms = w->now_ms + r->form.takes_ms;
}

static void operator_looks(struct herd_world *w) {
    for (size_t i = 0; i < w->n_barred; i++)
        ask(w, &w->barred[i]->block, herd_rules_of(w, w->barred[i]->site));
    for (size_t i = 0; i < w->n_barred_net; i++)
        ask(w, &w->site[w->barred_net[i].site].network[w->barred_net[i].network],
            herd_rules_of(w, w->barred_net[i].site));
    herd_blocklist_forms(w);
}

/* ---- events and complaints */

const struct herd_event *herd_event_now(const struct herd_world *w, enum herd_event_kind kind, uint32_t site) {
    const struct herd_receiver *r = &w->s->receiver[w->s->site[site].receiver];
    for (uint32_t i = 0; i < w->s->n_events; i++) {
        const struct herd_event *e = &w->s->event[i];
        if (e->kind == (int64_t)kind && e->receiver == w->s->site[site].receiver && w->now_ms >= e->at_ms &&
            w->now_ms < e->at_ms + e->for_ms && (e->site == HERD_NONE || r->first_site + (uint32_t)e->site == site))
            return e;
    }
    return NULL;
}

static void events_begin(struct herd_world *w) {
    for (uint32_t i = 0; i < w->s->n_events; i++) {
        const struct herd_event *e = &w->s->event[i];
        if (w->event_begun[i] || !e->r.on || w->now_ms < e->at_ms)
            continue;
        w->event_begun[i] = true;
        const struct herd_receiver *r = &w->s->receiver[e->receiver];
        if (e->kind == HERD_EVENT_LISTING)
            herd_listing_event(w, e);
        for (uint32_t k = 0; e->kind == HERD_EVENT_BLOCK && k < r->n_sites; k++)
            if (e->site == HERD_NONE || e->site == (int64_t)k)
                network_block(w, e->network, r->first_site + k, &e->r, e->for_ms);
    }
}

static void set_bit(uint8_t **bits, size_t size, uint32_t i, bool on) {
    if (!*bits)
        *bits = rmd_alloc(rmd_bit_bytes(size));
    if (on)
        rmd_bit_set(*bits, i);
    else
        rmd_bit_clear(*bits, i);
}

static void complain(struct herd_world *w, struct herd_complaint *c) {
    const struct herd_rules *r = herd_rules_of(w, c->r.site);
    uint32_t domain = w->s->stream[c->r.stream].domain;
    struct herd_count *n = herd_count_of(w, c->r.campaign, c->r.site);
    herd_today(&herd_lane(w, c->r.source, c->r.site)->st, w->now_ms)->complaints++;
    herd_today(&herd_sender_lane(w, domain, c->r.site)->st, w->now_ms)->complaints++;
    n->complaints++;
    set_bit(&w->complained[w->s->campaign[c->r.campaign].list],
            (size_t)w->s->list[w->s->campaign[c->r.campaign].list].size, c->number, true);
    herd_complaint_hit(w, c->r.source, &c->r);
    if (r->complaints.report == HERD_REPORT_NONE) {
        free(c);
        return;
    }
    n->reports++;
    c->r.at_ms = w->now_ms + r->complaints.report_after_ms;
    if (r->complaints.report == HERD_REPORT_CAMPAIGN)
        c->r.row = UINT32_MAX;
    rmd_heap_set(&w->reports, &c->node, c->r.at_ms);
}

static void complaints_until(struct herd_world *w, int64_t now_ms) {
    for (struct rmd_heap_node *n; (n = rmd_heap_min(&w->complaints)) && n->key <= now_ms;) {
        rmd_heap_remove(&w->complaints, n);
        w->now_ms = n->key > w->now_ms ? n->key : w->now_ms;
        complain(w, rmd_container(n, struct herd_complaint, node));
    }
}

void herd_advance(struct herd_world *w, int64_t now_ms) {
    assert(now_ms >= w->now_ms);
    while (w->hour * HERD_HOUR_MS <= now_ms && w->hour * HERD_HOUR_MS < herd_end_ms(w)) {
        int64_t at = w->hour * HERD_HOUR_MS;
        complaints_until(w, at);
        w->now_ms = at > w->now_ms ? at : w->now_ms;
        events_begin(w);
        count_lost(w);
        if (w->hour % 24 == w->s->operator_hour_ms / HERD_HOUR_MS)
            operator_looks(w);
        w->hour++;
    }
    complaints_until(w, now_ms);
    w->now_ms = now_ms;
    events_begin(w);
}

int64_t herd_report_due(const struct herd_world *w) {
    const struct rmd_heap_node *n = rmd_heap_min(&w->reports), *c = rmd_heap_min(&w->complaints);
    int64_t at = n ? n->key : RMD_NEVER;
    return c && c->key < at ? c->key : at; /* nobody can have reported what nobody has complained about yet */
}

bool herd_report_next(struct herd_world *w, int64_t now_ms, struct herd_report *out) {
    herd_advance(w, now_ms);
    struct rmd_heap_node *n = rmd_heap_min(&w->reports);
    if (!n || n->key > now_ms)
        return false;
    rmd_heap_remove(&w->reports, n);
    struct herd_complaint *c = rmd_container(n, struct herd_complaint, node);
    *out = c->r;
    free(c);
    return true;
}

bool herd_blocked(struct herd_world *w, uint32_t source, uint32_t site, int64_t now_ms) {
    herd_advance(w, now_ms);
    return herd_barred(w, source, site) || herd_believed(w, w->s->site[site].receiver, source) >= 0;
}

/* ---- what the sender did */

void herd_settle(struct herd_world *w, uint32_t campaign, uint32_t row, enum herd_final how, int64_t now_ms) {
    herd_advance(w, now_ms);
    assert(campaign < w->s->n_campaigns && row < w->s->campaign[campaign].rows);
    struct herd_campaign_state *c = &w->campaign[campaign];
    struct herd_message *m = &c->message[row];
    if (m->final == HERD_OPEN && how != HERD_OPEN) {
        c->open--;
        c->last_ms = now_ms;
    } else if (m->final != HERD_OPEN && how == HERD_OPEN) {
        c->open++;
    }
    m->final = (uint8_t)how;
}

void herd_suppress(struct herd_world *w, uint32_t list, uint32_t number, bool on) {
    assert(list < w->s->n_lists && number < w->s->list[list].size);
    set_bit(&w->suppressed[list], (size_t)w->s->list[list].size, number, on);
}
