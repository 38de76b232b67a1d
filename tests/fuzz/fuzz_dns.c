/* Raw DNS answers. The question is taken out of the message where it can be, so that the fuzzer gets behind it. */
#include <assert.h>

#include <base/text.h>

#include "proto/io/dns_message.h"

static void check(const struct rmd_dns_reply *r) {
    assert(r->n_mx >= 0 && r->n_mx <= RMD_DNS_MX_MAX && r->n_addr >= 0 && r->n_addr <= RMD_DNS_ADDR_MAX);
    assert(r->n_txt >= 0 && r->n_txt <= RMD_DNS_TXT_MAX);
    for (int i = 0; i < r->n_txt; i++)
        assert(memchr(r->txt[i], 0, sizeof r->txt[i]));
    assert(r->n_tlsa >= 0 && r->n_tlsa <= RMD_DNS_TLSA_MAX && r->tlsa_bytes <= RMD_DNS_TLSA_BYTES);
    for (int i = 0; i < r->n_tlsa; i++)
        assert(r->tlsa[i].n && r->tlsa[i].at + r->tlsa[i].n <= r->tlsa_bytes);
    assert((r->status == RMD_DNS_OK) == (r->n_mx + r->n_addr + r->n_txt + r->n_tlsa + r->tlsa_lost > 0));
    assert((r->status == RMD_DNS_TEMPFAIL) == (r->detail[0] != 0));
    assert(!r->alias[0] || (r->status == RMD_DNS_NODATA && rmd_dns_name_ok(r->alias)));
    for (int i = 0; i < r->n_mx; i++) {
        assert(r->n_mx == 1 || r->mx[i].host[0]);
        assert(!r->mx[i].host[0] || rmd_dns_name_ok(r->mx[i].host));
        assert(!i || r->mx[i - 1].preference <= r->mx[i].preference);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char name[RMD_DOMAIN_MAX + 1] = "";
    size_t len = 0;
    for (size_t at = 12;
         at < n && data[at] && data[at] < 64 && at + data[at] < n && len + data[at] + 1 < sizeof name;) {
        if (len)
            name[len++] = '.';
        for (size_t i = 0; i < data[at]; i++)
            name[len++] = rmd_lower((char)data[at + 1 + i]);
        at += data[at] + 1u;
    }
    name[len] = 0;
    static const uint16_t types[] = {RMD_DNS_TYPE_MX, RMD_DNS_TYPE_A, RMD_DNS_TYPE_AAAA, RMD_DNS_TYPE_TXT,
                                     RMD_DNS_TYPE_TLSA};
    for (int i = 0; i < 5; i++) {
        struct rmd_dns_reply r;
        rmd_dns_reply_parse(rmd_slice(data, n), name, types[i], &r);
        check(&r);
    }
    return 0;
}
