/* The file of blocklists, and the frames of the watch: an assignment and checks into the node's watch, whose answers come from the
 * same bytes; findings are what it makes of them. Neither may crash, leak, spin or tell a listing that no answer carried. */
#include <assert.h>

#include <base/text.h>

#include "node/core/watch.h"
#include "proto/io/blocklists_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void file(const uint8_t *data, size_t n) {
    struct rmd_blocklists l;
    struct rmd_buf err = {0};
    if (rmd_blocklists_parse(rmd_slice(data, n), "fuzz.conf", NULL, NULL, &l, &err) == RMD_OK) {
        assert(l.n > 0 && l.n <= RMD_LISTS_MAX && err.len == 0);
        for (size_t i = 0; i < l.n; i++) {
            char name[RMD_DOMAIN_MAX + 1];
            assert(l.v[i]->n_code && l.v[i]->kinds && *l.v[i]->zone);
            int rc = rmd_blocklist_query(l.v[i], "2001:db8::1", name);
            assert(rc == RMD_OK);
            rmd_blocklist_named(l.v[i], rmd_slice(data, n));
        }
    } else {
        assert(l.n == 0 && err.len > 0);
    }
    rmd_blocklists_release(&l);
    rmd_buf_release(&err);
}

/* The next answer out of the bytes. */
static void answer(struct rmd_addr_answer *a, const uint8_t *data, size_t n, size_t *at) {
    uint8_t b = n ? data[(*at)++ % n] : 0;
    *a = (struct rmd_addr_answer){.status = b & 1 ? RMD_DNS_OK : b & 2 ? RMD_DNS_NXDOMAIN : RMD_DNS_TEMPFAIL};
    if (a->status == RMD_DNS_TEMPFAIL)
        rmd_copy(a->detail, sizeof a->detail, "SERVFAIL");
    if (a->status != RMD_DNS_OK)
        return;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {b & 4 ? 203 : 127, 0, 0, b >> 4}};
}

static void watch(const Remuda__Frame *f, const uint8_t *data, size_t n) {
    struct rmd_watch *w = rmd_watch_new();
    struct rmd_watch_lookup x;
    int64_t now = 1000000;
    size_t at = 0;
    if (f->body_case == REMUDA__FRAME__BODY_WATCH)
        rmd_watch_assign(w, f->watch, now);
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < 200 && rmd_watch_next(w, now, &x); i++) {
            struct rmd_addr_answer a;
            struct rmd_txt_answer t = {.status = RMD_DNS_NODATA};
            answer(&a, data, n, &at);
            rmd_watch_answer(w, now, x.token, x.txt ? NULL : &a, x.txt ? &t : NULL);
        }
        struct rmd_arena arena = {0};
        Remuda__Findings m;
        if (rmd_watch_report(w, now, 1000, &arena, &m)) {
            for (size_t i = 0; i < m.n_finding; i++)
                assert(m.finding[i]->state != RMD_FINDING_LISTED || m.finding[i]->n_answer);
            rmd_watch_acked(w, m.n);
        }
        rmd_arena_release(&arena);
        now += 600000;
    }
    rmd_watch_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct rmd_arena arena = {0};
    Remuda__Frame *f;
    file(data, n);
    if (rmd_frame_decode(rmd_slice(data, n), &arena, &f) == RMD_OK && f->body_case == REMUDA__FRAME__BODY_WATCH &&
        f->watch && f->watch->n_subject < 50 && f->watch->n_list < 20)
        watch(f, data, n);
    rmd_arena_release(&arena);
    return 0;
}
