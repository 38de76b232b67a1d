/* Configuration: files in libucl's syntax against a schema, into a struct (see config.h).
 *
 * Two passes, so that every finding is reported: each file's tree is flattened into "section.key" settings, later
 * files replacing earlier ones; then every row of the schema takes its setting, or its default. Unknown keys are
 * found in the first pass, wrong types and bounds in the second, with the file and line where the value stands. */
#include "proto/io/config.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include <base/coll.h>
#include <base/text.h>

#include "proto/io/ucl.h"

enum { CONFIG_FILES_MAX = 256, CONFIG_LIST_MAX = 1024, CONFIG_PATH_KEY_MAX = 512, CONFIG_FINDINGS_MAX = 200 };

struct setting {
    const char *file;
    const struct rmd_ucl *node;
};

struct rmd_config_loader {
    const struct rmd_config_row *rows;
    struct rmd_arena arena;
    struct rmd_map settings; /* row number -> struct setting, in the arena */
    struct rmd_buf *err;
    const char *name; /* for what no file sets */
    int findings;
    struct rmd_set64 bad;  /* rows with a finding: what they hold instead is nothing to judge */
    bool lenient, lacking; /* required keys may be missing; some are */
    bool unread;           /* a file of which nothing is known: what is missing may be there */
};

/* One line in err; true while there is room for more. */
static bool RMD_PRINTF(4, 5) finding(struct rmd_config_loader *l, const char *file, int line, const char *fmt, ...) {
    if (++l->findings > CONFIG_FINDINGS_MAX) {
        if (l->findings == CONFIG_FINDINGS_MAX + 1)
            rmd_buf_addf(l->err, "%s: more than %d errors; the rest is not shown\n", file, CONFIG_FINDINGS_MAX);
        return false;
    }
    if (line)
        rmd_buf_addf(l->err, "%s:%d: ", file, line);
    else
        rmd_buf_addf(l->err, "%s: ", file);
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(l->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(l->err, '\n');
    return true;
}

/* --- first pass: files into settings */

static uint64_t find_row(const struct rmd_config_row *rows, const char *key, bool *is_section) {
    size_t n = strlen(key);
    *is_section = false;
    for (uint64_t i = 0; rows[i].key; i++) {
        if (strcmp(rows[i].key, key) == 0)
            return i;
        if (strncmp(rows[i].key, key, n) == 0 && rows[i].key[n] == '.')
            *is_section = true;
    }
    return UINT64_MAX;
}

static void collect(struct rmd_config_loader *l, const char *file, const struct rmd_ucl *object, const char *prefix) {
    for (const struct rmd_ucl *it = object->child; it; it = it->next) {
        char key[CONFIG_PATH_KEY_MAX];
        if (rmd_format(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", it->key) < 0) {
            finding(l, file, it->line, "%s...: too long a key", prefix);
            continue;
        }
        bool is_section;
        uint64_t row = find_row(l->rows, key, &is_section);
        if (it->type == RMD_UCL_OBJECT && is_section) {
            collect(l, file, it, key);
        } else if (row == UINT64_MAX && is_section) {
            finding(l, file, it->line, "%s: is a section: %s { ... }", key, it->key);
        } else if (row == UINT64_MAX) {
            finding(l, file, it->line, "%s: unknown key", key);
        } else {
            struct setting *s = rmd_map_get_u64(&l->settings, row);
            if (s && s->file == file) { /* "a.b" and a { b } in one file */
                finding(l, file, it->line, "%s: is set in line %d already", key, s->node->line);
                continue;
            }
            s = rmd_arena_alloc(&l->arena, sizeof *s);
            *s = (struct setting){.file = file, .node = it};
            rmd_map_set_u64(&l->settings, row, s);
        }
    }
}

static void add_text(struct rmd_config_loader *l, struct rmd_slice text, const char *name) {
    struct rmd_ucl *root = NULL;
    const char *file = rmd_arena_str(&l->arena, rmd_slice_str(name));
    l->unread |= rmd_ucl_parse(text, file, &l->arena, &root, l->err) < 0;
    if (root)
        collect(l, file, root, "");
}

static void add_file(struct rmd_config_loader *l, const char *path) {
    struct rmd_buf text = {0};
    int rc = rmd_ucl_read_file(path, &text, l->err);
    if (rc < 0)
        l->unread = true;
    else
        add_text(l, rmd_buf_slice(&text), path);
    rmd_buf_release(&text);
}

static int is_conf(const struct dirent *d) {
    return d->d_name[0] != '.' && rmd_has_suffix(d->d_name, ".conf");
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_directory(struct rmd_config_loader *l, const char *path) {
    struct dirent **entry = NULL;
    int n = scandir(path, &entry, is_conf, by_bytes);
    l->unread = l->unread || n <= 0 || n > CONFIG_FILES_MAX;
    if (n < 0)
        finding(l, path, 0, "cannot be listed: %s", strerror(errno));
    else if (n == 0)
        finding(l, path, 0, "has no *.conf file");
    else if (n > CONFIG_FILES_MAX)
        finding(l, path, 0, "has more than %d *.conf files", CONFIG_FILES_MAX);
    for (int i = 0; i < n; i++) {
        struct rmd_buf file = {0};
        rmd_buf_addf(&file, "%s%s%s", path, rmd_has_suffix(path, "/") ? "" : "/", entry[i]->d_name);
        if (n <= CONFIG_FILES_MAX)
            add_file(l, rmd_buf_str(&file));
        rmd_buf_release(&file);
        free(entry[i]);
    }
    free(entry);
}

/* --- second pass: settings into the struct */

static int parse_bool(struct rmd_slice s, bool *out) {
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (size_t i = 0; i < 3; i++) {
        if (rmd_case_eq(s, rmd_slice_str(yes[i])) || rmd_case_eq(s, rmd_slice_str(no[i]))) {
            *out = rmd_case_eq(s, rmd_slice_str(yes[i]));
            return RMD_OK;
        }
    }
    return RMD_EFORMAT;
}

static int parse_number(enum rmd_config_type type, struct rmd_slice s, int64_t *out) {
    if (type == RMD_CONFIG_DURATION)
        return rmd_parse_duration_ms(s, out);
    bool negative = type == RMD_CONFIG_INT && s.n > 1 && s.p[0] == '-';
    if (negative)
        s = rmd_slice(s.p + 1, s.n - 1);
    uint64_t u;
    int rc = type == RMD_CONFIG_BYTES ? rmd_parse_bytes(s, &u) : rmd_parse_count(s, &u);
    if (rc < 0)
        return rc;
    if (u > INT64_MAX)
        return RMD_ELIMIT;
    *out = negative ? -(int64_t)u : (int64_t)u;
    return RMD_OK;
}

static const char *wanted(enum rmd_config_type type) {
    static const char *const text[] = {
        [RMD_CONFIG_STRING] = "a text",
        [RMD_CONFIG_PATH] = "a path",
        [RMD_CONFIG_INT] = "a whole number (5, 200k)",
        [RMD_CONFIG_BOOL] = "true or false",
        [RMD_CONFIG_DURATION] = "a duration (250ms, 90s, 5min, 4h, 2d)",
        [RMD_CONFIG_BYTES] = "a size (65536, 64KiB, 20MB)",
        [RMD_CONFIG_LIST] = "a list ([\"a\", \"b\"]) or a single value",
    };
    return text[type];
}

/* A number the way its type is written, for bounds and dumps. Exact: a value that no larger unit divides stays in the
 * smallest. */
static void show_number(enum rmd_config_type type, int64_t v, char out[48]) {
    static const struct {
        const char *unit;
        int64_t factor;
    } durations[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}},
      sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}};
    for (size_t i = 0; type == RMD_CONFIG_DURATION && i < 4; i++) {
        if (v && v % durations[i].factor == 0) {
            rmd_format(out, 48, "%" PRId64 "%s", v / durations[i].factor, durations[i].unit);
            return;
        }
    }
    for (size_t i = 0; type == RMD_CONFIG_BYTES && i < 3; i++) {
        if (v && v % sizes[i].factor == 0) {
            rmd_format(out, 48, "%" PRId64 "%s", v / sizes[i].factor, sizes[i].unit);
            return;
        }
    }
    rmd_format(out, 48, "%" PRId64 "%s", v, type == RMD_CONFIG_DURATION ? "ms" : "");
}

static char *path_beside(const char *file, const char *path) {
    const char *slash = file ? strrchr(file, '/') : NULL;
    struct rmd_buf b = {0};
    if (path[0] && path[0] != '/' && slash)
        rmd_buf_add(&b, file, (size_t)(slash - file) + 1);
    rmd_buf_addstr(&b, path);
    return (char *)rmd_buf_take(&b, NULL);
}

static char **split_list(const char *text) {
    size_t n = 0, cap = 1;
    for (const char *c = text; *c; c++)
        cap += *c == ',';
    char **v = rmd_alloc((cap + 1) * sizeof *v);
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, ",");
        struct rmd_slice item = rmd_trim(rmd_slice(at, len));
        v[n++] = rmd_strndup(item.p, item.n);
        at += len + (at[len] == ',');
    }
    return v;
}

static void set_list(struct rmd_config_loader *l, const struct setting *s, const char *key, char ***field) {
    size_t n = 0;
    for (const struct rmd_ucl *it = s->node->child; it; it = it->next)
        n++;
    if (n > CONFIG_LIST_MAX) {
        finding(l, s->file, s->node->line, "%s: more than %d values", key, CONFIG_LIST_MAX);
        return;
    }
    if (s->node->type == RMD_UCL_SCALAR) {
        *field = split_list(s->node->text);
        return;
    }
    char **v = rmd_alloc((n + 1) * sizeof *v);
    size_t i = 0;
    for (const struct rmd_ucl *it = s->node->child; it; it = it->next)
        v[i++] = rmd_strdup(it->text);
    *field = v;
}

static void set_number(struct rmd_config_loader *l, const struct setting *s, const struct rmd_config_row *row,
                       int64_t *field) {
    int64_t v;
    struct rmd_slice text = rmd_slice_str(s->node->text);
    int rc = parse_number(row->type, text, &v);
    if (rc < 0) {
        finding(l, s->file, s->node->line, "%s: \"%.40s\" is not %s", row->key, s->node->text, wanted(row->type));
        return;
    }
    if ((row->min || row->max) && (v < row->min || v > row->max)) {
        char low[48], high[48];
        show_number(row->type, row->min, low);
        show_number(row->type, row->max, high);
        finding(l, s->file, s->node->line, "%s: \"%.40s\" is not within %s and %s", row->key, s->node->text, low,
                high);
        return;
    }
    *field = v;
}

static void set_field(struct rmd_config_loader *l, const struct rmd_config_row *row, const struct setting *s,
                      void *out) {
    void *field = (char *)out + row->offset;
    bool list_ok = row->type == RMD_CONFIG_LIST && s->node->type == RMD_UCL_LIST;
    if (s->node->type != RMD_UCL_SCALAR && !list_ok) {
        finding(l, s->file, s->node->line, "%s: expected %s, found %s", row->key, wanted(row->type),
                rmd_ucl_type_text(s->node));
        return;
    }
    switch (row->type) {
    case RMD_CONFIG_STRING:
        *(char **)field = rmd_strdup(s->node->text);
        break;
    case RMD_CONFIG_PATH:
        if (*s->node->text && strspn(s->node->text, "0123456789") == strlen(s->node->text))
            finding(l, s->file, s->node->line, "%s: \"%.40s\" is not %s", row->key, s->node->text, wanted(row->type));
        *(char **)field = path_beside(s->file, s->node->text);
        break;
    case RMD_CONFIG_BOOL:
        if (parse_bool(rmd_slice_str(s->node->text), field) < 0)
            finding(l, s->file, s->node->line, "%s: \"%.40s\" is not %s", row->key, s->node->text, wanted(row->type));
        break;
    case RMD_CONFIG_LIST:
        set_list(l, s, row->key, field);
        break;
    case RMD_CONFIG_INT:
    case RMD_CONFIG_DURATION:
    case RMD_CONFIG_BYTES:
        set_number(l, s, row, field);
        break;
    }
}

/* Defaults are the program's own: one that doesn't parse is a bug. */
static void set_default(const struct rmd_config_row *row, void *out) {
    void *field = (char *)out + row->offset;
    const char *text = row->fallback ? row->fallback : "";
    int rc = RMD_OK;
    switch (row->type) {
    case RMD_CONFIG_STRING:
    case RMD_CONFIG_PATH:
        *(char **)field = rmd_strdup(text);
        break;
    case RMD_CONFIG_LIST:
        *(char ***)field = split_list(text);
        break;
    case RMD_CONFIG_BOOL:
        rc = *text ? parse_bool(rmd_slice_str(text), field) : RMD_OK;
        break;
    case RMD_CONFIG_INT:
    case RMD_CONFIG_DURATION:
    case RMD_CONFIG_BYTES:
        rc = *text ? parse_number(row->type, rmd_slice_str(text), field) : RMD_OK;
        break;
    }
    if (rc < 0) {
        fprintf(stderr, "schema row %s: default \"%s\" is not %s\n", row->key, text, wanted(row->type));
        assert(rc == RMD_OK);
        abort();
    }
}

static void zero_fields(const struct rmd_config_row *rows, void *out) {
    for (; rows->key; rows++) {
        void *field = (char *)out + rows->offset;
        if (rows->type == RMD_CONFIG_BOOL)
            *(bool *)field = false;
        else if (rows->type == RMD_CONFIG_INT || rows->type == RMD_CONFIG_DURATION || rows->type == RMD_CONFIG_BYTES)
            *(int64_t *)field = 0;
        else
            memset(field, 0, sizeof(void *));
    }
}

void rmd_config_finding(struct rmd_config_loader *l, const char *key, const char *fmt, ...) {
    bool is_section;
    uint64_t row = find_row(l->rows, key, &is_section);
    const struct setting *s = rmd_map_get_u64(&l->settings, row);
    struct rmd_buf text = {0};
    if (rmd_set64_has(&l->bad, row))
        return;
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    finding(l, s ? s->file : l->name, s ? s->node->line : 0, "%s: %s", key, rmd_buf_str(&text));
    rmd_buf_release(&text);
}

void rmd_config_findings(struct rmd_config_loader *l, const struct rmd_buf *lines) {
    l->findings++;
    rmd_buf_add(l->err, lines->p, lines->len);
}

/* Its setting; the default where that is wrong, so that the rest can be checked all the same. */
static void set_row(struct rmd_config_loader *l, uint64_t i, const struct setting *s, void *out) {
    const struct rmd_config_row *row = &l->rows[i];
    int before = l->findings;
    set_field(l, row, s, out);
    if (l->findings == before)
        return;
    rmd_set64_add(&l->bad, i);
    if (row->type == RMD_CONFIG_STRING || row->type == RMD_CONFIG_PATH)
        free(*(char **)((char *)out + row->offset));
    set_default(row, out);
}

static void lacks(struct rmd_config_loader *l, uint64_t i, const char *name, void *out) {
    const struct rmd_config_row *row = &l->rows[i];
    finding(l, name, 0, "%s: is required: %s", row->key, row->help ? row->help : wanted(row->type));
    rmd_set64_add(&l->bad, i);
    set_default(row, out);
}

static int finish(struct rmd_config_loader *l, const char *name, rmd_config_check_fn check, void *out) {
    for (uint64_t i = 0; l->rows[i].key; i++) {
        const struct rmd_config_row *row = &l->rows[i];
        const struct setting *s = rmd_map_get_u64(&l->settings, i);
        if (s)
            set_row(l, i, s, out);
        else if (!row->required)
            set_default(row, out);
        else if (l->lenient)
            l->lacking = true;
        else if (!l->unread)
            lacks(l, i, name, out);
    }
    l->name = name;
    if (check && !l->unread && !l->lacking)
        check(out, l);
    rmd_set64_release(&l->bad);
    int rc = l->findings || l->unread ? RMD_EINVAL : RMD_OK;
    if (rc < 0)
        rmd_config_release(l->rows, out);
    rmd_map_release(&l->settings);
    rmd_arena_release(&l->arena);
    return rc;
}

int rmd_config_parse(struct rmd_slice text, const char *name, const struct rmd_config_row *rows, void *out,
                     struct rmd_buf *err) {
    struct rmd_config_loader l = {.rows = rows, .err = err};
    zero_fields(rows, out);
    add_text(&l, text, name);
    return finish(&l, name, NULL, out);
}

static int load(struct rmd_config_loader *l, const char *path, rmd_config_check_fn check, void *out) {
    zero_fields(l->rows, out);
    struct stat st;
    if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        add_directory(l, path);
    else if (path)
        add_file(l, path);
    return finish(l, path ? path : "defaults", check, out);
}

int rmd_config_load(const char *path, const struct rmd_config_row *rows, rmd_config_check_fn check, void *out,
                    struct rmd_buf *err) {
    struct rmd_config_loader l = {.rows = rows, .err = err};
    return load(&l, path, check, out);
}

int rmd_config_load_to_show(const char *path, const struct rmd_config_row *rows, rmd_config_check_fn check, void *out,
                            struct rmd_buf *err) {
    struct rmd_config_loader l = {.rows = rows, .err = err, .lenient = true};
    return load(&l, path, check, out);
}

void rmd_config_release(const struct rmd_config_row *rows, void *conf) {
    for (const struct rmd_config_row *row = rows; row->key; row++) {
        void *field = (char *)conf + row->offset;
        if (row->type == RMD_CONFIG_STRING || row->type == RMD_CONFIG_PATH) {
            free(*(char **)field);
        } else if (row->type == RMD_CONFIG_LIST && *(char ***)field) {
            for (char **it = *(char ***)field; *it; it++)
                free(*it);
            free(*(char ***)field);
        }
    }
    zero_fields(rows, conf);
}

/* --- dump */

static void dump_value(const struct rmd_config_row *row, const void *conf, struct rmd_buf *out) {
    const void *field = (const char *)conf + row->offset;
    char number[48];
    switch (row->type) {
    case RMD_CONFIG_STRING:
    case RMD_CONFIG_PATH:
        rmd_ucl_quote(out, *(char *const *)field ? *(char *const *)field : "");
        break;
    case RMD_CONFIG_BOOL:
        rmd_buf_addstr(out, *(const bool *)field ? "true" : "false");
        break;
    case RMD_CONFIG_LIST:
        rmd_buf_addc(out, '[');
        for (char *const *it = *(char **const *)field; it && *it; it++) {
            if (it != *(char **const *)field)
                rmd_buf_addstr(out, ", ");
            rmd_ucl_quote(out, *it);
        }
        rmd_buf_addc(out, ']');
        break;
    case RMD_CONFIG_INT:
    case RMD_CONFIG_DURATION:
    case RMD_CONFIG_BYTES:
        show_number(row->type, *(const int64_t *)field, number);
        rmd_buf_addstr(out, number);
        break;
    }
}

static int depth_of(const char *key) {
    int n = 0;
    for (; *key; key++)
        n += *key == '.';
    return n;
}

static void indent(struct rmd_buf *out, int depth) {
    rmd_buf_addf(out, "%*s", depth * 4, "");
}

/* Length of the common leading sections of two keys, and their number. */
static size_t common_sections(const char *a, const char *b, int *sections) {
    size_t common = 0;
    *sections = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
        if (a[i] == '.') {
            common = i + 1;
            ++*sections;
        }
    }
    return common;
}

/* Closes the sections of the last key that the next one isn't in, and opens its own. */
static const char *dump_sections(const char *last, const char *key, struct rmd_buf *out) {
    int shared, open = depth_of(last);
    size_t at = common_sections(last, key, &shared);
    for (; open > shared; open--) {
        indent(out, open - 1);
        rmd_buf_addstr(out, "}\n");
    }
    const char *rest = key + at;
    for (const char *dot; (dot = strchr(rest, '.')); rest = dot + 1, open++) {
        indent(out, open);
        rmd_buf_addf(out, "%.*s {\n", (int)(dot - rest), rest);
    }
    return rest;
}

static bool is_missing(const struct rmd_config_row *row, const void *conf) {
    bool text = row->type == RMD_CONFIG_STRING || row->type == RMD_CONFIG_PATH || row->type == RMD_CONFIG_LIST;
    return text && !*(void *const *)((const char *)conf + row->offset);
}

char *rmd_config_join(char *const *list) {
    struct rmd_buf b = {0};
    for (; list && *list; list++)
        rmd_buf_addf(&b, "%s%s", b.len ? "," : "", *list);
    rmd_buf_addc(&b, 0);
    return (char *)rmd_buf_take(&b, NULL);
}

void rmd_config_dump(const struct rmd_config_row *rows, const void *conf, struct rmd_buf *out) {
    const char *last = "";
    for (const struct rmd_config_row *row = rows; row->key; row++) {
        const char *leaf = dump_sections(last, row->key, out);
        int depth = depth_of(row->key);
        if (row->help) {
            indent(out, depth);
            rmd_buf_addf(out, "# %s\n", row->help);
        }
        indent(out, depth);
        if (row->required && is_missing(row, conf)) {
            rmd_buf_addf(out, "# %s = ...;    REQUIRED\n", leaf);
        } else {
            rmd_buf_addf(out, "%s = ", leaf);
            dump_value(row, conf, out);
            rmd_buf_addstr(out, ";\n");
        }
        last = row->key;
    }
    dump_sections(last, "", out);
}
