/* Tables of tab-separated values (see tsv.h). A row is kept until the next line shows that it has ended. */
#include "proto/tsv.h"

#include <base/text.h>

void rmd_tsv_init(struct rmd_tsv *t, const char *const *wanted) {
    *t = (struct rmd_tsv){.wanted = wanted};
    while (wanted[t->n_wanted] && t->n_wanted < RMD_TSV_WANTED_MAX)
        t->column[t->n_wanted++] = -1;
    t->row.limit = t->out.limit = RMD_TSV_ROW_MAX + 2;
}

void rmd_tsv_release(struct rmd_tsv *t) {
    rmd_buf_release(&t->row);
    rmd_buf_release(&t->out);
}

bool rmd_tsv_has(const struct rmd_tsv *t, size_t wanted) {
    return wanted < t->n_wanted && t->column[wanted] >= 0;
}

/* The next field of *s, which moves behind it; false after the last. */
static bool next_field(struct rmd_slice *s, struct rmd_slice *field) {
    if (!s->p)
        return false;
    const uint8_t *tab = s->n ? memchr(s->p, '\t', s->n) : NULL;
    *field = tab ? rmd_slice(s->p, (size_t)(tab - s->p)) : *s;
    *s = tab ? rmd_slice(tab + 1, s->n - field->n - 1) : rmd_slice(NULL, 0);
    return true;
}

static int read_header(struct rmd_tsv *t, struct rmd_slice line) {
    struct rmd_slice rest = line, field;
    if (rest.n >= 3 && memcmp(rest.p, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        rest = rmd_slice(rest.p + 3, rest.n - 3);
    while (next_field(&rest, &field)) {
        if (t->columns == RMD_TSV_COLUMNS_MAX)
            return RMD_ELIMIT;
        for (size_t i = 0; i < t->n_wanted; i++)
            if (t->column[i] < 0 && rmd_case_eq(rmd_trim(field), rmd_slice_str(t->wanted[i])))
                t->column[i] = t->columns;
        t->columns++;
    }
    return RMD_EAGAIN;
}

/* "\n", "\r" and "\t" as two characters become a blank; in place. */
static struct rmd_slice unescape(uint8_t *p, size_t n) {
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        bool escape = p[i] == '\\' && i + 1 < n && (p[i + 1] == 'n' || p[i + 1] == 'r' || p[i + 1] == 't');
        p[to++] = escape ? ' ' : p[i];
        i += escape;
    }
    return rmd_slice(p, to);
}

static int tell(struct rmd_tsv *t) {
    for (size_t i = 0; i < t->n_wanted; i++)
        t->value[i] = rmd_slice(NULL, 0);
    if (!t->row.len)
        return RMD_EAGAIN;
    rmd_buf_clear(&t->out);
    rmd_buf_add(&t->out, t->row.p, t->row.len);
    rmd_buf_clear(&t->row);
    struct rmd_slice rest = rmd_buf_slice(&t->out), field;
    for (int c = 0; next_field(&rest, &field); c++)
        for (size_t i = 0; i < t->n_wanted; i++)
            if (t->column[i] == c)
                t->value[i] = unescape((uint8_t *)(uintptr_t)field.p, field.n);
    t->rows++;
    return RMD_OK;
}

static bool code_at(const uint8_t *p, size_t n) {
    return n >= 4 && p[0] >= '2' && p[0] <= '5' && p[1] >= '0' && p[1] <= '9' && p[2] >= '0' && p[2] <= '9';
}

/* The row so far ends within a reply whose last line says that more follow ("550-..."), and this line has its code. */
static bool continues_reply(const struct rmd_tsv *t, struct rmd_slice line) {
    if (!code_at(line.p, line.n) || (line.p[3] != '-' && line.p[3] != ' '))
        return false;
    const uint8_t *p = t->row.p + t->row.len;
    while (p > t->row.p && p[-1] != '\t' && p[-1] != '\n')
        p--;
    size_t n = (size_t)(t->row.p + t->row.len - p);
    return code_at(p, n) && p[3] == '-' && memcmp(p, line.p, 3) == 0;
}

static bool continues(const struct rmd_tsv *t, struct rmd_slice line) {
    if (!t->row.len)
        return false;
    if (line.p[0] == ' ' || (t->columns > 1 && !memchr(line.p, '\t', line.n)))
        return true;
    return continues_reply(t, line);
}

int rmd_tsv_line(struct rmd_tsv *t, struct rmd_slice line) {
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    if (!line.n)
        return RMD_EAGAIN;
    if (line.n > RMD_TSV_ROW_MAX / 2)
        line.n = RMD_TSV_ROW_MAX / 2; /* nothing that is read lies behind this */
    if (!t->columns)
        return read_header(t, line);
    if (continues(t, line)) {
        if (t->row.len + line.n + 1 <= RMD_TSV_ROW_MAX) {
            rmd_buf_addc(&t->row, ' ');
            rmd_buf_add(&t->row, line.p, line.n);
        }
        return RMD_EAGAIN;
    }
    int rc = tell(t);
    rmd_buf_add(&t->row, line.p, line.n);
    return rc;
}

int rmd_tsv_end(struct rmd_tsv *t) {
    return tell(t);
}
