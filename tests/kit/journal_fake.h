/* The journal port in memory (contract: node/io/journal.h), for the simulator and for tests.
 *
 * A `struct rmd_journal_fake` is the disk: it outlives the processes that use it. A process opens it, writes, and
 * dies:
 *
 *     struct rmd_journal_fake *disk = rmd_journal_fake_new();
 *     struct rmd_journal j;
 *     rmd_journal_fake_open(disk, &clock, keep_ms, &j);   // RMD_EBUSY while another handle is open
 *     j.ops->append(j.j, records, n);
 *     rmd_journal_fake_crash(disk);                       // the process dies: what was appended is still there
 *     rmd_journal_fake_lose_host(disk);                   // the host dies: what was not synced is gone
 *
 * Nothing here is random: a new uuid is made from a counter and the seed given to new(). No threads. */
#ifndef REMUDA_TESTS_JOURNAL_FAKE_H
#define REMUDA_TESTS_JOURNAL_FAKE_H

#include "node/io/journal.h"

struct rmd_journal_fake;

struct rmd_journal_fake *rmd_journal_fake_new(uint64_t seed);
void rmd_journal_fake_free(struct rmd_journal_fake *f);
/* The boot is told from clock->boot_id, as by the real one. */
int rmd_journal_fake_open(struct rmd_journal_fake *f, const struct rmd_clock *clock, int64_t keep_ms,
                          struct rmd_journal *out) RMD_CHECKED;
void rmd_journal_fake_crash(struct rmd_journal_fake *f);
void rmd_journal_fake_lose_host(struct rmd_journal_fake *f);
/* The next `times` appends fail with `error` and write nothing. */
void rmd_journal_fake_fail_next(struct rmd_journal_fake *f, int error, int times);
size_t rmd_journal_fake_unsynced(const struct rmd_journal_fake *f); /* records that a loss of the host would take */

#endif
