/* A compiled template, prepared once for rendering many messages: columns resolved to indexes of the row, fields that
 * no value takes part in already encoded. What a coordinator could only send by mistake is refused here, so that
 * rendering needn't look. */
#include "node/core/render_internal.h"

#include <base/text.h>

enum { COMPILED_VERSION = 1, NAME_MAX_BYTES = 76, LINE_MAX_BYTES = 998 };

static bool is_name(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':')
            return false;
    return n > 0 && n <= NAME_MAX_BYTES;
}

/* Whole lines and nothing bare. In a header each line end is followed by white space. */
static bool are_lines(const uint8_t *p, size_t n, bool header) {
    size_t line = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == 0 || p[i] == '\n')
            return false;
        if (p[i] != '\r') {
            if (++line > LINE_MAX_BYTES)
                return false;
            continue;
        }
        if (i + 1 >= n || p[i + 1] != '\n')
            return false;
        i++;
        line = 0;
        if (header && (i + 1 >= n || (p[i + 1] != ' ' && p[i + 1] != '\t')))
            return false;
    }
    return true;
}

static bool pieces_ok(const Remuda__CompiledTemplate *c, size_t n, Remuda__Piece **v) {
    for (size_t i = 0; i < n; i++)
        if (v[i]->field > c->n_column)
            return false;
    return true;
}

static bool any_field(size_t n, Remuda__Piece **v) {
    for (size_t i = 0; i < n; i++)
        if (v[i]->field)
            return true;
    return false;
}

static bool header_ok(const Remuda__CompiledTemplate *c, const Remuda__TemplateHeader *h) {
    if (!is_name(h->name) || !pieces_ok(c, h->n_value, h->value))
        return false;
    for (size_t i = 0; i < h->n_mailbox; i++) {
        const Remuda__Mailbox *m = h->mailbox[i];
        if (m->n_address != 1 || !pieces_ok(c, 1, m->address) || !pieces_ok(c, m->n_display, m->display))
            return false;
    }
    if (!h->literal)
        return true;
    return h->n_value == 1 && !h->value[0]->field &&
           h->value[0]->literal.len + strlen(h->name) + 2 <= RMD_HEADER_MAX_BYTES &&
           are_lines(h->value[0]->literal.data, h->value[0]->literal.len, true);
}

static bool body_ok(const Remuda__CompiledTemplate *c) {
    uint64_t size = 0;
    for (size_t i = 0; i < c->n_body; i++) {
        const Remuda__BodyOp *op = c->body[i];
        if (op->encoding > RMD_CTE_QP || (op->n_text && op->encoding != RMD_CTE_QP))
            return false;
        if (!pieces_ok(c, op->n_text, op->text) || !are_lines(op->ready.data, op->ready.len, false))
            return false;
        size += op->ready.len;
    }
    return size <= RMD_MESSAGE_MAX_BYTES;
}

static int check(struct rmd_row_context *x) {
    const Remuda__CompiledTemplate *c = x->t->c;
    if (c->version != COMPILED_VERSION)
        return rmd_render_fail(x, RMD_EFORMAT, "compiled template is of version %u; this node knows %u", c->version,
                               (unsigned)COMPILED_VERSION);
    if (c->n_header > RMD_HEADERS_MAX / 2)
        return rmd_render_fail(x, RMD_EFORMAT, "compiled template has %zu header fields, at most %d are possible",
                               c->n_header, RMD_HEADERS_MAX / 2);
    for (size_t i = 0; i < c->n_header; i++)
        if (!header_ok(c, c->header[i]))
            return rmd_render_fail(x, RMD_EFORMAT, "compiled template: header field %zu is malformed", i + 1);
    return body_ok(c) ? RMD_OK : rmd_render_fail(x, RMD_EFORMAT, "compiled template: the body is malformed");
}

static int resolve_columns(struct rmd_row_context *x, struct rmd_template *t, const char *const *columns, size_t n) {
    t->column = rmd_arena_alloc(&t->arena, (t->c->n_column + 1) * sizeof *t->column);
    for (size_t i = 0; i < t->c->n_column; i++) {
        size_t k = 0;
        while (k < n && strcmp(columns[k], t->c->column[i]) != 0)
            k++;
        if (k < n)
            t->column[i] = (int32_t)k;
        else if (strcmp(t->c->column[i], "email") == 0)
            t->column[i] = RMD_COLUMN_EMAIL;
        else
            return rmd_render_fail(x, RMD_EFORMAT, "the template uses {{%s}}, which is not a column of the campaign",
                                   t->c->column[i]);
    }
    return RMD_OK;
}

static unsigned added_bit(const char *name) {
    static const struct {
        const char *name;
        unsigned bit;
    } added[] = {
        {"Date", RMD_ADD_DATE},
        {"Message-ID", RMD_ADD_MESSAGE_ID},
        {"List-Unsubscribe", RMD_ADD_LIST_UNSUBSCRIBE},
        {"List-Unsubscribe-Post", RMD_ADD_LIST_UNSUBSCRIBE_POST},
        {"Feedback-ID", RMD_ADD_FEEDBACK_ID},
        {"To", RMD_ADD_TO},
    };
    for (size_t i = 0; i < sizeof added / sizeof added[0]; i++)
        if (rmd_case_eq(rmd_slice_str(name), rmd_slice_str(added[i].name)))
            return added[i].bit;
    return 0;
}

static bool depends_on_row(const Remuda__TemplateHeader *h) {
    if (any_field(h->n_value, h->value))
        return true;
    for (size_t i = 0; i < h->n_mailbox; i++)
        if (any_field(h->mailbox[i]->n_display, h->mailbox[i]->display) || any_field(1, h->mailbox[i]->address))
            return true;
    return false;
}

static int plan_headers(struct rmd_row_context *x, struct rmd_template *t) {
    struct rmd_buf field = {.limit = RMD_HEADER_MAX_BYTES};
    int rc = RMD_OK;
    t->n_headers = t->c->n_header;
    t->header = rmd_arena_alloc(&t->arena, (t->n_headers + 1) * sizeof *t->header);
    for (size_t i = 0; i < t->n_headers && rc == RMD_OK; i++) {
        struct rmd_header_plan *plan = &t->header[i];
        plan->h = t->c->header[i];
        plan->name = rmd_slice_str(plan->h->name);
        plan->added = added_bit(plan->h->name);
        if (depends_on_row(plan->h))
            continue;
        rmd_buf_clear(&field);
        rc = rmd_render_field(x, plan, &field);
        if (rc == RMD_OK && field.overflow)
            rc = rmd_render_fail(x, RMD_EFORMAT, "compiled template: %s is too long", plan->h->name);
        if (rc == RMD_OK)
            plan->fixed = rmd_slice(rmd_arena_dup(&t->arena, rmd_buf_str(&field), field.len), field.len);
    }
    rmd_buf_release(&field);
    return rc;
}

int rmd_template_new(struct rmd_slice bytes, const char *const *columns, size_t n_columns, struct rmd_template **out,
                     char *err, size_t err_n) {
    struct rmd_template *t = rmd_alloc(sizeof *t);
    struct rmd_buf text = {.limit = RMD_HEADER_MAX_BYTES};
    struct rmd_row_context x = {.t = t, .text = &text, .err = err, .err_n = err_n};
    int rc;
    t->c = rmd_pb_decode(&remuda__compiled_template__descriptor, bytes, &t->arena);
    if (!t->c)
        rc = rmd_render_fail(&x, RMD_EFORMAT, "compiled template of %zu bytes can't be decoded", bytes.n);
    else
        rc = check(&x);
    if (rc == RMD_OK)
        rc = resolve_columns(&x, t, columns, n_columns);
    if (rc == RMD_OK)
        rc = plan_headers(&x, t);
    rmd_buf_release(&text);
    if (rc != RMD_OK) {
        rmd_template_free(t);
        return rc;
    }
    *out = t;
    return RMD_OK;
}

void rmd_template_free(struct rmd_template *t) {
    if (!t)
        return;
    rmd_arena_release(&t->arena);
    free(t);
}
