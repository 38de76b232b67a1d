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
    return NULL;
}

const char *rmd_idn_to_ascii(void *unused, struct rmd_slice domain, char out[256]) {
    (void)unused;
    if (plain(domain))
        return fill(domain, out);
    char utf8[1024], *ascii = NULL;
    if (!rmd_copy_slice(utf8, sizeof utf8, domain))
        return "the domain is longer than 253 bytes";
    int rc = idn2_to_ascii_8z(utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return "the domain is not a valid international name (IDNA 2008)";
    const char *why = fill(rmd_slice_str(ascii), out);
    idn2_free(ascii);
    return why;
}
