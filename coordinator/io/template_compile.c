/* Compiles a template: the order of things, findings, and the encoded result. Header fields are in template_header.c,
 * MIME and bodies in template_body.c, {{field}} in template_fields.c; see template_compile.h for the contract. */
#include "coordinator/io/template_compile.h"

#include "coordinator/io/template_internal.h"

#include <base/text.h>

void tpl_push(struct tpl *c, struct tpl_vec *vec, void *item) {
    if (vec->n == vec->cap) {
        size_t cap = vec->cap ? vec->cap * 2 : 8;
        void **v = rmd_arena_alloc(&c->arena, cap * sizeof *v);
        if (vec->n)
            memcpy(v, vec->v, vec->n * sizeof *v);
        vec->v = v;
        vec->cap = cap;
    }
    vec->v[vec->n++] = item;
}

void tpl_finding(struct tpl *c, size_t line, const char *fmt, ...) {
    if (++c->findings > RMD_TEMPLATE_FINDINGS_MAX)
        return;
    if (line)
        rmd_buf_addf(c->err, "line %zu: ", line);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(c->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(c->err, '\n');
}

size_t tpl_line_at(const struct tpl *c, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset && i < c->eml.n; i++)
        line += c->eml.p[i] == '\n';
    return line;
}

size_t tpl_line_of(const struct tpl *c, struct rmd_slice needle, size_t offset) {
    if (offset > c->eml.n)
        offset = 0;
    const uint8_t *at = rmd_case_find(rmd_slice(c->eml.p + offset, c->eml.n - offset), needle);
    return tpl_line_at(c, at ? (size_t)(at - c->eml.p) : offset);
}

/* What makes no sense to give to the MIME parser. */
static bool acceptable(struct tpl *c) {
    static const char bom[] = "\xef\xbb\xbf";
    if (c->eml.n > RMD_TEMPLATE_MAX_BYTES) {
        tpl_finding(c, 0, "the template has %zu bytes; at most %d are possible", c->eml.n, RMD_TEMPLATE_MAX_BYTES);
        return false;
    }
    if (c->eml.n >= 3 && memcmp(c->eml.p, bom, 3) == 0)
        c->eml = rmd_slice(c->eml.p + 3, c->eml.n - 3);
    const uint8_t *nul = c->eml.n ? memchr(c->eml.p, 0, c->eml.n) : NULL;
    if (nul) {
        tpl_finding(c, tpl_line_at(c, (size_t)(nul - c->eml.p)), "a NUL byte; is this a text file?");
        return false;
    }
    return true;
}

static void *pieces_of(struct tpl_vec *v) {
    return v->n ? v->v : NULL;
}

static void encode(struct tpl *c, struct rmd_buf *out) {
    Remuda__CompiledTemplate t = REMUDA__COMPILED_TEMPLATE__INIT;
    t.version = 1;
    t.n_column = c->column.n;
    t.column = pieces_of(&c->column);
    t.n_header = c->header.n;
    t.header = pieces_of(&c->header);
    t.n_body = c->body.n;
    t.body = pieces_of(&c->body);
    t.needs_smtputf8 = t.needs_8bitmime = c->needs_smtputf8; /* RFC 6531 section 3.1; bodies are 7-bit always */
    for (size_t i = 0; i < t.n_body; i++)
        t.size_hint += t.body[i]->ready.len;
    rmd_pb_encode(&t, out);
}

int rmd_template_compile(struct rmd_slice eml, const char *const *columns, size_t n_columns,
                         const char *sending_domain, struct rmd_buf *out, struct rmd_template_info *info,
                         struct rmd_buf *err) {
    struct tpl c = {
        .eml = eml,
        .columns = columns,
        .n_columns = n_columns,
        .sending_domain = sending_domain,
        .err = err,
    };
    if (acceptable(&c) && tpl_headers(&c))
        tpl_body(&c);
    if (c.findings > RMD_TEMPLATE_FINDINGS_MAX)
        rmd_buf_addf(err, "and %zu more\n", c.findings - RMD_TEMPLATE_FINDINGS_MAX);
    if (c.findings == 0) {
        encode(&c, out);
        if (out->overflow)
            tpl_finding(&c, 0, "the compiled template is too big");
        if (info)
            *info = c.info;
    }
    rmd_buf_release(&c.ready);
    rmd_arena_release(&c.arena);
    return c.findings ? RMD_EINVAL : RMD_OK;
}
