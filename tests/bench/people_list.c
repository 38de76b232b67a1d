/* Writes a list of recipients as CSV to standard output: millions within seconds.
 *
 *     people_list PLACES FIRST COUNT
 *
 * PLACES (people.py makes it) says whose mailboxes they are: 10,000 lines with a domain each, or with nothing for one of the long tail, then
 * 100 lines with the zones of the tail's domains. A recipient's place is chance, but the same number gets the same one. */
#include <base/text.h>

enum { PLACES = 10000, ZONES = 100, TAIL_DOMAINS = 500000, LINE_MAX_BYTES = 256 };

static char place[PLACES][LINE_MAX_BYTES], zone[ZONES][LINE_MAX_BYTES];

static void die(const char *what) {
    fprintf(stderr, "people_list: %s\n", what);
    exit(1);
}

static void read_line(FILE *f, char out[LINE_MAX_BYTES]) {
    if (!fgets(out, LINE_MAX_BYTES, f))
        die("PLACES: 10,100 lines are needed");
    out[strcspn(out, "\n")] = 0;
}

/* Few big ones and many small ones: the density falls with the number to the power of 2/3. */
static unsigned tail_domain(uint64_t chance) {
    double u = (double)(chance >> 11) / (double)(UINT64_C(1) << 53);
    return (unsigned)(TAIL_DOMAINS * u * u * u);
}

static void row(uint64_t i) {
    uint64_t chance = rmd_mix64(i + 1);
    char domain[2 * LINE_MAX_BYTES];
    const char *at = place[chance % PLACES];
    if (!*at) {
        unsigned x = tail_domain(rmd_mix64(chance));
        if (snprintf(domain, sizeof domain, "d%u.%s", x, zone[x % ZONES]) < 0)
            die("no domain");
        at = domain;
    }
    printf("user%08llu@%s,Recipient %llu,Town %llu,%09llu,%05llu,https://news.example/o/%016llx\r\n",
           (unsigned long long)i, at, (unsigned long long)(i * 7919 % 100003), (unsigned long long)(i % 977),
           (unsigned long long)i, (unsigned long long)(i * 31 % 65536), (unsigned long long)chance);
}

int main(int argc, char **argv) {
    uint64_t first, count;
    FILE *f = argc == 4 ? fopen(argv[1], "r") : NULL;
    if (!f || rmd_parse_u64(rmd_slice_str(argv[2]), &first) || rmd_parse_u64(rmd_slice_str(argv[3]), &count))
        die("usage: people_list PLACES FIRST COUNT");
    for (int i = 0; i < PLACES; i++)
        read_line(f, place[i]);
    for (int i = 0; i < ZONES; i++)
        read_line(f, zone[i]);
    fclose(f);
    fputs("email,name,city,order,points,link\r\n", stdout);
    for (uint64_t i = first; i < first + count; i++)
        row(i);
    return fflush(stdout) == 0 ? 0 : 1;
}
