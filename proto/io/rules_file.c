/* Verdict rules: text into a compiled set (see rules_file.h).
 *
 * The text becomes a tree whose nodes know their lines (ucl.h); a rule of the tree becomes a struct rmd_rule_def,
 * whose strings are the tree's, and rmd_rules_add() copies what it keeps. Findings don't stop the reading: an author
 * wants all of them. */
#include "proto/io/rules_file.h"

#include <assert.h>
#include <stdio.h>

#include <base/text.h>

#include "proto/io/ucl.h"
#include "proto/model.h"

#define EMBED(name, path)                                \
    __asm__(".pushsection .rodata\n"                     \
            ".balign 8\n"                                \
            ".global " #name "\n"                        \
            ".type " #name ", @object\n" #name ":\n"     \
            ".incbin \"" path "\"\n"                     \
            ".L" #name "_end:\n"                         \
            ".byte 0\n"                                  \
            ".size " #name ", . - " #name "\n"           \
            ".balign 8\n"                                \
            ".global " #name "_n\n"                      \
            ".type " #name "_n, @object\n" #name "_n:\n" \
            ".quad .L" #name "_end - " #name "\n"        \
            ".size " #name "_n, 8\n"                     \
            ".popsection\n")

EMBED(rmd_verdicts_shipped, "proto/rules/verdicts.conf");
EMBED(rmd_model_shipped, "proto/rules/words.model");

struct named_verdict {
    const struct rmd_ucl *node;
    const char *file;
    int layer;
    bool used;
};

struct reader {
    struct rmd_rules *rules;
    struct rmd_arena *arena;
    struct rmd_buf *err;
    const struct rmd_rules_known *known;
    const char *file;
    int layer;
    int findings;
    struct named_verdict verdict[RMD_RULES_FILE_VERDICTS_MAX];
    int n_verdict;
};

static void add_finding(struct reader *r, const char *text) {
    if (++r->findings <= RMD_RULES_FILE_FINDINGS_MAX)
        rmd_buf_addf(r->err, "%s\n", text);
}

static void RMD_PRINTF(3, 4) finding(struct reader *r, int line, const char *fmt, ...) {
    struct rmd_buf text = {0};
    rmd_buf_addf(&text, "%s:%d: ", r->file, line);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    add_finding(r, rmd_buf_str(&text));
    rmd_buf_release(&text);
}

/* ---------------------------------------------------------------- values */

static const char *text_of(struct reader *r, const struct rmd_ucl *node) {
    if (node->type == RMD_UCL_SCALAR)
        return node->text;
    finding(r, node->line, "%s is %s, where a value is expected", node->key ? node->key : "entry",
            rmd_ucl_type_text(node));
    return "";
}

static bool bool_of(struct reader *r, const struct rmd_ucl *node) {
    const char *s = text_of(r, node);
    if (strcmp(s, "true") == 0 || strcmp(s, "yes") == 0 || strcmp(s, "on") == 0)
        return true;
    if (strcmp(s, "false") != 0 && strcmp(s, "no") != 0 && strcmp(s, "off") != 0)
        finding(r, node->line, "%s is \"%s\", not true or false", node->key, s);
    return false;
}

/* A value, or a list of values. */
static const char *const *list_of(struct reader *r, const struct rmd_ucl *node) {
    size_t n = 0;
    if (node->type == RMD_UCL_LIST)
        for (const struct rmd_ucl *m = node->child; m; m = m->next)
            n++;
    const char **out = rmd_arena_alloc(r->arena, (n + 2) * sizeof *out);
    n = 0;
    if (node->type == RMD_UCL_LIST) {
        if (!node->child)
            finding(r, node->line, "%s is an empty list", node->key);
        for (const struct rmd_ucl *m = node->child; m; m = m->next)
            out[n++] = text_of(r, m);
    } else {
        out[n++] = text_of(r, node);
    }
    return out;
}

/* ---------------------------------------------------------------- verdicts and rules */

/* Reads one key of a verdict; false when it is none. */
static bool read_verdict_key(struct reader *r, const struct rmd_ucl *node, struct rmd_rule_def *def) {
    if (strcmp(node->key, "class") == 0)
        def->class_name = text_of(r, node);
    else if (strcmp(node->key, "scope") == 0)
        def->scope = list_of(r, node);
    else if (strcmp(node->key, "at_provider") == 0)
        def->at_provider = bool_of(r, node);
    else if (strcmp(node->key, "action") == 0)
        def->action = text_of(r, node);
    else if (strcmp(node->key, "move") == 0)
        def->move = bool_of(r, node);
    else if (strcmp(node->key, "permanent") == 0)
        def->permanent = bool_of(r, node);
    else if (strcmp(node->key, "duration") == 0) {
        if (rmd_parse_duration_ms(rmd_slice_str(text_of(r, node)), &def->duration_ms) != RMD_OK)
            finding(r, node->line, "duration \"%s\" is not of the form 90s, 30min, 4h or 2d", text_of(r, node));
    } else
        return false;
    return true;
}

static bool read_condition_key(struct reader *r, const struct rmd_ucl *node, struct rmd_rule_def *def) {
    const struct {
        const char *key;
        const char *const **to;
    } lists[] = {{"provider", &def->provider}, {"stage", &def->stage},     {"code", &def->code},
                 {"enhanced", &def->enhanced}, {"pattern", &def->pattern}, {"sample", &def->sample}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(node->key, lists[i].key) == 0) {
            *lists[i].to = list_of(r, node);
            return true;
        }
    if (strcmp(node->key, "weak") == 0)
        def->weak = bool_of(r, node);
    else if (strcmp(node->key, "source") == 0)
        def->source = text_of(r, node);
    else
        return false;
    return true;
}

static const struct rmd_ucl *find_verdict(struct reader *r, const char *name) {
    for (int pass = 0; pass < 2; pass++) /* the file's own ones first, then the shipped ones */
        for (int i = 0; i < r->n_verdict; i++)
            if ((r->verdict[i].layer == r->layer) == (pass == 0) && strcmp(r->verdict[i].node->key, name) == 0) {
                r->verdict[i].used = true;
                return r->verdict[i].node;
            }
    return NULL;
}

static void read_rule(struct reader *r, const struct rmd_ucl *node) {
    struct rmd_rule_def def = {
        .name = node->key, .file = r->file, .line = node->line, .permanent = -1, .layer = r->layer};
    int before = r->findings;
    if (node->type != RMD_UCL_OBJECT) {
        finding(r, node->line, "rule %s is %s, where a section is expected", node->key, rmd_ucl_type_text(node));
        return;
    }
    const struct rmd_ucl *base = rmd_ucl_find(node, "verdict");
    if (base) {
        const struct rmd_ucl *verdict = find_verdict(r, text_of(r, base));
        if (!verdict)
            finding(r, base->line, "rule %s: there is no verdict \"%s\"", node->key, text_of(r, base));
        for (const struct rmd_ucl *m = verdict ? verdict->child : NULL; m; m = m->next)
            (void)read_verdict_key(r, m, &def); /* its keys were checked where it stands */
    }
    for (const struct rmd_ucl *m = node->child; m; m = m->next)
        if (m != base && !read_condition_key(r, m, &def) && !read_verdict_key(r, m, &def))
            finding(r, m->line, "rule %s: nothing reads the key \"%s\"", node->key, m->key);
    char err[1024];
    if (r->findings == before && rmd_rules_add(r->rules, &def, err, sizeof err) != RMD_OK)
        add_finding(r, err);
}

static void read_verdict(struct reader *r, const struct rmd_ucl *node) {
    struct rmd_rule_def scratch = {0};
    if (node->type != RMD_UCL_OBJECT) {
        finding(r, node->line, "verdict %s is %s, where a section is expected", node->key, rmd_ucl_type_text(node));
        return;
    }
    for (const struct rmd_ucl *m = node->child; m; m = m->next)
        if (!read_verdict_key(r, m, &scratch))
            finding(r, m->line, "verdict %s: nothing reads the key \"%s\"", node->key, m->key);
    if (r->n_verdict == RMD_RULES_FILE_VERDICTS_MAX) {
        finding(r, node->line, "there are more than %d verdicts", RMD_RULES_FILE_VERDICTS_MAX);
        return;
    }
    r->verdict[r->n_verdict++] = (struct named_verdict){.node = node, .file = r->file, .layer = r->layer};
}

static void read_providers(struct reader *r, const struct rmd_ucl *node) {
    char err[256];
    for (const char *const *name = list_of(r, node); *name; name++)
        if (rmd_rules_provider(r->rules, *name, err, sizeof err) != RMD_OK)
            finding(r, node->line, "%s", err);
        else if (r->known && !r->known->defined(r->known->ctx, *name))
            finding(r, node->line, "there is no provider \"%s\"; name it in the providers' file first", *name);
}

static bool uses_set(const struct rmd_ucl *rule, const char *name) {
    struct rmd_buf want = {0};
    bool found = false;
    rmd_buf_addf(&want, "{%s}", name);
    const struct rmd_ucl *pattern = rule->type == RMD_UCL_OBJECT ? rmd_ucl_find(rule, "pattern") : NULL;
    if (pattern && pattern->text)
        found = strstr(pattern->text, rmd_buf_str(&want)) != NULL;
    for (const struct rmd_ucl *m = pattern ? pattern->child : NULL; m && !found; m = m->next)
        found = m->text && strstr(m->text, rmd_buf_str(&want));
    rmd_buf_release(&want);
    return found;
}

/* A set that no pattern of its file names is a mistake of spelling, more often than not. */
static void check_sets(struct reader *r, const struct rmd_ucl *root) {
    const struct rmd_ucl *words = rmd_ucl_find(root, "words"), *rules = rmd_ucl_find(root, "rule");
    for (const struct rmd_ucl *w = words ? words->child : NULL; w; w = w->next) {
        bool used = false;
        for (const struct rmd_ucl *m = rules ? rules->child : NULL; m && !used; m = m->next)
            used = uses_set(m, w->key);
        if (w->key && !used)
            finding(r, w->line, "no pattern names the words \"%s\"", w->key);
    }
}

static void read_set(struct reader *r, const struct rmd_ucl *node) {
    char err[256];
    if (rmd_rules_set(r->rules, node->key, list_of(r, node), err, sizeof err) != RMD_OK)
        finding(r, node->line, "%s", err);
}

static void each_member(struct reader *r, const struct rmd_ucl *root, const char *key,
                        void (*fn)(struct reader *r, const struct rmd_ucl *node)) {
    const struct rmd_ucl *section = rmd_ucl_find(root, key);
    if (!section)
        return;
    if (section->type != RMD_UCL_OBJECT)
        finding(r, section->line, "%s has no name", key);
    else
        for (const struct rmd_ucl *m = section->child; m; m = m->next)
            fn(r, m);
}

static void read_text(struct reader *r, struct rmd_slice text, const char *name, int layer) {
    struct rmd_ucl *root;
    struct rmd_buf err = {0};
    r->file = name;
    r->layer = layer;
    if (rmd_ucl_parse(text, name, r->arena, &root, &err) != RMD_OK) {
        while (err.len && err.p[err.len - 1] == '\n')
            rmd_buf_truncate(&err, err.len - 1);
        add_finding(r, rmd_buf_str(&err));
        rmd_buf_release(&err);
        return;
    }
    for (const struct rmd_ucl *m = root->child; m; m = m->next)
        if (strcmp(m->key, "providers") == 0)
            read_providers(r, m);
        else if (strcmp(m->key, "verdict") != 0 && strcmp(m->key, "rule") != 0 && strcmp(m->key, "words") != 0)
            finding(r, m->line, "nothing reads the key \"%s\"", m->key);
    each_member(r, root, "words", read_set);
    each_member(r, root, "verdict", read_verdict);
    each_member(r, root, "rule", read_rule);
    check_sets(r, root);
    for (int i = 0; i < r->n_verdict; i++)
        if (r->verdict[i].layer == layer && !r->verdict[i].used)
            finding(r, r->verdict[i].node->line, "no rule names the verdict \"%s\"", r->verdict[i].node->key);
    rmd_buf_release(&err);
}

/* ---------------------------------------------------------------- sets */

static void compile_finding(void *ctx, const char *text) {
    add_finding(ctx, text);
}

static struct rmd_rules *build(struct rmd_slice shipped, struct rmd_slice text, const char *name,
                               const struct rmd_rules_known *known, struct rmd_buf *err) {
    struct rmd_arena arena = {0};
    struct reader *r = rmd_alloc(sizeof *r);
    struct rmd_rules *rules = rmd_rules_new();
    r->rules = rules;
    r->arena = &arena;
    r->err = err;
    r->known = known;
    if (shipped.n) {
        read_text(r, shipped, "verdicts.conf", RMD_RULES_SHIPPED);
        struct rmd_model *model =
            rmd_model_parse(rmd_slice(rmd_model_shipped, rmd_model_shipped_n), "words.model", err);
        r->findings += model == NULL;
        rmd_rules_model(rules, model);
    }
    if (text.n)
        read_text(r, text, name, RMD_RULES_OPERATOR);
    /* A rule that could not be read is missing here, which only ever makes fewer samples fail. */
    if (rmd_rules_compile(rules, compile_finding, r) != RMD_OK)
        assert(r->findings);
    if (r->findings > RMD_RULES_FILE_FINDINGS_MAX)
        rmd_buf_addf(err, "%s: %d more findings\n", name, r->findings - RMD_RULES_FILE_FINDINGS_MAX);
    if (r->findings) {
        rmd_rules_free(rules);
        rules = NULL;
    }
    free(r);
    rmd_arena_release(&arena);
    return rules;
}

struct rmd_rules *rmd_rules_shipped(struct rmd_slice text, const char *name, struct rmd_buf *err) {
    return rmd_rules_checked(text, name, NULL, err);
}

struct rmd_rules *rmd_rules_checked(struct rmd_slice text, const char *name, const struct rmd_rules_known *known,
                                    struct rmd_buf *err) {
    return build(rmd_slice(rmd_verdicts_shipped, rmd_verdicts_shipped_n), text, name, known, err);
}

struct rmd_rules *rmd_rules_parse(struct rmd_slice text, const char *name, struct rmd_buf *err) {
    return build(rmd_slice(NULL, 0), text, name, NULL, err);
}

struct rmd_rules *rmd_rules_load(const char *path, struct rmd_buf *err) {
    struct rmd_buf text = {0};
    struct rmd_rules *rules = NULL;
    if (!path || !*path)
        rules = rmd_rules_shipped(rmd_slice(NULL, 0), "", err);
    else if (rmd_ucl_read_file(path, &text, err) == RMD_OK)
        rules = rmd_rules_shipped(rmd_buf_slice(&text), path, err);
    rmd_buf_release(&text);
    return rules;
}
