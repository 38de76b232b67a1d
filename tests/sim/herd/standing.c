/* What a receiver remembers of a source or of a sending domain: counts by day, and what they amount to. */
#include "tests/sim/herd/world.h"

enum { USUAL_READS_PERCENT = 25 };

static int64_t day_of(int64_t ms) {
    return ms >= 0 ? ms / HERD_DAY_MS : -((-ms + HERD_DAY_MS - 1) / HERD_DAY_MS);
}

static struct herd_day *slot(struct herd_standing *st, int64_t day) {
    return &st->day[(day + (int64_t)HERD_MEMORY_DAYS * 1000) % HERD_MEMORY_DAYS];
}

struct herd_day *herd_today(struct herd_standing *st, int64_t now_ms) {
    int64_t day = day_of(now_ms);
    if (day - st->today >= HERD_MEMORY_DAYS)
        memset(st->day, 0, sizeof st->day);
    else
        for (int64_t d = st->today + 1; d <= day; d++)
            *slot(st, d) = (struct herd_day){0};
    if (day > st->today)
        st->today = day;
    return slot(st, day);
}

void herd_window(struct herd_standing *st, int64_t now_ms, int64_t days, struct herd_day *sum) {
    *sum = (struct herd_day){0};
    herd_today(st, now_ms);
    for (int64_t d = st->today - days + 1; d <= st->today; d++) {
        const struct herd_day *x = slot(st, d);
        sum->offered += x->offered;
        sum->accepted += x->accepted;
        sum->complaints += x->complaints;
        sum->unknown += x->unknown;
        sum->traps += x->traps;
        sum->reads += x->reads;
        sum->spam += x->spam;
    }
}

uint32_t herd_busiest(struct herd_standing *st, int64_t now_ms, int64_t days) {
    uint32_t most = 0;
    herd_today(st, now_ms);
    for (int64_t d = st->today - days; d < st->today; d++)
        if (slot(st, d)->accepted > most)
            most = slot(st, d)->accepted;
    return most;
}

void herd_standing_new(struct herd_standing *st, uint32_t age_days, uint64_t usual_per_day) {
    st->today = -1;
    if (!age_days)
        return;
    st->known = true;
    st->first_ms = -(int64_t)age_days * HERD_DAY_MS;
    st->last_ms = -1;
    for (int64_t d = -1; d >= -HERD_WINDOW_DAYS_MAX && d >= -(int64_t)age_days; d--) {
        struct herd_day *x = slot(st, d);
        x->accepted = x->offered = (uint32_t)usual_per_day;
        x->reads = (uint32_t)(usual_per_day * USUAL_READS_PERCENT / 100);
    }
}

static bool above(uint64_t part, uint64_t whole, int64_t ppm) {
    return whole && part * HERD_PPM > whole * (uint64_t)ppm;
}

enum herd_level herd_level(const struct herd_rules *r, struct herd_standing *st, int64_t now_ms) {
    struct herd_day s;
    if (!r->reputation.r.on)
        return HERD_GOOD;
    herd_window(st, now_ms, r->reputation.days, &s);
    if (s.traps >= r->reputation.bad_traps)
        return HERD_BAD;
    if (s.offered < r->reputation.minimum)
        return s.traps >= r->reputation.poor_traps ? HERD_POOR : HERD_NEW;
    bool complained = s.complaints > r->reputation.forgive;
    if ((complained && above(s.complaints, s.accepted, r->reputation.bad_complaints)) ||
        above(s.unknown, s.offered, r->reputation.bad_unknown) ||
        above(s.spam, s.offered, r->reputation.poor_spam * 3))
        return HERD_BAD;
    if ((complained && above(s.complaints, s.accepted, r->reputation.poor_complaints)) ||
        above(s.unknown, s.offered, r->reputation.poor_unknown) ||
        above(s.spam, s.offered, r->reputation.poor_spam) || s.traps >= r->reputation.poor_traps)
        return HERD_POOR;
    if (r->reputation.poor_reads && s.accepted >= r->reputation.minimum &&
        !above(s.reads, s.accepted, r->reputation.poor_reads))
        return HERD_POOR;
    return HERD_GOOD;
}
