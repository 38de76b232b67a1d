/* MTA-STS (see mta_sts.h). */
#include "node/core/mta_sts.h"

#include <base/text.h>

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static bool is_alnum(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The value of `key` among "key=value" fields with ";" between; n 0: absent. */
static struct rmd_slice field(struct rmd_slice s, const char *key) {
    while (s.n) {
        const uint8_t *end = memchr(s.p, ';', s.n);
        size_t n = end ? (size_t)(end - s.p) : s.n;
        struct rmd_slice item = rmd_trim(rmd_slice(s.p, n));
        const uint8_t *is = item.n ? memchr(item.p, '=', item.n) : NULL;
        if (is && rmd_slice_eq(rmd_trim(rmd_slice(item.p, (size_t)(is - item.p))), rmd_slice_str(key)))
            return rmd_trim(rmd_slice(is + 1, item.n - (size_t)(is + 1 - item.p)));
        n += end != NULL;
        s = rmd_slice(s.p + n, s.n - n);
    }
    return (struct rmd_slice){0};
}

/* Section 3.1: "v=STSv1" comes first, and a ";" follows. */
static bool is_record(const char *txt) {
    static const char version[] = "v=STSv1";
    size_t n = sizeof version - 1;
    if (strncmp(txt, version, n) != 0)
        return false;
    while (is_blank(txt[n]))
        n++;
    return txt[n] == ';';
}

int rmd_sts_record(const struct rmd_txt_answer *txt, char id[RMD_STS_ID_MAX + 1]) {
    const char *found = NULL;
    for (int i = 0; txt->status == RMD_DNS_OK && i < txt->n; i++) {
        if (!is_record(txt->txt[i]))
            continue;
        if (found)
            return RMD_ENOTFOUND; /* section 3.1: more than one is none */
        found = txt->txt[i];
    }
    if (!found)
        return RMD_ENOTFOUND;
    struct rmd_slice v = field(rmd_slice_str(found), "id");
    if (!v.n || v.n > RMD_STS_ID_MAX)
        return RMD_EFORMAT;
    for (size_t i = 0; i < v.n; i++)
        if (!is_alnum(v.p[i]))
            return RMD_EFORMAT;
    (void)rmd_copy_slice(id, RMD_STS_ID_MAX + 1, v);
    return RMD_OK;
}

/* --- the policy */

struct draft {
    bool version, mode, max_age;
    struct rmd_sts_policy head;
    struct rmd_buf mx;
};

static int bad(char why[RMD_STS_WHY], const char *what) {
    (void)rmd_copy(why, RMD_STS_WHY, what);
    return RMD_EFORMAT;
}

/* A host name, or "*." before one. */
static bool pattern_ok(struct rmd_slice v) {
    size_t label = 0, labels = 0;
    if (v.n > 2 && v.p[0] == '*' && v.p[1] == '.')
        v = rmd_slice(v.p + 2, v.n - 2);
    if (!v.n || v.n > RMD_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        if (c == '.') {
            if (!label)
                return false;
            label = 0;
        } else if (is_alnum(c) || c == '-' || c == '_') {
            labels += !label;
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label && labels;
}

static int take_mx(struct draft *d, struct rmd_slice v, char why[RMD_STS_WHY]) {
    if (!pattern_ok(v))
        return bad(why, "an mx is no host name or pattern");
    if (d->mx.len + v.n + 1 > RMD_STS_MX_BYTES)
        return bad(why, "too many mx");
    for (size_t i = 0; i < v.n; i++)
        rmd_buf_addc(&d->mx, rmd_lower((char)v.p[i]));
    rmd_buf_addc(&d->mx, '\n');
    return RMD_OK;
}

/* Section 3.2: the first of a key counts, unless it is mx; keys that nobody knows are passed over. */
static int take(struct draft *d, struct rmd_slice key, struct rmd_slice v, char why[RMD_STS_WHY]) {
    if (rmd_slice_eq(key, rmd_slice_str("version")) && !d->version) {
        if (!rmd_slice_eq(v, rmd_slice_str("STSv1")))
            return bad(why, "its version isn't STSv1");
        d->version = true;
    } else if (rmd_slice_eq(key, rmd_slice_str("mode")) && !d->mode) {
        int mode = 0;
        while (mode < RMD_STS_MODE_COUNT && !rmd_slice_eq(v, rmd_slice_str(rmd_sts_mode_name((unsigned)mode))))
            mode++;
        if (mode == RMD_STS_MODE_COUNT)
            return bad(why, "its mode is none of enforce, testing, none");
        d->mode = true;
        d->head.mode = (enum rmd_sts_mode)mode;
    } else if (rmd_slice_eq(key, rmd_slice_str("max_age")) && !d->max_age) {
        uint64_t s;
        if (v.n > 10 || rmd_parse_u64(v, &s) != RMD_OK)
            return bad(why, "its max_age isn't a number of up to ten digits");
        d->max_age = true;
        d->head.max_age_s = s < RMD_STS_MAX_AGE_S ? (int64_t)s : RMD_STS_MAX_AGE_S;
    } else if (rmd_slice_eq(key, rmd_slice_str("mx"))) {
        return take_mx(d, v, why);
    }
    return RMD_OK;
}

static int line(struct draft *d, struct rmd_slice s, char why[RMD_STS_WHY]) {
    s = rmd_trim(s);
    if (!s.n)
        return RMD_OK;
    const uint8_t *colon = memchr(s.p, ':', s.n);
    if (!colon)
        return bad(why, "a line isn't \"key: value\"");
    size_t n = (size_t)(colon - s.p);
    return take(d, rmd_trim(rmd_slice(s.p, n)), rmd_trim(rmd_slice(colon + 1, s.n - n - 1)), why);
}

static int whole(const struct draft *d, char why[RMD_STS_WHY]) {
    if (!d->version)
        return bad(why, "it has no version");
    if (!d->mode)
        return bad(why, "it has no mode");
    if (!d->max_age)
        return bad(why, "it has no max_age");
    if (!d->mx.len && d->head.mode != RMD_STS_NONE)
        return bad(why, "it has no mx");
    return RMD_OK;
}

int rmd_sts_parse(struct rmd_slice body, struct rmd_sts_policy **out, char why[RMD_STS_WHY]) {
    struct draft d = {0};
    int rc = body.n > RMD_STS_BODY_MAX ? bad(why, "it is larger than 64 KiB") : RMD_OK;
    *out = NULL;
    while (!rc && body.n) {
        const uint8_t *end = memchr(body.p, '\n', body.n);
        size_t n = end ? (size_t)(end - body.p) : body.n;
        rc = line(&d, rmd_slice(body.p, n), why);
        n += end != NULL;
        body = rmd_slice(body.p + n, body.n - n);
    }
    if (!rc)
        rc = whole(&d, why);
    if (!rc) {
        *out = rmd_alloc(sizeof **out + d.mx.len + 1);
        **out = d.head;
        (*out)->mx_n = (uint16_t)d.mx.len;
        if (d.mx.len)
            memcpy((*out)->mx, d.mx.p, d.mx.len);
    }
    rmd_buf_release(&d.mx);
    return rc;
}

struct rmd_sts_policy *rmd_sts_dup(const struct rmd_sts_policy *p) {
    return p ? rmd_memdup(p, sizeof *p + p->mx_n + 1u) : NULL;
}

bool rmd_sts_match(const struct rmd_sts_policy *p, const char *host) {
    struct rmd_slice name = rmd_slice_str(host);
    const char *dot = strchr(host, '.');
    for (const char *at = p->mx; *at;) {
        size_t n = (size_t)(strchr(at, '\n') - at);
        if (at[0] == '*' && dot && dot != host && rmd_case_eq(rmd_slice(at + 1, n - 1), rmd_slice_str(dot)))
            return true;
        if (rmd_case_eq(rmd_slice(at, n), name))
            return true;
        at += n + 1;
    }
    return false;
}

void rmd_sts_text(const struct rmd_sts_policy *p, struct rmd_buf *out) {
    rmd_buf_addf(out, "version: STSv1\nmode: %s\nmax_age: %lld\n", rmd_sts_mode_name(p->mode),
                 (long long)p->max_age_s);
    for (const char *at = p->mx; *at;) {
        size_t n = (size_t)(strchr(at, '\n') - at);
        rmd_buf_addf(out, "mx: %.*s\n", (int)n, at);
        at += n + 1;
    }
}
