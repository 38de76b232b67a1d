/* Release: how many recipients of a campaign may be offered for the first time now (schedule.h), and at which providers.
 *
 * The campaign's record counts `offered`, in the batch of each lease: recipients that are leased, or were attempted, or settled by a node's
 * word; one that comes back untouched is taken off again. What is released beyond them is spread over the campaign's queues by what waits in
 * each, with the remainder carried on, so that every provider's part goes evenly; the shares live in memory and are computed anew after a
 * restart, the sum does not depend on them. */
#include "coordinator/core/core.h"
#include "coordinator/core/schedule.h"

enum { CARRY = 1024, SPREAD_PASSES = 8 };

static struct rmd_schedule schedule_of(const struct rmd_campaign *k) {
    return (struct rmd_schedule){.start_wall_ms = k->rec->started ? 0 : k->rec->start_wall_ms,
                                 .over_ms = k->rec->over_ms,
                                 .batch = k->rec->batch,
                                 .every_ms = k->rec->every_ms};
}

static struct rmd_release release_of(const struct rmd_campaign *k) {
    int64_t start = k->rec->start_wall_ms, from = k->rec->release_wall_ms;
    if (!from || (k->rec->started && from < start)) /* it was due while the campaign was put off */
        from = start ? start : k->rec->accepted_wall_ms;
    return (struct rmd_release){
        .s = schedule_of(k), .from_wall_ms = from, .base = k->rec->release_base, .rows = k->rec->rows};
}

bool rmd_release_paced(const struct rmd_campaign *k) {
    return k->rec->over_ms || k->rec->batch;
}

bool rmd_release_started(const struct rmd_coord *c, const struct rmd_campaign *k) {
    return k->rec->started || c->now.wall_ms >= k->rec->start_wall_ms;
}

uint64_t rmd_release_room(const struct rmd_coord *c, const struct rmd_campaign *k) {
    if (!rmd_release_paced(k))
        return UINT64_MAX;
    struct rmd_release r = release_of(k);
    uint64_t at = rmd_release_at(&r, c->now.wall_ms);
    return at == UINT64_MAX ? at : at > k->rec->offered ? at - k->rec->offered : 0;
}

bool rmd_release_first(const Remuda__DeferredRecord *r) {
    return !r->attempts && !r->uncertain && !r->offered;
}

void rmd_release_offered(struct rmd_coord *c, struct rmd_campaign *k, int64_t by) {
    k->rec->offered = (uint64_t)((int64_t)k->rec->offered + by);
    rmd_campaign_dirty(c, k);
}

/* ---------------------------------------------------------------- shares of the queues */

static uint64_t wanting(const struct rmd_cq *q) {
    return q->queued > q->credit ? q->queued - q->credit : 0;
}

static uint64_t give(struct rmd_cq *q, uint64_t n, uint64_t most) {
    uint64_t want = wanting(q);
    n = n < want ? n : want;
    n = n < most ? n : most;
    q->credit += n;
    q->carry -= (int64_t)(n * CARRY);
    return n;
}

static uint64_t spread_pass(struct rmd_campaign *k, uint64_t room) {
    uint64_t sum = 0, given = 0;
    rmd_list_for(it, &k->cqs) sum += wanting(rmd_container(it, struct rmd_cq, in_campaign));
    if (!sum)
        return 0;
    rmd_list_for(it, &k->cqs) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        if (!wanting(q))
            continue;
        q->carry += (int64_t)((room < sum ? room : sum) * CARRY / sum * wanting(q)) +
                    (int64_t)((room < sum ? room : sum) * CARRY % sum * wanting(q) / sum);
        given += give(q, q->carry > 0 ? (uint64_t)q->carry / CARRY : 0, room - given);
    }
    return given;
}

/* One to the queue that is behind most. */
static bool spread_one(struct rmd_campaign *k) {
    struct rmd_cq *most = NULL;
    rmd_list_for(it, &k->cqs) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        if (wanting(q) && (!most || q->carry > most->carry))
            most = q;
    }
    return most && give(most, 1, 1);
}

static void spread(struct rmd_campaign *k, uint64_t room) {
    uint64_t sum = 0, n = 0;
    rmd_list_for(it, &k->cqs) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        q->credit = q->credit < q->queued ? q->credit : q->queued;
        sum += q->credit;
        n++;
    }
    for (struct rmd_list *it = k->cqs.next; sum > room && it != &k->cqs; it = it->next) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        uint64_t less = q->credit < sum - room ? q->credit : sum - room;
        q->credit -= less;
        sum -= less;
    }
    room -= sum;
    for (int i = 0; i < SPREAD_PASSES && room > n; i++) {
        uint64_t given = spread_pass(k, room);
        room -= given;
        if (!given)
            break;
    }
    if (room && room <= n) { /* the remainder */
        room -= spread_pass(k, room);
        while (room && spread_one(k))
            room--;
    }
}

/* ---------------------------------------------------------------- time */

static Remuda__EventRecord *event(struct rmd_coord *c, const char *type, const struct rmd_campaign *k) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->campaign.data = rmd_arena_dup(rmd_arena_after(c), k->id.b, sizeof k->id.b);
    e->campaign.len = sizeof k->id.b;
    e->stream = k->rec->stream;
    return e;
}

static void wake(struct rmd_coord *c, int64_t wall_ms) {
    if (wall_ms != RMD_NEVER && wall_ms > c->now.wall_ms)
        rmd_core_wake(c, c->now.mono_ms + (wall_ms - c->now.wall_ms));
}

void rmd_release_tick(struct rmd_coord *c, struct rmd_campaign *k) {
    struct rmd_release r = release_of(k);
    if (!rmd_release_started(c, k)) {
        wake(c, r.s.start_wall_ms);
        return;
    }
    if (k->rec->start_wall_ms && !k->rec->started && k->rec->state == RMD_CAMPAIGN_ACTIVE) {
        k->rec->started = true;
        rmd_campaign_dirty(c, k);
        event(c, "campaign.started", k);
        c->deal = true;
    }
    if (!rmd_release_paced(k) || k->rec->state != RMD_CAMPAIGN_ACTIVE)
        return;
    uint64_t at = rmd_release_at(&r, c->now.wall_ms), room = rmd_release_room(c, k);
    if (at != k->released) {
        k->released = at;
        c->deal = true;
    }
    if (room && room != UINT64_MAX)
        spread(k, room);
    wake(c, rmd_release_next(&r, c->now.wall_ms));
}

/* ---------------------------------------------------------------- what operators see and change */

/* Why nothing of it is offered for the first time now; NULL: something may be. */
const char *rmd_release_why(struct rmd_coord *c, const struct rmd_campaign *k, struct rmd_arena *a) {
    struct rmd_release r = release_of(k);
    char at[32];
    bool started = rmd_release_started(c, k);
    if (k->rec->state != RMD_CAMPAIGN_ACTIVE || (started && rmd_release_room(c, k)))
        return NULL;
    int64_t next = rmd_release_next(&r, c->now.wall_ms);
    if (next == RMD_NEVER)
        return NULL;
    rmd_date_rfc3339(next, at);
    if (!started)
        return rmd_arena_printf(a, "starts at %s", at);
    uint64_t then = rmd_release_at(&r, next), most = k->rec->rows;
    then = then < most ? then : most;
    char n[32];
    rmd_format_count(then > k->rec->offered ? then - k->rec->offered : 0, n);
    return rmd_arena_printf(a, "next %s%s at %s", k->rec->batch ? "batch of " : "", n, at);
}

void rmd_release_view(struct rmd_coord *c, const struct rmd_campaign *k, struct rmd_campaign_view *v) {
    struct rmd_release r = release_of(k);
    struct rmd_forecast f = rmd_release_forecast(&r, c->now.wall_ms);
    bool over = k->rec->finished_wall_ms || k->rec->state == RMD_CAMPAIGN_CANCELLED;
    v->scheduled = !over && k->rec->state == RMD_CAMPAIGN_ACTIVE && !rmd_release_started(c, k);
    v->released = f.released;
    if (over)
        return;
    v->next_release_wall_ms = f.next_wall_ms;
    v->next_release = f.next;
    v->all_released_wall_ms = f.all_wall_ms;
}

/* What waits at a provider belongs to campaigns that wait for a time: the first of these, or NULL. */
const char *rmd_release_binds(struct rmd_coord *c, const struct rmd_pq *q) {
    const struct rmd_campaign *first = NULL;
    int64_t soonest = RMD_NEVER;
    if (!q->queued)
        return NULL;
    rmd_list_for(it, &q->cqs) {
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        const struct rmd_campaign *k = x->campaign;
        if (!x->queued || k->rec->state == RMD_CAMPAIGN_PAUSED)
            continue;
        if (rmd_release_started(c, k) && rmd_release_room(c, k))
            return NULL;
        struct rmd_release r = release_of(k);
        int64_t next = rmd_release_next(&r, c->now.wall_ms);
        if (next < soonest) {
            soonest = next;
            first = k;
        }
    }
    return first ? rmd_release_why(c, first, &c->view) : NULL;
}

static void describe(const struct rmd_campaign *k, struct rmd_buf *b) {
    char t[32], n[32];
    const Remuda__CampaignRecord *r = k->rec;
    if (r->start_wall_ms && !r->started) {
        rmd_date_rfc3339(r->start_wall_ms, t);
        rmd_buf_addf(b, "starts at %s", t);
    } else {
        rmd_buf_addf(b, "goes on");
    }
    if (r->over_ms) {
        rmd_format_duration(r->over_ms, t);
        rmd_buf_addf(b, ", over %s", t);
    }
    if (r->batch) {
        rmd_format_count(r->batch, n);
        rmd_format_duration(r->every_ms, t);
        rmd_buf_addf(b, ", %s every %s", n, t);
    }
    if (!r->over_ms && !r->batch)
        rmd_buf_addf(b, ", all of it as fast as its lanes allow");
}

static bool change(struct rmd_coord *c, struct rmd_campaign *k, const struct rmd_schedule_change *m,
                   struct rmd_buf *why) {
    Remuda__CampaignRecord *r = k->rec;
    struct rmd_schedule s = schedule_of(k);
    bool was_started = rmd_release_started(c, k);
    if (was_started)
        s.start_wall_ms = 0;
    if (m->set_at)
        s.start_wall_ms = m->s.start_wall_ms;
    if (m->set_over)
        s.over_ms = m->s.over_ms;
    if (m->set_batch) {
        s.batch = m->s.batch;
        s.every_ms = s.batch ? s.every_ms : 0;
    }
    if (m->set_every)
        s.every_ms = m->s.every_ms;
    if (m->set_over && s.over_ms && !m->set_batch)
        s.batch = 0, s.every_ms = 0; /* one in place of the other */
    if (m->set_batch && s.batch && !m->set_over)
        s.over_ms = 0;
    int64_t old_base = r->start_wall_ms > r->accepted_wall_ms ? r->start_wall_ms : r->accepted_wall_ms;
    int64_t begin = s.start_wall_ms ? s.start_wall_ms : c->now.wall_ms, until = rmd_campaign_valid_until(k);
    int64_t moves = m->set_at ? begin - old_base : 0;
    int64_t life = until == RMD_NEVER ? 0 : until + moves - begin;
    uint64_t rest = r->rows > r->offered ? r->rows - r->offered : 0;
    struct rmd_release old = release_of(k);
    struct rmd_release then = rmd_release_changed(&old, &s, r->offered, was_started || r->offered, c->now.wall_ms);
    if (!rmd_schedule_check(&s, rest, c->now.wall_ms, life, why))
        return false;
    if (m->set_at) { /* age counts from the start */
        r->start_wall_ms = begin;
        r->started = s.start_wall_ms == 0;
        if (r->valid_until_wall_ms)
            r->valid_until_wall_ms += moves;
    }
    r->over_ms = s.over_ms;
    r->batch = s.batch;
    r->every_ms = s.every_ms;
    r->release_wall_ms = then.from_wall_ms;
    r->release_base = then.base;
    rmd_list_for(it, &k->cqs) {
        struct rmd_cq *q = rmd_container(it, struct rmd_cq, in_campaign);
        q->credit = 0;
        q->carry = 0;
    }
    k->released = 0;
    rmd_campaign_dirty(c, k);
    if (was_started && !rmd_release_started(c, k))
        rmd_recall_campaign(c, k, RMD_RETURN_PAUSED, -1);
    return true;
}

void rmd_release_command(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(m->id.b, sizeof m->id.b));
    if (!k || k->rec->tenant != m->tenant || !m->schedule) {
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0, "there is no such campaign");
        return;
    }
    if (k->rec->finished_wall_ms || k->draining ||
        (k->rec->state != RMD_CAMPAIGN_ACTIVE && k->rec->state != RMD_CAMPAIGN_PAUSED)) {
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0, "the campaign is %s; nothing of it is left to be scheduled",
                       rmd_campaign_state_name(k->rec->state));
        return;
    }
    struct rmd_buf b = {0};
    if (!change(c, k, m->schedule, &b)) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "%s", rmd_buf_str(&b));
    } else {
        describe(k, &b);
        const char *reason = m->reason && *m->reason ? m->reason : NULL;
        event(c, "campaign.scheduled", k)->text =
            rmd_arena_printf(rmd_arena_after(c), "%s%s%s", rmd_buf_str(&b), reason ? ": " : "", reason ? reason : "");
        c->deal = true;
        rmd_core_wake(c, c->now.mono_ms);
        rmd_core_reply(c, m->token, RMD_OK, 0, "the campaign %s", rmd_buf_str(&b));
    }
    rmd_buf_release(&b);
}
