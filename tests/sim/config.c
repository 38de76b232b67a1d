/* What a world consists of, all of it thrown from its seed: nodes and their sources on networks, providers with their
 * domains and habits, streams, caps, addresses, and which kinds of faults it suffers from. And its DNS. */
#include "proto/esmtp.h"
#include "proto/rules.h"
#include "proto/site.h"
#include "tests/sim/sim.h"

/* ---- verdict rules: few, and of every kind that matters */

static void add_rule(struct rmd_rules *r, const char *name, const char *pattern, const char *sample,
                     const char *class_name, const char *scope, const char *scope2, bool at_provider,
                     const char *action, int64_t ms, bool move) {
    char err[200];
    struct rmd_rule_def d = {.name = name,
                             .file = "sim",
                             .pattern = (const char *const[]){pattern, NULL},
                             .sample = (const char *const[]){sample, NULL},
                             .class_name = class_name,
                             .scope = (const char *const[]){scope, scope2, NULL},
                             .at_provider = at_provider,
                             .action = action,
                             .duration_ms = ms,
                             .move = move,
                             .permanent =
                                 strcmp(name, "sender") == 0 ? 0 : -1}; /* nobody is punished for our reputation */
    if (rmd_rules_add(r, &d, err, sizeof err) != RMD_OK) {
        fprintf(stderr, "simulator's rule %s: %s\n", name, err);
        exit(2);
    }
}

static void finding(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "simulator's rules: %s\n", text);
    exit(2);
}

const struct rmd_rules *sim_rules(void) {
    static struct rmd_rules *r; /* made once in the program, never changed */
    if (r)
        return r;
    r = rmd_rules_new();
    add_rule(r, "network", "network of * blocked using",
             "554 5.7.1 the network of 20.0.1.1 is blocked using list.test", "ip_blocklisted", "source", "network",
             true, "quarantine", 3600000, true);
    add_rule(r, "blocked", "blocked using", "554 5.7.1 blocked using list.test", "ip_blocklisted", "source", NULL,
             true, "quarantine", 3600000, true);
    add_rule(r, "slow", "slow down", "421 4.7.0 slow down", "rate_limited", "lane", NULL, true, "slow", 60000, false);
    add_rule(r, "rest", "rest please", "421 4.7.0 rest please", "rate_limited", "lane", NULL, true, "rest", 600000,
             false);
    add_rule(r, "unfamiliar", "unfamiliar", "451 4.7.1 unfamiliar source", "rate_limited", "lane", NULL, true,
             "retry", 0, false);
    add_rule(r, "grey", "greylisted", "450 4.2.0 greylisted", "greylisted", "recipient", NULL, false, "retry_same", 0,
             false);
    add_rule(r, "spam", "looks like spam", "550 5.7.1 looks like spam", "spam_content", "message", "campaign", true,
             "pause", 0, false);
    add_rule(r, "sender", "sending domain has a poor reputation",
             "451 4.7.1 the sending domain has a poor reputation", "domain_blocklisted", "sending_domain", NULL, true,
             "pause", 0, false);
    add_rule(r, "spam-later", "content judged later", "451 4.7.1 content judged later", "spam_content", "message",
             NULL, true, "retry", 0, false);
    add_rule(r, "unknown", "user unknown", "550 5.1.1 user unknown", "user_unknown", "recipient", NULL, false,
             "suppress", 0, false);
    add_rule(r, "full", "mailbox full", "452 4.2.2 mailbox full", "mailbox_full", "recipient", NULL, false, "retry",
             0, false);
    if (rmd_rules_compile(r, finding, NULL) != RMD_OK)
        exit(2);
    return r;
}

/* ---- the template: one header field and one line of the body take a value */

static void make_template(struct sim *s) {
    static char literal_from[] = "Simulated sender <news@s0.test>", hello[] = "Hello ", text[] = "Hello ",
                rest[] = "This is the news.\r\n";
    static char *column[] = {(char *)(uintptr_t) "name"};
    Remuda__Piece from = REMUDA__PIECE__INIT, greet = REMUDA__PIECE__INIT, name = REMUDA__PIECE__INIT,
                  line = REMUDA__PIECE__INIT;
    Remuda__TemplateHeader h[2] = {REMUDA__TEMPLATE_HEADER__INIT, REMUDA__TEMPLATE_HEADER__INIT};
    Remuda__BodyOp body[2] = {REMUDA__BODY_OP__INIT, REMUDA__BODY_OP__INIT};
    Remuda__CompiledTemplate t = REMUDA__COMPILED_TEMPLATE__INIT;
    from.literal = (ProtobufCBinaryData){.len = sizeof literal_from - 1, .data = (uint8_t *)literal_from};
    greet.literal = (ProtobufCBinaryData){.len = sizeof hello - 1, .data = (uint8_t *)hello};
    line.literal = (ProtobufCBinaryData){.len = sizeof text - 1, .data = (uint8_t *)text};
    name.field = 1;
    h[0].name = (char *)(uintptr_t) "From";
    h[0].literal = true;
    h[0].n_value = 1;
    h[0].value = (Remuda__Piece *[]){&from};
    h[1].name = (char *)(uintptr_t) "Subject";
    h[1].n_value = 2;
    h[1].value = (Remuda__Piece *[]){&greet, &name};
    body[0].n_text = 2;
    body[0].text = (Remuda__Piece *[]){&line, &name};
    body[0].encoding = 1;
    body[1].ready = (ProtobufCBinaryData){.len = sizeof rest - 1, .data = (uint8_t *)rest};
    t.version = 1;
    t.n_column = 1;
    t.column = column;
    t.n_header = 2;
    t.header = (Remuda__TemplateHeader *[]){&h[0], &h[1]};
    t.n_body = 2;
    t.body = (Remuda__BodyOp *[]){&body[0], &body[1]};
    rmd_pb_encode(&t, &s->template);
    struct rmd_sha256 sha;
    rmd_sign_fake()->sha256_init(&sha);
    rmd_sign_fake()->sha256_update(&sha, s->template.p, s->template.len);
    rmd_sign_fake()->sha256_final(&sha, s->template_hash);
}

/* ---- who is there */

static void providers(struct sim *s) {
    s->n_providers = 3 + (uint32_t)sim_below(s, SIM_PROVIDERS - 2);
    for (uint32_t i = 0; i < s->n_providers; i++) {
        struct sim_provider *p = &s->provider[i];
        p->other = i + 1 == s->n_providers;
        rmd_format(p->name, sizeof p->name, p->other ? "other" : "p%u", i);
        rmd_format(p->suffix_text, sizeof p->suffix_text, ".p%u.test", i);
        p->id = rmd_provider_id(p->name);
        p->suffix[0] = p->suffix_text;
        remuda__provider_policy__init(&p->policy);
        p->policy.id = p->id;
        p->policy.name = p->name;
        p->policy.n_mx_suffix = p->other ? 0 : 1;
        p->policy.mx_suffix = p->suffix;
        p->policy.connections = 2 + (uint32_t)sim_below(s, 8);
        p->policy.connections_per_site = p->other ? 2 : 0;
        p->policy.messages_per_connection = 10 + (uint32_t)sim_below(s, 90);
        p->policy.rate_per_minute = sim_one_in(s, 4) ? 60 + (uint32_t)sim_below(s, 200) : 0;
        p->policy.cluster_connections = sim_one_in(s, 3) ? 3 + (uint32_t)sim_below(s, 9) : 0;
        s->policies[i] = &p->policy;
        p->pipelining = !sim_one_in(s, 4);
        uint64_t esmtp = rmd_mix64(s->seed << 8 | i);
        p->chunking = esmtp % 4 != 0;
        p->policy.chunking = (uint32_t)(esmtp >> 8) % RMD_CHUNKING_COUNT;
        p->greylists = sim_one_in(s, 3);
        p->grey_ms = sim_between(s, 60000, 240000);
        p->rate_per_minute = sim_one_in(s, 4) ? 20 + (uint32_t)sim_below(s, 200) : 0;
        p->slow_one_in = sim_one_in(s, 3) ? 10 + (uint32_t)sim_below(s, 60) : 0;
        p->slow_ms = sim_between(s, 500, 25000);
        p->unknown_one_in = 10 + (uint32_t)sim_below(s, 60);
        p->tempfail_one_in = sim_one_in(s, 3) ? 8 + (uint32_t)sim_below(s, 60) : 0;
        p->content_5xx = sim_one_in(s, 4);
        p->content_4xx = !p->content_5xx && sim_one_in(s, 3);
        if (s->faults.smtp_cuts && sim_one_in(s, 2))
            p->cut_one_in = 10 + (uint32_t)sim_below(s, 80);
    }
    s->n_domains = s->n_providers + (uint32_t)sim_below(s, SIM_DOMAINS - s->n_providers + 1);
    for (uint32_t d = 0; d < s->n_domains; d++) {
        struct sim_domain *x = &s->domain[d];
        x->provider = d < s->n_providers ? d : (uint32_t)sim_below(s, s->n_providers);
        if (sim_staged_many_sites(s) && d % 2)
            x->provider = s->n_providers - 1;
        rmd_format(x->name, sizeof x->name, "d%u.example", d);
        if (s->provider[x->provider].other)
            rmd_format(x->mx, sizeof x->mx, "mx.d%u.example", d);
        else
            rmd_format(x->mx, sizeof x->mx, "mx%u.p%u.test", d % 3, x->provider);
    }
}

static void nodes(struct sim *s) {
    s->n_nodes = sim_one_in(s, 4) ? 1 : 1 + (uint32_t)sim_below(s, SIM_NODES);
    s->n_nets = 2 + (uint32_t)sim_below(s, SIM_NETS - 1);
    if (sim_staged_one_network(s))
        s->n_nets = 1;
    uint64_t source_cap = s->capped && sim_one_in(s, 2) ? 60 + sim_below(s, 500) : 0;
    uint64_t lane_cap = !s->capped || sim_one_in(s, 3) ? 0 : 15 + sim_below(s, 200);
    for (uint32_t n = 0; n < s->n_nodes; n++) {
        struct sim_node *nd = &s->node[n];
        rmd_format(nd->name, sizeof nd->name, "node%u", n);
        for (size_t i = 0; i < RMD_KEY_BYTES; i++)
            nd->key[i] = (uint8_t)sim_below(s, 256);
        nd->workers = 1 + (uint32_t)sim_below(s, SIM_WORKERS);
        nd->crash_in = -1;
        nd->lost_at_ms = nd->forgotten_ms = -1;
        nd->vanished_ms = -2 * (int64_t)SIM_DAY_MS; /* never: its caps are known from the first hour on */
        uint64_t k = 1 + sim_below(s, 4);
        if (s->staged.kind != SIM_STAGED_NONE && k < 4)
            k = 4;
        for (uint64_t i = 0; i < k && s->n_sources < SIM_SOURCES; i++) {
            struct sim_source *x = &s->source[s->n_sources];
            x->node = n;
            x->net = (uint32_t)(i == 0 ? n % s->n_nets : sim_below(s, s->n_nets));
            rmd_format(x->address, sizeof x->address, "20.0.%u.%u", x->net + 1, s->n_sources + 1);
            rmd_format(x->helo, sizeof x->helo, "m%u.sender.test", s->n_sources);
            x->cap = source_cap ? source_cap + sim_below(s, 50) : 0;
            x->lane_cap = lane_cap ? lane_cap + sim_below(s, 20) : 0;
            if (rmd_addr_parse(x->address, &x->addr) != RMD_OK)
                abort();
            nd->addresses[i] = rmd_strdup(x->address);
            s->n_sources++;
        }
    }
}

static void streams(struct sim *s) {
    s->n_streams = 1 + (uint32_t)sim_below(s, SIM_STREAMS);
    for (uint32_t i = 0; i < s->n_streams; i++) {
        struct sim_stream *x = &s->stream[i];
        rmd_format(x->name, sizeof x->name, i == 1 ? "transactional" : "bulk%u", i);
        rmd_format(x->domain, sizeof x->domain, "s%u.test", i);
        x->priority = i == 1 ? 0 : 2;
        x->uncertain_policy = sim_one_in(s, 4);
        x->age_ms = sim_between(s, 8 * 3600000, 50 * 3600000);
        x->retry_min_ms = sim_between(s, 30000, 300000);
        x->retry_max_ms = sim_between(s, 3600000, 4 * 3600000);
        x->return_wait_ms = sim_between(s, 20000, 240000);
        x->domain_cap = s->capped && sim_one_in(s, 3) ? 60 + sim_below(s, 400) : 0;
        x->paused_ack_ms = -1;
    }
}

static void addresses(struct sim *s) {
    s->n_addresses = 100 + (uint32_t)sim_below(s, 800);
    if (s->staged.kind != SIM_STAGED_NONE)
        s->n_addresses += 600;
    s->address = rmd_alloc(s->n_addresses * sizeof *s->address);
    for (uint32_t i = 0; i < s->n_addresses; i++) {
        struct sim_address *a = &s->address[i];
        a->domain = (uint32_t)(sim_one_in(s, 2) ? sim_below(s, s->n_domains) : sim_below(s, 1 + s->n_domains / 3));
        a->unknown = sim_one_in(s, s->provider[s->domain[a->domain].provider].unknown_one_in);
    }
}

static void faults(struct sim *s) {
    struct sim_faults *f = &s->faults;
    if (sim_one_in(s, 8))
        return; /* a quiet world */
    bool *all[] = {&f->coord_crash, &f->node_crash, &f->host_loss, &f->cut,        &f->partition, &f->duplicate,
                   &f->reorder,     &f->delay,      &f->stall,     &f->clock_step, &f->blocks,    &f->smtp_cuts,
                   &f->liar,        &f->forget,     &f->silent,    &f->shun};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        *all[i] = sim_one_in(s, 2);
    f->revoke = sim_one_in(s, 8);
    f->rate = 2 + (uint32_t)sim_below(s, 8);
    s->max_step_ms = f->clock_step ? 3600000 : 0;
}

static void options(struct sim *s) {
    s->deadline_ms = 45000;
    s->lease_valid_ms = sim_between(s, 55000, 100000);
    s->heartbeat_lost_ms = sim_between(s, 5000, 12000);
    s->network_cap = s->capped && sim_one_in(s, 3) ? 40 + sim_below(s, 300) : 0;
    s->domain_cap = s->capped && sim_one_in(s, 3) ? 60 + sim_below(s, 400) : 0;
    s->coord_options = (struct rmd_coord_options){.lease_valid_ms = s->lease_valid_ms,
                                                  .transaction_deadline_ms = s->deadline_ms,
                                                  .heartbeat_lost_ms = s->heartbeat_lost_ms,
                                                  .provider = s->policies,
                                                  .n_providers = s->n_providers,
                                                  .smtp_port = 25,
                                                  .look_from = s->seed % 2, /* as in pools of many lanes */
                                                  .network_cap_per_day = s->network_cap,
                                                  .domain_cap_per_day = s->domain_cap,
                                                  .sign = rmd_sign_fake()};
}

void sim_config(struct sim *s) {
    s->rules = sim_rules();
    s->coord.crash_in = -1;
    sim_staged_choose(s);
    s->capped =
        !sim_one_in(s, 4) && s->staged.kind == SIM_STAGED_NONE; /* without caps nothing excuses work that moves */
    faults(s);
    providers(s);
    nodes(s);
    streams(s);
    addresses(s);
    options(s);
    sim_moves_config(s);
    sim_warm_config(s);
    sim_watch_config(s);
    sim_staged_config(s);
    make_template(s);
}

void sim_config_release(struct sim *s) {
    free(s->address);
    rmd_buf_release(&s->template);
    rmd_map_release(&s->grey);
    rmd_map_release(&s->rates);
    rmd_map_release(&s->sessions);
}

/* ---- looking up */

int sim_source_of(const struct sim *s, const struct rmd_addr *a) {
    for (uint32_t i = 0; i < s->n_sources; i++)
        if (rmd_addr_eq(&s->source[i].addr, a))
            return (int)i;
    return -1;
}

int sim_domain_find(const struct sim *s, const char *name) {
    for (uint32_t i = 0; i < s->n_domains; i++)
        if (strcmp(s->domain[i].name, name) == 0)
            return (int)i;
    return -1;
}

int sim_provider_find(const struct sim *s, uint32_t id) {
    for (uint32_t i = 0; i < s->n_providers; i++)
        if (s->provider[i].id == id)
            return (int)i;
    return -1;
}

void sim_email(const struct sim *s, uint32_t address, char out[96]) {
    rmd_format(out, 96, "u%u@%s", address, s->domain[s->address[address].domain].name);
}

/* ---- DNS: every domain has one MX host, every host one address, 93.<provider>.<domain>.1 */

bool sim_mx(struct sim *s, const char *name, struct rmd_mx_answer *out) {
    int d = sim_domain_find(s, name);
    *out = (struct rmd_mx_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = 300};
    if (d < 0)
        return false;
    if (!s->quiet_faults && s->faults.silent && sim_one_in(s, 30)) {
        out->status = RMD_DNS_TEMPFAIL;
        rmd_copy(out->detail, sizeof out->detail, "SERVFAIL");
        return false;
    }
    out->status = RMD_DNS_OK;
    out->ttl_s = 1800;
    out->n = 1;
    out->mx[0].preference = 10;
    rmd_copy(out->mx[0].host, sizeof out->mx[0].host, s->domain[d].mx);
    return true;
}

bool sim_addr(struct sim *s, const char *name, struct rmd_addr_answer *out) {
    *out = (struct rmd_addr_answer){.status = RMD_DNS_NXDOMAIN, .ttl_s = 300};
    for (uint32_t d = 0; d < s->n_domains; d++) {
        if (strcmp(s->domain[d].mx, name) != 0)
            continue;
        out->status = RMD_DNS_OK;
        out->ttl_s = 1800;
        out->n = 1;
        out->addr[0] = (struct rmd_addr){.family = 4, .b = {93, (uint8_t)s->domain[d].provider, (uint8_t)d, 1}};
        return true;
    }
    return false;
}
