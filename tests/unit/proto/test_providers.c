/* Providers' limits: the shipped ones, an operator's file on top, and what the lint says of a bad one. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/esmtp.h"
#include "proto/io/providers_file.h"

static struct rmd_providers parse_ok(const char *text) {
    struct rmd_providers p;
    struct rmd_buf err = {0};
    int rc = rmd_providers_parse(rmd_slice_str(text), "p.conf", &p, &err);
    if (rc != RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_buf_release(&err);
    return p;
}

static void the_shipped_ones_are_the_published_starting_points(void **state) {
    (void)state;
    static const struct {
        const char *name, *suffix;
        uint32_t connections, per_site, messages, connects, rate;
        bool tls;
    } rows[] = {
        {"google", ".googlemail.com", 5, 5, 50, 100, 0, true},
        {"yahoo", ".yahoodns.net", 10, 10, 20, 100, 0, false},
        {"yahoo-japan", ".yahoo.co.jp", 2, 2, 20, 100, 600, false},
        {"outlook", ".olc.protection.outlook.com", 5, 5, 50, 100, 0, false},
        {"office365", ".mx.microsoft", 5, 5, 50, 100, 0, false},
        {"apple", ".icloud.com", 10, 10, 5, 100, 0, false},
        {"comcast", ".comcast.net", 25, 25, 1000, 100, 0, true},
        {"orange", ".orange.fr", 2, 2, 100, 100, 0, true},
        {"gmx", ".web.de", 4, 4, 20, 100, 0, true},
        {"mimecast", ".mimecast.com", 10, 10, 100, 100, 0, false},
        {"qq", ".qq.com", 4, 4, 8, 100, 0, false},
        {"netease", ".netease.com", 4, 4, 7, 100, 0, false},
        {"barracuda", ".barracudanetworks.com", 10, 10, 15, 100, 0, true},
        {"proofpoint", ".pphosted.com", 10, 10, 100, 100, 0, false},
        {"other", NULL, 500, 10, 100, 0, 0, false},
    };
    struct rmd_providers p;
    struct rmd_buf err = {0};
    assert_int_equal(rmd_providers_load(NULL, &p, &err), RMD_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const Remuda__ProviderPolicy *v = rmd_providers_find(&p, rows[i].name);
        assert_non_null(v);
        bool suffix = !rows[i].suffix;
        for (size_t k = 0; k < v->n_mx_suffix && !suffix; k++)
            suffix = strcmp(v->mx_suffix[k], rows[i].suffix) == 0;
        if (!suffix || v->connections != rows[i].connections || v->connections_per_site != rows[i].per_site ||
            v->messages_per_connection != rows[i].messages || v->connects_per_minute != rows[i].connects ||
            v->rate_per_minute != rows[i].rate || v->tls_required != rows[i].tls ||
            v->id != rmd_provider_id(rows[i].name))
            fail_msg("%s: %u %u %u %u %u", v->name, v->connections, v->connections_per_site,
                     v->messages_per_connection, v->connects_per_minute, v->rate_per_minute);
    }
    assert_string_equal(p.v[p.n - 1]->name, "other");
    assert_null(rmd_providers_find(&p, "nobody"));
    rmd_providers_release(&p);
    rmd_buf_release(&err);
}

static void outlook_and_office365_are_told_apart(void **state) {
    (void)state;
    struct rmd_providers p = parse_ok("");
    static const struct {
        const char *host, *name;
    } rows[] = {
        {"outlook-com.olc.protection.outlook.com", "outlook"},
        {"contoso-com.mail.protection.outlook.com", "office365"},
        {"contoso-com.p-v1.mx.microsoft", "office365"},
        {"mta5.am0.yahoodns.net", "yahoo"},
        {"mx01.mail.icloud.com", "apple"},
        {"mx0a-00000000.pphosted.com", "proofpoint"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rmd_mx_answer a = {.status = RMD_DNS_OK, .n = 1};
        rmd_copy(a.mx[0].host, sizeof a.mx[0].host, rows[i].host);
        int k = rmd_site_provider(&a, "example.org", p.v, p.n);
        assert_true(k >= 0);
        assert_string_equal(p.v[k]->name, rows[i].name);
    }
    rmd_providers_release(&p);
}

static void an_operators_file_overrides_key_by_key(void **state) {
    (void)state;
    struct rmd_providers p = parse_ok("default { messages_per_connection = 30 }\n"
                                      "provider \"google\" { connections = 3 }\n"
                                      "provider \"ours\" { mx = \".mx.ours.example\"; connections_per_site = 2 }\n"
                                      "provider \"narrow\" { mx = [\".special.google.com\"] }\n"
                                      "provider \"other\" { connections = 50 }\n");
    const Remuda__ProviderPolicy *google = rmd_providers_find(&p, "google"), *ours = rmd_providers_find(&p, "ours");
    assert_int_equal(google->connections, 3);
    assert_int_equal(google->connections_per_site, 3);
    assert_int_equal(google->messages_per_connection, 50); /* its own, as shipped */
    assert_int_equal(google->n_mx_suffix, 2);
    assert_int_equal(ours->messages_per_connection, 30);
    assert_int_equal(ours->connections, 10);
    assert_int_equal(ours->connections_per_site, 2);
    assert_string_equal(p.v[0]->name, "ours"); /* before the shipped ones, so that a narrower suffix wins */
    assert_string_equal(p.v[1]->name, "narrow");
    assert_string_equal(p.v[p.n - 1]->name, "other");
    assert_int_equal(p.v[p.n - 1]->connections, 50);
    rmd_providers_release(&p);
}

static void bad_files_are_told_by_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *err;
    } table[] = {
        {"provider \"google\" {\n  conections = 5\n}\n", "p.conf:2: provider \"google\": conections: unknown key\n"},
        {"provider \"google\" {\n  removal = \"ask them\"\n}\n",
         "p.conf:2: provider \"google\": removal: \"ask them\" is neither https://... nor mailto:...\n"},
        {"provider \"google\" { removal = [] }\n",
         "p.conf:1: provider \"google\": removal: \"\" is neither https://... nor mailto:...\n"},
        {"default { removal = \"https://a.test/\" }\n", "p.conf:1: default: removal: unknown key\n"},
        {"default { mx = \".a.b\" }\n", "p.conf:1: default: mx: unknown key\n"},
        {"\nproviders \"x\" { }\n",
         "p.conf:2: providers: unknown key; expected provider \"name\" { ... } or default { ... }\n"},
        {"provider \"Google\" { connections = 5 }\n",
         "p.conf:1: provider \"Google\": a name has 1 to 32 small letters, digits, \"-\", \"_\"\n"},
        {"provider \"gogle\" { connections = 5 }\n",
         "p.conf:1: provider \"gogle\": nothing defines it: no shipped provider has this name, and mx is not set\n"},
        {"provider \"a\" {\n mx = [\".one.example\",\n \".two.example.\"]\n}\n",
         "p.conf:3: provider \"a\": mx suffix \".two.example.\" must not end in a dot\n"},
        {"provider \"a\" { mx = \"one.example\" }\n", "p.conf:1: provider \"a\": mx suffix \"one.example\" must "
                                                      "begin with a dot, or \"notgoogle.com\" would match "
                                                      "\"google.com\" too\n"},
        {"provider \"a\" { mx = \".com\" }\n",
         "p.conf:1: provider \"a\": mx suffix \".com\" is too broad: two labels at least\n"},
        {"provider \"a\" { mx = \".a..b\" }\n",
         "p.conf:1: provider \"a\": mx suffix \".a..b\" has an empty or too long label\n"},
        {"provider \"a\" { mx = \".a_b.c\" }\n",
         "p.conf:1: provider \"a\": mx suffix \".a_b.c\" is not a host name\n"},
        {"provider \"a\" { mx = [] }\n", "p.conf:1: provider \"a\": mx: the list is empty\n"},
        {"provider \"other\" { mx = \".a.b\" }\n",
         "p.conf:1: provider \"other\" takes what no other names; it has no mx\n"},
        {"provider \"a\" { mx = \".one.example\" }\nprovider \"b\" {\n mx = \".mx.one.example\" }\n",
         "p.conf:3: provider \"b\": mx suffix \".mx.one.example\" is hidden by \".one.example\" of the earlier "
         "provider \"a\"\n"},
        {"provider \"mine\" {\n mx = \".outlook.com\" }\n",
         "p.conf:2: provider \"outlook\": mx suffix \".olc.protection.outlook.com\" is hidden by \".outlook.com\" of "
         "the earlier "
         "provider \"mine\"\n"
         "p.conf:2: provider \"office365\": mx suffix \".mail.protection.outlook.com\" is hidden by \".outlook.com\" "
         "of the "
         "earlier provider \"mine\"\n"},
        {"provider \"a\" { mx = [\".one.example\", \".one.example\"] }\n",
         "p.conf:1: provider \"a\": mx suffix \".one.example\" is hidden by \".one.example\" of the earlier provider "
         "\"a\"\n"},
        {"provider \"google\" { connections = 0; rate_per_minute = fast; tls_required = 1 }\n",
         "p.conf:1: provider \"google\": connections: \"0\" is not within 1 and 10000\n"
         "p.conf:1: provider \"google\": rate_per_minute: \"fast\" is not a whole number\n"
         "p.conf:1: provider \"google\": tls_required: \"1\" is not true or false\n"},
        {"provider \"google\" { chunking = maybe }\n",
         "p.conf:1: provider \"google\": chunking: \"maybe\" is not one of off, on, ahead\n"},
        {"provider \"google\" { connections = [1] }\n",
         "p.conf:1: provider \"google\": connections: expected a value, found a list\n"},
        {"provider { google = 5 }\n", "p.conf:1: provider \"google\": is a section: provider \"google\" { ... }\n"},
        {"provider \"google\" {\n", "p.conf:1: google: this section is never closed with \"}\"\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct rmd_providers p;
        struct rmd_buf err = {0};
        int rc = rmd_providers_parse(rmd_slice_str(table[i].text), "p.conf", &p, &err);
        if (rc != RMD_EINVAL || strcmp(rmd_buf_str(&err), table[i].err) != 0)
            fail_msg("row %zu: rc %d\nexpected: %sreceived: %s", i, rc, table[i].err, rmd_buf_str(&err));
        assert_int_equal(p.n, 0);
        rmd_buf_release(&err);
    }
}

static void how_content_leaves(void **state) {
    (void)state;
    struct rmd_providers p = parse_ok("");
    for (size_t i = 0; i < p.n; i++)
        assert_int_equal(p.v[i]->chunking, RMD_CHUNKING_ON);
    rmd_providers_release(&p);
    p = parse_ok("default { chunking = off }\nprovider \"google\" { chunking = ahead }\n");
    assert_int_equal(rmd_providers_find(&p, "google")->chunking, RMD_CHUNKING_AHEAD);
    assert_int_equal(rmd_providers_find(&p, "other")->chunking, RMD_CHUNKING_OFF);
    rmd_providers_release(&p);
}

static void a_file_that_is_not_there_is_named(void **state) {
    (void)state;
    struct rmd_providers p;
    struct rmd_buf err = {0};
    assert_int_equal(rmd_providers_load("/nonexistent/p.conf", &p, &err), RMD_EINVAL);
    assert_string_equal(rmd_buf_str(&err), "/nonexistent/p.conf: cannot be opened: No such file or directory\n");
    rmd_buf_release(&err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_ones_are_the_published_starting_points),
        cmocka_unit_test(outlook_and_office365_are_told_apart),
        cmocka_unit_test(an_operators_file_overrides_key_by_key),
        cmocka_unit_test(bad_files_are_told_by_line),
        cmocka_unit_test(how_content_leaves),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("providers", tests, NULL, NULL);
}
