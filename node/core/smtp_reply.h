/* Reply parser (RFC 5321 section 4.2): bytes in any pieces -> lines -> one reply. Pure.
 *
 * A reply is 1 to RMD_SMTP_REPLY_LINES lines of at most RMD_SMTP_LINE_MAX bytes, "ddd-text" but the last, which is
 * "ddd text" or "ddd". LF ends a line, a CR before it is dropped. Everything else, NULs and controls included, is
 * data and kept verbatim, codes too, lines joined by LF, up to RMD_SMTP_REPLY_MAX bytes. What isn't a reply is BAD
 * for good: the parser isn't fed again. */
#ifndef REMUDA_NODE_SMTP_REPLY_H
#define REMUDA_NODE_SMTP_REPLY_H

#include <base/buf.h>

#include "node/core/smtp.h"

enum rmd_reply_event {
    RMD_REPLY_MORE,  /* everything was taken; more is needed */
    RMD_REPLY_LINE,  /* a line that isn't the last: see `line` */
    RMD_REPLY_WHOLE, /* the last line: code, enhanced, text are whole until the next feed */
    RMD_REPLY_BAD,   /* not a reply: see `why` */
};

struct rmd_reply_parser {
    int code;              /* of the reply under way; 0: none yet */
    int lines;             /* whole lines so far */
    char enhanced[12];     /* first one found, "" when none */
    struct rmd_slice line; /* last whole line without its end; valid until the next feed */
    const char *why;       /* BAD: static text */
    bool whole;            /* the last event was WHOLE: the next feed starts a reply */
    bool part_ended;       /* `line` is what `part` holds */
    struct rmd_buf part;   /* a line that came in pieces */
    struct rmd_buf text;
};

/* A zeroed parser is ready; init starts anew, and keeps the memory that release frees. */
void rmd_reply_parser_init(struct rmd_reply_parser *p);
void rmd_reply_parser_release(struct rmd_reply_parser *p);
/* Takes bytes from the front of *in until an event happens. */
enum rmd_reply_event rmd_reply_parser_feed(struct rmd_reply_parser *p, struct rmd_slice *in);
/* In the middle of a reply? */
bool rmd_reply_parser_busy(const struct rmd_reply_parser *p);
/* "4.7.1" at the start of s, followed by a blank or the end (RFC 3463): copied to out, or "". */
void rmd_reply_enhanced(struct rmd_slice s, char out[12]);

#endif
