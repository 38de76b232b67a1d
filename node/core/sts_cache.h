/* MTA-STS policies of a node: one cache for all its workers. Pure and stepped; the shell looks up, fetches and answers.
 *
 * Of a domain: IDLE -> TXT (its record is looked up) -> FETCH (its policy is fetched) -> IDLE. A policy that has not
 * expired is answered at once, whatever is under way; without one the askers wait for what comes of it. No record, a
 * record that can't be read, a fetch that failed: each leaves a policy in force that has not expired (RFC 8461, section
 * 5.1), and without one means that there is none, with the reason for reports. A record with the id that is known says
 * that nothing has changed. Policies of domains that are written to are fetched anew after half of their life, at the
 * latest after a day, so that one lapses only when its domain gave it up or can't be reached for as long.
 *
 * At most RMD_STS_CACHE_MAX domains, the least recently asked go. Kept across restarts as text (save, load). */
#ifndef REMUDA_NODE_STS_CACHE_H
#define REMUDA_NODE_STS_CACHE_H

#include "node/core/worker.h"

enum {
    RMD_STS_CACHE_MAX = 20000,
    RMD_STS_WORKERS_MAX = 256,
    RMD_STS_CHECK_MIN_MS = 300000, /* between two looks at a record, whatever its TTL */
    RMD_STS_CHECK_MAX_MS = 3600000,
    RMD_STS_RETRY_MS = 300000, /* after a failed fetch (RFC 8461, section 3.3) */
    RMD_STS_REFRESH_MAX_MS = 86400000,
    RMD_STS_UNUSED_MS = 7 * 86400000, /* a policy that nobody asked for so long isn't fetched anew */
};

enum rmd_sts_event_kind {
    RMD_SE_TICK,
    RMD_SE_ASK,     /* domain, worker */
    RMD_SE_TXT,     /* domain, txt: of _mta-sts.DOMAIN */
    RMD_SE_FETCHED, /* domain, body; or result and why */
};
struct rmd_sts_event {
    enum rmd_sts_event_kind kind;
    struct rmd_time at;
    const char *domain;
    uint32_t worker;
    const struct rmd_txt_answer *txt;
    struct rmd_slice body;
    enum rmd_tls_result result; /* FETCHED: not OK when it failed */
    const char *why;
};

enum rmd_sts_effect_kind {
    RMD_SF_TXT,    /* domain: look up _mta-sts.DOMAIN */
    RMD_SF_FETCH,  /* domain: https://mta-sts.DOMAIN/.well-known/mta-sts.txt */
    RMD_SF_ANSWER, /* domain, answer, to the workers of the bitmap */
    RMD_SF_SAVE,   /* what save() gives has changed */
};
struct rmd_sts_effect {
    enum rmd_sts_effect_kind kind;
    char domain[RMD_DOMAIN_MAX + 1];
    uint8_t workers[RMD_STS_WORKERS_MAX / 8];
    struct rmd_sts_answer answer; /* its policy lives until the next step */
};
struct rmd_sts_effects {
    struct rmd_sts_effect *v;
    size_t n, cap;
};
void rmd_sts_effects_release(struct rmd_sts_effects *e);

struct rmd_sts_cache;
struct rmd_sts_cache *rmd_sts_cache_new(void);
void rmd_sts_cache_free(struct rmd_sts_cache *c);
/* out is emptied first. */
void rmd_sts_cache_step(struct rmd_sts_cache *c, const struct rmd_sts_event *e, struct rmd_sts_effects *out);
int64_t rmd_sts_cache_deadline(const struct rmd_sts_cache *c); /* mono_ms */
/* A line a policy: "DOMAIN ID FETCHED EXPIRES MODE MAX_AGE MX,MX"; times are wall ms. Lines that can't be read, and
 * policies that have expired, are left out. */
void rmd_sts_cache_save(const struct rmd_sts_cache *c, struct rmd_buf *out);
void rmd_sts_cache_load(struct rmd_sts_cache *c, struct rmd_slice text, struct rmd_time now);

#endif
