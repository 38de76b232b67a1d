/* Log lines, probes, and the clock of the host. The probe tests fork: a probe stops the whole process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/io/clock.h"
#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- log */

static struct rmd_time fixed_now(void *ctx) {
    (void)ctx;
    return (struct rmd_time){.mono_ms = 5, .wall_ms = INT64_C(1795428000123)};
}
static const struct rmd_clock fixed_clock = {.now = fixed_now};

static struct {
    char line[5000];
    size_t n;
    int calls;
    enum rmd_log_level level;
} seen;

static void sink(void *ctx, enum rmd_log_level level, const char *line, size_t n) {
    assert_ptr_equal(ctx, &seen);
    assert_true(n < sizeof seen.line && line[n] == 0);
    memcpy(seen.line, line, n + 1);
    seen.n = n;
    seen.level = level;
    seen.calls++;
}

static int log_to_sink(void **state) {
    (void)state;
    memset(&seen, 0, sizeof seen);
    rmd_log_init("remuda-test", RMD_LOG_INFO, &fixed_clock);
    rmd_log_sink(sink, &seen);
    return 0;
}

static int log_to_stderr(void **state) {
    (void)state;
    rmd_log_sink(NULL, NULL);
    return 0;
}

static void test_line_has_its_parts(void **state) {
    (void)state;
    rmd_warn("s-17", "421 %s", "try later");
    assert_string_equal(seen.line, "2026-11-23T10:00:00.123Z warning remuda-test s-17: 421 try later");
    assert_int_equal(seen.level, RMD_LOG_WARNING);
    rmd_info(NULL, "%d", 1);
    assert_string_equal(seen.line, "2026-11-23T10:00:00.123Z info remuda-test -: 1");
    rmd_debug("s-17", "not shown");
    assert_int_equal(seen.calls, 2);
    rmd_log_init("remuda-test", RMD_LOG_DEBUG, NULL);
    rmd_debug("s-17", "shown");
    assert_string_equal(seen.line, "- debug remuda-test s-17: shown");
}

static void test_controls_are_escaped_and_words_kept(void **state) {
    (void)state;
    rmd_error("a\nb", "%s", "x\r\ny\tz\x1b[2J \x7f \xc2\x9b \xff \xe0\x80 gr\xc3\xbc\xc3\x9f \"q\\\" %d");
    assert_string_equal(strstr(seen.line, "test ") + 5,
                        "a\\nb: x\\r\\ny\\tz\\x1b[2J \\x7f \\xc2\\x9b \\xff \\xe0\\x80 "
                        "gr\xc3\xbc\xc3\x9f \"q\\\" %d");
}

static void test_long_lines_are_cut_and_say_so(void **state) {
    (void)state;
    static char text[9000];
    for (size_t n = 3900; n < 4200; n++) {
        memset(text, 'x', n);
        text[n] = 0;
        rmd_info("s", "%s", text);
        assert_true(seen.n <= 4095);
        assert_int_equal(rmd_has_suffix(seen.line, " [cut]"), strspn(strchr(seen.line, 'x'), "x") < n);
    }
    memset(text, '\n', 2500); /* each becomes two */
    text[2500] = 0;
    rmd_info("s", "%s", text);
    assert_true(rmd_has_suffix(seen.line, "\\n [cut]"));
    assert_true(seen.n <= 4095);
}

static void test_level_names(void **state) {
    (void)state;
    enum rmd_log_level level = RMD_LOG_DEBUG;
    assert_int_equal(rmd_log_level_parse("warning", &level), RMD_OK);
    assert_int_equal(level, RMD_LOG_WARNING);
    assert_int_equal(rmd_log_level_parse("Warning", &level), RMD_EFORMAT);
    assert_int_equal(rmd_log_level_parse("", &level), RMD_EFORMAT);
    assert_int_equal(level, RMD_LOG_WARNING);
}

enum { WRITERS = 4, LINES = 200 };

static void *write_lines(void *name) {
    for (int i = 0; i < LINES; i++)
        rmd_info(name, "%04d %s", i, "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz");
    return NULL;
}

/* Standard error into a file; every line of every thread must be whole, and those of one thread in order. */
static void test_threads_write_whole_lines(void **state) {
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    rmd_log_init("t", RMD_LOG_INFO, &fixed_clock);
    fcntl(fileno(file), F_SETFL, O_APPEND);
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    char names[WRITERS][2] = {"0", "1", "2", "3"};
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_lines, names[i]);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    char line[300];
    int next[WRITERS] = {0}, total = 0;
    while (fgets(line, sizeof line, file)) {
        int who, n, end = 0;
        assert_int_equal(sscanf(line,
                                "2026-11-23T10:00:00.123Z info t %d: %d abcdefghijklmnopqrstuvwxyz "
                                "abcdefghijklmnopqrstuvwxyz%n",
                                &who, &n, &end),
                         2);
        assert_string_equal(line + end, "\n");
        assert_in_range(who, 0, WRITERS - 1);
        assert_int_equal(n, next[who]++);
        total++;
    }
    assert_int_equal(total, WRITERS * LINES);
    fclose(file);
}

/* --- probes */

/* Runs `passages` passages of a probe in a child armed by `setting`, with its standard error in out. Returns the wait
 * status at which it stopped or ended, and how many passages it had finished by then. */
static int run_probed(const char *setting, int passages, char out[256], int *finished) {
    int err[2], progress[2];
    assert_int_equal(pipe(err), 0);
    assert_int_equal(pipe(progress), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(err[1], STDERR_FILENO);
        setenv("REMUDA_PROBE", setting, 1);
        rmd_probe_init();
        for (int i = 0; i < passages; i++) {
            rmd_probe(RMD_PROBE_REPLY_READ);
            rmd_probe(RMD_PROBE_DOT_SENT);
            if (write(progress[1], "x", 1) != 1)
                _exit(9);
        }
        _exit(0);
    }
    close(err[1]);
    close(progress[1]);
    int status;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    if (WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        int end;
        assert_int_equal(waitpid(child, &end, 0), child);
    }
    ssize_t n = read(err[0], out, 255);
    out[n > 0 ? n : 0] = 0;
    char xs[256];
    ssize_t done = read(progress[0], xs, sizeof xs);
    *finished = done > 0 ? (int)done : 0;
    close(err[0]);
    close(progress[0]);
    return status;
}

static void test_probe_stops_at_the_named_passage(void **state) {
    (void)state;
    const struct {
        const char *setting;
        bool stops;
        int finished;
    } table[] = {
        {"dot.sent", true, 0},      {"dot.sent:1", true, 0},    {"dot.sent:4", true, 3}, {"dot.sent:10", true, 9},
        {"dot.sent:11", false, 10}, {"report.sent", false, 10}, {"", false, 10},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char out[256];
        int finished, status = run_probed(table[i].setting, 10, out, &finished);
        assert_int_equal(finished, table[i].finished);
        if (table[i].stops) {
            assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
            assert_string_equal(out, "probe dot.sent reached\n");
        } else {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            assert_string_equal(out, "");
        }
    }
}

static void test_unknown_probe_is_refused(void **state) {
    (void)state;
    const char *bad[] = {"dot",         "dot.sent:",    "dot.sent:0", "dot.sent:x",
                         "dot.sent:-1", "dot.sent:1:2", ":1",         "DOT_SENT"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char out[256];
        int finished, status = run_probed(bad[i], 10, out, &finished);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
        assert_int_equal(finished, 0);
        assert_non_null(strstr(out, bad[i]));
    }
}

/* --- clock and randomness */

static void test_host_clock(void **state) {
    (void)state;
    const struct rmd_clock *clock = rmd_clock_host();
    struct rmd_time a = clock->now(clock->ctx), b = clock->now(clock->ctx);
    assert_true(a.mono_ms > 0 && b.mono_ms >= a.mono_ms);
    assert_true(a.wall_ms > INT64_C(1600000000000));
    uint8_t id[RMD_UUID_BYTES], again[RMD_UUID_BYTES], none[RMD_UUID_BYTES] = {0};
    clock->boot_id(clock->ctx, id);
    clock->boot_id(clock->ctx, again);
    assert_memory_equal(id, again, sizeof id);
    assert_memory_not_equal(id, none, sizeof id);
    char hex[33], text[40] = "", plain[40] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    size_t n = 0;
    for (const char *p = text; *p && *p != '\n'; p++)
        if (*p != '-')
            plain[n++] = *p;
    rmd_hex(hex, id, sizeof id);
    assert_string_equal(hex, plain);
}

static void test_randomness_fills_everything(void **state) {
    (void)state;
    uint8_t a[1001] = {0}, any = 0;
    rmd_random_bytes(a, 1000);
    assert_int_equal(a[1000], 0);
    for (size_t i = 984; i < 1000; i++)
        any |= a[i];
    assert_int_not_equal(any, 0);
    rmd_random_bytes(a, 0);
    assert_true(rmd_random_seed() != rmd_random_seed());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line_has_its_parts, log_to_sink, log_to_stderr),
        cmocka_unit_test_setup_teardown(test_controls_are_escaped_and_words_kept, log_to_sink, log_to_stderr),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut_and_say_so, log_to_sink, log_to_stderr),
        cmocka_unit_test(test_level_names),
        cmocka_unit_test(test_threads_write_whole_lines),
        cmocka_unit_test(test_probe_stops_at_the_named_passage),
        cmocka_unit_test(test_unknown_probe_is_refused),
        cmocka_unit_test(test_host_clock),
        cmocka_unit_test(test_randomness_fills_everything),
    };
    return cmocka_run_group_tests_name("base/shell", tests, NULL, NULL);
}
