/* CSV and intake: any bytes, in pieces that the first byte chooses. Every row is accepted or rejected, none twice. */
#include <assert.h>

#include "coordinator/core/intake.h"
#include "proto/io/idn.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int drop(void *ctx, struct rmd_batch *b) {
    size_t pos = 0;
    struct rmd_batch_op op;
    struct rmd_arena arena = {0};
    while (rmd_batch_next(b, &pos, &op)) {
        Remuda__Chunk *c = rmd_pb_decode(&remuda__chunk__descriptor, op.value, &arena);
        assert(c);
        *(uint64_t *)ctx += c->n_row;
    }
    rmd_arena_release(&arena);
    rmd_batch_release(b);
    return RMD_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    if (n == 0)
        return 0;
    uint64_t rows = 0;
    struct rmd_intake_options o = {.tenant = 1, .to_ascii = rmd_idn_to_ascii, .batch = drop, .ctx = &rows};
    struct rmd_intake *i = rmd_intake_new(&o);
    size_t piece = p[0] ? p[0] : 1;
    int rc = RMD_OK;
    for (size_t at = 1; at < n && rc == RMD_OK; at += piece)
        rc = rmd_intake_feed(i, rmd_slice(p + at, n - at < piece ? n - at : piece));
    if (rc == RMD_OK)
        rc = rmd_intake_finish(i);
    if (rc == RMD_OK)
        assert(rows == rmd_intake_accepted(i));
    rmd_intake_free(i);
    return 0;
}
