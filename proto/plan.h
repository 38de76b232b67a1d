/* Warm-up plans: how much a new source, or a new sending domain, may send at a provider on each stage, and what it must not do
 * meanwhile. Pure data and arithmetic; read by proto/io/plans_file.c.
 *
 * A stage is a sending day that went well. Caps are recipients in any 24 hours: a list for each provider that the plan names, one
 * for `other` as one bucket (with a ceiling for each site in it), a default for the rest, and one for the source in all. Behind the
 * last stage a lane is warm: the last cap holds until the operator says otherwise. Rates are parts per million. */
#ifndef REMUDA_PLAN_H
#define REMUDA_PLAN_H

#include <base/coll.h>

enum {
    RMD_PLANS_MAX = 32,
    RMD_PLAN_STAGES_MAX = 100,
    RMD_PLAN_LISTS_MAX = 64, /* providers that one plan names */
    RMD_PLAN_NAME_MAX = 32,
    RMD_PPM = 1000000,
};

/* What is measured; X(ID, "name"). */
#define RMD_GATES(X)          \
    X(BOUNCES, "bounces")     \
    X(BLOCKS, "blocks")       \
    X(DEFERRALS, "deferrals") \
    X(COMPLAINTS, "complaints")
#define RMD_GATE_ENUM(id, name) RMD_GATE_##id,
enum rmd_gate_kind { RMD_GATES(RMD_GATE_ENUM) RMD_GATE_KINDS };
const char *rmd_gate_name(unsigned kind);

/* At most max_ppm; fewer events than `minimum` say nothing. */
struct rmd_gate {
    uint32_t max_ppm;
    uint32_t minimum;
};

struct rmd_caps_list {
    const char *provider; /* NULL: of no provider */
    const uint64_t *cap;
    uint32_t n;
};

struct rmd_plan {
    const char *name;
    uint32_t hour_percent; /* of the cap in any hour */
    uint32_t use_percent;  /* of the cap by distinct accepted recipients, or the day doesn't count */
    uint32_t idle_days;    /* without mail: starts again */
    uint32_t hold_days;    /* good days that it stays after one that wasn't */
    uint32_t back_stages;  /* lost by a day that is surely over a gate */
    uint32_t confidence;   /* per cent, of one side: 80, 90, 95 or 99 */
    struct rmd_gate gate[RMD_GATE_KINDS];
    struct rmd_caps_list source, site, fallback, other;
    struct rmd_caps_list *list; /* providers that it names */
    uint32_t n_lists;
};

/* NULL when there is none. */
const struct rmd_plan *rmd_plan_find(const struct rmd_plan *const *v, size_t n, const char *name);
bool rmd_plan_same(const struct rmd_plan *a, const struct rmd_plan *b);
/* A deep copy. */
struct rmd_plan *rmd_plan_copy(struct rmd_arena *a, const struct rmd_plan *p);
/* The provider's list: its own, `other`'s or the default. */
const struct rmd_caps_list *rmd_plan_caps(const struct rmd_plan *p, const char *provider);
/* Behind the end: the last one. */
uint64_t rmd_caps_list_at(const struct rmd_caps_list *l, uint32_t stage);
/* Of a cap, in any hour: at least 1. */
uint64_t rmd_plan_hour(const struct rmd_plan *p, uint64_t cap);

/* --- how many addresses and days a volume needs */
struct rmd_plan_share {
    const char *provider;
    uint64_t per_day;
};
struct rmd_plan_question {
    const struct rmd_plan *plan;
    const struct rmd_plan_share *share;
    size_t n_shares;
    uint64_t per_day; /* in all */
    uint64_t at_once; /* addresses that may warm up at the same time; 0: any number */
};
/* Addresses that carry the volume once all of them are warm. */
uint64_t rmd_plan_least(const struct rmd_plan_question *q);
/* Of a provider alone; SIZE_MAX: of the sources' own caps. */
uint64_t rmd_plan_least_of(const struct rmd_plan_question *q, size_t share);
/* What so many addresses may offer on this day (from 0) of the warm-up, within the question's volume. */
uint64_t rmd_plan_volume_on(const struct rmd_plan_question *q, uint64_t addresses, uint32_t day);
/* First day (from 1) on which they carry all of it; 0: never. Every day goes well. */
uint32_t rmd_plan_days(const struct rmd_plan_question *q, uint64_t addresses);

/* The shipped plans, as text. */
extern const char rmd_plans_shipped[];
extern const size_t rmd_plans_shipped_n;

#endif
