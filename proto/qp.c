/* Quoted-printable for text; see qp.h. White space is written as it is and corrected when a line end follows it, so
 * that pieces can be joined without looking ahead. */
#include "proto/qp.h"

static bool is_safe(uint8_t c) {
    return (c >= 32 && c <= 126 && c != '=') || c == '\t';
}

static void soft_break(struct rmd_qp *q) {
    rmd_buf_add(q->out, "=\r\n", 3);
    q->col = 0;
}

static void put_encoded(struct rmd_qp *q, uint8_t c) {
    static const char digits[] = "0123456789ABCDEF";
    if (q->col + 3 > RMD_QP_LINE_MAX - 1)
        soft_break(q);
    char e[3] = {'=', digits[c >> 4], digits[c & 15]};
    rmd_buf_add(q->out, e, sizeof e);
    q->col += sizeof e;
}

void rmd_qp_finish(struct rmd_qp *q) {
    struct rmd_buf *b = q->out;
    if (q->col == 0 || b->len == 0)
        return;
    uint8_t last = b->p[b->len - 1];
    if (last != ' ' && last != '\t')
        return;
    rmd_buf_truncate(b, b->len - 1);
    q->col--;
    put_encoded(q, last);
}

static void hard_break(struct rmd_qp *q) {
    rmd_qp_finish(q);
    rmd_buf_add(q->out, "\r\n", 2);
    q->col = 0;
}

/* Characters that mean something to somebody at the beginning of a line. */
static bool is_delicate(const uint8_t *p, size_t n) {
    return p[0] == '.' || p[0] == '-' || (n >= 5 && memcmp(p, "From ", 5) == 0);
}

void rmd_qp_text(struct rmd_qp *q, const void *data, size_t n) {
    if (n == 0)
        return;
    const uint8_t *p = data, *end = p + n;
    while (p < end) {
        if (*p == '\r' || *p == '\n') {
            p += *p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1;
            hard_break(q);
            continue;
        }
        if (q->col >= RMD_QP_LINE_MAX - 1)
            soft_break(q);
        if (!is_safe(*p) || (q->col == 0 && is_delicate(p, (size_t)(end - p)))) {
            put_encoded(q, *p++);
            continue;
        }
        const uint8_t *run = p, *stop = run + (RMD_QP_LINE_MAX - 1 - q->col);
        if (stop > end)
            stop = end;
        while (p < stop && is_safe(*p))
            p++;
        rmd_buf_add(q->out, run, (size_t)(p - run));
        q->col += (size_t)(p - run);
    }
}

void rmd_qp_join(struct rmd_qp *q, struct rmd_slice e) {
    if (e.n == 0)
        return;
    const uint8_t *cr = memchr(e.p, '\r', e.n);
    size_t first = cr ? (size_t)(cr - e.p) : e.n;
    if (first == 0)
        rmd_qp_finish(q);
    else if (q->col > 0 && q->col + first > (cr ? RMD_QP_LINE_MAX : RMD_QP_LINE_MAX - 1))
        soft_break(q);
    rmd_buf_add(q->out, e.p, e.n);
    if (!cr) {
        q->col += e.n;
        return;
    }
    const uint8_t *last = e.p + e.n;
    while (last > e.p && last[-1] != '\n')
        last--;
    q->col = (size_t)(e.p + e.n - last);
}
