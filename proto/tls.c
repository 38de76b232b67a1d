/* Names of transport security (see tls.h). */
#include "proto/tls.h"

#include <base/text.h>

const char *rmd_tls_result_name(unsigned r) {
    static const char *const name[RMD_TLS_R_COUNT] = {
#define RESULT_NAME(id, text) [RMD_TLS_R_##id] = (text),
        RMD_TLS_RESULTS(RESULT_NAME)
#undef RESULT_NAME
    };
    return r < RMD_TLS_R_COUNT ? name[r] : "";
}

const char *rmd_tls_policy_name(unsigned kind) {
    return kind == RMD_TLS_POLICY_STS ? "sts" : kind == RMD_TLS_POLICY_TLSA ? "tlsa" : "no-policy-found";
}

const char *rmd_sts_mode_name(unsigned mode) {
    return mode == RMD_STS_ENFORCE ? "enforce" : mode == RMD_STS_TESTING ? "testing" : "none";
}

const char *rmd_tls_verified_name(unsigned v) {
    static const char *const name[RMD_TLS_V_COUNT] = {"none", "encrypted", "mta-sts", "dane"};
    return v < RMD_TLS_V_COUNT ? name[v] : "";
}

/* What servers choose today; the registry has many more. */
static const struct {
    uint16_t number;
    const char *name;
} cipher[] = {
    {0x1301, "TLS_AES_128_GCM_SHA256"},
    {0x1302, "TLS_AES_256_GCM_SHA384"},
    {0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
    {0x1304, "TLS_AES_128_CCM_SHA256"},
    {0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"},
    {0xc030, "ECDHE-RSA-AES256-GCM-SHA384"},
    {0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"},
    {0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {0x009e, "DHE-RSA-AES128-GCM-SHA256"},
    {0x009f, "DHE-RSA-AES256-GCM-SHA384"},
    {0xccaa, "DHE-RSA-CHACHA20-POLY1305"},
    {0xc027, "ECDHE-RSA-AES128-SHA256"},
    {0xc028, "ECDHE-RSA-AES256-SHA384"},
    {0xc013, "ECDHE-RSA-AES128-SHA"},
    {0xc014, "ECDHE-RSA-AES256-SHA"},
    {0xc009, "ECDHE-ECDSA-AES128-SHA"},
    {0xc00a, "ECDHE-ECDSA-AES256-SHA"},
    {0xc023, "ECDHE-ECDSA-AES128-SHA256"},
    {0xc024, "ECDHE-ECDSA-AES256-SHA384"},
    {0x0067, "DHE-RSA-AES128-SHA256"},
    {0x006b, "DHE-RSA-AES256-SHA256"},
    {0x009c, "AES128-GCM-SHA256"},
    {0x009d, "AES256-GCM-SHA384"},
    {0x003c, "AES128-SHA256"},
    {0x003d, "AES256-SHA256"},
    {0x002f, "AES128-SHA"},
    {0x0035, "AES256-SHA"},
};

void rmd_tls_suite_format(uint32_t suite, char out[64]) {
    unsigned version = suite >> 16, number = suite & 0xffff;
    char head[16];
    if (version >= 0x0301 && version <= 0x0304)
        (void)rmd_format(head, sizeof head, "TLSv1.%u", version - 0x0301);
    else
        (void)rmd_format(head, sizeof head, "TLS %04x", version);
    for (size_t i = 0; i < sizeof cipher / sizeof *cipher; i++) {
        if (cipher[i].number == number) {
            (void)rmd_format(out, 64, "%s %s", head, cipher[i].name);
            return;
        }
    }
    (void)rmd_format(out, 64, "%s 0x%04X", head, number);
}
