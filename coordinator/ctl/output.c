/* Tables, JSON and times for people. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/ctl/ctl.h"

enum { COLUMNS_MAX = 16 };

struct rmd_table {
    size_t columns, cells;
    bool right[COLUMNS_MAX];
    size_t width[COLUMNS_MAX];
    char **cell;
    size_t cap;
};

/* Places on the screen: code points, good enough for names and addresses. */
static size_t width_of(const char *s) {
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void rmd_table_cell(struct rmd_table *t, const char *text) {
    if (t->cells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cell = rmd_realloc(t->cell, t->cap * sizeof *t->cell);
    }
    char *s = rmd_strdup(*text ? text : "-");
    for (char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = *p == '\n' ? ' ' : '?';
    size_t at = t->cells % t->columns, w = width_of(s);
    if (w > t->width[at])
        t->width[at] = w;
    t->cell[t->cells++] = s;
}

static void add_cells(struct rmd_table *t, const char *text) {
    while (true) {
        size_t n = strcspn(text, "|");
        char *one = rmd_strndup(text, n);
        rmd_table_cell(t, one);
        free(one);
        if (!text[n])
            return;
        text += n + 1;
    }
}

struct rmd_table *rmd_table_new(const char *columns) {
    struct rmd_table *t = rmd_alloc(sizeof *t);
    struct rmd_buf heads = {0};
    t->columns = 1;
    t->right[0] = *columns == '>';
    for (const char *p = columns; *p; p++) {
        if (*p == '|') {
            t->right[t->columns] = p[1] == '>';
            t->columns++;
        }
        if (*p != '>')
            rmd_buf_addc(&heads, *p);
    }
    add_cells(t, rmd_buf_str(&heads));
    rmd_buf_release(&heads);
    return t;
}

void rmd_table_count(struct rmd_table *t, uint64_t n) {
    char text[32];
    rmd_format_count(n, text);
    rmd_table_cell(t, text);
}

void rmd_table_print(struct rmd_table *t, const char *empty) {
    if (t->cells <= t->columns && empty)
        puts(empty);
    for (size_t i = 0; i < t->cells && t->cells > t->columns; i++) {
        size_t col = i % t->columns, pad = t->width[col] - width_of(t->cell[i]);
        bool last = col + 1 == t->columns;
        if (t->right[col])
            printf("%*s%s", (int)pad, "", t->cell[i]);
        else
            printf("%s%*s", t->cell[i], last ? 0 : (int)pad, "");
        fputs(last ? "\n" : "  ", stdout);
    }
    for (size_t i = 0; i < t->cells; i++)
        free(t->cell[i]);
    free(t->cell);
    free(t);
}

void rmd_ctl_print_json(const json_t *j) {
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
}

bool rmd_ctl_flush(struct rmd_ctl *c) {
    if (fflush(stdout) == 0)
        return true;
    c->output_error = c->output_error ? c->output_error : errno;
    return false;
}

const char *rmd_json_s(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

int64_t rmd_json_i(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

double rmd_json_f(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

const char *rmd_ctl_when(const char *rfc3339, char out[32]) {
    int64_t ms;
    struct tm tm;
    if (!*rfc3339 || rmd_date_parse_rfc3339(rmd_slice_str(rfc3339), &ms) < 0)
        return "-";
    time_t s = (time_t)(ms / 1000);
    localtime_r(&s, &tm);
    return strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) ? out : "-";
}

const char *rmd_ctl_when_next(const char *rfc3339, char out[32]) {
    int64_t ms;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool due = rmd_date_parse_rfc3339(rmd_slice_str(rfc3339), &ms) >= 0 &&
               ms <= now.tv_sec * (int64_t)1000 + now.tv_nsec / 1000000;
    return due ? "due" : rmd_ctl_when(rfc3339, out);
}

/* Length of the RFC 3339 time that s begins with, 0: it begins with none. */
static size_t time_at(const char *s) {
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    size_t n = 0;
    for (; form[n]; n++)
        if (form[n] == 'd' ? s[n] < '0' || s[n] > '9' : s[n] != form[n])
            return 0;
    if (s[n] == '.')
        for (n++; s[n] >= '0' && s[n] <= '9';)
            n++;
    return s[n] == 'Z' ? n + 1 : 0;
}

void rmd_ctl_local(const char *text, struct rmd_buf *out) {
    while (*text) {
        size_t n = time_at(text);
        if (n) {
            char one[40], when[32];
            rmd_buf_addstr(out, rmd_copy_slice(one, sizeof one, rmd_slice(text, n)) ? rmd_ctl_when(one, when) : "?");
            text += n;
        } else {
            rmd_buf_addc(out, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
            text++;
        }
    }
}

void rmd_ctl_line(const char *indent, const char *text) {
    struct rmd_buf b = {0};
    rmd_ctl_local(text, &b);
    printf("%s%s\n", indent, rmd_buf_str(&b));
    rmd_buf_release(&b);
}
