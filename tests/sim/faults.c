/* What goes wrong, and when: a period has as many faults as the world's rate says, each of a kind that this world
 * suffers from. */
#include "tests/sim/sim.h"

static void on_reunite(struct sim *s, struct sim_event *e) {
    sim_net_partition(s, (uint32_t)e->a, false);
}

static void coord_crash(struct sim *s) {
    if (!s->coord.up)
        return;
    if (s->faults.host_loss && sim_one_in(s, 3))
        sim_coord_kill(s, true);
    else
        s->coord.crash_in = sim_between(s, 0, 80); /* at an effect that comes */
}

static void node_crash(struct sim *s, bool host) {
    struct sim_node *nd = &s->node[sim_below(s, s->n_nodes)];
    if (!nd->up)
        return;
    nd->crash_in = sim_between(s, 0, 60);
    nd->crash_host = host;
}

static void partition(struct sim *s) {
    uint32_t n = (uint32_t)sim_below(s, s->n_nodes);
    sim_net_partition(s, n, true);
    sim_at(s, sim_one_in(s, 2) ? sim_between(s, 1000, 20000) : sim_between(s, 60000, 400000), on_reunite, n, 0, 0);
}

static struct sim_conn *busy(struct sim *s);

/* A busy node is cut off for so long that its leases expire, and perhaps its return isn't waited for. */
static void on_long_cut(struct sim *s, struct sim_event *e) {
    const struct sim_conn *c = busy(s);
    (void)e;
    if (s->quiet_faults)
        return;
    if (!c) {
        sim_at(s, 700, on_long_cut, 0, 0, 0);
        return;
    }
    uint32_t n = c->node;
    sim_net_partition(s, n, true);
    sim_op_suppress_some(s, 6); /* of what it may have: nobody may say yes before its leases are over */
    sim_at(s, sim_between(s, 80000, 380000), on_reunite, n, 0, 0);
}

static void clock_step(struct sim *s) {
    uint64_t n = sim_below(s, s->n_nodes + 1);
    struct sim_clock *c = n == s->n_nodes ? &s->coord.clock : &s->node[n].clock;
    c->wall_off_ms = sim_between(s, -s->max_step_ms / 2, s->max_step_ms / 2);
    sim_release_clock(s);
    sim_say(s, "%s: its wall clock is now %lld s off", n == s->n_nodes ? "coordinator" : s->node[n].name,
            (long long)c->wall_off_ms / 1000);
}

/* A lane that is busy just now, so that there is something to stop. */
static struct sim_conn *busy(struct sim *s) {
    struct sim_conn *found = NULL;
    uint64_t n = 0;
    for (uint32_t i = 0; i < SIM_CONNS; i++)
        if (s->conn[i].used && s->conn[i].client_open && sim_one_in(s, ++n))
            found = &s->conn[i];
    return found;
}

static void block(struct sim *s);

static void on_block(struct sim *s, struct sim_event *e) {
    (void)e;
    if (!s->quiet_faults)
        block(s);
}

/* Where else that source is busy just now, or anywhere. */
static uint32_t other_provider(struct sim *s, const struct sim_block *b) {
    uint32_t found = (uint32_t)sim_below(s, s->n_providers);
    uint64_t n = 0;
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        const struct sim_conn *c = &s->conn[i];
        if (c->used && c->client_open && c->source == b->source && c->provider != b->provider && sim_one_in(s, ++n))
            found = c->provider;
    }
    return found;
}

/* One more of its network, when there is one. */
static uint32_t neighbour(struct sim *s, const struct sim_block *b) {
    uint32_t found = b->source;
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->n_sources; i++)
        if (i != b->source && s->source[i].net == s->source[b->source].net && sim_one_in(s, ++n))
            found = i;
    return found;
}

static void block(struct sim *s) {
    static const enum rmd_stage stages[] = {RMD_STAGE_GREETING, RMD_STAGE_EHLO, RMD_STAGE_MAIL,
                                            RMD_STAGE_RCPT,     RMD_STAGE_DATA, RMD_STAGE_DOT};
    const struct sim_conn *c = busy(s);
    if (s->n_blocks == SIM_BLOCKS)
        return;
    if (!c) {
        sim_at(s, 1500, on_block, 0, 0, 0); /* it waits for traffic */
        return;
    }
    struct sim_block *b = &s->block[s->n_blocks++];
    *b = (struct sim_block){.source = c->source,
                            .provider = c->provider,
                            .from_ms = s->now_ms,
                            .to_ms = s->now_ms + sim_between(s, 600000, 4 * 3600000),
                            .stage = stages[sim_below(s, sizeof stages / sizeof stages[0])],
                            .network = sim_one_in(s, 2)};
    b->whole = b->network && sim_one_in(s, 4);
    if (s->provider[b->provider].other && !sim_one_in(s, 3)) /* a private list, or a broken lookup */
        b->site = c->site + 1;
    sim_say(s, "%s: %s%s%s blocks %s%s at %s", s->provider[b->provider].name, b->site ? "only " : "",
            b->site ? s->domain[c->site].name : "", b->site ? "" : "it", s->source[b->source].address,
            b->whole ? " and its network" : "", rmd_stage_name(b->stage));
    if (s->n_blocks == SIM_BLOCKS || sim_one_in(s, 4))
        return;
    /* Whoever is bad at one place often is so at another; or a neighbour in its network hears the same later. */
    struct sim_block *more = &s->block[s->n_blocks++];
    *more = *b;
    if (b->network)
        more->source = neighbour(s, b);
    else
        more->provider = other_provider(s, b);
    if (more->provider != b->provider)
        more->site = 0;
    more->from_ms += sim_between(s, 0, 20000);
    sim_say(s, "%s: will block %s, too", s->provider[more->provider].name, s->source[more->source].address);
    if (!b->network || b->whole || s->n_blocks == SIM_BLOCKS)
        return;
    /* And another place refuses the neighbour alone: what it hears of its network stops both, itself and the network. */
    struct sim_block *apart = &s->block[s->n_blocks++];
    *apart = *b;
    apart->source = more->source;
    apart->provider = other_provider(s, b);
    apart->network = false;
    more->from_ms += sim_between(s, 10000, 40000);
    sim_say(s, "%s: blocks %s, too", s->provider[apart->provider].name, s->source[apart->source].address);
}

/* Receivers don't like a sending domain; the operator mends it afterwards, and resumes. */
static void shun(struct sim *s) {
    uint32_t n = (uint32_t)sim_below(s, s->n_streams);
    struct sim_stream *st = &s->stream[n];
    if (s->now_ms < st->shunned_to_ms)
        return;
    st->shunned_by = 1u << sim_below(s, s->n_providers) | 1u << sim_below(s, s->n_providers);
    st->shunned_from_ms = s->now_ms;
    st->shunned_for_good = sim_one_in(s, 3);
    st->shunned_to_ms = s->now_ms + sim_between(s, 30000, 600000);
    sim_say(s, "receivers shun stream %s", st->name);
    sim_op_resume_stream(s, n, st->shunned_to_ms - s->now_ms + sim_between(s, 1000, 60000));
}

static void stall(struct sim *s) {
    s->coord.stall_until_ms = s->now_ms + sim_between(s, 500, 30000);
    sim_check_vanished(s, -1);
    sim_say(s, "the coordinator's disk is full for %lld ms", (long long)(s->coord.stall_until_ms - s->now_ms));
}

static void window(struct sim *s, int64_t *from, int64_t *to, const char *what, const struct sim_provider *p) {
    *from = s->now_ms;
    *to = s->now_ms + sim_between(s, 15000, 240000);
    sim_say(s, "%s: %s", p->name, what);
}

static void forget(struct sim *s) {
    for (uint32_t n = 0; n < s->n_nodes; n++) {
        if (s->node[n].up && !s->node[n].partitioned)
            continue;
        sim_op_forget(s, n);
        return;
    }
}

static void revoke(struct sim *s) {
    uint32_t n = (uint32_t)sim_below(s, s->n_nodes);
    if (s->n_nodes < 2 || s->node[n].revoked)
        return;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (s->node[i].revoked)
            return; /* one is enough */
    s->node[n].revoked = true;
    sim_op_revoke(s, n);
}

static void reset(struct sim *s) {
    sim_net_reset(s, (uint32_t)sim_below(s, s->n_nodes), sim_between(s, 20, 4000));
}

static void on_fault(struct sim *s, struct sim_event *e) {
    const struct sim_faults *f = &s->faults;
    const bool on[] = {f->coord_crash, f->node_crash, f->host_loss, f->cut,    f->partition, f->stall, f->clock_step,
                       f->blocks,      f->liar,       f->silent,    f->forget, f->revoke,    f->shun};
    enum { KINDS = sizeof on / sizeof on[0] };
    uint64_t kind = e->a % KINDS;
    struct sim_provider *p = &s->provider[e->b % s->n_providers];
    for (unsigned i = 0; i < KINDS && !on[kind]; i++)
        kind = (kind + 1) % KINDS;
    if (!on[kind] || s->quiet_faults)
        return;
    switch (kind) {
    case 0:
        coord_crash(s);
        break;
    case 1:
        node_crash(s, false);
        break;
    case 2:
        node_crash(s, true);
        break;
    case 3:
        reset(s);
        break;
    case 4:
        partition(s);
        break;
    case 5:
        stall(s);
        break;
    case 6:
        clock_step(s);
        break;
    case 7:
        block(s);
        break;
    case 8:
        sim_liar_begins(s);
        window(s, &p->liar_from_ms, &p->liar_to_ms, "says of everybody that the user is unknown", p);
        break;
    case 9:
        window(s, &p->silent_from_ms, &p->silent_to_ms, "hears and says nothing", p);
        break;
    case 10:
        forget(s);
        break;
    case 12:
        shun(s);
        break;
    default:
        revoke(s);
        break;
    }
}

void sim_faults_period(struct sim *s, int64_t length_ms) {
    for (uint32_t i = 0; i < s->faults.rate; i++)
        sim_at(s, sim_between(s, 0, length_ms), on_fault, rmd_rng_next(&s->rng), rmd_rng_next(&s->rng), 0);
    if (s->faults.partition && sim_one_in(s, 2))
        sim_at(s, sim_between(s, 0, length_ms / 4), on_long_cut, 0, 0, 0);
    for (int i = 0; i < 2 && s->faults.blocks; i++)
        sim_at(s, sim_between(s, 0, length_ms / 2), on_block, 0, 0, 0);
}

void sim_faults_heal(struct sim *s) {
    sim_say(s, "no more faults");
    s->coord.crash_in = -1;
    s->coord.stall_until_ms = 0;
    s->coord.clock.wall_off_ms = 0;
    for (uint32_t i = 0; i < s->n_blocks; i++)
        s->block[i].to_ms = s->now_ms;
    for (uint32_t i = 0; i < s->n_streams; i++)
        s->stream[i].shunned_to_ms = s->now_ms;
    for (uint32_t i = 0; i < s->n_providers; i++)
        s->provider[i].liar_to_ms = s->provider[i].silent_to_ms = s->now_ms;
    sim_coord_start(s);
    for (uint32_t n = 0; n < s->n_nodes; n++) {
        s->node[n].crash_in = -1;
        s->node[n].clock.wall_off_ms = 0;
        sim_net_partition(s, n, false);
        sim_node_start(s, n);
    }
    sim_check_disturbed(s, -1);
}
