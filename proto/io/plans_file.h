/* Warm-up plans: the shipped text with the operator's file on top, key by key.
 *
 * Findings are lines "file:line: ..."; all of them are reported. Refused are unknown keys, plans without caps, lists that fall or
 * more than triple in a step, caps of a provider that nothing defines, gates out of range, and a source's list that is smaller than
 * a provider's. */
#ifndef REMUDA_PLANS_FILE_H
#define REMUDA_PLANS_FILE_H

#include <base/coll.h>

#include "proto/plan.h"

struct rmd_plans {
    const struct rmd_plan **v;
    size_t n;
    struct rmd_arena arena; /* owns all of it */
};

/* A provider that caps may name; ctx is the caller's. */
typedef bool (*rmd_provider_known_fn)(void *ctx, const char *name);

/* path: the operator's file, or NULL or "": the shipped ones alone. known NULL: any name will do. RMD_EINVAL: err has the findings,
 * out is empty. */
int rmd_plans_load(const char *path, rmd_provider_known_fn known, void *ctx, struct rmd_plans *out,
                   struct rmd_buf *err) RMD_CHECKED;
/* The same from memory; name stands for the operator's file in errors. */
int rmd_plans_parse(struct rmd_slice override, const char *name, rmd_provider_known_fn known, void *ctx,
                    struct rmd_plans *out, struct rmd_buf *err) RMD_CHECKED;
void rmd_plans_release(struct rmd_plans *p);

#endif
