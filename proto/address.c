/* Addresses: the syntax that Remuda sends to, the domain of one, and the hash by which addresses are compared (see
 * codec.h).
 *
 * RFC 5321 section 4.1.2 (Mailbox, Dot-string, Quoted-string, Domain) and 4.5.3.1 (lengths), RFC 6531 section 3.3
 * (UTF-8 in the local part). Domains come as A-labels; what a person typed is converted before it gets here. */
#include "proto/codec.h"

#include <base/text.h>

enum { LOCAL_MAX = 64, DOMAIN_MAX = 253, LABEL_MAX = 63, PATH_MAX_BYTES = 254 };

struct rmd_slice rmd_address_domain(struct rmd_slice email) {
    for (size_t i = email.n; i > 0; i--)
        if (email.p[i - 1] == '@')
            return rmd_slice(email.p + i, email.n - i);
    return rmd_slice(email.p + email.n, 0);
}

uint64_t rmd_address_hash(uint32_t tenant, struct rmd_slice email) {
    uint64_t h =
        UINT64_C(0xcbf29ce484222325); /* FNV-1a, then scrambled: sets of these are indexed by their low bits */
    for (int i = 0; i < 4; i++)
        h = (h ^ (tenant >> (24 - 8 * i) & 0xff)) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < email.n; i++)
        h = (h ^ (uint8_t)rmd_lower((char)email.p[i])) * UINT64_C(0x100000001b3);
    return rmd_mix64(h);
}

static bool is_alnum(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_atext(uint8_t c) {
    return is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static const char *utf8_step(struct rmd_slice s, size_t *i, bool utf8_ok) {
    size_t n = rmd_utf8_len(s.p + *i, s.n - *i);
    if (!n)
        return "is not valid UTF-8";
    if (n == 2 && s.p[*i] == 0xc2 && s.p[*i + 1] < 0xa0) /* U+0080 to U+009F */
        return "has a control character";
    if (!utf8_ok)
        return "has characters beyond ASCII in its local part";
    *i += n;
    return NULL;
}

static const char *check_dot_string(struct rmd_slice s, bool utf8_ok) {
    bool atom = false; /* something since the last dot */
    for (size_t i = 0; i < s.n;) {
        uint8_t c = s.p[i];
        if (c >= 0x80) {
            const char *why = utf8_step(s, &i, utf8_ok);
            if (why)
                return why;
            atom = true;
        } else if (c == '.') {
            if (!atom)
                return i ? "has two dots in a row" : "starts with a dot";
            atom = false;
            i++;
        } else if (is_atext(c)) {
            atom = true;
            i++;
        } else {
            return c < 0x20 || c == 0x7f ? "has a control character"
                                         : "has a character that needs quotes in its local part";
        }
    }
    return atom ? NULL : "has a dot before the @";
}

static const char *check_quoted(struct rmd_slice s, bool utf8_ok) {
    if (s.n < 2 || s.p[s.n - 1] != '"')
        return "has a quoted local part that does not end";
    for (size_t i = 1; i < s.n - 1;) {
        uint8_t c = s.p[i];
        if (c >= 0x80) {
            const char *why = utf8_step(s, &i, utf8_ok);
            if (why)
                return why;
            continue;
        }
        if (c == '\\') { /* quoted-pair: any printable or blank, and not the closing quote */
            if (++i >= s.n - 1)
                return "has a quoted local part that does not end";
            c = s.p[i];
        } else if (c == '"') {
            return "has text around a quoted local part";
        }
        if (c < 0x20 || c >= 0x7f)
            return "has a control character";
        i++;
    }
    return NULL;
}

static const char *check_domain(struct rmd_slice d) {
    size_t label = 0, dots = 0;
    bool digits_only = true; /* the last label */
    if (!d.n)
        return "has no domain";
    if (d.n > DOMAIN_MAX)
        return "has a domain of more than 253 characters";
    if (d.p[0] == '[')
        return "has an address literal as domain";
    for (size_t i = 0; i < d.n; i++) {
        uint8_t c = d.p[i];
        if (c == '.') {
            if (!label)
                return "has an empty label in its domain";
            if (d.p[i - 1] == '-')
                return "has a label that ends with a hyphen";
            label = 0;
            digits_only = true;
            dots++;
            continue;
        }
        if (c >= 0x80)
            return "has a domain that is not in A-labels";
        if (!is_alnum(c) && c != '-')
            return "has a character that no domain has";
        if (c == '-' && !label)
            return "has a label that starts with a hyphen";
        if (++label > LABEL_MAX)
            return "has a label of more than 63 characters";
        digits_only = digits_only && c >= '0' && c <= '9';
    }
    if (!label)
        return "has a domain that ends with a dot";
    if (d.p[d.n - 1] == '-')
        return "has a label that ends with a hyphen";
    if (!dots)
        return "has a domain without a dot";
    return digits_only ? "has a number as top-level domain" : NULL;
}

const char *rmd_address_check(struct rmd_slice email, bool utf8_ok) {
    if (!email.n)
        return "is empty";
    if (email.n > PATH_MAX_BYTES) /* RFC 5321 4.5.3.1.3: 256 with the angle brackets */
        return "is longer than 254 bytes";
    struct rmd_slice domain = rmd_address_domain(email);
    if (domain.n == 0 && email.p[email.n - 1] != '@')
        return "has no @";
    struct rmd_slice local = rmd_slice(email.p, email.n - domain.n - 1);
    if (!local.n)
        return "has nothing before the @";
    if (local.n > LOCAL_MAX)
        return "has a local part of more than 64 bytes";
    const char *why = local.p[0] == '"' ? check_quoted(local, utf8_ok) : check_dot_string(local, utf8_ok);
    return why ? why : check_domain(domain);
}
