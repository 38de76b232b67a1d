/* Blocklists: what is asked, what an answer means, which refusals name a list; and the file of lists. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/io/blocklists_file.h"

static struct rmd_blocklists shipped(void) {
    struct rmd_blocklists l;
    struct rmd_buf err = {0};
    int rc = rmd_blocklists_load(NULL, &l, &err);
    if (rc != RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_buf_release(&err);
    return l;
}

/* ---------------------------------------------------------------- questions */

static void a_subject_becomes_a_name_below_the_zone(void **state) {
    (void)state;
    static const struct {
        const char *zone, *key, *subject, *name; /* NULL: no question */
    } rows[] = {
        {"zen.test", "", "203.0.113.7", "7.113.0.203.zen.test"},
        {"zen.test", "", "2001:db8::7", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.test"},
        {"zen.test", "", "127.0.0.2", "2.0.0.127.zen.test"},
        {"zen.test", "", "::ffff:7f00:2", "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.zen.test"},
        {"{key}.zen.test", "abc123", "203.0.113.7", "7.113.0.203.abc123.zen.test"},
        {"dbl.test", "", "News.Example.NET", "news.example.net.dbl.test"},
        {"dbl.test", "", "not a name", NULL},
        {"dbl.test", "", "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Remuda__Blocklist l = REMUDA__BLOCKLIST__INIT;
        char name[RMD_DOMAIN_MAX + 1] = "";
        l.zone = (char *)(uintptr_t)rows[i].zone;
        l.key = (char *)(uintptr_t)rows[i].key;
        int rc = rmd_blocklist_query(&l, rows[i].subject, name);
        if ((rc == RMD_OK) != (rows[i].name != NULL) || (rows[i].name && strcmp(name, rows[i].name) != 0))
            fail_msg("%s at %s: %d \"%s\"", rows[i].subject, rows[i].zone, rc, name);
    }
}

/* Lists of addresses are asked about addresses of their family; those of domains and those of links, about names. */
static void each_kind_of_list_answers_about_its_own(void **state) {
    (void)state;
    static const struct {
        uint32_t kinds;
        bool ip4, ip6, domain;
    } rows[] = {
        {RMD_LIST_IP4, true, false, false},
        {RMD_LIST_IP6, false, true, false},
        {RMD_LIST_DOMAIN, false, false, true},
        {RMD_LIST_URL, false, false, true},
        {RMD_LIST_IP4 | RMD_LIST_IP6, true, true, false},
        {RMD_LIST_IP4 | RMD_LIST_URL, true, false, true},
        {0, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Remuda__Blocklist l = REMUDA__BLOCKLIST__INIT;
        l.kinds = rows[i].kinds;
        if (rmd_blocklist_answers(&l, rmd_subject_kind("203.0.113.7")) != rows[i].ip4 ||
            rmd_blocklist_answers(&l, rmd_subject_kind("2001:db8::7")) != rows[i].ip6 ||
            rmd_blocklist_answers(&l, rmd_subject_kind("news.example.net")) != rows[i].domain)
            fail_msg("kinds %u", rows[i].kinds);
    }
    struct rmd_blocklists l = shipped();
    static const char *const names[] = {"dbl.spamhaus.org", "multi.surbl.org", "multi.uribl.com"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(rmd_blocklist_answers(rmd_blocklists_find(&l, names[i]), RMD_LIST_DOMAIN));
    rmd_blocklists_release(&l);
}

/* ---------------------------------------------------------------- answers */

static void an_answer_counts_only_with_a_documented_code(void **state) {
    (void)state;
    struct rmd_blocklists l = shipped();
    static const struct {
        const char *list, *answer; /* addresses, "nx", "nodata", "servfail" */
        enum rmd_finding_state state;
        enum rmd_list_tier tier;
        bool snowshoe, refused, rewritten;
        const char *says;
    } rows[] = {
        {"zen.spamhaus.org", "nx", RMD_FINDING_CLEAN, 0, false, false, false, ""},
        {"zen.spamhaus.org", "nodata", RMD_FINDING_CLEAN, 0, false, false, false, ""},
        {"zen.spamhaus.org", "servfail", RMD_FINDING_UNKNOWN, 0, false, false, false, "SERVFAIL"},
        {"zen.spamhaus.org", "127.0.0.2", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "SBL"},
        {"zen.spamhaus.org", "127.0.0.4", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "XBL"},
        {"zen.spamhaus.org", "127.0.0.9 127.0.0.2", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "DROP"},
        {"zen.spamhaus.org", "127.0.0.3", RMD_FINDING_LISTED, RMD_TIER_ACT, true, false, false, "CSS"},
        {"zen.spamhaus.org", "127.0.0.2 127.0.0.3", RMD_FINDING_LISTED, RMD_TIER_ACT, true, false, false, "SBL"},
        {"zen.spamhaus.org", "127.0.0.10", RMD_FINDING_LISTED, RMD_TIER_ALERT, false, false, false, "PBL"},
        {"zen.spamhaus.org", "127.0.0.11 127.0.0.4", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "PBL"},
        {"zen.spamhaus.org", "127.0.0.99", RMD_FINDING_UNKNOWN, 0, false, false, false, "127.0.0.99"},
        {"zen.spamhaus.org", "127.0.0.99 127.0.0.2", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "SBL"},
        {"zen.spamhaus.org", "127.255.255.252", RMD_FINDING_UNKNOWN, 0, false, true, false, "mistyped"},
        {"zen.spamhaus.org", "127.255.255.254", RMD_FINDING_UNKNOWN, 0, false, true, false, "open resolver"},
        {"zen.spamhaus.org", "127.255.255.255", RMD_FINDING_UNKNOWN, 0, false, true, false, "too many"},
        {"zen.spamhaus.org", "127.0.0.2 127.255.255.254", RMD_FINDING_UNKNOWN, 0, false, true, false,
         "open resolver"},
        {"zen.spamhaus.org", "203.0.113.9", RMD_FINDING_UNKNOWN, 0, false, false, true, "rewrites"},
        {"zen.spamhaus.org", "127.0.0.2 203.0.113.9", RMD_FINDING_UNKNOWN, 0, false, false, true, "rewrites"},
        {"psbl.surriel.com", "127.0.0.2", RMD_FINDING_LISTED, RMD_TIER_SLOW, false, false, false, "trap"},
        {"bl.mailspike.net", "127.0.0.10", RMD_FINDING_LISTED, RMD_TIER_SLOW, false, false, false, "worst"},
        {"bl.mailspike.net", "127.0.0.14", RMD_FINDING_LISTED, RMD_TIER_ALERT, false, false, false, "bad"},
        {"bl.mailspike.net", "127.0.0.15", RMD_FINDING_CLEAN, 0, false, false, false, ""},
        {"bl.mailspike.net", "127.0.0.20", RMD_FINDING_CLEAN, 0, false, false, false, ""},
        {"dnsbl-3.uceprotect.net", "127.0.0.2", RMD_FINDING_LISTED, RMD_TIER_ALERT, false, false, false,
         "autonomous"},
        {"combined.mail.abusix.zone", "127.0.0.200", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "hand"},
        {"combined.mail.abusix.zone", "127.0.0.11", RMD_FINDING_LISTED, RMD_TIER_SLOW, false, false, false, "name"},
        {"dbl.spamhaus.org", "127.0.1.2", RMD_FINDING_LISTED, RMD_TIER_ACT, false, false, false, "spam"},
        {"dbl.spamhaus.org", "127.0.1.255", RMD_FINDING_UNKNOWN, 0, false, true, false, "address"},
        {"dbl.spamhaus.org", "127.0.0.2", RMD_FINDING_UNKNOWN, 0, false, false, false, "document"},
        {"multi.surbl.org", "127.0.0.72", RMD_FINDING_LISTED, RMD_TIER_ALERT, false, false, false, "phishing"},
        {"multi.surbl.org", "127.0.0.2", RMD_FINDING_UNKNOWN, 0, false, false, false, "document"},
        {"multi.uribl.com", "127.0.0.1", RMD_FINDING_UNKNOWN, 0, false, true, false, "refused"},
        {"multi.uribl.com", "127.0.0.6", RMD_FINDING_LISTED, RMD_TIER_ALERT, false, false, false, "grey"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_addr_answer a = {.status = RMD_DNS_OK};
        struct rmd_list_judgement j;
        char text[64];
        if (strcmp(rows[i].answer, "nx") == 0) {
            a.status = RMD_DNS_NXDOMAIN;
        } else if (strcmp(rows[i].answer, "nodata") == 0) {
            a.status = RMD_DNS_NODATA;
        } else if (strcmp(rows[i].answer, "servfail") == 0) {
            a.status = RMD_DNS_TEMPFAIL;
            rmd_copy(a.detail, sizeof a.detail, "SERVFAIL");
        } else {
            for (const char *at = rows[i].answer; *at; at += strspn(at, " ")) {
                size_t n = strcspn(at, " ");
                rmd_copy_slice(text, sizeof text, rmd_slice(at, n));
                assert_int_equal(rmd_addr_parse(text, &a.addr[a.n++]), RMD_OK);
                at += n;
            }
        }
        const Remuda__Blocklist *list = rmd_blocklists_find(&l, rows[i].list);
        assert_non_null(list);
        rmd_blocklist_judge(list, &a, &j);
        bool same = j.state == rows[i].state && j.snowshoe == rows[i].snowshoe && j.refused == rows[i].refused &&
                    j.rewritten == rows[i].rewritten && strstr(j.text, rows[i].says) &&
                    (j.state != RMD_FINDING_LISTED || j.tier == rows[i].tier);
        if (!same)
            fail_msg("%s answers %s: %s, tier %s, \"%s\"", rows[i].list, rows[i].answer, rmd_finding_name(j.state),
                     rmd_tier_name(j.tier), j.text);
    }
    rmd_blocklists_release(&l);
}

static void a_refusal_names_a_list_by_its_zone_or_by_a_word_of_its_own(void **state) {
    (void)state;
    struct rmd_blocklists l = shipped();
    static const struct {
        const char *reply, *list;
        bool named;
    } rows[] = {
        {"554 Service unavailable; Client host [203.0.113.7] blocked using zen.spamhaus.org", "zen.spamhaus.org",
         true},
        {"550 blocked using ZEN.Spamhaus.ORG; see https://www.spamhaus.org/query/ip/203.0.113.7", "zen.spamhaus.org",
         true},
        {"553 5.7.1 [BL21] because the ip is in Spamhaus's list", "zen.spamhaus.org", true},
        {"553 5.7.1 [BL21] because the ip is in Spamhaus's list", "zen.dq.spamhaus.net", true},
        {"554 rejected by bl.spamcop.net", "bl.spamcop.net", true},
        {"554 rejected by bl.spamcop.net", "zen.spamhaus.org", false},
        {"554 rejected by notspamcopper", "bl.spamcop.net", false},
        {"554 blocked by our policy", "zen.spamhaus.org", false},
        {"", "zen.spamhaus.org", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rmd_blocklist_named(rmd_blocklists_find(&l, rows[i].list), rmd_slice_str(rows[i].reply)) != rows[i].named)
            fail_msg("\"%s\" and %s", rows[i].reply, rows[i].list);
    rmd_blocklists_release(&l);
}

/* ---------------------------------------------------------------- the file */

static void the_shipped_lists_are_in_their_tiers(void **state) {
    (void)state;
    struct rmd_blocklists l = shipped();
    static const struct {
        const char *name;
        uint32_t kinds, tier;
        bool enabled;
    } rows[] = {
        {"zen.spamhaus.org", RMD_LIST_IP4 | RMD_LIST_IP6, RMD_TIER_ACT, true},
        {"zen.dq.spamhaus.net", RMD_LIST_IP4 | RMD_LIST_IP6, RMD_TIER_ACT, false}, /* needs a key */
        {"dbl.spamhaus.org", RMD_LIST_DOMAIN, RMD_TIER_ACT, true},
        {"b.barracudacentral.org", RMD_LIST_IP4, RMD_TIER_ACT, false}, /* answers registered resolvers only */
        {"bl.spamcop.net", RMD_LIST_IP4, RMD_TIER_ACT, true},
        {"psbl.surriel.com", RMD_LIST_IP4, RMD_TIER_SLOW, true},
        {"bl.mailspike.net", RMD_LIST_IP4, RMD_TIER_SLOW, true},
        {"dnsbl-1.uceprotect.net", RMD_LIST_IP4, RMD_TIER_ALERT, true},
        {"combined.mail.abusix.zone", RMD_LIST_IP4 | RMD_LIST_IP6, RMD_TIER_ACT, false},
        {"multi.surbl.org", RMD_LIST_URL, RMD_TIER_ALERT, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const Remuda__Blocklist *x = rmd_blocklists_find(&l, rows[i].name);
        if (!x || x->kinds != rows[i].kinds || x->tier != rows[i].tier || x->enabled != rows[i].enabled ||
            !*x->removal || !x->n_code || (!x->enabled && !*x->off_because))
            fail_msg("%s isn't as it is documented", rows[i].name);
    }
    rmd_blocklists_release(&l);
}

static bool key(void *ctx, const char *path, struct rmd_buf *out, char *why, size_t why_n) {
    rmd_copy(why, why_n, "can't be read: No such file or directory");
    if (strcmp(path, "/missing") == 0)
        return false;
    rmd_buf_addstr(out, ctx);
    return true;
}

static struct rmd_blocklists parse_ok(const char *text) {
    struct rmd_blocklists l;
    struct rmd_buf err = {0};
    if (rmd_blocklists_parse(rmd_slice_str(text), "lists.conf", key, (void *)(uintptr_t) "sEcret1\n", &l, &err) !=
        RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_buf_release(&err);
    return l;
}

static void an_operators_file_goes_on_top_key_by_key(void **state) {
    (void)state;
    struct rmd_blocklists l = parse_ok("default { interval = 2h }\n"
                                       "list \"zen.spamhaus.org\" { enabled = false }\n"
                                       "list \"zen.dq.spamhaus.net\" { key_file = \"dqs.key\" }\n"
                                       "list \"own\" { zone = \"bl.corp.test\"; kinds = [ip4]; tier = slow;\n"
                                       "  codes = [\"127.0.0.5 listed known to us\"] }\n");
    const Remuda__Blocklist *zen = rmd_blocklists_find(&l, "zen.spamhaus.org");
    assert_false(zen->enabled);
    assert_int_equal(zen->interval_ms, 4 * 3600000); /* its own */
    assert_int_equal(zen->n_code, 10);
    const Remuda__Blocklist *dqs = rmd_blocklists_find(&l, "zen.dq.spamhaus.net");
    assert_true(dqs->enabled);
    assert_string_equal(dqs->key, "sEcret1");
    assert_string_equal(dqs->zone, "{key}.zen.dq.spamhaus.net"); /* what is shown has no key */
    const Remuda__Blocklist *own = rmd_blocklists_find(&l, "own");
    assert_true(own->enabled);
    assert_int_equal(own->tier, RMD_TIER_SLOW);
    assert_int_equal(own->interval_ms, 2 * 3600000);
    rmd_blocklists_release(&l);
}

static void what_is_wrong_has_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"list \"zen.spamhaus.org\" { intervall = 1h }\n",
         "lists.conf:1: list \"zen.spamhaus.org\": intervall: unknown key"},
        {"\nwatch = 1\n", "lists.conf:2: watch: unknown key"},
        {"list \"zen.spamhaus.org\" { tier = soft }\n", "\"soft\" is not one of act, slow, alert"},
        {"list \"zen.spamhaus.org\" { interval = 10ms }\n", "is not within"},
        {"list \"zen.spamhaus.org\" {\n zone = \"zen.spamhaus.org.\"\n}\n",
         "lists.conf:2: list \"zen.spamhaus.org\": zone: \"zen.spamhaus.org.\" must not end in a dot"},
        {"list \"zen.spamhaus.org\" { zone = \"zen\" }\n", "is not the name of a zone"},
        {"list \"x\" { zone = \"dnsbl.sorbs.net\"; kinds = [ip4]; codes = [\"127.0.0.2 listed x\"] }\n", "has ended"},
        {"list \"zen.spamhaus.og\" { enabled = false }\n", "nothing defines it"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip4] }\n", "has no codes"},
        {"list \"x\" { zone = \"x.test\"; codes = [\"127.0.0.2 listed y\"] }\n", "kinds is not set"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip5]; codes = [\"127.0.0.2 listed y\"] }\n",
         "none of ip4, ip6, domain, url"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip4, domain]; codes = [\"127.0.0.2 listed y\"] }\n",
         "make it two lists"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip4]; codes = [\"10.0.0.2 listed y\"] }\n", "127.0.0.0/8"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip4]; codes = [\"127.0.0.2 bad y\"] }\n",
         "must go on with listed"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip4]; codes = [\"127.0.0.2 listed\"] }\n", "words for people"},
        {"list \"x\" { zone = \"x.test\"; kinds = [ip4]; codes = [\"127.0.0.2 listed a\", \"127.0.0.2 error b\"] }\n",
         "hidden by an earlier code"},
        {"list \"zen.dq.spamhaus.net\" { enabled = true }\n", "needs a key: set key_file"},
        {"list \"zen.dq.spamhaus.net\" { key_file = \"/missing\" }\n", "can't be read"},
        {"list \"zen.spamhaus.org\" { key_file = \"k\" }\n", "its zone has no {key}"},
        {"list \"bl.spamcop.net\" { named = [\"sc\"] }\n", "too short"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_blocklists l;
        struct rmd_buf err = {0};
        int rc =
            rmd_blocklists_parse(rmd_slice_str(rows[i].text), "lists.conf", key, (void *)(uintptr_t) "k1", &l, &err);
        if (rc != RMD_EINVAL || !strstr(rmd_buf_str(&err), rows[i].says) ||
            strncmp(rmd_buf_str(&err), "lists.conf:", 11) != 0)
            fail_msg("%s: %d \"%s\"", rows[i].text, rc, rmd_buf_str(&err));
        assert_int_equal(l.n, 0);
        rmd_blocklists_release(&l);
        rmd_buf_release(&err);
    }
}

static void a_key_comes_from_a_file_beside_the_list(void **state) {
    (void)state;
    char dir[] = "/tmp/remuda-lists-XXXXXX", conf[64], path[64];
    assert_non_null(mkdtemp(dir));
    rmd_format(conf, sizeof conf, "%s/lists.conf", dir);
    rmd_format(path, sizeof path, "%s/dqs.key", dir);
    FILE *f = fopen(conf, "w");
    fputs("list \"zen.dq.spamhaus.net\" { key_file = \"dqs.key\" }\n", f);
    fclose(f);
    f = fopen(path, "w");
    fputs("abcdefgh12345678\n", f);
    fclose(f);
    struct rmd_blocklists l;
    struct rmd_buf err = {0};
    assert_int_equal(rmd_blocklists_load(conf, &l, &err), RMD_OK);
    assert_string_equal(rmd_blocklists_find(&l, "zen.dq.spamhaus.net")->key, "abcdefgh12345678");
    rmd_blocklists_release(&l);
    f = fopen(path, "w");
    fputs("two keys\n", f);
    fclose(f);
    assert_int_equal(rmd_blocklists_load(conf, &l, &err), RMD_EINVAL);
    assert_non_null(strstr(rmd_buf_str(&err), "holds more than a key"));
    assert_null(strstr(rmd_buf_str(&err), "two keys")); /* never shown, not even a wrong one */
    rmd_buf_release(&err);
    unlink(conf);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_becomes_a_name_below_the_zone),
        cmocka_unit_test(each_kind_of_list_answers_about_its_own),
        cmocka_unit_test(an_answer_counts_only_with_a_documented_code),
        cmocka_unit_test(a_refusal_names_a_list_by_its_zone_or_by_a_word_of_its_own),
        cmocka_unit_test(the_shipped_lists_are_in_their_tiers),
        cmocka_unit_test(an_operators_file_goes_on_top_key_by_key),
        cmocka_unit_test(what_is_wrong_has_its_line),
        cmocka_unit_test(a_key_comes_from_a_file_beside_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
