/* Quoted-printable (RFC 2045 section 6.7) for text: used by the coordinator when it compiles a template and by the
 * node when it fills in values, so that both write the same lines. Pure.
 *
 * Text goes in with LF, CRLF or CR as line ends, in any pieces (a CRLF must not be cut in two); lines of at most 76
 * characters with CRLF come out. Beyond the RFC: a line never begins with a bare "." (nothing to stuff, nothing to
 * smuggle), "-" (no value can look like a boundary) or "From " (no mbox writer breaks the signature). */
#ifndef REMUDA_QP_H
#define REMUDA_QP_H

#include <base/buf.h>

/* How the body of a part is encoded where rendering writes it (BodyOp.encoding). */
enum rmd_cte {
    RMD_CTE_NONE = 0, /* bytes that are ready, at the beginning of a line */
    RMD_CTE_QP = 1,
};

enum { RMD_QP_LINE_MAX = 76 };

struct rmd_qp {
    struct rmd_buf *out;
    size_t col; /* characters on the current line */
};

void rmd_qp_text(struct rmd_qp *q, const void *p, size_t n);
/* Appends text that rmd_qp_text wrote earlier, starting from column 0; puts a soft line break before it when its
 * first line doesn't fit any more. */
void rmd_qp_join(struct rmd_qp *q, struct rmd_slice encoded);
/* The text ends here: white space at the end of the last line is encoded. */
void rmd_qp_finish(struct rmd_qp *q);

#endif
