/* The promises (design, section 1), checked at every MAIL that leaves, every RCPT and every message that a receiver
 * sees, and at the end.
 *
 * The checker knows submissions (with what was acknowledged: campaigns, suppressions, pauses, cancels), the caps that
 * were configured, and the receivers' logs. It knows the faults too, since they decide what may be in doubt: which
 * replies never reached a process, and which hosts lost what they had read. The coordinator's counters and events are
 * compared with all this, and never believed. */
#include "tests/sim/sim.h"

#include <inttypes.h>

enum { HOUR_MS = 3600000, STABLE_MS = 15000, HOP_MS = 2500, SLOW_HOP_MS = 9000 };

static struct sim_message *message_of(const struct sim_conn *c) {
    return &c->campaign->message[c->ordinal - 1];
}

static unsigned number(const struct sim *s, const struct sim_campaign *c) {
    return (unsigned)(c - s->campaign);
}

struct sim_campaign *sim_check_campaign(struct sim *s, const struct rmd_id *message, uint64_t *ordinal) {
    struct sim_campaign *c = rmd_map_get(&s->sessions, rmd_slice(message->b, 10));
    *ordinal = rmd_id_ordinal(message);
    if (!c || !c->accepted || *ordinal == 0 || *ordinal > c->rows) {
        sim_broken(s, "only submitted recipients",
                   "a message of an unknown or uncommitted campaign was sent, ordinal %" PRIu64, *ordinal);
        return NULL;
    }
    int32_t which = 0;
    while (memcmp(c->id[which].b, message->b, 10) != 0)
        which++;
    if (c->one_id >= 0 && c->one_id != which) {
        sim_broken(s, "one answer for one submission", "campaign %u is sent under two ids", number(s, c));
        return NULL;
    }
    c->one_id = which;
    return c;
}

/* Connected without a break since before that time, and so told of whatever was decided then. */
bool sim_check_steady(const struct sim *s, uint32_t n, int64_t since_ms) {
    const struct sim_node *nd = &s->node[n];
    return nd->up && nd->session && !nd->partitioned && s->coord.up && nd->serving_since_ms + STABLE_MS < since_ms &&
           nd->disturbed_ms + STABLE_MS < since_ms;
}

/* How long after an answer to the operator a node may still act otherwise. */
int64_t sim_check_grace(const struct sim *s, uint32_t n, int64_t since_ms) {
    if (!sim_check_steady(s, n, since_ms))
        return s->lease_valid_ms + 5000;
    return s->faults.delay ? SLOW_HOP_MS : HOP_MS;
}

void sim_check_disturbed(struct sim *s, int node) {
    for (uint32_t n = 0; n < s->n_nodes; n++)
        if (node < 0 || (uint32_t)node == n)
            s->node[n].disturbed_ms = s->now_ms;
}

void sim_check_vanished(struct sim *s, int node) {
    sim_check_disturbed(s, node);
    for (uint32_t n = 0; n < s->n_nodes; n++)
        if (node < 0 || (uint32_t)node == n)
            s->node[n].vanished_ms = s->now_ms;
}

/* ---- MAIL leaves */

static void check_halts(struct sim *s, const struct sim_conn *c, const struct sim_campaign *k) {
    const struct sim_stream *st = &s->stream[k->stream];
    if (k->cancelled && s->now_ms > k->cancel_ack_ms + sim_check_grace(s, c->node, k->cancel_ack_ms))
        sim_broken(s, "a cancel holds", "%s sends of campaign %u, %" PRId64 " ms after its cancel was acknowledged",
                   s->node[c->node].name, number(s, k), s->now_ms - k->cancel_ack_ms);
    if (k->paused && s->now_ms > k->pause_ack_ms + sim_check_grace(s, c->node, k->pause_ack_ms))
        sim_broken(s, "a pause holds", "%s sends of campaign %u, %" PRId64 " ms after its pause was acknowledged",
                   s->node[c->node].name, number(s, k), s->now_ms - k->pause_ack_ms);
    if (st->paused_ack_ms >= 0 && s->now_ms > st->paused_ack_ms + sim_check_grace(s, c->node, st->paused_ack_ms))
        sim_broken(s, "a pause holds", "%s sends of stream %s, %" PRId64 " ms after its pause was acknowledged",
                   s->node[c->node].name, st->name, s->now_ms - st->paused_ack_ms);
}

void sim_check_mail(struct sim *s, struct sim_conn *c, const struct rmd_id *message) {
    const struct sim_node *nd = &s->node[c->node];
    uint64_t ordinal;
    const struct sim_campaign *k = sim_check_campaign(s, message, &ordinal);
    if (!k)
        return;
    c->mail_ms = s->now_ms;
    bool other = s->provider[c->provider].other;
    if (other && nd->site_until_ms[c->source][c->site] > s->now_ms)
        sim_broken(s, "a blocked source stops at once",
                   "%s says MAIL from %s at the site of %s, %" PRId64 " ms after it read the verdict", nd->name,
                   s->source[c->source].address, s->domain[c->site].name,
                   s->now_ms - nd->site_since_ms[c->source][c->site]);
    if (nd->blocked_until_ms[c->source][c->provider] > s->now_ms)
        sim_broken(s, "a blocked source stops at once",
                   "%s says MAIL from %s at %s, %" PRId64 " ms after it read the verdict", nd->name,
                   s->source[c->source].address, s->provider[c->provider].name,
                   s->now_ms - nd->blocked_since_ms[c->source][c->provider]);
    if (s->now_ms > nd->valid_until_ms - s->deadline_ms)
        sim_broken(s, "no start behind a lease's validity",
                   "%s says MAIL %" PRId64 " ms before its leases end; a transaction may take %" PRId64, nd->name,
                   nd->valid_until_ms - s->now_ms, s->deadline_ms);
    int64_t late = SIM_WALL0_MS + s->now_ms - k->valid_until_wall_ms;
    if (late > s->max_step_ms + 1000)
        sim_broken(s, "no stranded mail", "%s sends of campaign %u %" PRId64 " s after its age limit", nd->name,
                   number(s, k), late / 1000);
    check_halts(s, c, k);
    sim_stops_mail(s, c, k);
    sim_moves_mail(s, c);
    int64_t stopped = s->source[c->source].stopped_ms;
    if (stopped && s->now_ms > stopped + sim_check_grace(s, c->node, stopped))
        sim_broken(s, "a source that is stopped everywhere is still",
                   "%s says MAIL from %s, %" PRId64 " ms after its quarantine was durable", nd->name,
                   s->source[c->source].address, s->now_ms - stopped);
}

/* ---- RCPT arrives */

static void count(struct sim *s, struct sim_account *a, int64_t window_ms, uint64_t limit, const char *what,
                  const char *name, const char *at) {
    if (!limit)
        return;
    while (a->n && a->v[a->head] <= s->now_ms - window_ms) {
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
    a->v[(a->head + a->n++) % a->cap] = s->now_ms;
    if (a->n > limit)
        sim_broken(s, "a cap is never exceeded", "%s %s%s%s: %zu recipients in %d hours, the cap is %" PRIu64, what,
                   name, *at ? " at " : "", at, a->n, (int)(window_ms / 3600000), limit);
}

static void check_caps(struct sim *s, const struct sim_conn *c) {
    const struct sim_source *x = &s->source[c->source];
    const struct sim_stream *st = &s->stream[c->campaign->stream];
    const char *provider = s->provider[c->provider].name;
    char net[16];
    rmd_format(net, sizeof net, "20.0.%u.0/24", x->net + 1);
    uint64_t lane[2] = {x->lane_cap}, source[2] = {x->cap},
             sender[2] = {st->domain_cap ? st->domain_cap : s->domain_cap};
    sim_warm_limits(s, c, lane, source, sender);
    count(s, &s->lane[c->source][c->provider], SIM_DAY_MS, lane[0], "lane", x->address, provider);
    count(s, &s->total[c->source], SIM_DAY_MS, source[0], "source", x->address, "");
    count(s, &s->network[x->net][c->provider], SIM_DAY_MS, s->network_cap, "network", net, provider);
    count(s, &s->sender[c->campaign->stream][c->provider], SIM_DAY_MS, sender[0], "sending domain", st->domain,
          provider);
    count(s, &s->warm.lane_hour[c->source][c->provider], HOUR_MS, lane[1], "lane", x->address, provider);
    count(s, &s->warm.total_hour[c->source], HOUR_MS, source[1], "source", x->address, "");
    count(s, &s->warm.sender_hour[c->campaign->stream][c->provider], HOUR_MS, sender[1], "sending domain", st->domain,
          provider);
}

/* A cap that may be spent sends what waits for this source to another one. The ledger's day is longer than a day by some minutes, and what a
 * node may have offered before it vanished counts as offered: neither edge is judged. */
static bool half_spent(const struct sim *s, uint32_t source, uint32_t provider, uint32_t stream) {
    const struct sim_source *x = &s->source[source];
    const struct sim_stream *st = &s->stream[stream];
    const struct {
        uint64_t limit;
        size_t used;
    } cap[] = {{x->lane_cap, s->lane[source][provider].n},
               {x->cap, s->total[source].n},
               {s->network_cap, s->network[x->net][provider].n},
               {st->domain_cap ? st->domain_cap : s->domain_cap, s->sender[stream][provider].n}};
    bool whole = s->node[x->node].vanished_ms < s->now_ms - 25 * HOUR_MS;
    for (size_t i = 0; i < sizeof cap / sizeof cap[0]; i++)
        if (cap[i].limit && (!whole || cap[i].used * 2 >= cap[i].limit))
            return true;
    return false;
}

/* Nothing was said or done against this source since that time: work that belongs to it has no reason to leave it. */
static bool in_service(const struct sim *s, const struct sim_conn *c, uint32_t source, int64_t since_ms) {
    const struct sim_source *x = &s->source[source];
    const struct sim_node *nd = &s->node[x->node];
    if (half_spent(s, source, c->provider, c->campaign->stream) || s->source[source].warms ||
        s->stream[c->campaign->stream].warms)
        return false; /* caps of warm-ups are spent most of the time */
    /* What is due while its node is away goes elsewhere, and is offered there within a lease's time. */
    if (nd->partitioned || !nd->session || x->refused_until_ms > since_ms ||
        nd->disturbed_ms >= s->now_ms - s->lease_valid_ms - STABLE_MS)
        return false;
    for (uint32_t i = 0; i < s->n_blocks; i++) { /* a quarantine lasts an hour behind the last refusal */
        const struct sim_block *b = &s->block[i];
        if (s->source[b->source].net == x->net && b->from_ms <= s->now_ms && b->to_ms + 2 * HOUR_MS >= since_ms)
            return false;
    }
    return true;
}

static void check_moves(struct sim *s, const struct sim_conn *c, struct sim_message *m) {
    if (m->grey_ms && m->grey_source != c->source && in_service(s, c, m->grey_source, m->grey_ms))
        sim_broken(s, "greylisting is retried from its source", "u%u was greylisted at %s and comes from %s",
                   c->address, s->source[m->grey_source].address, s->source[c->source].address);
    if (m->content_ms && s->source[m->content_source].net != s->source[c->source].net &&
        in_service(s, c, m->content_source, m->content_ms))
        sim_broken(s, "content never moves",
                   "u%u was refused for its content at %s and comes from another network, %s", c->address,
                   s->source[m->content_source].address, s->source[c->source].address);
    m->grey_ms = m->content_ms = 0;
}

void sim_check_rcpt(struct sim *s, struct sim_conn *c) {
    struct sim_message *m = message_of(c);
    const struct sim_address *a = &s->address[c->address];
    s->n_rcpt++;
    m->rcpts++;
    sim_say(s, "%s: RCPT u%u of campaign %u from %s, row %" PRIu64, s->provider[c->provider].name, c->address,
            number(s, c->campaign), s->source[c->source].address, c->ordinal);
    if (m->address != c->address)
        sim_broken(s, "only submitted recipients", "row %" PRIu64 " of campaign %u is u%u, and u%u got its message",
                   c->ordinal, number(s, c->campaign), m->address, c->address);
    if (s->domain[a->domain].provider != c->provider)
        sim_broken(s, "mail goes to its domain's MX", "u%u was offered to %s", c->address,
                   s->provider[c->provider].name);
    if (a->suppressed_ms && s->now_ms > a->suppressed_ms + 60)
        sim_broken(s, "a suppressed recipient is never contacted",
                   "u%u, %" PRId64 " ms after the suppression was acknowledged", c->address,
                   s->now_ms - a->suppressed_ms);
    if (m->rcpts == 1)
        sim_release_first(s, c->campaign);
    check_caps(s, c);
    sim_warm_rcpt(s, c);
    sim_moves_rcpt(s, c, m);
    check_moves(s, c, m);
}

void sim_check_refused(struct sim *s, struct sim_conn *c, enum sim_refusal why) {
    struct sim_message *m = message_of(c);
    if (why == SIM_REFUSED_GREY) {
        m->grey_ms = s->now_ms;
        m->grey_source = c->source;
    } else if (why == SIM_REFUSED_CONTENT_LATER) {
        m->content_ms = s->now_ms;
        m->content_source = c->source;
    } else {
        m->permanent = true;
    }
}

void sim_check_blocked(struct sim *s, struct sim_conn *c) {
    struct sim_node *nd = &s->node[c->node];
    sim_say(s, "%s: reads that %s is blocked at %s", nd->name, s->source[c->source].address,
            s->provider[c->provider].name);
    if (s->provider[c->provider].other) { /* one of many: what it says holds at its site */
        nd->site_since_ms[c->source][c->site] = s->now_ms;
        nd->site_until_ms[c->source][c->site] = s->now_ms + 30 * 60000;
        return;
    }
    nd->blocked_since_ms[c->source][c->provider] = s->now_ms;
    nd->blocked_until_ms[c->source][c->provider] = s->now_ms + 30 * 60000;
}

/* ---- a message arrives */

/* That node came back in time to tell what it knew, and this one could be told to leave the message alone. */
static bool has_reported(const struct sim *s, uint32_t before, const struct sim_conn *c) {
    const struct sim_node *nd = &s->node[before];
    int64_t since = nd->serving_since_ms;
    if (sim_check_steady(s, before, c->mail_ms))
        return true;
    if (!nd->up || !nd->session || nd->partitioned || nd->disturbed_ms >= since)
        return false;
    if (c->node == before) /* its journal goes before new work of unknown fate */
        return c->mail_ms > since;
    return c->mail_ms > since + (s->faults.delay ? SLOW_HOP_MS : 2 * HOP_MS) && sim_check_steady(s, c->node, since);
}

/* NULL, or why it should not have been sent a second time. */
static const char *twice(const struct sim *s, const struct sim_conn *c, const struct sim_message *m) {
    const struct sim_stream *st = &s->stream[c->campaign->stream];
    const struct sim_node *before = &s->node[m->accept_node];
    /* What the operator says of a node holds for the leases that it has then: it goes on with them until they end. */
    bool gone =
        (before->lost_at_ms >= 0 && before->lost_at_ms + HOP_MS >= m->accepted_ms) || /* the dot was on its way */
        (before->forgotten_ms >= 0 && before->forgotten_ms + s->lease_valid_ms >= m->accepted_ms);
    int64_t apart = c->mail_ms - m->accepted_ms, least = st->retry_min_ms * 7 / 10;
    if (st->uncertain_policy == 1)
        return "its stream holds what is uncertain";
    if (m->told_ms && c->mail_ms > m->told_ms + sim_check_grace(s, c->node, m->told_ms))
        return "the coordinator knew that it was delivered";
    if (m->accept == SIM_ACCEPT_UNREAD && s->faults.clock_step)
        return NULL; /* when to try again is wall time, and that leaps here */
    if (m->accept == SIM_ACCEPT_UNREAD)
        return apart < (least < st->return_wait_ms ? least : st->return_wait_ms) && !gone
                   ? "uncertain mail was sent again at once"
                   : NULL;
    if (gone)
        return NULL;
    if (has_reported(s, m->accept_node, c))
        return "its node has reported it";
    return apart < st->return_wait_ms ? "its node's return was not waited for" : NULL;
}

void sim_check_accepted(struct sim *s, struct sim_conn *c) {
    struct sim_message *m = message_of(c);
    s->n_accept++;
    sim_warm_accepted(s, c);
    sim_moves_accepted(s, c);
    if (m->accepts) {
        const char *why = twice(s, c, m);
        sim_say(s, "%s: u%u got row %" PRIu64 " of campaign %u again", s->provider[c->provider].name, c->address,
                c->ordinal, number(s, c->campaign));
        s->n_duplicates++;
        c->campaign->duplicates++;
        if (why)
            sim_broken(s, "duplicates only where nobody can tell",
                       "u%u got row %" PRIu64 " of campaign %u twice, %" PRId64 " s apart: %s", c->address,
                       c->ordinal, number(s, c->campaign), (s->now_ms - m->accepted_ms) / 1000, why);
    }
    m->accepts++;
    m->accepted_ms = s->now_ms;
    m->accept_node = c->node;
    m->accept_conn = c->gen;
    m->accept = c->client_open ? SIM_ACCEPT_PENDING : SIM_ACCEPT_UNREAD;
}

void sim_check_reply_read(struct sim *s, struct sim_conn *c) {
    sim_moves_read(s, c);
    if (!c->campaign || !c->ordinal)
        return;
    struct sim_message *m = message_of(c);
    if (m->accept != SIM_ACCEPT_PENDING || m->accept_conn != c->gen)
        return;
    m->accept = SIM_ACCEPT_READ;
    m->clean = true;
}

void sim_check_reply_lost(struct sim *s, struct sim_conn *c) {
    (void)s;
    if (!c->campaign || !c->ordinal)
        return;
    struct sim_message *m = message_of(c);
    if (m->accept == SIM_ACCEPT_PENDING && m->accept_conn == c->gen)
        m->accept = SIM_ACCEPT_UNREAD;
}

/* What the host had read and not told is in doubt, and so is what it knew of blocks. */
void sim_check_host_lost(struct sim *s, uint32_t n) {
    struct sim_node *nd = &s->node[n];
    nd->lost_at_ms = s->now_ms;
    memset(nd->blocked_until_ms, 0, sizeof nd->blocked_until_ms);
    memset(nd->site_until_ms, 0, sizeof nd->site_until_ms);
    nd->valid_until_ms = 0;
    for (uint32_t i = 0; i < s->n_campaigns; i++)
        for (uint32_t k = 0; s->campaign[i].message && k < s->campaign[i].rows; k++)
            if (s->campaign[i].message[k].accept_node == n && !s->campaign[i].message[k].told_ms)
                s->campaign[i].message[k].clean = false;
}

/* ---- what the coordinator says */

void sim_check_event(struct sim *s, const Remuda__EventRecord *e) {
    struct rmd_id id;
    uint64_t ordinal;
    if (e->message.len != sizeof id.b) {
        sim_say(s, "event: %s %s", e->type, e->text);
        if (strcmp(e->type, "source.quarantined") == 0)
            sim_stops_quarantined(s, e);
        if (strcmp(e->type, "incident.opened") == 0)
            sim_stops_opened(s);
        if (strcmp(e->type, "sender.resting") == 0 || strcmp(e->type, "sender.paused") == 0)
            sim_stops_sender(s, e);
        if (strcmp(e->type, "stream.paused") == 0)
            sim_stops_stream_paused(s, e);
        sim_watch_event(s, e);
        sim_moves_event(s, e);
        return;
    }
    memcpy(id.b, e->message.data, sizeof id.b);
    struct sim_campaign *c = sim_check_campaign(s, &id, &ordinal);
    if (!c)
        return;
    struct sim_message *m = &c->message[ordinal - 1];
    sim_say(s, "event: %s: row %" PRIu64 " of campaign %u%s%s", e->type, ordinal, number(s, c), *e->text ? ": " : "",
            e->text);
    if (strcmp(e->type, "uncertain") == 0) {
        s->n_uncertain++;
        m->grey_ms = m->content_ms = 0; /* what was said of it last, if anything, nobody read */
    }
    if (strcmp(e->type, "deferred") == 0 && e->reply && !e->reply->code)
        m->grey_ms = m->content_ms = 0; /* for another reason since: nobody was reached */
    if (strcmp(e->type, "delivered") != 0)
        return;
    if (!m->accepts)
        sim_broken(s, "delivered means accepted",
                   "row %" PRIu64 " of campaign %u is called delivered, and no receiver has it", ordinal,
                   number(s, c));
    if (!m->told_ms)
        m->told_ms = s->now_ms;
}

/* ---- the end */

struct ending {
    struct sim *s;
    uint64_t done;
};

static uint64_t settled(const Remuda__CampaignRecord *r) {
    return r->delivered + r->bounced + r->suppressed + r->expired + r->held + r->cancelled;
}

static void is_done(void *ctx, const struct rmd_campaign_view *v) {
    struct ending *e = ctx;
    e->done += v->record->finished_wall_ms != 0;
}

/* No store is ever restored from a backup here; whoever believes it stops the whole cluster. */
void sim_check_state(struct sim *s) {
    struct rmd_status_view v;
    if (!s->coord.up)
        return;
    rmd_coord_status(s->coord.core, &v);
    sim_reputation_check(s);
    if (v.restored_paused)
        sim_broken(s, "no stop without a cause",
                   "the coordinator believes that its store was restored from a backup");
}

bool sim_check_all_done(struct sim *s) {
    struct ending e = {.s = s};
    uint64_t wanted = 0;
    if (!s->coord.up || sim_op_busy(s))
        return false;
    for (uint32_t i = 0; i < s->n_campaigns; i++)
        wanted += s->campaign[i].acknowledged;
    rmd_coord_campaigns(s->coord.core, is_done, &e);
    return e.done == wanted;
}

static void check_campaign(void *ctx, const struct rmd_campaign_view *v) {
    struct ending *e = ctx;
    struct sim *s = e->s;
    const Remuda__CampaignRecord *r = v->record;
    const struct sim_campaign *c = rmd_map_get(&s->sessions, rmd_slice(r->id.data, 10));
    uint64_t accepted = 0, clean = 0, permanent = 0;
    if (!c || !c->acknowledged)
        return;
    e->done++;
    for (uint32_t i = 0; i < c->rows; i++) {
        accepted += c->message[i].accepts > 0;
        clean += c->message[i].clean;
        permanent += c->message[i].permanent;
    }
    sim_say(s,
            "%s: %" PRIu64 " of %u delivered, %" PRIu64 " bounced, %" PRIu64 " suppressed, %" PRIu64
            " expired, %" PRIu64 " held, %" PRIu64 " cancelled; receivers have %" PRIu64 ", %" PRIu64
            " of them twice; %" PRIu64 " uncertain, %" PRIu64 " in doubt",
            r->name, r->delivered, c->rows, r->bounced, r->suppressed, r->expired, r->held, r->cancelled, accepted,
            c->duplicates, r->uncertain, r->in_doubt);
    if (settled(r) > c->rows)
        sim_broken(s, "settled once", "%s: %" PRIu64 " outcomes for %u recipients", r->name, settled(r), c->rows);
    else if (settled(r) < c->rows || !r->finished_wall_ms)
        sim_broken(s, "nothing accepted is lost",
                   "%s: %" PRIu64 " of %u recipients are settled long after the age limit (queued %" PRIu64
                   ", leased %" PRIu64 ", deferred %" PRIu64 ")",
                   r->name, settled(r), c->rows, v->queued, v->leased, v->deferred);
    if (r->delivered > accepted || clean > r->delivered + r->in_doubt)
        sim_broken(s, "counters agree with receivers",
                   "%s: %" PRIu64 " delivered; receivers have %" PRIu64 ", and %" PRIu64
                   " of their answers were read",
                   r->name, r->delivered, accepted, clean);
    if (r->bounced > permanent)
        sim_broken(s, "nobody is punished for our reputation",
                   "%s: %" PRIu64 " bounced, %" PRIu64 " were refused for their own sake", r->name, r->bounced,
                   permanent);
    if (c->duplicates > r->uncertain)
        sim_broken(s, "duplicates are counted", "%s: %" PRIu64 " came twice, %" PRIu64 " are counted as uncertain",
                   r->name, c->duplicates, r->uncertain);
}

static void check_suppressions(struct sim *s) {
    char email[96];
    for (uint32_t i = 0; i < s->n_addresses; i++) {
        const struct sim_address *a = &s->address[i];
        sim_email(s, i, email);
        bool on = rmd_coord_suppressed(s->coord.core, 1, 0, rmd_slice_str(email));
        if (on && !a->asked && !a->told_unknown)
            sim_broken(s, "nobody is punished for our reputation",
                       "u%u is suppressed, though nobody asked and no receiver denied it", i);
        if (!on && a->suppressed_ms)
            sim_broken(s, "a suppressed recipient is never contacted",
                       "u%u: its suppression was acknowledged and is forgotten", i);
    }
}

void sim_check_end(struct sim *s) {
    struct ending e = {.s = s};
    uint64_t wanted = 0;
    if (!s->coord.up) {
        sim_broken(s, "nothing accepted is lost", "the coordinator isn't there at the end");
        return;
    }
    for (uint32_t i = 0; i < s->n_campaigns; i++)
        wanted += s->campaign[i].acknowledged;
    rmd_coord_campaigns(s->coord.core, check_campaign, &e);
    if (e.done != wanted)
        sim_broken(s, "nothing accepted is lost", "%" PRIu64 " campaigns were accepted, %" PRIu64 " are known",
                   wanted, e.done);
    check_suppressions(s);
    sim_liar_end(s);
}

void sim_check_free(struct sim *s) {
    sim_warm_free(s);
    sim_moves_free(s);
    for (uint32_t i = 0; i < SIM_SOURCES; i++) {
        for (uint32_t p = 0; p < SIM_PROVIDERS; p++)
            free(s->lane[i][p].v);
        free(s->total[i].v);
    }
    for (uint32_t p = 0; p < SIM_PROVIDERS; p++) {
        for (uint32_t i = 0; i < SIM_NETS; i++)
            free(s->network[i][p].v);
        for (uint32_t i = 0; i < SIM_STREAMS; i++)
            free(s->sender[i][p].v);
    }
    for (uint32_t i = 0; i < SIM_CAMPAIGNS; i++)
        free(s->campaign[i].message);
}
