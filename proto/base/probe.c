/* Named probes (see probe.h). Armed once, by main(), before threads start; passages are counted atomically, because
 * workers pass the same probe side by side. */
#include <base/probe.h>

#include <base/text.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_USAGE = 64 /* EX_USAGE of sysexits.h */ };

int rmd_probe_armed = -1;

static _Atomic uint64_t passages;
static uint64_t stop_at;

static const char *const probe_names[] = {
#define RMD_PROBE_NAME(id, name) name,
    RMD_PROBES(RMD_PROBE_NAME)
#undef RMD_PROBE_NAME
};

static _Noreturn void refuse(const char *setting, const char *why) {
    fprintf(stderr, "remuda: REMUDA_PROBE=\"%s\": %s; the probes are:", setting, why);
    for (int i = 0; i < RMD_PROBE_COUNT; i++)
        fprintf(stderr, " %s", probe_names[i]);
    fputc('\n', stderr);
    exit(EXIT_USAGE);
}

void rmd_probe_init(void) {
    rmd_probe_armed = -1;
    atomic_store(&passages, 0);
    const char *setting = getenv("REMUDA_PROBE");
    if (!setting || !*setting)
        return;
    const char *colon = strchr(setting, ':');
    size_t n = colon ? (size_t)(colon - setting) : strlen(setting);
    stop_at = 1;
    if (colon && (rmd_parse_u64(rmd_slice_str(colon + 1), &stop_at) < 0 || stop_at == 0))
        refuse(setting, "the number of the passage must be 1 or more");
    for (int i = 0; i < RMD_PROBE_COUNT; i++)
        if (rmd_slice_eq(rmd_slice(setting, n), rmd_slice_str(probe_names[i])))
            rmd_probe_armed = i;
    if (rmd_probe_armed < 0)
        refuse(setting, "no such probe");
}

void rmd_probe_hit(enum rmd_probe p) {
    if ((int)p != rmd_probe_armed || atomic_fetch_add(&passages, 1) + 1 != stop_at)
        return;
    char line[80];
    int n = rmd_format(line, sizeof line, "probe %s reached\n", probe_names[p]);
    ssize_t ignored = n > 0 ? write(STDERR_FILENO, line, (size_t)n) : 0;
    (void)ignored;
    /* Directed at this thread, so that it can't go on: the stop takes effect before raise() returns to it. */
    raise(SIGSTOP);
}
