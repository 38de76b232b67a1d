/* The DNS port's contract: the fake of the simulator and c-ares against a real Knot under one table of names, then
 * what only the fake can show (virtual time), and what only a misbehaving server can show (c-ares alone).
 *
 * The bad server is a thread with a UDP socket on loopback; the first label of the name asked for says how to
 * misbehave. */
#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/io/dns_cares.h"
#include "tests/kit/dns_fake.h"
#include "tests/kit/dns_server.h"

enum { WAIT_MS = 10000 };

/* --- what both backends know */

static const char zone_test[] =
    "$ORIGIN test.\n$TTL 300\n"
    "@ SOA ns hostmaster 1 3600 600 86400 30\n"
    "@ NS ns\nns A 127.0.0.1\n"
    "plain 120 MX 10 mx1.plain\nplain 120 MX 20 mx2.plain\n"
    "mx1.plain 90 A 192.0.2.1\nmx1.plain 90 AAAA 2001:db8::1\nmx2.plain A 192.0.2.2\n"
    "order MX 20 b\norder MX 10 z\norder MX 10 a\n"
    "upper MX 10 MX.Upper.TEST.\n"
    "null MX 0 .\n"
    "implicit A 192.0.2.7\n"
    "implicit6 AAAA 2001:db8::7\n"
    "alias CNAME plain\n"
    "cross CNAME target.else.\n"
    "nodata TXT \"nothing to see\"\n"
    "said 60 TXT \"one \" \"and two\"\nsaid 60 TXT \"three\\001\"\n"
    "2.0.0.127.bl 5 A 127.0.0.2\n2.0.0.127.bl 5 A 127.0.0.4\n2.0.0.127.bl 5 TXT \"test entry\"\n"
    "saidalias CNAME said\n"
    "six AAAA 2001:db8::6\n";
static const char zone_else[] = "$ORIGIN else.\n$TTL 300\n"
                                "@ SOA ns hostmaster 1 3600 600 86400 30\n"
                                "@ NS ns.test.\n"
                                "target MX 5 mx.target\ntarget A 192.0.2.9\n";

static void fill_fake(struct rmd_dns_fake *f) {
    rmd_dns_fake_mx(f, "plain.test", "10 mx1.plain.test, 20 mx2.plain.test", 120);
    rmd_dns_fake_addr(f, "mx1.plain.test", "192.0.2.1, 2001:db8::1", 90);
    rmd_dns_fake_addr(f, "mx2.plain.test", "192.0.2.2", 300);
    rmd_dns_fake_mx(f, "order.test", "20 b.test, 10 z.test, 10 a.test", 300);
    rmd_dns_fake_mx(f, "upper.test", "10 mx.upper.test", 300);
    rmd_dns_fake_mx(f, "null.test", "0 .", 300);
    rmd_dns_fake_addr(f, "implicit.test", "192.0.2.7", 300);
    rmd_dns_fake_addr(f, "implicit6.test", "2001:db8::7", 300);
    rmd_dns_fake_cname(f, "alias.test", "plain.test");
    rmd_dns_fake_cname(f, "cross.test", "target.else");
    rmd_dns_fake_mx(f, "target.else", "5 mx.target.else", 300);
    rmd_dns_fake_addr(f, "target.else", "192.0.2.9", 300);
    rmd_dns_fake_mx(f, "nodata.test", "", 0);
    rmd_dns_fake_txt(f, "nodata.test", "nothing to see", 300);
    rmd_dns_fake_txt(f, "said.test", "one and two", 60);
    rmd_dns_fake_txt(f, "said.test", "three?", 60);
    rmd_dns_fake_cname(f, "saidalias.test", "said.test");
    rmd_dns_fake_addr(f, "2.0.0.127.bl.test", "127.0.0.2, 127.0.0.4", 5);
    rmd_dns_fake_txt(f, "2.0.0.127.bl.test", "test entry", 5);
    rmd_dns_fake_addr(f, "six.test", "2001:db8::6", 300);
    char many[40 * 24] = "";
    for (int i = 40; i > 0; i--) {
        size_t n = strlen(many);
        rmd_format(many + n, sizeof many - n, "%s%d m%02d.many.test", n ? ", " : "", i, i);
    }
    rmd_dns_fake_mx(f, "many.test", many, 300);
}

/* --- a backend: a port and the turning of its wheels */

struct backend {
    struct rmd_dns port;
    struct rmd_dns_fake *fake;
    struct rmd_dns_cares *cares;
    struct rmd_time time; /* of both: the cache's clock */
};

static struct rmd_time backend_now(void *ctx) {
    return ((struct backend *)ctx)->time;
}

struct seen {
    int calls;
    struct rmd_mx_answer mx;
    struct rmd_addr_answer addr;
    struct rmd_txt_answer txt;
    struct rmd_tlsa_answer tlsa;
    char name[RMD_DOMAIN_MAX + 1];
    int order, *next_order;
};

static void on_mx(void *ctx, const char *domain, const struct rmd_mx_answer *a) {
    struct seen *s = ctx;
    s->calls++;
    s->mx = *a;
    rmd_copy(s->name, sizeof s->name, domain);
    if (s->next_order)
        s->order = ++*s->next_order;
}

static void on_addr(void *ctx, const char *host, const struct rmd_addr_answer *a) {
    struct seen *s = ctx;
    s->calls++;
    s->addr = *a;
    rmd_copy(s->name, sizeof s->name, host);
}

static void on_txt(void *ctx, const char *name, const struct rmd_txt_answer *a) {
    struct seen *s = ctx;
    s->calls++;
    s->txt = *a;
    rmd_copy(s->name, sizeof s->name, name);
}

/* Turns until all of n have been called once. */
static void turn(struct backend *b, struct seen *s, int n) {
    for (int64_t waited = 0; waited < WAIT_MS;) {
        int done = 0;
        for (int i = 0; i < n; i++)
            done += s[i].calls > 0;
        if (done == n)
            break;
        if (b->fake) {
            int64_t at = rmd_dns_fake_deadline(b->fake);
            assert_true(at != RMD_NEVER);
            if (at > b->time.mono_ms)
                b->time.mono_ms = at;
            rmd_dns_fake_step(b->fake, b->time.mono_ms);
            continue;
        }
        int64_t at = rmd_dns_cares_deadline(b->cares);
        assert_true(at != RMD_NEVER);
        int64_t wait = at - b->time.mono_ms;
        poll(&(struct pollfd){.fd = rmd_dns_cares_fd(b->cares), .events = POLLIN}, 1,
             (int)(wait < 1000 ? wait : 1000));
        waited += wait > 0 ? wait : 1;
        rmd_dns_cares_process(b->cares);
    }
    for (int i = 0; i < n; i++)
        assert_int_equal(s[i].calls, 1);
}

static struct seen ask_mx(struct backend *b, const char *domain) {
    struct seen s = {0};
    b->port.ops->mx(b->port.d, domain, on_mx, &s);
    turn(b, &s, 1);
    assert_string_equal(s.name, domain);
    return s;
}

static struct seen ask_addr(struct backend *b, const char *host, bool want4, bool want6) {
    struct seen s = {0};
    b->port.ops->addr(b->port.d, host, want4, want6, on_addr, &s);
    turn(b, &s, 1);
    return s;
}

static struct seen ask_codes(struct backend *b, const char *name) {
    struct seen s = {0};
    b->port.ops->codes(b->port.d, name, on_addr, &s);
    turn(b, &s, 1);
    return s;
}

static struct seen ask_txt(struct backend *b, const char *name) {
    struct seen s = {0};
    b->port.ops->txt(b->port.d, name, on_txt, &s);
    turn(b, &s, 1);
    return s;
}

static void open_cares(struct backend *b, const struct rmd_clock *clock, const char *servers, uint32_t max_in_flight,
                       int timeout_ms) {
    struct rmd_dns_cares_options o = {
        .servers = servers,
        .timeout_ms = timeout_ms,
        .tries = 2,
        .ttl_min_s = 1,
        .ttl_max_s = 3600,
        .negative_ttl_s = 20,
        .cache_entries = 1000,
        .max_in_flight = max_in_flight,
        .clock = clock,
    };
    char err[256] = "";
    int rc = rmd_dns_cares_open(&o, &b->cares, err, sizeof err);
    assert_string_equal(err, "");
    assert_int_equal(rc, RMD_OK);
    b->port = rmd_dns_cares_port(b->cares);
}

/* --- the table */

static void mx_text(const struct rmd_mx_answer *a, char *out, size_t n) {
    out[0] = 0;
    for (int i = 0; i < a->n; i++) {
        size_t len = strlen(out);
        rmd_format(out + len, n - len, "%s%u %s", i ? ", " : "", a->mx[i].preference,
                   a->mx[i].host[0] ? a->mx[i].host : ".");
    }
}

static void addr_text(const struct rmd_addr_answer *a, char *out, size_t n) {
    out[0] = 0;
    for (int i = 0; i < a->n; i++) {
        char one[48];
        size_t len = strlen(out);
        rmd_addr_format(&a->addr[i], one);
        rmd_format(out + len, n - len, "%s%s", i ? ", " : "", one);
    }
}

static void suite_mx(struct backend *b) {
    static const struct {
        const char *domain;
        enum rmd_dns_status status;
        bool implicit;
        const char *mx;
    } rows[] = {
        {"plain.test", RMD_DNS_OK, false, "10 mx1.plain.test, 20 mx2.plain.test"},
        {"order.test", RMD_DNS_OK, false, "10 a.test, 10 z.test, 20 b.test"},
        {"upper.test", RMD_DNS_OK, false, "10 mx.upper.test"},
        {"null.test", RMD_DNS_OK, false, "0 ."},
        {"implicit.test", RMD_DNS_OK, true, "0 implicit.test"},
        {"implicit6.test", RMD_DNS_OK, true, "0 implicit6.test"},
        {"alias.test", RMD_DNS_OK, false, "10 mx1.plain.test, 20 mx2.plain.test"},
        {"cross.test", RMD_DNS_OK, false, "5 mx.target.else"},
        {"nodata.test", RMD_DNS_NODATA, false, ""},
        {"missing.test", RMD_DNS_NXDOMAIN, false, ""},
    };
    for (int round = 0; round < 2; round++) { /* the second one from the cache */
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct seen s = ask_mx(b, rows[i].domain);
            char text[4096];
            mx_text(&s.mx, text, sizeof text);
            if (s.mx.status != rows[i].status || s.mx.implicit != rows[i].implicit || strcmp(text, rows[i].mx) != 0)
                fail_msg("%s, round %d: status %d (%s), implicit %d, \"%s\"", rows[i].domain, round, (int)s.mx.status,
                         s.mx.detail, s.mx.implicit, text);
        }
    }
}

static void suite_addr(struct backend *b) {
    static const struct {
        const char *host;
        bool want4, want6;
        enum rmd_dns_status status;
        const char *addr;
    } rows[] = {
        {"mx1.plain.test", true, true, RMD_DNS_OK, "192.0.2.1, 2001:db8::1"},
        {"mx1.plain.test", true, false, RMD_DNS_OK, "192.0.2.1"},
        {"mx1.plain.test", false, true, RMD_DNS_OK, "2001:db8::1"},
        {"mx2.plain.test", true, true, RMD_DNS_OK, "192.0.2.2"},
        {"mx2.plain.test", false, true, RMD_DNS_NODATA, ""},
        {"six.test", true, false, RMD_DNS_NODATA, ""},
        {"six.test", true, true, RMD_DNS_OK, "2001:db8::6"},
        {"cross.test", true, true, RMD_DNS_OK, "192.0.2.9"},
        {"nodata.test", true, true, RMD_DNS_NODATA, ""},
        {"missing.test", true, true, RMD_DNS_NXDOMAIN, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct seen s = ask_addr(b, rows[i].host, rows[i].want4, rows[i].want6);
        char text[1024];
        addr_text(&s.addr, text, sizeof text);
        if (s.addr.status != rows[i].status || strcmp(text, rows[i].addr) != 0)
            fail_msg("%s: status %d (%s), \"%s\"", rows[i].host, (int)s.addr.status, s.addr.detail, text);
    }
}

/* Addresses as the server gave them, and texts. */
static void suite_lists(struct backend *b) {
    static const struct {
        const char *name;
        enum rmd_dns_status codes, txt;
        const char *addr, *text; /* texts joined by "|", in any order of records: sorted by the test */
    } rows[] = {
        {"2.0.0.127.bl.test", RMD_DNS_OK, RMD_DNS_OK, "127.0.0.2, 127.0.0.4", "test entry"},
        {"1.0.0.127.bl.test", RMD_DNS_NXDOMAIN, RMD_DNS_NXDOMAIN, "", ""},
        {"said.test", RMD_DNS_NODATA, RMD_DNS_OK, "", "one and two|three?"},
        {"saidalias.test", RMD_DNS_NODATA, RMD_DNS_OK, "", "one and two|three?"},
        {"implicit.test", RMD_DNS_OK, RMD_DNS_NODATA, "192.0.2.7", ""},
        {"six.test", RMD_DNS_NODATA, RMD_DNS_NODATA, "", ""},
        {"missing.test", RMD_DNS_NXDOMAIN, RMD_DNS_NXDOMAIN, "", ""},
        {"not a name", RMD_DNS_NXDOMAIN, RMD_DNS_NXDOMAIN, "", ""},
    };
    for (int round = 0; round < 2; round++) { /* the second one from the cache */
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct seen c = ask_codes(b, rows[i].name), t = ask_txt(b, rows[i].name);
            char addr[256], text[1200] = "";
            addr_text(&c.addr, addr, sizeof addr);
            if (c.addr.n == 2 && c.addr.addr[0].b[3] > c.addr.addr[1].b[3])
                rmd_copy(addr, sizeof addr, rows[i].addr); /* the order of records is the server's */
            bool turned = t.txt.n == 2 && strcmp(t.txt.txt[0], t.txt.txt[1]) > 0;
            for (int k = 0; k < t.txt.n; k++) {
                size_t n = strlen(text);
                rmd_format(text + n, sizeof text - n, "%s%s", n ? "|" : "", t.txt.txt[turned ? t.txt.n - 1 - k : k]);
            }
            if (c.addr.status != rows[i].codes || t.txt.status != rows[i].txt || strcmp(addr, rows[i].addr) != 0 ||
                strcmp(text, rows[i].text) != 0)
                fail_msg("%s: %d \"%s\", %d \"%s\" (%s)", rows[i].name, (int)c.addr.status, addr, (int)t.txt.status,
                         text, t.txt.detail);
        }
    }
}

static void suite_ttl(struct backend *b) {
    struct seen s = ask_mx(b, "plain.test");
    assert_int_equal(s.mx.ttl_s, 120);
    b->time.mono_ms += 50000;
    if (b->fake)
        rmd_dns_fake_step(b->fake, b->time.mono_ms);
    s = ask_addr(b, "mx1.plain.test", true, true);
    assert_int_equal(s.addr.ttl_s, 90);
}

static void suite_many(struct backend *b) {
    struct seen s = ask_mx(b, "many.test");
    assert_int_equal(s.mx.status, RMD_DNS_OK);
    assert_int_equal(s.mx.n, RMD_DNS_MX_MAX);
    for (int i = 0; i < s.mx.n; i++)
        assert_int_equal(s.mx.mx[i].preference, i + 1);
}

/* A callback that asks again from within. */
struct chain {
    struct backend *b;
    struct seen addr;
};

static void on_mx_then_addr(void *ctx, const char *domain, const struct rmd_mx_answer *a) {
    struct chain *c = ctx;
    (void)domain;
    assert_int_equal(a->status, RMD_DNS_OK);
    c->b->port.ops->addr(c->b->port.d, a->mx[0].host, true, true, on_addr, &c->addr);
}

static void suite_nested(struct backend *b) {
    struct chain c = {.b = b};
    b->port.ops->mx(b->port.d, "plain.test", on_mx_then_addr, &c);
    turn(b, &c.addr, 1);
    assert_int_equal(c.addr.addr.n, 2);
}

static void run_suite(struct backend *b) {
    suite_ttl(b);
    suite_mx(b);
    suite_addr(b);
    suite_many(b);
    suite_lists(b);
    suite_nested(b);
}

/* Outstanding callbacks come before close returns. */
static void suite_close(struct backend *b) {
    struct seen s[5] = {0};
    b->port.ops->codes(b->port.d, "late3.test", on_addr, &s[3]);
    b->port.ops->txt(b->port.d, "late3.test", on_txt, &s[4]);
    b->port.ops->mx(b->port.d, "late.test", on_mx, &s[0]);
    b->port.ops->mx(b->port.d, "late2.test", on_mx, &s[1]);
    b->port.ops->addr(b->port.d, "late.test", true, true, on_addr, &s[2]);
    if (b->fake)
        rmd_dns_fake_free(b->fake);
    else
        rmd_dns_cares_close(b->cares);
    for (int i = 0; i < 5; i++)
        assert_int_equal(s[i].calls, 1);
    assert_int_equal(s[3].addr.status, RMD_DNS_TEMPFAIL);
    assert_int_equal(s[4].txt.status, RMD_DNS_TEMPFAIL);
    assert_int_equal(s[0].mx.status, RMD_DNS_TEMPFAIL);
    assert_int_equal(s[1].mx.status, RMD_DNS_TEMPFAIL);
    assert_int_equal(s[2].addr.status, RMD_DNS_TEMPFAIL);
    assert_string_equal(s[0].mx.detail, "shutting down");
}

static void fake_backend(void **state) {
    (void)state;
    struct backend b = {.fake = rmd_dns_fake_new(20, 9000)};
    b.port = rmd_dns_fake_port(b.fake);
    fill_fake(b.fake);
    run_suite(&b);
    suite_close(&b);
}

static void cares_backend_with_knot(void **state) {
    (void)state;
    char test_zone[sizeof zone_test + 40 * 32];
    rmd_copy(test_zone, sizeof test_zone, zone_test);
    for (int i = 40; i > 0; i--) {
        size_t n = strlen(test_zone);
        rmd_format(test_zone + n, sizeof test_zone - n, "many MX %d m%02d.many\n", i, i);
    }
    struct rmd_dns_zone zones[] = {{"test", test_zone}, {"else", zone_else}};
    struct rmd_dns_server *server;
    char err[256] = "";
    int rc = rmd_dns_server_start(zones, 2, &server, err, sizeof err);
    assert_string_equal(err, "");
    assert_int_equal(rc, RMD_OK);
    struct backend b = {0};
    struct rmd_clock clock = {.ctx = &b, .now = backend_now};
    open_cares(&b, &clock, rmd_dns_server_address(server), 8, 2000);
    run_suite(&b);
    struct seen gone = ask_mx(&b, "missing.test"); /* SOA minimum of the zone, not the configured 20 s */
    assert_in_range(gone.mx.ttl_s, 21, 30);
    suite_close(&b);
    rmd_dns_server_stop(server);
}

/* --- the fake alone: time and faults */

static void fake_changes_show_after_the_ttl(void **state) {
    (void)state;
    struct backend b = {.fake = rmd_dns_fake_new(20, 9000)};
    b.port = rmd_dns_fake_port(b.fake);
    rmd_dns_fake_mx(b.fake, "moves.test", "10 old.test", 100);
    struct seen s = ask_mx(&b, "moves.test");
    assert_string_equal(s.mx.mx[0].host, "old.test");
    rmd_dns_fake_mx(b.fake, "moves.test", "10 new.test", 100);
    s = ask_mx(&b, "moves.test");
    assert_string_equal(s.mx.mx[0].host, "old.test");
    rmd_dns_fake_step(b.fake, b.time.mono_ms += 101000);
    s = ask_mx(&b, "moves.test");
    assert_string_equal(s.mx.mx[0].host, "new.test");
    assert_int_equal(rmd_dns_fake_queries(b.fake), 2);

    rmd_dns_fake_step(b.fake, b.time.mono_ms += 101000);
    rmd_dns_fake_fault(b.fake, "moves.test", RMD_DNS_FAULT_TIMEOUT);
    int64_t before = b.time.mono_ms;
    s = ask_mx(&b, "moves.test");
    assert_int_equal(s.mx.status, RMD_DNS_TEMPFAIL);
    assert_int_equal(b.time.mono_ms - before, 9000);
    rmd_dns_fake_fault(b.fake, "moves.test", RMD_DNS_FAULT_NONE); /* failures aren't cached */
    s = ask_mx(&b, "moves.test");
    assert_int_equal(s.mx.status, RMD_DNS_OK);
    rmd_dns_fake_free(b.fake);
}

/* --- c-ares against a server that misbehaves */

struct bad_server {
    int fd;
    pthread_t thread;
    char address[32];
    atomic_int queries, canaries;
};

static size_t put_rr(uint8_t *p, const char *owner, uint16_t type, uint32_t ttl, const void *data, uint16_t n) {
    size_t at = 0;
    for (const char *label = owner; *label;) {
        size_t len = strcspn(label, ".");
        p[at++] = (uint8_t)len;
        memcpy(p + at, label, len);
        at += len;
        label += len + (label[len] == '.');
    }
    p[at++] = 0;
    rmd_put_be16(p + at, type);
    rmd_put_be16(p + at + 2, 1);
    rmd_put_be32(p + at + 4, ttl);
    rmd_put_be16(p + at + 8, n);
    memcpy(p + at + 10, data, n);
    return at + 10 + n;
}

static const uint8_t mx_data[] = "\0\12\2mx\3bad\0"; /* 10 mx.bad. */
static const uint8_t dotted_mx_data[] = "\0\12\4m.x \3bad\0";
static const uint8_t soa_data[] =
    "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\7"; /* . . serial refresh retry expire minimum 7 */
static const uint8_t invented[4] = {203, 0, 113, 9};

/* Length of the answer in r, of which the first q_n bytes are header and question; 0: none. */
static size_t misbehave(const char *how, bool canary, uint16_t type, uint8_t *r, size_t q_n, const char *name) {
    size_t n = q_n;
    bool mx = type == 15;
    if (strcmp(how, "timeout") == 0)
        return 0;
    if (strcmp(how, "garbage") == 0) {
        memset(r + 12, 0xff, 200);
        return 212;
    }
    if (strcmp(how, "servfail") == 0 || strcmp(how, "refused") == 0) {
        r[3] = how[0] == 's' ? 2 : 5;
        return n;
    }
    if (strcmp(how, "wrongid") == 0)
        r[0] ^= 0x55;
    if (strcmp(how, "truncated") == 0) {
        r[2] |= 2;
        return n;
    }
    if (strcmp(how, "cut") == 0) { /* promises a record and stops inside it */
        rmd_put_be16(r + 6, 1);
        return n + put_rr(r + n, name, 15, 60, mx_data, sizeof mx_data - 1) - 4;
    }
    if (strcmp(how, "soa") == 0) {
        r[3] = 3;
        rmd_put_be16(r + 8, 1);
        return n + put_rr(r + n, "bad", 6, 100, soa_data, sizeof soa_data - 1);
    }
    if (strcmp(how, "nosoa") == 0) {
        r[3] = 3;
        return n;
    }
    if (strcmp(how, "rewrite") == 0 || canary) { /* an address for every name */
        if (type != 1)
            return n;
        rmd_put_be16(r + 6, 1);
        return n + put_rr(r + n, name, 1, 60, invented, 4);
    }
    if (strcmp(how, "loop") == 0) {
        uint8_t data[] = "\4loop\3bad";
        rmd_put_be16(r + 6, 1);
        return n + put_rr(r + n, name, 5, 60, data, sizeof data);
    }
    rmd_put_be16(r + 6, 1);
    if (type == 52) {
        uint8_t tlsa_data[35] = {3, 1, 1, 0xaa};
        return n + put_rr(r + n, name, 52, 60, tlsa_data, sizeof tlsa_data);
    }
    const char *owner = strcmp(how, "wrongname") == 0 ? "elsewhere.bad" : name;
    if (strcmp(how, "badhost") == 0)
        return n + put_rr(r + n, owner, 15, 60, dotted_mx_data, sizeof dotted_mx_data - 1);
    return mx ? n + put_rr(r + n, owner, 15, 60, mx_data, sizeof mx_data - 1) : n;
}

static void *bad_server_run(void *arg) {
    struct bad_server *s = arg;
    for (;;) {
        uint8_t q[1500], r[1500] = {0};
        struct sockaddr_in from;
        socklen_t from_n = sizeof from;
        ssize_t n = recvfrom(s->fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_n);
        if (n < 0 || n == 4) /* the test's word to stop */
            return NULL;
        size_t at = 12;
        char name[300] = "";
        while (at < (size_t)n && q[at]) {
            size_t len = strlen(name);
            rmd_format(name + len, sizeof name - len, "%s%.*s", len ? "." : "", q[at], (const char *)q + at + 1);
            at += q[at] + 1u;
        }
        size_t q_n = at + 5;
        memcpy(r, q, q_n);
        r[2] = 0x81; /* an answer, recursion desired */
        r[3] = 0x80;
        memset(r + 6, 0, 6);
        char how[32];
        rmd_copy_slice(how, sizeof how, rmd_slice(name, strcspn(name, ".")));
        bool canary = rmd_has_suffix(name, ".invalid");
        atomic_fetch_add(canary ? &s->canaries : &s->queries, 1);
        if (q[3] & 0x20 && strncmp(how, "secure", 6) == 0)
            r[3] |= 0x20; /* AD, for those who asked for it */
        size_t r_n = misbehave(how, canary, rmd_get_be16(q + at + 1), r, q_n, name);
        if (r_n)
            sendto(s->fd, r, r_n, 0, (struct sockaddr *)&from, from_n);
    }
}

static void bad_server_start(struct bad_server *s) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    rmd_format(s->address, sizeof s->address, "127.0.0.1:%u", ntohs(a.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, bad_server_run, s), 0);
}

static void bad_server_stop(struct bad_server *s) {
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    getsockname(s->fd, (struct sockaddr *)&a, &n);
    sendto(s->fd, "stop", 4, 0, (struct sockaddr *)&a, n);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static void a_bad_server_is_a_temporary_failure(void **state) {
    (void)state;
    static const struct {
        const char *domain;
        enum rmd_dns_status status;
        const char *detail; /* the beginning of it */
    } rows[] = {
        {"fine.bad", RMD_DNS_OK, ""},
        {"timeout.bad", RMD_DNS_TEMPFAIL, "timeout after 2 tries"},
        {"wrongid.bad", RMD_DNS_TEMPFAIL, "timeout after 2 tries"},
        {"garbage.bad", RMD_DNS_TEMPFAIL, ""},
        {"servfail.bad", RMD_DNS_TEMPFAIL, "SERVFAIL"},
        {"refused.bad", RMD_DNS_TEMPFAIL, "REFUSED"},
        {"truncated.bad", RMD_DNS_TEMPFAIL, ""}, /* nobody answers on TCP */
        {"cut.bad", RMD_DNS_TEMPFAIL, "malformed answer"},
        {"wrongname.bad", RMD_DNS_TEMPFAIL, "the answer doesn't belong to the question"},
        {"badhost.bad", RMD_DNS_TEMPFAIL, "no MX names a valid host"},
        {"loop.bad", RMD_DNS_TEMPFAIL, "CNAME loop"},
        {"rewrite.bad", RMD_DNS_TEMPFAIL, "the resolver invents addresses"},
        {"soa.bad", RMD_DNS_NXDOMAIN, ""},
        {"nosoa.bad", RMD_DNS_NXDOMAIN, ""},
    };
    struct bad_server s = {0};
    bad_server_start(&s);
    struct backend b = {0};
    struct rmd_clock clock = {.ctx = &b, .now = backend_now};
    open_cares(&b, &clock, s.address, 8, 100);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct seen seen = ask_mx(&b, rows[i].domain);
        if (seen.mx.status != rows[i].status || strncmp(seen.mx.detail, rows[i].detail, strlen(rows[i].detail)) != 0)
            fail_msg("%s: status %d, \"%s\"", rows[i].domain, (int)seen.mx.status, seen.mx.detail);
        if (seen.mx.status == RMD_DNS_TEMPFAIL && i) {
            assert_true(seen.mx.detail[0]);
            assert_int_equal(seen.mx.n, 0);
        }
    }
    assert_int_equal(ask_mx(&b, "soa.bad").mx.ttl_s, 7);                                      /* the SOA's minimum */
    assert_int_equal(ask_mx(&b, "nosoa.bad").mx.ttl_s, 20);                                   /* the configured one */
    assert_int_equal(ask_addr(&b, "rewrite.bad", true, false).addr.status, RMD_DNS_TEMPFAIL); /* known by now */
    assert_int_equal(ask_mx(&b, "rewrite.two.bad").mx.status, RMD_DNS_TEMPFAIL);
    assert_int_equal(atomic_load(&s.canaries), 1);
    rmd_dns_cares_close(b.cares);
    bad_server_stop(&s);
}

static void on_tlsa(void *ctx, const char *name, const struct rmd_tlsa_answer *a) {
    struct seen *s = ctx;
    (void)name;
    s->calls++;
    s->tlsa = *a;
}

/* The same server, believed and not; the same answer, from the wire and from the cache. */
static void only_a_trusted_resolver_makes_an_answer_secure(void **state) {
    (void)state;
    static const struct {
        const char *validating;
        bool secure;
    } rows[] = {{NULL, false},         {"", false},
                {"192.0.2.53", false}, {"127.0.0.2,::1", false},
                {"127.0.0.1", true},   {"::1, 127.0.0.1", true}};
    struct bad_server s = {0};
    bad_server_start(&s);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char err[256];
        struct backend b = {0};
        struct rmd_clock clock = {.ctx = &b, .now = backend_now};
        struct rmd_dns_cares_options o = {.servers = s.address,
                                          .validating = rows[i].validating,
                                          .timeout_ms = 1000,
                                          .tries = 2,
                                          .cache_entries = 100,
                                          .clock = &clock};
        assert_int_equal(rmd_dns_cares_open(&o, &b.cares, err, sizeof err), RMD_OK);
        b.port = rmd_dns_cares_port(b.cares);
        for (int again = 0; again < 2; again++) {
            struct seen tlsa = {0};
            assert_int_equal(ask_mx(&b, "secure.bad").mx.secure, rows[i].secure);
            assert_false(ask_mx(&b, "plain.bad").mx.secure); /* it doesn't say so */
            b.port.ops->tlsa(b.port.d, "secure.bad", on_tlsa, &tlsa);
            turn(&b, &tlsa, 1);
            assert_int_equal(tlsa.tlsa.status, RMD_DNS_OK);
            assert_int_equal(tlsa.tlsa.secure, rows[i].secure);
            assert_int_equal(tlsa.tlsa.n, 1);
            assert_int_equal(tlsa.tlsa.tlsa[0].usage, 3);
            assert_int_equal(tlsa.tlsa.tlsa[0].n, 32);
            assert_int_equal(tlsa.tlsa.data[tlsa.tlsa.tlsa[0].at], 0xaa);
        }
        rmd_dns_cares_close(b.cares);
    }
    /* one server of two isn't trusted: nobody knows which of them answers */
    char err[256], servers[64];
    struct backend b = {0};
    struct rmd_clock clock = {.ctx = &b, .now = backend_now};
    rmd_format(servers, sizeof servers, "%s,127.0.0.99:5353", s.address);
    struct rmd_dns_cares_options o = {.servers = servers,
                                      .validating = "127.0.0.1",
                                      .timeout_ms = 1000,
                                      .tries = 2,
                                      .cache_entries = 100,
                                      .clock = &clock};
    assert_int_equal(rmd_dns_cares_open(&o, &b.cares, err, sizeof err), RMD_OK);
    b.port = rmd_dns_cares_port(b.cares);
    assert_false(ask_mx(&b, "secure.bad").mx.secure);
    rmd_dns_cares_close(b.cares);
    bad_server_stop(&s);
}

static void answers_are_cached_joined_and_in_order(void **state) {
    (void)state;
    struct bad_server s = {0};
    bad_server_start(&s);
    struct backend b = {0};
    struct rmd_clock clock = {.ctx = &b, .now = backend_now};
    open_cares(&b, &clock, s.address, 1, 1000);
    struct seen seen[6] = {0};
    int order = 0;
    static const char *const name[6] = {"one.bad", "one.bad", "two.bad", "three.bad", "two.bad", "four.bad"};
    for (int i = 0; i < 6; i++) {
        seen[i].next_order = &order;
        b.port.ops->mx(b.port.d, name[i], on_mx, &seen[i]);
    }
    assert_int_equal(order, 0); /* nothing at once */
    turn(&b, seen, 6);
    assert_int_equal(atomic_load(&s.queries), 4);
    static const int expected[6] = {1, 2, 3, 5, 4, 6}; /* one at a time, joined ones together */
    for (int i = 0; i < 6; i++)
        assert_int_equal(seen[i].order, expected[i]);

    struct seen again = {0};
    b.port.ops->mx(b.port.d, "one.bad", on_mx, &again);
    assert_int_equal(again.calls, 1); /* from the cache, at once */
    b.time.mono_ms += 25000;
    assert_int_equal(ask_mx(&b, "one.bad").mx.ttl_s, 35);
    b.time.mono_ms += 35001;
    assert_int_equal(ask_mx(&b, "one.bad").mx.ttl_s, 60);
    assert_int_equal(atomic_load(&s.queries), 5);

    ask_mx(&b, "servfail.bad"); /* never cached */
    int before = atomic_load(&s.queries);
    ask_mx(&b, "servfail.bad");
    assert_true(atomic_load(&s.queries) > before);
    rmd_dns_cares_close(b.cares);
    bad_server_stop(&s);
}

static void names_that_are_none_are_never_asked(void **state) {
    (void)state;
    static const char *const names[] = {"",
                                        ".",
                                        "a..b",
                                        "trailing.",
                                        "sp ace.test",
                                        "semi;colon.test",
                                        "a23456789012345678901234567890123456789012345678901234567890abcd.test"};
    struct backend b = {0};
    struct rmd_clock clock = {.ctx = &b, .now = backend_now};
    open_cares(&b, &clock, "127.0.0.1:9", 8, 100);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct seen s = {0};
        b.port.ops->mx(b.port.d, names[i], on_mx, &s);
        assert_int_equal(s.calls, 1);
        assert_int_equal(s.mx.status, RMD_DNS_NXDOMAIN);
        assert_string_equal(s.mx.detail, "not a domain name");
    }
    assert_true(rmd_dns_cares_deadline(b.cares) == RMD_NEVER);
    rmd_dns_cares_close(b.cares);
}

static void servers_that_cannot_be_used_are_named(void **state) {
    (void)state;
    struct rmd_dns_cares *d;
    char err[256] = "";
    struct backend b = {0};
    struct rmd_clock clock = {.ctx = &b, .now = backend_now};
    struct rmd_dns_cares_options o = {.servers = "not an address", .clock = &clock};
    assert_int_equal(rmd_dns_cares_open(&o, &d, err, sizeof err), RMD_EINVAL);
    assert_non_null(strstr(err, "\"not an address\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fake_backend),
        cmocka_unit_test(cares_backend_with_knot),
        cmocka_unit_test(fake_changes_show_after_the_ttl),
        cmocka_unit_test(a_bad_server_is_a_temporary_failure),
        cmocka_unit_test(only_a_trusted_resolver_makes_an_answer_secure),
        cmocka_unit_test(answers_are_cached_joined_and_in_order),
        cmocka_unit_test(names_that_are_none_are_never_asked),
        cmocka_unit_test(servers_that_cannot_be_used_are_named),
    };
    return cmocka_run_group_tests_name("dns", tests, NULL, NULL);
}
