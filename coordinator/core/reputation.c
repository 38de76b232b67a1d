/* Reputation: the score (contract and policy: reputation.h). */
#include "coordinator/core/reputation.h"

#include <base/text.h>

enum { PPM = 1000000, DAY_H = 24 };

static const struct {
    const char *name;
    int32_t weight;
    uint32_t full_permille, half_h;
} terms[RMD_REPUTATION_TERM_COUNT] = {
#define ROW(id, name, weight, full, half) {name, weight, full, half},
    RMD_REPUTATION_TERMS(ROW)
#undef ROW
};

const char *rmd_reputation_term_name(unsigned term) {
    return term < RMD_REPUTATION_TERM_COUNT ? terms[term].name : "?";
}

const char *rmd_reputation_band_name(unsigned band) {
    return band == RMD_BAND_GOOD ? "good" : band == RMD_BAND_POOR ? "poor" : "fair";
}

/* ---------------------------------------------------------------- counting */

/* 2^(-i/16) in parts of 65,536. */
static const uint32_t sixteenth[16] = {65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
                                       46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219};

/* Hours go in steps of a sixteenth of the half-life; what is less waits for the next time: see rmd_reputation_decay. */
static uint32_t decayed(uint32_t count, uint32_t half_h, int64_t from, int64_t to) {
    int64_t steps = to * 16 / half_h - from * 16 / half_h; /* so that many small steps are as long as one big one */
    if (steps >= 32 * 16)
        return 0;
    return (uint32_t)((uint64_t)(count >> (steps / 16)) * sixteenth[steps % 16] >> 16);
}

void rmd_reputation_decay(struct rmd_reputation *r, int64_t hour) {
    if (hour <= r->hour)
        return;
    for (unsigned t = 0; t < RMD_REPUTATION_TERM_COUNT; t++)
        if (r->count[t] && terms[t].half_h)
            r->count[t] = decayed(r->count[t], terms[t].half_h, r->hour, hour);
    r->hour = hour;
}

void rmd_reputation_count(struct rmd_reputation *r, int64_t hour, enum rmd_reputation_term t, uint32_t n) {
    if (hour != r->hour)
        rmd_reputation_decay(r, hour);
    if (!r->first_hour && (t == RMD_REPUTATION_ACCEPTED || t == RMD_REPUTATION_OTHER))
        r->first_hour = hour ? hour : 1;
    uint64_t sum = r->count[t] + (uint64_t)n * RMD_REPUTATION_UNIT;
    r->count[t] = sum < RMD_REPUTATION_COUNT_MAX ? (uint32_t)sum : RMD_REPUTATION_COUNT_MAX;
}

void rmd_reputation_add(struct rmd_reputation *to, const struct rmd_reputation *from, int64_t hour) {
    struct rmd_reputation x = *from;
    rmd_reputation_decay(&x, hour);
    rmd_reputation_decay(to, hour);
    for (unsigned t = 0; t < RMD_REPUTATION_TERM_COUNT; t++) {
        uint64_t sum = (uint64_t)to->count[t] + x.count[t];
        to->count[t] = sum < RMD_REPUTATION_COUNT_MAX ? (uint32_t)sum : RMD_REPUTATION_COUNT_MAX;
    }
    if (x.first_hour && (!to->first_hour || x.first_hour < to->first_hour))
        to->first_hour = x.first_hour;
    to->told |= x.told;
}

enum rmd_reputation_term rmd_reputation_term_of(enum rmd_outcome kind, const struct rmd_verdict *v, bool domain) {
    const unsigned ours = RMD_SCOPE_LANE | RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK, of_domain = RMD_SCOPE_SENDING_DOMAIN;
    if (kind == RMD_OUTCOME_DELIVERED)
        return RMD_REPUTATION_ACCEPTED;
    if (domain && (v->class == RMD_CLASS_USER_UNKNOWN || v->class == RMD_CLASS_MAILBOX_DISABLED))
        return RMD_REPUTATION_UNKNOWN;
    if (!(v->scope & (domain ? of_domain : ours)) || v->class == RMD_CLASS_GREYLISTED)
        return RMD_REPUTATION_OTHER;
    if (v->class == RMD_CLASS_RATE_LIMITED)
        return RMD_REPUTATION_RATE;
    bool listed = v->class == RMD_CLASS_IP_BLOCKLISTED || v->class == RMD_CLASS_DOMAIN_BLOCKLISTED;
    if (v->action == RMD_ACTION_QUARANTINE || (listed && kind == RMD_OUTCOME_BOUNCED))
        return RMD_REPUTATION_BLOCKED;
    if (listed || v->class == RMD_CLASS_POLICY || v->class == RMD_CLASS_SPAM_CONTENT)
        return RMD_REPUTATION_REPUTATION;
    return RMD_REPUTATION_OTHER;
}

/* ---------------------------------------------------------------- the score */

static uint64_t attempts_of(const struct rmd_reputation *r) {
    static const uint8_t of[] = {RMD_REPUTATION_ACCEPTED, RMD_REPUTATION_RATE,    RMD_REPUTATION_REPUTATION,
                                 RMD_REPUTATION_BLOCKED,  RMD_REPUTATION_UNKNOWN, RMD_REPUTATION_OTHER};
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof of; i++)
        n += r->count[of[i]];
    return n;
}

static uint32_t share_ppm(uint64_t events, uint64_t attempts, uint32_t prior) {
    uint64_t of = attempts + (uint64_t)prior * RMD_REPUTATION_UNIT;
    return events >= of ? PPM : (uint32_t)(events * PPM / of);
}

static uint32_t history_days(const struct rmd_reputation *r, int64_t hour) {
    int64_t days = r->first_hour && hour > r->first_hour ? (hour - r->first_hour) / DAY_H : 0;
    return days < RMD_REPUTATION_HISTORY_DAYS ? (uint32_t)days : RMD_REPUTATION_HISTORY_DAYS;
}

static int32_t points_of(const struct rmd_reputation *r, int64_t hour, const struct rmd_reputation_facts *f,
                         enum rmd_reputation_term t, uint64_t attempts, uint32_t *ppm) {
    int32_t weight = terms[t].weight;
    int64_t points;
    *ppm = 0;
    switch (t) {
    case RMD_REPUTATION_HISTORY: /* time alone says nothing: as much of it as there is evidence */
        points = (int64_t)weight * history_days(r, hour) / RMD_REPUTATION_HISTORY_DAYS;
        return (int32_t)(points * share_ppm(attempts, attempts, RMD_REPUTATION_PRIOR) / PPM);
    case RMD_REPUTATION_LISTINGS:
        points = -(int64_t)f->listed_points - r->count[t] / RMD_REPUTATION_UNIT;
        return points < weight ? weight : (int32_t)points;
    case RMD_REPUTATION_QUARANTINES:
        points = -(int64_t)r->count[t] * RMD_REPUTATION_QUARANTINE_POINTS / RMD_REPUTATION_UNIT;
        return points < weight ? weight : (int32_t)points;
    case RMD_REPUTATION_COMPLAINTS: /* of those who got mail */
        *ppm = share_ppm(r->count[t], r->count[RMD_REPUTATION_ACCEPTED], RMD_REPUTATION_PRIOR_RARE);
        break;
    default:
        *ppm = share_ppm(r->count[t], attempts, RMD_REPUTATION_PRIOR);
    }
    uint64_t full = (uint64_t)terms[t].full_permille * (PPM / 1000);
    uint64_t part = *ppm < full ? *ppm : full;
    return (int32_t)(weight * (int64_t)part / (int64_t)full);
}

static uint32_t bounded(int32_t sum) {
    return sum < 0 ? 0 : sum > RMD_REPUTATION_MAX ? RMD_REPUTATION_MAX : (uint32_t)sum;
}

uint32_t rmd_reputation_number(const struct rmd_reputation *r, int64_t hour, const struct rmd_reputation_facts *f) {
    struct rmd_reputation now = *r;
    rmd_reputation_decay(&now, hour);
    uint64_t attempts = attempts_of(&now);
    int32_t sum = RMD_REPUTATION_NEUTRAL;
    uint32_t ppm;
    for (unsigned t = 0; t < RMD_REPUTATION_TERM_COUNT; t++)
        sum += points_of(&now, hour, f, (enum rmd_reputation_term)t, attempts, &ppm);
    return bounded(sum);
}

/* ---------------------------------------------------------------- words */

static void say(struct rmd_reputation_part *p, const struct rmd_reputation *r, int64_t hour,
                const struct rmd_reputation_facts *f, uint64_t attempts) {
    unsigned long long n = p->events, of = attempts / RMD_REPUTATION_UNIT;
    const char *what = p->term == RMD_REPUTATION_RATE         ? "deferred for rate or volume"
                       : p->term == RMD_REPUTATION_REPUTATION ? "deferred or refused for reputation"
                       : p->term == RMD_REPUTATION_BLOCKED    ? "refused as blocked"
                       : p->term == RMD_REPUTATION_UNKNOWN    ? "addresses that don't exist"
                                                              : "accepted";
    int bad = 0;
    switch (p->term) {
    case RMD_REPUTATION_HISTORY:
        bad = rmd_format(p->reason, sizeof p->reason, r->first_hour ? "sends for %lld days" : "has sent nothing yet",
                         (long long)(r->first_hour ? (hour - r->first_hour) / DAY_H : 0));
        break;
    case RMD_REPUTATION_LISTINGS:
        bad = rmd_format(p->reason, sizeof p->reason, "%s%s%s%s", f->listed_points ? "on " : "on no list now",
                         f->listed_points && f->listed_on ? f->listed_on : "",
                         f->listed_points && !f->listed_on ? "a list" : "", p->events ? "; was listed of late" : "");
        break;
    case RMD_REPUTATION_QUARANTINES:
        bad = n || r->count[p->term]
                  ? rmd_format(p->reason, sizeof p->reason, "%llu.%llu of late, %u points each", n,
                               (unsigned long long)r->count[p->term] * 10 / RMD_REPUTATION_UNIT % 10,
                               RMD_REPUTATION_QUARANTINE_POINTS)
                  : rmd_format(p->reason, sizeof p->reason, "none of late");
        break;
    case RMD_REPUTATION_COMPLAINTS:
        of = r->count[RMD_REPUTATION_ACCEPTED] / RMD_REPUTATION_UNIT;
        if (!r->told)
            bad = rmd_format(p->reason, sizeof p->reason, "nobody told of any: unknown");
        else
            bad =
                rmd_format(p->reason, sizeof p->reason, "%llu about %llu accepted; with %d more without: %u.%03u %%",
                           n, of, RMD_REPUTATION_PRIOR_RARE, p->ppm / (PPM / 100), p->ppm / 10 % 1000);
        break;
    default:
        bad = rmd_format(p->reason, sizeof p->reason, "%llu of %llu %s; with %d more without: %u.%02u %%", n, of,
                         what, RMD_REPUTATION_PRIOR, p->ppm / (PPM / 100), p->ppm / 100 % 100);
    }
    if (bad < 0)
        p->reason[sizeof p->reason - 1] = 0; /* cut: a list of lists may be long */
}

void rmd_reputation_explain(const struct rmd_reputation *r, int64_t hour, const struct rmd_reputation_facts *f,
                            struct rmd_reputation_score *out) {
    struct rmd_reputation now = *r;
    rmd_reputation_decay(&now, hour);
    uint64_t attempts = attempts_of(&now);
    *out = (struct rmd_reputation_score){.attempts = attempts / RMD_REPUTATION_UNIT};
    int32_t sum = RMD_REPUTATION_NEUTRAL;
    for (unsigned t = 0; t < RMD_REPUTATION_TERM_COUNT; t++) {
        uint32_t ppm;
        int32_t points = points_of(&now, hour, f, (enum rmd_reputation_term)t, attempts, &ppm);
        sum += points;
        if (!terms[t].weight || (t == RMD_REPUTATION_UNKNOWN && !f->domain))
            continue;
        struct rmd_reputation_part *p = &out->part[out->n++];
        *p = (struct rmd_reputation_part){.term = (enum rmd_reputation_term)t,
                                          .points = points,
                                          .weight = terms[t].weight,
                                          .events = now.count[t] / RMD_REPUTATION_UNIT,
                                          .ppm = ppm,
                                          .half_life_h = terms[t].half_h};
        say(p, &now, hour, f, attempts);
    }
    out->score = bounded(sum);
    out->few = out->attempts < RMD_REPUTATION_FEW;
}

enum rmd_reputation_band rmd_reputation_band(enum rmd_reputation_band was, uint32_t score) {
    if (score >= RMD_REPUTATION_GOOD_FROM || (was == RMD_BAND_GOOD && score >= RMD_REPUTATION_GOOD_UNTIL))
        return RMD_BAND_GOOD;
    if (score < RMD_REPUTATION_POOR_BELOW || (was == RMD_BAND_POOR && score < RMD_REPUTATION_POOR_UNTIL))
        return RMD_BAND_POOR;
    return RMD_BAND_FAIR;
}

uint64_t rmd_reputation_poor_hour(uint64_t cap) {
    if (!cap)
        return RMD_REPUTATION_POOR_HOUR_FREE;
    uint64_t hour = cap / RMD_REPUTATION_POOR_HOUR;
    return hour > RMD_REPUTATION_POOR_HOUR_MIN ? hour : RMD_REPUTATION_POOR_HOUR_MIN;
}
