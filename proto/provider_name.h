/* A provider's name as people write it: found among those that exist, or refused with one wording wherever it stands, which
 * names the nearest. Pure.
 *
 *   struct rmd_provider_search s = {.wanted = "gogle"};
 *   for each known name: rmd_provider_search_add(&s, name);
 *   if (!s.found) rmd_provider_unknown(&s, &text);     there is no provider "gogle"; nearest is google; known are ...
 *   rmd_provider_search_release(&s);
 *
 * Near is a name, or a word that others use for a provider (rmd_provider_of_word), with at most two letters wrong. */
#ifndef REMUDA_PROVIDER_NAME_H
#define REMUDA_PROVIDER_NAME_H

#include <base/buf.h>

enum { RMD_PROVIDER_NEAREST_MAX = 3 };

struct rmd_provider_search {
    const char *wanted; /* lent */
    bool found;
    struct rmd_buf known;
    size_t distance; /* of the nearest */
    char nearest[RMD_PROVIDER_NEAREST_MAX][64];
    size_t n_nearest;
};

void rmd_provider_search_add(struct rmd_provider_search *s, const char *name);
/* Appends what is wrong, without a line end. */
void rmd_provider_unknown(const struct rmd_provider_search *s, struct rmd_buf *out);
void rmd_provider_search_release(struct rmd_provider_search *s);

#endif
