/* Findings about a whole rule set: samples that don't win, and patterns that can never win. A dead rule is worse than
 * none: its author believes in it. */
#include "proto/rules_internal.h"

#include <base/text.h>

struct lint {
    const struct rmd_rules *r;
    void (*finding)(void *ctx, const char *text);
    void *ctx;
    int n;
};

static void report(struct lint *l, const struct rmd_rule *rule, const char *fmt, ...) RMD_PRINTF(3, 4);
static void report(struct lint *l, const struct rmd_rule *rule, const char *fmt, ...) {
    struct rmd_buf text = {0};
    rmd_buf_addf(&text, "%s:%d: rule %s: ", rule->file, rule->line, rule->name);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    l->finding(l->ctx, rmd_buf_str(&text));
    rmd_buf_release(&text);
    l->n++;
}

/* ---------------------------------------------------------------- samples */

static enum rmd_stage first_stage(const struct rmd_rule *rule) {
    for (int i = 0; i < RMD_STAGE_COUNT; i++)
        if (rule->stages & 1u << i)
            return (enum rmd_stage)i;
    return RMD_STAGE_RCPT;
}

/* "reply" or "provider|stage|reply"; what is left out is what the rule asks for. NULL, or what is wrong. */
static const char *read_sample(const struct lint *l, const struct rmd_rule *rule, const char *sample,
                               struct rmd_subject *s) {
    int provider = rule->n_provider ? rule->provider[0] : -1;
    struct rmd_reply reply = {.stage = first_stage(rule)};
    if (*sample < '0' || *sample > '9') {
        const char *bar = strchr(sample, '|'), *second = bar ? strchr(bar + 1, '|') : NULL;
        char name[64];
        if (!second || !rmd_copy_slice(name, sizeof name, rmd_slice(sample, (size_t)(bar - sample))))
            return "is neither a reply nor provider|stage|reply";
        int stage =
            second == bar + 1 ? (int)reply.stage : rmd_stage_parse(rmd_slice(bar + 1, (size_t)(second - bar) - 1));
        if (*name && (provider = rmd_rules_provider_find(l->r, name)) < 0)
            return "names a provider that doesn't exist";
        if (stage < 0)
            return "names an unknown stage";
        reply.stage = (enum rmd_stage)stage;
        sample = second + 1;
    }
    uint64_t code;
    size_t n = strspn(sample, "0123456789");
    if (n != 3 || rmd_parse_u64(rmd_slice(sample, n), &code) != RMD_OK || code < 400 || code > 599)
        return "does not start with a reply code of 4xx or 5xx";
    reply.code = (int)code;
    reply.text = rmd_slice_str(sample); /* the code in front of it is dropped like that of a continuation line */
    rmd_subject_init(s, &reply);
    s->provider = provider;
    return NULL;
}

static bool matches_alone(const struct rmd_rules *r, const struct rmd_rule *rule, const struct rmd_subject *s) {
    if (!rmd_rule_accepts(rule, s))
        return false;
    bool any = rule->n_pattern == 0;
    for (int i = 0; i < rule->n_pattern && !any; i++)
        any = rmd_pattern_matches(&r->patterns[rule->first_pattern + (unsigned)i], s->text, s->n);
    return any;
}

static void check_samples(struct lint *l, uint32_t at) {
    const struct rmd_rule *rule = l->r->rule[at];
    for (int i = 0; i < rule->n_sample; i++) {
        struct rmd_subject s;
        const char *why = read_sample(l, rule, rule->sample[i], &s);
        if (why) {
            report(l, rule, "sample \"%s\" %s", rule->sample[i], why);
            continue;
        }
        if (!matches_alone(l->r, rule, &s)) {
            report(l, rule, "does not match its sample \"%s\"", rule->sample[i]);
            continue;
        }
        uint32_t won = rmd_rules_find(l->r, &s);
        const struct rmd_rule *winner = l->r->rule[won];
        bool overridden = rule->layer == RMD_RULES_SHIPPED && winner->layer == RMD_RULES_OPERATOR;
        if (won != at && !overridden)
            report(l, rule, "its sample \"%s\" is taken by rule %s (%s:%d)", rule->sample[i], winner->name,
                   winner->file, winner->line);
    }
}

/* ---------------------------------------------------------------- shadows */

static bool code_covers(const struct rmd_rule *wide, const struct rmd_rule *narrow) {
    if (!wide->n_code)
        return true;
    for (int i = 0; i < narrow->n_code; i++) {
        bool found = false;
        for (int k = 0; k < wide->n_code && !found; k++)
            found = strncmp(narrow->code[i], wide->code[k], strlen(wide->code[k])) == 0;
        if (!found)
            return false;
    }
    return narrow->n_code > 0;
}

static bool enhanced_covers(const struct rmd_rule *wide, const struct rmd_rule *narrow) {
    if (!wide->n_enhanced)
        return true;
    for (int i = 0; i < narrow->n_enhanced; i++) {
        bool found = false;
        for (int k = 0; k < wide->n_enhanced && !found; k++) {
            found = true;
            for (int j = 0; j < 3; j++)
                found = found && wide->enhanced[k].low[j] <= narrow->enhanced[i].low[j] &&
                        narrow->enhanced[i].high[j] <= wide->enhanced[k].high[j];
        }
        if (!found)
            return false;
    }
    return narrow->n_enhanced > 0;
}

/* Every reply that `narrow` accepts by its conditions is accepted by `wide` too. */
static bool covers(const struct rmd_rule *wide, const struct rmd_rule *narrow) {
    if (wide->stages && (!narrow->stages || (narrow->stages & ~wide->stages)))
        return false;
    if (wide->n_provider) {
        if (!narrow->n_provider)
            return false;
        for (int i = 0; i < narrow->n_provider; i++) {
            bool found = false;
            for (int k = 0; k < wide->n_provider && !found; k++)
                found = wide->provider[k] == narrow->provider[i];
            if (!found)
                return false;
        }
    }
    return code_covers(wide, narrow) && enhanced_covers(wide, narrow);
}

struct shadow {
    const struct rmd_rules *r;
    const struct rmd_rule *rule;
    uint32_t at;
    const uint8_t *text;
    size_t n;
    const struct rmd_rule *by;
};

enum { EXPANSIONS_MAX = 4096 }; /* a pattern that stands for more texts is taken to be alive */

/* A pattern without alternatives is a text as well, in which "any text" and "digits" are bytes that only such wildcards
 * match: when an earlier pattern matches it, it matches whatever this pattern matches. */
static void consider(void *ctx, uint32_t entry) {
    struct shadow *q = ctx;
    const struct rmd_pattern *p = &q->r->patterns[entry / 2];
    const struct rmd_rule *by = q->r->rule[p->rule];
    if (q->by || p->rule >= q->at || by->layer != q->rule->layer || !covers(by, q->rule))
        return;
    if (rmd_pattern_matches(p, q->text, q->n))
        q->by = by;
}

/* A pattern is dead when all that it stands for is: the first text that isn't ends the search. */
static bool shadowed(void *ctx, const uint8_t *text, size_t n) {
    struct shadow *q = ctx;
    q->text = text;
    q->n = n;
    q->by = NULL;
    if (n < RMD_SUBJECT_BYTES)
        rmd_pattern_index_walk(&q->r->index, text, n, consider, q);
    return q->by != NULL;
}

static void check_shadows(struct lint *l, uint32_t at) {
    const struct rmd_rule *rule = l->r->rule[at];
    for (uint32_t i = 0; i < l->r->n_bare && l->r->bare[i] < at; i++) {
        const struct rmd_rule *by = l->r->rule[l->r->bare[i]];
        if (by->layer == rule->layer && covers(by, rule)) {
            report(l, rule, "is always shadowed by rule %s (%s:%d)", by->name, by->file, by->line);
            return;
        }
    }
    for (int i = 0; i < rule->n_pattern; i++) {
        struct shadow q = {.r = l->r, .rule = rule, .at = at};
        struct rmd_expansion x = {.fn = shadowed, .ctx = &q, .max = EXPANSIONS_MAX};
        if (rmd_pattern_expand(&l->r->patterns[rule->first_pattern + (unsigned)i], &x))
            report(l, rule, "pattern \"%s\" is always shadowed by rule %s (%s:%d)", rule->pattern[i], q.by->name,
                   q.by->file, q.by->line);
    }
}

int rmd_rules_lint(const struct rmd_rules *r, void (*finding)(void *ctx, const char *text), void *ctx) {
    struct lint l = {.r = r, .finding = finding, .ctx = ctx};
    for (uint32_t i = 0; i < r->n; i++) {
        check_samples(&l, i);
        check_shadows(&l, i);
    }
    return l.n;
}
