/* CPU of rendering and signing a 10 KiB message, by what is a recipient's own in it: a value in the body, headers alone, or
 * nothing that is signed (streams: one_signature). RSA-2048, keys parsed once; beside it the bare signature.
 * sign_path [messages [KIND]]   prints one JSON object; KIND: measures that one only (for callgrind) */
#include <stdio.h>
#include <time.h>

#include <base/text.h>

#include "proto/io/sign_openssl.h"
#include "tests/kit/message_kit.h"
#include "tests/kit/sign_fake.h"

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool open_campaign(struct kit_campaign *k, bool value, bool same, const struct rmd_sign_ops *sign,
                          struct rmd_dkim_key *key) {
    static const char *const columns[] = {"name", NULL};
    struct rmd_buf eml = {0};
    rmd_buf_addstr(&eml, "From: News <news@news.example>\nSubject: News\n\n");
    for (int i = 0; i < 131; i++)
        rmd_buf_addstr(&eml, "Dear reader, this line has seventy-six characters, as many as lines do. So.\n");
    rmd_buf_addstr(&eml, value ? "Yours, {{name}}\n" : "Yours\n");
    int rc = kit_campaign_open(k, rmd_buf_slice(&eml), columns, sign);
    rmd_buf_release(&eml);
    k->stream.key = key;
    k->stream.n_keys = 1;
    k->stream.one_signature = same;
    if (same)
        k->stream.unsubscribe_url = k->stream.unsubscribe_mailto = "";
    return rc == RMD_OK;
}

static double us_a_message(struct kit_campaign *k, uint64_t n) {
    int64_t before = cpu_ns();
    for (uint64_t i = 0; i < n; i++) {
        char email[64], name[32];
        (void)rmd_format(email, sizeof email, "reader%llu@there.example", (unsigned long long)i);
        (void)rmd_format(name, sizeof name, "Reader %llu", (unsigned long long)i);
        struct rmd_slice value = rmd_slice_str(name);
        k->ordinal = i + 1;
        if (kit_campaign_render(k, email, &value, 1) != RMD_OK)
            return -1;
    }
    return (double)(cpu_ns() - before) / 1e3 / (double)n;
}

static double us_a_signature(const struct rmd_dkim_key *key, uint64_t n) {
    uint8_t digest[RMD_SHA256_BYTES] = {1}, sig[RMD_SIGNATURE_MAX];
    int64_t before = cpu_ns();
    for (uint64_t i = 0; i < n; i++) {
        size_t sig_n = sizeof sig;
        digest[0] = (uint8_t)i;
        if (rmd_sign_openssl()->sign_digest(key->handle, digest, sig, &sig_n) != RMD_OK)
            return -1;
    }
    return (double)(cpu_ns() - before) / 1e3 / (double)n;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        bool value, same;
    } kinds[] = {{"value_in_body", true, false}, {"equal_bodies", false, false}, {"all_equal", false, true}};
    uint64_t n = 2000;
    struct kit_keys keys;
    struct rmd_sign_ops without = *rmd_sign_openssl();
    without.sign_digest = rmd_sign_fake()->sign_digest;
    struct rmd_dkim_key fake = {.domain = "news.example", .selector = "rsa"};
    char err[100];
    if ((argc > 1 && rmd_parse_u64(rmd_slice_str(argv[1]), &n) != RMD_OK) || !n ||
        rmd_sign_fake()->key_load(rmd_slice_str("-----BEGIN FAKE RSA KEY-----"), &fake.handle, &fake.kind, err,
                                  sizeof err) != RMD_OK)
        return 2;
    kit_keys_make(&keys);
    printf("{\"messages\": %llu", (unsigned long long)n);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct kit_campaign k;
        if (argc > 2 && strcmp(argv[2], kinds[i].name) != 0)
            continue;
        if (!open_campaign(&k, kinds[i].value, kinds[i].same, &without, &fake))
            return 1;
        printf(", \"%s_unsigned_us\": %.2f", kinds[i].name, us_a_message(&k, n));
        kit_campaign_close(&k);
        if (argc > 2 || !open_campaign(&k, kinds[i].value, kinds[i].same, rmd_sign_openssl(), &keys.key[0]))
            continue;
        printf(", \"%s_us\": %.2f", kinds[i].name, us_a_message(&k, n));
        kit_campaign_close(&k);
    }
    printf(", \"rsa_2048_us\": %.2f}\n", argc > 2 ? 0 : us_a_signature(&keys.key[0], n));
    rmd_sign_fake()->key_free(fake.handle);
    kit_keys_release(&keys);
    return 0;
}
