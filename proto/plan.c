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
