/* The rule set: rules are added, put into order and indexed once; then it is read-only, and threads may share it.
 *
 * Everything that a rule says lives in the set's arena. What is wrong with one rule alone is refused by add(); what
 * can only be seen with all rules at hand (samples, shadows, overrides) is found by compile(). */
#include "proto/rules_internal.h"

#include <assert.h>

#include <base/text.h>

enum { IP_SCOPES = RMD_SCOPE_SOURCE | RMD_SCOPE_NETWORK | RMD_SCOPE_LANE };
enum { /* an address that is of no use to anybody */
       SUPPRESS_CLASSES = 1 << RMD_CLASS_USER_UNKNOWN | 1 << RMD_CLASS_MAILBOX_DISABLED |
                          1 << RMD_CLASS_MAILBOX_FULL | 1 << RMD_CLASS_NO_SUCH_DOMAIN
};
enum { PAUSE_SCOPES = RMD_SCOPE_MESSAGE | RMD_SCOPE_CAMPAIGN | RMD_SCOPE_SENDING_DOMAIN };

struct rmd_rules *rmd_rules_new(void) {
    struct rmd_rules *r = rmd_alloc(sizeof *r);
    r->added = rmd_alloc(RMD_RULES_MAX * sizeof *r->added);
    char err[1];
    int error = rmd_rules_provider(r, "other", err, sizeof err);
    assert(error == RMD_OK);
    return r;
}

void rmd_rules_free(struct rmd_rules *r) {
    if (!r)
        return;
    rmd_pattern_index_release(&r->index);
    rmd_map_release(&r->provider_index);
    rmd_map_release(&r->sets);
    rmd_model_free(r->model);
    rmd_arena_release(&r->arena);
    free(r->provider);
    free(r->added);
    free(r->rule);
    free(r->patterns);
    free(r->bare);
    free(r);
}

size_t rmd_rules_count(const struct rmd_rules *r) {
    return r->n;
}

size_t rmd_rules_own_count(const struct rmd_rules *r) {
    size_t n = 0;
    for (uint32_t i = 0; i < r->n; i++)
        n += r->rule[i]->layer == RMD_RULES_OPERATOR;
    return n;
}

/* ---------------------------------------------------------------- providers */

static bool is_name(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return n > 0 && n < 64 && s[n] == 0;
}

int rmd_rules_provider(struct rmd_rules *r, const char *name, char *err, size_t err_n) {
    if (!*name)
        (void)rmd_format(err, err_n, "a provider's name is empty");
    else if (rmd_has_suffix(name, "."))
        (void)rmd_format(err, err_n, "provider name \"%s\" ends with a dot", name);
    else if (!is_name(name) && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != strlen(name))
        (void)rmd_format(err, err_n, "provider name \"%s\" has other characters than a-z, 0-9, -, _ and .", name);
    else if (strlen(name) > 63 || r->n_provider == RMD_RULES_MAX)
        (void)rmd_format(err, err_n, "provider name \"%s\" is too long, or one too many", name);
    else {
        if (rmd_map_get_str(&r->provider_index, name))
            return RMD_OK;
        r->provider = rmd_realloc(r->provider, (r->n_provider + 1) * sizeof *r->provider);
        r->provider[r->n_provider++] = rmd_arena_str(&r->arena, rmd_slice_str(name));
        rmd_map_set(&r->provider_index, rmd_slice_str(name), (void *)(uintptr_t)r->n_provider);
        return RMD_OK;
    }
    return RMD_EINVAL;
}

int rmd_rules_provider_find(const struct rmd_rules *r, const char *name) {
    return (int)(uintptr_t)rmd_map_get_str(&r->provider_index, name) - 1;
}

/* ---------------------------------------------------------------- sets of words */

int rmd_rules_set(struct rmd_rules *r, const char *name, const char *const *word, char *err, size_t err_n) {
    size_t n = 0;
    if (!is_name(name)) {
        (void)rmd_format(err, err_n, "a set's name has 1 to 63 characters of a-z, 0-9, - and _");
        return RMD_EINVAL;
    }
    while (word[n])
        n++;
    if (n < 2 || n > RMD_RULES_SET_MAX) {
        (void)rmd_format(err, err_n, "set %s: has fewer than 2 or more than %d words", name, RMD_RULES_SET_MAX);
        return RMD_EINVAL;
    }
    const char **copy = rmd_arena_alloc(&r->arena, (n + 1) * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = rmd_arena_str(&r->arena, rmd_slice_str(word[i]));
    rmd_map_set(&r->sets, rmd_slice_str(name), copy);
    return RMD_OK;
}

/* ---------------------------------------------------------------- adding a rule */

struct adding {
    struct rmd_rules *r;
    const struct rmd_rule_def *def;
    struct rmd_rule *rule;
    char *err;
    size_t err_n;
};

static int refuse(const struct adding *a, const char *fmt, ...) RMD_PRINTF(2, 3) RMD_CHECKED;
static int refuse(const struct adding *a, const char *fmt, ...) {
    struct rmd_buf text = {0};
    rmd_buf_addf(&text, "%s:%d: rule %s: ", a->def->file ? a->def->file : "rules", a->def->line,
                 a->def->name && *a->def->name ? a->def->name : "(no name)");
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    (void)rmd_copy(a->err, a->err_n, rmd_buf_str(&text));
    rmd_buf_release(&text);
    return RMD_EINVAL;
}

static int list_length(const char *const *list) {
    int n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* A part is up to three characters: digits, then "x" for any further digits; "x" alone is any number. */
static bool read_enhanced(const char *s, struct rmd_enhanced_range *out) {
    for (int k = 0; k < 3; k++) {
        unsigned low = 0, high = 0;
        size_t digits = strspn(s, "0123456789"), any = strspn(s + digits, "xX");
        if (digits + any < 1 || digits + any > 3 || s[digits + any] != (k < 2 ? '.' : 0))
            return false;
        for (size_t i = 0; i < digits + any; i++) {
            low = low * 10 + (i < digits ? (unsigned)(s[i] - '0') : 0);
            high = high * 10 + (i < digits ? (unsigned)(s[i] - '0') : 9);
        }
        out->low[k] = (uint16_t)low;
        out->high[k] = (uint16_t)(digits ? high : 999);
        s += digits + any + (k < 2);
    }
    return true;
}

static int add_conditions(struct adding *a) {
    const struct rmd_rule_def *def = a->def;
    struct rmd_rule *rule = a->rule;
    if (list_length(def->provider) > RMD_RULE_LIST_MAX || list_length(def->stage) > RMD_STAGE_COUNT ||
        list_length(def->code) > RMD_RULE_LIST_MAX || list_length(def->enhanced) > RMD_RULE_LIST_MAX)
        return refuse(a, "a list has more than %d entries", RMD_RULE_LIST_MAX);
    for (int i = 0; i < list_length(def->provider); i++) {
        int provider = *def->provider[i] ? rmd_rules_provider_find(a->r, def->provider[i]) : -1;
        if (!*def->provider[i])
            return refuse(a, "a provider's name is empty");
        if (provider < 0)
            return refuse(a, "there is no provider \"%s\"%s", def->provider[i],
                          rmd_has_suffix(def->provider[i], ".") ? " (it ends with a dot)" : "");
        rule->provider[rule->n_provider++] = (uint16_t)provider;
    }
    for (int i = 0; i < list_length(def->stage); i++) {
        int stage = rmd_stage_parse(rmd_slice_str(def->stage[i]));
        if (stage < 0)
            return refuse(a, "unknown stage \"%s\"", def->stage[i]);
        rule->stages |= 1u << stage;
    }
    for (int i = 0; i < list_length(def->code); i++) {
        const char *code = def->code[i];
        size_t n = strspn(code, "0123456789");
        if (n < 1 || n > 3 || code[n] || (*code != '4' && *code != '5'))
            return refuse(a, "code \"%s\" is not 4 or 5 with up to two more digits", code);
        rule->code[rule->n_code++] = rmd_arena_str(&a->r->arena, rmd_slice_str(code));
    }
    for (int i = 0; i < list_length(def->enhanced); i++)
        if (!read_enhanced(def->enhanced[i], &rule->enhanced[rule->n_enhanced++]))
            return refuse(a, "enhanced code \"%s\" is not of the form 4.7.1, 4.7.x or 4.7.85x", def->enhanced[i]);
    return RMD_OK;
}

/* What the design promises of every verdict, whoever wrote the rule: only causes in the IP's own scope move work,
 * nobody is suppressed for our reputation, and an action fits its scope. */
static int check_verdict(struct adding *a) {
    const struct rmd_verdict *v = &a->rule->verdict;
    if (!v->scope)
        return refuse(a, "has no scope");
    if (v->move && v->class == RMD_CLASS_NO_RDNS)
        return refuse(a, "moves work because of the source's own names in DNS: no other address mends them");
    if (v->move && (v->scope & ~(unsigned)IP_SCOPES))
        return refuse(a, "moves work for a cause that is not the source's: scope must be source, network or lane");
    if (rmd_action_suppresses(v->action) && v->scope != RMD_SCOPE_RECIPIENT)
        return refuse(a, "suppresses for a cause that is not the recipient's: scope must be recipient");
    if (rmd_action_suppresses(v->action) && !(SUPPRESS_CLASSES >> v->class & 1))
        return refuse(a, "suppresses for what is no fault of the recipient: class %s", rmd_class_name(v->class));
    if (v->action == RMD_ACTION_QUARANTINE && (v->scope & ~(unsigned)(IP_SCOPES | RMD_SCOPE_NODE)))
        return refuse(a, "quarantines something that is no source: scope must be source, network, lane or node");
    if (v->action == RMD_ACTION_PAUSE && !(v->scope & PAUSE_SCOPES))
        return refuse(a, "pauses, but scope names no message, campaign or sending_domain");
    if ((rmd_action_slows(v->action) || v->action == RMD_ACTION_REST) && v->duration_ms <= 0)
        return refuse(a, "slows or rests without a duration");
    if (v->action == RMD_ACTION_RETRY_SAME && v->move)
        return refuse(a, "retries from the same source and moves at once");
    bool retries =
        v->action == RMD_ACTION_RETRY || v->action == RMD_ACTION_RETRY_SAME || v->action == RMD_ACTION_NEXT_MX;
    if (a->def->permanent > 0 && retries)
        return refuse(a, "retries and is permanent at once");
    if (a->def->permanent == 0 && (v->action == RMD_ACTION_FAIL || rmd_action_suppresses(v->action)))
        return refuse(a, "fails and is not permanent");
    if (v->duration_ms < 0)
        return refuse(a, "has a negative duration");
    return RMD_OK;
}

static int add_verdict(struct adding *a) {
    const struct rmd_rule_def *def = a->def;
    struct rmd_verdict *v = &a->rule->verdict;
    int class = rmd_class_parse(rmd_slice_str(def->class_name ? def->class_name : ""));
    int action = rmd_action_parse(rmd_slice_str(def->action ? def->action : ""));
    if (class < 0)
        return refuse(a, "unknown class \"%s\"", def->class_name ? def->class_name : "");
    if (action < 0)
        return refuse(a, "unknown action \"%s\"", def->action ? def->action : "");
    for (int i = 0; i < list_length(def->scope); i++) {
        int bit = rmd_scope_parse(rmd_slice_str(def->scope[i]));
        if (bit < 0)
            return refuse(a, "unknown scope \"%s\"", def->scope[i]);
        v->scope |= (unsigned)bit;
    }
    v->class = (enum rmd_class) class;
    v->action = (enum rmd_action)action;
    v->at_provider = def->at_provider || (v->scope & RMD_SCOPE_LANE);
    v->duration_ms = def->duration_ms;
    v->move = def->move;
    v->rule = a->rule->name;
    a->rule->permanent = def->permanent;
    return check_verdict(a);
}

static const char *const *copy_list(struct rmd_arena *arena, const char *const *list, int n) {
    const char **out = rmd_arena_alloc(arena, ((size_t)n + 1) * sizeof *out);
    for (int i = 0; i < n; i++)
        out[i] = rmd_arena_str(arena, rmd_slice_str(list[i]));
    return out;
}

static int add_texts(struct adding *a) {
    const struct rmd_rule_def *def = a->def;
    struct rmd_rule *rule = a->rule;
    rule->n_pattern = list_length(def->pattern);
    rule->n_sample = list_length(def->sample);
    if (rule->n_pattern > RMD_RULE_PATTERNS_MAX || rule->n_sample > RMD_RULE_SAMPLES_MAX)
        return refuse(a, "has more than %d patterns or %d samples", RMD_RULE_PATTERNS_MAX, RMD_RULE_SAMPLES_MAX);
    if (rule->n_sample == 0)
        return refuse(a, "has no sample");
    if (rule->n_pattern == 0 && !rule->n_code && !rule->n_enhanced && !rule->stages && !rule->n_provider)
        return refuse(a, "asks for nothing and would match every reply");
    rule->pattern = copy_list(&a->r->arena, def->pattern, rule->n_pattern);
    rule->sample = copy_list(&a->r->arena, def->sample, rule->n_sample);
    rule->source = def->source ? rmd_arena_str(&a->r->arena, rmd_slice_str(def->source)) : NULL;
    rule->weak = def->weak;
    if (a->r->n_text_patterns + (unsigned)rule->n_pattern > RMD_RULES_PATTERNS_MAX)
        return refuse(a, "all rules together have more than %d patterns", RMD_RULES_PATTERNS_MAX);
    for (int i = 0; i < rule->n_pattern; i++) {
        struct rmd_pattern probe;
        const char *why = rmd_pattern_compile(&a->r->arena, &a->r->sets, def->pattern[i], &probe);
        if (why)
            return refuse(a, "pattern \"%s\" %s", def->pattern[i], why);
    }
    return RMD_OK;
}

int rmd_rules_add(struct rmd_rules *r, const struct rmd_rule_def *def, char *err, size_t err_n) {
    struct adding a = {.r = r, .def = def, .err = err, .err_n = err_n};
    if (!def->name || !is_name(def->name))
        return refuse(&a, "a rule's name has 1 to 63 characters of a-z, 0-9, - and _");
    if (r->n_added == RMD_RULES_MAX)
        return refuse(&a, "there are more than %d rules", RMD_RULES_MAX);
    for (uint32_t i = 0; i < r->n_added; i++)
        if (r->added[i]->layer == def->layer && strcmp(r->added[i]->name, def->name) == 0)
            return refuse(&a, "the name is taken by the rule at %s:%d", r->added[i]->file, r->added[i]->line);
    a.rule = rmd_arena_alloc(&r->arena, sizeof *a.rule);
    a.rule->name = rmd_arena_str(&r->arena, rmd_slice_str(def->name));
    a.rule->file = rmd_arena_str(&r->arena, rmd_slice_str(def->file ? def->file : "rules"));
    a.rule->line = def->line;
    a.rule->layer = def->layer;
    int error = add_conditions(&a);
    if (!error)
        error = add_verdict(&a);
    if (!error)
        error = add_texts(&a);
    if (error)
        return error;
    r->n_text_patterns += (unsigned)a.rule->n_pattern;
    r->added[r->n_added++] = a.rule;
    return RMD_OK;
}

/* ---------------------------------------------------------------- compiling */

static struct rmd_rule *find_added(const struct rmd_rules *r, int layer, const char *name) {
    for (uint32_t i = 0; i < r->n_added; i++)
        if (r->added[i]->layer == layer && strcmp(r->added[i]->name, name) == 0)
            return r->added[i];
    return NULL;
}

/* Stable. */
static void weak_last(struct rmd_rules *r) {
    struct rmd_rule **sorted = rmd_alloc((r->n + 1) * sizeof *sorted);
    uint32_t n = 0;
    for (int weak = 0; weak < 2; weak++) {
        for (uint32_t i = 0; i < r->n; i++)
            if (r->rule[i]->weak == weak)
                sorted[n++] = r->rule[i];
        r->n_strong = weak ? r->n_strong : n;
    }
    free(r->rule);
    r->rule = sorted;
}

static void put_in_order(struct rmd_rules *r) {
    free(r->rule);
    r->rule = rmd_alloc((r->n_added + 1) * sizeof *r->rule);
    r->n = 0;
    for (uint32_t i = 0; i < r->n_added; i++)
        if (r->added[i]->layer == RMD_RULES_OPERATOR && !find_added(r, RMD_RULES_SHIPPED, r->added[i]->name))
            r->rule[r->n++] = r->added[i];
    for (uint32_t i = 0; i < r->n_added; i++)
        if (r->added[i]->layer != RMD_RULES_OPERATOR) {
            struct rmd_rule *instead = find_added(r, RMD_RULES_OPERATOR, r->added[i]->name);
            r->rule[r->n++] = instead ? instead : r->added[i];
        }
    weak_last(r);
}

int rmd_rules_compile(struct rmd_rules *r, void (*finding)(void *ctx, const char *text), void *ctx) {
    put_in_order(r);
    free(r->patterns);
    free(r->bare);
    rmd_pattern_index_release(&r->index);
    r->patterns = rmd_alloc((r->n_text_patterns + 1) * sizeof *r->patterns);
    r->bare = rmd_alloc((r->n + 1) * sizeof *r->bare);
    r->n_patterns = r->n_bare = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        struct rmd_rule *rule = r->rule[i];
        rule->first_pattern = r->n_patterns;
        if (rule->n_pattern == 0)
            r->bare[r->n_bare++] = i;
        for (int k = 0; k < rule->n_pattern; k++) {
            struct rmd_pattern *p = &r->patterns[r->n_patterns++];
            const char *why = rmd_pattern_compile(&r->arena, &r->sets, rule->pattern[k], p);
            assert(!why); /* add() compiled it before */
            p->rule = i;
        }
    }
    rmd_pattern_index_build(&r->index, r->patterns, r->n_patterns);
    return rmd_rules_lint(r, finding, ctx) ? RMD_EINVAL : RMD_OK;
}

/* ---------------------------------------------------------------- classifying */

bool rmd_rule_accepts(const struct rmd_rule *rule, const struct rmd_subject *s) {
    if (rule->stages && !(rule->stages & 1u << s->stage))
        return false;
    bool ok = rule->n_provider == 0;
    for (int i = 0; i < rule->n_provider && !ok; i++)
        ok = rule->provider[i] == s->provider;
    if (!ok)
        return false;
    ok = rule->n_code == 0;
    for (int i = 0; i < rule->n_code && !ok; i++) {
        const char *want = rule->code[i];
        int digit[3] = {s->code / 100, s->code / 10 % 10, s->code % 10}, k = 0;
        while (want[k] && want[k] - '0' == digit[k])
            k++;
        ok = !want[k];
    }
    if (!ok)
        return false;
    ok = rule->n_enhanced == 0;
    for (int i = 0; i < rule->n_enhanced && !ok; i++) {
        const struct rmd_enhanced_range *want = &rule->enhanced[i];
        ok = s->enhanced[0] != 0;
        for (int k = 0; k < 3 && ok; k++)
            ok = want->low[k] <= s->enhanced[k] && s->enhanced[k] <= want->high[k];
    }
    return ok;
}

struct search {
    const struct rmd_rules *r;
    const struct rmd_subject *s;
    uint32_t best;
    uint8_t seen[2 * RMD_RULES_PATTERNS_MAX / 8]; /* keys */
};

static void consider(void *ctx, uint32_t entry) {
    struct search *q = ctx;
    const struct rmd_pattern *p = &q->r->patterns[entry / 2];
    if (p->rule >= q->best || rmd_bit_get(q->seen, entry))
        return;
    rmd_bit_set(q->seen, entry);
    if (p->key[1].n && !rmd_bit_get(q->seen, entry ^ 1))
        return;
    if (rmd_rule_accepts(q->r->rule[p->rule], q->s) &&
        ((p->key[0].n == p->n && !p->key[0].brace) || rmd_pattern_matches(p, q->s->text, q->s->n)))
        q->best = p->rule;
}

uint32_t rmd_rules_find(const struct rmd_rules *r, const struct rmd_subject *s) {
    struct search q;
    q.r = r;
    q.s = s;
    q.best = r->n;
    memset(q.seen, 0, rmd_bit_bytes((size_t)r->n_patterns * 2));
    if (r->n_patterns)
        rmd_pattern_index_walk(&r->index, s->text, s->n, consider, &q);
    for (uint32_t i = 0; i < r->n_bare && r->bare[i] < q.best; i++)
        if (rmd_rule_accepts(r->rule[r->bare[i]], s))
            q.best = r->bare[i];
    return q.best;
}

bool rmd_stage_before_mail(enum rmd_stage stage) {
    return stage == RMD_STAGE_CONNECT || stage == RMD_STAGE_GREETING || stage == RMD_STAGE_EHLO ||
           stage == RMD_STAGE_STARTTLS;
}

static void by_code(const struct rmd_reply *reply, struct rmd_verdict *out) {
    *out = (struct rmd_verdict){.class = RMD_CLASS_OTHER, .scope = RMD_SCOPE_RECIPIENT, .rule = "code"};
    if (reply->code < 400) {
        out->class = RMD_CLASS_DELIVERED;
    } else if (rmd_stage_before_mail(reply->stage)) {
        out->scope = RMD_SCOPE_DESTINATION;
        out->action = RMD_ACTION_NEXT_MX;
    } else {
        out->permanent = reply->code >= 500;
        out->action = out->permanent ? RMD_ACTION_FAIL : RMD_ACTION_RETRY;
    }
}

void rmd_verdict_settle(struct rmd_verdict *v) {
    if (!v->permanent && (v->action == RMD_ACTION_FAIL || rmd_action_suppresses(v->action)))
        v->action = RMD_ACTION_RETRY;
    if (v->permanent && v->action == RMD_ACTION_RETRY)
        v->action = RMD_ACTION_FAIL;
    if (v->action == RMD_ACTION_RETRY_SAME || v->action == RMD_ACTION_NEXT_MX)
        v->permanent = false;
}

static void by_rule(const struct rmd_rule *rule, const struct rmd_reply *reply, struct rmd_verdict *out) {
    *out = rule->verdict;
    if (rule->permanent >= 0) {
        out->permanent = rule->permanent;
        return;
    }
    out->permanent = reply->code >= 500 && !rmd_stage_before_mail(reply->stage);
    rmd_verdict_settle(out);
}

void rmd_rules_explain(const struct rmd_rules *r, const struct rmd_reply *reply, const char *provider,
                       struct rmd_verdict *out, struct rmd_why *why) {
    *why = (struct rmd_why){0};
    by_code(reply, out);
    if (reply->code < 400 || reply->code > 599)
        return;
    struct rmd_subject s;
    rmd_subject_init(&s, reply);
    s.provider = *provider ? rmd_rules_provider_find(r, provider) : -1;
    uint32_t at = rmd_rules_find(r, &s);
    if (at >= r->n_strong && r->model && rmd_model_ask(r->model, &s, &why->model)) {
        rmd_model_verdict(why->model.class, reply->code, reply->stage, out);
        return;
    }
    why->model.n_reasons = 0;
    if (at == r->n)
        return;
    const struct rmd_rule *rule = r->rule[at];
    by_rule(rule, reply, out);
    why->file = rule->file;
    why->line = rule->line;
    why->source = rule->source;
    for (int i = 0; i < rule->n_pattern && !why->pattern; i++)
        if (rmd_pattern_matches(&r->patterns[rule->first_pattern + (unsigned)i], s.text, s.n))
            why->pattern = rule->pattern[i];
}

void rmd_rules_classify(const struct rmd_rules *r, const struct rmd_reply *reply, const char *provider,
                        struct rmd_verdict *out) {
    by_code(reply, out);
    if (reply->code < 400 || reply->code > 599)
        return;
    struct rmd_subject s;
    struct rmd_model_answer answer;
    rmd_subject_init(&s, reply);
    s.provider = *provider ? rmd_rules_provider_find(r, provider) : -1;
    uint32_t at = rmd_rules_find(r, &s);
    if (at >= r->n_strong && r->model && rmd_model_ask(r->model, &s, &answer))
        rmd_model_verdict(answer.class, reply->code, reply->stage, out);
    else if (at < r->n)
        by_rule(r->rule[at], reply, out);
}

void rmd_rules_model(struct rmd_rules *r, struct rmd_model *m) {
    rmd_model_free(r->model);
    r->model = m;
}
