/* Words of transport security that both programs use: what became of a TLS session (result types of RFC 8460, section
 * 4.3), by which policy it was judged, how the peer was verified, and the names of protocol versions and cipher suites.
 * Pure. */
#ifndef REMUDA_PROTO_TLS_H
#define REMUDA_PROTO_TLS_H

#include <remuda/types.h>

#define RMD_TLS_RESULTS(X)                                    \
    X(OK, "")                                                 \
    X(STARTTLS_NOT_SUPPORTED, "starttls-not-supported")       \
    X(CERTIFICATE_HOST_MISMATCH, "certificate-host-mismatch") \
    X(CERTIFICATE_EXPIRED, "certificate-expired")             \
    X(CERTIFICATE_NOT_TRUSTED, "certificate-not-trusted")     \
    X(VALIDATION_FAILURE, "validation-failure")               \
    X(TLSA_INVALID, "tlsa-invalid")                           \
    X(DNSSEC_INVALID, "dnssec-invalid")                       \
    X(DANE_REQUIRED, "dane-required")                         \
    X(STS_POLICY_FETCH_ERROR, "sts-policy-fetch-error")       \
    X(STS_POLICY_INVALID, "sts-policy-invalid")               \
    X(STS_WEBPKI_INVALID, "sts-webpki-invalid")
enum rmd_tls_result {
#define RMD_TLS_RESULT_ENUM(id, name) RMD_TLS_R_##id,
    RMD_TLS_RESULTS(RMD_TLS_RESULT_ENUM)
#undef RMD_TLS_RESULT_ENUM
        RMD_TLS_R_COUNT
};

/* RFC 8460, section 4.4: policy-type. */
enum rmd_tls_policy_kind { RMD_TLS_POLICY_NONE, RMD_TLS_POLICY_STS, RMD_TLS_POLICY_TLSA, RMD_TLS_POLICY_COUNT };

enum rmd_sts_mode { RMD_STS_NONE, RMD_STS_TESTING, RMD_STS_ENFORCE, RMD_STS_MODE_COUNT };

/* How sure it is with whom we spoke. */
enum rmd_tls_verified {
    RMD_TLS_V_PLAIN,     /* no TLS */
    RMD_TLS_V_ENCRYPTED, /* nobody was asked who he is */
    RMD_TLS_V_PKIX,      /* certificate and name, as MTA-STS asks */
    RMD_TLS_V_DANE,      /* a secure TLSA record */
    RMD_TLS_V_COUNT
};

/* What a handshake came to. */
struct rmd_tls_info {
    uint32_t suite; /* rmd_tls_suite(); 0: there was none */
    enum rmd_tls_verified verified;
    enum rmd_tls_result result; /* of the check that was asked for, or why the handshake failed */
    bool resumed;
};

const char *rmd_tls_result_name(unsigned r);    /* "" for OK and unknown ones */
const char *rmd_tls_policy_name(unsigned kind); /* "no-policy-found", "sts", "tlsa" */
const char *rmd_sts_mode_name(unsigned mode);   /* "none", "testing", "enforce" */
const char *rmd_tls_verified_name(unsigned v);  /* "none", "encrypted", "mta-sts", "dane" */

/* A session's protocol version (0x0303: TLS 1.2) and cipher suite (IANA's number) in one number; 0: no TLS. */
static inline uint32_t rmd_tls_suite(unsigned version, unsigned cipher) {
    return (version & 0xffff) << 16 | (cipher & 0xffff);
}
/* "TLSv1.3 TLS_AES_256_GCM_SHA384"; a suite that isn't known as its number. */
void rmd_tls_suite_format(uint32_t suite, char out[64]);

#endif
