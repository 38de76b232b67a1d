/* What a provider says of a sending domain: see sender.h. */
#include "coordinator/core/sender.h"

bool rmd_sender_is_refused(const struct rmd_verdict *v) {
    return (v->action == RMD_ACTION_PAUSE || v->action == RMD_ACTION_REST) && (v->scope & RMD_SCOPE_SENDING_DOMAIN);
}

enum rmd_sender_cause rmd_sender_cause(const struct rmd_verdict *v, uint32_t code) {
    if (v->action == RMD_ACTION_REST)
        return RMD_SENDER_RATE;
    bool for_good = v->class == RMD_CLASS_AUTH_FAILED || (code ? code >= 500 : v->permanent);
    return for_good ? RMD_SENDER_FOR_GOOD : RMD_SENDER_FOR_NOW;
}

static bool mostly(const struct rmd_sender *s, uint32_t least) {
    return s->refused >= least && s->refused > s->outcomes / 2;
}

static enum rmd_sender_what pause(struct rmd_sender *s) {
    s->state = RMD_SENDER_PAUSED;
    s->until_ms = 0;
    return RMD_SENDER_PAUSE;
}

/* Doubled for each rest before it; for its rate, ten minutes more for each. */
static int64_t rest_ms(const struct rmd_sender *s, int64_t duration_ms) {
    int64_t most = RMD_SENDER_REST_MAX_MS, step = RMD_SENDER_RATE_REST_MIN_MS;
    if (s->by_rate) { /* a node's own duration has grown already */
        int64_t grown = s->rests < most / step ? s->rests * step : most,
                least = duration_ms < most ? duration_ms : most;
        return grown > least ? grown : least;
    }
    int64_t ms = duration_ms > RMD_SENDER_REST_MIN_MS ? duration_ms : RMD_SENDER_REST_MIN_MS;
    for (uint32_t i = 1; i < s->rests && ms < RMD_SENDER_REST_MAX_MS; i++)
        ms *= 2;
    return ms < RMD_SENDER_REST_MAX_MS ? ms : RMD_SENDER_REST_MAX_MS;
}

/* Most is accepted. This refusal isn't counted yet: an alarm comes before its outcome. */
static bool tolerated(const struct rmd_sender *s, bool crowd) {
    if (crowd && s->asked < RMD_SENDER_CROWD)
        return true;
    return s->asked && (s->denied + 1) * RMD_SENDER_TOLERATED <= s->asked + 1;
}

enum rmd_sender_what rmd_sender_told(struct rmd_sender *s, int64_t duration_ms, enum rmd_sender_cause cause,
                                     bool crowd, int64_t now_ms) {
    bool for_good = cause == RMD_SENDER_FOR_GOOD, rate = cause == RMD_SENDER_RATE;
    bool over = s->state == RMD_SENDER_OPEN && now_ms - s->last_ms > RMD_SENDER_FORGET_MS;
    bool first = !s->since_ms || over;
    if (first)
        *s = (struct rmd_sender){.state = s->state, .since_ms = now_ms ? now_ms : 1};
    s->last_ms = now_ms;
    bool worse = s->by_rate && !rate;
    if (s->state == RMD_SENDER_PAUSED || (s->state == RMD_SENDER_RESTING && !worse))
        return RMD_SENDER_NOTHING; /* mail that was under way, or transactional */
    if (s->state != RMD_SENDER_RESTING && (!rate || crowd) && tolerated(s, crowd))
        return first && !rate ? RMD_SENDER_TELL : RMD_SENDER_NOTHING;
    s->rests = worse ? 0 : s->rests;
    s->by_rate = rate;
    if (s->state == RMD_SENDER_OPEN || worse)
        s->since_ms = now_ms ? now_ms : 1;
    s->rests++;
    s->rests_for_good = for_good ? s->rests_for_good + 1 : 0;
    s->accepted = s->asked = s->denied = 0;
    if (s->rests_for_good >= RMD_SENDER_RESTS)
        return pause(s);
    s->state = RMD_SENDER_RESTING;
    s->until_ms = now_ms + rest_ms(s, duration_ms);
    return RMD_SENDER_REST;
}

static void count(uint32_t *all, uint32_t *some, bool one) {
    ++*all;
    *some += one;
    if (*all >= RMD_SENDER_WINDOW) { /* the past fades */
        *all /= 2;
        *some /= 2;
    }
}

enum rmd_sender_what rmd_sender_answered(struct rmd_sender *s, enum rmd_sender_answer answer) {
    bool for_good = answer == RMD_SENDER_REFUSED_FOR_GOOD;
    if (!s->since_ms && s->state == RMD_SENDER_OPEN)
        return RMD_SENDER_NOTHING;
    if (s->state == RMD_SENDER_OPEN || s->state == RMD_SENDER_PROBING)
        count(&s->asked, &s->denied, for_good || answer == RMD_SENDER_REFUSED);
    if (s->state == RMD_SENDER_OPEN)
        return RMD_SENDER_NOTHING;
    count(&s->outcomes, &s->refused, for_good);
    if (for_good && s->state != RMD_SENDER_PAUSED && mostly(s, RMD_SENDER_REFUSALS))
        return pause(s);
    if (answer != RMD_SENDER_ACCEPTED || s->state != RMD_SENDER_PROBING || ++s->accepted < RMD_SENDER_PROBED)
        return RMD_SENDER_NOTHING;
    s->state = RMD_SENDER_OPEN;
    s->accepted = s->outcomes = s->refused = 0;
    return RMD_SENDER_REOPEN;
}

bool rmd_sender_tick(struct rmd_sender *s, int64_t now_ms) {
    if (s->state != RMD_SENDER_RESTING || now_ms < s->until_ms)
        return false;
    s->state = RMD_SENDER_PROBING;
    s->until_ms = 0;
    s->accepted = s->asked = s->denied = 0;
    return true;
}

void rmd_sender_retry(struct rmd_sender *s) {
    if (s->state != RMD_SENDER_OPEN)
        *s = (struct rmd_sender){.state = RMD_SENDER_PROBING};
}

bool rmd_sender_sure(const struct rmd_sender *s, int64_t now_ms) {
    if (s->state == RMD_SENDER_OPEN || !s->since_ms)
        return false;
    return s->state == RMD_SENDER_PAUSED || mostly(s, RMD_SENDER_REFUSALS_AGREED) ||
           (!s->by_rate && s->rests >= RMD_SENDER_RESTS && now_ms - s->since_ms >= RMD_SENDER_PERSISTS_MS);
}

uint32_t rmd_sender_room(const struct rmd_sender *s, uint64_t leased) {
    switch (s->state) {
    case RMD_SENDER_OPEN:
        return UINT32_MAX;
    case RMD_SENDER_PROBING:
        return leased ? 0 : RMD_SENDER_PROBE + s->accepted;
    default:
        return 0;
    }
}

const char *rmd_sender_state_name(enum rmd_sender_state state) {
    static const char *const names[] = {"open", "resting", "probing", "paused"};
    return state < sizeof names / sizeof names[0] ? names[state] : "?";
}
