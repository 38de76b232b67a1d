/* The judge of warm-ups (see warmup.h). */
#include "coordinator/core/warmup.h"

typedef unsigned __int128 u128;

const char *rmd_warm_move_name(enum rmd_warm_move m) {
    static const char *const names[] = {"stays", "unused", "held", "advanced", "warm", "back", "restarted"};
    return names[m];
}

const char *rmd_gate_verdict_name(enum rmd_gate_verdict v) {
    static const char *const names[] = {"ok", "few", "unknown", "over", "surely over"};
    return names[v];
}

void rmd_warm_init(struct rmd_warm *w, uint32_t stage) {
    *w = (struct rmd_warm){.stage = stage};
}

void rmd_warm_release(struct rmd_warm *w) {
    free(w->seen);
    *w = (struct rmd_warm){0};
}

/* ---------------------------------------------------------------- bounds */

static u128 root(u128 x) {
    u128 lo = 0, hi = (u128)1 << 63;
    while (lo < hi) { /* the greatest whose square isn't above x */
        u128 mid = lo + (hi - lo + 1) / 2;
        if (mid <= x / mid)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

/* Square of the one-sided normal quantile, in millionths. */
static uint64_t z2(uint32_t confidence) {
    switch (confidence) {
    case 80:
        return 708326;
    case 90:
        return 1642374;
    case 95:
        return 2705543;
    default:
        return 5411894;
    }
}

/* (2k + z2 -+ sqrt(z2 (z2 + 4k(n-k)/n))) / 2(n + z2), all of it times a million. */
void rmd_wilson_ppm(uint64_t k, uint64_t n, uint32_t confidence, uint32_t *low, uint32_t *high) {
    *low = 0;
    *high = RMD_PPM;
    if (!n)
        return;
    if (k > n)
        k = n;
    u128 z = z2(confidence), middle = (u128)2 * k * RMD_PPM + z;
    u128 spread = (u128)4 * RMD_PPM * k * (n - k) / n + z;
    u128 d = root(z * spread), below = 2 * ((u128)n * RMD_PPM + z);
    *low = middle > d ? (uint32_t)((middle - d) * RMD_PPM / below) : 0;
    u128 up = ((middle + d) * RMD_PPM + below - 1) / below;
    *high = up > RMD_PPM ? RMD_PPM : (uint32_t)up;
}

/* ---------------------------------------------------------------- days */

struct rmd_warm_day *rmd_warm_day_find(struct rmd_warm *w, int64_t day) {
    for (uint32_t i = 0; i < w->n_days; i++)
        if (w->day[i].day == day)
            return &w->day[i];
    return NULL;
}

struct rmd_warm_day *rmd_warm_today(struct rmd_warm *w, int64_t day) {
    if (w->n_days && w->day[w->n_days - 1].day >= day) /* days never go back */
        return &w->day[w->n_days - 1];
    if (w->n_days == RMD_WARM_DAYS) {
        memmove(w->day, w->day + 1, (RMD_WARM_DAYS - 1) * sizeof w->day[0]);
        w->n_days--;
    }
    w->n_seen = 0;
    w->day[w->n_days] = (struct rmd_warm_day){.day = day, .stage = w->stage, .hold = w->hold};
    return &w->day[w->n_days++];
}

/* The smallest hashes of what was seen: their density tells how many there are. */
static uint64_t distinct(const struct rmd_warm *w) {
    if (w->n_seen < RMD_WARM_SEEN)
        return w->n_seen;
    return (uint64_t)(RMD_WARM_SEEN - 1) * ((uint64_t)UINT32_MAX + 1) / ((uint64_t)w->seen[RMD_WARM_SEEN - 1] + 1);
}

static void see(struct rmd_warm *w, uint32_t hash) {
    uint32_t lo = 0, hi = w->n_seen;
    if (!w->seen)
        w->seen = rmd_alloc(RMD_WARM_SEEN * sizeof *w->seen);
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (w->seen[mid] < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == RMD_WARM_SEEN || (lo < w->n_seen && w->seen[lo] == hash))
        return;
    uint32_t keep = w->n_seen < RMD_WARM_SEEN ? w->n_seen++ : RMD_WARM_SEEN - 1;
    memmove(w->seen + lo + 1, w->seen + lo, (keep - lo) * sizeof *w->seen);
    w->seen[lo] = hash;
}

void rmd_warm_accepted(struct rmd_warm *w, int64_t day, uint64_t address_hash) {
    struct rmd_warm_day *d = rmd_warm_today(w, day);
    d->accepted++;
    see(w, (uint32_t)(address_hash >> 32));
    d->distinct = distinct(w);
}

/* ---------------------------------------------------------------- gates */

static struct rmd_gate_value value_of(const struct rmd_plan *p, enum rmd_gate_kind kind, uint64_t events,
                                      uint64_t of) {
    const struct rmd_gate *g = &p->gate[kind];
    struct rmd_gate_value v = {.events = events, .of = of, .verdict = RMD_GATE_OK};
    if (events > of) /* told late, or without an attempt */
        v.of = of = events;
    v.ppm = of ? (uint32_t)((u128)events * RMD_PPM / of) : 0;
    rmd_wilson_ppm(events, of, p->confidence, &v.low_ppm, &v.high_ppm);
    if (events < g->minimum)
        v.verdict = events ? RMD_GATE_FEW : RMD_GATE_OK;
    else if (v.low_ppm > g->max_ppm)
        v.verdict = RMD_GATE_SURELY_OVER;
    else if (v.ppm > g->max_ppm)
        v.verdict = RMD_GATE_OVER;
    return v;
}

void rmd_warm_gates(const struct rmd_scheme *s, const struct rmd_warm *w, uint32_t i,
                    struct rmd_gate_value out[RMD_GATE_KINDS]) {
    const struct rmd_warm_day *d = &w->day[i];
    out[RMD_GATE_BOUNCES] = value_of(s->plan, RMD_GATE_BOUNCES, d->bounced, d->offered);
    out[RMD_GATE_BLOCKS] = value_of(s->plan, RMD_GATE_BLOCKS, d->blocked, d->offered);
    out[RMD_GATE_DEFERRALS] = value_of(s->plan, RMD_GATE_DEFERRALS, d->deferred, d->offered);
    uint64_t complaints = 0, accepted = 0;
    bool told = false;
    for (uint32_t k = 0; k <= i; k++) {
        const struct rmd_warm_day *x = &w->day[k];
        if (!x->told || x->day <= d->day - RMD_WARM_AGAIN)
            continue;
        told = true;
        complaints += x->complaints;
        accepted += x->accepted;
    }
    out[RMD_GATE_COMPLAINTS] = value_of(s->plan, RMD_GATE_COMPLAINTS, complaints, accepted);
    if (!told)
        out[RMD_GATE_COMPLAINTS].verdict = RMD_GATE_UNKNOWN;
}

/* ---------------------------------------------------------------- judging */

uint64_t rmd_warm_needed(const struct rmd_scheme *s, uint32_t stage) {
    uint64_t cap = rmd_caps_list_at(s->caps, stage);
    return (cap * s->plan->use_percent + 99) / 100;
}

static uint32_t back(const struct rmd_scheme *s, uint32_t stage) {
    return stage > s->plan->back_stages ? stage - s->plan->back_stages : 0;
}

/* Record i, had stage and hold been these. */
static struct rmd_judgement judge(const struct rmd_scheme *s, const struct rmd_warm *w, uint32_t i, uint32_t stage,
                                  uint32_t hold, bool paused) {
    const struct rmd_warm_day *d = &w->day[i];
    struct rmd_judgement j = {
        .move = RMD_WARM_STAYS, .stage = stage, .hold = hold, .gate = RMD_GATE_KINDS, .used = d->distinct};
    if (stage >= s->caps->n) /* warm: reputation and quarantine look after it from here on */
        return j;
    struct rmd_gate_value v[RMD_GATE_KINDS];
    rmd_warm_gates(s, w, i, v);
    j.needed = rmd_warm_needed(s, stage);
    for (unsigned k = 0; k < RMD_GATE_KINDS && !s->no_gates; k++) {
        if (v[k].verdict < RMD_GATE_OVER || (j.gate != RMD_GATE_KINDS && v[k].verdict <= j.value.verdict))
            continue;
        j.gate = (enum rmd_gate_kind)k;
        j.value = v[k];
    }
    if (j.gate != RMD_GATE_KINDS || (d->stopped && !s->no_gates)) {
        bool surely = j.gate != RMD_GATE_KINDS && j.value.verdict == RMD_GATE_SURELY_OVER;
        j.move = surely && stage ? RMD_WARM_BACK : RMD_WARM_HELD;
        j.stage = surely ? back(s, stage) : stage;
        j.hold = s->plan->hold_days;
    } else if (d->distinct < j.needed) {
        j.move = RMD_WARM_UNUSED;
    } else if (hold) {
        j.hold = hold - 1;
    } else if (!paused) {
        j.stage = stage + 1;
        j.move = j.stage >= s->caps->n ? RMD_WARM_DONE : RMD_WARM_ADVANCED;
    }
    return j;
}

static void take(struct rmd_warm *w, const struct rmd_judgement *j, int64_t today) {
    w->stage = j->stage;
    w->hold = j->hold;
    if (j->move == RMD_WARM_DONE)
        w->warm_day = today;
}

struct rmd_judgement rmd_warm_close(const struct rmd_scheme *s, struct rmd_warm *w, int64_t today) {
    struct rmd_judgement j = {.move = RMD_WARM_STAYS, .stage = w->stage, .hold = w->hold, .gate = RMD_GATE_KINDS};
    struct rmd_warm_day *d = w->n_days ? &w->day[w->n_days - 1] : NULL;
    if (d && !d->judged && d->day < today) {
        j = judge(s, w, w->n_days - 1, w->stage, w->hold, w->paused);
        d->judged = true;
        take(w, &j, today);
        w->n_seen = 0;
    }
    if (!w->last_day || today - w->last_day - 1 < (int64_t)s->plan->idle_days)
        return j;
    w->last_day = 0;
    w->n_days = w->hold = 0;
    w->warm_day = 0;
    j = (struct rmd_judgement){.move = w->stage ? RMD_WARM_RESTARTED : RMD_WARM_STAYS, .gate = RMD_GATE_KINDS};
    w->stage = 0;
    return j;
}

/* The days from record `from` on, again; the operator's word stands. */
static void judge_again(const struct rmd_scheme *s, struct rmd_warm *w, uint32_t from, int64_t today,
                        struct rmd_judgement *out) {
    while (from < w->n_days && w->day[from].day < w->set_day)
        from++;
    if (from == w->n_days || !w->day[from].judged)
        return;
    uint32_t stage = w->day[from].stage, hold = w->day[from].hold;
    struct rmd_judgement worst = *out;
    for (uint32_t i = from; i < w->n_days && w->day[i].judged; i++) {
        if (w->day[i].stage < stage) /* it never stood higher than it stood */
            stage = w->day[i].stage;
        struct rmd_judgement j = judge(s, w, i, stage, hold, w->paused);
        if (j.gate != RMD_GATE_KINDS && (worst.gate == RMD_GATE_KINDS || j.value.verdict > worst.value.verdict))
            worst = j;
        stage = j.stage;
        hold = j.hold;
    }
    if (stage >= w->stage)
        return;
    worst.move = RMD_WARM_BACK;
    worst.stage = stage;
    worst.hold = hold;
    *out = worst;
    take(w, out, today);
    if (stage < s->caps->n)
        w->warm_day = 0;
    if (!w->day[w->n_days - 1].judged) {
        w->day[w->n_days - 1].stage = stage;
        w->day[w->n_days - 1].hold = hold;
    }
}

bool rmd_warm_complaints(const struct rmd_scheme *s, struct rmd_warm *w, int64_t today, int64_t day, uint64_t count,
                         struct rmd_judgement *out) {
    *out = (struct rmd_judgement){.move = RMD_WARM_STAYS, .stage = w->stage, .hold = w->hold, .gate = RMD_GATE_KINDS};
    struct rmd_warm_day *d = rmd_warm_day_find(w, day);
    if (!d || day > today || today - day > RMD_WARM_AGAIN)
        return false;
    d->told = true;
    d->complaints += count;
    judge_again(s, w, (uint32_t)(d - w->day), today, out);
    return true;
}

void rmd_warm_set(struct rmd_warm *w, int64_t today, uint32_t stage) {
    w->stage = stage;
    w->hold = 0;
    w->set_day = today;
    w->warm_day = 0;
    if (w->n_days && !w->day[w->n_days - 1].judged) {
        w->day[w->n_days - 1].stage = stage;
        w->day[w->n_days - 1].hold = 0;
    }
}

uint32_t rmd_warm_days_left(const struct rmd_scheme *s, const struct rmd_warm *w) {
    return w->stage >= s->caps->n ? 0 : s->caps->n - w->stage + w->hold;
}

/* ---------------------------------------------------------------- what is to come */

/* What record i came to, or, of the open day, will come to as it is now. */
static struct rmd_judgement came_to(const struct rmd_scheme *s, const struct rmd_warm *w, uint32_t i) {
    return judge(s, w, i, w->day[i].stage, w->day[i].hold, false);
}

static bool is_good(const struct rmd_judgement *j, const struct rmd_warm_day *d) {
    return j->move == RMD_WARM_ADVANCED || j->move == RMD_WARM_DONE ||
           (j->move == RMD_WARM_STAYS && j->hold < d->hold);
}

/* The open day holds it as soon as it is over a gate; what is behind it, when it was the last one with mail. */
static bool is_held(const struct rmd_scheme *s, const struct rmd_warm *w, struct rmd_warm_outlook *out) {
    for (uint32_t i = w->n_days; i-- > 0 && i + 2 >= w->n_days;) {
        const struct rmd_warm_day *d = &w->day[i];
        struct rmd_judgement j = came_to(s, w, i);
        bool over = j.gate != RMD_GATE_KINDS;
        if (d->day < w->set_day || (!over && !(d->stopped && !s->no_gates))) {
            if (d->judged) /* it went well since */
                return false;
            continue;
        }
        out->why = over ? RMD_WARM_WHY_GATE : RMD_WARM_WHY_STOPPED;
        out->gate = j.gate;
        out->value = j.value;
        out->day = d->day;
        return true;
    }
    return false;
}

static void count_days(const struct rmd_scheme *s, const struct rmd_warm *w, int64_t today,
                       struct rmd_warm_outlook *out) {
    int64_t from = today - RMD_WARM_AGAIN;
    from = w->day[0].day > from ? w->day[0].day : from;
    from = w->set_day > from ? w->set_day : from;
    out->of = today > from ? (uint32_t)(today - from) : 0;
    for (uint32_t i = 0; i < w->n_days; i++) {
        const struct rmd_warm_day *d = &w->day[i];
        struct rmd_judgement j = came_to(s, w, i);
        if (d->day < from)
            continue;
        out->most = d->distinct > out->most ? d->distinct : out->most;
        out->good += is_good(&j, d);
        out->of += d->day == today && is_good(&j, d); /* it can't get worse than good for its volume */
    }
}

void rmd_warm_look_ahead(const struct rmd_scheme *s, const struct rmd_warm *w, int64_t today,
                         struct rmd_warm_outlook *out) {
    *out = (struct rmd_warm_outlook){.gate = RMD_GATE_KINDS, .needed = rmd_warm_needed(s, w->stage)};
    if (w->stage >= s->caps->n)
        return;
    if (!w->last_day || !w->n_days) {
        out->why = RMD_WARM_WHY_NEW;
        return;
    }
    out->idle = today > w->last_day ? today - w->last_day - 1 : 0;
    if (out->idle >= RMD_WARM_IDLE_DAYS) {
        out->why = RMD_WARM_WHY_IDLE;
        return;
    }
    if (is_held(s, w, out))
        return;
    count_days(s, w, today, out);
    if (out->good)
        out->days = (rmd_warm_days_left(s, w) * out->of + out->good - 1) / out->good;
    else
        out->why = out->of ? RMD_WARM_WHY_UNUSED : RMD_WARM_WHY_FIRST;
}
