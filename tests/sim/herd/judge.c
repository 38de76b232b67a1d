/* What a receiver says at each stage of a transaction, by its rules, and what it does with a message that it took.
 *
 * Order within a stage: what is said to everybody (liars), blocks, unannounced sources, blocklists, a rest that was asked for, the sending domain, reputation,
 * volume; then what is about the recipient or the content. Nothing here knows who the sender is but by what it does. */
#include "tests/sim/herd/world.h"

struct judged {
    struct herd_world *w;
    struct herd_conn *c;
    const struct herd_rules *r;
    struct herd_lane *lane;
    enum herd_stage stage;
    struct herd_word *out;
};

static bool say(struct judged *j, const char *reply) {
    j->out->reply = reply;
    j->out->close = j->stage == HERD_GREETING || strncmp(reply, "421", 3) == 0;
    return true;
}

static bool here(const struct judged *j, const struct herd_rule *r) {
    return r->on && r->stage == (int64_t)j->stage;
}

static uint32_t tries(const struct judged *j) {
    return j->stage == HERD_GREETING ? 0 : j->w->campaign[j->c->campaign].message[j->c->row].tries;
}

static bool chance(const struct judged *j, int64_t ppm, enum herd_purpose p) {
    return herd_chance(j->w, ppm, p, (uint64_t)j->c->campaign << 32 | j->c->row, tries(j), j->c->source);
}

static struct herd_sender_lane *sender(const struct judged *j) {
    return herd_sender_lane(j->w, j->w->s->stream[j->w->s->campaign[j->c->campaign].stream].domain, j->c->site);
}

/* ---- the source as such */

static bool lies(struct judged *j) {
    const struct herd_event *e = herd_event_now(j->w, HERD_EVENT_LIAR, j->c->site);
    return e && here(j, &e->r) && chance(j, e->share, HERD_FOR_LIAR) && say(j, e->r.reply);
}

static bool blocked(struct judged *j) {
    const struct herd_bar *b = herd_barred(j->w, j->c->source, j->c->site);
    return b && b->stage == (int64_t)j->stage && say(j, b->reply);
}

static bool unannounced(struct judged *j) {
    const struct herd_source *s = &j->w->s->source[j->c->source];
    return here(j, &j->r->announce.r) && !(s->announced >> j->w->s->site[j->c->site].receiver & 1) &&
           say(j, j->r->announce.r.reply);
}

static bool listed(struct judged *j) {
    if (!here(j, &j->r->listed.r))
        return false;
    int b = herd_believed(j->w, j->w->s->site[j->c->site].receiver, j->c->source);
    if (b < 0)
        return false;
    j->out->zone = j->w->s->blocklist[b].zone;
    return say(j, j->r->listed.r.reply);
}

/* ---- pressure: who was told to wait and comes again */

/* A refusal by growth or rate begins a rest; the next one within the window a longer one. */
static void refused_for_volume(struct judged *j, const struct herd_rule *rule) {
    struct herd_lane *l = j->lane;
    const int64_t now = j->w->now_ms;
    if (!j->r->pressure.r.on)
        return;
    if (now - l->refused_ms > j->r->pressure.window_ms)
        l->rest_ms = l->levels = 0;
    l->rest_ms += j->r->pressure.rest_ms;
    if (l->rest_ms > j->r->pressure.longest_ms)
        l->rest_ms = j->r->pressure.longest_ms;
    l->rest_until_ms = now + l->rest_ms;
    l->refused_ms = now;
    l->rest_stage = rule->stage;
    l->rest_reply = rule->reply;
    l->pushes = 0;
}

static bool resting(struct judged *j) {
    struct herd_lane *l = j->lane;
    if (!j->r->pressure.r.on || j->w->now_ms >= l->rest_until_ms || l->rest_stage != (int64_t)j->stage)
        return false;
    l->refused_ms = j->w->now_ms;
    if (++l->pushes > j->r->pressure.tolerate) {
        l->pushes = 0;
        l->rest_ms = l->rest_ms * 2 < j->r->pressure.longest_ms ? l->rest_ms * 2 : j->r->pressure.longest_ms;
        l->rest_until_ms = j->w->now_ms + l->rest_ms;
        if (++l->levels >= j->r->pressure.levels) {
            l->levels = 0;
            herd_block(j->w, l, &j->r->pressure.r, j->r->pressure.block_ms);
            if (j->r->pressure.r.stage == (int64_t)j->stage)
                return say(j, j->r->pressure.r.reply);
        }
    }
    return say(j, l->rest_reply);
}

/* ---- volume */

static int64_t scaled(int64_t allowed, enum herd_level level) {
    return level == HERD_POOR ? allowed / 2 : level == HERD_BAD ? allowed / 10 : allowed;
}

static int64_t allowed_today(const struct judged *j, struct herd_standing *st, int64_t floor, int64_t factor,
                             int64_t days) {
    int64_t grown = (int64_t)herd_busiest(st, j->w->now_ms, days) * factor / HERD_PPM;
    return scaled(grown > floor ? grown : floor, herd_level(j->r, st, j->w->now_ms));
}

static bool is_new(const struct judged *j) {
    const struct herd_standing *st = &j->lane->st;
    return !st->known || j->w->now_ms - st->first_ms < j->r->newcomer.days;
}

static int64_t newcomer_cap(const struct judged *j) {
    const struct herd_standing *st = &j->lane->st;
    int64_t cap = j->r->newcomer.per_day;
    int64_t age = st->known ? j->w->now_ms / HERD_DAY_MS - st->first_ms / HERD_DAY_MS : 0;
    for (int64_t d = 0; d < age && cap < INT32_MAX; d++)
        cap = cap * j->r->newcomer.grow / HERD_PPM;
    return cap;
}

static bool newcomer(struct judged *j) {
    if (!here(j, &j->r->newcomer.r) || !is_new(j) ||
        (int64_t)herd_today(&j->lane->st, j->w->now_ms)->accepted < newcomer_cap(j))
        return false;
    herd_block(j->w, j->lane, &j->r->newcomer.r, j->r->newcomer.block_ms);
    return say(j, j->r->newcomer.r.reply);
}

static bool grows(struct judged *j) {
    if (!here(j, &j->r->growth.r) ||
        (int64_t)herd_today(&j->lane->st, j->w->now_ms)->accepted <
            allowed_today(j, &j->lane->st, j->r->growth.floor, j->r->growth.factor, j->r->growth.days))
        return false;
    refused_for_volume(j, &j->r->growth.r);
    return say(j, j->r->growth.r.reply);
}

static bool domain_grows(struct judged *j) {
    if (!here(j, &j->r->domain_growth.r))
        return false;
    struct herd_standing *st = &sender(j)->st;
    return (int64_t)herd_today(st, j->w->now_ms)->accepted >= allowed_today(j, st, j->r->domain_growth.floor,
                                                                            j->r->domain_growth.factor,
                                                                            j->r->domain_growth.days) &&
           say(j, j->r->domain_growth.r.reply);
}

static uint32_t last_hour(struct judged *j) {
    struct herd_lane *l = j->lane;
    int64_t five = j->w->now_ms / 300000;
    uint32_t sum = 0;
    if (five - l->five_at >= 12)
        memset(l->five, 0, sizeof l->five);
    else
        for (int64_t i = l->five_at + 1; i <= five; i++)
            l->five[i % 12] = 0;
    l->five_at = five;
    for (int i = 0; i < 12; i++)
        sum += l->five[i];
    return sum;
}

static int64_t pace(struct judged *j) {
    struct herd_lane *l = j->lane;
    int64_t now = j->w->now_ms;
    l->pace_ppm += (now - l->pace_ms) * HERD_PPM / j->r->rate.recover_ms;
    l->pace_ppm = l->pace_ppm > HERD_PPM ? HERD_PPM : l->pace_ppm;
    l->pace_ms = now;
    return l->pace_ppm;
}

static bool too_fast(struct judged *j) {
    if (!here(j, &j->r->rate.r))
        return false;
    int64_t most = j->r->rate.per_hour * pace(j) / HERD_PPM;
    if (j->r->growth.r.on) {
        int64_t day = allowed_today(j, &j->lane->st, j->r->growth.floor, j->r->growth.factor, j->r->growth.days);
        int64_t hour = day * j->r->rate.share / HERD_PPM, least = j->r->growth.floor / 10;
        hour = hour > least ? hour : least;
        most = hour < most ? hour : most;
    }
    if ((int64_t)last_hour(j) < most)
        return false;
    j->lane->pace_ppm -= j->r->rate.harder;
    if (j->lane->pace_ppm < j->r->rate.least)
        j->lane->pace_ppm = j->r->rate.least;
    refused_for_volume(j, &j->r->rate.r);
    return say(j, j->r->rate.r.reply);
}

/* ---- reputation, and the sending domain */

static bool reputation(struct judged *j) {
    if (!here(j, &j->r->reputation.r))
        return false;
    enum herd_level of_source = herd_level(j->r, &j->lane->st, j->w->now_ms);
    enum herd_level of_domain = herd_level(j->r, &sender(j)->st, j->w->now_ms);
    bool domain = of_domain > of_source;
    enum herd_level worst = domain ? of_domain : of_source;
    const char *reply = domain ? j->r->reputation.reply_domain : j->r->reputation.r.reply;
    int64_t share = worst == HERD_BAD    ? j->r->reputation.refuse_bad
                    : worst == HERD_POOR ? j->r->reputation.defer_poor
                                         : 0;
    return reply && chance(j, share, HERD_FOR_REPUTATION) && say(j, reply);
}

static bool many_unknown(struct judged *j) {
    if (!here(j, &j->r->unknowns.r))
        return false;
    struct herd_sender_lane *s = sender(j);
    struct herd_day *d = herd_today(&s->st, j->w->now_ms);
    if (d->offered >= j->r->unknowns.minimum &&
        (uint64_t)d->unknown * HERD_PPM > (uint64_t)d->offered * (uint64_t)j->r->unknowns.share &&
        j->w->now_ms >= s->refused_until_ms)
        s->refused_until_ms = j->w->now_ms + j->r->unknowns.for_ms;
    return j->w->now_ms < s->refused_until_ms && say(j, j->r->unknowns.r.reply);
}

static bool noisy(struct judged *j) {
    return here(j, &j->r->noise.r) && chance(j, j->r->noise.share, HERD_FOR_NOISE) && say(j, j->r->noise.r.reply);
}

/* ---- the recipient */

static bool surge(struct judged *j) {
    const struct herd_event *e = herd_event_now(j->w, HERD_EVENT_SURGE, j->c->site);
    return e && j->c->who.kind == HERD_PERSON &&
           herd_chance(j->w, e->share, HERD_FOR_SURGE, j->w->s->campaign[j->c->campaign].list, j->c->number, 0) &&
           say(j, e->r.reply);
}

static bool greylisted(struct judged *j) {
    if (!j->r->greylist.r.on || (int64_t)j->lane->accepted >= j->r->greylist.known_after)
        return false;
    const struct herd_campaign *k = &j->w->s->campaign[j->c->campaign];
    uint64_t who =
        j->r->greylist.by_network ? j->w->s->source[j->c->source].network | (uint64_t)1 << 32 : j->c->source;
    uint64_t key = herd_hash(j->w, HERD_FOR_SITE, who << 16 ^ k->list, (uint64_t)j->c->site << 32 | j->c->number,
                             j->w->s->stream[k->stream].domain + 1);
    int64_t first = (int64_t)(uintptr_t)rmd_map_get_u64(&j->w->grey, key) - 1;
    if (first < 0 || j->w->now_ms - first >= j->r->greylist.forget_ms) {
        rmd_map_set_u64(&j->w->grey, key, (void *)(uintptr_t)(j->w->now_ms + 1));
        return say(j, j->r->greylist.r.reply);
    }
    return j->w->now_ms - first < j->r->greylist.after_ms && say(j, j->r->greylist.r.reply);
}

static const char *reply_or(const struct herd_rule *r, const char *otherwise) {
    return r->on && r->reply ? r->reply : otherwise;
}

static bool recipient(struct judged *j) {
    struct herd_day *of_source = herd_today(&j->lane->st, j->w->now_ms),
                    *of_domain = herd_today(&sender(j)->st, j->w->now_ms);
    if (greylisted(j))
        return true;
    of_source->offered++;
    of_domain->offered++;
    if (j->c->who.kind == HERD_UNKNOWN) {
        of_source->unknown++;
        of_domain->unknown++;
        herd_count_of(j->w, j->c->campaign, j->c->site)->unknown_hits++;
        return say(j, reply_or(&j->r->unknown.r, "550 5.1.1 <$rcpt>: user unknown"));
    }
    if (j->c->who.kind == HERD_FULL)
        return say(j, reply_or(&j->r->full.r, "452 4.2.2 The recipient's inbox is out of storage space"));
    return surge(j);
}

static bool content(struct judged *j) {
    if (!j->w->s->campaign[j->c->campaign].bad_content || !j->r->content.r.on)
        return false;
    herd_today(&j->lane->st, j->w->now_ms)->spam++;
    herd_today(&sender(j)->st, j->w->now_ms)->spam++;
    return chance(j, j->r->content.refuse, HERD_FOR_CONTENT) && say(j, j->r->content.r.reply);
}

/* ---- a stage */

bool herd_judge(struct herd_world *w, struct herd_conn *c, enum herd_stage stage, struct herd_word *out) {
    struct judged j = {w, c, herd_rules_of(w, c->site), herd_lane(w, c->source, c->site), stage, out};
    static bool (*const of_source[])(struct judged *) = {lies, blocked, unannounced, listed, resting};
    static bool (*const of_message[])(struct judged *) = {many_unknown, reputation, newcomer, grows,
                                                          domain_grows, too_fast,   noisy};
    *out = (struct herd_word){0};
    if (stage == HERD_GREETING && j.r->connections.r.on && j.lane->conns > j.r->connections.most)
        return say(&j, j.r->connections.r.reply);
    if (stage == HERD_MAIL && j.r->connections.r.on && c->messages > j.r->connections.messages)
        return say(&j, j.r->connections.reply_messages ? j.r->connections.reply_messages : j.r->connections.r.reply);
    for (size_t i = 0; i < sizeof of_source / sizeof *of_source; i++)
        if (of_source[i](&j))
            return true;
    for (size_t i = 0; stage != HERD_GREETING && i < sizeof of_message / sizeof *of_message; i++)
        if (of_message[i](&j))
            return true;
    return (stage == HERD_RCPT && recipient(&j)) || (stage == HERD_DOT && content(&j));
}

/* ---- accepted */

static bool foldered(const struct judged *j) {
    const struct herd_rules *r = j->r;
    if (!r->folder.r.on)
        return false;
    enum herd_level a = herd_level(r, &j->lane->st, j->w->now_ms), b = herd_level(r, &sender(j)->st, j->w->now_ms);
    enum herd_level worst = j->w->s->campaign[j->c->campaign].bad_content ? HERD_BAD : a > b ? a : b;
    int64_t share = worst == HERD_GOOD   ? r->folder.good
                    : worst == HERD_NEW  ? r->folder.fresh
                    : worst == HERD_POOR ? r->folder.poor
                                         : r->folder.bad;
    if (j->c->who.engaged)
        share = share * r->folder.engaged / HERD_PPM;
    return herd_chance(j->w, share, HERD_FOR_FOLDER, j->c->campaign, j->c->number, 0);
}

static void seen(const struct judged *j, const struct herd_message *m, struct herd_count *n) {
    static const int64_t days[4] = {1, 3, 7, 30};
    const struct herd_campaign *k = &j->w->s->campaign[j->c->campaign];
    int64_t late_ms = j->w->now_ms - k->at_ms;
    (void)m;
    for (int i = 0; i < 4 && late_ms <= k->valid_for_ms; i++)
        n->seen[i] += late_ms <= days[i] * HERD_DAY_MS;
}

static void may_complain(const struct judged *j) {
    const struct herd_campaign *k = &j->w->s->campaign[j->c->campaign];
    const struct herd_list *l = &j->w->s->list[k->list];
    int64_t ppm = (j->c->who.engaged ? l->complaints : l->complaints_lapsed) * (k->bad_content ? 20 : 1);
    if (!herd_chance(j->w, ppm, HERD_FOR_COMPLAINT, j->c->campaign, j->c->number, 0))
        return;
    int64_t within = j->r->complaints.r.on ? j->r->complaints.within_ms : 3 * (int64_t)HERD_DAY_MS;
    struct herd_complaint *x = rmd_alloc(sizeof *x);
    x->r = (struct herd_report){.source = j->c->source,
                                .site = j->c->site,
                                .stream = k->stream,
                                .campaign = j->c->campaign,
                                .row = j->c->row};
    x->number = j->c->number;
    uint64_t wait = herd_hash(j->w, HERD_FOR_COMPLAINT_TIME, j->c->campaign, j->c->number, 0) % (uint64_t)within;
    rmd_heap_set(&j->w->complaints, &x->node, j->w->now_ms + (int64_t)wait + 1);
}

void herd_accept(struct herd_world *w, struct herd_conn *c) {
    struct judged j = {w, c, herd_rules_of(w, c->site), herd_lane(w, c->source, c->site), HERD_DOT, NULL};
    struct herd_campaign_state *k = &w->campaign[c->campaign];
    struct herd_message *m = &k->message[c->row];
    struct herd_count *n = herd_count_of(w, c->campaign, c->site);
    struct herd_standing *both[2] = {&j.lane->st, &sender(&j)->st};
    bool folder = foldered(&j), again = m->flags & HERD_MSG_ACCEPTED;
    const struct herd_list *l = &w->s->list[w->s->campaign[c->campaign].list];
    bool reads =
        c->who.kind == HERD_PERSON && !folder &&
        herd_chance(w, c->who.engaged ? l->reads : l->reads_lapsed, HERD_FOR_READ, c->campaign, c->number, 0);
    last_hour(&j);
    j.lane->five[j.lane->five_at % 12]++;
    j.lane->accepted++;
    for (int i = 0; i < 2; i++) {
        struct herd_day *d = herd_today(both[i], w->now_ms);
        bool idle = both[i]->known && w->now_ms - both[i]->last_ms >= j.r->newcomer.forget_ms && j.r->newcomer.r.on;
        if (!both[i]->known || idle)
            both[i]->first_ms = w->now_ms;
        both[i]->known = true;
        both[i]->last_ms = w->now_ms;
        d->accepted++;
        d->reads += reads;
        d->traps += c->who.kind == HERD_TRAP;
    }
    n->accepted++;
    n->duplicates += again;
    if (c->who.kind == HERD_TRAP) {
        n->trap_hits++;
        herd_trap_hit(w, c->who.blocklist, c->source);
    }
    if (again)
        return;
    m->flags = (uint8_t)(HERD_MSG_ACCEPTED | (folder ? HERD_MSG_FOLDERED : 0));
    m->accepted_minute = (uint32_t)((w->now_ms - w->s->campaign[c->campaign].at_ms) / 60000);
    if (c->who.kind != HERD_PERSON)
        return;
    n->foldered += folder;
    if (!folder) {
        seen(&j, m, n);
        may_complain(&j);
    }
}
