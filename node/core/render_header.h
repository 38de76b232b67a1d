/* Header fields as they leave: encoding and folding (RFC 5322 sections 2.2.3 and 3.4, RFC 2047). Pure.
 *
 * Text goes in as UTF-8 in any shape; rmd_header_clean makes it one line: white space and controls (CR, LF, NUL and
 * the C1 ones included) become single spaces. What is written can't end the field: only ASCII without controls and
 * folding of our own come out, in lines of 78 where there is a place to fold and of 998 always. */
#ifndef REMUDA_RENDER_HEADER_H
#define REMUDA_RENDER_HEADER_H

#include <base/buf.h>

/* A word longer than this is cut into encoded words; a URL or an address can't be cut. */
enum { RMD_HEADER_LINE_MAX = 998, RMD_HEADER_WORD_MAX = 900 };

/* Appends s to out with white space and controls made single spaces, none at the beginning of out. RMD_EFORMAT: s
 * isn't UTF-8. */
int rmd_header_clean(struct rmd_buf *out, struct rmd_slice s) RMD_CHECKED;

/* One field that is being written. */
struct rmd_header_writer {
    struct rmd_buf *out;
    size_t line; /* offset at which the present line begins */
    bool fresh;  /* nothing but the name yet */
};
void rmd_header_begin(struct rmd_header_writer *w, struct rmd_buf *out, struct rmd_slice name);
/* Unstructured text (Subject, X-...), clean; words that need it become encoded words. */
void rmd_header_text(struct rmd_header_writer *w, struct rmd_slice text);
/* ASCII tokens separated by blanks, as they are, folded between them. RMD_ELIMIT: a token over RMD_HEADER_WORD_MAX.
 */
int rmd_header_tokens(struct rmd_header_writer *w, struct rmd_slice tokens) RMD_CHECKED;
/* One mailbox of an address list, with a comma before it unless it is the first. name: clean, may be empty. */
void rmd_header_mailbox(struct rmd_header_writer *w, struct rmd_slice name, struct rmd_slice address);
void rmd_header_end(struct rmd_header_writer *w);

#endif
