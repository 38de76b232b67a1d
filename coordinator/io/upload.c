/* Submission: POST /v1/campaigns, streamed.
 *
 * multipart/form-data in the order meta, template, recipients. Rows become chunks while they arrive (core/intake),
 * committed batch by batch under a new campaign id; nothing of it is visible. The last commit brings the campaign's
 * record, its template and its idempotency record together: that is acceptance, and only then the answer leaves. A
 * submission that ends before it leaves chunks without a campaign; they are deleted at once, or at the next start. */
#include <base/log.h>
#include <base/probe.h>
#include <base/text.h>

#include "coordinator/core/intake.h"
#include "coordinator/io/api_request.h"
#include "coordinator/io/template_compile.h"
#include "proto/io/clock.h"
#include "proto/io/idn.h"
#include "proto/io/sign_openssl.h"

enum { META_MAX = 64 << 10, POST_BUFFER = 64 << 10, FORGET_WAIT_MS = 2000 };

struct rmd_upload {
    struct MHD_PostProcessor *post;
    struct rmd_buf meta_text, template;
    json_t *meta;
    int part; /* 0 none, 1 meta, 2 template, 3 recipients */
    bool begun, failed, strict, registered, stored;
    struct rmd_id campaign;
    struct rmd_time at;
    int64_t valid_for_ms;
    struct rmd_schedule schedule;
    uint32_t stream, tenant;
    char *stream_name, *sending_domain, *name, *pool;
    unsigned pool_sources; /* of the stream's pool, in service */
    int64_t age_limit_ms;
    const char *key;
    uint8_t key_hash[RMD_HASH_BYTES];
    Remuda__IdempotencyRecord *former;
    struct rmd_sha256 digest;
    struct rmd_intake *intake;
    struct rmd_buf compiled, former_packed;
    struct rmd_template_info info;
    json_t *rejects;
    int64_t rejects_left;
};

static enum MHD_Result take(void *cls, enum MHD_ValueKind kind, const char *key, const char *filename,
                            const char *type, const char *encoding, const char *data, uint64_t off, size_t size);

struct rmd_upload *rmd_upload_new(struct rmd_api_request *r) {
    struct rmd_upload *u = rmd_alloc(sizeof *u);
    u->post = MHD_create_post_processor(r->conn, POST_BUFFER, take, r);
    u->meta_text.limit = META_MAX;
    u->template.limit = RMD_TEMPLATE_MAX_BYTES;
    u->rejects = json_array();
    u->rejects_left = RMD_API_REJECTS_MAX;
    u->tenant = r->http->o.tenant;
    rmd_sign_openssl()->sha256_init(&u->digest);
    return u;
}

static void fail(struct rmd_api_request *r, unsigned status, int code, const char *fmt, ...) RMD_PRINTF(4, 5);
static void fail(struct rmd_api_request *r, unsigned status, int code, const char *fmt, ...) {
    if (r->upload->failed)
        return;
    struct rmd_buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    rmd_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    r->upload->failed = true;
    rmd_api_fail(r, status, code, "%s", rmd_buf_str(&text));
    rmd_buf_release(&text);
}

static void fail_store(struct rmd_api_request *r, int code) {
    if (code == RMD_EFULL)
        fail(r, 507, code,
             "the coordinator's disk is full (less than limits.disk_reserve would be left): nothing of this "
             "submission was queued; "
             "free space and submit it again");
    else
        fail(r, 503, code, "the submission could not be stored (%s): nothing of it was queued; submit it again",
             rmd_error_text(code));
}

/* ---- what the intake calls */

static void on_reject(void *ctx, const struct rmd_intake_reject *x) {
    struct rmd_api_request *r = ctx;
    struct rmd_upload *u = r->upload;
    if (u->rejects_left-- <= 0)
        return;
    char *email = rmd_strndup(x->email.p, x->email.n);
    json_array_append_new(u->rejects, json_pack("{s:I, s:o, s:s}", "line", (json_int_t)x->line, "email",
                                                rmd_json_text(email), "reason", x->reason));
    free(email);
}

static int on_batch(void *ctx, struct rmd_batch *b) {
    struct rmd_api_request *r = ctx;
    b->fail_fast = true;
    int rc = rmd_shell_commit(r->http->o.shell, b);
    r->upload->stored |= rc == RMD_OK;
    rmd_probe(RMD_PROBE_SUBMIT_PARTLY_STORED);
    return rc;
}

static void require_pieces(struct rmd_upload *u, const Remuda__CompiledTemplate *t, Remuda__Piece *const *piece,
                           size_t n) {
    size_t n_columns;
    const char *const *column = rmd_intake_columns(u->intake, &n_columns);
    for (size_t i = 0; i < n; i++) {
        uint32_t f = piece[i]->field;
        if (f == 0 || f > t->n_column || piece[i]->fallback.len)
            continue;
        for (size_t k = 0; k < n_columns; k++)
            if (strcmp(column[k], t->column[f - 1]) == 0)
                rmd_intake_require(u->intake, k);
    }
}

/* A value without a fallback must not be empty: "Dear ," is not what anybody wants to send. */
static void require_columns(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    const Remuda__CompiledTemplate *t =
        rmd_pb_decode(&remuda__compiled_template__descriptor, rmd_buf_slice(&u->compiled), &r->arena);
    for (size_t i = 0; t && i < t->n_header; i++) {
        require_pieces(u, t, t->header[i]->value, t->header[i]->n_value);
        for (size_t k = 0; k < t->header[i]->n_mailbox; k++) {
            require_pieces(u, t, t->header[i]->mailbox[k]->display, t->header[i]->mailbox[k]->n_display);
            require_pieces(u, t, t->header[i]->mailbox[k]->address, t->header[i]->mailbox[k]->n_address);
        }
    }
    for (size_t i = 0; t && i < t->n_body; i++)
        require_pieces(u, t, t->body[i]->text, t->body[i]->n_text);
}

static int on_header(void *ctx, const char *const *columns, size_t n) {
    struct rmd_api_request *r = ctx;
    struct rmd_upload *u = r->upload;
    struct rmd_buf err = {0};
    int rc = rmd_template_compile(rmd_buf_slice(&u->template), columns, n, u->sending_domain, &u->compiled, &u->info,
                                  &err);
    if (rc < 0)
        fail(r, 400, RMD_EINVAL, "the template can't be used:\n%s", rmd_buf_str(&err));
    else
        require_columns(r);
    rmd_buf_release(&err);
    return rc;
}

/* ---- beginning: meta is whole, the first byte of the recipients is here */

struct stream_view {
    struct rmd_upload *u;
    const char *name;
    bool found;
};

static void count_source(void *ctx, const struct rmd_source_view *s) {
    struct rmd_upload *u = ctx;
    for (size_t i = 0; i < s->record->n_pool; i++)
        if (strcmp(s->record->pool[i], u->pool) == 0 && s->record->state == RMD_SOURCE_ACTIVE)
            u->pool_sources++;
}

static void look_up_stream(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    struct stream_view *v = ctx;
    const Remuda__StreamRecord *s = rmd_coord_stream_by_name(core, v->u->tenant, v->name);
    v->u->at = now;
    v->found = s != NULL;
    if (!s)
        return;
    v->u->stream = s->id;
    v->u->stream_name = rmd_strdup(s->name);
    v->u->sending_domain = rmd_strdup(s->sending_domain);
    v->u->age_limit_ms = s->age_limit_ms;
    v->u->pool = rmd_strdup(s->pool);
    rmd_coord_sources(core, count_source, v->u);
}

static int64_t life_ms(const struct rmd_upload *u) {
    return u->valid_for_ms && u->valid_for_ms < u->age_limit_ms ? u->valid_for_ms : u->age_limit_ms;
}

/* rows 0: not known yet. With a key that was used before the answer is the former one, whatever the clock says by now. */
static bool check_schedule(struct rmd_api_request *r, uint64_t rows) {
    struct rmd_upload *u = r->upload;
    struct rmd_buf why = {0};
    if (u->key && !rows)
        return true;
    if (!rmd_schedule_check(&u->schedule, rows, u->at.wall_ms, life_ms(u), &why))
        fail(r, 400, RMD_EINVAL, "%s", rmd_buf_str(&why));
    rmd_buf_release(&why);
    return !u->failed;
}

static bool read_meta(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    json_error_t e;
    const char *stream = NULL, *name = "", *key = NULL, *start = NULL;
    int strict = 0;
    json_int_t valid = 0, over = 0, batch = 0, every = 0;
    u->meta = json_loadb((const char *)u->meta_text.p, u->meta_text.len, JSON_REJECT_DUPLICATES, &e);
    if (!u->meta || u->meta_text.overflow ||
        json_unpack_ex(u->meta, &e, 0, "{s:s, s?s, s?s, s?b, s?I, s?s, s?I, s?I, s?I}", "stream", &stream, "name",
                       &name, "idempotency_key", &key, "strict", &strict, "valid_for_ms", &valid, "start_at", &start,
                       "over_ms", &over, "batch", &batch, "every_ms", &every) != 0) {
        fail(r, 400, RMD_EFORMAT,
             "meta: %s (needed: \"stream\"; the parts of the form are meta, template, recipients, in this order)",
             u->meta_text.overflow ? "too long" : e.text);
        return false;
    }
    if (valid < 0 || (key && (!*key || strlen(key) > 255))) {
        fail(r, 400, RMD_EINVAL,
             valid < 0 ? "valid_for_ms: must not be negative" : "idempotency_key: 1 to 255 bytes");
        return false;
    }
    if (over < 0 || batch < 0 || every < 0 ||
        (start && rmd_date_parse_rfc3339(rmd_slice_str(start), &u->schedule.start_wall_ms) < 0)) {
        fail(r, 400, RMD_EINVAL, "%s",
             start ? "start_at: must be a time like 2026-12-01T09:00:00Z"
                   : "over_ms, batch, every_ms: must not be negative");
        return false;
    }
    u->schedule.over_ms = over;
    u->schedule.batch = (uint64_t)batch;
    u->schedule.every_ms = every;
    u->strict = strict;
    u->valid_for_ms = valid;
    u->name = rmd_strdup(name);
    u->key = key;
    struct stream_view v = {.u = u, .name = stream};
    int rc = rmd_shell_call(r->http->o.shell, look_up_stream, &v);
    if (rc < 0)
        fail(r, 503, rc, "the coordinator is stopping");
    else if (!v.found)
        fail(r, 404, RMD_ENOTFOUND,
             "there is no stream \"%s\"; `remuda stream set` makes one, `remuda stream list` shows them", stream);
    return !u->failed && check_schedule(r, 0);
}

static bool key_taken(struct rmd_http *h, const uint8_t hash[RMD_HASH_BYTES], void *owner) {
    pthread_mutex_lock(&h->lock);
    bool taken = rmd_map_get(&h->submitting, rmd_slice(hash, RMD_HASH_BYTES)) != NULL;
    if (!taken)
        rmd_map_set(&h->submitting, rmd_slice(hash, RMD_HASH_BYTES), owner);
    pthread_mutex_unlock(&h->lock);
    return taken;
}

static bool claim_key(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    if (!u->key)
        return true;
    const struct rmd_sign_ops *sign = rmd_sign_openssl();
    struct rmd_sha256 h;
    sign->sha256_init(&h);
    sign->sha256_update(&h, u->key, strlen(u->key));
    sign->sha256_final(&h, u->key_hash);
    if (key_taken(r->http, u->key_hash, u)) {
        fail(r, 409, RMD_ECONFLICT, "a submission with this idempotency key is under way; ask again when it is done");
        return false;
    }
    u->registered = true;
    struct rmd_key k = rmd_key_idempotency(u->tenant, u->key_hash);
    struct rmd_slice ks = rmd_key_slice(&k);
    const struct rmd_store *st = rmd_shell_store(r->http->o.shell);
    int rc = st->ops->get_many(st->s, &ks, 1, rmd_api_copy_value, &u->former_packed);
    if (rc < 0) {
        fail_store(r, rc);
        return false;
    }
    if (u->former_packed.len)
        u->former =
            rmd_pb_decode(&remuda__idempotency_record__descriptor, rmd_buf_slice(&u->former_packed), &r->arena);
    return true;
}

static bool begin(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    u->begun = true;
    if (u->template.overflow) {
        fail(r, 413, RMD_ELIMIT, "the template is larger than %d MiB", RMD_TEMPLATE_MAX_BYTES >> 20);
        return false;
    }
    if (u->template.len == 0) {
        fail(r, 400, RMD_EFORMAT,
             "the template is missing (parts of the form: meta, template, recipients, in this order)");
        return false;
    }
    if (!read_meta(r) || !claim_key(r))
        return false;
    uint32_t random;
    rmd_random_bytes(&random, sizeof random);
    u->campaign = rmd_id_make(u->at.wall_ms, random);
    struct rmd_intake_options o = {.tenant = u->tenant,
                                   .now_wall_ms = u->at.wall_ms,
                                   .campaign = u->campaign,
                                   .to_ascii = rmd_idn_to_ascii,
                                   .rejected = on_reject,
                                   .batch = on_batch,
                                   .header = on_header,
                                   .ctx = r};
    const struct rmd_sign_ops *sign = rmd_sign_openssl();
    sign->sha256_update(&u->digest, u->stream_name, strlen(u->stream_name) + 1);
    sign->sha256_update(&u->digest, u->name, strlen(u->name) + 1);
    sign->sha256_update(&u->digest, &u->valid_for_ms, sizeof u->valid_for_ms);
    if (u->schedule.start_wall_ms || u->schedule.over_ms || u->schedule.batch)
        sign->sha256_update(&u->digest, &u->schedule, sizeof u->schedule);
    sign->sha256_update(&u->digest, u->template.p, u->template.len);
    if (!u->former)
        u->intake = rmd_intake_new(&o);
    return true;
}

static void fail_intake(struct rmd_api_request *r, int rc) {
    if (*rmd_intake_trouble(r->upload->intake))
        fail(r, 400, rc, "%s", rmd_intake_trouble(r->upload->intake));
    else
        fail_store(r, rc);
}

static void recipients(struct rmd_api_request *r, const char *data, size_t size) {
    struct rmd_upload *u = r->upload;
    if (!u->begun && !begin(r))
        return;
    rmd_sign_openssl()->sha256_update(&u->digest, data, size);
    if (!u->intake)
        return;
    int rc = rmd_intake_feed(u->intake, rmd_slice(data, size));
    if (rc < 0)
        fail_intake(r, rc);
    else if (rmd_intake_accepted(u->intake) > RMD_API_UPLOAD_MAX_ROWS)
        fail(r, 413, RMD_ELIMIT, "more than %d recipients in one campaign: split the list", RMD_API_UPLOAD_MAX_ROWS);
}

static enum MHD_Result take(void *cls, enum MHD_ValueKind kind, const char *key, const char *filename,
                            const char *type, const char *encoding, const char *data, uint64_t off, size_t size) {
    (void)kind, (void)filename, (void)type, (void)encoding, (void)off;
    static const char *const names[] = {"", "meta", "template", "recipients"};
    struct rmd_api_request *r = cls;
    struct rmd_upload *u = r->upload;
    int part = 0;
    for (int i = 1; i <= 3 && key; i++)
        if (strcmp(key, names[i]) == 0)
            part = i;
    if (u->failed)
        return MHD_YES; /* the rest is read and dropped, so that the client gets the answer */
    if (part == 0 || part < u->part) {
        fail(r, 400, RMD_EFORMAT,
             "unexpected part \"%s\" (parts of the form: meta, template, recipients, in this order)", key ? key : "");
        return MHD_YES;
    }
    u->part = part;
    if (part == 1)
        rmd_buf_add(&u->meta_text, data, size);
    else if (part == 2)
        rmd_buf_add(&u->template, data, size);
    else
        recipients(r, data, size);
    return MHD_YES;
}

void rmd_upload_data(struct rmd_api_request *r, const char *p, size_t n) {
    struct rmd_upload *u = r->upload;
    if (u->failed)
        return;
    if (!u->post || MHD_post_process(u->post, p, n) != MHD_YES)
        fail(r, 400, RMD_EFORMAT, "the body is not multipart/form-data");
}

/* ---- the end */

static void put_record(struct rmd_batch *b, struct rmd_key key, const void *record) {
    struct rmd_buf packed = {0};
    rmd_pb_encode(record, &packed);
    rmd_batch_put(b, rmd_key_slice(&key), rmd_buf_slice(&packed));
    rmd_buf_release(&packed);
}

static int64_t valid_until(const struct rmd_upload *u) {
    int64_t from = u->schedule.start_wall_ms > u->at.wall_ms ? u->schedule.start_wall_ms : u->at.wall_ms;
    return from + life_ms(u);
}

/* What is no error, and surely not meant. */
static void add_warnings(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    json_t *list = json_array();
    if (!u->pool_sources)
        json_array_append_new(list, json_sprintf("no source is in service in pool %s of stream %s: nothing is sent "
                                                 "until there is one (`remuda source add`)",
                                                 u->pool, u->stream_name));
    if (u->info.fixed_date)
        json_array_append_new(list, json_string("the template has a Date: of its own, which every message keeps, "
                                                "retries and later days included; without it each gets the time of "
                                                "its sending"));
    if (json_array_size(list))
        json_object_set(r->out, "warnings", list);
    json_decref(list);
}

/* Points into u, hash and digest. */
static Remuda__CampaignRecord describe(struct rmd_upload *u, int64_t now_wall_ms, uint8_t hash[RMD_HASH_BYTES],
                                       uint8_t digest[RMD_HASH_BYTES]) {
    size_t n_columns;
    const char *const *columns = rmd_intake_columns(u->intake, &n_columns);
    Remuda__CampaignRecord c = REMUDA__CAMPAIGN_RECORD__INIT;
    c.id = (ProtobufCBinaryData){.len = sizeof u->campaign.b, .data = u->campaign.b};
    c.tenant = u->tenant;
    c.stream = u->stream;
    c.name = u->name;
    c.idempotency_key = (char *)(uintptr_t)(u->key ? u->key : "");
    c.template_hash = (ProtobufCBinaryData){.len = RMD_HASH_BYTES, .data = hash};
    c.n_column = n_columns;
    c.column = (char **)(uintptr_t)columns;
    c.state = RMD_CAMPAIGN_ACTIVE;
    c.created_wall_ms = u->at.wall_ms;
    c.accepted_wall_ms = now_wall_ms;
    c.valid_until_wall_ms = valid_until(u);
    c.start_wall_ms = u->schedule.start_wall_ms;
    c.over_ms = u->schedule.over_ms;
    c.batch = u->schedule.batch;
    c.every_ms = u->schedule.every_ms;
    c.rows = rmd_intake_accepted(u->intake);
    c.rejected = rmd_intake_rejected(u->intake);
    c.chunks = rmd_intake_chunks(u->intake);
    c.engagement = rmd_intake_engaged(u->intake);
    c.from = u->info.from;
    c.subject = u->info.subject;
    c.submission_digest = (ProtobufCBinaryData){.len = RMD_HASH_BYTES, .data = digest};
    return c;
}

static json_t *accepted(const struct rmd_upload *u, const Remuda__CampaignRecord *c, int64_t now_wall_ms) {
    struct rmd_release release = {.s = u->schedule, .rows = c->rows};
    release.from_wall_ms = c->start_wall_ms ? c->start_wall_ms : c->accepted_wall_ms;
    struct rmd_forecast f = rmd_release_forecast(&release, now_wall_ms);
    struct rmd_campaign_view v = {.record = c,
                                  .queued = c->rows,
                                  .scheduled = c->start_wall_ms > now_wall_ms,
                                  .released = f.released,
                                  .next_release = f.next,
                                  .next_release_wall_ms = f.next_wall_ms,
                                  .all_released_wall_ms = f.all_wall_ms};
    return json_pack("{s:o, s:I, s:I, s:b}", "campaign", rmd_json_campaign(&v, u->stream_name), "accepted",
                     (json_int_t)c->rows, "rejected", (json_int_t)c->rejected, "duplicate_submission", 0);
}

struct hold {
    const uint8_t *hash;
    bool on;
};

static void hold_template(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    const struct hold *h = ctx;
    (void)now;
    rmd_coord_template_hold(core, h->hash, h->on);
}

static void store_campaign(struct rmd_api_request *r, uint8_t hash[RMD_HASH_BYTES], uint8_t digest[RMD_HASH_BYTES]) {
    struct rmd_upload *u = r->upload;
    struct rmd_time now = rmd_shell_now(r->http->o.shell);
    Remuda__CampaignRecord c = describe(u, now.wall_ms, hash, digest);
    struct rmd_batch b = {.fail_fast = true};
    struct rmd_key template_key = rmd_key_template(hash);
    rmd_batch_put(&b, rmd_key_slice(&template_key), rmd_buf_slice(&u->compiled));
    put_record(&b, rmd_key_campaign(u->tenant, &u->campaign), &c);
    if (u->key) {
        Remuda__IdempotencyRecord i = REMUDA__IDEMPOTENCY_RECORD__INIT;
        i.campaign = c.id;
        i.digest = c.submission_digest;
        i.rows = c.rows;
        i.rejected = c.rejected;
        put_record(&b, rmd_key_idempotency(u->tenant, u->key_hash), &i);
    }
    int rc = rmd_shell_commit(r->http->o.shell, &b);
    if (rc < 0) {
        fail_store(r, rc);
        return;
    }
    u->stored = false; /* it has an owner now */
    r->accepted = true;
    struct rmd_shell_reply reply;
    struct rmd_command cmd = {.kind = RMD_CMD_CAMPAIGN_ACCEPTED, .tenant = u->tenant, .campaign = &c};
    rc = rmd_shell_command(r->http->o.shell, &cmd, RMD_API_WAIT_MS, &reply);
    if (rc < 0 || reply.error < 0) /* durable all the same: it is sent after the next start */
        rmd_warn(u->name, "campaign is stored; the running core did not take it: %s",
                 rmd_error_text(rc < 0 ? rc : reply.error));
    r->out = accepted(u, &c, now.wall_ms);
    add_warnings(r);
    r->status = 201;
}

/* Another campaign's last use of the same template may end just now: it is held meanwhile. */
static void commit_campaign(struct rmd_api_request *r, uint8_t digest[RMD_HASH_BYTES]) {
    const struct rmd_upload *u = r->upload;
    const struct rmd_sign_ops *sign = rmd_sign_openssl();
    uint8_t hash[RMD_HASH_BYTES];
    struct rmd_sha256 h;
    sign->sha256_init(&h);
    sign->sha256_update(&h, u->compiled.p, u->compiled.len);
    sign->sha256_final(&h, hash);
    int rc = rmd_shell_call(r->http->o.shell, hold_template, &(struct hold){hash, true});
    if (rc < 0) {
        fail_store(r, rc);
        return;
    }
    store_campaign(r, hash, digest);
    (void)!rmd_shell_call(r->http->o.shell, hold_template,
                          &(struct hold){hash, false}); /* it ends, and forgets all */
}

/* The key was used: the same content gets the same answer, other content is a mistake. */
static void answer_again(struct rmd_api_request *r, const uint8_t digest[RMD_HASH_BYTES]) {
    struct rmd_upload *u = r->upload;
    if (u->former->digest.len != RMD_HASH_BYTES || memcmp(u->former->digest.data, digest, RMD_HASH_BYTES) != 0) {
        fail(r, 409, RMD_ECONFLICT,
             "the idempotency key \"%s\" was used for another submission (other stream, name, validity, template or "
             "recipients)",
             u->key);
        return;
    }
    r->out = json_pack("{s:{s:o}, s:I, s:I, s:b}", "campaign", "id", rmd_json_id(&u->former->campaign), "accepted",
                       (json_int_t)u->former->rows, "rejected", (json_int_t)u->former->rejected,
                       "duplicate_submission", 1);
    r->status = 200;
}

static void check_strict(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    uint64_t rejected = rmd_intake_rejected(u->intake);
    if (u->strict && rejected)
        fail(r, 400, RMD_EINVAL, "%llu row%s can't be used and strict was asked for: nothing was queued",
             (unsigned long long)rejected, rejected == 1 ? "" : "s");
    else if (rmd_intake_accepted(u->intake) == 0)
        fail(r, 400, RMD_EINVAL, "not one recipient can be used (%llu row%s rejected): nothing was queued",
             (unsigned long long)rejected, rejected == 1 ? "" : "s");
}

void rmd_upload_finish(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    uint8_t digest[RMD_HASH_BYTES];
    if (u->post)
        MHD_destroy_post_processor(u->post);
    u->post = NULL;
    if (!u->failed && !u->begun)
        fail(r, 400, RMD_EFORMAT,
             "the recipients are missing (parts of the form: meta, template, recipients, in this order)");
    if (!u->failed && u->intake) {
        int rc = rmd_intake_finish(u->intake);
        if (rc < 0)
            fail_intake(r, rc);
    }
    rmd_sign_openssl()->sha256_final(&u->digest, digest);
    if (!u->failed && u->former)
        answer_again(r, digest);
    if (!u->failed && u->intake)
        check_strict(r);
    if (!u->failed && u->intake)
        (void)check_schedule(r, rmd_intake_accepted(u->intake));
    if (!u->failed && u->intake)
        commit_campaign(r, digest);
    if (json_array_size(u->rejects)) {
        json_object_set(r->out, "rejects", u->rejects);
        json_object_set_new(r->out, "rejected",
                            json_integer((json_int_t)(u->intake ? rmd_intake_rejected(u->intake) : 0)));
        if (u->rejects_left < 0)
            json_object_set_new(r->out, "rejects_truncated", json_true());
    }
}

/* Chunks that no campaign owns: a refused or broken submission. On a disk that takes nothing the core waits; what a crash leaves
 * goes at the next start. */
static void forget_chunks(struct rmd_api_request *r) {
    struct rmd_shell_reply reply;
    struct rmd_command cmd = {
        .kind = RMD_CMD_SUBMISSION_ENDED, .tenant = r->upload->tenant, .id = r->upload->campaign};
    int rc = rmd_shell_command(r->http->o.shell, &cmd, FORGET_WAIT_MS, &reply);
    if (rc < 0)
        rmd_warn("submission",
                 "rows of a refused submission go when the store takes writes again, or at the next start: %s",
                 rmd_error_text(rc));
}

void rmd_upload_free(struct rmd_api_request *r) {
    struct rmd_upload *u = r->upload;
    if (!u)
        return;
    if (u->stored)
        forget_chunks(r);
    if (u->registered) {
        pthread_mutex_lock(&r->http->lock);
        rmd_map_remove(&r->http->submitting, rmd_slice(u->key_hash, RMD_HASH_BYTES));
        pthread_mutex_unlock(&r->http->lock);
    }
    if (u->post)
        MHD_destroy_post_processor(u->post);
    rmd_intake_free(u->intake);
    rmd_buf_release(&u->meta_text);
    rmd_buf_release(&u->template);
    rmd_buf_release(&u->compiled);
    rmd_buf_release(&u->former_packed);
    json_decref(u->meta);
    json_decref(u->rejects);
    free(u->stream_name);
    free(u->sending_domain);
    free(u->pool);
    free(u->name);
    free(u);
    r->upload = NULL;
}
