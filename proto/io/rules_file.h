/* Verdict rules as text: libucl files into a compiled set (what a rule means: proto/rules.h).
 *
 *     providers = ["google", "yahoo"]              # names that rules of this file may use
 *     words { box = ["mailbox", "inbox"] }         # "{box}" in patterns
 *     verdict "ip-listed" {                        # what happens; several rules may name it
 *         class = ip_blocklisted; scope = source; at_provider = true; action = quarantine; duration = 24h
 *         move = true; permanent = false           # permanent left out: by the code
 *     }
 *     rule "listed-in-zone" {
 *         verdict = ip-listed                      # keys of a verdict may stand in the rule too, and win
 *         pattern = ["blocked using"]              # also provider, stage, code, enhanced: a value or a list
 *         weak = false                             # true: asked after the learned model
 *         source = "its page of error codes"       # who says so; nothing is decided by it, but it is shown
 *         sample = ["554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example"]
 *     }
 *
 * An operator's file is a layer over the shipped rules: its rules are asked first, a rule with the name of a shipped
 * one takes that rule's place, and it may use the shipped verdicts. A verdict that no rule names and a key that
 * nothing reads are errors. */
#ifndef REMUDA_RULES_FILE_H
#define REMUDA_RULES_FILE_H

#include "proto/rules.h"

enum { RMD_RULES_FILE_VERDICTS_MAX = 256, RMD_RULES_FILE_FINDINGS_MAX = 200 };

/* As shipped: the rules' text (proto/rules/verdicts.conf) and the learned model's (proto/rules/words.model), NUL behind. */
extern const char rmd_verdicts_shipped[], rmd_model_shipped[];
extern const size_t rmd_verdicts_shipped_n, rmd_model_shipped_n;

/* The shipped rules with the operator's text over them, compiled. text.n == 0: as shipped. name stands for the
 * operator's file in findings. NULL: err has the findings, one a line. The caller frees the set with
 * rmd_rules_free(). */
struct rmd_rules *rmd_rules_shipped(struct rmd_slice text, const char *name, struct rmd_buf *err);
/* The same; names of providers that `known` doesn't know are findings. known may be NULL. */
struct rmd_rules_known {
    bool (*defined)(void *ctx, const char *name);
    void *ctx;
};
struct rmd_rules *rmd_rules_checked(struct rmd_slice text, const char *name, const struct rmd_rules_known *known,
                                    struct rmd_buf *err);
/* The same with the operator's text in a file; path NULL or "": as shipped. */
struct rmd_rules *rmd_rules_load(const char *path, struct rmd_buf *err);
/* A set of one text alone, for tests and for people who bring their own rules. */
struct rmd_rules *rmd_rules_parse(struct rmd_slice text, const char *name, struct rmd_buf *err);

#endif
