/* Transport security of a worker's connections: what a host must offer, who shares a connection with whom, what is tried
 * again and what never is, and what is told about it. */
#include "tests/unit/worker/world.h"

#define TLS_EHLO "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"

static struct world *secure_world(bool provider_requires, bool stream_requires) {
    struct world_policy p;
    struct world *x = world_ready();
    world_policy_init(&p);
    p.p.starttls = true;
    p.provider[1].tls_required = provider_requires;
    p.stream.tls_required = stream_requires;
    world_policy(x, &p);
    x->ehlo = TLS_EHLO;
    return x;
}

static void send_one(struct world *x, uint64_t id, const char *domain, int64_t run_ms) {
    world_lease(x, (struct world_lease){.id = id, .domain = domain, .n = 1});
    world_run(x, run_ms);
}

static const struct world_outcome *last(const struct world *x) {
    assert_true(x->outcomes > 0);
    return &x->outcome[x->outcomes - 1];
}

/* --- opportunistic */

static void a_downgrade_is_remembered_for_its_time(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->tls_fails = true;
    send_one(x, 1, "a.test", 10000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    assert_int_equal(x->dials, 2);
    assert_int_equal(world_said(x, "STARTTLS"), 1);
    assert_int_equal(x->sessions, 1); /* one session failed, and nothing else was tried */
    assert_int_equal(x->session[0].result, RMD_TLS_R_VALIDATION_FAILURE);
    assert_string_equal(x->session[0].host, "mx.a.test");
    assert_in_range(x->session[0].downgrade_until_ms - x->now, RMD_TLS_DOWNGRADE_MS - 11000, RMD_TLS_DOWNGRADE_MS);
    send_one(x, 2, "a.test", 10000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    assert_int_equal(x->dials, 3);
    assert_int_equal(world_said(x, "STARTTLS"), 1);
    assert_int_equal(x->session[1].downgrade_until_ms, 0); /* told once */
    send_one(x, 3, "b.test", 10000);                       /* nobody else pays for it */
    assert_int_equal(world_said(x, "STARTTLS"), 2);
    world_run(x, RMD_TLS_DOWNGRADE_MS);
    x->tls_fails = false;
    send_one(x, 4, "a.test", 10000);
    assert_true(last(x)->tls);
    assert_int_equal(x->session[x->sessions - 1].result, RMD_TLS_R_OK);
    world_free(x);
}

static void who_requires_tls_never_sees_the_clear(void **state) {
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct world *x = secure_world(!stream, stream);
        x->tls_fails = true;
        send_one(x, 1, "a.test", 30000);
        assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
        assert_int_equal(last(x)->class, RMD_CLASS_TLS_REQUIRED);
        x->tls_fails = false;
        x->ehlo = "250-mx\r\n250 PIPELINING\r\n";
        send_one(x, 2, "b.test", 30000);
        assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
        assert_int_equal(x->session[x->sessions - 1].result, RMD_TLS_R_STARTTLS_NOT_SUPPORTED);
        assert_int_equal(world_said(x, "MAIL"), 0);
        world_free(x);
    }
}

static const char *refuses_starttls(struct world *x, struct world_conn *c, const char *line) {
    (void)x;
    (void)c;
    return strcmp(line, "STARTTLS") == 0 ? "554 5.7.0 not for you\r\n" : NULL;
}

static void a_refused_starttls_bounces_nobody(void **state) {
    (void)state;
    struct world *x = secure_world(true, false);
    x->answer = refuses_starttls;
    send_one(x, 1, "a.test", 30000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
    assert_int_equal(x->session[0].result, RMD_TLS_R_STARTTLS_NOT_SUPPORTED);
    world_free(x);
}

/* --- MTA-STS */

static struct rmd_sts_policy *policy(const char *mode, const char *mx) {
    struct rmd_sts_policy *p;
    char text[256], why[RMD_STS_WHY];
    (void)rmd_format(text, sizeof text, "version: STSv1\nmode: %s\nmax_age: 86400\nmx: %s\n", mode, mx);
    assert_int_equal(rmd_sts_parse(rmd_slice_str(text), &p, why), RMD_OK);
    return p;
}

static struct rmd_sts_policy *enforced(struct world *x, const char *domain) {
    (void)x;
    return strncmp(domain, "strict", 6) == 0    ? policy("enforce", "mx.strict.test\nmx: *.shared.test")
           : strncmp(domain, "moved", 5) == 0   ? policy("enforce", "mx.elsewhere.example")
           : strncmp(domain, "testing", 7) == 0 ? policy("testing", "mx.elsewhere.example")
                                                : NULL;
}

static enum rmd_tls_result expired(struct world *x, const struct rmd_tls_spec *spec, bool *ok) {
    (void)x;
    *ok = spec->level < RMD_TLS_L_PKIX;
    return spec->level >= RMD_TLS_L_PKIX || spec->check ? RMD_TLS_R_CERTIFICATE_EXPIRED : RMD_TLS_R_OK;
}

static void an_enforced_policy_fails_closed(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->sts = enforced;
    x->tls = expired;
    send_one(x, 1, "strict.test", 30000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
    assert_int_equal(last(x)->class, RMD_CLASS_TLS_REQUIRED);
    assert_int_equal(x->asked[0], RMD_TLS_L_PKIX);
    assert_int_equal(x->session[0].kind, RMD_TLS_POLICY_STS);
    assert_int_equal(x->session[0].result, RMD_TLS_R_CERTIFICATE_EXPIRED);
    size_t dials = x->dials;
    send_one(x, 2, "moved.test", 30000); /* the policy doesn't name its host: it isn't even dialled */
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
    assert_non_null(strstr(last(x)->text, "doesn't name this host"));
    assert_int_equal(x->dials, dials);
    assert_int_equal(world_said(x, "MAIL"), 0);
    x->tls = NULL;
    send_one(x, 3, "strict.test", 30000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    world_free(x);
}

static void a_tested_policy_is_told_and_changes_nothing(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->sts = enforced;
    x->tls = expired;
    send_one(x, 1, "testing.test", 30000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    assert_true(last(x)->tls);
    assert_int_equal(x->session[0].kind, RMD_TLS_POLICY_STS);
    assert_int_equal(x->session[0].result,
                     RMD_TLS_R_VALIDATION_FAILURE); /* the host that it doesn't name comes first */
    world_free(x);
}

static bool one_host(struct world *x, const char *name, struct rmd_mx_answer *mx) {
    (void)name;
    mx->ttl_s = 3600;
    mx->n = 1;
    mx->secure = x->flag != 0;
    rmd_copy(mx->mx[0].host, sizeof mx->mx[0].host, "mx.shared.test");
    return true;
}

static void a_policy_has_connections_of_its_own(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->resolve = one_host;
    x->sts = enforced;
    for (uint64_t id = 1; id <= 3; id++) { /* one after the other, while the connection before is kept */
        send_one(x, id, id == 2 ? "strict.test" : id == 1 ? "any.test" : "other.test", 100);
        assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    }
    assert_int_equal(x->dials, 2);
    assert_int_equal(x->n_asked, 2);
    assert_int_equal(x->asked[0], RMD_TLS_L_MAY);
    assert_int_equal(x->asked[1], RMD_TLS_L_PKIX);
    assert_int_equal(x->outcome[0].connection, x->outcome[2].connection);
    send_one(x, 4, "strict2.test", 100); /* the same policy: the same connection */
    assert_int_equal(x->dials, 2);
    assert_int_equal(last(x)->connection, x->outcome[1].connection);
    world_free(x);
}

/* --- DANE */

static bool secure_mx(struct world *x, const char *name, struct rmd_mx_answer *mx) {
    mx->ttl_s = 3600;
    mx->n = 2;
    mx->secure = x->flag != 1;
    for (int i = 0; i < 2; i++) {
        mx->mx[i].preference = (uint16_t)(10 + i);
        (void)rmd_format(mx->mx[i].host, sizeof mx->mx[i].host, "mx%d.%s", i + 1, name);
    }
    return true;
}

static bool secure_host(struct world *x, const char *name, struct rmd_addr_answer *a) {
    a->secure = x->flag != 2;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {93, 1, 1, (uint8_t)(name[2] - '0')}};
    return true;
}

/* The first host's records are good, missing, unusable or not to be had, by x->count; the second's are good. */
static bool records(struct world *x, const char *name, struct rmd_tlsa_answer *a) {
    bool first = strncmp(name, "_25._tcp.mx1.", 13) == 0;
    assert_true(first || strncmp(name, "_25._tcp.mx2.", 13) == 0);
    a->status = first && x->count == 3 ? RMD_DNS_TEMPFAIL : first && x->count == 1 ? RMD_DNS_NXDOMAIN : RMD_DNS_OK;
    a->n = a->status == RMD_DNS_OK;
    a->tlsa[0] = (struct rmd_tlsa){.usage = first && x->count == 2 ? 1 : 3, .selector = 1, .matching = 1, .n = 32};
    return true;
}

static void records_decide_how_a_host_is_spoken_to(void **state) {
    (void)state;
    static const struct {
        int flag, count; /* 1: the MX is insecure, 2: the address is; count: see records() */
        enum rmd_tls_level level;
        const char *host;
    } row[] = {
        {0, 0, RMD_TLS_L_DANE, "mx1.a.test"},    {0, 1, RMD_TLS_L_MAY, "mx1.a.test"},
        {0, 2, RMD_TLS_L_ENCRYPT, "mx1.a.test"}, {0, 3, RMD_TLS_L_DANE, "mx2.a.test"}, /* the next host */
        {1, 0, RMD_TLS_L_MAY, "mx1.a.test"},     {2, 0, RMD_TLS_L_MAY, "mx1.a.test"},
        {1, 3, RMD_TLS_L_MAY, "mx1.a.test"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct world *x = secure_world(false, false);
        x->flag = row[i].flag;
        x->count = row[i].count;
        x->resolve = secure_mx;
        x->host = secure_host;
        x->tlsa = records;
        send_one(x, 1, "a.test", 1000);
        assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
        assert_string_equal(last(x)->mx, row[i].host);
        assert_int_equal(x->n_asked, 1);
        assert_int_equal(x->asked[0], row[i].level);
        world_free(x);
    }
}

static bool no_records(struct world *x, const char *name, struct rmd_tlsa_answer *a) {
    (void)x;
    (void)name;
    a->status = RMD_DNS_TEMPFAIL;
    return true;
}

static void bogus_records_defer(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->resolve = secure_mx;
    x->host = secure_host;
    x->tlsa = no_records;
    send_one(x, 1, "a.test", 30000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
    assert_int_equal(last(x)->class, RMD_CLASS_TLS_REQUIRED);
    assert_int_equal(x->dials, 0);
    assert_int_equal(x->session[0].result, RMD_TLS_R_DNSSEC_INVALID);
    world_free(x);
}

static enum rmd_tls_result first_mismatches(struct world *x, const struct rmd_tls_spec *spec, bool *ok) {
    (void)x;
    assert_int_equal(spec->level, RMD_TLS_L_DANE);
    assert_int_equal(spec->tlsa->n, 1);
    assert_string_equal(spec->domain, "a.test");
    *ok = strcmp(spec->host, "mx1.a.test") != 0;
    return *ok ? RMD_TLS_R_OK : RMD_TLS_R_VALIDATION_FAILURE;
}

static void a_host_that_is_not_who_it_should_be_is_passed_over(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->resolve = secure_mx;
    x->host = secure_host;
    x->tlsa = records;
    x->tls = first_mismatches;
    send_one(x, 1, "a.test", 1000);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    assert_string_equal(last(x)->mx, "mx2.a.test");
    assert_int_equal(x->sessions, 2);
    assert_int_equal(x->session[0].result, RMD_TLS_R_VALIDATION_FAILURE);
    assert_int_equal(x->session[1].result, RMD_TLS_R_OK);
    assert_int_equal(x->session[1].kind, RMD_TLS_POLICY_TLSA);
    world_free(x);
}

/* Signed and unsigned domains at the same hosts: what was verified for one isn't taken for the other, nor the reverse. */
static void signed_domains_have_connections_of_their_own(void **state) {
    (void)state;
    struct world *x = secure_world(false, false);
    x->resolve = one_host;
    x->host = secure_host;
    x->tlsa = no_records;
    send_one(x, 1, "unsigned.test", 100);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DELIVERED);
    x->flag = 1;
    send_one(x, 2, "signed.test", 100);
    assert_int_equal(last(x)->kind, RMD_OUTCOME_DEFERRED);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_downgrade_is_remembered_for_its_time),
        cmocka_unit_test(who_requires_tls_never_sees_the_clear),
        cmocka_unit_test(a_refused_starttls_bounces_nobody),
        cmocka_unit_test(an_enforced_policy_fails_closed),
        cmocka_unit_test(a_tested_policy_is_told_and_changes_nothing),
        cmocka_unit_test(a_policy_has_connections_of_its_own),
        cmocka_unit_test(records_decide_how_a_host_is_spoken_to),
        cmocka_unit_test(bogus_records_defer),
        cmocka_unit_test(a_host_that_is_not_who_it_should_be_is_passed_over),
        cmocka_unit_test(signed_domains_have_connections_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
