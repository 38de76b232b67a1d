/* Fuzz target: a model's text, and a reply that it is asked about (behind the first NUL). Every refusal has a reason; an answer
 * comes with tokens that speak for it. */
#include <stdlib.h>

#include "proto/model.h"
#include "proto/rules_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : size;
    struct rmd_buf err = {0};
    struct rmd_model *m = rmd_model_parse(rmd_slice(data, n), "fuzz", &err);
    if (!m && !err.len)
        abort();
    if (m) {
        struct rmd_subject s;
        struct rmd_model_answer a;
        struct rmd_reply reply = {.code = 550, .stage = RMD_STAGE_RCPT, .text = rmd_slice(data + n, size - n)};
        rmd_subject_init(&s, &reply);
        if (rmd_model_ask(m, &s, &a) && (a.margin < 0 || a.n_reasons < 0 || a.n_reasons > RMD_MODEL_REASONS))
            abort();
    }
    rmd_model_free(m);
    rmd_buf_release(&err);
    return 0;
}
