/* Connections to PostgreSQL; the contract is in store_pg_link.h.
 *
 * Session settings: plans are pinned to the primary key's index, since the planner knows nothing about a queue whose
 * size changes by orders of magnitude within minutes. The server ends a transaction of a coordinator that vanished in
 * the middle after 30 s, and notices a dead TCP peer in about as long, so that locks don't outlive their owner. */
#include "coordinator/io/store_pg_link.h"

#include <base/log.h>
#include <base/text.h>

enum { OID_BYTEA = 17, ARRAY_HEAD_BYTES = 20 };

static const char *const SESSION =
    "SET search_path = %s;"
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;"
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;"
    "SET idle_in_transaction_session_timeout = '30s';"
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
    "SET client_min_messages = warning;"
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";

static const char *const TABLES =
    "BEGIN;"
    "CREATE SCHEMA IF NOT EXISTS %s;"
    "CREATE TABLE store_rows (k bytea PRIMARY KEY, v bytea NOT NULL)"
    " WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);"
    "CREATE TABLE store_state (one boolean PRIMARY KEY DEFAULT true CHECK (one), format int NOT NULL,"
    " epoch bigint NOT NULL, last_seq bigint NOT NULL, base_seq bigint NOT NULL) WITH (fillfactor = 20);"
    "INSERT INTO store_state VALUES (true, %d, 0, 0, 0);"
    "COMMIT";

struct statement {
    const char *name, *sql;
};

static const struct statement WRITER_STATEMENTS[] = {
    {PG_LOCK_STATE, "SELECT epoch, last_seq, base_seq FROM store_state FOR UPDATE"},
    {PG_PUT, "INSERT INTO store_rows (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[])"
             " ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"},
    {PG_DELETE, "DELETE FROM store_rows WHERE k = ANY ($1::bytea[])"},
    {PG_DELETE_RANGE, "DELETE FROM store_rows WHERE k >= $1 AND k < $2"},
    {PG_SET_STATE, "UPDATE store_state SET last_seq = $1"},
};

/* A page of rows: at most $3 of them, and none after the one with which they reach $4 bytes. The length of a stored
 * value is known without reading it. */
#define SCAN_SQL(value, length, direction)                                                                 \
    "SELECT k, " value " FROM (SELECT k, v, sum(octet_length(k) + " length ") OVER (ORDER BY k " direction \
    " ROWS UNBOUNDED PRECEDING) - octet_length(k) - " length " AS before FROM store_rows"                  \
    " WHERE k >= $1 AND k < $2 ORDER BY k " direction " LIMIT $3) AS page WHERE before < $4 ORDER BY k " direction

static const struct statement READER_STATEMENTS[] = {
    {PG_GET, "SELECT v FROM unnest($1::bytea[]) WITH ORDINALITY AS q (k, place) LEFT JOIN store_rows USING (k)"
             " ORDER BY place"},
    {PG_SCAN, SCAN_SQL("v", "octet_length(v)", "ASC")},
    {PG_SCAN "_keys", SCAN_SQL("NULL::bytea", "0", "ASC")},
    {PG_SCAN "_reverse", SCAN_SQL("v", "octet_length(v)", "DESC")},
    {PG_SCAN "_keys_reverse", SCAN_SQL("NULL::bytea", "0", "DESC")},
};

static void drop_notice(void *ctx, const PGresult *res) {
    (void)ctx;
    rmd_debug("store", "PostgreSQL says: %s", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
}

/* One line: libpq's texts have several, with tabs. */
static void flatten(char *text) {
    char *out = text;
    for (const char *in = text; *in; in++) {
        char c = *in == '\n' || *in == '\t' ? ' ' : *in;
        if (c != ' ' || (out > text && out[-1] != ' '))
            *out++ = c;
    }
    *out = 0;
}

int pg_link_failed(struct pg_link *l, const PGresult *res) {
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (!text)
        text = res ? PQresultErrorMessage(res) : PQerrorMessage(l->conn);
    struct rmd_slice line = rmd_trim(rmd_slice_str(text));
    const char *host = PQhost(l->conn), *db = PQdb(l->conn);
    /* What the server says about one statement is definite. An error of libpq's own, which has no code, or a server
     * that ends the session, leaves the question open; PQstatus() alone notices a failed send too late. */
    const char *severity = res ? PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED) : NULL;
    l->lost |= !state || !severity || strcmp(severity, "ERROR") != 0 || PQstatus(l->conn) != CONNECTION_OK;
    bool full = state && strcmp(state, "53100") == 0;
    rmd_format(l->why, sizeof l->why, "%sPostgreSQL database %s at %s: %.*s",
               full ? "no space left on device on the server of " : "", db ? db : "?", host && *host ? host : "?",
               (int)line.n, (const char *)line.p);
    flatten(l->why);
    return full ? RMD_EFULL : RMD_EIO;
}

void pg_link_close(struct pg_link *l) {
    PQfinish(l->conn);
    l->conn = NULL;
    l->has_lock = l->lost = false;
}

bool pg_link_alive(struct pg_link *l) {
    if (l->conn && (l->lost || PQstatus(l->conn) == CONNECTION_BAD))
        pg_link_close(l);
    return l->conn != NULL;
}

int pg_link_exec(struct pg_link *l, const char *sql) {
    PGresult *res = PQexec(l->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    int rc = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? RMD_OK : pg_link_failed(l, res);
    PQclear(res);
    return rc;
}

int pg_link_prepare(struct pg_link *l) {
    const struct statement *s = l->writer ? WRITER_STATEMENTS : READER_STATEMENTS;
    size_t n = l->writer ? sizeof WRITER_STATEMENTS / sizeof *s : sizeof READER_STATEMENTS / sizeof *s;
    for (size_t i = 0; i < n; i++) {
        PGresult *res = PQprepare(l->conn, s[i].name, s[i].sql, 0, NULL);
        int rc = PQresultStatus(res) == PGRES_COMMAND_OK ? RMD_OK : pg_link_failed(l, res);
        PQclear(res);
        if (rc)
            return rc;
    }
    return RMD_OK;
}

int pg_link_lock(struct pg_link *l) {
    if (l->has_lock)
        return RMD_OK;
    char sql[96];
    if (rmd_format(sql, sizeof sql, "SELECT pg_try_advisory_lock(%lld)", (long long)(int64_t)l->lock_key) < 0)
        return RMD_ELIMIT;
    PGresult *res = PQexec(l->conn, sql);
    int rc = PQresultStatus(res) == PGRES_TUPLES_OK ? RMD_OK : pg_link_failed(l, res);
    if (!rc)
        l->has_lock = PQgetvalue(res, 0, 0)[0] == 't';
    PQclear(res);
    return rc;
}

int pg_link_lock_wait(struct pg_link *l) {
    char sql[160];
    if (rmd_format(sql, sizeof sql, "SET lock_timeout = %d; SELECT pg_advisory_lock(%lld)", PG_LOCK_WAIT_MS,
                   (long long)(int64_t)l->lock_key) < 0)
        return RMD_ELIMIT;
    PGresult *res = PQexec(l->conn, sql);
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    bool kept = state && strcmp(state, "55P03") == 0; /* lock_not_available */
    l->has_lock = PQresultStatus(res) == PGRES_TUPLES_OK;
    int rc = l->has_lock || kept ? RMD_OK : pg_link_failed(l, res);
    PQclear(res);
    return rc ? rc : pg_link_exec(l, "RESET lock_timeout");
}

int pg_link_connect(struct pg_link *l, bool prepare) {
    if (pg_link_alive(l))
        return RMD_OK;
    const char *const keys[] = {"connect_timeout",  "keepalives_idle",  "keepalives_interval",
                                "keepalives_count", "tcp_user_timeout", "fallback_application_name",
                                "dbname",           "client_encoding",  NULL};
    const char *const values[] = {"10", "10", "5", "3", "30000", "remuda-coordinator", l->conninfo, "UTF8", NULL};
    l->conn = PQconnectdbParams(keys, values, 1);
    int rc = PQstatus(l->conn) == CONNECTION_OK ? RMD_OK : pg_link_failed(l, NULL);
    char sql[1024];
    if (!rc) {
        PQsetNoticeReceiver(l->conn, drop_notice, NULL);
        rc = rmd_format(sql, sizeof sql, SESSION, l->schema) < 0 ? RMD_ELIMIT : pg_link_exec(l, sql);
    }
    if (!rc && l->writer)
        rc = pg_link_lock(l);
    if (!rc && prepare)
        rc = pg_link_prepare(l);
    if (rc)
        pg_link_close(l);
    return rc;
}

static int tables_make(struct pg_link *l) {
    char sql[1024];
    if (rmd_format(sql, sizeof sql, TABLES, l->schema, PG_FORMAT) < 0)
        return RMD_ELIMIT;
    return pg_link_exec(l, sql);
}

int pg_link_tables(struct pg_link *l) {
    char sql[128];
    if (rmd_format(sql, sizeof sql, "SELECT to_regclass('%s.store_state') IS NULL", l->schema) < 0)
        return RMD_ELIMIT;
    PGresult *res = PQexec(l->conn, sql);
    int rc = PQresultStatus(res) == PGRES_TUPLES_OK ? RMD_OK : pg_link_failed(l, res);
    bool absent = !rc && PQgetvalue(res, 0, 0)[0] == 't';
    PQclear(res);
    if (!rc && absent)
        rc = tables_make(l);
    if (rc)
        return rc;
    res = PQexec(l->conn, "SELECT format, current_setting('fsync') FROM store_state");
    if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        rc = pg_link_failed(l, res);
    } else if (strcmp(PQgetvalue(res, 0, 0), "1") != 0) {
        rmd_format(l->why, sizeof l->why, "schema %s was written by a later version of Remuda (format %s, known %d)",
                   l->schema, PQgetvalue(res, 0, 0), PG_FORMAT);
        rc = RMD_EVERSION;
    } else if (strcmp(PQgetvalue(res, 0, 1), "on") != 0) {
        rmd_warn("store", "PostgreSQL runs with fsync off: a crash of its host loses accepted mail; set fsync = on");
    }
    PQclear(res);
    return rc;
}

/* --- binary forms */

void pg_array_start(struct rmd_buf *b) {
    uint8_t head[ARRAY_HEAD_BYTES] = {0};
    rmd_put_be32(head, 1); /* dimensions; then: no nulls, type, count, lower bound */
    rmd_put_be32(head + 8, OID_BYTEA);
    rmd_put_be32(head + 16, 1);
    b->limit = PG_ARRAY_BYTES_MAX;
    rmd_buf_clear(b);
    rmd_buf_add(b, head, sizeof head);
}

void pg_array_add(struct rmd_buf *b, struct rmd_slice item) {
    uint8_t length[4];
    rmd_put_be32(length, (uint32_t)item.n);
    rmd_buf_add(b, length, sizeof length);
    if (item.n)
        rmd_buf_add(b, item.p, item.n);
}

void pg_array_finish(struct rmd_buf *b, uint32_t n) {
    rmd_put_be32(b->p + 12, n);
}

void pg_param(struct pg_params *p, struct rmd_slice value) {
    p->value[p->n] = value.n ? (const char *)value.p : ""; /* NULL would be SQL's NULL */
    p->length[p->n] = (int)value.n;
    p->format[p->n++] = 1;
}

void pg_param_u64(struct pg_params *p, uint64_t value) {
    rmd_put_be64(p->number[p->n], value);
    pg_param(p, rmd_slice(p->number[p->n], 8));
}

struct rmd_slice pg_value(const PGresult *res, int row, int column) {
    if (PQgetisnull(res, row, column))
        return rmd_slice(NULL, 0);
    return rmd_slice(PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column));
}

uint64_t pg_value_u64(const PGresult *res, int row, int column) {
    struct rmd_slice v = pg_value(res, row, column);
    return v.n == 8 ? rmd_get_be64(v.p) : 0;
}
