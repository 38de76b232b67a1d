/* Sites and providers: the MX rollup (see site.h). Pure.
 *
 * The hash of a site covers the host names only, not the preferences: a receiver that turns its preferences around is
 * the same receiver. Hosts are sorted by name before they are hashed, and named once each. */
#include "proto/site.h"

#include <strings.h>

#include <base/text.h>

/* The shipped limits, as text, in the read-only data of the library. The path is relative to the project's root,
 * where the compiler runs. */
__asm__(".pushsection .rodata\n"
        ".global rmd_providers_shipped\n"
        ".type rmd_providers_shipped, @object\n"
        "rmd_providers_shipped:\n"
        ".incbin \"proto/providers_shipped.conf\"\n"
        ".Lrmd_providers_shipped_end:\n"
        ".byte 0\n"
        ".size rmd_providers_shipped, . - rmd_providers_shipped\n"
        ".balign 8\n"
        ".global rmd_providers_shipped_n\n"
        ".type rmd_providers_shipped_n, @object\n"
        "rmd_providers_shipped_n:\n"
        ".quad .Lrmd_providers_shipped_end - rmd_providers_shipped\n"
        ".size rmd_providers_shipped_n, 8\n"
        ".popsection\n");

uint32_t rmd_provider_id(const char *name) {
    char lower[RMD_DOMAIN_MAX + 1]; /* longer names are refused where providers are read */
    rmd_copy(lower, sizeof lower, name);
    rmd_lower_str(lower);
    uint32_t id = rmd_fnv32(rmd_slice_str(lower));
    return id ? id : 1;
}

static int compare_hosts(const void *a, const void *b) {
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* The hosts that stand for the domain: its MX hosts, or itself when it has none that can be dialled. */
static int hosts_of(const struct rmd_mx_answer *mx, const char *domain, const char *out[RMD_DNS_MX_MAX]) {
    int n = 0;
    if (mx->status == RMD_DNS_OK && !mx->implicit)
        for (int i = 0; i < mx->n && i < RMD_DNS_MX_MAX; i++)
            if (mx->mx[i].host[0])
                out[n++] = mx->mx[i].host;
    if (!n)
        out[n++] = domain;
    return n;
}

uint64_t rmd_site_id(const struct rmd_mx_answer *mx, const char *domain) {
    const char *host[RMD_DNS_MX_MAX];
    int n = hosts_of(mx, domain, host);
    qsort(host, (size_t)n, sizeof host[0], compare_hosts);
    char text[RMD_DNS_MX_MAX * (RMD_DOMAIN_MAX + 1)];
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        if (i && strcasecmp(host[i], host[i - 1]) == 0)
            continue;
        for (const char *s = host[i]; *s && s - host[i] < RMD_DOMAIN_MAX; s++)
            text[len++] = rmd_lower(*s);
        text[len++] = '\n';
    }
    uint64_t id = rmd_fnv64(rmd_slice(text, len));
    return id ? id : 1;
}

/* ".google.com" matches "aspmx.l.google.com" and "google.com" itself. */
static bool host_matches(const char *host, const char *suffix) {
    size_t n = strlen(host), m = strlen(suffix);
    if (!m)
        return false;
    if (n >= m && strcasecmp(host + n - m, suffix) == 0)
        return true;
    return suffix[0] == '.' && n == m - 1 && strcasecmp(host, suffix + 1) == 0;
}

static bool provider_has(const Remuda__ProviderPolicy *p, const char *host) {
    for (size_t i = 0; i < p->n_mx_suffix; i++)
        if (host_matches(host, p->mx_suffix[i]))
            return true;
    return false;
}

int rmd_site_provider(const struct rmd_mx_answer *mx, const char *domain, Remuda__ProviderPolicy *const *providers,
                      size_t n) {
    if (mx->status != RMD_DNS_OK)
        return -1;
    const char *host[RMD_DNS_MX_MAX];
    int hosts = hosts_of(mx, domain, host);
    for (size_t i = 0; i < n; i++) {
        int k = 0;
        while (k < hosts && provider_has(providers[i], host[k]))
            k++;
        if (k == hosts)
            return (int)i;
    }
    return -1;
}
