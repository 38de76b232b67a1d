/* Sections of a scenario file against their tables (rules.h): every wrong value is a finding with file and line. */
#ifndef REMUDA_HERD_READER_H
#define REMUDA_HERD_READER_H

#include "proto/io/ucl.h"
#include "tests/sim/herd/draft.h"

struct herd_reader {
    struct rmd_arena *arena; /* of the scenario */
    struct rmd_buf *err;
    const char *file; /* that is being read */
    int findings;
};

void herd_finding(struct herd_reader *r, int line, const char *fmt, ...) RMD_PRINTF(3, 4);
/* Reads the members of `node` into `base`. Members that the table doesn't name go to `other` (true: it took it; NULL: all are unknown keys). */
void herd_read_section(struct herd_reader *r, const struct herd_section *s, const struct rmd_ucl *node, void *base,
                       bool (*other)(struct herd_reader *, const struct rmd_ucl *, void *base));
/* After everything is read: required keys, a reply where it speaks, a citation. */
void herd_check_rule(struct herd_reader *r, const struct herd_section *s, const void *base, const char *owner,
                     int line);

#endif
