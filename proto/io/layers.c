/* Layers of named sections (contract: layers.h). */
#include "proto/io/layers.h"

#include <assert.h>

void rmd_layers_finding(struct rmd_layers *r, const char *file, int line, const char *fmt, ...) {
    r->findings++;
    rmd_buf_addf(r->err, "%s:%d: ", file, line);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(r->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(r->err, '\n');
}

static struct rmd_layer *draft_new(struct rmd_layers *r, const char *name) {
    struct rmd_layer *d = rmd_arena_alloc(r->arena, r->kind->draft_size);
    d->name = name;
    for (size_t i = 0; i < RMD_LAYER_VALUES_MAX; i++)
        d->value[i] = RMD_LAYER_UNSET;
    if (r->kind->init)
        r->kind->init(d);
    return d;
}

void rmd_layers_init(struct rmd_layers *r, const struct rmd_layers_kind *kind, struct rmd_arena *arena,
                     struct rmd_buf *err) {
    assert(kind->max <= RMD_LAYERS_MAX && kind->n_keys <= RMD_LAYER_VALUES_MAX);
    *r = (struct rmd_layers){.kind = kind, .arena = arena, .err = err};
    r->fallback = draft_new(r, "default");
}

/* --- values */

static bool parse(const struct rmd_layer_key *k, const char *text, int64_t *out) {
    enum { PPM_PER_CENT = 10000 };
    uint64_t u;
    switch (k->type) {
    case RMD_LAYER_COUNT:
        if (rmd_parse_count(rmd_slice_str(text), &u) != RMD_OK)
            return false;
        *out = u > INT64_MAX ? INT64_MAX : (int64_t)u;
        return true;
    case RMD_LAYER_SWITCH:
        *out = strcmp(text, "true") == 0;
        return *out || strcmp(text, "false") == 0;
    case RMD_LAYER_DURATION:
        return rmd_parse_duration_ms(rmd_slice_str(text), out) == RMD_OK;
    case RMD_LAYER_PERCENT:
        if (rmd_parse_ppm(rmd_slice_str(text), &u) != RMD_OK || u % PPM_PER_CENT != 0)
            return false;
        *out = (int64_t)(u / PPM_PER_CENT);
        return true;
    case RMD_LAYER_WORD:
        for (int64_t w = k->min; w <= k->max; w++) {
            if (strcmp(k->word((uint32_t)w), text) == 0) {
                *out = w;
                return true;
            }
        }
        return false;
    }
    return false;
}

static const char *expected(const struct rmd_layer_key *k) {
    static const char *const text[] = {[RMD_LAYER_COUNT] = "a whole number",
                                       [RMD_LAYER_SWITCH] = "true or false",
                                       [RMD_LAYER_DURATION] = "a duration like 6h",
                                       [RMD_LAYER_PERCENT] = "whole per cent, like 20%"};
    return k->type == RMD_LAYER_WORD ? k->words : text[k->type];
}

static void read_value(struct rmd_layers *r, struct rmd_layer *d, size_t at, const struct rmd_ucl *node,
                       const char *where) {
    const struct rmd_layer_key *k = &r->kind->key[at];
    int64_t v = RMD_LAYER_UNSET;
    if (node->type != RMD_UCL_SCALAR)
        rmd_layers_finding(r, r->file, node->line, "%s: %s: expected a value, found %s", where, k->name,
                           rmd_ucl_type_text(node));
    else if (!parse(k, node->text, &v))
        rmd_layers_finding(r, r->file, node->line, "%s: %s: \"%.40s\" is not %s", where, k->name, node->text,
                           expected(k));
    else if (v < k->min || v > k->max)
        rmd_layers_finding(r, r->file, node->line, "%s: %s: \"%.40s\" is not within %lld and %lld%s", where, k->name,
                           node->text, (long long)k->min, (long long)k->max,
                           k->type == RMD_LAYER_DURATION  ? " milliseconds"
                           : k->type == RMD_LAYER_PERCENT ? " per cent"
                                                          : "");
    else {
        d->value[at] = v;
        d->own |= r->shipped ? 0 : 1u << at;
    }
}

int64_t rmd_layers_value(const struct rmd_layers *r, const void *draft, size_t key) {
    const struct rmd_layer *d = draft, *fallback = r->fallback;
    return d->value[key] != RMD_LAYER_UNSET ? d->value[key] : fallback->value[key];
}

void rmd_layers_each(struct rmd_layers *r, void *draft, const struct rmd_ucl *node, const char *where,
                     void (*fn)(struct rmd_layers *, void *, const char *text, int line)) {
    if (node->type == RMD_UCL_SCALAR)
        fn(r, draft, node->text, node->line);
    else if (node->type == RMD_UCL_OBJECT || !node->child)
        rmd_layers_finding(r, r->file, node->line, "%s: %s: expected a list of texts", where, node->key);
    for (const struct rmd_ucl *it = node->type == RMD_UCL_LIST ? node->child : NULL; it; it = it->next) {
        if (it->type == RMD_UCL_SCALAR)
            fn(r, draft, it->text, it->line);
        else
            rmd_layers_finding(r, r->file, it->line, "%s: %s: expected a text, found %s", where, node->key,
                               rmd_ucl_type_text(it));
    }
}

/* --- sections */

static void read_section(struct rmd_layers *r, struct rmd_layer *d, const struct rmd_ucl *section,
                         const char *where) {
    for (const struct rmd_ucl *it = section->child; it; it = it->next) {
        size_t k = 0;
        while (k < r->kind->n_keys && strcmp(r->kind->key[k].name, it->key) != 0)
            k++;
        if (k < r->kind->n_keys)
            read_value(r, d, k, it, where);
        else if (!r->kind->member(r, d, it, where))
            rmd_layers_finding(r, r->file, it->line, "%s: %s: unknown key", where, it->key);
    }
}

static bool name_ok(const struct rmd_layers_kind *kind, const char *s) {
    size_t n = 0;
    for (; s[n]; n++)
        if (!(s[n] >= 'a' && s[n] <= 'z') && !(s[n] >= '0' && s[n] <= '9') && !strchr(kind->name_extra, s[n]))
            return false;
    return n && n <= kind->name_max;
}

static struct rmd_layer *find(const struct rmd_layers *r, const char *name) {
    for (size_t i = 0; i < r->n; i++) {
        struct rmd_layer *d = r->v[i];
        if (strcmp(d->name, name) == 0)
            return d;
    }
    return NULL;
}

static void read_named(struct rmd_layers *r, const struct rmd_ucl *section) {
    const struct rmd_layers_kind *k = r->kind;
    if (!name_ok(k, section->key)) {
        rmd_layers_finding(r, r->file, section->line, "%s \"%.70s\": a name has 1 to %zu small letters, digits, %s",
                           k->word, section->key, k->name_max, k->name_chars);
        return;
    }
    if (section->type != RMD_UCL_OBJECT) {
        rmd_layers_finding(r, r->file, section->line, "%s \"%s\": is a section: %s \"%s\" { ... }", k->word,
                           section->key, k->word, section->key);
        return;
    }
    struct rmd_layer *d = find(r, section->key);
    if (!d && r->n == k->max) {
        rmd_layers_finding(r, r->file, section->line, "more than %zu %s", k->max, k->words);
        return;
    }
    if (!d) {
        d = draft_new(r, section->key);
        d->shipped = r->shipped;
        r->v[r->n++] = d;
    }
    d->file = r->file;
    d->line = section->line;
    char where[RMD_LAYER_WHERE_MAX];
    rmd_format(where, sizeof where, "%s \"%s\"", k->word, d->name);
    int before = r->findings;
    read_section(r, d, section, where);
    d->faulty |= r->findings > before;
}

void rmd_layers_read(struct rmd_layers *r, struct rmd_slice text, const char *file, bool shipped) {
    struct rmd_ucl *root = NULL;
    const char *word = r->kind->word;
    r->file = rmd_arena_str(r->arena, rmd_slice_str(file));
    r->shipped = shipped;
    if (rmd_ucl_parse(text, r->file, r->arena, &root, r->err) < 0) {
        r->findings++;
        return;
    }
    for (const struct rmd_ucl *it = root->child; it; it = it->next) {
        bool section = it->type == RMD_UCL_OBJECT;
        if (section && strcmp(it->key, "default") == 0)
            read_section(r, r->fallback, it, "default");
        else if (section && strcmp(it->key, word) == 0)
            for (const struct rmd_ucl *p = it->child; p; p = p->next)
                read_named(r, p);
        else
            rmd_layers_finding(r, r->file, it->line,
                               "%s: unknown key; expected %s \"name\" { ... } or default { ... }", it->key, word);
    }
}
