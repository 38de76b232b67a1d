/* Failover policy: see failover.h. */
#include "coordinator/core/failover.h"

#include <base/text.h>

void rmd_refusals_add(struct rmd_refusals *r, const struct rmd_refusal *x) {
    if (r->n == RMD_REFUSALS_MAX) {
        memmove(r->v, r->v + 1, sizeof r->v[0] * (RMD_REFUSALS_MAX - 1));
        r->n--;
    }
    r->v[r->n++] = *x;
}

static bool counts(const struct rmd_refusal *x, int64_t now_wall_ms) {
    return now_wall_ms - x->wall_ms <= RMD_CORROBORATION_MS;
}

static bool ip_scope(enum rmd_class class) {
    return class == RMD_CLASS_IP_BLOCKLISTED || class == RMD_CLASS_NO_RDNS;
}

/* Distinct values of one field among the refusals that `use` lets through; the list is short, so a square walk is
 * fine. */
#define COUNT_DISTINCT(r, now, use, field)                                           \
    uint32_t n = 0;                                                                  \
    for (uint32_t i = 0; i < (r)->n; i++) {                                          \
        const struct rmd_refusal *x = &(r)->v[i];                                    \
        if (!counts(x, (now)) || !(use))                                             \
            continue;                                                                \
        bool seen = false;                                                           \
        for (uint32_t k = 0; k < i && !seen; k++) {                                  \
            const struct rmd_refusal *y = &(r)->v[k];                                \
            seen = counts(y, (now)) && y->field == x->field && y->class == x->class; \
        }                                                                            \
        n += !seen;                                                                  \
    }                                                                                \
    return n

uint32_t rmd_refusals_providers(const struct rmd_refusals *r, uint32_t other_provider, int64_t now_wall_ms) {
    COUNT_DISTINCT(r, now_wall_ms, ip_scope(x->class) && x->provider != other_provider, provider);
}

uint32_t rmd_refusals_sources(const struct rmd_refusals *r, uint32_t provider, int64_t now_wall_ms) {
    COUNT_DISTINCT(r, now_wall_ms, ip_scope(x->class) && x->provider == provider, source);
}

uint32_t rmd_refusals_networks(const struct rmd_refusals *r, int64_t now_wall_ms) {
    COUNT_DISTINCT(r, now_wall_ms, true, network);
}

static uint32_t named_providers(const struct rmd_refusals *r, uint32_t other_provider, int64_t now_wall_ms) {
    COUNT_DISTINCT(r, now_wall_ms, x->provider != other_provider, provider);
}

const char *rmd_failover_name(enum rmd_failover_what what) {
    static const char *const names[] = {
        "nothing",        "rest lane", "quarantine lane", "quarantine source", "quarantine network", "pause stream",
        "pause campaign", "alert"};
    return what < sizeof names / sizeof names[0] ? names[what] : "?";
}

static int64_t until(const struct rmd_failover_input *in, int64_t floor_ms) {
    int64_t d = in->verdict->duration_ms;
    return in->now_wall_ms + (d > floor_ms ? d : floor_ms);
}

/* The IP itself is refused: the only causes that may move work. */
static void decide_ip(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    const struct rmd_verdict *v = in->verdict;
    uint32_t providers = rmd_refusals_providers(in->of_source, in->other_provider, in->now_wall_ms);
    uint32_t neighbours = rmd_refusals_sources(in->of_network, in->provider, in->now_wall_ms);
    d->move = v->move;
    d->until_wall_ms = v->duration_ms > 0 ? until(in, RMD_QUARANTINE_MIN_MS) : 0;
    if (in->dns_confirmed || providers >= 2) {
        d->what = RMD_FAILOVER_QUARANTINE_SOURCE;
        d->next_step =
            "find the cause, ask the lists and providers named in the replies for removal, then resolve the incident";
        rmd_format(d->why, sizeof d->why, "%s is refused %s: stopped everywhere", in->source_name,
                   in->dns_confirmed ? "and our own DNS query finds it listed" : "by two unrelated providers");
        return;
    }
    if ((v->scope & RMD_SCOPE_NETWORK) && neighbours >= 2) {
        d->what = RMD_FAILOVER_QUARANTINE_NETWORK;
        d->next_step = "ask the provider about the network; move sources to another one when it stays refused";
        rmd_format(d->why, sizeof d->why, "%s refuses the network of %s, as two of our sources there were told",
                   in->provider_name, in->source_name);
        return;
    }
    d->what = RMD_FAILOVER_QUARANTINE_LANE;
    d->next_step =
        "follow the reply's instructions for removal; resolve the incident when the provider accepts again";
    rmd_format(d->why, sizeof d->why, "%s refuses %s: stopped at this provider", in->provider_name, in->source_name);
}

/* Domain, authentication, content, list quality: the mail or its sender is at fault, and another IP would only burn
 * as well. */
static void decide_sender(const struct rmd_failover_input *in, struct rmd_failover_decision *d) {
    const struct rmd_verdict *v = in->verdict;
    bool corroborated = named_providers(in->of_domain, in->other_provider, in->now_wall_ms) >= 2 ||
                        rmd_refusals_networks(in->of_domain, in->now_wall_ms) >= 2;
    bool of_domain = (v->scope & RMD_SCOPE_SENDING_DOMAIN) != 0;
    d->next_step = of_domain ? "mend authentication or the domain's reputation, then resume"
                             : "look at the content and the list, then resume the campaign";
    if (!corroborated || in->transactional || v->action != RMD_ACTION_PAUSE) {
        d->what = RMD_FAILOVER_ALERT;
        rmd_format(d->why, sizeof d->why, "%s: %s, for another reason than the IP (%s)", in->provider_name,
                   rmd_class_name(v->class),
                   in->transactional ? "transactional mail goes on" : "not corroborated yet");
        return;
    }
    d->what = of_domain ? RMD_FAILOVER_PAUSE_STREAM : RMD_FAILOVER_PAUSE_CAMPAIGN;
    rmd_format(d->why, sizeof d->why, "%s refused in more than one place, not for the IP's sake: %s",
               of_domain ? "sending domain" : "content", rmd_class_name(v->class));
}

struct rmd_failover_decision rmd_failover_decide(const struct rmd_failover_input *in) {
    const struct rmd_verdict *v = in->verdict;
    struct rmd_failover_decision d = {.what = RMD_FAILOVER_NOTHING, .next_step = ""};
    switch (v->action) {
    case RMD_ACTION_QUARANTINE:
        if (v->scope & (RMD_SCOPE_SOURCE | RMD_SCOPE_LANE | RMD_SCOPE_NETWORK | RMD_SCOPE_NODE))
            decide_ip(in, &d);
        break;
    case RMD_ACTION_SLOW:
    case RMD_ACTION_REST: {
        int64_t floor = v->action == RMD_ACTION_REST && v->duration_ms <= 0 ? RMD_REST_DEFAULT_MS : 0;
        if (v->action == RMD_ACTION_SLOW)
            break; /* the node's pacer slows down; nothing for the cluster to decide */
        d.what = RMD_FAILOVER_REST_LANE;
        d.until_wall_ms = until(in, floor);
        if (d.until_wall_ms > in->now_wall_ms + RMD_REST_MAX_MS)
            d.until_wall_ms = in->now_wall_ms + RMD_REST_MAX_MS;
        d.next_step = "nothing: the lane goes on by itself";
        rmd_format(d.why, sizeof d.why, "%s throttles %s (%s)", in->provider_name, in->source_name,
                   rmd_class_name(v->class));
        break;
    }
    case RMD_ACTION_PAUSE:
        decide_sender(in, &d);
        break;
    default:
        break;
    }
    return d;
}
