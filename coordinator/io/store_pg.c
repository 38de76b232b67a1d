/* PostgreSQL behind the store port; the contract is in store_pg.h, the queue and its thread in store_writer.h.
 *
 * A commit is two round trips, whatever it holds:
 *   1. BEGIN; lock the row of state and read it
 *   2. puts and deletes as arrays, the new number, COMMIT; all in one pipeline
 * Between the two the group is sorted out against the state that was read, which can't change under the lock. Only a
 * connection that dies after the COMMIT was handed to it leaves doubt, and the next step 1 ends it.
 *
 * Two links: the writer's, used by the writer's thread only; the reader's, guarded by `reading`, which also serves
 * acquire() and last_seq(). Callbacks run without the lock. */
#include "coordinator/io/store_pg.h"

#include <errno.h>
#include <pthread.h>

#include "coordinator/io/store_pg_link.h"
#include "coordinator/io/store_writer.h"

#include <base/buf.h>
#include <base/log.h>
#include <base/text.h>

enum {
    SCHEMA_MAX = 63,
    SEGMENT_OPS_MAX = 16384, /* puts and deletes sent as one pair of arrays */
    GET_KEYS_MAX = 256,      /* a round trip of get_many() */
    PAGE_ROWS_MAX = 1024,    /* a round trip of scan() */
    PAGE_BYTES_MAX = 8 << 20,
};

/* A put or delete with its place in the order; the last one of a key counts. */
struct pg_op {
    struct rmd_slice key, value;
    uint32_t place;
    bool is_put;
};

struct pg {
    char *conninfo, *schema;
    struct pg_link writing, reader;
    pthread_mutex_t reading;
    struct pg_op *ops; /* the writer's thread: the segment being built */
    size_t ops_n;
    struct rmd_buf keys, values, deletes;
    struct rmd_writer writer;
};

/* --- the writer's pipeline */

struct pipeline {
    struct pg_link *link;
    int sent; /* results to be read */
    int error;
};

static void pipe_send(struct pipeline *p, const char *statement, const struct pg_params *params) {
    if (p->error)
        return;
    const struct pg_params none = {0};
    if (!params)
        params = &none;
    if (PQsendQueryPrepared(p->link->conn, statement, params->n, params->value, params->length, params->format, 1))
        p->sent++;
    else
        p->error = pg_link_failed(p->link, NULL);
}

static void pipe_send_text(struct pipeline *p, const char *sql) {
    if (p->error)
        return;
    if (PQsendQueryParams(p->link->conn, sql, 0, NULL, NULL, NULL, NULL, 1))
        p->sent++;
    else
        p->error = pg_link_failed(p->link, NULL);
}

static void pipe_start(struct pipeline *p, struct pg_link *link) {
    *p = (struct pipeline){.link = link};
    if (!PQenterPipelineMode(link->conn))
        p->error = pg_link_failed(link, NULL);
}

/* Reads the results up to the sync point; the last one that holds rows is handed out, to be cleared by the caller. */
static int pipe_finish(struct pipeline *p, PGresult **rows) {
    struct pg_link *l = p->link;
    if (!p->error && !PQpipelineSync(l->conn))
        p->error = pg_link_failed(l, NULL);
    for (int i = 0; i < p->sent && !l->lost; i++) {
        PGresult *res = PQgetResult(l->conn);
        ExecStatusType status = PQresultStatus(res);
        if (status == PGRES_TUPLES_OK && rows && !*rows) {
            *rows = res;
            res = NULL;
        } else if (!p->error && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            p->error = pg_link_failed(l, res);
        }
        PQclear(res);
        if (!l->lost)
            PQclear(PQgetResult(l->conn)); /* the NULL that ends each query's results */
    }
    if (!l->lost)
        PQclear(PQgetResult(l->conn)); /* the sync point's own */
    if (!p->error && !PQexitPipelineMode(l->conn))
        p->error = pg_link_failed(l, NULL);
    return p->error;
}

/* --- building the statements of a group */

static int op_order(const void *a, const void *b) {
    const struct pg_op *x = a, *y = b;
    size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    int c = memcmp(x->key.p, y->key.p, n);
    if (!c)
        c = (x->key.n > y->key.n) - (x->key.n < y->key.n);
    return c ? c : (x->place > y->place) - (x->place < y->place);
}

/* Sends the collected puts and deletes: each key once, in key order. */
static void segment_flush(struct pg *s, struct pipeline *p) {
    if (!s->ops_n)
        return;
    qsort(s->ops, s->ops_n, sizeof *s->ops, op_order);
    pg_array_start(&s->keys);
    pg_array_start(&s->values);
    pg_array_start(&s->deletes);
    uint32_t puts = 0, deletes = 0;
    for (size_t i = 0; i < s->ops_n; i++) {
        const struct pg_op *op = &s->ops[i];
        if (i + 1 < s->ops_n && rmd_slice_eq(op->key, op[1].key))
            continue;
        if (op->is_put) {
            pg_array_add(&s->keys, op->key);
            pg_array_add(&s->values, op->value);
            puts++;
        } else {
            pg_array_add(&s->deletes, op->key);
            deletes++;
        }
    }
    s->ops_n = 0;
    if (puts) {
        pg_array_finish(&s->keys, puts);
        pg_array_finish(&s->values, puts);
        struct pg_params params = {0};
        pg_param(&params, rmd_buf_slice(&s->keys));
        pg_param(&params, rmd_buf_slice(&s->values));
        pipe_send(p, PG_PUT, &params);
    }
    if (deletes) {
        pg_array_finish(&s->deletes, deletes);
        struct pg_params params = {0};
        pg_param(&params, rmd_buf_slice(&s->deletes));
        pipe_send(p, PG_DELETE, &params);
    }
}

static void send_batch(struct pg *s, struct pipeline *p, const struct rmd_batch *b) {
    struct rmd_batch_op op;
    for (size_t pos = 0; rmd_batch_next(b, &pos, &op);) {
        if (op.op == 'R') {
            segment_flush(s, p);
            struct pg_params params = {0};
            pg_param(&params, op.key);
            pg_param(&params, op.value);
            pipe_send(p, PG_DELETE_RANGE, &params);
            continue;
        }
        if (s->ops_n == SEGMENT_OPS_MAX)
            segment_flush(s, p);
        s->ops[s->ops_n] =
            (struct pg_op){.key = op.key, .value = op.value, .place = (uint32_t)s->ops_n, .is_put = op.op == 'P'};
        s->ops_n++;
    }
}

/* --- committing */

/* A transaction that was not committed is ended, with its connection when there is no other way. */
static void roll_back(struct pg_link *l) {
    if (!pg_link_alive(l))
        return;
    if (PQpipelineStatus(l->conn) != PQ_PIPELINE_OFF && !PQexitPipelineMode(l->conn)) {
        pg_link_close(l);
        return;
    }
    char why[PG_TEXT_MAX]; /* the first reason counts */
    rmd_copy(why, sizeof why, l->why);
    if (pg_link_exec(l, "ROLLBACK"))
        pg_link_close(l);
    rmd_copy(l->why, sizeof l->why, why);
}

/* Step 1. Leaves a transaction open that holds the row of state. */
static int begin(struct pg_link *l, uint64_t state[3]) {
    struct pipeline p;
    PGresult *rows = NULL;
    pipe_start(&p, l);
    pipe_send_text(&p, "BEGIN");
    pipe_send(&p, PG_LOCK_STATE, NULL);
    int rc = pipe_finish(&p, &rows);
    if (!rc && (!rows || PQntuples(rows) != 1)) {
        rmd_format(l->why, sizeof l->why, "schema %s has no row of state; restore it from a backup", l->schema);
        rc = RMD_ECORRUPT;
    }
    for (int i = 0; !rc && i < 3; i++)
        state[i] = pg_value_u64(rows, 0, i);
    PQclear(rows);
    return rc;
}

/* Step 2. *sent: whether COMMIT may have reached the server. */
static int apply(struct pg *s, struct rmd_write *group, uint64_t last, bool *sent) {
    struct pipeline p;
    pipe_start(&p, &s->writing);
    for (struct rmd_write *w = group; w && !p.error; w = w->next) {
        if (w->included && !w->repeat)
            send_batch(s, &p, &w->batch);
    }
    segment_flush(s, &p);
    struct pg_params params = {0};
    pg_param_u64(&params, last);
    pipe_send(&p, PG_SET_STATE, &params);
    *sent = !p.error;
    pipe_send_text(&p, "COMMIT");
    return pipe_finish(&p, NULL);
}

/* What a lost COMMIT did when another coordinator has taken over since: the number at its takeover tells. */
static void settle_doubts(struct rmd_write *group, uint64_t epoch, uint64_t base_seq) {
    for (struct rmd_write *w = group; w; w = w->next) {
        if (!w->decided && w->in_doubt && w->epoch + 1 == epoch && w->seq <= base_seq)
            rmd_write_decide(w, RMD_OK);
    }
}

static int try_commit(struct pg *s, struct rmd_write *group) {
    struct pg_link *l = &s->writing;
    int rc = pg_link_connect(l, true);
    if (!rc)
        rc = pg_link_lock(l); /* a session that was lost may have held it until now */
    if (rc)
        return rc;
    uint64_t state[3] = {0}, last;
    rc = begin(l, state);
    if (rc)
        return rc;
    settle_doubts(group, state[0], state[2]);
    if (!rmd_writer_sort(group, state[0], state[1], RMD_OK, &last)) {
        roll_back(l);
        return RMD_OK;
    }
    bool sent = false;
    rc = apply(s, group, last, &sent);
    if (!rc)
        rmd_writer_decide(group, RMD_OK);
    bool in_doubt = rc && sent && l->lost;
    for (struct rmd_write *w = group; w; w = w->next)
        w->in_doubt = in_doubt && w->included;
    return rc;
}

static int pg_commit(void *ctx, struct rmd_write *group, char *why, size_t why_n) {
    struct pg *s = ctx;
    s->ops_n = 0;
    int rc = try_commit(s, group);
    if (!rc)
        return RMD_OK;
    roll_back(&s->writing);
    rmd_copy(why, why_n, s->writing.why);
    for (struct rmd_write *w = group; w; w = w->next) {
        if (!w->decided && w->batch.fail_fast && !w->in_doubt)
            rmd_write_decide(w, rc);
    }
    return rc;
}

static const struct rmd_writer_backend PG_WRITER = {.commit = pg_commit};

/* --- reading */

/* Runs a statement on the reader's link; once more on a new connection when the old one turns out to be dead. */
static int read_rows(struct pg *s, const char *statement, const struct pg_params *params, PGresult **out) {
    struct pg_link *l = &s->reader;
    int rc = RMD_EIO;
    pthread_mutex_lock(&s->reading);
    for (int attempt = 0; attempt < 2; attempt++) {
        rc = pg_link_connect(l, true);
        if (rc)
            break;
        PGresult *res =
            PQexecPrepared(l->conn, statement, params->n, params->value, params->length, params->format, 1);
        if (PQresultStatus(res) == PGRES_TUPLES_OK) {
            *out = res;
            break;
        }
        rc = pg_link_failed(l, res);
        PQclear(res);
        if (pg_link_alive(l))
            break;
    }
    if (rc)
        rmd_error("store", "reading failed: %s", l->why);
    pthread_mutex_unlock(&s->reading);
    return rc;
}

static int pg_get_many(void *store, const struct rmd_slice *keys, size_t n, rmd_value_fn fn, void *ctx) {
    struct pg *s = store;
    for (size_t i = 0; i < n; i++) {
        if (!keys[i].n || keys[i].n > RMD_STORE_KEY_MAX || keys[i].p[0] == 0)
            return RMD_EINVAL;
    }
    struct rmd_buf array = {0};
    int rc = RMD_OK;
    for (size_t done = 0; done < n && !rc;) {
        size_t part = n - done < GET_KEYS_MAX ? n - done : GET_KEYS_MAX;
        pg_array_start(&array);
        for (size_t i = 0; i < part; i++)
            pg_array_add(&array, keys[done + i]);
        pg_array_finish(&array, (uint32_t)part);
        struct pg_params params = {0};
        pg_param(&params, rmd_buf_slice(&array));
        PGresult *res = NULL;
        rc = read_rows(s, PG_GET, &params, &res);
        if (!rc && (size_t)PQntuples(res) != part)
            rc = RMD_ECORRUPT;
        for (size_t i = 0; i < part && !rc; i++)
            fn(ctx, done + i, pg_value(res, (int)i, 0));
        PQclear(res);
        done += part;
    }
    rmd_buf_release(&array);
    return rc;
}

/* Where a scan has got to. */
struct cursor {
    struct rmd_scan range;
    uint8_t key[RMD_STORE_KEY_MAX + 1]; /* the bound that moves */
    uint64_t rows_left, bytes_left;
    bool ended;
};

/* Hands a page's rows out and moves the bound past them. */
static void page_hand_out(struct cursor *c, const PGresult *res, uint64_t page_rows, uint64_t page_bytes,
                          rmd_row_fn fn, void *ctx) {
    uint64_t rows = (uint64_t)PQntuples(res), bytes = 0;
    for (uint64_t i = 0; i < rows; i++) {
        struct rmd_slice key = pg_value(res, (int)i, 0), value = pg_value(res, (int)i, 1);
        bytes += key.n + value.n;
        if (!fn(ctx, key, value)) {
            c->ended = true;
            return;
        }
    }
    c->rows_left -= rows;
    c->bytes_left -= bytes < c->bytes_left ? bytes : c->bytes_left;
    if (!c->rows_left || !c->bytes_left || (rows < page_rows && bytes < page_bytes)) {
        c->ended = true;
        return;
    }
    struct rmd_slice last = pg_value(res, (int)rows - 1, 0);
    memcpy(c->key, last.p, last.n);
    if (c->range.reverse) {
        c->range.to = rmd_slice(c->key, last.n);
    } else {
        c->key[last.n] = 0; /* the least key after it */
        c->range.from = rmd_slice(c->key, last.n + 1);
    }
}

static int pg_scan(void *store, const struct rmd_scan *range, rmd_row_fn fn, void *ctx) {
    static const char *const STATEMENTS[2][2] = {{PG_SCAN, PG_SCAN "_reverse"},
                                                 {PG_SCAN "_keys", PG_SCAN "_keys_reverse"}};
    struct pg *s = store;
    struct cursor *c = rmd_alloc(sizeof *c);
    *c = (struct cursor){.range = *range, .rows_left = range->limit};
    c->bytes_left = range->max_bytes ? range->max_bytes : UINT64_MAX;
    c->ended = !range->limit;
    int rc = RMD_OK;
    while (!rc && !c->ended) {
        uint64_t rows = c->rows_left < PAGE_ROWS_MAX ? c->rows_left : PAGE_ROWS_MAX;
        uint64_t bytes = c->bytes_left < PAGE_BYTES_MAX ? c->bytes_left : PAGE_BYTES_MAX;
        struct pg_params params = {0};
        pg_param(&params, c->range.from);
        pg_param(&params, c->range.to);
        pg_param_u64(&params, rows);
        pg_param_u64(&params, bytes);
        PGresult *res = NULL;
        rc = read_rows(s, STATEMENTS[range->keys_only][range->reverse], &params, &res);
        if (!rc)
            page_hand_out(c, res, rows, bytes, fn, ctx);
        PQclear(res);
    }
    free(c);
    return rc;
}

/* --- the port's other calls */

/* One row with one bigint, on the reader's link. */
static int ask_number(struct pg *s, const char *sql, uint64_t *out) {
    struct pg_link *l = &s->reader;
    pthread_mutex_lock(&s->reading);
    int rc = pg_link_connect(l, true);
    if (!rc) {
        PGresult *res = PQexecParams(l->conn, sql, 0, NULL, NULL, NULL, NULL, 1);
        if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
            rc = pg_link_failed(l, res);
        else
            *out = pg_value_u64(res, 0, 0);
        PQclear(res);
    }
    if (rc)
        rmd_error("store", "%s", l->why);
    pthread_mutex_unlock(&s->reading);
    return rc;
}

/* A lost reply may leave the epoch raised by one more than anybody learns of: harmless, epochs only rise. */
static int pg_acquire(void *store, uint64_t *epoch) {
    return ask_number(store, "UPDATE store_state SET epoch = epoch + 1, base_seq = last_seq RETURNING epoch", epoch);
}

static int pg_last_seq(void *store, uint64_t *seq) {
    return ask_number(store, "SELECT last_seq FROM store_state", seq);
}

static int pg_submit(void *store, struct rmd_batch *batch, uint64_t epoch, uint64_t seq) {
    return rmd_writer_submit(&((struct pg *)store)->writer, batch, epoch, seq);
}

static int pg_poll(void *store, struct rmd_completion *out, int max) {
    return rmd_writer_poll(&((struct pg *)store)->writer, out, max);
}

static int pg_poll_fd(void *store) {
    return ((struct pg *)store)->writer.fd;
}

static const char *pg_stalled(void *store) {
    return rmd_writer_stalled(&((struct pg *)store)->writer);
}

static void pg_free(struct pg *s) {
    pg_link_close(&s->writing);
    pg_link_close(&s->reader);
    rmd_buf_release(&s->keys);
    rmd_buf_release(&s->values);
    rmd_buf_release(&s->deletes);
    pthread_mutex_destroy(&s->reading);
    free(s->ops);
    free(s->conninfo);
    free(s->schema);
    free(s);
}

static void pg_close(void *store) {
    struct pg *s = store;
    rmd_writer_stop(&s->writer);
    pg_free(s);
}

static const struct rmd_store_ops PG_OPS = {
    .name = "postgresql",
    .acquire = pg_acquire,
    .last_seq = pg_last_seq,
    .submit = pg_submit,
    .poll = pg_poll,
    .poll_fd = pg_poll_fd,
    .stalled = pg_stalled,
    .get_many = pg_get_many,
    .scan = pg_scan,
    .close = pg_close,
};

/* Lower case only: the name is used unquoted. */
static bool schema_ok(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > SCHEMA_MAX || (name[0] >= '0' && name[0] <= '9'))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static int open_links(struct pg *s, bool takeover, uint64_t *last_seq) {
    struct pg_link *l = &s->writing;
    int rc = pg_link_connect(l, false);
    if (!rc && !l->has_lock && !takeover)
        rc = pg_link_lock_wait(l);
    if (rc)
        return rc;
    if (!l->has_lock && !takeover) {
        rmd_format(l->why, sizeof l->why,
                   "the store in schema %s of PostgreSQL database %s is in use: another coordinator holds it; stop"
                   " that one first, or take over when its machine is lost",
                   s->schema, PQdb(l->conn));
        return RMD_EBUSY;
    }
    rc = pg_link_tables(l);
    if (!rc)
        rc = pg_link_prepare(l);
    if (!rc) {
        rc = pg_last_seq(s, last_seq);
        if (rc)
            rmd_copy(l->why, sizeof l->why, s->reader.why);
    }
    return rc;
}

int rmd_store_pg_open(const struct rmd_store_pg_options *opt, struct rmd_store *out, char *err, size_t err_n) {
    const char *schema = opt->schema ? opt->schema : "remuda";
    if (!schema_ok(schema)) {
        rmd_format(err, err_n, "\"%s\" can't be the schema's name: a-z, 0-9 and _, at most %d bytes, no digit first",
                   schema, SCHEMA_MAX);
        return RMD_EINVAL;
    }
    struct pg *s = rmd_alloc(sizeof *s);
    s->conninfo = rmd_strdup(opt->conninfo);
    s->schema = rmd_strdup(schema);
    s->ops = rmd_alloc(SEGMENT_OPS_MAX * sizeof *s->ops);
    pthread_mutex_init(&s->reading, NULL);
    s->reader = (struct pg_link){.conninfo = s->conninfo, .schema = s->schema};
    s->writing = s->reader;
    s->writing.writer = true;
    s->writing.lock_key = rmd_fnv64(rmd_slice_str(schema));
    uint64_t last_seq = 0;
    int rc = open_links(s, opt->takeover, &last_seq);
    if (rc) {
        rmd_copy(err, err_n, s->writing.why);
        pg_free(s);
        return rc;
    }
    rc = rmd_writer_start(&s->writer, &PG_WRITER, s, "store", last_seq);
    if (rc) {
        rmd_format(err, err_n, "can't start the store's writing thread: %s", strerror(errno));
        pg_free(s);
        return rc;
    }
    *out = (struct rmd_store){.ops = &PG_OPS, .s = s};
    return RMD_OK;
}
