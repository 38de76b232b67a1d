/* Configuration: files in libucl's syntax (ucl.h) against a schema of rows, into a struct.
 *
 * A row says where a key stands, its type, default, bounds, help, and the offset of its field. Loading a path reads
 * the file, or every *.conf of a directory in order of name (later files override key by key). Unknown keys, wrong
 * types and values out of bounds are errors with file and line ("remuda.conf:12: bus.listen: ..."); all of them are
 * reported, not the first alone. */
#ifndef REMUDA_CONFIG_H
#define REMUDA_CONFIG_H

#include <base/buf.h>

enum rmd_config_type {
    RMD_CONFIG_STRING,   /* char * */
    RMD_CONFIG_PATH,     /* char *; relative ones against the file's folder */
    RMD_CONFIG_INT,      /* int64_t */
    RMD_CONFIG_BOOL,     /* bool */
    RMD_CONFIG_DURATION, /* int64_t, ms */
    RMD_CONFIG_BYTES,    /* int64_t */
    RMD_CONFIG_LIST,     /* char **, NULL-terminated; a text is taken apart at its commas */
};

struct rmd_config_row {
    const char *key; /* "bus.listen": nested objects, dots between */
    enum rmd_config_type type;
    size_t offset;
    const char *fallback; /* default, as text; NULL: "", an empty list, 0, false; lists: comma-separated */
    int64_t min, max;     /* numbers, durations, sizes; both 0: unbounded */
    bool required;
    const char *help;
};

/* What rows can't say: values that must fit each other. Called when every row has its value (NULL: nothing more to
 * check); each finding of its names the key, and gets the place where that is set. */
struct rmd_config_loader;
typedef void (*rmd_config_check_fn)(const void *conf, struct rmd_config_loader *l);
void rmd_config_finding(struct rmd_config_loader *l, const char *key, const char *fmt, ...) RMD_PRINTF(3, 4);
/* What another reader found: whole lines. */
void rmd_config_findings(struct rmd_config_loader *l, const struct rmd_buf *lines);

/* rows end with key == NULL. The fields of out are zeroed first, and it then owns its strings; none of them is NULL.
 * RMD_EINVAL: every finding is a line in err, and out is released. */
int rmd_config_load(const char *path, const struct rmd_config_row *rows, rmd_config_check_fn check, void *out,
                    struct rmd_buf *err) RMD_CHECKED;
/* For showing, never for running: required keys may be missing (then nothing is checked that needs them); path NULL: the
 * defaults alone. */
int rmd_config_load_to_show(const char *path, const struct rmd_config_row *rows, rmd_config_check_fn check, void *out,
                            struct rmd_buf *err) RMD_CHECKED;
/* From memory; name stands for the file in errors (tests, fuzzing). */
int rmd_config_parse(struct rmd_slice text, const char *name, const struct rmd_config_row *rows, void *out,
                     struct rmd_buf *err) RMD_CHECKED;
/* A list as "a,b,c"; the caller frees. */
char *rmd_config_join(char *const *list);
/* The effective configuration as libucl text, with each row's help as a comment. What is required and missing is a
 * comment, too. */
void rmd_config_dump(const struct rmd_config_row *rows, const void *conf, struct rmd_buf *out);
void rmd_config_release(const struct rmd_config_row *rows, void *conf);

#endif
