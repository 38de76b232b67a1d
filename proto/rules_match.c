/* Patterns of verdict rules and the texts that they are held against (see rules.h for what a pattern means).
 *
 * Both are brought into one form first: ASCII lower case, every run of white space one blank. Then a pattern is found
 * in two steps: an Aho-Corasick automaton over one literal of each pattern tells, in one pass over the reply, which
 * few patterns can match at all; these are then matched in full. A reply costs its length, however many rules there
 * are. */
#include "proto/rules_internal.h"

#include <assert.h>

#include <base/text.h>

enum { KEY_MAX = 20 };    /* longer keys only make the automaton bigger */
enum { NEAR_BYTES = 40 }; /* what "~" may skip */
enum { FEW_BYTES = 3 };   /* what "?" may skip: a letter in any encoding, or written in two */

static bool is_blank(uint8_t c) {
    return c <= ' ' || c == 0x7f;
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

/* ---------------------------------------------------------------- compiling a pattern */

/* A compiled pattern is a string of bytes: literal text, the wildcards of rules_internal.h, and alternatives as ALT a
 * OR b END. It is made of pieces, between ANY and NEAR; a piece holds alternatives, an alternative nothing but text,
 * digits and edges. */

/* Appends one byte of text in the form in which texts and patterns meet: a run of blanks is one, and "doesn't",
 * "can't" and "cannot" are written in two words. Returns the new length. */
static size_t put(uint8_t *out, size_t n, uint8_t c) {
    if (c == ' ' && n && out[n - 1] == ' ')
        return n;
    if (c == 't' && n >= 4 && out[n - 1] == '\'' && out[n - 2] == 'n') { /* the n goes, but for "can't" */
        n -= out[n - 3] == 'a' && out[n - 4] == 'c' ? 1 : 2;
        memcpy(out + n, " no", 3);
        n += 3;
    } else if (c == 't' && n >= 5 && memcmp(out + n - 5, "canno", 5) == 0) {
        memcpy(out + n - 2, " no", 3);
        n++;
    }
    out[n++] = c;
    return n;
}

static uint8_t meta(char c) {
    switch (c) {
    case '*':
        return RMD_PATTERN_ANY;
    case '#':
        return RMD_PATTERN_DIGITS;
    case '~':
        return RMD_PATTERN_NEAR;
    case '^':
        return RMD_PATTERN_EDGE;
    case '?':
        return RMD_PATTERN_FEW;
    case '{':
        return RMD_PATTERN_ALT;
    case '|':
        return RMD_PATTERN_OR;
    case '}':
        return RMD_PATTERN_END;
    default:
        return 0;
    }
}

struct compiler {
    const struct rmd_map *sets;
    uint8_t prog[RMD_PATTERN_PROG_MAX + 8];
    size_t n;
    bool inside; /* of a brace */
    int depth;   /* of sets in sets */
};

/* Where a bare name in braces ends: "{box}"; 0 when it is no such thing. */
static size_t set_name(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return n && s[n] == '}' ? n : 0;
}

static const char *compile_text(struct compiler *c, const char *s);

static const char *compile_set(struct compiler *c, const char *name, size_t n) {
    const char *const *word = rmd_map_get(c->sets, rmd_slice(name, n));
    const char *why = NULL;
    if (!word)
        return "names a set of words that nothing defines";
    c->prog[c->n++] = RMD_PATTERN_ALT;
    c->inside = true;
    for (size_t i = 0; word[i] && !why; i++) {
        if (i)
            c->prog[c->n++] = RMD_PATTERN_OR;
        why = compile_text(c, word[i]);
    }
    c->inside = false;
    c->prog[c->n++] = RMD_PATTERN_END;
    return why;
}

static const char *compile_meta(struct compiler *c, uint8_t m) {
    if ((m == RMD_PATTERN_ANY || m == RMD_PATTERN_NEAR || m == RMD_PATTERN_ALT) && c->inside)
        return "has *, ~ or { inside braces";
    if ((m == RMD_PATTERN_OR || m == RMD_PATTERN_END) && !c->inside)
        return "has a | or } outside of braces";
    c->inside = m == RMD_PATTERN_ALT || (c->inside && m != RMD_PATTERN_END);
    c->prog[c->n++] = m;
    return NULL;
}

static const char *compile_text(struct compiler *c, const char *s) {
    const char *why = NULL;
    for (; *s && !why; s++) {
        if (c->n >= RMD_PATTERN_PROG_MAX)
            return "is too long, with all its words";
        size_t name = *s == '{' ? set_name(s + 1) : 0;
        if (name && !c->inside) {
            why = compile_set(c, s + 1, name);
            s += name + 1;
        } else if (meta(*s)) {
            why = compile_meta(c, meta(*s));
        } else {
            if (*s == '\\' && !(s[1] == '\\' || (s[1] && meta(s[1]))))
                return "has a backslash that is not before *, #, ~, ^, ?, {, |, } or a backslash";
            s += *s == '\\';
            c->n = put(c->prog, c->n, is_blank((uint8_t)*s) ? ' ' : (uint8_t)rmd_lower(*s));
        }
    }
    return why;
}

/* The longest run of plain text in prog[from..to). */
static size_t longest(const uint8_t *prog, size_t from, size_t to, size_t *at) {
    size_t best = 0, start = from;
    for (size_t i = from; i <= to; i++) {
        if (i < to && prog[i] > RMD_PATTERN_LAST)
            continue;
        if (i - start > best) {
            best = i - start;
            *at = start;
        }
        start = i + 1;
    }
    return best;
}

static size_t piece_end(const struct rmd_pattern *p, size_t i) {
    while (i < p->n && p->prog[i] != RMD_PATTERN_ANY && p->prog[i] != RMD_PATTERN_NEAR)
        i++;
    return i;
}

static size_t alt_end(const uint8_t *prog, size_t i) {
    while (prog[i] != RMD_PATTERN_OR && prog[i] != RMD_PATTERN_END)
        i++;
    return i;
}

static size_t brace_end(const uint8_t *prog, size_t i) {
    while (prog[i] != RMD_PATTERN_END)
        i++;
    return i;
}

/* Which bytes a piece may begin with: most places of a text are out of the question at once. */
static void first_bytes(const uint8_t *prog, size_t i, size_t end, uint8_t first[32]) {
    while (i < end && prog[i] == RMD_PATTERN_EDGE)
        i++;
    bool brace = i < end && prog[i] == RMD_PATTERN_ALT;
    size_t close = brace ? brace_end(prog, i) : i;
    for (size_t k = brace ? i + 1 : i; k <= close; k = brace ? alt_end(prog, k) + 1 : close + 1) {
        uint8_t c = k < end ? prog[k] : 0;
        if (c <= RMD_PATTERN_LAST) { /* digits, an edge, an empty alternative, ...: anything */
            memset(first, 0xff, 32);
            return;
        }
        rmd_bit_set(first, c);
    }
}

static void find_first_bytes(struct rmd_arena *arena, struct rmd_pattern *p) {
    size_t pieces = 0, piece = 0;
    for (size_t i = 0; i < p->n; i = piece_end(p, i) + 1)
        pieces++;
    uint8_t *first = rmd_arena_alloc(arena, 32 * (pieces + 1));
    for (size_t i = 0; i < p->n; i = piece_end(p, i) + 1)
        first_bytes(p->prog, i, piece_end(p, i), first + 32 * piece++);
    p->first = first;
}

/* What a text must hold for a pattern to match: a text, or one of the alternatives of a brace. The two longest are kept, of
 * different elements: few texts hold both and don't match. */
static void choose_keys(struct rmd_pattern *p) {
    for (size_t i = 0; i < p->n;) {
        struct rmd_pattern_key k = {.at = (uint16_t)i, .brace = p->prog[i] == RMD_PATTERN_ALT};
        size_t end = i, n = KEY_MAX, at = i;
        if (k.brace) {
            end = brace_end(p->prog, i);
            for (size_t a = i + 1; a <= end; a = alt_end(p->prog, a) + 1) {
                size_t of_alt = longest(p->prog, a, alt_end(p->prog, a), &at);
                n = of_alt < n ? of_alt : n;
            }
            k.n = (uint16_t)(n - (n > 0)); /* a single text is the better key */
            end++;
        } else {
            while (end < p->n && p->prog[end] != RMD_PATTERN_ALT)
                end++;
            n = longest(p->prog, i, end, &at);
            k.at = (uint16_t)at;
            k.n = (uint16_t)(n > KEY_MAX ? KEY_MAX : n == 1 ? 0 : n); /* the blank between braces is in every text */
        }
        int to = k.n > p->key[0].n ? 0 : k.n > p->key[1].n ? 1 : 2;
        if (to == 0)
            p->key[1] = p->key[0];
        if (to < 2)
            p->key[to] = k;
        i = end;
    }
}

const char *rmd_pattern_compile(struct rmd_arena *arena, const struct rmd_map *sets, const char *text,
                                struct rmd_pattern *out) {
    struct compiler c = {.sets = sets};
    if (strlen(text) > RMD_RULE_PATTERN_BYTES_MAX)
        return "is longer than 1024 bytes";
    const char *why = compile_text(&c, text);
    size_t n = c.n;
    if (!why && c.inside)
        why = "has a { without its }";
    if (why)
        return why;
    if (n && (c.prog[0] == RMD_PATTERN_ANY || c.prog[0] == RMD_PATTERN_NEAR || c.prog[n - 1] == RMD_PATTERN_ANY ||
              c.prog[n - 1] == RMD_PATTERN_NEAR))
        return "has a * or ~ at an end, where it means nothing";
    *out = (struct rmd_pattern){.prog = rmd_arena_dup(arena, c.prog, n ? n : 1), .n = (uint16_t)n};
    choose_keys(out);
    find_first_bytes(arena, out);
    if (out->key[0].n + out->key[0].brace < 3)
        return "has no run of three characters that must occur";
    if (c.prog[n - 1] == '.' || (n > 1 && c.prog[n - 1] == ' ' && c.prog[n - 2] == '.'))
        return "ends with a dot, which receivers add and drop";
    return NULL;
}

/* Writes prog[i..] into text behind n bytes, alternatives one after the other. */
static bool write_out(const struct rmd_pattern *p, size_t i, uint8_t *text, size_t n, struct rmd_expansion *x) {
    while (i < p->n && p->prog[i] != RMD_PATTERN_ALT)
        text[n++] = p->prog[i++];
    if (i == p->n)
        return ++x->n <= x->max && x->fn(x->ctx, text, n);
    size_t end = brace_end(p->prog, i);
    for (size_t k = i + 1; k <= end;) {
        size_t stop = alt_end(p->prog, k);
        memcpy(text + n, p->prog + k, stop - k);
        if (!write_out(p, end + 1, text, n + stop - k, x))
            return false;
        k = stop + 1;
    }
    return true;
}

bool rmd_pattern_expand(const struct rmd_pattern *p, struct rmd_expansion *x) {
    uint8_t text[RMD_PATTERN_PROG_MAX + 8];
    return write_out(p, 0, text, 0, x);
}

/* ---------------------------------------------------------------- matching */

#define NO_MATCH SIZE_MAX

static bool is_word(uint8_t c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || c >= 0x80;
}

/* Texts have a blank at both ends, so a word's edge is never an end of the text; patterns that are held against
 * patterns have none. */
static size_t match_one(uint8_t c, const uint8_t *text, size_t at, size_t text_n) {
    if (c == RMD_PATTERN_EDGE)
        return at == 0 || at >= text_n || (is_word(text[at - 1]) && is_word(text[at])) ? NO_MATCH : at;
    if (c == RMD_PATTERN_DIGITS) {
        size_t from = at;
        while (at < text_n && (is_digit(text[at]) || text[at] == RMD_PATTERN_DIGITS))
            at++;
        return at == from ? NO_MATCH : at;
    }
    return at < text_n && text[at] == c ? at + 1 : NO_MATCH;
}

struct place {
    const uint8_t *prog;
    const uint8_t *text;
    size_t text_n;
};

/* Matches prog[i..end) and then prog[next..stop) at text + at: where it ends, or NO_MATCH. The first alternative, and
 * the fewest bytes for "?", with which the rest matches are taken. */
static size_t match_seq(const struct place *m, size_t i, size_t end, size_t next, size_t stop, size_t at) {
    for (;; i++) {
        if (i == end) { /* of an alternative: on behind its brace; or of all */
            if (next == stop)
                return at;
            i = next;
            end = next = stop;
        }
        uint8_t c = m->prog[i];
        if (c == RMD_PATTERN_FEW) {
            for (size_t k = 0; k <= FEW_BYTES && at + k <= m->text_n; k++) {
                size_t after = match_seq(m, i + 1, end, next, stop, at + k);
                if (after != NO_MATCH)
                    return after;
            }
            return NO_MATCH;
        }
        if (c == RMD_PATTERN_ALT) {
            size_t close = brace_end(m->prog, i);
            for (size_t k = i + 1; k <= close; k = alt_end(m->prog, k) + 1) {
                if (m->prog[k] > RMD_PATTERN_LAST && (at >= m->text_n || m->text[at] != m->prog[k]))
                    continue;
                size_t after = match_seq(m, k, alt_end(m->prog, k), close + 1, end, at);
                if (after != NO_MATCH)
                    return after;
            }
            return NO_MATCH;
        }
        at = match_one(c, m->text, at, m->text_n);
        if (at == NO_MATCH)
            return at;
    }
}

/* Matches prog[i..end), a piece, at text + at. */
static size_t match_at(const uint8_t *prog, size_t i, size_t end, const uint8_t *text, size_t at, size_t text_n) {
    struct place m = {.prog = prog, .text = text, .text_n = text_n};
    return match_seq(&m, i, end, end, end, at);
}

/* The last place that "~" reaches. A pattern that stands for a text may skip any length itself: no further than that.
 */
static size_t near_limit(const uint8_t *text, size_t n, size_t at) {
    size_t limit = at + NEAR_BYTES > n ? n : at + NEAR_BYTES;
    while (at < limit && text[at] > RMD_PATTERN_LAST)
        at++;
    return at;
}

/* The places where the next piece may begin are kept as a range after each match of the one before, so that no choice
 * is ever taken back: [from, to] of all of them, and in between those that are reached. */
static bool matches_near(const struct rmd_pattern *p, const uint8_t *text, size_t n) {
    uint8_t may[RMD_SUBJECT_BYTES / 8 + 1], next[RMD_SUBJECT_BYTES / 8 + 1];
    size_t low = 0, high = n, piece = 0; /* low to high: places to try */
    assert(n < RMD_SUBJECT_BYTES);
    memset(may, 0xff, rmd_bit_bytes(n + 1));
    for (size_t i = 0, end; i < p->n; i = end + 1) {
        end = piece_end(p, i);
        size_t next_low = n + 1, next_high = 0, done = 0;
        const uint8_t *first = p->first + 32 * piece++;
        memset(next, 0, rmd_bit_bytes(n + 1));
        for (size_t at = low; at <= high && at < n; at++) {
            if (!rmd_bit_get(first, text[at]) || !rmd_bit_get(may, at))
                continue;
            size_t after = match_at(p->prog, i, end, text, at, n);
            if (after == NO_MATCH)
                continue;
            if (end >= p->n)
                return true;
            size_t limit = p->prog[end] == RMD_PATTERN_ANY ? n : near_limit(text, n, after);
            for (size_t k = after > done ? after : done; k <= limit; k++)
                rmd_bit_set(next, k);
            done = limit + 1 > done ? limit + 1 : done;
            next_low = after < next_low ? after : next_low;
            next_high = limit > next_high ? limit : next_high;
        }
        memcpy(may, next, rmd_bit_bytes(n + 1));
        low = next_low;
        high = next_high;
        if (low > high)
            return false;
    }
    return false;
}

/* The pieces between "any text" are found one after the other, each as early as possible: that finds a match if there
 * is one. */
bool rmd_pattern_matches(const struct rmd_pattern *p, const uint8_t *text, size_t n) {
    if (memchr(p->prog, RMD_PATTERN_NEAR, p->n))
        return matches_near(p, text, n);
    size_t at = 0;
    const uint8_t *first = p->first;
    for (size_t i = 0; i < p->n; first += 32) {
        size_t end = piece_end(p, i), after = NO_MATCH;
        for (; at < n && after == NO_MATCH; at++)
            if (rmd_bit_get(first, text[at]))
                after = match_at(p->prog, i, end, text, at, n);
        if (after == NO_MATCH)
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
            if (n - at >= 3 && memcmp(p + at, "\xe2\x80\x99", 3) == 0) { /* a typographic apostrophe */
                c = '\'';
                at += 2;
            }
            s->n = put(s->text, s->n, c);
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

/* Calls fn for each text of a key. */
static void each_text(const struct rmd_pattern *p, const struct rmd_pattern_key *k,
                      void (*fn)(void *ctx, const uint8_t *key, size_t n), void *ctx) {
    if (!k->brace) {
        fn(ctx, p->prog + k->at, k->n);
        return;
    }
    size_t end = brace_end(p->prog, k->at);
    for (size_t a = k->at + 1u; a <= end; a = alt_end(p->prog, a) + 1) {
        size_t at = a, n = longest(p->prog, a, alt_end(p->prog, a), &at);
        fn(ctx, p->prog + at, n > KEY_MAX ? KEY_MAX : n);
    }
}

struct building {
    struct rmd_pattern_index *x;
    size_t bytes, keys;
    uint32_t entry; /* 2 x pattern + which key */
};

static void measure(void *ctx, const uint8_t *key, size_t n) {
    struct building *b = ctx;
    b->bytes += n;
    b->keys++;
    for (size_t k = 0; k < n; k++) {
        uint8_t *column = &b->x->column[key[k]];
        if (!*column)
            *column = (uint8_t)b->x->columns++; /* fewer than 256: the bytes of wildcards occur in no key */
    }
}

static void enter(void *ctx, const uint8_t *key, size_t n) {
    struct building *b = ctx;
    struct rmd_pattern_index *x = b->x;
    uint32_t state = add_key(x, key, n), e = (uint32_t)++b->keys; /* entries count from 1, so that 0 ends a list */
    x->out[e] = b->entry;
    x->out_more[e] = x->first[state];
    x->first[state] = e;
}

static void each_key(const struct rmd_pattern *patterns, uint32_t n, struct building *b,
                     void (*fn)(void *ctx, const uint8_t *key, size_t n)) {
    for (b->entry = 0; b->entry < 2 * n; b->entry++) {
        const struct rmd_pattern *p = &patterns[b->entry / 2];
        if (p->key[b->entry % 2].n)
            each_text(p, &p->key[b->entry % 2], fn, b);
    }
}

void rmd_pattern_index_build(struct rmd_pattern_index *x, const struct rmd_pattern *patterns, uint32_t n) {
    struct building b = {.x = x};
    memset(x, 0, sizeof *x);
    x->columns = 1;
    each_key(patterns, n, &b, measure);
    x->next = rmd_alloc((b.bytes + 1) * x->columns * sizeof *x->next);
    x->first = rmd_alloc((b.bytes + 1) * sizeof *x->first);
    x->suffix = rmd_alloc((b.bytes + 1) * sizeof *x->suffix);
    x->out = rmd_alloc((b.keys + 1) * sizeof *x->out);
    x->out_more = rmd_alloc((b.keys + 1) * sizeof *x->out_more);
    x->states = 1;
    b.keys = 0;
    each_key(patterns, n, &b, enter);
    complete(x);
}

void rmd_pattern_index_release(struct rmd_pattern_index *x) {
    free(x->next);
    free(x->first);
    free(x->suffix);
    free(x->out);
    free(x->out_more);
    memset(x, 0, sizeof *x);
}

void rmd_pattern_index_walk(const struct rmd_pattern_index *x, const uint8_t *text, size_t n,
                            void (*fn)(void *ctx, uint32_t entry), void *ctx) {
    uint32_t state = 0;
    for (size_t i = 0; i < n; i++) {
        state = x->next[(size_t)state * x->columns + x->column[text[i]]];
        for (uint32_t s = x->first[state] ? state : x->suffix[state]; s; s = x->suffix[s])
            for (uint32_t e = x->first[s]; e; e = x->out_more[e])
                fn(ctx, x->out[e]);
    }
}
