/* Intake: see intake.h.
 *
 * A group is what becomes chunks: one domain, or a bucket of the tail. Rows wait in their group packed as they will
 * be stored; a group leaves when it reaches a chunk's limits. When all groups together hold more than
 * RMD_INTAKE_BYTES_MAX, small domains are poured into their tail bucket and the big ones leave. At the end everything
 * leaves. A chunk's sequence number rises within the campaign, so that keys never collide, whatever the group. */
#include "coordinator/core/intake.h"

struct group {
    struct rmd_list link;
    uint32_t id;
    bool tail;
    unsigned class; /* of engagement, where the list says */
    char *domain;   /* of a single-domain group */
    char *key;      /* in the map: the domain, behind its class */
    size_t rows, bytes, cap;
    struct rmd_buf packed; /* packed rows, one after the other */
    struct waiting_row *row;
};

struct waiting_row {
    uint64_t hash;
    char *domain; /* tail only: interned in `names` */
    uint32_t end; /* where it ends in packed */
};

/* What a waiting group costs beside its rows: itself, its entry in the map, the slack of its buffers. */
enum { GROUP_COST = 384, NAMES_BYTES_MAX = 4 << 20 };

struct rmd_intake {
    struct rmd_intake_options o;
    struct rmd_csv csv;
    struct rmd_map groups; /* class and domain -> group */
    struct rmd_list order; /* groups, oldest first */
    struct group *tail[RMD_ENGAGEMENT_CLASSES * RMD_INTAKE_TAIL_BUCKETS];
    struct rmd_arena names; /* domains of tail rows; reset when no tail row waits */
    struct rmd_set64 seen;
    struct rmd_batch batch;
    struct rmd_buf packed_row, chunk; /* scratch */
    size_t waiting_bytes;
    char **column;
    size_t n_columns, email_at, engaged_at;
    bool engaged;
    bool header_done;
    bool required[RMD_CSV_FIELDS_MAX];
    uint64_t accepted, rejected, ordinal;
    uint32_t chunks;
    int error;
    char trouble[256];
};

struct rmd_intake *rmd_intake_new(const struct rmd_intake_options *o) {
    struct rmd_intake *i = rmd_alloc(sizeof *i);
    i->o = *o;
    i->n_columns = SIZE_MAX;
    rmd_list_init(&i->order);
    return i;
}

static void group_free(struct group *g) {
    rmd_buf_release(&g->packed);
    free(g->row);
    free(g->domain);
    free(g->key);
    free(g);
}

unsigned rmd_engagement_class(int64_t engaged_wall_ms, int64_t now_wall_ms) {
    static const int64_t days[] = {7, 30, 90, 365};
    const int64_t day = 86400000;
    unsigned class = 0;
    while (class < sizeof days / sizeof days[0] && now_wall_ms - engaged_wall_ms > days[class] * day)
        class ++;
    return class;
}

uint32_t rmd_group_of(bool engaged, unsigned class, bool tail, uint32_t hash) {
    if (!engaged)
        return tail ? (uint32_t)RMD_GROUP_TAIL | hash % RMD_INTAKE_TAIL_BUCKETS : hash & ~(uint32_t)RMD_GROUP_TAIL;
    uint32_t low =
        tail ? RMD_GROUP_ENGAGED_TAIL | hash % RMD_INTAKE_TAIL_BUCKETS : hash & (RMD_GROUP_ENGAGED_TAIL - 1);
    return (uint32_t) class << 29 | low;
}

void rmd_intake_free(struct rmd_intake *i) {
    if (!i)
        return;
    rmd_list_for_safe(it, &i->order) group_free(rmd_container(it, struct group, link));
    for (size_t k = 0; k < sizeof i->tail / sizeof i->tail[0]; k++)
        if (i->tail[k])
            group_free(i->tail[k]);
    for (size_t k = 0; i->column && k < i->n_columns; k++)
        free(i->column[k]);
    free(i->column);
    rmd_map_release(&i->groups);
    rmd_arena_release(&i->names);
    rmd_set64_release(&i->seen);
    rmd_batch_release(&i->batch);
    rmd_buf_release(&i->packed_row);
    rmd_buf_release(&i->chunk);
    rmd_csv_release(&i->csv);
    free(i);
}

const char *rmd_intake_trouble(const struct rmd_intake *i) {
    return i->trouble;
}
const char *const *rmd_intake_columns(const struct rmd_intake *i, size_t *n) {
    *n = i->n_columns;
    return (const char *const *)i->column;
}
uint64_t rmd_intake_accepted(const struct rmd_intake *i) {
    return i->accepted;
}
uint64_t rmd_intake_rejected(const struct rmd_intake *i) {
    return i->rejected;
}
uint32_t rmd_intake_chunks(const struct rmd_intake *i) {
    return i->chunks;
}
bool rmd_intake_engaged(const struct rmd_intake *i) {
    return i->engaged;
}
void rmd_intake_require(struct rmd_intake *i, size_t column) {
    i->required[column] = true;
}

/* ---- chunks */

static int flush_batch(struct rmd_intake *i) {
    if (i->batch.ops == 0)
        return RMD_OK;
    int rc = i->o.batch(i->o.ctx, &i->batch);
    i->batch = (struct rmd_batch){0};
    return rc;
}

/* Index of the domain in list, added when it is new; lists are at most a chunk long. */
static uint32_t domain_index(char **list, size_t *n, char *domain) {
    for (size_t k = 0; k < *n; k++)
        if (strcmp(list[k], domain) == 0)
            return (uint32_t)k;
    list[*n] = domain;
    return (uint32_t)(*n)++;
}

static int emit_chunk(struct rmd_intake *i, struct group *g) {
    if (g->rows == 0)
        return RMD_OK;
    ProtobufCBinaryData row[RMD_CHUNK_ROWS_MAX];
    char *domain[RMD_CHUNK_ROWS_MAX];
    uint32_t domain_of[RMD_CHUNK_ROWS_MAX];
    uint64_t hash[RMD_CHUNK_ROWS_MAX];
    size_t n_domains = 0;
    for (size_t k = 0, from = 0; k < g->rows; from = g->row[k++].end) {
        row[k] = (ProtobufCBinaryData){.len = g->row[k].end - from, .data = g->packed.p + from};
        domain_of[k] = domain_index(domain, &n_domains, g->tail ? g->row[k].domain : g->domain);
        hash[k] = g->row[k].hash;
    }
    Remuda__Chunk c = REMUDA__CHUNK__INIT;
    c.n_row = g->rows;
    c.row = row;
    c.n_address_hash = g->rows;
    c.address_hash = hash;
    c.n_domain = n_domains;
    c.domain = domain;
    c.n_domain_of = n_domains > 1 ? g->rows : 0;
    c.domain_of = domain_of;
    rmd_buf_clear(&i->chunk);
    rmd_pb_encode(&c, &i->chunk);
    struct rmd_chunk_ref ref = {.campaign = i->o.campaign, .group = g->id, .seq = i->chunks++};
    struct rmd_key key = rmd_key_chunk(i->o.tenant, &ref);
    rmd_batch_put(&i->batch, rmd_key_slice(&key), rmd_buf_slice(&i->chunk));
    i->waiting_bytes -= g->bytes;
    g->rows = g->bytes = 0;
    rmd_buf_clear(&g->packed);
    if (i->batch.len >= RMD_INTAKE_BATCH_BYTES)
        return flush_batch(i);
    return RMD_OK;
}

static int add_row(struct rmd_intake *i, struct group *g, struct rmd_slice packed, uint64_t hash, char *row_domain) {
    if (g->rows == RMD_CHUNK_ROWS_MAX || g->packed.len + packed.n > RMD_CHUNK_BYTES_MAX) {
        int rc = emit_chunk(i, g);
        if (rc < 0)
            return rc;
    }
    rmd_buf_add(&g->packed, packed.p, packed.n);
    if (g->rows == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 4;
        g->row = rmd_realloc(g->row, g->cap * sizeof *g->row);
    }
    g->row[g->rows++] = (struct waiting_row){.hash = hash, .domain = row_domain, .end = (uint32_t)g->packed.len};
    size_t cost = packed.n + sizeof *g->row;
    g->bytes += cost;
    i->waiting_bytes += cost;
    return RMD_OK;
}

static struct group *tail_group(struct rmd_intake *i, const char *domain, unsigned class) {
    uint32_t hash = rmd_fnv32(rmd_slice_str(domain));
    size_t at = class * RMD_INTAKE_TAIL_BUCKETS + hash % RMD_INTAKE_TAIL_BUCKETS;
    if (!i->tail[at]) {
        struct group *g = i->tail[at] = rmd_alloc(sizeof *g);
        g->tail = true;
        g->id = rmd_group_of(i->engaged, class, true, hash);
    }
    return i->tail[at];
}

static struct group *domain_group(struct rmd_intake *i, const char *domain, unsigned class) {
    char key[1 + 256];
    key[0] = (char)('0' + class);
    rmd_copy(key + 1, sizeof key - 1, domain);
    struct group *g = rmd_map_get_str(&i->groups, key);
    if (g)
        return g;
    g = rmd_alloc(sizeof *g);
    g->domain = rmd_strdup(domain);
    g->key = rmd_strdup(key);
    g->class = class;
    g->id = rmd_group_of(i->engaged, class, false, rmd_fnv32(rmd_slice_str(domain)));
    rmd_map_set(&i->groups, rmd_slice_str(g->key), g);
    rmd_list_push(&i->order, &g->link);
    i->waiting_bytes += GROUP_COST;
    return g;
}

/* A small domain's rows join its bucket of the tail. */
static int pour(struct rmd_intake *i, struct group *g) {
    struct group *t = tail_group(i, g->domain, g->class);
    char *name = rmd_arena_str(&i->names, rmd_slice_str(g->domain));
    for (size_t k = 0, from = 0; k < g->rows; from = g->row[k++].end) {
        int rc = add_row(i, t, rmd_slice(g->packed.p + from, g->row[k].end - from), g->row[k].hash, name);
        if (rc < 0)
            return rc;
    }
    i->waiting_bytes -= g->bytes;
    g->rows = g->bytes = 0;
    return RMD_OK;
}

static int release_groups(struct rmd_intake *i) {
    rmd_list_for_safe(it, &i->order) {
        struct group *g = rmd_container(it, struct group, link);
        int rc = g->rows < RMD_INTAKE_TAIL_ROWS ? pour(i, g) : emit_chunk(i, g);
        if (rc < 0)
            return rc;
        rmd_list_remove(&g->link);
        rmd_map_remove(&i->groups, rmd_slice_str(g->key));
        group_free(g);
        i->waiting_bytes -= GROUP_COST;
    }
    return RMD_OK;
}

static int release_tail(struct rmd_intake *i) {
    for (size_t k = 0; k < sizeof i->tail / sizeof i->tail[0]; k++)
        if (i->tail[k]) {
            int rc = emit_chunk(i, i->tail[k]);
            if (rc < 0)
                return rc;
        }
    rmd_arena_reset(&i->names);
    return RMD_OK;
}

/* ---- rows */

/* What a quote that was never closed made of an address is a whole list. */
static struct rmd_slice first_line(struct rmd_slice text) {
    const uint8_t *end = text.n ? memchr(text.p, '\n', text.n) : NULL;
    size_t n = end ? (size_t)(end - text.p) : text.n;
    return rmd_trim(rmd_slice(text.p, n < RMD_EMAIL_MAX ? n : RMD_EMAIL_MAX));
}

static void reject(struct rmd_intake *i, uint64_t line, struct rmd_slice email, const char *reason) {
    i->rejected++;
    if (i->o.rejected)
        i->o.rejected(i->o.ctx,
                      &(struct rmd_intake_reject){.line = line, .email = first_line(email), .reason = reason});
}

static int header_trouble(struct rmd_intake *i, const char *text) {
    rmd_format(i->trouble, sizeof i->trouble, "line 1 of the recipients: %s", text);
    return RMD_EFORMAT;
}

/* One field that would be several, one of them the address, with another separator. */
static bool separated_by(const struct rmd_csv_record *r, char separator) {
    struct rmd_slice rest = r->field[0];
    if (r->n != 1 || !memchr(rest.p, separator, rest.n))
        return false;
    while (rest.n) {
        const uint8_t *end = memchr(rest.p, separator, rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        if (rmd_case_eq(rmd_trim(rmd_slice(rest.p, n)), rmd_slice_str("email")))
            return true;
        rest = rmd_slice(rest.p + n + (end != NULL), rest.n - n - (end != NULL));
    }
    return false;
}

static int read_header(struct rmd_intake *i, const struct rmd_csv_record *r) {
    i->header_done = true;
    if (r->error)
        return header_trouble(i, r->error);
    i->email_at = SIZE_MAX;
    i->column = rmd_alloc((r->n + 1) * sizeof *i->column);
    i->n_columns = 0;
    for (size_t k = 0; k < r->n; k++) {
        struct rmd_slice name = rmd_trim(r->field[k]);
        if (rmd_case_eq(name, rmd_slice_str("email"))) {
            if (i->email_at != SIZE_MAX)
                return header_trouble(i, "the column email stands there twice");
            i->email_at = k;
            continue;
        }
        if (name.n == 0)
            return header_trouble(i, "a column has no name");
        if (rmd_case_eq(name, rmd_slice_str(RMD_ENGAGED_COLUMN))) {
            i->engaged = true;
            i->engaged_at = k;
        }
        for (size_t m = 0; m < i->n_columns; m++)
            if (rmd_slice_eq(name, rmd_slice_str(i->column[m])))
                return header_trouble(i, "two columns have the same name");
        i->column[i->n_columns++] = rmd_strndup(name.p, name.n);
    }
    if (i->email_at == SIZE_MAX && separated_by(r, ';'))
        return header_trouble(i, "its columns are separated by \";\": save the list with commas between them");
    if (i->email_at == SIZE_MAX && separated_by(r, '\t'))
        return header_trouble(i, "its columns are separated by tabs: save the list with commas between them");
    if (i->email_at == SIZE_MAX)
        return header_trouble(i,
                              "there is no column email (the first line must name the columns, one of them email)");
    return i->o.header ? i->o.header(i->o.ctx, (const char *const *)i->column, i->n_columns) : RMD_OK;
}

/* local part as given, "@", domain in A-labels. NULL reason: address holds the result. */
static const char *normalise(struct rmd_intake *i, struct rmd_slice email, char address[RMD_EMAIL_MAX + 1],
                             char domain[256]) {
    struct rmd_slice d = rmd_address_domain(email);
    if (d.n == 0 || d.p == email.p + email.n)
        return "there is no @ with a domain behind it";
    const char *why = i->o.to_ascii(i->o.to_ascii_ctx, d, domain);
    if (why)
        return why;
    size_t local = email.n - d.n; /* with the @ */
    size_t n = strlen(domain);
    if (local + n > RMD_EMAIL_MAX)
        return "the address is longer than 320 bytes";
    memcpy(address, email.p, local);
    memcpy(address + local, domain, n + 1);
    return rmd_address_check(rmd_slice(address, local + n), true);
}

static const char *check_fields(const struct rmd_intake *i, const struct rmd_csv_record *r) {
    if (r->error)
        return r->error;
    if (r->n < i->n_columns + 1)
        return "fewer fields than the header row has columns";
    if (r->n > i->n_columns + 1)
        return "more fields than the header row has columns";
    for (size_t k = 0, c = 0; k < r->n; k++) {
        if (k == i->email_at)
            continue;
        if (i->required[c] && rmd_trim(r->field[k]).n == 0)
            return "a field that the template needs is empty";
        c++;
    }
    return NULL;
}

static void pack_row(struct rmd_intake *i, const struct rmd_csv_record *r, char *address) {
    ProtobufCBinaryData field[RMD_CSV_FIELDS_MAX];
    Remuda__Row row = REMUDA__ROW__INIT;
    row.ordinal = ++i->ordinal;
    row.email = address;
    for (size_t k = 0; k < r->n; k++)
        if (k != i->email_at)
            field[row.n_field++] =
                (ProtobufCBinaryData){.len = r->field[k].n, .data = (uint8_t *)(uintptr_t)r->field[k].p};
    row.field = field;
    rmd_buf_clear(&i->packed_row);
    rmd_pb_encode(&row, &i->packed_row);
}

/* NULL, or why the row can't be used. */
static const char *read_engagement(const struct rmd_intake *i, const struct rmd_csv_record *r, unsigned *class) {
    struct rmd_slice text = i->engaged ? rmd_trim(r->field[i->engaged_at]) : rmd_slice("", 0);
    int64_t at;
    *class = i->engaged ? RMD_ENGAGEMENT_CLASSES - 1 : 0;
    if (!text.n)
        return NULL;
    if (rmd_date_parse_rfc3339(text, &at) < 0)
        return "engaged_at is neither a date like 2026-11-23 nor a time like 2026-11-23T10:00:00Z";
    *class = rmd_engagement_class(at, i->o.now_wall_ms);
    return NULL;
}

static int read_row(struct rmd_intake *i, const struct rmd_csv_record *r) {
    struct rmd_slice email = r->n > i->email_at ? rmd_trim(r->field[i->email_at]) : rmd_slice("", 0);
    char address[RMD_EMAIL_MAX + 1], domain[256];
    const char *why = check_fields(i, r);
    if (!why)
        why = email.n == 0 ? "the address is empty" : normalise(i, email, address, domain);
    unsigned class = 0;
    if (!why)
        why = read_engagement(i, r, &class);
    if (why) {
        reject(i, r->line, email, why);
        return RMD_OK;
    }
    uint64_t hash = rmd_address_hash(i->o.tenant, rmd_slice_str(address));
    if (!rmd_set64_add(&i->seen, hash)) {
        reject(i, r->line, email, "duplicate of an earlier row");
        return RMD_OK;
    }
    pack_row(i, r, address);
    int rc = add_row(i, domain_group(i, domain, class), rmd_buf_slice(&i->packed_row), hash, NULL);
    if (rc < 0)
        return rc;
    i->accepted++;
    if (i->waiting_bytes > RMD_INTAKE_BYTES_MAX) {
        rc = release_groups(i);
        if (rc == RMD_OK && (i->waiting_bytes > RMD_INTAKE_BYTES_MAX / 2 || i->names.total > NAMES_BYTES_MAX))
            rc = release_tail(i);
    }
    return rc;
}

static bool on_record(void *ctx, const struct rmd_csv_record *r) {
    struct rmd_intake *i = ctx;
    i->error = i->header_done ? read_row(i, r) : read_header(i, r);
    return i->error == RMD_OK;
}

int rmd_intake_feed(struct rmd_intake *i, struct rmd_slice in) {
    if (i->error == RMD_OK)
        rmd_csv_feed(&i->csv, in, on_record, i);
    return i->error;
}

int rmd_intake_finish(struct rmd_intake *i) {
    if (i->error == RMD_OK)
        rmd_csv_finish(&i->csv, on_record, i);
    if (i->error == RMD_OK && !i->header_done)
        i->error = header_trouble(i, "the file is empty");
    if (i->error == RMD_OK)
        i->error = release_groups(i);
    if (i->error == RMD_OK)
        i->error = release_tail(i);
    if (i->error == RMD_OK)
        i->error = flush_batch(i);
    return i->error;
}
