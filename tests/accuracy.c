/* Measures the shipped verdict rules against a table of real replies: precision, recall and F1 a class on rows with
 * one right answer, accuracy on all rows with every answer that a careful reader could defend, the three costly
 * errors by name, and speed.
 *
 *     accuracy TABLE [--misses]
 *
 * TABLE: tab-separated with a header line; the columns class, accept (alternatives by "|", "*": not scored), strict,
 * code, provider, stage, origin and reply are read. A table that isn't there is said so and is no failure: the
 * replies aren't part of the project. */
#include <errno.h>
#include <stdio.h>

#include <base/text.h>

#include "proto/io/rules_file.h"

enum { COLUMNS_MAX = 32, LINE_MAX_BYTES = 64 << 10, ROWS_MAX = 20000 };

struct row {
    int class, code;
    bool strict, unscored, from_receiver;
    char *accept, *provider, *stage, *reply, *id;
};

struct table {
    struct row *v;
    size_t n;
};

static const char *const wanted[] = {"class", "accept", "strict", "code", "provider",
                                     "stage", "origin", "reply",  "id"};
enum { C_CLASS, C_ACCEPT, C_STRICT, C_CODE, C_PROVIDER, C_STAGE, C_ORIGIN, C_REPLY, C_ID, C_COUNT };

static size_t split(char *line, char *field[COLUMNS_MAX]) {
    size_t n = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *p = line; p && n < COLUMNS_MAX;) {
        field[n++] = p;
        p = strchr(p, '\t');
        if (p)
            *p++ = 0;
    }
    return n;
}

/* The code of the text wins over the column, which may come from elsewhere in a bounce. */
static int code_of(const char *reply, const char *column) {
    uint64_t code = 0;
    if (strspn(reply, "0123456789") == 3 && rmd_parse_u64(rmd_slice(reply, 3), &code) == RMD_OK && code >= 400 &&
        code < 600)
        return (int)code;
    if (strlen(column) == 3 && rmd_parse_u64(rmd_slice_str(column), &code) == RMD_OK && code >= 400 && code < 600)
        return (int)code;
    return *reply == '4' ? 450 : 550;
}

static bool read_table(FILE *f, struct table *t) {
    static char line[LINE_MAX_BYTES];
    char *field[COLUMNS_MAX];
    size_t at[C_COUNT], n;
    if (!fgets(line, sizeof line, f))
        return false;
    n = split(line, field);
    for (size_t c = 0; c < C_COUNT; c++) {
        for (at[c] = 0; at[c] < n && strcmp(field[at[c]], wanted[c]) != 0; at[c]++)
            ;
        if (at[c] == n) {
            fprintf(stderr, "accuracy: the table has no column \"%s\"\n", wanted[c]);
            return false;
        }
    }
    t->v = rmd_alloc(ROWS_MAX * sizeof *t->v);
    while (t->n < ROWS_MAX && fgets(line, sizeof line, f)) {
        struct row *row = &t->v[t->n];
        if (split(line, field) < n)
            continue;
        row->class = rmd_class_parse(rmd_slice_str(field[at[C_CLASS]]));
        if (row->class < 0)
            continue;
        row->strict = strcmp(field[at[C_STRICT]], "1") == 0;
        row->unscored = strcmp(field[at[C_ACCEPT]], "*") == 0;
        row->from_receiver = strcmp(field[at[C_ORIGIN]], "reply") == 0;
        row->code = code_of(field[at[C_REPLY]], field[at[C_CODE]]);
        row->accept = rmd_strdup(field[at[C_ACCEPT]]);
        row->provider = rmd_strdup(field[at[C_PROVIDER]]);
        row->stage = rmd_strdup(field[at[C_STAGE]]);
        row->reply = rmd_strdup(field[at[C_REPLY]]);
        row->id = rmd_strdup(field[at[C_ID]]);
        t->n++;
    }
    return t->n > 0;
}

/* Names of the table that Remuda calls otherwise. */
static const char *provider_of(const char *name) {
    static const char *const same[][2] = {
        {"yahooinc", "yahoo"},   {"microsoft", "outlook"}, {"exchangeonline", "office365"},      {"webde", "gmx"},
        {"franceptt", "orange"}, {"tencent", "qq"},        {"emailsecuritycloud", "messagelabs"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcmp(name, same[i][0]) == 0)
            return same[i][1];
    return name;
}

static enum rmd_stage stage_of(const char *name) {
    static const struct {
        const char *name;
        enum rmd_stage stage;
    } stages[] = {{"CONN", RMD_STAGE_GREETING}, {"HELO", RMD_STAGE_EHLO}, {"EHLO", RMD_STAGE_EHLO},
                  {"MAIL", RMD_STAGE_MAIL},     {"RCPT", RMD_STAGE_RCPT}, {"DATA", RMD_STAGE_DOT}};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (strcmp(name, stages[i].name) == 0)
            return stages[i].stage;
    return RMD_STAGE_RCPT;
}

static void classify(const struct rmd_rules *rules, const struct row *row, struct rmd_verdict *v) {
    struct rmd_reply reply = {.code = row->code, .text = rmd_slice_str(row->reply), .stage = stage_of(row->stage)};
    rmd_rules_classify(rules, &reply, provider_of(row->provider), v);
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

int main(int argc, char **argv) {
    struct rmd_buf err = {0};
    struct table t = {0};
    struct score s = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: accuracy TABLE [--misses]\n");
        return 2;
    }
    struct rmd_rules *rules = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    if (!rules) {
        fprintf(stderr, "%s", rmd_buf_str(&err));
        return 1;
    }
    FILE *f = fopen(argv[1], "r");
    if (!f) {
        printf("accuracy: not measured: %s: %s\n", argv[1], strerror(errno));
        rmd_rules_free(rules);
        return 0;
    }
    bool ok = read_table(f, &t), misses = argc > 2 && strcmp(argv[2], "--misses") == 0;
    fclose(f);
    for (size_t i = 0; i < t.n; i++) {
        struct rmd_verdict v;
        classify(rules, &t.v[i], &v);
        count(&s, &t.v[i], &v);
        if (misses && !t.v[i].unscored && !accepts(&t.v[i], (int)v.class))
            printf("%s%s %s, got %s by %s: %d %.300s\n", v.move ? "MOVED " : "", t.v[i].id, t.v[i].accept,
                   rmd_class_name(v.class), v.rule, t.v[i].code, t.v[i].reply);
    }
    if (ok) {
        print_score(&s, t.n);
        print_speed(rules, &t);
    }
    for (size_t i = 0; i < t.n; i++) {
        free(t.v[i].accept);
        free(t.v[i].provider);
        free(t.v[i].stage);
        free(t.v[i].reply);
        free(t.v[i].id);
    }
    free(t.v);
    rmd_rules_free(rules);
    rmd_buf_release(&err);
    return ok ? 0 : 1;
}
