/* MTA-STS (RFC 8461): the TXT record that names a policy, the policy's text, and which MX hosts it allows. Pure. */
#ifndef REMUDA_NODE_MTA_STS_H
#define REMUDA_NODE_MTA_STS_H

#include <base/buf.h>
#include <remuda/dns.h>

#include "proto/tls.h"

enum {
    RMD_STS_ID_MAX = 32,
    RMD_STS_BODY_MAX = 64 << 10, /* RFC 8461, section 3.3, suggests it */
    RMD_STS_MX_BYTES = 4096,     /* all patterns together; more is no policy of ours */
    RMD_STS_MAX_AGE_S = 31557600,
    RMD_STS_WHY = 96,
};

struct rmd_sts_policy {
    enum rmd_sts_mode mode;
    int64_t max_age_s;
    char id[RMD_STS_ID_MAX + 1]; /* of the record that led to it */
    uint16_t mx_n;
    char mx[]; /* patterns in lower case, a "\n" behind each, then a 0 */
};

/* RMD_OK; RMD_ENOTFOUND: no such record, or several; RMD_EFORMAT: one, and it is malformed. */
int rmd_sts_record(const struct rmd_txt_answer *txt, char id[RMD_STS_ID_MAX + 1]) RMD_CHECKED;
/* The caller frees *out. RMD_EFORMAT with why. */
int rmd_sts_parse(struct rmd_slice body, struct rmd_sts_policy **out, char why[RMD_STS_WHY]) RMD_CHECKED;
struct rmd_sts_policy *rmd_sts_dup(const struct rmd_sts_policy *p); /* NULL of NULL */
/* Section 4.1: "*.example.com" stands for exactly one label. host: in lower case or not, without a trailing dot. */
bool rmd_sts_match(const struct rmd_sts_policy *p, const char *host);
/* The policy as text again, as it is kept on disk and told in reports. */
void rmd_sts_text(const struct rmd_sts_policy *p, struct rmd_buf *out);

#endif
