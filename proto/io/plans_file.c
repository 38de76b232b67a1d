/* Warm-up plans: shipped text and operator's file into struct rmd_plan (see plans_file.h).
 *
 * Both texts are read into drafts first, where a key that nobody set stays unset; what `default { ... }` says is filled in last, so
 * that an operator's default reaches every plan that says nothing else. */
#include "proto/io/plans_file.h"

#include <base/text.h>

#include "proto/io/layers.h"
#include "proto/site.h"

enum number { HOUR, USE, IDLE, HOLD, BACK, CONFIDENCE, NUMBERS };

static const struct rmd_layer_key keys[NUMBERS] = {
    [HOUR] = {.name = "hour", RMD_LAYER_PERCENT, .min = 1, .max = 100},
    [USE] = {.name = "use", RMD_LAYER_PERCENT, .max = 100},
    [IDLE] = {.name = "idle_days", .min = 1, .max = 3650},
    [HOLD] = {.name = "hold_days", .max = 365},
    [BACK] = {.name = "back_stages", .min = 1, .max = 100},
    [CONFIDENCE] = {.name = "confidence", RMD_LAYER_PERCENT, .min = 80, .max = 99},
};

struct list {
    uint64_t cap[RMD_PLAN_STAGES_MAX];
    uint32_t n;
    const char *provider, *file;
    int line;
};

struct draft {
    struct rmd_layer is;
    int64_t max_ppm[RMD_GATE_KINDS], minimum[RMD_GATE_KINDS];
    struct list source, site, fallback, other;
    struct list *v[RMD_PLAN_LISTS_MAX];
    uint32_t n;
};

/* What the owner of the reader lends: which providers there are. */
struct providers {
    rmd_provider_known_fn known;
    void *ctx;
};

static void draft_init(void *draft) {
    struct draft *d = draft;
    for (int i = 0; i < RMD_GATE_KINDS; i++)
        d->max_ppm[i] = d->minimum[i] = RMD_LAYER_UNSET;
}

static void read_gate(struct rmd_layers *r, struct draft *d, int k, const struct rmd_ucl *section,
                      const char *where) {
    const char *gate = rmd_gate_name((unsigned)k);
    if (section->type != RMD_UCL_OBJECT) {
        rmd_layers_finding(r, r->file, section->line, "%s: %s: is a section: %s { max = 1%%; minimum = 5 }", where,
                           gate, gate);
        return;
    }
    for (const struct rmd_ucl *it = section->child; it; it = it->next) {
        uint64_t u = 0;
        if (strcmp(it->key, "max") == 0) {
            if (it->type != RMD_UCL_SCALAR || rmd_parse_ppm(rmd_slice_str(it->text), &u) < 0 || !u || u > RMD_PPM)
                rmd_layers_finding(r, r->file, it->line, "%s: %s: max: expected per cent above 0, like 0.1%%", where,
                                   gate);
            else
                d->max_ppm[k] = (int64_t)u;
        } else if (strcmp(it->key, "minimum") == 0) {
            if (it->type != RMD_UCL_SCALAR || rmd_parse_u64(rmd_slice_str(it->text), &u) < 0 || !u || u > 1000000)
                rmd_layers_finding(r, r->file, it->line, "%s: %s: minimum: expected a whole number from 1 to 1000000",
                                   where, gate);
            else
                d->minimum[k] = (int64_t)u;
        } else {
            rmd_layers_finding(r, r->file, it->line, "%s: %s: %s: unknown key", where, gate, it->key);
        }
    }
}

/* An override replaces the whole list. */
static void read_list(struct rmd_layers *r, struct list *l, const struct rmd_ucl *node, const char *where) {
    l->n = 0;
    l->file = r->file;
    l->line = node->line;
    if (node->type != RMD_UCL_LIST || !node->child) {
        rmd_layers_finding(r, r->file, node->line, "%s: %s: expected a list of daily caps, one a stage", where,
                           node->key);
        return;
    }
    for (const struct rmd_ucl *it = node->child; it; it = it->next) {
        uint64_t v = 0;
        if (it->type != RMD_UCL_SCALAR || rmd_parse_count(rmd_slice_str(it->text), &v) < 0 || !v || v > UINT32_MAX) {
            rmd_layers_finding(r, r->file, it->line, "%s: %s: \"%.40s\" is not a number like 500 or 50k", where,
                               node->key, it->type == RMD_UCL_SCALAR ? it->text : rmd_ucl_type_text(it));
            return;
        }
        if (l->n == RMD_PLAN_STAGES_MAX) {
            rmd_layers_finding(r, r->file, it->line, "%s: %s: more than %d stages", where, node->key,
                               RMD_PLAN_STAGES_MAX);
            return;
        }
        if (l->n && v < l->cap[l->n - 1])
            rmd_layers_finding(r, r->file, it->line, "%s: %s: %llu comes after %llu: caps never fall", where,
                               node->key, (unsigned long long)v, (unsigned long long)l->cap[l->n - 1]);
        if (l->n && v > 3 * l->cap[l->n - 1])
            rmd_layers_finding(r, r->file, it->line,
                               "%s: %s: %llu comes after %llu: a leap that receivers refuse; at most three times",
                               where, node->key, (unsigned long long)v, (unsigned long long)l->cap[l->n - 1]);
        l->cap[l->n++] = v;
    }
}

static struct list *list_for(struct rmd_layers *r, struct draft *d, const struct rmd_ucl *node, const char *where) {
    if (strcmp(node->key, "default") == 0)
        return &d->fallback;
    if (strcmp(node->key, RMD_PROVIDER_OTHER_NAME) == 0)
        return &d->other;
    for (uint32_t i = 0; i < d->n; i++)
        if (strcmp(d->v[i]->provider, node->key) == 0)
            return d->v[i];
    const struct providers *p = r->ctx;
    if (p->known && !p->known(p->ctx, node->key)) {
        rmd_layers_finding(r, r->file, node->line, "%s: caps: there is no provider \"%.40s\"", where, node->key);
        return NULL;
    }
    if (d->n == RMD_PLAN_LISTS_MAX) {
        rmd_layers_finding(r, r->file, node->line, "%s: caps: more than %d providers", where, RMD_PLAN_LISTS_MAX);
        return NULL;
    }
    struct list *l = d->v[d->n++] = rmd_arena_alloc(r->arena, sizeof *l);
    l->provider = node->key;
    return l;
}

static void read_caps(struct rmd_layers *r, struct draft *d, const struct rmd_ucl *section, const char *where) {
    if (section->type != RMD_UCL_OBJECT) {
        rmd_layers_finding(r, r->file, section->line, "%s: caps: is a section: caps { default = [...] }", where);
        return;
    }
    for (const struct rmd_ucl *it = section->child; it; it = it->next) {
        struct list *l = list_for(r, d, it, where);
        if (l)
            read_list(r, l, it, where);
    }
}

/* --- sections */

static bool read_member(struct rmd_layers *r, void *draft, const struct rmd_ucl *node, const char *where) {
    struct draft *d = draft;
    for (int k = 0; k < RMD_GATE_KINDS; k++)
        if (strcmp(rmd_gate_name((unsigned)k), node->key) == 0) {
            read_gate(r, d, k, node, where);
            return true;
        }
    if (draft == r->fallback)
        return false;
    else if (strcmp(node->key, "source") == 0)
        read_list(r, &d->source, node, where);
    else if (strcmp(node->key, "site") == 0)
        read_list(r, &d->site, node, where);
    else if (strcmp(node->key, "caps") == 0)
        read_caps(r, d, node, where);
    else
        return false;
    return true;
}

static const struct rmd_layers_kind kind = {
    .word = "plan",
    .words = "plans",
    .name_chars = "\"-\", \"_\"",
    .name_extra = "-_",
    .name_max = RMD_PLAN_NAME_MAX,
    .max = RMD_PLANS_MAX,
    .draft_size = sizeof(struct draft),
    .key = keys,
    .n_keys = NUMBERS,
    .init = draft_init,
    .member = read_member,
};

/* --- the whole */

static uint64_t at(const struct list *l, uint32_t stage) {
    return l->n ? l->cap[stage < l->n ? stage : l->n - 1] : 0;
}

static void lint_list(struct rmd_layers *r, const struct draft *d, const struct list *l, const char *name) {
    for (uint32_t i = 0; i < l->n; i++)
        if (at(&d->source, i) < l->cap[i]) {
            rmd_layers_finding(
                r, l->file, l->line, "plan \"%s\": caps: %s: stage %u allows %llu, and the source in all only %llu",
                d->is.name, name, i + 1, (unsigned long long)l->cap[i], (unsigned long long)at(&d->source, i));
            return;
        }
}

/* A confidence that the bounds have a factor for (warmup.c). */
static void lint_confidence(struct rmd_layers *r, const struct draft *d) {
    int64_t v = d->is.value[CONFIDENCE];
    if (v != RMD_LAYER_UNSET && v != 80 && v != 90 && v != 95 && v != 99)
        rmd_layers_finding(r, d->is.file, d->is.line, "plan \"%s\": confidence: must be 80%%, 90%%, 95%% or 99%%",
                           d->is.name);
}

static void lint(struct rmd_layers *r, const struct draft *d) {
    int before = r->findings;
    if (d->is.faulty)
        return;
    lint_confidence(r, d);
    const struct {
        const struct list *l;
        const char *key;
    } need[] = {
        {&d->source, "source"}, {&d->site, "site"}, {&d->fallback, "caps.default"}, {&d->other, "caps.other"}};
    for (size_t i = 0; i < sizeof need / sizeof need[0]; i++)
        if (!need[i].l->file)
            rmd_layers_finding(r, d->is.file, d->is.line,
                               "plan \"%s\": %s is missing, and no shipped plan has this name", d->is.name,
                               need[i].key);
    if (r->findings > before)
        return;
    lint_list(r, d, &d->fallback, "default");
    lint_list(r, d, &d->other, RMD_PROVIDER_OTHER_NAME);
    for (uint32_t i = 0; i < d->n; i++)
        lint_list(r, d, d->v[i], d->v[i]->provider);
}

static struct rmd_caps_list make_list(struct rmd_arena *a, const struct list *l) {
    return (struct rmd_caps_list){.provider = l->provider ? rmd_arena_str(a, rmd_slice_str(l->provider)) : NULL,
                                  .cap = rmd_arena_dup(a, l->cap, l->n * sizeof l->cap[0]),
                                  .n = l->n};
}

static struct rmd_plan *make_plan(const struct rmd_layers *r, const struct draft *d, struct rmd_arena *a) {
    struct rmd_plan *p = rmd_arena_alloc(a, sizeof *p);
    const struct draft *fallback = r->fallback;
    uint32_t *number[NUMBERS] = {&p->hour_percent, &p->use_percent, &p->idle_days,
                                 &p->hold_days,    &p->back_stages, &p->confidence};
    p->name = rmd_arena_str(a, rmd_slice_str(d->is.name));
    for (int i = 0; i < NUMBERS; i++)
        *number[i] = (uint32_t)rmd_layers_value(r, d, (size_t)i);
    for (int i = 0; i < RMD_GATE_KINDS; i++) {
        p->gate[i].max_ppm = (uint32_t)(d->max_ppm[i] != RMD_LAYER_UNSET ? d->max_ppm[i] : fallback->max_ppm[i]);
        p->gate[i].minimum = (uint32_t)(d->minimum[i] != RMD_LAYER_UNSET ? d->minimum[i] : fallback->minimum[i]);
    }
    p->source = make_list(a, &d->source);
    p->site = make_list(a, &d->site);
    p->fallback = make_list(a, &d->fallback);
    p->other = make_list(a, &d->other);
    p->n_lists = d->n;
    p->list = rmd_arena_alloc(a, (d->n + 1) * sizeof *p->list);
    for (uint32_t i = 0; i < d->n; i++)
        p->list[i] = make_list(a, d->v[i]);
    return p;
}

int rmd_plans_parse(struct rmd_slice override, const char *name, rmd_provider_known_fn known, void *ctx,
                    struct rmd_plans *out, struct rmd_buf *err) {
    *out = (struct rmd_plans){0};
    struct rmd_arena scratch = {0}; /* trees and drafts go at the end; only the plans stay */
    struct providers providers = {.known = known, .ctx = ctx};
    struct rmd_layers r;
    rmd_layers_init(&r, &kind, &scratch, err);
    r.ctx = &providers;
    rmd_layers_read(&r, rmd_slice(rmd_plans_shipped, rmd_plans_shipped_n), "warm-up plans (shipped)", true);
    rmd_layers_read(&r, override, name, false);
    for (size_t i = 0; i < r.n; i++)
        lint(&r, r.v[i]);
    if (!r.findings) {
        out->v = rmd_arena_alloc(&out->arena, (r.n + 1) * sizeof(struct rmd_plan *));
        out->n = r.n;
        for (size_t i = 0; i < r.n; i++)
            out->v[i] = make_plan(&r, r.v[i], &out->arena);
    }
    rmd_arena_release(&scratch);
    return r.findings ? RMD_EINVAL : RMD_OK;
}

int rmd_plans_load(const char *path, rmd_provider_known_fn known, void *ctx, struct rmd_plans *out,
                   struct rmd_buf *err) {
    *out = (struct rmd_plans){0};
    struct rmd_buf text = {0};
    int rc = RMD_OK;
    if (path && *path && rmd_ucl_read_file(path, &text, err) < 0)
        rc = RMD_EINVAL;
    if (rc == RMD_OK)
        rc = rmd_plans_parse(rmd_buf_slice(&text), path && *path ? path : "warm-up plans (operator's)", known, ctx,
                             out, err);
    rmd_buf_release(&text);
    return rc;
}

void rmd_plans_release(struct rmd_plans *p) {
    rmd_arena_release(&p->arena);
    *p = (struct rmd_plans){0};
}
