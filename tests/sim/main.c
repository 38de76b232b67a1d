/* The simulator's program: one seed with its story, or a range of seeds with a count. A seed that is run twice must
 * tell the same story to the byte; --seeds checks that for the first of its range. Ends with 0 when every promise was
 * kept, 1 when one was broken, 2 on wrong use. */
#include "tests/sim/herd/command.h"
#include "tests/sim/scale/scale.h"
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <unistd.h>

#include <base/log.h>

static void help(void) {
    puts("sim: Remuda's coordinator and nodes in a seeded world with virtual time\n"
         "\n"
         "  sim --seed N [--verbose]   runs world N; --verbose tells its story\n"
         "  sim --seeds A-B            runs worlds A to B, shows what failed, counts\n"
         "  sim --until-failure A-B    likewise, and stops at the first that fails\n"
         "  sim --scenario FILE [--seed N] [--sender S] [--set NAME=VALUE ...] [--without FEATURE ...] [--verbose] "
         "[--json]\n"
         "                             weeks of mail in a world of receivers that FILE describes; what came of it\n"
         "  sim --baselines            the senders and their parameters, as JSON\n"
         "  sim --scenario-keys        what a scenario file may say\n"
         "  sim --scale 1.0 [--json]   1,000 sources, 100 million messages: what the scheduler costs; 0.1 is a tenth "
         "of it\n"
         "  sim --help\n"
         "\n"
         "A failure names the seed, the broken promise and what was seen. See tests/sim/README.md.");
}

static void no_log(void *ctx, enum rmd_log_level level, const char *line, size_t n) {
    (void)ctx, (void)level, (void)line, (void)n;
}

static int one(uint64_t seed, bool verbose) {
    char promise[48], what[400];
    uint64_t hash;
    bool kept = sim_run(seed, verbose, promise, what, &hash);
    if (kept)
        printf("seed %" PRIu64 ": every promise was kept (story %016" PRIx64 ")\n", seed, hash);
    else
        printf("seed %" PRIu64 ": FAILED: %s: %s (story %016" PRIx64 ")\n", seed, promise, what, hash);
    return kept ? 0 : 1;
}

static bool repeats(uint64_t seed) {
    char promise[48], what[400];
    uint64_t a, b;
    sim_run(seed, false, promise, what, &a);
    sim_run(seed, false, promise, what, &b);
    if (a != b)
        printf("seed %" PRIu64 ": FAILED: a seed replays exactly: two runs told different stories\n", seed);
    return a == b;
}

static int many(uint64_t from, uint64_t to, bool stop) {
    uint64_t passed = 0, failed = 0;
    bool terminal = isatty(STDOUT_FILENO);
    bool same = repeats(from);
    for (uint64_t seed = from; seed <= to && !(stop && failed); seed++) {
        char promise[48], what[400];
        uint64_t hash;
        bool kept = sim_run(seed, false, promise, what, &hash) && (same || seed != from);
        passed += kept;
        failed += !kept;
        if (!kept && *promise)
            printf("%sseed %" PRIu64 ": FAILED: %s: %s\n", terminal ? "\r\033[K" : "", seed, promise, what);
        if (terminal) {
            printf("\rseed %" PRIu64 " of %" PRIu64 "-%" PRIu64 "%s", seed, from, to, seed == to ? "\r\033[K" : "");
            fflush(stdout);
        }
    }
    printf("seeds passed: %" PRIu64 "\nseeds failed: %" PRIu64 "\n", passed, failed);
    return failed ? 1 : 0;
}

static bool range(const char *text, uint64_t *from, uint64_t *to) {
    const char *dash = strchr(text, '-');
    if (!dash)
        return false;
    return rmd_parse_u64(rmd_slice(text, (size_t)(dash - text)), from) == RMD_OK &&
           rmd_parse_u64(rmd_slice_str(dash + 1), to) == RMD_OK && *from <= *to;
}

int main(int argc, char **argv) {
    uint64_t from, to;
    rmd_log_sink(no_log, NULL);
    if (argc >= 2 && strcmp(argv[1], "--scale") == 0)
        return scale_main(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        help();
        return 0;
    }
    if (herd_is_asked(argc, argv))
        return herd_main(argc, argv);
    bool verbose = argc == 4 && strcmp(argv[3], "--verbose") == 0;
    if (argc >= 3 && strcmp(argv[1], "--seed") == 0 && (argc == 3 || verbose) &&
        rmd_parse_u64(rmd_slice_str(argv[2]), &from) == RMD_OK)
        return one(from, verbose);
    if (argc == 3 && (strcmp(argv[1], "--seeds") == 0 || strcmp(argv[1], "--until-failure") == 0) &&
        range(argv[2], &from, &to))
        return many(from, to, argv[1][2] == 'u');
    fprintf(stderr, "sim: wrong arguments; try sim --help\n");
    return 2;
}
