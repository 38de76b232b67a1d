/* Configuration text: a demo schema with every type, its dump (which must read back), and the providers' file. */
#include <assert.h>

#include "proto/io/config.h"
#include "proto/io/providers_file.h"

struct demo {
    char *text, *path;
    int64_t number, duration, bytes;
    bool flag;
    char **list;
};

#define FIELD(f) offsetof(struct demo, f)
static const struct rmd_config_row rows[] = {
    {"text", RMD_CONFIG_STRING, FIELD(text), "x", 0, 0, false, "text"},
    {"bus.key", RMD_CONFIG_PATH, FIELD(path), NULL, 0, 0, false, "path"},
    {"bus.number", RMD_CONFIG_INT, FIELD(number), "5", -10, 1000000, false, "number"},
    {"bus.deep.wait", RMD_CONFIG_DURATION, FIELD(duration), "90s", 0, 0, false, NULL},
    {"cache", RMD_CONFIG_BYTES, FIELD(bytes), "64KiB", 0, 0, false, "bytes"},
    {"flag", RMD_CONFIG_BOOL, FIELD(flag), "on", 0, 0, false, "flag"},
    {"list", RMD_CONFIG_LIST, FIELD(list), "a,b", 0, 0, false, "list"},
    {0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct demo d;
    struct rmd_buf err = {0}, text = {0}, again = {0};
    if (rmd_config_parse(rmd_slice(data, n), "/fuzz.conf", rows, &d, &err) == RMD_OK) {
        struct demo e;
        assert(err.len == 0);
        rmd_config_dump(rows, &d, &text);
        int rc = rmd_config_parse(rmd_buf_slice(&text), "/fuzz.conf", rows, &e, &err);
        assert(rc == RMD_OK);
        rmd_config_dump(rows, &e, &again);
        assert(rmd_slice_eq(rmd_buf_slice(&text), rmd_buf_slice(&again)));
        rmd_config_release(rows, &e);
    } else {
        assert(err.len > 0);
    }
    rmd_config_release(rows, &d);
    rmd_buf_clear(&err);
    struct rmd_providers p;
    if (rmd_providers_parse(rmd_slice(data, n), "fuzz.conf", &p, &err) == RMD_OK)
        assert(p.n > 0);
    else
        assert(p.n == 0 && err.len > 0);
    rmd_providers_release(&p);
    rmd_buf_release(&err);
    rmd_buf_release(&text);
    rmd_buf_release(&again);
    return 0;
}
