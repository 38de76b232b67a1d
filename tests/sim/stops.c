/* What must stop more than one lane, and stays stopped (design, sections 7 and 9): two unrelated named providers refuse a
 * source; a provider says of two of our sources that it means their network; the same of a sending domain, or of a
 * campaign's content, from two named providers or on two of our networks.
 *
 * The checker knows it from what receivers said and nodes have read. It demands only what is beyond doubt: the nodes that
 * read it, and the node that sends, had been connected without a break since before the first of the two was read, so the
 * coordinator has heard both; and it allows the time that its word takes. "other" is many receivers and nobody's voice: what
 * one of its sites says stops the source at this site (checker.c), and only two of them stop the lane there.
 * What an operator opens again, or what is older than a quarantine lasts at least, isn't judged. */
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

/* voice: of one sending domain or campaign, by source and provider. */
static void heard_sender(struct sim *s, const struct sim_conn *c, int64_t voice[SIM_SOURCES][SIM_PROVIDERS],
                         struct sim_stop *stop, const char *what, const char *name) {
    const struct sim_stream *st = &s->stream[c->campaign->stream];
    for (uint32_t i = 0; i < s->n_sources && st->priority; i++) {
        for (uint32_t p = 0; p < s->n_providers; p++) {
            bool apart = s->source[i].net != s->source[c->source].net ||
                         (p != c->provider && !s->provider[p].other && !s->provider[c->provider].other);
            if (apart && counts(s, i, voice[i][p], SENDER_MS))
                told(s, c, i, stop, what, name);
        }
    }
    voice[c->source][c->provider] = s->now_ms;
}

void sim_stops_heard(struct sim *s, struct sim_conn *c, unsigned says) {
    struct sim_stops *t = &s->stops;
    int64_t *lane = t->lane_said_ms[c->source][c->provider];
    if (says & SIM_SAYS_BLOCK)
        heard_block(s, c, says & SIM_SAYS_NETWORK);
    if (!(says & (SIM_SAYS_SENDER | SIM_SAYS_SPAM)) || !c->campaign)
        return;
    bool spam = says & SIM_SAYS_SPAM;
    bool alarm = !lane[spam] || s->now_ms - lane[spam] > ALARM_REPEAT_MS;
    uint32_t k = (uint32_t)(c->campaign - s->campaign), st = c->campaign->stream;
    char name[16];
    rmd_format(name, sizeof name, "%u", k);
    if (alarm)
        lane[spam] = s->now_ms;
    if (alarm && spam)
        heard_sender(s, c, t->spam_ms[k], &t->campaign[k], "campaign", name);
    else if (alarm)
        heard_sender(s, c, t->sender_ms[st], &t->stream[st], "stream", s->stream[st].name);
}

static void check(struct sim *s, const struct sim_conn *c, const struct sim_stop *stop, const char *promise,
                  const char *what, const char *name) {
    if (!stop->at_ms || s->now_ms > stop->at_ms + LASTS_MS || !sim_check_steady(s, c->node, stop->at_ms) ||
        !sim_check_steady(s, stop->node[0], stop->at_ms) || !sim_check_steady(s, stop->node[1], stop->at_ms) ||
        s->now_ms <= stop->at_ms + sim_check_grace(s, c->node, stop->at_ms))
        return;
    sim_broken(s, promise, "%s says MAIL from %s at %s, %" PRId64 " ms after %s %s was refused for the second time",
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
    check(s, c, &t->stream[k->stream], "a refused sending domain stops", "stream", st->name);
    check(s, c, &t->campaign[k - s->campaign], "refused content stops", "campaign", name);
}

void sim_stops_said(struct sim *s, const struct sim_conn *c, bool network) {
    s->stops.said[c->source][c->provider] = true;
    if (s->provider[c->provider].other)
        s->stops.said_site[c->source][c->site] = true;
    if (network)
        s->stops.said_network[s->source[c->source].net][c->provider] = true;
}

/* Two sites of "other" refused it, or one and a named provider. */
static bool corroborated(const struct sim *s, uint32_t source) {
    uint32_t sites = 0, named = 0;
    for (uint32_t d = 0; d < s->n_domains; d++)
        sites += s->stops.said_site[source][d];
    for (uint32_t p = 0; p < s->n_providers; p++)
        named += s->stops.said[source][p] && !s->provider[p].other;
    return sites + named >= 2 && sites;
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

void sim_stops_stream_opened(struct sim *s, uint32_t stream) {
    s->stops.stream[stream].at_ms = 0;
    memset(s->stops.sender_ms[stream], 0, sizeof s->stops.sender_ms[stream]);
}

void sim_stops_campaign_opened(struct sim *s, uint32_t campaign) {
    s->stops.campaign[campaign].at_ms = 0;
    memset(s->stops.spam_ms[campaign], 0, sizeof s->stops.spam_ms[campaign]);
}

void sim_stops_resolved(struct sim *s) {
    memset(s->stops.block_ms, 0, sizeof s->stops.block_ms);
    memset(s->stops.network_ms, 0, sizeof s->stops.network_ms);
    memset(s->stops.site_ms, 0, sizeof s->stops.site_ms);
    memset(s->stops.source, 0, sizeof s->stops.source);
    memset(s->stops.other, 0, sizeof s->stops.other);
    memset(s->stops.network, 0, sizeof s->stops.network);
}
