/* Providers' limits: the shipped text with the operator's file on top, key by key, as ProviderPolicy messages.
 *
 * The order is the order of matching: providers that only the operator's file defines, the shipped ones, "other".
 * Findings are lines "file:line: ..."; all of them are reported. Refused are unknown keys, suffixes with a trailing
 * dot, without a leading one or with a single label, providers without suffixes that nothing defines, and a suffix
 * that an earlier provider hides. */
#ifndef REMUDA_PROVIDERS_FILE_H
#define REMUDA_PROVIDERS_FILE_H

#include <base/coll.h>

#include "proto/site.h"

enum {
    RMD_PROVIDERS_MAX = 256,
    RMD_PROVIDER_SUFFIXES_MAX = 64,
    RMD_PROVIDER_NAME_MAX = 32,
    RMD_PROVIDER_REMOVAL_MAX = 200
};

struct rmd_providers {
    Remuda__ProviderPolicy **v; /* the last one is "other" */
    size_t n;
    struct rmd_arena arena; /* owns all of it */
};

/* path: the operator's file, or NULL or "": the shipped ones alone. RMD_EINVAL: err has the findings, out is empty.
 */
int rmd_providers_load(const char *path, struct rmd_providers *out, struct rmd_buf *err) RMD_CHECKED;
/* The same from memory; name stands for the operator's file in errors. */
int rmd_providers_parse(struct rmd_slice override, const char *name, struct rmd_providers *out,
                        struct rmd_buf *err) RMD_CHECKED;
void rmd_providers_release(struct rmd_providers *p);
/* By name, or NULL. */
const Remuda__ProviderPolicy *rmd_providers_find(const struct rmd_providers *p, const char *name);

#endif
