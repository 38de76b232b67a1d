/* Tools for tests of messages; see message_kit.h. */
#include "tests/kit/message_kit.h"

#include <assert.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <base/text.h>

#include "coordinator/io/template_compile.h"
#include "proto/io/sign_openssl.h"

enum { LINE_MAX_BYTES = 998, DEPTH_MAX = 30 };

/* ---------------------------------------------------------------- strict reading */

static const char *check_bytes(struct rmd_slice s, bool *has_8bit) {
    size_t line = 0;
    *has_8bit = false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == 0)
            return "a NUL";
        if (c == '\n')
            return "a bare LF";
        if (c >= 0x80)
            *has_8bit = true;
        if (c != '\r') {
            if (++line > LINE_MAX_BYTES)
                return "a line of more than 998 bytes";
            continue;
        }
        if (i + 1 == s.n || s.p[i + 1] != '\n')
            return "a bare CR";
        i++;
        line = 0;
    }
    return line ? "no CRLF at the end" : NULL;
}

static size_t line_end(struct rmd_slice s, size_t at) {
    const uint8_t *cr = memchr(s.p + at, '\r', s.n - at);
    return cr ? (size_t)(cr - s.p) : s.n;
}

static const char *read_header(struct rmd_slice s, struct kit_header *out, size_t max, size_t *n,
                               struct rmd_slice *body) {
    size_t at = 0;
    *n = 0;
    for (;;) {
        if (at >= s.n)
            return "the header doesn't end";
        size_t end = line_end(s, at);
        struct rmd_slice line = rmd_slice(s.p + at, end - at);
        at = end + 2;
        if (line.n == 0)
            break;
        if (line.p[0] == ' ' || line.p[0] == '\t') {
            if (*n == 0 || rmd_trim(line).n == 0)
                return "a continuation line of nothing";
            out[*n - 1].value.n = (size_t)(line.p + line.n - out[*n - 1].value.p);
            continue;
        }
        size_t name = 0;
        while (name < line.n && line.p[name] > ' ' && line.p[name] < 0x7f && line.p[name] != ':')
            name++;
        if (name == 0 || name == line.n || line.p[name] != ':')
            return "a header line that isn't a field";
        if (*n == max)
            return "too many header fields";
        out[(*n)++] = (struct kit_header){rmd_slice(line.p, name), rmd_slice(line.p + name + 1, line.n - name - 1)};
    }
    *body = at >= s.n ? rmd_slice(s.p + s.n, 0) : rmd_slice(s.p + at, s.n - at);
    return NULL;
}

static struct rmd_slice find_header(const struct kit_header *h, size_t n, const char *name, size_t k) {
    for (size_t i = 0; i < n; i++)
        if (rmd_case_eq(h[i].name, rmd_slice_str(name)) && k-- == 0)
            return rmd_trim(h[i].value);
    return rmd_slice(NULL, 0);
}

static bool boundary_of(struct rmd_slice type, char out[80]) {
    static const char mark[] = "boundary=";
    const uint8_t *p = rmd_case_find(type, rmd_slice_str(mark));
    if (!rmd_case_prefix(type, "multipart/") || !p)
        return false;
    p += sizeof mark - 1;
    const uint8_t *end = type.p + type.n;
    bool quoted = p < end && *p == '"';
    p += quoted;
    const uint8_t *stop = p;
    while (stop < end && *stop != '"' && (quoted || (*stop != ';' && *stop > ' ')))
        stop++;
    return rmd_copy_slice(out, 80, rmd_slice(p, (size_t)(stop - p))) && out[0];
}

static const char *read_part(struct rmd_slice type, struct rmd_slice body, size_t *leaves, unsigned depth);

static const char *read_inner(struct rmd_slice part, size_t *leaves, unsigned depth) {
    struct kit_header h[64];
    size_t n;
    struct rmd_slice body;
    const char *why = read_header(part, h, 64, &n, &body);
    return why ? why : read_part(find_header(h, n, "Content-Type", 0), body, leaves, depth + 1);
}

static const char *read_part(struct rmd_slice type, struct rmd_slice body, size_t *leaves, unsigned depth) {
    char boundary[80];
    if (depth > DEPTH_MAX)
        return "too deep";
    if (!boundary_of(type, boundary)) {
        ++*leaves;
        return NULL;
    }
    size_t b = strlen(boundary), part = SIZE_MAX;
    for (size_t at = 0; at < body.n;) {
        size_t end = line_end(body, at);
        struct rmd_slice line = rmd_slice(body.p + at, end - at);
        bool delimiter = line.n >= b + 2 && memcmp(line.p, "--", 2) == 0 && memcmp(line.p + 2, boundary, b) == 0;
        struct rmd_slice rest = delimiter ? rmd_slice(line.p + 2 + b, line.n - 2 - b) : rmd_slice(NULL, 0);
        bool last = delimiter && rmd_slice_eq(rest, rmd_slice_str("--"));
        if (delimiter && (last || rest.n == 0)) {
            if (part == SIZE_MAX && last)
                return "a multipart that is closed before it opens";
            /* The CRLF before a delimiter is the delimiter's; a part without a body may have lent it its empty line.
             */
            const char *why =
                part == SIZE_MAX ? NULL : read_inner(rmd_slice(body.p + part, at - part), leaves, depth);
            if (why)
                return why;
            if (last)
                return end + 2 >= body.n ? NULL : "text behind the last boundary";
            part = end + 2;
        } else if (part == SIZE_MAX) {
            return "text before the first boundary";
        }
        at = end + 2;
    }
    return "a multipart that isn't closed";
}

const char *kit_message_check(struct rmd_slice bytes, struct kit_message *out) {
    *out = (struct kit_message){0};
    const char *why = check_bytes(bytes, &out->has_8bit);
    if (!why)
        why = read_header(bytes, out->header, KIT_HEADERS_MAX, &out->n_headers, &out->body);
    if (!why)
        why = read_part(find_header(out->header, out->n_headers, "Content-Type", 0), out->body, &out->leaves, 0);
    return why;
}

struct rmd_slice kit_message_header(const struct kit_message *m, const char *name, size_t k) {
    return find_header(m->header, m->n_headers, name, k);
}

/* ---------------------------------------------------------------- campaign */

int kit_campaign_open(struct kit_campaign *k, struct rmd_slice eml, const char *const *columns,
                      const struct rmd_sign_ops *sign) {
    struct rmd_buf compiled = {0}, findings = {0};
    size_t n = 0;
    *k = (struct kit_campaign){0};
    while (columns[n])
        n++;
    int rc = rmd_template_compile(eml, columns, n, "", &compiled, NULL, &findings);
    bool whole = rmd_copy(k->err, sizeof k->err, rmd_buf_str(&findings));
    (void)whole;
    if (rc == RMD_OK)
        rc = rmd_template_new(rmd_buf_slice(&compiled), columns, n, &k->t, k->err, sizeof k->err);
    rmd_buf_release(&compiled);
    rmd_buf_release(&findings);
    if (rc != RMD_OK)
        return rc;
    k->r = rmd_renderer_new(sign);
    k->stream = (struct rmd_render_stream){
        .sending_domain = "news.example",
        .unsubscribe_url = "https://u.news.example/r/{token}",
        .unsubscribe_mailto = "unsubscribe+{token}@return.news.example",
        .stream_name = "bulk",
        .tenant = 1,
        .verp_secret = rmd_slice_str("a secret of the tests"),
        .return_domain = "return.news.example",
        .header_canon = RMD_CANON_RELAXED,
        .body_canon = RMD_CANON_RELAXED,
    };
    return RMD_OK;
}

void kit_campaign_close(struct kit_campaign *k) {
    rmd_template_free(k->t);
    rmd_renderer_free(k->r);
    k->t = NULL;
    k->r = NULL;
}

int kit_campaign_render(struct kit_campaign *k, const char *email, const struct rmd_slice *values, size_t n) {
    Remuda__Row row = REMUDA__ROW__INIT;
    row.ordinal = k->ordinal ? k->ordinal : 7;
    struct rmd_id campaign = rmd_id_make(1763900000000, 42), message = rmd_id_row(&campaign, row.ordinal);
    row.email = (char *)(uintptr_t)email;
    row.n_field = n;
    row.field = rmd_alloc((n + 1) * sizeof *row.field);
    for (size_t i = 0; i < n; i++)
        row.field[i] = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)values[i].p, .len = values[i].n};
    k->err[0] = 0;
    int rc = rmd_render(k->r, k->t, &k->stream, &message, &row, 1763900000000, &k->out, k->err, sizeof k->err);
    free(row.field);
    return rc;
}

/* ---------------------------------------------------------------- keys */

static void write_record(EVP_PKEY *pkey, bool rsa, char *out, size_t n) {
    uint8_t raw[64], *der = NULL;
    size_t raw_n = sizeof raw;
    struct rmd_buf b64 = {0};
    if (rsa) {
        int der_n = i2d_PUBKEY(pkey, &der);
        assert(der_n > 0);
        rmd_base64(&b64, der, (size_t)der_n);
        OPENSSL_free(der);
    } else {
        int ok = EVP_PKEY_get_raw_public_key(pkey, raw, &raw_n);
        assert(ok == 1);
        (void)ok;
        rmd_base64(&b64, raw, raw_n);
    }
    int len = rmd_format(out, n, "v=DKIM1; k=%s; p=%s", rsa ? "rsa" : "ed25519", rmd_buf_str(&b64));
    assert(len > 0);
    (void)len;
    rmd_buf_release(&b64);
}

void kit_keys_make(struct kit_keys *k) {
    static const char *const selectors[] = {"rsa", "ed"};
    for (int i = 0; i < 2; i++) {
        EVP_PKEY *pkey =
            i == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        assert(pkey);
        BIO *bio = BIO_new(BIO_s_mem());
        int ok = PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
        int n = ok == 1 ? BIO_read(bio, k->pem[i], sizeof k->pem[i] - 1) : 0;
        assert(n > 0);
        k->pem[i][n] = 0;
        BIO_free(bio);
        write_record(pkey, i == 0, k->record[i], sizeof k->record[i]);
        EVP_PKEY_free(pkey);
        char err[200];
        k->key[i] = (struct rmd_dkim_key){.domain = "news.example", .selector = selectors[i]};
        int rc = rmd_sign_openssl()->key_load(rmd_slice_str(k->pem[i]), &k->key[i].handle, &k->key[i].kind, err,
                                              sizeof err);
        assert(rc == RMD_OK);
        (void)rc;
    }
}

void kit_keys_release(struct kit_keys *k) {
    for (int i = 0; i < 2; i++)
        rmd_sign_openssl()->key_free(k->key[i].handle);
}

int kit_keys_lookup(void *arg, const char *selector, const char *domain, char *out, size_t out_n) {
    const struct kit_keys *k = arg;
    for (int i = 0; i < 2; i++)
        if (strcmp(selector, k->key[i].selector) == 0 && strcmp(domain, k->key[i].domain) == 0)
            return rmd_copy(out, out_n, k->record[i]) ? RMD_OK : RMD_ELIMIT;
    return RMD_ENOTFOUND;
}
