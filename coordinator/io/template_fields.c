/* {{field}} in text: finding, checking, splitting.
 *
 * "{{name}}", "{{ name }}" and "{{name|fallback}}" are fields, blanks around name and fallback don't count; "\{{" is
 * a literal "{{". A name is that of a column, compared exactly, or "email". Anything else that begins with "{{" is a
 * finding: a campaign must not go out with "{{frist_name}}" in it. */
#include "coordinator/io/template_internal.h"

#include <base/text.h>

bool tpl_has_field(struct rmd_slice text) {
    if (text.n == 0)
        return false;
    const uint8_t *p = text.p, *end = text.p + text.n;
    while (p < end && (p = memchr(p, '{', (size_t)(end - p))) != NULL) {
        if (p + 1 < end && p[1] == '{')
            return true;
        p++;
    }
    return false;
}

static void push_literal(struct tpl *c, struct tpl_vec *out, struct rmd_slice s) {
    if (s.n == 0)
        return;
    Remuda__Piece *p = rmd_arena_alloc(&c->arena, sizeof *p);
    remuda__piece__init(p);
    p->literal.data = rmd_arena_dup(&c->arena, s.p, s.n);
    p->literal.len = s.n;
    tpl_push(c, out, p);
}

/* 1-based index into the template's columns, which are those that it uses. */
static uint32_t use_column(struct tpl *c, struct rmd_slice name) {
    for (size_t i = 0; i < c->column.n; i++)
        if (rmd_slice_eq(rmd_slice_str(c->column.v[i]), name))
            return (uint32_t)i + 1;
    tpl_push(c, &c->column, rmd_arena_str(&c->arena, name));
    return (uint32_t)c->column.n;
}

static bool is_column(const struct tpl *c, struct rmd_slice name) {
    for (size_t i = 0; i < c->n_columns; i++)
        if (rmd_slice_eq(rmd_slice_str(c->columns[i]), name))
            return true;
    return rmd_slice_eq(name, rmd_slice_str("email"));
}

/* The column that differs in case only, or NULL. */
static const char *nearly_column(const struct tpl *c, struct rmd_slice name) {
    for (size_t i = 0; i < c->n_columns; i++)
        if (rmd_case_eq(rmd_slice_str(c->columns[i]), name))
            return c->columns[i];
    return rmd_case_eq(name, rmd_slice_str("email")) ? "email" : NULL;
}

static void unknown_column(struct tpl *c, size_t line, const char *what, struct rmd_slice name) {
    enum { SHOWN = 20 };
    struct rmd_buf known = {.limit = 4096};
    for (size_t i = 0; i < c->n_columns && i < SHOWN; i++)
        rmd_buf_addf(&known, ", %s", c->columns[i]);
    if (c->n_columns > SHOWN)
        rmd_buf_addf(&known, " and %zu more", c->n_columns - SHOWN);
    const char *near = nearly_column(c, name);
    if (near)
        tpl_finding(c, line, "{{%.*s}} in %s is not a column, but {{%s}} is one: case matters", (int)name.n,
                    (const char *)name.p, what, near);
    else
        tpl_finding(c, line, "{{%.*s}} in %s is not a column; there are: email%s", (int)name.n, (const char *)name.p,
                    what, rmd_buf_str(&known));
    rmd_buf_release(&known);
}

/* End of the field whose "{{" is at p: behind its "}}", or NULL. */
static const uint8_t *field_end(const uint8_t *p, const uint8_t *end) {
    if (end - p > TPL_FIELD_BYTES_MAX)
        end = p + TPL_FIELD_BYTES_MAX;
    for (p += 2; p + 1 < end; p++) {
        if (*p == '\n' || *p == '\r' || (p[0] == '{' && p[1] == '{'))
            return NULL;
        if (p[0] == '}' && p[1] == '}')
            return p + 2;
    }
    return NULL;
}

static void push_field(struct tpl *c, struct tpl_vec *out, struct rmd_slice inner, const char *what, size_t line) {
    const uint8_t *bar = inner.n ? memchr(inner.p, '|', inner.n) : NULL;
    struct rmd_slice name = rmd_trim(rmd_slice(inner.p, bar ? (size_t)(bar - inner.p) : inner.n));
    struct rmd_slice fallback = rmd_slice("", 0);
    if (bar)
        fallback = rmd_trim(rmd_slice(bar + 1, (size_t)(inner.p + inner.n - bar - 1)));
    if (!is_column(c, name)) {
        unknown_column(c, line, what, name);
        return;
    }
    if (++c->fields > TPL_FIELDS_MAX) {
        if (c->fields == TPL_FIELDS_MAX + 1)
            tpl_finding(c, line, "more than %d fields", TPL_FIELDS_MAX);
        return;
    }
    Remuda__Piece *p = rmd_arena_alloc(&c->arena, sizeof *p);
    remuda__piece__init(p);
    p->field = use_column(c, name);
    p->fallback.data = rmd_arena_dup(&c->arena, fallback.p, fallback.n);
    p->fallback.len = fallback.n;
    tpl_push(c, out, p);
}

size_t tpl_pieces(struct tpl *c, struct rmd_slice text, const struct tpl_place *place, struct tpl_vec *out) {
    const uint8_t *literal = text.p, *p = text.p, *end = text.p + text.n;
    size_t fields = 0;
    while (p < end && (p = memchr(p, '{', (size_t)(end - p))) != NULL) {
        if (p + 1 >= end || p[1] != '{') {
            p++;
            continue;
        }
        if (p > literal && p[-1] == '\\') {
            push_literal(c, out, rmd_slice(literal, (size_t)(p - 1 - literal)));
            literal = p;
            p += 2;
            continue;
        }
        const uint8_t *stop = field_end(p, end);
        struct rmd_slice shown = rmd_slice(p, stop ? (size_t)(stop - p) : 2);
        size_t line = place->line ? place->line : tpl_line_of(c, shown, place->offset);
        if (!stop) {
            tpl_finding(c, line,
                        "\"{{\" in %s is not closed by \"}}\" on its line (\"\\{{\" stands for \"{{\" itself)",
                        place->what);
            p += 2;
            continue;
        }
        push_literal(c, out, rmd_slice(literal, (size_t)(p - literal)));
        push_field(c, out, rmd_slice(p + 2, shown.n - 4), place->what, line);
        fields++;
        literal = p = stop;
    }
    push_literal(c, out, rmd_slice(literal, (size_t)(end - literal)));
    return fields;
}
