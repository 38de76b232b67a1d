/* Stories of delivery: reuse, refusals, cuts, timeouts, MX order, TLS, sources without an address. */
#include "tests/unit/worker/world.h"

static void a_lease_is_delivered_over_kept_connections(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 30});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 30);
    assert_in_range(x->dials, 1, 8);
    assert_int_equal(x->marks[1], 30);
    assert_int_equal(x->marks[2], 30);
    assert_int_equal(x->outcome[0].rcpts, 1);
    assert_string_equal(x->outcome[0].mx, "mx.a.test");
    struct rmd_worker_stats s;
    rmd_worker_stats(x->w, &s);
    assert_int_equal(s.delivered, 30);
    assert_int_equal(s.waiting + s.open_transactions, 0);
    assert_true(s.connections > 0); /* kept */
    world_run(x, 6000);
    rmd_worker_stats(x->w, &s);
    assert_int_equal(s.connections, 0); /* not for ever */
    assert_int_equal(x->dials, x->closes);
    assert_int_equal(world_said(x, "QUIT"), x->dials);
    world_free(x);
}

static bool shared_mx(struct world *x, const char *name, struct rmd_mx_answer *mx) {
    (void)x;
    (void)name;
    mx->n = 1;
    mx->ttl_s = 300;
    rmd_copy(mx->mx[0].host, sizeof mx->mx[0].host, "mx.shared.test");
    return true;
}

static void domains_of_a_site_share_connections(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->resolve = shared_mx;
    world_lease(x, (struct world_lease){.id = 1, .domain = "c.test", .n = 4, .domains = 4});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 4);
    assert_int_equal(x->dials, 1);
    world_free(x);
}

static void messages_per_connection_is_kept(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    p.provider[1].messages_per_connection = 3;
    p.provider[1].connections = 1;
    world_policy(x, &p);
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 12});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 12);
    assert_int_equal(x->dials, 4);
    assert_int_equal(x->max_conns, 1);
    world_free(x);
}

static const char *user_unknown(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return strstr(l, "RCPT TO:<u1@")   ? "550 5.1.1 no such user\r\n"
           : strstr(l, "RCPT TO:<u2@") ? "450 4.2.0 greylisted\r\n"
                                       : NULL;
}

static void refusals_are_the_recipients_own(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = user_unknown;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 4});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 2);
    assert_int_equal(world_count(x, RMD_OUTCOME_BOUNCED, 0), 1);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 1);
    for (size_t i = 0; i < x->outcomes; i++) {
        if (x->outcome[i].index == 1)
            assert_string_equal(x->outcome[i].text, "550 5.1.1 no such user");
        if (x->outcome[i].index == 2)
            assert_int_equal(x->outcome[i].class, RMD_CLASS_GREYLISTED);
    }
    assert_int_equal(x->dials, 1);
    assert_int_equal(x->alarms, 0);
    world_free(x);
}

static const char *cut_at(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    static const char *const at[] = {"DATA", ".", "MAIL"};
    return !strncmp(l, at[x->flag], strlen(at[x->flag])) && !x->count++ ? "!cut" : NULL;
}

static void cut_before_and_after_the_dot(void **state) {
    (void)state;
    for (int flag = 0; flag < 2; flag++) {
        struct world *x = world_ready();
        x->answer = cut_at;
        x->flag = flag;
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3});
        world_run(x, 1000);
        assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 2); /* the others, over a new connection */
        assert_int_equal(world_count(x, flag ? RMD_OUTCOME_UNCERTAIN : RMD_OUTCOME_DEFERRED, 0), 1);
        assert_int_equal(x->outcome[0].rcpts, 1);
        assert_int_equal(x->outcome[0].code, 0);
        assert_int_equal(x->marks[2], 2 + flag);
        world_free(x);
    }
}

static void a_cut_before_rcpt_is_tried_again_within_the_lease(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = cut_at;
    x->flag = 2;
    x->ehlo = "250 mx\r\n"; /* no PIPELINING: RCPT wasn't sent */
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
    world_run(x, 1000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1);
    assert_int_equal(x->dials, 2);
    assert_int_equal(world_said(x, "RCPT"), 1);
    world_free(x);
}

static const char *silent_rcpt(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return !strcmp(l, ".") ? "!silent" : NULL;
}

static void a_transaction_has_a_total_deadline(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->answer = silent_rcpt;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
    world_run(x, 119000);
    assert_int_equal(x->outcomes, 0);
    world_run(x, 2000);
    assert_int_equal(world_count(x, RMD_OUTCOME_UNCERTAIN, 0), 1);
    assert_int_equal(x->outcome[0].at_ms, 1000000 + 120000);
    world_free(x);
}

static bool two_mx(struct world *x, const char *name, struct rmd_mx_answer *mx) {
    (void)x;
    (void)name;
    mx->n = 3;
    mx->ttl_s = 300;
    for (int i = 0; i < 3; i++) {
        mx->mx[i].preference = (uint16_t)(10 * i);
        (void)rmd_format(mx->mx[i].host, sizeof mx->mx[i].host, "mx%d.a.test", i);
    }
    return true;
}

static bool numbered(struct world *x, const char *name, struct rmd_addr_answer *a) {
    (void)x;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {93, 0, 0, (uint8_t)(name[2] - '0' + 1)}};
    return true;
}

static bool first_two_down(struct world *x, const struct rmd_addr *to, enum rmd_own_error *error, const char **text) {
    (void)text;
    if (to->b[3] == 2)
        *error = RMD_OWN_CONNECT_TIMEOUT;
    return to->b[3] > 2 + x->flag;
}

static void the_next_host_is_tried(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->resolve = two_mx;
    x->host = numbered;
    x->connect = first_two_down;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 2});
    world_run(x, 40000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 2);
    assert_int_equal(x->dials, 3);
    assert_string_equal(x->outcome[0].mx, "mx2.a.test");
    /* The next connection asks those that failed lately last. */
    world_run(x, 10000);
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 1});
    world_run(x, 1000);
    assert_int_equal(x->dials, 4);
    assert_int_equal(x->dialled[3].b[3], 3);
    world_free(x);
}

static void all_hosts_down_defers_the_site_once(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->resolve = two_mx;
    x->host = numbered;
    x->connect = first_two_down;
    x->flag = 5;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 50});
    world_run(x, 40000);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 50);
    assert_int_equal(x->dials, 3);
    assert_int_equal(x->outcome[49].rcpts, 0);
    assert_int_equal(x->outcome[49].class, RMD_CLASS_NETWORK);
    assert_int_equal(x->marks[1], 0);
    world_free(x);
}

static const char *greets_with_a_refusal(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return !strcmp(l, "GREETING") ? "421 4.3.2 closing\r\n" : NULL;
}

static bool both_families(struct world *x, const char *name, struct rmd_addr_answer *a) {
    (void)name;
    a->n = x->flag == 2 ? 1 : 2;
    a->addr[0] = (struct rmd_addr){.family = 4, .b = {93, 0, 0, 9}};
    a->addr[1] = (struct rmd_addr){.family = 6, .b = {0x2a, 1, 9}};
    return true;
}

static bool family_broken(struct world *x, const struct rmd_addr *to, enum rmd_own_error *error, const char **text) {
    *error = x->count % 2 ? RMD_OWN_CONNECT_TIMEOUT : RMD_OWN_CONNECT_REFUSED;
    *text = "Connection refused";
    return x->flag == 1 || to->family != 4;
}

/* A receiver that isn't there by the source's family, though it has the other one, is out of this source's reach, which the
 * coordinator remembers of the family; one that has no other, or that talks to us, is just down. */
static void a_broken_family_is_told_as_such(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world *x = world_ready();
        x->host = both_families;
        x->connect = family_broken;
        x->flag = i < 2 ? 0 : 4 - i; /* broken; broken; no other family; it talks */
        x->count = i;
        x->answer = i == 3 ? greets_with_a_refusal : NULL;
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 3});
        world_run(x, 60000);
        assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 3);
        assert_string_equal(x->outcome[0].rule, i < 2 ? "own:unreachable" : i == 2 ? "own:connect-refused" : "code");
        for (size_t k = 0; k < x->dials; k++)
            assert_int_equal(x->dialled[k].family, 4);
        world_free(x);
    }
}

static bool dns_status(struct world *x, const char *name, struct rmd_mx_answer *mx) {
    (void)name;
    static const enum rmd_dns_status statuses[] = {RMD_DNS_TEMPFAIL, RMD_DNS_NXDOMAIN, RMD_DNS_NODATA, RMD_DNS_OK};
    mx->status = statuses[x->flag];
    mx->n = x->flag == 3;
    return true;
}

static void dns_failures(void **state) {
    (void)state;
    static const uint32_t kinds[] = {RMD_OUTCOME_DEFERRED, RMD_OUTCOME_BOUNCED, RMD_OUTCOME_BOUNCED,
                                     RMD_OUTCOME_BOUNCED}; /* the last: null MX */
    for (int i = 0; i < 4; i++) {
        struct world *x = world_ready();
        x->resolve = dns_status;
        x->flag = i;
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 2});
        world_run(x, 100);
        assert_int_equal(world_count(x, kinds[i], 0), 2);
        assert_int_equal(x->outcome[0].stage, RMD_STAGE_DNS);
        assert_int_equal(x->dials, 0);
        world_free(x);
    }
}

static bool loopback(struct world *x, const char *name, struct rmd_addr_answer *a) {
    (void)name;
    a->n = 1;
    a->addr[0] = (struct rmd_addr){.family = x->flag ? 6 : 4, .b = {127, 0, 0, 1}};
    return true;
}

static void special_addresses_need_a_policy(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    x->host = loopback;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(x->dials, 0);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 1);
    assert_non_null(strstr(x->outcome[0].text, "127.0.0.1"));
    world_policy_init(&p);
    p.allow[0] = STR("127.0.0.0/8");
    p.p.allow_special = p.allow;
    p.p.n_allow_special = 1;
    world_policy(x, &p);
    world_run(x, 20000);
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1);
    x->flag = 1; /* only IPv6: not a bounce, the source is of the other family */
    world_lease(x, (struct world_lease){.id = 3, .domain = "b.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DEFERRED, 0), 2);
    world_free(x);
}

static void opportunistic_tls_falls_back_to_none(void **state) {
    (void)state;
    for (int required = 0; required < 2; required++) {
        struct world *x = world_ready();
        struct world_policy p;
        world_policy_init(&p);
        p.p.starttls = true;
        p.provider[1].tls_required = required;
        world_policy(x, &p);
        x->ehlo = "250-mx\r\n250 STARTTLS\r\n";
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
        world_run(x, 6000);
        assert_true(x->outcome[0].tls);
        x->tls_fails = true;
        world_lease(x, (struct world_lease){.id = 2, .domain = "b.test", .n = 1});
        world_run(x, 6000);
        assert_int_equal(x->outcome[1].kind, required ? RMD_OUTCOME_DEFERRED : RMD_OUTCOME_DELIVERED);
        assert_false(x->outcome[1].tls);
        assert_int_equal(x->dials, required ? 2 : 3);
        world_free(x);
    }
}

static bool bind_fails(struct world *x, const struct rmd_addr *to, enum rmd_own_error *error, const char **text) {
    (void)to;
    *error = RMD_OWN_SOURCE_ADDRESS;
    *text = "bind: Cannot assign requested address";
    return x->flag != 0;
}

static void a_source_that_is_not_here(void **state) {
    (void)state;
    struct world *x = world_ready();
    x->connect = bind_fails;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 9});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_NO_ADDRESS), 9);
    assert_string_equal(x->trouble, "203.0.114.7 is not an address of this host: plumb it, or correct the source's "
                                    "bind address");
    world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_RETURNED, RMD_RETURN_NO_ADDRESS), 10);
    assert_int_equal(x->dials, 1);
    x->flag = 1;
    world_run(x, 60000);
    world_lease(x, (struct world_lease){.id = 3, .domain = "a.test", .n = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1);
    assert_string_equal(x->trouble, "");
    world_free(x);
}

static void eight_bits_need_8bitmime(void **state) {
    (void)state;
    struct world *x = world_ready();
    world_template(x, true);
    x->ehlo = "250 mx\r\n";
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1, .eightbit = true});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_BOUNCED, 0), 1);
    assert_int_equal(x->outcome[0].rcpts, 0);
    assert_int_equal(world_said(x, "MAIL"), 0);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_is_delivered_over_kept_connections),
        cmocka_unit_test(domains_of_a_site_share_connections),
        cmocka_unit_test(messages_per_connection_is_kept),
        cmocka_unit_test(refusals_are_the_recipients_own),
        cmocka_unit_test(cut_before_and_after_the_dot),
        cmocka_unit_test(a_cut_before_rcpt_is_tried_again_within_the_lease),
        cmocka_unit_test(a_transaction_has_a_total_deadline),
        cmocka_unit_test(the_next_host_is_tried),
        cmocka_unit_test(all_hosts_down_defers_the_site_once),
        cmocka_unit_test(a_broken_family_is_told_as_such),
        cmocka_unit_test(dns_failures),
        cmocka_unit_test(special_addresses_need_a_policy),
        cmocka_unit_test(opportunistic_tls_falls_back_to_none),
        cmocka_unit_test(a_source_that_is_not_here),
        cmocka_unit_test(eight_bits_need_8bitmime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
