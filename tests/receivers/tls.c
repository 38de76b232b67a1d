/* STARTTLS with OpenSSL. Without tls_cert and tls_key a self-signed certificate is made at start. */
#include "tests/receivers/receivers.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

enum { CERT_DAYS = 30 };

static int self_signed(SSL_CTX *ctx, const char *host) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    int ok = key && cert;
    if (ok) {
        X509_NAME *name = X509_get_subject_name(cert);
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
        X509_gmtime_adj(X509_getm_notAfter(cert), CERT_DAYS * 86400L);
        ok = X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1, 0) &&
             X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
             X509_sign(cert, key, EVP_sha256()) > 0 && SSL_CTX_use_certificate(ctx, cert) == 1 &&
             SSL_CTX_use_PrivateKey(ctx, key) == 1;
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok ? RMD_OK : RMD_EIO;
}

int rmd_rcv_tls_init(struct rmd_rcv *r, char *err, size_t err_n) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int rc = ctx ? RMD_OK : RMD_EIO;
    if (!rc) {
        SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"remuda", 6);
        if (!r->tls_cert && !r->tls_key)
            rc = self_signed(ctx, r->providers[0]->host);
        else if (!r->tls_cert || !r->tls_key || SSL_CTX_use_certificate_chain_file(ctx, r->tls_cert) != 1 ||
                 SSL_CTX_use_PrivateKey_file(ctx, r->tls_key, SSL_FILETYPE_PEM) != 1)
            rc = RMD_EIO;
    }
    if (rc) {
        (void)rmd_format(err, err_n, "tls_cert %s, tls_key %s: %s", r->tls_cert ? r->tls_cert : "(none)",
                         r->tls_key ? r->tls_key : "(none)", ERR_reason_error_string(ERR_peek_last_error()));
        SSL_CTX_free(ctx);
        return rc;
    }
    r->tls = ctx;
    return RMD_OK;
}

void rmd_rcv_tls_release(struct rmd_rcv *r) {
    SSL_CTX_free(r->tls);
}

int rmd_rcv_tls_start(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    SSL *ssl = SSL_new(r->tls);
    if (!ssl || SSL_set_fd(ssl, c->watch.fd) != 1) {
        SSL_free(ssl);
        return RMD_EIO;
    }
    SSL_set_accept_state(ssl);
    c->ssl = ssl;
    return RMD_OK;
}

void rmd_rcv_tls_free(struct rmd_rcv_conn *c) {
    if (c->ssl && SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
    ERR_clear_error();
}

int rmd_rcv_tls_handshake(struct rmd_rcv *r, struct rmd_rcv_conn *c) {
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl), e = SSL_get_error(c->ssl, n);
    struct rmd_buf *b;
    if (n == 1) {
        b = rmd_rcv_line(r, c, "tls");
        rmd_rcv_json_cstr(b, "version", SSL_get_version(c->ssl));
        rmd_rcv_json_cstr(b, "cipher", SSL_get_cipher_name(c->ssl));
        rmd_rcv_json_bool(b, "resumed", SSL_session_reused(c->ssl) == 1);
        rmd_rcv_line_end(r);
        c->provider->n_tls++;
        c->handshake_wants_write = false;
        return 1;
    }
    c->handshake_wants_write = e == SSL_ERROR_WANT_WRITE;
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return 0;
    b = rmd_rcv_line(r, c, "tls");
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    rmd_rcv_json_cstr(b, "text", why ? why : "the peer closed during the handshake");
    rmd_rcv_json_bool(b, "failed", true);
    rmd_rcv_line_end(r);
    ERR_clear_error();
    return -1;
}

static ssize_t outcome(struct rmd_rcv_conn *c, int n) {
    if (n > 0)
        return n;
    int e = SSL_get_error(c->ssl, n);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return -1;
    return e == SSL_ERROR_ZERO_RETURN ? 0 : -2;
}

ssize_t rmd_rcv_tls_read(struct rmd_rcv_conn *c, void *p, size_t n) {
    ERR_clear_error();
    return outcome(c, SSL_read(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n));
}

ssize_t rmd_rcv_tls_write(struct rmd_rcv_conn *c, const void *p, size_t n) {
    ERR_clear_error();
    return outcome(c, SSL_write(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n));
}
