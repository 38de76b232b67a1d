/* See journal_wait.h. */
#include "node/io/journal_wait.h"

#include <time.h>

#include <base/log.h>

enum { RETRY_MS = 500 };

static bool pause_after(struct rmd_journal *j, bool first, bool (*give_up)(void *ctx), void *ctx) {
    char why[256];
    j->ops->trouble(j->j, why, sizeof why);
    if (first)
        rmd_error("journal", "%s; nothing is sent until it can be written again", why);
    if (give_up(ctx))
        return false;
    struct timespec t = {.tv_nsec = RETRY_MS * 1000000L};
    nanosleep(&t, NULL);
    return true;
}

int rmd_journal_append_wait(struct rmd_journal *j, struct rmd_journal_record *r, size_t n, bool (*give_up)(void *ctx),
                            void *ctx) {
    bool waited = false;
    while (j->ops->append(j->j, r, n) != RMD_OK) {
        if (!pause_after(j, !waited, give_up, ctx))
            return RMD_ECLOSED;
        waited = true;
    }
    if (waited)
        rmd_info("journal", "can be written again");
    return RMD_OK;
}

int rmd_journal_sync_wait(struct rmd_journal *j, bool (*give_up)(void *ctx), void *ctx) {
    bool waited = false;
    int rc;
    while ((rc = j->ops->sync(j->j)) != RMD_OK) {
        if (rc != RMD_EAGAIN && !pause_after(j, !waited, give_up, ctx))
            return RMD_ECLOSED;
        waited |= rc != RMD_EAGAIN;
    }
    return RMD_OK;
}
