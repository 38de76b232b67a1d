/* remuda plan: how many addresses and days a volume needs. Answers from the warm-up plans alone, without a coordinator. */
#include "coordinator/ctl/ctl.h"
#include "proto/io/plans_file.h"
#include "proto/io/providers_file.h"
#include "proto/provider_name.h"
#include "proto/reply_text.h"
#include "proto/site.h"

enum { SHARES_MAX = 64 };

struct asked {
    struct rmd_ctl *c;
    struct rmd_plans plans;
    struct rmd_plan_question q;
    struct rmd_plan_share share[SHARES_MAX];
    uint32_t tenths[SHARES_MAX]; /* of a per cent */
    uint64_t networks, per_network;
    struct rmd_arena arena;
};

/* "45" or "2.5" to tenths of a per cent. */
static bool parse_tenths(const char *s, uint32_t *out) {
    uint64_t whole, tenth = 0;
    const char *dot = strchr(s, '.');
    size_t n = dot ? (size_t)(dot - s) : strlen(s);
    if (n > 3 || rmd_parse_u64(rmd_slice(s, n), &whole) < 0 ||
        (dot && (strlen(dot) != 2 || rmd_parse_u64(rmd_slice_str(dot + 1), &tenth) < 0)))
        return false;
    *out = (uint32_t)(whole * 10 + tenth);
    return *out > 0 && *out <= 1000;
}

static bool known_provider(void *ctx, const char *name) {
    return rmd_providers_find(ctx, name) != NULL;
}

static void say_unknown(const struct asked *a, const char *name, const struct rmd_providers *providers) {
    struct rmd_provider_search s = {.wanted = name};
    struct rmd_buf why = {0};
    for (size_t i = 0; i < providers->n; i++)
        rmd_provider_search_add(&s, providers->v[i]->name);
    rmd_provider_unknown(&s, &why);
    rmd_ctl_usage(a->c, "--mix: %s", rmd_buf_str(&why));
    rmd_provider_search_release(&s);
    rmd_buf_release(&why);
}

static bool parse_mix(struct asked *a, const char *mix, const struct rmd_providers *providers) {
    uint32_t sum = 0;
    size_t other = SIZE_MAX;
    for (const char *p = mix; *p;) {
        size_t n = strcspn(p, ",");
        char *piece = rmd_arena_str(&a->arena, rmd_slice(p, n)), *eq = strchr(piece, '=');
        p += n + (p[n] == ',');
        if (eq)
            *eq = 0;
        if (!eq || !parse_tenths(eq + 1, &a->tenths[a->q.n_shares])) {
            rmd_ctl_usage(a->c, "--mix: \"%s\" is not provider=per cent", piece);
            return false;
        }
        const char *name = rmd_providers_find(providers, piece) ? piece : rmd_provider_of_word(piece);
        if (!rmd_providers_find(providers, name)) {
            say_unknown(a, piece, providers);
            return false;
        }
        for (size_t i = 0; i < a->q.n_shares; i++)
            if (strcmp(a->share[i].provider, name) == 0) {
                rmd_ctl_usage(a->c, "--mix: %s stands there twice", name);
                return false;
            }
        if (strcmp(name, RMD_PROVIDER_OTHER_NAME) == 0)
            other = a->q.n_shares;
        sum += a->tenths[a->q.n_shares];
        a->share[a->q.n_shares++].provider = name;
        if (a->q.n_shares == SHARES_MAX - 1)
            break;
    }
    if (sum > 1000) {
        rmd_ctl_usage(a->c, "--mix: more than 100 per cent");
        return false;
    }
    if (other != SIZE_MAX && sum < 1000) {
        rmd_ctl_usage(a->c, "--mix: %u.%u per cent in all; without `other`, that is what is missing", sum / 10,
                      sum % 10);
        return false;
    }
    if (sum < 1000) {
        other = a->q.n_shares++;
        a->share[other].provider = RMD_PROVIDER_OTHER_NAME;
        a->tenths[other] = 1000 - sum;
    }
    for (size_t i = 0; i < a->q.n_shares; i++)
        a->share[i].per_day = (a->q.per_day * a->tenths[i] + 999) / 1000;
    a->q.share = a->share;
    return true;
}

static bool parse_number(struct asked *a, const char *option, const char *text, uint64_t least, uint64_t *out) {
    if (!text || (rmd_parse_count(rmd_slice_str(text), out) == RMD_OK && *out >= least && *out <= 1000000))
        return true;
    rmd_ctl_usage(a->c, "--%s: \"%s\" is not a number from %llu", option, text, (unsigned long long)least);
    return false;
}

/* "2M/day", "2M". */
static bool parse_volume(struct asked *a, const char *text) {
    size_t n = strlen(text) - (rmd_has_suffix(text, "/day") ? 4 : 0);
    if (rmd_parse_count(rmd_slice(text, n), &a->q.per_day) == RMD_OK && a->q.per_day &&
        a->q.per_day <= UINT64_C(1000000000000))
        return true;
    rmd_ctl_usage(a->c, "--volume: \"%s\" is not a number of recipients a day like 2M/day", text);
    return false;
}

static bool find_plan(struct asked *a, const char *name) {
    a->q.plan = rmd_plan_find(a->plans.v, a->plans.n, name);
    if (a->q.plan)
        return true;
    struct rmd_buf names = {0};
    for (size_t i = 0; i < a->plans.n; i++)
        rmd_buf_addf(&names, "%s%s", i ? ", " : "", a->plans.v[i]->name);
    rmd_ctl_usage(a->c, "--plan: there is no plan \"%s\"; there are %s", name, rmd_buf_str(&names));
    rmd_buf_release(&names);
    return false;
}

/* ---- the answer */

static const unsigned spare_percent[] = {100, 125, 150, 200, 300, 500};
enum { CHOICES = sizeof spare_percent / sizeof spare_percent[0] };

static uint64_t choice(const struct asked *a, unsigned i) {
    return (rmd_plan_least(&a->q) * spare_percent[i] + 99) / 100;
}

static const char *assumptions(struct asked *a, unsigned i) {
    const struct rmd_plan *p = a->q.plan;
    switch (i) {
    case 0:
        return rmd_arena_printf(
            &a->arena,
            "every sending day goes well: at least %u %% of each stage is used by distinct accepted "
            "recipients, and no gate is passed",
            p->use_percent);
    case 1:
        return a->q.at_once
                   ? rmd_arena_printf(&a->arena,
                                      "%llu addresses warm up at once: %llu on %s%llu network%s; the others wait "
                                      "until those are warm",
                                      (unsigned long long)a->q.at_once, (unsigned long long)a->per_network,
                                      a->networks == 1 ? "" : "each of ", (unsigned long long)a->networks,
                                      a->networks == 1 ? "" : "s")
                   : "all addresses warm up at once";
    case 2:
        return rmd_arena_printf(
            &a->arena,
            "all addresses are new, mail goes out over the whole day (at most %u %% of a cap an hour), "
            "and the sending domain has its reputation already",
            p->hour_percent);
    default:
        return "retries count in the caps: leave room for them, and for addresses that are out of service";
    }
}
enum { ASSUMPTIONS = 4 };

static json_t *json_answer(struct asked *a) {
    json_t *shares = json_array(), *choices = json_array(), *text = json_array();
    for (size_t i = 0; i < a->q.n_shares; i++)
        json_array_append_new(
            shares,
            json_pack("{s:s, s:f, s:I, s:I, s:I}", "provider", a->share[i].provider, "percent", a->tenths[i] / 10.0,
                      "per_day", (json_int_t)a->share[i].per_day, "cap_per_source",
                      (json_int_t)rmd_caps_list_at(rmd_plan_caps(a->q.plan, a->share[i].provider), UINT32_MAX),
                      "sources", (json_int_t)rmd_plan_least_of(&a->q, i)));
    for (unsigned i = 0; i < CHOICES; i++) {
        if (i && choice(a, i) == choice(a, i - 1))
            continue;
        json_array_append_new(choices,
                              json_pack("{s:I, s:I, s:I, s:I}", "sources", (json_int_t)choice(a, i), "days",
                                        (json_int_t)rmd_plan_days(&a->q, choice(a, i)), "first_day",
                                        (json_int_t)rmd_plan_volume_on(&a->q, choice(a, i), 0), "seventh_day",
                                        (json_int_t)rmd_plan_volume_on(&a->q, choice(a, i), 6)));
    }
    for (unsigned i = 0; i < ASSUMPTIONS; i++)
        json_array_append_new(text, json_string(assumptions(a, i)));
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "plan", a->q.plan->name, "per_day",
                     (json_int_t)a->q.per_day, "least_sources", (json_int_t)rmd_plan_least(&a->q), "warm_at_once",
                     (json_int_t)a->q.at_once, "providers", shares, "choices", choices, "assumptions", text);
}

static void print_answer(struct asked *a) {
    char volume[32];
    rmd_format_count(a->q.per_day, volume);
    printf("%s recipients a day by plan %s\n\n", volume, a->q.plan->name);
    struct rmd_table *t = rmd_table_new("PROVIDER|>SHARE|>A DAY|>CAP OF A WARM SOURCE|>SOURCES NEEDED");
    for (size_t i = 0; i < a->q.n_shares; i++) {
        char share[16];
        rmd_format(share, sizeof share, "%u.%u %%", a->tenths[i] / 10, a->tenths[i] % 10);
        rmd_table_cell(t, a->share[i].provider);
        rmd_table_cell(t, share);
        rmd_table_count(t, a->share[i].per_day);
        rmd_table_count(t, rmd_caps_list_at(rmd_plan_caps(a->q.plan, a->share[i].provider), UINT32_MAX));
        rmd_table_count(t, rmd_plan_least_of(&a->q, i));
    }
    rmd_table_cell(t, "a source in all");
    rmd_table_cell(t, "100 %");
    rmd_table_count(t, a->q.per_day);
    rmd_table_count(t, rmd_caps_list_at(&a->q.plan->source, UINT32_MAX));
    rmd_table_count(t, rmd_plan_least_of(&a->q, SIZE_MAX));
    rmd_table_print(t, "");
    puts("");
    t = rmd_table_new(">SOURCES|>A NETWORK|>ON DAY 1|>ON DAY 7|>ALL OF IT ON DAY");
    for (unsigned i = 0; i < CHOICES; i++) {
        uint64_t n = choice(a, i);
        uint32_t days = rmd_plan_days(&a->q, n);
        if (i && n == choice(a, i - 1))
            continue;
        rmd_table_count(t, n);
        rmd_table_count(t, (n + a->networks - 1) / a->networks);
        rmd_table_count(t, rmd_plan_volume_on(&a->q, n, 0));
        rmd_table_count(t, rmd_plan_volume_on(&a->q, n, 6));
        if (days)
            rmd_table_count(t, days);
        else
            rmd_table_cell(t, "never");
    }
    rmd_table_print(t, "");
    puts("\nassumed:");
    for (unsigned i = 0; i < ASSUMPTIONS; i++)
        printf("  %s\n", assumptions(a, i));
}

static int answer(struct asked *a, const char *volume, const char *mix, const char *plan, const char *plans_path,
                  const char *providers_path) {
    struct rmd_providers providers = {0};
    struct rmd_buf err = {0};
    int code = CTL_USAGE;
    if (rmd_providers_load(providers_path, &providers, &err) < 0 ||
        rmd_plans_load(plans_path, known_provider, &providers, &a->plans, &err) < 0) {
        fputs(rmd_buf_str(&err), stderr);
        code = CTL_FAILED;
    } else if (find_plan(a, plan) && parse_volume(a, volume) && parse_mix(a, mix, &providers)) {
        a->q.at_once = a->networks * a->per_network;
        code = CTL_OK;
        if (a->c->json) {
            json_t *o = json_answer(a);
            rmd_ctl_print_json(o);
            json_decref(o);
        } else {
            print_answer(a);
        }
    }
    rmd_buf_release(&err);
    rmd_plans_release(&a->plans);
    rmd_providers_release(&providers);
    rmd_arena_release(&a->arena);
    return code;
}

int rmd_ctl_plan(struct rmd_ctl *c) {
    const char *volume = NULL, *mix = NULL, *plan = "standard", *networks = NULL, *per = NULL, *plans = NULL,
               *providers = NULL;
    const struct rmd_ctl_option opt[] = {{"volume", &volume, NULL},       {"mix", &mix, NULL},
                                         {"plan", &plan, NULL},           {"networks", &networks, NULL},
                                         {"per-network", &per, NULL},     {"plans", &plans, NULL},
                                         {"providers", &providers, NULL}, {0}};
    int rc = rmd_ctl_options(c, opt, NULL, 0, 0);
    if (rc >= 0)
        return rc;
    if (!volume || !mix || !*mix)
        return rmd_ctl_usage(c, "--volume and --mix are needed");
    struct asked a = {.c = c, .networks = 1, .per_network = 3};
    if (!parse_number(&a, "networks", networks, 1, &a.networks) ||
        !parse_number(&a, "per-network", per, 0, &a.per_network))
        return CTL_USAGE;
    return answer(&a, volume, mix, plan, plans, providers);
}
