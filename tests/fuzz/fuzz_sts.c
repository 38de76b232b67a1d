/* MTA-STS: a record, a policy and the cache's file, whatever they hold. What was read is told again and reads the same. */
#include <assert.h>

#include <base/text.h>

#include "node/core/sts_cache.h"

static void policy(struct rmd_slice in) {
    struct rmd_sts_policy *p, *again;
    struct rmd_buf text = {0};
    char why[RMD_STS_WHY];
    if (rmd_sts_parse(in, &p, why) != RMD_OK) {
        assert(!p && memchr(why, 0, sizeof why));
        return;
    }
    assert(p->mx_n <= RMD_STS_MX_BYTES && strlen(p->mx) == p->mx_n);
    assert(p->max_age_s >= 0 && p->max_age_s <= RMD_STS_MAX_AGE_S && p->mode < RMD_STS_MODE_COUNT);
    (void)rmd_sts_match(p, "mx.example.com");
    (void)rmd_sts_match(p, "");
    rmd_sts_text(p, &text);
    assert(rmd_sts_parse(rmd_buf_slice(&text), &again, why) == RMD_OK);
    assert(again->mode == p->mode && again->max_age_s == p->max_age_s && strcmp(again->mx, p->mx) == 0);
    rmd_buf_release(&text);
    free(again);
    free(p);
}

static void record(struct rmd_slice in) {
    struct rmd_txt_answer a = {.status = RMD_DNS_OK, .n = 1};
    char id[RMD_STS_ID_MAX + 1];
    (void)rmd_copy_slice(a.txt[0], sizeof a.txt[0], in);
    if (rmd_sts_record(&a, id) == RMD_OK)
        assert(id[0] && memchr(id, 0, sizeof id));
}

static void file(struct rmd_slice in) {
    struct rmd_time now = {.mono_ms = 1000, .wall_ms = 1000};
    struct rmd_buf once = {0}, twice = {0};
    struct rmd_sts_cache *c = rmd_sts_cache_new();
    rmd_sts_cache_load(c, in, now);
    rmd_sts_cache_save(c, &once);
    rmd_sts_cache_free(c);
    c = rmd_sts_cache_new();
    rmd_sts_cache_load(c, rmd_buf_slice(&once), now);
    rmd_sts_cache_save(c, &twice);
    rmd_sts_cache_free(c);
    assert(rmd_slice_eq(rmd_buf_slice(&once), rmd_buf_slice(&twice)));
    rmd_buf_release(&once);
    rmd_buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    policy(rmd_slice(data, n));
    record(rmd_slice(data, n));
    file(rmd_slice(data, n));
    return 0;
}
