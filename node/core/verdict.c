/* What a verdict does on this node, at once, before the coordinator has heard of it (design, sections 7 and 9).
 *
 * Reach: a scope of ourselves (source, network, node, lane) stops the source's lane at the provider that said it, and
 * no other: one receiver may be wrong, and the coordinator, who hears them all, widens the stop. A destination's scope
 * rests the site. What one small receiver says acts on its site alone, be it of rate or a block: the sites of "other" have
 * nothing to do with each other. Scopes of recipient, message, campaign and sending domain stop nothing here: the
 * coordinator decides, because they never move.
 *
 * slow: half the rate, half the connections; said again although nothing was accepted since, it is a rest. narrow: half the connections.
 * shorten: as many messages on a connection as were taken. rest, quarantine: stop. pause: only told. Each of them is an alarm. */
#include "node/core/worker_internal.h"

static const unsigned ours =
    RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK | RMD_SCOPE_NODE | RMD_SCOPE_OURSELVES | RMD_SCOPE_LANE;

void rmd_worker_classify(const struct rmd_worker *w, const struct rmd_lane *lane, const struct rmd_reply *reply,
                         struct rmd_verdict *out) {
    rmd_rules_classify(w->rules, reply, lane->policy ? lane->policy->name : "", out);
    if (reply->code < 500)
        out->permanent = false;
}

static void alarm(struct rmd_worker *w, const struct rmd_cause *c) {
    const char *rule = c->verdict->rule ? c->verdict->rule : "";
    /* what one stream's mail or sender is told is none of another's, and what a site of "other" says none of the next site's */
    bool of_stream = c->verdict->action == RMD_ACTION_PAUSE || (c->verdict->scope & RMD_SCOPE_SENDING_DOMAIN);
    uint32_t stream = of_stream ? c->stream : 0;
    uint64_t site = rmd_lane_is_other(c->lane) && c->verdict->action == RMD_ACTION_QUARANTINE ? c->site->mx_site : 0;
    struct rmd_walarm *oldest = &c->lane->alarm[0];
    for (size_t i = 0; i < RMD_WORKER_ALARMS_KEPT; i++) {
        struct rmd_walarm *last = &c->lane->alarm[i];
        if (last->at_ms && w->now.mono_ms - last->at_ms < RMD_WORKER_ALARM_REPEAT_MS && last->stream == stream &&
            last->site == site && last->action == c->verdict->action &&
            strncmp(last->rule, rule, sizeof last->rule - 1) == 0)
            return; /* the same words from connections that were open together */
        if (last->at_ms < oldest->at_ms)
            oldest = last;
    }
    rmd_copy(oldest->rule, sizeof oldest->rule, rule);
    oldest->stream = stream;
    oldest->site = site;
    oldest->action = c->verdict->action;
    oldest->at_ms = w->now.mono_ms ? w->now.mono_ms : 1;
    Remuda__Alarm *a = rmd_arena_alloc(&w->out->arena, sizeof *a);
    remuda__alarm__init(a);
    a->source = c->lane->source->id;
    a->provider = c->lane->provider;
    a->stream = c->stream;
    a->site = c->site->mx_site;
    a->verdict = rmd_worker_wire_verdict(w, c->verdict);
    a->reply = rmd_worker_wire_reply(w, c->reply, c->mx_host, c->mx_addr);
    if (c->domain)
        a->domain = rmd_arena_str(&w->out->arena, rmd_slice_str(c->domain));
    rmd_worker_effect(w, RMD_WF_ALARM)->alarm = a;
}

void rmd_worker_alarms_anew(struct rmd_lane *lane, uint64_t site) {
    for (size_t i = 0; i < RMD_WORKER_ALARMS_KEPT; i++)
        if (lane->alarm[i].action == RMD_ACTION_QUARANTINE && lane->alarm[i].site == site)
            lane->alarm[i] = (struct rmd_walarm){0};
}

static int64_t stop_until(const struct rmd_worker *w, const struct rmd_verdict *v) {
    int64_t ms = v->duration_ms;
    if (v->action == RMD_ACTION_QUARANTINE && ms < RMD_WORKER_STOP_MS)
        ms = RMD_WORKER_STOP_MS;
    return w->now.mono_ms + (ms ? ms : RMD_WORKER_REST_DEFAULT_MS);
}

static void stop(struct rmd_worker *w, struct rmd_stop *s, const struct rmd_verdict *v) {
    int64_t until = stop_until(w, v);
    if (until > s->until_ms)
        *s = (struct rmd_stop){.until_ms = until};
}

static void stop_source(struct rmd_worker *w, struct rmd_wsource *s, enum rmd_return_reason reason) {
    rmd_list_for_safe(it, &s->lanes) rmd_worker_stop_lane(w, rmd_container(it, struct rmd_lane, of_source), reason);
}

/* After a rest a part of the pace that was is where it starts again: never a snap back (worker_pace.c). */
static void halt(struct rmd_worker *w, const struct rmd_cause *c) {
    const struct rmd_verdict *v = c->verdict;
    bool lane = v->scope & ours, other = rmd_lane_is_other(c->lane);
    if (lane && other && v->action == RMD_ACTION_QUARANTINE && rmd_worker_stop_site(w, c->site, stop_until(w, v))) {
        rmd_worker_rested(w, c, true);
    } else if (lane && other && v->action == RMD_ACTION_REST) {
        rmd_worker_rested(w, c, true);
        rmd_worker_site_down(w, c, v->duration_ms ? v->duration_ms : RMD_WORKER_REST_DEFAULT_MS);
    } else if (lane) {
        rmd_worker_rested(w, c, false);
        stop(w, &c->lane->stop, v);
        rmd_worker_stop_lane(w, c->lane, RMD_RETURN_SOURCE_STOPPED);
    } else if (v->scope & RMD_SCOPE_DESTINATION) {
        rmd_worker_site_down(w, c, v->duration_ms ? v->duration_ms : RMD_WORKER_REST_DEFAULT_MS);
    }
}

static bool rests_by_rate(const struct rmd_verdict *v) {
    return v->action == RMD_ACTION_REST && v->class == RMD_CLASS_RATE_LIMITED && (v->scope & ours);
}

/* What the lane's own past makes of a verdict about its rate. */
static void weigh(struct rmd_worker *w, const struct rmd_cause *c, struct rmd_verdict *v) {
    if (v->action == RMD_ACTION_SLOW && rmd_worker_unheard(w, c))
        v->action = RMD_ACTION_REST;
    if (rests_by_rate(v))
        v->duration_ms = rmd_worker_rest_ms(w, c);
}

static void apply(struct rmd_worker *w, const struct rmd_cause *c) {
    switch (c->verdict->action) {
    case RMD_ACTION_SLOW:
        alarm(w, c);
        rmd_worker_slow(w, c);
        break;
    case RMD_ACTION_NARROW:
        alarm(w, c);
        rmd_worker_narrow(w, c);
        break;
    case RMD_ACTION_SHORTEN:
        rmd_worker_shorten(w, c);
        break;
    case RMD_ACTION_REST:
    case RMD_ACTION_QUARANTINE:
        alarm(w, c);
        halt(w, c);
        break;
    case RMD_ACTION_PAUSE:
        if (c->stream) /* 0: a connection's last words, which its message's alarm has told */
            alarm(w, c);
        break;
    default:
        break;
    }
}

void rmd_worker_apply(struct rmd_worker *w, const struct rmd_cause *cause) {
    struct rmd_verdict v = *cause->verdict;
    struct rmd_cause c = *cause;
    c.verdict = &v;
    weigh(w, &c, &v);
    apply(w, &c);
}

/* --- a site that answers nothing */

void rmd_worker_defer_saved(struct rmd_worker *w, struct rmd_wmessage *m, const struct rmd_saved *s) {
    bool bounce = s->verdict.permanent && s->reply.code == 0;
    rmd_worker_outcome(w, m,
                       &(struct rmd_outcome_facts){.kind = bounce ? RMD_OUTCOME_BOUNCED : RMD_OUTCOME_DEFERRED,
                                                   .reply = &s->reply,
                                                   .verdict = &s->verdict,
                                                   .mx_host = s->mx_host,
                                                   .mx_addr = s->mx_addr});
}

static void save(struct rmd_wsite *site, const struct rmd_cause *c) {
    if (!site->saved)
        site->saved = rmd_alloc(sizeof *site->saved);
    struct rmd_saved *s = site->saved;
    s->verdict = *c->verdict;
    if (c->reply->code) /* what is said of us before RCPT is no recipient's fault */
        s->verdict.permanent = false;
    s->reply = *c->reply;
    size_t n = c->reply->text.n < sizeof s->text ? c->reply->text.n : sizeof s->text;
    if (n)
        memmove(s->text, c->reply->text.p, n);
    s->reply.text = rmd_slice(s->text, n);
    rmd_copy(s->mx_host, sizeof s->mx_host, c->mx_host ? c->mx_host : "");
    rmd_copy(s->mx_addr, sizeof s->mx_addr, c->mx_addr ? c->mx_addr : "");
}

void rmd_worker_site_down(struct rmd_worker *w, const struct rmd_cause *c, int64_t hold_ms) {
    struct rmd_wsite *site = c->site;
    save(site, c);
    if (site->down_until_ms < w->now.mono_ms + hold_ms)
        site->down_until_ms = w->now.mono_ms + hold_ms;
    struct rmd_wmessage *m;
    while ((m = rmd_site_head(site)))
        rmd_worker_defer_saved(w, m, site->saved);
    rmd_list_for_safe(it, &site->idle) rmd_worker_conn_quit(w, rmd_container(it, struct rmd_wconn, idle));
}

/* --- the source's address isn't on this host */

void rmd_worker_no_address(struct rmd_worker *w, struct rmd_wsource *s, const char *text) {
    char line[256];
    (void)
        text; /* whatever the socket calls it; the words are those of the node's own check, so that it is told once */
    s->no_address_until_ms = w->now.mono_ms + RMD_WORKER_BIND_RETRY_MS;
    s->has_trouble = true;
    (void)rmd_format(line, sizeof line,
                     "%s is not an address of this host: plumb it, or correct the source's bind address",
                     s->bind_text);
    rmd_worker_say(w, RMD_MAIL_TROUBLE, 0, s->id, line);
    stop_source(w, s, RMD_RETURN_NO_ADDRESS);
}
