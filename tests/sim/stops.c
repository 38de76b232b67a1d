/* What must stop more than one lane, and stays stopped (design, sections 7 and 9): two unrelated named providers refuse a
 * source; a provider says of two of our sources that it means their network; a named provider refuses a sending domain:
 * its bulk mail stops there; a provider refuses a campaign's content on two of our networks: it stops there; two named
 * providers refuse its content: it stops everywhere.
 *
 * The checker knows it from what receivers said and nodes have read. It demands only what is beyond doubt: the nodes that
 * read it, and the node that sends, had been connected without a break since before the first of the two was read, so the
 * coordinator has heard both; and it allows the time that its word takes. "other" is many receivers and nobody's voice: what
 * one of its sites says stops the source at this site (checker.c), and only two of them stop the lane there.
 * And it forbids what goes further than the words: a stop at a provider that never said so, or of a whole stream unless two
 * named providers refused its domain for good. What an operator opens again, or what is older than a quarantine lasts at least, isn't judged. */
#include "tests/sim/sim.h"

#include <inttypes.h>

enum {
    HEARD_MS = 5 * 3600000, /* corroboration takes six hours; wall clocks step by half an hour */
    SENDER_MS = 600000,     /* of a stream the last 16 refusals are kept, of whatever kind */
    APART_MS = 10000,       /* the last alarm must be the one that speaks of the network; two nodes' order is open */
    LASTS_MS = 25 * 60000,  /* the shortest quarantine has 30 minutes */
    ALARM_REPEAT_MS = 5000 + 1, /* the same words from a lane are one alarm */
};

/* Said so lately that it counts, to a node that tells it. */
static bool counts(const struct sim *s, uint32_t source, int64_t at_ms, int64_t lasts_ms) {
    return at_ms && s->now_ms - at_ms < lasts_ms && sim_check_steady(s, s->source[source].node, at_ms);
}

/* first: the source that heard the first refusal. */
static void told(struct sim *s, const struct sim_conn *c, uint32_t first, struct sim_stop *stop, const char *what,
                 const char *name) {
    if (stop->at_ms && s->now_ms < stop->at_ms + LASTS_MS)
        return;
    *stop = (struct sim_stop){.at_ms = s->now_ms, .node = {c->node, s->source[first].node}};
    sim_say(s, "checker: %s %s has to stop", what, name);
}

/* Two named providers refuse the source; or, of another source of the network, the same provider spoke before. */
static void heard_block(struct sim *s, const struct sim_conn *c, bool network) {
    struct sim_stops *t = &s->stops;
    const struct sim_source *x = &s->source[c->source];
    if (s->provider[c->provider].other) {
        for (uint32_t d = 0; d < s->n_domains; d++)
            if (d != c->site && counts(s, c->source, t->site_ms[c->source][d], HEARD_MS))
                told(s, c, c->source, &t->other[c->source], "at \"other\", source", x->address);
        t->site_ms[c->source][c->site] = s->now_ms;
    } else {
        for (uint32_t p = 0; p < s->n_providers; p++)
            if (p != c->provider && !s->provider[p].other &&
                counts(s, c->source, t->block_ms[c->source][p], HEARD_MS))
                told(s, c, c->source, &t->source[c->source], "source", x->address);
    }
    for (uint32_t i = 0; i < s->n_sources && network && !s->provider[c->provider].other; i++) {
        bool first = t->network_ms[i][c->provider] || s->now_ms - t->block_ms[i][c->provider] > APART_MS;
        if (i != c->source && s->source[i].net == x->net && first &&
            counts(s, i, t->block_ms[i][c->provider], HEARD_MS))
            told(s, c, i, &t->network[x->net][c->provider], "the network of", x->address);
    }
    if (network)
        t->network_ms[c->source][c->provider] = s->now_ms;
    t->block_ms[c->source][c->provider] = s->now_ms;
}

/* A campaign's content: on two networks at one provider, by two named providers. */
static void heard_spam(struct sim *s, const struct sim_conn *c, uint32_t k, const char *name) {
    struct sim_stops *t = &s->stops;
    for (uint32_t i = 0; i < s->n_sources; i++) {
        for (uint32_t p = 0; p < s->n_providers; p++) {
            if (!counts(s, i, t->spam_ms[k][i][p], SENDER_MS))
                continue;
            if (p == c->provider && s->source[i].net != s->source[c->source].net)
                told(s, c, i, &t->campaign_at[k][p], "campaign", name);
            if (p != c->provider && !s->provider[p].other && !s->provider[c->provider].other)
                told(s, c, i, &t->campaign[k], "campaign", name);
        }
    }
    t->spam_ms[k][c->source][c->provider] = s->now_ms;
}

void sim_stops_heard(struct sim *s, struct sim_conn *c, unsigned says) {
    struct sim_stops *t = &s->stops;
    if (says & SIM_SAYS_BLOCK)
        heard_block(s, c, says & SIM_SAYS_NETWORK);
    if (!(says & (SIM_SAYS_SENDER | SIM_SAYS_SPAM)) || !c->campaign)
        return;
    bool spam = says & SIM_SAYS_SPAM;
    uint32_t k = (uint32_t)(c->campaign - s->campaign), st = c->campaign->stream;
    int64_t *last = &t->lane_said_ms[c->source][c->provider][st][spam];
    bool alarm = !*last || s->now_ms - *last > ALARM_REPEAT_MS;
    char name[16];
    rmd_format(name, sizeof name, "%u", k);
    if (alarm)
        *last = s->now_ms;
    if (!alarm || !s->stream[st].priority)
        return; /* transactional mail goes on */
    if (spam)
        heard_spam(s, c, k, name);
    else if (!s->provider[c->provider].other && !t->liked_again[st][c->provider])
        told(s, c, c->source, &t->stream[st][c->provider], "the sending domain of stream", s->stream[st].name);
}

static void check(struct sim *s, const struct sim_conn *c, const struct sim_stop *stop, const char *promise,
                  const char *what, const char *name) {
    if (!stop->at_ms || s->now_ms > stop->at_ms + LASTS_MS || !sim_check_steady(s, c->node, stop->at_ms) ||
        !sim_check_steady(s, stop->node[0], stop->at_ms) || !sim_check_steady(s, stop->node[1], stop->at_ms) ||
        s->now_ms <= stop->at_ms + sim_check_grace(s, c->node, stop->at_ms))
        return;
    sim_broken(s, promise, "%s says MAIL from %s at %s, %" PRId64 " ms after %s %s was refused",
               s->node[c->node].name, s->source[c->source].address, s->provider[c->provider].name,
               s->now_ms - stop->at_ms, what, name);
}

void sim_stops_mail(struct sim *s, const struct sim_conn *c, const struct sim_campaign *k) {
    const struct sim_stops *t = &s->stops;
    const struct sim_source *x = &s->source[c->source];
    const struct sim_stream *st = &s->stream[k->stream];
    char name[16];
    rmd_format(name, sizeof name, "%u", (unsigned)(k - s->campaign));
    check(s, c, &t->source[c->source], "a source that two refuse stops everywhere", "the source", x->address);
    check(s, c, &t->network[x->net][c->provider], "a network that is refused stops whole", "the network of",
          x->address);
    if (s->provider[c->provider].other)
        check(s, c, &t->other[c->source], "a lane that two sites refuse stops", "the source", x->address);
    check(s, c, &t->stream[k->stream][c->provider], "a refused sending domain stops", "the sending domain of",
          st->name);
    check(s, c, &t->campaign[k - s->campaign], "refused content stops", "campaign", name);
    check(s, c, &t->campaign_at[k - s->campaign][c->provider], "refused content stops", "campaign", name);
}

void sim_stops_said(struct sim *s, const struct sim_conn *c, bool network) {
    s->stops.said[c->source][c->provider] = true;
    if (s->provider[c->provider].other)
        s->stops.said_site[c->source][c->site] = true;
    if (network)
        s->stops.said_network[s->source[c->source].net][c->provider] = true;
}

/* Two sites of "other" refused it. */
static bool corroborated(const struct sim *s, uint32_t source) {
    uint32_t sites = 0;
    for (uint32_t d = 0; d < s->n_domains; d++)
        sites += s->stops.said_site[source][d];
    return sites >= 2;
}

static bool corroborated_in_network(const struct sim *s, uint32_t source) {
    for (uint32_t i = 0; i < s->n_sources; i++)
        if (s->source[i].net == s->source[source].net && corroborated(s, i))
            return true;
    return false;
}

/* What one receiver says acts on its provider only; nothing is closed without a receiver's word, or everywhere without
 * two or a blocklist's. */
void sim_stops_quarantined(struct sim *s, const Remuda__EventRecord *e) {
    const struct sim_stops *t = &s->stops;
    uint32_t id = e->source, provider = e->provider;
    uint32_t i = 0, named = 0;
    while (i < s->n_sources && s->source[i].id != id)
        i++;
    if (i == s->n_sources)
        return; /* its number wasn't learnt yet */
    for (uint32_t p = 0; p < s->n_providers; p++)
        named += t->said[i][p] && !s->provider[p].other;
    if (!provider && named < 2 && !sim_watch_was_listed(s, i, e))
        sim_broken(s, "one receiver cannot stop the fleet",
                   "%s is quarantined everywhere, %u named providers refused it, and no list has it",
                   s->source[i].address, named);
    int p = provider ? sim_provider_find(s, provider) : -1;
    if (p >= 0 && !t->said[i][p] && !t->said_network[s->source[i].net][p])
        sim_broken(s, "one receiver cannot stop the fleet", "%s is quarantined at %s, which never refused it",
                   s->source[i].address, s->provider[p].name);
    bool network = p >= 0 && t->said_network[s->source[i].net][p];
    if (p >= 0 && s->provider[p].other && !corroborated(s, i) && !(network && corroborated_in_network(s, i)) &&
        !sim_watch_was_listed(s, i, e))
        sim_broken(s, "one receiver cannot stop the fleet",
                   "%s is quarantined at \"other\", and one of its sites alone refused it", s->source[i].address);
}

void sim_stops_lifted(struct sim *s, uint32_t source, int provider) {
    for (uint32_t n = 0; n < s->n_nodes; n++) {
        struct sim_node *nd = &s->node[n];
        for (uint32_t p = 0; p < s->n_providers; p++)
            if (provider < 0 || p == (uint32_t)provider)
                nd->blocked_until_ms[source][p] = 0;
        if (provider < 0 || s->provider[provider].other)
            memset(nd->site_until_ms[source], 0, sizeof nd->site_until_ms[source]);
    }
    if (provider < 0 || s->provider[provider].other)
        s->stops.other[source].at_ms = 0;
}

void sim_stops_shunned(struct sim *s, const struct sim_conn *c, bool for_good) {
    int64_t *first = &s->stops.shunned_ms[c->campaign->stream][c->provider];
    *first = *first ? *first : s->now_ms;
    s->stops.shunned_for_good[c->campaign->stream][c->provider] |= for_good;
}

/* Behind a rest's shortest time: it isn't what was under way. */
void sim_stops_accepted(struct sim *s, const struct sim_conn *c) {
    int64_t first = s->stops.shunned_ms[c->campaign->stream][c->provider];
    s->stops.liked_again[c->campaign->stream][c->provider] |= first && s->now_ms > first + LASTS_MS;
}

/* Somebody opened it before its time: what is accepted from now on counts. */
static void opened(struct sim *s, uint32_t stream) {
    memset(s->stops.stream[stream], 0, sizeof s->stops.stream[stream]);
    for (uint32_t p = 0; p < s->n_providers; p++)
        s->stops.liked_again[stream][p] |= s->stops.shunned_ms[stream][p] != 0;
}

/* "DOMAIN: what happens". */
void sim_stops_sender(struct sim *s, const Remuda__EventRecord *e) {
    int p = sim_provider_find(s, e->provider);
    bool said = p < 0;
    for (uint32_t i = 0; i < s->n_streams && !said; i++)
        said = s->stops.shunned_ms[i][p] && strncmp(e->text, s->stream[i].domain, strlen(s->stream[i].domain)) == 0;
    if (!said)
        sim_broken(s, "one receiver cannot stop the fleet", "%s stops at %s, which never refused it", e->text,
                   s->provider[p].name);
}

/* By the coordinator: an operator's pause has no incident, a listing's isn't a receiver's word. */
void sim_stops_stream_paused(struct sim *s, const Remuda__EventRecord *e) {
    uint32_t i = 0, named = 0;
    while (i < s->n_streams && s->stream[i].id != e->stream)
        i++;
    if (i == s->n_streams || !e->incident || !strstr(e->text, "is refused by"))
        return;
    for (uint32_t p = 0; p < s->n_providers; p++)
        named += s->stops.shunned_for_good[i][p] && !s->provider[p].other;
    if (named < 2)
        sim_broken(s, "one receiver cannot stop the fleet",
                   "stream %s pauses, and %u named providers refused its domain for good", s->stream[i].name, named);
}

void sim_stops_stream_opened(struct sim *s, uint32_t stream) {
    opened(s, stream);
}

void sim_stops_campaign_opened(struct sim *s, uint32_t campaign) {
    s->stops.campaign[campaign].at_ms = 0;
    memset(s->stops.campaign_at[campaign], 0, sizeof s->stops.campaign_at[campaign]);
    memset(s->stops.spam_ms[campaign], 0, sizeof s->stops.spam_ms[campaign]);
}

void sim_stops_resolved(struct sim *s) {
    memset(s->stops.block_ms, 0, sizeof s->stops.block_ms);
    memset(s->stops.network_ms, 0, sizeof s->stops.network_ms);
    memset(s->stops.site_ms, 0, sizeof s->stops.site_ms);
    memset(s->stops.source, 0, sizeof s->stops.source);
    for (uint32_t i = 0; i < s->n_streams; i++)
        opened(s, i);
    memset(s->stops.campaign_at, 0, sizeof s->stops.campaign_at);
    memset(s->stops.other, 0, sizeof s->stops.other);
    memset(s->stops.network, 0, sizeof s->stops.network);
}

/* ---------------------------------------------------------------- one cause, one incident */

enum { CAUSES = 64 };
struct causes {
    struct sim *s;
    struct cause {
        uint64_t site;
        uint32_t class;
    } v[CAUSES];
    uint32_t n;
};

static void open_cause(void *ctx, const Remuda__IncidentRecord *r) {
    struct causes *x = ctx;
    if (r->state || !r->site)
        return;
    for (uint32_t i = 0; i < x->n; i++)
        if (x->v[i].site == r->site && x->v[i].class == r->class_)
            sim_broken(x->s, "one cause is one incident", "the site of %s has two open ones of class %u",
                       r->site_name, r->class_);
    if (x->n < CAUSES)
        x->v[x->n++] = (struct cause){r->site, r->class_};
}

void sim_stops_opened(struct sim *s) {
    struct causes x = {.s = s};
    rmd_coord_incidents(s->coord.core, open_cause, &x);
}
