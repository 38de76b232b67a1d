/* The people: who set the cluster up as the README says, submit campaigns at their time, tell complaints, and look once in a while at
 * what waits for a person.
 *
 * Every day at operator_hour of the scenario he looks at what is open and older than operator_hours. An incident about an address: he asks the
 * receivers' forms (the world files them itself, the same for every sender) and the lists; when nobody refuses the address any more he
 * resolves it. A stream that was paused is resumed. So is a campaign, unless its content is what was refused for good reason: that stays
 * paused until it is too old, or stopped at the provider that refused it. */
#include "coordinator/core/intake.h"
#include "tests/sim/herd/remuda.h"

enum { AGE_LIMIT_MS = 72 * HERD_HOUR_MS, RETURN_WAIT_MS = HERD_HOUR_MS, MINUTE_MS = 60000 };

/* ---- setting up */

static void setup(struct hr *h, struct rmd_command *c) {
    rmd_map_set_u64(&h->setup, h->coord.next_token + 1, h);
    hr_coord_command(h, c);
}

static void add_node(struct hr *h, struct hr_node *n) {
    struct rmd_command c = {.kind = RMD_CMD_NODE_ADD, .name = n->name};
    memcpy(c.key, n->key, sizeof c.key);
    setup(h, &c);
}

/* As `remuda stream add` has it; a new domain with --domain-warmup. */
static void add_stream(struct hr *h, const struct herd_stream *s) {
    char back[128];
    Remuda__DkimRef key = REMUDA__DKIM_REF__INIT, *keys[1] = {&key};
    Remuda__StreamRecord r = REMUDA__STREAM_RECORD__INIT;
    (void)rmd_format(back, sizeof back, "return.%s", s->sending_domain);
    key.selector = (char *)(uintptr_t) "s1";
    key.path = (char *)(uintptr_t) "/key";
    r.name = (char *)(uintptr_t)s->name;
    r.pool = (char *)(uintptr_t)s->pool;
    r.sending_domain = (char *)(uintptr_t)s->sending_domain;
    r.return_domain = back;
    r.priority = s->transactional ? 0 : 10;
    r.age_limit_ms = AGE_LIMIT_MS;
    for (uint32_t i = 0; i < h->s->n_campaigns; i++) /* an age limit that lets every campaign have its time */
        if (&h->s->stream[h->s->campaign[i].stream] == s && h->s->campaign[i].valid_for_ms > r.age_limit_ms)
            r.age_limit_ms = h->s->campaign[i].valid_for_ms;
    r.retry_min_ms = h->param[HR_RETRY_MIN] * MINUTE_MS;
    r.retry_max_ms = h->param[HR_RETRY_MAX] * MINUTE_MS;
    if (r.retry_max_ms < r.retry_min_ms)
        r.retry_max_ms = r.retry_min_ms;
    r.node_return_wait_ms = RETURN_WAIT_MS;
    if (h->param[HR_DOMAIN_WARMS] && !h->s->domain[s->domain].age_days)
        r.domain_warmup = (char *)(uintptr_t)hr_plan_name(h);
    r.n_key = 1;
    r.key = keys;
    struct rmd_command c = {.kind = RMD_CMD_STREAM_PUT,
                            .stream_record = &r,
                            .key_pem = {rmd_slice_str("-----BEGIN FAKE ED25519 KEY-----")}};
    setup(h, &c);
}

/* `remuda source add --warmup PLAN` for a new address, `--warm-as N --since DATE` for one that receivers know: for its usual volume and
 * some more, as the days of a week differ. */
static void add_source(struct hr *h, const struct herd_source *s) {
    char *pool[1] = {(char *)(uintptr_t)s->pool};
    Remuda__SourceRecord r = REMUDA__SOURCE_RECORD__INIT;
    r.address = (char *)(uintptr_t)s->address;
    r.helo = (char *)(uintptr_t)s->helo;
    r.n_pool = 1;
    r.pool = pool;
    if (s->age_days) {
        r.warm_as = s->usual_per_day * (uint64_t)h->param[HR_WARM_AS] / 100;
        r.warm_since_wall_ms = hr_time(h).wall_ms - (int64_t)s->age_days * HERD_DAY_MS;
    } else {
        r.warmup = (char *)(uintptr_t)hr_plan_name(h);
    }
    struct rmd_command c = {.kind = RMD_CMD_SOURCE_ADD, .name = h->node[s->host_index].name, .source = &r};
    setup(h, &c);
    for (uint32_t i = 0; i < h->s->n_receivers && i < 64; i++) {
        if (!(s->announced >> i & 1))
            continue;
        struct rmd_command told = {
            .kind = RMD_CMD_SOURCE_REGISTER, .name = s->address, .provider = h->s->receiver[i].provider};
        setup(h, &told);
    }
}

void hr_operator_setup(struct hr *h) {
    for (uint32_t i = 0; i < h->s->n_hosts; i++)
        add_node(h, &h->node[i]);
    for (uint32_t i = 0; i < h->s->n_streams; i++)
        add_stream(h, &h->s->stream[i]);
    for (uint32_t i = 0; i < h->s->n_sources; i++)
        add_source(h, &h->s->source[i]);
}

void hr_operator_reply(struct hr *h, uint64_t token, int error, const char *text) {
    if (rmd_map_remove_u64(&h->setup, token) && error < 0)
        hr_fail(h, "setting up: %s", *text ? text : rmd_error_text(error));
    else if (error < 0)
        hr_say(h, "operator: refused: %s", text);
}

/* ---- submissions: intake, commits, and the command, as coordinator/io/upload.c has them */

struct upload {
    struct hr *h;
    uint32_t k;
};

static int on_batch(void *ctx, struct rmd_batch *b) {
    const struct upload *u = ctx;
    u->h->campaign[u->k].batches++;
    hr_coord_submit(u->h, b, u->k);
    return u->h->failed ? RMD_EIO : RMD_OK;
}

static const char *to_ascii(void *ctx, struct rmd_slice domain, char out[256]) {
    (void)ctx;
    return rmd_copy_slice(out, 256, domain) ? NULL : "too long";
}

static const char *engaged_at(struct hr *h, int32_t days) {
    if (days < 0)
        return "";
    if ((uint32_t)days >= h->n_engaged) {
        uint32_t n = (uint32_t)days + 64;
        h->engaged = rmd_realloc(h->engaged, n * sizeof *h->engaged);
        memset(h->engaged + h->n_engaged, 0, (n - h->n_engaged) * sizeof *h->engaged);
        h->n_engaged = n;
    }
    if (!h->engaged[days]) {
        char date[32];
        rmd_date_rfc3339(HERD_WALL_START_MS - (int64_t)days * HERD_DAY_MS, date);
        h->engaged[days] = rmd_strdup(date);
    }
    return h->engaged[days];
}

static void feed(struct hr *h, struct rmd_intake *in, uint32_t k) {
    struct rmd_buf csv = {0};
    struct herd_person who;
    char email[128];
    int rc = RMD_OK;
    rmd_buf_addstr(&csv, h->no_engagement ? "email\n" : "email,engaged_at\n");
    for (uint32_t i = 0; i < h->s->campaign[k].rows && rc == RMD_OK; i++) {
        herd_person(h->w, k, i, &who);
        herd_email(h->w, &who, email);
        rmd_buf_addstr(&csv, email);
        if (!h->no_engagement) {
            rmd_buf_addc(&csv, ',');
            rmd_buf_addstr(&csv, engaged_at(h, who.engaged_days));
        }
        rmd_buf_addc(&csv, '\n');
        if (csv.len > 65536) {
            rc = rmd_intake_feed(in, rmd_buf_slice(&csv));
            rmd_buf_clear(&csv);
        }
    }
    if (rc == RMD_OK)
        rc = rmd_intake_feed(in, rmd_buf_slice(&csv));
    if (rc == RMD_OK)
        rc = rmd_intake_finish(in);
    if (rc < 0 || rmd_intake_accepted(in) != h->s->campaign[k].rows)
        hr_fail(h, "campaign %s: %llu of %u rows were taken: %s", h->s->campaign[k].name,
                (unsigned long long)rmd_intake_accepted(in), h->s->campaign[k].rows, rmd_intake_trouble(in));
    rmd_buf_release(&csv);
}

static void fill_record(struct hr *h, uint32_t k, const struct rmd_intake *in) {
    static char *columns[] = {(char *)(uintptr_t)RMD_ENGAGED_COLUMN};
    const struct herd_campaign *s = &h->s->campaign[k];
    Remuda__CampaignRecord *r = &h->campaign[k].record;
    int64_t now = hr_time(h).wall_ms;
    remuda__campaign_record__init(r);
    r->id = (ProtobufCBinaryData){sizeof h->campaign[k].id.b, h->campaign[k].id.b};
    r->tenant = 1;
    r->stream = h->stream_id[s->stream];
    r->name = (char *)(uintptr_t)s->name;
    r->template_hash = (ProtobufCBinaryData){RMD_HASH_BYTES, h->template_hash};
    r->n_column = h->no_engagement ? 0 : 1;
    r->column = columns;
    r->state = RMD_CAMPAIGN_ACTIVE;
    r->created_wall_ms = r->accepted_wall_ms = now;
    r->valid_until_wall_ms = now + (s->valid_for_ms > 0 ? s->valid_for_ms : AGE_LIMIT_MS);
    r->rows = rmd_intake_accepted(in);
    r->chunks = rmd_intake_chunks(in);
    r->engagement = rmd_intake_engaged(in);
}

static void learn_stream(void *ctx, const Remuda__StreamRecord *r) {
    struct hr *h = ctx;
    for (uint32_t i = 0; i < h->s->n_streams; i++)
        if (strcmp(h->s->stream[i].name, r->name) == 0)
            h->stream_id[i] = r->id;
}

static void on_submit(struct hr *h, struct hr_event *e) {
    uint32_t k = (uint32_t)e->a;
    struct hr_campaign *c = &h->campaign[k];
    struct upload u = {h, k};
    if (!h->stream_id[h->s->campaign[k].stream])
        rmd_coord_streams(h->coord.core, learn_stream, h);
    c->id = rmd_id_make(hr_time(h).wall_ms, (uint32_t)rmd_rng_next(&h->rng));
    rmd_map_set(&h->ids, rmd_slice(c->id.b, 10), (void *)(uintptr_t)(k + 1));
    struct rmd_intake *in = rmd_intake_new(&(struct rmd_intake_options){.tenant = 1,
                                                                        .campaign = c->id,
                                                                        .now_wall_ms = hr_time(h).wall_ms,
                                                                        .to_ascii = to_ascii,
                                                                        .batch = on_batch,
                                                                        .ctx = &u});
    feed(h, in, k);
    fill_record(h, k, in);
    rmd_intake_free(in);
    struct rmd_batch b = {0};
    struct rmd_buf packed = {0};
    struct rmd_key template = rmd_key_template(h->template_hash), key = rmd_key_campaign(1, &c->id);
    rmd_pb_encode(&c->record, &packed);
    rmd_batch_put(&b, rmd_key_slice(&template), rmd_buf_slice(&h->template));
    rmd_batch_put(&b, rmd_key_slice(&key), rmd_buf_slice(&packed));
    rmd_buf_release(&packed);
    c->taken_in = true;
    on_batch(&u, &b);
}

void hr_operator_stored(struct hr *h, uint32_t k) {
    struct hr_campaign *c = &h->campaign[k];
    if (--c->batches || !c->taken_in)
        return;
    hr_say(h, "campaign %s: %u recipients submitted", h->s->campaign[k].name, h->s->campaign[k].rows);
    struct rmd_command m = {.kind = RMD_CMD_CAMPAIGN_ACCEPTED, .campaign = &c->record};
    setup(h, &m);
}

/* ---- what history tells */

static bool row_of(struct hr *h, const Remuda__EventRecord *e, uint32_t *k, uint32_t *row) {
    if (e->message.len != 16)
        return false;
    uintptr_t at = (uintptr_t)rmd_map_get(&h->ids, rmd_slice(e->message.data, 10));
    uint64_t ordinal = 0;
    for (int i = 10; i < 16; i++)
        ordinal = ordinal << 8 | e->message.data[i];
    if (!at || !ordinal || ordinal > h->s->campaign[at - 1].rows)
        return false;
    *k = (uint32_t)(at - 1);
    *row = (uint32_t)(ordinal - 1);
    return true;
}

static void look_at_bounced(struct hr *h, uint64_t person) {
    struct herd_person who;
    char email[128];
    const char *stored = rmd_map_get_u64(&h->bounced, person);
    (void)rmd_copy(email, sizeof email, stored);
    if (herd_email_parse(h->w, email, &who))
        herd_suppress(h->w, who.list, who.number, rmd_coord_suppressed(h->coord.core, 1, 0, rmd_slice_str(email)));
}

static void settled(struct hr *h, const Remuda__EventRecord *e, enum herd_final how) {
    uint32_t k, row;
    if (!row_of(h, e, &k, &row)) {
        hr_fail(h, "an event \"%s\" is about no message", e->type);
        return;
    }
    h->row[h->campaign[k].first + row].final = (uint8_t)how;
    herd_settle(h->w, k, row, how, h->now_ms);
    if (how != HERD_BOUNCED)
        return;
    struct herd_person who;
    char email[128];
    herd_person(h->w, k, row, &who);
    herd_email(h->w, &who, email);
    uint64_t person = (uint64_t)who.list << 32 | who.number;
    if (!rmd_map_get_u64(&h->bounced, person))
        rmd_map_set_u64(&h->bounced, person, rmd_strdup(email));
    look_at_bounced(h, person);
}

/* What was suppressed for a while, or is now that it was waited for, isn't told by an event of its own. */
void hr_operator_suppressed(struct hr *h) {
    uint32_t it = 0;
    struct rmd_slice k;
    void *v;
    while (rmd_map_next(&h->bounced, &it, &k, &v)) {
        uint64_t person;
        memcpy(&person, k.p, sizeof person);
        look_at_bounced(h, person);
    }
}

static void suppression(struct hr *h, const Remuda__EventRecord *e, bool on) {
    struct herd_person who;
    if (herd_email_parse(h->w, e->recipient, &who))
        herd_suppress(h->w, who.list, who.number, on);
}

static bool message_event(struct hr *h, const Remuda__EventRecord *e) {
    static const struct {
        const char *type;
        enum herd_final how;
        size_t count;
    } kind[] = {{"delivered", HERD_DELIVERED, offsetof(struct hr_counts, delivered)},
                {"deferred", HERD_OPEN, offsetof(struct hr_counts, deferred)},
                {"bounced", HERD_BOUNCED, offsetof(struct hr_counts, bounced)},
                {"expired", HERD_EXPIRED, offsetof(struct hr_counts, expired)},
                {"suppressed", HERD_DROPPED, offsetof(struct hr_counts, dropped)},
                {"cancelled", HERD_DROPPED, offsetof(struct hr_counts, dropped)},
                {"held", HERD_DROPPED, offsetof(struct hr_counts, dropped)},
                {"uncertain", HERD_OPEN, offsetof(struct hr_counts, uncertain)},
                {"returned", HERD_OPEN, offsetof(struct hr_counts, returned)}};
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++) {
        if (strcmp(e->type, kind[i].type) != 0)
            continue;
        ++*(uint64_t *)(void *)((char *)&h->n + kind[i].count);
        if (kind[i].how != HERD_OPEN)
            settled(h, e, kind[i].how);
        else if (h->verbose)
            hr_story_deferred(h, e);
        return true;
    }
    return false;
}

static void told(struct hr *h, const Remuda__EventRecord *e) {
    static const struct {
        const char *type;
        size_t count;
    } kind[] = {{"incident.opened", offsetof(struct hr_counts, incidents)},
                {"source.quarantined", offsetof(struct hr_counts, quarantines)},
                {"source.resting", offsetof(struct hr_counts, rests)},
                {"source.opened", offsetof(struct hr_counts, opened)},
                {"warmup.advanced", offsetof(struct hr_counts, advanced)},
                {"warmup.held", offsetof(struct hr_counts, held)},
                {"warmup.back", offsetof(struct hr_counts, back)},
                {"warmup.restarted", offsetof(struct hr_counts, back)},
                {"warmup.warm", offsetof(struct hr_counts, warm)},
                {"stream.paused", offsetof(struct hr_counts, stream_pauses)},
                {"campaign.paused", offsetof(struct hr_counts, campaign_pauses)},
                {"listing.found", offsetof(struct hr_counts, found)},
                {"listing.removed", offsetof(struct hr_counts, removed)},
                {"list.set_aside", offsetof(struct hr_counts, set_aside)}};
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++)
        if (strcmp(e->type, kind[i].type) == 0)
            ++*(uint64_t *)(void *)((char *)&h->n + kind[i].count);
    if (!h->verbose || !strncmp(e->type, "lease.", 6) || !strcmp(e->type, "warmup.complaints"))
        return;
    const char *source = rmd_coord_source_address(h->coord.core, e->source),
               *at = rmd_coord_provider_name(h->coord.core, e->provider);
    hr_say(h, "%s%s%s%s%s: %s", e->type, *source ? " " : "", source, *at ? " at " : "", at, e->text);
}

void hr_operator_event(struct hr *h, const Remuda__EventRecord *e) {
    if (message_event(h, e))
        return;
    if (strcmp(e->type, "suppression.added") == 0 || strcmp(e->type, "suppression.removed") == 0)
        suppression(h, e, e->type[12] == 'a');
    else
        told(h, e);
}

/* ---- complaints */

static void tell_complaints(struct hr *h, const char *who, const char *provider, int64_t day, uint64_t n) {
    struct rmd_command c = {.kind = RMD_CMD_COMPLAINTS,
                            .name = who,
                            .provider = provider,
                            .day = day,
                            .number = n,
                            .reason = "feedback loop"};
    hr_coord_command(h, &c);
}

static void one_report(struct hr *h, const struct herd_report *r) {
    const struct herd_campaign *k = &h->s->campaign[r->campaign];
    const struct herd_stream *st = &h->s->stream[r->stream];
    const char *provider = h->s->receiver[h->s->site[r->site].receiver].provider;
    int64_t day = hr_sending_day(k->at_ms);
    h->n.complaints++;
    if (r->row < k->rows) /* a report has the message's date, or its recipient */
        day = hr_sending_day((int64_t)h->row[h->campaign[r->campaign].first + r->row].day * HERD_DAY_MS);
    tell_complaints(h, h->s->source[r->source].address, provider, day, 1);
    if (h->param[HR_DOMAIN_WARMS])
        tell_complaints(h, st->sending_domain, provider, day, 1);
    if (r->row >= k->rows)
        return;
    struct herd_person who;
    char email[128];
    herd_person(h->w, r->campaign, r->row, &who);
    herd_email(h->w, &who, email);
    struct rmd_command c = {.kind = RMD_CMD_SUPPRESS, .name = email, .reason = "complaint"};
    hr_coord_command(h, &c);
}

/* A provider with a feedback loop that told of none on that day has told that there were none. */
static void nobody_complained(struct hr *h) {
    size_t n = h->files.providers.n;
    int64_t day = hr_sending_day(h->now_ms) - 1;
    for (size_t p = 0; p < n; p++) {
        const char *name = h->files.providers.v[p]->name;
        bool reports = false;
        for (uint32_t r = 0; r < h->s->n_receivers; r++)
            reports |= h->provider[r] == p && h->s->receiver[r].reports;
        for (uint32_t i = 0; reports && i < h->s->n_sources; i++)
            if (h->lane[i * n + p].day_before)
                tell_complaints(h, h->s->source[i].address, name, day, 0);
        for (uint32_t d = 0; reports && h->param[HR_DOMAIN_WARMS] && d < h->s->n_domains; d++) {
            if (!h->domain[d * n + p].day_before)
                continue;
            tell_complaints(h, h->s->domain[d].name, name, day, 0);
        }
    }
}

/* ---- what waits for a person */

static bool at_work(const struct hr *h) {
    return h->now_ms % HERD_DAY_MS / HERD_HOUR_MS == h->s->operator_hour_ms / HERD_HOUR_MS;
}

static int64_t patience(const struct hr *h) {
    return h->param[HR_OPERATOR_HOURS] * HERD_HOUR_MS;
}

struct open_incidents {
    struct hr *h;
    uint64_t id[256];
    uint32_t n;
};

static bool refused_somewhere(struct hr *h, uint32_t source, const char *provider) {
    bool is = false;
    for (uint32_t r = 0; r < h->s->n_receivers && !is; r++) {
        const struct herd_receiver *x = &h->s->receiver[r];
        for (uint32_t i = 0; i < x->n_sites && !is && (!*provider || strcmp(x->provider, provider) == 0); i++)
            is = herd_blocked(h->w, source, x->first_site + i, h->now_ms);
    }
    for (uint32_t l = 0; l < h->s->n_blocklists && !is && !*provider; l++)
        is = herd_listed(h->w, l, source, h->now_ms, NULL);
    return is;
}

static bool still_refused(struct hr *h, const Remuda__IncidentRecord *r) {
    const char *address = rmd_coord_source_address(h->coord.core, r->source);
    const char *provider = r->provider ? rmd_coord_provider_name(h->coord.core, r->provider) : "";
    for (uint32_t i = 0; i < h->s->n_sources; i++)
        if (strcmp(h->s->source[i].address, address) == 0)
            return refused_somewhere(h, i, provider);
    return false;
}

/* To resolve it would let it go on. */
static bool bad_content(struct hr *h, const Remuda__IncidentRecord *r) {
    struct rmd_id id;
    if (rmd_id_parse(rmd_slice_str(r->campaign), &id) < 0)
        return false;
    uintptr_t k = (uintptr_t)rmd_map_get(&h->ids, rmd_slice(id.b, 10));
    return k && h->s->campaign[k - 1].bad_content;
}

static void on_incident(void *ctx, const Remuda__IncidentRecord *r) {
    struct open_incidents *x = ctx;
    struct hr *h = x->h;
    if (r->state || x->n == sizeof x->id / sizeof x->id[0] || rmd_coord_incident_lapses(h->coord.core, r->id))
        return;
    int64_t at = (int64_t)(intptr_t)rmd_map_get_u64(&h->looks, r->id);
    if (!at)
        at = r->opened_wall_ms - HERD_WALL_START_MS + patience(h);
    if (h->now_ms >= at) {
        if (!still_refused(h, r) && !bad_content(h, r))
            x->id[x->n++] = r->id;
        at = h->now_ms + patience(h);
    }
    rmd_map_set_u64(&h->looks, r->id, (void *)(intptr_t)at);
}

static void look_at_incidents(struct hr *h) {
    struct open_incidents x = {.h = h};
    rmd_coord_incidents(h->coord.core, on_incident, &x);
    for (uint32_t i = 0; i < x.n; i++) {
        struct rmd_command c = {
            .kind = RMD_CMD_INCIDENT_RESOLVE, .number = x.id[i], .reason = "nobody refuses it any more"};
        hr_coord_command(h, &c);
        h->n.resolved++;
    }
}

/* Due now? `look` is 0 while it isn't paused. */
static bool due(const struct hr *h, bool paused, int64_t *look) {
    if (!paused) {
        *look = 0;
        return false;
    }
    if (!*look)
        *look = h->now_ms + patience(h);
    if (h->now_ms < *look || !at_work(h))
        return false;
    *look = 0;
    return true;
}

static void on_stream(void *ctx, const Remuda__StreamRecord *r) {
    struct hr *h = ctx;
    for (uint32_t i = 0; i < h->s->n_streams; i++) {
        if (strcmp(h->s->stream[i].name, r->name) == 0 && due(h, r->state != 0, &h->stream_look_ms[i]))
            h->stream_look_ms[i] = -1;
    }
}

static void on_campaign(void *ctx, const struct rmd_campaign_view *v) {
    struct hr *h = ctx;
    uintptr_t k = (uintptr_t)rmd_map_get(&h->ids, rmd_slice(v->record->id.data, 10));
    if (k && !h->s->campaign[k - 1].bad_content &&
        due(h, v->record->state == RMD_CAMPAIGN_PAUSED, &h->campaign[k - 1].look_ms))
        h->campaign[k - 1].look_ms = -1;
}

static void look_at_pauses(struct hr *h) {
    rmd_coord_streams(h->coord.core, on_stream, h);
    rmd_coord_campaigns(h->coord.core, on_campaign, h);
    for (uint32_t i = 0; i < h->s->n_streams; i++) {
        if (h->stream_look_ms[i] >= 0)
            continue;
        struct rmd_command c = {
            .kind = RMD_CMD_STREAM_STATE, .name = h->s->stream[i].name, .reason = "looked at", .state = 0};
        h->stream_look_ms[i] = 0;
        hr_coord_command(h, &c);
        h->n.resumed++;
    }
    for (uint32_t i = 0; i < h->s->n_campaigns; i++) {
        if (h->campaign[i].look_ms >= 0)
            continue;
        struct rmd_command c = {.kind = RMD_CMD_CAMPAIGN_STATE,
                                .id = h->campaign[i].id,
                                .state = RMD_CAMPAIGN_ACTIVE,
                                .reason = "looked at: nothing is wrong with it"};
        h->campaign[i].look_ms = 0;
        hr_coord_command(h, &c);
        h->n.resumed++;
    }
}

static void on_work(struct hr *h, struct hr_event *e) {
    struct herd_report r;
    (void)e;
    while (!h->failed && herd_report_next(h->w, h->now_ms, &r))
        one_report(h, &r);
    if (h->now_ms % HERD_DAY_MS == HERD_HOUR_MS)
        nobody_complained(h);
    look_at_pauses(h);
    if (at_work(h))
        look_at_incidents(h);
    hr_at(h, HERD_HOUR_MS, on_work, 0, 0);
}

void hr_operator_work(struct hr *h) {
    for (uint32_t k = 0; k < h->s->n_campaigns; k++)
        if (h->s->campaign[k].at_ms < h->end_ms)
            hr_at(h, h->s->campaign[k].at_ms < 10000 ? 10000 : h->s->campaign[k].at_ms, on_submit, k, 0);
    hr_at(h, HERD_HOUR_MS, on_work, 0, 0);
}

static void free_values(struct rmd_map *m) {
    uint32_t it = 0;
    void *v;
    while (rmd_map_next(m, &it, NULL, &v))
        free(v);
    rmd_map_release(m);
}

void hr_operator_free(struct hr *h) {
    free_values(&h->bounced);
    rmd_map_release(&h->setup);
    rmd_map_release(&h->looks);
    for (uint32_t i = 0; i < h->n_engaged; i++)
        free(h->engaged[i]);
    free(h->engaged);
}
