/* Text helpers: bounded copies, ASCII case, numbers with units, hexadecimal, base64, UTF-8, hashes (see text.h).
 *
 * ASCII only and never by locale: mail protocols compare octets. Parsers are strict: the whole slice must be the
 * value, RMD_EFORMAT when it isn't one, RMD_ELIMIT when it doesn't fit; `out` is written on success only. */
#include <base/text.h>

#include <assert.h>
#include <stdio.h>

bool rmd_copy_slice(char *dst, size_t n, struct rmd_slice src) {
    if (!n)
        return false;
    size_t take = src.n < n ? src.n : n - 1;
    if (take)
        memcpy(dst, src.p, take);
    dst[take] = 0;
    return take == src.n;
}

bool rmd_copy(char *dst, size_t n, const char *src) {
    return rmd_copy_slice(dst, n, rmd_slice_str(src));
}

int rmd_format(char *dst, size_t n, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(dst, n, fmt, ap);
    va_end(ap);
    assert(len >= 0);
    return (size_t)len < n ? len : RMD_ELIMIT;
}

char rmd_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

void rmd_lower_str(char *s) {
    for (; *s; s++)
        *s = rmd_lower(*s);
}

static bool case_eq_n(const uint8_t *a, const uint8_t *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (rmd_lower((char)a[i]) != rmd_lower((char)b[i]))
            return false;
    return true;
}

bool rmd_case_eq(struct rmd_slice a, struct rmd_slice b) {
    return a.n == b.n && case_eq_n(a.p, b.p, a.n);
}

bool rmd_case_prefix(struct rmd_slice s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.n >= n && case_eq_n(s.p, (const uint8_t *)prefix, n);
}

bool rmd_has_suffix(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct rmd_slice rmd_trim(struct rmd_slice s) {
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

const uint8_t *rmd_case_find(struct rmd_slice hay, struct rmd_slice needle) {
    if (needle.n > hay.n)
        return NULL;
    if (!needle.n)
        return hay.p;
    uint8_t low = (uint8_t)rmd_lower((char)needle.p[0]), high = low >= 'a' && low <= 'z' ? low - ('a' - 'A') : low;
    for (size_t i = 0; i <= hay.n - needle.n; i++)
        if ((hay.p[i] == low || hay.p[i] == high) && case_eq_n(hay.p + i, needle.p, needle.n))
            return hay.p + i;
    return NULL;
}

/* --- numbers */

int rmd_parse_u64(struct rmd_slice s, uint64_t *out) {
    if (!s.n)
        return RMD_EFORMAT;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return RMD_EFORMAT;
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return RMD_ELIMIT;
    *out = v;
    return RMD_OK;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Digits directly followed by one suffix of the table, which ends with a NULL. */
static int parse_with_unit(struct rmd_slice s, const struct unit *units, uint64_t *out) {
    size_t digits = 0;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    struct rmd_slice suffix = rmd_slice(s.p + digits, s.n - digits);
    for (; units->suffix; units++) {
        if (!rmd_slice_eq(suffix, rmd_slice_str(units->suffix)))
            continue;
        uint64_t v;
        int rc = rmd_parse_u64(rmd_slice(s.p, digits), &v);
        if (rc < 0)
            return rc;
        if (__builtin_mul_overflow(v, units->factor, &v))
            return RMD_ELIMIT;
        *out = v;
        return RMD_OK;
    }
    return RMD_EFORMAT;
}

int rmd_parse_duration_ms(struct rmd_slice s, int64_t *out) {
    static const struct unit units[] = {{"", 1000},     {"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    uint64_t v;
    int rc = parse_with_unit(s, units, &v);
    if (rc < 0)
        return rc;
    if (v >= (uint64_t)RMD_NEVER)
        return RMD_ELIMIT;
    *out = (int64_t)v;
    return RMD_OK;
}

int rmd_parse_count(struct rmd_slice s, uint64_t *out) {
    static const struct unit units[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0}};
    return parse_with_unit(s, units, out);
}

int rmd_parse_ppm(struct rmd_slice s, uint64_t *out) {
    enum { BEHIND = 4, DIGITS = 10 };
    uint64_t v = 0;
    int digits = 0, behind = -1;
    if (!s.n || s.p[s.n - 1] != '%')
        return RMD_EFORMAT;
    for (size_t i = 0; i + 1 < s.n; i++) {
        if (s.p[i] == '.' && behind < 0) {
            behind = 0;
            continue;
        }
        if (s.p[i] < '0' || s.p[i] > '9' || behind >= BEHIND)
            return RMD_EFORMAT;
        if (++digits > DIGITS)
            return RMD_ELIMIT;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
        behind += behind >= 0;
    }
    if (!digits || behind == 0)
        return RMD_EFORMAT;
    for (int i = behind < 0 ? 0 : behind; i < BEHIND; i++)
        v *= 10;
    *out = v;
    return RMD_OK;
}

int rmd_parse_bytes(struct rmd_slice s, uint64_t *out) {
    static const struct unit units[] = {{"", 1},
                                        {"B", 1},
                                        {"kB", 1000},
                                        {"KB", 1000},
                                        {"MB", 1000000},
                                        {"GB", 1000000000},
                                        {"TB", 1000000000000},
                                        {"KiB", UINT64_C(1) << 10},
                                        {"MiB", UINT64_C(1) << 20},
                                        {"GiB", UINT64_C(1) << 30},
                                        {"TiB", UINT64_C(1) << 40},
                                        {NULL, 0}};
    return parse_with_unit(s, units, out);
}

void rmd_format_duration(int64_t ms, char out[32]) {
    static const struct unit units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
    enum { UNITS = sizeof units / sizeof units[0] };
    const char *sign = ms < 0 ? "-" : "";
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t i = 0;
    while (i < UNITS && left < units[i].factor)
        i++;
    if (i == UNITS) {
        rmd_copy(out, 32, "0s");
        return;
    }
    int n = rmd_format(out, 32, "%s%llu%s", sign, (unsigned long long)(left / units[i].factor), units[i].suffix);
    left %= units[i].factor;
    if (n > 0 && i + 1 < UNITS && left >= units[i + 1].factor)
        n = rmd_format(out + n, 32 - (size_t)n, " %llu%s", (unsigned long long)(left / units[i + 1].factor),
                       units[i + 1].suffix);
    assert(n > 0);
}

void rmd_format_count(uint64_t n, char out[32]) {
    char digits[24];
    int len = rmd_format(digits, sizeof digits, "%llu", (unsigned long long)n);
    char *to = out;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
}

/* --- hexadecimal, base64 (RFC 4648) */

size_t rmd_hex(char *out, const void *p, size_t n) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = 0;
    return 2 * n;
}

static int hex_value(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int rmd_unhex(struct rmd_slice s, uint8_t *out, size_t n) {
    if (s.n % 2 || s.n / 2 != n)
        return RMD_EFORMAT;
    for (size_t i = 0; i < s.n; i++)
        if (hex_value(s.p[i]) < 0)
            return RMD_EFORMAT;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(hex_value(s.p[2 * i]) << 4 | hex_value(s.p[2 * i + 1]));
    return RMD_OK;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t rmd_base64_raw(char *out, const void *p, size_t n) {
    const uint8_t *b = p;
    char *to = out;
    size_t i = 0;
    for (; n - i >= 3; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)b[i + 1] << 8 | b[i + 2];
        *to++ = base64_digits[v >> 18];
        *to++ = base64_digits[v >> 12 & 63];
        *to++ = base64_digits[v >> 6 & 63];
        *to++ = base64_digits[v & 63];
    }
    if (n > i) {
        bool two = n - i == 2;
        uint32_t v = (uint32_t)b[i] << 16 | (two ? (uint32_t)b[i + 1] << 8 : 0);
        *to++ = base64_digits[v >> 18];
        *to++ = base64_digits[v >> 12 & 63];
        *to++ = two ? base64_digits[v >> 6 & 63] : '=';
        *to++ = '=';
    }
    return (size_t)(to - out);
}

void rmd_base64(struct rmd_buf *out, const void *p, size_t n) {
    size_t more = n > SIZE_MAX / 2 ? SIZE_MAX : (n + 2) / 3 * 4;
    rmd_buf_reserve(out, more);
    if (out->overflow)
        return;
    out->len += rmd_base64_raw((char *)out->p + out->len, p, n);
    out->p[out->len] = 0;
}

static int base64_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Padding is required and bits after the data must be zero, so that one text is one value. Nothing is appended on
 * error. */
int rmd_unbase64(struct rmd_slice s, struct rmd_buf *out) {
    size_t start = out->len, digits = 0, pads = 0;
    uint32_t v = 0;
    bool bad = false;
    for (size_t i = 0; i < s.n && !bad; i++) {
        if (is_blank(s.p[i]))
            continue;
        if (s.p[i] == '=') {
            bad = ++pads > 2 || digits % 4 < 2;
            continue;
        }
        int d = base64_value(s.p[i]);
        bad = d < 0 || pads;
        v = v << 6 | (uint32_t)(d & 63);
        if (!bad && ++digits % 4 == 0) {
            uint8_t three[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
            rmd_buf_add(out, three, 3);
        }
    }
    size_t rest = digits % 4;
    bad = bad || (rest ? rest + pads != 4 : pads != 0);
    if (!bad && rest == 2) {
        bad = v & 15;
        rmd_buf_addc(out, (char)(uint8_t)(v >> 4));
    } else if (!bad && rest == 3) {
        bad = v & 3;
        uint8_t two[2] = {(uint8_t)(v >> 10), (uint8_t)(v >> 2)};
        rmd_buf_add(out, two, 2);
    }
    if (bad || out->overflow)
        rmd_buf_truncate(out, start);
    return bad ? RMD_EFORMAT : out->overflow ? RMD_ELIMIT : RMD_OK;
}

/* --- UTF-8 (RFC 3629) */

size_t rmd_utf8_len(const uint8_t *p, size_t n) {
    if (!n)
        return 0;
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (!len || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xf0 && p[1] < 0x90)) /* overlong */
        return 0;
    if ((c == 0xed && p[1] > 0x9f) || (c == 0xf4 && p[1] > 0x8f)) /* surrogate; beyond U+10FFFF */
        return 0;
    return len;
}

bool rmd_utf8_valid(struct rmd_slice s) {
    for (size_t i = 0; i < s.n;) {
        size_t len = rmd_utf8_len(s.p + i, s.n - i);
        if (!len)
            return false;
        i += len;
    }
    return true;
}

bool rmd_is_ascii(struct rmd_slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] & 0x80)
            return false;
    return true;
}

/* --- hashes */

uint32_t rmd_fnv32(struct rmd_slice s) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ s.p[i]) * 16777619u;
    return h;
}

uint64_t rmd_fnv64(struct rmd_slice s) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ s.p[i]) * UINT64_C(1099511628211);
    return h;
}

uint64_t rmd_mix64(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
