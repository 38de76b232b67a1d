/* `sim --scenario FILE --seed N [--sender S] [--set NAME=VALUE ...] [--without FEATURE ...] [--verbose] [--json]`: one run, what came of it. */
#include "tests/sim/herd/command.h"

#include <inttypes.h>

#include <base/text.h>

enum { SETTINGS_MAX = 32 };

static const struct herd_sender *const senders[] = {&herd_remuda, &herd_round_robin, &herd_fixed_rate,
                                                    &herd_time_warmup, &herd_suspension};
enum { SENDERS = sizeof senders / sizeof *senders };

/* ---- lists of what there is */

static int show_senders(void) {
    for (int i = 0; i < SENDERS; i++) {
        const struct herd_sender *s = senders[i];
        printf("%s{\"name\": \"%s\", \"about\": \"%s\", \"parameters\": [", i ? ",\n " : "[", s->name, s->about);
        for (size_t k = 0; k < s->n_params; k++) {
            const struct herd_param *p = &s->param[k];
            printf("%s\n  {\"name\": \"%s\", \"about\": \"%s\", \"min\": %" PRId64 ", \"max\": %" PRId64
                   ", \"default\": %" PRId64 ", \"scale\": \"%s\"}",
                   k ? "," : "", p->name, p->about, p->min, p->max, p->fallback, p->log_scale ? "log" : "linear");
        }
        printf("]}");
    }
    printf("]\n");
    return 0;
}

static void show_value(const struct herd_key *k) {
    const int64_t v = k->fallback;
    char text[32];
    if (v == HERD_NONE)
        printf("-");
    else if (k->type == HERD_KEY_COUNT)
        printf("%" PRId64, v);
    else if (k->type == HERD_KEY_SHARE && v % 10000 == 0)
        printf("%" PRId64 "%%", v / 10000);
    else if (k->type == HERD_KEY_SHARE)
        printf("%" PRId64 ".%02" PRId64 "%%", v / 10000, v % 10000 / 100);
    else if (k->type == HERD_KEY_DURATION && v) {
        rmd_format_duration(v, text);
        printf("%s", text);
    } else if (k->type == HERD_KEY_WORD)
        printf("%s", k->words[v]);
    else
        printf("%s", k->type == HERD_KEY_DURATION ? "0" : k->required ? "required" : "-");
}

static void show_section(const struct herd_section *s, const char *outer) {
    static const char *const types[] = {"number", "time", "share", "flag", "text", "reply", "", "list"};
    printf("\n**`%s%s`**: %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", outer, s->name, s->about);
    for (size_t i = 0; i < s->n; i++) {
        const struct herd_key *k = &s->keys[i];
        printf("| `%s` | ", k->name);
        for (size_t w = 0; k->words && k->words[w]; w++)
            printf("%s`%s`", w ? ", " : "", k->words[w]);
        printf("%s | ", types[k->type]);
        show_value(k);
        printf(" | %s |\n", k->about);
    }
}

/* The tables of README.md. */
static int show_keys(void) {
    const struct herd_section *const outer[] = {&herd_scenario_section, &herd_sources_section,
                                                &herd_stream_section,   &herd_list_section,
                                                &herd_campaign_section, &herd_receiver_section};
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++)
        show_section(outer[i], "");
    for (size_t i = 0; i < herd_rule_sections_n; i++)
        show_section(&herd_rule_sections[i], "receiver / ");
    show_section(&herd_blocklist_section, "");
    show_section(&herd_event_section, "");
    return 0;
}

/* ---- one run */

struct args {
    const char *scenario, *sender;
    uint64_t seed;
    bool json;
    struct herd_setting set[SETTINGS_MAX];
    size_t n_set;
};

static int wrong(const char *what, const char *arg) {
    fprintf(stderr, "sim: %s: %s; try sim --help\n", arg, what);
    return 2;
}

static int parse(int argc, char **argv, struct args *a) {
    *a = (struct args){.sender = "remuda", .seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool verbose = strcmp(argv[i], "--verbose") == 0;
        if (strcmp(argv[i], "--json") == 0 || (verbose && a->n_set < SETTINGS_MAX)) {
            a->json |= !verbose;
            if (verbose)
                a->set[a->n_set++] = (struct herd_setting){"verbose", "1"};
            continue;
        }
        if (!value)
            return wrong("unknown, or its value is missing", argv[i]);
        if (strcmp(argv[i], "--scenario") == 0) {
            a->scenario = value;
        } else if (strcmp(argv[i], "--sender") == 0) {
            a->sender = value;
        } else if (strcmp(argv[i], "--seed") == 0) {
            if (rmd_parse_u64(rmd_slice_str(value), &a->seed) != RMD_OK)
                return wrong("is not a number", value);
        } else if (strcmp(argv[i], "--set") == 0) {
            char *eq = strchr(argv[i + 1], '=');
            if (!eq || a->n_set == SETTINGS_MAX)
                return wrong("expected NAME=VALUE, at most 32 of them", value);
            *eq = 0;
            a->set[a->n_set++] = (struct herd_setting){value, eq + 1};
        } else if (strcmp(argv[i], "--without") == 0 && a->n_set < SETTINGS_MAX) {
            a->set[a->n_set++] = (struct herd_setting){"without", value};
        } else {
            return wrong("unknown option", argv[i]);
        }
        i++;
    }
    return a->scenario ? 0 : wrong("is missing", "--scenario");
}

static void settings_json(const struct args *a, struct rmd_buf *out) {
    const char *comma = "";
    rmd_buf_addf(out, "\"sender\": \"%s\", \"set\": {", a->sender);
    for (size_t i = 0; i < a->n_set; i++) {
        const struct herd_setting *s = &a->set[i];
        if (strcmp(s->name, "without") == 0 || strcmp(s->name, "verbose") == 0)
            continue;
        rmd_buf_addf(out, "%s\"%s\": \"%s\"", comma, s->name, s->value);
        comma = ", ";
    }
    rmd_buf_addstr(out, "}, \"without\": [");
    comma = "";
    for (size_t i = 0; i < a->n_set; i++) {
        if (strcmp(a->set[i].name, "without") != 0)
            continue;
        rmd_buf_addf(out, "%s\"%s\"", comma, a->set[i].value);
        comma = ", ";
    }
    rmd_buf_addstr(out, "], ");
}

static int run(const struct args *a, const struct herd_scenario *s, const struct herd_sender *sender) {
    struct rmd_buf err = {0}, more = {0}, out = {0};
    struct herd_world *w = herd_world_new(s, a->seed);
    settings_json(a, &more);
    int rc = sender->run(w, a->set, a->n_set, &more, &err);
    if (rc < 0)
        fprintf(stderr, "%s", rmd_buf_str(&err));
    else if (a->json)
        herd_metrics_json(w, rmd_buf_str(&more), &out);
    else
        herd_metrics_text(w, sender->name, &out);
    fputs(rmd_buf_str(&out), stdout);
    herd_world_free(w);
    rmd_buf_release(&err);
    rmd_buf_release(&more);
    rmd_buf_release(&out);
    return rc < 0 ? rc == RMD_EINVAL ? 2 : 1 : 0;
}

bool herd_is_asked(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--scenario") == 0 || strcmp(argv[i], "--baselines") == 0 ||
            strcmp(argv[i], "--scenario-keys") == 0)
            return true;
    return false;
}

int herd_main(int argc, char **argv) {
    struct args a;
    if (argc == 2 && strcmp(argv[1], "--baselines") == 0)
        return show_senders();
    if (argc == 2 && strcmp(argv[1], "--scenario-keys") == 0)
        return show_keys();
    int rc = parse(argc, argv, &a);
    if (rc)
        return rc;
    const struct herd_sender *sender = NULL;
    for (int i = 0; i < SENDERS; i++)
        if (strcmp(senders[i]->name, a.sender) == 0)
            sender = senders[i];
    if (!sender)
        return wrong("no sender is called so", a.sender);
    struct rmd_buf err = {0};
    struct herd_scenario *s = herd_load(a.scenario, &err);
    if (!s)
        fprintf(stderr, "%s", rmd_buf_str(&err));
    rc = s ? run(&a, s, sender) : 2;
    herd_scenario_free(s);
    rmd_buf_release(&err);
    return rc;
}
