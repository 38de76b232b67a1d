/* Fuzz target: a table of replies, as `remuda classify --tsv` reads it: rows, replies in any shape, verdicts. No row is lost that a
 * tab began, nothing crashes, and whatever the words, the verdict keeps what the design promises. */
#include <stdlib.h>

#include "proto/io/rules_file.h"
#include "proto/reply_text.h"
#include "proto/tsv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct rmd_rules *rules, const struct rmd_tsv *t) {
    struct rmd_reply reply;
    struct rmd_verdict v, again;
    struct rmd_why why;
    rmd_reply_read(t->value[0], &reply);
    if (reply.code < 400 || reply.code > 599 || reply.text.n > t->value[0].n)
        abort();
    enum rmd_stage stage = rmd_stage_of_word(t->value[2]);
    reply.stage = stage != RMD_STAGE_NONE ? stage : reply.stage == RMD_STAGE_NONE ? RMD_STAGE_RCPT : reply.stage;
    rmd_rules_classify(rules, &reply, "", &v);
    rmd_rules_explain(rules, &reply, "", &again, &why);
    if (v.class != again.class || v.rule != again.rule || v.action != again.action)
        abort();
    if (why.model.n_reasons && (v.move || rmd_action_suppresses(v.action) || v.action == RMD_ACTION_QUARANTINE))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const wanted[] = {"reply", "id", "stage", NULL};
    static struct rmd_rules *rules;
    struct rmd_buf err = {0};
    if (!rules && !(rules = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err)))
        abort();
    struct rmd_tsv t;
    rmd_tsv_init(&t, wanted);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t n = end ? (size_t)(end - data) - at : size - at;
        int rc = rmd_tsv_line(&t, rmd_slice(data + at, n));
        if (rc == RMD_OK)
            judge(rules, &t);
        else if (rc != RMD_EAGAIN && rc != RMD_ELIMIT)
            abort();
        at += n + 1;
    }
    if (rmd_tsv_end(&t) == RMD_OK)
        judge(rules, &t);
    if (rmd_tsv_end(&t) == RMD_OK)
        abort(); /* the last row is told once */
    rmd_tsv_release(&t);
    return 0;
}
