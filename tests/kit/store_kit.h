/* What the contract tests of the store port share: a store of any backend that can be opened again and again on the
 * same data, numbers given out in order, completions waited for, rows collected.
 *
 *     struct rmd_store_env *e = rmd_env_new(backend);     // fresh data
 *     rmd_env_open(e);                                    // opens, acquires, reads last_seq
 *     rmd_batch_put(&b, ...);  rmd_env_submit(e, &b);     // next number
 *     rmd_env_wait(e)                                     // the next completion; fails the test after 20 s
 *     rmd_env_reopen(e);                                  // an orderly end and a new life
 *     rmd_env_free(e);                                    // closes, removes the data
 *
 * Failures end the test through cmocka. */
#ifndef REMUDA_STORE_KIT_H
#define REMUDA_STORE_KIT_H

#include <remuda/store.h>

#include <base/buf.h>

struct rmd_store_env;

/* What a backend's tests must give. `where` is the env's own string: a directory, a schema, nothing. */
struct rmd_store_backend {
    const char *name;
    void (*init)(struct rmd_store_env *e); /* fresh data */
    int (*open)(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n);
    void (*make_durable)(struct rmd_store_env *e); /* NULL: happens by itself */
    void (*drop)(struct rmd_store_env *e);         /* removes the data; the store is closed */
};

struct rmd_store_env {
    const struct rmd_store_backend *backend;
    struct rmd_store store;
    bool is_open;
    uint64_t epoch, seq; /* seq: the last one given out */
    char where[128];
    void *disk;
};

struct rmd_store_env *rmd_env_new(const struct rmd_store_backend *backend);
void rmd_env_free(struct rmd_store_env *e);
void rmd_env_open(struct rmd_store_env *e);
void rmd_env_close(struct rmd_store_env *e);
void rmd_env_reopen(struct rmd_store_env *e);

uint64_t rmd_env_submit(struct rmd_store_env *e, struct rmd_batch *b); /* must be taken */
struct rmd_completion rmd_env_wait(struct rmd_store_env *e);
void rmd_env_expect(struct rmd_store_env *e, uint64_t seq, int error); /* waits, compares */
void rmd_env_expect_upto(struct rmd_store_env *e, uint64_t last);  /* RMD_OK for every number up to last, in order */
void rmd_env_commit(struct rmd_store_env *e, struct rmd_batch *b); /* submit, and expect RMD_OK */
void rmd_env_put(struct rmd_store_env *e, const char *key, const char *value);
void rmd_env_wait_stalled(struct rmd_store_env *e, const char *text); /* until stalled() contains the text */

/* "a=1 b=2" for the rows of a range; values are left out with keys_only. The string belongs to the caller. */
char *rmd_env_rows(struct rmd_store_env *e, const struct rmd_scan *range);
void rmd_env_expect_rows(struct rmd_store_env *e, const char *from, const char *to, const char *rows);
/* The value of one key ("-" when it is absent) must be this. */
void rmd_env_expect_value(struct rmd_store_env *e, const char *key, const char *value);
size_t rmd_env_count(struct rmd_store_env *e, const char *from, const char *to);

void rmd_remove_tree(const char *dir);

#endif
