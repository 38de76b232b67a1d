/* Configuration: what the syntax allows, how files override, and the exact words and lines of every kind of error. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/text.h>

#include "proto/io/config.h"

struct demo {
    char *listen, *key, *name;
    int64_t port, offset, wait_ms, cache_bytes;
    bool verbose;
    char **servers;
};

#define FIELD(f) offsetof(struct demo, f)
static const struct rmd_config_row rows[] = {
    {"bus.listen", RMD_CONFIG_STRING, FIELD(listen), NULL, 0, 0, true, "where nodes connect"},
    {"bus.key", RMD_CONFIG_PATH, FIELD(key), "server.key", 0, 0, false, "secret key file"},
    {"bus.deep.wait", RMD_CONFIG_DURATION, FIELD(wait_ms), "90s", 1000, 3600000, false, "how long"},
    {"name", RMD_CONFIG_STRING, FIELD(name), NULL, 0, 0, false, "a name"},
    {"port", RMD_CONFIG_INT, FIELD(port), "25", 1, 65535, false, NULL},
    {"offset", RMD_CONFIG_INT, FIELD(offset), "-5", 0, 0, false, "may be negative"},
    {"cache", RMD_CONFIG_BYTES, FIELD(cache_bytes), "64KiB", 0, 0, false, "memory"},
    {"verbose", RMD_CONFIG_BOOL, FIELD(verbose), "false", 0, 0, false, "talk"},
    {"servers", RMD_CONFIG_LIST, FIELD(servers), "a:1, b:2", 0, 0, false, "in order"},
    {0},
};

static struct demo parse_ok(const char *text) {
    struct demo d;
    struct rmd_buf err = {0};
    int rc = rmd_config_parse(rmd_slice_str(text), "/etc/remuda/t.conf", rows, &d, &err);
    if (rc != RMD_OK)
        fail_msg("%s", rmd_buf_str(&err));
    assert_int_equal(err.len, 0);
    rmd_buf_release(&err);
    return d;
}

static void defaults_fill_what_is_not_said(void **state) {
    (void)state;
    struct demo d = parse_ok("bus { listen = x }");
    assert_string_equal(d.listen, "x");
    assert_string_equal(d.key, "server.key");
    assert_string_equal(d.name, "");
    assert_int_equal(d.port, 25);
    assert_int_equal(d.offset, -5);
    assert_int_equal(d.wait_ms, 90000);
    assert_int_equal(d.cache_bytes, 65536);
    assert_false(d.verbose);
    assert_string_equal(d.servers[0], "a:1");
    assert_string_equal(d.servers[1], "b:2");
    assert_null(d.servers[2]);
    rmd_config_release(rows, &d);
    assert_null(d.listen);
    rmd_config_release(rows, &d); /* twice is harmless */
}

static void every_way_to_write_it(void **state) {
    (void)state;
    static const char *const same[] = {
        "bus { listen = \"x y\"; key = \"k\"; deep { wait = 2min } } port = 26; verbose = yes; servers = [c, \"d\"]",
        "bus {\n  listen = x y\n  key: k\n  deep { wait 120s }\n}\nport 26\nverbose on\nservers = [\n  c, # first\n  "
        "d,\n]\n",
        "bus { listen 'x y' }\nbus { key k; }\nbus \"deep\" { wait = 2m }\nport: 26, verbose: true\nservers: ['c', "
        "'d']",
        "bus.listen = x y; bus.key = k; bus.deep.wait = 120\nport=26;verbose=TRUE;servers=[c,d]",
        "\xef\xbb\xbf/* a /* nested */ comment */ bus { listen = <<EOD\nx y\nEOD\n key = \"\\u006b\"; deep { wait = "
        "120000ms } }\r\n"
        "port = 26 # the port\nverbose = true /* so */; servers = [\"c\" \n , \"d\"]",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct demo d = parse_ok(same[i]);
        assert_string_equal(d.listen, "x y");
        assert_string_equal(d.key, "/etc/remuda/k");
        assert_int_equal(d.wait_ms, 120000);
        assert_int_equal(d.port, 26);
        assert_true(d.verbose);
        assert_string_equal(d.servers[0], "c");
        assert_string_equal(d.servers[1], "d");
        assert_null(d.servers[2]);
        rmd_config_release(rows, &d);
    }
    struct demo d = parse_ok(
        "bus { listen = \"tcp://[::1]:1\\t\\\"q\\\"\" ; key = /abs }; servers = single; cache = 1MiB; offset = -70k");
    assert_string_equal(d.listen, "tcp://[::1]:1\t\"q\"");
    assert_string_equal(d.key, "/abs");
    assert_string_equal(d.servers[0], "single");
    assert_int_equal(d.cache_bytes, 1 << 20);
    assert_int_equal(d.offset, -70000);
    rmd_config_release(rows, &d);
}

#define L "bus { listen = x }\n"

static void bad_files_are_told_by_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *err;
    } table[] = {
        {"", "t.conf: bus.listen: is required: where nodes connect\n"},
        {L "\nprot = 5\n", "t.conf:3: prot: unknown key\n"},
        {L "bus {\n  # c\n  lisen = 5\n}\n", "t.conf:4: bus.lisen: unknown key\n"},
        {L "extra {\n a = 1\n}\n", "t.conf:2: extra: unknown key\n"},
        {L "bus = 5\n", "t.conf:2: bus: is set in line 1 already\n"},
        {"bus = 5\n", "t.conf:1: bus: is a section: bus { ... }\n"
                      "t.conf: bus.listen: is required: where nodes connect\n"},
        {L "port = many\n", "t.conf:2: port: \"many\" is not a whole number (5, 200k)\n"},
        {L "port = 0\n", "t.conf:2: port: \"0\" is not within 1 and 65535\n"},
        {L "port = 99999999999999999999\n",
         "t.conf:2: port: \"99999999999999999999\" is not a whole number (5, 200k)\n"},
        {L "port { a = 1 }\n", "t.conf:2: port: expected a whole number (5, 200k), found a section\n"},
        {L "port = [1, 2]\n", "t.conf:2: port: expected a whole number (5, 200k), found a list\n"},
        {L "verbose = maybe\n", "t.conf:2: verbose: \"maybe\" is not true or false\n"},
        {L "cache = 12 parsecs\n", "t.conf:2: cache: \"12 parsecs\" is not a size (65536, 64KiB, 20MB)\n"},
        {L "bus {\n deep {\n  wait = 2h }}\n", "t.conf:4: bus.deep.wait: \"2h\" is not within 1s and 1h\n"},
        {L "bus { deep { wait = soon } }\n",
         "t.conf:2: bus.deep.wait: \"soon\" is not a duration (250ms, 90s, 5min, 4h, 2d)\n"},
        {L "servers { a = 1 }\n",
         "t.conf:2: servers: expected a list ([\"a\", \"b\"]) or a single value, found a section\n"},
        {L "port = 1\nname = a\nport = 2\n", "t.conf:4: port: is set in line 2 already\n"},
        {L "bus.listen = y\n", "t.conf:2: bus.listen: is set in line 1 already\n"},
        {L "port = x\nfoo = 1\nverbose = 7\n", "t.conf:3: foo: unknown key\n"
                                               "t.conf:2: port: \"x\" is not a whole number (5, 200k)\n"
                                               "t.conf:4: verbose: \"7\" is not true or false\n"},
        /* syntax: the first one ends it */
        {L ".include \"/etc/passwd\"\n",
         "t.conf:2: macros such as .include are not supported; put further files beside this one\n"},
        {L "bus {\n .include(try=true) \"x\"\n}\n",
         "t.conf:3: macros such as .include are not supported; put further files beside this one\n"},
        {L "name = \"open\nport = 5\n", "t.conf:2: this string is not closed on its line with \"\n"},
        {L "bus {\n  key = x\n", "t.conf:2: bus: this section is never closed with \"}\"\n"},
        {L "}\n", "t.conf:2: \"}\" closes no section\n"},
        {L "port\n", "t.conf:2: port: has no value\n"},
        {L "port =\n", "t.conf:2: port: has no value\n"},
        {L "= 5\n", "t.conf:2: expected a key, found \"=\"\n"},
        {L "servers = [a,\nb\n", "t.conf:2: this list is never closed with \"]\"\n"},
        {L "servers = [a, b\nport = 5\n", "t.conf:3: expected \",\" or \"]\" in a list, found \"p\"\n"},
        {L "servers = [[a]]\n", "t.conf:2: a list holds plain values only\n"},
        {L "servers = [\"a\" \"b\"]\n", "t.conf:2: expected \",\" or \"]\" in a list, found \"\"\"\n"},
        {L "/* open\n", "t.conf:2: this comment is never closed with \"*/\"\n"},
        {L "name = \"a\" b\n",
         "t.conf:2: name: expected \";\" or the end of the line after the value, found \"b\"\n"},
        {L "name = \"\\q\"\n", "t.conf:2: unknown escape after \"\\\"; a backslash itself is written \"\\\\\"\n"},
        {L "name = \"\\u0000\"\n", "t.conf:2: \"\\u0000\" is not a character that may stand here\n"},
        {L "name = <<EOD\nabc\n", "t.conf:2: \"<<EOD\" is never closed with a line EOD\n"},
        {L "name = \xff\n", "t.conf:1: is not valid UTF-8 text\n"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct demo d;
        struct rmd_buf err = {0};
        int rc = rmd_config_parse(rmd_slice_str(table[i].text), "t.conf", rows, &d, &err);
        if (rc != RMD_EINVAL || strcmp(rmd_buf_str(&err), table[i].err) != 0)
            fail_msg("row %zu: rc %d\nexpected: %sreceived: %s", i, rc, table[i].err, rmd_buf_str(&err));
        assert_null(d.listen);
        rmd_buf_release(&err);
    }
}

static void depth_and_size_are_bounded(void **state) {
    (void)state;
    struct rmd_buf text = {0}, err = {0};
    struct demo d;
    for (int i = 0; i < 100; i++)
        rmd_buf_addstr(&text, "a{");
    assert_int_equal(rmd_config_parse(rmd_buf_slice(&text), "t.conf", rows, &d, &err), RMD_EINVAL);
    assert_string_equal(rmd_buf_str(&err), "t.conf:1: sections nest more than 16 deep\n");
    rmd_buf_clear(&err);
    rmd_buf_clear(&text);
    for (int i = 0; i < 300; i++)
        rmd_buf_addf(&text, "k%d = 1\n", i);
    assert_int_equal(rmd_config_parse(rmd_buf_slice(&text), "t.conf", rows, &d, &err), RMD_EINVAL);
    assert_non_null(strstr(rmd_buf_str(&err), "t.conf: more than 200 errors; the rest is not shown\n"));
    rmd_buf_clear(&err);
    rmd_buf_clear(&text);
    rmd_buf_addstr(&text, "servers = [");
    for (int i = 0; i < 9000; i++)
        rmd_buf_addstr(&text, "a,");
    assert_int_equal(rmd_config_parse(rmd_buf_slice(&text), "t.conf", rows, &d, &err), RMD_EINVAL);
    assert_string_equal(rmd_buf_str(&err), "t.conf:1: more than 8192 values in one file\n");
    rmd_buf_release(&text);
    rmd_buf_release(&err);
}

static void put(const char *dir, const char *name, const char *text) {
    char path[128];
    rmd_format(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static void a_directory_is_read_in_order_of_names(void **state) {
    (void)state;
    char dir[] = "/tmp/remuda-conf-XXXXXX", expected[256], path[128];
    assert_non_null(mkdtemp(dir));
    struct demo d;
    struct rmd_buf err = {0};
    assert_int_equal(rmd_config_load(dir, rows, NULL, &d, &err), RMD_EINVAL);
    rmd_format(expected, sizeof expected, "%s: has no *.conf file\n", dir);
    assert_string_equal(rmd_buf_str(&err), expected);
    rmd_buf_clear(&err);

    put(dir, "10-base.conf", "bus { listen = base; key = base.key }\nport = 1\n");
    put(dir, "20-site.conf", "port = 2\nbus { listen = site }\n");
    put(dir, "ignored.conf.bak", "nonsense {{{\n");
    put(dir, ".hidden.conf", "nonsense {{{\n");
    assert_int_equal(rmd_config_load(dir, rows, NULL, &d, &err), RMD_OK);
    assert_string_equal(d.listen, "site");
    assert_int_equal(d.port, 2);
    rmd_format(path, sizeof path, "%s/base.key", dir);
    assert_string_equal(d.key, path);
    rmd_config_release(rows, &d);

    put(dir, "20-site.conf", "port = 70000\nport2 = 1\n");
    assert_int_equal(rmd_config_load(dir, rows, NULL, &d, &err), RMD_EINVAL);
    rmd_format(
        expected, sizeof expected,
        "%s/20-site.conf:2: port2: unknown key\n%s/20-site.conf:1: port: \"70000\" is not within 1 and 65535\n", dir,
        dir);
    assert_string_equal(rmd_buf_str(&err), expected);
    rmd_buf_clear(&err);
    rmd_format(path, sizeof path, "%s/absent.conf", dir);
    assert_int_equal(rmd_config_load(path, rows, NULL, &d, &err), RMD_EINVAL);
    rmd_format(expected, sizeof expected, "%s: cannot be opened: No such file or directory\n", path);
    assert_string_equal(rmd_buf_str(&err), expected);
    rmd_buf_release(&err);
    static const char *const files[] = {"10-base.conf", "20-site.conf", "ignored.conf.bak", ".hidden.conf"};
    for (size_t i = 0; i < 4; i++) {
        rmd_format(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void a_dump_reads_back_as_the_same(void **state) {
    (void)state;
    struct demo d = parse_ok("bus { key = /k; listen = \"a \\\"b\\\"\\n\"; deep { wait = 1500ms } } servers = []; "
                             "cache = 3000; verbose = on; offset = -7");
    struct rmd_buf text = {0}, again = {0};
    rmd_config_dump(rows, &d, &text);
    assert_non_null(
        strstr(rmd_buf_str(&text), "bus {\n    # where nodes connect\n    listen = \"a \\\"b\\\"\\n\";\n"));
    assert_non_null(strstr(rmd_buf_str(&text), "    deep {\n        # how long\n        wait = 1500ms;\n    }\n}\n"));
    struct demo e = parse_ok(rmd_buf_str(&text));
    rmd_config_dump(rows, &e, &again);
    assert_string_equal(rmd_buf_str(&text), rmd_buf_str(&again));
    assert_int_equal(e.wait_ms, 1500);
    assert_int_equal(e.cache_bytes, 3000);
    assert_int_equal(e.offset, -7);
    assert_null(e.servers[0]);
    rmd_config_release(rows, &d);
    rmd_config_release(rows, &e);
    rmd_buf_release(&text);
    rmd_buf_release(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_not_said),
        cmocka_unit_test(every_way_to_write_it),
        cmocka_unit_test(bad_files_are_told_by_line),
        cmocka_unit_test(depth_and_size_are_bounded),
        cmocka_unit_test(a_directory_is_read_in_order_of_names),
        cmocka_unit_test(a_dump_reads_back_as_the_same),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
