/* The streams' DKIM key files: listed from the core, read, and tried. Keys are wiped from memory when released. */
#ifndef REMUDA_STREAM_KEYS_H
#define REMUDA_STREAM_KEYS_H

#include "coordinator/core/coordinator.h"

enum { RMD_KEY_FILE_MAX = 64 << 10 };

struct rmd_stream_keys {
    struct rmd_arena arena;
    struct rmd_stream_key_file {
        uint32_t stream, index;
        char *stream_name, *path;
        struct rmd_buf pem; /* empty until read, or when it can't be */
    } * v;
    size_t n, cap;
};

/* In the core's thread. */
void rmd_stream_keys_list(struct rmd_stream_keys *k, struct rmd_coord *core);
/* NULL: the key was read and can sign. Otherwise what is wrong, static or in err, and pem is empty. */
const char *rmd_stream_key_read(struct rmd_stream_key_file *f, char *err, size_t err_n);
void rmd_stream_keys_release(struct rmd_stream_keys *k);

#endif
