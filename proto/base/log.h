/* Log: one line an event, beginning with what it is about, to standard error (a journal or file collects it).
 *
 * A line: RFC 3339 time, level, program, subject (an id, a source, a node), text. The receiver's words stay verbatim,
 * but for control characters, which are escaped so that a line stays a line. Secrets are never passed here.
 * Thread-safe: one write a line. The sink can be replaced (tests read it; the simulator drops it). */
#ifndef REMUDA_LOG_H
#define REMUDA_LOG_H

#include <remuda/clock.h>

enum rmd_log_level { RMD_LOG_DEBUG, RMD_LOG_INFO, RMD_LOG_WARNING, RMD_LOG_ERROR };

typedef void (*rmd_log_fn)(void *ctx, enum rmd_log_level level, const char *line, size_t n);

void rmd_log_init(const char *program, enum rmd_log_level min, const struct rmd_clock *clock);
void rmd_log_sink(rmd_log_fn fn, void *ctx);
int rmd_log_level_parse(const char *s, enum rmd_log_level *out) RMD_CHECKED;
void rmd_log(enum rmd_log_level level, const char *subject, const char *fmt, ...) RMD_PRINTF(3, 4);

#define rmd_debug(subject, ...) rmd_log(RMD_LOG_DEBUG, subject, __VA_ARGS__)
#define rmd_info(subject, ...) rmd_log(RMD_LOG_INFO, subject, __VA_ARGS__)
#define rmd_warn(subject, ...) rmd_log(RMD_LOG_WARNING, subject, __VA_ARGS__)
#define rmd_error(subject, ...) rmd_log(RMD_LOG_ERROR, subject, __VA_ARGS__)

#endif
