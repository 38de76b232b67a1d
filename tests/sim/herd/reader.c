/* Values of a scenario file by type and bounds (see reader.h). */
#include "tests/sim/herd/reader.h"

#include <inttypes.h>

#include <base/text.h>

enum { FINDINGS_MAX = 100 };

void herd_finding(struct herd_reader *r, int line, const char *fmt, ...) {
    if (++r->findings > FINDINGS_MAX)
        return;
    rmd_buf_addf(r->err, "%s:%d: ", r->file, line);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(r->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(r->err, '\n');
}

/* "9h" and "5d 10h" */
static bool parse_time(const char *s, int64_t *out) {
    int64_t sum = 0, v;
    for (;;) {
        size_t n = strcspn(s, " ");
        if (rmd_parse_duration_ms(rmd_slice(s, n), &v) != RMD_OK || v > INT64_MAX / 4)
            return false;
        sum += v;
        s += n;
        if (!*s)
            break;
        s++;
    }
    *out = sum;
    return true;
}

static const char *wanted(enum herd_key_type type) {
    static const char *const text[] = {
        [HERD_KEY_COUNT] = "a whole number (5, 200k)",
        [HERD_KEY_DURATION] = "a time (90s, 5min, 4h, 2d 9h)",
        [HERD_KEY_SHARE] = "per cent (5%, 0.02%)",
        [HERD_KEY_FLAG] = "true or false",
        [HERD_KEY_TEXT] = "a text",
        [HERD_KEY_REPLY] = "an SMTP reply (\"421 4.7.0 ...\", 421 to 571)",
        [HERD_KEY_WORD] = "one of its words",
        [HERD_KEY_TEXTS] = "a list of at most 8 texts",
    };
    return text[type];
}

static bool is_reply(const char *s) {
    return (s[0] == '4' || s[0] == '5') && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '9' &&
           (s[3] == ' ' || s[3] == '-') && strlen(s) > 4;
}

static bool read_word(const struct herd_key *k, const char *s, int64_t *out) {
    for (int64_t i = 0; k->words[i]; i++) {
        if (strcmp(k->words[i], s) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool read_texts(struct herd_reader *r, const struct rmd_ucl *node, const char **out) {
    size_t n = 0;
    memset(out, 0, HERD_CITES_MAX * sizeof *out);
    if (node->type == RMD_UCL_SCALAR) {
        out[0] = rmd_arena_str(r->arena, rmd_slice_str(node->text));
        return *out[0];
    }
    if (node->type != RMD_UCL_LIST)
        return false;
    for (const struct rmd_ucl *it = node->child; it; it = it->next) {
        if (it->type != RMD_UCL_SCALAR || !*it->text || n == HERD_CITES_MAX)
            return false;
        out[n++] = rmd_arena_str(r->arena, rmd_slice_str(it->text));
    }
    return n > 0;
}

static bool read_number(const struct herd_key *k, const char *s, int64_t *out) {
    uint64_t u;
    switch (k->type) {
    case HERD_KEY_COUNT:
        if (rmd_parse_count(rmd_slice_str(s), &u) != RMD_OK || u > INT64_MAX)
            return false;
        *out = (int64_t)u;
        return true;
    case HERD_KEY_DURATION:
        return parse_time(s, out);
    case HERD_KEY_SHARE:
        if (rmd_parse_ppm(rmd_slice_str(s), &u) != RMD_OK)
            return false;
        *out = (int64_t)u;
        return true;
    default:
        return false;
    }
}

static void read_key(struct herd_reader *r, const struct herd_key *k, const struct rmd_ucl *node, void *base) {
    void *at = (char *)base + k->offset;
    bool scalar = node->type == RMD_UCL_SCALAR, ok = scalar;
    int64_t v = 0;
    if (k->type == HERD_KEY_TEXTS) {
        ok = read_texts(r, node, at);
    } else if (ok && (k->type == HERD_KEY_TEXT || k->type == HERD_KEY_REPLY)) {
        ok = *node->text && (k->type == HERD_KEY_TEXT || is_reply(node->text));
        if (ok)
            *(const char **)at = rmd_arena_str(r->arena, rmd_slice_str(node->text));
    } else if (ok && k->type == HERD_KEY_FLAG) {
        ok = strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0;
        *(bool *)at = strcmp(node->text, "true") == 0;
    } else if (ok && k->type == HERD_KEY_WORD) {
        ok = read_word(k, node->text, at);
    } else if (ok && (ok = read_number(k, node->text, &v))) {
        if (v < k->min || v > k->max)
            herd_finding(r, node->line, "%s: %s is not within %" PRId64 " and %" PRId64 "%s", k->name, node->text,
                         k->min, k->max,
                         k->type == HERD_KEY_DURATION ? " ms"
                         : k->type == HERD_KEY_SHARE  ? " millionths"
                                                      : "");
        else
            *(int64_t *)at = v;
    }
    if (!ok)
        herd_finding(r, node->line, "%s: expected %s", k->name, wanted(k->type));
}

static const struct herd_key *find(const struct herd_key *keys, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

void herd_read_section(struct herd_reader *r, const struct herd_section *s, const struct rmd_ucl *node, void *base,
                       bool (*other)(struct herd_reader *, const struct rmd_ucl *, void *base)) {
    struct herd_rule *rule = s->rule == SIZE_MAX ? NULL : (struct herd_rule *)(void *)((char *)base + s->rule);
    if (node->type != RMD_UCL_OBJECT) {
        herd_finding(r, node->line, "%s: is a section: %s { ... }", node->key, node->key);
        return;
    }
    if (rule)
        rule->line = node->line;
    for (const struct rmd_ucl *it = node->child; it; it = it->next) {
        const struct herd_key *k = find(s->keys, s->n, it->key);
        const struct herd_key *of_rule = rule ? find(herd_rule_keys, s->speaks ? 4 : 2, it->key) : NULL;
        if (k)
            read_key(r, k, it, base);
        else if (of_rule)
            read_key(r, of_rule, it, rule);
        else if (!other || !other(r, it, base))
            herd_finding(r, it->line, "%s: unknown key in %s", it->key, s->name);
    }
    if (rule)
        rule->on = !rule->off;
}

void herd_check_rule(struct herd_reader *r, const struct herd_section *s, const void *base, const char *owner,
                     int line) {
    const struct herd_rule *rule =
        s->rule == SIZE_MAX ? NULL : (const struct herd_rule *)(const void *)((const char *)base + s->rule);
    if (rule && !rule->on)
        return;
    if (rule && rule->line)
        line = rule->line;
    for (size_t i = 0; i < s->n; i++) {
        const void *at = (const char *)base + s->keys[i].offset;
        if (s->keys[i].required && !*(const char *const *)at)
            herd_finding(r, line, "%s: %s: %s is missing", owner, s->name, s->keys[i].name);
    }
    if (rule && !rule->cites[0])
        herd_finding(r, line, "%s: %s: cites is missing: which behaviour of the facts does it imitate?", owner,
                     s->name);
    if (rule && s->stages && !(s->stages >> rule->stage & 1))
        herd_finding(r, line, "%s: %s: stage: it can't speak there", owner, s->name);
    if (rule && s->speaks && !rule->reply && s != &herd_event_section)
        herd_finding(r, line, "%s: %s: reply is missing", owner, s->name);
}
