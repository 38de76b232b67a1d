/* Sites and providers: the MX rollup that coordinator and nodes must agree on. Pure.
 *
 * A site is the set of destination domains that share the same MX hosts; its id is a hash of the sorted, lower-case
 * host names. A provider matches a site when *every* MX host ends in one of the provider's suffixes (a suffix
 * ".google.com" matches "aspmx.l.google.com" and "google.com"); the first provider in order wins; the rest is
 * "other". */
#ifndef REMUDA_SITE_H
#define REMUDA_SITE_H

#include <remuda/dns.h>

#include "proto/codec.h"

#define RMD_PROVIDER_OTHER_NAME "other"

uint32_t rmd_provider_id(const char *name); /* rmd_fnv32 of the lower-case name; never 0 */
uint64_t rmd_site_id(const struct rmd_mx_answer *mx, const char *domain);
/* Index into providers of the match, or -1 for "other". */
int rmd_site_provider(const struct rmd_mx_answer *mx, const char *domain, Remuda__ProviderPolicy *const *providers,
                      size_t n);

/* Providers' limits as shipped (facts: design section 8), libucl text embedded in the library; an operator's file
 * overrides key by key. Parsed by proto/io/providers_file.c into ProviderPolicy messages. "other" is always the last
 * one. */
extern const char rmd_providers_shipped[];
extern const size_t rmd_providers_shipped_n;

#endif
