/* What the world saw, held against what the coordinator says: every RCPT within the caps that were in force, every delivery accepted once, and
 * nothing accepted that isn't known as delivered. Evidence may not come from a run in which this fails. */
#include "tests/sim/herd/remuda.h"

static struct hr_window *lane_of(struct hr *h, uint32_t source, size_t provider) {
    return &h->lane[source * h->files.providers.n + provider];
}

static struct hr_window *domain_of(struct hr *h, uint32_t domain, size_t provider) {
    return &h->domain[domain * h->files.providers.n + provider];
}

void hr_check_open(struct hr *h) {
    size_t n = h->files.providers.n;
    h->lane = rmd_alloc((h->s->n_sources * n + 1) * sizeof *h->lane);
    h->total = rmd_alloc((h->s->n_sources + 1) * sizeof *h->total);
    h->domain = rmd_alloc((h->s->n_domains * n + 1) * sizeof *h->domain);
    h->provider = rmd_alloc((h->s->n_receivers + 1) * sizeof *h->provider);
    for (uint32_t r = 0; r < h->s->n_receivers; r++) {
        size_t p = 0;
        while (p < n && strcmp(h->files.providers.v[p]->name, h->s->receiver[r].provider) != 0)
            p++;
        if (p == n)
            hr_fail(h, "receiver %s: there is no provider %s", h->s->receiver[r].name, h->s->receiver[r].provider);
        else
            h->provider[r] = (uint32_t)p;
    }
}

static void add(struct hr_window *x, int64_t now_ms) {
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 64;
        int64_t *v = rmd_alloc(cap * sizeof *v);
        for (size_t i = 0; i < x->n; i++)
            v[i] = x->at[(x->head + i) % x->cap];
        free(x->at);
        x->at = v;
        x->head = 0;
        x->cap = cap;
    }
    x->at[(x->head + x->n++) % x->cap] = now_ms;
    x->day++;
}

void hr_check_rcpt(struct hr *h, const struct hr_conn *c) {
    size_t p = h->provider[h->s->site[c->site].receiver];
    add(lane_of(h, c->source, p), h->now_ms);
    add(&h->total[c->source], h->now_ms);
    add(domain_of(h, h->s->stream[h->s->campaign[c->campaign].stream].domain, p), h->now_ms);
    h->rcpts++;
}

void hr_check_accepted(struct hr *h, const struct hr_conn *c) {
    struct hr_row *r = &h->row[h->campaign[c->campaign].first + c->row];
    h->accepts++;
    h->duplicates += r->accepts > 0;
    if (r->accepts < UINT8_MAX)
        r->accepts++;
    r->day = (uint16_t)(h->now_ms / HERD_DAY_MS);
    if (r->accepts > 1)
        hr_fail(h, "row %u of %s was accepted twice, where no reply is lost", c->row + 1,
                h->s->campaign[c->campaign].name);
}

/* ---- caps */

/* Nobody can stand higher on the plan than days have gone by. */
static uint64_t bound(const struct rmd_caps_list *plan, int64_t at_ms) {
    return plan ? rmd_caps_list_at(plan, (uint32_t)(at_ms / HERD_DAY_MS)) : UINT64_MAX;
}

/* plan: what it warms up by, or NULL. */
static void held(struct hr *h, struct hr_window *x, uint64_t now, const struct rmd_caps_list *plan, const char *who,
                 const char *at) {
    uint64_t most = now ? now : UINT64_MAX;
    memmove(x->limit + 1, x->limit, (HR_LIMITS - 1) * sizeof x->limit[0]);
    x->limit[0] = most;
    x->limits += x->limits < HR_LIMITS;
    for (uint32_t i = 0; i < x->limits; i++) /* what was dealt under a greater one may be on its way */
        most = x->limit[i] > most ? x->limit[i] : most;
    for (; x->checked < x->n; x->checked++) {
        int64_t end = x->at[(x->head + x->checked) % x->cap];
        while (x->at[x->head] <= end - HERD_DAY_MS) {
            x->head = (x->head + 1) % x->cap;
            x->n--;
            x->checked--;
        }
        uint64_t limit = bound(plan, end);
        limit = most < limit ? most : limit;
        if (x->checked + 1 > limit) {
            hr_fail(h, "%s at %s: %zu RCPTs in 24 hours, where at most %llu may be", who, at, x->checked + 1,
                    (unsigned long long)limit);
            return;
        }
    }
}

static const struct rmd_plan *plan_of(const struct hr *h, uint32_t age_days) {
    return age_days ? NULL : rmd_plan_find(h->files.plans.v, h->files.plans.n, hr_plan_name(h));
}

static void on_source(void *ctx, const struct rmd_source_view *v) {
    struct hr *h = ctx;
    uint32_t i = 0;
    while (i < h->s->n_sources && strcmp(h->s->source[i].address, v->record->address) != 0)
        i++;
    if (i == h->s->n_sources)
        return;
    const struct rmd_plan *plan = plan_of(h, h->s->source[i].age_days);
    held(h, &h->total[i], v->cap, plan ? &plan->source : NULL, v->record->address, "all providers");
    for (size_t k = 0; k < v->n_lanes; k++)
        for (size_t p = 0; p < h->files.providers.n; p++)
            if (strcmp(h->files.providers.v[p]->name, v->lane[k].provider) == 0)
                held(h, lane_of(h, i, p), v->lane[k].cap, plan ? rmd_plan_caps(plan, v->lane[k].provider) : NULL,
                     v->record->address, v->lane[k].provider);
}

static void on_warmup(void *ctx, const struct rmd_warmup_view *v) {
    struct hr *h = ctx;
    const struct rmd_plan *plan = NULL;
    for (uint32_t i = 0; v->domain && i < h->s->n_domains; i++)
        for (size_t p = 0; p < h->files.providers.n && strcmp(h->s->domain[i].name, v->domain) == 0; p++)
            if (strcmp(h->files.providers.v[p]->name, v->provider) == 0) {
                plan = plan_of(h, h->s->domain[i].age_days);
                held(h, domain_of(h, i, p), v->cap, plan ? rmd_plan_caps(plan, v->provider) : NULL, v->domain,
                     v->provider);
            }
}

void hr_check_hour(struct hr *h) {
    if (h->now_ms / HERD_HOUR_MS % HR_CHECK_HOURS)
        return;
    rmd_coord_sources(h->coord.core, on_source, h);
    rmd_coord_warmups(h->coord.core, on_warmup, h);
}

static void roll(struct hr_window *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i].day_before = x[i].day;
        x[i].day = 0;
    }
}

void hr_check_day(struct hr *h) {
    size_t n = h->files.providers.n;
    roll(h->lane, h->s->n_sources * n);
    roll(h->total, h->s->n_sources);
    roll(h->domain, h->s->n_domains * n);
}

/* ---- the end */

/* A delivery whose report is still on its way is the one difference that may be. */
void hr_check_end(struct hr *h) {
    struct rmd_status_view v;
    uint64_t unknown = 0, untrue = 0, rows = 0;
    rmd_coord_status(h->coord.core, &v);
    for (uint32_t k = 0; k < h->s->n_campaigns; k++) {
        for (uint32_t i = 0; i < h->s->campaign[k].rows; i++, rows++) {
            const struct hr_row *r = &h->row[rows];
            unknown += r->accepts && r->final != HERD_DELIVERED;
            untrue += !r->accepts && r->final == HERD_DELIVERED;
        }
    }
    if (untrue || unknown > v.leased)
        hr_fail(h,
                "%llu of what the world accepted isn't known as delivered (%llu are with nodes), %llu deliveries "
                "were never accepted",
                (unsigned long long)unknown, (unsigned long long)v.leased, (unsigned long long)untrue);
    if (v.delivered + unknown != h->accepts)
        hr_fail(h, "the coordinator counts %llu deliveries, the world accepted %llu (%llu of them not yet reported)",
                (unsigned long long)v.delivered, (unsigned long long)h->accepts, (unsigned long long)unknown);
    if (v.malformed_frames || v.uncertain)
        hr_fail(h, "%llu frames could not be read, %llu attempts are uncertain, where nothing is lost",
                (unsigned long long)v.malformed_frames, (unsigned long long)v.uncertain);
}

static void windows_free(struct hr_window *x, size_t n) {
    for (size_t i = 0; x && i < n; i++)
        free(x[i].at);
    free(x);
}

void hr_check_free(struct hr *h) {
    size_t n = h->files.providers.n;
    windows_free(h->lane, h->s->n_sources * n);
    windows_free(h->total, h->s->n_sources);
    windows_free(h->domain, h->s->n_domains * n);
    free(h->provider);
}
