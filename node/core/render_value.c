/* Values of a row in fields of the header and in the body: here is where a value can't become anything but text. */
#include "node/core/render_header.h"
#include "node/core/render_internal.h"

#include <base/text.h>

int rmd_render_fail(struct rmd_row_context *x, int code, const char *fmt, ...) {
    if (x->err_n) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(x->err, x->err_n, fmt, ap);
        va_end(ap);
    }
    return code;
}

const char *rmd_piece_name(const struct rmd_row_context *x, const Remuda__Piece *p) {
    return p->field ? x->t->c->column[p->field - 1] : "template";
}

struct rmd_slice rmd_piece_value(const struct rmd_row_context *x, const Remuda__Piece *p) {
    struct rmd_slice v = rmd_slice("", 0);
    if (!p->field)
        return rmd_slice(p->literal.data, p->literal.len);
    int32_t column = x->t->column[p->field - 1];
    if (x->row && column == RMD_COLUMN_EMAIL)
        v = rmd_slice_str(x->row->email);
    else if (x->row && (size_t)column < x->row->n_field)
        v = rmd_slice(x->row->field[column].data, x->row->field[column].len);
    if (p->fallback.len && rmd_trim(v).n == 0)
        v = rmd_slice(p->fallback.data, p->fallback.len);
    return v;
}

/* ---------------------------------------------------------------- header fields */

/* The pieces as one clean line in x->text. */
static int gather_text(struct rmd_row_context *x, size_t n, Remuda__Piece **v, const char *header) {
    rmd_buf_clear(x->text);
    for (size_t i = 0; i < n; i++)
        if (rmd_header_clean(x->text, rmd_piece_value(x, v[i])) != RMD_OK)
            return rmd_render_fail(x, RMD_EFORMAT, "value of {{%s}} for %s is not valid UTF-8",
                                   rmd_piece_name(x, v[i]), header);
    if (x->text->overflow)
        return rmd_render_fail(x, RMD_ELIMIT, "%s is over the limit of %d bytes", header, RMD_HEADER_MAX_BYTES);
    return RMD_OK;
}

void rmd_put_url(struct rmd_buf *out, struct rmd_slice s) {
    static const char legal[] = "-._~:/?#[]@!$&'()*+;=%";
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (alnum || (c && strchr(legal, c))) {
            rmd_buf_addc(out, (char)c);
        } else {
            char e[3] = {'%', digits[c >> 4], digits[c & 15]};
            rmd_buf_add(out, e, sizeof e);
        }
    }
}

static int field_url(struct rmd_row_context *x, const Remuda__TemplateHeader *h, struct rmd_header_writer *w) {
    rmd_buf_clear(x->text);
    for (size_t i = 0; i < h->n_value; i++) {
        struct rmd_slice v = rmd_piece_value(x, h->value[i]);
        if (h->value[i]->field)
            rmd_put_url(x->text, rmd_trim(v));
        else if (rmd_header_clean(x->text, v) != RMD_OK)
            return rmd_render_fail(x, RMD_EFORMAT, "%s is not valid UTF-8", h->name);
    }
    if (x->text->overflow || rmd_header_tokens(w, rmd_buf_slice(x->text)) != RMD_OK)
        return rmd_render_fail(x, RMD_ELIMIT, "%s has a URL of more than %d bytes", h->name, RMD_HEADER_WORD_MAX);
    return RMD_OK;
}

static int field_mailboxes(struct rmd_row_context *x, const Remuda__TemplateHeader *h, struct rmd_header_writer *w,
                           size_t *written) {
    *written = 0;
    for (size_t i = 0; i < h->n_mailbox; i++) {
        const Remuda__Mailbox *m = h->mailbox[i];
        struct rmd_slice address = rmd_trim(rmd_piece_value(x, m->address[0]));
        if (address.n == 0)
            continue;
        const char *why = rmd_address_check(address, true);
        if (why)
            return rmd_render_fail(x, RMD_EFORMAT, "value of {{%s}} for %s is not an address: it %s",
                                   rmd_piece_name(x, m->address[0]), h->name, why);
        int rc = gather_text(x, m->n_display, m->display, h->name);
        if (rc != RMD_OK)
            return rc;
        if (!rmd_is_ascii(address))
            x->needs_smtputf8 = true;
        rmd_header_mailbox(w, rmd_buf_slice(x->text), address);
        ++*written;
    }
    return RMD_OK;
}

int rmd_render_field(struct rmd_row_context *x, const struct rmd_header_plan *plan, struct rmd_buf *out) {
    const Remuda__TemplateHeader *h = plan->h;
    size_t start = out->len, written = 1;
    struct rmd_header_writer w;
    int rc = RMD_OK;
    rmd_header_begin(&w, out, plan->name);
    if (h->literal) {
        rmd_buf_addc(out, ' ');
        rmd_buf_add(out, h->value[0]->literal.data, h->value[0]->literal.len);
    } else if (h->structured) {
        rc = field_mailboxes(x, h, &w, &written);
    } else if (h->url) {
        rc = field_url(x, h, &w);
    } else {
        rc = gather_text(x, h->n_value, h->value, h->name);
        if (rc == RMD_OK)
            rmd_header_text(&w, rmd_buf_slice(x->text));
    }
    rmd_header_end(&w);
    if (rc != RMD_OK || written == 0)
        rmd_buf_truncate(out, start);
    return rc;
}

/* ---------------------------------------------------------------- bodies */

/* What a value may not bring into a body as it is: controls, but for TAB and line ends. */
static bool is_dropped(uint8_t c) {
    return (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

static const char *entity(uint8_t c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void put_value(struct rmd_qp *q, struct rmd_slice v, bool html) {
    size_t i = 0;
    while (i < v.n) {
        size_t start = i;
        while (i < v.n && !is_dropped(v.p[i]) && !(html && entity(v.p[i])))
            i++;
        rmd_qp_text(q, v.p + start, i - start);
        if (i == v.n)
            break;
        const char *e = html ? entity(v.p[i]) : NULL;
        if (e)
            rmd_qp_text(q, e, strlen(e));
        i++;
    }
}

static int put_text(struct rmd_row_context *x, const Remuda__BodyOp *op, struct rmd_qp *q) {
    for (size_t i = 0; i < op->n_text; i++) {
        const Remuda__Piece *p = op->text[i];
        struct rmd_slice v = rmd_piece_value(x, p);
        if (!p->field) {
            rmd_qp_text(q, v.p, v.n);
            continue;
        }
        if (!rmd_utf8_valid(v))
            return rmd_render_fail(x, RMD_EFORMAT, "value of {{%s}} is not valid UTF-8", rmd_piece_name(x, p));
        put_value(q, v, op->html);
    }
    return RMD_OK;
}

int rmd_render_body(struct rmd_row_context *x, struct rmd_buf *out, size_t *prefix) {
    const Remuda__CompiledTemplate *c = x->t->c;
    struct rmd_qp q = {.out = out};
    bool untouched = true;
    for (size_t i = 0; i < c->n_body; i++) {
        const Remuda__BodyOp *op = c->body[i];
        struct rmd_slice ready = rmd_slice(op->ready.data, op->ready.len);
        if (op->encoding == RMD_CTE_QP) {
            rmd_qp_join(&q, ready);
        } else if (ready.n) {
            rmd_qp_finish(&q);
            rmd_buf_add(out, ready.p, ready.n);
            q.col = 0;
        }
        if (op->n_text && untouched) {
            untouched = false;
            *prefix = out->len ? out->len - 1 : 0; /* a last blank may still be encoded */
        }
        int rc = put_text(x, op, &q);
        if (rc != RMD_OK)
            return rc;
    }
    rmd_qp_finish(&q);
    if (out->len && out->p[out->len - 1] != '\n')
        rmd_buf_add(out, "\r\n", 2);
    if (untouched)
        *prefix = out->len;
    return RMD_OK;
}
