/* The start: tables that the core keeps in memory go to it row by row, then the streams' keys, then it serves. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <base/log.h>
#include <base/text.h>

#include "coordinator/core/keys.h"
#include "coordinator/io/shell_internal.h"
#include "coordinator/io/stream_keys.h"

enum { ROWS_A_PAGE = 1000, PAGE_BYTES = 4 << 20 };

/* Tables in the order in which the core wants them: what others refer to comes first. See keys.h. */
static const char tables[] = "ATPNSWJYHCGRULX";

struct page {
    struct rmd_arena *arena;
    struct rmd_row row[ROWS_A_PAGE];
    size_t n;
};

static bool add(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct page *p = ctx;
    p->row[p->n++] = (struct rmd_row){.key = rmd_slice(rmd_arena_dup(p->arena, key.p, key.n), key.n),
                                      .value = rmd_slice(rmd_arena_dup(p->arena, value.p, value.n), value.n)};
    return p->n < ROWS_A_PAGE;
}

static int restore_table(struct rmd_shell *s, char table) {
    struct rmd_key from = rmd_key_table(table), to = rmd_key_table((char)(table + 1));
    struct rmd_buf at = {0};
    struct page *p = rmd_alloc(sizeof *p);
    int rc = RMD_OK;
    rmd_buf_add(&at, from.b, from.n);
    p->arena = &s->rows;
    do {
        struct rmd_scan scan = {
            .from = rmd_buf_slice(&at), .to = rmd_key_slice(&to), .limit = ROWS_A_PAGE, .max_bytes = PAGE_BYTES};
        p->n = 0;
        rmd_arena_reset(&s->rows);
        rc = s->o.store.ops->scan(s->o.store.s, &scan, add, p);
        if (rc < 0 || p->n == 0)
            break;
        rmd_buf_clear(&at);
        rmd_buf_add(&at, p->row[p->n - 1].key.p, p->row[p->n - 1].key.n);
        rmd_buf_addc(&at, 0); /* the smallest key behind it */
        rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_RESTORE, .row = p->row, .n_rows = p->n});
    } while (!s->failed);
    rmd_buf_release(&at);
    free(p);
    return rc < 0 ? rc : s->failed;
}

/* ---- keys of streams */

/* A key that can't be read leaves its stream without it: the core sends nothing for such a stream, and the log says
 * why. */
static void restore_keys(struct rmd_shell *s) {
    struct rmd_stream_keys keys = {0};
    rmd_stream_keys_list(&keys, s->core);
    for (size_t i = 0; i < keys.n; i++) {
        struct rmd_stream_key_file *k = &keys.v[i];
        struct rmd_coord_event e = {.kind = RMD_CE_KEY, .stream = k->stream, .index = k->index};
        char err[256] = "";
        const char *why = rmd_stream_key_read(k, err, sizeof err);
        if (why)
            rmd_error(k->stream_name,
                      "DKIM key %s can't be read (%s): nothing of this stream is sent until it can; then say "
                      "`remuda rules reload`",
                      k->path, why);
        e.pem = rmd_buf_slice(&k->pem);
        rmd_shell_step(s, &e);
    }
    rmd_stream_keys_release(&keys);
}

/* ---- events that the life before told the store and not yet history */

enum { EVENTS_LOOKED_AT = 20000 };

static bool newest_origin(void *ctx, const Remuda__EventRecord *e) {
    uint64_t *newest = ctx;
    if (e->origin > *newest)
        *newest = e->origin;
    return true;
}

struct retold {
    struct rmd_history *history;
    uint64_t newest, n;
};

static bool retell(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)key;
    struct retold *r = ctx;
    struct rmd_arena arena = {0};
    const Remuda__EventList *l = rmd_pb_decode(&remuda__event_list__descriptor, value, &arena);
    for (size_t i = 0; l && i < l->n_event; i++) {
        if (l->event[i]->origin <= r->newest)
            continue;
        rmd_history_append(r->history, l->event[i]);
        r->n++;
    }
    rmd_arena_release(&arena);
    return true;
}

static int restore_events(struct rmd_shell *s) {
    struct retold r = {.history = s->o.history};
    uint64_t last = rmd_history_last(r.history);
    struct rmd_history_filter f = {.after = last > EVENTS_LOOKED_AT ? last - EVENTS_LOOKED_AT : 0};
    rmd_history_read(r.history, &f, EVENTS_LOOKED_AT, newest_origin, &r.newest);
    struct rmd_key from = rmd_key_table('V'), to = rmd_key_table('V' + 1);
    struct rmd_scan scan = {.from = rmd_key_slice(&from), .to = rmd_key_slice(&to), .limit = UINT32_MAX};
    int rc = s->o.store.ops->scan(s->o.store.s, &scan, retell, &r);
    rmd_history_flush(r.history);
    if (r.n)
        rmd_info("history", "%llu events of the life before were still to be told", (unsigned long long)r.n);
    return rc;
}

int rmd_shell_restore(struct rmd_shell *s, char *err, size_t err_n) {
    uint64_t last;
    int rc = s->o.store.ops->last_seq(s->o.store.s, &last);
    if (rc < 0) {
        rmd_format(err, err_n, "the store can't be read: %s", rmd_error_text(rc));
        return rc;
    }
    s->next_seq = last + 1;
    s->core = rmd_coord_new(&s->o.core, s->o.epoch);
    rmd_shell_day(s); /* before it serves, so that no day is opened by another calendar */
    for (const char *t = tables; *t; t++) {
        rc = restore_table(s, *t);
        if (rc < 0) {
            rmd_format(
                err, err_n,
                "table %c of the store can't be read (%s): use the version of Remuda that wrote it, or restore "
                "the store from a backup",
                *t, rmd_error_text(rc));
            return rc;
        }
    }
    rc = restore_events(s);
    if (rc < 0) {
        rmd_format(err, err_n, "the store's events can't be read: %s", rmd_error_text(rc));
        return rc;
    }
    restore_keys(s);
    rmd_shell_step(s, &(struct rmd_coord_event){.kind = RMD_CE_RESTORED});
    rmd_shell_run_pending(s);
    if (s->failed)
        rmd_format(err, err_n, "the core could not start: %s", rmd_error_text(s->failed));
    return s->failed;
}
