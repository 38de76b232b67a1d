/* The operator's files together: providers, verdict rules, warm-up plans and blocklists, as the coordinator reads them at start and on
 * a reload, and as `remuda rules check` does. */
#ifndef REMUDA_POLICY_FILES_H
#define REMUDA_POLICY_FILES_H

#include "proto/io/blocklists_file.h"
#include "proto/io/plans_file.h"
#include "proto/io/providers_file.h"
#include "proto/io/rules_file.h"

/* NULL or "": nothing of the operator's, the shipped ones alone. */
struct rmd_policy_paths {
    const char *providers, *rules, *plans, *blocklists;
};

struct rmd_policy_files {
    struct rmd_providers providers; /* shipped and the operator's */
    struct rmd_buf rules;           /* the operator's text, empty when there is none */
    size_t n_rules;                 /* of the compiled set */
    size_t n_own_rules;             /* of them the operator's */
    struct rmd_plans plans;
    struct rmd_blocklists blocklists;
};

/* RMD_EINVAL: err has every finding of every file, "file:line: ..." a line, and out is empty. Rules and plans may only name
 * providers that the provider files define. */
int rmd_policy_files_load(const struct rmd_policy_paths *paths, struct rmd_policy_files *out,
                          struct rmd_buf *err) RMD_CHECKED;
void rmd_policy_files_release(struct rmd_policy_files *f);

#endif
