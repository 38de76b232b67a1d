/* Who is on the lists. A person is a hash of the seed, the list and a number: nothing is stored, and every sender meets the same people. */
#include <base/text.h>

#include "tests/sim/herd/scenario.h"
#include "tests/sim/herd/world.h"

uint32_t herd_number(const struct herd_world *w, uint32_t campaign, uint32_t row) {
    const struct herd_campaign *c = &w->s->campaign[campaign];
    return (uint32_t)(((uint64_t)c->first + row) % (uint64_t)w->s->list[c->list].size);
}

static void place(const struct herd_world *w, const struct herd_list *l, uint32_t list, uint32_t number,
                  struct herd_traits *out) {
    int64_t x = (int64_t)(herd_hash(w, HERD_FOR_RECEIVER, list, number, 0) % HERD_PPM);
    uint32_t m = 0;
    while (m + 1 < l->n_mix && x >= l->mix_share[m])
        x -= l->mix_share[m++];
    const struct herd_receiver *r = &w->s->receiver[l->mix_receiver[m]];
    uint64_t h = herd_hash(w, HERD_FOR_SITE, list, number, 0);
    out->site = r->first_site + (uint32_t)(h % r->n_sites);
    out->domain = (uint32_t)((h >> 32) % w->s->site[out->site].n_domains);
}

static uint32_t trap_of(const struct herd_world *w, uint32_t list, uint32_t number) {
    uint32_t n = 0;
    for (uint32_t b = 0; b < w->s->n_blocklists; b++)
        n += w->s->blocklist[b].traps > 0;
    uint64_t k = n ? herd_hash(w, HERD_FOR_TRAP, list, number, 0) % n : 0;
    for (uint32_t b = 0; b < w->s->n_blocklists; b++)
        if (w->s->blocklist[b].traps > 0 && k-- == 0)
            return b;
    return UINT32_MAX;
}

void herd_traits(const struct herd_world *w, uint32_t list, uint32_t number, struct herd_traits *out) {
    const struct herd_list *l = &w->s->list[list];
    int64_t kind = (int64_t)(herd_hash(w, HERD_FOR_KIND, list, number, 0) % HERD_PPM);
    *out = (struct herd_traits){.engaged_days = HERD_NONE, .blocklist = UINT32_MAX};
    place(w, l, list, number, out);
    uint64_t days = herd_hash(w, HERD_FOR_DAYS, list, number, 0);
    if (kind < l->unknown) {
        out->kind = HERD_UNKNOWN; /* half of them had a life once */
        out->engaged_days = days & 1 ? (int32_t)(180 + (days >> 8) % 540) : HERD_NONE;
    } else if (kind < l->unknown + l->traps) {
        out->kind = HERD_TRAP;
        out->blocklist = trap_of(w, list, number);
    } else {
        out->kind = kind < l->unknown + l->traps + l->full ? HERD_FULL : HERD_PERSON;
        out->engaged = herd_chance(w, l->engaged, HERD_FOR_ENGAGED, list, number, 0);
        if (out->engaged)
            out->engaged_days = (int32_t)(days % 30);
        else if (days % 10 >= 3)
            out->engaged_days = (int32_t)(31 + (days >> 8) % 690);
        if (!herd_chance(w, l->engaged_known, HERD_FOR_KNOWN, list, number, 0))
            out->engaged_days = HERD_NONE;
    }
}

void herd_person(const struct herd_world *w, uint32_t campaign, uint32_t row, struct herd_person *out) {
    struct herd_traits t;
    out->list = w->s->campaign[campaign].list;
    out->number = herd_number(w, campaign, row);
    herd_traits(w, out->list, out->number, &t);
    out->site = t.site;
    out->domain = t.domain;
    out->engaged_days = t.engaged_days;
}

void herd_email(const struct herd_world *w, const struct herd_person *p, char out[128]) {
    rmd_format(out, 128, "p%u.%s@%s", p->number, w->s->list[p->list].name, w->s->site[p->site].domain[p->domain]);
}

bool herd_email_parse(const struct herd_world *w, const char *email, struct herd_person *out) {
    const char *at = strchr(email, '@'), *dot = strchr(email, '.');
    uint64_t number;
    if (!at || !dot || dot > at || email[0] != 'p' ||
        rmd_parse_u64(rmd_slice(email + 1, (size_t)(dot - email) - 1), &number) != RMD_OK)
        return false;
    for (uint32_t i = 0; i < w->s->n_lists; i++) {
        const char *name = w->s->list[i].name;
        if (strlen(name) != (size_t)(at - dot) - 1 || strncmp(name, dot + 1, strlen(name)) != 0 ||
            number >= (uint64_t)w->s->list[i].size)
            continue;
        struct herd_traits t;
        herd_traits(w, i, (uint32_t)number, &t);
        *out = (struct herd_person){i, (uint32_t)number, t.site, t.domain, t.engaged_days};
        return strcmp(at + 1, w->s->site[t.site].domain[t.domain]) == 0;
    }
    return false;
}

/* ---- DNS: names and addresses of MX hosts */

static const struct herd_scenario_full *full_of(const struct herd_world *w) {
    return rmd_container(w->s, const struct herd_scenario_full, s);
}

static int site_of(const struct rmd_map *m, struct rmd_slice key) {
    uint64_t v = (uint64_t)(uintptr_t)rmd_map_get(m, key);
    return v ? (int)(uint32_t)v - 1 : HERD_NONE;
}

int herd_site_of_domain(const struct herd_world *w, const char *domain) {
    return site_of(&full_of(w)->domains, rmd_slice_str(domain));
}

int herd_site_of_mx(const struct herd_world *w, const char *host, struct rmd_addr *addr) {
    int site = site_of(&full_of(w)->mx, rmd_slice_str(host));
    for (int k = 0; site >= 0 && addr && k < 2; k++)
        if (w->s->site[site].mx[k] && strcmp(w->s->site[site].mx[k], host) == 0)
            *addr = w->s->site[site].mx_addr[k];
    return site;
}

int herd_site_of_addr(const struct herd_world *w, const struct rmd_addr *a) {
    return a->family == 4 ? site_of(&full_of(w)->addrs, rmd_slice(a->b, 4)) : HERD_NONE;
}
