/* The scale run: arguments and the report. */
#include <sys/resource.h>

#include "tests/sim/scale/scale.h"

static const char *const cost_name[SC_COSTS] = {"reports", "frames", "reads", "persisted", "ticks", "other"};

static double us_each(int64_t ns, uint64_t n) {
    return n ? (double)ns / 1000 / (double)n : 0;
}

static int64_t total_ns(const struct sc *s) {
    int64_t ns = 0;
    for (int i = 0; i < SC_COSTS; i++)
        ns += s->count.cpu_ns[i];
    return ns;
}

static void as_json(const struct sc *s, const struct rusage *u) {
    const struct sc_counts *c = &s->count;
    double cpu = (double)u->ru_utime.tv_sec + (double)u->ru_utime.tv_usec / 1e6 + (double)u->ru_stime.tv_sec +
                 (double)u->ru_stime.tv_usec / 1e6;
    printf("{\"scale\": %g, \"sources\": %u, \"nodes\": %u, \"domains\": %u, \"messages\": %llu, \"days\": %.2f,\n",
           s->scale, s->n_sources, s->n_nodes, s->n_domains, (unsigned long long)s->submitted,
           (double)(s->last_ms - s->start_ms) / SC_DAY);
    printf(" \"delivered\": %llu, \"bounced\": %llu, \"suppressed\": %llu, \"expired\": %llu, \"deferrals\": %llu, "
           "\"returned\": %llu,\n",
           (unsigned long long)c->delivered, (unsigned long long)c->bounced, (unsigned long long)c->suppressed,
           (unsigned long long)c->expired, (unsigned long long)c->deferred, (unsigned long long)c->returned);
    printf(" \"leases\": %llu, \"messages_a_lease\": %.1f, \"reports\": %llu, \"commits\": %llu, \"alarms\": %llu, "
           "\"recalls\": %llu, \"campaigns\": %llu,\n",
           (unsigned long long)c->leases, c->leases ? (double)c->leased / (double)c->leases : 0,
           (unsigned long long)c->reports, (unsigned long long)c->commits, (unsigned long long)c->alarms,
           (unsigned long long)c->recalls, (unsigned long long)c->campaigns);
    printf(" \"core_us_a_message\": %.3f, \"core_us_by_step\": {", us_each(total_ns(s), s->settled));
    for (int i = 0; i < SC_COSTS; i++)
        printf("%s\"%s\": %.3f", i ? ", " : "", cost_name[i], us_each(c->cpu_ns[i], s->settled));
    printf("}, \"steps\": {");
    for (int i = 0; i < SC_COSTS; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", cost_name[i], (unsigned long long)c->steps[i]);
    printf(
        "},\n \"cpu_s\": %.1f, \"core_memory_mib\": %.1f, \"peak_rss_mib\": %.1f, \"store_and_stand_ins_mib\": %.1f, "
        "\"queued_at_most\": %llu,\n",
        cpu, (double)(s->heap_peak - s->heap_start) / 1048576, (double)u->ru_maxrss / 1024,
        (double)pool_bytes() / 1048576, (unsigned long long)s->queued_peak);
    printf(" \"ok\": %s, \"broken\": \"%s\"}\n", *s->broken ? "false" : "true", s->broken);
}

static void as_text(const struct sc *s, const struct rusage *u) {
    const struct sc_counts *c = &s->count;
    printf("%u sources on %u nodes, %u domains, %llu messages in %.1f days\n", s->n_sources, s->n_nodes, s->n_domains,
           (unsigned long long)s->submitted, (double)(s->last_ms - s->start_ms) / SC_DAY);
    printf(
        "settled     %llu delivered, %llu bounced, %llu suppressed, %llu expired; %llu deferrals, %llu given back\n",
        (unsigned long long)c->delivered, (unsigned long long)c->bounced, (unsigned long long)c->suppressed,
        (unsigned long long)c->expired, (unsigned long long)c->deferred, (unsigned long long)c->returned);
    printf("leases      %llu of %.0f messages, %llu reports, %llu blocks, %llu recalls\n",
           (unsigned long long)c->leases, c->leases ? (double)c->leased / (double)c->leases : 0,
           (unsigned long long)c->reports, (unsigned long long)c->alarms, (unsigned long long)c->recalls);
    printf("core        %.2f us of processor time a message (", us_each(total_ns(s), s->settled));
    for (int i = 0; i < SC_COSTS; i++)
        printf("%s%s %.2f", i ? ", " : "", cost_name[i], us_each(c->cpu_ns[i], s->settled));
    printf(")\nmemory      the core %.1f MiB at most, with %llu recipients waiting; the whole process %.0f MiB\n",
           (double)(s->heap_peak - s->heap_start) / 1048576, (unsigned long long)s->queued_peak,
           (double)u->ru_maxrss / 1024);
    if (*s->broken)
        printf("BROKEN      %s\n", s->broken);
    else
        puts("promises    every recipient settled once, as the receiver answered; no cap exceeded");
}

static bool number(const char *text, uint64_t *out) {
    return text && rmd_parse_u64(rmd_slice_str(text), out) == RMD_OK;
}

int scale_main(int argc, char **argv) {
    static struct sc world;
    struct sc *s = &world;
    bool json = false, bad = false;
    uint64_t days = 5;
    s->seed = 1;
    for (int i = 1; i < argc && !bad; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--progress") == 0) {
            s->progress = true;
        } else if (strcmp(argv[i], "--look-all") == 0) {
            s->look_all = true; /* at every lane in every step, as in small pools */
        } else if (strcmp(argv[i], "--scale") == 0 && next) {
            char *end;
            s->scale = strtod(argv[++i], &end);
            bad = *end || s->scale < 0.01 || s->scale > 10;
        } else if (strcmp(argv[i], "--messages") == 0) {
            bad = !number(argv[++i], &s->messages);
        } else if (strcmp(argv[i], "--days") == 0) {
            bad = !number(argv[++i], &days) || !days || days > 60;
        } else if (strcmp(argv[i], "--seed") == 0) {
            bad = !number(argv[++i], &s->seed);
        } else {
            bad = true;
        }
    }
    if (bad || s->scale == 0) {
        fputs("usage: sim --scale 1.0 [--json] [--progress] [--look-all] [--messages N] [--days N] [--seed N]; scale "
              "from 0.01 to "
              "10\n",
              stderr);
        return 2;
    }
    s->days = (uint32_t)days;
    sc_start(s);
    sc_run(s);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    if (json)
        as_json(s, &u);
    else
        as_text(s, &u);
    return *s->broken ? 1 : 0;
}
