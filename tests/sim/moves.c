/* Moving and returning (design, section 9), judged by the receivers' logs: what lanes that were idle send after another network's lane was
 * stopped, and how many recipients a lane that comes back has at a time.
 *
 * That a lane was stopped is the coordinator's word (an event, which is durable); what follows from it is the checker's own count. It
 * demands what is beyond doubt: of one stop alone at its provider, and of lanes on other networks that stand behind the stopped one, had been
 * connected all the time and had nothing to do for more than an hour. Whatever such a lane sends of bulk campaigns, and hadn't tried itself
 * before, is moved work: within the canary's time at most the canary's part of all that isn't delivered at this provider, and behind it,
 * in any hour, at most what its growth allows. The coordinator takes its part of less: it knows what came back, and this file doesn't. */
#include "tests/sim/sim.h"

#include <inttypes.h>

enum {
    HOUR_MS = 3600000,
    IDLE_MS = 80 * 60000, /* the ledger's hour and its buckets */
    LEASED_MS = 5 * 60000,
    FLIGHT_MS = 60000, /* transactions that were open when it was stopped */
    PROBES = 5,
    REPORT_MS = 2,
};

void sim_moves_config(struct sim *s) {
    struct rmd_rng rng;
    struct rmd_failover_settings *f = &s->coord_options.failover;
    rmd_rng_seed(&rng, rmd_mix64(s->seed ^ 0x6d6f766573));
    if (!rmd_rng_below(&rng, 4))
        return; /* a world without limits */
    if (s->seed % 2)
        s->coord_options.usual = (struct rmd_usual_settings){.percent = 150, .floor = 5 + (uint32_t)(s->seed % 40)};
    f->canary_ms = 120000 + (int64_t)rmd_rng_below(&rng, 480000);
    f->canary_percent = 5;
    f->canary_floor = 2 + (uint32_t)rmd_rng_below(&rng, 6);
    f->growth_percent = 150;
    f->growth_floor = 5 + (uint32_t)rmd_rng_below(&rng, 40);
}

/* Of all recipients there (-1: anywhere), those that no receiver has. */
static uint64_t undelivered(const struct sim *s, int provider) {
    uint64_t n = 0;
    for (uint32_t k = 0; k < s->n_campaigns; k++)
        for (uint32_t i = 0; s->campaign[k].message && i < s->campaign[k].rows; i++) {
            const struct sim_message *m = &s->campaign[k].message[i];
            n += !m->accepts &&
                 (provider < 0 || s->domain[s->address[m->address].domain].provider == (uint32_t)provider);
        }
    return n;
}

static bool is_stopped(const struct sim *s, uint32_t source, uint32_t provider) {
    return s->moves.stopped_ms[source][provider] || s->moves.everywhere_ms[source];
}

/* Lanes that stand before the stopped one take what they take for their own sake. */
static bool behind(const struct sim *s, uint32_t source, uint32_t than, uint32_t provider) {
    uint64_t p = (uint64_t)s->provider[provider].id << 32;
    return rmd_mix64(p | s->source[source].id) > rmd_mix64(p | s->source[than].id);
}

/* whole: it was stopped everywhere, and the canary's part is of all that it had. */
static void judge(struct sim *s, uint32_t source, uint32_t provider, bool whole) {
    struct sim_move *m = &s->moves.move[provider];
    const struct rmd_failover_settings *f = &s->coord_options.failover;
    bool alone = true;
    for (uint32_t i = 0; i < s->n_sources; i++)
        alone = alone && (i == source || !is_stopped(s, i, provider));
    *m = (struct sim_move){0};
    /* What single sites don't take from others moves, too. */
    alone = alone && !(s->provider[provider].other && s->moves.site_ms && s->now_ms - s->moves.site_ms < SIM_DAY_MS);
    if (!alone || !f->canary_ms || !s->source[source].id)
        return;
    uint64_t part = undelivered(s, whole ? -1 : (int)provider) * f->canary_percent / 100;
    *m = (struct sim_move){.at_ms = s->now_ms, .source = source};
    m->most = part > f->canary_floor ? part : f->canary_floor;
    for (uint32_t i = 0; i < s->n_sources; i++) {
        const struct sim_source *x = &s->source[i];
        int64_t rcpt = s->moves.rcpt_ms[i][provider], lease = s->moves.lease_ms[i][provider];
        bool idle = (!rcpt || s->now_ms - rcpt > IDLE_MS) && (!lease || s->now_ms - lease > LEASED_MS);
        bool returns = s->moves.returning_ms[i][provider] && s->moves.accepted[i][provider] < PROBES; /* its probes */
        m->idle[i] = idle && !returns && x->id && x->net != s->source[source].net && !x->warms &&
                     !s->source[source].warms && behind(s, i, source, provider) &&
                     sim_check_steady(s, x->node, s->now_ms);
    }
}

/* ---- what the coordinator says */

static void stopped(struct sim *s, uint32_t i, uint32_t p, bool whole) {
    if (is_stopped(s, i, p)) {
        s->moves.move[p].at_ms = 0; /* by two incidents: whose work is it? */
    } else {
        bool again = s->moves.returning_ms[i][p] && s->moves.accepted[i][p] < PROBES;
        s->moves.accepted[i][p] = 0;
        s->moves.returning_ms[i][p] = s->now_ms;
        s->moves.move[p].at_ms = 0;
        if (!again) /* a probe that was refused: its work has moved long ago */
            judge(s, i, p, whole);
    }
    s->moves.stopped_ms[i][p] = s->now_ms;
}

static void back(struct sim *s, uint32_t i, uint32_t p) {
    if (s->moves.move[p].at_ms && s->moves.move[p].source == i)
        s->moves.move[p].at_ms = 0;
    s->moves.stopped_ms[i][p] = 0;
}

void sim_moves_event(struct sim *s, const Remuda__EventRecord *e) {
    uint32_t i = 0;
    while (i < s->n_sources && s->source[i].id != e->source)
        i++;
    int one = e->provider ? sim_provider_find(s, e->provider) : -1;
    if (i == s->n_sources || !e->source || (e->provider && one < 0))
        return;
    bool stop = strcmp(e->type, "source.quarantined") == 0, open = strcmp(e->type, "source.opened") == 0,
         probing = strcmp(e->type, "source.probing") == 0;
    if (strcmp(e->type, "source.site_stopped") == 0 && one >= 0) {
        s->moves.site_ms = s->now_ms;
        s->moves.move[one].at_ms = 0;
    }
    if (strcmp(e->type, "lease.granted") == 0 && one >= 0)
        s->moves.lease_ms[i][one] = s->now_ms;
    for (uint32_t p = 0; p < s->n_providers && (stop || open || probing); p++) {
        if (one >= 0 && p != (uint32_t)one)
            continue;
        if (stop)
            stopped(s, i, p, one < 0);
        else
            back(s, i, p);
    }
    if (one < 0 && (stop || open || probing))
        s->moves.everywhere_ms[i] = stop ? s->now_ms : 0;
    if (one < 0 && stop) {
        s->moves.whole[i] = true;
        s->moves.accepted_everywhere[i] = 0;
    }
}

/* By the operator: what was stopped may go anywhere. */
void sim_moves_resolved(struct sim *s) {
    memset(s->moves.move, 0, sizeof s->moves.move);
}

/* ---- what receivers see */

static uint64_t busiest(const struct sim_account *a, int64_t before_ms) {
    uint64_t most = 0;
    for (size_t i = 0, from = 0; i < a->n; i++) { /* two hours: reports come late, and buckets are coarse */
        int64_t at = a->v[(a->head + i) % a->cap];
        if (at > before_ms)
            break;
        while (a->v[(a->head + from) % a->cap] <= at - 2 * HOUR_MS)
            from++;
        most = i - from + 1 > most ? i - from + 1 : most;
    }
    return most;
}

static void remember(struct sim_account *a, int64_t at_ms, int64_t keep_ms) {
    while (a->n && a->v[a->head] <= at_ms - keep_ms) {
        a->head = (a->head + 1) % a->cap;
        a->n--;
    }
    if (a->n == a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 64;
        int64_t *v = rmd_alloc(cap * sizeof *v);
        for (size_t i = 0; i < a->n; i++)
            v[i] = a->v[(a->head + i) % a->cap];
        free(a->v);
        a->v = v;
        a->head = 0;
        a->cap = cap;
    }
    a->v[(a->head + a->n++) % a->cap] = at_ms;
}

static void check_moved(struct sim *s, const struct sim_conn *c) {
    const struct rmd_failover_settings *f = &s->coord_options.failover;
    struct sim_move *m = &s->moves.move[c->provider];
    struct sim_account *hour = &s->moves.hour[c->source][c->provider];
    const char *address = s->source[c->source].address, *name = s->provider[c->provider].name;
    remember(hour, s->now_ms, HOUR_MS);
    if (!m->at_ms || !m->idle[c->source] || !sim_check_steady(s, s->source[c->source].node, m->at_ms))
        return;
    if (s->now_ms < m->at_ms + f->canary_ms && ++m->n > m->most)
        sim_broken(s, "moved work starts as a canary",
                   "%s: %" PRIu64 " recipients of lanes that were idle, %" PRId64
                   " s after %s was stopped; at most %" PRIu64 " may go (the last from %s)",
                   name, m->n, (s->now_ms - m->at_ms) / 1000, s->source[m->source].address, m->most, address);
    uint64_t peak = busiest(&s->moves.sent[c->source][c->provider], s->now_ms - HOUR_MS),
             limit = peak * f->growth_percent / 100;
    limit = limit > f->growth_floor ? limit : f->growth_floor;
    limit = limit > m->most ? limit : m->most;
    if (hour->n > limit)
        sim_broken(s, "a lane grows by its own peak",
                   "%s sends to %s: %zu moved recipients in an hour, its busiest two had %" PRIu64
                   " and the limit is %" PRIu64,
                   address, name, hour->n, peak, limit);
}

/* It comes back, and few were accepted so far. */
static bool returns(const struct sim *s, const struct sim_conn *c) {
    int64_t since = s->moves.returning_ms[c->source][c->provider];
    bool enough = s->moves.accepted[c->source][c->provider] >= PROBES ||
                  (s->moves.whole[c->source] && s->moves.accepted_everywhere[c->source] >= PROBES);
    /* Long enough to know what it may send; or all leases that it had then were over before it woke. */
    bool slept = since < s->slept_from_ms && s->slept_to_ms - s->slept_from_ms > s->lease_valid_ms + s->deadline_ms;
    return since && !enough && s->now_ms >= since + FLIGHT_MS &&
           (slept || sim_check_steady(s, c->node, s->now_ms - FLIGHT_MS));
}

/* A next recipient comes with a lease that is granted when the last one's outcome was reported: two ways at least. */
void sim_moves_mail(struct sim *s, const struct sim_conn *c) {
    int64_t since = s->moves.returning_ms[c->source][c->provider], end = s->moves.end_ms[c->source][c->provider];
    if (returns(s, c) && end > since + FLIGHT_MS && s->now_ms - end < REPORT_MS)
        sim_broken(s, "what comes back comes by single recipients",
                   "%s was stopped at %s and goes on at once with the next one, %" PRId64
                   " s later, when %u had been accepted",
                   s->source[c->source].address, s->provider[c->provider].name, (s->now_ms - since) / 1000,
                   s->moves.accepted[c->source][c->provider]);
}

void sim_moves_read(struct sim *s, const struct sim_conn *c) {
    s->moves.end_ms[c->source][c->provider] = s->now_ms;
}

/* Others of this source there, whose transaction is open. */
static void check_alone(struct sim *s, const struct sim_conn *c) {
    int64_t since = s->moves.returning_ms[c->source][c->provider];
    if (!returns(s, c))
        return;
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        const struct sim_conn *x = &s->conn[i];
        bool open = x->used && x != c && x->client_open && x->server_open && (x->have_rcpt || x->in_data);
        if (open && x->source == c->source && x->provider == c->provider)
            sim_broken(s, "what comes back comes by single recipients",
                       "%s was stopped at %s and sends two at a time, %" PRId64 " s later, when %u had been accepted",
                       s->source[c->source].address, s->provider[c->provider].name, (s->now_ms - since) / 1000,
                       s->moves.accepted[c->source][c->provider]);
    }
}

void sim_moves_rcpt(struct sim *s, struct sim_conn *c, struct sim_message *m) {
    check_alone(s, c);
    bool again = m->rcpt_source == c->source + 1;
    if (s->stream[c->campaign->stream].priority && !again)
        check_moved(s, c);
    m->rcpt_source = (uint8_t)(c->source + 1);
    s->moves.rcpt_ms[c->source][c->provider] = s->now_ms;
    remember(&s->moves.sent[c->source][c->provider], s->now_ms, 7 * (int64_t)SIM_DAY_MS);
}

void sim_moves_accepted(struct sim *s, const struct sim_conn *c) {
    s->moves.accepted[c->source][c->provider]++;
    s->moves.accepted_everywhere[c->source]++;
}

void sim_moves_free(struct sim *s) {
    for (uint32_t i = 0; i < SIM_SOURCES; i++)
        for (uint32_t p = 0; p < SIM_PROVIDERS; p++) {
            free(s->moves.hour[i][p].v);
            free(s->moves.sent[i][p].v);
        }
}
