/* What a run came to, counted by the world alone (README.md: Metrics). */
#include <inttypes.h>

#include <base/text.h>

#include "tests/sim/herd/world.h"

static void add(struct herd_metrics *m, const struct herd_count *c) {
    for (int i = 0; i < 4; i++)
        m->seen[i] += c->seen[i];
    m->messages += c->messages;
    m->people += c->people;
    m->attempts += c->attempts;
    m->accepted += c->accepted;
    m->foldered += c->foldered;
    m->deferrals += c->deferrals;
    m->refused += c->refused;
    m->duplicates += c->duplicates;
    m->complaints += c->complaints;
    m->reports += c->reports;
    m->trap_hits += c->trap_hits;
    m->unknown_hits += c->unknown_hits;
}

struct tally {
    const struct herd_world *w;
    int stream, receiver;
    struct herd_metrics *m;
    uint32_t *late; /* minutes, of accepted messages to people */
    size_t n_late;
};

static void one_message(struct tally *t, const struct herd_campaign *k, const struct herd_message *m,
                        uint32_t number) {
    uint64_t *const by_final[] = {[HERD_OPEN] = &t->m->open,
                                  [HERD_DELIVERED] = &t->m->delivered,
                                  [HERD_BOUNCED] = &t->m->bounced,
                                  [HERD_EXPIRED] = &t->m->expired,
                                  [HERD_DROPPED] = &t->m->dropped};
    struct herd_traits who;
    herd_traits(t->w, k->list, number, &who);
    if (t->receiver >= 0 && t->w->s->site[who.site].receiver != (uint32_t)t->receiver)
        return;
    ++*by_final[m->final];
    if (m->flags & HERD_MSG_ACCEPTED && who.kind == HERD_PERSON)
        t->late[t->n_late++] = m->accepted_minute;
}

static int by_value(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Messages, and how long each campaign took. */
static void messages(struct tally *t) {
    const struct herd_scenario *s = t->w->s;
    uint64_t minutes = 0, campaigns = 0;
    t->late = rmd_alloc((s->messages + 1) * sizeof *t->late);
    for (uint32_t c = 0; c < s->n_campaigns; c++) {
        const struct herd_campaign *k = &s->campaign[c];
        const struct herd_campaign_state *st = &t->w->campaign[c];
        if (t->stream >= 0 && k->stream != (uint32_t)t->stream)
            continue;
        for (uint32_t row = 0; row < k->rows; row++)
            one_message(t, k, &st->message[row], herd_number(t->w, c, row));
        int64_t end = st->open ? herd_end_ms(t->w) : st->last_ms;
        minutes += (uint64_t)((end > k->at_ms ? end - k->at_ms : 0) / 60000);
        campaigns++;
    }
    t->m->complete_minutes = campaigns ? minutes / campaigns : 0;
    qsort(t->late, t->n_late, sizeof *t->late, by_value);
    if (t->n_late) {
        t->m->delay_minutes_50 = t->late[t->n_late / 2];
        t->m->delay_minutes_95 = t->late[t->n_late * 95 / 100];
    }
    free(t->late);
}

static void suppressions(const struct herd_world *w, struct herd_metrics *m) {
    for (uint32_t l = 0; l < w->s->n_lists; l++) {
        for (uint32_t i = 0; w->suppressed[l] && i < w->s->list[l].size; i++) {
            struct herd_traits who;
            if (!rmd_bit_get(w->suppressed[l], i))
                continue;
            herd_traits(w, l, i, &who);
            m->suppressions++;
            m->wrong_suppressions +=
                who.kind == HERD_PERSON && !(w->complained[l] && rmd_bit_get(w->complained[l], i));
        }
    }
}

void herd_metrics(const struct herd_world *w, int stream, int receiver, struct herd_metrics *out) {
    *out = (struct herd_metrics){0};
    for (uint32_t s = 0; s < w->s->n_streams; s++)
        for (uint32_t r = 0; r < w->s->n_receivers; r++)
            if ((stream < 0 || s == (uint32_t)stream) && (receiver < 0 || r == (uint32_t)receiver))
                add(out, &w->count[s * w->s->n_receivers + r]);
    for (uint32_t r = 0; stream < 0 && r < w->s->n_receivers; r++) {
        if (receiver >= 0 && r != (uint32_t)receiver)
            continue;
        out->connections += w->connections[r];
        out->refused_connections += w->refused_connections[r];
        out->deferrals += w->refused_4xx[r];
    }
    struct tally t = {.w = w, .stream = stream, .receiver = receiver, .m = out};
    messages(&t);
    if (stream >= 0 || receiver >= 0)
        return;
    out->listings = w->listings;
    out->blocks = w->blocks;
    out->ip_days_lost_milli = w->lost_ppm_hours / 24 / (HERD_PPM / 1000);
    suppressions(w, out);
}

/* ---- JSON and text */

/* part / whole, six digits */
static void ratio(struct rmd_buf *out, const char *name, uint64_t part, uint64_t whole) {
    uint64_t ppm = whole ? part * HERD_PPM / whole : 0;
    rmd_buf_addf(out, "\"%s\": %" PRIu64 ".%06" PRIu64 ", ", name, ppm / HERD_PPM, ppm % HERD_PPM);
}

static void hours(struct rmd_buf *out, const char *name, uint64_t minutes) {
    rmd_buf_addf(out, "\"%s\": %" PRIu64 ".%02" PRIu64 ", ", name, minutes / 60, minutes % 60 * 100 / 60);
}

static void object(struct rmd_buf *out, const struct herd_metrics *m, bool whole) {
    static const char *const seen[] = {"seen_1d", "seen_3d", "seen_7d", "seen_30d"};
    rmd_buf_addc(out, '{');
    for (int i = 0; i < 4; i++)
        ratio(out, seen[i], m->seen[i], m->people);
    hours(out, "time_to_complete_h", m->complete_minutes);
    hours(out, "delay_50_h", m->delay_minutes_50);
    hours(out, "delay_95_h", m->delay_minutes_95);
    ratio(out, "deferrals_per_message", m->deferrals, m->messages);
    if (whole)
        rmd_buf_addf(out,
                     "\"listings\": %" PRIu64 ", \"blocks\": %" PRIu64 ", \"ip_days_lost\": %" PRIu64 ".%03" PRIu64
                     ", \"wrong_suppressions\": %" PRIu64 ", \"suppressions\": %" PRIu64 ", ",
                     m->listings, m->blocks, m->ip_days_lost_milli / 1000, m->ip_days_lost_milli % 1000,
                     m->wrong_suppressions, m->suppressions);
    const struct {
        const char *name;
        uint64_t v;
    } rest[] = {
        {"complaints", m->complaints},
        {"reports", m->reports},
        {"messages", m->messages},
        {"people", m->people},
        {"attempts", m->attempts},
        {"connections", m->connections},
        {"accepted", m->accepted},
        {"foldered", m->foldered},
        {"deferrals", m->deferrals},
        {"refused", m->refused},
        {"refused_connections", m->refused_connections},
        {"duplicates", m->duplicates},
        {"trap_hits", m->trap_hits},
        {"unknown_hits", m->unknown_hits},
        {"delivered", m->delivered},
        {"bounced", m->bounced},
        {"expired", m->expired},
        {"dropped", m->dropped},
        {"open", m->open},
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        rmd_buf_addf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", rest[i].name, rest[i].v);
    rmd_buf_addc(out, '}');
}

void herd_metrics_json(const struct herd_world *w, const char *more, struct rmd_buf *out) {
    struct herd_metrics m;
    rmd_buf_addf(out, "{\"scenario\": \"%s\", \"seed\": %" PRIu64 ", \"days\": %u, %s\n \"metrics\": ", w->s->name,
                 w->seed, w->s->days, more ? more : "");
    herd_metrics(w, HERD_NONE, HERD_NONE, &m);
    object(out, &m, true);
    rmd_buf_addstr(out, ",\n \"streams\": {");
    for (uint32_t s = 0; s < w->s->n_streams; s++) {
        herd_metrics(w, (int)s, HERD_NONE, &m);
        rmd_buf_addf(out, "%s\"%s\": ", s ? ",\n  " : "", w->s->stream[s].name);
        object(out, &m, false);
    }
    rmd_buf_addstr(out, "},\n \"receivers\": {");
    for (uint32_t r = 0; r < w->s->n_receivers; r++) {
        herd_metrics(w, HERD_NONE, (int)r, &m);
        rmd_buf_addf(out, "%s\"%s\": ", r ? ",\n  " : "", w->s->receiver[r].name);
        object(out, &m, false);
    }
    rmd_buf_addstr(out, "}}\n");
}

static void percent(char out[16], uint64_t part, uint64_t whole) {
    uint64_t x = whole ? part * 1000 / whole : 0;
    rmd_format(out, 16, "%" PRIu64 ".%" PRIu64 " %%", x / 10, x % 10);
}

static void line(struct rmd_buf *out, const char *name, const struct herd_metrics *m) {
    char a[4][16];
    for (int i = 0; i < 4; i++)
        percent(a[i], m->seen[i], m->people);
    uint64_t d = m->messages ? m->deferrals * 100 / m->messages : 0;
    rmd_buf_addf(
        out,
        "  %-14s %9" PRIu64 " %8s %8s %8s %8s %7" PRIu64 ".%02" PRIu64 " %9" PRIu64 " %8" PRIu64 " %7" PRIu64 "\n",
        name, m->messages, a[0], a[1], a[2], a[3], d / 100, d % 100, m->complaints, m->bounced, m->open + m->expired);
}

void herd_metrics_text(const struct herd_world *w, const char *title, struct rmd_buf *out) {
    struct herd_metrics m;
    rmd_buf_addf(out, "%s in \"%s\" (%s), %u days, seed %" PRIu64 "\n\n", title, w->s->name, w->s->about, w->s->days,
                 w->seed);
    rmd_buf_addf(out, "  %-14s %9s %8s %8s %8s %8s %10s %9s %8s %7s\n", "", "messages", "seen 1d", "3d", "7d", "30d",
                 "deferrals", "complain", "bounced", "undone");
    herd_metrics(w, HERD_NONE, HERD_NONE, &m);
    line(out, "all", &m);
    struct herd_metrics all = m;
    for (uint32_t s = 0; w->s->n_streams > 1 && s < w->s->n_streams; s++) {
        herd_metrics(w, (int)s, HERD_NONE, &m);
        line(out, w->s->stream[s].name, &m);
    }
    for (uint32_t r = 0; r < w->s->n_receivers; r++) {
        herd_metrics(w, HERD_NONE, (int)r, &m);
        line(out, w->s->receiver[r].name, &m);
    }
    rmd_buf_addf(
        out,
        "\n  seen by people, of those who exist; deferrals a message; undone: expired or still waiting at the end\n"
        "  time to complete  %" PRIu64 " h %02" PRIu64 " min (mean of campaigns); half of the mail within %" PRIu64
        " min, 95 %% within %" PRIu64 " min\n"
        "  sources           %" PRIu64 " listings, %" PRIu64 " blocks, %" PRIu64 ".%03" PRIu64 " IP-days lost\n"
        "  suppressions      %" PRIu64 ", of which %" PRIu64 " wrong\n"
        "  attempts          %" PRIu64 " in %" PRIu64 " connections; %" PRIu64 " accepted, %" PRIu64
        " of them not seen, %" PRIu64 " twice; %" PRIu64 " trap hits\n",
        all.complete_minutes / 60, all.complete_minutes % 60, all.delay_minutes_50, all.delay_minutes_95,
        all.listings, all.blocks, all.ip_days_lost_milli / 1000, all.ip_days_lost_milli % 1000, all.suppressions,
        all.wrong_suppressions, all.attempts, all.connections, all.accepted, all.foldered, all.duplicates,
        all.trap_hits);
}
