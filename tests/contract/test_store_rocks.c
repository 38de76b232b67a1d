/* RocksDB behind the store port, where it hurts: processes that are killed, hosts that lose what was not synced, full
 * disks, readers beside the writer.
 *
 * A host's crash is played with files (synced.h): the parent kills the writer at any moment and cuts every file back to what
 * was synced. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/io/store_rocks.h"
#include "tests/contract/synced.h"
#include "tests/kit/store_kit.h"

#include <base/text.h>

enum { UNSHARE_MOUNTS = 0x00020000, TMPFS_BYTES = 24 << 20 };

/* --- stores of this file */

static void env_init(struct rmd_store_env *e) {
    rmd_copy(e->where, sizeof e->where, "/tmp/rmd-rocks-XXXXXX");
    assert_non_null(mkdtemp(e->where));
}

static int env_open(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n) {
    /* Small memtables: flushes and compactions happen within seconds. */
    const struct rmd_store_rocks_options opt = {
        .directory = e->where, .write_buffer_bytes = 256 << 10, .block_cache_bytes = 1 << 20};
    return rmd_store_rocks_open(&opt, out, err, err_n);
}

static void env_drop(struct rmd_store_env *e) {
    rmd_remove_tree(e->where);
}

static const struct rmd_store_backend ROCKS = {"rocksdb", env_init, env_open, NULL, env_drop};

/* --- a writer to be killed */

enum { WRITER_AHEAD = 8, WRITER_ROWS = 3, WRITER_VALUE = 900 };

static void numbered_rows(struct rmd_batch *b, uint64_t seq) {
    uint8_t value[WRITER_VALUE];
    memset(value, (int)seq, sizeof value);
    for (int row = 0; row < WRITER_ROWS; row++) {
        char key[32];
        rmd_format(key, sizeof key, "%c%012llu", 'a' + row, (unsigned long long)seq);
        rmd_batch_put(b, rmd_slice_str(key), rmd_slice(value, sizeof value));
    }
}

/* Child: writes for ever, some batches ahead, and tells each completed number on fd 3. */
static int writer_main(const char *dir, const char *memory) {
    struct rmd_store store;
    char err[512];
    const struct rmd_store_rocks_options opt = {.directory = dir, .write_buffer_bytes = 256 << 10};
    uint64_t epoch, seq, done;
    if (!synced_attach(memory) || rmd_store_rocks_open(&opt, &store, err, sizeof err) ||
        store.ops->acquire(store.s, &epoch) || store.ops->last_seq(store.s, &seq))
        return 1;
    for (done = seq;;) {
        for (; seq < done + WRITER_AHEAD; seq++) {
            struct rmd_batch b = {0};
            numbered_rows(&b, seq + 1);
            if (store.ops->submit(store.s, &b, epoch, seq + 1))
                return 1;
        }
        struct pollfd p = {.fd = store.ops->poll_fd(store.s), .events = POLLIN};
        poll(&p, 1, 1000);
        struct rmd_completion c[WRITER_AHEAD];
        for (int i = 0, n = store.ops->poll(store.s, c, WRITER_AHEAD); i < n; i++) {
            done = c[i].seq;
            if (c[i].error || write(3, &done, sizeof done) != sizeof done)
                return 1;
        }
    }
}

struct child {
    pid_t pid;
    int fd; /* completed numbers */
    char memory[64];
};

/* What is there when a writer starts has been on the disk for long. */
static void note_as_it_is(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    note_synced(st.st_ino, st.st_size);
}

static struct child writer_start(const char *dir) {
    struct child c;
    int pipe_fd[2];
    synced_start(c.memory);
    each_file(dir, note_as_it_is);
    assert_int_equal(pipe(pipe_fd), 0);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        dup2(pipe_fd[1], 3);
        execl("/proc/self/exe", "test_store_rocks", "--writer", dir, c.memory, (char *)NULL);
        _exit(127);
    }
    close(pipe_fd[1]);
    c.fd = pipe_fd[0];
    return c;
}

static uint64_t writer_wait(struct child *c, uint64_t upto) {
    uint64_t seq = 0;
    while (seq < upto) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20000), 1);
        assert_int_equal(read(c->fd, &seq, sizeof seq), sizeof seq);
    }
    return seq;
}

/* Kills the writer and returns the last number that it saw completed. */
static uint64_t writer_kill(struct child *c, uint64_t seq) {
    kill(c->pid, SIGKILL);
    assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
    for (uint64_t more; read(c->fd, &more, sizeof more) == sizeof more;)
        seq = more;
    close(c->fd);
    unlink(c->memory);
    return seq;
}

/* All that completed is there, each batch is there whole or not at all, and nothing is beyond last_seq. */
static void expect_prefix(struct rmd_store_env *e, uint64_t completed) {
    rmd_env_open(e);
    assert_true(e->seq >= completed);
    assert_true(e->seq <= completed + WRITER_AHEAD);
    assert_int_equal(rmd_env_count(e, "a", "b"), e->seq);
    assert_int_equal(rmd_env_count(e, "a", "d"), e->seq * WRITER_ROWS);
    char last[32];
    rmd_format(last, sizeof last, "c%012llu", (unsigned long long)e->seq);
    assert_int_equal(rmd_env_count(e, last, "d"), 1);
    rmd_env_close(e);
}

static void kill_again_and_again(bool host) {
    struct rmd_store_env *e = rmd_env_new(&ROCKS);
    static const uint64_t STEPS[] = {1, 40, 300, 700};
    uint64_t completed = 0;
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        struct child c = writer_start(e->where);
        completed = writer_kill(&c, writer_wait(&c, completed + STEPS[i]));
        if (host)
            each_file(e->where, cut_file);
        synced_forget();
        expect_prefix(e, completed);
        completed = e->seq;
    }
    rmd_env_free(e);
}

static void a_killed_process_loses_nothing_completed(void **state) {
    (void)state;
    kill_again_and_again(false);
}

static void a_lost_host_loses_nothing_completed(void **state) {
    (void)state;
    kill_again_and_again(true);
}

static void another_process_is_kept_out(void **state) {
    (void)state;
    struct rmd_store_env *e = rmd_env_new(&ROCKS);
    struct child c = writer_start(e->where);
    writer_wait(&c, 1);
    struct rmd_store store;
    char err[512] = "";
    assert_int_equal(env_open(e, &store, err, sizeof err), RMD_EBUSY);
    assert_non_null(strstr(err, e->where));
    assert_non_null(strstr(err, "another coordinator holds it"));
    writer_kill(&c, 0);
    synced_forget();
    rmd_env_open(e);
    rmd_env_free(e);
}

static void a_directory_that_cannot_be_used_is_named(void **state) {
    (void)state;
    struct rmd_store store;
    char err[512] = "";
    struct rmd_store_rocks_options opt = {.directory = "/proc/nowhere/store"};
    assert_int_equal(rmd_store_rocks_open(&opt, &store, err, sizeof err), RMD_EIO);
    assert_non_null(strstr(err, "/proc/nowhere/store"));
}

/* --- readers beside the writer */

struct reading {
    struct rmd_store_env *e;
    pthread_mutex_t lock;
    uint64_t completed; /* batches that readers must see */
    bool stop;
};

static bool count_rows(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)key;
    (void)value;
    ++*(uint64_t *)ctx;
    return true;
}

static void *reader_main(void *arg) {
    struct reading *r = arg;
    struct rmd_store *store = &r->e->store;
    uintptr_t bad = 0;
    for (bool stop = false; !stop;) {
        pthread_mutex_lock(&r->lock);
        uint64_t completed = r->completed, rows = 0;
        stop = r->stop;
        pthread_mutex_unlock(&r->lock);
        struct rmd_scan range = {.from = rmd_slice_str("a"), .to = rmd_slice_str("b"), .limit = UINT32_MAX};
        bad += store->ops->scan(store->s, &range, count_rows, &rows) != RMD_OK || rows < completed;
    }
    return (void *)bad;
}

static void readers_see_what_completed(void **state) {
    (void)state;
    struct reading r = {.e = rmd_env_new(&ROCKS), .lock = PTHREAD_MUTEX_INITIALIZER};
    rmd_env_open(r.e);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &r), 0);
    for (int i = 0; i < 400; i++) {
        struct rmd_batch b = {0};
        numbered_rows(&b, r.e->seq + 1);
        rmd_env_commit(r.e, &b);
        pthread_mutex_lock(&r.lock);
        r.completed = r.e->seq;
        r.stop = i == 399;
        pthread_mutex_unlock(&r.lock);
    }
    for (int i = 0; i < 2; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    rmd_env_free(r.e);
}

/* --- full disks */

static void the_reserve_is_not_for_fail_fast(void **state) {
    (void)state;
    struct rmd_store_env *e = rmd_env_new(&ROCKS);
    const struct rmd_store_rocks_options opt = {.directory = e->where, .reserve_bytes = UINT64_MAX / 4};
    char err[512];
    assert_int_equal(rmd_store_rocks_open(&opt, &e->store, err, sizeof err), RMD_OK);
    e->is_open = true;
    rmd_env_put(e, "a", "settled although the disk is nearly full");
    struct rmd_batch b = {.fail_fast = true};
    rmd_batch_put(&b, rmd_slice_str("b"), rmd_slice_str("new work"));
    rmd_env_expect(e, rmd_env_submit(e, &b), RMD_EFULL);
    rmd_env_expect_value(e, "b", "-");
    rmd_env_put(e, "c", "goes on");
    rmd_env_expect_value(e, "c", "goes on");
    rmd_env_free(e);
}

static bool may_mount;

/* Mounts of our own, gone with the process. To be called before there are threads: RocksDB's background threads live
 * as long as the process, and would stay behind in the mounts that they were started in. */
static void unshare_mounts(void) {
    may_mount = !syscall(SYS_unshare, UNSHARE_MOUNTS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* A small disk under the store's directory. */
static struct rmd_store_env *small_disk(void) {
    if (!may_mount) {
        print_message("skipped: mounting a small disk needs root\n");
        skip();
    }
    struct rmd_store_env *e = rmd_env_new(&ROCKS);
    char size[32];
    rmd_format(size, sizeof size, "size=%d", TMPFS_BYTES);
    assert_int_equal(mount("remuda-test", e->where, "tmpfs", 0, size), 0);
    rmd_env_open(e);
    rmd_env_put(e, "before", "1");
    return e;
}

static void small_disk_free(struct rmd_store_env *e) {
    rmd_env_close(e);
    assert_int_equal(umount2(e->where, MNT_DETACH), 0);
    rmd_env_free(e);
}

static void fill_disk(const char *path) {
    static const uint8_t zeros[1 << 16];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t step = sizeof zeros; step; step /= 2) {
        while (write(fd, zeros, step) == (ssize_t)step)
            ;
    }
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void submit_large(struct rmd_store_env *e, char key, bool fail_fast) {
    static const uint8_t value[300 << 10] = {1}; /* more than a memtable */
    struct rmd_batch b = {.fail_fast = fail_fast};
    rmd_batch_put(&b, rmd_slice(&key, 1), rmd_slice(value, sizeof value));
    rmd_env_submit(e, &b);
}

static void a_full_disk_stalls_until_there_is_room(void **state) {
    (void)state;
    struct rmd_store_env *e = small_disk();
    char ballast[160];
    rmd_format(ballast, sizeof ballast, "%s/ballast", e->where);
    for (int round = 0; round < 2; round++) {
        fill_disk(ballast);
        submit_large(e, 'f', true);
        rmd_env_expect(e, e->seq, RMD_EFULL); /* refused at once */
        uint64_t first = e->seq + 1;
        submit_large(e, 'x', false);
        submit_large(e, 'y', false);
        rmd_env_wait_stalled(e, "no space left on device");
        submit_large(e, 'z', true); /* waits its turn behind them */
        assert_non_null(strstr(e->store.ops->stalled(e->store.s), e->where));
        rmd_env_expect_value(e, "before", "1"); /* reading goes on */
        struct rmd_completion c;
        assert_int_equal(e->store.ops->poll(e->store.s, &c, 1), 0);
        assert_int_equal(unlink(ballast), 0);
        for (uint64_t seq = first; seq < first + 3; seq++)
            rmd_env_expect(e, seq, RMD_OK);
        assert_null(e->store.ops->stalled(e->store.s));
        rmd_env_reopen(e);
        assert_int_equal(rmd_env_count(e, "a", "zz"), 4);
    }
    small_disk_free(e);
}

static void closing_a_stalled_store_ends(void **state) {
    (void)state;
    struct rmd_store_env *e = small_disk();
    char ballast[160];
    rmd_format(ballast, sizeof ballast, "%s/ballast", e->where);
    fill_disk(ballast);
    submit_large(e, 'x', false);
    rmd_env_wait_stalled(e, "no space left on device");
    rmd_env_close(e);
    assert_int_equal(unlink(ballast), 0);
    rmd_env_open(e);
    rmd_env_expect_value(e, "before", "1");
    small_disk_free(e);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--writer") == 0)
        return writer_main(argv[2], argv[3]);
    unshare_mounts();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_loses_nothing_completed),
        cmocka_unit_test(a_lost_host_loses_nothing_completed),
        cmocka_unit_test(another_process_is_kept_out),
        cmocka_unit_test(a_directory_that_cannot_be_used_is_named),
        cmocka_unit_test(readers_see_what_completed),
        cmocka_unit_test(the_reserve_is_not_for_fail_fast),
        cmocka_unit_test(a_full_disk_stalls_until_there_is_room),
        cmocka_unit_test(closing_a_stalled_store_ends),
    };
    return cmocka_run_group_tests_name("store: rocksdb's own", tests, NULL, NULL) ? 1 : 0;
}
