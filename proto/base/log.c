/* Log lines to standard error, or to a sink (see log.h).
 *
 * A line is at most RMD_LOG_LINE_MAX bytes with its line end, PIPE_BUF of Linux: several processes may share one pipe
 * without mixing lines. Longer text is cut, and says so. A line that can't be written is dropped: logging never stops
 * the work.
 *
 * The state is process-wide on purpose, set by main() before threads start; a lock covers it all the same, so that
 * tests may replace the sink at any time. The sink is called under the lock and must not log. */
#include <base/log.h>

#include <base/text.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { RMD_LOG_LINE_MAX = 4096, LOG_PROGRAM_MAX = 64 };

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char cut_mark[] = " [cut]";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int min_level = RMD_LOG_INFO;
static struct {
    char program[LOG_PROGRAM_MAX];
    const struct rmd_clock *clock;
    rmd_log_fn sink;
    void *sink_ctx;
} state = {.program = "remuda"};

void rmd_log_init(const char *program, enum rmd_log_level min, const struct rmd_clock *clock) {
    pthread_mutex_lock(&lock);
    rmd_copy(state.program, sizeof state.program, program);
    state.clock = clock;
    atomic_store(&min_level, (int)min);
    pthread_mutex_unlock(&lock);
}

void rmd_log_sink(rmd_log_fn fn, void *ctx) {
    pthread_mutex_lock(&lock);
    state.sink = fn;
    state.sink_ctx = ctx;
    pthread_mutex_unlock(&lock);
}

int rmd_log_level_parse(const char *s, enum rmd_log_level *out) {
    for (int i = RMD_LOG_DEBUG; i <= RMD_LOG_ERROR; i++) {
        if (strcmp(s, level_names[i]) == 0) {
            *out = (enum rmd_log_level)i;
            return RMD_OK;
        }
    }
    return RMD_EFORMAT;
}

/* A line under construction: text[0..n), room for the mark, the line end and the terminator is always left. */
struct line {
    char text[RMD_LOG_LINE_MAX + 1];
    size_t n;
    bool cut;
};

enum { LINE_ROOM = RMD_LOG_LINE_MAX - 1 - (sizeof cut_mark - 1) };

static void line_add(struct line *l, const void *p, size_t n) {
    if (l->cut || n > LINE_ROOM - l->n) {
        l->cut = true; /* whole sequences only: nothing is half an escape or half a character */
        return;
    }
    memcpy(l->text + l->n, p, n);
    l->n += n;
}

/* Adds text; control characters (C0, DEL, C1) and bytes that aren't UTF-8 as escapes. */
static void line_escape(struct line *l, const char *s) {
    const uint8_t *p = (const uint8_t *)s;
    size_t left = strlen(s);
    while (left && !l->cut) {
        size_t len = rmd_utf8_len(p, left);
        bool control = !len || p[0] < 0x20 || p[0] == 0x7f || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
        if (!control) {
            line_add(l, p, len);
        } else {
            const char *name = p[0] == '\n' ? "\\n" : p[0] == '\r' ? "\\r" : p[0] == '\t' ? "\\t" : NULL;
            for (size_t i = 0; i < (len ? len : 1); i++) {
                char hex[5] = "\\x";
                rmd_hex(hex + 2, p + i, 1);
                line_add(l, name ? name : hex, name ? 2 : 4);
            }
        }
        p += len ? len : 1;
        left -= len ? len : 1;
    }
}

/* With state locked. Terminated, without line end. */
static void line_head(struct line *l, enum rmd_log_level level, const char *subject) {
    char when[32] = "-";
    if (state.clock)
        rmd_date_rfc3339(state.clock->now(state.clock->ctx).wall_ms, when);
    line_escape(l, when);
    line_add(l, " ", 1);
    line_escape(l, level_names[level]);
    line_add(l, " ", 1);
    line_escape(l, state.program);
    line_add(l, " ", 1);
    line_escape(l, subject && *subject ? subject : "-");
    line_add(l, ": ", 2);
}

void rmd_log(enum rmd_log_level level, const char *subject, const char *fmt, ...) {
    if ((int)level < atomic_load_explicit(&min_level, memory_order_relaxed) || level > RMD_LOG_ERROR)
        return;
    int saved = errno;
    char text[RMD_LOG_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        text[0] = 0;

    struct line l;
    l.n = 0;
    l.cut = false;
    pthread_mutex_lock(&lock);
    line_head(&l, level, subject);
    line_escape(&l, text);
    if (l.cut || (size_t)(n < 0 ? 0 : n) >= sizeof text) {
        memcpy(l.text + l.n, cut_mark, sizeof cut_mark - 1);
        l.n += sizeof cut_mark - 1;
    }
    l.text[l.n] = 0;
    bool sunk = state.sink != NULL;
    if (sunk)
        state.sink(state.sink_ctx, level, l.text, l.n);
    pthread_mutex_unlock(&lock);

    if (!sunk) {
        l.text[l.n++] = '\n';
        ssize_t wrote;
        do
            wrote = write(STDERR_FILENO, l.text, l.n);
        while (wrote < 0 && errno == EINTR);
    }
    errno = saved;
}
