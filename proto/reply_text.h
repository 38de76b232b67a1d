/* A reply as people and programs pass it on: with or without its code, with "host mx.example said:" in front, as a
 * "smtp; 550 5.1.1 ..." of a bounce, or as a piece of a transcript. Pure.
 *
 * What Remuda reads off its own connections needs none of this. */
#ifndef REMUDA_REPLY_TEXT_H
#define REMUDA_REPLY_TEXT_H

#include "proto/verdict.h"

/* Finds code, enhanced code, the receiver's own words and, when the text tells it, the stage (RMD_STAGE_NONE: it
 * doesn't). Without any code it is 450 when the words speak of something that passes, otherwise 550, and false
 * is returned: no reply code was read. out->text is a part of the input. Never fails. */
bool rmd_reply_read(struct rmd_slice text, struct rmd_reply *out);

/* Names that others use for stages ("CONN", "HELO", "RCPT TO", "end of data") and providers ("microsoft"): ours, or
 * what was given. A stage that nobody knows is RMD_STAGE_NONE. */
enum rmd_stage rmd_stage_of_word(struct rmd_slice word);
const char *rmd_provider_of_word(const char *word);
/* The i-th of these words with its provider; false behind the last. */
bool rmd_provider_word(size_t i, const char **word, const char **provider);

#endif
