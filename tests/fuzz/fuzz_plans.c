/* Fuzz target: a file of warm-up plans. What is taken keeps the promises that the coordinator relies on; what is refused has a reason. */
#include <stdlib.h>

#include "proto/io/plans_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct rmd_caps_list *l) {
    if (!l->n || l->n > RMD_PLAN_STAGES_MAX || !l->cap[0])
        abort();
    for (uint32_t i = 1; i < l->n; i++)
        if (l->cap[i] < l->cap[i - 1])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rmd_buf err = {0};
    struct rmd_plans p;
    int rc = rmd_plans_parse(rmd_slice(data, size), "fuzz.conf", NULL, NULL, &p, &err);
    if ((rc < 0) != (err.len > 0) || (rc < 0) != (p.n == 0))
        abort();
    for (size_t i = 0; i < p.n; i++) {
        const struct rmd_plan *x = p.v[i];
        if (!x->hour_percent || x->hour_percent > 100 || x->use_percent > 100 || !x->idle_days || !x->back_stages)
            abort();
        check(&x->source);
        check(&x->site);
        check(&x->fallback);
        check(&x->other);
        for (uint32_t k = 0; k < x->n_lists; k++)
            check(&x->list[k]);
        for (int k = 0; k < RMD_GATE_KINDS; k++)
            if (!x->gate[k].max_ppm || x->gate[k].max_ppm > RMD_PPM || !x->gate[k].minimum)
                abort();
    }
    rmd_plans_release(&p);
    rmd_buf_release(&err);
    return 0;
}
