/* Failover policy: see failover.h. */
#include "coordinator/core/failover.h"

#include <base/text.h>

bool rmd_verdict_is_own_fault(const struct rmd_verdict *v) {
    bool stays = v->action == RMD_ACTION_QUARANTINE && !v->move && (v->scope & RMD_SCOPE_SOURCE);
    return v->class == RMD_CLASS_NO_RDNS || (v->class == RMD_CLASS_IP_BLOCKLISTED && stays);
}

static bool of_the_ip(enum rmd_class class) {
    return class == RMD_CLASS_IP_BLOCKLISTED || class == RMD_CLASS_NO_RDNS;
}

bool rmd_refusal_of_the_ip(const struct rmd_verdict *v) {
    return of_the_ip(v->class);
}

bool rmd_refusal_of_the_mail(const struct rmd_verdict *v) {
    return v->action == RMD_ACTION_PAUSE;
}

static bool same_words(const struct rmd_refusal *a, const struct rmd_refusal *b) {
    return a->source == b->source && a->provider == b->provider && a->network == b->network && a->class == b->class &&
           a->site == b->site && a->own_fault == b->own_fault;
}

void rmd_refusals_add(struct rmd_refusals *r, const struct rmd_refusal *x) {
    uint32_t at = 0;
    while (at < r->n && !same_words(&r->v[at], x))
        at++;
    at = at < r->n ? at : 0; /* the same again, or the oldest */
    if (at < r->n && (r->n == RMD_REFUSALS_MAX || same_words(&r->v[at], x))) {
        memmove(r->v + at, r->v + at + 1, sizeof r->v[0] * (r->n - at - 1));
        r->n--;
    }
    r->v[r->n++] = *x;
}

/* Which refusals count; 0: any. */
struct filter {
    int64_t now_wall_ms;
    uint32_t provider, not_provider;
    const enum rmd_class *class; /* NULL: those that refuse the IP itself */
};

static bool counts(const struct rmd_refusal *x, const struct filter *f) {
    bool class = f->class ? x->class == *f->class : of_the_ip(x->class);
    return class && f->now_wall_ms - x->wall_ms <= RMD_CORROBORATION_MS &&
           (!f->provider || x->provider == f->provider) && (!f->not_provider || x->provider != f->not_provider);
}

static uint32_t provider_of(const struct rmd_refusal *x) {
    return x->provider;
}
static uint32_t source_of(const struct rmd_refusal *x) {
    return x->source;
}
static uint32_t network_of(const struct rmd_refusal *x) {
    return x->network;
}

/* A named provider has said of this source that its own configuration is at fault. */
static bool own_fault_told(const struct rmd_failover_input *in) {
    struct filter f = {.now_wall_ms = in->now_wall_ms, .not_provider = in->other_provider};
    for (uint32_t i = 0; i < in->of_source->n; i++)
        if (in->of_source->v[i].own_fault && counts(&in->of_source->v[i], &f))
            return true;
    return false;
}

/* Distinct values of one field among the refusals that count, whatever else they say; the list is short, so a square
 * walk is fine. */
static uint32_t distinct(const struct rmd_refusals *r, const struct filter *f,
                         uint32_t (*field)(const struct rmd_refusal *x)) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        if (!counts(&r->v[i], f))
            continue;
        bool seen = false;
        for (uint32_t k = 0; k < i && !seen; k++)
            seen = counts(&r->v[k], f) && field(&r->v[k]) == field(&r->v[i]);
        n += !seen;
    }
    return n;
}

uint32_t rmd_refusals_providers(const struct rmd_refusals *r, uint32_t other_provider, int64_t now_wall_ms) {
    struct filter f = {.now_wall_ms = now_wall_ms, .not_provider = other_provider};
    return distinct(r, &f, provider_of);
}

bool rmd_refusals_of_another_site(const struct rmd_refusals *r, uint32_t provider, uint64_t site,
                                  int64_t now_wall_ms) {
    struct filter f = {.now_wall_ms = now_wall_ms, .provider = provider};
    for (uint32_t i = 0; i < r->n; i++)
        if (counts(&r->v[i], &f) && r->v[i].site && r->v[i].site != site)
            return true;
    return false;
}

uint32_t rmd_refusals_sources(const struct rmd_refusals *r, uint32_t provider, int64_t now_wall_ms) {
    struct filter f = {.now_wall_ms = now_wall_ms, .provider = provider};
    return distinct(r, &f, source_of);
}

/* The same was said of this stream's mail: at this provider to two networks of ours, so no address is meant. */
static bool content_corroborated(const struct rmd_failover_input *in) {
    struct filter f = {.now_wall_ms = in->now_wall_ms, .class = &in->verdict->class, .provider = in->provider};
    return distinct(in->of_domain, &f, network_of) >= 2;
}

/* By two named providers. */
static bool content_agreed(const struct rmd_failover_input *in) {
    struct filter f = {
        .now_wall_ms = in->now_wall_ms, .class = &in->verdict->class, .not_provider = in->other_provider};
    return distinct(in->of_domain, &f, provider_of) >= 2;
}

const char *rmd_failover_name(enum rmd_failover_what what) {
    static const char *const names[] = {"nothing",           "rest",
                                        "quarantine site",   "quarantine lane",
                                        "quarantine source", "quarantine network",
                                        "pause stream",      "pause campaign",
                                        "sending domain",    "alert"};
    return what < sizeof names / sizeof names[0] ? names[what] : "?";
}

static int64_t until(const struct rmd_failover_input *in, int64_t floor_ms) {
    int64_t d = in->verdict->duration_ms;
    return in->now_wall_ms + (d > floor_ms ? d : floor_ms);
}

/* Another address would be the next one of a sender who spreads: the stream itself must be mended. */
static void decide_snowshoe(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    d->what = in->transactional ? RMD_FAILOVER_ALERT : RMD_FAILOVER_PAUSE_STREAM;
    d->next_step = "mend the stream: consent, list and content; then resume it";
    rmd_format(d->why, sizeof d->why,
               "%s refuses %s, which is listed as part of a sender spread over many addresses%s", in->provider_name,
               in->source_name, in->transactional ? ": transactional mail goes on" : "");
}

/* When a single recipient asks again, at most. */
static void ask_soon(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    int64_t first = in->now_wall_ms + RMD_QUARANTINE_FIRST_MS;
    if (d->until_wall_ms > first) /* 0: a person is waited for */
        d->until_wall_ms = first;
}

/* One of the many receivers of "other" has spoken, and no other of them: a private list that no public checker knows, or a broken lookup.
 * Among thousands there is always one, so that a named provider refuses the source, too, makes it nobody else's word. */
static bool of_one_site(const struct rmd_failover_input *in, uint32_t named) {
    return in->provider == in->other_provider && in->site && !in->dns_confirmed && named < 2 &&
           !rmd_refusals_of_another_site(in->of_source, in->other_provider, in->site, in->now_wall_ms);
}

static void decide_site(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    d->what = RMD_FAILOVER_QUARANTINE_SITE;
    ask_soon(in, d);
    d->network = false;
    d->next_step = "see whether the reply is true: our own checks, and the list that it names; ask the site's "
                   "postmaster; resolve "
                   "the incident when it accepts again";
    rmd_format(d->why, sizeof d->why, "the site of %.80s refuses %s: stopped at this site, as no other site says so",
               in->site_name, in->source_name);
}

static const char *of_own_fault(const struct rmd_verdict *v) {
    return v->class == RMD_CLASS_NO_RDNS
               ? "publish a PTR record of the source's address with its HELO name, and an A or AAAA record of that "
                 "name with the address; resolve the incident when both are visible"
               : "look at the host: does it relay for others, is it compromised, may this address send at all? Mend "
                 "it, "
                 "tell the provider, then resolve the incident; the work waits meanwhile, as another address would "
                 "only "
                 "hide it";
}

/* The IP itself is refused: the only causes that may move work. */
static void decide_ip(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    const struct rmd_verdict *v = in->verdict;
    uint32_t providers = rmd_refusals_providers(in->of_source, in->other_provider, in->now_wall_ms);
    uint32_t neighbours = rmd_refusals_sources(in->of_network, in->provider, in->now_wall_ms);
    bool own_fault = rmd_verdict_is_own_fault(v);
    d->move = v->move && !own_fault && !own_fault_told(in);
    d->until_wall_ms = v->duration_ms > 0 ? until(in, RMD_QUARANTINE_MIN_MS) : 0;
    d->network = (v->scope & RMD_SCOPE_NETWORK) && neighbours >= 2;
    if (in->temporary)
        ask_soon(in, d);
    if (of_one_site(in, providers)) {
        decide_site(in, d);
        return;
    }
    bool everywhere = !v->at_provider && (v->scope & RMD_SCOPE_SOURCE) && in->provider != in->other_provider;
    if (in->dns_confirmed || providers >= 2 || everywhere) {
        d->what = RMD_FAILOVER_QUARANTINE_SOURCE;
        d->next_step =
            own_fault ? of_own_fault(v)
                      : "find the cause, ask the lists and providers named in the replies for removal, then resolve "
                        "the incident";
        rmd_format(d->why, sizeof d->why, "%s is refused %s%s: stopped everywhere", in->source_name,
                   in->dns_confirmed ? "and our own DNS query finds it listed"
                   : providers >= 2  ? "by two unrelated providers"
                                     : "for what its host does, by ",
                   in->dns_confirmed || providers >= 2 ? "" : in->provider_name);
        return;
    }
    if (d->network) {
        d->what = RMD_FAILOVER_QUARANTINE_NETWORK;
        d->next_step = "ask the provider about the network; move sources to another one when it stays refused";
        rmd_format(d->why, sizeof d->why, "%s refuses the network of %s, as two of our sources there were told",
                   in->provider_name, in->source_name);
        return;
    }
    d->what = RMD_FAILOVER_QUARANTINE_LANE;
    d->next_step =
        own_fault
            ? of_own_fault(v)
            : "follow the reply's instructions for removal; resolve the incident when the provider accepts again";
    if (in->provider == in->other_provider && in->site)
        rmd_format(d->why, sizeof d->why,
                   "the site of %.80s refuses %s, as another one did: stopped at all sites of \"other\"",
                   in->site_name, in->source_name);
    else
        rmd_format(d->why, sizeof d->why, "%s refuses %s: stopped at this provider", in->provider_name,
                   in->source_name);
}

/* The campaign as a whole: its list, or how often its mail comes. */
static bool of_campaign(const struct rmd_verdict *v) {
    return v->action == RMD_ACTION_PAUSE && (v->scope & RMD_SCOPE_CAMPAIGN) && !(v->scope & RMD_SCOPE_MESSAGE);
}

/* Domain, authentication, content, list quality: the mail or its sender is at fault, and another IP would only burn
 * as well. */
static void decide_sender(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    const struct rmd_verdict *v = in->verdict;
    bool of_domain = (v->scope & RMD_SCOPE_SENDING_DOMAIN) != 0;
    if (of_campaign(v))
        return; /* each campaign counts what it is told (content.c) */
    d->what = RMD_FAILOVER_ALERT;
    d->next_step = of_domain ? "mend authentication or the domain's reputation, then resume"
                             : "look at the content and the list, then resume the campaign";
    if (of_domain && !in->no_breaker) {
        d->what = RMD_FAILOVER_SENDER;
        rmd_format(d->why, sizeof d->why, "%s refuses the sending domain: %s", in->provider_name,
                   rmd_class_name(v->class));
        return;
    }
    bool agreed = content_agreed(in);
    if (in->no_breaker || in->transactional || !(agreed || content_corroborated(in))) {
        rmd_format(d->why, sizeof d->why, "%s: %s, for another reason than the IP (%s)", in->provider_name,
                   rmd_class_name(v->class),
                   in->transactional ? "transactional mail goes on" : "not corroborated yet");
        return;
    }
    d->what = RMD_FAILOVER_PAUSE_CAMPAIGN;
    d->here = !agreed;
    rmd_format(d->why, sizeof d->why, "content refused %s%s, not for the IP's sake: %s",
               agreed ? "by more than one provider" : "on more than one network by ", agreed ? "" : in->provider_name,
               rmd_class_name(v->class));
}

static void decide_rest(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    const struct rmd_verdict *v = in->verdict;
    if (in->provider == in->other_provider && in->site)
        return; /* its node's pacer lets that site rest */
    d->network = (v->scope & RMD_SCOPE_NETWORK) != 0;
    d->sender = (v->scope & RMD_SCOPE_SENDING_DOMAIN) && !in->no_breaker;
    d->lane = d->network || (v->scope & (RMD_SCOPE_LANE | RMD_SCOPE_SOURCE | RMD_SCOPE_NODE | RMD_SCOPE_OURSELVES));
    if (!d->lane && !d->sender)
        return; /* the destination's: its node waits */
    d->what = RMD_FAILOVER_REST;
    d->until_wall_ms = until(in, v->duration_ms <= 0 ? RMD_REST_DEFAULT_MS : 0);
    if (d->until_wall_ms > in->now_wall_ms + RMD_REST_MAX_MS)
        d->until_wall_ms = in->now_wall_ms + RMD_REST_MAX_MS;
    d->next_step = "nothing: the lane goes on by itself";
    rmd_format(d->why, sizeof d->why, "%s throttles %s%s (%s)", in->provider_name,
               d->network ? "the network of " : "", in->source_name, rmd_class_name(v->class));
}

struct rmd_failover_decision rmd_failover_decide(const struct rmd_failover_input *in) {
    const struct rmd_verdict *v = in->verdict;
    struct rmd_failover_decision d = {.what = RMD_FAILOVER_NOTHING, .next_step = ""};
    switch (v->action) {
    case RMD_ACTION_QUARANTINE:
        if (in->snowshoe)
            decide_snowshoe(in, &d);
        else if (v->scope & (RMD_SCOPE_SOURCE | RMD_SCOPE_LANE | RMD_SCOPE_NETWORK | RMD_SCOPE_NODE))
            decide_ip(in, &d);
        break;
    case RMD_ACTION_SLOW:
    case RMD_ACTION_NARROW:
    case RMD_ACTION_SHORTEN:
        break; /* the node's pacer slows down; nothing for the cluster to decide */
    case RMD_ACTION_REST:
        decide_rest(in, &d);
        break;
    case RMD_ACTION_PAUSE:
        decide_sender(in, &d);
        break;
    default:
        break;
    }
    return d;
}

/* ---------------------------------------------------------------- content that is refused again and again */

bool rmd_content_rests(const struct rmd_verdict *v) {
    return of_campaign(v) && v->class == RMD_CLASS_RATE_LIMITED && v->duration_ms > 0;
}

bool rmd_content_is_said(const struct rmd_verdict *v) {
    return of_campaign(v) && !rmd_content_rests(v);
}

bool rmd_content_is_refused(const struct rmd_verdict *v) {
    bool class = v->class == RMD_CLASS_SPAM_CONTENT || v->class == RMD_CLASS_DOMAIN_BLOCKLISTED ||
                 v->class == RMD_CLASS_VIRUS || v->class == RMD_CLASS_BAD_MESSAGE ||
                 v->class == RMD_CLASS_MESSAGE_TOO_BIG || v->class == RMD_CLASS_POLICY;
    return (class && (v->scope & (RMD_SCOPE_MESSAGE | RMD_SCOPE_CAMPAIGN))) || rmd_content_is_said(v);
}

void rmd_content_count(struct rmd_content_tally *t, bool refused, bool said) {
    t->outcomes++;
    t->refused += refused;
    t->said += said;
    if (t->outcomes >= RMD_CONTENT_WINDOW) {
        t->outcomes /= 2;
        t->refused /= 2;
        t->said /= 2;
    }
}

static bool mostly_refused(const struct rmd_content_tally *t, uint32_t least) {
    return t->refused >= least && t->refused > t->outcomes / 2;
}

struct rmd_failover_decision rmd_content_decide(const struct rmd_content_tally *t, size_t n, size_t at,
                                                uint32_t other_provider, const char *provider_name,
                                                bool transactional) {
    struct rmd_failover_decision d = {.what = RMD_FAILOVER_NOTHING, .next_step = ""};
    bool agreed = false;
    for (size_t i = 0; i < n && t[at].provider != other_provider; i++)
        agreed = agreed || (i != at && t[i].provider != other_provider &&
                            (t[i].stopped || mostly_refused(&t[i], RMD_CONTENT_REFUSALS_AGREED)));
    bool content = mostly_refused(&t[at], agreed ? RMD_CONTENT_REFUSALS_AGREED : RMD_CONTENT_REFUSALS);
    if (!(content || t[at].said >= RMD_CONTENT_SAID) || (t[at].stopped && !agreed))
        return d;
    d.here = !agreed;
    d.own = !content;
    d.what = transactional ? RMD_FAILOVER_ALERT : RMD_FAILOVER_PAUSE_CAMPAIGN;
    d.next_step = transactional ? "look at the messages: transactional mail goes on and is refused"
                                : "look at the message, then `remuda campaign resume`, or cancel it";
    if (d.own && !transactional)
        d.next_step =
            "look at the list and where its addresses come from, then `remuda campaign resume`, or cancel it";
    rmd_format(d.why, sizeof d.why, "%s refuses %s (%u of %u%s): %s", provider_name,
               d.own ? "the campaign as a whole" : "its content", d.own ? t[at].said : t[at].refused, t[at].outcomes,
               agreed ? ", and it isn't the only one" : "", d.next_step);
    return d;
}
