/* See idn.h. */
#include "proto/io/idn.h"

#include <idn2.h>

#include <base/text.h>

static bool plain(struct rmd_slice d) {
    for (size_t i = 0; i < d.n; i++)
        if (d.p[i] >= 0x80)
            return false;
    return true;
}

/* Letters, digits and hyphens in labels of 1 to 63 bytes (RFC 1123 section 2.1, RFC 5890 section 2.3.1): names from
 * operators and lists end in commands and headers, so nothing else may pass. */
static const char *check_labels(const char *name) {
    size_t label = 0;
    for (const char *c = name; *c; c++) {
        bool alnum = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        bool border = label == 0 || c[1] == '.' || c[1] == 0;
        if (*c == '.' && label == 0)
            return "the domain has an empty label";
        if (*c == '.') {
            label = 0;
            continue;
        }
        if (*c == '-' && border)
            return "a label of the domain begins or ends with a hyphen";
        if (!alnum && *c != '-')
            return "the domain has a character that no domain has";
        if (++label > 63)
            return "a label of the domain is longer than 63 bytes";
    }
    return label ? NULL : "the domain has an empty label";
}

static const char *fill(struct rmd_slice from, char out[256]) {
    if (from.n && from.p[from.n - 1] == '.')
        from.n--;
    if (from.n == 0)
        return "the domain is empty";
    if (from.n > 253)
        return "the domain is longer than 253 bytes";
    if (memchr(from.p, 0, from.n))
        return "NUL byte in the domain";
    for (size_t i = 0; i < from.n; i++)
        out[i] = rmd_lower((char)from.p[i]);
    out[from.n] = 0;
    return check_labels(out);
}

static const char *reason(int rc) {
    switch (rc) {
    case IDN2_TOO_BIG_LABEL:
    case IDN2_PUNYCODE_BIG_OUTPUT:
        return "a label of the domain is longer than 63 bytes";
    case IDN2_TOO_BIG_DOMAIN:
        return "the domain is longer than 253 bytes";
    default:
        return "the domain is not a valid international name (IDNA 2008)";
    }
}

const char *rmd_idn_to_ascii(void *unused, struct rmd_slice domain, char out[256]) {
    (void)unused;
    if (plain(domain))
        return fill(domain, out);
    char utf8[1024], *ascii = NULL;
    if (memchr(domain.p, 0, domain.n))
        return "NUL byte in the domain";
    if (!rmd_copy_slice(utf8, sizeof utf8, domain))
        return "the domain is longer than 253 bytes";
    int rc = idn2_to_ascii_8z(utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return reason(rc);
    const char *why = fill(rmd_slice_str(ascii), out);
    idn2_free(ascii);
    return why;
}
