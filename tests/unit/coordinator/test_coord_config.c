/* remuda-coordinator --check: what a file may say, and the words for what it may not. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

#include "coordinator/io/coord_config.h"
#include "proto/io/bus.h"
#include "tests/kit/store_kit.h"

struct world {
    char dir[64], path[80];
};

static int setup(void **state) {
    struct world *w = rmd_alloc(sizeof *w);
    (void)!rmd_copy(w->dir, sizeof w->dir, "/tmp/remuda-config-XXXXXX");
    *state = w;
    return mkdtemp(w->dir) && rmd_format(w->path, sizeof w->path, "%s/c.conf", w->dir) >= 0 ? 0 : -1;
}

static int teardown(void **state) {
    struct world *w = *state;
    rmd_remove_tree(w->dir);
    free(w);
    return 0;
}

static int load(const struct world *w, const char *text, struct rmd_coord_config *c, struct rmd_buf *err) {
    FILE *f = fopen(w->path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return rmd_coord_config_load(w->path, RMD_COORD_CONFIG_RUN, c, err);
}

static void an_empty_file_is_a_configuration(void **state) {
    struct world *w = *state;
    struct rmd_coord_config c;
    struct rmd_buf err = {0};
    if (load(w, "", &c, &err) != RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    assert_string_equal(c.data, "/var/lib/remuda/coordinator");
    assert_string_equal(c.store, "rocksdb");
    assert_string_equal(c.bus_listen[0], "tcp://127.0.0.1:7350");
    assert_null(c.bus_listen[1]);
    assert_string_equal(c.api_listen, "");
    assert_int_equal(c.lease_valid_ms, 30 * 60000);
    assert_int_equal(c.smtp_port, 25);
    assert_true(c.smtp_starttls);
    assert_int_equal(c.history_keep_ms, 30ll * 86400000);
    assert_int_equal(c.failover_canary_ms, 30 * 60000);
    assert_int_equal(c.failover_canary_percent, 5);
    assert_int_equal(c.failover_growth_percent, 150);
    rmd_coord_config_release(&c);
}

static void what_a_file_says_is_taken(void **state) {
    struct world *w = *state;
    struct rmd_coord_config c;
    struct rmd_buf err = {0};
    int rc = load(w,
                  "data = queue\n"
                  "store = postgresql; postgresql = \"host=/run/pg dbname=remuda\"\n"
                  "bus { listen = [\"tcp://127.0.0.1:1\", \"tcp://[::1]:2\"] }\n"
                  "api { listen = \"127.0.0.1:8443\"; tls_certificate = a.pem; tls_key = k.pem; token_file = t }\n"
                  "lease { valid = 20s; transaction_deadline = 10s }\n"
                  "retry { class = [\"greylisted=7min\", \"mailbox_full=2h\"] }\n"
                  "caps { lane_per_day = 500 }\n"
                  "dns { servers = \"192.0.2.53, [2001:db8::53]:5353,192.0.2.54:53\" }\n"
                  "log { level = debug }\n",
                  &c, &err);
    if (rc != RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    char want[128];
    (void)!rmd_format(want, sizeof want, "%s/queue", w->dir); /* beside the file */
    assert_string_equal(c.data, want);
    assert_string_equal(c.bus_listen[1], "tcp://[::1]:2");
    assert_int_equal(c.lease_valid_ms, 20000);
    assert_string_equal(c.retry_class[1], "mailbox_full=2h");
    assert_int_equal(c.lane_per_day, 500);
    char *servers = rmd_config_join(c.dns_servers);
    assert_string_equal(servers, "192.0.2.53,[2001:db8::53]:5353,192.0.2.54:53");
    free(servers);
    rmd_coord_config_release(&c);
}

/* Each text alone; the words follow the file's name. */
static void what_does_not_fit_is_named(void **state) {
    static const struct {
        const char *text, *words;
    } row[] = {
        {"store = mysql\n", ":1: store: \"mysql\" is neither rocksdb nor postgresql\n"},
        {"store = postgresql\n", ": postgresql: a connection string is needed when store is postgresql\n"},
        {"api { listen = \"127.0.0.1:1\"; token_file = t }\n",
         ":1: api.listen: over TCP the API needs api.tls_certificate, api.tls_key and api.token_file\n"},
        {"lease { valid = 10min }\n",
         ":1: lease.valid: must be longer than lease.transaction_deadline, or nodes could start nothing\n"},
        {"dns { ttl_min = 2h }\n", ":1: dns.ttl_min: is longer than dns.ttl_max\n"},
        {"retry { class = [\"greylisted\"] }\n", ":1: retry.class: \"greylisted\" is not class=duration\n"},
        {"retry { class = [\"nonsense=5min\"] }\n", ":1: retry.class: \"nonsense=5min\" is not class=duration\n"},
        {"retry { class = [\"greylisted=-1s\"] }\n", ":1: retry.class: \"greylisted=-1s\" is not class=duration\n"},
        {"log { level = loud }\n", ":1: log.level: \"loud\" is not debug, info, warning or error\n"},
        {"smtp {\n  allow_special = [\"127.0.0.0/33\"]\n}\n",
         ":2: smtp.allow_special: \"127.0.0.0/33\" is not a network like 10.0.0.0/8\n"},
        {"warmup { day_starts = \"25:00\" }\n", ":1: warmup.day_starts: \"25:00\" is not a time of day like 04:00\n"},
        {"warmup { time_zone = \"+2\" }\n", ":1: warmup.time_zone: \"+2\" is not an offset like +02:00\n"},
        {"warmup { sources_per_network = -1 }\n", ":1: warmup.sources_per_network: "},
        {"failover { growth_percent = 90 }\n", ":1: failover.growth_percent: 90 would never let a lane grow"},
        {"failover { canary_percent = 101 }\n", ":1: failover.canary_percent: "},
        {"failover { canary = soon }\n", ":1: failover.canary: "},
        {"\nsmtp { port = 70000 }\n", ":2: smtp.port: "},
        {"bus { listen = [\"tcp://127.0.0.1\"] }\n", ":1: bus.listen: \"tcp://127.0.0.1\" is not tcp://ADDRESS:PORT"},
        {"bus { listen = [\"tcp://*:99999\"] }\n", ":1: bus.listen: \"tcp://*:99999\" is not tcp://ADDRESS:PORT"},
        {"bus { listen = [] }\n", ":1: bus.listen: is empty: no node could connect\n"},
        {"\napi { listen = \"127.0.0.1:84433\"; tls_certificate = a; tls_key = b; token_file = c }\n",
         ":2: api.listen: \"127.0.0.1:84433\" is not ADDRESS:PORT"},
        {"api { listen = \"8443\"; tls_certificate = a; tls_key = b; token_file = c }\n",
         ":1: api.listen: \"8443\" is not ADDRESS:PORT"},
        {"dns { servers = \"192.0.2.53, rubbish\" }\n",
         ":1: dns.servers: \"rubbish\" is not the address of a name server"},
        {"dns { servers = [\"192.0.2.53:0\"] }\n", ":1: dns.servers: \"192.0.2.53:0\" is not the address"},
        {"data = 5\n", ":1: data: \"5\" is not a path\n"},
        {"history {\n  keep = soon\n}\n", ":2: history.keep: "},
        {"histroy { keep = 1d }\n", ":1: histroy: unknown key"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rmd_coord_config c;
        struct rmd_buf err = {0};
        char want[256];
        assert_int_equal(load(w, row[i].text, &c, &err), RMD_EINVAL);
        assert_true(rmd_format(want, sizeof want, "%s%s", w->path, row[i].words) >= 0);
        if (strncmp(rmd_buf_str(&err), want, strlen(want)) != 0)
            fail_msg("row %zu: \"%s\", expected \"%s\"", i, rmd_buf_str(&err), want);
        assert_ptr_equal(strchr(rmd_buf_str(&err), '\n'), rmd_buf_str(&err) + err.len - 1); /* one finding */
        rmd_buf_release(&err);
    }
}

static void all_findings_at_once(void **state) {
    struct world *w = *state;
    struct rmd_coord_config c;
    struct rmd_buf err = {0};
    size_t lines = 0;
    assert_int_equal(load(w, "store = x\nlease { valid = 5s }\nlog { level = y }\n", &c, &err), RMD_EINVAL);
    for (size_t i = 0; i < err.len; i++)
        lines += err.p[i] == '\n';
    assert_int_equal(lines, 3);
    rmd_buf_release(&err);
}

/* --check: what it names must be there. */
static void what_the_file_names_is_tried(void **state) {
    static const struct {
        const char *text, *words;
    } row[] = {
        {"bus { secret_key = \"no.key\" }\n", ":1: bus.secret_key: "},
        {"data = \"none/data\"\n", ":1: data: "},
        {"data = \"c.conf\"\n", "c.conf: is not a folder"},
        {"api {\n socket = \"none/below/api.sock\"\n}\n", ":2: api.socket: "},
        {"api { listen = \"127.0.0.1:1\"; tls_certificate = a; tls_key = b; token_file = c }\n",
         ":1: api.token_file: "},
        {"api { listen = \"127.0.0.1:1\"; tls_certificate = c.conf; tls_key = c.conf; token_file = c.conf }\n",
         "api.tls_key: "},
        {"api { listen = \"127.0.0.1:1\"; tls_certificate = c.conf; tls_key = c.conf; token_file = c.conf }\n",
         "a secret that others can read (mode 0644); do: chmod o= "},
        {"user = nobody-of-this-name\n", ":1: user: there is no user \"nobody-of-this-name\""},
    };
    struct world *w = *state;
    char key[96], fine[400];
    uint8_t public_key[RMD_KEY_BYTES], secret_key[RMD_KEY_BYTES];
    assert_true(rmd_format(key, sizeof key, "%s/c.key", w->dir) >= 0);
    assert_int_equal(rmd_curve_generate(public_key, secret_key), RMD_OK);
    assert_int_equal(rmd_curve_write_file(key, true, secret_key, fine, sizeof fine), RMD_OK);
    static const char base[] = "data = data\nbus { secret_key = \"c.key\" }\napi { socket = \"api.sock\" }\n";
    struct rmd_coord_config c;
    struct rmd_buf err = {0};
    assert_int_equal(load(w, base, &c, &err), RMD_OK);
    rmd_coord_config_release(&c);
    if (rmd_coord_config_load(w->path, RMD_COORD_CONFIG_TRY, &c, &err) != RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    rmd_coord_config_release(&c);
    assert_int_equal(chmod(w->path, 0644), 0);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        assert_int_equal(load(w, row[i].text, &c, &err), RMD_OK); /* the file itself is in order */
        rmd_coord_config_release(&c);
        assert_int_equal(rmd_coord_config_load(w->path, RMD_COORD_CONFIG_TRY, &c, &err), RMD_EINVAL);
        if (!strstr(rmd_buf_str(&err), row[i].words))
            fail_msg("row %zu: \"%s\", expected \"%s\"", i, rmd_buf_str(&err), row[i].words);
        rmd_buf_release(&err);
    }
}

static void no_file(void **state) {
    struct world *w = *state;
    struct rmd_coord_config c;
    struct rmd_buf err = {0};
    assert_true(rmd_coord_config_load(w->path, RMD_COORD_CONFIG_RUN, &c, &err) < 0);
    assert_non_null(strstr(rmd_buf_str(&err), w->path));
    assert_non_null(strstr(rmd_buf_str(&err), "No such file"));
    rmd_buf_release(&err);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORY(an_empty_file_is_a_configuration), STORY(what_a_file_says_is_taken),
        STORY(what_does_not_fit_is_named),       STORY(all_findings_at_once),
        STORY(what_the_file_names_is_tried),     STORY(no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
