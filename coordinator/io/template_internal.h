/* What the files of template compilation share. Private to coordinator/io/template_*.c. */
#ifndef REMUDA_TEMPLATE_INTERNAL_H
#define REMUDA_TEMPLATE_INTERNAL_H

#include "coordinator/io/template_compile.h"

#include "proto/qp.h"

enum {
    TPL_HEADERS_MAX = 100,
    TPL_HEADER_BYTES_MAX = 60 << 10, /* all fields together; the node's limit for a header is 64 KiB */
    TPL_LINE_MAX = 998,              /* RFC 5322 section 2.1.1 */
    TPL_NAME_MAX = 76,
    TPL_FIELD_BYTES_MAX = 1000, /* "{{...}}" */
    TPL_FIELDS_MAX = 10000,     /* uses of fields in one template */
    TPL_DEPTH_MAX = 20,         /* of multiparts */
};

struct tpl_vec {
    void **v; /* in the arena */
    size_t n, cap;
};

/* One compilation. Everything that is built lives in the arena until it is encoded. */
struct tpl {
    struct rmd_slice eml;
    const char *const *columns;
    size_t n_columns;
    const char *sending_domain;
    struct rmd_arena arena;
    struct rmd_buf *err;
    size_t findings, fields, parts;
    struct tpl_vec column, header, body; /* char, Remuda__TemplateHeader, Remuda__BodyOp */
    struct rmd_buf ready;                /* bytes of the BodyOp that is being gathered */
    char boundary[40];                   /* beginning of each boundary of ours */
    unsigned n_boundaries;
    bool needs_smtputf8;
    struct rmd_template_info info;
};

void tpl_push(struct tpl *c, struct tpl_vec *vec, void *item);
/* A finding: "line N: text" in err; line 0: about the whole. */
void tpl_finding(struct tpl *c, size_t line, const char *fmt, ...) RMD_PRINTF(3, 4);
size_t tpl_line_at(const struct tpl *c, size_t offset);
/* Line of the first occurrence of needle at or behind offset; the offset's line when there is none (encoded text). */
size_t tpl_line_of(const struct tpl *c, struct rmd_slice needle, size_t offset);

/* Where text comes from, for findings: a header (its line), or a body (searched from an offset). */
struct tpl_place {
    const char *what;
    size_t line; /* 0: search */
    size_t offset;
};
bool tpl_has_field(struct rmd_slice text); /* "{{" in it, escaped or not */
/* Splits text at its fields into Remuda__Piece. Returns how many are fields; findings for what isn't right. */
size_t tpl_pieces(struct tpl *c, struct rmd_slice text, const struct tpl_place *place, struct tpl_vec *out);

/* The field's value with its line ends as CRLF, trimmed, in the arena; NULL when it can't be sent as it is (beyond
 * ASCII, controls, too long a line, an empty continuation line). name_n: length of its name. */
const char *tpl_ready_value(struct tpl *c, struct rmd_slice raw, size_t name_n);
void tpl_literal_header(struct tpl *c, const char *name, const char *ready);

/* Reads the header block, adds every field that isn't MIME's to c->header. Returns false when nothing more can be
 * said. */
bool tpl_headers(struct tpl *c);
/* Parses the whole with GMime, adds the MIME fields of the top and the body. */
void tpl_body(struct tpl *c);

#endif
