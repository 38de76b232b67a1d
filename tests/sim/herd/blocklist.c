/* Blocklists: traps and complaints list a source, several sources their /24, and time or a form ends it. */
#include <assert.h>

#include <base/text.h>

#include "tests/sim/herd/world.h"

static struct herd_listing *of_source(const struct herd_world *w, uint32_t b, uint32_t source) {
    return &w->listing[b * w->s->n_sources + source];
}

static struct herd_listing *of_network(const struct herd_world *w, uint32_t b, uint32_t network) {
    return &w->net_listing[b * w->s->n_networks + network];
}

/* Adds a hit; true: there were `wanted` of them within the time. */
static bool hit(struct herd_hits *h, int64_t wanted, int64_t within_ms, int64_t now_ms) {
    if (wanted <= 0)
        return false;
    if (h->n == (uint32_t)wanted)
        memmove(h->at_ms, h->at_ms + 1, --h->n * sizeof *h->at_ms);
    h->at_ms[h->n++] = now_ms;
    return h->n == (uint32_t)wanted && now_ms - h->at_ms[0] <= within_ms;
}

static bool list_it(struct herd_world *w, struct herd_bar *b, int64_t delay_ms, int64_t for_ms) {
    bool fresh = b->until_ms <= w->now_ms;
    if (fresh) {
        b->from_ms = w->now_ms + delay_ms;
        b->until_ms = 0;
        b->asked = false;
    }
    if (w->now_ms + for_ms > b->until_ms)
        b->until_ms = w->now_ms + for_ms;
    return fresh;
}

static void list_network(struct herd_world *w, uint32_t b, uint32_t network) {
    const struct herd_blocklist *x = &w->s->blocklist[b];
    int64_t n = 0;
    if (!x->network_sources)
        return;
    for (uint32_t s = 0; s < w->s->n_sources; s++)
        n += w->s->source[s].network == network && of_source(w, b, s)->bar.until_ms > w->now_ms;
    if (n < x->network_sources || !list_it(w, &of_network(w, b, network)->bar, x->delay_ms, x->unlist_ms))
        return;
    for (uint32_t s = 0; s < w->s->n_sources; s++)
        w->listings += w->s->source[s].network == network && of_source(w, b, s)->bar.until_ms <= w->now_ms;
}

static void list_source(struct herd_world *w, uint32_t b, uint32_t source) {
    const struct herd_blocklist *x = &w->s->blocklist[b];
    w->listings += list_it(w, &of_source(w, b, source)->bar, x->delay_ms, x->unlist_ms);
    list_network(w, b, w->s->source[source].network);
}

static void feed(struct herd_world *w, uint32_t b, uint32_t source, bool trap) {
    const struct herd_blocklist *x = &w->s->blocklist[b];
    struct herd_listing *l = of_source(w, b, source);
    bool enough = trap ? hit(&l->traps, x->traps, x->within_ms, w->now_ms)
                       : hit(&l->complaints, x->complaints, x->within_ms, w->now_ms);
    bool goes_on = l->bar.until_ms > w->now_ms && (trap ? x->traps : x->complaints) > 0;
    if (enough || goes_on)
        list_source(w, b, source);
}

void herd_trap_hit(struct herd_world *w, uint32_t blocklist, uint32_t source) {
    if (blocklist != UINT32_MAX)
        feed(w, blocklist, source, true);
}

void herd_complaint_hit(struct herd_world *w, uint32_t source, const struct herd_report *r) {
    for (uint32_t b = 0; b < w->s->n_blocklists; b++)
        if (w->s->blocklist[b].complaints &&
            herd_chance(w, w->s->blocklist[b].complaint_share, HERD_FOR_COMPLAINT_LIST, b,
                        (uint64_t)r->campaign << 32 | r->row, 0))
            feed(w, b, source, false);
}

void herd_listing_event(struct herd_world *w, const struct herd_event *e) {
    for (uint32_t s = 0; s < w->s->n_sources; s++)
        w->listings += w->s->source[s].network == e->network && !herd_is_listed(w, e->blocklist, s, NULL);
    struct herd_bar *b = &of_network(w, e->blocklist, e->network)->bar;
    list_it(w, b, 0, e->for_ms);
    b->asked = true; /* others' conduct: our form doesn't help */
}

bool herd_is_listed(const struct herd_world *w, uint32_t b, uint32_t source, struct rmd_addr *answer) {
    const struct herd_blocklist *x = &w->s->blocklist[b];
    bool own = herd_bar_holds(&of_source(w, b, source)->bar, w->now_ms);
    bool net = herd_bar_holds(&of_network(w, b, w->s->source[source].network)->bar, w->now_ms);
    if (answer && (own || net))
        *answer = own ? x->answer : x->network_answer;
    return own || net;
}

bool herd_listed(struct herd_world *w, uint32_t blocklist, uint32_t source, int64_t now_ms, struct rmd_addr *answer) {
    assert(blocklist < w->s->n_blocklists && source < w->s->n_sources);
    herd_advance(w, now_ms);
    return herd_is_listed(w, blocklist, source, answer);
}

int herd_believed(const struct herd_world *w, uint32_t receiver, uint32_t source) {
    const struct herd_rules *r = w->s->receiver[receiver].rules;
    for (uint32_t i = 0; r->listed.r.on && i < r->listed.n_zones; i++)
        if (herd_is_listed(w, r->listed.blocklist[i], source, NULL))
            return (int)r->listed.blocklist[i];
    return HERD_NONE;
}

static void ask(struct herd_world *w, struct herd_bar *b, const struct herd_blocklist *x) {
    if (!herd_bar_holds(b, w->now_ms) || b->asked || b->forms >= x->granted)
        return;
    b->asked = true;
    b->forms++;
    if (w->now_ms + x->takes_ms < b->until_ms)
        b->until_ms = w->now_ms + x->takes_ms;
}

void herd_blocklist_forms(struct herd_world *w) {
    for (uint32_t b = 0; b < w->s->n_blocklists; b++) {
        for (uint32_t s = 0; s < w->s->n_sources; s++)
            ask(w, &of_source(w, b, s)->bar, &w->s->blocklist[b]);
        for (uint32_t n = 0; n < w->s->n_networks; n++)
            ask(w, &of_network(w, b, n)->bar, &w->s->blocklist[b]);
    }
}

/* ---- questions as they come: d.c.b.a.zone */

static bool reversed(const char *name, size_t n, struct rmd_addr *out) {
    uint64_t part[4];
    size_t k = 0;
    for (size_t at = 0; at < n && k < 4;) {
        size_t end = at;
        while (end < n && name[end] != '.')
            end++;
        if (rmd_parse_u64(rmd_slice(name + at, end - at), &part[k]) != RMD_OK || part[k++] > 255)
            return false;
        at = end + 1;
        if (k == 4 && end != n)
            return false;
    }
    if (k != 4)
        return false;
    *out = (struct rmd_addr){.family = 4};
    for (size_t i = 0; i < 4; i++)
        out->b[i] = (uint8_t)part[3 - i];
    return true;
}

static int zone_of(const struct herd_world *w, const char *name, size_t *prefix) {
    size_t n = strlen(name);
    if (n && name[n - 1] == '.')
        n--;
    for (uint32_t b = 0; b < w->s->n_blocklists; b++) {
        size_t z = strlen(w->s->blocklist[b].zone);
        if (n > z && name[n - z - 1] == '.' &&
            rmd_case_eq(rmd_slice(name + n - z, z), rmd_slice_str(w->s->blocklist[b].zone))) {
            *prefix = n - z - 1;
            return (int)b;
        }
    }
    return HERD_NONE;
}

int herd_dnsbl(struct herd_world *w, const char *name, int64_t now_ms, struct rmd_addr answer[4]) {
    static const struct rmd_addr test = {.family = 4, .b = {127, 0, 0, 2}};
    struct rmd_addr a;
    size_t prefix = 0;
    int b = zone_of(w, name, &prefix);
    herd_advance(w, now_ms);
    if (b < 0)
        return HERD_NONE;
    if (!reversed(name, prefix, &a))
        return 0;
    if (rmd_addr_eq(&a, &test)) {
        answer[0] = w->s->blocklist[b].answer;
        return 1;
    }
    for (uint32_t s = 0; s < w->s->n_sources; s++)
        if (rmd_addr_eq(&w->s->source[s].addr, &a))
            return herd_is_listed(w, (uint32_t)b, s, answer);
    struct rmd_addr net = rmd_addr_network(&a); /* a neighbour */
    for (uint32_t n = 0; n < w->s->n_networks; n++) {
        if (rmd_addr_eq(&w->s->network[n], &net) && herd_bar_holds(&of_network(w, (uint32_t)b, n)->bar, now_ms)) {
            answer[0] = w->s->blocklist[b].network_answer;
            return 1;
        }
    }
    return 0;
}
