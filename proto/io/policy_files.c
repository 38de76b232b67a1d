/* Providers and verdict rules of the operator, read and linted together (see policy_files.h). */
#include "proto/io/policy_files.h"

#include "proto/io/ucl.h"

static bool defined(void *ctx, const char *name) {
    return rmd_providers_find(ctx, name) != NULL;
}

int rmd_policy_files_load(const char *providers_path, const char *rules_path, struct rmd_policy_files *out,
                          struct rmd_buf *err) {
    *out = (struct rmd_policy_files){0};
    int rc = rmd_providers_load(providers_path, &out->providers, err);
    bool have = rules_path && *rules_path;
    if (have && rmd_ucl_read_file(rules_path, &out->rules, err) < 0)
        rc = RMD_EINVAL;
    else {
        /* what a provider's name means can only be said when the providers could be read */
        struct rmd_rules_known known = {.defined = defined, .ctx = &out->providers};
        struct rmd_rules *rules =
            rmd_rules_checked(rmd_buf_slice(&out->rules), have ? rules_path : "", rc == RMD_OK ? &known : NULL, err);
        if (!rules)
            rc = RMD_EINVAL;
        else {
            out->n_rules = rmd_rules_count(rules);
            out->n_own_rules = rmd_rules_own_count(rules);
        }
        rmd_rules_free(rules);
    }
    if (rc < 0)
        rmd_policy_files_release(out);
    return rc;
}

void rmd_policy_files_release(struct rmd_policy_files *f) {
    rmd_providers_release(&f->providers);
    rmd_buf_release(&f->rules);
    *f = (struct rmd_policy_files){0};
}
