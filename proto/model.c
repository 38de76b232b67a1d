/* The learned model: tokens, weights, answers (see model.h). */
#include "proto/model.h"

#include <assert.h>

#include <base/text.h>

#include "proto/rules_internal.h"

/* ---------------------------------------------------------------- tokens */

static bool is_letter(uint8_t c) {
    return (c >= 'a' && c <= 'z') || c >= 0x80;
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

/* Endings that tell no two meanings apart: "listed", "listing" and "lists" are one word. */
static size_t stem(const uint8_t *w, size_t n) {
    static const char *const ends[] = {"ings", "ing", "ed", "es", "s"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n >= m + 3 && memcmp(w + n - m, ends[i], m) == 0 && !(m == 1 && w[n - 2] == 's'))
            return n - m;
    }
    return n > 4 && w[n - 1] == 'e' ? n - 1 : n; /* "refuse" as "refused" */
}

/* What a run without blanks is, when it isn't made of words: an address, a host, ... */
static const char *shape(const uint8_t *p, size_t n) {
    size_t digits = 0, dots = 0, colons = 0;
    if (memchr(p, '@', n))
        return "<address>";
    if (n > 7 && (memcmp(p, "http:", 5) == 0 || memcmp(p, "https:", 6) == 0 || memcmp(p, "www.", 4) == 0))
        return "<url>";
    for (size_t i = 0; i < n; i++) {
        digits += is_digit(p[i]);
        dots += p[i] == '.';
        colons += p[i] == ':';
    }
    if ((dots == 3 && digits >= 4 && digits + dots == n) || (colons > 2 && digits + colons > n / 2))
        return "<ip>";
    for (size_t i = 1; i + 1 < n; i++)
        if (p[i] == '.' && is_letter(p[i + 1]) && (is_letter(p[i - 1]) || is_digit(p[i - 1])))
            return "<host>";
    return NULL;
}

/* Words, as stems, that stand between others and mean little: not read, so that "mailbox is full" and "mailbox full" are the same pair.
 * Sorted. */
static const char *const fillers[] = {
    "<host>", "<url>", "a",    "an",   "and",  "are",   "as",   "at",   "be",    "been", "by",   "contact",
    "did",    "do",    "does", "for",  "from", "had",   "has",  "have", "http",  "i",    "in",   "inform",
    "is",     "it",    "its",  "more", "of",   "on",    "or",   "our",  "pleas", "see",  "that", "the",
    "this",   "to",    "was",  "we",   "were", "which", "will", "with", "www",   "you",  "your"};

static int by_name(const void *key, const void *element) {
    const struct rmd_slice *w = key;
    const char *name = *(const char *const *)element;
    int order = strncmp((const char *)w->p, name, w->n);
    return order ? order : name[w->n] ? -1 : 0;
}

static bool is_filler(const uint8_t *w, size_t n) {
    struct rmd_slice key = rmd_slice(w, n);
    return n < 8 && bsearch(&key, fillers, sizeof fillers / sizeof *fillers, sizeof *fillers, by_name);
}

enum { LONG_WORD_MAX = 200 };

struct emitter {
    void (*fn)(void *ctx, const char *token);
    void *ctx;
    char last[RMD_MODEL_TOKEN_MAX / 2];
    int words;
};

/* Where the character after the one at `at` begins, in UTF-8 or whatever it is. */
static size_t next_character(const uint8_t *w, size_t n, size_t at) {
    at++;
    while (at < n && (w[at] & 0xc0) == 0x80)
        at++;
    return at;
}

/* Each three characters in a row, with "_" for the word's edges: "g:_fu", "g:ful", "g:ull", "g:ll_". They know inflections, compounds and
 * what languages share. */
static void emit_grams(struct emitter *e, const uint8_t *word, size_t n) {
    uint8_t w[LONG_WORD_MAX + 2];
    char token[2 + 3 * 4 + 1] = "g:";
    w[0] = w[n + 1] = '_';
    memcpy(w + 1, word, n);
    n += 2;
    size_t from = 0, second = 1, third = next_character(w, n, 1);
    while (third < n) {
        size_t end = next_character(w, n, third), bytes = end - from;
        if (bytes < sizeof token - 2) {
            memcpy(token + 2, w + from, bytes);
            token[2 + bytes] = 0;
            e->fn(e->ctx, token);
        }
        from = second;
        second = third;
        third = end;
    }
}

static void emit_word(struct emitter *e, const uint8_t *w, size_t n) {
    char token[RMD_MODEL_TOKEN_MAX];
    if (n == 0 || n > LONG_WORD_MAX || e->words == RMD_MODEL_WORDS_MAX || is_filler(w, n))
        return;
    if (n >= sizeof e->last) { /* an identifier; or a sentence of a script without blanks */
        if (*w >= 0x80)
            emit_grams(e, w, n);
        return;
    }
    e->words++;
    rmd_format(token, sizeof token, "w:%.*s", (int)n, (const char *)w);
    e->fn(e->ctx, token);
    if (is_letter(*w))
        emit_grams(e, w, n);
    if (e->last[0]) {
        rmd_format(token, sizeof token, "b:%s %.*s", e->last, (int)n, (const char *)w);
        e->fn(e->ctx, token);
    }
    rmd_copy_slice(e->last, sizeof e->last, rmd_slice(w, n));
}

static void emit_run(struct emitter *e, const uint8_t *p, size_t n) {
    while (n && !is_letter(*p) && !is_digit(*p)) { /* brackets, quotes */
        p++;
        n--;
    }
    while (n && !is_letter(p[n - 1]) && !is_digit(p[n - 1]))
        n--;
    const char *kind = n ? shape(p, n) : NULL;
    if (kind) {
        emit_word(e, (const uint8_t *)kind, strlen(kind));
        return;
    }
    for (size_t i = 0; i < n;) {
        size_t from = i;
        bool digits = false;
        for (; i < n && (is_letter(p[i]) || is_digit(p[i])); i++)
            digits |= is_digit(p[i]);
        if (i > from && !digits)
            emit_word(e, p + from, stem(p + from, i - from));
        else if (i > from && i - from <= 4)
            emit_word(e, (const uint8_t *)"#", 1);
        i += i == from;
    }
}

void rmd_model_tokens(const struct rmd_subject *s, void (*fn)(void *ctx, const char *token), void *ctx) {
    struct emitter e = {.fn = fn, .ctx = ctx};
    char token[RMD_MODEL_TOKEN_MAX];
    rmd_format(token, sizeof token, "c:%d", s->code);
    fn(ctx, token);
    rmd_format(token, sizeof token, "c:%dxx", s->code / 100);
    fn(ctx, token);
    if (s->enhanced[0]) {
        rmd_format(token, sizeof token, "e:%d.%d", s->enhanced[1], s->enhanced[2]);
        fn(ctx, token);
        rmd_format(token, sizeof token, "e:%d", s->enhanced[1]);
        fn(ctx, token);
    }
    for (size_t i = 0; i < s->n;) {
        size_t from = i;
        while (i < s->n && s->text[i] != ' ')
            i++;
        emit_run(&e, s->text + from, i - from);
        i++;
    }
}

/* ---------------------------------------------------------------- reading */

struct weight {
    uint8_t class; /* index into rmd_model.class */
    int16_t hundredths;
};

struct token {
    const char *text;
    uint32_t first, n; /* weights */
    uint32_t number;
};

struct rmd_model {
    struct rmd_arena arena;
    struct rmd_map tokens;
    enum rmd_class class[RMD_CLASS_COUNT];
    size_t classes;
    int margin, costly;
    uint32_t n_tokens;
    struct weight *weight;
    size_t n_weights, cap;
};

struct reader {
    struct rmd_model *m;
    const char *name;
    int line;
    struct rmd_buf *err;
};

static bool wrong(struct reader *r, const char *what) {
    rmd_buf_addf(r->err, "%s:%d: %s\n", r->name, r->line, what);
    return false;
}

/* The next piece up to a blank or tab. */
static struct rmd_slice word(struct rmd_slice *s) {
    size_t at = 0, from;
    while (at < s->n && (s->p[at] == ' ' || s->p[at] == '\t'))
        at++;
    from = at;
    while (at < s->n && s->p[at] != ' ' && s->p[at] != '\t')
        at++;
    struct rmd_slice w = rmd_slice(s->p + from, at - from);
    *s = rmd_slice(s->p + at, s->n - at);
    return w;
}

static bool read_classes(struct reader *r, struct rmd_slice rest) {
    for (struct rmd_slice w = word(&rest); w.n; w = word(&rest)) {
        int class = rmd_class_parse(w);
        if (class < 0 || r->m->classes == RMD_CLASS_COUNT)
            return wrong(r, "an unknown class, or too many");
        r->m->class[r->m->classes++] = (enum rmd_class) class;
    }
    return r->m->classes > 1 ? true : wrong(r, "fewer than two classes");
}

static bool read_weight(struct reader *r, struct rmd_slice w) {
    struct rmd_model *m = r->m;
    const uint8_t *colon = memchr(w.p, ':', w.n);
    uint64_t class, value;
    bool minus = colon && colon + 1 < w.p + w.n && colon[1] == '-';
    if (!colon || rmd_parse_u64(rmd_slice(w.p, (size_t)(colon - w.p)), &class) < 0 || class >= m->classes)
        return wrong(r, "a weight is CLASS:WEIGHT, with the number of a class");
    const uint8_t *from = colon + 1 + minus;
    if (rmd_parse_u64(rmd_slice(from, (size_t)(w.p + w.n - from)), &value) < 0 || value > 10000)
        return wrong(r, "a weight is a whole number of at most 10000");
    if (m->n_weights == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 4096;
        m->weight = rmd_realloc(m->weight, m->cap * sizeof *m->weight);
    }
    m->weight[m->n_weights++] =
        (struct weight){.class = (uint8_t) class, .hundredths = (int16_t)(minus ? -(int)value : (int)value)};
    return true;
}

static bool read_token(struct reader *r, struct rmd_slice line) {
    struct rmd_model *m = r->m;
    const uint8_t *tab = memchr(line.p, '\t', line.n);
    size_t n = tab ? (size_t)(tab - line.p) : 0;
    if (n < 3 || n >= RMD_MODEL_TOKEN_MAX || line.p[1] != ':' || !strchr("wbgce", line.p[0]))
        return wrong(r, "expected a token, a tab and weights");
    if (m->n_tokens == RMD_MODEL_TOKENS_MAX)
        return wrong(r, "too many tokens");
    struct token *t = rmd_arena_alloc(&m->arena, sizeof *t);
    *t = (struct token){.text = rmd_arena_str(&m->arena, rmd_slice(line.p, n)),
                        .first = (uint32_t)m->n_weights,
                        .number = m->n_tokens++};
    if (rmd_map_set(&m->tokens, rmd_slice(line.p, n), t))
        return wrong(r, "a token that was there before");
    struct rmd_slice rest = rmd_slice(tab, line.n - n);
    for (struct rmd_slice w = word(&rest); w.n; w = word(&rest), t->n++)
        if (!read_weight(r, w))
            return false;
    return t->n ? true : wrong(r, "a token without weights");
}

static bool read_lead(struct reader *r, struct rmd_slice rest, int *lead) {
    uint64_t hundredths;
    if (rmd_parse_u64(word(&rest), &hundredths) < 0 || hundredths > 100000)
        return wrong(r, "a lead is a whole number of hundredths");
    *lead = (int)hundredths;
    return true;
}

static bool read_line(struct reader *r, struct rmd_slice line) {
    struct rmd_slice rest = line;
    struct rmd_slice first = word(&rest);
    if (r->line == 1)
        return rmd_slice_eq(line, rmd_slice_str("remuda-model 1")) ? true : wrong(r, "expected \"remuda-model 1\"");
    if (rmd_slice_eq(first, rmd_slice_str("margin")))
        return read_lead(r, rest, &r->m->margin);
    if (rmd_slice_eq(first, rmd_slice_str("costly")))
        return read_lead(r, rest, &r->m->costly);
    if (rmd_slice_eq(first, rmd_slice_str("class")))
        return read_classes(r, rest);
    return r->m->classes ? read_token(r, line) : wrong(r, "expected the classes first");
}

struct rmd_model *rmd_model_parse(struct rmd_slice text, const char *name, struct rmd_buf *err) {
    struct rmd_model *m = rmd_alloc(sizeof *m);
    struct reader r = {.m = m, .name = name, .err = err};
    bool ok = text.n && text.n <= RMD_MODEL_BYTES_MAX ? true : wrong(&r, "is empty, or larger than 1 MiB");
    for (size_t at = 0; ok && at < text.n;) {
        const uint8_t *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        r.line++;
        ok = read_line(&r, rmd_slice(text.p + at, n));
        at += n + 1;
    }
    if (ok && !m->n_tokens)
        ok = wrong(&r, "no tokens");
    if (ok)
        return m;
    rmd_model_free(m);
    return NULL;
}

void rmd_model_free(struct rmd_model *m) {
    if (!m)
        return;
    rmd_map_release(&m->tokens);
    rmd_arena_release(&m->arena);
    free(m->weight);
    free(m);
}

/* ---------------------------------------------------------------- answers */

enum {
    KNOWN_MAX = RMD_MODEL_WORDS_MAX * (2 + RMD_MODEL_TOKEN_MAX / 2) + 8,
    KNOWN_MIN = 5, /* words, pairs and parts of words that an answer needs */
};

struct asking {
    const struct rmd_model *m;
    uint8_t seen[RMD_MODEL_TOKENS_MAX / 8 + 1]; /* each token counts once */
    const struct token *known[KNOWN_MAX];
    int n, words;
    int sum[RMD_CLASS_COUNT];
};

static void look_up(void *ctx, const char *text) {
    struct asking *a = ctx;
    const struct token *t = rmd_map_get_str(&a->m->tokens, text);
    if (!t || a->n == KNOWN_MAX || rmd_bit_get(a->seen, t->number))
        return;
    rmd_bit_set(a->seen, t->number);
    a->known[a->n++] = t;
    a->words += strchr("wbg", t->text[0]) != NULL;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct weight *w = &a->m->weight[t->first + i];
        a->sum[w->class] += w->hundredths;
    }
}

/* To take one for the other costs recipients, or mail: these must be told apart clearly. */
static const struct {
    enum rmd_class answer, instead_of;
} costly[] = {
    {RMD_CLASS_IP_BLOCKLISTED, RMD_CLASS_RATE_LIMITED}, {RMD_CLASS_RATE_LIMITED, RMD_CLASS_IP_BLOCKLISTED},
    {RMD_CLASS_USER_UNKNOWN, RMD_CLASS_IP_BLOCKLISTED}, {RMD_CLASS_USER_UNKNOWN, RMD_CLASS_DOMAIN_BLOCKLISTED},
    {RMD_CLASS_USER_UNKNOWN, RMD_CLASS_SPAM_CONTENT},   {RMD_CLASS_USER_UNKNOWN, RMD_CLASS_AUTH_FAILED},
};

static bool could_cost(const struct asking *a, size_t best) {
    const struct rmd_model *m = a->m;
    for (size_t i = 0; i < m->classes; i++)
        for (size_t k = 0; k < sizeof costly / sizeof *costly; k++)
            if (m->class[best] == costly[k].answer && m->class[i] == costly[k].instead_of &&
                a->sum[best] - a->sum[i] < m->costly)
                return true;
    return false;
}

static int weight_of(const struct rmd_model *m, const struct token *t, size_t class) {
    for (uint32_t i = 0; i < t->n; i++)
        if (m->weight[t->first + i].class == class)
            return m->weight[t->first + i].hundredths;
    return 0;
}

/* The tokens by which the best class leads the second one, greatest first. */
static void give_reasons(const struct asking *a, size_t best, size_t second, struct rmd_model_answer *out) {
    for (int i = 0; i < a->n; i++) {
        int w = weight_of(a->m, a->known[i], best) - weight_of(a->m, a->known[i], second);
        int at = out->n_reasons;
        while (at > 0 && out->reason[at - 1].weight < w)
            at--;
        if (w <= 0 || at == RMD_MODEL_REASONS)
            continue;
        if (out->n_reasons < RMD_MODEL_REASONS)
            out->n_reasons++;
        memmove(&out->reason[at + 1], &out->reason[at], sizeof out->reason[0] * (size_t)(out->n_reasons - 1 - at));
        out->reason[at].token = a->known[i]->text;
        out->reason[at].weight = w;
    }
}

bool rmd_model_ask(const struct rmd_model *m, const struct rmd_subject *s, struct rmd_model_answer *out) {
    struct asking a;
    a.m = m;
    a.n = a.words = 0;
    memset(a.sum, 0, sizeof a.sum);
    memset(a.seen, 0, m->n_tokens / 8 + 1);
    rmd_model_tokens(s, look_up, &a);
    size_t best = 0, second = 1;
    if (a.sum[1] > a.sum[0]) {
        best = 1;
        second = 0;
    }
    for (size_t i = 2; i < m->classes; i++) {
        if (a.sum[i] > a.sum[best]) {
            second = best;
            best = i;
        } else if (a.sum[i] > a.sum[second]) {
            second = i;
        }
    }
    *out = (struct rmd_model_answer){.class = m->class[best], .margin = a.sum[best] - a.sum[second]};
    if (a.words < KNOWN_MIN || out->margin < m->margin || could_cost(&a, best))
        return false;
    give_reasons(&a, best, second, out);
    return true;
}

/* ---------------------------------------------------------------- what is done */

enum { MINUTE_MS = 60 * 1000 };

static const struct {
    enum rmd_class class;
    unsigned scope;
    enum rmd_action action;
    int64_t duration_ms;
} rows[] = {
    /* clang-format off */
    {RMD_CLASS_USER_UNKNOWN,       RMD_SCOPE_RECIPIENT,      RMD_ACTION_FAIL,       0},
    {RMD_CLASS_MAILBOX_DISABLED,   RMD_SCOPE_RECIPIENT,      RMD_ACTION_FAIL,       0},
    {RMD_CLASS_MAILBOX_FULL,       RMD_SCOPE_RECIPIENT,      RMD_ACTION_RETRY,      0},
    {RMD_CLASS_NO_SUCH_DOMAIN,     RMD_SCOPE_DESTINATION,    RMD_ACTION_FAIL,       0},
    {RMD_CLASS_RATE_LIMITED,       RMD_SCOPE_LANE,           RMD_ACTION_SLOW,       30 * MINUTE_MS},
    {RMD_CLASS_IP_BLOCKLISTED,     RMD_SCOPE_LANE,           RMD_ACTION_REST,       60 * MINUTE_MS},
    {RMD_CLASS_DOMAIN_BLOCKLISTED, RMD_SCOPE_SENDING_DOMAIN, RMD_ACTION_FAIL,       0},
    {RMD_CLASS_SPAM_CONTENT,       RMD_SCOPE_MESSAGE,        RMD_ACTION_FAIL,       0},
    {RMD_CLASS_BAD_MESSAGE,        RMD_SCOPE_MESSAGE,        RMD_ACTION_FAIL,       0},
    {RMD_CLASS_VIRUS,              RMD_SCOPE_MESSAGE,        RMD_ACTION_FAIL,       0},
    {RMD_CLASS_AUTH_FAILED,        RMD_SCOPE_SENDING_DOMAIN, RMD_ACTION_FAIL,       0},
    {RMD_CLASS_NO_RDNS,            RMD_SCOPE_LANE,           RMD_ACTION_REST,       60 * MINUTE_MS},
    {RMD_CLASS_SENDER_INVALID,     RMD_SCOPE_SENDING_DOMAIN, RMD_ACTION_FAIL,       0},
    {RMD_CLASS_GREYLISTED,         RMD_SCOPE_RECIPIENT,      RMD_ACTION_RETRY_SAME, 5 * MINUTE_MS},
    {RMD_CLASS_RELAY_DENIED,       RMD_SCOPE_DESTINATION,    RMD_ACTION_FAIL,       0},
    {RMD_CLASS_TLS_REQUIRED,       RMD_SCOPE_DESTINATION,    RMD_ACTION_NEXT_MX,    0},
    {RMD_CLASS_MESSAGE_TOO_BIG,    RMD_SCOPE_MESSAGE,        RMD_ACTION_FAIL,       0},
    {RMD_CLASS_PROTOCOL_ERROR,     RMD_SCOPE_OURSELVES,      RMD_ACTION_FAIL,       0},
    {RMD_CLASS_SERVER_BUSY,        RMD_SCOPE_DESTINATION,    RMD_ACTION_NEXT_MX,    0},
    {RMD_CLASS_NETWORK,            RMD_SCOPE_DESTINATION,    RMD_ACTION_NEXT_MX,    0},
    {RMD_CLASS_EXPIRED,            RMD_SCOPE_RECIPIENT,      RMD_ACTION_FAIL,       0},
    /* clang-format on */
};

void rmd_model_verdict(enum rmd_class class, int code, enum rmd_stage stage, struct rmd_verdict *out) {
    *out = (struct rmd_verdict){.class = class,
                                .scope = RMD_SCOPE_RECIPIENT,
                                .action = RMD_ACTION_FAIL,
                                .at_provider = true,
                                .rule = "model"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].class == class) {
            out->scope = rows[i].scope;
            out->action = rows[i].action;
            out->duration_ms = rows[i].duration_ms;
        }
    bool ours = out->action == RMD_ACTION_SLOW || out->action == RMD_ACTION_REST;
    out->permanent = !ours && code >= 500 && !rmd_stage_before_mail(stage);
    rmd_verdict_settle(out);
}
