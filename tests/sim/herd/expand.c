/* From the sections of a file to a scenario: addresses are counted up, sites laid out, campaigns repeated, names resolved. */
#include "tests/sim/herd/scenario.h"

#include <inttypes.h>

#include <base/text.h>

struct expand {
    struct herd_expand_in *in;
    struct herd_scenario_full *full;
    struct herd_scenario *s;
    struct rmd_arena *a;
    struct herd_source *source;
    struct herd_site *site;
    struct herd_receiver *receiver;
    struct herd_stream *stream;
    struct herd_domain *domain;
    struct herd_campaign *campaign;
    struct herd_blocklist *blocklist;
    struct rmd_addr *network;
    const char **host;
};

static int receiver_find(const struct expand *e, const char *name) {
    for (size_t i = 0; i < e->in->n_receivers; i++)
        if (strcmp(e->in->receiver[i]->name, name) == 0)
            return (int)i;
    return HERD_NONE;
}

/* ---- blocklists: the scenario's own, then those that its receivers believe */

static int blocklist_index(struct expand *e, const char *zone) {
    for (uint32_t i = 0; i < e->s->n_blocklists; i++)
        if (strcmp(e->blocklist[i].zone, zone) == 0)
            return (int)i;
    for (size_t i = 0; i < e->in->n_base_blocklists; i++) {
        if (strcmp(e->in->base_blocklist[i]->b.zone, zone) == 0 && e->s->n_blocklists < HERD_BLOCKLISTS_MAX) {
            e->blocklist[e->s->n_blocklists] = e->in->base_blocklist[i]->b;
            return (int)e->s->n_blocklists++;
        }
    }
    return HERD_NONE;
}

static void blocklists(struct expand *e) {
    e->blocklist = rmd_arena_alloc(e->a, HERD_BLOCKLISTS_MAX * sizeof *e->blocklist);
    for (size_t i = 0; i < e->in->n_blocklists; i++)
        e->blocklist[e->s->n_blocklists++] = e->in->blocklist[i]->b;
    for (size_t i = 0; i < e->in->n_receivers; i++) {
        struct herd_receiver_draft *r = e->in->receiver[i];
        for (size_t z = 0; r->rules.listed.r.on && z < HERD_CITES_MAX && r->rules.listed.zone[z]; z++) {
            int b = blocklist_index(e, r->rules.listed.zone[z]);
            if (b < 0)
                herd_finding(e->in->r, r->line, "receiver %s: listed: zones: nothing defines %s (or more than %d)",
                             r->name, r->rules.listed.zone[z], HERD_BLOCKLISTS_MAX);
            else
                r->rules.listed.blocklist[r->rules.listed.n_zones++] = (uint32_t)b;
        }
    }
    e->s->blocklist = e->blocklist;
}

/* ---- sources */

static uint32_t intern_host(struct expand *e, const char *name) {
    for (uint32_t i = 0; i < e->s->n_hosts; i++)
        if (strcmp(e->host[i], name) == 0)
            return i;
    e->host[e->s->n_hosts] = name;
    return e->s->n_hosts++;
}

static uint32_t intern_network(struct expand *e, const struct rmd_addr *a) {
    struct rmd_addr net = rmd_addr_network(a);
    for (uint32_t i = 0; i < e->s->n_networks; i++)
        if (rmd_addr_eq(&e->network[i], &net))
            return i;
    e->network[e->s->n_networks] = net;
    return e->s->n_networks++;
}

static uint64_t announced(struct expand *e, const struct herd_sources_draft *d) {
    uint64_t mask = 0;
    for (size_t i = 0; i < HERD_CITES_MAX && d->announced[i]; i++) {
        int r = receiver_find(e, d->announced[i]);
        if (r < 0)
            herd_finding(e->in->r, d->line, "sources %s: announced: no receiver is called %s", d->name,
                         d->announced[i]);
        else
            mask |= (uint64_t)1 << r;
    }
    return mask;
}

static void sources_of(struct expand *e, const struct herd_sources_draft *d) {
    struct rmd_addr a;
    if (rmd_addr_parse(d->first, &a) != RMD_OK || a.family != 4 || !rmd_addr_is_host(&a)) {
        herd_finding(e->in->r, d->line, "sources %s: first: %s is not an IPv4 address", d->name, d->first);
        return;
    }
    for (int64_t i = 0; i < d->count; i++) {
        if (e->s->n_sources == HERD_SOURCES_MAX) {
            herd_finding(e->in->r, d->line, "sources %s: more than %d sources in all", d->name, HERD_SOURCES_MAX);
            return;
        }
        char text[48];
        uint32_t v = rmd_get_be32(a.b) + (uint32_t)i;
        struct herd_source *x = &e->source[e->s->n_sources];
        x->addr.family = 4;
        rmd_put_be32(x->addr.b, v);
        rmd_addr_format(&x->addr, text);
        for (uint32_t k = 0; k < e->s->n_sources; k++)
            if (rmd_addr_eq(&e->source[k].addr, &x->addr))
                herd_finding(e->in->r, d->line, "sources %s: %s is a source already", d->name, text);
        x->address = rmd_arena_str(e->a, rmd_slice_str(text));
        x->helo = rmd_arena_printf(e->a, "mx%u.sender.example", e->s->n_sources + 1);
        x->host = d->host;
        x->pool = d->pool;
        x->host_index = intern_host(e, d->host);
        x->network = intern_network(e, &x->addr);
        x->age_days = (uint32_t)d->age_days;
        x->usual_per_day = (uint64_t)d->usual_per_day;
        x->announced = d->age_days ? UINT64_MAX : announced(e, d);
        e->s->n_sources++;
    }
}

static void sources(struct expand *e) {
    e->source = rmd_arena_alloc(e->a, HERD_SOURCES_MAX * sizeof *e->source);
    e->network = rmd_arena_alloc(e->a, HERD_SOURCES_MAX * sizeof *e->network);
    e->host = rmd_arena_alloc(e->a, HERD_SOURCES_MAX * sizeof *e->host);
    for (size_t i = 0; i < e->in->n_sources; i++)
        sources_of(e, e->in->sources[i]);
    if (!e->s->n_sources)
        herd_finding(e->in->r, 1, "no sources");
    e->s->source = e->source;
    e->s->network = e->network;
    e->s->host = e->host;
}

/* ---- receivers and their sites */

static void once(struct expand *e, struct rmd_map *m, const char *name, uint64_t value,
                 const struct herd_receiver_draft *d) {
    if (rmd_map_get_str(m, name))
        herd_finding(e->in->r, d->line, "receiver %s: %s belongs to another site already", d->name, name);
    else
        rmd_map_set(m, rmd_slice_str(name), (void *)(uintptr_t)value);
}

static void site_add(struct expand *e, const struct herd_receiver_draft *d, uint32_t receiver,
                     const char *const *domain, uint32_t n_domains, const char *const *mx) {
    uint32_t i = e->s->n_sites++;
    struct herd_site *x = &e->site[i];
    *x = (struct herd_site){.domain = domain, .n_domains = n_domains, .receiver = receiver};
    for (uint32_t k = 0; k < n_domains; k++)
        once(e, &e->full->domains, domain[k], (uint64_t)k << 32 | (i + 1), d);
    for (uint32_t k = 0; k < 2 && mx[k]; k++) {
        x->mx[k] = mx[k];
        x->mx_addr[k].family = 4;
        rmd_put_be32(x->mx_addr[k].b, 30u << 24 | (i * 2 + k + 1));
        once(e, &e->full->mx, mx[k], i + 1, d);
        rmd_map_set(&e->full->addrs, rmd_slice(x->mx_addr[k].b, 4), (void *)(uintptr_t)(i + 1));
    }
}

static void sites_of(struct expand *e, const struct herd_receiver_draft *d, uint32_t receiver) {
    if (d->sites == 0) {
        const char **domain = rmd_arena_alloc(e->a, HERD_CITES_MAX * sizeof *domain);
        uint32_t n = 0;
        for (; n < HERD_CITES_MAX && d->domains[n]; n++)
            domain[n] = d->domains[n];
        site_add(e, d, receiver, domain, n, d->mx);
        return;
    }
    for (int64_t k = 0; k < d->sites; k++) {
        const char **domain = rmd_arena_alloc(e->a, sizeof *domain);
        domain[0] = rmd_arena_printf(e->a, "d%" PRId64 ".%s.example", k, d->name);
        const char *mx[2] = {rmd_arena_printf(e->a, "mx1.%s", domain[0]), NULL};
        site_add(e, d, receiver, domain, 1, mx);
    }
}

static void receivers(struct expand *e) {
    uint64_t total = 0;
    for (size_t i = 0; i < e->in->n_receivers; i++)
        total += e->in->receiver[i]->sites ? (uint64_t)e->in->receiver[i]->sites : 1;
    if (total > HERD_SITES_MAX || !total) {
        herd_finding(e->in->r, 1, total ? "more than %d sites in all" : "no receiver", HERD_SITES_MAX);
        return;
    }
    e->site = rmd_arena_alloc(e->a, total * sizeof *e->site);
    e->receiver = rmd_arena_alloc(e->a, e->in->n_receivers * sizeof *e->receiver);
    for (uint32_t i = 0; i < e->in->n_receivers; i++) {
        const struct herd_receiver_draft *d = e->in->receiver[i];
        struct herd_receiver *x = &e->receiver[i];
        *x = (struct herd_receiver){.name = d->name,
                                    .provider = d->provider,
                                    .first_site = e->s->n_sites,
                                    .reports =
                                        d->rules.complaints.r.on && d->rules.complaints.report != HERD_REPORT_NONE,
                                    .rules = &d->rules};
        sites_of(e, d, i);
        x->n_sites = e->s->n_sites - x->first_site;
    }
    e->s->n_receivers = (uint32_t)e->in->n_receivers;
    e->s->receiver = e->receiver;
    e->s->site = e->site;
}

/* ---- streams, lists, campaigns */

static void streams(struct expand *e) {
    e->stream = rmd_arena_alloc(e->a, HERD_STREAMS_MAX * sizeof *e->stream);
    e->domain = rmd_arena_alloc(e->a, HERD_STREAMS_MAX * sizeof *e->domain);
    for (size_t i = 0; i < e->in->n_streams; i++) {
        const struct herd_stream_draft *d = e->in->stream[i];
        struct herd_stream *x = &e->stream[i];
        *x = (struct herd_stream){.name = d->name,
                                  .tenant = d->tenant,
                                  .sending_domain = d->domain,
                                  .pool = d->pool,
                                  .transactional = d->transactional};
        bool has = false;
        for (uint32_t k = 0; k < e->s->n_sources; k++)
            has = has || strcmp(e->source[k].pool, d->pool) == 0;
        if (!has)
            herd_finding(e->in->r, d->line, "stream %s: pool: no source is in %s", d->name, d->pool);
        while (x->domain < e->s->n_domains && strcmp(e->domain[x->domain].name, d->domain) != 0)
            x->domain++;
        struct herd_domain *dom = &e->domain[x->domain];
        if (x->domain == e->s->n_domains) {
            *dom = (struct herd_domain){d->domain, (uint32_t)d->domain_age_days, (uint64_t)d->domain_usual_per_day};
            e->s->n_domains++;
        } else if (dom->age_days != d->domain_age_days || dom->usual_per_day != (uint64_t)d->domain_usual_per_day) {
            herd_finding(e->in->r, d->line, "stream %s: %s is older or younger in another stream", d->name,
                         d->domain);
        }
    }
    e->s->n_streams = (uint32_t)e->in->n_streams;
    e->s->stream = e->stream;
    e->s->domain = e->domain;
}

static void mix_of(struct expand *e, struct herd_list *list, const struct rmd_ucl *mix) {
    int64_t sum = 0;
    for (const struct rmd_ucl *it = mix->child; it; it = it->next) {
        int r = receiver_find(e, it->key);
        uint64_t share;
        if (r < 0)
            herd_finding(e->in->r, it->line, "list %s: mix: no receiver is called %s", list->name, it->key);
        else if (it->type != RMD_UCL_SCALAR || rmd_parse_ppm(rmd_slice_str(it->text), &share) != RMD_OK ||
                 share > HERD_PPM)
            herd_finding(e->in->r, it->line, "list %s: mix: %s: expected per cent", list->name, it->key);
        else if (list->n_mix == HERD_MIX_MAX)
            herd_finding(e->in->r, it->line, "list %s: mix: more than %d receivers", list->name, HERD_MIX_MAX);
        else {
            list->mix_receiver[list->n_mix] = (uint32_t)r;
            list->mix_share[list->n_mix++] = (int64_t)share;
            sum += (int64_t)share;
        }
    }
    if (sum != HERD_PPM)
        herd_finding(e->in->r, mix->line, "list %s: mix: sums up to %" PRId64 ".%04" PRId64 "%%, not 100%%",
                     list->name, sum / 10000, sum % 10000);
    if (list->unknown + list->traps + list->full > HERD_PPM)
        herd_finding(e->in->r, mix->line, "list %s: unknown, traps and full are more than all", list->name);
}

static void lists(struct expand *e) {
    struct herd_list *list = rmd_arena_alloc(e->a, HERD_LISTS_MAX * sizeof *list);
    for (size_t i = 0; i < e->in->n_lists; i++) {
        mix_of(e, e->in->list[i], e->in->mix[i]);
        list[i] = *e->in->list[i];
    }
    e->s->n_lists = (uint32_t)e->in->n_lists;
    e->s->list = list;
}

static int by_time(const void *a, const void *b) {
    const struct herd_campaign *x = a, *y = b;
    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void repeat(struct expand *e, const struct herd_campaign_draft *d, uint32_t stream, uint32_t list) {
    uint64_t rows = (uint64_t)d->rows, next = (uint64_t)d->first;
    uint64_t size = (uint64_t)e->in->list[list]->size;
    for (int64_t k = 0; k < d->times; k++) {
        int64_t at = d->at_ms + k * d->every_ms;
        if (at >= (int64_t)e->s->days * HERD_DAY_MS) {
            herd_finding(e->in->r, d->line,
                         "campaign %s: repetition %" PRId64 " would begin behind the scenario's end", d->name, k + 1);
            return;
        }
        uint64_t n = rows < size ? rows : size;
        if (e->s->n_campaigns == HERD_CAMPAIGNS_MAX || e->s->messages + n > HERD_MESSAGES_MAX || n == 0) {
            herd_finding(e->in->r, d->line,
                         "campaign %s: more than %d campaigns or %d messages in all, or one without rows", d->name,
                         HERD_CAMPAIGNS_MAX, HERD_MESSAGES_MAX);
            return;
        }
        e->campaign[e->s->n_campaigns++] = (struct herd_campaign){
            .name = d->times > 1 ? rmd_arena_printf(e->a, "%s.%" PRId64, d->name, k + 1) : d->name,
            .stream = stream,
            .list = list,
            .first = (uint32_t)(next % size),
            .rows = (uint32_t)n,
            .at_ms = at,
            .valid_for_ms = d->valid_for_ms,
            .bad_content = d->bad_content,
        };
        e->s->messages += n;
        next += n;
        rows = rows * (uint64_t)d->grow / HERD_PPM;
        rows = rows > HERD_LIST_ROWS_MAX ? HERD_LIST_ROWS_MAX : rows;
    }
}

static void campaigns(struct expand *e) {
    e->campaign = rmd_arena_alloc(e->a, HERD_CAMPAIGNS_MAX * sizeof *e->campaign);
    for (size_t i = 0; i < e->in->n_campaigns; i++) {
        const struct herd_campaign_draft *d = e->in->campaign[i];
        size_t stream = 0, list = 0;
        while (stream < e->in->n_streams && strcmp(e->in->stream[stream]->name, d->stream) != 0)
            stream++;
        while (list < e->in->n_lists && strcmp(e->in->list[list]->name, d->list) != 0)
            list++;
        if (stream == e->in->n_streams)
            herd_finding(e->in->r, d->line, "campaign %s: no stream is called %s", d->name, d->stream);
        else if (list == e->in->n_lists)
            herd_finding(e->in->r, d->line, "campaign %s: no list is called %s", d->name, d->list);
        else
            repeat(e, d, (uint32_t)stream, (uint32_t)list);
    }
    if (!e->s->n_campaigns)
        herd_finding(e->in->r, 1, "no campaign");
    qsort(e->campaign, e->s->n_campaigns, sizeof *e->campaign, by_time);
    e->s->campaign = e->campaign;
}

/* How much of all mail goes to each receiver: what sources and domains were used to send is spread in the same way. */
static void shares(struct expand *e) {
    for (uint32_t r = 0; r < e->s->n_receivers; r++) {
        uint64_t sum = 0;
        for (uint32_t c = 0; c < e->s->n_campaigns; c++) {
            const struct herd_list *l = &e->s->list[e->campaign[c].list];
            for (uint32_t m = 0; m < l->n_mix; m++)
                if (l->mix_receiver[m] == r)
                    sum += e->campaign[c].rows * (uint64_t)l->mix_share[m];
        }
        e->receiver[r].share_ppm = e->s->messages ? (uint32_t)(sum / e->s->messages) : 0;
    }
}

/* ---- events */

static bool event_network(struct expand *e, struct herd_event *x) {
    struct rmd_prefix p;
    if (!x->network_name || rmd_prefix_parse(x->network_name, &p) != RMD_OK || p.bits != 24)
        return false;
    for (uint32_t i = 0; i < e->s->n_networks; i++) {
        if (rmd_addr_eq(&e->network[i], &p.addr)) {
            x->network = i;
            return true;
        }
    }
    return false;
}

static void event_resolve(struct expand *e, struct herd_event *x) {
    struct herd_reader *r = e->in->r;
    bool listing = x->kind == HERD_EVENT_LISTING;
    int receiver = x->receiver_name ? receiver_find(e, x->receiver_name) : HERD_NONE;
    int blocklist = x->blocklist_name ? blocklist_index(e, x->blocklist_name) : HERD_NONE;
    if (!listing && receiver < 0)
        herd_finding(r, x->r.line, "event %s: receiver is missing, or none is called so", x->name);
    else if (!listing && x->site >= (int64_t)e->receiver[receiver].n_sites)
        herd_finding(r, x->r.line, "event %s: site: receiver %s has %u", x->name, x->receiver_name,
                     e->receiver[receiver].n_sites);
    if (listing && blocklist < 0)
        herd_finding(r, x->r.line, "event %s: blocklist is missing, or none is called so", x->name);
    if ((listing || x->kind == HERD_EVENT_BLOCK) && !event_network(e, x))
        herd_finding(r, x->r.line, "event %s: network: the /24 of a source is expected, like \"20.0.1.0/24\"",
                     x->name);
    if ((x->kind == HERD_EVENT_LIAR || x->kind == HERD_EVENT_BLOCK) && !x->r.reply)
        herd_finding(r, x->r.line, "event %s: reply is missing", x->name);
    if (x->kind == HERD_EVENT_SURGE && !x->r.reply)
        x->r.reply = "550 5.1.1 The email account that you tried to reach does not exist";
    x->receiver = receiver < 0 ? 0 : (uint32_t)receiver;
    x->blocklist = blocklist < 0 ? 0 : (uint32_t)blocklist;
}

static void events(struct expand *e) {
    struct herd_event *event = rmd_arena_alloc(e->a, HERD_EVENTS_MAX * sizeof *event);
    for (size_t i = 0; i < e->in->n_events; i++) {
        event[i] = *e->in->event[i];
        if (e->s->n_receivers)
            event_resolve(e, &event[i]);
    }
    e->s->n_events = (uint32_t)e->in->n_events;
    e->s->event = event;
}

void herd_expand(struct herd_expand_in *in, struct herd_scenario_full *full) {
    struct expand e = {.in = in, .full = full, .s = &full->s, .a = &full->arena};
    full->s = (struct herd_scenario){.name = in->whole->name,
                                     .about = in->whole->about,
                                     .file = in->r->file,
                                     .days = (uint32_t)in->whole->days,
                                     .operator_hour_ms = in->whole->operator_hour_ms};
    blocklists(&e);
    sources(&e);
    receivers(&e);
    streams(&e);
    lists(&e);
    if (!in->r->findings)
        campaigns(&e);
    if (!in->r->findings) {
        shares(&e);
        events(&e);
    }
}
