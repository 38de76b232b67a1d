/* Reader of a raw DNS answer (see dns_message.h). */
#include "proto/io/dns_message.h"

#include <base/text.h>

enum {
    HEADER_BYTES = 12,
    FLAG_QR = 0x8000,
    FLAG_TC = 0x0200,
    FLAG_AD = 0x0020,
    RCODE_NOERROR = 0,
    RCODE_NXDOMAIN = 3,
    CLASS_IN = 1,
    WIRE_NAME_MAX = 255,
    TTL_MAX = 0x7fffffff, /* RFC 2181, section 8: a set top bit reads as zero */
    POINTERS_MAX = 64,
};

struct cursor {
    const uint8_t *start;
    size_t n, at;
};

struct record {
    char owner[RMD_DOMAIN_MAX + 1];
    bool owner_ok;
    uint16_t type, class;
    uint32_t ttl;
    size_t data; /* offset */
    uint16_t data_n;
};

bool rmd_dns_name_ok(const char *name) {
    size_t label = 0, n = 0;
    for (; name[n]; n++) {
        char c = rmd_lower(name[n]);
        if (c == '.') {
            if (!label)
                return false;
            label = 0;
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label && n <= RMD_DOMAIN_MAX;
}

/* Reads the name at c->at and moves behind it. False: the message is broken there. *text_ok: the name is one that a
 * host or domain can have; others (a dot or a blank inside a label) are read over, out is "". The root is "" with
 * text_ok. */
static bool read_name(struct cursor *c, char out[RMD_DOMAIN_MAX + 1], bool *text_ok) {
    size_t at = c->at, behind = 0, len = 0, wire = 0;
    int pointers = 0;
    *text_ok = true;
    for (;;) {
        if (at >= c->n)
            return false;
        uint8_t b = c->start[at];
        if ((b & 0xc0) == 0xc0) {
            if (at + 1 >= c->n || ++pointers > POINTERS_MAX)
                return false;
            size_t to = (size_t)(b & 0x3f) << 8 | c->start[at + 1];
            if (!behind)
                behind = at + 2;
            if (to >= at) /* forwards or onto itself: a loop in the making */
                return false;
            at = to;
            continue;
        }
        if (b & 0xc0)
            return false;
        wire += (size_t)b + 1;
        if (wire > WIRE_NAME_MAX || at + 1 + b > c->n)
            return false;
        at++;
        if (!b)
            break;
        if (len)
            out[len++] = '.';
        for (size_t i = 0; i < b; i++) {
            char ch = rmd_lower((char)c->start[at + i]);
            *text_ok = *text_ok && ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_');
            out[len++] = ch; /* 255 octets on the wire are 253 characters at most */
        }
        at += b;
    }
    out[*text_ok ? len : 0] = 0;
    c->at = behind ? behind : at;
    return true;
}

static bool read_record(struct cursor *c, struct record *r) {
    if (!read_name(c, r->owner, &r->owner_ok) || c->n - c->at < 10)
        return false;
    const uint8_t *p = c->start + c->at;
    r->type = rmd_get_be16(p);
    r->class = rmd_get_be16(p + 2);
    r->ttl = rmd_get_be32(p + 4);
    if (r->ttl > TTL_MAX)
        r->ttl = 0;
    r->data_n = rmd_get_be16(p + 8);
    r->data = c->at + 10;
    if (c->n - r->data < r->data_n)
        return false;
    c->at = r->data + r->data_n;
    return true;
}

static void tempfail(struct rmd_dns_reply *out, const char *why) {
    out->status = RMD_DNS_TEMPFAIL;
    out->n_mx = out->n_addr = out->n_txt = out->n_tlsa = 0;
    out->secure = false;
    out->alias[0] = 0;
    rmd_copy(out->detail, sizeof out->detail, why);
}

static void use_ttl(struct rmd_dns_reply *out, uint32_t ttl) {
    if (!out->has_ttl || ttl < out->ttl_s)
        out->ttl_s = ttl;
    out->has_ttl = true;
}

/* --- record data; false: broken */

static bool mx_before(const struct rmd_mx *a, const struct rmd_mx *b) {
    return a->preference != b->preference ? a->preference < b->preference : strcmp(a->host, b->host) < 0;
}

/* Keeps the list sorted, each host once with its best preference, and the best of more than fit. */
static void add_mx(struct rmd_dns_reply *out, const struct rmd_mx *mx) {
    int n = out->n_mx;
    for (int i = 0; i < n; i++) {
        if (strcmp(out->mx[i].host, mx->host) != 0)
            continue;
        if (out->mx[i].preference <= mx->preference)
            return;
        memmove(&out->mx[i], &out->mx[i + 1], (size_t)(n - i - 1) * sizeof *mx);
        n--;
        break;
    }
    if (n == RMD_DNS_MX_MAX && mx_before(&out->mx[n - 1], mx)) {
        out->n_mx = n;
        return;
    }
    int at = n == RMD_DNS_MX_MAX ? n - 1 : n; /* the worst one goes */
    for (; at > 0 && mx_before(mx, &out->mx[at - 1]); at--)
        out->mx[at] = out->mx[at - 1];
    out->mx[at] = *mx;
    out->n_mx = n < RMD_DNS_MX_MAX ? n + 1 : n;
}

static bool read_mx(const struct cursor *c, const struct record *r, struct rmd_dns_reply *out) {
    struct cursor d = {.start = c->start, .n = r->data + r->data_n, .at = r->data + 2};
    struct rmd_mx mx;
    bool ok;
    if (r->data_n < 3 || !read_name(&d, mx.host, &ok) || d.at != d.n)
        return false;
    mx.preference = rmd_get_be16(c->start + r->data);
    if (ok)
        add_mx(out, &mx);
    use_ttl(out, r->ttl);
    return true;
}

static bool read_addr(const struct record *r, const uint8_t *data, uint16_t type, struct rmd_dns_reply *out) {
    size_t want = type == RMD_DNS_TYPE_A ? 4 : 16;
    if (r->data_n != want)
        return false;
    struct rmd_addr a = {.family = type == RMD_DNS_TYPE_A ? 4 : 6};
    memcpy(a.b, data, want);
    use_ttl(out, r->ttl);
    for (int i = 0; i < out->n_addr; i++)
        if (memcmp(&out->addr[i], &a, sizeof a) == 0)
            return true;
    if (out->n_addr < RMD_DNS_ADDR_MAX)
        out->addr[out->n_addr++] = a;
    return true;
}

/* One or more strings, each behind its length (RFC 1035, section 3.3.14). */
static bool read_txt(const struct record *r, const uint8_t *data, struct rmd_dns_reply *out) {
    if (!r->data_n)
        return false;
    char *text = out->n_txt < RMD_DNS_TXT_MAX ? out->txt[out->n_txt] : NULL;
    size_t n = 0;
    for (size_t at = 0; at < r->data_n; at += (size_t)data[at] + 1) {
        if (at + 1 + data[at] > r->data_n)
            return false;
        for (size_t i = 0; text && i < data[at] && n + 1 < RMD_DNS_TXT_BYTES; i++) {
            uint8_t b = data[at + 1 + i];
            text[n++] = b >= 0x20 && b < 0x7f ? (char)b : '?';
        }
    }
    if (text) {
        text[n] = 0;
        out->n_txt++;
    }
    use_ttl(out, r->ttl);
    return true;
}

/* RFC 6698, section 2.1. What these numbers mean, and whether the data fits them, isn't judged here. */
static bool read_tlsa(const struct record *r, const uint8_t *data, struct rmd_dns_reply *out) {
    if (r->data_n < 4)
        return false;
    size_t n = r->data_n - 3u;
    use_ttl(out, r->ttl);
    if (out->n_tlsa == RMD_DNS_TLSA_MAX || n > RMD_DNS_TLSA_BYTES - out->tlsa_bytes) {
        out->tlsa_lost++;
        return true;
    }
    out->tlsa[out->n_tlsa++] = (struct rmd_tlsa){.usage = data[0],
                                                 .selector = data[1],
                                                 .matching = data[2],
                                                 .at = (uint16_t)out->tlsa_bytes,
                                                 .n = (uint16_t)n};
    memcpy(out->tlsa_data + out->tlsa_bytes, data + 3, n);
    out->tlsa_bytes += n;
    return true;
}

static bool read_cname(const struct cursor *c, const struct record *r, char target[RMD_DOMAIN_MAX + 1], bool *ok) {
    struct cursor d = {.start = c->start, .n = r->data + r->data_n, .at = r->data};
    return read_name(&d, target, ok) && d.at == d.n;
}

/* --- sections */

/* One walk over the answer section: takes the records of `name`. Returns the number taken, -1 when broken; target: of
 * its CNAME. */
static int take_records(struct cursor c, int count, const char *name, uint16_t type, struct rmd_dns_reply *out,
                        char target[RMD_DOMAIN_MAX + 1]) {
    int taken = 0;
    target[0] = 0;
    for (int i = 0; i < count; i++) {
        struct record r;
        bool ok = true;
        if (!read_record(&c, &r))
            return -1;
        if (r.class != CLASS_IN || !r.owner_ok || strcmp(r.owner, name) != 0)
            continue;
        if (r.type == type) {
            ok = type == RMD_DNS_TYPE_MX     ? read_mx(&c, &r, out)
                 : type == RMD_DNS_TYPE_TXT  ? read_txt(&r, c.start + r.data, out)
                 : type == RMD_DNS_TYPE_TLSA ? read_tlsa(&r, c.start + r.data, out)
                                             : read_addr(&r, c.start + r.data, type, out);
        } else if (r.type == RMD_DNS_TYPE_CNAME && !target[0]) {
            bool name_ok;
            ok = read_cname(&c, &r, target, &name_ok) && name_ok && target[0];
            use_ttl(out, r.ttl);
        } else {
            continue;
        }
        if (!ok)
            return -1;
        taken++;
    }
    return taken;
}

static bool skip_records(struct cursor *c, int count) {
    struct record r;
    for (int i = 0; i < count; i++)
        if (!read_record(c, &r))
            return false;
    return true;
}

/* The SOA of the authority section bounds a negative answer (RFC 2308, section 5). */
static bool read_soa(struct cursor c, int count, struct rmd_dns_reply *out, bool *found) {
    *found = false;
    for (int i = 0; i < count; i++) {
        struct record r;
        if (!read_record(&c, &r))
            return false;
        if (r.type != RMD_DNS_TYPE_SOA || r.class != CLASS_IN)
            continue;
        struct cursor d = {.start = c.start, .n = r.data + r.data_n, .at = r.data};
        char ignored[RMD_DOMAIN_MAX + 1];
        bool ok;
        bool names = read_name(&d, ignored, &ok);     /* MNAME */
        names = names && read_name(&d, ignored, &ok); /* RNAME */
        if (!names || d.n - d.at != 20)
            return false;
        uint32_t minimum = rmd_get_be32(d.start + d.at + 16);
        use_ttl(out, r.ttl < minimum ? r.ttl : minimum);
        *found = true;
        return true;
    }
    return true;
}

/* Null MX (RFC 7505) stands alone; beside others it says nothing. */
static void settle_mx(struct rmd_dns_reply *out) {
    if (out->n_mx < 2)
        return;
    int n = 0;
    for (int i = 0; i < out->n_mx; i++)
        if (out->mx[i].host[0])
            out->mx[n++] = out->mx[i];
    out->n_mx = n;
}

static bool has_records(const struct rmd_dns_reply *out) {
    return out->n_mx || out->n_addr || out->n_txt || out->n_tlsa || out->tlsa_lost;
}

/* Follows the chain from the question; status of a NOERROR answer. */
static void read_answers(struct cursor c, const int count[4], const char *name, uint16_t type, bool nxdomain,
                         struct rmd_dns_reply *out) {
    char at[RMD_DOMAIN_MAX + 1], target[RMD_DOMAIN_MAX + 1];
    rmd_copy(at, sizeof at, name);
    int taken = 0, hops = 0;
    for (;; hops++) {
        int n = hops > RMD_DNS_CHAIN_MAX ? -2 : take_records(c, count[1], at, type, out, target);
        if (n < 0) {
            tempfail(out, n == -2 ? "CNAME loop" : "malformed answer");
            return;
        }
        taken += n;
        if (!target[0] || has_records(out))
            break;
        rmd_copy(at, sizeof at, target);
    }
    settle_mx(out);
    struct cursor authority = c;
    bool has_soa = false;
    if (has_records(out)) {
        out->status = RMD_DNS_OK;
    } else if (!skip_records(&authority, count[1]) || !read_soa(authority, count[2], out, &has_soa)) {
        tempfail(out, "malformed answer");
    } else if (taken > hops) { /* MX there were, and none with a host name */
        tempfail(out, "no MX names a valid host");
    } else if (count[1] && !taken && !nxdomain) {
        tempfail(out, "the answer doesn't belong to the question");
    } else {
        out->status = nxdomain ? RMD_DNS_NXDOMAIN : RMD_DNS_NODATA;
        out->has_ttl = has_soa; /* a CNAME's TTL alone says nothing about what isn't there */
        if (hops && !nxdomain && !has_soa)
            rmd_copy(out->alias, sizeof out->alias, at);
    }
}

static bool question_matches(struct cursor *c, const char *name, uint16_t type) {
    char asked[RMD_DOMAIN_MAX + 1];
    bool ok;
    if (!read_name(c, asked, &ok) || c->n - c->at < 4)
        return false;
    const uint8_t *p = c->start + c->at;
    c->at += 4;
    return ok && strcmp(asked, name) == 0 && rmd_get_be16(p) == type && rmd_get_be16(p + 2) == CLASS_IN;
}

void rmd_dns_reply_parse(struct rmd_slice message, const char *name, uint16_t type, struct rmd_dns_reply *out) {
    out->status = RMD_DNS_TEMPFAIL;
    out->has_ttl = false;
    out->ttl_s = 0;
    out->alias[0] = out->detail[0] = 0;
    out->n_mx = out->n_addr = out->n_txt = out->n_tlsa = out->tlsa_lost = 0;
    out->tlsa_bytes = 0;
    out->secure = false;
    struct cursor c = {.start = message.p, .n = message.n, .at = HEADER_BYTES};
    if (message.n < HEADER_BYTES) {
        tempfail(out, "malformed answer");
        return;
    }
    uint16_t flags = rmd_get_be16(message.p + 2);
    out->secure = flags & FLAG_AD;
    int count[4];
    for (int i = 0; i < 4; i++)
        count[i] = rmd_get_be16(message.p + 4 + 2 * i);
    unsigned rcode = flags & 15;
    if (!(flags & FLAG_QR) || count[0] != 1 || !question_matches(&c, name, type))
        tempfail(out, "the answer doesn't belong to the question");
    else if (flags & FLAG_TC)
        tempfail(out, "truncated answer");
    else if (count[1] + count[2] > RMD_DNS_RECORDS_MAX)
        tempfail(out, "too many records");
    else if (rcode == RCODE_NOERROR || rcode == RCODE_NXDOMAIN)
        read_answers(c, count, name, type, rcode == RCODE_NXDOMAIN, out);
    else
        tempfail(out, rcode == 2 ? "SERVFAIL" : rcode == 5 ? "REFUSED" : "the server answered with an error");
}
