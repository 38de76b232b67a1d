/* See tls.h. */
#include "node/io/tls.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <base/coll.h>
#include <base/text.h>

struct session {
    struct rmd_list lru;
    SSL_SESSION *session;
    char *key;
};

struct rmd_tls_context {
    SSL_CTX *open;           /* verifies nothing: a weak certificate is still better than none at all */
    SSL_CTX *checked;        /* PKIX and DANE */
    struct rmd_map sessions; /* key -> struct session */
    struct rmd_list lru;     /* oldest first */
};

struct rmd_tls {
    struct rmd_tls_context *context;
    SSL *ssl;
    char *key;
    enum rmd_tls_level level;
    bool check, verifies; /* verifies: the result of the verification counts, or is reported */
    bool wants_write, failed;
    bool bad; /* the protocol was broken, or the peer isn't who he must be: its session is worth nothing */
};

/* ---------------------------------------------------------------- sessions */

static void session_free(struct rmd_tls_context *c, struct session *s) {
    rmd_map_remove(&c->sessions, rmd_slice_str(s->key));
    rmd_list_remove(&s->lru);
    SSL_SESSION_free(s->session);
    free(s->key);
    free(s);
}

/* A ticket came (in TLS 1.3 after the handshake). Returns 1: the session is ours now. */
static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct rmd_tls *t = SSL_get_app_data(ssl);
    struct rmd_tls_context *c = t->context;
    if (t->verifies && SSL_get_verify_result(ssl) != X509_V_OK)
        return 0; /* it would say so again when the certificate is mended */
    struct session *s = rmd_map_get_str(&c->sessions, t->key);
    if (s) {
        SSL_SESSION_free(s->session);
        rmd_list_remove(&s->lru);
    } else {
        if (c->sessions.n >= RMD_TLS_SESSIONS_MAX)
            session_free(c, rmd_container(c->lru.next, struct session, lru));
        s = rmd_alloc(sizeof *s);
        s->key = rmd_strdup(t->key);
        rmd_map_set(&c->sessions, rmd_slice_str(s->key), s);
    }
    s->session = session;
    rmd_list_push(&c->lru, &s->lru);
    return 1;
}

/* Verification never ends a handshake by itself: its result is read afterwards, so that it can be told apart. */
static SSL_CTX *client_context(int security_level) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_security_level(ctx, security_level);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return ctx;
}

struct rmd_tls_context *rmd_tls_context_new(const char *ca_file, char *err, size_t err_n) {
    struct rmd_tls_context *c = rmd_alloc(sizeof *c);
    rmd_list_init(&c->lru);
    c->open = client_context(0);
    c->checked = client_context(1);
    if (!c->open || !c->checked || SSL_CTX_dane_enable(c->checked) != 1) {
        (void)rmd_format(err, err_n, "OpenSSL has no TLS client");
        rmd_tls_context_free(c);
        return NULL;
    }
    int rc = *ca_file ? SSL_CTX_load_verify_locations(c->checked, ca_file, NULL)
                      : SSL_CTX_set_default_verify_paths(c->checked);
    if (rc != 1 && *ca_file) {
        (void)rmd_format(err, err_n, "tls.ca_file: %s: can't be read, or holds no certificate in PEM", ca_file);
        rmd_tls_context_free(c);
        return NULL;
    }
    ERR_clear_error();
    return c;
}

void rmd_tls_context_free(struct rmd_tls_context *c) {
    if (!c)
        return;
    while (!rmd_list_empty(&c->lru))
        session_free(c, rmd_container(c->lru.next, struct session, lru));
    rmd_map_release(&c->sessions);
    SSL_CTX_free(c->open);
    SSL_CTX_free(c->checked);
    free(c);
}

/* ---------------------------------------------------------------- one connection */

/* What a session must have in common with one that is resumed. */
static char *session_key(const struct rmd_addr *source, const struct rmd_tls_spec *spec, bool verifies) {
    char from[48];
    struct rmd_buf key = {0};
    rmd_addr_format(source, from);
    rmd_buf_addf(&key, "%s|%s", from, spec->host);
    if (verifies && spec->level == RMD_TLS_L_DANE) {
        rmd_buf_addf(&key, "|dane %s", spec->domain);
        for (int i = 0; i < spec->tlsa->n; i++) {
            const struct rmd_tlsa *r = &spec->tlsa->tlsa[i];
            rmd_buf_addf(&key, " %u %u %u ", r->usage, r->selector, r->matching);
            for (unsigned k = 0; k < r->n; k++)
                rmd_buf_addf(&key, "%02x", spec->tlsa->data[r->at + k]);
        }
    } else if (verifies) {
        rmd_buf_addstr(&key, "|pkix");
    }
    return (char *)rmd_buf_take(&key, NULL);
}

static bool set_up_dane(SSL *ssl, const struct rmd_tls_spec *spec) {
    int usable = 0;
    if (SSL_dane_enable(ssl, spec->host) != 1)
        return false;
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* RFC 7672, section 3.1.1 */
    if (spec->domain && *spec->domain && SSL_add1_host(ssl, spec->domain) != 1)
        return false;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (int i = 0; i < spec->tlsa->n; i++) {
        const struct rmd_tlsa *r = &spec->tlsa->tlsa[i];
        if (rmd_tlsa_usable(r))
            usable += SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, spec->tlsa->data + r->at, r->n) == 1;
    }
    return usable > 0; /* records that OpenSSL can't read are no reason to trust anybody */
}

static bool set_up_pkix(SSL *ssl, const char *host) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, host) == 1; /* RFC 8461, section 4.1: a DNS-ID, never the subject */
}

struct rmd_tls *rmd_tls_new(struct rmd_tls_context *c, int fd, const struct rmd_addr *source,
                            const struct rmd_tls_spec *spec) {
    struct rmd_tls *t = rmd_alloc(sizeof *t);
    t->context = c;
    t->level = spec->level;
    t->check = spec->check && spec->level < RMD_TLS_L_PKIX;
    t->verifies = t->check || t->level >= RMD_TLS_L_PKIX;
    t->key = session_key(source, spec, t->verifies);
    t->ssl = SSL_new(t->verifies ? c->checked : c->open);
    bool ok = t->ssl && SSL_set_fd(t->ssl, fd) == 1;
    if (ok && t->check)
        SSL_set_security_level(t->ssl, 0); /* as opportunistic as without the check */
    if (ok && *spec->host)
        ok = SSL_set_tlsext_host_name(t->ssl, spec->host) == 1;
    if (ok && t->verifies)
        ok = t->level == RMD_TLS_L_DANE ? set_up_dane(t->ssl, spec) : set_up_pkix(t->ssl, spec->host);
    if (!ok) {
        rmd_tls_free(t, false);
        return NULL;
    }
    SSL_set_app_data(t->ssl, t);
    struct session *s = rmd_map_get_str(&c->sessions, t->key);
    if (s) {
        rmd_list_remove(&s->lru);
        rmd_list_push(&c->lru, &s->lru);
        SSL_set_session(t->ssl, s->session);
    }
    SSL_set_connect_state(t->ssl);
    return t;
}

void rmd_tls_free(struct rmd_tls *t, bool orderly) {
    if (!t)
        return;
    if (t->ssl) {
        ERR_clear_error();
        if (orderly && !t->failed && SSL_is_init_finished(t->ssl))
            SSL_shutdown(t->ssl);
        else if (!t->bad && SSL_is_init_finished(t->ssl))
            /* The receiver closed first, as after QUIT: without this OpenSSL takes the session for a broken one, and it is
             * never resumed. */
            SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        else
            SSL_set_quiet_shutdown(t->ssl, 1);
        SSL_free(t->ssl);
    }
    ERR_clear_error();
    free(t->key);
    free(t);
}

/* What a call that did not succeed means. */
static int meaning(struct rmd_tls *t, int rc, const char *doing, char *text, size_t n) {
    int saved = errno, why = SSL_get_error(t->ssl, rc);
    t->wants_write = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return RMD_EAGAIN;
    t->failed = true;
    t->bad |= why == SSL_ERROR_SSL;
    unsigned long e = ERR_peek_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    (void)rmd_format(text, n, "TLS %s: %s", doing, reason ? reason : saved ? strerror(saved) : "connection closed");
    ERR_clear_error();
    return RMD_EIO;
}

static enum rmd_tls_result result_of(long verify_result) {
    switch (verify_result) {
    case X509_V_OK:
        return RMD_TLS_R_OK;
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return RMD_TLS_R_CERTIFICATE_HOST_MISMATCH;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return RMD_TLS_R_CERTIFICATE_EXPIRED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_REJECTED:
    case X509_V_ERR_CERT_REVOKED:
    case X509_V_ERR_INVALID_CA:
        return RMD_TLS_R_CERTIFICATE_NOT_TRUSTED;
    default:
        return RMD_TLS_R_VALIDATION_FAILURE;
    }
}

/* The handshake is through: whom did we meet? */
static int judge(struct rmd_tls *t, struct rmd_tls_info *info, char *text, size_t n) {
    long verified = t->verifies ? SSL_get_verify_result(t->ssl) : X509_V_OK;
    info->suite =
        rmd_tls_suite((unsigned)SSL_version(t->ssl), SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(t->ssl)));
    info->resumed = SSL_session_reused(t->ssl) == 1;
    info->verified = RMD_TLS_V_ENCRYPTED;
    info->result = result_of(verified);
    if (verified != X509_V_OK) {
        (void)rmd_format(text, n, "TLS certificate: %s", X509_verify_cert_error_string(verified));
        t->failed = t->bad = !t->check;
        return t->check ? RMD_OK : RMD_EIO;
    }
    if (t->verifies)
        info->verified = t->level == RMD_TLS_L_DANE ? RMD_TLS_V_DANE : RMD_TLS_V_PKIX;
    (void)rmd_format(text, n, "%s %s", SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl));
    return RMD_OK;
}

int rmd_tls_handshake(struct rmd_tls *t, struct rmd_tls_info *info, char *text, size_t n) {
    ERR_clear_error();
    errno = 0;
    *info = (struct rmd_tls_info){0};
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1)
        return judge(t, info, text, n);
    rc = meaning(t, rc, "handshake", text, n);
    if (rc == 0) {
        (void)rmd_format(text, n, "TLS handshake: connection closed");
        rc = RMD_EIO;
    }
    if (rc != RMD_EAGAIN)
        info->result = RMD_TLS_R_VALIDATION_FAILURE;
    return rc;
}

long rmd_tls_read(struct rmd_tls *t, void *buf, size_t n, char *text, size_t text_n) {
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read(t->ssl, buf, (int)n);
    return rc > 0 ? rc : meaning(t, rc, "read", text, text_n);
}

long rmd_tls_write(struct rmd_tls *t, const void *buf, size_t n, char *text, size_t text_n) {
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write(t->ssl, buf, n > 1 << 20 ? 1 << 20 : (int)n);
    if (rc > 0)
        return rc;
    rc = meaning(t, rc, "write", text, text_n);
    return rc == 0 ? RMD_EIO : rc;
}

bool rmd_tls_wants_write(const struct rmd_tls *t) {
    return t->wants_write;
}
