/* What a connection may be used for: limits of a source, a site, the cluster's share; streams that ask for more than a
 * connection gives; keys that change. */
#include "proto/esmtp.h"

#define WORLD_SIGN two_places()
static const struct rmd_sign_ops *two_places(void);
#include "tests/unit/worker/world.h"

/* The fake's keys at two places: a third key lies where the first one was. */
static void *place[2];
static int load_into_a_place(struct rmd_slice pem, void **key, enum rmd_key_kind *kind, char *err, size_t n) {
    int i = place[0] != NULL;
    assert_null(place[i]);
    int rc = rmd_sign_fake()->key_load(pem, &place[i], kind, err, n);
    *key = &place[i];
    return rc;
}

static void free_a_place(void *key) {
    rmd_sign_fake()->key_free(*(void **)key);
    *(void **)key = NULL;
}

static int sign_from_a_place(void *key, const uint8_t digest[RMD_SHA256_BYTES], uint8_t *sig, size_t *n) {
    return rmd_sign_fake()->sign_digest(*(void **)key, digest, sig, n);
}

static const struct rmd_sign_ops *two_places(void) {
    static struct rmd_sign_ops ops;
    ops = *rmd_sign_fake();
    ops.key_load = load_into_a_place;
    ops.key_free = free_a_place;
    ops.sign_digest = sign_from_a_place;
    return &ops;
}

static const char *slow_dot(struct world *x, struct world_conn *c, const char *l) {
    (void)c;
    return x->flag && !strcmp(l, ".") ? "!silent" : NULL;
}

static void connections_of_a_site_and_of_a_source(void **state) {
    (void)state;
    static const struct {
        uint32_t source, site;
        int domains;
        uint32_t most;
    } rows[] = {{7, 3, 1, 3}, {7, 3, 2, 6}, {7, 3, 4, 7}, {2, 3, 1, 2}, {5, 0, 1, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *x = world_ready();
        struct world_policy p;
        world_policy_init(&p);
        p.provider[1].connections = rows[i].source;
        p.provider[1].connections_per_site = rows[i].site;
        world_policy(x, &p);
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 5, .domains = rows[i].domains});
        world_run(x, 2000); /* each site has shown that it answers */
        x->flag = 1;
        x->answer = slow_dot;
        world_lease(x, (struct world_lease){.id = 2, .domain = "a.test", .n = 200, .domains = rows[i].domains});
        world_run(x, 2000);
        assert_int_equal(x->conns_now, rows[i].most);
        assert_int_equal(x->max_conns, rows[i].most);
        world_free(x);
    }
}

/* The cluster's ceiling counts connections wherever they are: without a lease, a lane keeps none. */
static void a_share_of_the_cluster_goes_back_with_the_last_lease(void **state) {
    (void)state;
    for (int ceiling = 0; ceiling < 2; ceiling++) {
        struct world *x = world_ready();
        struct world_policy p;
        world_policy_init(&p);
        p.provider[1].cluster_connections = ceiling ? 50 : 0;
        world_policy(x, &p);
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 40, .connections = 2});
        world_run(x, 100);
        assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 40);
        assert_int_equal(x->max_conns, 2);
        assert_int_equal(x->conns_now, ceiling ? 0 : 2); /* kept, where nobody else may want it */
        world_free(x);
    }
}

static const char *late_quit(struct world *x, struct world_conn *c, const char *l) {
    (void)x;
    (void)c;
    return !strcmp(l, "QUIT") ? "!silent" : NULL;
}

/* One connection has work when the other has none left: it isn't kept behind its last message either. */
static void a_share_goes_back_from_a_busy_connection(void **state) {
    (void)state;
    struct world *x = world_ready();
    struct world_policy p;
    world_policy_init(&p);
    p.provider[1].cluster_connections = 50;
    world_policy(x, &p);
    x->answer = late_quit;
    world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1, .connections = 1});
    world_run(x, 100);
    assert_int_equal(world_count(x, RMD_OUTCOME_DELIVERED, 0), 1);
    assert_int_equal(world_said(x, "QUIT"), 1); /* with the outcome that ended the lease */
    world_free(x);
}

static struct rmd_sts_policy *enforced(struct world *x, const char *domain) {
    (void)x;
    (void)domain;
    struct rmd_sts_policy *p;
    char why[RMD_STS_WHY];
    assert_int_equal(
        rmd_sts_parse(rmd_slice_str("version: STSv1\nmode: enforce\nmax_age: 86400\nmx: mx.a.test\n"), &p, why),
        RMD_OK);
    return p;
}

static void requiretls_goes_over_verified_tls_to_who_offers_it(void **state) {
    (void)state;
    static const struct {
        const char *ehlo;
        bool starttls, verified;
        uint32_t kind;
        const char *rule;
    } rows[] = {
        {"250-mx\r\n250-STARTTLS\r\n250 REQUIRETLS\r\n", true, true, RMD_OUTCOME_DELIVERED, "code"},
        {"250-mx\r\n250 STARTTLS\r\n", true, true, RMD_OUTCOME_BOUNCED, "own:no-requiretls"},
        {"250-mx\r\n250-STARTTLS\r\n250 REQUIRETLS\r\n", true, false, RMD_OUTCOME_DEFERRED, "own:tls-unverified"},
        {"250-mx\r\n250 REQUIRETLS\r\n", false, false, RMD_OUTCOME_DEFERRED, "own:tls-unverified"}, /* in the clear */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int asked = 0; asked < 2; asked++) {
            struct world *x = world_ready();
            struct world_policy p;
            world_policy_init(&p);
            p.p.starttls = rows[i].starttls;
            p.stream.requiretls = asked;
            world_policy(x, &p);
            x->ehlo = rows[i].ehlo;
            x->sts = rows[i].verified ? enforced : NULL;
            world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
            world_run(x, 100);
            assert_int_equal(x->outcomes, 1);
            assert_int_equal(x->outcome[0].kind, asked ? rows[i].kind : RMD_OUTCOME_DELIVERED);
            assert_string_equal(x->outcome[0].rule, asked ? rows[i].rule : "code");
            assert_int_equal(world_said(x, " REQUIRETLS"), asked && i == 0);
            assert_int_equal(world_said(x, "MAIL"), !asked || i == 0); /* what it can't carry isn't offered */
            world_free(x);
        }
}

static void dsn_is_the_streams(void **state) {
    (void)state;
    for (uint32_t dsn = 0; dsn < RMD_DSN_COUNT; dsn++) {
        struct world *x = world_ready();
        struct world_policy p;
        char want[64] = "";
        world_policy_init(&p);
        p.stream.dsn = dsn;
        world_policy(x, &p);
        x->ehlo = "250-mx\r\n250 DSN\r\n";
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
        world_run(x, 100);
        if (dsn != RMD_DSN_NONE)
            (void)rmd_format(want, sizeof want, " NOTIFY=%s ORCPT=rfc822;u0@a.test\n", rmd_dsn_notify(dsn));
        assert_int_equal(world_said(x, "NOTIFY"), dsn != RMD_DSN_NONE);
        assert_true(!*want || world_said(x, want) == 1);
        assert_int_equal(world_said(x, " RET=HDRS ENVID="), dsn != RMD_DSN_NONE);
        world_free(x);
    }
}

/* A key that is replaced under its selector, and comes to lie where the one before the last was: what was signed with that
 * isn't used for it, though the messages are equal in all that is signed. */
static void another_key_signs_anew(void **state) {
    (void)state;
    static const char *const pem[] = {"-----BEGIN FAKE RSA KEY-----one", "-----BEGIN FAKE RSA KEY-----two",
                                      "-----BEGIN FAKE RSA KEY-----three"};
    struct world *x = world_ready();
    struct world_policy p;
    Remuda__DkimKey key, *keys[] = {&key};
    struct rmd_buf seen[3] = {{0}};
    world_policy_init(&p);
    remuda__dkim_key__init(&key);
    key.domain = STR("news.example.org");
    key.selector = STR("s1");
    p.stream.key = keys;
    p.stream.n_key = 1;
    p.stream.one_signature = true;
    p.stream.unsubscribe_url = p.stream.unsubscribe_mailto = STR("");
    for (int i = 0; i < 3; i++) {
        key.pem = (ProtobufCBinaryData){.len = strlen(pem[i]), .data = (uint8_t *)STR(pem[i])};
        world_policy(x, &p);
        if (i == 1)
            continue; /* nothing was signed with it */
        world_lease(x, (struct world_lease){.id = 1, .domain = "a.test", .n = 1});
        world_run(x, 60000);
        x->outcomes = 0; /* the same lease again: the same campaign */
        const char *b = strstr(rmd_buf_str(&x->sent), "\tb=");
        assert_non_null(b);
        rmd_buf_add(&seen[i], b, 300);
    }
    assert_memory_not_equal(seen[0].p, seen[2].p, 300);
    for (int i = 0; i < 3; i++)
        rmd_buf_release(&seen[i]);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_a_site_and_of_a_source),
        cmocka_unit_test(a_share_of_the_cluster_goes_back_with_the_last_lease),
        cmocka_unit_test(a_share_goes_back_from_a_busy_connection),
        cmocka_unit_test(requiretls_goes_over_verified_tls_to_who_offers_it),
        cmocka_unit_test(dsn_is_the_streams),
        cmocka_unit_test(another_key_signs_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
