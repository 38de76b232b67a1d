/* Warm-up plans: shipped text and operator's file into struct rmd_plan (see plans_file.h).
 *
 * Both texts are read into drafts first, where a key that nobody set stays unset; what `default { ... }` says is filled in last, so
 * that an operator's default reaches every plan that says nothing else. */
#include "proto/io/plans_file.h"

#include <base/text.h>

#include "proto/io/ucl.h"
#include "proto/site.h"

enum number { HOUR, USE, IDLE, HOLD, BACK, CONFIDENCE, NUMBERS };
enum { UNSET = -1 };

static const struct {
    const char *name;
    bool percent;
    int64_t min, max;
} number_table[NUMBERS] = {
    [HOUR] = {"hour", true, 1, 100},         [USE] = {"use", true, 0, 100},
    [IDLE] = {"idle_days", false, 1, 3650},  [HOLD] = {"hold_days", false, 0, 365},
    [BACK] = {"back_stages", false, 1, 100}, [CONFIDENCE] = {"confidence", true, 80, 99},
};

struct list {
    uint64_t cap[RMD_PLAN_STAGES_MAX];
    uint32_t n;
    const char *provider, *file;
    int line;
};

struct draft {
    const char *name, *file;
    int line;
    int64_t number[NUMBERS];
    int64_t max_ppm[RMD_GATE_KINDS], minimum[RMD_GATE_KINDS];
    struct list source, site, fallback, other;
    struct list *v[RMD_PLAN_LISTS_MAX];
    uint32_t n;
};

struct reader {
    struct rmd_arena *arena;
    struct rmd_buf *err;
    const char *file;
    rmd_provider_known_fn known;
    void *ctx;
    int findings;
    struct draft *fallback, *v[RMD_PLANS_MAX];
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

static struct draft *draft_new(struct reader *r, const char *name) {
    struct draft *d = rmd_arena_alloc(r->arena, sizeof *d);
    d->name = name;
    for (int i = 0; i < NUMBERS; i++)
        d->number[i] = UNSET;
    for (int i = 0; i < RMD_GATE_KINDS; i++)
        d->max_ppm[i] = d->minimum[i] = UNSET;
    return d;
}

/* --- values */

/* "20%", "0.1%" to parts per million; at most four digits behind the point. */
static bool parse_percent(const char *s, int64_t *ppm) {
    int64_t v = 0;
    int digits = 0, behind = -1;
    for (; (*s >= '0' && *s <= '9') || (*s == '.' && behind < 0); s++) {
        if (*s == '.') {
            behind = 0;
            continue;
        }
        if (behind >= 4 || ++digits > 8)
            return false;
        v = v * 10 + (*s - '0');
        behind += behind >= 0;
    }
    if (!digits || behind == 0 || strcmp(s, "%") != 0)
        return false;
    for (int i = behind < 0 ? 0 : behind; i < 4; i++)
        v *= 10;
    *ppm = v;
    return true;
}

static void read_number(struct reader *r, struct draft *d, enum number k, const struct rmd_ucl *node) {
    const char *name = number_table[k].name;
    int64_t v = 0;
    uint64_t u = 0;
    bool percent = number_table[k].percent;
    bool ok = node->type == RMD_UCL_SCALAR &&
              (percent ? parse_percent(node->text, &v) && v % (RMD_PPM / 100) == 0
                       : rmd_parse_u64(rmd_slice_str(node->text), &u) == RMD_OK && u <= INT32_MAX);
    v = percent ? v / (RMD_PPM / 100) : (int64_t)u;
    if (!ok)
        finding(r, r->file, node->line, "%s: %s: expected %s", d->name, name,
                percent ? "whole per cent, like 20%" : "a whole number");
    else if (v < number_table[k].min || v > number_table[k].max)
        finding(r, r->file, node->line, "%s: %s: %lld is not within %lld and %lld", d->name, name, (long long)v,
                (long long)number_table[k].min, (long long)number_table[k].max);
    else if (k == CONFIDENCE && v != 80 && v != 90 && v != 95 && v != 99)
        finding(r, r->file, node->line, "%s: %s: must be 80%%, 90%%, 95%% or 99%%", d->name, name);
    else
        d->number[k] = v;
}

static void read_gate(struct reader *r, struct draft *d, int k, const struct rmd_ucl *section) {
    const char *gate = rmd_gate_name((unsigned)k);
    if (section->type != RMD_UCL_OBJECT) {
        finding(r, r->file, section->line, "%s: %s: is a section: %s { max = 1%%; minimum = 5 }", d->name, gate,
                gate);
        return;
    }
    for (const struct rmd_ucl *it = section->child; it; it = it->next) {
        int64_t v = 0;
        uint64_t u = 0;
        if (strcmp(it->key, "max") == 0) {
            if (it->type != RMD_UCL_SCALAR || !parse_percent(it->text, &v) || v <= 0 || v > RMD_PPM)
                finding(r, r->file, it->line, "%s: %s: max: expected per cent above 0, like 0.1%%", d->name, gate);
            else
                d->max_ppm[k] = v;
        } else if (strcmp(it->key, "minimum") == 0) {
            if (it->type != RMD_UCL_SCALAR || rmd_parse_u64(rmd_slice_str(it->text), &u) < 0 || !u || u > 1000000)
                finding(r, r->file, it->line, "%s: %s: minimum: expected a whole number from 1 to 1000000", d->name,
                        gate);
            else
                d->minimum[k] = (int64_t)u;
        } else {
            finding(r, r->file, it->line, "%s: %s: %s: unknown key", d->name, gate, it->key);
        }
    }
}

/* An override replaces the whole list. */
static void read_list(struct reader *r, struct draft *d, struct list *l, const struct rmd_ucl *node) {
    l->n = 0;
    l->file = r->file;
    l->line = node->line;
    if (node->type != RMD_UCL_LIST || !node->child) {
        finding(r, r->file, node->line, "%s: %s: expected a list of daily caps, one a stage", d->name, node->key);
        return;
    }
    for (const struct rmd_ucl *it = node->child; it; it = it->next) {
        uint64_t v = 0;
        if (it->type != RMD_UCL_SCALAR || rmd_parse_count(rmd_slice_str(it->text), &v) < 0 || !v || v > UINT32_MAX) {
            finding(r, r->file, it->line, "%s: %s: \"%.40s\" is not a number like 500 or 50k", d->name, node->key,
                    it->type == RMD_UCL_SCALAR ? it->text : rmd_ucl_type_text(it));
            return;
        }
        if (l->n == RMD_PLAN_STAGES_MAX) {
            finding(r, r->file, it->line, "%s: %s: more than %d stages", d->name, node->key, RMD_PLAN_STAGES_MAX);
            return;
        }
        if (l->n && v < l->cap[l->n - 1])
            finding(r, r->file, it->line, "%s: %s: %llu comes after %llu: caps never fall", d->name, node->key,
                    (unsigned long long)v, (unsigned long long)l->cap[l->n - 1]);
        if (l->n && v > 3 * l->cap[l->n - 1])
            finding(r, r->file, it->line,
                    "%s: %s: %llu comes after %llu: a leap that receivers refuse; at most three times", d->name,
                    node->key, (unsigned long long)v, (unsigned long long)l->cap[l->n - 1]);
        l->cap[l->n++] = v;
    }
}

static struct list *list_for(struct reader *r, struct draft *d, const struct rmd_ucl *node) {
    if (strcmp(node->key, "default") == 0)
        return &d->fallback;
    if (strcmp(node->key, RMD_PROVIDER_OTHER_NAME) == 0)
        return &d->other;
    for (uint32_t i = 0; i < d->n; i++)
        if (strcmp(d->v[i]->provider, node->key) == 0)
            return d->v[i];
    if (r->known && !r->known(r->ctx, node->key)) {
        finding(r, r->file, node->line, "%s: caps: nothing defines a provider \"%.40s\"", d->name, node->key);
        return NULL;
    }
    if (d->n == RMD_PLAN_LISTS_MAX) {
        finding(r, r->file, node->line, "%s: caps: more than %d providers", d->name, RMD_PLAN_LISTS_MAX);
        return NULL;
    }
    struct list *l = d->v[d->n++] = rmd_arena_alloc(r->arena, sizeof *l);
    l->provider = node->key;
    return l;
}

static void read_caps(struct reader *r, struct draft *d, const struct rmd_ucl *section) {
    if (section->type != RMD_UCL_OBJECT) {
        finding(r, r->file, section->line, "%s: caps: is a section: caps { default = [...] }", d->name);
        return;
    }
    for (const struct rmd_ucl *it = section->child; it; it = it->next) {
        struct list *l = list_for(r, d, it);
        if (l)
            read_list(r, d, l, it);
    }
}

/* --- sections */

static void read_member(struct reader *r, struct draft *d, const struct rmd_ucl *it) {
    for (int k = 0; k < NUMBERS; k++)
        if (strcmp(number_table[k].name, it->key) == 0) {
            read_number(r, d, (enum number)k, it);
            return;
        }
    for (int k = 0; k < RMD_GATE_KINDS; k++)
        if (strcmp(rmd_gate_name((unsigned)k), it->key) == 0) {
            read_gate(r, d, k, it);
            return;
        }
    if (d != r->fallback && strcmp(it->key, "source") == 0)
        read_list(r, d, &d->source, it);
    else if (d != r->fallback && strcmp(it->key, "site") == 0)
        read_list(r, d, &d->site, it);
    else if (d != r->fallback && strcmp(it->key, "caps") == 0)
        read_caps(r, d, it);
    else
        finding(r, r->file, it->line, "%s: %s: unknown key", d->name, it->key);
}

static bool name_ok(const char *s) {
    size_t n = strlen(s);
    return n > 0 && n <= RMD_PLAN_NAME_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static void read_plan(struct reader *r, const struct rmd_ucl *section) {
    if (!name_ok(section->key) || section->type != RMD_UCL_OBJECT) {
        finding(r, r->file, section->line,
                "plan \"%.40s\": is a section, plan \"name\" { ... }, with 1 to %d small letters, digits, \"-\", "
                "\"_\" in its name",
                section->key, RMD_PLAN_NAME_MAX);
        return;
    }
    struct draft *d = NULL;
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->v[i]->name, section->key) == 0)
            d = r->v[i];
    if (!d && r->n == RMD_PLANS_MAX) {
        finding(r, r->file, section->line, "more than %d plans", RMD_PLANS_MAX);
        return;
    }
    if (!d)
        d = r->v[r->n++] = draft_new(r, section->key);
    d->file = r->file;
    d->line = section->line;
    for (const struct rmd_ucl *it = section->child; it; it = it->next)
        read_member(r, d, it);
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
            for (const struct rmd_ucl *m = it->child; m; m = m->next)
                read_member(r, r->fallback, m);
        else if (section && strcmp(it->key, "plan") == 0)
            for (const struct rmd_ucl *p = it->child; p; p = p->next)
                read_plan(r, p);
        else
            finding(r, r->file, it->line, "%s: unknown key; expected plan \"name\" { ... } or default { ... }",
                    it->key);
    }
}

/* --- the whole */

static uint64_t at(const struct list *l, uint32_t stage) {
    return l->n ? l->cap[stage < l->n ? stage : l->n - 1] : 0;
}

static void lint_list(struct reader *r, const struct draft *d, const struct list *l, const char *name) {
    for (uint32_t i = 0; i < l->n; i++)
        if (at(&d->source, i) < l->cap[i]) {
            finding(r, l->file, l->line, "%s: caps: %s: stage %u allows %llu, and the source in all only %llu",
                    d->name, name, i + 1, (unsigned long long)l->cap[i], (unsigned long long)at(&d->source, i));
            return;
        }
}

static void lint(struct reader *r, const struct draft *d) {
    const struct {
        const struct list *l;
        const char *key;
    } need[] = {
        {&d->source, "source"}, {&d->site, "site"}, {&d->fallback, "caps.default"}, {&d->other, "caps.other"}};
    for (size_t i = 0; i < sizeof need / sizeof need[0]; i++)
        if (!need[i].l->file)
            finding(r, d->file, d->line, "plan \"%s\": %s is missing, and no shipped plan has this name", d->name,
                    need[i].key);
    if (r->findings)
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

static struct rmd_plan *make_plan(const struct reader *r, const struct draft *d, struct rmd_arena *a) {
    struct rmd_plan *p = rmd_arena_alloc(a, sizeof *p);
    uint32_t *number[NUMBERS] = {&p->hour_percent, &p->use_percent, &p->idle_days,
                                 &p->hold_days,    &p->back_stages, &p->confidence};
    p->name = rmd_arena_str(a, rmd_slice_str(d->name));
    for (int i = 0; i < NUMBERS; i++)
        *number[i] = (uint32_t)(d->number[i] != UNSET ? d->number[i] : r->fallback->number[i]);
    for (int i = 0; i < RMD_GATE_KINDS; i++) {
        p->gate[i].max_ppm = (uint32_t)(d->max_ppm[i] != UNSET ? d->max_ppm[i] : r->fallback->max_ppm[i]);
        p->gate[i].minimum = (uint32_t)(d->minimum[i] != UNSET ? d->minimum[i] : r->fallback->minimum[i]);
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
    struct reader r = {.arena = &scratch, .err = err, .known = known, .ctx = ctx};
    r.fallback = draft_new(&r, "default");
    read_text(&r, rmd_slice(rmd_plans_shipped, rmd_plans_shipped_n), "warm-up plans (shipped)");
    read_text(&r, override, name);
    for (size_t i = 0; i < r.n && !r.findings; i++)
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
