/* Providers' limits: shipped text and operator's file into ProviderPolicy messages (see providers_file.h).
 *
 * Both texts are read into drafts first, where a key that nobody set stays unset; defaults are filled in last, so
 * that an operator's `default { ... }` reaches every provider that says nothing else. */
#include "proto/io/providers_file.h"

#include <assert.h>

#include <base/text.h>

#include "proto/esmtp.h"
#include "proto/io/layers.h"

enum key { CONNECTIONS, PER_SITE, MESSAGES, CONNECTS, RATE, TLS, REGISTER, CLUSTER, CHUNKING, KEYS };

static const struct rmd_layer_key keys[KEYS] = {
    [CONNECTIONS] = {.name = "connections", .min = 1, .max = 10000},
    [PER_SITE] = {.name = "connections_per_site", .min = 1, .max = 10000},
    [MESSAGES] = {.name = "messages_per_connection", .min = 1, .max = 100000},
    [CONNECTS] = {.name = "connects_per_minute", .max = 1000000},
    [RATE] = {.name = "rate_per_minute", .max = 10000000},
    [TLS] = {.name = "tls_required", .type = RMD_LAYER_SWITCH, .max = 1},
    [REGISTER] = {.name = "register_first", .type = RMD_LAYER_SWITCH, .max = 1},
    [CLUSTER] = {.name = "cluster_connections", .max = 1000000},
    [CHUNKING] = {"chunking", RMD_LAYER_WORD, RMD_CHUNKING_OFF, RMD_CHUNKING_COUNT - 1, rmd_chunking_name,
                  "one of off, on, ahead"},
};

struct suffix {
    const char *text;
    int line;
};

struct draft {
    struct rmd_layer is;
    struct suffix suffix[RMD_PROVIDER_SUFFIXES_MAX];
    const char *suffix_file, *removal; /* NULL: not set */
    size_t n;
};

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

static void add_suffix(struct rmd_layers *r, struct draft *d, const struct rmd_ucl *node) {
    const char *text = node->text;
    if (node->type != RMD_UCL_SCALAR || !*text) {
        rmd_layers_finding(r, r->file, node->line, "provider \"%s\": an mx suffix is empty, or no value", d->is.name);
        return;
    }
    const char *fault = suffix_fault(text);
    if (fault) {
        rmd_layers_finding(r, r->file, node->line, "provider \"%s\": mx suffix \"%.64s\" %s", d->is.name, node->text,
                           fault);
        return;
    }
    if (d->n == RMD_PROVIDER_SUFFIXES_MAX) {
        rmd_layers_finding(r, r->file, node->line, "provider \"%s\": more than %d mx suffixes", d->is.name,
                           RMD_PROVIDER_SUFFIXES_MAX);
        return;
    }
    d->suffix[d->n++] = (struct suffix){.text = rmd_arena_str(r->arena, rmd_slice_str(text)), .line = node->line};
}

/* An override replaces the whole list. */
static void read_suffixes(struct rmd_layers *r, struct draft *d, const struct rmd_ucl *node) {
    d->n = 0;
    d->suffix_file = r->file;
    if (strcmp(d->is.name, RMD_PROVIDER_OTHER_NAME) == 0) {
        rmd_layers_finding(r, r->file, node->line, "provider \"other\" takes what no other names; it has no mx");
    } else if (node->type == RMD_UCL_OBJECT) {
        rmd_layers_finding(r, r->file, node->line, "provider \"%s\": mx: expected a list, found a section",
                           d->is.name);
    } else if (node->type == RMD_UCL_SCALAR) {
        add_suffix(r, d, node);
    } else {
        if (!node->child)
            rmd_layers_finding(r, r->file, node->line, "provider \"%s\": mx: the list is empty", d->is.name);
        for (const struct rmd_ucl *it = node->child; it; it = it->next)
            add_suffix(r, d, it);
    }
}

/* Where removal is asked for. */
static void read_removal(struct rmd_layers *r, struct draft *d, const struct rmd_ucl *node) {
    bool url = node->type == RMD_UCL_SCALAR && (rmd_case_prefix(rmd_slice_str(node->text), "https://") ||
                                                rmd_case_prefix(rmd_slice_str(node->text), "mailto:"));
    size_t n = url ? strlen(node->text) : 0;
    for (size_t i = 0; i < n; i++)
        url = url && node->text[i] > ' ' && node->text[i] < 0x7f;
    if (!url || n > RMD_PROVIDER_REMOVAL_MAX)
        rmd_layers_finding(r, r->file, node->line,
                           "provider \"%s\": removal: \"%.40s\" is neither https://... nor mailto:...", d->is.name,
                           node->type == RMD_UCL_SCALAR ? node->text : "");
    else
        d->removal = rmd_arena_str(r->arena, rmd_slice_str(node->text));
}

static bool read_member(struct rmd_layers *r, void *draft, const struct rmd_ucl *node, const char *where) {
    (void)where;
    if (draft != r->fallback && strcmp(node->key, "removal") == 0) {
        read_removal(r, draft, node);
        return true;
    }
    if (draft == r->fallback || strcmp(node->key, "mx") != 0)
        return false;
    read_suffixes(r, draft, node);
    return true;
}

static const struct rmd_layers_kind kind = {
    .word = "provider",
    .words = "providers",
    .name_chars = "\"-\", \"_\"",
    .name_extra = "-_",
    .name_max = RMD_PROVIDER_NAME_MAX,
    .max = RMD_PROVIDERS_MAX,
    .draft_size = sizeof(struct draft),
    .key = keys,
    .n_keys = KEYS,
    .member = read_member,
};

/* --- the whole */

/* Matching order: the operator's own, the shipped ones, "other". Stable. */
static void order(struct rmd_layers *r) {
    struct draft *sorted[RMD_PROVIDERS_MAX];
    size_t n = 0;
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 0; i < r->n; i++) {
            struct draft *d = r->v[i];
            bool other = strcmp(d->is.name, RMD_PROVIDER_OTHER_NAME) == 0;
            int wanted = other ? 2 : d->is.shipped ? 1 : 0;
            if (wanted == pass)
                sorted[n++] = d;
        }
    }
    assert(n == r->n);
    memcpy(r->v, sorted, n * sizeof sorted[0]);
}

/* The suffix of d that an earlier provider's suffix (or its own) makes unreachable is an error where the operator can
 * mend it: in the operator's file, whichever of the two stands there. */
static void check_hidden(struct rmd_layers *r, size_t at, size_t k) {
    const struct draft *d = r->v[at];
    const struct suffix *s = &d->suffix[k];
    for (size_t i = 0; i <= at; i++) {
        const struct draft *e = r->v[i];
        for (size_t j = 0; j < (i == at ? k : e->n); j++) {
            if (!rmd_has_suffix(s->text, e->suffix[j].text))
                continue;
            const char *file = d->is.shipped && !e->is.shipped ? e->suffix_file : d->suffix_file;
            int line = d->is.shipped && !e->is.shipped ? e->suffix[j].line : s->line;
            rmd_layers_finding(r, file, line,
                               "provider \"%s\": mx suffix \"%s\" is hidden by \"%s\" of the earlier provider \"%s\"",
                               d->is.name, s->text, e->suffix[j].text, e->is.name);
            return;
        }
    }
}

static void lint(struct rmd_layers *r) {
    for (size_t i = 0; i < r->n; i++) {
        const struct draft *d = r->v[i];
        bool other = strcmp(d->is.name, RMD_PROVIDER_OTHER_NAME) == 0;
        if (d->is.faulty)
            continue;
        if (!d->n && !other && !d->suffix_file)
            rmd_layers_finding(
                r, d->is.file, d->is.line,
                "provider \"%s\": nothing defines it: no shipped provider has this name, and mx is not set",
                d->is.name);
        for (size_t k = 0; k < d->n; k++)
            check_hidden(r, i, k);
        for (size_t j = 0; j < i; j++)
            if (rmd_provider_id(d->is.name) == rmd_provider_id(((const struct draft *)r->v[j])->is.name))
                rmd_layers_finding(r, d->is.file, d->is.line,
                                   "provider \"%s\": its id collides with that of \"%s\"; use another name",
                                   d->is.name, ((const struct draft *)r->v[j])->is.name);
    }
}

static Remuda__ProviderPolicy *make_policy(struct rmd_layers *r, const struct draft *d) {
    Remuda__ProviderPolicy *p = rmd_arena_alloc(r->arena, sizeof *p);
    remuda__provider_policy__init(p);
    int64_t v[KEYS];
    for (size_t k = 0; k < KEYS; k++)
        v[k] = rmd_layers_value(r, d, k);
    if (v[PER_SITE] < 0 || v[PER_SITE] > v[CONNECTIONS])
        v[PER_SITE] = v[CONNECTIONS];
    p->id = rmd_provider_id(d->is.name);
    p->name = rmd_arena_str(r->arena, rmd_slice_str(d->is.name));
    p->removal = rmd_arena_str(r->arena, rmd_slice_str(d->removal ? d->removal : ""));
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
    p->chunking = v[CHUNKING] > 0 ? (uint32_t)v[CHUNKING] : RMD_CHUNKING_OFF;
    p->cluster_connections = v[CLUSTER] > 0 ? (uint32_t)v[CLUSTER] : 0;
    return p;
}

int rmd_providers_parse(struct rmd_slice override, const char *name, struct rmd_providers *out, struct rmd_buf *err) {
    *out = (struct rmd_providers){0};
    struct rmd_arena scratch = {0}; /* trees and drafts go at the end; only the policies stay */
    struct rmd_layers r;
    rmd_layers_init(&r, &kind, &scratch, err);
    rmd_layers_read(&r, rmd_slice(rmd_providers_shipped, rmd_providers_shipped_n), "providers (shipped)", true);
    rmd_layers_read(&r, override, name, false);
    order(&r);
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
