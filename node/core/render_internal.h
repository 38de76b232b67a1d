/* What the files of rendering share: the prepared template, and values of a row. Private to node/core/render*.c. */
#ifndef REMUDA_RENDER_INTERNAL_H
#define REMUDA_RENDER_INTERNAL_H

#include "node/core/render.h"
#include "proto/qp.h"

/* Fields that are added when the template has none of the name. */
enum rmd_added_header {
    RMD_ADD_DATE = 1 << 0,
    RMD_ADD_MESSAGE_ID = 1 << 1,
    RMD_ADD_LIST_UNSUBSCRIBE = 1 << 2,
    RMD_ADD_LIST_UNSUBSCRIBE_POST = 1 << 3,
    RMD_ADD_FEEDBACK_ID = 1 << 4,
    RMD_ADD_TO = 1 << 5,
};

struct rmd_header_plan {
    const Remuda__TemplateHeader *h;
    struct rmd_slice name;
    struct rmd_slice fixed; /* the whole field with its CRLF when no value takes part; empty otherwise */
    unsigned added;         /* the RMD_ADD_ bit of its name, or 0 */
};

struct rmd_template {
    struct rmd_arena arena;
    const Remuda__CompiledTemplate *c;
    int32_t *column; /* of each c->column: index into Row.field, or RMD_COLUMN_EMAIL */
    struct rmd_header_plan *header;
    size_t n_headers;
};

enum { RMD_COLUMN_EMAIL = -1 };

/* What a value is taken from, and where an error goes. */
struct rmd_row_context {
    const struct rmd_template *t;
    const Remuda__Row *row; /* NULL while the template itself is prepared */
    struct rmd_buf *text;   /* scratch */
    bool needs_smtputf8;
    char *err;
    size_t err_n;
};

int rmd_render_fail(struct rmd_row_context *x, int code, const char *fmt, ...) RMD_PRINTF(3, 4);
/* The literal, the value, or the fallback of a piece; points into the row or the template. */
struct rmd_slice rmd_piece_value(const struct rmd_row_context *x, const Remuda__Piece *p);
const char *rmd_piece_name(const struct rmd_row_context *x, const Remuda__Piece *p);
/* Appends a field of the template with its CRLF; nothing when no mailbox is left. */
int rmd_render_field(struct rmd_row_context *x, const struct rmd_header_plan *plan, struct rmd_buf *out) RMD_CHECKED;
/* Appends s with everything percent-encoded that a URL between "<" and ">" can't have. */
void rmd_put_url(struct rmd_buf *out, struct rmd_slice s);
/* Appends the body. *prefix: how many bytes of it no value can have touched. */
int rmd_render_body(struct rmd_row_context *x, struct rmd_buf *out, size_t *prefix) RMD_CHECKED;

#endif
