/* Mailbox between two threads: letters in order, many writers, one reader, woken through an eventfd.
 *
 * A letter owns copies of everything that it points to. Bounded by RMD_MAILBOX_BYTES: a worker that writes to the
 * core waits for room; the core never waits for a worker (that could be a circle), it stops reading frames while
 * rmd_mailbox_full().
 *
 * A reader that gathers comes back by itself, after a time of its own, until it finds the box empty: meanwhile only
 * letters that can't wait wake it (alarms, answers that somebody waits for). */
#ifndef REMUDA_NODE_MAILBOX_H
#define REMUDA_NODE_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/core/worker.h"

enum { RMD_MAILBOX_BYTES = 64 << 20 };

/* A rule set shared by the workers that still use it. */
struct rmd_rules_ref {
    struct rmd_rules *rules;
    _Atomic uint32_t users;
};
struct rmd_rules_ref *rmd_rules_ref_new(struct rmd_rules *rules); /* one user: the caller; takes rules over */
void rmd_rules_ref_drop(struct rmd_rules_ref *r);                 /* frees the set with its last user; NULL is fine */

enum rmd_letter_kind {
    RMD_LETTER_MAIL,    /* mail */
    RMD_LETTER_OUTCOME, /* n, bytes: encoded Outcome that is in the journal */
    RMD_LETTER_ALARM,   /* n, bytes: encoded Alarm that is in the journal */
    RMD_LETTER_RULES,   /* rules: a use of it passes with the letter */
    RMD_LETTER_STS,     /* bytes: an answer of the MTA-STS service, packed by loop.c */
    RMD_LETTER_FAILED,  /* the worker can't go on; text in mail.text */
};

struct rmd_letter {
    struct rmd_letter *next;
    enum rmd_letter_kind kind;
    uint32_t worker;
    uint64_t n;
    struct rmd_mail mail;
    struct rmd_slice bytes;
    struct rmd_rules_ref *rules;
    size_t size;
    uint8_t data[];
};

struct rmd_letter *rmd_letter_mail(uint32_t worker, const struct rmd_mail *mail); /* deep copy */
struct rmd_letter *rmd_letter_number(enum rmd_letter_kind kind, uint64_t n, struct rmd_slice bytes);
void rmd_letter_free(struct rmd_letter *l);

struct rmd_mailbox;
struct rmd_mailbox *rmd_mailbox_new(bool gathers); /* NULL: no descriptor left */
void rmd_mailbox_free(struct rmd_mailbox *b);
int rmd_mailbox_fd(const struct rmd_mailbox *b);
/* The letter is the mailbox's. wait: for room when it is full, unless it was closed. */
void rmd_mailbox_put(struct rmd_mailbox *b, struct rmd_letter *l, bool wait);
/* All letters, oldest first, linked by next; NULL: none. The caller frees them. */
struct rmd_letter *rmd_mailbox_take(struct rmd_mailbox *b);
bool rmd_mailbox_full(struct rmd_mailbox *b);
/* The reader is gone: nobody waits for it any more. */
void rmd_mailbox_close(struct rmd_mailbox *b);

#endif
