/* See tls.h. */
#include "node/io/tls.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <base/coll.h>
#include <base/text.h>

struct session {
    struct rmd_list lru;
    SSL_SESSION *session;
    char *key;
};

struct rmd_tls_context {
    SSL_CTX *ctx;
    struct rmd_map sessions; /* key -> struct session */
    struct rmd_list lru;     /* oldest first */
};

struct rmd_tls {
    struct rmd_tls_context *context;
    SSL *ssl;
    char *key;
    bool wants_write, failed;
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

struct rmd_tls_context *rmd_tls_context_new(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_security_level(ctx, 0); /* a weak certificate is still better than none at all */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    struct rmd_tls_context *c = rmd_alloc(sizeof *c);
    c->ctx = ctx;
    rmd_list_init(&c->lru);
    return c;
}

void rmd_tls_context_free(struct rmd_tls_context *c) {
    if (!c)
        return;
    while (!rmd_list_empty(&c->lru))
        session_free(c, rmd_container(c->lru.next, struct session, lru));
    rmd_map_release(&c->sessions);
    SSL_CTX_free(c->ctx);
    free(c);
}

/* ---------------------------------------------------------------- one connection */

struct rmd_tls *rmd_tls_new(struct rmd_tls_context *c, int fd, const struct rmd_addr *source, const char *host) {
    struct rmd_tls *t = rmd_alloc(sizeof *t);
    char from[48];
    rmd_addr_format(source, from);
    struct rmd_buf key = {0};
    rmd_buf_addf(&key, "%s|%s", from, host);
    t->context = c;
    t->key = (char *)rmd_buf_take(&key, NULL);
    t->ssl = SSL_new(c->ctx);
    if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1) {
        rmd_tls_free(t, false);
        return NULL;
    }
    SSL_set_app_data(t->ssl, t);
    if (*host)
        SSL_set_tlsext_host_name(t->ssl, host);
    struct session *s = rmd_map_get_str(&c->sessions, t->key);
    if (s)
        SSL_set_session(t->ssl, s->session);
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
    unsigned long e = ERR_peek_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    (void)rmd_format(text, n, "TLS %s: %s", doing, reason ? reason : saved ? strerror(saved) : "connection closed");
    ERR_clear_error();
    return RMD_EIO;
}

int rmd_tls_handshake(struct rmd_tls *t, char *text, size_t n) {
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        (void)rmd_format(text, n, "%s %s", SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl));
        return RMD_OK;
    }
    rc = meaning(t, rc, "handshake", text, n);
    if (rc == 0) {
        (void)rmd_format(text, n, "TLS handshake: connection closed");
        rc = RMD_EIO;
    }
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
