/* Blocklists: the shipped text with the operator's file on top, key by key, as Blocklist messages.
 *
 * Findings are lines "file:line: ..."; all of them are reported. Refused are unknown keys, zones that are no names or end in
 * a dot, codes outside of 127.0.0.0/8, written twice or hidden by an earlier one, lists without a zone, a kind or a
 * code, lists that nothing defines, keys that can't be read, and lists that are known to have ended.
 *
 * A keyed list ("{key}" in its zone) is enabled by its key: key_file names a file with it and nothing else. */
#ifndef REMUDA_BLOCKLISTS_FILE_H
#define REMUDA_BLOCKLISTS_FILE_H

#include <base/coll.h>

#include "proto/blocklist.h"

struct rmd_blocklists {
    Remuda__Blocklist **v; /* the disabled ones too: off_because tells why */
    size_t n;
    struct rmd_arena arena; /* owns all of it */
};

/* path: the operator's file, or NULL or "": the shipped ones alone. RMD_EINVAL: err has the findings, out is empty. */
int rmd_blocklists_load(const char *path, struct rmd_blocklists *out, struct rmd_buf *err) RMD_CHECKED;
/* The same from memory; name stands for the operator's file in errors. read_key fetches the text of a key file (false: why
 * is in why); NULL: keys are not read, and keyed lists stay off. */
typedef bool (*rmd_read_key_fn)(void *ctx, const char *path, struct rmd_buf *out, char *why, size_t why_n);
int rmd_blocklists_parse(struct rmd_slice override, const char *name, rmd_read_key_fn read_key, void *ctx,
                         struct rmd_blocklists *out, struct rmd_buf *err) RMD_CHECKED;
void rmd_blocklists_release(struct rmd_blocklists *l);
/* By name, or NULL. */
const Remuda__Blocklist *rmd_blocklists_find(const struct rmd_blocklists *l, const char *name);

#endif
