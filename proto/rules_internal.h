/* What the parts of the rule engine share: rules.c owns the set, rules_match.c texts and patterns, rules_lint.c the
 * findings. */
#ifndef REMUDA_RULES_INTERNAL_H
#define REMUDA_RULES_INTERNAL_H

#include "proto/rules.h"

/* --- rules_match.c: patterns */

/* Bytes of a compiled pattern and of a normalised text: lower case, blanks collapsed, nothing below 0x20 but these. */
enum {
    RMD_PATTERN_ANY = 1,
    RMD_PATTERN_DIGITS = 2,
    RMD_PATTERN_NEAR = 3,
    RMD_PATTERN_EDGE = 4,
    RMD_PATTERN_ALT = 5, /* alternatives: ALT a OR b END */
    RMD_PATTERN_OR = 6,
    RMD_PATTERN_END = 7,
    RMD_PATTERN_FEW = 8,
    RMD_PATTERN_LAST = 8,
    RMD_PATTERN_PROG_MAX = 4096,
};

struct rmd_pattern {
    const uint8_t *prog;
    const uint8_t *first; /* of each piece: 256 bits, the bytes that it may begin with */
    uint16_t n;
    struct rmd_pattern_key {
        uint16_t at, n; /* n 0: none */
        bool brace;
    } key[2];      /* texts that must occur, by which the index finds it */
    uint32_t rule; /* index into the ordered rules */
};

/* NULL, or what is wrong with it (static text). sets: name -> NULL-terminated list of words. */
const char *rmd_pattern_compile(struct rmd_arena *arena, const struct rmd_map *sets, const char *text,
                                struct rmd_pattern *out);
bool rmd_pattern_matches(const struct rmd_pattern *p, const uint8_t *text, size_t n);
/* Hands out what a pattern stands for, one choice of alternatives after the other, until fn says false or there were
 * more than max. True: all of them. */
struct rmd_expansion {
    bool (*fn)(void *ctx, const uint8_t *text, size_t n);
    void *ctx;
    unsigned n, max;
};
bool rmd_pattern_expand(const struct rmd_pattern *p, struct rmd_expansion *x);

/* "can't" becomes "can not": five bytes make seven at most, and a blank stands at both ends. */
enum { RMD_SUBJECT_BYTES = RMD_REPLY_TEXT_MAX * 7 / 5 + 8 };

/* A reply as rules see it. */
struct rmd_subject {
    int code;
    uint16_t enhanced[3]; /* 0.0.0: none */
    enum rmd_stage stage;
    int provider; /* index of a declared provider, -1: another one */
    size_t n;
    uint8_t text[RMD_SUBJECT_BYTES];
};
void rmd_subject_init(struct rmd_subject *s, const struct rmd_reply *reply);
/* "4.7.1" at the start of p, ended by white space or the end: its length, or 0. */
size_t rmd_enhanced_parse(const uint8_t *p, size_t n, uint16_t out[3]);

/* Index of patterns by their keys: an Aho-Corasick automaton over the bytes that occur in keys. */
struct rmd_pattern_index {
    uint8_t column[256]; /* 0: in no key */
    uint32_t columns, states;
    uint32_t *next;     /* states x columns */
    uint32_t *first;    /* states: first entry of `out`, 0: none */
    uint32_t *out;      /* 2 x pattern + which of its keys */
    uint32_t *out_more; /* next entry, 0: end */
    uint32_t *suffix;   /* states: nearest suffix state that has output, 0: none */
};
void rmd_pattern_index_build(struct rmd_pattern_index *x, const struct rmd_pattern *patterns, uint32_t n);
void rmd_pattern_index_release(struct rmd_pattern_index *x);
/* Calls fn for each occurrence of a key, as 2 x pattern + which key; one may come more than once. A pattern with two keys
 * can't match before both came. */
void rmd_pattern_index_walk(const struct rmd_pattern_index *x, const uint8_t *text, size_t n,
                            void (*fn)(void *ctx, uint32_t entry), void *ctx);

/* --- rules.c: the set */

struct rmd_rule {
    const char *name, *file;
    int line, layer;
    int n_provider, n_code, n_enhanced;
    unsigned stages;                      /* bits, 0: any */
    uint16_t provider[RMD_RULE_LIST_MAX]; /* indexes of declared providers */
    const char *code[RMD_RULE_LIST_MAX];
    struct rmd_enhanced_range {
        uint16_t low[3], high[3];
    } enhanced[RMD_RULE_LIST_MAX];
    const char *const *pattern;
    const char *const *sample;
    const char *source; /* who says so, or NULL */
    bool weak;          /* asked when nothing else knows */
    int n_pattern, n_sample;
    uint32_t first_pattern; /* in rmd_rules.patterns, after compile() */
    struct rmd_verdict verdict;
    int permanent;
};

struct rmd_rules {
    struct rmd_arena arena;
    const char **provider;
    struct rmd_map provider_index; /* name -> index + 1 */
    struct rmd_map sets;           /* name -> words */
    struct rmd_rule **added;       /* as added */
    uint32_t n_provider, n_added, n_text_patterns;
    struct rmd_rule **rule;  /* in order, after compile() */
    uint32_t n, n_strong;    /* the first n_strong come before the model */
    struct rmd_model *model; /* or NULL */
    struct rmd_pattern *patterns;
    uint32_t n_patterns;
    uint32_t *bare; /* rules without patterns, in order */
    uint32_t n_bare;
    struct rmd_pattern_index index;
};

bool rmd_rule_accepts(const struct rmd_rule *rule, const struct rmd_subject *s);
/* Index of the first rule that matches, or r->n. */
uint32_t rmd_rules_find(const struct rmd_rules *r, const struct rmd_subject *s);
int rmd_rules_provider_find(const struct rmd_rules *r, const char *name);

/* A refusal before MAIL is about us or the receiver, never about a recipient. */
bool rmd_stage_before_mail(enum rmd_stage stage);
/* `permanent` is known: `fail` and `suppress` become `retry` without it, `retry` becomes `fail` with it, and what is
 * tried again isn't permanent. */
void rmd_verdict_settle(struct rmd_verdict *v);

/* --- rules_lint.c: hands out every finding and returns their number. */
int rmd_rules_lint(const struct rmd_rules *r, void (*finding)(void *ctx, const char *text), void *ctx);

#endif
