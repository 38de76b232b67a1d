/* What is hashed and signed, counted through the sign port: once for all who get the same, and never for another. And keys
 * that change while mail flows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "node/core/dkim_cache.h"
#include "node/io/verify_opendkim.h"
#include "proto/io/sign_openssl.h"
#include "tests/kit/message_kit.h"

enum { ROWS = 50 };

/* --- a sign port that counts */

static size_t signatures, hashed;
static struct rmd_sign_ops counting;

static void count_update(struct rmd_sha256 *h, const void *p, size_t n) {
    hashed += n;
    rmd_sign_openssl()->sha256_update(h, p, n);
}

static int count_sign(void *key, const uint8_t digest[RMD_SHA256_BYTES], uint8_t *sig, size_t *sig_n) {
    signatures++;
    return rmd_sign_openssl()->sign_digest(key, digest, sig, sig_n);
}

static struct kit_keys keys;
static struct rmd_verifier *verifier;

static int set_up(void **state) {
    (void)state;
    counting = *rmd_sign_openssl();
    counting.sha256_update = count_update;
    counting.sign_digest = count_sign;
    kit_keys_make(&keys);
    verifier = rmd_verifier_new(kit_keys_lookup, &keys);
    return verifier ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    rmd_verifier_free(verifier);
    kit_keys_release(&keys);
    return 0;
}

static const char *const columns[] = {"v", NULL};

/* The same mail to everybody, but for To and Message-ID: with one_signature, nothing that is signed is a recipient's own. */
static const char same[] = "From: News <news@news.example>\nSubject: The same\n";
/* What is a recipient's own is signed: To and Message-ID, and the List-Unsubscribe of every stream that has a token in it. */
static const char own[] = "From: News <news@news.example>\nSubject: Personal\n";

/* A campaign with about 10 KiB of body, with {{v}} at its end or without. */
static void open_campaign(struct kit_campaign *k, const char *head, bool value, char mark) {
    bool one = head == same;
    struct rmd_buf eml = {0};
    rmd_buf_addf(&eml, "%s\n", head);
    for (int i = 0; i < 140; i++)
        rmd_buf_addf(&eml, "%c This line has seventy-six characters, as many as a line of such a mail has.\n", mark);
    rmd_buf_addstr(&eml, value ? "Dear {{v}}\n" : "The end\n");
    if (kit_campaign_open(k, rmd_buf_slice(&eml), columns, &counting) != RMD_OK)
        fail_msg("%s", k->err);
    k->stream.key = keys.key;
    k->stream.n_keys = 2;
    k->stream.one_signature = one;
    if (one)
        k->stream.unsubscribe_url = k->stream.unsubscribe_mailto = "";
    rmd_buf_release(&eml);
}

static void render_row(struct kit_campaign *k, int i) {
    char email[64], v[32];
    (void)rmd_format(email, sizeof email, "reader%d@there.example", i);
    (void)rmd_format(v, sizeof v, "value %d", i);
    struct rmd_slice value = rmd_slice_str(v);
    k->ordinal = (uint64_t)i + 1;
    if (kit_campaign_render(k, email, &value, 1) != RMD_OK)
        fail_msg("%s", k->err);
}

static void assert_passes(const struct kit_campaign *k, size_t want) {
    struct rmd_verify_result r[4];
    size_t n;
    assert_int_equal(rmd_verify_message(verifier, k->out.message, r, 4, &n), RMD_OK);
    assert_int_equal(n, want);
    for (size_t i = 0; i < n; i++)
        if (!r[i].pass)
            fail_msg("%s: %s", r[i].selector, r[i].why);
}

static void one_signature_for_all_who_get_the_same(void **state) {
    (void)state;
    struct kit_campaign k;
    open_campaign(&k, same, false, 'a');
    signatures = hashed = 0;
    for (int i = 0; i < ROWS; i++) {
        render_row(&k, i);
        assert_passes(&k, 2);
    }
    assert_int_equal(signatures, 2); /* one a key */
    k.stream.unsubscribe_url =
        "https://u.news.example/r/{token}"; /* each one's own again, and RFC 8058 wants it signed */
    for (int i = 0; i < ROWS; i++) {
        render_row(&k, i);
        assert_passes(&k, 2);
    }
    assert_int_equal(signatures, 2 + 2 * ROWS);
    kit_campaign_close(&k);
}

static void one_body_hash_for_equal_bodies(void **state) {
    (void)state;
    struct kit_campaign k;
    open_campaign(&k, own, false, 'a');
    signatures = hashed = 0;
    render_row(&k, 0);
    size_t first = hashed;
    for (int i = 1; i < ROWS; i++) {
        render_row(&k, i);
        assert_passes(&k, 2);
    }
    assert_int_equal(signatures, 2 * ROWS);
    size_t header = (hashed - first) / (ROWS - 1);
    assert_true(first - header > 10000);
    assert_true(header < 3000); /* two signatures' headers, and no body */
    kit_campaign_close(&k);
}

static void what_comes_before_the_first_value_is_hashed_once(void **state) {
    (void)state;
    struct kit_campaign k;
    open_campaign(&k, own, true, 'a');
    render_row(&k, 0);
    hashed = signatures = 0;
    for (int i = 1; i <= ROWS; i++) {
        render_row(&k, i);
        assert_passes(&k, 2);
    }
    assert_int_equal(signatures, 2 * ROWS);
    assert_true(hashed < ROWS * 3200);
    kit_campaign_close(&k);
}

/* A body with a value in it is never taken for another's, though all else is equal. */
static void another_value_is_another_signature(void **state) {
    (void)state;
    struct kit_campaign k;
    open_campaign(&k, same, true, 'a');
    signatures = 0;
    for (int i = 0; i < 10; i++) {
        render_row(&k, i);
        assert_passes(&k, 2);
    }
    assert_int_equal(signatures, 20);
    kit_campaign_close(&k);
}

/* Campaigns in turn, more than the cache holds, same, own and with values, through one renderer. */
static void campaigns_in_turn(void **state) {
    (void)state;
    enum { CAMPAIGNS = RMD_DKIM_BODIES_MAX + 4 };
    static struct kit_campaign k[CAMPAIGNS];
    struct rmd_renderer *one = NULL;
    for (int few = 1; few >= 0; few--) {
        int n = few ? 6 : CAMPAIGNS;
        for (int c = 0; c < n; c++)
            open_campaign(&k[c], c % 3 == 0 ? same : own, c % 3 == 2, (char)('a' + c));
        one = k[0].r;
        signatures = hashed = 0;
        for (int i = 0; i < 20 * n; i++) {
            struct kit_campaign *c = &k[i % n];
            struct rmd_renderer *was = c->r;
            c->r = one;
            c->stream.body_canon = i / n & 1 ? RMD_CANON_RELAXED : RMD_CANON_SIMPLE;
            render_row(c, i);
            assert_passes(c, 2);
            c->r = was;
        }
        if (few) /* 2 of the same, once for each canonical form at least; no body is hashed twice */
            assert_true(hashed < 6 * 2 * 12000 + 120 * 3200);
        for (int c = 0; c < n; c++)
            kit_campaign_close(&k[c]);
    }
}

/* A key that comes where another one was isn't taken for it. */
static void a_key_in_the_place_of_another(void **state) {
    (void)state;
    struct kit_campaign k;
    open_campaign(&k, same, false, 'a');
    struct rmd_dkim_key now = keys.key[0];
    k.stream.key = &now;
    k.stream.n_keys = 1;
    render_row(&k, 0);
    assert_passes(&k, 1);
    signatures = 0;
    render_row(&k, 1);
    assert_int_equal(signatures, 0);
    rmd_renderer_forget_keys(k.r); /* as a worker does before it frees one */
    render_row(&k, 2);
    assert_int_equal(signatures, 1);
    assert_passes(&k, 1);
    kit_campaign_close(&k);
}

/* --- rotation */

struct published { /* the records that DNS has */
    struct kit_keys *keys;
    bool old, new;
};

static int look_up(void *arg, const char *selector, const char *domain, char *out, size_t n) {
    const struct published *p = arg;
    bool is_new = strcmp(selector, "ed") == 0;
    return (is_new ? p->new : p->old) ? kit_keys_lookup(p->keys, selector, domain, out, n) : RMD_ENOTFOUND;
}

static bool some_signature_passes(struct rmd_slice message, struct published dns) {
    struct rmd_verifier *v = rmd_verifier_new(look_up, &dns);
    struct rmd_verify_result r[4];
    size_t n, pass = 0;
    int rc = rmd_verify_message(v, message, r, 4, &n);
    for (size_t i = 0; rc == RMD_OK && i < n; i++)
        pass += r[i].pass;
    rmd_verifier_free(v);
    return pass > 0;
}

/* Old key; both; new key: at each step a mail that was signed before, and is read only now, still has a signature that
 * DNS knows, by either way of rotating. */
static void a_rotation_loses_no_signature(void **state) {
    (void)state;
    static const struct {
        size_t first_key, n_keys; /* that sign: 0 is the old one */
        bool old, new;            /* in DNS while mails signed so may still be read */
    } steps[] = {
        {0, 1, true, false}, /* before */
        {0, 1, true, true},  /* the new one is published */
        {0, 2, true, true},  /* both sign: needn't be, and costs a signature more */
        {1, 1, true, true},  /* the new one alone signs */
        {1, 1, false, true}, /* the old one is withdrawn, when what it signed was read */
    };
    enum { STEPS = sizeof steps / sizeof *steps };
    struct kit_campaign k[STEPS];
    for (size_t i = 0; i < STEPS; i++) {
        open_campaign(&k[i], same, false, 'a');
        k[i].stream.key = keys.key + steps[i].first_key;
        k[i].stream.n_keys = steps[i].n_keys;
        render_row(&k[i], (int)i);
        for (size_t later = i; later < STEPS && later <= i + 2;
             later++) /* what was sent is read two steps later at most */
            assert_true(some_signature_passes(k[i].out.message,
                                              (struct published){&keys, steps[later].old, steps[later].new}));
        kit_campaign_close(&k[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_signature_for_all_who_get_the_same),
        cmocka_unit_test(one_body_hash_for_equal_bodies),
        cmocka_unit_test(what_comes_before_the_first_value_is_hashed_once),
        cmocka_unit_test(another_value_is_another_signature),
        cmocka_unit_test(campaigns_in_turn),
        cmocka_unit_test(a_key_in_the_place_of_another),
        cmocka_unit_test(a_rotation_loses_no_signature),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
