/* Remuda as a sender of the herd: parameters, configuration as a default install has it, heap and clock, the course of a run. */
#include "tests/sim/herd/remuda.h"

#include <inttypes.h>

#include "proto/plan.h"
#include "proto/site.h"
#include "tests/sim/herd/rules.h"

/* ---- what may be set. Fallbacks are Remuda's own defaults. */

static const struct herd_param params[HR_PARAMS] = {
    [HR_PLAN] = {"plan", "warm-up plan of new addresses and domains: 0 conservative, 1 standard, 2 aggressive", 0, 2,
                 1, false},
    [HR_DOMAIN_WARMS] = {"domain_warms", "whether new sending domains warm up as well", 0, 1, 1, false},
    [HR_WARM_AS] = {"warm_as", "what known addresses are brought in for, per cent of their usual volume", 50, 400,
                    150, true},
    [HR_WARM_PER_NETWORK] = {"warm_per_network", "addresses of one network that warm up at once; 0: any number", 0,
                             20, 3, false},
    [HR_LANE_CAP] = {"lane_cap", "recipients of one address at one provider in 24 hours; 0: no cap of its own", 0,
                     1000000, 0, false},
    [HR_RETRY_MIN] = {"retry_min", "minutes until the first retry", 1, 120, 15, true},
    [HR_RETRY_MAX] = {"retry_max", "minutes between later retries at most", 30, 1440, 240, true},
    [HR_GREYLIST] = {"greylist", "minutes until a greylisted recipient is tried again", 1, 60, 5, true},
    [HR_OPERATOR_HOURS] = {"operator_hours", "what a person looks at, once a day, is so many hours old", 0, 96, 12,
                           false},
};

static const char *const plan_names[] = {"conservative", "standard", "aggressive"};

static const struct {
    const char *name;
    uint32_t bit;
} features[] = {
    {"gates", RMD_WITHOUT_GATES},           {"concentration", RMD_WITHOUT_CONCENTRATION},
    {"stickiness", RMD_WITHOUT_STICKINESS}, {"reputation", RMD_WITHOUT_REPUTATION},
    {"canary", RMD_WITHOUT_CANARY},         {"probing", RMD_WITHOUT_PROBING},
    {"moving", RMD_WITHOUT_MOVING},         {"networks", RMD_WITHOUT_NETWORKS},
    {"breaker", RMD_WITHOUT_BREAKER},
};

static bool leave_out(struct hr *h, const char *name) {
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        if (strcmp(features[i].name, name) != 0)
            continue;
        h->without |= features[i].bit;
        return true;
    }
    bool *own = strcmp(name, "watch") == 0        ? &h->no_watch
                : strcmp(name, "engagement") == 0 ? &h->no_engagement
                : strcmp(name, "pace") == 0       ? &h->no_pace
                                                  : NULL;
    if (own)
        *own = true;
    return own;
}

/* `without` and `verbose` are no parameters of a search. */
static int settings(struct hr *h, const struct herd_setting *set, size_t n_set) {
    struct herd_setting *rest = rmd_alloc((n_set + 1) * sizeof *rest);
    size_t n = 0;
    int rc = RMD_OK;
    for (size_t i = 0; i < n_set; i++) {
        if (strcmp(set[i].name, "verbose") == 0) {
            h->verbose = true;
        } else if (strcmp(set[i].name, "without") != 0) {
            rest[n++] = set[i];
        } else if (!leave_out(h, set[i].value)) {
            rmd_buf_addf(h->err, "there is no feature \"%s\" to leave out\n", set[i].value);
            rc = RMD_EINVAL;
        }
    }
    if (rc == RMD_OK)
        rc = herd_params(&herd_remuda, rest, n, h->param, h->err);
    free(rest);
    return rc;
}

/* ---- heap and clock */

struct hr_event *hr_at(struct hr *h, int64_t delay_ms, hr_fn fn, uint64_t a, uint64_t b) {
    struct hr_event *e = h->spare;
    if (e)
        h->spare = e->next;
    else
        e = rmd_alloc(sizeof *e);
    e->fn = fn;
    e->a = a;
    e->b = b;
    e->p = NULL;
    e->next = NULL;
    rmd_buf_clear(&e->bytes);
    rmd_heap_set(&h->heap, &e->at, h->now_ms + (delay_ms > 0 ? delay_ms : 0));
    return e;
}

void hr_move(struct hr *h, struct hr_event **e, int64_t at_ms, hr_fn fn, uint64_t a) {
    if (at_ms <= h->now_ms)
        at_ms = h->now_ms + 1;
    if (*e)
        rmd_heap_set(&h->heap, &(*e)->at, at_ms);
    else
        *e = hr_at(h, at_ms - h->now_ms, fn, a, 0);
}

static void spare(struct hr *h, struct hr_event *e) {
    if (e->bytes.cap > 65536)
        rmd_buf_release(&e->bytes);
    e->next = h->spare;
    h->spare = e;
}

struct rmd_time hr_time(const struct hr *h) {
    return (struct rmd_time){.mono_ms = HR_MONO0_MS + h->now_ms, .wall_ms = HERD_WALL_START_MS + h->now_ms};
}

void hr_fail(struct hr *h, const char *fmt, ...) {
    va_list ap;
    if (h->failed)
        return;
    h->failed = true;
    int64_t t = h->now_ms / 1000;
    rmd_buf_addf(h->err, "remuda, day %d %02d:%02d:%02d: ", (int)(t / 86400 + 1), (int)(t / 3600 % 24),
                 (int)(t / 60 % 60), (int)(t % 60));
    va_start(ap, fmt);
    rmd_buf_vaddf(h->err, fmt, ap);
    va_end(ap);
    rmd_buf_addc(h->err, '\n');
}

static void run_until(struct hr *h, int64_t until_ms) {
    struct rmd_heap_node *n;
    uint64_t still = 0;
    while (!h->failed && (n = rmd_heap_min(&h->heap)) && n->key <= until_ms) {
        struct hr_event *e = rmd_container(n, struct hr_event, at);
        rmd_heap_remove(&h->heap, n);
        still = n->key > h->now_ms ? 0 : still + 1;
        if (n->key > h->now_ms)
            h->now_ms = n->key;
        e->fn(h, e);
        spare(h, e);
        h->events++;
        if (still > 10000000)
            hr_fail(h, "time stands still: something spins");
    }
    if (h->now_ms < until_ms)
        h->now_ms = until_ms;
}

/* ---- configuration */

/* One fixed part: what is sent is nobody's concern here. */
static void make_template(struct hr *h) {
    static const char *const header[][2] = {{"From", "Herd <news@herd.example>"}, {"Subject", "News"}};
    static char text[] = "What is new.\r\n";
    Remuda__Piece piece[2];
    Remuda__Piece *value[2][1];
    Remuda__TemplateHeader head[2], *heads[2];
    Remuda__BodyOp body = REMUDA__BODY_OP__INIT, *bodies[1] = {&body};
    Remuda__CompiledTemplate t = REMUDA__COMPILED_TEMPLATE__INIT;
    for (size_t i = 0; i < 2; i++) {
        remuda__piece__init(&piece[i]);
        remuda__template_header__init(&head[i]);
        piece[i].literal = (ProtobufCBinaryData){strlen(header[i][1]), (uint8_t *)(uintptr_t)header[i][1]};
        value[i][0] = &piece[i];
        head[i].name = (char *)(uintptr_t)header[i][0];
        head[i].literal = i == 0;
        head[i].n_value = 1;
        head[i].value = value[i];
        heads[i] = &head[i];
    }
    body.ready = (ProtobufCBinaryData){sizeof text - 1, (uint8_t *)text};
    t.version = 1;
    t.n_header = 2;
    t.header = heads;
    t.n_body = 1;
    t.body = bodies;
    rmd_pb_encode(&t, &h->template);
    const struct rmd_sign_ops *sign = rmd_sign_fake();
    struct rmd_sha256 sha;
    sign->sha256_init(&sha);
    sign->sha256_update(&sha, h->template.p, h->template.len);
    sign->sha256_final(&sha, h->template_hash);
}

/* Lists that this world has. What the others would say isn't known here, so nobody asks them. */
static void watch_settings(struct hr *h) {
    h->watched = rmd_alloc((h->files.blocklists.n + 1) * sizeof(Remuda__Blocklist *));
    for (size_t i = 0; i < h->files.blocklists.n; i++)
        for (uint32_t k = 0; k < h->s->n_blocklists; k++)
            if (strcmp(h->files.blocklists.v[i]->zone, h->s->blocklist[k].zone) == 0)
                h->watched[h->watch.n_lists++] = h->files.blocklists.v[i];
    h->watch.list = h->watched;
    h->watch.enabled = !h->no_watch;
    h->watch.per_hour = 1000; /* these are the defaults of watch.* */
    h->watch.per_day = 10000;
    h->watch.neighbours = 8;
    h->watch.neighbours_every_ms = HERD_DAY_MS;
}

/* As a configuration that says nothing of failover (coord_config.c). */
static const struct rmd_failover_settings failover = {
    .canary_ms = 30 * 60 * 1000, .canary_percent = 5, .canary_floor = 20, .growth_percent = 150, .growth_floor = 20};

/* As coordinator/main.c has it, with nothing of an operator's own. */
static int configure(struct hr *h) {
    const struct rmd_policy_paths none = {NULL};
    if (rmd_policy_files_load(&none, &h->files, h->err) < 0 ||
        !(h->rules = rmd_rules_shipped(rmd_slice("", 0), "", h->err)))
        return RMD_EINVAL;
    watch_settings(h);
    make_template(h);
    if (h->param[HR_GREYLIST] != params[HR_GREYLIST].fallback) {
        (void)rmd_format(h->greylist, sizeof h->greylist, "greylisted=%dmin", (int)h->param[HR_GREYLIST]);
        h->class_retry[0] = h->greylist;
    }
    h->options = (struct rmd_coord_options){.without = h->without,
                                            .lease_valid_ms = HR_LEASE_MS,
                                            .transaction_deadline_ms = 25 * 60 * 1000,
                                            .campaign_keep_ms = 30ll * HERD_DAY_MS,
                                            .heartbeat_lost_ms = 3ll * HR_HEARTBEAT_MS,
                                            .provider = h->files.providers.v,
                                            .n_providers = h->files.providers.n,
                                            .rules = rmd_buf_slice(&h->files.rules),
                                            .smtp_port = 25,
                                            .starttls = true,
                                            .lane_cap_per_day = (uint64_t)h->param[HR_LANE_CAP],
                                            .plan = h->files.plans.v,
                                            .n_plans = h->files.plans.n,
                                            .failover = failover,
                                            .warm_per_network = (uint32_t)h->param[HR_WARM_PER_NETWORK],
                                            .usual = {.percent = 150, .floor = 200},
                                            .class_retry = h->class_retry,
                                            .seed = rmd_rng_next(&h->rng),
                                            .watch = &h->watch,
                                            .sign = rmd_sign_fake()};
    return RMD_OK;
}

const char *hr_plan_name(const struct hr *h) {
    return plan_names[h->param[HR_PLAN]];
}

/* ---- the course of a run */

static void on_hour(struct hr *h, struct hr_event *e) {
    (void)e;
    hr_check_hour(h);
    if (h->now_ms % HERD_DAY_MS == 0) {
        hr_operator_suppressed(h);
        hr_story_day(h);
    }
    if (!h->failed)
        hr_at(h, HERD_HOUR_MS, on_hour, 0, 0);
}

static void on_day(struct hr *h, struct hr_event *e) {
    (void)e;
    hr_coord_day(h);
    hr_check_day(h);
    hr_at(h, HERD_DAY_MS, on_day, 0, 0);
}

static int run_world(struct hr *h) {
    uint64_t rows = 0;
    for (uint32_t i = 0; i < h->s->n_campaigns; i++) {
        h->campaign[i].first = rows;
        rows += h->s->campaign[i].rows;
    }
    h->row = rmd_alloc((rows + 1) * sizeof *h->row);
    hr_check_open(h);
    int rc = hr_coord_open(h);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < h->s->n_hosts; i++)
        hr_node_open(h, &h->node[i]);
    hr_at(h, HERD_DAY_MS, on_day, 0, 0);
    hr_operator_setup(h);
    hr_operator_work(h);
    hr_at(h, HERD_HOUR_MS, on_hour, 0, 0);
    run_until(h, h->end_ms);
    if (!h->failed)
        hr_operator_suppressed(h);
    if (!h->failed)
        hr_check_end(h);
    return h->failed ? RMD_ECONFLICT : RMD_OK;
}

static void release(struct hr *h) {
    struct rmd_heap_node *n;
    hr_smtp_free(h);
    for (uint32_t i = 0; i < h->s->n_hosts; i++)
        hr_node_close(h, &h->node[i]);
    hr_coord_close(h);
    hr_operator_free(h);
    hr_check_free(h);
    while ((n = rmd_heap_min(&h->heap))) {
        rmd_heap_remove(&h->heap, n);
        spare(h, rmd_container(n, struct hr_event, at));
    }
    rmd_heap_release(&h->heap);
    while (h->spare) {
        struct hr_event *e = h->spare;
        h->spare = e->next;
        rmd_buf_release(&e->bytes);
        free(e);
    }
    rmd_rules_free(h->rules);
    rmd_policy_files_release(&h->files);
    rmd_buf_release(&h->template);
    free(h->watched);
    free(h->node);
    free(h->campaign);
    free(h->row);
    free(h->stream_id);
    free(h->stream_look_ms);
    rmd_map_release(&h->ids);
    rmd_map_release(&h->why);
}

static int run(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
               struct rmd_buf *err) {
    const struct herd_scenario *s = herd_scenario_of(w);
    struct hr *h = rmd_alloc(sizeof *h);
    h->w = w;
    h->s = s;
    h->err = err;
    h->seed = herd_seed(w);
    h->end_ms = herd_end_ms(w);
    rmd_rng_seed(&h->rng, rmd_mix64(h->seed ^ 0x72656d756461));
    h->node = rmd_alloc((s->n_hosts + 1) * sizeof *h->node);
    h->campaign = rmd_alloc((s->n_campaigns + 1) * sizeof *h->campaign);
    h->stream_id = rmd_alloc((s->n_streams + 1) * sizeof *h->stream_id);
    h->stream_look_ms = rmd_alloc((s->n_streams + 1) * sizeof *h->stream_look_ms);
    int rc = settings(h, set, n_set);
    if (rc == RMD_OK)
        rc = configure(h);
    if (rc == RMD_OK)
        rc = run_world(h);
    if (rc == RMD_OK)
        hr_story_json(h, more);
    release(h);
    free(h);
    return rc;
}

const struct herd_sender herd_remuda = {.name = "remuda",
                                        .about =
                                            "Remuda's own coordinator and nodes, configured as they are installed",
                                        .param = params,
                                        .n_params = HR_PARAMS,
                                        .run = run};
