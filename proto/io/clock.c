/* Clock port over the Linux clocks, and getrandom(2); see clock.h. */
#include "proto/io/clock.h"

#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

enum { EXIT_HOST = 71 /* EX_OSERR of sysexits.h */ };

static const char boot_id_path[] = "/proc/sys/kernel/random/boot_id";

static _Noreturn void stop(const char *what, const char *why) {
    fprintf(stderr, "remuda: %s: %s; stopping\n", what, why);
    exit(EXIT_HOST);
}

static int64_t clock_ms(clockid_t id) {
    struct timespec ts;
    if (clock_gettime(id, &ts) != 0)
        stop("clock_gettime", strerror(errno));
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct rmd_time host_now(void *ctx) {
    (void)ctx;
    return (struct rmd_time){.mono_ms = clock_ms(CLOCK_BOOTTIME), .wall_ms = clock_ms(CLOCK_REALTIME)};
}

static pthread_once_t boot_once = PTHREAD_ONCE_INIT;
static uint8_t boot[RMD_UUID_BYTES];

/* The file holds a UUID in its usual form, 36 characters, and a line end. */
static void boot_read(void) {
    char text[64], hex[64];
    int fd = open(boot_id_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        stop(boot_id_path, strerror(errno));
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0)
        stop(boot_id_path, strerror(errno));
    close(fd);
    struct rmd_slice s = rmd_trim(rmd_slice(text, (size_t)n));
    size_t digits = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '-')
            hex[digits++] = (char)s.p[i];
    if (rmd_unhex(rmd_slice(hex, digits), boot, sizeof boot) < 0)
        stop(boot_id_path, "not a UUID");
}

static void host_boot_id(void *ctx, uint8_t out[RMD_UUID_BYTES]) {
    (void)ctx;
    pthread_once(&boot_once, boot_read);
    memcpy(out, boot, sizeof boot);
}

const struct rmd_clock *rmd_clock_host(void) {
    static const struct rmd_clock host = {.now = host_now, .boot_id = host_boot_id};
    return &host;
}

void rmd_random_bytes(void *p, size_t n) {
    for (uint8_t *to = p; n > 0;) {
        ssize_t got = getrandom(to, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            stop("getrandom", strerror(errno));
        to += got;
        n -= (size_t)got;
    }
}

uint64_t rmd_random_seed(void) {
    uint64_t seed;
    rmd_random_bytes(&seed, sizeof seed);
    return seed;
}
