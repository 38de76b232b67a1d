/* Patterns of verdict rules and the texts that they are held against (see rules.h for what a pattern means).
 *
 * Both are brought into one form first: ASCII lower case, every run of white space one blank. Then a pattern is found
 * in two steps: an Aho-Corasick automaton over one literal of each pattern tells, in one pass over the reply, which
 * few patterns can match at all; these are then matched in full. A reply costs its length, however many rules there
 * are. */
#include "proto/rules_internal.h"

#include <assert.h>

#include <base/text.h>

enum { KEY_MAX = 20 }; /* longer keys only make the automaton bigger */

static bool is_blank(uint8_t c) {
    return c <= ' ' || c == 0x7f;
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

/* ---------------------------------------------------------------- patterns */

static void choose_key(struct rmd_pattern *p) {
    size_t start = 0;
    for (size_t i = 0; i <= p->n; i++) {
        if (i < p->n && p->prog[i] > RMD_PATTERN_DIGITS)
            continue;
        size_t n = i - start;
        if (n > p->key_n) {
            p->key_at = (uint16_t)start;
            p->key_n = (uint16_t)(n > KEY_MAX ? KEY_MAX : n);
        }
        start = i + 1;
    }
}

const char *rmd_pattern_compile(struct rmd_arena *arena, const char *text, struct rmd_pattern *out) {
    uint8_t prog[RMD_RULE_PATTERN_BYTES_MAX];
    size_t n = 0;
    if (strlen(text) > sizeof prog)
        return "is longer than 256 bytes";
    for (const char *s = text; *s; s++) {
        uint8_t c = (uint8_t)*s;
        if (c == '*') {
            c = RMD_PATTERN_ANY;
            if (n == 0 || !s[1])
                return "has a * at an end, where it means nothing";
        } else if (c == '#') {
            c = RMD_PATTERN_DIGITS;
        } else if (c == '\\') {
            if (s[1] != '*' && s[1] != '#' && s[1] != '\\')
                return "has a backslash that is not before *, # or a backslash";
            c = (uint8_t) * ++s;
        } else if (is_blank(c)) {
            if (n && prog[n - 1] == ' ')
                continue;
            c = ' ';
        } else {
            c = (uint8_t)rmd_lower((char)c);
        }
        prog[n++] = c;
    }
    *out = (struct rmd_pattern){.prog = rmd_arena_dup(arena, prog, n ? n : 1), .n = (uint16_t)n};
    choose_key(out);
    if (out->key_n < 3)
        return "has no run of three characters that must occur";
    if (prog[n - 1] == '.' || (n > 1 && prog[n - 1] == ' ' && prog[n - 2] == '.'))
        return "ends with a dot, which receivers add and drop";
    return NULL;
}

/* Matches prog[0..n) without RMD_PATTERN_ANY at text + at; the end of the match, or 0. */
static size_t match_at(const uint8_t *prog, size_t n, const uint8_t *text, size_t at, size_t text_n) {
    for (size_t i = 0; i < n; i++) {
        if (prog[i] == RMD_PATTERN_DIGITS) {
            size_t from = at;
            while (at < text_n && (is_digit(text[at]) || text[at] == RMD_PATTERN_DIGITS))
                at++;
            if (at == from)
                return 0;
        } else {
            if (at >= text_n || text[at] != prog[i])
                return 0;
            at++;
        }
    }
    return at;
}

/* The pieces between "any text" are found one after the other, each as early as possible: that finds a match if there
 * is one. */
bool rmd_pattern_matches(const struct rmd_pattern *p, const uint8_t *text, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < p->n;) {
        size_t end = i;
        while (end < p->n && p->prog[end] != RMD_PATTERN_ANY)
            end++;
        size_t after = 0;
        for (; at < n && !after; at++)
            after = match_at(p->prog + i, end - i, text, at, n);
        if (!after)
            return false;
        at = after;
        i = end + 1;
    }
    return true;
}

/* ---------------------------------------------------------------- replies */

size_t rmd_enhanced_parse(const uint8_t *p, size_t n, uint16_t out[3]) {
    size_t at = 0;
    uint16_t part[3] = {0};
    for (int i = 0; i < 3; i++) {
        size_t from = at;
        for (; at < n && is_digit(p[at]) && at - from < 3; at++)
            part[i] = (uint16_t)(part[i] * 10 + (p[at] - '0'));
        if (at == from || (i < 2 && (at >= n || p[at++] != '.')))
            return 0;
    }
    if ((at < n && !is_blank(p[at])) || (part[0] != 2 && part[0] != 4 && part[0] != 5))
        return 0;
    memcpy(out, part, sizeof part);
    return at;
}

/* Length of "550-" or "550 " at the start of a line, when it repeats the reply's code. */
static size_t code_prefix(const uint8_t *p, size_t n, int code) {
    if (n < 3 || !is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2]))
        return 0;
    if ((p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0') != code)
        return 0;
    if (n == 3)
        return 3;
    return p[3] == '-' || p[3] == ' ' ? 4 : 0;
}

/* Length of a code and the enhanced code behind it, or 0 when there is none. */
static size_t skip_enhanced(const uint8_t *p, size_t n, size_t code_n) {
    uint16_t enhanced[3];
    size_t more = rmd_enhanced_parse(p + code_n, n - code_n, enhanced);
    return more ? code_n + more : 0;
}

void rmd_subject_init(struct rmd_subject *s, const struct rmd_reply *reply) {
    const uint8_t *p = reply->text.p;
    size_t n = reply->text.n > RMD_REPLY_TEXT_MAX ? RMD_REPLY_TEXT_MAX : reply->text.n, at = 0;
    s->code = reply->code;
    s->stage = reply->stage;
    s->provider = -1;
    memset(s->enhanced, 0, sizeof s->enhanced);
    bool known = rmd_enhanced_parse((const uint8_t *)reply->enhanced,
                                    strnlen(reply->enhanced, sizeof reply->enhanced), s->enhanced) > 0;
    s->n = 0;
    s->text[s->n++] = ' ';
    while (at < n) {
        /* at the start of a line: codes that are repeated there would tear sentences apart */
        uint16_t enhanced[3];
        at += code_prefix(p + at, n - at, reply->code);
        size_t skip = rmd_enhanced_parse(p + at, n - at, enhanced);
        if (skip && !known) {
            memcpy(s->enhanced, enhanced, sizeof enhanced);
            known = true;
        }
        at += skip;
        for (; at < n && p[at] != '\n'; at++) {
            uint8_t c = is_blank(p[at]) ? ' ' : (uint8_t)rmd_lower((char)p[at]);
            if (c != ' ' || s->text[s->n - 1] != ' ')
                s->text[s->n++] = c;
            /* lines that somebody joined with blanks before us: "... 550-5.1.1 ..." */
            skip = c == ' ' ? code_prefix(p + at + 1, n - at - 1, reply->code) : 0;
            if (skip && (skip = skip_enhanced(p + at + 1, n - at - 1, skip)) > 0)
                at += skip;
        }
        at++;
        if (s->text[s->n - 1] != ' ')
            s->text[s->n++] = ' ';
    }
    assert(s->n <= sizeof s->text);
}

/* ---------------------------------------------------------------- index */

static uint32_t add_key(struct rmd_pattern_index *x, const uint8_t *key, size_t n) {
    uint32_t state = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t *to = &x->next[(size_t)state * x->columns + x->column[key[i]]];
        if (!*to)
            *to = x->states++;
        state = *to;
    }
    return state;
}

/* Breadth first: a state's failure state is nearer to the root, hence complete before it. */
static void complete(struct rmd_pattern_index *x) {
    uint32_t *fail = rmd_alloc(x->states * sizeof *fail), *queue = rmd_alloc(x->states * sizeof *queue);
    uint32_t head = 0, tail = 0;
    queue[tail++] = 0;
    while (head < tail) {
        uint32_t state = queue[head++];
        for (uint32_t c = 0; c < x->columns; c++) {
            uint32_t *to = &x->next[(size_t)state * x->columns + c];
            uint32_t other = state ? x->next[(size_t)fail[state] * x->columns + c] : 0;
            if (!*to) {
                *to = other;
                continue;
            }
            fail[*to] = other;
            x->suffix[*to] = x->first[other] ? other : x->suffix[other];
            queue[tail++] = *to;
        }
    }
    free(fail);
    free(queue);
}

void rmd_pattern_index_build(struct rmd_pattern_index *x, const struct rmd_pattern *patterns, uint32_t n) {
    memset(x, 0, sizeof *x);
    size_t states = 1;
    x->columns = 1;
    for (uint32_t i = 0; i < n; i++) {
        states += patterns[i].key_n;
        for (size_t k = 0; k < patterns[i].key_n; k++) {
            uint8_t *column = &x->column[patterns[i].prog[patterns[i].key_at + k]];
            if (!*column)
                *column = (uint8_t)x->columns++; /* at most 253: 0, 1 and 2 occur in no key */
        }
    }
    x->next = rmd_alloc(states * x->columns * sizeof *x->next);
    x->first = rmd_alloc(states * sizeof *x->first);
    x->suffix = rmd_alloc(states * sizeof *x->suffix);
    x->out_pattern = rmd_alloc((n + 1) * sizeof *x->out_pattern);
    x->out_more = rmd_alloc((n + 1) * sizeof *x->out_more);
    x->states = 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t state = add_key(x, patterns[i].prog + patterns[i].key_at, patterns[i].key_n);
        x->out_pattern[i + 1] = i; /* entries count from 1, so that 0 ends a list */
        x->out_more[i + 1] = x->first[state];
        x->first[state] = i + 1;
    }
    complete(x);
}

void rmd_pattern_index_release(struct rmd_pattern_index *x) {
    free(x->next);
    free(x->first);
    free(x->suffix);
    free(x->out_pattern);
    free(x->out_more);
    memset(x, 0, sizeof *x);
}

void rmd_pattern_index_walk(const struct rmd_pattern_index *x, const uint8_t *text, size_t n,
                            void (*fn)(void *ctx, uint32_t pattern), void *ctx) {
    uint32_t state = 0;
    for (size_t i = 0; i < n; i++) {
        state = x->next[(size_t)state * x->columns + x->column[text[i]]];
        for (uint32_t s = x->first[state] ? state : x->suffix[state]; s; s = x->suffix[s])
            for (uint32_t e = x->first[s]; e; e = x->out_more[e])
                fn(ctx, x->out_pattern[e]);
    }
}
