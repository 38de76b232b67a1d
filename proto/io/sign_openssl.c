/* The sign port over OpenSSL; see sign_openssl.h and include/remuda/sign.h.
 *
 * SHA-256 goes through the low-level functions. They are deprecated since 3.0 in favour of EVP_MD_CTX, which is
 * allocated and can't be copied as plain bytes; the port needs a state that lives on the stack and is copied after a
 * common prefix, and the code behind both is the same (SHA-NI where the machine has it). */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "proto/io/sign_openssl.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>

#include <base/text.h>

_Static_assert(sizeof(SHA256_CTX) <= RMD_SHA256_STATE_MAX, "the port's opaque state holds OpenSSL's");

enum { RSA_BITS_MIN = 1024, PEM_MAX_BYTES = 64 << 10, CONTEXTS = 8, HMAC_BLOCK = 64 };

/* ---------------------------------------------------------------- hashes */

static void sha256_init(struct rmd_sha256 *h) {
    SHA256_Init((SHA256_CTX *)(void *)h->opaque);
}

static void sha256_update(struct rmd_sha256 *h, const void *p, size_t n) {
    SHA256_Update((SHA256_CTX *)(void *)h->opaque, p, n);
}

static void sha256_final(struct rmd_sha256 *h, uint8_t out[RMD_SHA256_BYTES]) {
    SHA256_Final(out, (SHA256_CTX *)(void *)h->opaque);
}

/* RFC 2104 over the functions above: HMAC() of OpenSSL 3 looks its digest up by name on every call, which costs more
 * than the MAC of sixteen bytes. */
static void hmac_sha256(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[RMD_SHA256_BYTES]) {
    uint8_t block[HMAC_BLOCK] = {0};
    SHA256_CTX c;
    if (key_n > sizeof block)
        SHA256(key, key_n, block);
    else if (key_n)
        memcpy(block, key, key_n);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    SHA256_Init(&c);
    SHA256_Update(&c, block, sizeof block);
    SHA256_Update(&c, p, n);
    SHA256_Final(out, &c);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&c);
    SHA256_Update(&c, block, sizeof block);
    SHA256_Update(&c, out, RMD_SHA256_BYTES);
    SHA256_Final(out, &c);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(&c, sizeof c);
}

/* ---------------------------------------------------------------- keys */

struct key {
    EVP_PKEY *pkey;
    enum rmd_key_kind kind;
    uint64_t serial; /* names the key in the threads' caches; never used twice, as an address could be */
};

static _Atomic uint64_t last_serial;

/* OpenSSL asks here for a passphrase: there is none, but the operator should be told that it was asked for. */
static int note_passphrase(char *buf, int size, int rwflag, void *asked) {
    (void)buf, (void)size, (void)rwflag;
    *(bool *)asked = true;
    return -1;
}

static int key_unreadable(struct rmd_slice pem, bool asked, char *err, size_t err_n) {
    char why[160];
    unsigned long code = ERR_peek_last_error();
    ERR_error_string_n(code, why, sizeof why);
    ERR_clear_error();
    int len;
    if (asked)
        len = rmd_format(err, err_n,
                         "the private key is protected by a passphrase, which nobody can type here; store it "
                         "without one (openssl pkey -in KEY -out NEW) and restrict its permissions");
    else if (!rmd_case_find(pem, rmd_slice_str("PRIVATE KEY-----")))
        len = rmd_format(err, err_n,
                         "there is no PEM private key in it (a line \"-----BEGIN PRIVATE KEY-----\" is expected%s)",
                         rmd_case_find(pem, rmd_slice_str("PUBLIC KEY-----")) ? "; this is a public key" : "");
    else
        len = rmd_format(err, err_n, "the private key can't be read: %s", code ? why : "damaged PEM");
    (void)len; /* a text that was cut still says it */
    return RMD_EFORMAT;
}

static int key_kind(EVP_PKEY *pkey, enum rmd_key_kind *kind, char *err, size_t err_n) {
    int len = 0;
    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519) {
        *kind = RMD_KEY_ED25519;
        return RMD_OK;
    }
    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA) {
        const char *name = EVP_PKEY_get0_type_name(pkey);
        len =
            rmd_format(err, err_n, "the key is of type %s; DKIM signs with RSA or Ed25519", name ? name : "unknown");
    } else if (EVP_PKEY_get_bits(pkey) < RSA_BITS_MIN) {
        len = rmd_format(err, err_n, "the RSA key has %d bits; receivers refuse less than %d (make one of 2048)",
                         EVP_PKEY_get_bits(pkey), RSA_BITS_MIN);
    } else if (EVP_PKEY_get_size(pkey) > RMD_SIGNATURE_MAX) {
        len = rmd_format(err, err_n, "the RSA key has %d bits; at most %d can be used (make one of 2048)",
                         EVP_PKEY_get_bits(pkey), RMD_SIGNATURE_MAX * 8);
    } else {
        *kind = RMD_KEY_RSA;
        return RMD_OK;
    }
    (void)len;
    return RMD_EUNSUPPORTED;
}

static int key_load(struct rmd_slice pem, void **out, enum rmd_key_kind *kind, char *err, size_t err_n) {
    bool asked = false;
    if (err_n)
        err[0] = 0;
    if (pem.n == 0 || pem.n > PEM_MAX_BYTES)
        return key_unreadable(rmd_slice("", 0), false, err, err_n);
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, note_passphrase, &asked) : NULL;
    BIO_free(bio);
    if (!pkey)
        return key_unreadable(pem, asked, err, err_n);
    int rc = key_kind(pkey, kind, err, err_n);
    if (rc != RMD_OK) {
        EVP_PKEY_free(pkey);
        return rc;
    }
    struct key *k = rmd_alloc(sizeof *k);
    k->pkey = pkey;
    k->kind = *kind;
    k->serial = atomic_fetch_add(&last_serial, 1) + 1;
    *out = k;
    return RMD_OK;
}

static void key_free(void *handle) {
    struct key *k = handle;
    if (!k)
        return;
    EVP_PKEY_free(k->pkey); /* threads that cached a context hold their own references */
    free(k);
}

/* ---------------------------------------------------------------- signing, contexts of each thread */

struct context {
    uint64_t serial; /* 0: free */
    uint64_t used;
    EVP_PKEY_CTX *rsa;
    EVP_MD_CTX *ed;
};

struct contexts {
    struct context v[CONTEXTS];
    uint64_t clock; /* counts uses, for the oldest to go */
};

static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;

static void context_clear(struct context *c) {
    EVP_PKEY_CTX_free(c->rsa);
    EVP_MD_CTX_free(c->ed);
    *c = (struct context){0};
}

static void contexts_free(void *p) {
    struct contexts *all = p;
    for (size_t i = 0; i < CONTEXTS; i++)
        context_clear(&all->v[i]);
    free(all);
}

static void contexts_free_main(void) {
    struct contexts *all = pthread_getspecific(contexts_key);
    if (all && pthread_setspecific(contexts_key, NULL) == 0)
        contexts_free(all);
}

/* Destructors of thread-specific data don't run for the thread that calls exit(). */
static void contexts_init(void) {
    if (pthread_key_create(&contexts_key, contexts_free) != 0 || atexit(contexts_free_main) != 0)
        abort();
}

static bool context_open(struct context *c, const struct key *k) {
    if (k->kind == RMD_KEY_ED25519) {
        c->ed = EVP_MD_CTX_new();
        if (!c->ed || EVP_DigestSignInit(c->ed, NULL, NULL, NULL, k->pkey) <= 0)
            return false;
    } else {
        c->rsa = EVP_PKEY_CTX_new(k->pkey, NULL);
        if (!c->rsa || EVP_PKEY_sign_init(c->rsa) <= 0 ||
            EVP_PKEY_CTX_set_rsa_padding(c->rsa, RSA_PKCS1_PADDING) <= 0 ||
            EVP_PKEY_CTX_set_signature_md(c->rsa, EVP_sha256()) <= 0)
            return false;
    }
    c->serial = k->serial;
    return true;
}

static struct context *context_for(const struct key *k) {
    pthread_once(&contexts_once, contexts_init);
    struct contexts *all = pthread_getspecific(contexts_key);
    if (!all) {
        all = rmd_alloc(sizeof *all);
        if (pthread_setspecific(contexts_key, all) != 0) {
            free(all);
            return NULL;
        }
    }
    struct context *oldest = &all->v[0];
    for (size_t i = 0; i < CONTEXTS; i++) {
        struct context *c = &all->v[i];
        if (c->serial == k->serial) {
            c->used = ++all->clock;
            return c;
        }
        if (c->used < oldest->used)
            oldest = c;
    }
    context_clear(oldest);
    if (!context_open(oldest, k)) {
        context_clear(oldest);
        return NULL;
    }
    oldest->used = ++all->clock;
    return oldest;
}

static int sign_digest(void *handle, const uint8_t digest[RMD_SHA256_BYTES], uint8_t *sig, size_t *sig_n) {
    const struct key *k = handle;
    size_t need = (size_t)EVP_PKEY_get_size(k->pkey);
    if (*sig_n < need)
        return RMD_ELIMIT;
    struct context *c = context_for(k);
    int ok = 0;
    if (c && k->kind == RMD_KEY_RSA) {
        ok = EVP_PKEY_sign(c->rsa, sig, sig_n, digest, RMD_SHA256_BYTES);
    } else if (c) {
        /* A one-shot algorithm ends its context with each signature. */
        ok = EVP_DigestSignInit(c->ed, NULL, NULL, NULL, k->pkey) > 0 &&
             EVP_DigestSign(c->ed, sig, sig_n, digest, RMD_SHA256_BYTES) > 0;
    }
    if (ok > 0)
        return RMD_OK;
    ERR_clear_error();
    return RMD_EIO;
}

const struct rmd_sign_ops *rmd_sign_openssl(void) {
    static const struct rmd_sign_ops ops = {
        .sha256_init = sha256_init,
        .sha256_update = sha256_update,
        .sha256_final = sha256_final,
        .hmac_sha256 = hmac_sha256,
        .key_load = key_load,
        .key_free = key_free,
        .sign_digest = sign_digest,
    };
    return &ops;
}
