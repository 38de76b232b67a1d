/* IP addresses and the networks in which sources stand (see text.h).
 *
 * An IPv4-mapped IPv6 address keeps family 6; rmd_addr_is_special looks through it, and through NAT64 and 6to4,
 * because a name that resolves to such an address reaches the IPv4 address inside. */
#include <base/text.h>

#include <arpa/inet.h>
#include <assert.h>

int rmd_addr_parse(const char *s, struct rmd_addr *out) {
    struct rmd_addr a = {0};
    if (inet_pton(AF_INET, s, a.b) == 1)
        a.family = 4;
    else if (inet_pton(AF_INET6, s, a.b) == 1)
        a.family = 6;
    else
        return RMD_EFORMAT;
    *out = a;
    return RMD_OK;
}

void rmd_addr_format(const struct rmd_addr *a, char out[48]) {
    if (a->family != 4 && a->family != 6)
        rmd_copy(out, 48, "-");
    else if (!inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->b, out, 48))
        assert(!"48 bytes hold every address");
}

static size_t addr_bytes(const struct rmd_addr *a) {
    return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}

bool rmd_addr_eq(const struct rmd_addr *a, const struct rmd_addr *b) {
    return a->family == b->family && memcmp(a->b, b->b, addr_bytes(a)) == 0;
}

struct rmd_addr rmd_addr_network(const struct rmd_addr *a) {
    struct rmd_addr net = {.family = a->family};
    memcpy(net.b, a->b, a->family == 4 ? 3 : a->family == 6 ? 8 : 0);
    return net;
}

void rmd_network_format(const struct rmd_addr *a, char out[56]) {
    struct rmd_addr net = rmd_addr_network(a);
    char text[48];
    rmd_addr_format(&net, text);
    const char *length = net.family == 4 ? "/24" : net.family == 6 ? "/64" : "";
    int n = rmd_format(out, 56, "%s%s", text, length);
    assert(n > 0);
}

struct prefix {
    uint8_t b[6];
    uint8_t bits;
};

/* IANA's registries of special-purpose addresses, with multicast and the reserved rest. */
static const struct prefix special4[] = {
    {{0}, 8},             /* this network */
    {{10}, 8},            /* private */
    {{100, 64}, 10},      /* shared by carriers */
    {{127}, 8},           /* loopback */
    {{169, 254}, 16},     /* link-local */
    {{172, 16}, 12},      /* private */
    {{192, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2}, 24},    /* documentation */
    {{192, 88, 99}, 24},  /* 6to4 relays, withdrawn */
    {{192, 168}, 16},     /* private */
    {{198, 18}, 15},      /* benchmarks */
    {{198, 51, 100}, 24}, /* documentation */
    {{203, 0, 113}, 24},  /* documentation */
    {{224}, 3},           /* multicast, reserved, broadcast */
};

/* Inside 2000::/3 only: everything else is not globally routable unicast. */
static const struct prefix special6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation, RFC 9637 */
};

static bool in_prefix(const uint8_t *b, const struct prefix *p) {
    size_t whole = p->bits / 8, rest = p->bits % 8;
    if (memcmp(b, p->b, whole) != 0)
        return false;
    return !rest || (uint8_t)((b[whole] ^ p->b[whole]) >> (8 - rest)) == 0;
}

static bool special_v4(const uint8_t *b) {
    for (size_t i = 0; i < sizeof special4 / sizeof special4[0]; i++)
        if (in_prefix(b, &special4[i]))
            return true;
    return false;
}

bool rmd_addr_is_special(const struct rmd_addr *a) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}; /* RFC 6052 */
    if (a->family == 4)
        return special_v4(a->b);
    if (a->family != 6)
        return true;
    if (memcmp(a->b, mapped, 12) == 0 || memcmp(a->b, nat64, 12) == 0)
        return special_v4(a->b + 12);
    if (a->b[0] == 0x20 && a->b[1] == 0x02) /* 6to4, RFC 3056 */
        return special_v4(a->b + 2);
    if ((a->b[0] & 0xe0) != 0x20)
        return true;
    for (size_t i = 0; i < sizeof special6 / sizeof special6[0]; i++)
        if (in_prefix(a->b, &special6[i]))
            return true;
    return false;
}

int rmd_prefix_parse(const char *s, struct rmd_prefix *out) {
    char text[64];
    const char *slash = strchr(s, '/');
    if (!rmd_copy_slice(text, sizeof text, rmd_slice(s, slash ? (size_t)(slash - s) : strlen(s))))
        return RMD_EFORMAT;
    int error = rmd_addr_parse(text, &out->addr);
    if (error)
        return error;
    uint64_t bits = out->addr.family == 4 ? 32 : 128, most = bits;
    if (slash && (rmd_parse_u64(rmd_slice_str(slash + 1), &bits) != RMD_OK || bits > most))
        return RMD_EFORMAT;
    out->bits = (unsigned)bits;
    return RMD_OK;
}

bool rmd_prefix_has(const struct rmd_prefix *n, const struct rmd_addr *a) {
    if (n->addr.family != a->family)
        return false;
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->addr.b, a->b, whole) != 0)
        return false;
    return !rest || ((n->addr.b[whole] ^ a->b[whole]) >> (8 - rest)) == 0;
}

bool rmd_addr_is_host(const struct rmd_addr *a) {
    static const uint8_t zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->family == 4)
        return a->b[0] != 0 && a->b[0] < 224;
    return memcmp(a->b, zero, 16) != 0 && a->b[0] != 0xff && memcmp(a->b, mapped, 12) != 0;
}
