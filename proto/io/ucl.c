/* Parser of libucl's configuration syntax (see ucl.h).
 *
 * A recursive descent over bytes, bounded by depth, nodes and sizes. The first syntax error ends the parse: what
 * follows one is guesswork. Every function that consumes text returns RMD_OK or the error already written to err. */
#include "proto/io/ucl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

struct parser {
    const uint8_t *p, *end;
    int line;
    int depth;
    int nodes;
    const char *name;
    struct rmd_arena *arena;
    struct rmd_buf *err;
    struct rmd_buf scratch;
};

static int RMD_PRINTF(3, 4) fail(struct parser *s, int line, const char *fmt, ...) {
    rmd_buf_addf(s->err, "%s:%d: ", s->name, line);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(s->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(s->err, '\n');
    return RMD_EFORMAT;
}

static bool at_end(const struct parser *s) {
    return s->p == s->end;
}

static int peek(const struct parser *s) {
    return s->p < s->end ? *s->p : -1;
}

static bool looking_at(const struct parser *s, const char *word) {
    size_t n = strlen(word);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, word, n) == 0;
}

static void advance(struct parser *s) {
    if (*s->p == '\n')
        s->line++;
    s->p++;
}

/* A byte as people can read it in an error. */
static const char *show(int c, char out[16]) {
    if (c < 0)
        rmd_copy(out, 16, "end of file");
    else if (c == '\n')
        rmd_copy(out, 16, "end of line");
    else if (c > ' ' && c < 0x7f)
        rmd_format(out, 16, "\"%c\"", c);
    else
        rmd_format(out, 16, "byte 0x%02x", (unsigned)c);
    return out;
}

/* Comments nest, as libucl's do. */
static int skip_block_comment(struct parser *s) {
    int start = s->line, level = 0;
    do {
        if (at_end(s))
            return fail(s, start, "this comment is never closed with \"*/\"");
        if (looking_at(s, "/*")) {
            level++;
            s->p += 2;
        } else if (looking_at(s, "*/")) {
            level--;
            s->p += 2;
        } else {
            advance(s);
        }
    } while (level);
    return RMD_OK;
}

/* Skips blanks and comments; line ends too when lines is set. */
static int skip_space(struct parser *s, bool lines) {
    while (!at_end(s)) {
        int c = peek(s);
        if (c == '#') {
            while (!at_end(s) && peek(s) != '\n')
                s->p++;
        } else if (looking_at(s, "/*")) {
            int rc = skip_block_comment(s);
            if (rc < 0)
                return rc;
        } else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n')) {
            advance(s);
        } else {
            break;
        }
    }
    return RMD_OK;
}

static int new_node(struct parser *s, enum rmd_ucl_type type, int line, struct rmd_ucl **out) {
    if (++s->nodes > RMD_UCL_NODES_MAX)
        return fail(s, line, "more than %d values in one file", RMD_UCL_NODES_MAX);
    struct rmd_ucl *node = rmd_arena_alloc(s->arena, sizeof *node);
    node->type = type;
    node->line = line;
    *out = node;
    return RMD_OK;
}

static void append(struct rmd_ucl *parent, struct rmd_ucl *node) {
    if (parent->last)
        parent->last->next = node;
    else
        parent->child = node;
    parent->last = node;
}

struct rmd_ucl *rmd_ucl_find(const struct rmd_ucl *object, const char *key) {
    for (struct rmd_ucl *it = object->child; it; it = it->next)
        if (it->key && strcmp(it->key, key) == 0)
            return it;
    return NULL;
}

/* --- strings; all of them are gathered in scratch */

static int hex4(struct parser *s, uint32_t *out) {
    uint8_t b[2];
    if (s->end - s->p < 4 || rmd_unhex(rmd_slice(s->p, 4), b, 2) < 0)
        return fail(s, s->line, "\"\\u\" needs four hexadecimal digits");
    s->p += 4;
    *out = rmd_get_be16(b);
    return RMD_OK;
}

static void add_utf8(struct rmd_buf *b, uint32_t c) {
    if (c < 0x80) {
        rmd_buf_addc(b, (char)c);
    } else if (c < 0x800) {
        rmd_buf_addc(b, (char)(0xc0 | c >> 6));
        rmd_buf_addc(b, (char)(0x80 | (c & 63)));
    } else {
        rmd_buf_addc(b, (char)(0xe0 | c >> 12));
        rmd_buf_addc(b, (char)(0x80 | (c >> 6 & 63)));
        rmd_buf_addc(b, (char)(0x80 | (c & 63)));
    }
}

static int escape(struct parser *s) {
    static const char from[] = "\"\\/bfnrt'", to[] = "\"\\/\b\f\n\r\t'";
    int c = peek(s);
    if (c < 0)
        return fail(s, s->line, "the file ends inside a quoted string");
    const char *at = strchr(from, c);
    s->p++;
    if (c && at) {
        rmd_buf_addc(&s->scratch, to[at - from]);
        return RMD_OK;
    }
    if (c != 'u')
        return fail(s, s->line, "unknown escape after \"\\\"; a backslash itself is written \"\\\\\"");
    uint32_t code = 0;
    int rc = hex4(s, &code);
    if (rc < 0)
        return rc;
    if (code == 0 || (code >= 0xd800 && code < 0xe000))
        return fail(s, s->line, "\"\\u%04x\" is not a character that may stand here", (unsigned)code);
    add_utf8(&s->scratch, code);
    return RMD_OK;
}

static int quoted(struct parser *s) {
    int start = s->line, quote = peek(s);
    s->p++;
    rmd_buf_clear(&s->scratch);
    while (peek(s) != quote) {
        int c = peek(s);
        if (c < 0 || c == '\n')
            return fail(s, start, "this string is not closed on its line with %c", quote);
        if (c < ' ' && c != '\t')
            return fail(s, s->line, "control character 0x%02x in a string", (unsigned)c);
        s->p++;
        if (c == '\\' && quote == '"') {
            int rc = escape(s);
            if (rc < 0)
                return rc;
        } else if (c == '\\' && peek(s) == '\'') { /* the one escape between single quotes */
            rmd_buf_addc(&s->scratch, '\'');
            s->p++;
        } else {
            rmd_buf_addc(&s->scratch, (char)c);
        }
    }
    s->p++;
    return RMD_OK;
}

/* <<EOD, a line end, lines, and EOD alone on a line; the last line end before EOD isn't part of the value. */
static int heredoc(struct parser *s) {
    int start = s->line;
    s->p += 2;
    const uint8_t *tag = s->p;
    while (peek(s) >= 'A' && peek(s) <= 'Z')
        s->p++;
    size_t n = (size_t)(s->p - tag);
    if (!n || n > 32 || peek(s) != '\n')
        return fail(s, start, "\"<<\" needs a word of capital letters and the end of the line");
    advance(s);
    rmd_buf_clear(&s->scratch);
    while (!at_end(s)) {
        const uint8_t *nl = memchr(s->p, '\n', (size_t)(s->end - s->p));
        struct rmd_slice line = rmd_slice(s->p, (size_t)((nl ? nl : s->end) - s->p));
        if (line.n >= n && memcmp(line.p, tag, n) == 0 && (line.n == n || line.p[n] == ';')) {
            s->p += n;
            if (s->scratch.len)
                rmd_buf_truncate(&s->scratch, s->scratch.len - 1);
            return RMD_OK;
        }
        if (memchr(line.p, 0, line.n))
            return fail(s, s->line, "control character 0x00 in a string");
        rmd_buf_add(&s->scratch, line.p, line.n);
        rmd_buf_addc(&s->scratch, '\n');
        s->p += line.n;
        if (nl)
            advance(s);
    }
    return fail(s, start, "\"<<%.*s\" is never closed with a line %.*s", (int)n, (const char *)tag, (int)n,
                (const char *)tag);
}

/* A bare value: to ";", ",", a bracket, a comment or the end of the line; blanks inside stay, those at the end go. */
static int bare(struct parser *s) {
    const uint8_t *start = s->p;
    while (!at_end(s)) {
        int c = peek(s);
        if (c == '\n' || c == ';' || c == ',' || c == '}' || c == ']' || c == '{' || c == '[' || c == '"')
            break;
        bool after_blank = s->p > start && (s->p[-1] == ' ' || s->p[-1] == '\t');
        if (after_blank && (c == '#' || looking_at(s, "/*")))
            break;
        if (c < ' ' && c != '\t' && c != '\r')
            return fail(s, s->line, "control character 0x%02x in a value", (unsigned)c);
        s->p++;
    }
    struct rmd_slice text = rmd_trim(rmd_slice(start, (size_t)(s->p - start)));
    char seen[16];
    if (!text.n)
        return fail(s, s->line, "expected a value, found %s", show(peek(s), seen));
    rmd_buf_clear(&s->scratch);
    rmd_buf_add(&s->scratch, text.p, text.n);
    return RMD_OK;
}

static int scalar(struct parser *s, struct rmd_ucl **out) {
    int line = s->line;
    int rc = peek(s) == '"' || peek(s) == '\'' ? quoted(s) : looking_at(s, "<<") ? heredoc(s) : bare(s);
    if (rc < 0)
        return rc;
    if (s->scratch.overflow || s->scratch.len > RMD_UCL_VALUE_MAX)
        return fail(s, line, "a value of more than %d bytes", RMD_UCL_VALUE_MAX);
    rc = new_node(s, RMD_UCL_SCALAR, line, out);
    if (rc == RMD_OK)
        (*out)->text = rmd_arena_str(s->arena, rmd_buf_slice(&s->scratch));
    return rc;
}

/* --- lists and objects */

static int object_members(struct parser *s, struct rmd_ucl *object, bool root);

static int list(struct parser *s, struct rmd_ucl **out) {
    int start = s->line;
    int rc = new_node(s, RMD_UCL_LIST, start, out);
    s->p++;
    while (rc == RMD_OK) {
        rc = skip_space(s, true);
        if (rc < 0)
            return rc;
        if (at_end(s))
            return fail(s, start, "this list is never closed with \"]\"");
        if (peek(s) == ']') {
            s->p++;
            return RMD_OK;
        }
        if (peek(s) == '[' || peek(s) == '{')
            return fail(s, s->line, "a list holds plain values only");
        struct rmd_ucl *item = NULL;
        rc = scalar(s, &item);
        if (rc == RMD_OK)
            append(*out, item);
        if (rc == RMD_OK)
            rc = skip_space(s, true);
        char seen[16];
        if (rc == RMD_OK && !at_end(s) && peek(s) != ']') {
            if (peek(s) != ',')
                return fail(s, s->line, "expected \",\" or \"]\" in a list, found %s", show(peek(s), seen));
            s->p++;
        }
    }
    return rc;
}

static bool key_char(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

/* A key, quoted or bare, into the arena. */
static int read_key(struct parser *s, const char **out) {
    char seen[16];
    int line = s->line;
    if (peek(s) == '"') {
        int rc = quoted(s);
        if (rc < 0)
            return rc;
    } else {
        const uint8_t *start = s->p;
        while (key_char(peek(s)))
            s->p++;
        if (s->p == start)
            return fail(s, line, "expected a key, found %s", show(peek(s), seen));
        rmd_buf_clear(&s->scratch);
        rmd_buf_add(&s->scratch, start, (size_t)(s->p - start));
    }
    if (!s->scratch.len || s->scratch.len > RMD_UCL_KEY_MAX)
        return fail(s, line, "a key has 1 to %d characters", RMD_UCL_KEY_MAX);
    *out = rmd_arena_str(s->arena, rmd_buf_slice(&s->scratch));
    return RMD_OK;
}

/* The section of that name: the one that is open already goes on, else a new one. */
static int section(struct parser *s, struct rmd_ucl *parent, const char *key, int line, struct rmd_ucl **out) {
    struct rmd_ucl *node = rmd_ucl_find(parent, key);
    if (node && node->type != RMD_UCL_OBJECT)
        return fail(s, line, "%s: is %s in line %d already, and a section here", key, rmd_ucl_type_text(node),
                    node->line);
    if (!node) {
        int rc = new_node(s, RMD_UCL_OBJECT, line, &node);
        if (rc < 0)
            return rc;
        node->key = key;
        append(parent, node);
    }
    *out = node;
    return RMD_OK;
}

static int open_section(struct parser *s, struct rmd_ucl *parent, const char *key, int line) {
    struct rmd_ucl *node = NULL;
    int rc = section(s, parent, key, line, &node);
    if (rc < 0)
        return rc;
    s->p++; /* the brace */
    if (++s->depth > RMD_UCL_DEPTH_MAX)
        return fail(s, line, "sections nest more than %d deep", RMD_UCL_DEPTH_MAX);
    rc = object_members(s, node, false);
    s->depth--;
    if (rc == RMD_OK && peek(s) != '}')
        return fail(s, line, "%s: this section is never closed with \"}\"", key);
    if (rc == RMD_OK)
        s->p++;
    return rc;
}

/* A section may have a name between key and brace: `provider "google" {`. Restores the position when it isn't one. */
static int named_section(struct parser *s, struct rmd_ucl *parent, const char *key, int line, bool *found) {
    const uint8_t *p = s->p;
    int at = s->line;
    const char *name = NULL;
    *found = false;
    if (peek(s) != '"' && !key_char(peek(s)))
        return RMD_OK;
    int rc = read_key(s, &name);
    if (rc < 0)
        return rc;
    rc = skip_space(s, false);
    if (rc < 0)
        return rc;
    if (peek(s) != '{') {
        s->p = p;
        s->line = at;
        return RMD_OK;
    }
    *found = true;
    struct rmd_ucl *outer = NULL;
    rc = section(s, parent, key, line, &outer);
    return rc < 0 ? rc : open_section(s, outer, name, line);
}

static int value(struct parser *s, struct rmd_ucl *parent, const char *key, int line) {
    struct rmd_ucl *node = NULL, *old = rmd_ucl_find(parent, key);
    if (old)
        return fail(s, line, "%s: is set in line %d already", key, old->line);
    int rc = peek(s) == '[' ? list(s, &node) : scalar(s, &node);
    if (rc < 0)
        return rc;
    node->key = key;
    node->line = line;
    append(parent, node);
    rc = skip_space(s, false);
    if (rc < 0)
        return rc;
    char seen[16];
    int c = peek(s);
    if (c == ';' || c == ',')
        s->p++;
    else if (c >= 0 && c != '\n' && c != '}')
        return fail(s, s->line, "%s: expected \";\" or the end of the line after the value, found %s", key,
                    show(c, seen));
    return RMD_OK;
}

static int member(struct parser *s, struct rmd_ucl *parent) {
    int line = s->line;
    const char *key = NULL;
    int rc = read_key(s, &key);
    if (rc == RMD_OK)
        rc = skip_space(s, false);
    if (rc < 0)
        return rc;
    bool assigned = peek(s) == '=' || peek(s) == ':';
    if (assigned) {
        s->p++;
        rc = skip_space(s, false);
        if (rc < 0)
            return rc;
    }
    if (peek(s) == '{')
        return open_section(s, parent, key, line);
    bool found = false;
    if (!assigned)
        rc = named_section(s, parent, key, line, &found);
    if (rc < 0 || found)
        return rc;
    if (peek(s) == '\n' || peek(s) == ';' || at_end(s))
        return fail(s, line, "%s: has no value", key);
    return value(s, parent, key, line);
}

static int object_members(struct parser *s, struct rmd_ucl *object, bool root) {
    for (;;) {
        int rc = skip_space(s, true);
        if (rc < 0)
            return rc;
        int c = peek(s);
        if (c < 0)
            return RMD_OK;
        if (c == '}') {
            if (root)
                return fail(s, s->line, "\"}\" closes no section");
            return RMD_OK;
        }
        if (c == ';' || c == ',') { /* after a section */
            s->p++;
            continue;
        }
        if (c == '.')
            return fail(s, s->line, "macros such as .include are not supported; put further files beside this one");
        rc = member(s, object);
        if (rc < 0)
            return rc;
    }
}

int rmd_ucl_parse(struct rmd_slice text, const char *name, struct rmd_arena *arena, struct rmd_ucl **root,
                  struct rmd_buf *err) {
    struct parser s = {.p = text.p, .end = text.p + text.n, .line = 1, .name = name, .arena = arena, .err = err};
    *root = NULL;
    if (text.n > RMD_UCL_TEXT_MAX) {
        rmd_buf_addf(err, "%s: larger than %d bytes\n", name, RMD_UCL_TEXT_MAX);
        return RMD_ELIMIT;
    }
    static const uint8_t nothing[1];
    if (!text.n)
        s.p = s.end = nothing;
    if (looking_at(&s, "\xef\xbb\xbf")) /* byte order mark */
        s.p += 3;
    struct rmd_ucl *node = NULL;
    int rc = new_node(&s, RMD_UCL_OBJECT, 1, &node);
    if (rc == RMD_OK && !rmd_utf8_valid(rmd_slice(s.p, (size_t)(s.end - s.p))))
        rc = fail(&s, 1, "is not valid UTF-8 text");
    if (rc == RMD_OK)
        rc = object_members(&s, node, true);
    rmd_buf_release(&s.scratch);
    if (rc == RMD_OK)
        *root = node;
    return rc;
}

const char *rmd_ucl_type_text(const struct rmd_ucl *node) {
    return node->type == RMD_UCL_OBJECT ? "a section" : node->type == RMD_UCL_LIST ? "a list" : "a value";
}

void rmd_ucl_quote(struct rmd_buf *out, const char *s) {
    rmd_buf_addc(out, '"');
    for (; *s; s++) {
        uint8_t c = (uint8_t)*s;
        if (c == '"' || c == '\\')
            rmd_buf_addf(out, "\\%c", c);
        else if (c == '\n')
            rmd_buf_addstr(out, "\\n");
        else if (c == '\t')
            rmd_buf_addstr(out, "\\t");
        else if (c < ' ' || c == 0x7f)
            rmd_buf_addf(out, "\\u%04x", c);
        else
            rmd_buf_addc(out, (char)c);
    }
    rmd_buf_addc(out, '"');
}

static int read_all(int fd, const char *path, struct rmd_buf *text, struct rmd_buf *err) {
    uint8_t chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            rmd_buf_addf(err, "%s: cannot be read: %s\n", path, strerror(errno));
            return RMD_EIO;
        }
        if (!n)
            return RMD_OK;
        rmd_buf_add(text, chunk, (size_t)n);
        if (text->len > RMD_UCL_TEXT_MAX) {
            rmd_buf_addf(err, "%s: larger than %d bytes\n", path, RMD_UCL_TEXT_MAX);
            return RMD_ELIMIT;
        }
    }
}

int rmd_ucl_read_file(const char *path, struct rmd_buf *text, struct rmd_buf *err) {
    rmd_buf_clear(text);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang the start */
    if (fd < 0) {
        int code = errno;
        rmd_buf_addf(err, "%s: cannot be opened: %s\n", path, strerror(code));
        return code == ENOENT ? RMD_ENOTFOUND : RMD_EIO;
    }
    struct stat st;
    int rc = RMD_OK;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        rmd_buf_addf(err, "%s: is not a regular file\n", path);
        rc = RMD_EIO;
    }
    if (rc == RMD_OK)
        rc = read_all(fd, path, text, err);
    close(fd);
    return rc;
}
