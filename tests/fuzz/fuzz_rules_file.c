/* Fuzz target: a file of rules. A set that compiles must find a rule for every sample that its file carries, which
 * compile() itself checks; here it must not crash, leak or take long, and every refusal must have a reason. */
#include <stdlib.h>

#include "proto/io/rules_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rmd_buf err = {0};
    struct rmd_rules *rules = rmd_rules_parse(rmd_slice(data, size), "fuzz.conf", &err);
    if (!rules && !err.len)
        abort();
    if (rules) {
        struct rmd_verdict v;
        struct rmd_reply reply = {.code = 550, .stage = RMD_STAGE_RCPT, .text = rmd_slice(data, size)};
        rmd_rules_classify(rules, &reply, "", &v);
    }
    rmd_rules_free(rules);
    rmd_buf_release(&err);
    return 0;
}
