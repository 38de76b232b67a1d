/* The node's journal: finding its positions, its identity after another boot, and its content as events of the node
 * core (journal.h). */
#include "node/io/journal_rocks.h"

#include <assert.h>

#include <base/log.h>

#include "proto/io/clock.h"

int journal_scan(struct rocks_journal *j, struct journal_key from, struct journal_key to, journal_row_fn fn,
                 void *ctx) {
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)to.b, to.n);
    rocksdb_iterator_t *it = rocksdb_create_iterator(j->db, options);
    for (rocksdb_iter_seek(it, (const char *)from.b, from.n); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_n = 0, value_n = 0;
        const char *key = rocksdb_iter_key(it, &key_n), *value = rocksdb_iter_value(it, &value_n);
        if (!fn(ctx, rmd_slice(key, key_n), rmd_slice(value, value_n)))
            break;
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(options);
    return text ? journal_error(j, "reading", text) : RMD_OK;
}

/* ---------------------------------------------------------------- positions */

/* Copies at most n bytes of the value; *got is its size, 0 when absent. */
static int get(struct rocks_journal *j, struct journal_key k, uint8_t *out, size_t n, size_t *got) {
    char *text = NULL;
    char *value = rocksdb_get(j->db, j->read, (const char *)k.b, k.n, got, &text);
    if (text)
        return journal_error(j, "reading", text);
    if (!value) {
        *got = 0;
        return RMD_OK;
    }
    memcpy(out, value, *got < n ? *got : n);
    rocksdb_free(value);
    return RMD_OK;
}

/* Number of the last key of a letter, or 0. */
static int last_number(struct rocks_journal *j, char letter, uint64_t *n) {
    rocksdb_iterator_t *it = rocksdb_create_iterator(j->db, j->read);
    struct journal_key end = journal_key_u64(letter, UINT64_MAX);
    size_t key_n = 0;
    *n = 0;
    rocksdb_iter_seek_for_prev(it, (const char *)end.b, end.n);
    if (rocksdb_iter_valid(it)) {
        const uint8_t *key = (const uint8_t *)rocksdb_iter_key(it, &key_n);
        if (key_n == 9 && key[0] == (uint8_t)letter)
            *n = rmd_get_be64(key + 1);
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    return text ? journal_error(j, "reading", text) : RMD_OK;
}

static int read_positions(struct rocks_journal *j) {
    uint8_t v[16] = {0};
    size_t n;
    int rc = get(j, journal_key('w'), v, sizeof v, &n);
    j->high_water = n ? rmd_get_be64(v) : 0;
    memset(v, 0, sizeof v);
    if (!rc)
        rc = get(j, journal_key('p'), v, sizeof v, &n);
    j->acked = rmd_get_be64(v);
    j->alarm_acked = rmd_get_be64(v + 8);
    if (!rc)
        rc = last_number(j, 'o', &j->position);
    if (!rc)
        rc = last_number(j, 'a', &j->alarms);
    if (j->position < j->acked)
        j->position = j->acked; /* trimmed */
    if (j->alarms < j->alarm_acked)
        j->alarms = j->alarm_acked;
    return rc;
}

int journal_database_open(struct rocks_journal *j) {
    char *text = NULL;
    j->db = rocksdb_open(j->options, j->directory, &text);
    if (text) {
        j->db = NULL;
        return journal_error(j, "opening", text);
    }
    return read_positions(j);
}

/* ---------------------------------------------------------------- one lease as it stands */

struct lease_reader {
    struct rocks_journal *j;
    struct rmd_arena arena;
    Remuda__Lease *lease; /* all parts joined; NULL: malformed */
    uint32_t parts;
    uint8_t *marks, *outcomes;
    size_t rows;
};

static bool join_part(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct lease_reader *r = ctx;
    (void)key;
    Remuda__Lease *part = rmd_pb_decode(&remuda__lease__descriptor,
                                        rmd_slice(rmd_arena_dup(&r->arena, value.p, value.n), value.n), &r->arena);
    if (!part || (r->parts && !r->lease)) {
        r->lease = NULL;
        r->parts++;
        return false;
    }
    if (r->parts++ == 0) {
        r->lease = part;
        return true;
    }
    Remuda__Lease *l = r->lease;
    size_t rows = l->n_row + part->n_row;
    bool items = l->n_item || part->n_item;
    ProtobufCBinaryData *row = rmd_arena_alloc(&r->arena, rows * sizeof *row);
    memcpy(row, l->row, l->n_row * sizeof *row);
    memcpy(row + l->n_row, part->row, part->n_row * sizeof *row);
    if (items) {
        Remuda__LeaseItem **item = rmd_arena_alloc(&r->arena, rows * sizeof *item), *first;
        first = rmd_arena_alloc(&r->arena, sizeof *first);
        remuda__lease_item__init(first);
        for (size_t i = 0; i < l->n_row; i++)
            item[i] = i < l->n_item ? l->item[i] : first;
        for (size_t i = 0; i < part->n_row; i++)
            item[l->n_row + i] = i < part->n_item ? part->item[i] : first;
        l->item = item;
        l->n_item = rows;
    }
    l->row = row;
    l->n_row = rows;
    return true;
}

static bool take_mark(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct lease_reader *r = ctx;
    uint32_t index = rmd_get_be32(key.p + 9);
    if (index >= r->rows || value.n != 1)
        return true;
    if (value.p[0] == MARK_FINISHED)
        rmd_bit_set(r->outcomes, index);
    else
        r->marks[index / 4] = (uint8_t)(r->marks[index / 4] | (value.p[0] & 3) << (index % 4 * 2));
    return true;
}

/* The lease with its marks; r->lease stays NULL when it is malformed or was dropped. */
static int read_lease(struct lease_reader *r, uint64_t id) {
    size_t dropped = 0;
    uint8_t ignored[1];
    rmd_arena_reset(&r->arena);
    r->lease = NULL;
    r->parts = 0;
    char *text = NULL;
    struct journal_key k = journal_key_u64('d', id);
    char *value = rocksdb_get(r->j->db, r->j->read, (const char *)k.b, k.n, &dropped, &text);
    (void)ignored;
    if (text)
        return journal_error(r->j, "reading", text);
    if (value) {
        rocksdb_free(value);
        return RMD_OK;
    }
    int rc = journal_scan(r->j, journal_key_u64('l', id), journal_key_u64('l', id + 1), join_part, r);
    if (rc || !r->lease)
        return rc;
    if (r->lease->parts > 1 && r->lease->parts != r->parts) {
        r->lease = NULL; /* written in one piece: can't be */
        return RMD_OK;
    }
    r->lease->part = 0;
    r->lease->parts = 1;
    r->rows = r->lease->n_row;
    r->marks = rmd_arena_alloc(&r->arena, r->rows / 4 + 1);
    r->outcomes = rmd_arena_alloc(&r->arena, r->rows / 8 + 1);
    return journal_scan(r->j, journal_key_u64('k', id), journal_key_u64('k', id + 1), take_mark, r);
}

static bool take_id(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    (void)value;
    *(uint64_t *)ctx = rmd_get_be64(key.p + 1);
    return false;
}

typedef int (*lease_fn)(struct lease_reader *r, void *ctx);

static int each_lease(struct rocks_journal *j, lease_fn fn, void *ctx) {
    struct lease_reader r = {.j = j};
    int rc = RMD_OK;
    for (uint64_t id = 0, next = 0; !rc; id = next + 1) {
        next = UINT64_MAX;
        rc = journal_scan(j, journal_key_u64('l', id), journal_key('m'), take_id, &next);
        if (rc || next == UINT64_MAX)
            break;
        rc = read_lease(&r, next);
        if (!rc && r.lease)
            rc = fn(&r, ctx);
    }
    rmd_arena_release(&r.arena);
    return rc;
}

/* ---------------------------------------------------------------- identity */

static int mark_all_unfinished(struct lease_reader *r, void *ctx) {
    static const char dot[1] = {2};
    for (uint32_t i = 0; i < r->rows; i++) {
        if (rmd_bit_get(r->outcomes, i))
            continue;
        struct journal_key k = journal_key_row('k', r->lease->id, i);
        rocksdb_writebatch_put(r->j->batch, (const char *)k.b, k.n, dot, 1);
        ++*(uint64_t *)ctx;
    }
    return RMD_OK;
}

int journal_identify(struct rocks_journal *j) {
    uint8_t meta[JOURNAL_META_BYTES];
    size_t n;
    int rc = get(j, journal_key('m'), meta, sizeof meta, &n);
    if (rc)
        return rc;
    if (n && meta[0] > JOURNAL_FORMAT) {
        (void)rmd_format(j->why, sizeof j->why, "the journal %s was written by a later version of Remuda (format %u)",
                         j->directory, meta[0]);
        return RMD_EVERSION;
    }
    if (n && (n != JOURNAL_META_BYTES || meta[0] != JOURNAL_FORMAT)) {
        (void)rmd_format(j->why, sizeof j->why, "the journal %s is corrupt: its own record has %zu bytes",
                         j->directory, n);
        return RMD_ECORRUPT;
    }
    j->clock->boot_id(j->clock->ctx, j->boot_id);
    if (n)
        memcpy(j->uuid, meta + 1, sizeof j->uuid);
    if (n && memcmp(meta + 17, j->boot_id, sizeof j->boot_id) == 0)
        return RMD_OK;
    uint64_t in_doubt = 0;
    if (n)
        rc = each_lease(j, mark_all_unfinished, &in_doubt);
    if (rc)
        return rc;
    if (n)
        rmd_warn("journal",
                 "the host was started anew since the journal was written: %llu unfinished messages are in doubt",
                 (unsigned long long)in_doubt);
    rmd_random_bytes(j->uuid, sizeof j->uuid);
    meta[0] = JOURNAL_FORMAT;
    memcpy(meta + 1, j->uuid, sizeof j->uuid);
    memcpy(meta + 17, j->boot_id, sizeof j->boot_id);
    rocksdb_writebatch_put(j->batch, "m", 1, (const char *)meta, sizeof meta);
    char *text = NULL;
    rocksdb_write(j->db, j->synced, j->batch, &text);
    rocksdb_writebatch_clear(j->batch);
    return text ? journal_error(j, "writing", text) : RMD_OK;
}

/* ---------------------------------------------------------------- events */

struct replayer {
    struct rocks_journal *j;
    rmd_replay_fn fn;
    void *ctx;
    struct rmd_arena arena;
    int64_t wall_ms;
};

static bool give_template(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct replayer *p = ctx;
    struct rmd_node_event e = {.kind = RMD_NE_REPLAY_TEMPLATE, .bytes = value};
    if (key.n == 1 + sizeof e.hash) {
        memcpy(e.hash, key.p + 1, sizeof e.hash);
        p->fn(p->ctx, &e);
    }
    return true;
}

static int give_lease(struct lease_reader *r, void *ctx) {
    struct replayer *p = ctx;
    p->fn(p->ctx, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_LEASE,
                                           .lease = r->lease,
                                           .marks = rmd_slice(r->marks, r->rows / 4 + 1),
                                           .outcomes = rmd_slice(r->outcomes, r->rows / 8 + 1)});
    return RMD_OK;
}

static void *dated(struct replayer *p, const ProtobufCMessageDescriptor *type, struct rmd_slice value,
                   int64_t *wall_ms) {
    rmd_arena_reset(&p->arena);
    if (value.n < 8)
        return NULL;
    *wall_ms = (int64_t)rmd_get_be64(value.p);
    return rmd_pb_decode(type, rmd_slice(value.p + 8, value.n - 8), &p->arena);
}

static bool give_outcome(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct replayer *p = ctx;
    int64_t wall_ms;
    struct rmd_node_event e = {.kind = RMD_NE_REPLAY_OUTCOME, .n = rmd_get_be64(key.p + 1)};
    e.outcome = dated(p, &remuda__outcome__descriptor, value, &wall_ms);
    if (e.outcome)
        p->fn(p->ctx, &e);
    else
        rmd_error("journal", "outcome %llu is malformed: skipped", (unsigned long long)e.n);
    return true;
}

static bool give_alarm(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct replayer *p = ctx;
    int64_t wall_ms;
    struct rmd_node_event e = {.kind = RMD_NE_REPLAY_ALARM, .n = rmd_get_be64(key.p + 1)};
    Remuda__Alarm *a = dated(p, &remuda__alarm__descriptor, value, &wall_ms);
    if (a) {
        a->age_ms = p->wall_ms > wall_ms ? p->wall_ms - wall_ms : 0;
        e.alarm = a;
        p->fn(p->ctx, &e);
    }
    return true;
}

enum { OUTCOMES_PAGE = 1000 };

struct outcome_page {
    uint64_t n[OUTCOMES_PAGE];
    struct rmd_slice bytes[OUTCOMES_PAGE];
    size_t rows;
    struct rmd_arena arena;
};

static bool keep_outcome(void *ctx, struct rmd_slice key, struct rmd_slice value) {
    struct outcome_page *p = ctx;
    p->n[p->rows] = rmd_get_be64(key.p + 1);
    p->bytes[p->rows++] = rmd_slice(value.n ? rmd_arena_dup(&p->arena, value.p, value.n) : "", value.n);
    return p->rows < OUTCOMES_PAGE;
}

/* What is in the memtable would be sorted for each page. */
static int flush(struct rocks_journal *j) {
    char *text = NULL;
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
    pthread_rwlock_rdlock(&j->handle);
    if (j->db)
        rocksdb_flush(j->db, o, &text);
    pthread_rwlock_unlock(&j->handle);
    rocksdb_flushoptions_destroy(o);
    return text ? journal_error(j, "writing", text) : RMD_OK;
}

/* Page by page, and fn is called without any lock: it appends, and workers do so meanwhile. */
int journal_replay_outcomes(void *ctx, uint64_t from, rmd_replay_fn fn, void *fn_ctx) {
    struct rocks_journal *j = ctx;
    struct replayer r = {.j = j, .fn = fn, .ctx = fn_ctx};
    struct outcome_page *p = rmd_alloc(sizeof *p);
    pthread_mutex_lock(&j->lock);
    uint64_t position = j->position;
    pthread_mutex_unlock(&j->lock);
    int rc = flush(j);
    while (!rc) {
        p->rows = 0;
        rmd_arena_reset(&p->arena);
        pthread_rwlock_rdlock(&j->handle);
        rc = j->db ? journal_scan(j, journal_key_u64('o', from), journal_key_u64('o', position + 1), keep_outcome, p)
                   : RMD_EIO;
        pthread_rwlock_unlock(&j->handle);
        for (size_t i = 0; i < p->rows && !rc; i++) {
            struct journal_key k = journal_key_u64('o', p->n[i]);
            give_outcome(&r, rmd_slice(k.b, k.n), p->bytes[i]);
            from = p->n[i] + 1;
        }
        if (p->rows < OUTCOMES_PAGE)
            break;
    }
    rmd_arena_release(&p->arena);
    rmd_arena_release(&r.arena);
    free(p);
    return rc;
}

int journal_replay(void *ctx, rmd_replay_fn fn, void *fn_ctx) {
    struct rocks_journal *j = ctx;
    struct replayer p = {.j = j, .fn = fn, .ctx = fn_ctx, .wall_ms = j->clock->now(j->clock->ctx).wall_ms};
    struct rmd_node_event open = {.kind = RMD_NE_JOURNAL_OPEN,
                                  .position = j->position,
                                  .reported = j->acked,
                                  .alarms = j->alarms,
                                  .high_water = j->high_water};
    uint64_t position = j->position; /* what fn appends meanwhile is not replayed */
    memcpy(open.uuid, j->uuid, sizeof open.uuid);
    memcpy(open.boot_id, j->boot_id, sizeof open.boot_id);
    fn(fn_ctx, &open);
    int rc = journal_scan(j, journal_key('t'), journal_key('u'), give_template, &p);
    if (!rc)
        rc = each_lease(j, give_lease, &p);
    if (!rc)
        rc = journal_scan(j, journal_key_u64('o', open.reported + 1), journal_key_u64('o', position + 1),
                          give_outcome, &p);
    if (!rc)
        rc = journal_scan(j, journal_key('a'), journal_key('b'), give_alarm, &p);
    rmd_arena_release(&p.arena);
    if (!rc)
        fn(fn_ctx, &(struct rmd_node_event){.kind = RMD_NE_REPLAY_END});
    return rc;
}
