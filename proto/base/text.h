/* Text helpers: bounded copies, ASCII case, numbers, base64, hex, UTF-8, IP addresses, ids, times, durations. All
 * pure. */
#ifndef REMUDA_TEXT_H
#define REMUDA_TEXT_H

#include <base/buf.h>

/* Copies at most n - 1 bytes and terminates; returns false when it had to cut. */
bool rmd_copy(char *dst, size_t n, const char *src);
bool rmd_copy_slice(char *dst, size_t n, struct rmd_slice src);
int rmd_format(char *dst, size_t n, const char *fmt, ...) RMD_PRINTF(3, 4); /* length, or RMD_ELIMIT when cut */

char rmd_lower(char c);
void rmd_lower_str(char *s);
bool rmd_case_eq(struct rmd_slice a, struct rmd_slice b); /* ASCII */
bool rmd_case_prefix(struct rmd_slice s, const char *prefix);
bool rmd_has_suffix(const char *s, const char *suffix);
struct rmd_slice rmd_trim(struct rmd_slice s); /* blanks, tabs, CR, LF at both ends */
/* Finds needle in hay, ASCII case ignored; NULL when absent. */
const uint8_t *rmd_case_find(struct rmd_slice hay, struct rmd_slice needle);

/* Decimal; the whole slice must be digits. RMD_EFORMAT, RMD_ELIMIT. */
int rmd_parse_u64(struct rmd_slice s, uint64_t *out) RMD_CHECKED;
/* "90s", "5min" or "5m", "4h", "2d", "250ms", plain number = seconds. */
int rmd_parse_duration_ms(struct rmd_slice s, int64_t *out) RMD_CHECKED;
/* "1000", "200k", "2M" (decimal). */
int rmd_parse_count(struct rmd_slice s, uint64_t *out) RMD_CHECKED;
/* "5%", "0.02%", in millionths; at most four digits behind the point. */
int rmd_parse_ppm(struct rmd_slice s, uint64_t *out) RMD_CHECKED;
/* "64KiB", "20MB", plain bytes. */
int rmd_parse_bytes(struct rmd_slice s, uint64_t *out) RMD_CHECKED;
/* "2d 4h", "5min 3s", "250ms": two largest units at most. */
void rmd_format_duration(int64_t ms, char out[32]);
/* "1 234 567" style grouping is not used; 1234567 -> "1,234,567". */
void rmd_format_count(uint64_t n, char out[32]);

size_t rmd_hex(char *out, const void *p, size_t n);                    /* lower case, terminated: out has 2n + 1 */
int rmd_unhex(struct rmd_slice s, uint8_t *out, size_t n) RMD_CHECKED; /* exactly n bytes */
void rmd_base64(struct rmd_buf *out, const void *p, size_t n);         /* RFC 4648, padded, one line */
size_t rmd_base64_raw(char *out, const void *p, size_t n);             /* no terminator; 4 * ceil(n/3) */
int rmd_unbase64(struct rmd_slice s, struct rmd_buf *out) RMD_CHECKED; /* blanks and line ends ignored */

/* Length of the valid UTF-8 sequence at p (1-4), 0 when it isn't one (overlong, surrogate, > U+10FFFF, cut). */
size_t rmd_utf8_len(const uint8_t *p, size_t n);
bool rmd_utf8_valid(struct rmd_slice s);
bool rmd_is_ascii(struct rmd_slice s);

int rmd_addr_parse(const char *s, struct rmd_addr *out) RMD_CHECKED; /* "203.0.113.7", "2001:db8::7" */
void rmd_addr_format(const struct rmd_addr *a, char out[48]);
bool rmd_addr_eq(const struct rmd_addr *a, const struct rmd_addr *b);
/* The network: first 24 bits of an IPv4 address, 64 of an IPv6 one, the rest zero. */
struct rmd_addr rmd_addr_network(const struct rmd_addr *a);

/* A network of addresses, from "127.0.0.0/8" or "2001:db8::/32"; a bare address is itself. */
struct rmd_prefix {
    struct rmd_addr addr;
    unsigned bits;
};
int rmd_prefix_parse(const char *s, struct rmd_prefix *out) RMD_CHECKED;
bool rmd_prefix_has(const struct rmd_prefix *n, const struct rmd_addr *a);
void rmd_network_format(const struct rmd_addr *a, char out[56]); /* "203.0.113.0/24" */
/* An address that a host can have: not unspecified, multicast, broadcast, or an IPv4 one in an IPv6 dress. */
bool rmd_addr_is_host(const struct rmd_addr *a);
/* Not globally routable: loopback, private, link-local, unspecified, multicast, documentation, v4-mapped of such. */
bool rmd_addr_is_special(const struct rmd_addr *a);

/* A new campaign id from wall time and 32 random bits; the id of row `ordinal` (< 2^48) of it; the parts back. */
struct rmd_id rmd_id_make(int64_t wall_ms, uint32_t random);
struct rmd_id rmd_id_row(const struct rmd_id *campaign, uint64_t ordinal);
struct rmd_id rmd_id_campaign(const struct rmd_id *message);
uint64_t rmd_id_ordinal(const struct rmd_id *message);
/* 26 characters of Crockford's base 32 in lower case ("01j9zk..."), terminated; parse takes either case. */
void rmd_id_format(const struct rmd_id *id, char out[27]);
int rmd_id_parse(struct rmd_slice s, struct rmd_id *out) RMD_CHECKED;
bool rmd_id_eq(const struct rmd_id *a, const struct rmd_id *b);

/* RFC 5322 date in UTC: "Mon, 23 Nov 2026 10:00:00 +0000". RFC 3339 in UTC with milliseconds. Pure calendar
 * arithmetic. */
void rmd_date_rfc5322(int64_t wall_ms, char out[40]);
void rmd_date_rfc3339(int64_t wall_ms, char out[32]);
int rmd_date_parse_rfc3339(struct rmd_slice s, int64_t *wall_ms) RMD_CHECKED; /* also a bare YYYY-MM-DD */

/* FNV-1a, 32 and 64 bit; not for secrets. rmd_mix64 scrambles an integer (splitmix64 finaliser). */
uint32_t rmd_fnv32(struct rmd_slice s);
uint64_t rmd_fnv64(struct rmd_slice s);
uint64_t rmd_mix64(uint64_t x);

/* Big-endian integers, for keys whose byte order is their order. */
static inline void rmd_put_be16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void rmd_put_be32(uint8_t *p, uint32_t v) {
    rmd_put_be16(p, (uint16_t)(v >> 16));
    rmd_put_be16(p + 2, (uint16_t)v);
}
static inline void rmd_put_be64(uint8_t *p, uint64_t v) {
    rmd_put_be32(p, (uint32_t)(v >> 32));
    rmd_put_be32(p + 4, (uint32_t)v);
}
static inline uint16_t rmd_get_be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t rmd_get_be32(const uint8_t *p) {
    return (uint32_t)rmd_get_be16(p) << 16 | rmd_get_be16(p + 2);
}
static inline uint64_t rmd_get_be64(const uint8_t *p) {
    return (uint64_t)rmd_get_be32(p) << 32 | rmd_get_be32(p + 4);
}

#endif
