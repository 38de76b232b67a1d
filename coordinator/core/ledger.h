/* Ledger: the durable account of caps (design, section 8). Pure.
 *
 *   available = cap - outstanding - RCPTs whose 5-minute bucket isn't wholly older than 24 hours of ledger time
 *
 * A grant is outstanding and belongs to no bucket. When its outcome is settled it leaves outstanding, and the RCPTs
 * that were sent are booked in the bucket of the ledger time *at settle*: that is later than the RCPT itself, so room
 * comes back late, never early. A grant of unknown fate is booked as used. RCPTs may exceed the grant (reported late,
 * for a grant that was taken back): they are booked all the same, and available stays 0 until they have aged.
 *
 * Four accounts name a message: lane (source x provider), source, network x provider, sending domain x provider. It
 * needs room in all.
 *
 * Ledger time advances at most as monotonic time does in the same boot, and across a boot only as far as a node
 * attests that kept running; unattested, it stands still. So it never runs ahead of real time, whatever the wall
 * clock does.
 *
 * Buckets are persisted as absolute values (LedgerRecord), so that writing one twice does no harm. Units: recipients
 * (RCPT commands), milliseconds of ledger time. */
#ifndef REMUDA_LEDGER_H
#define REMUDA_LEDGER_H

#include <base/coll.h>
#include <remuda/store.h>

enum rmd_account_kind {
    RMD_ACCOUNT_LANE = 1,
    RMD_ACCOUNT_SOURCE = 2,
    RMD_ACCOUNT_NETWORK = 3,
    RMD_ACCOUNT_DOMAIN = 4,
    RMD_ACCOUNTS = 4, /* that name one message */
};

struct rmd_ledger_bucket {
    uint32_t index; /* ledger time / RMD_LEDGER_BUCKET_MS */
    bool dirty;     /* not in a batch yet */
    uint64_t used;
};

struct rmd_account {
    uint8_t kind;
    uint32_t a, b;
    uint64_t outstanding;
    uint64_t kept;                    /* recipients that will be tried again here: their room isn't for new ones */
    uint64_t used;                    /* sum of live buckets */
    struct rmd_ledger_bucket *bucket; /* rising index; [head, n) count, [0, head) are old and await deletion */
    uint32_t head, n, cap;
    struct rmd_list dirty;
};

struct rmd_ledger {
    struct rmd_map accounts;
    struct rmd_list dirty;
    int64_t base_ms, base_mono_ms; /* ledger time base_ms was at base_mono_ms */
    int64_t now_ms;
    uint32_t since_index;   /* bucket of the start, or of the last attestation */
    int64_t spent_until_ms; /* after a restore from a backup: every cap counts as spent until this ledger time */
};

/* The caps of one message: account and limit, of 24 hours and of one hour; limit 0: none. */
struct rmd_caps {
    struct rmd_account *account[RMD_ACCOUNTS];
    uint64_t limit[RMD_ACCOUNTS], hour[RMD_ACCOUNTS];
};

void rmd_ledger_init(struct rmd_ledger *l);
void rmd_ledger_release(struct rmd_ledger *l);
/* Sets the clock: ledger time is ledger_ms at mono_ms. Never moves it backwards. */
void rmd_ledger_start(struct rmd_ledger *l, int64_t ledger_ms, int64_t mono_ms);
/* Monotonic time went on. */
void rmd_ledger_tick(struct rmd_ledger *l, int64_t mono_ms);
/* A node that kept running through our reboot says that ledger time is at least this. True when the ledger moved. */
bool rmd_ledger_attest(struct rmd_ledger *l, int64_t claim_ms, int64_t mono_ms);

/* Finds or makes. The pointer stays valid. */
struct rmd_account *rmd_ledger_account(struct rmd_ledger *l, enum rmd_account_kind kind, uint32_t a, uint32_t b);
void rmd_ledger_restore(struct rmd_ledger *l, struct rmd_slice key, uint64_t used); /* a row of table G */

uint64_t rmd_account_used(const struct rmd_ledger *l, struct rmd_account *a);
/* limit 0: UINT64_MAX. */
uint64_t rmd_account_available(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit);
/* 0: room now; else milliseconds of ledger time until a booked bucket ages out and leaves room; RMD_NEVER: only
 * outstanding grants can. */
int64_t rmd_account_frees_ms(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit);

/* The same for a limit of one hour: what is outstanding, and every RCPT whose bucket isn't wholly older than an hour, count. */
uint64_t rmd_account_hour_used(const struct rmd_ledger *l, struct rmd_account *a);
uint64_t rmd_account_hour_available(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit);
int64_t rmd_account_hour_frees_ms(const struct rmd_ledger *l, struct rmd_account *a, uint64_t limit);

/* RCPTs booked in buckets of [from_ms, to_ms), of the last 24 hours. */
uint64_t rmd_account_between(const struct rmd_account *a, int64_t from_ms, int64_t to_ms);

/* Room in all accounts, for the day and for the hour; room for the day alone. */
uint64_t rmd_caps_day_room(const struct rmd_ledger *l, const struct rmd_caps *c);
uint64_t rmd_caps_room(const struct rmd_ledger *l, const struct rmd_caps *c);
uint64_t rmd_caps_room_for_new(const struct rmd_ledger *l, const struct rmd_caps *c); /* less what is kept */
void rmd_caps_grant(const struct rmd_caps *c, uint64_t n);
void rmd_caps_return(const struct rmd_caps *c, uint64_t n); /* n grants end; nothing was sent */
void rmd_caps_book(struct rmd_ledger *l, const struct rmd_caps *c, uint64_t rcpts); /* in the present bucket */

/* Puts every changed bucket into the batch. */
void rmd_ledger_flush(struct rmd_ledger *l, struct rmd_batch *b);
/* Deletes the rows of buckets that no longer count. */
void rmd_ledger_trim(struct rmd_ledger *l, struct rmd_batch *b);

#endif
