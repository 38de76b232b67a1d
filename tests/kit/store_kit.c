/* Shared by the store port's contract tests; the contract is in store_kit.h. */
#include "tests/kit/store_kit.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <base/text.h>

/* RocksDB's library isn't built for ThreadSanitizer, which then sees its threads' accesses without their order. Races
 * in our own code, which RocksDB never calls, stay visible. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:librocksdb.so\n";
}

enum { WAIT_MS = 20000, STALL_STEP_MS = 20 };

struct rmd_store_env *rmd_env_new(const struct rmd_store_backend *backend) {
    struct rmd_store_env *e = rmd_alloc(sizeof *e);
    e->backend = backend;
    backend->init(e);
    return e;
}

void rmd_env_free(struct rmd_store_env *e) {
    rmd_env_close(e);
    e->backend->drop(e);
    free(e);
}

void rmd_env_open(struct rmd_store_env *e) {
    char err[512] = "";
    int rc = e->backend->open(e, &e->store, err, sizeof err);
    if (rc)
        fail_msg("%s: open: %s: %s", e->backend->name, rmd_error_text(rc), err);
    e->is_open = true;
    uint64_t before = e->epoch;
    assert_int_equal(e->store.ops->acquire(e->store.s, &e->epoch), RMD_OK);
    assert_true(e->epoch > before);
    assert_int_equal(e->store.ops->last_seq(e->store.s, &e->seq), RMD_OK);
}

void rmd_env_close(struct rmd_store_env *e) {
    if (e->is_open)
        e->store.ops->close(e->store.s);
    e->is_open = false;
}

void rmd_env_reopen(struct rmd_store_env *e) {
    rmd_env_close(e);
    rmd_env_open(e);
}

uint64_t rmd_env_submit(struct rmd_store_env *e, struct rmd_batch *b) {
    assert_int_equal(e->store.ops->submit(e->store.s, b, e->epoch, ++e->seq), RMD_OK);
    assert_null(b->data); /* taken over */
    return e->seq;
}

struct rmd_completion rmd_env_wait(struct rmd_store_env *e) {
    struct rmd_completion c = {0};
    for (int tries = 0; tries < 1000; tries++) {
        if (e->backend->make_durable)
            e->backend->make_durable(e);
        int n = e->store.ops->poll(e->store.s, &c, 1);
        if (n == 1)
            return c;
        struct pollfd fd = {.fd = e->store.ops->poll_fd(e->store.s), .events = POLLIN};
        if (fd.fd < 0 || poll(&fd, 1, WAIT_MS) <= 0)
            break;
    }
    const char *stalled = e->store.ops->stalled(e->store.s);
    fail_msg("%s: no completion comes; stalled: %s", e->backend->name, stalled ? stalled : "no");
    return c;
}

void rmd_env_expect(struct rmd_store_env *e, uint64_t seq, int error) {
    struct rmd_completion c = rmd_env_wait(e);
    assert_int_equal(c.seq, seq);
    assert_int_equal(c.error, error);
}

void rmd_env_expect_upto(struct rmd_store_env *e, uint64_t last) {
    struct rmd_completion c = {0};
    for (uint64_t before = 0; c.seq != last; before = c.seq) {
        c = rmd_env_wait(e);
        assert_int_equal(c.error, RMD_OK);
        assert_true(before == 0 || c.seq == before + 1);
    }
}

void rmd_env_commit(struct rmd_store_env *e, struct rmd_batch *b) {
    rmd_env_expect(e, rmd_env_submit(e, b), RMD_OK);
}

void rmd_env_put(struct rmd_store_env *e, const char *key, const char *value) {
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_slice_str(key), rmd_slice_str(value));
    rmd_env_commit(e, &b);
}

void rmd_env_wait_stalled(struct rmd_store_env *e, const char *text) {
    const char *now = NULL;
    for (int waited = 0; waited < WAIT_MS; waited += STALL_STEP_MS) {
        if (e->backend->make_durable)
            e->backend->make_durable(e);
        now = e->store.ops->stalled(e->store.s);
        if (now && strstr(now, text))
            return;
        poll(NULL, 0, STALL_STEP_MS); /* nothing signals a stall: it is looked at */
    }
    fail_msg("%s: stalled() says \"%s\", not \"%s\"", e->backend->name, now ? now : "nothing", text);
}

static bool collect_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct rmd_buf *out = ctx;
    if (out->len)
        rmd_buf_addc(out, ' ');
    rmd_buf_add(out, key.p, key.n);
    if (value.p) {
        rmd_buf_addc(out, '=');
        rmd_buf_add(out, value.p, value.n);
    }
    return true;
}

char *rmd_env_rows(struct rmd_store_env *e, const struct rmd_scan *range) {
    struct rmd_buf out = {0};
    assert_int_equal(e->store.ops->scan(e->store.s, range, collect_row, &out), RMD_OK);
    char *text = rmd_strdup(rmd_buf_str(&out));
    rmd_buf_release(&out);
    return text;
}

void rmd_env_expect_rows(struct rmd_store_env *e, const char *from, const char *to, const char *rows) {
    struct rmd_scan range = {.from = rmd_slice_str(from), .to = rmd_slice_str(to), .limit = 1000};
    char *got = rmd_env_rows(e, &range);
    assert_string_equal(got, rows);
    free(got);
}

static void copy_value(void *ctx, size_t i, struct rmd_slice value) {
    (void)i;
    struct rmd_buf *out = ctx;
    if (value.p)
        rmd_buf_add(out, value.p, value.n);
    else
        rmd_buf_addc(out, '-');
}

void rmd_env_expect_value(struct rmd_store_env *e, const char *key, const char *value) {
    struct rmd_buf out = {0};
    struct rmd_slice k = rmd_slice_str(key);
    assert_int_equal(e->store.ops->get_many(e->store.s, &k, 1, copy_value, &out), RMD_OK);
    assert_string_equal(rmd_buf_str(&out), value);
    rmd_buf_release(&out);
}

static bool count_row(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)key;
    (void)value;
    ++*(size_t *)ctx;
    return true;
}

size_t rmd_env_count(struct rmd_store_env *e, const char *from, const char *to) {
    size_t n = 0;
    struct rmd_scan range = {
        .from = rmd_slice_str(from), .to = rmd_slice_str(to), .limit = UINT32_MAX, .keys_only = true};
    assert_int_equal(e->store.ops->scan(e->store.s, &range, count_row, &n), RMD_OK);
    return n;
}

void rmd_remove_tree(const char *dir) {
    const char *const argv[] = {"/bin/rm", "-rf", "--", dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}
