/* The operator's files, read and linted together (see policy_files.h). */
#include "proto/io/policy_files.h"

#include "proto/io/ucl.h"

static bool defined(void *ctx, const char *name) {
    return rmd_providers_find(ctx, name) != NULL;
}

/* providers NULL: what a provider's name means can't be said, because they couldn't be read. */
static int load_rules(const char *path, struct rmd_providers *providers, struct rmd_policy_files *out,
                      struct rmd_buf *err) {
    bool have = path && *path;
    if (have && rmd_ucl_read_file(path, &out->rules, err) < 0)
        return RMD_EINVAL;
    struct rmd_rules_known known = {.defined = defined, .ctx = providers};
    struct rmd_rules *rules =
        rmd_rules_checked(rmd_buf_slice(&out->rules), have ? path : "", providers ? &known : NULL, err);
    if (!rules)
        return RMD_EINVAL;
    out->n_rules = rmd_rules_count(rules);
    out->n_own_rules = rmd_rules_own_count(rules);
    rmd_rules_free(rules);
    return RMD_OK;
}

int rmd_policy_files_load(const struct rmd_policy_paths *paths, struct rmd_policy_files *out, struct rmd_buf *err) {
    *out = (struct rmd_policy_files){0};
    int rc = rmd_providers_load(paths->providers, &out->providers, err);
    struct rmd_providers *providers = rc == RMD_OK ? &out->providers : NULL;
    if (load_rules(paths->rules, providers, out, err) < 0)
        rc = RMD_EINVAL;
    if (rmd_plans_load(paths->plans, providers ? defined : NULL, providers, &out->plans, err) < 0)
        rc = RMD_EINVAL;
    if (rmd_blocklists_load(paths->blocklists, &out->blocklists, err) < 0)
        rc = RMD_EINVAL;
    if (rc < 0)
        rmd_policy_files_release(out);
    return rc;
}

void rmd_policy_files_release(struct rmd_policy_files *f) {
    rmd_providers_release(&f->providers);
    rmd_plans_release(&f->plans);
    rmd_blocklists_release(&f->blocklists);
    rmd_buf_release(&f->rules);
    *f = (struct rmd_policy_files){0};
}
