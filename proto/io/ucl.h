/* The configuration syntax of libucl, read into a tree whose every value knows its line. Pure; used by config.c and
 * providers_file.c.
 *
 * Why a parser of our own: Debian's libucl packages are a compression library of the same name, so the configuration
 * library can't be had by apt; and errors with line numbers need them on every value, which libucl doesn't keep. What
 * is read here is read by libucl in the same way, except for what is refused on purpose: macros (".include" and the
 * like) and a value set twice. Variables are not expanded.
 *
 *     # comment; slash-star comments, which nest
 *     key = value;   key: value   key value      (";" or "," or the line's end close a value)
 *     section { key = value }                    (the same section may be opened again: it goes on)
 *     section "name" { key = value }             (the same as section { name { ... } })
 *     list = [ "a", b, 5 ]
 *     text = "with \n escapes", 'without', bare words to the end of the line, <<EOD (lines) EOD
 *
 * Limits: RMD_UCL_*. The tree lives in the arena. */
#ifndef REMUDA_UCL_H
#define REMUDA_UCL_H

#include <base/coll.h>

enum {
    RMD_UCL_TEXT_MAX = 1 << 20, /* bytes of one file */
    RMD_UCL_DEPTH_MAX = 16,
    RMD_UCL_NODES_MAX = 1 << 13,
    RMD_UCL_KEY_MAX = 128,
    RMD_UCL_VALUE_MAX = 64 << 10,
};

enum rmd_ucl_type { RMD_UCL_SCALAR, RMD_UCL_OBJECT, RMD_UCL_LIST };

struct rmd_ucl {
    enum rmd_ucl_type type;
    int line;                     /* where its key stands; in a list: the value */
    const char *key;              /* NULL in a list and at the root */
    const char *text;             /* scalars: NUL-terminated, without NUL inside */
    struct rmd_ucl *child, *last; /* objects and lists: members in order of the text */
    struct rmd_ucl *next;
};

/* RMD_EFORMAT or RMD_ELIMIT: err has one line "name:12: what is wrong". */
int rmd_ucl_parse(struct rmd_slice text, const char *name, struct rmd_arena *arena, struct rmd_ucl **root,
                  struct rmd_buf *err) RMD_CHECKED;
/* Member of an object, or NULL. */
struct rmd_ucl *rmd_ucl_find(const struct rmd_ucl *object, const char *key);
/* "a value", "a section", "a list": for errors. */
const char *rmd_ucl_type_text(const struct rmd_ucl *node);
/* Appends s as a quoted string. */
void rmd_ucl_quote(struct rmd_buf *out, const char *s);
/* Reads a whole file of at most RMD_UCL_TEXT_MAX bytes; err gets "path: reason". RMD_ENOTFOUND, RMD_EIO, RMD_ELIMIT.
 */
int rmd_ucl_read_file(const char *path, struct rmd_buf *text, struct rmd_buf *err) RMD_CHECKED;

#endif
