/* International domain names over libidn2: what a person writes to the A-labels that DNS and SMTP use (IDNA 2008, RFC
 * 5891). Thread-safe. */
#ifndef REMUDA_IDN_H
#define REMUDA_IDN_H

#include <remuda/types.h>

/* Lower-case A-labels of letters, digits and hyphens, terminated, without a trailing dot. NULL: good; else the
 * reason, static text. Plain ASCII names take no library call. */
const char *rmd_idn_to_ascii(void *unused, struct rmd_slice domain, char out[256]);

#endif
