/* Content that a provider refuses again and again: each campaign counts its last outcomes at each provider, and the
 * policy (failover.h) decides when it is enough. Carried out here: the campaign stops at this provider, or pauses
 * everywhere when two named ones agree, with an incident. No work moves, no source is touched, nobody is suppressed:
 * the message is at fault.
 *
 * The same template sent by many small campaigns of a stream is one content: what each of the last day had counts for all, and all
 * that are active stop or pause. A campaign that is refused by itself stops whatever an earlier one of the same template had: a link
 * may have got a bad name since.
 *
 * A campaign whose rate is meant rests there, and goes on by itself.
 *
 * Owns the campaigns' tallies. They live in memory only, at most one a configured provider; a restart counts anew,
 * a resume as well. The stops are in the campaign's record, and last until a person resolves their incident or resumes
 * the campaign; a rest, for its time. */
#include "coordinator/core/core.h"

static Remuda__ContentStop *stop_at(const struct rmd_campaign *k, uint32_t provider) {
    for (size_t i = 0; i < k->rec->n_stop; i++) {
        if (k->rec->stop[i]->provider == provider)
            return k->rec->stop[i];
    }
    return NULL;
}

/* For its content; a rest is no judgement. */
static bool believed(const struct rmd_campaign *k, uint32_t provider) {
    const Remuda__ContentStop *s = stop_at(k, provider);
    return s && !s->until_ledger_ms;
}

static size_t tally_of(struct rmd_campaign *k, uint32_t provider) {
    for (size_t i = 0; i < k->n_tallies; i++) {
        if (k->tally[i].provider == provider)
            return i;
    }
    k->tally = rmd_realloc(k->tally, (k->n_tallies + 1) * sizeof *k->tally);
    k->tally[k->n_tallies] = (struct rmd_content_tally){.provider = provider, .stopped = believed(k, provider)};
    return k->n_tallies++;
}

void rmd_content_forget(struct rmd_campaign *k) {
    free(k->tally);
    k->tally = NULL;
    k->n_tallies = 0;
}

/* ---------------------------------------------------------------- campaigns of the same content */

static bool same_content(const struct rmd_coord *c, const struct rmd_campaign *k, const struct rmd_campaign *x) {
    const ProtobufCBinaryData *a = &k->rec->template_hash, *b = &x->rec->template_hash;
    return x == k || (x->stream == k->stream && a->len &&
                      rmd_slice_eq(rmd_slice(a->data, a->len), rmd_slice(b->data, b->len)) &&
                      c->now.wall_ms - x->rec->accepted_wall_ms <= RMD_CONTENT_SAME_MS);
}

/* Their outcomes together (or this campaign's alone), at each provider that this campaign had outcomes of; scratch memory. */
static struct rmd_content_tally *together(struct rmd_coord *c, const struct rmd_campaign *k, bool alone) {
    struct rmd_content_tally *sum = rmd_arena_alloc(&c->scratch, (k->n_tallies + 1) * sizeof *sum);
    for (size_t i = 0; i < k->n_tallies; i++)
        sum[i] = (struct rmd_content_tally){.provider = k->tally[i].provider,
                                            .stopped = believed(k, k->tally[i].provider)};
    rmd_list_for(it, &c->all_campaigns) {
        const struct rmd_campaign *x = rmd_container(it, struct rmd_campaign, all);
        if (!x->n_tallies || (alone ? x != k : !same_content(c, k, x)))
            continue;
        for (size_t i = 0; i < k->n_tallies; i++)
            for (size_t j = 0; j < x->n_tallies; j++)
                if (x->tally[j].provider == sum[i].provider) {
                    sum[i].outcomes += x->tally[j].outcomes;
                    sum[i].refused += x->tally[j].refused;
                    sum[i].said += x == k ? x->tally[j].said : 0; /* another's list */
                }
    }
    return sum;
}

/* Said; what follows is counted anew. */
static void count_anew(struct rmd_coord *c, const struct rmd_campaign *k, uint32_t provider, const char *pause) {
    rmd_list_for_safe(it, &c->all_campaigns) {
        struct rmd_campaign *x = rmd_container(it, struct rmd_campaign, all);
        if (!same_content(c, k, x))
            continue;
        for (size_t j = 0; j < x->n_tallies; j++)
            if (!provider || x->tally[j].provider == provider)
                x->tally[j].outcomes = x->tally[j].refused = x->tally[j].said = 0;
        if (pause && x->rec->state == RMD_CAMPAIGN_ACTIVE)
            rmd_campaign_set_state(c, x, RMD_CAMPAIGN_PAUSED, pause);
    }
}

void rmd_content_resumed(struct rmd_coord *c, struct rmd_campaign *k) {
    count_anew(c, k, 0, NULL);
    rmd_content_forget(k);
}

/* ---------------------------------------------------------------- stopped at a provider */

bool rmd_content_stopped(const struct rmd_campaign *k, uint32_t provider) {
    return stop_at(k, provider) != NULL;
}

struct at_provider {
    const struct rmd_campaign *campaign;
    uint32_t provider;
};

static bool of_campaign(void *ctx, const struct rmd_lease *l) {
    const struct at_provider *x = ctx;
    return l->campaign == x->campaign && l->provider_id == x->provider;
}

static Remuda__EventRecord *stop_event(struct rmd_coord *c, const char *type, const struct rmd_campaign *k,
                                       const Remuda__ContentStop *s, const char *why) {
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->campaign.data = rmd_arena_dup(rmd_arena_after(c), k->id.b, sizeof k->id.b);
    e->campaign.len = sizeof k->id.b;
    e->stream = k->rec->stream;
    e->provider = s->provider;
    e->incident = s->incident;
    e->text = rmd_arena_str(rmd_arena_after(c), rmd_slice_str(why));
    return e;
}

/* ms: of a rest; 0: until a person looks, which a rest becomes. */
static void stop(struct rmd_coord *c, struct rmd_campaign *k, uint32_t provider, const struct rmd_incident *i,
                 const char *why, int64_t ms) {
    Remuda__ContentStop *s = stop_at(k, provider);
    if (k->rec->state != RMD_CAMPAIGN_ACTIVE || (s && (ms || !s->until_ledger_ms)))
        return;
    if (!s) {
        s = rmd_alloc(sizeof *s);
        remuda__content_stop__init(s);
        s->provider = provider;
        k->rec->stop = rmd_realloc(k->rec->stop, (k->rec->n_stop + 1) * sizeof(Remuda__ContentStop *));
        k->rec->stop[k->rec->n_stop++] = s; /* at most one a configured provider */
    }
    s->incident = i ? i->rec->id : 0;
    s->until_ledger_ms = ms ? c->ledger.now_ms + ms : 0;
    s->until_wall_ms = ms ? c->now.wall_ms + ms : 0;
    rmd_str_set(&s->reason, why);
    size_t at = tally_of(k, provider); /* may move the tallies */
    k->tally[at].stopped = !ms;
    rmd_campaign_dirty(c, k);
    stop_event(c, ms ? "campaign.resting" : "campaign.stopped", k, s, why);
    rmd_recall_where(c, of_campaign, &(struct at_provider){k, provider}, RMD_RETURN_PAUSED);
}

void rmd_content_stop(struct rmd_coord *c, struct rmd_campaign *k, uint32_t provider, const struct rmd_incident *i,
                      const char *why) {
    stop(c, k, provider, i, why, 0);
}

static void rest(struct rmd_coord *c, struct rmd_campaign *k, uint32_t provider, int64_t ms) {
    char length[32];
    int64_t most = ms < RMD_REST_MAX_MS ? ms : RMD_REST_MAX_MS;
    if (stop_at(k, provider) || k->stream->rec->priority == 0)
        return;
    rmd_format_duration(most, length);
    stop(c, k, provider, NULL,
         rmd_arena_printf(&c->scratch, "%s finds its mail too frequent: it rests there for %s",
                          rmd_provider_name(c, provider), length),
         most);
    if (c->ledger.now_ms + most < c->content_tick_ledger_ms)
        c->content_tick_ledger_ms = c->ledger.now_ms + most;
    rmd_core_wake(c, c->now.mono_ms + most);
}

static void go_on(struct rmd_coord *c, struct rmd_campaign *k, int64_t *next) {
    size_t kept = 0, had = k->rec->n_stop;
    for (size_t n = 0; n < had; n++) {
        Remuda__ContentStop *s = k->rec->stop[n];
        if (!s->until_ledger_ms || s->until_ledger_ms > c->ledger.now_ms) {
            if (s->until_ledger_ms && s->until_ledger_ms < *next)
                *next = s->until_ledger_ms;
            k->rec->stop[kept++] = s;
            continue;
        }
        stop_event(c, "campaign.reopened", k, s, "its rest is over");
        remuda__content_stop__free_unpacked(s, NULL);
    }
    k->rec->n_stop = kept;
    if (kept == had)
        return;
    rmd_campaign_dirty(c, k);
    c->deal = true;
}

void rmd_content_tick(struct rmd_coord *c) {
    int64_t next = INT64_MAX;
    if (c->ledger.now_ms < c->content_tick_ledger_ms) {
        if (c->content_tick_ledger_ms != INT64_MAX)
            rmd_core_wake(c, c->now.mono_ms + (c->content_tick_ledger_ms - c->ledger.now_ms));
        return;
    }
    rmd_list_for(it, &c->open_campaigns) go_on(c, rmd_container(it, struct rmd_campaign, life), &next);
    c->content_tick_ledger_ms = next;
    if (next != INT64_MAX)
        rmd_core_wake(c, c->now.mono_ms + (next - c->ledger.now_ms));
}

static void stop_same(struct rmd_coord *c, const struct rmd_campaign *k, uint32_t provider,
                      const struct rmd_incident *i, const char *why) {
    rmd_list_for_safe(it, &c->all_campaigns) {
        struct rmd_campaign *x = rmd_container(it, struct rmd_campaign, all);
        if (same_content(c, k, x))
            rmd_content_stop(c, x, provider, i, why);
    }
}

bool rmd_content_reopen(struct rmd_coord *c, struct rmd_campaign *k, uint64_t incident, const char *why) {
    size_t kept = 0, had = k->rec->n_stop;
    for (size_t n = 0; n < had; n++) {
        Remuda__ContentStop *s = k->rec->stop[n];
        if (incident && s->incident != incident) {
            k->rec->stop[kept++] = s;
            continue;
        }
        stop_event(c, "campaign.reopened", k, s, why);
        struct rmd_incident *i = incident ? NULL : rmd_incident_find(c, s->incident);
        if (i)
            rmd_incident_resolve(c, i, why);
        remuda__content_stop__free_unpacked(s, NULL);
    }
    k->rec->n_stop = kept;
    if (kept != had || !incident)
        rmd_content_resumed(c, k);
    if (kept == had)
        return false;
    rmd_campaign_dirty(c, k);
    c->deal = true;
    return true;
}

bool rmd_content_resolved(struct rmd_coord *c, uint64_t incident, const char *why) {
    bool any = false;
    rmd_list_for(it, &c->open_campaigns) {
        any |= rmd_content_reopen(c, rmd_container(it, struct rmd_campaign, life), incident, why);
    }
    return any;
}

const char *rmd_content_stops(struct rmd_coord *c, const struct rmd_campaign *k, struct rmd_arena *a) {
    const char *at[2] = {NULL, NULL}; /* stopped, resting */
    for (size_t i = 0; i < k->rec->n_stop; i++) {
        const Remuda__ContentStop *s = k->rec->stop[i];
        const char *name = rmd_provider_name(c, s->provider), **x = &at[s->until_ledger_ms != 0];
        char until[32];
        if (s->until_ledger_ms) {
            rmd_date_rfc3339(s->until_wall_ms, until);
            name = rmd_arena_printf(a, "%s until %s", name, until);
        }
        *x = *x ? rmd_arena_printf(a, "%s, %s", *x, name) : name;
    }
    const char *stopped = at[0] ? rmd_arena_printf(a, "stopped at %s: its content is refused there", at[0]) : NULL;
    if (!at[1])
        return stopped;
    return rmd_arena_printf(a, "%s%sresting at %s: its mail is too frequent there", stopped ? stopped : "",
                            stopped ? "; " : "", at[1]);
}

static const char why_refused[] = "stopped at this provider: its content is refused there",
                  why_frequent[] = "rests at this provider: its mail is too frequent there";

const char *rmd_content_why(const struct rmd_pq *q, const struct rmd_campaign *k) {
    bool any = false, refused = false;
    if (k)
        return !rmd_content_stopped(k, q->provider_id) ? NULL
               : believed(k, q->provider_id)           ? why_refused
                                                       : why_frequent;
    rmd_list_for(it, &q->cqs) {
        const struct rmd_cq *x = rmd_container(it, struct rmd_cq, in_pq);
        bool waits = x->queued && x->campaign->rec->state != RMD_CAMPAIGN_PAUSED;
        if (waits && !rmd_content_stopped(x->campaign, q->provider_id))
            return NULL;
        any |= waits;
        refused |= waits && believed(x->campaign, q->provider_id);
    }
    return refused ? why_refused : any ? why_frequent : NULL;
}

/* ---------------------------------------------------------------- outcomes */

static struct rmd_incident *find_open(struct rmd_coord *c, const char *campaign, uint32_t provider) {
    rmd_list_for(it, &c->incidents) {
        struct rmd_incident *i = rmd_container(it, struct rmd_incident, link);
        if (i->rec->state == 0 && i->rec->provider == provider && i->rec->source == 0 &&
            strcmp(i->rec->campaign, campaign) == 0)
            return i;
    }
    return NULL;
}

static struct rmd_incident *tell(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                                 const struct rmd_verdict *v, const struct rmd_failover_decision *d) {
    char id[27], text[RMD_REPLY_TEXT_MAX + 1];
    rmd_id_format(&l->campaign->id, id);
    struct rmd_incident *known = find_open(c, id, l->provider_id);
    if (known)
        return known;
    rmd_reply_words(text, o->reply);
    struct rmd_buf title = {0};
    rmd_buf_addf(&title, "campaign %s: %s", rmd_campaign_name(l->campaign), d->why);
    struct rmd_incident *i = rmd_incident_open(c, rmd_buf_str(&title));
    rmd_buf_release(&title);
    i->rec->class_ = v->class;
    i->rec->scope = RMD_SCOPE_CAMPAIGN;
    i->rec->provider = l->provider_id;
    rmd_str_set(&i->rec->campaign, id);
    rmd_str_set(&i->rec->cause, text);
    rmd_str_set(&i->rec->next_step, d->next_step);
    return i;
}

/* Said by the receiver, and of this message: what the node itself finds wrong isn't the provider's word, and a greeting is one word to
 * whatever waits there. */
static bool of_its_message(const Remuda__Outcome *o) {
    const Remuda__Reply *r = o->reply;
    return r && r->code && (r->stage == RMD_STAGE_NONE || r->stage >= RMD_STAGE_MAIL);
}

void rmd_content_outcome(struct rmd_coord *c, const struct rmd_lease *l, const Remuda__Outcome *o,
                         const struct rmd_verdict *v) {
    struct rmd_campaign *k = l->campaign;
    bool answered =
        o->kind == RMD_OUTCOME_DELIVERED || o->kind == RMD_OUTCOME_BOUNCED || o->kind == RMD_OUTCOME_DEFERRED;
    if (c->o.without & RMD_WITHOUT_BREAKER)
        return;
    if (!answered || k->rec->state != RMD_CAMPAIGN_ACTIVE || l->pq->provider < 0)
        return;
    size_t at = tally_of(k, l->provider_id);
    bool heard = o->kind != RMD_OUTCOME_DELIVERED && of_its_message(o), refused = heard && rmd_content_is_refused(v);
    bool whole = heard && l->provider_id != c->other; /* one of "other" speaks for itself */
    rmd_content_count(&k->tally[at], refused, refused && whole && rmd_content_is_said(v));
    if (o->kind == RMD_OUTCOME_DEFERRED && whole && rmd_content_rests(v))
        rest(c, k, l->provider_id, v->duration_ms);
    if (!refused)
        return;
    const char *provider = rmd_provider_name(c, l->provider_id);
    struct rmd_failover_decision d = {.what = RMD_FAILOVER_NOTHING};
    for (int alone = 1; alone >= 0 && d.what == RMD_FAILOVER_NOTHING; alone--)
        d = rmd_content_decide(together(c, k, alone), k->n_tallies, at, c->other, provider,
                               k->stream->rec->priority == 0);
    if (d.what == RMD_FAILOVER_NOTHING)
        return;
    struct rmd_incident *i = tell(c, l, o, v, &d);
    if (d.here && d.own)
        rmd_content_stop(c, k, l->provider_id, i, d.why);
    else if (d.here)
        stop_same(c, k, l->provider_id, i, d.why);
    else
        count_anew(c, k, l->provider_id, d.what == RMD_FAILOVER_PAUSE_CAMPAIGN ? d.why : NULL);
    rmd_core_warn(c, "campaign %s: %s%s: %s", rmd_campaign_name(k), rmd_failover_name(d.what),
                  d.here ? " at this provider" : "", d.why);
}
