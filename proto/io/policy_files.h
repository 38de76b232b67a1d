/* The operator's two files together: providers and verdict rules, as the coordinator reads them at start and on a reload,
 * and as `remuda rules check` does. */
#ifndef REMUDA_POLICY_FILES_H
#define REMUDA_POLICY_FILES_H

#include "proto/io/providers_file.h"
#include "proto/io/rules_file.h"

struct rmd_policy_files {
    struct rmd_providers providers; /* shipped and the operator's */
    struct rmd_buf rules;           /* the operator's text, empty when there is none */
    size_t n_rules;                 /* of the compiled set */
    size_t n_own_rules;             /* of them the operator's */
};

/* Paths may be NULL or "": nothing of the operator's. RMD_EINVAL: err has every finding, "file:line: ..." a line, and out
 * is empty. Rules may only name providers that the provider files define. */
int rmd_policy_files_load(const char *providers_path, const char *rules_path, struct rmd_policy_files *out,
                          struct rmd_buf *err) RMD_CHECKED;
void rmd_policy_files_release(struct rmd_policy_files *f);

#endif
