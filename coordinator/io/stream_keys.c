/* The streams' DKIM key files (see stream_keys.h). */
#include "coordinator/io/stream_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/io/sign_openssl.h"

static void collect(void *ctx, const Remuda__StreamRecord *r) {
    struct rmd_stream_keys *l = ctx;
    for (size_t i = 0; i < r->n_key; i++) {
        if (l->n == l->cap) {
            l->cap = l->cap ? l->cap * 2 : 16;
            l->v = rmd_realloc(l->v, l->cap * sizeof *l->v);
        }
        l->v[l->n++] = (struct rmd_stream_key_file){.stream = r->id,
                                                    .index = (uint32_t)i,
                                                    .stream_name = rmd_arena_str(&l->arena, rmd_slice_str(r->name)),
                                                    .path = rmd_arena_str(&l->arena, rmd_slice_str(r->key[i]->path))};
    }
}

void rmd_stream_keys_list(struct rmd_stream_keys *k, struct rmd_coord *core) {
    rmd_coord_streams(core, collect, k);
}

static bool read_file(const char *path, struct rmd_buf *pem) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char piece[4096];
    pem->limit = RMD_KEY_FILE_MAX;
    ssize_t n = fd < 0 ? -1 : 0;
    if (fd >= 0)
        errno = 0;
    while (fd >= 0 && (n = read(fd, piece, sizeof piece)) > 0)
        rmd_buf_add(pem, piece, (size_t)n);
    int error = errno;
    if (fd >= 0)
        close(fd);
    explicit_bzero(piece, sizeof piece);
    errno = error;
    return n == 0 && pem->len && !pem->overflow;
}

static void wipe(struct rmd_buf *pem) {
    if (pem->p)
        explicit_bzero(pem->p, pem->len);
    rmd_buf_release(pem);
}

const char *rmd_stream_key_read(struct rmd_stream_key_file *f, char *err, size_t err_n) {
    void *key;
    enum rmd_key_kind kind;
    const char *why = NULL;
    if (!read_file(f->path, &f->pem))
        why = errno ? strerror(errno) : "the file is empty or too large";
    else if (rmd_sign_openssl()->key_load(rmd_buf_slice(&f->pem), &key, &kind, err, err_n) < 0)
        why = err;
    else
        rmd_sign_openssl()->key_free(key);
    if (why)
        wipe(&f->pem);
    return why;
}

void rmd_stream_keys_release(struct rmd_stream_keys *k) {
    for (size_t i = 0; i < k->n; i++)
        wipe(&k->v[i].pem);
    free(k->v);
    rmd_arena_release(&k->arena);
    *k = (struct rmd_stream_keys){0};
}
