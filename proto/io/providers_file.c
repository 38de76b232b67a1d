/* Providers' limits: shipped text and operator's file into ProviderPolicy messages (see providers_file.h).
 *
 * Both texts are read into drafts first, where a key that nobody set stays unset; defaults are filled in last, so
 * that an operator's `default { ... }` reaches every provider that says nothing else. */
#include "proto/io/providers_file.h"

#include <assert.h>

#include <base/text.h>

#include "proto/io/ucl.h"

enum key { CONNECTIONS, PER_SITE, MESSAGES, CONNECTS, RATE, TLS, REGISTER, CLUSTER, KEYS };

static const struct {
    const char *name;
    int64_t min, max;
} key_table[KEYS] = {
    [CONNECTIONS] = {"connections", 1, 10000},
    [PER_SITE] = {"connections_per_site", 1, 10000},
    [MESSAGES] = {"messages_per_connection", 1, 100000},
    [CONNECTS] = {"connects_per_minute", 0, 1000000},
    [RATE] = {"rate_per_minute", 0, 10000000},
    [TLS] = {"tls_required", 0, 1},
    [REGISTER] = {"register_first", 0, 1},
    [CLUSTER] = {"cluster_connections", 0, 1000000},
};

struct suffix {
    const char *text;
    int line;
};

struct draft {
    const char *name;
    const char *file; /* that defined or changed it last */
    int line;
    bool shipped;
    int64_t value[KEYS]; /* -1: not set */
    struct suffix suffix[RMD_PROVIDER_SUFFIXES_MAX];
    const char *suffix_file;
    size_t n;
};

struct reader {
    struct rmd_arena *arena;
    struct rmd_buf *err;
    const char *file;
    bool shipped;
    int findings;
    struct draft fallback;
    struct draft *v[RMD_PROVIDERS_MAX];
    size_t n;
};

static void RMD_PRINTF(4, 5) finding(struct reader *r, const char *file, int line, const char *fmt, ...) {
    r->findings++;
    rmd_buf_addf(r->err, "%s:%d: ", file, line);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(r->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(r->err, '\n');
}

static void draft_init(struct draft *d) {
    *d = (struct draft){0};
    for (int k = 0; k < KEYS; k++)
        d->value[k] = -1;
}

/* --- suffixes */

/* NULL, or what is wrong with a suffix. */
static const char *suffix_fault(const char *s) {
    size_t n = strlen(s), label = 0;
    int labels = 0;
    if (s[0] != '.')
        return "must begin with a dot, or \"notgoogle.com\" would match \"google.com\" too";
    if (n > RMD_DOMAIN_MAX)
        return "is longer than a host name can be";
    if (s[n - 1] == '.')
        return "must not end in a dot";
    for (const char *c = s + 1;; c++) {
        if (*c == '.' || !*c) {
            if (!label || label > 63)
                return "has an empty or too long label";
            labels++;
            label = 0;
            if (!*c)
                break;
            continue;
        }
        label++;
        if (*c >= 'A' && *c <= 'Z')
            return "must be in small letters";
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-'))
            return "is not a host name";
    }
    return labels < 2 ? "is too broad: two labels at least" : NULL;
}

static void add_suffix(struct reader *r, struct draft *d, const struct rmd_ucl *node) {
    const char *text = node->text;
    if (node->type != RMD_UCL_SCALAR || !*text) {
        finding(r, r->file, node->line, "provider \"%s\": an mx suffix is empty, or no value", d->name);
        return;
    }
    const char *fault = suffix_fault(text);
    if (fault) {
        finding(r, r->file, node->line, "provider \"%s\": mx suffix \"%.64s\" %s", d->name, node->text, fault);
        return;
    }
    if (d->n == RMD_PROVIDER_SUFFIXES_MAX) {
        finding(r, r->file, node->line, "provider \"%s\": more than %d mx suffixes", d->name,
                RMD_PROVIDER_SUFFIXES_MAX);
        return;
    }
    d->suffix[d->n++] = (struct suffix){.text = rmd_arena_str(r->arena, rmd_slice_str(text)), .line = node->line};
}

/* An override replaces the whole list. */
static void read_suffixes(struct reader *r, struct draft *d, const struct rmd_ucl *node) {
    d->n = 0;
    d->suffix_file = r->file;
    if (strcmp(d->name, RMD_PROVIDER_OTHER_NAME) == 0) {
        finding(r, r->file, node->line, "provider \"other\" takes what no other names; it has no mx");
    } else if (node->type == RMD_UCL_OBJECT) {
        finding(r, r->file, node->line, "provider \"%s\": mx: expected a list, found a section", d->name);
    } else if (node->type == RMD_UCL_SCALAR) {
        add_suffix(r, d, node);
    } else {
        if (!node->child)
            finding(r, r->file, node->line, "provider \"%s\": mx: the list is empty", d->name);
        for (const struct rmd_ucl *it = node->child; it; it = it->next)
            add_suffix(r, d, it);
    }
}

/* --- sections */

static int parse_value(enum key k, const char *text, int64_t *out) {
    if (k == TLS || k == REGISTER) {
        *out = strcmp(text, "true") == 0;
        return *out || strcmp(text, "false") == 0 ? RMD_OK : RMD_EFORMAT;
    }
    uint64_t u;
    int rc = rmd_parse_count(rmd_slice_str(text), &u);
    if (rc == RMD_OK)
        *out = u > INT64_MAX ? INT64_MAX : (int64_t)u;
    return rc;
}

static void read_value(struct reader *r, struct draft *d, enum key k, const struct rmd_ucl *node, const char *where) {
    const char *name = key_table[k].name;
    int64_t v = -1;
    if (node->type != RMD_UCL_SCALAR)
        finding(r, r->file, node->line, "%s: %s: expected a value, found %s", where, name, rmd_ucl_type_text(node));
    else if (parse_value(k, node->text, &v) < 0)
        finding(r, r->file, node->line, "%s: %s: \"%.40s\" is not %s", where, name, node->text,
                k == TLS || k == REGISTER ? "true or false" : "a whole number");
    else if (v < key_table[k].min || v > key_table[k].max)
        finding(r, r->file, node->line, "%s: %s: \"%.40s\" is not within %lld and %lld", where, name, node->text,
                (long long)key_table[k].min, (long long)key_table[k].max);
    else
        d->value[k] = v;
}

static void read_section(struct reader *r, struct draft *d, const struct rmd_ucl *section, const char *where) {
    for (const struct rmd_ucl *it = section->child; it; it = it->next) {
        int k = 0;
        while (k < KEYS && strcmp(key_table[k].name, it->key) != 0)
            k++;
        if (k < KEYS)
            read_value(r, d, (enum key)k, it, where);
        else if (d != &r->fallback && strcmp(it->key, "mx") == 0)
            read_suffixes(r, d, it);
        else
            finding(r, r->file, it->line, "%s: %s: unknown key", where, it->key);
    }
}

static bool name_ok(const char *s) {
    size_t n = strlen(s);
    if (!n || n > RMD_PROVIDER_NAME_MAX)
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static struct draft *find_draft(const struct reader *r, const char *name) {
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->v[i]->name, name) == 0)
            return r->v[i];
    return NULL;
}

static void read_provider(struct reader *r, const struct rmd_ucl *section) {
    if (!name_ok(section->key)) {
        finding(r, r->file, section->line,
                "provider \"%.40s\": a name has 1 to %d small letters, digits, \"-\", \"_\"", section->key,
                RMD_PROVIDER_NAME_MAX);
        return;
    }
    if (section->type != RMD_UCL_OBJECT) {
        finding(r, r->file, section->line, "provider \"%s\": is a section: provider \"%s\" { ... }", section->key,
                section->key);
        return;
    }
    struct draft *d = find_draft(r, section->key);
    if (!d && r->n == RMD_PROVIDERS_MAX) {
        finding(r, r->file, section->line, "more than %d providers", RMD_PROVIDERS_MAX);
        return;
    }
    if (!d) {
        d = rmd_arena_alloc(r->arena, sizeof *d);
        draft_init(d);
        d->name = section->key;
        d->shipped = r->shipped;
        r->v[r->n++] = d;
    }
    d->file = r->file;
    d->line = section->line;
    char where[RMD_PROVIDER_NAME_MAX + 16];
    rmd_format(where, sizeof where, "provider \"%s\"", d->name);
    read_section(r, d, section, where);
}

static void read_text(struct reader *r, struct rmd_slice text, const char *file) {
    struct rmd_ucl *root = NULL;
    r->file = rmd_arena_str(r->arena, rmd_slice_str(file));
    if (rmd_ucl_parse(text, r->file, r->arena, &root, r->err) < 0) {
        r->findings++;
        return;
    }
    for (const struct rmd_ucl *it = root->child; it; it = it->next) {
        bool section = it->type == RMD_UCL_OBJECT;
        if (section && strcmp(it->key, "default") == 0)
            read_section(r, &r->fallback, it, "default");
        else if (section && strcmp(it->key, "provider") == 0)
            for (const struct rmd_ucl *p = it->child; p; p = p->next)
                read_provider(r, p);
        else
            finding(r, r->file, it->line, "%s: unknown key; expected provider \"name\" { ... } or default { ... }",
                    it->key);
    }
}

/* --- the whole */

/* Matching order: the operator's own, the shipped ones, "other". Stable. */
static void order(struct reader *r) {
    struct draft *sorted[RMD_PROVIDERS_MAX];
    size_t n = 0;
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 0; i < r->n; i++) {
            bool other = strcmp(r->v[i]->name, RMD_PROVIDER_OTHER_NAME) == 0;
            int wanted = other ? 2 : r->v[i]->shipped ? 1 : 0;
            if (wanted == pass)
                sorted[n++] = r->v[i];
        }
    }
    assert(n == r->n);
    memcpy(r->v, sorted, n * sizeof sorted[0]);
}

/* The suffix of d that an earlier provider's suffix (or its own) makes unreachable is an error where the operator can
 * mend it: in the operator's file, whichever of the two stands there. */
static void check_hidden(struct reader *r, size_t at, size_t k) {
    const struct draft *d = r->v[at];
    const struct suffix *s = &d->suffix[k];
    for (size_t i = 0; i <= at; i++) {
        const struct draft *e = r->v[i];
        for (size_t j = 0; j < (i == at ? k : e->n); j++) {
            if (!rmd_has_suffix(s->text, e->suffix[j].text))
                continue;
            const char *file = d->shipped && !e->shipped ? e->suffix_file : d->suffix_file;
            int line = d->shipped && !e->shipped ? e->suffix[j].line : s->line;
            finding(r, file, line,
                    "provider \"%s\": mx suffix \"%s\" is hidden by \"%s\" of the earlier provider \"%s\"", d->name,
                    s->text, e->suffix[j].text, e->name);
            return;
        }
    }
}

static void lint(struct reader *r) {
    for (size_t i = 0; i < r->n; i++) {
        const struct draft *d = r->v[i];
        bool other = strcmp(d->name, RMD_PROVIDER_OTHER_NAME) == 0;
        if (!d->n && !other && !d->suffix_file)
            finding(r, d->file, d->line,
                    "provider \"%s\": nothing defines it: no shipped provider has this name, and mx is not set",
                    d->name);
        for (size_t k = 0; k < d->n; k++)
            check_hidden(r, i, k);
        for (size_t j = 0; j < i; j++)
            if (rmd_provider_id(d->name) == rmd_provider_id(r->v[j]->name))
                finding(r, d->file, d->line, "provider \"%s\": its id collides with that of \"%s\"; use another name",
                        d->name, r->v[j]->name);
    }
}

static Remuda__ProviderPolicy *make_policy(struct reader *r, const struct draft *d) {
    Remuda__ProviderPolicy *p = rmd_arena_alloc(r->arena, sizeof *p);
    remuda__provider_policy__init(p);
    int64_t v[KEYS];
    for (int k = 0; k < KEYS; k++)
        v[k] = d->value[k] >= 0 ? d->value[k] : r->fallback.value[k];
    if (v[PER_SITE] < 0 || v[PER_SITE] > v[CONNECTIONS])
        v[PER_SITE] = v[CONNECTIONS];
    p->id = rmd_provider_id(d->name);
    p->name = rmd_arena_str(r->arena, rmd_slice_str(d->name));
    p->n_mx_suffix = d->n;
    p->mx_suffix = rmd_arena_alloc(r->arena, (d->n + 1) * sizeof *p->mx_suffix);
    for (size_t i = 0; i < d->n; i++)
        p->mx_suffix[i] = rmd_arena_str(r->arena, rmd_slice_str(d->suffix[i].text));
    p->connections = (uint32_t)v[CONNECTIONS];
    p->connections_per_site = (uint32_t)v[PER_SITE];
    p->messages_per_connection = (uint32_t)v[MESSAGES];
    p->connects_per_minute = (uint32_t)v[CONNECTS];
    p->rate_per_minute = (uint32_t)v[RATE];
    p->tls_required = v[TLS] == 1;
    p->register_first = v[REGISTER] == 1;
    p->cluster_connections = v[CLUSTER] > 0 ? (uint32_t)v[CLUSTER] : 0;
    return p;
}

int rmd_providers_parse(struct rmd_slice override, const char *name, struct rmd_providers *out, struct rmd_buf *err) {
    *out = (struct rmd_providers){0};
    struct rmd_arena scratch = {0}; /* trees and drafts go at the end; only the policies stay */
    struct reader r = {.arena = &scratch, .err = err, .shipped = true};
    draft_init(&r.fallback);
    read_text(&r, rmd_slice(rmd_providers_shipped, rmd_providers_shipped_n), "providers (shipped)");
    r.shipped = false;
    read_text(&r, override, name);
    order(&r);
    if (!r.findings)
        lint(&r);
    if (!r.findings) {
        r.arena = &out->arena;
        out->v = rmd_arena_alloc(r.arena, r.n * sizeof *out->v);
        out->n = r.n;
        for (size_t i = 0; i < r.n; i++)
            out->v[i] = make_policy(&r, r.v[i]);
    }
    rmd_arena_release(&scratch);
    return r.findings ? RMD_EINVAL : RMD_OK;
}

int rmd_providers_load(const char *path, struct rmd_providers *out, struct rmd_buf *err) {
    *out = (struct rmd_providers){0};
    struct rmd_buf text = {0};
    int rc = RMD_OK;
    if (path && *path && rmd_ucl_read_file(path, &text, err) < 0)
        rc = RMD_EINVAL;
    if (rc == RMD_OK)
        rc = rmd_providers_parse(rmd_buf_slice(&text), path && *path ? path : "providers (operator's)", out, err);
    rmd_buf_release(&text);
    return rc;
}

void rmd_providers_release(struct rmd_providers *p) {
    rmd_arena_release(&p->arena);
    *p = (struct rmd_providers){0};
}

const Remuda__ProviderPolicy *rmd_providers_find(const struct rmd_providers *p, const char *name) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i]->name, name) == 0)
            return p->v[i];
    return NULL;
}
