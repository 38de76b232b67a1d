/* What the scale run's world consists of: providers and domains, sources and their caps, and a campaign every half hour. */
#include "proto/site.h"
#include "tests/kit/sign_fake.h"
#include "tests/sim/scale/scale.h"

enum { PER_MILLE = 1000, EVERY_COLD = 20, LANE_CAP = 12000, SOURCE_CAP = 28000, NETWORK_CAP = 110000 };
static const int64_t BILLION = 1000000000;

/* Recipients by provider, of a thousand; "other" last. */
static const uint16_t share[SC_PROVIDERS] = {300, 180, 120, 60, 13, 13, 13, 13, 13, 13,
                                             13,  13,  13,  13, 13, 13, 13, 12, 12, 143};

static const uint64_t stage_cap[] = {500, 1000, 2000, 4000, 8000}, stage_source[] = {2000, 4000, 8000, 16000, 28000},
                      stage_site[] = {200, 400, 800};
static const struct rmd_plan plan = {.name = "scale",
                                     .hour_percent = 20,
                                     .use_percent = 80,
                                     .idle_days = 30,
                                     .hold_days = 1,
                                     .back_stages = 1,
                                     .confidence = 95,
                                     .gate = {{50000, 50}, {50000, 50}, {100000, 50}, {1000, 10}},
                                     .source = {.cap = stage_source, .n = 5},
                                     .site = {.cap = stage_site, .n = 3},
                                     .fallback = {.cap = stage_cap, .n = 5},
                                     .other = {.cap = stage_cap, .n = 5}};
static const struct rmd_plan *const plans[] = {&plan};

static uint64_t stage(const uint64_t *v, size_t n, const struct sc *s, uint64_t warm) {
    size_t day = (size_t)((s->now.wall_ms - s->start_ms) / SC_DAY) + 1; /* a stage takes a day at least */
    return day < n ? v[day] : v[n - 1] > warm ? v[n - 1] : warm;
}

uint64_t sc_lane_cap(const struct sc *s, const struct sc_source *x, uint32_t provider) {
    (void)provider;
    return x->cold ? stage(stage_cap, 5, s, LANE_CAP) : LANE_CAP;
}

uint64_t sc_source_cap(const struct sc *s, const struct sc_source *x) {
    return x->cold ? stage(stage_source, 5, s, SOURCE_CAP) : SOURCE_CAP;
}

uint64_t sc_network_cap(const struct sc *s) {
    (void)s;
    return NETWORK_CAP;
}

/* ---------------------------------------------------------------- sizes */

static void make_providers(struct sc *s) {
    for (uint32_t i = 0; i < SC_PROVIDERS; i++) {
        bool other = i + 1 == SC_PROVIDERS;
        rmd_format(s->provider_name[i], sizeof s->provider_name[i], other ? "other" : "p%u", i);
        rmd_format(s->provider_suffix[i], sizeof s->provider_suffix[i], ".p%u.test", i);
        remuda__provider_policy__init(&s->policy[i]);
        s->policy[i].id = rmd_provider_id(s->provider_name[i]);
        s->policy[i].name = s->provider_name[i];
        s->policy[i].connections = 5;
        s->suffix[i][0] = s->provider_suffix[i];
        s->policy[i].mx_suffix = s->suffix[i];
        s->policy[i].n_mx_suffix = other ? 0 : 1;
        s->policies[i] = &s->policy[i];
        s->network_day[i] = pool_take(s->n_nodes * sizeof(uint32_t));
        s->network_bucket[i] = pool_take((size_t)s->n_nodes * SC_BUCKETS * sizeof(uint16_t));
    }
    /* One provider counts the whole cluster's connections, as a large one does. */
    s->policy[1].cluster_connections = s->n_sources > 100 ? s->n_sources / 2 : 50;
}

/* The k-th domain's weight falls with its rank; providers take ranks by their shares. */
static void make_domains(struct sc *s) {
    double all = 0;
    s->domain = pool_take(s->n_domains * sizeof *s->domain);
    for (uint32_t k = 0; k < s->n_domains; k++)
        all += 1.0 / (k + 10);
    for (uint32_t k = 0; k < s->n_domains; k++) {
        struct sc_domain *d = &s->domain[k];
        uint32_t at = (uint32_t)(rmd_mix64(k + 1) % PER_MILLE);
        while (d->provider + 1 < SC_PROVIDERS && at >= share[d->provider])
            at -= share[d->provider++];
        rmd_format(d->name, sizeof d->name, "d%u.example", k);
        d->weight_ppb = (uint32_t)((double)BILLION / (k + 10) / all);
        rmd_map_set(&s->domain_by_name, rmd_slice_str(d->name), d);
    }
}

void sc_plan(struct sc *s) {
    s->n_sources = (uint32_t)(1000 * s->scale + 0.5);
    s->n_sources = s->n_sources < SC_NODE_SOURCES ? SC_NODE_SOURCES : s->n_sources;
    s->n_nodes = (s->n_sources + SC_NODE_SOURCES - 1) / SC_NODE_SOURCES;
    s->n_domains = s->n_sources * 10;
    if (!s->messages)
        s->messages = (uint64_t)s->n_sources * 100000;
    uint64_t slots = (uint64_t)s->days * 48;
    s->campaign_rows = (uint32_t)(s->messages * 50 / 51 / slots);
    s->urgent_rows = (uint32_t)(s->messages / 51 / slots);
    rmd_rng_seed(&s->rng, s->seed);
    make_providers(s);
    make_domains(s);
    s->now = (struct rmd_time){.mono_ms = 1000000, .wall_ms = 1790000000000};
    s->start_ms = s->now.wall_ms;
    s->o = (struct rmd_coord_options){.lease_valid_ms = 120000,
                                      .transaction_deadline_ms = 20000,
                                      .heartbeat_lost_ms = 4 * SC_HEARTBEAT_MS,
                                      .provider = s->policies,
                                      .n_providers = SC_PROVIDERS,
                                      .smtp_port = 25,
                                      .lane_cap_per_day = LANE_CAP,
                                      .source_cap_per_day = SOURCE_CAP,
                                      .network_cap_per_day = NETWORK_CAP,
                                      .domain_cap_per_day = (uint64_t)s->n_sources * 12000,
                                      .plan = plans,
                                      .n_plans = 1,
                                      .warm_per_network = 2,
                                      .seed = s->seed,
                                      .look_from = s->look_all ? UINT32_MAX : 0,
                                      .sign = rmd_sign_fake(),
                                      .boot_id = {1}};
}

/* ---------------------------------------------------------------- enrolling */

static void add_streams(struct sc *s) {
    static const char *const name[SC_STREAMS] = {"receipts", "news", "offers"};
    for (uint32_t i = 0; i < SC_STREAMS; i++) {
        Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
        char domain[32];
        rmd_format(domain, sizeof domain, "%s.test", name[i]);
        r.name = (char *)(uintptr_t)name[i];
        r.pool = (char *)(uintptr_t) "main";
        r.sending_domain = r.return_domain = domain;
        r.priority = i ? 2 : 0;
        r.retry_min_ms = 5 * SC_MINUTE;
        r.retry_max_ms = 2 * SC_HOUR;
        r.node_return_wait_ms = SC_HOUR;
        r.age_limit_ms = 4 * (int64_t)SC_DAY;
        struct rmd_command m = {.kind = RMD_CMD_STREAM_PUT, .stream_record = &r};
        if (sc_command(s, &m) != RMD_OK)
            sc_broken(s, "stream %s was refused", name[i]);
        s->stream_id[i] = (uint32_t)s->reply_number;
    }
}

static void add_node(struct sc *s, uint32_t i) {
    struct sc_node *n = &s->node[i];
    rmd_list_init(&n->leases);
    rmd_format(n->name, sizeof n->name, "n%u", i);
    rmd_put_be32(n->peer.key, i + 1);
    rmd_put_be32(n->uuid, i + 1);
    rmd_put_be32(n->boot, i + 1);
    n->peer.session = 1;
    struct rmd_command m = {.kind = RMD_CMD_NODE_ADD, .name = n->name};
    memcpy(m.key, n->peer.key, RMD_KEY_BYTES);
    if (sc_command(s, &m) != RMD_OK)
        sc_broken(s, "node %s was refused", n->name);
}

static void add_source(struct sc *s, uint32_t i) {
    struct sc_source *x = &s->source[i];
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    char address[32];
    char *pool[] = {(char *)(uintptr_t) "main"};
    x->node = i / SC_NODE_SOURCES;
    x->cold = i % EVERY_COLD == EVERY_COLD / 2;
    rmd_format(address, sizeof address, "%u.%u.%u.%u", 11 + x->node / 250, 7, x->node % 250, 1 + i % SC_NODE_SOURCES);
    r.address = address;
    r.helo = (char *)(uintptr_t) "mail.example";
    r.pool = pool;
    r.n_pool = 1;
    r.warmup = (char *)(uintptr_t)(x->cold ? "scale" : "");
    struct rmd_command m = {.kind = RMD_CMD_SOURCE_ADD, .name = s->node[x->node].name, .source = &r};
    if (sc_command(s, &m) != RMD_OK)
        sc_broken(s, "source %s was refused", address);
    x->id = (uint32_t)s->reply_number;
    if (x->id < s->n_source_index)
        s->source_index[x->id] = i;
}

void sc_enrol(struct sc *s) {
    s->node = pool_take(s->n_nodes * sizeof *s->node);
    s->source = pool_take(s->n_sources * sizeof *s->source);
    s->n_source_index = s->n_sources + 100;
    s->source_index = pool_take(s->n_source_index * sizeof *s->source_index);
    s->campaign = pool_take((size_t)s->days * 48 * 2 * sizeof *s->campaign);
    add_streams(s);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        add_node(s, i);
    for (uint32_t i = 0; i < s->n_sources; i++)
        add_source(s, i);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        sc_hello(s, &s->node[i]);
        if (!s->node[i].welcomed)
            sc_broken(s, "node %s was not welcomed", s->node[i].name);
    }
}

/* ---------------------------------------------------------------- campaigns */

/* A chunk that is being filled: rows packed as intake packs them. */
struct filling {
    bool tail;
    uint32_t group, n, n_domains, domain[RMD_CHUNK_ROWS_MAX], domain_of[RMD_CHUNK_ROWS_MAX];
    size_t used;
    uint64_t hash[RMD_CHUNK_ROWS_MAX];
    ProtobufCBinaryData row[RMD_CHUNK_ROWS_MAX];
    uint8_t bytes[RMD_CHUNK_ROWS_MAX * 64];
};

struct submission {
    struct sc *s;
    struct sc_campaign *k;
    struct rmd_batch batch;
    struct rmd_buf buf;
    uint32_t chunks, ordinal;
};

static void emit(struct submission *in, struct filling *f) {
    if (!f->n)
        return;
    Remuda__Chunk c = REMUDA__CHUNK__INIT;
    char *name[RMD_CHUNK_ROWS_MAX];
    for (uint32_t i = 0; i < f->n_domains; i++)
        name[i] = in->s->domain[f->domain[i]].name;
    c.n_row = c.n_address_hash = f->n;
    c.row = f->row;
    c.address_hash = f->hash;
    c.n_domain = f->n_domains;
    c.domain = name;
    c.n_domain_of = f->n_domains > 1 ? f->n : 0;
    c.domain_of = f->domain_of;
    rmd_buf_clear(&in->buf);
    rmd_pb_encode(&c, &in->buf);
    struct rmd_chunk_ref ref = {.campaign = in->k->id, .group = f->group, .seq = in->chunks++};
    struct rmd_key key = rmd_key_chunk(1, &ref);
    rmd_batch_put(&in->batch, rmd_key_slice(&key), rmd_buf_slice(&in->buf));
    f->n = f->n_domains = 0;
    f->used = 0;
    if (in->batch.len >= 1 << 20) {
        store_apply(in->s->store, &in->batch);
        rmd_batch_release(&in->batch);
    }
}

static uint8_t *digits(uint8_t *p, uint32_t v) {
    uint8_t text[10];
    int n = 0;
    do
        text[n++] = (uint8_t)('0' + v % 10);
    while (v /= 10);
    while (n)
        *p++ = text[--n];
    return p;
}

static uint8_t *varint(uint8_t *p, uint32_t v) {
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static void add(struct submission *in, struct filling *f, uint32_t domain, uint32_t user) {
    if (f->n == RMD_CHUNK_ROWS_MAX)
        emit(in, f);
    const char *name = in->s->domain[domain].name;
    uint8_t address[64], *at = address, *row = f->bytes + f->used, *p = row;
    *at++ = 'u';
    at = digits(at, user);
    *at++ = '@';
    size_t n = strlen(name);
    memcpy(at, name, n);
    at += n;
    *p++ = 1 << 3; /* Row.ordinal */
    p = varint(p, ++in->ordinal);
    *p++ = 2 << 3 | 2; /* Row.email */
    p = varint(p, (uint32_t)(at - address));
    memcpy(p, address, (size_t)(at - address));
    p += at - address;
    f->used += (size_t)(p - row);
    f->row[f->n] = (ProtobufCBinaryData){.data = row, .len = (size_t)(p - row)};
    f->hash[f->n] = rmd_address_hash(1, rmd_slice(address, (size_t)(at - address)));
    if (!f->n_domains || f->domain[f->n_domains - 1] != domain)
        f->domain[f->n_domains++] = domain;
    f->domain_of[f->n++] = f->n_domains - 1;
}

static void add_rows(struct submission *in, uint32_t rows) {
    struct sc *s = in->s;
    struct filling *own = pool_take(sizeof *own), *tail[RMD_INTAKE_TAIL_BUCKETS] = {NULL};
    uint32_t left = rows;
    for (uint32_t k = s->n_domains; k-- > 0;) {
        struct sc_domain *d = &s->domain[k];
        uint64_t owed = d->owed_ppb + (uint64_t)d->weight_ppb * rows;
        uint32_t n = k == 0 ? left : (uint32_t)(owed / (uint64_t)BILLION);
        n = n < left ? n : left;
        left -= n;
        d->owed_ppb = (uint32_t)(owed % (uint64_t)BILLION);
        uint32_t hash = rmd_fnv32(rmd_slice_str(d->name)), bucket = hash % RMD_INTAKE_TAIL_BUCKETS;
        bool small = n < RMD_INTAKE_TAIL_ROWS;
        if (small && n && !tail[bucket])
            tail[bucket] = pool_take(sizeof *own);
        struct filling *f = small ? tail[bucket] : own;
        for (uint32_t i = 0; i < n; i++) {
            if (i == 0)
                f->group = rmd_group_of(false, 0, small, hash);
            add(in, f, k, i);
        }
        emit(in, own);
    }
    for (uint32_t i = 0; i < RMD_INTAKE_TAIL_BUCKETS; i++)
        if (tail[i]) {
            emit(in, tail[i]);
            pool_give(tail[i], sizeof *own);
        }
    pool_give(own, sizeof *own);
}

void sc_submit(struct sc *s, bool urgent) {
    uint32_t rows = urgent ? s->urgent_rows : s->campaign_rows;
    uint32_t number = s->n_campaigns++;
    struct sc_campaign *k = &s->campaign[number];
    struct submission in = {.s = s, .k = k};
    if (number + 1 == s->days * 48 * 2) /* the last one brings what is left */
        rows = (uint32_t)(s->messages - s->submitted);
    *k = (struct sc_campaign){.id = rmd_id_make(s->now.wall_ms, number), .rows = rows, .open = true};
    k->stream = urgent ? 0 : 1 + number / 2 % 2;
    k->accepted = pool_take((rows / 64 + 1) * 8);
    k->seen = pool_take((rows / 64 + 1) * 8);
    add_rows(&in, rows);
    Remuda__CampaignRecord r = REMUDA__CAMPAIGN_RECORD__INIT;
    uint8_t hash[RMD_HASH_BYTES] = {7};
    r.id = (ProtobufCBinaryData){.data = k->id.b, .len = sizeof k->id.b};
    r.tenant = 1;
    r.stream = s->stream_id[k->stream];
    r.name = (char *)(uintptr_t) "scale";
    r.state = RMD_CAMPAIGN_ACTIVE;
    r.rows = rows;
    r.chunks = in.chunks;
    r.accepted_wall_ms = r.created_wall_ms = s->now.wall_ms;
    r.template_hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    struct rmd_key key = rmd_key_campaign(1, &k->id);
    rmd_buf_clear(&in.buf);
    rmd_pb_encode(&r, &in.buf);
    rmd_batch_put(&in.batch, rmd_key_slice(&key), rmd_buf_slice(&in.buf));
    store_apply(s->store, &in.batch);
    rmd_batch_release(&in.batch);
    rmd_buf_release(&in.buf);
    s->submitted += rows;
    s->count.campaigns++;
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_ACCEPTED, .campaign = &r};
    if (sc_command(s, &m) != RMD_OK)
        sc_broken(s, "campaign %u was refused", number);
}
