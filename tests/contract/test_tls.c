/* The TLS client against OpenSSL's server, over a socket pair in one thread: what is verified, what a failure is called,
 * which sessions are resumed. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <base/text.h>

#include "node/io/tls.h"

#define HOST "mx.receiver.example"

struct certificate {
    EVP_PKEY *key;
    X509 *cert;
};

static struct certificate ca, good, expired, wrong, own; /* own: signed by itself */
static char ca_file[] = "/tmp/remuda-test-ca-XXXXXX";

static void extend(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

static struct certificate issue(const struct certificate *by, const char *name, const char *san, bool past) {
    static long serial = 1;
    struct certificate c = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    X509_set_version(c.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c.cert), -3 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(c.cert), past ? -86400 : 86400);
    X509_set_pubkey(c.cert, c.key);
    X509_NAME *subject = X509_get_subject_name(c.cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(c.cert, by ? X509_get_subject_name(by->cert) : subject);
    if (san)
        extend(c.cert, by ? by->cert : c.cert, NID_subject_alt_name, san);
    else
        extend(c.cert, c.cert, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(c.cert, by ? by->key : c.key, EVP_sha256()) > 0);
    return c;
}

static int make_certificates(void **state) {
    (void)state;
    ca = issue(NULL, "Test CA", NULL, false);
    good = issue(&ca, "good", "DNS:" HOST ",DNS:*.wild.example", false);
    expired = issue(&ca, "expired", "DNS:" HOST, true);
    wrong = issue(&ca, HOST, "DNS:mx.elsewhere.example,DNS:receiver.example", false); /* the subject doesn't count */
    own = issue(NULL, "own", "DNS:" HOST, false);
    int fd = mkstemp(ca_file);
    FILE *f = fdopen(fd, "w");
    PEM_write_X509(f, ca.cert);
    return fclose(f);
}

static void certificate_free(struct certificate *c) {
    EVP_PKEY_free(c->key);
    X509_free(c->cert);
}

static int free_certificates(void **state) {
    (void)state;
    struct certificate *all[] = {&ca, &good, &expired, &wrong, &own};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        certificate_free(all[i]);
    unlink(ca_file);
    return 0;
}

/* --- one session */

struct met {
    int rc;
    struct rmd_tls_info info;
    char text[160], sni[64];
};

static SSL_CTX *server_context(const struct certificate *c, int version) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(ctx, c->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, c->key), 1);
    SSL_CTX_add1_chain_cert(ctx, ca.cert);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    return ctx;
}

/* Handshake, then a byte each way, so that tickets arrive. */
static struct met meet(struct rmd_tls_context *client, SSL_CTX *server, const char *source,
                       const struct rmd_tls_spec *spec) {
    struct met m = {.rc = RMD_EAGAIN};
    int fd[2];
    struct rmd_addr from;
    char byte = 'x';
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    assert_int_equal(rmd_addr_parse(source, &from), RMD_OK);
    SSL *s = SSL_new(server);
    SSL_set_fd(s, fd[1]);
    struct rmd_tls *t = rmd_tls_new(client, fd[0], &from, spec);
    assert_non_null(t);
    for (int i = 0; i < 20 && m.rc == RMD_EAGAIN; i++) {
        m.rc = rmd_tls_handshake(t, &m.info, m.text, sizeof m.text);
        SSL_accept(s);
    }
    if (m.rc == RMD_OK) {
        char text[160];
        const char *name = SSL_get_servername(s, TLSEXT_NAMETYPE_host_name);
        (void)rmd_copy(m.sni, sizeof m.sni, name ? name : ""); /* a resumed session of TLS 1.2 has none */
        SSL_accept(s);
        assert_int_equal(SSL_write(s, &byte, 1), 1);
        assert_int_equal(rmd_tls_read(t, &byte, 1, text, sizeof text), 1);
        SSL_shutdown(s); /* as receivers do after QUIT: they close first */
        assert_int_equal(rmd_tls_read(t, &byte, 1, text, sizeof text), 0);
    }
    rmd_tls_free(t, false);
    SSL_free(s);
    close(fd[0]);
    close(fd[1]);
    return m;
}

static struct rmd_tls_context *client(void) {
    char err[200];
    struct rmd_tls_context *c = rmd_tls_context_new(ca_file, err, sizeof err);
    assert_non_null(c);
    return c;
}

/* --- records */

static void add_record(struct rmd_tlsa_answer *a, int usage, int selector, int matching,
                       const struct certificate *c) {
    unsigned char *der = NULL;
    int n = selector ? i2d_PUBKEY(c->key, &der) : i2d_X509(c->cert, &der);
    uint8_t digest[64];
    size_t at = 0, len = (size_t)n;
    const uint8_t *data = der;
    for (int i = 0; i < a->n; i++)
        at = a->tlsa[i].at + a->tlsa[i].n;
    if (matching) {
        unsigned out = 0;
        assert_int_equal(EVP_Digest(der, (size_t)n, digest, &out, matching == 1 ? EVP_sha256() : EVP_sha512(), NULL),
                         1);
        data = digest;
        len = out;
    }
    a->status = RMD_DNS_OK;
    a->secure = true;
    a->tlsa[a->n++] =
        (struct rmd_tlsa){(uint8_t)usage, (uint8_t)selector, (uint8_t)matching, (uint16_t)at, (uint16_t)len};
    memcpy(a->data + at, data, len);
    OPENSSL_free(der);
}

static void pkix_looks_at_chain_date_and_name(void **state) {
    (void)state;
    static const struct {
        const struct certificate *c;
        const char *host;
        enum rmd_tls_result result;
    } row[] = {
        {&good, HOST, RMD_TLS_R_OK},
        {&good, "a.wild.example", RMD_TLS_R_OK},
        {&good, "a.b.wild.example", RMD_TLS_R_CERTIFICATE_HOST_MISMATCH},
        {&expired, HOST, RMD_TLS_R_CERTIFICATE_EXPIRED},
        {&wrong, HOST, RMD_TLS_R_CERTIFICATE_HOST_MISMATCH},
        {&own, HOST, RMD_TLS_R_CERTIFICATE_NOT_TRUSTED},
    };
    struct rmd_tls_context *c = client();
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        SSL_CTX *s = server_context(row[i].c, TLS1_3_VERSION);
        struct rmd_tls_spec must = {.level = RMD_TLS_L_PKIX, .host = row[i].host, .domain = ""};
        struct met m = meet(c, s, "192.0.2.1", &must);
        bool ok = row[i].result == RMD_TLS_R_OK;
        assert_int_equal(m.info.result, row[i].result);
        assert_int_equal(m.rc, ok ? RMD_OK : RMD_EIO);
        assert_int_equal(m.info.verified, ok ? RMD_TLS_V_PKIX : RMD_TLS_V_ENCRYPTED);
        if (ok)
            assert_string_equal(m.sni, row[i].host);
        /* in mode testing the same is found, and nothing comes of it */
        struct rmd_tls_spec look = {.level = RMD_TLS_L_MAY, .check = true, .host = row[i].host, .domain = ""};
        m = meet(c, s, "192.0.2.2", &look);
        assert_int_equal(m.rc, RMD_OK);
        assert_int_equal(m.info.result, row[i].result);
        /* and nobody who doesn't ask cares */
        struct rmd_tls_spec may = {.level = RMD_TLS_L_MAY, .host = row[i].host, .domain = ""};
        m = meet(c, s, "192.0.2.3", &may);
        assert_int_equal(m.rc, RMD_OK);
        assert_int_equal(m.info.result, RMD_TLS_R_OK);
        assert_int_equal(m.info.verified, RMD_TLS_V_ENCRYPTED);
        assert_int_equal(m.info.suite >> 16, 0x0304);
        SSL_CTX_free(s);
    }
    rmd_tls_context_free(c);
}

static void dane_follows_the_records(void **state) {
    (void)state;
    static const struct {
        const struct certificate *server, *record;
        int usage, selector, matching;
        const char *domain;
        bool ok;
    } row[] = {
        {&good, &good, 3, 1, 1, "", true},
        {&good, &good, 3, 0, 1, "", true},
        {&good, &good, 3, 1, 2, "", true},
        {&good, &good, 3, 0, 0, "", true},
        {&own, &own, 3, 1, 1, "", true},
        {&expired, &expired, 3, 1, 1, "", true},
        {&wrong, &wrong, 3, 1, 1, "", true},
        {&own, &good, 3, 1, 1, "", false},
        {&good, &ca, 2, 0, 1, "", true},
        {&good, &ca, 2, 1, 1, "", true},
        {&expired, &ca, 2, 0, 1, "", false},
        {&wrong, &ca, 2, 0, 1, "", false},
        {&wrong, &ca, 2, 0, 1, "receiver.example",
         true}, /* the domain's name does as well (RFC 7672, section 3.2.2) */
        {&own, &ca, 2, 0, 1, "", false},
        {&good, &own, 2, 0, 1, "", false},
    };
    struct rmd_tls_context *c = client();
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct rmd_tlsa_answer a = {0};
        SSL_CTX *s = server_context(row[i].server, TLS1_3_VERSION);
        add_record(&a, row[i].usage, row[i].selector, row[i].matching, row[i].record);
        struct rmd_tls_spec spec = {.level = RMD_TLS_L_DANE, .host = HOST, .domain = row[i].domain, .tlsa = &a};
        struct met m = meet(c, s, "192.0.2.1", &spec);
        assert_int_equal(m.rc, row[i].ok ? RMD_OK : RMD_EIO);
        assert_int_equal(m.info.verified, row[i].ok ? RMD_TLS_V_DANE : RMD_TLS_V_ENCRYPTED);
        assert_int_equal(m.info.result == RMD_TLS_R_OK, row[i].ok);
        SSL_CTX_free(s);
    }
    rmd_tls_context_free(c);
}

static void records_that_cannot_be_read_trust_nobody(void **state) {
    (void)state;
    char err[200];
    struct rmd_tlsa_answer a = {.status = RMD_DNS_OK, .secure = true, .n = 1};
    a.tlsa[0] = (struct rmd_tlsa){.usage = 3, .selector = 1, .matching = 0, .n = 7}; /* no key */
    struct rmd_tls_context *c = client();
    struct rmd_addr from = {.family = 4};
    struct rmd_tls_spec spec = {.level = RMD_TLS_L_DANE, .host = HOST, .domain = "", .tlsa = &a};
    assert_null(rmd_tls_new(c, -1, &from, &spec));
    rmd_tls_context_free(c);
    assert_null(rmd_tls_context_new("/nowhere/ca.pem", err, sizeof err));
    assert_non_null(strstr(err, "/nowhere/ca.pem"));
}

static void sessions_are_resumed_where_all_is_equal(void **state) {
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < 2; v++) {
        struct rmd_tlsa_answer a = {0}, other = {0};
        struct rmd_tls_context *c = client();
        SSL_CTX *s = server_context(&good, versions[v]);
        add_record(&a, 3, 1, 1, &good);
        add_record(&other, 3, 1, 1, &good);
        add_record(&other, 3, 1, 1, &own);
        struct rmd_tls_spec may = {.level = RMD_TLS_L_MAY, .host = HOST, .domain = ""},
                            elsewhere = {.level = RMD_TLS_L_MAY, .host = "mx2.receiver.example", .domain = ""},
                            pkix = {.level = RMD_TLS_L_PKIX, .host = HOST, .domain = ""},
                            dane = {.level = RMD_TLS_L_DANE, .host = HOST, .domain = "", .tlsa = &a},
                            changed = {.level = RMD_TLS_L_DANE, .host = HOST, .domain = "", .tlsa = &other};
        const struct {
            const struct rmd_tls_spec *spec;
            const char *source;
            bool resumed;
        } row[] = {
            {&may, "192.0.2.1", false},     {&may, "192.0.2.1", true},        {&may, "192.0.2.2", false},
            {&may, "192.0.2.2", true},      {&elsewhere, "192.0.2.1", false}, {&pkix, "192.0.2.1", false},
            {&pkix, "192.0.2.1", true},     {&dane, "192.0.2.1", false},      {&dane, "192.0.2.1", true},
            {&changed, "192.0.2.1", false}, {&may, "192.0.2.1", true},
        };
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            struct met m = meet(c, s, row[i].source, row[i].spec);
            assert_int_equal(m.rc, RMD_OK);
            assert_int_equal(m.info.resumed, row[i].resumed);
            assert_int_equal(m.info.verified, row[i].spec->level == RMD_TLS_L_DANE   ? RMD_TLS_V_DANE
                                              : row[i].spec->level == RMD_TLS_L_PKIX ? RMD_TLS_V_PKIX
                                                                                     : RMD_TLS_V_ENCRYPTED);
        }
        SSL_CTX_free(s);
        rmd_tls_context_free(c);
    }
}

static void a_failure_is_not_resumed(void **state) {
    (void)state;
    struct rmd_tls_context *c = client();
    struct rmd_tls_spec look = {.level = RMD_TLS_L_MAY, .check = true, .host = HOST, .domain = ""};
    SSL_CTX *s = server_context(&expired, TLS1_3_VERSION);
    assert_int_equal(meet(c, s, "192.0.2.1", &look).info.result, RMD_TLS_R_CERTIFICATE_EXPIRED);
    assert_int_equal(SSL_CTX_use_certificate(s, good.cert), 1); /* mended */
    assert_int_equal(SSL_CTX_use_PrivateKey(s, good.key), 1);
    struct met m = meet(c, s, "192.0.2.1", &look);
    assert_int_equal(m.info.result, RMD_TLS_R_OK);
    assert_int_equal(m.info.verified, RMD_TLS_V_PKIX);
    SSL_CTX_free(s);
    rmd_tls_context_free(c);
}

static void old_versions_are_refused(void **state) {
    (void)state;
    struct rmd_tls_context *c = client();
    struct rmd_tls_spec may = {.level = RMD_TLS_L_MAY, .host = HOST, .domain = ""};
    SSL_CTX *s = server_context(&good, TLS1_1_VERSION);
    SSL_CTX_set_security_level(s, 0);
    struct met m = meet(c, s, "192.0.2.1", &may);
    assert_int_equal(m.rc, RMD_EIO);
    assert_int_equal(m.info.suite, 0);
    assert_int_equal(m.info.result, RMD_TLS_R_VALIDATION_FAILURE);
    SSL_CTX_free(s);
    rmd_tls_context_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pkix_looks_at_chain_date_and_name),
        cmocka_unit_test(dane_follows_the_records),
        cmocka_unit_test(records_that_cannot_be_read_trust_nobody),
        cmocka_unit_test(sessions_are_resumed_where_all_is_equal),
        cmocka_unit_test(a_failure_is_not_resumed),
        cmocka_unit_test(old_versions_are_refused),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
