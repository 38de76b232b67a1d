/* Which addresses this host has, and whether each source's can be bound.
 *
 * A list of addresses isn't enough: every address of a loopback prefix can be bound, and so can those of
 * ip_nonlocal_bind and of routed prefixes (AnyIP). So a bind() is tried, and tried again: addresses come and go. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <base/log.h>
#include <base/text.h>

#include "node/io/dial.h"
#include "node/io/shell_state.h"

enum { ADDRESSES_MAX = 4096 };

static bool to_addr(const struct sockaddr *sa, struct rmd_addr *a) {
    *a = (struct rmd_addr){0};
    if (!sa)
        return false;
    if (sa->sa_family == AF_INET) {
        a->family = 4;
        memcpy(a->b, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
            return false; /* needs a scope, and nobody sends mail from it */
        a->family = 6;
        memcpy(a->b, &in6->sin6_addr, 16);
    }
    return a->family;
}

char **node_shell_addresses(void) {
    struct ifaddrs *list = NULL;
    size_t n = 0;
    char **address = rmd_alloc((ADDRESSES_MAX + 1) * sizeof *address);
    if (getifaddrs(&list))
        rmd_warn("addresses", "can't list the host's addresses: %s", strerror(errno));
    for (struct ifaddrs *it = list; it && n < ADDRESSES_MAX; it = it->ifa_next) {
        struct rmd_addr a;
        if (!(it->ifa_flags & IFF_UP) || !to_addr(it->ifa_addr, &a))
            continue;
        char text[48];
        rmd_addr_format(&a, text);
        address[n++] = rmd_strdup(text);
    }
    if (list)
        freeifaddrs(list);
    return address;
}

void node_shell_addresses_free(char **address) {
    for (char **it = address; it && *it; it++)
        free(*it);
    free(address);
}

static void tell(struct rmd_node_shell *s, const struct shell_source *src) {
    char text[160] = "", a[48];
    rmd_addr_format(&src->bind, a);
    if (src->missing)
        (void)rmd_format(text, sizeof text,
                         "%s is not an address of this host: plumb it, or correct the source's bind address", a);
    struct rmd_mail m = {.kind = RMD_MAIL_TROUBLE, .source = src->id, .text = text};
    node_shell_step(s, &(struct rmd_node_event){.kind = RMD_NE_MAIL, .mail = &m});
}

void node_shell_sources_check(struct rmd_node_shell *s) {
    for (size_t i = 0; i < s->sources; i++) {
        bool missing = !rmd_dial_can_bind(&s->source[i].bind);
        if (missing == s->source[i].missing)
            continue;
        s->source[i].missing = missing;
        tell(s, &s->source[i]);
    }
}

static bool was_missing(const struct rmd_node_shell *s, uint32_t id) {
    for (size_t i = 0; i < s->sources; i++)
        if (s->source[i].id == id)
            return s->source[i].missing;
    return false;
}

static bool has_source(const struct shell_source *v, size_t n, uint32_t id) {
    for (size_t i = 0; i < n; i++)
        if (v[i].id == id)
            return true;
    return false;
}

void node_shell_sources_learn(struct rmd_node_shell *s, const Remuda__Policy *p) {
    struct shell_source *next = rmd_alloc((p->n_source + 1) * sizeof *next);
    size_t n = 0;
    for (size_t i = 0; i < p->n_source; i++) {
        const char *bind = *p->source[i]->bind ? p->source[i]->bind : p->source[i]->public_address;
        next[n].id = p->source[i]->id;
        next[n].missing = was_missing(s, next[n].id);
        if (rmd_addr_parse(bind, &next[n].bind) == RMD_OK)
            n++;
        else
            rmd_warn("sources", "source %u: \"%.48s\" is not an address", p->source[i]->id, bind);
    }
    for (size_t i = 0; i < s->sources; i++) /* what it no longer serves troubles it no longer */
        if (s->source[i].missing && !has_source(next, n, s->source[i].id)) {
            s->source[i].missing = false;
            tell(s, &s->source[i]);
        }
    free(s->source);
    s->source = next;
    s->sources = n;
    node_shell_sources_check(s);
}
