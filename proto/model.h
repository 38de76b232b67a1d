/* A small learned model behind the verdict rules: which class do the words of a reply speak for? Pure.
 *
 * It is linear: each token that it knows (a word's stem, two words in a row, three letters in a row; the code, the enhanced code;
 * fillers like "is" are left out) has a weight for each class, in hundredths; the class with the greatest sum is the answer when it
 * leads the second one by `margin`, and by `costly` any class for which it mustn't be taken: a block and a rate limit for each other,
 * a refusal of the source, the domain or the content for an unknown user. So an answer can be explained by its tokens, and is the
 * same everywhere. Integers only.
 *
 * It never overrides a rule: it is asked when no rule but the weak ones knows the reply (rules.h). What Remuda does on
 * its word alone is mild: it suppresses nobody, quarantines nothing and moves nothing.
 *
 * Text form, made by tests/model/train.py:
 *
 *     remuda-model 1
 *     margin 80
 *     costly 200                                  0 when it is left out
 *     class user_unknown mailbox_full ...          the classes, in the order of their numbers here
 *     <token> TAB <class number>:<weight> ...      one line a token; "w:mailbox", "b:not exist", "g:box", "c:550", "e:1.1"
 */
#ifndef REMUDA_MODEL_H
#define REMUDA_MODEL_H

#include <base/coll.h>

#include "proto/verdict.h"

struct rmd_subject;
struct rmd_model;

enum {
    RMD_MODEL_BYTES_MAX = 1 << 20,
    RMD_MODEL_TOKENS_MAX = 50000,
    RMD_MODEL_TOKEN_MAX = 64,
    RMD_MODEL_REASONS = 4,
    RMD_MODEL_WORDS_MAX = 120, /* of one reply; what follows is not read */
};

struct rmd_model_answer {
    enum rmd_class class;
    int margin;    /* over the second class */
    int n_reasons; /* tokens that speak most for the class against the second one */
    struct {
        const char *token; /* the model's */
        int weight;
    } reason[RMD_MODEL_REASONS];
};

/* NULL: err has one line "name:12: what is wrong". The caller frees. */
struct rmd_model *rmd_model_parse(struct rmd_slice text, const char *name, struct rmd_buf *err);
void rmd_model_free(struct rmd_model *m);
/* False when it doesn't know: too few tokens, or too small a lead. */
bool rmd_model_ask(const struct rmd_model *m, const struct rmd_subject *s, struct rmd_model_answer *out);
/* What is done on the model's word. */
void rmd_model_verdict(enum rmd_class class, int code, enum rmd_stage stage, struct rmd_verdict *out);
/* The tokens of a reply, each once; for training. */
void rmd_model_tokens(const struct rmd_subject *s, void (*fn)(void *ctx, const char *token), void *ctx);

#endif
