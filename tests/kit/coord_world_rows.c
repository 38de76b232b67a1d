/* Submissions of the coordinator's world: chunks as intake makes them, and intake itself. See coord_world.h. */
#include "tests/kit/coord_world_internal.h"

#include <assert.h>

#include <base/text.h>

#include "coordinator/core/intake.h"
#include "coordinator/core/keys.h"

enum {
    CHUNK_BYTES = 192 << 10,
    CHUNKS_A_BATCH = 200
}; /* 200 of them are 38 MiB: a batch has less than RMD_STORE_BATCH_MAX */

struct loading {
    struct cw *w;
    struct rmd_batch batch;
    struct rmd_id id;
    uint32_t chunks;
};

static uint32_t tenant_of(const struct cw *w) {
    return w->tenant ? w->tenant : 1;
}

static void put_chunk(struct loading *in, const char *domain, uint32_t group, uint32_t seq, const uint32_t *number,
                      uint32_t n, uint32_t step_by) {
    Remuda__Chunk c = REMUDA__CHUNK__INIT;
    struct rmd_arena a = {0};
    char *name = rmd_arena_str(&a, rmd_slice_str(domain));
    c.row = rmd_arena_alloc(&a, n * sizeof *c.row);
    c.address_hash = rmd_arena_alloc(&a, n * sizeof *c.address_hash);
    c.n_row = c.n_address_hash = n;
    c.domain = &name;
    c.n_domain = 1;
    for (uint32_t i = 0; i < n; i++) {
        Remuda__Row r = REMUDA__ROW__INIT;
        r.ordinal = number[i] / step_by + 1;
        r.ordinal = number[i] + 1;
        r.email = rmd_arena_printf(&a, "user%u@%s", number[i], domain);
        ProtobufCBinaryData padding = cw_bytes(rmd_arena_alloc(&a, in->w->row_bytes + 1), in->w->row_bytes);
        r.field = &padding;
        r.n_field = padding.len ? 1 : 0;
        c.address_hash[i] = rmd_address_hash(tenant_of(in->w), rmd_slice_str(r.email));
        struct rmd_buf b = {0};
        rmd_pb_encode(&r, &b);
        c.row[i] = cw_bytes(rmd_arena_dup(&a, b.p, b.len), b.len);
        rmd_buf_release(&b);
    }
    struct rmd_chunk_ref ref = {.campaign = in->id, .group = group, .seq = seq};
    struct rmd_key k = rmd_key_chunk(tenant_of(in->w), &ref);
    struct rmd_buf b = {0};
    rmd_pb_encode(&c, &b);
    rmd_batch_put(&in->batch, rmd_key_slice(&k), rmd_buf_slice(&b));
    rmd_buf_release(&b);
    rmd_arena_release(&a);
    in->chunks++;
}

/* Durable, without the core. */
static void store_beside(struct cw *w, struct rmd_batch *b) {
    while (cw_sync_one(w)) {
    }
    int rc = w->store.ops->submit(w->store.s, b, w->epoch, ++w->seq);
    assert(rc == RMD_OK);
    rmd_store_fake_sync(w->disk, 1);
    struct rmd_completion done;
    rc = w->store.ops->poll(w->store.s, &done, 1);
    assert(rc == 1 && done.error == RMD_OK);
}

static void put_domain(struct loading *in, const char *domain, uint32_t at, uint32_t step_by, uint32_t n,
                       uint32_t first) {
    uint32_t number[RMD_CHUNK_ROWS_MAX], m = 0, seq = 0, group = rmd_fnv32(rmd_slice_str(domain)) & 0x7fffffff;
    uint32_t most = in->w->row_bytes ? CHUNK_BYTES / (in->w->row_bytes + 100) : RMD_CHUNK_ROWS_MAX;
    for (uint32_t i = at; i < n; i += step_by) {
        number[m++] = first + i;
        if (m == (most < RMD_CHUNK_ROWS_MAX ? most : RMD_CHUNK_ROWS_MAX)) {
            put_chunk(in, domain, group, seq++, number, m, step_by);
            m = 0;
            if (in->chunks % CHUNKS_A_BATCH == 0) /* as a long submission comes in */
                store_beside(in->w, &in->batch);
        }
    }
    if (m)
        put_chunk(in, domain, group, seq, number, m, step_by);
}

void cw_tenant(struct cw *w, uint32_t id) {
    Remuda__TenantRecord t = REMUDA__TENANT_RECORD__INIT;
    t.id = id;
    t.name = (char *)(uintptr_t) "another";
    struct rmd_key k = rmd_key_tenant(id);
    struct rmd_buf packed = {0};
    struct rmd_batch b = {0};
    rmd_pb_encode(&t, &packed);
    rmd_batch_put(&b, rmd_key_slice(&k), rmd_buf_slice(&packed));
    rmd_buf_release(&packed);
    store_beside(w, &b);
    cw_crash(w, false);
}

static struct rmd_id commit_submission(struct loading *in, const char *stream, uint32_t n, bool engagement) {
    struct cw *w = in->w;
    const Remuda__StreamRecord *s = rmd_coord_stream_by_name(w->core, tenant_of(w), stream);
    assert(s);
    Remuda__CampaignRecord r = REMUDA__CAMPAIGN_RECORD__INIT;
    if (w->schedule)
        r = *w->schedule;
    uint8_t hash[RMD_HASH_BYTES] = {w->template_id ? w->template_id : 7};
    r.id = cw_bytes(in->id.b, sizeof in->id.b);
    r.tenant = tenant_of(w);
    r.stream = s->id;
    r.name = (char *)(uintptr_t) "test";
    r.state = RMD_CAMPAIGN_ACTIVE;
    r.rows = n;
    r.engagement = engagement;
    r.chunks = in->chunks;
    r.accepted_wall_ms = r.created_wall_ms = w->now.wall_ms;
    r.template_hash = cw_bytes(hash, sizeof hash);
    struct rmd_key k = rmd_key_campaign(r.tenant, &in->id);
    struct rmd_buf b = {0};
    rmd_pb_encode(&r, &b);
    rmd_batch_put(&in->batch, rmd_key_slice(&k), rmd_buf_slice(&b));
    rmd_buf_release(&b);
    struct rmd_key template = rmd_key_template(hash);
    rmd_batch_put(&in->batch, rmd_key_slice(&template), rmd_slice_str("compiled"));
    store_beside(w, &in->batch);
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_ACCEPTED, .tenant = r.tenant, .campaign = &r};
    int rc = cw_command(w, &m);
    assert(w->died || rc == RMD_OK);
    return in->id;
}

struct rmd_id cw_submit(struct cw *w, const char *stream, const char *const *domains, uint32_t n, uint32_t first) {
    struct loading in = {.w = w, .id = rmd_id_make(w->now.wall_ms, (uint32_t)++w->submissions)};
    uint32_t n_domains = 0;
    while (domains[n_domains])
        n_domains++;
    for (uint32_t d = 0; d < n_domains; d++)
        put_domain(&in, domains[d], d, n_domains, n, first);
    return commit_submission(&in, stream, n, false);
}

static const char *ascii(void *ctx, struct rmd_slice domain, char out[256]) {
    (void)ctx;
    return rmd_copy_slice(out, 256, domain) ? NULL : "too long";
}

static int take_batch(void *ctx, struct rmd_batch *b) {
    struct loading *in = ctx;
    assert(!in->batch.ops); /* lists of tests are small */
    in->batch = *b;
    *b = (struct rmd_batch){0};
    return RMD_OK;
}

struct rmd_id cw_submit_csv(struct cw *w, const char *stream, const char *csv) {
    struct loading in = {.w = w, .id = rmd_id_make(w->now.wall_ms, (uint32_t)++w->submissions)};
    struct rmd_intake_options o = {.tenant = 1,
                                   .campaign = in.id,
                                   .now_wall_ms = w->now.wall_ms,
                                   .to_ascii = ascii,
                                   .batch = take_batch,
                                   .ctx = &in};
    struct rmd_intake *i = rmd_intake_new(&o);
    int rc = rmd_intake_feed(i, rmd_slice_str(csv));
    assert(rc == RMD_OK);
    rc = rmd_intake_finish(i);
    assert(rc == RMD_OK && rmd_intake_rejected(i) == 0);
    uint32_t n = (uint32_t)rmd_intake_accepted(i);
    bool engaged = rmd_intake_engaged(i);
    in.chunks = rmd_intake_chunks(i);
    rmd_intake_free(i);
    return commit_submission(&in, stream, n, engaged);
}
