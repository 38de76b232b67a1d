/* Fuzz target: a reply of any kind, classified with the shipped rules. Input: a byte for the stage, one for the code,
 * one for the provider, then the text. Whatever the words, the verdict keeps what the design promises. */
#include <stdlib.h>

#include "proto/io/rules_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const providers[] = {"", "google", "outlook", "gmx", "cox", "t-online", "unheard-of"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rmd_rules *rules;
    if (!rules) {
        struct rmd_buf err = {0};
        rules = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
        if (!rules)
            abort();
    }
    if (size < 3)
        return 0;
    struct rmd_verdict v;
    struct rmd_reply reply = {.stage = (enum rmd_stage)(data[0] % RMD_STAGE_COUNT),
                              .code = 400 + data[1] % 200,
                              .text = rmd_slice(data + 3, size - 3)};
    rmd_rules_classify(rules, &reply, providers[data[2] % (sizeof providers / sizeof *providers)], &v);
    const unsigned ip = RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK | RMD_SCOPE_LANE;
    if (v.class >= RMD_CLASS_COUNT || v.action >= RMD_ACTION_COUNT || !v.scope || !v.rule)
        abort();
    if (v.move && ((v.scope & ~ip) || v.permanent))
        abort();
    if (rmd_action_suppresses(v.action) && (v.scope != RMD_SCOPE_RECIPIENT || reply.code < 500))
        abort();
    if (v.permanent &&
        (v.action == RMD_ACTION_RETRY || v.action == RMD_ACTION_RETRY_SAME || v.action == RMD_ACTION_NEXT_MX))
        abort();
    return 0;
}
