/* DKIM verification over libopendkim; see verify_opendkim.h. Sans-files and, with a key function, sans-DNS. */
#include "node/io/verify_opendkim.h"

#include <sys/types.h>

#include <opendkim/dkim.h>

#include <base/text.h>

struct rmd_verifier {
    DKIM_LIB *lib;
    rmd_verify_key_fn key;
    void *arg;
};

static DKIM_CBSTAT look_up_key(DKIM *dkim, DKIM_SIGINFO *sig, u_char *buf, size_t buf_n) {
    struct rmd_verifier *v = dkim_get_user_context(dkim);
    const char *selector = (const char *)dkim_sig_getselector(sig), *domain = (const char *)dkim_sig_getdomain(sig);
    if (!v || !selector || !domain)
        return DKIM_CBSTAT_ERROR;
    switch (v->key(v->arg, selector, domain, (char *)buf, buf_n)) {
    case RMD_OK:
        return DKIM_CBSTAT_CONTINUE;
    case RMD_ENOTFOUND:
        return DKIM_CBSTAT_NOTFOUND;
    default:
        return DKIM_CBSTAT_TRYAGAIN;
    }
}

/* Every signature is judged, not only the first that passes. */
static bool set_options(DKIM_LIB *lib) {
    unsigned int flags = 0;
    if (dkim_options(lib, DKIM_OP_GETOPT, DKIM_OPTS_FLAGS, &flags, sizeof flags) != DKIM_STAT_OK)
        return false;
    flags &= ~(unsigned int)(DKIM_LIBFLAGS_VERIFYONE | DKIM_LIBFLAGS_FIXCRLF);
    return dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FLAGS, &flags, sizeof flags) == DKIM_STAT_OK;
}

struct rmd_verifier *rmd_verifier_new(rmd_verify_key_fn key, void *arg) {
    struct rmd_verifier *v = rmd_alloc(sizeof *v);
    v->lib = dkim_init(NULL, NULL);
    v->key = key;
    v->arg = arg;
    if (!v->lib || !set_options(v->lib) || (key && dkim_set_key_lookup(v->lib, look_up_key) != DKIM_STAT_OK)) {
        rmd_verifier_free(v);
        return NULL;
    }
    return v;
}

void rmd_verifier_free(struct rmd_verifier *v) {
    if (!v)
        return;
    if (v->lib)
        dkim_close(v->lib);
    free(v);
}

/* Length of the header field at p with its continuation lines, the final CRLF left out; *next is behind it. */
static size_t field_length(const uint8_t *p, size_t n, size_t *next) {
    for (size_t i = 0; i + 1 < n; i++) {
        if (p[i] != '\r' || p[i + 1] != '\n')
            continue;
        if (i + 2 < n && (p[i + 2] == ' ' || p[i + 2] == '\t'))
            continue;
        *next = i + 2;
        return i;
    }
    *next = n;
    return n;
}

static DKIM_STAT feed_headers(DKIM *dkim, struct rmd_slice *rest) {
    while (rest->n && !(rest->n >= 2 && rest->p[0] == '\r' && rest->p[1] == '\n')) {
        size_t next, len = field_length(rest->p, rest->n, &next);
        u_char *field = rmd_memdup(rest->p, len); /* the library wants to own it for the call */
        DKIM_STAT st = dkim_header(dkim, field, len);
        free(field);
        if (st != DKIM_STAT_OK)
            return st;
        *rest = rmd_slice(rest->p + next, rest->n - next);
    }
    if (rest->n >= 2)
        *rest = rmd_slice(rest->p + 2, rest->n - 2);
    return dkim_eoh(dkim);
}

static DKIM_STAT feed_body(DKIM *dkim, struct rmd_slice body) {
    if (body.n == 0)
        return DKIM_STAT_OK;
    u_char *copy = rmd_memdup(body.p, body.n);
    DKIM_STAT st = dkim_body(dkim, copy, body.n);
    free(copy);
    return st;
}

static void text_of(char *out, size_t n, const void *text) {
    bool whole = rmd_copy(out, n, text ? (const char *)text : "");
    (void)whole;
}

static void judge(DKIM_SIGINFO *sig, struct rmd_verify_result *r) {
    *r = (struct rmd_verify_result){0};
    text_of(r->domain, sizeof r->domain, dkim_sig_getdomain(sig));
    text_of(r->selector, sizeof r->selector, dkim_sig_getselector(sig));
    text_of(r->algorithm, sizeof r->algorithm, dkim_sig_getalgorithm(sig));
    r->pass = DKIM_SIG_CHECK(sig);
    if (r->pass)
        return;
    DKIM_SIGERROR e = dkim_sig_geterror(sig);
    text_of(r->why, sizeof r->why,
            dkim_sig_getbh(sig) == DKIM_SIGBH_MISMATCH ? "body hash mismatch" : dkim_sig_geterrorstr(e));
}

int rmd_verify_message(struct rmd_verifier *v, struct rmd_slice message, struct rmd_verify_result *results,
                       size_t max, size_t *n) {
    DKIM_STAT st;
    *n = 0;
    DKIM *dkim = dkim_verify(v->lib, (const unsigned char *)"remuda", NULL, &st);
    if (!dkim)
        return RMD_EIO;
    int rc = RMD_EFORMAT;
    struct rmd_slice rest = message;
    st = dkim_set_user_context(dkim, v);
    if (st == DKIM_STAT_OK)
        st = feed_headers(dkim, &rest);
    if (st == DKIM_STAT_NOSIG) {
        rc = RMD_OK;
        goto out;
    }
    if (st != DKIM_STAT_OK || feed_body(dkim, rest) != DKIM_STAT_OK)
        goto out;
    st = dkim_eom(dkim, NULL);
    if (st == DKIM_STAT_SYNTAX) /* a body that doesn't end in CRLF */
        goto out;
    DKIM_SIGINFO **sigs = NULL;
    int count = 0;
    if (dkim_getsiglist(dkim, &sigs, &count) != DKIM_STAT_OK)
        goto out;
    for (int i = 0; i < count && *n < max; i++) {
        if (!(dkim_sig_getflags(sigs[i]) & DKIM_SIGFLAG_PROCESSED) && st != DKIM_STAT_KEYFAIL &&
            dkim_sig_process(dkim, sigs[i]) == DKIM_STAT_KEYFAIL)
            st = DKIM_STAT_KEYFAIL;
        judge(sigs[i], &results[(*n)++]);
    }
    rc = st == DKIM_STAT_KEYFAIL ? RMD_EAGAIN : RMD_OK;
out:
    dkim_free(dkim);
    return rc;
}
