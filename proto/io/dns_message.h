/* Reader of a raw DNS answer (RFC 1035, 2181, 2308, 6698): MX, A, AAAA, TXT and TLSA with the times to live that c-ares 1.18 doesn't
 * hand out. Pure.
 *
 * Everything is bounded: names by RFC 1035's 255 octets and by compression pointers that must go backwards, records
 * by the message's own length, CNAME chains by RMD_DNS_CHAIN_MAX. Records that don't belong to the question or to its
 * CNAME chain are passed over; so are MX hosts that are no host names. */
#ifndef REMUDA_DNS_MESSAGE_H
#define REMUDA_DNS_MESSAGE_H

#include <remuda/dns.h>

enum {
    RMD_DNS_TYPE_A = 1,
    RMD_DNS_TYPE_CNAME = 5,
    RMD_DNS_TYPE_SOA = 6,
    RMD_DNS_TYPE_MX = 15,
    RMD_DNS_TYPE_TXT = 16,
    RMD_DNS_TYPE_AAAA = 28,
    RMD_DNS_TYPE_TLSA = 52
};
enum { RMD_DNS_CHAIN_MAX = 8, RMD_DNS_RECORDS_MAX = 1024 };

struct rmd_dns_reply {
    enum rmd_dns_status status;
    bool secure;    /* the AD bit, of an answer that isn't TEMPFAIL; whether to trust it is the caller's to know */
    bool has_ttl;   /* false: a negative answer without a SOA */
    uint32_t ttl_s; /* least of all records used; negative: least of the SOA's TTL and its MINIMUM */
    char alias[RMD_DOMAIN_MAX +
               1]; /* where a CNAME chain leaves the message: ask again there; "" when it doesn't. status is NODATA */
    int n_mx, n_addr, n_txt, n_tlsa;
    int tlsa_lost; /* TLSA records that didn't fit */
    size_t tlsa_bytes;
    struct rmd_mx mx[RMD_DNS_MX_MAX]; /* best first; of more than fit the best stay */
    struct rmd_addr addr[RMD_DNS_ADDR_MAX];
    char txt[RMD_DNS_TXT_MAX][RMD_DNS_TXT_BYTES]; /* printable ASCII */
    struct rmd_tlsa tlsa[RMD_DNS_TLSA_MAX];
    uint8_t tlsa_data[RMD_DNS_TLSA_BYTES];
    char detail[96]; /* TEMPFAIL: why */
};

/* name: in lower case, without a trailing dot; type: A, AAAA, MX, TXT or TLSA. Never fails: what can't be read is TEMPFAIL with
 * detail. */
void rmd_dns_reply_parse(struct rmd_slice message, const char *name, uint16_t type, struct rmd_dns_reply *out);

/* Letters, digits, "-" and "_" in labels of 1 to 63, 253 in all, no trailing dot. */
bool rmd_dns_name_ok(const char *name);

#endif
