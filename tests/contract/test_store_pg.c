/* PostgreSQL behind the store port, where it hurts: connections cut around COMMIT, servers that crash, a coordinator
 * that takes over from another. Each row's writes are counted by a trigger inside the transactions themselves, so
 * that a batch that was applied twice can't hide. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "coordinator/io/store_pg.h"
#include "tests/kit/pg_cluster.h"
#include "tests/kit/pg_proxy.h"
#include "tests/kit/store_kit.h"

#include <base/text.h>

static struct rmd_pg_cluster cluster;
static struct rmd_pg_proxy *proxy;

static void env_init(struct rmd_store_env *e) {
    static int serial;
    rmd_format(e->where, sizeof e->where, "cut_%d", ++serial);
}

static int open_with(const char *schema, bool takeover, struct rmd_store *out, char *err, size_t err_n) {
    const struct rmd_store_pg_options opt = {
        .conninfo = rmd_pg_proxy_conninfo(proxy), .schema = schema, .takeover = takeover};
    return rmd_store_pg_open(&opt, out, err, err_n);
}

static int env_open(struct rmd_store_env *e, struct rmd_store *out, char *err, size_t err_n) {
    return open_with(e->where, false, out, err, err_n);
}

/* Straight to the server. The answer's first value, "" for none, belongs to the caller. */
static char *sql(const char *text) {
    PGconn *conn = PQconnectdb(cluster.conninfo);
    PQclear(PQexec(conn, "SET client_min_messages = error"));
    PGresult *res = PQexec(conn, text);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    char *value = rmd_strdup(status == PGRES_TUPLES_OK && PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    PQfinish(conn);
    return value;
}

static void env_drop(struct rmd_store_env *e) {
    char text[128];
    rmd_format(text, sizeof text, "DROP SCHEMA IF EXISTS %s CASCADE", e->where);
    free(sql(text));
}

static const struct rmd_store_backend PG = {"postgresql", env_init, env_open, NULL, env_drop};

static int group_setup(void **state) {
    (void)state;
    if (rmd_pg_cluster_start(&cluster)) {
        print_error("%s\n", cluster.err);
        return -1;
    }
    proxy = rmd_pg_proxy_start(cluster.socket);
    return proxy ? 0 : -1;
}

static int group_teardown(void **state) {
    (void)state;
    if (proxy)
        rmd_pg_proxy_stop(proxy);
    rmd_pg_cluster_stop(&cluster);
    return 0;
}

static int setup(void **state) {
    struct rmd_store_env *e = rmd_env_new(&PG);
    rmd_env_open(e);
    char text[512];
    rmd_format(text, sizeof text,
               "SET search_path = %s; CREATE TABLE hits (k bytea);"
               "CREATE FUNCTION hit() RETURNS trigger LANGUAGE plpgsql AS"
               " 'BEGIN INSERT INTO %s.hits VALUES (NEW.k); RETURN NEW; END';"
               "CREATE TRIGGER hit AFTER INSERT OR UPDATE ON store_rows FOR EACH ROW EXECUTE FUNCTION hit()",
               e->where, e->where);
    free(sql(text));
    *state = e;
    return 0;
}

static int teardown(void **state) {
    rmd_pg_proxy_cut(proxy, RMD_CUT_BEFORE_COMMIT, 0);
    rmd_pg_proxy_down(proxy, false);
    rmd_env_free(*state);
    return 0;
}

/* Rows written in all, and the most often that one was written: "12 1". */
static void expect_hits(struct rmd_store_env *e, const char *expected) {
    char text[256];
    rmd_format(text, sizeof text,
               "SELECT coalesce(sum(n), 0) || ' ' || coalesce(max(n), 0)"
               " FROM (SELECT count(*) AS n FROM %s.hits GROUP BY k) AS t",
               e->where);
    char *got = sql(text);
    assert_string_equal(got, expected);
    free(got);
}

static uint64_t submit_row(struct rmd_store_env *e, bool fail_fast) {
    char key[24];
    rmd_format(key, sizeof key, "k%06llu", (unsigned long long)e->seq + 1);
    struct rmd_batch b = {.fail_fast = fail_fast};
    rmd_batch_put(&b, rmd_slice_str(key), rmd_slice_str("v"));
    return rmd_env_submit(e, &b);
}

static void a_cut_around_commit_is_settled_exactly_once(void **state) {
    struct rmd_store_env *e = *state;
    uint64_t rows = 0;
    for (int kind = 0; kind < RMD_CUT_KINDS; kind++) {
        for (int times = 1; times <= 2; times++) {
            int before = rmd_pg_proxy_cuts_done(proxy);
            rmd_pg_proxy_cut(proxy, (enum rmd_pg_cut)kind, times);
            for (int group = 0; group < 3; group++) { /* one batch, then several together; each may be cut */
                uint64_t first = e->seq + 1;
                for (int i = 0; i <= group * 10; i++)
                    submit_row(e, i % 7 == 6); /* fail_fast waits too while nobody can tell */
                for (uint64_t seq = first; seq <= e->seq; seq++, rows++)
                    rmd_env_expect(e, seq, RMD_OK);
            }
            assert_int_equal(rmd_pg_proxy_cuts_done(proxy), before + times);
            assert_null(e->store.ops->stalled(e->store.s));
        }
    }
    char expected[32];
    rmd_format(expected, sizeof expected, "%llu 1", (unsigned long long)rows);
    expect_hits(e, expected);
    assert_int_equal(rmd_env_count(e, "k", "l"), rows);
    rmd_env_reopen(e);
    assert_int_equal(rmd_env_count(e, "k", "l"), rows);
}

/* The reply is lost, and nobody can be asked: even fail_fast waits, for it may have been applied, and it was. */
static void nobody_guesses_about_a_lost_reply(void **state) {
    struct rmd_store_env *e = *state;
    rmd_pg_proxy_cut(proxy, RMD_CUT_AFTER_COMMIT, 1);
    uint64_t first = submit_row(e, true);
    rmd_env_expect(e, first, RMD_OK);
    assert_int_equal(rmd_pg_proxy_cuts_done(proxy) > 0, 1);
    expect_hits(e, "1 1");
}

static void without_a_server_it_waits_and_then_goes_on(void **state) {
    struct rmd_store_env *e = *state;
    rmd_env_expect(e, submit_row(e, false), RMD_OK);
    rmd_pg_proxy_down(proxy, true);
    uint64_t waiting = submit_row(e, false);
    rmd_env_wait_stalled(e, "PostgreSQL database postgres");
    struct rmd_completion c;
    assert_int_equal(e->store.ops->poll(e->store.s, &c, 1), 0);
    struct rmd_slice key = rmd_slice_str("k000001");
    assert_int_equal(e->store.ops->get_many(e->store.s, &key, 1, NULL, NULL), RMD_EIO);
    rmd_pg_proxy_down(proxy, false);
    rmd_env_expect(e, waiting, RMD_OK);
    rmd_env_expect_value(e, "k000001", "v"); /* the reader finds its way back too */
    expect_hits(e, "2 1");
}

static void fail_fast_does_not_wait_for_a_server(void **state) {
    struct rmd_store_env *e = *state;
    rmd_pg_proxy_down(proxy, true);
    rmd_env_expect(e, submit_row(e, true), RMD_EIO);
    rmd_pg_proxy_down(proxy, false);
    rmd_env_expect(e, submit_row(e, true), RMD_OK);
    expect_hits(e, "1 1");
}

static void a_server_that_crashes_loses_nothing_completed(void **state) {
    struct rmd_store_env *e = *state;
    for (int i = 0; i < 100; i++)
        submit_row(e, false);
    rmd_env_expect_upto(e, 30);
    assert_int_equal(rmd_pg_cluster_crash_restart(&cluster), RMD_OK);
    rmd_env_expect_upto(e, 100);
    assert_int_equal(rmd_env_count(e, "k", "l"), 100);
    expect_hits(e, "100 1");
}

static void a_takeover_fences_the_old_coordinator(void **state) {
    struct rmd_store_env *e = *state;
    rmd_env_expect(e, submit_row(e, false), RMD_OK);
    struct rmd_store other;
    char err[512] = "";
    assert_int_equal(open_with(e->where, false, &other, err, sizeof err), RMD_EBUSY);
    assert_non_null(strstr(err, e->where));
    assert_int_equal(open_with(e->where, true, &other, err, sizeof err), RMD_OK);
    rmd_env_expect(e, submit_row(e, false), RMD_OK); /* not yet: it hasn't acquired */
    uint64_t epoch, last;
    assert_int_equal(other.ops->acquire(other.s, &epoch), RMD_OK);
    assert_int_equal(epoch, e->epoch + 1);
    rmd_env_expect(e, submit_row(e, false), RMD_EFENCED);
    assert_int_equal(other.ops->last_seq(other.s, &last), RMD_OK);
    assert_int_equal(last, 2);
    other.ops->close(other.s);
    expect_hits(e, "2 1");
}

/* The old coordinator's COMMIT succeeds, its reply is lost, and another takes over before it can ask: it is told the
 * truth about that batch, and that it is fenced for the next. */
static void a_lost_reply_is_told_from_a_takeover(void **state) {
    struct rmd_store_env *e = *state;
    int before = rmd_pg_proxy_cuts_done(proxy);
    char lock[128];
    rmd_format(lock, sizeof lock, "SELECT last_seq FROM %s.store_state", e->where);
    rmd_pg_proxy_cut(proxy, RMD_CUT_DOWN_AFTER_COMMIT, 1);
    uint64_t first = submit_row(e, false);
    rmd_env_wait_stalled(e, "PostgreSQL database");
    assert_int_equal(rmd_pg_proxy_cuts_done(proxy), before + 1);
    char *last = sql(lock);
    assert_string_equal(last, "1");
    free(last);
    const struct rmd_store_pg_options opt = {.conninfo = cluster.conninfo, .schema = e->where, .takeover = true};
    struct rmd_store other;
    char err[512];
    uint64_t epoch;
    assert_int_equal(rmd_store_pg_open(&opt, &other, err, sizeof err), RMD_OK);
    assert_int_equal(other.ops->acquire(other.s, &epoch), RMD_OK);
    struct rmd_batch b = {0};
    rmd_batch_put(&b, rmd_slice_str("other"), rmd_slice_str("1"));
    assert_int_equal(other.ops->submit(other.s, &b, epoch, 2), RMD_OK);
    other.ops->close(other.s);
    uint64_t second = submit_row(e, false);
    rmd_pg_proxy_down(proxy, false);
    rmd_env_expect(e, first, RMD_OK);
    rmd_env_expect(e, second, RMD_EFENCED);
    rmd_env_expect_rows(e, "k", "z", "k000001=v other=1");
}

static void a_later_version_is_left_alone(void **state) {
    struct rmd_store_env *e = *state;
    char text[128], err[512] = "";
    rmd_env_close(e);
    rmd_format(text, sizeof text, "UPDATE %s.store_state SET format = 9", e->where);
    free(sql(text));
    struct rmd_store other;
    assert_int_equal(env_open(e, &other, err, sizeof err), RMD_EVERSION);
    assert_non_null(strstr(err, "later version"));
    assert_int_equal(open_with("Bad;name", false, &other, err, sizeof err), RMD_EINVAL);
}

static void *close_later(void *env) {
    usleep(200000); /* the other one is waiting by then; if it isn't yet, it finds the lock free */
    rmd_env_close(env);
    return NULL;
}

/* A coordinator that is started again at once finds the session of its former life still ending. */
static void a_store_that_is_being_left_is_waited_for(void **state) {
    struct rmd_store_env *e = *state;
    struct rmd_store next;
    char err[512] = "";
    pthread_t leaver;
    rmd_env_put(e, "kept", "1");
    assert_int_equal(pthread_create(&leaver, NULL, close_later, e), 0);
    int rc = env_open(e, &next, err, sizeof err);
    pthread_join(leaver, NULL);
    if (rc != RMD_OK)
        fail_msg("%s", err);
    next.ops->close(next.s);
    rmd_env_open(e);
    rmd_env_expect_value(e, "kept", "1");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_cut_around_commit_is_settled_exactly_once),   CASE(nobody_guesses_about_a_lost_reply),
        CASE(without_a_server_it_waits_and_then_goes_on),    CASE(fail_fast_does_not_wait_for_a_server),
        CASE(a_server_that_crashes_loses_nothing_completed), CASE(a_takeover_fences_the_old_coordinator),
        CASE(a_lost_reply_is_told_from_a_takeover),          CASE(a_later_version_is_left_alone),
        CASE(a_store_that_is_being_left_is_waited_for),
    };
    return cmocka_run_group_tests_name("store: postgresql's own", tests, group_setup, group_teardown) ? 1 : 0;
}
