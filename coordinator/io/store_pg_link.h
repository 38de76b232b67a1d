/* One PostgreSQL connection of the store: connecting, session settings, statements, arrays, results.
 *
 * Private to store_pg*.c; the only other place that knows libpq's types. A link is used by one thread at a time. A
 * failed call leaves a text in `why` that says which database, and what the server or the library said. */
#ifndef REMUDA_STORE_PG_LINK_H
#define REMUDA_STORE_PG_LINK_H

#include <libpq-fe.h>

#include <remuda/store.h>

#include <base/buf.h>

enum {
    PG_TEXT_MAX = 512,
    PG_ARRAY_BYTES_MAX = 256 << 20,
    PG_FORMAT = 1, /* of the tables */
    PG_LOCK_WAIT_MS = 2000,
};

/* Names of the prepared statements; writers and readers have their own. */
#define PG_LOCK_STATE "rmd_lock_state"
#define PG_PUT "rmd_put"
#define PG_DELETE "rmd_delete"
#define PG_DELETE_RANGE "rmd_delete_range"
#define PG_SET_STATE "rmd_set_state"
#define PG_GET "rmd_get"
#define PG_SCAN "rmd_scan"

struct pg_link {
    const char *conninfo, *schema; /* the store's */
    uint64_t lock_key;
    bool writer;
    bool has_lock; /* writer: the advisory lock is ours */
    PGconn *conn;  /* NULL: not connected */
    bool lost;     /* it failed as a connection: what was under way may have been done or not */
    char why[PG_TEXT_MAX];
};

/* Connects unless it is connected; sets the session up and prepares the statements (when the tables exist). */
int pg_link_connect(struct pg_link *l, bool prepare) RMD_CHECKED;
void pg_link_close(struct pg_link *l);
/* Makes the tables when they are absent, and checks their format. */
int pg_link_tables(struct pg_link *l) RMD_CHECKED;
int pg_link_prepare(struct pg_link *l) RMD_CHECKED;
/* Tries to take the advisory lock when it isn't held. */
int pg_link_lock(struct pg_link *l) RMD_CHECKED;
/* The same, but waits for a session that is ending: the server lets go of a lock a moment after its client is gone.
 * RMD_OK with has_lock false when another one keeps it for PG_LOCK_WAIT_MS. */
int pg_link_lock_wait(struct pg_link *l) RMD_CHECKED;
/* Runs one command without parameters and drops its result. */
int pg_link_exec(struct pg_link *l, const char *sql) RMD_CHECKED;
/* Whether the connection still lives; closes it when it doesn't. */
bool pg_link_alive(struct pg_link *l);
/* Code for a failed result (NULL: the library's last error), `why`, and `lost`. */
int pg_link_failed(struct pg_link *l, const PGresult *res);

/* A one-dimensional bytea[] in binary form; finish() sets the count, which is also its answer's. */
void pg_array_start(struct rmd_buf *b);
void pg_array_add(struct rmd_buf *b, struct rmd_slice item);
void pg_array_finish(struct rmd_buf *b, uint32_t n);

/* Binary parameters. */
struct pg_params {
    const char *value[4];
    int length[4];
    int format[4];
    int n;
    uint8_t number[4][8];
};
void pg_param(struct pg_params *p, struct rmd_slice value);
void pg_param_u64(struct pg_params *p, uint64_t value);
struct rmd_slice pg_value(const PGresult *res, int row, int column); /* p != NULL unless it is SQL's NULL */
uint64_t pg_value_u64(const PGresult *res, int row, int column);

#endif
