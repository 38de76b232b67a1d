/* Accuracy of the verdict rules on a table of replies with classes: precision and recall for each class on the rows
 * with one right answer, accuracy on all rows with every answer that a careful reader could defend, the costly errors
 * by name, and speed; and for tests/model/evaluate.py what each row looks like without its own source project.
 *
 *     accuracy TABLE [--misses | --rows | --memorised FACTS]
 *
 * TABLE: tab-separated with a header line; the columns class, accept (alternatives by "|", "*": not scored; absent: the class alone),
 * strict, provider, stage, origin, source, id and reply are read. A reply is read as `remuda classify` reads it: its code comes from
 * its text. A table that isn't there is said so and is no failure: the replies aren't part of the project.
 *
 * --rows writes, tab-separated, one row each: id, source project, class, accept, strict; then each pattern that matches, in the
 * rules' order, as "rule/number/class/strong" or ".../weak" (asked after the model), separated by "|"; then the tokens that the model
 * reads, separated by "|"; and the reply.
 *
 * --memorised fails when a rule matches a single reply of TABLE, and names it. FACTS (tests/data/facts.tsv) excuses those that it names:
 * codes and words that a receiver publishes, with its page. */
#include <errno.h>
#include <stdio.h>

#include <base/text.h>

#include "proto/io/rules_file.h"
#include "proto/reply_text.h"
#include "proto/rules_internal.h"
#include "proto/tsv.h"

enum { ROWS_MAX = 20000, SOURCES_MAX = 63, LINE_BYTES = 256 << 10 };

struct row {
    int class, source;
    bool strict, unscored, from_receiver;
    char *accept, *provider, *reply, *id;
    enum rmd_stage stage;
};

struct table {
    struct row *v;
    size_t n;
    char *source[SOURCES_MAX];
    int n_sources;
};

static const char *const wanted[] = {"class",  "accept", "strict", "provider", "stage",
                                     "origin", "reply",  "id",     "source",   NULL};
enum { C_CLASS, C_ACCEPT, C_STRICT, C_PROVIDER, C_STAGE, C_ORIGIN, C_REPLY, C_ID, C_SOURCE };

static char *text_of(const struct rmd_tsv *t, int column) {
    return rmd_strndup(t->value[column].p ? t->value[column].p : (const uint8_t *)"", t->value[column].n);
}

static char *number_of(size_t n) {
    char text[24];
    (void)rmd_format(text, sizeof text, "%zu", n);
    return rmd_strdup(text);
}

/* "sisimai/go-sisimai file:12": the project is what counts. */
static int source_of(struct table *t, struct rmd_slice s) {
    size_t n = 0;
    while (n < s.n && s.p[n] != ' ')
        n++;
    for (int i = 0; i < t->n_sources; i++)
        if (rmd_slice_eq(rmd_slice_str(t->source[i]), rmd_slice(s.p, n)))
            return i;
    if (t->n_sources == SOURCES_MAX)
        return SOURCES_MAX - 1;
    t->source[t->n_sources] = rmd_strndup(s.p ? s.p : (const uint8_t *)"", n);
    return t->n_sources++;
}

static void add_row(struct table *t, const struct rmd_tsv *tsv) {
    int class = rmd_class_parse(tsv->value[C_CLASS]);
    if (class < 0 || t->n == ROWS_MAX)
        return;
    struct row *row = &t->v[t->n++];
    row->class = class;
    row->strict = !rmd_tsv_has(tsv, C_STRICT) || rmd_slice_eq(tsv->value[C_STRICT], rmd_slice_str("1"));
    row->unscored = rmd_slice_eq(tsv->value[C_ACCEPT], rmd_slice_str("*"));
    row->from_receiver = !rmd_tsv_has(tsv, C_ORIGIN) || rmd_slice_eq(tsv->value[C_ORIGIN], rmd_slice_str("reply"));
    row->source = source_of(t, tsv->value[C_SOURCE]);
    row->accept = text_of(tsv, rmd_tsv_has(tsv, C_ACCEPT) ? C_ACCEPT : C_CLASS);
    row->provider = text_of(tsv, C_PROVIDER);
    row->reply = text_of(tsv, C_REPLY);
    row->id = rmd_tsv_has(tsv, C_ID) ? text_of(tsv, C_ID) : number_of(t->n);
    row->stage = rmd_stage_of_word(tsv->value[C_STAGE]);
    if (row->stage == RMD_STAGE_DATA)
        row->stage = RMD_STAGE_DOT;
}

static bool read_table(FILE *f, struct table *t) {
    static char line[LINE_BYTES];
    struct rmd_tsv tsv;
    rmd_tsv_init(&tsv, wanted);
    t->v = rmd_alloc(ROWS_MAX * sizeof *t->v);
    while (fgets(line, sizeof line, f))
        if (rmd_tsv_line(&tsv, rmd_slice_str(line)) == RMD_OK)
            add_row(t, &tsv);
    if (rmd_tsv_end(&tsv) == RMD_OK)
        add_row(t, &tsv);
    bool ok = rmd_tsv_has(&tsv, C_CLASS) && rmd_tsv_has(&tsv, C_REPLY);
    if (!ok)
        fprintf(stderr, "accuracy: the table needs the columns class and reply\n");
    rmd_tsv_release(&tsv);
    return ok && t->n > 0;
}

static void read_reply(const struct row *row, struct rmd_reply *reply) {
    rmd_reply_read(rmd_slice_str(row->reply), reply);
    if (row->stage != RMD_STAGE_NONE)
        reply->stage = row->stage;
    if (reply->stage == RMD_STAGE_NONE)
        reply->stage = RMD_STAGE_RCPT;
}

static void classify(const struct rmd_rules *rules, const struct row *row, struct rmd_verdict *v) {
    struct rmd_reply reply;
    read_reply(row, &reply);
    rmd_rules_classify(rules, &reply, rmd_provider_of_word(row->provider), v);
}

static bool accepts(const struct row *row, int class) {
    const char *name = rmd_class_name((unsigned)class);
    for (const char *p = row->accept; *p;) {
        size_t n = strcspn(p, "|");
        if (rmd_slice_eq(rmd_slice(p, n), rmd_slice_str(name)))
            return true;
        p += n + (p[n] == '|');
    }
    return false;
}

static double ratio(int a, int b) {
    return b ? (double)a / b : 0;
}

struct score {
    int tp[RMD_CLASS_COUNT], fp[RMD_CLASS_COUNT], fn[RMD_CLASS_COUNT];
    int rows, right, receiver_rows, receiver_right;
    int reputation_as_unknown, rate_as_block, block_as_rate, moved_wrongly;
};

static void count(struct score *s, const struct row *row, const struct rmd_verdict *v) {
    int got = v->class;
    if (row->unscored)
        return;
    bool right = accepts(row, got);
    s->rows++;
    s->right += right;
    s->receiver_rows += row->from_receiver;
    s->receiver_right += row->from_receiver && right;
    bool reputation = row->class == RMD_CLASS_IP_BLOCKLISTED || row->class == RMD_CLASS_DOMAIN_BLOCKLISTED ||
                      row->class == RMD_CLASS_SPAM_CONTENT || row->class == RMD_CLASS_AUTH_FAILED;
    s->reputation_as_unknown += reputation && !right && got == RMD_CLASS_USER_UNKNOWN;
    s->rate_as_block += row->class == RMD_CLASS_RATE_LIMITED && !right && got == RMD_CLASS_IP_BLOCKLISTED;
    s->block_as_rate += row->class == RMD_CLASS_IP_BLOCKLISTED && !right && got == RMD_CLASS_RATE_LIMITED;
    s->moved_wrongly += v->move && !accepts(row, RMD_CLASS_IP_BLOCKLISTED);
    if (!row->strict)
        return;
    if (got == row->class) {
        s->tp[got]++;
    } else {
        s->fp[got]++;
        s->fn[row->class]++;
    }
}

static void print_score(const struct score *s, size_t rows) {
    int strict = 0, strict_right = 0, classes = 0;
    double f1_sum = 0;
    printf("%-20s %5s %9s %7s %6s\n", "class (strict rows)", "rows", "precision", "recall", "F1");
    for (int c = 0; c < RMD_CLASS_COUNT; c++) {
        int n = s->tp[c] + s->fn[c];
        strict += n;
        strict_right += s->tp[c];
        if (!n)
            continue;
        double p = ratio(s->tp[c], s->tp[c] + s->fp[c]), r = ratio(s->tp[c], n),
               f1 = p + r > 0 ? 2 * p * r / (p + r) : 0;
        f1_sum += f1;
        classes++;
        printf("%-20s %5d %9.3f %7.3f %6.3f\n", rmd_class_name((unsigned)c), n, p, r, f1);
    }
    printf("strict: %d of %d right (%.3f), mean F1 %.3f over %d classes\n", strict_right, strict,
           ratio(strict_right, strict), classes ? f1_sum / classes : 0, classes);
    printf("all rows: %zu, scored %d; with every accepted answer %d right (%.3f)\n", rows, s->rows, s->right,
           ratio(s->right, s->rows));
    printf("a receiver's own words: %d of %d right (%.3f)\n", s->receiver_right, s->receiver_rows,
           ratio(s->receiver_right, s->receiver_rows));
    printf("costly errors: reputation or content read as user unknown %d, rate limit read as block %d, block read as "
           "rate limit %d; "
           "work moved for another cause %d\n",
           s->reputation_as_unknown, s->rate_as_block, s->block_as_rate, s->moved_wrongly);
}

static void print_speed(const struct rmd_rules *rules, const struct table *t) {
    struct timespec a, b;
    struct rmd_verdict v;
    unsigned sum = 0;
    size_t n = 0;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int pass = 0; pass < 50; pass++)
        for (size_t i = 0; i < t->n; i++, n++) {
            classify(rules, &t->v[i], &v);
            sum += v.class;
        }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    printf("speed: %.0f replies/s on one core, %.2f us a reply (%zu rules, checksum %u)\n", (double)n / s,
           s / (double)n * 1e6, rmd_rules_count(rules), sum);
}

/* ---------------------------------------------------------------- which patterns match what */

static void subject_of(const struct rmd_rules *r, const struct row *row, struct rmd_subject *s) {
    struct rmd_reply reply;
    const char *provider = rmd_provider_of_word(row->provider);
    read_reply(row, &reply);
    rmd_subject_init(s, &reply);
    s->provider = *provider ? rmd_rules_provider_find(r, provider) : -1;
}

/* Calls fn for each pattern as written (once for a rule without any) of each rule that matches, in the rules' order. */
static void each_match(const struct rmd_rules *r, const struct row *row,
                       void (*fn)(void *ctx, uint32_t rule, int pattern), void *ctx) {
    struct rmd_subject s;
    subject_of(r, row, &s);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct rmd_rule *rule = r->rule[i];
        if (!rmd_rule_accepts(rule, &s))
            continue;
        if (!rule->n_pattern)
            fn(ctx, i, 0);
        for (int k = 0; k < rule->n_pattern; k++)
            if (rmd_pattern_matches(&r->patterns[rule->first_pattern + (unsigned)k], s.text, s.n))
                fn(ctx, i, k);
    }
}

struct counting {
    const struct rmd_rules *rules;
    uint32_t *lines; /* replies of the table that a rule matches */
    bool *named;     /* by a fact that means the same */
    uint32_t last;   /* rule that matched this reply before, + 1 */
    int class;       /* of the fact */
};

static void count_line(void *ctx, uint32_t rule, int pattern) {
    struct counting *c = ctx;
    (void)pattern;
    c->lines[rule] += c->last != rule + 1;
    c->last = rule + 1;
}

/* Only the rule that decides, and decides rightly. */
static void name_rule(void *ctx, uint32_t rule, int pattern) {
    struct counting *c = ctx;
    (void)pattern;
    if (!c->last)
        c->named[rule] |= (int)c->rules->rule[rule]->verdict.class == c->class;
    c->last = rule + 1;
}

/* Their number. */
static int print_memorised(const struct rmd_rules *r, const struct table *t, const struct table *facts) {
    struct counting c = {.rules = r,
                         .lines = rmd_alloc((r->n + 1) * sizeof *c.lines),
                         .named = rmd_alloc((r->n + 1) * sizeof *c.named)};
    int n = 0;
    for (size_t i = 0; i < t->n; i++) {
        c.last = 0;
        each_match(r, &t->v[i], count_line, &c);
    }
    for (size_t i = 0; i < facts->n; i++) {
        c.class = facts->v[i].class;
        c.last = 0;
        each_match(r, &facts->v[i], name_rule, &c);
    }
    for (uint32_t i = 0; i < r->n; i++) {
        if (c.lines[i] != 1 || c.named[i])
            continue;
        n++;
        fprintf(
            stderr,
            "%s:%d: rule %s matches a single reply of the table, and no fact: memorised; word it by its meaning\n",
            r->rule[i]->file, r->rule[i]->line, r->rule[i]->name);
    }
    printf("%zu rules on %zu replies, with %zu facts: %d memorised\n", rmd_rules_count(r), t->n, facts->n, n);
    free(c.lines);
    free(c.named);
    return n;
}

struct printing {
    const struct rmd_rules *rules;
    bool more;
};

static void print_match(void *ctx, uint32_t rule, int pattern) {
    struct printing *p = ctx;
    const struct rmd_rule *it = p->rules->rule[rule];
    printf("%s%s/%d/%s/%s", p->more ? "|" : "", it->name, pattern, rmd_class_name(it->verdict.class),
           it->weak ? "weak" : "strong");
    p->more = true;
}

static void print_token(void *ctx, const char *token) {
    struct printing *p = ctx;
    printf("%s%s", p->more ? "|" : "", token);
    p->more = true;
}

static void print_rows(const struct rmd_rules *r, const struct table *t) {
    for (size_t i = 0; i < t->n; i++) {
        const struct row *row = &t->v[i];
        struct printing p = {.rules = r};
        struct rmd_subject s;
        printf("%s\t%s\t%s\t%s\t%d\t", row->id, t->source[row->source], rmd_class_name((unsigned)row->class),
               row->accept, row->strict);
        each_match(r, row, print_match, &p);
        printf("\t");
        p.more = false;
        subject_of(r, row, &s);
        rmd_model_tokens(&s, print_token, &p);
        printf("\t%s\n", row->reply);
    }
}

static void release(struct table *t) {
    for (size_t i = 0; i < t->n; i++) {
        free(t->v[i].accept);
        free(t->v[i].provider);
        free(t->v[i].reply);
        free(t->v[i].id);
    }
    free(t->v);
    for (int i = 0; i < t->n_sources; i++)
        free(t->source[i]);
}

static void measure(const struct rmd_rules *rules, const struct table *t, bool misses) {
    struct score s = {0};
    for (size_t i = 0; i < t->n; i++) {
        const struct row *row = &t->v[i];
        struct rmd_verdict v;
        classify(rules, row, &v);
        count(&s, row, &v);
        if (misses && !row->unscored && !accepts(row, (int)v.class))
            printf("%s%s %s, got %s by %s: %.300s\n", v.move ? "MOVED " : "", row->id, row->accept,
                   rmd_class_name(v.class), v.rule, row->reply);
    }
    print_score(&s, t->n);
    print_speed(rules, t);
}

/* RMD_OK; RMD_ENOTFOUND: it isn't there, and that was said; RMD_EINVAL. */
static int open_table(const char *path, struct table *t) {
    FILE *f = fopen(path, "r");
    if (!f) {
        printf("accuracy: not measured: %s: %s\n", path, strerror(errno));
        return RMD_ENOTFOUND;
    }
    bool ok = read_table(f, t);
    fclose(f);
    return ok ? RMD_OK : RMD_EINVAL;
}

int main(int argc, char **argv) {
    struct rmd_buf err = {0};
    struct table t = {0}, facts = {0};
    const char *path[2] = {0}, *what = "";
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            what = argv[i] + strspn(argv[i], "-");
        else if (n < 2)
            path[n++] = argv[i];
    }
    if (!n) {
        fprintf(stderr, "usage: accuracy TABLE [--misses | --rows | --memorised FACTS]\n");
        return 2;
    }
    struct rmd_rules *rules = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    if (!rules)
        fprintf(stderr, "%s", rmd_buf_str(&err));
    int error = rules ? open_table(path[0], &t) : RMD_EINVAL;
    if (!error && path[1] && open_table(path[1], &facts) < 0)
        error = RMD_EINVAL;
    if (!error && strcmp(what, "rows") == 0)
        print_rows(rules, &t);
    else if (!error && strcmp(what, "memorised") == 0)
        error = print_memorised(rules, &t, &facts) ? RMD_EINVAL : RMD_OK;
    else if (!error)
        measure(rules, &t, strcmp(what, "misses") == 0);
    release(&t);
    release(&facts);
    rmd_rules_free(rules);
    rmd_buf_release(&err);
    return error == RMD_EINVAL ? 1 : 0;
}
