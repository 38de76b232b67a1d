/* The people: whoever sets the cluster up, submits campaigns, suppresses addresses, pauses, cancels, resolves.
 *
 * An operation that the coordinator didn't answer (it was down, or died on the way) is made again until it is
 * answered, as a client would. A submission is intake, commits and a command, as coordinator/io/upload.c does them;
 * its idempotency key tells whether an unanswered one was stored. */
#include "coordinator/core/intake.h"
#include "tests/sim/sim.h"

enum op_kind {
    OP_NODE,
    OP_STREAM,
    OP_SOURCE,
    OP_SUBMIT,
    OP_SUPPRESS,
    OP_CAMPAIGN_STATE,
    OP_STREAM_STATE,
    OP_RESOLVE,
    OP_FORGET,
    OP_REVOKE,
    OP_RELOAD,
    OP_UNDO, /* of a surge */
};

struct sim_op {
    struct rmd_list link;
    enum op_kind kind;
    uint64_t n; /* node, stream, source, campaign, address, incident */
    uint32_t state;
    uint64_t token, request;
    int64_t before_ms;
    struct sim_event *again;
    /* submission */
    struct rmd_intake *intake;
    struct rmd_batch batch[64];
    uint32_t n_batches, next_batch;
    uint64_t rows;
    uint32_t chunks;
};

static void attempt(struct sim *s, struct sim_op *op);

static void on_attempt(struct sim *s, struct sim_event *e) {
    struct sim_op *op = e->p;
    op->again = NULL;
    attempt(s, op);
}

static void later(struct sim *s, struct sim_op *op, int64_t ms) {
    if (op->again)
        return;
    op->again = sim_at(s, ms, on_attempt, 0, 0, 0);
    op->again->p = op;
}

static struct sim_op *plan(struct sim *s, int64_t in_ms, enum op_kind kind, uint64_t n, uint32_t state) {
    struct sim_op *op = rmd_alloc(sizeof *op);
    op->kind = kind;
    op->n = n;
    op->state = state;
    rmd_list_push(&s->ops, &op->link);
    s->ops_open++;
    later(s, op, in_ms);
    return op;
}

static void intake_end(struct sim_op *op) {
    rmd_intake_free(op->intake);
    op->intake = NULL;
    for (uint32_t i = 0; i < op->n_batches; i++)
        rmd_batch_release(&op->batch[i]);
    op->n_batches = op->next_batch = 0;
}

static void done(struct sim *s, struct sim_op *op) {
    sim_cancel(s, &op->again);
    intake_end(op);
    rmd_list_remove(&op->link);
    free(op);
    s->ops_open--;
}

/* ---- submissions */

static int on_batch(void *ctx, struct rmd_batch *b) {
    struct sim_op *op = ctx;
    if (op->n_batches + 1 >= sizeof op->batch / sizeof op->batch[0])
        return RMD_ELIMIT;
    op->batch[op->n_batches++] = *b;
    *b = (struct rmd_batch){0};
    return RMD_OK;
}

static const char *to_ascii(void *ctx, struct rmd_slice domain, char out[256]) {
    (void)ctx;
    return rmd_copy_slice(out, 256, domain) ? NULL : "too long";
}

static struct rmd_key idempotency(const struct sim_op *op) {
    uint8_t hash[RMD_HASH_BYTES] = {0};
    rmd_put_be64(hash, op->n + 1);
    return rmd_key_idempotency(1, hash);
}

static void put(struct rmd_batch *b, struct rmd_key k, const void *record) {
    struct rmd_buf packed = {0};
    rmd_pb_encode(record, &packed);
    rmd_batch_put(b, rmd_key_slice(&k), rmd_buf_slice(&packed));
    rmd_buf_release(&packed);
}

static Remuda__CampaignRecord record_of(struct sim *s, const struct sim_op *op, struct rmd_id *id, char name[24]) {
    const struct sim_campaign *c = &s->campaign[op->n];
    static char *column[] = {(char *)(uintptr_t) "name"};
    Remuda__CampaignRecord r = REMUDA__CAMPAIGN_RECORD__INIT;
    int64_t now = sim_time(s, &s->coord.clock).wall_ms;
    rmd_format(name, 24, "campaign%u", (unsigned)op->n);
    r.id = (ProtobufCBinaryData){.len = sizeof id->b, .data = id->b};
    r.tenant = 1;
    r.stream = s->stream[c->stream].id;
    r.name = name;
    r.template_hash = (ProtobufCBinaryData){.len = RMD_HASH_BYTES, .data = s->template_hash};
    r.n_column = 1;
    r.column = column;
    r.state = RMD_CAMPAIGN_ACTIVE;
    r.created_wall_ms = r.accepted_wall_ms = now;
    r.valid_until_wall_ms = now + s->stream[c->stream].age_ms;
    r.rows = op->rows;
    r.chunks = op->chunks;
    sim_release_record(c, &r);
    return r;
}

/* The last batch: template, campaign, key. */
static void make_commit(struct sim *s, struct sim_op *op) {
    struct sim_campaign *c = &s->campaign[op->n];
    char name[24];
    Remuda__CampaignRecord r = record_of(s, op, &c->id[c->n_ids - 1], name);
    Remuda__IdempotencyRecord i = REMUDA__IDEMPOTENCY_RECORD__INIT;
    struct rmd_batch *b = &op->batch[op->n_batches++];
    *b = (struct rmd_batch){0};
    struct rmd_key k = rmd_key_template(s->template_hash);
    rmd_batch_put(b, rmd_key_slice(&k), rmd_buf_slice(&s->template));
    put(b, rmd_key_campaign(1, &c->id[c->n_ids - 1]), &r);
    i.campaign = r.id;
    i.rows = r.rows;
    put(b, idempotency(op), &i);
    c->valid_until_wall_ms = r.valid_until_wall_ms;
    sim_release_accepted(c, &r);
    c->accepted = true;
}

static void take_in(struct sim *s, struct sim_op *op) {
    struct sim_campaign *c = &s->campaign[op->n];
    struct rmd_buf csv = {0};
    char email[96];
    if (c->n_ids == SIM_IDS) {
        sim_broken(s, "submissions end", "campaign %u was submitted %d times without an answer", (unsigned)op->n,
                   SIM_IDS);
        return;
    }
    c->id[c->n_ids++] = rmd_id_make(sim_time(s, &s->coord.clock).wall_ms, (uint32_t)rmd_rng_next(&s->rng));
    rmd_map_set(&s->sessions, rmd_slice(c->id[c->n_ids - 1].b, 10), c);
    struct rmd_intake_options o = {
        .tenant = 1, .campaign = c->id[c->n_ids - 1], .to_ascii = to_ascii, .batch = on_batch, .ctx = op};
    op->intake = rmd_intake_new(&o);
    rmd_buf_addstr(&csv, "email,name\n");
    for (uint32_t i = 0; i < c->rows; i++) {
        sim_email(s, c->message[i].address, email);
        rmd_buf_addf(&csv, "%s,Person %u\n", email, i);
    }
    if (rmd_intake_feed(op->intake, rmd_buf_slice(&csv)) != RMD_OK || rmd_intake_finish(op->intake) != RMD_OK ||
        rmd_intake_accepted(op->intake) != c->rows)
        sim_broken(s, "intake takes good rows", "%s", rmd_intake_trouble(op->intake));
    op->rows = rmd_intake_accepted(op->intake);
    op->chunks = rmd_intake_chunks(op->intake);
    rmd_buf_release(&csv);
}

static void commit_next(struct sim *s, struct sim_op *op) {
    if (op->next_batch == op->n_batches && !s->campaign[op->n].accepted)
        make_commit(s, op);
    op->request = ++s->coord.next_token;
    if (!sim_coord_submit(s, &op->batch[op->next_batch], op->request)) {
        op->request = 0;
        later(s, op, 400);
        return;
    }
    op->next_batch++;
}

static void acknowledge(struct sim *s, struct sim_op *op) {
    struct sim_campaign *c = &s->campaign[op->n];
    c->acknowledged = true;
    sim_say(s, "campaign %u: %u recipients accepted", (unsigned)op->n, c->rows);
    char name[24];
    Remuda__CampaignRecord r = record_of(s, op, &c->id[c->n_ids - 1], name);
    r.valid_until_wall_ms = c->valid_until_wall_ms;
    if (c->start_in_ms)
        r.start_wall_ms = c->start_wall_ms;
    struct rmd_command cmd = {.kind = RMD_CMD_CAMPAIGN_ACCEPTED, .campaign = &r};
    uint64_t token;
    intake_end(op);
    if (sim_coord_command(s, &cmd, &token)) /* the core is told; when it dies before, its start tells it */
        op = NULL;
}

static void on_former(void *ctx, size_t i, struct rmd_slice value) {
    (void)i;
    *(bool *)ctx = value.p != NULL;
}

/* Answered by an earlier attempt? */
static bool stored_before(struct sim *s, struct sim_op *op) {
    struct rmd_key k = idempotency(op);
    struct rmd_slice ks = rmd_key_slice(&k);
    bool found = false;
    int rc = s->coord.store.ops->get_many(s->coord.store.s, &ks, 1, on_former, &found);
    return rc == RMD_OK && found;
}

static void submit(struct sim *s, struct sim_op *op) {
    struct sim_campaign *c = &s->campaign[op->n];
    if (!s->coord.up) {
        later(s, op, 700);
        return;
    }
    if (!op->intake) {
        if (c->accepted && stored_before(s, op)) { /* its record is durable: the running core has restored it */
            c->acknowledged = true;
            sim_say(s, "campaign %u: was accepted before the answer was lost", (unsigned)op->n);
            done(s, op);
            return;
        }
        c->accepted = false;
        take_in(s, op);
    }
    if (!s->broken)
        commit_next(s, op);
}

void sim_op_committed(struct sim *s, uint64_t request, int error) {
    rmd_list_for_safe(it, &s->ops) {
        struct sim_op *op = rmd_container(it, struct sim_op, link);
        if (op->kind != OP_SUBMIT || op->request != request)
            continue;
        op->request = 0;
        if (error < 0) {
            sim_broken(s, "store takes batches", "a batch of a submission failed: %s", rmd_error_text(error));
            return;
        }
        if (op->next_batch == op->n_batches && s->campaign[op->n].accepted) {
            acknowledge(s, op);
            done(s, op);
        } else {
            later(s, op, sim_between(s, 0, 20));
        }
        return;
    }
}

/* ---- commands */

static bool stream_record(struct sim *s, struct sim_op *op, struct rmd_command *cmd, Remuda__StreamRecord *r,
                          Remuda__DkimRef *key) {
    static Remuda__DkimRef *keys[1]; /* points to the caller's during the call */
    const struct sim_stream *x = &s->stream[op->n];
    static char domain[40];
    remuda__stream_record__init(r);
    remuda__dkim_ref__init(key);
    key->selector = (char *)(uintptr_t) "sel";
    key->path = (char *)(uintptr_t) "/key";
    keys[0] = key;
    rmd_format(domain, sizeof domain, "return.%s", x->domain);
    r->name = (char *)(uintptr_t)x->name;
    r->pool = (char *)(uintptr_t) "all";
    r->sending_domain = (char *)(uintptr_t)x->domain;
    r->return_domain = domain;
    r->priority = x->priority;
    r->age_limit_ms = x->age_ms;
    r->retry_min_ms = x->retry_min_ms;
    r->retry_max_ms = x->retry_max_ms;
    r->uncertain_policy = x->uncertain_policy;
    r->node_return_wait_ms = x->return_wait_ms;
    r->domain_cap_per_day = x->domain_cap;
    r->domain_warmup = (char *)(uintptr_t)(x->warms ? "sim" : "");
    r->no_cold_lanes = x->no_cold;
    r->n_key = 1;
    r->key = keys;
    cmd->kind = RMD_CMD_STREAM_PUT;
    cmd->stream_record = r;
    cmd->key_pem[0] = rmd_slice_str("-----BEGIN FAKE ED25519 KEY-----");
    return true;
}

static void source_record(struct sim *s, struct sim_op *op, struct rmd_command *cmd, Remuda__SourceRecord *r) {
    static char *pool[] = {(char *)(uintptr_t) "all"};
    const struct sim_source *x = &s->source[op->n];
    remuda__source_record__init(r);
    r->address = (char *)(uintptr_t)x->address;
    r->helo = (char *)(uintptr_t)x->helo;
    r->n_pool = 1;
    r->pool = pool;
    r->cap_per_day = x->cap;
    r->lane_cap_per_day = x->lane_cap;
    r->warmup = (char *)(uintptr_t)(x->warms ? "sim" : "");
    r->warm_as = x->warm_as;
    cmd->kind = RMD_CMD_SOURCE_ADD;
    cmd->name = s->node[x->node].name;
    cmd->source = r;
}

static void attempt(struct sim *s, struct sim_op *op) {
    struct rmd_command cmd = {.reason = "simulated"};
    Remuda__StreamRecord stream;
    Remuda__DkimRef key;
    Remuda__SourceRecord source;
    char email[96];
    switch (op->kind) {
    case OP_NODE:
        cmd.kind = RMD_CMD_NODE_ADD;
        cmd.name = s->node[op->n].name;
        memcpy(cmd.key, s->node[op->n].key, sizeof cmd.key);
        break;
    case OP_STREAM:
        stream_record(s, op, &cmd, &stream, &key);
        break;
    case OP_SOURCE:
        source_record(s, op, &cmd, &source);
        break;
    case OP_SUBMIT:
        submit(s, op);
        return;
    case OP_SUPPRESS:
        sim_email(s, (uint32_t)op->n, email);
        cmd.kind = RMD_CMD_SUPPRESS;
        cmd.name = email;
        s->address[op->n].asked = true;
        break;
    case OP_CAMPAIGN_STATE:
        cmd.kind = RMD_CMD_CAMPAIGN_STATE;
        cmd.id = s->campaign[op->n].id[s->campaign[op->n].n_ids ? s->campaign[op->n].n_ids - 1 : 0];
        cmd.state = op->state;
        if (op->state == RMD_CAMPAIGN_ACTIVE) {
            s->campaign[op->n].paused = false;
            sim_stops_campaign_opened(s, (uint32_t)op->n);
        }
        break;
    case OP_STREAM_STATE:
        cmd.kind = RMD_CMD_STREAM_STATE;
        cmd.name = s->stream[op->n].name;
        cmd.state = op->state;
        if (!op->state) {
            s->stream[op->n].paused_ack_ms = -1;
            sim_stops_stream_opened(s, (uint32_t)op->n);
        }
        break;
    case OP_RESOLVE:
        cmd.kind = RMD_CMD_INCIDENT_RESOLVE;
        cmd.number = op->n;
        sim_stops_resolved(s);
        sim_moves_resolved(s);
        for (uint32_t i = 0; i < s->n_sources; i++)
            sim_stops_lifted(s, i, -1);
        break;
    case OP_UNDO:
        cmd.kind = RMD_CMD_SUPPRESS_UNDO;
        cmd.tenant = 1;
        cmd.number = op->n;
        break;
    case OP_FORGET:
        cmd.kind = RMD_CMD_NODE_FORGET;
        cmd.name = s->node[op->n].name;
        op->before_ms = s->node[op->n].forgotten_ms;
        s->node[op->n].forgotten_ms = s->now_ms;
        break;
    case OP_RELOAD: /* other limits, another order: "other" stays last. A restart reads the same files */
        for (uint32_t i = 0; i + 1 < s->n_providers; i++) {
            uint32_t k = (uint32_t)sim_below(s, s->n_providers - 1);
            Remuda__ProviderPolicy *p = s->policies[i];
            s->policies[i] = s->policies[k];
            s->policies[k] = p;
            p->connections = 2 + (uint32_t)sim_below(s, 8);
            p->messages_per_connection = 10 + (uint32_t)sim_below(s, 90);
        }
        cmd.kind = RMD_CMD_RELOAD;
        cmd.providers = s->policies;
        cmd.n_providers = s->n_providers;
        break;
    case OP_REVOKE:
        cmd.kind = RMD_CMD_NODE_REVOKE;
        cmd.name = s->node[op->n].name;
        break;
    }
    op->token = 0;
    if (!sim_coord_command(s, &cmd, &op->token))
        later(s, op, 700);
}

static void answered(struct sim *s, struct sim_op *op, int error) {
    if (error == RMD_EAGAIN) {
        later(s, op, 300);
        return;
    }
    bool ok = error == RMD_OK;
    switch (op->kind) {
    case OP_SUPPRESS:
        if (ok && !s->address[op->n].suppressed_ms)
            s->address[op->n].suppressed_ms = s->now_ms;
        break;
    case OP_CAMPAIGN_STATE:
        s->campaign[op->n].paused =
            ok && op->state == RMD_CAMPAIGN_PAUSED; /* answers come in the order of the commands */
        if (s->campaign[op->n].paused)
            s->campaign[op->n].pause_ack_ms = s->now_ms;
        if (ok && op->state == RMD_CAMPAIGN_CANCELLED && !s->campaign[op->n].cancelled) {
            s->campaign[op->n].cancelled = true;
            s->campaign[op->n].cancel_ack_ms = s->now_ms;
        }
        break;
    case OP_STREAM_STATE:
        s->stream[op->n].paused_ack_ms = ok && op->state ? s->now_ms : -1;
        break;
    case OP_FORGET:
        if (!ok)
            s->node[op->n].forgotten_ms = op->before_ms;
        break;
    default:
        break;
    }
    if (!ok && op->kind <= OP_SOURCE)
        sim_broken(s, "commands are answered", "setup %d of %u: %s", (int)op->kind, (unsigned)op->n,
                   rmd_error_text(error));
    done(s, op);
}

static struct sim_stream *stream_at(struct sim *s, const struct sim_op *op) {
    return op->kind == OP_STREAM ? &s->stream[op->n] : NULL;
}

static void learn_stream(void *ctx, const Remuda__StreamRecord *r) {
    struct sim *s = ctx;
    for (uint32_t i = 0; i < s->n_streams; i++)
        if (strcmp(s->stream[i].name, r->name) == 0)
            s->stream[i].id = r->id;
}

static void learn_source(void *ctx, const struct rmd_source_view *v) {
    struct sim *s = ctx;
    for (uint32_t i = 0; i < s->n_sources; i++)
        if (strcmp(s->source[i].address, v->record->address) == 0)
            s->source[i].id = v->record->id;
}

void sim_op_reply(struct sim *s, uint64_t token, int error, const char *text) {
    rmd_list_for_safe(it, &s->ops) {
        struct sim_op *op = rmd_container(it, struct sim_op, link);
        if (!op->token || op->token != token)
            continue;
        sim_say(s, "operator: %s%s", text, error < 0 ? " (refused)" : "");
        op->token = 0;
        if (stream_at(s, op))
            rmd_coord_streams(s->coord.core, learn_stream, s);
        if (op->kind == OP_SOURCE)
            rmd_coord_sources(s->coord.core, learn_source, s);
        answered(s, op, error);
        return;
    }
}

void sim_op_coord_gone(struct sim *s) {
    rmd_list_for_safe(it, &s->ops) {
        struct sim_op *op = rmd_container(it, struct sim_op, link);
        op->token = op->request = 0;
        if (op->kind == OP_SUBMIT)
            intake_end(op);
        later(s, op, sim_between(s, 100, 1500)); /* one that waits for its time already goes on waiting */
    }
}

/* ---- plans */

void sim_op_setup(struct sim *s) {
    for (uint32_t i = 0; i < s->n_nodes; i++)
        plan(s, 0, OP_NODE, i, 0);
    for (uint32_t i = 0; i < s->n_streams; i++)
        plan(s, 20, OP_STREAM, i, 0);
    for (uint32_t i = 0; i < s->n_sources; i++)
        plan(s, 40, OP_SOURCE, i, 0);
}

static void plan_campaign(struct sim *s, int64_t in_ms) {
    struct sim_campaign *c = &s->campaign[s->n_campaigns];
    uint64_t most = sim_one_in(s, 12) || s->staged.kind != SIM_STAGED_NONE ? 2000 : 240;
    *c =
        (struct sim_campaign){.stream = (uint32_t)sim_below(s, s->n_streams), .spam = sim_one_in(s, 5), .one_id = -1};
    c->rows = 50 + (uint32_t)sim_below(s, most - 50);
    if (c->rows > s->n_addresses)
        c->rows = s->n_addresses;
    sim_release_plan(s, c);
    c->message = rmd_alloc(c->rows * sizeof *c->message);
    uint32_t *order = rmd_alloc(s->n_addresses * sizeof *order);
    for (uint32_t i = 0; i < s->n_addresses; i++)
        order[i] = i;
    for (uint32_t i = 0; i < c->rows; i++) {
        uint32_t k = i + (uint32_t)sim_below(s, s->n_addresses - i), x = order[k];
        order[k] = order[i];
        c->message[i].address = order[i] = x;
    }
    free(order);
    plan(s, in_ms, OP_SUBMIT, s->n_campaigns++, 0);
}

void sim_op_period(struct sim *s, int64_t length_ms) {
    uint64_t more =
        s->staged.kind == SIM_STAGED_NONE ? 0 : 3; /* work that nobody has yet when the first one is refused */
    for (uint64_t n = 1 + sim_below(s, 2) + more; n > 0 && s->n_campaigns < SIM_CAMPAIGNS; n--)
        plan_campaign(s,
                      sim_one_in(s, 4) ? length_ms - sim_between(s, 0, 3000) : sim_between(s, 0, length_ms * 2 / 3));
    for (uint64_t n = sim_below(s, 12); n > 0; n--)
        plan(s, sim_between(s, 0, length_ms), OP_SUPPRESS, sim_below(s, s->n_addresses), 0);
    uint32_t k = (uint32_t)sim_below(s, s->n_campaigns);
    if (s->campaign[k].n_ids && sim_one_in(s, 2)) {
        int64_t at = sim_between(s, 0, length_ms);
        plan(s, at, OP_CAMPAIGN_STATE, k, RMD_CAMPAIGN_PAUSED);
        plan(s, at + sim_between(s, 10000, 200000), OP_CAMPAIGN_STATE, k, RMD_CAMPAIGN_ACTIVE);
    }
    k = s->n_campaigns - 1 - (uint32_t)sim_below(s, s->n_campaigns < 2 ? 1 : 2);
    if (sim_one_in(s, 4)) /* while it is on its way, or before it exists */
        plan(s, sim_between(s, length_ms / 4, length_ms), OP_CAMPAIGN_STATE, k, RMD_CAMPAIGN_CANCELLED);
    for (uint64_t n = sim_below(s, 3); n > 0; n--)
        plan(s, sim_between(s, 0, length_ms), OP_RELOAD, 0, 0);
    if (sim_one_in(s, 4)) {
        int64_t at = sim_between(s, 0, length_ms);
        k = (uint32_t)sim_below(s, s->n_streams);
        plan(s, at, OP_STREAM_STATE, k, 1);
        plan(s, at + sim_between(s, 10000, 100000), OP_STREAM_STATE, k, 0);
    }
}

void sim_op_suppress_some(struct sim *s, uint32_t n) {
    for (; n > 0 && s->n_campaigns; n--) {
        const struct sim_campaign *c = &s->campaign[s->n_campaigns - 1 - sim_below(s, s->n_campaigns < 2 ? 1 : 2)];
        plan(s, sim_between(s, 0, 20000), OP_SUPPRESS, c->message[sim_below(s, c->rows)].address, 0);
    }
}

void sim_op_resume_stream(struct sim *s, uint32_t stream, int64_t in_ms) {
    plan(s, in_ms, OP_STREAM_STATE, stream, 0);
}

void sim_op_forget(struct sim *s, uint32_t node) {
    plan(s, 0, OP_FORGET, node, 0);
}

void sim_op_revoke(struct sim *s, uint32_t node) {
    plan(s, 0, OP_REVOKE, node, 0);
}

static bool planned(struct sim *s, enum op_kind kind, uint64_t n) {
    rmd_list_for(it, &s->ops) {
        struct sim_op *op = rmd_container(it, struct sim_op, link);
        if (op->kind == kind && op->n == n)
            return true;
    }
    return false;
}

static void calm_campaign(void *ctx, const struct rmd_campaign_view *v) {
    struct sim *s = ctx;
    if (v->record->state != RMD_CAMPAIGN_PAUSED)
        return;
    struct sim_campaign *c = rmd_map_get(&s->sessions, rmd_slice(v->record->id.data, 10));
    uint64_t n = c ? (uint64_t)(c - s->campaign) : 0;
    if (c && !planned(s, OP_CAMPAIGN_STATE, n))
        plan(s, 0, OP_CAMPAIGN_STATE, n, RMD_CAMPAIGN_ACTIVE);
}

static void calm_incident(void *ctx, const Remuda__IncidentRecord *r) {
    enum op_kind kind = r->surge_wall_ms ? OP_UNDO : OP_RESOLVE;
    if (r->state == 0 && !planned(ctx, kind, r->id) && (kind == OP_RESOLVE || r->pending))
        plan(ctx, 0, kind, r->id, 0);
}

static void calm_stream(void *ctx, const Remuda__StreamRecord *r) {
    struct sim *s = ctx;
    for (uint32_t i = 0; i < s->n_streams; i++)
        if (r->state && s->stream[i].id == r->id && !planned(s, OP_STREAM_STATE, i))
            plan(s, 0, OP_STREAM_STATE, i, 0);
}

void sim_op_calm(struct sim *s) {
    if (!s->coord.up)
        return;
    rmd_coord_campaigns(s->coord.core, calm_campaign, s);
    rmd_coord_incidents(s->coord.core, calm_incident, s);
    rmd_coord_streams(s->coord.core, calm_stream, s);
}

bool sim_op_busy(const struct sim *s) {
    return s->ops_open > 0;
}

void sim_op_free(struct sim *s) {
    while (!rmd_list_empty(&s->ops))
        done(s, rmd_container(s->ops.next, struct sim_op, link));
}
