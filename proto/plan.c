/* Warm-up plans (see plan.h). Pure. */
#include "proto/plan.h"

#include "proto/site.h"

/* The shipped plans, as text, in the read-only data of the library. The path is relative to the project's root, where the compiler
 * runs. */
__asm__(".pushsection .rodata\n"
        ".global rmd_plans_shipped\n"
        ".type rmd_plans_shipped, @object\n"
        "rmd_plans_shipped:\n"
        ".incbin \"proto/plans_shipped.conf\"\n"
        ".Lrmd_plans_shipped_end:\n"
        ".byte 0\n"
        ".size rmd_plans_shipped, . - rmd_plans_shipped\n"
        ".balign 8\n"
        ".global rmd_plans_shipped_n\n"
        ".type rmd_plans_shipped_n, @object\n"
        "rmd_plans_shipped_n:\n"
        ".quad .Lrmd_plans_shipped_end - rmd_plans_shipped\n"
        ".size rmd_plans_shipped_n, 8\n"
        ".popsection\n");

const char *rmd_gate_name(unsigned kind) {
#define NAME(id, name) name,
    static const char *const names[] = {RMD_GATES(NAME)};
#undef NAME
    return kind < RMD_GATE_KINDS ? names[kind] : "?";
}

static bool same_list(const struct rmd_caps_list *a, const struct rmd_caps_list *b) {
    return a->n == b->n && memcmp(a->cap, b->cap, a->n * sizeof a->cap[0]) == 0 &&
           strcmp(a->provider ? a->provider : "", b->provider ? b->provider : "") == 0;
}

bool rmd_plan_same(const struct rmd_plan *a, const struct rmd_plan *b) {
    bool same = strcmp(a->name, b->name) == 0 && a->hour_percent == b->hour_percent &&
                a->use_percent == b->use_percent && a->idle_days == b->idle_days && a->hold_days == b->hold_days &&
                a->back_stages == b->back_stages && a->confidence == b->confidence &&
                same_list(&a->source, &b->source) && same_list(&a->site, &b->site) &&
                same_list(&a->fallback, &b->fallback) && same_list(&a->other, &b->other) && a->n_lists == b->n_lists;
    for (uint32_t i = 0; same && i < RMD_GATE_KINDS; i++)
        same = a->gate[i].max_ppm == b->gate[i].max_ppm && a->gate[i].minimum == b->gate[i].minimum;
    for (uint32_t i = 0; same && i < a->n_lists; i++)
        same = same_list(&a->list[i], &b->list[i]);
    return same;
}

static struct rmd_caps_list copy_list(struct rmd_arena *a, const struct rmd_caps_list *l) {
    return (struct rmd_caps_list){.provider = l->provider ? rmd_arena_str(a, rmd_slice_str(l->provider)) : NULL,
                                  .cap = rmd_arena_dup(a, l->cap, l->n * sizeof l->cap[0]),
                                  .n = l->n};
}

struct rmd_plan *rmd_plan_copy(struct rmd_arena *a, const struct rmd_plan *from) {
    struct rmd_plan *p = rmd_arena_dup(a, from, sizeof *from);
    p->name = rmd_arena_str(a, rmd_slice_str(from->name));
    p->source = copy_list(a, &from->source);
    p->site = copy_list(a, &from->site);
    p->fallback = copy_list(a, &from->fallback);
    p->other = copy_list(a, &from->other);
    p->list = rmd_arena_alloc(a, (from->n_lists + 1) * sizeof *p->list);
    for (uint32_t i = 0; i < from->n_lists; i++)
        p->list[i] = copy_list(a, &from->list[i]);
    return p;
}

const struct rmd_plan *rmd_plan_find(const struct rmd_plan *const *v, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i]->name, name) == 0)
            return v[i];
    return NULL;
}

const struct rmd_caps_list *rmd_plan_caps(const struct rmd_plan *p, const char *provider) {
    for (uint32_t i = 0; i < p->n_lists; i++)
        if (strcmp(p->list[i].provider, provider) == 0)
            return &p->list[i];
    return strcmp(provider, RMD_PROVIDER_OTHER_NAME) == 0 && p->other.n ? &p->other : &p->fallback;
}

uint64_t rmd_caps_list_at(const struct rmd_caps_list *l, uint32_t stage) {
    return l->n ? l->cap[stage < l->n ? stage : l->n - 1] : 0;
}

uint64_t rmd_plan_hour(const struct rmd_plan *p, uint64_t cap) {
    uint64_t n = cap / 100 * p->hour_percent + cap % 100 * p->hour_percent / 100;
    return n ? n : 1;
}

/* ---------------------------------------------------------------- volumes */

enum { DAYS_MAX = 3650 };

static uint64_t ceil_div(uint64_t a, uint64_t b) {
    return b ? (a + b - 1) / b : 0;
}

uint64_t rmd_plan_least_of(const struct rmd_plan_question *q, size_t share) {
    if (share >= q->n_shares)
        return ceil_div(q->per_day, rmd_caps_list_at(&q->plan->source, UINT32_MAX));
    const struct rmd_plan_share *s = &q->share[share];
    return ceil_div(s->per_day, rmd_caps_list_at(rmd_plan_caps(q->plan, s->provider), UINT32_MAX));
}

uint64_t rmd_plan_least(const struct rmd_plan_question *q) {
    uint64_t most = rmd_plan_least_of(q, SIZE_MAX);
    for (size_t i = 0; i < q->n_shares; i++) {
        uint64_t n = rmd_plan_least_of(q, i);
        most = n > most ? n : most;
    }
    return most ? most : 1;
}

/* Stages until the last of the lanes in question is warm. */
static uint32_t length(const struct rmd_plan_question *q) {
    uint32_t n = 1;
    for (size_t i = 0; i < q->n_shares; i++) {
        uint32_t m = rmd_plan_caps(q->plan, q->share[i].provider)->n;
        n = m > n ? m : n;
    }
    return n;
}

/* Sum of a list's caps over addresses that began in waves. */
static uint64_t sum(const struct rmd_plan_question *q, const struct rmd_caps_list *l, uint64_t addresses,
                    uint32_t day) {
    uint64_t left = addresses, total = 0, wave = q->at_once ? q->at_once : addresses;
    for (uint32_t began = 0; left && began <= day; began += length(q)) {
        uint64_t n = left < wave ? left : wave;
        total += n * rmd_caps_list_at(l, day - began);
        left -= n;
    }
    return total;
}

uint64_t rmd_plan_volume_on(const struct rmd_plan_question *q, uint64_t addresses, uint32_t day) {
    uint64_t total = 0, all = sum(q, &q->plan->source, addresses, day);
    for (size_t i = 0; i < q->n_shares; i++) {
        uint64_t room = sum(q, rmd_plan_caps(q->plan, q->share[i].provider), addresses, day);
        total += room < q->share[i].per_day ? room : q->share[i].per_day;
    }
    return total < all ? total : all;
}

uint32_t rmd_plan_days(const struct rmd_plan_question *q, uint64_t addresses) {
    if (addresses < rmd_plan_least(q))
        return 0;
    uint64_t wanted = 0;
    for (size_t i = 0; i < q->n_shares; i++)
        wanted += q->share[i].per_day;
    for (uint32_t day = 0; day < DAYS_MAX; day++)
        if (rmd_plan_volume_on(q, addresses, day) >= wanted)
            return day + 1;
    return 0;
}
