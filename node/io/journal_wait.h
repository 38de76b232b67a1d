/* Appending that waits: a journal that can't be written (full disk) holds up its writer until it can, because nothing
 * may be sent or said that isn't in it. Logs once when it begins and once when it is over. Thread-safe. */
#ifndef REMUDA_NODE_JOURNAL_WAIT_H
#define REMUDA_NODE_JOURNAL_WAIT_H

#include "node/io/journal.h"

/* RMD_ECLOSED when give_up() said true: the process is ending, and the caller must not act on what it wanted to
 * write. */
int rmd_journal_append_wait(struct rmd_journal *j, struct rmd_journal_record *r, size_t n, bool (*give_up)(void *ctx),
                            void *ctx) RMD_CHECKED;
int rmd_journal_sync_wait(struct rmd_journal *j, bool (*give_up)(void *ctx), void *ctx) RMD_CHECKED;

#endif
