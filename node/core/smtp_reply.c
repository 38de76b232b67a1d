/* Reply parser of the SMTP client (contract: smtp_reply.h). A line that arrives whole isn't copied but for its
 * verbatim text. */
#include "node/core/smtp_reply.h"

#include <base/text.h>

void rmd_reply_parser_init(struct rmd_reply_parser *p) {
    p->code = 0;
    p->lines = 0;
    p->enhanced[0] = 0;
    p->line = rmd_slice(NULL, 0);
    p->why = "";
    p->whole = p->part_ended = false;
    rmd_buf_clear(&p->part);
    rmd_buf_clear(&p->text);
}

void rmd_reply_parser_release(struct rmd_reply_parser *p) {
    rmd_buf_release(&p->part);
    rmd_buf_release(&p->text);
}

bool rmd_reply_parser_busy(const struct rmd_reply_parser *p) {
    return (p->part.len && !p->part_ended) || (p->lines > 0 && !p->whole);
}

static bool digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

void rmd_reply_enhanced(struct rmd_slice s, char out[12]) {
    out[0] = 0;
    size_t i = 1, dots = 0;
    if (s.n < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5'))
        return;
    for (; dots < 2; dots++) {
        if (i >= s.n || s.p[i] != '.')
            return;
        size_t from = ++i;
        while (i < s.n && i < from + 3 && digit(s.p[i]))
            i++;
        if (i == from)
            return;
    }
    if (i < s.n && s.p[i] != ' ' && s.p[i] != '\t')
        return;
    memcpy(out, s.p, i);
    out[i] = 0;
}

static enum rmd_reply_event bad(struct rmd_reply_parser *p, const char *why) {
    p->why = why;
    return RMD_REPLY_BAD;
}

static void keep(struct rmd_reply_parser *p, const void *bytes, size_t n) {
    size_t room = RMD_SMTP_REPLY_MAX - p->text.len;
    rmd_buf_add(&p->text, bytes, n < room ? n : room);
}

static enum rmd_reply_event take_line(struct rmd_reply_parser *p, struct rmd_slice line) {
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    p->line = line;
    if (line.n < 3 || !digit(line.p[0]) || !digit(line.p[1]) || !digit(line.p[2]))
        return bad(p, "a line without a reply code");
    int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + line.p[2] - '0';
    if (code < 200 || code > 599)
        return bad(p, "a reply code outside 200 to 599");
    if (p->lines && code != p->code)
        return bad(p, "a code that changes within a reply");
    bool last = line.n == 3 || line.p[3] == ' ';
    if (!last && line.p[3] != '-')
        return bad(p, "a reply code without a blank or hyphen behind it");
    p->code = code;
    if (p->lines)
        keep(p, "\n", 1);
    keep(p, line.p, line.n);
    if (!p->enhanced[0] && line.n > 4)
        rmd_reply_enhanced(rmd_slice(line.p + 4, line.n - 4), p->enhanced);
    p->lines++;
    if (!last && p->lines >= RMD_SMTP_REPLY_LINES)
        return bad(p, "a reply of too many lines");
    p->whole = last;
    return last ? RMD_REPLY_WHOLE : RMD_REPLY_LINE;
}

enum rmd_reply_event rmd_reply_parser_feed(struct rmd_reply_parser *p, struct rmd_slice *in) {
    if (p->whole)
        rmd_reply_parser_init(p);
    if (p->part_ended) {
        rmd_buf_release(&p->part); /* few lines come in pieces, and thousands of parsers wait at the same time */
        p->part_ended = false;
    }
    if (!in->n)
        return RMD_REPLY_MORE;
    const uint8_t *lf = memchr(in->p, '\n', in->n);
    size_t n = lf ? (size_t)(lf - in->p) : in->n;
    if (p->part.len + n > RMD_SMTP_LINE_MAX)
        return bad(p, "a line that is too long");
    struct rmd_slice line = rmd_slice(in->p, n);
    if (p->part.len || !lf) {
        rmd_buf_add(&p->part, in->p, n);
        line = rmd_buf_slice(&p->part);
    }
    in->p += n + (lf != NULL);
    in->n -= n + (lf != NULL);
    if (!lf)
        return RMD_REPLY_MORE;
    p->part_ended = p->part.len > 0;
    return take_line(p, line);
}
