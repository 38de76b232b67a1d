/* Staged trouble: sequences of receivers' words that chance alone makes too seldom for a hundred worlds to have them. Every sixth world has one of them, and
 * no other fault, so that beyond doubt every node knows what it should; who is meant follows from the traffic that there is:
 *
 * - the network: its provider refuses a source, then the one that takes over, and says of both that their network is meant: nobody else of it may go on;
 * - beside the source: one provider refuses every source, and another one those that come by and by, and says of one of them that its network is meant: as two providers
 *   refuse it, that word stops this source everywhere, and the network at the second one, too;
 * - sites: one source is refused at one site of "other" and then at another: it stops at all of them;
 * - growth: one source is refused by one provider when most of a campaign is still to come, and the canary is short: idle lanes of other networks take what they
 *   may.
 *
 * Choices come from the seed, or from the traffic: worlds without staged trouble stay what they were. */
#include "tests/sim/sim.h"

enum { LOOK_MS = 100, LASTS_MS = 6 * 3600000, APART_MS = 12000, ENOUGH = 60 };

void sim_staged_choose(struct sim *s) {
    uint64_t x = rmd_mix64(s->seed ^ 0x737461676564) % 24;
    s->staged.kind = x < SIM_STAGED_KINDS ? (enum sim_staged_kind)x : SIM_STAGED_NONE;
}

/* All sources are in one network: where else should the work go? */
bool sim_staged_one_network(const struct sim *s) {
    return s->staged.kind == SIM_STAGED_NETWORK || s->staged.kind == SIM_STAGED_BESIDE;
}

/* Behind everything else that is chosen. */
void sim_staged_config(struct sim *s) {
    struct rmd_failover_settings *f = &s->coord_options.failover;
    if (s->staged.kind == SIM_STAGED_NONE)
        return;
    s->max_step_ms = 0;
    s->faults = (struct sim_faults){0};
    s->watch = s->watch_settings.enabled = false;
    for (uint32_t i = 0; i < s->n_providers; i++) {
        struct sim_provider *p = &s->provider[i];
        p->cut_one_in = p->rate_per_minute = p->tempfail_one_in = 0;
        p->content_4xx = p->content_5xx = p->greylists = p->wary = false;
    }
    *f = (struct rmd_failover_settings){0};
    s->coord_options.usual = (struct rmd_usual_settings){0};
    if (s->staged.kind == SIM_STAGED_GROWTH)
        *f = (struct rmd_failover_settings){.canary_ms = 15000,
                                            .canary_percent = 5,
                                            .canary_floor = 3,
                                            .growth_percent = 150,
                                            .growth_floor = 5 + (uint32_t)(s->seed % 10)};
}

/* Half of the domains are sites of "other". */
bool sim_staged_many_sites(const struct sim *s) {
    return s->staged.kind == SIM_STAGED_SITES;
}

/* NULL: there are too many already. */
static struct sim_block *refuse(struct sim *s, uint32_t source, uint32_t provider, uint32_t site, bool network) {
    static const enum rmd_stage stages[] = {RMD_STAGE_GREETING, RMD_STAGE_MAIL, RMD_STAGE_RCPT, RMD_STAGE_DOT};
    if (s->n_blocks == SIM_BLOCKS)
        return NULL;
    struct sim_block *b = &s->block[s->n_blocks++];
    *b = (struct sim_block){.source = source,
                            .provider = provider,
                            .from_ms = s->now_ms,
                            .to_ms = s->now_ms + LASTS_MS,
                            .stage = stages[sim_below(s, sizeof stages / sizeof stages[0])],
                            .network = network,
                            .site = site};
    sim_say(s, "%s: %s%s refuses %s%s at %s, as staged", s->provider[provider].name, site ? "only " : "",
            site ? s->domain[site - 1].name : "it", s->source[source].address, network ? " for its network" : "",
            rmd_stage_name(b->stage));
    s->staged.step++;
    return b;
}

/* A connection over which bulk mail goes just now: of this source, to this provider (-1: any). */
static const struct sim_conn *busy(struct sim *s, int source, int provider) {
    const struct sim_conn *found = NULL;
    uint64_t n = 0;
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        const struct sim_conn *c = &s->conn[i];
        bool here = c->used && c->client_open && c->campaign && s->stream[c->campaign->stream].priority &&
                    (source < 0 || c->source == (uint32_t)source) &&
                    (provider < 0 || c->provider == (uint32_t)provider);
        if (here && sim_check_steady(s, c->node, s->now_ms) && sim_one_in(s, ++n))
            found = c;
    }
    return found;
}

static bool named(const struct sim *s, const struct sim_conn *c) {
    return c && !s->provider[c->provider].other;
}

static uint32_t waiting(const struct sim *s, uint32_t provider) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->n_campaigns; k++)
        for (uint32_t i = 0; s->campaign[k].accepted && i < s->campaign[k].rows; i++) {
            const struct sim_message *m = &s->campaign[k].message[i];
            n += !m->accepts && s->domain[s->address[m->address].domain].provider == provider;
        }
    return n;
}

/* ---- each looks for its next step */

static void first(struct sim *s, bool network) {
    struct sim_staged *x = &s->staged;
    const struct sim_conn *c = busy(s, -1, -1);
    if (!named(s, c) || waiting(s, c->provider) < ENOUGH)
        return;
    x->first = c->source;
    x->provider = c->provider;
    refuse(s, c->source, c->provider, 0, network);
}

static void network(struct sim *s) {
    struct sim_staged *x = &s->staged;
    const struct sim_conn *c = x->step == 1 ? busy(s, -1, (int)x->provider) : NULL;
    if (x->step == 0)
        first(s, true);
    else if (c && c->source != x->first &&
             s->stops.network_ms[x->first][x->provider]) /* the first one has heard it */
        refuse(s, c->source, c->provider, 0, true);
}

static bool is_refused(const struct sim *s, uint32_t source, uint32_t provider) {
    for (uint32_t i = 0; i < s->n_blocks; i++)
        if (s->block[i].source == source && s->block[i].provider == provider && s->now_ms < s->block[i].to_ms)
            return true;
    return false;
}

/* A source that sends to this provider now, and other sources that it has refused: how many, and one of them a while ago. */
static uint32_t refused_before(const struct sim *s, uint32_t source, uint32_t provider, bool *a_while_ago) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_sources; i++) {
        int64_t at = s->stops.block_ms[i][provider];
        n += i != source && at;
        *a_while_ago |= i != source && at && s->now_ms - at > APART_MS;
    }
    return n;
}

/* The first provider refuses everybody. The second one refuses who comes, for himself; and for the network's sake a source that the first one has refused. */
static void beside(struct sim *s) {
    struct sim_staged *x = &s->staged;
    const struct sim_conn *c = busy(s, -1, x->step > 1 ? (int)x->provider : -1);
    if (!named(s, c) || (x->step == 1 && (c->provider == x->first || waiting(s, c->provider) < ENOUGH)))
        return;
    if (x->step == 0) {
        x->first = c->provider;
        struct sim_block *b = refuse(s, c->source, c->provider, 0, false);
        if (b)
            b->whole = true;
        return;
    }
    bool a_while_ago = false;
    uint32_t before = refused_before(s, c->source, c->provider, &a_while_ago);
    if (x->over || is_refused(s, c->source, c->provider) || before + 2 >= s->n_sources)
        return;
    x->provider = c->provider;
    x->over = a_while_ago && s->stops.block_ms[c->source][x->first];
    if (x->over || !before || !s->stops.block_ms[c->source][x->first])
        refuse(s, c->source, c->provider, 0, x->over);
}

static void sites(struct sim *s) {
    struct sim_staged *x = &s->staged;
    const struct sim_conn *c = busy(s, x->step ? (int)x->first : -1, (int)s->n_providers - 1);
    if (!c || x->step > 1 || (x->step == 1 && (c->site == x->second || !s->stops.site_ms[x->first][x->second])))
        return;
    x->first = c->source;
    x->second = c->site;
    refuse(s, c->source, c->provider, c->site + 1, false);
}

static void on_look(struct sim *s, struct sim_event *e) {
    struct sim_staged *x = &s->staged;
    if (s->quiet_faults || e->a != x->period)
        return;
    switch (x->kind) {
    case SIM_STAGED_NETWORK:
        network(s);
        break;
    case SIM_STAGED_BESIDE:
        beside(s);
        break;
    case SIM_STAGED_SITES:
        sites(s);
        break;
    case SIM_STAGED_GROWTH:
        if (x->step == 0)
            first(s, false);
        break;
    case SIM_STAGED_NONE:
        return;
    }
    sim_at(s, LOOK_MS, on_look, e->a, 0, 0);
}

/* Each period stages it once more; what was refused in a former one has been forgotten by then, as often as not. */
void sim_staged_period(struct sim *s) {
    if (s->staged.kind == SIM_STAGED_NONE)
        return;
    s->staged.step = 0;
    s->staged.over = false;
    s->staged.period++;
    sim_at(s, LOOK_MS, on_look, s->staged.period, 0, 0);
}
