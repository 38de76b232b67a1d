/* Scenario files: what is wrong is said with file and line; the shipped ones cite the facts, and their receivers speak so that the shipped verdict rules
 * understand them. Runs repeat to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>

#include <base/text.h>

#include "proto/io/providers_file.h"
#include "proto/io/rules_file.h"
#include "proto/io/ucl.h"
#include "proto/reply_text.h"
#include "proto/site.h"
#include "tests/sim/herd/herd_kit.h"

#define SCENARIOS "tests/sim/scenarios"

/* ---- malformed files */

/* What is wrong, in line 7; line 1 to 6 are as they should be. */
static const struct {
    const char *line, *said;
} wrong[] = {
    {"receiver r2 { colour = red }", "test.conf:7: colour: unknown key in receiver"},
    {"weather w { rain = 1 }", "test.conf:7: weather: unknown section"},
    {"receiver r2 { like = nobody }", "test.conf:7: receiver r2: like: nothing defines nobody"},
    {"receiver r2 { sites = 3; growth { floor = 5; reply = \"421 no\" } }",
     "test.conf:7: r2: growth: cites is missing"},
    {"receiver r2 { sites = 3; growth { floor = 5; cites = a } }", "test.conf:7: r2: growth: reply is missing"},
    {"receiver r2 { sites = 3; growth { cites = a; reply = \"250 ok\" } }",
     "test.conf:7: reply: expected an SMTP reply"},
    {"receiver r2 { sites = 3; growth { cites = a; reply = \"421 no\"; factor = 2 } }",
     "test.conf:7: factor: expected per cent"},
    {"receiver r2 { sites = 3; growth { cites = a; reply = \"421 no\"; days = 40 } }",
     "test.conf:7: days: 40 is not within 1 and 14"},
    {"receiver r2 { sites = 3; growth { cites = a; reply = \"421 no\"; stage = data } }",
     "test.conf:7: stage: expected one of its words"},
    {"receiver r2 { sites = 3; growth = fast }", "test.conf:7: growth: is a section"},
    {"receiver r2 { sites = 3; growth { cites = a; reply = \"421 no\"; stage = greeting } }",
     "test.conf:7: r2: growth: stage: it can't speak there"},
    {"receiver r2 { sites = 3; content { cites = a; reply = \"550 no\"; stage = rcpt } }",
     "test.conf:7: r2: content: stage: it can't speak there"},
    {"receiver r2 { domains = [a.example] }", "test.conf:7: receiver r2: needs mx and domains, or sites"},
    {"receiver r2 { mx = [mx.r.example]; domains = [a.example] }",
     "test.conf:7: receiver r2: mx.r.example belongs to another site"},
    {"receiver r2 { mx = [a.b, c.d, e.f]; domains = [a.example] }", "test.conf:7: receiver r2: mx: at most 2"},
    {"receiver r2 { sites = 2; latency = 1h }", "test.conf:7: latency: 1h is not within 1 and 300000 ms"},
    {"receiver r2 { sites = 2; listed { cites = a; reply = \"554 no\"; zones = no.list } }",
     "test.conf:7: receiver r2: listed: zones: nothing defines no.list"},
    {"receiver r2 { sites = 2; listed { cites = a; reply = \"554 no\" } }",
     "test.conf:7: r2: listed: zones is missing"},
    {"receiver r2 { sites = 20001 }", "test.conf:7: sites: 20001 is not within 0 and 20000"},
    {"sources x { host = n; pool = p; first = nowhere }",
     "test.conf:7: sources x: first: nowhere is not an IPv4 address"},
    {"sources x { host = n; pool = p; first = \"20.0.1.10\" }",
     "test.conf:7: sources x: 20.0.1.10 is a source already"},
    {"sources x { host = n; pool = p; first = \"20.0.9.1\"; announced = z }",
     "test.conf:7: sources x: announced: no receiver is called z"},
    {"sources x { pool = p; first = \"20.0.9.1\" }", "test.conf:7: x: sources: host is missing"},
    {"stream x { tenant = a; pool = q; domain = x.example }", "test.conf:7: stream x: pool: no source is in q"},
    {"stream x { tenant = a; pool = p; domain = m.example; domain_age_days = 5 }",
     "test.conf:7: stream x: m.example is older or younger"},
    {"list l2 { size = 10 }", "test.conf:7: list l2: mix is missing"},
    {"list l2 { mix { r = 90% } }", "test.conf:7: list l2: mix: sums up to 90.0000%, not 100%"},
    {"list l2 { mix { z = 100% } }", "test.conf:7: list l2: mix: no receiver is called z"},
    {"list \"l 2\" { mix { r = 100% } }", "test.conf:7: list l 2: a name has letters, digits, \"-\" and \"_\""},
    {"list l2 { unknown = 60%; traps = 60%; mix { r = 100% } }",
     "test.conf:7: list l2: unknown, traps and full are more than all"},
    {"campaign x { stream = no; list = l }", "test.conf:7: campaign x: no stream is called no"},
    {"campaign x { stream = m; list = no }", "test.conf:7: campaign x: no list is called no"},
    {"campaign x { stream = m; list = l; every = 30d; times = 5 }",
     "test.conf:7: campaign x: repetition 3 would begin behind the scenario's end"},
    {"campaign x { stream = m; list = l; at = soon }", "test.conf:7: at: expected a time"},
    {"campaign x { stream = m; list = l; at = 1d; at = 2d }", "test.conf:7: "},
    {"event x { kind = surge; receiver = r; at = 1d }", "test.conf:7: x: event: cites is missing"},
    {"event x { kind = surge; at = 1d; cites = a }",
     "test.conf:7: event x: receiver is missing, or none is called so"},
    {"event x { kind = surge; receiver = r; site = 1; cites = a }", "test.conf:7: event x: site: receiver r has 1"},
    {"event x { kind = liar; receiver = r; cites = a }", "test.conf:7: event x: reply is missing"},
    {"event x { kind = listing; network = \"20.0.1.0/24\"; cites = a }",
     "test.conf:7: event x: blocklist is missing"},
    {"event x { kind = block; receiver = r; network = \"20.9.9.0/24\"; cites = a; reply = \"550 a\" }",
     "test.conf:7: event x: network: the /24 of a source"},
    {"event x { kind = rain; receiver = r; cites = a }", "test.conf:7: kind: expected one of its words"},
    {"blocklist b { code = \"10.0.0.1\"; cites = a }",
     "test.conf:7: blocklist b: code: 10.0.0.1 is not within 127.0.0.0/8"},
    {"blocklist b { traps = 65; cites = a }", "test.conf:7: traps: 65 is not within 0 and 64"},
    {"scenario { use = \"a/x.conf\" }", "use: a file of the same directory"},
    {"scenario { use = \"/x.conf\" }", "use: a file of the same directory"},
    {"scenario { use = \"../../x.conf\" }", "use: a file of the same directory"},
    {"scenario { use = \"../no.conf\" }", "../no.conf: cannot be opened"},
    {"scenario { use = \"no.conf\" }", "no.conf: cannot be opened"},
    {"stream x {", "test.conf:"},
};

static void what_is_wrong_is_said_with_file_and_line(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct rmd_buf text = {0}, err = {0};
        rmd_buf_addf(&text, "%s%s%s%s%s%s%s\n", KIT_HEAD,
                     "sources s { host = n1; pool = p; first = \"20.0.1.10\"; count = 2 }\n", KIT_STREAM, KIT_LIST,
                     KIT_CAMPAIGN, "receiver r { mx = [mx.r.example]; domains = [r.example] }\n", wrong[i].line);
        struct herd_scenario *s = herd_parse(rmd_buf_slice(&text), "test.conf", &err);
        if (s || !strstr(rmd_buf_str(&err), wrong[i].said))
            fail_msg("%s\n  said: %s", wrong[i].line, s ? "nothing" : rmd_buf_str(&err));
        rmd_buf_release(&text);
        rmd_buf_release(&err);
    }
}

static void a_file_without_anything_says_what_is_missing(void **state) {
    static const char *const row[][2] = {{"", "scenario { ... } is missing"},
                                         {"scenario { name = a }", "about is missing"},
                                         {KIT_HEAD, "no sources"},
                                         {KIT_HEAD, "no receiver"},
                                         {KIT_HEAD, "no campaign"}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rmd_buf err = {0};
        assert_null(herd_parse(rmd_slice_str(row[i][0]), "test.conf", &err));
        if (i < 4 && !strstr(rmd_buf_str(&err), row[i][1]))
            fail_msg("%s: %s", row[i][1], rmd_buf_str(&err));
        rmd_buf_release(&err);
    }
}

static void campaigns_repeat_grow_and_go_on_in_the_list(void **state) {
    struct kit k;
    (void)state;
    kit_open(&k,
             KIT_HEAD KIT_SOURCES KIT_STREAM "list l { size = 250; mix { r = 100% } }\n"
                                             "campaign c { stream = m; list = l; at = 9h; every = 2d; times = 3; "
                                             "rows = 100; grow = 150%; first = 30 }\n" KIT_RECEIVER(""),
             1);
    static const struct {
        const char *name;
        int64_t at_h;
        uint32_t first, rows;
    } row[] = {{"c.1", 9, 30, 100}, {"c.2", 57, 130, 150}, {"c.3", 105, 30, 225}};
    assert_int_equal(k.s->n_campaigns, 3);
    assert_int_equal(k.s->messages, 475);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(k.s->campaign[i].name, row[i].name);
        assert_int_equal(k.s->campaign[i].at_ms, row[i].at_h * HERD_HOUR_MS);
        assert_int_equal(k.s->campaign[i].first, row[i].first);
        assert_int_equal(k.s->campaign[i].rows, row[i].rows);
    }
    kit_close(&k);
}

/* ---- the shipped ones */

static int each_in(const char *folder, void (*fn)(const struct herd_scenario *s, void *ctx), void *ctx) {
    struct dirent **v;
    int n = scandir(folder, &v, NULL, alphasort), seen = 0;
    if (n < 0)
        fail_msg("%s can't be read; the test runs in the top directory", folder);
    for (int i = 0; i < n; i++) {
        char path[300];
        rmd_format(path, sizeof path, "%s/%s", folder, v[i]->d_name);
        if (rmd_has_suffix(path, ".conf") && strcmp(v[i]->d_name, "receivers.conf") != 0) {
            struct rmd_buf err = {0};
            struct herd_scenario *s = herd_load(path, &err);
            if (!s)
                fail_msg("%s", rmd_buf_str(&err));
            fn(s, ctx);
            seen++;
            herd_scenario_free(s);
            rmd_buf_release(&err);
        }
        free(v[i]);
    }
    free(v);
    return seen;
}

/* Those that ship, and those that nobody tunes for. */
static void each_scenario(void (*fn)(const struct herd_scenario *s, void *ctx), void *ctx) {
    assert_true(each_in(SCENARIOS, fn, ctx) >= 8);
    assert_true(each_in(SCENARIOS "/heldout", fn, ctx) >= 6);
}

static void affordable(const struct herd_scenario *s, void *ctx) {
    (void)ctx;
    if (s->messages > 40000 || s->days > 45)
        fail_msg("%s: %llu messages in %u days", s->name, (unsigned long long)s->messages, s->days);
    for (uint32_t c = 0; c < s->n_campaigns; c++) /* there is time to finish */
        if (s->campaign[c].at_ms + 2 * (int64_t)HERD_DAY_MS > (int64_t)s->days * HERD_DAY_MS)
            fail_msg("%s: %s begins in the last two days", s->name, s->campaign[c].name);
}

static void the_shipped_scenarios_load_and_are_affordable(void **state) {
    (void)state;
    each_scenario(affordable, NULL);
}

static void same_provider(const struct herd_scenario *s, void *ctx) {
    const struct rmd_providers *p = ctx;
    for (uint32_t i = 0; i < s->n_sites; i++) {
        struct rmd_mx_answer mx = {.status = RMD_DNS_OK};
        for (int m = 0; m < 2 && s->site[i].mx[m]; m++)
            rmd_copy(mx.mx[mx.n++].host, RMD_DOMAIN_MAX + 1, s->site[i].mx[m]);
        int found = rmd_site_provider(&mx, s->site[i].domain[0], p->v, p->n);
        const char *is = found < 0 ? RMD_PROVIDER_OTHER_NAME : p->v[found]->name;
        const char *name = s->receiver[s->site[i].receiver].provider;
        if (strcmp(is, name) != 0)
            fail_msg("%s: %s is %s by its MX hosts, not %s", s->name, s->site[i].domain[0], is, name);
    }
}

static void receivers_are_the_providers_that_they_say(void **state) {
    struct rmd_providers p = {0};
    struct rmd_buf err = {0};
    (void)state;
    assert_int_equal(rmd_providers_load(NULL, &p, &err), RMD_OK);
    each_scenario(same_provider, &p);
    rmd_providers_release(&p);
    rmd_buf_release(&err);
}

/* ---- what receivers say is understood */

#define K(name) (1u << RMD_CLASS_##name)

static const struct {
    const char *section;
    unsigned classes; /* any of them */
} meant[] = {
    {"newcomer", K(IP_BLOCKLISTED) | K(RATE_LIMITED)},
    {"growth", K(RATE_LIMITED)},
    {"domain_growth", K(RATE_LIMITED)},
    {"rate", K(RATE_LIMITED)},
    {"pressure", K(IP_BLOCKLISTED) | K(RATE_LIMITED)},
    {"connections", K(RATE_LIMITED)},
    {"reputation", K(RATE_LIMITED) | K(IP_BLOCKLISTED) | K(POLICY)},
    {"greylist", K(GREYLISTED)},
    {"noise", K(SERVER_BUSY)},
    {"content", K(SPAM_CONTENT) | K(POLICY)},
    {"unknowns", K(RATE_LIMITED)},
    {"network", K(IP_BLOCKLISTED)},
    {"listed", K(IP_BLOCKLISTED)},
    {"unknown", K(USER_UNKNOWN)},
    {"full", K(MAILBOX_FULL)},
    {"announce", K(IP_BLOCKLISTED)},
};

struct speech {
    const struct rmd_rules *rules;
    int wrong;
};

static void fill(const char *reply, struct rmd_buf *out) {
    static const char *const names[][2] = {{"$ip", "20.0.1.10"},
                                           {"$net", "20.0.1.0"},
                                           {"$domain", "news.shop.example"},
                                           {"$rcpt", "p17.l@r.example"},
                                           {"$zone", "zen.spamhaus.org"}};
    rmd_buf_clear(out);
    for (const char *s = reply; *s;) {
        size_t i = 0;
        while (i < 5 && strncmp(s, names[i][0], strlen(names[i][0])) != 0)
            i++;
        rmd_buf_add(out, i < 5 ? names[i][1] : s, i < 5 ? strlen(names[i][1]) : 1);
        s += i < 5 ? strlen(names[i][0]) : 1;
    }
}

static void classify(struct speech *sp, const struct herd_receiver *r, int64_t stage, const char *section,
                     const char *reply, unsigned classes, bool blocks) {
    static const enum rmd_stage stages[] = {RMD_STAGE_GREETING, RMD_STAGE_MAIL, RMD_STAGE_RCPT, RMD_STAGE_DOT};
    struct rmd_buf text = {0};
    struct rmd_reply read;
    struct rmd_verdict v;
    fill(reply, &text);
    rmd_reply_read(rmd_buf_slice(&text), &read);
    read.stage = stages[stage];
    rmd_rules_classify(sp->rules, &read, r->provider, &v);
    if (!(classes >> v.class & 1) || (blocks && v.action != RMD_ACTION_QUARANTINE)) {
        sp->wrong++;
        print_error("%s: %s: \"%s\" is %s, %s by rule %s\n", r->name, section, rmd_buf_str(&text),
                    rmd_class_name(v.class), rmd_action_name(v.action), v.rule);
    }
    rmd_buf_release(&text);
}

static void understood(const struct herd_scenario *s, void *ctx) {
    for (uint32_t i = 0; i < s->n_receivers; i++) {
        const struct herd_receiver *r = &s->receiver[i];
        for (size_t k = 0; k < herd_rule_sections_n; k++) {
            const struct herd_section *sec = &herd_rule_sections[k];
            const struct herd_rule *rule =
                (const struct herd_rule *)(const void *)((const char *)r->rules + sec->rule);
            if (!rule->on || !sec->speaks)
                continue;
            size_t m = 0;
            while (m < sizeof meant / sizeof *meant && strcmp(meant[m].section, sec->name) != 0)
                m++;
            if (m == sizeof meant / sizeof *meant)
                fail_msg("%s has no row", sec->name);
            bool blocks = strcmp(sec->name, "newcomer") == 0 || strcmp(sec->name, "pressure") == 0 ||
                          strcmp(sec->name, "network") == 0 || strcmp(sec->name, "listed") == 0 ||
                          strcmp(sec->name, "announce") == 0;
            classify(ctx, r, strcmp(sec->name, "connections") == 0 ? HERD_GREETING : rule->stage, sec->name,
                     rule->reply, meant[m].classes, blocks);
        }
        if (r->rules->connections.r.on && r->rules->connections.reply_messages)
            classify(ctx, r, HERD_MAIL, "reply_messages", r->rules->connections.reply_messages, K(RATE_LIMITED),
                     false);
        if (r->rules->reputation.r.on && r->rules->reputation.reply_domain)
            classify(ctx, r, r->rules->reputation.r.stage, "reply_domain", r->rules->reputation.reply_domain,
                     K(DOMAIN_BLOCKLISTED), false);
    }
}

static void shipped_rules_understand_what_receivers_say(void **state) {
    struct rmd_buf err = {0};
    struct rmd_rules *rules = rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    struct speech sp = {rules, 0};
    (void)state;
    assert_non_null(rules);
    each_scenario(understood, &sp);
    rmd_rules_free(rules);
    rmd_buf_release(&err);
    assert_int_equal(sp.wrong, 0);
}

/* ---- citations */

struct cited {
    const char *facts;
    int checked, wrong;
};

static void squeeze(struct rmd_slice in, struct rmd_buf *out) { /* one blank for many, lower case */
    for (size_t i = 0; i < in.n; i++) {
        char c = rmd_lower((char)in.p[i]);
        c = c == '\n' || c == '\t' ? ' ' : c;
        if (c != ' ' || !out->len || out->p[out->len - 1] != ' ')
            rmd_buf_addc(out, c);
    }
}

static void check_cites(struct cited *c, const char *where, const struct herd_rule *rule) {
    for (size_t i = 0; i < HERD_CITES_MAX && rule->cites[i]; i++) {
        const char *colon = strstr(rule->cites[i], ": ");
        struct rmd_buf text = {0}, facts = {0}, wanted = {0}, err = {0};
        char path[300];
        rmd_format(path, sizeof path, "%s/%.*s", c->facts, colon ? (int)(colon - rule->cites[i]) : 0, rule->cites[i]);
        bool ok = colon && rmd_ucl_read_file(path, &text, &err) == RMD_OK;
        if (ok) {
            squeeze(rmd_buf_slice(&text), &facts);
            squeeze(rmd_slice_str(colon + 2), &wanted);
            ok = strstr(rmd_buf_str(&facts), rmd_buf_str(&wanted)) != NULL;
        }
        c->checked++;
        c->wrong += !ok;
        if (!ok)
            print_error("%s cites what isn't there: %s\n", where, rule->cites[i]);
        rmd_buf_release(&text);
        rmd_buf_release(&facts);
        rmd_buf_release(&wanted);
        rmd_buf_release(&err);
    }
}

static void cites_of(const struct herd_scenario *s, void *ctx) {
    char where[200];
    for (uint32_t i = 0; i < s->n_receivers; i++)
        for (size_t k = 0; k < herd_rule_sections_n; k++) {
            const struct herd_section *sec = &herd_rule_sections[k];
            rmd_format(where, sizeof where, "%s: receiver %s: %s", s->name, s->receiver[i].name, sec->name);
            const struct herd_rule *rule =
                (const struct herd_rule *)(const void *)((const char *)s->receiver[i].rules + sec->rule);
            if (rule->on)
                check_cites(ctx, where, rule);
        }
    for (uint32_t i = 0; i < s->n_blocklists; i++)
        check_cites(ctx, s->blocklist[i].zone, &s->blocklist[i].r);
    for (uint32_t i = 0; i < s->n_events; i++)
        check_cites(ctx, s->event[i].name, &s->event[i].r);
}

static void every_rule_cites_a_fact(void **state) {
    struct cited c = {.facts = getenv("REMUDA_FACTS") ? getenv("REMUDA_FACTS") : "../shared/facts"};
    DIR *d = opendir(c.facts);
    (void)state;
    if (!d) {
        print_message("%s isn't here: citations aren't checked\n", c.facts);
        skip();
    }
    closedir(d);
    each_scenario(cites_of, &c);
    assert_int_equal(c.wrong, 0);
    assert_true(c.checked > 100);
}

/* ---- runs */

static void run(const char *name, const struct herd_sender *sender, const struct herd_setting *set, size_t n_set,
                uint64_t seed, struct rmd_buf *out) {
    struct rmd_buf err = {0}, more = {0};
    char path[200];
    rmd_format(path, sizeof path, "%s/%s.conf", SCENARIOS, name);
    struct herd_scenario *s = herd_load(path, &err);
    assert_non_null(s);
    struct herd_world *w = herd_world_new(s, seed);
    assert_int_equal(sender->run(w, set, n_set, &more, &err), RMD_OK);
    rmd_buf_clear(out);
    herd_metrics_json(w, NULL, out);
    herd_world_free(w);
    herd_scenario_free(s);
    rmd_buf_release(&err);
    rmd_buf_release(&more);
}

static const struct herd_sender *const baselines[] = {&herd_round_robin, &herd_fixed_rate, &herd_time_warmup,
                                                      &herd_suspension};

static void the_same_seed_is_the_same_run(void **state) {
    struct rmd_buf a = {0}, b = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        run("newcomer", baselines[i], NULL, 0, 5, &a);
        run("newcomer", baselines[i], NULL, 0, 5, &b);
        assert_string_equal(rmd_buf_str(&a), rmd_buf_str(&b));
        run("newcomer", baselines[i], NULL, 0, 6, &b);
        assert_string_not_equal(rmd_buf_str(&a), rmd_buf_str(&b));
    }
    rmd_buf_release(&a);
    rmd_buf_release(&b);
}

static uint64_t number(const struct rmd_buf *json, const char *name) {
    char key[80];
    rmd_format(key, sizeof key, "\"%s\": ", name);
    const char *at = strstr(rmd_buf_str(json), key);
    uint64_t v = 0;
    assert_non_null(at);
    at += strlen(key);
    assert_int_equal(rmd_parse_u64(rmd_slice(at, strspn(at, "0123456789")), &v), RMD_OK);
    return v;
}

static void every_baseline_settles_every_message_of_a_calm_world(void **state) {
    struct rmd_buf a = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        run("calm", baselines[i], NULL, 0, 1, &a);
        assert_int_equal(number(&a, "open") + number(&a, "expired"), 0);
        assert_int_equal(number(&a, "blocks") + number(&a, "wrong_suppressions") + number(&a, "duplicates"), 0);
        assert_int_equal(number(&a, "delivered"), number(&a, "accepted"));
        assert_true(number(&a, "delivered") * 100 > number(&a, "messages") * 99);
    }
    rmd_buf_release(&a);
}

static void parameters_do_what_they_say(void **state) {
    struct rmd_buf slow = {0}, fast = {0}, err = {0};
    int64_t v[HERD_PARAMS_MAX];
    (void)state;
    run("short", &herd_fixed_rate, &(struct herd_setting){"rate", "20"}, 1, 1, &slow);
    run("short", &herd_fixed_rate, &(struct herd_setting){"rate", "2000"}, 1, 1, &fast);
    assert_true(number(&slow, "time_to_complete_h") > number(&fast, "time_to_complete_h") + 5);
    run("lenient", &herd_time_warmup, &(struct herd_setting){"start", "20"}, 1, 1, &slow);
    run("lenient", &herd_time_warmup, &(struct herd_setting){"start", "2000"}, 1, 1, &fast);
    assert_true(number(&slow, "time_to_complete_h") > number(&fast, "time_to_complete_h") + 24);
    assert_true(herd_params(&herd_fixed_rate, &(struct herd_setting){"no", "1"}, 1, v, &err) < 0);
    assert_true(herd_params(&herd_fixed_rate, &(struct herd_setting){"rate", "1"}, 1, v, &err) < 0);
    assert_true(herd_params(&herd_fixed_rate, &(struct herd_setting){"rate", "x"}, 1, v, &err) < 0);
    assert_int_equal(herd_params(&herd_fixed_rate, &(struct herd_setting){"rate", "77"}, 1, v, &err), RMD_OK);
    assert_int_equal(v[0], 77);
    rmd_buf_release(&slow);
    rmd_buf_release(&fast);
    rmd_buf_release(&err);
}

/* README.md knows every key. */
static void the_readme_describes_every_key(void **state) {
    const struct herd_section *const outer[] = {
        &herd_scenario_section, &herd_sources_section,  &herd_stream_section,    &herd_list_section,
        &herd_campaign_section, &herd_receiver_section, &herd_blocklist_section, &herd_event_section};
    struct rmd_buf text = {0}, err = {0};
    (void)state;
    assert_int_equal(rmd_ucl_read_file("tests/sim/README.md", &text, &err), RMD_OK);
    for (size_t i = 0; i < 8 + herd_rule_sections_n; i++) {
        const struct herd_section *s = i < 8 ? outer[i] : &herd_rule_sections[i - 8];
        for (size_t k = 0; k < s->n; k++) {
            char row[160];
            rmd_format(row, sizeof row, "| `%s` |", s->keys[k].name);
            const char *at = strstr(rmd_buf_str(&text), s->about);
            if (!at || !strstr(at, row) || !strstr(at, s->keys[k].about))
                fail_msg("tests/sim/README.md: %s: %s isn't as `sim --scenario-keys` shows it", s->name,
                         s->keys[k].name);
        }
    }
    rmd_buf_release(&text);
    rmd_buf_release(&err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_said_with_file_and_line),
        cmocka_unit_test(a_file_without_anything_says_what_is_missing),
        cmocka_unit_test(campaigns_repeat_grow_and_go_on_in_the_list),
        cmocka_unit_test(the_shipped_scenarios_load_and_are_affordable),
        cmocka_unit_test(receivers_are_the_providers_that_they_say),
        cmocka_unit_test(shipped_rules_understand_what_receivers_say),
        cmocka_unit_test(every_rule_cites_a_fact),
        cmocka_unit_test(the_same_seed_is_the_same_run),
        cmocka_unit_test(every_baseline_settles_every_message_of_a_calm_world),
        cmocka_unit_test(parameters_do_what_they_say),
        cmocka_unit_test(the_readme_describes_every_key),
    };
    return cmocka_run_group_tests_name("herd scenarios", tests, NULL, NULL);
}
